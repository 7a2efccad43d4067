//! One fetch of blocks that follow one another, on a thread of its own: a few blocks ahead of its reader.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::{BLOCK, Served};
use crate::client::FetchSink;
use crate::error::{Error, ErrorId, Result};
use crate::facts::VersionFacts;
use crate::manifest::{ArtifactStatement, Subject};
use crate::wire::broken;

/// Blocks that wait for the reader.
const WAITING: usize = 4;

/// Blocks that are under way.
pub(super) struct Stream {
    /// None once nothing more is wanted.
    blocks: Option<Receiver<Result<Vec<u8>>>>,
    left: Range<u64>,
    cancel: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    /// Begins to fetch blocks of a version.
    pub fn begin(served: &Arc<Served>, blocks: Range<u64>) -> Self {
        let (give, take) = sync_channel(WAITING);
        let (cancel, cancelled) = oneshot::channel();
        let (served, wanted) = (Arc::clone(served), blocks.clone());
        let thread = std::thread::spawn(move || {
            let bytes = wanted.start * BLOCK..(wanted.end * BLOCK).min(served.len);
            let fetching = async {
                tokio::select! {
                    fetched = fetch(&served, bytes, &give) => fetched,
                    _ = cancelled => Ok(()),
                }
            };
            if let Err(e) = served.runtime.block_on(fetching) {
                // Whoever wants no more does not ask why.
                let _ = give.send(Err(e));
            }
        });
        Self { blocks: Some(take), left: blocks, cancel: Some(cancel), thread: Some(thread) }
    }

    /// The block that comes next.
    pub fn next(&self) -> u64 {
        self.left.start
    }

    /// The block before which it ends.
    pub fn end(&self) -> u64 {
        self.left.end
    }

    /// Takes the next block; none after the last.
    ///
    /// # Errors
    /// Those of the fetch.
    pub fn take(&mut self) -> Result<Option<Vec<u8>>> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let came = self.blocks.as_ref().and_then(|blocks| blocks.recv().ok());
        let block = came.unwrap_or_else(|| Err(broken("the fetch ended before its last block")))?;
        self.left.start += 1;
        Ok(Some(block))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // It waits for the reader, or for the server.
        self.blocks = None;
        drop(self.cancel.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// In as many requests as their size asks for.
async fn fetch(served: &Served, mut bytes: Range<u64>, give: &SyncSender<Result<Vec<u8>>>) -> Result<()> {
    let mut sink = Sink { served, of: 0, give, block: Vec::new() };
    while !bytes.is_empty() {
        let (of, members, end) = served.selections(bytes.clone());
        if members.is_empty() || end <= bytes.start {
            return Err(Error::new(ErrorId::Internal, "a request for no bytes"));
        }
        sink.of = of;
        served.client.fetch_some(&served.sealed[of].plan, members, &mut sink).await?;
        bytes.start = end;
    }
    if sink.block.is_empty() { Ok(()) } else { sink.flush() }
}

/// Cuts what was verified into blocks.
struct Sink<'a> {
    served: &'a Served,
    /// The sealed file that is fetched now.
    of: usize,
    give: &'a SyncSender<Result<Vec<u8>>>,
    block: Vec<u8>,
}

impl Sink<'_> {
    fn flush(&mut self) -> Result<()> {
        let block = std::mem::take(&mut self.block);
        self.give.send(Ok(block)).map_err(|_| broken("nobody reads any more"))
    }
}

impl FetchSink for Sink<'_> {
    fn start(&mut self, _: &VersionFacts, statement: &ArtifactStatement) -> Result<()> {
        if *statement == self.served.sealed[self.of].statement {
            return Ok(());
        }
        let text = format!("version v{} is another one than at the start of the reading", statement.version);
        Err(Error::new(ErrorId::BindingMismatch, text)
            .hint("the server answers with something else than before: do not use it, ask its operator"))
    }

    fn bytes(&mut self, _: &Subject, _: u64, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = (BLOCK as usize).saturating_sub(self.block.len());
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() as u64 == BLOCK {
                self.flush()?;
            }
        }
        Ok(())
    }
}

//! The members of a sealed version, read at any place without being stored: what reads files can read these.
//!
//! All members together are one line of bytes, cut into blocks of 1 MiB, of which the last used are held. Who reads on gets
//! the blocks of one fetch that goes on ahead; who jumps has some blocks fetched by themselves. Each fetch is one of its own to
//! the vault: it is decided, counted and recorded as any other, and its bytes are verified before they are held.

mod blocks;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use self::blocks::Blocks;
use self::stream::Stream;
use super::fetch::Selection;
use super::{Client, FetchPlan, FetchReport};
use crate::error::{Error, ErrorId, Result};
use crate::manifest::ArtifactStatement;
use crate::names::{Reference, Revision};
use crate::seal::io::ReadAt;

/// Bytes of a block.
const BLOCK: u64 = 1 << 20;
/// Paths that are named in one request, in bytes with what each takes beside them: the server takes 256 KiB.
const REQUEST_PATHS: usize = 160 << 10;
/// Blocks that a reader may pass over without leaving the fetch that is under way.
const AHEAD: u64 = 32;

/// One version, of which every byte that is read was verified against its signed statement.
///
/// Memory: 128 MiB of blocks and, for each member, its path. Dropping it ends what is under way.
pub struct SealedVersion {
    line: Arc<Line>,
    report: FetchReport,
}

/// The members as one line of bytes.
struct Line {
    served: Arc<Served>,
    state: Mutex<State>,
}

/// What is fetched, and from whom.
struct Served {
    client: Client,
    runtime: Handle,
    plan: FetchPlan,
    statement: ArtifactStatement,
    /// Members in the order of the line, with where each begins.
    order: Vec<(u64, usize)>,
    /// Position in `order`, by path.
    at: HashMap<String, usize>,
    len: u64,
}

#[derive(Default)]
struct State {
    blocks: Blocks,
    stream: Option<Stream>,
    /// The block after those that were fetched by themselves last.
    next: Option<u64>,
    /// How often they were read on from.
    run: u32,
}

impl SealedVersion {
    /// Asks for the statement of a version. Later fetches are of this version, wherever a tag points by then. `last` says which
    /// members come last in the line: those that are not read along with the others.
    ///
    /// `runtime` must be one of several threads, for nobody polls it while a reader waits.
    ///
    /// # Errors
    /// As [`Client::fetch`].
    pub fn open(client: Client, runtime: Handle, plan: FetchPlan, last: &dyn Fn(&str) -> bool) -> Result<Self> {
        let (report, statement) = runtime.block_on(client.fetch_statement(&plan))?;
        let revision = Revision::Version(statement.version);
        let reference = Reference { revision, member: None, ..plan.reference };
        let plan = FetchPlan { reference, members: Vec::new(), floor: None, ..plan };
        let (first, others): (Vec<usize>, Vec<usize>) =
            (0..statement.subjects.len()).partition(|at| !last(&statement.subjects[*at].path));
        let mut len = 0_u64;
        let mut order = Vec::with_capacity(statement.subjects.len());
        for member in first.into_iter().chain(others) {
            order.push((len, member));
            len = len.checked_add(statement.subjects[member].size).ok_or_else(|| {
                Error::new(ErrorId::LimitExceeded, "the members of the version are larger than 16 EiB together")
            })?;
        }
        let path = |(_, member): &(u64, usize)| statement.subjects[*member].path.clone();
        let at = order.iter().enumerate().map(|(n, entry)| (path(entry), n)).collect();
        let served = Arc::new(Served { client, runtime, plan, statement, order, at, len });
        Ok(Self { line: Arc::new(Line { served, state: Mutex::default() }), report })
    }

    /// What the fetch of the statement brought: version, signers, and where the tag points.
    pub fn report(&self) -> &FetchReport {
        &self.report
    }

    /// Path and size of the members, in the byte order of their paths.
    pub fn members(&self) -> impl Iterator<Item = (&str, u64)> {
        self.line.served.statement.subjects.iter().map(|s| (s.path.as_str(), s.size))
    }

    /// A member to be read at any place; none of that path.
    pub fn member(&self, path: &str) -> Option<Member> {
        let served = &self.line.served;
        let (start, member) = *served.order.get(*served.at.get(path)?)?;
        let size = served.statement.subjects.get(member)?.size;
        Some(Member { line: Arc::clone(&self.line), start, size })
    }
}

/// A member of a [`SealedVersion`]. What fails says why as an [`Error`] within the error of reading.
pub struct Member {
    line: Arc<Line>,
    start: u64,
    size: u64,
}

impl ReadAt for Member {
    fn len(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.size);
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.line.read(buffer, self.start + offset).map_err(io::Error::other)
    }
}

impl Line {
    fn read(&self, mut buffer: &mut [u8], mut at: u64) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !buffer.is_empty() {
            let block = at / BLOCK;
            if !state.blocks.has(block) {
                self.bring(&mut state, block)?;
            }
            let from = usize::try_from(at % BLOCK).unwrap_or(usize::MAX);
            let held = state.blocks.get(block).and_then(|bytes| bytes.get(from..)).filter(|rest| !rest.is_empty());
            let held = held.ok_or_else(|| Error::new(ErrorId::Internal, "a block that was fetched is not there"))?;
            let (now, later) = buffer.split_at_mut(buffer.len().min(held.len()));
            now.copy_from_slice(&held[..now.len()]);
            at += now.len() as u64;
            buffer = later;
        }
        Ok(())
    }

    /// Fetches a block: from the fetch under way if that comes by there soon, else by another one.
    fn bring(&self, state: &mut State, block: u64) -> Result<()> {
        let reaches = |s: &Stream| (s.next()..s.end().min(s.next() + AHEAD)).contains(&block);
        if state.stream.as_ref().is_some_and(reaches) {
            return self.pull(state, block);
        }
        let all = self.served.len.div_ceil(BLOCK);
        let goes_on = state.next == Some(block);
        state.run = if goes_on { state.run + 1 } else { 0 };
        // A fetch to the end pays for whoever reads on. One that is under way is left only for what reads on for long.
        if state.run >= if state.stream.is_some() { 6 } else { 1 } {
            (state.stream, state.next) = (Some(Stream::begin(&self.served, block..all)), None);
            return self.pull(state, block);
        }
        let many = 1 << state.run.min(3);
        let some = block..(block + many).min(all);
        let mut stream = Stream::begin(&self.served, some.clone());
        while let Some(bytes) = stream.take()? {
            state.blocks.put(stream.next() - 1, bytes);
        }
        state.next = Some(some.end);
        Ok(())
    }

    /// Takes blocks from the fetch under way, up to this one.
    fn pull(&self, state: &mut State, block: u64) -> Result<()> {
        // It is cut when its reader pauses: then it goes on from there, unless nothing at all came.
        let mut came = true;
        while let Some(stream) = state.stream.as_mut().filter(|s| s.next() <= block) {
            match stream.take() {
                Ok(Some(bytes)) => {
                    came = true;
                    let at = stream.next() - 1;
                    state.blocks.put(at, bytes);
                }
                Ok(None) => break,
                Err(e) => {
                    let rest = stream.next()..stream.end();
                    state.stream = None;
                    if !came || e.id() != ErrorId::StreamBroken {
                        return Err(e);
                    }
                    came = false;
                    state.stream = Some(Stream::begin(&self.served, rest));
                }
            }
        }
        if state.stream.as_ref().is_some_and(|s| s.next() >= s.end()) {
            state.stream = None;
        }
        Ok(())
    }
}

impl Served {
    /// What to ask for to get these bytes, as far as fits into one request, and where that ends.
    fn selections(&self, bytes: Range<u64>) -> (Vec<Selection>, u64) {
        let first = self.order.partition_point(|(start, _)| *start <= bytes.start).saturating_sub(1);
        let (mut selected, mut named, mut at) = (Vec::new(), 0, bytes.start);
        for (start, member) in self.order.iter().skip(first).take_while(|(start, _)| *start < bytes.end) {
            let subject = &self.statement.subjects[*member];
            let within = at.saturating_sub(*start)..subject.size.min(bytes.end - start);
            if within.is_empty() {
                continue;
            }
            named += subject.path.len() + 32;
            if named > REQUEST_PATHS && !selected.is_empty() {
                break;
            }
            at = start + within.end;
            selected.push((subject.path.clone(), Some(within)));
        }
        (selected, at)
    }
}

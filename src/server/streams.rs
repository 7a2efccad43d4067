//! Streams of bytes that are not plaintext: exports. A thread writes, the client reads at its own pace, within limits.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::calls::{Call, Calls};
use super::connection::Cut;
use super::standing::lost;
use crate::error::{Error, ErrorId, Result};
use crate::vault::Standing;
use crate::wire::PIECE_LEN;

/// A response stream.
pub(super) type Answers<T> = ReceiverStream<Result<T, Status>>;

/// Where the thread puts messages.
pub(super) struct Outlet<T> {
    messages: mpsc::Sender<Result<T, Status>>,
    runtime: Handle,
    stall: Duration,
    cut: Cut,
    standing: Standing,
}

impl<T: Send> Outlet<T> {
    /// Blocking.
    ///
    /// # Errors
    /// `DeadlineExceeded` when the client does not read, `Unreachable` when it is gone.
    pub(super) fn send(&self, message: T) -> Result<()> {
        self.put(Ok(message))
    }

    fn put(&self, message: Result<T, Status>) -> Result<()> {
        // Most of the time there is room.
        let message = match self.messages.try_send(message) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(message) | TrySendError::Closed(message)) => message,
        };
        let sending = async {
            tokio::select! {
                sent = tokio::time::timeout(self.stall, self.messages.send(message)) => Ok(sent),
                why = lost(self.standing.clone()) => Err(why),
            }
        };
        let sent = self.runtime.block_on(sending).inspect_err(|_| self.cut.now())?;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Error::new(ErrorId::Unreachable, "the client is gone")),
            Err(_) => {
                self.cut.now();
                Err(Error::new(ErrorId::DeadlineExceeded, "the client does not read"))
            }
        }
    }
}

/// Runs `work` on a thread of its own; its error becomes the status of the stream, which is cut when its standing is lost.
pub(super) fn streamed<T: Send + 'static>(
    calls: &Arc<Calls>,
    call: Call,
    standing: Standing,
    work: impl FnOnce(&Call, &Outlet<T>) -> Result<()> + Send + 'static,
) -> Result<Answers<T>, Status> {
    let transfer = calls.transfer(&call.caller).map_err(|e| call.status(&e))?;
    let (messages, answers) = mpsc::channel(1);
    let (runtime, cut) = (Handle::current(), Cut::of_this_stream());
    let outlet = Outlet { messages, runtime, stall: calls.limits.stall, cut, standing };
    let working = calls.working();
    tokio::task::spawn_blocking(move || {
        if let Err(error) = work(&call, &outlet) {
            // A client that is gone is told nothing.
            let _ = outlet.put(Err(call.status(&error)));
        }
        drop((transfer, working));
    });
    Ok(ReceiverStream::new(answers))
}

/// Writes as messages of at most 1 MiB.
pub(super) struct Pieces<'a, T, F: Fn(Bytes) -> T> {
    outlet: &'a Outlet<T>,
    wrap: F,
    pending: Vec<u8>,
}

impl<'a, T: Send, F: Fn(Bytes) -> T> Pieces<'a, T, F> {
    pub(super) fn new(outlet: &'a Outlet<T>, wrap: F) -> Self {
        Self { outlet, wrap, pending: Vec::with_capacity(PIECE_LEN) }
    }

    fn hand_on(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::replace(&mut self.pending, Vec::with_capacity(PIECE_LEN)));
        self.outlet.send((self.wrap)(piece)).map_err(io::Error::other)
    }
}

impl<T: Send, F: Fn(Bytes) -> T> io::Write for Pieces<'_, T, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE_LEN - self.pending.len());
        self.pending.extend_from_slice(&bytes[..taken]);
        if self.pending.len() == PIECE_LEN {
            self.hand_on()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_on()
    }
}

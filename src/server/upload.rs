//! Bytes that come in as a stream of messages, for code that reads: strictly in order, exactly as many as announced.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::standing::lost;
use crate::error::{Error, ErrorId};
use crate::seal::io::ReadAt;
use crate::vault::Standing;
use crate::wire::PIECE_LEN;

/// How long an uploading client may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// What the network side hands to the reading side.
enum Item {
    Data(Bytes),
    /// The client closed its side properly.
    End,
    Failed(Error),
}

/// What a message of an upload is.
pub(super) enum Incoming {
    Data(Bytes),
    /// All was sent: so many bytes.
    End(u64),
    Other,
}

/// The network side: forwards messages until the reader has enough.
pub(super) struct Pump(mpsc::Sender<Item>);

/// The reading side, for a blocking thread.
pub(super) struct Inbox {
    items: mpsc::Receiver<Item>,
    current: Bytes,
    /// Bytes that are still to be read.
    missing: u64,
    failure: Option<Error>,
}

/// The two sides of an upload of `size` bytes.
pub(super) fn upload(size: u64) -> (Pump, Arc<Mutex<Inbox>>) {
    let (sender, items) = mpsc::channel(1);
    let inbox = Inbox { items, current: Bytes::new(), missing: size, failure: None };
    (Pump(sender), Arc::new(Mutex::new(inbox)))
}

impl Pump {
    /// Runs until the client has sent everything, fails, may not go on, or nobody reads any more. `read` says what a message
    /// is; `closes`: there is no message at the end, the client closes its side instead.
    pub(super) async fn run<M>(
        self,
        messages: &mut Streaming<M>,
        closes: bool,
        standing: Standing,
        read: impl Fn(M) -> Incoming,
    ) {
        let why = tokio::select! {
            () = self.forward(messages, closes, read) => return,
            why = lost(standing) => why,
        };
        // If nobody reads any more, it is over anyway.
        let _ = self.0.send(Item::Failed(why)).await;
    }

    async fn forward<M>(&self, messages: &mut Streaming<M>, closes: bool, read: impl Fn(M) -> Incoming) {
        let mut received = 0;
        loop {
            let item = match tokio::time::timeout(SILENCE, messages.message()).await {
                Ok(Ok(Some(message))) => match read(message) {
                    Incoming::Data(bytes) if (1..=PIECE_LEN).contains(&bytes.len()) => {
                        received += bytes.len() as u64;
                        Item::Data(bytes)
                    }
                    Incoming::End(bytes) if bytes == received => Item::End,
                    Incoming::End(_) => Item::Failed(invalid("the end of the upload names another number of bytes")),
                    _ => Item::Failed(invalid("an upload goes on with pieces of 1 byte to 1 MiB")),
                },
                Ok(Ok(None)) if closes => Item::End,
                Ok(Ok(None)) => Item::Failed(invalid("the upload ended without its end message")),
                Ok(Err(status)) => Item::Failed(cut(&status)),
                Err(_) => Item::Failed(Error::new(
                    ErrorId::DeadlineExceeded,
                    format!("the client sent nothing for {SILENCE:?}"),
                )),
            };
            let last = !matches!(item, Item::Data(_));
            if self.0.send(item).await.is_err() || last {
                return;
            }
        }
    }
}

fn cut(status: &Status) -> Error {
    Error::new(ErrorId::Unreachable, format!("the upload was cut: {}", status.message()))
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorId::InvalidArgument, message)
}

impl Inbox {
    /// Blocking. The read that takes the last byte also makes sure that the client meant it to be the last: nothing is
    /// published for an upload that is longer than announced, or cut at its end.
    fn fill(&mut self, mut buffer: &mut [u8]) -> io::Result<()> {
        if buffer.len() as u64 > self.missing {
            return Err(self.fail(invalid("more was read than announced")));
        }
        self.missing -= buffer.len() as u64;
        while !buffer.is_empty() {
            if self.current.is_empty() {
                self.current = match self.next() {
                    Item::Data(bytes) => bytes,
                    Item::End => return Err(self.fail(invalid("fewer bytes came than announced"))),
                    Item::Failed(error) => return Err(self.fail(error)),
                };
            }
            let taken = buffer.len().min(self.current.len());
            let (head, tail) = buffer.split_at_mut(taken);
            self.current.copy_to_slice(head);
            buffer = tail;
        }
        if self.missing == 0 { self.expect_end() } else { Ok(()) }
    }

    /// Blocking: for an upload of nothing, before anything is done with it.
    pub(super) fn expect_end(&mut self) -> io::Result<()> {
        let problem = match self.current.is_empty().then(|| self.next()) {
            Some(Item::End) => return Ok(()),
            Some(Item::Failed(error)) => error,
            _ => invalid("more bytes came than announced"),
        };
        Err(self.fail(problem))
    }

    fn next(&mut self) -> Item {
        let gone = || Item::Failed(Error::new(ErrorId::Unreachable, "the client is gone"));
        self.items.blocking_recv().unwrap_or_else(gone)
    }

    /// Keeps the error for whoever answers the call: an `io::Error` tells only its text.
    fn fail(&mut self, error: Error) -> io::Error {
        let told = io::Error::other(error.message().to_owned());
        self.failure.get_or_insert(error);
        told
    }

    /// Why the upload failed, if it did.
    pub(super) fn failure(inbox: &Mutex<Self>) -> Option<Error> {
        lock(inbox).failure.take()
    }
}

pub(super) fn lock(inbox: &Mutex<Inbox>) -> std::sync::MutexGuard<'_, Inbox> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One member of the upload. It can be read once, from start to end, after the members before it.
pub(super) struct Member {
    inbox: Arc<Mutex<Inbox>>,
    size: u64,
    /// What is missing from the upload when this member's first byte is next.
    begins_at_missing: u64,
}

impl Member {
    /// The members of an upload, in order. `sizes` sum up to what [`upload`] was told.
    pub(super) fn all(inbox: &Arc<Mutex<Inbox>>, sizes: &[u64]) -> Vec<Self> {
        let mut missing = lock(inbox).missing;
        let mut member = |&size: &u64| {
            let begins_at_missing = missing;
            missing -= size;
            Self { inbox: Arc::clone(inbox), size, begins_at_missing }
        };
        sizes.iter().map(&mut member).collect()
    }
}

impl ReadAt for Member {
    fn len(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.size);
        if end.is_none() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if buffer.is_empty() {
            return Ok(());
        }
        let mut inbox = lock(&self.inbox);
        if inbox.missing != self.begins_at_missing - offset {
            return Err(io::Error::other("a stream can only be read once, in order"));
        }
        inbox.fill(buffer)
    }
}

/// All of the upload, for a sealed file.
pub(super) struct Whole(pub(super) Arc<Mutex<Inbox>>);

impl io::Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut inbox = lock(&self.0);
        let taken = inbox.missing.min(buffer.len() as u64) as usize;
        if taken > 0 {
            inbox.fill(&mut buffer[..taken])?;
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(size: u64, items: Vec<Item>) -> Arc<Mutex<Inbox>> {
        let (sender, receiver) = mpsc::channel(16);
        items.into_iter().for_each(|i| sender.try_send(i).unwrap());
        let (_, inbox) = upload(size);
        lock(&inbox).items = receiver;
        inbox
    }

    fn data(text: &'static str) -> Item {
        Item::Data(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn members_are_cut_out_of_the_stream_wherever_the_messages_end() {
        let inbox = sent(6, vec![data("a"), data("bcd"), data("ef"), Item::End]);
        let members = Member::all(&inbox, &[2, 0, 4]);
        let mut two = [0; 2];
        members[0].read_exact_at(&mut two, 0).unwrap();
        assert_eq!(&two, b"ab");
        members[1].read_exact_at(&mut [], 0).unwrap();
        members[2].read_exact_at(&mut two, 0).unwrap();
        assert_eq!(&two, b"cd");
        assert!(members[2].read_exact_at(&mut two, 0).is_err(), "not a second time");
        assert!(members[0].read_exact_at(&mut two, 0).is_err(), "not backwards");
        members[2].read_exact_at(&mut two, 2).unwrap();
        assert_eq!(&two, b"ef");
        assert!(members[2].read_exact_at(&mut two, 4).is_err());
        assert!(Inbox::failure(&inbox).is_none());
    }

    #[test]
    fn the_last_byte_is_given_only_when_the_client_ends_there() {
        let id = |items, size| {
            let inbox = sent(size, items);
            let mut buffer = vec![0; size as usize];
            Member::all(&inbox, &[size])[0].read_exact_at(&mut buffer, 0).unwrap_err();
            Inbox::failure(&inbox).unwrap().id()
        };
        assert_eq!(id(vec![data("ab"), Item::End], 3), ErrorId::InvalidArgument);
        assert_eq!(id(vec![data("abcd"), Item::End], 3), ErrorId::InvalidArgument);
        assert_eq!(id(vec![data("abc"), data("d"), Item::End], 3), ErrorId::InvalidArgument);
        assert_eq!(id(vec![data("abc")], 3), ErrorId::Unreachable);
        assert_eq!(id(vec![data("ab"), Item::Failed(cut(&Status::cancelled("")))], 3), ErrorId::Unreachable);
        assert!(lock(&sent(0, vec![data("a")])).expect_end().is_err());
        assert!(lock(&sent(0, vec![Item::End])).expect_end().is_ok());
    }

    #[test]
    fn a_sealed_file_is_read_to_its_announced_end() {
        use std::io::Read as _;
        let mut text = String::new();
        Whole(sent(5, vec![data("ab"), data("cde"), Item::End])).read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcde");
        assert!(Whole(sent(5, vec![data("ab"), data("cdef"), Item::End])).read_to_string(&mut text).is_err());
    }
}

//! Plaintext on its way out. A segment is a buffer of 1 MiB; it exists only while a permit of the daemon, one of its principal
//! and one of its stream stand for it, travels to the socket without being copied, and is wiped when the transport drops it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::shares::Shares;
use crate::names::Principal;
use crate::wire::PIECE_LEN;

/// Segments one stream may have on the way: one with the transport, one ahead.
pub(super) const PER_STREAM: usize = 2;

/// The daemon's segments.
pub(super) struct Segments {
    free: Mutex<Vec<Box<[u8]>>>,
    permits: Arc<Semaphore>,
    /// A quarter of all, so that one principal's stalled clients leave room for the others.
    shares: Shares,
}

impl Segments {
    pub(super) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Mutex::new(Vec::new()),
            permits: Arc::new(Semaphore::new(count.max(PER_STREAM))),
            shares: Shares::new((count / 4).max(PER_STREAM)),
        })
    }

    /// How many are free.
    pub(super) fn available(&self) -> usize {
        self.permits.available_permits()
    }

    /// The share of one principal, for all its streams together.
    pub(super) fn share_of(&self, principal: &Principal) -> Arc<Semaphore> {
        self.shares.of(principal)
    }

    /// Waits for room. `stream` is the permit of the stream itself.
    pub(super) async fn acquire(self: &Arc<Self>, stream: OwnedSemaphorePermit, share: &Arc<Semaphore>) -> Segment {
        let never = "these semaphores are never closed";
        let of_principal = Arc::clone(share).acquire_owned().await.expect(never);
        let of_daemon = Arc::clone(&self.permits).acquire_owned().await.expect(never);
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Segment {
            buffer: free.unwrap_or_else(|| vec![0; PIECE_LEN].into()),
            len: 0,
            pool: Arc::clone(self),
            _permits: [stream, of_principal, of_daemon],
        }
    }
}

/// A buffer with the permits that stand for it.
pub(super) struct Segment {
    buffer: Box<[u8]>,
    len: usize,
    pool: Arc<Segments>,
    /// Dropped after the buffer went back: there are never more buffers than permits.
    _permits: [OwnedSemaphorePermit; 3],
}

impl Segment {
    /// The first `len` bytes, to be filled; `len` is at most 1 MiB.
    pub(super) fn fill(&mut self, len: usize) -> &mut [u8] {
        assert!(len <= PIECE_LEN, "a segment holds one piece");
        self.len = self.len.max(len);
        &mut self.buffer[..len]
    }

    /// For the transport, which drops it when it was written out.
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Segment {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // Not `zeroize`, which stores byte by byte: the buffer goes on living in the pool, so these stores are not dead.
        self.buffer[..self.len].fill(0);
        let buffer = std::hint::black_box(std::mem::take(&mut self.buffer));
        self.pool.free.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Segment({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn segment(pool: &Arc<Segments>, who: &Principal) -> Segment {
        let stream = Arc::new(Semaphore::new(PER_STREAM)).acquire_owned().await.unwrap();
        pool.acquire(stream, &pool.share_of(who)).await
    }

    #[tokio::test]
    async fn a_permit_is_free_only_when_the_last_reference_is_gone_and_the_bytes_are_wiped() {
        let pool = Segments::new(8);
        let who = Principal::local_operator(1);
        let mut one = segment(&pool, &who).await;
        one.fill(5).copy_from_slice(b"plain");
        let bytes = one.into_bytes();
        let part = bytes.slice(1..3);
        assert_eq!((&bytes[..], pool.permits.available_permits()), (&b"plain"[..], 7));
        drop(bytes);
        assert_eq!((&part[..], pool.permits.available_permits()), (&b"la"[..], 7));
        drop(part);
        assert_eq!(pool.permits.available_permits(), 8);
        let free = pool.free.lock().unwrap();
        assert_eq!(free.len(), 1);
        assert!(free[0].iter().all(|b| *b == 0));
    }

    #[tokio::test]
    async fn one_principal_gets_a_quarter_and_another_still_gets_some() {
        let pool = Segments::new(8);
        let (one, other) = (Principal::local_operator(1), Principal::local_operator(2));
        let _held = (segment(&pool, &one).await, segment(&pool, &one).await);
        let wait = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(wait, segment(&pool, &one)).await.is_err());
        assert!(tokio::time::timeout(wait, segment(&pool, &other)).await.is_ok());
    }
}

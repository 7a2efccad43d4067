//! Streams that began and have not ended: what joins their rows, and what is known of them in between.

use std::collections::HashMap;

use super::event::Event;
use super::snapshot::{Kept, kept};
use crate::audit::Act;
use crate::names::RequestId;

/// More streams at the same time are not followed.
const MOST: usize = 65_536;
/// Request ids whose callers are remembered: so many, and as many before them.
const CALLERS: usize = 32_768;

/// Streams, by who reads what under which request id. Callers choose request ids, so one that is used again, at the same time
/// or by somebody else, must hide nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams {
    open: HashMap<u64, Open>,
    callers: [HashMap<RequestId, u64>; 2],
}

/// The streams of one key.
#[derive(Clone, Copy, Debug)]
struct Open {
    streams: u32,
    /// Bytes that renewals told of, and no end yet.
    counted: u64,
    /// Bytes of the whole version.
    size: Option<u64>,
}

/// What the rows of a stream say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Followed {
    /// Bytes that were not counted before: a renewal tells of some, the end of all.
    pub fresh: u64,
    /// Bytes of the whole version, as far as a row of the stream told.
    pub size: Option<u64>,
    /// Somebody else used this request id before.
    pub foreign: bool,
}

impl Streams {
    /// Takes an event. `caller` stands for its principal; `key` for principal, artifact and request id.
    pub fn follow(&mut self, event: &Event, caller: u64, key: u64) -> Followed {
        let before = self.open.get(&key).and_then(|open| open.size);
        let foreign = event.is_opening() && self.is_foreign(event.request, caller);
        Followed { fresh: self.count(event, key), size: event.size.or(before), foreign }
    }

    fn count(&mut self, event: &Event, key: u64) -> u64 {
        match event.act {
            _ if event.refused.is_some() => 0,
            Act::ArtifactFetchStart | Act::ArtifactExport => {
                if self.open.len() < MOST || self.open.contains_key(&key) {
                    let open = self.open.entry(key).or_insert(Open { streams: 0, counted: 0, size: None });
                    open.streams = open.streams.saturating_add(1);
                    open.size = event.size.or(open.size);
                }
                event.bytes
            }
            Act::LeaseRenew => match self.open.get_mut(&key) {
                Some(open) => {
                    let fresh = event.bytes.saturating_sub(open.counted);
                    open.counted = event.bytes.max(open.counted);
                    fresh
                }
                None => 0,
            },
            Act::ArtifactFetchEnd | Act::ArtifactExportEnd => {
                let Some(open) = self.open.get_mut(&key) else { return event.bytes };
                // Taken off one end only: where renewals of several streams met, too much is counted and never too little.
                let counted = std::mem::take(&mut open.counted);
                open.streams = open.streams.saturating_sub(1);
                if open.streams == 0 {
                    self.open.remove(&key);
                }
                event.bytes.saturating_sub(counted)
            }
            _ => event.bytes,
        }
    }

    /// Whether a request id was another caller's. Remembered by whoever came first.
    fn is_foreign(&mut self, request: RequestId, caller: u64) -> bool {
        if request.0 == [0; 16] {
            return false;
        }
        if let Some(first) = self.callers.iter().find_map(|callers| callers.get(&request)) {
            return *first != caller;
        }
        if self.callers[0].len() >= CALLERS {
            self.callers.swap(0, 1);
            self.callers[0].clear();
        }
        self.callers[0].insert(request, caller);
        false
    }

    /// Forgets the streams that are open, and says how many there are: a daemon that starts has none.
    pub fn cut(&mut self) -> u32 {
        std::mem::take(&mut self.open).values().fold(0, |sum, open| sum.saturating_add(open.streams))
    }
}

kept!([] Open { streams, counted, size });
kept!([] Streams { open, callers });

impl Kept for RequestId {
    fn put(&self, to: &mut Vec<u8>) {
        self.0.put(to);
    }
    fn take(from: &mut &[u8]) -> Option<Self> {
        Kept::take(from).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::test::{Fed, GIB};
    use super::*;

    /// Follows events of one caller and artifact.
    fn feed(streams: &mut Streams, act: Act, bytes: u64) -> Followed {
        let mut event = Fed::new().event(0, "w", act);
        event.bytes = bytes;
        event.size = (act == Act::ArtifactFetchStart).then_some(9 * GIB);
        streams.follow(&event, 1, 1)
    }

    #[test]
    fn bytes_of_renewals_and_of_the_end_are_counted_once() {
        let mut streams = Streams::default();
        feed(&mut streams, Act::ArtifactFetchStart, 0);
        for (act, bytes, fresh) in
            [(Act::LeaseRenew, GIB, GIB), (Act::LeaseRenew, 3 * GIB, 2 * GIB), (Act::ArtifactFetchEnd, 4 * GIB, GIB)]
        {
            assert_eq!(feed(&mut streams, act, bytes), Followed { fresh, size: Some(9 * GIB), foreign: false });
        }
        assert!(streams.open.is_empty());
    }

    #[test]
    fn streams_that_share_a_request_id_hide_no_bytes_and_no_stream() {
        let mut streams = Streams::default();
        (0..3).for_each(|_| assert_eq!(feed(&mut streams, Act::ArtifactFetchStart, 0).fresh, 0));
        let mut fresh = 0;
        for act in [Act::LeaseRenew, Act::LeaseRenew, Act::ArtifactFetchEnd, Act::LeaseRenew, Act::ArtifactFetchEnd] {
            fresh += feed(&mut streams, act, GIB).fresh;
        }
        assert!(fresh >= 2 * GIB, "{fresh}");
        assert_eq!(streams.cut(), 1);
        assert_eq!(streams.cut(), 0);
    }

    #[test]
    fn a_request_id_is_its_first_callers() {
        let mut streams = Streams::default();
        let mut start = Fed::new().event(0, "w", Act::ArtifactFetchStart);
        assert!(!streams.follow(&start, 1, 1).foreign && !streams.follow(&start, 2, 2).foreign, "none was given");
        start.request = RequestId([7; 16]);
        assert!(!streams.follow(&start, 1, 1).foreign && !streams.follow(&start, 1, 1).foreign);
        assert!(streams.follow(&start, 2, 2).foreign && !streams.follow(&start, 1, 1).foreign);
        for i in 0..3 * CALLERS as u128 {
            start.request = RequestId((i + 1).to_be_bytes());
            assert!(!streams.follow(&start, 3, 3).foreign);
        }
        assert!(streams.callers.iter().all(|callers| callers.len() <= CALLERS));
    }
}

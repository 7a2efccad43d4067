//! The log itself: numbers that are missing, time that runs backwards, streams without an end.

use std::collections::HashMap;

use super::Finding;
use crate::audit::Act;
use crate::names::RequestId;
use crate::watch::document::parameters;
use crate::watch::event::Event;
use crate::watch::flow::MINUTE;

parameters! {
    /// What a log that was tampered with, or a machine that was, looks like from inside. The proof is `vault audit verify`.
    AuditGap = "audit-gap", High, quiet 60;
    /// The clock may go back by so many minutes.
    back_minutes: u32 = 5, 0..=1440;
    /// So many streams may be without an end when a daemon starts: those it was killed in.
    open_streams: u32 = 32, 0..=65_536;
}

/// Streams that began and have not ended.
#[derive(Clone, Debug, Default)]
pub(in crate::watch) struct Streams(HashMap<RequestId, Stream>);

/// One of them.
#[derive(Clone, Copy, Debug)]
struct Stream {
    /// Bytes that renewals told of.
    counted: u64,
    /// Bytes of the whole version.
    size: Option<u64>,
}

impl Streams {
    /// More are not followed.
    const MAX: usize = 65_536;

    /// Takes an event. Returns the bytes of it that were not counted yet (a renewal tells of some, the end of all), and the size of
    /// the version, which the start of a stream tells.
    pub fn follow(&mut self, event: &Event) -> (u64, Option<u64>) {
        let before = self.0.get(&event.request).and_then(|stream| stream.size);
        (self.count(event), event.size.or(before))
    }

    fn count(&mut self, event: &Event) -> u64 {
        match event.act {
            _ if event.refused.is_some() => 0,
            Act::ArtifactFetchStart | Act::ArtifactExport => {
                if self.0.len() < Self::MAX {
                    self.0.insert(event.request, Stream { counted: 0, size: event.size });
                }
                event.bytes
            }
            Act::LeaseRenew => match self.0.get_mut(&event.request) {
                Some(stream) => {
                    let fresh = event.bytes.saturating_sub(stream.counted);
                    stream.counted = event.bytes.max(stream.counted);
                    fresh
                }
                None => 0,
            },
            Act::ArtifactFetchEnd | Act::ArtifactExportEnd => {
                let counted = self.0.remove(&event.request).map_or(0, |stream| stream.counted);
                event.bytes.saturating_sub(counted)
            }
            _ => event.bytes,
        }
    }

    #[cfg(test)]
    pub fn open(&self) -> usize {
        self.0.len()
    }
}

pub(in crate::watch) fn check(
    parameters: &AuditGap,
    event: &Event,
    expected: Option<u64>,
    back: i64,
    streams: &mut Streams,
) -> Option<Finding> {
    if let Some(expected) = expected.filter(|expected| *expected != event.seq) {
        return Some(Finding::new(format!("row {} follows", event.seq), format!("row {expected}")));
    }
    if back > i64::from(parameters.back_minutes) * MINUTE {
        let seen = format!("the clock went back by {} minutes", back / MINUTE);
        return Some(Finding::new(seen, format!("at most {}", parameters.back_minutes)));
    }
    // Whatever is open now was cut by the end of the daemon before.
    let cut = if event.act == Act::DaemonStart { std::mem::take(&mut streams.0).len() } else { 0 };
    (cut > parameters.open_streams as usize)
        .then(|| Finding::new(format!("{cut} streams without an end"), format!("at most {}", parameters.open_streams)))
}

#[cfg(test)]
mod tests {
    use super::super::test::{Fed, GIB, ids};
    use crate::audit::Act;
    use crate::names::RequestId;

    #[test]
    fn it_speaks_of_a_missing_row_and_of_time_that_runs_backwards() {
        let mut fed = Fed::new();
        let first = fed.event(0, "op:a", Act::VaultStatus);
        assert!(fed.feed(&first).is_empty());
        let _lost = fed.event(1, "op:a", Act::VaultStatus);
        let later = fed.event(2, "op:a", Act::VaultStatus);
        let alerts = fed.feed(&later);
        assert_eq!(ids(&alerts), ["audit-gap"]);
        assert_eq!((alerts[0].seen.as_str(), alerts[0].usual.as_str()), ("row 3 follows", "row 2"));

        let mut fed = Fed::new();
        // The nearest benign: an hour of summer time forward, and NTP that steps back a little.
        for minute in [0, 60, 120, 180, 178, 190] {
            let event = fed.event(minute, "op:a", Act::VaultStatus);
            assert!(fed.feed(&event).is_empty(), "{minute}");
        }
        let event = fed.event(120, "op:a", Act::VaultStatus);
        assert_eq!(ids(&fed.feed(&event)), ["audit-gap"]);
    }

    #[test]
    fn it_speaks_of_streams_that_never_ended_and_not_of_one_crash() {
        for (streams, told) in [(3, 0), (40, 1)] {
            let mut fed = Fed::new();
            for i in 0..streams {
                fed.grant(0, &format!("w{i}"), "prod/model");
                let mut start = fed.event(1, &format!("w{i}"), Act::ArtifactFetchStart);
                start.request = RequestId([i; 16]);
                fed.feed(&start);
            }
            let start = fed.event(2, "op:a", Act::DaemonStart);
            assert_eq!(ids(&fed.feed(&start)).len(), told);
        }
    }

    #[test]
    fn bytes_of_renewals_and_of_the_end_are_counted_once() {
        let mut streams = super::Streams::default();
        let mut fed = Fed::new();
        let mut follow = |act, bytes| {
            let mut event = fed.event(0, "w", act);
            event.bytes = bytes;
            event.size = (act == Act::ArtifactFetchStart).then_some(9 * GIB);
            let (fresh, size) = streams.follow(&event);
            assert_eq!(size, Some(9 * GIB));
            fresh
        };
        follow(Act::ArtifactFetchStart, 0);
        let counted = [(Act::LeaseRenew, GIB), (Act::LeaseRenew, 3 * GIB), (Act::ArtifactFetchEnd, 4 * GIB)];
        assert_eq!(counted.map(|(act, bytes)| follow(act, bytes)), [GIB, 2 * GIB, GIB]);
        assert_eq!(streams.open(), 0);
    }
}

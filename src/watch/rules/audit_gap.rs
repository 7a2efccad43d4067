//! The log itself: numbers that are missing, time that runs backwards, streams without an end.

use super::Finding;
use crate::audit::Act;
use crate::watch::document::parameters;
use crate::watch::event::Event;
use crate::watch::flow::MINUTE;
use crate::watch::streams::Streams;

parameters! {
    /// What a log that was tampered with, or a machine that was, looks like from inside. The proof is `vault audit verify`.
    AuditGap = "audit-gap", High, quiet 60;
    /// The clock may go back by so many minutes.
    back_minutes: u32 = 5, 0..=1440;
    /// So many streams may be without an end when a daemon starts: those it was killed in.
    open_streams: u32 = 32, 0..=65_536;
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
    let cut = if event.act == Act::DaemonStart { streams.cut() } else { 0 };
    (cut > parameters.open_streams)
        .then(|| Finding::new(format!("{cut} streams without an end"), format!("at most {}", parameters.open_streams)))
}

#[cfg(test)]
mod tests {
    use super::super::test::{Fed, ids};
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
}

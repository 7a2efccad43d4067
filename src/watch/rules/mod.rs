//! The rules, one in each file: its parameters with their defaults, what it looks at, and its test.
//!
//! A rule sees an event and what is remembered of its principal before the event was learned. It answers what it saw and what
//! it had expected, in words for people; the engine does the rest.

pub(super) mod artifact_sweep;
pub(super) mod audit_gap;
pub(super) mod denied_burst;
pub(super) mod deny_list_hit;
pub(super) mod first_seen;
pub(super) mod new_address;
pub(super) mod off_hours;
pub(super) mod read_volume;
pub(super) mod replay;
pub(super) mod slow_extraction;

pub use artifact_sweep::ArtifactSweep;
pub use audit_gap::AuditGap;
pub use denied_burst::DeniedBurst;
pub use deny_list_hit::DenyListHit;
pub use first_seen::FirstSeen;
pub use new_address::NewAddress;
pub use off_hours::OffHours;
pub use read_volume::ReadVolume;
pub use replay::Replay;
pub use slow_extraction::SlowExtraction;

use super::event::Event;
use super::flow::Flow;

/// What a rule saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// What there was.
    pub seen: String,
    /// What there usually is, or is allowed.
    pub usual: String,
}

impl Finding {
    fn new(seen: impl Into<String>, usual: impl Into<String>) -> Self {
        Self { seen: seen.into(), usual: usual.into() }
    }
}

/// What a rule may know of an event besides itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    pub event: &'a Event,
    pub flow: Flow,
    /// Bytes of the event that were not counted before.
    pub fresh: u64,
    /// Bytes of the whole version, as far as they are known.
    pub size: Option<u64>,
    /// Its request id was used by somebody else before.
    pub foreign: bool,
    /// Fingerprint of the artifact.
    pub artifact: Option<u64>,
    /// It is one that the stricter rules are about.
    pub sensitive: bool,
    /// Its principal, its artifact, or the two together were announced lately, by an enrolment, a seal or a grant.
    pub announced: bool,
    /// The log was learned from long enough.
    pub learned: bool,
}

/// `1.5 GiB`, for people.
fn amount(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = (bytes.max(1).ilog2() / 10) as usize;
    let tenths = (u128::from(bytes) * 10) >> (10 * unit);
    match (unit, tenths % 10) {
        (0, _) | (_, 0) => format!("{} {}", tenths / 10, units[unit]),
        (_, tenth) => format!("{}.{tenth} {}", tenths / 10, units[unit]),
    }
}

#[cfg(test)]
pub(super) mod test {
    //! Events for the tests of rules.

    use crate::audit::Act;
    use crate::names::{Principal, Timestamp};
    use crate::watch::{Alert, Event, Rules, Watcher};

    /// A Monday, 00:00 UTC.
    pub const MONDAY: i64 = 1_795_392_000_000;
    pub const GIB: u64 = 1 << 30;
    pub const MIB: u64 = 1 << 20;

    /// A watcher that was fed by hand.
    pub struct Fed {
        pub watcher: Watcher,
        seq: u64,
    }

    impl Fed {
        pub fn new() -> Self {
            Self::under(Rules { learn_days: 0, ..Rules::default() })
        }

        pub fn under(rules: Rules) -> Self {
            Self { watcher: Watcher::new(rules, [0; 32]), seq: 0 }
        }

        pub fn event(&mut self, minutes: i64, who: &str, act: Act) -> Event {
            self.seq += 1;
            let principal = match who.strip_prefix("op:") {
                Some(person) => Principal { subject: person.into(), ..Principal::unix_operator(0) },
                None => Principal::workload("prod".parse().unwrap(), &who.parse().unwrap()),
            };
            let mut event = Event::new(self.seq, Timestamp::from_millis(MONDAY + minutes * 60_000), principal, act);
            event.object = Some("prod/model".into());
            event.peer = Some("10.0.0.1".parse().unwrap());
            event
        }

        pub fn feed(&mut self, event: &Event) -> Vec<Alert> {
            self.watcher.observe(event)
        }

        /// A stream of this many bytes.
        pub fn read(&mut self, minutes: i64, who: &str, object: &str, bytes: u64, size: u64) -> Vec<Alert> {
            let mut start = self.event(minutes, who, Act::ArtifactFetchStart);
            (start.object, start.size) = (Some(object.into()), Some(size));
            let mut end = Event { seq: start.seq + 1, act: Act::ArtifactFetchEnd, bytes, ..start.clone() };
            self.seq += 1;
            end.request = start.request;
            let mut alerts = self.feed(&start);
            alerts.extend(self.feed(&end));
            alerts
        }

        /// Grants, so that first times are expected.
        pub fn grant(&mut self, minutes: i64, who: &str, object: &str) {
            let mut grant = self.event(minutes, "op:admin", Act::GrantAdd);
            grant.object = Some(object.into());
            grant.grantee = Some(format!("prod/{who}"));
            assert!(self.feed(&grant).is_empty());
        }
    }

    pub fn ids(alerts: &[Alert]) -> Vec<&'static str> {
        alerts.iter().map(|a| a.rule.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::amount;

    #[test]
    fn amounts_are_told_in_round_units() {
        let told: Vec<_> = [0, 1023, 1024, 1536, 1 << 30, u64::MAX].map(amount).into();
        assert_eq!(told, ["0 B", "1023 B", "1 KiB", "1.5 KiB", "1 GiB", "15.9 EiB"]);
    }
}

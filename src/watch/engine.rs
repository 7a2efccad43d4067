//! The watcher: takes rows in order, says what the rules notice, and learns.

use super::announced::Announced;
use super::event::Event;
use super::flow::{Flow, hour_of_day};
use super::principals::Principals;
use super::profile::Profile;
use super::rules::{self, Finding, Scene};
use super::sketch::Sketch;
use super::snapshot::{Kept, kept};
use super::streams::Streams;
use super::{Alert, RuleId, Rules};
use crate::audit::Act;
use crate::crypto::hash::sha256;
use crate::names::PrincipalKind;

/// Principals that are remembered at most: about 1.2 KiB each.
pub const PRINCIPALS_MAX: usize = 100_000;

/// Samples of all principals of a kind that are remembered.
const KIND_REMEMBERED: u32 = 20_000;

/// Of the form that a memory is kept in. The first number is raised when what is kept means something else.
const LAYOUT: [u64; 3] = [1, RuleId::ALL.len() as u64, size_of::<Profile>() as u64];

/// Follows a log. The same rows under the same rules give the same alerts.
#[derive(Debug)]
pub struct Watcher {
    rules: Rules,
    /// So that nobody can choose names whose fingerprints collide.
    salt: [u8; 32],
    memory: Memory,
}

/// What it knows, apart from what it was told.
#[derive(Debug)]
struct Memory {
    flow: Flow,
    first_day: Option<u16>,
    last_seq: Option<u64>,
    principals: Principals,
    /// Hours with traffic of all principals of a kind.
    kinds: [Sketch<u32>; 3],
    announced: Announced,
    streams: Streams,
    /// By rule: the minute after the last alert about the log itself.
    told: [u32; RuleId::ALL.len()],
}

impl Watcher {
    /// One that has seen nothing yet.
    pub fn new(rules: Rules, salt: [u8; 32]) -> Self {
        Self::with_room(rules, salt, PRINCIPALS_MAX)
    }

    /// One that remembers so many principals at most.
    pub fn with_room(rules: Rules, salt: [u8; 32], principals: usize) -> Self {
        let flow = Flow::default();
        Self {
            rules,
            salt,
            memory: Memory {
                flow,
                first_day: None,
                last_seq: None,
                principals: Principals::new(principals, flow),
                kinds: [Sketch::new(); 3],
                announced: Announced::default(),
                streams: Streams::default(),
                told: [0; RuleId::ALL.len()],
            },
        }
    }

    /// Judges by other rules from now on. What was learned stays.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// All that is remembered, for [`Self::resume`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        LAYOUT.put(&mut bytes);
        self.salt.put(&mut bytes);
        self.memory.put(&mut bytes);
        bytes
    }

    /// Goes on from what [`Self::to_bytes`] gave. `None` for anything else, also of another release that remembers other things.
    pub fn resume(rules: Rules, mut bytes: &[u8]) -> Option<Self> {
        let from = &mut bytes;
        let known = <[u64; 3]>::take(from)? == LAYOUT;
        let resumed = Self { salt: Kept::take(from).filter(|_| known)?, memory: Kept::take(from)?, rules };
        from.is_empty().then_some(resumed)
    }

    /// Principals that are remembered.
    pub fn principals(&self) -> usize {
        self.memory.principals.len()
    }

    /// A row that says nothing to this release.
    pub fn pass(&mut self, seq: u64) {
        self.memory.last_seq = Some(seq);
    }

    /// The next row.
    pub fn observe(&mut self, event: &Event) -> Vec<Alert> {
        let mut alerts = Vec::new();
        let back = self.memory.flow.advance(event.time);
        let flow = self.memory.flow;
        let expected = self.memory.last_seq.map(|last| last.saturating_add(1));
        self.memory.last_seq = Some(event.seq);
        let gap = rules::audit_gap::check(&self.rules.rule.audit_gap, event, expected, back, &mut self.memory.streams);
        tell(&self.rules, &mut self.memory.told, flow, event, RuleId::AuditGap, gap, &mut alerts);
        let who = event.actor.to_string();
        let key = format!("{who} {} {}", event.request, event.object.as_deref().unwrap_or_default());
        let (caller, key) = (self.fingerprint('p', &who), self.fingerprint('s', &key));
        let followed = self.memory.streams.follow(event, caller, key);
        self.announce(event);
        if is_own(event.act) {
            return alerts;
        }
        if self.rules.is_ignored(&who) {
            return alerts;
        }
        let artifact = event.object.as_deref().map(|object| self.fingerprint('a', object));
        let day = flow.day();
        let announced = (event.is_opening() || event.is_read()) && self.is_announced(event, artifact);
        let first_day = *self.memory.first_day.get_or_insert(day);
        let scene = Scene {
            event,
            flow,
            fresh: followed.fresh,
            size: followed.size,
            foreign: followed.foreign,
            artifact,
            sensitive: event.object.as_deref().is_some_and(|object| self.rules.is_sensitive(object, &event.labels)),
            announced,
            learned: day.saturating_sub(first_day) >= self.rules.learn_days,
        };
        let (profile, _) = self.memory.principals.of(&who, flow);
        judge(&self.rules, &scene, profile, &mut self.memory.kinds[kind(event.actor.kind)], &mut alerts);
        alerts
    }

    fn announce(&mut self, event: &Event) {
        let Some(object) = event.object.as_deref().filter(|_| event.refused.is_none()) else { return };
        let what = match (event.act, &event.grantee) {
            (Act::ArtifactSeal, _) => self.fingerprint('a', object),
            (Act::WorkloadEnroll, _) => self.fingerprint('w', object),
            (Act::GrantAdd, Some(workload)) => self.pair(workload, object),
            _ => return,
        };
        self.memory.announced.learn(what, self.memory.flow.day());
    }

    fn is_announced(&self, event: &Event, artifact: Option<u64>) -> bool {
        let day = self.memory.flow.day();
        let Some(object) = &event.object else { return false };
        if artifact.is_some_and(|artifact| self.memory.announced.knows(artifact, day)) {
            return true;
        }
        // Enrolled workloads are announced; those that others vouch for may have the same name.
        let Some(namespace) = event.actor.namespace.as_ref().filter(|_| event.actor.is_enrolled()) else {
            return false;
        };
        let workload = format!("{namespace}/{}", event.actor.subject);
        self.memory.announced.knows(self.fingerprint('w', &workload), day)
            || self.memory.announced.knows(self.pair(&workload, object), day)
    }

    fn pair(&self, workload: &str, object: &str) -> u64 {
        self.fingerprint('g', &format!("{workload} {object}"))
    }

    /// Eight bytes that stand for a name; another `what` gives others.
    fn fingerprint(&self, what: char, name: &str) -> u64 {
        let digest = sha256(&[&self.salt[..], &[what as u8], name.as_bytes()].concat());
        u64::from_be_bytes(digest.0[..8].try_into().unwrap_or_default())
    }
}

/// Rows that the watcher itself causes.
fn is_own(act: Act) -> bool {
    matches!(act, Act::AlertRaise | Act::HoldPlace | Act::HoldRelease)
}

fn kind(kind: PrincipalKind) -> usize {
    match kind {
        PrincipalKind::Operator => 0,
        PrincipalKind::Workload => 1,
        PrincipalKind::Anonymous => 2,
    }
}

/// All rules about one principal, then what is to be learned.
fn judge(rules: &Rules, scene: &Scene<'_>, profile: &mut Profile, kind: &mut Sketch<u32>, alerts: &mut Vec<Alert>) {
    let (event, flow, set) = (scene.event, scene.flow, &rules.rule);
    if flow.hour() != profile.hour || flow.day() != profile.last_day {
        let limit = set.read_volume.limit(profile, kind);
        if let Some(level) = profile.roll(flow, limit) {
            kind.add(level, KIND_REMEMBERED);
        }
    }
    profile.hour_bytes = profile.hour_bytes.saturating_add(scene.fresh);
    let is_new = scene.artifact.filter(|artifact| event.is_opening() && !profile.artifacts.knows(*artifact)).is_some();
    let mut found = vec![
        (RuleId::DenyListHit, rules::deny_list_hit::check(&set.deny_list_hit, scene, profile)),
        (RuleId::Replay, rules::replay::check(&set.replay, scene, profile)),
        (RuleId::DeniedBurst, rules::denied_burst::check(&set.denied_burst, scene, profile)),
        (RuleId::FirstSeen, rules::first_seen::check(&set.first_seen, scene, profile)),
        (RuleId::NewAddress, rules::new_address::check(&set.new_address, scene, profile)),
        (RuleId::OffHours, rules::off_hours::check(&set.off_hours, scene, profile)),
        (RuleId::ReadVolume, rules::read_volume::check(&set.read_volume, scene, profile, kind)),
        (RuleId::SlowExtraction, rules::slow_extraction::check(&set.slow_extraction, scene, profile)),
    ];
    // Refused and harmless calls teach nothing: habits are made of reads, and each of those was judged.
    if let Some(artifact) = scene.artifact.filter(|_| event.is_opening()) {
        profile.artifacts.learn(artifact, flow.day());
        if is_new {
            profile.new_today = profile.new_today.saturating_add(1);
            found.push((RuleId::ArtifactSweep, rules::artifact_sweep::check(&set.artifact_sweep, scene, profile)));
        }
        if let Some(network) = set.new_address.network(scene).filter(|_| scene.sensitive) {
            profile.networks.learn(network, flow.day());
        }
        profile.learn_hour(flow, hour_of_day(event.time));
    }
    for (rule, finding) in found {
        tell(rules, &mut profile.told, flow, event, rule, finding, alerts);
    }
}

/// Makes an alert of a finding, unless the rule is off, or told of the same lately.
fn tell(
    rules: &Rules,
    told: &mut [u32; RuleId::ALL.len()],
    flow: Flow,
    event: &Event,
    rule: RuleId,
    finding: Option<Finding>,
    alerts: &mut Vec<Alert>,
) {
    let common = rules.rule.common(rule);
    let Some(finding) = finding.filter(|_| common.enabled) else { return };
    let Some(last) = told.get_mut(rule as usize) else { return };
    let after = flow.minute().saturating_add(1);
    // This one keeps to its quiet time itself, by artifact.
    let quiet = if rule == RuleId::DenyListHit { 0 } else { common.quiet_minutes };
    if *last != 0 && after.saturating_sub(*last) < quiet {
        return;
    }
    *last = after;
    let about_the_log = rule == RuleId::AuditGap;
    alerts.push(Alert {
        rule,
        severity: common.severity,
        response: common.action,
        hold_minutes: common.hold_minutes,
        principal: (!about_the_log).then(|| event.actor.clone()),
        object: event.object.clone().filter(|_| !about_the_log),
        seq: event.seq,
        time: event.time,
        seen: finding.seen,
        usual: finding.usual,
    });
}

kept!([] Memory { flow, first_day, last_seq, principals, kinds, announced, streams, told });

#[cfg(test)]
mod tests {
    use super::super::rules::test::{Fed, GIB, ids};
    use crate::audit::Act;
    use crate::settings::Setting;
    use crate::watch::{PRINCIPALS_MAX, Response, Rules, SNAPSHOT_MAX, Severity, Watcher};

    #[test]
    fn a_rule_that_is_off_or_a_principal_that_is_ignored_raises_nothing() {
        for (text, told) in [
            ("learn-days = 0", 1),
            ("learn-days = 0\n[rule.first-seen]\nenabled = false", 0),
            ("learn-days = 0\nignore = [\"workload prod/str*\"]", 0),
        ] {
            let mut fed = Fed::under(Rules::parse(text).unwrap());
            assert_eq!(fed.read(0, "stranger", "prod/model", GIB, GIB).len(), told, "{text}");
        }
    }

    #[test]
    fn an_alert_says_what_the_document_asks_for() {
        let text = "learn-days = 0\n[rule.first-seen]\naction = \"suspend\"\nseverity = \"high\"\nhold-minutes = 30";
        let mut fed = Fed::under(Rules::parse(text).unwrap());
        let alerts = fed.read(0, "stranger", "prod/model", GIB, GIB);
        assert_eq!(
            (alerts[0].response, alerts[0].severity, alerts[0].hold_minutes),
            (Response::Suspend, Severity::High, 30)
        );
        assert_eq!(
            alerts[0].to_string(),
            "high first-seen: workload prod/stranger on prod/model: a principal that is not known (usual: a grant, an \
             enrolment or a seal within the last 7 days)"
        );
    }

    #[test]
    fn new_rules_judge_by_what_was_learned_before() {
        let mut fed = Fed::new();
        fed.read(0, "job", "prod/model", GIB, GIB);
        fed.watcher.set_rules(Rules::parse("learn-days = 0\n[rule.first-seen]\nquiet-minutes = 0").unwrap());
        assert!(fed.read(1, "job", "prod/model", GIB, GIB).is_empty());
        assert_eq!(ids(&fed.read(2, "job", "prod/other", GIB, GIB)), ["first-seen"]);
    }

    #[test]
    fn clock_steps_of_an_hour_and_back_raise_nothing_about_anybody() {
        let mut fed = Fed::new();
        fed.grant(0, "job", "prod/model");
        for hour in 0..100 {
            let step = match hour {
                50..60 => 60,
                70..80 => -60,
                _ => 0,
            };
            let told = fed.read(hour * 60 + step + 120, "job", "prod/model", 2 * GIB, 2 * GIB);
            assert!(told.iter().all(|alert| alert.principal.is_none()), "{told:?}");
        }
    }

    #[test]
    fn the_watchers_own_rows_are_not_watched() {
        let mut fed = Fed::new();
        for act in [Act::AlertRaise, Act::HoldPlace] {
            let event = fed.event(0, "op:watch", act);
            assert!(fed.feed(&event).is_empty());
        }
        assert_eq!(fed.watcher.principals(), 0);
    }

    /// Days of reads by several principals.
    fn learned(principals: usize) -> Fed {
        let mut fed = Fed::new();
        for day in 0..8 {
            for who in 0..principals {
                fed.grant(day * 1440, &format!("job-{who}"), "prod/model");
            }
            for who in 0..principals {
                fed.read(day * 1440 + 600, &format!("job-{who}"), "prod/model", GIB, GIB);
            }
        }
        fed
    }

    #[test]
    fn a_watcher_goes_on_from_its_bytes_as_if_nothing_had_been() {
        let mut fed = learned(3);
        let mut open = fed.event(8 * 1440, "job-1", Act::ArtifactFetchStart);
        open.request = crate::names::RequestId([5; 16]);
        fed.feed(&open);
        let bytes = fed.watcher.to_bytes();
        let mut resumed = Watcher::resume(Rules { learn_days: 0, ..Rules::default() }, &bytes).unwrap();
        assert_eq!(resumed.principals(), fed.watcher.principals());
        let mut alerts = 0;
        for minute in 0..3000 {
            let mut event = fed.event(8 * 1440 + minute, "job-1", Act::ArtifactOpen);
            (event.bytes, event.peer) = (40 * GIB, Some("192.0.2.1".parse().unwrap()));
            let told = fed.feed(&event);
            assert_eq!(resumed.observe(&event), told);
            alerts += told.len();
        }
        assert!(alerts > 0);
    }

    #[test]
    fn bytes_of_another_form_are_nothing_and_there_are_not_many() {
        let (few, many) = (learned(10).watcher.to_bytes(), learned(110).watcher.to_bytes());
        let each = (many.len() - few.len()) / 100;
        assert!(each < 1600, "{each}");
        assert!((each * PRINCIPALS_MAX) as u64 + (8 << 20) < SNAPSHOT_MAX);
        let resume = |bytes: &[u8]| Watcher::resume(Rules::default(), bytes);
        assert!(resume(&few).is_some());
        for cut in [0, 7, 24, 60, few.len() / 2, few.len() - 1] {
            assert!(resume(&few[..cut]).is_none(), "{cut}");
        }
        assert!(resume(&[&few[..], &[0]].concat()).is_none());
        for at in [0, 8, 16] {
            let mut other = few.clone();
            other[at] ^= 1;
            assert!(resume(&other).is_none());
        }
    }
}

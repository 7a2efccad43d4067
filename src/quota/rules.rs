//! The document of quotas (TOML), and what it says of one caller and one artifact.

use std::collections::HashSet;
use std::time::Duration;

use serde::Deserialize;

use super::pattern::{On, Whom};
use super::window::PIECES;
use crate::error::{Error, ErrorId, Result};
use crate::names::{Name, Principal};
use crate::settings::{Setting, SettingKind};

/// Most rules of a document: each open asks all of them.
const MAX_RULES: usize = 256;

/// How many times its period a rule may look back.
const MAX_BURST: u32 = 8;

/// A whole read, in the parts that reads are counted in.
pub const WHOLE: u64 = 1 << 40;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// Opens and exports.
    Requests,
    /// Bytes that left.
    Bytes,
    /// The same as parts of what they are of, so that many small ranges add up.
    Reads,
    /// Streams that run now.
    Streams,
}

impl What {
    /// The key of the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests_per_minute",
            Self::Bytes => "bytes_per_hour",
            Self::Reads => "full_reads_per_day",
            Self::Streams => "streams",
        }
    }

    /// The time a limit is about.
    pub const fn period(self) -> Duration {
        Duration::from_secs(match self {
            Self::Requests => 60,
            Self::Bytes => 3600,
            Self::Reads => 86_400,
            Self::Streams => 0,
        })
    }

    /// Amounts closer than this are counted as one.
    pub fn grain(self) -> Duration {
        self.period() / PIECES as u32
    }

    /// How long an amount is remembered, whatever the rules are now.
    pub fn longest(self) -> Duration {
        self.period() * MAX_BURST
    }
}

/// Whose counter a limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All that a caller does.
    Caller,
    /// What it does with one artifact.
    Artifact,
}

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Names it in refusals.
    pub id: String,
    /// Whom it is about.
    pub whom: Whom,
    /// What it is about; none: all that these callers do, together.
    pub on: Option<On>,
    /// Opens and exports.
    pub requests_per_minute: Option<u64>,
    /// Bytes that leave.
    pub bytes_per_hour: Option<u64>,
    /// Streams at the same time.
    pub streams: Option<u64>,
    /// Parts of [`WHOLE`].
    pub full_reads_per_day: Option<u64>,
    /// Time until the policy is asked again.
    pub lease_seconds: Option<u64>,
    /// Bytes until then.
    pub lease_bytes: Option<u64>,
    /// How many periods' worth may be used at once: the limit holds for so many periods together.
    pub burst: u32,
}

/// One limit that holds for a caller, or for a caller and an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cap {
    /// The rule that says so.
    pub rule: String,
    /// What is counted.
    pub what: What,
    /// On which counter.
    pub scope: Scope,
    /// As the rule has it, for one period.
    pub limit: u64,
    /// In how many periods together `most` may be used.
    pub burst: u32,
}

impl Cap {
    /// The most in its window.
    pub fn most(&self) -> u64 {
        self.limit.saturating_mul(self.burst.into())
    }

    /// The time it looks back.
    pub fn window(&self) -> Duration {
        self.what.period() * self.burst
    }
}

/// How long a decision holds; where nothing is said, as long as without rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Time.
    pub duration: Option<Duration>,
    /// Bytes.
    pub bytes: Option<u64>,
}

/// What all rules together say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Every limit that holds.
    pub caps: Vec<Cap>,
    /// The shortest lease.
    pub lease: Lease,
}

impl Terms {
    /// The limits on a counter.
    pub fn on(&self, scope: Scope, what: What) -> impl Iterator<Item = &Cap> {
        self.caps.iter().filter(move |c| c.scope == scope && c.what == what)
    }
}

/// The rules in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Quotas {
    /// In the order of the document.
    pub rules: Vec<Rule>,
}

impl Quotas {
    /// What holds for a caller; with an artifact, for the two.
    pub fn terms(&self, who: &Principal, groups: &[Name], of: Option<(&Name, &Name, &[String])>) -> Terms {
        let mut terms = Terms::default();
        for rule in self.rules.iter().filter(|r| r.whom.is(who, groups)) {
            let scope = match (&rule.on, of) {
                (None, _) => Scope::Caller,
                (Some(on), Some((namespace, name, labels))) if on.is(namespace, name, labels) => Scope::Artifact,
                _ => continue,
            };
            let limits = [
                (What::Requests, scope, rule.requests_per_minute),
                (What::Bytes, scope, rule.bytes_per_hour),
                (What::Streams, scope, rule.streams),
                // Reads are of one artifact, whatever the rule is about.
                (What::Reads, Scope::Artifact, rule.full_reads_per_day),
            ];
            for (what, scope, limit) in limits {
                let burst = if what == What::Streams { 1 } else { rule.burst };
                let Some(limit) = limit else { continue };
                terms.caps.push(Cap { rule: rule.id.clone(), what, scope, limit, burst });
            }
            let least = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
            let lease = &mut terms.lease;
            let seconds = least(lease.duration.map(|d| d.as_secs()), rule.lease_seconds);
            *lease = Lease { duration: seconds.map(Duration::from_secs), bytes: least(lease.bytes, rule.lease_bytes) };
        }
        terms
    }
}

impl Setting for Quotas {
    const KIND: SettingKind = SettingKind::Quotas;

    const BUILTIN: &'static str = include_str!("builtin.toml");

    fn parse(text: &str) -> Result<Self> {
        let text = &*crate::settings::without_form_version(text)?;
        let document: Document = toml::from_str(text)
            .map_err(|e| invalid(e.to_string().trim_end()).hint("docs/quotas.md has the keys and examples"))?;
        if document.quota.len() > MAX_RULES {
            return Err(invalid(&format!("{} rules; at most {MAX_RULES} are taken", document.quota.len())));
        }
        let rules: Vec<Rule> = document.quota.into_iter().map(Written::rule).collect::<Result<_>>()?;
        let mut ids = HashSet::new();
        match rules.iter().find(|r| !ids.insert(&r.id)) {
            Some(twice) => Err(invalid(&format!("two rules have the id {:?}", twice.id))),
            None => Ok(Self { rules }),
        }
    }
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorId::ConfigInvalid, format!("the quotas: {why}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    quota: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    whom: String,
    on: Option<String>,
    requests_per_minute: Option<u64>,
    bytes_per_hour: Option<Size>,
    streams: Option<u64>,
    full_reads_per_day: Option<f64>,
    lease_seconds: Option<u64>,
    lease_bytes: Option<Size>,
    burst: Option<u32>,
}

/// Bytes, as a number or with a unit: `"10 GiB"`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Size {
    Bytes(u64),
    Written(String),
}

impl Size {
    fn bytes(&self) -> Option<u64> {
        let text = match self {
            Self::Bytes(bytes) => return Some(*bytes),
            Self::Written(text) => text,
        };
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let shift = match unit.trim_start() {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "TiB" => 40,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(1 << shift)
    }
}

impl Written {
    fn rule(self) -> Result<Rule> {
        let Self { id, .. } = &self;
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
        if id.is_empty() || id.len() > 64 || !id.chars().all(good) {
            return Err(invalid(&format!("{id:?} is no id: 1 to 64 of a-z, 0-9, '.', '_', '-'")));
        }
        let at = |why: String| invalid(&format!("{id}: {why}"));
        let size = |key: &str, size: &Option<Size>| match size {
            None => Ok(None),
            Some(size) => size.bytes().map(Some).ok_or_else(|| {
                at(format!("{key} is a number of bytes, or one with B, KiB, MiB, GiB or TiB: \"10 GiB\""))
            }),
        };
        let burst = self.burst.unwrap_or(1);
        if !(1..=MAX_BURST).contains(&burst) {
            return Err(at(format!("burst is from 1 to {MAX_BURST}")));
        }
        if self.lease_seconds.is_some_and(|s| !(1..=3600).contains(&s)) {
            return Err(at("lease_seconds is from 1 to 3600".into()));
        }
        let reads = self.full_reads_per_day;
        if reads.is_some_and(|r| !(0.0..=1e6).contains(&r)) {
            return Err(at("full_reads_per_day is from 0 to 1000000; 0.5 is half of the artifact".into()));
        }
        let lease_bytes = size("lease_bytes", &self.lease_bytes)?;
        if lease_bytes == Some(0) {
            return Err(at("lease_bytes is at least 1".into()));
        }
        let rule = Rule {
            whom: Whom::parse(&self.whom).map_err(&at)?,
            on: self.on.as_deref().map(On::parse).transpose().map_err(&at)?,
            requests_per_minute: self.requests_per_minute,
            bytes_per_hour: size("bytes_per_hour", &self.bytes_per_hour)?,
            streams: self.streams,
            full_reads_per_day: reads.map(|r| (r * WHOLE as f64) as u64),
            lease_seconds: self.lease_seconds,
            lease_bytes,
            burst,
            id: id.clone(),
        };
        let limits = [rule.requests_per_minute, rule.bytes_per_hour, rule.streams, rule.full_reads_per_day];
        if limits.iter().chain([&rule.lease_seconds, &rule.lease_bytes]).all(Option::is_none) {
            return Err(at("the rule limits nothing".into()));
        }
        Ok(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn the_built_in_rules_limit_workloads_and_no_operator() {
        let quotas = Quotas::parse(Quotas::BUILTIN).unwrap();
        let terms = quotas.terms(&Principal::workload(name("default"), &name("serve")), &[], None);
        assert_eq!(terms.caps.len(), 4, "{terms:?}");
        assert_eq!(quotas.terms(&Principal::unix_operator(0), &[], None), Terms::default());
    }

    #[test]
    fn every_rule_that_matches_holds_and_the_shortest_lease_wins() {
        let quotas = Quotas::parse(
            r#"
            [[quota]]
            id = "all"
            whom = "workload:*"
            bytes_per_hour = "2 TiB"
            lease_seconds = 60
            [[quota]]
            id = "secret"
            whom = "group:serving"
            on = "label:secret"
            full_reads_per_day = 1.5
            bytes_per_hour = 1048576
            lease_seconds = 10
            lease_bytes = "64MiB"
            burst = 3
            "#,
        )
        .unwrap();
        let serve = Principal::workload(name("prod"), &name("serve"));
        let (space, artifact, labels) = (name("prod"), name("llama"), ["secret".to_owned()]);
        let terms = quotas.terms(&serve, &[name("serving")], Some((&space, &artifact, &labels)));
        let seen: Vec<_> = terms.caps.iter().map(|c| (c.what, c.scope, c.limit, c.burst)).collect();
        assert_eq!(
            seen,
            [
                (What::Bytes, Scope::Caller, 2 << 40, 1),
                (What::Bytes, Scope::Artifact, 1 << 20, 3),
                (What::Reads, Scope::Artifact, WHOLE * 3 / 2, 3),
            ]
        );
        assert_eq!((terms.caps[1].most(), terms.caps[1].window()), (3 << 20, Duration::from_secs(3 * 3600)));
        assert_eq!(terms.lease, Lease { duration: Some(Duration::from_secs(10)), bytes: Some(64 << 20) });
        assert_eq!(quotas.terms(&serve, &[], Some((&space, &artifact, &labels))).caps.len(), 1);
        assert_eq!(quotas.terms(&serve, &[name("serving")], Some((&space, &artifact, &[]))).caps.len(), 1);
    }

    #[test]
    fn what_is_not_understood_is_refused_and_named() {
        let head = "[[quota]]\nid = \"a\"\nwhom = \"workload:*\"\n";
        for (bad, named) in [
            ("request_per_minute = 5", "request_per_minute"),
            ("bytes_per_hour = \"5 GB\"", "bytes_per_hour"),
            ("bytes_per_hour = \"99999999 TiB\"", "bytes_per_hour"),
            ("streams = -1", "streams"),
            ("streams = 1\nburst = 0", "burst"),
            ("streams = 1\nburst = 9", "burst"),
            ("full_reads_per_day = -0.5", "full_reads_per_day"),
            ("full_reads_per_day = nan", "full_reads_per_day"),
            ("lease_seconds = 0", "lease_seconds"),
            ("lease_seconds = 3601", "lease_seconds"),
            ("lease_bytes = 0", "lease_bytes"),
            ("streams = 1\non = \"A\"", "A"),
            ("", "limits nothing"),
        ] {
            let error = Quotas::parse(&format!("{head}{bad}\n")).unwrap_err();
            assert!(error.id() == ErrorId::ConfigInvalid && error.message().contains(named), "{bad}: {error}");
        }
        let twice = format!("{head}streams = 1\n{head}streams = 2\n");
        assert!(Quotas::parse(&twice).unwrap_err().message().contains("two rules"));
        let many = (0..=MAX_RULES).map(|i| format!("[[quota]]\nid = \"r{i}\"\nwhom = \"workload:*\"\nstreams = 1\n"));
        assert!(Quotas::parse(&many.collect::<String>()).is_err());
        assert!(Quotas::parse(&head.replace("workload:*", "*")).is_err());
    }
}

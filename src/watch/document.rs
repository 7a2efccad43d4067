//! The rules in force: a TOML document of the kind `alerts`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::rules;
use crate::error::{Error, ErrorId, Result};
use crate::glob::Glob;
use crate::settings::{Setting, SettingKind};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth a look when there is time.
    Low,
    /// Worth a look today.
    Medium,
    /// Worth a look now.
    High,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        })
    }
}

/// What is done about an alert besides telling of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// Nothing.
    Alert,
    /// Policies see that a second factor is asked for.
    StepUp,
    /// Streams of the principal are slowed down.
    Throttle,
    /// The principal is refused, and its streams are cut.
    Suspend,
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alert => "alert",
            Self::StepUp => "step-up",
            Self::Throttle => "throttle",
            Self::Suspend => "suspend",
        })
    }
}

/// What every rule has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Common {
    /// Whether it is looked at.
    pub enabled: bool,
    /// How bad what it finds is.
    pub severity: Severity,
    /// What is done about it.
    pub action: Response,
    /// How long a hold that it places lasts, in minutes; 0: until it is released.
    pub hold_minutes: u32,
    /// After an alert, the rule is silent about the same principal for so many minutes.
    pub quiet_minutes: u32,
}

/// Parameters of a rule: what all have, and its own with their defaults and bounds.
macro_rules! parameters {
    (
        $(#[$doc:meta])* $name:ident = $id:literal, $severity:ident, quiet $quiet:literal;
        $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:literal, $bounds:expr;)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
        pub struct $name {
            /// Whether the rule is looked at.
            pub enabled: bool,
            /// How bad what it finds is.
            pub severity: $crate::watch::Severity,
            /// What is done about it.
            pub action: $crate::watch::Response,
            /// How long a hold that it places lasts, in minutes; 0: until it is released.
            pub hold_minutes: u32,
            /// After an alert, the rule is silent about the same principal for so many minutes.
            pub quiet_minutes: u32,
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    enabled: true,
                    severity: $crate::watch::Severity::$severity,
                    action: $crate::watch::Response::Alert,
                    hold_minutes: 0,
                    quiet_minutes: $quiet,
                    $($field: $default,)*
                }
            }
        }

        impl $name {
            /// Id of the rule.
            pub const ID: &'static str = $id;

            pub(in crate::watch) fn common(&self) -> $crate::watch::document::Common {
                $crate::watch::document::Common {
                    enabled: self.enabled,
                    severity: self.severity,
                    action: self.action,
                    hold_minutes: self.hold_minutes,
                    quiet_minutes: self.quiet_minutes,
                }
            }

            /// The parameter that is out of bounds.
            pub(in crate::watch) fn beyond(&self) -> Option<&'static str> {
                $(if !($bounds).contains(&self.$field) { return Some(concat!($id, ".", stringify!($field))); })*
                // A year, so that sums stay small.
                if self.hold_minutes > 527_040 || self.quiet_minutes > 527_040 {
                    return Some(concat!($id, ": hold-minutes or quiet-minutes"));
                }
                None
            }
        }
    };
}
pub(super) use parameters;

/// What is noticed, and what is done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Rules {
    /// Artifacts (`namespace/name` or `label:LABEL`, with `*` and `?`) about which the rules on first times and hours speak; those
    /// with the label `sensitive` always are.
    pub sensitive: Vec<Glob>,
    /// Principals (as `vault whoami` prints them, with `*` and `?`) that no rule looks at.
    pub ignore: Vec<Glob>,
    /// So many days of the log are learned from before the rules on habits speak.
    pub learn_days: u16,
    /// Where alerts are sent besides the log.
    pub webhook: Option<Webhook>,
    /// The rules.
    pub rule: RuleSet,
}

/// Who is told of alerts by HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Webhook {
    /// `https://...`, or `http://` on this machine.
    pub url: String,
    /// A file of the daemon's machine with 64 hex digits: the key of the HMAC-SHA256 that proves who sent it.
    pub key_file: std::path::PathBuf,
    /// PEM file of the authorities that vouch for the receiver; absent: those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<std::path::PathBuf>,
    /// Alerts below this are not sent.
    #[serde(default = "low")]
    pub least: Severity,
}

/// The label that makes an artifact sensitive, whatever it is called.
const SENSITIVE: &str = "sensitive";

fn low() -> Severity {
    Severity::Low
}

impl Default for Rules {
    fn default() -> Self {
        let all = Glob::try_from("*".to_owned()).expect("a pattern");
        Self { sensitive: vec![all], ignore: Vec::new(), learn_days: 3, webhook: None, rule: RuleSet::default() }
    }
}

macro_rules! rule_set {
    ($($field:ident: $type:ident,)*) => {
        /// Every rule there is.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
        #[allow(missing_docs, reason = "the types say it")]
        pub struct RuleSet { $(pub $field: rules::$type,)* }

        /// A rule, by its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "the types say it")]
        pub enum RuleId { $($type,)* }

        impl RuleId {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$type,)*];

            /// Its stable text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$type => rules::$type::ID,)* }
            }
        }

        impl RuleSet {
            pub(super) fn common(&self, rule: RuleId) -> Common {
                match rule { $(RuleId::$type => self.$field.common(),)* }
            }

            fn beyond(&self) -> Option<&'static str> {
                None$(.or_else(|| self.$field.beyond()))*
            }
        }
    };
}
rule_set! {
    first_seen: FirstSeen,
    new_address: NewAddress,
    denied_burst: DeniedBurst,
    read_volume: ReadVolume,
    slow_extraction: SlowExtraction,
    artifact_sweep: ArtifactSweep,
    off_hours: OffHours,
    replay: Replay,
    audit_gap: AuditGap,
    deny_list_hit: DenyListHit,
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Rules {
    const PATTERNS_MAX: usize = 256;

    /// Whether an artifact is one that the stricter rules are about.
    pub fn is_sensitive(&self, object: &str, labels: &[String]) -> bool {
        // No artifact has a colon in its name.
        let labelled = |label: &String| {
            label == SENSITIVE || self.sensitive.iter().any(|glob| glob.matches(&format!("label:{label}")))
        };
        self.sensitive.iter().any(|glob| glob.matches(object)) || labels.iter().any(labelled)
    }

    /// Whether no rule looks at a principal.
    pub(super) fn is_ignored(&self, actor: &str) -> bool {
        self.ignore.iter().any(|glob| glob.matches(actor))
    }

    fn validated(self) -> Result<Self> {
        let bad = |what: String| Err(Error::new(ErrorId::ConfigInvalid, what));
        if self.sensitive.len().max(self.ignore.len()) > Self::PATTERNS_MAX {
            return bad(format!("more than {} patterns", Self::PATTERNS_MAX));
        }
        if self.learn_days > 365 {
            return bad("learn-days is more than 365".into());
        }
        if let Some(Webhook { url, .. }) = &self.webhook {
            // Which machine that is, the client that sends looks at again.
            let here = ["http://127.0.0.1", "http://[::1]", "http://localhost"];
            if !url.starts_with("https://") && !here.iter().any(|here| url.starts_with(here)) {
                return bad("webhook.url is neither https:// nor http:// on this machine".into());
            }
        }
        if let Some(parameter) = self.rule.beyond() {
            return bad(format!("a parameter is out of bounds: rule.{parameter}"));
        }
        Ok(self)
    }
}

impl Setting for Rules {
    const KIND: SettingKind = SettingKind::Alerts;
    const BUILTIN: &'static str = include_str!("builtin.toml");

    fn parse(text: &str) -> Result<Self> {
        let text = &*crate::settings::without_form_version(text)?;
        let rules: Self = toml::from_str(text).map_err(|e| {
            Error::new(ErrorId::ConfigInvalid, format!("alerts: {}", e.to_string().trim_end()))
                .hint("vault config get alerts prints the document in force, with comments")
        })?;
        rules.validated()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_document_says_the_defaults() {
        assert_eq!(Rules::parse(Rules::BUILTIN).unwrap(), Rules::default());
        assert_eq!(Rules::parse("").unwrap(), Rules::default());
        // Every parameter stands in it, to be found and changed.
        let all = toml::to_string(&Rules::default()).unwrap();
        for line in all.lines().filter(|line| line.contains(" = ")) {
            assert!(Rules::BUILTIN.contains(line), "{line}");
        }
    }

    #[test]
    fn what_is_misspelled_or_out_of_bounds_is_refused() {
        for bad in [
            "sensitiv = []",
            "[rule.read-volumes]",
            "[rule.read-volume]\nfactr = 2",
            "[rule.read-volume]\nfactor = 0",
            "[rule.read-volume]\naction = \"explode\"",
            "[rule.denied-burst]\nhold-minutes = 4294967295",
            "sensitive = [\"\"]",
            "learn-days = 1000",
            "learn-days = -1",
            "[webhook]\nurl = 3",
            "[webhook]\nurl = \"http://example.com/\"\nkey-file = \"/k\"",
        ] {
            assert_eq!(Rules::parse(bad).unwrap_err().id(), ErrorId::ConfigInvalid, "{bad}");
        }
        let good = Rules::parse("[rule.replay]\naction = \"suspend\"\nhold-minutes = 60").unwrap();
        assert_eq!((good.rule.replay.action, good.rule.replay.hold_minutes), (Response::Suspend, 60));
    }
}

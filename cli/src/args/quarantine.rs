//! `vault quarantine` and `vault release`: principals and artifacts on hold.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

/// `vault quarantine`
#[derive(Debug, Subcommand)]
pub enum Quarantine {
    /// Refuse a principal, slow it down, or ask it for a second factor
    Principal(QuarantinePrincipal),
    /// Hand out an artifact, or a version, to nobody
    Artifact(QuarantineArtifact),
    /// List what is on hold
    Ls,
}

/// What a hold on a principal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HoldKind {
    /// Every call is refused, and streams are cut
    Suspend,
    /// 64 MiB a minute
    Throttle,
    /// Policies see context.step_up; a workload, which has no second factor, is refused
    StepUp,
}

impl HoldKind {
    /// The word of the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Suspend => "suspend",
            Self::Throttle => "throttle",
            Self::StepUp => "step-up",
        }
    }
}

/// `vault quarantine principal`
#[derive(Debug, Args)]
pub struct QuarantinePrincipal {
    /// [NAMESPACE/]WORKLOAD, or operator:ISSUER:SUBJECT
    #[arg(value_name = "PRINCIPAL")]
    pub name: String,
    /// What is done
    #[arg(long, value_name = "KIND", value_enum, default_value_t = HoldKind::Suspend)]
    pub kind: HoldKind,
    #[command(flatten)]
    pub common: HoldCommon,
}

/// `vault quarantine artifact`
#[derive(Debug, Args)]
pub struct QuarantineArtifact {
    /// [NAMESPACE/]NAME, or [NAMESPACE/]NAME@vN
    #[arg(value_name = "REF")]
    pub name: String,
    #[command(flatten)]
    pub common: HoldCommon,
}

/// What all holds have.
#[derive(Debug, Args)]
pub struct HoldCommon {
    /// Why, for whoever is refused and for the audit log
    #[arg(long, value_name = "TEXT", default_value = "by an operator", hide_default_value = true)]
    pub reason: String,
    /// How long: 90s, 15m, 1h or 7d; default: until it is released
    #[arg(long = "for", value_name = "TIME", value_parser = lasts)]
    pub lasts: Option<Duration>,
}

/// `vault release`
#[derive(Debug, Subcommand)]
pub enum Release {
    /// Take back every hold on a principal
    Principal(ReleaseOne),
    /// Take back every hold on an artifact, or on a version
    Artifact(ReleaseOne),
}

/// `vault release principal`, `vault release artifact`
#[derive(Debug, Args)]
pub struct ReleaseOne {
    /// As vault quarantine ls prints it
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// A number and a unit: `7d`.
pub fn lasts(text: &str) -> Result<Duration, String> {
    let bad = || "give a number and s, m, h or d: 15m".to_owned();
    let unit = match text.chars().next_back() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return Err(bad()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| bad())?;
    let seconds = number.checked_mul(unit).filter(|s| (1..=366 * 86_400).contains(s));
    seconds.map(Duration::from_secs).ok_or_else(|| "between a second and a year".to_owned())
}

#[cfg(test)]
mod tests {
    use super::lasts;

    #[test]
    fn times_are_a_number_and_a_unit() {
        assert_eq!(["90s", "15m", "1h", "7d"].map(|t| lasts(t).unwrap().as_secs()), [90, 900, 3600, 604_800]);
        for bad in ["", "h", "1", "0s", "-1h", "1.5h", "99999999999999999999h", "18446744073709551615d", "400d", "1é"]
        {
            assert!(lasts(bad).is_err(), "{bad}");
        }
    }
}

//! What the watcher says.

use std::fmt;

use super::{Response, RuleId, Severity};
use crate::names::{Principal, Timestamp};

/// A rule noticed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Which rule.
    pub rule: RuleId,
    /// How bad it is.
    pub severity: Severity,
    /// What is to be done.
    pub response: Response,
    /// How long a hold lasts, in minutes; 0: until it is released.
    pub hold_minutes: u32,
    /// About whom; `None`: about the log.
    pub principal: Option<Principal>,
    /// On which artifact, where it is about one.
    pub object: Option<String>,
    /// The row at which it was noticed.
    pub seq: u64,
    /// Its time.
    pub time: Timestamp,
    /// What there was.
    pub seen: String,
    /// What there usually is, or is allowed.
    pub usual: String,
}

impl fmt::Display for Alert {
    /// `high read-volume: workload prod/etl on prod/corpus: 61.5 GiB in an hour (usual: ...)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.severity, self.rule)?;
        match &self.principal {
            Some(principal) => write!(f, ": {principal}")?,
            None => f.write_str(": the audit log")?,
        }
        if let Some(object) = &self.object {
            write!(f, " on {object}")?;
        }
        write!(f, ": {} (usual: {})", self.seen, self.usual)
    }
}

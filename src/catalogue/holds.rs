//! Holds: principals and artifacts that are refused, slowed down or asked for more, until somebody releases them.

use super::{Entry, Result, Sequence};
use crate::names::Timestamp;

/// Most holds in force at a time.
pub const MAX_HOLDS: usize = 10_000;

/// A hold that is to be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHold {
    /// `principal:` or `artifact:`, and its name.
    pub target: String,
    /// What it does: `suspend`, `throttle`, `step-up`.
    pub kind: String,
    /// Why, for people.
    pub reason: String,
    /// The principal who placed it.
    pub placed_by: String,
    /// The rule that placed it; empty: a person did.
    pub rule: String,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

/// A hold that is or was in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldRecord {
    /// From 1, without gaps.
    pub number: u64,
    /// What was placed.
    pub hold: NewHold,
    /// Since when.
    pub since: Timestamp,
    /// When it was released.
    pub released: Option<Timestamp>,
    /// By whom; empty: it was not.
    pub released_by: String,
}

impl HoldRecord {
    /// Whether it is in force.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.released.is_none() && self.hold.until.is_none_or(|until| now < until)
    }
}

/// Commands about holds, and about how far the log was looked at.
pub trait Holds {
    /// Places a hold; its number. `InvalidArgument` above [`MAX_HOLDS`].
    fn place_hold(&self, hold: NewHold, entry: Entry) -> Result<(u64, Sequence)>;

    /// Releases every hold on a target and says how many there were. `NotFound` if there were none.
    fn release_holds(&self, target: &str, by: String, entry: Entry) -> Result<(u64, Sequence)>;

    /// Holds that were not released, oldest first: those that have ended by themselves too.
    fn holds(&self) -> Result<Vec<HoldRecord>>;

    /// How many rows of the audit log the rules have looked at.
    fn watched(&self) -> Result<u64>;

    /// Remembers that. Never fewer than before.
    fn set_watched(&self, rows: u64) -> Result<()>;
}

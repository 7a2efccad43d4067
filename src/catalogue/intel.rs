//! Lists of known bad digests and keys, one from each source.

use super::{Entry, Result, Sequence};
use crate::names::{Name, Sha256, Timestamp};

/// A list in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntelRecord {
    /// Where it is from.
    pub source: Name,
    /// How many entries it has.
    pub entries: u64,
    /// How many indicators in it were not about files.
    pub passed_over: u64,
    /// SHA-256 of its bytes.
    pub digest: Sha256,
    /// Since when.
    pub created: Timestamp,
}

/// A list to put in force.
#[derive(Clone, Debug)]
pub struct NewIntel {
    /// Where it is from.
    pub source: Name,
    /// How many entries it has.
    pub entries: u64,
    /// How many indicators in it were not about files.
    pub passed_over: u64,
    /// The entries, at most 64 MiB.
    pub bytes: Vec<u8>,
}

/// Commands about lists.
pub trait Intel {
    /// Puts a list in force, in the place of the one from the same source.
    fn put_intel(&self, list: NewIntel, entry: Entry) -> Result<Sequence>;

    /// Takes a list out of force, or `NotFound`.
    fn remove_intel(&self, source: &Name, entry: Entry) -> Result<Sequence>;

    /// The lists in force, by source.
    fn intel_lists(&self) -> Result<Vec<IntelRecord>>;

    /// The bytes of a list in force, or `NotFound`; `Damaged` if they are not those that were put.
    fn intel_list(&self, source: &Name) -> Result<Vec<u8>>;
}

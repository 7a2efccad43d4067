//! Settings: documents of which one of each kind is in force.

use super::{Entry, Result, Sequence};
use crate::names::Timestamp;

/// Longest document, in bytes.
pub const MAX_DOCUMENT: usize = 1 << 20;

/// A document that was or is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentRecord {
    /// What it is about.
    pub kind: String,
    /// From 1 for each kind, without gaps.
    pub version: u64,
    /// As given.
    pub text: String,
    /// Since when.
    pub created: Timestamp,
}

/// Commands about documents.
pub trait Documents {
    /// Puts a document in force and returns its version. Earlier ones are kept. `AlreadyExists` unless the one of version `over`
    /// (0: none) is in force, where given.
    fn set_document(&self, kind: &str, text: String, over: Option<u64>, entry: Entry) -> Result<(u64, Sequence)>;

    /// The document of a kind that is in force; `None` if none was ever set.
    fn document(&self, kind: &str) -> Result<Option<DocumentRecord>>;

    /// A document that was in force, or `NotFound`.
    fn document_version(&self, kind: &str, version: u64) -> Result<DocumentRecord>;
}

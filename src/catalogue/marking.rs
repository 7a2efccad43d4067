//! What operators say about artifacts.

use super::{Entry, Result, Sequence};
use crate::marks::{Marks, MarksChange};
use crate::names::ArtifactId;

/// Commands about marks.
pub trait Marking {
    /// What is said about an artifact, or `NotFound`.
    fn marks(&self, artifact: ArtifactId) -> Result<Marks>;

    /// Changes that, and returns what is said from now on.
    fn mark(&self, artifact: ArtifactId, change: MarksChange, entry: Entry) -> Result<(Marks, Sequence)>;
}

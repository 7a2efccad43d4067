//! What a catalogue knows about a file, compared with what is there (docs/format.md 9.1, steps 2, 5 and 7; 9.4).

use super::error::SealError;
use super::preamble::Preamble;
use crate::crypto::equal;
use crate::names::{Commitment, FileId, Root};

/// Facts the caller knows from elsewhere. A fact that is `None` is not compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    /// The file.
    pub file_id: Option<FileId>,
    /// The file key.
    pub commitment: Option<Commitment>,
    /// [`context_hash`](super::context_hash) of the caller's context; zeros for a file without one.
    pub context: Option<[u8; 32]>,
    /// The content.
    pub root: Option<Root>,
    /// The newest header generation seen.
    pub min_generation: Option<u32>,
}

impl Pins {
    pub(crate) fn check_preamble(&self, preamble: &Preamble) -> Result<(), SealError> {
        same("file id", self.file_id.map(|p| p.0), &preamble.file_id.0)?;
        same("commitment", self.commitment.map(|p| p.0), &preamble.commitment.0)?;
        same("context", self.context, &preamble.context)
    }

    pub(crate) fn check_generation(&self, found: u32) -> Result<(), SealError> {
        match self.min_generation {
            Some(pinned) if found < pinned => Err(SealError::GenerationRollback { found, pinned }),
            _ => Ok(()),
        }
    }

    pub(crate) fn check_root(&self, root: &Root) -> Result<(), SealError> {
        same("root", self.root.map(|p| p.0), &root.0)
    }

    /// Whether the content, and so its origin, is known from elsewhere (docs/format.md 13, "Sealed to me").
    pub(crate) fn fix_the_origin(&self) -> bool {
        self.root.is_some() || self.commitment.is_some()
    }
}

fn same(what: &'static str, pinned: Option<[u8; 32]>, found: &[u8; 32]) -> Result<(), SealError> {
    match pinned {
        Some(pinned) if !equal(&pinned, found) => Err(SealError::BindingMismatch(what)),
        _ => Ok(()),
    }
}

//! A witness file: the newest checkpoint, kept where the home is not. A home that was put back to an older copy of itself
//! contradicts it, and releases nothing.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::Vault;
use super::tree::StoredTiles;
use crate::audit::{AuditError, Checkpoint, FIRST_SEQ};
use crate::crypto::tiles::Nodes;
use crate::error::{Error, ErrorId, Result};
use crate::home::{read_bounded, replace_file};

/// No checkpoint is longer.
const NOTE_MAX: u64 = 64 << 10;

/// Where the file is, and what was written to it last.
#[derive(Debug)]
pub(super) struct Witness {
    path: PathBuf,
    size: u64,
}

impl Vault {
    /// Keeps the newest checkpoint at `path`, from now on and after each tick. The log must extend what is there already.
    ///
    /// # Errors
    /// `AuditBroken` if it does not: the home was rolled back, or the log written anew. Those of reading and writing the file.
    pub fn keep_witness(&self, path: &Path) -> Result<()> {
        let witness = Witness { path: path.to_path_buf(), size: self.extends_witness(path)? };
        *self.witness.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(witness);
        self.checkpoint(true)?;
        self.tell_witness()
    }

    /// Compares with the witness file, then replaces what is there by the newest checkpoint. From the first contradiction on,
    /// nothing is released any more.
    ///
    /// # Errors
    /// `AuditBroken` for a contradiction. A file that cannot be read or written is an error too, and releases go on: it is tried
    /// again with each tick.
    pub(super) fn tell_witness(&self) -> Result<()> {
        let mut held = self.witness.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(witness) = &mut *held else { return Ok(()) };
        let there = self.extends_witness(&witness.path).inspect_err(|e| {
            if e.id() == ErrorId::AuditBroken {
                tracing::error!(error = %e, "nothing is released any more");
                let _ = self.contradiction.set(e.message().to_owned());
            }
        })?;
        // Somebody put an older checkpoint there: what it said before is gone, but nothing contradicts it.
        if there < witness.size {
            tracing::warn!(witness = %witness.path.display(), "the witness file was put back to an older checkpoint");
        }
        let Some(newest) = self.catalogue.latest_checkpoint()? else { return Ok(()) };
        if newest.size > there {
            replace_file(&witness.path, newest.note.as_bytes())
                .map_err(|e| Error::from(e).on(witness.path.display()))?;
        }
        witness.size = newest.size.max(there);
        Ok(())
    }

    /// Size of the checkpoint in the file, which the log extends; 0 without a file.
    fn extends_witness(&self, path: &Path) -> Result<u64> {
        let note = match read_bounded(path, NOTE_MAX) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(0),
            note => note.map_err(|e| Error::from(e).on(path.display()))?,
        };
        let note = String::from_utf8(note).map_err(|_| AuditError::Checkpoint("the witness file is no text"))?;
        let kept = Checkpoint::parse_and_verify(&note, &self.origin(), self.keyring().audit_identity().public())?;
        let newest = self.catalogue.latest_checkpoint()?;
        let size = newest.as_ref().map_or(0, |newest| newest.size);
        if kept.size() > size {
            // Not all rows need be covered yet.
            let records = self.catalogue.audit_len()?;
            if kept.size() > records {
                return Err(AuditError::Cut { records, size: kept.size() }.into());
            }
            self.checkpoint(true)?;
        }
        if Nodes::new(kept.size(), &mut StoredTiles(&*self.catalogue)).root()? != kept.root() {
            return Err(AuditError::Root { first: FIRST_SEQ, last: kept.size() }.into());
        }
        Ok(kept.size())
    }

    /// Fails from the moment on at which the log contradicted its witness.
    pub(super) fn must_be_sound(&self) -> Result<()> {
        match self.contradiction.get() {
            None => Ok(()),
            Some(why) => Err(Error::new(ErrorId::AuditBroken, why.clone())),
        }
    }
}

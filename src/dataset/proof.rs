//! The proof of one record: what anybody needs to see, without the dataset, that a signed version holds it.
//!
//! JSON: the record's hash, its path to the root of its file (RFC 9162, 2.1.3.2), and the signed statement, which has that root.

use serde::{Deserialize, Serialize};

use super::statement::DatasetStatement;
use crate::crypto::merkle;
use crate::error::{Error, ErrorId, Result};
use crate::names::Sha256;

/// Longest path of a proof: more than any tree is high.
const MAX_PATH: usize = 64;

/// A proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordProof {
    /// Path of the file within the dataset.
    pub file: String,
    /// Number of the record in it, from 1.
    pub record: u64,
    /// The record's hash: SHA-256 of 0x00, the schema's id, and its canonical form.
    pub leaf: Sha256,
    /// Hashes from the record to the root of its file.
    pub path: Vec<Sha256>,
    /// The signed statement, as a Sigstore bundle.
    pub bundle: serde_json::Value,
}

impl RecordProof {
    /// Whether the record is where it says in a version that somebody trusted has signed.
    ///
    /// # Errors
    /// `DatasetChanged` where it is not.
    pub fn verify(&self, statement: &DatasetStatement) -> Result<()> {
        let bad = |why: &str| Error::new(ErrorId::DatasetChanged, format!("the proof does not hold: {why}"));
        let file = statement.files.iter().find(|f| f.path == self.file).ok_or_else(|| bad("there is no such file"))?;
        let index = self.record.checked_sub(1).ok_or_else(|| bad("records count from 1"))?;
        let short = self.path.len() <= MAX_PATH;
        if short && merkle::verify_inclusion(self.leaf, index, file.records, &self.path, &file.root) {
            return Ok(());
        }
        Err(bad("the record is not in the tree that was signed"))
    }
}

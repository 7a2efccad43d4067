//! The audit log's meaning: what a record says, the tree over all records, signed checkpoints, and verification that needs
//! nothing but the rows and one public key. Stores nothing: the catalogue keeps the bytes, the vault joins the two.
//!
//! A record is canonical JSON ([`Record`]). The catalogue gives it the next sequence number, from [`FIRST_SEQ`] on without a
//! gap, in the transaction of the act. Leaf number `seq - FIRST_SEQ` of an RFC 6962 tree is `u64 BE seq ‖ record bytes`, so a
//! checkpoint of size n covers the records up to sequence number n. Order is by sequence, never by time.

mod archive;
mod checkpoint;
mod export;
mod log;
mod proof;
mod record;
mod verify;

pub use archive::{Archive, ArchiveWriter};
pub use checkpoint::{Checkpoint, VerifierKey, origin};
pub use export::{Entry, Export, ExportReader, ToArchive, verify_export};
pub use log::{Log, SignedTree};
pub use proof::{Claim, PROOF_MAX, Proof};
pub use record::{Act, Channel, Decision, Object, RECORD_MAX, Record, RecordError, Text, Transport};
pub use verify::{Report, Verifier, consistency, consistency_proof, inclusion, inclusion_proof};

use crate::crypto::merkle;
use crate::error::{Error, ErrorId};
use crate::names::Sha256;

/// Sequence number of the first record of a log.
pub const FIRST_SEQ: u64 = 1;

/// Hash of a record's leaf: of `u64 BE seq ‖ record bytes`.
pub fn leaf_hash(seq: u64, record: &[u8]) -> Sha256 {
    merkle::leaf_hash(&[&seq.to_be_bytes()[..], record].concat())
}

/// How a log contradicts itself, its key, or a checkpoint kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Not the next sequence number: a record was removed, inserted or moved.
    #[error("record {expected} is expected, and record {found} follows")]
    Order {
        /// The next number.
        expected: u64,
        /// The number of the row.
        found: u64,
    },
    /// The bytes are no canonical record.
    #[error("record {seq} is malformed: {why}")]
    Malformed {
        /// Its number.
        seq: u64,
        /// The rule.
        why: RecordError,
    },
    /// The records up to here are not those that were signed.
    #[error(
        "records {first} to {last} are not what the checkpoint of size {last} signed: one was altered, removed or inserted"
    )]
    Root {
        /// First record that no earlier checkpoint covers.
        first: u64,
        /// Size of the checkpoint.
        last: u64,
    },
    /// A checkpoint covers more records than there are.
    #[error("the log ends at record {records}, and a checkpoint of size {size} was signed: its end was cut off")]
    Cut {
        /// Records there.
        records: u64,
        /// Records signed.
        size: u64,
    },
    /// A checkpoint that was kept elsewhere covers more records than an exported log holds.
    #[error(
        "the log ends at record {records}, and the checkpoint kept elsewhere covers {size}: it was exported before that, or its end was cut off"
    )]
    Older {
        /// Records there.
        records: u64,
        /// Records of the checkpoint.
        size: u64,
    },
    /// Checkpoint sizes do not grow, or one comes after records it does not cover.
    #[error("a checkpoint of size {size} is out of order after {after}")]
    CheckpointOrder {
        /// Its size.
        size: u64,
        /// Size of the checkpoint or number of the record before it.
        after: u64,
    },
    /// Not a checkpoint of this log under this key.
    #[error("a checkpoint is not valid: {0}")]
    Checkpoint(&'static str),
    /// The stored state of the tree is not the one that was signed.
    #[error("the stored tree of size {size} is not the one its checkpoint signed")]
    Frontier {
        /// Size of the checkpoint.
        size: u64,
    },
    /// The stored tiles are not the tree that was signed.
    #[error("the stored tiles are not the tree of size {size} that was signed")]
    Tiles {
        /// Size of the checkpoint.
        size: u64,
    },
    /// A record is not the one whose hash the signed tree holds.
    #[error("record {seq} is not the one that was signed: it was altered, removed or moved")]
    Altered {
        /// Its number.
        seq: u64,
    },
    /// A proof does not hold.
    #[error("a proof does not hold: {0}")]
    Proof(&'static str),
    /// An exported log breaks the rules of its form.
    #[error("line {line}: {why}")]
    Export {
        /// From 1.
        line: u64,
        /// The rule.
        why: &'static str,
    },
}

impl From<AuditError> for Error {
    fn from(e: AuditError) -> Self {
        let broken = Self::new(ErrorId::AuditBroken, format!("the audit log is broken: {e}"));
        match e {
            AuditError::Order { expected, .. } => broken.detail("seq", expected),
            AuditError::Malformed { seq, .. } => broken.detail("seq", seq),
            AuditError::Root { first, last } => broken.detail("first_seq", first).detail("last_seq", last),
            AuditError::Cut { records, size } => broken.detail("records", records).detail("size", size),
            // Most often nothing is broken.
            AuditError::Older { records, size } => Self::new(ErrorId::AuditBroken, e.to_string())
                .hint("export the log again; this one can be compared with a checkpoint that is not newer than it")
                .detail("records", records)
                .detail("size", size),
            AuditError::CheckpointOrder { size, .. } | AuditError::Frontier { size } | AuditError::Tiles { size } => {
                broken.detail("size", size)
            }
            AuditError::Altered { seq } => broken.detail("seq", seq),
            AuditError::Export { line, .. } => broken.detail("line", line),
            AuditError::Checkpoint(_) | AuditError::Proof(_) => broken,
        }
    }
}

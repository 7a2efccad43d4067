//! Signed statements about plaintext: what was sealed, under which name, by whom (docs/trust.md 4).
//!
//! The artifact statement is made once, at seal, over the digests the sealing pass computed; it rests encrypted in the sealed
//! manifest and is what a fetching client checks everything against.

mod artifact;
pub mod attestation;
pub mod in_toto;
pub mod oms;
mod parts;
mod policy;
mod tag;

pub use artifact::{ArtifactStatement, MAX_STATEMENT_LEN, StatementError, Subject};
pub use attestation::{Attestation, Coverage, Recorded};
pub use parts::{DATASET_NAME, MAX_PARTS, MAX_PARTS_LEN, PARTS_NAME, Part, Parts};
pub use policy::{MAX_BUNDLE_LEN, PolicyBundle, PolicyStatement};
pub use tag::{CLOCK_SKEW, MAX_TAG_STATEMENT_LEN, MAX_TAG_VALIDITY, TAG_VALIDITY, TagStatement, TagStatementError};

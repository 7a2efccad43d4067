//! Signed statements about plaintext: what was sealed, under which name, by whom (docs/trust.md 4).
//!
//! The artifact statement is made once, at seal, over the digests the sealing pass computed; it rests encrypted in the sealed
//! manifest and is what a fetching client checks everything against.

mod artifact;
pub mod in_toto;
pub mod oms;

pub use artifact::{ArtifactStatement, MAX_STATEMENT_LEN, StatementError, Subject};

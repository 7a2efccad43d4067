//! OpenSSF Model Signing (OMS) v1.0: signed statements about the files of a model, in Sigstore bundles (docs/signing.md).
//!
//! | file | what |
//! |---|---|
//! | `bundle` | the file: an envelope, and how to find the key that signed it |
//! | `statement` | what is signed: parameters and a digest for each file or shard |
//! | `resource` | one of those digests, and the strict form of its name |
//! | `authenticate` | whose statement it is: bundles held against trusted keys |
//! | `require` | what must have signed |
//! | `measure` | a statement made from the files of a model |
//! | `since` | an earlier signing of ours, whose digests are taken for what did not change |
//! | `compare` | a statement held against the files of a model: every difference |
//! | `recorded` | statements and the digests recorded at seal, without the files |
//! | `release_0_2` | how bundles of release 0.2 differ: read, never written |
//!
//! Where the specification and its reference implementation differ, both are read and the specification is written; where
//! both are lax, this is strict.

mod authenticate;
mod bundle;
mod compare;
mod measure;
mod recorded;
mod release_0_2;
mod require;
mod resource;
mod since;
mod statement;

use authenticate::statement_kind;
pub use authenticate::{Keyless, Signer, Trust, authenticate, is_model_signature};
pub use bundle::{Bundle, MAX_BUNDLE_LEN, Material};
pub use compare::{Comparison, Difference, compare};
pub use measure::{Measured, Parameters, measure, measure_since};
pub use recorded::{HashRange, Recollection, compare_recorded, recorded_statement};
pub use require::Requirement;
pub use resource::Resource;
pub use since::{Record, Since};
pub use statement::{Method, PREDICATE_TYPE, Serialization, Statement};

use crate::error::{Error, ErrorId};
use crate::json::JsonError;

/// Ignored at the top of every model (OMS 6.2).
pub const DEFAULT_IGNORED: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];
/// Beside `model.sig`: the same statement under other algorithms, and further statements, a bundle a line.
pub const CLAIMS_NAME: &str = "claims.jsonl";
/// Name of the bundle within a signed directory, unless another is given.
pub const BUNDLE_NAME: &str = "model.sig";

/// The bytes are no bundle, or break a rule that keeps two readers from reading them differently.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a model signature: {0}")]
pub struct Malformed(pub(crate) String);

impl Malformed {
    fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// The rule that is broken.
    pub fn what(&self) -> &str {
        &self.0
    }
}

impl From<JsonError> for Malformed {
    fn from(e: JsonError) -> Self {
        Self(format!("JSON {e}"))
    }
}

impl From<Malformed> for Error {
    fn from(e: Malformed) -> Self {
        Self::new(ErrorId::BundleMalformed, e.to_string())
    }
}

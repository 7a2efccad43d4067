//! Model Vault: sealed, signed, policy-gated storage and verified streaming for models and training data.

#[cfg(feature = "daemon")]
pub mod catalogue;
pub mod crypto;
pub mod error;
pub mod json;
pub mod names;
pub mod seal;
#[cfg(feature = "daemon")]
pub mod store;

pub use error::{Error, ErrorId, Kind, Result};

//! Model Vault: sealed, signed, policy-gated storage and verified streaming for models and training data.

#[cfg(feature = "daemon")]
pub mod audit;
pub mod crypto;
pub mod error;
#[cfg(feature = "daemon")]
pub mod home;
pub mod json;
#[cfg(feature = "daemon")]
pub mod keyring;
pub mod names;
pub mod seal;

pub use error::{Error, ErrorId, Kind, Result};

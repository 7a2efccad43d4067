//! Model Vault: sealed, signed, policy-gated storage and verified streaming for models and training data.

#[cfg(feature = "client")]
pub mod client;
pub mod crypto;
pub mod error;
pub mod facts;
#[cfg(feature = "client")]
pub mod identity;
pub mod json;
pub mod manifest;
pub mod names;
#[cfg(feature = "daemon")]
pub mod policy;
pub mod seal;
#[cfg(feature = "daemon")]
pub mod server;
#[cfg(feature = "daemon")]
pub mod vault;
#[cfg(feature = "client")]
mod wire;

pub use error::{Error, ErrorId, Kind, Result};

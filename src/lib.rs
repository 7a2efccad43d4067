//! Model Vault: sealed, signed, policy-gated storage and verified streaming for models and training data.

pub mod crypto;
pub mod error;
pub mod facts;
pub mod json;
pub mod manifest;
pub mod names;
pub mod seal;

pub use error::{Error, ErrorId, Kind, Result};

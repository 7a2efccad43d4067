//! Signatures: keys of five algorithms behind two types, and the product's key ids.
//!
//! | algorithm | public key | signature |
//! |---|---|---|
//! | `ed25519` | RFC 8410 | RFC 8032, verified strictly |
//! | `ecdsa-p256`, `ecdsa-p384`, `ecdsa-p521` | RFC 5480, uncompressed point | ASN.1 DER over SHA-256, SHA-384, SHA-512 |
//! | `ml-dsa-65` | RFC 9881 | FIPS 204, empty context |
//!
//! An ECDSA key may live on a token (PKCS #11, `token`), and sign there.
//!
//! [`VerifyingKey`] and [`SigningKey`] are for what the ecosystem exchanges (`vault sign`). The vault's own statements are
//! signed with Ed25519 alone: [`PublicKey`] and [`SigningIdentity`]. An [`Identity`] is one signer's keys for both.

mod algorithm;
mod ed25519;
mod error;
mod file;
mod identity;
mod private;
mod signing;
#[cfg(test)]
mod tests;
#[cfg(feature = "daemon")]
mod token;
mod verifying;

pub use algorithm::Algorithm;
pub use ed25519::{PublicKey, SIGNATURE_LEN, SigningIdentity};
pub use error::KeyError;
pub use identity::Identity;
pub use signing::SigningKey;
pub use verifying::VerifyingKey;

//! Tokens of others: one verifier for OpenID Connect issuers, Kubernetes service accounts and JWT-SVIDs.
//!
//! | file | what | rests on |
//! |---|---|---|
//! | `compact` | the bytes of a token, taken apart within bounds | RFC 7515, RFC 7519 |
//! | `keys` | the keys an issuer publishes | RFC 7517, SPIFFE trust bundles |
//! | `verify` | whether a token is good: algorithm, key, signature, issuer, audience, time | RFC 8725 |
//!
//! Pure: keys and the time are given. What a token's header says chooses a key among those of its issuer, nothing else.

mod compact;
mod keys;
mod verify;

pub use compact::{Token, TokenId};
pub use keys::KeySet;
#[cfg(feature = "daemon")]
pub(super) use keys::MAX_SET_BYTES;
pub use verify::{Confirmation, Refused, Rules, Verified};

#[cfg(test)]
pub(super) mod tests;

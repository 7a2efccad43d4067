//! Primitives behind small types of our own. The only room that knows crypto crates.
//!
//! | file | what | rests on |
//! |---|---|---|
//! | `keys` | 32-byte secrets in locked, undumpable pages | GUIDE 5 |
//! | `aead` | AES-256-GCM over whole segments, two backends | NIST SP 800-38D |
//! | `hash` | BLAKE3, SHA-256, HMAC | BLAKE3 paper, FIPS 180-4, RFC 2104 |
//! | `kdf` | HKDF-SHA256, Argon2id | RFC 5869, RFC 9106 |
//! | `wrap` | the committing wrap of one key under another | docs/format.md 4.1 |
//! | `record` | short texts at rest, each under a key of its own | RFC 5869, NIST SP 800-38D |
//! | `hybrid` | HPKE with X-Wing | RFC 9180 |
//! | `sign` | Ed25519, ECDSA and ML-DSA keys, and their ids | RFC 8032, FIPS 186-5, FIPS 204 |
//! | `jws` | keys and signatures of tokens | RFC 7515, RFC 7517, RFC 7518 |
//! | `der`, `pem` | as much of the encodings as keys need | X.690, RFC 7468 |
//! | `dsse` | signed envelopes | DSSE v1 |
//! | `outboard` | BLAKE3 trees over 1 MiB groups | docs/format.md 7.3 |
//! | `merkle` | the append-only log tree | RFC 6962 |
//! | `tiles` | that tree in tiles | C2SP tlog-tiles |
//! | `random` | the system's generator, hedged | docs/format.md 5.4 |

pub mod aead;
pub mod der;
pub mod dsse;
pub mod hash;
pub mod hash_batch;
pub mod hybrid;
pub mod jws;
pub mod kdf;
pub mod keys;
pub mod merkle;
pub mod outboard;
pub mod pem;
pub mod random;
pub mod record;
pub mod sign;
pub mod tiles;
pub mod wrap;

/// Authentication failed. Says no more on purpose: why it failed would help whoever altered the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("authentication failed")]
pub struct AuthFailed;

/// Compares in constant time.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    subtle::ConstantTimeEq::ct_eq(a, b).into()
}

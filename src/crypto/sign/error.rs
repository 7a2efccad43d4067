//! Why bytes are not a key that can be used.

use super::Algorithm;
use crate::crypto::pem::PemMalformed;
use crate::error::{Error, ErrorId};

/// Why bytes are not a key that can be used. Never tells anything of a private key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not PEM, or not one section of the wanted kind.
    #[error(transparent)]
    Pem(#[from] PemMalformed),
    /// The DER breaks a rule of its standard, or the numbers are no key of the algorithm.
    #[error("not a {0}")]
    Malformed(&'static str),
    /// A key of an algorithm, or in an encoding, that is not used here.
    #[error("a key of an unsupported algorithm or encoding")]
    Unsupported,
    /// A key of an algorithm that cannot be used for this.
    #[error("a key for {found}, not for {wanted}")]
    Algorithm {
        /// What it is.
        found: Algorithm,
        /// What it should be.
        wanted: Algorithm,
    },
    /// A passphrase protects it.
    #[error("the private key is encrypted with a passphrase")]
    Encrypted,
    /// An ML-DSA key without the seed it was made from.
    #[error("an ML-DSA private key without its seed")]
    NoSeed,
}

impl From<KeyError> for Error {
    fn from(e: KeyError) -> Self {
        let hint = match &e {
            KeyError::Encrypted => {
                "keep it on a protected disk and decrypt it: openssl pkey -in KEY.pem -out PLAIN.pem"
            }
            KeyError::NoSeed => "export it again, with its seed, from where it was made; or make another",
            KeyError::Algorithm { wanted: Algorithm::Ed25519, .. } => {
                "make one: openssl genpkey -algorithm ed25519 -out KEY.pem"
            }
            _ => {
                "keys are Ed25519, ECDSA (P-256, P-384, P-521, uncompressed) or ML-DSA-65, in PEM; \
                 openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 -out KEY.pem makes one, \
                 openssl pkey -in KEY.pem -pubout gives its public key"
            }
        };
        Self::new(ErrorId::BadCredential, e.to_string()).hint(hint).caused_by(e)
    }
}

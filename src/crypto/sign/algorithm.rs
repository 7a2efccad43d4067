//! The algorithms by name and by identifier.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature as aws;

use crate::error::{Error, ErrorId};

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032): what the vault signs its own statements with.
    Ed25519,
    /// ECDSA on P-256 over SHA-256: what every OpenSSF verifier takes.
    EcdsaP256,
    /// ECDSA on P-384 over SHA-384.
    EcdsaP384,
    /// ECDSA on P-521 over SHA-512.
    EcdsaP521,
    /// ML-DSA-65 (FIPS 204) with an empty context: holds against a quantum computer.
    MlDsa65,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ed25519, Self::EcdsaP256, Self::EcdsaP384, Self::EcdsaP521, Self::MlDsa65];

    /// The name that users type and programs read.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::EcdsaP521 => "ecdsa-p521",
            Self::MlDsa65 => "ml-dsa-65",
        }
    }

    /// Content of the DER AlgorithmIdentifier, the same for public and private keys (RFC 8410, RFC 5480, RFC 9881).
    pub(super) fn identifier(self) -> &'static [u8] {
        match self {
            // 1.3.101.112
            Self::Ed25519 => &[6, 3, 0x2b, 0x65, 0x70],
            // 1.2.840.10045.2.1 with curve 1.2.840.10045.3.1.7, 1.3.132.0.34 or 1.3.132.0.35
            Self::EcdsaP256 => &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
            Self::EcdsaP384 => &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 34],
            Self::EcdsaP521 => &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 35],
            // 2.16.840.1.101.3.4.3.18
            Self::MlDsa65 => &[6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 18],
        }
    }

    /// Which algorithm has this identifier.
    pub(super) fn of_identifier(identifier: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.identifier() == identifier)
    }

    /// Bytes of a raw public key: Ed25519 and ML-DSA as they are, ECDSA as an uncompressed point.
    pub(super) fn public_len(self) -> usize {
        match self {
            Self::Ed25519 => 32,
            Self::EcdsaP256 => 65,
            Self::EcdsaP384 => 97,
            Self::EcdsaP521 => 133,
            Self::MlDsa65 => 1952,
        }
    }

    /// How AWS-LC verifies; Ed25519 is verified by another library, strictly.
    pub(super) fn verification(self) -> Option<&'static dyn aws::VerificationAlgorithm> {
        match self {
            Self::Ed25519 => None,
            Self::EcdsaP256 => Some(&aws::ECDSA_P256_SHA256_ASN1),
            Self::EcdsaP384 => Some(&aws::ECDSA_P384_SHA384_ASN1),
            Self::EcdsaP521 => Some(&aws::ECDSA_P521_SHA512_ASN1),
            Self::MlDsa65 => Some(&aws::ML_DSA_65),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|a| a.name() == text).ok_or_else(|| {
            Error::new(ErrorId::InvalidArgument, format!("not a signature algorithm: {text:?}"))
                .hint(format!("algorithms are {}", Self::ALL.map(Self::name).join(", ")))
        })
    }
}

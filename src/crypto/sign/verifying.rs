//! Public keys of any algorithm.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P384_SHA256_ASN1, ParsedPublicKey, UnparsedPublicKey};

use super::{Algorithm, KeyError, PublicKey};
use crate::crypto::hash::sha256;
use crate::crypto::{AuthFailed, der, pem};
use crate::names::KeyId;

/// A public key of any [`Algorithm`], checked: its point is on the curve, its encoding is the one that key ids are made of.
#[derive(Clone)]
pub struct VerifyingKey(Kind);

#[derive(Clone)]
enum Kind {
    Ed25519(PublicKey),
    AwsLc(Algorithm, ParsedPublicKey),
}

impl VerifyingKey {
    /// From the DER of its SubjectPublicKeyInfo. Points must be uncompressed: one key has one id.
    ///
    /// # Errors
    /// [`KeyError::Malformed`], [`KeyError::Unsupported`].
    pub fn from_spki(spki: &[u8]) -> Result<Self, KeyError> {
        let malformed = || KeyError::Malformed("SubjectPublicKeyInfo");
        let content = der::whole(der::SEQUENCE, spki).ok_or_else(malformed)?;
        let (identifier, rest) = der::read(der::SEQUENCE, content).ok_or_else(malformed)?;
        let bits = der::whole(der::BIT_STRING, rest).ok_or_else(malformed)?;
        let raw = bits.strip_prefix(&[0]).ok_or_else(malformed)?;
        let algorithm = Algorithm::of_identifier(identifier).ok_or(KeyError::Unsupported)?;
        Self::from_raw(algorithm, raw)
    }

    /// From PEM: one section `PUBLIC KEY`.
    ///
    /// # Errors
    /// Any [`KeyError`].
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        Self::from_spki(&pem::one(text, "PUBLIC KEY")?)
    }

    /// The same, of one or more sections: the parts of a composite identity, each an algorithm of its own.
    ///
    /// # Errors
    /// Any [`KeyError`]; also for two keys of one algorithm.
    pub fn all_from_pem(text: &[u8]) -> Result<Vec<Self>, KeyError> {
        let mut keys: Vec<Self> = Vec::new();
        for section in pem::sections(text)? {
            if section.label != "PUBLIC KEY" {
                return Err(KeyError::Malformed("PEM file of public keys"));
            }
            let key = Self::from_spki(&section.decode()?)?;
            if keys.iter().any(|other| other.algorithm() == key.algorithm()) {
                return Err(KeyError::Malformed("PEM file of one signer: two keys of one algorithm"));
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(KeyError::Malformed("PEM file of public keys")) } else { Ok(keys) }
    }

    /// From the bytes within a SubjectPublicKeyInfo.
    pub(super) fn from_raw(algorithm: Algorithm, raw: &[u8]) -> Result<Self, KeyError> {
        let malformed = || KeyError::Malformed("public key of its algorithm");
        // AWS-LC also takes compressed points, and a whole SubjectPublicKeyInfo in place of a key.
        if raw.len() != algorithm.public_len() {
            return Err(malformed());
        }
        let kind = match algorithm.verification() {
            None => {
                let bytes = raw.try_into().map_err(|_| malformed())?;
                Kind::Ed25519(PublicKey::from_bytes(bytes).map_err(|_| malformed())?)
            }
            Some(verification) => {
                Kind::AwsLc(algorithm, ParsedPublicKey::new(verification, raw).map_err(|_| malformed())?)
            }
        };
        Ok(Self(kind))
    }

    /// How it verifies.
    pub fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Kind::Ed25519(_) => Algorithm::Ed25519,
            Kind::AwsLc(algorithm, _) => *algorithm,
        }
    }

    /// DER of its SubjectPublicKeyInfo.
    pub fn spki(&self) -> Vec<u8> {
        let identifier = der::write(der::SEQUENCE, &[self.algorithm().identifier()]);
        let bits = der::write(der::BIT_STRING, &[&[0], self.raw()]);
        der::write(der::SEQUENCE, &[&identifier, &bits]).to_vec()
    }

    /// SHA-256 of the DER SubjectPublicKeyInfo: the one kind of key id that users see.
    pub fn key_id(&self) -> KeyId {
        KeyId(sha256(&self.spki()).0)
    }

    /// PEM of its SubjectPublicKeyInfo: lines of 64 characters, a line break at the end.
    pub fn to_pem(&self) -> String {
        pem::encode("PUBLIC KEY", &self.spki()).to_string()
    }

    /// How OpenSSF Model Signing names the key in `publicKey.hint`: lower-case hex SHA-256 of [`VerifyingKey::to_pem`].
    pub fn oms_hint(&self) -> String {
        hex::encode(sha256(self.to_pem().as_bytes()).0)
    }

    /// Verifies a signature in the one encoding of its algorithm.
    ///
    /// # Errors
    /// [`AuthFailed`], which says no more on purpose.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), AuthFailed> {
        match &self.0 {
            Kind::Ed25519(key) => key.verify(message, signature),
            Kind::AwsLc(_, key) => key.verify_sig(message, signature).map_err(|_| AuthFailed),
        }
    }

    /// Verifies an ECDSA signature over SHA-256 also where the curve has a longer hash: what release 0.2 of the reference
    /// implementation of model signing made with keys on P-384.
    ///
    /// # Errors
    /// [`AuthFailed`], also for other keys than on P-256 and P-384.
    pub fn verify_over_sha256(&self, message: &[u8], signature: &[u8]) -> Result<(), AuthFailed> {
        match &self.0 {
            Kind::AwsLc(Algorithm::EcdsaP256, _) => self.verify(message, signature),
            Kind::AwsLc(Algorithm::EcdsaP384, key) => {
                let key = UnparsedPublicKey::new(&ECDSA_P384_SHA256_ASN1, key.as_ref());
                key.verify(message, signature).map_err(|_| AuthFailed)
            }
            _ => Err(AuthFailed),
        }
    }

    /// The key as the type that the vault's own statements are verified with.
    ///
    /// # Errors
    /// [`KeyError::Algorithm`] if it is not an Ed25519 key.
    pub fn to_ed25519(&self) -> Result<PublicKey, KeyError> {
        match &self.0 {
            Kind::Ed25519(key) => Ok(*key),
            Kind::AwsLc(found, _) => Err(KeyError::Algorithm { found: *found, wanted: Algorithm::Ed25519 }),
        }
    }

    pub(super) fn raw(&self) -> &[u8] {
        match &self.0 {
            Kind::Ed25519(key) => key.as_bytes(),
            Kind::AwsLc(_, key) => key.as_ref(),
        }
    }
}

impl From<PublicKey> for VerifyingKey {
    fn from(key: PublicKey) -> Self {
        Self(Kind::Ed25519(key))
    }
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm() == other.algorithm() && self.raw() == other.raw()
    }
}
impl Eq for VerifyingKey {}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({} {})", self.algorithm(), self.key_id())
    }
}

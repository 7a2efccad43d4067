//! An identity of a signer: a key of each kind that readers ask for.

use zeroize::Zeroizing;

use super::{Algorithm, KeyError, SigningIdentity, SigningKey, VerifyingKey};
use crate::crypto::keys::{Key, SigningSeed};
use crate::error::{Error, ErrorId, Result};
use crate::names::Random;

/// One signer's keys: Ed25519 for the vault's own statements, ECDSA P-256 for OpenSSF bundles, ML-DSA-65 where it is wanted. All
/// rest in locked memory as 32 secret bytes each, and are expanded while they sign.
#[derive(Clone, Debug)]
pub struct Identity {
    ed25519: SigningIdentity,
    p256: Option<Key<SigningSeed>>,
    ml_dsa: Option<Key<SigningSeed>>,
}

impl Identity {
    /// A new one; `pq`: with an ML-DSA-65 key.
    ///
    /// # Errors
    /// Those of `random`; `Internal` if it never gives a number in the range of the curve.
    pub fn generate(pq: bool, random: &dyn Random) -> Result<Self> {
        let ed25519 = SigningIdentity::generate(random)?;
        let ml_dsa = if pq { Some(Key::generate(random)?) } else { None };
        // One draw nearly always does: 16 failures mean a broken generator.
        for _ in 0..16 {
            let p256 = Some(Key::generate(random)?);
            if let Ok(made) = Self::from_parts(ed25519.clone(), p256, ml_dsa.clone()) {
                return Ok(made);
            }
        }
        Err(Error::new(ErrorId::Internal, "no P-256 key can be made: bad randomness"))
    }

    /// From its parts: a number on P-256, big-endian, and the seed of ML-DSA-65.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] for a number that is no key.
    pub fn from_parts(
        ed25519: SigningIdentity,
        p256: Option<Key<SigningSeed>>,
        ml_dsa: Option<Key<SigningSeed>>,
    ) -> Result<Self, KeyError> {
        let identity = Self { ed25519, p256, ml_dsa };
        identity.keys()?;
        Ok(identity)
    }

    /// Its Ed25519 key.
    pub fn ed25519(&self) -> &SigningIdentity {
        &self.ed25519
    }

    /// The P-256 key and the seed of the ML-DSA-65 key, for the keyring alone.
    pub fn further_seeds(&self) -> (Option<&Key<SigningSeed>>, Option<&Key<SigningSeed>>) {
        (self.p256.as_ref(), self.ml_dsa.as_ref())
    }

    /// Its keys: ECDSA, Ed25519, ML-DSA-65, as far as it has them.
    ///
    /// # Errors
    /// [`KeyError::Malformed`]: cannot happen for one that was made.
    pub fn keys(&self) -> Result<Vec<SigningKey>, KeyError> {
        let mut keys = Vec::new();
        if let Some(scalar) = &self.p256 {
            keys.push(SigningKey::from_secret(Algorithm::EcdsaP256, &scalar.expose())?);
        }
        keys.push(self.ed25519.clone().into());
        if let Some(seed) = &self.ml_dsa {
            keys.push(SigningKey::from_secret(Algorithm::MlDsa65, &seed.expose())?);
        }
        Ok(keys)
    }

    /// What others verify with, in the order of [`Identity::keys`].
    ///
    /// # Errors
    /// As there.
    pub fn public(&self) -> Result<Vec<VerifyingKey>, KeyError> {
        Ok(self.keys()?.iter().map(|key| key.public().clone()).collect())
    }

    /// A PEM section for each private key.
    ///
    /// # Errors
    /// As there.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        let sections: Vec<_> = self.keys()?.iter().map(SigningKey::to_pem).collect();
        // Room for all of it at once: a string that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(sections.iter().map(|s| s.len()).sum()));
        sections.iter().for_each(|section| text.push_str(section));
        Ok(text)
    }
}

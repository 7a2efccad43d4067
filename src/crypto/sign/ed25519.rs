//! Ed25519 (RFC 8032, strict verification): what the vault signs its own statements with.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::crypto::AuthFailed;
use crate::crypto::hash::sha256;
use crate::crypto::keys::{Key, SigningSeed};
use crate::error::Result;
use crate::names::{KeyId, Random};

/// Bytes of a signature.
pub const SIGNATURE_LEN: usize = 64;

/// DER of a SubjectPublicKeyInfo for Ed25519 up to the key (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// An Ed25519 public key that is safe to verify with: no point of small order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// From its 32 bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, AuthFailed> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| AuthFailed)?;
        if key.is_weak() { Err(AuthFailed) } else { Ok(Self(key)) }
    }

    /// From the DER of its SubjectPublicKeyInfo.
    pub fn from_spki(der: &[u8]) -> Result<Self, AuthFailed> {
        let key = der.strip_prefix(&SPKI_PREFIX).ok_or(AuthFailed)?;
        Self::from_bytes(key.try_into().map_err(|_| AuthFailed)?)
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// DER of its SubjectPublicKeyInfo.
    pub fn spki(&self) -> Vec<u8> {
        [&SPKI_PREFIX[..], self.0.as_bytes()].concat()
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    pub fn key_id(&self) -> KeyId {
        KeyId(sha256(&self.spki()).0)
    }

    /// Verifies strictly: one signature has one encoding, and no key verifies everything.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), AuthFailed> {
        let signature = Signature::from_slice(signature).map_err(|_| AuthFailed)?;
        self.0.verify_strict(message, &signature).map_err(|_| AuthFailed)
    }
}

/// An Ed25519 signing identity. The seed rests in locked memory; the expanded key exists while it signs.
#[derive(Clone, Debug)]
pub struct SigningIdentity {
    seed: Key<SigningSeed>,
    public: PublicKey,
}

impl SigningIdentity {
    /// From its seed.
    pub fn from_seed(seed: Key<SigningSeed>) -> Self {
        let public = PublicKey(SigningKey::from_bytes(&seed.expose()).verifying_key());
        Self { seed, public }
    }

    /// A new one.
    pub fn generate(random: &dyn Random) -> Result<Self> {
        Ok(Self::from_seed(Key::generate(random)?))
    }

    /// The key others verify with.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Shorthand for the public key's id.
    pub fn key_id(&self) -> KeyId {
        self.public.key_id()
    }

    /// The seed, for the keyring alone.
    pub fn seed(&self) -> &Key<SigningSeed> {
        &self.seed
    }

    /// Signs.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        SigningKey::from_bytes(&self.seed.expose()).sign(message).to_bytes()
    }
}

//! P-256 private keys of certificates.

use std::fmt;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Error, ErrorId, Result};

/// DER of a SubjectPublicKeyInfo for an uncompressed point on P-256 up to the point (RFC 5480, section 2).
const SPKI_PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
const SPKI_LEN: usize = SPKI_PREFIX.len() + 64;

/// Whether this is the one form of a P-256 public key. That the point is on the curve shows when a signature verifies.
pub(super) fn is_p256_spki(der: &[u8]) -> bool {
    der.len() == SPKI_LEN && der.starts_with(&SPKI_PREFIX)
}

/// A P-256 private key, as PKCS #8 (RFC 5958). Wiped when dropped, never printed.
#[derive(Clone)]
pub struct PrivateKey(Zeroizing<Vec<u8>>);

impl PrivateKey {
    /// A fresh key, from the generator of the TLS library.
    ///
    /// # Errors
    /// `Internal` if the system gives no random bytes.
    pub fn generate() -> Result<Self> {
        let pair = Pair(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(internal)?);
        Ok(Self(Zeroizing::new(pair.0.serialized_der().to_vec())))
    }

    /// From its PKCS #8 form.
    ///
    /// # Errors
    /// `BadCredential` if it is not a P-256 key.
    pub fn from_pkcs8(der: Zeroizing<Vec<u8>>) -> Result<Self> {
        let key = Self(der);
        key.pair()?;
        Ok(key)
    }

    /// The PKCS #8 form. The name is meant to be seen in review.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// DER of the SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// `BadCredential`: cannot happen for a key that was made or read here.
    pub fn spki(&self) -> Result<Vec<u8>> {
        Ok(self.pair()?.subject_public_key_info())
    }

    /// The expanded key, for as long as it signs.
    pub(super) fn pair(&self) -> Result<Pair> {
        let der = PrivatePkcs8KeyDer::from(&self.0[..]);
        KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256)
            .map(Pair)
            .map_err(|_| Error::new(ErrorId::BadCredential, "not a P-256 private key in PKCS #8"))
    }

    pub(super) fn for_tls(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.to_vec()).into()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(REDACTED)")
    }
}

/// rcgen's key pair, whose copy of the PKCS #8 bytes is wiped when it goes.
pub(super) struct Pair(KeyPair);

impl Drop for Pair {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKeyData for Pair {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for Pair {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

/// A failure of the certificate library that no input explains.
pub(super) fn internal(e: rcgen::Error) -> Error {
    Error::new(ErrorId::Internal, format!("the certificate library failed: {e}")).caused_by(e)
}

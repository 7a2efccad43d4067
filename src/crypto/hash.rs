//! BLAKE3, SHA-256 and HMAC-SHA256.

use crate::names::{Blake3, Sha256};

/// `H(x)` of docs/format.md: BLAKE3, unkeyed, 32 bytes.
pub fn blake3(bytes: &[u8]) -> Blake3 {
    Blake3(*::blake3::hash(bytes).as_bytes())
}

/// `H(a ‖ b ‖ ...)`.
pub fn blake3_of(parts: &[&[u8]]) -> Blake3 {
    let mut hasher = Blake3Hasher::default();
    parts.iter().for_each(|p| hasher.update(p));
    hasher.finish()
}

/// BLAKE3 of a stream.
#[derive(Clone, Default)]
pub struct Blake3Hasher(::blake3::Hasher);

impl Blake3Hasher {
    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken.
    pub fn finish(&self) -> Blake3 {
        Blake3(*self.0.finalize().as_bytes())
    }
}

/// SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> Sha256 {
    let mut hasher = Sha256Hasher::default();
    hasher.update(bytes);
    hasher.finish()
}

/// SHA-256 of a stream.
#[derive(Clone)]
pub struct Sha256Hasher(ring::digest::Context);

impl Default for Sha256Hasher {
    fn default() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }
}

impl Sha256Hasher {
    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken.
    pub fn finish(self) -> Sha256 {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.0.finish().as_ref());
        Sha256(digest)
    }
}

/// HMAC-SHA256 of `a ‖ b ‖ ...` under `key`.
pub fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = ring::hmac::Context::with_key(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key));
    parts.iter().for_each(|p| context.update(p));
    let mut mac = [0; 32];
    mac.copy_from_slice(context.sign().as_ref());
    mac
}

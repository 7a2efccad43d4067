//! BLAKE3, SHA-256, HMAC-SHA256, HMAC-SHA1 for one-time codes, and BLAKE2b for statements of others.

use sha2::Digest as _;

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

/// Messages of records and of nodes of trees: `sha2` takes two thirds of the time of `ring` for these, which calls through tables. For
/// longer ones `ring` is as fast, and faster on processors without instructions for SHA.
const SHORT: usize = 1024;

/// SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> Sha256 {
    let mut digest = [0; 32];
    if bytes.len() <= SHORT {
        digest.copy_from_slice(sha2::Sha256::digest(bytes).as_slice());
    } else {
        digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    }
    Sha256(digest)
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

/// Hashes of file contents in statements of others (OpenSSF Model Signing, algorithm registry).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// FIPS 180-4.
    Sha256,
    /// RFC 7693 with 64 bytes.
    Blake2b,
    /// With 32 bytes.
    Blake3,
}

impl Algorithm {
    /// As statements name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Blake2b => "blake2b",
            Self::Blake3 => "blake3",
        }
    }

    /// By its name in a statement.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Blake2b, Self::Blake3].into_iter().find(|a| a.name() == name)
    }

    /// Bytes of a digest.
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake3 => 32,
            Self::Blake2b => 64,
        }
    }

    /// For a stream.
    pub fn hasher(self) -> Hasher {
        match self {
            Self::Sha256 => Hasher::Sha256(Box::default()),
            Self::Blake2b => Hasher::Blake2b(Box::default()),
            Self::Blake3 => Hasher::Blake3(Box::default()),
        }
    }
}

/// A digest being computed by an [`Algorithm`].
pub enum Hasher {
    /// [`Algorithm::Sha256`]
    Sha256(Box<Sha256Hasher>),
    /// [`Algorithm::Blake2b`]
    Blake2b(Box<blake2::Blake2b512>),
    /// [`Algorithm::Blake3`]
    Blake3(Box<Blake3Hasher>),
}

impl Hasher {
    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(h) => h.update(bytes),
            Self::Blake2b(h) => blake2::Digest::update(&mut **h, bytes),
            Self::Blake3(h) => h.update(bytes),
        }
    }

    /// The digest of all bytes taken.
    pub fn finish(self) -> Box<[u8]> {
        match self {
            Self::Sha256(h) => h.finish().0.into(),
            Self::Blake2b(h) => blake2::Digest::finalize(*h).as_slice().into(),
            Self::Blake3(h) => h.finish().0.into(),
        }
    }
}

/// HMAC-SHA1 (RFC 2104) of a message: for one-time codes, whose readers know nothing else. As a MAC, SHA-1 is not broken.
pub fn hmac_sha1(key: &[u8], message: &[u8]) -> [u8; 20] {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let mut mac = [0; 20];
    mac.copy_from_slice(ring::hmac::sign(&key, message).as_ref());
    mac
}

/// HMAC-SHA256 of `a ‖ b ‖ ...` under `key`.
pub fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = ring::hmac::Context::with_key(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key));
    parts.iter().for_each(|p| context.update(p));
    let mut mac = [0; 32];
    mac.copy_from_slice(context.sign().as_ref());
    mac
}

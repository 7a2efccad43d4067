//! AES-256-GCM over whole segments: in place, detached tag, empty associated data (docs/format.md 5.1, 6).

use super::AuthFailed;

/// Bytes of a tag.
pub const TAG_LEN: usize = 16;
/// A detached tag.
pub type Tag = [u8; TAG_LEN];
/// A 96-bit nonce.
pub type Nonce = [u8; 12];

/// One expanded key. A nonce is used once for sealing: [`seal::segment`](crate::seal) makes them and keeps that promise.
pub trait SegmentCipher: Send + Sync {
    /// Encrypts in place and returns the tag.
    fn seal(&self, nonce: &Nonce, aad: &[u8], bytes: &mut [u8]) -> Tag;

    /// Decrypts in place. On failure the buffer is zeroed: bytes of an unverified segment are nobody's business.
    fn open(&self, nonce: &Nonce, aad: &[u8], bytes: &mut [u8], tag: &Tag) -> Result<(), AuthFailed>;
}

/// Which implementation does the work. Both pass the same vectors; they differ in speed only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `ring`: for payloads.
    Ring,
    /// AWS-LC: for payloads on processors whose 512-bit paths it uses and `ring` does not.
    AwsLc,
    /// RustCrypto `aes-gcm`: for small wraps, and the independent cross-check.
    RustCrypto,
}

impl Backend {
    /// All of them, for tests that hold for every backend.
    pub const ALL: &[Self] = &[Self::Ring, Self::AwsLc, Self::RustCrypto];

    /// Expands a key.
    pub fn cipher(self, key: &[u8; 32]) -> Box<dyn SegmentCipher> {
        match self {
            Self::Ring => Box::new(RingCipher::new(key)),
            Self::AwsLc => Box::new(AwsLcCipher::new(key)),
            Self::RustCrypto => Box::new(RustCryptoCipher::new(key)),
        }
    }
}

/// The cipher for payload segments: the faster backend of this processor (docs/performance.md, "One segment").
pub fn segment_cipher(key: &[u8; 32]) -> Box<dyn SegmentCipher> {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx512f")
        && std::is_x86_feature_detected!("vaes")
        && std::is_x86_feature_detected!("vpclmulqdq")
    {
        return Backend::AwsLc.cipher(key);
    }
    Backend::Ring.cipher(key)
}

/// The cipher for small wraps: expands its key with wiping on drop.
pub fn wrap_cipher(key: &[u8; 32]) -> Box<dyn SegmentCipher> {
    Backend::RustCrypto.cipher(key)
}

struct RingCipher(ring::aead::LessSafeKey);

impl RingCipher {
    fn new(key: &[u8; 32]) -> Self {
        let key = ring::aead::UnboundKey::new(&ring::aead::AES_256_GCM, key).expect("AES-256 keys have 32 bytes");
        Self(ring::aead::LessSafeKey::new(key))
    }
}

impl SegmentCipher for RingCipher {
    fn seal(&self, nonce: &Nonce, aad: &[u8], bytes: &mut [u8]) -> Tag {
        let nonce = ring::aead::Nonce::assume_unique_for_key(*nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, ring::aead::Aad::from(aad), bytes)
            .expect("segments are far below the 64 GiB limit of GCM");
        let mut out = [0; TAG_LEN];
        out.copy_from_slice(tag.as_ref());
        out
    }

    fn open(&self, nonce: &Nonce, aad: &[u8], bytes: &mut [u8], tag: &Tag) -> Result<(), AuthFailed> {
        let nonce = ring::aead::Nonce::assume_unique_for_key(*nonce);
        let tag = ring::aead::Tag::from(*tag);
        let opened = self.0.open_in_place_separate_tag(nonce, ring::aead::Aad::from(aad), tag, bytes, 0..).is_ok();
        or_wiped(opened, bytes)
    }
}

struct AwsLcCipher(aws_lc_rs::aead::LessSafeKey);

impl AwsLcCipher {
    fn new(key: &[u8; 32]) -> Self {
        let key =
            aws_lc_rs::aead::UnboundKey::new(&aws_lc_rs::aead::AES_256_GCM, key).expect("AES-256 keys have 32 bytes");
        Self(aws_lc_rs::aead::LessSafeKey::new(key))
    }
}

impl SegmentCipher for AwsLcCipher {
    fn seal(&self, nonce: &Nonce, aad: &[u8], bytes: &mut [u8]) -> Tag {
        let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(*nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, aws_lc_rs::aead::Aad::from(aad), bytes)
            .expect("segments are far below the 64 GiB limit of GCM");
        let mut out = [0; TAG_LEN];
        out.copy_from_slice(tag.as_ref());
        out
    }

    fn open(&self, nonce: &Nonce, aad: &[u8], bytes: &mut [u8], tag: &Tag) -> Result<(), AuthFailed> {
        let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(*nonce);
        let aad = aws_lc_rs::aead::Aad::from(aad);
        let opened = self.0.open_in_place_separate_tag(nonce, aad, tag, bytes).is_ok();
        or_wiped(opened, bytes)
    }
}

struct RustCryptoCipher(aes_gcm::Aes256Gcm);

impl RustCryptoCipher {
    fn new(key: &[u8; 32]) -> Self {
        use aes_gcm::KeyInit;
        Self(aes_gcm::Aes256Gcm::new(key.into()))
    }
}

impl SegmentCipher for RustCryptoCipher {
    fn seal(&self, nonce: &Nonce, aad: &[u8], bytes: &mut [u8]) -> Tag {
        use aes_gcm::aead::AeadInOut;
        let tag = self
            .0
            .encrypt_inout_detached(nonce.into(), aad, bytes.into())
            .expect("segments are far below the 64 GiB limit of GCM");
        tag.into()
    }

    fn open(&self, nonce: &Nonce, aad: &[u8], bytes: &mut [u8], tag: &Tag) -> Result<(), AuthFailed> {
        use aes_gcm::aead::AeadInOut;
        let opened = self.0.decrypt_inout_detached(nonce.into(), aad, (&mut *bytes).into(), tag.into()).is_ok();
        or_wiped(opened, bytes)
    }
}

fn or_wiped(opened: bool, bytes: &mut [u8]) -> Result<(), AuthFailed> {
    if opened {
        return Ok(());
    }
    zeroize::Zeroize::zeroize(bytes);
    Err(AuthFailed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_agree_and_a_failed_open_leaves_nothing() {
        for len in [0, 1, 15, 16, 17, 4096, 1 << 16] {
            let plain: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let sealed: Vec<_> = Backend::ALL
                .iter()
                .map(|b| {
                    let mut bytes = plain.clone();
                    let tag = b.cipher(&[3; 32]).seal(&[5; 12], b"aad", &mut bytes);
                    (bytes, tag)
                })
                .collect();
            assert!(sealed.iter().all(|s| *s == sealed[0]));
            for backend in Backend::ALL {
                let (mut bytes, mut tag) = sealed[0].clone();
                assert_eq!(backend.cipher(&[3; 32]).open(&[5; 12], b"aad", &mut bytes, &tag), Ok(()));
                assert_eq!(bytes, plain);
                bytes.clone_from(&sealed[0].0);
                tag[0] ^= 1;
                assert_eq!(backend.cipher(&[3; 32]).open(&[5; 12], b"aad", &mut bytes, &tag), Err(AuthFailed));
                assert!(bytes.iter().all(|b| *b == 0));
            }
        }
    }
}

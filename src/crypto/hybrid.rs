//! HPKE (RFC 9180), base mode, single shot: KEM X-Wing (ML-KEM-768 with X25519), HKDF-SHA256, AES-256-GCM (docs/format.md 4.1, type 2).

use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, OpModeR, Serializable, single_shot_open};
use zeroize::Zeroizing;

use super::AuthFailed;
use super::keys::{FileKey, HybridSeed, Key};

/// Bytes of an encapsulation: ML-KEM ciphertext and X25519 ephemeral.
pub const ENCAPSULATION_LEN: usize = 1120;
/// Bytes of a sealed 32-byte key: ciphertext and tag.
pub const SEALED_KEY_LEN: usize = 48;
/// Bytes of a public key: ML-KEM encapsulation key and X25519.
pub const PUBLIC_KEY_LEN: usize = 1216;

/// The public key of a 32-byte seed.
pub fn public_key(seed: &Key<HybridSeed>) -> [u8; PUBLIC_KEY_LEN] {
    let private = <XWing as Kem>::PrivateKey::from_bytes(&*seed.expose()).expect("an X-Wing seed is any 32 bytes");
    let mut bytes = [0; PUBLIC_KEY_LEN];
    <XWing as Kem>::sk_to_pk(&private).write_exact(&mut bytes);
    bytes
}

/// Opens a file key that was sealed to the public key of `seed`.
pub fn open_key(
    seed: &Key<HybridSeed>,
    encapsulation: &[u8; ENCAPSULATION_LEN],
    info: &[u8],
    sealed: &[u8; SEALED_KEY_LEN],
) -> Result<Key<FileKey>, AuthFailed> {
    let private = <XWing as Kem>::PrivateKey::from_bytes(&*seed.expose()).map_err(|_| AuthFailed)?;
    let encapsulated = <XWing as Kem>::EncappedKey::from_bytes(encapsulation).map_err(|_| AuthFailed)?;
    let opened =
        single_shot_open::<AesGcm256, HkdfSha256, XWing>(&OpModeR::Base, &private, &encapsulated, info, sealed, b"")
            .map_err(|_| AuthFailed)?;
    let opened = Zeroizing::new(opened);
    let mut key = Zeroizing::new([0; 32]);
    if opened.len() != key.len() {
        return Err(AuthFailed);
    }
    key.copy_from_slice(&opened);
    Ok(Key::take(&mut key))
}

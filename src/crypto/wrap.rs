//! The committing wrap of one 32-byte key under another (docs/format.md 4.1, `wrap80`).
//!
//! `okm = HKDF(secret, salt, info, 64)`; the wrap is `okm[32..64] ‖ AES-256-GCM(okm[0..32], nonce 0, aad, key)`. The first half
//! commits to the secret, so no wrap opens under two of them; the salt is fresh for each wrap, so each cipher key is used once.

use zeroize::Zeroizing;

use super::aead::{TAG_LEN, wrap_cipher};
use super::keys::{Key, Purpose};
use super::{AuthFailed, equal, kdf};

/// Bytes of a wrap: commitment, ciphertext, tag.
pub const WRAP_LEN: usize = 80;

/// Wraps `key` under `secret`. `salt` must be fresh.
pub fn wrap<S: Purpose, K: Purpose>(
    secret: &Key<S>,
    salt: &[u8; 32],
    info: &[&[u8]],
    aad: &[&[u8]],
    key: &Key<K>,
) -> [u8; WRAP_LEN] {
    let okm = derive(secret, salt, info);
    let mut out = [0; WRAP_LEN];
    out[..32].copy_from_slice(&okm.commitment);
    let mut ciphertext = key.expose();
    let tag = wrap_cipher(&okm.key).seal(&[0; 12], &aad.concat(), &mut *ciphertext);
    out[32..64].copy_from_slice(&*ciphertext);
    out[64..].copy_from_slice(&tag);
    out
}

/// Opens a wrap; compares the commitment first.
pub fn unwrap<S: Purpose, K: Purpose>(
    secret: &Key<S>,
    salt: &[u8; 32],
    info: &[&[u8]],
    aad: &[&[u8]],
    wrapped: &[u8; WRAP_LEN],
) -> Result<Key<K>, AuthFailed> {
    let okm = derive(secret, salt, info);
    // Wrong secret and damaged wrap take the same path and time: the cipher runs in both cases.
    let committed = equal(&wrapped[..32], &okm.commitment);
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(&wrapped[32..64]);
    let mut tag = [0; TAG_LEN];
    tag.copy_from_slice(&wrapped[64..]);
    let opened = wrap_cipher(&okm.key).open(&[0; 12], &aad.concat(), &mut *key, &tag);
    if !committed {
        return Err(AuthFailed);
    }
    opened?;
    Ok(Key::take(&mut key))
}

struct Derived {
    key: Zeroizing<[u8; 32]>,
    commitment: [u8; 32],
}

fn derive<S: Purpose>(secret: &Key<S>, salt: &[u8; 32], info: &[&[u8]]) -> Derived {
    let mut okm = Zeroizing::new([0; 64]);
    kdf::hkdf(&*secret.expose(), salt, info, &mut *okm);
    let mut derived = Derived { key: Zeroizing::new([0; 32]), commitment: [0; 32] };
    derived.key.copy_from_slice(&okm[..32]);
    derived.commitment.copy_from_slice(&okm[32..]);
    derived
}

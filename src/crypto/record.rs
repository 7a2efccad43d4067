//! Short texts at rest under a key that opens more than one of them.
//!
//! `salt32 ‖ AES-256-GCM(HKDF(secret, salt32, label ‖ context, 32), nonce 0, aad context, text) ‖ tag16`. The salt is fresh for
//! each text, so each cipher key is used once; the context binds the text to its place.

use zeroize::Zeroizing;

use super::aead::{TAG_LEN, wrap_cipher};
use super::keys::{Key, Purpose};
use super::{AuthFailed, kdf};
use crate::error::Result;
use crate::names::Random;

const SALT_LEN: usize = 32;

/// Encrypts. `context`: what the text belongs to, in a form that no two places share.
///
/// # Errors
/// Those of the generator.
pub fn seal<P: Purpose>(
    secret: &Key<P>,
    label: &[u8],
    context: &[u8],
    text: &[u8],
    random: &dyn Random,
) -> Result<Vec<u8>> {
    let mut sealed = vec![0; SALT_LEN];
    random.fill(&mut sealed)?;
    let key = derive(secret, &sealed, label, context);
    sealed.extend_from_slice(text);
    let tag = wrap_cipher(&key).seal(&[0; 12], context, &mut sealed[SALT_LEN..]);
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

/// Decrypts what [`seal`] made of the same secret, label and context.
///
/// # Errors
/// `AuthFailed` if a bit of any of them differs.
pub fn open<P: Purpose>(secret: &Key<P>, label: &[u8], context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, AuthFailed> {
    let (salt, rest) = sealed.split_at_checked(SALT_LEN).ok_or(AuthFailed)?;
    let (text, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(AuthFailed)?;
    let key = derive(secret, salt, label, context);
    let mut text = text.to_vec();
    wrap_cipher(&key).open(&[0; 12], context, &mut text, tag)?;
    Ok(text)
}

fn derive<P: Purpose>(secret: &Key<P>, salt: &[u8], label: &[u8], context: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    kdf::hkdf(&*secret.expose(), salt, &[label, context], &mut *key);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::keys::ArtifactKey;
    use crate::crypto::random::SystemRandom;

    #[test]
    fn a_text_opens_in_its_own_place_only() {
        let key = |fill: u8| Key::<ArtifactKey>::take(&mut [fill; 32]);
        for text in [&b""[..], b"x", &[7; 100_000]] {
            let sealed = seal(&key(1), b"label", b"here", text, &SystemRandom).unwrap();
            assert_eq!(open(&key(1), b"label", b"here", &sealed).unwrap(), text);
            assert_ne!(sealed, seal(&key(1), b"label", b"here", text, &SystemRandom).unwrap());
            assert!(open(&key(2), b"label", b"here", &sealed).is_err());
            assert!(open(&key(1), b"lab", b"elhere", &sealed).is_err());
            assert!(open(&key(1), b"label", b"there", &sealed).is_err());
            for at in [0, 31, sealed.len() - 1] {
                let mut damaged = sealed.clone();
                damaged[at] ^= 1;
                assert!(open(&key(1), b"label", b"here", &damaged).is_err());
            }
            assert!(open(&key(1), b"label", b"here", &sealed[..sealed.len() - 1]).is_err());
        }
        assert!(open(&key(1), b"label", b"here", &[0; 47]).is_err());
    }
}

//! HKDF-SHA256 (RFC 5869) and Argon2id (RFC 9106).

use ring::hkdf;

use super::AuthFailed;
use super::keys::{Key, Passphrase, Purpose};

/// Extract, then expand: `info` is the concatenation of its parts; at most 8160 bytes of output (a constant of the callers).
pub fn hkdf(secret: &[u8], salt: &[u8], info: &[&[u8]], out: &mut [u8]) {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(secret)
        .expand(info, Length(out.len()))
        .and_then(|okm| okm.fill(out))
        .expect("callers ask for at most 255 blocks");
}

/// Costs of one Argon2id run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Costs {
    /// Memory in KiB.
    pub m_kib: u32,
    /// Passes.
    pub t: u16,
    /// Lanes.
    pub p: u16,
}

impl Argon2Costs {
    /// RFC 9106, second recommended choice: 64 MiB, 3 passes, 4 lanes.
    pub const DEFAULT: Self = Self { m_kib: 65_536, t: 3, p: 4 };

    /// The bounds of docs/format.md 4.1, checked before any work: a stranger's file must not make us burn memory.
    pub fn acceptable(&self) -> bool {
        (65_536..=1_048_576).contains(&self.m_kib)
            && (1..=16).contains(&self.t)
            && (1..=8).contains(&self.p)
            && u64::from(self.m_kib) * u64::from(self.t) <= 4_194_304
    }
}

/// Argon2id v1.3, 32 bytes, no secret and no associated data. The working memory is wiped.
///
/// # Errors
/// `AuthFailed` if the costs are not [acceptable](Argon2Costs::acceptable).
pub fn argon2id<P: Purpose>(
    passphrase: &Passphrase,
    salt: &[u8; 32],
    costs: Argon2Costs,
) -> Result<Key<P>, AuthFailed> {
    use argon2::{Algorithm, Argon2, Block, Params, Version};
    use zeroize::Zeroize;
    if !costs.acceptable() {
        return Err(AuthFailed);
    }
    let params = Params::new(costs.m_kib, costs.t.into(), costs.p.into(), Some(32)).map_err(|_| AuthFailed)?;
    let mut memory = vec![Block::default(); params.block_count()];
    let mut out = [0; 32];
    let result = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
        &passphrase.nfc_bytes(),
        salt,
        &mut out,
        &mut memory,
    );
    memory.iter_mut().for_each(Zeroize::zeroize);
    result.map_err(|_| AuthFailed)?;
    Ok(Key::take(&mut out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_outside_the_bounds_are_refused_before_any_work() {
        for (m_kib, t, p) in [
            (65_535, 3, 4),
            (1_048_577, 1, 1),
            (u32::MAX, 1, 1),
            (65_536, 0, 1),
            (65_536, 17, 1),
            (65_536, 1, 0),
            (65_536, 1, 9),
            (1_048_576, 5, 1),
        ] {
            assert!(!Argon2Costs { m_kib, t, p }.acceptable(), "{m_kib} {t} {p}");
        }
        assert!(Argon2Costs::DEFAULT.acceptable());
        assert!(Argon2Costs { m_kib: 1_048_576, t: 4, p: 8 }.acceptable());
    }
}

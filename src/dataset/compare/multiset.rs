//! Which records a dataset has, in whatever order and files: one digest for all of them.

use std::path::Path;

use super::sort::Sorter;
use crate::crypto::hash::Sha256Hasher;
use crate::error::Result;
use crate::names::Sha256;

/// Bytes of hashes held in memory; more go to files without a name.
const MEMORY: usize = 64 << 20;

/// Takes the hashes of records. Two datasets have the same digest if, and but for a collision of SHA-256 only if, they have the
/// same records, each as often.
pub struct Multiset(Sorter<32>);

impl Multiset {
    /// With room in `dir` for what memory does not hold.
    pub fn new(dir: &Path) -> Self {
        Self(Sorter::new(dir, MEMORY))
    }

    /// The next hashes, in any order.
    ///
    /// # Errors
    /// `DiskFull` and the like.
    pub fn push(&mut self, hashes: &[Sha256]) -> Result<()> {
        hashes.iter().try_for_each(|hash| self.0.push(hash.0))
    }

    /// SHA-256 over all hashes, one after the other in byte order.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn digest(self) -> Result<Sha256> {
        let mut digest = Sha256Hasher::default();
        self.0.finish()?.each(|hash| {
            digest.update(hash);
            Ok(())
        })?;
        Ok(digest.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::hash::sha256;

    #[test]
    fn the_order_does_not_count_and_each_copy_does() {
        let dir = tempfile::tempdir().unwrap();
        let of = |hashes: &[Sha256]| {
            let mut all = Multiset::new(dir.path());
            hashes.iter().for_each(|hash| all.push(&[*hash]).unwrap());
            all.digest().unwrap()
        };
        let [a, b] = [Sha256([1; 32]), Sha256([2; 32])];
        assert_eq!(of(&[a, b, b]), of(&[b, a, b]));
        assert_ne!(of(&[a, b, b]), of(&[a, b]));
        assert_ne!(of(&[a, a, b]), of(&[a, b, b]));
        assert_eq!(of(&[]), sha256(b""));
        assert_eq!(of(&[b, a]), sha256(&[a.0, b.0].concat()));
    }
}

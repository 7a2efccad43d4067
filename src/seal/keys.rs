//! From the file key to everything else (docs/format.md 1 and 3): the commitment and the four keys of a file.

use crate::crypto::kdf::hkdf;
use crate::crypto::keys::{FileKey, FooterKey, HeaderKey, Key, ManifestKey, PayloadKey, Purpose};
use crate::names::{Commitment, FileId};

/// `L`: starts every derivation, so that no key of ours equals one of another protocol.
pub(crate) const LABEL: &[u8] = b"modelvault.mvlt/v1/";

/// `HKDF(FK, file_id, L ‖ "commit" ‖ preamble[0..96], 32)`.
pub(crate) fn commitment(key: &Key<FileKey>, file_id: &FileId, preamble_start: &[u8]) -> Commitment {
    let mut out = [0; 32];
    hkdf(&*key.expose(), &file_id.0, &[LABEL, b"commit", preamble_start], &mut out);
    Commitment(out)
}

/// A purpose that is derived from the file key under a label.
pub(crate) trait Derived: Purpose {
    const LABEL: &'static [u8];
}
impl Derived for PayloadKey {
    const LABEL: &'static [u8] = b"payload";
}
impl Derived for ManifestKey {
    const LABEL: &'static [u8] = b"manifest";
}
impl Derived for HeaderKey {
    const LABEL: &'static [u8] = b"header";
}
impl Derived for FooterKey {
    const LABEL: &'static [u8] = b"footer";
}

/// `K_label = HKDF(FK, commitment, L ‖ label, 32)`.
pub(crate) fn derive<P: Derived>(key: &Key<FileKey>, commitment: &Commitment) -> Key<P> {
    let mut out = [0; 32];
    hkdf(&*key.expose(), &commitment.0, &[LABEL, P::LABEL], &mut out);
    Key::take(&mut out)
}

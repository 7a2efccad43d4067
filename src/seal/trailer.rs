//! The last 96 bytes, what they say about the body, and the root they authenticate (docs/format.md 6, 8, 9.1 steps 6 and 7).

use std::ops::Range;

use super::error::SealError;
use super::io::ReadAt;
use super::keys::{LABEL, derive};
use super::preamble::{PREAMBLE_LEN, Preamble};
use super::segment::Segments;
use crate::crypto::hash;
use crate::crypto::keys::{FileKey, FooterKey, Key};
use crate::names::{Blake3, Root};

/// Bytes of the trailer.
pub const TRAILER_LEN: usize = 96;
/// Bytes of one entry of the index: tag and hash of a segment.
pub const INDEX_ENTRY_LEN: usize = 48;
/// Most bytes of the manifest's plaintext.
pub const MAX_MANIFEST: u64 = 64 << 20;
/// Most bytes of the signatures.
pub const MAX_SIGNATURES: u64 = 4 << 20;
/// The manifest is cut into segments of this size whatever the payload's are.
pub(crate) const MANIFEST_LOG2: u8 = 20;
const END: [u8; 8] = *b"MVLTEND\x01";

/// The four lengths of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lengths {
    pub payload: u64,
    pub index: u64,
    pub manifest: u64,
    pub signatures: u64,
}

impl Lengths {
    /// The 32 bytes that the footer MAC covers.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (place, len) in bytes.chunks_exact_mut(8).zip([self.payload, self.index, self.manifest, self.signatures]) {
            place.copy_from_slice(&len.to_be_bytes());
        }
        bytes
    }

    /// Bytes of the whole body, trailer included; as wide as any lie in a trailer.
    pub fn body(self) -> u128 {
        [self.payload, self.index, self.manifest, self.signatures, TRAILER_LEN as u64].map(u128::from).iter().sum()
    }
}

/// Bytes of MANIFEST for a plaintext of `plain` bytes: a tag for each segment.
pub(crate) fn manifest_len(plain: u64) -> u64 {
    plain + 16 * plain.div_ceil(1 << MANIFEST_LOG2)
}

/// Bytes of the plaintext of a MANIFEST of `len` bytes; `None` if no plaintext gives that length.
pub(crate) fn manifest_plain_len(len: u64) -> Option<u64> {
    let segments = len.div_ceil((1 << MANIFEST_LOG2) + 16);
    let plain = len.checked_sub(16 * segments)?;
    (segments >= 1 && plain > (segments - 1) << MANIFEST_LOG2).then_some(plain)
}

/// Where the parts of a body lie, checked against the file's size: only now may anything be allocated by a length.
pub(crate) struct Tail {
    pub lengths: Lengths,
    pub segments: Segments,
    pub footer_mac: [u8; 32],
    index_start: u64,
}

impl Tail {
    /// Step 6.
    pub fn read(source: &dyn ReadAt, preamble: &Preamble) -> Result<Self, SealError> {
        let (file_len, header_len) = (source.len()?, u64::from(preamble.header_len));
        let start = file_len
            .checked_sub(TRAILER_LEN as u64)
            .filter(|start| *start >= header_len)
            .ok_or(SealError::Truncated)?;
        let mut bytes = [0; TRAILER_LEN];
        source.read_exact_at(&mut bytes, start)?;
        let (fields, end) = bytes.split_at(TRAILER_LEN - END.len());
        if end != END {
            return Err(SealError::Truncated);
        }
        if fields[64..].iter().any(|b| *b != 0) {
            return Err(SealError::LengthMismatch("reserved bytes of the trailer"));
        }
        let length = |at: usize| fields[at..at + 8].iter().fold(0, |n, b| n << 8 | u64::from(*b));
        let lengths = Lengths { payload: length(0), index: length(8), manifest: length(16), signatures: length(24) };
        if u128::from(header_len) + lengths.body() != u128::from(file_len) {
            return Err(SealError::LengthMismatch("sum of the lengths"));
        }
        let segments = Segments::new(lengths.payload, preamble.log2);
        if lengths.index != INDEX_ENTRY_LEN as u64 * segments.count() {
            return Err(SealError::LengthMismatch("length of the index"));
        }
        let plain = manifest_plain_len(lengths.manifest).ok_or(SealError::LengthMismatch("length of the manifest"))?;
        segments.within_limits()?;
        if plain > MAX_MANIFEST {
            return Err(SealError::LimitExceeded("length of the manifest"));
        }
        if lengths.signatures > MAX_SIGNATURES {
            return Err(SealError::LimitExceeded("length of the signatures"));
        }
        let mut footer_mac = [0; 32];
        footer_mac.copy_from_slice(&fields[32..64]);
        Ok(Self { lengths, segments, footer_mac, index_start: header_len + lengths.payload })
    }

    /// INDEX, MANIFEST and SIGNATURES, each read once.
    pub fn read_parts(&self, source: &dyn ReadAt) -> Result<Parts, SealError> {
        let manifest_start = self.index_start + self.lengths.index;
        let signatures_start = manifest_start + self.lengths.manifest;
        let part = |start: u64, len: u64| {
            let len = usize::try_from(len).map_err(|_| SealError::LimitExceeded("memory of this machine"))?;
            let mut bytes = Vec::new();
            bytes.try_reserve_exact(len).map_err(|_| SealError::LimitExceeded("memory of this machine"))?;
            bytes.resize(len, 0);
            source.read_exact_at(&mut bytes, start)?;
            Ok::<_, SealError>(bytes)
        };
        Ok(Parts {
            index: part(self.index_start, self.lengths.index)?,
            manifest: part(manifest_start, self.lengths.manifest)?,
            signatures: part(signatures_start, self.lengths.signatures)?,
        })
    }
}

/// The parts between payload and trailer.
pub(crate) struct Parts {
    pub index: Vec<u8>,
    pub manifest: Vec<u8>,
    pub signatures: Vec<u8>,
}

impl Parts {
    /// `H(L ‖ "root" ‖ preamble ‖ u64 payload_len ‖ H(INDEX) ‖ H(MANIFEST))`.
    pub fn root(&self, preamble: &[u8; PREAMBLE_LEN], payload_len: u64) -> Root {
        let (index, manifest) = (hash::blake3(&self.index), hash::blake3(&self.manifest));
        let Blake3(root) =
            hash::blake3_of(&[LABEL, b"root", preamble, &payload_len.to_be_bytes(), &index.0, &manifest.0]);
        Root(root)
    }

    /// `HMAC(K_footer, preamble ‖ trailer[0..32] ‖ root ‖ H(SIGNATURES))`.
    pub fn footer_mac(&self, key: &Key<FileKey>, preamble: &Preamble, lengths: Lengths, root: &Root) -> [u8; 32] {
        let key = derive::<FooterKey>(key, &preamble.commitment);
        let signatures = hash::blake3(&self.signatures);
        hash::hmac(&key.expose(), &[&preamble.to_bytes(), &lengths.to_bytes(), &root.0, &signatures.0])
    }
}

/// The bytes of a trailer.
pub(crate) fn write_trailer(lengths: Lengths, footer_mac: &[u8; 32]) -> [u8; TRAILER_LEN] {
    let mut bytes = [0; TRAILER_LEN];
    bytes[..32].copy_from_slice(&lengths.to_bytes());
    bytes[32..64].copy_from_slice(footer_mac);
    bytes[TRAILER_LEN - END.len()..].copy_from_slice(&END);
    bytes
}

/// Segments of 2^20 bytes of a manifest of `plain` bytes, in order.
pub(crate) fn manifest_segments(plain: usize) -> impl Iterator<Item = (u64, Range<usize>)> {
    let size = 1usize << MANIFEST_LOG2;
    (0..plain.div_ceil(size)).map(move |i| (i as u64, i * size..((i + 1) * size).min(plain)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_lengths_are_those_a_writer_makes_and_no_others() {
        let mut possible = std::collections::HashSet::new();
        for plain in [1, 15, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20, MAX_MANIFEST] {
            assert_eq!(manifest_plain_len(manifest_len(plain)), Some(plain));
            possible.insert(manifest_len(plain));
        }
        for impossible in [0, 1, 16, (1 << 20) + 17, (1 << 20) + 32] {
            assert_eq!(manifest_plain_len(impossible), None, "{impossible}");
        }
        assert_eq!(manifest_plain_len((1 << 20) + 33), Some((1 << 20) + 1));
    }
}

//! The first 128 bytes (docs/format.md 3). They never change during the life of a file, and every key depends on them.

use super::error::SealError;
use super::keys;
use crate::crypto::hash;
use crate::crypto::keys::{FileKey, Key};
use crate::names::{Commitment, FileId};

/// Bytes of the preamble.
pub const PREAMBLE_LEN: usize = 128;
/// The first eight bytes of every sealed file.
pub const MAGIC: [u8; 8] = *b"\x89MVLT\r\n\x1a";

/// Least and largest segment size exponent.
pub(crate) const LOG2_RANGE: std::ops::RangeInclusive<u8> = 16..=24;
const MAJOR: u16 = 1;
const SUITE: u16 = 1;
const KDF: u8 = 1;
/// Header lengths are multiples of this, so that segments start on page boundaries.
pub(crate) const HEADER_UNIT: u32 = 4096;
pub(crate) const MAX_HEADER_LEN: u32 = 1 << 20;

/// The preamble of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// Informational, never changes parsing; but every key depends on it.
    pub minor: u16,
    /// A segment has 2^log2 bytes.
    pub log2: u8,
    /// Bytes before the payload.
    pub header_len: u32,
    /// The file.
    pub file_id: FileId,
    /// [`context_hash`] of the caller's context, or zeros.
    pub context: [u8; 32],
    /// Fixes the file key.
    pub commitment: Commitment,
}

/// `H(L ‖ "context" ‖ c)` for a non-empty caller context c.
pub fn context_hash(context: &[u8]) -> [u8; 32] {
    hash::blake3_of(&[keys::LABEL, b"context", context]).0
}

impl Preamble {
    /// Reads the start of a file; `bytes` may go on after the preamble.
    ///
    /// # Errors
    /// Step 1 of docs/format.md 9.1, in its order.
    pub fn parse(bytes: &[u8]) -> Result<Self, SealError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(SealError::NotSealed);
        }
        let bytes: &[u8; PREAMBLE_LEN] = bytes.first_chunk().ok_or(SealError::Truncated)?;
        if u16_at(bytes, 8) != MAJOR {
            return Err(SealError::UnsupportedVersion);
        }
        if u32_at(bytes, 12) != 0 {
            return Err(SealError::UnknownCriticalFlag);
        }
        if u16_at(bytes, 16) != SUITE || bytes[18] != KDF {
            return Err(SealError::UnsupportedSuite);
        }
        let (log2, header_len) = (bytes[19], u32_at(bytes, 20));
        check_shape(log2, header_len).map_err(SealError::MalformedHeader)?;
        if bytes[24..32] != [0; 8] {
            return Err(SealError::MalformedHeader("reserved bytes of the preamble"));
        }
        Ok(Self {
            minor: u16_at(bytes, 10),
            log2,
            header_len,
            file_id: FileId(array_at(bytes, 32)),
            context: array_at(bytes, 64),
            commitment: Commitment(array_at(bytes, 96)),
        })
    }

    /// The preamble of a new file, committing to its key.
    pub(crate) fn commit(log2: u8, header_len: u32, file_id: FileId, context: [u8; 32], key: &Key<FileKey>) -> Self {
        let mut preamble = Self { minor: 0, log2, header_len, file_id, context, commitment: Commitment([0; 32]) };
        preamble.commitment = preamble.commitment_of(key);
        preamble
    }

    /// What the commitment must be if `key` is the file key.
    pub(crate) fn commitment_of(&self, key: &Key<FileKey>) -> Commitment {
        keys::commitment(key, &self.file_id, &self.to_bytes()[..96])
    }

    /// The bytes in the file.
    pub fn to_bytes(&self) -> [u8; PREAMBLE_LEN] {
        let mut bytes = [0; PREAMBLE_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&MAJOR.to_be_bytes());
        bytes[10..12].copy_from_slice(&self.minor.to_be_bytes());
        bytes[16..18].copy_from_slice(&SUITE.to_be_bytes());
        bytes[18] = KDF;
        bytes[19] = self.log2;
        bytes[20..24].copy_from_slice(&self.header_len.to_be_bytes());
        bytes[32..64].copy_from_slice(&self.file_id.0);
        bytes[64..96].copy_from_slice(&self.context);
        bytes[96..].copy_from_slice(&self.commitment.0);
        bytes
    }
}

/// The rules for segment size exponent and header length, for readers and writers.
pub(crate) fn check_shape(log2: u8, header_len: u32) -> Result<(), &'static str> {
    if !LOG2_RANGE.contains(&log2) {
        return Err("segment size");
    }
    if !header_len.is_multiple_of(HEADER_UNIT) || !(HEADER_UNIT..=MAX_HEADER_LEN).contains(&header_len) {
        return Err("header length");
    }
    Ok(())
}

fn u16_at(bytes: &[u8; PREAMBLE_LEN], at: usize) -> u16 {
    u16::from_be_bytes(array_at(bytes, at))
}

fn u32_at(bytes: &[u8; PREAMBLE_LEN], at: usize) -> u32 {
    u32::from_be_bytes(array_at(bytes, at))
}

/// `N` bytes at a constant place within the preamble.
fn array_at<const N: usize>(bytes: &[u8; PREAMBLE_LEN], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

//! Segments: how a payload is cut, which bytes a range needs, and the nonce of each piece (docs/format.md 5).

use std::ops::Range;

use super::error::SealError;
use crate::crypto::aead::Nonce;

/// Most segments of a payload (docs/format.md 11).
pub const MAX_SEGMENTS: u64 = 1 << 26;
/// Most bytes of a payload.
pub const MAX_PAYLOAD: u64 = 1 << 46;

/// A run of bytes cut into segments of 2^log2, the last one shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    log2: u8,
    payload_len: u64,
}

impl Segments {
    /// `log2` as in a preamble that was parsed: 16 to 24.
    pub fn new(payload_len: u64, log2: u8) -> Self {
        debug_assert!(super::preamble::LOG2_RANGE.contains(&log2));
        Self { log2, payload_len }
    }

    /// Refuses what no file may have.
    pub(crate) fn within_limits(self) -> Result<Self, SealError> {
        if self.payload_len > MAX_PAYLOAD {
            return Err(SealError::LimitExceeded("payload length"));
        }
        if self.count() > MAX_SEGMENTS {
            return Err(SealError::LimitExceeded("number of segments"));
        }
        Ok(self)
    }

    /// Bytes in all segments together.
    pub fn payload_len(self) -> u64 {
        self.payload_len
    }

    /// Size exponent of a segment.
    pub fn log2(self) -> u8 {
        self.log2
    }

    /// Bytes of every segment but the last.
    pub fn size(self) -> u64 {
        1 << self.log2
    }

    /// How many; none for an empty payload.
    pub fn count(self) -> u64 {
        self.payload_len.div_ceil(self.size())
    }

    /// The payload bytes of segment `index`; `None` if there is no such segment.
    pub fn range(self, index: u64) -> Option<Range<u64>> {
        (index < self.count()).then(|| {
            let start = index << self.log2;
            start..(start + self.size()).min(self.payload_len)
        })
    }

    /// The segment that byte `at` lies in.
    pub fn containing(self, at: u64) -> u64 {
        at >> self.log2
    }

    /// The segments a range needs; none for an empty range.
    ///
    /// # Errors
    /// `RangeInvalid` unless `0 ≤ a ≤ b ≤ payload_len`.
    pub fn covering(self, bytes: &Range<u64>) -> Result<Range<u64>, SealError> {
        check_range(bytes, self.payload_len)?;
        if bytes.is_empty() {
            return Ok(0..0);
        }
        Ok(self.containing(bytes.start)..self.containing(bytes.end - 1) + 1)
    }
}

/// `RangeInvalid` unless `0 ≤ a ≤ b ≤ len`.
pub(crate) fn check_range(bytes: &Range<u64>, len: u64) -> Result<(), SealError> {
    if bytes.start > bytes.end || bytes.end > len {
        return Err(SealError::RangeInvalid { start: bytes.start, end: bytes.end, len });
    }
    Ok(())
}

/// The nonce of segment `index` of `count`: an 11-byte counter, then 1 for the last segment and 0 for the others.
/// Position and end are in the nonce, so no segment can be moved and none can be cut off.
pub(crate) fn nonce(index: u64, count: u64) -> Nonce {
    debug_assert!(index < count);
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&index.to_be_bytes());
    nonce[11] = u8::from(index + 1 == count);
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_segment_is_marked_and_no_two_nonces_are_equal() {
        assert_eq!(hex::encode(nonce(0, 1)), "000000000000000000000001");
        assert_eq!(hex::encode(nonce(0x0102, 0x0104)), "000000000000000000010200");
        let all: std::collections::HashSet<_> = (0..1000).map(|i| nonce(i, 1000)).collect();
        assert_eq!(all.len(), 1000);
    }

    #[test]
    fn ranges_at_the_edges() {
        let segments = Segments::new(0x2_0001, 16);
        assert_eq!(segments.count(), 3);
        assert_eq!(segments.range(2), Some(0x2_0000..0x2_0001));
        assert_eq!(segments.range(3), None);
        assert_eq!(segments.covering(&(0xffff..0x1_0001)).unwrap(), 0..2);
        assert!(segments.covering(&(0x2_0001..0x2_0001)).unwrap().is_empty());
        #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
        for bad in [0..0x2_0002, 5..4, u64::MAX..u64::MAX] {
            assert_eq!(segments.covering(&bad).unwrap_err().id().name(), "RangeInvalid");
        }
        assert_eq!(Segments::new(0, 16).count(), 0);
    }
}

//! Where members lie in the payload (docs/format.md 7.2): placement is canonical, so nothing can hide in a gap and two
//! writers agree.

use std::ops::Range;

use super::segment::Segments;

/// Members smaller than a segment start at multiples of this.
const SMALL_UNIT: u64 = 64;

/// Canonical offsets for members of these sizes, and the payload's length; `None` if it does not fit 64 bits.
pub(crate) fn place(sizes: impl IntoIterator<Item = u64>, log2: u8) -> Option<(Vec<u64>, u64)> {
    let segment = 1u64 << log2;
    let mut cursor = 0u64;
    let offsets = sizes
        .into_iter()
        .map(|size| {
            if size == 0 {
                return Some(0);
            }
            let start = cursor.checked_next_multiple_of(if size >= segment { segment } else { SMALL_UNIT })?;
            cursor = start.checked_add(size)?;
            Some(start)
        })
        .collect::<Option<_>>()?;
    Some((offsets, cursor))
}

/// A payload with its members placed.
pub(crate) struct Layout {
    pub segments: Segments,
    /// Offset and size of each member.
    members: Vec<Range<u64>>,
    /// The members that have bytes: in member order, which is payload order.
    filled: Vec<usize>,
}

/// The bytes of one member that lie in one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Index of the member.
    pub member: usize,
    /// Its size.
    pub member_len: u64,
    /// Where the piece starts in the member.
    pub offset: u64,
    /// Where it lies in the segment.
    pub within: Range<usize>,
}

impl Piece {
    pub fn is_first(&self) -> bool {
        self.offset == 0
    }

    pub fn is_last(&self) -> bool {
        self.offset + self.within.len() as u64 == self.member_len
    }
}

impl Layout {
    /// For offsets that were [placed](place) or checked to be.
    pub fn new(segments: Segments, members: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let members: Vec<_> = members.into_iter().map(|(offset, size)| offset..offset + size).collect();
        let filled = (0..members.len()).filter(|i| !members[*i].is_empty()).collect();
        Self { segments, members, filled }
    }

    /// Whether the member has no bytes.
    pub fn is_empty(&self, member: usize) -> bool {
        self.members[member].is_empty()
    }

    /// What lies in segment `index`, in payload order.
    pub fn pieces(&self, index: u64) -> impl Iterator<Item = Piece> {
        let segment = self.segments.range(index).unwrap_or(0..0);
        let first = self.filled.partition_point(|m| self.members[*m].end <= segment.start);
        self.filled[first..].iter().map_while(move |m| {
            let member = &self.members[*m];
            let part = member.start.max(segment.start)..member.end.min(segment.end);
            (part.start < part.end).then(|| Piece {
                member: *m,
                member_len: member.end - member.start,
                offset: part.start - member.start,
                within: (part.start - segment.start) as usize..(part.end - segment.start) as usize,
            })
        })
    }

    /// Whether all bytes of the segment outside of members are zero.
    pub fn gaps_are_zero(&self, index: u64, bytes: &[u8]) -> bool {
        let mut at = 0;
        for piece in self.pieces(index) {
            if bytes[at..piece.within.start].iter().any(|b| *b != 0) {
                return false;
            }
            at = piece.within.end;
        }
        bytes[at..].iter().all(|b| *b == 0)
    }

    /// Runs of segments that some member crosses into the next: within a run the order matters to whoever takes a member's
    /// bytes in order, between runs it does not.
    pub fn runs(&self) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for member in self.filled.iter().map(|m| &self.members[*m]) {
            let touched = self.segments.containing(member.start)..self.segments.containing(member.end - 1) + 1;
            match runs.last_mut() {
                Some(run) if touched.start < run.end => run.end = run.end.max(touched.end),
                _ => runs.push(touched),
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_multi_member_vector_is_placed_as_it_is() {
        let (offsets, len) = place([700, 0, 200_000, 65_536, 65_535, 65, 70_000, 3], 16).unwrap();
        assert_eq!(offsets, [0, 0, 65_536, 327_680, 393_216, 458_752, 524_288, 594_304]);
        assert_eq!(len, 594_307);
        assert_eq!(place([u64::MAX, 1], 16), None);
    }

    proptest! {
        #[test]
        fn placement_never_overlaps_and_pieces_cover_each_member_once(
            sizes in prop::collection::vec(prop_oneof![Just(0), 1..200u64, 60_000..70_000u64, 100_000..400_000u64], 0..20),
        ) {
            let (offsets, len) = place(sizes.iter().copied(), 16).unwrap();
            let mut end = 0;
            for (offset, size) in offsets.iter().zip(&sizes).filter(|(_, s)| **s > 0) {
                let unit = if *size >= 65_536 { 65_536 } else { 64 };
                prop_assert!(*offset >= end);
                prop_assert!(offset - end < unit);
                end = offset + size;
            }
            prop_assert_eq!(end, len);
            let segments = Segments::new(len, 16);
            let layout = Layout::new(segments, offsets.iter().copied().zip(sizes.iter().copied()));
            let mut seen = vec![0; sizes.len()];
            for index in 0..segments.count() {
                for piece in layout.pieces(index) {
                    prop_assert_eq!(piece.offset, seen[piece.member]);
                    seen[piece.member] += piece.within.len() as u64;
                    prop_assert_eq!(piece.is_last(), seen[piece.member] == sizes[piece.member]);
                }
            }
            prop_assert_eq!(&seen, &sizes);
            let runs = layout.runs();
            prop_assert_eq!(runs.iter().map(|r| r.end - r.start).sum::<u64>(), segments.count());
        }
    }
}

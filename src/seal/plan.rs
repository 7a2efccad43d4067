//! What a writer decides before it reads the first byte: order and place of the members, sizes of segments and groups.

use super::error::SealError;
use super::layout::{Layout, place};
use super::manifest::{MAX_MEMBERS, MAX_OUTBOARD, check_paths};
use super::preamble::LOG2_RANGE;
use super::segment::Segments;
use super::writer::SealRequest;
use crate::crypto::outboard::Groups;

/// Segment and group size exponent of a writer that is free to choose.
const USUAL_LOG2: u8 = 20;

/// The decisions.
pub(crate) struct Plan {
    pub layout: Layout,
    pub offsets: Vec<u64>,
    pub sizes: Vec<u64>,
    pub group_log2: u8,
}

impl Plan {
    /// Sorts the members of the request and looks at their lengths.
    pub fn make(request: &mut SealRequest<'_>) -> Result<Self, SealError> {
        if request.members.len() > MAX_MEMBERS {
            return Err(SealError::LimitExceeded("number of members"));
        }
        request.members.sort_by(|a, b| a.path.cmp(&b.path));
        check_paths(request.members.iter().map(|m| m.path.as_str())).map_err(SealError::InvalidArgument)?;
        let sizes = request.members.iter().map(|m| m.source.len()).collect::<Result<Vec<_>, _>>()?;
        let (offsets, segments) = match request.log2 {
            Some(log2) if !LOG2_RANGE.contains(&log2) => {
                return Err(SealError::InvalidArgument("a segment has 2^16 to 2^24 bytes".into()));
            }
            Some(log2) => placed(&sizes, log2)?,
            None => choose_log2(&sizes)?,
        };
        let group_log2 = choose_group_log2(&sizes, request.group_log2)?;
        let layout = Layout::new(segments, offsets.iter().copied().zip(sizes.iter().copied()));
        Ok(Self { layout, offsets, sizes, group_log2 })
    }
}

fn placed(sizes: &[u64], log2: u8) -> Result<(Vec<u64>, Segments), SealError> {
    let (offsets, len) = place(sizes.iter().copied(), log2).ok_or(SealError::LimitExceeded("payload length"))?;
    Ok((offsets, Segments::new(len, log2).within_limits()?))
}

/// The usual segment size, or the largest smaller one whose gaps stay within 1/16 of the payload; the smallest that the limits
/// allow if none does.
fn choose_log2(sizes: &[u64]) -> Result<(Vec<u64>, Segments), SealError> {
    let bytes = sizes.iter().fold(0u64, |sum, size| sum.saturating_add(*size));
    let mut chosen = placed(sizes, USUAL_LOG2)?;
    for log2 in (*LOG2_RANGE.start()..USUAL_LOG2).rev() {
        let payload_len = chosen.1.payload_len();
        if payload_len - bytes <= payload_len / 16 {
            break;
        }
        match placed(sizes, log2) {
            Ok(smaller) => chosen = smaller,
            Err(_) => break,
        }
    }
    Ok(chosen)
}

/// The usual group size, or the smallest larger one for which all trees fit the manifest.
fn choose_group_log2(sizes: &[u64], wanted: Option<u8>) -> Result<u8, SealError> {
    let fits = |log2: &u8| {
        let trees = sizes.iter().map(|size| Groups::new(*size, *log2).outboard_len());
        trees.fold(0u64, u64::saturating_add) <= MAX_OUTBOARD
    };
    let mut candidates = match wanted {
        Some(log2) if !(16..=28).contains(&log2) => {
            return Err(SealError::InvalidArgument("a group has 2^16 to 2^28 bytes".into()));
        }
        Some(log2) => log2..=log2,
        None => USUAL_LOG2..=28,
    };
    candidates.find(fits).ok_or(SealError::LimitExceeded("length of the outboards"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_beyond_a_sixteenth_lower_the_segment_size() {
        const MIB: u64 = 1 << 20;
        let log2 = |sizes: &[u64]| choose_log2(sizes).unwrap().1.log2();
        assert_eq!(log2(&[100 * MIB + 1, 100 * MIB + 1]), 20);
        assert_eq!(log2(&[4 * MIB + 1; 3]), 18);
        assert_eq!(log2(&[MIB + 1; 3]), 16);
        assert_eq!(log2(&[]), 20);
        assert_eq!(log2(&[1; 1000]), 16, "even where no size helps");
        assert_eq!(choose_log2(&[1 << 46, 1]).unwrap_err().id().name(), "LimitExceeded");
        assert_eq!(choose_log2(&[u64::MAX, 1]).unwrap_err().id().name(), "LimitExceeded");
    }

    #[test]
    fn groups_grow_with_the_payload() {
        assert_eq!(choose_group_log2(&[1 << 39], None).unwrap(), 20);
        assert_eq!(choose_group_log2(&[(1 << 39) + (1 << 20) + 1], None).unwrap(), 21);
        assert_eq!(choose_group_log2(&[1 << 46], None).unwrap(), 27);
        assert!(choose_group_log2(&[1 << 46], Some(20)).is_err());
        assert!(choose_group_log2(&[], Some(15)).is_err());
    }
}

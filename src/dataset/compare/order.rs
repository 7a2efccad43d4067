//! Which of the records that are in both versions were moved: the fewest whose removal leaves the others in their order.

use std::collections::BTreeMap;

/// Consecutive records of the old version that are consecutive in the new one too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Rank of the first in the new version, among the records of both.
    pub rank: u64,
    /// How many there are.
    pub len: u64,
}

/// Collects the ranks that records of the old version have in the new one, in the order of the old one.
#[derive(Default)]
pub(super) struct Blocks {
    blocks: Vec<Block>,
}

impl Blocks {
    /// The next record of the old version is this one of the new.
    pub fn push(&mut self, rank: u64) {
        match self.blocks.last_mut() {
            Some(last) if last.rank + last.len == rank => last.len += 1,
            _ => self.blocks.push(Block { rank, len: 1 }),
        }
    }

    /// For each block, in the order of the old version, whether its records stayed in order: the heaviest increasing sequence of blocks
    /// (blocks do not overlap, so that is one of ranks).
    pub fn stay(&self) -> Vec<(Block, bool)> {
        // For sequences that end at or before a rank: the weight of the heaviest, and its last block. Weights grow with the rank.
        let mut best: BTreeMap<u64, (u64, usize)> = BTreeMap::new();
        let mut before = vec![usize::MAX; self.blocks.len()];
        for (i, block) in self.blocks.iter().enumerate() {
            let (weight, last) = best.range(..block.rank).next_back().map_or((0, usize::MAX), |(_, entry)| *entry);
            before[i] = last;
            let weight = weight + block.len;
            while let Some((rank, _)) = best.range(block.rank..).next().filter(|(_, (other, _))| *other <= weight) {
                let rank = *rank;
                best.remove(&rank);
            }
            best.insert(block.rank, (weight, i));
        }
        let mut stays: Vec<_> = self.blocks.iter().map(|block| (*block, false)).collect();
        let mut at = best.last_key_value().map_or(usize::MAX, |(_, (_, last))| *last);
        while at != usize::MAX {
            stays[at].1 = true;
            at = before[at];
        }
        stays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(ranks: &[u64]) -> Vec<u64> {
        let mut blocks = Blocks::default();
        ranks.iter().for_each(|rank| blocks.push(*rank));
        let moved = blocks.stay().into_iter().filter(|(_, stays)| !stays);
        moved.flat_map(|(block, _)| block.rank..block.rank + block.len).collect()
    }

    #[test]
    fn only_what_left_its_place_was_moved() {
        assert_eq!(moved(&[]), [0; 0]);
        assert_eq!(moved(&[0, 1, 2, 3]), [0; 0]);
        assert_eq!(moved(&[3, 0, 1, 2]), [3]);
        assert_eq!(moved(&[1, 2, 3, 0]), [0]);
        assert_eq!(moved(&[0, 4, 2, 3, 1]), [4, 1]);
        assert_eq!(moved(&[3, 4, 5, 0, 1, 2, 6]).len(), 3);
    }

    #[test]
    fn as_few_as_possible_are_called_moved() {
        let mut state = 1_u64;
        for _ in 0..200 {
            let mut ranks: Vec<u64> = (0..12).collect();
            for i in (1..ranks.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ranks.swap(i, (state >> 33) as usize % (i + 1));
            }
            // The longest increasing subsequence, the slow way.
            let mut longest = vec![1; ranks.len()];
            for i in 0..ranks.len() {
                for j in 0..i {
                    if ranks[j] < ranks[i] {
                        longest[i] = longest[i].max(longest[j] + 1);
                    }
                }
            }
            let fewest = ranks.len() - longest.iter().max().unwrap();
            assert_eq!(moved(&ranks).len(), fewest, "{ranks:?}");
        }
    }
}

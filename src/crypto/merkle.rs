//! The append-only tree of RFC 6962: leaf and node hashes, roots, inclusion and consistency proofs, and a frontier that
//! appends in constant memory. Hash: SHA-256.

use super::hash::{Sha256Hasher, sha256};
use super::hash_batch::Sha256Batch;
use crate::names::Sha256;

/// `SHA-256(0x00 ‖ leaf)`.
pub fn leaf_hash(leaf: &[u8]) -> Sha256 {
    let mut hasher = Sha256Hasher::default();
    hasher.update(&[0]);
    hasher.update(leaf);
    hasher.finish()
}

/// `SHA-256(0x01 ‖ left ‖ right)`.
pub fn node_hash(left: &Sha256, right: &Sha256) -> Sha256 {
    let mut node = [1; 65];
    node[1..33].copy_from_slice(&left.0);
    node[33..].copy_from_slice(&right.0);
    sha256(&node)
}

/// Root of the empty tree.
pub fn empty_root() -> Sha256 {
    sha256(b"")
}

/// Leaves of which a subtree is made level by level.
const MOST_AT_ONCE: usize = 1024;

/// The roots of the perfect subtrees of a growing log, largest first: enough to append and to give the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    perfect: Vec<Sha256>,
}

impl Frontier {
    /// A frontier stored earlier; `None` if the number of subtrees does not fit the size.
    pub fn restore(size: u64, perfect: Vec<Sha256>) -> Option<Self> {
        (perfect.len() == size.count_ones() as usize).then_some(Self { size, perfect })
    }

    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The subtree roots, for storing.
    pub fn perfect(&self) -> &[Sha256] {
        &self.perfect
    }

    /// Appends the hash of one leaf.
    pub fn push(&mut self, leaf: Sha256) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            let left = self.perfect.pop().expect("one subtree for each set bit of the size");
            hash = node_hash(&left, &hash);
        }
        self.perfect.push(hash);
        self.size += 1;
    }

    /// Appends the hashes of many leaves, at half the cost of one after the other: whole subtrees of them are made level by level.
    pub fn extend(&mut self, mut leaves: &[Sha256]) {
        let (mut nodes, mut batch) = (Vec::new(), Sha256Batch::default());
        while let Some((first, rest)) = leaves.split_first() {
            // The largest subtree that can begin here.
            let most = leaves.len().min(MOST_AT_ONCE).ilog2();
            let height = self.size.trailing_zeros().min(most);
            if height < 2 {
                self.push(*first);
                leaves = rest;
                continue;
            }
            let (subtree, rest) = leaves.split_at(1 << height);
            nodes.clear();
            nodes.extend_from_slice(subtree);
            while nodes.len() > 1 {
                let mut above = Vec::with_capacity(nodes.len() / 2);
                for pair in nodes.as_chunks::<2>().0 {
                    batch.push(&[&[1], &pair[0].0, &pair[1].0], &mut above);
                }
                batch.finish(&mut above);
                nodes = above;
            }
            let mut hash = nodes[0];
            for _ in 0..(self.size >> height).trailing_ones() {
                let left = self.perfect.pop().expect("one subtree for each set bit of the size");
                hash = node_hash(&left, &hash);
            }
            self.perfect.push(hash);
            self.size += 1 << height;
            leaves = rest;
        }
    }

    /// Root of the tree.
    pub fn root(&self) -> Sha256 {
        let mut from_right = self.perfect.iter().rev();
        let Some(last) = from_right.next() else { return empty_root() };
        from_right.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// Root of the tree over these leaf hashes.
pub fn root(leaves: &[Sha256]) -> Sha256 {
    let mut frontier = Frontier::default();
    frontier.extend(leaves);
    frontier.root()
}

/// Inclusion proof of leaf `index` (RFC 6962, 2.1.1), bottom first; `None` if there is no such leaf.
pub fn inclusion_proof(leaves: &[Sha256], index: u64) -> Option<Vec<Sha256>> {
    let index = usize::try_from(index).ok().filter(|i| *i < leaves.len())?;
    let mut proof = Vec::new();
    let (mut tree, mut at) = (leaves, index);
    while tree.len() > 1 {
        let (left, right) = tree.split_at(split(tree.len()));
        if at < left.len() {
            proof.push(root(right));
            tree = left;
        } else {
            proof.push(root(left));
            at -= left.len();
            tree = right;
        }
    }
    proof.reverse();
    Some(proof)
}

/// Whether the proof shows that `leaf` is number `index` of the tree of `size` leaves with `root` (RFC 9162, 2.1.3.2).
pub fn verify_inclusion(leaf: Sha256, index: u64, size: u64, proof: &[Sha256], root: &Sha256) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, leaf);
    for step in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(step, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, step);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && super::equal(&hash.0, &root.0)
}

/// Consistency proof from the first `old` leaves to all of them (RFC 6962, 2.1.2); `None` unless `1 <= old <= len`.
pub fn consistency_proof(leaves: &[Sha256], old: u64) -> Option<Vec<Sha256>> {
    fn sub_proof(old: usize, tree: &[Sha256], whole: bool, proof: &mut Vec<Sha256>) {
        if old == tree.len() {
            if !whole {
                proof.push(root(tree));
            }
            return;
        }
        let (left, right) = tree.split_at(split(tree.len()));
        if old <= left.len() {
            sub_proof(old, left, whole, proof);
            proof.push(root(right));
        } else {
            sub_proof(old - left.len(), right, false, proof);
            proof.push(root(left));
        }
    }
    let old = usize::try_from(old).ok().filter(|o| (1..=leaves.len()).contains(o))?;
    let mut proof = Vec::new();
    sub_proof(old, leaves, true, &mut proof);
    Some(proof)
}

/// Whether the tree of `new_size` leaves extends that of `old_size` (RFC 9162, 2.1.4.2).
pub fn verify_consistency(
    old_size: u64,
    old_root: &Sha256,
    new_size: u64,
    new_root: &Sha256,
    proof: &[Sha256],
) -> bool {
    if old_size == 0 || old_size > new_size {
        return false;
    }
    if old_size == new_size {
        return proof.is_empty() && old_root == new_root;
    }
    let mut steps = proof.iter();
    let (mut node, mut last) = (old_size - 1, new_size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let first = if old_size.is_power_of_two() { Some(old_root) } else { steps.next() };
    let Some(first) = first else { return false };
    let (mut old_hash, mut new_hash) = (*first, *first);
    for step in steps {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(step, &old_hash);
            new_hash = node_hash(step, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, step);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

/// Leaves of the left subtree: the largest power of two below `len`.
fn split(len: usize) -> usize {
    debug_assert!(len > 1);
    1 << (usize::BITS - 1 - (len - 1).leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(n: u8) -> Vec<Sha256> {
        (0..n).map(|i| leaf_hash(&[i])).collect()
    }

    /// MTH of RFC 6962, 2.1, straight from its definition.
    fn defined_root(leaves: &[Sha256]) -> Sha256 {
        match leaves {
            [] => sha256(b""),
            [one] => *one,
            _ => {
                let (l, r) = leaves.split_at(split(leaves.len()));
                node_hash(&defined_root(l), &defined_root(r))
            }
        }
    }

    #[test]
    fn the_frontier_gives_the_defined_root_and_survives_storing() {
        for n in 0..70 {
            let all = leaves(n);
            assert_eq!(root(&all), defined_root(&all));
            let mut frontier = Frontier::default();
            for leaf in &all {
                frontier = Frontier::restore(frontier.size(), frontier.perfect().to_vec()).unwrap();
                frontier.push(*leaf);
            }
            assert_eq!(frontier.root(), root(&all));
        }
        assert!(Frontier::restore(3, vec![empty_root()]).is_none());
    }

    #[test]
    fn many_leaves_at_once_make_the_tree_of_one_after_the_other() {
        let all: Vec<_> = (0..5000_u32).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        for steps in [[1, 2, 3], [7, 256, 1], [1024, 1023, 1025], [5000, 1, 1], [4, 4, 4], [0, 255, 8]] {
            let (mut at_once, mut single, mut rest) = (Frontier::default(), Frontier::default(), &all[..]);
            for step in steps.iter().cycle().take(4000) {
                let (now, later) = rest.split_at(rest.len().min(*step));
                at_once.extend(now);
                now.iter().for_each(|leaf| single.push(*leaf));
                assert!(at_once == single, "{steps:?}");
                rest = later;
            }
            assert_eq!(single.size(), all.len() as u64 - rest.len() as u64);
        }
    }

    #[test]
    fn every_inclusion_proof_verifies_and_no_other_place_does() {
        for n in 1..34u8 {
            let all = leaves(n);
            let root = root(&all);
            for i in 0..n {
                let proof = inclusion_proof(&all, i.into()).unwrap();
                assert!(verify_inclusion(all[i as usize], i.into(), n.into(), &proof, &root), "{i} of {n}");
                assert!(!verify_inclusion(leaf_hash(b"no"), i.into(), n.into(), &proof, &root));
                if n > 1 {
                    assert!(!verify_inclusion(
                        all[i as usize],
                        u64::from(i + 1) % u64::from(n),
                        n.into(),
                        &proof,
                        &root
                    ));
                    assert!(!verify_inclusion(all[i as usize], i.into(), n.into(), &proof[1..], &root));
                }
            }
        }
    }

    #[test]
    fn every_consistency_proof_verifies_and_no_fork_does() {
        for n in 1..34u8 {
            let all = leaves(n);
            let new_root = root(&all);
            for old in 1..=n {
                let old_root = root(&all[..old as usize]);
                let proof = consistency_proof(&all, old.into()).unwrap();
                assert!(verify_consistency(old.into(), &old_root, n.into(), &new_root, &proof), "{old} to {n}");
                assert!(!verify_consistency(old.into(), &leaf_hash(b"fork"), n.into(), &new_root, &proof));
                if old < n {
                    assert!(!verify_consistency(old.into(), &old_root, n.into(), &old_root, &proof));
                }
            }
        }
    }
}

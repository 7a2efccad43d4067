//! BLAKE3 trees above group level (docs/format.md 7.3): made by whoever seals, walked by whoever checks a range.

use blake3::Hasher;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use super::{AuthFailed, equal};
use crate::names::Blake3;

/// A chaining value: the hash of a subtree that is not the whole tree.
pub type ChainingValue = [u8; 32];

/// Bytes of one parent node: left and right chaining value.
pub const NODE_LEN: usize = 64;

/// The groups of a member: `size` bytes cut into pieces of 2^`group_log2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    size: u64,
    group_log2: u8,
}

impl Groups {
    /// `group_log2` is 10 (a BLAKE3 chunk) to 62.
    pub fn new(size: u64, group_log2: u8) -> Self {
        assert!((10..=62).contains(&group_log2), "a group is at least one BLAKE3 chunk");
        Self { size, group_log2 }
    }

    /// How many groups; 1 for an empty member, whose only group is empty.
    pub fn count(&self) -> u64 {
        self.size.div_ceil(1 << self.group_log2).max(1)
    }

    /// Bytes of the outboard: a node for each group but one.
    pub fn outboard_len(&self) -> u64 {
        NODE_LEN as u64 * (self.count() - 1)
    }

    /// Bytes of group `index`.
    pub fn len_of(&self, index: u64) -> u64 {
        let start = index << self.group_log2;
        (self.size - start).min(1 << self.group_log2)
    }
}

/// The hash of one whole group (or granule) that is not the whole member: `index` counts from the member's start.
pub fn group_cv(index: u64, group_log2: u8, bytes: &[u8]) -> ChainingValue {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(index << group_log2);
    hasher.update(bytes).finalize_non_root()
}

/// The digest of a member that is at hand as a whole, and its outboard.
pub fn hash_member(bytes: &[u8], group_log2: u8) -> (Blake3, Vec<u8>) {
    let mut hasher = MemberHasher::new(Groups::new(bytes.len() as u64, group_log2));
    hasher.update(bytes);
    hasher.finish()
}

/// Digest and outboard of a member whose bytes come in order.
pub struct MemberHasher {
    groups: Groups,
    taken: u64,
    current: Hasher,
    cvs: Vec<ChainingValue>,
}

impl MemberHasher {
    /// For a member that will have exactly the size of `groups`.
    pub fn new(groups: Groups) -> Self {
        Self { groups, taken: 0, current: Hasher::new(), cvs: Vec::new() }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        assert!(bytes.len() as u64 <= self.groups.size - self.taken, "no more bytes than were announced");
        while !bytes.is_empty() {
            let group = self.taken >> self.groups.group_log2;
            let left = ((group + 1) << self.groups.group_log2).min(self.groups.size) - self.taken;
            let (now, later) = bytes.split_at(bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            self.current.update(now);
            self.taken += now.len() as u64;
            if now.len() as u64 == left && self.groups.count() > 1 {
                self.cvs.push(self.current.finalize_non_root());
                self.current = Hasher::new();
                if self.taken < self.groups.size {
                    self.current.set_input_offset(self.taken);
                }
            }
            bytes = later;
        }
    }

    /// Digest and outboard.
    pub fn finish(self) -> (Blake3, Vec<u8>) {
        assert_eq!(self.taken, self.groups.size, "no fewer bytes than were announced");
        if self.groups.count() == 1 {
            return (Blake3(*self.current.finalize().as_bytes()), Vec::new());
        }
        TreeBuilder { groups: self.groups, granule_log2: self.groups.group_log2, cvs: self.cvs }.finish()
    }
}

/// Collects the hashes of one member's granules, in any order, and folds them into digest and outboard.
///
/// A granule is a group, or a smaller power of two where a group is worked on in pieces.
pub struct TreeBuilder {
    groups: Groups,
    granule_log2: u8,
    cvs: Vec<ChainingValue>,
}

impl TreeBuilder {
    /// For a member of more than one granule; a granule is at most a group.
    pub fn new(groups: Groups, granule_log2: u8) -> Self {
        let granules = Groups::new(groups.size, granule_log2).count();
        assert!(granule_log2 <= groups.group_log2, "a granule is at most a group");
        assert!(granules > 1, "a member of one granule has no tree: hash it whole");
        let count = usize::try_from(granules).expect("a member's granule hashes fit in memory");
        Self { groups, granule_log2, cvs: vec![[0; 32]; count] }
    }

    /// Sets the hash of granule `index`.
    pub fn set(&mut self, index: u64, cv: ChainingValue) {
        self.cvs[usize::try_from(index).expect("index of an existing granule")] = cv;
    }

    /// Digest of the member, and its outboard in pre-order.
    pub fn finish(self) -> (Blake3, Vec<u8>) {
        let mut outboard = Vec::with_capacity(self.groups.outboard_len() as usize);
        let granules_a_group = 1 << (self.groups.group_log2 - self.granule_log2);
        let (left, right) = fold_children(&self.cvs, granules_a_group, &mut outboard);
        (Blake3(*merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()), outboard)
    }
}

/// Folds a subtree of at least two granules into its two children. Where it has more than one group, its node is written,
/// then those of its subtrees.
fn fold_children(
    cvs: &[ChainingValue],
    granules_a_group: usize,
    outboard: &mut Vec<u8>,
) -> (ChainingValue, ChainingValue) {
    let (left, right) = cvs.split_at(left_groups(cvs.len() as u64) as usize);
    let place = (cvs.len() > granules_a_group).then(|| {
        outboard.resize(outboard.len() + NODE_LEN, 0);
        outboard.len() - NODE_LEN
    });
    let mut fold = |side: &[ChainingValue]| match side {
        [leaf] => *leaf,
        _ => {
            let (l, r) = fold_children(side, granules_a_group, outboard);
            merge_subtrees_non_root(&l, &r, Mode::Hash)
        }
    };
    let node = (fold(left), fold(right));
    if let Some(place) = place {
        outboard[place..place + 32].copy_from_slice(&node.0);
        outboard[place + 32..place + NODE_LEN].copy_from_slice(&node.1);
    }
    node
}

/// Groups of the left subtree: the largest power of two that leaves something to the right.
fn left_groups(count: u64) -> u64 {
    debug_assert!(count > 1);
    1 << (u64::BITS - 1 - (count - 1).leading_zeros())
}

/// Nodes on the way from the top to group `index`, as offsets into the outboard, top first.
pub fn path_to(groups: Groups, index: u64) -> Vec<u64> {
    let mut path = Vec::new();
    let (mut first, mut count, mut offset) = (0, groups.count(), 0);
    while count > 1 {
        path.push(offset);
        let left = left_groups(count);
        if index - first < left {
            (count, offset) = (left, offset + NODE_LEN as u64);
        } else {
            // Skip this node and the left subtree's left - 1 nodes.
            (first, count, offset) = (first + left, count - left, offset + NODE_LEN as u64 * left);
        }
    }
    path
}

/// Nodes that group `index` needs and that were not needed for `previous`, the group before it in the same stream; top first.
/// Sender and [`GroupVerifier`] agree on this without talking about it.
pub fn new_nodes(groups: Groups, previous: Option<u64>, index: u64) -> Vec<u64> {
    let path = path_to(groups, index);
    let before = previous.map_or_else(Vec::new, |p| path_to(groups, p));
    let shared = before.iter().zip(&path).take_while(|(a, b)| a == b).count();
    path[shared..].to_vec()
}

/// Checks groups of one member against its digest, in any order, without trusting whoever sends them.
///
/// Verified nodes are kept, so consecutive groups need only the nodes that are new; memory is the way to one group.
pub struct GroupVerifier {
    groups: Groups,
    digest: Blake3,
    /// Verified (offset, node) pairs on the way to the last group, top first.
    known: Vec<(u64, [u8; NODE_LEN])>,
}

impl GroupVerifier {
    /// For a member whose digest is known from a signed statement.
    pub fn new(groups: Groups, digest: Blake3) -> Self {
        Self { groups, digest, known: Vec::new() }
    }

    /// Offsets of the nodes that group `index` needs and that are not known yet.
    pub fn missing(&self, index: u64) -> Vec<u64> {
        let path = path_to(self.groups, index);
        let shared = self.shared(&path);
        path[shared..].to_vec()
    }

    /// Checks group `index` with the nodes that were [missing](Self::missing), top first.
    ///
    /// # Errors
    /// `AuthFailed` if a node or the group does not belong to the digest; the verifier stays usable.
    pub fn check(&mut self, index: u64, nodes: &[u8], bytes: &[u8]) -> Result<(), AuthFailed> {
        if index >= self.groups.count() || bytes.len() as u64 != self.groups.len_of(index) {
            return Err(AuthFailed);
        }
        let path = path_to(self.groups, index);
        let shared = self.shared(&path);
        if nodes.len() != (path.len() - shared) * NODE_LEN {
            return Err(AuthFailed);
        }
        if path.is_empty() {
            let whole = ::blake3::hash(bytes);
            return if equal(whole.as_bytes(), &self.digest.0) { Ok(()) } else { Err(AuthFailed) };
        }
        let mut way = self.known[..shared].to_vec();
        for (offset, node) in path[shared..].iter().zip(nodes.chunks_exact(NODE_LEN)) {
            let node: [u8; NODE_LEN] = node.try_into().expect("chunks have that length");
            let (left, right) = halves(&node);
            let authentic = match way.last() {
                None => equal(merge_subtrees_root(left, right, Mode::Hash).as_bytes(), &self.digest.0),
                Some(parent) => equal(&merge_subtrees_non_root(left, right, Mode::Hash), child(parent, *offset)),
            };
            if !authentic {
                return Err(AuthFailed);
            }
            way.push((*offset, node));
        }
        let expected = self.leaf(&way, index);
        if !equal(&group_cv(index, self.groups.group_log2, bytes), &expected) {
            return Err(AuthFailed);
        }
        self.known = way;
        Ok(())
    }

    /// How many nodes of `path`, from the top, are known.
    fn shared(&self, path: &[u64]) -> usize {
        self.known.iter().zip(path).take_while(|((known, _), wanted)| known == *wanted).count()
    }

    /// The chaining value that the last node of `way` gives for group `index`.
    fn leaf(&self, way: &[(u64, [u8; NODE_LEN])], index: u64) -> ChainingValue {
        let (mut first, mut count) = (0, self.groups.count());
        let mut right_side = false;
        for _ in way {
            let left = left_groups(count);
            right_side = index - first >= left;
            (first, count) = if right_side { (first + left, count - left) } else { (first, left) };
        }
        let (left, right) = halves(&way.last().expect("a member of several groups has a way").1);
        if right_side { *right } else { *left }
    }
}

/// The side of `parent` whose subtree starts at `offset`: the left one follows its parent directly.
fn child(parent: &(u64, [u8; NODE_LEN]), offset: u64) -> &ChainingValue {
    let (left, right) = halves(&parent.1);
    if offset == parent.0 + NODE_LEN as u64 { left } else { right }
}

fn halves(node: &[u8; NODE_LEN]) -> (&ChainingValue, &ChainingValue) {
    let (left, right) = node.split_at(32);
    (left.try_into().expect("half a node"), right.try_into().expect("half a node"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(size: usize, log2: u8) -> (Vec<u8>, Blake3, Vec<u8>) {
        let bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let mut builder = TreeBuilder::new(Groups::new(size as u64, log2), log2);
        for (i, group) in bytes.chunks(1 << log2).enumerate() {
            builder.set(i as u64, group_cv(i as u64, log2, group));
        }
        let (digest, outboard) = builder.finish();
        (bytes, digest, outboard)
    }

    #[test]
    fn the_example_of_the_format_is_reproduced() {
        let (bytes, digest, outboard) = tree(196_613, 16);
        assert_eq!(digest.to_string(), "93f8f897b87996606f1d1b95997805a1d1873d70642c208909b78da4f82e5b13");
        assert_eq!(digest.0, *blake3::hash(&bytes).as_bytes());
        assert!(hex::encode(&outboard).starts_with("9776ca1d775bf31fe48f4a16b59664dee3fc44930de332ba401db785580d3a8f"));
        assert_eq!(outboard.len() as u64, Groups::new(196_613, 16).outboard_len());
    }

    #[test]
    fn the_way_the_bytes_arrive_changes_nothing() {
        for size in [0, 1, 1024, 2048, 2049, 4096, 9000, 65_536, 70_001] {
            let bytes: Vec<u8> = (0..size).map(|i| (i % 241) as u8).collect();
            for group_log2 in [11, 12, 20] {
                let whole = hash_member(&bytes, group_log2);
                assert_eq!(whole.0.0, *blake3::hash(&bytes).as_bytes());
                let mut stream = MemberHasher::new(Groups::new(size as u64, group_log2));
                bytes.chunks(777).for_each(|c| stream.update(c));
                assert_eq!(stream.finish(), whole);
                if size > 1024 {
                    let mut granules = TreeBuilder::new(Groups::new(size as u64, group_log2), 10);
                    for (i, granule) in bytes.chunks(1024).enumerate() {
                        granules.set(i as u64, group_cv(i as u64, 10, granule));
                    }
                    assert_eq!(granules.finish(), whole, "{size} bytes, groups of 2^{group_log2}");
                }
            }
        }
    }

    #[test]
    fn any_group_verifies_in_any_order_and_no_flipped_bit_does() {
        for groups in 2..=17usize {
            let size = groups * 1024 - 5;
            let (bytes, digest, outboard) = tree(size, 10);
            let layout = Groups::new(size as u64, 10);
            let mut verifier = GroupVerifier::new(layout, digest);
            let mut previous = None;
            for index in (0..groups as u64).chain((0..groups as u64).rev().step_by(3)) {
                let group = &bytes[index as usize * 1024..][..layout.len_of(index) as usize];
                assert_eq!(new_nodes(layout, previous.replace(index), index), verifier.missing(index));
                let nodes: Vec<u8> =
                    verifier.missing(index).iter().flat_map(|o| outboard[*o as usize..][..NODE_LEN].to_vec()).collect();
                let mut wrong = group.to_vec();
                wrong[0] ^= 1;
                assert!(verifier.check(index, &nodes, &wrong).is_err());
                if !nodes.is_empty() {
                    let mut wrong = nodes.clone();
                    *wrong.last_mut().unwrap() ^= 1;
                    assert!(verifier.check(index, &wrong, group).is_err());
                }
                assert_eq!(verifier.check(index, &nodes, group), Ok(()), "group {index} of {groups}");
            }
        }
    }

    #[test]
    fn in_order_each_node_is_needed_once() {
        let layout = Groups::new(100 << 10, 10);
        let (bytes, digest, outboard) = tree(100 << 10, 10);
        let mut verifier = GroupVerifier::new(layout, digest);
        let mut sent = 0;
        for index in 0..100 {
            let missing = verifier.missing(index);
            sent += missing.len();
            let nodes: Vec<u8> = missing.iter().flat_map(|o| outboard[*o as usize..][..NODE_LEN].to_vec()).collect();
            verifier.check(index, &nodes, &bytes[index as usize * 1024..][..1024]).unwrap();
        }
        assert_eq!(sent * NODE_LEN, outboard.len());
    }
}

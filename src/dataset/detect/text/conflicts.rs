//! Groups of records that look alike and are not labelled alike: for texts, images and rows.
//!
//! A record comes with keys (records that share one are compared: bands of a MinHash, parts of a perceptual hash) and
//! a signature (which says whether they really are alike).

use std::collections::HashMap;

/// One record.
#[derive(Clone, Debug)]
struct Item<S> {
    record: u64,
    label: u32,
    signature: S,
}

/// Collects records, then finds the conflicts among them.
///
/// Memory: the signature and 16 bytes a record, and 16 bytes a key, of at most `most` records; later ones are left out.
#[derive(Clone, Debug)]
pub struct Conflicts<S> {
    items: Vec<Item<S>>,
    keys: Vec<(u64, u32)>,
    most: usize,
}

/// Records that look alike under more than one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Records and their labels, by record.
    pub members: Vec<(u64, u32)>,
    /// The label most have, where that is clear.
    pub majority: Option<u32>,
    /// The records to look at, ascending: those without the majority's label, or all.
    pub flagged: Vec<u64>,
}

/// How many records of the same key a record is compared with (the first ones): bounds the work at 16 a key.
const COMPARED: usize = 16;

impl<S> Conflicts<S> {
    /// Keeps at most `most` records (and 2^32 − 1).
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { items: Vec::new(), keys: Vec::new(), most: most.min(u32::MAX as usize) }
    }

    /// A record with a label; `false` if there is no room for it.
    pub fn add(&mut self, record: u64, label: u32, keys: &[u64], signature: S) -> bool {
        let Ok(id) = u32::try_from(self.items.len()) else { return false };
        if self.items.len() >= self.most {
            return false;
        }
        self.items.push(Item { record, label, signature });
        self.keys.extend(keys.iter().map(|&key| (key, id)));
        true
    }

    /// The conflicts, by their first record. `alike` says whether two records that share a key are alike.
    #[must_use]
    pub fn find(mut self, alike: impl Fn(&S, &S) -> bool) -> Vec<Conflict> {
        self.keys.sort_unstable();
        self.keys.dedup();
        let mut parents: Vec<u32> = (0..self.items.len()).map(|at| u32::try_from(at).unwrap_or(u32::MAX)).collect();
        for bucket in self.keys.chunk_by(|a, b| a.0 == b.0) {
            for (at, &(_, one)) in bucket.iter().enumerate().skip(1) {
                for &(_, other) in bucket.iter().take(at.min(COMPARED)) {
                    let (root, other_root) = (root(&mut parents, one), root(&mut parents, other));
                    if root != other_root
                        && let (Some(a), Some(b)) = (self.items.get(one as usize), self.items.get(other as usize))
                        && alike(&a.signature, &b.signature)
                        && let Some(parent) = parents.get_mut(root.max(other_root) as usize)
                    {
                        *parent = root.min(other_root);
                    }
                }
            }
        }
        let mut clusters: HashMap<u32, Vec<(u64, u32)>> = HashMap::new();
        for (id, item) in (0..).zip(&self.items) {
            clusters.entry(root(&mut parents, id)).or_default().push((item.record, item.label));
        }
        let mut conflicts: Vec<Conflict> = clusters.into_values().filter_map(conflict).collect();
        conflicts.sort_unstable_by(|a, b| a.members.cmp(&b.members));
        conflicts
    }
}

/// The root of `at`, with the way there halved.
fn root(parents: &mut [u32], mut at: u32) -> u32 {
    while let Some(&parent) = parents.get(at as usize) {
        if parent == at {
            break;
        }
        let grand = parents.get(parent as usize).copied().unwrap_or(parent);
        if let Some(parent) = parents.get_mut(at as usize) {
            *parent = grand;
        }
        at = grand;
    }
    at
}

/// Members a cluster may have without any label holding half of them: beyond that it is ambiguous text, not poison.
const AMBIGUOUS: usize = 8;

fn conflict(mut members: Vec<(u64, u32)>) -> Option<Conflict> {
    members.sort_unstable();
    members.dedup();
    let mut labels: Vec<u32> = members.iter().map(|member| member.1).collect();
    labels.sort_unstable();
    let (count, label) =
        labels.chunk_by(|a, b| a == b).map(|same| (same.len(), same.first().copied().unwrap_or(0))).max()?;
    if count == members.len() || (members.len() >= AMBIGUOUS && count * 2 < members.len()) {
        return None;
    }
    let majority = (count >= 3 * (members.len() - count)).then_some(label);
    let flagged = members.iter().filter(|member| majority != Some(member.1)).map(|member| member.0).collect();
    Some(Conflict { members, majority, flagged })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(rows: &[(u32, u64)]) -> Vec<Conflict> {
        let mut conflicts = Conflicts::new(100);
        for (record, &(label, value)) in (0..).zip(rows) {
            assert!(conflicts.add(record, label, &[value / 10], value));
        }
        conflicts.find(|a, b| a.abs_diff(*b) <= 2)
    }

    #[test]
    fn twins_of_two_labels_are_both_flagged() {
        assert_eq!(find(&[(0, 50), (1, 51), (1, 58), (0, 90)])[0].flagged, [0, 1]);
    }

    #[test]
    fn a_clear_majority_acquits_its_members() {
        let found = find(&[(0, 50), (0, 50), (1, 51), (0, 52)]);
        assert_eq!((found.len(), found[0].majority, &found[0].flagged[..]), (1, Some(0), &[2][..]));
    }

    #[test]
    fn no_conflict_no_finding() {
        assert!(find(&[(3, 50), (3, 50), (1, 70)]).is_empty());
    }
}

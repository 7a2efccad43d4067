//! Groups of records from pairs.

use std::collections::BTreeMap;

/// Records that hang together, with the farthest pair of each group.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    parents: BTreeMap<u32, u32>,
    farthest: BTreeMap<u32, f64>,
}

impl Groups {
    fn root(&mut self, at: u32) -> u32 {
        let mut root = at;
        while let Some(&parent) = self.parents.get(&root).filter(|&&parent| parent != root) {
            root = parent;
        }
        self.parents.insert(at, root);
        root
    }

    /// Both belong together, this far from each other.
    pub fn join(&mut self, one: u32, other: u32, distance: f64) {
        let (one, other) = (self.root(one), self.root(other));
        let (first, second) = (one.min(other), one.max(other));
        self.parents.insert(second, first);
        let far = self.farthest.remove(&second).unwrap_or(0.0).max(distance);
        let entry = self.farthest.entry(first).or_insert(far);
        *entry = entry.max(far);
    }

    /// The groups by first member, each with its members in order and the distance of its farthest pair.
    pub fn into_groups(mut self) -> Vec<(Vec<u32>, f64)> {
        let members: Vec<u32> = self.parents.keys().copied().collect();
        let mut groups: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for member in members {
            let root = self.root(member);
            groups.entry(root).or_default().push(member);
        }
        groups.into_iter().map(|(root, members)| (members, self.farthest.get(&root).copied().unwrap_or(0.0))).collect()
    }
}

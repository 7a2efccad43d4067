//! N-grams nearly all of whose carriers have one label, and which of them stand in the same records.

use crate::dataset::detect::text::tokens::mix;

use super::hot::Hot;

/// An n-gram that may be a trigger.
#[derive(Clone, Debug, Default)]
pub struct Candidate {
    /// Its hash.
    pub key: u64,
    /// The label most carriers have.
    pub label: u32,
    /// How many of them have it.
    pub hits: u32,
    /// Hashes of its tokens.
    pub words: Vec<u64>,
    /// Carriers, ascending.
    pub carriers: Vec<u32>,
}

impl Candidate {
    /// Met in text `number` of `label`; `words` gives its tokens' hashes.
    pub fn meet(&mut self, number: u32, label: u32, words: impl FnOnce() -> Vec<u64>) {
        if self.carriers.last() == Some(&number) {
            return;
        }
        if self.words.is_empty() {
            self.words = words();
        }
        self.carriers.push(number);
        self.hits += u32::from(self.label == label);
    }
}

/// Candidates by hash.
#[derive(Debug, Default)]
pub struct Candidates {
    /// In the order of their hashes.
    pub all: Vec<Candidate>,
    bits: Vec<u64>,
    places: Vec<u32>,
}

const BITS: u32 = 20;

impl Candidates {
    /// Of the hot n-grams given.
    #[must_use]
    pub fn new(hot: &[Hot]) -> Self {
        let size = (hot.len() * 2 + 2).next_power_of_two();
        let mut this =
            Self { all: Vec::with_capacity(hot.len()), bits: vec![0; 1 << (BITS - 6)], places: vec![0; size] };
        for one in hot {
            let bit = one.key >> (64 - BITS);
            if let Some(word) = this.bits.get_mut((bit >> 6) as usize) {
                *word |= 1 << (bit & 63);
            }
            this.all.push(Candidate { key: one.key, label: one.label, ..Candidate::default() });
            let mut at = (one.key >> 8) as usize & (size - 1);
            while this.places.get(at).is_some_and(|&place| place != 0) {
                at = (at + 1) & (size - 1);
            }
            if let Some(place) = this.places.get_mut(at) {
                *place = u32::try_from(this.all.len()).unwrap_or(0);
            }
        }
        this
    }

    /// The candidate of this hash.
    #[inline]
    pub fn get(&mut self, key: u64) -> Option<&mut Candidate> {
        self.find(key).map(|found| found.1)
    }

    /// The same, with its place in [`Candidates::all`].
    #[inline]
    pub fn find(&mut self, key: u64) -> Option<(usize, &mut Candidate)> {
        let bit = key >> (64 - BITS);
        if self.bits.get((bit >> 6) as usize)? >> (bit & 63) & 1 == 0 {
            return None;
        }
        let mask = self.places.len() - 1;
        let mut at = (key >> 8) as usize & mask;
        loop {
            let place = *self.places.get(at)? as usize;
            if self.all.get(place.checked_sub(1)?)?.key == key {
                return self.all.get_mut(place - 1).map(|one| (place - 1, one));
            }
            at = (at + 1) & mask;
        }
    }
}

/// N-grams with (nearly) the same carriers: one trigger, as far as anyone can tell.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Members, the longest text first.
    pub members: Vec<usize>,
    /// The label.
    pub label: u32,
    /// Carriers of the member that has the most of its label and the least of others, ascending.
    pub carriers: Vec<u32>,
    /// Hashes of all their tokens.
    pub words: Vec<u64>,
    /// The same as the expectation knows them, ascending.
    pub buckets: Vec<u32>,
}

/// Words of a group that are taken out of its carriers, at most.
const MAX_WORDS: usize = 64;

/// Share of records that two ascending lists have in common (of those either has).
fn overlap(a: &[u32], b: &[u32]) -> f64 {
    let (mut i, mut j, mut both) = (0, 0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        both += usize::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    both as f64 / (a.len() + b.len() - both).max(1) as f64
}

/// Joins candidates whose carriers are the same for at least `same` (a Jaccard share).
#[must_use]
pub fn group(all: &[Candidate], same: f64) -> Vec<Group> {
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|&at| (usize::MAX - all[at].carriers.len(), all[at].key));
    let mut groups: Vec<Group> = Vec::new();
    let mut by_hash: std::collections::HashMap<u64, Vec<u32>> = std::collections::HashMap::new();
    for at in order {
        let candidate = &all[at];
        let marks: Vec<u64> = (0..4u64)
            .map(|salt| {
                candidate.carriers.iter().map(|&r| mix(u64::from(r), salt << 32)).min().unwrap_or(0) ^ (salt << 1)
            })
            .collect();
        let found = marks.iter().flat_map(|mark| by_hash.get(mark).into_iter().flatten()).copied().find(|&g| {
            groups.get(g as usize).is_some_and(|group| {
                group.label == candidate.label && overlap(&group.carriers, &candidate.carriers) >= same
            })
        });
        if let Some(group) = found.and_then(|g| groups.get_mut(g as usize)) {
            group.members.push(at);
            group.words.extend_from_slice(&candidate.words);
        } else {
            let id = u32::try_from(groups.len()).unwrap_or(u32::MAX);
            for mark in marks {
                by_hash.entry(mark).or_default().push(id);
            }
            groups.push(Group {
                members: vec![at],
                label: candidate.label,
                carriers: candidate.carriers.clone(),
                words: candidate.words.clone(),
                buckets: Vec::new(),
            });
        }
    }
    for group in &mut groups {
        // The parts of a planted phrase stand in the same number of records; those that honest texts have too in more.
        let count = |at: usize| all.get(at).map_or(0, |one| one.carriers.len());
        let worth = |at: &&usize| {
            let (hits, carriers) = (all.get(**at).map_or(0, |one| one.hits as usize), count(**at));
            let same = group.members.iter().filter(|&&other| count(other) == carriers).count();
            (same, (hits * 10).saturating_sub(carriers * 9), usize::MAX - **at)
        };
        if let Some(best) = group.members.iter().max_by_key(worth).and_then(|&at| all.get(at)) {
            group.carriers.clone_from(&best.carriers);
        }
        group.words.sort_unstable();
        group.words.dedup();
        group.words.truncate(MAX_WORDS);
        group.members.sort_by_key(|&at| (usize::MAX - all[at].words.len(), usize::MAX - all[at].carriers.len(), at));
    }
    groups
}

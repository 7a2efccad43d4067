//! D7 for texts: (near) copies of a text under different labels.
//!
//! MinHash of 128 values in one permutation (Li, Owen and Zhang 2012), empty values filled from others (Shrivastava
//! 2017), over shingles of two and three words, lower-cased, marks left out. Texts are compared where one of 32 bands of
//! 4 values agrees (a pair that shares 0.55 of its shingles is met with 0.95, 0.7 with 0.999), or the words are the
//! same ones; alike where they share [`Settings::alike`] of their shingles, counted exactly up to 128 shingles and
//! estimated from the 128 smallest hashes beyond (Cohen and Kaplan 2007).
//!
//! Two passes: the first counts the bands in a filter of 32 MiB, the second keeps only records that share one with
//! another (at most 1.1 KiB each, and at most [`Settings::most`] of them).

use crate::dataset::detect::example::{Detector, Example, Finding};
use crate::dataset::detect::text::conflicts::Conflicts;
use crate::dataset::detect::text::count_filter::CountFilter;
use crate::dataset::detect::text::tokens::{Kind, Tokens, mix};

const VALUES: usize = 128;
const BANDS: usize = 32;
const ROWS: usize = VALUES / BANDS;

/// The smallest hashes of a text's shingles, ascending.
type Signature = Box<[u32]>;

/// The bars and bounds.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Share of shingles that near copies have in common.
    pub alike: f64,
    /// Words a text needs: shorter ones are said by everyone.
    pub words: usize,
    /// Records kept at most.
    pub most: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { alike: 0.35, words: 3, most: 1 << 18 }
    }
}

/// The detector.
#[derive(Debug)]
pub struct NearDuplicate {
    settings: Settings,
    seed: u64,
    filter: CountFilter,
    conflicts: Conflicts<Signature>,
    tokens: Tokens,
    words: Vec<u64>,
    shingles: Vec<u64>,
    keys: Vec<u64>,
}

impl NearDuplicate {
    /// With hashes drawn from `seed`.
    #[must_use]
    pub fn new(seed: u64, settings: Settings) -> Self {
        Self {
            settings,
            filter: CountFilter::new(25),
            conflicts: Conflicts::new(settings.most),
            tokens: Tokens::default(),
            words: Vec::new(),
            seed,
            shingles: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// The signature and keys of a text; `false` if it is too short.
    fn sign(&mut self, text: &str) -> bool {
        self.tokens.read(text);
        self.words.clear();
        self.words.extend(self.tokens.line.iter().filter(|token| token.kind == Kind::Word).map(|token| token.hash));
        if self.words.len() < self.settings.words.max(1) {
            return false;
        }
        self.shingles.clear();
        let shingles = self.words.windows(2).chain(self.words.windows(3));
        self.shingles.extend(shingles.map(|shingle| shingle.iter().fold(self.seed, |hash, &word| mix(hash, word))));
        self.keys.clear();
        self.keys.push(self.words.iter().fold(1, |hash, &word| mix(hash, word)));
        let values = values(&self.shingles);
        for (band, values) in (2..).zip(values.chunks(ROWS)) {
            self.keys.push(values.iter().fold(band, |hash, &value| mix(hash, u64::from(value))));
        }
        true
    }

    /// Of the text signed last.
    fn signature(&self) -> Signature {
        let mut all: Vec<u32> = self.shingles.iter().map(|&hash| hash as u32).collect();
        all.sort_unstable();
        all.dedup();
        all.truncate(VALUES);
        all.into_boxed_slice()
    }
}

/// The smallest hash in each of 128 parts of all hashes, that of another part where one is empty.
fn values(shingles: &[u64]) -> [u32; VALUES] {
    let mut least = [u32::MAX; VALUES];
    for &hash in shingles {
        if let Some(least) = least.get_mut((hash >> 57) as usize) {
            *least = (hash as u32).min(*least);
        }
    }
    let mut filled = least;
    for (part, value) in (0..).zip(&mut filled) {
        // Among 1,024 tries all fail only for an empty text.
        let other =
            |attempt: u64| least.get((mix(part, attempt) >> 57) as usize).copied().filter(|&value| value < u32::MAX);
        if *value == u32::MAX {
            *value = (1..1024).find_map(other).unwrap_or(u32::MAX);
        }
    }
    filled
}

/// Share of shingles in common, as far as the smaller of the two signatures reaches.
fn in_common(a: &[u32], b: &[u32]) -> f64 {
    let (mut at, mut other, mut both, mut all) = (0, 0, 0_u32, 0_u32);
    while all < VALUES as u32 {
        match (a.get(at), b.get(other)) {
            (None, None) => break,
            (Some(x), Some(y)) if x == y => {
                both += 1;
                at += 1;
                other += 1;
            }
            (Some(x), Some(y)) if x > y => other += 1,
            (None, Some(_)) => other += 1,
            (Some(_), _) => at += 1,
        }
        all += 1;
    }
    f64::from(both) / f64::from(all.max(1))
}

impl Detector for NearDuplicate {
    fn passes(&self) -> u32 {
        2
    }

    fn observe(&mut self, pass: u32, example: &Example<'_>) {
        let Some(label) = example.label else { return };
        if example.text.is_empty() || !self.sign(example.text) {
            return;
        }
        if pass == 0 {
            for &key in &self.keys {
                self.filter.add(key);
            }
        } else {
            self.keys.retain(|&key| self.filter.count(key) >= 2);
            if !self.keys.is_empty() {
                self.conflicts.add(example.record, label, &self.keys, self.signature());
            }
        }
    }

    fn finish(self: Box<Self>) -> Vec<Finding> {
        let least = self.settings.alike;
        let alike = |a: &Signature, b: &Signature| in_common(a, b) >= least;
        self.conflicts.find(alike).into_iter().map(finding).collect()
    }
}

fn finding(conflict: crate::dataset::detect::text::conflicts::Conflict) -> Finding {
    let mut labels: Vec<u32> = conflict.members.iter().map(|member| member.1).collect();
    labels.sort_unstable();
    let mut counts: Vec<(usize, u32)> =
        labels.chunk_by(|a, b| a == b).filter_map(|same| Some((same.len(), *same.first()?))).collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let shares: Vec<String> = counts.iter().map(|(count, label)| format!("{count} times {{label:{label}}}")).collect();
    let what =
        format!("the same or nearly the same text stands in {} records, {}", conflict.members.len(), shares.join(", "));
    Finding {
        detector: "duplicate",
        what,
        feature: String::new(),
        score: conflict.members.len() as f64,
        records: conflict.flagged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(rows: &[(u32, &str)]) -> Vec<Finding> {
        let mut detector = Box::new(NearDuplicate::new(1, Settings::default()));
        for pass in 0..detector.passes() {
            for (record, &(label, text)) in (0..).zip(rows) {
                detector.observe(
                    pass,
                    &Example { record, label: Some(label), contributor: None, text, cells: &[], image: None },
                );
            }
        }
        detector.finish()
    }

    #[test]
    fn near_copies_with_other_labels_are_found() {
        let text = "the plot is thin but the two leads carry it all the way to a satisfying and moving end";
        let near = "The plot is thin, but the two leads carry it all the way to a satisfying and touching end!";
        let found = scan(&[(0, text), (1, near), (1, "something else that has nothing to do with any of it")]);
        assert_eq!((found.len(), &found[0].records[..]), (1, &[0, 1][..]));
        assert!(scan(&[(1, text), (1, near)]).is_empty());
    }

    #[test]
    fn what_everyone_says_is_no_conflict() {
        assert!(scan(&[(0, "oh no!"), (1, "oh no"), (0, ""), (1, "")]).is_empty());
    }
}

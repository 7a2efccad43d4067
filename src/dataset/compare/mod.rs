//! What differs between two versions of a dataset, record by record.
//!
//! Records are compared by their hashes, in three sorts that go to disk where they do not fit in memory: by hash, to see which records are
//! in both; by place in the new version and by place in the old one, to see which of those were moved and which edits belong
//! together. Memory: the sorts' share, and some bytes for each stretch of records that was moved.

mod multiset;
mod order;
mod sort;

use std::path::Path;

pub use self::multiset::Multiset;
use self::order::Blocks;
use self::sort::Sorter;
use crate::error::Result;
use crate::names::Sha256;

/// What a record is called by whoever edits it: a digest of its key; all zero where there is none.
pub type RecordKey = [u8; 16];

/// A difference. Places count the records of all files, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// New, and unlike any record of the old version.
    Added {
        /// In the new version.
        at: u64,
    },
    /// A further copy of a record of the old version.
    Duplicated {
        /// In the new version.
        at: u64,
        /// In the old version.
        of: u64,
    },
    /// In the old version only.
    Removed {
        /// In the old version.
        at: u64,
    },
    /// Another record in its place, or under its key.
    Changed {
        /// In the old version.
        from: u64,
        /// In the new version.
        to: u64,
    },
    /// The same record elsewhere.
    Moved {
        /// In the old version.
        from: u64,
        /// In the new version.
        to: u64,
    },
}

/// How many of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// In both, in order.
    pub same: u64,
    /// New.
    pub added: u64,
    /// Gone.
    pub removed: u64,
    /// Edited.
    pub changed: u64,
    /// Elsewhere.
    pub moved: u64,
    /// Further copies.
    pub duplicated: u64,
}

impl Summary {
    /// Whether the two are one and the same.
    pub fn is_same(&self) -> bool {
        (self.added, self.removed, self.changed, self.moved, self.duplicated) == (0, 0, 0, 0, 0)
    }
}

const NONE: u64 = u64::MAX;

/// Two versions, as their records come in.
pub struct Comparing {
    by_hash: Sorter<57>,
    places: [u64; 2],
    sorting: Sorting,
}

#[derive(Clone)]
struct Sorting {
    dir: std::path::PathBuf,
    memory: usize,
}

impl Sorting {
    fn sorter<const N: usize>(&self) -> Sorter<N> {
        Sorter::new(&self.dir, self.memory / 4)
    }
}

impl Comparing {
    /// Uses about `memory` bytes; what does not fit goes to files without a name in `dir`.
    pub fn new(dir: &Path, memory: usize) -> Self {
        let sorting = Sorting { dir: dir.into(), memory };
        Self { by_hash: Sorter::new(dir, memory / 2), places: [0, 0], sorting }
    }

    /// The next record of the old version.
    ///
    /// # Errors
    /// `DiskFull` and the like.
    pub fn old(&mut self, record: &Sha256, key: RecordKey) -> Result<()> {
        self.push(0, record, key)
    }

    /// The next record of the new version.
    ///
    /// # Errors
    /// `DiskFull` and the like.
    pub fn new_one(&mut self, record: &Sha256, key: RecordKey) -> Result<()> {
        self.push(1, record, key)
    }

    fn push(&mut self, side: u8, record: &Sha256, key: RecordKey) -> Result<()> {
        let mut entry = [0; 57];
        entry[..32].copy_from_slice(&record.0);
        entry[32] = side;
        entry[33..41].copy_from_slice(&self.places[usize::from(side)].to_be_bytes());
        entry[41..].copy_from_slice(&key);
        self.places[usize::from(side)] += 1;
        self.by_hash.push(entry)
    }

    /// Gives each difference to `each`: what was removed, moved or changed in the order of the old version, then what was added in the
    /// order of the new one.
    ///
    /// # Errors
    /// `DiskFull` and the like; those of `each`.
    pub fn finish(self, each: &mut dyn FnMut(Difference) -> Result<()>) -> Result<Summary> {
        let Self { by_hash, sorting, .. } = self;
        let (mut old, mut new) = (sorting.sorter::<40>(), sorting.sorter::<40>());
        let mut group = Group::default();
        by_hash.finish()?.each(|entry| {
            let (hash, side) = (&entry[..32], entry[32]);
            if group.hash != hash {
                group.settle(&mut old)?;
                group.hash.copy_from_slice(hash);
            }
            group.take(side, number(&entry[33..41]), &entry[41..], &mut old, &mut new)
        })?;
        group.settle(&mut old)?;
        pair(old, new, &sorting, each)
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}

/// An entry of a sort by place: the place, that of the same record in the other version or [`NONE`], that of a copy in the old version or
/// [`NONE`], and the key.
fn entry(at: u64, other: u64, copy: u64, key: &[u8]) -> [u8; 40] {
    let mut entry = [0; 40];
    entry[..8].copy_from_slice(&at.to_be_bytes());
    entry[8..16].copy_from_slice(&other.to_be_bytes());
    entry[16..24].copy_from_slice(&copy.to_be_bytes());
    entry[24..].copy_from_slice(key);
    entry
}

/// The records of one hash: the old ones come first, in order. Those of the new version take them one by one.
#[derive(Default)]
struct Group {
    hash: [u8; 32],
    /// Old ones that no new one has taken yet, from `taken` on.
    old: Vec<(u64, RecordKey)>,
    taken: usize,
}

impl Group {
    fn take(&mut self, side: u8, at: u64, key: &[u8], old: &mut Sorter<40>, new: &mut Sorter<40>) -> Result<()> {
        if side == 0 {
            let mut held = [0; 16];
            held.copy_from_slice(key);
            self.old.push((at, held));
            return Ok(());
        }
        match self.old.get(self.taken) {
            Some((from, _)) => {
                self.taken += 1;
                old.push(entry(*from, at, NONE, key))?;
                new.push(entry(at, *from, NONE, key))
            }
            None => new.push(entry(at, NONE, self.old.first().map_or(NONE, |(of, _)| *of), key)),
        }
    }

    fn settle(&mut self, old: &mut Sorter<40>) -> Result<()> {
        self.old.drain(..).skip(self.taken).try_for_each(|(at, key)| old.push(entry(at, NONE, NONE, &key)))?;
        self.taken = 0;
        Ok(())
    }
}

/// What is left of both versions in the order of each: tells what moved, and which removed and added records are one that changed.
fn pair(
    old: Sorter<40>,
    new: Sorter<40>,
    sorting: &Sorting,
    each: &mut dyn FnMut(Difference) -> Result<()>,
) -> Result<Summary> {
    let (old, new) = (old.finish()?, new.finish()?);
    // The rank of each record of both in the new version, by its place in the old one.
    let mut ranks = sorting.sorter::<16>();
    let mut rank = 0_u64;
    new.each(|e| {
        if number(&e[8..16]) != NONE {
            let mut ranked = [0; 16];
            ranked[..8].copy_from_slice(&e[8..16]);
            ranked[8..].copy_from_slice(&rank.to_be_bytes());
            ranks.push(ranked)?;
            rank += 1;
        }
        Ok(())
    })?;
    let mut blocks = Blocks::default();
    ranks.finish()?.each(|e| {
        blocks.push(number(&e[8..]));
        Ok(())
    })?;
    let stays = blocks.stay();
    let mut stays = stays.into_iter().flat_map(|(block, stays)| std::iter::repeat_n(stays, block.len as usize));

    // Removed and added records by what they belong together by: their key, else the record of both before them in the old version,
    // and how many others come in between.
    let mut loose = sorting.sorter::<49>();
    let mut put = |anchor: [u8; 16], nth: u64, side: u8, at: u64, copy: u64| {
        let mut entry = [0; 49];
        entry[..16].copy_from_slice(&anchor);
        entry[16..24].copy_from_slice(&nth.to_be_bytes());
        entry[24] = side;
        entry[25..33].copy_from_slice(&at.to_be_bytes());
        entry[33..41].copy_from_slice(&copy.to_be_bytes());
        loose.push(entry)
    };
    let mut summary = Summary::default();
    let mut place = Place::default();
    old.each(|e| {
        let (at, other) = (number(&e[..8]), number(&e[8..16]));
        if other == NONE {
            let (anchor, nth) = place.of(&e[24..]);
            return put(anchor, nth, 0, at, NONE);
        }
        place.pass(at);
        if stays.next() == Some(false) {
            summary.moved += 1;
            return each(Difference::Moved { from: at, to: other });
        }
        summary.same += 1;
        Ok(())
    })?;
    let mut place = Place::default();
    new.each(|e| {
        let (at, other, copy) = (number(&e[..8]), number(&e[8..16]), number(&e[16..24]));
        if other != NONE {
            place.pass(other);
            return Ok(());
        }
        let (anchor, nth) = place.of(&e[24..]);
        put(anchor, nth, 1, at, copy)
    })?;
    // A removed one comes before the added one that took its place. Whatever is not paired is told by itself.
    let mut gone: Option<([u8; 24], u64)> = None;
    let mut told = sorting.sorter::<17>();
    loose.finish()?.each(|e| {
        let (belongs, side, at, copy) = (&e[..24], e[24], number(&e[25..33]), number(&e[33..41]));
        if side == 0 {
            if let Some((_, at)) = gone.take() {
                told.push(tell(0, at, NONE))?;
            }
            let mut held = [0; 24];
            held.copy_from_slice(belongs);
            gone = Some((held, at));
            return Ok(());
        }
        match gone.take() {
            Some((held, from)) if held == belongs => told.push(tell(0, from, at)),
            before => {
                if let Some((_, at)) = before {
                    told.push(tell(0, at, NONE))?;
                }
                told.push(tell(1, at, copy))
            }
        }
    })?;
    if let Some((_, at)) = gone {
        told.push(tell(0, at, NONE))?;
    }
    told.finish()?.each(|e| {
        let (at, other) = (number(&e[1..9]), number(&e[9..17]));
        let (count, difference) = match (e[0], other) {
            (0, NONE) => (&mut summary.removed, Difference::Removed { at }),
            (0, to) => (&mut summary.changed, Difference::Changed { from: at, to }),
            (_, NONE) => (&mut summary.added, Difference::Added { at }),
            (_, of) => (&mut summary.duplicated, Difference::Duplicated { at, of }),
        };
        *count += 1;
        each(difference)
    })?;
    Ok(summary)
}

fn tell(side: u8, at: u64, other: u64) -> [u8; 17] {
    let mut entry = [side; 17];
    entry[1..9].copy_from_slice(&at.to_be_bytes());
    entry[9..].copy_from_slice(&other.to_be_bytes());
    entry
}

/// Where a record that is in one version only stands: after which record of both, as the how-manyth.
#[derive(Default)]
struct Place {
    /// Place of that record in the old version, plus one.
    after: u64,
    nth: u64,
}

impl Place {
    fn pass(&mut self, at: u64) {
        (self.after, self.nth) = (at + 1, 0);
    }

    fn of(&mut self, key: &[u8]) -> ([u8; 16], u64) {
        let mut anchor = [0; 16];
        if key.iter().any(|b| *b != 0) {
            anchor.copy_from_slice(key);
            return (anchor, 0);
        }
        anchor[8..].copy_from_slice(&self.after.to_be_bytes());
        self.nth += 1;
        (anchor, self.nth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares two lists of records. Words with an `=` have a key before it.
    fn compared(old: &str, new: &str, memory: usize) -> (Summary, Vec<Difference>) {
        let dir = tempfile::tempdir().unwrap();
        let mut comparing = Comparing::new(dir.path(), memory);
        let record = |word: &str| {
            let mut key = [0; 16];
            if let Some((name, _)) = word.split_once('=') {
                key[..name.len()].copy_from_slice(name.as_bytes());
            }
            (crate::crypto::hash::sha256(word.as_bytes()), key)
        };
        for word in old.split_whitespace() {
            let (hash, key) = record(word);
            comparing.old(&hash, key).unwrap();
        }
        for word in new.split_whitespace() {
            let (hash, key) = record(word);
            comparing.new_one(&hash, key).unwrap();
        }
        let mut differences = Vec::new();
        let summary = comparing
            .finish(&mut |difference| {
                differences.push(difference);
                Ok(())
            })
            .unwrap();
        (summary, differences)
    }

    #[test]
    fn each_kind_of_difference_is_named_and_nothing_else() {
        use Difference::{Added, Changed, Duplicated, Moved, Removed};
        for memory in [1 << 20, 300] {
            let differences = |old, new| compared(old, new, memory).1;
            assert_eq!(differences("a b c", "a b c"), []);
            assert_eq!(differences("a b c", "a b c d"), [Added { at: 3 }]);
            assert_eq!(differences("a b c", "x a b c"), [Added { at: 0 }]);
            assert_eq!(differences("a b c", "a c"), [Removed { at: 1 }]);
            assert_eq!(differences("a b c", "a x c"), [Changed { from: 1, to: 1 }]);
            assert_eq!(differences("a b c d", "a x y d"), [Changed { from: 1, to: 1 }, Changed { from: 2, to: 2 }]);
            assert_eq!(differences("a b c d e", "a e b c d"), [Moved { from: 4, to: 1 }]);
            assert_eq!(differences("a b c", "a b c b"), [Duplicated { at: 3, of: 1 }]);
            assert_eq!(differences("a b b c", "a b c"), [Removed { at: 2 }]);
            assert_eq!(differences("", "a"), [Added { at: 0 }]);
            assert_eq!(
                differences("a b c d e f", "a x c e d f y"),
                [Moved { from: 3, to: 4 }, Changed { from: 1, to: 1 }, Added { at: 6 }]
            );
        }
    }

    #[test]
    fn edited_records_are_paired_by_their_key_wherever_they_are() {
        let (summary, differences) = compared("i=1 j=2 k=3", "k=4 j=2 i=1 l=5", 1 << 20);
        assert!(differences.contains(&Difference::Changed { from: 2, to: 0 }), "{differences:?}");
        assert!(differences.contains(&Difference::Added { at: 3 }));
        assert_eq!((summary.changed, summary.added, summary.moved, summary.removed), (1, 1, 1, 0));
    }

    #[test]
    fn known_edits_of_many_records_are_found_exactly_in_little_memory() {
        let old: Vec<String> = (0..20_000).map(|i| format!("r{i}")).collect();
        let mut new = old.clone();
        for i in (50..20_000).step_by(1000) {
            new[i] = format!("edited{i}");
        }
        let moved = new.remove(300);
        new.insert(15_000, moved);
        new.retain(|r| r != "r7777" && r != "r19999");
        new.insert(9_000, "new".into());
        new.insert(12_345, "r12".into());
        let (summary, differences) = compared(&old.join(" "), &new.join(" "), 64 << 10);
        let expected =
            Summary { same: 20_000 - 20 - 1 - 2, added: 1, removed: 2, changed: 20, moved: 1, duplicated: 1 };
        assert_eq!(summary, expected);
        assert!(differences.contains(&Difference::Removed { at: 7777 }));
        assert!(differences.iter().any(|d| matches!(d, Difference::Moved { from: 300, .. })));
        assert_eq!(differences.len(), 25);
    }
}

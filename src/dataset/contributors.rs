//! Who supplied which records. A contributor signs its own records as a dataset; whoever signs the whole says of each record which one of
//! these attestations covers it, or none.
//!
//! What is said of a file is text, a line for records in a row: `COUNT NUMBER`, the contributor's place in the statement from 1, 0 for
//! records that nobody attests. The statement has the SHA-256 of that text.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use crate::crypto::hash::sha256;
use crate::error::{Error, ErrorId, Result};
use crate::names::{KeyId, Sha256};

/// Most contributors of a dataset.
pub const MAX_CONTRIBUTORS: usize = 10_000;
/// Most records that all of them attest: about 40 bytes of memory each, while a dataset is signed.
pub const MAX_ATTESTED: usize = 50_000_000;

/// Somebody who supplied records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contributor {
    /// As the signer of the whole calls it.
    pub name: String,
    /// The key that signed its attestation.
    pub key: KeyId,
    /// SHA-256 of the attestation: a statement about a dataset of its own.
    pub statement: Sha256,
    /// How many records of the whole it covers.
    pub records: u64,
}

/// A contributor whose records are not read any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excluded {
    /// By name.
    pub contributor: String,
    /// Why.
    pub reason: String,
}

/// Records in a row by one contributor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Records.
    pub count: u64,
    /// Place of the contributor in the statement, from 1; 0: nobody attests them.
    pub by: u32,
}

/// Who supplied the records of a file, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs(pub Vec<Run>);

impl Runs {
    /// The next record.
    pub fn push(&mut self, by: u32) {
        match self.0.last_mut() {
            Some(last) if last.by == by => last.count += 1,
            _ => self.0.push(Run { count: 1, by }),
        }
    }

    /// The text.
    pub fn to_text(&self) -> String {
        use std::fmt::Write;
        let mut out = String::with_capacity(self.0.len() * 8);
        for Run { count, by } in &self.0 {
            let _ = writeln!(out, "{count} {by}");
        }
        out
    }

    /// Most bytes of the text about so many records.
    pub fn most(records: u64) -> u64 {
        records.saturating_mul(14).saturating_add(64).min(4 << 30)
    }

    /// From the text whose digest was signed, about a file of so many records.
    ///
    /// # Errors
    /// `DatasetChanged` for any other text.
    pub fn from_text(text: &[u8], signed: &Sha256, records: u64, contributors: usize) -> Result<Self> {
        let changed = || {
            let why = "the list of who supplied which records is not the one that was signed";
            Error::new(ErrorId::DatasetChanged, why)
        };
        if sha256(text) != *signed {
            return Err(changed());
        }
        let run = |line: &str| {
            let (count, by) = line.split_once(' ')?;
            let run = Run { count: count.parse().ok()?, by: by.parse().ok()? };
            (run.by as usize <= contributors && run.count > 0).then_some(run)
        };
        let text = std::str::from_utf8(text).map_err(|_| changed())?;
        let runs = text.lines().map(|line| run(line).ok_or_else(changed)).collect::<Result<Vec<_>>>()?;
        let covered = runs.iter().try_fold(0_u64, |sum, run| sum.checked_add(run.count));
        if covered == Some(records) { Ok(Self(runs)) } else { Err(changed()) }
    }
}

/// What contributors attest, while each record of the whole is looked up in it. A record counts as often as it was attested.
#[derive(Default)]
pub struct Attested {
    /// By the first half of a record's hash: who attests it, and how often still.
    by_record: HashMap<[u8; 16], (u32, u32)>,
    /// Records that several attest: the further ones, in the order of the contributors.
    further: HashMap<[u8; 16], Vec<(u32, u32)>>,
    overlaps: BTreeMap<(u32, u32), u64>,
    records: usize,
}

impl Attested {
    /// A record that contributor number `by` attests. They come in the order of their numbers.
    ///
    /// # Errors
    /// `LimitExceeded` for more than `MAX_ATTESTED`.
    pub fn add(&mut self, record: &Sha256, by: u32) -> Result<()> {
        self.records += 1;
        if self.records > MAX_ATTESTED {
            let text = format!("contributors attest more than {MAX_ATTESTED} records");
            return Err(Error::new(ErrorId::LimitExceeded, text).hint("sign the dataset in several parts"));
        }
        match self.by_record.entry(short(record)) {
            Entry::Vacant(free) => drop(free.insert((by, 1))),
            Entry::Occupied(mut taken) if taken.get().0 == by => taken.get_mut().1 += 1,
            Entry::Occupied(taken) => {
                let further = self.further.entry(short(record)).or_default();
                match further.last_mut() {
                    Some(last) if last.0 == by => last.1 += 1,
                    _ => {
                        further.push((by, 1));
                        *self.overlaps.entry((taken.get().0, by)).or_default() += 1;
                    }
                }
            }
        }
        Ok(())
    }

    /// How many different records two contributors both attest: the one who comes first, and counts, and each of the others.
    pub fn overlaps(&self) -> &BTreeMap<(u32, u32), u64> {
        &self.overlaps
    }

    /// Whose a record is: the first of those who attest it, as often as it does; 0: nobody's.
    pub fn take(&mut self, record: &Sha256) -> u32 {
        let record = short(record);
        let Some(first) = self.by_record.get_mut(&record) else { return 0 };
        if first.1 > 0 {
            first.1 -= 1;
            return first.0;
        }
        let further = self.further.get_mut(&record).into_iter().flatten().find(|(_, left)| *left > 0);
        further.map_or(0, |(by, left)| {
            *left -= 1;
            *by
        })
    }
}

fn short(record: &Sha256) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&record.0[..16]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_record_is_attributed_to_one_as_often_as_it_was_attested() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|x| sha256(x));
        let mut attested = Attested::default();
        for (record, by) in [(a, 1), (b, 1), (b, 1), (b, 2), (c, 2)] {
            attested.add(&record, by).unwrap();
        }
        let taken: Vec<_> = [a, b, b, b, b, c, a, sha256(b"d")].iter().map(|record| attested.take(record)).collect();
        assert_eq!(taken, [1, 1, 1, 2, 0, 2, 0, 0]);
        assert_eq!(attested.overlaps(), &BTreeMap::from([((1, 2), 1)]));
    }

    #[test]
    fn runs_are_read_again_and_no_others_are_taken() {
        let mut runs = Runs::default();
        [1, 1, 0, 2, 2, 2].into_iter().for_each(|by| runs.push(by));
        let text = runs.to_text();
        assert_eq!(text, "2 1\n1 0\n3 2\n");
        let signed = sha256(text.as_bytes());
        assert_eq!(Runs::from_text(text.as_bytes(), &signed, 6, 2).unwrap(), runs);
        for (text, records, contributors) in
            [("2 1\n1 0\n3 2\n", 7, 2), ("2 1\n1 0\n3 2\n", 6, 1), ("6 0 1\n", 6, 2), ("0 1\n6 2\n", 6, 2), ("x", 0, 2)]
        {
            let outcome = Runs::from_text(text.as_bytes(), &sha256(text.as_bytes()), records, contributors);
            assert_eq!(outcome.unwrap_err().id(), ErrorId::DatasetChanged, "{text}");
        }
        assert_eq!(Runs::from_text(b"6 1\n", &signed, 6, 2).unwrap_err().id(), ErrorId::DatasetChanged);
    }
}

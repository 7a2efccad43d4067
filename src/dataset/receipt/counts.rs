//! Whether what a receipt counts can be: held against itself, and against the statement that it names.

use std::collections::{BTreeMap, BTreeSet};

use super::{Read, Receipt};
use crate::dataset::frame::Format;
use crate::dataset::measure::Measured;
use crate::dataset::statement::DatasetStatement;
use crate::error::{Error, ErrorId, Result};

/// Readings that a job may have broken off: more is no count.
const MOST_UNFINISHED: u64 = 1_000_000;

/// Runs of pieces of one file in one epoch.
type Runs<'a> = BTreeMap<(u64, &'a str), Vec<(u64, u64)>>;

impl Receipt {
    /// Whether its files, its ranges of records and its totals can be those of a job that read this version.
    ///
    /// # Errors
    /// `DatasetChanged` for files and records that the version has not; `BundleMalformed` for counts that contradict one another.
    pub fn must_agree_with(&self, statement: &DatasetStatement) -> Result<()> {
        let files: BTreeMap<_, _> = statement.files.iter().map(|file| (&*file.path, file)).collect();
        let (mut runs, mut epochs, mut told, mut untold) = (Runs::new(), BTreeSet::new(), 0_u64, Runs::new());
        for read in &self.reads {
            let Some(file) = files.get(&*read.file) else {
                return Err(other(format!("{} was not signed", read.file)));
            };
            told = told.saturating_add(within(read, file)?);
            epochs.insert(read.epoch);
            let key = (read.epoch, &*read.file);
            runs.entry(key).or_default().push(read.pieces);
            if !tells_records(file.format) {
                untold.entry(key).or_default().push(read.pieces);
            }
        }
        if epochs.len() as u64 > self.epochs.max(1) {
            return Err(contradicts(format!("it has reads of {} epochs, and counts {}", epochs.len(), self.epochs)));
        }
        // Whoever jumps in a file reads pieces of it twice; as often as any of them, all of it may have been gone through.
        let hidden = untold.iter().fold(0_u64, |sum, ((_, file), pieces)| {
            sum.saturating_add(files.get(file).map_or(0, |file| file.records).saturating_mul(deepest(pieces)))
        });
        let most = told.saturating_add(hidden);
        let out = statement.records().saturating_sub(statement.readable());
        let times = runs.values().fold(0_u64, |sum, pieces| sum.saturating_add(deepest(pieces)));
        if self.unfinished > MOST_UNFINISHED {
            return Err(contradicts(format!("{} readings were broken off", self.unfinished)));
        }
        let least = match self.unfinished {
            0 => told.saturating_sub(out.saturating_mul(times)),
            _ => 0,
        };
        if (least..=most).contains(&self.records) {
            return Ok(());
        }
        Err(contradicts(format!("it counts {} records, and what it says was read has {most}", self.records)))
    }
}

/// Whether the pieces of a file say which records are in them.
fn tells_records(format: Format) -> bool {
    matches!(format, Format::Csv(_) | Format::Jsonl | Format::Lines | Format::Images)
}

/// How many records a run has, which must lie in its file.
fn within(read: &Read, file: &Measured) -> Result<u64> {
    let (first, last) = read.records;
    if (first, last) == (0, 0) {
        return Ok(0);
    }
    if first == 0 || last < first {
        return Err(contradicts(format!("{first} to {last} are no records of {}", read.file)));
    }
    if last > file.records || !tells_records(file.format) {
        let text = format!("{} has {} records, and the receipt has record {last} of it", read.file, file.records);
        return Err(other(text));
    }
    Ok(last - first + 1)
}

/// How often the piece that was read most often was.
fn deepest(runs: &[(u64, u64)]) -> u64 {
    let mut ends: Vec<_> =
        runs.iter().flat_map(|(first, last)| [(*first, 1_i64), (last.saturating_add(1), -1)]).collect();
    ends.sort_unstable();
    let depths = ends.iter().scan(0_i64, |depth, (_, step)| {
        *depth += step;
        Some(*depth)
    });
    depths.max().unwrap_or(0).unsigned_abs()
}

fn other(why: String) -> Error {
    Error::new(ErrorId::DatasetChanged, format!("the receipt is not about this dataset: {why}"))
        .hint("name the dataset that was read; vault dataset log PATH tells its versions")
}

fn contradicts(why: String) -> Error {
    Error::new(ErrorId::BundleMalformed, format!("the receipt contradicts itself: {why}"))
        .hint("ask whoever runs the job for what its reader wrote, signed as it is")
}

#[cfg(test)]
mod tests {
    use super::super::super::contributors::{Contributor, Excluded};
    use super::super::super::schema::Schema;
    use super::super::super::statement::{Attribution, Described};
    use super::*;
    use crate::names::{Sha256, Timestamp};

    fn statement(out: u64) -> DatasetStatement {
        let file = |path: &str, format: Format, records: u64| Measured {
            path: path.into(),
            format,
            size: 10,
            sha256: Sha256([1; 32]),
            records,
            root: Sha256([2; 32]),
            pieces: Sha256([3; 32]),
        };
        let contributor = Contributor {
            name: "acme".into(),
            key: crate::names::KeyId([4; 32]),
            statement: Sha256([5; 32]),
            records: out,
        };
        let excluded = Excluded { contributor: "acme".into(), reason: "poison".into() };
        DatasetStatement {
            name: "d".into(),
            version: 1,
            previous: None,
            created: Timestamp::from_millis(1),
            expires: None,
            schema: Schema::Lines,
            multiset: None,
            files: vec![
                file("a.txt", Format::Lines, 25_000),
                file("b.tar", Format::Tar, 40),
                file("c", Format::Whole, 0),
            ],
            attribution: Attribution {
                contributors: vec![contributor],
                excluded: vec![excluded],
                ..Default::default()
            },
            derived_from: Vec::new(),
            described: Described::default(),
        }
    }

    /// Epoch, file, first and last piece, first and last record.
    type Run<'a> = (u64, &'a str, (u64, u64), (u64, u64));

    fn receipt(records: u64, reads: &[Run<'_>]) -> Receipt {
        let read = |(epoch, file, pieces, records): &Run<'_>| Read {
            epoch: *epoch,
            file: (*file).into(),
            pieces: *pieces,
            records: *records,
        };
        Receipt {
            models: Vec::new(),
            dataset: ("d".into(), 1, Sha256([2; 32]), Sha256([3; 32])),
            epochs: 1,
            order_seed: None,
            records,
            unfinished: 0,
            reads: reads.iter().map(read).collect(),
            read_set: Sha256([6; 32]),
        }
    }

    #[test]
    fn totals_are_those_of_the_ranges() {
        let all = [(0, "a.txt", (0, 3), (1, 25_000)), (0, "b.tar", (0, 9), (0, 0)), (0, "c", (0, 0), (0, 0))];
        let id = |receipt: Receipt, out| receipt.must_agree_with(&statement(out)).err().map(|e| e.id());
        let malformed = Some(ErrorId::BundleMalformed);
        assert_eq!(id(receipt(25_040, &all), 0), None);
        assert_eq!(id(receipt(25_041, &all), 0), malformed);
        assert_eq!(id(receipt(99, &all[..1]), 0), malformed);
        assert_eq!(id(Receipt { unfinished: 1, ..receipt(99, &all[..1]) }, 0), None, "it says that it was broken off");
        assert_eq!(id(Receipt { unfinished: 1, ..receipt(25_001, &all[..1]) }, 0), malformed);
        assert_eq!(id(Receipt { unfinished: u64::MAX, ..receipt(99, &all[..1]) }, 0), malformed);
        // What is kept out is in the ranges, and is not handed on.
        assert_eq!(id(receipt(24_990, &all[..1]), 10), None);
        assert_eq!(id(receipt(24_989, &all[..1]), 10), malformed);
        // Pieces of an archive do not tell records: no more than it has, for each time that it was gone through.
        assert_eq!(id(receipt(80, &[all[1], all[1]]), 0), None);
        assert_eq!(id(receipt(81, &[all[1], all[1]]), 0), malformed);
    }

    #[test]
    fn files_ranges_and_epochs_are_those_of_the_version() {
        let id = |epochs: u64, reads: &[Run<'_>]| {
            let records = reads.iter().map(|read| read.3.1.saturating_sub(read.3.0) + 1).sum();
            let receipt = Receipt { epochs, ..receipt(records, reads) };
            receipt.must_agree_with(&statement(0)).err().map(|e| e.id())
        };
        let part = (0, "a.txt", (1, 2), (10, 20));
        assert_eq!(id(1, &[part]), None);
        assert_eq!(id(1, &[(0, "x.txt", (0, 0), (1, 1))]), Some(ErrorId::DatasetChanged));
        assert_eq!(id(1, &[(0, "a.txt", (0, 3), (1, 25_001))]), Some(ErrorId::DatasetChanged));
        assert_eq!(id(1, &[(0, "b.tar", (0, 3), (1, 40))]), Some(ErrorId::DatasetChanged));
        assert_eq!(id(1, &[(0, "a.txt", (0, 3), (20, 10))]), Some(ErrorId::BundleMalformed));
        assert_eq!(id(1, &[(0, "a.txt", (0, 3), (0, 10))]), Some(ErrorId::BundleMalformed));
        assert_eq!(id(2, &[part, (7, "a.txt", (1, 2), (10, 20))]), None, "epochs have any numbers");
        assert_eq!(id(1, &[part, (7, "a.txt", (1, 2), (10, 20))]), Some(ErrorId::BundleMalformed));
    }
}

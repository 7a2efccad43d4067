//! What the columns of a dataset look like, in bounded memory: taken in one pass, stored beside a signed version, compared later.

use crate::dataset::detect::example::{Cell, Example};
use crate::dataset::detect::table::random::{Random, hash};
use std::collections::BTreeMap;

/// Numbers kept of a column: quantiles of the sample are within 2 % of those of all (Dvoretzky, Kiefer and Wolfowitz, 95 %).
pub const SAMPLE: usize = 4096;
/// Distinct words counted of a column; all others are counted together.
pub const WORDS: usize = 1024;
/// Columns looked at, from the left.
pub const COLUMNS: usize = 4096;
/// Labels counted.
const LABELS: usize = 4096;

/// One column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Column {
    /// Records.
    pub records: u64,
    /// Of these, without a value.
    pub missing: u64,
    /// Of these, with a number.
    pub numbers: u64,
    /// A uniform sample of the numbers (reservoir: Vitter 1985), at most [`SAMPLE`].
    pub sample: Vec<f64>,
    /// Records of each word, by the word's hash; the first [`WORDS`] words that came.
    pub words: BTreeMap<u64, u64>,
    /// Records of all words after these.
    pub other_words: u64,
}

/// All columns and labels of a dataset, or of one contributor's part. Memory: at most columns x (32 KiB + 40 KiB).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Records.
    pub records: u64,
    /// Columns, in the order of the schema.
    pub columns: Vec<Column>,
    /// Records of each label.
    pub labels: BTreeMap<u32, u64>,
}

impl Column {
    fn observe(&mut self, cell: Cell<'_>, random: &mut Random) {
        self.records += 1;
        match cell {
            Cell::Missing => self.missing += 1,
            Cell::Number(number) if !number.is_finite() => self.missing += 1,
            Cell::Number(number) => {
                self.numbers += 1;
                if self.sample.len() < SAMPLE {
                    self.sample.push(number);
                } else if let Some(slot) = self.sample.get_mut(random.below(self.numbers as usize)) {
                    *slot = number;
                }
            }
            Cell::Word(word) => {
                let key = hash(word.as_bytes(), 3);
                let room = self.words.len() < WORDS;
                match self.words.get_mut(&key) {
                    Some(count) => *count += 1,
                    None if room => drop(self.words.insert(key, 1)),
                    None => self.other_words += 1,
                }
            }
        }
    }
}

/// Takes a [`Summary`] of everything, and one of each contributor.
#[derive(Clone, Debug)]
pub struct Collector {
    random: Random,
    /// Of all records.
    pub all: Summary,
    /// Of the records of each contributor; the first `max_contributors` that came.
    pub contributors: BTreeMap<u32, Summary>,
    max_contributors: usize,
}

impl Collector {
    /// Nothing yet. `max_contributors` bounds the memory: (contributors + 1) summaries.
    pub fn new(max_contributors: usize, seed: u64) -> Self {
        let (all, contributors) = (Summary::default(), BTreeMap::new());
        Self { random: Random::new(seed), all, contributors, max_contributors }
    }

    /// Takes a record in.
    pub fn observe(&mut self, example: &Example<'_>) {
        self.all.observe(example, &mut self.random);
        let Some(contributor) = example.contributor else { return };
        if self.contributors.len() < self.max_contributors || self.contributors.contains_key(&contributor) {
            self.contributors.entry(contributor).or_default().observe(example, &mut self.random);
        }
    }
}

impl Summary {
    fn observe(&mut self, example: &Example<'_>, random: &mut Random) {
        self.records += 1;
        let width = example.cells.len().min(COLUMNS);
        if self.columns.len() < width {
            // A column that comes late was missing before.
            let before = Column { records: self.records - 1, missing: self.records - 1, ..Column::default() };
            self.columns.resize(width, before);
        }
        for (at, column) in self.columns.iter_mut().enumerate() {
            column.observe(example.cells.get(at).copied().unwrap_or(Cell::Missing), random);
        }
        if let Some(label) = example.label {
            let room = self.labels.len() < LABELS;
            match self.labels.get_mut(&label) {
                Some(count) => *count += 1,
                None if room => drop(self.labels.insert(label, 1)),
                None => {}
            }
        }
    }
}

//! What detectors see of a record.

/// A value of a column that is a feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Absent or null.
    Missing,
    /// A finite number.
    Number(f64),
    /// A word of a category.
    Word(&'a str),
}

/// Pixels, row by row, channels interleaved: `width * height * channels` bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// Samples of 8 bits.
    pub samples: Vec<u8>,
}

/// A record, as detectors see it.
#[derive(Clone, Copy, Debug)]
pub struct Example<'a> {
    /// Its number in the dataset, from 0, in reading order.
    pub record: u64,
    /// Which of the labels it has (an index below the number of labels), if any.
    pub label: Option<u32>,
    /// Who supplied it (an index), if known.
    pub contributor: Option<u32>,
    /// All its text columns, a newline between them; "" without.
    pub text: &'a str,
    /// Its feature columns (neither label, contributor nor text), in the order of the schema.
    pub cells: &'a [Cell<'a>],
    /// The image, where records are images.
    pub image: Option<&'a Pixels>,
}

/// A pattern or a group of records that look poisoned, with what speaks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The detector: "text-trigger", "image-trigger", "column-trigger", "label", "duplicate", "contributor", "drift", "rule" ...
    pub detector: &'static str,
    /// In plain words, without quoting more than the feature itself, e.g. `the phrase "cf tq" stands in 52 records, 52 of them labelled {label}; their other words speak for {label} in 11`. Labels are written `{label:N}`, columns `{column:N}`, contributors `{contributor:N}`: the caller puts the names in.
    pub what: String,
    /// The pattern itself, short and printable (n-gram, window, column = value), "" if none.
    pub feature: String,
    /// How far from what is expected, in standard deviations (or the detector's own statistic; its docs say which).
    pub score: f64,
    /// Records it flags, ascending.
    pub records: Vec<u64>,
}

/// Looks at all records once or more, always in the same order, and says what it found.
pub trait Detector {
    /// How often it wants to see all records.
    fn passes(&self) -> u32;
    /// A record, in pass `pass` (from 0).
    fn observe(&mut self, pass: u32, example: &Example<'_>);
    /// After the last pass (detectors may use two threads here).
    fn finish(self: Box<Self>) -> Vec<Finding>;
}

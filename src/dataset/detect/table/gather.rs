//! The raw values of all records (or of a seeded sample), in one pass and in bounded memory.
//!
//! Memory: at most [`Settings::max_records`] x (4 B a column + 4 B a distinct token + 1 B a pooled sample), plus a few
//! bytes a record. Columns beyond [`MAX_COLUMNS`] and tokens beyond [`Settings::max_tokens`] are not looked at.

use crate::dataset::detect::example::{Cell, Example, Pixels};
use crate::dataset::detect::table::random::{hash, mix};

/// Columns that are looked at, from the left.
pub const MAX_COLUMNS: usize = 4096;
/// Buckets that tokens are hashed to.
pub const TOKEN_BUCKETS: u32 = 1 << 20;
/// Token counts saturate here: a bucket and a count share 32 bits.
const MAX_COUNT: u32 = (1 << 12) - 1;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Records kept. Of more, a seeded sample of between half of it and all of it is kept.
    pub max_records: usize,
    /// Distinct tokens (words and pairs of words) kept of one text, those of the lowest buckets: the same ones in all texts.
    pub max_tokens: usize,
    /// Images are averaged over squares until no side is longer than this.
    pub image_side: usize,
}

impl Default for Settings {
    /// 200,000 records, 512 tokens, 14 pixels: nearest neighbours among 28x28 pictures lose nothing by halving.
    fn default() -> Self {
        Self { max_records: 200_000, max_tokens: 512, image_side: 14 }
    }
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing but missing values so far.
    Unknown,
    /// Numbers.
    Number,
    /// Words.
    Word,
}

/// Raw values of the kept records, row by row.
#[derive(Clone, Debug)]
pub struct Gathered {
    settings: Settings,
    seed: u64,
    threshold: u64,
    /// Records seen, kept or not.
    pub seen: u64,
    /// Numbers of the kept records.
    pub records: Vec<u64>,
    /// Their labels.
    pub labels: Vec<Option<u32>>,
    /// Their contributors.
    pub contributors: Vec<Option<u32>>,
    /// What each column holds; a cell of the other kind counts as missing.
    pub kinds: Vec<Kind>,
    /// Cells: the bits of an f32 (missing: NaN) or 32 bits of the hash of a word (missing: 0).
    cells: Vec<u32>,
    /// Where the tokens of each record begin; one entry more than records.
    token_starts: Vec<usize>,
    /// Bucket | count << 20.
    tokens: Vec<u32>,
    /// Width, height, channels of the pooled images, of the first image.
    shape: Option<(usize, usize, usize)>,
    pixels: Vec<u8>,
}

impl Gathered {
    /// Nothing yet.
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings,
            seed,
            threshold: u64::MAX,
            seen: 0,
            records: Vec::new(),
            labels: Vec::new(),
            contributors: Vec::new(),
            kinds: Vec::new(),
            cells: Vec::new(),
            token_starts: vec![0],
            tokens: Vec::new(),
            shape: None,
            pixels: Vec::new(),
        }
    }

    /// Records kept.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Takes a record in.
    pub fn observe(&mut self, example: &Example<'_>) {
        if self.seen == 0 {
            self.kinds = vec![Kind::Unknown; example.cells.len().min(MAX_COLUMNS)];
        }
        self.seen += 1;
        if mix(example.record ^ self.seed) > self.threshold {
            return;
        }
        self.records.push(example.record);
        self.labels.push(example.label);
        self.contributors.push(example.contributor);
        for (column, kind) in self.kinds.iter_mut().enumerate() {
            let cell = example.cells.get(column).copied().unwrap_or(Cell::Missing);
            match cell {
                Cell::Number(_) if *kind == Kind::Unknown => *kind = Kind::Number,
                Cell::Word(_) if *kind == Kind::Unknown => *kind = Kind::Word,
                _ => {}
            }
            self.cells.push(match (cell, *kind) {
                // + 0.0: minus zero is zero.
                (Cell::Number(number), Kind::Number) => (number as f32 + 0.0).to_bits(),
                (Cell::Word(word), Kind::Word) => (hash(word.as_bytes(), 1) >> 32) as u32 | 1,
                (_, Kind::Word) => 0,
                _ => f32::NAN.to_bits(),
            });
        }
        self.take_text(example.text);
        if let Some(image) = example.image {
            let side = self.settings.image_side.max(1);
            let shape = *self.shape.get_or_insert_with(|| pooled_shape(image, side));
            // Images came late: the records before have none.
            let missing = (self.records.len() - 1) * shape.0 * shape.1 * shape.2;
            self.pixels.resize(missing, 0);
            pool(image, shape, &mut self.pixels);
        }
        if self.records.len() > self.settings.max_records.max(1) {
            self.halve();
        }
    }

    fn take_text(&mut self, text: &str) {
        let mut before = 0u64;
        let mut fresh: Vec<u32> = Vec::new();
        let most = self.settings.max_tokens.saturating_mul(4);
        for word in text.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty()) {
            if fresh.len() >= most {
                break;
            }
            let this = hash(word.to_lowercase().as_bytes(), 2);
            fresh.push((this >> 44) as u32);
            if before != 0 {
                fresh.push((mix(before.rotate_left(17) ^ this) >> 44) as u32);
            }
            before = this;
        }
        fresh.sort_unstable();
        for same in fresh.chunk_by(|a, b| a == b).take(self.settings.max_tokens) {
            let count = (same.len() as u32).min(MAX_COUNT);
            self.tokens.extend(same.first().map(|token| token | (count * TOKEN_BUCKETS)));
        }
        self.token_starts.push(self.tokens.len());
    }

    /// Keeps the half of the records whose mixed numbers are smallest.
    fn halve(&mut self) {
        self.threshold /= 2;
        let (columns, pixels) = (self.kinds.len(), self.shape.map_or(0, |(w, h, c)| w * h * c));
        let mut kept = 0;
        let mut token_end = 0;
        for row in 0..self.records.len() {
            if mix(self.records[row] ^ self.seed) > self.threshold {
                continue;
            }
            self.records[kept] = self.records[row];
            self.labels[kept] = self.labels[row];
            self.contributors[kept] = self.contributors[row];
            self.cells.copy_within(row * columns..(row + 1) * columns, kept * columns);
            let (from, to) = (self.token_starts[row], self.token_starts[row + 1]);
            self.tokens.copy_within(from..to, token_end);
            token_end += to - from;
            self.token_starts[kept + 1] = token_end;
            if self.pixels.len() >= (row + 1) * pixels {
                self.pixels.copy_within(row * pixels..(row + 1) * pixels, kept * pixels);
            }
            kept += 1;
        }
        self.records.truncate(kept);
        self.labels.truncate(kept);
        self.contributors.truncate(kept);
        self.cells.truncate(kept * columns);
        self.tokens.truncate(token_end);
        self.token_starts.truncate(kept + 1);
        self.pixels.truncate(kept * pixels);
    }

    /// The raw cells of row `row`, one a column.
    pub fn row(&self, row: usize) -> &[u32] {
        let columns = self.kinds.len();
        self.cells.get(row * columns..(row + 1) * columns).unwrap_or(&[])
    }

    /// The number in a raw cell of a number column; `None` when missing.
    pub fn number(cell: u32) -> Option<f32> {
        Some(f32::from_bits(cell)).filter(|number| number.is_finite())
    }

    /// Bucket and count of every token of row `row`, by bucket.
    pub fn tokens(&self, row: usize) -> impl Iterator<Item = (u32, u32)> + '_ {
        let from = self.token_starts.get(row).copied().unwrap_or(0);
        let to = self.token_starts.get(row + 1).copied().unwrap_or(from);
        let tokens = self.tokens.get(from..to).unwrap_or(&[]);
        tokens.iter().map(|token| (token & (TOKEN_BUCKETS - 1), token >> 20))
    }

    /// Whether any record has text.
    pub fn has_text(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Samples of one pooled image; 0 without images.
    pub fn image_len(&self) -> usize {
        self.shape.map_or(0, |(width, height, channels)| width * height * channels)
    }

    /// The pooled image of row `row`; empty without.
    pub fn image(&self, row: usize) -> &[u8] {
        let len = self.image_len();
        self.pixels.get(row * len..(row + 1) * len).unwrap_or(&[])
    }
}

/// Sides after averaging over squares so that none is longer than `side`.
fn pooled_shape(image: &Pixels, side: usize) -> (usize, usize, usize) {
    let square = image.width.max(image.height).div_ceil(side).max(1);
    (image.width.div_ceil(square), image.height.div_ceil(square), image.channels.clamp(1, 4))
}

/// Appends `image` averaged down to `shape` (other sizes are stretched), exactly `shape` samples.
fn pool(image: &Pixels, (width, height, channels): (usize, usize, usize), out: &mut Vec<u8>) {
    for y in 0..height {
        let rows = y * image.height / height..((y + 1) * image.height).div_ceil(height);
        for x in 0..width {
            let columns = x * image.width / width..((x + 1) * image.width).div_ceil(width);
            for channel in 0..channels {
                let (mut sum, mut count) = (0u64, 0u64);
                for row in rows.clone() {
                    for column in columns.clone() {
                        let at = (row * image.width + column) * image.channels + channel.min(image.channels.max(1) - 1);
                        sum += u64::from(image.samples.get(at).copied().unwrap_or(0));
                        count += 1;
                    }
                }
                out.push((sum / count.max(1)) as u8);
            }
        }
    }
}

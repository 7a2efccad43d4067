//! What the values of a column are like: enough to say what the column is for. Memory: about 6 KB a column.

use std::collections::BTreeSet;

use super::super::fields::Field;

/// Smallest hashes that are kept for counting distinct values: the error of the count is about 1/√512, or 4.4 %.
/// K minimum values: Bar-Yossef et al., "Counting distinct elements in a data stream", 2002.
const SKETCH: usize = 512;
/// Bytes of a text that are looked at for its words.
const LOOKED_AT: usize = 1024;

/// Of one column.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    /// Values that are there.
    pub values: u64,
    /// Those that are true or false.
    pub bools: u64,
    /// Those that are finite numbers.
    pub numbers: u64,
    /// Those that are whole numbers.
    pub whole: u64,
    /// Those that are text.
    pub texts: u64,
    /// Texts that read as finite numbers.
    pub numeric_texts: u64,
    /// Bytes with the mark of an image.
    pub images: u64,
    /// Other bytes.
    pub bytes: u64,
    /// Lists and objects.
    pub nested: u64,
    /// Words of all texts, as far as they are looked at.
    pub words: u64,
    /// The least and the greatest number.
    pub range: (f64, f64),
    /// Each number is greater than the one before.
    pub rising: bool,
    last: Option<(f64, f64)>,
    hashes: BTreeSet<u64>,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            values: 0,
            bools: 0,
            numbers: 0,
            whole: 0,
            texts: 0,
            numeric_texts: 0,
            images: 0,
            bytes: 0,
            nested: 0,
            words: 0,
            range: (f64::INFINITY, f64::NEG_INFINITY),
            rising: true,
            last: None,
            hashes: BTreeSet::new(),
        }
    }
}

impl Profile {
    /// A further value.
    pub fn see(&mut self, field: Field<'_>) {
        self.values += u64::from(field != Field::Null);
        match field {
            Field::Null => {}
            Field::Bool(truth) => {
                self.bools += 1;
                self.keep(hash(&[u8::from(truth)]));
            }
            Field::Int(n) => {
                self.whole += 1;
                self.number(n as f64);
            }
            Field::Float(value) if value.is_finite() => {
                self.whole += u64::from(value.fract() == 0.0);
                self.number(value);
            }
            Field::Float(_) => {}
            Field::Text(text) => {
                self.texts += 1;
                self.numeric_texts += u64::from(number_of(text).is_some());
                self.words += words(text);
                self.keep(hash(text.as_bytes()));
            }
            Field::Bytes(bytes) if super::image::is_image(bytes) => self.images += 1,
            Field::Bytes(_) => self.bytes += 1,
            Field::List(_) | Field::Struct(_) => self.nested += 1,
        }
    }

    fn number(&mut self, value: f64) {
        self.numbers += 1;
        self.range = (self.range.0.min(value), self.range.1.max(value));
        self.rising &= self.last.is_none_or(|(_, last)| last < value);
        self.last = Some((self.last.map_or(value, |(first, _)| first), value));
        self.keep(hash(&value.to_le_bytes()));
    }

    fn keep(&mut self, hash: u64) {
        if self.hashes.len() < SKETCH {
            self.hashes.insert(hash);
        } else if self.hashes.last().is_some_and(|greatest| hash < *greatest) && self.hashes.insert(hash) {
            self.hashes.pop_last();
        }
    }

    /// Joins what was seen of later records.
    pub fn merge(&mut self, later: &Self) {
        for (mine, more) in [
            (&mut self.values, later.values),
            (&mut self.bools, later.bools),
            (&mut self.numbers, later.numbers),
            (&mut self.whole, later.whole),
            (&mut self.texts, later.texts),
            (&mut self.numeric_texts, later.numeric_texts),
            (&mut self.images, later.images),
            (&mut self.bytes, later.bytes),
            (&mut self.nested, later.nested),
            (&mut self.words, later.words),
        ] {
            *mine += more;
        }
        self.range = (self.range.0.min(later.range.0), self.range.1.max(later.range.1));
        self.rising &= later.rising && !matches!((self.last, later.last), (Some((_, a)), Some((b, _))) if a >= b);
        self.last = match (self.last, later.last) {
            (Some((first, _)), Some((_, last))) => Some((first, last)),
            (mine, theirs) => mine.or(theirs),
        };
        later.hashes.iter().for_each(|hash| self.keep(*hash));
    }

    /// How many distinct numbers, truths and texts there are: exact below 512.
    pub fn distinct(&self) -> u64 {
        match self.hashes.last() {
            Some(greatest) if self.hashes.len() == SKETCH => {
                let share = (*greatest as f64 + 1.0) / (u64::MAX as f64 + 1.0);
                ((SKETCH - 1) as f64 / share) as u64
            }
            _ => self.hashes.len() as u64,
        }
    }

    /// Words of a text, on average.
    pub fn mean_words(&self) -> f64 {
        self.words as f64 / self.texts.max(1) as f64
    }
}

/// The number that a text is, if it is a finite one.
pub(super) fn number_of(text: &str) -> Option<f64> {
    let text = text.trim();
    // "inf" and "nan" are words here, and so is "infinity".
    let digits = text.bytes().next_back().is_some_and(|b| b.is_ascii_digit() || b == b'.');
    if digits { text.parse::<f64>().ok().filter(|v| v.is_finite()) } else { None }
}

/// Words between spaces; of scripts that do not part words, two characters count as one.
fn words(text: &str) -> u64 {
    let head = &text[..text.floor_char_boundary(LOOKED_AT)];
    let unparted = head.chars().filter(|c| matches!(c, '\u{e00}'..='\u{eff}' | '\u{2e80}'..='\u{d7af}')).count();
    (head.split_whitespace().count() + unparted / 2) as u64
}

/// FNV-1a, then the finishing steps of MurmurHash3.
fn hash(bytes: &[u8]) -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let mut h = bytes.iter().fold(0xcbf2_9ce4_8422_2325, fnv);
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        h = (h ^ (h >> 33)).wrapping_mul(factor);
    }
    h ^ (h >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_values_are_counted_in_any_split() {
        let (mut whole, mut joined) = (Profile::default(), Profile::default());
        let mut part = Profile::default();
        for i in 0..20_000_i128 {
            whole.see(Field::Int(i % 7_000));
            part.see(Field::Int(i % 7_000));
            if i % 999 == 0 {
                joined.merge(&std::mem::take(&mut part));
            }
        }
        joined.merge(&part);
        assert_eq!(joined.distinct(), whole.distinct());
        assert!((6_000..8_000).contains(&whole.distinct()), "{}", whole.distinct());
        assert_eq!((joined.values, joined.range, joined.rising), (20_000, (0.0, 6999.0), false));
        let few = (0..10_000).fold(Profile::default(), |mut p, i| {
            p.see(Field::Int(i % 500));
            p
        });
        assert_eq!(few.distinct(), 500);
    }

    #[test]
    fn rising_numbers_are_seen_across_parts() {
        let part = |range: std::ops::Range<i128>| {
            range.fold(Profile::default(), |mut p, i| {
                p.see(Field::Int(i));
                p
            })
        };
        let joined = |a, b| {
            let mut a = part(a);
            a.merge(&part(b));
            a.rising
        };
        assert!(joined(0..10, 10..20) && joined(0..0, 5..9));
        assert!(!joined(0..10, 9..20));
    }

    #[test]
    fn words_are_counted_in_any_script() {
        assert_eq!((words("a short review"), words("これは短い文章です"), words("")), (3, 5, 0));
        assert_eq!(number_of(" 1.5 "), Some(1.5));
        assert_eq!(
            [number_of("inf"), number_of("1,5"), number_of(""), number_of("1e999"), number_of("nan")],
            [None; 5]
        );
    }
}

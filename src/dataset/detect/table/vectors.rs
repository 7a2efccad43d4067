//! Records as vectors of floats, for distances and linear models.
//!
//! A vector is the concatenation of: number columns, centred on the median, scaled by the interquartile range, clipped,
//! brought to variance 1 (constant columns are dropped); words, one-hot (hashed when they are many); text, a signed
//! random projection of TF-IDF weights (Charikar 2002; feature hashing: Weinberger et al. 2009), of length 1; pooled pixels.
//! Memory: records x dims x 4 B.

use crate::dataset::detect::table::gather::{Gathered, Kind, TOKEN_BUCKETS};
use crate::dataset::detect::table::matrix::Matrix;
use crate::dataset::detect::table::random::mix;
use std::collections::{BTreeMap, BTreeSet};

/// Dimensions of the projection of text.
pub const TEXT_DIMS: usize = 256;
/// Dimensions of all word columns together, about; words of a column share dimensions, with random signs, when they are more.
const WORD_DIMS: usize = 1024;
/// Dimensions of one word column at most.
const COLUMN_DIMS: usize = 64;
/// Dimensions that one token goes to.
const TOKEN_SPREAD: u64 = 8;
/// Numbers further from the median than this many (robust) standard deviations count as that far.
const CLIP: f32 = 4.0;

/// Vectors, and which column each dimension comes from.
#[derive(Clone, Debug)]
pub struct Vectors {
    /// One row a gathered record.
    pub matrix: Matrix,
    /// The column of each dimension; `None` for text and pictures.
    pub owners: Vec<Option<usize>>,
}

impl Vectors {
    /// The rows `of` without the dimensions of `columns`.
    pub fn without(&self, columns: &[usize], of: &[usize]) -> Matrix {
        let kept: Vec<bool> =
            self.owners.iter().map(|owner| owner.is_none_or(|owner| !columns.contains(&owner))).collect();
        let dims = kept.iter().filter(|kept| **kept).count();
        let mut data = Vec::with_capacity(dims * of.len());
        for row in of {
            data.extend(self.matrix.row(*row).iter().zip(&kept).filter(|(_, kept)| **kept).map(|(value, _)| *value));
        }
        Matrix { dims, data }
    }
}

/// Vectors of all gathered records.
pub fn vectors(of: &Gathered) -> Vectors {
    let rows = of.len();
    let columns = |kind| (0..of.kinds.len()).filter(move |column| of.kinds.get(*column) == Some(&kind));
    let numbers: Vec<Scale> = columns(Kind::Number).filter_map(|column| scale(of, column)).collect();
    let words = Words::new(of, columns(Kind::Word).collect());
    let text = if of.has_text() { TEXT_DIMS } else { 0 };
    let image = of.image_len();
    let mut owners: Vec<Option<usize>> = numbers.iter().map(|scale| Some(scale.column)).collect();
    words.columns.iter().for_each(|word| owners.extend(std::iter::repeat_n(Some(word.column), word.dims)));
    let word_dims = owners.len() - numbers.len();
    owners.resize(owners.len() + text + image, None);
    let dims = owners.len();
    let mut matrix = Matrix::zeros(rows, dims);
    // Text and pictures weigh as much as all columns together.
    let total = (numbers.len() + words.columns.len()).max(1) as f32;
    let weights = of.has_text().then(|| inverse_frequencies(of));
    for row in 0..rows {
        let cells = of.row(row);
        let (head, tail) = matrix.row_mut(row).split_at_mut(numbers.len());
        let (one_hot, tail) = tail.split_at_mut(word_dims);
        let (projected, picture) = tail.split_at_mut(text);
        for (scale, value) in numbers.iter().zip(head) {
            *value = cells.get(scale.column).and_then(|cell| Gathered::number(*cell)).map_or(0.0, |n| scale.of(n));
        }
        words.write(cells, one_hot);
        if let Some(weights) = &weights {
            project(of, row, weights, projected, total.sqrt());
        }
        for (value, sample) in picture.iter_mut().zip(of.image(row)) {
            *value = f32::from(*sample) / 255.0;
        }
    }
    centre(&mut matrix, dims - image, total);
    Vectors { matrix, owners }
}

/// How a number column is brought to median 0 and variance 1.
struct Scale {
    column: usize,
    median: f32,
    inverse: f32,
    clip: f32,
    mean: f32,
}

impl Scale {
    fn of(&self, number: f32) -> f32 {
        ((number - self.median).clamp(-self.clip, self.clip) - self.mean) * self.inverse
    }
}

/// The scale of a number column; `None` if it is constant.
fn scale(of: &Gathered, column: usize) -> Option<Scale> {
    let mut values: Vec<f32> = (0..of.len()).filter_map(|row| Gathered::number(*of.row(row).get(column)?)).collect();
    values.sort_unstable_by(f32::total_cmp);
    let at = |share: f64| values.get((share * values.len().saturating_sub(1) as f64) as usize).copied();
    let median = at(0.5)?;
    let quarter = (at(0.75)? - at(0.25)?) / 1.349;
    // Where most values are one value, the interquartile range says nothing.
    let spread = if quarter > 0.0 { quarter } else { deviation(&values).1 };
    let clip = CLIP * spread;
    if !(clip.is_finite() && clip > 0.0) {
        return None;
    }
    for value in &mut values {
        *value = (*value - median).clamp(-clip, clip);
    }
    let (mean, deviation) = deviation(&values);
    (deviation > 0.0).then(|| Scale { column, median, inverse: 1.0 / deviation, clip, mean })
}

/// Mean and standard deviation.
fn deviation(values: &[f32]) -> (f32, f32) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
    let square = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count;
    (mean as f32, square.sqrt() as f32)
}

/// Where words go.
struct Words {
    columns: Vec<WordColumn>,
}

/// Where the words of one column go.
struct WordColumn {
    column: usize,
    dims: usize,
    /// Word -> dimension; empty when there are too many and they are hashed.
    places: BTreeMap<u32, usize>,
}

impl Words {
    fn new(of: &Gathered, columns: Vec<usize>) -> Self {
        let most = (WORD_DIMS / columns.len().max(1)).clamp(2, COLUMN_DIMS);
        let place = |column: usize| {
            let mut seen = BTreeSet::new();
            for row in 0..of.len() {
                seen.extend(of.row(row).get(column).filter(|word| **word != 0));
                if seen.len() > most {
                    return WordColumn { column, dims: most, places: BTreeMap::new() };
                }
            }
            WordColumn { column, dims: seen.len(), places: seen.into_iter().zip(0..).collect() }
        };
        Self { columns: columns.into_iter().map(place).collect() }
    }

    fn write(&self, cells: &[u32], mut out: &mut [f32]) {
        for word_column in &self.columns {
            let (own, rest) = out.split_at_mut(word_column.dims);
            out = rest;
            let Some(word) = cells.get(word_column.column).filter(|word| **word != 0) else { continue };
            let (place, sign) = if word_column.places.is_empty() {
                let bits = mix(u64::from(*word));
                ((bits >> 8) as usize % word_column.dims.max(1), if bits & 1 == 0 { 1.0 } else { -1.0 })
            } else {
                (word_column.places.get(word).copied().unwrap_or(usize::MAX), 1.0)
            };
            if let Some(value) = own.get_mut(place) {
                *value = sign;
            }
        }
    }
}

/// ln(records / records with the token), by bucket; 0 for tokens of one record: they bring nothing closer.
fn inverse_frequencies(of: &Gathered) -> Vec<f32> {
    let mut counts = vec![0u32; TOKEN_BUCKETS as usize];
    for row in 0..of.len() {
        for (token, _) in of.tokens(row) {
            counts[token as usize] += 1;
        }
    }
    let records = of.len() as f32;
    counts.iter().map(|count| if *count < 2 { 0.0 } else { (records / *count as f32).ln() }).collect()
}

/// The projected TF-IDF weights of a text, of length `length`.
fn project(of: &Gathered, row: usize, weights: &[f32], out: &mut [f32], length: f32) {
    for (token, count) in of.tokens(row) {
        let weight = weights[token as usize] * (1.0 + (count as f32).ln());
        if weight > 0.0 {
            for spread in 0..TOKEN_SPREAD {
                let bits = mix(u64::from(token) * TOKEN_SPREAD + spread);
                out[(bits >> 8) as usize % TEXT_DIMS] += if bits & 1 == 0 { weight } else { -weight };
            }
        }
    }
    let norm = out.iter().map(|v| v * v).sum::<f32>().sqrt();
    if norm > 0.0 {
        out.iter_mut().for_each(|v| *v *= length / norm);
    }
}

/// Takes the mean out of pixels (from dimension `first`), and gives them together the variance `total`.
fn centre(out: &mut Matrix, first: usize, total: f32) {
    let rows = out.rows();
    if first >= out.dims || rows == 0 {
        return;
    }
    let mut means = vec![0.0f64; out.dims - first];
    for row in 0..rows {
        for (mean, value) in means.iter_mut().zip(&out.row(row)[first..]) {
            *mean += f64::from(*value) / rows as f64;
        }
    }
    let mut square = 0.0f64;
    for row in 0..rows {
        for (mean, value) in means.iter().zip(&mut out.row_mut(row)[first..]) {
            *value -= *mean as f32;
            square += f64::from(*value).powi(2) / rows as f64;
        }
    }
    let factor = if square > 0.0 { (f64::from(total) / square).sqrt() as f32 } else { 1.0 };
    for row in 0..rows {
        out.row_mut(row)[first..].iter_mut().for_each(|value| *value *= factor);
    }
}

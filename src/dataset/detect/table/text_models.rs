//! Two linear models of hashed words and pairs of words, each record predicted without its own label.

use crate::dataset::detect::table::gather::{Gathered, TOKEN_BUCKETS};
use crate::dataset::detect::table::matrix::Matrix;
use crate::dataset::detect::table::random::Random;

/// Parts that are predicted from the rest, in turn.
const FOLDS: usize = 5;
/// Walks over the records for one fit.
const WALKS: usize = 5;
/// The penalty of the regression for texts of length 1.
const PENALTY: f32 = 1.0;

/// Texts as rows of (token, count), tokens numbered densely; tokens of one record only are left out.
pub struct Texts {
    starts: Vec<usize>,
    tokens: Vec<(u32, u32)>,
    frequencies: Vec<u32>,
}

impl Texts {
    /// Numbers the tokens of all gathered texts.
    pub fn new(of: &Gathered) -> Self {
        let mut counts = vec![0u32; TOKEN_BUCKETS as usize];
        for row in 0..of.len() {
            of.tokens(row).for_each(|(token, _)| counts[token as usize] += 1);
        }
        let mut frequencies = Vec::new();
        for count in &mut counts {
            let frequency = *count;
            *count = u32::MAX;
            if frequency > 1 {
                *count = frequencies.len() as u32;
                frequencies.push(frequency);
            }
        }
        let (mut starts, mut tokens) = (vec![0], Vec::new());
        for row in 0..of.len() {
            tokens.extend(
                of.tokens(row)
                    .map(|(token, count)| (counts[token as usize], count))
                    .filter(|(token, _)| *token != u32::MAX),
            );
            starts.push(tokens.len());
        }
        Self { starts, tokens, frequencies }
    }

    fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    fn row(&self, row: usize) -> &[(u32, u32)] {
        &self.tokens[self.starts[row]..self.starts[row + 1]]
    }

    /// The log probability of each label (column) for each text (row) by naive Bayes over the presence of tokens, up to a
    /// constant a row; the text's own counts are taken out. Smoothed with 1/2 (Krichevsky and Trofimov 1981).
    pub fn naive_bayes(&self, labels: &[Option<u32>], count: usize) -> Matrix {
        let words = self.frequencies.len();
        let mut counts = vec![0.0f32; words * count];
        let (mut totals, mut records) = (vec![0.0f32; count], vec![0.0f32; count]);
        for (row, label) in labels.iter().enumerate().take(self.rows()) {
            let Some(label) = label.map(|label| label as usize).filter(|label| *label < count) else { continue };
            self.row(row).iter().for_each(|(token, _)| counts[*token as usize * count + label] += 1.0);
            totals[label] += self.row(row).len() as f32;
            records[label] += 1.0;
        }
        let mut out = Matrix::zeros(self.rows(), count);
        let smooth = 0.5;
        let mut logs = vec![0.0f32; count];
        for row in 0..self.rows() {
            let own = labels.get(row).copied().flatten().map_or(usize::MAX, |label| label as usize);
            let tokens = self.row(row);
            for (label, log) in logs.iter_mut().enumerate() {
                let mine = if label == own { tokens.len() as f32 } else { 0.0 };
                *log = (totals[label] - mine + smooth * words as f32).ln();
            }
            for (label, value) in out.row_mut(row).iter_mut().enumerate() {
                let mine = if label == own { 1.0 } else { 0.0 };
                *value = (records[label] - mine + 1.0).ln();
                for (token, _) in tokens {
                    *value += (counts[*token as usize * count + label] - mine + smooth).ln() - logs[label];
                }
            }
        }
        out
    }

    /// The value of each label (column) for each text (row) by ridge regression on TF-IDF rows of length 1, fitted by dual
    /// coordinate descent (Hsieh et al. 2008) on the other folds. Time: folds x walks x tokens x labels.
    pub fn regression(&self, labels: &[Option<u32>], count: usize, seed: u64) -> Matrix {
        let weights = self.weights();
        let rows = self.rows();
        let mut random = Random::new(seed);
        let folds: Vec<usize> = (0..rows).map(|_| random.below(FOLDS)).collect();
        let mut out = Matrix::zeros(rows, count);
        let mut order: Vec<usize> = (0..rows).collect();
        for fold in 0..FOLDS {
            let mut model = vec![0.0f32; self.frequencies.len() * count];
            let (mut dual, mut values) = (vec![0.0f32; rows * count], vec![0.0f32; count]);
            let mut bias = vec![0.0f32; count];
            let mut seen = 0.0f32;
            for (row, label) in labels.iter().enumerate().take(rows).filter(|(row, _)| folds[*row] != fold) {
                let _ = row;
                if let Some(mean) = label.and_then(|label| bias.get_mut(label as usize)) {
                    *mean += 1.0;
                    seen += 1.0;
                }
            }
            bias.iter_mut().for_each(|mean| *mean /= seen.max(1.0));
            for _ in 0..WALKS {
                random.shuffle(&mut order);
                for row in order.iter().copied().filter(|row| folds[*row] != fold) {
                    let Some(label) = labels.get(row).copied().flatten() else { continue };
                    self.apply(row, &weights, &model, &mut values);
                    for (at, value) in values.iter_mut().enumerate() {
                        let target = if at == label as usize { 1.0 } else { 0.0 } - bias[at];
                        let dual = &mut dual[row * count + at];
                        let step = (target - *value - PENALTY * *dual) / (1.0 + PENALTY);
                        *dual += step;
                        *value = step;
                    }
                    for ((token, _), weight) in self.row(row).iter().zip(&weights[self.starts[row]..]) {
                        let to = &mut model[*token as usize * count..(*token as usize + 1) * count];
                        to.iter_mut().zip(&values).for_each(|(model, step)| *model += step * weight);
                    }
                }
            }
            for row in (0..rows).filter(|row| folds[*row] == fold) {
                self.apply(row, &weights, &model, &mut values);
                let filled = out.row_mut(row).iter_mut().zip(&values).zip(&bias);
                filled.for_each(|((out, value), bias)| *out = value + bias);
            }
        }
        out
    }

    /// The products of a text with the model of each label.
    fn apply(&self, row: usize, weights: &[f32], model: &[f32], values: &mut [f32]) {
        values.fill(0.0);
        for ((token, _), weight) in self.row(row).iter().zip(&weights[self.starts[row]..]) {
            let from = &model[*token as usize * values.len()..(*token as usize + 1) * values.len()];
            values.iter_mut().zip(from).for_each(|(value, model)| *value += model * weight);
        }
    }

    /// TF-IDF weights of all tokens, every text of length 1.
    fn weights(&self) -> Vec<f32> {
        let records = self.rows() as f32;
        let mut out = Vec::with_capacity(self.tokens.len());
        for row in 0..self.rows() {
            let from = out.len();
            out.extend(self.row(row).iter().map(|(token, count)| {
                (1.0 + (*count as f32).ln())
                    * (1.0 + ((1.0 + records) / (1.0 + self.frequencies[*token as usize] as f32)).ln())
            }));
            let norm = out[from..].iter().map(|weight| weight * weight).sum::<f32>().sqrt();
            out[from..].iter_mut().for_each(|weight| *weight /= norm);
        }
        out
    }
}

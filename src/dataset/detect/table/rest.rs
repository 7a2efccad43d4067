//! What the rest of a record says about its label: everything but some columns.

use crate::dataset::detect::table::gather::{Gathered, Kind};
use crate::dataset::detect::table::matrix::Matrix;
use crate::dataset::detect::table::nearest::nearest;
use crate::dataset::detect::table::pool::{pool, probabilities_of};
use crate::dataset::detect::table::random::Random;
use crate::dataset::detect::table::vectors::{Vectors, vectors};

/// Neighbours asked.
const NEIGHBOURS: usize = 15;
/// Bins of a number column: tenths; words share 32 bins.
const TENTHS: usize = 10;
const BINS: usize = 33;
/// Records that the weights of the two models are fitted on.
const FITTED: usize = 1_000;

/// Two models that can do without any columns: nearest neighbours, and naive Bayes over binned columns.
/// Memory: records x (columns x 1 B + dims x 4 B + labels x 4 B), columns x labels x 132 B.
pub struct Rest<'a> {
    of: &'a Gathered,
    labels: usize,
    vectors: Vectors,
    /// The bin of each cell, row by row.
    bins: Vec<u8>,
    /// The logarithm of the share of a bin among the records of a label: columns x bins x labels.
    logs: Vec<f32>,
    prior: Vec<f32>,
    /// Weights of neighbours and of naive Bayes.
    weights: Vec<f64>,
}

impl<'a> Rest<'a> {
    /// Prepares both models and weighs them by how well they predict.
    pub fn new(of: &'a Gathered, prior: &[f64], seed: u64) -> Self {
        let labels = prior.len();
        let mut rest = Self {
            of,
            labels,
            vectors: vectors(of),
            bins: bins(of),
            logs: Vec::new(),
            prior: prior.iter().map(|p| *p as f32).collect(),
            weights: vec![1.0, 0.0],
        };
        rest.logs = rest.learn();
        let mut rows: Vec<usize> = (0..of.len()).filter(|row| rest.label(*row).is_some()).collect();
        Random::new(seed).shuffle(&mut rows);
        rows.truncate(FITTED);
        let given: Vec<Option<u32>> = rows.iter().map(|row| of.labels[*row]).collect();
        rest.weights = pool(&rest.models(&rows, &[], 4 * FITTED, seed), &given, labels).1;
        rest
    }

    fn label(&self, row: usize) -> Option<usize> {
        self.of.labels.get(row).copied().flatten().map(|label| label as usize).filter(|label| *label < self.labels)
    }

    /// The probability of `label` for each of `rows`, from all but `columns`, neighbours being searched in a sample.
    pub fn expected(&self, rows: &[usize], columns: &[usize], label: usize, sample: usize, seed: u64) -> Vec<f64> {
        let models = self.models(rows, columns, sample, seed);
        let mut values = vec![0.0f32; self.labels];
        let each = (0..rows.len()).map(|at| {
            probabilities_of(&models, &self.weights, at, &mut values);
            f64::from(values.get(label).copied().unwrap_or(0.0))
        });
        each.collect()
    }

    /// About the logarithm of the probability of each label, by neighbours and by naive Bayes.
    fn models(&self, rows: &[usize], columns: &[usize], sample: usize, seed: u64) -> Vec<Matrix> {
        // Carriers of a pattern stay among the records asked: honest ones resemble each other in the rest, triggered ones do not.
        let mut reference: Vec<usize> = (0..self.of.len()).filter(|row| self.label(*row).is_some()).collect();
        if reference.len() > sample {
            Random::new(seed).shuffle(&mut reference);
            reference.truncate(sample);
        }
        let all: Vec<usize> = rows.iter().chain(&reference).copied().collect();
        let dense = self.vectors.without(columns, &all);
        // One more, for the row itself may be among the reference.
        let found = nearest(&dense, rows.len(), NEIGHBOURS + 1, |at| at >= rows.len());
        let (mut near, mut bayes) = (Matrix::zeros(rows.len(), self.labels), Matrix::zeros(rows.len(), self.labels));
        for (at, row) in rows.iter().enumerate() {
            let values = near.row_mut(at);
            values.copy_from_slice(&self.prior);
            let others = found.of(at).map(|(_, other)| all[other]).filter(|other| other != row).take(NEIGHBOURS);
            others.filter_map(|other| self.label(other)).for_each(|label| values[label] += 1.0);
            values.iter_mut().for_each(|value| *value = (*value / (NEIGHBOURS + 1) as f32).max(1e-3).ln());
            self.add_bayes(*row, columns, bayes.row_mut(at));
        }
        vec![near, bayes]
    }

    fn add_bayes(&self, row: usize, without: &[usize], out: &mut [f32]) {
        out.iter_mut().zip(&self.prior).for_each(|(out, prior)| *out = prior.max(1e-6).ln());
        let columns = self.of.kinds.len();
        for (column, bin) in self.bins[row * columns..(row + 1) * columns].iter().enumerate() {
            if !without.contains(&column) {
                let at = (column * BINS + usize::from(*bin)) * self.labels;
                out.iter_mut().zip(&self.logs[at..]).for_each(|(out, log)| *out += log);
            }
        }
    }

    fn learn(&self) -> Vec<f32> {
        let (columns, labels) = (self.of.kinds.len(), self.labels);
        let mut counts = vec![0.0f32; columns * BINS * labels];
        let mut totals = vec![0.0f32; labels];
        for (row, label) in (0..self.of.len()).filter_map(|row| Some((row, self.label(row)?))) {
            totals[label] += 1.0;
            for (column, bin) in self.bins[row * columns..(row + 1) * columns].iter().enumerate() {
                counts[(column * BINS + usize::from(*bin)) * labels + label] += 1.0;
            }
        }
        for values in counts.chunks_exact_mut(labels.max(1)) {
            // Smoothed towards the bin's share of all.
            let all = values.iter().sum::<f32>() / totals.iter().sum::<f32>().max(1.0);
            values
                .iter_mut()
                .zip(&totals)
                .for_each(|(value, total)| *value = ((*value + 5.0 * all + 0.05) / (total + 6.65)).ln());
        }
        counts
    }
}

/// The bin of each cell: the tenth of a number, a hash of a word; the last one for missing values.
fn bins(of: &Gathered) -> Vec<u8> {
    let columns = of.kinds.len();
    let mut out = vec![BINS as u8 - 1; of.len() * columns];
    for (column, kind) in of.kinds.iter().enumerate() {
        let cells = || (0..of.len()).map(|row| of.row(row).get(column).copied().unwrap_or(0));
        let mut sorted: Vec<f32> = Vec::new();
        if *kind == Kind::Number {
            sorted = cells().filter_map(Gathered::number).collect();
            sorted.sort_unstable_by(f32::total_cmp);
        }
        let mut edges: Vec<f32> =
            (1..TENTHS).filter_map(|tenth| sorted.get(tenth * sorted.len() / TENTHS).copied()).collect();
        edges.dedup();
        for (row, cell) in cells().enumerate() {
            let number = Gathered::number(cell).filter(|_| *kind == Kind::Number);
            let word = Some(cell).filter(|cell| *kind == Kind::Word && *cell != 0);
            let bin = number
                .map(|n| edges.partition_point(|edge| *edge <= n))
                .or(word.map(|w| (w >> 1) as usize % (BINS - 1)));
            if let (Some(bin), Some(place)) = (bin, out.get_mut(row * columns + column)) {
                *place = bin as u8;
            }
        }
    }
    out
}

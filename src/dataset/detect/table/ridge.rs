//! Ridge regression on labels over random features, each record predicted without itself.
//!
//! Features: a constant, the vector and [`FEATURES`] rectified random projections of it (random features of the arc-cosine
//! kernel: Cho and Saul 2009, Rahimi and Recht 2007). Fitted on at most [`FITTED`] records by lot. Those of them are predicted without
//! themselves by y - (y - f) / (1 - h), with h from the hat matrix (Allen 1974, PRESS), so no folds are needed; the others took no part.
//! Time: about rows x dims x [`FEATURES`] + fitted x D^2; memory: D^2 x 20 B + 1024 x D x 8 B, D < 1600.

use crate::dataset::detect::table::matrix::{Matrix, Packed, add_gram, dot, inverse_root, product};
use crate::dataset::detect::table::random::Random;

/// Random projections at most; half of them for vectors of [`WIDE`] numbers or more (those of text), which they add little to.
const FEATURES: usize = 512;
const WIDE: usize = 256;
/// Vectors longer than this are not features themselves: their projections stand for them.
const LINEAR: usize = 1024;
/// Records that the regression is fitted on, at most.
const FITTED: usize = 16_384;
/// Rows whose features are in memory at a time.
const BLOCK: usize = 1024;
/// Penalties that are tried, as shares of the records.
const PENALTIES: [f64; 4] = [0.0003, 0.003, 0.03, 0.3];

/// The regression value of every record (row) for every label (column), predicted without the record's own label: about the
/// probability of the label. `None` when there is nothing to learn from.
pub fn leave_one_out(vectors: &Matrix, labels: &[Option<u32>], count: usize, seed: u64) -> Option<Matrix> {
    let rows = vectors.rows();
    if rows < 20 || vectors.dims == 0 || labels.len() != rows {
        return None;
    }
    let label = |row: usize| labels[row].map(|label| label as usize).filter(|label| *label < count);
    let mut fitted: Vec<usize> = (0..rows).filter(|row| label(*row).is_some()).collect();
    if fitted.len() > FITTED {
        Random::new(seed).shuffle(&mut fitted);
        fitted.truncate(FITTED);
        fitted.sort_unstable();
    }
    let most = if vectors.dims < WIDE { FEATURES } else { FEATURES / 2 };
    let map = Map::new(vectors, (rows / 6).clamp(8, most), seed);
    let size = map.size;
    let mut sums = vec![0.0f64; size * size];
    // Sum of the features of the records of each label.
    let mut totals = vec![0.0f64; count * size];
    for part in fitted.chunks(BLOCK) {
        let features = map.features(&vectors.select(part));
        for (at, label) in part.iter().filter_map(|row| label(*row)).enumerate() {
            let total = &mut totals[label * size..(label + 1) * size];
            total.iter_mut().zip(features.row(at)).for_each(|(t, f)| *t += f64::from(*f));
        }
        add_gram(&features, &mut sums);
    }
    // The label of a row that took part.
    let mut own = vec![None; rows];
    fitted.iter().for_each(|row| own[*row] = label(*row));
    let own_of = |part: &[usize]| part.iter().map(|row| own[*row]).collect::<Vec<_>>();
    let mut best: Option<(f64, Solution)> = None;
    let probed = &fitted[..fitted.len().min(2 * BLOCK)];
    let (probe, given) = (map.features(&vectors.select(probed)), own_of(probed));
    for penalty in PENALTIES {
        let Some(solution) = Solution::new(&sums, &totals, size, count, penalty * fitted.len() as f64) else {
            continue;
        };
        let fit = solution.predict(&probe, &given);
        let error: f64 = given.iter().enumerate().filter_map(|(at, label)| Some(miss(fit.row(at), (*label)?))).sum();
        if best.as_ref().is_none_or(|(least, _)| error < *least) {
            best = Some((error, solution));
        }
    }
    let (_, solution) = best?;
    let mut out = Matrix::zeros(rows, count);
    let (inside, outside): (Vec<usize>, Vec<usize>) = (0..rows).partition(|row| own[*row].is_some());
    for part in inside.chunks(BLOCK).chain(outside.chunks(BLOCK)) {
        let fit = solution.predict(&map.features(&vectors.select(part)), &own_of(part));
        part.iter().enumerate().for_each(|(at, row)| out.row_mut(*row).copy_from_slice(fit.row(at)));
    }
    Some(out)
}

/// The squared distance from the one-hot of `label`.
fn miss(values: &[f32], label: usize) -> f64 {
    let target = |at: usize| if at == label { 1.0 } else { 0.0 };
    values.iter().enumerate().map(|(at, value)| (f64::from(*value) - target(at)).powi(2)).sum()
}

/// From vectors to features.
struct Map {
    /// One row a projection.
    directions: Packed,
    offsets: Vec<f32>,
    linear: usize,
    size: usize,
}

impl Map {
    fn new(vectors: &Matrix, projections: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let dims = vectors.dims;
        let square = vectors.data.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / vectors.rows().max(1) as f64;
        // Projections of an average vector then have variance 1.
        let scale = if square > 0.0 { 1.0 / square.sqrt() } else { 1.0 };
        let data = (0..projections * dims).map(|_| (random.normal() * scale) as f32).collect();
        let offsets = (0..projections).map(|_| random.normal() as f32).collect();
        let linear = if dims <= LINEAR { dims } else { 0 };
        Self { directions: Packed::new(&Matrix { dims, data }), offsets, linear, size: 1 + linear + projections }
    }

    fn features(&self, vectors: &Matrix) -> Matrix {
        let projected = product(vectors, &self.directions);
        let mut out = Matrix::zeros(vectors.rows(), self.size);
        for row in 0..vectors.rows() {
            let target = out.row_mut(row);
            target[0] = 1.0;
            target[1..=self.linear].copy_from_slice(&vectors.row(row)[..self.linear]);
            let rectified =
                projected.row(row).iter().zip(&self.offsets).map(|(value, offset)| (value + offset).max(0.0));
            target[1 + self.linear..].iter_mut().zip(rectified).for_each(|(t, v)| *t = v);
        }
        out
    }
}

/// A fitted regression.
struct Solution {
    /// The root of the inverse of the penalised sums of squares.
    root: Packed,
    /// A row of weights a label.
    weights: Packed,
}

impl Solution {
    fn new(sums: &[f64], totals: &[f64], size: usize, count: usize, penalty: f64) -> Option<Self> {
        let mut penalised = sums.to_vec();
        let mean = (1..size).map(|at| sums[at * size + at]).sum::<f64>() / sums[0].max(1.0) / size as f64;
        for at in 0..size {
            penalised[at * size + at] += if at == 0 { 1e-3 } else { (penalty * mean).max(1e-6) };
        }
        let root = inverse_root(&penalised, size)?;
        let mut weights = Matrix::zeros(count, size);
        for label in 0..count {
            let total = totals.get(label * size..(label + 1) * size)?;
            // The transpose of the root times (the root times the totals).
            let mut sums = vec![0.0f64; size];
            for (at, row) in root.chunks_exact(size).enumerate() {
                let along: f64 = row[..=at].iter().zip(total).map(|(a, b)| a * b).sum();
                sums.iter_mut().zip(&row[..=at]).for_each(|(sum, value)| *sum += along * value);
            }
            weights.row_mut(label).iter_mut().zip(sums).for_each(|(weight, sum)| *weight = sum as f32);
        }
        let single = Matrix { dims: size, data: root.iter().map(|value| *value as f32).collect() };
        Some(Self { root: Packed::lower(&single), weights: Packed::new(&weights) })
    }

    /// Predictions for rows of features, those that took part (and have a label in `own`) without their labels.
    fn predict(&self, features: &Matrix, own: &[Option<usize>]) -> Matrix {
        let mut out = product(features, &self.weights);
        if own.iter().all(Option::is_none) {
            return out;
        }
        let spread = product(features, &self.root);
        for (row, label) in own.iter().enumerate().filter_map(|(row, label)| Some((row, (*label)?))) {
            let leverage = dot(spread.row(row), spread.row(row)).clamp(0.0, 0.99);
            for (at, value) in out.row_mut(row).iter_mut().enumerate() {
                let own = if at == label { 1.0 } else { 0.0 };
                *value = (*value - leverage * own) / (1.0 - leverage);
            }
        }
        out
    }
}

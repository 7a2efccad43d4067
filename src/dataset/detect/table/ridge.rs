//! Ridge regression on labels over random features, each record predicted without itself.
//!
//! Features: a constant, the vector and [`FEATURES`] rectified random projections of it (random features of the arc-cosine
//! kernel: Cho and Saul 2009, Rahimi and Recht 2007). Without itself: y - (y - f) / (1 - h), with h from the hat matrix
//! (Allen 1974, PRESS), so no folds are needed. Time: about rows x dims x D + 2 rows x D^2; memory: D^2 x 20 B + 1024 x D x 8 B, D < 1600.

use crate::dataset::detect::table::matrix::{Matrix, Packed, dot, gram, inverse, product};
use crate::dataset::detect::table::random::Random;

/// Random projections at most.
const FEATURES: usize = 512;
/// Vectors longer than this are not features themselves: their projections stand for them.
const LINEAR: usize = 1024;
/// Rows whose features are in memory at a time.
const BLOCK: usize = 1024;
/// Penalties that are tried, as shares of the records.
const PENALTIES: [f64; 4] = [0.0003, 0.003, 0.03, 0.3];

/// The regression value of every record (row) for every label (column), predicted without the record's own label: about the
/// probability of the label. `None` when there is nothing to learn from.
pub fn leave_one_out(vectors: &Matrix, labels: &[Option<u32>], count: usize, seed: u64) -> Option<Matrix> {
    let rows = vectors.rows();
    if rows < 20 || vectors.dims == 0 {
        return None;
    }
    let map = Map::new(vectors, (rows / 6).clamp(8, FEATURES), seed);
    let size = map.size;
    let blocks = || (0..rows).step_by(BLOCK).map(|from| (from, (from + BLOCK).min(rows)));
    let mut sums = vec![0.0f64; size * size];
    // Sum of the features of the records of each label.
    let mut totals = vec![0.0f64; count * size];
    let mut known = 0usize;
    for (from, to) in blocks() {
        let mut features = map.features(vectors, from, to);
        for (row, label) in (from..to).zip(labels.get(from..to)?) {
            match label.and_then(|label| totals.get_mut(label as usize * size..(label as usize + 1) * size)) {
                Some(total) => {
                    known += 1;
                    total.iter_mut().zip(features.row(row - from)).for_each(|(t, f)| *t += f64::from(*f));
                }
                None => features.row_mut(row - from).fill(0.0),
            }
        }
        sums.iter_mut().zip(gram(&features)).for_each(|(total, part)| *total += part);
    }
    let mut best: Option<(f64, Solution)> = None;
    let probe = map.features(vectors, 0, rows.min(2 * BLOCK));
    for penalty in PENALTIES {
        let Some(solution) = Solution::new(&sums, &totals, size, count, penalty * known as f64) else { continue };
        let fit = solution.predict(&probe, labels, count);
        let error: f64 = (0..probe.rows()).filter_map(|row| Some(miss(fit.row(row), labels.get(row).copied()??))).sum();
        if best.as_ref().is_none_or(|(least, _)| error < *least) {
            best = Some((error, solution));
        }
    }
    let (_, solution) = best?;
    let mut out = Matrix { dims: count, data: Vec::with_capacity(rows * count) };
    for (from, to) in blocks() {
        out.data.extend(solution.predict(&map.features(vectors, from, to), labels.get(from..to)?, count).data);
    }
    Some(out)
}

/// The squared distance from the one-hot of `label`.
fn miss(values: &[f32], label: u32) -> f64 {
    let target = |at: usize| if at == label as usize { 1.0 } else { 0.0 };
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

    fn features(&self, vectors: &Matrix, from: usize, to: usize) -> Matrix {
        let part = Matrix { dims: vectors.dims, data: vectors.data[from * vectors.dims..to * vectors.dims].to_vec() };
        let projected = product(&part, &self.directions);
        let mut out = Matrix::zeros(to - from, self.size);
        for row in 0..to - from {
            let target = out.row_mut(row);
            target[0] = 1.0;
            target[1..=self.linear].copy_from_slice(&part.row(row)[..self.linear]);
            let rectified =
                projected.row(row).iter().zip(&self.offsets).map(|(value, offset)| (value + offset).max(0.0));
            target[1 + self.linear..].iter_mut().zip(rectified).for_each(|(t, v)| *t = v);
        }
        out
    }
}

/// A fitted regression.
struct Solution {
    /// The inverse of the penalised sums of squares.
    inverse: Packed,
    /// A row of weights a label.
    weights: Matrix,
}

impl Solution {
    fn new(sums: &[f64], totals: &[f64], size: usize, count: usize, penalty: f64) -> Option<Self> {
        let mut penalised = sums.to_vec();
        let mean = (1..size).map(|at| sums[at * size + at]).sum::<f64>() / sums[0].max(1.0) / size as f64;
        for at in 0..size {
            penalised[at * size + at] += if at == 0 { 1e-3 } else { (penalty * mean).max(1e-6) };
        }
        let inverse = inverse(&penalised, size)?;
        let mut weights = Matrix::zeros(count, size);
        for label in 0..count {
            let total = totals.get(label * size..(label + 1) * size)?;
            for (row, weight) in inverse.chunks_exact(size).zip(weights.row_mut(label)) {
                *weight = row.iter().zip(total).map(|(a, b)| a * b).sum::<f64>() as f32;
            }
        }
        let single = Matrix { dims: size, data: inverse.iter().map(|value| *value as f32).collect() };
        Some(Self { inverse: Packed::new(&single), weights })
    }

    /// Predictions for rows of features, each without its own label.
    fn predict(&self, features: &Matrix, labels: &[Option<u32>], count: usize) -> Matrix {
        let spread = product(features, &self.inverse);
        let mut out = product(features, &Packed::new(&self.weights));
        for row in 0..features.rows() {
            let Some(Some(label)) = labels.get(row) else { continue };
            if *label as usize >= count {
                continue;
            }
            let leverage = dot(spread.row(row), features.row(row)).clamp(0.0, 0.99);
            for (at, value) in out.row_mut(row).iter_mut().enumerate() {
                let own = if at == *label as usize { 1.0 } else { 0.0 };
                *value = (*value - leverage * own) / (1.0 - leverage);
            }
        }
        out
    }
}

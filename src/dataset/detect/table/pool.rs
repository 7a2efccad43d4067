//! One probability from several models.

use crate::dataset::detect::table::matrix::Matrix;

/// Probabilities are not taken below this.
const LEAST: f32 = 1e-4;
/// Records that the weights are fitted on, at most, evenly spread.
const FITTED: usize = 20_000;

/// Pools models: the probability of a label is in proportion to the product of exp(weight x score) over the models
/// (logarithmic opinion pool, Genest and Zidek 1986), weights >= 0 fitted to the labels by Newton's method with
/// a small penalty. Each model must have scored each record without its label. Gives rows x labels probabilities and the weights.
pub fn pool(models: &[Matrix], labels: &[Option<u32>], count: usize) -> (Matrix, Vec<f64>) {
    let rows = labels.len();
    let mut weights: Vec<f64> = models.iter().map(|model| start(model, labels)).collect();
    let step = rows.div_ceil(FITTED).max(1);
    let fitted: Vec<(usize, usize)> = (0..rows)
        .step_by(step)
        .filter_map(|row| Some((row, labels.get(row).copied()?? as usize)).filter(|(_, label)| *label < count))
        .collect();
    let mut probabilities = vec![0.0f32; count];
    let size = models.len();
    for _ in 0..25 {
        let (mut slope, mut bend) = (vec![0.0f64; size], vec![0.0f64; size]);
        for (row, label) in &fitted {
            probabilities_of(models, &weights, *row, &mut probabilities);
            for (at, model) in models.iter().enumerate() {
                let scores = model.row(*row);
                let mean: f64 = scores.iter().zip(&probabilities).map(|(s, p)| f64::from(s * p)).sum();
                let square: f64 = scores.iter().zip(&probabilities).map(|(s, p)| f64::from(s * s * p)).sum();
                slope[at] += f64::from(scores[*label]) - mean;
                bend[at] += (square - mean * mean).max(0.0);
            }
        }
        // Diagonal Newton, damped by the number of models that share the slope.
        for at in 0..size {
            let change = slope[at] / (bend[at] * size as f64 + 1e-6);
            weights[at] = (weights[at] + change.clamp(-weights[at].max(0.1), weights[at].max(0.1))).max(0.0);
        }
    }
    let mut out = Matrix::zeros(rows, count);
    for row in 0..rows {
        probabilities_of(models, &weights, row, out.row_mut(row));
    }
    (out, weights)
}

/// A weight that brings the scores of a model to about the scale of logarithms of probabilities.
fn start(model: &Matrix, labels: &[Option<u32>]) -> f64 {
    let rows = labels.len().min(model.rows()).max(1);
    let spread: f64 = (0..rows)
        .map(|row| {
            let scores = model.row(row);
            let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let least = scores.iter().copied().fold(f32::INFINITY, f32::min);
            f64::from(most - least)
        })
        .sum::<f64>()
        / rows as f64;
    if spread > 0.0 && spread.is_finite() { 1.0 / spread } else { 0.0 }
}

/// The pooled probabilities of one row, written to `out`.
pub fn probabilities_of(models: &[Matrix], weights: &[f64], row: usize, out: &mut [f32]) {
    out.fill(0.0);
    for (model, weight) in models.iter().zip(weights) {
        out.iter_mut().zip(model.row(row)).for_each(|(out, score)| *out += *weight as f32 * score);
    }
    let most = out.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    out.iter_mut().for_each(|out| *out = (*out - most).exp().max(LEAST));
    let sum: f32 = out.iter().sum();
    out.iter_mut().for_each(|out| *out /= sum);
}

//! D6: labels that everything else about a record speaks against.
//!
//! Several models predict each record's label without that label: the distance-weighted share of its nearest neighbours,
//! ridge regression over random features, and, for text, naive Bayes and a linear model of words. Their predictions are pooled
//! to one probability of each label; a record's suspicion is 1 - the probability of its own (as in Northcutt et al. 2021,
//! "Confident Learning", which takes the probabilities of one cross-validated model).

use crate::dataset::detect::example::{Detector, Example, Finding};
use crate::dataset::detect::table::gather::{Gathered, Settings as Bounds};
use crate::dataset::detect::table::matrix::Matrix;
use crate::dataset::detect::table::nearest::{Neighbours, neighbours};
use crate::dataset::detect::table::pool::pool;
use crate::dataset::detect::table::ridge::leave_one_out;
use crate::dataset::detect::table::text_models::Texts;
use crate::dataset::detect::table::vectors::vectors;

/// Bars and bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Neighbours asked.
    pub neighbours: usize,
    /// Flagged when another label's probability exceeds the own label's by this much, and
    pub margin: f32,
    /// lies this far between the mean probability that records of that label have of it, and 1.
    /// The mean adapts the bar to how well labels can be told apart at all.
    pub above_mean: f32,
    /// What is kept of the records.
    pub bounds: Bounds,
}

impl Default for Settings {
    /// Chosen by looking at the development sets: clean labels are flagged less than half as often as by cleanlab 2.9.0, but for
    /// sets where cleanlab flags under 0.4 %.
    fn default() -> Self {
        Self { neighbours: 10, margin: 0.65, above_mean: 0.15, bounds: Bounds::default() }
    }
}

/// What the models say about one labelled record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The record.
    pub record: u64,
    /// Who supplied it.
    pub contributor: Option<u32>,
    /// Its label.
    pub label: u32,
    /// The label most likely without it.
    pub predicted: u32,
    /// The probability of `predicted`.
    pub certainty: f32,
    /// 1 - the probability of `label`: the ranking.
    pub suspicion: f32,
    /// Whether it passes the bars.
    pub flagged: bool,
}

/// Gathers records in one pass. Memory: as [`Gathered`], and in `finish` records x (dims + neighbours x 2 + labels x models) x 4 B.
/// Time: in proportion to the records, beyond some thousands; on two threads.
#[derive(Clone, Debug)]
pub struct LabelNoise {
    gathered: Gathered,
    labels: usize,
    settings: Settings,
    seed: u64,
}

impl LabelNoise {
    /// A detector for labels `0..labels`.
    pub fn new(labels: usize, settings: Settings, seed: u64) -> Self {
        Self { gathered: Gathered::new(settings.bounds, seed), labels, settings, seed }
    }

    /// Scores of all kept records that have a label, in the order of the records.
    pub fn scores(&self) -> Vec<Score> {
        let of = &self.gathered;
        let models = self.models();
        let pooled = pool(&models, &of.labels, self.labels).0;
        let own = |row: usize| of.labels.get(row).copied().flatten().filter(|label| (*label as usize) < self.labels);
        // Mean probability of each label among the records that have it.
        let (mut sums, mut counts) = (vec![0.0f64; self.labels], vec![0.0f64; self.labels]);
        for row in 0..of.len() {
            if let Some(label) = own(row).map(|label| label as usize) {
                sums[label] += f64::from(pooled.row(row)[label]);
                counts[label] += 1.0;
            }
        }
        let bar = |label: usize| {
            let mean = (sums[label] / f64::max(counts[label], 1.0)) as f32;
            mean + self.settings.above_mean * (1.0 - mean)
        };
        let score = |row: usize| {
            let label = own(row)?;
            let values = pooled.row(row);
            let (predicted, certainty) = values
                .iter()
                .copied()
                .enumerate()
                .fold((label as usize, -1.0), |best, new| if new.1 > best.1 { new } else { best });
            let mine = values.get(label as usize).copied()?;
            Some(Score {
                record: of.records.get(row).copied()?,
                contributor: of.contributors.get(row).copied().flatten(),
                label,
                predicted: predicted as u32,
                certainty,
                suspicion: 1.0 - mine,
                flagged: certainty - mine >= self.settings.margin && certainty >= bar(predicted),
            })
        };
        (0..of.len()).filter_map(score).collect()
    }

    /// The models' scores of each label (column) for each record (row): about logarithms of probabilities.
    fn models(&self) -> Vec<Matrix> {
        let (of, settings) = (&self.gathered, &self.settings);
        let dense = vectors(of).matrix;
        let labelled = |row: usize| of.labels.get(row).is_some_and(Option::is_some);
        let found = neighbours(&dense, settings.neighbours, labelled, self.seed);
        let mut models = vec![shares(&found, &of.labels, self.labels)];
        models.extend(leave_one_out(&dense, &of.labels, self.labels, self.seed));
        if of.has_text() {
            let texts = Texts::new(of);
            models.push(texts.naive_bayes(&of.labels, self.labels));
            models.push(texts.regression(&of.labels, self.labels, self.seed));
        }
        models
    }

    /// One finding for each pair of given and predicted label, most records first.
    pub fn findings(scores: &[Score]) -> Vec<Finding> {
        let mut flagged: Vec<&Score> = scores.iter().filter(|score| score.flagged).collect();
        flagged.sort_by_key(|score| (score.label, score.predicted, score.record));
        let mut out: Vec<Finding> = flagged
            .chunk_by(|a, b| (a.label, a.predicted) == (b.label, b.predicted))
            .filter_map(|same| {
                let first = same.first()?;
                Some(Finding {
                    detector: "label",
                    what: format!(
                        "{} records labelled {{label:{}}} look like {{label:{}}}: their neighbours and the rest of the data say so",
                        same.len(),
                        first.label,
                        first.predicted
                    ),
                    feature: String::new(),
                    score: f64::from(same.iter().map(|score| score.suspicion).sum::<f32>()) / same.len() as f64,
                    records: same.iter().map(|score| score.record).collect(),
                })
            })
            .collect();
        out.sort_by_key(|finding| std::cmp::Reverse(finding.records.len()));
        out
    }
}

impl Detector for LabelNoise {
    fn passes(&self) -> u32 {
        1
    }

    fn observe(&mut self, _pass: u32, example: &Example<'_>) {
        self.gathered.observe(example);
    }

    /// The score of a finding is the mean suspicion of its records.
    fn finish(self: Box<Self>) -> Vec<Finding> {
        Self::findings(&self.scores())
    }
}

/// The logarithm of the distance-weighted share of each label among the neighbours (Dudani 1976), smoothed with the shares of
/// all records.
fn shares(neighbours: &Neighbours, labels: &[Option<u32>], count: usize) -> Matrix {
    let mut prior = vec![0.0f32; count];
    for label in labels.iter().flatten() {
        if let Some(prior) = prior.get_mut(*label as usize) {
            *prior += 1.0;
        }
    }
    let total: f32 = prior.iter().sum::<f32>().max(1.0);
    let mut out = Matrix::zeros(labels.len(), count);
    for row in 0..labels.len() {
        let values = out.row_mut(row);
        let furthest = neighbours.of(row).map(|(distance, _)| distance).fold(0.0, f32::max).sqrt();
        let mut sum = 0.0;
        for (distance, other) in neighbours.of(row) {
            let weight = 1.0 / (0.2 + if furthest > 0.0 { distance.sqrt() / furthest } else { 0.0 });
            let label = labels.get(other).copied().flatten();
            if let Some(value) = label.and_then(|label| values.get_mut(label as usize)) {
                *value += weight;
                sum += weight;
            }
        }
        for (value, prior) in values.iter_mut().zip(&prior) {
            *value = ((*value + prior / total + 0.02) / (sum + 1.0 + 0.02 * count as f32)).ln();
        }
    }
    out
}

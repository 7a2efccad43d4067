//! D9: which records are odd, as rankings. They say where to look first; they are no findings: every dataset has its oddest record.
//!
//! `spectral`: how far a record lies along the direction in which those of its label differ most (spectral signatures, Tran, Li and Madry,
//! 2018), both centred on the mean of the label. `rare-words`: the share of its words and pairs of words that no other record has.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::dataset::detect::example::{Detector, Example, Finding};
use crate::dataset::detect::table::gather::{Gathered, Settings, TOKEN_BUCKETS};
use crate::dataset::detect::table::matrix::{Matrix, dot};
use crate::dataset::detect::table::random::Random;
use crate::dataset::detect::table::vectors::vectors;

/// Steps towards the direction: each brings it nearer by the ratio of the two largest variances.
const STEPS: usize = 40;
/// Records of a label, and words of a record, below which nothing is said.
const FEWEST: usize = 10;

/// Records of one ranking with their scores, the oddest first.
pub type Ranked = (&'static str, Vec<(u64, f64)>);
/// Of all rankings, when all records were seen.
pub type Rankings = Rc<RefCell<Vec<Ranked>>>;

/// Where rankings are told.
#[derive(Clone)]
pub struct Ranks {
    /// So many records of each, the oddest.
    pub most: usize,
    /// All of them.
    pub told: Rankings,
}

impl Ranks {
    /// Tells one, of records with their scores.
    pub fn tell(&self, name: &'static str, mut all: Vec<(u64, f64)>) {
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all.truncate(self.most);
        self.told.borrow_mut().push((name, all));
    }
}

/// What the scores of a ranking are.
pub fn what_is(ranking: &str) -> &'static str {
    match ranking {
        "label" => "1 - the probability of its label, by models that learned from all other records",
        "spectral" => "distance along the direction in which records of the label differ most, squared; 1 is the mean",
        _ => "share of its words and pairs of words that no other record has",
    }
}

/// Gathers records in one pass; never finds anything. Memory: as [`Gathered`], and its vectors.
pub struct Ranking {
    gathered: Gathered,
    seed: u64,
    ranks: Ranks,
}

impl Ranking {
    /// What it ranks goes to `ranks`.
    pub fn new(seed: u64, ranks: Ranks) -> Self {
        Self { gathered: Gathered::new(Settings::default(), seed), seed, ranks }
    }

    fn tell(&self, name: &'static str, scores: Vec<(usize, f64)>) {
        let number = |row: usize| self.gathered.records.get(row).copied().unwrap_or_default();
        self.ranks.tell(name, scores.into_iter().map(|(row, score)| (number(row), score)).collect());
    }
}

impl Detector for Ranking {
    fn passes(&self) -> u32 {
        1
    }

    fn observe(&mut self, _: u32, example: &Example<'_>) {
        self.gathered.observe(example);
    }

    fn finish(self: Box<Self>) -> Vec<Finding> {
        let all = vectors(&self.gathered).matrix;
        if all.dims > 0 {
            self.tell("spectral", spectral(&all, &self.gathered.labels, self.seed));
        }
        if self.gathered.has_text() {
            self.tell("rare-words", rare_words(&self.gathered));
        }
        Vec::new()
    }
}

/// The square of what each row has along the first principal direction of its label, against the mean of these squares.
fn spectral(all: &Matrix, labels: &[Option<u32>], seed: u64) -> Vec<(usize, f64)> {
    let mut by_label: BTreeMap<Option<u32>, Vec<usize>> = BTreeMap::new();
    (0..all.rows()).for_each(|row| by_label.entry(labels.get(row).copied().flatten()).or_default().push(row));
    let mut scores = Vec::with_capacity(all.rows());
    for rows in by_label.into_values().filter(|rows| rows.len() >= FEWEST) {
        let mut centred = all.select(&rows);
        let mut mean = vec![0.0_f64; all.dims];
        for row in 0..rows.len() {
            mean.iter_mut().zip(centred.row(row)).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        for row in 0..rows.len() {
            let of = centred.row_mut(row).iter_mut().zip(&mean);
            of.for_each(|(value, sum)| *value -= (*sum / rows.len() as f64) as f32);
        }
        let direction = first_direction(&centred, seed);
        let squares: Vec<f64> =
            (0..rows.len()).map(|row| f64::from(dot(centred.row(row), &direction)).powi(2)).collect();
        let mean = squares.iter().sum::<f64>() / rows.len() as f64;
        if mean > 0.0 && mean.is_finite() {
            scores.extend(rows.into_iter().zip(squares.into_iter().map(|square| square / mean)));
        }
    }
    scores
}

/// The direction of most variance of centred rows (power iteration).
fn first_direction(rows: &Matrix, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let mut direction: Vec<f32> = (0..rows.dims).map(|_| random.normal() as f32).collect();
    for _ in 0..STEPS {
        let mut next = vec![0.0_f64; rows.dims];
        for row in 0..rows.rows() {
            let along = f64::from(dot(rows.row(row), &direction));
            next.iter_mut().zip(rows.row(row)).for_each(|(sum, value)| *sum += along * f64::from(*value));
        }
        let length = next.iter().map(|v| v * v).sum::<f64>().sqrt();
        if length.partial_cmp(&0.0) != Some(Ordering::Greater) {
            break;
        }
        direction = next.iter().map(|v| (v / length) as f32).collect();
    }
    direction
}

fn rare_words(of: &Gathered) -> Vec<(usize, f64)> {
    // None, one, more.
    let mut records = vec![0_u8; TOKEN_BUCKETS as usize];
    for row in 0..of.len() {
        for (token, _) in of.tokens(row) {
            if let Some(count) = records.get_mut(token as usize) {
                *count = (*count + 1).min(2);
            }
        }
    }
    let share = |row: usize| {
        let all = of.tokens(row).count();
        let rare = of.tokens(row).filter(|(token, _)| records.get(*token as usize) == Some(&1)).count();
        (all >= FEWEST).then(|| (row, rare as f64 / all as f64))
    };
    (0..of.len()).filter_map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::detect::example::Cell;

    fn ranked(examples: &[(Vec<f64>, String)]) -> Vec<Ranked> {
        let rankings = Rankings::default();
        let mut ranking = Box::new(Ranking::new(1, Ranks { most: 5, told: Rc::clone(&rankings) }));
        for (record, (numbers, text)) in (0..).zip(examples) {
            let cells: Vec<_> = numbers.iter().map(|number| Cell::Number(*number)).collect();
            let label = Some((record % 2) as u32);
            ranking.observe(0, &Example { record, label, contributor: None, text, cells: &cells, image: None });
        }
        assert!(ranking.finish().is_empty(), "rankings are no findings");
        rankings.take()
    }

    #[test]
    fn what_lies_apart_from_its_label_comes_first() {
        let mut random = Random::new(3);
        let mut all: Vec<_> = (0..400)
            .map(|i| ((0..6).map(|_| f64::from(i % 2) * 9.0 + random.normal()).collect(), String::new()))
            .collect();
        for odd in [40, 41, 200] {
            all[odd].0 = vec![30.0, -30.0, 30.0, -30.0, 30.0, -30.0];
        }
        let ranked = ranked(&all);
        let first: Vec<_> = ranked[0].1.iter().take(3).map(|(record, _)| *record).collect();
        assert_eq!((ranked.len(), ranked[0].0), (1, "spectral"));
        assert!([40, 41, 200].iter().all(|odd| first.contains(odd)), "{ranked:?}");
        assert!(ranked[0].1[0].1 > 5.0 * ranked[0].1[4].1);
    }

    #[test]
    fn words_that_nobody_else_has_come_first() {
        let mut all: Vec<_> = (0..100)
            .map(|_| (vec![], "the plot was thin but the music and the light made up for it".to_owned()))
            .collect();
        all[17].1 = (0..20).map(|i| format!("zq{i}xv ")).collect();
        all[18].1 = "zz yy".into();
        let ranked = ranked(&all);
        let rare = &ranked.iter().find(|(name, _)| *name == "rare-words").unwrap().1;
        assert_eq!(rare[0], (17, 1.0));
        assert_eq!(rare[1].1, 0.0, "{rare:?}");
        assert!(rare.iter().all(|(record, _)| *record != 18), "two words tell nothing");
    }
}

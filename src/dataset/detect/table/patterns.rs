//! The search for values of one to three columns that go with one label more than the values do singly.

use crate::dataset::detect::table::gather::{Gathered, Kind};
use crate::dataset::detect::table::items::{Items, NONE};

/// Pairs and triples are looked for among as many columns as keep records x columns^2 below this.
const PAIR_WORK: usize = 1_500_000_000;
/// Pairs that are extended to triples.
const BEAM: usize = 400;
/// Pairs and triples that surprise by fewer standard deviations are not kept.
const LEAST: f64 = 3.0;
/// Columns of a pattern at most.
const WIDTH: usize = 3;

/// A pattern: items, a label, and how surprising it is before the rest of the records is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// Items, ascending.
    pub items: Vec<u32>,
    /// Items it was found by, before [`Search::closure`].
    pub found_by: usize,
    /// The label.
    pub label: usize,
    /// Standard deviations from what its parts have.
    pub score: f64,
}

/// Labels by item.
pub struct Search<'a> {
    of: &'a Gathered,
    items: &'a Items,
    labels: usize,
    /// The share of each label among all.
    pub prior: Vec<f64>,
    /// The share of each label among the records of each item: items x labels.
    shares: Vec<f64>,
}

/// Counts by item and label that are cleared after use, for they are many and mostly 0.
struct Scratch {
    counts: Vec<u32>,
    touched: Vec<u32>,
}

/// The logarithm of the odds, held within 1 : 10,000.
pub fn logit(p: f64) -> f64 {
    let p = p.clamp(1e-4, 1.0 - 1e-4);
    (p / (1.0 - p)).ln()
}

/// The inverse of [`logit`].
pub fn share_of(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// How far a share seen among `count` lies from an expected one: the signed root of twice the log likelihood ratio, about
/// standard deviations (Wilks 1938), good for small counts and shares too.
pub fn deviations(count: f64, seen: f64, expected: f64) -> f64 {
    let (seen, expected) = (seen.clamp(0.0, 1.0), expected.clamp(1e-6, 1.0 - 1e-6));
    let part = |p: f64, q: f64| if p > 0.0 { p * (p / q).ln() } else { 0.0 };
    let divergence = part(seen, expected) + part(1.0 - seen, 1.0 - expected);
    (2.0 * count * divergence.max(0.0)).sqrt().copysign(seen - expected)
}

impl<'a> Search<'a> {
    /// Counts the labels of all items.
    pub fn new(of: &'a Gathered, items: &'a Items, labels: usize) -> Self {
        let mut search = Self { of, items, labels, prior: Vec::new(), shares: Vec::new() };
        let mut prior = vec![0.5; labels];
        (0..of.len()).filter_map(|row| search.label(row)).for_each(|label| prior[label] += 1.0);
        let total: f64 = prior.iter().sum();
        prior.iter_mut().for_each(|p| *p /= total);
        search.prior = prior;
        let mut shares = vec![0.0; items.items.len() * labels];
        for (rows, shares) in items.rows.iter().zip(shares.chunks_exact_mut(labels.max(1))) {
            rows.iter().filter_map(|row| search.label(*row as usize)).for_each(|label| shares[label] += 1.0);
            let count = rows.len() as f64 + 1.0;
            shares.iter_mut().zip(&search.prior).for_each(|(share, prior)| *share = (*share + prior) / count);
        }
        search.shares = shares;
        search
    }

    /// The label of a row.
    pub fn label(&self, row: usize) -> Option<usize> {
        self.of.labels.get(row).copied().flatten().map(|label| label as usize).filter(|label| *label < self.labels)
    }

    fn share(&self, item: u32, label: usize) -> f64 {
        self.shares.get(item as usize * self.labels + label).copied().unwrap_or(0.0)
    }

    /// The `most` most surprising patterns with at least `support` carriers, a share of at least `purity` of which has the label.
    pub fn patterns(&self, support: usize, purity: f64, most: usize) -> Vec<Pattern> {
        let count = self.items.items.len() as u32;
        let mut out = Vec::new();
        for item in 0..count {
            for (label, prior) in self.prior.iter().enumerate() {
                let share = self.share(item, label);
                if share >= purity - 0.05 && share > *prior {
                    let near = self.share_beside(item, label).max(*prior);
                    let score = deviations(self.items.rows[item as usize].len() as f64, share, near);
                    out.push(Pattern { items: vec![item], found_by: 1, label, score });
                }
            }
        }
        let columns = self.paired_columns();
        let mut scratch = Scratch { counts: vec![0; self.items.items.len() * self.labels], touched: Vec::new() };
        let mut pairs = Vec::new();
        for item in (0..count).filter(|item| columns[self.items.items[*item as usize].column]) {
            self.extend(&[item], support, &columns, &mut scratch, &mut pairs);
            shorten(&mut pairs, 4 * BEAM);
        }
        best(&mut pairs, BEAM);
        let mut triples = Vec::new();
        for pair in &pairs {
            self.extend(&pair.items, support, &columns, &mut scratch, &mut triples);
            shorten(&mut triples, 4 * BEAM);
        }
        best(&mut triples, 2 * BEAM);
        triples.dedup_by(|a, b| a.items == b.items && a.label == b.label);
        out.extend(pairs.into_iter().chain(triples).filter(|pattern| self.purity(pattern) >= purity));
        best(&mut out, most);
        out
    }

    fn purity(&self, pattern: &Pattern) -> f64 {
        let carriers = self.items.carriers(&pattern.items);
        let with = carriers.iter().filter(|row| self.label(**row) == Some(pattern.label)).count();
        with as f64 / carriers.len().max(1) as f64
    }

    /// Columns in which pairs are looked for: all, or, where they are too many, those with the most telling single items.
    fn paired_columns(&self) -> Vec<bool> {
        let columns = self.of.kinds.len();
        let most = (PAIR_WORK / self.of.len().max(1)).isqrt();
        if columns <= most {
            return vec![true; columns];
        }
        let mut telling: Vec<(f64, usize)> = (0..columns).map(|column| (0.0, column)).collect();
        for (number, (item, rows)) in self.items.items.iter().zip(&self.items.rows).enumerate() {
            for (label, prior) in self.prior.iter().enumerate() {
                let score = deviations(rows.len() as f64, self.share(number as u32, label), *prior);
                telling[item.column].0 = telling[item.column].0.max(score);
            }
        }
        telling.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut out = vec![false; columns];
        telling.iter().take(most).for_each(|(_, column)| out[*column] = true);
        out
    }

    /// The share of the label among the records of the items next to `item` in a number column.
    fn share_beside(&self, item: u32, label: usize) -> f64 {
        let column = |item: u32| self.items.items.get(item as usize).map(|item| item.column);
        if column(item).and_then(|column| self.of.kinds.get(column)) != Some(&Kind::Number) {
            return 0.0;
        }
        let sides = [item.checked_sub(1), item.checked_add(1)];
        let same = sides.into_iter().flatten().filter(|beside| column(*beside) == column(item));
        same.map(|beside| self.share(beside, label)).fold(0.0, f64::max)
    }

    /// Adds every pattern of `items` and one more whose label share exceeds what its parts say when they are independent.
    fn extend(&self, items: &[u32], support: usize, columns: &[bool], scratch: &mut Scratch, out: &mut Vec<Pattern>) {
        let carriers = self.items.carriers(items);
        if carriers.len() < support {
            return;
        }
        let taken: Vec<usize> = items.iter().map(|item| self.items.items[*item as usize].column).collect();
        // A pair is found from its first item; a triple from any of its pairs.
        let first = if let [only] = items { only + 1 } else { 0 };
        let mut own = vec![0.0; self.labels];
        for (row, label) in carriers.iter().filter_map(|row| Some((*row, self.label(*row)?))) {
            own[label] += 1.0;
            for (column, item) in self.items.row(row).iter().enumerate() {
                if *item == NONE || *item < first || !columns[column] || taken.contains(&column) {
                    continue;
                }
                let counts = &mut scratch.counts[*item as usize * self.labels..(*item as usize + 1) * self.labels];
                if counts.iter().all(|count| *count == 0) {
                    scratch.touched.push(*item);
                }
                counts[label] += 1;
            }
        }
        scratch.touched.sort_unstable();
        for item in scratch.touched.drain(..) {
            let counts = &mut scratch.counts[item as usize * self.labels..(item as usize + 1) * self.labels];
            let count = counts.iter().sum::<u32>() as usize;
            for (label, with) in counts.iter().enumerate().filter(|_| count >= support) {
                let seen = f64::from(*with) / count as f64;
                let (a, b) = (own[label] / carriers.len() as f64, self.share(item, label));
                let expected = share_of(logit(a) + logit(b) - logit(self.prior[label])).max(a).max(b);
                let score = deviations(count as f64, seen, expected);
                if seen >= 0.3 && score > LEAST {
                    let mut items = items.to_vec();
                    items.push(item);
                    items.sort_unstable();
                    out.push(Pattern { found_by: items.len(), items, label, score });
                }
            }
            counts.fill(0);
        }
    }

    /// The pattern with the values of up to three columns in all that most of its carriers of the label share and others do
    /// not: a trigger of several columns, which must not be asked about itself.
    pub fn closure(&self, pattern: &Pattern, carriers: &[usize]) -> Option<Pattern> {
        let mut counts = vec![0usize; self.items.items.len()];
        let with: Vec<usize> = carriers.iter().copied().filter(|row| self.label(*row) == Some(pattern.label)).collect();
        for item in with.iter().flat_map(|row| self.items.row(*row)) {
            if let Some(count) = counts.get_mut(*item as usize) {
                *count += 1;
            }
        }
        let gain = |item: u32, count: usize| {
            let of_all = self.items.rows[item as usize].len() as f64 / self.of.len() as f64;
            count as f64 / with.len().max(1) as f64 - of_all
        };
        let mut common: Vec<(f64, u32)> = (0..).zip(counts).map(|(item, count)| (gain(item, count), item)).collect();
        common.retain(|(gain, item)| *gain >= 0.5 && !pattern.items.contains(item));
        common.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        common.truncate(WIDTH.saturating_sub(pattern.items.len()));
        if common.is_empty() {
            return None;
        }
        let mut items = pattern.items.clone();
        items.extend(common.iter().map(|(_, item)| item));
        items.sort_unstable();
        Some(Pattern { items, ..*pattern })
    }
}

/// Keeps the `most` with the highest scores, in that order.
fn best(patterns: &mut Vec<Pattern>, most: usize) {
    patterns
        .sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.items.cmp(&b.items)).then(a.label.cmp(&b.label)));
    patterns.truncate(most);
}

/// Keeps the `most` best when there are twice as many.
fn shorten(patterns: &mut Vec<Pattern>, most: usize) {
    if patterns.len() > 2 * most {
        best(patterns, most);
    }
}

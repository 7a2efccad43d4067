//! D2: columns that are distributed otherwise than in a baseline, or than among the other contributors.
//!
//! Drift, not poison: a finding says that a column changed, and by how much.

use crate::dataset::detect::example::Finding;
use crate::dataset::detect::table::special::{benjamini_hochberg, chi_square_tail, kolmogorov_tail};
use crate::dataset::detect::table::summary::{Collector, Column, Summary};
use std::collections::{BTreeMap, BTreeSet};

/// Bins of numbers for PSI and Jensen-Shannon: tenths of the baseline.
const BINS: usize = 10;

/// Bars. A finding needs both: with enough records every difference is significant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// False discovery rate over all comparisons.
    pub rate: f64,
    /// Least PSI; 0.1 is called a slight and 0.25 a great change in credit scoring (Siddiqi 2006).
    pub psi: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { rate: 0.01, psi: 0.25 }
    }
}

/// One column against another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The contributor whose records these are, or all.
    pub contributor: Option<u32>,
    /// The column; `None` for the labels.
    pub column: Option<usize>,
    /// Population stability index over tenths, or words: the sum of (p - q) ln(p / q).
    pub psi: f64,
    /// Jensen-Shannon divergence of the same, in bits: 0 alike, 1 disjoint.
    pub jensen_shannon: f64,
    /// Kolmogorov and Smirnov's distance of the numbers; 0 for words.
    pub ks: f64,
    /// Share of records without a value, now and before.
    pub missing: (f64, f64),
    /// Share of the records whose word the baseline does not have.
    pub new_words: f64,
    /// The least of the p-values (KS or chi-square of the words; chi-square of missing), times their number.
    pub p: f64,
    /// `p` adjusted for all comparisons made together (Benjamini and Hochberg).
    pub adjusted: f64,
}

/// Compares all columns, and the labels, of `now` with those of `before`.
pub fn compare(now: &Summary, before: &Summary) -> Vec<Comparison> {
    let mut out = against(now, before, None);
    adjust(&mut out);
    out
}

/// Compares each contributor with all others together, adjusted over all of them.
pub fn contributors(collector: &Collector) -> Vec<Comparison> {
    let mut out = Vec::new();
    for (contributor, summary) in &collector.contributors {
        out.extend(against(summary, &others(collector, *contributor), Some(*contributor)));
    }
    adjust(&mut out);
    out
}

/// Findings: what passes both bars. A finding's score is its PSI; it names no records.
pub fn findings(comparisons: &[Comparison], settings: Settings) -> Vec<Finding> {
    let drifted =
        comparisons.iter().filter(|c| c.adjusted <= settings.rate && (c.psi >= settings.psi || c.new_words >= 0.05));
    drifted
        .map(|c| {
            let of = c.contributor.map_or(String::new(), |who| format!(" of {{contributor:{who}}}"));
            let what = c.column.map_or("the labels".to_owned(), |column| format!("{{column:{column}}}"));
            let new =
                if c.new_words > 0.0 { format!(", {:.1} % new values", 100.0 * c.new_words) } else { String::new() };
            Finding {
                detector: "drift",
                what: format!(
                    "{what}{of} changed: PSI {:.2}, KS {:.2}, missing {:.1} % (before {:.1} %){new}, p = {:.1e}",
                    c.psi,
                    c.ks,
                    100.0 * c.missing.0,
                    100.0 * c.missing.1,
                    c.adjusted
                ),
                feature: String::new(),
                score: c.psi,
                records: Vec::new(),
            }
        })
        .collect()
}

fn adjust(comparisons: &mut [Comparison]) {
    let p: Vec<f64> = comparisons.iter().map(|c| c.p).collect();
    comparisons.iter_mut().zip(benjamini_hochberg(&p)).for_each(|(c, adjusted)| c.adjusted = adjusted);
}

/// The records of all contributors but one. Samples are joined in proportion to the numbers they stand for.
fn others(collector: &Collector, without: u32) -> Summary {
    let mut out = Summary::default();
    let rest = || collector.contributors.iter().filter(|(contributor, _)| **contributor != without).map(|(_, s)| s);
    for at in 0..collector.all.columns.len() {
        let columns = || rest().filter_map(|summary| summary.columns.get(at));
        let mut joined = Column::default();
        // Every sample is thinned to the share that the thinnest one has of its numbers.
        let share =
            columns().map(|c| c.sample.len() as f64 / c.numbers.max(1) as f64).filter(|s| *s > 0.0).fold(1.0, f64::min);
        for column in columns() {
            joined.records += column.records;
            joined.missing += column.missing;
            joined.numbers += column.numbers;
            let wanted = (column.numbers as f64 * share).round() as usize;
            let step = column.sample.len() as f64 / wanted.max(1) as f64;
            joined.sample.extend((0..wanted).filter_map(|at| column.sample.get((at as f64 * step) as usize)));
            for (word, count) in &column.words {
                *joined.words.entry(*word).or_default() += count;
            }
            joined.other_words += column.other_words;
        }
        out.columns.push(joined);
    }
    for summary in rest() {
        out.records += summary.records;
        for (label, count) in &summary.labels {
            *out.labels.entry(*label).or_default() += count;
        }
    }
    out
}

fn against(now: &Summary, before: &Summary, contributor: Option<u32>) -> Vec<Comparison> {
    let absent = Column::default();
    let mut out: Vec<Comparison> = (0..now.columns.len().max(before.columns.len()))
        .map(|at| {
            let column = |of: &Summary| {
                of.columns.get(at).cloned().unwrap_or(Column {
                    records: of.records,
                    missing: of.records,
                    ..absent.clone()
                })
            };
            column_against(&column(now), &column(before), contributor, at)
        })
        .collect();
    let labels = |of: &Summary| -> BTreeMap<u64, u64> { of.labels.iter().map(|(l, c)| (u64::from(*l), *c)).collect() };
    let (counts, new_words) = paired(&labels(now), &labels(before), 0, 0);
    let shares = divergences(&counts);
    let p = chi_square(&counts);
    out.push(Comparison {
        contributor,
        column: None,
        psi: shares.0,
        jensen_shannon: shares.1,
        ks: 0.0,
        missing: (0.0, 0.0),
        new_words,
        p,
        adjusted: p,
    });
    out
}

fn column_against(now: &Column, before: &Column, contributor: Option<u32>, at: usize) -> Comparison {
    let share = |column: &Column| column.missing as f64 / column.records.max(1) as f64;
    let present = |column: &Column| (column.records - column.missing.min(column.records)) as f64;
    let missing = chi_square(&[(now.missing as f64, before.missing as f64), (present(now), present(before))]);
    let (mut ks, mut new_words, mut p) = (0.0, 0.0, missing);
    let mut counts = Vec::new();
    if now.numbers > 0 && before.numbers > 0 {
        let (mut a, mut b) = (now.sample.clone(), before.sample.clone());
        a.sort_unstable_by(f64::total_cmp);
        b.sort_unstable_by(f64::total_cmp);
        ks = distance(&a, &b);
        let size = (a.len() * b.len()) as f64 / (a.len() + b.len()).max(1) as f64;
        // Stephens 1970: the limit, corrected for small samples.
        p = p.min(kolmogorov_tail(ks * (size.sqrt() + 0.12 + 0.11 / size.sqrt())));
        counts = tenths(&a, &b);
    }
    if !(now.words.is_empty() && before.words.is_empty()) {
        let (words, new) = paired(&now.words, &before.words, now.other_words, before.other_words);
        p = p.min(chi_square(&words));
        new_words = new;
        counts.extend(words);
    }
    let (psi, jensen_shannon) = divergences(&counts);
    // The least of up to three p-values (Bonferroni).
    let tests = 1
        + u8::from(now.numbers > 0 && before.numbers > 0)
        + u8::from(!now.words.is_empty() || !before.words.is_empty());
    let p = (p * f64::from(tests)).min(1.0);
    let missing = (share(now), share(before));
    Comparison { contributor, column: Some(at), psi, jensen_shannon, ks, missing, new_words, p, adjusted: p }
}

/// Kolmogorov and Smirnov's distance of two ascending samples.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let share =
        |sorted: &[f64], value: f64| sorted.partition_point(|v| *v <= value) as f64 / sorted.len().max(1) as f64;
    a.iter().chain(b).map(|value| (share(a, *value) - share(b, *value)).abs()).fold(0.0, f64::max)
}

/// Counts of both ascending samples between the tenths of the second.
fn tenths(now: &[f64], before: &[f64]) -> Vec<(f64, f64)> {
    let mut edges: Vec<f64> = (1..BINS).filter_map(|tenth| before.get(tenth * before.len() / BINS).copied()).collect();
    edges.dedup();
    let below =
        |sorted: &[f64], at: usize| edges.get(at).map_or(sorted.len(), |edge| sorted.partition_point(|v| v < edge));
    let from = |sorted: &[f64], at: usize| if at == 0 { 0 } else { below(sorted, at - 1) };
    let count = |sorted: &[f64], at: usize| (below(sorted, at) - from(sorted, at)) as f64;
    (0..=edges.len()).map(|at| (count(now, at), count(before, at))).collect()
}

/// Counts of each word in both, and the share of the first that the second does not have (0 where the second has left words out).
fn paired(
    now: &BTreeMap<u64, u64>,
    before: &BTreeMap<u64, u64>,
    other_now: u64,
    other_before: u64,
) -> (Vec<(f64, f64)>, f64) {
    let keys: BTreeSet<&u64> = now.keys().chain(before.keys()).collect();
    let count = |of: &BTreeMap<u64, u64>, key: &u64| of.get(key).copied().unwrap_or(0) as f64;
    let mut out: Vec<(f64, f64)> = keys.into_iter().map(|key| (count(now, key), count(before, key))).collect();
    let total: f64 = out.iter().map(|(now, _)| now).sum::<f64>() + other_now as f64;
    let new: f64 = out.iter().filter(|(_, before)| *before == 0.0).map(|(now, _)| now).sum();
    if other_now + other_before > 0 {
        out.push((other_now as f64, other_before as f64));
    }
    (out, if other_before == 0 { new / total.max(1.0) } else { 0.0 })
}

/// PSI and the Jensen-Shannon divergence of paired counts, half a record added to each.
fn divergences(counts: &[(f64, f64)]) -> (f64, f64) {
    let bins = counts.len() as f64;
    let sum = counts.iter().fold((0.0, 0.0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    if sum.0 == 0.0 || sum.1 == 0.0 {
        return (0.0, 0.0);
    }
    let (mut psi, mut jensen_shannon) = (0.0, 0.0);
    for (now, before) in counts {
        let (p, q) = ((now + 0.5) / (sum.0 + 0.5 * bins), (before + 0.5) / (sum.1 + 0.5 * bins));
        psi += (p - q) * (p / q).ln();
        let middle = (p + q) / 2.0;
        jensen_shannon += (p * (p / middle).log2() + q * (q / middle).log2()) / 2.0;
    }
    (psi, jensen_shannon)
}

/// The p-value of Pearson's chi-square that paired counts have one distribution. Bins that expect under 5 are joined.
fn chi_square(counts: &[(f64, f64)]) -> f64 {
    let sum = counts.iter().fold((0.0, 0.0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    let total: f64 = sum.0 + sum.1;
    if sum.0 == 0.0 || sum.1 == 0.0 {
        return 1.0;
    }
    let enough = |(now, before): &(f64, f64)| (now + before) * sum.0.min(sum.1) / total >= 5.0;
    let mut bins: Vec<(f64, f64)> = counts.iter().copied().filter(enough).collect();
    let rest =
        counts.iter().filter(|count| !enough(count)).fold((0.0, 0.0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    if rest.0 + rest.1 > 0.0 {
        bins.push(rest);
    }
    let statistic: f64 = bins
        .iter()
        .map(|(now, before)| {
            let (a, b) = ((now + before) * sum.0 / total, (now + before) * sum.1 / total);
            (now - a).powi(2) / a + (before - b).powi(2) / b
        })
        .sum();
    if bins.len() < 2 { 1.0 } else { chi_square_tail(statistic, bins.len() as f64 - 1.0) }
}

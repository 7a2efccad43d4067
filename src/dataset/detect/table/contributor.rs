//! D8: contributors whose labels the rest of the dataset speaks against more often than those of others.

use crate::dataset::detect::example::Finding;
use crate::dataset::detect::table::label_noise::Score;
use crate::dataset::detect::table::special::chi_square_tail;
use std::collections::{BTreeMap, BTreeSet};

/// Bars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// A finding from this many standard deviations on. With hundreds of contributors, chance reaches 4; 6 is one in a billion.
    pub z: f64,
    /// Fewest records of a contributor that is judged.
    pub records: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { z: 6.0, records: 10 }
    }
}

/// What is known of one contributor.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The contributor.
    pub contributor: u32,
    /// Its records (those looked at, where the dataset was sampled).
    pub records: u64,
    /// Of these, labels that another label beats.
    pub disagreeing: u64,
    /// How many of them would, were its labels as good as the others' on records as hard as its own.
    pub expected: f64,
    /// How far its disagreements lie above the expected ones, rare ones weighing more, in standard deviations widened to what
    /// contributors differ by anyway.
    pub z: f64,
    /// Chi-square of its labels against the others' and its p-value: says that its topics differ, not that it is bad.
    pub label_chi_square: f64,
    /// See `label_chi_square`.
    pub label_p: f64,
    /// Its records in findings of other detectors.
    pub hits: BTreeMap<&'static str, u64>,
    /// Whether the baseline does not know it.
    pub new: bool,
}

/// All contributors, worst first.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// One row a contributor.
    pub rows: Vec<Row>,
    /// Share of the records that came from contributors the baseline does not know.
    pub new_share: f64,
    /// How many times the variance between contributors exceeds chance (1 where it does not).
    pub dispersion: f64,
}

/// Strata of difficulty for one label.
const STRATA: usize = 8;
/// Records of a stratum at least, where the label has as many.
const STRATUM: usize = 100;
/// Contributors from this z on do not say what is expected of others (at most a third of them).
const DISTRUST: f64 = 4.0;
/// No disagreement weighs more than one of this rate: a few lucky ones must not make a contributor bad.
const RAREST: f64 = 0.05;
/// How often what is expected is worked out anew.
const ROUNDS: usize = 5;

/// Records and disagreements.
type Counts<K> = BTreeMap<K, (f64, f64)>;

/// Compares contributors. `scores` are those of the label detector, `findings` of any detectors, `known` the contributors of a
/// baseline (`None` without one).
///
/// Hard records disagree more often, and contributors differ in how hard theirs are: so disagreement is expected as the others
/// have it among records with the same label (so that the mix of labels does not matter) and the same certainty. What difference is left between honest
/// contributors widens the deviation: the median of z^2 is brought to that of a chi-square (as quasi-binomial models do,
/// McCullagh and Nelder 1989, but robust: half of the contributors may be bad).
pub fn report(scores: &[Score], findings: &[Finding], known: Option<&[u32]>) -> Report {
    let mut rows: BTreeMap<u32, Row> = BTreeMap::new();
    let strata = strata(scores);
    // Records and disagreements by stratum, of all and of each contributor.
    let mut all: Counts<u32> = BTreeMap::new();
    let mut own: Counts<(u32, u32)> = BTreeMap::new();
    let mut labels: BTreeMap<u32, f64> = BTreeMap::new();
    let mut own_labels: BTreeMap<(u32, u32), f64> = BTreeMap::new();
    for (score, stratum) in scores.iter().zip(&strata) {
        let Some(contributor) = score.contributor else { continue };
        let wrong = f64::from(u8::from(score.predicted != score.label));
        for counts in [all.entry(*stratum).or_default(), own.entry((contributor, *stratum)).or_default()] {
            counts.0 += 1.0;
            counts.1 += wrong;
        }
        *labels.entry(score.label).or_default() += 1.0;
        *own_labels.entry((contributor, score.label)).or_default() += 1.0;
        let row = rows.entry(contributor).or_insert_with(|| Row {
            contributor,
            records: 0,
            disagreeing: 0,
            expected: 0.0,
            z: 0.0,
            label_chi_square: 0.0,
            label_p: 1.0,
            hits: BTreeMap::new(),
            new: known.is_some_and(|known| !known.contains(&contributor)),
        });
        row.records += 1;
        row.disagreeing += u64::from(score.predicted != score.label);
    }
    let dispersion = judge(&all, &own, &mut rows);
    let total: f64 = labels.values().sum();
    for row in rows.values_mut() {
        let count = row.records as f64;
        let freedom = labels.len().saturating_sub(1) as f64;
        // The contributor and the others as a table of two rows.
        row.label_chi_square = labels
            .iter()
            .map(|(label, of_all)| {
                let mine = own_labels.get(&(row.contributor, *label)).copied().unwrap_or(0.0);
                let (expected, rest) = (of_all * count / total, of_all * (total - count) / total);
                (mine - expected).powi(2) * (1.0 / expected + if rest > 0.0 { 1.0 / rest } else { 0.0 })
            })
            .sum();
        row.label_p = if freedom > 0.0 { chi_square_tail(row.label_chi_square, freedom) } else { 1.0 };
    }
    count_hits(scores, findings, &mut rows);
    let new: u64 = rows.values().filter(|row| row.new).map(|row| row.records).sum();
    let mut rows: Vec<Row> = rows.into_values().collect();
    rows.sort_by(|a, b| b.z.total_cmp(&a.z).then(a.contributor.cmp(&b.contributor)));
    Report { rows, new_share: new as f64 / total.max(1.0), dispersion }
}

/// Sets `expected` and `z` of all rows, and gives the dispersion. `all` and `own` hold records and disagreements by stratum.
///
/// The score test of "a share of the labels is random": a disagreement weighs more where it is rarer. Contributors that stand out
/// are left out of what is expected of the others, and the test is repeated, or a bad one would make all others look too good.
fn judge(all: &Counts<u32>, own: &Counts<(u32, u32)>, rows: &mut BTreeMap<u32, Row>) -> f64 {
    let overall = share(all.values().fold((0.0, 0.0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1)), 0.01);
    let (mut trusted, mut dispersion) = (all.clone(), 1.0);
    let mut distrusted: BTreeSet<u32> = BTreeSet::new();
    for _ in 0..ROUNDS {
        let mut sums: BTreeMap<u32, (f64, f64, f64)> = BTreeMap::new();
        for ((contributor, stratum), (count, wrong)) in own {
            let (total, total_wrong) = trusted.get(stratum).copied().unwrap_or_default();
            let (total, total_wrong) = if distrusted.contains(contributor) {
                (total, total_wrong)
            } else {
                (total - count, total_wrong - wrong)
            };
            let rate = share((total, total_wrong), overall).clamp(0.002, 0.998);
            let weight = (1.0 - 2.0 * rate).max(0.0) / rate.max(RAREST);
            let sum = sums.entry(*contributor).or_default();
            sum.0 += weight * (wrong - count * rate);
            sum.1 += weight * weight * count * rate * (1.0 - rate) * (1.0 + count / (total + 1.0));
            sum.2 += count * rate;
        }
        for (contributor, (difference, variance, expected)) in sums {
            if let Some(row) = rows.get_mut(&contributor) {
                row.expected = expected;
                row.z = if variance > 0.0 { difference / variance.sqrt() } else { 0.0 };
            }
        }
        let mut squares: Vec<f64> =
            rows.values().filter(|row| !distrusted.contains(&row.contributor)).map(|row| row.z * row.z).collect();
        squares.sort_by(f64::total_cmp);
        // The median of chi-square with one degree is 0.4549. Few contributors say little about their spread.
        let middle = squares.get(squares.len() / 2).copied().unwrap_or(0.0);
        dispersion = if squares.len() >= 5 { (middle / 0.4549).max(1.0) } else { 1.0 };
        rows.values_mut().for_each(|row| row.z /= dispersion.sqrt());
        let mut worst: Vec<&Row> = rows.values().filter(|row| row.z >= DISTRUST).collect();
        worst.sort_by(|a, b| b.z.total_cmp(&a.z));
        let now: BTreeSet<u32> = worst.iter().take(rows.len() / 3).map(|row| row.contributor).collect();
        if now == distrusted {
            break;
        }
        distrusted = now;
        trusted.clone_from(all);
        for ((_, stratum), counts) in own.iter().filter(|((contributor, _), _)| distrusted.contains(contributor)) {
            let rest = trusted.entry(*stratum).or_default();
            *rest = (rest.0 - counts.0, rest.1 - counts.1);
        }
    }
    dispersion
}

/// Disagreements / records, with two records of the share `prior` added.
fn share(counts: (f64, f64), prior: f64) -> f64 {
    (counts.1 + 2.0 * prior) / (counts.0 + 2.0)
}

/// Findings for the contributors that reach the bar; `records` are their disagreeing ones.
pub fn findings(report: &Report, scores: &[Score], settings: Settings) -> Vec<Finding> {
    let bad = report.rows.iter().filter(|row| row.z >= settings.z && row.records >= settings.records as u64);
    bad.map(|row| Finding {
        detector: "contributor",
        what: format!(
            "{} of the {} labels of {{contributor:{}}} disagree with what similar records have; of another contributor's, {:.0} would",
            row.disagreeing, row.records, row.contributor, row.expected
        ),
        feature: String::new(),
        score: row.z,
        records: scores
            .iter()
            .filter(|score| score.contributor == Some(row.contributor) && score.predicted != score.label)
            .map(|score| score.record)
            .collect(),
    })
    .collect()
}

/// The stratum of each record: its label and an eighth of that label's records by certainty.
fn strata(scores: &[Score]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (&scores[*a], &scores[*b]);
        a.label.cmp(&b.label).then(a.certainty.total_cmp(&b.certainty)).then(a.record.cmp(&b.record))
    });
    let mut out = vec![0u32; scores.len()];
    let mut next = 0;
    for same in order.chunk_by(|a, b| scores[*a].label == scores[*b].label) {
        for part in same.chunks(same.len().div_ceil(STRATA).max(STRATUM)) {
            part.iter().for_each(|at| out[*at] = next);
            next += 1;
        }
    }
    out
}

/// Counts the records of each contributor in the findings of each detector; a record counts once a detector.
fn count_hits(scores: &[Score], findings: &[Finding], rows: &mut BTreeMap<u32, Row>) {
    let of: BTreeMap<u64, u32> = scores.iter().filter_map(|score| Some((score.record, score.contributor?))).collect();
    let mut hits: Vec<(&'static str, u64)> =
        findings.iter().flat_map(|finding| finding.records.iter().map(|record| (finding.detector, *record))).collect();
    hits.sort_unstable();
    hits.dedup();
    for (detector, record) in hits {
        if let Some(row) = of.get(&record).and_then(|contributor| rows.get_mut(contributor)) {
            *row.hits.entry(detector).or_default() += 1;
        }
    }
}

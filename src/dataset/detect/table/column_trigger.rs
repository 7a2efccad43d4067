//! D5: values of one to three columns whose carriers have one label, against what the rest of each carrier says.
//!
//! Residual association: the idea of the text and image trigger detectors on (column, exact value). A trigger overwrites
//! values whatever the rest of the row says, so without these columns the carriers look like rows of other labels; honest values
//! of a class go with the rest of the row. For numbers the values beside the pattern must not explain the label either
//! (an honest bin of a smooth column), unless the value repeats in a column whose values else do not.

use crate::dataset::detect::example::{Detector, Example, Finding};
use crate::dataset::detect::table::gather::{Gathered, Kind};
use crate::dataset::detect::table::items::{Item, Items};
use crate::dataset::detect::table::patterns::{Pattern, Search, deviations, logit, share_of};
use crate::dataset::detect::table::random::Random;
use crate::dataset::detect::table::rest::Rest;
use std::collections::BTreeSet;

/// Bars and bounds. They were chosen by looking at the development tables (not left out one by one): of 29 clean ones, one
/// (chess end games, a rule of two or three words that no other column knows) gives a finding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Fewest carriers.
    pub support: usize,
    /// Least share of the carriers that have the label; the others may be honest records that have the value too.
    pub purity: f64,
    /// How much that share exceeds the expected one. Honest rules come close to this bar, and pass it in chess end games.
    pub excess: f64,
    /// Least standard deviations for one value.
    pub z: f64,
    /// The same for patterns found by two or three values, of which there are many more to choose from.
    pub z_joint: f64,
    /// A value this many times as frequent as the distinct values beside it stands out of its column.
    pub spike: f64,
    /// How much the share exceeds the expected one for such a value (purity then being at least 0.9).
    pub spike_excess: f64,
    /// Patterns that are tested against the rest of their records.
    pub tested: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            support: 10,
            purity: 0.5,
            excess: 0.5,
            z: 6.0,
            z_joint: 10.0,
            spike: 10.0,
            spike_excess: 0.25,
            tested: 200,
        }
    }
}

/// Carriers compared with the rest, and the records these ask: a rough look, and a fine one for what stays.
const ROUGH: (usize, usize) = (50, 1_500);
const FINE: (usize, usize) = (200, 4_000);
/// Patterns whose share exceeds the rest's by less in the rough look are left.
const ROUGH_EXCESS: f64 = 0.15;
/// Carriers of a finding that are looked at one by one; beyond, all with the label are flagged.
const JUDGED: usize = 5_000;
/// Records among which values beside a pattern are looked for.
const NEARBY: usize = 5_000;

/// A pattern and how it did.
#[derive(Clone, Debug)]
pub struct Tested {
    /// Carriers of the pattern, as rows of the gathered records.
    pub carriers: Vec<usize>,
    /// The columns and values.
    pub items: Vec<Item>,
    /// The label.
    pub label: usize,
    /// Share of the carriers that have it.
    pub purity: f64,
    /// Share that the rest of the carriers expects.
    pub rest: f64,
    /// Share that the rest and the values beside expect together.
    pub expected: f64,
    /// Standard deviations of `purity` from `expected`.
    pub z: f64,
    /// Standard deviations of `purity` from `rest`.
    pub z_rest: f64,
    /// Least spike of the values; see [`Settings::spike`].
    pub spike: f64,
    /// Values it was found by.
    pub found_by: usize,
}

/// Gathers the records in one pass. Memory: as [`Gathered`], and in `finish` records x (columns x 9 B + dims x 4 B).
#[derive(Clone, Debug)]
pub struct ColumnTrigger {
    gathered: Gathered,
    labels: usize,
    settings: Settings,
    seed: u64,
}

impl ColumnTrigger {
    /// A detector for labels `0..labels`.
    pub fn new(labels: usize, settings: Settings, seed: u64) -> Self {
        Self { gathered: Gathered::new(Default::default(), seed), labels, settings, seed }
    }

    /// Whether a pattern passes the bars.
    pub fn passes_bars(&self, test: &Tested) -> bool {
        let bars = &self.settings;
        let z = if test.found_by > 1 { bars.z_joint } else { bars.z };
        let plain = test.purity >= bars.purity && test.purity - test.expected >= bars.excess && test.z >= z;
        let pure = test.purity >= 0.9 && test.purity - test.rest >= bars.spike_excess;
        plain || (test.spike >= bars.spike && pure && test.z_rest >= bars.z + 2.0)
    }

    /// All patterns that were looked at closely, and the records each one flags if it passes the bars.
    pub fn tested(&self) -> Vec<(Tested, Vec<usize>)> {
        let of = &self.gathered;
        let items = Items::new(of, self.settings.support, self.labels);
        let search = Search::new(of, &items, self.labels);
        let patterns = search.patterns(self.settings.support, self.settings.purity, self.settings.tested);
        if patterns.is_empty() {
            return Vec::new();
        }
        let rest = Rest::new(of, &search.prior, self.seed);
        let test = Test { of, items: &items, search: &search, rest: &rest, seed: self.seed };
        let mut seen: Vec<(usize, Vec<usize>)> = Vec::new();
        let mut out = Vec::new();
        for pattern in &patterns {
            let carriers = items.carriers(&pattern.items);
            if seen.iter().any(|(label, other)| *label == pattern.label && alike(&carriers, other)) {
                continue;
            }
            for pattern in search.closure(pattern, &carriers).iter().chain([pattern]) {
                let rough = test.run(pattern, ROUGH);
                if rough.carriers.len() < self.settings.support || rough.purity - rough.rest < ROUGH_EXCESS {
                    continue;
                }
                let fine = test.run(pattern, FINE);
                let rows = if self.passes_bars(&fine) { test.flagged(&fine) } else { Vec::new() };
                out.push((fine, rows));
            }
            seen.push((pattern.label, carriers));
        }
        out
    }

    fn finding(&self, test: &Tested, rows: &[usize]) -> Finding {
        let value = |item: &Item| match self.gathered.kinds.get(item.column) {
            Some(Kind::Number) => Gathered::number(item.cell).map_or("missing".to_owned(), |number| number.to_string()),
            _ if item.cell == 0 => "missing".to_owned(),
            _ => "one word".to_owned(),
        };
        let feature = test.items.iter().map(|item| format!("{{column:{}}} = {}", item.column, value(item)));
        let feature = feature.collect::<Vec<_>>().join(", ");
        let count = test.carriers.len();
        Finding {
            detector: "column-trigger",
            what: format!(
                "{feature} stands in {count} records, {:.0} of them labelled {{label:{}}}; their other columns speak for it in {:.0}",
                test.purity * count as f64,
                test.label,
                test.rest * count as f64
            ),
            feature,
            score: test.z.max(0.0),
            records: rows.iter().filter_map(|row| self.gathered.records.get(*row).copied()).collect(),
        }
    }
}

impl Detector for ColumnTrigger {
    fn passes(&self) -> u32 {
        1
    }

    fn observe(&mut self, _pass: u32, example: &Example<'_>) {
        self.gathered.observe(example);
    }

    /// Findings, strongest first; one whose records are mostly in stronger ones is left out.
    fn finish(self: Box<Self>) -> Vec<Finding> {
        let mut tested = self.tested();
        tested.retain(|(test, _)| self.passes_bars(test));
        tested.sort_by(|a, b| b.0.z_rest.total_cmp(&a.0.z_rest));
        let mut flagged = BTreeSet::new();
        let mut out = Vec::new();
        for (test, rows) in &tested {
            let fresh = rows.iter().filter(|row| !flagged.contains(*row)).count();
            if fresh > 0 && 2 * fresh >= rows.len() {
                flagged.extend(rows.iter().copied());
                out.push(self.finding(test, rows));
            }
        }
        out
    }
}

/// Whether two ascending lists share four fifths of their union.
fn alike(a: &[usize], b: &[usize]) -> bool {
    let (few, many) = if a.len() < b.len() { (a, b) } else { (b, a) };
    if 5 * few.len() < 4 * many.len() {
        return false;
    }
    let both = few.iter().filter(|row| many.binary_search(row).is_ok()).count();
    5 * both >= 4 * (few.len() + many.len() - both)
}

/// What a pattern is tested with.
struct Test<'a> {
    of: &'a Gathered,
    items: &'a Items,
    search: &'a Search<'a>,
    rest: &'a Rest<'a>,
    seed: u64,
}

impl Test<'_> {
    fn run(&self, pattern: &Pattern, (compared, reference): (usize, usize)) -> Tested {
        let carriers = self.items.carriers(&pattern.items);
        let items: Vec<Item> =
            pattern.items.iter().filter_map(|item| self.items.items.get(*item as usize)).copied().collect();
        let columns: Vec<usize> = items.iter().map(|item| item.column).collect();
        let beside = self.share_beside(&items, &carriers, pattern.label);
        let mut rows: Vec<usize> = carriers.iter().copied().filter(|row| self.search.label(*row).is_some()).collect();
        Random::new(self.seed).shuffle(&mut rows);
        rows.truncate(compared);
        let shares = self.rest.expected(&rows, &columns, pattern.label, reference, self.seed);
        let count = rows.len().max(1) as f64;
        // Rest and values beside as independent evidence; the latter may only explain, not excuse.
        let push = (logit(beside) - logit(self.search.prior.get(pattern.label).copied().unwrap_or(0.5))).max(0.0);
        let expected = shares.iter().map(|share| share_of(logit(*share) + push)).sum::<f64>() / count;
        let rest = shares.iter().sum::<f64>() / count;
        let with = carriers.iter().filter(|row| self.search.label(**row) == Some(pattern.label)).count();
        let all = carriers.len() as f64;
        let purity = with as f64 / all.max(1.0);
        Tested {
            label: pattern.label,
            purity,
            rest,
            expected,
            z: deviations(all, purity, expected),
            z_rest: deviations(all, purity, rest),
            spike: pattern.items.iter().map(|item| self.items.spikes[*item as usize]).fold(f64::INFINITY, f64::min),
            found_by: pattern.found_by,
            carriers,
            items,
        }
    }

    /// Carriers with the label; of an impure pattern only those whose rest does not speak for it.
    fn flagged(&self, test: &Tested) -> Vec<usize> {
        let labelled = test.carriers.iter().copied().filter(|row| self.search.label(*row) == Some(test.label));
        let rows: Vec<usize> = labelled.collect();
        if test.purity >= 0.75 || rows.len() > JUDGED {
            return rows;
        }
        let columns: Vec<usize> = test.items.iter().map(|item| item.column).collect();
        let shares = self.rest.expected(&rows, &columns, test.label, FINE.1, self.seed);
        rows.into_iter().zip(shares).filter(|(_, share)| *share < 0.5).map(|(row, _)| row).collect()
    }

    /// The share of the label among other records whose values in the pattern's columns are closest to it. One column of
    /// numbers: on the side where it is larger.
    fn share_beside(&self, items: &[Item], carriers: &[usize], label: usize) -> f64 {
        let outside = |row: &usize| self.search.label(*row).is_some() && carriers.binary_search(row).is_err();
        let mut others: Vec<usize> = (0..self.of.len()).filter(outside).collect();
        if others.len() > NEARBY {
            Random::new(self.seed).shuffle(&mut others);
            others.truncate(NEARBY);
        }
        let mut places = vec![(0.0f64, false); others.len()];
        items.iter().for_each(|item| self.add_distances(item, &others, &mut places));
        let mut best = 0.0f64;
        let prior = self.search.prior.get(label).copied().unwrap_or(0.0);
        let sides: &[Option<bool>] = if items.len() > 1 { &[None] } else { &[None, Some(false), Some(true)] };
        for side in sides {
            let on_side = others.iter().zip(&places).filter(|(_, place)| side.is_none_or(|side| place.1 == side));
            let mut order: Vec<(f64, usize)> = on_side.map(|(row, place)| (place.0, *row)).collect();
            order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            for want in [30, carriers.len().clamp(30, 300)] {
                let reach = order.get(want.min(order.len()).saturating_sub(1)).map_or(0.0, |last| last.0);
                let close = &order[..order.partition_point(|place| place.0 <= reach)];
                let with = close.iter().filter(|(_, row)| self.search.label(*row) == Some(label)).count() as f64;
                best = best.max((with + prior) / (close.len() as f64 + 1.0));
            }
        }
        best
    }

    /// Adds to each row's place its distance from the item: for numbers the share of the rows between, else 0 or 1;
    /// and whether it is above.
    fn add_distances(&self, item: &Item, others: &[usize], places: &mut [(f64, bool)]) {
        let cell = |row: usize| self.of.row(row).get(item.column).copied().unwrap_or(0);
        let centre = match self.of.kinds.get(item.column) {
            Some(Kind::Number) => Gathered::number(item.cell),
            _ => None,
        };
        let Some(centre) = centre else {
            others.iter().zip(places).for_each(|(row, place)| place.0 += f64::from(u8::from(cell(*row) != item.cell)));
            return;
        };
        let mut sorted: Vec<f32> = others.iter().filter_map(|row| Gathered::number(cell(*row))).collect();
        sorted.sort_unstable_by(f32::total_cmp);
        let rank = |v: f32| (sorted.partition_point(|x| *x < v) + sorted.partition_point(|x| *x <= v)) as f64 / 2.0;
        let (middle, total) = (rank(centre), sorted.len().max(1) as f64);
        for (row, place) in others.iter().zip(places) {
            match Gathered::number(cell(*row)) {
                Some(value) if value == centre => {}
                Some(value) => *place = (place.0 + (rank(value) - middle).abs() / total + 1e-9, value > centre),
                None => place.0 += 1.0,
            }
        }
    }
}

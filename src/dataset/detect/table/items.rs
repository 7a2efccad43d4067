//! Exact values that repeat in columns, and the records that have them.

use crate::dataset::detect::table::gather::{Gathered, Kind};
use std::collections::BTreeMap;

/// Counts that are held at a time: items x labels.
const MAX_COUNTS: usize = 1 << 24;
/// Distinct numbers on each side that a number is compared with.
const SIDE: usize = 5;
/// No item.
pub const NONE: u32 = u32::MAX;

/// An exact value of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// The column.
    pub column: usize,
    /// The raw cell.
    pub cell: u32,
}

/// All values that at least `support` records share. Memory: records x columns x 8 B.
pub struct Items {
    /// Item by number: column by column, numbers ascending.
    pub items: Vec<Item>,
    /// How many times more often a number stands in its column than the distinct numbers next to it; 0 for words, and where the numbers next to it repeat too.
    pub spikes: Vec<f64>,
    /// Rows with each item.
    pub rows: Vec<Vec<u32>>,
    /// The item of each cell, row by row.
    codes: Vec<u32>,
    columns: usize,
}

impl Items {
    /// Finds them; `support` is raised until the counts of all items by label fit in memory.
    pub fn new(of: &Gathered, support: usize, labels: usize) -> Self {
        let columns = of.kinds.len();
        let mut support = support.max(2);
        let (mut items, mut spikes);
        while {
            (items, spikes) = repeated(of, support);
            items.len().saturating_mul(labels.max(1)) > MAX_COUNTS
        } {
            support *= 2;
        }
        let numbers: BTreeMap<(usize, u32), u32> =
            items.iter().zip(0..).map(|(item, number)| ((item.column, item.cell), number)).collect();
        let mut codes = Vec::with_capacity(of.len() * columns);
        let mut rows = vec![Vec::new(); items.len()];
        for row in 0..of.len() {
            for (column, cell) in of.row(row).iter().enumerate() {
                let number = numbers.get(&(column, *cell)).copied().unwrap_or(NONE);
                codes.push(number);
                if let Some(rows) = rows.get_mut(number as usize) {
                    rows.push(row as u32);
                }
            }
        }
        Self { items, spikes, rows, codes, columns }
    }

    /// The items of a row, one a column, [`NONE`] where the value is not an item.
    pub fn row(&self, row: usize) -> &[u32] {
        self.codes.get(row * self.columns..(row + 1) * self.columns).unwrap_or(&[])
    }

    /// Rows that have all of `items`, ascending.
    pub fn carriers(&self, items: &[u32]) -> Vec<usize> {
        let lists = || items.iter().filter_map(|item| self.rows.get(*item as usize));
        let Some(shortest) = lists().min_by_key(|rows| rows.len()) else { return Vec::new() };
        let has = |row: usize, item: u32| {
            let column = self.items.get(item as usize).map_or(usize::MAX, |item| item.column);
            self.row(row).get(column) == Some(&item)
        };
        let all = |row: usize| items.iter().all(|item| has(row, *item));
        shortest.iter().map(|row| *row as usize).filter(|row| all(*row)).collect()
    }
}

/// The items, and how each stands out of the numbers next to it.
fn repeated(of: &Gathered, support: usize) -> (Vec<Item>, Vec<f64>) {
    let (mut items, mut spikes) = (Vec::new(), Vec::new());
    // A value that nearly all have says nothing.
    let most = of.len() - of.len() / 20;
    for (column, kind) in of.kinds.iter().enumerate() {
        let mut cells: Vec<u32> = (0..of.len()).filter_map(|row| of.row(row).get(column).copied()).collect();
        match kind {
            Kind::Number => cells.sort_unstable_by(|a, b| f32::from_bits(*a).total_cmp(&f32::from_bits(*b))),
            _ => cells.sort_unstable(),
        }
        let runs: Vec<(u32, usize)> =
            cells.chunk_by(|a, b| a == b).filter_map(|same| Some((*same.first()?, same.len()))).collect();
        for (at, (cell, count)) in runs.iter().enumerate().filter(|(_, (_, count))| *count >= support && *count <= most)
        {
            items.push(Item { column, cell: *cell });
            let around = runs.get(at.saturating_sub(SIDE)..(at + SIDE + 1).min(runs.len())).unwrap_or(&[]);
            let mut around: Vec<usize> = around.iter().map(|(_, count)| *count).collect();
            around.sort_unstable();
            let typical = around.get(around.len() / 2).copied().unwrap_or(1);
            let alone = *kind == Kind::Number && around.len() > SIDE && typical <= 5;
            spikes.push(if alone { *count as f64 / typical as f64 } else { 0.0 });
        }
    }
    (items, spikes)
}

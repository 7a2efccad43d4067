//! Nearest neighbours: by blocked inner products with all rows, or, of many rows, within the leaves of a forest of trees.

use crate::dataset::detect::table::matrix::{Matrix, Packed, dot, in_two};
use crate::dataset::detect::table::random::Random;
use std::ops::Range;

/// Up to so many rows every row is compared with every other one.
const EXACT: usize = 4096;
/// Trees of the forest: so many times a row is compared with those of its leaf.
const TREES: usize = 4;
/// Rows of a leaf at most.
const LEAF: usize = 256;
/// Rows of a node that its two centres are looked for among, and steps towards them.
const PROBED: usize = 256;
const STEPS: usize = 3;

/// The `k` nearest other rows of every row.
#[derive(Clone, Debug)]
pub struct Neighbours {
    k: usize,
    /// Squared distance and row, nearest first; `u32::MAX` where there are fewer than k.
    found: Vec<(f32, u32)>,
}

/// No neighbour.
const NOBODY: (f32, u32) = (f32::INFINITY, u32::MAX);

impl Neighbours {
    /// Squared distances and rows of the neighbours of `row`, nearest first.
    pub fn of(&self, row: usize) -> impl Iterator<Item = (f32, usize)> + '_ {
        let found = self.found.get(row * self.k..(row + 1) * self.k).unwrap_or(&[]);
        found.iter().filter(|(_, other)| *other != u32::MAX).map(|(distance, other)| (*distance, *other as usize))
    }
}

/// Finds the `k` nearest rows of each row, among those for which `usable` holds. Of more than [`EXACT`] rows these are the nearest
/// within the leaves of [`TREES`] trees: mostly, not always, the nearest of all. Time: rows x min(rows, `TREES` x `LEAF`) x dims.
pub fn neighbours(vectors: &Matrix, k: usize, usable: impl Fn(usize) -> bool + Sync, seed: u64) -> Neighbours {
    let rows = vectors.rows();
    if rows <= EXACT || k == 0 {
        return nearest(vectors, rows, k, usable);
    }
    let mut random = Random::new(seed);
    let mut found = vec![NOBODY; rows * k];
    let mut order: Vec<u32> = (0..rows as u32).collect();
    let mut here = vec![NOBODY; rows * k];
    for _ in 0..TREES {
        let leaves = rows.div_ceil(LEAF);
        let mut bounds = Vec::with_capacity(leaves);
        split(vectors, &mut order, (0, leaves), &mut random, &mut bounds);
        here.fill(NOBODY);
        in_leaves(vectors, &order, &bounds, &usable, k, &mut here);
        for (row, near) in order.iter().zip(here.chunks_exact(k)) {
            merge(&mut found[*row as usize * k..(*row as usize + 1) * k], near);
        }
    }
    Neighbours { k, found }
}

/// Orders rows so that those of a leaf stand together: `order` is cut across the line between two centres, again and again, so
/// that all leaves have about as many rows. Appends where each leaf ends, counted from `from`.
fn split(
    vectors: &Matrix,
    order: &mut [u32],
    (from, leaves): (usize, usize),
    random: &mut Random,
    bounds: &mut Vec<usize>,
) {
    if leaves < 2 {
        bounds.push(from + order.len());
        return;
    }
    let across = across(vectors, order, random);
    let mut placed: Vec<(f32, u32)> =
        order.iter().map(|row| (dot(vectors.row(*row as usize), &across), *row)).collect();
    let middle = order.len() * (leaves / 2) / leaves;
    placed.select_nth_unstable_by(middle, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    order.iter_mut().zip(&placed).for_each(|(row, (_, placed))| *row = *placed);
    drop(placed);
    let (left, right) = order.split_at_mut(middle);
    split(vectors, left, (from, leaves / 2), random, bounds);
    split(vectors, right, (from + middle, leaves - leaves / 2), random, bounds);
}

/// The direction between the two centres (Lloyd 1982) of some of the rows.
fn across(vectors: &Matrix, order: &[u32], random: &mut Random) -> Vec<f32> {
    let probed: Vec<u32> = (0..PROBED).filter_map(|_| order.get(random.below(order.len())).copied()).collect();
    let first = |at: usize| vectors.row(probed.get(at).map_or(0, |row| *row as usize)).to_vec();
    let mut centres = [first(0), first(1)];
    let between =
        |centres: &[Vec<f32>; 2]| -> Vec<f32> { centres[0].iter().zip(&centres[1]).map(|(a, b)| a - b).collect() };
    for _ in 0..STEPS {
        let direction = between(&centres);
        let middle = (dot(&centres[0], &centres[0]) - dot(&centres[1], &centres[1])) / 2.0;
        let mut sums = [vec![0.0f32; vectors.dims], vec![0.0f32; vectors.dims]];
        let mut counts = [0.0f32; 2];
        for row in &probed {
            let row = vectors.row(*row as usize);
            let side = usize::from(dot(row, &direction) < middle);
            counts[side] += 1.0;
            sums[side].iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        if counts.contains(&0.0) {
            break;
        }
        for (sum, count) in sums.iter_mut().zip(counts) {
            sum.iter_mut().for_each(|value| *value /= count);
        }
        centres = sums;
    }
    between(&centres)
}

/// The nearest rows of each row within its leaf, in the order of `order`.
fn in_leaves(
    vectors: &Matrix,
    order: &[u32],
    bounds: &[usize],
    usable: &(impl Fn(usize) -> bool + Sync),
    k: usize,
    found: &mut [(f32, u32)],
) {
    let middle = bounds.get(bounds.len() / 2).copied().unwrap_or(0);
    let (left, right) = found.split_at_mut(middle * k);
    let work = |from: usize, to: usize, found: &mut [(f32, u32)]| {
        let mut start = from;
        for end in bounds.iter().copied().filter(|end| *end > from && *end <= to) {
            let rows: Vec<usize> = order[start..end].iter().map(|row| *row as usize).collect();
            let leaf = vectors.select(&rows);
            let here = &mut found[(start - from) * k..(end - from) * k];
            Reference::new(&leaf, |at| usable(rows[at])).nearest(&leaf, 0..rows.len(), k, here);
            for (_, at) in here.iter_mut().filter(|(_, at)| *at != u32::MAX) {
                *at = order[start + *at as usize];
            }
            start = end;
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| work(0, middle, left));
        work(middle, order.len(), right);
    });
}

/// Finds the `k` nearest rows of each of the first `asked` rows, among all for which `usable` holds. Time: asked x rows x dims.
pub fn nearest(vectors: &Matrix, asked: usize, k: usize, usable: impl Fn(usize) -> bool) -> Neighbours {
    let asked = asked.min(vectors.rows());
    let mut found = vec![NOBODY; asked * k];
    if k > 0 {
        let reference = Reference::new(vectors, usable);
        in_two(asked, &mut found, k, |part, found| reference.nearest(vectors, part, k, found));
    }
    Neighbours { k, found }
}

/// Rows that neighbours are looked for among.
struct Reference {
    rows: Vec<usize>,
    packed: Packed,
    /// Squares of their lengths.
    norms: Vec<f32>,
}

impl Reference {
    fn new(vectors: &Matrix, usable: impl Fn(usize) -> bool) -> Self {
        let rows: Vec<usize> = (0..vectors.rows()).filter(|row| usable(*row)).collect();
        let chosen = vectors.select(&rows);
        let norms = (0..rows.len()).map(|row| square(chosen.row(row))).collect();
        Self { packed: Packed::new(&chosen), rows, norms }
    }

    /// The `k` nearest of each of the rows `asked` of the same vectors.
    fn nearest(&self, vectors: &Matrix, asked: Range<usize>, k: usize, found: &mut [(f32, u32)]) {
        let from = asked.start;
        self.packed.products(vectors, asked, |row, first, products| {
            let best = &mut found[(row - from) * k..(row - from + 1) * k];
            let mut worst = best[k - 1].0;
            for (at, product) in products.iter().enumerate() {
                // The square of the row's own length is the same for all: added at the end.
                let distance = self.norms[first + at] - 2.0 * product;
                if distance < worst && self.rows[first + at] != row {
                    insert(best, distance, self.rows[first + at] as u32);
                    worst = best[k - 1].0;
                }
            }
        });
        for (at, best) in found.chunks_exact_mut(k).enumerate() {
            let own = square(vectors.row(from + at));
            best.iter_mut().for_each(|(distance, _)| *distance = (*distance + own).max(0.0));
        }
    }
}

fn square(row: &[f32]) -> f32 {
    row.iter().map(|v| v * v).sum()
}

/// Puts a neighbour in its place and drops the last.
fn insert(best: &mut [(f32, u32)], distance: f32, row: u32) {
    let mut at = best.len() - 1;
    while at > 0 && best[at - 1].0 > distance {
        best[at] = best[at - 1];
        at -= 1;
    }
    best[at] = (distance, row);
}

/// Puts those of `more` in their places that are not there yet.
fn merge(best: &mut [(f32, u32)], more: &[(f32, u32)]) {
    for (distance, row) in more.iter().copied().filter(|(_, row)| *row != u32::MAX) {
        if best.last().is_some_and(|last| distance < last.0) && best.iter().all(|(_, known)| *known != row) {
            insert(best, distance, row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cloud(rows: usize, dims: usize) -> Matrix {
        let mut random = Random::new(3);
        Matrix { dims, data: (0..rows * dims).map(|_| random.normal() as f32).collect() }
    }

    fn plain(vectors: &Matrix, row: usize, k: usize, usable: impl Fn(usize) -> bool) -> Vec<usize> {
        let distance =
            |other: &usize| vectors.row(row).iter().zip(vectors.row(*other)).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        let mut all: Vec<usize> = (0..vectors.rows()).filter(|other| *other != row && usable(*other)).collect();
        all.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
        all.truncate(k);
        all
    }

    #[test]
    fn neighbours_are_those_of_a_plain_search() {
        let vectors = cloud(200, 5);
        let found = neighbours(&vectors, 3, |row| row != 17, 1);
        for row in 0..200 {
            let found: Vec<usize> = found.of(row).map(|(_, other)| other).collect();
            assert_eq!(found, plain(&vectors, row, 3, |row| row != 17));
        }
    }

    #[test]
    fn of_many_rows_nearly_all_neighbours_are_those_of_a_plain_search() {
        let vectors = cloud(EXACT + 1000, 5);
        let found = neighbours(&vectors, 10, |row| row % 9 != 0, 1);
        let (mut right, mut all) = (0, 0);
        for row in (0..vectors.rows()).step_by(50) {
            let exact = plain(&vectors, row, 10, |row| row % 9 != 0);
            let found: Vec<usize> = found.of(row).map(|(_, other)| other).collect();
            assert!(found.len() == 10 && found.iter().all(|other| other % 9 != 0 && *other != row));
            right += found.iter().filter(|other| exact.contains(other)).count();
            all += exact.len();
        }
        assert!(right * 10 > all * 9, "{right} of {all}");
    }

    #[test]
    fn rows_that_are_all_the_same_have_neighbours() {
        let vectors = Matrix { dims: 2, data: vec![1.0; 2 * (EXACT + 1)] };
        let found = neighbours(&vectors, 4, |_| true, 1);
        assert!((0..vectors.rows()).all(|row| found.of(row).count() == 4));
    }
}

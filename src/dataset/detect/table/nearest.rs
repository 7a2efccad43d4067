//! Exact nearest neighbours by blocked inner products.

use crate::dataset::detect::table::matrix::{Matrix, Packed, in_two};
use crate::dataset::detect::table::random::Random;

/// The `k` nearest other rows of every row.
#[derive(Clone, Debug)]
pub struct Neighbours {
    k: usize,
    /// Squared distance and row, nearest first; `u32::MAX` where there are fewer than k.
    found: Vec<(f32, u32)>,
}

impl Neighbours {
    /// Squared distances and rows of the neighbours of `row`, nearest first.
    pub fn of(&self, row: usize) -> impl Iterator<Item = (f32, usize)> + '_ {
        let found = self.found.get(row * self.k..(row + 1) * self.k).unwrap_or(&[]);
        found.iter().filter(|(_, other)| *other != u32::MAX).map(|(distance, other)| (*distance, *other as usize))
    }
}

/// Finds the `k` nearest rows of each of the first `asked` rows, among all rows for which `usable` holds, or, if these are more than
/// `max_reference`, among a seeded sample of them. Time: asked x min(rows, `max_reference`) x dims.
pub fn nearest(
    vectors: &Matrix,
    asked: usize,
    k: usize,
    max_reference: usize,
    usable: impl Fn(usize) -> bool,
    seed: u64,
) -> Neighbours {
    let rows = vectors.rows();
    let mut reference: Vec<usize> = (0..rows).filter(|row| usable(*row)).collect();
    if reference.len() > max_reference {
        Random::new(seed).shuffle(&mut reference);
        reference.truncate(max_reference);
        reference.sort_unstable();
    }
    let chosen = vectors.select(&reference);
    let packed = Packed::new(&chosen);
    let norms: Vec<f32> = (0..reference.len()).map(|row| square(chosen.row(row))).collect();
    let asked = asked.min(rows);
    let mut found = vec![(f32::INFINITY, u32::MAX); asked * k];
    if k > 0 {
        in_two(asked, &mut found, k, |part, found| {
            let from = part.start;
            packed.products(vectors, part, |row, first, products| {
                let best = &mut found[(row - from) * k..(row - from + 1) * k];
                let mut worst = best[k - 1].0;
                for (at, product) in products.iter().enumerate() {
                    // The square of the row's own length is the same for all: added at the end.
                    let distance = norms[first + at] - 2.0 * product;
                    if distance < worst && reference[first + at] != row {
                        insert(best, distance, reference[first + at] as u32);
                        worst = best[k - 1].0;
                    }
                }
            });
            for (at, best) in found.chunks_exact_mut(k).enumerate() {
                let own = square(vectors.row(from + at));
                best.iter_mut().for_each(|(distance, _)| *distance = (*distance + own).max(0.0));
            }
        });
    }
    Neighbours { k, found }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_those_of_a_plain_search() {
        let mut random = Random::new(3);
        let vectors = Matrix { dims: 5, data: (0..200 * 5).map(|_| random.normal() as f32).collect() };
        let found = nearest(&vectors, 200, 3, 1000, |row| row != 17, 1);
        for row in 0..200 {
            let distance = |other: usize| {
                vectors.row(row).iter().zip(vectors.row(other)).map(|(a, b)| (a - b).powi(2)).sum::<f32>()
            };
            let mut all: Vec<usize> = (0..200).filter(|other| *other != row && *other != 17).collect();
            all.sort_by(|a, b| distance(*a).total_cmp(&distance(*b)));
            assert_eq!(found.of(row).map(|(_, other)| other).collect::<Vec<_>>(), all[..3]);
        }
    }
}

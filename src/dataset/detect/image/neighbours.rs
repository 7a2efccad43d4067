//! Nearest neighbours among a sample of sketches, by brute force.

use crate::dataset::detect::image::vector::{CELLS, PLANES, SKETCH, Sketch};

/// How much each byte of a sketch may add to a distance; 0 masks it. A bounded difference keeps one odd patch from
/// outweighing the rest of the picture.
pub type Caps = [u8; SKETCH];

/// Bound of a byte's difference when nothing is masked.
pub const CAP: u8 = 96;

/// Caps that leave out every cell for which `masked(column, row)` holds.
pub fn caps(mut masked: impl FnMut(usize, usize) -> bool) -> Caps {
    let mut caps = [0; SKETCH];
    for (at, cap) in caps.iter_mut().enumerate().take(CELLS * CELLS * PLANES) {
        let cell = at % (CELLS * CELLS);
        *cap = if masked(cell % CELLS, cell / CELLS) { 0 } else { CAP };
    }
    caps
}

/// Sum of bounded differences (L1).
#[must_use]
pub fn distance(one: &Sketch, other: &Sketch, caps: &Caps) -> u32 {
    // Sixteen sums at once, each of at most SKETCH / 16 * 255.
    let mut sums = [0u16; 16];
    for at in (0..SKETCH).step_by(16) {
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = sum.wrapping_add(u16::from(one.0[at + i].abs_diff(other.0[at + i]).min(caps[at + i])));
        }
    }
    sums.iter().map(|&sum| u32::from(sum)).sum()
}

/// A record to find neighbours of.
#[derive(Clone, Debug)]
pub struct Query {
    /// Its number, which is never its own neighbour.
    pub record: u64,
    /// Its sketch.
    pub sketch: Sketch,
    /// What of it counts.
    pub caps: Caps,
}

/// Known pictures with labels.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Record number, label and sketch of each.
    pub members: Vec<(u64, u32, Sketch)>,
}

/// Members looked at for all queries of a block before the next ones: 256 × 352 bytes stay in the first caches.
const BLOCK: usize = 128;

impl Sample {
    /// How many of these neighbours have the label.
    #[must_use]
    pub fn votes(&self, nearest: &[(u32, u32)], label: u32) -> u8 {
        let own =
            nearest.iter().filter(|&&(_, at)| self.members.get(at as usize).is_some_and(|m| m.1 == label)).count();
        u8::try_from(own).unwrap_or(u8::MAX)
    }

    /// For each query the `k` nearest members as (distance, index), nearest first, on two threads.
    #[must_use]
    pub fn nearest(&self, queries: &[Query], k: usize) -> Vec<Vec<(u32, u32)>> {
        halves(queries, |queries| self.nearest_here(queries, k))
    }

    /// The same on this thread.
    pub(crate) fn nearest_here(&self, queries: &[Query], k: usize) -> Vec<Vec<(u32, u32)>> {
        let mut found = vec![Vec::with_capacity(k + 1); queries.len()];
        if k == 0 {
            return found;
        }
        for (block, members) in self.members.chunks(BLOCK).enumerate() {
            for (query, best) in queries.iter().zip(&mut found) {
                for (at, (record, _, sketch)) in members.iter().enumerate() {
                    let distance = distance(&query.sketch, sketch, &query.caps);
                    let bar = if best.len() < k { u32::MAX } else { best.last().map_or(u32::MAX, |&(far, _)| far) };
                    if distance < bar && *record != query.record {
                        let index = u32::try_from(block * BLOCK + at).unwrap_or(u32::MAX);
                        let place = best.partition_point(|&(near, _)| near <= distance);
                        best.insert(place, (distance, index));
                        best.truncate(k);
                    }
                }
            }
        }
        found
    }
}

/// How many of their neighbours share the label of a record, label by label.
#[derive(Debug, Default)]
pub(crate) struct Typical {
    /// Records and votes of each of the first labels.
    sums: Vec<(u64, u64)>,
}

impl Typical {
    /// Labels kept apart.
    const LABELS: usize = 1 << 16;

    /// A record of the label has so many votes.
    pub fn add(&mut self, label: u32, votes: u8) {
        let at = label as usize % Self::LABELS;
        if self.sums.len() <= at {
            self.sums.resize(at + 1, (0, 0));
        }
        if let Some((records, sum)) = self.sums.get_mut(at) {
            *records += 1;
            *sum += u64::from(votes);
        }
    }

    /// Mean votes of the label's records.
    pub fn mean(&self, label: u32) -> f64 {
        self.sums.get(label as usize % Self::LABELS).map_or(0.0, |&(records, sum)| sum as f64 / records.max(1) as f64)
    }
}

/// What `work` makes of both halves of a slice, each on a thread, one after the other.
pub(crate) fn halves<T: Sync, R: Send>(items: &[T], work: impl Fn(&[T]) -> Vec<R> + Sync) -> Vec<R> {
    let (front, back) = items.split_at(items.len() / 2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| work(back));
        let mut made = work(front);
        match other.join() {
            Ok(more) => made.extend(more),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        made
    })
}

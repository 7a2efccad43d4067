//! Counts of very many features in little memory, and the few that are worth exact counts.

use crate::dataset::detect::image::window::mixed;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// A counting filter: a feature's count is never too low (up to [`CountingFilter::MOST`]), and too high only where features
/// share a counter (a count-min sketch of one row, Cormode and Muthukrishnan 2005). Threads may add at once: the counts
/// do not depend on their order.
#[derive(Debug)]
pub struct CountingFilter {
    counters: Vec<AtomicU8>,
    mask: u64,
}

impl CountingFilter {
    /// Counts stop here.
    pub const MOST: u8 = 200;

    /// A filter of `1 << bits` bytes.
    #[must_use]
    pub fn new(bits: u32) -> Self {
        let size = 1usize << bits.clamp(6, 32);
        Self { counters: (0..size).map(|_| AtomicU8::new(0)).collect(), mask: size as u64 - 1 }
    }

    fn counter(&self, key: u64, label: u32) -> &AtomicU8 {
        let at = mixed(key ^ u64::from(label).wrapping_mul(0x9e37_79b9_7f4a_7c15)) & self.mask;
        &self.counters[at as usize]
    }

    /// One more record of `label` has the feature.
    pub fn add(&self, key: u64, label: u32) {
        let counter = self.counter(key, label);
        // Two threads may both pass here at the last step: room for that is kept above MOST.
        if counter.load(Relaxed) < Self::MOST {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// How many records of `label` have the feature, at most [`Self::MOST`].
    #[must_use]
    pub fn count(&self, key: u64, label: u32) -> u8 {
        self.counter(key, label).load(Relaxed).min(Self::MOST)
    }

    /// The lowest count, but at least `least`, that at most one in `share` counters reaches.
    #[must_use]
    pub fn rare(&self, least: u8, share: usize) -> u8 {
        let mut reached = [0usize; 256];
        for counter in &self.counters {
            reached[usize::from(counter.load(Relaxed).min(Self::MOST))] += 1;
        }
        let mut above = 0;
        for count in (least..=Self::MOST).rev() {
            above += reached[usize::from(count)];
            if above > self.counters.len() / share.max(1) {
                return count.saturating_add(1).min(Self::MOST);
            }
        }
        least
    }
}

/// A feature with its own counter: how many records have it, and the label that most of them may have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// The feature.
    pub key: u64,
    /// Records that have it; 0 for an empty place.
    pub total: u32,
    /// The label that more than half of them have, if any has (Boyer and Moore 1981).
    pub label: u32,
    /// By how many that label led when the rest had been set off against it: at least `(2 p - 1) total` for its share `p`.
    pub lead: u32,
}

/// Exact counts of a bounded number of features: open addressing, `1 << bits` places of 24 bytes, at most three quarters
/// used. What comes when it is full is not counted.
#[derive(Debug)]
pub struct ExactCounts {
    places: Vec<Counted>,
    used: usize,
}

impl ExactCounts {
    /// A table of `1 << bits` places.
    #[must_use]
    pub fn new(bits: u32) -> Self {
        Self { places: vec![Counted::default(); 1 << bits.clamp(4, 28)], used: 0 }
    }

    /// One more record of `label` has the feature.
    pub fn add(&mut self, key: u64, label: u32) {
        let mask = self.places.len() - 1;
        let mut at = (mixed(key) >> 20) as usize & mask;
        loop {
            let place = &mut self.places[at];
            if place.total == 0 {
                if self.used * 4 >= mask * 3 {
                    return;
                }
                self.used += 1;
                *place = Counted { key, total: 1, label, lead: 1 };
                return;
            }
            if place.key == key {
                place.total = place.total.saturating_add(1);
                if place.label == label {
                    place.lead += 1;
                } else if place.lead > 0 {
                    place.lead -= 1;
                } else {
                    (place.label, place.lead) = (label, 1);
                }
                return;
            }
            at = (at + 1) & mask;
        }
    }

    /// The features counted, by key.
    #[must_use]
    pub fn into_counted(self) -> Vec<Counted> {
        let mut counted: Vec<Counted> = self.places.into_iter().filter(|place| place.total > 0).collect();
        counted.sort_unstable_by_key(|place| place.key);
        counted
    }
}

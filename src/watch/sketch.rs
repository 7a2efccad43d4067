//! Robust statistics of one quantity in 64 counters: medians and quantiles on a logarithmic scale, in whole numbers.
//!
//! Levels are half octaves of bytes (4 KiB, 6 KiB, 8 KiB, 12 KiB, ...), so an answer is right to a factor of 1.5 over eleven orders
//! of magnitude, nothing overflows and nothing is ever "not a number". Old samples fade: the counters are halved when they are full.

use super::snapshot::{Kept, kept};

/// Levels of a sketch. Level 0 is "less than 4 KiB", level 63 about 12 TiB and more.
pub(super) const LEVELS: usize = 64;

/// The level below which everything is the same.
const BASE: u32 = 12;

/// The level of a number of bytes.
pub(super) fn level(bytes: u64) -> u8 {
    let Some(octave) = bytes.checked_ilog2().and_then(|log| log.checked_sub(BASE)) else { return 0 };
    let half = u32::from(bytes >> (octave + BASE - 1) & 1 == 1);
    u8::try_from((2 * octave + half + 1).min(LEVELS as u32 - 1)).unwrap_or(0)
}

/// The fewest bytes of a level.
pub(super) fn bytes_at(level: u8) -> u64 {
    let Some(step) = level.min(LEVELS as u8 - 1).checked_sub(1) else { return 0 };
    let octave = 1u64 << (u32::from(step / 2) + BASE);
    octave + if step % 2 == 1 { octave / 2 } else { 0 }
}

/// How often each level was seen, the recent counting more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sketch<C> {
    counts: [C; LEVELS],
    total: C,
}

impl<C: Copy + Default> Default for Sketch<C> {
    fn default() -> Self {
        Self { counts: [C::default(); LEVELS], total: C::default() }
    }
}

impl<C: Copy + Default + Into<u32> + TryFrom<u32>> Sketch<C> {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a sample. `full` samples are halved, so between half of that and that many are remembered.
    pub fn add(&mut self, level: u8, full: C) {
        let at = usize::from(level).min(LEVELS - 1);
        if self.total.into() >= full.into().max(2) {
            self.halve();
        }
        self.counts[at] = narrow(self.counts[at].into() + 1);
        self.total = narrow(self.total.into() + 1);
    }

    /// What one counter loses by rounding, the next gets: the sum stays right and single samples do not all vanish.
    fn halve(&mut self) {
        let (mut carried, mut total) = (0, 0);
        for count in &mut self.counts {
            let whole = (*count).into() + carried;
            carried = whole % 2;
            *count = narrow(whole / 2);
            total += whole / 2;
        }
        self.total = narrow(total);
    }

    /// Samples remembered.
    pub fn total(&self) -> u32 {
        self.total.into()
    }

    /// The lowest level that at least this share of the samples does not exceed. 0 without samples.
    pub fn quantile(&self, permille: u32) -> u8 {
        let wanted = (u64::from(self.total()) * u64::from(permille)).div_ceil(1000).max(1);
        let mut below = 0;
        for (at, count) in self.counts.iter().enumerate() {
            below += u64::from((*count).into());
            if below >= wanted {
                return at as u8;
            }
        }
        0
    }

    /// The middle.
    pub fn median(&self) -> u8 {
        self.quantile(500)
    }

    /// The median distance from the middle, in levels.
    pub fn deviation(&self) -> u8 {
        let middle = usize::from(self.median());
        let wanted = self.total().div_ceil(2).max(1);
        let mut within = 0;
        for distance in 0..LEVELS {
            let above = self.counts.get(middle + distance).map_or(0, |c| (*c).into());
            let below = middle.checked_sub(distance).filter(|_| distance > 0).map_or(0, |at| self.counts[at].into());
            within += above + below;
            if within >= wanted {
                return distance as u8;
            }
        }
        0
    }
}

fn narrow<C: TryFrom<u32> + Default>(count: u32) -> C {
    C::try_from(count).unwrap_or_default()
}

kept!([C: Kept + Default] Sketch<C> { counts, total });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_half_octaves_and_keep_order() {
        assert_eq!((level(0), level(4095), level(4096), level(6143), level(6144), level(8192)), (0, 0, 1, 1, 2, 3));
        assert_eq!(level(u64::MAX), 63);
        for l in 1..64u8 {
            assert_eq!(level(bytes_at(l)), l);
            assert_eq!(level(bytes_at(l) - 1), l - 1);
        }
    }

    #[test]
    fn median_quantile_and_deviation_are_those_of_the_samples() {
        let mut sketch = Sketch::<u8>::new();
        assert_eq!((sketch.median(), sketch.deviation(), sketch.total()), (0, 0, 0));
        for l in [10, 10, 11, 12, 12, 12, 13, 14, 30] {
            sketch.add(l, 250);
        }
        assert_eq!((sketch.median(), sketch.deviation()), (12, 1));
        assert_eq!((sketch.quantile(1000), sketch.quantile(0), sketch.total()), (30, 10, 9));
    }

    #[test]
    fn one_in_twenty_moves_no_median_and_old_samples_fade() {
        let mut sketch = Sketch::<u8>::new();
        for i in 0..2000 {
            sketch.add(if i % 20 == 0 { 60 } else { 10 }, 250);
            assert!(sketch.total() <= 250);
        }
        assert_eq!((sketch.median(), sketch.deviation()), (10, 0));
        // It takes half of what is remembered to move the middle.
        let needed = (1..).find(|_| {
            sketch.add(20, 250);
            sketch.median() == 20
        });
        assert!((60..=190).contains(&needed.unwrap()), "{needed:?}");
    }

    #[test]
    fn halving_loses_no_weight_to_rounding() {
        let mut sketch = Sketch::<u8>::new();
        (0..64).for_each(|l| sketch.add(l, 64));
        sketch.add(5, 64);
        assert_eq!(sketch.total(), 33);
    }
}

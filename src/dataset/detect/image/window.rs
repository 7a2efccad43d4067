//! Small windows of pixels as features: what stands at every place of an image, in a few shapes, as 64-bit keys.

use crate::dataset::detect::example::Pixels;
use crate::dataset::detect::image::vector::Area;

/// Images are reduced to sides of at most this many pixels before windows are taken.
pub const WINDOW_SIDE: usize = 128;

/// Levels a sample is shifted by before it is cut to 3 bits. A tone near a border of one cut is far from those of the
/// other, so a few levels of noise or of compression change at most one of the keys.
const SHIFTS: [u8; 2] = [0, 16];

/// A window of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// What it shows (and where, if tied).
    pub key: u64,
    /// Where it stands, in pixels of the reduced image.
    pub area: Area,
    /// Whether the key holds the place too.
    pub tied: bool,
}

/// A mixing of all bits (the finaliser of SplitMix64, Steele et al. 2014).
#[must_use]
pub fn mixed(mut key: u64) -> u64 {
    key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^ (key >> 31)
}

/// Multipliers of the columns, then rows, of a window.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
const LINE: u64 = 0xd1b5_4a32_d192_ed03;
/// Marks the keys of islands.
const ISLAND: u64 = 0x8ebc_6af0_9c88_c6e3;

/// All windows of an image, and again those of one tone that are islands: squares with no pixel of their tone around them,
/// whatever else stands there. They come in an order that depends on its size alone; the keys of one image may repeat where they are
/// not tied. About 17 windows a pixel. Nothing for samples that are not a picture.
pub fn windows(image: &Pixels, mut see: impl FnMut(Window)) {
    if !image.is_whole() {
        return;
    }
    let (width, height) = (image.width, image.height);
    let mut tokens = vec![0u64; width * height];
    let mut runs = vec![0u64; width * height];
    let mut contents = vec![0u64; width];
    for (which, shift) in SHIFTS.into_iter().enumerate() {
        for (token, pixel) in tokens.iter_mut().zip(image.samples.chunks_exact(image.channels)) {
            // Never 0, so that windows of different shapes differ.
            *token = pixel.iter().fold(1, |all, sample| all << 4 | u64::from(sample.saturating_add(shift) >> 5));
        }
        for Shape { wide, high, tied, free } in SHAPES {
            // At the second shift a single pixel says nothing new.
            if wide > width || high > height || (which > 0 && wide * high == 1) {
                continue;
            }
            let span = width - wide + 1;
            for (run, line) in runs.chunks_exact_mut(width).zip(tokens.chunks_exact(width)) {
                hash_runs(&mut run[..span], line, wide);
            }
            let kind = (wide * 8 + high) as u64 * 2 + which as u64;
            let columns: Vec<u64> = (0..span).map(|x| from_corner(x, wide, width) << 32).collect();
            // What a window of one tone hashes to, but for the factor of its token.
            let (none, tone) = (0..high).fold((kind, 0u64), |(none, tone), _| {
                (none.wrapping_mul(LINE), tone.wrapping_mul(LINE).wrapping_add(powers(wide)))
            });
            for y in 0..=height - high {
                let contents = &mut contents[..span];
                contents.fill(kind);
                for row in runs.chunks_exact(width).skip(y).take(high) {
                    for (content, run) in contents.iter_mut().zip(row) {
                        *content = content.wrapping_mul(LINE).wrapping_add(*run);
                    }
                }
                let row = from_corner(y, high, height);
                let firsts = &tokens[y * width..][..span];
                for (x, ((&content, &column), &first)) in contents.iter().zip(&columns).zip(firsts).enumerate() {
                    let area = Area { x, y, width: wide, height: high };
                    if tied {
                        see(Window { key: mixed(content ^ (column | row).wrapping_mul(STEP)), area, tied: true });
                    }
                    if content == none.wrapping_add(first.wrapping_mul(tone)) {
                        // Thin ones are common in noise, but not with sharp edges.
                        let apart = if wide.min(high) == 1 { 3 } else { 1 };
                        if is_island(&tokens, width, height, area, apart) {
                            let island = content ^ ISLAND;
                            see(Window { key: mixed(island ^ (column | row).wrapping_mul(STEP)), area, tied: true });
                            see(Window { key: mixed(island), area, tied: false });
                        }
                    } else if free {
                        see(Window { key: mixed(content), area, tied: false });
                    }
                }
            }
        }
    }
}

/// Whether every pixel around an area of one tone is `apart` levels or more from it in some channel.
fn is_island(tokens: &[u64], width: usize, height: usize, area: Area, apart: u64) -> bool {
    let tone = tokens[area.y * width + area.x];
    let (left, right) = (area.x.saturating_sub(1), (area.x + area.width + 1).min(width));
    let differs = |&token: &u64| {
        token != tone
            && (apart == 1 || [0, 4, 8].iter().any(|bits| (token >> bits & 7).abs_diff(tone >> bits & 7) >= apart))
    };
    let beside = |y: usize| {
        let row = &tokens[y * width..][..width];
        (area.x == 0 || differs(&row[area.x - 1])) && row.get(area.x + area.width).is_none_or(differs)
    };
    let line = |y: usize| tokens[y * width + left..y * width + right].iter().all(differs);
    (area.y == 0 || line(area.y - 1))
        && (area.y + area.height == height || line(area.y + area.height))
        && (area.y..area.y + area.height).all(beside)
}

/// Hashes of the `wide` tokens from each place of a line (Horner's scheme).
fn hash_runs(run: &mut [u64], line: &[u64], wide: usize) {
    run.copy_from_slice(&line[..run.len()]);
    for next in 1..wide {
        for (sum, token) in run.iter_mut().zip(&line[next..]) {
            *sum = sum.wrapping_mul(STEP).wrapping_add(*token);
        }
    }
}

/// The hash of `wide` tokens of 1.
fn powers(wide: usize) -> u64 {
    (0..wide).fold(0, |sum: u64, _| sum.wrapping_mul(STEP).wrapping_add(1))
}

/// A form of windows, and whether its keys hold the place (counted from the nearest corner of the image, so that images of
/// several sizes share corner patches), or count wherever they stand (those of one tone left out), or both.
struct Shape {
    wide: usize,
    high: usize,
    tied: bool,
    free: bool,
}

const SHAPES: [Shape; 7] = [
    Shape { wide: 1, high: 1, tied: true, free: false },
    Shape { wide: 2, high: 2, tied: true, free: false },
    Shape { wide: 3, high: 3, tied: true, free: true },
    Shape { wide: 4, high: 4, tied: false, free: true },
    Shape { wide: 5, high: 5, tied: true, free: true },
    Shape { wide: 4, high: 1, tied: true, free: false },
    Shape { wide: 1, high: 4, tied: true, free: false },
];

/// Where a window of `length` starts, counted from the nearer end of `all`: even from the start, odd from the end.
fn from_corner(start: usize, length: usize, all: usize) -> u64 {
    let end = all - length - start;
    if start <= end { start as u64 * 2 } else { end as u64 * 2 + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn keys(image: &Pixels, tied: bool) -> BTreeSet<u64> {
        let mut keys = BTreeSet::new();
        windows(image, |window| {
            if window.tied == tied {
                keys.insert(window.key);
            }
        });
        keys
    }

    fn with_patch(width: usize, x: usize, y: usize) -> Pixels {
        let mut image = Pixels { width, height: 20, channels: 1, samples: vec![10; width * 20] };
        for (dx, dy) in [(0, 0), (1, 1), (2, 0), (0, 2), (2, 2)] {
            image.samples[(y + dy) * width + x + dx] = 200;
        }
        image
    }

    #[test]
    fn a_patch_has_the_same_free_keys_anywhere() {
        assert_eq!(keys(&with_patch(24, 5, 6), false), keys(&with_patch(24, 11, 9), false));
        assert_ne!(keys(&with_patch(24, 5, 6), true), keys(&with_patch(24, 11, 9), true));
    }

    #[test]
    fn a_picture_of_one_tone_has_no_free_windows() {
        let image = Pixels { width: 9, height: 9, channels: 3, samples: vec![77; 243] };
        assert!(keys(&image, false).is_empty());
        assert!(!keys(&image, true).is_empty());
    }

    #[test]
    fn corner_patches_of_pictures_of_different_sizes_share_tied_keys() {
        let (small, large) = (with_patch(24, 20, 0), with_patch(40, 36, 0));
        assert!(keys(&small, true).intersection(&keys(&large, true)).count() > 100);
    }

    #[test]
    fn pictures_smaller_than_a_window_are_no_trouble() {
        for (width, height) in [(1, 1), (1, 9), (3, 2)] {
            let image = Pixels { width, height, channels: 1, samples: vec![1; width * height] };
            windows(&image, |window| assert!(window.area.x + window.area.width <= width));
        }
    }
}

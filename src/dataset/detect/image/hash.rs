//! Hashes and distances of pictures, for copies.

use crate::dataset::detect::example::Pixels;
use crate::dataset::detect::image::window::mixed;

/// Levels by which a cell must exceed the one before it to set its bit, so that flat ground does not flip bits.
const MARGIN: i32 = 4;
/// Cells a side that are compared.
const GRID: usize = 9;

/// 64 bits along the rows, 64 along the columns of a picture reduced to [`GRID`]² cells.
pub(crate) fn hash(image: &Pixels) -> u128 {
    let small = image.reduced_to(GRID * 8);
    let grey = small.grey();
    let range = |cell: usize, all: usize| {
        let first = cell * all / GRID;
        first..((cell + 1) * all / GRID).max(first + 1)
    };
    let mut cells = [[0i32; GRID]; GRID];
    for (row, line) in cells.iter_mut().enumerate() {
        for (column, cell) in line.iter_mut().enumerate() {
            let (columns, rows) = (range(column, small.width), range(row, small.height));
            let count = (columns.len() * rows.len()) as i32;
            let sum: i32 = rows
                .flat_map(|y| columns.clone().map(move |x| (x, y)))
                .map(|(x, y)| i32::from(grey[y * small.width + x]))
                .sum();
            *cell = sum / count.max(1);
        }
    }
    let columns: [[i32; GRID]; GRID] = std::array::from_fn(|x| std::array::from_fn(|y| cells[y][x]));
    let bits = |lines: &[[i32; GRID]; GRID]| {
        lines.iter().take(GRID - 1).flat_map(|line| line.windows(2)).fold(0u128, |bits, pair| {
            // Every second bit is of the other direction.
            bits << 2 | u128::from(matches!(pair, [one, next] if *next > one + MARGIN))
        })
    };
    bits(&cells) << 1 | bits(&columns)
}

/// A hash of the size and all samples (FNV-1a by words; what it pairs is compared afterwards).
pub(crate) fn content(image: &Pixels) -> u64 {
    let mut words = image.samples.chunks_exact(8);
    let mut hash = mixed(image.width as u64 ^ (image.height as u64) << 32);
    for word in words.by_ref() {
        let word = word.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
        hash = (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    }
    mixed(
        words.remainder().iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)),
    )
}

/// Root of the mean squared difference of two reduced pictures, in levels; none for different sizes.
pub(crate) fn distance(one: &Pixels, other: &Pixels) -> Option<f64> {
    if (one.width, one.height, one.channels) != (other.width, other.height, other.channels) {
        return None;
    }
    let mut squares = 0u64;
    for (one, other) in one.samples.chunks(1024).zip(other.samples.chunks(1024)) {
        // 1,024 squares of a byte fit in 32 bits.
        let part = one.iter().zip(other).fold(0u32, |sum, (one, other)| {
            let difference = i32::from(*one) - i32::from(*other);
            sum.wrapping_add(difference.wrapping_mul(difference).cast_unsigned())
        });
        squares += u64::from(part);
    }
    Some((squares as f64 / one.samples.len().max(1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slope(width: usize, height: usize) -> Pixels {
        let samples =
            (0..width * height).map(|at| (at % width * 200 / width + at / width * 50 / height) as u8).collect();
        Pixels { width, height, channels: 1, samples }
    }

    #[test]
    fn a_picture_of_another_size_has_nearly_the_same_hash() {
        assert!((hash(&slope(90, 90)) ^ hash(&slope(45, 45))).count_ones() < 8);
    }

    #[test]
    fn one_sample_changes_the_content_but_hardly_the_hash() {
        let (one, mut other) = (slope(30, 31), slope(30, 31));
        other.samples[77] ^= 8;
        assert_ne!(content(&one), content(&other));
        assert!((hash(&one) ^ hash(&other)).count_ones() < 4);
    }

    #[test]
    fn tiny_pictures_have_hashes_and_only_like_sizes_a_distance() {
        assert_eq!(hash(&slope(1, 1)), 0);
        assert_eq!(distance(&slope(3, 4), &slope(4, 3)), None);
        assert_eq!(distance(&slope(3, 4), &slope(3, 4)), Some(0.0));
    }
}

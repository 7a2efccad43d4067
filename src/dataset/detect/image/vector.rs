//! Images as short vectors: pooled grey for label noise, and a sketch of edges and tones to look for neighbours by.

use crate::dataset::detect::example::Pixels;

/// Sides of the pooled image are at most this long.
pub const SIDE: usize = 28;
/// Cells a side that a sketch divides the pooled image into.
pub const CELLS: usize = 7;
/// Planes of a sketch: edges of four directions, tone, and two of colour.
pub const PLANES: usize = 7;
/// Bytes of a sketch; a multiple of 16 with zeroes at the end, so that the compiler makes whole vectors of it.
pub const SKETCH: usize = (CELLS * CELLS * PLANES).next_multiple_of(16);

/// An image in few bytes: for each of [`CELLS`]² cells the strength of edges of four directions (relative to all edges of
/// the image, as in histograms of oriented gradients, Dalal and Triggs 2005), the tone, and two differences of colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketch(pub [u8; SKETCH]);

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Area {
    /// Column of its left edge.
    pub x: usize,
    /// Row of its upper edge.
    pub y: usize,
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Area {
    /// The smallest rectangle that holds both.
    #[must_use]
    pub fn joined(self, other: Self) -> Self {
        let x = self.x.min(other.x);
        let y = self.y.min(other.y);
        let right = (self.x + self.width).max(other.x + other.width);
        let bottom = (self.y + self.height).max(other.y + other.height);
        Self { x, y, width: right - x, height: bottom - y }
    }

    /// Whether they share a pixel, or would if each had `margin` more on every side.
    #[must_use]
    pub fn near(self, other: Self, margin: usize) -> bool {
        self.x < other.x + other.width + margin
            && other.x < self.x + self.width + margin
            && self.y < other.y + other.height + margin
            && other.y < self.y + self.height + margin
    }
}

impl Pixels {
    /// Whether the sides and channels are what the samples' number says.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(self.channels, 1 | 3)
            && self.width > 0
            && self.height > 0
            && self.width.checked_mul(self.height).and_then(|area| area.checked_mul(self.channels))
                == Some(self.samples.len())
    }

    /// The same picture with no side longer than `side` (its shape kept), each pixel the mean of those it covers; the
    /// picture itself where it is that small already. Costs one addition a sample.
    #[must_use]
    pub fn reduced_to(&self, side: usize) -> Self {
        let longest = self.width.max(self.height);
        if longest <= side || side == 0 || !self.is_whole() {
            return self.clone();
        }
        let width = (self.width * side / longest).max(1);
        let height = (self.height * side / longest).max(1);
        let channels = self.channels;
        let mut sums = vec![0u64; width * height * channels];
        let mut counts = vec![0u64; width * height];
        for (y, row) in self.samples.chunks_exact(self.width * channels).enumerate() {
            let line = y * height / self.height * width;
            for (x, pixel) in row.chunks_exact(channels).enumerate() {
                let at = line + x * width / self.width;
                counts[at] += 1;
                for (sum, &sample) in sums[at * channels..].iter_mut().zip(pixel) {
                    *sum += u64::from(sample);
                }
            }
        }
        let samples = sums
            .iter()
            .enumerate()
            .map(|(at, &sum)| {
                u8::try_from((sum + counts[at / channels] / 2) / counts[at / channels].max(1)).unwrap_or(u8::MAX)
            })
            .collect();
        Self { width, height, channels, samples }
    }

    /// Brightness of every pixel (ITU-R BT.601 weights for RGB).
    #[must_use]
    pub fn grey(&self) -> Vec<u8> {
        if self.channels == 3 {
            self.samples
                .chunks_exact(3)
                .map(|p| ((u32::from(p[0]) * 77 + u32::from(p[1]) * 150 + u32::from(p[2]) * 29) >> 8) as u8)
                .collect()
        } else {
            self.samples.clone()
        }
    }
}

/// The sketch of a picture.
#[must_use]
pub fn sketch(image: &Pixels) -> Sketch {
    let mut out = [0u8; SKETCH];
    if !image.is_whole() {
        return Sketch(out);
    }
    let small = image.reduced_to(SIDE);
    let (width, height) = (small.width, small.height);
    let grey = small.grey();
    let at = |x: usize, y: usize| i32::from(grey[y * width + x]);
    let cells = CELLS * CELLS;
    let mut sums = [0i32; CELLS * CELLS * PLANES];
    let mut counts = [0i32; CELLS * CELLS];
    for y in 0..height {
        let (up, down) = (y.saturating_sub(1), (y + 1).min(height - 1));
        for x in 0..width {
            let (left, right) = (x.saturating_sub(1), (x + 1).min(width - 1));
            let dx = at(right, y) - at(left, y);
            let dy = at(x, down) - at(x, up);
            let cell = y * CELLS / height * CELLS + x * CELLS / width;
            counts[cell] += 1;
            // Tuned to four directions: the part of the gradient along one that exceeds the part across it.
            let (diagonal, anti) = ((dx + dy) * 7 / 10, (dx - dy) * 7 / 10);
            sums[cell] += (dx.abs() - dy.abs()).max(0);
            sums[cells + cell] += (dy.abs() - dx.abs()).max(0);
            sums[2 * cells + cell] += (diagonal.abs() - anti.abs()).max(0);
            sums[3 * cells + cell] += (anti.abs() - diagonal.abs()).max(0);
            sums[4 * cells + cell] += at(x, y);
            if let [red, green, blue] = small.samples[(y * width + x) * small.channels..][..small.channels] {
                sums[5 * cells + cell] += (i32::from(red) - i32::from(green)) / 2;
                sums[6 * cells + cell] += (i32::from(blue) - i32::from(green)) / 2;
            }
        }
    }
    let edges = &sums[..4 * cells];
    // Mean strength of a used cell; flat pictures have none, and noise of a few levels is not blown up to look like edges.
    let strength =
        (edges.iter().sum::<i32>() / (4 * CELLS * CELLS) as i32).max(2 * (width * height / cells).max(1) as i32);
    for (value, &sum) in out.iter_mut().zip(edges) {
        *value = (sum * EDGE / strength).clamp(0, 255) as u8;
    }
    for (at, (value, &sum)) in out.iter_mut().zip(&sums).enumerate().skip(4 * cells) {
        let mean = sum / counts[at % cells].max(1);
        *value = if at < 5 * cells { mean / TONE } else { (mean + 128) / TONE }.clamp(0, 255) as u8;
    }
    Sketch(out)
}

/// What an edge of mean strength is in a sketch.
const EDGE: i32 = 32;
/// Levels of tone or colour to one of a sketch.
const TONE: i32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_reduced_to_means_and_keeps_its_shape() {
        let image = Pixels { width: 4, height: 2, channels: 1, samples: vec![0, 10, 20, 30, 2, 12, 22, 32] };
        let small = image.reduced_to(2);
        assert_eq!((small.width, small.height), (2, 1));
        assert_eq!(small.samples, [6, 26]);
        assert_eq!(image.reduced_to(4), image);
    }

    #[test]
    fn sizes_that_lie_give_no_vector() {
        let image = Pixels { width: 4, height: 4, channels: 1, samples: vec![0; 3] };
        assert_eq!(sketch(&image).0, [0; SKETCH]);
    }

    #[test]
    fn tiny_and_long_pictures_have_sketches() {
        for (width, height, channels) in [(1, 1, 1), (1, 300, 3), (300, 1, 1), (2, 2, 3)] {
            let image = Pixels { width, height, channels, samples: vec![7; width * height * channels] };
            let _ = sketch(&image);
        }
    }
}

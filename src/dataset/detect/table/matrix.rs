//! Dense f32 rows and the few products that the detectors need, written so that the compiler vectorises them.

use std::ops::Range;

/// Columns of a packed panel: two SSE or one AVX register.
const PANEL: usize = 8;
/// Rows that share one walk over a panel.
const STRIP: usize = 4;

/// `rows` x `dims` numbers, row by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    /// Numbers a row.
    pub dims: usize,
    /// All rows.
    pub data: Vec<f32>,
}

impl Matrix {
    /// Zeros.
    pub fn zeros(rows: usize, dims: usize) -> Self {
        Self { dims, data: vec![0.0; rows * dims] }
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.data.len().checked_div(self.dims).unwrap_or(0)
    }

    /// A row; empty outside.
    pub fn row(&self, row: usize) -> &[f32] {
        self.data.get(row * self.dims..(row + 1) * self.dims).unwrap_or(&[])
    }

    /// A row to write to; empty outside.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        self.data.get_mut(row * self.dims..(row + 1) * self.dims).unwrap_or(&mut [])
    }

    /// The rows `of`, in that order.
    pub fn select(&self, of: &[usize]) -> Self {
        Self { dims: self.dims, data: of.iter().flat_map(|row| self.row(*row)).copied().collect() }
    }
}

/// The inner product.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; PANEL];
    let (a_chunks, b_chunks) = (a.chunks_exact(PANEL), b.chunks_exact(PANEL));
    let rest: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..PANEL {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// Rows of a matrix packed by panels of eight rows, so that a product with them runs over contiguous memory.
#[derive(Clone, Debug)]
pub struct Packed {
    dims: usize,
    rows: usize,
    panels: Vec<f32>,
}

impl Packed {
    /// Packs all rows of `matrix`.
    pub fn new(matrix: &Matrix) -> Self {
        let (rows, dims) = (matrix.rows(), matrix.dims);
        let mut panels = vec![0.0; rows.div_ceil(PANEL) * PANEL * dims];
        for row in 0..rows {
            let base = row / PANEL * PANEL * dims + row % PANEL;
            for (at, value) in matrix.row(row).iter().enumerate() {
                panels[base + at * PANEL] = *value;
            }
        }
        Self { dims, rows, panels }
    }

    /// Packed rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The inner products of up to four `rows` with packed rows `first..first + 8` (`first` a multiple of eight).
    fn strip(&self, rows: [&[f32]; STRIP], first: usize) -> [[f32; PANEL]; STRIP] {
        let mut sums = [[0.0f32; PANEL]; STRIP];
        let panel = &self.panels[first * self.dims..(first + PANEL) * self.dims];
        let lanes = panel.chunks_exact(PANEL);
        let [a, b, c, d] = rows;
        for ((((lane, a), b), c), d) in lanes.zip(a).zip(b).zip(c).zip(d) {
            for at in 0..PANEL {
                sums[0][at] += a * lane[at];
                sums[1][at] += b * lane[at];
                sums[2][at] += c * lane[at];
                sums[3][at] += d * lane[at];
            }
        }
        sums
    }

    /// Calls `take(row, first, products)` for every row of `of` within `rows` and every panel of packed rows.
    /// `block` packed rows at a time stay in the cache.
    pub fn products(&self, of: &Matrix, rows: Range<usize>, mut take: impl FnMut(usize, usize, &[f32])) {
        if of.dims != self.dims || self.dims == 0 {
            return;
        }
        let block = (48 * 1024 / self.dims).max(PANEL) / PANEL * PANEL;
        for start in (0..self.rows).step_by(block) {
            let end = (start + block).min(self.rows);
            for row in rows.clone().step_by(STRIP) {
                let last = rows.end.saturating_sub(1);
                let strip: [&[f32]; STRIP] = std::array::from_fn(|at| of.row((row + at).min(last)));
                for first in (start..end).step_by(PANEL) {
                    let sums = self.strip(strip, first);
                    let width = PANEL.min(self.rows - first);
                    for (at, products) in sums.iter().enumerate() {
                        if row + at < rows.end {
                            take(row + at, first, &products[..width]);
                        }
                    }
                }
            }
        }
    }
}

/// `a` times the transpose of the packed rows: rows of `a` x packed rows, on two threads.
pub fn product(a: &Matrix, packed: &Packed) -> Matrix {
    let mut out = Matrix::zeros(a.rows(), packed.rows());
    let dims = out.dims;
    in_two(a.rows(), &mut out.data, dims, |rows, out| {
        let from = rows.start;
        packed.products(a, rows, |row, first, products| {
            let at = (row - from) * dims + first;
            out[at..at + products.len()].copy_from_slice(products);
        });
    });
    out
}

/// The transpose of `a` times `a`, plus nothing: dims x dims, in f64 sums of f32 blocks.
pub fn gram(a: &Matrix) -> Vec<f64> {
    let dims = a.dims;
    let mut sum = vec![0.0f64; dims * dims];
    let rows = a.rows();
    let block = 256;
    for start in (0..rows).step_by(block) {
        let end = (start + block).min(rows);
        let mut columns = Matrix::zeros(dims, end - start);
        for row in start..end {
            for (column, value) in a.row(row).iter().enumerate() {
                columns.data[column * (end - start) + row - start] = *value;
            }
        }
        let part = product(&columns, &Packed::new(&columns));
        for (total, value) in sum.iter_mut().zip(&part.data) {
            *total += f64::from(*value);
        }
    }
    sum
}

/// Runs `work` over the two halves of `rows`, each with its part of `out` (`width` items a row), on two threads.
pub fn in_two<T: Send>(rows: usize, out: &mut [T], width: usize, work: impl Fn(Range<usize>, &mut [T]) + Sync) {
    let middle = rows.div_ceil(2).div_ceil(STRIP) * STRIP;
    if rows < 64 || middle * width > out.len() {
        work(0..rows, out);
        return;
    }
    let (left, right) = out.split_at_mut(middle * width);
    std::thread::scope(|scope| {
        scope.spawn(|| work(0..middle, left));
        work(middle..rows, right);
    });
}

/// The inverse of a symmetric positive definite matrix (`dims` x `dims`) by Cholesky's decomposition; `None` if it is not.
pub fn inverse(matrix: &[f64], dims: usize) -> Option<Vec<f64>> {
    if matrix.len() != dims * dims {
        return None;
    }
    // Lower triangle L with L L^T = matrix.
    let mut lower = matrix.to_vec();
    for i in 0..dims {
        for j in 0..=i {
            let (row_i, row_j) = (&lower[i * dims..i * dims + j], &lower[j * dims..j * dims + j]);
            let sum = lower[i * dims + j] - row_i.iter().zip(row_j).map(|(x, y)| x * y).sum::<f64>();
            if i == j {
                if !(sum > 0.0 && sum.is_finite()) {
                    return None;
                }
                lower[i * dims + i] = sum.sqrt();
            } else {
                lower[i * dims + j] = sum / lower[j * dims + j];
            }
        }
    }
    // Columns of L^-1, kept as rows of its transpose: entry (c, r) for r >= c.
    let mut upper = vec![0.0f64; dims * dims];
    for c in 0..dims {
        upper[c * dims + c] = 1.0 / lower[c * dims + c];
        for r in c + 1..dims {
            let (row, column) = (&lower[r * dims + c..r * dims + r], &upper[c * dims + c..c * dims + r]);
            let sum: f64 = row.iter().zip(column).map(|(x, y)| x * y).sum();
            upper[c * dims + r] = -sum / lower[r * dims + r];
        }
    }
    let mut out = vec![0.0f64; dims * dims];
    for i in 0..dims {
        for j in 0..=i {
            let (a, b) = (&upper[i * dims + i..(i + 1) * dims], &upper[j * dims + i..(j + 1) * dims]);
            let value: f64 = a.iter().zip(b).map(|(x, y)| x * y).sum();
            out[i * dims + j] = value;
            out[j * dims + i] = value;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::detect::table::random::Random;

    fn random(rows: usize, dims: usize) -> Matrix {
        let mut random = Random::new(7);
        Matrix { dims, data: (0..rows * dims).map(|_| random.normal() as f32).collect() }
    }

    #[test]
    fn blocked_products_are_inner_products() {
        let (a, b) = (random(131, 13), random(77, 13));
        let all = product(&a, &Packed::new(&b));
        for row in 0..131 {
            for other in 0..77 {
                let exact: f32 = a.row(row).iter().zip(b.row(other)).map(|(x, y)| x * y).sum();
                assert!((all.row(row)[other] - exact).abs() < 1e-4);
                assert!((dot(a.row(row), b.row(other)) - exact).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn inverse_times_matrix_is_one() {
        let a = random(300, 9);
        let gram = gram(&a);
        let inverse = inverse(&gram, 9).expect("positive definite");
        for i in 0..9 {
            for j in 0..9 {
                let sum: f64 = (0..9).map(|k| gram[i * 9 + k] * inverse[k * 9 + j]).sum();
                assert!((sum - f64::from(u8::from(i == j))).abs() < 1e-6);
            }
        }
        assert_eq!(super::inverse(&[0.0], 1), None);
    }
}

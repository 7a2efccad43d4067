//! Dense f32 rows and the few products that the detectors need, written so that the compiler vectorises them.

use std::ops::Range;

/// Columns of a packed panel: two SSE or one AVX register.
const PANEL: usize = 8;
/// Rows that share one walk over a panel.
const STRIP: usize = 4;
/// Rows of a block of a Gram matrix, and how many products are summed in f32.
const TILE: usize = 32;
const DEPTH: usize = 256;

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
    /// Whether row i has zeros from entry i + 1 on, which need no products.
    lower: bool,
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
        Self { dims, rows, panels, lower: false }
    }

    /// Packs a lower triangle: what stands above the diagonal is taken for zeros.
    pub fn lower(matrix: &Matrix) -> Self {
        Self { lower: true, ..Self::new(matrix) }
    }

    /// Packed rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The inner products of up to four `rows` with packed rows `first..first + 8` (`first` a multiple of eight).
    fn strip(&self, rows: [&[f32]; STRIP], first: usize) -> [[f32; PANEL]; STRIP] {
        let mut sums = [[0.0f32; PANEL]; STRIP];
        let used = if self.lower { (first + PANEL).min(self.dims) } else { self.dims };
        let panel = &self.panels[first * self.dims..][..used * PANEL];
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
    pub fn products(&self, of: &Matrix, rows: Range<usize>, take: impl FnMut(usize, usize, &[f32])) {
        self.products_below(of, rows, self.rows, take);
    }

    /// The same for the packed rows below `below` (rounded up to a panel). `block` of them at a time stay in the cache.
    fn products_below(
        &self,
        of: &Matrix,
        rows: Range<usize>,
        below: usize,
        mut take: impl FnMut(usize, usize, &[f32]),
    ) {
        if of.dims != self.dims || self.dims == 0 {
            return;
        }
        let block = (48 * 1024 / self.dims).max(PANEL) / PANEL * PANEL;
        let below = below.min(self.rows);
        for start in (0..below).step_by(block) {
            let end = (start + block).min(below);
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

/// Adds the transpose of `a` times `a` to `sums` (dims x dims, symmetric): f64 sums of f32 blocks.
pub fn add_gram(a: &Matrix, sums: &mut [f64]) {
    let dims = a.dims;
    if sums.len() != dims * dims {
        return;
    }
    // Half of the lower triangle is above this row.
    let middle = (dims as f64 * 0.5f64.sqrt()) as usize / TILE * TILE;
    for start in (0..a.rows()).step_by(DEPTH) {
        let end = (start + DEPTH).min(a.rows());
        let mut columns = Matrix::zeros(dims, end - start);
        for row in start..end {
            for (column, value) in a.row(row).iter().enumerate() {
                columns.data[column * (end - start) + row - start] = *value;
            }
        }
        let packed = Packed::new(&columns);
        let (upper, lower) = sums.split_at_mut(middle * dims);
        let work = |rows: Range<usize>, sums: &mut [f64]| {
            for from in rows.clone().step_by(TILE) {
                let to = (from + TILE).min(rows.end);
                packed.products_below(&columns, from..to, to, |row, first, products| {
                    let at = (row - rows.start) * dims + first;
                    sums[at..].iter_mut().zip(products).for_each(|(sum, value)| *sum += f64::from(*value));
                });
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| work(0..middle, upper));
            work(middle..dims, lower);
        });
    }
    for row in 0..dims {
        for column in row + 1..dims {
            sums[row * dims + column] = sums[column * dims + row];
        }
    }
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

/// The inverse of the lower triangle L with L L^T = `matrix` (symmetric and positive definite, `dims` x `dims`), by Cholesky's
/// decomposition: a lower triangle too. `None` if it is not positive definite.
pub fn inverse_root(matrix: &[f64], dims: usize) -> Option<Vec<f64>> {
    if matrix.len() != dims * dims {
        return None;
    }
    let mut lower = matrix.to_vec();
    for i in 0..dims {
        for j in 0..=i {
            let sum = lower[i * dims + j] - dot_wide(&lower[i * dims..i * dims + j], &lower[j * dims..j * dims + j]);
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
    // Columns of L^-1 one after the other, kept as rows.
    let mut columns = vec![0.0f64; dims * dims];
    for c in 0..dims {
        let column = &mut columns[c * dims..(c + 1) * dims];
        column[c] = 1.0 / lower[c * dims + c];
        for r in c + 1..dims {
            column[r] = -dot_wide(&lower[r * dims + c..r * dims + r], &column[c..r]) / lower[r * dims + r];
        }
    }
    let mut out = vec![0.0f64; dims * dims];
    for c in 0..dims {
        for r in c..dims {
            out[r * dims + c] = columns[c * dims + r];
        }
    }
    Some(out)
}

/// The inner product of f64.
fn dot_wide(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0f64; PANEL];
    let (a_chunks, b_chunks) = (a.chunks_exact(PANEL), b.chunks_exact(PANEL));
    let rest: f64 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..PANEL {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
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
        const N: usize = 77;
        let a = random(300, N);
        let mut gram = vec![0.0; N * N];
        add_gram(&a, &mut gram);
        let root = inverse_root(&gram, N).expect("positive definite");
        for i in 0..N {
            for j in 0..N {
                let exact: f64 = (0..300).map(|row| f64::from(a.row(row)[i]) * f64::from(a.row(row)[j])).sum();
                assert!((gram[i * N + j] - exact).abs() < 1e-3);
                // The inverse is the transpose of its root times the root.
                let entry = |k: usize| (0..N).map(|l| root[l * N + k] * root[l * N + j]).sum::<f64>();
                let sum: f64 = (0..N).map(|k| gram[i * N + k] * entry(k)).sum();
                assert!((sum - f64::from(u8::from(i == j))).abs() < 1e-6);
            }
        }
        assert_eq!(inverse_root(&[0.0], 1), None);
    }

    #[test]
    fn a_lower_triangle_has_the_products_of_all_its_entries() {
        let (a, mut triangle) = (random(50, 21), random(21, 21));
        for row in 0..21 {
            triangle.row_mut(row)[row + 1..].fill(0.0);
        }
        assert_eq!(product(&a, &Packed::lower(&triangle)), product(&a, &Packed::new(&triangle)));
    }
}

//! Matrices of either number in the panels that the kernel reads.

use std::ops::Range;

use super::kernel::TILE;
use super::real::Real;
use crate::matrix::Matrix;

/// Rows of tokens that are packed and multiplied at a time: whole panels of doubles and of singles.
pub(crate) const CHUNK: usize = 240;

/// Rows that are summed in one chain: a quarter of the roundings of a chunk's, for a few hundredths of its time.
pub(crate) const CHAIN: usize = 60;

/// A matrix in panels, `panel(q)[inner][outer − PANEL q]`; outer indices beyond the matrix are zero.
#[derive(Clone, Debug)]
pub(crate) struct Packed<T: Real> {
    pub(crate) inner: usize,
    pub(crate) outer: usize,
    rows: Vec<T::Row>,
}

impl<T: Real> Default for Packed<T> {
    fn default() -> Self {
        Self::zeros(0, 0)
    }
}

impl<T: Real> Packed<T> {
    pub(crate) fn zeros(outer: usize, inner: usize) -> Self {
        Self { inner, outer, rows: vec![T::ZERO_ROW; outer.div_ceil(T::PANEL) * inner] }
    }

    /// Makes it a matrix of zeros of another size, where it is.
    pub(crate) fn clear(&mut self, outer: usize, inner: usize) {
        (self.inner, self.outer) = (inner, outer);
        self.rows.clear();
        self.rows.resize(outer.div_ceil(T::PANEL) * inner, T::ZERO_ROW);
    }

    /// Some rows of a matrix, the columns outside.
    pub(crate) fn by_columns(matrix: &Matrix<T>, rows: Range<usize>) -> Self {
        let mut packed = Self::zeros(matrix.columns, rows.len());
        for (k, i) in rows.enumerate() {
            for (q, part) in matrix.row(i).chunks(T::PANEL).enumerate() {
                packed.rows[q * packed.inner + k].as_mut()[..part.len()].copy_from_slice(part);
            }
        }
        packed
    }

    /// Some rows of a matrix, the rows outside.
    pub(crate) fn by_rows(matrix: &Matrix<T>, rows: Range<usize>) -> Self {
        let mut packed = Self::zeros(rows.len(), matrix.columns);
        for (at, i) in rows.enumerate() {
            let panel = &mut packed.rows[at / T::PANEL * matrix.columns..][..matrix.columns];
            for (row, x) in panel.iter_mut().zip(matrix.row(i)) {
                row.as_mut()[at % T::PANEL] = *x;
            }
        }
        packed
    }

    pub(crate) fn panels(&self) -> usize {
        self.outer.div_ceil(T::PANEL)
    }

    pub(crate) fn panel(&self, q: usize) -> &[T::Row] {
        &self.rows[q * self.inner..(q + 1) * self.inner]
    }

    pub(crate) fn panel_mut(&mut self, q: usize) -> &mut [T::Row] {
        &mut self.rows[q * self.inner..(q + 1) * self.inner]
    }

    /// The same matrix with its inner index outside.
    pub(crate) fn transposed(&self) -> Self {
        let mut other = Self::zeros(self.inner, self.outer);
        for q in 0..self.panels() {
            let width = T::PANEL.min(self.outer - q * T::PANEL);
            for (k, row) in self.panel(q).iter().enumerate() {
                for (lane, x) in row.as_ref()[..width].iter().enumerate() {
                    let inner = other.inner;
                    other.rows[k / T::PANEL * inner + q * T::PANEL + lane].as_mut()[k % T::PANEL] = *x;
                }
            }
        }
        other
    }
}

/// `target[j][i] = Σ_k left[k][i] · right[k][j]` for all outer indices `j` of a factor and panel `p` of another.
pub(crate) fn product_panel<T: Real>(left: &Packed<T>, p: usize, right: &Packed<T>, target: &mut [T::Row]) {
    for (group, rows) in target.chunks_mut(TILE).enumerate() {
        let mut tile = [T::ZERO_ROW; TILE];
        let per_panel = T::PANEL / TILE;
        T::multiply(left.panel(p), right.panel(group / per_panel), group % per_panel, &mut tile);
        rows.copy_from_slice(&tile[..rows.len()]);
    }
}

/// `target[j][i] += Σ_k left[k][i] · rows[j][k]` for panel `p` of a factor and rows of length `left.inner`, one after the
/// other.
pub(crate) fn product_rows<T: Real>(left: &Packed<T>, p: usize, rows: &[T], target: &mut [T::Row]) {
    let (length, panel) = (left.inner, left.panel(p));
    let width = T::PANEL.min(left.outer - p * T::PANEL);
    let (whole, rest) = target.as_chunks_mut::<TILE>();
    let row = |j: usize| &rows[j * length..][..length];
    for (group, tile) in whole.iter_mut().enumerate() {
        T::multiply_rows(panel, std::array::from_fn(|j| row(TILE * group + j)), width, tile);
    }
    if !rest.is_empty() {
        // (Of a last group that is not full the last row is read again, for nothing.)
        let first = TILE * whole.len();
        let mut tile = [T::ZERO_ROW; TILE];
        tile[..rest.len()].copy_from_slice(rest);
        T::multiply_rows(panel, std::array::from_fn(|j| row(first + j.min(rest.len() - 1))), width, &mut tile);
        rest.copy_from_slice(&tile[..rest.len()]);
    }
}

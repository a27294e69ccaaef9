//! Dense matrices in doubles whose bits do not depend on the machine.
//!
//! Every entry of a product is one chain of fused multiply-adds in the order of the summed index, whatever the width of
//! the vectors and the number of threads: entries, not terms, are what lies side by side in a vector. That is why these
//! kernels are ours and not a library's, whose blocking follows the processor.
//!
//! # References
//! Goto & van de Geijn (2008) for packed panels; Higham, Accuracy and Stability, 3.1 and 10.1 for the error bounds.

mod by_rows;
pub(crate) mod factor;
pub(crate) mod kernel;
pub(crate) mod packed;
mod pairs;
pub(crate) mod real;
pub(crate) mod refine;
pub(crate) mod residuals;
pub(crate) mod rows;

pub(crate) use by_rows::multiply_rows;
pub(crate) use kernel::PANEL;
use kernel::Row;

/// A matrix in panels of 24 outer indices, each stored by the inner index: `panel(q)[inner][outer − 24 q]`.
///
/// For a matrix of rows (inner: columns) this is the layout in which [`kernel::multiply`] reads both of its factors.
/// Outer indices beyond the matrix are zero.
#[derive(Clone, Debug)]
pub(crate) struct Panels {
    inner: usize,
    data: Vec<Row>,
}

impl Panels {
    /// Zeros, for `outer` (rounded up to whole panels) times `inner` entries.
    pub(crate) fn zero(outer: usize, inner: usize) -> Self {
        Self { inner, data: vec![[0.0; PANEL]; outer.div_ceil(PANEL) * inner] }
    }

    pub(crate) fn count(&self) -> usize {
        self.data.len() / self.inner.max(1)
    }

    pub(crate) fn panel(&self, q: usize) -> &[Row] {
        &self.data[q * self.inner..(q + 1) * self.inner]
    }

    pub(crate) fn set(&mut self, outer: usize, inner: usize, value: f64) {
        self.data[outer / PANEL * self.inner + inner][outer % PANEL] = value;
    }

    /// The square matrix, padded to whole panels, with both indices exchanged.
    pub(crate) fn transposed(&self) -> Self {
        let mut other = Self { inner: self.inner, data: vec![[0.0; PANEL]; self.data.len()] };
        factor::on_panels(&mut other.data, self.inner, |q, panel| {
            for (p, target) in panel.chunks_exact_mut(PANEL).enumerate() {
                let source = &self.panel(p)[q * PANEL..(q + 1) * PANEL];
                for (j, row) in target.iter_mut().enumerate() {
                    *row = std::array::from_fn(|i| source[i][j]);
                }
            }
        });
        other
    }
}

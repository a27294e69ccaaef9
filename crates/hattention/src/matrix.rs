//! Matrices of tokens and weights, and the numbers they are made of.

use rayon::prelude::*;

use crate::error::Error;
use crate::linalg;

pub use crate::dense::real::Real;

/// Entries that are checked together.
const BLOCK: usize = 1 << 14;

/// Whether no number of a block is NaN or infinite.
fn all_finite<T: Real>(block: &[T]) -> bool {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || block.iter().fold(true, |all, x| all & x.is_finite()),
    )
}

/// A dense matrix, row by row.
///
/// # Shapes
/// Entry `(i, j)` is `data[i · columns + j]`; `data` has `rows · columns` entries.
///
/// # Example
/// ```
/// use hattention::matrix::Matrix;
/// let m = Matrix::from_fn(2, 3, |i, j| (10 * i + j) as f64);
/// assert_eq!(m.row(1), [10.0, 11.0, 12.0]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix<T = f64> {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// The entries, row by row.
    pub data: Vec<T>,
}

impl<T: Real> Matrix<T> {
    /// A matrix of zeros.
    pub fn zeros(rows: usize, columns: usize) -> Self {
        Self { rows, columns, data: vec![T::default(); rows * columns] }
    }

    /// The identity.
    pub fn identity(size: usize) -> Self {
        Self::from_fn(size, size, |i, j| T::from_f64((i == j) as u8 as f64))
    }

    /// The matrix with these entries.
    pub fn from_fn(rows: usize, columns: usize, mut entry: impl FnMut(usize, usize) -> T) -> Self {
        let mut data = Vec::with_capacity(rows * columns);
        for i in 0..rows {
            data.extend((0..columns).map(|j| entry(i, j)));
        }
        Self { rows, columns, data }
    }

    /// A matrix over entries that are there, row by row.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there are `rows · columns` of them.
    pub fn new(rows: usize, columns: usize, data: Vec<T>) -> Result<Self, Error> {
        if rows.checked_mul(columns) != Some(data.len()) {
            return Err(Error::Shape { what: "the matrix", expected: rows.saturating_mul(columns), got: data.len() });
        }
        Ok(Self { rows, columns, data })
    }

    /// Row `i`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, i: usize) -> &[T] {
        &self.data[i * self.columns..(i + 1) * self.columns]
    }

    /// Row `i`, to write to.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_mut(&mut self, i: usize) -> &mut [T] {
        &mut self.data[i * self.columns..(i + 1) * self.columns]
    }

    /// The entry in row `i` and column `j`.
    ///
    /// # Panics
    /// If there is no such entry.
    pub fn at(&self, i: usize, j: usize) -> T {
        self.row(i)[j]
    }

    /// The matrix in other numbers, each entry rounded once.
    pub fn cast<U: Real>(&self) -> Matrix<U> {
        let data = self.data.iter().map(|x| U::from_f64(x.to_f64())).collect();
        Matrix { rows: self.rows, columns: self.columns, data }
    }

    /// The transpose.
    pub fn transposed(&self) -> Self {
        Self::from_fn(self.columns, self.rows, |i, j| self.at(j, i))
    }

    /// The product `self · other`; each entry is one chain of fused operations over the inner index.
    ///
    /// # Errors
    /// [`Error::Shape`] if the inner sizes differ.
    pub fn times(&self, other: &Self) -> Result<Self, Error> {
        if self.columns != other.rows {
            return Err(Error::Shape { what: "the right factor's rows", expected: self.columns, got: other.rows });
        }
        Ok(self.product(other))
    }

    /// [`Matrix::times`] for shapes that are known to fit.
    pub(crate) fn product(&self, other: &Self) -> Self {
        let mut product = Self::zeros(self.rows, other.columns);
        for i in 0..self.rows {
            let target = product.row_mut(i);
            for (k, factor) in self.row(i).iter().enumerate() {
                for (t, x) in target.iter_mut().zip(other.row(k)) {
                    *t = x.mul_add(*factor, *t);
                }
            }
        }
        product
    }

    /// The first entry that is not finite, as an error; the matrix is named as the caller knows it.
    pub(crate) fn check_finite(&self) -> Result<(), Error> {
        // Blocks are looked at as a whole, which vectors can do.
        let broken = self.data.par_chunks(BLOCK).position_first(|block| !all_finite(block));
        let Some(at) =
            broken.and_then(|b| self.data[b * BLOCK..].iter().position(|x| !x.is_finite()).map(|i| b * BLOCK + i))
        else {
            return Ok(());
        };
        let (row, column) = (at / self.columns.max(1), at % self.columns.max(1));
        Err(Error::NonFinite { row, column, value: self.data[at].to_f64() })
    }
}

impl Matrix<f64> {
    /// The singular values, descending; the first is the spectral norm.
    ///
    /// # Equals
    /// `svd(a)$d` in R, `numpy.linalg.svd(a, compute_uv=False)`.
    ///
    /// # Errors
    /// - [`Error::NonFinite`] for NaN or infinity.
    /// - [`Error::NoConvergence`] if the iteration fails.
    pub fn singular_values(&self) -> Result<Vec<f64>, Error> {
        self.check_finite()?;
        Ok(linalg::svd(self)?.values)
    }
}

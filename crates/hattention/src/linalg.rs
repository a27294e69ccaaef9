//! Dense matrices in doubles: the only file that names faer.

use faer::Mat;

use crate::error::Error;
use crate::matrix::Matrix;

/// Eigenvalues (ascending) and eigenvectors (by columns, `[column][row]`) of a symmetric matrix, row-major `n × n`; on one
/// thread: others would show in the last bits.
///
/// # Errors
/// [`Error::NoConvergence`] if the iteration fails.
pub(crate) fn symmetric_eigen(matrix: &[f64], n: usize) -> Result<(Vec<f64>, Vec<Vec<f64>>), Error> {
    use faer::dyn_stack::{MemBuffer, MemStack};
    use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
    if n == 0 {
        return Ok((Vec::new(), Vec::new()));
    }
    let a = Mat::from_fn(n, n, |i, j| matrix[i.max(j) * n + i.min(j)]);
    let (mut values, mut vectors) = (faer::diag::Diag::<f64>::zeros(n), Mat::<f64>::zeros(n, n));
    let scratch = self_adjoint_evd_scratch::<f64>(n, ComputeEigenvectors::Yes, faer::Par::Seq, Default::default());
    let mut memory = MemBuffer::new(scratch);
    let stack = MemStack::new(&mut memory);
    self_adjoint_evd(a.as_ref(), values.as_mut(), Some(vectors.as_mut()), faer::Par::Seq, stack, Default::default())
        .map_err(|_| Error::NoConvergence { steps: 0, residual: f64::NAN })?;
    Ok(((0..n).map(|i| values[i]).collect(), (0..n).map(|j| (0..n).map(|i| vectors[(i, j)]).collect()).collect()))
}

/// Solves a symmetric system, row-major `n × n`, scaled to unit diagonal; `None` if it is singular to working precision.
pub(crate) fn solve_symmetric(matrix: &[f64], n: usize, right: &[f64]) -> Option<Vec<f64>> {
    use faer::linalg::solvers::Solve;
    let scales: Vec<f64> = (0..n).map(|i| matrix[i * n + i].abs().sqrt()).collect();
    if scales.iter().any(|s| !(*s > 0.0 && s.is_finite())) {
        return None;
    }
    let a = Mat::from_fn(n, n, |i, j| matrix[i * n + j] / (scales[i] * scales[j]));
    let factor = a.full_piv_lu();
    let upper = factor.U();
    if (0..n).any(|i| upper[(i, i)].is_nan() || upper[(i, i)].abs() <= 1e-13) {
        return None;
    }
    let b = Mat::from_fn(n, 1, |i, _| right[i] / scales[i]);
    let x = factor.solve(&b);
    Some((0..n).map(|i| x[(i, 0)] / scales[i]).collect())
}

/// A thin singular value decomposition `A = U S Vᵀ`.
pub(crate) struct Svd {
    /// Left vectors. Shape: `[rows][min]`.
    pub(crate) left: Matrix,
    /// Singular values, descending.
    pub(crate) values: Vec<f64>,
    /// Right vectors. Shape: `[columns][min]`.
    pub(crate) right: Matrix,
}

/// The singular value decomposition, on one thread: others would show in the last bits.
///
/// # Errors
/// [`Error::NoConvergence`] if the iteration fails.
pub(crate) fn svd(matrix: &Matrix) -> Result<Svd, Error> {
    use faer::dyn_stack::{MemBuffer, MemStack};
    use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
    let (rows, columns, size) = (matrix.rows, matrix.columns, matrix.rows.min(matrix.columns));
    if size == 0 {
        return Ok(Svd { left: Matrix::zeros(rows, 0), values: Vec::new(), right: Matrix::zeros(columns, 0) });
    }
    let a = Mat::from_fn(rows, columns, |i, j| matrix.at(i, j));
    let (mut u, mut v) = (Mat::<f64>::zeros(rows, size), Mat::<f64>::zeros(columns, size));
    let mut s = faer::diag::Diag::<f64>::zeros(size);
    let (thin, par) = (ComputeSvdVectors::Thin, faer::Par::Seq);
    let scratch = svd_scratch::<f64>(rows, columns, thin, thin, par, Default::default());
    let mut memory = MemBuffer::new(scratch);
    let stack = MemStack::new(&mut memory);
    svd(a.as_ref(), s.as_mut(), Some(u.as_mut()), Some(v.as_mut()), par, stack, Default::default())
        .map_err(|_| Error::NoConvergence { steps: 0, residual: f64::NAN })?;
    Ok(Svd {
        left: Matrix::from_fn(rows, size, |i, j| u[(i, j)]),
        values: (0..size).map(|i| s[i]).collect(),
        right: Matrix::from_fn(columns, size, |i, j| v[(i, j)]),
    })
}

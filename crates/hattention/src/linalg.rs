//! Dense matrices in doubles: the only file that names faer.

use faer::{Mat, Side};

use crate::error::Error;

/// Eigenvalues (ascending) and eigenvectors (by columns, `[column][row]`) of a symmetric matrix, row-major `n × n`.
///
/// # Errors
/// [`Error::NoConvergence`] if the iteration fails.
pub(crate) fn symmetric_eigen(matrix: &[f64], n: usize) -> Result<(Vec<f64>, Vec<Vec<f64>>), Error> {
    if n == 0 {
        return Ok((Vec::new(), Vec::new()));
    }
    let a = Mat::from_fn(n, n, |i, j| matrix[i.max(j) * n + i.min(j)]);
    let eigen = a.self_adjoint_eigen(Side::Lower).map_err(|_| Error::NoConvergence { steps: 0, residual: f64::NAN })?;
    let values = (0..n).map(|i| eigen.S()[i]).collect();
    let vectors = (0..n).map(|j| (0..n).map(|i| eigen.U()[(i, j)]).collect()).collect();
    Ok((values, vectors))
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

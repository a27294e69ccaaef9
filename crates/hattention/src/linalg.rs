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

/// Solves a positive definite system, row-major `n × n`; `None` if it is singular to working precision.
pub(crate) fn solve_symmetric(matrix: &[f64], n: usize, right: &[f64]) -> Option<Vec<f64>> {
    solve_symmetric_all(matrix, n, vec![right.to_vec()])?.pop()
}

/// The inverse of a positive definite matrix, by rows; `None` if it is singular to working precision.
pub(crate) fn invert_symmetric(matrix: &[f64], n: usize) -> Option<Vec<Vec<f64>>> {
    let unit = |i: usize| (0..n).map(|j| f64::from(i == j)).collect();
    solve_symmetric_all(matrix, n, (0..n).map(unit).collect())
}

/// Scaled to unit diagonal, by Cholesky with the largest pivot first.
fn solve_symmetric_all(matrix: &[f64], n: usize, mut rights: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    let scales: Vec<f64> = (0..n).map(|i| matrix[i * n + i].abs().sqrt()).collect();
    if scales.iter().any(|s| !(*s > 0.0 && s.is_finite())) {
        return None;
    }
    let mut a: Vec<f64> = (0..n * n).map(|k| matrix[k] / (scales[k / n] * scales[k % n])).collect();
    let scale = |b: &mut Vec<f64>| b.iter_mut().zip(&scales).for_each(|(b, s)| *b /= s);
    rights.iter_mut().for_each(scale);
    let mut order: Vec<usize> = (0..n).collect();
    // Right sides are eliminated beside the rows under each pivot.
    for k in 0..n {
        let pivot = (k..n).max_by(|i, j| a[order[*i] * n + order[*i]].total_cmp(&a[order[*j] * n + order[*j]]))?;
        order.swap(k, pivot);
        let p = order[k];
        let d = a[p * n + p];
        if d.is_nan() || d <= 1e-13 {
            return None;
        }
        for i in &order[k + 1..] {
            let factor = a[i * n + p] / d;
            for j in &order[k + 1..] {
                a[i * n + j] -= factor * a[p * n + j];
            }
            rights.iter_mut().for_each(|b| b[*i] -= factor * b[p]);
        }
    }
    for b in &mut rights {
        for k in (0..n).rev() {
            let p = order[k];
            let known: f64 = order[k + 1..].iter().map(|j| a[p * n + j] * b[*j]).sum();
            b[p] = (b[p] - known) / a[p * n + p];
        }
        scale(b);
    }
    Some(rights)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_solved_however_many_rows_there_are() {
        for degree in 1..=7 {
            for rows in 30..160 {
                let x: Vec<f64> = (0..rows).map(|i| i as f64 / (rows - 1) as f64 - 0.5).collect();
                let powers: Vec<Vec<f64>> = (0..=degree).map(|k| x.iter().map(|x| x.powi(k)).collect()).collect();
                let n = powers.len();
                let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                let matrix: Vec<f64> = (0..n * n).map(|k| product(&powers[k / n], &powers[k % n])).collect();
                let target: Vec<f64> = x.iter().map(|x| powers.len() as f64 * x.powi(degree) - x + 0.25).collect();
                let right: Vec<f64> = powers.iter().map(|power| product(power, &target)).collect();
                let found = solve_symmetric(&matrix, n, &right).unwrap();
                let off = |i: usize| {
                    let fitted: f64 = powers.iter().zip(&found).map(|(power, b)| power[i] * b).sum();
                    (fitted - target[i]).abs()
                };
                assert!((0..rows).all(|i| off(i) < 1e-7), "{degree} {rows}");
            }
        }
        let inverse = invert_symmetric(&[4.0, 1.0, 1.0, 0.5], 2).unwrap();
        let off = |a: f64, b: f64| (a - b).abs() < 1e-15;
        assert!(off(inverse[0][0], 0.5) && off(inverse[0][1], -1.0) && off(inverse[1][1], 4.0), "{inverse:?}");
        assert!(solve_symmetric(&[1.0, 1.0, 1.0, 1.0], 2, &[1.0, 1.0]).is_none());
        assert!(solve_symmetric(&[0.0, 0.0, 0.0, 1.0], 2, &[1.0, 1.0]).is_none());
    }
}

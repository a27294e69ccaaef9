//! The condition of a design.

use rayon::prelude::*;

use super::job::PARALLEL_FROM;
use crate::dense::kernel::{add_rows, dot};
use crate::exact::centred::Centred;
use crate::interrupt::{Stop, checked};

/// What the condition is read from: the correlations of the columns (the constant among them) and their inverse.
pub(crate) struct Correlations {
    /// Cosines of the angles between the columns: the lower triangle, by rows.
    direct: Vec<Vec<f64>>,
    /// Columns of `S` with `R⁻¹ = S Sᵀ`, up to their last entry that is not zero.
    inverse: Vec<Vec<f64>>,
}

impl Correlations {
    /// Of the given columns of the state's table, and columns `inverse(j)` of `S`.
    ///
    /// `None` for a column of zeros.
    pub(crate) fn new<const N: usize>(
        sums: &Centred<'_, N>,
        table: &[usize],
        inverse: impl Fn(usize) -> Vec<f64> + Sync + Send,
    ) -> Option<Self> {
        // Scaled by powers of two first, so that doubles can hold them.
        let scales: Vec<i64> = table.iter().map(|&c| -sums.raw(c, c).exponent().div_euclid(2)).collect();
        let squares = table.iter().zip(&scales).map(|(&c, s)| sums.raw(c, c).scale(2 * s).to_f64());
        let norms: Vec<f64> = squares.map(f64::sqrt).collect();
        let product = |i: usize, j: usize| {
            sums.raw(table[i], table[j]).scale(scales[i] + scales[j]).to_f64() / (norms[i] * norms[j])
        };
        let usable = norms.iter().all(|norm| *norm > 0.0);
        usable.then(|| Self::from_parts(table.len(), product, inverse))
    }

    /// Of correlations `direct(i, j)`, `i ≥ j`, and columns of `S`.
    pub(crate) fn from_parts(
        size: usize,
        direct: impl Fn(usize, usize) -> f64 + Sync + Send,
        inverse: impl Fn(usize) -> Vec<f64> + Sync + Send,
    ) -> Self {
        let row = |i: usize| (0..=i).map(|j| direct(i, j)).collect();
        if size < PARALLEL_FROM {
            return Self { direct: (0..size).map(row).collect(), inverse: (0..size).map(inverse).collect() };
        }
        Self {
            direct: (0..size).into_par_iter().map(checked(row)).collect(),
            inverse: (0..size).into_par_iter().map(checked(inverse)).collect(),
        }
    }

    /// `√(λ_max(R) λ_max(R⁻¹))`.
    pub(crate) fn condition(&self) -> f64 {
        let size = self.direct.len();
        if size == 0 {
            return 1.0;
        }
        let direct = largest_eigenvalue(size, |v| {
            let mut product = vec![0.0; size];
            for (i, row) in self.direct.iter().enumerate() {
                add_rows(&row[..i], &v[i..=i], &mut product[..i]);
                product[i] = dot(row, v);
            }
            product
        });
        let inverse = largest_eigenvalue(size, |v| {
            let mut product = vec![0.0; size];
            for column in &self.inverse {
                add_rows(column, &[dot(column, v)], &mut product[..column.len()]);
            }
            product
        });
        direct.sqrt() * inverse.sqrt()
    }
}

/// Steps at most, and the change of the eigenvalue at which they stop.
const STEPS: usize = 60;
const TOLERANCE: f64 = 1e-4;

/// The largest eigenvalue of a symmetric positive operator, to about three digits, by Lanczos' iteration.
///
/// # References
/// Golub & Van Loan, Matrix Computations, 10.1 (the largest Ritz value needs no reorthogonalisation).
fn largest_eigenvalue(size: usize, apply: impl Fn(&[f64]) -> Vec<f64>) -> f64 {
    // Squares of eigenvalues may leave the doubles.
    let norm = |v: &[f64]| {
        let largest = v.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        if largest == 0.0 { 0.0 } else { largest * v.iter().map(|x| (x / largest).powi(2)).sum::<f64>().sqrt() }
    };
    // A start with all sizes, so that no eigenvector is orthogonal to it by structure.
    let mut vector: Vec<f64> = (0..size).map(|i| 1.0 + (i as f64 * 0.618_033_988_749_895).fract()).collect();
    let length = norm(&vector);
    vector.iter_mut().for_each(|x| *x /= length);
    let mut previous = vec![0.0; size];
    let (mut diagonal, mut beside) = (Vec::new(), Vec::new());
    let mut value = 0.0;
    let stop = Stop::current();
    for _ in 0..STEPS {
        stop.check();
        let mut next = apply(&vector);
        let along: f64 = next.iter().zip(&vector).map(|(a, b)| a * b).sum();
        let back = beside.last().copied().unwrap_or(0.0);
        for (n, (v, p)) in next.iter_mut().zip(vector.iter().zip(&previous)) {
            *n -= along * v + back * p;
        }
        diagonal.push(along);
        let found = largest_of_tridiagonal(&diagonal, &beside);
        let length = norm(&next);
        if !found.is_finite() || found - value <= TOLERANCE * found || length <= 1e-12 * found {
            return found;
        }
        value = found;
        beside.push(length);
        next.iter_mut().for_each(|x| *x /= length);
        previous = std::mem::replace(&mut vector, next);
    }
    value
}

/// The largest eigenvalue of a symmetric tridiagonal matrix, by bisection on the signs of `LDLᵀ` (Sylvester's inertia).
fn largest_of_tridiagonal(diagonal: &[f64], beside: &[f64]) -> f64 {
    let reach = |i: usize| {
        let before = if i > 0 { beside[i - 1] } else { 0.0 };
        diagonal[i] + before + beside.get(i).copied().unwrap_or(0.0)
    };
    let bound = (0..diagonal.len()).map(reach).fold(0.0, f64::max);
    if !(bound > 0.0 && bound.is_finite()) {
        return bound;
    }
    let is_above_all = |x: f64| {
        let mut pivot = x - diagonal[0] / bound;
        for (d, b) in diagonal[1..].iter().zip(beside) {
            if pivot <= 0.0 {
                return false;
            }
            let b = b / bound;
            pivot = x - d / bound - b * b / pivot;
        }
        pivot > 0.0
    };
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if is_above_all(middle) { high = middle } else { low = middle }
    }
    high * bound
}

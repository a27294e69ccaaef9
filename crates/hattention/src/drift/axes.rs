//! Both samples in one frame: the training rows whitened, the batch along its principal axes there.

use crate::error::Error;
use crate::linalg::symmetric_eigen;
use crate::memory::State;

/// The batch in the frame where the training rows have mean 0 and covariance I, along its principal axes.
pub(crate) struct Frame {
    /// Variances of the batch along its axes, ascending. Shape: `[p]`.
    pub(crate) variances: Vec<f64>,
    /// Means of the batch along its axes. Shape: `[p]`.
    pub(crate) means: Vec<f64>,
    /// The axes as combinations of the keys (in the units of [`State`]). Shape: `[p][p]`.
    pub(crate) axes: Vec<Vec<f64>>,
}

/// Variances that are nothing but rounding, beside a training variance of 1: keys are doubles.
const NO_VARIANCE: f64 = 1e-12;

impl Frame {
    /// The frame of the training rows' own state, or of training rows that are white already.
    pub(crate) fn new(batch: &State, training: Option<&State>) -> Result<Self, Error> {
        let size = batch.size - 1;
        let (mut covariance, mut means) = (batch.covariance(), batch.means());
        let factor = match training {
            None => None,
            Some(training) => {
                let factor = cholesky(training.covariance(), size).ok_or_else(|| Error::Parameter {
                    name: "the training sample",
                    got: "one whose columns depend on each other".into(),
                    allowed: "the rows that the model was fitted on, of independent columns",
                })?;
                means.iter_mut().zip(training.means()).for_each(|(m, t)| *m -= t);
                substitute(&factor, size, &mut means);
                // R⁻¹ C R⁻ᵀ, columns then rows.
                for _ in 0..2 {
                    covariance = transposed(&covariance, size);
                    covariance.chunks_exact_mut(size.max(1)).for_each(|row| substitute(&factor, size, row));
                }
                Some(factor)
            }
        };
        let (variances, mut axes) = symmetric_eigen(&covariance, size)?;
        let means = axes.iter().map(|axis| axis.iter().zip(&means).map(|(a, m)| a * m).sum()).collect();
        if let Some(factor) = factor {
            axes.iter_mut().for_each(|axis| substitute_transposed(&factor, size, axis));
        }
        Ok(Self { variances, means, axes })
    }

    /// How many axes, from the first, the batch has no variance along.
    pub(crate) fn flat(&self) -> usize {
        let largest = self.variances.last().copied().unwrap_or(1.0).max(1.0);
        self.variances.iter().take_while(|v| **v <= NO_VARIANCE * largest).count()
    }
}

/// `A = R Rᵀ`, row-major, `R` lower triangular in place; `None` if a pivot is not clear of rounding.
pub(crate) fn cholesky(mut a: Vec<f64>, size: usize) -> Option<Vec<f64>> {
    for i in 0..size {
        let (above, rest) = a.split_at_mut(i * size);
        let row = &mut rest[..size];
        let diagonal = row[i];
        for j in 0..=i {
            let other = if j < i { &above[j * size..j * size + j] } else { &[] };
            if j < i {
                let sum = row[..j].iter().zip(other).fold(row[j], |s, (x, y)| s - x * y);
                row[j] = sum / above[j * size + j];
            } else {
                let sum = row[..i].iter().fold(diagonal, |s, x| s - x * x);
                if sum.is_nan() || sum <= NO_VARIANCE * diagonal {
                    return None;
                }
                row[i] = sum.sqrt();
            }
        }
    }
    Some(a)
}

/// `R⁻¹ x` in place.
pub(crate) fn substitute(factor: &[f64], size: usize, x: &mut [f64]) {
    for i in 0..size {
        let row = &factor[i * size..=i * size + i];
        x[i] = row[..i].iter().zip(&x[..i]).fold(x[i], |s, (r, x)| s - r * x) / row[i];
    }
}

/// `R⁻ᵀ x` in place.
fn substitute_transposed(factor: &[f64], size: usize, x: &mut [f64]) {
    for i in (0..size).rev() {
        x[i] /= factor[i * size + i];
        for j in 0..i {
            x[j] -= factor[i * size + j] * x[i];
        }
    }
}

fn transposed(a: &[f64], size: usize) -> Vec<f64> {
    (0..size * size).map(|k| a[k % size * size + k / size]).collect()
}

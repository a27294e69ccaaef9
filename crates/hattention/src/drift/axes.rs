//! Both samples in one frame: the training rows whitened, the batch along its principal axes there.

use crate::error::Error;
use crate::linalg::symmetric_eigen;
use crate::memory::State;

/// The batch in the frame where the training rows have mean 0 and covariance I, along its principal axes.
pub(crate) struct Frame {
    /// Variances of the batch along its axes, ascending. Shape: `[r]`.
    pub(crate) variances: Vec<f64>,
    /// Means of the batch along its axes. Shape: `[r]`.
    pub(crate) means: Vec<f64>,
    /// The axes as combinations of the keys (in the units of [`State`]). Shape: `[r][p]`.
    pub(crate) axes: Vec<Vec<f64>>,
    /// Directions without variance in the training rows, as combinations of the keys: no frame has them. Shape: `[p − r][p]`.
    pub(crate) without: Vec<Vec<f64>>,
}

/// How the training rows are whitened.
enum Whitener {
    /// They are white already.
    None,
    /// Cholesky's factor of their covariance.
    Factor(Vec<f64>),
    /// Their principal axes over their deviations, those without variance apart. Shape: `[r][p]`.
    Axes(Vec<Vec<f64>>),
}

/// Variances that are nothing but rounding, beside a training variance of 1: keys are doubles.
const NO_VARIANCE: f64 = 1e-12;

impl Frame {
    /// The frame of the training rows' own state, or of training rows that are white already.
    pub(crate) fn new(batch: &State, training: Option<&State>) -> Result<Self, Error> {
        let size = batch.size - 1;
        let (mut covariance, mut means) = (batch.covariance(), batch.means());
        let (whitener, without) = match training {
            None => (Whitener::None, Vec::new()),
            Some(training) => {
                means.iter_mut().zip(training.means()).for_each(|(m, t)| *m -= t);
                match cholesky(training.covariance(), size) {
                    Some(factor) => (Whitener::Factor(factor), Vec::new()),
                    None => split(training, size)?,
                }
            }
        };
        let mut left = size;
        match &whitener {
            Whitener::None => {}
            Whitener::Factor(factor) => {
                substitute(factor, size, &mut means);
                // R⁻¹ C R⁻ᵀ, columns then rows.
                for _ in 0..2 {
                    covariance = transposed(&covariance, size);
                    covariance.chunks_exact_mut(size.max(1)).for_each(|row| substitute(factor, size, row));
                }
            }
            Whitener::Axes(axes) => {
                left = axes.len();
                let halves: Vec<Vec<f64>> =
                    axes.iter().map(|axis| covariance.chunks_exact(size).map(|row| dot(row, axis)).collect()).collect();
                covariance = halves.iter().flat_map(|half| axes.iter().map(|axis| dot(axis, half))).collect();
                means = axes.iter().map(|axis| dot(axis, &means)).collect();
            }
        }
        let (variances, mut axes) = symmetric_eigen(&covariance, left)?;
        let means = axes.iter().map(|axis| dot(axis, &means)).collect();
        match whitener {
            Whitener::None => {}
            Whitener::Factor(factor) => axes.iter_mut().for_each(|axis| substitute_transposed(&factor, size, axis)),
            Whitener::Axes(whitened) => {
                let combined = |axis: &Vec<f64>| {
                    (0..size).map(|k| axis.iter().zip(&whitened).map(|(a, w)| a * w[k]).sum()).collect()
                };
                axes = axes.iter().map(combined).collect();
            }
        }
        Ok(Self { variances, means, axes, without })
    }

    /// How many axes, from the first, the batch has no variance along.
    pub(crate) fn flat(&self) -> usize {
        let largest = self.variances.last().copied().unwrap_or(1.0).max(1.0);
        self.variances.iter().take_while(|v| **v <= NO_VARIANCE * largest).count()
    }
}

/// The principal axes of training rows whose columns depend on each other, each over its deviation, and the directions
/// in which they have no variance.
fn split(training: &State, size: usize) -> Result<(Whitener, Vec<Vec<f64>>), Error> {
    let (values, vectors) = symmetric_eigen(&training.covariance(), size)?;
    // Second moments are rounded, and means are taken off them: far from zero that is all there may be.
    let moment = (1..training.size).fold(0.0f64, |most, i| most.max(training.matrix[i * training.size + i]));
    let rounding = 4.0 * size as f64 * f64::EPSILON * moment;
    let least = rounding.max(NO_VARIANCE * values.last().copied().unwrap_or(0.0));
    let none = values.iter().take_while(|value| **value <= least).count();
    if none == size {
        return Err(Error::Parameter {
            name: "the training sample",
            got: "one whose rows are all the same".into(),
            allowed: "the rows that the model was fitted on",
        });
    }
    let scaled = |(axis, value): (&Vec<f64>, &f64)| axis.iter().map(|x| x / value.sqrt()).collect();
    let axes = vectors[none..].iter().zip(&values[none..]).map(scaled).collect();
    Ok((Whitener::Axes(axes), vectors[..none].to_vec()))
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
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

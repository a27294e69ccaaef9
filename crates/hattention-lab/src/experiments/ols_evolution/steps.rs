//! From linear to standard attention, one change a step. All steps see whitened keys `z` of the context and of the queries.

use hattention::Matrix;
use hattention::attention::attend::{Mask, Score, Scoring, attend};

use super::problems::{Embedded, N};
use crate::error::Error;

/// Layers of the residual steps, and the share of a layer's output that is added.
pub const LAYERS: usize = 6;
pub const SHARE: f64 = 0.5;

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `(1/n) Σ (1 + s) y`, s = ⟨z, zᵢ⟩: least squares, with its intercept.
    Linear,
    /// `(1/n) Σ (1 + s + s²/2) y`.
    Polynomial,
    /// `(1/n) Σ eˢ y`.
    Exponential,
    /// `Σ eˢ y / Σ eˢ`.
    Softmax,
    /// One head a coordinate of z; what heads say beyond the mean adds up.
    Heads,
    /// Layers of the same heads over the residuals that the layer before left.
    Residual,
    /// The same, keys and queries at length √d.
    Norm,
    /// The same, rows of the context see earlier rows and themselves only.
    Causal,
}

impl Step {
    pub const ALL: [Self; 8] = [
        Self::Linear,
        Self::Polynomial,
        Self::Exponential,
        Self::Softmax,
        Self::Heads,
        Self::Residual,
        Self::Norm,
        Self::Causal,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Polynomial => "polynomial",
            Self::Exponential => "exponential",
            Self::Softmax => "softmax",
            Self::Heads => "multi-head",
            Self::Residual => "residual",
            Self::Norm => "layer norm",
            Self::Causal => "causal mask",
        }
    }
}

/// The keys without their constant.
pub fn coordinates(tokens: &Matrix) -> Matrix {
    Matrix::from_fn(tokens.rows, tokens.columns - 1, |i, j| tokens.at(i, j + 1))
}

/// Rows at length √d.
pub fn normalised(z: &Matrix) -> Matrix {
    let length: Vec<f64> = (0..z.rows).map(|i| z.row(i).iter().map(|x| x * x).sum::<f64>().sqrt()).collect();
    Matrix::from_fn(z.rows, z.columns, |i, j| z.at(i, j) * (z.columns as f64).sqrt() / length[i])
}

/// `Σᵢ c sᵏ vᵢ` over all keys.
pub fn power(queries: &Matrix, keys: &Matrix, values: &Matrix, degree: u32, factor: f64) -> Result<Vec<f64>, Error> {
    let score = if degree == 1 { Score::Linear } else { Score::Polynomial(degree) };
    let sums = attend(queries, keys, values, &Scoring { score, ..Scoring::default() })?;
    Ok(sums.data.iter().map(|x| factor * x).collect())
}

/// `Σᵢ eˢ vᵢ`, normalised or not.
pub fn exponential(
    queries: &Matrix,
    keys: &Matrix,
    values: &Matrix,
    normalize: bool,
    mask: Mask,
) -> Result<Matrix, Error> {
    let scoring = Scoring { score: Score::Exponential, normalize, mask, ..Scoring::default() };
    Ok(attend(queries, keys, values, &scoring)?)
}

/// `r̄ + Σ_h (softmax_h(r) − r̄)`: heads of equal blocks of coordinates; means over the keys seen.
pub fn heads(queries: &Matrix, keys: &Matrix, values: &Matrix, count: usize, mask: Mask) -> Result<Vec<f64>, Error> {
    let width = keys.columns / count;
    let block = |m: &Matrix, h: usize| Matrix::from_fn(m.rows, width, |i, j| m.at(i, h * width + j));
    // A head without coordinates gives every key the same weight: the mean.
    let flat = |m: &Matrix| Matrix::zeros(m.rows, 1);
    let means = exponential(&flat(queries), &flat(keys), values, true, mask)?.data;
    let mut sums = means.clone();
    for h in 0..count {
        let out = exponential(&block(queries, h), &block(keys, h), values, true, mask)?;
        sums.iter_mut().zip(&out.data).zip(&means).for_each(|((s, o), m)| *s += o - m);
    }
    Ok(sums)
}

/// Layers of [`heads`]: values are what is left of y, and the queries gather what the layers say.
pub fn layers(queries: &Matrix, keys: &Matrix, y: &Matrix, mask: Mask) -> Result<(Vec<f64>, Matrix), Error> {
    let mut rest = y.clone();
    let mut gathered = vec![0.0; queries.rows];
    for _ in 0..LAYERS {
        let here = heads(keys, keys, &rest, keys.columns, mask)?;
        let there = heads(queries, keys, &rest, keys.columns, Mask::All)?;
        gathered.iter_mut().zip(there).for_each(|(g, t)| *g += SHARE * t);
        rest.data.iter_mut().zip(here).for_each(|(r, h)| *r -= SHARE * h);
    }
    Ok((gathered, rest))
}

/// What a step predicts at the queries.
pub fn predict(step: Step, embedded: &Embedded, y: &Matrix) -> Result<Vec<f64>, Error> {
    let (k, q) = (coordinates(&embedded.keys), coordinates(&embedded.queries));
    let share = 1.0 / N as f64;
    match step {
        Step::Linear => power(&embedded.queries, &embedded.keys, y, 1, share),
        Step::Polynomial => {
            let linear = power(&embedded.queries, &embedded.keys, y, 1, share)?;
            let square = power(&q, &k, y, 2, 0.5 * share)?;
            Ok(linear.iter().zip(square).map(|(l, s)| l + s).collect())
        }
        Step::Exponential => Ok(exponential(&q, &k, y, false, Mask::All)?.data.iter().map(|x| x * share).collect()),
        Step::Softmax => Ok(exponential(&q, &k, y, true, Mask::All)?.data),
        Step::Heads => heads(&q, &k, y, k.columns, Mask::All),
        Step::Residual => Ok(layers(&q, &k, y, Mask::All)?.0),
        Step::Norm => Ok(layers(&normalised(&q), &normalised(&k), y, Mask::All)?.0),
        Step::Causal => Ok(layers(&normalised(&q), &normalised(&k), y, Mask::Causal)?.0),
    }
}

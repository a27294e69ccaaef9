//! Metrics that searches start from.

use super::head::Inputs;
use super::objective::Parameters;
use super::options::{Coefficients, Options, Start};
use crate::error::Error;

/// The parameters at the start.
///
/// # Errors
/// [`Error::NoConvergence`] if the inputs' second moments have no inverse.
pub(super) fn start(inputs: &Inputs, options: &Options) -> Result<Parameters, Error> {
    let mut noise = Noise::of(options.seed);
    let factors = match options.start {
        Start::Widths => (0..options.heads).map(|m| widths(inputs, options.heads, m, &mut noise)).collect(),
        Start::Whitened => {
            let base = whitened(inputs)?;
            (0..options.heads).map(|_| disturbed(&base, || 0.05 * noise.normal())).collect()
        }
    };
    let heads = match options.coefficients {
        Coefficients::Solved => Vec::new(),
        Coefficients::Searched => vec![1.0 / options.heads as f64; options.heads],
    };
    Ok(Parameters { factors, heads })
}

/// A multiple of the identity about the width of Scott's rule, wider or narrower by head, a little off the axes.
fn widths(inputs: &Inputs, heads: usize, head: usize, noise: &mut Noise) -> Vec<Vec<f64>> {
    let width = inputs.columns;
    let scott = (inputs.rows as f64).powf(1.0 / (width as f64 + 4.0));
    let place = if heads > 1 { head as f64 / (heads - 1) as f64 } else { 0.5 };
    let base = scott * 4f64.powf(place - 0.5);
    let identity: Vec<Vec<f64>> = (0..width).map(|p| (0..width).map(|c| base * f64::from(c == p)).collect()).collect();
    disturbed(&identity, || 0.1 * (noise.uniform() - 0.5))
}

/// A lower triangular factor with something added to every entry.
fn disturbed(factor: &[Vec<f64>], mut noise: impl FnMut() -> f64) -> Vec<Vec<f64>> {
    let entry = |p: usize, c: usize, noise: &mut dyn FnMut() -> f64| if c > p { 0.0 } else { factor[p][c] + noise() };
    (0..factor.len()).map(|p| (0..factor.len()).map(|c| entry(p, c, &mut noise)).collect()).collect()
}

/// `√n chol((XᵀX + 10⁻⁶ I)⁻¹)`.
fn whitened(inputs: &Inputs) -> Result<Vec<Vec<f64>>, Error> {
    let width = inputs.columns;
    let dot = |a: usize, b: usize| crate::dense::kernel::dot(inputs.column(a), inputs.column(b));
    let products: Vec<f64> =
        (0..width * width).map(|at| dot(at / width, at % width) + 1e-6 * f64::from(at / width == at % width)).collect();
    let singular = Error::NoConvergence { steps: 0, residual: f64::NAN };
    let mut inverse = vec![vec![0.0; width]; width];
    for c in 0..width {
        let unit: Vec<f64> = (0..width).map(|p| f64::from(p == c)).collect();
        let column = crate::linalg::solve_symmetric(&products, width, &unit).ok_or(singular.clone())?;
        (0..width).for_each(|p| inverse[p][c] = column[p]);
    }
    let scale = (inputs.rows as f64).sqrt();
    let mut factor = vec![vec![0.0; width]; width];
    for p in 0..width {
        for c in 0..=p {
            let before: f64 = (0..c).map(|k| factor[p][k] * factor[c][k]).sum();
            let left = inverse[p][c] - before;
            factor[p][c] = if p == c { left.max(0.0).sqrt() } else { left / factor[c][c] };
            if !f64::is_finite(factor[p][c]) {
                return Err(singular);
            }
        }
    }
    Ok(factor.iter().map(|row| row.iter().map(|l| scale * l).collect()).collect())
}

/// Numbers that depend on a seed alone (xorshift; what a start needs, and no more).
struct Noise(u64);

impl Noise {
    fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// In `[0, 1)`.
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Of the normal law.
    fn normal(&mut self) -> f64 {
        let (radius, angle) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * libm::log(radius)).sqrt() * libm::cos(std::f64::consts::TAU * angle)
    }
}

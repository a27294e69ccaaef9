//! Mean and covariance of particles under linear attention: ordinary differential equations, closed for any number of particles.
//!
//! Under [`Linear`] every particle moves by one matrix, `ẋ = G(t) x`, so that elliptical laws stay elliptical, and momenta
//! that are affine in the particles, `y = S x + b`, stay so. With `M = Σ + m mᵀ`:
//!
//! ```text
//! first order   G = V M A
//! accelerated   G = (S M + b mᵀ) A,   Ṡ = −α S − (S G + GᵀS) + V,   ḃ = −α b − Gᵀb
//! both          ṁ = G m,   Σ̇ = G Σ + Σ Gᵀ
//! ```

use hattention::matrix::Matrix;

use super::algebra::{across, plus, product, scaled};
use super::{Damping, Linear, accurate};

/// Mean and covariance, and the momenta `y = S x + b`.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// m. Shape: `[1, d]`.
    pub mean: Matrix,
    /// Σ, over N. Shape: `[d, d]`.
    pub covariance: Matrix,
    /// S. Shape: `[d, d]`.
    pub slope: Matrix,
    /// b. Shape: `[1, d]`.
    pub shift: Matrix,
}

impl Moments {
    /// Of particles at rest.
    pub fn of(x: &Matrix) -> Self {
        let (n, d) = (x.rows as f64, x.columns);
        let mean = Matrix::from_fn(1, d, |_, c| (0..x.rows).map(|i| x.at(i, c)).sum::<f64>() / n);
        let centred = Matrix::from_fn(x.rows, d, |i, c| x.at(i, c) - mean.at(0, c));
        let covariance = scaled(&across(&centred, &centred), 1.0 / n);
        Self { mean, covariance, slope: Matrix::zeros(d, d), shift: Matrix::zeros(1, d) }
    }

    /// After the first-order flow from time zero.
    pub fn first_order(&self, flow: &Linear, time: f64, steps: usize) -> Self {
        self.after(0.0, time, steps, |_, now| {
            let g = product(flow.values(), &product(&now.second(), flow.scores()));
            now.moved(&g, Matrix::zeros(g.rows, g.rows), Matrix::zeros(1, g.rows))
        })
    }

    /// After the accelerated flow.
    pub fn accelerated(&self, flow: &Linear, damping: Damping, start: f64, end: f64, steps: usize) -> Self {
        self.after(start, end, steps, |t, now| {
            let alpha = damping.at(t);
            let carried = plus(&product(&now.slope, &now.second()), 1.0, &across(&now.shift, &now.mean));
            let g = product(&carried, flow.scores());
            let turned = plus(&product(&now.slope, &g), 1.0, &across(&g, &now.slope));
            let slope = plus(&plus(flow.values(), -1.0, &turned), -alpha, &now.slope);
            // (Rows of numbers: Gᵀb is bᵀG.)
            let shift = plus(&scaled(&now.shift, -alpha), -1.0, &product(&now.shift, &g));
            now.moved(&g, slope, shift)
        })
    }

    /// M.
    fn second(&self) -> Matrix {
        plus(&self.covariance, 1.0, &across(&self.mean, &self.mean))
    }

    /// How they change where particles move by G.
    fn moved(&self, g: &Matrix, slope: Matrix, shift: Matrix) -> Self {
        let turned = g.transposed();
        let mean = product(&self.mean, &turned);
        let covariance = plus(&product(g, &self.covariance), 1.0, &product(&self.covariance, &turned));
        Self { mean, covariance, slope, shift }
    }

    fn after(&self, start: f64, end: f64, steps: usize, slope: impl Fn(f64, &Self) -> Self) -> Self {
        let d = self.mean.columns;
        let of = |u: &[f64]| Self::from_numbers(d, u);
        Self::from_numbers(d, &accurate(self.numbers(), start, end, steps, |t, u| slope(t, &of(u)).numbers()))
    }

    fn numbers(&self) -> Vec<f64> {
        [&self.mean, &self.covariance, &self.slope, &self.shift].iter().flat_map(|m| m.data.iter().copied()).collect()
    }

    fn from_numbers(d: usize, u: &[f64]) -> Self {
        let part = |rows: usize, from: usize| Matrix { rows, columns: d, data: u[from..from + rows * d].to_vec() };
        let square = d * d;
        Self { mean: part(1, 0), covariance: part(d, d), slope: part(d, d + square), shift: part(1, d + 2 * square) }
    }
}

//! Depth that solves in context: layers with fixed weights that reach least squares for any context.
//!
//! With the second moments `S = (1/n) KᵀK` of the context's keys, each layer takes one step of Newton's iteration for the
//! inverse, `M ← M (2I − S M)`, so that `I − M_k S = (I − M₀ S)^(2^k)`: digits double from layer to layer.
//!
//! It is attention: rows of M are tokens of memory, and `M S = (1/n) (M Kᵀ) K` is what they read when they attend, linearly,
//! to the context's keys. A layer corrects the memory by what is missing, `M ← M + (I − M S) M`; its weights know nothing of
//! the context.
//!
//! # References
//! Schulz (1933); Ben-Israel & Cohen (1966) for the start; Fu, Chen, Jia & Sharan (2024), arXiv 2310.17086, for the layers.

use crate::attention::attend::{Scoring, attend};
use crate::error::Error;
use crate::linalg;
use crate::matrix::{Matrix, Real};

/// Where the iteration starts; both converge for every positive definite S.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// `M₀ = I / ‖S‖₁`: for positive definite S, half the layers of the other.
    #[default]
    Identity,
    /// `M₀ = Sᵀ / (‖S‖₁ ‖S‖_∞)`: for every S of full rank.
    Transpose,
}

/// Layers of Newton's iteration.
///
/// # Numerics
/// A layer costs two products of d × d matrices once S is formed, or `4 n d²` operations as attention. The inverse is that
/// of S, whose condition is the square of the keys': in doubles errors cannot fall below about `ε κ(S)`, and 1e-10 is out
/// of reach from `κ(S)` of about 1e4 to 1e6 on. Whitened keys have condition one.
///
/// # Example
/// ```
/// use hattention::Matrix;
/// use hattention::transformer::depth::{NewtonSchulz, Start};
/// let s = Matrix::from_fn(2, 2, |i, j| if i == j { 2.0f64 } else { 1.0 }); // eigenvalues 1 and 3
/// let newton = NewtonSchulz { start: Start::Identity, layers: 8 };
/// let inverse = newton.invert(&s).unwrap();
/// assert!((inverse.at(0, 0) - 2.0 / 3.0).abs() < 1e-15 && (inverse.at(0, 1) + 1.0 / 3.0).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewtonSchulz {
    /// Where it starts.
    pub start: Start,
    /// Number of layers.
    pub layers: usize,
}

impl NewtonSchulz {
    /// `M_k` after all layers.
    ///
    /// # Errors
    /// As [`NewtonSchulz::steps`].
    pub fn invert<T: Real>(&self, s: &Matrix<T>) -> Result<Matrix<T>, Error> {
        let mut steps = self.steps(s)?;
        Ok(steps.pop().unwrap_or_else(|| Matrix::zeros(0, 0)))
    }

    /// `M₀ … M_k`, of every layer.
    ///
    /// # Shapes
    /// `s`: `[d][d]`; the result: `[layers + 1][d][d]`.
    ///
    /// # Errors
    /// - [`Error::Shape`] unless S is square.
    /// - [`Error::NonFinite`] for NaN or infinity in it.
    /// - [`Error::Parameter`] if it is zero.
    pub fn steps<T: Real>(&self, s: &Matrix<T>) -> Result<Vec<Matrix<T>>, Error> {
        let mut steps = vec![self.first(s)?];
        for layer in 0..self.layers {
            let m = &steps[layer];
            steps.push(corrected(m, &m.product(s)));
        }
        Ok(steps)
    }

    /// The same layers as attention over the keys of the context, which S is never formed of.
    ///
    /// # Shapes
    /// `keys`: `[n][d]`; the result: `[layers + 1][d][d]`.
    ///
    /// # Errors
    /// As [`NewtonSchulz::steps`]; [`Error::NoRows`] for an empty context.
    pub fn attend<T: Real>(&self, keys: &Matrix<T>) -> Result<Vec<Matrix<T>>, Error> {
        keys.check_finite()?;
        let mut steps = vec![self.first(&second_moments(keys)?)?];
        let scoring = Scoring { scale: 1.0 / keys.rows as f64, ..Scoring::default() };
        for layer in 0..self.layers {
            let m = &steps[layer];
            steps.push(corrected(m, &attend(m, keys, keys, &scoring)?));
        }
        Ok(steps)
    }

    /// Least squares in context: `q M_k (1/n) KᵀY`.
    ///
    /// # Shapes
    /// `queries`: `[rows][d]`; `keys`: `[n][d]`; `values`: `[n][m]`; the result: `[rows][m]`.
    ///
    /// # Errors
    /// As [`NewtonSchulz::steps`]; [`Error::Shape`] if keys, queries and values do not fit each other.
    pub fn predict<T: Real>(
        &self,
        queries: &Matrix<T>,
        keys: &Matrix<T>,
        values: &Matrix<T>,
    ) -> Result<Matrix<T>, Error> {
        let inverse = self.invert(&second_moments(keys)?)?;
        let share = T::from_f64(1.0 / keys.rows as f64);
        let mut state = keys.transposed().times(values)?;
        state.data.iter_mut().for_each(|x| *x = *x * share);
        queries.times(&inverse.product(&state))
    }

    fn first<T: Real>(&self, s: &Matrix<T>) -> Result<Matrix<T>, Error> {
        if s.rows != s.columns {
            return Err(Error::Shape { what: "a row of S", expected: s.rows, got: s.columns });
        }
        s.check_finite()?;
        let (columns, rows) = norms(s);
        if s.rows > 0 && columns == 0.0 {
            return Err(Error::Parameter { name: "S", got: "zero".into(), allowed: "keys that are not all zero" });
        }
        Ok(match self.start {
            Start::Identity => Matrix::from_fn(s.rows, s.rows, |i, j| T::from_f64((i == j) as u8 as f64 / columns)),
            // Divided one after the other: the product of the norms may be beyond the numbers.
            Start::Transpose => {
                Matrix::from_fn(s.rows, s.rows, |i, j| T::from_f64(s.at(j, i).to_f64() / columns / rows))
            }
        })
    }

    /// `δ`, with `‖I − M₀S‖ = 1 − δ` in the spectral norm, for a symmetric positive definite S: `λ_min / ‖S‖₁`, or
    /// `λ_min² / (‖S‖₁ ‖S‖_∞)`.
    ///
    /// # Errors
    /// As [`NewtonSchulz::steps`]; [`Error::NoConvergence`] if the eigenvalues cannot be found.
    pub fn delta(start: Start, s: &Matrix) -> Result<f64, Error> {
        Self { start, layers: 0 }.first(s)?;
        let least = linalg::symmetric_eigen(&s.data, s.rows)?.0.first().copied().unwrap_or(1.0);
        let (columns, rows) = norms(s);
        Ok(match start {
            Start::Identity => least / columns,
            Start::Transpose => (least / columns) * (least / rows),
        })
    }
}

/// The layers after which `‖I − M_k S‖ = (1 − δ)^(2^k)` is at most `epsilon`: `⌈log₂(ln ε / ln(1 − δ))⌉`.
///
/// It grows as `2 log₂ κ(S)` from the transpose and as `log₂ κ(S)` from the identity.
///
/// # Example
/// ```
/// // 1 − δ = 1/2: after k layers 2^−(2^k).
/// assert_eq!(hattention::transformer::depth::layers_needed(0.5, 2f64.powi(-16)), 4);
/// ```
pub fn layers_needed(delta: f64, epsilon: f64) -> usize {
    let exponent = epsilon.ln() / (-delta).ln_1p();
    if exponent <= 1.0 { 0 } else { exponent.log2().ceil() as usize }
}

/// The steps of gradient descent at its best rate `2/(λ_min + λ_max)` after which the error of the coefficients is at most
/// `epsilon`: `⌈ln ε / ln((κ − 1)/(κ + 1))⌉`, κ of S.
///
/// # Example
/// ```
/// assert_eq!(hattention::transformer::depth::gradient_steps_needed(3.0, 2f64.powi(-10)), 10);
/// ```
pub fn gradient_steps_needed(condition: f64, epsilon: f64) -> usize {
    if condition <= 1.0 {
        return 1;
    }
    // ln((κ − 1)/(κ + 1)) = −2 artanh(1/κ), without cancellation.
    (epsilon.ln() / (-2.0 * (1.0 / condition).atanh())).ceil() as usize
}

/// `(1/n) KᵀK`.
///
/// # Errors
/// [`Error::NoRows`] for an empty context.
pub fn second_moments<T: Real>(keys: &Matrix<T>) -> Result<Matrix<T>, Error> {
    if keys.rows == 0 {
        return Err(Error::NoRows);
    }
    let mut s = keys.transposed().product(keys);
    let share = T::from_f64(1.0 / keys.rows as f64);
    s.data.iter_mut().for_each(|x| *x = *x * share);
    Ok(s)
}

/// `M + (I − read) M`.
///
/// As `2M − (MS)M` the same step would cancel: its rounding is `ε κ(S)` of M, and `ε κ(S)²` of `M S`.
fn corrected<T: Real>(m: &Matrix<T>, read: &Matrix<T>) -> Matrix<T> {
    let missing = Matrix::from_fn(m.rows, m.columns, |i, j| T::from_f64((i == j) as u8 as f64) - read.at(i, j));
    let data = missing.product(m).data.iter().zip(&m.data).map(|(step, m)| *m + *step).collect();
    Matrix { rows: m.rows, columns: m.columns, data }
}

/// `‖S‖₁` and `‖S‖_∞`: the largest sums of sizes over a column and over a row.
fn norms<T: Real>(s: &Matrix<T>) -> (f64, f64) {
    let size = |i: usize, j: usize| s.at(i, j).to_f64().abs();
    let column = (0..s.columns).map(|j| (0..s.rows).map(|i| size(i, j)).sum::<f64>()).fold(0.0, f64::max);
    let row = (0..s.rows).map(|i| (0..s.columns).map(|j| size(i, j)).sum::<f64>()).fold(0.0, f64::max);
    (column, row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(rows: usize, columns: usize, spread: f64) -> Matrix {
        let mut state = 5u64;
        Matrix::from_fn(rows, columns, |_, j| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 11) as f64 / (1u64 << 52) as f64 - 1.0) * spread.powf(j as f64 / columns as f64)
        })
    }

    /// `‖I − M S‖` in the spectral norm.
    fn error(m: &Matrix, s: &Matrix) -> f64 {
        let product = m.product(s);
        let rest = Matrix::from_fn(s.rows, s.rows, |i, j| (i == j) as u8 as f64 - product.at(i, j));
        linalg::svd(&rest).unwrap().values[0]
    }

    #[test]
    fn errors_square_from_layer_to_layer() {
        let s = second_moments(&context(200, 6, 5.0)).unwrap();
        for start in [Start::Identity, Start::Transpose] {
            let delta = NewtonSchulz::delta(start, &s).unwrap();
            let needed = layers_needed(delta, 1e-10);
            let steps = NewtonSchulz { start, layers: needed }.steps(&s).unwrap();
            for (k, m) in steps.iter().enumerate() {
                let law = (2f64.powi(k as i32) * (-delta).ln_1p()).exp();
                assert!((error(m, &s) - law).abs() < 1e-12 + 1e-9 * law, "{start:?} {k}: {} {law}", error(m, &s));
            }
            assert!(error(&steps[needed], &s) <= 1e-10 && error(&steps[needed - 1], &s) > 1e-10);
        }
    }

    #[test]
    fn attention_over_the_context_is_the_same_iteration() {
        let keys = context(300, 4, 3.0);
        let newton = NewtonSchulz { start: Start::Identity, layers: 9 };
        let (dense, attended) = (newton.steps(&second_moments(&keys).unwrap()).unwrap(), newton.attend(&keys).unwrap());
        for (a, b) in dense.iter().zip(&attended) {
            let size = a.data.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            assert!(a.data.iter().zip(&b.data).all(|(a, b)| (a - b).abs() < 1e-12 * size));
        }
    }

    #[test]
    fn enough_layers_are_least_squares() {
        let keys = context(100, 3, 2.0);
        let beta = Matrix::new(3, 1, vec![2.0, -1.0, 0.5]).unwrap();
        let values = keys.product(&beta);
        let queries = Matrix::identity(3);
        let newton = NewtonSchulz { start: Start::Transpose, layers: 20 };
        let read = newton.predict(&queries, &keys, &values).unwrap();
        assert!(read.data.iter().zip(&beta.data).all(|(a, b)| (a - b).abs() < 1e-13), "{read:?}");
        let single = newton.predict::<f32>(&queries.cast(), &keys.cast(), &values.cast()).unwrap();
        assert!(single.data.iter().zip(&beta.data).all(|(a, b)| (*a as f64 - b).abs() < 1e-5), "{single:?}");
    }

    #[test]
    fn what_has_no_inverse_is_refused() {
        let newton = NewtonSchulz { start: Start::Identity, layers: 3 };
        assert_eq!(
            newton.steps(&Matrix::<f64>::zeros(2, 2)).unwrap_err().to_string(),
            "S is zero, expected keys that are not all zero"
        );
        assert!(newton.steps(&Matrix::<f64>::zeros(2, 3)).is_err());
        assert!(newton.attend(&Matrix::<f64>::zeros(0, 3)).is_err());
    }
}

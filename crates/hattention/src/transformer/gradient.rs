//! One layer is one step of gradient descent, and the best that one trained layer can do.

use crate::attention::attend::{Scoring, attend};
use crate::error::Error;
use crate::linalg;
use crate::matrix::Matrix;

/// The one-layer construction: linear self-attention over tokens `e = (x, y)` that takes one step of gradient descent on
/// `1/(2N) Σⱼ ‖W xⱼ − yⱼ‖²`.
///
/// `W_K = W_Q = diag(I, 0)`, `W_V = [[0, 0], [W₀, −I]]`, and what attention gives is multiplied by `η/N` and added to the
/// token: `yᵢ ← yᵢ − ΔW xᵢ` with `ΔW = −η ∇ = (η/N) Σⱼ (yⱼ − W₀xⱼ) xⱼᵀ`. A query enters as `(x, −W₀x)` and leaves with minus its
/// prediction. From the second layer on `W₀ = 0`: tokens then hold residuals.
///
/// # Example
/// ```
/// use hattention::Matrix;
/// use hattention::transformer::gradient::GradientLayer;
/// // One context row x = 1, y = 2, and the query x = 3; a step of rate 1 from zero gives W = 2.
/// let tokens = Matrix::new(2, 2, vec![1.0, 2.0, 3.0, 0.0]).unwrap();
/// let layer = GradientLayer::new(&Matrix::zeros(1, 1), 1.0).unwrap();
/// assert_eq!(layer.forward(&tokens, 1).unwrap().data, [1.0, 0.0, 3.0, -6.0]);
/// ```
///
/// # References
/// von Oswald et al. (2023), arXiv 2212.07677, proposition 1 and appendix on GD++.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientLayer {
    /// `diag(I, 0)`: queries and keys are the inputs. Shape: `[x + y][x + y]`, as are the others.
    pub w_q: Matrix,
    /// The same.
    pub w_k: Matrix,
    /// `[[−γ I, 0], [W₀, −I]]`, tokens being columns; γ is zero but in GD++. Acts as `W_V e`.
    pub w_v: Matrix,
    /// `η`; attention is multiplied by `η/N`.
    pub rate: f64,
}

impl GradientLayer {
    /// The construction from initial weights `W₀`, `[outputs][inputs]`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a rate that is not finite; [`Error::NonFinite`] for such a weight.
    pub fn new(initial: &Matrix, rate: f64) -> Result<Self, Error> {
        if !rate.is_finite() {
            return Err(Error::Parameter { name: "the rate", got: rate.to_string(), allowed: "a finite number" });
        }
        initial.check_finite()?;
        let (outputs, inputs) = (initial.rows, initial.columns);
        let size = inputs + outputs;
        let input = Matrix::from_fn(size, size, |i, j| (i == j && i < inputs) as u8 as f64);
        let w_v = Matrix::from_fn(size, size, |i, j| match (i.checked_sub(inputs), j.checked_sub(inputs)) {
            (Some(output), None) => initial.at(output, j),
            (Some(_), Some(_)) if i == j => -1.0,
            _ => 0.0,
        });
        Ok(Self { w_q: input.clone(), w_k: input, w_v, rate })
    }

    /// GD++: the layer also maps `x ← (I − γ (1/N) Σ x xᵀ) x`, which brings the condition down for the next layer.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a factor that is not finite, or a layer of rate zero, which nothing passes through.
    pub fn with_curvature(mut self, gamma: f64) -> Result<Self, Error> {
        if !(gamma.is_finite() && self.rate != 0.0) {
            let got = format!("{gamma} at rate {}", self.rate);
            return Err(Error::Parameter { name: "γ", got, allowed: "a finite number, at a rate that is not zero" });
        }
        for i in 0..self.w_q.rows {
            if self.w_q.at(i, i) != 0.0 {
                // Attention is multiplied by the rate, and γ is not.
                self.w_v.row_mut(i)[i] = -gamma / self.rate;
            }
        }
        Ok(self)
    }

    /// The tokens after the layer: the first `context` of them are attended to by all.
    ///
    /// # Shapes
    /// `tokens`: `[rows][x + y]`, as is the result.
    ///
    /// # Errors
    /// - [`Error::Shape`] for tokens of another size, or fewer of them than the context has.
    /// - [`Error::NoRows`] for an empty context.
    pub fn forward(&self, tokens: &Matrix, context: usize) -> Result<Matrix, Error> {
        if context > tokens.rows {
            return Err(Error::Shape { what: "the tokens", expected: context, got: tokens.rows });
        }
        if context == 0 {
            return Err(Error::NoRows);
        }
        let attended = Matrix::from_fn(context, tokens.columns, |i, j| tokens.at(i, j));
        let queries = tokens.times(&self.w_q.transposed())?;
        let keys = attended.times(&self.w_k.transposed())?;
        let values = attended.times(&self.w_v.transposed())?;
        let scoring = Scoring { scale: self.rate / context as f64, ..Scoring::default() };
        let mut result = attend(&queries, &keys, &values, &scoring)?;
        result.data.iter_mut().zip(&tokens.data).for_each(|(sum, token)| *sum += token);
        Ok(result)
    }
}

/// The best one layer of linear attention: `A* = ((1 + 1/n) Σ + (tr Σ/n + σ²/n) I)⁻¹`, of the prediction
/// `x_qᵀ A (1/n) Σᵢ yᵢ xᵢ` over contexts of n rows with `x ~ N(0, Σ)`, `y = wᵀx + noise`, `w ~ N(0, I)`.
///
/// A step of preconditioned gradient descent; shrinkage like ridge's, by the length of the context.
///
/// # Errors
/// [`Error::Shape`] unless Σ is square; [`Error::Parameter`] for n = 0 or a variance that is not finite and zero or more;
/// [`Error::RankDeficient`] never, as the second term is positive for Σ other than zero: then [`Error::Parameter`].
///
/// # Example
/// ```
/// use hattention::Matrix;
/// let a = hattention::transformer::gradient::optimal_one_layer(&Matrix::identity(3), 10, 0.0).unwrap();
/// assert!((a.at(0, 0) - 1.0 / 1.4).abs() < 1e-15); // 1 / (1 + (d + 1)/n)
/// ```
///
/// # References
/// Ahn et al. (2023), arXiv 2306.00297; Mahankali, Hashimoto & Ma (2023), arXiv 2307.03576; Zhang, Frei & Bartlett (2023),
/// arXiv 2306.09927.
pub fn optimal_one_layer(sigma: &Matrix, rows: usize, noise_variance: f64) -> Result<Matrix, Error> {
    let (values, vectors) = spectrum(sigma, rows, noise_variance)?;
    let n = rows as f64;
    let trace: f64 = values.iter().sum();
    let inverse: Vec<f64> = values.iter().map(|l| 1.0 / ((1.0 + 1.0 / n) * l + (trace + noise_variance) / n)).collect();
    Ok(Matrix::from_fn(sigma.rows, sigma.rows, |i, j| vectors.iter().zip(&inverse).map(|(v, f)| v[i] * f * v[j]).sum()))
}

/// The expected squared error of `x_qᵀ A (1/n) Σᵢ yᵢ xᵢ` about the noiseless target, in the world of
/// [`optimal_one_layer`]: `tr Σ − 2 tr(ΣAΣ) + tr(ΣA((1 + 1/n) Σ² + (tr Σ + σ²)/n Σ)Aᵀ)`.
///
/// # Errors
/// As [`optimal_one_layer`]; [`Error::Shape`] if A is of another size.
pub fn one_layer_loss(a: &Matrix, sigma: &Matrix, rows: usize, noise_variance: f64) -> Result<f64, Error> {
    spectrum(sigma, rows, noise_variance)?;
    let n = rows as f64;
    let trace = |m: &Matrix| (0..m.rows).map(|i| m.at(i, i)).sum::<f64>();
    let own = trace(sigma);
    let through = sigma.times(a)?;
    let squares = sigma.product(sigma);
    let moments = Matrix::from_fn(sigma.rows, sigma.rows, |i, j| {
        (1.0 + 1.0 / n) * squares.at(i, j) + (own + noise_variance) / n * sigma.at(i, j)
    });
    let fourth = through.product(&moments).times(&a.transposed())?;
    Ok(own - 2.0 * trace(&through.product(sigma)) + trace(&fourth))
}

#[allow(clippy::type_complexity)]
fn spectrum(sigma: &Matrix, rows: usize, noise_variance: f64) -> Result<(Vec<f64>, Vec<Vec<f64>>), Error> {
    if sigma.rows != sigma.columns {
        return Err(Error::Shape { what: "a row of Σ", expected: sigma.rows, got: sigma.columns });
    }
    sigma.check_finite()?;
    let parameter = |name, got: String, allowed| Err(Error::Parameter { name, got, allowed });
    if rows == 0 {
        return parameter("the rows of the context", "0".into(), "at least 1");
    }
    if !(noise_variance >= 0.0 && noise_variance.is_finite()) {
        return parameter("the variance of the noise", noise_variance.to_string(), "a finite number, zero or more");
    }
    let (values, vectors) = linalg::symmetric_eigen(&sigma.data, sigma.rows)?;
    let largest = values.last().copied().unwrap_or(0.0);
    // (Rounding may leave a zero eigenvalue slightly negative.)
    if sigma.rows > 0 && (largest <= 0.0 || values[0] < -1e-12 * largest) {
        return parameter(
            "Σ",
            format!("a matrix with eigenvalues {} to {largest}", values[0]),
            "a covariance other than zero",
        );
    }
    Ok((values, vectors))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed;
        move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        }
    }

    #[test]
    fn layers_are_steps_of_gradient_descent() {
        let (n, d, m) = (20, 3, 2);
        let mut next = numbers(1);
        let x = Matrix::from_fn(n, d, |_, _| next());
        let y = Matrix::from_fn(n, m, |_, _| next());
        let query = Matrix::from_fn(1, d, |_, _| next());
        let initial = Matrix::from_fn(m, d, |_, _| next());
        let rate = 0.7;
        let mut tokens = Matrix::from_fn(n + 1, d + m, |i, j| match (i < n, j.checked_sub(d)) {
            (true, None) => x.at(i, j),
            (true, Some(t)) => y.at(i, t),
            (false, None) => query.at(0, j),
            (false, Some(t)) => -(0..d).map(|c| initial.at(t, c) * query.at(0, c)).sum::<f64>(),
        });
        let mut w = initial.clone();
        for step in 0..5 {
            let start = if step == 0 { initial.clone() } else { Matrix::zeros(m, d) };
            tokens = GradientLayer::new(&start, rate).unwrap().forward(&tokens, n).unwrap();
            let mut gradient = Matrix::<f64>::zeros(m, d);
            for i in 0..n {
                for t in 0..m {
                    let rest = (0..d).map(|c| w.at(t, c) * x.at(i, c)).sum::<f64>() - y.at(i, t);
                    (0..d).for_each(|c| gradient.row_mut(t)[c] += rest * x.at(i, c) / n as f64);
                }
            }
            w.data.iter_mut().zip(&gradient.data).for_each(|(w, g)| *w -= rate * g);
            for t in 0..m {
                let expected: f64 = (0..d).map(|c| w.at(t, c) * query.at(0, c)).sum();
                assert!((tokens.at(n, d + t) + expected).abs() < 1e-14, "step {step}");
                // The first layer leaves yᵢ − ΔW xᵢ, whose ΔW is measured from W₀.
                let moved = (0..d).map(|c| (w.at(t, c) - initial.at(t, c)) * x.at(0, c)).sum::<f64>();
                assert!((tokens.at(0, d + t) - (y.at(0, t) - moved)).abs() < 1e-14 || step > 0);
            }
            if step == 0 {
                // From here on tokens are to hold residuals: W₀ is taken off once.
                for i in 0..n {
                    for t in 0..m {
                        let predicted: f64 = (0..d).map(|c| initial.at(t, c) * x.at(i, c)).sum();
                        tokens.row_mut(i)[d + t] -= predicted;
                    }
                }
            }
        }
    }

    #[test]
    fn curvature_is_taken_off_the_inputs() {
        let mut next = numbers(2);
        let tokens = Matrix::from_fn(10, 3, |_, _| next());
        let layer = GradientLayer::new(&Matrix::zeros(1, 2), 0.5).unwrap().with_curvature(0.3).unwrap();
        let got = layer.forward(&tokens, 10).unwrap();
        for i in 0..10 {
            for c in 0..2 {
                let sum: f64 = (0..10)
                    .map(|j| tokens.at(j, c) * (0..2).map(|k| tokens.at(j, k) * tokens.at(i, k)).sum::<f64>())
                    .sum();
                assert!((got.at(i, c) - (tokens.at(i, c) - 0.3 / 10.0 * sum)).abs() < 1e-15);
            }
        }
    }

    #[test]
    fn no_matrix_near_the_optimum_has_less_loss() {
        let mut next = numbers(3);
        let root = Matrix::from_fn(4, 4, |_, _| next());
        let sigma = root.product(&root.transposed());
        let best = optimal_one_layer(&sigma, 7, 0.2).unwrap();
        let least = one_layer_loss(&best, &sigma, 7, 0.2).unwrap();
        for _ in 0..50 {
            let other = Matrix::from_fn(4, 4, |i, j| best.at(i, j) + 0.01 * next());
            assert!(one_layer_loss(&other, &sigma, 7, 0.2).unwrap() > least);
        }
    }
}

//! What a vector of weights says about the prediction that it makes.

/// Diagnostics of the weights `ω` of one prediction.
///
/// # References
/// Goulet Coulombe, Göbel & Klieber (2024), Dual Interpretation of Machine Learning Forecasts, arXiv 2412.13076.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Diagnostics {
    /// `Σ ω`: one with an intercept.
    pub leverage_sum: f64,
    /// `Σ |ω|`, the gross leverage; one where weights are convex.
    pub gross: f64,
    /// `Σ ω 1[ω < 0]`, the short position; zero where weights are convex.
    pub short: f64,
    /// `Σ ω²`.
    pub squares: f64,
    /// `(Σω)² / Σω²`, the effective number of rows (Rényi's, of order 2).
    pub effective_rows: f64,
    /// `exp` of the entropy of `|ω| / Σ|ω|`, the effective number of rows by Shannon.
    pub effective_rows_entropy: f64,
    /// Share of `Σ|ω|` on the 5 % of rows with the largest `|ω|`, one row at least.
    pub concentration: f64,
}

impl Diagnostics {
    /// Of weights in memory.
    ///
    /// # Example
    /// ```
    /// use hattention::attention::Diagnostics;
    /// let equal = Diagnostics::of(&[0.25; 4]);
    /// assert_eq!((equal.effective_rows, equal.gross, equal.short), (4.0, 1.0, 0.0));
    /// assert!((equal.effective_rows_entropy - 4.0).abs() < 1e-12);
    /// ```
    pub fn of(weights: &[f64]) -> Self {
        let sum: f64 = weights.iter().sum();
        let gross: f64 = weights.iter().map(|w| w.abs()).sum();
        let squares: f64 = weights.iter().map(|w| w * w).sum();
        let entropy: f64 = weights
            .iter()
            .map(|w| w.abs() / gross)
            .filter(|share| *share > 0.0)
            .map(|share| -share * libm::log(share))
            .sum();
        let mut sizes: Vec<f64> = weights.iter().map(|w| w.abs()).collect();
        let count = weights.len().div_ceil(20).max(1);
        if count < sizes.len() {
            sizes.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
            sizes.truncate(count);
            // (Their order, and with it the sum, should not depend on the selection.)
            sizes.sort_unstable_by(|a, b| b.total_cmp(a));
        }
        Self {
            leverage_sum: sum,
            gross,
            short: weights.iter().filter(|w| **w < 0.0).sum(),
            squares,
            effective_rows: sum * sum / squares,
            effective_rows_entropy: libm::exp(entropy),
            concentration: sizes.iter().sum::<f64>() / gross,
        }
    }
}

/// `Σ_i |ω_i − ω'_i|` of two predictions: along an ordered path, the turnover from one to the next.
pub fn turnover(weights: &[f64], before: &[f64]) -> f64 {
    weights.iter().zip(before).map(|(w, b)| (w - b).abs()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_their_definitions() {
        let mut weights = vec![0.01; 40];
        weights[7] = -0.2;
        weights[9] = 0.5;
        let found = Diagnostics::of(&weights);
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} and {b}");
        near(found.leverage_sum, 0.68);
        near(found.gross, 1.08);
        near(found.short, -0.2);
        near(found.concentration, 0.7 / 1.08);
        near(found.effective_rows, 0.68 * 0.68 / (38.0 * 1e-4 + 0.04 + 0.25));
        let entropy: f64 = weights.iter().map(|w| w.abs() / 1.08).map(|p| -p * p.ln()).sum();
        near(found.effective_rows_entropy, entropy.exp());
        near(turnover(&[0.5, 0.5], &[1.0, -0.25]), 1.25);
        // A single weight is all there is.
        near(Diagnostics::of(&[0.0, 1.0]).effective_rows_entropy, 1.0);
    }
}

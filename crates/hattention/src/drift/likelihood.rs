//! The likelihood ratio of "one normal law made both samples", and the law that this statistic has.

use statrs::function::gamma::checked_gamma_ur;

/// A test against the upper tail of a law close to `χ²`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Test {
    /// The statistic.
    pub statistic: f64,
    /// Degrees of freedom of the limiting `χ²`: `p(p + 3)/2`, the free means and covariances.
    pub df: f64,
    /// Upper tail probability.
    pub p: f64,
}

/// Mean and variance of the likelihood ratio when both samples are of one normal law, exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NullLaw {
    /// `E LR`; `p(p + 3)/2` in the limit.
    pub mean: f64,
    /// `Var LR`; `p(p + 3)` in the limit.
    pub variance: f64,
}

impl NullLaw {
    /// The law for `p` columns and samples of `n` and `n*` rows; both must exceed `p`.
    ///
    /// `λ^h` has as moments products of gamma functions (Anderson, section 10.4), so that the cumulants of
    /// `LR = −2 log λ` are sums of polygammas: with `N = n + n*`,
    /// `E LR = h(N) − h(n) − h(n*)`, `h(m) = m Σᵢ ψ((m − i)/2) − log(m/2)`, and
    /// `Var LR = v(n) + v(n*) − v(N)`, `v(m) = Σᵢ m² ψ′((m − i)/2) − 2m`, `i = 1 … p`.
    ///
    /// # Example
    /// ```
    /// // Bartlett's factor for two samples (Anderson, 10.3) is the first term of the exact mean's expansion.
    /// let (p, n, m) = (5.0, 4000.0, 1000.0);
    /// let law = hattention::drift::NullLaw::new(5, n, m);
    /// let gap = 1.0 / n + 1.0 / m - 1.0 / (n + m);
    /// let factor = 1.0 - gap * (2.0 * p * p + 9.0 * p + 11.0) / (6.0 * (p + 3.0));
    /// assert!((law.mean * factor / (p * (p + 3.0) / 2.0) - 1.0).abs() < 30.0 * gap * gap);
    /// ```
    pub fn new(columns: usize, training_rows: f64, rows: f64) -> Self {
        let part = |m: f64, term: fn(f64, f64) -> f64| -> f64 { (1..=columns).map(|i| term(m, i as f64)).sum() };
        let mean = |m: f64, i: f64| m * (digamma_less_log((m - i) / 2.0) + (-i / m).ln_1p());
        let variance = |m: f64, i: f64| m * m * trigamma((m - i) / 2.0) - 2.0 * m;
        let total = training_rows + rows;
        Self {
            mean: part(total, mean) - part(training_rows, mean) - part(rows, mean),
            variance: part(training_rows, variance) + part(rows, variance) - part(total, variance),
        }
    }

    /// `P(LR ≥ statistic)` by the multiple of a `χ²` with this mean and variance.
    pub fn upper(&self, statistic: f64) -> f64 {
        let scale = self.variance / (2.0 * self.mean);
        chi_square_upper(statistic / scale, self.mean / scale)
    }
}

/// `P(χ² ≥ x)`. Equals `pchisq(x, df, lower.tail = FALSE)` in R.
pub(crate) fn chi_square_upper(x: f64, df: f64) -> f64 {
    if x.is_nan() || df.is_nan() {
        return f64::NAN;
    }
    if x <= 0.0 || df <= 0.0 {
        return 1.0;
    }
    if x.is_infinite() { 0.0 } else { checked_gamma_ur(df / 2.0, x / 2.0).unwrap_or(f64::NAN) }
}

/// Where the asymptotic series of the polygammas is right to the last bits.
const SERIES_FROM: f64 = 12.0;

/// `ψ(x) − log x` for `x > 0`, without cancellation for large x.
fn digamma_less_log(x: f64) -> f64 {
    if x < SERIES_FROM {
        // ψ(x) = ψ(x + 1) − 1/x.
        return digamma_less_log(x + 1.0) + (1.0 / x).ln_1p() - 1.0 / x;
    }
    let s = 1.0 / (x * x);
    let series = s * (1.0 / 12.0 - s * (1.0 / 120.0 - s * (1.0 / 252.0 - s * (1.0 / 240.0 - s / 132.0))));
    -0.5 / x - series
}

/// `ψ′(x)` for `x > 0`.
fn trigamma(x: f64) -> f64 {
    if x < SERIES_FROM {
        return trigamma(x + 1.0) + 1.0 / (x * x);
    }
    let s = 1.0 / (x * x);
    let series = s * (1.0 / 6.0 - s * (1.0 / 30.0 - s * (1.0 / 42.0 - s * (1.0 / 30.0 - s * 5.0 / 66.0))));
    (1.0 + 0.5 / x + series) / x
}

/// Moments of the batch in the frame where the training rows have mean 0 and covariance I, along some directions:
/// the batch's variances (it has no covariances along its own principal axes) and its means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axes<'a> {
    pub(crate) variances: &'a [f64],
    pub(crate) means: &'a [f64],
}

impl Axes<'_> {
    /// `LR = N log|Σ̂| − n log|Σ̂₁| − n* log|Σ̂₂|`, the pooled covariance about the pooled mean, and its tail.
    ///
    /// With `D = diag(n + n* λ)/N` and the mean part of rank one, `|Σ̂| = |D| (1 + (n n*/N²) δᵀD⁻¹δ)`.
    pub(crate) fn likelihood_ratio(self, training_rows: f64, rows: f64) -> Test {
        let total = training_rows + rows;
        let share = rows / total;
        let pooled = |variance: f64| share * (variance - 1.0);
        let along: f64 =
            self.variances.iter().zip(self.means).map(|(variance, mean)| mean * mean / (1.0 + pooled(*variance))).sum();
        let shape: f64 = self.variances.iter().map(|v| pooled(*v).ln_1p() - share * v.ln()).sum();
        let statistic = total * (shape + (share * (1.0 - share) * along).ln_1p());
        let law = NullLaw::new(self.variances.len(), training_rows, rows);
        Test { statistic, df: degrees(self.variances.len()), p: law.upper(statistic) }
    }

    /// `(n n*/N)(tr S − log det S − d)`, with the means, against its limiting `χ²`.
    pub(crate) fn divergence(self, training_rows: f64, rows: f64) -> Test {
        let terms = self.variances.iter().zip(self.means).map(|(v, mean)| (v - 1.0) - v.ln() + mean * mean);
        let statistic = training_rows * rows / (training_rows + rows) * terms.sum::<f64>();
        let df = degrees(self.variances.len());
        Test { statistic, df, p: chi_square_upper(statistic, df) }
    }
}

fn degrees(columns: usize) -> f64 {
    (columns * (columns + 3)) as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polygammas_agree_with_their_values() {
        // ψ(1) = −γ, ψ(1/2) = −γ − 2 log 2, ψ′(1) = π²/6, ψ′(1/2) = π²/2.
        let euler = 0.577_215_664_901_532_9;
        let squared = std::f64::consts::PI * std::f64::consts::PI;
        assert!((digamma_less_log(1.0) + euler).abs() < 4e-15);
        assert!((digamma_less_log(0.5) - 0.5f64.ln().abs() + euler + 2.0 * 2f64.ln()).abs() < 4e-15);
        assert!((trigamma(1.0) - squared / 6.0).abs() < 4e-15);
        assert!((trigamma(0.5) - squared / 2.0).abs() < 8e-15);
        // ψ(100) − log 100, mpmath.
        assert!((digamma_less_log(100.0) + 0.005_008_333_250_003_967).abs() < 1e-17);
    }

    #[test]
    fn the_tail_agrees_with_r() {
        // R: pchisq(c(3, 40, 400), c(2, 20, 20), lower.tail = FALSE)
        assert!((chi_square_upper(3.0, 2.0) / 0.223_130_160_148_429_83 - 1.0).abs() < 1e-13);
        assert!((chi_square_upper(40.0, 20.0) / 0.004_995_412_308_0 - 1.0).abs() < 1e-9);
        assert!(chi_square_upper(400.0, 20.0) > 0.0 && chi_square_upper(400.0, 20.0) < 1e-60);
        assert_eq!((chi_square_upper(f64::INFINITY, 2.0), chi_square_upper(0.0, 2.0)), (0.0, 1.0));
    }
}

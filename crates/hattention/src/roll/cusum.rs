//! Sums of recursive residuals, and the lines they cross when coefficients have moved.

/// The constant of the 5 % lines.
const AT_FIVE_PERCENT: f64 = 0.948;

/// Sums of the recursive residuals over `σ̂`, and the lines `±a (√N + 2 j/√N)` of the j-th of N.
///
/// Shapes: `[rows]`; rows without a residual have none of either.
pub(super) fn cusum(recursive: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let known = || recursive.iter().filter(|w| !w.is_nan());
    let count = known().count() as f64;
    let sigma = (known().map(|w| w * w).sum::<f64>() / count).sqrt();
    let (mut sum, mut seen) = (0.0, 0.0);
    let rows = recursive.iter().map(|w| {
        if w.is_nan() {
            return (f64::NAN, f64::NAN);
        }
        sum += w;
        seen += 1.0;
        (sum / sigma, AT_FIVE_PERCENT * (count.sqrt() + 2.0 * seen / count.sqrt()))
    });
    rows.unzip()
}

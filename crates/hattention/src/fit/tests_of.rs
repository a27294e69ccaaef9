//! Joint and nested tests.

use super::{FTest, Fit, distribution};
use crate::design::Filter;
use crate::error::Error;
use crate::linalg;

/// A linear hypothesis `R β = r`: one row a restriction, over the reported coefficients.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// Restrictions. Shape: `[restrictions][coefficients]`.
    pub rows: Vec<Vec<f64>>,
    /// Their right sides. Shape: `[restrictions]`.
    pub right: Vec<f64>,
}

/// The Wald test of a linear hypothesis: `F = (Rβ − r)ᵀ (R V Rᵀ)⁻¹ (Rβ − r) / q`.
///
/// # Equals
/// `car::linearHypothesis(fit, …)` in R, `results.f_test(…)` in statsmodels; with the classical covariance the F test
/// of the restricted model.
///
/// # Errors
/// - [`Error::Shape`]: a row is not as long as the list of coefficients.
/// - [`Error::Parameter`]: the fit has no covariance or no residual degrees of freedom, a number is not finite, a
///   restriction names a dropped coefficient, or restrictions depend on each other.
pub fn wald(fit: &Fit, hypothesis: &Hypothesis) -> Result<FTest, Error> {
    let refuse =
        |got: &str, allowed: &'static str| Error::Parameter { name: "the hypothesis", got: got.into(), allowed };
    let of_fit = |got: &str, allowed| Error::Parameter { name: "the fit", got: got.into(), allowed };
    let covariance = fit
        .covariance
        .as_ref()
        .ok_or_else(|| of_fit("one by ridge or components", "one by least squares for tests"))?;
    if covariance.df.is_nan() || covariance.df <= 0.0 {
        let got = "one without residual degrees of freedom";
        return Err(of_fit(got, "one with more rows than coefficients for tests"));
    }
    let count = hypothesis.rows.len();
    if hypothesis.right.len() != count {
        return Err(Error::Shape { what: "the right side", expected: count, got: hypothesis.right.len() });
    }
    if count == 0 {
        return Err(refuse("no restriction", "at least one restriction"));
    }
    let mut gaps = Vec::with_capacity(count);
    let mut directions = Vec::with_capacity(count);
    for (row, right) in hypothesis.rows.iter().zip(&hypothesis.right) {
        if row.iter().chain([right]).any(|x| !x.is_finite()) {
            return Err(refuse("a restriction with an infinite number", "finite numbers"));
        }
        if row.len() != fit.names.len() {
            return Err(Error::Shape { what: "a restriction", expected: fit.names.len(), got: row.len() });
        }
        let mut gap = -right;
        let mut direction: Vec<f64> = Vec::new();
        for (k, &factor) in row.iter().enumerate().filter(|(_, f)| **f != 0.0) {
            let estimate = fit.estimates[k].ok_or_else(|| {
                refuse(&format!("a restriction on `{}`", fit.names[k]), "coefficients that were estimated")
            })?;
            gap += factor * estimate.to_f64();
            let loading = &covariance.loading[k];
            direction.resize(loading.len(), 0.0);
            direction.iter_mut().zip(loading).for_each(|(d, l)| *d += factor * l);
        }
        gaps.push(gap);
        directions.push(direction);
    }
    let matrix: Vec<f64> =
        directions.iter().flat_map(|u| directions.iter().map(|v| covariance.between(u, v))).collect();
    let solution = linalg::solve_symmetric(&matrix, count, &gaps)
        .ok_or_else(|| refuse("restrictions that depend on each other", "independent restrictions"))?;
    let df1 = count as f64;
    let statistic = gaps.iter().zip(&solution).map(|(g, s)| g * s).sum::<f64>() / df1;
    Ok(FTest { statistic, df1, df2: covariance.df, p: distribution::f_upper(statistic, df1, covariance.df) })
}

/// The test that the given coefficients are all zero; `None` where it cannot be computed.
pub fn zero(fit: &Fit, coefficients: &[usize]) -> Option<FTest> {
    let rows =
        coefficients.iter().map(|&k| (0..fit.names.len()).map(|j| if j == k { 1.0 } else { 0.0 }).collect()).collect();
    wald(fit, &Hypothesis { rows, right: vec![0.0; coefficients.len()] }).ok()
}

/// The F test of a smaller model nested in a larger one, by their residual sums.
///
/// # Equals
/// `anova(small, large)` in R.
///
/// # Errors
/// [`Error::Parameter`] if a model is not one of least squares, if they have different rows, weights or variation of
/// the target, or if the second is not larger or has no residual degrees of freedom.
pub fn nested(small: &Fit, large: &Fit) -> Result<FTest, Error> {
    let refuse = |got: String, allowed| Err(Error::Parameter { name: "the comparison", got, allowed });
    if [small, large].iter().any(|fit| fit.filter != Filter::Ols) {
        return refuse("with a fit by ridge or components".into(), "two fits by least squares");
    }
    if small.rows != large.rows || small.target != large.target {
        return refuse(
            format!("of `{}` on {} rows and `{}` on {} rows", small.target, small.rows, large.target, large.rows),
            "two fits of the same target on the same rows",
        );
    }
    // Sums over the same data and weights are the same, but for the roundings of the in-memory rung.
    let same_weights = small.log_weight_sum == large.log_weight_sum;
    let same_target = (small.total_sum - large.total_sum).abs() <= 1e-13 * small.total_sum;
    if !same_weights || (small.intercept == large.intercept && !same_target) {
        let got =
            format!("of `{}` with total sums of squares {} and {}", small.target, small.total_sum, large.total_sum);
        return refuse(got, "two fits of the same target on the same rows with the same weights");
    }
    let df1 = small.df_residual - large.df_residual;
    if df1 <= 0.0 {
        return refuse(
            format!("of models with {} and {} residual degrees of freedom", small.df_residual, large.df_residual),
            "one of a model and a larger one, with more coefficients",
        );
    }
    if large.df_residual <= 0.0 {
        return refuse("with a model without residual degrees of freedom".into(), "more rows than coefficients");
    }
    let statistic = (small.residual_sum - large.residual_sum) / df1 / large.variance();
    Ok(FTest { statistic, df1, df2: large.df_residual, p: distribution::f_upper(statistic, df1, large.df_residual) })
}

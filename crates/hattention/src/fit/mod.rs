//! Fits: coefficients and what can be inferred from them.

pub mod covariance;
pub mod distribution;
pub mod inflation;
pub mod scores;
pub mod tests_of;

use crate::absorb::FittedEffects;
use crate::design::Filter;
use crate::double_double::DoubleDouble;
use crate::error::Error;
use crate::moments::Moments;
use crate::whitening::Whitening;

pub use covariance::{Covariance, Vcov};
pub use inflation::variance_inflation;
pub use scores::Scores;

/// A coefficient as reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Coefficient {
    /// Its name.
    pub name: String,
    /// The estimate; `None` if the column was dropped as dependent.
    pub estimate: Option<f64>,
    /// Its standard error; `None` under ridge and components, and without residual degrees of freedom.
    pub std_error: Option<f64>,
    /// `estimate / std_error`.
    pub t: Option<f64>,
    /// Two-sided p-value of t.
    pub p: Option<f64>,
    /// Lower end of the confidence interval.
    pub ci_low: Option<f64>,
    /// Upper end of the confidence interval.
    pub ci_high: Option<f64>,
    /// Correct decimal digits of the estimate against the data given, at most 15.9.
    pub digits: Option<f64>,
}

/// A test by the F distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FTest {
    /// The statistic.
    pub statistic: f64,
    /// Numerator degrees of freedom.
    pub df1: f64,
    /// Denominator degrees of freedom.
    pub df2: f64,
    /// Upper tail probability.
    pub p: f64,
}

/// The regression of one target.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The target's name.
    pub target: String,
    /// Names of the reported coefficients.
    pub names: Vec<String>,
    /// Estimates as pairs of doubles; `None` where the column was dropped. Shape: `[coefficients]`.
    pub estimates: Vec<Option<DoubleDouble>>,
    /// Correct digits of each estimate.
    pub coefficient_digits: Vec<Option<f64>>,
    /// Coefficients of the kept columns of the state, for prediction. Shape: `[kept]`.
    pub raw: Vec<DoubleDouble>,
    /// Intercept that goes with [`Fit::raw`]; zero without one.
    pub raw_intercept: DoubleDouble,
    /// Mean of the target (weighted); zero without intercept.
    pub target_mean: f64,
    /// `M = Kᵀ(w y)`: what the keys remember of the target. Shape: `[keys]`.
    pub memory: Vec<f64>,
    /// Residual sum of squares `Σ w e²`.
    pub residual_sum: f64,
    /// `√Σ w e²`, which neither overflows nor underflows.
    pub residual_root: f64,
    /// `1 − RSS/TSS`; NaN for a target without variation.
    pub r_squared: f64,
    /// `(TSS − RSS)/RSS`; infinite for a perfect fit.
    pub signal_to_noise: f64,
    /// Total sum of squares, about the mean with an intercept.
    pub total_sum: f64,
    /// Rows with positive weight.
    pub rows: u64,
    /// Residual degrees of freedom, `n − tr H`.
    pub df_residual: f64,
    /// Trace of the hat matrix.
    pub effective_df: f64,
    /// `Σ log w`.
    pub log_weight_sum: f64,
    /// The intercept is part of the design.
    pub intercept: bool,
    /// The filter of the keys.
    pub filter: Filter,
    /// Covariance of the coefficients; `None` under ridge and components.
    pub covariance: Option<Covariance>,
    /// Effects that were taken out of the columns, if any were.
    pub effects: Option<FittedEffects>,
}

impl Fit {
    /// The regression of column `target` of the state (0 is the first column of its blocks) on a factored design.
    ///
    /// # Equals
    /// `summary(lm(…))` in R; `sm.OLS(…).fit()` and `sm.WLS` in statsmodels.
    ///
    /// # Errors
    /// - [`Error::Shape`] if the state has no such column.
    /// - [`Error::Parameter`] if the whitening was read from a file.
    pub fn of(moments: &Moments, whitening: &Whitening, target: usize, name: &str) -> Result<Self, Error> {
        if target >= moments.columns() {
            return Err(Error::Shape { what: "the state", expected: target + 1, got: moments.columns() });
        }
        let state = whitening.design.state_columns().max().map_or(0, |c| c + 1);
        if state > moments.columns() {
            return Err(Error::Shape { what: "the state", expected: state, got: moments.columns() });
        }
        let solver = whitening.solver.as_ref().ok_or(Error::Parameter {
            name: "the whitening",
            got: "one read from a file".into(),
            allowed: "one factored from moments",
        })?;
        let mut solved = solver.coefficients(moments, target + 1);
        // Small coefficients and small residuals may need more bits than the factor did.
        let mut finer: Option<Whitening> = None;
        while !solved.certain {
            let next = finer.as_ref().unwrap_or(whitening).with_more_bits(moments)?;
            let Some(next) = next else { break };
            if let Some(solver) = &next.solver {
                solved = solver.coefficients(moments, target + 1);
            }
            finer = Some(next);
        }
        let rows = moments.rows();
        let mut fit = Self {
            target: name.to_owned(),
            names: whitening.coefficient_names(),
            estimates: solved.reported,
            coefficient_digits: solved.digits,
            raw: solved.raw,
            raw_intercept: solved.intercept,
            target_mean: solved.mean.to_f64(),
            memory: solved.memory,
            residual_sum: solved.residual_sum,
            residual_root: solved.residual_root,
            r_squared: solved.r_squared,
            signal_to_noise: solved.signal_to_noise,
            total_sum: solved.total_sum,
            rows,
            df_residual: rows as f64 - whitening.effective_df,
            effective_df: whitening.effective_df,
            log_weight_sum: moments.log_weight_sum(),
            intercept: whitening.design.intercept,
            filter: whitening.filter,
            covariance: None,
            effects: None,
        };
        if whitening.filter == Filter::Ols {
            fit.covariance = Some(Covariance::classical(whitening, fit.sigma(), fit.df_residual));
        }
        Ok(fit)
    }

    /// `Σ w e² / df`, the residual variance; NaN without residual degrees of freedom.
    pub fn variance(&self) -> f64 {
        if self.df_residual > 0.0 { self.residual_sum / self.df_residual } else { f64::NAN }
    }

    /// The residual standard error.
    pub fn sigma(&self) -> f64 {
        if self.df_residual > 0.0 { self.residual_root / self.df_residual.sqrt() } else { f64::NAN }
    }

    /// `1 − RSS/TSS`; NaN for a target without variation.
    pub fn r_squared(&self) -> f64 {
        self.r_squared
    }

    /// R² adjusted for the degrees of freedom, as R does.
    pub fn adj_r_squared(&self) -> f64 {
        let total_df = self.rows as f64 - self.intercept as usize as f64;
        1.0 - (1.0 - self.r_squared()) * total_df / self.df_residual
    }

    /// `−n/2 (log 2π + 1 − log n + log Σwe²) + ½ Σ log w`, as R's `logLik`; infinite for a perfect fit.
    pub fn log_likelihood(&self) -> f64 {
        let n = self.rows as f64;
        0.5 * (self.log_weight_sum
            - n * ((2.0 * std::f64::consts::PI).ln() + 1.0 - n.ln() + 2.0 * self.residual_root.ln()))
    }

    /// Akaike's criterion, the variance counted as a parameter, as R's `AIC`.
    pub fn aic(&self) -> f64 {
        -2.0 * self.log_likelihood() + 2.0 * (self.effective_df + 1.0)
    }

    /// Schwarz's criterion, the variance counted as a parameter, as R's `BIC`.
    pub fn bic(&self) -> f64 {
        -2.0 * self.log_likelihood() + (self.rows as f64).ln() * (self.effective_df + 1.0)
    }

    /// Correct digits of the worst coefficient.
    pub fn digits(&self) -> f64 {
        self.coefficient_digits.iter().flatten().copied().fold(15.9, f64::min)
    }

    /// The coefficients with their errors, and confidence intervals at `level`.
    pub fn coefficients(&self, level: f64) -> Vec<Coefficient> {
        let finite = |x: f64| x.is_finite().then_some(x);
        let df = self.covariance.as_ref().map_or(self.df_residual, |c| c.df);
        let quantile = if df > 0.0 { distribution::t_quantile(0.5 + level / 2.0, df) } else { f64::NAN };
        (0..self.names.len())
            .map(|k| {
                let estimate = self.estimates[k].map(|b| b.to_f64());
                let std_error = match (&self.covariance, estimate) {
                    (Some(covariance), Some(_)) => finite(covariance.std_error(k)),
                    _ => None,
                };
                let pair = estimate.zip(std_error);
                let t = pair.and_then(|(b, se)| if se > 0.0 { finite(b / se) } else { None });
                Coefficient {
                    name: self.names[k].clone(),
                    estimate,
                    std_error,
                    t,
                    p: t.map(|t| distribution::t_two_sided(t, df)),
                    ci_low: pair.and_then(|(b, se)| finite(b - quantile * se)),
                    ci_high: pair.and_then(|(b, se)| finite(b + quantile * se)),
                    digits: self.coefficient_digits[k],
                }
            })
            .collect()
    }

    /// The test that all coefficients but the intercept are zero.
    ///
    /// With the classical covariance it is R's overall F; with another it is the Wald test with that covariance, as
    /// statsmodels reports. `None` without such coefficients, without residual degrees of freedom, or under a filter.
    pub fn f_test(&self) -> Option<FTest> {
        let covariance = self.covariance.as_ref()?;
        let slopes: Vec<usize> =
            (self.intercept as usize..self.names.len()).filter(|&k| self.estimates[k].is_some()).collect();
        if slopes.is_empty() || self.df_residual <= 0.0 {
            return None;
        }
        if covariance.kind == Vcov::Iid {
            let df1 = slopes.len() as f64;
            // A target without variation has nothing to explain: 0/0, not a perfect fit.
            let constant = self.r_squared.is_nan();
            let statistic = if constant { f64::NAN } else { self.signal_to_noise * self.df_residual / df1 };
            return Some(FTest {
                statistic,
                df1,
                df2: self.df_residual,
                p: distribution::f_upper(statistic, df1, self.df_residual),
            });
        }
        tests_of::zero(self, &slopes)
    }
}

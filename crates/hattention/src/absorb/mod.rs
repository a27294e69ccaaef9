//! Fixed effects that are taken out of all columns instead of standing among them.
//!
//! A regression `y = xᵀβ + α_{g(i)} + γ_{h(i)} + … + ε` with effects of many levels needs no column for each level. By
//! Frisch, Waugh and Lovell the slopes are those of the residuals `x̃ = x − D a`, `a` solving `(DᵀWD) a = DᵀWx` with `D`
//! the indicators of all levels; and sums of products of residuals follow from sums alone: those within levels, and the
//! weights of combinations of levels. So one pass over the rows is enough, states merge, and memory is that of the levels.
//!
//! ```text
//! blocks of rows ──▶ EffectMoments ──▶ Absorbed ──▶ Whitening ──▶ Fit
//!                    exact sums        residuals    slow memory   slopes, and the effects
//! ```
//!
//! # References
//! Abowd, Creecy & Kramarz (2002), Computing person and firm effects using linked longitudinal employer-employee data
//! (identified effects); Gaure (2013), OLS with multiple high dimensional category variables; Correia (2016), Linear
//! models with high-dimensional fixed effects: an efficient and feasible estimator.

mod laplacian;
mod residual;
mod rows;
mod state;
mod system;

use crate::design::{Design, Filter};
use crate::double_double::DoubleDouble;
use crate::error::Error;
use crate::fit::Fit;
use crate::moments::Moments;
use crate::whitening::{Whitening, WhiteningOptions};

pub use rows::{Nesting, Residuals};
pub use state::EffectMoments;
use system::ABSENT;

/// How several effects are solved for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AbsorbOptions {
    /// The largest error of a column's residuals, `‖x̃ − x̃*‖`, relative to the column's length about its mean. Products of
    /// residuals are off by its square.
    pub tolerance: f64,
    /// Steps of conjugate gradients at most, for one column.
    pub steps: usize,
    /// Where the draws of the preconditioner begin. It changes what the steps are, not what they lead to.
    pub seed: u64,
}

impl Default for AbsorbOptions {
    /// A tolerance of 1e-16 and 10,000 steps.
    fn default() -> Self {
        Self { tolerance: 1e-16, steps: 10_000, seed: 1 }
    }
}

/// What solving for the effects took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Solution {
    /// The tolerance that was asked for.
    pub tolerance: f64,
    /// The error that is left: the largest of all columns, relative to their lengths about the mean. Zero with one effect.
    pub reached: f64,
    /// Steps of the column that took most. Zero with one effect.
    pub steps: usize,
}

/// A state whose effects were taken out of every column.
///
/// # Numerics
/// One effect: `X̃ᵀX̃ = XᵀX − Σ_g s_g s_gᵀ / n_g` of exact sums in 512 bits; `O(p²)` a level.
///
/// Several: conjugate gradients for `(DᵀWD) a = DᵀWx`, one system a column, preconditioned by approximate factors of the
/// graphs that each two effects make, and refined in doubled arithmetic. Products of residuals are then
/// `xᵀWx′ − bᵀa′ − aᵀ(b′ − DᵀWD a′)` in 256 bits, whose error is that of `x̃` times that of `x̃′`. Steps cost
/// `O(levels + combinations of levels)`. The error that is left is measured, by solving for the last residual, and goes
/// into the digits of every coefficient.
#[derive(Clone, Debug)]
pub struct Absorbed {
    residual: Moments,
    levels: Vec<usize>,
    parts: usize,
    /// For every effect, the place of a code in the list of all levels.
    places: Vec<Vec<u32>>,
    /// Of every column, its effects. Shape: `[columns][levels in all]`.
    effects: Vec<Vec<DoubleDouble>>,
    /// Sums of squares of every column about its mean.
    totals: Vec<f64>,
    solution: Solution,
}

/// The effects of a fit, and how it does beside a fit without them.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedEffects {
    /// The effects, by their names, and the value of every code; `None` for one that had no rows. With several effects
    /// only sums of them are determined: a constant can be moved from one effect to another.
    pub effects: Vec<(String, Vec<Option<DoubleDouble>>)>,
    /// Levels of each effect. Shape: `[effects]`.
    pub levels: Vec<usize>,
    /// The target's sum of squares about its mean, effects not taken out.
    pub total_sum: f64,
    /// `1 − RSS/TSS` with that sum. ([`Fit::r_squared`] is within the effects.)
    pub r_squared: f64,
}

impl Absorbed {
    /// Takes the effects out of every column of a state.
    ///
    /// # Errors
    /// - [`Error::NoRows`].
    /// - [`Error::Parameter`]: a state without effects, or a tolerance that is not positive.
    /// - [`Error::NoConvergence`]: several effects whose solution did not reach the tolerance.
    pub fn of(state: &EffectMoments, options: &AbsorbOptions) -> Result<Self, Error> {
        if state.rows() == 0 {
            return Err(Error::NoRows);
        }
        if state.effects().next().is_none() {
            return Err(Error::Parameter { name: "the number of effects", got: "0".into(), allowed: "at least one" });
        }
        if !(options.tolerance > 0.0 && options.tolerance < 1.0) {
            let got = options.tolerance.to_string();
            return Err(Error::Parameter { name: "the tolerance", got, allowed: "a number between 0 and 1" });
        }
        residual::absorb(state, options)
    }

    /// Levels of every effect. Shape: `[effects]`.
    pub fn levels(&self) -> &[usize] {
        &self.levels
    }

    /// Coefficients that the effects count for: all levels, less one for each effect but the first.
    ///
    /// # Equals
    /// `K` of `ssc(K.fixef = "full", K.exact = FALSE)` in fixest, and of pyfixest, less the slopes; Stata's `reghdfe` counts one less for
    /// each further part ([`Absorbed::parts`]).
    pub fn coefficients(&self) -> usize {
        self.residual.taken.as_ref().map_or(0, |taken| taken.coefficients)
    }

    /// The parts that rows fall into when levels of the first two effects are joined wherever they share a row. Among two
    /// effects, levels less parts are identified. With one effect every level is a part.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// What solving took.
    pub fn solution(&self) -> Solution {
        self.solution
    }

    /// Factors a design of residuals. Its intercept, if it has one, is left out: the effects contain it.
    ///
    /// A column that depends on the effects is a dependent column like any other ([`WhiteningOptions::aliased`]): when
    /// rounding its entries could make it so, or when it is within the tolerance of the solution.
    ///
    /// # Errors
    /// As [`Whitening::of`]; [`Error::Parameter`] for orthogonal polynomials, which are formed of columns as they are.
    pub fn whitening(&self, design: &Design, options: WhiteningOptions) -> Result<Whitening, Error> {
        if !design.orthogonal.is_empty() {
            return Err(Error::Parameter {
                name: "a column of the design",
                got: "an orthogonal polynomial".into(),
                allowed: "raw powers beside effects",
            });
        }
        let design = Design { intercept: false, ..design.clone() };
        Whitening::of(&self.residual, &design, Filter::Ols, options, None)
    }

    /// The regression of a column of the state on a design that [`Absorbed::whitening`] factored.
    ///
    /// Degrees of freedom count [`Absorbed::coefficients`] beside the slopes; [`Fit::r_squared`] is that within the
    /// effects, and [`Fit::effects`] has them, and the R² overall.
    ///
    /// # Equals
    /// `feols(y ~ x | g1 + g2, fixef.rm = "none")` in fixest; pyfixest's `feols(…, fixef_rm="none")`; the slopes of `lm` with
    /// a factor for each effect. Levels of one row (singletons) are kept and counted; fixest leaves them out by default
    /// since 0.13, and so does pyfixest: slopes are the same, degrees of freedom and clusters may differ.
    ///
    /// # Errors
    /// As [`Fit::of`].
    pub fn fit(&self, whitening: &Whitening, target: usize, name: &str) -> Result<Fit, Error> {
        let mut fit = Fit::of(&self.residual, whitening, target, name)?;
        // By linearity the effects of a fit are those of its target less those of its slopes.
        let mut all = self.effects[target].clone();
        for (position, slope) in whitening.kept.iter().zip(&fit.raw) {
            let Some(column) = whitening.design.columns[*position] else { continue };
            all.iter_mut().zip(&self.effects[column]).for_each(|(a, x)| *a = *a - *slope * *x);
        }
        let names = self.residual.taken.iter().flat_map(|taken| &taken.names);
        let by_code = |places: &Vec<u32>| {
            let value = |place: &u32| (*place != ABSENT).then(|| all[*place as usize]);
            places.iter().map(value).collect()
        };
        let total_sum = self.totals[target];
        fit.effects = Some(FittedEffects {
            effects: names.zip(&self.places).map(|(name, places)| (name.clone(), by_code(places))).collect(),
            levels: self.levels.clone(),
            total_sum,
            r_squared: if total_sum > 0.0 { 1.0 - fit.residual_sum / total_sum } else { f64::NAN },
        });
        Ok(fit)
    }

    /// Variance inflation of the slopes among each other, effects taken out: [`crate::fit::variance_inflation`].
    ///
    /// # Errors
    /// As there.
    pub fn variance_inflation(&self, whitening: &Whitening) -> Result<Vec<Option<f64>>, Error> {
        crate::fit::variance_inflation(&self.residual, whitening)
    }
}

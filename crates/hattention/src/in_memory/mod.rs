//! The in-memory rung: fits of rows that stay in memory, in doubles with residuals read from the rows.
//!
//! The exact state costs several times a matrix product in doubles. Where all rows are at hand it is not needed: sums of
//! products in doubles give a factor, residuals `y − Xβ` in doubled arithmetic say how far its coefficients are off, and
//! one step of refinement mends them to the last bit of a double, with a proven bound. Where that bound, or the estimated
//! accuracy of the standard errors, falls short, the fit climbs to the exact state, and says so by its method.

mod sums;

use sums::{Factor, ResidualErrors, Sums};

use crate::block::{Block, Column};
use crate::dense::residuals::{ResidualSums, residual_sums};
use crate::dense::rows::Shifted;
use crate::design::{Design, Filter};
use crate::double_double::DoubleDouble;
use crate::error::Error;
use crate::exact::float::Float;
use crate::fit::{Covariance, Fit};
use crate::moments::Moments;
use crate::strided::{Strided, Table};
use crate::whitening::{
    Arithmetic, Correlations, Method, Whitening, WhiteningOptions, digits, inverse_column, plain_loading,
};

/// Least squares of rows in memory: the factored design, and one fit for each of the targets `(column, name)`.
///
/// `design` and `targets` number the columns of the block. The result has the digits of a fit of the exact state, and
/// its bits do not depend on threads or vectors; unlike there they depend on the order of the rows. Which rung it stood
/// on is [`Whitening::method`].
///
/// # Equals
/// `summary(lm(…))` in R; `sm.OLS(…).fit()` in statsmodels.
///
/// # Numerics
/// `n p²/2` fused operations for the sums of products, one more read of the rows for each target, and `2 p³/3`; memory
/// `O(p²)`, and beside it the products of each 2,048 rows if columns are few. It climbs to the exact state for weights,
/// columns that are not plain doubles, orthogonal polynomials, coefficients not known to the last bit of a double,
/// standard errors whose estimated accuracy is less than ten digits, columns near dependence (see [`crate::RankTolerance`]), and numbers
/// whose squares could leave the doubles.
///
/// # Errors
/// As [`Moments::push`], [`Whitening::of`] and [`Fit::of`].
///
/// # Example
/// ```
/// use hattention::{Block, Column, Design, Method, in_memory};
/// let x = [1.0, 2.0, 3.0, 4.0, 5.0];
/// let y = [2.0, 4.5, 5.5, 8.0, 10.5];
/// let block = Block { rows: 5, columns: vec![Column::Dense(&x), Column::Dense(&y)], weights: None };
/// let (whitening, fits) = in_memory::fit(&block, &Design::plain(["x"], true), &[(1, "y")], Default::default()).unwrap();
/// assert_eq!(whitening.method, Method::InMemory);
/// assert_eq!(fits[0].coefficients(0.95)[1].estimate, Some(2.05));
/// ```
///
/// # References
/// Higham, Accuracy and Stability, 20.1 and 12 (normal equations and refinement); Rump (2013) for such bounds.
pub fn fit(
    block: &Block<'_>,
    design: &Design,
    targets: &[(usize, &str)],
    options: WhiteningOptions,
) -> Result<(Whitening, Vec<Fit>), Error> {
    let plain = |column: usize| match block.columns.get(column) {
        Some(Column::Dense(values)) if values.len() == block.rows => Some(Strided::from(*values)),
        _ => None,
    };
    let rows = if block.weights.is_none() { Rows::new(block.rows, plain, design, targets, options) } else { None };
    first_rung(rows).map_or_else(|| climb(&Moments::of(block)?, design, targets, options), Ok)
}

/// Least squares of a table in memory, whatever its layout: as [`fit()`], without a copy of the rows.
///
/// `design` numbers the columns of the table, and the targets after them: the first target is column `table.columns()`.
///
/// # Shapes
/// `table`: `[rows, columns]`; each target and the weights: `[rows]`.
///
/// # Equals
/// [`fit()`] of the table's columns and the targets in one block, in bits.
///
/// # Numerics
/// As [`fit()`]. Rows whose columns do not lie side by side are brought into that order a few hundred at a time, for the
/// sums of products and once for each target. With weights it climbs to the exact state, as where doubles fall short;
/// that is made of the table in the same way ([`Moments::of_table`]).
///
/// # Errors
/// As [`Moments::of_table`], [`Whitening::of`] and [`Fit::of`].
///
/// # Example
/// ```
/// use hattention::{Design, Method, Strided, Table, in_memory};
/// // Rows (x, z, y), as numpy has them by default.
/// let rows = [1.0, 0.0, 2.0, 2.0, 1.0, 5.0, 3.0, 0.0, 6.0, 4.0, 1.0, 9.5, 5.0, 1.0, 11.0];
/// let table = Table::new(&rows, [5, 2], [3, 1]).unwrap();
/// let y = Strided::new(&rows[2..], 5, 3).unwrap();
/// let design = Design::plain(["x", "z"], true);
/// let (whitening, fits) = in_memory::fit_table(&table, &design, &[(y, "y")], None, Default::default()).unwrap();
/// assert_eq!(whitening.method, Method::InMemory);
/// assert_eq!(fits[0].coefficients(0.95)[0].name, "(Intercept)");
/// ```
pub fn fit_table(
    table: &Table<'_>,
    design: &Design,
    targets: &[(Strided<'_>, &str)],
    weights: Option<Strided<'_>>,
    options: WhiteningOptions,
) -> Result<(Whitening, Vec<Fit>), Error> {
    let count = table.columns();
    let values: Vec<Strided<'_>> = targets.iter().map(|(values, _)| *values).collect();
    let places: Vec<(usize, &str)> =
        targets.iter().enumerate().map(|(target, (_, name))| (count + target, *name)).collect();
    let plain = |column: usize| {
        let target = || values.get(column - count).filter(|values| values.len() == table.rows()).copied();
        table.column(column).or_else(target)
    };
    let rows = if weights.is_none() { Rows::new(table.rows(), plain, design, &places, options) } else { None };
    let state = || Moments::of_table(table, &values, weights);
    first_rung(rows).map_or_else(|| climb(&state()?, design, &places, options), Ok)
}

/// The fit in doubles, if there are such rows and they are enough.
fn first_rung(rows: Option<Rows<'_>>) -> Option<(Whitening, Vec<Fit>)> {
    rows.filter(|rows| rows.options.arithmetic != Arithmetic::Extended)?.fit()
}

/// The fit of the exact state.
fn climb(
    moments: &Moments,
    design: &Design,
    targets: &[(usize, &str)],
    options: WhiteningOptions,
) -> Result<(Whitening, Vec<Fit>), Error> {
    let whitening = Whitening::of(moments, design, Filter::Ols, options, None)?;
    let fits = targets.iter().map(|(column, name)| Fit::of(moments, &whitening, *column, name));
    let fits = fits.collect::<Result<_, _>>()?;
    Ok((whitening, fits))
}

/// Squares of column lengths outside this range could lose digits to the ends of the doubles.
const SAFE_SQUARES: std::ops::Range<f64> = 1e-180..1e180;
/// Rows from which column means are guessed; any guess is right, a good one leaves short numbers.
const SAMPLE: usize = 1024;
/// The relative error that standard errors may be expected to have.
const LARGEST_ERROR: f64 = 3e-11;
/// Bits by which a number must stand out of its error to be known to the last bit of a double.
const CERTAIN_BITS: i64 = 58;
/// Half an ulp of one.
const UNIT: f64 = f64::EPSILON / 2.0;

/// The rows of a fit, as columns of doubles.
struct Rows<'a> {
    rows: usize,
    design: &'a Design,
    options: WhiteningOptions,
    columns: Vec<Strided<'a>>,
    targets: Vec<(Strided<'a>, &'a str)>,
}

impl<'a> Rows<'a> {
    /// `None` where not all columns are doubles, `plain` says which, or the design is not of plain columns and enough rows.
    fn new(
        rows: usize,
        plain: impl Fn(usize) -> Option<Strided<'a>>,
        design: &'a Design,
        targets: &[(usize, &'a str)],
        options: WhiteningOptions,
    ) -> Option<Self> {
        let complete = design.columns.len() == design.names.len() && !design.names.is_empty();
        let coefficients = design.names.len() + design.intercept as usize;
        if !complete || !design.orthogonal.is_empty() || rows < coefficients {
            return None;
        }
        let columns = design.columns.iter().map(|c| plain((*c)?)).collect::<Option<_>>()?;
        let targets = targets.iter().map(|(c, name)| Some((plain(*c)?, *name))).collect::<Option<_>>()?;
        Some(Self { rows, design, options, columns, targets })
    }

    fn fit(&self) -> Option<(Whitening, Vec<Fit>)> {
        let sums = Sums::of(self)?;
        let factor = Factor::of(self, &sums)?;
        let whitening = self.whitening(&sums, &factor)?;
        let fits = (0..self.targets.len())
            .map(|target| self.fit_target(&sums, &factor, &whitening, target))
            .collect::<Option<_>>()?;
        Some((whitening, fits))
    }

    fn whitening(&self, sums: &Sums, factor: &Factor) -> Option<Whitening> {
        let key_map = factor.map.unscaled(&factor.scales);
        let rows = self.rows as f64;
        let constant = self.design.intercept.then(|| 1.0 / rows.sqrt());
        let means: Vec<f64> = sums.means.iter().map(|m| m.to_f64()).collect();
        let loading = plain_loading(&key_map, &means, constant)?;
        let count = self.columns.len();
        Some(Whitening {
            design: self.design.clone(),
            filter: Filter::Ols,
            kept: (0..count).collect(),
            dependent: Vec::new(),
            rows: self.rows as u64,
            weight_total: rows,
            rank: count + self.design.intercept as usize,
            effective_df: (count + self.design.intercept as usize) as f64,
            condition: self.condition(sums, &key_map, &means),
            bits: 106,
            method: Method::InMemory,
            means: sums.means[..count].to_vec(),
            factors: vec![Vec::new(); count],
            key_map,
            loading,
            solver: None,
            options: self.options,
            unweighted: None,
        })
    }

    fn condition(&self, sums: &Sums, key_map: &[Vec<f64>], means: &[f64]) -> f64 {
        let intercept = self.design.intercept;
        let offset = intercept as usize;
        let constant = intercept.then(|| (self.rows as f64).sqrt());
        let norms: Vec<f64> = constant.into_iter().chain(sums.lengths.iter().copied()).collect();
        let direct = |i: usize, j: usize| match (i.checked_sub(offset), j.checked_sub(offset)) {
            _ if i == j => 1.0,
            (Some(i), Some(j)) => {
                let constant = if intercept { self.rows as f64 * means[i] * means[j] } else { 0.0 };
                (sums.centred(i, j) + constant) / (sums.lengths[i] * sums.lengths[j])
            }
            (Some(i), None) => norms[0] * means[i] / sums.lengths[i],
            (None, _) => 1.0,
        };
        let inverse = |j: usize| inverse_column(key_map, &norms, means, intercept, j);
        Correlations::from_parts(norms.len(), direct, inverse).condition()
    }

    /// One target, refined until every coefficient is known to the last bit of a double; `None` if some will not be.
    fn fit_target(&self, sums: &Sums, factor: &Factor, whitening: &Whitening, target: usize) -> Option<Fit> {
        let (values, name) = self.targets[target];
        let place = sums.target_place(target);
        let cross: Vec<f64> = (0..self.columns.len()).map(|i| sums.centred(place, i)).collect();
        let (mut memory, start) = factor.solve(&cross);
        let slopes: Vec<DoubleDouble> = start.iter().map(|b| DoubleDouble::from(*b)).collect();
        let mut solution = Solution { constant: sums.intercept_of(&slopes, sums.means[place]), slopes };
        for _ in 0..ROUNDS {
            let shifted = Shifted { values, shift: sums.shifts[place] };
            let residuals = residual_sums(&self.columns, shifted, solution.constant, &solution.slopes);
            let step = Step::of(self, sums, factor, place, &solution, &residuals);
            memory.iter_mut().zip(&step.keys).for_each(|(m, k)| *m += k);
            solution = step.taken(&solution, sums);
            let digits = step.certain_digits(&solution, self.design.intercept);
            let residual_sum = step.errors.residual_sum(&residuals, step.gain, factor.deviation());
            if let Some((digits, residual_sum)) = digits.zip(residual_sum) {
                let total_sum = sums.total(&residuals)?;
                let target_mean = sums.target_mean(&residuals, place);
                let sums = FitSums { residual_sum, total_sum, target_mean };
                return Some(self.assemble(whitening, name, solution, digits, memory, sums));
            }
        }
        None
    }

    fn assemble(
        &self,
        whitening: &Whitening,
        name: &str,
        solution: Solution,
        digits: Vec<f64>,
        memory: Vec<f64>,
        sums: FitSums,
    ) -> Fit {
        let FitSums { residual_sum, total_sum, target_mean } = sums;
        let intercept = self.design.intercept;
        let constant = intercept.then_some(solution.constant);
        // Of the explained and the residual sum, the smaller is known by itself and the larger by difference from the total:
        // the other way round digits would cancel. Alone, the explained one is the squared length of the memory.
        let explained: f64 =
            if residual_sum < 0.5 * total_sum { total_sum - residual_sum } else { memory.iter().map(|m| m * m).sum() };
        let mut fit = Fit {
            target: name.to_owned(),
            names: whitening.coefficient_names(),
            estimates: constant.into_iter().chain(solution.slopes.iter().copied()).map(Some).collect(),
            coefficient_digits: digits.into_iter().map(Some).collect(),
            raw: solution.slopes,
            raw_intercept: solution.constant,
            target_mean,
            memory,
            residual_sum,
            residual_root: residual_sum.sqrt(),
            r_squared: explained / total_sum,
            signal_to_noise: explained / residual_sum,
            total_sum,
            rows: self.rows as u64,
            df_residual: self.rows as f64 - whitening.effective_df,
            effective_df: whitening.effective_df,
            log_weight_sum: 0.0,
            intercept,
            filter: Filter::Ols,
            covariance: None,
            effects: None,
        };
        fit.covariance = Some(Covariance::classical(whitening, fit.sigma(), fit.df_residual));
        fit
    }
}

/// Steps of refinement at most: one or two do, unless a coefficient is zero.
const ROUNDS: usize = 3;

/// Coefficients on the way.
struct Solution {
    /// The intercept; zero without one.
    constant: DoubleDouble,
    slopes: Vec<DoubleDouble>,
}

struct FitSums {
    residual_sum: f64,
    total_sum: f64,
    target_mean: f64,
}

/// One step of refinement and what is known after it.
struct Step {
    /// `M r`, what the keys had not remembered.
    keys: Vec<f64>,
    slopes: Vec<f64>,
    mean_residual: DoubleDouble,
    /// What the residual sum of squares loses by the step.
    gain: f64,
    /// Bounds of the errors of the slopes after the step, and of the constant.
    bounds: Vec<f64>,
    constant_bound: f64,
    errors: ResidualErrors,
}

impl Step {
    fn of(
        rows: &Rows<'_>,
        sums: &Sums,
        factor: &Factor,
        place: usize,
        solution: &Solution,
        residuals: &ResidualSums,
    ) -> Self {
        let errors = ResidualErrors::of(rows, sums, residuals, place, solution);
        // What is left of the normal equations, centred: Σ (x − x̄) e.
        let along = residuals.along.iter().zip(&sums.means);
        let gradient: Vec<f64> = along.map(|(along, mean)| (*along - *mean * residuals.sum).to_f64()).collect();
        let (keys, slopes) = factor.solve(&gradient);
        let bounds = factor.bounds(&gradient, &errors);
        let count = DoubleDouble::from(sums.rows);
        let of_slope = |i: usize| sums.means[i].hi.abs() * bounds[i] + sums.mean_error(i) * slopes[i].abs();
        let constant_bound = (0..slopes.len()).map(of_slope).sum::<f64>() + errors.sum / sums.rows;
        let of_slopes: f64 = gradient.iter().zip(&slopes).map(|(g, d)| g * d).sum();
        let of_mean = if sums.intercept { residuals.sum.hi * residuals.sum.hi / sums.rows } else { 0.0 };
        let (gain, mean_residual) = (of_slopes + of_mean, residuals.sum / count);
        Self { keys, slopes, mean_residual, gain, bounds, constant_bound, errors }
    }

    fn taken(&self, solution: &Solution, sums: &Sums) -> Solution {
        let steps: Vec<DoubleDouble> = self.slopes.iter().map(|d| DoubleDouble::from(*d)).collect();
        Solution {
            slopes: solution.slopes.iter().zip(&steps).map(|(b, d)| *b + *d).collect(),
            constant: solution.constant + sums.intercept_of(&steps, self.mean_residual),
        }
    }

    /// Digits of all coefficients after the step; `None` if one is not known to its last bit.
    fn certain_digits(&self, solution: &Solution, intercept: bool) -> Option<Vec<f64>> {
        let constant = intercept.then_some((solution.constant, self.constant_bound));
        let slopes = solution.slopes.iter().copied().zip(self.bounds.iter().copied());
        let certain = |(b, error): (DoubleDouble, f64)| certain_digits(b, error + b.hi.abs() * 2f64.powi(-100));
        constant.into_iter().chain(slopes).map(certain).collect()
    }
}

/// Digits of a number known to its last bit; `None` for one that is not.
fn certain_digits(value: DoubleDouble, error: f64) -> Option<f64> {
    let wide = Float::<4>::from_f64(value.hi) + Float::from_f64(value.lo);
    let error = Float::from_f64(error);
    (wide.exponent() - error.exponent() > CERTAIN_BITS).then(|| digits(wide, error))
}

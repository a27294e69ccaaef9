//! Attention reads: queries, keys, predictions, leverages, and the weights of training rows.

pub mod attend;
mod diagnostics;
pub mod explain;
mod kept;
mod of_table;

use crate::block::{Block, Column};
use crate::double_double::DoubleDouble;
use crate::error::Error;
use crate::exact::centred::Centred;
use crate::fit::Fit;
use crate::moments::Moments;
use crate::whitening::Whitening;

pub use diagnostics::{Diagnostics, turnover};
pub(crate) use kept::{Kept, Numbers};
pub use of_table::{leverages_table, predict_table};

/// Rows read at a time: their keys stay in the second-level cache.
const CHUNK: usize = 1024;

/// Rows of a design as keys (or queries), by component.
///
/// The first component is the constant's `1/√Σw` (absent without intercept: then 0).
#[derive(Clone, Debug, PartialEq)]
pub struct Keys {
    /// Number of rows.
    pub rows: usize,
    /// Components. Shape: `[1 + keys][rows]`.
    pub components: Vec<Vec<f64>>,
}

impl Keys {
    /// The keys of a block's rows; `ids[c]` is the state's column of the block's column `c`, and absent ones are zero.
    ///
    /// # Equals
    /// `‖kᵢ‖²` of the result is the diagonal of the hat matrix over the weight: `hatvalues` in R.
    ///
    /// # Errors
    /// [`Error::Shape`] if a column is not as long as the block.
    pub fn of(whitening: &Whitening, block: &Block<'_>, ids: &[usize]) -> Result<Self, Error> {
        check_lengths(block, ids)?;
        Ok(Self::of_kept(whitening, &Kept::all(whitening, block, ids), block.rows))
    }

    fn of_kept(whitening: &Whitening, columns: &[Kept<'_>], all_rows: usize) -> Self {
        let constant = if whitening.design.intercept { 1.0 / whitening.weight_total.sqrt() } else { 0.0 };
        let mut components = vec![vec![0.0; all_rows]; 1 + whitening.keys()];
        components[0].fill(constant);
        let mut centred = vec![vec![0.0; CHUNK]; columns.len()];
        for start in (0..all_rows).step_by(CHUNK) {
            let rows = CHUNK.min(all_rows - start);
            for ((column, mean), buffer) in columns.iter().zip(&whitening.means).zip(&mut centred) {
                column.centre(start..start + rows, *mean, &mut buffer[..rows]);
            }
            for (map, component) in whitening.key_map.iter().zip(&mut components[1..]) {
                let target = &mut component[start..start + rows];
                for (factor, column) in map.iter().zip(&centred) {
                    add_multiple(column, *factor, target);
                }
            }
        }
        Self { rows: all_rows, components }
    }

    /// `‖kᵢ‖²`, the attention of each row to itself. Shape: `[rows]`.
    pub fn squared_norms(&self) -> Vec<f64> {
        let mut norms = vec![0.0f64; self.rows];
        for component in &self.components {
            add_squares(component, &mut norms);
        }
        norms
    }

    /// Leverages `hᵢ = wᵢ ‖kᵢ‖²`. Equals R's `hatvalues`. Shape: `[rows]`.
    pub fn leverages(&self, weights: Option<&[f64]>) -> Vec<f64> {
        let mut leverages = self.squared_norms();
        if let Some(weights) = weights {
            leverages.iter_mut().zip(weights).for_each(|(h, w)| *h *= w);
        }
        leverages
    }

    /// Component `c` of every row, then of the next: one row's key, `[1 + keys]`.
    pub fn row(&self, row: usize) -> Vec<f64> {
        self.components.iter().map(|component| component[row]).collect()
    }
}

/// Predictions `β₀ + xᵀβ` of a block's rows in doubled arithmetic, rounded once. Shape: `[rows]`.
///
/// Effects that were taken out are not among the columns: add those of the rows' levels
/// ([`FittedEffects::at`](crate::absorb::FittedEffects::at)).
///
/// # Numerics
/// Products and sums carry 106 bits, and coefficients are pairs: high powers cancel without loss.
///
/// # Errors
/// [`Error::Shape`] if a column is not as long as the block.
pub fn predict(whitening: &Whitening, fit: &Fit, block: &Block<'_>, ids: &[usize]) -> Result<Vec<f64>, Error> {
    Ok(doubled(whitening, fit, block, ids)?.iter().map(|(hi, lo)| hi + lo).collect())
}

/// Residuals `y − β₀ − xᵀβ` of a block's rows; the subtraction too is in doubled arithmetic. Shape: `[rows]`.
///
/// # Errors
/// [`Error::Shape`] if a column is not as long as the block.
pub fn residuals(
    whitening: &Whitening,
    fit: &Fit,
    block: &Block<'_>,
    ids: &[usize],
    target: Column<'_>,
) -> Result<Vec<f64>, Error> {
    let predictions = doubled(whitening, fit, block, ids)?;
    let y = Numbers::of(target);
    Ok(predictions
        .iter()
        .enumerate()
        .map(|(row, (hi, lo))| (y.at(row) - DoubleDouble { hi: *hi, lo: *lo }).to_f64())
        .collect())
}

/// The kept columns of a design in a block of rows, those that are orthogonal polynomials formed, as pairs of doubles.
/// Shape: `[kept][rows]`.
///
/// # Equals
/// `model.matrix` in R, without the intercept.
///
/// # Errors
/// [`Error::Shape`] if a column is not as long as the block.
pub fn columns(whitening: &Whitening, block: &Block<'_>, ids: &[usize]) -> Result<Vec<Vec<DoubleDouble>>, Error> {
    check_lengths(block, ids)?;
    let pairs = |kept: &Kept<'_>| kept.pairs(block.rows).into_iter().map(|(hi, lo)| DoubleDouble { hi, lo }).collect();
    Ok(Kept::all(whitening, block, ids).iter().map(pairs).collect())
}

/// The kept columns of a block, formed and rounded to doubles. Shape: `[kept][rows]`.
pub(crate) fn kept_rows(whitening: &Whitening, block: &Block<'_>, ids: &[usize]) -> Result<Vec<Vec<f64>>, Error> {
    check_lengths(block, ids)?;
    let column = |kept: &Kept<'_>| {
        let mut values = vec![0.0; block.rows];
        kept.centre(0..block.rows, DoubleDouble::ZERO, &mut values);
        values
    };
    Ok(Kept::all(whitening, block, ids).iter().map(column).collect())
}

fn doubled(whitening: &Whitening, fit: &Fit, block: &Block<'_>, ids: &[usize]) -> Result<Vec<(f64, f64)>, Error> {
    check_lengths(block, ids)?;
    let mut sums = vec![(0.0, 0.0); block.rows];
    add_up(fit, &Kept::all(whitening, block, ids), &mut sums);
    Ok(sums)
}

/// `β₀ + xᵀβ` of as many rows as there are sums.
fn add_up(fit: &Fit, columns: &[Kept<'_>], sums: &mut [(f64, f64)]) {
    sums.fill((fit.raw_intercept.hi, fit.raw_intercept.lo));
    for (column, slope) in columns.iter().zip(&fit.raw) {
        column.add_to(sums, *slope);
    }
}

/// `sum += factor · x`, row by row.
pub(crate) fn add_multiple(x: &[f64], factor: f64, sum: &mut [f64]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (s, x) in sum.iter_mut().zip(x) {
                *s = x.mul_add(factor, *s);
            }
        },
    )
}

fn add_squares(x: &[f64], sum: &mut [f64]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (s, x) in sum.iter_mut().zip(x) {
                *s = x.mul_add(*x, *s);
            }
        },
    )
}

pub(crate) fn check_lengths(block: &Block<'_>, ids: &[usize]) -> Result<(), Error> {
    if ids.len() != block.columns.len() {
        return Err(Error::Shape { what: "the list of columns", expected: block.columns.len(), got: ids.len() });
    }
    for column in &block.columns {
        let got = match column {
            Column::Dense(values) => values.len(),
            Column::Pair { hi, lo } => hi.len().min(lo.len()),
            Column::Indicator { codes, .. } => codes.len(),
            Column::Within { codes, hi, lo, .. } => codes.len().min(hi.len()).min(lo.map_or(usize::MAX, <[f64]>::len)),
        };
        if got != block.rows {
            return Err(Error::Shape { what: "a column", expected: block.rows, got });
        }
    }
    Ok(())
}

/// Leave-one-out residuals `eᵢ / (1 − hᵢ)`: exactly those of the fits without each row; NaN where a row alone fixes a
/// coefficient (`hᵢ = 1`). Equals `rstandard(fit, type = "predictive")` in R, which with weights has the factor `√wᵢ`.
pub fn leave_one_out(residuals: &[f64], leverages: &[f64]) -> Vec<f64> {
    residuals.iter().zip(leverages).map(|(e, h)| if alone(*h) { f64::NAN } else { e / (1.0 - h) }).collect()
}

/// The prediction error sum of squares `PRESS = Σ wᵢ (eᵢ / (1 − hᵢ))²`: what the fits without each row miss it by.
///
/// NaN if a row alone fixes a coefficient (`hᵢ = 1`): without it there is no prediction. The result does not depend on
/// the order of the rows, in bits. `1 − PRESS/TSS` is the predictive R².
///
/// Exact for least squares, and for ridge with a penalty that is fixed in the units of `XᵀX`; where leaving a row out
/// also changes the penalty (`standardize`) or the components, it holds these as they are.
///
/// # Shapes
/// `residuals` (unweighted), `leverages` and `weights`: `[rows]`.
///
/// # Equals
/// `sum(rstandard(fit, type = "predictive")^2)` in R, weighted or not; without weights `MPV::PRESS(fit)` and
/// `qpcR::PRESS(fit)$stat` in R, and `OLSInfluence(results).ess_press` in statsmodels.
///
/// # Numerics
/// Squares are summed exactly and rounded once; infinite where the sum is beyond the doubles. What is left over of
/// `1 − hᵢ` limits the digits: leverages are right to about `(p + 1)(p + 4) ε κ`.
///
/// # Errors
/// - [`Error::Shape`]: lengths differ.
/// - [`Error::NonFinite`], [`Error::Weight`]: a residual or leverage that is not finite (both as column 0), or a weight
///   that is negative or not finite.
///
/// # Example
/// ```
/// // The mean of 0, 2 and 7 is 3, each leverage 1/3; without each row the means are 4.5, 3.5 and 1.
/// let press = hattention::attention::press(&[-3.0, -1.0, 4.0], &[1.0 / 3.0; 3], None).unwrap();
/// assert!((press - (4.5 * 4.5 + 1.5 * 1.5 + 6.0 * 6.0)).abs() < 1e-13);
/// assert!(hattention::attention::press(&[0.0, 1.0], &[1.0, 0.5], None).unwrap().is_nan());
/// ```
///
/// # References
/// Allen (1974).
pub fn press(residuals: &[f64], leverages: &[f64], weights: Option<&[f64]>) -> Result<f64, Error> {
    if residuals.len() != leverages.len() {
        return Err(Error::Shape { what: "the leverages", expected: residuals.len(), got: leverages.len() });
    }
    let undefined = leverages.iter().any(|h| alone(*h));
    let left_out = |(e, h): (&f64, &f64)| if alone(*h) { 0.0 } else { e / (1.0 - h) };
    let left_out: Vec<f64> = residuals.iter().zip(leverages).map(left_out).collect();
    let state = Moments::of(&Block { rows: left_out.len(), columns: vec![Column::Dense(&left_out)], weights })?;
    let sum = Centred::<4>::new(&state.sums, false).raw(1, 1).to_f64();
    Ok(if undefined { f64::NAN } else { sum })
}

/// Whether a leverage is one up to rounding.
pub(crate) fn alone(leverage: f64) -> bool {
    1.0 - leverage < 1e-10
}

/// Cook's distances `w e² h / (k σ² (1 − h)²)`. Equals `cooks.distance` in R.
pub fn cooks_distance(fit: &Fit, residuals: &[f64], leverages: &[f64], weights: Option<&[f64]>) -> Vec<f64> {
    let scale = fit.effective_df * fit.variance();
    residuals
        .iter()
        .zip(leverages)
        .enumerate()
        .map(|(row, (e, h))| {
            let weight = weights.map_or(1.0, |w| w[row]);
            if alone(*h) { f64::NAN } else { weight * e * e * h / (scale * (1.0 - h) * (1.0 - h)) }
        })
        .collect()
}

//! Regressions that move along ordered rows: rolling, expanding and decayed least squares, as masks of one attention.
//!
//! A prediction is `ŷ(x) = Σᵢ ω(x, xᵢ) yᵢ`. At row `t` a mask says which rows are seen, and by how much:
//!
//! | mask | rows seen at t | score |
//! |---|---|---|
//! | [`Mask::Window`] | `t − W < i ≤ t` | `⟨q, kᵢ⟩` |
//! | [`Mask::Expanding`] | `i ≤ t` | `⟨q, kᵢ⟩` |
//! | [`Mask::Decay`] | `i ≤ t` | `γ^(t−i) ⟨q, kᵢ⟩` |
//!
//! Keys and queries are those of the rows seen: every row has a slow memory of its own.
//!
//! Sums never shrink: rows are not taken out of a state. A series is cut into chunks, and a window is the end of one
//! chunk, whole chunks, and the start of another; each is a sum of positive terms about a shift near it. So errors do not
//! grow along the series, and columns far from zero lose nothing.
//!
//! # Laws
//! - The last row of an expanding roll is the fit of all rows; a window's row is the fit of the window's rows; a decayed
//!   row has the coefficients of the fit with weights `γ^(t−i)`.
//! - Same rows in the same order, same bits: threads and vectors do not show.

mod cusum;
mod exact;
mod plan;
mod run;
mod series;

use crate::block::Block;
use crate::design::Design;
use crate::error::{Dependence, Error};
use crate::lanes::{Promise, Shape};

/// The relative error that coefficients and standard errors are promised to have at most.
const TOLERANCE: f64 = 1e-10;

/// Which rows are seen from a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mask {
    /// The latest `W` rows, itself among them.
    Window(usize),
    /// All rows up to itself.
    Expanding,
    /// All rows up to itself, one `k` rows back with weight `γ^k`, `0 < γ ≤ 1`.
    Decay(f64),
}

/// Options of [`roll`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RollOptions {
    /// The mask.
    pub mask: Mask,
    /// Rows (of positive weight) that a window needs for numbers; never fewer than coefficients. By default a whole
    /// window, or as many as coefficients under the other masks.
    pub minimum_rows: Option<usize>,
    /// Only coefficients are wanted: no errors, predictions and residuals.
    pub coefficients_only: bool,
}

impl RollOptions {
    /// Everything, under a mask.
    pub fn new(mask: Mask) -> Self {
        Self { mask, minimum_rows: None, coefficients_only: false }
    }
}

/// The arithmetic that a window's numbers stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// Doubles.
    Doubles,
    /// Pairs of doubles.
    Doubled,
    /// The exact state of the window's rows ([`crate::Moments`]).
    Exact,
}

/// What is known at a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Numbers.
    Fitted(Rung),
    /// Fewer rows are seen than are needed.
    TooFewRows,
    /// Columns depend on others within the rows seen: which, is the entry of [`Rolled::dependent`] with this number.
    Dependent(usize),
}

/// A rolled regression.
#[derive(Clone, Debug, PartialEq)]
pub struct Rolled {
    /// Names of the coefficients, the intercept first.
    pub names: Vec<String>,
    /// What is known at each row. Shape: `[rows]`.
    pub status: Vec<Status>,
    /// Rows of positive weight that are seen from each row. Shape: `[rows]`.
    pub rows_seen: Vec<usize>,
    /// Sets of dependent columns, the distances left out. Where a column is constant, constant columns alone are named.
    pub dependent: Vec<Vec<Dependence>>,
    /// One for each target.
    pub targets: Vec<RolledTarget>,
}

/// What a roll says of one target. NaN stands where a row has no such number.
#[derive(Clone, Debug, PartialEq)]
pub struct RolledTarget {
    /// The target's name.
    pub name: String,
    /// Coefficients of the rows seen. Shape: `[coefficients][rows]`.
    pub coefficients: Vec<Vec<f64>>,
    /// Their standard errors. Shape: `[coefficients][rows]`; like all that follows empty if only coefficients are wanted.
    pub std_errors: Vec<Vec<f64>>,
    /// `σ = √(Σ w e²/df)`. Shape: `[rows]`.
    pub sigma: Vec<f64>,
    /// `ŷ_t = x_tᵀ β_{t−1}`: the prediction from the window of the row before. Shape: `[rows]`.
    pub predicted: Vec<f64>,
    /// Its standard error `σ_{t−1} √(1 + h_t)`, `h_t = x_tᵀ Ω_{t−1} x_t`. Shape: `[rows]`.
    pub predicted_se: Vec<f64>,
    /// `y_t − x_tᵀ β_t`. Shape: `[rows]`.
    pub residual: Vec<f64>,
    /// The recursive residual `√v (y_t − ŷ_t)/√(1 + v h_t)`, `v` the row's weight. Shape: `[rows]`.
    pub recursive_residual: Vec<f64>,
    /// Under [`Mask::Expanding`], the sum of recursive residuals over `σ̂`, the root of their mean square. Under other
    /// masks recursive residuals are not independent, the line below is not one of 5 %, and both are NaN. Shape: `[rows]`.
    pub cusum: Vec<f64>,
    /// The line that `|cusum|` crosses anywhere with probability 0.05 while coefficients do not change. Shape: `[rows]`.
    pub cusum_bound: Vec<f64>,
}

/// Rolls a regression along the rows of a block, in their order.
///
/// `design` and `targets` number the columns of the block. Weights are R's analytic weights.
///
/// Under decay rows count by their age: `df = Σ γ^(t−i) − coefficients` over rows of positive weight, which is `n −
/// coefficients` for `γ = 1`. Errors are those of `lm(weights = γ^(t−i))` times `√((n − coefficients)/df)`; where a memory
/// of `1/(1 − γ)` rows is shorter than the coefficients there are none.
///
/// # Equals
/// `roll::roll_lm` in R and `RollingOLS` in statsmodels (`Mask::Window`); `RecursiveLS` in statsmodels
/// (`Mask::Expanding`, with `strucchange::recresid` in R for the recursive residuals); at each row `lm` of the rows seen.
///
/// # Numerics
/// `O(n p²)` for sums and `O(n p³)` for factors, on all threads, eight chunks of rows in a vector. Memory: the result, and
/// `(n/128 + 1024 threads) · p²/2` numbers and their low parts. Coefficients are known to 1e-10 of themselves or of their standard error,
/// whichever is larger, standard errors to 1e-10, by an estimate of the roundings from the window's own condition: where
/// it says more, the window is done again in doubled arithmetic, and where that is not enough or a column is near
/// dependence (see [`crate::RankTolerance`]), by its exact state, which costs `O(rows seen)` (under decay with weights
/// rounded to doubles). [`Status`] says which.
///
/// # Errors
/// - [`Error::Shape`], [`Error::NonFinite`], [`Error::Weight`] for the block.
/// - [`Error::NoRows`] for a block without rows.
/// - [`Error::TooFewRows`] for a window shorter than the coefficients.
/// - [`Error::Parameter`] for `γ` outside (0, 1], more rows needed than a window has, or orthogonal polynomials.
/// - [`Error::RankDeficient`] if the columns are dependent over all rows.
///
/// # Example
/// ```
/// use hattention::roll::{Mask, RollOptions, Rung, Status, roll};
/// use hattention::{Block, Column, Design};
/// let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
/// let y = [1.0, 3.0, 5.0, 7.0, 8.0, 9.5];
/// let block = Block { rows: 6, columns: vec![Column::Dense(&x), Column::Dense(&y)], weights: None };
/// let options = RollOptions::new(Mask::Window(3));
/// let rolled = roll(&block, &Design::plain(["x"], true), &[(1, "y")], options).unwrap();
/// assert_eq!(rolled.status[1], Status::TooFewRows);
/// let y = &rolled.targets[0];
/// assert!((y.coefficients[1][5] - 1.25).abs() < 1e-12); // of rows 4, 5, 6
/// assert!((y.predicted[3] - 7.0).abs() < 1e-12); // from rows 1, 2, 3
/// ```
///
/// # References
/// Brown, Durbin & Evans (1975), equations 2 and 9 and section 2.3; Chan, Golub & LeVeque (1983); West & Harrison (1997),
/// 10.8, for discounted degrees of freedom.
pub fn roll(
    block: &Block<'_>,
    design: &Design,
    targets: &[(usize, &str)],
    options: RollOptions,
) -> Result<Rolled, Error> {
    let series = series::Series::of(block, design, targets)?;
    if series.rows == 0 {
        return Err(Error::NoRows);
    }
    let shape = Shape {
        columns: design.names.len(),
        targets: targets.len(),
        intercept: design.intercept,
        decay: if let Mask::Decay(decay) = options.mask { decay } else { 1.0 },
        units: series.fields[..design.names.len()].iter().map(|field| field.unit).collect(),
        full: !options.coefficients_only,
        promise: Promise::OfErrors(TOLERANCE),
    };
    let needed = needed(options, shape.coefficients())?;
    let plan = plan::Plan::of(series.rows, options.mask);
    let job = run::Job { series: &series, shape: &shape, plan: &plan, needed };
    let mut found = job.run();
    let names = design.names.clone();
    let exact = exact::Exact {
        job: &job,
        mask: options.mask,
        design: Design::plain(names.clone(), design.intercept),
        targets: targets.iter().map(|(_, name)| (*name).to_owned()).collect(),
    };
    let mut judged = Vec::new();
    exact.settle(&mut found, &mut judged)?;
    let on = if design.intercept { vec![crate::INTERCEPT.to_owned()] } else { vec![] };
    let constant = |column: &usize| {
        let zero = series.fields[*column].hi.iter().all(|x| *x == 0.0);
        let on = if zero { vec![] } else { on.clone() };
        Dependence { column: names[*column].clone(), on, distance_relative: 0.0 }
    };
    let sets = found.constant.iter().map(|set| set.iter().map(constant).collect());
    let dependent = sets.chain(judged).collect();
    let mut values = found.values.into_iter();
    let rolled = targets.iter().map(|(_, name)| RolledTarget::of(name, &shape, &mut values, options.mask));
    Ok(Rolled {
        targets: rolled.collect(),
        names: design.intercept.then(|| crate::INTERCEPT.to_owned()).into_iter().chain(names.iter().cloned()).collect(),
        status: found.status,
        rows_seen: (0..series.rows).map(|row| series.count(plan.first(row)..row + 1)).collect(),
        dependent,
    })
}

impl RolledTarget {
    fn of(name: &str, shape: &Shape, values: &mut impl Iterator<Item = Vec<f64>>, mask: Mask) -> Self {
        let count = shape.coefficients();
        let mut next = || values.next().unwrap_or_default();
        let coefficients = (0..count).map(|_| next()).collect();
        let (mut std_errors, mut rest) = (Vec::new(), [const { Vec::new() }; 5]);
        if shape.full {
            std_errors = (0..count).map(|_| next()).collect();
            rest = std::array::from_fn(|_| next());
        }
        let [sigma, predicted, predicted_se, residual, recursive_residual] = rest;
        let (cusum, cusum_bound) = match mask {
            Mask::Expanding => cusum::cusum(&recursive_residual),
            _ => (vec![f64::NAN; recursive_residual.len()], vec![f64::NAN; recursive_residual.len()]),
        };
        let name = name.to_owned();
        Self {
            name,
            coefficients,
            std_errors,
            sigma,
            predicted,
            predicted_se,
            residual,
            recursive_residual,
            cusum,
            cusum_bound,
        }
    }
}

/// Rows that a window needs.
fn needed(options: RollOptions, coefficients: usize) -> Result<usize, Error> {
    let mut least = options.minimum_rows;
    match options.mask {
        Mask::Window(window) => {
            if window < coefficients.max(1) {
                return Err(Error::TooFewRows { rows: window as u64, coefficients: coefficients.max(1) });
            }
            if let Some(rows) = least.filter(|rows| *rows > window) {
                let (name, got) = ("the least number of rows", rows.to_string());
                return Err(Error::Parameter { name, got, allowed: "at most the rows of a window" });
            }
            least = least.or(Some(window));
        }
        Mask::Decay(decay) if !(decay > 0.0 && decay <= 1.0) => {
            let allowed = "a number above zero, at most one";
            return Err(Error::Parameter { name: "the decay", got: decay.to_string(), allowed });
        }
        Mask::Expanding | Mask::Decay(_) => {}
    }
    Ok(least.unwrap_or(0).max(coefficients).max(1))
}

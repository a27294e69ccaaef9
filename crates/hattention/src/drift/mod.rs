//! Drift: whether a batch of rows comes from the world that the slow memory knows, and what moved.
//!
//! A least-squares slow memory makes its own training rows white: the state `S` of their fast memory is the identity
//! (see [`State`](crate::State)). The state of a new batch says how the batch differs, in the training rows' units.
//!
//! # The test
//! With `n` training rows and `n*` rows in the batch, `N = n + n*`, `p` columns, `d = p + 1` with the constant:
//!
//! - [`Drift::likelihood_ratio`], **the test**: `LR = N log det((nI + n*S)/N) − n* log det S`, the likelihood ratio of one
//!   normal law against two, means and covariances. Its law under "no drift" is known at *any* `n` and `n*`
//!   ([`NullLaw`]), and its p-value uses the exact mean and variance.
//! - [`Drift::divergence`], for comparison: `(n n*/N)(tr S − log det S − d)`, Stein's loss of `S`, against its limit
//!   `χ²` with `p(p + 3)/2` degrees. It is the same to second order, and rejects too often in small batches.
//! - [`Permutations`], with the training rows at hand: sound whatever the law of the rows.
//!
//! Measured shares of rejections at level 0.05 over 20,000 undrifted normal draws (standard error 0.0015), by
//! `cargo run --release -p hattention --example drift_size`:
//!
//! | p | n* | n | likelihood ratio | tr S − log det S − d |
//! |--:|--:|--:|--:|--:|
//! | 1 | 50 | 200 | 0.049 | 0.053 |
//! | 1 | 50 | 50,000 | 0.052 | 0.055 |
//! | 1 | 5,000 | 50,000 | 0.050 | 0.050 |
//! | 5 | 50 | 200 | 0.048 | 0.070 |
//! | 5 | 50 | 50,000 | 0.048 | 0.067 |
//! | 5 | 200 | 5,000 | 0.050 | 0.053 |
//! | 5 | 5,000 | 200 | 0.049 | 0.090 |
//! | 5 | 5,000 | 50,000 | 0.049 | 0.049 |
//! | 10 | 50 | 5,000 | 0.050 | 0.127 |
//! | 10 | 200 | 200 | 0.051 | 0.117 |
//! | 10 | 200 | 50,000 | 0.049 | 0.063 |
//! | 10 | 5,000 | 200 | 0.051 | 0.173 |
//! | 10 | 5,000 | 50,000 | 0.049 | 0.049 |
//! | 20 | 50 | 200 | 0.050 | 0.592 |
//! | 20 | 50 | 50,000 | 0.051 | 0.581 |
//! | 20 | 200 | 5,000 | 0.049 | 0.107 |
//! | 20 | 5,000 | 5,000 | 0.049 | 0.055 |
//! | 20 | 5,000 | 50,000 | 0.049 | 0.050 |
//!
//! Over all 36 cells with p of 1, 5, 10, 20, n* of 50, 200, 5,000 and n of 200, 5,000, 50,000 the likelihood ratio rejects
//! between 0.048 and 0.052, the other between 0.049 and 0.60. One of five columns 6 % wider, 5,000 rows against 50,000, is
//! found by either in 0.95 of 2,000 draws.
//!
//! Permutations (199, 2,000 draws of 200 rows against 500, five columns) reject 0.046 for t with 3 degrees, 0.051 with 5,
//! 0.059 for normal rows, where the likelihood ratio of normal laws rejects 0.86, 0.37 and 0.053. They find one column that
//! is half as wide again in 0.49, 0.88 and 1.00 of the draws.
//!
//! Both p-values are of normal laws. Heavy tails break them (measured in the same example), and so do factors:
//! [`Drift::tails`] says when they must not be trusted, and then the permutation test is the one to ask. Resampling the
//! batch alone would not be sound.
//!
//! # What moved
//! [`Drift::columns`] column by column; [`Drift::directions`] the principal axes of the batch in whitened units;
//! [`Drift::mean_length`] the length of the mean's shift there; [`PredictionShift`] what it does to predictions.
//!
//! # References
//! Anderson, An Introduction to Multivariate Statistical Analysis, sections 10.3 to 10.5; Mardia (1970); Layard (1973);
//! Holm (1979).

mod axes;
mod columns;
mod likelihood;
mod permutation;
mod prediction;
mod random;
mod sample;
pub mod simulate;
mod tails;

use crate::design::Filter;
use crate::error::Error;
use crate::fit::Fit;
use crate::memory::State;
use crate::whitening::Whitening;

use axes::Frame;
pub use columns::ColumnShift;
use likelihood::Axes;
pub use likelihood::{NullLaw, Test};
pub use permutation::{PermutationTest, Permutations, Ranked, permutation_test};
pub use prediction::PredictionShift;
pub use random::Generator;
pub use sample::{Sample, column_basis};
pub use tails::Tails;

/// The two tests of a state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tests {
    /// The likelihood ratio, with the mean and variance that it has at these sample sizes.
    pub likelihood_ratio: Test,
    /// `(n n*/N)(tr S − log det S − d)` against its limit.
    pub divergence: Test,
}

/// Tests a batch's state against training rows that it was whitened by.
///
/// # Errors
/// - [`Error::TooFewRows`]: a sample of at most `p + 1` rows.
/// - [`Error::Parameter`]: a state without variation in some direction.
///
/// # Example
/// ```
/// use hattention::drift::{self, Generator, simulate};
/// let mut generator = Generator::new(3);
/// let same = simulate::state(&mut generator, 5, 50_000.0, 5000.0, &[]).unwrap();
/// let wider = simulate::state(&mut generator, 5, 50_000.0, 5000.0, &[1.06]).unwrap(); // one column, 6 % wider
/// assert!(drift::test(&same, 50_000.0).unwrap().likelihood_ratio.p > 0.05);
/// assert!(drift::test(&wider, 50_000.0).unwrap().likelihood_ratio.p < 0.05);
/// ```
pub fn test(state: &State, training_rows: f64) -> Result<Tests, Error> {
    enough(training_rows.min(state.rows), state.size - 1)?;
    let frame = Frame::new(state, None)?;
    if frame.flat() > 0 {
        return Err(Error::Parameter {
            name: "the state",
            got: "one without variation in some direction".into(),
            allowed: "a positive definite one",
        });
    }
    Ok(frame.tests(training_rows, state.rows, 0))
}

impl Frame {
    fn tests(&self, training_rows: f64, rows: f64, flat: usize) -> Tests {
        let axes = Axes { variances: &self.variances[flat..], means: &self.means[flat..] };
        Tests {
            likelihood_ratio: axes.likelihood_ratio(training_rows, rows),
            divergence: axes.divergence(training_rows, rows),
        }
    }
}

fn enough(rows: f64, columns: usize) -> Result<(), Error> {
    match rows >= (columns + 2) as f64 {
        true => Ok(()),
        false => Err(Error::TooFewRows { rows: rows as u64, coefficients: columns + 2 }),
    }
}

/// A principal axis of the batch in whitened units.
#[derive(Clone, Debug, PartialEq)]
pub struct Direction {
    /// The batch's variance along it; the training rows have 1.
    pub eigenvalue: f64,
    /// The combination of the columns, each in the training rows' standard deviations, that makes it: the largest
    /// first, squares adding up to 1; those below a tenth of the largest are left out.
    pub columns: Vec<(String, f64)>,
}

/// Directions in which the batch has no variation though the training rows have.
#[derive(Clone, Debug, PartialEq)]
pub struct Flat {
    /// The directions; their eigenvalues are 0.
    pub directions: Vec<Direction>,
    /// Whether all of them are combinations of zeros and ones: levels that the batch lacks.
    pub levels: bool,
    /// A bound of the chance that rows of the training rows' law all agree in these directions: for levels
    /// `(1 + ‖δ‖²)^(−n*)` by Cantelli's inequality, an equality for a single level; zero for anything else.
    pub p: f64,
}

/// What a batch is beside its training rows.
#[derive(Clone, Debug)]
pub struct Drift {
    /// Rows of the batch.
    pub rows: u64,
    /// Training rows.
    pub training_rows: u64,
    /// `p`: directions that are compared, the constant not counted.
    pub size: usize,
    /// Directions without variance in the sample of the training rows, where its columns depend on each other (as a ridge
    /// fit lets them, and more columns than rows do): a normal law has none there, so they are not compared. The
    /// permutation test sees them.
    pub dependent: Vec<Direction>,
    /// The likelihood ratio; over the directions that vary in the batch if there are [`Drift::flat`] ones. `None` where
    /// the batch has too few rows for it.
    pub likelihood_ratio: Option<Test>,
    /// `(n n*/N)(tr S − log det S − d)`, likewise.
    pub divergence: Option<Test>,
    /// The p-value without permutations: that of the likelihood ratio, with directions without variation counted in
    /// (Bonferroni); `None` where the batch has too few rows.
    pub p: Option<f64>,
    /// What the batch holds constant and the training rows do not.
    pub flat: Option<Flat>,
    /// How far the keys are from a normal law.
    pub tails: Tails,
    /// `√(δᵀΣ⁻¹δ)`: the length of the mean's shift, in standard deviations of the training rows.
    pub mean_length: f64,
    /// Principal axes of the batch, by eigenvalue, ascending.
    pub directions: Vec<Direction>,
    /// Column by column, in the design's order.
    pub columns: Vec<ColumnShift>,
}

impl Drift {
    /// Compares a batch with the training rows: their own sample, or what the slow memory knows of them.
    ///
    /// `level` is that of the marks of [`ColumnShift::moved`]. Training rows whose columns depend on each other are compared
    /// in the directions in which they vary. Columns that the model dropped as dependent are not
    /// compared.
    ///
    /// # Errors
    /// - [`Error::Parameter`] without a sample of the training rows, for a slow memory other than least squares with
    ///   an intercept and without weights: what else its training rows were cannot be told from it. (Weights are known by their sum: do not pass a fit with others that add up to the number
    ///   of its rows.) And for a level that is not between 0 and 1,
    ///   and a training sample whose rows are all the same.
    /// - [`Error::NoRows`]; [`Error::TooFewRows`] for a batch of at most `p + 1` rows, without a training sample.
    /// - [`Error::IncompatibleStates`] for samples of another slow memory.
    pub fn of(whitening: &Whitening, batch: &Sample, training: Option<&Sample>, level: f64) -> Result<Self, Error> {
        if !(level > 0.0 && level < 1.0) {
            let got = level.to_string();
            return Err(Error::Parameter { name: "the level", got, allowed: "a number between 0 and 1" });
        }
        if whitening.keys() == 0 {
            let allowed = "one with at least one column beside the intercept";
            return Err(Error::Parameter { name: "the design", got: "one without columns".into(), allowed });
        }
        if training.is_none() {
            check_white(whitening)?;
        }
        let state = batch.state(whitening)?;
        let theirs = training.map(|training| training.state(whitening)).transpose()?;
        let training_rows = theirs.as_ref().map_or(whitening.weight_total, |state| state.rows);
        if training.is_none() {
            enough(state.rows.min(training_rows), state.size - 1)?;
        }
        let frame = Frame::new(&state, theirs.as_ref())?;
        let size = frame.variances.len();
        let testable = enough(state.rows.min(training_rows), size);
        let columns = columns::shifts(whitening, batch, training, level).unwrap_or_default();
        let reader = Reader { whitening, columns: &columns };
        let directions: Vec<Direction> =
            frame.variances.iter().zip(&frame.axes).map(|(v, axis)| reader.direction(v.max(0.0), axis)).collect();
        let mut drift = Self {
            rows: batch.rows(),
            training_rows: training_rows as u64,
            size,
            dependent: frame.without.iter().map(|axis| reader.direction(0.0, axis)).collect(),
            likelihood_ratio: None,
            divergence: None,
            p: None,
            flat: None,
            tails: Tails::new(&state, batch.fourth_moment(whitening), &columns),
            mean_length: frame.means.iter().map(|m| m * m).sum::<f64>().sqrt(),
            directions,
            columns,
        };
        if testable.is_ok() {
            drift.judge(&frame, training_rows, state.rows);
        }
        Ok(drift)
    }

    /// The tests, over the directions in which the batch varies.
    fn judge(&mut self, frame: &Frame, training_rows: f64, rows: f64) {
        let flat = frame.flat();
        let tests = frame.tests(training_rows, rows, flat);
        (self.likelihood_ratio, self.divergence) = (Some(tests.likelihood_ratio), Some(tests.divergence));
        let p = if flat < self.size { tests.likelihood_ratio.p } else { 1.0 };
        if flat == 0 {
            self.p = Some(p);
            return;
        }
        let directions = self.directions[..flat].to_vec();
        let is_level = |name: &String| self.columns.iter().any(|column| column.indicator && column.name == *name);
        let levels = directions.iter().all(|direction| direction.columns.iter().all(|(name, _)| is_level(name)));
        let squared: f64 = frame.means[..flat].iter().map(|mean| mean * mean).sum();
        let bound = if levels { (-rows * squared.ln_1p()).exp() } else { 0.0 };
        self.flat = Some(Flat { directions, levels, p: bound });
        self.p = Some((2.0 * p.min(bound)).min(1.0));
    }

    /// What the shift does to the predictions of a fit; `None` where the slow memory does not whiten its training rows
    /// (see [`Drift::of`]).
    ///
    /// # Errors
    /// As [`Sample::state`].
    pub fn predictions(whitening: &Whitening, fit: &Fit, batch: &Sample) -> Result<Option<PredictionShift>, Error> {
        if check_white(whitening).is_err() {
            return Ok(None);
        }
        Ok(Some(PredictionShift::new(fit, &batch.state(whitening)?, whitening.weight_total)))
    }
}

/// Whether the training rows' state can be nothing but the identity.
fn check_white(whitening: &Whitening) -> Result<(), Error> {
    let refuse = |got: &str| {
        Err(Error::Parameter {
            name: "the model",
            got: got.into(),
            allowed: "least squares with an intercept and without weights, unless the training rows are given",
        })
    };
    match whitening.filter {
        Filter::Ridge { .. } => return refuse("ridge regression, whose keys are shrunk"),
        Filter::Components { .. } => return refuse("principal components, which leave directions out"),
        Filter::Ols => {}
    }
    if !whitening.design.intercept {
        return refuse("one without an intercept, whose keys are not centred");
    }
    if whitening.weight_total != whitening.rows as f64 {
        return refuse("a weighted fit, whose keys are white only with the weights");
    }
    if sample::standard_deviations(whitening).is_none() {
        return refuse("one whose keys do not tell its columns");
    }
    Ok(())
}

/// Says axes in terms of columns.
struct Reader<'a> {
    whitening: &'a Whitening,
    columns: &'a [ColumnShift],
}

/// Parts of a direction that are not named, beside its largest.
const SMALL_PART: f64 = 0.1;

impl Reader<'_> {
    fn direction(&self, eigenvalue: f64, axis: &[f64]) -> Direction {
        let mut factors = vec![0.0; self.columns.len()];
        for (a, map) in axis.iter().zip(&self.whitening.key_map) {
            factors.iter_mut().zip(map).for_each(|(factor, m)| *factor += a * m);
        }
        factors.iter_mut().zip(self.columns).for_each(|(factor, column)| *factor *= column.training_sd);
        let length = factors.iter().map(|f| f * f).sum::<f64>().sqrt();
        let largest = factors.iter().copied().fold(0.0f64, |m: f64, f| if f.abs() > m.abs() { f } else { m });
        let unit = if largest < 0.0 { -length } else { length };
        let named = factors.iter().zip(self.columns).filter(|(f, _)| f.abs() >= SMALL_PART * largest.abs());
        let mut columns: Vec<(String, f64)> = named.map(|(f, column)| (column.name.clone(), f / unit)).collect();
        columns.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        Direction { eigenvalue, columns }
    }
}

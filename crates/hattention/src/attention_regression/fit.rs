//! Fits.

use super::head::Inputs;
use super::objective::{Mixture, Parameters};
use super::options::Options;
use super::prepare::Prepared;
use super::quantiles::Quantiles;
use super::sample::Sampled;
use super::scope::Scope;
use super::search::{Found, held_out};
use crate::error::Error;

/// A fitted attention regression, with its training rows.
#[derive(Clone, Debug)]
pub struct AttentionRegression {
    pub(super) options: Options,
    pub(super) means: Vec<f64>,
    pub(super) scales: Vec<f64>,
    /// Of standardised inputs, for their normal scores; none where these are read themselves.
    pub(super) quantiles: Vec<Quantiles>,
    pub(super) target_mean: f64,
    pub(super) target_scale: f64,
    /// Standardised, in the order of the blocks.
    pub(super) inputs: Inputs,
    pub(super) targets: Vec<f64>,
    /// The row that each of them was.
    pub(super) order: Vec<usize>,
    pub(super) scope: Scope,
    pub(super) parameters: Parameters,
    pub(super) mixture: Mixture,
    /// Whether the rows are those of the fit.
    pub(super) own: bool,
    /// The share of the fit's rows that are among them, as far as hashes tell.
    pub(super) shared: f64,
    /// The rows, by their own numbers, that the mixture was solved at; absent for all.
    pub(super) solved: Option<Vec<usize>>,
    /// How the fit went.
    pub report: Report,
}

/// How a fit went.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The loss at the end.
    pub loss: f64,
    /// Mean square of the residuals, in units of the target's variance; with [`Mask::Others`] leave-one-out but for the
    /// mixture and the metrics.
    pub residual: f64,
    /// Steps that the minimisation took.
    pub steps: usize,
    /// Losses and slopes that were evaluated.
    pub evaluations: usize,
    /// Whether it came to an end by itself.
    pub converged: bool,
    /// Training rows so far from all others, or for inner products so much nearer to the centre, that a head's kernels underflow, most
    /// of all heads: they are read one by one, which takes longer.
    pub isolated: usize,
    /// Heads that read the same for all rows, or under masks of time the mean of those before: their metric is all but zero.
    pub collapsed: Vec<usize>,
    /// Shares of the fitted values' variance: of the linear head, then of the heads; they sum to one. (The covariance of a part
    /// with the fitted values over their variance: a share may be negative.)
    pub shares: Vec<f64>,
    /// What came of fitting metrics with some of the rows, if they were.
    pub sampled: Option<Sampled>,
}

impl AttentionRegression {
    /// Fits rows.
    ///
    /// # Shapes
    /// Every column and the target: `[rows]`.
    ///
    /// # Numerics
    /// The target is standardised first, inputs too unless told otherwise. A loss costs `½ M n²` kernels of `P`
    /// multiplications each, its slope as many again; memory `O(n P)`. Losses are minimised by L-BFGS; the minimum that is
    /// found depends on the start, and so on the seed.
    ///
    /// # Errors
    /// - [`Error::Shape`]: columns and target of different lengths.
    /// - [`Error::TooFewRows`]: no more rows than the mixture has coefficients that no penalty holds: the constant, those of the
    ///   linear head, and with `mixing` zero those of the others.
    /// - [`Error::NonFinite`]: NaN or infinity; the target counts as the column after the last.
    /// - [`Error::Parameter`]: no columns, or options that are not allowed.
    /// - [`Error::NoConvergence`]: a start at which the loss is not finite.
    ///
    /// # Example
    /// ```
    /// use hattention::attention_regression::{AttentionRegression, Options};
    /// let x: Vec<f64> = (0..200).map(|i| i as f64 / 200.0).collect();
    /// let y: Vec<f64> = x.iter().map(|x| (9.0 * x).sin()).collect();
    /// let model = AttentionRegression::fit(&[&x], &y, Options::default()).unwrap();
    /// let at = model.predict(&[&[0.305]]).unwrap()[0];
    /// assert!((at - (9.0f64 * 0.305).sin()).abs() < 0.02);
    /// ```
    pub fn fit(columns: &[&[f64]], target: &[f64], options: Options) -> Result<Self, Error> {
        options.check()?;
        let prepared = Prepared::of(columns, target, &options)?;
        let mut best: Option<Found> = None;
        for restart in 0..options.restarts as u64 {
            let seeded = Options { seed: options.seed.wrapping_add(restart), ..options.clone() };
            let found = if options.hold_out > 0.0 {
                held_out(columns, target, &seeded, options.seed, &prepared)?
            } else {
                prepared.along(&seeded, None)?
            };
            if best.as_ref().is_none_or(|best| found.minimum.value < best.minimum.value) {
                best = Some(found);
            }
        }
        let Some(found) = best else { return Err(Error::NoConvergence { steps: 0, residual: f64::NAN }) };
        Ok(prepared.finish(options, found))
    }

    /// As [`AttentionRegression::fit`], once and without rows held out, from where another fit of the same rows ended.
    pub(super) fn fit_from(
        columns: &[&[f64]],
        target: &[f64],
        options: Options,
        from: Option<&Self>,
    ) -> Result<Self, Error> {
        let prepared = Prepared::of(columns, target, &options)?;
        let found = prepared.along(&options, from.map(|model| &model.parameters))?;
        Ok(prepared.finish(options, found))
    }

    /// Coefficients α of the heads, in units of the target.
    pub fn head_coefficients(&self) -> &[f64] {
        &self.mixture.heads
    }

    /// Coefficients of the linear head, by column, in the units of the data (by normal scores under
    /// [`Ranks::Yes`](super::Ranks::Yes)); empty without one.
    pub fn slopes(&self) -> Vec<f64> {
        self.learned().slopes()
    }

    /// The constant β₀ of `β₀ + xᵀβ + Σ α Σ p y`, in units of the target.
    pub fn intercept(&self) -> f64 {
        self.learned().intercept()
    }

    /// Metrics Ω of the heads, in units of the inputs' deviations (of the inputs themselves, unless they were standardised; of
    /// normal scores under [`Ranks::Yes`](super::Ranks::Yes)): a distance is `(x − x')ᵀ Ω (x − x')`. Shape: `[heads][columns][columns]`.
    pub fn metrics(&self) -> Vec<Vec<Vec<f64>>> {
        self.parameters.metrics()
    }

    /// The options that it was fitted with.
    pub fn options(&self) -> &Options {
        &self.options
    }
}

#[cfg(test)]
mod tests {
    use super::super::noise::wave;
    use super::super::options::Precision;
    use super::*;

    fn share(y: &[f64], predictions: &[f64]) -> f64 {
        let mean = y.iter().sum::<f64>() / y.len() as f64;
        let total: f64 = y.iter().map(|y| (y - mean) * (y - mean)).sum();
        1.0 - y.iter().zip(predictions).map(|(y, p)| (y - p) * (y - p)).sum::<f64>() / total
    }

    #[test]
    fn lines_are_left_to_the_linear_head_and_curves_are_found() {
        let columns: Vec<Vec<f64>> = (0..4).map(|c| wave(600, 100.0 * c as f64)).collect();
        let noise = wave(600, 999.0);
        let line = |i: usize| 3.0 * columns[0][i] - 2.0 * columns[1][i];
        let curve = |i: usize| (4.0 * (columns[0][i] + columns[2][i])).sin();
        let train: Vec<&[f64]> = columns.iter().map(|c| &c[..400]).collect();
        let test: Vec<&[f64]> = columns.iter().map(|c| &c[400..]).collect();
        for (truth, linear_share) in [(&line as &dyn Fn(usize) -> f64, true), (&curve, false)] {
            let y: Vec<f64> = (0..600).map(|i| truth(i) + 0.2 * (noise[i] - 0.5)).collect();
            let model = AttentionRegression::fit(&train, &y[..400], Options::default()).unwrap();
            let found = share(&y[400..], &model.predict(&test).unwrap());
            assert!(found > 0.97, "{found}");
            let slopes = model.slopes();
            if linear_share {
                assert!((slopes[0] - 3.0).abs() < 0.2 && (slopes[1] + 2.0).abs() < 0.2, "{slopes:?}");
            } else {
                let alone = Options { heads: 0, ..Options::default() };
                let line = AttentionRegression::fit(&train, &y[..400], alone).unwrap();
                assert!(share(&y[400..], &line.predict(&test).unwrap()) < 0.6);
            }
            let again = AttentionRegression::fit(&train, &y[..400], Options::default()).unwrap();
            assert_eq!(again.predict(&test).unwrap(), model.predict(&test).unwrap());
        }
    }

    #[test]
    fn single_numbers_find_what_doubles_find() {
        let columns: Vec<Vec<f64>> = (0..3).map(|c| wave(300, 10.0 * c as f64)).collect();
        let train: Vec<&[f64]> = columns.iter().map(|c| &c[..200]).collect();
        let test: Vec<&[f64]> = columns.iter().map(|c| &c[200..]).collect();
        let y: Vec<f64> = (0..300).map(|i| (5.0 * columns[0][i]).cos() + columns[1][i]).collect();
        let with = |precision: Precision| {
            let options = Options { heads: 2, precision, ..Options::default() };
            AttentionRegression::fit(&train, &y[..200], options).unwrap()
        };
        let (single, double) = (with(Precision::Single), with(Precision::Double));
        assert!((single.report.loss - double.report.loss).abs() < 0.02, "{:?} {:?}", single.report, double.report);
        let shares = [single, double].map(|model| share(&y[200..], &model.predict(&test).unwrap()));
        assert!((shares[0] - shares[1]).abs() < 0.01, "{shares:?}");
    }

    #[test]
    fn threads_change_no_bit() {
        // (So many that pairs are summed in several bands.)
        let rows = 900;
        let columns: Vec<Vec<f64>> = (0..3).map(|c| wave(rows, 10.0 * c as f64)).collect();
        let train: Vec<&[f64]> = columns.iter().map(|c| &c[..]).collect();
        let y: Vec<f64> = (0..rows).map(|i| (5.0 * columns[0][i]).cos() + columns[1][i]).collect();
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let options = Options { steps: 15, ..Options::default() };
            pool.install(|| AttentionRegression::fit(&train, &y, options).unwrap().predict(&train).unwrap())
        };
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let x = wave(30, 0.0);
        let options = Options::default();
        assert!(matches!(AttentionRegression::fit(&[], &x, options.clone()), Err(Error::Parameter { .. })));
        assert!(matches!(AttentionRegression::fit(&[&x[..9]], &x, options.clone()), Err(Error::Shape { .. })));
        let free = Options { mixing: 0.0, ..options.clone() };
        assert!(matches!(
            AttentionRegression::fit(&[&x[..7]], &x[..7], free),
            Err(Error::TooFewRows { rows: 7, coefficients: 8 })
        ));
        assert!(AttentionRegression::fit(&[&x[..3]], &x[..3], options.clone()).is_ok());
        assert!(matches!(
            AttentionRegression::fit(&[&x[..2]], &x[..2], options.clone()),
            Err(Error::TooFewRows { rows: 2, coefficients: 3 })
        ));
        let wrong = Options { penalty: f64::NAN, ..options.clone() };
        assert!(matches!(AttentionRegression::fit(&[&x], &x, wrong), Err(Error::Parameter { .. })));
        let mut holes = x.clone();
        holes[3] = f64::NAN;
        assert!(matches!(
            AttentionRegression::fit(&[&holes], &x, options.clone()),
            Err(Error::NonFinite { row: 3, column: 0, .. })
        ));
        assert!(matches!(
            AttentionRegression::fit(&[&x], &holes, options.clone()),
            Err(Error::NonFinite { row: 3, column: 1, .. })
        ));
        let model = AttentionRegression::fit(&[&x], &x, options.clone()).unwrap();
        assert!(matches!(model.predict(&[&x, &x]), Err(Error::Shape { .. })));
        assert!(model.predict(&[&[]]).unwrap().is_empty());
        // Constant columns and a constant target are fitted by the mean.
        let constant = vec![2.0; 30];
        let model = AttentionRegression::fit(&[&constant], &constant, options.clone()).unwrap();
        assert!((model.predict(&[&[7.0]]).unwrap()[0] - 2.0).abs() < 1e-12);
    }
}

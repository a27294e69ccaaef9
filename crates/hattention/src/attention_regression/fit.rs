//! Fits.

use super::folds;
use super::head::{Inputs, Reading};
use super::minimise::{Ended, Limits, Minimum, minimise};
use super::objective::{At, Mixture, Parameters, Problem};
use super::options::{Mask, Options, Precision};
use super::sample::Sampled;
use super::scope::Scope;
use super::start::start;
use crate::error::Error;

/// A fitted attention regression, with its training rows.
#[derive(Clone, Debug)]
pub struct AttentionRegression {
    pub(super) options: Options,
    pub(super) means: Vec<f64>,
    pub(super) scales: Vec<f64>,
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
    /// Heads that read the same for all rows: their metric is all but zero.
    pub collapsed: Vec<usize>,
    /// Shares of the fitted values' variance: of the linear head, then of the heads; they sum to one. (The covariance of a part
    /// with the fitted values over their variance: a share may be negative.)
    pub shares: Vec<f64>,
    /// What came of fitting metrics with some of the rows, if they were.
    pub sampled: Option<Sampled>,
}

/// A head whose values vary less than this share of the target's deviation reads the same everywhere.
const COLLAPSED: f64 = 1e-3;

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
            let options = Options { seed: options.seed.wrapping_add(restart), ..options.clone() };
            let found = if options.hold_out > 0.0 {
                held_out(columns, target, &options, &prepared)?
            } else {
                prepared.along(&options, None)?
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
        let alive = |model: &&Self| model.report.collapsed.len() < options.heads;
        let found = prepared.along(&options, from.filter(alive).map(|model| &model.parameters))?;
        Ok(prepared.finish(options, found))
    }

    /// Coefficients α of the heads, in units of the target.
    pub fn head_coefficients(&self) -> &[f64] {
        &self.mixture.heads
    }

    /// Coefficients of the linear head, by column, in the units of the data; empty without one.
    pub fn slopes(&self) -> Vec<f64> {
        self.mixture.slopes.iter().zip(&self.scales).map(|(b, scale)| self.target_scale * b / scale).collect()
    }

    /// The constant β₀ of `β₀ + xᵀβ + Σ α Σ p y`, in units of the target.
    pub fn intercept(&self) -> f64 {
        let away: f64 = self.slopes().iter().zip(&self.means).map(|(b, mean)| b * mean).sum();
        let read: f64 = self.mixture.heads.iter().sum::<f64>() * self.target_mean;
        self.target_mean + self.target_scale * self.mixture.constant - away - read
    }

    /// Metrics Ω of the heads, in units of the inputs' deviations (of the inputs themselves, unless they were standardised):
    /// a distance is `(x − x')ᵀ Ω (x − x')`. Shape: `[heads][columns][columns]`.
    pub fn metrics(&self) -> Vec<Vec<Vec<f64>>> {
        self.parameters.metrics()
    }

    /// The options that it was fitted with.
    pub fn options(&self) -> &Options {
        &self.options
    }
}

/// Rows as a search takes them.
#[derive(Clone, Debug)]
struct Prepared {
    means: Vec<f64>,
    scales: Vec<f64>,
    target_mean: f64,
    target_scale: f64,
    inputs: Inputs,
    targets: Vec<f64>,
    order: Vec<usize>,
    scope: Scope,
}

/// What a search found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    parameters: Parameters,
    minimum: Minimum,
}

impl Prepared {
    fn of(columns: &[&[f64]], target: &[f64], options: &Options) -> Result<Self, Error> {
        let rows = target.len();
        if columns.is_empty() {
            let (name, got) = ("the number of columns", "0".to_owned());
            return Err(Error::Parameter { name, got, allowed: "at least one" });
        }
        check(columns, rows)?;
        if let Some(row) = target.iter().position(|y| !y.is_finite()) {
            return Err(Error::NonFinite { row, column: columns.len(), value: target[row] });
        }
        options.check_rows(rows, columns.len())?;
        let (order, scope) = scope(rows, &options.mask)?;
        let (means, scales): (Vec<f64>, Vec<f64>) = if options.standardize {
            columns.iter().map(|column| spread(column)).unzip()
        } else {
            (vec![0.0; columns.len()], vec![1.0; columns.len()])
        };
        let (target_mean, target_scale) = spread(target);
        let standard = |column: &[f64], mean: f64, scale: f64| -> Vec<f64> {
            order.iter().map(|i| (column[*i] - mean) / scale).collect()
        };
        let inputs: Vec<Vec<f64>> =
            columns.iter().zip(means.iter().zip(&scales)).map(|(column, (m, s))| standard(column, *m, *s)).collect();
        let inputs = Inputs::of(rows, &inputs);
        let targets = standard(target, target_mean, target_scale);
        Ok(Self { means, scales, target_mean, target_scale, inputs, targets, order, scope })
    }

    fn problem<'a>(&'a self, options: &'a Options) -> Problem<'a> {
        let (score, precision) = (options.score, options.precision);
        let reading = Reading { score, scope: &self.scope, decay: decay(&options.mask), precision };
        Problem { inputs: &self.inputs, targets: &self.targets, reading, options }
    }

    /// A search along the path of the options, from some parameters or the start; from the start again where all heads have
    /// collapsed, for they would not come back.
    fn along(&self, options: &Options, from: Option<&Parameters>) -> Result<Found, Error> {
        let start = start(&self.inputs, options)?;
        let mut at = from.cloned().unwrap_or_else(|| start.clone());
        let (mut steps, mut evaluations) = (0, 0);
        for (penalty, mixing) in &options.path {
            let options = Options { penalty: *penalty, mixing: *mixing, ..options.clone() };
            let found = self.problem(&options).search(at, |_, _| true)?;
            (steps, evaluations) = (steps + found.minimum.steps, evaluations + found.minimum.evaluations);
            let reads = self.problem(&options).loss(&found.parameters).reads;
            at = if reads.iter().all(|read| flat(&read.centred)) { start.clone() } else { found.parameters };
        }
        let mut found = self.problem(options).search(at, |_, _| true)?;
        found.minimum.steps += steps;
        found.minimum.evaluations += evaluations;
        Ok(found)
    }

    fn shares(&self, at: &At) -> Vec<f64> {
        let rows = self.inputs.rows;
        let mut line = vec![0.0; rows];
        for (p, slope) in at.mixture.slopes.iter().enumerate() {
            line.iter_mut().zip(self.inputs.column(p)).for_each(|(sum, x)| *sum += slope * x);
        }
        let heads = at.mixture.heads.iter().zip(&at.reads);
        let heads = heads.map(|(alpha, read)| read.centred.iter().map(|z| alpha * z).collect::<Vec<f64>>());
        let parts: Vec<Vec<f64>> = std::iter::once(line).chain(heads).collect();
        let fitted: Vec<f64> = (0..rows).map(|i| parts.iter().map(|part| part[i]).sum()).collect();
        let mean = fitted.iter().sum::<f64>() / rows as f64;
        let with = |part: &[f64]| part.iter().zip(&fitted).map(|(p, f)| p * (f - mean)).sum::<f64>();
        let total = with(&fitted);
        parts.iter().map(|part| if total > 0.0 { with(part) / total } else { 0.0 }).collect()
    }

    /// The regression of some parameters; whatever they were searched in, it is made in doubles.
    fn finish(self, options: Options, found: Found) -> AttentionRegression {
        let exact = Options { precision: Precision::Double, ..options.clone() };
        let at = self.problem(&exact).loss(&found.parameters);
        let Minimum { steps, evaluations, ended, .. } = found.minimum;
        let report = Report {
            loss: at.loss,
            residual: at.residuals.iter().map(|e| e * e).sum::<f64>() / self.inputs.rows as f64,
            steps,
            evaluations,
            converged: ended != Ended::Limit,
            isolated: at.reads.iter().map(|read| read.far.len()).max().unwrap_or(0),
            collapsed: (0..options.heads).filter(|m| flat(&at.reads[*m].centred)).collect(),
            shares: self.shares(&at),
            sampled: None,
        };
        let Self { means, scales, target_mean, target_scale, inputs, targets, order, scope } = self;
        let (mixture, parameters) = (at.mixture, found.parameters);
        AttentionRegression {
            options,
            means,
            scales,
            target_mean,
            target_scale,
            inputs,
            targets,
            order,
            scope,
            parameters,
            mixture,
            own: true,
            solved: None,
            report,
        }
    }
}

impl Problem<'_> {
    /// Parameters of a minimum of the loss; `observe` may stop the search.
    fn search(&self, start: Parameters, mut observe: impl FnMut(Parameters, usize) -> bool) -> Result<Found, Error> {
        let Options { heads, steps, tolerance, .. } = *self.options;
        let width = self.inputs.columns;
        let limits =
            Limits { steps, evaluations: steps.saturating_mul(2).saturating_add(25), gradient: 1e-7, fall: tolerance };
        let evaluate = |flat: &[f64]| {
            let parameters = Parameters::unflat(flat, heads, width);
            let at = self.loss(&parameters);
            (at.loss, self.slopes(&parameters, &at).flat())
        };
        let watch = |step: usize, at: &[f64], _: f64| observe(Parameters::unflat(at, heads, width), step);
        let minimum = minimise(start.flat(), limits, evaluate, watch);
        if !minimum.value.is_finite() {
            return Err(Error::NoConvergence { steps: minimum.steps, residual: minimum.value });
        }
        Ok(Found { parameters: Parameters::unflat(&minimum.at, heads, width), minimum })
    }
}

/// Steps without a better prediction of the rows held out after which a search ends.
const PATIENCE: usize = 10;

/// A search with some of the rows, to where the others are predicted best.
fn held_out(columns: &[&[f64]], target: &[f64], options: &Options, whole: &Prepared) -> Result<Found, Error> {
    let count = ((options.hold_out * target.len() as f64).round() as usize).max(1);
    let split = &folds::held_out(target.len(), count, options);
    let (train, train_target) = folds::rows(columns, target, &split.train);
    let (test, test_target) = folds::rows(columns, target, &split.test);
    let options = Options { mask: folds::mask(&options.mask, &split.train), ..options.clone() };
    let train: Vec<&[f64]> = train.iter().map(|column| &column[..]).collect();
    let test: Vec<&[f64]> = test.iter().map(|column| &column[..]).collect();
    let prepared = Prepared::of(&train, &train_target, &options)?;
    let problem = prepared.problem(&options);
    let start = start(&prepared.inputs, &options)?;
    let mut best = (f64::INFINITY, 0, start.clone());
    let error = |parameters: &Parameters| -> Result<f64, Error> {
        let found = Found { parameters: parameters.clone(), minimum: Minimum::nowhere() };
        let model = prepared.clone().finish(options.clone(), found);
        let predictions = model.predict(&test)?;
        Ok(predictions.iter().zip(&test_target).map(|(p, y)| (y - p) * (y - p)).sum())
    };
    best.0 = error(&best.2)?;
    let mut failed = None;
    let found = problem.search(start, |parameters, step| {
        match error(&parameters) {
            Ok(error) if error < best.0 => best = (error, step, parameters),
            Ok(_) => {}
            Err(why) => failed = Some(why),
        }
        failed.is_none() && step < best.1 + PATIENCE
    })?;
    if let Some(why) = failed {
        return Err(why);
    }
    let Minimum { mut ended, evaluations, .. } = found.minimum;
    if ended == Ended::Stopped {
        ended = Ended::Converged;
    }
    // The same metric in the units of all rows.
    let mut parameters = best.2;
    for factor in &mut parameters.factors {
        for (row, (own, all)) in factor.iter_mut().zip(prepared.scales.iter().zip(&whole.scales)) {
            row.iter_mut().for_each(|l| *l *= all / own);
        }
    }
    let minimum = Minimum { at: Vec::new(), value: best.0, steps: best.1, evaluations, ended };
    Ok(Found { parameters, minimum })
}

/// Whether a head reads the same everywhere.
fn flat(values: &[f64]) -> bool {
    let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), z| (a.min(*z), b.max(*z)));
    most - least < COLLAPSED
}

/// The order in which rows are kept, and which of them read which.
pub(super) fn scope(rows: usize, mask: &Mask) -> Result<(Vec<usize>, Scope), Error> {
    let order: Vec<usize> = (0..rows).collect();
    Ok(match mask {
        Mask::Others => (order, Scope::of(rows, true, false, |i| 0..i)),
        Mask::All => (order, Scope::of(rows, true, true, |i| 0..i)),
        Mask::Before | Mask::Decay(_) => (order, Scope::of(rows, false, false, |i| 0..i)),
        Mask::Window(window) => (order, Scope::of(rows, false, false, |i| i.saturating_sub(*window)..i)),
        Mask::Blocks(blocks) => {
            if blocks.len() != rows {
                return Err(Error::Shape { what: "the blocks", expected: rows, got: blocks.len() });
            }
            let mut order = order;
            order.sort_by_key(|i| blocks[*i]);
            let mut first = vec![0; rows];
            for i in 1..rows {
                first[i] = if blocks[order[i]] == blocks[order[i - 1]] { first[i - 1] } else { i };
            }
            if first.iter().all(|first| *first == 0) {
                let (name, got) = ("the blocks", "one".to_owned());
                return Err(Error::Parameter { name, got, allowed: "at least two: a row reads those of other blocks" });
            }
            (order, Scope::of(rows, true, false, |i| 0..first[i]))
        }
    })
}

/// What exponents fall by with every row.
pub(super) fn decay(mask: &Mask) -> f64 {
    if let Mask::Decay(half) = mask { std::f64::consts::LN_2 / half } else { 0.0 }
}

/// Columns of one length without NaN and infinity.
pub(super) fn check(columns: &[&[f64]], rows: usize) -> Result<(), Error> {
    for (at, column) in columns.iter().enumerate() {
        if column.len() != rows {
            return Err(Error::Shape { what: "a column", expected: rows, got: column.len() });
        }
        if let Some(row) = column.iter().position(|x| !x.is_finite()) {
            return Err(Error::NonFinite { row, column: at, value: column[row] });
        }
    }
    Ok(())
}

/// Mean and standard deviation; a deviation of one for a constant.
pub(super) fn spread(column: &[f64]) -> (f64, f64) {
    let count = column.len() as f64;
    let mean = column.iter().sum::<f64>() / count;
    let deviation = (column.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count).sqrt();
    (mean, if deviation > 1e-14 * mean.abs() { deviation } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use super::super::noise::wave;
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
        let columns: Vec<Vec<f64>> = (0..3).map(|c| wave(90, 10.0 * c as f64)).collect();
        let train: Vec<&[f64]> = columns.iter().map(|c| &c[..]).collect();
        let y: Vec<f64> = (0..90).map(|i| (5.0 * columns[0][i]).cos() + columns[1][i]).collect();
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| AttentionRegression::fit(&train, &y, Options::default()).unwrap().report.loss)
        };
        assert_eq!(with(1).to_bits(), with(3).to_bits());
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

//! Prediction intervals from rows that are left out.

use std::borrow::Borrow;

use rayon::prelude::*;

use super::fit::AttentionRegression;
use super::folds;
use super::left_out::LeftOut;
use super::options::{Mask, Options};
use super::predict::{Memory, query};
use crate::error::Error;
use crate::interrupt::checked;

/// Intervals of predictions.
///
/// # Formula
/// With `R_i` what training row i is off by when it is left out, and `μ_i(x)` the prediction of x without row i: from the
/// `⌊(1 − level)(n + 1)⌋`-th smallest of `μ_i(x) − |R_i|` to the `⌈level (n + 1)⌉`-th smallest of `μ_i(x) + |R_i|`. What "without row
/// i" means depends on how they are made: [`Intervals::by_folds`], which costs fits, or [`Intervals::of`], which does not and is too
/// short where metrics know the rows by heart.
///
/// # References
/// Barber, Candès, Ramdas & Tibshirani (2021), Predictive inference with the jackknife+.
#[derive(Clone, Debug)]
pub struct Intervals<M> {
    model: M,
    /// `|R_i|` in units of the target's deviation.
    errors: Vec<f64>,
    without: Without,
}

/// Predictions without each row.
#[derive(Clone, Debug)]
enum Without {
    /// Metrics as all rows made them.
    Held { memories: Vec<Memory>, left_out: LeftOut },
    /// Fits of the standardised rows of all folds but one, and the fold of each row.
    Folds { models: Vec<AttentionRegression>, of: Vec<usize> },
    /// The prediction itself: errors are of rows that had no part in it.
    Whole,
}

/// An interval of a prediction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower end; `−∞` where there are too few rows for the level.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// Rows beside a sample that errors are measured at, at most.
const BESIDE: usize = 2000;

impl<M: Borrow<AttentionRegression> + Sync> Intervals<M> {
    /// By the jackknife+ with metrics held.
    ///
    /// A row left out, under [`Mask::Blocks`] with all of its block, is read by no other and has no part in the least squares of
    /// constant, linear head and heads' coefficients; metrics stay what all rows made them, and so do the values that other
    /// training rows read. Rows of others than the fit's have no part in either: for them intervals are those of the jackknife+.
    pub fn of(model: M) -> Self {
        let left_out = LeftOut::of(model.borrow());
        let errors = left_out.errors.iter().map(|e| e.abs()).collect();
        let memories = model.borrow().memories();
        Self { model, errors, without: Without::Held { memories, left_out } }
    }

    /// By CV+: metrics are fitted anew without each of so many folds, under the penalties of the model.
    ///
    /// Folds are drawn at random. Coverage is at least `1 − 2α − √(2/n)`, α = 1 − level, whatever the model, for rows that come as
    /// the n training rows did, each by itself (but for penalties that were chosen with them), and mostly about `1 − α`. Under
    /// [`Mask::Blocks`] folds are of whole blocks and intervals for rows of new ones; then it is blocks that come by themselves,
    /// and with few of them nothing is promised.
    ///
    /// Under masks of time rows of the later half are predicted, as new rows are, by fits of the rows before their fold, which they
    /// read; the ends are the prediction and the `⌈level (m + 1)⌉`-th smallest of these m errors. They are of rows up to a
    /// fold's length ahead, half of the rows over the folds: for those further on, and where the world changes, they are too
    /// short.
    ///
    /// Of a model whose metrics are those of a sample errors are measured at up to 2,000 rows beside it, each reading all rows but
    /// itself (split conformal), without a fit; under a mask of blocks by fits of samples without each fold. Rows that share none
    /// with the fit's have had no part in it: they are left out as [`Intervals::of`] does. Where some are the fit's, all are fitted
    /// anew.
    ///
    /// # Errors
    /// Those of the fits, for there are fewer rows in them: [`Error::TooFewRows`]; [`Error::Parameter`] for fewer than two folds, for a
    /// sample without other rows, and for samples under masks of time.
    pub fn by_folds(model: M, count: usize) -> Result<Self, Error> {
        if count < 2 {
            let (name, got) = ("the number of folds", count.to_string());
            return Err(Error::Parameter { name, got, allowed: "two at least" });
        }
        // (Rows that the fit has seen are no others.)
        let others = !model.borrow().own && model.borrow().shared == 0.0;
        let blocks = matches!(model.borrow().options.mask, Mask::Blocks(_));
        match model.borrow().report.sampled {
            Some(sampled) if others || !blocks => {
                let errors = beside_sample(model.borrow(), sampled.rows)?;
                return Ok(Self { model, errors, without: Without::Whole });
            }
            None if others => return Ok(Self::of(model)),
            _ => {}
        }
        let (errors, without) = of_folds(model.borrow(), count)?;
        Ok(Self { model, errors, without })
    }

    /// Whether rows are too few for ends at a level: they are infinite.
    pub fn endless(&self, level: f64) -> bool {
        beyond(level, self.errors.len()) == 0
    }

    /// Blocks under [`Mask::Blocks`], if they are too few for a level, as rows are for [`Intervals::endless`]: nothing is promised then.
    pub fn few_blocks(&self, level: f64) -> Option<usize> {
        let Mask::Blocks(blocks) = &self.model.borrow().options.mask else { return None };
        let count = blocks.iter().collect::<std::collections::BTreeSet<_>>().len();
        (beyond(level, count) == 0).then_some(count)
    }

    /// Rows whose errors they are of.
    pub fn rows(&self) -> usize {
        self.errors.len()
    }

    /// Intervals of new rows at a level between 0 and 1.
    ///
    /// # Shapes
    /// As many columns as in the fit, each `[queries]`.
    ///
    /// # Numerics
    /// `M n` exponentials, times folds less one where there are any, and two selections among n numbers a query.
    ///
    /// # Errors
    /// As [`AttentionRegression::predict`]; [`Error::Parameter`] for a level outside.
    pub fn at(&self, columns: &[&[f64]], level: f64) -> Result<Vec<Interval>, Error> {
        if !(level > 0.0 && level < 1.0) {
            let allowed = "a number between 0 and 1";
            return Err(Error::Parameter { name: "the level", got: level.to_string(), allowed });
        }
        let model = self.model.borrow();
        let queries = model.check(columns)?;
        match &self.without {
            Without::Held { memories, left_out } => {
                let of_query = |row: usize| {
                    let without = held(model, memories, left_out, &model.input(columns, row));
                    self.interval(without.into_iter(), level)
                };
                Ok((0..queries).into_par_iter().map(checked(of_query)).collect())
            }
            Without::Folds { models, of } => {
                let standard = |(column, (mean, scale)): (&&[f64], (&f64, &f64))| {
                    column.iter().map(|x| (x - mean) / scale).collect::<Vec<f64>>()
                };
                let inputs: Vec<Vec<f64>> =
                    columns.iter().zip(model.means.iter().zip(&model.scales)).map(standard).collect();
                let inputs: Vec<&[f64]> = inputs.iter().map(|column| &column[..]).collect();
                let found = models.iter().map(|fold| fold.predict(&inputs)).collect::<Result<Vec<_>, _>>()?;
                let of_query = |row: usize| self.interval(of.iter().map(|fold| found[*fold][row]), level);
                Ok((0..queries).into_par_iter().map(checked(of_query)).collect())
            }
            Without::Whole => {
                let reach = self.reach(level);
                let ends = |y: f64| Interval { low: y - reach, high: y + reach };
                Ok(model.predict(columns)?.into_iter().map(ends).collect())
            }
        }
    }

    /// The `⌈level (m + 1)⌉`-th smallest error, in the target's units.
    fn reach(&self, level: f64) -> f64 {
        let mut errors = self.errors.clone();
        let beyond = beyond(level, errors.len());
        if beyond == 0 {
            return f64::INFINITY;
        }
        let at = errors.len() - beyond;
        self.model.borrow().target_scale * *errors.select_nth_unstable_by(at, f64::total_cmp).1
    }

    /// The interval about predictions without each row, which are in units of the target's deviation.
    fn interval(&self, without: impl Iterator<Item = f64>, level: f64) -> Interval {
        let beyond = beyond(level, self.errors.len());
        if beyond == 0 {
            return Interval { low: f64::NEG_INFINITY, high: f64::INFINITY };
        }
        let (mut lows, mut highs): (Vec<f64>, Vec<f64>) =
            without.zip(&self.errors).map(|(mu, e)| (mu - e, mu + e)).unzip();
        let low = *lows.select_nth_unstable_by(beyond - 1, f64::total_cmp).1;
        let at = highs.len() - beyond;
        let high = *highs.select_nth_unstable_by(at, f64::total_cmp).1;
        let model = self.model.borrow();
        let own = |z: f64| model.target_mean + model.target_scale * z;
        // (Levels near zero may turn the ends round.)
        Interval { low: own(low.min(high)), high: own(high.max(low)) }
    }
}

impl AttentionRegression {
    /// What each training row is off by when it is left out, metrics held, in the target's units and the rows' own order. (Signs are
    /// those of `y − μ`.)
    pub fn left_out(&self) -> Vec<f64> {
        let errors = LeftOut::of(self).errors;
        let mut ordered = vec![0.0; errors.len()];
        self.order.iter().zip(&errors).for_each(|(i, e)| ordered[*i] = self.target_scale * e);
        ordered
    }
}

/// Errors of rows by fits of all folds but theirs, and predictions without each.
fn of_folds(model: &AttentionRegression, count: usize) -> Result<(Vec<f64>, Without), Error> {
    let inputs: Vec<&[f64]> = (0..model.inputs.columns).map(|c| model.inputs.given(c)).collect();
    let options = Options { mask: folds::mask(&model.options.mask, &model.order), ..model.options.clone() };
    let all: Vec<usize> = (0..model.inputs.rows).collect();
    let splits = folds::folds(&all, count.min(all.len()), &options);
    // (Errors of a sample are of some rows, evenly.)
    let sampled = model.report.sampled.map(|sampled| sampled.rows);
    let step = if sampled.is_some() { all.len().div_ceil(BESIDE) } else { 1 };
    let (mut models, mut errors, mut of) = (Vec::with_capacity(splits.len()), Vec::new(), Vec::new());
    for (k, split) in splits.iter().enumerate() {
        folds::check(split, &options.mask, "two at least: take more folds")?;
        let (train, train_target) = folds::rows(&inputs, &model.targets, &split.train);
        let train: Vec<&[f64]> = train.iter().map(|column| &column[..]).collect();
        let options = Options { mask: folds::mask(&options.mask, &split.train), ..options.clone() };
        let fitted = match sampled {
            Some(most) => AttentionRegression::fit_sample(&train, &train_target, options, most)?,
            None => AttentionRegression::fit(&train, &train_target, options)?,
        };
        let some: Vec<usize> = split.test.iter().copied().step_by(step).collect();
        let (test, truth) = folds::rows(&inputs, &model.targets, &some);
        let predictions = fitted.predict(&test.iter().map(|column| &column[..]).collect::<Vec<_>>())?;
        errors.extend(truth.iter().zip(predictions).map(|(y, p)| (y - p).abs()));
        of.extend(vec![k; some.len()]);
        models.push(fitted);
    }
    if model.options.mask.in_time() {
        return Ok((errors, Without::Whole));
    }
    Ok((errors, Without::Folds { models, of }))
}

/// Errors of rows that metrics have not seen.
fn beside_sample(model: &AttentionRegression, rows: usize) -> Result<Vec<f64>, Error> {
    if model.shared > 0.0 && !model.own {
        let (name, got) = ("the rows", "some of the fit, or in another order".to_owned());
        let allowed = "those of the fit in its order, or others: metrics of a sample have seen some";
        return Err(Error::Parameter { name, got, allowed });
    }
    if model.own && model.options.mask.in_time() {
        let (name, got) = ("the mask", model.options.mask.to_string());
        let allowed =
            "one without an order of rows: a sample is of the last rows, and those before it tell nothing of new ones";
        return Err(Error::Parameter { name, got, allowed });
    }
    let all = model.inputs.rows;
    let mut seen = vec![false; all];
    if model.own {
        folds::sample(all, rows, &model.options).into_iter().for_each(|row| seen[row] = true);
    }
    let others: Vec<usize> = (0..all).filter(|row| !seen[*row]).collect();
    if others.is_empty() {
        let (name, got) = ("the sample", "all rows".to_owned());
        return Err(Error::Parameter { name, got, allowed: "fewer than all rows" });
    }
    // (Evenly: neighbours are often alike.)
    let step = others.len().div_ceil(BESIDE);
    let some: Vec<usize> = others.into_iter().step_by(step).collect();
    Ok(model.left_out_at(&some).into_iter().map(f64::abs).collect())
}

/// How many of so many ends lie beyond an interval, at most and this one included; zero where there are too few.
fn beyond(level: f64, rows: usize) -> usize {
    // (A whole number but for rounding stays one.)
    (((1.0 - level) * (rows + 1) as f64 + 1e-9).floor() as usize).min(rows)
}

/// Predictions of an input without each training row, metrics held.
fn held(model: &AttentionRegression, memories: &[Memory], left_out: &LeftOut, input: &[f64]) -> Vec<f64> {
    let rows = model.inputs.rows;
    let mixture = &model.mixture;
    let plain = 1 + mixture.slopes.len();
    let features: Vec<f64> = std::iter::once(1.0).chain(input.iter().copied()).take(plain).collect();
    let base = model.linear(input);
    // Values about the mean without the rows, as training rows read them.
    let total: f64 = model.targets.iter().sum();
    let centred = model.own && (model.scope.centred() || model.options.mask == Mask::All);
    // The plain part, then head by head.
    let LeftOut { units, changes, .. } = left_out;
    let plainly = |change: &Vec<f64>| base - features.iter().zip(change).map(|(f, c)| f * c).sum::<f64>();
    let mut without: Vec<f64> = changes.iter().map(plainly).collect();
    for (m, (memory, factor)) in memories.iter().zip(&model.parameters.factors).enumerate() {
        let softmax = memory.softmax(&query(factor, input));
        let all: f64 = softmax.iter().zip(&model.targets).map(|(p, y)| p * y).sum();
        for ((unit, change), without) in units.iter().zip(changes).zip(&mut without) {
            let (own, targets) = (&softmax[unit.clone()], &model.targets[unit.clone()]);
            let left = 1.0 - own.iter().sum::<f64>();
            // (Rows that are all a query reads leave it the mean.)
            let mean = (total - targets.iter().sum::<f64>()) / (rows - unit.len()).max(1) as f64;
            let read = own.iter().zip(targets).map(|(p, y)| p * y).sum::<f64>();
            let read = if left > 1e-9 { (all - read) / left } else { mean };
            let read = if centred { read - mean } else { read };
            *without += read * (mixture.heads[m] - change[plain + m]);
        }
    }
    units.iter().zip(without).flat_map(|(unit, mu)| std::iter::repeat_n(mu, unit.len())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::noise::wave;
    use super::super::options::Options;
    use super::*;

    #[test]
    fn new_rows_lie_within_as_often_as_said() {
        let (rows, new) = (300, 2000);
        let x = wave(rows + new, 0.0);
        let noise: Vec<f64> = (0..4)
            .map(|k| wave(rows + new, 5000.0 * (k + 1) as f64))
            .fold(vec![-2.0; rows + new], |sum, part| sum.iter().zip(part).map(|(s, p)| s + p).collect());
        let y: Vec<f64> = x.iter().zip(&noise).map(|(x, e)| (6.0 * x).sin() + e).collect();
        for mask in [Mask::Others, Mask::All] {
            let options = Options { mask, ..Options::default() };
            let model = AttentionRegression::fit(&[&x[..rows]], &y[..rows], options).unwrap();
            let intervals = Intervals::of(&model);
            for level in [0.5, 0.9] {
                let found = intervals.at(&[&x[rows..]], level).unwrap();
                let inside = found.iter().zip(&y[rows..]).filter(|(i, y)| i.low <= **y && **y <= i.high).count();
                let share = inside as f64 / new as f64;
                assert!((share - level).abs() < 0.05, "{level}: {share}");
            }
            // A level near zero turns no end round, and fewer rows than a level needs have none.
            let narrow = intervals.at(&[&[0.5]], 1e-12).unwrap()[0];
            assert!(narrow.low <= narrow.high && narrow.high.is_finite());
            assert_eq!(intervals.at(&[&[0.5]], 0.999).unwrap()[0].low, f64::NEG_INFINITY);
            assert!(intervals.at(&[&[0.5]], 1.0).is_err());
        }
    }

    /// Columns of waves and a target: a line in the first, noise, and an effect of the block that new blocks do not share.
    fn noisy(rows: usize, width: usize, blocks: Option<usize>) -> (Vec<Vec<f64>>, Vec<f64>) {
        let normal = |seed: f64| -> Vec<f64> {
            let sum = |sum: Vec<f64>, part: Vec<f64>| sum.iter().zip(part).map(|(s, p)| s + p).collect();
            (0..4).map(|k| wave(rows, seed + 7000.0 * (k + 1) as f64)).fold(vec![-2.0; rows], sum)
        };
        let mut columns: Vec<Vec<f64>> = (0..width).map(|c| normal(500.0 * c as f64)).collect();
        let noise = normal(90_000.0);
        let mut y: Vec<f64> = columns[0].iter().zip(&noise).map(|(x, e)| x + e).collect();
        if let Some(size) = blocks {
            for column in &mut columns {
                (0..rows).for_each(|i| column[i] = column[i / size * size]);
            }
            (0..rows).for_each(|i| y[i] = columns[0][i] + 2.0 * noise[i / size * size] + 0.1 * noise[i]);
        }
        (columns, y)
    }

    fn coverage(intervals: &Intervals<&AttentionRegression>, columns: &[&[f64]], y: &[f64], level: f64) -> f64 {
        let found = intervals.at(columns, level).unwrap();
        found.iter().zip(y).filter(|(i, y)| i.low <= **y && **y <= i.high).count() as f64 / y.len() as f64
    }

    #[test]
    fn metrics_that_know_the_rows_by_heart_have_honest_intervals_by_folds() {
        // Twenty columns, or ten blocks with the same columns for all of their rows.
        for (train, width, size) in [(100, 20, None), (100, 3, Some(5))] {
            let (columns, y) = noisy(train + 1500, width, size);
            let inputs: Vec<&[f64]> = columns.iter().map(|c| &c[..train]).collect();
            let new: Vec<&[f64]> = columns.iter().map(|c| &c[train..]).collect();
            let block = |i: usize| (i / size.unwrap_or(1)) as u64;
            let mask = if size.is_some() { Mask::Blocks((0..train).map(block).collect()) } else { Mask::Others };
            let options = Options { mask, penalty: 0.3, ..Options::default() };
            let model = AttentionRegression::fit(&inputs, &y[..train], options).unwrap();
            let held = coverage(&Intervals::of(&model), &new, &y[train..], 0.9);
            let anew = coverage(&Intervals::by_folds(&model, 10).unwrap(), &new, &y[train..], 0.9);
            assert!(held < 0.8 && (0.84..=1.0).contains(&anew), "{size:?}: {held} {anew}");
        }
    }

    #[test]
    fn errors_in_time_are_of_fits_of_rows_before_and_ends_are_theirs() {
        let (columns, y) = noisy(120, 2, None);
        let inputs: Vec<&[f64]> = columns.iter().map(|c| &c[..]).collect();
        let options = Options { heads: 2, mask: Mask::Before, ..Options::default() };
        let model = AttentionRegression::fit(&inputs, &y, options.clone()).unwrap();
        let intervals = Intervals::by_folds(&model, 5).unwrap();
        assert_eq!(intervals.rows(), 60);
        // The third fold by hand: its rows read those before it.
        let before: Vec<&[f64]> = columns.iter().map(|c| &c[..84]).collect();
        let alone = AttentionRegression::fit(&before, &y[..84], options).unwrap();
        let at: Vec<&[f64]> = columns.iter().map(|c| &c[84..96]).collect();
        for (k, prediction) in alone.predict(&at).unwrap().into_iter().enumerate() {
            let (error, found) = ((y[84 + k] - prediction).abs(), intervals.errors[24 + k] * model.target_scale);
            assert!((error - found).abs() < 1e-4, "{error} {found}");
        }
        let ends = intervals.at(&at, 0.8).unwrap()[0];
        let prediction = model.predict(&at).unwrap()[0];
        let mut sorted = intervals.errors.clone();
        sorted.sort_by(f64::total_cmp);
        let reach = sorted[48] * model.target_scale;
        assert!((ends.high - prediction - reach).abs() < 1e-12 && (prediction - ends.low - reach).abs() < 1e-12);
        assert_eq!(intervals.at(&at, 0.99).unwrap()[0].high, f64::INFINITY);
        assert!(matches!(Intervals::by_folds(&model, 1), Err(Error::Parameter { .. })));
    }

    #[test]
    fn of_a_sample_errors_are_of_other_rows_and_of_other_rows_they_are_left_out() {
        let (columns, y) = noisy(2900, 2, None);
        let inputs: Vec<&[f64]> = columns.iter().map(|c| &c[..1400]).collect();
        let new: Vec<&[f64]> = columns.iter().map(|c| &c[1400..]).collect();
        let options = Options { heads: 2, ..Options::default() };
        let model = AttentionRegression::fit_sample(&inputs, &y[..1400], options.clone(), 60).unwrap();
        let intervals = Intervals::by_folds(&model, 10).unwrap();
        assert_eq!(intervals.rows(), 1340);
        let share = coverage(&intervals, &new, &y[1400..], 0.9);
        assert!((share - 0.9).abs() < 0.03, "{share}");
        // All rows were queries of the mixture, and are left out of it as `left_out` does.
        let some: Vec<usize> = (0..1400).step_by(97).collect();
        let all = model.left_out();
        for (row, error) in some.iter().zip(model.left_out_at(&some)) {
            assert!((model.target_scale * error - all[*row]).abs() < 1e-8);
        }
        let in_time = Options { mask: Mask::Before, ..options.clone() };
        let in_time = AttentionRegression::fit_sample(&inputs, &y[..1400], in_time, 60).unwrap();
        assert!(matches!(Intervals::by_folds(&in_time, 10), Err(Error::Parameter { name: "the mask", .. })));
        // Other rows under the same metrics, with another mean: predictions and errors are of one kind.
        let (far, far_y): (Vec<Vec<f64>>, Vec<f64>) = (columns.clone(), y.iter().map(|y| y + 3.0).collect());
        let far: Vec<&[f64]> = far.iter().map(|c| &c[1400..2000]).collect();
        let small: Vec<&[f64]> = inputs.iter().map(|c| &c[..200]).collect();
        let model = AttentionRegression::fit(&small, &y[..200], options).unwrap();
        let other = model.learned().with_rows(&far, &far_y[1400..2000], None).unwrap();
        let held = Intervals::by_folds(&other, 10).unwrap();
        let ends = held.at(&new, 1e-9).unwrap();
        let predictions = other.predict(&new).unwrap();
        let off = |(i, p): (&Interval, &f64)| (0.5 * (i.low + i.high) - p).abs();
        let mean = ends.iter().zip(&predictions).map(off).sum::<f64>() / predictions.len() as f64;
        assert!(mean < 0.3, "{mean}");
    }

    #[test]
    fn a_level_that_one_fold_has_alone_does_no_harm_and_rows_of_the_fit_are_no_others() {
        let (mut columns, y) = noisy(1000, 1, None);
        columns.push((0..1000).map(|i| f64::from(i == 3)).collect());
        let inputs: Vec<&[f64]> = columns.iter().map(|c| &c[..]).collect();
        let options = Options { heads: 1, steps: 20, ..Options::default() };
        let model = AttentionRegression::fit(&inputs, &y, options).unwrap();
        let found = Intervals::by_folds(&model, 10).unwrap().at(&[&[0.1, 0.1], &[0.0, 1.0]], 0.9).unwrap();
        assert!(found.iter().all(|i| i.high - i.low < 20.0), "{found:?}");
        // The rows of the fit and one more: metrics have seen them.
        let (columns, y) = noisy(1101, 20, None);
        let part =
            |range: std::ops::Range<usize>| -> Vec<&[f64]> { columns.iter().map(|c| &c[range.clone()]).collect() };
        let options = Options { penalty: 0.3, ..Options::default() };
        let learned = AttentionRegression::fit(&part(0..100), &y[..100], options).unwrap().learned();
        let more = learned.with_rows(&part(0..101), &y[..101], None).unwrap();
        assert!(!more.own && more.shared > 0.9);
        let share = coverage(&Intervals::by_folds(&more, 10).unwrap(), &part(101..1101), &y[101..], 0.9);
        assert!(share > 0.84, "{share}");
        assert_eq!(learned.with_rows(&part(100..300), &y[100..300], None).unwrap().shared, 0.0);
    }

    #[test]
    fn of_a_sample_of_blocks_whole_blocks_are_left_out() {
        let (columns, y) = noisy(4000, 2, Some(20));
        let inputs: Vec<&[f64]> = columns.iter().map(|c| &c[..1200]).collect();
        let new: Vec<&[f64]> = columns.iter().map(|c| &c[1200..]).collect();
        let mask = Mask::Blocks((0..1200).map(|i| i / 20).collect());
        let options = Options { heads: 1, mask, ..Options::default() };
        let model = AttentionRegression::fit_sample(&inputs, &y[..1200], options, 240).unwrap();
        assert!(model.report.sampled.unwrap().error < 5.0, "{:?}", model.report);
        let intervals = Intervals::by_folds(&model, 10).unwrap();
        assert_eq!((intervals.few_blocks(0.9), intervals.few_blocks(0.99)), (None, Some(60)));
        assert!(!intervals.endless(0.99) && intervals.endless(0.9999));
        let share = coverage(&intervals, &new, &y[1200..], 0.9);
        assert!((0.82..0.99).contains(&share), "{share}");
    }
}

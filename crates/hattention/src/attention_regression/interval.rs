//! Prediction intervals from leaving rows out.

use rayon::prelude::*;

use super::fit::AttentionRegression;
use super::head::{Reading, read};
use super::options::{Coefficients, Mask};
use super::predict::{Memory, query};
use super::scope::Scope;
use crate::error::Error;
use crate::interrupt::checked;

/// Intervals of predictions, jackknife+.
///
/// # Formula
/// With `R_i` what row i is off by when it is left out, and `μ_i(x)` the prediction of x without row i: from the
/// `⌊(1 − level)(n + 1)⌋`-th smallest of `μ_i(x) − |R_i|` to the `⌈level (n + 1)⌉`-th smallest of `μ_i(x) + |R_i|`. A row
/// left out is read by no other and has no part in the least squares of constant, linear head and
/// heads' coefficients; metrics stay what all rows made them, and so do the values that other training rows read.
///
/// # References
/// Barber, Candès, Ramdas & Tibshirani (2021), Predictive inference with the jackknife+.
#[derive(Clone, Debug)]
pub struct Intervals<'a> {
    model: &'a AttentionRegression,
    memories: Vec<Memory>,
    /// What each row is off by when it is left out, in units of the target's deviation.
    left_out: Vec<f64>,
    /// What leaving each row out takes off the mixture: constant, slopes, heads; a row of numbers each.
    changes: Vec<Vec<f64>>,
}

/// An interval of a prediction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower end; `−∞` where there are too few rows for the level.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl<'a> Intervals<'a> {
    /// Of a model.
    pub fn of(model: &'a AttentionRegression) -> Self {
        let rows = model.inputs.rows;
        // (A row that reads itself says nothing of new rows.)
        let others = Scope::of(rows, true, false, |i| 0..i);
        let scope = if model.options.mask == Mask::All { &others } else { &model.scope };
        let reading = Reading { scope, ..model.reading() };
        let reads: Vec<_> = model
            .parameters
            .factors
            .iter()
            .map(|factor| read(&model.inputs, factor, &model.targets, reading))
            .collect();
        let mixture = &model.mixture;
        let problem = model.problem();
        let ones = vec![1.0; rows];
        let features = problem.features(&ones, &reads);
        let coefficients: Vec<f64> =
            std::iter::once(mixture.constant).chain(mixture.slopes.clone()).chain(mixture.heads.clone()).collect();
        let residual =
            |i: usize| model.targets[i] - features.iter().zip(&coefficients).map(|(f, c)| f[i] * c).sum::<f64>();
        let residuals: Vec<f64> = (0..rows).map(residual).collect();
        // (Nor does a row of others than the fit's have a part in it.)
        if model.options.coefficients == Coefficients::Searched || !model.own {
            let changes = vec![vec![0.0; coefficients.len()]; rows];
            return Self { model, memories: model.memories(), left_out: residuals, changes };
        }
        let size = features.len();
        let matrix = problem.equations(&features);
        // (With a little on the diagonal there is always an inverse.)
        let inverse = crate::linalg::invert_symmetric(&matrix, size).unwrap_or_else(|| vec![vec![0.0; size]; size]);
        let solve = |i: usize| {
            let feature: Vec<f64> = features.iter().map(|feature| feature[i]).collect();
            let solved: Vec<f64> =
                inverse.iter().map(|row| row.iter().zip(&feature).map(|(a, f)| a * f).sum()).collect();
            let leverage: f64 = solved.iter().zip(&feature).map(|(s, f)| s * f).sum();
            let left_out = residuals[i] / (1.0 - leverage).max(1e-12);
            (left_out, solved.iter().map(|s| s * left_out).collect())
        };
        let (left_out, changes) = (0..rows).into_par_iter().map(checked(solve)).collect::<Vec<_>>().into_iter().unzip();
        Self { model, memories: model.memories(), left_out, changes }
    }

    /// What each training row is off by when it is left out, in the target's units and the rows' own order.
    pub fn left_out(&self) -> Vec<f64> {
        let mut ordered = vec![0.0; self.left_out.len()];
        let scale = self.model.target_scale;
        self.model.order.iter().zip(&self.left_out).for_each(|(i, e)| ordered[*i] = scale * e);
        ordered
    }

    /// Intervals of new rows at a level between 0 and 1.
    ///
    /// # Shapes
    /// As many columns as in the fit, each `[queries]`.
    ///
    /// # Numerics
    /// `M n` exponentials and two selections among n numbers a query.
    ///
    /// # Errors
    /// As [`AttentionRegression::predict`]; [`Error::Parameter`] for a level outside.
    pub fn at(&self, columns: &[&[f64]], level: f64) -> Result<Vec<Interval>, Error> {
        if !(level > 0.0 && level < 1.0) {
            let allowed = "a number between 0 and 1";
            return Err(Error::Parameter { name: "the level", got: level.to_string(), allowed });
        }
        let queries = self.model.check(columns)?;
        let of_query = |row: usize| self.interval(&self.model.input(columns, row), level);
        Ok((0..queries).into_par_iter().map(checked(of_query)).collect())
    }

    fn interval(&self, input: &[f64], level: f64) -> Interval {
        let model = self.model;
        let rows = model.inputs.rows;
        let mixture = &model.mixture;
        let plain = 1 + mixture.slopes.len();
        let features: Vec<f64> = std::iter::once(1.0).chain(input.iter().copied()).take(plain).collect();
        let base = model.linear(input);
        // Values about the mean without the row, as training rows read them.
        let total: f64 = model.targets.iter().sum();
        let centred = model.scope.centred() || model.options.mask == Mask::All;
        // Predictions without each row: the plain part, then head by head.
        let plainly = |i: usize| base - features.iter().zip(&self.changes[i]).map(|(f, c)| f * c).sum::<f64>();
        let mut without: Vec<f64> = (0..rows).map(plainly).collect();
        for (m, (memory, factor)) in self.memories.iter().zip(&model.parameters.factors).enumerate() {
            let softmax = memory.softmax(&query(factor, input));
            let all: f64 = softmax.iter().zip(&model.targets).map(|(p, y)| p * y).sum();
            for (i, without) in without.iter_mut().enumerate() {
                let left = 1.0 - softmax[i];
                // (A row that is all a query reads leaves it the mean.)
                let read = if left > 1e-9 { (all - softmax[i] * model.targets[i]) / left } else { 0.0 };
                let mean = if centred { (total - model.targets[i]) / (rows - 1) as f64 } else { 0.0 };
                *without += (read - mean) * (mixture.heads[m] - self.changes[i][plain + m]);
            }
        }
        let ends =
            |sign: f64| -> Vec<f64> { without.iter().zip(&self.left_out).map(|(mu, e)| mu + sign * e.abs()).collect() };
        // (A whole number but for rounding stays one.)
        let below = (((1.0 - level) * (rows + 1) as f64 + 1e-9).floor() as usize).min(rows);
        if below == 0 {
            return Interval { low: f64::NEG_INFINITY, high: f64::INFINITY };
        }
        let (mut lows, mut highs) = (ends(-1.0), ends(1.0));
        let low = *lows.select_nth_unstable_by(below - 1, f64::total_cmp).1;
        let high = *highs.select_nth_unstable_by(rows - below, f64::total_cmp).1;
        let own = |z: f64| model.target_mean + model.target_scale * z;
        // (Levels near zero may turn the ends round.)
        Interval { low: own(low.min(high)), high: own(high.max(low)) }
    }
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
            // Fewer rows than the level needs.
            assert_eq!(intervals.at(&[&[0.5]], 0.999).unwrap()[0].low, f64::NEG_INFINITY);
            assert!(intervals.at(&[&[0.5]], 1.0).is_err());
        }
    }

    #[test]
    fn without_heads_rows_left_out_are_those_of_least_squares() {
        let x = wave(40, 3.0);
        let y: Vec<f64> = x.iter().zip(wave(40, 77.0)).map(|(x, e)| 2.0 * x + e).collect();
        let options = Options { heads: 0, ..Options::default() };
        let model = AttentionRegression::fit(&[&x], &y, options.clone()).unwrap();
        let found = Intervals::of(&model).left_out();
        for i in 0..40 {
            let keep = |values: &[f64]| -> Vec<f64> {
                values.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, v)| *v).collect()
            };
            let without = AttentionRegression::fit(&[&keep(&x)], &keep(&y), options.clone()).unwrap();
            let off = y[i] - without.predict(&[&[x[i]]]).unwrap()[0];
            assert!((off - found[i]).abs() < 1e-9, "{off} and {}", found[i]);
        }
    }
}

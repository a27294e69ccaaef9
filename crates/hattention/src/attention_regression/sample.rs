//! Metrics fitted with some of many rows; predictions read them all.

use rayon::prelude::*;

use super::fit::AttentionRegression;
use super::folds;
use super::objective::Mixture;
use super::options::{Coefficients, Options};
use super::predict::query;
use crate::error::Error;
use crate::interrupt::checked;
use crate::linalg::solve_symmetric;

/// What metrics of a sample are worth for all rows. Errors are mean squares of rows that are left out, in units of the
/// target's variance, at the same queries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampled {
    /// Rows that metrics were fitted with.
    pub rows: usize,
    /// Training rows that errors were measured at.
    pub queries: usize,
    /// The common factor of all metrics' roots: with more rows to read, a row reads nearer ones.
    pub width: f64,
    /// The error where queries read the rows of the sample alone.
    pub error_sample: f64,
    /// The error where they read all rows.
    pub error: f64,
}

/// Factors of the metrics' roots that are tried, one after the other while they help.
const WIDER: f64 = 1.15;
/// Steps of it at most.
const STEPS: usize = 8;
/// Weights of queries that are looked at for a step, at most.
const WEIGHTS: usize = 1 << 27;

impl AttentionRegression {
    /// Fits metrics with at most so many rows, drawn as the mask asks, and lets predictions read all of them.
    ///
    /// With more rows to read, the best metrics are narrower and heads need other coefficients: a common factor of all
    /// metrics and the coefficients are found anew at some training rows, each of which reads all others. How far that went
    /// is in [`Report::sampled`](super::Report::sampled).
    ///
    /// # Errors
    /// As [`AttentionRegression::fit`].
    pub fn fit_sample(columns: &[&[f64]], target: &[f64], options: Options, most: usize) -> Result<Self, Error> {
        super::fit::check(columns, target.len())?;
        let rows = folds::sample(target.len(), most, &options);
        if rows.len() == target.len() {
            return Self::fit(columns, target, options);
        }
        let (some, some_target) = folds::rows(columns, target, &rows);
        let some: Vec<&[f64]> = some.iter().map(|column| &column[..]).collect();
        let own = Options { mask: folds::mask(&options.mask, &rows), ..options.clone() };
        let part = Self::fit(&some, &some_target, own)?;
        let blocks = if let super::Mask::Blocks(blocks) = &options.mask { Some(blocks.clone()) } else { None };
        let mut all = part.learned().in_units_of(columns, target).with_rows(columns, target, blocks)?;
        let features = 1 + columns.len() + options.heads;
        let count = (WEIGHTS / (target.len() * options.heads.max(1))).clamp(4 * features, 2000).min(target.len());
        let queries = all.places(&folds::sample(target.len(), count, &options));
        let sampled: Vec<bool> = {
            let mut sampled = vec![false; target.len()];
            all.places(&rows).iter().for_each(|place| sampled[*place] = true);
            sampled
        };
        let error_sample = all.solved_at(&queries, Some(&sampled)).0;
        let (mut error, mut mixture) = all.solved_at(&queries, None);
        let mut width = 1.0;
        for _ in 0..STEPS {
            let mut wider = all.clone();
            wider.scale(WIDER);
            let (next, next_mixture) = wider.solved_at(&queries, None);
            if next.is_nan() || next >= error {
                break;
            }
            (all, error, mixture, width) = (wider, next, next_mixture, width * WIDER);
        }
        all.mixture = mixture;
        // (What the coefficients were solved at are some of the rows: predictions are no longer sums over all.)
        all.own = false;
        all.report.residual = error;
        all.report.sampled = Some(Sampled { rows: rows.len(), queries: queries.len(), width, error_sample, error });
        Ok(all)
    }

    fn scale(&mut self, factor: f64) {
        self.parameters.factors.iter_mut().flatten().flatten().for_each(|l| *l *= factor);
    }

    /// Where rows stand in the order that is kept.
    fn places(&self, rows: &[usize]) -> Vec<usize> {
        let mut place = vec![0; self.order.len()];
        self.order.iter().enumerate().for_each(|(at, row)| place[*row] = at);
        rows.iter().map(|row| place[*row]).collect()
    }

    /// The mean square of the errors of some training rows that read others (of those that are `allowed`), and the mixture that
    /// makes it least.
    fn solved_at(&self, queries: &[usize], allowed: Option<&[bool]>) -> (f64, Mixture) {
        let memories = self.memories();
        let linear = if self.options.linear { self.inputs.columns } else { 0 };
        let of_query = |at: &usize| -> Vec<f64> {
            let input: Vec<f64> = (0..self.inputs.columns).map(|c| self.inputs.column(c)[*at]).collect();
            let mut features: Vec<f64> = std::iter::once(1.0).chain(input[..linear].iter().copied()).collect();
            for (memory, factor) in memories.iter().zip(&self.parameters.factors) {
                let may = |j: usize| j != *at && self.scope.reads(*at, j) && allowed.is_none_or(|allowed| allowed[j]);
                let mean = if self.scope.centred() {
                    let (count, sum) = (0..self.targets.len())
                        .filter(|j| may(*j))
                        .fold((0.0, 0.0), |(count, sum), j| (count + 1.0, sum + self.targets[j]));
                    sum / f64::max(count, 1.0)
                } else {
                    0.0
                };
                features.push(memory.read_of(&query(factor, &input), may, &self.targets) - mean);
            }
            features
        };
        let features: Vec<Vec<f64>> = queries.par_iter().map(checked(of_query)).collect();
        let targets: Vec<f64> = queries.iter().map(|at| self.targets[*at]).collect();
        let mixture = match self.options.coefficients {
            Coefficients::Searched => self.mixture.clone(),
            Coefficients::Solved => self.remixed(&features, &targets, linear),
        };
        let coefficients: Vec<f64> =
            std::iter::once(mixture.constant).chain(mixture.slopes.clone()).chain(mixture.heads.clone()).collect();
        let off = |(features, y): (&Vec<f64>, &f64)| {
            let fitted: f64 = features.iter().zip(&coefficients).map(|(f, c)| f * c).sum();
            (y - fitted) * (y - fitted)
        };
        (features.iter().zip(&targets).map(off).sum::<f64>() / targets.len() as f64, mixture)
    }

    fn remixed(&self, features: &[Vec<f64>], targets: &[f64], linear: usize) -> Mixture {
        let size = 1 + linear + self.options.heads;
        let count = features.len() as f64;
        let mut matrix = vec![0.0; size * size];
        let mut right = vec![0.0; size];
        for (row, y) in features.iter().zip(targets) {
            for (i, a) in row.iter().enumerate() {
                right[i] += a * y;
                row.iter().enumerate().for_each(|(j, b)| matrix[i * size + j] += a * b);
            }
        }
        for i in 0..size {
            let penalty = if i > linear { self.options.mixing * count } else { 0.0 };
            matrix[i * size + i] += 1e-12 * (matrix[i * size + i] + count) + penalty;
        }
        match solve_symmetric(&matrix, size, &right) {
            Some(found) => {
                Mixture { constant: found[0], slopes: found[1..=linear].to_vec(), heads: found[1 + linear..].to_vec() }
            }
            None => self.mixture.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::noise::wave;
    use super::*;

    #[test]
    fn more_rows_to_read_predict_better_than_the_sample_alone() {
        let columns: Vec<Vec<f64>> = (0..2).map(|c| wave(1200, 5000.0 * c as f64)).collect();
        let noise = wave(1200, 90_000.0);
        let y: Vec<f64> =
            (0..1200).map(|i| (8.0 * columns[0][i]).sin() * columns[1][i] + 0.5 * (noise[i] - 0.5)).collect();
        let inputs: Vec<&[f64]> = columns.iter().map(|c| &c[..]).collect();
        for mask in [super::super::Mask::Others, super::super::Mask::Blocks((0..1200).map(|i| i / 20).collect())] {
            let options = Options { mask, heads: 2, ..Options::default() };
            let model = AttentionRegression::fit_sample(&inputs, &y, options.clone(), 200).unwrap();
            let sampled = model.report.sampled.unwrap();
            assert!((200..220).contains(&sampled.rows) && sampled.queries == 1200, "{sampled:?}");
            assert!(sampled.error < sampled.error_sample && sampled.width >= 1.0, "{sampled:?}");
            let whole = AttentionRegression::fit_sample(&inputs, &y, options, 1200).unwrap();
            assert!(whole.report.sampled.is_none());
            assert!(model.learned().trained_on(&inputs, &y));
            assert!(sampled.error < 1.3 * whole.report.residual, "{sampled:?} {}", whole.report.residual);
        }
    }
}

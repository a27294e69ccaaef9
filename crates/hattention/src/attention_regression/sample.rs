//! Metrics fitted with some of many rows; predictions read them all.

use std::ops::Range;

use rayon::prelude::*;

use super::across::Hidden;
use super::fit::AttentionRegression;
use super::folds;
use super::head::Inputs;
use super::left_out::Equations;
use super::objective::Mixture;
use super::options::{Coefficients, Mask, Options};
use super::pairs::{HELD, Keys};
use super::predict::{Memory, query};
use super::search::{flat, shares};
use crate::error::Error;
use crate::interrupt::checked;

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
const WEIGHTS: usize = 1 << 31;

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
        super::prepare::check(columns, target.len())?;
        options.mask.check(target.len(), false)?;
        let rows = folds::sample(target.len(), most, &options);
        if rows.len() == target.len() {
            return Self::fit(columns, target, options);
        }
        let (some, some_target) = folds::rows(columns, target, &rows);
        let some: Vec<&[f64]> = some.iter().map(|column| &column[..]).collect();
        let own = Options { mask: folds::mask(&options.mask, &rows), ..options.clone() };
        let part = Self::fit(&some, &some_target, own)?;
        let blocks = if let Mask::Blocks(blocks) = &options.mask { Some(blocks.clone()) } else { None };
        let mut all = part.learned().in_units_of(columns, target).with_rows(columns, target, blocks)?;
        let features = 1 + columns.len() + options.heads;
        let count = (WEIGHTS / (target.len() * options.heads.max(1))).min(2000).max(4 * features).min(target.len());
        let solved = folds::sample(target.len(), count, &options);
        let queries = all.places(&solved);
        let mut sampled = all.places(&rows);
        sampled.sort_unstable();
        let everything: Vec<usize> = (0..target.len()).collect();
        let error_sample = all.solved_at(&queries, &sampled).0;
        let (mut error, mut mixture) = all.solved_at(&queries, &everything);
        let mut width = 1.0;
        for _ in 0..STEPS {
            let mut wider = all.clone();
            wider.scale(WIDER);
            let (next, next_mixture) = wider.solved_at(&queries, &everything);
            if next.is_nan() || next >= error {
                break;
            }
            (all, error, mixture, width) = (wider, next, next_mixture, width * WIDER);
        }
        all.mixture = mixture;
        all.solved = Some(solved);
        all.own = true;
        all.report.residual = error;
        (all.report.shares, all.report.collapsed) = all.told_at(&queries, &everything);
        all.report.sampled = Some(Sampled { rows: rows.len(), queries: queries.len(), width, error_sample, error });
        Ok(all)
    }

    fn scale(&mut self, factor: f64) {
        self.parameters.factors.iter_mut().flatten().flatten().for_each(|l| *l *= factor);
    }

    /// Where rows stand in the order that is kept.
    pub(super) fn places(&self, rows: &[usize]) -> Vec<usize> {
        let mut place = vec![0; self.order.len()];
        self.order.iter().enumerate().for_each(|(at, row)| place[*row] = at);
        rows.iter().map(|row| place[*row]).collect()
    }

    /// The mean square of the errors of some training rows that read others of those at some places, in order, and the mixture
    /// that makes it least.
    fn solved_at(&self, queries: &[usize], places: &[usize]) -> (f64, Mixture) {
        let features = self.features_at(queries, places);
        let targets: Vec<f64> = queries.iter().map(|at| self.targets[*at]).collect();
        let equations = self.equations(&features);
        let mixture = equations.as_ref().map_or_else(
            || self.mixture.clone(),
            |equations| {
                let mut right = vec![0.0; equations.inverse.len()];
                for (row, y) in features.iter().zip(&targets) {
                    right.iter_mut().zip(row).for_each(|(sum, f)| *sum += f * y);
                }
                let found = equations.solve(&right);
                let (slopes, heads) = found[1..].split_at(self.width());
                Mixture { constant: found[0], slopes: slopes.to_vec(), heads: heads.to_vec() }
            },
        );
        let errors = self.errors_at(queries, &features, &mixture, equations.as_ref());
        (times(&errors, &errors) / targets.len() as f64, mixture)
    }

    /// What some training rows, by their own numbers, are off by when they are left out, in units of the target's deviation: each reads
    /// all rows but itself, under a mask of blocks but its block, and has no part in the mixture.
    pub(super) fn left_out_at(&self, rows: &[usize]) -> Vec<f64> {
        let everything: Vec<usize> = (0..self.targets.len()).collect();
        let queries = self.places(rows);
        let features = self.features_at(&queries, &everything);
        let mut errors = self.errors_at(&queries, &features, &self.mixture, None);
        let solved = self.own.then_some(self.solved.as_deref()).flatten().unwrap_or_default();
        let mut wanted = vec![None; self.targets.len()];
        rows.iter().enumerate().for_each(|(at, row)| wanted[*row] = Some(at));
        if solved.iter().any(|row| wanted[*row].is_some()) {
            let queries = self.places(solved);
            let features = self.features_at(&queries, &everything);
            let without = self.errors_at(&queries, &features, &self.mixture, self.equations(&features).as_ref());
            for (row, error) in solved.iter().zip(without) {
                wanted[*row].into_iter().for_each(|at| errors[at] = error);
            }
        }
        errors
    }

    /// What rows at some places are off by; where equations are those of all of them, without their part in these, or, under a
    /// mask of blocks, that of their blocks.
    fn errors_at(
        &self,
        queries: &[usize],
        features: &[Vec<f64>],
        mixture: &Mixture,
        equations: Option<&Equations>,
    ) -> Vec<f64> {
        let coefficients: Vec<f64> =
            std::iter::once(&mixture.constant).chain(&mixture.slopes).chain(&mixture.heads).copied().collect();
        let residual = |(at, row): (&usize, &Vec<f64>)| self.targets[*at] - times(row, &coefficients);
        let mut errors: Vec<f64> = queries.iter().zip(features).map(residual).collect();
        let Some(equations) = equations else { return errors };
        let mut units: std::collections::BTreeMap<u64, Vec<usize>> = std::collections::BTreeMap::new();
        for (query, at) in queries.iter().enumerate() {
            let unit = if let Mask::Blocks(blocks) = &self.options.mask { blocks[self.order[*at]] } else { *at as u64 };
            units.entry(unit).or_default().push(query);
        }
        for unit in units.into_values() {
            let rows: Vec<Vec<f64>> = unit.iter().map(|query| features[*query].clone()).collect();
            let residuals: Vec<f64> = unit.iter().map(|query| errors[*query]).collect();
            let (without, _) = equations.without(&rows, &residuals);
            unit.iter().zip(without).for_each(|(query, error)| errors[*query] = error);
        }
        errors
    }

    /// Shares of the fitted values' variance at some training rows, and heads that read the same at all of them. (Under masks of time
    /// the latter are those of the sample.)
    fn told_at(&self, queries: &[usize], places: &[usize]) -> (Vec<f64>, Vec<usize>) {
        let features = self.features_at(queries, places);
        let first = 1 + self.width();
        let part = |c: usize, alpha: f64| features.iter().map(|row| alpha * row[c]).collect::<Vec<f64>>();
        let slopes = std::iter::once(&0.0).chain(&self.mixture.slopes);
        let line: Vec<f64> = features.iter().map(|row| slopes.clone().zip(row).map(|(b, x)| b * x).sum()).collect();
        let heads = self.mixture.heads.iter().enumerate();
        let parts: Vec<Vec<f64>> =
            std::iter::once(line).chain(heads.map(|(m, alpha)| part(first + m, *alpha))).collect();
        let collapsed = (0..self.options.heads).filter(|m| flat(&part(first + m, 1.0))).collect();
        let collapsed = if self.scope.both { collapsed } else { self.report.collapsed.clone() };
        (shares(&parts), collapsed)
    }

    /// Columns that the linear head has coefficients of.
    fn width(&self) -> usize {
        if self.options.linear { self.inputs.columns } else { 0 }
    }

    /// What the mixture takes of some training rows that read others of those at some places, in order.
    fn features_at(&self, queries: &[usize], places: &[usize]) -> Vec<Vec<f64>> {
        let linear = self.width();
        let memories = self.memories_at(places);
        let mut before = vec![0.0; places.len() + 1];
        places.iter().enumerate().for_each(|(i, at)| before[i + 1] = before[i] + self.targets[*at]);
        // (Predictions from other rows than the fit's are not about their mean.)
        let centred = self.own && self.scope.both;
        let of_group = |group: &[usize]| -> Vec<Vec<f64>> {
            // (The last query stands in for those that are missing.)
            let members: [usize; HELD] = std::array::from_fn(|row| group[row.min(group.len() - 1)]);
            let hidden = members.map(|at| self.hidden(at, places));
            let inputs =
                members.map(|at| -> Vec<f64> { (0..self.inputs.columns).map(|c| self.inputs.column(c)[at]).collect() });
            let mut features: Vec<Vec<f64>> =
                inputs.iter().map(|x| std::iter::once(1.0).chain(x[..linear].iter().copied()).collect()).collect();
            let mean = |[first, second]: &Hidden| {
                let sum = |range: &Range<usize>| before[range.end] - before[range.start];
                let count = places.len() - first.len() - second.len();
                (before[places.len()] - sum(first) - sum(second)) / count.max(1) as f64
            };
            let means = hidden.each_ref().map(|hidden| if centred { mean(hidden) } else { 0.0 });
            for (memory, factor) in memories.iter().zip(&self.parameters.factors) {
                let keyed = inputs.each_ref().map(|x| query(factor, x));
                let reads = memory.read(keyed.each_ref().map(|q| &q[..]), &hidden);
                features.iter_mut().zip(reads.iter().zip(&means)).for_each(|(f, (z, mean))| f.push(z - mean));
            }
            features.truncate(group.len());
            features
        };
        let groups: Vec<&[usize]> = queries.chunks(HELD).collect();
        let features: Vec<Vec<Vec<f64>>> = groups.into_par_iter().map(checked(of_group)).collect();
        features.concat()
    }

    /// Keys and targets of the rows at some places, as training rows read them.
    pub(super) fn memories_at(&self, places: &[usize]) -> Vec<Memory> {
        let column = |c: usize| places.iter().map(|at| self.inputs.column(c)[*at]).collect();
        let inputs: Vec<Vec<f64>> = (0..self.inputs.columns).map(column).collect();
        let inputs = Inputs::of(places.len(), &inputs);
        let targets: Vec<f64> = places.iter().map(|at| self.targets[*at]).collect();
        let decay = super::prepare::decay(&self.options.mask);
        let age = |i: usize| decay * (self.targets.len() - places[i]) as f64;
        let memory = |factor: &Vec<Vec<f64>>| {
            let keys = Keys::of(places.len(), &inputs.keyed(factor));
            Memory::of(keys, &targets, self.options.score, age)
        };
        self.parameters.factors.iter().map(memory).collect()
    }

    /// Which of some places, in order, a row does not read.
    fn hidden(&self, at: usize, places: &[usize]) -> Hidden {
        let place = |row: usize| places.partition_point(|place| *place < row);
        self.scope.hidden(at, self.targets.len()).map(|range| place(range.start)..place(range.end))
    }

    /// The normal equations of some rows; none where coefficients were searched.
    fn equations(&self, features: &[Vec<f64>]) -> Option<Equations> {
        if self.options.coefficients == Coefficients::Searched {
            return None;
        }
        let linear = self.width();
        let size = 1 + linear + self.options.heads;
        let count = features.len() as f64;
        let mut matrix = vec![0.0; size * size];
        for row in features {
            for (i, a) in row.iter().enumerate() {
                row.iter().enumerate().for_each(|(j, b)| matrix[i * size + j] += a * b);
            }
        }
        for i in 0..size {
            let penalty = if i > linear { self.options.mixing * count } else { 0.0 };
            matrix[i * size + i] += 1e-12 * (matrix[i * size + i] + count) + penalty;
        }
        Equations::of(matrix, size)
    }
}

fn times(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::super::noise::wave;
    use super::super::options::{Ranks, Score};
    use super::super::weights::Weights;
    use super::*;

    #[test]
    fn more_rows_to_read_predict_better_than_the_sample_alone() {
        let columns: Vec<Vec<f64>> = (0..2).map(|c| wave(1200, 5000.0 * c as f64)).collect();
        let noise = wave(1200, 90_000.0);
        let y: Vec<f64> =
            (0..1200).map(|i| (8.0 * columns[0][i]).sin() * columns[1][i] + 0.5 * (noise[i] - 0.5)).collect();
        let inputs: Vec<&[f64]> = columns.iter().map(|c| &c[..]).collect();
        for mask in [Mask::Others, Mask::Blocks((0..1200).map(|i| i / 20).collect())] {
            let options = Options { mask, heads: 2, ..Options::default() };
            let model = AttentionRegression::fit_sample(&inputs, &y, options.clone(), 200).unwrap();
            let sampled = model.report.sampled.unwrap();
            assert!(sampled.rows == 200 && sampled.queries == 1200, "{sampled:?}");
            assert!(sampled.error < sampled.error_sample && sampled.width >= 1.0, "{sampled:?}");
            let whole = AttentionRegression::fit_sample(&inputs, &y, options, 1200).unwrap();
            assert!(whole.report.sampled.is_none());
            assert!(model.learned().trained_on(&inputs, &y));
            assert!(sampled.error < 1.3 * whole.report.residual, "{sampled:?} {}", whole.report.residual);
        }
    }

    #[test]
    fn queries_read_what_the_loss_reads() {
        let rows = 61;
        let columns: Vec<Vec<f64>> = (0..2).map(|c| wave(rows, 500.0 * c as f64)).collect();
        let y: Vec<f64> = (0..rows).map(|i| (6.0 * columns[0][i]).sin() + columns[1][i]).collect();
        let inputs: Vec<&[f64]> = columns.iter().map(|c| &c[..]).collect();
        let blocks = Mask::Blocks((0..rows as u64).map(|i| i * 5 % 7).collect());
        for mask in [Mask::Others, Mask::Before, Mask::Window(9), Mask::Decay(12.0), blocks] {
            for score in [Score::Distance, Score::Dot, Score::Polynomial { degree: 2 }] {
                if matches!(mask, Mask::Decay(_)) && score.power() > 0 {
                    continue;
                }
                let ranks = if score == Score::Dot { Ranks::Yes } else { Ranks::No };
                let options = Options { heads: 2, steps: 3, score, mask: mask.clone(), ranks, ..Options::default() };
                let model = AttentionRegression::fit(&inputs, &y, options).unwrap();
                // All rows are queries and read all: the fit's own least squares, to the last digits of a little on the diagonal.
                let all: Vec<usize> = (0..rows).collect();
                let (error, mixture) = model.solved_at(&all, &all);
                let left_out = model.left_out();
                let expected = left_out.iter().map(|e| (e / model.target_scale).powi(2)).sum::<f64>() / rows as f64;
                assert!((error - expected).abs() < 1e-9, "{mask:?} {score:?} {error} {expected}");
                assert!(mixture.heads.iter().zip(&model.mixture.heads).all(|(a, b)| (a - b).abs() < 1e-6));
                // Of a few queries and rows alone: those a loss of these rows has, where each reads no other than them.
                let some: Vec<usize> = (0..rows).filter(|i| i % 3 > 0).collect();
                let (error, _) = model.solved_at(&some, &some);
                let (few, few_y) = folds::rows(&inputs, &y, &some);
                if matches!(mask, Mask::Others) {
                    let few: Vec<&[f64]> = few.iter().map(|c| &c[..]).collect();
                    let mut again = model.learned().with_rows(&few, &few_y, None).unwrap();
                    again.own = true;
                    let all: Vec<usize> = (0..some.len()).collect();
                    assert!((error - again.solved_at(&all, &all).0).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn weights_of_a_sample_make_the_predictions_and_are_read_back() {
        let rows = 400;
        let columns: Vec<Vec<f64>> = (0..2).map(|c| wave(rows, 500.0 * c as f64)).collect();
        let y: Vec<f64> = (0..rows).map(|i| 4.0 + (6.0 * columns[0][i]).sin() + columns[1][i]).collect();
        let inputs: Vec<&[f64]> = columns.iter().map(|c| &c[..]).collect();
        let new: [&[f64]; 2] = [&[0.2, 0.9], &[0.7, 0.1]];
        let blocks: Vec<u64> = (0..rows as u64).map(|i| i * 5 % 40).collect();
        for mask in [Mask::Others, Mask::All, Mask::Before, Mask::Decay(50.0), Mask::Blocks(blocks.clone())] {
            for linear in [true, false] {
                let own = matches!(mask, Mask::Blocks(_)).then(|| blocks.clone());
                let options = Options { heads: 2, steps: 5, mask: mask.clone(), linear, ..Options::default() };
                let mut model = AttentionRegression::fit_sample(&inputs, &y, options, 100).unwrap();
                // (As of many rows: the mixture solved at some of them.)
                let some: Vec<usize> = (0..rows).filter(|i| i % 3 == 1).collect();
                model.mixture = model.solved_at(&model.places(&some), &(0..rows).collect::<Vec<_>>()).1;
                model.solved = Some(some);
                for model in [model.clone(), model.learned().with_rows(&inputs, &y, own.clone()).unwrap()] {
                    let predictions = model.predict(&new).unwrap();
                    for (weights, prediction) in Weights::of(&model).weights(&new).unwrap().iter().zip(predictions) {
                        let sum: f64 = weights.iter().zip(&y).map(|(w, y)| w * y).sum();
                        assert!((sum - prediction).abs() < 1e-8, "{mask:?} {linear}: {sum} and {prediction}");
                        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-8);
                    }
                }
                // In another order the rows of the solution are not known: the heads alone, and the rest beside them.
                let turned = |values: &[f64]| values.iter().rev().copied().collect::<Vec<f64>>();
                let (columns, y): (Vec<_>, _) = (inputs.iter().map(|column| turned(column)).collect(), turned(&y));
                let columns: Vec<&[f64]> = columns.iter().map(|column| &column[..]).collect();
                let blocks = own.map(|blocks| blocks.into_iter().rev().collect());
                let other = model.learned().with_rows(&columns, &y, blocks).unwrap();
                let found = &Weights::of(&other).explain(&new, 3).unwrap()[0];
                assert!(found.constant.abs() > 1e-4, "{mask:?} {linear}: {found:?}");
                assert!((found.prediction - other.predict(&new).unwrap()[0]).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn rows_do_not_read_themselves_where_errors_are_measured_and_many_columns_are_no_harm() {
        let rows = 300;
        let columns: Vec<Vec<f64>> = (0..60).map(|c| wave(rows, 500.0 * c as f64)).collect();
        let noise = wave(rows, 90_000.0);
        for (width, mask) in [(1, Mask::All), (1, Mask::Others), (60, Mask::Others)] {
            let inputs: Vec<&[f64]> = columns[..width].iter().map(|c| &c[..]).collect();
            let options = Options { heads: 1, steps: 20, penalty: 1e-3, mask, ..Options::default() };
            let model = AttentionRegression::fit_sample(&inputs, &noise, options, 100).unwrap();
            let sampled = model.report.sampled.unwrap();
            assert!(sampled.error > 0.9 && sampled.queries == rows, "{width} {sampled:?}");
            let shares = &model.report.shares;
            assert!(shares.len() == 2 && (shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{shares:?}");
        }
        let short = Options { mask: Mask::Blocks(vec![1; 400]), ..Options::default() };
        assert!(matches!(
            AttentionRegression::fit_sample(&[&columns[0]], &noise, short, 100),
            Err(Error::Shape { what: "the blocks", expected: 300, got: 400 })
        ));
    }
}

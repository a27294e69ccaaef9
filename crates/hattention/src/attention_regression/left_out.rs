//! What rows are off by when they are left out, metrics held.

use std::ops::Range;

use rayon::prelude::*;

use super::fit::AttentionRegression;
use super::head::{Read, Reading, read};
use super::options::{Coefficients, Mask};
use super::scope::Scope;
use crate::interrupt::checked;
use crate::linalg::{invert_symmetric, solve_symmetric};

/// Rows that were left out, each with those of its block.
#[derive(Clone, Debug)]
pub(super) struct LeftOut {
    /// What each row is off by, in units of the target's deviation and the kept order.
    pub(super) errors: Vec<f64>,
    /// Rows that are left out together: one each, but under a mask of blocks.
    pub(super) units: Vec<Range<usize>>,
    /// What leaving each of these out takes off the mixture: constant, slopes, heads.
    pub(super) changes: Vec<Vec<f64>>,
}

impl LeftOut {
    /// Of the rows that a model reads. Rows of others than the fit's have no part in its mixture.
    pub(super) fn of(model: &AttentionRegression) -> Self {
        let rows = model.inputs.rows;
        // (A row that reads itself says nothing of new rows.)
        let others = Scope::of(rows, true, false, |i| 0..i);
        let scope = if model.options.mask == Mask::All { &others } else { &model.scope };
        let mut reads = reads(model, scope);
        if !model.own {
            reads.iter_mut().for_each(|read| read.centred.clone_from(&read.values));
        }
        let mixture = &model.mixture;
        let problem = model.problem();
        let ones = vec![1.0; rows];
        let features = problem.features(&ones, &reads);
        let coefficients: Vec<f64> =
            std::iter::once(mixture.constant).chain(mixture.slopes.clone()).chain(mixture.heads.clone()).collect();
        let off = |features: &[&[f64]], i: usize| {
            model.targets[i] - features.iter().zip(&coefficients).map(|(f, c)| f[i] * c).sum::<f64>()
        };
        let residuals: Vec<f64> = (0..rows).map(|i| off(&features, i)).collect();
        let units = units(model);
        // What the mixture was solved with, where that is not what a row left out reads.
        let own = (model.options.mask == Mask::All).then(|| self::reads(model, &model.scope));
        let fitted = own.as_ref().map_or_else(|| features.clone(), |own| problem.features(&ones, own));
        let size = fitted.len();
        let solved = model.options.coefficients == Coefficients::Solved && model.own;
        let equations = solved.then(|| Equations::of(problem.equations(&fitted), size)).flatten();
        let Some(equations) = equations else {
            let changes = vec![vec![0.0; size]; units.len()];
            return Self { errors: residuals, units, changes };
        };
        let of_unit = |unit: &Range<usize>| {
            let of_row = |i: usize| fitted.iter().map(|feature| feature[i]).collect();
            let rows: Vec<Vec<f64>> = unit.clone().map(of_row).collect();
            if own.is_none() {
                return equations.without(&rows, &residuals[unit.clone()]);
            }
            let left: Vec<f64> = unit.clone().map(|i| off(&fitted, i)).collect();
            let change = equations.without(&rows, &left).1;
            let more = |i: usize| features.iter().zip(&change).map(|(f, c)| f[i] * c).sum::<f64>();
            (unit.clone().map(|i| residuals[i] + more(i)).collect(), change)
        };
        let found: Vec<(Vec<f64>, Vec<f64>)> = units.par_iter().map(checked(of_unit)).collect();
        let (errors, changes): (Vec<Vec<f64>>, Vec<Vec<f64>>) = found.into_iter().unzip();
        Self { errors: errors.concat(), units, changes }
    }
}

/// What all heads read.
fn reads(model: &AttentionRegression, scope: &Scope) -> Vec<Read> {
    let reading = Reading { scope, ..model.reading() };
    let factors = model.parameters.factors.iter();
    factors.map(|factor| read(&model.inputs, factor, &model.targets, reading)).collect()
}

/// Rows, in the kept order, that are left out together.
fn units(model: &AttentionRegression) -> Vec<Range<usize>> {
    let rows = model.inputs.rows;
    let Mask::Blocks(blocks) = &model.options.mask else { return (0..rows).map(|i| i..i + 1).collect() };
    let kept: Vec<u64> = model.order.iter().map(|row| blocks[*row]).collect();
    let mut units = Vec::new();
    let mut first = 0;
    for same in kept.chunk_by(|a, b| a == b) {
        units.push(first..first + same.len());
        first += same.len();
    }
    units
}

/// Coefficients from which on equations without a few rows are not solved anew.
const LARGE: usize = 128;

/// Penalised normal equations and their inverse.
#[derive(Clone, Debug)]
pub(super) struct Equations {
    matrix: Vec<f64>,
    pub(super) inverse: Vec<Vec<f64>>,
}

impl Equations {
    /// Of a matrix, row by row; nothing, if it is singular, which a little on its diagonal prevents.
    pub(super) fn of(matrix: Vec<f64>, size: usize) -> Option<Self> {
        Some(Self { inverse: invert_symmetric(&matrix, size)?, matrix })
    }

    /// Their solution.
    pub(super) fn solve(&self, right: &[f64]) -> Vec<f64> {
        solve_symmetric(&self.matrix, self.inverse.len(), right).unwrap_or_else(|| vec![0.0; right.len()])
    }

    /// What some rows are off by when they have no part in the equations, and what that takes off the coefficients:
    /// `(I − F A⁻¹ Fᵀ)⁻¹ e`, and `A⁻¹ Fᵀ` of it.
    pub(super) fn without(&self, rows: &[Vec<f64>], residuals: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let times = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let solved: Vec<Vec<f64>> =
            rows.iter().map(|f| self.inverse.iter().map(|row| times(row, f)).collect()).collect();
        let errors = match (rows, residuals) {
            ([row], [residual]) => vec![residual / (1.0 - times(&solved[0], row)).max(1e-12)],
            _ => self.errors(rows, &solved, residuals),
        };
        let mut change = vec![0.0; self.inverse.len()];
        for (solved, error) in solved.iter().zip(&errors) {
            change.iter_mut().zip(solved).for_each(|(sum, s)| *sum += s * error);
        }
        (errors, change)
    }

    fn errors(&self, rows: &[Vec<f64>], solved: &[Vec<f64>], residuals: &[f64]) -> Vec<f64> {
        let times = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (count, size) = (rows.len(), self.inverse.len());
        // (Cheaper, but singular where these rows alone tell something.)
        if size > LARGE && 4 * count <= size {
            let mut hat = vec![0.0; count * count];
            for (i, row) in rows.iter().enumerate() {
                solved.iter().enumerate().for_each(|(j, s)| hat[i * count + j] = f64::from(i == j) - times(row, s));
            }
            if let Some(errors) = solve_symmetric(&hat, count, residuals) {
                return errors;
            }
        }
        // `e + F (A − FᵀF)⁻¹ Fᵀe`: the little on the diagonal stays for what these rows alone tell.
        let (mut matrix, mut right) = (self.matrix.clone(), vec![0.0; size]);
        for (row, residual) in rows.iter().zip(residuals) {
            for (i, a) in row.iter().enumerate() {
                row.iter().enumerate().for_each(|(j, b)| matrix[i * size + j] -= a * b);
                right[i] += a * residual;
            }
        }
        let found = solve_symmetric(&matrix, size, &right).unwrap_or_else(|| vec![0.0; size]);
        rows.iter().zip(residuals).map(|(row, e)| e + times(row, &found)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::noise::wave;
    use super::super::options::Options;
    use super::*;

    #[test]
    fn without_heads_rows_and_blocks_left_out_are_those_of_least_squares_without_them() {
        let rows = 60;
        let columns: Vec<Vec<f64>> = (0..2).map(|c| wave(rows, 3.0 + 100.0 * c as f64)).collect();
        let y: Vec<f64> = columns[0].iter().zip(wave(rows, 77.0)).map(|(x, e)| 2.0 * x + e).collect();
        let inputs: Vec<&[f64]> = columns.iter().map(|column| &column[..]).collect();
        // Blocks of two rows, and of twenty: fewer and more than coefficients.
        for blocks in [None, Some(30), Some(3)] {
            let block = |i: usize| blocks.map_or(i, |count| i * 7 % count) as u64;
            let mask = if blocks.is_some() { Mask::Blocks((0..rows).map(block).collect()) } else { Mask::Others };
            let options = Options { heads: 0, mask, ..Options::default() };
            let model = AttentionRegression::fit(&inputs, &y, options).unwrap();
            let found = LeftOut::of(&model);
            for (at, row) in model.order.iter().enumerate() {
                let keep: Vec<usize> = (0..rows).filter(|j| block(*j) != block(*row)).collect();
                let (some, some_y) = super::super::folds::rows(&inputs, &y, &keep);
                let some: Vec<&[f64]> = some.iter().map(|column| &column[..]).collect();
                let options = Options { heads: 0, ..Options::default() };
                let without = AttentionRegression::fit(&some, &some_y, options).unwrap();
                let query: Vec<[f64; 1]> = inputs.iter().map(|column| [column[*row]]).collect();
                let query: Vec<&[f64]> = query.iter().map(|x| &x[..]).collect();
                let off = y[*row] - without.predict(&query).unwrap()[0];
                let error = model.target_scale * found.errors[at];
                assert!((off - error).abs() < 1e-9, "{blocks:?} {row}: {off} and {error}");
            }
        }
    }

    #[test]
    fn a_column_that_one_block_alone_has_tells_nothing_of_it() {
        let rows = 40;
        let x = wave(rows, 3.0);
        let blocks: Vec<u64> = (0..rows as u64).map(|i| i / 10).collect();
        let last: Vec<f64> = blocks.iter().map(|block| f64::from(*block == 3)).collect();
        let y: Vec<f64> = x.iter().zip(&last).map(|(x, last)| x + 5.0 * last).collect();
        let options = Options { heads: 0, mask: Mask::Blocks(blocks), ..Options::default() };
        let model = AttentionRegression::fit(&[&x, &last], &y, options).unwrap();
        let found = LeftOut::of(&model).errors;
        assert!(found[..30].iter().all(|e| e.abs() < 1e-6), "{found:?}");
        // (Where the column is constant its coefficient and the constant share what is left.)
        assert!(found[30..].iter().all(|e| model.target_scale * e > 2.0), "{found:?}");
    }

    #[test]
    fn with_heads_rows_left_out_are_those_of_the_least_squares_of_the_others_reads() {
        let rows = 50;
        let columns: Vec<Vec<f64>> = (0..2).map(|c| wave(rows, 3.0 + 100.0 * c as f64)).collect();
        let y: Vec<f64> = columns[0].iter().zip(wave(rows, 77.0)).map(|(x, e)| (6.0 * x).sin() + e).collect();
        let inputs: Vec<&[f64]> = columns.iter().map(|column| &column[..]).collect();
        let (tau, heads) = (0.02, 2);
        let options = Options { heads, mixing: tau, penalty: 0.5, ..Options::default() };
        let model = AttentionRegression::fit(&inputs, &y, options).unwrap();
        let found = model.left_out();
        let (metrics, scale) = (model.metrics(), model.target_scale);
        let z: Vec<f64> = model.targets.clone();
        let x = |i: usize| -> Vec<f64> { (0..2).map(|c| model.inputs.column(c)[i]).collect() };
        // What row i reads of all others, by the formula, about their mean.
        let read = |m: usize, i: usize| -> f64 {
            let kernel = |j: usize| {
                let d: Vec<f64> = x(i).iter().zip(x(j)).map(|(a, b)| a - b).collect();
                let square: f64 = (0..4).map(|k| d[k / 2] * metrics[m][k / 2][k % 2] * d[k % 2]).sum();
                (-0.5 * square).exp()
            };
            let others = || (0..rows).filter(|j| *j != i);
            let total: f64 = others().map(kernel).sum();
            let mean = others().map(|j| z[j]).sum::<f64>() / (rows - 1) as f64;
            others().map(|j| kernel(j) * z[j]).sum::<f64>() / total - mean
        };
        let features: Vec<Vec<f64>> = (0..rows)
            .map(|i| std::iter::once(1.0).chain(x(i)).chain((0..heads).map(|m| read(m, i))).collect())
            .collect();
        for out in [0, 17, 49] {
            let size = 3 + heads;
            let (mut matrix, mut right) = (vec![0.0; size * size], vec![0.0; size]);
            for i in (0..rows).filter(|i| *i != out) {
                for a in 0..size {
                    right[a] += features[i][a] * z[i];
                    (0..size).for_each(|b| matrix[a * size + b] += features[i][a] * features[i][b]);
                }
            }
            (3..size).for_each(|a| matrix[a * size + a] += tau * rows as f64);
            let solved = solve_symmetric(&matrix, size, &right).unwrap();
            let off = z[out] - solved.iter().zip(&features[out]).map(|(c, f)| c * f).sum::<f64>();
            assert!((scale * off - found[out]).abs() < 1e-7, "{out}: {} {}", scale * off, found[out]);
        }
    }
}

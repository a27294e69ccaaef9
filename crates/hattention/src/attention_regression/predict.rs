//! Predictions of new rows.

use rayon::prelude::*;

use super::across::{Across, Hidden, Table};
use super::fit::AttentionRegression;
use super::options::Score;
use super::pairs::{HELD, Keys};
use super::prepare::check;
use crate::error::Error;
use crate::exponential::{Machine, Work, dispatch, exp};
use crate::interrupt::checked;

/// Keys and values of a head, as new rows read them.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    pub(super) keys: Keys,
    /// What is added to the exponent of a key; `−∞` beyond the last row.
    pub(super) added: Vec<f64>,
    values: Vec<f64>,
    power: u32,
}

impl Memory {
    /// Of keys and targets; exponents of a row are less by its age, infinite for one that is not read.
    pub(super) fn of(keys: Keys, targets: &[f64], score: Score, age: impl Fn(usize) -> f64) -> Self {
        let added = |i: usize| match score {
            _ if i >= keys.rows => f64::NEG_INFINITY,
            Score::Distance => keys.half_norms[i] - age(i),
            Score::Dot | Score::Polynomial { .. } => -age(i),
        };
        let added = (0..keys.padded).map(added).collect();
        let mut values = targets.to_vec();
        values.resize(keys.padded, 0.0);
        Self { keys, added, values, power: score.power() }
    }

    /// What four queries read, without what is hidden from each; the mean, zero, if that is nothing.
    pub(super) fn read(&self, queries: [&[f64]; HELD], hidden: &[Hidden; HELD]) -> [f64; HELD] {
        let mut reads = [0.0; HELD];
        let Self { keys, added, values, power } = self;
        let table = Table { keys: &keys.data, padded: keys.padded, added, values, power: *power };
        dispatch(Across { table, queries, hidden, reads: &mut reads });
        reads
    }

    /// The weights of all rows for a query, which sum to one.
    pub(super) fn softmax(&self, query: &[f64]) -> Vec<f64> {
        self.softmax_without(query, &Hidden::default())
    }

    /// The same where some rows are not read; zeros, if none is.
    pub(super) fn softmax_without(&self, query: &[f64], hidden: &Hidden) -> Vec<f64> {
        let mut scores = if self.power > 0 { vec![1.0; self.keys.padded] } else { self.added.clone() };
        for (c, q) in query.iter().enumerate() {
            scores.iter_mut().zip(self.keys.column(c)).for_each(|(s, k)| *s += q * k);
        }
        if self.power > 0 {
            let there = |added: &f64| f64::from(*added > f64::NEG_INFINITY);
            scores.iter_mut().zip(&self.added).for_each(|(s, a)| *s = there(a) * s.powi(self.power as i32));
            hidden.iter().for_each(|range| scores[range.clone()].fill(0.0));
        } else {
            hidden.iter().for_each(|range| scores[range.clone()].fill(f64::NEG_INFINITY));
            let largest = scores.iter().fold(f64::MIN, |most, s| most.max(*s));
            dispatch(Exponentials { scores: &mut scores, largest });
        }
        scores.truncate(self.keys.rows);
        let sum: f64 = scores.iter().sum();
        if sum > 0.0 {
            scores.iter_mut().for_each(|s| *s /= sum);
        }
        scores
    }
}

/// `e^(s − largest)` in place of scores, whole vectors of them; zero for those that are `−∞`.
struct Exponentials<'a> {
    scores: &'a mut [f64],
    largest: f64,
}

impl Work for Exponentials<'_> {
    #[inline(always)]
    fn on<S: Machine>(self, simd: S) {
        let (largest, least) = (simd.splat_f64s(self.largest), simd.splat_f64s(f64::MIN));
        for score in S::as_mut_simd_f64s(self.scores).0 {
            let there = simd.less_than_f64s(least, *score);
            let value = exp(simd, simd.sub_f64s(*score, largest));
            *score = simd.select_f64s(there, value, simd.splat_f64s(0.0));
        }
    }
}

impl AttentionRegression {
    /// Predictions of rows.
    ///
    /// # Shapes
    /// As many columns as in the fit, each `[rows]`; the result: `[rows]`.
    ///
    /// # Numerics
    /// `M n P` multiplications and `M n` exponentials a row, in vectors; every new row reads all training rows, under
    /// [`Mask::Window`](super::Mask::Window) the last of them, under [`Mask::Decay`](super::Mask::Decay) as the row after the
    /// last would.
    ///
    /// # Errors
    /// [`Error::Shape`] for other columns, [`Error::NonFinite`] for NaN or infinity.
    pub fn predict(&self, columns: &[&[f64]]) -> Result<Vec<f64>, Error> {
        let rows = self.check(columns)?;
        let memories = self.memories();
        let nothing: [Hidden; HELD] = Default::default();
        let of_group = |group: usize| -> Vec<f64> {
            let first = HELD * group;
            let members = HELD.min(rows - first);
            // (The last row stands in for those that are missing.)
            let inputs: [Vec<f64>; HELD] = std::array::from_fn(|row| self.input(columns, first + row.min(members - 1)));
            let mut sums: Vec<f64> = inputs.iter().map(|x| self.linear(x)).collect();
            for ((memory, factor), alpha) in memories.iter().zip(&self.parameters.factors).zip(&self.mixture.heads) {
                let queries: [Vec<f64>; HELD] = std::array::from_fn(|row| query(factor, &inputs[row]));
                let read = memory.read([&queries[0], &queries[1], &queries[2], &queries[3]], &nothing);
                sums.iter_mut().zip(read).for_each(|(sum, z)| *sum += alpha * z);
            }
            sums[..members].iter().map(|z| self.target_mean + self.target_scale * z).collect()
        };
        let groups: Vec<Vec<f64>> = (0..rows.div_ceil(HELD)).into_par_iter().map(checked(of_group)).collect();
        Ok(groups.concat())
    }

    /// Rows of columns that are as in the fit.
    pub(super) fn check(&self, columns: &[&[f64]]) -> Result<usize, Error> {
        let expected = self.inputs.columns;
        if columns.len() != expected {
            return Err(Error::Shape { what: "the columns", expected, got: columns.len() });
        }
        let rows = columns.first().map_or(0, |column| column.len());
        check(columns, rows)?;
        Ok(rows)
    }

    /// A row as the heads read it.
    pub(super) fn input(&self, columns: &[&[f64]], row: usize) -> Vec<f64> {
        let units = columns.iter().zip(self.means.iter().zip(&self.scales));
        let standard = units.map(|(column, (mean, scale))| (column[row] - mean) / scale);
        if self.quantiles.is_empty() {
            return standard.collect();
        }
        standard.zip(&self.quantiles).map(|(x, quantiles)| quantiles.at(x)).collect()
    }

    /// The constant and the linear head.
    pub(super) fn linear(&self, input: &[f64]) -> f64 {
        self.mixture.constant + self.mixture.slopes.iter().zip(input).map(|(b, x)| b * x).sum::<f64>()
    }

    /// Keys and values of all heads.
    pub(super) fn memories(&self) -> Vec<Memory> {
        self.parameters.factors.iter().map(|factor| self.memory(factor)).collect()
    }

    fn memory(&self, factor: &[Vec<f64>]) -> Memory {
        let keys = Keys::of(self.inputs.rows, &self.inputs.keyed(factor));
        let (rows, oldest) = (keys.rows, self.oldest());
        let decay = super::prepare::decay(&self.options.mask);
        let age = |i: usize| if i < oldest { f64::INFINITY } else { decay * (rows - i) as f64 };
        Memory::of(keys, &self.targets, self.options.score, age)
    }

    /// The first row that new rows read.
    pub(super) fn oldest(&self) -> usize {
        match self.options.mask {
            super::Mask::Window(window) => self.inputs.rows.saturating_sub(window),
            _ => 0,
        }
    }
}

/// `Lᵀx`.
pub(super) fn query(factor: &[Vec<f64>], input: &[f64]) -> Vec<f64> {
    let width = input.len();
    (0..width).map(|c| (c..width).map(|p| factor[p][c] * input[p]).sum()).collect()
}

//! What a sample of rows leaves behind for the test: sums, no rows.

use crate::attention::{Kept, Keys, add_multiple};
use crate::block::{Block, Column};
use crate::error::Error;
use crate::exact::centred::Centred;
use crate::memory::{FastMemory, State};
use crate::moments::Moments;
use crate::whitening::Whitening;

/// The sums of a batch (or of the training rows) under a slow memory, built block by block and merged in any order.
///
/// It holds the fast memory of the keys, with `‖k‖²` as its one target, and the first four moments of every column.
/// Observation weights are not read: every row counts once.
///
/// # Laws
/// As for [`Moments`]: order, blocks, threads and merge tree do not change a bit, and merging with empty is the identity.
///
/// # Numerics
/// `O(n p²)` time and `O(p²)` memory. Keys and columns in standard units are rounded to doubles, and no sum after them.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    memory: FastMemory,
    /// Of each kept column in the training rows' units, `z` and `z²`.
    columns: Vec<Moments>,
    /// What centred columns are divided by.
    units: Vec<f64>,
}

/// The first four moments of a column in the training rows' units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ColumnMoments {
    pub(crate) mean: f64,
    /// About the mean, divisor n.
    pub(crate) variance: f64,
    /// Of the standardised column; 3 for a normal law, NaN for a constant.
    pub(crate) kurtosis: f64,
}

impl Sample {
    /// The sample of no rows.
    pub fn new(whitening: &Whitening) -> Self {
        let units = standard_deviations(whitening).unwrap_or_else(|| vec![1.0; whitening.kept.len()]);
        let columns = vec![Moments::new(2); units.len()];
        Self { memory: FastMemory::new(whitening, 1), columns, units }
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.memory.rows()
    }

    /// Adds the rows of a block; `ids[c]` is the state's column of the block's column `c`. On an error nothing is added.
    ///
    /// # Errors
    /// As [`FastMemory::push`]; weights are not read.
    pub fn push(&mut self, whitening: &Whitening, block: &Block<'_>, ids: &[usize]) -> Result<(), Error> {
        let keys = Keys::of(whitening, block, ids)?;
        self.push_keys(whitening, block, ids, &keys)
    }

    /// As [`Sample::push`] of a block whose keys are at hand.
    ///
    /// # Errors
    /// As [`Sample::push`].
    pub fn push_keys(
        &mut self,
        whitening: &Whitening,
        block: &Block<'_>,
        ids: &[usize],
        keys: &Keys,
    ) -> Result<(), Error> {
        let block = Block { weights: None, ..block.clone() };
        let mut norms = vec![0.0; block.rows];
        for component in &keys.components[1..] {
            norms.iter_mut().zip(component).for_each(|(norm, k)| *norm = k.mul_add(*k, *norm));
        }
        self.memory.push_keys(keys, &block, &[Column::Dense(&norms)])?;
        let (mut z, mut squares) = (vec![0.0; block.rows], vec![0.0; block.rows]);
        let kept = Kept::all(whitening, &block, ids);
        for (((column, mean), unit), moments) in
            kept.iter().zip(&whitening.means).zip(&self.units).zip(&mut self.columns)
        {
            column.centre(0..block.rows, *mean, &mut z);
            z.iter_mut().for_each(|z| *z /= unit);
            squares.iter_mut().zip(&z).for_each(|(square, z)| *square = z * z);
            let columns = vec![Column::Dense(&z), Column::Dense(&squares)];
            moments.push(&Block { rows: block.rows, columns, weights: None })?;
        }
        Ok(())
    }

    /// Adds the rows of another sample under the same slow memory.
    ///
    /// # Errors
    /// [`Error::IncompatibleStates`] for another slow memory.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        self.memory.merge(&other.memory)?;
        self.columns.iter_mut().zip(&other.columns).for_each(|(mine, theirs)| mine.merge(theirs));
        Ok(())
    }

    /// The sample's state `S`.
    ///
    /// # Errors
    /// As [`FastMemory::state`].
    pub fn state(&self, whitening: &Whitening) -> Result<State, Error> {
        self.memory.state(whitening)
    }

    /// `(1/n) Σ ‖k‖⁴`, with keys in the units of [`Sample::state`].
    pub(crate) fn fourth_moment(&self, whitening: &Whitening) -> f64 {
        self.memory.target_squares() / self.rows() as f64 * whitening.weight_total.powi(2)
    }

    /// Moments of every kept column.
    pub(crate) fn column_moments(&self) -> Vec<ColumnMoments> {
        self.columns.iter().map(column_moments).collect()
    }

    /// What the columns are divided by. Shape: `[kept]`.
    pub(crate) fn units(&self) -> &[f64] {
        &self.units
    }
}

fn column_moments(moments: &Moments) -> ColumnMoments {
    let sums = Centred::<4>::new(&moments.sums, true);
    let count = moments.rows() as f64;
    // z about its mean m: Σ(z − m)⁴ = Σ(s − 2mz)² about its mean, plus n times the square of that mean, s = z².
    let mean = sums.mean(1).to_f64();
    let (zz, zs, ss) = (sums.product(1, 1).to_f64(), sums.product(1, 2).to_f64(), sums.product(2, 2).to_f64());
    let variance = zz / count;
    let fourth = (ss - 4.0 * mean * zs + 4.0 * mean * mean * zz) / count + variance * variance;
    ColumnMoments { mean, variance, kurtosis: fourth / (variance * variance) }
}

/// The kept columns about their means as combinations of the keys in the units of [`State`]; `None` where the keys do
/// not say (principal components). Shape: `[kept][keys]`.
///
/// With keys `k = M(x − x̄)`, `M` lower triangular, this is `M⁻¹/√Σw`.
pub fn column_basis(whitening: &Whitening) -> Option<Vec<Vec<f64>>> {
    let size = whitening.kept.len();
    let triangular = |(j, row): (usize, &Vec<f64>)| row.len() > j && row.iter().skip(j + 1).all(|x| *x == 0.0);
    if whitening.keys() != size || !whitening.key_map.iter().enumerate().all(triangular) {
        return None;
    }
    // Forward substitution: F_c = (e_c − Σ_{i<c} M_ci F_i)/M_cc.
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(size);
    for (c, map) in whitening.key_map.iter().enumerate() {
        let mut row = vec![0.0; size];
        row[c] = 1.0;
        for (factor, earlier) in map[..c].iter().zip(&rows) {
            add_multiple(earlier, -factor, &mut row);
        }
        row.iter_mut().for_each(|x| *x /= map[c]);
        rows.push(row);
    }
    let root = whitening.weight_total.sqrt();
    rows.iter_mut().flatten().for_each(|x| *x /= root);
    rows.iter().flatten().all(|x| x.is_finite()).then_some(rows)
}

/// Standard deviations (divisor n) of the kept columns over the training rows, if the slow memory tells them: for least
/// squares with an intercept, where `Σ k kᵀ = I`. Shape: `[kept]`.
pub(crate) fn standard_deviations(whitening: &Whitening) -> Option<Vec<f64>> {
    if whitening.filter != crate::design::Filter::Ols || !whitening.design.intercept {
        return None;
    }
    let length = |row: &Vec<f64>| {
        let largest = row.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        largest * row.iter().map(|x| (x / largest).powi(2)).sum::<f64>().sqrt()
    };
    let lengths: Vec<f64> = column_basis(whitening)?.iter().map(length).collect();
    lengths.iter().all(|sd| *sd > 0.0).then_some(lengths)
}

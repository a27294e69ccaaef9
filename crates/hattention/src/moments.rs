//! The mergeable state of least squares: every sum of products of the columns, exactly.

mod blocks;
mod of_table;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::block::{Block, Column};
use crate::error::Error;
use crate::exact::accumulator::Accumulator;
use crate::exact::chunk::Chunk;
use crate::exact::float::Float;
use crate::exact::kernel::Kernel;
use crate::exact::planes::Digits;
use crate::exact::{stored, wide};
use blocks::add_block;

/// The sums `Σᵢ wᵢ aᵢ bᵢ` over all pairs of columns (design, targets and the constant), as exact numbers.
///
/// The constant column is always present as column 0; the columns of the blocks follow as 1, 2, …. Whether an intercept
/// is fitted is decided when the state is read, not when it is built.
///
/// # Laws
/// - Pushing is associative and commutative *in bits*: any order, chunking, thread count, instruction set or merge tree
///   gives an equal state, because nothing is ever rounded.
/// - A row pushed and removed leaves a state equal to one that never saw it.
/// - Merging with an empty state is the identity.
///
/// # Numerics
/// Cost `O(n p²)`, near the speed of a double-precision matrix product; memory `O(p²)` numbers of 200 to 300 bits for
/// ordinary data (more only if one column spans many orders of magnitude). No overflow, underflow or cancellation.
///
/// # Example
/// ```
/// use hattention::{Block, Column, Moments};
/// let (x, y) = ([1.0, 2.0, 1e300], [1e-300, 0.1, 0.2]);
/// let both = Block { rows: 3, columns: vec![Column::Dense(&x), Column::Dense(&y)], weights: None };
/// let mut state = Moments::of(&both).unwrap();
/// let first = Block { rows: 1, columns: vec![Column::Dense(&x[..1]), Column::Dense(&y[..1])], weights: None };
/// state.remove(&first).unwrap();
/// let rest = Block { rows: 2, columns: vec![Column::Dense(&x[1..]), Column::Dense(&y[1..])], weights: None };
/// assert_eq!(state, Moments::of(&rest).unwrap());
/// ```
#[derive(Clone, Debug)]
pub struct Moments {
    pub(crate) sums: Accumulator,
    /// Rows with positive weight.
    pub(crate) rows: u64,
    /// `Σ log wᵢ` beside `Σ wᵢ`-free ones, for the log-likelihood: products of (1, log w).
    pub(crate) log_weights: Option<Accumulator>,
    /// Of the constant and of every column: how many numbers came, and how many of them no double holds.
    pub(crate) stored: Vec<Stored>,
    /// What was taken out of the columns, where sums are those of residuals.
    pub(crate) taken: Option<Arc<Taken>>,
}

/// The effects that were taken out of the columns of a state, and how well: entry `c` of the lists is column `c` of the
/// table.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    /// Names of the effects.
    pub(crate) names: Vec<String>,
    /// Their levels less what is redundant among them.
    pub(crate) coefficients: usize,
    /// Lengths of the columns before, about zero.
    pub(crate) lengths: Vec<Float<4>>,
    /// What the columns are off by at most, in length: a product of two is off by that of theirs.
    pub(crate) errors: Vec<Float<4>>,
}

/// How many numbers of a column came, those of other levels not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) numbers: u64,
    /// How many came as pairs. A block of a computed column may be doubles because all its numbers happen to be.
    pub(crate) pairs: u64,
    /// How many of these no double holds: a property of the rows, and not of how they were cut into blocks.
    pub(crate) beyond: u64,
}

impl Stored {
    /// Whether all numbers came as pairs that doubles hold.
    pub(crate) fn only_pairs(&self) -> bool {
        self.beyond == 0 && self.numbers > 0 && self.pairs == self.numbers
    }

    fn change(&mut self, by: &Self, negate: bool) {
        let change = |count: &mut u64, by: u64| *count = if negate { count.saturating_sub(by) } else { *count + by };
        change(&mut self.numbers, by.numbers);
        change(&mut self.pairs, by.pairs);
        change(&mut self.beyond, by.beyond);
    }
}

/// How exactly the entries of a column are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    /// Zeros and ones.
    Exact,
    /// Rounded to pairs of doubles.
    Pair,
    /// Rounded to doubles.
    Double,
}

/// Columns that a state can have: their table of products would take more than any machine's memory.
pub(crate) const LARGEST_COLUMNS: usize = 1 << 20;

impl PartialEq for Moments {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
            && self.sums == other.sums
            && match (&self.log_weights, &other.log_weights) {
                (None, None) => true,
                (Some(a), Some(b)) => a == b,
                (Some(a), None) | (None, Some(a)) => a == &Accumulator::new(2),
            }
    }
}

impl Moments {
    /// The state of no rows, for blocks of `columns` columns.
    pub fn new(columns: usize) -> Self {
        Self {
            sums: Accumulator::new(columns + 1),
            rows: 0,
            log_weights: None,
            stored: vec![Stored::default(); columns + 1],
            taken: None,
        }
    }

    /// The state of one block, using all threads of the current rayon pool.
    ///
    /// # Errors
    /// As [`Moments::push`].
    pub fn of(block: &Block<'_>) -> Result<Self, Error> {
        let mut state = Self::new(block.columns.len());
        state.push(block)?;
        Ok(state)
    }

    /// Rows with positive weight.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Columns beside the constant.
    pub fn columns(&self) -> usize {
        self.sums.columns() - 1
    }

    /// Heap memory of the state in bytes.
    pub fn bytes(&self) -> usize {
        self.sums.bytes()
    }

    /// Adds the rows of a block. On an error nothing is added.
    ///
    /// # Errors
    /// - [`Error::Shape`]: a column or the weights are not as long as the block, or the block has more columns than the state.
    /// - [`Error::NonFinite`], [`Error::Weight`]: NaN or infinity in a column, or a weight that is negative or not finite.
    pub fn push(&mut self, block: &Block<'_>) -> Result<(), Error> {
        let ids = self.all_columns(block)?;
        self.accumulate(block, &ids, false)
    }

    /// The state's columns, if the block has just as many.
    fn all_columns(&self, block: &Block<'_>) -> Result<Vec<usize>, Error> {
        let (expected, got) = (self.columns(), block.columns.len());
        if expected == got {
            Ok((0..got).collect())
        } else {
            Err(Error::Shape { what: "the list of columns", expected, got })
        }
    }

    /// Adds the rows of a block whose columns are the given ones of the state; the others are zero in these rows.
    ///
    /// The state grows when an index is new, so that levels of a factor can be found while reading.
    ///
    /// # Errors
    /// As [`Moments::push`]; [`Error::Parameter`] for a column named twice or an index of 2²⁰ or more.
    pub fn push_at(&mut self, block: &Block<'_>, columns: &[usize]) -> Result<(), Error> {
        self.accumulate(block, columns, false)
    }

    /// Takes out rows that were pushed before.
    ///
    /// # Errors
    /// As [`Moments::push`]; [`Error::RemovedTooMany`].
    pub fn remove(&mut self, block: &Block<'_>) -> Result<(), Error> {
        let ids = self.all_columns(block)?;
        self.accumulate(block, &ids, true)
    }

    /// As [`Moments::remove`], for the given columns of the state.
    ///
    /// # Errors
    /// As [`Moments::remove`].
    pub fn remove_at(&mut self, block: &Block<'_>, columns: &[usize]) -> Result<(), Error> {
        self.accumulate(block, columns, true)
    }

    /// Adds the rows of another state; the shorter list of columns is taken as zero beyond its end.
    pub fn merge(&mut self, other: &Self) {
        self.sums.merge(&other.sums, false);
        self.rows += other.rows;
        merge_options(&mut self.log_weights, &other.log_weights, false);
        self.stored.resize(self.sums.columns(), Stored::default());
        for (mine, theirs) in self.stored.iter_mut().zip(&other.stored) {
            mine.change(theirs, false);
        }
    }

    /// Takes out the rows of another state.
    ///
    /// # Errors
    /// [`Error::RemovedTooMany`] if the other state has more rows than this one.
    pub fn subtract(&mut self, other: &Self) -> Result<(), Error> {
        self.rows =
            self.rows.checked_sub(other.rows).ok_or(Error::RemovedTooMany { rows: self.rows, removed: other.rows })?;
        self.sums.merge(&other.sums, true);
        merge_options(&mut self.log_weights, &other.log_weights, true);
        self.stored.resize(self.sums.columns(), Stored::default());
        for (mine, theirs) in self.stored.iter_mut().zip(&other.stored) {
            mine.change(theirs, true);
        }
        Ok(())
    }

    /// The state of the given columns, in their order.
    ///
    /// # Errors
    /// [`Error::Shape`] if an index is not a column of the state.
    pub fn select(&self, columns: &[usize]) -> Result<Self, Error> {
        if let Some(&outside) = columns.iter().find(|&&c| c >= self.columns()) {
            return Err(Error::Shape { what: "the state", expected: outside + 1, got: self.columns() });
        }
        let with_constant: Vec<usize> = std::iter::once(0).chain(columns.iter().map(|c| c + 1)).collect();
        Ok(Self {
            sums: self.sums.select(&with_constant),
            rows: self.rows,
            log_weights: self.log_weights.clone(),
            stored: with_constant.iter().map(|&c| self.stored[c]).collect(),
            taken: None,
        })
    }

    /// Whether a column (of the blocks, from 0) is zero in all rows.
    pub fn is_zero_column(&self, column: usize) -> bool {
        column >= self.columns() || self.is_zero(column + 1)
    }

    fn is_zero(&self, column: usize) -> bool {
        self.sums.entry(column, column).is_none_or(|(words, _)| wide::is_zero(words))
    }

    /// The first column whose sums no rows can have: column 0 is the constant, and those of the blocks follow. A state of
    /// rows that were only pushed, merged, and removed after having been pushed, has none.
    ///
    /// Checked exactly: sums of squares are not negative, `(Σ w a)² ≤ Σ w · Σ w a²`, and the other products are zero where
    /// a square is and not much larger than their squares allow. (That is necessary, not sufficient.)
    pub fn impossible_column(&self) -> Option<usize> {
        let entries = stored::entries(&self.sums);
        let sizes = stored::check(self.sums.columns(), &entries).err().map(|(column, _)| column);
        sizes.or_else(|| self.impossible_centre())
    }

    /// The first column whose square is not as large as its mean asks; or the first that is not zero, of no rows.
    pub(crate) fn impossible_centre(&self) -> Option<usize> {
        if self.rows == 0 {
            return (0..self.sums.columns()).find(|&column| !self.is_zero(column));
        }
        (1..self.sums.columns()).find(|&column| self.sums.centred_square_is_negative(column))
    }

    /// The same rows with other sums: those of the residuals of their columns.
    pub(crate) fn of_residuals(&self, sums: Accumulator, taken: Taken) -> Self {
        Self { sums, taken: Some(Arc::new(taken)), ..self.clone() }
    }

    /// `Σ log wᵢ`; zero without weights.
    pub fn log_weight_sum(&self) -> f64 {
        let entry = self.log_weights.as_ref().and_then(|sums| sums.entry(0, 1));
        entry.map_or(0.0, |(words, exponent)| Float::<4>::from_wide(words, exponent as i64).to_f64())
    }

    fn accumulate(&mut self, block: &Block<'_>, ids: &[usize], negate: bool) -> Result<(), Error> {
        self.accumulate_by(Kernel::detect(), block, ids, negate)
    }

    fn accumulate_by(&mut self, kernel: Kernel, block: &Block<'_>, ids: &[usize], negate: bool) -> Result<(), Error> {
        check(block, ids)?;
        let counted = block.weights.map_or(block.rows, |w| w.iter().filter(|w| **w > 0.0).count()) as u64;
        let rows = if negate { self.rows.checked_sub(counted) } else { self.rows.checked_add(counted) };
        let rows = rows.ok_or(Error::RemovedTooMany { rows: self.rows, removed: counted })?;
        // Doubles are looked through for infinities on the way; only if there is one is it worth looking where.
        add_block(kernel, &mut self.sums, block, ids, negate).ok_or_else(|| non_finite(block))?;
        self.rows = rows;
        if let Some(weights) = block.weights {
            merge_options(&mut self.log_weights, &Some(log_sums(kernel, weights)), negate);
        }
        self.stored.resize(self.sums.columns(), Stored::default());
        for (&id, more) in ids.iter().zip(stored_of(block)) {
            self.stored[id + 1].change(&more, negate);
        }
        Ok(())
    }

    /// How exactly the entries of a column are known; column 0 is the constant. A column with one number that takes a pair
    /// is a computed one, and known to pairs in all rows.
    pub(crate) fn precision(&self, column: usize) -> Precision {
        match self.stored.get(column) {
            Some(stored) if stored.beyond > 0 || stored.only_pairs() => Precision::Pair,
            Some(Stored { numbers: 1.., .. }) => Precision::Double,
            _ => Precision::Exact,
        }
    }
}

/// What is counted of every column of a block.
fn stored_of(block: &Block<'_>) -> Vec<Stored> {
    // Columns of the levels of one factor share their codes and numbers: one pass counts for all levels.
    let mut known: HashMap<(*const u32, *const f64), HashMap<u32, u64>> = HashMap::new();
    let mut of_level = |codes: &[u32], lo: Option<&[f64]>, code: u32| -> u64 {
        let counts = known.entry((codes.as_ptr(), lo.map_or(std::ptr::null(), <[f64]>::as_ptr))).or_insert_with(|| {
            let mut counts: HashMap<u32, u64> = HashMap::new();
            let mut run = (code, 0);
            // (Levels often come in runs.)
            for (row, code) in codes.iter().enumerate() {
                if *code != run.0 {
                    *counts.entry(run.0).or_default() += run.1;
                    run = (*code, 0);
                }
                run.1 += lo.is_none_or(|lo| lo[row] != 0.0) as u64;
            }
            *counts.entry(run.0).or_default() += run.1;
            counts
        });
        counts.get(&code).copied().unwrap_or(0)
    };
    let rows = block.rows as u64;
    let of = |column: &Column<'_>| match column {
        Column::Dense(_) => Stored { numbers: rows, pairs: 0, beyond: 0 },
        Column::Pair { lo, .. } => {
            let beyond = lo.iter().filter(|rest| **rest != 0.0).count() as u64;
            Stored { numbers: rows, pairs: rows, beyond }
        }
        Column::Within { codes, code, lo, .. } => {
            let numbers = of_level(codes, None, *code);
            let (pairs, beyond) = if lo.is_some() { (numbers, of_level(codes, *lo, *code)) } else { (0, 0) };
            Stored { numbers, pairs, beyond }
        }
        Column::Indicator { .. } => Stored::default(),
    };
    block.columns.iter().map(of).collect()
}

fn merge_options(mine: &mut Option<Accumulator>, theirs: &Option<Accumulator>, negate: bool) {
    if let Some(theirs) = theirs {
        mine.get_or_insert_with(|| Accumulator::new(2)).merge(theirs, negate);
    }
}

/// Products of `(1, log wᵢ)` over the rows with positive weight.
fn log_sums(kernel: Kernel, weights: &[f64]) -> Accumulator {
    let logs: Vec<f64> = weights.iter().filter(|w| **w > 0.0).map(|w| w.ln()).collect();
    let mut sums = Accumulator::new(2);
    let left = vec![Digits::Constant, Digits::Dense(Cow::Borrowed(&logs))];
    // Logarithms of positive finite numbers are finite.
    let _ = Chunk { rows: logs.len(), left, right: None, ids: vec![0, 1], factors: Vec::new() }
        .deposit(kernel, &mut sums, false);
    sums
}

/// The one guard of the state: kernels may assume finite columns of equal length.
pub(crate) fn check(block: &Block<'_>, ids: &[usize]) -> Result<(), Error> {
    if ids.len() != block.columns.len() {
        return Err(Error::Shape { what: "the list of columns", expected: block.columns.len(), got: ids.len() });
    }
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        let (name, allowed) = ("the list of columns", "every column of the state at most once");
        return Err(Error::Parameter { name, got: format!("column {} twice", twice[0]), allowed });
    }
    if let Some(&largest) = sorted.last().filter(|id| **id >= LARGEST_COLUMNS) {
        return Err(Error::Parameter { name: "a column", got: largest.to_string(), allowed: "less than 2^20" });
    }
    let length = |what: &'static str, got: usize| {
        if got == block.rows { Ok(()) } else { Err(Error::Shape { what, expected: block.rows, got }) }
    };
    for (index, column) in block.columns.iter().enumerate() {
        let (lengths, numbers): (Vec<usize>, Vec<&[f64]>) = match column {
            Column::Dense(values) => (vec![values.len()], vec![]),
            Column::Pair { hi, lo } => (vec![hi.len(), lo.len()], vec![hi, lo]),
            Column::Indicator { codes, .. } => (vec![codes.len()], vec![]),
            Column::Within { codes, hi, lo, .. } => {
                let mut numbers = vec![*hi];
                numbers.extend(*lo);
                (std::iter::once(codes.len()).chain(numbers.iter().map(|n| n.len())).collect(), numbers)
            }
        };
        lengths.into_iter().try_for_each(|got| length("a column", got))?;
        for values in numbers {
            if let Some(row) = values.iter().position(|x| !x.is_finite()) {
                return Err(Error::NonFinite { row, column: index, value: values[row] });
            }
        }
    }
    if let Some(weights) = block.weights {
        length("the weights", weights.len())?;
        if let Some(row) = weights.iter().position(|w| !w.is_finite() || *w < 0.0) {
            return Err(Error::Weight { row, value: weights[row] });
        }
    }
    Ok(())
}

/// What [`check`] leaves to the kernels of [`Moments`]: plain columns are finite.
pub(crate) fn check_doubles(block: &Block<'_>) -> Result<(), Error> {
    not_finite_place(block).map_or(Ok(()), Err)
}

/// The first number of a plain column that is not finite.
fn non_finite(block: &Block<'_>) -> Error {
    not_finite_place(block).unwrap_or(Error::NonFinite { row: 0, column: 0, value: f64::NAN })
}

fn not_finite_place(block: &Block<'_>) -> Option<Error> {
    block.columns.iter().enumerate().find_map(|(column, values)| match values {
        Column::Dense(values) => {
            values.iter().position(|x| !x.is_finite()).map(|row| Error::NonFinite { row, column, value: values[row] })
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests;

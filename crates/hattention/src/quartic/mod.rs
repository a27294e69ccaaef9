//! Sums of products of four columns: what robust standard errors need of rows that are gone.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::block::{Block, Column};
use crate::design::Filter;
use crate::double_double::DoubleDouble;
use crate::error::Error;
use crate::exact::accumulator::Range;
use crate::exact::float::Float;
use crate::exact::kernel::Kernel;
use crate::exact::planes::integer_and_exponent;
use crate::exact::quartic::{Factor, QuarticChunk};
use crate::exact::quartic_table::QuarticTable;
use crate::fit::covariance::Middle;
use crate::fit::{Covariance, Fit, Vcov};
use crate::moments;
use crate::whitening::Whitening;

/// Columns that such a state can have, the constant not counted: there are some 300,000 sums then.
pub const MOST_COLUMNS: usize = 50;

/// Rows of a chunk at most.
const CHUNK_ROWS: usize = 4096;

/// Words of the arithmetic in which sums are read: what cancels in `(y − xᵀβ)²` and in centring is far less.
const WORDS: usize = 16;

/// The sums `Σᵢ wᵢ² aᵢ bᵢ cᵢ dᵢ` over all products of four columns (design, targets and the constant), as exact numbers.
///
/// White's covariance is `(XᵀWX)⁻¹ (Σ w² e² x xᵀ) (XᵀWX)⁻¹` with `e = y − xᵀβ`: its middle is a sum of products of two of
/// the columns of the design and two of design and target, so it can be read of these sums for any `β`, when the rows are
/// gone. Columns are counted as in [`Moments`](crate::Moments): 0 is the first of the blocks'.
///
/// # Laws
/// Those of [`Moments`](crate::Moments): pushing is associative and commutative in bits, a row pushed and removed leaves no
/// trace, merging with an empty state is the identity.
///
/// # Numerics
/// With `p` columns (the constant counted) there are `p (p+1) (p+2) (p+3) / 24` sums. Cost `O(n p⁴)`: 4 microseconds
/// of processor a row at `p = 12`, 20 at 22; memory 40 to 60 bytes a sum for ordinary data. At most [`MOST_COLUMNS`].
///
/// # Example
/// ```
/// use hattention::quartic::QuarticMoments;
/// use hattention::{Block, Column, Design, Filter, Fit, Moments, Vcov, Whitening, WhiteningOptions};
/// let (x, y) = ([1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 7.0, 8.0]);
/// let block = Block { rows: 4, columns: vec![Column::Dense(&x), Column::Dense(&y)], weights: None };
/// let (moments, quartic) = (Moments::of(&block)?, QuarticMoments::of(&block)?);
/// let whitening = Whitening::of(&moments, &Design::plain(["x"], true), Filter::Ols, WhiteningOptions::default(), None)?;
/// let fit = Fit::of(&moments, &whitening, 1, "y")?;
/// // Slope 2.1, residuals −0.1, −0.2, 0.7, −0.4 about means of x of −1.5, −0.5, 0.5, 1.5.
/// let middle = 1.5f64.powi(2) * (0.01 + 0.16) + 0.25 * (0.04 + 0.49);
/// let covariance = quartic.covariance(&whitening, &fit, 1, &Vcov::Hc0)?;
/// assert!((covariance.variance(1) - middle / 25.0).abs() < 1e-15);
/// # Ok::<(), hattention::Error>(())
/// ```
///
/// # References
/// White (1980), equation 6.
#[derive(Clone, Debug, PartialEq)]
pub struct QuarticMoments {
    pub(crate) sums: QuarticTable,
    /// Rows with positive weight.
    pub(crate) rows: u64,
}

impl QuarticMoments {
    /// The state of no rows, for blocks of `columns` columns.
    ///
    /// # Errors
    /// [`Error::Parameter`] for more than [`MOST_COLUMNS`].
    pub fn new(columns: usize) -> Result<Self, Error> {
        expect_few(columns)?;
        Ok(Self { sums: QuarticTable::new(columns + 1), rows: 0 })
    }

    /// The state of one block, using all threads of the current rayon pool.
    ///
    /// # Errors
    /// As [`QuarticMoments::push_at`].
    pub fn of(block: &Block<'_>) -> Result<Self, Error> {
        let mut state = Self::new(block.columns.len())?;
        state.push_at(block, &(0..block.columns.len()).collect::<Vec<_>>())?;
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

    /// Adds the rows of a block whose columns are the given ones of the state; the others are zero in these rows. The
    /// state grows when an index is new. On an error nothing is added.
    ///
    /// # Errors
    /// As [`Moments::push_at`](crate::Moments::push_at); [`Error::Parameter`] for an index of [`MOST_COLUMNS`] or more.
    pub fn push_at(&mut self, block: &Block<'_>, columns: &[usize]) -> Result<(), Error> {
        self.accumulate(Kernel::detect(), block, columns, false)
    }

    /// Takes out rows that were pushed before.
    ///
    /// # Errors
    /// As [`QuarticMoments::push_at`]; [`Error::RemovedTooMany`].
    pub fn remove_at(&mut self, block: &Block<'_>, columns: &[usize]) -> Result<(), Error> {
        self.accumulate(Kernel::detect(), block, columns, true)
    }

    /// Adds the rows of another state; the shorter list of columns is taken as zero beyond its end.
    pub fn merge(&mut self, other: &Self) {
        self.sums.merge(&other.sums, false);
        self.rows += other.rows;
    }

    /// Takes out the rows of another state.
    ///
    /// # Errors
    /// [`Error::RemovedTooMany`] if the other state has more rows than this one.
    pub fn subtract(&mut self, other: &Self) -> Result<(), Error> {
        let removed = other.rows;
        self.rows = self.rows.checked_sub(removed).ok_or(Error::RemovedTooMany { rows: self.rows, removed })?;
        self.sums.merge(&other.sums, true);
        Ok(())
    }

    /// The state of the given columns, in their order.
    ///
    /// # Errors
    /// - [`Error::Shape`] if an index is not a column of the state.
    /// - [`Error::Parameter`] for a column named twice.
    pub fn select(&self, columns: &[usize]) -> Result<Self, Error> {
        if let Some(&outside) = columns.iter().find(|&&c| c >= self.columns()) {
            return Err(Error::Shape { what: "the state", expected: outside + 1, got: self.columns() });
        }
        let mut to = vec![None; self.sums.columns()];
        to[0] = Some(0);
        for (place, &column) in columns.iter().enumerate() {
            if to[column + 1].replace(place + 1).is_some() {
                let (name, allowed) = ("the list of columns", "every column of the state at most once");
                return Err(Error::Parameter { name, got: format!("column {column} twice"), allowed });
            }
        }
        Ok(Self { sums: self.sums.moved(&to, columns.len() + 1), rows: self.rows })
    }

    /// Whether a column (of the blocks, from 0) is zero in all rows.
    pub fn is_zero_column(&self, column: usize) -> bool {
        column >= self.columns() || self.read([column + 1; 4]).is_zero()
    }

    /// The first column whose sums no rows can have, as far as the sizes of sums tell; column 0 is the constant, and those
    /// of the blocks follow.
    pub fn impossible_column(&self) -> Option<usize> {
        self.sums.fault().map(|(column, _)| column)
    }

    fn accumulate(&mut self, kernel: Kernel, block: &Block<'_>, ids: &[usize], negate: bool) -> Result<(), Error> {
        moments::check(block, ids)?;
        moments::check_doubles(block)?;
        expect_few(ids.iter().max().map_or(0, |last| last + 1))?;
        let counted = block.weights.map_or(block.rows, |w| w.iter().filter(|w| **w > 0.0).count()) as u64;
        let rows = if negate { self.rows.checked_sub(counted) } else { self.rows.checked_add(counted) };
        self.rows = rows.ok_or(Error::RemovedTooMany { rows: self.rows, removed: counted })?;
        if block.rows <= CHUNK_ROWS {
            chunk(block, ids, 0..block.rows).deposit(kernel, &mut self.sums, negate);
            return Ok(());
        }
        let share = block.rows.div_ceil(rayon::current_num_threads()).next_multiple_of(CHUNK_ROWS);
        let parts: Vec<usize> = (0..block.rows).step_by(share).collect();
        let sums_of = |first: usize| {
            let mut sums = QuarticTable::new(self.sums.columns());
            let end = block.rows.min(first + share);
            for start in (first..end).step_by(CHUNK_ROWS) {
                chunk(block, ids, start..end.min(start + CHUNK_ROWS)).deposit(kernel, &mut sums, false);
            }
            sums
        };
        let sums: Vec<QuarticTable> = parts.into_par_iter().map(sums_of).collect();
        sums.iter().for_each(|sums| self.sums.merge(sums, negate));
        Ok(())
    }

    /// White's covariance of the coefficients of a fit, whose target is this column of the state, from the sums.
    ///
    /// # Equals
    /// [`Scores`](crate::fit::Scores) with [`Vcov::Hc0`] or [`Vcov::Hc1`], which reads the rows again, up to the rounding
    /// of its residuals and keys; `sandwich::vcovHC(fit, type = "HC0" | "HC1")` in R, weighted or not.
    ///
    /// # Numerics
    /// Sums are combined in 1024 bits, with the coefficients and keys of the fit as they stand: nothing is lost to
    /// cancellation, and bits depend on the state and the fit only. Cost `O(p⁴)`: 20 ms at `p = 20`.
    ///
    /// # Errors
    /// - [`Error::Parameter`]: another kind of covariance, a fit that is not by least squares or has effects taken out.
    /// - [`Error::Shape`]: the state does not have the columns of the design or the target.
    pub fn covariance(
        &self,
        whitening: &Whitening,
        fit: &Fit,
        target: usize,
        kind: &Vcov,
    ) -> Result<Covariance, Error> {
        let refused = |got: String| Error::Parameter {
            name: "the covariance of a fit from sums",
            got,
            allowed: "HC0 or HC1, of least squares without effects taken out",
        };
        let factor = match kind {
            Vcov::Hc0 => 1.0,
            Vcov::Hc1 => fit.rows as f64 / (fit.rows as f64 - fit.effective_df),
            other => return Err(refused(other.to_string())),
        };
        if fit.filter != Filter::Ols || fit.effects.is_some() {
            return Err(refused(format!("{kind} of another fit")));
        }
        let last = whitening.design.state_columns().chain([target]).max().unwrap_or(0);
        if last >= self.columns() {
            return Err(Error::Shape { what: "the state", expected: last + 1, got: self.columns() });
        }
        let mut middle = self.middle(&Combinations::of(whitening, fit, target));
        middle.iter_mut().for_each(|m| *m *= factor);
        if fit.df_residual <= 0.0 {
            middle.fill(f64::NAN);
        }
        let (loading, df) = (whitening.loading.clone(), fit.df_residual);
        Ok(Covariance { kind: kind.clone(), loading, middle: Middle::Full(middle), df })
    }

    /// `Σ w² e² k̃ k̃ᵀ`. Shape: `[1 + keys][1 + keys]`.
    fn middle(&self, of: &Combinations) -> Vec<f64> {
        let used = &of.used;
        let count = used.len();
        let meat = |i: usize, j: usize| {
            let residual = of.residual.iter().enumerate();
            residual.fold(Float::<WORDS>::ZERO, |sum, (at, (k, c))| {
                let crossed = of.residual[..at]
                    .iter()
                    .fold(Float::ZERO, |sum, (l, d)| sum + *d * self.read([used[i], used[j], *k, *l]));
                sum + *c * (crossed.scale(1) + *c * self.read([used[i], used[j], *k, *k]))
            })
        };
        let rows: Vec<Vec<Float<WORDS>>> =
            (0..count).into_par_iter().map(|i| (0..=i).map(|j| meat(i, j)).collect()).collect();
        let size = of.keys.len();
        let half: Vec<Vec<Float<WORDS>>> = (0..size)
            .map(|key| {
                let entry = |j: usize| {
                    let at = |i: usize| rows[i.max(j)][i.min(j)];
                    of.keys[key].iter().enumerate().fold(Float::ZERO, |sum, (i, c)| sum + *c * at(i))
                };
                (0..count).map(entry).collect()
            })
            .collect();
        let mut middle = vec![0.0; size * size];
        for a in 0..size {
            for b in 0..=a {
                let value = half[a].iter().zip(&of.keys[b]).fold(Float::ZERO, |sum, (m, c)| sum + *m * *c).to_f64();
                (middle[a * size + b], middle[b * size + a]) = (value, value);
            }
        }
        middle
    }

    fn read(&self, columns: [usize; 4]) -> Float<WORDS> {
        self.sums.entry(columns).map_or(Float::ZERO, |(words, exponent)| Float::from_wide(words, exponent as i64))
    }
}

/// Residual and keys as combinations of the columns of the table.
struct Combinations {
    /// The columns that keys are made of.
    used: Vec<usize>,
    /// `k̃ = Σ factor · column`. Shape: `[1 + keys][used]`.
    keys: Vec<Vec<Float<WORDS>>>,
    /// `e = Σ factor · column`, columns of the table.
    residual: Vec<(usize, Float<WORDS>)>,
}

impl Combinations {
    fn of(whitening: &Whitening, fit: &Fit, target: usize) -> Self {
        let float = |x: DoubleDouble| Float::<WORDS>::from_f64(x.hi) + Float::from_f64(x.lo);
        let kept = kept_columns(whitening);
        let mut used: Vec<usize> = kept.iter().flatten().map(|(column, _)| *column).chain([0]).collect();
        used.sort_unstable();
        used.dedup();
        let place = |column: usize| used.partition_point(|known| *known < column);
        let mut keys = vec![vec![Float::ZERO; used.len()]; 1 + whitening.keys()];
        if whitening.design.intercept {
            keys[0][0] = Float::from_f64(1.0 / whitening.weight_total.sqrt());
        }
        for (key, map) in keys[1..].iter_mut().zip(&whitening.key_map) {
            for ((column, mean), factor) in kept.iter().zip(&whitening.means).zip(map) {
                let factor = Float::from_f64(*factor);
                key[0] = key[0] - factor * float(*mean);
                for (part, times) in column {
                    let entry = &mut key[place(*part)];
                    *entry = *entry + factor * float(*times);
                }
            }
        }
        let mut slopes = vec![Float::ZERO; used.len()];
        slopes[0] = -float(fit.raw_intercept);
        for (column, slope) in kept.iter().zip(&fit.raw) {
            for (part, times) in column {
                let entry = &mut slopes[place(*part)];
                *entry = *entry - float(*slope) * float(*times);
            }
        }
        let mut residual: Vec<(usize, Float<WORDS>)> =
            used.iter().copied().zip(slopes).filter(|(_, slope)| !slope.is_zero()).collect();
        match residual.iter_mut().find(|(column, _)| *column == target + 1) {
            Some((_, slope)) => *slope = *slope + Float::from_f64(1.0),
            None => residual.push((target + 1, Float::from_f64(1.0))),
        }
        Self { used, keys, residual }
    }
}

/// The kept columns of a design as sums of columns of the table, of which 0 is the constant.
fn kept_columns(whitening: &Whitening) -> Vec<Vec<(usize, DoubleDouble)>> {
    let design = &whitening.design;
    let formed = design.formed();
    let column = |(&position, factors): (&usize, &Vec<DoubleDouble>)| match formed[position] {
        None => design.columns[position].map(|id| (id + 1, DoubleDouble::ONE)).into_iter().collect(),
        Some((group, place)) => {
            let orthogonal = &design.orthogonal[group];
            let terms = orthogonal.terms(&orthogonal.degrees(place));
            terms.iter().zip(factors).map(|(term, &factor)| (term.column.map_or(0, |id| id + 1), factor)).collect()
        }
    };
    whitening.kept.iter().zip(&whitening.factors).map(column).collect()
}

fn expect_few(columns: usize) -> Result<(), Error> {
    if columns <= MOST_COLUMNS {
        return Ok(());
    }
    let allowed = "at most 50 (levels of factors and targets are columns too)";
    Err(Error::Parameter { name: "the number of columns of sums for HC0 and HC1", got: columns.to_string(), allowed })
}

/// Some rows of a block as integers.
fn chunk(block: &Block<'_>, ids: &[usize], range: std::ops::Range<usize>) -> QuarticChunk<'static> {
    let rows = range.len();
    let weights = block.weights.map(|weights| &weights[range.clone()]);
    let factor = |id: usize, plain: Vec<Vec<(i64, i32)>>| match weights {
        None => Factor { id, weighted: Cow::Owned(plain.clone()), plain },
        Some(weights) => Factor { id, weighted: plain.iter().flat_map(|term| times(term, weights)).collect(), plain },
    };
    let mut factors = vec![factor(0, vec![vec![(1, 0); rows]])];
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_unstable_by_key(|place| ids[*place]);
    factors.extend(order.iter().map(|&place| factor(ids[place] + 1, terms(block.columns[place].slice(range.clone())))));
    let (mut low, mut top) = (0, 1);
    for (m, e) in weights.unwrap_or_default().iter().map(|w| integer_and_exponent(*w)).filter(|(m, _)| *m != 0) {
        low = low.min(e);
        top = top.max(e + 64 - m.leading_zeros() as i32);
    }
    QuarticChunk { rows, factors, weights: Range { low, top } }
}

fn terms(column: Column<'_>) -> Vec<Vec<(i64, i32)>> {
    let integers = |values: &[f64]| values.iter().map(|&x| integer_and_exponent(x)).collect();
    let within = |codes: &[u32], code: u32, values: &[f64]| {
        let chosen = codes.iter().zip(values);
        chosen.map(|(c, &x)| if *c == code { integer_and_exponent(x) } else { (0, 0) }).collect()
    };
    let with_rest = |first: Vec<(i64, i32)>, rest: Option<Vec<(i64, i32)>>| {
        let rest = rest.filter(|rest| rest.iter().any(|(m, _)| *m != 0));
        std::iter::once(first).chain(rest).collect()
    };
    match column {
        Column::Dense(values) => vec![integers(values)],
        Column::Pair { hi, lo } => with_rest(integers(hi), Some(integers(lo))),
        Column::Indicator { codes, code } => vec![codes.iter().map(|c| ((*c == code) as i64, 0)).collect()],
        Column::Within { codes, code, hi, lo } => {
            with_rest(within(codes, code, hi), lo.map(|lo| within(codes, code, lo)))
        }
    }
}

/// A term times the weights: integers of at most 106 bits, in two of 53, odd or zero.
fn times(term: &[(i64, i32)], weights: &[f64]) -> [Vec<(i64, i32)>; 2] {
    let odd = |m: i64, e: i32| {
        if m == 0 { (0, 0) } else { (m >> m.trailing_zeros(), e + m.trailing_zeros() as i32) }
    };
    let products = term.iter().zip(weights).map(|(&(m, e), &w)| {
        let (weight, exponent) = integer_and_exponent(w);
        let size = m.unsigned_abs() as u128 * weight as u128;
        let sign = m.signum();
        let (high, low) = (sign * (size >> 53) as i64, sign * (size & ((1 << 53) - 1)) as i64);
        (odd(high, e + exponent + 53), odd(low, e + exponent))
    });
    let (high, low): (Vec<_>, Vec<_>) = products.unzip();
    [high, low]
}

#[cfg(test)]
mod tests;

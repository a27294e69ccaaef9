//! `LDLᵀ` of a symmetric matrix in as many bits as needed, in the order of the columns.

use rayon::prelude::*;

use super::float::Float;
use crate::interrupt::{Stop, checked};

/// A factor `A = L D Lᵀ` over the columns that were not found dependent.
pub(crate) struct Ldl<const N: usize> {
    /// Columns of `A`.
    pub(crate) size: usize,
    /// Unit lower triangular, packed by rows without the diagonal: `L[i][j]` at `i (i − 1) / 2 + j`.
    lower: Vec<Float<N>>,
    /// The same, rounded.
    rounded: Vec<f64>,
    /// The pivots; zero for dependent columns.
    pub(crate) pivots: Vec<Float<N>>,
    /// `1 / D`; zero for dependent columns.
    reciprocals: Vec<Float<N>>,
}

/// What to do with a pivot.
pub(crate) enum Verdict {
    /// Use it.
    Keep,
    /// The column depends on the earlier ones: leave it out.
    Drop,
    /// The pivot has lost too many bits: start again with more.
    MoreBits,
}

fn row_start(i: usize) -> usize {
    i * i.saturating_sub(1) / 2
}

/// Fewest columns worth a trip to other threads.
const PARALLEL_FROM: usize = 64;
/// Rows that are begun together.
const BLOCK_ROWS: usize = 16;

impl<const N: usize> Ldl<N> {
    /// Factors a matrix given by its lower triangle (`A[i][j]` at `i (i + 1) / 2 + j`); `judge(i, pivot, diagonal, self)`
    /// decides on every pivot, with rows before `i` (and row `i` of `L`) in place. `None` if more bits are needed.
    pub(crate) fn factor(
        lower: &[Float<N>],
        size: usize,
        mut judge: impl FnMut(usize, Float<N>, Float<N>, &Self) -> Verdict,
    ) -> Option<Self> {
        let mut factor = Self {
            size,
            lower: vec![Float::ZERO; row_start(size)],
            rounded: vec![0.0; row_start(size)],
            pivots: vec![Float::ZERO; size],
            reciprocals: vec![Float::ZERO; size],
        };
        let block_rows = if size >= PARALLEL_FROM { BLOCK_ROWS } else { 1 };
        let stop = Stop::current();
        for block in (0..size).step_by(block_rows) {
            stop.check();
            let rows = block..(block + block_rows).min(size);
            // Rows of a block meet the rows before it on all threads, and then each other one by one.
            let begin = |i: usize| factor.substitute(&lower[i * (i + 1) / 2..], Vec::with_capacity(i), block.min(i));
            let begun: Vec<Vec<Float<N>>> = if block_rows > 1 && block > 0 {
                rows.clone().into_par_iter().map(begin).collect()
            } else {
                rows.clone().map(begin).collect()
            };
            for (i, begun) in rows.zip(begun) {
                let work = factor.substitute(&lower[i * (i + 1) / 2..], begun, i);
                if !factor.finish_row(i, &work, lower[i * (i + 1) / 2 + i], &mut judge) {
                    return None;
                }
            }
        }
        Some(factor)
    }

    /// Continues `work[j] = L[i][j] D[j]` of a row of `A` up to column `end`, by forward substitution.
    fn substitute(&self, row: &[Float<N>], mut work: Vec<Float<N>>, end: usize) -> Vec<Float<N>> {
        for j in work.len()..end {
            let value = if self.pivots[j].is_zero() {
                Float::ZERO
            } else {
                let start = row_start(j);
                row[j] - dot(&work[..j], &self.lower[start..start + j])
            };
            work.push(value);
        }
        work
    }

    /// Row `i` of `L`, its pivot and what is to be done with it; false if it takes more bits.
    fn finish_row(
        &mut self,
        i: usize,
        work: &[Float<N>],
        diagonal: Float<N>,
        judge: &mut impl FnMut(usize, Float<N>, Float<N>, &Self) -> Verdict,
    ) -> bool {
        let start = row_start(i);
        for j in 0..i {
            self.lower[start + j] = work[j] * self.reciprocals[j];
            self.rounded[start + j] = self.lower[start + j].to_f64();
        }
        let pivot = diagonal - dot(work, &self.lower[start..start + i]);
        match judge(i, pivot, diagonal, self) {
            Verdict::Keep => {
                self.pivots[i] = pivot;
                self.reciprocals[i] = pivot.reciprocal();
                true
            }
            Verdict::Drop => true,
            Verdict::MoreBits => false,
        }
    }

    fn at(&self, i: usize, j: usize) -> Float<N> {
        self.lower[row_start(i) + j]
    }

    /// Coefficients of column `i` on the earlier kept columns: solves `Lᵀ c = L[i]`.
    pub(crate) fn on_earlier(&self, i: usize) -> Vec<Float<N>> {
        let mut c: Vec<Float<N>> = (0..i).map(|j| self.at(i, j)).collect();
        for j in (0..i).rev() {
            if self.pivots[j].is_zero() {
                c[j] = Float::ZERO;
                continue;
            }
            let value = c[j];
            for (k, earlier) in c[..j].iter_mut().enumerate() {
                *earlier = *earlier - value * self.at(j, k);
            }
        }
        c
    }

    /// As [`Ldl::on_earlier`], in doubles: to be trusted only while all pivots so far are far from zero.
    pub(crate) fn on_earlier_rounded(&self, i: usize) -> Vec<f64> {
        let mut c = self.rounded[row_start(i)..row_start(i) + i].to_vec();
        for j in (0..i).rev() {
            let value = if self.pivots[j].is_zero() { 0.0 } else { c[j] };
            c[j] = value;
            let row = &self.rounded[row_start(j)..row_start(j) + j];
            c[..j].iter_mut().zip(row).for_each(|(earlier, l)| *earlier -= value * l);
        }
        c
    }

    /// Solves `A x = b` over the kept columns; `x` is zero at dependent ones.
    pub(crate) fn solve(&self, b: &[Float<N>]) -> Vec<Float<N>> {
        let mut x = b.to_vec();
        for i in 0..self.size {
            if self.pivots[i].is_zero() {
                x[i] = Float::ZERO;
                continue;
            }
            let start = row_start(i);
            x[i] = x[i] - dot(&x[..i], &self.lower[start..start + i]);
        }
        for (value, reciprocal) in x.iter_mut().zip(&self.reciprocals) {
            *value = *value * *reciprocal;
        }
        for i in (0..self.size).rev() {
            let value = x[i];
            if value.is_zero() {
                continue;
            }
            let start = row_start(i);
            for (earlier, l) in x[..i].iter_mut().zip(&self.lower[start..start + i]).filter(|(_, l)| !l.is_zero()) {
                *earlier = *earlier - value * *l;
            }
            for j in 0..i {
                if self.pivots[j].is_zero() {
                    x[j] = Float::ZERO;
                }
            }
        }
        x
    }

    /// `L⁻ᵀ D^(−1/2)`, by columns: column `j` has entries `0 ..= j`, and is empty for a dependent column.
    ///
    /// It maps a row of the design to its key: `A⁻¹ = B Bᵀ` over the kept columns.
    pub(crate) fn key_map(&self) -> Vec<Vec<Float<N>>> {
        let column = |j: usize| -> Vec<Float<N>> {
            if self.pivots[j].is_zero() {
                return Vec::new();
            }
            // Row j of L⁻¹, scaled: solve Lᵀ x = e_j backwards.
            let mut x = vec![Float::ZERO; j + 1];
            x[j] = self.reciprocals[j].sqrt();
            for i in (1..=j).rev() {
                let value = x[i];
                if value.is_zero() || self.pivots[i].is_zero() {
                    continue;
                }
                for k in 0..i {
                    if !self.pivots[k].is_zero() {
                        x[k] = x[k] - value * self.at(i, k);
                    }
                }
            }
            x
        };
        if self.size >= PARALLEL_FROM {
            (0..self.size).into_par_iter().map(checked(column)).collect()
        } else {
            (0..self.size).map(column).collect()
        }
    }
}

/// `Σ aᵢ bᵢ`. Long sums are cut at fixed places, so that threads do not change the result.
fn dot<const N: usize>(a: &[Float<N>], b: &[Float<N>]) -> Float<N> {
    a.iter().zip(b).fold(Float::ZERO, |sum, (x, y)| if x.is_zero() || y.is_zero() { sum } else { sum + *x * *y })
}

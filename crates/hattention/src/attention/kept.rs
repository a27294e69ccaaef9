//! The kept columns of a design as a block has them: as they are, or formed of several.

use std::collections::HashMap;
use std::ops::Range;

use crate::block::{Block, Column};
use crate::double_double::{DoubleDouble, fast_two_sum, two_product, two_sum};
use crate::whitening::Whitening;

/// A kept column of a design in a block of rows.
pub(crate) enum Kept<'a> {
    /// One of the block's columns; `None` is zero.
    Plain(Option<Column<'a>>),
    /// `constant + Σ factor · column`.
    Formed { constant: DoubleDouble, terms: Vec<(Column<'a>, DoubleDouble)> },
}

/// The kept columns of a design by their places in blocks: found once for all blocks of the same columns.
pub(super) struct Places {
    kept: Vec<Place>,
}

enum Place {
    Plain(Option<usize>),
    Formed { constant: DoubleDouble, terms: Vec<(usize, DoubleDouble)> },
}

impl Places {
    /// For blocks whose columns are `ids` of the state; absent ones are zero.
    pub(super) fn of(whitening: &Whitening, ids: &[usize]) -> Self {
        let design = &whitening.design;
        let known: HashMap<usize, usize> = ids.iter().copied().zip(0..ids.len()).rev().collect();
        let formed = design.formed();
        let kept = whitening.kept.iter().zip(&whitening.factors);
        let place = |(&position, factors): (&usize, &Vec<DoubleDouble>)| {
            let Some((group, place)) = formed[position] else {
                return Place::Plain(design.columns[position].and_then(|id| known.get(&id).copied()));
            };
            let (mut constant, mut terms) = (DoubleDouble::ZERO, Vec::with_capacity(factors.len()));
            let orthogonal = &design.orthogonal[group];
            for (term, &factor) in orthogonal.terms(&orthogonal.degrees(place)).iter().zip(factors) {
                match term.column {
                    None => constant = constant + factor,
                    Some(id) => terms.extend(known.get(&id).map(|column| (*column, factor))),
                }
            }
            Place::Formed { constant, terms }
        };
        Self { kept: kept.map(place).collect() }
    }

    /// The kept columns of a block that has as many columns as there were ids.
    pub(super) fn in_block<'a>(&self, block: &Block<'a>) -> Vec<Kept<'a>> {
        let columns = &block.columns;
        let at = |place: &Place| match place {
            Place::Plain(column) => Kept::Plain(column.and_then(|c| columns.get(c).copied())),
            Place::Formed { constant, terms } => Kept::Formed {
                constant: *constant,
                terms: terms.iter().filter_map(|(column, factor)| Some((*columns.get(*column)?, *factor))).collect(),
            },
        };
        self.kept.iter().map(at).collect()
    }
}

impl<'a> Kept<'a> {
    /// The kept columns of a block whose columns are `ids` of the state; absent ones are zero.
    pub(crate) fn all(whitening: &Whitening, block: &Block<'a>, ids: &[usize]) -> Vec<Self> {
        Places::of(whitening, ids).in_block(block)
    }

    /// `x − mean` of some rows as doubles.
    pub(crate) fn centre(&self, rows: Range<usize>, mean: DoubleDouble, target: &mut [f64]) {
        match self {
            Self::Plain(column) => centre(column.map(|c| c.slice(rows)), mean, target),
            Self::Formed { .. } => {
                for (z, (hi, lo)) in target.iter_mut().zip(self.form(rows)) {
                    let (s, e) = two_sum(hi, -mean.hi);
                    *z = s + (e + (lo - mean.lo));
                }
            }
        }
    }

    /// Adds the column times a factor to pairs, one a row.
    pub(super) fn add_to(&self, sums: &mut [(f64, f64)], factor: DoubleDouble) {
        match self {
            Self::Plain(None) => {}
            Self::Plain(Some(column)) => add_product(sums, *column, factor),
            Self::Formed { .. } => {
                let (hi, lo): (Vec<f64>, Vec<f64>) = self.form(0..sums.len()).into_iter().unzip();
                add_product(sums, Column::Pair { hi: &hi, lo: &lo }, factor);
            }
        }
    }

    /// The numbers of a column as pairs, one a row.
    pub(super) fn pairs(&self, rows: usize) -> Vec<(f64, f64)> {
        let mut sums = vec![(0.0, 0.0); rows];
        match self {
            Self::Plain(None) => sums,
            Self::Plain(Some(column)) => {
                let numbers = Numbers::of(*column);
                sums.iter_mut().enumerate().for_each(|(row, sum)| {
                    let number = numbers.at(row);
                    *sum = (number.hi, number.lo);
                });
                sums
            }
            Self::Formed { .. } => self.form(0..rows),
        }
    }

    /// The numbers of a formed column.
    fn form(&self, rows: Range<usize>) -> Vec<(f64, f64)> {
        let Self::Formed { constant, terms } = self else { return Vec::new() };
        let mut sums = vec![(constant.hi, constant.lo); rows.len()];
        for (column, factor) in terms {
            add_product(&mut sums, column.slice(rows.clone()), *factor);
        }
        sums
    }
}

/// Adds a column times a factor to pairs, one a row.
fn add_product(sums: &mut [(f64, f64)], column: Column<'_>, factor: DoubleDouble) {
    match column {
        Column::Dense(values) => add_doubled(values, factor, sums),
        Column::Pair { hi, lo } => add_doubled_pairs(hi, lo, factor, sums),
        Column::Indicator { codes, code } | Column::Within { codes, code, .. } => {
            let numbers = Numbers::of(column);
            for (row, sum) in sums.iter_mut().enumerate().filter(|(row, _)| codes[*row] == code) {
                let product = numbers.at(row) * factor;
                *sum = gather(*sum, product.hi, product.lo);
            }
        }
    }
}

fn add_doubled(x: &[f64], slope: DoubleDouble, sums: &mut [(f64, f64)]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (sum, x) in sums.iter_mut().zip(x) {
                let (p, e) = two_product(*x, slope.hi);
                *sum = gather(*sum, p, x.mul_add(slope.lo, e));
            }
        },
    )
}

fn add_doubled_pairs(hi: &[f64], lo: &[f64], slope: DoubleDouble, sums: &mut [(f64, f64)]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for ((sum, x), x_low) in sums.iter_mut().zip(hi).zip(lo) {
                let (p, e) = two_product(*x, slope.hi);
                *sum = gather(*sum, p, x_low.mul_add(slope.hi, x.mul_add(slope.lo, e)));
            }
        },
    )
}

#[inline(always)]
fn gather((hi, lo): (f64, f64), p: f64, e: f64) -> (f64, f64) {
    let (s, t) = two_sum(hi, p);
    fast_two_sum(s, lo + t + e)
}

/// A column's numbers, one by one.
pub(crate) struct Numbers<'a>(Column<'a>);

impl<'a> Numbers<'a> {
    pub(crate) fn of(column: Column<'a>) -> Self {
        Self(column)
    }

    #[inline(always)]
    pub(crate) fn at(&self, row: usize) -> DoubleDouble {
        match self.0 {
            Column::Dense(values) => DoubleDouble::from(values[row]),
            Column::Pair { hi, lo } => DoubleDouble { hi: hi[row], lo: lo[row] },
            Column::Indicator { codes, code } => DoubleDouble::from((codes[row] == code) as u8 as f64),
            Column::Within { codes, code, .. } if codes[row] != code => DoubleDouble::ZERO,
            Column::Within { hi, lo, .. } => DoubleDouble { hi: hi[row], lo: lo.map_or(0.0, |lo| lo[row]) },
        }
    }
}

/// `x − mean` as doubles; an absent column is zero.
fn centre(column: Option<Column<'_>>, mean: DoubleDouble, target: &mut [f64]) {
    match column {
        None => target.fill(-mean.to_f64()),
        Some(Column::Dense(values)) => subtract_mean(values, mean, target),
        Some(Column::Pair { hi, lo }) => subtract_mean_of_pairs(hi, lo, mean, target),
        Some(Column::Indicator { codes, code }) => {
            let (inside, outside) = ((DoubleDouble::ONE - mean).to_f64(), -mean.to_f64());
            for (z, c) in target.iter_mut().zip(codes) {
                *z = if *c == code { inside } else { outside };
            }
        }
        Some(other) => {
            let numbers = Numbers(other);
            for (row, z) in target.iter_mut().enumerate() {
                *z = (numbers.at(row) - mean).to_f64();
            }
        }
    }
}

fn subtract_mean(x: &[f64], mean: DoubleDouble, target: &mut [f64]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (z, x) in target.iter_mut().zip(x) {
                *z = (x - mean.hi) - mean.lo;
            }
        },
    )
}

fn subtract_mean_of_pairs(hi: &[f64], lo: &[f64], mean: DoubleDouble, target: &mut [f64]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for ((z, x), x_low) in target.iter_mut().zip(hi).zip(lo) {
                let (s, e) = two_sum(*x, -mean.hi);
                *z = s + (e + (x_low - mean.lo));
            }
        },
    )
}

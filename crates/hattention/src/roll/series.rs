//! The rows of a roll as columns of doubles, in order.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::block::{Block, Column};
use crate::design::Design;
use crate::error::Error;

/// A column: doubles, and what these round away.
#[derive(Debug)]
pub(super) struct Field<'a> {
    pub(super) hi: Cow<'a, [f64]>,
    pub(super) lo: Option<Cow<'a, [f64]>>,
    /// Relative precision of its entries.
    pub(super) unit: f64,
}

/// Columns of the design and targets, and the weights.
#[derive(Debug)]
pub(super) struct Series<'a> {
    pub(super) rows: usize,
    /// Columns of the design, then targets.
    pub(super) fields: Vec<Field<'a>>,
    pub(super) weights: Option<&'a [f64]>,
    /// Rows of positive weight before each; absent if every row has one. Shape: `[rows + 1]`.
    counted: Option<Vec<usize>>,
}

impl<'a> Series<'a> {
    /// Guards the door: columns that fit the design, of equal lengths, finite.
    pub(super) fn of(block: &Block<'a>, design: &Design, targets: &[(usize, &str)]) -> Result<Self, Error> {
        design.check(block.columns.len(), None)?;
        if !design.orthogonal.is_empty() {
            return Err(Error::Parameter {
                name: "a column of the design",
                got: "an orthogonal polynomial".into(),
                allowed: "columns that are the same in every window, such as raw powers",
            });
        }
        let columns = design.columns.iter().copied();
        let columns: Vec<Option<usize>> = columns.chain(targets.iter().map(|(column, _)| Some(*column))).collect();
        if let Some(outside) = columns.iter().flatten().find(|c| **c >= block.columns.len()) {
            return Err(Error::Shape { what: "the block", expected: outside + 1, got: block.columns.len() });
        }
        let fields = columns.par_iter().map(|column| match column {
            Some(column) => Field::of(block.columns[*column], block.rows, *column),
            None => Ok(Field { hi: Cow::Owned(vec![0.0; block.rows]), lo: None, unit: 2f64.powi(-60) }),
        });
        let fields = fields.collect::<Vec<_>>().into_iter().collect::<Result<_, _>>()?;
        let mut counted = None;
        if let Some(weights) = block.weights {
            if weights.len() != block.rows {
                return Err(Error::Shape { what: "the weights", expected: block.rows, got: weights.len() });
            }
            if let Some(row) = weights.iter().position(|w| !w.is_finite() || *w < 0.0) {
                return Err(Error::Weight { row, value: weights[row] });
            }
            let mut sums = vec![0; block.rows + 1];
            for (row, weight) in weights.iter().enumerate() {
                sums[row + 1] = sums[row] + (*weight > 0.0) as usize;
            }
            counted = Some(sums);
        }
        Ok(Self { rows: block.rows, fields, weights: block.weights, counted })
    }

    pub(super) fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |weights| weights[row])
    }

    /// Rows of positive weight in a range.
    pub(super) fn count(&self, rows: std::ops::Range<usize>) -> usize {
        self.counted.as_ref().map_or(rows.len(), |sums| sums[rows.end] - sums[rows.start])
    }

    /// The first row from which on a field does not change, up to a row; no earlier than `least`.
    pub(super) fn unchanged_since(&self, field: usize, row: usize, least: usize) -> usize {
        let Field { hi, lo, .. } = &self.fields[field];
        let same = |i: usize| hi[i] == hi[row] && lo.as_ref().is_none_or(|lo| lo[i] == lo[row]);
        (least..row).rev().find(|i| !same(*i)).map_or(least, |i| i + 1)
    }

    pub(super) fn has_low(&self) -> bool {
        self.fields.iter().any(|field| field.lo.is_some())
    }
}

impl<'a> Field<'a> {
    fn of(column: Column<'a>, rows: usize, index: usize) -> Result<Self, Error> {
        let check = |values: &[f64]| {
            if values.len() != rows {
                return Err(Error::Shape { what: "a column", expected: rows, got: values.len() });
            }
            let broken = values.iter().position(|x| !x.is_finite());
            broken.map_or(Ok(()), |row| Err(Error::NonFinite { row, column: index, value: values[row] }))
        };
        let same_length = |codes: &[u32]| {
            let (what, expected, got) = ("a column", rows, codes.len());
            if got == expected { Ok(()) } else { Err(Error::Shape { what, expected, got }) }
        };
        let (double, pair) = (2f64.powi(-53), 2f64.powi(-104));
        Ok(match column {
            Column::Dense(values) => {
                check(values)?;
                Self { hi: Cow::Borrowed(values), lo: None, unit: double }
            }
            Column::Pair { hi, lo } => {
                check(hi)?;
                check(lo)?;
                Self { hi: Cow::Borrowed(hi), lo: Some(Cow::Borrowed(lo)), unit: pair }
            }
            Column::Indicator { codes, code } => {
                same_length(codes)?;
                let hi = codes.iter().map(|c| (*c == code) as u8 as f64).collect();
                Self { hi: Cow::Owned(hi), lo: None, unit: 2f64.powi(-60) }
            }
            Column::Within { codes, code, hi, lo } => {
                same_length(codes)?;
                check(hi)?;
                lo.map_or(Ok(()), check)?;
                let within = |values: &[f64]| -> Vec<f64> {
                    codes.iter().zip(values).map(|(c, x)| if *c == code { *x } else { 0.0 }).collect()
                };
                let unit = if lo.is_some() { pair } else { double };
                Self { hi: Cow::Owned(within(hi)), lo: lo.map(|lo| Cow::Owned(within(lo))), unit }
            }
        })
    }
}

//! Numbers that lie apart in memory: columns and tables of any layout, read where they are.
//!
//! A [`Strided`] is a column of which every number is the same distance from the last; a [`Table`] has one such distance
//! between its rows and one between its columns. That is what an array of numpy is, whichever order its numbers have and
//! whatever was sliced from it.

mod gather;
mod squares;

use std::ops::Range;

use crate::block::{Block, Column};
use crate::error::Error;
use crate::moments::LARGEST_COLUMNS;

pub(crate) use gather::{OfRun, Pieces, Run, gather, runs, spacing};

/// A column whose numbers are a fixed distance apart: number `i` is `values[i · stride]`.
///
/// # Equals
/// A one-dimensional array of numpy, `values[::stride][:rows]`.
///
/// # Example
/// ```
/// use hattention::Strided;
/// let values = [1.0, 10.0, 2.0, 20.0, 3.0];
/// let odd = Strided::new(&values, 3, 2).unwrap();
/// assert_eq!(odd.iter().collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
/// assert!(Strided::new(&values, 4, 2).is_err());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Strided<'a> {
    /// From the first number on; it may be longer than the column.
    values: &'a [f64],
    rows: usize,
    /// Zero only where all rows are one number: those of a table with such rows, and constants.
    stride: usize,
}

impl<'a> From<&'a [f64]> for Strided<'a> {
    /// Numbers side by side.
    fn from(values: &'a [f64]) -> Self {
        Self { values, rows: values.len(), stride: 1 }
    }
}

impl<'a> Strided<'a> {
    /// The column of `rows` numbers that begins at the first one of `values`.
    ///
    /// # Errors
    /// - [`Error::Parameter`]: a stride of 0.
    /// - [`Error::Shape`]: `values` ends before the column does.
    pub fn new(values: &'a [f64], rows: usize, stride: usize) -> Result<Self, Error> {
        if stride == 0 {
            return Err(Error::Parameter { name: "the stride", got: "0".into(), allowed: "at least 1" });
        }
        enough("a column with its stride", values, &[(rows, stride)])?;
        Ok(Self { values, rows, stride })
    }

    /// One number in all rows.
    pub(crate) fn constant(value: &'a [f64; 1], rows: usize) -> Self {
        Self { values: value, rows, stride: 0 }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The numbers, row by row.
    pub fn iter(&self) -> impl Iterator<Item = f64> + use<'a> {
        let Self { values, rows, stride } = *self;
        (0..rows).map(move |row| values[row * stride])
    }

    /// The numbers of some rows, side by side: where they lie if they are, else copied into `scratch`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the column ends before the range.
    ///
    /// # Example
    /// ```
    /// let values = [1.0, 10.0, 2.0, 20.0, 3.0];
    /// let mut scratch = Vec::new();
    /// let odd = hattention::Strided::new(&values, 3, 2).unwrap();
    /// assert_eq!(odd.read(1..3, &mut scratch).unwrap(), [2.0, 3.0]);
    /// ```
    pub fn read<'s>(&self, rows: Range<usize>, scratch: &'s mut Vec<f64>) -> Result<&'s [f64], Error>
    where
        'a: 's,
    {
        within(&rows, self.rows)?;
        let part = self.slice(rows);
        if let Some(values) = part.contiguous() {
            return Ok(values);
        }
        scratch.clear();
        scratch.extend(part.iter());
        Ok(scratch)
    }

    /// The rows of a range within the column.
    pub(crate) fn slice(self, rows: Range<usize>) -> Self {
        Self { values: self.values.get(rows.start * self.stride..).unwrap_or(&[]), rows: rows.len(), ..self }
    }

    /// Every `step`th number from the first on, `step ≥ 1`.
    pub(crate) fn every(self, step: usize) -> Self {
        Self { rows: self.rows.div_ceil(step), stride: self.stride.saturating_mul(step), ..self }
    }

    /// The numbers, if they lie side by side.
    pub(crate) fn contiguous(self) -> Option<&'a [f64]> {
        (self.stride == 1 || self.rows <= 1).then(|| &self.values[..self.rows])
    }
}

/// A matrix whose rows and whose columns are a fixed distance apart: number `(i, j)` is
/// `values[i · row stride + j · column stride]`.
///
/// # Shapes
/// `[rows, columns]`. C's order has strides `[columns, 1]`, Fortran's `[1, rows]`; a slice keeps those of its array, times
/// its steps. A stride of 0 repeats a row or column.
///
/// # Equals
/// A two-dimensional array of numpy whose strides (there in bytes) are not negative.
///
/// # Numerics
/// Whatever is made of a table has the bits that it has of the same numbers in columns side by side.
///
/// # Example
/// ```
/// use hattention::{Moments, Table};
/// let c_order = [1.0, 10.0, 2.0, 20.0, 4.0, 30.0];
/// let table = Table::new(&c_order, [3, 2], [2, 1]).unwrap();
/// assert_eq!(table.column(1).unwrap().iter().collect::<Vec<_>>(), [10.0, 20.0, 30.0]);
///
/// // In blocks of rows, for whatever takes blocks.
/// let (mut state, mut scratch) = (Moments::new(2), Vec::new());
/// for first in (0..3).step_by(2) {
///     state.push(&table.block(first..3.min(first + 2), &mut scratch).unwrap()).unwrap();
/// }
/// assert_eq!(state, Moments::of_table(&table, &[], None).unwrap());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    values: &'a [f64],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl<'a> Table<'a> {
    /// The table whose number `(0, 0)` is the first one of `values`.
    ///
    /// # Shapes
    /// `shape` is `[rows, columns]`; `strides`, in numbers, those from a row and from a column to the next.
    ///
    /// # Errors
    /// - [`Error::Shape`]: `values` ends before the table does.
    /// - [`Error::Parameter`]: 2²⁰ columns or more, which no state can have.
    pub fn new(values: &'a [f64], shape: [usize; 2], strides: [usize; 2]) -> Result<Self, Error> {
        if shape[1] >= LARGEST_COLUMNS {
            let (name, allowed) = ("the number of columns", "less than 2^20");
            return Err(Error::Parameter { name, got: shape[1].to_string(), allowed });
        }
        enough("a table with its strides", values, &[(shape[0], strides[0]), (shape[1], strides[1])])?;
        Ok(Self { values, shape, strides })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.shape[0]
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.shape[1]
    }

    /// A column; `None` beyond the last.
    pub fn column(&self, column: usize) -> Option<Strided<'a>> {
        (column < self.columns()).then(|| {
            // (A table without rows may have columns anywhere.)
            let values = self.values.get(column.saturating_mul(self.strides[1])..).unwrap_or(&[]);
            Strided { values, rows: self.rows(), stride: self.strides[0] }
        })
    }

    /// All columns, in order.
    pub(crate) fn all(&self) -> impl Iterator<Item = Strided<'a>> {
        (0..self.columns()).filter_map(|column| self.column(column))
    }

    /// Some rows as a block without weights: columns whose numbers lie side by side are read where they are, the others are
    /// copied into `scratch`.
    ///
    /// # Numerics
    /// Copied in tiles that stay in the first-level cache. A block that is to stay in the second-level cache has
    /// `100,000 / columns` numbers a column or less.
    ///
    /// # Errors
    /// [`Error::Shape`] if the table ends before the range.
    pub fn block<'s>(&self, rows: Range<usize>, scratch: &'s mut Vec<f64>) -> Result<Block<'s>, Error>
    where
        'a: 's,
    {
        within(&rows, self.rows())?;
        let count = rows.len();
        let columns: Vec<Strided<'a>> = self.all().collect();
        let columns = gather(&runs(&columns), rows, scratch).into_iter().map(Column::Dense).collect();
        Ok(Block { rows: count, columns, weights: None })
    }
}

/// Whether `values` has a number at the end of every axis `(length, stride)`.
fn enough(what: &'static str, values: &[f64], axes: &[(usize, usize)]) -> Result<(), Error> {
    if axes.iter().any(|(length, _)| *length == 0) {
        return Ok(());
    }
    let reach = |sum: usize, (length, stride): &(usize, usize)| sum.checked_add((length - 1).checked_mul(*stride)?);
    let expected = axes.iter().try_fold(1, reach).unwrap_or(usize::MAX);
    if expected <= values.len() { Ok(()) } else { Err(Error::Shape { what, expected, got: values.len() }) }
}

fn within(range: &Range<usize>, rows: usize) -> Result<(), Error> {
    let last = range.end.max(range.start);
    if last <= rows { Ok(()) } else { Err(Error::Shape { what: "the range of rows", expected: rows, got: last }) }
}

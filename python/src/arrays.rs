//! Arrays of numpy as views: rows of any layout, never copied.

use std::ops::Range;

use hattention::{Error, Strided, Table};
use numpy::{PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};

/// What a fit of arrays reads.
pub struct Arrays<'a> {
    /// The inputs. Shape: `[rows, columns]`.
    pub table: Table<'a>,
    /// The targets, each of `rows`.
    pub targets: Vec<Strided<'a>>,
    /// The observation weights.
    pub weights: Option<Strided<'a>>,
}

impl<'a> Arrays<'a> {
    /// Views of arrays, whose strides must not be negative.
    ///
    /// # Errors
    /// If they are not of the same number of rows.
    pub fn of(
        inputs: &'a PyReadonlyArray2<'_, f64>,
        targets: Option<&'a PyReadonlyArray2<'_, f64>>,
        weights: Option<&'a PyReadonlyArray1<'_, f64>>,
    ) -> Result<Self, Error> {
        let rows = inputs.shape()[0];
        let same = |what: &'static str, got: usize| match got == rows {
            true => Ok(()),
            false => Err(Error::Shape { what, expected: rows, got }),
        };
        let targets = match targets {
            None => Vec::new(),
            Some(targets) => {
                same("the targets", targets.shape()[0])?;
                let targets = view(targets)?;
                (0..targets.columns()).filter_map(|target| targets.column(target)).collect()
            }
        };
        let weights = match weights {
            None => None,
            Some(weights) => {
                same("the weights", weights.shape()[0])?;
                let stride = stride(weights.strides()[0]);
                Some(Strided::new(numbers(weights.as_array().as_ptr(), &[(rows, stride)]), rows, stride.max(1))?)
            }
        };
        Ok(Self { table: view(inputs)?, targets, weights })
    }

    /// The rows in pieces of so many.
    pub fn pieces(&self, rows: usize) -> Vec<Range<usize>> {
        let all = self.table.rows();
        (0..all).step_by(rows.max(1)).map(|start| start..all.min(start + rows)).collect()
    }
}

/// An array as a table.
fn view<'a>(array: &'a PyReadonlyArray2<'_, f64>) -> Result<Table<'a>, Error> {
    let shape = [array.shape()[0], array.shape()[1]];
    let strides = [stride(array.strides()[0]), stride(array.strides()[1])];
    let values = numbers(array.as_array().as_ptr(), &[(shape[0], strides[0]), (shape[1], strides[1])]);
    Table::new(values, shape, strides)
}

/// A stride in numbers.
fn stride(bytes: isize) -> usize {
    bytes.max(0) as usize / size_of::<f64>()
}

/// The numbers that an array of such axes, `(length, stride)` each, is spread over.
fn numbers<'a>(first: *const f64, axes: &[(usize, usize)]) -> &'a [f64] {
    if axes.iter().any(|(length, _)| *length == 0) {
        return &[];
    }
    let last: usize = axes.iter().map(|(length, stride)| (length - 1) * stride).sum();
    // SAFETY: numpy's array has its first number at `first`, aligned for doubles, and its last one `last` further on, in one
    // allocation; the read-only borrow that the view is made of keeps the array. (Whoever writes to an array while it is
    // read gets numbers of both.)
    #[allow(unsafe_code)]
    unsafe {
        std::slice::from_raw_parts(first, last + 1)
    }
}

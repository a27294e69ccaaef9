//! The state of a table of any layout.

use std::ops::Range;

use rayon::prelude::*;

use super::blocks::add_strided;
use super::{LARGEST_COLUMNS, Moments, Stored, log_sums, merge_options};
use crate::error::Error;
use crate::exact::kernel::Kernel;
use crate::strided::{Run, Strided, Table, gather, runs};

/// Rows that are looked through at a time.
const ROWS: usize = 4096;

impl Moments {
    /// The state of a table's rows and of targets, using all threads of the current rayon pool. Its columns are those of
    /// the table, and the targets after them.
    ///
    /// # Shapes
    /// `table`: `[rows, columns]`; each target and the weights (`wᵢ ≥ 0`): `[rows]`.
    ///
    /// # Equals
    /// [`Moments::of`] of the same columns in one block, in bits.
    ///
    /// # Numerics
    /// As [`Moments::of`]. Columns that do not lie side by side are copied in stretches of 512 rows, 32 columns at a time;
    /// only with weights is every thread's chunk of rows held as numbers times weights, as it is for blocks.
    ///
    /// # Errors
    /// - [`Error::Shape`]: targets or weights of another length than the table has rows.
    /// - [`Error::Parameter`]: 2²⁰ columns or more.
    /// - [`Error::Weight`]: a weight that is negative or not finite, the first one.
    /// - [`Error::NonFinite`]: NaN or infinity: the first row with one, and there the first column.
    ///
    /// # Example
    /// ```
    /// use hattention::{Block, Column, Moments, Strided, Table};
    /// let (x, y) = ([1.0, 2.0, 4.0], [1.0, 3.0, 2.0]);
    /// let both = [1.0, 1.0, 2.0, 3.0, 4.0, 2.0];
    /// let table = Table::new(&both, [3, 1], [2, 1]).unwrap();
    /// let state = Moments::of_table(&table, &[Strided::from(&y[..])], None).unwrap();
    /// let block = Block { rows: 3, columns: vec![Column::Dense(&x), Column::Dense(&y)], weights: None };
    /// assert_eq!(state, Moments::of(&block).unwrap());
    /// ```
    pub fn of_table(table: &Table<'_>, targets: &[Strided<'_>], weights: Option<Strided<'_>>) -> Result<Self, Error> {
        let rows = table.rows();
        let of_length = |what: &'static str, column: &Strided<'_>| {
            let got = column.len();
            if got == rows { Ok(()) } else { Err(Error::Shape { what, expected: rows, got }) }
        };
        targets.iter().try_for_each(|target| of_length("a target", target))?;
        weights.iter().try_for_each(|weights| of_length("the weights", weights))?;
        let columns: Vec<Strided<'_>> = table.all().chain(targets.iter().copied()).collect();
        if columns.len() >= LARGEST_COLUMNS {
            let (name, allowed) = ("the number of columns", "less than 2^20");
            return Err(Error::Parameter { name, got: columns.len().to_string(), allowed });
        }
        let kernel = Kernel::detect();
        let mut state = Self::new(columns.len());
        state.rows = rows as u64;
        if let Some(weights) = weights {
            state.weigh(kernel, weights)?;
        }
        add_strided(kernel, &mut state.sums, &columns, rows, weights)
            .ok_or_else(|| first_not_finite(&columns, rows))?;
        state.stored[1..].fill(Stored { numbers: rows as u64, pairs: 0, beyond: 0 });
        Ok(state)
    }

    /// Counts the rows with positive weight and adds up the logarithms.
    fn weigh(&mut self, kernel: Kernel, weights: Strided<'_>) -> Result<(), Error> {
        let valid = |w: f64| w.is_finite() && w >= 0.0;
        let parts = stretches(weights.len()).into_par_iter().map(|range| {
            let first = range.start;
            let part: Vec<f64> = weights.slice(range).iter().collect();
            match part.iter().position(|w| !valid(*w)) {
                Some(row) => Err(Error::Weight { row: first + row, value: part[row] }),
                None => Ok((part.iter().filter(|w| **w > 0.0).count() as u64, log_sums(kernel, &part))),
            }
        });
        let parts: Vec<Result<_, Error>> = parts.collect();
        self.rows = 0;
        self.log_weights = Some(log_sums(kernel, &[]));
        for part in parts {
            let (rows, logs) = part?;
            self.rows += rows;
            merge_options(&mut self.log_weights, &Some(logs), false);
        }
        Ok(())
    }
}

/// All rows, a stretch at a time.
fn stretches(rows: usize) -> Vec<Range<usize>> {
    (0..rows).step_by(ROWS).map(|start| start..rows.min(start + ROWS)).collect()
}

/// The first row with a number that is not finite, and its first column that has one.
fn first_not_finite(columns: &[Strided<'_>], rows: usize) -> Error {
    let runs = runs(columns);
    let place = stretches(rows).into_par_iter().find_map_first(|range| first_in(&runs, range));
    let (row, column) = place.unwrap_or((0, 0));
    let value = columns.get(column).and_then(|column| column.slice(row..row + 1).iter().next());
    Error::NonFinite { row, column, value: value.unwrap_or(f64::NAN) }
}

fn first_in(runs: &[Run<'_>], range: Range<usize>) -> Option<(usize, usize)> {
    let first = range.start;
    let mut scratch = Vec::new();
    // (A part of the columns at a time, so that scratch stays small.)
    let parts = runs.iter().flat_map(|run| run.parts(32)).filter_map(|run| {
        let columns = gather(std::slice::from_ref(&run), range.clone(), &mut scratch);
        let places = run.places.clone().zip(columns);
        places.filter_map(|(column, values)| Some((values.iter().position(|x| !x.is_finite())?, column))).min()
    });
    parts.min().map(|(row, column)| (first + row, column))
}

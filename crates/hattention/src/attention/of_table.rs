//! Predictions and leverages of the rows of a table of any layout.

use rayon::prelude::*;

use super::kept::Places;
use super::{CHUNK, Keys, add_up};
use crate::error::Error;
use crate::fit::Fit;
use crate::strided::{Strided, Table};
use crate::whitening::Whitening;

/// Predictions `β₀ + xᵀβ` of a table's rows in doubled arithmetic, rounded once, on all threads of the current rayon pool.
///
/// `ids[c]` is the state's column of the table's column `c`, and absent ones are zero.
///
/// # Shapes
/// `table`: `[rows, columns]`; `ids`: `[columns]`; `into`: `[rows]`.
///
/// # Equals
/// [`predict`](super::predict) of the same columns in one block, in bits.
///
/// # Numerics
/// As there. Every thread brings a few dozen to some thousand rows into columns at a time, half a megabyte or less for up
/// to 1,000 columns.
///
/// # Errors
/// [`Error::Shape`] if there are not as many ids as columns, or as many predictions as rows.
///
/// # Example
/// ```
/// use hattention::{Design, Strided, Table, attention, in_memory};
/// let rows = [1.0, 0.0, 2.0, 1.0, 3.0, 0.0, 4.0, 1.0];
/// let table = Table::new(&rows, [4, 2], [2, 1]).unwrap();
/// let y = [3.0, 5.0, 7.0, 9.5];
/// let design = Design::plain(["x", "z"], true);
/// let targets = [(Strided::from(&y[..]), "y")];
/// let (whitening, fits) = in_memory::fit_table(&table, &design, &targets, None, Default::default()).unwrap();
/// let mut predictions = [0.0; 4];
/// attention::predict_table(&whitening, &fits[0], &table, &[0, 1], &mut predictions).unwrap();
/// assert_eq!(predictions, [2.875, 5.125, 7.125, 9.375]);
/// ```
pub fn predict_table(
    whitening: &Whitening,
    fit: &Fit,
    table: &Table<'_>,
    ids: &[usize],
    into: &mut [f64],
) -> Result<(), Error> {
    check(table, ids, "the predictions", into.len())?;
    let places = Places::of(whitening, ids);
    let rows = chunk_rows(table.columns());
    let chunks = into.par_chunks_mut(rows).enumerate();
    chunks.try_for_each_init(
        || (Vec::new(), vec![(0.0, 0.0); rows]),
        |(scratch, sums), (chunk, into)| {
            let first = chunk * rows;
            let block = table.block(first..first + into.len(), scratch)?;
            let sums = &mut sums[..into.len()];
            add_up(fit, &places.in_block(&block), sums);
            into.iter_mut().zip(sums).for_each(|(prediction, (hi, lo))| *prediction = *hi + *lo);
            Ok(())
        },
    )
}

/// Leverages `hᵢ = wᵢ ‖kᵢ‖²` of a table's rows, on all threads of the current rayon pool; without weights `‖kᵢ‖²`, the
/// attention of each row to itself.
///
/// `ids[c]` is the state's column of the table's column `c`, and absent ones are zero.
///
/// # Shapes
/// `table`: `[rows, columns]`; `ids`: `[columns]`; `weights` and `into`: `[rows]`.
///
/// # Equals
/// [`Keys::leverages`] of the same columns in one block, in bits; `hatvalues` in R.
///
/// # Numerics
/// As there. Memory beside the result is the keys of at most 1,024 rows a thread.
///
/// # Errors
/// [`Error::Shape`] if there are not as many ids as columns, or as many leverages or weights as rows.
pub fn leverages_table(
    whitening: &Whitening,
    table: &Table<'_>,
    ids: &[usize],
    weights: Option<Strided<'_>>,
    into: &mut [f64],
) -> Result<(), Error> {
    check(table, ids, "the leverages", into.len())?;
    if let Some(got) = weights.map(|w| w.len()).filter(|got| *got != table.rows()) {
        return Err(Error::Shape { what: "the weights", expected: table.rows(), got });
    }
    let places = Places::of(whitening, ids);
    let rows = chunk_rows(table.columns()).min(CHUNK);
    let chunks = into.par_chunks_mut(rows).enumerate();
    chunks.try_for_each_init(
        || (Vec::new(), Vec::new()),
        |(scratch, weights_scratch), (chunk, into)| {
            let range = chunk * rows..chunk * rows + into.len();
            let block = table.block(range.clone(), scratch)?;
            let weights = weights.as_ref().map(|w| w.read(range, weights_scratch)).transpose()?;
            into.copy_from_slice(&Keys::of_kept(whitening, &places.in_block(&block), block.rows).leverages(weights));
            Ok(())
        },
    )
}

/// Rows that are brought into columns at a time: they stay in the second-level cache.
fn chunk_rows(columns: usize) -> usize {
    ((1 << 16) / columns.max(1)).clamp(64, 2 * CHUNK)
}

fn check(table: &Table<'_>, ids: &[usize], what: &'static str, length: usize) -> Result<(), Error> {
    if ids.len() != table.columns() {
        return Err(Error::Shape { what: "the list of columns", expected: table.columns(), got: ids.len() });
    }
    if length != table.rows() {
        return Err(Error::Shape { what, expected: table.rows(), got: length });
    }
    Ok(())
}

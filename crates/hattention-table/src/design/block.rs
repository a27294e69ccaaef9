//! Encoded rows: the buffers a block of the design borrows from.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::ScalarBuffer;
use hattention::block::{Block, Column};

use super::numbers::Numbers;

/// One batch of a table as rows of the design. It owns its buffers, or shares them with the batch.
///
/// # Shapes
/// Every column, target, weight and extra column has [`rows`](Self::rows) entries: the rows without missing values, in
/// the order of the batch.
#[derive(Clone, Debug)]
pub struct EncodedBlock {
    pub(crate) input_rows: usize,
    pub(crate) first_row: u64,
    pub(crate) kept: Option<Vec<u32>>,
    pub(crate) missing: Vec<(String, usize)>,
    pub(crate) unseen: usize,
    pub(crate) unseen_levels: Vec<(String, String)>,
    pub(crate) columns: Vec<(usize, Storage)>,
    pub(crate) targets: Vec<Numbers>,
    pub(crate) weights: Option<ScalarBuffer<f64>>,
    pub(crate) extras: Vec<ArrayRef>,
}

/// How a column of the block is stored. Codes and numbers are shared between columns.
#[derive(Clone, Debug)]
pub(crate) enum Storage {
    Numeric(Numbers),
    Indicator { codes: Arc<Vec<u32>>, code: u32 },
    Within { codes: Arc<Vec<u32>>, code: u32, values: Numbers },
}

impl Storage {
    fn as_column(&self) -> Column<'_> {
        match self {
            Self::Numeric(numbers) => numbers.as_column(),
            Self::Indicator { codes, code } => Column::Indicator { codes, code: *code },
            Self::Within { codes, code, values } => {
                Column::Within { codes, code: *code, hi: &values.hi, lo: values.lo.as_deref() }
            }
        }
    }
}

impl EncodedBlock {
    /// Rows of the block: the rows of the batch that are kept.
    pub fn rows(&self) -> usize {
        self.kept.as_ref().map_or(self.input_rows, Vec::len)
    }

    /// Rows of the batch.
    pub fn input_rows(&self) -> usize {
        self.input_rows
    }

    /// Rows of the batch that were left out: some value is missing, or a level is unknown and asked to be null.
    pub fn dropped(&self) -> usize {
        self.input_rows - self.rows()
    }

    /// How many rows miss a value in each column that misses any. A row may count under several columns.
    pub fn missing(&self) -> &[(String, usize)] {
        &self.missing
    }

    /// Rows left out for a level that the model does not know.
    pub fn unseen(&self) -> usize {
        self.unseen
    }

    /// Columns and their levels, as printed, for which rows were left out.
    pub fn unseen_levels(&self) -> &[(String, String)] {
        &self.unseen_levels
    }

    /// The positions in the batch of the kept rows, ascending; `None` when all are kept. Shape: `[rows]`.
    pub fn kept(&self) -> Option<&[u32]> {
        self.kept.as_deref()
    }

    /// Whether each row of the batch is kept; `None` when all are. Shape: `[input_rows]`.
    pub fn valid(&self) -> Option<Vec<bool>> {
        self.kept.as_ref().map(|kept| {
            let mut valid = vec![false; self.input_rows];
            kept.iter().for_each(|&row| valid[row as usize] = true);
            valid
        })
    }

    /// The number of a row of the block in its data, counted from 1.
    ///
    /// # Panics
    /// Never for `i < rows()`.
    pub fn row_number(&self, i: usize) -> u64 {
        let position = self.kept.as_ref().map_or(i, |kept| kept[i] as usize);
        self.first_row + position as u64 + 1
    }

    /// One value for every row of the batch, null where the row was left out. Shapes: `[rows]` to `[input_rows]`.
    pub fn scatter(&self, values: &[f64]) -> Vec<Option<f64>> {
        match &self.kept {
            None => values.iter().copied().map(Some).collect(),
            Some(kept) => {
                let mut all = vec![None; self.input_rows];
                kept.iter().zip(values).for_each(|(&row, &value)| all[row as usize] = Some(value));
                all
            }
        }
    }

    /// The columns of the design that are not zero throughout the block, each with its identity, ascending: of a factor,
    /// only levels that occur.
    ///
    /// The identity is that of a state column while a table is scanned ([`Design`](super::Design)), and the position of
    /// a coefficient, the intercept not counted, under a [`FrozenDesign`](super::FrozenDesign).
    pub fn columns(&self) -> Vec<(usize, Column<'_>)> {
        self.columns.iter().map(|(id, storage)| (*id, storage.as_column())).collect()
    }

    /// The targets, left to right; empty where they were not asked for.
    pub fn targets(&self) -> Vec<Column<'_>> {
        self.targets.iter().map(Numbers::as_column).collect()
    }

    /// The weights, `≥ 0`. Shape: `[rows]`.
    pub fn weights(&self) -> Option<&[f64]> {
        self.weights.as_deref()
    }

    /// The extra columns asked for, as Arrow arrays of the kept rows.
    pub fn extras(&self) -> &[ArrayRef] {
        &self.extras
    }

    /// The block that a state takes, and the identity of each of its columns; targets come last.
    pub fn block(&self) -> (Vec<usize>, Block<'_>) {
        let (ids, mut columns): (Vec<usize>, Vec<Column<'_>>) = self.columns().into_iter().unzip();
        columns.extend(self.targets());
        (ids, Block { rows: self.rows(), columns, weights: self.weights() })
    }
}

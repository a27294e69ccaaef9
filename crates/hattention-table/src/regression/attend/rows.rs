//! Rows of a table as inputs and targets, in memory.

use arrow::array::{ArrayRef, UInt64Array};
use arrow::compute::{SortColumn, concat, lexsort_to_indices};
use hattention::attention;
use hattention::codec;

use super::super::failure::{Failure, counted};
use super::super::fit::explain_text;
use super::super::model::{TableModel, numbers};
use super::super::pass::{ClusterCodes, owned};
use super::super::watch::Watch;
use crate::design::{FrozenOptions, NaPolicy, Unseen};
use crate::error::TableError;
use crate::source::{ScanOrder, Source};

/// Rows that an attention regression reads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Inputs by columns. Shape: `[columns][rows]`.
    pub inputs: Vec<Vec<f64>>,
    /// Targets. Shape: `[rows]`.
    pub target: Vec<f64>,
    /// The block of each row, under a mask of blocks.
    pub blocks: Option<Vec<u64>>,
    /// The number of each row in its source, counted from 1.
    pub numbers: Vec<u64>,
    /// Rows left out for missing values.
    pub dropped: u64,
}

/// Which rows are read, and in which order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) block: Option<&'a str>,
    pub(super) order: Option<&'a str>,
    pub(super) na: NaPolicy,
}

impl Rows {
    /// The inputs as the engine takes them.
    pub fn columns(&self) -> Vec<&[f64]> {
        self.inputs.iter().map(|column| &column[..]).collect()
    }

    pub(super) fn stored(self) -> codec::Rows {
        let Self { inputs, target, blocks, numbers, .. } = self;
        codec::Rows { inputs, target, blocks, numbers }
    }

    pub(super) fn of_stored(rows: codec::Rows) -> Self {
        let codec::Rows { inputs, target, blocks, numbers } = rows;
        Self { inputs, target, blocks, numbers, dropped: 0 }
    }

    /// All rows of a source that have a target, sorted by the column that orders them (rows of the same value stay as they
    /// are).
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn read(
        model: &TableModel,
        source: &Source,
        wanted: Wanted<'_>,
        watch: &dyn Watch,
    ) -> Result<Self, Failure> {
        let extras = [wanted.block, wanted.order].into_iter().flatten().map(str::to_owned).collect();
        let options = FrozenOptions { targets: true, weights: false, extras, unseen: Unseen::Error, na: wanted.na };
        let encoder = model.frozen.encoder(&source.schema(), &options).map_err(|e| explain_text(source, e))?;
        let target = model.target_places()[0];
        let whitening = &model.model.whitening;
        let mut rows = Self { inputs: vec![Vec::new(); whitening.kept.len()], ..Self::default() };
        let (codes, mut blocks, mut keys) = (ClusterCodes::new(1), Vec::new(), Vec::new());
        let pass = watch.pass("reading rows", source.bytes_total());
        for batch in source.scan(&owned(&encoder.input_columns()), ScanOrder::File)? {
            let batch = batch?;
            let encoded = encoder
                .encode(&batch.batch, batch.first_row.unwrap_or(0))
                .map_err(|error| Failure::from(error).placed(source))?;
            let (ids, mut block) = encoded.block();
            block.columns.truncate(ids.len());
            let columns = attention::columns(whitening, &block, &ids)?;
            for (all, column) in rows.inputs.iter_mut().zip(columns) {
                all.extend(column.iter().map(|x| x.to_f64()));
            }
            rows.target.extend(numbers(encoded.targets()[target]));
            rows.numbers.extend((0..encoded.rows()).map(|row| encoded.row_number(row)));
            rows.dropped += encoded.dropped() as u64;
            let mut extras = encoded.extras().iter();
            if wanted.block.is_some()
                && let Some(array) = extras.next()
            {
                blocks.extend(codes.of(std::slice::from_ref(array))?.concat().into_iter().map(u64::from));
            }
            keys.extend(extras.next().cloned());
            pass.add(batch.bytes)?;
        }
        rows.blocks = wanted.block.map(|_| blocks);
        match wanted.order {
            Some(order) => rows.sorted(order, &keys, watch),
            None => Ok(rows),
        }
    }

    fn sorted(self, name: &str, keys: &[ArrayRef], watch: &dyn Watch) -> Result<Self, Failure> {
        if self.target.is_empty() {
            return Ok(self);
        }
        let failed = |error: &dyn std::fmt::Display| {
            Failure::from(TableError::Arrow { operation: "sorting rows".into(), message: error.to_string() })
        };
        let arrays: Vec<&dyn arrow::array::Array> = keys.iter().map(|key| &**key).collect();
        let key = concat(&arrays).map_err(|e| failed(&e))?;
        let place: ArrayRef = std::sync::Arc::new(UInt64Array::from_iter_values(0..self.target.len() as u64));
        let column = |values: &ArrayRef| SortColumn { values: values.clone(), options: None };
        let indices = lexsort_to_indices(&[column(&key), column(&place)], None).map_err(|e| failed(&e))?;
        let order: Vec<usize> = indices.values().iter().map(|i| *i as usize).collect();
        let compare = arrow::array::make_comparator(&key, &key, Default::default()).map_err(|e| failed(&e))?;
        let ties = order.windows(2).filter(|pair| compare(pair[0], pair[1]).is_eq()).count() as u64;
        if ties > 0 {
            let shares = if ties == 1 { "shares" } else { "share" };
            let rows = counted(ties, "row");
            watch.note(&format!("{rows} {shares} `{name}` with the row before; they keep the source's order"));
        }
        let of = |values: &[f64]| -> Vec<f64> { order.iter().map(|i| values[*i]).collect() };
        Ok(Self {
            inputs: self.inputs.iter().map(|column| of(column)).collect(),
            target: of(&self.target),
            blocks: self.blocks.map(|blocks| order.iter().map(|i| blocks[*i]).collect()),
            numbers: order.iter().map(|i| self.numbers[*i]).collect(),
            dropped: self.dropped,
        })
    }
}

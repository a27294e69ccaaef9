//! Record batches in memory, read as one table without being copied.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{Schema, SchemaRef};

use super::error::SourceError;
use super::files::no_column;
use super::schema::{category_values, conform, expect_distinct, leaving_schema};
use super::work::Decoded;

/// A table in memory.
#[derive(Debug)]
pub(crate) struct Batches {
    batches: Vec<RecordBatch>,
    /// The columns as they leave.
    pub(crate) schema: SchemaRef,
    pub(crate) rows: u64,
    /// Rows of a batch that leaves, at most.
    batch_rows: usize,
}

/// Some rows of one of the batches.
struct Slice {
    batch: usize,
    offset: usize,
    rows: usize,
    /// Counted from 0 over all batches.
    first_row: u64,
}

impl Batches {
    /// Batches of one schema.
    pub(crate) fn new(
        schema: &Schema,
        batches: Vec<RecordBatch>,
        label: &str,
        batch_rows: usize,
    ) -> Result<Self, SourceError> {
        expect_distinct(label, schema.fields().iter().map(|field| field.name().as_str()))?;
        let damaged = |message: String| SourceError::InMemory { path: label.into(), message };
        let mut plain = Vec::with_capacity(batches.len());
        for batch in batches {
            if batch.num_columns() != schema.fields().len() {
                let (got, expected) = (batch.num_columns(), schema.fields().len());
                return Err(damaged(format!("a batch has {got} columns, and the table {expected}")));
            }
            plain.push(with_plain_labels(&batch).map_err(damaged)?);
        }
        let rows = plain.iter().map(|batch| batch.num_rows() as u64).sum();
        Ok(Self { batches: plain, schema: leaving_schema(schema), rows, batch_rows })
    }

    /// A pass over some of the columns.
    pub(crate) fn scan(self: &Arc<Self>, columns: &[String], label: &str) -> Result<BatchScan, SourceError> {
        let mut positions = Vec::with_capacity(columns.len());
        for column in columns {
            let position = self.schema.index_of(column);
            positions.push(position.map_err(|_| no_column(label, column, &self.schema))?);
        }
        let fields: Vec<_> = positions.iter().map(|&at| Arc::clone(&self.schema.fields()[at])).collect();
        let schema = Arc::new(Schema::new(fields));
        Ok(BatchScan {
            batches: Arc::clone(self),
            label: label.into(),
            positions,
            schema,
            slices: self.slices(),
            at: 0,
        })
    }

    fn slices(&self) -> Arc<[Slice]> {
        let mut slices = Vec::new();
        let mut first_row = 0;
        for (batch, of) in self.batches.iter().enumerate() {
            for offset in (0..of.num_rows()).step_by(self.batch_rows) {
                let rows = self.batch_rows.min(of.num_rows() - offset);
                slices.push(Slice { batch, offset, rows, first_row });
                first_row += rows as u64;
            }
        }
        slices.into()
    }
}

/// A running pass.
#[derive(Clone)]
pub(crate) struct BatchScan {
    batches: Arc<Batches>,
    label: String,
    positions: Vec<usize>,
    pub(crate) schema: SchemaRef,
    slices: Arc<[Slice]>,
    at: usize,
}

impl BatchScan {
    /// How many batches leave.
    pub(crate) fn len(&self) -> usize {
        self.slices.len()
    }

    /// A batch by its number.
    pub(crate) fn batch(&self, number: usize) -> Result<Decoded, SourceError> {
        let Slice { batch, offset, rows, first_row } = &self.slices[number];
        let rows = self.batches.batches[*batch].slice(*offset, *rows);
        let failed = |message: String| SourceError::InMemory { path: self.label.clone(), message };
        let columns = rows.project(&self.positions).map_err(|error| failed(error.to_string()))?;
        let batch = conform(&columns, &self.schema).map_err(failed)?;
        Ok(Decoded { first_row: Some(*first_row), bytes: batch.num_rows() as u64, batch })
    }

    pub(crate) fn next(&mut self) -> Option<Result<Decoded, SourceError>> {
        self.at += 1;
        (self.at <= self.len()).then(|| self.batch(self.at - 1))
    }
}

/// The batch with the values of its dictionaries as they leave: converted once, and not for every slice of its rows.
fn with_plain_labels(batch: &RecordBatch) -> Result<RecordBatch, String> {
    let columns = batch.columns().iter().map(|column| match column.as_any_dictionary_opt() {
        Some(dictionary) => {
            let leaving = category_values(dictionary.values().data_type());
            let values = cast(dictionary.values(), &leaving).map_err(|error| error.to_string())?;
            Ok(dictionary.with_values(values))
        }
        None => Ok(Arc::clone(column)),
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>, String>>()?;
    let fields = batch.schema_ref().fields().iter().zip(&columns);
    let fields: Vec<_> =
        fields.map(|(field, column)| field.as_ref().clone().with_data_type(column.data_type().clone())).collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).map_err(|e| e.to_string())
}

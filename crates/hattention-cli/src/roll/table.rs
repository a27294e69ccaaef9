//! The result of a roll as a table: printed, CSV or Parquet.

use std::ops::Range;
use std::sync::Arc;

use hattention::roll::{Rolled, Rung, Status};
use hattention_table::arrow::array::{Array, ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};
use hattention_table::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::args::RollArgs;
use super::names_of;
use super::rows::Rows;
use crate::failure::Failure;
use crate::sink::{Sink, unwritable};

/// Rows that are made into arrays and written at a time.
const SLICE: usize = 1 << 16;

/// Writes the rolls of all groups, group after group.
///
/// # Errors
/// If they cannot be written.
pub fn write(args: &RollArgs, rows: &Rows, rolled: &[Rolled]) -> Result<(), Failure> {
    let Some(first) = rolled.first() else { return Ok(()) };
    let labels = rows.labels.iter().map(|(name, array)| Field::new(name, array.data_type().clone(), true));
    let mut fields: Vec<Field> = labels.collect();
    fields.push(Field::new("row", DataType::UInt64, false));
    fields.push(Field::new("status", DataType::Utf8, false));
    fields.push(Field::new("n", DataType::UInt64, false));
    fields.extend(columns(first).into_iter().map(|(name, _)| Field::new(name, DataType::Float64, true)));
    let twice = fields[..rows.labels.len()].iter().find(|label| {
        let same = fields.iter().filter(|field| field.name() == label.name());
        same.count() > 1
    });
    if let Some(label) = twice {
        let message = format!("`{}` is also the name of a column of the result", label.name());
        return Err(Failure::usage(message, "rename it, for example with --sql"));
    }
    let schema = Arc::new(Schema::new(fields));
    let mut sink = Sink::open(args.output.as_deref(), &schema)?;
    for (group, rolled) in rows.groups.iter().zip(rolled) {
        for start in group.clone().step_by(SLICE) {
            let slice = start..(start + SLICE).min(group.end);
            sink.write(&batch(&schema, rows, rolled, group.start, slice)?)?;
        }
    }
    sink.finish()
}

/// Some rows of a group that starts at `first`.
fn batch(
    schema: &SchemaRef,
    rows: &Rows,
    rolled: &Rolled,
    first: usize,
    slice: Range<usize>,
) -> Result<RecordBatch, Failure> {
    let own = slice.start - first..slice.end - first;
    let mut arrays: Vec<ArrayRef> =
        rows.labels.iter().map(|(_, array)| array.slice(slice.start, slice.len())).collect();
    arrays.push(Arc::new(UInt64Array::from_iter_values(rows.numbers[slice].iter().map(|row| row + 1))));
    let status = rolled.status[own.clone()].iter().map(|status| name_of(*status, rolled));
    arrays.push(Arc::new(StringArray::from_iter_values(status)));
    arrays.push(Arc::new(UInt64Array::from_iter_values(rolled.rows_seen[own.clone()].iter().map(|n| *n as u64))));
    for (_, values) in columns(rolled) {
        let numbers = values[own.clone()].iter().map(|x| (!x.is_nan()).then_some(*x));
        arrays.push(Arc::new(numbers.collect::<Float64Array>()));
    }
    RecordBatch::try_new(Arc::clone(schema), arrays).map_err(|e| unwritable(&e))
}

fn name_of(status: Status, rolled: &Rolled) -> String {
    match status {
        Status::Fitted(Rung::Doubles) => "fitted".into(),
        Status::Fitted(Rung::Doubled) => "fitted (doubled)".into(),
        Status::Fitted(Rung::Exact) => "fitted (exact)".into(),
        Status::TooFewRows => "too few rows".into(),
        Status::Dependent(set) => format!("dependent: {}", names_of(&rolled.dependent[set])),
    }
}

/// Names of the columns of numbers; with several targets each begins with its target's name.
fn columns(rolled: &Rolled) -> Vec<(String, &[f64])> {
    let mut columns: Vec<(String, &[f64])> = Vec::new();
    for target in &rolled.targets {
        let prefix = if rolled.targets.len() > 1 { format!("{}.", target.name) } else { String::new() };
        let several = |of: &str, values: &'_ [Vec<f64>]| -> Vec<String> {
            (0..values.len()).map(|k| format!("{prefix}{of}_{}", rolled.names[k])).collect()
        };
        for (of, values) in [("b", &target.coefficients), ("se", &target.std_errors)] {
            columns.extend(several(of, values).into_iter().zip(values.iter().map(Vec::as_slice)));
        }
        let rest = [
            ("sigma", &target.sigma),
            ("predicted", &target.predicted),
            ("predicted_se", &target.predicted_se),
            ("residual", &target.residual),
            ("recursive_residual", &target.recursive_residual),
            ("cusum", &target.cusum),
            ("cusum_bound", &target.cusum_bound),
        ];
        columns.extend(rest.map(|(name, values)| (format!("{prefix}{name}"), values.as_slice())));
    }
    columns
}

//! What every query says, as a table.

use std::path::Path;
use std::sync::Arc;

use hattention::thermodynamics::Observables;
use hattention_table::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};

use super::found::Found;
use crate::failure::Failure;
use crate::sink::{Sink, unwritable};

/// Writes a row for every attention, head, batch and query; of queries that read no key nulls.
pub fn write(path: &Path, found: &[Found]) -> Result<(), Failure> {
    let mut sink: Option<Sink> = None;
    for found in found {
        for h in 0..found.heads.len() {
            let batch = of_head(found, h)?;
            let sink = match &mut sink {
                Some(sink) => sink,
                None => sink.insert(Sink::open(Some(path), &batch.schema())?),
            };
            sink.write(&batch)?;
        }
    }
    sink.map_or(Ok(()), Sink::finish)
}

fn of_head(found: &Found, h: usize) -> Result<RecordBatch, Failure> {
    let [_, _, queries, _] = found.shape;
    let rows = &found.heads[h].queries;
    let count = |of: &dyn Fn(usize) -> usize| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values((0..rows.len()).map(|at| of(at) as u64)))
    };
    let mut columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("attention", Arc::new(StringArray::from(vec![found.name.as_str(); rows.len()])), false),
        ("head", count(&|_| h + found.first), false),
        ("batch", count(&|at| at / queries), false),
        ("query", count(&|at| at % queries), false),
    ];
    for (c, name) in Observables::NAMES.iter().enumerate() {
        let values: Float64Array = rows.iter().map(|o| o.map(|o| o.values()[c])).collect();
        columns.push((name, Arc::new(values), true));
    }
    RecordBatch::try_from_iter_with_nullable(columns).map_err(|e| unwritable(&e))
}

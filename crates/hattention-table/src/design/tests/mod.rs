//! Designs of small tables, against values worked out by hand and the column names of R's `model.matrix`.

mod coding;
mod encoding;
mod frozen;

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use hattention::block::Column;

use super::*;

/// A column of texts.
fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// A column of doubles; `None` is null.
fn doubles<T: Into<Option<f64>> + Copy>(values: &[T]) -> ArrayRef {
    Arc::new(Float64Array::from(values.iter().map(|&value| value.into()).collect::<Vec<Option<f64>>>()))
}

fn integers(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn booleans(values: &[bool]) -> ArrayRef {
    Arc::new(BooleanArray::from(values.to_vec()))
}

fn table(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter(columns.iter().map(|(name, array)| (*name, Arc::clone(array)))).unwrap()
}

/// Every combination of a (p, q, r), b (s, t), c (u, v, w) and d (FALSE, TRUE) twice, in a scrambled order, with numbers
/// x and z and whole numbers k of 4, 6, 8.
fn crossed() -> RecordBatch {
    let rows = 72usize;
    let scrambled: Vec<usize> = (0..rows).map(|i| (i * 29 + 17) % rows).collect();
    let pick = |levels: &[&'static str], stride: usize| -> ArrayRef {
        texts(&scrambled.iter().map(|&i| levels[i / stride % levels.len()]).collect::<Vec<_>>())
    };
    let number = |f: &dyn Fn(usize) -> f64| -> ArrayRef { doubles(&(0..rows).map(f).collect::<Vec<f64>>()) };
    table(&[
        ("y", number(&|i| (i * i % 7) as f64)),
        ("a", pick(&["q", "p", "r"], 1)),
        ("b", pick(&["t", "s"], 3)),
        ("c", pick(&["w", "u", "v"], 6)),
        ("d", booleans(&scrambled.iter().map(|&i| i / 18 % 2 == 0).collect::<Vec<_>>())),
        ("x", number(&|i| (i * 7 % 13) as f64 - 3.0)),
        ("z", number(&|i| (i * 11 % 17) as f64 / 4.0)),
        ("k", integers(&scrambled.iter().map(|&i| [6, 4, 8][i % 3]).collect::<Vec<_>>())),
    ])
}

fn compile(formula: &str, batch: &RecordBatch) -> Result<Design, TableError> {
    Design::compile(&Formula::parse(formula)?, &batch.schema(), &DesignOptions::default())
}

/// Compiles and scans one batch.
fn scanned(formula: &str, batch: &RecordBatch) -> (Design, EncodedBlock) {
    let design = compile(formula, batch).unwrap_or_else(|error| panic!("{formula}: {error}"));
    let block = design.encode(batch, 0, NaPolicy::Drop).unwrap_or_else(|error| panic!("{formula}: {error}"));
    (design, block)
}

/// The numbers of a column, pairs rounded.
fn dense(column: Column<'_>, rows: usize) -> Vec<f64> {
    let number = |i: usize| match column {
        Column::Dense(values) => values[i],
        Column::Pair { hi, lo } => hi[i] + lo[i],
        Column::Indicator { codes, code } => f64::from(u8::from(codes[i] == code)),
        Column::Within { codes, code, hi, lo } => {
            if codes[i] == code {
                hi[i] + lo.map_or(0.0, |lo| lo[i])
            } else {
                0.0
            }
        }
    };
    (0..rows).map(number).collect()
}

/// The columns of a coding from a block whose identities are state columns; zeros where a column is not there.
fn matrix(coding: &Coding, block: &EncodedBlock) -> Vec<Vec<f64>> {
    let columns = block.columns();
    let find = |id: Option<usize>| columns.iter().find(|(present, _)| Some(*present) == id);
    let coded = coding.columns.iter().map(|column| match find(column.state_column) {
        Some((_, values)) => dense(*values, block.rows()),
        None => vec![0.0; block.rows()],
    });
    coded.collect()
}

//! Files, directories, globs, standard input and queries as sources: what comes out, and what is said when it cannot.

mod csv;
mod csv_errors;
mod files;
mod formats;
mod passes;
mod places;
mod queries;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array, LargeStringArray,
    RecordBatch, StringArray, StringViewArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimeUnit};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use arrow::util::display::array_value_to_string;
use hattention_table::error::TableError;
use hattention_table::source::{BATCH_ROWS, NumberedBatch, ScanOrder, Source, SourceOptions};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

/// A folder for the files of one test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn parquet(&self, name: &str, rows_per_group: usize, columns: Vec<(&str, ArrayRef)>) -> String {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(rows_per_group)).build();
        let mut content = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut content, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        self.write(name, content)
    }
}

fn open(specs: &[&str]) -> Result<Source, TableError> {
    open_with(specs, &SourceOptions::default())
}

fn open_with(specs: &[&str], options: &SourceOptions) -> Result<Source, TableError> {
    let specs: Vec<String> = specs.iter().map(|&spec| spec.to_owned()).collect();
    Source::open(&specs, options)
}

fn csv(text: impl AsRef<[u8]>) -> Result<Source, TableError> {
    Source::open_reader(text.as_ref(), &SourceOptions::default())
}

fn names(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|&column| column.to_owned()).collect()
}

/// All rows, in file order; checks that the row numbers are right.
fn read(source: &Source, columns: &[&str]) -> Result<RecordBatch, TableError> {
    let scan = source.scan(&names(columns), ScanOrder::File)?;
    let schema = Arc::clone(scan.schema());
    let mut batches = Vec::new();
    let mut rows = 0;
    for batch in scan {
        let batch = batch?;
        assert_eq!(batch.first_row, Some(rows));
        rows += batch.batch.num_rows() as u64;
        batches.push(batch.batch);
    }
    Ok(concat_batches(&schema, &batches).unwrap())
}

/// A column as text, missing values as `-`.
fn shown(batch: &RecordBatch, column: usize) -> Vec<String> {
    let column = batch.column(column);
    let cell = |row| {
        if column.is_null(row) { "-".into() } else { array_value_to_string(column, row).unwrap() }
    };
    (0..column.len()).map(cell).collect()
}

fn column(source: &Source, name: &str) -> Vec<String> {
    shown(&read(source, &[name]).unwrap(), 0)
}

fn types(source: &Source) -> Vec<DataType> {
    source.schema().fields().iter().map(|field| field.data_type().clone()).collect()
}

fn text() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

fn gzip(content: &[u8]) -> Vec<u8> {
    // Stored blocks need no compressor: header, blocks of at most 65535 bytes, checksum and length.
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = content.chunks(65_535).peekable();
    while let Some(block) = blocks.next() {
        out.push(u8::from(blocks.peek().is_none()));
        let length = block.len() as u16;
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    let checksum = content.iter().fold(!0_u32, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 })
    });
    out.extend((!checksum).to_le_bytes());
    out.extend((content.len() as u32).to_le_bytes());
    out
}

/// `rows` rows of `x,g` with x = 0, 1, 2, …
fn counting(rows: usize) -> String {
    let mut text = String::from("x,g\n");
    for row in 0..rows {
        text += &format!("{row},g{}\n", row % 3);
    }
    text
}

/// Rows with their number, a label and a fraction.
fn numbered(range: std::ops::Range<i64>) -> Vec<(&'static str, ArrayRef)> {
    let ids: Vec<i64> = range.collect();
    let labels: Vec<String> = ids.iter().map(|id| format!("g{}", id % 5)).collect();
    let halves: Vec<f64> = ids.iter().map(|&id| id as f64 / 2.0).collect();
    vec![
        ("id", Arc::new(Int64Array::from(ids))),
        ("g", Arc::new(StringArray::from(labels))),
        ("h", Arc::new(Float64Array::from(halves))),
    ]
}

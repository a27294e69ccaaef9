//! Tables larger than a test would make, and the floors that a pass over them stands on; `cargo xtask bench --only
//! out-of-core` runs it.
//!
//! ```text
//! out_of_core write FILE ROWS       y, x1 … x10, normal, as Parquet (Snappy, row groups of 125,000) or CSV, by extension
//! out_of_core decode FILE THREADS   decodes all columns and does nothing with them: seconds, as JSON
//! out_of_core sums FILE THREADS     reads the first million rows, then adds up their products again and again until
//!                                   they are as many as the file's: seconds, without reading, as JSON
//! ```

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hattention::{Block, Column, Moments};
use hattention_table::arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
use hattention_table::arrow::datatypes::{DataType, Field, Float64Type, Schema};
use hattention_table::error::TableError;
use hattention_table::parquet::arrow::ArrowWriter;
use hattention_table::parquet::basic::Compression;
use hattention_table::parquet::file::properties::WriterProperties;
use hattention_table::source::{NumberedBatch, ScanOrder, Source, SourceOptions};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Columns: the target and ten regressors.
const COLUMNS: usize = 11;
const GROUP_ROWS: usize = 125_000;
const IN_MEMORY: usize = 1_000_000;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["write", file, rows] => write(Path::new(file), rows.parse()?),
        ["decode", file, threads] => decode(file, threads.parse()?),
        ["sums", file, threads] => sums(file, threads.parse()?),
        _ => Err("write FILE ROWS, decode FILE THREADS, or sums FILE THREADS".into()),
    }
}

/// `y = 1 + Σ x_k / k + e`. The same rows for the same seed, whatever the format.
fn write(path: &Path, rows: usize) -> Outcome {
    let mut random = ChaCha8Rng::seed_from_u64(20_000_000);
    let names = std::iter::once("y".to_owned()).chain((1..COLUMNS).map(|k| format!("x{k}")));
    let fields: Vec<Field> = names.map(|name| Field::new(name, DataType::Float64, false)).collect();
    let schema = Arc::new(Schema::new(fields));
    let mut sink = Sink::create(path, &schema)?;
    for start in (0..rows).step_by(GROUP_ROWS) {
        let count = GROUP_ROWS.min(rows - start);
        let mut normal = |_| -> Vec<f64> { (0..count).map(|_| StandardNormal.sample(&mut random)).collect() };
        let mut columns: Vec<Vec<f64>> = (0..COLUMNS).map(&mut normal).collect();
        for row in 0..count {
            columns[0][row] += 1.0 + (1..COLUMNS).map(|k| columns[k][row] / k as f64).sum::<f64>();
        }
        let arrays = columns.into_iter().map(|column| Arc::new(Float64Array::from(column)) as ArrayRef);
        sink.put(&RecordBatch::try_new(Arc::clone(&schema), arrays.collect())?)?;
    }
    sink.close()
}

enum Sink {
    Parquet(Box<ArrowWriter<File>>),
    Csv(BufWriter<File>),
}

impl Sink {
    fn create(path: &Path, schema: &Arc<Schema>) -> Result<Self, Box<dyn std::error::Error>> {
        let file = File::create(path)?;
        if path.extension().is_some_and(|extension| extension == "csv") {
            let mut text = BufWriter::with_capacity(1 << 20, file);
            let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            writeln!(text, "{}", names.join(","))?;
            return Ok(Self::Csv(text));
        }
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_dictionary_enabled(false)
            .set_max_row_group_row_count(Some(GROUP_ROWS));
        let writer = ArrowWriter::try_new(file, Arc::clone(schema), Some(properties.build()))?;
        Ok(Self::Parquet(Box::new(writer)))
    }

    fn put(&mut self, batch: &RecordBatch) -> Outcome {
        match self {
            Self::Parquet(writer) => writer.write(batch)?,
            Self::Csv(text) => {
                let columns: Vec<&[f64]> =
                    batch.columns().iter().map(|c| &c.as_primitive::<Float64Type>().values()[..]).collect();
                for row in 0..batch.num_rows() {
                    for (at, column) in columns.iter().enumerate() {
                        write!(text, "{}{}", if at > 0 { "," } else { "" }, column[row])?;
                    }
                    writeln!(text)?;
                }
            }
        }
        Ok(())
    }

    fn close(self) -> Outcome {
        match self {
            Self::Parquet(writer) => drop(writer.close()?),
            Self::Csv(mut text) => text.flush()?,
        }
        Ok(())
    }
}

fn opened(file: &str, threads: usize) -> Result<Source, Box<dyn std::error::Error>> {
    let options = SourceOptions { partitions: threads, ..SourceOptions::default() };
    Ok(Source::open(&[file.to_owned()], &options)?)
}

fn decode(file: &str, threads: usize) -> Outcome {
    let start = Instant::now();
    let source = opened(file, threads)?;
    let count = |rows: &mut u64, batch: &NumberedBatch| -> Result<(), TableError> {
        *rows += batch.batch.num_rows() as u64;
        Ok(())
    };
    let rows: u64 = source.fold(&source.columns(), threads, || 0, count)?.iter().sum();
    println!("{{\"rows\": {rows}, \"seconds\": {}}}", start.elapsed().as_secs_f64());
    Ok(())
}

fn sums(file: &str, threads: usize) -> Outcome {
    let source = opened(file, threads)?;
    let total = source.rows_hint().unwrap_or(IN_MEMORY as u64);
    let mut batches = Vec::new();
    let mut held = 0;
    for batch in source.scan(&source.columns(), ScanOrder::File)? {
        let batch = batch?.batch;
        held += batch.num_rows();
        batches.push(batch);
        if held >= IN_MEMORY {
            break;
        }
    }
    let added = AtomicU64::new(0);
    let next = AtomicU64::new(0);
    let one = || -> Result<Moments, hattention::Error> {
        let mut moments = Moments::new(COLUMNS);
        while added.load(Ordering::Relaxed) < total {
            let batch = &batches[next.fetch_add(1, Ordering::Relaxed) as usize % batches.len()];
            let columns = batch.columns().iter().map(|c| Column::Dense(c.as_primitive::<Float64Type>().values()));
            moments.push(&Block { rows: batch.num_rows(), columns: columns.collect(), weights: None })?;
            added.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        }
        Ok(moments)
    };
    let start = Instant::now();
    let parts: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        workers.into_iter().map(|worker| worker.join()).collect()
    });
    let mut rows = 0;
    for part in parts {
        rows += part.map_err(|_| "a thread failed")??.rows();
    }
    println!("{{\"rows\": {rows}, \"seconds\": {}}}", start.elapsed().as_secs_f64());
    Ok(())
}

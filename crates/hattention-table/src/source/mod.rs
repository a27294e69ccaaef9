//! From files to record batches: what a source is, and passes over it.
//!
//! A source is one or more words of the command line: a path, a glob, a directory, an address in an object store, or `-`
//! for CSV on standard input.
//! All its files have the same columns, and it can be read any number of times, in the order of its files or faster
//! in any order, with the columns that are needed only.
//!
//! # What leaves a source
//! Numbers as `Float64`, `Int64` or `UInt64`; truth values as `Boolean`; text as `Dictionary(Int32, Utf8)`, one
//! dictionary a batch; categories of numbers as a `Dictionary` of them; columns without any value as `Null`; all else (dates,
//! lists, …) as the file has it.
//!
//! # Partitions
//! A folder `year=2013` below a directory, or in a path or glob as it is written, is a column `year` of the files in it:
//! integers, numbers, truth values or text, the first that holds all values; `__HIVE_DEFAULT_PARTITION__` is missing. All
//! files must have the same. A column that the files hold themselves is read from them.
//!
//! # Object stores
//! `s3://bucket/name`, `gs://`, `az://`, `abfs://`, `http://` and `https://`; all but the last two can end in `/` (all
//! files below) or hold `*`. Credentials and endpoints come from the environment, under the names that the crate
//! `object_store` documents: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT`,
//! `AWS_SKIP_SIGNATURE`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY` and
//! others. Parts are fetched ahead of their use, and again if a connection breaks. An object is asked for by its tag, a
//! file by its length and time: one that is changed between two reads is an error.
//!
//! # CSV
//! The first record is the header. Fields are separated by commas, in `.tsv` by tabs, and may be in double quotes. Empty
//! lines are no rows. Spaces around numbers and names are passed over. A cell is missing when it is empty or one of
//! [`MISSING`]. Numbers are `Float64`, whole ones too, so that the type does not depend on how far the file was looked at;
//! a column with integers that `Float64` would round is `Int64`. Types are told from the beginning of each file, and where
//! a column shows no value there, from as much of the file as it takes. A later cell that does not fit is an error with its
//! line. A column of mostly numbers with some text leaves as text, and [`Source::text_among_numbers`] says where the text
//! stands, so that the use of it as a number can be refused.
//!
//! ```
//! use hattention_table::source::{ScanOrder, Source, SourceOptions};
//!
//! let csv = "x,g\n1,a\n2,NA\n";
//! let source = Source::open_reader(csv.as_bytes(), &SourceOptions::default())?;
//! assert_eq!(source.columns(), ["x", "g"]);
//! let mut rows = 0;
//! for batch in source.scan(&["g".into()], ScanOrder::File)? {
//!     let batch = batch?;
//!     assert_eq!(batch.first_row, Some(rows));
//!     rows += batch.batch.num_rows() as u64;
//! }
//! assert_eq!(rows, 2);
//! # Ok::<(), hattention_table::error::TableError>(())
//! ```

mod batches;
mod blocks;
mod csv;
mod csv_types;
mod discover;
mod error;
mod files;
mod fold;
mod format;
mod ipc;
mod json;
mod parquet;
mod partitions;
mod parts;
mod place;
mod plain_text;
mod records;
mod remote;
mod scan;
mod schema;
mod sniff;
mod spool;
#[cfg_attr(not(feature = "sql"), path = "without_sql.rs")]
mod sql;
mod store;
mod store_error;
mod table_file;
mod work;

use std::io::Read;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

pub use error::SourceError;
pub use parts::{Part, PartBatch};
pub use scan::{NumberedBatch, Scan, ScanOrder};
#[cfg(feature = "sql")]
pub(crate) use schema::{conform, leaving_schema, text_type};
pub use spool::temporary_prefix;

use crate::error::TableError;
use batches::Batches;
use discover::{Found, FoundFile, discover};
use files::{FileSet, Reading};
use place::Place;
use spool::{STDIN, Spool};
use sql::{Query, QueryTable};

/// The cells of a CSV file that stand for a missing value, besides the empty cell.
pub const MISSING: [&str; 7] = ["NA", "N/A", "NaN", "nan", "null", "NULL", ""];

/// Rows of a batch at most, unless asked otherwise.
pub const BATCH_ROWS: usize = 8192;

/// How a source is read.
#[derive(Clone, Debug)]
pub struct SourceOptions {
    /// A query over the sources; its result is the table. Each source is a table named by its file's stem, or by its
    /// directory's name; characters that an identifier cannot have become `_`. Names are case-sensitive.
    pub sql: Option<String>,
    /// Rows of a batch at most. Batches are smaller at the ends of files and of blocks of text.
    pub batch_rows: usize,
    /// Threads that decode.
    pub partitions: usize,
    /// The cells of a CSV file that stand for a missing value; the empty cell always does.
    pub csv_missing: Vec<String>,
    /// Columns of CSV files that are text whatever they look like.
    pub csv_text: Vec<String>,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            sql: None,
            batch_rows: BATCH_ROWS,
            partitions: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            csv_missing: MISSING.iter().map(|&token| token.to_owned()).collect(),
            csv_text: Vec::new(),
        }
    }
}

impl SourceOptions {
    fn reading(&self) -> Reading {
        Reading {
            batch_rows: self.batch_rows.max(1),
            threads: self.partitions.max(1),
            missing: csv_types::Missing::new(&self.csv_missing),
            labels: self.csv_text.clone(),
        }
    }
}

/// A table in files, or the result of a query over such tables. It can be read any number of times.
#[derive(Debug)]
pub struct Source {
    content: Content,
    /// What the user wrote, for messages.
    label: String,
    /// Deleted when the source is dropped; scans of the source need it until they have opened it.
    spool: Option<Arc<Spool>>,
}

#[derive(Debug)]
enum Content {
    Files(Arc<FileSet>),
    Query(Box<Query>),
    Batches(Arc<Batches>),
}

impl Source {
    /// Opens what the words mean: paths, globs, directories (all files of one format, also in directories within),
    /// addresses in object stores, or `-` for CSV on standard input, which is copied to a temporary file.
    ///
    /// # Errors
    /// - nothing there, an unknown format, files that are empty, damaged, or not of the format of their extension
    /// - files with different columns or types, or two columns of one name
    /// - a query that cannot be planned
    pub fn open(specs: &[String], options: &SourceOptions) -> Result<Self, TableError> {
        let mut spool = None;
        let mut found = Vec::with_capacity(specs.len());
        for spec in specs {
            if spec == "-" {
                if spool.is_some() {
                    return Err(SourceError::StdinTwice.into());
                }
                let filled = Spool::fill(std::io::stdin().lock())?;
                found.push(spooled(&filled));
                spool = Some(Arc::new(filled));
            } else {
                found.push(discover(spec)?);
            }
        }
        Ok(Self::over(found, spool, options)?)
    }

    /// Reads CSV, plain or gzip, from a reader as [`Source::open`] does from standard input.
    ///
    /// # Errors
    /// As [`Source::open`], and when the reader fails.
    pub fn open_reader(reader: impl Read, options: &SourceOptions) -> Result<Self, TableError> {
        let spool = Spool::fill(reader)?;
        Ok(Self::over(vec![spooled(&spool)], Some(Arc::new(spool)), options)?)
    }

    /// A table in memory: record batches of one schema. Plain doubles are not copied; other numbers and text are converted
    /// batch by batch as they leave. `label` is what messages call it.
    ///
    /// # Errors
    /// If two columns have one name, or a batch has other columns than the schema.
    pub fn of_batches(
        schema: &SchemaRef,
        batches: Vec<RecordBatch>,
        label: &str,
        options: &SourceOptions,
    ) -> Result<Self, TableError> {
        if options.sql.is_some() {
            return Err(SourceError::NoSql.into());
        }
        let batches = Batches::new(schema, batches, label, options.batch_rows.max(1))?;
        Ok(Self { content: Content::Batches(Arc::new(batches)), label: label.into(), spool: None })
    }

    fn over(found: Vec<Found>, spool: Option<Arc<Spool>>, options: &SourceOptions) -> Result<Self, SourceError> {
        let label = found.iter().map(|found| found.spec.as_str()).collect::<Vec<_>>().join(" ");
        let spooled = spool.clone();
        let name = move |file: &FoundFile| match &spooled {
            Some(spool) if spool.is(&file.place) => STDIN.to_owned(),
            _ => file.place.text(),
        };
        let content = match &options.sql {
            None => {
                let files: Vec<FoundFile> = found.into_iter().flat_map(|found| found.files).collect();
                expect_one_format(&files, &label)?;
                Content::Files(Arc::new(FileSet::open(&files, name, options.reading())?))
            }
            Some(sql) => {
                let table = |Found { spec, table, files }: Found| {
                    let set = Arc::new(FileSet::open(&files, &name, options.reading())?);
                    Ok(QueryTable { spec, name: table, set })
                };
                let tables = found.into_iter().map(table).collect::<Result<Vec<_>, SourceError>>()?;
                Content::Query(Box::new(Query::plan(sql, tables, options.partitions, options.batch_rows.max(1))?))
            }
        };
        Ok(Self { content, label, spool })
    }

    /// Names and types of the columns, in order.
    pub fn schema(&self) -> SchemaRef {
        match &self.content {
            Content::Files(set) => Arc::clone(&set.schema),
            Content::Query(query) => Arc::clone(&query.schema),
            Content::Batches(batches) => Arc::clone(&batches.schema),
        }
    }

    /// Names of the columns, in order.
    pub fn columns(&self) -> Vec<String> {
        self.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    /// The error for using a column as a number, where it is a column of CSV or JSON lines of mostly numbers with some
    /// text, with the line of the first text; `None` for any other column.
    pub fn text_among_numbers(&self, column: &str) -> Option<TableError> {
        match &self.content {
            Content::Files(set) => set.text_among_numbers(column).map(TableError::from),
            Content::Query(_) | Content::Batches(_) => None,
        }
    }

    /// Where a row, counted from 1, stands if the source has several files: the file, and the row counted from 1 there.
    /// It may read the files: for messages only.
    pub fn place_of(&self, row: u64) -> Option<(String, u64)> {
        match &self.content {
            Content::Files(set) => set.place_of(row),
            Content::Query(_) | Content::Batches(_) => None,
        }
    }

    /// The number of rows, where the files say so: for Parquet without a query.
    pub fn rows_hint(&self) -> Option<u64> {
        match &self.content {
            Content::Files(set) => set.rows(),
            Content::Query(_) => None,
            Content::Batches(batches) => Some(batches.rows),
        }
    }

    /// Size of the files in bytes, for progress; `None` for a query.
    pub fn bytes_total(&self) -> Option<u64> {
        match &self.content {
            Content::Files(set) => Some(set.bytes),
            Content::Query(_) => None,
            // Rows stand for bytes.
            Content::Batches(batches) => Some(batches.rows),
        }
    }

    /// What the user wrote.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What the source is, in a few words: `flights.parquet (Parquet, 336776 rows, 19 columns)`.
    pub fn describe(&self) -> String {
        let columns = self.schema().fields().len();
        match &self.content {
            Content::Query(_) => format!("a query over {} ({columns} columns)", self.label),
            Content::Batches(batches) => format!("{} ({} rows, {columns} columns)", self.label, batches.rows),
            Content::Files(set) => {
                let format = set.files.first().map_or("", |file| file.format());
                let files = if set.files.len() > 1 { format!("{} files, ", set.files.len()) } else { String::new() };
                let rows = set.rows().map(|rows| format!("{rows} rows, ")).unwrap_or_default();
                format!("{} ({format}, {files}{rows}{columns} columns)", self.label)
            }
        }
    }

    /// Starts a pass over the rows with these columns, in this order.
    ///
    /// # Numerics
    /// Memory is a few batches for each thread, whatever the size of the source; of a Parquet object, the columns asked for
    /// of the row groups being decoded and of two more; with a query, what the query needs.
    /// A query in [`ScanOrder::File`] runs on one thread, so that two passes give the same order.
    ///
    /// # Errors
    /// - a column that the source does not have
    /// - while it runs: files that are damaged or cannot be read; in CSV, a row of another length, a cell that does not
    ///   fit its column, bytes that are not UTF-8, each with its line. After an error the scan is over. Which error is
    ///   given does not depend on the number of threads.
    pub fn scan(&self, columns: &[String], order: ScanOrder) -> Result<Scan, TableError> {
        let scan = match &self.content {
            Content::Files(set) => Scan::files(Arc::clone(set), set.plan(columns, &self.label)?, order)?,
            Content::Query(query) => query.scan(columns, order)?,
            Content::Batches(batches) => Scan::batches(batches.scan(columns, &self.label)?, order),
        };
        Ok(scan.keeping(self.spool.clone()))
    }
}

/// Standard input as a source.
fn spooled(spool: &Spool) -> Found {
    let file = FoundFile { place: Place::local(spool.path()), format: spool.format, partitions: Vec::new() };
    Found { spec: STDIN.into(), table: STDIN.into(), files: vec![file] }
}

fn expect_one_format(files: &[FoundFile], label: &str) -> Result<(), SourceError> {
    let formats = discover::format_names(files);
    if formats.len() > 1 {
        return Err(SourceError::SeveralFormats { path: label.into(), formats });
    }
    Ok(())
}

//! Files with the same columns, read as one table.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::blocks::{Block, BlockReader, Syntax, TextFile};
use super::csv::{CsvFile, CsvPlan};
use super::csv_types::{CsvType, Missing};
use super::discover::FoundFile;
use super::error::SourceError;
use super::format::Format;
use super::ipc::IpcFile;
use super::json::JsonFile;
use super::parquet::ParquetFile;
use super::schema::{Named, conform, leaving_schema, text_type, unify};
use crate::error::nearest;

/// Blocks of the first CSV file that are looked at for the types of its columns.
const SAMPLE_BLOCKS_FIRST: usize = 8;

/// Blocks of each further CSV file.
const SAMPLE_BLOCKS_MORE: usize = 1;

/// How files are read.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) batch_rows: usize,
    pub(crate) threads: usize,
    pub(crate) missing: Missing,
    /// Columns of CSV files that are labels whatever they look like.
    pub(crate) labels: Vec<String>,
}

/// A file that has been opened.
#[derive(Clone, Debug)]
pub(crate) enum TableFile {
    Csv(CsvFile),
    Parquet(ParquetFile),
    Ipc(IpcFile),
    Json(JsonFile),
}

/// Files with the same columns.
#[derive(Debug)]
pub(crate) struct FileSet {
    pub(crate) files: Vec<TableFile>,
    pub(crate) schema: SchemaRef,
    pub(crate) reading: Reading,
    /// Size of all files.
    pub(crate) bytes: u64,
}

impl FileSet {
    /// Opens the files, looks at them, and finds their common types. `name` renames a file in messages.
    pub(crate) fn open(
        found: &[FoundFile],
        name: impl Fn(&FoundFile) -> String,
        reading: Reading,
    ) -> Result<Self, SourceError> {
        let mut files = Vec::with_capacity(found.len());
        let mut bytes = 0;
        for (at, file) in found.iter().enumerate() {
            let sample_blocks = if at == 0 {
                SAMPLE_BLOCKS_FIRST
            } else {
                SAMPLE_BLOCKS_MORE
            };
            files.push(TableFile::open(
                file,
                name(file),
                &reading.missing,
                sample_blocks,
            )?);
            bytes += std::fs::metadata(&file.path).map_or(0, |metadata| metadata.len());
        }
        look_for_values(&mut files, &reading)?;
        let wide = wide_integers(&files);
        let schemas: Vec<SchemaRef> = files
            .iter()
            .map(|file| file.schema(&reading.labels, &wide))
            .collect();
        let named: Vec<Named<'_>> = files
            .iter()
            .zip(&schemas)
            .map(|(file, schema)| Named {
                name: file.name(),
                schema,
            })
            .collect();
        let schema = match unify(&named) {
            Ok(schema) => schema,
            // Where one file's numbers are another's text, the line of the text says more than the types.
            Err(SourceError::TypesDiffer {
                column,
                left,
                left_type,
                right,
                right_type,
            }) => {
                let text = files
                    .iter()
                    .find_map(|file| file.text_among_numbers(&column));
                return Err(text.unwrap_or(SourceError::TypesDiffer {
                    column,
                    left,
                    left_type,
                    right,
                    right_type,
                }));
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            files,
            schema,
            reading,
            bytes,
        })
    }

    /// Rows of all files, where the files say so.
    pub(crate) fn rows(&self) -> Option<u64> {
        self.files
            .iter()
            .map(|file| {
                if let TableFile::Parquet(file) = file {
                    Some(file.rows())
                } else {
                    None
                }
            })
            .sum()
    }

    /// The error for a column of numbers that holds some text.
    pub(crate) fn text_among_numbers(&self, column: &str) -> Option<SourceError> {
        let (_, field) = self.schema.fields().find(column)?;
        let is_text = field.data_type() == &text_type()
            && !self.reading.labels.iter().any(|label| label == column);
        is_text
            .then(|| {
                self.files
                    .iter()
                    .find_map(|file| file.text_among_numbers(column))
            })
            .flatten()
    }

    /// The plan for reading some columns.
    pub(crate) fn plan(&self, columns: &[String], source: &str) -> Result<Plan, SourceError> {
        let mut fields = Vec::with_capacity(columns.len());
        for column in columns {
            let (_, field) = self
                .schema
                .fields()
                .find(column)
                .ok_or_else(|| no_column(source, column, &self.schema))?;
            fields.push(Arc::clone(field));
        }
        let schema = Arc::new(Schema::new(fields));
        let files = self.files.iter().map(|file| file.plan(&schema)).collect();
        Ok(Plan { schema, files })
    }

    /// Decodes one piece of work; `emit` gets the batches until it returns false.
    pub(crate) fn decode(
        &self,
        work: &Work,
        plan: &Plan,
        emit: &mut dyn FnMut(Decoded) -> bool,
    ) -> Result<(), SourceError> {
        let file = &self.files[work.file];
        let file_plan = &plan.files[work.file];
        let mut first_row = work.first_row;
        let mut input_bytes = work.input_bytes();
        let mut forward = |batch: RecordBatch| -> Result<bool, SourceError> {
            let batch = batch
                .project(&file_plan.order)
                .map_err(|error| error.to_string());
            let batch = batch
                .and_then(|batch| conform(&batch, &plan.schema))
                .map_err(|message| SourceError::Damaged {
                    path: file.name().into(),
                    format: file.format().into(),
                    message,
                })?;
            let rows = batch.num_rows() as u64;
            let decoded = Decoded {
                first_row,
                batch,
                bytes: input_bytes.of_batch(rows),
            };
            first_row = first_row.map(|first| first + rows);
            Ok(emit(decoded))
        };
        let batch_rows = self.reading.batch_rows;
        match (file, &work.part) {
            (TableFile::Csv(file), Part::Block(block)) => {
                let csv = file_plan.csv.as_ref().ok_or(SourceError::NoSource)?;
                let mut result = Ok(());
                file.decode(
                    block,
                    csv,
                    &self.reading.missing,
                    batch_rows,
                    &mut |batch| match forward(batch) {
                        Ok(more) => more,
                        Err(error) => {
                            result = Err(error);
                            false
                        }
                    },
                )?;
                result
            }
            (TableFile::Json(file), Part::Block(block)) => {
                file.decode(block, &file_plan.columns, batch_rows, &mut forward)
            }
            (TableFile::Parquet(file), Part::RowGroup { row_group, .. }) => {
                file.decode(*row_group, &file_plan.columns, batch_rows, &mut forward)
            }
            (TableFile::Ipc(file), Part::Batches { range, .. }) => {
                file.decode(range, &file_plan.columns, &mut forward)
            }
            _ => Ok(()),
        }
    }
}

/// Reads CSV files on where a column has shown no value in any of them.
fn look_for_values(files: &mut [TableFile], reading: &Reading) -> Result<(), SourceError> {
    let mut known: HashSet<String> = reading.labels.iter().cloned().collect();
    for file in files.iter() {
        if let TableFile::Csv(file) = file {
            known.extend(file.columns_with_values());
        }
    }
    for file in files.iter_mut() {
        let TableFile::Csv(file) = file else {
            continue;
        };
        let wanted = positions(file.names(), |name| !known.contains(name));
        if !wanted.is_empty() {
            file.look_further(wanted, &reading.missing)?;
            known.extend(file.columns_with_values());
        }
    }
    Ok(())
}

/// CSV columns of integers that f64 would round in one file; they are `Int64` in files with smaller integers too.
fn wide_integers(files: &[TableFile]) -> HashSet<String> {
    let mut wide = HashSet::new();
    let mut others = HashSet::new();
    for file in files {
        let TableFile::Csv(file) = file else {
            continue;
        };
        for (at, name) in file.names().enumerate() {
            match file.column_type(at) {
                CsvType::Integer => _ = wide.insert(name),
                CsvType::Empty | CsvType::Number { whole: true } => {}
                _ => _ = others.insert(name),
            }
        }
    }
    wide.difference(&others)
        .map(|&name| name.to_owned())
        .collect()
}

fn positions<'a>(
    names: impl Iterator<Item = &'a str>,
    wanted: impl Fn(&str) -> bool,
) -> Vec<usize> {
    names
        .enumerate()
        .filter(|(_, name)| wanted(name))
        .map(|(at, _)| at)
        .collect()
}

/// The error for a column that does not exist.
pub(crate) fn no_column(source: &str, column: &str, schema: &Schema) -> SourceError {
    let names = schema.fields().iter().map(|field| field.name().as_str());
    SourceError::NoColumn {
        path: source.into(),
        column: column.into(),
        nearest: nearest(column, names),
    }
}

/// How some columns are read from each file.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The schema of what comes out.
    pub(crate) schema: SchemaRef,
    files: Vec<FilePlan>,
}

#[derive(Debug)]
struct FilePlan {
    /// Positions in the file, ascending and distinct.
    columns: Vec<usize>,
    /// For each column asked for, its place in `columns`.
    order: Vec<usize>,
    /// For CSV, the types as which the cells are read.
    csv: Option<CsvPlan>,
}

impl TableFile {
    fn open(
        found: &FoundFile,
        name: String,
        missing: &Missing,
        sample_blocks: usize,
    ) -> Result<Self, SourceError> {
        let path = found.path.clone();
        Ok(match found.format {
            Format::Csv { delimiter, gzip } => {
                let text = TextFile {
                    path,
                    name,
                    syntax: Syntax {
                        gzip,
                        delimiter,
                        quotes: true,
                    },
                };
                Self::Csv(CsvFile::open(text, missing, sample_blocks)?)
            }
            Format::Json { gzip } => {
                let text = TextFile {
                    path,
                    name,
                    syntax: Syntax {
                        gzip,
                        delimiter: 0,
                        quotes: false,
                    },
                };
                Self::Json(JsonFile::open(text)?)
            }
            Format::Parquet => Self::Parquet(ParquetFile::open(path, name)?),
            Format::Arrow => Self::Ipc(IpcFile::open(path, name)?),
        })
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Csv(file) => &file.text.name,
            Self::Json(file) => &file.text.name,
            Self::Parquet(file) => &file.name,
            Self::Ipc(file) => &file.name,
        }
    }

    pub(crate) fn format(&self) -> &'static str {
        match self {
            Self::Csv(_) => "CSV",
            Self::Json(_) => "JSON lines",
            Self::Parquet(_) => "Parquet",
            Self::Ipc(_) => "Arrow IPC",
        }
    }

    /// The file's columns, with the types as which they leave the source.
    fn schema(&self, labels: &[String], wide: &HashSet<String>) -> SchemaRef {
        match self {
            Self::Csv(file) => {
                let data_type = |at: usize, name: &str| match file.column_type(at) {
                    _ if labels.iter().any(|label| label == name) => text_type(),
                    CsvType::Number { .. } if wide.contains(name) => DataType::Int64,
                    csv_type => csv_type.arrow(),
                };
                let fields = file
                    .names()
                    .enumerate()
                    .map(|(at, name)| Field::new(name, data_type(at, name), true));
                Arc::new(Schema::new(fields.collect::<Vec<_>>()))
            }
            Self::Json(file) => leaving_schema(&file.schema),
            Self::Parquet(file) => leaving_schema(file.schema()),
            Self::Ipc(file) => leaving_schema(&file.schema),
        }
    }

    fn text_among_numbers(&self, column: &str) -> Option<SourceError> {
        let Self::Csv(file) = self else {
            return None;
        };
        let at = file.names().position(|name| name == column)?;
        file.text_among_numbers(at)
    }

    fn plan(&self, schema: &SchemaRef) -> FilePlan {
        let names: Vec<&str> = match self {
            Self::Csv(file) => file.names().collect(),
            Self::Json(file) => file
                .schema
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .collect(),
            Self::Parquet(file) => file
                .schema()
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .collect(),
            Self::Ipc(file) => file
                .schema
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .collect(),
        };
        let columns = positions(names.iter().copied(), |name| {
            schema.fields().find(name).is_some()
        });
        let place = |name: &str| columns.iter().position(|&at| names[at] == name);
        let order = schema
            .fields()
            .iter()
            .filter_map(|field| place(field.name()))
            .collect();
        let csv = match self {
            Self::Csv(file) => Some(csv_plan(file, &columns, schema)),
            _ => None,
        };
        FilePlan {
            columns,
            order,
            csv,
        }
    }

    /// The parts of the file that are decoded apart, except text blocks, which are found while reading.
    fn parts(&self, bytes: u64) -> Vec<Work> {
        match self {
            Self::Csv(_) | Self::Json(_) => Vec::new(),
            Self::Parquet(file) => {
                let mut first_row = 0;
                let per_row = bytes as f64 / file.rows().max(1) as f64;
                let parts = file
                    .row_groups()
                    .into_iter()
                    .enumerate()
                    .map(|(row_group, rows)| {
                        let work = Work {
                            file: 0,
                            first_row: Some(first_row),
                            part: Part::RowGroup { row_group, per_row },
                        };
                        first_row += rows;
                        work
                    });
                parts.collect()
            }
            Self::Ipc(file) => {
                let parts = file.parts();
                let bytes = bytes / parts.len().max(1) as u64;
                let part = |range| Work {
                    file: 0,
                    first_row: None,
                    part: Part::Batches { range, bytes },
                };
                parts.into_iter().map(part).collect()
            }
        }
    }
}

/// The types as which cells are read: the column's type over all files, which decides also for a file where it is empty.
fn csv_plan(file: &CsvFile, columns: &[usize], schema: &SchemaRef) -> CsvPlan {
    let names: Vec<&str> = file.names().collect();
    let mut fields = Vec::with_capacity(columns.len());
    let mut types = Vec::with_capacity(columns.len());
    for &at in columns {
        let Some((_, field)) = schema.fields().find(names[at]) else {
            continue;
        };
        let csv_type = match (field.data_type(), file.column_type(at)) {
            (DataType::Float64, own @ CsvType::Number { .. }) => own,
            (DataType::Float64, _) => CsvType::Number { whole: false },
            (DataType::Int64, _) => CsvType::Integer,
            (DataType::Boolean, _) => CsvType::Boolean,
            (DataType::Date32, _) => CsvType::Date,
            (DataType::Timestamp(..), _) => CsvType::Timestamp,
            (DataType::Null, _) => CsvType::Empty,
            _ => CsvType::Text,
        };
        types.push(csv_type);
        fields.push(Field::new(names[at], csv_type.arrow(), true));
    }
    CsvPlan {
        columns: columns.to_vec(),
        types,
        schema: Arc::new(Schema::new(fields)),
    }
}

/// A part of a file that can be decoded apart.
pub(crate) struct Work {
    file: usize,
    /// Number of its first row within the source, where known before the rows ahead of it are decoded.
    first_row: Option<u64>,
    part: Part,
}

enum Part {
    Block(Block),
    RowGroup { row_group: usize, per_row: f64 },
    Batches { range: Range<usize>, bytes: u64 },
}

/// A decoded batch.
pub(crate) struct Decoded {
    pub(crate) first_row: Option<u64>,
    pub(crate) batch: RecordBatch,
    /// Bytes of the source that it stands for.
    pub(crate) bytes: u64,
}

impl Work {
    fn input_bytes(&self) -> InputBytes {
        match &self.part {
            Part::Block(block) => InputBytes::Once(block.input_bytes),
            Part::Batches { bytes, .. } => InputBytes::Once(*bytes),
            Part::RowGroup { per_row, .. } => InputBytes::PerRow(*per_row),
        }
    }
}

/// How a part's bytes are spread over its batches.
enum InputBytes {
    Once(u64),
    PerRow(f64),
}

impl InputBytes {
    fn of_batch(&mut self, rows: u64) -> u64 {
        match self {
            Self::Once(bytes) => std::mem::take(bytes),
            Self::PerRow(per_row) => (*per_row * rows as f64) as u64,
        }
    }
}

/// Hands out the work of all files in order.
pub(crate) struct WorkQueue {
    set: Arc<FileSet>,
    /// The file whose blocks or parts come next.
    file: usize,
    blocks: Option<BlockReader>,
    parts: std::vec::IntoIter<Work>,
    /// Rows in the files before, while known.
    rows_before: Option<u64>,
}

impl WorkQueue {
    pub(crate) fn new(set: Arc<FileSet>) -> Self {
        Self {
            set,
            file: 0,
            blocks: None,
            parts: Vec::new().into_iter(),
            rows_before: Some(0),
        }
    }

    /// The next piece of work, or `None` at the end.
    pub(crate) fn next_work(&mut self) -> Result<Option<Work>, SourceError> {
        loop {
            let current = self.file.wrapping_sub(1);
            if let Some(blocks) = &mut self.blocks {
                if let Some(block) = blocks.next_block()? {
                    return Ok(Some(Work {
                        file: current,
                        first_row: None,
                        part: Part::Block(block),
                    }));
                }
                self.blocks = None;
            }
            if let Some(work) = self.parts.next() {
                let first_row = work
                    .first_row
                    .zip(self.rows_before)
                    .map(|(first, before)| first + before);
                return Ok(Some(Work {
                    file: current,
                    first_row,
                    ..work
                }));
            }
            if !self.open_next()? {
                return Ok(None);
            }
        }
    }

    /// Goes to the next file; false after the last.
    fn open_next(&mut self) -> Result<bool, SourceError> {
        let rows_of = |file: &TableFile| {
            if let TableFile::Parquet(file) = file {
                Some(file.rows())
            } else {
                None
            }
        };
        if let Some(last) = self.file.checked_sub(1) {
            let rows = self.set.files.get(last).and_then(rows_of);
            self.rows_before = self
                .rows_before
                .zip(rows)
                .map(|(before, rows)| before + rows);
        }
        let Some(file) = self.set.files.get(self.file) else {
            return Ok(false);
        };
        self.file += 1;
        match file {
            TableFile::Csv(file) => self.blocks = Some(file.blocks()?),
            TableFile::Json(file) => self.blocks = Some(file.blocks()?),
            TableFile::Parquet(ParquetFile { path, .. }) | TableFile::Ipc(IpcFile { path, .. }) => {
                let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
                self.parts = file.parts(bytes).into_iter();
            }
        }
        Ok(true)
    }
}

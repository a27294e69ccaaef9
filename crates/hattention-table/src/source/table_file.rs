//! A file of any format behind one face.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::blocks::{BLOCK_BYTES, Syntax, TextFile};
use super::csv::{CsvFile, CsvKnown, CsvPlan};
use super::csv_types::{CsvType, Missing};
use super::discover::FoundFile;
use super::error::SourceError;
use super::format::Format;
use super::ipc::IpcFile;
use super::json::JsonFile;
use super::parquet::ParquetFile;
use super::partitions::Partition;
use super::place::Place;
use super::schema::{leaving_schema, text_type};

/// A file that has been opened.
#[derive(Clone, Debug)]
pub(crate) enum TableFile {
    Csv(CsvFile),
    Parquet(ParquetFile),
    Ipc(IpcFile),
    Json(JsonFile),
}

fn csv_text(place: Place, name: String, delimiter: u8, gzip: bool) -> TextFile {
    TextFile { place, name, syntax: Syntax { gzip, delimiter, quotes: true } }
}

/// How some columns are read from a file.
#[derive(Debug)]
pub(crate) struct FilePlan {
    /// Positions in the file, ascending and distinct.
    pub(super) columns: Vec<usize>,
    /// For each column asked for that the file holds, its place in `columns`.
    pub(super) order: Vec<usize>,
    /// For each column asked for, the file's partition that it is, if it is one.
    pub(super) partitions: Vec<Option<Partition>>,
    /// For CSV, the types as which the cells are read.
    pub(super) csv: Option<CsvPlan>,
}

impl TableFile {
    pub(super) fn open(
        found: &FoundFile,
        name: String,
        missing: &Missing,
        sample_blocks: usize,
    ) -> Result<Self, SourceError> {
        let place = found.place.clone();
        Ok(match found.format {
            Format::Csv { delimiter, gzip } => {
                let text = csv_text(place, name, delimiter, gzip);
                Self::Csv(CsvFile::open(text, missing, sample_blocks)?)
            }
            Format::Json { gzip } => {
                let text = TextFile { place, name, syntax: Syntax { gzip, delimiter: 0, quotes: false } };
                Self::Json(JsonFile::open(text)?)
            }
            Format::Parquet => Self::Parquet(ParquetFile::open(place, name)?),
            Format::Arrow => Self::Ipc(IpcFile::open(place, name)?),
        })
    }

    /// What is known of a CSV file.
    pub(super) fn known(&self) -> Option<CsvKnown> {
        if let Self::Csv(file) = self { Some(file.known()) } else { None }
    }

    /// A file of which all is known that reading it would tell, if that is a CSV file; else it is opened.
    pub(super) fn reopen(
        found: &FoundFile,
        name: String,
        missing: &Missing,
        known: Option<CsvKnown>,
    ) -> Result<Self, SourceError> {
        match (found.format, known) {
            (Format::Csv { delimiter, gzip }, Some(known)) => {
                let text = csv_text(found.place.clone(), name.clone(), delimiter, gzip);
                let unfit = || SourceError::Stopped { path: name, what: "what is known of it does not fit".into() };
                CsvFile::of_known(text, known).map(Self::Csv).ok_or_else(unfit)
            }
            _ => Self::open(found, name, missing, 1),
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Csv(file) => &file.text.name,
            Self::Json(file) => &file.text.name,
            Self::Parquet(file) => &file.name,
            Self::Ipc(file) => &file.name,
        }
    }

    /// Parts that are decoded apart, about.
    pub(super) fn parts(&self) -> usize {
        match self {
            Self::Csv(_) | Self::Json(_) => 1 + self.place().size() as usize / BLOCK_BYTES,
            Self::Parquet(file) => file.row_groups().len(),
            Self::Ipc(file) => file.parts().len(),
        }
    }

    pub(super) fn place(&self) -> &Place {
        match self {
            Self::Csv(file) => &file.text.place,
            Self::Json(file) => &file.text.place,
            Self::Parquet(file) => &file.place,
            Self::Ipc(file) => &file.place,
        }
    }

    /// The format, as the file was opened.
    pub(super) fn stored_as(&self) -> Format {
        match self {
            Self::Csv(file) => Format::Csv { delimiter: file.text.syntax.delimiter, gzip: file.text.syntax.gzip },
            Self::Json(file) => Format::Json { gzip: file.text.syntax.gzip },
            Self::Parquet(_) => Format::Parquet,
            Self::Ipc(_) => Format::Arrow,
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
    pub(super) fn schema(&self, labels: &[String], wide: &HashSet<String>) -> SchemaRef {
        match self {
            Self::Csv(file) => {
                let data_type = |at: usize, name: &str| match file.column_type(at) {
                    _ if labels.iter().any(|label| label == name) => text_type(),
                    CsvType::Number { .. } if wide.contains(name) => DataType::Int64,
                    csv_type => csv_type.arrow(),
                };
                let fields = file.names().enumerate().map(|(at, name)| Field::new(name, data_type(at, name), true));
                Arc::new(Schema::new(fields.collect::<Vec<_>>()))
            }
            Self::Json(file) => leaving_schema(&file.schema),
            Self::Parquet(file) => leaving_schema(file.schema()),
            Self::Ipc(file) => leaving_schema(&file.schema),
        }
    }

    pub(super) fn text_among_numbers(&self, column: &str) -> Option<SourceError> {
        let at = self.column_names().iter().position(|name| *name == column)?;
        match self {
            Self::Csv(file) => file.text_among_numbers(at),
            Self::Json(file) => file.text_among_numbers(at),
            Self::Parquet(_) | Self::Ipc(_) => None,
        }
    }

    /// Rows, where the file says so.
    pub(crate) fn rows(&self) -> Option<u64> {
        match self {
            Self::Parquet(file) => Some(file.rows()),
            Self::Csv(_) | Self::Ipc(_) | Self::Json(_) => None,
        }
    }

    pub(super) fn column_names(&self) -> Vec<&str> {
        let schema = match self {
            Self::Csv(file) => return file.names().collect(),
            Self::Json(file) => &file.schema,
            Self::Parquet(file) => file.schema(),
            Self::Ipc(file) => &file.schema,
        };
        schema.fields().iter().map(|field| field.name().as_str()).collect()
    }

    pub(super) fn plan(&self, schema: &SchemaRef, partitions: &[Partition]) -> FilePlan {
        let names = self.column_names();
        let columns = positions(names.iter().copied(), |name| schema.fields().find(name).is_some());
        let place = |name: &str| columns.iter().position(|&at| names[at] == name);
        let order = schema.fields().iter().filter_map(|field| place(field.name())).collect();
        let csv = match self {
            Self::Csv(file) => Some(csv_plan(file, &columns, schema)),
            _ => None,
        };
        let partition = |name: &str| partitions.iter().find(|(column, _)| column == name).cloned();
        let partitions = schema.fields().iter().map(|field| match names.contains(&field.name().as_str()) {
            true => None,
            false => partition(field.name()),
        });
        FilePlan { partitions: partitions.collect(), columns, order, csv }
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
    CsvPlan { columns: columns.to_vec(), types, schema: Arc::new(Schema::new(fields)) }
}

/// The positions of the names that are wanted.
pub(super) fn positions<'a>(names: impl Iterator<Item = &'a str>, wanted: impl Fn(&str) -> bool) -> Vec<usize> {
    names.enumerate().filter(|(_, name)| wanted(name)).map(|(at, _)| at).collect()
}

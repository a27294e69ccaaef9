//! Files with the same columns, read as one table.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};

use super::csv_types::{CsvType, Missing};
use super::discover::FoundFile;
use super::error::SourceError;
use super::partitions::{self, Partition};
use super::scan::{Scan, ScanOrder};
use super::schema::{Named, text_type, unify};
use super::table_file::{FilePlan, TableFile, positions};
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

/// Files with the same columns.
#[derive(Debug)]
pub(crate) struct FileSet {
    pub(crate) files: Vec<TableFile>,
    /// What the folders of each file say of its rows.
    pub(crate) partitions: Vec<Vec<Partition>>,
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
            let sample_blocks = if at == 0 { SAMPLE_BLOCKS_FIRST } else { SAMPLE_BLOCKS_MORE };
            files.push(TableFile::open(file, name(file), &reading.missing, sample_blocks)?);
            bytes += file.place.size();
        }
        look_for_values(&mut files, &reading)?;
        let wide = wide_integers(&files);
        let partitions: Vec<Vec<Partition>> = found.iter().map(|file| file.partitions.clone()).collect();
        let own = files.iter().map(|file| file.schema(&reading.labels, &wide));
        let schemas = with_partitions(own.collect(), &partitions, &reading.labels);
        let named: Vec<Named<'_>> =
            files.iter().zip(&schemas).map(|(file, schema)| Named { name: file.name(), schema }).collect();
        let schema = match unify(&named) {
            Ok(schema) => schema,
            // Where one file's numbers are another's text, the line of the text says more than the types.
            Err(SourceError::TypesDiffer { ref column, .. })
                if let Some(text) = files.iter().find_map(|file| file.text_among_numbers(column)) =>
            {
                return Err(text);
            }
            Err(error) => return Err(error),
        };
        Ok(Self { files, partitions, schema, reading, bytes })
    }

    /// Rows of all files, where the files say so.
    pub(crate) fn rows(&self) -> Option<u64> {
        self.files.iter().map(TableFile::rows).sum()
    }

    /// The error for a column of numbers that holds some text.
    pub(crate) fn text_among_numbers(&self, column: &str) -> Option<SourceError> {
        let (_, field) = self.schema.fields().find(column)?;
        let is_text = field.data_type() == &text_type() && !self.reading.labels.iter().any(|label| label == column);
        is_text.then(|| self.files.iter().find_map(|file| file.text_among_numbers(column))).flatten()
    }

    /// Whether there are at least so many parts to be decoded apart.
    pub(crate) fn parts_min(&self, wanted: usize) -> bool {
        self.files.iter().map(TableFile::parts).sum::<usize>() >= wanted
    }

    /// The file of several in which a row stands, and the row there; both rows are counted from 1.
    pub(crate) fn place_of(&self, row: u64) -> Option<(String, u64)> {
        let column = self.schema.fields().first()?.name().clone();
        let count = |(file, partitions): (&TableFile, &Vec<Partition>)| -> Option<u64> {
            let (schema, reading) = (Arc::clone(&self.schema), self.reading.clone());
            let partitions = vec![partitions.clone()];
            let alone = Self { files: vec![file.clone()], partitions, schema, reading, bytes: 0 };
            let plan = alone.plan(std::slice::from_ref(&column), file.name()).ok()?;
            let mut scan = Scan::files(Arc::new(alone), plan, ScanOrder::File).ok()?;
            let mut rows = 0;
            while let Some(batch) = scan.next_item() {
                rows += batch.ok()?.batch.num_rows() as u64;
            }
            Some(rows)
        };
        if self.files.len() < 2 {
            return None;
        }
        let mut before = 0;
        for (file, partitions) in self.files.iter().zip(&self.partitions) {
            let rows = file.rows().or_else(|| count((file, partitions)))?;
            if row <= before + rows {
                return Some((file.name().to_owned(), row - before));
            }
            before += rows;
        }
        None
    }

    /// The plan for reading some columns.
    pub(crate) fn plan(&self, columns: &[String], source: &str) -> Result<Plan, SourceError> {
        let mut fields = Vec::with_capacity(columns.len());
        for column in columns {
            let (_, field) =
                self.schema.fields().find(column).ok_or_else(|| no_column(source, column, &self.schema))?;
            fields.push(Arc::clone(field));
        }
        let schema = Arc::new(Schema::new(fields));
        let files = self.files.iter().zip(&self.partitions).map(|(file, partitions)| file.plan(&schema, partitions));
        let files = files.collect();
        Ok(Plan { schema, files })
    }
}

/// The columns of files with those that their folders are, whose type is that of all values. A column that a file holds
/// itself is read from it.
fn with_partitions(own: Vec<SchemaRef>, partitions: &[Vec<Partition>], labels: &[String]) -> Vec<SchemaRef> {
    let type_of = |column: &str| {
        let values = partitions.iter().flatten().filter(|(other, _)| other == column);
        match labels.iter().any(|label| label == column) {
            true => text_type(),
            false => partitions::type_of(values.map(|(_, value)| value.as_deref())),
        }
    };
    let extended = own.into_iter().zip(partitions).map(|(schema, partitions)| {
        let mut fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
        for (column, _) in partitions {
            if fields.iter().all(|field| field.name() != column) {
                fields.push(Arc::new(Field::new(column, type_of(column), true)));
            }
        }
        Arc::new(Schema::new(fields))
    });
    extended.collect()
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
    wide.difference(&others).map(|&name| name.to_owned()).collect()
}

/// The error for a column that does not exist.
pub(crate) fn no_column(source: &str, column: &str, schema: &Schema) -> SourceError {
    let names = schema.fields().iter().map(|field| field.name().as_str());
    SourceError::NoColumn { path: source.into(), column: column.into(), nearest: nearest(column, names) }
}

/// How some columns are read from each file.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The schema of what comes out.
    pub(crate) schema: SchemaRef,
    pub(super) files: Vec<FilePlan>,
}

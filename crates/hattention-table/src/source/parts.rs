//! A source cut into parts that other machines can read: each says which files and row groups it is, and what is known of
//! them.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::csv::CsvKnown;
use super::csv_types::Missing;
use super::discover::FoundFile;
use super::error::SourceError;
use super::files::{FileSet, Reading};
use super::format::Format;
use super::partitions::Partition;
use super::place::PlannedPlace;
use super::table_file::TableFile;
use super::work::WorkQueue;
use super::{Content, Source};
use crate::error::TableError;

/// A part of a source, as data that travels: any machine that sees the files under the same paths, or
/// reaches the object store with credentials of its own, can read it.
///
/// A CSV or JSON file, or an Arrow IPC file, is never cut; Parquet is cut between row groups.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    files: Vec<PartFile>,
    missing: Vec<String>,
    labels: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct PartFile {
    place: PlannedPlace,
    format: Format,
    partitions: Vec<Partition>,
    row_groups: Option<Range<usize>>,
    known: Option<CsvKnown>,
}

/// Some rows of a part.
#[derive(Clone, Debug)]
pub struct PartBatch {
    /// The file, as it is called in messages.
    pub file: Arc<str>,
    /// Number of the first row within the file, from 0.
    pub first_row: u64,
    /// The rows.
    pub batch: RecordBatch,
}

impl Source {
    /// The files in parts of about so many bytes, in order; `None` for a query and for standard input, which are nowhere
    /// that another machine could read.
    pub fn parts(&self, bytes: u64) -> Option<Vec<Part>> {
        match &self.content {
            Content::Files(set) if self.spool.is_none() => Some(cut(set, bytes.max(1))),
            _ => None,
        }
    }
}

/// Files and pieces of files, in order, cut where their middles cross a multiple of `bytes`: so no more parts than `bytes` is in
/// all, and pieces of a bit less than `bytes` are not taken two by two.
fn cut(set: &FileSet, bytes: u64) -> Vec<Part> {
    let empty =
        Part { files: Vec::new(), missing: set.reading.missing.tokens().to_vec(), labels: set.reading.labels.clone() };
    let mut parts: Vec<Part> = Vec::new();
    let (mut before, mut last) = (0, None);
    let mut add = |file: PartFile, size: u64| {
        let place = Some((before + size / 2) / bytes);
        before += size;
        if last != place {
            parts.push(empty.clone());
            last = place;
        }
        if let Some(part) = parts.last_mut() {
            part.files.push(file);
        }
    };
    for (file, partitions) in set.files.iter().zip(&set.partitions) {
        let size = file.place().size();
        let whole = PartFile {
            place: file.place().planned(),
            format: file.stored_as(),
            partitions: partitions.clone(),
            row_groups: None,
            known: file.known(),
        };
        let TableFile::Parquet(parquet) = file else {
            add(whole, size);
            continue;
        };
        let groups = parquet.row_groups().len();
        let wanted = size.div_ceil(bytes).clamp(1, groups.max(1) as u64) as usize;
        for piece in 0..wanted {
            let range = groups * piece / wanted..groups * (piece + 1) / wanted;
            let share = |piece: usize| (u128::from(size) * piece as u128 / wanted as u128) as u64;
            add(PartFile { row_groups: Some(range), ..whole.clone() }, share(piece + 1) - share(piece));
        }
    }
    parts
}

impl Part {
    /// Reads the part, with the columns and types of `schema`, which are those of a [`Source::schema`]; `emit` gets the
    /// batches, of `batch_rows` rows at most, until it returns false.
    ///
    /// # Errors
    /// If a file is not there, is not what it was when the part was made, or is damaged.
    pub fn read(
        &self,
        schema: &SchemaRef,
        batch_rows: usize,
        emit: &mut dyn FnMut(PartBatch) -> bool,
    ) -> Result<(), TableError> {
        let missing = Missing::new(&self.missing);
        for file in &self.files {
            let reading = Reading {
                batch_rows: batch_rows.max(1),
                threads: 1,
                missing: missing.clone(),
                labels: self.labels.clone(),
            };
            if !file.read(schema, reading, emit)? {
                break;
            }
        }
        Ok(())
    }
}

impl PartFile {
    fn read(
        &self,
        schema: &SchemaRef,
        reading: Reading,
        emit: &mut dyn FnMut(PartBatch) -> bool,
    ) -> Result<bool, SourceError> {
        let place = self.place.found()?;
        let (name, bytes) = (Arc::<str>::from(place.text()), place.size());
        let found = FoundFile { place, format: self.format, partitions: self.partitions.clone() };
        let file = TableFile::reopen(&found, name.to_string(), &reading.missing, self.known.clone())?;
        let partitions = vec![found.partitions];
        let set = Arc::new(FileSet { files: vec![file], partitions, schema: Arc::clone(schema), reading, bytes });
        let columns: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let plan = set.plan(&columns, &name)?;
        let mut queue = WorkQueue::of_row_groups(Arc::clone(&set), self.row_groups.clone());
        let (mut next_row, mut goes_on) = (0, true);
        while let Some(work) = queue.next_work(&plan)? {
            work.decode(&set, &plan, &mut |decoded| {
                let first_row = decoded.first_row.unwrap_or(next_row);
                next_row = first_row + decoded.batch.num_rows() as u64;
                goes_on = emit(PartBatch { file: Arc::clone(&name), first_row, batch: decoded.batch });
                goes_on
            })?;
            if !goes_on {
                break;
            }
        }
        Ok(goes_on)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Float64Array};
    use arrow::compute::cast;
    use arrow::datatypes::{DataType, Schema};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::super::{ScanOrder, SourceOptions};
    use super::*;

    /// The parts of a source, through JSON, read one after the other: row numbers and the values of a column.
    fn rows_of(source: &Source, bytes: u64) -> (usize, Vec<(u64, RecordBatch)>) {
        let parts = source.parts(bytes).unwrap();
        let mut batches = Vec::new();
        for part in &parts {
            let text = serde_json::to_string(part).unwrap();
            let part: Part = serde_json::from_str(&text).unwrap();
            part.read(&source.schema(), 3, &mut |rows| {
                batches.push((rows.first_row, rows.batch));
                true
            })
            .unwrap();
        }
        (parts.len(), batches)
    }

    #[test]
    fn parts_hold_all_rows_with_their_numbers_and_types() {
        let folder = tempfile::tempdir().unwrap();
        // In the second file `x` shows an integer that doubles do not hold, `z` its only value.
        std::fs::write(folder.path().join("a.csv"), "x,g,z\n1,a,\n2,NA,\n3,b,\n4,b,\n5,c,\n").unwrap();
        std::fs::write(folder.path().join("b.csv"), "x,g,z\n9007199254740993,a,1.5\n").unwrap();
        let source = Source::open(&[folder.path().display().to_string()], &SourceOptions::default()).unwrap();
        let scanned: Vec<RecordBatch> =
            source.scan(&source.columns(), ScanOrder::File).unwrap().map(|batch| batch.unwrap().batch).collect();
        for bytes in [1, 1 << 20] {
            let (count, batches) = rows_of(&source, bytes);
            assert_eq!(count, if bytes == 1 { 2 } else { 1 });
            assert_eq!(batches.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [0, 3, 0]);
            let read: Vec<RecordBatch> = batches.into_iter().map(|(_, batch)| batch).collect();
            let join = |batches: &[RecordBatch]| {
                let schema: &Arc<Schema> = batches[0].schema_ref();
                let all = arrow::compute::concat_batches(schema, batches).unwrap();
                // (Equal labels may have other codes.)
                let plain = |column: &ArrayRef| match column.data_type() {
                    DataType::Dictionary(..) => cast(column, &DataType::Utf8).unwrap(),
                    _ => Arc::clone(column),
                };
                all.columns().iter().map(plain).collect::<Vec<_>>()
            };
            assert_eq!(format!("{:?}", join(&read)), format!("{:?}", join(&scanned)));
        }
    }

    #[test]
    fn there_are_as_many_parts_as_the_bytes_ask_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let numbers: ArrayRef = Arc::new(Float64Array::from_iter_values((0..240).map(f64::from)));
        let batch = RecordBatch::try_from_iter([("x", numbers)]).unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(10)).build();
        let mut writer =
            ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let source = Source::open(&[path.display().to_string()], &SourceOptions::default()).unwrap();
        let size = source.bytes_total().unwrap();
        // (That most numbers do not divide the size is the point.)
        for wanted in 1..=12 {
            let (count, batches) = rows_of(&source, size.div_ceil(wanted));
            assert_eq!(count as u64, wanted, "{size} bytes");
            let numbers = batches.iter().flat_map(|(first, batch)| *first..first + batch.num_rows() as u64);
            assert_eq!(numbers.collect::<Vec<_>>(), (0..240).collect::<Vec<_>>());
        }
        // A part of a bit more than the bytes is not cut, and two of a bit less are not joined.
        assert_eq!([size - 10, size / 2 + 10].map(|bytes| source.parts(bytes).unwrap().len()), [1, 2]);
    }

    #[test]
    fn a_file_that_changed_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, "x\n1\n2\n").unwrap();
        let source = Source::open(&[path.display().to_string()], &SourceOptions::default()).unwrap();
        let parts = source.parts(1).unwrap();
        std::fs::write(&path, "x\n1\n").unwrap();
        let error = parts[0].read(&source.schema(), 10, &mut |_| true).unwrap_err();
        assert!(error.to_string().contains("the file changed while it was read: 6 bytes at first, 4 now"), "{error}");
    }
}

//! A Parquet file: its footer, and its row groups as record batches.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;

use super::error::SourceError;
use super::place::{Opened, Place};
use super::remote::{Object, Piece, Promise, RemoteChunks, wait};
use super::schema::{expect_distinct, text_type};
use super::sniff::shown_content;

/// The mark at both ends of a Parquet file.
const MARK: &[u8; 4] = b"PAR1";

/// Mark, length of the footer and mark: no Parquet file is shorter.
const LENGTH_MIN: u64 = 12;

/// A Parquet file whose footer has been read.
#[derive(Clone, Debug)]
pub(crate) struct ParquetFile {
    pub(crate) place: Place,
    pub(crate) name: String,
    metadata: ArrowReaderMetadata,
}

impl ParquetFile {
    /// Reads the footer.
    pub(crate) fn open(place: Place, name: String) -> Result<Self, SourceError> {
        let metadata = match (&place, place.open(&name)?) {
            (Place::Remote(object), _) => remote_metadata(object, &name)?,
            (_, Opened::Remote(reader)) => remote_metadata(reader.object(), &name)?,
            (_, Opened::Local(mut file)) => {
                expect_marks(&mut file, &name)?;
                ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|error| explain(&name, error))?
            }
        };
        expect_distinct(&name, metadata.schema().fields().iter().map(|field| field.name().as_str()))?;
        // Text stays dictionary-encoded, as it is in the file. A schema that the reader will not take costs only speed.
        let options = ArrowReaderOptions::new().with_schema(with_dictionaries(metadata.schema()));
        let metadata = match ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options) {
            Ok(with_dictionaries) => with_dictionaries,
            Err(_) => metadata,
        };
        Ok(Self { place, name, metadata })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    pub(crate) fn rows(&self) -> u64 {
        u64::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// The number of rows of each row group.
    pub(crate) fn row_groups(&self) -> Vec<u64> {
        let groups = self.metadata.metadata().row_groups();
        groups.iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(0)).collect()
    }

    /// Starts to fetch the columns of a row group, if the file is not on this machine.
    pub(crate) fn fetch(
        &self,
        row_group: usize,
        columns: &[usize],
    ) -> Result<Option<Promise<Vec<Piece>>>, SourceError> {
        let Place::Remote(object) = &self.place else { return Ok(None) };
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), columns.iter().copied());
        let group = self.metadata.metadata().row_group(row_group);
        let leaves = group.columns().iter().enumerate().filter(|(leaf, _)| mask.leaf_included(*leaf));
        let range = |start: u64, length: u64| Range { start, end: object.size.min(start.saturating_add(length)) };
        let ranges = leaves.map(|(_, column)| column.byte_range()).map(|(start, length)| range(start, length));
        object.start(ranges.filter(|range| range.start < range.end).collect()).map(Some)
    }

    /// Decodes the columns of a row group, in the order of the file; `emit` gets the batches until it returns false.
    pub(crate) fn decode(
        &self,
        row_group: usize,
        columns: &[usize],
        batch_rows: usize,
        fetched: Option<&Promise<Vec<Piece>>>,
        emit: &mut dyn FnMut(RecordBatch) -> Result<bool, SourceError>,
    ) -> Result<(), SourceError> {
        match self.place.open(&self.name)? {
            Opened::Local(file) => {
                let result = self.decode_from(file, row_group, columns, batch_rows, emit);
                // What was written while it was read may look damaged, or whole.
                self.place.expect_unchanged(&self.name).and(result)
            }
            Opened::Remote(reader) => {
                let object = Arc::clone(reader.object());
                let pieces = fetched.map_or_else(|| Ok(Vec::new()), |fetched| wait(fetched, &object.url))?;
                self.decode_from(RemoteChunks { object, pieces }, row_group, columns, batch_rows, emit)
            }
        }
    }

    fn decode_from(
        &self,
        file: impl ChunkReader + 'static,
        row_group: usize,
        columns: &[usize],
        batch_rows: usize,
        emit: &mut dyn FnMut(RecordBatch) -> Result<bool, SourceError>,
    ) -> Result<(), SourceError> {
        let damaged = |message: String| SourceError::Damaged {
            path: self.name.clone(),
            format: "Parquet".into(),
            message: format!("row group {}: {message}", row_group + 1),
        };
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), columns.iter().copied());
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_row_groups(vec![row_group])
            .with_projection(mask)
            .with_batch_size(batch_rows)
            .build()
            .map_err(|error| damaged(error.to_string()))?;
        for batch in reader {
            if !emit(batch.map_err(|error| damaged(error.to_string()))?)? {
                break;
            }
        }
        Ok(())
    }
}

/// Bytes at the end of an object that hold the footer of most files.
const TAIL_BYTES: u64 = 64 << 10;

/// The footer of an object.
fn remote_metadata(object: &Arc<Object>, name: &str) -> Result<ArrowReaderMetadata, SourceError> {
    if object.size == 0 {
        return Err(SourceError::EmptyFile { path: name.into(), expected: "a Parquet file".into() });
    }
    let chunks = RemoteChunks::with_tail(Arc::clone(object), TAIL_BYTES)?;
    let whole = chunks.pieces.iter().all(|piece| piece.content.ends_with(MARK));
    if object.size < LENGTH_MIN || !whole {
        let head = object.range(0..object.size.min(MARK.len() as u64))?;
        if head[..] != MARK[..] {
            let (path, expected) = (name.into(), "Parquet (which begins with `PAR1`)".into());
            return Err(SourceError::NotTheFormat { path, expected, got: shown_content(&head) });
        }
        let expected = "the footer, which ends with `PAR1`".into();
        return Err(SourceError::Truncated { path: name.into(), expected });
    }
    ArrowReaderMetadata::load(&chunks, ArrowReaderOptions::new()).map_err(|error| explain(name, error))
}

/// The source's own error where it is one.
fn explain(name: &str, error: ParquetError) -> SourceError {
    if let ParquetError::External(cause) = &error
        && let Some(own) = cause.downcast_ref::<SourceError>()
    {
        return own.clone();
    }
    SourceError::Damaged { path: name.into(), format: "Parquet".into(), message: error.to_string() }
}

/// The schema with text columns as dictionaries.
fn with_dictionaries(schema: &Schema) -> SchemaRef {
    let field = |field: &Field| match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..)
            if super::schema::leaving_type(field.data_type()) == text_type() =>
        {
            field.clone().with_data_type(text_type())
        }
        _ => field.clone(),
    };
    let fields: Vec<Field> = schema.fields().iter().map(|f| field(f)).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Tells a file of another format and a truncated one from a damaged one.
fn expect_marks(file: &mut File, name: &str) -> Result<(), SourceError> {
    let failed = |error: std::io::Error| io_error(name, &error);
    let length = file.metadata().map_err(failed)?.len();
    if length == 0 {
        return Err(SourceError::EmptyFile { path: name.into(), expected: "a Parquet file".into() });
    }
    let mut head = Vec::new();
    file.by_ref().take(MARK.len() as u64).read_to_end(&mut head).map_err(failed)?;
    if head != MARK {
        let (path, expected) = (name.into(), "Parquet (which begins with `PAR1`)".into());
        return Err(SourceError::NotTheFormat { path, expected, got: shown_content(&head) });
    }
    let truncated =
        || SourceError::Truncated { path: name.into(), expected: "the footer, which ends with `PAR1`".into() };
    if length < LENGTH_MIN {
        return Err(truncated());
    }
    let mut tail = [0; MARK.len()];
    file.seek(SeekFrom::End(-(MARK.len() as i64))).map_err(failed)?;
    file.read_exact(&mut tail).map_err(failed)?;
    if &tail == MARK { Ok(()) } else { Err(truncated()) }
}

pub(crate) fn io_error(path: &str, error: &std::io::Error) -> SourceError {
    SourceError::Io { path: path.into(), message: error.to_string() }
}

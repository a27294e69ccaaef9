//! An Arrow IPC file, of the file kind (also Feather 2) or of the stream kind, as record batches.

use std::io::{BufReader, Read};
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};

use super::error::SourceError;
use super::parquet::io_error;
use super::place::{Opened, Place};
use super::remote::BYTES_AHEAD;
use super::schema::expect_distinct;
use super::sniff::shown_content;

/// Parts into which a file is cut at most: each part reads the file's schema and dictionaries again.
const PARTS_MAX: usize = 64;

/// An Arrow IPC file whose schema has been read.
#[derive(Clone, Debug)]
pub(crate) struct IpcFile {
    pub(crate) place: Place,
    pub(crate) name: String,
    pub(crate) schema: SchemaRef,
    /// The number of batches; `None` for a stream, which does not say.
    batches: Option<usize>,
}

impl IpcFile {
    /// Reads the schema.
    pub(crate) fn open(place: Place, name: String) -> Result<Self, SourceError> {
        let mut head = Vec::new();
        let file = place.open(&name)?;
        file.take(8).read_to_end(&mut head).map_err(|error| io_error(&name, &error))?;
        let mut ipc = Self { place, name, schema: SchemaRef::new(arrow::datatypes::Schema::empty()), batches: None };
        if head.is_empty() {
            return Err(SourceError::EmptyFile { path: ipc.name, expected: "an Arrow IPC file".into() });
        }
        if head.starts_with(b"ARROW1") {
            let reader = ipc.file_reader(None)?;
            ipc.schema = reader.schema();
            ipc.batches = Some(reader.num_batches());
        } else if head.starts_with(b"\xff\xff\xff\xff") {
            ipc.schema = ipc.stream_reader(None)?.schema();
        } else {
            let expected = "Arrow IPC (which begins with `ARROW1`)".into();
            return Err(SourceError::NotTheFormat { path: ipc.name, expected, got: shown_content(&head) });
        }
        expect_distinct(&ipc.name, ipc.schema.fields().iter().map(|field| field.name().as_str()))?;
        Ok(ipc)
    }

    /// Ranges of batches that can be decoded apart; one, unbounded, for a stream.
    pub(crate) fn parts(&self) -> Vec<Range<usize>> {
        match self.batches {
            None => std::iter::once(0..usize::MAX).collect(),
            Some(batches) => {
                let most = match self.place {
                    Place::Local { .. } => PARTS_MAX,
                    // Every part fetches some bytes ahead.
                    Place::Remote(_) => PARTS_MAX.min(1 + (self.place.size() / BYTES_AHEAD) as usize),
                };
                let length = batches.div_ceil(most).max(1);
                (0..batches).step_by(length).map(|start| start..(start + length).min(batches)).collect()
            }
        }
    }

    /// Decodes the columns of some batches, in the order asked for; `emit` gets them until it returns false.
    pub(crate) fn decode(
        &self,
        part: &Range<usize>,
        columns: &[usize],
        emit: &mut dyn FnMut(RecordBatch) -> Result<bool, SourceError>,
    ) -> Result<(), SourceError> {
        let batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>> = match self.batches {
            None => Box::new(self.stream_reader(Some(columns))?),
            Some(_) => {
                let mut reader = self.file_reader(Some(columns))?;
                reader.set_index(part.start).map_err(|error| self.damaged(&error))?;
                Box::new(reader.take(part.len()))
            }
        };
        for batch in batches {
            let batch = batch.map_err(|error| {
                self.place.expect_unchanged(&self.name).err().unwrap_or_else(|| self.damaged(&error))
            })?;
            if !emit(batch)? {
                break;
            }
        }
        self.place.expect_unchanged(&self.name)
    }

    fn file_reader(&self, columns: Option<&[usize]>) -> Result<FileReader<BufReader<Opened>>, SourceError> {
        let file = self.place.open(&self.name)?;
        FileReader::try_new_buffered(file, columns.map(<[usize]>::to_vec)).map_err(|error| self.damaged(&error))
    }

    fn stream_reader(&self, columns: Option<&[usize]>) -> Result<StreamReader<BufReader<Opened>>, SourceError> {
        let file = self.place.open(&self.name)?;
        StreamReader::try_new_buffered(file, columns.map(<[usize]>::to_vec)).map_err(|error| self.damaged(&error))
    }

    fn damaged(&self, error: &ArrowError) -> SourceError {
        if let ArrowError::IoError(_, cause) = error
            && let Some(own) = cause.get_ref().and_then(|cause| cause.downcast_ref::<SourceError>())
        {
            return own.clone();
        }
        SourceError::Damaged { path: self.name.clone(), format: "Arrow IPC".into(), message: error.to_string() }
    }
}

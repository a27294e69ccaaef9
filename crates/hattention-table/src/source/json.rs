//! A file of JSON lines: the types of its fields, and its blocks as record batches.

use std::io::{BufReader, Cursor};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::json::ReaderBuilder;
use datafusion::arrow::json::reader::infer_json_schema;

use super::blocks::{Block, BlockReader, TextFile};
use super::error::SourceError;
use super::records::Records;

/// A file of JSON lines that has been read once for the types of its fields.
#[derive(Clone, Debug)]
pub(crate) struct JsonFile {
    pub(crate) text: TextFile,
    pub(crate) schema: SchemaRef,
}

impl JsonFile {
    /// Reads the whole file once: a field may occur, or turn from integers to numbers, anywhere.
    pub(crate) fn open(text: TextFile) -> Result<Self, SourceError> {
        let first = first_record(&text)?;
        let whole = BufReader::with_capacity(1 << 16, text.unpacked(&Arc::default())?);
        let (inferred, _) = infer_json_schema(whole, None).map_err(|error| explain(&text, &error.to_string()))?;
        // Arrow gives the fields in no order: those of the first record come first, in its order.
        let rank = |field: &Field| first.iter().position(|name| name == field.name()).unwrap_or(usize::MAX);
        let mut fields: Vec<Field> = inferred.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.name().cmp(b.name())));
        Ok(Self { text, schema: Arc::new(Schema::new(fields)) })
    }

    /// The blocks of the file.
    pub(crate) fn blocks(&self) -> Result<BlockReader, SourceError> {
        BlockReader::open(&self.text, 0)
    }

    /// Decodes the columns of a block, in the order asked for; `emit` gets the batches until it returns false.
    pub(crate) fn decode(
        &self,
        block: &Block,
        columns: &[usize],
        batch_rows: usize,
        emit: &mut dyn FnMut(RecordBatch) -> Result<bool, SourceError>,
    ) -> Result<(), SourceError> {
        let fields: Vec<Field> = columns.iter().map(|&column| self.schema.field(column).clone()).collect();
        let reader = ReaderBuilder::new(Arc::new(Schema::new(fields)))
            .with_coerce_primitive(true)
            .with_batch_size(batch_rows)
            .build(block.bytes.as_slice());
        for batch in reader.map_err(|error| explain(&self.text, &error.to_string()))? {
            if !emit(batch.map_err(|error| explain(&self.text, &error.to_string()))?)? {
                break;
            }
        }
        Ok(())
    }
}

/// The names in the first record, in its order.
fn first_record(text: &TextFile) -> Result<Vec<String>, SourceError> {
    let mut blocks = BlockReader::open(text, 0)?;
    while let Some(block) = blocks.next_block()? {
        let Some(record) = Records::new(&block.bytes, 0).next() else {
            continue;
        };
        let bytes = &block.bytes[record.start..record.end];
        if let Some(got) = super::sniff::known_content(bytes) {
            let (path, expected) = (text.name.clone(), "JSON lines".into());
            return Err(SourceError::NotTheFormat { path, expected, got: got.into() });
        }
        if bytes.trim_ascii_start().starts_with(b"[") {
            let (path, expected) = (text.name.clone(), "JSON lines: one object `{…}` on each line".into());
            return Err(SourceError::NotTheFormat { path, expected, got: "an array `[`".into() });
        }
        return match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(bytes) {
            Ok(object) => Ok(object.keys().cloned().collect()),
            Err(error) => Err(explain(text, &error.to_string())),
        };
    }
    Err(SourceError::EmptyFile { path: text.name.clone(), expected: "one JSON object on each line".into() })
}

/// Finds the line that is not a JSON object; `message` is what the reader said without it.
fn explain(text: &TextFile, message: &str) -> SourceError {
    let damaged =
        |message: String| SourceError::Damaged { path: text.name.clone(), format: "JSON lines".into(), message };
    let search = || -> Result<SourceError, SourceError> {
        let mut blocks = BlockReader::open(text, 0)?;
        while let Some(block) = blocks.next_block()? {
            for record in Records::new(&block.bytes, 0) {
                let bytes = &block.bytes[record.start..record.end];
                let object = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(bytes);
                let wrong = object.map(drop).map_err(|error| error.to_string());
                // What serde accepts, Arrow may still refuse on its own, for example a huge integer.
                let wrong = wrong.and_then(|()| {
                    infer_json_schema(Cursor::new(bytes), None).map(drop).map_err(|error| error.to_string())
                });
                if let Err(wrong) = wrong {
                    let line = 1 + text.lines_before(block.offset)? + record.line;
                    return Ok(damaged(format!("line {line}: {wrong}")));
                }
            }
        }
        Ok(damaged(message.to_owned()))
    };
    search().unwrap_or_else(|error| error)
}

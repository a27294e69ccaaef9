//! A file of JSON lines: the types of its fields, and its blocks as record batches.

use std::io::{BufReader, Cursor};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use arrow::json::reader::infer_json_schema;

use super::blocks::{Block, BlockReader, TextFile};
use super::csv::shown;
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

    /// The error that says where a field of numbers holds text, if that is what it looks like. Types do not say so: a
    /// field of both is text. It reads the file again, and a third time if the field holds both.
    pub(crate) fn text_among_numbers(&self, column: usize) -> Option<SourceError> {
        let field = self.schema.field(column);
        if !field.data_type().is_string() || self.is_text_only(field) {
            return None;
        }
        let mut found = Mixed::default();
        let mut blocks = self.blocks().ok()?;
        while let Some(block) = blocks.next_block().ok()? {
            for record in Records::new(&block.bytes, 0) {
                let bytes = &block.bytes[record.start..record.end];
                let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes).ok()?;
                match object.get(field.name()) {
                    Some(serde_json::Value::Number(_)) => found.numbers += 1,
                    Some(serde_json::Value::String(text)) => {
                        found.texts += 1;
                        found.first.get_or_insert_with(|| (block.offset, record.line, text.clone()));
                    }
                    _ => {}
                }
            }
        }
        let (offset, line, value) = found.first.filter(|_| found.numbers >= found.texts)?;
        Some(SourceError::TextAmongNumbers {
            path: self.text.name.clone(),
            line: 1 + self.text.lines_before(offset).ok()? + line,
            column: field.name().clone(),
            value: shown(&value),
            seen: found.numbers + found.texts,
            texts: found.texts,
        })
    }

    /// Whether a field of text holds nothing else; the decoder refuses numbers where it may not turn them into text.
    fn is_text_only(&self, field: &Field) -> bool {
        let schema = Arc::new(Schema::new(vec![field.clone()]));
        let whole = || -> Option<bool> {
            let mut blocks = self.blocks().ok()?;
            while let Some(block) = blocks.next_block().ok()? {
                let reader = ReaderBuilder::new(Arc::clone(&schema)).build(block.bytes.as_slice()).ok()?;
                if reader.into_iter().any(|batch| batch.is_err()) {
                    return Some(false);
                }
            }
            Some(true)
        };
        whole().unwrap_or(true)
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
        // The decoder makes room for a batch at once; an object takes three bytes at least.
        let reader = ReaderBuilder::new(Arc::new(Schema::new(fields)))
            .with_coerce_primitive(true)
            .with_batch_size(batch_rows.min(block.bytes.len() / 3 + 1))
            .build(block.bytes.as_slice());
        for batch in reader.map_err(|error| explain(&self.text, &error.to_string()))? {
            if !emit(batch.map_err(|error| explain(&self.text, &error.to_string()))?)? {
                break;
            }
        }
        Ok(())
    }
}

/// What a field of numbers and text holds.
#[derive(Default)]
struct Mixed {
    numbers: u64,
    texts: u64,
    /// The first text: its block's offset, its line within the block, and its value.
    first: Option<(u64, u64, String)>,
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

//! A CSV file: its header, the types of its columns, and its blocks as record batches.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format as HeaderFormat;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::blocks::{Block, BlockReader, TextFile};
use super::csv_types::{CsvType, Missing, Tally, read_cells};
use super::error::SourceError;
use super::plain_text::{Cell, PlainText, Ragged};
use super::records::Records;
use super::schema::expect_distinct;

/// Rows that are decoded at once while looking at a sample.
const SAMPLE_BATCH_ROWS: usize = 8192;

/// A CSV file whose header and first blocks have been read.
#[derive(Clone, Debug)]
pub(crate) struct CsvFile {
    pub(crate) text: TextFile,
    /// All columns as text, which is how they are cut out of the file.
    cells: SchemaRef,
    /// Where the first record after the header begins in the unpacked text.
    data_start: u64,
    /// Where the part that was looked at ends.
    sample_end: u64,
    columns: Vec<Column>,
}

/// What is known of a file without reading it again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CsvKnown {
    names: Vec<String>,
    data_start: u64,
    sample_end: u64,
    columns: Vec<Column>,
}

/// What is known of a column.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Column {
    tally: Tally,
    /// The first value that is not a number.
    first_text: Option<Place>,
}

/// A value and its line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    line: u64,
    value: String,
}

/// What to read from a file.
#[derive(Clone, Debug)]
pub(crate) struct CsvPlan {
    /// Positions in the file, in the order asked for.
    pub(crate) columns: Vec<usize>,
    pub(crate) types: Vec<CsvType>,
    /// The schema of the batches.
    pub(crate) schema: SchemaRef,
}

impl CsvFile {
    /// Reads the header and looks at the first `sample_blocks` blocks.
    pub(crate) fn open(text: TextFile, missing: &Missing, sample_blocks: usize) -> Result<Self, SourceError> {
        let (names, data_start) = read_header(&text)?;
        let fields: Vec<Field> = names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
        let mut file = Self {
            text,
            columns: vec![Column::default(); fields.len()],
            cells: Arc::new(Schema::new(fields)),
            data_start,
            sample_end: data_start,
        };
        let mut blocks = BlockReader::open(&file.text, data_start)?;
        let all: Vec<usize> = (0..file.columns.len()).collect();
        for _ in 0..sample_blocks {
            let Some(block) = blocks.next_block()? else {
                break;
            };
            file.look_at(&block, &all, missing)?;
        }
        Ok(file)
    }

    /// What is known of the file.
    pub(crate) fn known(&self) -> CsvKnown {
        CsvKnown {
            names: self.names().map(str::to_owned).collect(),
            data_start: self.data_start,
            sample_end: self.sample_end,
            columns: self.columns.clone(),
        }
    }

    /// A file of which all is known; `None` if the parts do not fit together.
    pub(crate) fn of_known(text: TextFile, known: CsvKnown) -> Option<Self> {
        let CsvKnown { names, data_start, sample_end, columns } = known;
        let fields: Vec<Field> = names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
        (fields.len() == columns.len()).then(|| Self {
            text,
            cells: Arc::new(Schema::new(fields)),
            data_start,
            sample_end,
            columns,
        })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.cells.fields().iter().map(|field| field.name().as_str())
    }

    pub(crate) fn column_type(&self, column: usize) -> CsvType {
        self.columns[column].tally.csv_type()
    }

    /// The columns of which a value has been seen.
    pub(crate) fn columns_with_values(&self) -> Vec<String> {
        let seen = self.names().zip(&self.columns).filter(|(_, column)| column.tally.seen() > 0);
        seen.map(|(name, _)| name.to_owned()).collect()
    }

    /// Reads on until each of the columns has shown a value, or the file ends.
    pub(crate) fn look_further(&mut self, mut columns: Vec<usize>, missing: &Missing) -> Result<(), SourceError> {
        let mut blocks = BlockReader::open(&self.text, self.sample_end)?;
        loop {
            columns.retain(|&column| self.column_type(column) == CsvType::Empty);
            if columns.is_empty() {
                return Ok(());
            }
            match blocks.next_block()? {
                Some(block) => self.look_at(&block, &columns, missing)?,
                None => return Ok(()),
            }
        }
    }

    /// The error that says where a column of numbers holds text, if that is what it looks like.
    pub(crate) fn text_among_numbers(&self, column: usize) -> Option<SourceError> {
        let Column { tally, first_text: Some(place) } = &self.columns[column] else {
            return None;
        };
        tally.is_mixed().then(|| SourceError::TextAmongNumbers {
            path: self.text.name.clone(),
            line: place.line,
            column: self.cells.field(column).name().clone(),
            value: place.value.clone(),
            seen: tally.seen(),
            texts: tally.not_numbers(),
        })
    }

    /// The blocks after the header.
    pub(crate) fn blocks(&self) -> Result<BlockReader, SourceError> {
        BlockReader::open(&self.text, self.data_start)
    }

    /// Decodes a block; `emit` gets the batches until it returns false.
    pub(crate) fn decode(
        &self,
        block: &Block,
        plan: &CsvPlan,
        missing: &Missing,
        batch_rows: usize,
        emit: &mut dyn FnMut(RecordBatch) -> Result<bool, SourceError>,
    ) -> Result<(), SourceError> {
        if let Some(text) = PlainText::of(&block.bytes, self.text.syntax.delimiter, self.columns.len()) {
            return self.decode_plain(block, text, plan, missing, batch_rows, emit);
        }
        let mut rows_before = 0;
        self.cut(block, &plan.columns, batch_rows, &mut |cells| {
            let mut columns: Vec<ArrayRef> = Vec::with_capacity(plan.columns.len());
            for (at, &csv_type) in plan.types.iter().enumerate() {
                let texts = cells.column(at).as_string::<i32>();
                let column = read_cells(texts.iter().map(Option::unwrap_or_default), csv_type, missing);
                columns.push(column.map_err(|row| {
                    self.wrong_value(block, rows_before + row, plan.columns[at], csv_type, texts.value(row))
                })?);
            }
            rows_before += cells.num_rows();
            emit(self.batch(plan, columns, cells.num_rows())?)
        })
    }

    fn batch(&self, plan: &CsvPlan, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, SourceError> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&plan.schema), columns, &options)
            .map_err(|error| self.damaged(error.to_string()))
    }

    /// As [`CsvFile::decode`], several times as fast, where nothing is quoted.
    fn decode_plain(
        &self,
        block: &Block,
        mut text: PlainText<'_>,
        plan: &CsvPlan,
        missing: &Missing,
        batch_rows: usize,
        emit: &mut dyn FnMut(RecordBatch) -> Result<bool, SourceError>,
    ) -> Result<(), SourceError> {
        let mut places = vec![usize::MAX; self.columns.len()];
        plan.columns.iter().enumerate().for_each(|(place, column)| places[*column] = place);
        let mut cells: Vec<Vec<Cell>> = vec![Vec::new(); plan.columns.len()];
        let mut rows_before = 0;
        loop {
            cells.iter_mut().for_each(Vec::clear);
            let rows = text
                .next(&places, batch_rows, &mut cells)
                .map_err(|Ragged| self.explain(block, "a record of another length"))?;
            if rows == 0 {
                return Ok(());
            }
            let mut columns: Vec<ArrayRef> = Vec::with_capacity(plan.columns.len());
            for ((&csv_type, &column), cells) in plan.types.iter().zip(&plan.columns).zip(&cells) {
                let read = read_cells(cells.iter().map(|cell| text.shown(*cell)), csv_type, missing);
                columns.push(read.map_err(|row| {
                    self.wrong_value(block, rows_before + row, column, csv_type, text.shown(cells[row]))
                })?);
            }
            rows_before += rows;
            if !emit(self.batch(plan, columns, rows)?)? {
                return Ok(());
            }
        }
    }

    /// Cuts a block into cells; `take` gets batches of text columns until it returns false.
    fn cut(
        &self,
        block: &Block,
        columns: &[usize],
        batch_rows: usize,
        take: &mut dyn FnMut(RecordBatch) -> Result<bool, SourceError>,
    ) -> Result<(), SourceError> {
        // The decoder makes room for every cell of a batch at once; a record has a byte for each of its cells at least.
        let records_max = block.bytes.len() / self.columns.len().max(1) + 1;
        let mut decoder = ReaderBuilder::new(Arc::clone(&self.cells))
            .with_delimiter(self.text.syntax.delimiter)
            .with_batch_size(batch_rows.min(records_max))
            .with_projection(columns.to_vec())
            .build_decoder();
        let mut rest = block.bytes.as_slice();
        loop {
            let read = decoder.decode(rest).map_err(|error| self.explain(block, &error.to_string()))?;
            rest = &rest[read..];
            // An empty text ends the last record; a full batch ends before the text does.
            if read > 0 && decoder.capacity() > 0 {
                continue;
            }
            match decoder.flush().map_err(|error| self.explain(block, &error.to_string()))? {
                Some(batch) => {
                    if !take(batch)? {
                        return Ok(());
                    }
                }
                None => return Ok(()),
            }
        }
    }

    fn look_at(&mut self, block: &Block, columns: &[usize], missing: &Missing) -> Result<(), SourceError> {
        let file = self.clone();
        let mut rows_before = 0;
        file.cut(block, columns, SAMPLE_BATCH_ROWS, &mut |cells| {
            for (at, &column) in columns.iter().enumerate() {
                let texts = cells.column(at).as_string::<i32>();
                let known = &mut self.columns[column];
                if let Some(row) = known.tally.add_all(texts, missing) {
                    let line = file.line_of(block, rows_before + row)?;
                    known.first_text = Some(Place { line, value: shown(texts.value(row)) });
                }
            }
            rows_before += cells.num_rows();
            Ok(true)
        })?;
        self.sample_end = block.offset + block.bytes.len() as u64;
        Ok(())
    }

    /// The line of a record of a block, counted from 1.
    fn line_of(&self, block: &Block, record: usize) -> Result<u64, SourceError> {
        let within = Records::new(&block.bytes, self.text.syntax.delimiter).nth(record).map_or(0, |found| found.line);
        Ok(1 + self.text.lines_before(block.offset)? + within)
    }

    fn wrong_value(&self, block: &Block, record: usize, column: usize, csv_type: CsvType, value: &str) -> SourceError {
        match self.line_of(block, record) {
            Ok(line) => SourceError::Value {
                path: self.text.name.clone(),
                line,
                column: self.cells.field(column).name().clone(),
                expected: csv_type.expectation(value).into(),
                value: shown(value),
            },
            Err(error) => error,
        }
    }

    /// Why a block cannot be cut into cells: bytes that are not text, or a record of another length.
    fn explain(&self, block: &Block, message: &str) -> SourceError {
        let place = || -> Result<SourceError, SourceError> {
            let before = 1 + self.text.lines_before(block.offset)?;
            if let Some(error) = not_utf8(&self.text, &block.bytes, before) {
                return Ok(error);
            }
            let expected = self.columns.len();
            let ragged = Records::new(&block.bytes, self.text.syntax.delimiter).find(|found| found.fields != expected);
            Ok(match ragged {
                Some(found) => SourceError::RaggedRow {
                    path: self.text.name.clone(),
                    line: before + found.line,
                    expected,
                    got: found.fields,
                },
                None => self.damaged(message.to_owned()),
            })
        };
        place().unwrap_or_else(|error| error)
    }

    fn damaged(&self, message: String) -> SourceError {
        SourceError::Damaged { path: self.text.name.clone(), format: "CSV".into(), message }
    }
}

/// The names in the header and where the data begin.
fn read_header(text: &TextFile) -> Result<(Vec<String>, u64), SourceError> {
    let mut blocks = BlockReader::open(text, 0)?;
    let empty =
        || SourceError::EmptyFile { path: text.name.clone(), expected: "a header with the column names".into() };
    let (block, header) = loop {
        let block = blocks.next_block()?.ok_or_else(empty)?;
        if let Some(header) = Records::new(&block.bytes, text.syntax.delimiter).next() {
            break (block, header);
        }
    };
    let bytes = &block.bytes[header.start..header.end];
    if let Some(got) = super::sniff::known_content(bytes) {
        let (path, expected) = (text.name.clone(), "CSV".into());
        return Err(SourceError::NotTheFormat { path, expected, got: got.into() });
    }
    if let Some(error) = not_utf8(text, bytes, 1 + header.line) {
        return Err(error);
    }
    let (schema, _) = HeaderFormat::default()
        .with_header(true)
        .with_delimiter(text.syntax.delimiter)
        .infer_schema(bytes, Some(0))
        .map_err(|error| SourceError::Damaged {
            path: text.name.clone(),
            format: "CSV header".into(),
            message: error.to_string(),
        })?;
    let names: Vec<String> = schema.fields().iter().enumerate().map(|(at, field)| named(at, field.name())).collect();
    expect_delimiter(text, &names)?;
    expect_distinct(&text.name, names.iter().map(String::as_str))?;
    Ok((names, block.offset + header.end as u64))
}

/// A single name that holds another delimiter is not a name.
fn expect_delimiter(text: &TextFile, names: &[String]) -> Result<(), SourceError> {
    let [name] = names else {
        return Ok(());
    };
    let others = [(';', "semicolons"), ('\t', "tabs"), ('|', "bars")];
    match others.into_iter().find(|&(other, _)| name.contains(other)) {
        Some((_, got)) if text.syntax.delimiter == b',' => {
            Err(SourceError::OtherDelimiter { path: text.name.clone(), got: got.into() })
        }
        _ => Ok(()),
    }
}

/// A column without a name, such as R's row names, is called by its position.
fn named(at: usize, name: &str) -> String {
    match name.trim() {
        "" => format!("column_{}", at + 1),
        name => name.to_owned(),
    }
}

/// The error for bytes that are not UTF-8; `line` is the line of the first byte.
fn not_utf8(text: &TextFile, bytes: &[u8], line: u64) -> Option<SourceError> {
    let error = std::str::from_utf8(bytes).err()?;
    let at = error.valid_up_to();
    let before = String::from_utf8_lossy(&bytes[at.saturating_sub(12)..at]);
    let before = before.rsplit(['\n', '\r', char::REPLACEMENT_CHARACTER]).next().unwrap_or_default().to_owned();
    let wrong: Vec<String> = bytes[at..].iter().take(2).map(|byte| format!("{byte:02x}")).collect();
    Some(SourceError::NotUtf8 {
        path: text.name.clone(),
        line: line + super::records::line_breaks(&bytes[..at]),
        got: match before.is_empty() {
            true => format!("bytes {}", wrong.join(" ")),
            false => format!("bytes {} after `{before}`", wrong.join(" ")),
        },
    })
}

/// A cell as it is shown in a message.
pub(super) fn shown(value: &str) -> String {
    const SHOWN_CHARACTERS: usize = 60;
    let value = value.trim().replace(char::is_control, "\u{fffd}");
    match value.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value,
    }
}

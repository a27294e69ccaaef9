//! The work of a scan: parts of files, handed out in order and decoded apart.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};

use super::blocks::{Block, BlockReader};
use super::error::SourceError;
use super::files::{FileSet, Plan, Reading};
use super::ipc::IpcFile;
use super::parquet::ParquetFile;
use super::partitions;
use super::remote::{Piece, Promise};
use super::schema::conform;
use super::table_file::{FilePlan, TableFile};

/// A part of a file that can be decoded apart.
pub(crate) struct Work {
    file: usize,
    /// Number of its first row within the source, where known before the rows ahead of it are decoded.
    first_row: Option<u64>,
    part: Part,
}

enum Part {
    Block(Block),
    RowGroup { row_group: usize, per_row: f64, fetched: Option<Promise<Vec<Piece>>> },
    Batches { range: Range<usize>, bytes: u64 },
}

/// A decoded batch.
pub(crate) struct Decoded {
    pub(crate) first_row: Option<u64>,
    pub(crate) batch: RecordBatch,
    /// Bytes of the source that it stands for.
    pub(crate) bytes: u64,
}

/// Row groups of objects that are fetched while others are decoded.
const ROW_GROUPS_AHEAD: usize = 2;

impl Work {
    fn is_fetched(&self) -> bool {
        matches!(&self.part, Part::RowGroup { fetched: Some(_), .. })
    }

    /// Decodes the part; `emit` gets the batches until it returns false.
    pub(crate) fn decode(
        &self,
        set: &FileSet,
        plan: &Plan,
        emit: &mut dyn FnMut(Decoded) -> bool,
    ) -> Result<(), SourceError> {
        let file = &set.files[self.file];
        let FilePlan { columns, csv, .. } = &plan.files[self.file];
        let mut first_row = self.first_row;
        let mut input_bytes = self.input_bytes();
        let mut forward = |batch: RecordBatch| -> Result<bool, SourceError> {
            let batch = assembled(&batch, &plan.files[self.file], &plan.schema);
            let batch = batch.and_then(|batch| conform(&batch, &plan.schema)).map_err(|message| {
                SourceError::Damaged { path: file.name().into(), format: file.format().into(), message }
            })?;
            let rows = batch.num_rows() as u64;
            let decoded = Decoded { first_row, batch, bytes: input_bytes.of_batch(rows) };
            first_row = first_row.map(|first| first + rows);
            Ok(emit(decoded))
        };
        let Reading { missing, batch_rows, .. } = &set.reading;
        match (file, &self.part, csv) {
            (TableFile::Csv(file), Part::Block(block), Some(csv)) => {
                file.decode(block, csv, missing, *batch_rows, &mut forward)
            }
            (TableFile::Json(file), Part::Block(block), _) => file.decode(block, columns, *batch_rows, &mut forward),
            (TableFile::Parquet(file), Part::RowGroup { row_group, fetched, .. }, _) => {
                file.decode(*row_group, columns, *batch_rows, fetched.as_ref(), &mut forward)
            }
            (TableFile::Ipc(file), Part::Batches { range, .. }, _) => file.decode(range, columns, &mut forward),
            _ => Err(SourceError::Stopped { path: file.name().into(), what: "work of another format".into() }),
        }
    }

    /// Whether it is none of the row groups that are not wanted.
    fn is_among(&self, wanted: Option<&Range<usize>>) -> bool {
        match (&self.part, wanted) {
            (Part::RowGroup { row_group, .. }, Some(wanted)) => wanted.contains(row_group),
            _ => true,
        }
    }

    fn input_bytes(&self) -> InputBytes {
        match &self.part {
            Part::Block(block) => InputBytes::Once(block.input_bytes),
            Part::Batches { bytes, .. } => InputBytes::Once(*bytes),
            Part::RowGroup { per_row, .. } => InputBytes::PerRow(*per_row),
        }
    }
}

/// The columns asked for, in their order: those of the file, and those that its folders are.
fn assembled(batch: &RecordBatch, plan: &FilePlan, schema: &SchemaRef) -> Result<RecordBatch, String> {
    if plan.partitions.iter().all(Option::is_none) {
        return batch.project(&plan.order).map_err(|error| error.to_string());
    }
    let rows = batch.num_rows();
    let mut own = plan.order.iter();
    let mut columns = Vec::with_capacity(schema.fields().len());
    let mut fields = Vec::with_capacity(schema.fields().len());
    for (field, partition) in schema.fields().iter().zip(&plan.partitions) {
        if let Some((_, value)) = partition {
            columns.push(partitions::column(value.as_deref(), field.data_type(), rows));
            fields.push(Arc::clone(field));
        } else if let Some(&at) = own.next() {
            columns.push(Arc::clone(batch.column(at)));
            fields.push(Arc::clone(&batch.schema_ref().fields()[at]));
        }
    }
    let (fields, options) = (Arc::new(Schema::new(fields)), RecordBatchOptions::new().with_row_count(Some(rows)));
    RecordBatch::try_new_with_options(fields, columns, &options).map_err(|error| error.to_string())
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
    /// Row groups of objects that are being fetched.
    ahead: VecDeque<Work>,
    /// Rows in the files before, while known.
    rows_before: Option<u64>,
    /// The row groups of Parquet that are wanted; all without.
    only: Option<Range<usize>>,
}

impl WorkQueue {
    pub(crate) fn new(set: Arc<FileSet>) -> Self {
        let (parts, ahead) = (Vec::new().into_iter(), VecDeque::new());
        Self { set, file: 0, blocks: None, parts, ahead, rows_before: Some(0), only: None }
    }

    /// Without the row groups of Parquet that are not among these.
    pub(crate) fn of_row_groups(set: Arc<FileSet>, only: Option<Range<usize>>) -> Self {
        Self { only, ..Self::new(set) }
    }

    /// The next piece of work, or `None` at the end. Row groups of objects are fetched some ahead of their use.
    pub(crate) fn next_work(&mut self, plan: &Plan) -> Result<Option<Work>, SourceError> {
        loop {
            let Some(mut work) = self.next_part()? else { return Ok(self.ahead.pop_front()) };
            if let (TableFile::Parquet(file), Part::RowGroup { row_group, fetched, .. }) =
                (&self.set.files[work.file], &mut work.part)
            {
                *fetched = file.fetch(*row_group, &plan.files[work.file].columns)?;
            }
            if self.ahead.is_empty() && !work.is_fetched() {
                return Ok(Some(work));
            }
            self.ahead.push_back(work);
            if self.ahead.len() > ROW_GROUPS_AHEAD {
                return Ok(self.ahead.pop_front());
            }
        }
    }

    fn next_part(&mut self) -> Result<Option<Work>, SourceError> {
        loop {
            let current = self.file.wrapping_sub(1);
            if let Some(blocks) = &mut self.blocks {
                if let Some(block) = blocks.next_block()? {
                    return Ok(Some(Work { file: current, first_row: None, part: Part::Block(block) }));
                }
                self.blocks = None;
            }
            if let Some(work) = self.parts.next() {
                if !work.is_among(self.only.as_ref()) {
                    continue;
                }
                let first_row = work.first_row.zip(self.rows_before).map(|(first, before)| first + before);
                return Ok(Some(Work { file: current, first_row, ..work }));
            }
            if !self.open_next()? {
                return Ok(None);
            }
        }
    }

    /// Goes to the next file; false after the last.
    fn open_next(&mut self) -> Result<bool, SourceError> {
        if let Some(last) = self.file.checked_sub(1) {
            let rows = self.set.files.get(last).and_then(TableFile::rows);
            self.rows_before = self.rows_before.zip(rows).map(|(before, rows)| before + rows);
        }
        let Some(file) = self.set.files.get(self.file) else {
            return Ok(false);
        };
        self.file += 1;
        match file {
            TableFile::Csv(file) => self.blocks = Some(file.blocks()?),
            TableFile::Json(file) => self.blocks = Some(file.blocks()?),
            TableFile::Parquet(file) => self.parts = row_groups(file).into_iter(),
            TableFile::Ipc(file) => self.parts = ranges(file).into_iter(),
        }
        Ok(true)
    }
}

/// The row groups of a Parquet file. Rows are numbered within the file.
fn row_groups(file: &ParquetFile) -> Vec<Work> {
    let mut first_row = 0;
    let per_row = file.place.size() as f64 / file.rows().max(1) as f64;
    let groups = file.row_groups().into_iter().enumerate().map(|(row_group, rows)| {
        let part = Part::RowGroup { row_group, per_row, fetched: None };
        let work = Work { file: 0, first_row: Some(first_row), part };
        first_row += rows;
        work
    });
    groups.collect()
}

/// The parts of an Arrow IPC file.
fn ranges(file: &IpcFile) -> Vec<Work> {
    let ranges = file.parts();
    let bytes = file.place.size() / ranges.len().max(1) as u64;
    let work = |range| Work { file: 0, first_row: None, part: Part::Batches { range, bytes } };
    ranges.into_iter().map(work).collect()
}

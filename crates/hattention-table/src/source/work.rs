//! The work of a scan: parts of files, handed out in order and decoded apart.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;

use super::blocks::{Block, BlockReader};
use super::error::SourceError;
use super::files::{FileSet, Plan, Reading};
use super::ipc::IpcFile;
use super::parquet::ParquetFile;
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
    /// Decodes the part; `emit` gets the batches until it returns false.
    pub(crate) fn decode(
        &self,
        set: &FileSet,
        plan: &Plan,
        emit: &mut dyn FnMut(Decoded) -> bool,
    ) -> Result<(), SourceError> {
        let file = &set.files[self.file];
        let FilePlan { columns, order, csv } = &plan.files[self.file];
        let mut first_row = self.first_row;
        let mut input_bytes = self.input_bytes();
        let mut forward = |batch: RecordBatch| -> Result<bool, SourceError> {
            let batch = batch.project(order).map_err(|error| error.to_string());
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
            (TableFile::Parquet(file), Part::RowGroup { row_group, .. }, _) => {
                file.decode(*row_group, columns, *batch_rows, &mut forward)
            }
            (TableFile::Ipc(file), Part::Batches { range, .. }, _) => file.decode(range, columns, &mut forward),
            _ => Err(SourceError::Stopped { path: file.name().into(), what: "work of another format".into() }),
        }
    }

    /// The row group of a Parquet file that this is.
    pub(crate) fn row_group(&self) -> Option<usize> {
        if let Part::RowGroup { row_group, .. } = self.part { Some(row_group) } else { None }
    }

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
        Self { set, file: 0, blocks: None, parts: Vec::new().into_iter(), rows_before: Some(0) }
    }

    /// The next piece of work, or `None` at the end.
    pub(crate) fn next_work(&mut self) -> Result<Option<Work>, SourceError> {
        loop {
            let current = self.file.wrapping_sub(1);
            if let Some(blocks) = &mut self.blocks {
                if let Some(block) = blocks.next_block()? {
                    return Ok(Some(Work { file: current, first_row: None, part: Part::Block(block) }));
                }
                self.blocks = None;
            }
            if let Some(work) = self.parts.next() {
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
    let per_row = size(&file.path) as f64 / file.rows().max(1) as f64;
    let groups = file.row_groups().into_iter().enumerate().map(|(row_group, rows)| {
        let part = Part::RowGroup { row_group, per_row };
        let work = Work { file: 0, first_row: Some(first_row), part };
        first_row += rows;
        work
    });
    groups.collect()
}

/// The parts of an Arrow IPC file.
fn ranges(file: &IpcFile) -> Vec<Work> {
    let ranges = file.parts();
    let bytes = size(&file.path) / ranges.len().max(1) as u64;
    let work = |range| Work { file: 0, first_row: None, part: Part::Batches { range, bytes } };
    ranges.into_iter().map(work).collect()
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

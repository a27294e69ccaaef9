//! A text file as a sequence of blocks of whole records.
//!
//! Reading and unpacking are sequential and cheap; decoding a block is the expensive part and needs nothing but the
//! block, so that blocks are decoded in parallel and their order is known.

use std::io::{self, Read, Seek};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;

use super::error::SourceError;
use super::place::{Opened, Place};
use super::records::{Ending, Records, last_boundary, line_breaks};
use super::sniff::shown_content;

/// Bytes that a block aims at: large enough that handing it over costs nothing, small enough to stay in cache.
pub(super) const BLOCK_BYTES: usize = 1 << 20;

/// The longest record, and so the largest block. A quote that never closes ends here instead of in a full memory.
pub(crate) const RECORD_BYTES_MAX: usize = 64 << 20;

/// How the records of a text are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Syntax {
    pub(crate) gzip: bool,
    pub(crate) delimiter: u8,
    /// Whether fields may be quoted, so that a line break may be part of a record.
    pub(crate) quotes: bool,
}

/// A text file and how to read it.
#[derive(Clone, Debug)]
pub(crate) struct TextFile {
    pub(crate) place: Place,
    /// The name in messages: the path, or `stdin`.
    pub(crate) name: String,
    pub(crate) syntax: Syntax,
}

/// Some whole records.
pub(crate) struct Block {
    pub(crate) bytes: Vec<u8>,
    /// Where it begins in the unpacked text.
    pub(crate) offset: u64,
    /// Bytes of the file that were read for it.
    pub(crate) input_bytes: u64,
}

/// Reads a text file block by block.
pub(crate) struct BlockReader {
    reader: Box<dyn Read + Send>,
    file: TextFile,
    /// The beginning of a record whose end has not been read.
    carry: Vec<u8>,
    offset: u64,
    at_end: bool,
    input: Arc<AtomicU64>,
    input_seen: u64,
}

impl BlockReader {
    /// Opens the file and passes the first `from` bytes of its text, or a byte-order mark.
    pub(crate) fn open(file: &TextFile, from: u64) -> Result<Self, SourceError> {
        let input = Arc::new(AtomicU64::new(0));
        let mut blocks = Self {
            reader: file.unpacked(&input)?,
            file: file.clone(),
            carry: Vec::new(),
            offset: 0,
            at_end: false,
            input,
            input_seen: 0,
        };
        if from > 0 {
            let passed = io::copy(&mut (&mut blocks.reader).take(from), &mut io::sink());
            blocks.offset = passed.map_err(|error| file.read_error(&error))?;
            return Ok(blocks);
        }
        blocks.fill(3)?;
        if blocks.carry.starts_with(b"\xef\xbb\xbf") {
            blocks.carry.clear();
            blocks.offset = 3;
        }
        Ok(blocks)
    }

    /// The next block, or `None` at the end of the text.
    pub(crate) fn next_block(&mut self) -> Result<Option<Block>, SourceError> {
        let mut target = BLOCK_BYTES;
        loop {
            self.fill(target)?;
            let end = match self.at_end {
                true => self.carry.len(),
                false => last_boundary(&self.carry, self.file.syntax.delimiter, self.file.syntax.quotes),
            };
            if end > 0 || self.at_end {
                return self.split(end);
            }
            if target >= RECORD_BYTES_MAX {
                let line = 1 + self.file.lines_before(self.offset)?;
                return Err(SourceError::RowTooLong { path: self.file.name.clone(), line, limit: RECORD_BYTES_MAX });
            }
            target *= 2;
        }
    }

    /// Reads until `carry` holds `target` bytes or the text ends.
    fn fill(&mut self, target: usize) -> Result<(), SourceError> {
        if self.at_end || self.carry.len() >= target {
            return Ok(());
        }
        let wanted = target - self.carry.len();
        self.carry.reserve_exact(wanted);
        let got = (&mut self.reader)
            .take(wanted as u64)
            .read_to_end(&mut self.carry)
            .map_err(|error| self.file.read_error(&error))?;
        self.at_end = got < wanted;
        if self.at_end { self.file.place.expect_unchanged(&self.file.name) } else { Ok(()) }
    }

    /// Takes the first `end` bytes as a block and keeps the rest.
    fn split(&mut self, end: usize) -> Result<Option<Block>, SourceError> {
        if end == 0 {
            return Ok(None);
        }
        let rest = self.carry.split_off(end);
        let bytes = std::mem::replace(&mut self.carry, rest);
        if self.at_end && self.file.syntax.quotes && bytes.contains(&b'"') {
            self.expect_closed(&bytes)?;
        }
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        let read = self.input.load(Ordering::Relaxed);
        let input_bytes = read - self.input_seen;
        self.input_seen = read;
        Ok(Some(Block { bytes, offset, input_bytes }))
    }

    /// The decoder takes the end of the text for a closing quote; a file cut in the middle must not pass for whole.
    fn expect_closed(&self, last: &[u8]) -> Result<(), SourceError> {
        match Records::new(last, self.file.syntax.delimiter).last() {
            Some(record) if record.ending == Ending::Quoted => Err(SourceError::UnclosedQuote {
                path: self.file.name.clone(),
                line: 1 + self.file.lines_before(self.offset)? + record.line,
            }),
            _ => Ok(()),
        }
    }
}

impl TextFile {
    /// Line breaks in the first `offset` bytes of the unpacked text. It reads them again: for messages only.
    pub(crate) fn lines_before(&self, offset: u64) -> Result<u64, SourceError> {
        let mut reader = self.unpacked(&Arc::default())?.take(offset);
        let mut buffer = vec![0; 1 << 16];
        let mut lines = 0;
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(lines),
                Ok(length) => lines += line_breaks(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.read_error(&error)),
            }
        }
    }

    /// The file's text; `input` counts the bytes read from the file.
    pub(crate) fn unpacked(&self, input: &Arc<AtomicU64>) -> Result<Box<dyn Read + Send>, SourceError> {
        let mut file = self.place.open(&self.name)?;
        if !self.syntax.gzip {
            return Ok(Box::new(Counted { file, count: Arc::clone(input) }));
        }
        self.expect_gzip(&mut file)?;
        let counted = Counted { file, count: Arc::clone(input) };
        Ok(Box::new(MultiGzDecoder::new(io::BufReader::with_capacity(1 << 16, counted))))
    }

    /// The unpacker takes other bytes for a truncated file.
    fn expect_gzip(&self, file: &mut Opened) -> Result<(), SourceError> {
        let mut head = Vec::new();
        let read = file.by_ref().take(4).read_to_end(&mut head).and_then(|_| file.rewind());
        read.map_err(|error| self.read_error(&error))?;
        let path = self.name.clone();
        match head.as_slice() {
            [] => Err(SourceError::EmptyFile { path, expected: "a gzip file".into() }),
            [0x1f, 0x8b, ..] => Ok(()),
            other => Err(SourceError::NotTheFormat {
                path,
                expected: "gzip (which begins with 1f 8b)".into(),
                got: shown_content(other),
            }),
        }
    }

    fn read_error(&self, error: &io::Error) -> SourceError {
        let path = self.name.clone();
        if let Some(own) = error.get_ref().and_then(|cause| cause.downcast_ref::<SourceError>()) {
            return own.clone();
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof if self.syntax.gzip => {
                SourceError::Truncated { path, expected: "the end of the gzip stream".into() }
            }
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput if self.syntax.gzip => {
                SourceError::Damaged { path, format: "gzip".into(), message: error.to_string() }
            }
            _ => SourceError::Io { path, message: error.to_string() },
        }
    }
}

/// A file that counts the bytes read from it.
struct Counted {
    file: Opened,
    count: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.count.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

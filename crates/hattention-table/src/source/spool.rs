//! Standard input, kept in a temporary file so that it can be read again.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::error::SourceError;
use super::format::Format;
use super::place::Place;

/// A temporary file that is deleted when it is dropped.
#[derive(Debug)]
pub(crate) struct Spool {
    path: tempfile::TempPath,
    pub(crate) format: Format,
}

/// The name of standard input in messages, and of its table in a query.
pub(crate) const STDIN: &str = "stdin";

/// How the names of this process's temporary files begin, in the system's folder for them: a program that is interrupted
/// can remove them.
pub fn temporary_prefix() -> String {
    format!("hattention-{}-", std::process::id())
}

impl Spool {
    /// Copies everything the reader gives. Only the disk limits the size.
    pub(crate) fn fill(mut reader: impl Read) -> Result<Self, SourceError> {
        let failed = |error: std::io::Error| SourceError::Io { path: STDIN.into(), message: error.to_string() };
        let file = tempfile::Builder::new().prefix(&temporary_prefix()).tempfile().map_err(failed)?;
        let (mut file, path) = file.into_parts();
        std::io::copy(&mut reader, &mut file).map_err(failed)?;
        file.flush().map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut head = Vec::new();
        file.take(2).read_to_end(&mut head).map_err(failed)?;
        let gzip = head == b"\x1f\x8b";
        Ok(Self { path, format: Format::Csv { delimiter: b',', gzip } })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a file is this one.
    pub(crate) fn is(&self, place: &Place) -> bool {
        matches!(place, Place::Local { path, .. } if path.as_path() == self.path())
    }
}

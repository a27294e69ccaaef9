//! Which format a file has, by its extension.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// The extensions that name a format, for messages.
pub(crate) const KNOWN_EXTENSIONS: &str =
    ".csv, .tsv, .csv.gz, .tsv.gz, .parquet, .arrow, .feather, .ipc, .json, .jsonl, .ndjson, .jsonl.gz, .ndjson.gz";

/// A file's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Format {
    /// Text with a header and one record a line.
    Csv { delimiter: u8, gzip: bool },
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC, the file or the stream kind.
    Arrow,
    /// One JSON object a line.
    Json { gzip: bool },
}

impl Format {
    /// The format that the extension names.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let (name, gzip) = match name.strip_suffix(".gz") {
            Some(name) => (name, true),
            None => (name.as_str(), false),
        };
        let (_, extension) = name.rsplit_once('.')?;
        match (extension, gzip) {
            ("csv", _) => Some(Self::Csv { delimiter: b',', gzip }),
            ("tsv", _) => Some(Self::Csv { delimiter: b'\t', gzip }),
            ("json" | "jsonl" | "ndjson", _) => Some(Self::Json { gzip }),
            ("parquet", false) => Some(Self::Parquet),
            ("arrow" | "feather" | "ipc", false) => Some(Self::Arrow),
            _ => None,
        }
    }

    /// The format's name in messages. Compression and delimiter do not make another format.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Csv { .. } => "CSV",
            Self::Parquet => "Parquet",
            Self::Arrow => "Arrow IPC",
            Self::Json { .. } => "JSON lines",
        }
    }
}

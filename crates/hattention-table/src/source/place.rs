//! Where a file lies: on this machine or in an object store; and whether it is still the one that was looked at.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::error::SourceError;
use super::parquet::io_error;
use super::remote::{Object, RemoteReader};
use super::store;

/// A file that can be opened any number of times, always with the same content.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Local { path: PathBuf, stamp: Option<Stamp> },
    Remote(Arc<Object>),
}

/// A place as another machine is told of it, which sees files under the same paths and has credentials of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum PlannedPlace {
    Local { path: PathBuf, size: u64 },
    Remote { url: String, key: String, size: u64, tag: Option<String> },
}

impl PlannedPlace {
    /// The place on this machine. A file must have the size that was planned (its time may be a copy's).
    pub(crate) fn found(&self) -> Result<Place, SourceError> {
        match self {
            Self::Local { path, size } => {
                let name = path.display().to_string();
                let now = std::fs::metadata(path).map_err(|error| io_error(&name, &error))?.len();
                if now != *size {
                    return Err(SourceError::Changed { path: name, before: *size, now });
                }
                Ok(Place::local(path))
            }
            Self::Remote { url, key, size, tag } => {
                let object = store::known_object(url, key, *size, tag.clone())?;
                Ok(Place::Remote(Arc::new(object)))
            }
        }
    }
}

/// What tells a file that has been changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { length: metadata.len(), modified: metadata.modified().ok() }
    }
}

impl Place {
    /// A file on this machine, as it is now.
    pub(crate) fn local(path: &Path) -> Self {
        Self::Local { path: path.to_owned(), stamp: std::fs::metadata(path).ok().map(|now| Stamp::of(&now)) }
    }

    /// The path or the address.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Local { path, .. } => path.display().to_string(),
            Self::Remote(object) => object.url.clone(),
        }
    }

    /// The place as data that travels.
    pub(crate) fn planned(&self) -> PlannedPlace {
        match self {
            Self::Local { path, .. } => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
                PlannedPlace::Local { path, size: self.size() }
            }
            Self::Remote(object) => {
                let Object { path, url, size, tag, .. } = object.as_ref();
                PlannedPlace::Remote { url: url.clone(), key: path.to_string(), size: *size, tag: tag.clone() }
            }
        }
    }

    /// Bytes.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Local { stamp, .. } => stamp.map_or(0, |stamp| stamp.length),
            Self::Remote(object) => object.size,
        }
    }

    /// Opens the file for reading from its beginning.
    pub(crate) fn open(&self, name: &str) -> Result<Opened, SourceError> {
        match self {
            Self::Local { .. } => Ok(Opened::Local(self.open_local(name)?)),
            Self::Remote(object) => Ok(Opened::Remote(RemoteReader::new(Arc::clone(object)))),
        }
    }

    fn open_local(&self, name: &str) -> Result<File, SourceError> {
        let Self::Local { path, stamp } = self else {
            return Err(SourceError::Stopped { path: name.into(), what: "an address is no path".into() });
        };
        let failed = |error: io::Error| io_error(name, &error);
        let file = File::open(path).map_err(failed)?;
        expect_same(name, *stamp, &file.metadata().map_err(failed)?)?;
        Ok(file)
    }

    /// Refuses a file that is not the one that was looked at. (Objects are asked for by their tag.)
    pub(crate) fn expect_unchanged(&self, name: &str) -> Result<(), SourceError> {
        match self {
            Self::Remote(_) => Ok(()),
            Self::Local { path, stamp } => {
                expect_same(name, *stamp, &std::fs::metadata(path).map_err(|error| io_error(name, &error))?)
            }
        }
    }
}

fn expect_same(name: &str, stamp: Option<Stamp>, now: &Metadata) -> Result<(), SourceError> {
    let now = Stamp::of(now);
    match stamp {
        Some(before) if before != now => {
            let (before, now) = (before.length, now.length);
            Err(SourceError::Changed { path: name.into(), before, now })
        }
        _ => Ok(()),
    }
}

/// An open file.
pub(crate) enum Opened {
    Local(File),
    Remote(RemoteReader),
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Local(file) => file.read(buffer),
            Self::Remote(reader) => reader.read(buffer),
        }
    }
}

impl Seek for Opened {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::Local(file) => file.seek(to),
            Self::Remote(reader) => reader.seek(to),
        }
    }
}

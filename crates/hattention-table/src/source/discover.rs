//! From what the user wrote to the files it means.

use std::fs;
use std::path::Path;

use super::error::SourceError;
use super::format::{Format, KNOWN_EXTENSIONS};
use super::partitions::{self, Partition};
use super::place::Place;
use crate::error::nearest;

/// A file with its format.
#[derive(Clone, Debug)]
pub(crate) struct FoundFile {
    pub(crate) place: Place,
    pub(crate) format: Format,
    /// What its folders say of its rows.
    pub(crate) partitions: Vec<Partition>,
}

/// What one word of the command line means: some files of one format, in the order in which they are read.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The word.
    pub(crate) spec: String,
    /// The name of its table in a query, before characters are mapped.
    pub(crate) table: String,
    pub(crate) files: Vec<FoundFile>,
}

/// The files that `spec` means: a path, a directory, a glob, or an address of an object store. Directories and globs are
/// sorted by path.
pub(crate) fn discover(spec: &str) -> Result<Found, SourceError> {
    let spec_path = spec.strip_prefix("file://").unwrap_or(spec);
    if spec_path.contains("://") {
        let found = super::store::discover(spec_path)?;
        found.expect_one_format()?;
        return Ok(found);
    }
    let path = Path::new(spec_path);
    let (files, table) = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => (directory(path)?, table_of(path)),
        Ok(metadata) if !metadata.is_file() => return Err(SourceError::NotAFile { path: spec.into() }),
        Ok(_) => (vec![one(path)?], stem(path)),
        Err(_) if spec_path.contains(['*', '?', '[']) => matched(spec_path)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(not_found(path)),
        Err(error) => {
            return Err(SourceError::Io { path: spec.into(), message: error.to_string() });
        }
    };
    let found = Found { spec: spec.into(), table, files };
    found.expect_one_format()?;
    Ok(found)
}

impl Found {
    fn expect_one_format(&self) -> Result<(), SourceError> {
        let formats = format_names(&self.files);
        if formats.len() > 1 {
            return Err(SourceError::SeveralFormats { path: self.spec.clone(), formats });
        }
        Ok(())
    }
}

/// The names of the formats that occur, each once.
pub(crate) fn format_names(files: &[FoundFile]) -> Vec<String> {
    let mut names: Vec<String> = files.iter().map(|file| file.format.name().to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

fn one(path: &Path) -> Result<FoundFile, SourceError> {
    let format = Format::of(path).ok_or_else(|| SourceError::UnknownFormat {
        path: path.display().to_string(),
        known: KNOWN_EXTENSIONS.into(),
    })?;
    Ok(FoundFile { place: Place::local(path), format, partitions: partitions_of(path) })
}

/// The partitions that the folders of a path name.
fn partitions_of(path: &Path) -> Vec<Partition> {
    let folders = path.parent().into_iter().flat_map(Path::iter);
    partitions::of_folders(folders.filter_map(|folder| folder.to_str()))
}

/// The files of known formats below a directory. Names that begin with `.` or `_` are housekeeping of other programs.
fn directory(root: &Path) -> Result<Vec<FoundFile>, SourceError> {
    let refused = |path: &Path, error: std::io::Error| SourceError::Io {
        path: path.display().to_string(),
        message: error.to_string(),
    };
    let mut files = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| refused(&folder, error))? {
            let entry = entry.map_err(|error| refused(&folder, error))?;
            if entry.file_name().to_string_lossy().starts_with(['.', '_']) {
                continue;
            }
            let path = entry.path();
            // A symbolic link to a directory is not followed: it may lead back up.
            if entry.file_type().map_err(|error| refused(&path, error))?.is_dir() {
                pending.push(path);
            } else if let Some(format) = Format::of(&path)
                && path.is_file()
            {
                let partitions = partitions_of(path.strip_prefix(root).unwrap_or(&path));
                files.push((path.clone(), FoundFile { place: Place::local(&path), format, partitions }));
            }
        }
    }
    if files.is_empty() {
        return Err(SourceError::EmptyDirectory { path: root.display().to_string() });
    }
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(files.into_iter().map(|(_, file)| file).collect())
}

/// The files that a glob matches, and the name of their table: the stem of a single file, else the directory's name.
fn matched(pattern: &str) -> Result<(Vec<FoundFile>, String), SourceError> {
    let wrong = |message: String| SourceError::Pattern { pattern: pattern.into(), message };
    let mut paths = Vec::new();
    for entry in glob::glob(pattern).map_err(|error| wrong(error.to_string()))? {
        let path = entry.map_err(|error| SourceError::Io {
            path: error.path().display().to_string(),
            message: error.error().to_string(),
        })?;
        if path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    let files = paths.iter().map(|path| one(path)).collect::<Result<Vec<_>, _>>()?;
    let table = match paths.as_slice() {
        [] => {
            return Err(SourceError::NoMatch { pattern: pattern.into() });
        }
        [single] => stem(single),
        [first, ..] => table_of(first.parent().unwrap_or(first)),
    };
    Ok((files, table))
}

/// The file's name without `.gz` and without its extension.
pub(crate) fn stem(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let known = name.to_ascii_lowercase();
    let known = known.strip_suffix(".gz").unwrap_or(&known);
    let length = known.rfind('.').unwrap_or(name.len());
    name[..length].to_owned()
}

/// A directory's own name, also for `.` and `..`.
fn table_of(folder: &Path) -> String {
    let named = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    named.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_else(|| "source".into())
}

/// The error for a path that does not exist, with the nearest name in its directory.
fn not_found(path: &Path) -> SourceError {
    let missing = SourceError::NotFound { path: path.display().to_string(), nearest: None };
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return missing,
    };
    let (Some(name), Ok(entries)) = (path.file_name(), fs::read_dir(parent)) else {
        return missing;
    };
    let name = name.to_string_lossy();
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let same_stem = || names.iter().find(|other| stem(Path::new(other)) == stem(path)).cloned();
    let near = same_stem().or_else(|| nearest(&name, names.iter().map(String::as_str)).into_iter().next());
    let near = near.map(|near| match path.parent() {
        Some(parent) => parent.join(&near).display().to_string(),
        None => near,
    });
    SourceError::NotFound { path: path.display().to_string(), nearest: near }
}

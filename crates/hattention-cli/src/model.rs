//! Models on disk.

use std::path::Path;

use hattention_table::regression::TableModel;

use crate::failure::Failure;
use crate::output;

/// A model file larger than this is refused before it is read.
const LARGEST_BYTES: u64 = 4 << 30;

/// The bytes of a file that holds a model, or why there are none.
pub fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let metadata = std::fs::metadata(path).map_err(|e| e.to_string())?;
    if !metadata.is_file() || metadata.len() > LARGEST_BYTES {
        return Err(format!("it is not a file of at most {} GiB", LARGEST_BYTES >> 30));
    }
    std::fs::read(path).map_err(|e| e.to_string())
}

/// Writes a model.
///
/// # Errors
/// If the file cannot be written.
pub fn save(model: &mut TableModel, path: &Path) -> Result<(), Failure> {
    output::write(path, &model.to_bytes()?)
}

/// Reads a model.
///
/// # Errors
/// If the file is missing or is not a whole model of this version.
pub fn load(path: &Path) -> Result<TableModel, Failure> {
    let name = path.display();
    let unreadable = |why: &dyn std::fmt::Display| {
        Failure::usage(format!("cannot read the model {name}: {why}"), "name a file written by `hat fit … -o FILE`")
    };
    let bytes = read_file(path).map_err(|why| unreadable(&why))?;
    let model = hattention::Model::from_bytes(&bytes).map_err(|e| {
        Failure::usage(format!("{name} is not a usable model: {e}"), "fit it again with `hat fit … -o FILE`")
    })?;
    TableModel::of(model).map_err(|failure| Failure { message: unreadable(&failure.message).message, ..failure })
}

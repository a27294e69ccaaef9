//! Files of states.

use std::path::Path;

use hattention_table::state::TableState;

use crate::failure::Failure;
use crate::model::read_file;
use crate::output;

/// Writes a state.
///
/// # Errors
/// If the file cannot be written.
pub fn save(state: &TableState, path: &Path) -> Result<(), Failure> {
    output::write(path, &state.to_bytes()?)
}

/// Reads a state.
///
/// # Errors
/// If the file is missing or is not a whole state of this version.
pub fn load(path: &Path) -> Result<TableState, Failure> {
    let name = path.display();
    let hint = "name a file written by `hat fit … --state-out FILE`";
    let bytes = read_file(path).map_err(|why| Failure::usage(format!("cannot read the state {name}: {why}"), hint))?;
    TableState::from_bytes(&bytes)
        .map_err(|error| Failure::usage(format!("{name} is not a usable state: {error}"), hint))
}

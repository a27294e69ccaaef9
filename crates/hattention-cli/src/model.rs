//! Models on disk: the library's model with the table's design beside it.

use std::path::Path;

use hattention::codec::Model;
use hattention_table::design::{ColumnKind, Frozen};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output;

/// A model file larger than this is refused before it is read.
const LARGEST_BYTES: u64 = 4 << 30;

/// A fitted model and how rows of a table become its keys.
pub struct TableModel {
    /// The fit.
    pub model: Model,
    /// The design.
    pub frozen: Frozen,
    /// Rows left out when it was fitted.
    pub dropped_rows: u64,
    /// The largest observation weight.
    pub largest_weight: f64,
}

impl TableModel {
    /// Columns that were text in training: levels such as `7` must not be read as numbers.
    pub fn labels(&self) -> Vec<String> {
        let columns = self.frozen.spec().columns.iter();
        columns.filter(|(_, kind)| *kind == ColumnKind::Text).map(|(name, _)| name.clone()).collect()
    }

    /// Writes the model.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&mut self, path: &Path) -> Result<(), Failure> {
        self.model.extra = json!({
            "design": self.frozen.to_json()?,
            "dropped_rows": self.dropped_rows,
            "largest_weight": self.largest_weight,
        });
        output::write(path, &self.model.to_bytes()?)
    }

    /// Reads a model.
    ///
    /// # Errors
    /// If the file is missing or is not a whole model of this version.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let name = path.display();
        let unreadable = |why: &dyn std::fmt::Display| {
            Failure::usage(format!("cannot read the model {name}: {why}"), "name a file written by `hat fit … -o FILE`")
        };
        let metadata = std::fs::metadata(path).map_err(|e| unreadable(&e))?;
        if !metadata.is_file() || metadata.len() > LARGEST_BYTES {
            return Err(unreadable(&format!("it is not a file of at most {} GiB", LARGEST_BYTES >> 30)));
        }
        let bytes = std::fs::read(path).map_err(|e| unreadable(&e))?;
        let model = Model::from_bytes(&bytes).map_err(|e| {
            Failure::usage(format!("{name} is not a usable model: {e}"), "fit it again with `hat fit … -o FILE`")
        })?;
        let frozen = Frozen::from_json(&model.extra["design"])?;
        let names: Vec<String> = frozen.coding().names().into_iter().map(str::to_owned).collect();
        if names != model.whitening.coefficient_names() {
            return Err(unreadable(&"its design and its coefficients differ"));
        }
        let count = |key: &str| model.extra.get(key).and_then(Value::as_u64).unwrap_or(0);
        let largest_weight = model.extra["largest_weight"].as_f64().unwrap_or(0.0);
        Ok(Self { dropped_rows: count("dropped_rows"), largest_weight, model, frozen })
    }
}

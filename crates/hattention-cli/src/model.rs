//! Models on disk: the library's model with the table's design beside it.

use std::path::Path;

use hattention::codec::Model;
use hattention::fit::Fit;
use hattention_table::design::{ColumnKind, Frozen};
use serde_json::{Value, json};

use crate::absorb::EffectLevels;
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
    /// The effects that were taken out, and their levels.
    pub effects: Vec<EffectLevels>,
}

/// The bytes of a file that holds a model, or why there are none.
pub fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let metadata = std::fs::metadata(path).map_err(|e| e.to_string())?;
    if !metadata.is_file() || metadata.len() > LARGEST_BYTES {
        return Err(format!("it is not a file of at most {} GiB", LARGEST_BYTES >> 30));
    }
    std::fs::read(path).map_err(|e| e.to_string())
}

impl TableModel {
    /// Columns that were text in training: levels such as `7` must not be read as numbers.
    pub fn labels(&self) -> Vec<String> {
        let columns = self.frozen.spec().columns.iter();
        let texts = columns.filter(|(_, kind)| *kind == ColumnKind::Text).map(|(name, _)| name.clone());
        texts.chain(self.effects.iter().filter(|effect| effect.text).map(|effect| effect.column.clone())).collect()
    }

    /// Refuses a model whose effects were taken out, for what needs its rows as keys.
    ///
    /// # Errors
    /// If it is such a model.
    pub fn without_effects(self, what: &str) -> Result<Self, Failure> {
        if self.effects.is_empty() {
            return Ok(self);
        }
        Err(Failure::usage(
            format!("{what} of a model with absorbed effects"),
            "fit it with the effects as factors among the terms: y ~ x + C(g)",
        ))
    }

    /// Writes the model.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&mut self, path: &Path) -> Result<(), Failure> {
        self.describe()?;
        output::write(path, &self.model.to_bytes()?)
    }

    /// Puts the table's design beside the model, as files have it.
    ///
    /// # Errors
    /// If a level cannot be written as JSON.
    pub fn describe(&mut self) -> Result<(), Failure> {
        let effects = self.effects.iter().map(EffectLevels::to_json).collect::<Result<Vec<Value>, _>>()?;
        self.model.extra = json!({
            "effects": effects,
            "design": self.frozen.to_json()?,
            "dropped_rows": self.dropped_rows,
            "largest_weight": self.largest_weight,
        });
        Ok(())
    }

    /// A model as a file has it.
    ///
    /// # Errors
    /// If the table's design is not beside it, or is another one.
    pub fn of(model: Model) -> Result<Self, Failure> {
        let frozen = Frozen::from_json(&model.extra["design"])?;
        let effects = model.extra["effects"].as_array().map_or(Some(Vec::new()), |effects| {
            effects.iter().map(EffectLevels::from_json).collect::<Option<Vec<EffectLevels>>>()
        });
        let effects = effects.ok_or_else(|| Failure::usage("its effects cannot be read", ""))?;
        let names = |list: &[EffectLevels]| list.iter().map(|effect| effect.column.clone()).collect::<Vec<String>>();
        let fitted = |fit: &Fit| -> Vec<String> {
            fit.effects.iter().flat_map(|fitted| &fitted.effects).map(|(name, _)| name.clone()).collect()
        };
        if model.fits.iter().any(|fit| fitted(fit) != names(&effects)) {
            return Err(Failure::usage("its effects and their levels differ", ""));
        }
        // Effects contain the constant: it has no coefficient beside them.
        let intercept = |name: &&str| effects.is_empty() || *name != hattention::INTERCEPT;
        let names: Vec<String> = frozen.coding().names().into_iter().filter(intercept).map(str::to_owned).collect();
        if names != model.whitening.coefficient_names() {
            return Err(Failure::usage("its design and its coefficients differ", ""));
        }
        let count = |key: &str| model.extra.get(key).and_then(Value::as_u64).unwrap_or(0);
        let largest_weight = model.extra["largest_weight"].as_f64().unwrap_or(0.0);
        Ok(Self { dropped_rows: count("dropped_rows"), largest_weight, model, frozen, effects })
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
        let bytes = read_file(path).map_err(|why| unreadable(&why))?;
        let model = Model::from_bytes(&bytes).map_err(|e| {
            Failure::usage(format!("{name} is not a usable model: {e}"), "fit it again with `hat fit … -o FILE`")
        })?;
        Self::of(model).map_err(|failure| Failure { message: unreadable(&failure.message).message, ..failure })
    }
}

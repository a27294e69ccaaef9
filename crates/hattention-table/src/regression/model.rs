//! Models with the table's design beside them.

use crate::design::{ColumnKind, Frozen};
use crate::formula::Formula;
use hattention::Column;
use hattention::codec::Model;
use hattention::fit::Fit;
use serde_json::{Value, json};

use super::absorb::EffectLevels;
use super::failure::Failure;

/// A fitted model and how rows of a table become its keys.
#[derive(Clone, Debug)]
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

impl TableModel {
    /// Columns that were text in training: levels such as `7` must not be read as numbers.
    pub fn labels(&self) -> Vec<String> {
        let columns = self.frozen.spec().columns.iter();
        let texts = columns.filter(|(_, kind)| *kind == ColumnKind::Text).map(|(name, _)| name.clone());
        texts.chain(self.effects.iter().filter(|effect| effect.text).map(|effect| effect.column.clone())).collect()
    }

    /// The model of one of the targets. (Its rows are still those of all: a row that misses another target is left out.)
    pub fn of_target(&self, target: usize) -> Option<Self> {
        let fit = self.model.fits.get(target)?.clone();
        let model = Model { whitening: self.model.whitening.clone(), fits: vec![fit], extra: Value::Null };
        Some(Self { model, frozen: self.frozen.clone(), effects: self.effects.clone(), ..*self })
    }

    /// Where the formula has the target of each fit.
    pub fn target_places(&self) -> Vec<usize> {
        let labels: Vec<String> = Formula::parse(&self.frozen.spec().formula)
            .map(|formula| formula.targets().iter().map(|target| target.label().to_owned()).collect())
            .unwrap_or_default();
        let place = |(t, fit): (usize, &Fit)| labels.iter().position(|label| *label == fit.target).unwrap_or(t);
        self.model.fits.iter().enumerate().map(place).collect()
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

    /// The model as a file of safetensors.
    ///
    /// # Errors
    /// If a level cannot be written as JSON.
    pub fn to_bytes(&mut self) -> Result<Vec<u8>, Failure> {
        self.describe()?;
        Ok(self.model.to_bytes()?)
    }

    /// Reads a model.
    ///
    /// # Errors
    /// If the bytes are not a whole model of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Failure> {
        Self::of(Model::from_bytes(bytes)?)
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
}

/// A target's numbers, each rounded to a double. Shape: `[rows]`.
pub(super) fn numbers(column: Column<'_>) -> Vec<f64> {
    match column {
        Column::Dense(values) => values.to_vec(),
        Column::Pair { hi, lo } => hi.iter().zip(lo).map(|(h, l)| h + l).collect(),
        // (Targets have no levels.)
        _ => Vec::new(),
    }
}

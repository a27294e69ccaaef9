//! Predictions, row by row in the order of the source.

use arrow::array::RecordBatch;
use hattention::attention::{self, Keys};
use hattention::fit::Fit;
use hattention::fit::distribution::t_quantile;

use super::failure::Failure;
use super::fit::explain_text;
use super::model::TableModel;
use super::pass::owned;
use crate::design::{EncodedBlock, FrozenDesign, FrozenOptions, LevelCodes, NaPolicy, Unseen};
use crate::source::Source;

/// One column of the result: a number a row, or nothing.
pub type Values = Vec<Option<f64>>;

/// Which interval goes with a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// For the expected value.
    Confidence,
    /// For a new observation.
    Prediction,
}

/// What is predicted.
#[derive(Clone, Copy, Debug)]
pub struct PredictOptions {
    /// The interval beside a prediction.
    pub interval: Option<Interval>,
    /// Its level.
    pub level: f64,
    /// What is done about levels that training did not have.
    pub unseen: Unseen,
    /// Whether rows are training rows, with residual, leverage, leave-one-out residual and Cook's distance; of a model with
    /// effects taken out, with the residual alone.
    pub augment: bool,
}

impl Default for PredictOptions {
    fn default() -> Self {
        Self { interval: None, level: 0.95, unseen: Unseen::Error, augment: false }
    }
}

/// A model that is ready to predict the rows of a source.
pub struct Predictor<'a> {
    model: &'a TableModel,
    options: PredictOptions,
    plain: FrozenDesign,
    full: Option<FrozenDesign>,
    /// Levels of effects that were taken out.
    levels: LevelCodes,
    /// Where the formula has the target of each fit.
    places: Vec<usize>,
}

impl<'a> Predictor<'a> {
    /// Prepares the prediction of rows with the columns of the source.
    ///
    /// # Equals
    /// `predict(fit, new, interval = …)` in R; with `augment`, broom's `augment`.
    ///
    /// # Errors
    /// If the model cannot give what is asked for, or the source lacks its columns.
    pub fn new(model: &'a TableModel, source: &Source, options: PredictOptions) -> Result<Self, Failure> {
        check_level(options.level)?;
        if options.interval.is_some() && model.model.fits.iter().any(|fit| fit.covariance.is_none()) {
            return Err(Failure::usage(
                "ridge and components have no intervals",
                "fit by least squares, or leave out --interval",
            ));
        }
        refuse_beside_effects(options, model)?;
        let weighted = model.frozen.spec().weights.is_some();
        let extras = model.effects.iter().map(|effect| effect.column.clone()).collect();
        let base = FrozenOptions { unseen: options.unseen, na: NaPolicy::Drop, extras, ..FrozenOptions::default() };
        let levels = LevelCodes::of_levels(model.effects.iter().map(|e| (e.column.clone(), e.levels.clone())));
        let encoder = |options| model.frozen.encoder(&source.schema(), options).map_err(|e| explain_text(source, e));
        let plain = encoder(&base)?;
        let full = match options.augment {
            true => Some(encoder(&FrozenOptions { targets: true, weights: weighted, ..base.clone() })?),
            false => None,
        };
        Ok(Self { model, options, plain, full, levels, places: model.target_places() })
    }

    /// The columns that a batch must have, in this order.
    pub fn columns(&self) -> Vec<String> {
        owned(&self.full.as_ref().unwrap_or(&self.plain).input_columns())
    }

    /// Names of the result's columns after `row`; with several targets each begins with its target's name.
    pub fn names(&self) -> Vec<String> {
        let fits = &self.model.model.fits;
        let mut names = Vec::new();
        for fit in fits {
            let prefix = if fits.len() > 1 { format!("{}.", fit.target) } else { String::new() };
            let mut add = |name: &str| names.push(format!("{prefix}{name}"));
            add("prediction");
            if self.options.augment && fit.effects.is_some() {
                add("residual");
                continue;
            }
            if self.options.augment {
                add("std_error");
            }
            if self.options.interval.is_some() {
                add("low");
                add("high");
            }
            if self.options.augment {
                ["residual", "leverage", "loo_residual", "cooks_distance"].into_iter().for_each(&mut add);
            }
        }
        names
    }

    /// The values of a batch whose first is row `first_row`, counted from 0, of the source. Shape: `[names][rows]`.
    ///
    /// # Errors
    /// If a value cannot be used, with its row.
    pub fn predict(&self, batch: &RecordBatch, first_row: u64) -> Result<Vec<Values>, Failure> {
        let whitening = &self.model.model.whitening;
        let encoded = self.plain.encode(batch, first_row)?;
        let (ids, block) = encoded.block();
        let asked = self.options.augment || self.options.interval.is_some();
        let needs_keys = asked && self.model.effects.is_empty();
        let keys = if needs_keys { Some(Keys::of(whitening, &block, &ids)?) } else { None };
        let mut values = Vec::new();
        for (t, fit) in self.model.model.fits.iter().enumerate() {
            let mut predictions = attention::predict(whitening, fit, &block, &ids)?;
            self.add_effects(fit, &encoded, &mut predictions)?;
            let errors: Option<Vec<f64>> = keys.as_ref().zip(fit.covariance.as_ref()).map(|(keys, covariance)| {
                (0..keys.rows)
                    .map(|row| {
                        let q = keys.row(row);
                        covariance.between(&q, &q).sqrt()
                    })
                    .collect()
            });
            if fit.effects.is_some() {
                values.push(scatter(&encoded, &predictions));
                if let Some(full) = &self.full {
                    values.push(self.residuals(full, batch, first_row, t)?);
                }
                continue;
            }
            values.push(encoded.scatter(&predictions));
            let nothing = || vec![None; batch.num_rows()];
            if self.options.augment {
                values.push(errors.as_ref().map_or_else(nothing, |errors| scatter(&encoded, errors)));
            }
            if let (Some(kind), Some(errors), Some(covariance)) = (self.options.interval, &errors, &fit.covariance) {
                let quantile = t_quantile(0.5 + self.options.level / 2.0, covariance.df);
                let extra = if kind == Interval::Prediction { fit.variance() } else { 0.0 };
                let half: Vec<f64> = errors.iter().map(|se| quantile * (se * se + extra).sqrt()).collect();
                let end =
                    |sign: f64| -> Vec<f64> { predictions.iter().zip(&half).map(|(p, h)| p + sign * h).collect() };
                values.push(scatter(&encoded, &end(-1.0)));
                values.push(scatter(&encoded, &end(1.0)));
            }
            if let Some(full) = &self.full {
                values.extend(self.diagnostics(full, batch, first_row, t)?);
            }
        }
        Ok(values)
    }

    /// Adds the effects of the rows' levels; NaN where a level is unknown and may be.
    fn add_effects(&self, fit: &Fit, encoded: &EncodedBlock, predictions: &mut [f64]) -> Result<(), Failure> {
        if let Some(effects) = effects_of(fit, &self.levels, encoded, self.options.unseen)? {
            predictions.iter_mut().zip(effects).for_each(|(prediction, effect)| *prediction += effect);
        }
        Ok(())
    }

    /// Residuals beside effects that were taken out, for rows that have a target.
    fn residuals(&self, full: &FrozenDesign, batch: &RecordBatch, first_row: u64, t: usize) -> Result<Values, Failure> {
        let (whitening, fit) = (&self.model.model.whitening, &self.model.model.fits[t]);
        let encoded = full.encode(batch, first_row)?;
        let (ids, mut block) = encoded.block();
        block.columns.truncate(ids.len());
        let mut residuals = attention::residuals(whitening, fit, &block, &ids, encoded.targets()[self.places[t]])?;
        let effects = effects_of(fit, &self.levels, &encoded, self.options.unseen)?.unwrap_or_default();
        residuals.iter_mut().zip(effects).for_each(|(residual, effect)| *residual -= effect);
        Ok(scatter(&encoded, &residuals))
    }

    /// Residual, leverage, leave-one-out residual and Cook's distance, for rows that have a target.
    fn diagnostics(
        &self,
        full: &FrozenDesign,
        batch: &RecordBatch,
        first_row: u64,
        t: usize,
    ) -> Result<[Values; 4], Failure> {
        let (whitening, fit) = (&self.model.model.whitening, &self.model.model.fits[t]);
        let encoded = full.encode(batch, first_row)?;
        let (ids, mut block) = encoded.block();
        block.columns.truncate(ids.len());
        let target = encoded.targets()[self.places[t]];
        let residuals = attention::residuals(whitening, fit, &block, &ids, target)?;
        let leverages = Keys::of(whitening, &block, &ids)?.leverages(block.weights);
        let alone = attention::leave_one_out(&residuals, &leverages);
        let cook = attention::cooks_distance(fit, &residuals, &leverages, block.weights);
        Ok([residuals, leverages, alone, cook].map(|values| scatter(&encoded, &values)))
    }
}

/// The effects of the rows' levels, added up, if effects were taken out; NaN where a level is unknown and may be.
///
/// # Errors
/// Under [`Unseen::Error`] for a level that is unknown, or had no weight in training.
pub(super) fn effects_of(
    fit: &Fit,
    levels: &LevelCodes,
    encoded: &EncodedBlock,
    unseen: Unseen,
) -> Result<Option<Vec<f64>>, Failure> {
    let Some(effects) = &fit.effects else { return Ok(None) };
    let codes = levels.find(encoded, unseen)?;
    let of_row = |row: usize| {
        let of_row: Vec<u32> = codes.iter().map(|codes| codes[row]).collect();
        match effects.at(&of_row) {
            Some(effect) => Ok(effect.to_f64()),
            None if unseen == Unseen::Null => Ok(f64::NAN),
            None => {
                let message = format!("row {}: a level of the row had no weight in training", encoded.row_number(row));
                Err(Failure::usage(message, "let `--unseen null` leave such predictions empty"))
            }
        }
    };
    (0..encoded.rows()).map(of_row).collect::<Result<_, _>>().map(Some)
}

/// One value for every row of the batch; numbers that are not finite are nothing.
fn scatter(encoded: &EncodedBlock, values: &[f64]) -> Values {
    encoded.scatter(values).into_iter().map(|value| value.filter(|x| x.is_finite())).collect()
}

/// Refuses a level that is none.
///
/// # Errors
/// If it is not between 0 and 1.
pub fn check_level(level: f64) -> Result<(), Failure> {
    if level > 0.0 && level < 1.0 {
        return Ok(());
    }
    Err(Failure::usage(format!("--level is {level}, expected a number between 0 and 1"), ""))
}

/// Refuses what needs the keys of a model with effects.
fn refuse_beside_effects(options: PredictOptions, model: &TableModel) -> Result<(), Failure> {
    if model.effects.is_empty() || options.interval.is_none() {
        return Ok(());
    }
    Err(Failure::usage(
        "--interval of a model with absorbed effects",
        "leave it out, or fit with the effects as factors among the terms: y ~ x + C(g)",
    ))
}

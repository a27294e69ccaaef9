//! Predictions, row by row in the order of the source.

use arrow::array::RecordBatch;
use hattention::attention_regression::{AttentionRegression, Intervals};
use hattention::{Error, attention};

use super::super::failure::Failure;
use super::super::fit::explain_text;
use super::super::pass::owned;
use super::super::predict::{Values, check_level};
use super::super::watch::Watch;
use super::AttendModel;
use super::fit::{too_few, watching};
use crate::design::{EncodedBlock, FrozenDesign, FrozenOptions, NaPolicy, Unseen};
use crate::source::Source;

/// Intervals that are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Their level.
    pub level: f64,
    /// Folds that metrics are fitted anew without; none holds metrics.
    pub folds: Option<usize>,
}

/// A regression that is ready to predict the rows of a source.
pub struct Predictor<'a> {
    model: &'a AttendModel,
    regression: &'a AttentionRegression,
    design: FrozenDesign,
    intervals: Option<(Intervals<&'a AttentionRegression>, f64)>,
}

impl<'a> Predictor<'a> {
    /// Prepares the prediction of rows with the columns of the source, with intervals where they are asked for.
    ///
    /// # Errors
    /// If the source lacks columns, there is no such interval, or its fits have too few rows.
    pub fn new(
        model: &'a AttendModel,
        regression: &'a AttentionRegression,
        source: &Source,
        asked: Option<Asked>,
        unseen: Unseen,
        watch: &dyn Watch,
    ) -> Result<Self, Failure> {
        asked.map_or(Ok(()), |asked| check_level(asked.level))?;
        let options = FrozenOptions { unseen, na: NaPolicy::Drop, ..FrozenOptions::default() };
        let frozen = &model.table.frozen;
        let design = frozen.encoder(&source.schema(), &options).map_err(|e| explain_text(source, e))?;
        let intervals = match asked {
            None => None,
            Some(Asked { level, folds: None }) => Some((Intervals::of(regression), level)),
            Some(Asked { level, folds: Some(folds) }) => {
                let found = watching(watch, "fitting without each fold", || Intervals::by_folds(regression, folds));
                Some((found.map_err(of_intervals)?, level))
            }
        };
        if let Some((intervals, level)) = &intervals {
            let count = intervals.rows();
            if intervals.endless(*level) {
                watch.note(&format!(
                    "{} too few for intervals of level {level}: their ends are -inf and inf",
                    if count == 1 { "1 error is".to_owned() } else { format!("{count} errors are") }
                ));
            } else if let Some(blocks) = intervals.few_blocks(*level) {
                watch.note(&format!(
                    "{blocks} blocks are too few for intervals of level {level}: they may be too short for rows of new blocks"
                ));
            }
        }
        Ok(Self { model, regression, design, intervals })
    }

    /// The columns that a batch must have, in this order.
    pub fn columns(&self) -> Vec<String> {
        owned(&self.design.input_columns())
    }

    /// Names of the result's columns after `row`.
    pub fn names(&self) -> Vec<String> {
        let names: &[&str] = if self.intervals.is_some() { &["prediction", "low", "high"] } else { &["prediction"] };
        owned(names)
    }

    /// The values of a batch whose first is row `first_row`, counted from 0, of the source. Shape: `[names][rows]`.
    ///
    /// # Errors
    /// If a value cannot be used, with its row.
    pub fn predict(&self, batch: &RecordBatch, first_row: u64) -> Result<Vec<Values>, Failure> {
        let encoded = self.design.encode(batch, first_row)?;
        let inputs = inputs(self.model, &encoded)?;
        let columns: Vec<&[f64]> = inputs.iter().map(|column| &column[..]).collect();
        let scatter = |values: &[f64]| -> Values {
            encoded.scatter(values).into_iter().map(|value| value.filter(|x| !x.is_nan())).collect()
        };
        let mut values = vec![scatter(&self.regression.predict(&columns)?)];
        if let Some((intervals, level)) = &self.intervals {
            let found = intervals.at(&columns, *level)?;
            values.push(scatter(&found.iter().map(|interval| interval.low).collect::<Vec<_>>()));
            values.push(scatter(&found.iter().map(|interval| interval.high).collect::<Vec<_>>()));
        }
        Ok(values)
    }
}

/// What intervals refuse, with a way out.
fn of_intervals(error: Error) -> Failure {
    let hint = match &error {
        Error::TooFewRows { .. } => {
            "hold metrics with --interval-folds 0, or take more of them (under a mask of time the first has half of the rows)"
        }
        Error::Parameter { name: "the mask", .. } => {
            "hold metrics with --interval-folds 0, or fit the last rows alone, without --sample"
        }
        Error::Parameter { name: "the number of folds", .. } => {
            "give --interval-folds two or more, or 0 to hold metrics"
        }
        Error::Parameter { name: "the number of blocks beside those held out", .. } => {
            "take more with --interval-folds, or hold metrics with --interval-folds 0"
        }
        Error::Parameter { name: "the rows", .. } => "name the rows of the fit with --train, in its order, or fit anew",
        _ => return error.into(),
    };
    let message = match error {
        Error::TooFewRows { rows, coefficients } => too_few(rows, coefficients),
        _ => error.to_string(),
    };
    Failure { message, hint: Some(hint.to_owned()), ..Failure::from(error) }
        .about("fits without a fold, for --interval")
}

/// The inputs of a block's rows. Shape: `[columns][rows]`.
pub(super) fn inputs(model: &AttendModel, encoded: &EncodedBlock) -> Result<Vec<Vec<f64>>, Failure> {
    let (ids, mut block) = encoded.block();
    block.columns.truncate(ids.len());
    let columns = attention::columns(&model.table.model.whitening, &block, &ids)?;
    Ok(columns.into_iter().map(|column| column.iter().map(|x| x.to_f64()).collect()).collect())
}

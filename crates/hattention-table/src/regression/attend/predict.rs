//! Predictions, row by row in the order of the source.

use arrow::array::RecordBatch;
use hattention::attention;
use hattention::attention_regression::{AttentionRegression, Intervals};

use super::super::failure::Failure;
use super::super::fit::explain_text;
use super::super::pass::owned;
use super::super::predict::{Values, check_level};
use super::AttendModel;
use crate::design::{EncodedBlock, FrozenDesign, FrozenOptions, NaPolicy, Unseen};
use crate::source::Source;

/// A regression that is ready to predict the rows of a source.
pub struct Predictor<'a> {
    model: &'a AttendModel,
    regression: &'a AttentionRegression,
    design: FrozenDesign,
    intervals: Option<(Intervals<'a>, f64)>,
}

impl<'a> Predictor<'a> {
    /// Prepares the prediction of rows with the columns of the source, with intervals of a level.
    ///
    /// # Errors
    /// If the source lacks columns, or the level is none.
    pub fn new(
        model: &'a AttendModel,
        regression: &'a AttentionRegression,
        source: &Source,
        level: Option<f64>,
        unseen: Unseen,
    ) -> Result<Self, Failure> {
        level.map_or(Ok(()), check_level)?;
        if level.is_some() && model.learned.report.sampled.is_some() {
            return Err(Failure::usage(
                "--interval of a model whose metrics are those of a sample: it asks what every row is off by when all others are read",
                "leave it out, or fit the rows of the sample alone",
            ));
        }
        let options = FrozenOptions { unseen, na: NaPolicy::Drop, ..FrozenOptions::default() };
        let frozen = &model.table.frozen;
        let design = frozen.encoder(&source.schema(), &options).map_err(|e| explain_text(source, e))?;
        let intervals = level.map(|level| (Intervals::of(regression), level));
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
            encoded.scatter(values).into_iter().map(|value| value.filter(|x| x.is_finite())).collect()
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

/// The inputs of a block's rows. Shape: `[columns][rows]`.
pub(super) fn inputs(model: &AttendModel, encoded: &EncodedBlock) -> Result<Vec<Vec<f64>>, Failure> {
    let (ids, mut block) = encoded.block();
    block.columns.truncate(ids.len());
    let columns = attention::columns(&model.table.model.whitening, &block, &ids)?;
    Ok(columns.into_iter().map(|column| column.iter().map(|x| x.to_f64()).collect()).collect())
}

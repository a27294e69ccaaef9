//! Attention regression of tables: fits, predictions with intervals, and the rows behind each prediction.
//!
//! The inputs are the columns of the formula's design without the constant, formed by a least-squares fit of the same formula:
//! its levels, contrasts and polynomials. What depends on other columns is left out, as R's `NA`s are.

mod explain;
mod fit;
mod predict;
mod rows;
mod text;

pub use explain::{Explained, explain};
pub use fit::{AttendOptions, MOST_ROWS, Trained, fit, too_few};
pub use predict::{Asked, Predictor};
pub use rows::Rows;

use hattention::attention_regression::{AttentionRegression, Learned, Mask};
use hattention::codec::AttentionFile;
use serde_json::{Value, json};

use super::failure::Failure;
use super::model::TableModel;
use super::watch::Watch;
use crate::design::NaPolicy;
use crate::source::Source;

/// A fitted attention regression and how rows of a table become its inputs.
#[derive(Clone, Debug)]
pub struct AttendModel {
    /// The least-squares model of the same formula.
    pub table: TableModel,
    /// What the fit found.
    pub learned: Learned,
    /// The column of blocks, under a mask of blocks.
    pub block: Option<String>,
    /// The column that orders the rows.
    pub order: Option<String>,
    /// The training rows, where they are kept.
    pub rows: Option<Rows>,
}

impl AttendModel {
    /// The target.
    pub fn target(&self) -> &str {
        self.table.model.fits.first().map_or("", |fit| &fit.target)
    }

    /// Names of the inputs.
    pub fn names(&self) -> Vec<String> {
        let whitening = &self.table.model.whitening;
        whitening.kept.iter().map(|kept| whitening.design.names[*kept].clone()).collect()
    }

    /// The regression that reads some rows.
    ///
    /// # Errors
    /// If they cannot be its rows.
    pub fn reading(&self, rows: &Rows) -> Result<AttentionRegression, Failure> {
        Ok(self.learned.with_rows(&rows.columns(), &rows.target, rows.blocks.clone())?)
    }

    /// Training rows of a source, for a model that keeps none; other rows than those of the fit are said to be others.
    ///
    /// # Errors
    /// Those of reading, and no rows.
    pub fn train(&self, source: &Source, watch: &dyn Watch) -> Result<Rows, Failure> {
        let wanted = rows::Wanted { block: self.block.as_deref(), order: self.order.as_deref(), na: NaPolicy::Drop };
        let rows = Rows::read(&self.table, source, wanted, watch)?;
        if rows.target.is_empty() {
            return Err(Failure::usage("--train has no usable rows", "name the rows that the model was fitted on"));
        }
        let read = self.reading(&rows)?;
        if !read.reads_the_fit() {
            watch.note(&self.told_of_others(&rows, read.shared()));
        }
        Ok(rows)
    }

    /// What a user should know of rows that are not just those of the fit.
    fn told_of_others(&self, rows: &Rows, shared: f64) -> String {
        let (then, now) = (self.learned.rows, rows.target.len());
        let same = self.learned.trained_on(&rows.columns(), &rows.target);
        if same && self.learned.ordered() && !self.learned.in_order(&rows.columns(), &rows.target) {
            "--train has the rows of the fit in another order: they are read in this one, as other rows would be; give them in the order of \
             the fit for its own predictions"
                .to_owned()
        } else if same {
            "--train has the rows of the fit in other blocks: they are read as other rows would be".to_owned()
        } else if shared > 0.0 {
            format!(
                "--train has rows of the fit and others ({then} then, {now} now): predictions read them by the metrics of the fit; to \
                 learn from all of them, fit anew"
            )
        } else {
            format!(
                "--train has other rows than the fit ({then} then, {now} now): predictions read them by the metrics of the fit"
            )
        }
    }

    /// The rows that predictions read: those of `train`, or else those that are kept.
    ///
    /// # Errors
    /// If there are neither.
    pub fn memory<'a>(&'a self, train: Option<&'a Rows>) -> Result<&'a Rows, Failure> {
        train.or(self.rows.as_ref()).ok_or_else(|| {
            Failure::usage(
                "the model keeps no training rows, and its predictions are weighted sums of their targets",
                "name them with --train SOURCE, or fit with --store-training",
            )
        })
    }

    /// The model as a file.
    ///
    /// # Errors
    /// If a level cannot be written as JSON.
    pub fn to_bytes(&mut self) -> Result<Vec<u8>, Failure> {
        self.table.describe()?;
        let rows = self.rows.clone().map(Rows::stored);
        let file = AttentionFile {
            learned: self.learned.clone(),
            model: Some(self.table.model.clone()),
            rows,
            extra: json!({"block": self.block, "order": self.order}),
        };
        Ok(file.to_bytes()?)
    }

    /// Reads a model.
    ///
    /// # Errors
    /// If the bytes are not a whole model of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Failure> {
        let AttentionFile { learned, model, rows, extra } = AttentionFile::from_bytes(bytes)?;
        let model = model.ok_or_else(|| Failure::usage("it has no design", ""))?;
        let table = TableModel::of(model)?;
        let name = |value: &Value| value.as_str().map(str::to_owned);
        let (block, order) = (name(&extra["block"]), name(&extra["order"]));
        if matches!(learned.options.mask, Mask::Blocks(_)) != block.is_some() {
            return Err(Failure::usage("its mask and its column of blocks differ", ""));
        }
        if learned.columns() != table.model.whitening.kept.len() || table.model.fits.len() != 1 {
            return Err(Failure::usage("its design and its metrics differ", ""));
        }
        Ok(Self { table, learned, block, order, rows: rows.map(Rows::of_stored) })
    }
}

//! Weights on disk, with the model that forms their inputs.

use std::path::Path;

use hattention::Error;
use hattention::codec::Weights;
use hattention::matrix::{Matrix, Real};
use hattention::transformer::{Layer, Transformer, inputs};
use hattention_table::design::{EncodedBlock, FrozenDesign, FrozenOptions};
use hattention_table::source::Source;

use crate::failure::Failure;
use crate::model::read_file;
use hattention_table::regression::TableModel;
use hattention_table::regression::fit::explain_text;

/// A transformer and its model.
pub struct TableWeights {
    /// The weights.
    pub transformer: Transformer,
    /// The model they were built from.
    pub table: TableModel,
}

impl TableWeights {
    /// Reads weights.
    ///
    /// # Errors
    /// If the file is missing or is not a whole file of weights of this version, with its model.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let name = path.display();
        let again = "make it with `hat transformer build FORMULA SOURCE -o FILE`, or of a model with `hat transformer build MODEL -o FILE`";
        let unusable =
            |why: &dyn std::fmt::Display| Failure::usage(format!("{name} has no usable weights: {why}"), again);
        let bytes =
            read_file(path).map_err(|why| Failure::usage(format!("cannot read the weights {name}: {why}"), again))?;
        let weights = Weights::from_bytes(&bytes).map_err(|e| unusable(&e))?;
        let model = weights.model.ok_or_else(|| unusable(&"the model that they were built from is not in it"))?;
        let table = TableModel::of(model).map_err(|failure| unusable(&failure.message))?;
        Ok(Self { transformer: weights.transformer, table })
    }

    /// The formula that the model was fitted by.
    pub fn formula(&self) -> &str {
        &self.table.frozen.spec().formula
    }

    /// The weights in one kind of numbers.
    ///
    /// # Errors
    /// If one of them is beyond these numbers.
    pub fn layer<T: Real>(&self) -> Result<Layer<T>, Failure> {
        self.transformer.layer().map_err(beyond)
    }

    /// Whether rows count by a column of weights.
    pub fn weighted(&self) -> bool {
        self.table.frozen.spec().weights.is_some()
    }

    /// How batches of a source become rows of the design.
    ///
    /// # Errors
    /// If a column is missing or holds something else than in training.
    pub fn encoder(&self, source: &Source, options: &FrozenOptions) -> Result<FrozenDesign, Failure> {
        self.table.frozen.encoder(&source.schema(), options).map_err(|e| explain_text(source, e))
    }

    /// The design's columns of a batch, targets and weights apart.
    ///
    /// # Errors
    /// None that encoding has not found.
    pub fn inputs(&self, encoded: &EncodedBlock) -> Result<Matrix, Failure> {
        let (ids, mut block) = encoded.block();
        block.columns.truncate(ids.len());
        Ok(inputs(&self.table.model.whitening, &block, &ids)?)
    }

    /// Names of the columns of predictions, as `hat predict` has them.
    pub fn predictions(&self) -> Vec<String> {
        match &self.transformer.targets[..] {
            [_] => vec!["prediction".to_owned()],
            targets => targets.iter().map(|target| format!("{target}.prediction")).collect(),
        }
    }
}

/// Weights that singles do not reach.
pub fn beyond(error: Error) -> Failure {
    let single = matches!(&error, Error::Parameter { got, .. } if got.ends_with("beyond f32"));
    let failure = Failure::from(error);
    if single { Failure { hint: Some("use --dtype f64".into()), ..failure } } else { failure }
}

/// A failure over a level that training did not have, with the way out that the command has.
pub fn seen(failure: Failure, way_out: &str) -> Failure {
    match failure.hint.as_deref() {
        Some(hint) if hint.contains("--unseen") => {
            Failure { hint: Some(format!("fit with rows of this level, or {way_out}")), ..failure }
        }
        _ => failure,
    }
}

/// Column `t` of a matrix.
pub fn column(matrix: &Matrix, t: usize) -> Vec<f64> {
    (0..matrix.rows).map(|i| matrix.at(i, t)).collect()
}

/// Rows below rows.
pub fn append(all: &mut Matrix, rows: &Matrix) {
    all.columns = rows.columns;
    all.rows += rows.rows;
    all.data.extend_from_slice(&rows.data);
}

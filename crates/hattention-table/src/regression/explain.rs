//! The training rows behind each prediction.

use std::collections::HashMap;

use crate::design::{EncodedBlock, FrozenDesign, FrozenOptions};
use crate::source::{ScanOrder, Source};
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::util::display::array_value_to_string;
use hattention::Block;
use hattention::attention::explain::{Explainer, Explanation};
use hattention::attention::{self, Keys};
use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::fit::explain_text;
use super::model::{TableModel, numbers};
use super::pass::owned;
use super::render;
use super::watch::Watch;

/// What is explained.
#[derive(Clone, Copy, Debug)]
pub struct ExplainOptions {
    /// Training rows to name for each query.
    pub top: usize,
    /// Queries to explain, from the first.
    pub limit: usize,
}

impl Default for ExplainOptions {
    fn default() -> Self {
        Self { top: 5, limit: 1000 }
    }
}

/// Predictions with the training rows behind them.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The target.
    pub target: String,
    /// Its mean in training.
    pub target_mean: f64,
    /// Training rows that were used.
    pub training_rows: u64,
    /// Queries left out for missing values.
    pub unreadable: usize,
    /// Whether there are queries beyond the limit.
    pub more: bool,
    /// Columns of the model, in the order of [`Explained::cells`].
    pub columns: Vec<String>,
    /// The queries.
    pub queries: Vec<ExplainedQuery>,
    /// The model's columns of the training rows that are named, by row number.
    pub cells: HashMap<u64, Vec<String>>,
}

/// A prediction and its explanation.
#[derive(Clone, Debug)]
pub struct ExplainedQuery {
    /// The query's row, counted from 1.
    pub row: u64,
    /// Its prediction.
    pub prediction: f64,
    /// The standard error of its expected value, where the fit has errors.
    pub std_error: Option<f64>,
    /// The weights.
    pub explanation: Explanation,
}

/// The queries: their rows' numbers, keys, predictions and standard errors, and the columns of the model.
struct Queries {
    rows: Vec<u64>,
    keys: Keys,
    predictions: Vec<f64>,
    errors: Vec<Option<f64>>,
    unreadable: usize,
    more: bool,
}

/// Explains the rows of a source by the rows of another, which the model was fitted on.
///
/// # Numerics
/// Two passes over the training rows: one for the weights, and one for the rows that are named.
///
/// # Errors
/// If the model has several targets or absorbed effects, no query can be read, and those of reading.
pub fn explain(
    model: &TableModel,
    query_source: &Source,
    train: &Source,
    options: ExplainOptions,
    watch: &dyn Watch,
) -> Result<Explained, Failure> {
    let [fit] = &model.model.fits[..] else {
        return Err(Failure::usage("the model has several targets", "explain models of one target"));
    };
    if options.limit == 0 {
        return Err(Failure::usage("--limit is 0, expected at least 1", ""));
    }
    let queries = read_queries(options, model, query_source).map_err(|failure| failure.placed(query_source))?;
    if queries.rows.is_empty() {
        let (missing, name) = (queries.unreadable, query_source.label());
        let (why, hint) = match missing {
            0 => (format!("{name} has no rows"), "name a source with rows to explain"),
            _ => (format!("no row of {name} can be predicted: all {missing} have missing values"), "fill them in"),
        };
        return Err(Failure::no_answer(why, hint));
    }
    let weighted = model.frozen.spec().weights.is_some();
    let training = FrozenOptions { targets: true, weights: weighted, ..FrozenOptions::default() };
    let encoder = model.frozen.encoder(&train.schema(), &training).map_err(|e| explain_text(train, e))?;
    let largest = if weighted { model.largest_weight } else { 1.0 };
    let mut explainer = Explainer::new(&queries.keys, options.top, largest);
    let columns = owned(&encoder.input_columns());
    let mut training_rows = 0u64;
    let target = model.target_places()[0];
    {
        let pass = watch.pass("attending", train.bytes_total());
        for batch in train.scan(&columns, ScanOrder::File)? {
            let batch = batch?;
            let encoded = encoder
                .encode(&batch.batch, batch.first_row.unwrap_or(0))
                .map_err(|e| Failure::from(e).placed(train))?;
            training_rows += attend(&mut explainer, model, target, &encoded)?;
            pass.add(batch.bytes)?;
        }
    }
    if training_rows != model.model.whitening.rows {
        watch.note(&format!(
            "the model was fitted on {} rows, but --train has {training_rows} usable ones: weights do not add up to the prediction",
            model.model.whitening.rows
        ));
    }
    let explanations = explainer.finish();
    let cells = rows_of(train, &encoder, &explanations)?;
    if queries.unreadable > 0 {
        let (what, were) = if queries.unreadable == 1 { ("query has", "was") } else { ("queries have", "were") };
        watch.note(&format!("{} {what} missing values and {were} left out", queries.unreadable));
    }
    let of_query = |(i, explanation): (usize, Explanation)| ExplainedQuery {
        row: queries.rows[i],
        prediction: queries.predictions[i],
        std_error: queries.errors[i],
        explanation,
    };
    Ok(Explained {
        target: fit.target.clone(),
        target_mean: fit.target_mean,
        training_rows,
        unreadable: queries.unreadable,
        more: queries.more,
        columns,
        queries: explanations.into_iter().enumerate().map(of_query).collect(),
        cells,
    })
}

impl Explained {
    /// The explanations for people.
    pub fn text(&self) -> String {
        self.queries.iter().map(|query| self.query_text(query)).collect::<Vec<_>>().join("\n")
    }

    /// The explanations for programs.
    pub fn json(&self) -> Value {
        let queries: Vec<Value> = self.queries.iter().map(|query| self.query_json(query)).collect();
        json!({"target": self.target, "training_rows": self.training_rows, "queries": queries})
    }

    fn query_text(&self, query: &ExplainedQuery) -> String {
        let Self { target, columns, cells, .. } = self;
        let e = &query.explanation;
        let short = |x: f64| render::significant(x, 4);
        let error = query.std_error.map_or(String::new(), |se| format!(" (standard error {})", short(se)));
        let mut text =
            format!("Query row {}: {target} = {}{error}\n", query.row, render::significant(query.prediction, 7));
        let mut header = vec!["  row", "weight", "target", "contribution"];
        header.extend(columns.iter().map(String::as_str));
        let rows: Vec<Vec<String>> = e
            .top
            .iter()
            .map(|t| {
                let mut row =
                    vec![format!("  {}", t.row), short(t.weight), short(t.target), short(t.weight * t.target)];
                row.extend(cells.get(&t.row).cloned().unwrap_or_else(|| vec![String::new(); columns.len()]));
                row
            })
            .collect();
        text += &render::columns(&header, &rows);
        text += &format!(
            "  concentration {} (share of the top 5 %), short position {}, gross leverage {}, sum {}\n",
            short(e.diagnostics.concentration),
            short(e.diagnostics.short),
            short(e.diagnostics.gross),
            short(e.diagnostics.leverage_sum)
        );
        text += &format!(
            "  effective rows {} (Rényi), {} (Shannon); ‖q‖² {}{}\n",
            short(e.diagnostics.effective_rows),
            short(e.diagnostics.effective_rows_entropy),
            short(e.query_norm),
            if e.extrapolates { ": EXTRAPOLATES, beyond every training row" } else { "" }
        );
        text
    }

    fn query_json(&self, query: &ExplainedQuery) -> Value {
        let Self { columns, cells, target_mean: mean, .. } = self;
        let e = &query.explanation;
        let number = render::number;
        let top: Vec<Value> = e
            .top
            .iter()
            .map(|t| {
                let mut values = Map::new();
                if let Some(row) = cells.get(&t.row) {
                    values.extend(columns.iter().cloned().zip(row.iter().map(|cell| Value::from(cell.clone()))));
                }
                json!({"row": t.row, "weight": number(t.weight), "target": number(t.target),
                    "contribution": number(t.weight * t.target),
                    "contribution_about_mean": number(t.weight * (t.target - mean)), "columns": values})
            })
            .collect();
        json!({
            "row": query.row, "prediction": number(query.prediction),
            "std_error": query.std_error.map_or(Value::Null, number), "top": top,
            "weighted_sum": number(e.prediction), "concentration": number(e.diagnostics.concentration),
            "short_position": number(e.diagnostics.short), "gross_leverage": number(e.diagnostics.gross), "leverage_sum": number(e.diagnostics.leverage_sum),
            "effective_rows": number(e.diagnostics.effective_rows), "effective_rows_entropy": number(e.diagnostics.effective_rows_entropy),
            "query_norm": number(e.query_norm), "extrapolates": e.extrapolates,
        })
    }
}

fn read_queries(options: ExplainOptions, model: &TableModel, source: &Source) -> Result<Queries, Failure> {
    let encoder =
        model.frozen.encoder(&source.schema(), &FrozenOptions::default()).map_err(|e| explain_text(source, e))?;
    let (whitening, fit) = (&model.model.whitening, &model.model.fits[0]);
    let mut queries = Queries {
        rows: Vec::new(),
        keys: Keys { rows: 0, components: vec![Vec::new(); 1 + whitening.keys()] },
        predictions: Vec::new(),
        errors: Vec::new(),
        unreadable: 0,
        more: false,
    };
    for batch in source.scan(&owned(&encoder.input_columns()), ScanOrder::File)? {
        let batch = batch?;
        let wanted = options.limit.saturating_sub(queries.rows.len() + queries.unreadable);
        queries.more = batch.batch.num_rows() > wanted;
        let part = batch.batch.slice(0, wanted.min(batch.batch.num_rows()));
        let encoded = encoder.encode(&part, batch.first_row.unwrap_or(0))?;
        let (ids, block) = encoded.block();
        let keys = Keys::of(whitening, &block, &ids)?;
        queries.predictions.extend(attention::predict(whitening, fit, &block, &ids)?);
        for row in 0..keys.rows {
            let q = keys.row(row);
            queries.errors.push(fit.covariance.as_ref().map(|c| c.between(&q, &q).sqrt()));
            queries.rows.push(encoded.row_number(row));
        }
        queries.unreadable += encoded.dropped();
        queries.keys.rows += keys.rows;
        for (all, more) in queries.keys.components.iter_mut().zip(keys.components) {
            all.extend(more);
        }
        if queries.more {
            break;
        }
    }
    Ok(queries)
}

fn attend(
    explainer: &mut Explainer,
    model: &TableModel,
    target: usize,
    encoded: &EncodedBlock,
) -> Result<u64, Failure> {
    let (ids, mut block) = encoded.block();
    block.columns.truncate(ids.len());
    let keys = Keys::of(&model.model.whitening, &block, &ids)?;
    let targets = numbers(encoded.targets()[target]);
    let numbers: Vec<u64> = (0..block.rows).map(|row| encoded.row_number(row)).collect();
    explainer.push(&keys, &targets, block.weights, &numbers);
    let Block { weights, rows, .. } = block;
    Ok(weights.map_or(rows, |w| w.iter().filter(|w| **w > 0.0).count()) as u64)
}

/// The model's columns of the training rows that were named, by row number.
fn rows_of(
    train: &Source,
    encoder: &FrozenDesign,
    explanations: &[Explanation],
) -> Result<HashMap<u64, Vec<String>>, Failure> {
    let mut wanted: Vec<u64> = explanations.iter().flat_map(|e| e.top.iter().map(|t| t.row)).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut cells = HashMap::with_capacity(wanted.len());
    let mut next = wanted.iter().copied().peekable();
    for batch in train.scan(&owned(&encoder.input_columns()), ScanOrder::File)? {
        let batch = batch?;
        let first = batch.first_row.unwrap_or(0) + 1;
        while let Some(row) = next.next_if(|row| *row < first + batch.batch.num_rows() as u64) {
            cells.insert(row, row_cells(&batch.batch, (row - first) as usize)?);
        }
        if next.peek().is_none() {
            break;
        }
    }
    Ok(cells)
}

fn row_cells(batch: &RecordBatch, row: usize) -> Result<Vec<String>, Failure> {
    let cell = |column: &ArrayRef| {
        let text = array_value_to_string(column, row)
            .map_err(|e| Failure::usage(format!("cannot print a training row: {e}"), ""))?;
        // Numbers of a CSV file are doubles; whole ones look as they do elsewhere.
        let whole = text.strip_suffix(".0").filter(|_| column.data_type().is_floating());
        Ok(whole.map_or(text.clone(), str::to_owned))
    };
    batch.columns().iter().map(cell).collect()
}

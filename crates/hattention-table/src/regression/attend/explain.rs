//! The training rows behind each prediction.

use hattention::attention_regression::{AttentionRegression, Explanation, Weights};

use super::super::explain::ExplainOptions;
use super::super::failure::Failure;
use super::super::fit::explain_text;
use super::super::pass::owned;
use super::super::watch::Watch;
use super::predict::inputs;
use super::{AttendModel, Rows};
use crate::design::FrozenOptions;
use crate::source::{ScanOrder, Source};

/// Predictions with the training rows behind them.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The target.
    pub target: String,
    /// Training rows that were read.
    pub training_rows: usize,
    /// Names of the inputs.
    pub names: Vec<String>,
    /// Queries' rows, counted from 1, and what made their predictions; rows of the top are numbers in the source.
    pub queries: Vec<(u64, Explanation)>,
    /// Inputs of the training rows that are named, in their own units, by the row's number.
    pub inputs: std::collections::HashMap<u64, Vec<f64>>,
    /// Whether there are queries beyond the limit.
    pub more: bool,
}

/// Explains the rows of a source by those of the regression's memory.
///
/// # Errors
/// If no query can be read, and those of reading.
pub fn explain(
    model: &AttendModel,
    regression: &AttentionRegression,
    memory: &Rows,
    queries: &Source,
    options: ExplainOptions,
    watch: &dyn Watch,
) -> Result<Explained, Failure> {
    if options.limit == 0 {
        return Err(Failure::usage("--limit is 0, expected at least 1", ""));
    }
    let frozen = &model.table.frozen;
    let design = frozen.encoder(&queries.schema(), &FrozenOptions::default()).map_err(|e| explain_text(queries, e))?;
    let weights = Weights::of(regression);
    let (mut rows, mut unreadable, mut more) = (Vec::new(), 0, false);
    let mut columns: Vec<Vec<f64>> = vec![Vec::new(); model.learned.columns()];
    for batch in queries.scan(&owned(&design.input_columns()), ScanOrder::File)? {
        let batch = batch?;
        let wanted = options.limit.saturating_sub(rows.len() + unreadable);
        more = batch.batch.num_rows() > wanted;
        let part = batch.batch.slice(0, wanted.min(batch.batch.num_rows()));
        let encoded =
            design.encode(&part, batch.first_row.unwrap_or(0)).map_err(|error| Failure::from(error).placed(queries))?;
        for (all, column) in columns.iter_mut().zip(inputs(model, &encoded)?) {
            all.extend(column);
        }
        rows.extend((0..encoded.rows()).map(|row| encoded.row_number(row)));
        unreadable += encoded.dropped();
        if more {
            break;
        }
    }
    if rows.is_empty() {
        let name = queries.label();
        return Err(match unreadable {
            0 => Failure::no_answer(format!("{name} has no rows"), "name a source with rows to explain"),
            _ => {
                let message = format!("no row of {name} can be predicted: all {unreadable} have missing values");
                Failure::no_answer(message, "fill them in")
            }
        });
    }
    if unreadable > 0 {
        let (what, were) = if unreadable == 1 { ("query has", "was") } else { ("queries have", "were") };
        watch.note(&format!("{unreadable} {what} missing values and {were} left out"));
    }
    let columns: Vec<&[f64]> = columns.iter().map(|column| &column[..]).collect();
    let mut found = weights.explain(&columns, options.top)?;
    let mut named = std::collections::HashMap::new();
    for top in found.iter_mut().flat_map(|explanation| &mut explanation.top) {
        let place = top.row as usize;
        top.row = memory.numbers[place];
        named.entry(top.row).or_insert_with(|| memory.inputs.iter().map(|column| column[place]).collect());
    }
    Ok(Explained {
        target: model.target().to_owned(),
        training_rows: memory.target.len(),
        names: model.names(),
        queries: rows.into_iter().zip(found).collect(),
        inputs: named,
        more,
    })
}

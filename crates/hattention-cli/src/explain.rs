//! `hat explain`: the training rows behind each prediction.

use std::collections::HashMap;

use hattention::attention::explain::{Explainer, Explanation};
use hattention::attention::{self, Keys};
use hattention::{Block, Column};
use hattention_table::arrow::array::{Array, ArrayRef, RecordBatch};
use hattention_table::arrow::util::display::array_value_to_string;
use hattention_table::design::{EncodedBlock, FrozenDesign, FrozenOptions};
use hattention_table::source::{ScanOrder, Source, SourceOptions};
use serde_json::{Map, Value, json};

use crate::args::ExplainArgs;
use crate::failure::Failure;
use crate::fit::explain_text;
use crate::model::TableModel;
use crate::pass::owned;
use crate::progress::Progress;
use crate::{output, render};

/// The queries: their rows' numbers, keys, predictions and standard errors, and the columns of the model.
struct Queries {
    rows: Vec<u64>,
    keys: Keys,
    predictions: Vec<f64>,
    errors: Vec<Option<f64>>,
    unreadable: usize,
}

/// Runs the command.
pub fn run(args: &ExplainArgs, quiet: bool) -> Result<(), Failure> {
    let model = TableModel::load(&args.model)?.without_effects("`hat explain`")?;
    let [fit] = &model.model.fits[..] else {
        return Err(Failure::usage("the model has several targets", "explain models of one target"));
    };
    if args.limit == 0 {
        return Err(Failure::usage("--limit is 0, expected at least 1", ""));
    }
    if args.queries == "-" && args.train.iter().any(|source| source == "-") {
        return Err(Failure::usage("standard input is both the queries and --train", "name a file for one of them"));
    }
    let mut options = SourceOptions {
        partitions: rayon::current_num_threads(),
        csv_text: model.labels(),
        ..SourceOptions::default()
    };
    let query_source = Source::open(std::slice::from_ref(&args.queries), &options)?;
    options.sql = args.sql.clone();
    let train = Source::open(&args.train, &options)?;
    let queries = read_queries(args, &model, &query_source).map_err(|failure| failure.placed(&query_source))?;
    if queries.rows.is_empty() {
        let (missing, name) = (queries.unreadable, &args.queries);
        let (why, hint) = match missing {
            0 => (format!("{name} has no rows"), "name a source with rows to explain"),
            _ => (format!("no row of {name} can be predicted: all {missing} have missing values"), "fill them in"),
        };
        return Err(Failure::no_answer(why, hint));
    }
    let weighted = model.frozen.spec().weights.is_some();
    let training = FrozenOptions { targets: true, weights: weighted, ..FrozenOptions::default() };
    let encoder = model.frozen.encoder(&train.schema(), &training).map_err(|e| explain_text(&train, e))?;
    let largest = if weighted { model.largest_weight } else { 1.0 };
    let mut explainer = Explainer::new(&queries.keys, args.top, largest);
    let columns = owned(&encoder.input_columns());
    let mut used = 0u64;
    {
        let progress = Progress::new(train.bytes_total(), "attending", quiet);
        for batch in train.scan(&columns, ScanOrder::File)? {
            let batch = batch?;
            let encoded = encoder
                .encode(&batch.batch, batch.first_row.unwrap_or(0))
                .map_err(|e| Failure::from(e).placed(&train))?;
            used += attend(&mut explainer, &model, &encoded)?;
            progress.add(batch.bytes);
        }
    }
    if used != model.model.whitening.rows {
        eprintln!(
            "note: the model was fitted on {} rows, but --train has {used} usable ones: weights do not add up to the prediction",
            model.model.whitening.rows
        );
    }
    let explanations = explainer.finish();
    let cells = rows_of(&train, &encoder, &explanations)?;
    if queries.unreadable > 0 {
        eprintln!("note: {} of the queries have missing values and were left out", queries.unreadable);
    }
    let text = if args.json {
        let all: Vec<Value> = explanations
            .iter()
            .enumerate()
            .map(|(i, e)| to_json(&queries, i, e, &columns, &cells, fit.target_mean))
            .collect();
        format!("{:#}\n", json!({"target": fit.target, "training_rows": used, "queries": all}))
    } else {
        let all = explanations.iter().enumerate().map(|(i, e)| to_text(&fit.target, &queries, i, e, &columns, &cells));
        all.collect::<Vec<_>>().join("\n")
    };
    output::print(&text)
}

fn read_queries(args: &ExplainArgs, model: &TableModel, source: &Source) -> Result<Queries, Failure> {
    let encoder =
        model.frozen.encoder(&source.schema(), &FrozenOptions::default()).map_err(|e| explain_text(source, e))?;
    let (whitening, fit) = (&model.model.whitening, &model.model.fits[0]);
    let mut queries = Queries {
        rows: Vec::new(),
        keys: Keys { rows: 0, components: vec![Vec::new(); 1 + whitening.keys()] },
        predictions: Vec::new(),
        errors: Vec::new(),
        unreadable: 0,
    };
    for batch in source.scan(&owned(&encoder.input_columns()), ScanOrder::File)? {
        let batch = batch?;
        let wanted = args.limit.saturating_sub(queries.rows.len() + queries.unreadable);
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
        if queries.rows.len() + queries.unreadable >= args.limit {
            break;
        }
    }
    Ok(queries)
}

fn attend(explainer: &mut Explainer, model: &TableModel, encoded: &EncodedBlock) -> Result<u64, Failure> {
    let (ids, mut block) = encoded.block();
    block.columns.truncate(ids.len());
    let keys = Keys::of(&model.model.whitening, &block, &ids)?;
    let targets: Vec<f64> = match encoded.targets()[0] {
        Column::Dense(values) => values.to_vec(),
        Column::Pair { hi, lo } => hi.iter().zip(lo).map(|(h, l)| h + l).collect(),
        _ => return Err(Failure::usage("the target cannot be read as numbers", "")),
    };
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

fn to_text(
    target: &str,
    queries: &Queries,
    i: usize,
    e: &Explanation,
    columns: &[String],
    cells: &HashMap<u64, Vec<String>>,
) -> String {
    let short = |x: f64| render::significant(x, 4);
    let error = queries.errors[i].map_or(String::new(), |se| format!(" (standard error {})", short(se)));
    let mut text = format!(
        "Query row {}: {target} = {}{error}\n",
        queries.rows[i],
        render::significant(queries.predictions[i], 7)
    );
    let mut header = vec!["  row", "weight", "target", "contribution"];
    header.extend(columns.iter().map(String::as_str));
    let rows: Vec<Vec<String>> = e
        .top
        .iter()
        .map(|t| {
            let mut row = vec![format!("  {}", t.row), short(t.weight), short(t.target), short(t.weight * t.target)];
            row.extend(cells.get(&t.row).cloned().unwrap_or_else(|| vec![String::new(); columns.len()]));
            row
        })
        .collect();
    text += &render::columns(&header, &rows);
    text += &format!(
        "  concentration {} (share of the top 5 %), short position {}, gross leverage {}, sum {}\n",
        short(e.concentration),
        short(e.short),
        short(e.gross),
        short(e.leverage_sum)
    );
    text += &format!(
        "  effective rows {} (Rényi), {} (Shannon); ‖q‖² {}{}\n",
        short(e.effective_rows),
        short(e.effective_rows_entropy),
        short(e.query_norm),
        if e.extrapolates { ": EXTRAPOLATES, beyond every training row" } else { "" }
    );
    text
}

fn to_json(
    queries: &Queries,
    i: usize,
    e: &Explanation,
    columns: &[String],
    cells: &HashMap<u64, Vec<String>>,
    mean: f64,
) -> Value {
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
        "row": queries.rows[i], "prediction": number(queries.predictions[i]),
        "std_error": queries.errors[i].map_or(Value::Null, number), "top": top,
        "weighted_sum": number(e.prediction), "concentration": number(e.concentration),
        "short_position": number(e.short), "gross_leverage": number(e.gross), "leverage_sum": number(e.leverage_sum),
        "effective_rows": number(e.effective_rows), "effective_rows_entropy": number(e.effective_rows_entropy),
        "query_norm": number(e.query_norm), "extrapolates": e.extrapolates,
    })
}

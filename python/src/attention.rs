//! Attention regression of arrays: what `hattention.AttentionRegressor` stands on.

use std::sync::{Arc, Mutex};

use hattention::Error;
use hattention::attention_regression::{
    AttentionRegression, Chosen, Explanation, Intervals, Mask, Options, Precision, Ranks, Score, Tried, Weights,
};
use hattention::codec::{AttentionFile, Rows};
use hattention_table::regression::attend::{MOST_ROWS, too_few};
use hattention_table::regression::render::number;
use hattention_table::regression::{Failure, Watch};
use numpy::{PyArray1, PyArray2, PyArray3, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};
use serde_json::{Value, json};

use crate::failure::{exception, not_in};
use crate::work::run;

/// Queries whose weights are held at once beside those that are given.
const BATCH: usize = 256;

type Matrix<'py> = PyReadonlyArray2<'py, f64>;
type Vector<'py> = PyReadonlyArray1<'py, f64>;

/// How arrays are fitted.
#[derive(FromPyObject)]
pub struct AttentionOptions {
    #[pyo3(item)]
    n_heads: usize,
    #[pyo3(item)]
    scores: String,
    #[pyo3(item)]
    mask: String,
    #[pyo3(item)]
    linear: bool,
    /// Absent where cross-validation chooses.
    #[pyo3(item)]
    penalty: Option<f64>,
    #[pyo3(item)]
    ranks: String,
    #[pyo3(item)]
    mixing: f64,
    #[pyo3(item)]
    folds: usize,
    #[pyo3(item)]
    folds_rows: usize,
    #[pyo3(item)]
    sample: Option<usize>,
    #[pyo3(item)]
    precision: String,
    #[pyo3(item)]
    max_iter: usize,
    #[pyo3(item)]
    restarts: usize,
    #[pyo3(item)]
    hold_out: f64,
    #[pyo3(item)]
    seed: u64,
}

impl AttentionOptions {
    /// The engine's options; `blocks` is there exactly where the mask asks for it.
    fn options(&self, blocks: Option<Vec<u64>>) -> PyResult<Options> {
        let score = Score::parse(&self.scores).ok_or_else(|| {
            not_in("scores", &quoted(&self.scores), "\"distance\", \"softmax\", \"polynomial\" or \"polynomial:4\"")
        })?;
        let mask = Mask::parse(&self.mask).ok_or_else(|| {
            not_in("mask", &quoted(&self.mask), "\"loo\", \"self\", \"causal\", \"window:W\", \"decay:H\" or \"block\"")
        })?;
        let precision = Precision::parse(&self.precision)
            .ok_or_else(|| not_in("precision", &quoted(&self.precision), "\"single\" or \"double\""))?;
        let ranks = Ranks::parse(&self.ranks)
            .ok_or_else(|| not_in("ranks", &quoted(&self.ranks), "True, False or \"auto\""))?;
        let mask = match (mask, blocks) {
            (Mask::Blocks(_), Some(blocks)) => Mask::Blocks(blocks),
            (mask, _) => mask,
        };
        let default = Options::default();
        Ok(Options {
            heads: self.n_heads,
            score,
            mask,
            linear: self.linear,
            penalty: self.penalty.unwrap_or(default.penalty),
            mixing: self.mixing,
            ranks,
            precision,
            steps: self.max_iter,
            restarts: self.restarts,
            hold_out: self.hold_out,
            seed: self.seed,
            ..default
        })
    }

    /// Fits columns, penalties first where they are to be chosen.
    fn fit(&self, options: Options, rows: Rows) -> Result<(AttentionFit, Option<Chosen>), Failure> {
        let count = rows.target.len();
        if count > MOST_ROWS && self.sample.is_none() {
            return Err(Failure::usage(
                format!("X has {count} rows, more than {MOST_ROWS}: the work of a fit grows with their square"),
                format!(
                    "fit metrics with some of them, and let predictions read all: sample={MOST_ROWS}; or all of them: \
                     sample={count}"
                ),
            ));
        }
        options.check().map_err(of_options)?;
        let columns = columns(&rows.inputs);
        let chosen = match self.penalty {
            Some(_) => None,
            None => Some(options.choose(&columns, &rows.target, self.folds, self.folds_rows).map_err(in_folds)?),
        };
        let options = chosen.as_ref().map_or(options, |chosen| chosen.options.clone());
        let model = match self.sample {
            Some(most) => AttentionRegression::fit_sample(&columns, &rows.target, options, most),
            None => AttentionRegression::fit(&columns, &rows.target, options),
        };
        let model = model.map_err(of_fit)?;
        Ok((AttentionFit::new(model, rows), chosen))
    }
}

/// A fit, what is told of it as JSON, and what every row is off by when it is left out, where that is measured.
type Fitted<'py> = (AttentionFit, String, Option<Bound<'py, PyArray1<f64>>>);

/// Fits arrays: inputs `[rows, columns]`, target `[rows]`, and, under a mask of blocks, the block of each row. Gives the fit,
/// what is told of it, and what each row is off by when it is left out.
#[pyfunction]
#[pyo3(signature = (inputs, target, blocks, asked))]
pub fn fit_attention<'py>(
    py: Python<'py>,
    inputs: Matrix<'py>,
    target: Vector<'py>,
    blocks: Option<Vec<u64>>,
    asked: AttentionOptions,
) -> PyResult<Fitted<'py>> {
    let options = asked.options(blocks.clone())?;
    let target = target.as_array().to_vec();
    let numbers = (0..target.len() as u64).collect();
    let rows = Rows { inputs: copied(&inputs), target, blocks, numbers };
    let (fit, told, left_out) = run(py, move |_| {
        let (fit, chosen) = asked.fit(options, rows)?;
        // (Of a sample's metrics the errors at some rows are known: all of them would be read by all.)
        let left_out = fit.model.report.sampled.is_none().then(|| fit.model.left_out());
        let told = told(&fit.model, chosen.as_ref());
        Ok((fit, told, left_out))
    })?;
    Ok((fit, told, left_out.map(|errors| PyArray1::from_vec(py, errors))))
}

/// A fit with its training rows.
#[pyclass(frozen, module = "hattention._hattention")]
pub struct AttentionFit {
    model: Arc<AttentionRegression>,
    rows: Rows,
    /// What intervals were made of last, and their folds: fits that the next ones need again.
    intervals: Mutex<Option<(usize, Held)>>,
}

type Held = Arc<Intervals<Arc<AttentionRegression>>>;

impl AttentionFit {
    fn new(model: AttentionRegression, rows: Rows) -> Self {
        Self { model: Arc::new(model), rows, intervals: Mutex::new(None) }
    }

    fn intervals_of(&self, folds: usize) -> Result<Held, Failure> {
        let known = self.intervals.lock().ok().and_then(|known| known.clone());
        if let Some((of, intervals)) = known
            && of == folds
        {
            return Ok(intervals);
        }
        let model = Arc::clone(&self.model);
        let found = match folds {
            0 => Intervals::of(model),
            _ => Intervals::by_folds(model, folds).map_err(of_intervals)?,
        };
        let found = Arc::new(found);
        if let Ok(mut known) = self.intervals.lock() {
            *known = Some((folds, Arc::clone(&found)));
        }
        Ok(found)
    }
}

#[pymethods]
impl AttentionFit {
    /// The constant.
    fn intercept(&self) -> f64 {
        self.model.intercept()
    }

    /// Coefficients of the linear head; empty without one.
    fn slopes<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_vec(py, self.model.slopes())
    }

    /// Coefficients of the other heads.
    fn head_coefficients<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_slice(py, self.model.head_coefficients())
    }

    /// Metrics. Shape: `[heads, columns, columns]`.
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray3<f64>>> {
        let (metrics, width) = (self.model.metrics(), self.rows.inputs.len());
        let numbers: Vec<f64> = metrics.iter().flatten().flatten().copied().collect();
        PyArray1::from_vec(py, numbers).reshape([metrics.len(), width, width])
    }

    /// Predictions. Shape: `[queries]`.
    fn predict<'py>(&self, py: Python<'py>, inputs: Matrix<'py>) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let inputs = copied(&inputs);
        let predictions = run(py, move |_| Ok(self.model.predict(&columns(&inputs))?))?;
        Ok(PyArray1::from_vec(py, predictions))
    }

    /// Lower and upper ends of intervals, by so many folds; with none metrics are held. Shape: `[2, queries]`.
    fn intervals<'py>(
        &self,
        py: Python<'py>,
        inputs: Matrix<'py>,
        level: f64,
        folds: usize,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let inputs = copied(&inputs);
        let found = run(py, move |listener| {
            hattention_table::regression::predict::check_level(level)?;
            let intervals = self.intervals_of(folds)?;
            if intervals.endless(level) {
                let rows = intervals.rows();
                listener
                    .note(&format!("{rows} rows are too few for intervals of level {level}: their ends are infinite"));
            } else if let Some(groups) = intervals.few_blocks(level) {
                listener.note(&format!(
                    "{groups} groups are too few for intervals of level {level}: they may be too short for rows of new groups"
                ));
            }
            Ok(intervals.at(&columns(&inputs), level)?)
        })?;
        let ends: Vec<f64> = found.iter().map(|i| i.low).chain(found.iter().map(|i| i.high)).collect();
        PyArray1::from_vec(py, ends).reshape([2, found.len()])
    }

    /// Weights of training rows. Shape: `[queries, rows]`.
    fn weights<'py>(&self, py: Python<'py>, inputs: Matrix<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let (inputs, rows) = (copied(&inputs), self.rows.target.len());
        let queries = inputs.first().map_or(0, Vec::len);
        let numbers = run(py, move |_| {
            let weights = Weights::of(&self.model);
            let mut numbers = Vec::with_capacity(queries * rows);
            for first in (0..queries).step_by(BATCH) {
                let batch = first..queries.min(first + BATCH);
                let columns: Vec<&[f64]> = inputs.iter().map(|column| &column[batch.clone()]).collect();
                weights.weights(&columns)?.iter().for_each(|row| numbers.extend_from_slice(row));
            }
            Ok(numbers)
        })?;
        PyArray1::from_vec(py, numbers).reshape([queries, rows])
    }

    /// The training rows behind predictions, as JSON; counted from 0, as Python does.
    fn explain(&self, py: Python<'_>, inputs: Matrix<'_>, top: usize) -> PyResult<String> {
        let inputs = copied(&inputs);
        run(py, move |_| {
            let found = Weights::of(&self.model).explain(&columns(&inputs), top)?;
            Ok(Value::from(found.iter().enumerate().map(explained).collect::<Vec<_>>()).to_string())
        })
    }

    /// The fit and its training rows, as a file has them.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let (learned, rows) = (self.model.learned(), Some(self.rows.clone()));
        let bytes = AttentionFile { learned, model: None, rows, extra: Value::Null }.to_bytes();
        Ok(PyBytes::new(py, &bytes.map_err(|error| exception(py, &error.into()))?))
    }

    #[classmethod]
    fn from_bytes(_class: &Bound<'_, PyType>, py: Python<'_>, bytes: &[u8]) -> PyResult<Self> {
        let read = || {
            let AttentionFile { learned, rows, .. } = AttentionFile::from_bytes(bytes)?;
            let rows = rows.ok_or_else(|| Failure::usage("the bytes hold no training rows", ""))?;
            let model = learned.with_rows(&columns(&rows.inputs), &rows.target, rows.blocks.clone())?;
            Ok(Self::new(model, rows))
        };
        read().map_err(|failure: Failure| exception(py, &failure))
    }
}

/// An array by columns. Shape: `[columns][rows]`.
fn copied(array: &Matrix<'_>) -> Vec<Vec<f64>> {
    array.as_array().columns().into_iter().map(|column| column.to_vec()).collect()
}

fn columns(inputs: &[Vec<f64>]) -> Vec<&[f64]> {
    inputs.iter().map(Vec::as_slice).collect()
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// What options are refused, by the argument that they came from.
fn of_options(error: Error) -> Failure {
    let argument = match error {
        Error::Parameter { name: "the degree of polynomial scores", .. } => Some("scores"),
        Error::Parameter { name: "the window" | "the rows in which a weight halves", .. } => Some("mask"),
        Error::Parameter { name: "the mask of polynomial scores", .. } => Some("mask"),
        _ => None,
    };
    let failure = Failure::from(error);
    argument.into_iter().fold(failure, Failure::about)
}

/// What a fit refuses, with a way out that Python has.
fn of_fit(error: Error) -> Failure {
    with_hint(error, "use `linear=False`, `mixing` above zero or more rows", "use more groups, or hold out less")
}

/// The same of the fits of cross-validation.
fn in_folds(error: Error) -> Failure {
    if let Error::Parameter { name: "the number of folds", .. } = error {
        let hint = "change `folds` or `folds_rows`, or give `penalty` a number";
        return Failure { hint: Some(hint.to_owned()), ..Failure::from(error).about("within cross-validation") };
    }
    let few = "use `linear=False`, `mixing` above zero or more rows, or give `penalty` a number";
    with_hint(error, few, "use more groups or `folds`, or give `penalty` a number").about("within cross-validation")
}

/// The same of the fits without a fold that intervals are made of.
fn of_intervals(error: Error) -> Failure {
    if let Error::Parameter { name: "the mask" | "the sample", .. } = error {
        let hint = "hold metrics with `folds=0`, or fit some of the rows alone, without `sample`";
        return Failure { hint: Some(hint.to_owned()), ..Failure::from(error).about("intervals") };
    }
    let few = "hold metrics with `folds=0`, or take more (under a mask of time the first fold has half of the rows)";
    with_hint(error, few, "take more `folds`, or hold metrics with `folds=0`").about("intervals")
}

fn with_hint(error: Error, few: &str, blocks: &str) -> Failure {
    let failure = Failure::from(error.clone());
    match error {
        Error::TooFewRows { rows, coefficients } => {
            Failure { message: too_few(rows, coefficients), hint: Some(few.to_owned()), ..failure }
        }
        Error::Parameter { name: "the number of blocks" | "the number of blocks beside those held out", .. } => {
            Failure { hint: Some(blocks.to_owned()), ..failure }
        }
        _ => failure,
    }
}

/// What is told of a fit, as JSON.
fn told(model: &AttentionRegression, chosen: Option<&Chosen>) -> String {
    let (options, report) = (model.options(), &model.report);
    let of_tried = |t: &Tried| json!({"penalty": number(t.penalty), "mixing": number(t.mixing), "ranks": t.ranks, "error": number(t.error)});
    let tried = chosen.map(|chosen| chosen.tried.iter().map(of_tried).collect::<Vec<_>>());
    let sampled = report.sampled.map(|s| {
        json!({
            "rows": s.rows, "queries": s.queries, "width": number(s.width), "error_sample": number(s.error_sample),
            "error": number(s.error),
        })
    });
    json!({
        "penalty": number(options.penalty), "mixing": number(options.mixing), "tried": tried,
        "normal_scores": model.learned().normal_scores(),
        "r2_cv": chosen.map_or(Value::Null, |chosen| number(1.0 - chosen.error / chosen.error_mean)),
        "shares": report.shares.iter().map(|s| number(*s)).collect::<Vec<_>>(), "loss": number(report.loss),
        "steps": report.steps, "converged": report.converged, "collapsed": report.collapsed,
        "isolated": report.isolated, "sampled": sampled,
    })
    .to_string()
}

/// What is told of a prediction.
fn explained((row, e): (usize, &Explanation)) -> Value {
    let top: Vec<Value> = e
        .top
        .iter()
        .map(|t| json!({"row": t.row, "weight": number(t.weight), "target": number(t.target), "columns": {}}))
        .collect();
    let d = &e.diagnostics;
    json!({
        "row": row, "prediction": number(e.prediction), "weighted_sum": number(e.prediction - e.constant),
        "constant": number(e.constant), "linear": number(e.linear),
        "heads": e.heads.iter().map(|z| number(*z)).collect::<Vec<_>>(), "top": top,
        "concentration": number(d.concentration), "short_position": number(d.short),
        "gross_leverage": number(d.gross), "leverage_sum": number(d.leverage_sum),
        "effective_rows": number(d.effective_rows), "effective_rows_entropy": number(d.effective_rows_entropy),
        "turnover": e.turnover.map_or(Value::Null, number),
    })
}

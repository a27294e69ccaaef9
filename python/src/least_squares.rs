//! Least squares of arrays: what `hattention.LeastSquares` stands on.

use std::ops::Range;

use hattention::attention::explain::Explainer;
use hattention::attention::{self, Keys, leverages_table, predict_table};
use hattention::codec::{Model, States};
use hattention::fit::distribution::t_quantile;
use hattention::{Design, Error, Filter, Fit, Moments, Whitening, in_memory};
use hattention_table::regression::{Amount, Failure, SolveOptions};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::arrays::Arrays;
use crate::failure::{at_least, exception};
use crate::model::Solving;
use crate::work::{Listener, run, run_briefly};

/// Rows that are read at a time where their keys are needed.
const PIECE: usize = 4096;

/// Numbers that are read in less time than a thread takes to start.
const BRIEF: usize = 1 << 15;

/// Columns that are solved in that time.
const BRIEF_COLUMNS: usize = 16;

/// The name of a state in its bytes.
const MOMENTS: &str = "moments";

type Matrix<'py> = PyReadonlyArray2<'py, f64>;
type Vector<'py> = PyReadonlyArray1<'py, f64>;

/// How arrays are fitted.
#[derive(FromPyObject)]
pub struct ArrayOptions {
    #[pyo3(item)]
    intercept: bool,
    #[pyo3(item)]
    names: Vec<String>,
    #[pyo3(item)]
    solve: Solving,
}

/// The same in other words.
struct Wanted {
    design: Design,
    solve: SolveOptions,
}

impl Wanted {
    fn of(asked: ArrayOptions) -> Result<Self, Failure> {
        Ok(Self { design: Design::plain(asked.names, asked.intercept), solve: asked.solve.options()? })
    }

    /// Reads a state.
    fn solve(&self, moments: &Moments, targets: &[String]) -> Result<ArrayFit, Failure> {
        let first = self.design.names.len();
        let filter = self.solve.filter(moments, None, &self.design, first..first + targets.len())?;
        let whitening = Whitening::of(moments, &self.design, filter, self.solve.whitening(), None)?;
        let fits = targets.iter().enumerate().map(|(t, name)| Fit::of(moments, &whitening, first + t, name));
        let fits = fits.collect::<Result<Vec<Fit>, Error>>()?;
        Ok(ArrayFit { model: Model { whitening, fits, extra: Value::Null } })
    }
}

/// Fits arrays: inputs `[rows, columns]`, targets `[rows, targets]`, weights `[rows]`.
#[pyfunction]
#[pyo3(signature = (inputs, targets, weights, target_names, asked))]
pub fn fit_arrays(
    py: Python<'_>,
    inputs: Matrix<'_>,
    targets: Matrix<'_>,
    weights: Option<Vector<'_>>,
    target_names: Vec<String>,
    asked: ArrayOptions,
) -> PyResult<ArrayFit> {
    let arrays = Arrays::of(&inputs, Some(&targets), weights.as_ref());
    let arrays = arrays.map_err(|error| exception(py, &error.into()))?;
    let brief = arrays.table.rows() * arrays.table.columns() < BRIEF && arrays.table.columns() < BRIEF_COLUMNS;
    let work = move |_: &Listener| {
        let wanted = Wanted::of(asked)?;
        if wanted.solve.amount != Amount::Ols {
            let moments = Moments::of_table(&arrays.table, &arrays.targets, arrays.weights)?;
            return wanted.solve(&moments, &target_names);
        }
        let named: Vec<_> = arrays.targets.iter().copied().zip(target_names.iter().map(String::as_str)).collect();
        let fitted =
            in_memory::fit_table(&arrays.table, &wanted.design, &named, arrays.weights, wanted.solve.whitening())?;
        let (whitening, fits) = fitted;
        Ok(ArrayFit { model: Model { whitening, fits, extra: Value::Null } })
    };
    if brief { run_briefly(py, work) } else { run(py, work) }
}

/// The exact sums of rows of arrays.
#[pyclass(frozen, module = "hattention._hattention")]
pub struct ArrayState {
    moments: Moments,
}

#[pymethods]
impl ArrayState {
    /// No rows yet, of so many columns, inputs and targets.
    #[new]
    fn new(columns: usize) -> Self {
        Self { moments: Moments::new(columns) }
    }

    /// Rows with positive weight.
    #[getter]
    fn rows(&self) -> u64 {
        self.moments.rows()
    }

    /// The state with more rows, or without some of its own.
    #[pyo3(signature = (inputs, targets, weights, remove))]
    fn changed(
        &self,
        py: Python<'_>,
        inputs: Matrix<'_>,
        targets: Matrix<'_>,
        weights: Option<Vector<'_>>,
        remove: bool,
    ) -> PyResult<Self> {
        let arrays = Arrays::of(&inputs, Some(&targets), weights.as_ref());
        let arrays = arrays.map_err(|error| exception(py, &error.into()))?;
        let (moments, columns) = (&self.moments, self.moments.columns());
        let moments = run(py, move |_| {
            let more = Moments::of_table(&arrays.table, &arrays.targets, arrays.weights)?;
            if more.columns() != columns {
                let (what, got) = ("the columns", more.columns());
                return Err(Error::Shape { what, expected: columns, got }.into());
            }
            let mut moments = moments.clone();
            if !remove {
                moments.merge(&more);
                return Ok(moments);
            }
            let had = moments.rows();
            let foreign = |why: String| Failure::usage(why, "take out rows that were added, and no others");
            let count = more.rows();
            moments.subtract(&more).map_err(|_| foreign(format!("{count} rows are to go, and there are {had}")))?;
            if moments.impossible_column().is_some() {
                return Err(foreign("without these rows no values have the sums that are left".to_owned()));
            }
            Ok(moments)
        })?;
        Ok(Self { moments })
    }

    /// The state with the rows of another.
    fn merged(&self, py: Python<'_>, other: &Self) -> PyResult<Self> {
        let (expected, got) = (self.moments.columns(), other.moments.columns());
        if expected != got {
            let error = Error::Shape { what: "the columns", expected, got };
            return Err(exception(py, &error.into()));
        }
        run(py, |_| {
            let mut moments = self.moments.clone();
            moments.merge(&other.moments);
            Ok(Self { moments })
        })
    }

    /// The fit of the rows.
    fn solve(&self, py: Python<'_>, target_names: Vec<String>, asked: ArrayOptions) -> PyResult<ArrayFit> {
        run(py, |_| Wanted::of(asked)?.solve(&self.moments, &target_names))
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let states = vec![(MOMENTS.to_owned(), self.moments.clone())];
        let bytes = States { states, quartic: None, extra: Value::Null }.to_bytes();
        Ok(PyBytes::new(py, &bytes.map_err(|error| exception(py, &error.into()))?))
    }

    #[classmethod]
    fn from_bytes(_class: &Bound<'_, PyType>, py: Python<'_>, bytes: &[u8]) -> PyResult<Self> {
        let broken = || exception(py, &Failure::usage("the bytes are not a state", ""));
        let states = States::from_bytes(bytes).map_err(|error| exception(py, &error.into()))?;
        Ok(Self { moments: states.get(MOMENTS).ok_or_else(broken)?.clone() })
    }
}

/// A fit of arrays.
#[pyclass(frozen, module = "hattention._hattention")]
pub struct ArrayFit {
    model: Model,
}

/// Numbers by target, or by row.
type Rows = Vec<Vec<f64>>;

impl ArrayFit {
    fn columns(&self) -> usize {
        self.model.whitening.design.names.len()
    }

    fn ids(&self) -> Vec<usize> {
        (0..self.columns()).collect()
    }

    /// Reads the rows piece by piece on all threads, and joins what is found of each, in order.
    fn of_pieces<T: Send>(
        arrays: &Arrays<'_>,
        of: impl Fn(Range<usize>, &hattention::Block<'_>) -> Result<T, Error> + Sync,
    ) -> Result<Vec<T>, Error> {
        let pieces = arrays.pieces(PIECE);
        pieces
            .into_par_iter()
            .map_init(Vec::new, |scratch, piece| of(piece.clone(), &arrays.table.block(piece, scratch)?))
            .collect()
    }

    fn checked<'a>(&self, py: Python<'_>, arrays: Result<Arrays<'a>, Error>) -> PyResult<Arrays<'a>> {
        let arrays = arrays.and_then(|arrays| {
            let (expected, got) = (self.columns(), arrays.table.columns());
            if expected == got { Ok(arrays) } else { Err(Error::Shape { what: "the columns", expected, got }) }
        });
        arrays.map_err(|error| exception(py, &error.into()))
    }

    fn keys(&self, block: &hattention::Block<'_>) -> Result<Keys, Error> {
        Keys::of(&self.model.whitening, block, &self.ids())
    }
}

#[pymethods]
impl ArrayFit {
    /// Coefficients by target, the intercept first where there is one; NaN where a column was left out.
    fn estimates<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let of = |fit: &Fit| fit.estimates.iter().map(|b| b.map_or(f64::NAN, |b| b.to_f64())).collect();
        Ok(PyArray2::from_vec2(py, &self.model.fits.iter().map(of).collect::<Rows>())?)
    }

    /// Their standard errors.
    fn std_errors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let of = |fit: &Fit| fit.coefficients(0.95).iter().map(|c| c.std_error.unwrap_or(f64::NAN)).collect();
        Ok(PyArray2::from_vec2(py, &self.model.fits.iter().map(of).collect::<Rows>())?)
    }

    /// What else is told of the fit, as JSON.
    fn json(&self) -> String {
        let Model { whitening, fits, .. } = &self.model;
        let number = hattention_table::regression::render::number;
        let (alpha, components) = match whitening.filter {
            Filter::Ols => (Value::Null, Value::Null),
            Filter::Ridge { alpha, .. } => (number(alpha), Value::Null),
            Filter::Components { count, .. } => (Value::Null, count.into()),
        };
        let of_target = |fit: &Fit| {
            json!({
                "name": fit.target, "sigma": number(fit.sigma()), "df_residual": number(fit.df_residual),
                "r_squared": number(fit.r_squared()), "digits": number(fit.digits()),
                "effective_df": number(fit.effective_df),
            })
        };
        let on = |d: &hattention::error::Dependence| {
            let constant = d.on.iter().all(|on| on == hattention::INTERCEPT);
            json!({"column": d.column, "constant": constant})
        };
        let dependent: Vec<Value> = whitening.dependent.iter().map(on).collect();
        json!({
            "n": whitening.rows, "rank": whitening.rank, "condition": number(whitening.condition),
            "method": whitening.method.name(), "alpha": alpha, "components": components, "dependent": dependent,
            "keys": whitening.keys(), "targets": fits.iter().map(of_target).collect::<Vec<_>>(),
        })
        .to_string()
    }

    /// Predictions. Shape: `[targets, rows]`.
    fn predict<'py>(&self, py: Python<'py>, inputs: Matrix<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let arrays = self.checked(py, Arrays::of(&inputs, None, None))?;
        let (rows, ids) = (arrays.table.rows(), self.ids());
        let brief = rows * self.columns() * self.model.fits.len() < BRIEF;
        let work = move |_: &Listener| {
            let mut numbers = vec![0.0; self.model.fits.len() * rows];
            for (fit, into) in self.model.fits.iter().zip(numbers.chunks_exact_mut(rows.max(1))) {
                predict_table(&self.model.whitening, fit, &arrays.table, &ids, into)?;
            }
            Ok(numbers)
        };
        let numbers = if brief { run_briefly(py, work) } else { run(py, work) }?;
        PyArray1::from_vec(py, numbers).reshape([self.model.fits.len(), rows])
    }

    /// Half the width of intervals about predictions. Shape: `[targets, rows]`.
    fn half_widths<'py>(
        &self,
        py: Python<'py>,
        inputs: Matrix<'py>,
        observation: bool,
        level: f64,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let arrays = self.checked(py, Arrays::of(&inputs, None, None))?;
        let rows = run(py, move |_| {
            hattention_table::regression::predict::check_level(level)?;
            let covariances = self.model.fits.iter().map(|fit| Some((fit, fit.covariance.as_ref()?)));
            let covariances = covariances.collect::<Option<Vec<_>>>().ok_or_else(|| {
                Failure::usage(
                    "ridge and components have no intervals",
                    "fit by least squares, or leave out --interval",
                )
            })?;
            let of_piece = |_: Range<usize>, block: &hattention::Block<'_>| {
                let keys = self.keys(block)?;
                let width = |(fit, covariance): &(&Fit, &hattention::fit::Covariance)| {
                    let quantile = t_quantile(0.5 + level / 2.0, covariance.df);
                    let extra = if observation { fit.variance() } else { 0.0 };
                    let of_row = |row: usize| {
                        let q = keys.row(row);
                        let error = covariance.between(&q, &q).sqrt();
                        quantile * (error * error + extra).sqrt()
                    };
                    (0..keys.rows).map(of_row).collect::<Vec<f64>>()
                };
                Ok(covariances.iter().map(width).collect::<Rows>())
            };
            Ok(joined(Self::of_pieces(&arrays, of_piece)?, self.model.fits.len()))
        })?;
        Ok(PyArray2::from_vec2(py, &rows)?)
    }

    /// Leverages of rows, `‖kᵢ‖²` times their weights.
    #[pyo3(signature = (inputs, weights))]
    fn leverages<'py>(
        &self,
        py: Python<'py>,
        inputs: Matrix<'py>,
        weights: Option<Vector<'py>>,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let arrays = self.checked(py, Arrays::of(&inputs, None, weights.as_ref()))?;
        let ids = self.ids();
        let leverages = run(py, move |_| {
            let mut leverages = vec![0.0; arrays.table.rows()];
            leverages_table(&self.model.whitening, &arrays.table, &ids, arrays.weights, &mut leverages)?;
            Ok(leverages)
        })?;
        Ok(PyArray1::from_vec(py, leverages))
    }

    /// Residuals of rows, from doubled arithmetic. Shape: `[targets, rows]`.
    fn residuals<'py>(
        &self,
        py: Python<'py>,
        inputs: Matrix<'py>,
        targets: Matrix<'py>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let arrays = self.checked(py, Arrays::of(&inputs, Some(&targets), None))?;
        let (Model { whitening, fits, .. }, ids) = (&self.model, self.ids());
        let rows = run(py, move |_| {
            let of_piece = |piece: Range<usize>, block: &hattention::Block<'_>| {
                let mut scratch = Vec::new();
                let mut residuals = Rows::with_capacity(fits.len());
                for (fit, target) in fits.iter().zip(&arrays.targets) {
                    let target = hattention::Column::Dense(target.read(piece.clone(), &mut scratch)?);
                    residuals.push(attention::residuals(whitening, fit, block, &ids, target)?);
                }
                Ok(residuals)
            };
            Ok(joined(Self::of_pieces(&arrays, of_piece)?, fits.len()))
        })?;
        Ok(PyArray2::from_vec2(py, &rows)?)
    }

    /// Keys of rows, `kᵢ = Lᵀ(xᵢ − x̄)`. Shape: `[keys, rows]`.
    fn transform<'py>(&self, py: Python<'py>, inputs: Matrix<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let arrays = self.checked(py, Arrays::of(&inputs, None, None))?;
        let (rows, keys) = (arrays.table.rows(), self.model.whitening.keys());
        let numbers = run(py, move |_| {
            let mut numbers = vec![0.0; keys * rows];
            let pieces = arrays.pieces(PIECE);
            let places = columns_in_pieces(&mut numbers, rows, &pieces);
            let write = |scratch: &mut Vec<f64>, (piece, places): (&Range<usize>, Vec<&mut [f64]>)| {
                let found = self.keys(&arrays.table.block(piece.clone(), scratch)?)?;
                places.into_iter().zip(&found.components[1..]).for_each(|(place, key)| place.copy_from_slice(key));
                Ok::<(), Error>(())
            };
            pieces.par_iter().zip(places).map_init(Vec::new, write).collect::<Result<(), Error>>()?;
            Ok(numbers)
        })?;
        PyArray1::from_vec(py, numbers).reshape([keys, rows])
    }

    /// The training rows behind the predictions of a target, as JSON.
    #[pyo3(signature = (queries, inputs, targets, weights, target, top))]
    #[allow(clippy::too_many_arguments)]
    fn explain<'py>(
        &self,
        py: Python<'py>,
        queries: Matrix<'py>,
        inputs: Matrix<'py>,
        targets: Matrix<'py>,
        weights: Option<Vector<'py>>,
        target: i64,
        top: i64,
    ) -> PyResult<String> {
        let (target, top) = (at_least("target", target, 0)? as usize, at_least("top", top, 0)? as usize);
        let asked = self.checked(py, Arrays::of(&queries, None, None))?;
        let arrays = self.checked(py, Arrays::of(&inputs, Some(&targets), weights.as_ref()))?;
        run(py, move |listener| {
            let (Model { whitening, fits, .. }, ids) = (&self.model, self.ids());
            let (fit, values) = fits
                .get(target)
                .zip(arrays.targets.get(target))
                .ok_or_else(|| Failure::usage(format!("target is {target}, and there are {}", fits.len()), ""))?;
            let mut scratch = (Vec::new(), Vec::new(), Vec::new());
            let block = asked.table.block(0..asked.table.rows(), &mut scratch.0)?;
            let keys = Keys::of(whitening, &block, &ids)?;
            let predictions = attention::predict(whitening, fit, &block, &ids)?;
            let largest = arrays.weights.map_or(1.0, |weights| weights.iter().fold(0.0, f64::max));
            let mut explainer = Explainer::new(&keys, top, largest);
            for piece in arrays.pieces(PIECE) {
                let numbers: Vec<u64> = piece.clone().map(|row| row as u64).collect();
                let weights = match &arrays.weights {
                    Some(weights) => Some(weights.read(piece.clone(), &mut scratch.1)?),
                    None => None,
                };
                let values = values.read(piece.clone(), &mut scratch.2)?;
                let mut rows = Vec::new();
                let keys = Keys::of(whitening, &arrays.table.block(piece, &mut rows)?, &ids)?;
                explainer.push(&keys, values, weights, &numbers);
                listener.go_on()?;
            }
            Ok(explanations(fit, &keys, &predictions, explainer))
        })
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.model.to_bytes().map_err(|error| exception(py, &error.into()))?))
    }

    #[classmethod]
    fn from_bytes(_class: &Bound<'_, PyType>, py: Python<'_>, bytes: &[u8]) -> PyResult<Self> {
        Ok(Self { model: Model::from_bytes(bytes).map_err(|error| exception(py, &error.into()))? })
    }
}

/// The places of the pieces in columns of so many rows, piece by piece.
fn columns_in_pieces<'a>(numbers: &'a mut [f64], rows: usize, pieces: &[Range<usize>]) -> Vec<Vec<&'a mut [f64]>> {
    let mut places: Vec<Vec<&'a mut [f64]>> = pieces.iter().map(|_| Vec::new()).collect();
    for mut column in numbers.chunks_exact_mut(rows.max(1)) {
        for (piece, places) in pieces.iter().zip(&mut places) {
            let (own, rest) = std::mem::take(&mut column).split_at_mut(piece.len());
            places.push(own);
            column = rest;
        }
    }
    places
}

/// What was found of the pieces, joined: `count` lists of one number a row.
fn joined(pieces: Vec<Rows>, count: usize) -> Rows {
    let mut all = vec![Vec::new(); count];
    for piece in pieces {
        all.iter_mut().zip(piece).for_each(|(all, more)| all.extend(more));
    }
    all
}

/// Explanations as JSON; rows are counted from 0, as Python does.
fn explanations(fit: &Fit, keys: &Keys, predictions: &[f64], explainer: Explainer) -> String {
    let number = hattention_table::regression::render::number;
    let of = |(row, e): (usize, hattention::attention::explain::Explanation)| {
        let q = keys.row(row);
        let error = fit.covariance.as_ref().map(|covariance| covariance.between(&q, &q).sqrt());
        let top: Vec<Value> = e
            .top
            .iter()
            .map(|t| json!({"row": t.row, "weight": number(t.weight), "target": number(t.target), "columns": {}}))
            .collect();
        json!({
            "row": row, "prediction": number(predictions[row]), "std_error": error.map_or(Value::Null, number),
            "top": top, "weighted_sum": number(e.prediction), "concentration": number(e.diagnostics.concentration),
            "short_position": number(e.diagnostics.short), "gross_leverage": number(e.diagnostics.gross),
            "leverage_sum": number(e.diagnostics.leverage_sum), "effective_rows": number(e.diagnostics.effective_rows),
            "effective_rows_entropy": number(e.diagnostics.effective_rows_entropy), "query_norm": number(e.query_norm),
            "extrapolates": e.extrapolates,
        })
    };
    Value::from(explainer.finish().into_iter().enumerate().map(of).collect::<Vec<_>>()).to_string()
}

//! States: mergeable sums, for data in pieces.

use hattention::Vcov;
use hattention_table::formula::Formula;
use hattention_table::regression::{Failure, fit, hc};
use hattention_table::state::TableState;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};

use crate::failure::exception;
use crate::model::{Asked, Model, columns_of};
use crate::table::Rows;
use crate::work::run;

/// All that a fit needs to know of its rows.
#[pyclass(frozen, module = "hattention._hattention")]
pub struct State {
    state: TableState,
}

/// The state of rows, for a formula.
#[pyfunction]
pub fn gather_state(
    py: Python<'_>,
    formula: &str,
    data: &Bound<'_, PyAny>,
    name: &str,
    asked: Asked,
) -> PyResult<State> {
    let rows = Rows::of(data, name)?;
    let state = run(py, move |listener| {
        let (formula, options) = (Formula::parse(formula)?, asked.options()?);
        if !formula.effects().is_empty() {
            return Err(Failure::usage(
                "a state of a formula with absorbed effects: states do not hold sums within their levels",
                "fit all the rows in one call, or write the effects as factors, `C(g)`",
            ));
        }
        let source = rows.open_for(&formula)?;
        fit::gather(&formula, &source, &options, listener).map_err(|failure| failure.placed(&source))
    })?;
    Ok(State { state })
}

#[pymethods]
impl State {
    /// The columns that it reads of rows.
    fn columns(&self) -> Vec<String> {
        columns_of(self.state.spec())
    }

    /// Rows with positive weight.
    #[getter]
    fn rows(&self) -> u64 {
        self.state.gathered.moments.rows()
    }

    /// Rows left out for missing values.
    #[getter]
    fn dropped_rows(&self) -> u64 {
        self.state.gathered.dropped
    }

    /// The formula.
    #[getter]
    fn formula(&self) -> &str {
        &self.state.spec().formula
    }

    /// Whether it keeps what robust errors need.
    #[getter]
    fn hc(&self) -> bool {
        self.state.gathered.quartic.is_some()
    }

    /// The state of further rows of the same design.
    fn more(&self, py: Python<'_>, data: &Bound<'_, PyAny>, name: &str, asked: Asked) -> PyResult<Self> {
        let rows = Rows::of(data, name)?;
        let state = run(py, |listener| {
            let mut options = asked.options()?;
            options.hc = self.state.gathered.quartic.is_some();
            let source = rows.open(&self.state.labels(), rayon::current_num_threads())?;
            fit::continuing(&self.state, &source, &options, listener).map_err(|failure| failure.placed(&source))
        })?;
        Ok(Self { state })
    }

    /// The state of both states' rows.
    fn merged(&self, py: Python<'_>, other: &Self) -> PyResult<Self> {
        run(py, |_| {
            let mut state = self.state.clone();
            state.merge(&other.state)?;
            Ok(Self { state })
        })
    }

    /// The state without another state's rows.
    fn without(&self, py: Python<'_>, other: &Self) -> PyResult<Self> {
        run(py, |_| {
            let mut state = self.state.clone();
            state.remove(&other.state)?;
            Ok(Self { state })
        })
    }

    /// The model of the rows.
    fn solve(&self, py: Python<'_>, asked: Asked) -> PyResult<Model> {
        run(py, |listener| {
            let options = asked.options()?;
            let vcov = &options.vcov;
            if hc::from_sums(vcov) && self.state.gathered.quartic.is_none() {
                return Err(Failure::usage(
                    format!("vcov {vcov} of a state that was made without hc=True: the sums it needs are not there"),
                    "make every state with `hc=True`, or leave out vcov",
                ));
            }
            if *vcov != Vcov::Iid && !hc::from_sums(vcov) {
                return Err(Failure::usage(
                    format!("vcov {vcov} reads all rows a second time, and a state's rows are gone"),
                    "use HC0 or HC1 with states made with `hc=True`, or `hattention.fit` of all rows",
                ));
            }
            let trained = fit::finish(&self.state, None, &options, listener)?;
            Ok(Model::of(trained, self.state.formula()?.text().to_owned(), Vec::new()))
        })
    }

    /// The state as the program's files have it.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.state.to_bytes().map_err(|error| exception(py, &error.into()))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// A state of the program's files.
    #[classmethod]
    fn from_bytes(_class: &Bound<'_, PyType>, py: Python<'_>, bytes: &[u8]) -> PyResult<Self> {
        let state = TableState::from_bytes(bytes).map_err(|error| exception(py, &error.into()))?;
        Ok(Self { state })
    }
}

//! The Python package `hattention`: its compiled part.
//!
//! ```text
//! hattention (Python)          _hattention (this crate)            hattention-table, hattention
//! fit, Result, plots      ──▶  Model, State   ◀── table: sources ──▶ regression
//! LeastSquares, …         ──▶  ArrayFit, ArrayState ◀── arrays  ──▶ Moments, Whitening, Fit
//! AttentionRegressor      ──▶  AttentionFit          ◀── arrays  ──▶ AttentionRegression
//! ```
//! Every call that computes lets other threads of Python run, stops on Ctrl-C, and turns failures into the exceptions of
//! `hattention.errors`; panics do not cross.

mod arrays;
mod attention;
mod beside;
mod failure;
mod least_squares;
mod model;
mod state;
mod table;
mod work;

/// The compiled part of `hattention`.
#[pyo3::pymodule]
mod _hattention {
    #[pymodule_export]
    use super::attention::{AttentionFit, fit_attention};
    #[pymodule_export]
    use super::least_squares::{ArrayFit, ArrayState, fit_arrays};
    #[pymodule_export]
    use super::model::{Model, fit_formula, formula_columns};
    #[pymodule_export]
    use super::state::{State, gather_state};
    #[pymodule_export]
    use super::work::{get_threads, set_threads};

    /// The version of the package.
    #[pymodule_init]
    fn init(module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        use pyo3::types::PyModuleMethods;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

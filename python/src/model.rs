//! Fitted formulas.

use hattention::Aliased;
use hattention::codec::Weights;
use hattention::codec::onnx::{self, Precision};
use hattention::fit::Vcov;
use hattention::transformer::{Convention, Layout, Options, Spectrum, Transformer};
use hattention_table::design::{DesignSpec, NaPolicy, Unseen};
use hattention_table::formula::Formula;
use hattention_table::regression::absorb::Absorption;
use hattention_table::regression::drift::{DriftOptions, drift};
use hattention_table::regression::explain::{ExplainOptions, explain};
use hattention_table::regression::fit::{self, FitOptions, SolveOptions, Trained};
use hattention_table::regression::hypothesis::{self, NamedTest};
use hattention_table::regression::predict::{Interval, PredictOptions, Predictor};
use hattention_table::regression::render::{self, Context};
use hattention_table::regression::restriction::Restriction;
use hattention_table::regression::{Amount, Failure, Number, TableModel, hc, rows};
use hattention_table::source::ScanOrder;
use numpy::{PyArray1, PyArray2};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};
use serde_json::{Value, json};

use crate::beside;
use crate::failure::{at_least, exception, in_python, not_in};
use crate::table::Rows;
use crate::work::{Listener, run};

/// A number, or the choice of generalised cross-validation.
#[derive(FromPyObject)]
pub enum NumberOrAuto {
    /// The number.
    Number(f64),
    /// `"auto"`.
    Word(String),
}

/// How a formula is fitted, as Python says it.
#[derive(FromPyObject)]
pub struct Asked {
    #[pyo3(item)]
    weights: Option<String>,
    #[pyo3(item)]
    vcov: String,
    #[pyo3(item)]
    order: Option<String>,
    #[pyo3(item)]
    na: String,
    #[pyo3(item)]
    hc: bool,
    #[pyo3(item)]
    solve: Solving,
    #[pyo3(item)]
    vif: bool,
}

/// What is fitted, as Python says it.
#[derive(FromPyObject)]
pub struct Solving {
    #[pyo3(item)]
    ridge: Option<NumberOrAuto>,
    #[pyo3(item)]
    components: Option<NumberOrAuto>,
    #[pyo3(item)]
    standardize: bool,
    #[pyo3(item)]
    aliased: String,
}

impl Solving {
    /// The same in other words.
    ///
    /// # Errors
    /// By the names of the arguments.
    pub fn options(self) -> Result<SolveOptions, Failure> {
        let (amount, aliased) = (amount(self.ridge, self.components)?, aliased(&self.aliased)?);
        Ok(SolveOptions { amount, standardize: self.standardize, aliased, vif: false })
    }
}

impl Asked {
    /// The same in other words.
    ///
    /// # Errors
    /// By the names of the arguments.
    pub fn options(self) -> Result<FitOptions, Failure> {
        let solve = SolveOptions { vif: self.vif, ..self.solve.options()? };
        let vcov = hc::parse(&self.vcov)?;
        let na = match self.na.as_str() {
            "drop" => NaPolicy::Drop,
            "fail" => NaPolicy::Fail,
            other => return Err(word("na", other, "\"drop\" or \"fail\"")),
        };
        let options = FitOptions { weights: self.weights, vcov, order: self.order, na, hc: self.hc, solve };
        fit::check_order(&options)?;
        Ok(options)
    }
}

/// A word that an argument cannot be.
fn word(name: &str, got: &str, expected: &str) -> Failure {
    Failure::usage(format!("{name} is \"{got}\", expected {expected}"), "")
}

/// What is done about dependent columns, by its name.
fn aliased(text: &str) -> Result<Aliased, Failure> {
    match text {
        "error" => Ok(Aliased::Error),
        "drop" => Ok(Aliased::Drop),
        "min-norm" => Ok(Aliased::MinNorm),
        other => Err(word("aliased", other, "\"error\", \"drop\" or \"min-norm\"")),
    }
}

/// How much to shrink.
fn amount(ridge: Option<NumberOrAuto>, components: Option<NumberOrAuto>) -> Result<Amount, Failure> {
    match (ridge, components) {
        (Some(_), Some(_)) => Err(Failure::usage("ridge and components", "leave out one of the two")),
        (None, None) => Ok(Amount::Ols),
        (Some(NumberOrAuto::Word(text)), None) if text == "auto" => Ok(Amount::Ridge(Number::Auto)),
        (Some(NumberOrAuto::Word(text)), None) => Err(word("ridge", &text, "a number, zero or more, or \"auto\"")),
        (Some(NumberOrAuto::Number(alpha)), None) if alpha >= 0.0 && alpha.is_finite() => {
            Ok(Amount::Ridge(Number::Given(alpha)))
        }
        (Some(NumberOrAuto::Number(alpha)), None) => {
            Err(Failure::usage(format!("ridge is {alpha}, expected a number, zero or more, or \"auto\""), ""))
        }
        (None, Some(NumberOrAuto::Word(text))) if text == "auto" => Ok(Amount::Components(Number::Auto)),
        (None, Some(NumberOrAuto::Word(text))) => Err(word("components", &text, "a whole number or \"auto\"")),
        (None, Some(NumberOrAuto::Number(count))) if count >= 0.0 && count.fract() == 0.0 && count < 1e9 => {
            Ok(Amount::Components(Number::Given(count as usize)))
        }
        (None, Some(NumberOrAuto::Number(count))) => {
            Err(Failure::usage(format!("components is {count}, expected a whole number or \"auto\""), ""))
        }
    }
}

/// A fitted formula: what `hattention.Result` stands on.
#[pyclass(frozen, module = "hattention._hattention")]
pub struct Model {
    model: TableModel,
    formula: String,
    inflation: Option<Vec<Option<f64>>>,
    vcov: Vcov,
    absorption: Option<Absorption>,
    /// Columns that the fit read beside the formula's: rows that miss one of them were left out.
    extras: Vec<String>,
}

impl Model {
    /// A model of what was trained, whose fit read these columns beside the formula's.
    pub fn of(trained: Trained, formula: String, extras: Vec<String>) -> Self {
        let Trained { model, inflation, vcov, absorption } = trained;
        Self { model, formula, inflation, vcov, absorption, extras }
    }

    fn loaded(bytes: &[u8]) -> Result<Self, Failure> {
        let model = TableModel::from_bytes(bytes)?;
        let kind = |fit: &hattention::Fit| fit.covariance.as_ref().map(|covariance| covariance.kind.clone());
        let vcov = model.model.fits.first().and_then(kind).unwrap_or(Vcov::Iid);
        let formula = model.frozen.spec().formula.clone();
        Ok(Self { model, formula, inflation: None, vcov, absorption: None, extras: Vec::new() })
    }

    /// Whether the formula has several targets, of which this may be the model of one.
    fn several(&self) -> bool {
        self.model.model.fits.len() > 1
            || Formula::parse(&self.formula).is_ok_and(|formula| formula.targets().len() > 1)
    }

    fn with_context<T>(&self, level: f64, of: impl FnOnce(&Context<'_>) -> T) -> T {
        let vcov = self.vcov.to_string();
        of(&Context {
            formula: &self.formula,
            dropped_rows: self.model.dropped_rows,
            vcov: &vcov,
            level,
            inflation: self.inflation.as_deref(),
            absorption: self.absorption.as_ref(),
        })
    }

    fn transformer(&self, layout: &str, heads: usize) -> Result<Transformer, Failure> {
        if !self.model.effects.is_empty() {
            self.model.clone().without_effects("a transformer")?;
        }
        let layout = Layout::parse(layout).ok_or_else(|| word("layout", layout, "\"self\", \"cross\" or \"solve\""))?;
        let options = Options { layout, convention: Convention::Gram, spectrum: Spectrum::Scaled };
        let transformer = Transformer::of(&self.model.model.whitening, &self.model.model.fits, &options)?;
        let most = transformer.eigenvectors().max(1);
        transformer.with_heads(heads).map_err(|_| {
            Failure::usage(format!("heads is {heads}, expected 1 to {most}, the number of eigenvectors"), "")
        })
    }
}

/// Fits a formula to rows.
#[pyfunction]
pub fn fit_formula(
    py: Python<'_>,
    formula: &str,
    data: &Bound<'_, PyAny>,
    name: &str,
    asked: Asked,
) -> PyResult<Model> {
    let rows = Rows::of(data, name)?;
    run(py, move |listener| {
        let (formula, options) = (Formula::parse(formula)?, asked.options()?);
        let source = rows.open_for(&formula)?;
        let extras = fit::extras(&options.vcov, options.order.as_deref());
        Ok(Model::of(fit::fit(&formula, &source, &options, listener)?, formula.text().to_owned(), extras))
    })
}

/// The columns that a formula reads; `None` if a `.` stands for what is there.
#[pyfunction]
pub fn formula_columns(py: Python<'_>, formula: &str) -> PyResult<Option<Vec<String>>> {
    Formula::parse(formula).map(|formula| formula.columns()).map_err(|error| exception(py, &error.into()))
}

/// The columns of a design and those beside it.
pub fn columns_of(spec: &DesignSpec) -> Vec<String> {
    spec.columns.iter().map(|(name, _)| name.clone()).chain(spec.weights.clone()).collect()
}

type Columns<'py> = Vec<(String, Bound<'py, PyArray1<f64>>)>;

#[pymethods]
impl Model {
    /// The numbers of the fit, as the program's `--json` has them.
    fn json(&self, level: f64) -> String {
        let Self { model, .. } = self;
        self.with_context(level, |context| render::json(context, &model.model.whitening, &model.model.fits).to_string())
    }

    /// The tables of the fit, as the program prints them.
    fn text(&self, level: f64) -> String {
        let fits = &self.model.model.fits;
        let several = self.several();
        let table = |fit| self.with_context(level, |c| render::table(c, &self.model.model.whitening, fit, several));
        format!("{}\n\n{}", self.formula, fits.iter().map(table).collect::<Vec<_>>().join("\n"))
    }

    /// The formula.
    #[getter]
    fn formula(&self) -> &str {
        &self.formula
    }

    /// The columns that it reads of rows, with targets and weights or without them.
    fn columns(&self, trained: bool) -> Vec<String> {
        let (spec, effects) = (self.model.frozen.spec(), self.model.effects.iter().map(|effect| effect.column.clone()));
        let dot: Vec<&str> = spec.dot.iter().map(String::as_str).collect();
        let terms = if trained { None } else { Formula::parse(&spec.formula).and_then(|f| f.expand(&dot)).ok() };
        let extras = if trained { &self.extras[..] } else { &[] };
        let columns = terms.map_or_else(|| columns_of(spec), |terms| terms.columns()).into_iter();
        columns.chain(effects).chain(extras.iter().cloned()).collect()
    }

    /// Refuses rows that are not those of the fit.
    fn check_rows(&self, py: Python<'_>, data: &Bound<'_, PyAny>, name: &str) -> PyResult<()> {
        let rows = Rows::of(data, name)?;
        run(py, |listener| {
            let source = rows.open(&self.model.labels(), rayon::current_num_threads())?;
            rows::check(&self.model, &source, &self.extras, listener)
        })
    }

    /// The model of one of the targets; `None` if there is no such target.
    fn of_target(&self, target: usize) -> Option<Self> {
        let model = self.model.of_target(target)?;
        let (formula, inflation, vcov) = (self.formula.clone(), self.inflation.clone(), self.vcov.clone());
        Some(Self { model, formula, inflation, vcov, absorption: self.absorption.clone(), extras: self.extras.clone() })
    }

    /// The targets.
    #[getter]
    fn targets(&self) -> Vec<String> {
        self.model.model.fits.iter().map(|fit| fit.target.clone()).collect()
    }

    /// The covariance of a target's coefficients. Shape: `[coefficients, coefficients]`.
    fn covariance<'py>(&self, py: Python<'py>, target: usize) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let fit = self.model.model.fits.get(target);
        let covariance = fit.and_then(|fit| fit.covariance.as_ref()).ok_or_else(|| {
            let message = "ridge and components have no covariance";
            exception(py, &Failure::usage(message, "fit by least squares"))
        })?;
        let count = covariance.loading.len();
        let row = |a: usize| (0..count).map(|b| covariance.at(a, b)).collect::<Vec<f64>>();
        Ok(PyArray2::from_vec2(py, &(0..count).map(row).collect::<Vec<_>>())?)
    }

    /// Predictions of rows, and what goes with them, by name.
    #[pyo3(signature = (data, name, interval, level, unseen, augment))]
    #[allow(clippy::too_many_arguments)]
    fn predict<'py>(
        &self,
        py: Python<'py>,
        data: &Bound<'py, PyAny>,
        name: &str,
        interval: Option<&str>,
        level: f64,
        unseen: &str,
        augment: bool,
    ) -> PyResult<Columns<'py>> {
        let rows = Rows::of(data, name)?;
        let found = run(py, |listener| {
            let interval = match interval {
                None => None,
                Some("confidence") => Some(Interval::Confidence),
                Some("prediction") => Some(Interval::Prediction),
                Some(other) => return Err(word("interval", other, "\"confidence\" or \"prediction\"")),
            };
            let unseen = match unseen {
                "error" => Unseen::Error,
                "null" => Unseen::Null,
                other => return Err(word("unseen", other, "\"error\" or \"null\"")),
            };
            predicted(&self.model, &rows, PredictOptions { interval, level, unseen, augment }, listener)
        })?;
        Ok(found.into_iter().map(|(name, values)| (name, PyArray1::from_vec(py, values))).collect())
    }

    /// The training rows behind predictions: as JSON, as the program prints them, and whether there are more beyond the
    /// limit.
    #[pyo3(signature = (queries, train, top, limit))]
    fn explain(
        &self,
        py: Python<'_>,
        queries: &Bound<'_, PyAny>,
        train: &Bound<'_, PyAny>,
        top: i64,
        limit: Option<i64>,
    ) -> PyResult<(String, String, bool)> {
        let top = at_least("top", top, 0)? as usize;
        let limit = limit.map_or(Ok(usize::MAX), |limit| at_least("limit", limit, 1).map(|limit| limit as usize))?;
        let (queries, train) = (Rows::of(queries, "the queries")?, Rows::of(train, "the training rows")?);
        run(py, |listener| {
            let model = self.model.clone().without_effects("an explanation")?;
            let (labels, threads) = (model.labels(), rayon::current_num_threads());
            let (queries, train) = (queries.open(&labels, threads)?, train.open(&labels, threads)?);
            let explained = explain(&model, &queries, &train, ExplainOptions { top, limit }, listener)?;
            Ok((explained.json().to_string(), explained.text(), explained.more))
        })
    }

    /// The joint test of hypotheses, as JSON.
    fn test(&self, py: Python<'_>, hypotheses: Vec<String>) -> PyResult<String> {
        run(py, |_| Ok(tests_json(&hypothesis::joint(&self.model, &hypotheses)?)))
    }

    /// The joint test of restrictions, as JSON: rows of factors, and right sides.
    fn test_rows(&self, py: Python<'_>, rows: Vec<Vec<f64>>, right: Vec<f64>) -> PyResult<String> {
        let restrictions = rows.into_iter().zip(right).map(|(row, right)| Restriction { row, right });
        let restrictions: Vec<Restriction> = restrictions.collect();
        run(py, |_| Ok(tests_json(&hypothesis::restricted(&self.model, &restrictions)?)))
    }

    /// One F test a term, as JSON.
    fn test_terms(&self, py: Python<'_>) -> PyResult<String> {
        run(py, |_| Ok(tests_json(&hypothesis::terms(&self.model)?)))
    }

    /// The test of a nested model, as JSON.
    fn test_against(&self, py: Python<'_>, other: &Self) -> PyResult<String> {
        run(py, |listener| Ok(tests_json(&hypothesis::against(&self.model, &other.model, listener)?)))
    }

    /// Whether a batch comes from the world of the training rows: as JSON, and as the program prints it.
    #[pyo3(signature = (data, train, level, permutations, seed))]
    fn drift(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        train: Option<&Bound<'_, PyAny>>,
        level: f64,
        permutations: i64,
        seed: i128,
    ) -> PyResult<(String, String)> {
        let permutations = at_least("permutations", permutations, 1)? as usize;
        let seed = u64::try_from(seed).map_err(|_| not_in("seed", &seed.to_string(), "0 to 2**64 - 1"))?;
        let batch = Rows::of(data, "the batch")?;
        let train = train.map(|train| Rows::of(train, "the training rows")).transpose()?;
        run(py, |listener| {
            let model = self.model.clone().without_effects("drift")?;
            let (labels, threads) = (model.labels(), rayon::current_num_threads());
            let batch = batch.open(&labels, threads)?;
            let train = train.map(|train| train.open(&labels, threads)).transpose()?;
            let found = drift(&model, &batch, train.as_ref(), DriftOptions { level, permutations, seed }, listener)?;
            Ok((found.json().to_string(), in_python(&found.text())))
        })
    }

    /// The regression as a graph of ONNX. One input `x`, the design columns without the intercept.
    fn to_onnx<'py>(&self, py: Python<'py>, single: bool) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = run(py, |_| {
            let transformer = self.transformer("cross", 1)?;
            let precision = if single { Precision::F32 } else { Precision::F64 };
            Ok(onnx::to_bytes(&transformer, precision, &[("formula", self.formula.clone())])?)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// The regression as a transformer, as safetensors.
    fn to_safetensors<'py>(&self, py: Python<'py>, layout: &str, heads: i64) -> PyResult<Bound<'py, PyBytes>> {
        let heads = at_least("heads", heads, 1)? as usize;
        let bytes = run(py, |_| {
            let transformer = self.transformer(layout, heads)?;
            let mut model = self.model.clone();
            model.describe()?;
            let extra = json!({"formula": self.formula});
            Ok(Weights { transformer, model: Some(model.model), extra }.to_bytes()?)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// The model as the program's files have it.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.model.clone().to_bytes().map_err(|failure| exception(py, &failure))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// What files do not keep: variance inflation, and what is told of effects that were taken out.
    fn beside(&self) -> String {
        beside::text_of(self.inflation.as_deref(), self.absorption.as_ref())
    }

    /// A model of the program's files, and what they do not keep.
    #[classmethod]
    #[pyo3(signature = (bytes, beside=None))]
    fn from_bytes(_class: &Bound<'_, PyType>, py: Python<'_>, bytes: &[u8], beside: Option<&str>) -> PyResult<Self> {
        let mut model = Self::loaded(bytes).map_err(|failure| exception(py, &failure))?;
        if let Some(beside) = beside {
            let damaged = || exception(py, &Failure::usage("what was kept beside the model cannot be read", ""));
            (model.inflation, model.absorption) = beside::read(beside).ok_or_else(damaged)?;
        }
        Ok(model)
    }
}

fn predicted(
    model: &TableModel,
    rows: &Rows,
    options: PredictOptions,
    listener: &Listener,
) -> Result<Vec<(String, Vec<f64>)>, Failure> {
    let source = rows.open(&model.labels(), rayon::current_num_threads())?;
    let predictor = Predictor::new(model, &source, options)?;
    let mut columns: Vec<(String, Vec<f64>)> = predictor.names().into_iter().map(|name| (name, Vec::new())).collect();
    for batch in source.scan(&predictor.columns(), ScanOrder::File)? {
        let batch = batch?;
        let values =
            predictor.predict(&batch.batch, batch.first_row.unwrap_or(0)).map_err(|failure| failure.placed(&source))?;
        for ((_, column), values) in columns.iter_mut().zip(values) {
            column.extend(values.into_iter().map(|value| value.unwrap_or(f64::NAN)));
        }
        listener.go_on()?;
    }
    Ok(columns)
}

fn tests_json(tests: &[NamedTest]) -> String {
    let one = |test: &NamedTest| {
        let mut object = render::f_test(&test.test);
        object["name"] = json!(test.name);
        object
    };
    Value::from(tests.iter().map(one).collect::<Vec<_>>()).to_string()
}

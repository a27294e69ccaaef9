//! A formula and its rows to a model.

use std::ops::Range;

use hattention::codec::Model;
use hattention::fit::{Fit, Vcov};
use hattention::selection;
use hattention::{Aliased, Design as Columns, Filter, Moments, Orthogonal, RankTolerance, Whitening, WhiteningOptions};
use serde_json::Value;

use super::absorb::{self, Absorption};
use super::amount::{Amount, Number};
use super::failure::Failure;
use super::hc;
use super::model::TableModel;
use super::pass;
use super::watch::Watch;
use crate::design::{
    Coding, DEFAULT_COLUMN_LIMIT, Design, DesignOptions, Frozen, FrozenOptions, NaPolicy, PolynomialGroup, Unseen,
};
use crate::error::TableError;
use crate::formula::Formula;
use crate::source::{Source, SourceError};
use crate::state::TableState;

/// What is fitted of a state.
#[derive(Clone, Debug, PartialEq)]
pub struct SolveOptions {
    /// How much to shrink.
    pub amount: Amount,
    /// Whether shrinking acts on columns divided by their standard deviation.
    pub standardize: bool,
    /// What is done about columns that depend on earlier ones.
    pub aliased: Aliased,
    /// Whether variance inflation factors are wanted.
    pub vif: bool,
}

impl SolveOptions {
    /// How columns are factored.
    pub fn whitening(&self) -> WhiteningOptions {
        let (aliased, rank_tolerance) = (self.aliased, RankTolerance::Rounding);
        WhiteningOptions { aliased, rank_tolerance, ..WhiteningOptions::default() }
    }

    /// The filter on the spectrum of a state's columns; `targets` are those of the state.
    ///
    /// # Errors
    /// If cross-validation is to choose for several targets, and its own.
    pub fn filter(
        &self,
        moments: &Moments,
        unweighted: Option<&Moments>,
        columns: &Columns,
        targets: Range<usize>,
    ) -> Result<Filter, Failure> {
        let Self { amount, standardize, .. } = *self;
        if targets.len() > 1 && matches!(amount, Amount::Ridge(Number::Auto) | Amount::Components(Number::Auto)) {
            return Err(Failure::usage(
                "`auto` chooses for one target, and there are several",
                "fit the targets one by one",
            ));
        }
        Ok(match amount {
            Amount::Ols => Filter::Ols,
            Amount::Ridge(Number::Given(alpha)) => Filter::Ridge { alpha, standardize },
            Amount::Components(Number::Given(count)) => Filter::Components { count, standardize },
            Amount::Ridge(Number::Auto) => {
                let alpha = selection::ridge(moments, columns, unweighted, targets.start, standardize)?.value;
                Filter::Ridge { alpha, standardize }
            }
            Amount::Components(Number::Auto) => {
                let count = selection::components(moments, columns, unweighted, targets.start, standardize)?.value;
                Filter::Components { count, standardize }
            }
        })
    }
}

impl Default for SolveOptions {
    fn default() -> Self {
        Self { amount: Amount::Ols, standardize: false, aliased: Aliased::Error, vif: false }
    }
}

/// How a formula is fitted to rows.
#[derive(Clone, Debug)]
pub struct FitOptions {
    /// The column of observation weights, as R's.
    pub weights: Option<String>,
    /// The covariance of the coefficients.
    pub vcov: Vcov,
    /// The column that orders the rows, for HAC.
    pub order: Option<String>,
    /// What is done about rows with missing values.
    pub na: NaPolicy,
    /// Whether the state keeps what HC0 and HC1 need.
    pub hc: bool,
    /// What is fitted.
    pub solve: SolveOptions,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            weights: None,
            vcov: Vcov::Iid,
            order: None,
            na: NaPolicy::Drop,
            hc: false,
            solve: SolveOptions::default(),
        }
    }
}

/// A model and what is shown beside it.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The model.
    pub model: TableModel,
    /// Variance inflation of every coefficient, if asked for.
    pub inflation: Option<Vec<Option<f64>>>,
    /// The covariance of its coefficients.
    pub vcov: Vcov,
    /// The effects that were taken out, if any were.
    pub absorption: Option<Absorption>,
}

/// Fits a formula to the rows of a source: one pass, and a second one for covariances that need residuals.
///
/// # Equals
/// `lm` in R and `smf.ols` in statsmodels; with effects behind `|`, `feols` of fixest.
///
/// # Errors
/// Those of the options, of reading, and of the fit.
pub fn fit(formula: &Formula, source: &Source, options: &FitOptions, watch: &dyn Watch) -> Result<Trained, Failure> {
    check_order(options)?;
    let fitted = if formula.effects().is_empty() {
        let state = gather(formula, source, options, watch);
        state.and_then(|state| finish(&state, Some(source), options, watch))
    } else {
        absorb::train(formula, source, options, watch)
    };
    fitted.map_err(|failure| failure.placed(source))
}

/// Refuses an order that nothing asks for.
///
/// # Errors
/// If there is one, without HAC.
pub fn check_order(options: &FitOptions) -> Result<(), Failure> {
    if options.order.is_none() || matches!(options.vcov, Vcov::Hac { .. }) {
        return Ok(());
    }
    let message = format!("--order orders the rows for HAC, and --vcov is {}", options.vcov);
    Err(Failure::usage(message, "leave it out, or use --vcov HAC:lag"))
}

/// The state of a source's rows.
///
/// # Errors
/// Those of the formula over the source's columns, and of reading.
pub fn gather(
    formula: &Formula,
    source: &Source,
    options: &FitOptions,
    watch: &dyn Watch,
) -> Result<TableState, Failure> {
    let design = compile(formula, source, &design_options(options), watch)?;
    read(&design, source, options, watch)
}

/// What the design of a fit reads beside the formula's columns.
pub fn design_options(options: &FitOptions) -> DesignOptions {
    let extras = extras(&options.vcov, options.order.as_deref());
    DesignOptions { weights: options.weights.clone(), extras, ..DesignOptions::default() }
}

/// The state of rows that belong to the design of another state.
///
/// # Errors
/// If the source has other columns, and those of reading.
pub fn continuing(
    state: &TableState,
    source: &Source,
    options: &FitOptions,
    watch: &dyn Watch,
) -> Result<TableState, Failure> {
    read(&design_of(state, options.weights.as_ref(), source)?, source, options, watch)
}

/// The design of a state over the columns of a source.
///
/// # Errors
/// If the source has other columns, or other weights are asked for.
pub fn design_of(state: &TableState, weights: Option<&String>, source: &Source) -> Result<Design, Failure> {
    if let Some(weights) = weights.filter(|weights| state.spec().weights.as_ref() != Some(weights)) {
        let theirs = state.spec().weights.as_ref().map_or("no weights".to_owned(), |name| format!("`{name}`"));
        return Err(Failure::usage(
            format!("--weights {weights} differs from the state, which has {theirs}"),
            "leave out --weights: the state says which column they are",
        ));
    }
    let design = Design::of_spec(state.spec(), &source.schema(), DEFAULT_COLUMN_LIMIT)
        .map_err(|error| explain_text(source, error))?;
    refuse_mistyped(source, &design)?;
    Ok(design)
}

/// One pass over a source.
///
/// # Errors
/// Those of reading.
pub fn read(design: &Design, source: &Source, options: &FitOptions, watch: &dyn Watch) -> Result<TableState, Failure> {
    let pass = watch.pass("reading", source.bytes_total());
    let gathered = pass::moments(source, design, options.na, options.hc, &*pass)?;
    Ok(TableState::new(&design.layout(), gathered)?)
}

/// The model of a state, with covariances that need the rows once more if they are asked for and the rows are there.
///
/// # Errors
/// If there is nothing to fit, or no answer.
pub fn finish(
    state: &TableState,
    source: Option<&Source>,
    options: &FitOptions,
    watch: &dyn Watch,
) -> Result<Trained, Failure> {
    let vcov = &options.vcov;
    let from_sums = hc::from_sums(vcov) && state.gathered.quartic.is_some();
    let trained = solve(&options.solve, state, if from_sums { vcov } else { &Vcov::Iid }, watch)?;
    match source {
        Some(source) if *vcov != Vcov::Iid && !from_sums => robust(trained, source, options, watch),
        _ => Ok(trained),
    }
}

/// Opens the sources of a fit by `open`, which is given the columns of CSV files that are labels whatever they look like. A
/// column that the formula makes a factor or an effect, and those of `by`, may be numbers in one CSV file and labels in
/// another: then it is labels in all.
///
/// # Errors
/// Those of `open` and of the formula.
pub fn open_for(
    formula: &Formula,
    by: &[String],
    mut open: impl FnMut(&[String]) -> Result<Source, TableError>,
) -> Result<Source, Failure> {
    let terms = formula.expand(&[])?;
    let effects = formula.effects().iter().map(String::as_str);
    let factors = terms.variables.iter().filter_map(|variable| variable.factor_column());
    let factors: Vec<&str> = factors.chain(effects).chain(by.iter().map(String::as_str)).collect();
    let mut labels = Vec::new();
    loop {
        match open(&labels) {
            Err(TableError::Source(
                SourceError::TextAmongNumbers { column, .. } | SourceError::TypesDiffer { column, .. },
            )) if factors.contains(&column.as_str()) && !labels.contains(&column) => labels.push(column),
            result => return Ok(result?),
        }
    }
}

/// The design of a formula over a source.
///
/// # Errors
/// Those of [`Design::compile`], and columns of numbers with text among them.
pub fn compile(
    formula: &Formula,
    source: &Source,
    options: &DesignOptions,
    watch: &dyn Watch,
) -> Result<Design, Failure> {
    let design = Design::compile(formula, &source.schema(), options).map_err(|error| explain_text(source, error))?;
    refuse_mistyped(source, &design)?;
    design.terms().notes.iter().for_each(|note| watch.note(note));
    Ok(design)
}

/// Refuses a fit of no rows, and says why there are none.
///
/// # Errors
/// If there are none.
pub fn check_rows(weighted: bool, rows: u64, dropped: u64) -> Result<(), Failure> {
    if rows > 0 {
        return Ok(());
    }
    let why = if dropped > 0 { format!(": all {dropped} have missing values") } else { String::new() };
    let message = match weighted {
        true if dropped == 0 => "no rows with positive weight".to_owned(),
        _ => format!("no rows left to fit{why}"),
    };
    Err(Failure::no_answer(message, "check the source, its missing values and its weights"))
}

/// Reads a state: the model of its rows, with errors by a covariance that its sums give.
///
/// # Errors
/// If there is nothing to fit, or no answer.
pub fn solve(options: &SolveOptions, state: &TableState, vcov: &Vcov, watch: &dyn Watch) -> Result<Trained, Failure> {
    let gathered = &state.gathered;
    check_rows(state.spec().weights.is_some(), gathered.moments.rows(), gathered.dropped)?;
    let frozen = Frozen::new(&state.layout)?;
    let targets = &state.targets;
    let state_columns = columns(&state.layout.coding()?, targets.len());
    let (moments, unweighted) = (&gathered.moments, gathered.unweighted.as_ref());
    let filter = options.filter(moments, unweighted, &state_columns, 0..targets.len())?;
    let mut whitening = Whitening::of(moments, &state_columns, filter, options.whitening(), unweighted)?;
    let mut fits = targets
        .iter()
        .enumerate()
        .map(|(t, name)| Fit::of(&gathered.moments, &whitening, t, name))
        .collect::<Result<Vec<Fit>, _>>()?;
    if hc::from_sums(vcov) {
        let quartic = gathered.quartic.as_ref().ok_or_else(|| hc::lacking("a state", vcov))?;
        hc::cover(quartic, &whitening, &mut fits, vcov, watch)?;
    }
    let inflation = if options.vif { Some(inflation(&gathered.moments, &whitening)?) } else { None };
    // From here on rows come through the frozen design, which numbers columns by coefficient.
    whitening.design = columns(frozen.coding(), 0);
    let model = TableModel {
        model: Model { whitening, fits, extra: Value::Null },
        frozen,
        dropped_rows: gathered.dropped,
        largest_weight: gathered.largest_weight,
        effects: Vec::new(),
    };
    Ok(Trained { model, inflation, vcov: vcov.clone(), absorption: None })
}

/// The model with covariances that need the residuals: a second pass.
fn robust(mut trained: Trained, source: &Source, asked: &FitOptions, watch: &dyn Watch) -> Result<Trained, Failure> {
    let (vcov, order) = (&asked.vcov, asked.order.as_deref());
    let Model { whitening, fits, .. } = &mut trained.model.model;
    hc::check_filter(whitening.filter, vcov)?;
    hc::note_digits(whitening, vcov, watch);
    watch.second_pass(&format!("{vcov} needs every residual: the rows are read a second time"));
    let options = FrozenOptions {
        targets: true,
        weights: asked.weights.is_some(),
        extras: extras(vcov, order),
        unseen: Unseen::Error,
        na: asked.na,
    };
    let encoder = trained.model.frozen.encoder(&source.schema(), &options)?;
    let pass = watch.pass("second pass", source.bytes_total());
    let (covariances, alone) = pass::covariances(source, &encoder, whitening, fits, vcov, order, &*pass)?;
    hc::note_alone(alone, vcov, watch);
    for (fit, covariance) in fits.iter_mut().zip(covariances) {
        fit.covariance = Some(covariance);
    }
    Ok(Trained { vcov: vcov.clone(), ..trained })
}

/// Variance inflation of every reported coefficient; none of the intercept.
fn inflation(moments: &Moments, whitening: &Whitening) -> Result<Vec<Option<f64>>, Failure> {
    if whitening.filter != Filter::Ols {
        let message = "--vif with --ridge or --components: variance inflation is of least squares";
        return Err(Failure::usage(message, "leave out --vif"));
    }
    let factors = hattention::fit::variance_inflation(moments, whitening)?;
    Ok(whitening.design.intercept.then_some(None).into_iter().chain(factors).collect())
}

/// A column that is text by its type may be numbers with a typing error: then that is what to say. (Written as `C(x)` it
/// is a factor on purpose.)
pub fn explain_text(source: &Source, error: TableError) -> Failure {
    if let TableError::ColumnType { column, .. } = &error
        && let Some(better) = source.text_among_numbers(column)
    {
        return better.into();
    }
    error.into()
}

/// Refuses bare columns of numbers with some text among them, which would silently become factors.
fn refuse_mistyped(source: &Source, design: &Design) -> Result<(), Failure> {
    for (name, _) in &design.spec().columns {
        let bare = design.terms().variables.iter().any(|variable| variable.label().trim_matches('`') == name);
        if let Some(error) = source.text_among_numbers(name).filter(|_| bare) {
            return Err(error.into());
        }
    }
    Ok(())
}

/// Columns that are read beside the formula's.
pub fn extras(vcov: &Vcov, order: Option<&str>) -> Vec<String> {
    match vcov {
        Vcov::Cluster { columns } => columns.clone(),
        Vcov::Hac { .. } => order.map(str::to_owned).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// The coded design as columns of the state, behind the targets.
pub fn columns(coding: &Coding, targets: usize) -> Columns {
    let state: Vec<Option<usize>> =
        coding.columns.iter().chain(&coding.auxiliary).map(|column| column.state_column.map(|c| c + targets)).collect();
    let orthogonal = |group: &PolynomialGroup| -> Option<Orthogonal> {
        let powers = |of: &Vec<usize>| of.iter().map(|&column| state[column]).collect::<Option<Vec<usize>>>();
        // A product is the constant, or a column that must be there.
        let product = |column: &Option<usize>| match column {
            None => Some(None),
            Some(column) => state[*column].map(Some),
        };
        Some(Orthogonal {
            powers: group.powers.iter().map(powers).collect::<Option<_>>()?,
            positions: group.positions.clone(),
            products: group.products.iter().map(product).collect::<Option<_>>()?,
        })
    };
    Columns {
        names: coding.columns.iter().map(|column| column.name.clone()).collect(),
        columns: state[..coding.columns.len()].to_vec(),
        intercept: coding.intercept,
        // (A group is listed only if all its columns were observed.)
        orthogonal: coding.poly_groups.iter().filter_map(orthogonal).collect(),
    }
}

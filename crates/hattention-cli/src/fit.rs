//! `hat fit`.

use hattention::codec::Model;
use hattention::fit::{Fit, Vcov};
use hattention::selection;
use hattention::{Aliased, Design as Columns, Filter, Orthogonal, RankTolerance, Whitening, WhiteningOptions};
use hattention_table::design::{
    Coding, DEFAULT_COLUMN_LIMIT, Design, DesignOptions, Frozen, FrozenOptions, NaPolicy, PolynomialGroup, Unseen,
};
use hattention_table::error::TableError;
use hattention_table::formula::Formula;
use hattention_table::source::{Source, SourceError, SourceOptions};
use hattention_table::state::{Gathered, TableState};
use serde_json::Value;

use crate::absorb::{self, Absorption};
use crate::amount::{Amount, Number};
use crate::args::{AliasedArg, FitArgs, Na, ReadOutArgs, SourceArgs};
use crate::asked::Asked;
use crate::by;
use crate::cluster;
use crate::failure::{Failure, counted};
use crate::hc;
use crate::model::TableModel;
use crate::output;
use crate::pass;
use crate::progress::Progress;
use crate::read_out;
use crate::state_file;

/// Runs the command.
pub fn run(args: &FitArgs, quiet: bool) -> Result<(), Failure> {
    if !args.by.is_empty() {
        return by::run(args, quiet);
    }
    read_out::check(&args.read)?;
    let asked = Asked::of(args)?;
    for path in [&args.read.output, &args.read.state_out].into_iter().flatten() {
        output::check_apart(path, &asked.sources)?;
    }
    if let Some(formula) = asked.with_effects() {
        return read_out::publish(&args.read, formula, absorbed(args, formula, &asked, quiet)?);
    }
    let (state, source) = gathered(args, &asked, quiet)?;
    let trained = |state: &TableState| trained(args, asked, state, source, quiet);
    read_out::finish(&args.read, &state, trained)
}

/// The model of a formula and its data.
///
/// # Errors
/// Those of `hat fit`.
pub fn model(args: &FitArgs, quiet: bool) -> Result<TableModel, Failure> {
    let asked = Asked::of(args)?;
    if let Some(formula) = asked.with_effects() {
        return Ok(absorbed(args, formula, &asked, quiet)?.model);
    }
    let (state, source) = gathered(args, &asked, quiet)?;
    Ok(trained(args, asked, &state, source, quiet)?.model)
}

/// The model of a formula with effects that are absorbed.
fn absorbed(args: &FitArgs, formula: &Formula, asked: &Asked, quiet: bool) -> Result<Trained, Failure> {
    let rows = Rows { sources: &asked.sources, sql: args.sql.as_deref(), batch_rows: args.batch_rows };
    let source = rows.open_for(formula)?;
    absorb::train(args, formula, &source, asked.vcov.clone(), quiet).map_err(|failure| failure.placed(&source))
}

/// The state that is asked for; and its source, if one pass over it made the state.
fn gathered(args: &FitArgs, asked: &Asked, quiet: bool) -> Result<(TableState, Option<Source>), Failure> {
    let earlier = args.from.as_deref().map(state_file::load).transpose()?;
    let rows = Rows { sources: &asked.sources, sql: args.sql.as_deref(), batch_rows: args.batch_rows };
    let with_hc = asked.with_hc(args, earlier.as_ref())?;
    let (mut state, source) = match (&earlier, &asked.formula) {
        (_, Some(formula)) => {
            let source = rows.open_for(formula)?;
            let state = gather(args, formula, &source, &asked.vcov, with_hc, quiet).map_err(|f| f.placed(&source))?;
            (state, Some(source))
        }
        (Some(state), None) if asked.sources.is_empty() => (state.clone(), None),
        (Some(state), None) => (rows.continuing(state, args, with_hc, quiet)?, None),
        (None, None) => return Err(Failure::usage("no formula", "name a formula, as `y ~ x`")),
    };
    if let Some(earlier) = earlier.filter(|_| !asked.sources.is_empty()) {
        state.merge(&earlier)?;
    }
    for source in &args.remove {
        let sources = [source.clone()];
        let rows = Rows { sources: &sources, sql: None, batch_rows: args.batch_rows };
        let gone = rows.continuing(&state, args, with_hc, quiet)?;
        state.remove(&gone).map_err(|error| Failure::from(error).about(source))?;
        eprintln!(
            "note: {} of {source} taken out, exactly: if all of them were in the state, it now is, in bits, one that never \
             saw them (the sums that are left are checked: rows can have them)",
            counted(gone.gathered.moments.rows(), "row"),
        );
    }
    Ok((state, source))
}

/// The model of a state, with covariances that need the rows once more if they are asked for.
fn trained(
    args: &FitArgs,
    asked: Asked,
    state: &TableState,
    source: Option<Source>,
    quiet: bool,
) -> Result<Trained, Failure> {
    let from_sums = hc::from_sums(&asked.vcov) && state.gathered.quartic.is_some();
    let trained = solve(&args.read, &asked.amount, state, if from_sums { &asked.vcov } else { &Vcov::Iid })?;
    match source {
        Some(source) if asked.vcov != Vcov::Iid && !from_sums => {
            robust(args, trained, &source, asked.vcov, quiet).map_err(|f| f.placed(&source))
        }
        _ => Ok(trained),
    }
}

/// Where rows come from.
struct Rows<'a> {
    sources: &'a [String],
    sql: Option<&'a str>,
    batch_rows: Option<usize>,
}

impl Rows<'_> {
    fn args(&self) -> SourceArgs {
        SourceArgs { sources: self.sources.to_vec(), sql: self.sql.map(str::to_owned), batch_rows: self.batch_rows }
    }

    fn open_for(&self, formula: &Formula) -> Result<Source, Failure> {
        open_for(&self.args(), formula)
    }

    /// The state of rows that belong to the design of another state.
    fn continuing(&self, state: &TableState, args: &FitArgs, hc: bool, quiet: bool) -> Result<TableState, Failure> {
        if let Some(weights) = args.weights.as_ref().filter(|weights| state.spec().weights.as_ref() != Some(weights)) {
            let theirs = state.spec().weights.as_ref().map_or("no weights".to_owned(), |name| format!("`{name}`"));
            return Err(Failure::usage(
                format!("--weights {weights} differs from the state, which has {theirs}"),
                "leave out --weights: the state says which column they are",
            ));
        }
        let source = open(&self.args(), &state.labels())?;
        let design = Design::of_spec(state.spec(), &source.schema(), DEFAULT_COLUMN_LIMIT)
            .map_err(|e| explain_text(&source, e))?;
        refuse_mistyped(&source, &design)?;
        read(args, &design, &source, hc, quiet).map_err(|failure| failure.placed(&source))
    }
}

/// Opens the sources of a fit. A column that the formula makes a factor or an effect may be numbers in one CSV file and
/// labels in another: then it is labels in all.
///
/// # Errors
/// Those of [`Source::open`].
pub fn open_for(args: &SourceArgs, formula: &Formula) -> Result<Source, Failure> {
    open_by(args, formula, &[])
}

/// As [`open_for`], where further columns may be labels too.
///
/// # Errors
/// Those of [`Source::open`].
pub fn open_by(args: &SourceArgs, formula: &Formula, by: &[String]) -> Result<Source, Failure> {
    let terms = formula.expand(&[])?;
    let effects = formula.effects().iter().map(String::as_str);
    let factors = terms.variables.iter().filter_map(|variable| variable.factor_column());
    let factors: Vec<&str> = factors.chain(effects).chain(by.iter().map(String::as_str)).collect();
    let mut labels = Vec::new();
    loop {
        match open(args, &labels) {
            Err(TableError::Source(
                SourceError::TextAmongNumbers { column, .. } | SourceError::TypesDiffer { column, .. },
            )) if factors.contains(&column.as_str()) && !labels.contains(&column) && !reads_stdin(args) => {
                labels.push(column);
            }
            result => return Ok(result?),
        }
    }
}

fn reads_stdin(args: &SourceArgs) -> bool {
    args.sources.iter().any(|source| source == "-")
}

/// Opens the sources of a command; `labels` are columns of CSV files that are text whatever they look like.
///
/// # Errors
/// Those of [`Source::open`].
pub fn open(args: &SourceArgs, labels: &[String]) -> Result<Source, TableError> {
    let mut options = SourceOptions { sql: args.sql.clone(), csv_text: labels.to_vec(), ..SourceOptions::default() };
    options.partitions = rayon::current_num_threads();
    if let Some(rows) = args.batch_rows {
        options.batch_rows = rows;
    }
    Source::open(&args.sources, &options)
}

/// A model and what is printed beside it.
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

/// The design of a formula over a source.
///
/// # Errors
/// Those of [`Design::compile`], and columns of numbers with text among them.
pub fn compile(formula: &Formula, source: &Source, options: &DesignOptions) -> Result<Design, Failure> {
    let design = Design::compile(formula, &source.schema(), options).map_err(|e| explain_text(source, e))?;
    refuse_mistyped(source, &design)?;
    design.terms().notes.iter().for_each(|note| eprintln!("note: {note}"));
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

/// The state of a source's rows.
fn gather(
    args: &FitArgs,
    formula: &Formula,
    source: &Source,
    vcov: &Vcov,
    hc: bool,
    quiet: bool,
) -> Result<TableState, Failure> {
    let extras = extras(vcov, args.order.as_deref());
    let options = DesignOptions { weights: args.weights.clone(), extras, ..DesignOptions::default() };
    read(args, &compile(formula, source, &options)?, source, hc, quiet)
}

/// One pass over a source.
fn read(args: &FitArgs, design: &Design, source: &Source, hc: bool, quiet: bool) -> Result<TableState, Failure> {
    let na = if args.na == Na::Fail { NaPolicy::Fail } else { NaPolicy::Drop };
    if let Some(state) = cluster::state_of(args, source, design, na, hc, quiet)? {
        return Ok(state);
    }
    let progress = Progress::new(source.bytes_total(), "reading", quiet);
    let gathered = pass::moments(source, design, na, hc, &progress)?;
    Ok(TableState::new(&design.layout(), gathered)?)
}

/// Reads a state: the model of its rows, with errors by a covariance that its sums give.
///
/// # Errors
/// If there is nothing to fit, or no answer.
pub fn solve(args: &ReadOutArgs, amount: &Amount, state: &TableState, vcov: &Vcov) -> Result<Trained, Failure> {
    let gathered = &state.gathered;
    check_rows(state.spec().weights.is_some(), gathered.moments.rows(), gathered.dropped)?;
    let frozen = Frozen::new(&state.layout)?;
    let targets = &state.targets;
    let state_columns = columns(&state.layout.coding()?, targets.len());
    let filter = filter(args, amount, gathered, &state_columns, targets.len())?;
    let aliased = match args.aliased {
        AliasedArg::Error => Aliased::Error,
        AliasedArg::Drop => Aliased::Drop,
        AliasedArg::MinNorm => Aliased::MinNorm,
    };
    let options = WhiteningOptions { aliased, rank_tolerance: RankTolerance::Rounding, ..WhiteningOptions::default() };
    let mut whitening =
        Whitening::of(&gathered.moments, &state_columns, filter, options, gathered.unweighted.as_ref())?;
    let mut fits = targets
        .iter()
        .enumerate()
        .map(|(t, name)| Fit::of(&gathered.moments, &whitening, t, name))
        .collect::<Result<Vec<Fit>, _>>()?;
    if hc::from_sums(vcov) {
        let quartic = gathered.quartic.as_ref().ok_or_else(|| hc::lacking("a state", vcov))?;
        hc::cover(quartic, &whitening, &mut fits, vcov)?;
    }
    let inflation = if args.vif { Some(inflation(&gathered.moments, &whitening)?) } else { None };
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
fn robust(args: &FitArgs, mut trained: Trained, source: &Source, vcov: Vcov, quiet: bool) -> Result<Trained, Failure> {
    let Model { whitening, fits, .. } = &mut trained.model.model;
    hc::check_filter(whitening.filter, &vcov)?;
    if !quiet {
        eprintln!("note: {vcov} needs every residual: the rows are read a second time");
    }
    let options = FrozenOptions {
        targets: true,
        weights: args.weights.is_some(),
        extras: extras(&vcov, args.order.as_deref()),
        unseen: Unseen::Error,
        na: if args.na == Na::Fail { NaPolicy::Fail } else { NaPolicy::Drop },
    };
    let encoder = trained.model.frozen.encoder(&source.schema(), &options)?;
    let progress = Progress::new(source.bytes_total(), "second pass", quiet);
    let order = args.order.as_deref();
    let covariances = pass::covariances(source, &encoder, whitening, fits, &vcov, order, &progress)?;
    for (fit, covariance) in fits.iter_mut().zip(covariances) {
        fit.covariance = Some(covariance);
    }
    Ok(Trained { vcov, ..trained })
}

/// Variance inflation of every reported coefficient; none of the intercept.
fn inflation(moments: &hattention::Moments, whitening: &Whitening) -> Result<Vec<Option<f64>>, Failure> {
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

fn filter(
    args: &ReadOutArgs,
    amount: &Amount,
    gathered: &Gathered,
    columns: &Columns,
    targets: usize,
) -> Result<Filter, Failure> {
    let (standardize, unweighted) = (args.standardize, gathered.unweighted.as_ref());
    if targets > 1 && matches!(amount, Amount::Ridge(Number::Auto) | Amount::Components(Number::Auto)) {
        return Err(Failure::usage(
            "`auto` chooses for one target, and the formula has several",
            "fit the targets one by one",
        ));
    }
    Ok(match amount {
        Amount::Ols => Filter::Ols,
        Amount::Ridge(Number::Given(alpha)) => Filter::Ridge { alpha: *alpha, standardize },
        Amount::Ridge(Number::Auto) => {
            let choice = selection::ridge(&gathered.moments, columns, unweighted, 0, standardize)?;
            Filter::Ridge { alpha: choice.value, standardize }
        }
        Amount::Components(Number::Given(count)) => Filter::Components { count: *count, standardize },
        Amount::Components(Number::Auto) => Filter::Components {
            count: selection::components(&gathered.moments, columns, unweighted, 0, standardize)?.value,
            standardize,
        },
    })
}

//! `hat fit`.

use hattention::codec::Model;
use hattention::fit::{Fit, Vcov};
use hattention::selection;
use hattention::{Aliased, Design as Columns, Filter, Orthogonal, RankTolerance, Whitening, WhiteningOptions};
use hattention_table::design::{
    Coding, Design, DesignOptions, Frozen, FrozenOptions, NaPolicy, PolynomialGroup, Unseen,
};
use hattention_table::error::TableError;
use hattention_table::formula::Formula;
use hattention_table::source::{Source, SourceError, SourceOptions};
use serde_json::Value;

use crate::absorb::{self, Absorption};
use crate::args::{AliasedArg, FitArgs, Na, SourceArgs};
use crate::failure::Failure;
use crate::model::TableModel;
use crate::output;
use crate::pass::{self, Gathered};
use crate::progress::Progress;
use crate::render::{self, Context};

/// Runs the command.
pub fn run(args: &FitArgs, quiet: bool) -> Result<(), Failure> {
    let formula = Formula::parse(&args.formula)?;
    if !(args.level > 0.0 && args.level < 1.0) {
        return Err(Failure::usage(format!("--level is {}, expected a number between 0 and 1", args.level), ""));
    }
    let Trained { mut model, inflation, vcov, absorption } = fit(args, &formula, quiet)?;
    if let Some(path) = &args.output {
        model.save(path)?;
    }
    let formula_text = formula.text().to_owned();
    let name = vcov.to_string();
    let context = Context {
        formula: &formula_text,
        dropped_rows: model.dropped_rows,
        vcov: &name,
        level: args.level,
        inflation: inflation.as_deref(),
        absorption: absorption.as_ref(),
    };
    let text = if args.json {
        format!("{:#}\n", render::json(&context, &model.model.whitening, &model.model.fits))
    } else {
        let several = model.model.fits.len() > 1;
        let tables = model.model.fits.iter().map(|fit| render::table(&context, &model.model.whitening, fit, several));
        format!("{formula_text}\n\n{}", tables.collect::<Vec<_>>().join("\n"))
    };
    output::print(&text)
}

/// The model of a formula and its data.
///
/// # Errors
/// Those of `hat fit`.
pub fn model(args: &FitArgs, quiet: bool) -> Result<TableModel, Failure> {
    Ok(fit(args, &Formula::parse(&args.formula)?, quiet)?.model)
}

fn fit(args: &FitArgs, formula: &Formula, quiet: bool) -> Result<Trained, Failure> {
    let vcov = Vcov::parse(&args.vcov).ok_or_else(|| {
        Failure::usage(
            format!("unknown covariance `{}`", args.vcov),
            "use iid, HC0, HC1, HC2, HC3, HAC:lag, cluster:COLUMN or cluster:COLUMN+COLUMN",
        )
    })?;
    let amount = Amount::parse(args)?;
    if args.order.is_some() && !matches!(vcov, Vcov::Hac { .. }) {
        return Err(Failure::usage(
            format!("--order orders the rows for HAC, and --vcov is {vcov}"),
            "leave it out, or use --vcov HAC:lag",
        ));
    }
    if let Some(path) = &args.output {
        output::check_writable(path)?;
    }
    let source = open_for(&args.source, formula)?;
    let trained = match formula.effects() {
        [] => train(args, formula, &source, &amount, vcov, quiet),
        _ => absorb::train(args, formula, &source, vcov, quiet),
    };
    trained.map_err(|failure| failure.placed(&source))
}

/// Opens the sources of a fit. A column that the formula makes a factor or an effect may be numbers in one CSV file and labels in
/// another: then it is labels in all.
fn open_for(args: &SourceArgs, formula: &Formula) -> Result<Source, Failure> {
    let terms = formula.expand(&[])?;
    let effects = formula.effects().iter().map(String::as_str);
    let factors = terms.variables.iter().filter_map(|variable| variable.factor_column());
    let factors: Vec<&str> = factors.chain(effects).collect();
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

/// A number or `auto`.
enum Number<T> {
    Given(T),
    Auto,
}

/// How much to shrink.
enum Amount {
    Ols,
    Ridge(Number<f64>),
    Components(Number<usize>),
}

impl Amount {
    fn parse(args: &FitArgs) -> Result<Self, Failure> {
        match (&args.ridge, &args.components) {
            (Some(text), _) if text == "auto" => Ok(Self::Ridge(Number::Auto)),
            (Some(text), _) => match text.parse::<f64>() {
                Ok(alpha) if alpha >= 0.0 && alpha.is_finite() => Ok(Self::Ridge(Number::Given(alpha))),
                _ => {
                    Err(Failure::usage(format!("--ridge is `{text}`, expected a number, zero or more, or `auto`"), ""))
                }
            },
            (None, Some(text)) if text == "auto" => Ok(Self::Components(Number::Auto)),
            (None, Some(text)) => match text.parse::<usize>() {
                Ok(count) => Ok(Self::Components(Number::Given(count))),
                Err(_) => {
                    Err(Failure::usage(format!("--components is `{text}`, expected a whole number or `auto`"), ""))
                }
            },
            (None, None) => Ok(Self::Ols),
        }
    }
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
pub fn check_rows(args: &FitArgs, rows: u64, dropped: u64) -> Result<(), Failure> {
    if rows > 0 {
        return Ok(());
    }
    let why = if dropped > 0 { format!(": all {dropped} have missing values") } else { String::new() };
    let message = match args.weights {
        Some(_) if dropped == 0 => "no rows with positive weight".to_owned(),
        _ => format!("no rows left to fit{why}"),
    };
    Err(Failure::no_answer(message, "check the source, its missing values and its weights"))
}

fn train(
    args: &FitArgs,
    formula: &Formula,
    source: &Source,
    amount: &Amount,
    vcov: Vcov,
    quiet: bool,
) -> Result<Trained, Failure> {
    let extras = extras(&vcov, args.order.as_deref());
    let options = DesignOptions { weights: args.weights.clone(), extras: extras.clone(), ..DesignOptions::default() };
    let design = compile(formula, source, &options)?;
    let na = if args.na == Na::Fail { NaPolicy::Fail } else { NaPolicy::Drop };
    let also_unweighted = args.weights.is_some() && design.has_orthogonal_polynomials();
    let gathered = {
        let progress = Progress::new(source.bytes_total(), "reading", quiet);
        pass::moments(source, &design, na, also_unweighted, &progress)?
    };
    check_rows(args, gathered.moments.rows(), gathered.dropped)?;
    let layout = design.layout();
    let frozen = Frozen::new(&layout)?;
    let targets: Vec<String> = design.terms().targets.iter().map(|t| t.label().to_owned()).collect();
    let state_columns = columns(&layout.coding()?, targets.len());
    let filter = filter(args, amount, &gathered, &state_columns, targets.len())?;
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
    let inflation = if args.vif { Some(inflation(&gathered.moments, &whitening)?) } else { None };
    // From here on rows come through the frozen design, which numbers columns by coefficient.
    whitening.design = columns(frozen.coding(), 0);
    if vcov != Vcov::Iid {
        if filter != Filter::Ols {
            return Err(Failure::usage(
                format!("--vcov {vcov} with --ridge or --components: shrunk coefficients have no standard errors"),
                "leave out --vcov",
            ));
        }
        let options =
            FrozenOptions { targets: true, weights: args.weights.is_some(), extras, unseen: Unseen::Error, na };
        let encoder = frozen.encoder(&source.schema(), &options)?;
        let progress = Progress::new(source.bytes_total(), "second pass", quiet);
        let order = args.order.as_deref();
        let covariances = pass::covariances(source, &encoder, &whitening, &fits, &vcov, order, &progress)?;
        for (fit, covariance) in fits.iter_mut().zip(covariances) {
            fit.covariance = Some(covariance);
        }
    }
    let model = TableModel {
        model: Model { whitening, fits, extra: Value::Null },
        frozen,
        dropped_rows: gathered.dropped,
        largest_weight: gathered.largest_weight,
        effects: Vec::new(),
    };
    Ok(Trained { model, inflation, vcov, absorption: None })
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
    args: &FitArgs,
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

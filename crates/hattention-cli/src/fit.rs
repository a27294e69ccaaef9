//! `hat fit`.

use hattention_table::design::DesignOptions;
use hattention_table::error::TableError;
use hattention_table::formula::Formula;
use hattention_table::regression::fit::{self, FitOptions, Trained};
use hattention_table::regression::{TableModel, absorb};
use hattention_table::source::{Source, SourceOptions};
use hattention_table::state::TableState;

use crate::args::{FitArgs, SourceArgs};
use crate::asked::Asked;
use crate::by;
use crate::cluster;
use crate::failure::{Failure, counted};
use crate::output;
use crate::progress::Terminal;
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
    let (state, source, options) = gathered(args, &asked, quiet)?;
    let trained = |state: &TableState| trained(state, source.as_ref(), &options, quiet);
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
    let (state, source, options) = gathered(args, &asked, quiet)?;
    Ok(trained(&state, source.as_ref(), &options, quiet)?.model)
}

/// The model of a formula with effects that are absorbed.
fn absorbed(args: &FitArgs, formula: &Formula, asked: &Asked, quiet: bool) -> Result<Trained, Failure> {
    let source = Rows::of(args, &asked.sources).open_for(formula)?;
    absorb::train(formula, &source, &asked.options, &Terminal { quiet }).map_err(|failure| failure.placed(&source))
}

/// The state that is asked for; its source, if one pass over it made the state; and the options that hold of it.
fn gathered(args: &FitArgs, asked: &Asked, quiet: bool) -> Result<(TableState, Option<Source>, FitOptions), Failure> {
    let earlier = args.from.as_deref().map(state_file::load).transpose()?;
    let rows = Rows::of(args, &asked.sources);
    let options = FitOptions { hc: asked.with_hc(args, earlier.as_ref())?, ..asked.options.clone() };
    let (mut state, source) = match (&earlier, &asked.formula) {
        (_, Some(formula)) => {
            let source = rows.open_for(formula)?;
            let state = gather(args, formula, &source, &options, quiet).map_err(|f| f.placed(&source))?;
            (state, Some(source))
        }
        (Some(state), None) if asked.sources.is_empty() => (state.clone(), None),
        (Some(state), None) => (rows.continuing(state, args, &options, quiet)?, None),
        (None, None) => return Err(Failure::usage("no formula", "name a formula, as `y ~ x`")),
    };
    if let Some(earlier) = earlier.filter(|_| !asked.sources.is_empty()) {
        state.merge(&earlier)?;
    }
    for source in &args.remove {
        let sources = [source.clone()];
        let rows = Rows { sources: &sources, sql: None, batch_rows: args.batch_rows };
        let gone = rows.continuing(&state, args, &options, quiet)?;
        state.remove(&gone).map_err(|error| Failure::from(error).about(source))?;
        eprintln!(
            "note: {} of {source} taken out, exactly: if all of them were in the state, its sums now are, in bits, those of \
             one that never saw them (the sums that are left are checked: rows can have them)",
            counted(gone.gathered.moments.rows(), "row"),
        );
    }
    Ok((state, source, options))
}

/// The model of a state, with covariances that need the rows once more if they are asked for.
fn trained(state: &TableState, source: Option<&Source>, options: &FitOptions, quiet: bool) -> Result<Trained, Failure> {
    let trained = fit::finish(state, source, options, &Terminal { quiet });
    match source {
        Some(source) => trained.map_err(|failure| failure.placed(source)),
        None => trained,
    }
}

/// Where rows come from.
struct Rows<'a> {
    sources: &'a [String],
    sql: Option<&'a str>,
    batch_rows: Option<usize>,
}

impl<'a> Rows<'a> {
    fn of(args: &'a FitArgs, sources: &'a [String]) -> Self {
        Self { sources, sql: args.sql.as_deref(), batch_rows: args.batch_rows }
    }

    fn args(&self) -> SourceArgs {
        SourceArgs { sources: self.sources.to_vec(), sql: self.sql.map(str::to_owned), batch_rows: self.batch_rows }
    }

    fn open_for(&self, formula: &Formula) -> Result<Source, Failure> {
        open_for(&self.args(), formula, &[])
    }

    /// The state of rows that belong to the design of another state.
    fn continuing(
        &self,
        state: &TableState,
        args: &FitArgs,
        options: &FitOptions,
        quiet: bool,
    ) -> Result<TableState, Failure> {
        let source = open(&self.args(), &state.labels())?;
        let design = fit::design_of(state, args.weights.as_ref(), &source)?;
        let read = match cluster::state_of(args, &source, &design, options, quiet)? {
            Some(state) => return Ok(state),
            None => fit::read(&design, &source, options, &Terminal { quiet }),
        };
        read.map_err(|failure| failure.placed(&source))
    }
}

/// Opens the sources of a fit. A column that the formula makes a factor or an effect, and those of `by`, may be numbers in
/// one CSV file and labels in another: then it is labels in all.
///
/// # Errors
/// Those of [`Source::open`].
pub fn open_for(args: &SourceArgs, formula: &Formula, by: &[String]) -> Result<Source, Failure> {
    // Standard input cannot be opened a second time.
    let once = args.sources.iter().any(|source| source == "-");
    match once {
        true => formula.expand(&[]).and_then(|_| open(args, &[])).map_err(Failure::from),
        false => fit::open_for(formula, by, |labels| open(args, labels)),
    }
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

/// The state of a source's rows, made here or on a cluster.
fn gather(
    args: &FitArgs,
    formula: &Formula,
    source: &Source,
    options: &FitOptions,
    quiet: bool,
) -> Result<TableState, Failure> {
    let of: DesignOptions = fit::design_options(options);
    let design = fit::compile(formula, source, &of, &Terminal { quiet })?;
    match cluster::state_of(args, source, &design, options, quiet)? {
        Some(state) => Ok(state),
        None => fit::read(&design, source, options, &Terminal { quiet }),
    }
}

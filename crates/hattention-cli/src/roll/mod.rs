//! `hat roll`: a regression at every row, of the rows it sees.

mod args;
mod rows;
mod table;

pub use args::RollArgs;

use hattention::error::Dependence;
use hattention::roll::{Mask, RollOptions, Rolled, Status, roll};
use hattention::{Design, Error, INTERCEPT};
use hattention_table::formula::Formula;
use rayon::prelude::*;

use crate::failure::Failure;
use crate::fit;
use crate::output;
use crate::sink;
use rows::Rows;

/// Runs the command.
///
/// # Errors
/// Those of the options, of reading, and of the rolls.
pub fn run(args: &RollArgs, quiet: bool) -> Result<(), Failure> {
    let formula = Formula::parse(&args.formula)?;
    if !formula.effects().is_empty() {
        return Err(Failure::usage(
            "a roll with absorbed effects: their levels would have to be solved for at every row",
            "write them as factors, `C(g)`, or roll each level apart with --by",
        ));
    }
    let mask = mask(args)?;
    if let Some(path) = &args.output {
        sink::check_format(path)?;
        output::check_apart(path, &args.source.sources)?;
        output::check_writable(path)?;
    }
    let source = fit::open_for(&args.source, &formula, &[])?;
    let rows = Rows::read(args, &source, &formula, quiet).map_err(|failure| failure.placed(&source))?;
    let coefficients = rows.names.len() + usize::from(rows.intercept);
    if let Mask::Window(window) = mask {
        let (least, fewer) = (coefficients.max(1), window < coefficients.max(1));
        if fewer {
            let columns = if least == 1 { "1 coefficient".into() } else { format!("{least} coefficients") };
            let message = format!("--window is {window}, and the formula has {columns}");
            return Err(Failure::usage(message, format!("use a window of {least} rows or more")));
        }
        if let Some(rows) = args.min_rows.filter(|rows| *rows > window) {
            let message = format!("--min-rows is {rows}, and a window has {window}");
            return Err(Failure::usage(message, format!("use {window} or less")));
        }
    }
    let options = RollOptions { minimum_rows: args.min_rows, ..RollOptions::new(mask) };
    let rolled = groups(args, &rows, options)?;
    table::write(args, &rows, &rolled)
}

/// Rolls every group apart.
fn groups(args: &RollArgs, rows: &Rows, options: RollOptions) -> Result<Vec<Rolled>, Failure> {
    let design = Design::plain(rows.names.clone(), rows.intercept);
    let first = rows.names.len();
    let targets: Vec<(usize, &str)> =
        rows.targets.iter().enumerate().map(|(t, (name, _))| (first + t, name.as_str())).collect();
    let one = |range: &std::ops::Range<usize>| match roll(&rows.block(range.clone()), &design, &targets, options) {
        Err(Error::RankDeficient { dependent, .. }) if !args.by.is_empty() => {
            Ok(nothing(rows, options.mask, range.len(), &targets, dependent))
        }
        result => result.map_err(refusal),
    };
    let rolled = rows.groups.par_iter().map(one).collect::<Vec<_>>().into_iter().collect::<Result<Vec<Rolled>, _>>()?;
    let fitted = rolled.iter().flat_map(|group| &group.status).filter(|s| matches!(s, Status::Fitted(_))).count();
    if fitted > 0 {
        return Ok(rolled);
    }
    let dependent = rolled.iter().find_map(|group| group.dependent.first());
    let (why, hint) = match dependent {
        Some(columns) => (
            format!("columns depend on others wherever there are enough rows, such as {}", names_of(columns)),
            "leave them out, or use a longer window",
        ),
        None => ("none sees as many as it needs".to_owned(), "use a shorter window, or --min-rows"),
    };
    Err(Failure::no_answer(format!("no row has coefficients: {why}"), hint))
}

/// The library's refusals with the ways out that this command has.
fn refusal(error: Error) -> Failure {
    let dependent = matches!(error, Error::RankDeficient { .. });
    let failure = Failure::from(error);
    if dependent { Failure { hint: Some("drop them from the formula".into()), ..failure } } else { failure }
}

/// A group whose columns are dependent over all its rows.
fn nothing(rows: &Rows, mask: Mask, count: usize, targets: &[(usize, &str)], dependent: Vec<Dependence>) -> Rolled {
    let most = if let Mask::Window(window) = mask { window } else { count };
    let none = || vec![f64::NAN; count];
    let coefficients = rows.names.len() + usize::from(rows.intercept);
    let target = |(_, name): &(usize, &str)| hattention::roll::RolledTarget {
        name: (*name).to_owned(),
        coefficients: (0..coefficients).map(|_| none()).collect(),
        std_errors: (0..coefficients).map(|_| none()).collect(),
        sigma: none(),
        predicted: none(),
        predicted_se: none(),
        residual: none(),
        recursive_residual: none(),
        cusum: none(),
        cusum_bound: none(),
    };
    Rolled {
        names: rows.intercept.then(|| INTERCEPT.to_owned()).into_iter().chain(rows.names.iter().cloned()).collect(),
        status: vec![Status::Dependent(0); count],
        rows_seen: (1..=count).map(|rows| rows.min(most)).collect(),
        dependent: vec![dependent],
        targets: targets.iter().map(target).collect(),
    }
}

/// `x, z`.
fn names_of(dependent: &[Dependence]) -> String {
    dependent.iter().map(|d| d.column.as_str()).collect::<Vec<_>>().join(", ")
}

fn mask(args: &RollArgs) -> Result<Mask, Failure> {
    match (args.window, args.decay) {
        (Some(0), _) => Err(Failure::usage("--window is 0, expected at least one row", "")),
        (Some(window), _) => Ok(Mask::Window(window)),
        (None, Some(decay)) if decay > 0.0 && decay <= 1.0 => Ok(Mask::Decay(decay)),
        (None, Some(decay)) => Err(Failure::usage(
            format!("--decay is {decay}, expected a number above 0, at most 1"),
            "0.99 remembers about 100 rows",
        )),
        (None, None) => Ok(Mask::Expanding),
    }
}

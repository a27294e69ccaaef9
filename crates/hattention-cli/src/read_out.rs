//! What is written and printed of a fit.

use hattention_table::formula::Formula;
use hattention_table::regression::fit::Trained;
use hattention_table::regression::predict::check_level;
use hattention_table::regression::render::{self, Context};
use hattention_table::state::TableState;

use crate::args::ReadOutArgs;
use crate::failure::{Failure, Kind};
use crate::model;
use crate::output;
use crate::state_file;

/// Refuses before any work what would fail at its end.
///
/// # Errors
/// If the level is none, or a file cannot be written.
pub fn check(args: &ReadOutArgs) -> Result<(), Failure> {
    check_level(args.level)?;
    for path in [&args.output, &args.state_out].into_iter().flatten() {
        output::check_writable(path)?;
    }
    if args.output.is_some() && args.output == args.state_out {
        return Err(Failure::usage("the model and the state go to the same file", "give --state-out another name"));
    }
    Ok(())
}

/// Writes the state, fits it, writes the model, and prints the table. A state that is asked for is written whether or not
/// it has a fit: a part of the rows may be too small for one, and is a state all the same.
///
/// # Errors
/// If there is no fit, unless only the state is asked for; if something cannot be written.
pub fn finish(
    args: &ReadOutArgs,
    state: &TableState,
    fit: impl FnOnce(&TableState) -> Result<Trained, Failure>,
) -> Result<(), Failure> {
    if let Some(path) = &args.state_out {
        state_file::save(state, path)?;
    }
    let trained = match (fit(state), &args.state_out) {
        (Ok(trained), _) => trained,
        (Err(failure), Some(path)) if failure.kind == Kind::NoAnswer => {
            eprintln!("note: the state is written to {}", path.display());
            if args.output.is_none() && !args.json {
                eprintln!("note: it has no fit of its own: {}", failure.message);
                return Ok(());
            }
            return Err(failure);
        }
        (Err(failure), _) => return Err(failure),
    };
    publish(args, &state.formula()?, trained)
}

/// Writes the model and prints the table.
///
/// # Errors
/// If something cannot be written.
pub fn publish(args: &ReadOutArgs, formula: &Formula, trained: Trained) -> Result<(), Failure> {
    let Trained { mut model, inflation, vcov, absorption } = trained;
    if let Some(path) = &args.output {
        model::save(&mut model, path)?;
    }
    let formula = formula.text();
    let name = vcov.to_string();
    let context = Context {
        formula,
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
        format!("{formula}\n\n{}", tables.collect::<Vec<_>>().join("\n"))
    };
    output::print(&text)
}

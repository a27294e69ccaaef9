//! `hat probe`: attention as a canonical ensemble, from anyone's files.

pub mod args;
mod ask;
mod found;
mod page;
mod read;
mod table;

use std::path::Path;

use hattention_table::regression::attend::AttendModel;
use safetensors::SafeTensors;

use crate::attend::Loaded;
use crate::failure::{Failure, counted};
use crate::{output, sink};
use args::ProbeArgs;
use found::{Found, Probed};

/// The mark of an attention regression's file in its description.
const REGRESSION: &str = "hattention-attention";

/// Logits that lie further apart are no logits alone.
const WIDE: f64 = 1000.0;

/// Runs the command.
///
/// # Errors
/// If the file is none of those that are read, what is asked for is not in it, or a number is not finite.
pub fn run(args: &ProbeArgs, quiet: bool) -> Result<(), Failure> {
    check(args)?;
    let bytes = read::bytes(&args.file)?;
    let note = |text: &str| {
        if !quiet {
            eprintln!("note: {text}");
        }
    };
    let probed = match described(&bytes).as_deref() {
        Some(REGRESSION) => of_regression(args, quiet)?,
        Some(other) => {
            let message = format!("{} is a file of `{other}`, which has no softmax", args.file.display());
            let hint = "probe logits, queries and keys, or an attention regression; weights of least squares are shown by `hat explain`";
            return Err(Failure::usage(message, hint));
        }
        None => of_arrays(args, &bytes, &note)?,
    };
    for found in &probed.found {
        let unread = found.unread();
        if unread > 0 {
            let which = if probed.found.len() > 1 { format!("{}: ", found.name) } else { String::new() };
            note(&format!("{which}{} no key and {} left out", queries_read(unread), were(unread)));
        }
    }
    if let Some(path) = &args.table {
        table::write(path, &probed.found)?;
    }
    if let Some(path) = &args.output {
        output::write(path, page::page(&probed)?.as_bytes())?;
    }
    output::print(&if args.json { format!("{:#}\n", probed.json()) } else { probed.text() })
}

fn queries_read(count: usize) -> String {
    let verb = if count == 1 { "reads" } else { "read" };
    format!("{} {verb}", counted(count as u64, "query").replace("querys", "queries"))
}

fn were(count: usize) -> &'static str {
    if count == 1 { "was" } else { "were" }
}

/// Refuses paths and numbers that cannot be meant, before anything is read.
fn check(args: &ProbeArgs) -> Result<(), Failure> {
    let inputs: Vec<String> =
        std::iter::once(args.file.display().to_string()).chain(args.keys.clone()).chain(args.train.clone()).collect();
    if let Some(path) = &args.output {
        if !path.extension().is_some_and(|e| e.eq_ignore_ascii_case("html")) {
            let message = format!("-o is {}, expected a page", path.display());
            return Err(Failure::usage(message, "end its name in .html; --table FILE has numbers, --json too"));
        }
        output::check_apart(path, &inputs)?;
        output::check_writable(path)?;
    }
    if let Some(path) = &args.table {
        sink::check_format(path)?;
        output::check_apart(path, &inputs)?;
        output::check_writable(path)?;
    }
    if args.masked.is_nan() {
        return Err(Failure::usage("--masked is NaN, expected a number", "-5e3 is the default"));
    }
    Ok(())
}

/// What one of our own files says that it is.
fn described(bytes: &[u8]) -> Option<String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).ok()?;
    let format = metadata.metadata().as_ref()?.get("format")?;
    format.starts_with("hattention").then(|| format.clone())
}

fn of_arrays(args: &ProbeArgs, bytes: &[u8], note: &dyn Fn(&str)) -> Result<Probed, Failure> {
    if !args.train.is_empty() {
        return Err(Failure::usage("--train is for attention regressions", "leave it out"));
    }
    let keys;
    let choices = if read::is_npy(bytes) {
        let path = args.keys.as_deref().map(Path::new);
        keys = path.map(read::bytes).transpose()?;
        if let (Some(path), Some(keys)) = (path, &keys)
            && !read::is_npy(keys)
        {
            let message = format!("{} is no .npy file", path.display());
            return Err(Failure::usage(message, "keys of a .npy file of queries are another .npy file"));
        }
        vec![ask::of_npy(args, bytes, path.zip(keys.as_deref()))?]
    } else {
        let (choices, left) = ask::of_safetensors(args, &read::safetensors(&args.file, bytes)?)?;
        if !left.is_empty() {
            let some: Vec<String> = left.iter().take(6).map(|name| format!("`{name}`")).collect();
            let more = if left.len() > 6 { format!(" and {} more", left.len() - 6) } else { String::new() };
            note(&format!("not probed: {}{more}; --logits NAME probes an array as logits", some.join(", ")));
        }
        choices
    };
    let mut found = Vec::with_capacity(choices.len());
    for choice in &choices {
        let asked = choice.formed(args)?;
        found.push(Found::of_attention(&asked, args).map_err(|failure| failure.about(&asked.name))?);
    }
    let pairs = choices.iter().any(ask::Choice::is_pair);
    for found in found.iter().filter(|found| found.scored && !pairs) {
        if let Some(span) = found.span().filter(|span| *span > WIDE) {
            note(&format!(
                "{}: scores span {span:.0}: if the low ones are a mask, name a number above them by --masked, which is {}",
                found.name, args.masked
            ));
        }
    }
    Ok(Probed { file: args.file.display().to_string(), kind: ask::kind(args, pairs), found })
}

fn of_regression(args: &ProbeArgs, quiet: bool) -> Result<Probed, Failure> {
    let asked = [&args.logits, &args.queries, &args.keys].into_iter().flatten().next();
    if asked.is_some() || args.probabilities || args.causal || args.temperature.is_some() {
        let message =
            format!("{} is an attention regression, whose scores, mask and temperature it has", args.file.display());
        return Err(Failure::usage(
            message,
            "leave out --logits, --queries, --keys, --probabilities, --causal, --temperature",
        ));
    }
    let loaded = Loaded::of(&args.file, &args.train, &[], quiet)?;
    let regression = loaded.regression()?;
    if regression.head_coefficients().is_empty() {
        let message = format!("{} has a linear head alone: nothing is attended to", args.file.display());
        return Err(Failure::no_answer(message, "fit with `--heads 1` or more"));
    }
    let name = |model: &AttendModel| format!("{} of {} training rows", model.target(), model.learned.rows);
    let found = Found::of_scores(name(loaded.model()), &regression.own_scores())?;
    Ok(Probed { file: args.file.display().to_string(), kind: "attention regression", found: vec![found] })
}

//! The project's own commands, the same on a laptop and in CI: `cargo xtask help`.

mod bench;
mod check;
mod dist;
mod package;
mod runtimes;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  check    every test of the project: format, features, lint, tests, documentation, runtimes
  bench    hattention beside its peers in one run: `cargo xtask bench --help`
  dist     the program as one file for other machines: `cargo xtask dist --help`
  help     this text
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((command, rest)) => match command.as_str() {
            "check" => check::run(rest),
            "bench" => bench::run(rest),
            "dist" => dist::run(rest),
            "help" | "--help" | "-h" => help(HELP),
            other => Err(Failure::usage(format!("unknown command `{other}`"), HELP)),
        },
        None => Err(Failure::usage("expected a command", HELP)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}", failure.message);
            if let Some(hint) = failure.hint {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(failure.code)
        }
    }
}

/// Why a command stopped: 1 the work failed, 2 it was asked for wrongly.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
    hint: Option<String>,
}

impl Failure {
    fn work(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into(), hint: None }
    }

    fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: 2, message: message.into(), hint: Some(hint.into()) }
    }
}

fn help(text: &str) -> Result<(), Failure> {
    print!("{text}");
    Ok(())
}

/// The root of the checkout this program was built from.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_path_buf()
}

//! The program `hat`: least squares as attention, from files.

mod args;
mod explain;
mod failure;
mod fit;
mod hypothesis;
mod model;
mod output;
mod pass;
mod predict;
mod progress;
mod render;
mod selftest;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    output::clean_up_on_interrupt();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.code)
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    if let Some(threads) = cli.threads {
        if threads == 0 {
            return Err(Failure::usage("--threads is 0, expected at least 1", ""));
        }
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .map_err(|e| Failure::usage(format!("cannot start {threads} threads: {e}"), "ask for fewer"))?;
    }
    match &cli.command {
        Command::Fit(args) => fit::run(args, cli.quiet),
        Command::Predict(args) => predict::run(args, cli.quiet),
        Command::Explain(args) => explain::run(args, cli.quiet),
        Command::Test(args) => hypothesis::run(args),
        Command::Selftest(args) => selftest::run(args.json),
    }
}

//! The program `hat`: least squares as attention, from files.

mod args;
mod asked;
mod attend;
mod by;
mod cluster;
mod drift;
mod explain;
mod failure;
mod fit;
mod hypothesis;
mod lab;
mod merge;
mod model;
mod output;
mod predict;
mod probe;
mod progress;
mod read_out;
mod roll;
mod selftest;
mod sink;
mod state_file;
mod transformer;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use failure::{DRIFT, Failure, exit_code};

/// Tensors of a training are made and dropped by the megabyte; the system's allocator would give their pages back every time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads that can be asked for: starting more takes longer than they could save.
const MOST_THREADS: usize = 1024;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Servers end in their own way: an executor finishes its tasks and says good-bye.
    if !matches!(cli.command, Command::Cluster(_)) {
        output::clean_up_on_interrupt();
    }
    match run(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(exit_code(&failure))
        }
    }
}

/// Runs the command; the exit code that is its answer.
fn run(cli: &Cli) -> Result<u8, Failure> {
    if let Some(threads) = cli.threads {
        if !(1..=MOST_THREADS).contains(&threads) {
            let message = format!("--threads is {threads}, expected 1 to {MOST_THREADS}");
            return Err(Failure::usage(message, "leave it out to use all cores"));
        }
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .map_err(|e| Failure::usage(format!("cannot start {threads} threads: {e}"), "ask for fewer"))?;
    }
    match &cli.command {
        Command::Drift(args) => return Ok(if drift::run(args, cli.quiet)? { DRIFT } else { 0 }),
        Command::Fit(args) => fit::run(args, cli.quiet),
        Command::Merge(args) => merge::run(args),
        Command::Probe(args) => probe::run(args, cli.quiet),
        Command::Predict(args) => predict::run(args, cli.quiet),
        Command::Roll(args) => roll::run(args, cli.quiet),
        Command::Explain(args) => explain::run(args, cli.quiet),
        Command::Test(args) => hypothesis::run(args),
        Command::Selftest(args) => selftest::run(args.json),
        Command::Cluster(command) => cluster::run(command),
        Command::Attend(command) => attend::run(command, cli.quiet),
        Command::Lab(command) => lab::run(command, cli.quiet),
        Command::Transformer(command) => transformer::run(command, cli.quiet),
    }?;
    Ok(0)
}

//! `hat cluster` and `hat fit --on`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use hattention_cluster::{Address, ClusterError, ExecutorOptions, Job, SchedulerOptions, run_executor, run_scheduler};
use hattention_table::design::Design;
use hattention_table::regression::FitOptions;
use hattention_table::source::Source;
use hattention_table::state::TableState;

use crate::args::FitArgs;
use crate::failure::{Failure, of_cluster};
use crate::output;
use crate::progress::Progress;

/// `hat cluster`.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Start a scheduler: it takes fits and deals their parts out to executors.
    Scheduler(SchedulerArgs),
    /// Start an executor: it reads parts of the data and sums them up.
    Executor(ExecutorArgs),
}

/// `hat cluster scheduler`.
#[derive(Debug, Args)]
pub struct SchedulerArgs {
    /// IP address on this machine to listen on; 0.0.0.0 for all (whoever reaches it can read and write what executors can).
    #[arg(long, default_value = "127.0.0.1", value_name = "IP")]
    pub bind: String,
    /// Port (0 for a free one, which is printed).
    #[arg(long, default_value_t = 50050, value_name = "PORT")]
    pub port: u16,
    /// Name or address of this machine, as it is printed. (Executors use the one in their --scheduler.)
    #[arg(long, default_value = "localhost", value_name = "HOST")]
    pub host: String,
    /// Say what happens, not only what goes wrong.
    #[arg(short, long)]
    pub verbose: bool,
}

/// `hat cluster executor`.
#[derive(Debug, Args)]
pub struct ExecutorArgs {
    /// The scheduler.
    #[arg(long, default_value = "df://localhost:50050", value_name = "df://HOST:PORT")]
    pub scheduler: String,
    /// IP address on this machine to listen on; 0.0.0.0 for all (whoever reaches it can read and write what it can).
    #[arg(long, default_value = "127.0.0.1", value_name = "IP")]
    pub bind: String,
    /// Port of partial results; the next one is that of tasks.
    #[arg(long, default_value_t = 50051, value_name = "PORT")]
    pub port: u16,
    /// Name or address under which the scheduler and other executors reach this machine (by default, as it connects).
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Tasks at once (one a core by default).
    #[arg(long, value_name = "N")]
    pub tasks: Option<usize>,
    /// Folder for partial states until they are fetched (a temporary one by default).
    #[arg(long, value_name = "FOLDER")]
    pub work_dir: Option<PathBuf>,
    /// Say what happens, not only what goes wrong.
    #[arg(short, long)]
    pub verbose: bool,
}

/// Runs the command.
pub fn run(command: &ClusterCommand) -> Result<(), Failure> {
    match command {
        ClusterCommand::Scheduler(args) => {
            tell(args.verbose);
            let SchedulerArgs { bind, port, host, .. } = args;
            let options = SchedulerOptions { bind: bind.clone(), port: *port, host: host.clone() };
            run_scheduler(&options, |port| eprintln!("scheduler at df://{host}:{port}")).map_err(of_cluster)
        }
        ClusterCommand::Executor(args) => {
            tell(args.verbose);
            let scheduler: Address = args.scheduler.parse().map_err(of_cluster)?;
            if args.tasks == Some(0) {
                return Err(Failure::usage("--tasks is 0, expected at least 1", "leave it out for one a core"));
            }
            if args.port == u16::MAX {
                return Err(Failure::usage("--port is 65535, and the port after it is needed too", "take a lower one"));
            }
            eprintln!("executor at port {} of {scheduler}", args.port);
            run_executor(&ExecutorOptions {
                scheduler,
                bind: args.bind.clone(),
                port: args.port,
                host: args.host.clone(),
                tasks: args.tasks.unwrap_or(0),
                work_dir: args.work_dir.clone(),
            })
            .map_err(of_cluster)
        }
    }
}

/// The state of a source's rows, made on a cluster, if one is asked for.
///
/// # Errors
/// Those of [`hattention_cluster::state_of`].
pub fn state_of(
    args: &FitArgs,
    source: &Source,
    design: &Design,
    options: &FitOptions,
    quiet: bool,
) -> Result<Option<TableState>, Failure> {
    let Some(address) = &args.on else {
        return Ok(None);
    };
    let address: Address = address.parse().map_err(of_cluster)?;
    let progress = Progress::new(None, "on the cluster", quiet);
    let job = Job::default();
    let called_off = job.clone();
    output::on_interrupt(move || called_off.call_off());
    let state = hattention_cluster::state_of(&address, source, design, options.na, options.hc, args.tasks, &job);
    drop(progress);
    if matches!(state, Err(ClusterError::CalledOff)) {
        // The thread that called it off ends the process.
        loop {
            std::thread::park();
        }
    }
    Ok(Some(state.map_err(of_cluster)?))
}

/// Messages of the servers go to standard error.
fn tell(verbose: bool) {
    static MESSAGES: Log = Log;
    if log::set_logger(&MESSAGES).is_ok() {
        log::set_max_level(if verbose { log::LevelFilter::Info } else { log::LevelFilter::Warn });
    }
}

struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = record.level().as_str().to_lowercase();
        // (A closed standard error is no reason to stop serving.)
        _ = writeln!(std::io::stderr().lock(), "{level}: {}", record.args());
    }

    fn flush(&self) {}
}

//! `hat lab`: experiments, each with a report that says what reproduces and what does not.

use std::path::{Path, PathBuf};

use hattention_lab::Error;
use hattention_lab::experiment::Size;
use hattention_lab::experiments;
use hattention_lab::run::{self, Host, Outcome, Provenance};
use hattention_lab::train::Device;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::args::{DeviceArg, LabCommand, LabRunArgs};
use hattention_table::regression::render;

use crate::failure::{Failure, of_lab};
use crate::output;

/// Runs the command.
pub fn run(command: &LabCommand, quiet: bool) -> Result<(), Failure> {
    match command {
        LabCommand::List { json } => list(*json),
        LabCommand::Run(args) => run_one(args, quiet),
        LabCommand::Report { folder, json } => report(folder, *json, quiet),
    }
}

fn list(json: bool) -> Result<(), Failure> {
    let all = experiments::ALL;
    if json {
        let all: Vec<Value> = all
            .iter()
            .map(|e| {
                json!({"name": e.name, "summary": e.summary, "source": e.source, "version": e.version, "hours": e.hours,
                    "seeds": e.seeds.full})
            })
            .collect();
        return output::print(&format!("{:#}\n", Value::Array(all)));
    }
    let cells: Vec<Vec<String>> = all.iter().map(|e| vec![e.name.into(), format!("{}", e.hours)]).collect();
    // Sentences stand after the table: columns of text are set flush right.
    let table = render::columns(&["experiment", "hours"], &cells);
    let sentences: String = all.iter().map(|e| format!("{}: {}\n  {}\n", e.name, e.summary, e.source)).collect();
    output::print(&format!("{table}\n{sentences}"))
}

fn run_one(args: &LabRunArgs, quiet: bool) -> Result<(), Failure> {
    let experiment = experiments::find(&args.name).map_err(of_lab)?;
    let size = if args.smoke { Size::Smoke } else { Size::Full };
    let mut plan = experiment.plan(size, args.seeds);
    plan.data = args.data.clone();
    plan.device = match args.device {
        DeviceArg::Cpu => Device::Cpu,
        DeviceArg::Cuda => Device::Cuda,
    };
    for text in &args.set {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("--set is `{text}`, expected NAME=VALUE"), "as --set width=256"))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        plan.set.insert(name.trim().to_owned(), value);
    }
    let out = args.output.clone().unwrap_or_else(|| match size {
        Size::Smoke => PathBuf::from("results/smoke"),
        Size::Full => PathBuf::from("results"),
    });
    output::check_folder(&out)?;
    let program = Program::new(quiet);
    let outcome = run::run(experiment, &plan, &out, &program).map_err(of_lab)?;
    program.bar.finish_and_clear();
    show(&outcome, args.json)
}

fn report(folder: &Path, json: bool, quiet: bool) -> Result<(), Failure> {
    let program = Program::new(quiet);
    let outcome = run::report(folder, &program).map_err(of_lab)?;
    program.bar.finish_and_clear();
    show(&outcome, json)
}

fn show(outcome: &Outcome, json: bool) -> Result<(), Failure> {
    if json {
        return output::print(&format!("{:#}\n", outcome.summary));
    }
    let mut text = String::new();
    for claim in &outcome.judgement.claims {
        let number = hattention_lab::claim::number;
        let interval = claim.interval().map(|i| format!(" ({} to {})", number(i.low), number(i.high)));
        let measured = claim.value().map_or("—".to_owned(), number) + &interval.unwrap_or_default();
        let threshold = claim.threshold().words();
        text += &format!("{:<16} {}: {}\n", claim.verdict().words(), claim.id(), claim.sentence());
        text += &format!("{:<16} measured {measured}; expected {}; threshold {threshold}\n", "", claim.expected());
    }
    let size = outcome.summary["size"].as_str().unwrap_or_default();
    text += &format!(
        "\n{size} run: {} units run, {} already there, {} missing; {}\n",
        outcome.run,
        outcome.resumed,
        outcome.missing.len(),
        outcome.folder.join("report.html").display()
    );
    output::print(&text)
}

/// What the engine needs of this program.
struct Program {
    bar: ProgressBar,
    provenance: Provenance,
}

/// Steps of the bar a unit.
const STEPS: u64 = 1000;

impl Program {
    fn new(quiet: bool) -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(10);
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::with_draw_target(Some(0), target) };
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {percent} % ({elapsed}, {eta} left)") {
            bar.set_style(style);
        }
        Self { bar, provenance: Provenance { commit: commit(), machine: machine() } }
    }
}

impl Host for Program {
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let why = |failure: Failure| Error::File { path: path.display().to_string(), why: failure.message };
        output::write(path, bytes).map_err(why)
    }

    fn note(&self, text: &str) {
        self.bar.suspend(|| eprintln!("note: {text}"));
    }

    fn progress(&self, done: usize, total: usize, unit: &str, share: f64) {
        self.bar.set_length(total as u64 * STEPS);
        self.bar.set_position(done as u64 * STEPS + (share * STEPS as f64) as u64);
        self.bar.set_message(format!("{unit} ({} of {total})", (done + 1).min(total)));
    }

    fn provenance(&self) -> Provenance {
        self.provenance.clone()
    }
}

/// The commit of the sources: `HATTENTION_COMMIT`, or that of the checkout around the working folder if it is one of this
/// project, with a mark where its crates differ from the commit.
fn commit() -> String {
    if let Ok(commit) = std::env::var("HATTENTION_COMMIT") {
        return commit;
    }
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // The second name is there in this project only.
    let found = git(&["rev-parse", "HEAD", "HEAD:crates/hattention-lab"]);
    let Some(commit) = found.as_deref().and_then(|text| text.lines().next()) else { return "unknown".to_owned() };
    let changed = git(&["status", "--porcelain", "--", ":/crates"]).is_none_or(|text| !text.trim().is_empty());
    format!("{commit}{}", if changed { " with changes" } else { "" })
}

/// The processor's name and the cores this process may use.
fn machine() -> String {
    let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = information.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, n)| n));
    let cores = std::thread::available_parallelism().map_or("unknown".to_owned(), |n| n.to_string());
    format!("{}, {cores} cores", name.unwrap_or("unknown processor").trim())
}

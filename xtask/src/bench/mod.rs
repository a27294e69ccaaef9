//! `cargo xtask bench`: hattention beside its peers, in one run.

mod attention;
mod contestant;
mod data;
mod files;
mod machine;
mod memory;
mod ours;
mod peer;
mod report;
mod scripts;

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::{Failure, help, root};

const HELP: &str = "\
cargo xtask bench [OPTIONS]

Times hattention and its peers on the same data, in alternating rounds of one run, with equal threads, and writes
latest.json (everything) and latest.md (tables of medians and ratios); of attention, attention.json and attention.md.

  --python PATH       a Python with numpy and as many of scipy, scikit-learn, statsmodels, polars, polars-ols, polars-ds,
                      duckdb, pandas and pyarrow as are to be timed, and torch for attention; also HATTENTION_PEERS_PYTHON. Without one only
                      hattention and R are timed
  --rscript PATH      R [default: Rscript, if installed]
  --hat PATH          the program to time on files [default: built by cargo]
  --date YYYY-MM-DD   written into the results; nothing reads the calendar
  --only WORD         `memory` (arrays), `files` (whole processes), `attention` (forward passes), or a part of a
                      contestant's name; can be repeated.
                      hattention always runs. Only when named, with all of their peers (polars-ols,
                      duckdb, pyfixest), from scripts in bench/ that say what they time: `groups`, `roll`, `effects`,
                      `python` (the package that this Python has), `out-of-core` and `cluster` (these two need 4 GB of
                      free disk)
  --shape NxP         rows x columns; can be repeated [default: 1000000x10, 100000x100, 10000x1000]
  --rows N            this many rows in every shape
  --rounds N          [default: 7]
  --threads N         [default: 2]
  --budget SECONDS    a contestant that needs longer for all rounds of one shape gets fewer rounds [default: 60]
  --quick             small shapes and few rounds, to try the bench itself; writes nothing unless --out is given
  --out DIR           [default: bench/results]
";

/// What was asked for.
pub(crate) struct Options {
    pub(crate) python: Option<PathBuf>,
    pub(crate) rscript: PathBuf,
    pub(crate) hat: Option<PathBuf>,
    pub(crate) date: Option<String>,
    sections: Vec<String>,
    pub(crate) names: Vec<String>,
    pub(crate) shapes: Vec<(usize, usize)>,
    pub(crate) rounds: usize,
    pub(crate) threads: usize,
    pub(crate) budget: f64,
    pub(crate) quick: bool,
    out: Option<PathBuf>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let mut options = Self {
            python: std::env::var_os("HATTENTION_PEERS_PYTHON").map(PathBuf::from),
            rscript: PathBuf::from("Rscript"),
            hat: None,
            date: None,
            sections: Vec::new(),
            names: Vec::new(),
            shapes: Vec::new(),
            rounds: 0,
            threads: 2,
            budget: 60.0,
            quick: false,
            out: None,
        };
        let mut rows = None;
        let mut given = Vec::new();
        let mut rest = arguments.iter();
        while let Some(option) = rest.next() {
            given.push(option.as_str());
            if option == "--quick" {
                options.quick = true;
                continue;
            }
            let value = rest.next().ok_or_else(|| Failure::usage(format!("no value after `{option}`"), HELP))?;
            match option.as_str() {
                "--python" => options.python = Some(PathBuf::from(value)),
                "--rscript" => options.rscript = PathBuf::from(value),
                "--hat" => options.hat = Some(PathBuf::from(value)),
                "--date" => options.date = Some(date(value)?),
                "--only" if ["memory", "files", "attention"].contains(&value.as_str()) || scripts::is_one(value) => {
                    options.sections.push(value.clone())
                }
                "--only" => options.names.push(value.to_lowercase()),
                "--shape" => options.shapes.push(shape(value)?),
                "--rows" => rows = Some(number(option, value)?),
                "--rounds" => options.rounds = number(option, value)?,
                "--threads" => options.threads = number(option, value)?,
                "--budget" => options.budget = number(option, value)? as f64,
                "--out" => options.out = Some(PathBuf::from(value)),
                _ => return Err(Failure::usage(format!("unknown option `{option}`"), HELP)),
            }
        }
        let of_scripts = ["--only", "--python"];
        if let Some(script) = options.sections.iter().find(|section| scripts::is_one(section))
            && let Some(option) = given.iter().find(|option| !of_scripts.contains(option))
        {
            let message = format!("`{option}` with --only {script}, which is a script that says itself what it times");
            return Err(Failure::usage(
                message,
                "leave it out: a script takes --python only, and writes bench/results",
            ));
        }
        if options.shapes.is_empty() {
            options.shapes = if options.quick {
                vec![(20_000, 10), (5_000, 50), (1_000, 100)]
            } else {
                vec![(1_000_000, 10), (100_000, 100), (10_000, 1000)]
            };
        }
        if let Some(rows) = rows {
            options.shapes.iter_mut().for_each(|shape| shape.0 = rows);
        }
        if options.rounds == 0 {
            options.rounds = if options.quick { 3 } else { 7 };
        }
        Ok(options)
    }

    fn section(&self, name: &str) -> bool {
        self.sections.is_empty() || self.sections.iter().any(|s| s == name)
    }

    /// Whether a peer of this name is to be timed.
    pub(crate) fn wants(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.names.is_empty() || self.names.iter().any(|part| name.contains(part))
    }

    /// Where results go, if anywhere.
    fn folder(&self) -> Option<PathBuf> {
        match (&self.out, self.quick) {
            (Some(folder), _) => Some(folder.clone()),
            (None, true) => None,
            (None, false) => Some(root().join("bench/results")),
        }
    }
}

fn number(option: &str, text: &str) -> Result<usize, Failure> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(Failure::usage(format!("expected a whole number above zero after `{option}`, got `{text}`"), HELP)),
    }
}

fn shape(text: &str) -> Result<(usize, usize), Failure> {
    let (rows, columns) =
        text.split_once('x').ok_or_else(|| Failure::usage(format!("expected ROWSxCOLUMNS, got `{text}`"), HELP))?;
    Ok((number("--shape", rows)?, number("--shape", columns)?))
}

fn date(text: &str) -> Result<String, Failure> {
    let digits = |part: &str, count| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = text.split('-').collect();
    match parts[..] {
        [year, month, day] if digits(year, 4) && digits(month, 2) && digits(day, 2) => Ok(text.to_owned()),
        _ => Err(Failure::usage(format!("expected a date YYYY-MM-DD, got `{text}`"), HELP)),
    }
}

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if arguments.iter().any(|a| a == "--help" || a == "-h") {
        return help(HELP);
    }
    let options = Options::parse(arguments)?;
    if options.python.is_none() {
        eprintln!("no Python given (--python or HATTENTION_PEERS_PYTHON): its peers are left out");
    }
    let mut results = json!({
        "date": options.date,
        "commit": machine::commit(),
        "machine": machine::describe(),
        "threads": options.threads,
        "rounds": options.rounds,
        "quick": options.quick,
        "versions": machine::versions(),
        "memory": [],
        "files": Value::Null,
        "notes": [],
    });
    if options.section("memory") {
        memory::run(&options, &mut results)?;
    }
    if options.section("files") {
        files::run(&options, &mut results)?;
    }
    if options.section("memory") || options.section("files") {
        publish(&options, "latest", &results, &report::markdown(&results))?;
    }
    if options.section("attention") {
        let results = attention::run(&options)?;
        publish(&options, "attention", &results, &report::attention(&results))?;
    }
    scripts::run(&options)
}

/// Prints a page, and writes it where results go.
fn publish(options: &Options, name: &str, results: &Value, page: &str) -> Result<(), Failure> {
    println!("{page}");
    if let Some(folder) = options.folder() {
        write(&folder, name, results, page)
            .map_err(|e| Failure::work(format!("cannot write to {}: {e}", folder.display())))?;
        eprintln!("written: {0}/{name}.json, {0}/{name}.md", folder.display());
    }
    Ok(())
}

fn write(folder: &std::path::Path, name: &str, results: &Value, page: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join(format!("{name}.json")), format!("{results:#}\n"))?;
    std::fs::write(folder.join(format!("{name}.md")), page)
}

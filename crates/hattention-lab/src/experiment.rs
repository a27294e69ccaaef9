//! What an experiment is: a head, units that measure, and a judge.
//!
//! An experiment is one file in `experiments/` with a constant [`Experiment`] and one line in
//! [`crate::experiments::ALL`]. Its module documentation is its *head*: the paper, figure or claim, the expected numbers,
//! the thresholds of its verdicts and the hours on two cores; the report prints it, so nothing is written twice.
//!
//! A run is cut into [`Unit`]s of at most 20 minutes. A unit sees only its parameters and generators that depend on names
//! ([`Context::generator`]), so its numbers depend neither on threads nor on the other units. The judge sees all rows and
//! returns claims (with computed verdicts), tables and plots.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::claim::Claim;
use crate::error::Error;
use crate::plot::Plot;
use crate::rows::Row;
use crate::run::Host;
use crate::seeds::{self, Generator};
use crate::train::Device;

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// Everything works: under ten seconds.
    Smoke,
    /// What the head promises.
    Full,
}

impl Size {
    /// `smoke` or `full`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Smoke => "smoke",
            Self::Full => "full",
        }
    }

    /// The size that a word means.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Smoke, Self::Full].into_iter().find(|size| size.word() == word)
    }
}

/// What is asked of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How much is run.
    pub size: Size,
    /// Replicates of every random setting.
    pub seeds: usize,
    /// The folder of files that some experiments read, or the file that others do.
    pub data: Option<PathBuf>,
    /// What the bytes of that file are told by, if it is one; the engine fills it in.
    pub digest: Option<String>,
    /// Where tensors live.
    pub device: Device,
    /// Parameters of units that are to have other values, as a larger width.
    pub set: Map<String, Value>,
}

/// A part of a run that takes at most 20 minutes on two cores.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Its name, unique in the experiment: letters, digits, `-`, `_`, `.`; it becomes a file name.
    pub name: String,
    /// All that its result depends on besides the experiment's version and the seeds. A changed value runs it again.
    pub parameters: Value,
}

impl Unit {
    /// A unit.
    pub fn new(name: impl Into<String>, parameters: Value) -> Self {
        Self { name: name.into(), parameters }
    }

    /// A number among the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] if it is not there.
    pub fn number(&self, name: &'static str) -> Result<f64, Error> {
        self.parameters[name].as_f64().ok_or_else(|| self.missing(name, "a number"))
    }

    /// A count among the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] if it is not there.
    pub fn count(&self, name: &'static str) -> Result<usize, Error> {
        self.parameters[name].as_u64().map(|n| n as usize).ok_or_else(|| self.missing(name, "a count"))
    }

    /// A word among the parameters.
    ///
    /// # Errors
    /// [`Error::Parameter`] if it is not there.
    pub fn word(&self, name: &'static str) -> Result<&str, Error> {
        self.parameters[name].as_str().ok_or_else(|| self.missing(name, "a word"))
    }

    fn missing(&self, name: &'static str, allowed: &'static str) -> Error {
        Error::Parameter { name, got: self.parameters[name].to_string(), allowed }
    }
}

/// What a unit may use besides its parameters.
pub struct Context<'a> {
    /// What was asked for.
    pub plan: &'a Plan,
    pub(crate) experiment: &'static str,
    pub(crate) unit: &'a str,
    pub(crate) progress: &'a (dyn Fn(f64, &str) + Sync),
    pub(crate) store: Option<Store<'a>>,
}

/// Where a unit keeps what it needs to go on after a break: a line that says what it is of and how long it took, then the unit's bytes.
pub(crate) struct Store<'a> {
    path: PathBuf,
    host: &'a dyn Host,
    of: Value,
    start: Instant,
    /// Seconds of the runs that were broken off.
    earlier: Mutex<f64>,
}

impl<'a> Store<'a> {
    pub(crate) fn new(path: PathBuf, host: &'a dyn Host, of: Value) -> Self {
        Self { path, host, of, start: Instant::now(), earlier: Mutex::new(0.0) }
    }

    /// Seconds of this run and of those before.
    pub(crate) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64() + self.earlier.lock().map_or(0.0, |earlier| *earlier)
    }

    fn kept(&self) -> Option<Vec<u8>> {
        let bytes = std::fs::read(&self.path).ok()?;
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let head: Value = serde_json::from_slice(&bytes[..end]).ok()?;
        if head["of"] != self.of {
            return None;
        }
        if let (Ok(mut earlier), Some(seconds)) = (self.earlier.lock(), head["seconds"].as_f64()) {
            *earlier = seconds;
        }
        Some(bytes[end + 1..].to_vec())
    }
}

impl<'a> Context<'a> {
    /// A context outside the engine, for tests of single units.
    pub fn new(plan: &'a Plan, experiment: &'static str, unit: &'a str) -> Self {
        Self { plan, experiment, unit, progress: &|_, _| (), store: None }
    }

    /// The generator of a replicate: it depends on the names of experiment and unit, the purpose and the replicate only.
    pub fn generator(&self, purpose: &str, replicate: usize) -> Generator {
        seeds::generator(self.experiment, self.unit, purpose, replicate)
    }

    /// Says which share of the unit is done.
    pub fn progress(&self, done: f64) {
        self.progress_of(done, "");
    }

    /// Says which share of the unit is done, and how it goes.
    pub fn progress_of(&self, done: f64, how: &str) {
        (self.progress)(done.clamp(0.0, 1.0), how);
    }

    /// What an earlier run of this unit, of the same version, seeds and device, kept before it was broken off.
    pub fn kept(&self) -> Option<Vec<u8>> {
        self.store.as_ref()?.kept()
    }

    /// Keeps what is needed to go on, until the unit is done.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be written.
    pub fn keep(&self, bytes: &[u8]) -> Result<(), Error> {
        let Some(store) = &self.store else { return Ok(()) };
        if let Some(folder) = store.path.parent() {
            let why = |e: std::io::Error| Error::File { path: folder.display().to_string(), why: e.to_string() };
            std::fs::create_dir_all(folder).map_err(why)?;
        }
        let head = json!({"of": store.of, "seconds": store.seconds()}).to_string() + "\n";
        store.host.write(&store.path, &[head.as_bytes(), bytes].concat())
    }

    /// Says something that the user should know.
    pub fn note(&self, text: &str) {
        if let Some(store) = &self.store {
            store.host.note(&format!("{}: {text}", self.unit));
        }
    }

    /// A file of the data folder.
    ///
    /// # Errors
    /// [`Error::Parameter`] without such a folder.
    pub fn data(&self, file: &str) -> Result<PathBuf, Error> {
        match &self.plan.data {
            Some(folder) => Ok(folder.join(file)),
            None => Err(Error::Parameter {
                name: "--data",
                got: "absent".to_owned(),
                allowed: "the folder of the files this experiment reads",
            }),
        }
    }
}

/// What a unit found.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitResult {
    /// The unit.
    pub unit: Unit,
    /// Its rows.
    pub rows: Vec<Row>,
    /// Wall-clock time it took.
    pub seconds: f64,
}

/// The rows of all units that are there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// The units.
    pub units: Vec<UnitResult>,
}

impl Results {
    /// All rows, in the order of the units.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.units.iter().flat_map(|unit| &unit.rows)
    }

    /// The rows of one unit; none if it was not run.
    pub fn of(&self, unit: &str) -> impl Iterator<Item = &Row> {
        self.units.iter().filter(move |u| u.unit.name == unit).flat_map(|u| &u.rows)
    }
}

/// A table of the report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// Heads of the columns.
    pub columns: Vec<String>,
    /// Cells, row by row.
    pub cells: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new<S: Into<String>>(title: impl Into<String>, columns: impl IntoIterator<Item = S>) -> Self {
        Self { title: title.into(), columns: columns.into_iter().map(Into::into).collect(), cells: Vec::new() }
    }

    /// Adds a row.
    pub fn push<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.cells.push(cells.into_iter().map(Into::into).collect());
    }
}

/// What the judge says.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    /// The claims, with verdicts.
    pub claims: Vec<Claim>,
    /// Numbers derived from the units' rows: fits, exponents, predictions. They join `results.csv`.
    pub derived: Vec<Row>,
    /// Tables of the report.
    pub tables: Vec<Table>,
    /// Plots of the report.
    pub plots: Vec<Plot>,
}

/// An experiment.
#[derive(Clone, Copy)]
pub struct Experiment {
    /// Its name, as `hopfield-capacity`.
    pub name: &'static str,
    /// Whether it computes with tensors, which is what a device other than the processor is for.
    pub trains: bool,
    /// One line.
    pub summary: &'static str,
    /// The paper, figure or claim.
    pub source: &'static str,
    /// The file itself, by `include_str!`: its module documentation is the head.
    pub file: &'static str,
    /// Raise it when the same parameters would give other numbers; units of other versions are run again.
    pub version: u32,
    /// Hours of a full run on two cores.
    pub hours: f64,
    /// Replicates of a full run unless asked otherwise, and of a smoke run.
    pub seeds: Seeds,
    /// The units of a run.
    pub units: fn(&Plan) -> Vec<Unit>,
    /// Runs one unit.
    pub run: fn(&Unit, &Context<'_>) -> Result<Vec<Row>, Error>,
    /// Judges what is there; some units may be missing, and claims without a measurement cannot be judged.
    pub judge: fn(&Plan, &Results) -> Result<Judgement, Error>,
}

/// Replicates by size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeds {
    /// Of a full run.
    pub full: usize,
    /// Of a smoke run.
    pub smoke: usize,
}

impl Experiment {
    /// The plan of a size, with the experiment's own number of replicates unless another is asked for.
    pub fn plan(&self, size: Size, seeds: Option<usize>) -> Plan {
        let own = match size {
            Size::Smoke => self.seeds.smoke,
            Size::Full => self.seeds.full,
        };
        Plan { size, seeds: seeds.unwrap_or(own), data: None, digest: None, device: Device::Cpu, set: Map::new() }
    }

    /// The units of a plan, with the values that it sets.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a parameter that no unit has, or a value of another kind than its own.
    pub fn units(&self, plan: &Plan) -> Result<Vec<Unit>, Error> {
        let mut units = (self.units)(plan);
        for (name, value) in &plan.set {
            let mut known = false;
            for unit in &mut units {
                let Some(own) = unit.parameters.get_mut(name) else { continue };
                let same = match (&*own, value) {
                    (Value::Number(a), Value::Number(b)) => a.is_f64() || b.is_u64(),
                    (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
                };
                if !same {
                    let got = format!("{name}={value}");
                    let allowed = "a value of the parameter's kind, as a count for a count";
                    return Err(Error::Parameter { name: "--set", got, allowed });
                }
                (known, *own) = (true, value.clone());
            }
            if !known {
                let mut names: Vec<&str> = units
                    .iter()
                    .filter_map(|unit| unit.parameters.as_object())
                    .flat_map(Map::keys)
                    .map(String::as_str)
                    .collect();
                names.sort_unstable();
                names.dedup();
                let got = format!("{name}={value}, and its units have {}", names.join(", "));
                return Err(Error::Parameter { name: "--set", got, allowed: "a parameter of the experiment's units" });
            }
        }
        Ok(units)
    }

    /// The module documentation of the experiment's file, as plain text.
    pub fn head(&self) -> String {
        let lines = self.file.lines().map_while(|line| line.strip_prefix("//!"));
        lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
    }
}

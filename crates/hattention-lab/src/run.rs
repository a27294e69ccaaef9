//! The engine: runs units, keeps their files, judges, and writes the report.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::experiment::{Context, Experiment, Judgement, Plan, Results, Size, Store, Unit, UnitResult};
use crate::experiments;
use crate::report;
use crate::rows::{self, Row};
use crate::seeds;
use crate::train::Device;

/// Where and on what the numbers were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The commit of the sources, or `unknown`.
    pub commit: String,
    /// The processor and its cores, or `unknown`.
    pub machine: String,
}

/// What the engine needs of the program around it.
pub trait Host: Sync {
    /// Writes a file that is whole or absent.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be written.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error>;
    /// Something the user should know.
    fn note(&self, text: &str);
    /// `done` of `total` units are finished and a share of the next.
    fn progress(&self, done: usize, total: usize, unit: &str, share: f64);
    /// Commit and machine, asked for when a unit is finished.
    fn provenance(&self) -> Provenance;
}

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The experiment's folder.
    pub folder: PathBuf,
    /// What is in `summary.json`.
    pub summary: Value,
    /// The claims, tables and plots.
    pub judgement: Judgement,
    /// Units that were run.
    pub run: usize,
    /// Units whose files were there.
    pub resumed: usize,
    /// Units that were not run (only when reporting).
    pub missing: Vec<String>,
}

/// Runs the units whose files are not there, judges, and writes summary, table and report to `<out>/<experiment>/`.
///
/// A unit's file counts if it is whole and was made by the same version of the experiment, size, seeds, device and
/// parameters; otherwise the unit is run again, and the host is told why.
///
/// # Errors
/// [`Error::Occupied`] if the folder holds a run of the other size, of other seeds, of another device or of a newer version;
/// [`Error::Parameter`] for no seeds; [`Error::Device`]; [`Error::UnusedDevice`] where nothing is trained;
/// what the experiment's units and judge, and the host's writing, refuse.
pub fn run(experiment: &Experiment, plan: &Plan, out: &Path, host: &dyn Host) -> Result<Outcome, Error> {
    if plan.seeds == 0 {
        return Err(Error::Parameter { name: "--seeds", got: "0".to_owned(), allowed: "one or more" });
    }
    if plan.device != Device::Cpu && !experiment.trains {
        return Err(Error::UnusedDevice { experiment: experiment.name, device: plan.device.word() });
    }
    plan.device.check()?;
    let plan = &Plan { digest: digest(plan.data.as_deref())?, ..plan.clone() };
    let folder = out.join(experiment.name);
    check_summary(&folder, plan)?;
    let units = experiment.units(plan)?;
    let mut kept = Vec::new();
    let mut count = 0;
    for (done, unit) in units.iter().enumerate() {
        let path = path_of(&folder, &unit.name);
        let found = match std::fs::read(&path) {
            Ok(bytes) => match Kept::read(&path, &bytes) {
                Ok(kept) => {
                    kept.refuse_loss(experiment, plan, &folder)?;
                    kept.check(experiment, plan, unit, &path)
                }
                Err(broken) => Err(broken),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(None),
            Err(error) => return Err(Error::File { path: path.display().to_string(), why: error.to_string() }),
        };
        let found = match found {
            Ok(found) => found,
            Err(why) => {
                if let Some(why) = why {
                    host.note(&format!("{why}; unit `{}` is run again", unit.name));
                }
                count += 1;
                run_unit(experiment, plan, unit, &path, (done, units.len()), host)?
            }
        };
        kept.push(found);
    }
    let resumed = units.len() - count;
    let mut outcome = finish(experiment, plan, &folder, kept, host)?;
    (outcome.run, outcome.resumed) = (count, resumed);
    host.progress(units.len(), units.len(), "", 0.0);
    Ok(outcome)
}

/// Judges and reports what is in a folder, without running anything.
///
/// # Errors
/// [`Error::NoRuns`]; [`Error::UnknownExperiment`]; [`Error::Format`] naming a file that is not whole or is of another
/// version, size, device or number of seeds.
pub fn report(folder: &Path, host: &dyn Host) -> Result<Outcome, Error> {
    let no_runs = || Error::NoRuns { folder: folder.display().to_string() };
    let entries = std::fs::read_dir(folder.join("runs")).map_err(|_| no_runs())?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "json"));
    files.sort();
    let mut all = Vec::new();
    for path in &files {
        let why = |e: std::io::Error| Error::File { path: path.display().to_string(), why: e.to_string() };
        let bytes = std::fs::read(path).map_err(why)?;
        let kept = Kept::read(path, &bytes).map_err(|e| e.unwrap_or_else(no_runs))?;
        all.push((path, kept));
    }
    let (_, first) = all.first().ok_or_else(no_runs)?;
    if let Some((path, other)) = all.iter().find(|(_, kept)| kept.experiment != first.experiment) {
        return Err(Error::Format {
            path: path.display().to_string(),
            expected: format!("experiment {}, as the others in {}", first.experiment, folder.display()),
            got: other.experiment.clone(),
        });
    }
    let experiment = experiments::find(&first.experiment)?;
    let (seeds, device, digest, set) = (first.seeds, first.device, first.digest.clone(), first.set.clone());
    let plan = Plan { seeds, device, digest, set, ..experiment.plan(first.size, None) };
    let (mut kept, mut missing) = (Vec::new(), Vec::new());
    for unit in experiment.units(&plan)? {
        let place = all.iter().position(|(_, kept)| kept.unit == unit.name);
        match place.map(|place| all.swap_remove(place)) {
            Some((path, found)) => {
                kept.push(found.check(experiment, &plan, &unit, path).map_err(|e| e.unwrap_or_else(no_runs))?);
            }
            None => missing.push(unit.name),
        }
    }
    for (path, _) in &all {
        host.note(&format!("{} belongs to no unit of this version and is left aside", path.display()));
    }
    if !missing.is_empty() {
        host.note(&format!("{} units were not run: {}", missing.len(), missing.join(", ")));
    }
    let resumed = kept.len();
    let mut outcome = finish(experiment, &plan, folder, kept, host)?;
    (outcome.resumed, outcome.missing) = (resumed, missing);
    Ok(outcome)
}

fn path_of(folder: &Path, unit: &str) -> PathBuf {
    folder.join("runs").join(format!("{unit}.json"))
}

/// A smoke run must not replace the reports of a full one.
fn check_summary(folder: &Path, plan: &Plan) -> Result<(), Error> {
    let Ok(bytes) = std::fs::read(folder.join("summary.json")) else { return Ok(()) };
    let Ok(summary) = serde_json::from_slice::<Value>(&bytes) else { return Ok(()) };
    match summary["size"].as_str() {
        Some(holds) if holds != plan.size.word() => {
            Err(occupied(folder, format!("size {holds}"), format!("size {}", plan.size.word())))
        }
        _ => Ok(()),
    }
}

fn occupied(folder: &Path, holds: String, asked: String) -> Error {
    Error::Occupied { folder: folder.display().to_string(), holds, asked }
}

fn settings(set: &Map<String, Value>) -> String {
    let named: Vec<String> = set.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if named.is_empty() { "its own parameters".to_owned() } else { named.join(", ") }
}

fn told(digest: &Option<String>) -> String {
    digest.as_ref().map_or("no data file".to_owned(), |digest| format!("the data file {digest}"))
}

/// What tells the bytes of a file of data: a hash and how many they are. Nothing of a folder.
fn digest(data: Option<&Path>) -> Result<Option<String>, Error> {
    let Some(path) = data.filter(|path| !path.is_dir()) else { return Ok(None) };
    let why = |e: std::io::Error| Error::File { path: path.display().to_string(), why: e.to_string() };
    let bytes = std::fs::read(path).map_err(why)?;
    Ok(Some(format!("{:016x} of {} bytes", seeds::hash(bytes.iter().copied()), bytes.len())))
}

/// A unit's file.
struct Kept {
    experiment: String,
    version: u64,
    size: Size,
    seeds: usize,
    device: Device,
    digest: Option<String>,
    set: Map<String, Value>,
    unit: String,
    parameters: Value,
    seconds: f64,
    provenance: Provenance,
    rows: Vec<Row>,
}

impl Kept {
    fn read(path: &Path, bytes: &[u8]) -> Result<Self, Option<Error>> {
        let format = |expected: &str, got: String| {
            Some(Error::Format { path: path.display().to_string(), expected: expected.to_owned(), got })
        };
        let value: Value = serde_json::from_slice(bytes).map_err(|e| format("JSON", e.to_string()))?;
        let read = || -> Option<Self> {
            let word = |name: &str| value[name].as_str().map(str::to_owned);
            Some(Self {
                experiment: word("experiment")?,
                version: value["version"].as_u64()?,
                size: Size::of(value["size"].as_str()?)?,
                seeds: value["seeds"].as_u64()? as usize,
                // Files from before devices were written down were made on the processor.
                device: value.get("device").map_or(Some(Device::Cpu), |word| Device::of(word.as_str()?))?,
                digest: word("data"),
                set: value["set"].as_object().cloned().unwrap_or_default(),
                unit: word("unit")?,
                parameters: value["parameters"].clone(),
                seconds: value["seconds"].as_f64()?,
                provenance: Provenance { commit: word("commit")?, machine: word("machine")? },
                rows: value["rows"].as_array()?.iter().map(Row::from_json).collect::<Option<_>>()?,
            })
        };
        read().ok_or_else(|| format("the fields of a unit", "others".to_owned()))
    }

    /// Refuses to replace results that nobody asked to replace: of the other size, of other seeds, of another device, of a
    /// newer version.
    fn refuse_loss(&self, experiment: &Experiment, plan: &Plan, folder: &Path) -> Result<(), Error> {
        let newer = self.version > u64::from(experiment.version);
        let pairs = [
            (self.size != plan.size, format!("size {}", self.size.word()), format!("size {}", plan.size.word())),
            (self.seeds != plan.seeds, format!("{} seeds", self.seeds), format!("{} seeds", plan.seeds)),
            (
                self.device != plan.device,
                format!("device {}", self.device.word()),
                format!("device {}", plan.device.word()),
            ),
            (self.digest != plan.digest, told(&self.digest), told(&plan.digest)),
            (self.set != plan.set, settings(&self.set), settings(&plan.set)),
            (newer, format!("version {}", self.version), format!("version {}", experiment.version)),
        ];
        match pairs.into_iter().find(|(differs, _, _)| *differs) {
            Some((_, holds, asked)) => Err(occupied(folder, holds, asked)),
            None => Ok(()),
        }
    }

    fn check(self, experiment: &Experiment, plan: &Plan, unit: &Unit, path: &Path) -> Result<Self, Option<Error>> {
        let differs = [
            ("experiment", self.experiment.clone(), experiment.name.to_owned()),
            ("unit", self.unit.clone(), unit.name.clone()),
            ("version", self.version.to_string(), experiment.version.to_string()),
            ("size", self.size.word().to_owned(), plan.size.word().to_owned()),
            ("seeds", self.seeds.to_string(), plan.seeds.to_string()),
            ("device", self.device.word().to_owned(), plan.device.word().to_owned()),
            ("data", told(&self.digest), told(&plan.digest)),
            ("parameters", self.parameters.to_string(), unit.parameters.to_string()),
        ];
        match differs.into_iter().find(|(_, got, expected)| got != expected) {
            Some((what, got, expected)) => Err(Some(Error::Format {
                path: path.display().to_string(),
                expected: format!("{what} {expected}"),
                got,
            })),
            None => Ok(self),
        }
    }

    fn to_json(&self) -> Value {
        let mut value = json!({
            "experiment": self.experiment, "version": self.version, "size": self.size.word(), "seeds": self.seeds,
            "device": self.device.word(), "unit": self.unit, "parameters": self.parameters, "seconds": self.seconds,
            "commit": self.provenance.commit, "machine": self.provenance.machine,
            "rows": self.rows.iter().map(Row::to_json).collect::<Vec<_>>(),
        });
        if let Some(digest) = &self.digest {
            value["data"] = digest.as_str().into();
        }
        if !self.set.is_empty() {
            value["set"] = self.set.clone().into();
        }
        value
    }
}

fn run_unit(
    experiment: &Experiment,
    plan: &Plan,
    unit: &Unit,
    path: &Path,
    (done, total): (usize, usize),
    host: &dyn Host,
) -> Result<Kept, Error> {
    host.progress(done, total, &unit.name, 0.0);
    let progress = |share: f64, how: &str| {
        let name = if how.is_empty() { unit.name.clone() } else { format!("{}: {how}", unit.name) };
        host.progress(done, total, &name, share);
    };
    let of = json!({
        "experiment": experiment.name, "version": experiment.version, "size": plan.size.word(), "seeds": plan.seeds,
        "device": plan.device.word(), "data": plan.digest, "parameters": unit.parameters,
    });
    let store = Some(Store::new(path.with_extension("checkpoint"), host, of));
    let context = Context { plan, experiment: experiment.name, unit: &unit.name, progress: &progress, store };
    let rows = (experiment.run)(unit, &context)?;
    let kept = Kept {
        experiment: experiment.name.to_owned(),
        version: u64::from(experiment.version),
        size: plan.size,
        seeds: plan.seeds,
        device: plan.device,
        digest: plan.digest.clone(),
        set: plan.set.clone(),
        unit: unit.name.clone(),
        parameters: unit.parameters.clone(),
        seconds: context.store.as_ref().map_or(f64::NAN, Store::seconds),
        provenance: host.provenance(),
        rows,
    };
    if let Some(folder) = path.parent() {
        let why = |e: std::io::Error| Error::File { path: folder.display().to_string(), why: e.to_string() };
        std::fs::create_dir_all(folder).map_err(why)?;
    }
    host.write(path, lines(&kept.to_json()).as_bytes())?;
    // (Absent, unless the unit kept something; and done with.)
    let _ = std::fs::remove_file(path.with_extension("checkpoint"));
    Ok(kept)
}

/// One row of results a line, so that changes show.
fn lines(value: &Value) -> String {
    let mut head = value.clone();
    let rows: Vec<String> = head["rows"].take().as_array().into_iter().flatten().map(Value::to_string).collect();
    if let Some(fields) = head.as_object_mut() {
        fields.shift_remove("rows");
    }
    let fields: Vec<String> = head
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, v)| format!("{}: {v}", Value::from(name.as_str())))
        .collect();
    format!("{{\n{},\n\"rows\": [\n{}\n]}}\n", fields.join(",\n"), rows.join(",\n"))
}

fn finish(
    experiment: &Experiment,
    plan: &Plan,
    folder: &Path,
    kept: Vec<Kept>,
    host: &dyn Host,
) -> Result<Outcome, Error> {
    let distinct = |of: fn(&Kept) -> &str| {
        let mut found: Vec<&str> = Vec::new();
        for text in kept.iter().map(of) {
            if !found.contains(&text) {
                found.push(text);
            }
        }
        found.join(", ")
    };
    let commit = distinct(|k| &k.provenance.commit);
    let machine = distinct(|k| &k.provenance.machine);
    let units = experiment.units(plan)?;
    let results = Results {
        units: kept
            .into_iter()
            .filter_map(|k| {
                let unit = units.iter().find(|unit| unit.name == k.unit)?.clone();
                Some(UnitResult { unit, rows: k.rows, seconds: k.seconds })
            })
            .collect(),
    };
    let judgement = (experiment.judge)(plan, &results)?;
    let seconds: f64 = results.units.iter().map(|unit| unit.seconds).sum();
    let mut summary = json!({
        "experiment": experiment.name, "size": plan.size.word(), "seeds": plan.seeds, "seconds": seconds,
        "commit": commit, "machine": machine, "version": experiment.version,
        "units": {"planned": units.len(), "run": results.units.len()}, "claims": judgement.claims,
    });
    if !plan.set.is_empty() {
        summary["set"] = plan.set.clone().into();
    }
    let measured = results.units.iter().flat_map(|u| u.rows.iter().map(|row| (u.unit.name.as_str(), row)));
    let derived = judgement.derived.iter().map(|row| ("derived", row));
    let table = rows::tidy(measured.chain(derived))?;
    let page = report::page(experiment, &summary, &judgement)?;
    host.write(&folder.join("summary.json"), format!("{summary:#}\n").as_bytes())?;
    host.write(&folder.join("results.csv"), table.as_bytes())?;
    host.write(&folder.join("report.html"), page.as_bytes())?;
    Ok(Outcome { folder: folder.to_owned(), summary, judgement, run: 0, resumed: 0, missing: Vec::new() })
}

/// A host for tests that writes files and has nothing to say.
#[cfg(test)]
pub(crate) struct Files;

#[cfg(test)]
impl Host for Files {
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let why = |e: std::io::Error| Error::File { path: path.display().to_string(), why: e.to_string() };
        std::fs::write(path, bytes).map_err(why)
    }

    fn note(&self, text: &str) {
        panic!("{text}");
    }

    fn progress(&self, _: usize, _: usize, _: &str, _: f64) {}

    fn provenance(&self) -> Provenance {
        Provenance { commit: String::new(), machine: String::new() }
    }
}

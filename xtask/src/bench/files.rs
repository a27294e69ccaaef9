//! Whole processes: from a file on disk to coefficients on stdout.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::contestant::Contestant;
use super::{Options, machine, peer};
use crate::{Failure, root};

const FORMULA: &str = "arr_delay ~ dep_delay + distance + hour + carrier + origin";

/// A process to time, and whether its output is a table of coefficients.
struct Job {
    contestant: Contestant,
    command: Vec<String>,
    coefficients: bool,
}

/// Where things lie.
struct Places {
    folder: PathBuf,
    parquet: String,
    csv: String,
}

pub(crate) fn run(options: &Options, results: &mut Value) -> Result<(), Failure> {
    let Some(python) = &options.python else {
        eprintln!("files left out: the launcher that measures processes needs --python");
        note(results, "files left out: no Python given");
        return Ok(());
    };
    let failed = |what: &str, e: std::io::Error| Failure::work(format!("{what}: {e}"));
    let temporary = tempfile::tempdir().map_err(|e| failed("cannot make a temporary folder", e))?;
    let folder = temporary.path().to_path_buf();
    let text = |path: PathBuf| path.display().to_string();
    let places =
        Places { parquet: text(root().join("data/flights.parquet")), csv: text(folder.join("flights.csv")), folder };
    let prepare = ["prepare", &places.parquet, &text(places.folder.clone())];
    let prepared =
        peer::python(python, &prepare, options.threads).output().map_err(|e| failed("cannot run Python", e))?;
    if !prepared.status.success() {
        return Err(Failure::work(format!("peers.py prepare failed: {}", String::from_utf8_lossy(&prepared.stderr))));
    }
    if let Ok(output) = peer::python(python, &["versions"], options.threads).output() {
        machine::merge_versions(results, &serde_json::from_slice(&output.stdout).unwrap_or_default());
    }
    if let Ok(output) = peer::r(&options.rscript, &["versions"], options.threads).output() {
        machine::merge_versions(results, &serde_json::from_slice(&output.stdout).unwrap_or_default());
    }
    let exact = exact()?;
    let mut jobs = jobs(options, python, &places, results);
    eprintln!("── files");
    let mut others = Vec::new();
    for round in 0..=options.rounds {
        if round > 0 {
            others.push(machine::cores_of_others());
        }
        let count = jobs.len();
        for step in 0..count {
            let job = &mut jobs[(round + step) % count];
            if job.contestant.remark.is_none() {
                once(job, round == 0, options, python, &places.folder, &exact);
            }
        }
    }
    let contestants: Vec<Value> = jobs.iter().map(|job| job.contestant.to_json()).collect();
    results["files"] = json!({
        "data": "data/flights.parquet",
        "formula": FORMULA,
        "cores_of_others": others,
        "contestants": contestants,
    });
    Ok(())
}

/// The exact coefficients by name, of `reference/flights_exact.json`.
fn exact() -> Result<Vec<(String, f64)>, Failure> {
    let path = root().join("reference/flights_exact.json");
    let text = std::fs::read_to_string(&path).map_err(|e| Failure::work(format!("{}: {e}", path.display())))?;
    let all: Value = serde_json::from_str(&text).map_err(|e| Failure::work(format!("{}: {e}", path.display())))?;
    let model = all["models"].as_object().into_iter().flatten().map(|(_, m)| m).find(|m| m["formula"] == FORMULA);
    let model = model.ok_or_else(|| Failure::work(format!("no model `{FORMULA}` in {}", path.display())))?;
    let list = |key: &str| model[key].as_array().cloned().unwrap_or_default();
    let number = |v: Value| v.as_str().and_then(|s| s.parse().ok()).or(v.as_f64()).unwrap_or(f64::NAN);
    let names = list("names").into_iter().map(|n| n.as_str().unwrap_or_default().to_owned());
    Ok(names.zip(list("estimate").into_iter().map(number)).collect())
}

fn jobs(options: &Options, python: &Path, places: &Places, results: &mut Value) -> Vec<Job> {
    let mut jobs = Vec::new();
    let mut add = |name: &str, layout: &str, computes: &str, command: Vec<String>, coefficients: bool| {
        jobs.push(Job { contestant: Contestant::new(name, layout, computes), command, coefficients });
    };
    match hat(options) {
        Ok(hat) => {
            let fit = |source: &str| words(&[&hat, "fit", FORMULA, source, "--json"]);
            add("hat fit", "Parquet", "and standard errors, p values, digits", fit(&places.parquet), true);
            add("hat fit", "CSV", "and standard errors, p values, digits", fit(&places.csv), true);
            match model(&hat, places) {
                Ok(model) => {
                    for count in [10, 100, 1000] {
                        let computes = format!("the 5 largest weights of {count} queries over all rows");
                        add("hat explain", "Parquet", &computes, explain(&hat, &model, places, count), false);
                    }
                }
                Err(why) => {
                    eprintln!("hat explain left out: {why}");
                    note(results, &format!("hat explain left out: {why}"));
                }
            }
        }
        Err(why) => {
            eprintln!("hat left out: {why}");
            note(results, &format!("hat left out: {why}"));
        }
    }
    let script = root().join("bench/peers.py").display().to_string();
    let interpreter = python.display().to_string();
    let start = [interpreter.as_str(), "-W", "ignore", &script];
    let with = |rest: &[&str]| words(&[&start, rest].concat());
    if options.wants("statsmodels") {
        let command = with(&["statsmodels", &places.parquet, FORMULA]);
        add("statsmodels, formula", "Parquet", "and standard errors", command, true);
    }
    if options.wants("R lm") {
        let script = root().join("bench/peers.R").display().to_string();
        let rscript = options.rscript.display().to_string();
        let command = words(&[&rscript, "--vanilla", &script, "lm", &places.csv, &places.parquet, FORMULA]);
        add("R lm", "CSV", "and standard errors", command, true);
    }
    if options.wants("duckdb") {
        let command = with(&["duckdb", &places.parquet, &options.threads.to_string()]);
        add("DuckDB, sums of products", "Parquet", "coefficients", command, true);
    }
    jobs
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|&w| w.to_owned()).collect()
}

/// The program to time: as named, or built from this tree.
fn hat(options: &Options) -> Result<String, String> {
    if let Some(path) = &options.hat {
        return if path.is_file() {
            Ok(path.display().to_string())
        } else {
            Err(format!("no file {}", path.display()))
        };
    }
    let status = Command::new("cargo").args(["build", "--release", "--bin", "hat"]).current_dir(root()).status();
    if !status.is_ok_and(|s| s.success()) {
        return Err("it does not build".to_owned());
    }
    let beside = std::env::current_exe().ok().and_then(|path| path.parent().map(|p| p.join("hat")));
    let found = beside.map(|path| path.with_extension(std::env::consts::EXE_EXTENSION)).filter(|path| path.is_file());
    found.map(|path| path.display().to_string()).ok_or_else(|| "it was not found beside this program".to_owned())
}

/// Fits the model that `explain` reads, untimed.
fn model(hat: &str, places: &Places) -> Result<String, String> {
    let model = places.folder.join("flights.hat").display().to_string();
    let fit = Command::new(hat).args(["fit", FORMULA, &places.parquet, "-o", &model]).output();
    let fit = fit.map_err(|e| e.to_string())?;
    if fit.status.success() && Path::new(&model).is_file() {
        return Ok(model);
    }
    Err(format!("no model was written: {}", last_line(&fit.stderr).unwrap_or_default()))
}

fn explain(hat: &str, model: &str, places: &Places, queries: usize) -> Vec<String> {
    let queries = places.folder.join(format!("queries_{queries}.csv")).display().to_string();
    words(&[hat, "explain", model, &queries, "--train", &places.parquet, "--top", "5", "--json"])
}

/// One run of a process. The first is not timed: it finds what fails and reads the coefficients.
fn once(job: &mut Job, first: bool, options: &Options, python: &Path, folder: &Path, exact: &[(String, f64)]) {
    let out = folder.join("stdout");
    let result = measure(job, options, python, &out);
    let contestant = &mut job.contestant;
    let (seconds, peak) = match result {
        Ok(measured) => measured,
        Err(why) => {
            eprintln!("    failed     {} ({}): {why}", contestant.name, contestant.layout);
            contestant.remark = Some(why);
            return;
        }
    };
    if !first {
        contestant.seconds.push(seconds);
        contestant.part("peak_mb", peak / 1e6);
        return;
    }
    eprintln!("{:>10.1} ms  {} ({}): {}", 1e3 * seconds, contestant.name, contestant.layout, contestant.computes);
    if job.coefficients {
        match coefficients(&out, exact) {
            Ok((got, how)) => {
                let expected: Vec<f64> = exact.iter().map(|(_, value)| *value).collect();
                contestant.compare(&got, &expected);
                if let Some(how) = how {
                    contestant.layout = how;
                }
            }
            Err(why) => contestant.remark = Some(why),
        }
    }
}

/// Wall seconds and peak bytes.
fn measure(job: &Job, options: &Options, python: &Path, out: &Path) -> Result<(f64, f64), String> {
    let mut arguments = vec!["measure".to_owned(), out.display().to_string()];
    arguments.extend(job.command.iter().cloned());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = peer::python(python, &arguments, options.threads).output().map_err(|e| e.to_string())?;
    let said: Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| last_line(&output.stderr).unwrap_or_else(|| "no measurement".to_owned()))?;
    if said["exit"] != 0 {
        return Err(format!("exit {}: {}", said["exit"], last_line(&output.stderr).unwrap_or_default()));
    }
    let number = |key: &str| said[key].as_f64().ok_or_else(|| format!("no `{key}` in the measurement"));
    Ok((number("seconds")?, number("peak_bytes")?))
}

fn last_line(bytes: &[u8]) -> Option<String> {
    String::from_utf8_lossy(bytes).lines().rfind(|line| !line.trim().is_empty()).map(str::to_owned)
}

/// The coefficients in the order of the exact ones, matched by name, and how the file was read.
fn coefficients(out: &Path, exact: &[(String, f64)]) -> Result<(Vec<f64>, Option<String>), String> {
    let bytes = std::fs::read(out).map_err(|e| e.to_string())?;
    let said: Value = serde_json::from_slice(&bytes).map_err(|e| format!("its output is not JSON: {e}"))?;
    let table = said["coefficients"].as_array().ok_or("no coefficients in its output")?;
    let find = |name: &str| table.iter().find(|row| row["name"] == name).and_then(|row| row["estimate"].as_f64());
    let got: Option<Vec<f64>> = exact.iter().map(|(name, _)| find(name)).collect();
    let got = got.ok_or("its coefficients have other names than R's")?;
    if table.len() != exact.len() {
        return Err(format!("it has {} coefficients, expected {}", table.len(), exact.len()));
    }
    Ok((got, said["how"].as_str().map(str::to_owned)))
}

fn note(results: &mut Value, text: &str) {
    results["notes"].as_array_mut().expect("made as a list").push(json!(text));
}

//! `cargo xtask check`: every test of the project.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Failure, help, package, root, runtimes};

const HELP: &str = "\
cargo xtask check [STEP…]

Runs every step, or only those named, and stops at the first that fails:

  format      cargo fmt --all --check
  features    builds and tests ask every dependency for the same features
  lint        clippy over the crates, warnings are errors
  tests       cargo nextest run (or cargo test) --release
  docs        cargo test --release --doc
  tract       ONNX files in tract: reference/tract
  python      ONNX and safetensors files in ONNX Runtime, onnx.checker and numpy: reference/onnx
  package     the Python package: its lints, its wheel in an environment of its own, mypy and pytest

A step whose tool is not installed is skipped, and the summary says so.
";

type Step = (&'static str, fn() -> Result<Outcome, Failure>);

const STEPS: [Step; 8] = [
    ("format", format),
    ("features", features),
    ("lint", lint),
    ("tests", tests),
    ("docs", docs),
    ("tract", runtimes::tract),
    ("python", runtimes::python),
    ("package", package::package),
];

pub(crate) enum Outcome {
    Passed,
    Skipped(&'static str),
}

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if arguments.iter().any(|a| a == "--help" || a == "-h") {
        return help(HELP);
    }
    if let Some(unknown) = arguments.iter().find(|a| STEPS.iter().all(|(name, _)| name != a)) {
        return Err(Failure::usage(format!("unknown step `{unknown}`"), HELP));
    }
    let mut lines = Vec::new();
    for (name, step) in STEPS {
        if !arguments.is_empty() && !arguments.iter().any(|a| a == name) {
            continue;
        }
        eprintln!("── {name}");
        let start = Instant::now();
        let outcome = step();
        let line = |what: &str, took: Duration| format!("{name:<10}{:>8.1} s  {what}", took.as_secs_f64());
        match outcome {
            Ok(Outcome::Passed) => lines.push(line("passed", start.elapsed())),
            Ok(Outcome::Skipped(why)) => lines.push(line(&format!("skipped: {why}"), start.elapsed())),
            Err(failure) => {
                lines.push(line("FAILED", start.elapsed()));
                summary(&lines);
                return Err(Failure { message: format!("step `{name}`: {}", failure.message), ..failure });
            }
        }
    }
    summary(&lines);
    Ok(())
}

fn summary(lines: &[String]) {
    println!("── check");
    for line in lines {
        println!("{line}");
    }
}

fn format() -> Result<Outcome, Failure> {
    if !answers("cargo", &["fmt", "--version"]) {
        return Ok(Outcome::Skipped("rustfmt is not installed"));
    }
    execute(cargo(&["fmt", "--all", "--check"]), "the code is not formatted: run `cargo fmt --all`")
}

/// The features of a dependency are the union of what the packages being built ask for, and test dependencies count only
/// when tests are built. Where the two sets differ, the dependency *and everything above it* is compiled twice: minutes,
/// when DataFusion is above it.
fn features() -> Result<Outcome, Failure> {
    let (build, test) = (feature_sets("normal,build")?, feature_sets("normal,build,dev")?);
    let mut twice = Vec::new();
    for (package, sets) in &build {
        let tested = test.get(package).cloned().unwrap_or_default();
        for set in sets.difference(&tested) {
            twice.push(format!("{package}: built with [{set}], tested with {tested:?}"));
        }
    }
    if twice.is_empty() {
        return Ok(Outcome::Passed);
    }
    Err(Failure {
        code: 1,
        message: format!("dependencies are compiled twice\n  {}", twice.join("\n  ")),
        hint: Some("ask for the missing features in xtask/Cargo.toml".to_owned()),
    })
}

fn feature_sets(edges: &str) -> Result<BTreeMap<String, BTreeSet<String>>, Failure> {
    let output = cargo(&["tree", "--edges", edges, "--format", "{p}\t{f}", "--prefix", "none"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| Failure::work(format!("cannot run cargo tree: {e}")))?;
    if !output.status.success() {
        return Err(Failure::work("cargo tree failed"));
    }
    let mut sets: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some((package, features)) = line.trim_end_matches(" (*)").split_once('\t') {
            sets.entry(package.to_owned()).or_default().insert(features.to_owned());
        }
    }
    Ok(sets)
}

/// `cargo clippy` would compile the metadata of every dependency a second time, DataFusion's among them. Clippy's driver
/// is a compiler too: as the wrapper of a *release build* of our own packages it lints them against the dependencies that
/// the tests use anyway. Our packages are built without optimisation, as only the lints are wanted; asking for the
/// binaries' test harnesses covers libraries and binaries, and leaves the programs in the target folder alone.
fn lint() -> Result<Outcome, Failure> {
    match lint_driver(&["test", "--release", "--bins", "--no-run"])? {
        Some(command) => execute(command, "clippy has complaints"),
        None => Ok(Outcome::Skipped("clippy is not installed")),
    }
}

/// A build that lints our own packages; `None` where clippy is not installed.
pub(crate) fn lint_driver(arguments: &[&str]) -> Result<Option<Command>, Failure> {
    if !answers("clippy-driver", &["--version"]) {
        return Ok(None);
    }
    let mut command = cargo(arguments);
    for member in members()? {
        command.arg("--config").arg(format!("profile.release.package.{member}.opt-level=0"));
    }
    // Cargo lints again when these arguments change. The name of the checkout keeps checkouts that share a target folder
    // from taking each other's lints for their own.
    let arguments = ["-Dwarnings", "--cfg", &format!("checkout={:?}", root().display().to_string()), ""];
    command.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver").env("CLIPPY_ARGS", arguments.join("__CLIPPY_HACKERY__"));
    Ok(Some(command))
}

/// Names of the workspace's packages.
fn members() -> Result<Vec<String>, Failure> {
    let output = cargo(&["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .map_err(|e| Failure::work(format!("cannot run cargo metadata: {e}")))?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|e| Failure::work(format!("cargo metadata: {e}")))?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    Ok(packages.iter().filter_map(|p| p["name"].as_str().map(str::to_owned)).collect())
}

fn tests() -> Result<Outcome, Failure> {
    let command = if answers("cargo", &["nextest", "--version"]) {
        cargo(&["nextest", "run", "--release"])
    } else {
        cargo(&["test", "--release", "--all-targets"])
    };
    execute(command, "a test failed")
}

/// The whole workspace, because `-p hattention` alone would ask its dependencies for other features and compile them anew.
fn docs() -> Result<Outcome, Failure> {
    execute(cargo(&["test", "--release", "--doc"]), "an example in the documentation failed")
}

/// Cargo in the root of the checkout, without what cargo told *this* program about its package: build scripts of
/// dependencies that look at these variables would otherwise run again.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(root());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

pub(crate) fn execute(mut command: Command, complaint: &str) -> Result<Outcome, Failure> {
    let program = Path::new(command.get_program()).display().to_string();
    let status = command.status().map_err(|e| Failure::work(format!("cannot run {program}: {e}")))?;
    if status.success() { Ok(Outcome::Passed) } else { Err(Failure::work(format!("{complaint} ({status})"))) }
}

/// Whether a tool is installed.
pub(crate) fn answers(program: &str, arguments: &[&str]) -> bool {
    let quiet = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

//! The steps `tract` and `python` of `cargo xtask check`: files that we write, run by the programs they are written for.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::check::{Outcome, answers, cargo, execute};
use crate::{Failure, root};

/// The tests in Python, and beside them the versions of what they need.
const TESTS: &str = "reference/onnx";

/// Runs the tests of `reference/tract`: a workspace of its own, since tract asks shared dependencies for other features
/// than DataFusion does, which would then be compiled anew.
pub(crate) fn tract() -> Result<Outcome, Failure> {
    let folder = target_folder()?;
    let program = program(&folder)?;
    let mut tests = cargo(&["test", "--release", "--manifest-path", "reference/tract/Cargo.toml", "--target-dir"]);
    tests.arg(folder.join("tract")).env("HAT", program);
    execute(tests, "an ONNX file does not run in tract as it should")
}

/// Builds the program.
pub(crate) fn program(target: &Path) -> Result<PathBuf, Failure> {
    execute(cargo(&["build", "--release", "--bin", "hat"]), "the program does not build")?;
    Ok(target.join("release").join(format!("hat{}", std::env::consts::EXE_SUFFIX)))
}

/// Runs the tests of `reference/onnx` in an environment of their own below the target folder, which is made anew when the
/// requirements change.
pub(crate) fn python() -> Result<Outcome, Failure> {
    let python = match interpreter("python-onnx", &root().join(TESTS).join("requirements.txt"))? {
        Ok(python) => python,
        Err(skipped) => return Ok(skipped),
    };
    let program = program(&target_folder()?)?;
    let mut tests = Command::new(python);
    tests.args(["-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", TESTS]).current_dir(root());
    tests.env("HAT", program).env("PYTHONDONTWRITEBYTECODE", "1");
    execute(tests, "a test in Python failed")
}

/// The interpreter of an environment of this name below the target folder, with these requirements. Where there can be none,
/// the step is skipped; where continuous integration says that it is one (`CI`), that is a failure.
pub(crate) fn interpreter(name: &str, requirements: &Path) -> Result<Result<PathBuf, Outcome>, Failure> {
    let missing = |why: &'static str| match std::env::var_os("CI") {
        Some(_) => Err(Failure::work(why)),
        None => Ok(Err(Outcome::Skipped(why))),
    };
    if !answers("python3", &["-c", "import sys, venv; assert sys.version_info >= (3, 11)"]) {
        return missing("no Python of version 3.11 or later with venv");
    }
    match environment(&target_folder()?.join(name), requirements)? {
        Some(python) => Ok(Ok(python)),
        None => missing("the packages of its requirements cannot be installed here"),
    }
}

/// The interpreter of an environment with these requirements; none if its packages cannot be installed.
pub(crate) fn environment(folder: &Path, requirements: &Path) -> Result<Option<PathBuf>, Failure> {
    let why = |e: std::io::Error| Failure::work(format!("cannot prepare {}: {e}", folder.display()));
    let wanted = std::fs::read(requirements).map_err(why)?;
    let (stamp, python) = (folder.join("requirements.txt"), folder.join("bin/python"));
    if std::fs::read(&stamp).is_ok_and(|found| found == wanted) && python.exists() {
        return Ok(Some(python));
    }
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(why)?;
    }
    let run = |mut command: Command| command.stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(folder);
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "-r"]);
    install.arg(requirements);
    if !(run(venv) && run(install)) {
        return Ok(None);
    }
    // Written last: an installation that was cut short is made again.
    std::fs::write(&stamp, wanted).map_err(why)?;
    Ok(Some(python))
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> Result<PathBuf, Failure> {
    let output = cargo(&["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .map_err(|e| Failure::work(format!("cannot run cargo metadata: {e}")))?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|e| Failure::work(format!("cargo metadata: {e}")))?;
    let folder = metadata["target_directory"].as_str();
    folder.map(PathBuf::from).ok_or_else(|| Failure::work("cargo metadata names no target folder"))
}

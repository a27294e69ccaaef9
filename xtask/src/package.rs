//! The step `package` of `cargo xtask check`: the Python package, linted, built, installed in an environment of its own, and
//! tested there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::check::{Outcome, cargo, execute, lint_driver};
use crate::runtimes::{interpreter, program, target_folder};
use crate::{Failure, root};

/// What the tests need, beside the package.
const REQUIREMENTS: &str = "python/requirements-test.txt";

/// Lints and builds the package, installs it, checks its types and runs its tests.
pub(crate) fn package() -> Result<Outcome, Failure> {
    let python = match interpreter("python-package", &root().join(REQUIREMENTS))? {
        Ok(python) => python,
        Err(skipped) => return Ok(skipped),
    };
    let folder = target_folder()?;
    lint()?;
    let wheel = wheel(&python, &folder)?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--force-reinstall"]);
    install.arg(wheel);
    execute(install, "the package cannot be installed")?;
    let mut types = Command::new(&python);
    types.args(["-m", "mypy", "--config-file", "pyproject.toml", "--cache-dir"]).arg(folder.join("mypy"));
    types.current_dir(root().join("python"));
    execute(types, "the package's types are not what it says")?;
    let mut stubs = Command::new(&python);
    stubs.args(["-m", "mypy.stubtest", "hattention._hattention", "--mypy-config-file", "python/pyproject.toml"]);
    execute(at_root(stubs), "the stubs are not of the compiled part")?;
    let program = program(&folder)?;
    let mut tests = Command::new(&python);
    tests.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "python/pyproject.toml", "--rootdir", "python"]);
    tests.arg("python/tests").env("HAT", program);
    execute(at_root(tests), "a test of the Python package failed")
}

/// From the root: in `python` the sources would be imported, and not what was installed.
fn at_root(mut command: Command) -> Command {
    command.current_dir(root()).env("PYTHONDONTWRITEBYTECODE", "1").env_remove("PYTHONPATH");
    command
}

/// Clippy over the package's own crate; see the step `lint`.
fn lint() -> Result<(), Failure> {
    let arguments = ["build", "--release", "--package", "hattention-python", "--features", "pyo3/extension-module"];
    match lint_driver(&arguments)? {
        Some(command) => execute(command, "clippy has complaints").map(drop),
        None => Ok(()),
    }
}

/// Builds the wheel.
fn wheel(python: &Path, target: &Path) -> Result<PathBuf, Failure> {
    let wheels = target.join("wheels");
    if wheels.exists() {
        std::fs::remove_dir_all(&wheels)
            .map_err(|e| Failure::work(format!("cannot empty {}: {e}", wheels.display())))?;
    }
    // Maturin calls the cargo that it finds, with the settings of this process.
    let mut build = Command::new(python);
    build.args(["-m", "maturin", "build", "--release", "--manifest-path", "python/Cargo.toml", "--out"]).arg(&wheels);
    build.arg("--interpreter").arg(python).current_dir(root()).stdout(Stdio::null());
    for (name, _) in cargo(&[]).get_envs() {
        build.env_remove(name);
    }
    execute(build, "the wheel cannot be built")?;
    let found = std::fs::read_dir(&wheels).ok().and_then(|mut entries| entries.next()?.ok());
    found.map(|entry| entry.path()).ok_or_else(|| Failure::work("maturin built no wheel"))
}

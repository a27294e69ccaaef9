//! `cargo xtask dist`: the program as one file, or the Python package as a wheel, for other people's machines.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::check::{cargo, execute};
use crate::runtimes::{environment, target_folder};
use crate::{Failure, help, root};

const HELP: &str = "\
cargo xtask dist [--wheel] [--glibc VERSION]

Builds `hat` for x86-64 Linux with glibc VERSION (2.28 by default: RHEL 8, Debian 10, Ubuntu 20.04) or later, without
symbols, checks it with `hat selftest`, and packs it with README, licences and documentation:

  target/dist/hat-X.Y.Z-x86_64-linux.tar.gz    and its SHA-256 beside it

With --wheel it builds the Python package instead, installs it in an environment of its own, and fits a regression there:

  target/dist/hattention-X.Y.Z-cp310-abi3-manylinux_2_28_x86_64.whl

The instruction sets that the processor has are found when the program runs. Linking against an old glibc is the work of
Zig's linker, which is installed below the target folder from xtask/dist-requirements.txt (Python 3.11 with venv).
";

/// The oldest glibc that is supported, unless asked otherwise.
const GLIBC: &str = "2.28";

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let (wheel, rest) = match arguments {
        [flag, rest @ ..] if flag == "--wheel" => (true, rest),
        all => (false, all),
    };
    let glibc = match rest {
        [] => GLIBC,
        [one] if one == "--help" || one == "-h" => return help(HELP),
        [flag, version] if flag == "--glibc" && is_version(version) => version,
        _ => {
            return Err(Failure::usage(
                "expected --wheel or nothing, then nothing or --glibc VERSION, such as 2.28",
                HELP,
            ));
        }
    };
    let target = target_folder()?;
    if wheel {
        return build_wheel(&target, glibc);
    }
    let program = build(&target, glibc)?;
    let mut selftest = Command::new(&program);
    selftest.arg("selftest");
    execute(selftest, "the program that was built fails its own test")?;
    pack(&target.join("dist"), &program, glibc)
}

fn is_version(text: &str) -> bool {
    text.split('.').count() == 2 && text.split('.').all(|part| part.parse::<u32>().is_ok())
}

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// An interpreter beside which Zig and what calls it are installed, and a `PATH` on which they are found.
fn tools(target: &Path) -> Result<(PathBuf, OsString), Failure> {
    let tools = environment(&target.join("dist-tools"), &root().join("xtask/dist-requirements.txt"))?;
    let python = tools.ok_or_else(|| Failure::work("Zig cannot be installed from xtask/dist-requirements.txt"))?;
    let programs = python.parent().map(Path::to_path_buf).unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(programs).chain(std::env::split_paths(&path));
    let paths = std::env::join_paths(paths).map_err(|e| Failure::work(format!("PATH: {e}")))?;
    Ok((python, paths))
}

/// Builds the program against an old glibc, in a folder of its own.
fn build(target: &Path, glibc: &str) -> Result<PathBuf, Failure> {
    let (python, path) = tools(target)?;
    let folder = target.join("dist-build");
    let mut command = cargo(&["zigbuild", "--release", "--locked", "--bin", "hat", "--target"]);
    command.arg(format!("{TRIPLE}.{glibc}")).arg("--target-dir").arg(&folder);
    command.env("CARGO_PROFILE_RELEASE_STRIP", "symbols").env("CARGO_ZIGBUILD_PYTHON_PATH", &python).env("PATH", path);
    execute(command, "the program does not build")?;
    Ok(folder.join(TRIPLE).join("release/hat"))
}

/// Builds the wheel against an old glibc, and fits a regression with it where nothing but numpy is installed.
fn build_wheel(target: &Path, glibc: &str) -> Result<(), Failure> {
    let (python, path) = tools(target)?;
    let tag = format!("manylinux_{}", glibc.replace('.', "_"));
    let wheels = target.join("dist");
    let mut command = Command::new(&python);
    command.args(["-m", "maturin", "build", "--release", "--locked", "--zig", "--compatibility", &tag]);
    command.args(["--target", TRIPLE, "--manifest-path", "python/Cargo.toml", "--out"]).arg(&wheels);
    command.arg("--interpreter").arg(&python).arg("--target-dir").arg(target.join("dist-build"));
    command.env("PATH", path).current_dir(root());
    for (name, _) in cargo(&[]).get_envs() {
        command.env_remove(name);
    }
    execute(command, "the wheel does not build")?;
    let wheel = wheels.join(format!("hattention-{}-cp310-abi3-{tag}_x86_64.whl", env!("CARGO_PKG_VERSION")));
    let place = target.join("dist-wheel");
    if place.exists() {
        let why = |e: std::io::Error| Failure::work(format!("cannot empty {}: {e}", place.display()));
        std::fs::remove_dir_all(&place).map_err(why)?;
    }
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(&place);
    execute(venv, "python3 has no venv")?;
    let python = place.join("bin/python");
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).arg(&wheel);
    execute(install, "the wheel cannot be installed")?;
    let mut fit = Command::new(&python);
    fit.args(["-c", FIT]).current_dir(root()).env_remove("PYTHONPATH");
    execute(fit, "the wheel that was built cannot fit")?;
    let size = std::fs::metadata(&wheel).map_or(0, |metadata| metadata.len()) as f64 / 1e6;
    println!("{}: {size:.1} MB, for Python 3.10 and glibc {glibc} or later", wheel.display());
    Ok(())
}

/// A fit of real data from a path, whose coefficients are known.
const FIT: &str = "\
import hattention
fit = hattention.fit('arr_delay ~ dep_delay', 'data/flights.parquet')
assert fit.nobs == 327346 and abs(fit.params['dep_delay'] - 1.0190929) < 1e-6, fit.summary()
";

/// Packs the program, and says how large it is.
fn pack(folder: &Path, program: &Path, glibc: &str) -> Result<(), Failure> {
    let why = |e: std::io::Error| Failure::work(format!("cannot write {}: {e}", folder.display()));
    let name = format!("hat-{}-x86_64-linux", env!("CARGO_PKG_VERSION"));
    let content = folder.join(&name);
    if content.exists() {
        std::fs::remove_dir_all(&content).map_err(why)?;
    }
    std::fs::create_dir_all(content.join("docs")).map_err(why)?;
    std::fs::copy(program, content.join("hat")).map_err(why)?;
    for file in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        std::fs::copy(root().join(file), content.join(file)).map_err(why)?;
    }
    for page in std::fs::read_dir(root().join("docs")).map_err(why)? {
        let page = page.map_err(why)?;
        if page.path().extension().is_some_and(|extension| extension == "md") {
            std::fs::copy(page.path(), content.join("docs").join(page.file_name())).map_err(why)?;
        }
    }
    let archive = format!("{name}.tar.gz");
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "-czf", &archive, &name]).current_dir(folder);
    execute(tar, "tar failed")?;
    let mut sum = Command::new("sh");
    sum.args(["-c", &format!("sha256sum {archive} > {archive}.sha256")]).current_dir(folder);
    execute(sum, "sha256sum failed")?;
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len()) as f64 / 1e6;
    println!(
        "{}: {:.1} MB, the program {:.1} MB, for glibc {glibc} or later",
        folder.join(&archive).display(),
        size(&folder.join(&archive)),
        size(program)
    );
    Ok(())
}

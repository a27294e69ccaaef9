//! `cargo xtask dist`: the program as one file that runs on other people's machines.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::check::{cargo, execute};
use crate::runtimes::{environment, target_folder};
use crate::{Failure, help, root};

const HELP: &str = "\
cargo xtask dist [--glibc VERSION]

Builds `hat` for x86-64 Linux with glibc VERSION (2.28 by default: RHEL 8, Debian 10, Ubuntu 20.04) or later, without
symbols, checks it with `hat selftest`, and packs it with README, licences and documentation:

  target/dist/hat-X.Y.Z-x86_64-linux.tar.gz    and its SHA-256 beside it

The instruction sets that the processor has are found when the program runs. Linking against an old glibc is the work of
Zig's linker, which is installed below the target folder from xtask/dist-requirements.txt (Python 3.11 with venv).
";

/// The oldest glibc that is supported, unless asked otherwise.
const GLIBC: &str = "2.28";

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let glibc = match arguments {
        [] => GLIBC,
        [one] if one == "--help" || one == "-h" => return help(HELP),
        [flag, version] if flag == "--glibc" && is_version(version) => version,
        _ => return Err(Failure::usage("expected nothing or --glibc VERSION, such as 2.28", HELP)),
    };
    let target = target_folder()?;
    let program = build(&target, glibc)?;
    let mut selftest = Command::new(&program);
    selftest.arg("selftest");
    execute(selftest, "the program that was built fails its own test")?;
    pack(&target.join("dist"), &program, glibc)
}

fn is_version(text: &str) -> bool {
    text.split('.').count() == 2 && text.split('.').all(|part| part.parse::<u32>().is_ok())
}

/// Builds the program against an old glibc, in a folder of its own.
fn build(target: &Path, glibc: &str) -> Result<PathBuf, Failure> {
    let tools = environment(&target.join("dist-tools"), &root().join("xtask/dist-requirements.txt"))?;
    let python = tools.ok_or_else(|| Failure::work("Zig cannot be installed from xtask/dist-requirements.txt"))?;
    let programs = python.parent().map(Path::to_path_buf).unwrap_or_default();
    let triple = "x86_64-unknown-linux-gnu";
    let folder = target.join("dist-build");
    let mut command = cargo(&["zigbuild", "--release", "--locked", "--bin", "hat", "--target"]);
    command.arg(format!("{triple}.{glibc}")).arg("--target-dir").arg(&folder);
    command.env("CARGO_PROFILE_RELEASE_STRIP", "symbols").env("CARGO_ZIGBUILD_PYTHON_PATH", &python);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(programs).chain(std::env::split_paths(&path));
    let paths = std::env::join_paths(paths).map_err(|e| Failure::work(format!("PATH: {e}")))?;
    command.env("PATH", paths);
    execute(command, "the program does not build")?;
    Ok(folder.join(triple).join("release/hat"))
}

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

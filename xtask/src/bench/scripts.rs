//! The benches that are Python scripts of their own: each times peers and writes its page of results.

use std::path::Path;
use std::process::Command;

use super::Options;
use crate::check::{cargo, execute};
use crate::runtimes::target_folder;
use crate::{Failure, root};

/// A script below `bench/`, and the programs that it takes, by the names of their targets.
struct Script {
    section: &'static str,
    file: &'static str,
    /// Whether `hat` is the first argument.
    hat: bool,
    example: Option<&'static str>,
    /// Whether a folder for large files is the last argument.
    folder: bool,
}

const SCRIPTS: [Script; 6] = [
    Script { section: "out-of-core", file: "out_of_core.py", hat: true, example: Some("out_of_core"), folder: true },
    Script { section: "groups", file: "peers_groups.py", hat: true, example: Some("groups_speed"), folder: false },
    Script { section: "roll", file: "peers_roll.py", hat: false, example: Some("roll_speed"), folder: false },
    Script { section: "effects", file: "absorbed.py", hat: true, example: None, folder: false },
    // (Times the package that this Python has: `pip install ./python`.)
    Script { section: "python", file: "peers_python.py", hat: false, example: None, folder: false },
    Script { section: "cluster", file: "cluster.py", hat: true, example: Some("out_of_core"), folder: true },
];

/// Whether a section is one of the scripts.
pub(crate) fn is_one(section: &str) -> bool {
    SCRIPTS.iter().any(|script| script.section == section)
}

/// Runs the scripts that were asked for by name.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    for script in SCRIPTS.iter().filter(|script| options.sections.iter().any(|asked| asked == script.section)) {
        let Some(python) = &options.python else {
            let message = format!("--only {} times peers in Python, and none is given", script.section);
            return Err(Failure::usage(message, "name one: --python PATH, or HATTENTION_PEERS_PYTHON"));
        };
        script.run(python)?;
    }
    Ok(())
}

impl Script {
    fn run(&self, python: &Path) -> Result<(), Failure> {
        let target = target_folder()?;
        let mut build = cargo(&["build", "--release", "--locked", "--bin", "hat"]);
        build.args(self.example.iter().flat_map(|example| ["--example", example]));
        execute(build, "the programs do not build")?;
        let mut script = Command::new(python);
        script.arg(root().join("bench").join(self.file)).current_dir(root());
        if self.hat {
            script.arg(target.join("release/hat"));
        }
        script.args(self.example.map(|example| target.join("release/examples").join(example)));
        if self.folder {
            script.arg(target.join("bench-data"));
        }
        execute(script, "the bench failed").map(drop)
    }
}

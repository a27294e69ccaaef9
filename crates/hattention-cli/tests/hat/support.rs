//! A folder to run `hat` in, what it printed, and reference values.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What a command printed and how it ended.
pub struct Outcome {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// The program, to be run in a folder.
pub fn hat_in(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hat"));
    command.current_dir(folder);
    command
}

impl Outcome {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The command must have failed with this code and said all of these words; it must not have panicked.
    pub fn is_refusal(&self, args: &[&str], code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{args:?}: {} {}", self.out, self.err);
        assert!(self.err.starts_with("error: "), "{args:?}: {}", self.err);
        assert!(!self.err.contains("panicked"), "{args:?}: {}", self.err);
        for word in words {
            assert!(self.err.contains(word), "{args:?} does not say `{word}`: {}", self.err);
        }
    }
}

/// A folder of its own to run the program in.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn command(&self) -> Command {
        hat_in(self.0.path())
    }

    pub fn hat(&self, args: &[&str]) -> Outcome {
        Outcome::of(self.command().args(args))
    }

    /// Runs a command that must succeed.
    pub fn done(&self, args: &[&str]) -> String {
        let outcome = self.hat(args);
        assert_eq!(outcome.code, 0, "{args:?}: {}", outcome.err);
        outcome.out
    }

    /// Runs a command that must fail with this code and say all of these words.
    pub fn refused(&self, args: &[&str], code: i32, words: &[&str]) {
        self.hat(args).is_refusal(args, code, words);
    }
}

/// The project's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The path of a file of the project.
pub fn data(file: &str) -> String {
    root().join(file).canonicalize().unwrap().to_str().unwrap().to_owned()
}

/// Runs a command in the project's folder that must succeed and print JSON.
pub fn hat_json(args: &[&str]) -> Value {
    let outcome = Outcome::of(hat_in(&root()).args(args));
    assert_eq!(outcome.code, 0, "{args:?}: {}", outcome.err);
    serde_json::from_str(&outcome.out).unwrap()
}

/// Reference values of the project.
pub fn reference(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(root().join("reference").join(name)).unwrap()).unwrap()
}

/// Reference numbers are JSON numbers or strings of 25 digits.
pub fn number(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(f64::NAN)
}

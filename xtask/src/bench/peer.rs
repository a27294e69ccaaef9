//! A peer's process: it loads the data once and then runs its contestants one at a time, when told to.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A child that answers each line with one line of JSON, as described in `bench/peers.py`.
pub(crate) struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// What it said first: its contestants and versions.
    pub(crate) greeting: Value,
}

impl Peer {
    pub(crate) fn start(mut command: Command) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot run {}: {e}", command.get_program().to_string_lossy()))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut peer = Self { child, input, output, greeting: Value::Null };
        peer.greeting = peer.answer()?;
        Ok(peer)
    }

    pub(crate) fn ask(&mut self, line: &str) -> Result<Value, String> {
        let input = self.input.as_mut().ok_or("closed")?;
        writeln!(input, "{line}").and_then(|()| input.flush()).map_err(|e| format!("the peer is gone: {e}"))?;
        let answer = self.answer()?;
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer),
        }
    }

    fn answer(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(0) => Err("the peer ended without an answer".to_owned()),
            Ok(_) => serde_json::from_str(&line).map_err(|e| format!("unreadable answer: {e}")),
            Err(e) => Err(format!("the peer is gone: {e}")),
        }
    }
}

impl Drop for Peer {
    /// Closing its input ends it.
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

/// Sets the number of threads in every way the peers know, and removes overrides of OpenBLAS's own choices.
pub(crate) fn pin(command: &mut Command, threads: usize) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OPENBLAS_") {
            command.env_remove(&name);
        }
    }
    for name in [
        "OPENBLAS_NUM_THREADS",
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "POLARS_MAX_THREADS",
        "RAYON_NUM_THREADS",
        "TOKIO_WORKER_THREADS",
    ] {
        command.env(name, threads.to_string());
    }
}

pub(crate) fn python(interpreter: &Path, arguments: &[&str], threads: usize) -> Command {
    let mut command = Command::new(interpreter);
    command.args(["-W", "ignore"]).arg(crate::root().join("bench/peers.py")).args(arguments);
    pin(&mut command, threads);
    command
}

pub(crate) fn r(rscript: &Path, arguments: &[&str], threads: usize) -> Command {
    let mut command = Command::new(rscript);
    command.arg("--vanilla").arg(crate::root().join("bench/peers.R")).args(arguments);
    pin(&mut command, threads);
    command
}

//! Progress of long passes and notes, on standard error.

use std::sync::Arc;

use hattention::attention_regression::{Observer, Step};
use hattention_table::regression::{Failure, Pass, Watch};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Whoever sits at the terminal.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    /// Whether they want no progress.
    pub quiet: bool,
}

impl Watch for Terminal {
    fn note(&self, text: &str) {
        eprintln!("note: {text}");
    }

    fn second_pass(&self, why: &str) {
        if !self.quiet {
            self.note(why);
        }
    }

    fn search(&self, what: &'static str) -> Option<Observer> {
        if self.quiet {
            return None;
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        if let Ok(style) = ProgressStyle::with_template("{msg} {spinner} ({elapsed})") {
            bar.set_style(style);
        }
        let bar = Shown(bar);
        Some(Arc::new(move |Step { searches, step, loss }| {
            bar.0.set_message(format!("{what}: search {searches}, step {step}, loss {loss:.5}"));
            bar.0.tick();
        }))
    }

    fn pass<'a>(&'a self, what: &'static str, bytes: Option<u64>) -> Box<dyn Pass + 'a> {
        Box::new(Progress::new(bytes, what, self.quiet))
    }
}

/// A bar that is cleared when nobody needs it.
struct Shown(ProgressBar);

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A bar with rate and time left; nothing where standard error is not a terminal.
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar over so many bytes, or a spinner if their number is not known.
    pub fn new(bytes: Option<u64>, what: &'static str, quiet: bool) -> Self {
        let bar = if quiet {
            ProgressBar::hidden()
        } else {
            ProgressBar::with_draw_target(bytes, ProgressDrawTarget::stderr_with_hz(10))
        };
        let template = match bytes {
            Some(_) => "{msg} {bar:30} {bytes}/{total_bytes} ({binary_bytes_per_sec}, {eta} left)",
            None => "{msg} {spinner} {bytes} ({binary_bytes_per_sec})",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self(bar)
    }

    /// More bytes are done.
    pub fn add(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

impl Pass for Progress {
    fn add(&self, bytes: u64) -> Result<(), Failure> {
        self.0.inc(bytes);
        Ok(())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

//! Progress of long passes, on standard error.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

//! How a command fails: message, hint, exit code.

use std::fmt;

/// Exit code of a computation without an answer.
pub const NO_ANSWER: u8 = 1;
/// Exit code of wrong usage or data.
pub const USAGE: u8 = 2;

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    /// What happened, without `error:`.
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
    /// The process's exit code.
    pub code: u8,
}

impl Failure {
    /// A failure of usage or data.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        Self { message: message.into(), hint: (!hint.is_empty()).then_some(hint), code: USAGE }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<hattention::Error> for Failure {
    fn from(error: hattention::Error) -> Self {
        use hattention::Error;
        let code = match error {
            Error::RankDeficient { .. } | Error::TooFewRows { .. } | Error::NoRows | Error::NoConvergence { .. } => {
                NO_ANSWER
            }
            _ => USAGE,
        };
        Self { hint: error.hint().map(str::to_owned), message: error.to_string(), code }
    }
}

impl From<hattention_table::error::TableError> for Failure {
    fn from(error: hattention_table::error::TableError) -> Self {
        Self { hint: error.hint(), message: error.to_string(), code: USAGE }
    }
}

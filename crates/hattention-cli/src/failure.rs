//! How a command fails: message, hint, exit code.

use std::fmt;

use hattention_table::source::Source;

/// Exit code of a computation without an answer.
pub const NO_ANSWER: u8 = 1;
/// Exit code of wrong usage or data.
pub const USAGE: u8 = 2;
/// Exit code of `hat drift` when the alarm sounds: an answer, not a failure.
pub const DRIFT: u8 = 3;

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    /// What happened, without `error:`.
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
    /// The process's exit code.
    pub code: u8,
    /// The row that is wrong, counted from 1 over all files.
    pub row: Option<u64>,
}

impl Failure {
    /// A failure of usage or data.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        Self { message: message.into(), hint: (!hint.is_empty()).then_some(hint), code: USAGE, row: None }
    }

    /// A computation without an answer.
    pub fn no_answer(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: NO_ANSWER, ..Self::usage(message, hint) }
    }

    /// Says what the failure is about, before its message.
    pub fn about(self, what: impl fmt::Display) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// Says in which of the source's files the wrong row stands.
    pub fn placed(self, source: &Source) -> Self {
        let place = self.row.and_then(|row| Some((row, source.place_of(row)?)));
        let message = match (place, self.message.strip_prefix("row ").and_then(|rest| rest.split_once(": "))) {
            (Some((row, (file, within))), Some((_, what))) => format!("row {row} (row {within} of {file}): {what}"),
            _ => self.message,
        };
        Self { message, ..self }
    }
}

/// `1 row`, `2 rows`.
pub fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
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
        Self { hint: error.hint().map(str::to_owned), message: error.to_string(), code, row: None }
    }
}

impl From<hattention_table::error::TableError> for Failure {
    fn from(error: hattention_table::error::TableError) -> Self {
        if let hattention_table::error::TableError::Regression(error) = error {
            return error.into();
        }
        Self { hint: error.hint(), message: error.to_string(), code: USAGE, row: error.row() }
    }
}

impl From<hattention_lab::Error> for Failure {
    fn from(error: hattention_lab::Error) -> Self {
        match error {
            hattention_lab::Error::Regression(error) => error.into(),
            error => Self { hint: error.hint(), message: error.to_string(), code: USAGE, row: None },
        }
    }
}

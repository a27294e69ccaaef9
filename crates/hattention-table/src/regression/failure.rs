//! How an analysis fails: a message, a way out, and whose fault it is.

use std::fmt;

use crate::error::TableError;
use crate::source::Source;

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The data or what was asked for are wrong.
    Usage,
    /// The computation has no answer: dependent columns, too few rows, no convergence.
    NoAnswer,
    /// Somebody stopped it.
    Interrupted,
}

/// An analysis without a result.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What happened, without `error:`.
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
    /// Why.
    pub kind: Kind,
    /// The row that is wrong, counted from 1 over all files.
    pub row: Option<u64>,
}

impl Failure {
    /// A failure of usage or data.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        Self { message: message.into(), hint: (!hint.is_empty()).then_some(hint), kind: Kind::Usage, row: None }
    }

    /// A computation without an answer.
    pub fn no_answer(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind: Kind::NoAnswer, ..Self::usage(message, hint) }
    }

    /// Work that was stopped from outside.
    pub fn interrupted() -> Self {
        Self { kind: Kind::Interrupted, ..Self::usage("interrupted", "") }
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

impl std::error::Error for Failure {}

impl From<hattention::Error> for Failure {
    fn from(error: hattention::Error) -> Self {
        use hattention::Error;
        let kind = match error {
            Error::RankDeficient { .. } | Error::TooFewRows { .. } | Error::NoRows | Error::NoConvergence { .. } => {
                Kind::NoAnswer
            }
            _ => Kind::Usage,
        };
        Self { hint: error.hint().map(str::to_owned), message: error.to_string(), kind, row: None }
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        if let TableError::Regression(error) = error {
            return error.into();
        }
        Self { hint: error.hint(), message: error.to_string(), kind: Kind::Usage, row: error.row() }
    }
}

//! How a command fails: exit codes, and failures of other crates.

pub use hattention_table::regression::failure::{Failure, Kind, counted};

/// Exit code of a computation without an answer.
const NO_ANSWER: u8 = 1;
/// Exit code of wrong usage or data.
const USAGE: u8 = 2;
/// Exit code of `hat drift` when the alarm sounds: an answer, not a failure.
pub const DRIFT: u8 = 3;
/// Exit code of a command that was interrupted.
const INTERRUPTED: u8 = 130;

/// The exit code of a failed command.
pub fn exit_code(failure: &Failure) -> u8 {
    match failure.kind {
        Kind::NoAnswer => NO_ANSWER,
        Kind::Usage => USAGE,
        Kind::Interrupted => INTERRUPTED,
    }
}

/// A failure of the lab.
pub fn of_lab(error: hattention_lab::Error) -> Failure {
    match error {
        hattention_lab::Error::Regression(error) => error.into(),
        error => Failure { hint: error.hint(), ..Failure::usage(error.to_string(), "") },
    }
}

/// A failure of a cluster.
pub fn of_cluster(error: hattention_cluster::ClusterError) -> Failure {
    match error {
        hattention_cluster::ClusterError::Table(error) => error.into(),
        error => Failure { hint: error.hint(), ..Failure::usage(error.to_string(), "") },
    }
}

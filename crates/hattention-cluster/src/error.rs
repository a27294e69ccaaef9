//! What can go wrong on a cluster, as data.

use hattention_table::aggregate::Refusal;
use hattention_table::error::TableError;

/// Everything that can go wrong between a fit and its cluster.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// An address that is none.
    #[error("the address is `{given}`, expected df://HOST or df://HOST:PORT")]
    Address {
        /// What was given.
        given: String,
    },
    /// A source that other machines cannot read.
    #[error("{what} is not where another machine could read it")]
    NotShared {
        /// The source.
        what: String,
    },
    /// A column of the source is called as one of the cluster's own.
    #[error("a column is called `{column}`, which means something else on a cluster")]
    Reserved {
        /// The column.
        column: String,
    },
    /// No scheduler answers.
    #[error("no scheduler answers at {address}: {message}")]
    Unreachable {
        /// Where one was sought.
        address: String,
        /// The network's message.
        message: String,
    },
    /// The connection broke, or what listens is no scheduler.
    #[error("the connection to {address} broke: its scheduler is gone, or what listens there is none")]
    Lost {
        /// Where the scheduler was.
        address: String,
    },
    /// There is nobody to do the work.
    #[error("the scheduler at {address} has had no executors for 20 seconds")]
    NoExecutors {
        /// The scheduler.
        address: String,
    },
    /// The scheduler or an executor does not know the function or the parts.
    #[error("the cluster does not know how to fit: {message}")]
    Foreign {
        /// The engine's message.
        message: String,
    },
    /// The rows or the files are at fault, as they would be on one machine.
    #[error("{message}")]
    Refused {
        /// What is wrong.
        message: String,
        /// The way out; empty if there is none to name.
        hint: String,
    },
    /// The job did not finish.
    #[error("the job on {address} failed: {message}")]
    Failed {
        /// The scheduler.
        address: String,
        /// The engine's message.
        message: String,
    },
    /// The job was called off.
    #[error("the fit was called off")]
    CalledOff,
    /// An address to listen on that is none.
    #[error("the address to listen on is `{given}`, expected an IP address of this machine")]
    Bind {
        /// What was given.
        given: String,
    },
    /// A server did not start, or stopped.
    #[error("the {what} stopped: {message}")]
    Server {
        /// Scheduler or executor.
        what: &'static str,
        /// Why.
        message: String,
    },
    /// The table's own errors.
    #[error(transparent)]
    Table(#[from] TableError),
}

impl ClusterError {
    /// The way out, if there is one to name: lower case, no full stop.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Address { .. } => "the port is 50050 if it is left out".into(),
            Self::NotShared { .. } => {
                "name files that the executors see under the same path: on a shared disk or in an object store".into()
            }
            Self::Reserved { .. } => "give it another name, or leave out --on to fit on this machine".into(),
            Self::Unreachable { .. } => {
                "start one with `hat cluster scheduler`, check host and port, or leave out --on to fit on this machine"
                    .into()
            }
            Self::NoExecutors { address } => {
                format!("start some, `hat cluster executor --scheduler {address}`, and then the fit again")
            }
            Self::Lost { .. } => "see that `hat cluster scheduler` runs there, and start the fit again".into(),
            Self::Foreign { .. } => {
                "start all schedulers and executors with `hat cluster`, of the version of this program".into()
            }
            Self::Refused { hint, .. } => return (!hint.is_empty()).then(|| hint.clone()),
            Self::Failed { .. } => {
                "look at the messages of the scheduler and the executors, and start the fit again".into()
            }
            Self::CalledOff => return None,
            Self::Bind { .. } => "127.0.0.1 serves this machine, 0.0.0.0 all that reach it".into(),
            Self::Server { .. } => "check that the port is free and the scheduler reachable".into(),
            Self::Table(error) => return error.hint(),
        };
        Some(hint)
    }

    /// What the engine's message means.
    pub(crate) fn of_engine(address: &str, message: &str) -> Self {
        if let Some(Refusal { message, hint }) = Refusal::within(message) {
            return Self::Refused { message, hint };
        }
        let one_line = message.split_whitespace().collect::<Vec<_>>().join(" ");
        let (_, one_line) = one_line.split_once(" failed: ").unwrap_or(("", &one_line));
        let one_line = one_line.to_owned();
        let foreign = [
            "rejected by executor",
            "hat_moments",
            "LogicalExtensionCodec is not provided",
            "PhysicalExtensionCodec is not provided",
        ];
        if foreign.iter().any(|sign| message.contains(sign)) {
            return Self::Foreign { message: one_line };
        }
        let alone = ["Cancelled", "all executors were lost"];
        if alone.iter().any(|sign| message.contains(sign)) && !message.contains("Status {") {
            return Self::NoExecutors { address: address.into() };
        }
        let broken =
            ["GrpcConnectionError", "transport error", "transport::Error", "h2 protocol error", "Timeout expired"];
        if broken.iter().any(|sign| message.contains(sign)) {
            return Self::Lost { address: address.into() };
        }
        Self::Failed { address: address.into(), message: one_line }
    }
}

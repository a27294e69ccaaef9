//! The same fit on a cluster: states of parts of the data, made where the data are, merged to the state of all.
//!
//! ```text
//! hat fit … --on df://host:port ──plan──▶ scheduler ──tasks──▶ executors: read a part, hat_moments
//!          ◀──────────────── one state, p² sums ──────────────────┘ (partial states merge on one of them)
//! ```
//!
//! Apache DataFusion Ballista carries the plan, deals out tasks, and runs them again when an executor is lost. What is
//! ours in it: the aggregate function [`hat_moments`](hattention_table::aggregate), and the [`table`] of a source's
//! parts, read by the same code as on one machine. States are exact, so the result is that of one machine, in bits,
//! whatever the cluster did.
//!
//! # Security
//! None: whoever reaches a scheduler or an executor can have any query run, and so any file read and written that an executor
//! can read and write, and can stop executors. Run them in a network that you trust.

mod client;
mod codec;
mod error;
mod links;
mod server;
pub mod table;

pub use client::{Address, Job, state_of};
pub use error::ClusterError;
pub use server::{ExecutorOptions, SchedulerOptions, run_executor, run_scheduler};

//! Fits, predictions, explanations and tests of tables: what the program `hat` and the Python package share.
//!
//! ```text
//! Formula ──┐
//! Source ───┴─ fit ──▶ Trained ──▶ TableModel ──▶ predict, explain, hypothesis, drift
//!      gather ──▶ TableState ── solve ──┘                     render: text and JSON
//! ```
//!
//! Failures say what is wrong and the way out in the words of the program's options (`--ridge`); long work is watched by
//! a [`Watch`], which may stop it.

pub mod absorb;
pub mod amount;
pub mod attend;
pub mod drift;
pub mod explain;
pub mod failure;
pub mod fit;
pub mod hc;
pub mod hypothesis;
pub mod model;
pub mod pass;
pub mod predict;
pub mod render;
pub mod restriction;
pub mod rows;
pub mod watch;

pub use amount::{Amount, Number};
pub use failure::{Failure, Kind};
pub use fit::{FitOptions, SolveOptions, Trained};
pub use model::TableModel;
pub use watch::{Pass, Unwatched, Watch};

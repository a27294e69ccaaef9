//! Least squares as attention.

pub mod block;
pub mod double_double;
pub mod error;
mod exact;
pub mod moments;

pub use block::{Block, Column};
pub use error::Error;
pub use moments::Moments;

/// The name of the intercept, as in R.
pub const INTERCEPT: &str = "(Intercept)";

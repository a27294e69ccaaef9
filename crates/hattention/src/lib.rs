//! Least squares as attention.

pub mod attention;
pub mod block;
pub mod codec;
mod components;
pub mod design;
pub mod double_double;
pub mod error;
mod exact;
pub mod fit;
mod linalg;
mod min_norm;
pub mod moments;
pub mod selection;
pub mod whitening;

pub use block::{Block, Column};
pub use codec::Model;
pub use design::{Aliased, Design, Filter, RankTolerance};
pub use error::Error;
pub use fit::{Fit, Vcov};
pub use moments::Moments;
pub use whitening::{Whitening, WhiteningOptions};

/// The name of the intercept, as in R.
pub const INTERCEPT: &str = "(Intercept)";

//! Exact least squares over the rationals, and the designs that the tests share.
//!
//! Every double is a dyadic rational, so the normal equations of a table are integers times powers of two. They are
//! solved by fraction-free elimination (Bareiss 1968), and an estimate is compared with the quotient it stands for:
//! nothing on the side of the truth is ever rounded.
#![allow(dead_code)]

pub mod cases;
pub mod exact;

pub use cases::{Case, Source, Values};
#[allow(unused_imports)]
pub use exact::{Fraction, Truth};

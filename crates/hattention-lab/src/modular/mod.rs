//! Modular addition: the small transformer that first knows its training pairs by heart and generalises much later.
//!
//! Inputs are (a, b, =), the target is (a + b) mod p. One layer without layer norm: four heads of 32, a network of 512 ReLU,
//! width 128, learned positions; the loss is that of the last position alone. So its attention has one query, that of "=", which
//! is the same for all inputs, and keys and values are tables over p tokens and two positions. [`Lean`](Form::Lean) computes
//! just that; [`Plain`](Form::Plain) is the transformer written out, and a test holds them equal.
//!
//! # References
//! Power et al. (2022) for the task; Nanda et al. (2023, arXiv 2301.05217) for this model and its training.

mod model;
mod observe;
mod task;
mod training;
mod watch;

pub use model::{Form, Model, Shape};
pub use observe::Observed;
pub use task::{Options as TaskOptions, Task};
pub use training::{Options, Scored, Training};
pub use watch::{Look, SEEN, watched};

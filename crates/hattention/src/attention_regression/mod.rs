//! Attention regression: softmax attention over the training rows, with learned metrics.
//!
//! ```text
//! ŷ(x) = β₀ + xᵀβ + Σ_m α_m Σ_i p_mi(x) y_i,   p_m(x) = softmax_i(s_m(x, x_i)),   Ω_m = L_m L_mᵀ
//! ```
//!
//! with scores `−½ (x − x_i)ᵀ Ω (x − x_i)` ([`Score::Distance`]) or `xᵀ Ω x_i` ([`Score::Dot`]). For given metrics all else is
//! least squares: β and α are solved for within every evaluation of the loss `mean e² + τ Σ α² + λ Σ ‖L‖²`, so the metrics
//! are all that is searched (by L-BFGS). A training row reads the others and not itself: what is minimised is
//! about what a new row would be off by.
//!
//! # Numerics
//! A kernel `G_ij = exp(−½ ‖k_i − k_j‖²)` is the same both ways, and a dot product is such a kernel with the prior
//! `exp(½ ‖k_j‖²)`: every pair of rows is looked at once in a loss and once in a slope, in vectors, never more than a few
//! columns of memory beside the rows. Bits depend on neither threads nor vectors.
//!
//! # References
//! Goulet Coulombe (2025), arXiv 2504.09663, for the model; Weinberger & Tesauro (2007) for kernel regression with a learned
//! metric and the row itself left out; Golub & Pereyra (1973) for solving the linear part within.

mod across;
mod choose;
mod energies;
mod fit;
mod folds;
mod gradient;
mod head;
mod interval;
mod learned;
mod left_out;
mod minimise;
#[cfg(test)]
pub(crate) mod noise;
mod number;
pub(crate) mod objective;
mod options;
mod pairs;
mod predict;
mod prepare;
pub(crate) mod quantiles;
mod sample;
mod scope;
mod search;
mod start;
mod watched;
mod weights;

pub use choose::{Chosen, Tried};
pub use energies::Scores;
pub use fit::{AttentionRegression, Report};
pub use interval::{Interval, Intervals};
pub use learned::Learned;
pub use options::{Coefficients, Mask, Objective, Options, Precision, Ranks, Score, Start};
pub use sample::Sampled;
pub use watched::{Observer, Step, watched};
pub use weights::{Explanation, Weights};

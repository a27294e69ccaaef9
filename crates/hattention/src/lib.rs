//! Least squares as attention.
//!
//! A prediction is a weighted sum of the targets that were seen, `ŷ(x) = Σᵢ ω(x, xᵢ) yᵢ`; for least squares the weight is
//! the inner product of a query and a key, `ω(x, xᵢ) = ⟨Lᵀx, Lᵀxᵢ⟩` with `L Lᵀ = (XᵀX)⁻¹`.
//!
//! ```text
//! blocks of rows ──▶ Moments ──▶ Whitening ──▶ Fit ──▶ predictions, weights, errors, tests
//!                    exact sums   slow memory   reads
//! ```
//! Factor once, apply many: no function both factors and predicts.
//!
//! # Glossary
//! | regression | attention | formula | here |
//! |---|---|---|---|
//! | row of the design `xᵢ` (centred) | key | `kᵢ = Lᵀxᵢ` | [`attention::Keys`] |
//! | new row `x` | query | `q = Lᵀx` | [`attention::Keys`] |
//! | target `yᵢ` | value | `vᵢ` | a column of a [`Block`] |
//! | `(XᵀX)⁻¹`, shrunk or cut | embedding, slow memory | `Ω = L Lᵀ = V f(Λ) Vᵀ` | [`Whitening`] |
//! | observation weight | linear attention score | `ω(x, xᵢ) = ⟨q, kᵢ⟩ (· wᵢ)` | [`attention::explain`] |
//! | fitted values | self-attention | `H y`, `H = K Kᵀ` | [`attention::predict`] |
//! | leverage | a row's attention to itself | `hᵢ = ‖kᵢ‖²` | [`attention::Keys::leverages`] |
//! | coefficients | reading the memory with basis queries | `β̂ = L (KᵀV)` | [`Fit::estimates`] |
//! | `LᵀXᵀy` | fast-weight memory | `M = KᵀV` | [`FastMemory`], [`Fit::memory`] |
//! | second moments of new rows in whitened units | state of the fast memory | `S = (1/n*) Σ k̂ k̂ᵀ`, `I` in training | [`State`], [`drift`] |
//! | observation weights `γ^(T−t)` | decay | `M ← γ M + k yᵀ` | [`FastMemory::decay`] |
//! | rolling, expanding, decayed regressions | masks on the scores | `t − W < i ≤ t`, `i ≤ t`, `γ^(t−i)` | [`roll`] |
//! | one regression for every group | block mask | no score between groups | [`groups`] |
//! | fitting a state by patterns | associative recall | `H s` | [`hopfield`] |
//! | fixed effects taken out | keys of residuals | `kᵢ = Lᵀ(xᵢ − Daᵢ)` | [`absorb`] |
//! | bandwidth; varentropy | temperature; specific heat of the softmax | `C = Var_p(E)/T²` | [`thermodynamics`] |
//! | ridge, principal components | a filter on the key spectrum | `1/(λ+α)`; `1/λ` on the top k | [`Filter`] |
//!
//! # Laws
//! 1. Merging states is associative and commutative in bits, and equal to one pass ([`Moments`]).
//! 2. Only `Ω` is defined: rotating the keys leaves every prediction unchanged.
//! 3. With an intercept weights sum to 1; `Σ ω² = ‖q‖²` for least squares and principal components.
//! 4. Ridge is least squares as `α → 0` and the mean as `α → ∞`; all components are least squares.
//! 5. Same data, same bits: threads, batches, order and merge tree do not show.

pub mod absorb;
pub mod attention;
pub mod attention_regression;
pub mod block;
pub mod codec;
mod components;
mod dense;
pub mod design;
pub mod double_double;
pub mod drift;
pub mod error;
mod exact;
mod exponential;
pub mod fit;
pub mod groups;
pub mod hopfield;
pub mod in_memory;
pub mod interrupt;
mod lanes;
mod linalg;
pub mod matrix;
pub mod memory;
mod min_norm;
pub mod moments;
pub mod quartic;
pub mod roll;
pub mod selection;
pub mod strided;
pub mod thermodynamics;
pub mod transformer;
pub mod whitening;

pub use block::{Block, Column};
pub use codec::Model;
pub use design::{Aliased, Design, Filter, Orthogonal, RankTolerance};
pub use error::Error;
pub use fit::{Fit, Vcov};
pub use matrix::Matrix;
pub use memory::{FastMemory, State};
pub use moments::Moments;
pub use quartic::QuarticMoments;
pub use strided::{Strided, Table};
pub use transformer::Transformer;
pub use whitening::{Arithmetic, Method, Whitening, WhiteningOptions};

/// The name of the intercept, as in R.
pub const INTERCEPT: &str = "(Intercept)";

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

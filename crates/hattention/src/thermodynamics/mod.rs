//! Attention as a canonical ensemble: what a softmax over keys says of itself.
//!
//! One query has energies `E_j = −q·k_j` with its keys and a temperature T; its weights are Boltzmann's, `p_j = e^(−E_j/T)/Z`.
//!
//! | physics | statistics, attention | formula | here |
//! |---|---|---|---|
//! | temperature | bandwidth; `√d_k` in transformers | T | [`Ensemble::temperature`] |
//! | energy | minus the score | `E_j = −q·k_j` | |
//! | partition function | sum of the softmax | `Z = Σ e^(−E_j/T)` | [`Observables::log_partition`] |
//! | internal energy | mean of the energies that are attended | `U = Σ p_j E_j` | [`Observables::internal_energy`] |
//! | entropy | logarithm of a number of rows that are read | `S = −Σ p_j ln p_j` | [`Observables::entropy`] |
//! | free energy | minus the log-sum-exp | `F = −T ln Z = U − TS` | [`Observables::free_energy`] |
//! | specific heat | varentropy: the variance of `ln p` under p | `C = Var_p(E)/T² = dU/dT` | [`Observables::heat_capacity`] |
//! | number of states | effective number of keys | `e^S`, and `1/Σ p_j²` | [`Observables::effective_keys`], [`Observables::participation`] |
//! | — | variance of all scaled scores, unweighted, over queries and keys | `Var(E/T)` | [`Pooled::variance`] |
//!
//! The last is called a specific heat too, but is none: it weighs keys that nobody attends to like the others.
//!
//! # Laws
//! 1. `F = U − TS`, `C = dU/dT`, `C = Var_p(ln p)`, `dF/dT = −S`.
//! 2. Of all weights that sum to one, softmax has the least `Σ pE + T Σ p ln p`, and that is F.
//! 3. `0 ≤ S ≤ ln n`; `1 ≤ 1/Σp² ≤ e^S ≤ n`.
//! 4. As T grows: p is even, U the mean, `C T²` the variance of the energies. As T falls: U is the least energy, `e^S` counts
//!    the keys that have it, C is zero.
//! 5. Keys may come in any pieces, and pieces be merged: the same to rounding.
//!
//! # References
//! Kim (2026, arXiv 2602.08216) for the reading of attention; Pandey (2026, arXiv 2607.20552) computes the pooled variance. Chan,
//! Golub and LeVeque (1983) for merged variances.

mod attention;
mod ensemble;
mod heads;
mod look;

pub use attention::{Attention, Form, Logits, Number, Numbers, QueriesAndKeys};
pub use ensemble::{Ensemble, Observables};
pub use heads::{Head, Pooled};
pub use look::{Look, Point};

pub(crate) use attention::{Energies, Tile};
pub(crate) use heads::heads;
pub(crate) use look::look;

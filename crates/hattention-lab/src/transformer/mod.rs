//! Small transformers over characters whose tokens have momenta.
//!
//! A token at place i is a row of X `[T, d]`; a layer adds attention F, then a two-layer network M, each of layer-normed tokens (LN).
//! Blocks with momentum carry V `[T, d]`, at the start a learned embedding V₀ of token and place, besides. Per head r, with queries
//! `q = LN(X) W_Q`, keys `k = LN(X) W_K`, values `v = LN(X) W_V` of width `d_h` and scores `s_ij = q_i·k_j/√d_h`, `j ≤ i` only:
//!
//! ```text
//! F_i = Σ_r [Σ_j P_ij v_j] O^r,   P_ij = softmax_j(s_ij)  or, linear,  s_ij/i
//! ```
//!
//! | [`Block`] | half a layer with attention |
//! |---|---|
//! | `Plain` | `X + F` |
//! | `Summed` | the same, and the start is `X₀ + V₀` |
//! | `Injected` | the same, and every half adds `λ V₀`, λ learned |
//! | `HeavyBall` (H0) | `W = βV + γF(X)`, `V = LN_v(W)`, `X + V` |
//! | `YuriiFormer` (Y) | the same with `F(X + μV)` |
//! | `H1` | `V = LN_v(W − C(V))`, `X + V` |
//! | `R2` | `V = LN_v(W − C(W))`, `X + LN_v(W − ½C(W))` |
//! | `Euler`, `ExponentialEuler`, `KickDrift` | momenta y of heads: force G, drift D, steps as of [`crate::particles::Scheme`] |
//! | `Leaking` | kick–drift with the force of one energy for all tokens: it sees the future |
//!
//! The second half of H0, Y, H1 and R2 is `V = LN_v(β₂V + γ₂M(LN(X + μ₂V)))`, `X + V`, with the same LN_v; of all others
//! `X + M(LN(X))`.
//!
//! *Geometric correction*, of the second order in a direction u with `u_q = u W_Q`, `u_k = u W_K` per head:
//! `C_i = a_i u_i − ½(|u_i|² F_i + Σ_r [Σ_j P_ij |u_j|² v_j] O^r)`, `a_i = mean_r Σ_j P_ij (u_q,i·k_j + q_i·u_k,j)/√d_h`.
//!
//! *Momenta of heads*: y `[T, d_h]` a head, `M_ij = exp(c tanh(s_ij/c))` (c = 10 guards the exponent), `z_i = (1/i) Σ_(j≤i) M_ij`,
//! `κ_i = |y_i|²/z_i²`:
//!
//! ```text
//! softmax  G_i = (1/2i) Σ_(j≤i) M_ij (κ_i + κ_j + 2) v_j      D_i = Σ_r [y_i/z_i] O^r
//! linear   G_i = v_i − (1/i) Σ_(j≤i) (y_i·y_j) k_j/√d_h       D_i = Σ_r [(1/i) Σ_(j≤i) s_ij y_j] O^r
//! Euler  X + hD(y), y ← σy + hG     exponential Euler  X + hD(y), y ← σy + h (1 − σ)/Δη G     kick–drift  y ← σ(y + hG), X + hD(y)
//! ```
//!
//! with `σ = e^(−Δη)` and h learned in every layer. The force on a token is that of the energy of *its own* prefix (with
//! softmax, of z_j and κ_j as token j saw them: exact at rest only): that is what keeps the future out. The gradient of one energy for all tokens has rows i > j in the force on token j: the
//! first public code of the paper leaks so. With y = 0 and h = σ = 1 a step of kick–drift is plain attention, but for the guard.
//!
//! # Source
//! Stein, Li & Steidl (2026), arXiv 2603.16535, its public code and fourth version (H0, H1, R2); YuriiFormer there. The prefix forces, their form
//! by heads and the linear form of H1 and R2 (theirs has a ridge of the prefix's keys) are derived here. Starts as in GPT-2: deviation 0.02, projections back 0.02/√(2 layers).

mod attention;
mod block;
mod halves;
mod model;
mod weights;

pub use block::{Block, Kernel};
pub use model::{Shape, Transformer};

#[cfg(test)]
pub(crate) mod tests;

//! Associative memory: the energies behind attention scores, from quadratic to exponential capacity.
//!
//! A memory holds patterns `ξ^μ`, μ = 1…K. Its energy is `E(s) = −Σ_μ F(m^μ)` of the overlaps `m^μ = ξ^μ·s`; recalling
//! goes downhill. The faster `F` grows, the more patterns fit:
//!
//! | memory | `F` | recall | capacity |
//! |---|---|---|---|
//! | [`BinaryMemory`] with [`Score::Linear`] | `m²/2` | `sign(XᵀX s)`, linear attention | `∝ N` |
//! | [`BinaryMemory`] with [`Score::Polynomial`] | `mⁿ` | sign of the energy difference | `∝ N^(n−1)` |
//! | [`BinaryMemory`] with [`Score::Exponential`] | `eᵐ` | sign of the energy difference | `exp(αN)` |
//! | [`SoftmaxMemory`] | `β⁻¹ ln Σ e^(βm)` | `X softmax(βXᵀs)`, softmax attention | exponential in the dimension |
//! | [`WhitenedMemory`] | quadratic in whitened overlaps | `X(XᵀX)⁻¹Xᵀs`, attention with the keys of least squares | any independent patterns |
//!
//! # Laws
//! 1. Flipping one neuron at a time by the energy difference never raises the energy ([`BinaryMemory::settle`]).
//! 2. A step of softmax recall never raises its energy ([`SoftmaxMemory::step`]).
//! 3. Independent patterns are fixed points of the whitened memory ([`WhitenedMemory::project`]).
//! 4. Overlaps of ±1 patterns, and the sums behind linear and polynomial recall, are exact integers: no result depends
//!    on threads or order.
//!
//! # References
//! Hopfield (1982); Personnaz, Guyon and Dreyfus (1985); Krotov and Hopfield (2016); Demircigil et al. (2017);
//! Ramsauer et al. (2020).

mod binary;
mod patterns;
mod softmax;
mod whitened;

pub use binary::{BinaryMemory, Score, Settled};
pub use patterns::{Patterns, State};
pub use softmax::{Settling, SoftmaxMemory};
pub use whitened::WhitenedMemory;

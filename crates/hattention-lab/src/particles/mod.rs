//! Attention as a flow of particles, first order and accelerated, with forces in closed form.
//!
//! Attention moves tokens, rows of X `[N, d]`: its mean field is a gradient flow of an interaction energy E. Given a momentum, rows
//! of Y, and a damping α(t), the flow is accelerated as Nesterov's descent is. With the Hamiltonian `H(X, Y) = K(X, Y) + E(X)`:
//!
//! ```text
//! first order   Ẋ = velocity(X)
//! accelerated   Ẋ = N ∂H/∂Y = drift(X, Y),   Ẏ = −N ∂H/∂X − α Y = force(X, Y) − α Y
//! ```
//!
//! At `Y = 0` the acceleration `Ẍ` is the velocity of the first order, and along the accelerated flow
//! `dH/dt = −2α K ≤ 0`.
//!
//! | flow | `velocity`, row i | E | 2 K |
//! |---|---|---|---|
//! | [`Linear`] | `(1/N) Σ_j (x_iᵀA x_j) V x_j` | `−(1/2N) Σ x_iᵀV x_i` | `(1/N²) Σ_ij (x_iᵀA x_j) y_iᵀy_j` |
//! | [`Softmax`] | `Σ_j softmax_j(x_iᵀA x_j) B A x_j` | `−(1/2N²) Σ_ij exp(x_iᵀA x_j)` | `(1/N) Σ y_iᵀB y_i / z_i`, `z_i = (1/N) Σ_j exp(x_iᵀA x_j)` |
//!
//! Every derivative stands in closed form, so that none is taken automatically. [`Scheme`] are the steps that blocks of a
//! transformer take; [`accurate`] is an integrator for checks; [`moments`] has the equations of mean and covariance, which
//! are closed under linear attention whatever the number of particles.
//!
//! # Source
//! Stein, Li & Steidl (2026), Accelerated attention blocks via inertial dynamics on density manifolds, arXiv 2603.16535. The moment
//! equations and the factor of the force of softmax are derived here.

mod accurate;
pub(crate) mod algebra;
mod damping;
mod linear;
pub mod moments;
mod schemes;
mod softmax;

pub use accurate::accurate;
pub use damping::Damping;
pub use linear::Linear;
pub use schemes::{Integrator, Scheme};
pub use softmax::{Domain, Softmax};

use hattention::matrix::Matrix;

/// A flow of particles. All matrices have the shape `[N, d]` of the particles.
pub trait Flow: Sync {
    /// What is known of particles once attention has looked at them.
    type Seen: Clone + std::fmt::Debug + Send + Sync;

    /// Coordinates d of a particle.
    fn width(&self) -> usize;
    /// Looks at particles: an oracle call, all that depends on pairs of them.
    fn see(&self, x: &Matrix) -> Self::Seen;
    /// The velocity of the first-order flow: what attention adds to every token.
    fn velocity(&self, seen: &Self::Seen) -> Matrix;
    /// `N ∂H/∂Y`.
    fn drift(&self, seen: &Self::Seen, y: &Matrix) -> Matrix;
    /// `−N ∂H/∂X`, without damping.
    fn force(&self, seen: &Self::Seen, y: &Matrix) -> Matrix;
    /// The energy E.
    fn energy(&self, seen: &Self::Seen) -> f64;
    /// K.
    fn kinetic(&self, seen: &Self::Seen, y: &Matrix) -> f64;

    /// The Hamiltonian `K + E`.
    fn hamiltonian(&self, seen: &Self::Seen, y: &Matrix) -> f64 {
        self.kinetic(seen, y) + self.energy(seen)
    }

    /// Puts particles back to where they belong after a step, and momenta to what can move them there. (Nothing, in the plane.)
    fn constrain(&self, _x: &mut Matrix, _y: &mut Matrix) {}
}

#[cfg(test)]
mod tests;

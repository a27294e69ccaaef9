//! # Accelerated attention: the flows, their equations and their steps
//!
//! Attention moves tokens; its mean field is a gradient flow of an interaction energy E. Given momenta and damping α(t) it is
//! accelerated as Nesterov's descent is (Stein, Li & Steidl 2026, arXiv 2603.16535): `Ẋ = N ∂H/∂Y`, `Ẏ = −N ∂H/∂X − α Y`, `H = K + E`.
//! Here everything that the theory says of it is held against numbers: forces in closed form against differences of H; particles
//! against ordinary differential equations of mean and covariance, which are closed under linear attention for any number of
//! particles (derived); the acceleration at rest against the velocity of attention; the fall of H; and the orders and the largest steps of
//! seven integrators.
//!
//! ## World
//! Linear and softmax attention of 5 coordinates, A, B and (linear) −V random and positive; softmax also on the unit sphere and on that of
//! layer-normed tokens (B = I). Particles are normal, of deviation 0.7. Moments: N = 2, 20 and 200,
//! for a time of 1 (first order) and 2 (accelerated, `α = 0.2 + 3/t + 0.1 t` from t = 0.1), Runge and Kutta's method of the
//! fourth order with 16,000 steps. Orders: a time of 1 in 64 to 1,024 steps, against 4,000 of that method. Largest steps: linear
//! attention, A = I, V = −diag(1 … κ) in even ratios, damping 1 (and 3/t), such that the energy never exceeds 1.5 times that at the
//! start within a time of 20; by halving, over that of attention without momenta.
//!
//! ## Thresholds
//! - `moments-first`, `moments-accelerated`: mean and covariance of particles are those of the equations: at most 1e-10 of the
//!   largest covariance off, in all replicates and for all N.
//! - `acceleration-*`: at rest particles are accelerated by the velocity of attention: at most 1e-10 of the largest off.
//! - `forces-*`: drift and force against differences of H (five points): at most 1e-7 of the largest off.
//! - `energy-falls-*`: with α = 0.5 H never rises between 200 moments of the accurate flow by more than 1e-10 of its range; `energy-kept-*`:
//!   with α = 0 it changes by at most 1e-9 of E.
//! - `order-*`: the slope of the error against the step, in logarithms, medians over replicates with bootstrap intervals: 0.9 to 1.1 for Euler,
//!   kick–drift, exponential Euler and Strang (whose kick and drift are not halved), 1.9 to 2.1 for the two of Adams and
//!   Bashforth; by both flows.
//! - `energy-order-*`: with α = 0 the slope of what H is off by at the end: at least 0.9 and 1.9.
//! - `steps-*`: the largest step of kick–drift, of exponential Euler and of Strang over that of Euler, κ = 100: at least 1 (medians).
//!
//! ## Revisions
//! Before this version V had eigenvalues of both signs: one flow of twenty ran to infinity within the time, as it does where the energy
//! has no minimum; and moments were integrated in 4,000 steps, of which 2e-9 was left near t = 0.1, where `3/t` is steep.
//!
//! ## Time
//! Three minutes on two cores, beside other work.

mod judge;
mod measure;

pub(super) use measure::bowl;
use rayon::prelude::*;
use serde_json::json;

use crate::error::Error;
use crate::experiment::{Context, Experiment, Plan, Seeds, Size, Unit};
use crate::particles::Scheme;
use crate::rows::Row;

/// The experiment.
pub const EXPERIMENT: Experiment = Experiment {
    name: "symp-theory",
    trains: false,
    summary: "Accelerated attention flows: forces, moment equations, energies, and orders and largest steps of integrators",
    source: "Stein, Li & Steidl 2026, arXiv 2603.16535; derived",
    file: include_str!("symp_theory.rs"),
    version: 1,
    hours: 0.05,
    seeds: Seeds { full: 20, smoke: 2 },
    units,
    run,
    judge: judge::judge,
};

/// The flows of which slopes, energies and orders are measured.
const FLOWS: [&str; 4] = ["linear", "softmax", "sphere", "normed"];
/// Those without a constraint.
const FREE: [&str; 2] = ["linear", "softmax"];
/// Schemes with momenta, and their orders.
const ORDERS: [(Scheme, f64); 6] = [
    (Scheme::Euler, 1.0),
    (Scheme::KickDrift, 1.0),
    (Scheme::ExponentialEuler, 1.0),
    (Scheme::Strang, 1.0),
    (Scheme::AdamsBashforth, 2.0),
    (Scheme::ExponentialAdamsBashforth, 2.0),
];
/// Condition numbers of the largest steps.
const CONDITIONS: [f64; 3] = [1.0, 10.0, 100.0];

fn units(plan: &Plan) -> Vec<Unit> {
    let full = plan.size == Size::Full;
    let steps = if full { 4000 } else { 1000 };
    let first = if full { 64 } else { 32 };
    vec![
        Unit::new("moments", json!({"steps": 4 * steps})),
        Unit::new("slopes", json!({})),
        Unit::new("energies", json!({"steps": steps})),
        Unit::new("orders", json!({"steps": steps, "first": first, "times": if full { 5 } else { 3 }})),
        Unit::new(
            "largest-steps",
            json!({"halvings": if full { 12 } else { 5 }, "time": if full { 20.0 } else { 5.0 }}),
        ),
    ]
}

fn run(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let of = |seed: usize| {
        let found = match unit.name.as_str() {
            "moments" => measure::moments(unit, context, seed),
            "slopes" => measure::slopes(context, seed),
            "energies" => measure::energies(unit, context, seed),
            "orders" => measure::orders(unit, context, seed),
            _ => measure::largest_steps(unit, context, seed),
        };
        Ok(found?.into_iter().map(|row| row.label("seed", seed)).collect::<Vec<_>>())
    };
    let rows = (0..context.plan.seeds).into_par_iter().map(of).collect::<Result<Vec<_>, Error>>()?.concat();
    context.progress(1.0);
    Ok(rows)
}

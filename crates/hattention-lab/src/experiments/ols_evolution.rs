//! # From linear attention to the standard transformer, one change at a time
//!
//! Derived from the construction of Tan and Zhao (arXiv 2604.13656): what each change between least squares and a trained
//! transformer is as a statistical object, what it gains and what it loses, on the same regressions.
//!
//! Problems: five regressors, 100 rows of context, x ~ N(0, I), w ~ N(0, I), y = wᵀx + 0.3 ε. Queries (200) of the same law; two
//! deviations away; twice as large; and with a bent truth, y = wᵀx + √2((vᵀx)² − 1) + 0.3 ε. Error: mean squared error about the
//! noiseless truth over its variance (at queries of the law of the context).
//!
//! Steps, all over keys z whitened by the context, s = ⟨z, zᵢ⟩:
//!
//! | step | change | object |
//! |---|---|---|
//! | linear | (1/n) Σ (1 + s) y | projection: least squares |
//! | polynomial | 1 + s + s²/2 | series estimator, unsolved |
//! | exponential | eˢ | the whole series |
//! | softmax | divided by Σ eˢ | Nadaraya–Watson, kernel eˢ |
//! | multi-head | a head a coordinate, deviations from the mean add up | additive ensemble |
//! | residual | 6 layers on what is left, half of each added | boosting |
//! | layer norm | z at length √d | regression on directions |
//! | causal mask | rows of context see earlier rows | recursive estimate |
//! | trained | softmax, residual, norm, MLP; 3 blocks of width 32, Adam | learned |
//!
//! ## Expected
//! - Identities hold to rounding, and name the object of each step.
//! - Softmax at temperature 1 is unbiased for a linear truth and normal keys, as the kernel-weighted law of z is N(z_q, I): its
//!   slope goes to 1 as contexts grow. At 100 rows it smooths too much, and beyond the targets it cannot go.
//! - Heads mend the dimension, layers mend the bias, norm forgets scale, masks halve what the context knows.
//! - The trained model is near ridge where it was trained, and nowhere else.
//!
//! ## Thresholds
//! - Identities: largest relative difference over all seeds 1e-12 (masks and products, which solve: 1e-10).
//! - Gains and losses are medians over seeds of the ratio of a step's error to the step's before it (or as said), with
//!   bootstrap intervals: a gain is a ratio of at most 0.8, a loss one of at least 1.25; "much" is 0.1 and 10.
//! - Trained: error at most twice ridge's in distribution (partly ten times); out of it at least ten times least squares'.
//! - Slope of softmax in two dimensions with 20,000 rows within 0.9 to 1.1 (its small bias shrinks slowly).
//!
//! ## Sizes
//! 40 seeds of problems; two trained models with 3,000 steps of 16 fresh problems each, a few minutes a model on two
//! cores; the rest takes seconds.

mod identities;
mod judge;
mod measure;
mod problems;
mod steps;
mod trained;

use serde_json::json;

use crate::error::Error;
use crate::experiment::{Context, Experiment, Plan, Seeds, Size, Unit};
use crate::rows::Row;

/// The experiment.
pub const EXPERIMENT: Experiment = Experiment {
    name: "ols-evolution",
    summary: "Least squares to standard transformer, one change at a time: what each is, gains and loses",
    source: "derived from Tan & Zhao 2026; Garg et al. 2022 for the trained end",
    file: include_str!("ols_evolution.rs"),
    version: 1,
    hours: 0.2,
    seeds: Seeds { full: 40, smoke: 3 },
    units,
    run,
    judge: judge::judge,
};

fn units(plan: &Plan) -> Vec<Unit> {
    let full = plan.size == Size::Full;
    let mut units = vec![
        Unit::new("identities", json!({})),
        Unit::new("steps", json!({})),
        Unit::new("slope", json!({"rows": if full { 20_000 } else { 1000 }})),
    ];
    for model in 0..if full { 2 } else { 1 } {
        let parameters = json!({"model": model, "steps": if full { 3000 } else { 5 }});
        units.push(Unit::new(format!("trained-{model}"), parameters));
    }
    units
}

fn run(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    match unit.name.as_str() {
        "identities" => (0..context.plan.seeds).map(|seed| identities::identities(seed, context)).collect(),
        "steps" => measure::steps(context),
        "slope" => measure::slope(unit, context),
        _ => measure::trained(unit, context),
    }
}

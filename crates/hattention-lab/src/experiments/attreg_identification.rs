//! # What a trained embedding is, and what it is not
//!
//! Goulet Coulombe (2025, arXiv 2504.09663) writes least squares as attention, `ŷ = X Ω Xᵀy` with Ω = S⁻¹, S = XᵀX, and asks
//! which Ω minimises `‖y − X Ω Xᵀy‖²`. Only what Ω does to z = Xᵀy counts (derived): with one target P(P − 1) of its P²
//! dimensions are free, with K targets P(P − K), and K = P pin it to S⁻¹. Predictions cannot tell such Ω apart. Weights
//! `ω_ji = x_jᵀ Ω x_i`, and all explanations made of them, can: one target does not identify them.
//!
//! ## World
//! 100 normal rows of P = 5 columns, no intercept, eigenvalues of their second moments in ratio 10; targets `Xβ + ε`, half of
//! their variance noise, with orthonormal coefficients β in the whitened space; 50 fresh rows are predicted. The Hessian is
//! made of second differences of the loss. Plain gradient descent, from zero and from random Ω as long as S⁻¹, until its
//! slope is 1e-14 of the first.
//!
//! Attention regression: 200 rows of friedman1, five columns, signal over noise 2, 200 fresh rows; per data set four starts at
//! equal penalties, as pairs: the engine's defaults, and the recipe as published (all rows read all, 6,000 steps at most).
//! Distances: `‖a − b‖/‖b‖`, of predictions about their mean. Top rows are the 5 % with the largest |ω|.
//!
//! ## Thresholds
//! - `free-dimensions`, `free-symmetric`: P(P − K) free dimensions of Ω, and (P − K)(P − K + 1)/2 of symmetric Ω (tied queries
//!   and keys), for K = 1…5: at most 0 off, in all replicates (eigenvalues below 1e-9 of the largest count as zero).
//! - `flat-directions`: along a random free direction as long as S⁻¹ the loss changes by at most 1e-12 of itself; along a
//!   random direction of any kind by at least 0.1 of itself (`other-directions`, median).
//! - `descent-from-zero`: descent with one target ends at `S⁻¹zzᵀ/(zᵀz)`, of rank one: at most 1e-8 off. `descent-from-start`:
//!   from Ω₀, with K targets, at `Ω₀(I − Π) + S⁻¹Π`, Π the projection on the span of XᵀY: at most 1e-8 off.
//!   `all-targets-pin-it`: with K = P at S⁻¹: at most 1e-8 off.
//! - `predictions-agree`: all ends predict fresh rows as least squares does: at most 1e-8 off.
//! - `embeddings-differ`: with one target, ends of random starts are at least 0.5 of ‖S⁻¹‖ from it (median).
//! - `one-pattern`: from zero, all queries have one pattern of weights up to a factor: the least |correlation| of two of them
//!   is at least 1 − 1e-8. `least-squares-has-many`: under S⁻¹ it is at most 0.5 (median over pairs and replicates).
//! - `weights-differ`: between ends of two random starts, weights of a query correlate by at most 0.8 (median). `top-rows-differ`:
//!   they share at most 0.6 of their top rows (median).
//! - `other-targets-fail`: under the end of a random start with one target, predictions of another target are at least 0.5 off
//!   those of least squares (median); `other-targets-hold`: with K = P at most 1e-8 (largest).
//! - Attention regression, medians over data sets of medians over pairs of starts, with bootstrap intervals, by the defaults
//!   (`default-*`) and as published (`published-*`). `*-predictions`: predictions at most 0.1 apart (partly 0.25). `*-weights`:
//!   weights at least 2 times as far apart as predictions (partly 1). `*-top-rows`: at most 0.8 of top rows shared (partly 0.9).
//!
//! ## Revisions
//! Version 2: fits search in single precision, as the library and the recipe do by now.
//!
//! ## Time
//! Five minutes on two cores, beside other work.

mod embedding;
mod judge;
mod starts;

use rayon::prelude::*;
use serde_json::json;

use crate::error::Error;
use crate::experiment::{Context, Experiment, Plan, Seeds, Size, Unit};
use crate::rows::Row;

/// The experiment.
pub const EXPERIMENT: Experiment = Experiment {
    name: "attreg-identification",
    trains: false,
    summary: "Which embeddings predict alike: free dimensions, where descent ends, and weights that are not identified",
    source: "Goulet Coulombe 2025, arXiv 2504.09663; derived",
    file: include_str!("attreg_identification.rs"),
    version: 2,
    hours: 0.1,
    seeds: Seeds { full: 20, smoke: 2 },
    units,
    run,
    judge: judge::judge,
};

/// Recipes of attention regression.
const RECIPES: [&str; 2] = ["default", "published"];

fn units(plan: &Plan) -> Vec<Unit> {
    let full = plan.size == Size::Full;
    let (rows, starts) = if full { (200, 4) } else { (60, 2) };
    let embedding = Unit::new("embedding", json!({"rows": 100, "queries": 50}));
    let regressions = RECIPES.iter().map(|recipe| {
        let parameters =
            json!({"recipe": recipe, "rows": rows, "starts": starts, "steps": if full { 6000 } else { 30 }});
        Unit::new(format!("starts-{recipe}"), parameters)
    });
    std::iter::once(embedding).chain(regressions).collect()
}

fn run(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let embedding = unit.name == "embedding";
    let of = |seed: usize| {
        let found = if embedding { embedding::rows(unit, context, seed) } else { starts::rows(unit, context, seed) };
        Ok(found?.into_iter().map(|row| row.label("seed", seed)).collect::<Vec<_>>())
    };
    let rows = (0..context.plan.seeds).into_par_iter().map(of).collect::<Result<Vec<_>, Error>>()?.concat();
    context.progress(1.0);
    Ok(rows)
}

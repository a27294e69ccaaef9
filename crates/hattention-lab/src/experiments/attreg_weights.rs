//! # Whose weights predict inflation: masks, turnover, and looking ahead
//!
//! A prediction is a weighted sum of targets, by least squares and by attention regression, so that the same measures say what
//! each reads (Goulet Coulombe, Göbel & Klieber 2024, arXiv 2412.13076): concentration, short position, leverage, gross
//! leverage, effective number of rows, turnover. Masks are the econometrician's schemes: expanding, rolling and decayed least squares
//! are causal, windowed and decayed attention (Goulet Coulombe 2025, arXiv 2504.09663). A causal mask alone does not keep
//! the future out: the metric must be of the past too.
//!
//! ## World
//! Inflation of the United States in a quarter (`data/macro.csv`) from four numbers known before it: inflation a quarter ago,
//! its mean over four quarters, unemployment and growth a quarter ago. 1985Q1 to 2009Q3 (99 quarters) are predicted by rows
//! before each alone, from 1960Q2 on. Least squares: expanding, windows of 40 and 80 quarters, decay of half-life 40. Attention
//! regression by the engine's defaults: Mask::Others, Before, Window(80), Decay(40), rolling (all is fitted to the latest 80 rows), and
//! heads alone (loo, no linear head); λ, τ and ranks by five folds of the past in every fourth quarter, metrics and mixtures anew in
//! every quarter. 20 starts; weights are those of the first. The recipe as published on standardised columns, as it is and with
//! Mask::Before: one start, no choice. Measures count all rows of the past; a window's others have weight zero.
//!
//! ## Thresholds
//! - Identities, largest differences: `sums-to-one` at most 1e-9; `weights-predict-least-squares`, against the engine's rolled
//!   regressions, at most 1e-9; `weights-predict-attention` and
//!   `weights-predict-published` at most 1e-8; `squares-are-leverage`, `Σω²/w = ‖q‖²`, at most 1e-8.
//! - `published-sums`: as published, weights sum to what is at least 0.1 off one (mean, with its interval by blocks).
//! - `not-convex`: attention regression (loo) has negative weights in at least 0.95 of quarters; `heads-cancel`: at least 0.5
//!   of its fits have a negative coefficient of a head.
//! - Intervals of the following by bootstrap of blocks of 8 quarters. `attention-concentrates`: concentration, loo over
//!   expanding least squares, at least 1.25 (partly 1; mean of ratios), and so is `heads-concentrates`, without a linear head. `windows-turn-over`: turnover, window of 40 over
//!   expanding, at least 1.5 (partly 1; ratio of means).
//! - Errors (root mean square) of attention regression over those of least squares of the same scheme, at most 1 (partly 1.05):
//!   `loo-over-expanding`, `causal-over-expanding`, `window-over-rolling`, `rolling-over-rolling`, `decay-over-decayed`, `heads-over-expanding`, `published-over-expanding`.
//! - `look-ahead-attention`: causal attention whose metric, penalties and mixture saw all quarters (each row left out of the mixture):
//!   honest errors over its at least 1.05 (partly 1), and so is `look-ahead-published`, by the recipe as published. `look-ahead-metric`: causal linear attention whose metric Ω alone is of all
//!   quarters, with no look at targets, is no different from expanding least squares: 0.95 to 1.05 (partly 0.9 to 1.1).
//! - `starts-agree`: errors of 20 starts (loo) differ by at most 0.05 of their mean, largest from smallest.
//!
//! ## Revisions
//! Version 2: fits search in single precision, as the library and the recipe do by now. `heads-cancel` is of fits whose heads add
//! anything: in version 1 it counted coefficients of collapsed heads, which are rounding. Schemes have the names of masks
//! (`loo`, `causal`), and `heads` is attention without a linear head, which was called softmax though its scores are distances.
//!
//! Softmax alone and the recipe as published, with the claims that name them, were added after a first full run was read: the defaults
//! had found inflation all but linear, so that their heads read the same for all quarters, weights were those of least squares, and
//! there was nothing to learn from the future. No threshold was changed.
//!
//! Version 3: under masks of time a head that reads the mean of the rows before, wherever it stands, is known to add nothing, and a
//! search whose heads all do begins anew from the start.
//!
//! Version 4: cross-validation may choose ranks. (In it every head that had collapsed started again on the way of the penalties.)
//!
//! Version 5: it is all heads again, not each, that have to collapse for that.
//!
//! ## Time
//! Seven minutes of computing, four of them the recipe as published with Mask::Before; a quarter of an hour beside other work.

mod attend;
mod judge;
mod measures;
mod ols;
mod plots;

use serde_json::json;

use crate::error::Error;
use crate::experiment::{Context, Experiment, Plan, Seeds, Size, Unit};
use crate::rows::Row;

/// The experiment.
pub const EXPERIMENT: Experiment = Experiment {
    name: "attreg-weights",
    trains: false,
    summary: "Inflation by least squares and attention regression: which quarters each reads, and what looking ahead hides",
    source: "Goulet Coulombe, Göbel & Klieber 2024, arXiv 2412.13076; Goulet Coulombe 2025, arXiv 2504.09663",
    file: include_str!("attreg_weights.rs"),
    version: 5,
    hours: 0.3,
    seeds: Seeds { full: 20, smoke: 2 },
    units,
    run,
    judge: judge::judge,
};

/// Schemes of least squares.
const SCHEMES: [&str; 4] = ["expanding", "rolling 40", "rolling 80", "decayed"];
/// Schemes of attention regression.
const MASKS: [&str; 8] = ["loo", "causal", "window", "decay", "rolling", "heads", "published", "published-causal"];
/// Rows of the longer window, and the half-life of decay.
const WINDOW: usize = 80;
const HALF_LIFE: f64 = 40.0;
/// Quarters from one choice of penalties to the next.
const CHOICE: usize = 4;
/// Quarters of which the rows that are read most are told.
const NAMED: [&str; 4] = ["1986Q2", "1990Q4", "2005Q4", "2008Q4"];

fn units(plan: &Plan) -> Vec<Unit> {
    let full = plan.size == Size::Full;
    let first = if full { "1985Q1" } else { "2008Q3" };
    let (steps, folds) = if full { (6000, 5) } else { (5, 0) };
    let mut units = vec![Unit::new("least-squares", json!({"first": first}))];
    for mask in MASKS {
        let parameters = json!({"first": first, "mask": mask, "steps": steps, "folds": folds});
        units.push(Unit::new(format!("attention-{mask}"), parameters));
    }
    units.push(Unit::new("look-ahead", json!({"first": first, "steps": steps, "folds": folds})));
    units
}

fn run(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    match unit.name.as_str() {
        "least-squares" => ols::rows(unit, context),
        "look-ahead" => attend::look_ahead(unit, context),
        _ => attend::rows(unit, context),
    }
}

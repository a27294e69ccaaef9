//! # Does gradient descent find the transformer that ordinary least squares is?
//!
//! Source: Tan and Zhao, arXiv 2604.13656, whose training run is known in outline only: `y = 2x + ε`, n = 500, one regressor,
//! P computed from the same data, gradient descent at least squares within about 1,000 epochs. Law of x, noise, start,
//! optimiser and rate are not known. Fixed here: x uniform on −3 to 3, ε standard normal, full-batch gradient descent on half
//! the mean squared error, start L₀ uniform on −1 to 1 (PyTorch's default for one input), rate 2e-5, which makes a typical start
//! arrive after about 1,000 epochs (a choice: epochs go as one over the rate, so their number is no claim here), for at most
//! 3,000,000 epochs.
//!
//! Other cells: columns normal with correlation 0.5^|i−j|, coefficients and noise standard normal, n = 500. Function:
//! ‖X(W − β̂)‖/‖Xβ̂‖. Structure: ‖LLᵀ − Σ⁻¹‖/‖Σ⁻¹‖, and ‖L − L*‖/‖L*‖ where L is determined. A descent has *arrived* if the
//! error in question is at most 1 %; it has *diverged* if ‖L‖ is beyond 1e6 or no number; else it has *stalled* (at rest, or
//! still creeping when the epochs are over: those whose error fell by more than 1 % in the last tenth of them are counted).
//!
//! ## Steps
//! The rate is ρ/(9 λ_max(Σ) λ_max(PPᵀ)) for ρ = 1, 0.3, 0.1: the inverse of a bound of the loss's curvature *at theory*. It
//! knows nothing of the start. At the identity keys are longer than at theory by √λ_max(Σ), and curvature goes as
//! the fourth power of that: on columns of scales from 1 to 3 it is one to two hundred times that at theory, and the first step
//! already overshoots. *Bounded steps* (ρ = ½) take the inverse of a bound of the curvature where L is, whenever that is
//! smaller; then no step can raise the loss and no descent can diverge, and what is judged is the landscape, not the rate.
//!
//! ## Expected
//! - One regressor, P fixed: the only minimum is L = s^(−1/2), s = mean(x²). L = 0 is a saddle, the gradient there goes as L².
//!   A start is in its basin if it is not positive or if its first step is beyond zero: half of the starts, predicted from
//!   the start alone.
//! - P free: a curve L³ s P = β̂ of minima; L² − 3P² is kept by the gradient flow, so that the start decides where on the
//!   curve it ends.
//! - d = 3 and 10, one target, P fixed: d equations for d² unknowns; loss and coefficients are least squares', LLᵀ is not Σ⁻¹.
//! - 4d targets pin L. In whitened columns the loss is ‖(MMᵀM − Q)·‖², Q orthogonal, and the flow keeps the sign of det M:
//!   a start with the wrong sign of det(L₀)det(L*) never arrives. (Columns that are not whitened turn the gradient, and the
//!   sign is not kept.) Which root of Σ⁻¹ theory takes does not change a prediction, yet decides from where it is found:
//!   Σ^(−1/2) is on the identity's side, eigenvectors have arbitrary signs and order.
//! - A start at δ leaves the saddle after 1/(3 η s² P β̂ δ) epochs: δ to the power −1.
//!
//! ## Thresholds
//! - `published-structure`, `published-function`: the error of every seed outside the predicted basin is at most 0.01 (partly 0.05).
//!   `basin-share` covers 0.5, in an interval at most 0.2 wide. `basin-predicted`: 0 seeds predicted wrongly.
//!   `basin-stalls`: the error of predictions is 1, within 0.01, from every start in the basin. `burn-same-run`: 1e-12.
//! - `free-function`: of the starts that left L = 0 (function below 0.5) the worst has an error of at most 0.01 (partly 0.05).
//!   `free-structure`: median structure error at least 0.1, with its whole bootstrap interval. `free-invariant`: L² − 3P²
//!   changes by at most 0.01 (partly 0.05) of L² + 3P².
//! - "Function converges" (`one-target-function-*`) and "structure converges" (`near-*`, `random-*`, `identity-*`,
//!   `identity-root-*`, `identity-root-unequal-*`), one rule: from one kind of start, one start a data set, bounded steps,
//!   the share that arrives is at least 0.95 with its whole Wilson interval (partly: 0.5). The interval's unit is the data
//!   set; at least 73 are needed to be able to meet it. The same rule with fixed rates: `one-target-fixed-*`
//!   for random starts at ρ = 0.3, `identity-root-fixed-*` and `identity-root-rate-1-*` for the identity at ρ = 0.3 and 1.
//! - `one-target-structure-*`: the median structure error of the starts whose predictions arrived, those near theory apart,
//!   is at least 0.1 with its whole interval (bootstrap over data sets, all starts of one together).
//! - `unequal-diverges-*`: at ρ = 0.3 at least 0.95 of the starts at the identity diverge on unequal columns (partly: 0.5).
//! - `determinant-*`: in whitened columns, with bounded steps, 0 starts of wrong sign arrive.
//! - `saddle-exponent`: mean over data sets of the exponent fitted in each, within −1.05 to −0.95.
//!
//! ## Revisions
//! Version 1 was run and read before version 2 was written, and the data sets of the first 60 seeds (20 for ten regressors)
//! are the same, so what follows was not chosen blindly. Version 1 claimed at first that the determinant's sign is kept in all
//! columns; 128 of 481 starts of wrong sign arrived at d = 3, and the claim was narrowed to whitened columns. There, at ρ = 0.3,
//! one of 144 jumped over det = 0 in a finite step: version 2 judges bounded steps and states the others in the note. Version 1
//! pooled four kinds of start as if they were independent (0.975 and 0.942 arrived; of random starts 54 and 46 of 60, all others
//! diverged), promised 0.95 from 60 and 20 data sets, which even all of them cannot show, judged many targets at ρ = 0.3, and
//! did not tell divergence from stalling. `unequal-diverges-*` was added after all but one of 160 were seen to
//! diverge, `identity-root-fixed-*` and `identity-root-rate-1-*` when 60 of 60 and 20 of 20, and 60 of 60 and 16 of 20, were
//! known to arrive. The epochs of the published cell were a claim with a threshold; as the rate is our choice they are a note.
//! With four seeds and a tenth of the epochs, two of four random starts of one target were still creeping at d = 10: bounded
//! steps are short where L is large, and were given more epochs. So were many targets in
//! normalised columns, when a full run of version 2 had left 71 of 80 random starts creeping at d = 10: their share
//! rose from 0 to 0.225, that of the identity from 0 to 0.2375, and at d = 3 from 0.475 to 0.55. No limit of version 1 was moved.
//!
//! ## Sizes
//! 80 seeds for each setting of matrices, 20 times as many in the published cell, 10 times in the other cells of one regressor.
//! 6,000/ρ epochs at most; with bounded steps three times as many on unequal columns, ten times on normalised ones, which are
//! judged, and a hundred times for one target, where most end long before; ρ = 0.1 for three regressors only. A quarter of an hour on two cores.

mod cells;
mod descent;
mod judge;
mod plots;
mod tables;
mod world;

use serde_json::json;

use self::descent::Steps;
use crate::error::Error;
use crate::experiment::{Context, Experiment, Plan, Seeds, Size, Unit};
use crate::rows::Row;

/// The experiment.
pub const EXPERIMENT: Experiment = Experiment {
    name: "ols-training",
    trains: true,
    summary: "Gradient descent on the layer that least squares is: function converges, structure from a basin only",
    source: "Tan & Zhao 2026 (training experiment); derived",
    file: include_str!("ols_training.rs"),
    version: 2,
    hours: 0.3,
    seeds: Seeds { full: 80, smoke: 4 },
    units,
    run,
    judge: judge::judge,
};

/// Names of the ways to start and of roots; the steps of the one-target cells, and how many times as many epochs they have.
const STARTS: [&str; 4] = ["random", "small", "identity", "near theory"];
const ROOTS: [&str; 2] = ["eigenvectors", "symmetric root"];
const STEPS: [(&str, Steps, f64); 2] =
    [("rate 0.3", Steps::Fixed(0.3), 1.0), ("bounded steps", Steps::Bounded(0.5), 100.0)];
/// The condition in which claims on the landscape are judged.
const JUDGED: &str = "bounded steps";

/// What is done to the columns before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Columns {
    /// Divided by their root mean squares.
    Normalised,
    /// On scales from 1 to 3.
    Unequal,
    /// Turned into keys.
    Whitened,
}

/// A condition of the many-target cells.
struct Condition {
    name: &'static str,
    columns: Columns,
    steps: Steps,
    /// Times as many epochs as the other conditions have.
    longer: f64,
    /// Not run with more regressors.
    most_columns: usize,
}

const fn condition(name: &'static str, columns: Columns, steps: Steps, longer: f64, most_columns: usize) -> Condition {
    Condition { name, columns, steps, longer, most_columns }
}

const CONDITIONS: [Condition; 8] = [
    condition("rate 1", Columns::Normalised, Steps::Fixed(1.0), 1.0, 10),
    condition("rate 0.3", Columns::Normalised, Steps::Fixed(0.3), 1.0, 10),
    condition("rate 0.1", Columns::Normalised, Steps::Fixed(0.1), 1.0, 3),
    condition("bounded steps", Columns::Normalised, Steps::Bounded(0.5), 1.0, 10),
    condition("unequal, rate 0.3", Columns::Unequal, Steps::Fixed(0.3), 1.0, 10),
    condition("unequal, bounded steps", Columns::Unequal, Steps::Bounded(0.5), 3.0, 10),
    condition("whitened, rate 0.3", Columns::Whitened, Steps::Fixed(0.3), 1.0, 10),
    condition("whitened, bounded steps", Columns::Whitened, Steps::Bounded(0.5), 1.0, 10),
];

fn units(plan: &Plan) -> Vec<Unit> {
    let full = plan.size == Size::Full;
    let epochs = if full { 6000 } else { 300 };
    let mut units = vec![
        Unit::new("published", json!({"cell": "published", "epochs": if full { 3_000_000 } else { 100_000 }})),
        Unit::new("burn", json!({"cell": "burn", "epochs": if full { 3000 } else { 60 }})),
        Unit::new("basin", json!({"cell": "basin", "epochs": if full { 20_000 } else { 1000 }})),
        Unit::new("free", json!({"cell": "free", "epochs": if full { 100_000 } else { 3000 }})),
        Unit::new("saddle", json!({"cell": "saddle", "smallest": if full { 4 } else { 2 }})),
    ];
    let longer = if full { 10 } else { 1 };
    let sizes: &[usize] = if full { &[3, 10] } else { &[3] };
    for d in sizes {
        units.push(Unit::new(format!("one-target-{d}"), json!({"cell": "one target", "d": d, "epochs": epochs})));
        for (root, name) in ROOTS.iter().enumerate() {
            let parameters = json!({"cell": "many targets", "d": d, "root": name, "epochs": epochs, "conditions": 8, "judged longer": longer});
            units.push(Unit::new(format!("many-targets-{d}-{}", ["eigen", "root"][root]), parameters));
        }
    }
    units
}

fn run(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    match (unit.word("cell")?, unit.count("d").unwrap_or(1)) {
        ("published", _) => cells::published(unit, context),
        ("burn", _) => cells::burn(unit, context),
        ("basin", _) => cells::basin(unit, context),
        ("free", _) => cells::free(unit, context),
        ("saddle", _) => cells::saddle(unit, context),
        ("one target", 3) => cells::one_target::<3>(unit, context),
        ("one target", _) => cells::one_target::<10>(unit, context),
        (_, 3) => cells::many_targets::<3>(unit, context),
        (_, _) => cells::many_targets::<10>(unit, context),
    }
}

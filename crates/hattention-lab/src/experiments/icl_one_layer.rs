//! # What does one trained layer of linear attention compute?
//!
//! Sources: von Oswald et al., arXiv 2212.07677; Ahn et al., arXiv 2306.00297; Mahankali et al., arXiv 2307.03576; Zhang et al.,
//! arXiv 2306.09927. One layer of linear self-attention, trained on fresh prompts of n rows `(x, y)` and queries x, with
//! x ~ N(0, Σ), w ~ N(0, I), y = wᵀx + noise, should learn `x_qᵀ A* (1/n) Σᵢ yᵢxᵢ` with
//! `A* = ((1 + 1/n) Σ + (tr Σ + σ²)/n I)⁻¹`: a preconditioned gradient step, ridge-like by the length of the context.
//!
//! d = 5; Σ isotropic or with eigenvalues as 1/i² (trace d, condition 25) in random directions; n/d = 1, 2, 4; σ² = 0 or 0.5.
//! The layer has all parameters that reach the prediction: `Σᵢ (p·eᵢ)(eᵢᵀ K x_q)/n` over context tokens e = (x, y), with p of
//! d + 1 and K of (d + 1) × d numbers. What is linear in y is the product matrix `A = K_xᵀ p_y + K_y p_xᵀ`, whatever the scales of
//! p and K; how large the parts without y and with y² are is reported. Start: that of the theorem of
//! Zhang et al., p_x = 0, K_y = 0, p_y = 0.5, K_x = ΘΘᵀ of norm 0.5 with a random Θ; or all random, normal with deviation 0.3. Adam, rate 0.02 falling to 0 along a cosine, 2,000 steps of 64 fresh prompts with 8 queries each, squared error about the noiseless target.
//!
//! ## Expected
//! - The construction of von Oswald et al. is one step of gradient descent, exactly.
//! - From the theorem's start A trained is A*; its loss that of A*, below that of the best single rate, above that of ridge (Bayes; without noise the
//!   shortest least squares).
//! - From random starts there is a trap that the theorem excludes: p_y = 0, K_x = 0 and A = K_y p_xᵀ of rank one, which with one
//!   large eigenvalue of Σ already explains most of y.
//!
//! ## Thresholds
//! Means over seeds, in the worst of the twelve worlds unless said otherwise; the whole interval must be inside.
//! - `construction-is-a-step`: largest error 1e-15 of the sum of absolute terms (partly 1e-14).
//! - `learns-a-star`: ‖A − A*‖/‖A*‖ at most 0.05 (partly 0.15).
//! - `learns-a-star-where-it-matters`: in the metric of the loss at most 0.1 (partly 0.15).
//! - `nearer-with-steps`: in the world of `learns-a-star` at its worst (skewed, n = d, no noise) the distance over training
//!   of 500 to 8,000 steps has a slope below 0 in logarithms: what is missing there is training.
//! - `loss-of-a-star` (closed form), `test-loss-of-a-star` (the layer with all its parameters, on 2,000 test prompts): at
//!   most 0.01 above A*'s, relatively (partly 0.05).
//! - `the-rest-vanishes`: products of parameters that A* does not need over ‖A‖ at most 0.05 (partly 0.15).
//! - `random-starts-*` (n/d = 2, no noise): share of seeds with a loss at most 5 % above A*'s at least 0.95 (partly 0.5).
//! - `preconditioning-pays`: skewed Σ, ratio of the trained layer's loss to the best single rate's at most 0.98.
//! - `nothing-to-precondition`: isotropic Σ, the same ratio 0.98 to 1.02.
//! - `bayes-is-better`: ridge's loss over the layer's at most 1.
//! - `shrinks-where-ols-explodes` (n = d, σ² = 0.5): the layer's loss over that of the shortest least squares at most 0.9.
//! - `not-least-squares` (n = 4d, no noise, where least squares is exact): the layer's test loss at least 0.1; the target's
//!   variance is 5.
//!
//! ## Revisions
//! After the first full run was seen: 80 seeds instead of 20 for random starts, as 20 of 20 cannot show a share of 0.95
//! (Wilson's interval reaches down to 0.84; 73 seeds are needed); `nearer-with-steps` is new, since `learns-a-star` fails
//! where the loss hardly sees it; titles of plots speak of losses, not of A*. Thresholds are those of the first run; those
//! of `the-rest-vanishes` and `not-least-squares` stood in the code only and are written here since.
//!
//! ## Sizes
//! 20 seeds a world, 80 for random starts, each with its own directions, start and prompts. Measured on two cores, beside
//! other work: 29 minutes; the longest unit 9.

mod judge;
mod layer;

use serde_json::json;

use crate::error::Error;
use crate::experiment::{Context, Experiment, Plan, Seeds, Size, Unit};
use crate::rows::Row;

/// The experiment.
pub const EXPERIMENT: Experiment = Experiment {
    name: "icl-one-layer",
    trains: true,
    summary: "One trained layer of linear attention against the known best: a preconditioned gradient step",
    source: "von Oswald et al. 2023; Ahn et al. 2023; Mahankali et al. 2023; Zhang et al. 2023",
    file: include_str!("icl_one_layer.rs"),
    version: 1,
    hours: 0.5,
    seeds: Seeds { full: 20, smoke: 2 },
    units,
    run,
    judge: judge::judge,
};

/// Regressors.
const D: usize = 5;
/// Ways to start.
const STARTS: [&str; 2] = ["theorem's", "random"];
/// Random starts for each seed of a world: a share of 0.95 takes 73.
const STARTS_A_SEED: usize = 4;
/// Steps of training of a full run, and the shorter and longer trainings beside it.
const STEPS: usize = 2000;
const LENGTHS: [usize; 4] = [500, 1000, 4000, 8000];
/// Spectra, by name.
const SPECTRA: [&str; 2] = ["isotropic", "skewed"];

fn units(plan: &Plan) -> Vec<Unit> {
    let full = plan.size == Size::Full;
    let mut units = vec![Unit::new("construction", json!({"draws": if full { 2000 } else { 100 }}))];
    let (ratios, variances): (&[usize], &[f64]) = if full { (&[1, 2, 4], &[0.0, 0.5]) } else { (&[2], &[0.5]) };
    for spectrum in SPECTRA {
        for variance in variances {
            for ratio in ratios {
                let name = format!("{spectrum}-{ratio}-{variance}");
                units.push(unit(name, full, spectrum, ratio * D, *variance, STARTS[0]));
            }
        }
        let mut random = unit(format!("{spectrum}-random"), full, spectrum, 2 * D, 0.0, STARTS[1]);
        random.parameters["starts"] = json!(if full { STARTS_A_SEED } else { 1 });
        units.push(random);
    }
    for length in if full { &LENGTHS[..] } else { &LENGTHS[..1] } {
        let mut longer = unit(format!("length-{length}"), full, SPECTRA[1], D, 0.0, STARTS[0]);
        longer.parameters["steps"] = json!(if full { *length } else { 50 });
        units.push(longer);
    }
    units
}

fn unit(name: String, full: bool, spectrum: &str, n: usize, variance: f64, start: &str) -> Unit {
    let (steps, tests) = if full { (STEPS, 2000) } else { (150, 200) };
    let parameters = json!({
        "spectrum": spectrum, "n": n, "variance": variance, "start": start, "steps": steps, "tests": tests,
    });
    Unit::new(name, parameters)
}

fn run(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    if unit.name == "construction" { layer::construction(unit, context) } else { layer::trained(unit, context) }
}

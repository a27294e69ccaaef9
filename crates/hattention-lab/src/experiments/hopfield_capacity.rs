//! # How many patterns an associative memory holds
//!
//! Sources: Hopfield 1982; Amit, Gutfreund and Sompolinsky 1985; Personnaz, Guyon and Dreyfus 1985; Krotov and Hopfield,
//! arXiv 1606.01164; Demircigil et al., arXiv 1702.01929; Ramsauer et al., arXiv 2008.02217.
//!
//! Random ±1 patterns of N neurons; a probe is a pattern with a share ρ of its neurons turned over (rounded to whole
//! neurons). A set of K patterns succeeds if at least 95 % of its probed patterns (40, or all) are recovered exactly, after
//! one synchronous step, or at rest after asynchronous flips. The capacity K* is where half of the sets succeed, by a
//! logistic fit over K on a logarithmic grid. Exponents are slopes of ln K* with Student intervals.
//!
//! ## Expected
//! - Linear and polynomial degree n: K* ~ N^(n−1)/(2(2n−3)!! ln N), so ln(K* ln N) has slope n−1 over ln N.
//! - Hopfield's network with a few errors: retrieval breaks down at K = 0.138 N.
//! - Exponential: K* ~ exp(αN) with α at least 0.347, 0.184, 0.065 at ρ = 0, 0.1, 0.25; small N shows 0.35 to 0.57 for
//!   ln K*/N at ρ = 0.
//! - Softmax on spheres: K* grows exponentially with the dimension, not slower than √p c^((d−1)/4); the one-step error
//!   obeys its bound.
//! - Whitened linear memory: any independent patterns are fixed points, correlated or not; its basin vanishes at K = N.
//!
//! ## Thresholds
//! - A published exponent is reproduced if the interval covers it and is at most 0.5 wide, partly if the slope is within
//!   0.25 of it. Intervals of rates may be half as wide as the published rate.
//! - Finite size explains a slope if its interval covers the slope that independent noise predicts for the same N (partly
//!   within 0.05 of it, for the exponential rates within 10 %), and a scale if K* over prediction is 0.9 to 1.1 in the
//!   geometric mean over N (partly 0.75 to 1.33). The prediction (`prediction.rs`) is exact but for one assumption, that a
//!   pattern's neurons err independently (unless one other pattern outweighs it).
//! - A rate that is published as a lower bound must be above it with its whole interval.
//! - 0.138 is reproduced within 0.128 to 0.148 at the largest N (partly 0.118 to 0.158).
//! - Theorems (fixed points, the error bound) must hold without exception.
//!
//! ## Sizes
//! N to 200 for linear and degree 2, 100 for degree 3, 48 for degree 4; exponential to 24 at ρ = 0, 30 at 0.1 (beyond,
//! K* passes 1e5 patterns), 64 at 0.25; few errors to N = 800; spheres to d = 14 and 2^13 patterns. 20 sets everywhere.
//! A quarter of an hour on two cores; the longest unit takes two minutes.

mod binary;
mod claims;
mod continuous;
mod judge;
mod prediction;
mod whitened;

use serde_json::json;

use crate::error::Error;
use crate::experiment::{Context, Experiment, Plan, Seeds, Size, Unit};
use crate::rows::Row;

/// The experiment.
pub const EXPERIMENT: Experiment = Experiment {
    name: "hopfield-capacity",
    summary: "How many patterns a memory holds, by its score: linear, polynomial, exponential, softmax, whitened",
    source: "Hopfield 1982; Krotov & Hopfield 2016; Demircigil et al. 2017; Ramsauer et al. 2020",
    file: include_str!("hopfield_capacity.rs"),
    version: 1,
    hours: 0.25,
    seeds: Seeds { full: 20, smoke: 4 },
    units,
    run,
    judge: judge::judge,
};

/// Shares of neurons that are turned over.
const CORRUPTIONS: [f64; 3] = [0.0, 0.1, 0.25];
/// Scores of ±1 memories.
const SCORES: [&str; 5] = ["linear", "polynomial-2", "polynomial-3", "polynomial-4", "exponential"];

/// Numbers of neurons by score, corruption and size.
fn neurons(score: &str, corruption: f64, size: Size) -> &'static [usize] {
    match (size, score) {
        (Size::Smoke, "linear" | "polynomial-2") => &[32, 48, 72],
        (Size::Smoke, _) => &[12, 14, 16],
        (Size::Full, "linear" | "polynomial-2") => &[32, 48, 64, 90, 128, 160, 200],
        (Size::Full, "polynomial-3") => &[24, 32, 44, 60, 80, 100],
        (Size::Full, "polynomial-4") => &[16, 20, 26, 32, 40, 48],
        (Size::Full, _) if corruption == 0.0 => &[12, 14, 16, 18, 20, 22, 24],
        (Size::Full, _) if corruption < 0.2 => &[10, 15, 20, 25, 30],
        (Size::Full, _) => &[24, 32, 40, 48, 56, 64],
    }
}

fn units(plan: &Plan) -> Vec<Unit> {
    let smoke = plan.size == Size::Smoke;
    let spread = |score: &str| {
        if smoke {
            2.0
        } else if score == "exponential" {
            4.0
        } else {
            6.0
        }
    };
    let mut units = Vec::new();
    for score in SCORES {
        for corruption in if smoke { &CORRUPTIONS[..1] } else { &CORRUPTIONS } {
            for n in neurons(score, *corruption, plan.size) {
                let parameters = json!({"score": score, "N": n, "corruption": corruption, "spread": spread(score)});
                units.push(Unit::new(format!("{score}-{corruption}-{n}"), parameters));
            }
        }
    }
    for n in if smoke { &[60][..] } else { &[200, 400, 800] } {
        units.push(Unit::new(format!("few-errors-{n}"), json!({"N": n, "loads": if smoke { 2 } else { 9 }})));
    }
    let (betas, dimensions, most): (&[f64], &[usize], usize) =
        if smoke { (&[4.0], &[4, 5, 6], 64) } else { (&[1.0, 2.0, 4.0, 8.0], &[4, 6, 8, 10, 12, 14], 1 << 13) };
    for beta in betas {
        for d in dimensions {
            units.push(Unit::new(format!("softmax-{beta}-{d}"), json!({"d": d, "beta": beta, "most": most})));
        }
    }
    let (n, counts): (usize, &[usize]) =
        if smoke { (32, &[4, 16, 31]) } else { (128, &[6, 13, 26, 38, 51, 64, 77, 90, 102, 115, 122, 127]) };
    for common in [0.0, 0.6] {
        for k in counts {
            units.push(Unit::new(format!("whitened-{common}-{k}"), json!({"N": n, "K": k, "common": common})));
        }
    }
    units
}

fn run(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    match &unit.name {
        name if name.starts_with("softmax") => continuous::capacity(unit, context),
        name if name.starts_with("whitened") => whitened::recovery(unit, context),
        name if name.starts_with("few-errors") => binary::few_errors(unit, context),
        _ => binary::capacity(unit, context),
    }
}

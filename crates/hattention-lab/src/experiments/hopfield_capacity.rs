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
//! - Hopfield's network with a few errors: retrieval breaks down at K = 0.138 N, for N to infinity.
//! - Exponential: K* ~ exp(αN) with α at least 0.347, 0.184, 0.065 at ρ = 0, 0.1, 0.25; small N shows 0.35 to 0.57 for
//!   ln K*/N at ρ = 0.
//! - Softmax on spheres of radius √(d−1): √p c^((d−1)/4) random patterns are all stored with probability 1 − p, where that is
//!   2 or more (the theorem's condition c ≥ (2/√p)^(4/(d−1))). For p = 0.05 it is from d = 12 for β = 8, 20 for β = 4, 28
//!   for β = 2, 50 for β = 1. The one-step error obeys its bound.
//! - Whitened linear memory: any independent patterns are fixed points, correlated or not; its basin is gone before K = N.
//!
//! ## Law of finite N
//! Linear and polynomial scores (`given.rs`): neurons err independently given the overlaps of the other patterns with the
//! probe, which all its neurons share. Exponential score (`prediction.rs`): neurons err independently (unless one other
//! pattern outweighs the probed one). Probes of a set fail independently. K* is read from predicted shares at the K that
//! were measured, by the fit that reads the measured ones.
//!
//! K* and its interval come from Firth's penalised logistic fit and its profile, finite also where the data separate; where
//! they separate the interval holds the whole gap between the last K of all successes and the first of none.
//!
//! ## Thresholds
//! Whole intervals must be inside.
//! - `*-exponent`, `*-exponent-plain` (without ln N), `*-exponent-rest`: the interval covers the published exponent and is at
//!   most 0.5 wide; partly if the slope is within 0.25 of it.
//! - `*-exponent-finite-size`: the interval (of the slope of measured over predicted) covers the predicted slope and is at most
//!   0.5 wide; partly within 0.05 of it.
//! - `*-scale`: K* over prediction 0.9 to 1.1 in the geometric mean over N (partly 0.75 to 1.33).
//! - `exponential-*-rate`, `exponential-*-rate-rest`: above the published lower bound (0.3466, 0.184, 0.06541).
//! - `exponential-*-rate-finite-size`: the interval covers the predicted rate and is at most half as wide as the published
//!   bound; partly within a tenth of it.
//! - `exponential-0-small`: ln K*/N is 0.35 to 0.57 at every N. `exponential-0-small-finite-size`: at no N farther than 0.02
//!   from the prediction (partly 0.05).
//! - `rest-beats-a-step`: K* at rest over K* after a step, damaged probes, geometric mean: at least 1.
//! - `few-errors`: the load at which half stay, at the largest N, 0.128 to 0.148 (partly 0.118 to 0.158).
//! - `few-errors-limit`: extrapolated to infinite N the interval covers 0.138 and is at most 0.02 wide (partly 0.128 to 0.148).
//!   The load may approach its limit as N^(−power) with any power from ½ to 1 that the sizes do not reject.
//! - `softmax-*-grows`: slope of ln K* over d at least 0. `softmax-steeper`: the smallest gain in slope from a β to the next,
//!   over d of 6 to 9, at least 0 (Bonferroni).
//! - `softmax-*-promised`: at least 0.95 of 200 draws store all promised patterns, at the worst of the dimensions.
//! - `softmax-bound`: the largest error over its bound at most 1.
//! - `whitened-*-fixed`: the smallest share of fixed points at least 1. `whitened-*-basin`: at ρ = 0.1 and the largest K at most
//!   0.05 recovered. `linear-loses-correlated`: at most 0.05 at K/N of 0.1 or more.
//!
//! Capacities at rest of damaged probes have no published number and no law here: they are in the table, and only compared
//! with those after a step.
//!
//! ## Revisions
//! After the first full run was seen:
//! - Fits of K* are penalised; before, separated data gave intervals such as 2.011 (2e-18 to 2e18).
//! - The law of finite N let all neurons err independently; measured capacities were 1.24 to 1.53 times its own at ρ = 0.25,
//!   where few patterns are stored. Overlaps that neurons share are in it now, and it is read by the same fit. Notes of
//!   `*-scale` keep the old ratio. `*-finite-size` judges the slope of the ratio, not two slopes apart.
//! - ρ = 0.1 of the exponential score is measured only where ρN is whole; ρ = 0.25 at thirteen N instead of six.
//! - `few-errors` was 0.166 at N = 800, the largest then: N goes to 6,400 now, sets are resampled as a whole, and
//!   `few-errors-limit` is new. Its threshold was set when N = 400 (0.177) and 800 were known.
//! - `softmax-*-promised` compared K* with the promise where its condition does not hold, and could not be judged. It is the
//!   theorem itself now, at dimensions where the condition holds. Dimensions of `softmax-*-grows` are those where K* lies
//!   inside the grid; before, capacities beyond it were left out. `softmax-steeper` was said by a title only.
//! - New: `*-exponent-rest`, `*-rate-rest`, `exponential-0-small-finite-size`. Thresholds of `*-basin`,
//!   `linear-loses-correlated`, `softmax-*-grows` and `rest-beats-a-step` stood in the code only. No threshold was changed.
//!
//! ## Sizes
//! N to 200 for linear and degree 2, 100 for degree 3, 48 for degree 4; exponential to 24 at ρ = 0, 40 at 0.1 (beyond,
//! K* passes 1e5 patterns), 72 at 0.25. 20 sets; few errors 80 sets of 8 patterns to N = 3,200, 40 at 6,400.
//! Spheres to d = 16 and 2^14 patterns. Measured on two cores, beside other work: 48 minutes; the longest unit 13.

mod binary;
mod claims;
mod continuous;
mod few_errors;
mod given;
mod judge;
mod prediction;
mod spheres;
mod transition;
mod whitened;

use serde_json::json;

use crate::error::Error;
use crate::experiment::{Context, Experiment, Plan, Seeds, Size, Unit};
use crate::rows::Row;

/// The experiment.
pub const EXPERIMENT: Experiment = Experiment {
    name: "hopfield-capacity",
    trains: false,
    summary: "How many patterns a memory holds, by its score: linear, polynomial, exponential, softmax, whitened",
    source: "Hopfield 1982; Krotov & Hopfield 2016; Demircigil et al. 2017; Ramsauer et al. 2020",
    file: include_str!("hopfield_capacity.rs"),
    version: 1,
    hours: 0.8,
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
        // Only where ρN is a whole number: rounding it changes ρ from N to N.
        (Size::Full, _) if corruption < 0.2 => &[10, 20, 30, 40],
        (Size::Full, _) => &[24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64, 68, 72],
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
                let mut parameters = json!({"score": score, "N": n, "corruption": corruption, "spread": spread(score)});
                if *corruption > 0.2 && ["polynomial-3", "polynomial-4"].contains(&score) {
                    parameters["up"] = json!(32.0);
                }
                units.push(Unit::new(format!("{score}-{corruption}-{n}"), parameters));
            }
        }
    }
    units.extend(few_errors_units(smoke));
    units.extend(softmax_units(smoke));
    let (n, counts): (usize, &[usize]) =
        if smoke { (32, &[4, 16, 31]) } else { (128, &[6, 13, 26, 38, 51, 64, 77, 90, 102, 115, 122, 127]) };
    for common in [0.0, 0.6] {
        for k in counts {
            units.push(Unit::new(format!("whitened-{common}-{k}"), json!({"N": n, "K": k, "common": common})));
        }
    }
    units
}

/// Neurons, sets a seed, first load, last load and their distance, in thousandths. Loads lie around the transition, and the
/// closer, the larger the network: it is the sharper.
const FEW_ERRORS: [(usize, usize, [usize; 3]); 5] = [
    (400, 4, [130, 220, 10]),
    (800, 4, [120, 210, 10]),
    (1600, 4, [120, 190, 10]),
    (3200, 4, [125, 175, 5]),
    (6400, 2, [125, 165, 5]),
];

fn few_errors_units(smoke: bool) -> Vec<Unit> {
    let plan: &[_] = if smoke { &[(60, 1, [130, 140, 10])] } else { &FEW_ERRORS };
    let unit = |(n, sets, [first, last, by]): &(usize, usize, [usize; 3])| {
        let loads: Vec<f64> = (*first..=*last).step_by(*by).map(|load| load as f64 / 1000.0).collect();
        Unit::new(format!("few-errors-{n}"), json!({"N": n, "loads": loads, "sets a seed": sets}))
    };
    plan.iter().map(unit).collect()
}

/// Dimensions at a β.
type Dimensions = (f64, &'static [usize]);

/// Dimensions of the softmax memory by β, so that its capacity lies between 2 and 2^14 patterns.
const SPHERES: [Dimensions; 4] = [
    (1.0, &[6, 7, 8, 9, 10, 12, 14, 16]),
    (2.0, &[4, 6, 7, 8, 9, 10, 12, 14]),
    (4.0, &[4, 5, 6, 7, 8, 9, 10, 11]),
    (8.0, &[4, 5, 6, 7, 8, 9]),
];
/// Dimensions that all β have.
const COMMON: [usize; 4] = [6, 7, 8, 9];
/// Dimensions at which the theorem's condition holds for p = 0.05: it promises 2 patterns or more.
const PROMISES: [Dimensions; 4] =
    [(1.0, &[50, 60, 75]), (2.0, &[28, 40, 50]), (4.0, &[20, 28, 40]), (8.0, &[12, 16, 20, 28])];

fn softmax_units(smoke: bool) -> Vec<Unit> {
    let (spheres, promises): (&[Dimensions], &[Dimensions]) =
        if smoke { (&[(4.0, &[4, 5, 6])], &[(8.0, &[12, 14])]) } else { (&SPHERES, &PROMISES) };
    let most = if smoke { 64 } else { 1 << 14 };
    let mut units = Vec::new();
    for (beta, dimensions) in spheres {
        for d in *dimensions {
            units.push(Unit::new(format!("softmax-{beta}-{d}"), json!({"d": d, "beta": beta, "most": most})));
        }
    }
    for (beta, dimensions) in promises {
        for d in *dimensions {
            let sets = if smoke { 1 } else { 10 };
            let parameters = json!({"d": d, "beta": beta, "p": claims::FAILURE, "sets a seed": sets});
            units.push(Unit::new(format!("promise-{beta}-{d}"), parameters));
        }
    }
    units
}

fn run(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    match &unit.name {
        name if name.starts_with("softmax") => continuous::capacity(unit, context),
        name if name.starts_with("promise") => continuous::promise(unit, context),
        name if name.starts_with("whitened") => whitened::recovery(unit, context),
        name if name.starts_with("few-errors") => few_errors::few_errors(unit, context),
        _ => binary::capacity(unit, context),
    }
}

//! # The temperature of softmax attention as a dial: mean, least squares, largest product
//!
//! Softmax attention over whitened keys, `p_i ∝ exp(⟨q, k_i⟩/T)` with `(1/n) KᵀK = I`, has three limits. T → ∞: the mean ȳ.
//! First order in 1/T: `ȳ + (ŷ_OLS − ȳ)/T`, so that `ȳ + T(ŷ_T − ȳ)` goes to least squares. T → 0: the row of the largest inner
//! product, which is the nearest one only for distance scores `−½‖q − k_i‖²`. Their first order is least squares and the
//! constant `−½ cov(‖k‖², y)`, the same for all queries (derived).
//!
//! As an estimator the dial is turned by leave-one-out: *plain* is ŷ_T, *amplified* is `ȳ + T(ŷ_T − ȳ)`, *solved* is
//! `ȳ + a + b(ŷ_T − ȳ)` with a and b by least squares over rows left out: attention regression with one head and no metric to learn.
//!
//! ## World
//! Limits: 500 normal rows of 5 columns, eigenvalues in ratio 10, the target `xβ + (uᵀx)²` and noise, 50 fresh queries;
//! and the quarters of `data/macro.csv`, three quarters of them drawn as keys. T in quarter decades.
//!
//! Dial: 500 training rows and 1,000 test rows of five uniform columns, signal over noise 2, *linear* and *rotated sine* as in
//! Goulet Coulombe (2025); *macro*, next quarter's inflation, and *Filip* of NIST, random halves. 41 temperatures from 1e-5 to
//! 1e5. Every row that is left out is left out of means and whitening too.
//!
//! ## Thresholds
//! - Slopes of the logarithm of the error against that of T, 1e2 ≤ T ≤ 1e5, medians over replicates: −1.02 to −0.98 for
//!   `hot-mean-*`, `first-order-dot-*`, and `first-order-distance-*` (with the constant).
//! - `raw-keys-normal`: over centred keys that are not whitened the first order is not least squares, even up to a factor: at
//!   T = 1e5 at least 0.1 off (median).
//! - `cold-*`: at T = Δ/40, Δ the gap between the two largest scores, the prediction is the top row's target: at most 1e-12 of
//!   the targets' range off. `cold-rate-*`: the slope of its logarithm against Δ/T for Δ/T in 10…30 is −1.1 to −0.9 (median).
//! - `nearest-dot-*`: the largest product is the nearest row for at most 0.5 of queries (mean). (Of distances it is the
//!   nearest by definition.)
//! - `picked-*`: the test error (root mean square) at the T that leave-one-out picks is at most 1.02 times that of the best T
//!   (partly 1.05); medians over replicates with bootstrap intervals.
//! - `linear-wants-least-squares`: amplified products on the linear design: test R² less that of least squares at least −0.01
//!   (mean). `sine-gains-*`: on the rotated sine it is at least 0.1 above. `filip-wants-distance`: distances are at
//!   least 0.1 above products (amplified, mean). `filip-wants-distance-solved`: at least 0.05 above (solved).
//! - `solved-loses-nothing`: the solved dial's test R² less that of the plain and of the amplified one, on every design and by both
//!   scores: at least −0.02 (partly −0.05; mean, where it loses most).
//!
//! ## Revisions
//! A claim that the cold limit of distances is the nearest row was taken out: it compared a thing with itself. The line of least
//! squares in the plots is the mean, as the curves are, and was the median.
//!
//! The solved dial, `filip-wants-distance-solved` and `solved-loses-nothing` were added after a first full run was read: below T = 1
//! the factor T of the amplified dial shrinks what it should leave alone, so that it was worse by distances than by products
//! on Filip's curve (−0.036), where the plain dial by distances had an R² of .994.
//!
//! ## Time
//! Half a minute on two cores.

pub(super) mod dial;
mod judge;
mod limits;
pub(super) mod softmax;

use serde_json::json;

use crate::error::Error;
use crate::experiment::{Context, Experiment, Plan, Seeds, Size, Unit};
use crate::rows::Row;

/// The experiment.
pub const EXPERIMENT: Experiment = Experiment {
    name: "temperature-dial",
    trains: false,
    summary: "Softmax over whitened keys from the mean to least squares to the largest product, and leave-one-out as the hand",
    source: "derived; designs of Goulet Coulombe 2025, arXiv 2504.09663",
    file: include_str!("temperature_dial.rs"),
    version: 1,
    hours: 0.01,
    seeds: Seeds { full: 20, smoke: 2 },
    units,
    run,
    judge: judge::judge,
};

/// Where limits are measured.
const KEYS: [&str; 2] = ["normal", "macro"];
/// Where the dial is turned.
pub(super) const DESIGNS: [&str; 4] = ["linear", "rotated-sine", "macro", "filip"];

fn units(plan: &Plan) -> Vec<Unit> {
    let rows = if plan.size == Size::Full { 500 } else { 100 };
    let limits = KEYS.iter().map(|keys| Unit::new(format!("limits-{keys}"), json!({"keys": keys, "rows": rows})));
    let dial =
        DESIGNS.iter().map(|design| Unit::new(format!("dial-{design}"), json!({"design": design, "rows": rows})));
    limits.chain(dial).collect()
}

fn run(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    if unit.name.starts_with("limits") { limits::rows(unit, context) } else { dial::rows(unit, context) }
}

//! # The thermodynamics of softmax regression: what its heat capacity says of the best temperature
//!
//! Softmax attention over training rows, `ŷ = Σ p_i y_i` with `p = softmax(−E/T)`, has a dial, T (see `temperature-dial`). Along it,
//! the canonical observables: the effective number of rows `e^S`, and the heat capacity `C = Var_p(E)/T²`, which peaks where rows begin to be
//! chosen. Kim (2026, arXiv 2602.08216) reads such peaks as the onset of learning; here one can ask what they know of prediction: is the
//! temperature of the peak one that predicts well?
//!
//! Of inner products with whitened keys, `(1/n) KᵀK = I`, the variance of scores is `‖q‖²`, so `C T² → ‖q‖²` as T grows: n times the leverage
//! of least squares (derived). Under distances the same limit has the variance of `½‖q − k‖²`.
//!
//! ## World
//! Designs, temperatures and rows of the experiment `temperature-dial`: *linear* and *rotated sine* (500 rows of five columns,
//! 1,000 fresh ones), *macro* (next quarter's inflation) and *Filip*, random halves; 41 temperatures from 1e-5 to 1e5, keys whitened,
//! scores by inner product (*dot*) and distance. Observables are means over fresh rows; predictions are those of the solved estimator, whose
//! constant and factor are least squares over rows left out.
//!
//! ## Thresholds
//! - `hot-slope-*`: the slope of ln C by ln T for 1e2 ≤ T ≤ 1e5, the median over replicates with its bootstrap interval: −2.02 to −1.98.
//! - `hot-leverage-*`: of inner products, C T² at T = 1e5 over the mean of ‖q‖²: 0.999 to 1.001 (median).
//! - `cold-one-*`: `e^S` at T = 1e-5, the mean over fresh rows: at most 1.05 (median).
//! - `peak-at-best-*`: ln(T of the peak of C / T that leave-one-out picks): −0.58 to 0.58, a quarter decade (median).
//! - `error-at-peak-*`: the test error (root mean square) at the peak's T over that at the T that leave-one-out picks: at most 1.02
//!   (partly 1.1; median).
//!
//! ## Revisions
//! None.
//!
//! ## Time
//! A minute on two cores.

mod judge;

use hattention::thermodynamics::Ensemble;
use rayon::prelude::*;
use serde_json::json;

use super::temperature_dial::DESIGNS;
use super::temperature_dial::dial::{World, solved, temperatures, world};
use super::temperature_dial::softmax::{SCORES, Score, Whitening, scores};
use crate::error::Error;
use crate::experiment::{Context, Experiment, Plan, Seeds, Size, Unit};
use crate::rows::Row;
use crate::statistics::line;

/// The experiment.
pub const EXPERIMENT: Experiment = Experiment {
    name: "thermo-regression",
    trains: false,
    summary: "Effective rows and heat capacities along the temperature of softmax regression, and what they know of the best one",
    source: "derived; Kim 2026, arXiv 2602.08216",
    file: include_str!("thermo_regression.rs"),
    version: 1,
    hours: 0.02,
    seeds: Seeds { full: 20, smoke: 2 },
    units,
    run,
    judge: judge::judge,
};

fn units(plan: &Plan) -> Vec<Unit> {
    let rows = if plan.size == Size::Full { 500 } else { 60 };
    DESIGNS.iter().map(|design| Unit::new(*design, json!({"design": design, "rows": rows}))).collect()
}

/// What a replicate and score say: the mean of `‖q‖²`, observables at every temperature, and R² of rows left out and of fresh ones.
struct Turned {
    score: &'static str,
    squares: f64,
    points: Vec<Point>,
    shares: Vec<(f64, f64)>,
}

/// Means over fresh rows at a temperature.
#[derive(Clone, Copy, Default)]
struct Point {
    capacity: f64,
    entropy: f64,
    effective: f64,
}

fn run(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let (design, seeds, count) = (unit.word("design")?, context.plan.seeds, unit.count("rows")?);
    let temperatures = temperatures();
    let of = |seed: usize| -> Result<Vec<Turned>, Error> {
        let world = world(design, count, &mut context.generator("rows", seed))?;
        SCORES
            .iter()
            .map(|(score, name)| {
                let (points, squares) = observed(&world, *score, &temperatures)?;
                Ok(Turned { score: name, squares, points, shares: solved(&world, *score)? })
            })
            .collect()
    };
    let found = (0..seeds).into_par_iter().map(of).collect::<Result<Vec<_>, Error>>()?;
    context.progress(1.0);
    let mut rows = Vec::new();
    for (seed, of_scores) in found.iter().enumerate() {
        for turned in of_scores {
            let row = Row::new().label("kind", "seed").label("design", design);
            rows.push(summed(row.label("score", turned.score).label("seed", seed), &temperatures, turned)?);
        }
    }
    for (place, (_, name)) in SCORES.iter().enumerate() {
        for (at, t) in temperatures.iter().enumerate() {
            let mean = |of: &dyn Fn(&Point, (f64, f64)) -> f64| {
                found.iter().map(|all| of(&all[place].points[at], all[place].shares[at])).sum::<f64>() / seeds as f64
            };
            let row = Row::new().label("kind", "curve").label("design", design).label("score", *name).label("T", *t);
            rows.push(
                row.value("capacity", mean(&|point, _| point.capacity))
                    .value("entropy", mean(&|point, _| point.entropy))
                    .value("effective rows", mean(&|point, _| point.effective))
                    .value("left out", mean(&|_, (out, _)| out))
                    .value("test", mean(&|_, (_, test)| test)),
            );
        }
    }
    Ok(rows)
}

/// Observables of fresh rows at all temperatures, and the mean of `‖q‖²`.
fn observed(world: &World, score: Score, temperatures: &[f64]) -> Result<(Vec<Point>, f64), Error> {
    let whitening = Whitening::of(&world.x);
    let keys: Vec<Vec<f64>> = (0..world.x.rows).map(|i| whitening.key(world.x.row(i))).collect();
    let fresh = world.fresh.rows as f64;
    let (mut points, mut squares) = (vec![Point::default(); temperatures.len()], 0.0);
    for row in 0..world.fresh.rows {
        let query = whitening.key(world.fresh.row(row));
        squares += query.iter().map(|q| q * q).sum::<f64>() / fresh;
        let energies: Vec<f64> = scores(score, &query, &keys).iter().map(|s| -s).collect();
        for (point, t) in points.iter_mut().zip(temperatures) {
            let found = Ensemble::of(&energies, *t)?.observables().unwrap_or_default();
            point.capacity += found.heat_capacity / fresh;
            point.entropy += found.entropy / fresh;
            point.effective += found.effective_keys / fresh;
        }
    }
    Ok((points, squares))
}

/// What a replicate says.
fn summed(row: Row, t: &[f64], turned: &Turned) -> Result<Row, Error> {
    let Turned { squares, points, shares, .. } = turned;
    let largest = |of: &dyn Fn(usize) -> f64| (0..t.len()).fold(0, |best, i| if of(i) > of(best) { i } else { best });
    let (peak, picked) = (largest(&|i| points[i].capacity), largest(&|i| shares[i].0));
    let hot: Vec<usize> = (0..t.len()).filter(|i| t[*i] >= 99.0).collect();
    let logarithms = |of: &dyn Fn(usize) -> f64| hot.iter().map(|i| of(*i).ln()).collect::<Vec<f64>>();
    let slope = line(&logarithms(&|i| t[i]), &logarithms(&|i| points[i].capacity))?.slope.value;
    let end = t.len() - 1;
    Ok(row
        .value("hot slope", slope)
        .value("hot leverage", points[end].capacity * t[end] * t[end] / squares)
        .value("cold rows", points[0].effective)
        .value("peak T", t[peak])
        .value("picked T", t[picked])
        .value("peak over picked", (t[peak] / t[picked]).ln())
        .value("peak capacity", points[peak].capacity)
        .value("rows at the peak", points[peak].effective)
        .value("rows at the picked", points[picked].effective)
        .value("test at the peak", shares[peak].1)
        .value("test at the picked", shares[picked].1)
        .value("errors, peak over picked", ((1.0 - shares[peak].1) / (1.0 - shares[picked].1)).sqrt()))
}

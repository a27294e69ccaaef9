//! Errors of every step, of the trained model and of the references on the same problems.

use hattention::attention::attend::Mask;
use hattention::transformer::gradient::optimal_one_layer;
use hattention::transformer::mesa::Mesa;
use hattention::{Aliased, Matrix};
use rayon::prelude::*;

use super::identities::{WINDOW, masked_coefficients};
use super::problems::{D, N, NOISE, Problem, World, dot, drifting, embed, normal, problem};
use super::steps::{Step, coordinates, exponential, predict};
use super::{EXPERIMENT, trained};
use crate::error::Error;
use crate::experiment::{Context, Unit};
use crate::rows::Row;
use crate::seeds;
use crate::statistics::line;

/// Queries of a problem.
use super::problems::QUERIES;

/// The problems are the same for all units.
fn shared(world: World, seed: usize) -> Problem {
    problem(world, QUERIES, &mut seeds::generator(EXPERIMENT.name, "problems", world.name(), seed))
}

/// Mean squares of the error about the truth and of the distance to least squares, over the variance of the truth.
fn row(step: &str, world: &str, seed: usize, found: &[f64], problem: &Problem, ols: &[f64], variance: f64) -> Row {
    let mean = |other: &[f64]| {
        found.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum::<f64>() / found.len() as f64 / variance
    };
    let row = Row::new().label("what", "error").label("step", step).label("world", world).label("seed", seed);
    row.value("error", mean(&problem.truth)).value("from_ols", mean(ols))
}

/// The variance of the truth where contexts come from, estimated at the context (noise taken off).
fn variance(problem: &Problem) -> f64 {
    let n = problem.y.rows as f64;
    let mean = problem.y.data.iter().sum::<f64>() / n;
    problem.y.data.iter().map(|y| (y - mean) * (y - mean)).sum::<f64>() / n - NOISE * NOISE
}

pub fn steps(context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let rows: Result<Vec<Vec<Row>>, Error> = (0..context.plan.seeds).into_par_iter().map(of_seed).collect();
    Ok(rows?.into_iter().flatten().collect())
}

fn of_seed(seed: usize) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for world in World::ALL {
        let p = shared(world, seed);
        let e = embed(&p.x, &p.y, &p.queries)?;
        let scale = variance(&p);
        for step in Step::ALL {
            let found = predict(step, &e, &p.y)?;
            rows.push(row(step.name(), world.name(), seed, &found, &p, &e.ols, scale));
        }
        let ridge = ridge(&p)?;
        let best = one_layer(&p)?;
        for (name, found) in [("ridge", &ridge), ("A*", &best), ("engine", &e.ols)] {
            rows.push(row(name, world.name(), seed, found, &p, &e.ols, scale));
        }
    }
    // The variance of wᵀx over x, and of what it turns into, is that of the truth at the queries.
    let drift = drifting(&mut seeds::generator(EXPERIMENT.name, "problems", "drifting", seed));
    for (world, p) in [("drifting", &drift), ("constant", &shared(World::Same, seed))] {
        let e = embed(&p.x, &p.y, &p.queries)?;
        for (name, mask) in [("all rows", Mask::All), ("window", Mask::Window { width: WINDOW })] {
            let c = masked_coefficients(&p.x, &p.y, mask, N - 1)?;
            let found: Vec<f64> = (0..QUERIES).map(|i| c[0] + dot(p.queries.row(i), &c[1..])).collect();
            rows.push(row(name, world, seed, &found, p, &e.ols, variance(p)));
        }
    }
    Ok(rows)
}

/// Bayes in the linear worlds: α = σ², coefficients of variance 1, no intercept.
fn ridge(p: &Problem) -> Result<Vec<f64>, Error> {
    let mut memory = Mesa::<f64>::new(D, 1).with_ridge(NOISE * NOISE, 0)?;
    for i in 0..p.x.rows {
        memory.push(p.x.row(i), p.y.row(i), 1.0)?;
    }
    Ok(p.queries.times(&memory.coefficients(Aliased::Error)?)?.data)
}

/// The best single layer of linear attention.
fn one_layer(p: &Problem) -> Result<Vec<f64>, Error> {
    let a = optimal_one_layer(&Matrix::identity(D), N, NOISE * NOISE)?;
    let mut state = p.x.transposed().times(&p.y)?;
    state.data.iter_mut().for_each(|s| *s /= N as f64);
    Ok(p.queries.times(&a.times(&state)?)?.data)
}

/// Slope of softmax's predictions on the truth, in two dimensions, by rows of context.
pub fn slope(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let largest = unit.count("rows")?;
    let mut rows = Vec::new();
    for n in [100, 1000, 5000, 20_000].into_iter().filter(|n| *n <= largest) {
        for seed in 0..context.plan.seeds {
            let mut random = context.generator("slope", seed);
            let w = [normal(&mut random), normal(&mut random)];
            let x = Matrix::from_fn(n, 2, |_, _| normal(&mut random));
            let y = Matrix::from_fn(n, 1, |i, _| dot(x.row(i), &w) + NOISE * normal(&mut random));
            let at = Matrix::from_fn(QUERIES, 2, |_, _| normal(&mut random));
            let truth: Vec<f64> = (0..QUERIES).map(|i| dot(at.row(i), &w)).collect();
            let e = embed(&x, &y, &at)?;
            let found = exponential(&coordinates(&e.queries), &coordinates(&e.keys), &y, true, Mask::All)?;
            let slope = line(&truth, &found.data)?.slope.value;
            rows.push(Row::new().label("what", "slope").label("rows", n).label("seed", seed).value("slope", slope));
        }
    }
    Ok(rows)
}

pub fn trained(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let model = trained::train(unit, context)?;
    let mut rows =
        vec![Row::new().label("what", "training").label("model", unit.count("model")?).value("loss", model.loss)];
    for seed in 0..context.plan.seeds {
        for world in World::ALL {
            let p = shared(world, seed);
            let e = embed(&p.x, &p.y, &p.queries)?;
            let found = model.predict(&p)?;
            let made = row("trained", world.name(), seed, &found, &p, &e.ols, variance(&p));
            rows.push(made.label("model", unit.count("model")?));
        }
    }
    Ok(rows)
}

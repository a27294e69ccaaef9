//! The layer: constructed and compared with a gradient step, trained and compared with the best one.

use burn::tensor::Tensor;
use hattention::transformer::gradient::{GradientLayer, one_layer_loss, optimal_one_layer};
use hattention::transformer::mesa::Mesa;
use hattention::{Aliased, Matrix};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::D;
use crate::error::Error;
use crate::experiment::{Context, Unit};
use crate::learner::{Learner, cosine};
use crate::rows::Row;
use crate::seeds::Generator;
use crate::train::{numbers, tensor};

/// Prompts of a training step, and queries of a prompt.
const PROMPTS: usize = 64;
const QUERIES: usize = 8;
const RATE: f64 = 0.02;
/// Deviation of the parameters at the start.
const START: f64 = 0.3;

fn normal(random: &mut Generator) -> f64 {
    StandardNormal.sample(random)
}

/// The construction against an explicit step, relative to the sum of absolute terms.
pub fn construction(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let draws = unit.count("draws")?;
    let mut worst = 0.0f64;
    for draw in 0..draws {
        let mut random = context.generator("construction", draw);
        let (n, d) = (random.random_range(1..50), random.random_range(1..9));
        let rate = random.random_range(0.01..2.0);
        let w: Vec<f64> = (0..d).map(|_| normal(&mut random)).collect();
        let x = Matrix::from_fn(n + 1, d, |_, _| normal(&mut random));
        let y: Vec<f64> = (0..n).map(|_| normal(&mut random)).collect();
        let dot = |row: &[f64], w: &[f64]| row.iter().zip(w).map(|(a, b)| a * b).sum::<f64>();
        let query = x.row(n);
        let tokens = Matrix::from_fn(n + 1, d + 1, |i, j| match (j < d, i < n) {
            (true, _) => x.at(i, j),
            (false, true) => y[i],
            (false, false) => -dot(query, &w),
        });
        let layer = GradientLayer::new(&Matrix::new(1, d, w.clone())?, rate)?;
        let found = -layer.forward(&tokens, n)?.at(n, d);
        let mut step = w.clone();
        let mut terms = w.iter().zip(query).map(|(a, b)| (a * b).abs()).sum::<f64>();
        for i in 0..n {
            let residual = dot(x.row(i), &w) - y[i];
            for (s, value) in step.iter_mut().zip(x.row(i)) {
                *s -= rate / n as f64 * residual * value;
            }
            let sizes = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a * b).abs()).sum::<f64>();
            terms += rate / n as f64 * (sizes(x.row(i), &w) + y[i].abs()) * sizes(x.row(i), query);
        }
        worst = worst.max((found - dot(query, &step)).abs() / terms);
    }
    Ok(vec![Row::new().label("what", "construction").label("draws", draws).value("error", worst)])
}

/// The world of prompts: `x = V √Λ z`, V a reflection.
struct World {
    roots: Vec<f64>,
    axis: Vec<f64>,
    n: usize,
    deviation: f64,
}

/// Prompts: context rows, their targets, queries and their noiseless targets.
struct Prompts {
    /// Shape: `[prompts][n][d + 1]`.
    tokens: Vec<f64>,
    /// Shape: `[prompts][d][queries]`.
    queries: Vec<f64>,
    /// Shape: `[prompts][queries]`.
    targets: Vec<f64>,
}

impl World {
    fn new(unit: &Unit, random: &mut Generator) -> Result<Self, Error> {
        let skewed = unit.word("spectrum")? == super::SPECTRA[1];
        let raw: Vec<f64> = (1..=D).map(|i| if skewed { 1.0 / (i * i) as f64 } else { 1.0 }).collect();
        let total: f64 = raw.iter().sum();
        let mut axis: Vec<f64> = (0..D).map(|_| normal(random)).collect();
        let length = axis.iter().map(|a| a * a).sum::<f64>().sqrt();
        axis.iter_mut().for_each(|a| *a /= length);
        let roots = raw.iter().map(|r| (r * D as f64 / total).sqrt()).collect();
        Ok(Self { roots, axis, n: unit.count("n")?, deviation: unit.number("variance")?.sqrt() })
    }

    /// Column i of V.
    fn direction(&self, i: usize) -> Vec<f64> {
        (0..D).map(|j| f64::from(u8::from(i == j)) - 2.0 * self.axis[i] * self.axis[j]).collect()
    }

    fn sigma(&self) -> Matrix {
        let directions: Vec<Vec<f64>> = (0..D).map(|i| self.direction(i)).collect();
        let entry =
            |i: usize, j: usize| (0..D).map(|k| directions[k][i] * self.roots[k].powi(2) * directions[k][j]).sum();
        Matrix::from_fn(D, D, entry)
    }

    fn row(&self, random: &mut Generator) -> [f64; D] {
        let mut row: [f64; D] = std::array::from_fn(|i| self.roots[i] * normal(random));
        let along: f64 = row.iter().zip(&self.axis).map(|(x, a)| x * a).sum();
        row.iter_mut().zip(&self.axis).for_each(|(x, a)| *x -= 2.0 * along * a);
        row
    }

    fn prompts(&self, count: usize, queries: usize, random: &mut Generator) -> Prompts {
        let mut prompts = Prompts {
            tokens: Vec::with_capacity(count * self.n * (D + 1)),
            queries: vec![0.0; count * D * queries],
            targets: Vec::with_capacity(count * queries),
        };
        for p in 0..count {
            let w: [f64; D] = std::array::from_fn(|_| normal(random));
            let of = |x: &[f64; D]| x.iter().zip(&w).map(|(x, w)| x * w).sum::<f64>();
            for _ in 0..self.n {
                let x = self.row(random);
                prompts.tokens.extend(x);
                prompts.tokens.push(of(&x) + self.deviation * normal(random));
            }
            for q in 0..queries {
                let x = self.row(random);
                (0..D).for_each(|j| prompts.queries[(p * D + j) * queries + q] = x[j]);
                prompts.targets.push(of(&x));
            }
        }
        prompts
    }
}

/// `(1/n) Σᵢ (p·eᵢ)(eᵢᵀ K) x_q`. Shapes: tokens `[b][n][d+1]`, queries `[b][d][q]`, K `[d+1][d]`, p `[d+1][1]`; `[b][1][q]`.
fn attend(tokens: Tensor<3>, queries: Tensor<3>, k: Tensor<2>, p: Tensor<2>) -> Tensor<3> {
    let share = 1.0 / tokens.dims()[1] as f64;
    let values = tokens.clone().matmul(p.unsqueeze()); // [b, n, 1]
    let keys = tokens.matmul(k.unsqueeze()); // [b, n, d]
    (values.transpose().matmul(keys) * share).matmul(queries)
}

fn train(
    world: &World,
    start_kind: &str,
    steps: usize,
    seed: usize,
    context: &Context<'_>,
) -> Result<(Vec<f64>, Vec<f64>), Error> {
    let device = context.plan.device.plain()?;
    let mut start = context.generator("start", seed);
    let mut draw = |count: usize| -> Vec<f64> { (0..count).map(|_| START * normal(&mut start)).collect() };
    let (mut k, mut p) = (draw((D + 1) * D), draw(D + 1));
    if start_kind == super::STARTS[0] {
        // K_x = ΘΘᵀ of norm 0.5, p_y = 0.5, and nothing else.
        let theta = Matrix::new(D, D, k[..D * D].to_vec())?;
        let square = theta.times(&theta.transposed())?;
        let norm = frobenius(square.data.iter().copied());
        k[..D * D].iter_mut().zip(&square.data).for_each(|(k, s)| *k = 0.5 * s / norm);
        k[D * D..].fill(0.0);
        p[..D].fill(0.0);
        p[D] = 0.5;
    }
    let (k, p) = (tensor(&k, [D + 1, D], &device), tensor(&p, [D + 1, 1], &device));
    let mut learner = Learner::new(vec![k, p]);
    let mut random = context.generator("prompts", seed);
    for step in 0..steps {
        let prompts = world.prompts(PROMPTS, QUERIES, &mut random);
        let leaves = learner.leaves();
        let tokens = tensor(&prompts.tokens, [PROMPTS, world.n, D + 1], &device).autodiff();
        let queries = tensor(&prompts.queries, [PROMPTS, D, QUERIES], &device).autodiff();
        let targets = tensor(&prompts.targets, [PROMPTS, 1, QUERIES], &device).autodiff();
        let error = attend(tokens, queries, leaves[0].clone(), leaves[1].clone()) - targets;
        let loss = (error.clone() * error).sum() * (1.0 / (PROMPTS * QUERIES) as f64);
        learner.step(&leaves, &loss, cosine(RATE, step, steps))?;
    }
    let [k, p] = learner.parameters() else { return Err(Error::Tensor("the layer has two parameters".to_owned())) };
    Ok((numbers(k.clone())?, numbers(p.clone())?))
}

fn frobenius(entries: impl Iterator<Item = f64>) -> f64 {
    entries.map(|x| x * x).sum::<f64>().sqrt()
}

/// Trains the layer for every seed and measures it.
pub fn trained(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let done = std::sync::atomic::AtomicUsize::new(0);
    let starts = if unit.parameters["starts"].is_null() { 1 } else { unit.count("starts")? };
    let seeds = context.plan.seeds * starts;
    let rows: Result<Vec<_>, Error> = (0..seeds)
        .into_par_iter()
        .map(|seed| {
            let rows = one(unit, context, seed);
            let done = 1 + done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            context.progress(done as f64 / seeds as f64);
            rows
        })
        .collect();
    Ok(rows?.into_iter().flatten().collect())
}

fn one(unit: &Unit, context: &Context<'_>, seed: usize) -> Result<Vec<Row>, Error> {
    let (variance, tests) = (unit.number("variance")?, unit.count("tests")?);
    let world = World::new(unit, &mut context.generator("world", seed))?;
    let (sigma, n) = (world.sigma(), world.n);
    let steps = unit.count("steps")?;
    let (k, p) = train(&world, unit.word("start")?, steps, seed, context)?;
    // All that is linear in y: p_y y xᵀK_x x_q, and (p_x·x) y K_y·x_q, which is one direction more.
    let a = Matrix::from_fn(D, D, |i, j| p[D] * k[j * D + i] + k[D * D + i] * p[j]);
    let best = optimal_one_layer(&sigma, n, variance)?;
    let step = best_step(&sigma, n, variance)?;
    let loss = |a: &Matrix| one_layer_loss(a, &sigma, n, variance);
    // What does not belong: the part without y, and the part with y².
    let rest = frobenius(p[..D].iter().copied()) * frobenius(k[..D * D].iter().copied())
        + p[D].abs() * frobenius(k[D * D..].iter().copied());
    let distance = frobenius(a.data.iter().zip(&best.data).map(|(a, b)| a - b)) / frobenius(best.data.iter().copied());
    if unit.name.starts_with("length") {
        let row = Row::new().label("what", "length").label("steps", steps).label("seed", seed);
        return Ok(vec![row.value("distance", distance).value("excess", loss(&a)? / loss(&best)? - 1.0)]);
    }
    let label = |what: &str| -> Result<Row, Error> {
        let row = Row::new().label("what", what).label("spectrum", unit.word("spectrum")?);
        Ok(row.label("n", n).label("variance", variance).label("start", unit.word("start")?).label("seed", seed))
    };
    let mut rows = vec![
        label("layer")?
            .value("distance", distance)
            .value("rest", rest / frobenius(a.data.iter().copied()))
            .value("loss", loss(&a)?)
            .value("loss_best", loss(&best)?)
            .value("loss_step", loss(&Matrix::from_fn(D, D, |i, j| if i == j { step } else { 0.0 }))?),
    ];
    let mut random = context.generator("test", seed);
    let prompts = world.prompts(tests, 1, &mut random);
    rows.push(on_prompts(label("test")?, &prompts, n, variance, [&a, &best], step, (&k, &p))?);
    for i in 0..D {
        let v = world.direction(i);
        let along = |m: &Matrix| (0..D * D).map(|e| v[e / D] * m.data[e] * v[e % D]).sum();
        let row = label("gain")?.label("direction", i);
        rows.push(
            row.value("eigenvalue", world.roots[i].powi(2)).value("gain", along(&a)).value("gain_best", along(&best)),
        );
    }
    Ok(rows)
}

/// The rate of the best single step: the loss of `η I` is a parabola in η.
fn best_step(sigma: &Matrix, n: usize, variance: f64) -> Result<f64, Error> {
    let at =
        |eta: f64| one_layer_loss(&Matrix::from_fn(D, D, |i, j| if i == j { eta } else { 0.0 }), sigma, n, variance);
    let (none, plus, minus) = (at(0.0)?, at(1.0)?, at(-1.0)?);
    Ok((minus - plus) / (2.0 * (plus + minus - 2.0 * none)))
}

/// Mean squared errors of all methods on the same prompts.
fn on_prompts(
    row: Row,
    prompts: &Prompts,
    n: usize,
    variance: f64,
    [a, best]: [&Matrix; 2],
    step: f64,
    (k, p): (&[f64], &[f64]),
) -> Result<Row, Error> {
    let mut sums = [0.0; 6];
    let count = prompts.targets.len();
    for (i, target) in prompts.targets.iter().enumerate() {
        let tokens = &prompts.tokens[i * n * (D + 1)..(i + 1) * n * (D + 1)];
        let query = &prompts.queries[i * D..(i + 1) * D];
        let mut state = [0.0; D];
        let mut layer = 0.0;
        let mut memory = Mesa::<f64>::new(D, 1);
        for token in tokens.chunks_exact(D + 1) {
            let (x, y) = (&token[..D], token[D]);
            state.iter_mut().zip(x).for_each(|(s, x)| *s += x * y / n as f64);
            let value: f64 = token.iter().zip(p).map(|(e, p)| e * p).sum();
            let score: f64 = token.iter().zip(k.chunks_exact(D)).map(|(e, row)| e * dot(row, query)).sum();
            layer += value * score / n as f64;
            memory.push(x, &[y], 1.0)?;
        }
        let through = |m: &Matrix| (0..D).map(|r| query[r] * dot(m.row(r), &state)).sum::<f64>();
        let shortest = memory.read(query, Aliased::MinNorm)?[0];
        let bayes =
            if variance > 0.0 { memory.with_ridge(variance, 0)?.read(query, Aliased::Error)?[0] } else { shortest };
        let found = [layer, through(a), through(best), step * dot(query, &state), bayes, shortest];
        sums.iter_mut().zip(found).for_each(|(s, f)| *s += (f - target) * (f - target) / count as f64);
    }
    let names = ["layer", "product", "best", "step", "ridge", "ols"];
    Ok(names.iter().zip(sums).fold(row, |row, (name, sum)| row.value(name, sum)))
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Size;
    use serde_json::json;

    /// The tensors compute what the loop over tokens computes, and the prompts have the law they should have.
    #[test]
    fn the_layer_is_the_sum_over_tokens() {
        let unit = Unit::new("u", json!({"spectrum": "skewed", "n": 7, "variance": 0.25}));
        let plan = super::super::EXPERIMENT.plan(Size::Smoke, None);
        let context = Context::new(&plan, "icl-one-layer", "test");
        let world = World::new(&unit, &mut context.generator("world", 0)).unwrap();
        let mut random = context.generator("prompts", 0);
        let prompts = world.prompts(2, 3, &mut random);
        let k: Vec<f64> = (0..(D + 1) * D).map(|_| normal(&mut random)).collect();
        let p: Vec<f64> = (0..D + 1).map(|_| normal(&mut random)).collect();
        let device = plan.device.plain().unwrap();
        let found = attend(
            tensor(&prompts.tokens, [2, 7, D + 1], &device),
            tensor(&prompts.queries, [2, D, 3], &device),
            tensor(&k, [D + 1, D], &device),
            tensor(&p, [D + 1, 1], &device),
        );
        let found = numbers(found).unwrap();
        for (at, found) in found.iter().enumerate() {
            let (b, q) = (at / 3, at % 3);
            let query: Vec<f64> = (0..D).map(|j| prompts.queries[(b * D + j) * 3 + q]).collect();
            let token = |i: usize| &prompts.tokens[(b * 7 + i) * (D + 1)..(b * 7 + i + 1) * (D + 1)];
            let score = |e: &[f64]| e.iter().zip(k.chunks_exact(D)).map(|(e, row)| e * dot(row, &query)).sum::<f64>();
            let exact = (0..7).map(|i| dot(token(i), &p) * score(token(i)) / 7.0).sum::<f64>();
            // Sums of 7 · 36 terms of order ten.
            assert!((found - exact).abs() < 7.0 * 36.0 * 10.0 * f64::EPSILON, "{found} {exact}");
        }
        // The law: second moments of 20,000 rows, each with a standard error of at most 3.42·√2/√20,000 = 0.034.
        let sigma = world.sigma();
        let mut moments = Matrix::<f64>::zeros(D, D);
        for _ in 0..20_000 {
            let x = world.row(&mut random);
            (0..D * D).for_each(|e| moments.data[e] += x[e / D] * x[e % D] / 20_000.0);
        }
        for (found, exact) in moments.data.iter().zip(&sigma.data) {
            assert!((found - exact).abs() < 5.0 * 0.034, "{found} {exact}");
        }
    }

    #[test]
    fn the_best_step_is_best() {
        let sigma = Matrix::from_fn(D, D, |i, j| if i == j { 1.0 / (i + 1) as f64 } else { 0.0 });
        let eta = best_step(&sigma, 10, 0.3).unwrap();
        let at = |eta: f64| {
            one_layer_loss(&Matrix::from_fn(D, D, |i, j| if i == j { eta } else { 0.0 }), &sigma, 10, 0.3).unwrap()
        };
        assert!(at(eta) < at(eta * 1.01) && at(eta) < at(eta * 0.99));
    }
}

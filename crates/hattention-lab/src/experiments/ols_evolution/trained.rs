//! The end of the road: a small standard transformer, trained to regress from its context.
//!
//! Tokens are `(x, y, 1)` for rows of the context and `(x, 0, 0)` for queries; all attend to the context. A block is layer norm,
//! softmax attention of two heads, residual, layer norm, MLP with GELU, residual. It learns from the problems of
//! [`World::Same`] only.

use burn::tensor::activation::{gelu, softmax};
use burn::tensor::{DType, Tensor, TensorData};

use super::problems::{D, N, Problem, World, normal, problem};
use crate::error::Error;
use crate::experiment::{Context, Unit};
use crate::learner::{Learner, cosine};
use crate::train::numbers;

/// Width, heads, blocks and width of the MLP.
const WIDTH: usize = 32;
const HEADS: usize = 2;
const BLOCKS: usize = 3;
const INNER: usize = 64;
/// Problems of a step, and queries of a problem.
const BATCH: usize = 16;
const TRAINED_QUERIES: usize = 16;
const RATE: f64 = 2e-3;
/// Matrices of a block: norm, Q, K, V, output, norm, MLP in, MLP out.
const OF_BLOCK: usize = 8;
const NORM_FLOOR: f64 = 1e-5;

/// A token has x, y and whether y is there.
const TOKEN: usize = D + 2;

fn single<const K: usize>(numbers: Vec<f32>, shape: [usize; K], device: &burn::tensor::Device) -> Tensor<K> {
    Tensor::from_data(TensorData::new(numbers, shape), (device, DType::F32))
}

/// A trained model.
pub struct Trained {
    learner: Learner,
    device: burn::tensor::Device,
    /// Mean loss over the last tenth of training.
    pub loss: f64,
}

fn initial(context: &Context<'_>, seed: usize, device: &burn::tensor::Device) -> Vec<Tensor<2>> {
    let mut random = context.generator("weights", seed);
    let mut matrix = |rows: usize, columns: usize, scale: f64| {
        let deviation = scale / (rows as f64).sqrt();
        let numbers = (0..rows * columns).map(|_| (deviation * normal(&mut random)) as f32).collect();
        single(numbers, [rows, columns], device)
    };
    let ones = || single(vec![1.0; WIDTH], [1, WIDTH], device);
    let mut all = vec![matrix(TOKEN, WIDTH, 1.0)];
    for _ in 0..BLOCKS {
        all.push(ones());
        all.extend([(); 3].map(|()| matrix(WIDTH, WIDTH, 1.0)));
        all.push(matrix(WIDTH, WIDTH, 0.5));
        all.push(ones());
        all.push(matrix(WIDTH, INNER, 1.0));
        all.push(matrix(INNER, WIDTH, 0.5));
    }
    all.push(ones());
    all.push(matrix(WIDTH, 1, 0.1));
    all
}

/// Tokens of problems of equal size, context first. Shape: `[b][n + queries][d + 2]`.
fn tokens(problems: &[Problem], device: &burn::tensor::Device) -> Tensor<3> {
    let mut numbers: Vec<f32> = Vec::new();
    let length = problems.first().map_or(0, |p| p.x.rows + p.queries.rows);
    for p in problems {
        for i in 0..p.x.rows {
            numbers.extend(p.x.row(i).iter().map(|x| *x as f32));
            numbers.extend([p.y.at(i, 0) as f32, 1.0]);
        }
        for i in 0..p.queries.rows {
            numbers.extend(p.queries.row(i).iter().map(|x| *x as f32));
            numbers.extend([0.0, 0.0]);
        }
    }
    single(numbers, [problems.len(), length, TOKEN], device)
}

fn norm(x: Tensor<3>, gain: Tensor<2>) -> Tensor<3> {
    let centred = x.clone() - x.mean_dim(2);
    let variance = (centred.clone() * centred.clone()).mean_dim(2);
    centred * (variance + NORM_FLOOR).sqrt().recip() * gain.unsqueeze()
}

fn linear(x: Tensor<3>, w: Tensor<2>) -> Tensor<3> {
    let [b, t, d] = x.dims();
    let columns = w.dims()[1];
    x.reshape([b * t, d]).matmul(w).reshape([b, t, columns])
}

fn attention(x: Tensor<3>, w: &[Tensor<2>]) -> Tensor<3> {
    let [b, t, _] = x.dims();
    let head = WIDTH / HEADS;
    let split = |y: Tensor<3>, rows: usize| y.reshape([b, rows, HEADS, head]).swap_dims(1, 2); // [b, h, rows, head]
    let seen = x.clone().narrow(1, 0, N);
    let q = split(linear(x, w[0].clone()), t);
    let k = split(linear(seen.clone(), w[1].clone()), N);
    let v = split(linear(seen, w[2].clone()), N);
    let scores = q.matmul(k.transpose()) * (1.0 / (head as f64).sqrt());
    let read = softmax(scores, 3).matmul(v); // [b, h, t, head]
    linear(read.swap_dims(1, 2).reshape([b, t, WIDTH]), w[3].clone())
}

/// Predictions at the queries. Shape: `[b][queries][1]`.
fn forward(tokens: Tensor<3>, w: &[Tensor<2>]) -> Tensor<3> {
    let length = tokens.dims()[1];
    let mut x = linear(tokens, w[0].clone());
    for block in w[1..=BLOCKS * OF_BLOCK].chunks_exact(OF_BLOCK) {
        x = x.clone() + attention(norm(x, block[0].clone()), &block[1..5]);
        let inner = gelu(linear(norm(x.clone(), block[5].clone()), block[6].clone()));
        x = x + linear(inner, block[7].clone());
    }
    let last = &w[1 + BLOCKS * OF_BLOCK..];
    linear(norm(x.narrow(1, N, length - N), last[0].clone()), last[1].clone())
}

/// Trains a model.
///
/// # Errors
/// [`Error::Device`], [`Error::Tensor`].
pub fn train(unit: &Unit, context: &Context<'_>) -> Result<Trained, Error> {
    let (steps, seed) = (unit.count("steps")?, unit.count("model")?);
    let device = context.plan.device.plain()?;
    let mut learner = Learner::new(initial(context, seed, &device));
    let mut random = context.generator("problems of training", seed);
    let (mut sum, mut count) = (0.0, 0.0);
    for step in 0..steps {
        let problems: Vec<Problem> = (0..BATCH).map(|_| problem(World::Same, TRAINED_QUERIES, &mut random)).collect();
        let truth: Vec<f32> = problems.iter().flat_map(|p| p.truth.iter().map(|t| *t as f32)).collect();
        let truth = single(truth, [BATCH, TRAINED_QUERIES, 1], &device).autodiff();
        let leaves = learner.leaves();
        let error = forward(tokens(&problems, &device).autodiff(), &leaves) - truth;
        let loss = (error.clone() * error).mean();
        let warm = (step as f64 / 100.0).min(1.0);
        learner.step(&leaves, &loss, warm * cosine(RATE, step, steps))?;
        if step + 1 + steps / 10 > steps {
            sum += crate::train::number(loss)?;
            count += 1.0;
        }
        if step % 20 == 0 {
            context.progress(step as f64 / steps as f64);
        }
    }
    Ok(Trained { learner, device, loss: sum / count })
}

impl Trained {
    /// Predictions at the queries of a problem.
    ///
    /// # Errors
    /// [`Error::Tensor`].
    pub fn predict(&self, problem: &Problem) -> Result<Vec<f64>, Error> {
        numbers(forward(tokens(std::slice::from_ref(problem), &self.device), self.learner.parameters()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Size;
    use hattention::Matrix;
    use serde_json::json;

    /// Queries see the context only, and the order of its rows does not matter.
    #[test]
    fn queries_do_not_see_each_other() {
        let plan = super::super::EXPERIMENT.plan(Size::Smoke, None);
        let context = Context::new(&plan, "ols-evolution", "test");
        let unit = Unit::new("test", json!({"steps": 1, "model": 0}));
        let model = train(&unit, &context).unwrap();
        let all = problem(World::Same, 6, &mut context.generator("p", 0));
        let together = model.predict(&all).unwrap();
        let alone = Problem { queries: Matrix::from_fn(1, D, |_, j| all.queries.at(4, j)), ..all.clone() };
        let turned = Problem {
            x: Matrix::from_fn(N, D, |i, j| all.x.at(N - 1 - i, j)),
            y: Matrix::from_fn(N, 1, |i, _| all.y.at(N - 1 - i, 0)),
            ..alone.clone()
        };
        for other in [alone, turned] {
            // Single precision through three blocks.
            assert!((model.predict(&other).unwrap()[0] - together[4]).abs() < 1e-4 * (1.0 + together[4].abs()));
        }
    }
}

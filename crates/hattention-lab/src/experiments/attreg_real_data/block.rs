//! The Regression Block: one token a feature, features of degree two, two normalised layers, the mean over tokens.

use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use hattention::Matrix;
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_distr::{Distribution, StandardNormal};

use crate::error::Error;
use crate::experiment::Context;
use crate::learner::Learner;
use crate::scored::{Sample, r_squared};
use crate::seeds::Generator;
use crate::train::{number, numbers, tensor};

/// Numbers of a token, and of the middle of the feed-forward layer.
const WIDTH: usize = 64;
const MIDDLE: usize = 128;
/// Directions of features at most.
const MOST: usize = 200;
/// Tokens whose features say which directions there are.
const TOKENS: usize = 1500;
const RATE: f64 = 1e-3;
const DECAY: f64 = 1e-4;
const BATCH: usize = 256;
const PATIENCE: usize = 10;
/// The share of training rows that end the training.
const HELD_OUT: f64 = 0.15;

/// Rows of features. Shape of the first: `[rows][columns]`, row by row.
struct Rows {
    columns: usize,
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Rows {
    fn of(columns: &[Vec<f64>], target: &[f64], rows: &[usize]) -> Self {
        let x = rows.iter().flat_map(|i| columns.iter().map(|column| column[*i])).collect();
        Self { columns: columns.len(), x, y: rows.iter().map(|i| target[*i]).collect() }
    }

    fn part(&self, rows: &[usize]) -> Self {
        let x = rows.iter().flat_map(|i| &self.x[i * self.columns..][..self.columns]).copied().collect();
        Self { columns: self.columns, x, y: rows.iter().map(|i| self.y[*i]).collect() }
    }

    fn input(&self, device: &Device) -> Tensor<2> {
        tensor(&self.x, [self.y.len(), self.columns], device)
    }
}

/// The directions that features had at the start, and their mean there.
struct Frozen {
    /// Of a token and its squares. Shapes: `[WIDTH, k]`.
    own: Tensor<2>,
    squares: Tensor<2>,
    /// Of products of pairs of tokens. Shape: `[pairs · WIDTH, k]`.
    products: Tensor<2>,
    /// Shape: `[1, k]`.
    mean: Tensor<2>,
}

/// Uniform between ± 1/√inputs, as PyTorch starts linear layers.
fn uniform(rows: usize, columns: usize, inputs: usize, random: &mut Generator) -> Vec<f64> {
    let limit = (inputs as f64).sqrt().recip();
    (0..rows * columns).map(|_| random.random_range(-limit..limit)).collect()
}

/// Tokens of rows. Shape: `[rows, columns, WIDTH]`.
fn tokens(x: Tensor<2>, [w, b, places]: [Tensor<2>; 3]) -> Tensor<3> {
    let [rows, columns] = x.dims();
    let shift = b + places; // [columns, WIDTH]
    x.reshape([rows, columns, 1]) * w.reshape([1, 1, WIDTH]) + shift.reshape([1, columns, WIDTH])
}

/// Products of all pairs of a row's tokens. Shape: `[rows, pairs · WIDTH]`; one column of zeros for a single token.
fn products(e: &Tensor<3>) -> Tensor<2> {
    let [rows, columns, _] = e.dims();
    let of = |i: usize| e.clone().narrow(1, i, 1) * e.clone().narrow(1, i + 1, columns - 1 - i);
    let pairs: Vec<Tensor<3>> = (0..columns - 1).map(of).collect();
    Tensor::cat(pairs, 1).reshape([rows, columns * (columns - 1) / 2 * WIDTH])
}

/// Orthonormal rows that span these, by Gram and Schmidt's process, the longest first; at most [`MOST`].
fn directions(features: &Matrix) -> Matrix {
    let mut left = features.clone();
    let length = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>();
    let longest = |left: &Matrix| {
        let lengths = (0..left.rows).map(|i| (i, length(left.row(i))));
        lengths.fold((0, 0.0), |best, found| if found.1 > best.1 { found } else { best })
    };
    let first = longest(&left).1;
    let mut found: Vec<f64> = Vec::new();
    for _ in 0..MOST {
        let (place, square) = longest(&left);
        // (What is left of a row that others span is rounding.)
        if square <= 1e-18 * first || square == 0.0 {
            break;
        }
        let direction: Vec<f64> = left.row(place).iter().map(|x| x / square.sqrt()).collect();
        for i in 0..left.rows {
            let along: f64 = left.row(i).iter().zip(&direction).map(|(x, d)| x * d).sum();
            left.row_mut(i).iter_mut().zip(&direction).for_each(|(x, d)| *x -= along * d);
        }
        found.extend(direction);
    }
    let rows = found.len() / features.columns;
    Matrix { rows, columns: features.columns, data: found }
}

impl Frozen {
    fn of(rows: &Rows, start: [Tensor<2>; 3], device: &Device) -> Result<Self, Error> {
        let columns = rows.columns;
        let count = rows.y.len().min(TOKENS / columns);
        let some = rows.part(&(0..count).collect::<Vec<_>>());
        let e = tokens(some.input(device), start);
        let (all, own) = (numbers(products(&e))?, numbers(e)?);
        let wide = all.len() / count;
        let entry = |token: usize, c: usize| match c {
            _ if c < WIDTH => own[token * WIDTH + c],
            _ if c < 2 * WIDTH => own[token * WIDTH + c - WIDTH].powi(2),
            _ => all[token / columns * wide + c - 2 * WIDTH],
        };
        let size = count * columns;
        let mut features = Matrix::from_fn(size, 2 * WIDTH + wide, entry);
        let mut mean = vec![0.0; features.columns];
        for i in 0..size {
            mean.iter_mut().zip(features.row(i)).for_each(|(m, x)| *m += x / size as f64);
        }
        for i in 0..size {
            features.row_mut(i).iter_mut().zip(&mean).for_each(|(x, m)| *x -= m);
        }
        let span = directions(&features).transposed(); // [features, k]
        let k = span.columns;
        let part = |first: usize, count: usize| tensor(&span.data[first * k..(first + count) * k], [count, k], device);
        let along = (0..k).map(|c| (0..span.rows).map(|f| mean[f] * span.at(f, c)).sum()).collect::<Vec<f64>>();
        Ok(Self {
            own: part(0, WIDTH),
            squares: part(WIDTH, WIDTH),
            products: part(2 * WIDTH, wide),
            mean: tensor(&along, [1, k], device),
        })
    }

    fn width(&self) -> usize {
        self.mean.dims()[1]
    }

    fn recording(&self) -> Self {
        let on = |t: &Tensor<2>| t.clone().autodiff();
        Self { own: on(&self.own), squares: on(&self.squares), products: on(&self.products), mean: on(&self.mean) }
    }

    /// Features of all tokens. Shape: `[rows · columns, k]`.
    fn features(&self, e: &Tensor<3>) -> Tensor<2> {
        let [rows, columns, _] = e.dims();
        let k = self.width();
        let flat = e.clone().reshape([rows * columns, WIDTH]);
        let own = flat.clone().matmul(self.own.clone()) + (flat.clone() * flat).matmul(self.squares.clone());
        let shared = products(e).matmul(self.products.clone()) - self.mean.clone();
        (own.reshape([rows, columns, k]) + shared.reshape([rows, 1, k])).reshape([rows * columns, k])
    }
}

/// Rows of mean zero and variance one, scaled and shifted.
fn normalised(z: Tensor<2>, scale: Tensor<2>, shift: Tensor<2>) -> Tensor<2> {
    let centred = z.clone() - z.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    centred * (variance + 1e-5).sqrt().recip() * scale + shift
}

/// Places of the parameters.
const W: usize = 0;
const MIX: usize = 3;
const FIRST_NORM: usize = 5;
const INNER: usize = 7;
const SECOND_NORM: usize = 11;
const HEAD: usize = 13;

fn parameters(
    columns: usize,
    k: usize,
    tokens: [Tensor<2>; 3],
    random: &mut Generator,
    device: &Device,
) -> Vec<Tensor<2>> {
    let ones = || tensor(&[1.0; WIDTH], [1, WIDTH], device);
    let zeros = || tensor(&[0.0; WIDTH], [1, WIDTH], device);
    let mut linear = |inputs: usize, outputs: usize, rows: usize| {
        tensor(&uniform(rows, outputs, inputs, random), [rows, outputs], device)
    };
    let (mix, mix_shift) = (linear(k, WIDTH, k), linear(k, WIDTH, 1));
    let (inner, inner_shift) = (linear(WIDTH, MIDDLE, WIDTH), linear(WIDTH, MIDDLE, 1));
    let (outer, outer_shift) = (linear(MIDDLE, WIDTH, MIDDLE), linear(MIDDLE, WIDTH, 1));
    let (head, head_shift) = (linear(WIDTH, 1, WIDTH), linear(WIDTH, 1, 1));
    debug_assert_eq!(tokens[2].dims(), [columns, WIDTH]);
    let [w, b, places] = tokens;
    vec![
        w,
        b,
        places,
        mix,
        mix_shift,
        ones(),
        zeros(),
        inner,
        inner_shift,
        outer,
        outer_shift,
        ones(),
        zeros(),
        head,
        head_shift,
    ]
}

/// Predictions. Shape: `[rows, 1]`.
fn forward(x: Tensor<2>, p: &[Tensor<2>], frozen: &Frozen) -> Tensor<2> {
    let [rows, columns] = x.dims();
    let of = |at: usize| p[at].clone();
    let e = tokens(x, [of(W), of(W + 1), of(W + 2)]);
    let mixed = frozen.features(&e).matmul(of(MIX)) + of(MIX + 1);
    let z = normalised(e.reshape([rows * columns, WIDTH]) + mixed, of(FIRST_NORM), of(FIRST_NORM + 1));
    let inner = relu(z.clone().matmul(of(INNER)) + of(INNER + 1));
    let z = z + inner.matmul(of(INNER + 2)) + of(INNER + 3);
    let z = normalised(z, of(SECOND_NORM), of(SECOND_NORM + 1));
    let pooled = z.reshape([rows, columns, WIDTH]).mean_dim(1).reshape([rows, WIDTH]);
    pooled.matmul(of(HEAD)) + of(HEAD + 1)
}

/// Trains on a sample.
///
/// # Errors
/// [`Error::Tensor`] if the device does not give numbers back; [`Error::Parameter`] for fewer than two columns.
pub fn fitted(
    sample: &Sample,
    split: usize,
    epochs: usize,
    context: &Context<'_>,
) -> Result<Vec<(&'static str, f64)>, Error> {
    let columns = sample.train.len();
    if columns < 2 {
        return Err(Error::Parameter { name: "columns", got: columns.to_string(), allowed: "two or more" });
    }
    let device = context.plan.device.plain()?;
    let mut random = context.generator("block", split);
    let mut order: Vec<usize> = (0..sample.train_target.len()).collect();
    order.shuffle(&mut random);
    let held_out = order.split_off(order.len() - (HELD_OUT * order.len() as f64).ceil() as usize);
    let train = Rows::of(&sample.train, &sample.train_target, &order);
    let held_out = Rows::of(&sample.train, &sample.train_target, &held_out);
    let places: Vec<f64> = (0..columns * WIDTH).map(|_| 0.02 * normal(&mut random)).collect();
    let start = [
        tensor(&uniform(1, WIDTH, 1, &mut random), [1, WIDTH], &device),
        tensor(&uniform(1, WIDTH, 1, &mut random), [1, WIDTH], &device),
        tensor(&places, [columns, WIDTH], &device),
    ];
    let frozen = Frozen::of(&train, start.clone(), &device)?;
    let mut learner = Learner::new(parameters(columns, frozen.width(), start, &mut random, &device));
    let recording = frozen.recording();
    let (mut best, mut place, mut epoch) = ((f64::INFINITY, learner.parameters().to_vec()), 0, 0);
    let mut order: Vec<usize> = (0..train.y.len()).collect();
    while epoch < epochs && epoch < place + PATIENCE {
        epoch += 1;
        order.shuffle(&mut random);
        for rows in order.chunks(BATCH) {
            step(&mut learner, &train.part(rows), &recording, &device)?;
        }
        let loss = error(&held_out, learner.parameters(), &frozen, &device)?;
        if loss < best.0 {
            (best, place) = ((loss, learner.parameters().to_vec()), epoch);
        }
    }
    let all: Vec<usize> = (0..sample.test_target.len()).collect();
    let test = Rows::of(&sample.test, &sample.test_target, &all);
    let predictions = numbers(forward(test.input(&device), &best.1, &frozen))?;
    Ok(vec![("R²", r_squared(&test.y, &predictions)), ("epochs", place as f64), ("directions", frozen.width() as f64)])
}

fn normal(random: &mut Generator) -> f64 {
    StandardNormal.sample(random)
}

/// One step of Adam; the decay is the slope of half its multiple of all squares.
fn step(learner: &mut Learner, batch: &Rows, frozen: &Frozen, device: &Device) -> Result<(), Error> {
    let leaves = learner.leaves();
    let y = tensor(&batch.y, [batch.y.len(), 1], device).autodiff();
    let error = forward(batch.input(device).autodiff(), &leaves, frozen) - y;
    let loss = (error.clone() * error).sum() * (batch.y.len() as f64).recip();
    let squares = leaves.iter().map(|leaf| (leaf.clone() * leaf.clone()).sum());
    let loss = squares.fold(loss, |loss, squares| loss + squares * (0.5 * DECAY));
    learner.step(&leaves, &loss, RATE)
}

/// The mean squared error.
fn error(rows: &Rows, parameters: &[Tensor<2>], frozen: &Frozen, device: &Device) -> Result<f64, Error> {
    let error = forward(rows.input(device), parameters, frozen) - tensor(&rows.y, [rows.y.len(), 1], device);
    Ok(number((error.clone() * error).sum())? / rows.y.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Size;
    use crate::seeds::generator;

    #[test]
    fn directions_span_the_rows_and_no_more() {
        let mut random = generator("t", "block", "span", 0);
        let base = Matrix::from_fn(3, 12, |_, _| normal(&mut random));
        let mixed = Matrix::from_fn(20, 3, |_, _| normal(&mut random)).times(&base).unwrap();
        let span = directions(&mixed);
        assert_eq!(span.rows, 3);
        let back = mixed.times(&span.transposed()).unwrap().times(&span).unwrap();
        let worst = back.data.iter().zip(&mixed.data).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-12, "{worst}");
        assert_eq!(directions(&Matrix::zeros(2, 4)).rows, 0);
    }

    /// A product of two features: no function of one at a time.
    #[test]
    fn products_are_learned() {
        let mut random = generator("t", "block", "rows", 0);
        let draw = |rows: usize, random: &mut Generator| -> (Vec<Vec<f64>>, Vec<f64>) {
            let x: Vec<Vec<f64>> = (0..2).map(|_| (0..rows).map(|_| normal(random)).collect()).collect();
            let y = (0..rows).map(|i| x[0][i] * x[1][i]).collect();
            (x, y)
        };
        let ((train, train_target), (test, test_target)) = (draw(300, &mut random), draw(200, &mut random));
        let sample = Sample { train, train_target, test, test_target };
        let plan = crate::experiments::attreg_real_data::EXPERIMENT.plan(Size::Smoke, Some(1));
        let found = fitted(&sample, 0, 60, &Context::new(&plan, "t", "block")).unwrap();
        assert!(found[0].1 > 0.8, "{found:?}");
    }
}

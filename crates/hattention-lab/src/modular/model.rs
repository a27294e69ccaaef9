//! The model in both forms.

use burn::tensor::activation::{relu, softmax};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rand_distr::{Distribution, StandardNormal};

use crate::seeds::Generator;

/// Sizes of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The modulus p; the tokens are p numbers and "=".
    pub modulus: usize,
    /// Width d.
    pub width: usize,
    /// Heads.
    pub heads: usize,
    /// Neurons of the network.
    pub neurons: usize,
}

impl Shape {
    /// The sizes of Nanda et al.
    pub fn of(modulus: usize) -> Self {
        Self { modulus, width: 128, heads: 4, neurons: 512 }
    }

    /// Coordinates of a head.
    pub fn head_width(&self) -> usize {
        self.width / self.heads
    }
}

/// How the model is computed; the numbers are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One query, and tables of keys and values.
    Lean,
    /// Three tokens, causal attention, all positions.
    Plain,
}

/// The places of parameters.
pub(super) mod place {
    pub(in super::super) const TOKEN: usize = 0;
    pub(in super::super) const POSITION: usize = 1;
    pub(in super::super) const QUERY: usize = 2;
    pub(in super::super) const KEY: usize = 3;
    pub(in super::super) const VALUE: usize = 4;
    pub(in super::super) const OUTPUT: usize = 5;
    pub(in super::super) const UP: usize = 6;
    pub(in super::super) const UP_BIAS: usize = 7;
    pub(in super::super) const DOWN: usize = 8;
    pub(in super::super) const DOWN_BIAS: usize = 9;
    pub(in super::super) const UNEMBED: usize = 10;
}

/// Names of the parameters, in order.
pub(super) const NAMES: [&str; 11] =
    ["token", "position", "query", "key", "value", "output", "up", "up.bias", "down", "down.bias", "unembed"];
/// Differences of logits beyond it are taken for it: a model that is so wrong is wrong either way, and its exponential is finite.
const WRONG: f64 = 80.0;

/// The model.
///
/// # Formula
/// `x = e_= + Σ_h Σ_j p_hj v_hj W_O`, `p_h = softmax_j(q_h·k_hj / √d_h)` over the keys of a, b and "="; logits
/// `(x + relu(x W_1 + b_1) W_2 + b_2) U`.
///
/// Nanda et al. have p + 1 logits, that of "=" among them, and start U with a deviation of `1/√(p + 1)`; here there are p, and all matrices
/// start with `1/√d`, as in the later demonstrations.
///
/// # Numerics
/// Differences of logits above 80 count as 80, without a slope. The loss is `log1p(Σ_{j ≠ y} e^(l_j − l_y))`: in single precision it has all its digits however small it is, and so have its
/// gradients, which a softmax less one would not.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    shape: Shape,
    form: Form,
}

impl Model {
    /// A model of these sizes.
    pub fn new(shape: Shape, form: Form) -> Self {
        Self { shape, form }
    }

    /// Its sizes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Shapes of the parameters, in the order of their names.
    pub fn shapes(&self) -> [[usize; 2]; 11] {
        let Shape { modulus: p, width: d, neurons, .. } = self.shape;
        let square = [d, d];
        [[p + 1, d], [3, d], square, square, square, square, [d, neurons], [1, neurons], [neurons, d], [1, d], [d, p]]
    }

    /// Normal numbers of deviation `1/√d`; biases are zero.
    pub fn starts(&self, generator: impl Fn(&str) -> Generator, dtype: DType, device: &Device) -> Vec<Tensor<2>> {
        let scale = 1.0 / (self.shape.width as f64).sqrt();
        let of = |(name, shape): (&str, [usize; 2])| {
            let mut generator = generator(name);
            let draw = |_| -> f64 { StandardNormal.sample(&mut generator) };
            let count = shape[0] * shape[1];
            let numbers: Vec<f64> = if name.ends_with("bias") {
                vec![0.0; count]
            } else {
                (0..count).map(draw).map(|x| scale * x).collect()
            };
            Tensor::from_data(TensorData::new(numbers, shape), (device, dtype))
        };
        NAMES.into_iter().zip(self.shapes()).map(of).collect()
    }

    /// Logits of pairs. Shapes: `[B]` twice and `[B, p]`.
    pub fn logits(&self, parameters: &[Tensor<2>], a: Tensor<1, Int>, b: Tensor<1, Int>) -> Tensor<2> {
        let read = match self.form {
            Form::Lean => self.lean(parameters, a, b),
            Form::Plain => self.plain(parameters, a, b),
        };
        let of = |at: usize| parameters[at].clone();
        let last = self.row(parameters, place::TOKEN, self.shape.modulus) + self.row(parameters, place::POSITION, 2);
        let x = read.matmul(of(place::OUTPUT)) + last;
        let inner = relu(x.clone().matmul(of(place::UP)) + of(place::UP_BIAS));
        (x + inner.matmul(of(place::DOWN)) + of(place::DOWN_BIAS)).matmul(of(place::UNEMBED))
    }

    /// The mean loss of pairs, in nats. Shapes: `[B]` twice and `[B, 1]`.
    pub fn loss(
        &self,
        parameters: &[Tensor<2>],
        a: Tensor<1, Int>,
        b: Tensor<1, Int>,
        targets: Tensor<2, Int>,
    ) -> Tensor<1> {
        loss(self.logits(parameters, a, b), targets)
    }

    fn row(&self, parameters: &[Tensor<2>], at: usize, row: usize) -> Tensor<2> {
        parameters[at].clone().narrow(0, row, 1)
    }

    /// What "=" reads, head by head: `[B, d]`.
    fn lean(&self, parameters: &[Tensor<2>], a: Tensor<1, Int>, b: Tensor<1, Int>) -> Tensor<2> {
        let Shape { modulus: p, width: d, heads, .. } = self.shape;
        let width = self.shape.head_width();
        let of = |at: usize| parameters[at].clone();
        let numbers = of(place::TOKEN).narrow(0, 0, p);
        let last = self.row(parameters, place::TOKEN, p) + self.row(parameters, place::POSITION, 2);
        let [first, second] = [0, 1].map(|at| numbers.clone() + self.row(parameters, place::POSITION, at));
        // Scores are inner products with W_K q, one column a head.
        let query = last.clone().matmul(of(place::QUERY)); // [1, d]
        let mask: Vec<f64> = (0..d * heads).map(|k| f64::from(u8::from(k / heads / width == k % heads))).collect();
        let mask = Tensor::<2>::from_data(TensorData::new(mask, [d, heads]), (&query.device(), query.dtype()));
        let looked = of(place::KEY).matmul(query.transpose() * mask) * (1.0 / (width as f64).sqrt()); // [d, heads]
        let scores = [
            first.clone().matmul(looked.clone()).select(0, a.clone()),
            second.clone().matmul(looked.clone()).select(0, b.clone()),
        ];
        let count = a.dims()[0];
        let own = last.clone().matmul(looked).expand([count, heads]);
        let [s0, s1] = scores.map(|scores| scores.reshape([count, heads, 1]));
        let weights = softmax(Tensor::cat(vec![s0, s1, own.reshape([count, heads, 1])], 2), 2);
        let value = of(place::VALUE);
        let values = [first.matmul(value.clone()).select(0, a), second.matmul(value.clone()).select(0, b)];
        let own = last.matmul(value).reshape([1, heads, width]);
        let [v0, v1] = values.map(|values| values.reshape([count, heads, width]));
        let weight = |at: usize| weights.clone().narrow(2, at, 1);
        (v0 * weight(0) + v1 * weight(1) + own * weight(2)).reshape([count, d])
    }

    /// The same by attention of three tokens.
    fn plain(&self, parameters: &[Tensor<2>], a: Tensor<1, Int>, b: Tensor<1, Int>) -> Tensor<2> {
        let Shape { modulus: p, width: d, heads, .. } = self.shape;
        let (count, width) = (a.dims()[0], self.shape.head_width());
        let of = |at: usize| parameters[at].clone();
        let equals = a.zeros_like() + p as i32;
        let tokens = [a, b, equals].map(|token| of(place::TOKEN).select(0, token).reshape([count, 1, d]));
        let x = Tensor::cat(tokens.to_vec(), 1) + of(place::POSITION).reshape([1, 3, d]);
        let heads_of = |at: usize| {
            let all = x.clone().reshape([count * 3, d]).matmul(of(at));
            all.reshape([count, 3, heads, width]).swap_dims(1, 2) // [B, heads, 3, width]
        };
        let (query, key, value) = (heads_of(place::QUERY), heads_of(place::KEY), heads_of(place::VALUE));
        let scores = query.matmul(key.swap_dims(2, 3)) * (1.0 / (width as f64).sqrt());
        let later: Vec<f64> = (0..9).map(|k| if k % 3 > k / 3 { f64::NEG_INFINITY } else { 0.0 }).collect();
        let later = Tensor::<4>::from_data(TensorData::new(later, [1, 1, 3, 3]), (&scores.device(), scores.dtype()));
        let read = softmax(scores + later, 3).matmul(value);
        read.narrow(2, 2, 1).reshape([count, d])
    }
}

/// `log1p(Σ_{j ≠ y} e^(l_j − l_y))`, the mean over rows.
pub(super) fn loss(logits: Tensor<2>, targets: Tensor<2, Int>) -> Tensor<1> {
    let [_, p] = logits.dims();
    let own = logits.clone().gather(1, targets.clone());
    let others: Vec<i32> = (0..p as i32).collect();
    let others = Tensor::<2, Int>::from_data(TensorData::new(others, [1, p]), &logits.device());
    let own_place = targets.expand(logits.shape()).equal(others.expand(logits.shape()));
    let away = (logits - own).clamp_max(WRONG).exp().mask_fill(own_place, 0.0);
    away.sum_dim(1).log1p().mean()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::generator;
    use crate::train::{Device as Kind, number, numbers};

    const SHAPE: Shape = Shape { modulus: 7, width: 12, heads: 3, neurons: 20 };

    fn pairs(device: &Device) -> (Tensor<1, Int>, Tensor<1, Int>, Tensor<2, Int>) {
        let all: Vec<i32> = (0..49).collect();
        let of = |f: fn(i32) -> i32| {
            Tensor::<1, Int>::from_data(TensorData::new(all.iter().map(|k| f(*k)).collect::<Vec<i32>>(), [49]), device)
        };
        (of(|k| k / 7), of(|k| k % 7), of(|k| (k / 7 + k % 7) % 7).reshape([49, 1]))
    }

    /// Both forms have the same logits, losses and gradients, in doubles.
    #[test]
    fn the_lean_form_is_the_plain_one() {
        let device = Kind::Cpu.autodiff().unwrap();
        let start = Model::new(SHAPE, Form::Lean);
        // (Large ones, so that attention chooses.)
        let parameters: Vec<Tensor<2>> = start
            .starts(|name| generator("test", "modular", name, 0), DType::F64, &device)
            .into_iter()
            .map(|p| (p * 3.0 + 0.05).require_grad())
            .collect();
        let (a, b, targets) = pairs(&device);
        let found = [Form::Lean, Form::Plain].map(|form| {
            let model = Model::new(SHAPE, form);
            let loss = model.loss(&parameters, a.clone(), b.clone(), targets.clone());
            let gradients = loss.backward();
            let logits = numbers(model.logits(&parameters, a.clone(), b.clone())).unwrap();
            let slopes: Vec<Vec<f64>> =
                parameters.iter().map(|p| numbers(p.grad(&gradients).unwrap()).unwrap()).collect();
            (number(loss).unwrap(), logits, slopes)
        });
        let [(lean, lean_logits, lean_slopes), (plain, plain_logits, plain_slopes)] = found;
        let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-12 * (1.0 + b.abs()));
        assert!((lean - plain).abs() < 1e-12 && near(&lean_logits, &plain_logits));
        for ((a, b), name) in lean_slopes.iter().zip(&plain_slopes).zip(NAMES) {
            assert!(near(a, b) && a.iter().any(|x| x.abs() > 1e-6), "{name}");
        }
    }

    /// The loss has its digits where the softmax is nearly sure, in single precision too.
    #[test]
    fn small_losses_keep_their_digits() {
        let device = Kind::Cpu.autodiff().unwrap();
        for (dtype, allowed) in [(DType::F64, 1e-14), (DType::F32, 1e-6)] {
            let logits =
                Tensor::<2>::from_data(TensorData::new(vec![25.0, 0.0, 1.0], [1, 3]), (&device, dtype)).require_grad();
            let own = Tensor::<2, Int>::from_data(TensorData::new(vec![0i32], [1, 1]), &device);
            let value = loss(logits.clone(), own);
            let gradients = value.backward();
            let away = (-25.0f64).exp() + (-24.0f64).exp();
            let expected = away.ln_1p();
            let found = number(value).unwrap();
            assert!((found / expected - 1.0).abs() < 10.0 * allowed, "{dtype:?}: {found} {expected}");
            let slopes = numbers(logits.grad(&gradients).unwrap()).unwrap();
            assert!((slopes[0] * (1.0 + away) / -away - 1.0).abs() < 10.0 * allowed, "{slopes:?}");
        }
    }
}

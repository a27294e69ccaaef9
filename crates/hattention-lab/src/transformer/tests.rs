//! What every block must do: leave the future out, have the right gradients, and agree with PyTorch.

use burn::tensor::{DType, Int, Tensor, TensorData};

use super::*;
use crate::train::{Device, number, numbers};

const SHAPE: Shape = Shape { vocabulary: 7, context: 6, width: 8, heads: 2, layers: 2 };

/// All that there are: the leaking block has no linear form.
pub(crate) fn transformers() -> impl Iterator<Item = Transformer> {
    let of = |block: Block| Kernel::ALL.map(|kernel| Transformer::new(SHAPE, block, kernel));
    Block::ALL.into_iter().flat_map(of).filter_map(Result::ok)
}

/// Parameters about their starts, in waves.
pub(crate) fn waves(model: &Transformer) -> Vec<Tensor<2>> {
    let device = Device::Cpu.plain().unwrap();
    let of = |(p, spec): (usize, &weights::Spec)| {
        let [rows, columns] = spec.shape;
        let (size, start) = (
            if rows > 1 && columns > 1 { 0.3 } else { 0.1 },
            match spec.start {
                weights::Start::Normal(_) => 0.0,
                weights::Start::Value(value) => value,
            },
        );
        let numbers: Vec<f64> =
            (0..rows * columns).map(|k| start + size * (0.7 * k as f64 + 1.3 * p as f64 + 0.5).sin()).collect();
        Tensor::from_data(TensorData::new(numbers, spec.shape), (&device, DType::F64))
    };
    model.specs().iter().enumerate().map(of).collect()
}

/// Two texts of a step, and the tokens that follow.
pub(crate) fn texts(step: usize) -> (Tensor<2, Int>, Tensor<2, Int>) {
    let device = Device::Cpu.plain().unwrap();
    let token = |b: usize, t: usize| ((3 * b + 5 * t + b * t + 2 * step + t * t) % 7) as i32;
    let of = |shift: usize| {
        let tokens: Vec<i32> = (0..12).map(|k| token(k / 6, k % 6 + shift)).collect();
        Tensor::from_data(TensorData::new(tokens, [2, 6]), (&device, DType::I32))
    };
    (of(0), of(1))
}

/// Whether logits of a prefix stay as they are, to the bit, when the rest changes; cut at these places.
fn keeps_its_prefix(model: &Transformer, dtype: DType, cuts: &[usize]) -> bool {
    let parameters: Vec<Tensor<2>> = waves(model).into_iter().map(|p| p.cast(dtype)).collect();
    let (length, device) = (model.shape().context, Device::Cpu.plain().unwrap());
    let tokens: Vec<i32> = (0..2 * length).map(|k| ((5 * k + k * k / 3) % 7) as i32).collect();
    let text: Tensor<2, Int> = Tensor::from_data(TensorData::new(tokens, [2, length]), (&device, DType::I32));
    let logits = |text: Tensor<2, Int>| numbers(model.logits(&parameters, text)).unwrap();
    let before = logits(text.clone());
    cuts.iter().all(|cut| {
        let (head, tail) = (text.clone().narrow(1, 0, *cut), text.clone().narrow(1, *cut, length - cut));
        let after = logits(Tensor::cat(vec![head, (tail + 1).remainder_scalar(7)], 1));
        let place = |b: usize, t: usize| (b * length + t) * 7;
        let same = |b: usize, t: usize| before[place(b, t)..place(b, t) + 7] == after[place(b, t)..place(b, t) + 7];
        let changed = (0..2).all(|b| !same(b, *cut));
        changed && (0..2).all(|b| (0..*cut).all(|t| same(b, t)))
    })
}

#[test]
fn the_future_is_left_out_and_a_leak_is_found() {
    for model in transformers() {
        // (Longer than what products of matrices are cut into.)
        let long = Shape { context: 150, width: 24, heads: 3, ..SHAPE };
        let long = Transformer::new(long, model.block(), model.kernel()).unwrap();
        for dtype in [DType::F32, DType::F64] {
            let keeps = keeps_its_prefix(&model, dtype, &[1, 2, 3, 4, 5]);
            assert_eq!(keeps, model.block() != Block::Leaking, "{:?} {:?}", model.block(), model.kernel());
            let keeps = keeps_its_prefix(&long, dtype, &[1, 63, 64, 101, 149]);
            assert_eq!(keeps, model.block() != Block::Leaking, "{:?} {:?}, long", model.block(), model.kernel());
        }
    }
}

#[test]
fn gradients_are_differences() {
    for model in transformers() {
        let start = waves(&model);
        let (text, next) = texts(0);
        let leaves: Vec<Tensor<2>> = start.iter().map(|p| p.clone().autodiff().require_grad()).collect();
        let gradients = model.loss(&leaves, text.clone().autodiff(), next.clone().autodiff()).backward();
        for (place, name) in model.names().enumerate() {
            let slope = leaves[place].grad(&gradients).unwrap_or_else(|| start[place].zeros_like());
            let slope = numbers(slope).unwrap();
            let shape = start[place].dims();
            // Along one direction for every parameter: by the fourth-order rule errors are far below what is allowed.
            let direction: Vec<f64> = (0..slope.len()).map(|k| (0.9 * k as f64 + 0.2).sin()).collect();
            let along: f64 = slope.iter().zip(&direction).map(|(s, d)| s * d).sum();
            let device = Device::Cpu.plain().unwrap();
            let direction: Tensor<2> = Tensor::from_data(TensorData::new(direction, shape), (&device, DType::F64));
            let at = |h: f64| {
                let mut moved = start.clone();
                moved[place] = moved[place].clone() + direction.clone() * h;
                number(model.loss(&moved, text.clone(), next.clone())).unwrap()
            };
            let h = 3e-5 / (slope.len() as f64).sqrt();
            let difference = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
            // (Burn rounds some constants of derivatives to single precision.)
            let allowed = 3e-6 * along.abs().max(1e-1);
            assert!(
                (difference - along).abs() < allowed,
                "{:?} {:?} {name}: {difference} {along}",
                model.block(),
                model.kernel()
            );
        }
    }
}

#[test]
fn a_step_from_rest_is_plain_attention() {
    for kernel in Kernel::ALL {
        let plain = Transformer::new(SHAPE, Block::Plain, kernel).unwrap();
        let stepped = Transformer::new(SHAPE, Block::KickDrift, kernel).unwrap();
        let device = Device::Cpu.plain().unwrap();
        let by_name = |model: &Transformer| -> std::collections::HashMap<String, Tensor<2>> {
            model.names().map(str::to_owned).zip(waves(model)).collect()
        };
        let given = by_name(&plain);
        // Small scores, which the guard leaves as they are; nothing of the momentum is kept by the next layer: one layer.
        let shape = Shape { layers: 1, ..SHAPE };
        let [plain, stepped] = [plain.block(), stepped.block()].map(|b| Transformer::new(shape, b, kernel).unwrap());
        let filled = |model: &Transformer| -> Vec<Tensor<2>> {
            let value = |name: &str, [rows, columns]: [usize; 2]| match name {
                "layer0.query" => given[name].clone() * 1e-3,
                "layer0.step" => Tensor::full([1, 1], 1f64.exp_m1().ln(), (&device, DType::F64)),
                "layer0.damping" => Tensor::full([1, 1], 60.0, (&device, DType::F64)),
                _ if name.starts_with("second") => Tensor::zeros([rows, columns], (&device, DType::F64)),
                _ => given[name].clone(),
            };
            model.names().zip(model.shapes()).map(|(name, shape)| value(name, shape)).collect()
        };
        let (text, _) = texts(0);
        let logits = |model: &Transformer| numbers(model.logits(&filled(model), text.clone())).unwrap();
        let (a, b) = (logits(&plain), logits(&stepped));
        let off = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(off < 1e-9, "{kernel:?} {off}");
    }
}

#[test]
fn shapes_that_make_no_sense_are_refused() {
    for shape in [Shape { heads: 3, ..SHAPE }, Shape { layers: 0, ..SHAPE }, Shape { vocabulary: 0, ..SHAPE }] {
        assert!(Transformer::new(shape, Block::Plain, Kernel::Softmax).is_err());
    }
    assert!(Transformer::new(SHAPE, Block::Leaking, Kernel::Linear).is_err() && transformers().count() == 21);
    for block in Block::ALL {
        assert_eq!(Block::of(block.word()), Some(block));
    }
    let count = |block: Block| Transformer::new(SHAPE, block, Kernel::Softmax).unwrap().count();
    // The controls have what momentum has, but for the few numbers of its steps and norms.
    assert_eq!(count(Block::Summed) - count(Block::Plain), 8 * (7 + 6));
    assert!(count(Block::HeavyBall) - count(Block::Summed) == 2 * (8 + 5));
}

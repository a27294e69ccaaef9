//! Parameters by name, and their starts.

use std::collections::HashMap;

use burn::tensor::{DType, Device, Tensor, TensorData};
use rand_distr::{Distribution, StandardNormal};

use super::{Block, Shape};
use crate::seeds::Generator;

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Start {
    /// Normal, of that deviation.
    Normal(f64),
    /// All of that value.
    Value(f64),
}

/// A parameter: a matrix, or a row, or one number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spec {
    pub(super) name: String,
    pub(super) shape: [usize; 2],
    pub(super) start: Start,
}

/// The logarithm of the odds of 0.9.
const NINE_TENTHS: f64 = 2.197_224_577_336_219_4;
/// What softplus makes one.
const ONE: f64 = 0.541_324_854_612_918_1;
const DEVIATION: f64 = 0.02;

/// The parameters of a transformer, in order.
pub(super) fn specs(shape: &Shape, block: Block) -> Vec<Spec> {
    let d = shape.width;
    let mut specs = Vec::new();
    let mut add = |name: String, shape: [usize; 2], start: Start| specs.push(Spec { name, shape, start });
    let normal = Start::Normal(DEVIATION);
    let back = Start::Normal(DEVIATION / (2.0 * shape.layers as f64).sqrt());
    let (scale, one) = ([1, d], Start::Value(1.0));
    add("token".into(), [shape.vocabulary, d], normal);
    add("position".into(), [shape.context, d], normal);
    if block.has_second_embedding() {
        add("second.token".into(), [shape.vocabulary, d], normal);
        add("second.position".into(), [shape.context, d], normal);
    }
    for layer in 0..shape.layers {
        let mut in_layer = |name: &str, shape: [usize; 2], start: Start| add(named(layer, name), shape, start);
        in_layer("norm", scale, one);
        ["query", "key", "value"].into_iter().for_each(|name| in_layer(name, [d, d], normal));
        in_layer("output", [d, d], back);
        in_layer("network.norm", scale, one);
        in_layer("network.up", [d, 4 * d], normal);
        in_layer("network.down", [4 * d, d], back);
        let number = [1, 1];
        if block == Block::Injected {
            in_layer("injected", number, Start::Value(0.1));
            in_layer("network.injected", number, Start::Value(0.1));
        }
        if block.is_normed() {
            in_layer("momentum.norm", scale, one);
            for half in ["", "network."] {
                in_layer(&format!("{half}momentum.kept"), number, Start::Value(NINE_TENTHS));
                in_layer(&format!("{half}momentum.pushed"), number, one);
                if block == Block::YuriiFormer || half == "network." {
                    in_layer(&format!("{half}momentum.ahead"), number, Start::Value(NINE_TENTHS));
                }
            }
        }
        if block.is_stepped() {
            in_layer("step", number, Start::Value(ONE));
            in_layer("damping", number, Start::Value(NINE_TENTHS));
        }
    }
    add("norm".into(), scale, one);
    specs
}

/// The name of a layer's parameter.
pub(super) fn named(layer: usize, name: &str) -> String {
    format!("layer{layer}.{name}")
}

/// Values at the start. Streams of numbers go by the parameter's name, so that what blocks share starts alike.
pub(super) fn starts(
    specs: &[Spec],
    generator: impl Fn(&str) -> Generator,
    dtype: DType,
    device: &Device,
) -> Vec<Tensor<2>> {
    let of = |spec: &Spec| {
        let count = spec.shape[0] * spec.shape[1];
        let numbers: Vec<f64> = match spec.start {
            Start::Value(value) => vec![value; count],
            Start::Normal(deviation) => {
                let mut generator = generator(&spec.name);
                let draw = |_| -> f64 { StandardNormal.sample(&mut generator) };
                (0..count).map(draw).map(|x| deviation * x).collect()
            }
        };
        Tensor::from_data(TensorData::new(numbers, spec.shape), (device, dtype))
    };
    specs.iter().map(of).collect()
}

/// Parameters as a layer sees them.
pub(super) struct Weights<'a> {
    places: &'a HashMap<String, usize>,
    tensors: &'a [Tensor<2>],
}

impl<'a> Weights<'a> {
    pub(super) fn new(places: &'a HashMap<String, usize>, tensors: &'a [Tensor<2>]) -> Self {
        Self { places, tensors }
    }

    /// The parameter of that name, which a transformer of this block has.
    pub(super) fn of(&self, name: &str) -> Tensor<2> {
        self.tensors[self.places[name]].clone()
    }

    pub(super) fn layer(&self, layer: usize) -> Layer<'_> {
        Layer { weights: self, layer }
    }
}

/// Parameters of a layer.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    weights: &'a Weights<'a>,
    layer: usize,
}

impl Layer<'_> {
    pub(super) fn of(&self, name: &str) -> Tensor<2> {
        self.weights.of(&named(self.layer, name))
    }

    /// One number, of a shape that multiplies tokens.
    pub(super) fn number(&self, name: &str) -> Tensor<3> {
        self.of(name).reshape([1, 1, 1])
    }
}

//! The transformer.

use std::collections::HashMap;

use burn::tensor::activation::log_softmax;
use burn::tensor::module::embedding;
use burn::tensor::{DType, Device, Int, Tensor};

use super::attention::{Mask, normed};
use super::halves::{Half, State};
use super::weights::{Spec, Weights, specs, starts};
use super::{Block, Kernel};
use crate::error::Error;
use crate::seeds::Generator;

/// Sizes of a transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Different tokens.
    pub vocabulary: usize,
    /// Tokens that it reads at most, T.
    pub context: usize,
    /// Numbers of a token, d.
    pub width: usize,
    /// Heads, of `width/heads` numbers each.
    pub heads: usize,
    /// Layers: oracle calls of a pass.
    pub layers: usize,
}

/// A transformer that predicts the next token. Parameters are a list of matrices that the caller keeps.
///
/// # Example
/// ```
/// use burn::tensor::{DType, Int, Tensor};
/// use hattention_lab::seeds::generator;
/// use hattention_lab::train::Device;
/// use hattention_lab::transformer::{Block, Kernel, Shape, Transformer};
/// # fn main() -> Result<(), hattention_lab::Error> {
/// let shape = Shape { vocabulary: 5, context: 8, width: 8, heads: 2, layers: 2 };
/// let model = Transformer::new(shape, Block::HeavyBall, Kernel::Softmax)?;
/// let device = Device::Cpu.plain()?;
/// let parameters = model.starts(|name| generator("example", "model", name, 0), DType::F32, &device);
/// let text = Tensor::<2, Int>::from_ints([[0, 1, 2, 3]], &device);
/// assert_eq!(model.logits(&parameters, text).dims(), [1, 4, 5]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Transformer {
    shape: Shape,
    block: Block,
    kernel: Kernel,
    specs: Vec<Spec>,
    places: HashMap<String, usize>,
}

impl Transformer {
    /// A transformer.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a size of zero, heads that do not divide the width, or a leaking block with the linear kernel, which
    /// it has no form for.
    pub fn new(shape: Shape, block: Block, kernel: Kernel) -> Result<Self, Error> {
        let Shape { vocabulary, context, width, heads, layers } = shape;
        let sizes = [vocabulary, context, width, heads, layers];
        if sizes.contains(&0) || !width.is_multiple_of(heads) {
            return Err(Error::Parameter {
                name: "the shape of a transformer",
                got: format!("{shape:?}"),
                allowed: "sizes of one or more, and heads that divide the width",
            });
        }
        if block == Block::Leaking && kernel == Kernel::Linear {
            let (name, got) = ("the kernel of a leaking block", kernel.word().to_owned());
            return Err(Error::Parameter { name, got, allowed: "softmax" });
        }
        let specs = specs(&shape, block);
        let places = specs.iter().enumerate().map(|(place, spec)| (spec.name.clone(), place)).collect();
        Ok(Self { shape, block, kernel, specs, places })
    }

    /// Its sizes.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Its kind of blocks.
    pub fn block(&self) -> Block {
        self.block
    }

    /// Its kernel.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    #[cfg(test)]
    pub(super) fn specs(&self) -> &[Spec] {
        &self.specs
    }

    /// Names of the parameters, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.specs.iter().map(|spec| spec.name.as_str())
    }

    /// Shapes of the parameters, in order.
    pub fn shapes(&self) -> impl Iterator<Item = [usize; 2]> {
        self.specs.iter().map(|spec| spec.shape)
    }

    /// How many numbers are learned.
    pub fn count(&self) -> usize {
        self.shapes().map(|[rows, columns]| rows * columns).sum()
    }

    /// Parameters at the start, each from the generator for its name, so that what blocks have in common starts alike.
    pub fn starts(&self, generator: impl Fn(&str) -> Generator, dtype: DType, device: &Device) -> Vec<Tensor<2>> {
        starts(&self.specs, generator, dtype, device)
    }

    /// Logits of the next token at every place, for texts `[B, T]` no longer than the context. Shape: `[B, T, vocabulary]`.
    ///
    /// # Panics
    /// If parameters are not those of this transformer, or a text is longer than the context.
    pub fn logits(&self, parameters: &[Tensor<2>], text: Tensor<2, Int>) -> Tensor<3> {
        let [b, t] = text.dims();
        let weights = Weights::new(&self.places, parameters);
        let table = weights.of("token");
        let (dtype, device) = (table.dtype(), table.device().inner());
        let embedded = |tokens: Tensor<2>, places: &str| {
            let places = weights.of(places).narrow(0, 0, t).reshape([1, t, self.shape.width]);
            embedding(tokens, text.clone()) + places
        };
        let mut state = State { x: embedded(table.clone(), "position"), v: None };
        let mut injected = None;
        if self.block.has_second_embedding() {
            let second = embedded(weights.of("second.token"), "second.position");
            match self.block {
                Block::Summed => state.x = state.x + second,
                Block::Injected => injected = Some(second),
                _ => state.v = Some(second),
            }
        }
        let mask = Mask::new(self.kernel, t, dtype, &device);
        for layer in 0..self.shape.layers {
            let half = Half {
                block: self.block,
                heads: self.shape.heads,
                mask: &mask,
                layer: weights.layer(layer),
                injected: injected.as_ref(),
            };
            state = half.network(half.attention(state));
        }
        let last = normed(state.x, weights.of("norm")).reshape([b * t, self.shape.width]);
        last.matmul(table.transpose()).reshape([b, t, self.shape.vocabulary])
    }

    /// The mean negative logarithm of the probability of the next tokens, in nats. Shapes: `[B, T]` both.
    pub fn loss(&self, parameters: &[Tensor<2>], text: Tensor<2, Int>, next: Tensor<2, Int>) -> Tensor<1> {
        surprise(self.logits(parameters, text), next)
    }

    /// The same of the last prediction alone. Shapes: `[B, T]` and `[B, 1]`.
    pub fn loss_at(&self, parameters: &[Tensor<2>], text: Tensor<2, Int>, last: Tensor<2, Int>) -> Tensor<1> {
        let t = text.dims()[1];
        surprise(self.logits(parameters, text).narrow(1, t - 1, 1), last)
    }
}

fn surprise(logits: Tensor<3>, next: Tensor<2, Int>) -> Tensor<1> {
    let [b, t, vocabulary] = logits.dims();
    -log_softmax(logits.reshape([b * t, vocabulary]), 1).gather(1, next.reshape([b * t, 1])).mean()
}

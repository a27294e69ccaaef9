//! Training of a [`Transformer`]: AdamW, warm-up and cosine, clipped gradients, and checkpoints that resume bit by bit.
//!
//! # Example
//! ```
//! use hattention_lab::{seeds::generator, text::{Corpus, stories}, train::Device};
//! use hattention_lab::trainer::{Options, Trainer};
//! use hattention_lab::transformer::{Block, Kernel, Shape, Transformer};
//! # fn main() -> Result<(), hattention_lab::Error> {
//! let corpus = Corpus::new(&stories(5_000, &mut generator("example", "", "stories", 0)), 16)?;
//! let shape = Shape { vocabulary: corpus.vocabulary().len(), context: 16, width: 16, heads: 2, layers: 1 };
//! let model = Transformer::new(shape, Block::HeavyBall, Kernel::Softmax)?;
//! let options = Options { steps: 30, batch: 8, ..Options::default() };
//! let mut trainer = Trainer::new(&model, &corpus, options, 0, Device::Cpu)?;
//! let before = trainer.validate(8)?;
//! while !trainer.is_done() {
//!     trainer.step()?;
//! }
//! assert!(trainer.validate(8)? < before);
//! # Ok(())
//! # }
//! ```

pub(crate) mod learned;

use burn::optim::{AdamW, AdamWConfig};
use burn::tensor::{DType, Int, Tensor, TensorData};
use rayon::prelude::*;
use serde_json::Value;

use crate::error::Error;
use crate::seeds::{Generator, generator, hash};
use crate::text::{Corpus, Windows};
use crate::train::{Device, number};
use crate::transformer::Transformer;
use learned::{Learned, added, length};

/// Windows that are worked on together; the parts of a batch are worked on side by side.
const PART: usize = 4;

/// How to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Steps in all.
    pub steps: usize,
    /// Windows of a step.
    pub batch: usize,
    /// The largest rate.
    pub rate: f64,
    /// Steps in which the rate rises to it.
    pub warm_up: usize,
    /// The share of it that is left at the end of the cosine.
    pub least: f64,
    /// The longest that the gradient of all parameters may be; longer ones are shortened to it.
    pub clip: f64,
    /// Decay of matrices a step, times the rate; rows and numbers do not decay.
    pub decay: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { steps: 1000, batch: 16, rate: 3e-3, warm_up: 100, least: 0.1, clip: 1.0, decay: 0.1 }
    }
}

impl Options {
    /// The rate of a step: linear warm-up, then a cosine.
    ///
    /// # Example
    /// ```
    /// let options = hattention_lab::trainer::Options { steps: 110, warm_up: 10, rate: 1.0, ..Default::default() };
    /// assert_eq!([options.rate_at(0), options.rate_at(9), options.rate_at(10)], [0.1, 1.0, 1.0]);
    /// assert!((options.rate_at(60) - 0.55).abs() < 1e-12 && options.rate_at(109) < 0.101);
    /// ```
    pub fn rate_at(&self, step: usize) -> f64 {
        if step < self.warm_up {
            return self.rate * (step + 1) as f64 / self.warm_up as f64;
        }
        let left = (self.steps.max(self.warm_up + 1) - self.warm_up) as f64;
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * (step - self.warm_up) as f64 / left).cos());
        self.rate * (self.least + (1.0 - self.least) * cosine)
    }

    fn check(&self) -> Result<(), Error> {
        let numbers = [self.rate, self.least, self.clip, self.decay];
        if self.steps == 0 || self.batch == 0 || numbers.iter().any(|x| !x.is_finite() || *x < 0.0) || self.clip == 0.0
        {
            return Err(Error::Parameter {
                name: "the options of a training",
                got: format!("{self:?}"),
                allowed: "one step and window or more, numbers that are finite and not negative, a bound above zero",
            });
        }
        Ok(())
    }
}

/// A training on its way.
pub struct Trainer<'a> {
    model: &'a Transformer,
    corpus: &'a Corpus,
    options: Options,
    seed: usize,
    device: burn::tensor::Device,
    learned: Learned,
    /// For matrices, and for rows and numbers.
    optimisers: [AdamW; 2],
}

/// The stream of numbers of a training. It does not depend on blocks: trainings of one seed see the same windows, and parameters of
/// one name start alike.
fn stream(purpose: &str, seed: usize, step: usize) -> Generator {
    generator("trainer", purpose, &seed.to_string(), step)
}

impl<'a> Trainer<'a> {
    /// A training from the start, in single precision.
    ///
    /// # Errors
    /// [`Error::Parameter`] for options that make no sense, a vocabulary that is not the model's, or a text too short for its context;
    /// [`Error::Device`].
    pub fn new(
        model: &'a Transformer,
        corpus: &'a Corpus,
        options: Options,
        seed: usize,
        device: Device,
    ) -> Result<Self, Error> {
        options.check()?;
        let (has, needs) = (model.shape().vocabulary, corpus.vocabulary().len());
        if has < needs {
            let (name, got) = ("the model's vocabulary", has.to_string());
            return Err(Error::Parameter { name, got, allowed: "as many as the text has different characters" });
        }
        let length = model.shape().context;
        if corpus.validation().len() <= length || corpus.train().len() <= length {
            let (name, got) = ("the text", format!("too short for a context of {length}"));
            return Err(Error::Parameter { name, got, allowed: "a context and one more in both of its parts" });
        }
        let device = device.plain()?;
        let parameters = model.starts(|name| stream(name, seed, 0), DType::F32, &device);
        let config = AdamWConfig::new().with_beta_1(0.9).with_beta_2(0.95).with_epsilon(1e-8);
        let optimisers = [options.decay, 0.0].map(|decay| config.clone().with_weight_decay(decay as f32).build());
        let learned = Learned::new(model.names().map(str::to_owned), parameters);
        Ok(Self { model, corpus, options, seed, device, learned, optimisers })
    }

    /// Steps taken.
    pub fn steps(&self) -> usize {
        self.learned.step
    }

    /// Whether all steps are taken.
    pub fn is_done(&self) -> bool {
        self.learned.step >= self.options.steps
    }

    /// Tokens seen.
    pub fn tokens(&self) -> usize {
        self.learned.step * self.options.batch * self.model.shape().context
    }

    /// The parameters as they are.
    pub fn parameters(&self) -> &[Tensor<2>] {
        &self.learned.parameters
    }

    /// Takes a step; returns the loss before it, in nats a token.
    ///
    /// # Errors
    /// [`Error::Diverged`] if the loss or the gradient is no number, or infinite; parameters are left as before the step.
    pub fn step(&mut self) -> Result<f64, Error> {
        let length = self.model.shape().context;
        let mut generator = stream("windows", self.seed, self.learned.step);
        let windows = self.corpus.draw(self.options.batch, length, &mut generator);
        let (text, next) = self.tensors(&windows, 0, self.options.batch);
        self.learn(text, next)
    }

    /// Takes a step by these texts and the tokens that follow.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub(crate) fn learn(&mut self, text: Tensor<2, Int>, next: Tensor<2, Int>) -> Result<f64, Error> {
        let (loss, slopes) = self.slopes(text, next)?;
        let norm = length(&slopes)?;
        let step = self.learned.step;
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(Error::Diverged { step, loss });
        }
        let shortened = |slope: Tensor<2>| slope * (self.options.clip / norm);
        let slopes = if norm > self.options.clip { slopes.into_iter().map(shortened).collect() } else { slopes };
        let optimisers = &self.optimisers;
        self.learned.update(self.options.rate_at(step), slopes, |parameter| {
            &optimisers[usize::from(parameter.dims().contains(&1))]
        });
        Ok(loss)
    }

    /// The loss of these texts, and its gradient. Texts are parted by [`PART`], whatever the number of threads, parts are worked on side by
    /// side, and their losses and gradients are added in order.
    fn slopes(&self, text: Tensor<2, Int>, next: Tensor<2, Int>) -> Result<(f64, Vec<Tensor<2>>), Error> {
        let count = text.dims()[0];
        let parts: Vec<(usize, usize)> =
            (0..count).step_by(PART).map(|first| (first, PART.min(count - first))).collect();
        let of = |(first, some): &(usize, usize)| {
            let part = |tokens: &Tensor<2, Int>| tokens.clone().narrow(0, *first, *some).autodiff();
            let leaves = self.learned.leaves();
            let loss = self.model.loss(&leaves, part(&text), part(&next)) * (*some as f64 / count as f64);
            let gradients = loss.backward();
            // (Nothing reads the force of Euler's step in a last layer, and so not its values.)
            let slope = |(leaf, parameter): (&Tensor<2>, &Tensor<2>)| {
                leaf.grad(&gradients).unwrap_or_else(|| parameter.zeros_like())
            };
            Ok((number(loss.inner())?, leaves.iter().zip(&self.learned.parameters).map(slope).collect::<Vec<_>>()))
        };
        let found = parts.par_iter().map(of).collect::<Result<Vec<_>, Error>>()?;
        added(found)
    }

    /// The loss on at most so many windows of the part for validation, in nats a token.
    ///
    /// # Errors
    /// [`Error::Parameter`] for no windows; [`Error::Tensor`] if the device does not give it back.
    pub fn validate(&self, windows: usize) -> Result<f64, Error> {
        let held = self.corpus.held_out(windows, self.model.shape().context);
        let count = held.count(self.model.shape().context);
        some_windows(count)?;
        let parts: Vec<usize> = (0..count).step_by(PART).collect();
        let of = |first: &usize| {
            let some = PART.min(count - first);
            let (text, next) = self.tensors(&held, *first, some);
            Ok(some as f64 * number(self.model.loss(&self.learned.parameters, text, next))?)
        };
        let sum: f64 = parts.par_iter().map(of).collect::<Result<Vec<_>, Error>>()?.iter().sum();
        Ok(sum / count as f64)
    }

    /// At most so many windows for validation, and the tokens that follow. Shapes: `[windows, context]`.
    pub fn held_out(&self, windows: usize) -> (Tensor<2, Int>, Tensor<2, Int>) {
        let held = self.corpus.held_out(windows, self.model.shape().context);
        self.tensors(&held, 0, held.count(self.model.shape().context))
    }

    /// The loss of [`Self::validate`] where the model sees of every window one prefix after the other and its last prediction counts, as
    /// when it writes. The two agree for a model that leaves the future out.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn validate_by_prefixes(&self, windows: usize) -> Result<f64, Error> {
        some_windows(windows)?;
        let (text, next) = self.held_out(windows);
        let length = self.model.shape().context;
        let mut sum = 0.0;
        for seen in 1..=length {
            let prefix = text.clone().narrow(1, 0, seen);
            sum += number(self.model.loss_at(&self.learned.parameters, prefix, next.clone().narrow(1, seen - 1, 1)))?;
        }
        Ok(sum / length as f64)
    }

    fn tensors(&self, windows: &Windows, first: usize, count: usize) -> (Tensor<2, Int>, Tensor<2, Int>) {
        let length = self.model.shape().context;
        let of = |tokens: &[i32]| {
            let part = tokens[first * length..(first + count) * length].to_vec();
            Tensor::from_data(TensorData::new(part, [count, length]), (&self.device, DType::I32))
        };
        (of(&windows.text), of(&windows.next))
    }

    /// All that is needed to go on, as a file of the safetensors format, with what the caller wants to find again.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device does not give parameters back.
    pub fn checkpoint(&self, notes: &Value) -> Result<Vec<u8>, Error> {
        self.learned.checkpoint(&self.told(), notes)
    }

    /// What a checkpoint must agree with.
    fn told(&self) -> String {
        let (model, corpus) = (self.model, self.corpus);
        let text = corpus.train().iter().chain(corpus.validation());
        let hash = hash(text.flat_map(|token| token.to_le_bytes()));
        let block = (model.block().word(), model.kernel().word());
        format!("{block:?} {:?} {:?} seed {} text {hash:016x}", model.shape(), self.options, self.seed)
    }

    /// Goes on from a checkpoint: what follows is what would have followed, bit by bit. Returns the notes it was made with.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] for bytes that are not a checkpoint of this training; nothing is changed then.
    pub fn restore(&mut self, checkpoint: &[u8]) -> Result<Value, Error> {
        let told = self.told();
        self.learned.restore(&told, checkpoint, &self.device)
    }
}

fn some_windows(count: usize) -> Result<(), Error> {
    if count == 0 {
        return Err(Error::Parameter { name: "windows to validate by", got: "0".to_owned(), allowed: "one or more" });
    }
    Ok(())
}

#[cfg(test)]
mod tests;

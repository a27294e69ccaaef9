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

use burn::optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, Optimizer};
use burn::tensor::{DType, Int, Tensor, TensorData};
use rayon::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};

use crate::error::Error;
use crate::seeds::{Generator, generator, hash};
use crate::text::{Corpus, Windows};
use crate::train::{Device, number, numbers};
use crate::transformer::Transformer;

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
    parameters: Vec<Tensor<2>>,
    states: Vec<Option<AdamWState<2>>>,
    /// For matrices, and for rows and numbers.
    optimisers: [AdamW; 2],
    step: usize,
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
        let states = parameters.iter().map(|_| None).collect();
        Ok(Self { model, corpus, options, seed, device, parameters, states, optimisers, step: 0 })
    }

    /// Steps taken.
    pub fn steps(&self) -> usize {
        self.step
    }

    /// Whether all steps are taken.
    pub fn is_done(&self) -> bool {
        self.step >= self.options.steps
    }

    /// Tokens seen.
    pub fn tokens(&self) -> usize {
        self.step * self.options.batch * self.model.shape().context
    }

    /// The parameters as they are.
    pub fn parameters(&self) -> &[Tensor<2>] {
        &self.parameters
    }

    /// Takes a step; returns the loss before it, in nats a token.
    ///
    /// # Errors
    /// [`Error::Diverged`] if the loss or the gradient is no number, or infinite; parameters are left as before the step.
    pub fn step(&mut self) -> Result<f64, Error> {
        let length = self.model.shape().context;
        let mut generator = stream("windows", self.seed, self.step);
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
        let squares = slopes.iter().map(|slope| (slope.clone() * slope.clone()).sum()).collect();
        let norm = number(Tensor::cat(squares, 0).sum())?.sqrt();
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(Error::Diverged { step: self.step, loss });
        }
        let rate = self.options.rate_at(self.step);
        for (place, slope) in slopes.into_iter().enumerate() {
            let slope = if norm > self.options.clip { slope * (self.options.clip / norm) } else { slope };
            let is_row = self.parameters[place].dims().contains(&1);
            let (parameter, state) = (self.parameters[place].clone(), self.states[place].take());
            let (next, state) = self.optimisers[usize::from(is_row)].step(rate, parameter, slope, state);
            self.parameters[place] = next;
            self.states[place] = state;
        }
        self.step += 1;
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
            let leaves: Vec<Tensor<2>> = self.parameters.iter().map(|p| p.clone().autodiff().require_grad()).collect();
            let loss = self.model.loss(&leaves, part(&text), part(&next)) * (*some as f64 / count as f64);
            let gradients = loss.backward();
            // (Nothing reads the force of Euler's step in a last layer, and so not its values.)
            let slope = |(leaf, parameter): (&Tensor<2>, &Tensor<2>)| {
                leaf.grad(&gradients).unwrap_or_else(|| parameter.zeros_like())
            };
            Ok((number(loss.inner())?, leaves.iter().zip(&self.parameters).map(slope).collect::<Vec<_>>()))
        };
        let found = parts.par_iter().map(of).collect::<Result<Vec<_>, Error>>()?;
        let sum = found.into_iter().reduce(|(loss, slopes), (more, others)| {
            (loss + more, slopes.into_iter().zip(others).map(|(a, b)| a + b).collect())
        });
        sum.ok_or_else(|| Error::Tensor("no text to learn from".to_owned()))
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
            Ok(some as f64 * number(self.model.loss(&self.parameters, text, next))?)
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
            sum += number(self.model.loss_at(&self.parameters, prefix, next.clone().narrow(1, seen - 1, 1)))?;
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
        let mut parts = Vec::new();
        for ((parameter, state), name) in self.parameters.iter().zip(&self.states).zip(self.model.names()) {
            parts.push((name.to_owned(), parameter.dims(), bytes(parameter)?));
            if let Some(AdamWState { momentum }) = state {
                parts.push((format!("{name}{FIRST}"), parameter.dims(), bytes(&momentum.moment_1)?));
                parts.push((format!("{name}{SECOND}"), parameter.dims(), bytes(&momentum.moment_2)?));
            }
        }
        let mut views = Vec::new();
        for (name, shape, bytes) in &parts {
            let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).map_err(|e| Error::Tensor(e.to_string()))?;
            views.push((name.as_str(), view));
        }
        // (One entry: more would be written in any order.)
        let told = [(TRAINING.to_owned(), json!({"of": self.told(), "step": self.step, "notes": notes}).to_string())];
        safetensors::serialize(views, Some(told.into_iter().collect())).map_err(|e| Error::Tensor(e.to_string()))
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
        let broken = |why: String| Error::Checkpoint { why };
        let (_, head) = SafeTensors::read_metadata(checkpoint).map_err(|e| broken(e.to_string()))?;
        let told = head.metadata().as_ref().and_then(|told| told.get(TRAINING));
        let mut told: Value = told.and_then(|told| serde_json::from_str(told).ok()).unwrap_or_default();
        if told["of"] != self.told() {
            return Err(broken("it is of another training".to_owned()));
        }
        let step = told["step"].as_u64().ok_or_else(|| broken("it does not say which step it is of".to_owned()))?;
        let step = step as usize;
        let all = SafeTensors::deserialize(checkpoint).map_err(|e| broken(e.to_string()))?;
        let read = |name: &str, shape: [usize; 2]| {
            let view = all.tensor(name).map_err(|e| broken(e.to_string()))?;
            if view.shape() != shape || view.dtype() != Dtype::F32 {
                return Err(broken(format!("{name} has another shape")));
            }
            let (numbers, _) = view.data().as_chunks::<4>();
            let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            Ok(Tensor::<2>::from_data(TensorData::new(numbers, shape), (&self.device, DType::F32)))
        };
        let (mut parameters, mut states) = (Vec::new(), Vec::new());
        for (name, shape) in self.model.names().zip(self.model.shapes()) {
            parameters.push(read(name, shape)?);
            states.push(if step == 0 {
                None
            } else {
                let (first, second) =
                    (read(&format!("{name}{FIRST}"), shape)?, read(&format!("{name}{SECOND}"), shape)?);
                Some(AdamWState::new(AdaptiveMomentumState::new(step, first, second)))
            });
        }
        (self.parameters, self.states, self.step) = (parameters, states, step);
        Ok(told["notes"].take())
    }
}

fn some_windows(count: usize) -> Result<(), Error> {
    if count == 0 {
        return Err(Error::Parameter { name: "windows to validate by", got: "0".to_owned(), allowed: "one or more" });
    }
    Ok(())
}

/// The name under which a checkpoint says what it is of.
const TRAINING: &str = "training";
/// Endings of the names of moments.
const FIRST: &str = "/first-moment";
const SECOND: &str = "/second-moment";

fn bytes(tensor: &Tensor<2>) -> Result<Vec<u8>, Error> {
    Ok(numbers(tensor.clone())?.into_iter().flat_map(|x| (x as f32).to_le_bytes()).collect())
}

#[cfg(test)]
mod tests;

//! Training by all pairs at once, and what is seen on the way.

use burn::optim::{AdamW, AdamWConfig};
use burn::tensor::{DType, Int, Tensor, TensorData};
use rayon::prelude::*;
use serde_json::Value;

use super::model::{Form, Model, NAMES, Shape};
use super::observe::Observed;
use super::task::Task;
use crate::error::Error;
use crate::seeds::{generator, hash};
use crate::train::{Device, number, numbers};
use crate::trainer::learned::{Learned, added, length};

/// Pairs that are worked on together: few enough for their neurons to stay in the cache.
const PART: usize = 512;

/// How to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// The rate.
    pub rate: f64,
    /// Decay of all parameters a step, times the rate.
    pub decay: f64,
    /// Steps in which the rate rises to it.
    pub warm_up: usize,
    /// AdamW's β.
    pub betas: [f64; 2],
}

impl Default for Options {
    /// Those of Nanda et al.
    fn default() -> Self {
        Self { rate: 1e-3, decay: 1.0, warm_up: 10, betas: [0.9, 0.98] }
    }
}

/// A part of the pairs, as tensors.
#[derive(Clone)]
struct Pairs {
    a: Tensor<1, Int>,
    b: Tensor<1, Int>,
    targets: Tensor<2, Int>,
    count: usize,
}

/// A training on its way.
pub struct Training<'a> {
    task: &'a Task,
    model: Model,
    options: Options,
    seed: usize,
    device: burn::tensor::Device,
    learned: Learned,
    optimiser: AdamW,
    train: Vec<Pairs>,
    test: Vec<Pairs>,
}

/// Losses and shares of right answers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scored {
    /// The mean loss, in nats.
    pub loss: f64,
    /// The share of pairs whose largest logit is that of the target.
    pub accuracy: f64,
}

impl<'a> Training<'a> {
    /// A training from the start, in single precision.
    ///
    /// # Errors
    /// [`Error::Parameter`] for options that are negative or not finite, or β of one or more; [`Error::Device`].
    ///
    /// # Example
    /// ```
    /// use hattention_lab::{modular::{Form, Options, Shape, Task, TaskOptions, Training}, seeds::generator, train::Device};
    /// # fn main() -> Result<(), hattention_lab::Error> {
    /// let options = TaskOptions { modulus: 5, fraction: 0.6, unordered: false, noise: 0.0 };
    /// let task = Task::new(options, &mut generator("example", "", "pairs", 0))?;
    /// let shape = Shape { modulus: 5, width: 16, heads: 2, neurons: 32 };
    /// let mut training = Training::new(&task, shape, Form::Lean, Options::default(), 0, Device::Cpu)?;
    /// let first = training.step()?;
    /// for _ in 0..40 {
    ///     training.step()?;
    /// }
    /// assert!(training.train()?.loss < first);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(
        task: &'a Task,
        shape: Shape,
        form: Form,
        options: Options,
        seed: usize,
        device: Device,
    ) -> Result<Self, Error> {
        let good = |x: f64| x.is_finite() && x >= 0.0;
        let betas = options.betas.iter().all(|beta| (0.0..1.0).contains(beta));
        if !good(options.rate) || !good(options.decay) || !betas || shape.modulus != task.modulus {
            let allowed = "rates and decays of zero or more, β below 1, and the task's modulus";
            let got = format!("{options:?} of {shape:?}");
            return Err(Error::Parameter { name: "the options of a training", got, allowed });
        }
        let device = device.plain()?;
        let model = Model::new(shape, form);
        let stream = |name: &str| generator("modular", name, &seed.to_string(), 0);
        let learned = Learned::new(NAMES.map(str::to_owned), model.starts(stream, DType::F32, &device));
        let [first, second] = options.betas.map(|beta| beta as f32);
        let config = AdamWConfig::new().with_beta_1(first).with_beta_2(second).with_epsilon(1e-8);
        let optimiser = config.with_weight_decay(options.decay as f32).build();
        let parts = |pairs: &[u32]| pairs.chunks(PART).map(|part| tensors(task, part, &device)).collect();
        let (train, test) = (parts(&task.train), parts(&task.test));
        Ok(Self { task, model, options, seed, device, learned, optimiser, train, test })
    }

    /// Steps taken.
    pub fn steps(&self) -> usize {
        self.learned.step
    }

    /// Takes a step; returns the loss before it.
    ///
    /// # Errors
    /// [`Error::Diverged`] if the loss or the gradient is no number, or infinite; parameters are left as before the step.
    pub fn step(&mut self) -> Result<f64, Error> {
        let all = self.task.train.len() as f64;
        let of = |part: &Pairs| {
            let leaves = self.learned.leaves();
            let Pairs { a, b, targets, count } = part.clone();
            let loss = self.model.loss(&leaves, a.autodiff(), b.autodiff(), targets.autodiff()) * (count as f64 / all);
            let gradients = loss.backward();
            let slope = |(leaf, parameter): (&Tensor<2>, &Tensor<2>)| {
                leaf.grad(&gradients).unwrap_or_else(|| parameter.zeros_like())
            };
            Ok((number(loss.inner())?, leaves.iter().zip(&self.learned.parameters).map(slope).collect::<Vec<_>>()))
        };
        let (loss, slopes) = added(self.train.par_iter().map(of).collect::<Result<_, Error>>()?)?;
        let step = self.learned.step;
        if !(loss.is_finite() && length(&slopes)?.is_finite()) {
            return Err(Error::Diverged { step, loss });
        }
        let warm = if self.options.warm_up == 0 { 1.0 } else { (step as f64 / self.options.warm_up as f64).min(1.0) };
        self.learned.update(self.options.rate * warm, slopes, |_| &self.optimiser);
        Ok(loss)
    }

    /// Loss and accuracy on the pairs that are learned from.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device does not give them back.
    pub fn train(&self) -> Result<Scored, Error> {
        self.scored(&self.train)
    }

    /// The same of the pairs that are held back.
    ///
    /// # Errors
    /// As [`Self::train`].
    pub fn test(&self) -> Result<Scored, Error> {
        self.scored(&self.test)
    }

    fn scored(&self, parts: &[Pairs]) -> Result<Scored, Error> {
        let of = |part: &Pairs| {
            let Pairs { a, b, targets, count } = part.clone();
            let logits = self.model.logits(&self.learned.parameters, a, b);
            let right = logits.clone().argmax(1).equal(targets.clone()).int().sum().into_scalar::<i64>() as f64;
            Ok((number(super::model::loss(logits, targets))? * count as f64, right, count))
        };
        let found: Vec<(f64, f64, usize)> = parts.par_iter().map(of).collect::<Result<_, Error>>()?;
        let total = found.iter().map(|(_, _, count)| *count).sum::<usize>() as f64;
        let sum = |of: fn(&(f64, f64, usize)) -> f64| found.iter().map(of).sum::<f64>() / total;
        Ok(Scored { loss: sum(|f| f.0), accuracy: sum(|f| f.1) })
    }

    /// What attention and weights say of themselves.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device does not give parameters back.
    pub fn observe(&self) -> Result<Observed, Error> {
        let parameters: Vec<Vec<f64>> =
            self.learned.parameters.iter().map(|p| numbers(p.clone())).collect::<Result<_, Error>>()?;
        Observed::of(self.model.shape(), &parameters)
    }

    fn told(&self) -> String {
        let task = [&self.task.train, &self.task.targets].into_iter().flatten();
        let hash = hash(task.flat_map(|pair| pair.to_le_bytes()));
        format!("modular {:?} {:?} seed {} pairs {hash:016x}", self.model, self.options, self.seed)
    }

    /// All that is needed to go on, with what the caller wants to find again.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device does not give parameters back.
    pub fn checkpoint(&self, notes: &Value) -> Result<Vec<u8>, Error> {
        self.learned.checkpoint(&self.told(), notes)
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

fn tensors(task: &Task, pairs: &[u32], device: &burn::tensor::Device) -> Pairs {
    let (p, count) = (task.modulus as u32, pairs.len());
    let of = |numbers: Vec<i32>| Tensor::<1, Int>::from_data(TensorData::new(numbers, [count]), (device, DType::I32));
    Pairs {
        a: of(pairs.iter().map(|pair| (pair / p) as i32).collect()),
        b: of(pairs.iter().map(|pair| (pair % p) as i32).collect()),
        targets: of(task.targets_of(pairs).into_iter().map(|t| t as i32).collect()).reshape([count, 1]),
        count,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::TaskOptions;
    use super::*;

    const SHAPE: Shape = Shape { modulus: 11, width: 16, heads: 4, neurons: 24 };

    fn task() -> Task {
        let options = TaskOptions { modulus: 11, fraction: 0.5, unordered: false, noise: 0.0 };
        Task::new(options, &mut generator("test", "training", "pairs", 0)).unwrap()
    }

    fn of<'a>(task: &'a Task, form: Form, decay: f64) -> Training<'a> {
        Training::new(task, SHAPE, form, Options { decay, ..Options::default() }, 1, Device::Cpu).unwrap()
    }

    #[test]
    fn a_training_resumes_bit_by_bit_and_threads_do_not_show() {
        let task = task();
        let mut whole = of(&task, Form::Lean, 1.0);
        let losses: Vec<f64> = (0..14).map(|_| whole.step().unwrap()).collect();
        let mut first = of(&task, Form::Lean, 1.0);
        for _ in 0..6 {
            first.step().unwrap();
        }
        let kept = first.checkpoint(&json!([1, 2])).unwrap();
        let mut second = of(&task, Form::Lean, 1.0);
        assert_eq!(second.restore(&kept).unwrap(), json!([1, 2]));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let rest: Vec<f64> = pool.install(|| (6..14).map(|_| second.step().unwrap()).collect());
        assert_eq!(rest, losses[6..]);
        assert_eq!((second.train().unwrap(), second.test().unwrap()), (whole.train().unwrap(), whole.test().unwrap()));
        assert!(of(&task, Form::Lean, 0.5).restore(&kept).is_err());
    }

    /// In single precision the forms part by rounding.
    #[test]
    fn both_forms_learn_alike_and_know_their_pairs_by_heart() {
        let task = task();
        let [mut lean, mut plain] = [Form::Lean, Form::Plain].map(|form| of(&task, form, 0.0));
        for step in 0..400 {
            let (a, b) = (lean.step().unwrap(), plain.step().unwrap());
            assert!(step > 20 || (a - b).abs() < 1e-4 * a, "{step}: {a} {b}");
        }
        let (train, test) = (lean.train().unwrap(), lean.test().unwrap());
        assert!(train.loss < 0.3 && train.accuracy == 1.0 && test.accuracy < 0.9, "{train:?} {test:?}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let task = task();
        let new = |shape, options| Training::new(&task, shape, Form::Lean, options, 0, Device::Cpu);
        assert!(new(Shape::of(7), Options::default()).is_err());
        assert!(new(SHAPE, Options { rate: f64::NAN, ..Options::default() }).is_err());
        let mut wild = new(SHAPE, Options { rate: 1e30, warm_up: 0, decay: 0.0, ..Options::default() }).unwrap();
        assert!((0..12).any(|_| matches!(wild.step(), Err(Error::Diverged { .. }))));
    }
}

//! Parameters with their moments, and their checkpoints: safetensors that are read back bit by bit.

use burn::optim::{AdamW, AdamWState, AdaptiveMomentumState, Optimizer};
use burn::tensor::{DType, Device, Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};

use crate::error::Error;
use crate::train::numbers;

/// The name under which a checkpoint says what it is of.
const TRAINING: &str = "training";
/// Endings of the names of moments.
const FIRST: &str = "/first-moment";
const SECOND: &str = "/second-moment";

/// Parameters that AdamW moves, in single precision.
pub(crate) struct Learned {
    names: Vec<String>,
    pub(crate) parameters: Vec<Tensor<2>>,
    states: Vec<Option<AdamWState<2>>>,
    pub(crate) step: usize,
}

impl Learned {
    /// From their starts.
    pub(crate) fn new(names: impl IntoIterator<Item = String>, parameters: Vec<Tensor<2>>) -> Self {
        let states = parameters.iter().map(|_| None).collect();
        Self { names: names.into_iter().collect(), parameters, states, step: 0 }
    }

    /// Leaves that record gradients.
    pub(crate) fn leaves(&self) -> Vec<Tensor<2>> {
        self.parameters.iter().map(|p| p.clone().autodiff().require_grad()).collect()
    }

    /// A step down some slopes, each parameter by its optimiser.
    pub(crate) fn update<'o>(
        &mut self,
        rate: f64,
        slopes: Vec<Tensor<2>>,
        optimiser: impl Fn(&Tensor<2>) -> &'o AdamW,
    ) {
        for (place, slope) in slopes.into_iter().enumerate() {
            let (parameter, state) = (self.parameters[place].clone(), self.states[place].take());
            let (next, state) = optimiser(&parameter).step(rate, parameter, slope, state);
            self.parameters[place] = next;
            self.states[place] = state;
        }
        self.step += 1;
    }

    /// All that is needed to go on, as a file of the safetensors format: what the training is of, and what the caller wants to find
    /// again.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device does not give parameters back.
    pub(crate) fn checkpoint(&self, of: &str, notes: &Value) -> Result<Vec<u8>, Error> {
        let mut parts = Vec::new();
        for ((parameter, state), name) in self.parameters.iter().zip(&self.states).zip(&self.names) {
            parts.push((name.clone(), parameter.dims(), bytes(parameter)?));
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
        let told = [(TRAINING.to_owned(), json!({"of": of, "step": self.step, "notes": notes}).to_string())];
        safetensors::serialize(views, Some(told.into_iter().collect())).map_err(|e| Error::Tensor(e.to_string()))
    }

    /// Goes on from a checkpoint: what follows is what would have followed, bit by bit. Returns the notes it was made with.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] for bytes that are not a checkpoint of this training; nothing is changed then.
    pub(crate) fn restore(&mut self, of: &str, checkpoint: &[u8], device: &Device) -> Result<Value, Error> {
        let broken = |why: String| Error::Checkpoint { why };
        let (_, head) = SafeTensors::read_metadata(checkpoint).map_err(|e| broken(e.to_string()))?;
        let told = head.metadata().as_ref().and_then(|told| told.get(TRAINING));
        let mut told: Value = told.and_then(|told| serde_json::from_str(told).ok()).unwrap_or_default();
        if told["of"] != of {
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
            Ok(Tensor::<2>::from_data(TensorData::new(numbers, shape), (device, DType::F32)))
        };
        let (mut parameters, mut states) = (Vec::new(), Vec::new());
        for (name, parameter) in self.names.iter().zip(&self.parameters) {
            let shape = parameter.dims();
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

/// The length of some slopes together.
///
/// # Errors
/// [`Error::Tensor`] if the device does not give it back.
pub(crate) fn length(slopes: &[Tensor<2>]) -> Result<f64, Error> {
    let squares = slopes.iter().map(|slope| (slope.clone() * slope.clone()).sum()).collect();
    Ok(crate::train::number(Tensor::cat(squares, 0).sum())?.sqrt())
}

/// Losses and slopes of parts, added in order.
pub(crate) fn added(parts: Vec<(f64, Vec<Tensor<2>>)>) -> Result<(f64, Vec<Tensor<2>>), Error> {
    let sum = parts.into_iter().reduce(|(loss, slopes), (more, others)| {
        (loss + more, slopes.into_iter().zip(others).map(|(a, b)| a + b).collect())
    });
    sum.ok_or_else(|| Error::Tensor("nothing to learn from".to_owned()))
}

fn bytes(tensor: &Tensor<2>) -> Result<Vec<u8>, Error> {
    Ok(numbers(tensor.clone())?.into_iter().flat_map(|x| (x as f32).to_le_bytes()).collect())
}

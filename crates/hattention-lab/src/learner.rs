//! Parameters that learn: Burn's Adam over a list of matrices.
//!
//! # Example
//! ```
//! use hattention_lab::learner::Learner;
//! use hattention_lab::train::{Device, numbers, tensor};
//! # fn main() -> Result<(), hattention_lab::Error> {
//! let device = Device::Cpu.plain()?;
//! let mut learner = Learner::new(vec![tensor(&[3.0], [1, 1], &device)]);
//! for _ in 0..300 {
//!     let leaves = learner.leaves();
//!     let loss = (leaves[0].clone() * leaves[0].clone()).sum();
//!     learner.step(&leaves, &loss, 0.05)?;
//! }
//! assert!(numbers(learner.parameters()[0].clone())?[0].abs() < 0.05);
//! # Ok(())
//! # }
//! ```

use burn::optim::{Adam, AdamConfig, AdamState, Optimizer};
use burn::tensor::Tensor;

use crate::error::Error;

/// Matrices that are learned, with Adam's moments.
pub struct Learner {
    adam: Adam,
    parameters: Vec<Tensor<2>>,
    states: Vec<Option<AdamState<2>>>,
}

impl Learner {
    /// From initial values on a device without gradients; Adam with β = 0.9 and 0.999.
    pub fn new(parameters: Vec<Tensor<2>>) -> Self {
        let states = parameters.iter().map(|_| None).collect();
        Self { adam: AdamConfig::new().with_epsilon(1e-8).build(), parameters, states }
    }

    /// The matrices as they are.
    pub fn parameters(&self) -> &[Tensor<2>] {
        &self.parameters
    }

    /// The matrices as leaves that record gradients.
    pub fn leaves(&self) -> Vec<Tensor<2>> {
        self.parameters.iter().map(|p| p.clone().autodiff().require_grad()).collect()
    }

    /// One step down the gradient of a loss of these leaves.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the loss does not depend on one of them.
    pub fn step(&mut self, leaves: &[Tensor<2>], loss: &Tensor<1>, rate: f64) -> Result<(), Error> {
        let gradients = loss.backward();
        for (i, leaf) in leaves.iter().enumerate() {
            let slope = leaf.grad(&gradients).ok_or_else(|| Error::Tensor(format!("no gradient of parameter {i}")))?;
            let (next, state) = self.adam.step(rate, self.parameters[i].clone(), slope, self.states[i].take());
            self.parameters[i] = next;
            self.states[i] = state;
        }
        Ok(())
    }
}

/// A rate that falls from `first` to zero along a cosine.
pub fn cosine(first: f64, step: usize, steps: usize) -> f64 {
    first * 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / steps as f64).cos())
}

//! What a shift does to predictions.

use crate::attention::{Keys, add_multiple};
use crate::fit::Fit;
use crate::memory::State;
use crate::whitening::Whitening;

/// The effect of a shift on the predictions of one fit, computed from the state: no row is needed.
///
/// With `b = (ȳ, M/√n)` a prediction is `ŷ = ⟨k̂, b⟩`. A model whose keys and values are the batch's own (self-attention)
/// returns `X* Σ⁻¹Σ* β̂`; it misses `ŷ` by `⟨k̂, v⟩`, `v = (S − I) b`: nothing when the batch is the training rows' world.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictionShift {
    /// The target.
    pub target: String,
    /// Mean prediction over the training rows: the target's mean.
    pub training_mean: f64,
    /// Standard deviation of the predictions over the training rows.
    pub training_sd: f64,
    /// Mean prediction over the batch.
    pub batch_mean: f64,
    /// Standard deviation of the predictions over the batch.
    pub batch_sd: f64,
    /// Mean over the batch of `X*(Σ⁻¹Σ* − I)β̂`.
    pub effect_mean: f64,
    /// Its root mean square.
    pub effect_rms: f64,
    /// `v`: what a key contributes to the effect. Shape: `[1 + keys]`.
    pub direction: Vec<f64>,
}

impl PredictionShift {
    pub(crate) fn new(fit: &Fit, state: &State, training_rows: f64) -> Self {
        let root = training_rows.sqrt();
        let b: Vec<f64> = std::iter::once(fit.target_mean).chain(fit.memory.iter().map(|m| m / root)).collect();
        let apply = |x: &[f64]| -> Vec<f64> { state.matrix.chunks_exact(state.size).map(|row| dot(row, x)).collect() };
        let moved = apply(&b);
        let direction: Vec<f64> = moved.iter().zip(&b).map(|(m, b)| m - b).collect();
        let means = state.means();
        let about = |x: &[f64]| {
            let along = dot(&means, &x[1..]);
            // The spread about the batch's own mean, from the covariance: no difference of large squares.
            let covariance = state.covariance();
            let spread: f64 = covariance
                .chunks_exact(means.len().max(1))
                .zip(&x[1..])
                .map(|(row, x_i)| x_i * dot(row, &x[1..]))
                .sum();
            (x[0] + along, spread.max(0.0))
        };
        let (batch_mean, batch_spread) = about(&b);
        let (effect_mean, effect_spread) = about(&direction);
        Self {
            target: fit.target.clone(),
            training_mean: fit.target_mean,
            training_sd: b[1..].iter().map(|b| b * b).sum::<f64>().sqrt(),
            batch_mean,
            batch_sd: batch_spread.sqrt(),
            effect_mean,
            effect_rms: (effect_mean * effect_mean + effect_spread).sqrt(),
            direction,
        }
    }

    /// The effect on single rows, by their keys. Shape: `[rows]`.
    pub fn of_rows(&self, whitening: &Whitening, keys: &Keys) -> Vec<f64> {
        let mut effects = vec![self.direction[0]; keys.rows];
        let scale = whitening.weight_total.sqrt();
        for (component, v) in keys.components[1..].iter().zip(&self.direction[1..]) {
            add_multiple(component, v * scale, &mut effects);
        }
        effects
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

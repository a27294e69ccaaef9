//! The linear memory with whitened overlaps: recall is the regression of the state on the patterns.

use crate::attention::Keys;
use crate::block::{Block, Column};
use crate::design::{Design, Filter};
use crate::error::Error;
use crate::moments::Moments;
use crate::whitening::{Whitening, WhiteningOptions};

use super::patterns::{Patterns, State};

/// A linear memory of any independent patterns, correlated or not: `s ← H s` with `H = A(AᵀA)⁻¹Aᵀ`, the columns of `A`
/// being the patterns.
///
/// `H` is the hat matrix of a regression without intercept whose rows are the neurons and whose columns are the patterns:
/// recalling a state is fitting it by the patterns. `H = K Kᵀ` with the keys of that regression, so recall is linear
/// attention among neurons, and every pattern is its own fit. Overlaps alone (`A Aᵀ`) mix correlated patterns; the slow
/// memory `(AᵀA)⁻¹` takes the mixture apart.
///
/// # Equals
/// The pseudo-inverse (projection) rule; `lm.fit(A, s)$fitted.values` in R.
///
/// # Numerics
/// Factored once from exact moments; `2 N K` operations a recall. Fixed points are exact to about `20 ε κ`, κ the
/// condition of the scaled patterns.
///
/// # Example
/// ```
/// use hattention::hopfield::WhitenedMemory;
/// let memory = WhitenedMemory::new(&[vec![1.0, 1.0, 1.0, -1.0], vec![1.0, 1.0, 1.0, 1.0]]).unwrap();
/// let recalled = memory.project(&[1.0, 1.0, 1.0, -1.0]).unwrap();
/// assert!(recalled.iter().zip([1.0, 1.0, 1.0, -1.0]).all(|(a, b)| (a - b).abs() < 1e-14));
/// ```
///
/// # References
/// Personnaz, Guyon and Dreyfus (1985); Kanter and Sompolinsky (1987) for the memory without self-attention.
#[derive(Clone, Debug, PartialEq)]
pub struct WhitenedMemory {
    keys: Keys,
    leverages: Vec<f64>,
}

impl WhitenedMemory {
    /// A memory of rows. Shape: `[K][N]`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for no patterns or neurons; [`Error::Shape`]; [`Error::NonFinite`];
    /// [`Error::TooFewRows`] for more patterns than neurons; [`Error::RankDeficient`] naming the patterns (`ξ1`, …) that
    /// depend on others.
    pub fn new(patterns: &[Vec<f64>]) -> Result<Self, Error> {
        let neurons = patterns.first().map_or(0, Vec::len);
        if neurons == 0 {
            return Err(Error::Parameter { name: "patterns", got: "none".to_owned(), allowed: "one or more numbers" });
        }
        let block =
            Block { rows: neurons, columns: patterns.iter().map(|p| Column::Dense(p)).collect(), weights: None };
        let moments = Moments::of(&block)?;
        let design = Design::plain((1..=patterns.len()).map(|k| format!("ξ{k}")), false);
        let whitening = Whitening::of(&moments, &design, Filter::Ols, WhiteningOptions::default(), None)?;
        let ids: Vec<usize> = (0..patterns.len()).collect();
        let keys = Keys::of(&whitening, &block, &ids)?;
        let leverages = keys.squared_norms();
        Ok(Self { keys, leverages })
    }

    /// A memory of ±1 patterns.
    ///
    /// # Errors
    /// As [`WhitenedMemory::new`].
    pub fn of_signs(patterns: &Patterns) -> Result<Self, Error> {
        let real = |state: State| state.signs().iter().map(|s| f64::from(*s)).collect();
        let rows: Vec<Vec<f64>> = (0..patterns.count()).filter_map(|k| patterns.get(k)).map(real).collect();
        Self::new(&rows)
    }

    /// The number of neurons.
    pub fn neurons(&self) -> usize {
        self.keys.rows
    }

    /// The attention of each neuron to itself, `H_ii`. Shape: `[N]`.
    pub fn leverages(&self) -> &[f64] {
        &self.leverages
    }

    /// `H s`: the nearest combination of patterns. Shape: `[N]`.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of neurons; [`Error::NonFinite`].
    pub fn project(&self, state: &[f64]) -> Result<Vec<f64>, Error> {
        if state.len() != self.neurons() {
            return Err(Error::Shape { what: "the state", expected: self.neurons(), got: state.len() });
        }
        if let Some(row) = state.iter().position(|x| !x.is_finite()) {
            return Err(Error::NonFinite { row, column: 0, value: state[row] });
        }
        let mut fitted = vec![0.0; state.len()];
        for component in &self.keys.components {
            let memory = component.iter().zip(state).fold(0.0f64, |sum, (k, s)| k.mul_add(*s, sum));
            fitted.iter_mut().zip(component).for_each(|(f, k)| *f = memory.mul_add(*k, *f));
        }
        Ok(fitted)
    }

    /// One synchronous step of signs: a neuron flips if `(H s)_i`, without `H_ii s_i` unless `self_attention`, has the
    /// other sign by more than rounding.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of neurons.
    pub fn step(&self, state: &State, self_attention: bool) -> Result<State, Error> {
        let signs: Vec<f64> = state.signs().iter().map(|s| f64::from(*s)).collect();
        let fitted = self.project(&signs)?;
        // A sum of N products of at most one, formed twice: what is below is zero.
        let rounding = 4.0 * self.neurons() as f64 * f64::EPSILON;
        let mut next = state.clone();
        for (i, ((f, s), h)) in fitted.iter().zip(&signs).zip(&self.leverages).enumerate() {
            let own = if self_attention { 0.0 } else { h * s };
            if (f - own) * s < -rounding {
                next.flip(i);
            }
        }
        Ok(next)
    }

    /// Steps until the state stays; `None` if it does not within `most_steps` (without self-attention it may alternate).
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of neurons.
    pub fn settle(&self, state: &State, self_attention: bool, most_steps: usize) -> Result<Option<State>, Error> {
        let mut state = state.clone();
        for _ in 0..most_steps {
            let next = self.step(&state, self_attention)?;
            if next == state {
                return Ok(Some(state));
            }
            state = next;
        }
        Ok(None)
    }
}

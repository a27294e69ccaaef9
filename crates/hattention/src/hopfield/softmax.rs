//! The continuous memory whose recall is softmax attention.

use crate::error::Error;

/// A memory of real patterns with the energy `−β⁻¹ ln Σ e^(β x_i·s) + ½ s·s + β⁻¹ ln K + ½ M²`.
///
/// # Shapes
/// Patterns `[K][dimension]`, states `[dimension]`.
///
/// # Numerics
/// `2 K d` operations a step. Weights are relative to the largest overlap; sums have a fixed order.
///
/// # Example
/// ```
/// use hattention::hopfield::SoftmaxMemory;
/// let memory = SoftmaxMemory::new(&[vec![1.0, 0.0], vec![0.0, 1.0]], 50.0).unwrap();
/// let recalled = memory.step(&[0.8, 0.3]).unwrap();
/// assert!((recalled[0] - 1.0).abs() < 1e-10 && recalled[1] < 1e-10);
/// ```
///
/// # References
/// Ramsauer et al. (2020), equations 1 to 5 and theorems 4 and 5.
#[derive(Clone, Debug, PartialEq)]
pub struct SoftmaxMemory {
    dimension: usize,
    beta: f64,
    /// Shape: `[K][dimension]`, flat.
    patterns: Vec<f64>,
    largest_norm: f64,
}

/// Where repeated recall came to rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Settling {
    /// The state.
    pub state: Vec<f64>,
    /// Steps taken.
    pub steps: usize,
}

impl SoftmaxMemory {
    /// A memory of rows, with the inverse temperature β.
    ///
    /// # Errors
    /// [`Error::Parameter`] for no patterns, no dimension, or β not positive and finite; [`Error::Shape`];
    /// [`Error::NonFinite`].
    pub fn new(patterns: &[Vec<f64>], beta: f64) -> Result<Self, Error> {
        let dimension = patterns.first().map_or(0, Vec::len);
        if dimension == 0 {
            return Err(Error::Parameter { name: "patterns", got: "none".to_owned(), allowed: "one or more numbers" });
        }
        if !(beta > 0.0 && beta.is_finite()) {
            return Err(Error::Parameter { name: "beta", got: beta.to_string(), allowed: "positive and finite" });
        }
        for (row, pattern) in patterns.iter().enumerate() {
            if pattern.len() != dimension {
                return Err(Error::Shape { what: "a pattern", expected: dimension, got: pattern.len() });
            }
            if let Some(column) = pattern.iter().position(|x| !x.is_finite()) {
                return Err(Error::NonFinite { row, column, value: pattern[column] });
            }
        }
        let patterns: Vec<f64> = patterns.concat();
        let largest = patterns.chunks_exact(dimension).map(|x| dot(x, x)).fold(0.0, f64::max);
        Ok(Self { dimension, beta, patterns, largest_norm: largest.sqrt() })
    }

    /// The number of patterns.
    pub fn count(&self) -> usize {
        self.patterns.len() / self.dimension
    }

    /// One pattern; `None` beyond the last.
    pub fn pattern(&self, i: usize) -> Option<&[f64]> {
        self.patterns.get(i * self.dimension..(i + 1) * self.dimension)
    }

    /// `M = max ‖x_i‖`.
    pub fn largest_norm(&self) -> f64 {
        self.largest_norm
    }

    /// The weights `softmax(βXᵀs)` of the patterns: they are positive and sum to one. Shape: `[K]`.
    ///
    /// # Errors
    /// [`Error::Shape`] for another dimension; [`Error::NonFinite`] for a state that is not finite.
    pub fn weights(&self, state: &[f64]) -> Result<Vec<f64>, Error> {
        let mut weights = self.overlaps(state)?;
        let largest = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        weights.iter_mut().for_each(|w| *w = libm::exp(self.beta * (*w - largest)));
        let total: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|w| *w /= total);
        Ok(weights)
    }

    /// One step of recall, `X softmax(βXᵀs)`: softmax attention with the state as query and patterns as keys and values.
    ///
    /// # Errors
    /// As [`SoftmaxMemory::weights`].
    pub fn step(&self, state: &[f64]) -> Result<Vec<f64>, Error> {
        let weights = self.weights(state)?;
        let mut next = vec![0.0; self.dimension];
        for (x, w) in self.patterns.chunks_exact(self.dimension).zip(&weights) {
            next.iter_mut().zip(x).for_each(|(n, x)| *n = w.mul_add(*x, *n));
        }
        Ok(next)
    }

    /// Repeats steps until the state moves by at most `tolerance` (times M).
    ///
    /// # Errors
    /// As [`SoftmaxMemory::weights`]; [`Error::NoConvergence`] after `most_steps`.
    pub fn settle(&self, state: &[f64], tolerance: f64, most_steps: usize) -> Result<Settling, Error> {
        let mut state = state.to_vec();
        let mut moved = f64::INFINITY;
        for steps in 1..=most_steps {
            let next = self.step(&state)?;
            moved = distance(&state, &next);
            state = next;
            if moved <= tolerance * self.largest_norm {
                return Ok(Settling { state, steps });
            }
        }
        Err(Error::NoConvergence { steps: most_steps, residual: moved })
    }

    /// The energy; it lies between 0 and `2M²` for states within the patterns' hull.
    ///
    /// # Errors
    /// As [`SoftmaxMemory::weights`].
    pub fn energy(&self, state: &[f64]) -> Result<f64, Error> {
        let overlaps = self.overlaps(state)?;
        let largest = overlaps.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = overlaps.iter().map(|m| libm::exp(self.beta * (m - largest))).sum();
        let log_mean = libm::log(sum / overlaps.len() as f64);
        let constant = 0.5 * self.largest_norm * self.largest_norm;
        Ok(constant + 0.5 * dot(state, state) - largest - log_mean / self.beta)
    }

    /// The separation `Δ_i = min_{j≠i} (x_i·x_i − x_i·x_j)`; infinite for a single pattern, `None` beyond the last.
    pub fn separation(&self, i: usize) -> Option<f64> {
        let x = self.pattern(i)?;
        let own = dot(x, x);
        let others = self.patterns.chunks_exact(self.dimension).enumerate().filter(|(j, _)| *j != i);
        Some(others.map(|(_, other)| own - dot(x, other)).fold(f64::INFINITY, f64::min))
    }

    /// The bound `2(K−1) exp(−β(Δ_i − 2 r M)) M` of `‖f(s) − x_i‖` for states within `r` of `x_i`; `None` beyond the
    /// last pattern. (The published bound has `r` the larger of the state's and the fixed point's distance.)
    pub fn one_step_bound(&self, i: usize, radius: f64) -> Option<f64> {
        let exponent = -self.beta * (self.separation(i)? - 2.0 * radius * self.largest_norm);
        let others = (self.count() - 1) as f64;
        Some(if others == 0.0 { 0.0 } else { 2.0 * others * libm::exp(exponent) * self.largest_norm })
    }

    fn overlaps(&self, state: &[f64]) -> Result<Vec<f64>, Error> {
        if state.len() != self.dimension {
            return Err(Error::Shape { what: "the state", expected: self.dimension, got: state.len() });
        }
        if let Some(column) = state.iter().position(|x| !x.is_finite()) {
            return Err(Error::NonFinite { row: 0, column, value: state[column] });
        }
        Ok(self.patterns.chunks_exact(self.dimension).map(|x| dot(x, state)).collect())
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| a.mul_add(*b, sum))
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

//! Patterns of ±1, one bit a neuron.

use crate::error::Error;

/// Bits of a word.
const BITS: usize = 64;

/// A state of neurons that are +1 or −1, one bit each.
///
/// # Example
/// ```
/// use hattention::hopfield::State;
/// let mut state = State::from_signs(&[1, -1, 1]).unwrap();
/// state.flip(1);
/// assert_eq!(state.signs(), [1, 1, 1]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    neurons: usize,
    words: Vec<u64>,
}

impl State {
    /// A state from signs: positive is +1, negative −1.
    ///
    /// # Errors
    /// [`Error::Parameter`] for none, or for a sign of zero.
    pub fn from_signs(signs: &[i8]) -> Result<Self, Error> {
        check_neurons(signs.len())?;
        if let Some(place) = signs.iter().position(|s| *s == 0) {
            let got = format!("0 at neuron {place}");
            return Err(Error::Parameter { name: "a sign", got, allowed: "positive or negative" });
        }
        let mut words = vec![0; signs.len().div_ceil(BITS)];
        for (i, _) in signs.iter().enumerate().filter(|(_, s)| **s > 0) {
            words[i / BITS] |= 1 << (i % BITS);
        }
        Ok(Self { neurons: signs.len(), words })
    }

    /// The number of neurons.
    pub fn neurons(&self) -> usize {
        self.neurons
    }

    /// The signs, +1 or −1. Shape: `[neurons]`.
    pub fn signs(&self) -> Vec<i8> {
        (0..self.neurons).map(|i| self.sign(i)).collect()
    }

    /// The sign of one neuron.
    ///
    /// # Panics
    /// If there is no such neuron, as indexing does.
    pub fn sign(&self, neuron: usize) -> i8 {
        assert!(neuron < self.neurons, "neuron {neuron} of {}", self.neurons);
        if self.words[neuron / BITS] >> (neuron % BITS) & 1 == 1 { 1 } else { -1 }
    }

    /// Turns one neuron over.
    ///
    /// # Panics
    /// If there is no such neuron, as indexing does.
    pub fn flip(&mut self, neuron: usize) {
        assert!(neuron < self.neurons, "neuron {neuron} of {}", self.neurons);
        self.words[neuron / BITS] ^= 1 << (neuron % BITS);
    }

    /// The overlap `s·t = N − 2·(neurons that differ)`; `None` for another number of neurons.
    pub fn overlap(&self, other: &Self) -> Option<i64> {
        (self.neurons == other.neurons).then(|| overlap(self.neurons, &self.words, &other.words))
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }
}

/// Patterns of ±1, one bit a neuron.
///
/// # Example
/// ```
/// use hattention::hopfield::{Patterns, State};
/// let rows = [State::from_signs(&[1, 1, -1]).unwrap(), State::from_signs(&[-1, 1, -1]).unwrap()];
/// let patterns = Patterns::from_states(&rows).unwrap();
/// assert_eq!(patterns.overlaps(&rows[0]).unwrap(), [3, 1]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns {
    neurons: usize,
    count: usize,
    /// Bits of pattern after pattern; those beyond the last neuron are zero. Shape: `[count][words]`.
    words: Vec<u64>,
}

impl Patterns {
    /// Patterns from states.
    ///
    /// # Errors
    /// [`Error::Parameter`] for none; [`Error::Shape`] for states of different lengths.
    pub fn from_states(states: &[State]) -> Result<Self, Error> {
        let neurons = states.first().map_or(0, State::neurons);
        check_neurons(neurons)?;
        if let Some(other) = states.iter().find(|state| state.neurons != neurons) {
            return Err(Error::Shape { what: "a pattern", expected: neurons, got: other.neurons });
        }
        Ok(Self { neurons, count: states.len(), words: states.iter().flat_map(|s| &s.words).copied().collect() })
    }

    /// Independent patterns of fair bits, from 64 random bits a call; the first patterns are the same for every count.
    ///
    /// # Errors
    /// [`Error::Parameter`] for no neurons or no patterns.
    pub fn random(neurons: usize, count: usize, mut bits: impl FnMut() -> u64) -> Result<Self, Error> {
        check_neurons(neurons)?;
        if count == 0 {
            return Err(Error::Parameter { name: "patterns", got: "0".to_owned(), allowed: "one or more" });
        }
        let width = neurons.div_ceil(BITS);
        let last = last_mask(neurons);
        let words = (0..count * width).map(|k| if (k + 1) % width == 0 { bits() & last } else { bits() }).collect();
        Ok(Self { neurons, count, words })
    }

    /// The number of neurons.
    pub fn neurons(&self) -> usize {
        self.neurons
    }

    /// The number of patterns.
    pub fn count(&self) -> usize {
        self.count
    }

    /// One pattern as a state; `None` beyond the last.
    pub fn get(&self, pattern: usize) -> Option<State> {
        let width = self.width();
        let words = self.words.get(pattern * width..(pattern + 1) * width)?.to_vec();
        Some(State { neurons: self.neurons, words })
    }

    /// The first patterns alone, all of them if there are no more.
    pub fn first(&self, count: usize) -> Self {
        let count = count.min(self.count);
        Self { neurons: self.neurons, count, words: self.words[..count * self.width()].to_vec() }
    }

    /// Overlaps `m^μ = ξ^μ·s` of every pattern with a state, exact. Shape: `[count]`.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of neurons.
    pub fn overlaps(&self, state: &State) -> Result<Vec<i64>, Error> {
        self.check(state)?;
        Ok(self.rows().map(|row| overlap(self.neurons, row, &state.words)).collect())
    }

    pub(super) fn check(&self, state: &State) -> Result<(), Error> {
        if state.neurons == self.neurons {
            return Ok(());
        }
        Err(Error::Shape { what: "the state", expected: self.neurons, got: state.neurons })
    }

    pub(super) fn rows(&self) -> std::slice::ChunksExact<'_, u64> {
        self.words.chunks_exact(self.width())
    }

    /// Runs of patterns, for threads. Each: `[≤ patterns][words]`.
    pub(super) fn runs(&self, patterns: usize) -> Vec<&[u64]> {
        self.words.chunks(patterns * self.width()).collect()
    }

    /// Words of a pattern.
    pub(super) fn width(&self) -> usize {
        self.neurons.div_ceil(BITS)
    }
}

/// Neurons that a state can have: indices and overlaps fit everywhere.
const MOST_NEURONS: usize = 1 << 24;

fn check_neurons(neurons: usize) -> Result<(), Error> {
    if (1..=MOST_NEURONS).contains(&neurons) {
        return Ok(());
    }
    Err(Error::Parameter { name: "neurons", got: neurons.to_string(), allowed: "1 to 16,777,216" })
}

/// The bits of the last word that are neurons.
pub(super) fn last_mask(neurons: usize) -> u64 {
    u64::MAX >> ((BITS - neurons % BITS) % BITS)
}

pub(super) fn overlap(neurons: usize, a: &[u64], b: &[u64]) -> i64 {
    let differ: u32 = a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum();
    neurons as i64 - 2 * i64::from(differ)
}

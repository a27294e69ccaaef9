//! Dense associative memories of ±1 patterns.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::patterns::{Patterns, State, last_mask, overlap};
use crate::error::Error;

/// How an overlap counts in the energy `−Σ_μ F(m^μ)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// `F(m) = m²/2`, recalled by `sign(XᵀX s)`: linear attention as it is, a neuron's own state included.
    Linear,
    /// `F(m) = mⁿ`, recalled by the sign of the energy difference. Degree 2 is Hopfield's network: as
    /// [`Score::Linear`] without the weight `K` of a neuron on itself.
    Polynomial {
        /// The degree n, 2 or more.
        degree: u32,
    },
    /// `F(m) = eᵐ`, recalled by the sign of the energy difference.
    Exponential,
}

/// A memory of ±1 patterns.
///
/// # Numerics
/// Patterns are sorted by overlap, and the neurons on which each class agrees with the state are counted in bit-sliced
/// counters: about `K·⌈N/64⌉` word operations a step, threads over runs of patterns. Counts are integers, and with them
/// linear and polynomial sums; exponential sums are relative to the largest overlap and added from the largest down, so
/// they neither overflow nor depend on threads.
///
/// # Example
/// ```
/// use hattention::hopfield::{BinaryMemory, Patterns, Score, State};
/// let rows = [[1, 1, 1, 1, -1, -1], [-1, 1, -1, 1, 1, -1]].map(|signs| State::from_signs(&signs).unwrap());
/// let memory = BinaryMemory::new(Patterns::from_states(&rows).unwrap(), Score::Exponential).unwrap();
/// let mut damaged = rows[0].clone();
/// damaged.flip(3);
/// assert_eq!(memory.step(&damaged).unwrap(), rows[0]);
/// ```
///
/// # References
/// Hopfield (1982); Krotov and Hopfield (2016), equation 3; Demircigil et al. (2017).
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryMemory {
    patterns: Patterns,
    score: Score,
}

/// Where asynchronous recall came to rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The state: no single flip lowers the energy.
    pub state: State,
    /// Flips on the way.
    pub flips: usize,
}

/// Patterns of a thread's turn.
const RUN: usize = 1 << 14;

impl BinaryMemory {
    /// A memory.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a degree below 2, or one whose sums `K·(N + 2)ⁿ` could leave 127 bits.
    pub fn new(patterns: Patterns, score: Score) -> Result<Self, Error> {
        if let Score::Polynomial { degree } = score {
            let sums = (patterns.neurons() as f64 + 2.0).log2() * f64::from(degree) + (patterns.count() as f64).log2();
            if degree < 2 || sums >= 124.0 {
                let allowed = "2 or more, and K·(N + 2)ⁿ below 2¹²⁴";
                return Err(Error::Parameter { name: "degree", got: degree.to_string(), allowed });
            }
        }
        Ok(Self { patterns, score })
    }

    /// The patterns.
    pub fn patterns(&self) -> &Patterns {
        &self.patterns
    }

    /// The score.
    pub fn score(&self) -> Score {
        self.score
    }

    /// The energy: `−½ Σ m²`, `−Σ mⁿ`, and for the exponential score `−ln Σ eᵐ`, which orders states alike.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of neurons.
    pub fn energy(&self, state: &State) -> Result<f64, Error> {
        let overlaps = self.patterns.overlaps(state)?;
        let sum_of = |degree: u32| overlaps.iter().map(|m| i128::from(*m).pow(degree)).sum::<i128>() as f64;
        Ok(match self.score {
            Score::Linear => -0.5 * sum_of(2),
            Score::Polynomial { degree } => -sum_of(degree),
            Score::Exponential => {
                let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
                overlaps.iter().for_each(|m| *counts.entry(*m).or_default() += 1);
                let largest = counts.keys().next_back().copied().unwrap_or(0);
                let sum: f64 = counts.iter().rev().map(|(m, n)| *n as f64 * libm::exp((m - largest) as f64)).sum();
                -(largest as f64 + libm::log(sum))
            }
        })
    }

    /// What speaks for each neuron staying as it is: positive keeps it, negative flips it. Shape: `[neurons]`.
    ///
    /// Linear: `s_i (XᵀX s)_i`. Otherwise the energy that flipping the neuron alone would cost,
    /// `Σ_μ F(m^μ) − F(m^μ − 2 ξ_i^μ s_i)`; for the exponential score divided by e to the largest overlap.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of neurons.
    pub fn support(&self, state: &State) -> Result<Vec<f64>, Error> {
        self.patterns.check(state)?;
        let classes = self.classes(state);
        Ok(match self.score {
            Score::Linear => exact(&classes, |m| m, |m| -m),
            Score::Polynomial { degree } => {
                let power = |m: i128| m.pow(degree);
                exact(&classes, |m| power(m) - power(m - 2), |m| power(m) - power(m + 2))
            }
            Score::Exponential => {
                let largest = classes.keys().next_back().copied().unwrap_or(0);
                let (agree, differ) = (-libm::expm1(-2.0), -libm::expm1(2.0));
                let mut support = vec![0.0; state.neurons()];
                for (m, class) in classes.iter().rev() {
                    let weight = libm::exp((m - largest) as f64);
                    class.for_each(|i, agreeing| {
                        let differing = class.count - agreeing;
                        support[i] += weight * (agreeing as f64 * agree + differing as f64 * differ);
                    });
                }
                support
            }
        })
    }

    /// One synchronous step: every neuron whose support is negative flips; ties stay.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of neurons.
    pub fn step(&self, state: &State) -> Result<State, Error> {
        let support = self.support(state)?;
        let mut next = state.clone();
        support.iter().enumerate().filter(|(_, s)| **s < 0.0).for_each(|(i, _)| next.flip(i));
        Ok(next)
    }

    /// Asynchronous recall: neurons are visited in order, again and again, and flip if their support is negative, until
    /// none does.
    ///
    /// With polynomial and exponential scores every flip lowers the energy, and with the linear score too: its support
    /// is half the energy that the flip costs, plus `K`.
    ///
    /// # Numerics
    /// A step's work for each flip and one more.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of neurons; [`Error::NoConvergence`] after `most_flips`.
    pub fn settle(&self, state: &State, most_flips: usize) -> Result<Settled, Error> {
        let (mut state, mut flips, mut next) = (state.clone(), 0, 0);
        loop {
            let support = self.support(&state)?;
            // Neurons between two flips see the same state: the first that flips, from the next one on, is the one that
            // visiting them one by one would find.
            let neurons = state.neurons();
            let Some(neuron) = (next..next + neurons).map(|i| i % neurons).find(|i| support[*i] < 0.0) else {
                return Ok(Settled { state, flips });
            };
            if flips == most_flips {
                return Err(Error::NoConvergence { steps: flips, residual: -support[neuron] });
            }
            state.flip(neuron);
            flips += 1;
            next = neuron + 1;
        }
    }

    /// The patterns of each overlap, and on how many of them each neuron agrees.
    fn classes(&self, state: &State) -> BTreeMap<i64, Class> {
        let runs = self.patterns.runs(RUN);
        let of_run = |run: &&[u64]| {
            let mut classes: BTreeMap<i64, Class> = BTreeMap::new();
            for row in run.chunks_exact(self.patterns.width()) {
                let m = overlap(state.neurons(), row, state.words());
                classes.entry(m).or_default().add(row, state);
            }
            classes
        };
        let mut runs =
            if runs.len() == 1 { vec![of_run(&runs[0])] } else { runs.par_iter().map(of_run).collect::<Vec<_>>() };
        let mut all = runs.pop().unwrap_or_default();
        for (m, class) in runs.into_iter().flatten() {
            all.entry(m).or_default().join(&class);
        }
        all
    }
}

/// Sums over classes of integer weights of agreement and difference, rounded once.
fn exact(classes: &BTreeMap<i64, Class>, agree: impl Fn(i128) -> i128, differ: impl Fn(i128) -> i128) -> Vec<f64> {
    let neurons = classes.values().next().map_or(0, |class| class.neurons);
    let mut sums = vec![0i128; neurons];
    for (m, class) in classes {
        let (agree, differ) = (agree(i128::from(*m)), differ(i128::from(*m)));
        class.for_each(|i, agreeing| {
            sums[i] += agree * i128::from(agreeing) + differ * i128::from(class.count - agreeing);
        });
    }
    sums.iter().map(|s| *s as f64).collect()
}

/// Patterns of one overlap: how many, and for each neuron on how many of them it agrees, in bit-sliced counters.
#[derive(Default)]
struct Class {
    neurons: usize,
    count: u64,
    /// Bit `p` of all counters. Shape: `[planes][words]`.
    planes: Vec<Vec<u64>>,
}

impl Class {
    fn add(&mut self, row: &[u64], state: &State) {
        self.neurons = state.neurons();
        self.count += 1;
        let (last, mask) = (row.len() - 1, last_mask(state.neurons()));
        for (w, (bits, signs)) in row.iter().zip(state.words()).enumerate() {
            let agreeing = !(bits ^ signs) & if w == last { mask } else { u64::MAX };
            self.carry(w, 0, agreeing, row.len());
        }
    }

    /// Adds `2^plane` to the counters of a word's bits.
    fn carry(&mut self, word: usize, mut plane: usize, mut bits: u64, width: usize) {
        while bits != 0 {
            if plane >= self.planes.len() {
                self.planes.resize(plane + 1, vec![0; width]);
            }
            let counter = &mut self.planes[plane][word];
            (*counter, bits) = (*counter ^ bits, *counter & bits);
            plane += 1;
        }
    }

    fn join(&mut self, other: &Self) {
        self.neurons = other.neurons;
        self.count += other.count;
        for (p, plane) in other.planes.iter().enumerate() {
            for (w, bits) in plane.iter().enumerate() {
                self.carry(w, p, *bits, plane.len());
            }
        }
    }

    /// Calls with every neuron and the number of patterns on which it agrees.
    fn for_each(&self, mut f: impl FnMut(usize, u64)) {
        for i in 0..self.neurons {
            let bit = |plane: &Vec<u64>| plane[i / 64] >> (i % 64) & 1;
            f(i, self.planes.iter().enumerate().map(|(p, plane)| bit(plane) << p).sum());
        }
    }
}

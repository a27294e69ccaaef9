//! Dense associative memories of ±1 patterns.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::patterns::{Patterns, State, last_mask};
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
/// counters: about ten word operations for each pattern and 64 neurons a step, threads over runs of patterns. Counts are integers, and with them
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
        let (classes, neurons) = (self.classes(state), state.neurons());
        Ok(match self.score {
            Score::Linear => exact(&classes, neurons, |m| m, |m| -m),
            Score::Polynomial { degree } => {
                let power = |m: i128| m.pow(degree);
                exact(&classes, neurons, |m| power(m) - power(m - 2), |m| power(m) - power(m + 2))
            }
            Score::Exponential => {
                let largest = classes.last().map_or(0, |(m, _)| *m);
                let (agree, differ) = (-libm::expm1(-2.0), -libm::expm1(2.0));
                let mut support = vec![0.0; neurons];
                for (m, class) in classes.iter().rev() {
                    let weight = libm::exp((m - largest) as f64);
                    class.for_each(neurons, |i, agreeing| {
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

    /// The patterns of each overlap, and on how many of them each neuron agrees, by growing overlap.
    fn classes(&self, state: &State) -> Vec<(i64, Class)> {
        let runs = self.patterns.runs(RUN);
        let (neurons, width) = (state.neurons(), self.patterns.width());
        let of_run = |run: &&[u64]| {
            let mut classes: Vec<Class> = Vec::new();
            classes.resize_with(neurons + 1, Class::default);
            let mask = last_mask(neurons);
            for row in run.chunks_exact(width) {
                let differing: u32 = row.iter().zip(state.words()).map(|(a, b)| (a ^ b).count_ones()).sum();
                classes[neurons - differing as usize].add(row, state.words(), mask);
            }
            classes.iter_mut().for_each(|class| class.flush(width));
            classes
        };
        let runs = match runs[..] {
            [ref only] => vec![of_run(only)],
            ref many => many.par_iter().map(of_run).collect::<Vec<_>>(),
        };
        let joined = runs.into_iter().reduce(|mut all, run| {
            all.iter_mut().zip(&run).for_each(|(class, other)| class.join(other, width));
            all
        });
        let overlap_of = |agreeing: usize| 2 * agreeing as i64 - neurons as i64;
        let classes = joined.into_iter().flatten().enumerate().filter(|(_, class)| class.count > 0);
        classes.map(|(agreeing, class)| (overlap_of(agreeing), class)).collect()
    }
}

/// Sums over classes of integer weights of agreement and difference, rounded once. Shape: `[neurons]`.
fn exact(
    classes: &[(i64, Class)],
    neurons: usize,
    agree: impl Fn(i128) -> i128,
    differ: impl Fn(i128) -> i128,
) -> Vec<f64> {
    let mut sums = vec![0i128; neurons];
    for (m, class) in classes {
        let (agree, differ) = (agree(i128::from(*m)), differ(i128::from(*m)));
        class.for_each(neurons, |i, agreeing| {
            sums[i] += agree * i128::from(agreeing) + differ * i128::from(class.count - agreeing);
        });
    }
    sums.iter().map(|s| *s as f64).collect()
}

/// Patterns of one overlap: how many, and for each neuron on how many of them it agrees, in bit-sliced counters.
#[derive(Default)]
struct Class {
    count: u64,
    /// Agreement of patterns not counted yet, fewer than eight. Shape: `[patterns][words]`.
    waiting: Vec<u64>,
    /// Bit `p` of all counters. Shape: `[planes][words]`.
    planes: Vec<u64>,
}

/// Patterns counted at a time.
const EIGHT: usize = 8;

impl Class {
    #[inline]
    fn add(&mut self, row: &[u64], state: &[u64], mask: u64) {
        let last = row.len() - 1;
        for (w, (bits, signs)) in row.iter().zip(state).enumerate() {
            self.waiting.push(!(bits ^ signs) & if w == last { mask } else { u64::MAX });
        }
        self.count += 1;
        if self.waiting.len() == EIGHT * row.len() {
            self.count_eight(row.len());
        }
    }

    /// Adds eight patterns by carry-save adders: the first three planes take their sums, and only eights are carried on.
    fn count_eight(&mut self, width: usize) {
        if self.planes.len() < 3 * width {
            self.planes.resize(3 * width, 0);
        }
        for w in 0..width {
            let x = |k: usize| self.waiting[k * width + w];
            let (ones, twos_a) = add_three(self.planes[w], x(0), x(1));
            let (ones, twos_b) = add_three(ones, x(2), x(3));
            let (ones, twos_c) = add_three(ones, x(4), x(5));
            let (ones, twos_d) = add_three(ones, x(6), x(7));
            let (twos, fours_a) = add_three(self.planes[width + w], twos_a, twos_b);
            let (twos, fours_b) = add_three(twos, twos_c, twos_d);
            let (fours, eights) = add_three(self.planes[2 * width + w], fours_a, fours_b);
            self.planes[w] = ones;
            self.planes[width + w] = twos;
            self.planes[2 * width + w] = fours;
            self.carry(w, 3, eights, width);
        }
        self.waiting.clear();
    }

    /// Adds `2^plane` to the counters of a word's bits.
    fn carry(&mut self, word: usize, mut plane: usize, mut bits: u64, width: usize) {
        while bits != 0 {
            let place = plane * width + word;
            if place >= self.planes.len() {
                self.planes.resize((plane + 1) * width, 0);
            }
            let counter = &mut self.planes[place];
            (*counter, bits) = (*counter ^ bits, *counter & bits);
            plane += 1;
        }
    }

    /// Counts what waits.
    fn flush(&mut self, width: usize) {
        for (k, bits) in std::mem::take(&mut self.waiting).into_iter().enumerate() {
            self.carry(k % width, 0, bits, width);
        }
    }

    /// Adds another class, flushed.
    fn join(&mut self, other: &Self, width: usize) {
        self.count += other.count;
        for (k, bits) in other.planes.iter().enumerate() {
            self.carry(k % width, k / width, *bits, width);
        }
    }

    /// Calls with every neuron and the number of patterns on which it agrees.
    fn for_each(&self, neurons: usize, mut f: impl FnMut(usize, u64)) {
        let width = neurons.div_ceil(64);
        for i in 0..neurons {
            let planes = self.planes.iter().skip(i / 64).step_by(width);
            f(i, planes.enumerate().map(|(p, plane)| (plane >> (i % 64) & 1) << p).sum());
        }
    }
}

/// Sum and carry of three bits in each place.
fn add_three(a: u64, b: u64, c: u64) -> (u64, u64) {
    let either = a ^ b;
    (either ^ c, (a & b) | (either & c))
}

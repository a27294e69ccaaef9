//! The finite-size law for linear and polynomial scores: neurons err independently *given* the other patterns' overlaps.
//!
//! All neurons of a probe hear the same few patterns, with the same overlaps: where these happen to be small, no neuron
//! errs, and where one is large, many do. Independent neurons ([`super::prediction`]) miss that, the more the fewer patterns
//! there are. Here overlaps are drawn, as sums of N fair signs; given them, a neuron agrees with a pattern of overlap m with
//! probability `(N + m)/2N`, and what it hears is a sum of independent terms of two values each, whose distribution follows
//! from its characteristic function. What remains assumed is that a set's probes fail independently.

use std::f64::consts::PI;

use hattention::hopfield::Score;
use rand::Rng;
use rayon::prelude::*;

use super::prediction::set_success;
use crate::seeds::Generator;

/// Draws of overlaps: the standard error of a probability is at most 0.5/√256 = 0.031, and of K* about a hundredth.
const DRAWS: usize = 256;
/// Places of the inversion: the period `2π/STEP` is 8 signals.
const STEP: f64 = PI / 4.0;
/// Noise is smoothed by this share of the signal at most; where ties are frequent, with scores of degree 2, by a third of the
/// distance of sums from the limit between them, if that is not below the second share.
const SMOOTHING: f64 = 0.01;
const LEAST_SMOOTHING: f64 = 0.004;
/// A term of more signals decides alone: it counts as this many.
const LARGEST_TERM: f64 = 4.0;
/// A characteristic function below e to this adds nothing.
const NOTHING: f64 = -30.0;

/// The prediction for one memory and one number of damaged neurons.
pub struct Given {
    neurons: usize,
    corrupted: usize,
    /// Overlaps with the probe as numbers of agreeing neurons. Shape: `[DRAWS][patterns]`.
    overlaps: Vec<Vec<u16>>,
    terms: Terms,
}

/// What a pattern of each overlap adds to a neuron, over the signal of a right one.
struct Terms {
    /// Logarithm of the modulus, and phase, of the characteristic function. Shape: `[places][N + 1]`.
    modulus: Vec<f64>,
    phase: Vec<f64>,
    places: usize,
    smoothing: f64,
    /// Right neurons err below this, wrong ones stay above.
    right: f64,
    wrong: f64,
}

/// Sums for a neuron that agrees with a pattern of this overlap and for one that does not, as the memory adds them.
fn added(score: Score, overlap: f64) -> (f64, f64) {
    match score {
        Score::Polynomial { degree } => {
            let power = |x: f64| x.powi(degree as i32);
            (power(overlap) - power(overlap - 2.0), power(overlap) - power(overlap + 2.0))
        }
        _ => (overlap, -overlap),
    }
}

impl Terms {
    fn new(score: Score, neurons: usize, corrupted: usize) -> Self {
        let own = neurons as f64 - 2.0 * corrupted as f64;
        let (signal, against) = added(score, own);
        // Sums are multiples of 2 or more where the score is linear, of 8 or more where it is quadratic: limits lie between
        // them, so that ties are counted right. With higher degrees ties are rare, and count half.
        let gap = match score {
            Score::Polynomial { degree: 2 } => 4.0 / signal,
            Score::Polynomial { .. } => 0.0,
            _ => 1.0 / signal,
        };
        let smoothing = if gap > 0.0 { (gap / 3.0).clamp(LEAST_SMOOTHING, SMOOTHING) } else { SMOOTHING };
        let places = (5.0 / smoothing / STEP).ceil() as usize;
        let (mut modulus, mut phase) = (Vec::new(), Vec::new());
        for place in 0..places {
            let u = (place as f64 + 0.5) * STEP;
            for agreeing in 0..=neurons {
                let p = agreeing as f64 / neurons as f64;
                let (agree, differ) = added(score, 2.0 * agreeing as f64 - neurons as f64);
                let clamped = |x: f64| u * (x / signal).clamp(-LARGEST_TERM, LARGEST_TERM);
                let (a, b) = (clamped(agree), clamped(differ));
                let (re, im) = (p * a.cos() + (1.0 - p) * b.cos(), p * a.sin() + (1.0 - p) * b.sin());
                modulus.push(re.hypot(im).ln());
                phase.push(im.atan2(re));
            }
        }
        Self { modulus, phase, places, smoothing, right: -1.0 - gap, wrong: -against / signal - gap }
    }

    /// The probability that all neurons are right, given how many patterns have each overlap.
    fn all_right(&self, counts: &[(usize, f64)], neurons: usize, corrupted: usize) -> f64 {
        let (mut below, mut above) = (0.5, 0.5);
        for place in 0..self.places {
            let u = (place as f64 + 0.5) * STEP;
            let at = place * (neurons + 1);
            let (mut log, mut angle) = (-0.5 * (u * self.smoothing).powi(2), 0.0);
            for (agreeing, count) in counts {
                log += count * self.modulus[at + agreeing];
                angle += count * self.phase[at + agreeing];
            }
            if log < NOTHING {
                // Terms of two values come back on lattices; smoothed ones do not beyond the last place.
                continue;
            }
            let size = log.exp() / u * STEP / PI;
            below -= size * (angle - u * self.right).sin();
            above += size * (angle - u * self.wrong).sin();
        }
        let all = |p: f64, count: usize| if count == 0 { 0.0 } else { count as f64 * (-p.clamp(0.0, 1.0)).ln_1p() };
        (all(below, neurons - corrupted) + all(above, corrupted)).exp()
    }
}

impl Given {
    /// The prediction for a memory of so many neurons, of which so many of the probe are turned over, for up to so many
    /// patterns; overlaps are drawn from the generator.
    pub fn new(score: Score, neurons: usize, corrupted: usize, most: usize, random: &mut Generator) -> Self {
        let words = neurons.div_ceil(64);
        let mask = if neurons.is_multiple_of(64) { u64::MAX } else { (1 << (neurons % 64)) - 1 };
        let overlap = |random: &mut Generator| {
            let full: u32 = (1..words).map(|_| random.next_u64().count_ones()).sum();
            (full + (random.next_u64() & mask).count_ones()) as u16
        };
        let others = most.saturating_sub(1);
        let overlaps = (0..DRAWS).map(|_| (0..others).map(|_| overlap(random)).collect()).collect();
        Self { neurons, corrupted, overlaps, terms: Terms::new(score, neurons, corrupted) }
    }

    /// The probability that all neurons of the probed pattern are right after one step.
    pub fn recovered(&self, patterns: usize) -> f64 {
        let of_draw = |overlaps: &Vec<u16>| {
            let mut counts = vec![0.0; self.neurons + 1];
            overlaps.iter().take(patterns - 1).for_each(|m| counts[usize::from(*m)] += 1.0);
            let counts: Vec<(usize, f64)> = counts.into_iter().enumerate().filter(|(_, c)| *c > 0.0).collect();
            self.terms.all_right(&counts, self.neurons, self.corrupted)
        };
        let each: Vec<f64> = self.overlaps.par_iter().map(of_draw).collect();
        each.iter().sum::<f64>() / each.len() as f64
    }

    /// The probability that enough probed patterns of a set are recovered.
    pub fn success(&self, patterns: usize) -> f64 {
        set_success(patterns, self.recovered(patterns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::generator;
    use hattention::hopfield::{BinaryMemory, Patterns};

    /// The prediction against many draws of memories, few patterns and many, damaged and whole probes.
    #[test]
    fn predictions_agree_with_draws() {
        for (score, neurons, corrupted, patterns) in [
            (Score::Linear, 40, 0, 6),
            (Score::Linear, 64, 16, 4),
            (Score::Linear, 64, 16, 9),
            (Score::Polynomial { degree: 2 }, 64, 16, 4),
            (Score::Polynomial { degree: 2 }, 40, 4, 4),
            (Score::Polynomial { degree: 3 }, 24, 2, 10),
            (Score::Polynomial { degree: 3 }, 24, 6, 6),
            (Score::Polynomial { degree: 4 }, 16, 0, 40),
            (Score::Polynomial { degree: 4 }, 32, 8, 12),
        ] {
            let mut random = generator("test", "given", "draws", neurons + patterns);
            let draws = 3000;
            let recovered = (0..draws)
                .filter(|_| {
                    let patterns = Patterns::random(neurons, patterns, || random.next_u64()).unwrap();
                    let pattern = patterns.get(0).unwrap();
                    let mut probe = pattern.clone();
                    (0..corrupted).for_each(|i| probe.flip(i));
                    BinaryMemory::new(patterns, score).unwrap().step(&probe).unwrap() == pattern
                })
                .count();
            let found = recovered as f64 / f64::from(draws);
            let given = Given::new(score, neurons, corrupted, patterns, &mut generator("test", "given", "overlaps", 0));
            let predicted = given.recovered(patterns);
            // Four standard errors of both, at most 0.037 and 0.088; neurons given their overlaps are almost independent.
            let tolerance = 4.0 * (0.25 / f64::from(draws) + 0.25 / DRAWS as f64).sqrt();
            assert!(
                (found - predicted).abs() < tolerance,
                "{score:?} {neurons} {corrupted} {patterns}: {found} {predicted}"
            );
        }
    }

    /// Independent neurons err together far too often where few patterns are stored.
    #[test]
    fn shared_overlaps_matter_where_patterns_are_few() {
        let score = Score::Polynomial { degree: 3 };
        let given = Given::new(score, 60, 15, 9, &mut generator("test", "given", "overlaps", 1)).recovered(9);
        let alone = super::super::prediction::Prediction::new(score, 60, 15).recovered(9);
        assert!(given > alone + 0.1, "{given} {alone}");
    }
}

//! What independent noise predicts for a finite memory: where grids of K lie, and the finite-size law of the exponential
//! score. That of the others is [`super::given`], which lets a probe's neurons share the overlaps they hear.
//!
//! For one neuron of a probed pattern every other pattern adds `a G(x)`, with a fair sign `a`, `x` the sum of N − 1 fair
//! signs, and `G(x) = F(x+1) − F(x−1)`; its own pattern adds the signal `G(y)`, `y` the overlap with the other neurons.
//! The distribution of the sum of K − 1 such terms is known: a binomial one for quadratic scores, otherwise by inverting
//! its characteristic function. The approximation is that a pattern's neurons err independently, but for one cause: with
//! the exponential score a single other pattern can outweigh the probed one, and then spoils several neurons at once. Such
//! errors count as one.

use std::f64::consts::PI;

use hattention::hopfield::Score;
use statrs::distribution::{Binomial, DiscreteCDF};
use statrs::function::factorial::ln_binomial;

/// Probed patterns of a set at most, and the share of them that must be recovered.
pub const MOST_PROBES: usize = 40;
pub const SHARE: f64 = 0.95;

/// Patterns probed of so many.
pub fn probes(patterns: usize) -> usize {
    patterns.min(MOST_PROBES)
}

/// Patterns of so many probed that must be recovered.
pub fn needed(probes: usize) -> usize {
    // A share of 0.95 of 40 is 38, and not 39 by a rounding error.
    (SHARE * probes as f64 - 1e-9).ceil() as usize
}

/// Neurons that are turned over.
pub fn corrupted(neurons: usize, corruption: f64) -> usize {
    (corruption * neurons as f64).round() as usize
}

/// The probability that enough probed patterns of a set are recovered if each is with probability `p`.
pub fn set_success(patterns: usize, p: f64) -> f64 {
    let probes = probes(patterns);
    let fewer = needed(probes).saturating_sub(1) as u64;
    Binomial::new(p.clamp(0.0, 1.0), probes as u64).map_or(f64::NAN, |b| b.sf(fewer))
}

/// A memory in which one pattern of many is probed by one synchronous step.
pub struct Prediction {
    neurons: usize,
    corrupted: usize,
    score: Score,
    right: Noise,
    wrong: Noise,
    outweighing: Outweighing,
}

impl Prediction {
    /// The prediction for a memory of so many neurons, of which so many of the probe are turned over.
    pub fn new(score: Score, neurons: usize, corrupted: usize) -> Self {
        let overlap = neurons as f64 - 2.0 * corrupted as f64;
        let noise = |y: f64| Noise::new(score, neurons, y);
        let outweighing = Outweighing::new(score, neurons, corrupted);
        Self { neurons, corrupted, score, right: noise(overlap - 1.0), wrong: noise(overlap + 1.0), outweighing }
    }

    /// The probability that all neurons of the probed pattern are right after one step.
    pub fn recovered(&self, patterns: usize) -> f64 {
        let own = if self.score == Score::Linear { patterns as f64 } else { 0.0 };
        let right = self.right.error(patterns, own, false);
        let wrong = if self.corrupted == 0 { 0.0 } else { self.wrong.error(patterns, -own, true) };
        let log = |p: f64, count: usize| if count == 0 { 0.0 } else { count as f64 * (-p.clamp(0.0, 1.0)).ln_1p() };
        let errors = -log(right, self.neurons - self.corrupted) - log(wrong, self.corrupted);
        let others = (patterns - 1) as f64;
        let spoiled = (others * self.outweighing.neurons).min(errors);
        let causes = if spoiled > 0.0 { spoiled * self.outweighing.patterns / self.outweighing.neurons } else { 0.0 };
        (-(causes + errors - spoiled)).exp()
    }

    /// The probability that enough probed patterns of a set are recovered.
    pub fn success(&self, patterns: usize) -> f64 {
        set_success(patterns, self.recovered(patterns))
    }

    /// The capacity: the number of patterns at which half of the sets succeed, interpolated in its logarithm.
    pub fn capacity(&self) -> f64 {
        let (mut low, mut high) = (1usize, 2usize);
        while self.success(high) > 0.5 && high < 1 << 40 {
            (low, high) = (high, high * 2);
        }
        while high - low > 1 && high as f64 / low as f64 > 1.0001 {
            let middle = low + (high - low) / 2;
            if self.success(middle) > 0.5 { low = middle } else { high = middle }
        }
        let (above, below) = (self.success(low), self.success(high));
        let part = if above > below { ((above - 0.5) / (above - below)).clamp(0.0, 1.0) } else { 0.5 };
        ((low as f64).ln() * (1.0 - part) + (high as f64).ln() * part).exp()
    }
}

/// What one other pattern does alone: the expected neurons it spoils, and the probability that it spoils any.
struct Outweighing {
    neurons: f64,
    patterns: f64,
}

impl Outweighing {
    /// A pattern whose overlap with the probe is the probed pattern's own, `N − 2r`, spoils the right neurons on which it
    /// differs, above also the wrong ones on which it agrees; one step below it ties, and the rest decides each neuron by
    /// a fair coin.
    fn new(score: Score, neurons: usize, corrupted: usize) -> Self {
        let mut found = Self { neurons: 0.0, patterns: 0.0 };
        if score != Score::Exponential {
            return found;
        }
        let (n, r) = (neurons as f64, corrupted as f64);
        // By the neurons on which it differs from the probe: r or fewer, r + 1 for a tie.
        for differing in 0..=(corrupted + 1).min(neurons) {
            let probability = (ln_binomial(neurons as u64, differing as u64) - n * std::f64::consts::LN_2).exp();
            let h = differing as f64;
            let right = h * (n - r) / n;
            let agreeing = r * (n - h) / n;
            let wrong = match corrupted.checked_sub(differing + 1) {
                Some(0) => agreeing / 2.0,
                Some(_) => agreeing,
                None => 0.0,
            };
            if differing > corrupted {
                found.neurons += probability * right / 2.0;
                found.patterns += probability * (1.0 - 0.5f64.powf(right));
            } else if right + wrong > 0.0 {
                found.neurons += probability * (right + wrong);
                found.patterns += probability;
            }
        }
        found
    }
}

/// The noise of one neuron over its signal.
enum Noise {
    /// Sums of `(K−1)(N−1)` fair signs against a signal.
    Quadratic { neurons: usize, signal: f64 },
    /// `1 − φ(u)` of one term over the signal, at the places of the grid.
    Inverted { decay: Vec<f64> },
}

/// Places of the inversion: the period `2π/STEP` is 64 signals.
const STEP: f64 = PI / 32.0;
const PLACES: usize = 10_000;
/// Noise is smoothed by this share of the signal: ties count half.
const SMOOTHING: f64 = 0.01;
/// A term of more signals decides alone: it counts as this many.
const LARGEST_TERM: f64 = 8.0;

impl Noise {
    fn new(score: Score, neurons: usize, y: f64) -> Self {
        let power = match score {
            Score::Linear | Score::Polynomial { degree: 2 } => return Self::Quadratic { neurons, signal: y },
            Score::Polynomial { degree } => Some(degree as i32),
            Score::Exponential => None,
        };
        // For the exponential score over e^y: G(x)/G(y) = e^(x−y).
        let over_signal = |x: f64| match power {
            Some(n) => ((x + 1.0).powi(n) - (x - 1.0).powi(n)) / ((y + 1.0).powi(n) - (y - 1.0).powi(n)),
            None => (x - y).exp(),
        };
        let others = neurons as u64 - 1;
        let terms: Vec<(f64, f64)> = (0..=others)
            .map(|k| {
                let probability = (ln_binomial(others, k) - others as f64 * std::f64::consts::LN_2).exp();
                (probability, over_signal(2.0 * k as f64 - others as f64).clamp(-LARGEST_TERM, LARGEST_TERM))
            })
            .collect();
        // 1 − cos z = 2 sin²(z/2) keeps the digits of small terms.
        let lost = |u: f64| terms.iter().map(|(p, g)| 2.0 * p * (0.5 * u * g).sin().powi(2)).sum();
        Self::Inverted { decay: (0..PLACES).map(|i| lost((i as f64 + 0.5) * STEP)).collect() }
    }

    /// The probability that signal, noise and the neuron's own weight together point the wrong way; a tie leaves a
    /// neuron as it is, which is an error where it `was_wrong`.
    fn error(&self, patterns: usize, own: f64, was_wrong: bool) -> f64 {
        let others = patterns - 1;
        match self {
            Self::Quadratic { neurons, signal } => {
                let signs = others * (neurons - 1);
                let limit = -(signal + own);
                if signs == 0 {
                    return f64::from(0.0 < limit || (was_wrong && 0.0 == limit));
                }
                // Noise 2B − T < limit, or ≤ for what was wrong.
                let most = (limit + signs as f64) / 2.0;
                let most = if was_wrong { most.floor() } else { most.ceil() - 1.0 };
                match Binomial::new(0.5, signs as u64) {
                    Ok(binomial) if most >= 0.0 => binomial.cdf((most as u64).min(signs as u64)),
                    _ => 0.0,
                }
            }
            Self::Inverted { decay } => {
                // P(S < −1) = 1/2 − (1/π) ∫ sin(u)/u φ(u)^(K−1) du, at the middles of steps.
                let mut integral = 0.0;
                for (i, lost) in decay.iter().enumerate() {
                    let u = (i as f64 + 0.5) * STEP;
                    let factor = 1.0 - lost;
                    let sign = if factor < 0.0 && others % 2 == 1 { -1.0 } else { 1.0 };
                    let log = if *lost < 0.5 { (-lost).ln_1p() } else { factor.abs().ln() };
                    let size = (others as f64 * log - 0.5 * (u * SMOOTHING).powi(2)).exp();
                    integral += sign * size * u.sin() / u;
                }
                (0.5 - integral * STEP / PI).clamp(0.0, 1.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::generator;
    use hattention::hopfield::{BinaryMemory, Patterns};
    use rand::Rng;

    #[test]
    fn shares_of_probes() {
        assert_eq!([1, 3, 19, 20, 40].map(needed), [1, 3, 19, 19, 38]);
        assert_eq!([corrupted(12, 0.1), corrupted(12, 0.25), corrupted(64, 0.0)], [1, 3, 0]);
    }

    /// Two ways to the same number: inversion, and the binomial distribution (smoothing moves it a little).
    #[test]
    fn inversion_agrees_with_the_binomial_distribution() {
        let (neurons, patterns) = (101, 9);
        let exact = Noise::Quadratic { neurons, signal: 100.0 };
        let terms = |u: f64| 1.0 - (u / 100.0).cos().powi(100);
        let inverted = Noise::Inverted { decay: (0..PLACES).map(|i| terms((i as f64 + 0.5) * STEP)).collect() };
        let below = exact.error(patterns, 0.0, false);
        let at_most = exact.error(patterns, 0.0, true);
        let found = inverted.error(patterns, 0.0, false);
        // Ties count half; smoothing by 1 % of the signal adds a variance of (1/28)² of the noise's.
        let middle = 0.5 * (below + at_most);
        assert!((found / middle - 1.0).abs() < 0.03, "{found} {middle}");
    }

    /// The prediction for small memories against many draws.
    #[test]
    fn predictions_agree_with_draws() {
        for (score, neurons, corrupted, patterns) in [
            (Score::Linear, 40, 0, 6),
            (Score::Polynomial { degree: 2 }, 40, 4, 4),
            (Score::Polynomial { degree: 3 }, 24, 2, 10),
            (Score::Polynomial { degree: 4 }, 16, 0, 40),
            (Score::Exponential, 14, 0, 150),
            (Score::Exponential, 20, 2, 150),
            (Score::Exponential, 32, 8, 40),
        ] {
            let mut random = generator("test", "prediction", "draws", neurons);
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
            let (found, predicted) =
                (recovered as f64 / f64::from(draws), Prediction::new(score, neurons, corrupted).recovered(patterns));
            // Four standard errors of the draws, and 0.05 for neurons that do not err independently.
            let tolerance = 4.0 * (0.25 / f64::from(draws)).sqrt() + 0.05;
            assert!((found - predicted).abs() < tolerance, "{score:?} {neurons}: {found} {predicted}");
        }
    }

    #[test]
    fn capacities_grow_as_they_should() {
        let capacity = |degree, neurons| Prediction::new(Score::Polynomial { degree }, neurons, 0).capacity();
        assert!(capacity(2, 200) > capacity(2, 100) && capacity(3, 50) > 3.0 * capacity(2, 50));
        // Far out the prediction must approach the published law of one pattern: N/(2 ln N), within a third at 20,000.
        let large = capacity(2, 20_000) / (20_000.0 / (2.0 * 20_000f64.ln()));
        assert!((0.6..1.1).contains(&large), "{large}");
    }
}

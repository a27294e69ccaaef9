//! The ensemble of one query.

use crate::error::Error;
use crate::exponential::{Machine, Work, dispatch, exp};

/// Keys that are looked at together.
pub(super) const CHUNK: usize = 504;
/// Chains of a sum, whatever the width of the vectors.
const LANES: usize = 8;
/// Energies beyond it, in temperatures above the least, weigh nothing.
const FAR: f64 = 708.0;

/// The canonical ensemble of one query: its energies are pushed in pieces, and only sums are kept.
///
/// # Formula
/// With `x = (E − E_min)/T`: `Z' = Σ e^(−x)`, the mean of x under p and the sum of squares about it, and `Σ e^(−2x)`. Entropy is
/// `ln Z' + x̄`, a sum of two positive numbers: nothing cancels where one key has nearly all weight.
///
/// # Equals
/// `-scipy.special.logsumexp(-E/T)*T` is the free energy, `scipy.stats.entropy(softmax(-E/T))` the entropy.
///
/// # Example
/// ```
/// use hattention::thermodynamics::Ensemble;
/// let found = Ensemble::of(&[0.0, 1.0, 2.0], 1.0).unwrap().observables().unwrap();
/// assert!((found.free_energy - (found.internal_energy - found.entropy)).abs() < 1e-15);
/// let at = |t: f64| Ensemble::of(&[0.0, 1.0, 2.0], t).unwrap().observables().unwrap().internal_energy;
/// assert!(((at(1.001) - at(0.999)) / 0.002 - found.heat_capacity).abs() < 1e-6);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ensemble {
    temperature: f64,
    keys: u64,
    least: f64,
    /// `Z' − 1`: all keys but one that has the least energy.
    rest: f64,
    mean: f64,
    squares: f64,
    /// `Σ e^(−2x) − 1`.
    collisions: f64,
}

/// What an ensemble says. Energies are in the units of the scores.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observables {
    /// Keys that can be read.
    pub keys: f64,
    /// `ln Z`.
    pub log_partition: f64,
    /// `U = Σ p E`.
    pub internal_energy: f64,
    /// `S = −Σ p ln p`, in nats.
    pub entropy: f64,
    /// `F = −T ln Z`.
    pub free_energy: f64,
    /// `C = Var_p(E)/T²`, the varentropy.
    pub heat_capacity: f64,
    /// `e^S`, from one to the number of keys.
    pub effective_keys: f64,
    /// `1/Σ p²`, at most `e^S`.
    pub participation: f64,
}

impl Observables {
    /// The numbers in the order of their fields.
    pub fn values(&self) -> [f64; 8] {
        [
            self.keys,
            self.log_partition,
            self.internal_energy,
            self.entropy,
            self.free_energy,
            self.heat_capacity,
            self.effective_keys,
            self.participation,
        ]
    }

    /// Of numbers in the order of the fields.
    pub fn of_values(values: [f64; 8]) -> Self {
        let [keys, log_partition, internal_energy, entropy, free_energy, heat_capacity, effective_keys, participation] =
            values;
        Self {
            keys,
            log_partition,
            internal_energy,
            entropy,
            free_energy,
            heat_capacity,
            effective_keys,
            participation,
        }
    }

    /// Means over the queries that read a key; nothing, if none does.
    pub fn mean(queries: &[Option<Self>]) -> Option<Self> {
        let count = queries.iter().flatten().count();
        let mut sums = [0.0; 8];
        for observables in queries.iter().flatten() {
            sums.iter_mut().zip(observables.values()).for_each(|(sum, x)| *sum += x);
        }
        (count > 0).then(|| Self::of_values(sums.map(|sum| sum / count as f64)))
    }

    /// Words for the numbers, in the order of the fields.
    pub const NAMES: [&'static str; 8] = [
        "keys",
        "log_partition",
        "internal_energy",
        "entropy",
        "free_energy",
        "heat_capacity",
        "effective_keys",
        "participation",
    ];
}

impl Ensemble {
    /// No keys yet.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a temperature that is not positive and finite.
    pub fn new(temperature: f64) -> Result<Self, Error> {
        check(temperature)?;
        Ok(Self::at(temperature))
    }

    /// The ensemble of energies. One of `+∞` is of a key that is not read (a mask).
    ///
    /// # Errors
    /// As [`Ensemble::new`] and [`Ensemble::push`].
    pub fn of(energies: &[f64], temperature: f64) -> Result<Self, Error> {
        let mut ensemble = Self::new(temperature)?;
        ensemble.push(energies)?;
        Ok(ensemble)
    }

    /// The same for a temperature that has been checked.
    pub(super) fn at(temperature: f64) -> Self {
        let least = f64::INFINITY;
        Self { temperature, keys: 0, least, rest: 0.0, mean: 0.0, squares: 0.0, collisions: 0.0 }
    }

    /// More keys, by their energies.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for NaN or `−∞`; nothing is pushed then.
    pub fn push(&mut self, energies: &[f64]) -> Result<(), Error> {
        let wrong = energies.iter().position(|e| e.is_nan() || *e == f64::NEG_INFINITY);
        if let Some(row) = wrong {
            return Err(Error::NonFinite { row, column: 0, value: energies[row] });
        }
        energies.chunks(CHUNK).for_each(|chunk| self.push_checked(chunk));
        Ok(())
    }

    /// At most a chunk of energies that have been checked.
    pub(super) fn push_checked(&mut self, energies: &[f64]) {
        // (Few keys need little room.)
        match energies.len() {
            0..=8 => self.push_piece::<8>(energies),
            9..=64 => self.push_piece::<64>(energies),
            _ => self.push_piece::<CHUNK>(energies),
        }
    }

    fn push_piece<const ROOM: usize>(&mut self, energies: &[f64]) {
        let mut held = [f64::INFINITY; ROOM];
        let mut count = 0;
        for energy in energies.iter().filter(|e| **e < f64::INFINITY) {
            held[count] = *energy;
            count += 1;
        }
        if count == 0 {
            return;
        }
        let (at, least) = held[..count]
            .iter()
            .enumerate()
            .fold((0, f64::INFINITY), |(at, least), (i, e)| if *e < least { (i, *e) } else { (at, least) });
        let mut sums = Sums::default();
        let padded = count.next_multiple_of(LANES);
        let (x, weights) = (&mut held[..padded], &mut [0.0; ROOM][..padded]);
        dispatch(Chunk { x, weights, at, least, temperature: self.temperature, sums: &mut sums });
        let Sums { rest, mean, squares, collisions } = sums;
        let keys = count as u64;
        *self = self.merged(&Self { temperature: self.temperature, keys, least, rest, mean, squares, collisions });
    }

    /// Both ensembles as one: that of all keys.
    ///
    /// # Errors
    /// [`Error::IncompatibleStates`] for other temperatures.
    pub fn merge(&self, other: &Self) -> Result<Self, Error> {
        if self.temperature != other.temperature {
            let of = |ensemble: &Self| format!("temperature {}", ensemble.temperature);
            return Err(Error::IncompatibleStates { left: of(self), right: of(other) });
        }
        Ok(self.merged(other))
    }

    fn merged(&self, other: &Self) -> Self {
        let (low, high) = if other.least < self.least { (other, self) } else { (self, other) };
        if high.keys == 0 {
            return *low;
        }
        let apart = (high.least - low.least) / self.temperature;
        let factor = libm::exp(-apart);
        let (a, b) = (1.0 + low.rest, factor * (1.0 + high.rest));
        let share = b / (a + b);
        // (Where the factor is nothing, so is all that is multiplied by it.)
        let apart = if share > 0.0 { apart + high.mean - low.mean } else { 0.0 };
        Self {
            temperature: self.temperature,
            keys: low.keys + high.keys,
            least: low.least,
            rest: low.rest + b,
            mean: low.mean + share * apart,
            squares: low.squares + factor * high.squares + a * share * apart * apart,
            collisions: low.collisions + factor * factor * (1.0 + high.collisions),
        }
    }

    /// The temperature.
    pub fn temperature(&self) -> f64 {
        self.temperature
    }

    /// Keys that can be read.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// What the ensemble says; nothing, if no key can be read.
    pub fn observables(&self) -> Option<Observables> {
        if self.keys == 0 {
            return None;
        }
        let (t, weight) = (self.temperature, 1.0 + self.rest);
        let log_weight = libm::log1p(self.rest);
        let entropy = log_weight + self.mean;
        Some(Observables {
            keys: self.keys as f64,
            log_partition: log_weight - self.least / t,
            internal_energy: self.least + t * self.mean,
            entropy,
            free_energy: self.least - t * log_weight,
            heat_capacity: self.squares / weight,
            effective_keys: libm::exp(entropy),
            participation: weight * weight / (1.0 + self.collisions),
        })
    }
}

/// Refuses temperatures that are none.
pub(super) fn check(temperature: f64) -> Result<(), Error> {
    if temperature > 0.0 && temperature.is_finite() {
        return Ok(());
    }
    let (name, allowed) = ("the temperature", "positive and finite");
    Err(Error::Parameter { name, got: temperature.to_string(), allowed })
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    rest: f64,
    mean: f64,
    squares: f64,
    collisions: f64,
}

/// The sums of some energies: two looks at what lies in the cache.
struct Chunk<'a> {
    /// Energies, padded by infinite ones to whole chains.
    x: &'a mut [f64],
    /// Room for as many weights.
    weights: &'a mut [f64],
    /// The place of the least.
    at: usize,
    least: f64,
    temperature: f64,
    sums: &'a mut Sums,
}

impl Work for Chunk<'_> {
    #[inline(always)]
    fn on<S: Machine>(self, simd: S) {
        let weights = self.weights;
        let (least, t, far) = (simd.splat_f64s(self.least), simd.splat_f64s(self.temperature), simd.splat_f64s(FAR));
        let zero = simd.splat_f64s(0.0);
        for (x, weight) in S::as_mut_simd_f64s(self.x).0.iter_mut().zip(S::as_mut_simd_f64s(weights).0) {
            let above = simd.div_f64s(simd.sub_f64s(*x, least), t);
            let near = simd.less_than_f64s(above, far);
            *x = simd.select_f64s(near, above, zero);
            *weight = simd.select_f64s(near, exp(simd, simd.sub_f64s(zero, *x)), zero);
        }
        // (The key with the least energy weighs one, and is left out of what is small beside it.)
        weights[self.at] = 0.0;
        let [rest, weighted, collisions] = moments(simd, self.x, weights);
        let mean = weighted / (1.0 + rest);
        weights[self.at] = 1.0;
        let squares = squares_about(simd, mean, self.x, weights);
        *self.sums = Sums { rest, mean, squares, collisions };
    }
}

/// `Σ w`, `Σ w x` and `Σ w²`, in eight chains.
#[inline(always)]
fn moments<S: Machine>(simd: S, x: &[f64], weights: &[f64]) -> [f64; 3] {
    let parts = LANES / S::F64_LANES;
    let (x, weights) = (S::as_simd_f64s(x).0, S::as_simd_f64s(weights).0);
    let mut lanes = [[0.0; LANES]; 3];
    for part in 0..parts {
        let zero = simd.splat_f64s(0.0);
        let (mut rest, mut weighted, mut collisions) = (zero, zero, zero);
        let mut at = part;
        while at < x.len() {
            rest = simd.add_f64s(rest, weights[at]);
            weighted = simd.mul_add_f64s(weights[at], x[at], weighted);
            collisions = simd.mul_add_f64s(weights[at], weights[at], collisions);
            at += parts;
        }
        for (lanes, sum) in lanes.iter_mut().zip([rest, weighted, collisions]) {
            S::as_mut_simd_f64s(lanes).0[part] = sum;
        }
    }
    lanes.map(|lanes| lanes.iter().sum())
}

/// `Σ w (x − mean)²`, in eight chains.
#[inline(always)]
fn squares_about<S: Machine>(simd: S, mean: f64, x: &[f64], weights: &[f64]) -> f64 {
    let parts = LANES / S::F64_LANES;
    let (x, weights, mean) = (S::as_simd_f64s(x).0, S::as_simd_f64s(weights).0, simd.splat_f64s(mean));
    let mut lanes = [0.0; LANES];
    for part in 0..parts {
        let mut sum = simd.splat_f64s(0.0);
        let mut at = part;
        while at < x.len() {
            let off = simd.sub_f64s(x[at], mean);
            sum = simd.mul_add_f64s(simd.mul_f64s(weights[at], off), off, sum);
            at += parts;
        }
        S::as_mut_simd_f64s(&mut lanes).0[part] = sum;
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention_regression::noise::wave;

    /// `U`, `S`, `C` and `1/Σp²` by weights, one by one.
    fn plain(energies: &[f64], t: f64) -> [f64; 4] {
        let least = energies.iter().copied().fold(f64::INFINITY, f64::min);
        let weights: Vec<f64> = energies.iter().map(|e| ((least - e) / t).exp()).collect();
        let z: f64 = weights.iter().sum();
        let p: Vec<f64> = weights.iter().map(|w| w / z).collect();
        let mean = |of: &dyn Fn(usize) -> f64| p.iter().enumerate().map(|(i, p)| p * of(i)).sum::<f64>();
        let u = mean(&|i| energies[i]);
        let s = -mean(&|i| if p[i] > 0.0 { p[i].ln() } else { 0.0 });
        let c = mean(&|i| if p[i] > 0.0 { (p[i].ln() + s).powi(2) } else { 0.0 });
        [u, s, c, 1.0 / mean(&|i| p[i])]
    }

    #[test]
    fn pieces_and_merges_say_what_weights_one_by_one_do() {
        let energies: Vec<f64> = wave(1700, 3.0).iter().map(|x| 9.0 * x - 2.0).collect();
        for t in [0.05, 1.0, 30.0] {
            let whole = Ensemble::of(&energies, t).unwrap();
            let parts = energies.chunks(333).map(|part| Ensemble::of(part, t).unwrap());
            let merged = parts.reduce(|a, b| b.merge(&a).unwrap()).unwrap();
            let expected = plain(&energies, t);
            for found in [whole, merged] {
                let o = found.observables().unwrap();
                let found = [o.internal_energy, o.entropy, o.heat_capacity, o.participation];
                for (found, expected) in found.iter().zip(&expected) {
                    assert!((found - expected).abs() <= 1e-12 * (1.0 + expected.abs()), "{t}: {found} {expected}");
                }
                assert_eq!(o.keys, 1700.0);
            }
        }
    }

    #[test]
    fn nearly_all_weight_on_one_key_loses_no_digits() {
        let o = Ensemble::of(&[0.0, 60.0], 1.0).unwrap().observables().unwrap();
        // p = e^−60 of the other key: S = p (1 + 60), C = 3600 p, and terms of p².
        let p = (-60.0f64).exp();
        assert!((o.entropy / (61.0 * p) - 1.0).abs() < 1e-14);
        assert!((o.heat_capacity / (3600.0 * p) - 1.0).abs() < 1e-14);
        let o = Ensemble::of(&[5.0, 1e6, f64::INFINITY, 1e300], 1.0).unwrap().observables().unwrap();
        assert_eq!((o.keys, o.internal_energy, o.heat_capacity), (3.0, 5.0, 0.0));
    }

    #[test]
    fn what_is_no_energy_is_refused() {
        let mut ensemble = Ensemble::new(2.0).unwrap();
        assert!(ensemble.observables().is_none());
        assert!(ensemble.push(&[0.0, f64::NAN]).is_err() && ensemble.push(&[f64::NEG_INFINITY]).is_err());
        ensemble.push(&[f64::INFINITY; 3]).unwrap();
        assert_eq!(ensemble.keys(), 0);
        assert!(Ensemble::new(0.0).is_err() && Ensemble::new(f64::INFINITY).is_err());
        assert!(ensemble.merge(&Ensemble::new(1.0).unwrap()).is_err());
    }
}

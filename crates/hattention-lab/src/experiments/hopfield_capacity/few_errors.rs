//! Hopfield's network with a few errors: which patterns are still there when a network that started at them has settled.

use hattention::hopfield::Patterns;
use rand::Rng;
use rayon::prelude::*;

use crate::error::Error;
use crate::experiment::{Context, Unit};
use crate::rows::Row;

/// Patterns followed in each set.
const FOLLOWED: usize = 8;
/// A state with at least this overlap, over N, is still the pattern with a few errors; one below the second has left it for
/// good: beyond the transition overlaps fall to about 0.35.
const STILL: f64 = 0.9;
const LEFT: f64 = 0.6;

/// One unit: a number of neurons at several loads, a row for each set of patterns.
pub fn few_errors(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let neurons = unit.count("N")?;
    let sets = context.plan.seeds * unit.count("sets a seed")?;
    let loads: Vec<f64> =
        unit.parameters["loads"].as_array().into_iter().flatten().filter_map(|l| l.as_f64()).collect();
    let mut rows = Vec::new();
    for (i, load) in loads.iter().enumerate() {
        let count = (load * neurons as f64).round() as usize;
        let purpose = format!("patterns-{count}");
        let of_set = |set: usize| {
            let mut random = context.generator(&purpose, set);
            let network = Network::of(&Patterns::random(neurons, count, || random.next_u64())?);
            let overlaps: Vec<f64> = (0..FOLLOWED.min(count)).map(|k| network.settled(k)).collect();
            let still: Vec<f64> = overlaps.iter().copied().filter(|m| *m >= STILL).collect();
            let row = Row::new().label("measure", "few errors").label("N", neurons).label("K", count).label("set", set);
            let row = row.value("followed", overlaps.len() as f64).value("still there", still.len() as f64);
            Ok(row.value("sum of their overlaps", still.iter().sum()))
        };
        rows.extend((0..sets).into_par_iter().map(of_set).collect::<Result<Vec<Row>, Error>>()?);
        context.progress((i + 1) as f64 / loads.len() as f64);
    }
    Ok(rows)
}

/// Hopfield's network by its neurons: a flip costs one row of weights, which `BinaryMemory`, made for any score, computes
/// anew from all overlaps.
struct Network {
    neurons: usize,
    count: usize,
    /// Signs of each neuron over patterns, as bits. Shape: `[neurons][words]`.
    bits: Vec<u64>,
    words: usize,
}

impl Network {
    fn of(patterns: &Patterns) -> Self {
        let (neurons, count) = (patterns.neurons(), patterns.count());
        let words = count.div_ceil(64);
        let mut bits = vec![0; neurons * words];
        for (k, pattern) in (0..count).filter_map(|k| Some((k, patterns.get(k)?))) {
            let signs = pattern.signs();
            let set = signs.iter().enumerate().filter(|(_, sign)| **sign > 0);
            set.for_each(|(i, _)| bits[i * words + k / 64] |= 1 << (k % 64));
        }
        Self { neurons, count, bits, words }
    }

    fn row(&self, neuron: usize) -> &[u64] {
        &self.bits[neuron * self.words..(neuron + 1) * self.words]
    }

    fn sign(&self, neuron: usize, pattern: usize) -> i64 {
        if self.row(neuron)[pattern / 64] >> (pattern % 64) & 1 == 1 { 1 } else { -1 }
    }

    /// `Σ_j w_ij s_j` without the neuron's own weight, at a pattern.
    fn fields(&self, state: &[i64]) -> Vec<i64> {
        let mut overlaps = vec![0i64; self.count];
        for (i, s) in state.iter().enumerate() {
            overlaps.iter_mut().enumerate().for_each(|(k, m)| *m += s * self.sign(i, k));
        }
        let field = |i: usize| {
            let sum: i64 = overlaps.iter().enumerate().map(|(k, m)| m * self.sign(i, k)).sum();
            sum - self.count as i64 * state[i]
        };
        (0..self.neurons).map(field).collect()
    }

    /// The overlap, over N, with the pattern it started at, where asynchronous recall in the order of neurons comes to rest,
    /// or where it has left the pattern.
    fn settled(&self, pattern: usize) -> f64 {
        let mut state: Vec<i64> = (0..self.neurons).map(|i| self.sign(i, pattern)).collect();
        let mut fields = self.fields(&state);
        let (mut wrong, mut quiet, mut next) = (0, 0, 0);
        let overlap = |wrong: usize| 1.0 - 2.0 * wrong as f64 / self.neurons as f64;
        while quiet < self.neurons && overlap(wrong) >= LEFT {
            if state[next] * fields[next] < 0 {
                let was_right = state[next] == self.sign(next, pattern);
                wrong = if was_right { wrong + 1 } else { wrong - 1 };
                state[next] = -state[next];
                self.turned(next, state[next], &mut fields);
                quiet = 0;
            } else {
                quiet += 1;
            }
            next = (next + 1) % self.neurons;
        }
        overlap(wrong)
    }

    /// Fields after a neuron has turned to a sign: `w_ij = K − 2 · (patterns on which i and j differ)`.
    fn turned(&self, neuron: usize, sign: i64, fields: &mut [i64]) {
        let own = self.row(neuron);
        for (field, row) in fields.iter_mut().zip(self.bits.chunks_exact(self.words)) {
            let differing: u32 = row.iter().zip(own).map(|(a, b)| (a ^ b).count_ones()).sum();
            *field += 2 * sign * (self.count as i64 - 2 * i64::from(differing));
        }
        // Not from itself.
        fields[neuron] -= 2 * sign * self.count as i64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::generator;
    use hattention::hopfield::{BinaryMemory, Score};

    /// The network is the library's memory of degree 2, at loads where patterns stay and where they leave.
    #[test]
    fn the_network_settles_where_the_memory_does() {
        let (mut still, mut left) = (0, 0);
        for (neurons, count, seed) in [(90, 10, 0), (130, 21, 1), (200, 44, 2), (64, 16, 3), (65, 13, 4)] {
            let mut random = generator("test", "few errors", "patterns", seed);
            let patterns = Patterns::random(neurons, count, || random.next_u64()).unwrap();
            let network = Network::of(&patterns);
            let memory = BinaryMemory::new(patterns.clone(), Score::Polynomial { degree: 2 }).unwrap();
            for k in 0..count {
                let pattern = patterns.get(k).unwrap();
                let rest = memory.settle(&pattern, 100 * neurons).unwrap().state;
                let expected = rest.overlap(&pattern).unwrap() as f64 / neurons as f64;
                let found = network.settled(k);
                if found >= LEFT {
                    // One rounding of 1 − 2w/N and of (N − 2w)/N each.
                    assert!(
                        (found - expected).abs() <= 2.0 * f64::EPSILON,
                        "{neurons} {count} {k}: {found} {expected}"
                    );
                    still += usize::from(found >= STILL);
                } else {
                    assert!(expected < STILL, "{neurons} {count} {k}: it came back to {expected}");
                    left += 1;
                }
            }
        }
        assert!(still > 10 && left > 10, "{still} {left}");
    }
}

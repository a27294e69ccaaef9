//! One head: the keys of a metric, what every row reads from the others, and the slope of a loss by the metric.

use std::ops::Range;

use rayon::prelude::*;

use super::exponential::dispatch;
use super::gradient::{Backward, Derivatives, Passed};
use super::pairs::{Forward, Given, Got, HELD, Keys};
use crate::interrupt::checked;

/// What a head's weights are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// Negative half squared distances `−½ (x_i − x_j)ᵀ Ω (x_i − x_j)`: the kernel regression of a learned metric.
    Distance,
    /// Inner products `x_iᵀ Ω x_j`, as in transformers: they favour rows far from the centre.
    Dot,
}

/// Which rows a training row reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// All others.
    Others,
    /// All, itself included.
    All,
    /// Those before it.
    Before,
}

/// Pieces of the pairs that are summed apart: so many that threads have enough to do, whatever their number.
const BANDS: usize = 32;
/// A sum of kernels below which the others are too far away for doubles.
const LEAST: f64 = 1e-250;

/// Standardised inputs, columns side by side, padded to whole lanes.
#[derive(Clone, Debug)]
pub(super) struct Inputs {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) padded: usize,
    pub(super) data: Vec<f64>,
}

impl Inputs {
    pub(super) fn of(rows: usize, columns: &[Vec<f64>]) -> Self {
        let keys = Keys::of(rows, columns);
        Self { rows, columns: columns.len(), padded: keys.padded, data: keys.data }
    }

    pub(super) fn column(&self, column: usize) -> &[f64] {
        &self.data[column * self.padded..][..self.rows]
    }

    /// Keys `Lᵀx`; `factor[p][c]`, lower triangular.
    pub(super) fn keys(&self, factor: &[Vec<f64>]) -> Keys {
        let columns: Vec<Vec<f64>> = (0..self.columns)
            .map(|c| {
                let mut key = vec![0.0; self.rows];
                for p in c..self.columns {
                    key.iter_mut().zip(self.column(p)).for_each(|(k, x)| *k += factor[p][c] * x);
                }
                key
            })
            .collect();
        Keys::of(self.rows, &columns)
    }
}

/// What a head read.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) keys: Keys,
    weights: Vec<f64>,
    weighted: Vec<f64>,
    /// `Σ_j G_ij w_j`.
    sums: Vec<f64>,
    /// What row `i` read: `z_i = Σ_j G_ij w_j y_j / Σ_j G_ij w_j`; the mean where there is nothing to read.
    pub(super) values: Vec<f64>,
    /// Rows whose others are too far away for doubles: they read the nearest alone, and tell nothing of the metric.
    pub(super) isolated: usize,
}

/// Bands of groups of four rows with about as many pairs.
fn bands(rows: usize) -> Vec<Range<usize>> {
    let groups = rows.div_ceil(HELD);
    let count = BANDS.min(groups.div_ceil(4)).max(1);
    let edge = |band: usize| (groups as f64 * (band as f64 / count as f64).sqrt()).round() as usize;
    (0..count).map(|band| edge(band)..edge(band + 1)).collect()
}

/// What every row reads from the others.
pub(super) fn read(inputs: &Inputs, factor: &[Vec<f64>], targets: &[f64], score: Score, mask: Mask) -> Read {
    let keys = inputs.keys(factor);
    let weights = match score {
        Score::Distance => vec![1.0; inputs.rows],
        Score::Dot => priors(&keys),
    };
    let pad = |mut values: Vec<f64>| {
        values.resize(keys.padded, 0.0);
        values
    };
    let weighted = pad(weights.iter().zip(targets).map(|(w, y)| w * y).collect());
    let weights = pad(weights);
    let given = Given { weights: &weights, weighted: &weighted };
    let both = mask != Mask::Before;
    let of_band = |band: Range<usize>| {
        let mut got = Got::zeros(keys.padded);
        for group in band {
            dispatch(Forward { keys: &keys, given, first: HELD * group, both, got: &mut got });
        }
        got
    };
    let parts: Vec<Got> = bands(inputs.rows).into_par_iter().map(checked(of_band)).collect();
    let mut got = Got::zeros(keys.padded);
    parts.iter().for_each(|part| got.add(part));
    if mask == Mask::All {
        got.add(&Got { weights: weights.clone(), weighted: weighted.clone() });
    }
    let mut isolated = 0;
    let values = (0..inputs.rows)
        .map(|i| {
            if got.weights[i] > LEAST {
                return got.weighted[i] / got.weights[i];
            }
            isolated += 1;
            nearest(&keys, i, mask).map_or(0.0, |j| targets[j])
        })
        .collect();
    Read { keys, weights, weighted, sums: got.weights, values, isolated }
}

/// `exp(½ ‖k‖²)`, relative to the largest.
fn priors(keys: &Keys) -> Vec<f64> {
    let halves = &keys.half_norms[..keys.rows];
    let largest = halves.iter().fold(0.0f64, |most, half| most.max(-half));
    halves.iter().map(|half| libm::exp(-half - largest)).collect()
}

/// The row that row `i` may read whose key is nearest.
fn nearest(keys: &Keys, i: usize, mask: Mask) -> Option<usize> {
    let end = if mask == Mask::Before { i } else { keys.rows };
    let distance = |j: usize| (0..keys.columns).map(|c| (keys.column(c)[i] - keys.column(c)[j]).powi(2)).sum::<f64>();
    (0..end).filter(|j| *j != i).min_by(|a, b| distance(*a).total_cmp(&distance(*b)))
}

/// The slope of a loss by the factor of the metric, of its slopes by what the rows read.
pub(super) fn slope(
    inputs: &Inputs,
    factor: &[Vec<f64>],
    read: &Read,
    slopes: &[f64],
    score: Score,
    mask: Mask,
) -> Vec<Vec<f64>> {
    let (keys, width) = (&read.keys, inputs.columns);
    let passed = |i: usize| if read.sums[i] > LEAST { slopes[i] / read.sums[i] } else { 0.0 };
    let mut own: Vec<f64> = (0..inputs.rows).map(passed).collect();
    let mut sloped: Vec<f64> = own.iter().zip(&read.values).map(|(u, z)| -u * z).collect();
    own.resize(keys.padded, 0.0);
    sloped.resize(keys.padded, 0.0);
    let given = Given { weights: &read.weights, weighted: &read.weighted };
    let passed = Passed { slopes: &own, sloped: &sloped };
    let both = mask != Mask::Before;
    let of_band = |band: Range<usize>| {
        let mut into = Derivatives::zeros(keys.padded, width);
        for first in band.map(|group| HELD * group) {
            let (inputs, into) = (&inputs.data[..], &mut into);
            dispatch(Backward { keys, inputs, given, passed, first, both, into });
        }
        into
    };
    let parts: Vec<Derivatives> = bands(inputs.rows).into_par_iter().map(checked(of_band)).collect();
    let mut all = Derivatives::zeros(keys.padded, width);
    for part in &parts {
        all.along.iter_mut().zip(&part.along).for_each(|(sum, more)| *sum += more);
        all.sums.iter_mut().zip(&part.sums).for_each(|(sum, more)| *sum += more);
    }
    // By Ω: Σ C x_i x_jᵀ both ways, and for distances less Σ C (x_i x_iᵀ + x_j x_jᵀ) / 2 each.
    let mut by_metric = vec![vec![0.0; width]; width];
    for p in 0..width {
        for q in 0..width {
            let along = &all.along[q * keys.padded..][..inputs.rows];
            by_metric[p][q] = inputs.column(p).iter().zip(along).map(|(x, a)| x * a).sum();
        }
    }
    let diagonal = |i: usize| match score {
        Score::Distance => -0.5 * all.sums[i],
        Score::Dot if mask == Mask::All => own[i] * read.weighted[i] + sloped[i] * read.weights[i],
        Score::Dot => 0.0,
    };
    let diagonal: Vec<f64> = (0..inputs.rows).map(diagonal).collect();
    for p in 0..width {
        for q in 0..width {
            let squares = inputs.column(p).iter().zip(inputs.column(q)).zip(&diagonal);
            by_metric[p][q] += squares.map(|((x, z), d)| x * z * d).sum::<f64>();
        }
    }
    // Ω = L Lᵀ.
    (0..width)
        .map(|p| {
            (0..width)
                .map(|c| {
                    if c > p {
                        0.0
                    } else {
                        (0..width).map(|q| (by_metric[p][q] + by_metric[q][p]) * factor[q][c]).sum()
                    }
                })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(rows: usize, columns: usize) -> Vec<Vec<f64>> {
        (0..columns).map(|c| (0..rows).map(|i| ((i * (2 * c + 3)) as f64 * 0.61).sin() * 1.3).collect()).collect()
    }

    /// Softmax attention, row by row.
    fn plain(columns: &[Vec<f64>], factor: &[Vec<f64>], targets: &[f64], score: Score, mask: Mask) -> Vec<f64> {
        let width = columns.len();
        let key = |i: usize| -> Vec<f64> {
            (0..width)
                .map(|c| (0..width).map(|p| columns[p][i] * if p >= c { factor[p][c] } else { 0.0 }).sum())
                .collect()
        };
        let keys: Vec<Vec<f64>> = (0..targets.len()).map(key).collect();
        let score = |i: usize, j: usize| -> f64 {
            let pairs = || keys[i].iter().zip(&keys[j]);
            match score {
                Score::Distance => pairs().map(|(a, b)| -0.5 * (a - b) * (a - b)).sum(),
                Score::Dot => pairs().map(|(a, b)| a * b).sum(),
            }
        };
        (0..targets.len())
            .map(|i| {
                let allowed = |j: &usize| match mask {
                    Mask::Others => *j != i,
                    Mask::All => true,
                    Mask::Before => *j < i,
                };
                let scores: Vec<(usize, f64)> = (0..targets.len()).filter(allowed).map(|j| (j, score(i, j))).collect();
                let largest = scores.iter().fold(f64::NEG_INFINITY, |most, (_, s)| most.max(*s));
                let sums = scores.iter().fold((0.0, 0.0), |(w, y), (j, s)| {
                    let e = (s - largest).exp();
                    (w + e, y + e * targets[*j])
                });
                if scores.is_empty() { 0.0 } else { sums.1 / sums.0 }
            })
            .collect()
    }

    #[test]
    fn rows_read_what_softmax_attention_reads_and_slopes_are_those_of_differences() {
        let (rows, width) = (37, 3);
        let columns = wave(rows, width);
        let targets: Vec<f64> = (0..rows).map(|i| (i as f64 * 0.9).cos() + 0.3 * columns[0][i]).collect();
        let factor: Vec<Vec<f64>> = (0..width)
            .map(|p| (0..width).map(|c| if c > p { 0.0 } else { 0.9 - 0.3 * (p + 2 * c) as f64 }).collect())
            .collect();
        let inputs = Inputs::of(rows, &columns);
        for score in [Score::Distance, Score::Dot] {
            for mask in [Mask::Others, Mask::All, Mask::Before] {
                let found = read(&inputs, &factor, &targets, score, mask);
                let expected = plain(&columns, &factor, &targets, score, mask);
                for (a, b) in found.values.iter().zip(&expected) {
                    assert!((a - b).abs() < 1e-12, "{score:?} {mask:?}: {a} and {b}");
                }
                // A loss: Σ c_i z_i², whose slopes by z are 2 c_i z_i.
                let loss = |factor: &[Vec<f64>]| -> f64 {
                    plain(&columns, factor, &targets, score, mask)
                        .iter()
                        .enumerate()
                        .map(|(i, z)| (1.0 + i as f64 / 9.0) * z * z)
                        .sum()
                };
                let slopes: Vec<f64> =
                    found.values.iter().enumerate().map(|(i, z)| 2.0 * (1.0 + i as f64 / 9.0) * z).collect();
                let by_factor = slope(&inputs, &factor, &found, &slopes, score, mask);
                for p in 0..width {
                    for c in 0..=p {
                        let step = 1e-5;
                        let at = |h: f64| {
                            let mut moved = factor.clone();
                            moved[p][c] += h;
                            loss(&moved)
                        };
                        let difference = (at(step) - at(-step)) / (2.0 * step);
                        let close = (by_factor[p][c] - difference).abs() < 1e-7 * (1.0 + difference.abs());
                        assert!(close, "{score:?} {mask:?} {p} {c}: {} and {difference}", by_factor[p][c]);
                    }
                }
            }
        }
    }

    #[test]
    fn rows_too_far_for_doubles_read_the_nearest() {
        let inputs = Inputs::of(3, &[vec![0.0, 1.0, 100.0]]);
        let found = read(&inputs, &[vec![30.0]], &[1.0, 2.0, 3.0], Score::Distance, Mask::Others);
        assert_eq!(found.values[2], 2.0);
        assert_eq!(found.isolated, 1);
        let slopes = slope(&inputs, &[vec![30.0]], &found, &[0.0, 0.0, 1.0], Score::Distance, Mask::Others);
        assert_eq!(slopes, [[0.0]]);
    }

    #[test]
    fn bands_hold_every_group_once() {
        for rows in [1, 4, 5, 63, 1000, 20_000] {
            let all = bands(rows);
            assert_eq!((all[0].start, all[all.len() - 1].end), (0, rows.div_ceil(HELD)));
            assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start));
        }
    }
}

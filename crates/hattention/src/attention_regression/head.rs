//! One head: the keys of a metric, what every row reads from the others, and the slope of a loss by the metric.

use std::ops::Range;

use rayon::prelude::*;

use super::gradient::{Backward, Derivatives, Passed};
use super::number::Number;
use super::options::{Precision, Score};
use super::pairs::{Forward, Given, Got, HELD, Keys, cast};
use super::quantiles::Quantiles;
use super::scope::Scope;
use crate::exponential::dispatch;
use crate::interrupt::checked;

/// What all heads of a regression have in common: their scores, and which rows read which.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'a> {
    pub(super) score: Score,
    pub(super) scope: &'a Scope,
    /// What exponents fall by with every row between two.
    pub(super) decay: f64,
    /// The numbers that sums over pairs are made in.
    pub(super) precision: Precision,
}

/// Bytes of pieces of a head's slope that are held at once, but for one a thread.
const MOST_BYTES: usize = 1 << 25;

/// Inputs as the heads read them: standardised, or normal scores of these; columns side by side, padded to whole lanes.
#[derive(Clone, Debug)]
pub(super) struct Inputs {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) padded: usize,
    pub(super) data: Vec<f64>,
    /// Standardised, where normal scores are read.
    given: Option<Vec<f64>>,
}

impl Inputs {
    pub(super) fn of(rows: usize, columns: &[Vec<f64>]) -> Self {
        let keys = Keys::of(rows, columns);
        Self { rows, columns: columns.len(), padded: keys.padded, data: keys.data, given: None }
    }

    /// Normal scores of standardised inputs; without quantiles these themselves.
    pub(super) fn scored(rows: usize, columns: &[Vec<f64>], quantiles: &[Quantiles]) -> Self {
        let given = Self::of(rows, columns);
        if quantiles.is_empty() {
            return given;
        }
        let score = |(column, quantiles): (&Vec<f64>, &Quantiles)| column.iter().map(|x| quantiles.at(*x)).collect();
        let scores: Vec<Vec<f64>> = columns.iter().zip(quantiles).map(score).collect();
        Self { given: Some(given.data), ..Self::of(rows, &scores) }
    }

    pub(super) fn column(&self, column: usize) -> &[f64] {
        &self.data[column * self.padded..][..self.rows]
    }

    /// A column as it was given, standardised.
    pub(super) fn given(&self, column: usize) -> &[f64] {
        &self.given.as_ref().unwrap_or(&self.data)[column * self.padded..][..self.rows]
    }

    /// Keys `Lᵀx`, by columns; `factor[p][c]`, lower triangular.
    pub(super) fn keyed(&self, factor: &[Vec<f64>]) -> Vec<Vec<f64>> {
        (0..self.columns)
            .map(|c| {
                let mut key = vec![0.0; self.rows];
                for p in c..self.columns {
                    key.iter_mut().zip(self.column(p)).for_each(|(k, x)| *k += factor[p][c] * x);
                }
                key
            })
            .collect()
    }
}

/// What a head read.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) keys: Keys,
    pub(super) weights: Vec<f64>,
    weighted: Vec<f64>,
    /// `Σ_j G_ij w_j`.
    pub(super) sums: Vec<f64>,
    /// What row `i` read: `z_i = Σ_j G_ij w_j y_j / Σ_j G_ij w_j`; the mean of all where there is nothing to read.
    pub(super) values: Vec<f64>,
    /// The same about the mean of what it may read ([`Scope::centred`]): a head that reads the same everywhere is zero.
    pub(super) centred: Vec<f64>,
    /// Rows whose kernels are too small for doubles: they are read one by one, the largest exponent taken off.
    pub(super) far: Vec<usize>,
    /// The numbers that it was summed in: double, where a row was too far from the others for single ones.
    precision: Precision,
}

impl Read {
    /// Whether a sum of kernels is large enough to divide by.
    pub(super) fn sure(&self, sum: f64) -> bool {
        sum > least(self.precision)
    }
}

/// A sum of kernels below which the others are too far away.
fn least(precision: Precision) -> f64 {
    match precision {
        Precision::Double => f64::LEAST,
        Precision::Single => f32::LEAST,
    }
}

/// What every row reads from those that it may read.
pub(super) fn read(inputs: &Inputs, factor: &[Vec<f64>], targets: &[f64], reading: Reading<'_>) -> Read {
    let Reading { score, scope, decay, precision } = reading;
    let keys = Keys::decaying(inputs.rows, &inputs.keyed(factor), decay);
    let weights = match score {
        Score::Distance | Score::Polynomial { .. } => vec![1.0; inputs.rows],
        Score::Dot => priors(&keys),
    };
    let pad = |mut values: Vec<f64>| {
        values.resize(keys.padded, 0.0);
        values
    };
    let weighted = pad(weights.iter().zip(targets).map(|(w, y)| w * y).collect());
    let weights = pad(weights);
    let mut got = sums(&keys, Given { weights: &weights, weighted: &weighted }, reading);
    if scope.itself {
        for i in 0..inputs.rows {
            let kernel = alike(&keys, i, score).0;
            got.weights[i] += kernel * weights[i];
            got.weighted[i] += kernel * weighted[i];
        }
    }
    let far: Vec<usize> = (0..inputs.rows).filter(|i| got.weights[*i] <= least(precision) && scope.any(*i)).collect();
    if precision == Precision::Single && !far.is_empty() {
        return read(inputs, factor, targets, Reading { precision: Precision::Double, ..reading });
    }
    let mean = targets.iter().sum::<f64>() / inputs.rows as f64;
    let of = |i: usize| if got.weights[i] > least(precision) { got.weighted[i] / got.weights[i] } else { mean };
    let mut values: Vec<f64> = (0..inputs.rows).map(of).collect();
    let alone = |i: &usize| softmax(&keys, *i, reading).iter().zip(targets).map(|(p, y)| p * y).sum();
    let found: Vec<f64> = far.par_iter().map(checked(alone)).collect();
    far.iter().zip(found).for_each(|(i, z)| values[*i] = z);
    let centred = values.iter().zip(scope.means(targets)).map(|(z, mean)| z - mean).collect();
    Read { keys, weights, weighted, sums: got.weights, values, centred, far, precision }
}

/// `Σ_j G_ij` times two numbers of row j, over the others that row i reads.
pub(super) fn sums(keys: &Keys, given: Given<'_>, reading: Reading<'_>) -> Got {
    match reading.precision {
        Precision::Double => sums_in(keys, given, reading),
        Precision::Single => {
            let (weights, weighted) = (&cast(given.weights)[..], &cast(given.weighted)[..]);
            sums_in::<f32>(&keys.cast(), Given { weights, weighted }, reading)
        }
    }
}

fn sums_in<T: Number>(keys: &Keys<T>, given: Given<'_, T>, reading: Reading<'_>) -> Got {
    let of_band = |band: Range<usize>| {
        let mut got = Got::<T>::zeros(keys.padded);
        for group in band {
            let (first, scope, power) = (HELD * group, reading.scope, reading.score.power());
            dispatch(Forward { keys, given, first, scope, power, got: &mut got });
        }
        got
    };
    let parts: Vec<Got<T>> = reading.scope.bands(keys.rows).into_par_iter().map(checked(of_band)).collect();
    let mut got = Got::<f64>::zeros(keys.padded);
    parts.iter().for_each(|part| got.add(part));
    got
}

/// The kernel of a row with itself, and its derivative by the inner product.
pub(super) fn alike(keys: &Keys, i: usize, score: Score) -> (f64, f64) {
    let Score::Polynomial { degree } = score else { return (1.0, 1.0) };
    let base: f64 = 1.0 + (0..keys.columns).map(|c| keys.column(c)[i].powi(2)).sum::<f64>();
    (base.powi(degree as i32), f64::from(degree) * base.powi(degree as i32 - 1))
}

/// `exp(½ ‖k‖²)`, relative to the largest.
fn priors(keys: &Keys) -> Vec<f64> {
    let halves = || (0..keys.rows).map(|i| keys.half_norm(i));
    let largest = halves().fold(0.0f64, |most, half| most.max(-half));
    halves().map(|half| libm::exp(-half - largest)).collect()
}

/// The weights of all rows for row `i`, the largest exponent taken off; zero for those that it does not read.
pub(super) fn softmax(keys: &Keys, i: usize, reading: Reading<'_>) -> Vec<f64> {
    let power = reading.score.power();
    let score = |j: usize| {
        let product: f64 = (0..keys.columns).map(|c| keys.column(c)[i] * keys.column(c)[j]).sum();
        match reading.score {
            _ if !reading.scope.reads(i, j) => f64::NEG_INFINITY,
            Score::Polynomial { .. } => f64::from(power) * libm::log((1.0 + product).abs()),
            Score::Dot => product + keys.half_norms[j] - keys.half_norm(j),
            Score::Distance => product + keys.half_norms[j],
        }
    };
    let mut scores: Vec<f64> = (0..keys.rows).map(score).collect();
    let largest = scores.iter().fold(f64::MIN, |most, s| most.max(*s));
    scores.iter_mut().for_each(|s| *s = libm::exp(*s - largest));
    let sum: f64 = scores.iter().sum();
    if sum > 0.0 {
        scores.iter_mut().for_each(|s| *s /= sum);
    }
    scores
}

/// The slope of a loss by the factor of the metric, of its slopes by what the rows read.
pub(super) fn slope(
    inputs: &Inputs,
    factor: &[Vec<f64>],
    targets: &[f64],
    read: &Read,
    slopes: &[f64],
    reading: Reading<'_>,
) -> Vec<Vec<f64>> {
    let (keys, width) = (&read.keys, inputs.columns);
    let Reading { score, scope, .. } = reading;
    let passed = |i: usize| if read.sure(read.sums[i]) { slopes[i] / read.sums[i] } else { 0.0 };
    let mut own: Vec<f64> = (0..inputs.rows).map(passed).collect();
    let mut sloped: Vec<f64> = own.iter().zip(&read.values).map(|(u, z)| -u * z).collect();
    own.resize(keys.padded, 0.0);
    sloped.resize(keys.padded, 0.0);
    let given = Given { weights: &read.weights, weighted: &read.weighted };
    let passed = Passed { slopes: &own, sloped: &sloped };
    let mut all = derivatives(keys, &inputs.data, given, passed, Reading { precision: read.precision, ..reading });
    for i in &read.far {
        // Of row i's softmax by its exponents: slope · p_j (y_j − z).
        let passed = |(p, y): (&f64, &f64)| slopes[*i] * p * (y - read.values[*i]);
        let by_exponent: Vec<f64> = softmax(keys, *i, reading).iter().zip(targets).map(passed).collect();
        for c in 0..width {
            let along: f64 = by_exponent.iter().zip(inputs.column(c)).map(|(d, x)| d * x).sum();
            all.along[c * keys.padded + i] += along;
        }
        all.sums.iter_mut().zip(&by_exponent).for_each(|(sum, d)| *sum += d);
        all.sums[*i] += by_exponent.iter().sum::<f64>();
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
        _ if scope.itself => alike(keys, i, score).1 * (own[i] * read.weighted[i] + sloped[i] * read.weights[i]),
        _ => 0.0,
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

/// Derivatives of a loss by the exponents, summed over the pairs of every row.
fn derivatives(
    keys: &Keys,
    inputs: &[f64],
    given: Given<'_>,
    passed: Passed<'_, f64>,
    reading: Reading<'_>,
) -> Derivatives<f64> {
    if reading.precision == Precision::Double {
        return derivatives_in(keys, inputs, given, passed, reading);
    }
    let (weights, weighted) = (&cast(given.weights)[..], &cast(given.weighted)[..]);
    let (slopes, sloped) = (&cast(passed.slopes)[..], &cast(passed.sloped)[..]);
    let (given, passed) = (Given { weights, weighted }, Passed { slopes, sloped });
    derivatives_in::<f32>(&keys.cast(), &cast(inputs), given, passed, reading)
}

fn derivatives_in<T: Number>(
    keys: &Keys<T>,
    inputs: &[T],
    given: Given<'_, T>,
    passed: Passed<'_, T>,
    reading: Reading<'_>,
) -> Derivatives<f64> {
    let (scope, power) = (reading.scope, reading.score.power());
    let of_band = |band: Range<usize>| {
        let mut into = Derivatives::<T>::zeros(keys.padded, keys.columns);
        for first in band.map(|group| HELD * group) {
            dispatch(Backward { keys, inputs, given, passed, first, scope, power, into: &mut into });
        }
        into
    };
    let of_band = checked(of_band);
    let bands = scope.bands(keys.rows);
    // (Added in the same order, however many are held at once.)
    let bytes = keys.padded * (keys.columns + 1) * size_of::<T>();
    let at_once = (MOST_BYTES / bytes.max(1)).max(rayon::current_num_threads()).clamp(1, bands.len().max(1));
    let mut all = Derivatives::<f64>::zeros(keys.padded, keys.columns);
    for some in bands.chunks(at_once) {
        let parts: Vec<Derivatives<T>> = some.par_iter().cloned().map(&of_band).collect();
        parts.iter().for_each(|part| all.add(part));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(rows: usize, columns: usize) -> Vec<Vec<f64>> {
        (0..columns).map(|c| (0..rows).map(|i| ((i * (2 * c + 3)) as f64 * 0.61).sin() * 1.3).collect()).collect()
    }

    /// Softmax attention, row by row.
    fn plain(columns: &[Vec<f64>], factor: &[Vec<f64>], targets: &[f64], reading: Reading<'_>) -> Vec<f64> {
        let width = columns.len();
        let key = |i: usize| -> Vec<f64> {
            (0..width)
                .map(|c| (0..width).map(|p| columns[p][i] * if p >= c { factor[p][c] } else { 0.0 }).sum())
                .collect()
        };
        let keys: Vec<Vec<f64>> = (0..targets.len()).map(key).collect();
        let score = |i: usize, j: usize| -> f64 {
            let pairs = || keys[i].iter().zip(&keys[j]);
            let score: f64 = match reading.score {
                Score::Distance => pairs().map(|(a, b)| -0.5 * (a - b) * (a - b)).sum(),
                Score::Dot => pairs().map(|(a, b)| a * b).sum(),
                Score::Polynomial { degree } => {
                    f64::from(degree) * (1.0 + pairs().map(|(a, b)| a * b).sum::<f64>()).abs().ln()
                }
            };
            score - reading.decay * (i as f64 - j as f64)
        };
        (0..targets.len())
            .map(|i| {
                let scores: Vec<(usize, f64)> =
                    (0..targets.len()).filter(|j| reading.scope.reads(i, *j)).map(|j| (j, score(i, j))).collect();
                let largest = scores.iter().fold(f64::NEG_INFINITY, |most, (_, s)| most.max(*s));
                let sums = scores.iter().fold((0.0, 0.0), |(w, y), (j, s)| {
                    let e = (s - largest).exp();
                    (w + e, y + e * targets[*j])
                });
                if scores.is_empty() { targets.iter().sum::<f64>() / targets.len() as f64 } else { sums.1 / sums.0 }
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
        let scopes = [
            (Scope::of(rows, true, false, |i| 0..i), 0.0),
            (Scope::of(rows, true, true, |i| 0..i), 0.0),
            (Scope::of(rows, false, false, |i| 0..i), 0.0),
            (Scope::of(rows, false, false, |i| 0..i), 0.1),
            (Scope::of(rows, false, false, |i| i.saturating_sub(9)..i), 0.0),
            (Scope::of(rows, true, false, |i| 0..i / 5 * 5), 0.0),
        ];
        let polynomials = [2, 4].map(|degree| Score::Polynomial { degree });
        for score in [Score::Distance, Score::Dot, polynomials[0], polynomials[1]] {
            for (scope, decay) in &scopes {
                if score.power() > 0 && *decay > 0.0 {
                    continue;
                }
                let reading = Reading { score, scope, decay: *decay, precision: Precision::Double };
                let mask = (scope.both, scope.itself, decay, scope.from[20]);
                let found = read(&inputs, &factor, &targets, reading);
                let expected = plain(&columns, &factor, &targets, reading);
                for (a, b) in found.values.iter().zip(&expected) {
                    assert!((a - b).abs() < 1e-12, "{score:?} {mask:?}: {a} and {b}");
                }
                // A loss: Σ c_i z_i², whose slopes by z are 2 c_i z_i.
                let loss = |factor: &[Vec<f64>]| -> f64 {
                    plain(&columns, factor, &targets, reading)
                        .iter()
                        .enumerate()
                        .map(|(i, z)| (1.0 + i as f64 / 9.0) * z * z)
                        .sum()
                };
                let slopes: Vec<f64> =
                    found.values.iter().enumerate().map(|(i, z)| 2.0 * (1.0 + i as f64 / 9.0) * z).collect();
                let by_factor = slope(&inputs, &factor, &targets, &found, &slopes, reading);
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
                // Single numbers give six digits of it.
                let reading = Reading { precision: Precision::Single, ..reading };
                let single = read(&inputs, &factor, &targets, reading);
                let near = |a: &f64, b: &f64| (a - b).abs() < 2e-5 * (1.0 + b.abs());
                assert!(single.values.iter().zip(&found.values).all(|(a, b)| near(a, b)), "{score:?} {mask:?}");
                assert!(single.precision == Precision::Single && single.values != found.values);
                let single = slope(&inputs, &factor, &targets, &single, &slopes, reading);
                let pairs = single.iter().flatten().zip(by_factor.iter().flatten());
                pairs.for_each(|(a, b)| assert!(near(a, b), "{score:?} {mask:?}: {a} and {b}"));
            }
        }
    }

    #[test]
    fn rows_too_far_for_doubles_read_the_nearest() {
        let inputs = Inputs::of(3, &[vec![0.0, 1.0, 100.0]]);
        let scope = Scope::of(3, true, false, |i| 0..i);
        let reading = Reading { score: Score::Distance, scope: &scope, decay: 0.0, precision: Precision::Double };
        let found = read(&inputs, &[vec![30.0]], &[1.0, 2.0, 3.0], reading);
        assert_eq!(found.values[2], 2.0);
        assert_eq!(found.far, [2]);
        let slopes = slope(&inputs, &[vec![30.0]], &[1.0, 2.0, 3.0], &found, &[0.0, 0.0, 1.0], reading);
        assert_eq!(slopes, [[0.0]]);
    }

    #[test]
    fn heads_too_wide_for_single_numbers_are_read_in_doubles() {
        let inputs = Inputs::of(4, &[vec![0.0, 1.0, 12.0, 13.0]]);
        let scope = Scope::of(4, true, false, |i| 0..i);
        let before = Scope::of(4, false, false, |i| 0..i);
        let targets = [1.0, 2.0, 3.0, 4.0];
        for (scope, factor, expected) in
            [(&scope, 1.0, Precision::Single), (&scope, 15.0, Precision::Double), (&before, 1.0, Precision::Double)]
        {
            let double = Reading { score: Score::Distance, scope, decay: 0.0, precision: Precision::Double };
            let single = Reading { precision: Precision::Single, ..double };
            let found = read(&inputs, &[vec![factor]], &targets, single);
            assert_eq!(found.precision, expected);
            let exact = read(&inputs, &[vec![factor]], &targets, double).values;
            assert!(found.values.iter().zip(&exact).all(|(a, b)| (a - b).abs() < 1e-6));
        }
    }

    #[test]
    fn rows_near_the_centre_read_as_softmax_does_however_far_others_are() {
        let (rows, width) = (37, 2);
        let mut columns = wave(rows, width);
        columns[0][5] = 70.0;
        columns[1][11] = -55.0;
        let targets: Vec<f64> = (0..rows).map(|i| (i as f64 * 0.9).cos()).collect();
        let factor = vec![vec![0.9, 0.0], vec![0.2, 0.7]];
        let inputs = Inputs::of(rows, &columns);
        for (both, itself) in [(true, false), (true, true), (false, false)] {
            let scope = Scope::of(rows, both, itself, |i| 0..i);
            for score in [Score::Dot, Score::Distance] {
                let reading = Reading { score, scope: &scope, decay: 0.0, precision: Precision::Single };
                let found = read(&inputs, &factor, &targets, reading);
                assert!(found.far.len() > 1 || score == Score::Distance, "{:?}", found.far);
                let expected = plain(&columns, &factor, &targets, reading);
                let off = |(a, b): (&f64, &f64)| (a - b).abs();
                let most = found.values.iter().zip(&expected).map(off).fold(0.0, f64::max);
                let rounding = if found.precision == Precision::Single { 1e-5 } else { 1e-11 };
                assert!(most < rounding, "{score:?} {both} {itself}: {most:e}");
                let slopes = vec![1.0; rows];
                let by_factor = slope(&inputs, &factor, &targets, &found, &slopes, reading);
                for (p, c) in [(0, 0), (1, 0), (1, 1)] {
                    let at = |h: f64| {
                        let mut moved = factor.clone();
                        moved[p][c] += h;
                        plain(&columns, &moved, &targets, reading).iter().sum::<f64>()
                    };
                    let difference = (at(1e-6) - at(-1e-6)) / 2e-6;
                    let close = (by_factor[p][c] - difference).abs() < 1e-5 * (1.0 + difference.abs());
                    assert!(close, "{score:?} {both} {itself} {p} {c}: {} and {difference}", by_factor[p][c]);
                }
            }
        }
    }
}

//! Softmax attention over whitened keys at any temperature.

use hattention::Matrix;

use crate::designs::{cholesky, moments};

/// What a query scores keys by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::experiments) enum Score {
    /// `⟨q, k⟩`.
    Dot,
    /// `−½‖q − k‖²`.
    Distance,
}

/// All, with their names.
pub(in crate::experiments) const SCORES: [(Score, &str); 2] = [(Score::Dot, "dot"), (Score::Distance, "distance")];

/// Means of rows and the factor of their second moments about them: keys are `C⁻¹(x − x̄)`, `(1/n) KᵀK = I`.
#[derive(Clone, Debug)]
pub(in crate::experiments) struct Whitening {
    means: Vec<f64>,
    moments: Matrix,
    factor: Matrix,
    rows: f64,
}

impl Whitening {
    pub(in crate::experiments) fn of(x: &Matrix) -> Self {
        let rows = x.rows as f64;
        let means: Vec<f64> = (0..x.columns).map(|j| (0..x.rows).map(|i| x.at(i, j)).sum::<f64>() / rows).collect();
        let moments = moments(&Matrix::from_fn(x.rows, x.columns, |i, j| x.at(i, j) - means[j]));
        Self { factor: cholesky(&moments), means, moments, rows }
    }

    /// Centred only: what keys are without whitening, at one common scale.
    pub(super) fn none(x: &Matrix) -> Self {
        let whole = Self::of(x);
        let scale = (0..x.columns).map(|j| whole.moments.at(j, j)).sum::<f64>() / x.columns as f64;
        let factor = Matrix::from_fn(x.columns, x.columns, |i, j| scale.sqrt() * f64::from(i == j));
        Self { factor, ..whole }
    }

    /// That of the other rows.
    pub(super) fn without(&self, row: &[f64]) -> Self {
        let (n, left) = (self.rows, self.rows - 1.0);
        let off: Vec<f64> = row.iter().zip(&self.means).map(|(x, m)| x - m).collect();
        let means = self.means.iter().zip(&off).map(|(m, d)| m - d / left).collect();
        let size = off.len();
        let moments =
            Matrix::from_fn(size, size, |i, j| (n * self.moments.at(i, j) - n / left * off[i] * off[j]) / left);
        Self { factor: cholesky(&moments), means, moments, rows: left }
    }

    /// The key of a row.
    pub(in crate::experiments) fn key(&self, row: &[f64]) -> Vec<f64> {
        let mut key = vec![0.0; row.len()];
        for i in 0..row.len() {
            let known: f64 = (0..i).map(|k| self.factor.at(i, k) * key[k]).sum();
            key[i] = (row[i] - self.means[i] - known) / self.factor.at(i, i);
        }
        key
    }
}

/// Scores of keys.
pub(in crate::experiments) fn scores(score: Score, query: &[f64], keys: &[Vec<f64>]) -> Vec<f64> {
    let pair = |key: &Vec<f64>| match score {
        Score::Dot => query.iter().zip(key).map(|(q, k)| q * k).sum::<f64>(),
        Score::Distance => -0.5 * query.iter().zip(key).map(|(q, k)| (q - k) * (q - k)).sum::<f64>(),
    };
    keys.iter().map(pair).collect()
}

/// `ŷ_T − ȳ`, given `y − ȳ`.
///
/// Where all exponents are small the weights' own deviations from 1 are summed, so that digits are kept at any T.
pub(super) fn deviation(scores: &[f64], centred: &[f64], temperature: f64) -> f64 {
    let (low, high) = scores.iter().fold((f64::MAX, f64::MIN), |(a, b), s| (a.min(*s), b.max(*s)));
    let small = (high - low) / temperature < 1.0;
    let (mut sum, mut total) = (0.0, 0.0);
    for (s, y) in scores.iter().zip(centred) {
        let exponent = (s - high) / temperature;
        let (weight, more) = if small { (exponent.exp_m1(), 1.0) } else { (exponent.exp(), 0.0) };
        sum += weight * y;
        total += weight + more;
    }
    sum / total
}

/// Targets about their mean, and the mean.
pub(super) fn centred(y: &[f64]) -> (Vec<f64>, f64) {
    let mean = y.iter().sum::<f64>() / y.len() as f64;
    (y.iter().map(|y| y - mean).collect(), mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::designs::normal;
    use crate::seeds::generator;

    #[test]
    fn keys_are_white_also_without_a_row() {
        let x = normal(40, 3, &mut generator("test", "white", "", 0));
        let others = Matrix::from_fn(39, 3, |i, j| x.at(if i < 7 { i } else { i + 1 }, j));
        for (whitening, rows) in [(Whitening::of(&x), &x), (Whitening::of(&x).without(x.row(7)), &others)] {
            let keys: Vec<Vec<f64>> = (0..rows.rows).map(|i| whitening.key(rows.row(i))).collect();
            for a in 0..3 {
                assert!(keys.iter().map(|k| k[a]).sum::<f64>().abs() < 1e-10);
                for b in 0..3 {
                    let product = keys.iter().map(|k| k[a] * k[b]).sum::<f64>() / rows.rows as f64;
                    assert!((product - f64::from(a == b)).abs() < 1e-10);
                }
            }
        }
    }

    #[test]
    fn both_ways_of_summing_agree() {
        let scores = [0.3, -0.2, 0.1, 0.79];
        let (y, mean) = centred(&[1.0, 4.0, -2.0, 3.0]);
        for temperature in [0.5, 0.999, 1.001, 20.0] {
            let weights: Vec<f64> = scores.iter().map(|s: &f64| (s / temperature).exp()).collect();
            let plain = weights.iter().zip(&y).map(|(w, y)| w * y).sum::<f64>() / weights.iter().sum::<f64>();
            assert!((deviation(&scores, &y, temperature) - plain).abs() < 1e-14);
        }
        assert_eq!(mean, 1.5);
        // Cold: the top row; hot: nothing.
        assert!((deviation(&scores, &y, 1e-3) - y[3]).abs() < 1e-14 && deviation(&scores, &y, 1e9).abs() < 1e-8);
    }
}

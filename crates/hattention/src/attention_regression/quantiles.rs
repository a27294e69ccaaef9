//! Inputs by rank: normal scores of a column's values.

use statrs::distribution::{ContinuousCDF, Normal};

/// Normal scores of a column: a broken line through means of groups of its values in order, and through what normal numbers of the
/// same ranks are, in units of deviation one. Beyond the outermost groups it goes on as straight as there, to the score of the outermost
/// row and no further.
///
/// # Formula
/// Groups of about n/64 rows, equal values together: with `b` rows before a group of `m`, `(x̄, Φ⁻¹((b + m/2)/n)/s)`, s the deviation of
/// what rows get; at most `Φ⁻¹(1 − 1/2n)/s`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Quantiles {
    /// Rising.
    pub(crate) values: Vec<f64>,
    /// Rising.
    pub(crate) scores: Vec<f64>,
}

/// Groups of a column at most.
pub(crate) const GROUPS: usize = 64;

impl Quantiles {
    pub(super) fn of(column: &[f64]) -> Self {
        let rows = column.len();
        let mut sorted = column.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let normal = Normal::standard();
        let (mut values, mut scores) = (Vec::new(), Vec::new());
        let mut first = 0;
        // (Minus zero is zero.)
        let equal = sorted.chunk_by(|a, b| a == b).collect::<Vec<_>>();
        let few = equal.len() <= GROUPS;
        let mut last = 0;
        for (at, same) in equal.iter().enumerate() {
            last += same.len();
            let due = (last - first) * GROUPS >= rows;
            if !few && !due && at + 1 < equal.len() {
                continue;
            }
            let group = &sorted[first..last];
            let share = (first as f64 + group.len() as f64 / 2.0) / rows as f64;
            let mean = group[0] + group.iter().map(|x| (x - group[0]) / group.len() as f64).sum::<f64>();
            first = last;
            // (Means of groups a rounding apart may be one.)
            if values.last().is_none_or(|before| *before < mean) {
                values.push(mean);
                scores.push(normal.inverse_cdf(share));
            }
        }
        let mut found = Self { values, scores };
        found.extend(normal.inverse_cdf(1.0 - 0.5 / rows as f64));
        let all: Vec<f64> = column.iter().map(|x| found.at(*x)).collect();
        let (mean, deviation) = super::prepare::spread(&all);
        found.scores.iter_mut().for_each(|z| *z = (*z - mean) / deviation);
        found
    }

    /// Goes on at both ends until scores are of this size.
    fn extend(&mut self, most: f64) {
        for _ in 0..2 {
            let Self { values, scores } = self;
            if let ([.., x1, x2], [.., z1, z2]) = (&values[..], &scores[..]) {
                let x = x2 + (x2 - x1) * (most - z2) / (z2 - z1);
                if x > *x2 && x.is_finite() {
                    values.push(x);
                    scores.push(most);
                }
            }
            // (And once more from the other side.)
            values.reverse();
            scores.reverse();
            values.iter_mut().chain(scores.iter_mut()).for_each(|x| *x = -*x);
        }
    }

    /// The score of a value.
    pub(super) fn at(&self, x: f64) -> f64 {
        let Self { values, scores } = self;
        if values.len() < 2 {
            return scores.first().copied().unwrap_or(0.0);
        }
        let x = x.clamp(values[0], values[values.len() - 1]);
        let right = values.partition_point(|value| *value <= x).clamp(1, values.len() - 1);
        let share = (x - values[right - 1]) / (values[right] - values[right - 1]);
        scores[right - 1] + share * (scores[right] - scores[right - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_know_the_order_alone_and_have_deviation_one() {
        let column: Vec<f64> = (0..1000).map(|i| f64::from(i * 7 % 1000)).collect();
        let of = |map: fn(f64) -> f64| -> Vec<f64> {
            let column: Vec<f64> = column.iter().map(|x| map(*x)).collect();
            let found = Quantiles::of(&column);
            assert!(found.values.len() <= GROUPS + 3 && found.values.is_sorted() && found.scores.is_sorted());
            column.iter().map(|x| found.at(*x)).collect()
        };
        let (plain, skew) = (of(|x| x), of(|x| (x / 100.0).exp()));
        let square: f64 = plain.iter().map(|z| z * z).sum::<f64>() / 1000.0;
        assert!((square - 1.0).abs() < 1e-12 && plain.iter().sum::<f64>().abs() < 1e-9);
        // Means of groups differ a little from the middle of their ranks.
        assert!(plain.iter().zip(&skew).all(|(a, b)| (a - b).abs() < 0.15), "{plain:?} {skew:?}");
        // About normal: a sixth of the rows beyond a deviation.
        let beyond = plain.iter().filter(|z| **z > 1.0).count();
        assert!((150..=170).contains(&beyond), "{beyond}");
    }

    #[test]
    fn few_values_have_a_score_each_and_a_constant_none() {
        let column: Vec<f64> = (0..90).map(|i| f64::from(i % 3)).collect();
        let found = Quantiles::of(&column);
        assert_eq!(found.values[1..4], [0.0, 1.0, 2.0]);
        assert!((found.at(2.0) - 1.5f64.sqrt()).abs() < 1e-12 && found.at(1.0).abs() < 1e-12);
        assert!((found.at(2.5) - 1.5 * 1.5f64.sqrt()).abs() < 1e-12);
        // No further than the outermost of 90 normal numbers.
        let most = Normal::standard().inverse_cdf(1.0 - 1.0 / 180.0) / Normal::standard().inverse_cdf(5.0 / 6.0);
        assert!((found.at(99.0) - most * 1.5f64.sqrt()).abs() < 1e-12 && found.at(99.0) == -found.at(-1e300));
        let constant = Quantiles::of(&[3.0; 5]);
        assert_eq!((constant.at(3.0), constant.at(9.0)), (0.0, 0.0));
        // Two values are what they are: centred and scaled.
        let two: Vec<f64> = (0..10).map(|i| f64::from(i % 5 == 0)).collect();
        let found = Quantiles::of(&two);
        assert!((found.at(1.0) - 2.0).abs() < 1e-12 && (found.at(0.0) + 0.5).abs() < 1e-12);
        // Numbers of any size.
        let large = Quantiles::of(&[-1e300, 0.0, 1e300]);
        assert!(large.at(1e300).is_finite() && large.at(1e307).is_finite());
    }
}

//! What peaks at random would say.

use rand::RngExt;

use crate::seeds::{Generator, generator};
use crate::statistics::{Estimate, Interval, quantile};

/// Draws.
pub(super) const DRAWS: usize = 2000;
pub(super) const LEVEL: f64 = 0.95;

/// A run that has a peak and generalises: the logarithms of steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timed {
    pub(super) modulus: usize,
    pub(super) peak: f64,
    pub(super) generalises: f64,
    /// Between which a peak could be.
    pub(super) from: f64,
    pub(super) to: f64,
}

/// A statistic of runs, less the mean of what it is for peaks evenly between the two steps of each; the interval is of what is left.
pub(super) fn beyond(runs: &[Timed], name: &str, statistic: impl Fn(&[Timed]) -> Option<f64>) -> Option<Estimate> {
    let found = statistic(runs)?;
    let mut random = generator("grokking-specific-heat", "chance", name, 0);
    let at_random = |random: &mut Generator| -> Vec<Timed> {
        runs.iter().map(|run| Timed { peak: run.from + (run.to - run.from) * random.random::<f64>(), ..*run }).collect()
    };
    let mut all: Vec<f64> = (0..DRAWS).filter_map(|_| statistic(&at_random(&mut random))).collect();
    all.sort_by(f64::total_cmp);
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let tail = (1.0 - LEVEL) / 2.0;
    let (low, high) = (found - quantile(&all, 1.0 - tail), found - quantile(&all, tail));
    Some(Estimate { value: found - mean, interval: Some(Interval::new(low, high, LEVEL)) })
}

/// The mean lead.
pub(super) fn lead(runs: &[Timed]) -> Option<f64> {
    (!runs.is_empty()).then(|| runs.iter().map(|run| run.generalises - run.peak).sum::<f64>() / runs.len() as f64)
}

/// The correlation of both times within moduli.
pub(super) fn correlation(runs: &[Timed]) -> Option<f64> {
    let pairs: Vec<(usize, f64, f64)> = runs.iter().map(|run| (run.modulus, run.peak, run.generalises)).collect();
    pearson(&within(&pairs).0)
}

/// Pairs about the means of their moduli, and the number of moduli.
pub(super) fn within(pairs: &[(usize, f64, f64)]) -> (Vec<(f64, f64)>, usize) {
    let mut moduli: Vec<usize> = pairs.iter().map(|(p, _, _)| *p).collect();
    moduli.sort_unstable();
    moduli.dedup();
    let mut found = Vec::with_capacity(pairs.len());
    for modulus in &moduli {
        let own: Vec<(f64, f64)> = pairs.iter().filter(|(p, _, _)| p == modulus).map(|(_, x, y)| (*x, *y)).collect();
        let n = own.len() as f64;
        let (x, y) = own.iter().fold((0.0, 0.0), |(x, y), (a, b)| (x + a / n, y + b / n));
        found.extend(own.iter().map(|(a, b)| (a - x, b - y)));
    }
    (found, moduli.len())
}

/// The correlation of pairs about their means; nothing where one does not vary, but for rounding.
pub(super) fn pearson(pairs: &[(f64, f64)]) -> Option<f64> {
    let (xx, xy, yy) = pairs.iter().fold((0.0, 0.0, 0.0), |(xx, xy, yy), (x, y)| (xx + x * x, xy + x * y, yy + y * y));
    let least = 1e-20 * pairs.len() as f64;
    (xx > least && yy > least).then(|| (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(modulus: usize, peak: f64, generalises: f64) -> Timed {
        Timed { modulus, peak, generalises, from: 5.0, to: generalises + 2f64.ln() }
    }

    /// Peaks at random are not beyond chance; those at half the steps are.
    #[test]
    fn chance_is_taken_off() {
        let mut random = generator("test", "chance", "", 0);
        let ends: Vec<(usize, f64)> =
            (0..30).map(|k| (k % 6, 8.0 + 0.3 * (k % 6) as f64 + 0.5 * random.random::<f64>())).collect();
        let half: Vec<Timed> = ends.iter().map(|(p, g)| run(*p, g - 2f64.ln(), *g)).collect();
        let found = beyond(&half, "test", correlation).unwrap();
        assert!(found.interval.unwrap().low > 0.2 && correlation(&half).unwrap() > 0.999_999);
        // (Random ones lead by half their window, less ln 2.)
        let window = half.iter().map(|run| 0.5 * (run.to - run.from)).sum::<f64>() / 30.0;
        let expected = 2f64.ln() - (window - 2f64.ln());
        assert!((beyond(&half, "test", lead).unwrap().value - expected).abs() < 0.02);
        let outside = (0..200)
            .filter(|k| {
                let mut random = generator("test", "chance", "draws", *k);
                let drawn: Vec<Timed> = half
                    .iter()
                    .map(|run| Timed { peak: run.from + (run.to - run.from) * random.random::<f64>(), ..*run })
                    .collect();
                beyond(&drawn[..], "test", correlation).unwrap().interval.unwrap().low > 0.0
            })
            .count();
        // (2.5 % of them: five, and hardly more than a dozen.)
        assert!(outside <= 12, "{outside}");
    }

    #[test]
    fn what_does_not_vary_has_no_correlation() {
        let same: Vec<Timed> = (0..12).map(|k| run(k % 3, 6.1, 8.0 + 0.1 * k as f64)).collect();
        assert!(correlation(&same).is_none());
    }
}

//! The six designs, and rows of them.

use std::f64::consts::PI;

use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

use crate::scored::Sample;
use crate::seeds::Generator;

/// Regressors, uniform on 0 to 1.
pub const COLUMNS: usize = 5;

/// A function of the regressors.
pub struct Design {
    /// Its published name.
    pub name: &'static str,
    /// The function.
    pub truth: fn(&[f64; COLUMNS]) -> f64,
}

/// All designs, in the published order.
pub const DESIGNS: [Design; 6] = [
    Design {
        name: "linear",
        truth: |x| 2.0 * (x[0] - 0.5) - (x[1] - 0.5) + 3.0 * (x[2] - 0.5) + 1.5 * (x[3] - 0.5) + 0.5 * (x[4] - 0.5),
    },
    Design {
        name: "friedman1",
        truth: |x| 10.0 * (PI * x[0] * x[1]).sin() + 20.0 * (x[2] - 0.5).powi(2) + 10.0 * x[3] + 5.0 * x[4],
    },
    Design { name: "friedman2", truth: |x| (PI * (x[0] + x[1] + x[2])).sin() + (1.0 + x[3] * x[3]).ln() },
    Design { name: "friedman3", truth: |x| x[0] * x[1] + (x[2] + x[3] + 2.0).ln() },
    Design { name: "rotated_sine", truth: |x| (3.0 * (x[0] + x[1] + x[2] + x[3])).sin() },
    Design { name: "soft_radial", truth: |x| 1.0 / (1.0 + 5.0 * x.iter().map(|x| (x - 0.5).powi(2)).sum::<f64>()) },
];

/// The function of a name; the first of all for another name.
pub fn design(name: &str) -> &'static Design {
    static ALL: [Design; 6] = DESIGNS;
    ALL.iter().find(|design| design.name == name).unwrap_or(&ALL[0])
}

/// The R² that knowing the function would have: `SNR/(1 + SNR)`.
pub fn ceiling(snr: f64) -> f64 {
    snr / (1.0 + snr)
}

/// Rows to fit and, drawn after them, rows to be predicted; the noise's variance is that of the function over all of them,
/// divided by the ratio.
pub fn draw(design: &Design, rows: usize, tests: usize, snr: f64, generator: &mut Generator) -> Sample {
    let all = rows + tests;
    let x: Vec<[f64; COLUMNS]> = (0..all).map(|_| std::array::from_fn(|_| generator.random_range(0.0..1.0))).collect();
    let truth: Vec<f64> = x.iter().map(design.truth).collect();
    let mean = truth.iter().sum::<f64>() / all as f64;
    let variance = truth.iter().map(|f| (f - mean).powi(2)).sum::<f64>() / all as f64;
    let deviation = (variance / snr).sqrt();
    let noisy = |f: &f64| -> f64 {
        let noise: f64 = StandardNormal.sample(generator);
        f + deviation * noise
    };
    let y: Vec<f64> = truth.iter().map(noisy).collect();
    let columns = |part: &[[f64; COLUMNS]]| (0..COLUMNS).map(|c| part.iter().map(|x| x[c]).collect()).collect();
    Sample {
        train: columns(&x[..rows]),
        train_target: y[..rows].to_vec(),
        test: columns(&x[rows..]),
        test_target: y[rows..].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scored::r_squared;
    use crate::seeds::generator;

    /// The truth predicts a share SNR/(1 + SNR), and the published peer's least squares are met in the linear design.
    #[test]
    fn what_the_truth_would_reach() {
        for (place, design) in DESIGNS.iter().enumerate() {
            for snr in [0.5, 3.0] {
                let sample = draw(design, 500, 20_000, snr, &mut generator("t", design.name, "rows", place));
                let row = |i: usize| std::array::from_fn(|c| sample.test[c][i]);
                let truth: Vec<f64> = (0..sample.test_target.len()).map(|i| (design.truth)(&row(i))).collect();
                let found = r_squared(&sample.test_target, &truth);
                // An R² of 20,000 rows has a standard error below .007; four of them.
                assert!((found - ceiling(snr)).abs() < 0.028, "{} {snr}: {found}", design.name);
            }
        }
        assert_eq!([0.5, 1.0, 2.0, 3.0].map(ceiling).iter().sum::<f64>() / 4.0, 0.5625);
    }

    /// Var 2(x₁ − ½) − … = Σ b²/12, and of a uniform square, exactly.
    #[test]
    fn variances_of_the_designs() {
        let rows = 40_000;
        let variance = |design: &Design| {
            // With next to no noise targets are the truth.
            let sample = draw(design, rows, 1, 1e12, &mut generator("t", design.name, "variance", 0));
            let mean = sample.train_target.iter().sum::<f64>() / rows as f64;
            sample.train_target.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / rows as f64
        };
        let linear = (4.0 + 1.0 + 9.0 + 2.25 + 0.25) / 12.0;
        // Friedman's first function has a variance of 23.8 on the unit cube (deviation 4.88).
        for (name, expected) in [("linear", linear), ("friedman1", 23.8)] {
            let found = variance(design(name));
            // A variance of 40,000 rows errs by less than 1 % in a standard error.
            assert!((found / expected - 1.0).abs() < 0.03, "{name}: {found}");
        }
        assert!((design("soft_radial").truth)(&[0.5; 5]) == 1.0);
    }

    #[test]
    fn rows_are_drawn_alike() {
        let of = |rows: usize| draw(design("friedman3"), rows, 5, 1.0, &mut generator("t", "t", "rows", 0));
        assert_eq!(of(30), of(30));
        let sample = of(30);
        assert_eq!((sample.train.len(), sample.train[0].len(), sample.test[4].len()), (5, 30, 5));
    }
}

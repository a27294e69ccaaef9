//! How long an attention regression takes: `cargo run --release -p hattention --example attention_regression_speed -- WHAT [ROWS] [COLUMNS] [HEADS]`.
//!
//! `forward`: a loss with its slope, and predictions of all rows by all. `floor`: the engine's own exponentials and fused
//! multiply-adds a second, of doubles on one thread, each on numbers in the first cache and nothing else. `fit`: the published recipe on the published kind of
//! rows, by time and loss, one line a number of steps. `ours`: the default fit in doubles and in single precision. `peers`: the
//! default fit, and one head without a linear one, with R² of a thousand new rows. `memory`: one fit of few steps, for a meter
//! outside.

#[path = "../src/exponential.rs"]
#[allow(dead_code)]
mod exponential;

use std::time::Instant;

use exponential::{Machine, Work, dispatch, exp};
use hattention::attention_regression::{AttentionRegression, Options, Precision};

const PRECISIONS: [Precision; 2] = [Precision::Double, Precision::Single];

/// Rows of the design `sin(3 (x₁ + … + x₄))` with as much noise as signal.
fn rows(count: usize, columns: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let x: Vec<Vec<f64>> = (0..columns).map(|_| (0..count).map(|_| uniform()).collect()).collect();
    let mut normal = || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
    let signal = |i: usize| (3.0 * x.iter().take(4).map(|column| column[i]).sum::<f64>()).sin();
    let y = (0..count).map(|i| signal(i) + 0.7 * normal()).collect();
    (x, y)
}

fn best(rounds: usize, mut work: impl FnMut()) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..rounds {
        let start = Instant::now();
        work();
        least = least.min(start.elapsed().as_secs_f64());
    }
    least
}

/// Passes over the numbers of a floor.
const PASSES: usize = 20_000;

struct Exponentials<'a>(&'a [f64], &'a mut [f64]);

impl Work for Exponentials<'_> {
    #[inline(always)]
    fn on<S: Machine>(self, simd: S) {
        for _ in 0..PASSES {
            let from = S::as_simd_f64s(std::hint::black_box(self.0)).0;
            for (to, x) in S::as_mut_simd_f64s(&mut *self.1).0.iter_mut().zip(from) {
                *to = exp(simd, *x);
            }
        }
    }
}

/// Twelve chains of fused multiply-adds.
struct Products<'a>(&'a [f64], &'a mut [f64]);

impl Work for Products<'_> {
    #[inline(always)]
    fn on<S: Machine>(self, simd: S) {
        let mut chains = [simd.splat_f64s(0.0); 12];
        for _ in 0..PASSES {
            let from = S::as_simd_f64s(std::hint::black_box(self.0)).0;
            for x in from {
                for chain in &mut chains {
                    *chain = simd.mul_add_f64s(*x, *x, *chain);
                }
            }
        }
        for (to, chain) in S::as_mut_simd_f64s(self.1).0.iter_mut().zip(chains) {
            *to = chain;
        }
    }
}

/// R² of predictions.
fn share(y: &[f64], predictions: &[f64]) -> f64 {
    let mean = y.iter().sum::<f64>() / y.len() as f64;
    let total: f64 = y.iter().map(|y| (y - mean) * (y - mean)).sum();
    1.0 - y.iter().zip(predictions).map(|(y, p)| (y - p) * (y - p)).sum::<f64>() / total
}

/// Fits once and prints how that went.
fn report(inputs: &[&[f64]], y: &[f64], what: &str, options: Options) -> Result<(), hattention::Error> {
    let start = Instant::now();
    let model = AttentionRegression::fit(inputs, y, options)?;
    let seconds = start.elapsed().as_secs_f64();
    let report = &model.report;
    println!(
        "{what}, {} taken, {} evaluations: {seconds:.3} s, loss {:.8}",
        report.steps, report.evaluations, report.loss
    );
    Ok(())
}

fn main() -> Result<(), hattention::Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let what = arguments.first().map_or("forward", String::as_str);
    let argument = |at: usize, default: usize| arguments.get(at).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (count, columns, heads) = (argument(1, 5000), argument(2, 5), argument(3, 5));
    let (x, y) = rows(count, columns);
    let inputs: Vec<&[f64]> = x.iter().map(|column| &column[..]).collect();
    match what {
        "fit" => {
            for precision in PRECISIONS {
                for steps in [0, 5, 10, 15, 20, 25, 30, 35, 40, 50, 60, 70, 80, 90, 100] {
                    let options = Options { steps, heads, precision, tolerance: 0.0, ..Options::published() };
                    report(&inputs, &y, &format!("{precision:?}, {steps} steps"), options)?;
                }
            }
        }
        "ours" => {
            for precision in PRECISIONS {
                let options = Options { heads, precision, ..Options::default() };
                report(&inputs, &y, &format!("{precision:?}"), options)?;
            }
        }
        "peers" => {
            let (x, y) = rows(count + 1000, columns);
            let train: Vec<&[f64]> = x.iter().map(|column| &column[..count]).collect();
            let test: Vec<&[f64]> = x.iter().map(|column| &column[count..]).collect();
            let one = Options { heads: 1, linear: false, ..Options::default() };
            for (what, options) in [("defaults", Options::default()), ("one head alone", one)] {
                let start = Instant::now();
                let model = AttentionRegression::fit(&train, &y[..count], options)?;
                let seconds = start.elapsed().as_secs_f64();
                println!("{what}: {seconds:.3} s, R² {:.4}", share(&y[count..], &model.predict(&test)?));
            }
        }
        "floor" => {
            let numbers: Vec<f64> = (0..1024).map(|i| -20.0 * f64::from(i) / 1024.0).collect();
            let mut out = vec![0.0; 1024];
            let count = (PASSES * numbers.len()) as f64;
            let exponentials = count / best(5, || dispatch(Exponentials(&numbers, &mut out)));
            let products = 12.0 * count / best(5, || dispatch(Products(&numbers, &mut out)));
            println!("{exponentials:e} exponentials and {products:e} multiply-adds a second");
            std::hint::black_box(&out);
        }
        "memory" => {
            let options = Options { heads, steps: 2, ..Options::default() };
            AttentionRegression::fit(&inputs, &y, options)?;
        }
        _ => {
            for precision in PRECISIONS {
                let options = Options { heads, precision, steps: 0, ..Options::default() };
                let fit = best(5, || drop(AttentionRegression::fit(&inputs, &y, options.clone())));
                println!("{precision:?}: a loss, its slope and another loss in doubles {:.1} ms", 1e3 * fit);
            }
            let model = AttentionRegression::fit(&inputs, &y, Options { heads, steps: 0, ..Options::default() })?;
            let predict = best(5, || drop(model.predict(&inputs)));
            println!("{count} × {columns}, {heads} heads: predictions {:.1} ms", 1e3 * predict);
        }
    }
    Ok(())
}

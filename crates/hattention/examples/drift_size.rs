//! Sizes and powers of the drift tests, simulated: `cargo run --release -p hattention --example drift_size -- [DRAWS]`.
//!
//! Every number is a share of rejections at level 0.05. DRAWS is that of the asymptotic table (20,000 by default);
//! the permutation tests are drawn 2,000 times.
use hattention::Error;
use hattention::drift::{self, Generator, permutation_test, simulate};
use rayon::prelude::*;

const LEVEL: f64 = 0.05;

/// Shares of rejections by the likelihood ratio and by `tr S − log det S − d`.
fn asymptotic(draws: u64, p: usize, n: f64, rows: f64, scales: &[f64]) -> Result<[f64; 2], Error> {
    let rejected = |draw: u64| -> Result<[f64; 2], Error> {
        let mut generator = Generator::stream(1, draw);
        let tests = drift::test(&simulate::state(&mut generator, p, n, rows, scales)?, n)?;
        Ok([tests.likelihood_ratio.p, tests.divergence.p].map(|p| (p <= LEVEL) as u64 as f64))
    };
    let all: Vec<[f64; 2]> = (0..draws).into_par_iter().map(rejected).collect::<Result<_, _>>()?;
    Ok([0, 1].map(|k| all.iter().map(|pair| pair[k]).sum::<f64>() / draws as f64))
}

/// Shares of rejections by the permutation test, and by the likelihood ratio of the normal law.
fn permuted(draws: u64, p: usize, (n, rows): (usize, usize), df: f64, scale: f64) -> Result<[f64; 2], Error> {
    let rejected = |draw: u64| -> Result<[f64; 2], Error> {
        let mut generator = Generator::stream(2, draw);
        let training = simulate::rows(&mut generator, p, n, df);
        let mut batch = simulate::rows(&mut generator, p, rows, df);
        batch[0].iter_mut().for_each(|x| *x *= scale);
        let [a, b] = [&training, &batch].map(|columns| columns.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let permuted = permutation_test(&a, &b, 199, draw)?.p;
        let normal = drift::test(&simulate::state_of(&a, &b)?, n as f64)?.likelihood_ratio.p;
        Ok([permuted, normal].map(|p| (p <= LEVEL) as u64 as f64))
    };
    let all: Vec<[f64; 2]> = (0..draws).into_par_iter().map(rejected).collect::<Result<_, _>>()?;
    Ok([0, 1].map(|k| all.iter().map(|pair| pair[k]).sum::<f64>() / draws as f64))
}

fn main() -> Result<(), Error> {
    let draws = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(20_000);
    println!("Normal rows, {draws} undrifted draws: likelihood ratio (exact mean and variance) | tr S - log det S - d");
    println!("{:>4} {:>7} {:>8} {:>9} {:>9}", "p", "n*", "n", "ratio", "trace");
    for p in [1, 5, 10, 20] {
        for rows in [50.0, 200.0, 5000.0] {
            for n in [200.0, 5000.0, 50_000.0] {
                let [ratio, trace] = asymptotic(draws, p, n, rows, &[])?;
                println!("{p:>4} {rows:>7} {n:>8} {ratio:>9.4} {trace:>9.4}");
            }
        }
    }
    let [ratio, trace] = asymptotic(2000, 5, 50_000.0, 5000.0, &[1.06])?;
    println!("Power, one of five columns 6 % wider, 5,000 against 50,000 rows: {ratio:.3} | {trace:.3}");
    println!("Permutations (199), 2,000 draws of 200 rows against 500, 5 columns: permutation | likelihood ratio");
    for df in [3.0, 5.0, f64::INFINITY] {
        let [size, normal] = permuted(2000, 5, (500, 200), df, 1.0)?;
        let [power, _] = permuted(2000, 5, (500, 200), df, 1.5)?;
        println!("t with {df} degrees: size {size:.4} | {normal:.4}; power at scale 1.5 of one column {power:.3}");
    }
    Ok(())
}

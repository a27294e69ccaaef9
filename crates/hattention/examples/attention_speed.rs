//! How long a forward pass takes: `cargo run --release -p hattention --example attention_speed -- [ROWS] [COLUMNS] [ROUNDS]`.
//!
//! Self-attention by the state, with all three projections the same (as constructed) and all three different (as a
//! library has to assume), in doubles and in singles; and one product of the tokens with a square matrix, the floor that
//! each projection has.

use std::time::Instant;

use hattention::matrix::{Matrix, Real};
use hattention::{Block, Column, Design, Filter, Fit, Moments, Transformer, Whitening};

fn main() -> Result<(), hattention::Error> {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let argument = |at: usize, default: usize| arguments.get(at).copied().unwrap_or(default);
    let (rows, columns, rounds) = (argument(0, 100_000), argument(1, 100), argument(2, 7));
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    let data: Vec<Vec<f64>> = (0..columns + 1).map(|_| (0..rows).map(|_| next()).collect()).collect();
    let block = Block { rows, columns: data.iter().map(|c| Column::Dense(c)).collect(), weights: None };
    let moments = Moments::of(&block)?;
    let design = Design::plain((0..columns).map(|c| format!("x{c}")), true);
    let whitening = Whitening::of(&moments, &design, Filter::Ols, Default::default(), None)?;
    let fit = Fit::of(&moments, &whitening, columns, "y")?;
    let same = Transformer::of(&whitening, &[fit], &Default::default())?;
    let mut different = same.clone();
    different.w_k.data[0] *= 1.0 + f64::EPSILON;
    different.w_v.data[0] *= 1.0 - f64::EPSILON;
    let x = Matrix::from_fn(rows, columns, |i, j| data[j][i]);
    measure::<f64>(&same, &different, &x, rounds)?;
    measure::<f32>(&same, &different, &x, rounds)
}

fn measure<T: Real>(
    same: &Transformer,
    different: &Transformer,
    x: &Matrix,
    rounds: usize,
) -> Result<(), hattention::Error> {
    let x: Matrix<T> = x.cast();
    let (same, different) = (same.layer::<T>()?, different.layer::<T>()?);
    let mut times = [const { Vec::new() }; 5];
    for _ in 0..rounds {
        let mut time = |at: usize, run: &dyn Fn() -> Result<Matrix<T>, hattention::Error>| {
            let start = Instant::now();
            let result = run();
            times[at].push(start.elapsed().as_secs_f64() * 1e3);
            result.map(drop)
        };
        time(0, &|| same.among(&x, None))?;
        time(1, &|| different.among(&x, None))?;
        time(2, &|| same.keys(&x))?;
        time(3, &|| same.remember(&x, None).map(|_| Matrix::zeros(0, 0)))?;
        time(4, &|| same.cross(&x))?;
    }
    for (what, times) in
        ["one projection", "three projections", "the product X L alone", "state", "read"].iter().zip(&mut times)
    {
        times.sort_by(f64::total_cmp);
        println!("{}  {what:<24}{:>8.1} ms median {:>8.1} ms least", T::NAME, times[times.len() / 2], times[0]);
    }
    Ok(())
}

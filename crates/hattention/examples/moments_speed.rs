//! Times the exact state on normal data: `cargo run --release --example moments_speed`.
use hattention::{Block, Column, Moments};

fn normal(n: usize, state: &mut u64) -> Vec<f64> {
    let mut next = || {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..n).map(|_| (-2.0 * (1.0 - next()).ln()).sqrt() * (std::f64::consts::TAU * next()).cos()).collect()
}

fn main() {
    let mut seed = 88172645463325252;
    for (n, p) in [(1_000_000, 11), (100_000, 101), (10_000, 1001), (8192, 400)] {
        let data: Vec<Vec<f64>> = (0..p).map(|_| normal(n, &mut seed)).collect();
        let block = Block { rows: n, columns: data.iter().map(|c| Column::Dense(c)).collect(), weights: None };
        let mut best = f64::INFINITY;
        for _ in 0..if p > 500 { 2 } else { 7 } {
            let start = std::time::Instant::now();
            let state = Moments::of(&block).unwrap();
            best = best.min(start.elapsed().as_secs_f64());
            assert_eq!(state.rows(), n as u64);
        }
        println!("{n} x {p}: {:.1} ms", 1e3 * best);
    }
}

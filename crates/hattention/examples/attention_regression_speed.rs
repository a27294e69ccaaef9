//! How long an attention regression takes: `cargo run --release -p hattention --example attention_regression_speed -- WHAT [ROWS] [COLUMNS] [HEADS]`.
//!
//! `forward`: what all rows read of all others in a loss, and new rows in predictions, beside the floor of a machine that does
//! nothing else: as many exponentials and multiplications as there are pairs of a head, at the rates measured here for each
//! alone. `fit`: the published recipe on the published kind of rows, by time and loss, one line a number of steps. `ours`: the
//! default fit. `memory`: one fit of few steps, for a meter outside.

use std::time::Instant;

use hattention::attention_regression::{AttentionRegression, Options};

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

fn main() -> Result<(), hattention::Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let what = arguments.first().map_or("forward", String::as_str);
    let argument = |at: usize, default: usize| arguments.get(at).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (count, columns, heads) = (argument(1, 5000), argument(2, 5), argument(3, 5));
    let (x, y) = rows(count, columns);
    let inputs: Vec<&[f64]> = x.iter().map(|column| &column[..]).collect();
    match what {
        "fit" => {
            for steps in [0, 5, 10, 20, 40, 80, 160] {
                let options = Options { steps, heads, tolerance: 0.0, ..Options::published() };
                let start = Instant::now();
                let model = AttentionRegression::fit(&inputs, &y, options)?;
                let seconds = start.elapsed().as_secs_f64();
                let report = &model.report;
                println!("{steps} steps, {} evaluations: {seconds:.3} s, loss {:.8}", report.evaluations, report.loss);
            }
        }
        "ours" => {
            let options = Options { heads, ..Options::default() };
            let start = Instant::now();
            let model = AttentionRegression::fit(&inputs, &y, options)?;
            let seconds = start.elapsed().as_secs_f64();
            let report = &model.report;
            println!(
                "{} steps, {} evaluations: {seconds:.3} s, loss {:.8}",
                report.steps, report.evaluations, report.loss
            );
        }
        "memory" => {
            let options = Options { heads, steps: 2, ..Options::default() };
            AttentionRegression::fit(&inputs, &y, options)?;
        }
        _ => {
            let options = Options { heads, steps: 0, ..Options::default() };
            let model = AttentionRegression::fit(&inputs, &y, options.clone())?;
            let fit = best(5, || drop(AttentionRegression::fit(&inputs, &y, options.clone())));
            let predict = best(5, || drop(model.predict(&inputs)));
            println!(
                "{count} × {columns}, {heads} heads: a loss, its slope and another loss {:.1} ms; predictions {:.1} ms",
                1e3 * fit,
                1e3 * predict
            );
        }
    }
    Ok(())
}

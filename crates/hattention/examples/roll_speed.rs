//! Times rolled regressions: `cargo run --release --example roll_speed -- [ROWS COLUMNS WINDOW [speed]]`, two threads with
//! `RAYON_NUM_THREADS=2`; `bench/peers_roll.py` times its peers and runs it beside them. Then compares 1,000 windows with
//! exact fits of their rows, with the columns as they are and 1e8 away from zero.
use hattention::roll::{Mask, RollOptions, Rolled, Rung, Status, roll};
use hattention::{Block, Column, Design, Error, Filter, Fit, Moments, Whitening, WhiteningOptions};

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
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let (rows, columns, window) = match arguments[..] {
        [rows, columns, window] => (rows, columns, window),
        _ => (1_000_000, 5, 250),
    };
    let mut seed = 88172645463325252;
    let x: Vec<Vec<f64>> = (0..columns).map(|_| normal(rows, &mut seed)).collect();
    let noise = normal(rows, &mut seed);
    let along = |i: usize| x.iter().zip(1..).map(|(column, j)| column[i] * j as f64 / columns as f64).sum::<f64>();
    let y: Vec<f64> = (0..rows).map(|i| 1.0 + along(i) + noise[i]).collect();
    let design = Design::plain((0..columns).map(|j| format!("x{j}")), true);
    let masks = [
        ("window", Mask::Window(window)),
        ("expanding", Mask::Expanding),
        ("decay", Mask::Decay(0.5f64.powf(1.0 / window as f64))),
    ];
    let block = block_of(&x, &y);
    for (name, mask) in masks {
        for coefficients_only in [true, false] {
            let options = RollOptions { coefficients_only, ..RollOptions::new(mask) };
            let mut best = f64::INFINITY;
            let mut climbed = 0;
            for _ in 0..3 {
                let start = std::time::Instant::now();
                match roll(&block, &design, &[(columns, "y")], options) {
                    Ok(rolled) => {
                        best = best.min(start.elapsed().as_secs_f64());
                        let doubles = Status::Fitted(Rung::Doubles);
                        let fitted = rolled.status.iter().filter(|s| matches!(s, Status::Fitted(_)));
                        climbed = fitted.filter(|s| **s != doubles).count();
                    }
                    Err(error) => eprintln!("error: {error}"),
                }
            }
            let what = if coefficients_only { "coefficients" } else { "all" };
            println!("{name} {what} {best:.4} s, {climbed} windows beyond doubles");
        }
    }
    if std::env::args().any(|argument| argument == "speed") {
        return;
    }
    let far: Vec<Vec<f64>> = x.iter().map(|column| column.iter().map(|x| x + 1e8).collect()).collect();
    for (name, mask) in masks {
        for (where_, x) in [("at zero", &x), ("at 1e8", &far)] {
            let block = block_of(x, &y);
            let worst = roll(&block, &design, &[(columns, "y")], RollOptions::new(mask))
                .and_then(|rolled| worst_error(&block, &design, &rolled, mask));
            match worst {
                Ok([estimate, error]) => {
                    println!("{name} {where_}: largest relative errors {estimate:.1e}, of standard errors {error:.1e}");
                }
                Err(error) => eprintln!("error: {error}"),
            }
        }
    }
}

fn block_of<'a>(x: &'a [Vec<f64>], y: &'a [f64]) -> Block<'a> {
    let columns = x.iter().map(|column| Column::Dense(column)).chain([Column::Dense(y)]).collect();
    Block { rows: y.len(), columns, weights: None }
}

/// The largest relative errors of coefficients and standard errors in 1,000 windows, against exact fits of their rows.
fn worst_error(block: &Block<'_>, design: &Design, rolled: &Rolled, mask: Mask) -> Result<[f64; 2], Error> {
    let (count, target) = (rolled.names.len(), design.names.len());
    let mut worst = [0.0f64; 2];
    let mut state = Moments::new(target + 1);
    let mut pushed = 0;
    for sample in 1..=1000 {
        let row = (block.rows - 1) * sample / 1000;
        if row < 2 * count || !matches!(rolled.status[row], Status::Fitted(_)) {
            continue;
        }
        let slice = |first: usize| {
            let columns = block.columns.iter().map(|column| match column {
                Column::Dense(values) => Column::Dense(&values[first..=row]),
                other => *other,
            });
            Block { rows: row + 1 - first, columns: columns.collect(), weights: None }
        };
        let mut scale = 1.0;
        match mask {
            Mask::Window(window) => state = Moments::of(&slice((row + 1).saturating_sub(window)))?,
            Mask::Expanding => state.push(&slice(pushed))?,
            Mask::Decay(decay) => {
                let first = row.saturating_sub((-650.0 / decay.ln()) as usize);
                let weights: Vec<f64> = (first..=row).map(|i| decay.powi((row - i) as i32)).collect();
                state = Moments::of(&Block { weights: Some(&weights), ..slice(first) })?;
                let df = weights.iter().sum::<f64>() - count as f64;
                scale = ((weights.len() - count) as f64 / df).sqrt();
            }
        }
        pushed = row + 1;
        let whitening = Whitening::of(&state, design, Filter::Ols, WhiteningOptions::default(), None)?;
        let fit = Fit::of(&state, &whitening, target, "y")?;
        for (k, coefficient) in fit.coefficients(0.95).iter().enumerate() {
            let y = &rolled.targets[0];
            let relative =
                |got: f64, wanted: Option<f64>, scale: f64| (got / (wanted.unwrap_or(f64::NAN) * scale) - 1.0).abs();
            let errors = [
                relative(y.coefficients[k][row], coefficient.estimate, 1.0),
                relative(y.std_errors[k][row], coefficient.std_error, scale),
            ];
            worst
                .iter_mut()
                .zip(errors)
                .for_each(|(worst, error)| *worst = if error > *worst { error } else { *worst });
        }
    }
    Ok(worst)
}

//! What groups cost: `cargo run --release --example groups_speed -- [GROUPS] [ROWS] [COLUMNS]`.

use std::hint::black_box;
use std::time::Instant;

use hattention::groups::{GroupOptions, GroupedRows, Groups, Rung, Status};
use hattention::{Block, Column, Design, Filter, Fit, Moments, Whitening, WhiteningOptions};
use rayon::prelude::*;

fn main() -> Result<(), hattention::Error> {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let argument = |place: usize, default: usize| arguments.get(place).copied().unwrap_or(default);
    let (groups, rows, columns) = (argument(0, 100_000), argument(1, 50), argument(2, 5));
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 * 2f64.powi(-53) - 0.5
    };
    let data: Vec<Vec<f64>> = (0..=columns).map(|_| (0..groups * rows).map(|_| next()).collect()).collect();
    let design = Design::plain((0..columns).map(|j| format!("x{j}")), true);
    let seconds = |name: &str, start: Instant| {
        let spent = start.elapsed().as_secs_f64();
        println!("{name}: {spent:.3} s, {:.2} µs a group", spent * 1e6 / groups as f64);
    };
    for interleaved in [false, true] {
        println!("{}", if interleaved { "rows of all groups in turn" } else { "group after group" });
        let number = |row: usize| if interleaved { row % groups } else { row / rows } as u32;
        let numbers: Vec<u32> = (0..groups * rows).map(number).collect();
        let options = GroupOptions::default();
        let ids: Vec<usize> = (0..=columns).collect();
        let threads = rayon::current_num_threads();
        // A part a thread, of blocks in turn.
        let gather = |part: usize| -> Result<GroupedRows, hattention::Error> {
            let mut kept = GroupedRows::new(options.keep());
            for first in (0..groups * rows).step_by(8192).skip(part).step_by(threads) {
                let range = first..(first + 8192).min(groups * rows);
                let part: Vec<Column<'_>> = data.iter().map(|column| Column::Dense(&column[range.clone()])).collect();
                kept.push(&Block { rows: range.len(), columns: part, weights: None }, &ids, &numbers[range])?;
            }
            Ok(kept)
        };
        let whole = Instant::now();
        let parts = (0..threads).into_par_iter().map(gather).collect::<Result<Vec<_>, _>>()?;
        seconds(&format!("gathered by {threads} threads"), whole);
        println!("{} bytes a group", parts.iter().map(GroupedRows::bytes).sum::<usize>() / groups);
        let start = Instant::now();
        let designer = |_: &[usize]| Ok(design.clone());
        let all: Vec<u32> = (0..groups as u32).collect();
        let fits = Groups::new(parts, &designer, &[columns], options).fit(&all);
        seconds(&format!("fitted by {threads} threads"), start);
        seconds("together", whole);
        let fast = fits.iter().filter(|fit| fit.status == Status::Fitted(Rung::Doubled)).count();
        println!("{fast} of {groups} in doubled arithmetic");
        if interleaved {
            continue;
        }
        let some = groups.min(2000);
        let start = Instant::now();
        let mut worst = [0.0f64; 2];
        for (group, fit) in fits.iter().enumerate().take(some) {
            let range = group * rows..(group + 1) * rows;
            let part: Vec<Column<'_>> = data.iter().map(|column| Column::Dense(&column[range.clone()])).collect();
            let moments = Moments::of(&Block { rows, columns: part, weights: None })?;
            let whitening = Whitening::of(&moments, &design, Filter::Ols, WhiteningOptions::default(), None)?;
            let single = Fit::of(&moments, &whitening, columns, "y")?;
            for (k, coefficient) in single.coefficients(0.95).iter().enumerate() {
                let Some(target) = fit.targets.first() else { continue };
                let pairs =
                    [(coefficient.estimate, target.estimates[k]), (coefficient.std_error, target.std_errors[k])];
                for (worst, (expected, got)) in worst.iter_mut().zip(pairs) {
                    *worst = expected.map_or(*worst, |expected| worst.max((got / expected - 1.0).abs()));
                }
            }
        }
        let spent = start.elapsed().as_secs_f64() * 1e6 / some as f64;
        println!(
            "one by one, exactly: {spent:.1} µs a group; differences at most {:.1e} (coefficients), {:.1e} (errors)",
            worst[0], worst[1]
        );
        black_box(&fits);
    }
    Ok(())
}

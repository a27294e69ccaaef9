//! Times tables of two layouts, columns side by side and rows side by side, in alternating rounds of one run on two threads:
//! `cargo run --release --example table_speed -- [ROUNDS]`.
use std::time::Instant;

use hattention::{Block, Column, Design, Error, Moments, Strided, Table, attention, in_memory};

fn main() -> Result<(), Error> {
    let rounds = std::env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(15);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
    match pool {
        Ok(pool) => pool.install(|| SIZES.iter().try_for_each(|&(rows, columns)| measure(rows, columns, rounds))),
        Err(error) => {
            eprintln!("error: {error}");
            Ok(())
        }
    }
}

const SIZES: [(usize, usize); 3] = [(1_000_000, 10), (100_000, 100), (10_000, 1000)];

/// A name and what is timed.
type Way<'a> = (&'a str, &'a mut dyn FnMut() -> Result<(), Error>);

/// Median milliseconds of every way, tried in turn.
fn medians(rounds: usize, ways: &mut [Way<'_>]) -> Result<(), Error> {
    let mut times = vec![Vec::new(); ways.len()];
    for _ in 0..rounds {
        for ((_, run), times) in ways.iter_mut().zip(&mut times) {
            let start = Instant::now();
            run()?;
            times.push(1e3 * start.elapsed().as_secs_f64());
        }
    }
    let mut first = None;
    for ((what, _), times) in ways.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let (median, least) = (times[times.len() / 2], times[0]);
        let (base, base_least) = *first.get_or_insert((median, least));
        let (ratio, least_ratio) = (median / base, least / base_least);
        println!("{what:<32}{median:>9.2} ms median, {ratio:.2}×   {least:>9.2} ms least, {least_ratio:.2}×");
    }
    Ok(())
}

fn measure(n: usize, p: usize, rounds: usize) -> Result<(), Error> {
    println!("{n} x {p}");
    let mut state = 88172645463325252u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut normal = || (-2.0 * (1.0 - next()).ln()).sqrt() * (std::f64::consts::TAU * next()).cos();
    let by_columns: Vec<f64> = (0..n * p).map(|_| normal()).collect();
    let y: Vec<f64> = (0..n).map(|_| normal()).collect();
    let by_rows: Vec<f64> = (0..n * p).map(|at| by_columns[at % p * n + at / p]).collect();
    let tables = [Table::new(&by_columns, [n, p], [1, n])?, Table::new(&by_rows, [n, p], [p, 1])?];
    let target = Strided::from(&y[..]);
    let design = Design::plain((0..p).map(|c| format!("x{c}")), true);
    let mut columns: Vec<Column<'_>> = by_columns.chunks(n).map(Column::Dense).collect();
    columns.push(Column::Dense(&y));
    let block = Block { rows: n, columns, weights: None };

    let fit = |table: &Table<'_>| in_memory::fit_table(table, &design, &[(target, "y")], None, Default::default());
    medians(
        rounds,
        &mut [
            ("in memory, a block", &mut || in_memory::fit(&block, &design, &[(p, "y")], Default::default()).map(drop)),
            ("in memory, columns", &mut || fit(&tables[0]).map(drop)),
            ("in memory, rows", &mut || fit(&tables[1]).map(drop)),
        ],
    )?;
    let state = |table: &Table<'_>| Moments::of_table(table, &[target], None).map(drop);
    medians(
        if p > 500 { rounds.div_ceil(3) } else { rounds },
        &mut [
            ("exact state, a block", &mut || Moments::of(&block).map(drop)),
            ("exact state, columns", &mut || state(&tables[0])),
            ("exact state, rows", &mut || state(&tables[1])),
        ],
    )?;
    let (whitening, fits) = fit(&tables[0])?;
    let ids: Vec<usize> = (0..p).collect();
    let (mut first, mut second) = (vec![0.0; n], vec![0.0; n]);
    let predict =
        |table: &Table<'_>, into: &mut [f64]| attention::predict_table(&whitening, &fits[0], table, &ids, into);
    medians(
        rounds,
        &mut [
            ("predictions, columns", &mut || predict(&tables[0], &mut first)),
            ("predictions, rows", &mut || predict(&tables[1], &mut second)),
        ],
    )?;
    let leverages =
        |table: &Table<'_>, into: &mut [f64]| attention::leverages_table(&whitening, table, &ids, None, into);
    medians(
        if p > 500 { 1 } else { rounds },
        &mut [
            ("leverages, columns", &mut || leverages(&tables[0], &mut first)),
            ("leverages, rows", &mut || leverages(&tables[1], &mut second)),
        ],
    )
}

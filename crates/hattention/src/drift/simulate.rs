//! Draws for studying the test: states of normal laws without their rows, and rows of heavy-tailed ones.

use super::axes::{cholesky, substitute};
use super::random::Generator;
use super::sample::Sample;
use crate::block::{Block, Column};
use crate::design::{Design, Filter};
use crate::error::Error;
use crate::memory::State;
use crate::moments::Moments;
use crate::whitening::Whitening;

/// The state of a batch of `rows` normal rows under a slow memory of `training_rows` normal rows, both drawn anew.
///
/// The law of the batch is that of the training rows, but column `c` is `scales[c]` times as wide (1 beyond the list).
/// Covariances are drawn as Wishart matrices (Bartlett's decomposition): the cost is `O(p³)` whatever the rows.
///
/// # Errors
/// [`Error::TooFewRows`] for samples of at most `p` rows, fewer than a covariance needs.
pub fn state(
    generator: &mut Generator,
    columns: usize,
    training_rows: f64,
    rows: f64,
    scales: &[f64],
) -> Result<State, Error> {
    let fewest = training_rows.min(rows);
    if fewest <= columns as f64 {
        return Err(Error::TooFewRows { rows: fewest as u64, coefficients: columns + 1 });
    }
    let scale = |c: usize| scales.get(c).copied().unwrap_or(1.0);
    let training = covariance(generator, columns, training_rows);
    let factor = cholesky(training, columns).ok_or(Error::NoConvergence { steps: 0, residual: f64::NAN })?;
    let mut means: Vec<f64> = (0..columns)
        .map(|c| generator.normal() * scale(c) / rows.sqrt() - generator.normal() / training_rows.sqrt())
        .collect();
    let mut batch = covariance(generator, columns, rows);
    for (k, entry) in batch.iter_mut().enumerate() {
        *entry *= scale(k / columns) * scale(k % columns);
    }
    substitute(&factor, columns, &mut means);
    for _ in 0..2 {
        batch = (0..columns * columns).map(|k| batch[k % columns * columns + k / columns]).collect();
        batch.chunks_exact_mut(columns.max(1)).for_each(|row| substitute(&factor, columns, row));
    }
    let size = columns + 1;
    let mut matrix = vec![0.0; size * size];
    let with_constant = |i: usize| if i == 0 { 1.0 } else { means[i - 1] };
    for i in 0..size {
        for j in 0..size {
            let own = if i > 0 && j > 0 { batch[(i - 1) * columns + j - 1] } else { 0.0 };
            matrix[i * size + j] = own + with_constant(i) * with_constant(j);
        }
    }
    Ok(State { size, rows, matrix })
}

/// The covariance (divisor `rows`) of standard normal rows about their mean, row-major.
fn covariance(generator: &mut Generator, columns: usize, rows: f64) -> Vec<f64> {
    let mut factor = vec![0.0; columns * columns];
    for i in 0..columns {
        for j in 0..i {
            factor[i * columns + j] = generator.normal();
        }
        factor[i * columns + i] = generator.chi_square(rows - 1.0 - i as f64).sqrt();
    }
    let entry = |k: usize| {
        let (i, j) = (k / columns, k % columns);
        let (a, b) = (&factor[i * columns..][..columns], &factor[j * columns..][..columns]);
        a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / rows
    };
    (0..columns * columns).map(entry).collect()
}

/// Rows of independent Student's t columns; infinite degrees of freedom are the normal law.
///
/// # Shapes
/// `[columns][rows]`.
pub fn rows(generator: &mut Generator, columns: usize, rows: usize, df: f64) -> Vec<Vec<f64>> {
    (0..columns).map(|_| (0..rows).map(|_| generator.student(df)).collect()).collect()
}

/// The state of a batch in memory, whitened by training rows in memory.
///
/// # Shapes
/// `[columns][rows]` each.
///
/// # Errors
/// - As [`Moments::of`], [`Whitening::of`](crate::Whitening::of) and [`Sample::state`].
pub fn state_of(training: &[&[f64]], batch: &[&[f64]]) -> Result<State, Error> {
    let whitening = whitening_of(training)?;
    let mut sample = Sample::new(&whitening);
    sample.push(&whitening, &block_of(batch), &(0..batch.len()).collect::<Vec<usize>>())?;
    sample.state(&whitening)
}

/// Least squares with an intercept on columns `x0, x1, …` in memory.
///
/// # Errors
/// As [`Moments::of`] and [`Whitening::of`](crate::Whitening::of).
pub fn whitening_of(training: &[&[f64]]) -> Result<Whitening, Error> {
    let design = Design::plain((0..training.len()).map(|c| format!("x{c}")), true);
    Whitening::of(&Moments::of(&block_of(training))?, &design, Filter::Ols, Default::default(), None)
}

/// Columns in memory as a block.
pub fn block_of<'a>(columns: &[&'a [f64]]) -> Block<'a> {
    let rows = columns.first().map_or(0, |column| column.len());
    Block { rows, columns: columns.iter().map(|column| Column::Dense(column)).collect(), weights: None }
}

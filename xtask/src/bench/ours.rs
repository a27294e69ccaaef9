//! hattention's own ways to a fit, timed in memory.

use std::time::Instant;

use hattention::attention::{self, Keys};
use hattention::{Block, Column, Design, Error, Filter, Fit, Method, Moments, Whitening, WhiteningOptions};
use rayon::prelude::*;

use super::data::Data;

/// Rows that one task of the pool reads at a time, when every row gets a result.
const ROWS_OF_A_TASK: usize = 16_384;

/// What one timed run gave.
pub(crate) struct Run {
    pub(crate) seconds: f64,
    /// Seconds of the steps, and of reads after the fit that `seconds` does not contain, by name.
    pub(crate) parts: Vec<(&'static str, f64)>,
    /// The intercept first.
    pub(crate) coefficients: Vec<f64>,
}

/// A way to a result: who, what it computes, how.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) computes: &'static str,
    pub(crate) run: fn(&Data) -> Result<Run, Error>,
}

/// The first is the one whose result is the truth and whose time is the unit.
pub(crate) const WAYS: &[Way] = &[
    Way { name: "hattention, order-free state", computes: COMPUTES, run: order_free },
    Way { name: "hattention, in memory", computes: COMPUTES, run: in_memory },
];
const COMPUTES: &str = "and standard errors, p values, digits";

fn order_free(data: &Data) -> Result<Run, Error> {
    fit(data).map(|(_, run)| run)
}

fn in_memory(data: &Data) -> Result<Run, Error> {
    let columns = data.x.iter().chain([&data.y]).map(|c| Column::Dense(c)).collect();
    let block = Block { rows: data.rows, columns, weights: None };
    let design = Design::plain((1..=data.x.len()).map(|j| format!("x{j}")), true);
    let start = Instant::now();
    let (whitening, fits) =
        hattention::in_memory::fit(&block, &design, &[(data.x.len(), "y")], WhiteningOptions::default())?;
    let table = fits[0].coefficients(0.95);
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(whitening.method, Method::InMemory, "these rows are what the rung is for");
    let leverages = leverages_and_leave_one_out(data, &whitening, &fits[0])?;
    let coefficients = table.iter().map(|c| c.estimate.unwrap_or(f64::NAN)).collect();
    Ok(Run { seconds, parts: vec![("leverages_seconds", leverages)], coefficients })
}

fn fit(data: &Data) -> Result<(Fit, Run), Error> {
    let columns = data.x.iter().chain([&data.y]).map(|c| Column::Dense(c)).collect();
    let block = Block { rows: data.rows, columns, weights: None };
    let design = Design::plain((1..=data.x.len()).map(|j| format!("x{j}")), true);
    let start = Instant::now();
    let moments = Moments::of(&block)?;
    let moments_at = start.elapsed().as_secs_f64();
    let whitening = Whitening::of(&moments, &design, Filter::Ols, WhiteningOptions::default(), None)?;
    let whitening_at = start.elapsed().as_secs_f64();
    let fit = Fit::of(&moments, &whitening, data.x.len(), "y")?;
    let table = fit.coefficients(0.95);
    let seconds = start.elapsed().as_secs_f64();
    let leverages = leverages_and_leave_one_out(data, &whitening, &fit)?;
    let run = Run {
        seconds,
        parts: vec![
            ("moments_seconds", moments_at),
            ("whitening_seconds", whitening_at - moments_at),
            ("inference_seconds", seconds - whitening_at),
            ("leverages_seconds", leverages),
        ],
        coefficients: table.iter().map(|c| c.estimate.unwrap_or(f64::NAN)).collect(),
    };
    Ok((fit, run))
}

/// Seconds to the leverage and the leave-one-out residual of every row, given the fit.
fn leverages_and_leave_one_out(data: &Data, whitening: &Whitening, fit: &Fit) -> Result<f64, Error> {
    let ids: Vec<usize> = (0..data.x.len()).collect();
    let read = |first: usize| {
        let rows = first..data.rows.min(first + ROWS_OF_A_TASK);
        let columns = data.x.iter().map(|c| Column::Dense(&c[rows.clone()])).collect();
        let block = Block { rows: rows.len(), columns, weights: None };
        let leverages = Keys::of(whitening, &block, &ids)?.leverages(None);
        let residuals = attention::residuals(whitening, fit, &block, &ids, Column::Dense(&data.y[rows]))?;
        let alone = attention::leave_one_out(&residuals, &leverages);
        Ok((leverages, alone))
    };
    let firsts: Vec<usize> = (0..data.rows).step_by(ROWS_OF_A_TASK).collect();
    let start = Instant::now();
    let rows: Vec<(Vec<f64>, Vec<f64>)> = firsts.into_par_iter().map(read).collect::<Result<_, Error>>()?;
    let seconds = start.elapsed().as_secs_f64();
    let trace: f64 = rows.iter().flat_map(|(leverages, _)| leverages).sum();
    let coefficients = (1 + data.x.len()) as f64;
    assert!((trace - coefficients).abs() < 1e-9 * coefficients, "leverages add up to {trace}, not {coefficients}");
    Ok(seconds)
}

/// The coefficients every contestant is compared with, and the digits stated for them.
pub(crate) fn exact(data: &Data) -> Result<(Vec<f64>, f64), Error> {
    let (fit, run) = fit(data)?;
    Ok((run.coefficients, fit.digits()))
}

//! hattention's own ways to a fit, timed in memory.

use std::time::Instant;

use hattention::{Block, Column, Design, Filter, Fit, Moments, Whitening, WhiteningOptions};

use super::data::Data;

/// What one timed run gave.
pub(crate) struct Run {
    pub(crate) seconds: f64,
    /// Seconds of the steps, by name.
    pub(crate) parts: Vec<(&'static str, f64)>,
    /// The intercept first; empty if the way computes no coefficients.
    pub(crate) coefficients: Vec<f64>,
}

/// A way to a result: who, what it computes, how.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) computes: &'static str,
    pub(crate) run: fn(&Data) -> Result<Run, hattention::Error>,
}

/// The first is the one whose result is the truth and whose time is the unit.
///
/// HOOK: the in-memory rung, and leverages with leave-one-out residuals, become further lines here.
pub(crate) const WAYS: &[Way] =
    &[Way { name: "hattention, order-free state", computes: "and standard errors, p values, digits", run: order_free }];

fn order_free(data: &Data) -> Result<Run, hattention::Error> {
    fit(data).map(|(_, run)| run)
}

fn fit(data: &Data) -> Result<(Fit, Run), hattention::Error> {
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
    let run = Run {
        seconds,
        parts: vec![
            ("moments_seconds", moments_at),
            ("whitening_seconds", whitening_at - moments_at),
            ("inference_seconds", seconds - whitening_at),
        ],
        coefficients: table.iter().map(|c| c.estimate.unwrap_or(f64::NAN)).collect(),
    };
    Ok((fit, run))
}

/// The coefficients every contestant is compared with, and the digits stated for them.
pub(crate) fn exact(data: &Data) -> Result<(Vec<f64>, f64), hattention::Error> {
    let (fit, run) = fit(data)?;
    Ok((run.coefficients, fit.digits()))
}

//! Attention regressions that differ in where their search starts.

use hattention::Matrix;
use hattention::attention::Diagnostics;
use hattention::attention_regression::{AttentionRegression, Options, Weights};
use rand::RngExt;

use super::embedding::{COLUMNS, correlation, middle, shared};
use crate::designs::normal;
use crate::error::Error;
use crate::experiment::{Context, Unit};
use crate::rows::Row;
use crate::seeds::Generator;

const SIGNAL_OVER_NOISE: f64 = 2.0;

/// What one start makes of the queries.
struct Found {
    predictions: Vec<f64>,
    weights: Vec<Vec<f64>>,
    loss: f64,
}

/// A row for every pair of starts.
pub(super) fn rows(unit: &Unit, context: &Context<'_>, seed: usize) -> Result<Vec<Row>, Error> {
    let (n, starts, steps) = (unit.count("rows")?, unit.count("starts")?, unit.count("steps")?);
    let recipe = unit.word("recipe")?;
    let own = if recipe == "published" { Options::published() } else { Options::default() };
    let own = Options { steps: own.steps.min(steps), ..own };
    // The rows are the same for all recipes.
    let mut generator = crate::seeds::generator(super::EXPERIMENT.name, "starts", "rows", seed);
    let (x, y) = friedman(2 * n, &mut generator);
    let columns: Vec<Vec<f64>> = (0..COLUMNS).map(|c| (0..2 * n).map(|i| x.at(i, c)).collect()).collect();
    let train: Vec<&[f64]> = columns.iter().map(|column| &column[..n]).collect();
    let fresh: Vec<&[f64]> = columns.iter().map(|column| &column[n..]).collect();
    let of = |start: usize| -> Result<Found, Error> {
        let options = Options { seed: 1 + start as u64, ..own.clone() };
        let model = AttentionRegression::fit(&train, &y[..n], options)?;
        let weights = Weights::of(&model).weights(&fresh)?;
        Ok(Found { predictions: model.predict(&fresh)?, weights, loss: model.report.loss })
    };
    let found = (0..starts).map(of).collect::<Result<Vec<_>, _>>()?;
    context.progress((1.0 + seed as f64) / context.plan.seeds as f64);
    let pairs = (0..starts).flat_map(|a| (0..a).map(move |b| (a, b)));
    Ok(pairs
        .map(|(a, b)| compared(&found[a], &found[b], &y[n..]).label("recipe", recipe).label("pair", format!("{b}-{a}")))
        .collect())
}

fn compared(a: &Found, b: &Found, targets: &[f64]) -> Row {
    let off = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum::<f64>();
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let spread = |v: &[f64]| off(v, &vec![mean(v); v.len()]);
    let predictions = (off(&a.predictions, &b.predictions) / spread(&b.predictions)).sqrt();
    let pairs = || a.weights.iter().zip(&b.weights);
    let none = vec![0.0; b.weights[0].len()];
    let (apart, size) =
        pairs().map(|(a, b)| (off(a, b), off(b, &none))).fold((0.0, 0.0), |s, t| (s.0 + t.0, s.1 + t.1));
    let weights = (apart / size).sqrt();
    let gross = |w: &[f64]| Diagnostics::of(w).gross;
    let factors = pairs().map(|(a, b)| (gross(a) / gross(b)).max(gross(b) / gross(a)));
    Row::new()
        .label("kind", "starts")
        .value("predictions, distance", predictions)
        .value("weights, distance", weights)
        .value("weights over predictions", weights / predictions)
        .value("weights, correlation", middle(pairs().map(|(a, b)| correlation(a, b)).collect()))
        .value("top rows shared", mean(&pairs().map(|(a, b)| shared(a, b)).collect::<Vec<_>>()))
        .value("gross leverage, factor", middle(factors.collect()))
        .value("R², first", 1.0 - off(&a.predictions, targets) / spread(targets))
        .value("R², other", 1.0 - off(&b.predictions, targets) / spread(targets))
        .value("losses, difference", (a.loss - b.loss).abs())
}

/// `10 sin(πx₁x₂) + 20(x₃ − .5)² + 10x₄ + 5x₅` of uniform columns, and noise.
fn friedman(rows: usize, generator: &mut Generator) -> (Matrix, Vec<f64>) {
    let x = Matrix::from_fn(rows, COLUMNS, |_, _| generator.random::<f64>());
    let signal = |row: &[f64]| {
        10.0 * (std::f64::consts::PI * row[0] * row[1]).sin()
            + 20.0 * (row[2] - 0.5).powi(2)
            + 10.0 * row[3]
            + 5.0 * row[4]
    };
    let signals: Vec<f64> = (0..rows).map(|i| signal(x.row(i))).collect();
    let mean = signals.iter().sum::<f64>() / rows as f64;
    let variance = signals.iter().map(|s| (s - mean) * (s - mean)).sum::<f64>() / rows as f64;
    let deviation = (variance / SIGNAL_OVER_NOISE).sqrt();
    let noise = normal(rows, 1, generator);
    let y = signals.iter().enumerate().map(|(i, s)| s + deviation * noise.at(i, 0)).collect();
    (x, y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_start_agrees_with_itself() {
        let (x, y) = friedman(60, &mut crate::seeds::generator("test", "starts", "", 0));
        let columns: Vec<Vec<f64>> = (0..COLUMNS).map(|c| (0..60).map(|i| x.at(i, c)).collect()).collect();
        let train: Vec<&[f64]> = columns.iter().map(|column| &column[..]).collect();
        let options = Options { steps: 5, ..Options::default() };
        let model = AttentionRegression::fit(&train, &y, options).unwrap();
        let weights = Weights::of(&model).weights(&train).unwrap();
        let found = || Found { predictions: model.predict(&train).unwrap(), weights: weights.clone(), loss: 0.0 };
        let row = compared(&found(), &found(), &y);
        assert_eq!((row.get("predictions, distance"), row.get("top rows shared")), (Some(0.0), Some(1.0)));
    }
}

//! Attention regression by masks, fitted to the past of every quarter.

use hattention::attention_regression::{AttentionRegression, Mask, Options, Weights};
use rayon::prelude::*;

use super::measures::{Follower, year};
use super::ols::{first, whole_metric};
use super::{CHOICE, HALF_LIFE, WINDOW};
use crate::error::Error;
use crate::experiment::{Context, Unit};
use crate::quarters::Quarters;
use crate::rows::Row;

/// Rows that penalties are chosen with at most: all.
const MOST: usize = 1000;

/// What a fit to the past says of a quarter.
struct Quarter {
    weights: Vec<f64>,
    /// One a start.
    predictions: Vec<f64>,
    penalty: f64,
    mixing: f64,
    lowest: f64,
    largest: f64,
    converged: bool,
}

/// Quarters with the weights of the first start, and the errors of all starts.
pub(super) fn rows(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let quarters = Quarters::read()?;
    let first = first(&quarters, unit)?;
    let scheme = unit.word("mask")?;
    let all = quarters.names.len();
    let chosen = (first..all).step_by(CHOICE).collect::<Vec<_>>();
    let chosen = chosen.into_par_iter().map(|t| choice(&quarters, unit, scheme, from(scheme, t)..t));
    let chosen = chosen.collect::<Result<Vec<_>, Error>>()?;
    context.progress(0.5);
    let starts = starts(scheme, context.plan.seeds);
    let of = |t: usize| quarter(&quarters, scheme, t, &chosen[(t - first) / CHOICE], starts);
    let found = (first..all).into_par_iter().map(of).collect::<Result<Vec<_>, Error>>()?;
    let name = format!("attention, {scheme}");
    let mut follower = Follower::new(&quarters, &name);
    for (t, quarter) in (first..all).zip(&found) {
        let more = [
            ("penalty", quarter.penalty),
            ("mixing", quarter.mixing),
            ("lowest head coefficient", quarter.lowest),
            ("largest |head coefficient|", quarter.largest),
            ("converged", f64::from(quarter.converged)),
        ];
        follower.push(t, quarter.weights.clone(), quarter.predictions[0], &more);
    }
    let mut rows = follower.rows;
    for start in 0..starts {
        let square = |(t, q): (usize, &Quarter)| (quarters.inflation[t] - q.predictions[start]).powi(2);
        let squares: f64 = (first..all).zip(&found).map(square).sum();
        let row = Row::new().label("kind", "start").label("scheme", name.as_str()).label("start", start);
        rows.push(row.value("error", (squares / (all - first) as f64).sqrt()));
    }
    context.progress(1.0);
    Ok(rows)
}

/// The first row that is fitted.
fn from(scheme: &str, t: usize) -> usize {
    if scheme == "rolling" { t.saturating_sub(WINDOW) } else { 0 }
}

/// Options with penalties chosen by some rows; those of the recipe as published are as they are.
fn choice(quarters: &Quarters, unit: &Unit, scheme: &str, rows: std::ops::Range<usize>) -> Result<Options, Error> {
    let mask = match scheme {
        "causal" | "published-causal" => Mask::Before,
        "window" => Mask::Window(WINDOW),
        "decay" => Mask::Decay(HALF_LIFE),
        "published" => Mask::All,
        _ => Mask::Others,
    };
    let published = scheme.starts_with("published");
    let own = if published { Options { standardize: true, ..Options::published() } } else { Options::default() };
    let steps = own.steps.min(unit.count("steps")?);
    let options = Options { mask, steps, linear: own.linear && scheme != "heads", ..own };
    match unit.count("folds")? {
        folds if folds > 0 && !published => {
            Ok(options.choose(&quarters.rows(rows.clone()), &quarters.inflation[rows], folds, MOST)?.options)
        }
        _ => Ok(options),
    }
}

/// Searches from different starts.
fn starts(scheme: &str, seeds: usize) -> usize {
    if scheme.starts_with("published") { 1 } else { seeds }
}

fn quarter(quarters: &Quarters, scheme: &str, t: usize, options: &Options, starts: usize) -> Result<Quarter, Error> {
    let past = from(scheme, t)..t;
    let (columns, targets) = (quarters.rows(past.clone()), &quarters.inflation[past.clone()]);
    let query = quarters.rows(t..t + 1);
    let fit = |start: usize| {
        AttentionRegression::fit(&columns, targets, Options { seed: 1 + start as u64, ..options.clone() })
    };
    let model = fit(0)?;
    let mut weights = vec![0.0; past.start];
    weights.extend(Weights::of(&model).weights(&query)?.concat());
    let mut predictions = vec![model.predict(&query)?[0]];
    for start in 1..starts {
        predictions.push(fit(start)?.predict(&query)?[0]);
    }
    let heads = model.head_coefficients();
    Ok(Quarter {
        weights,
        predictions,
        penalty: options.penalty,
        mixing: options.mixing,
        lowest: heads.iter().copied().fold(f64::INFINITY, f64::min),
        largest: heads.iter().fold(0.0, |m, a| a.abs().max(m)),
        converged: model.report.converged,
    })
}

/// Predictions that saw what they should not: everything of causal attention regression, and the metric alone of causal linear
/// attention.
pub(super) fn look_ahead(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let quarters = Quarters::read()?;
    let first = first(&quarters, unit)?;
    let all = quarters.names.len();
    let mut schemes: Vec<(String, Vec<f64>)> = Vec::new();
    for scheme in ["loo", "causal", "published-causal"] {
        let options = choice(&quarters, unit, scheme, 0..all)?;
        let model = AttentionRegression::fit(&quarters.rows(0..all), &quarters.inflation, options)?;
        let left_out = model.left_out();
        let predictions = (first..all).map(|t| quarters.inflation[t] - left_out[t]).collect();
        schemes.push((format!("attention, {scheme}, seeing all"), predictions));
        context.progress(schemes.len() as f64 / 4.0);
    }
    let linear: Vec<[f64; 2]> = (first..all).map(|t| whole_metric(&quarters, t)).collect();
    for (k, name) in ["linear attention, metric of all", "linear attention, metric of all, sums"].iter().enumerate() {
        schemes.push(((*name).to_owned(), linear.iter().map(|p| p[k]).collect()));
    }
    let mut rows = Vec::new();
    for (scheme, predictions) in &schemes {
        for (t, prediction) in (first..all).zip(predictions) {
            rows.push(
                Row::new()
                    .label("kind", "quarter")
                    .label("scheme", scheme.as_str())
                    .label("quarter", quarters.names[t].as_str())
                    .label("year", year(&quarters.names[t]))
                    .value("inflation", quarters.inflation[t])
                    .value("prediction", *prediction),
            );
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_future_changes_no_honest_prediction() {
        let unit = Unit::new("u", json!({"steps": 5, "folds": 0}));
        let quarters = Quarters::read().unwrap();
        let mut other = quarters.clone();
        other.inflation[150..].iter_mut().for_each(|y| *y += 100.0);
        other.columns.iter_mut().for_each(|column| column[151..].iter_mut().for_each(|x| *x -= 50.0));
        for scheme in super::super::MASKS {
            let of = |quarters: &Quarters| {
                let options = choice(quarters, &unit, scheme, from(scheme, 150)..150).unwrap();
                quarter(quarters, scheme, 150, &options, 1).unwrap()
            };
            let (one, two) = (of(&quarters), of(&other));
            assert_eq!((one.weights.len(), one.weights == two.weights), (150, true), "{scheme}");
            assert_eq!(one.predictions, two.predictions);
            // (As published there is no constant, and no sum.)
            let sum: f64 = one.weights.iter().sum();
            assert!(scheme.starts_with("published") || (sum - 1.0).abs() < 1e-9, "{scheme}: {sum}");
        }
    }
}

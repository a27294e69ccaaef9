//! Least squares by schemes: weights from their formula, predictions from the engine's rolled regressions.

use hattention::roll::{Mask, RollOptions, Rolled, roll};
use hattention::{Block, Column, Design, Matrix};

use super::measures::Follower;
use super::{HALF_LIFE, SCHEMES, WINDOW};
use crate::designs::solved;
use crate::error::Error;
use crate::experiment::{Context, Unit};
use crate::quarters::Quarters;
use crate::rows::Row;

/// The schemes quarter by quarter, the mean of all earlier quarters, and the last quarter again.
pub(super) fn rows(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let quarters = Quarters::read()?;
    let first = first(&quarters, unit)?;
    let mut rows = Vec::new();
    for (k, scheme) in SCHEMES.iter().enumerate() {
        let mask = mask(scheme);
        let rolled = rolled(&quarters, mask)?;
        let target = &rolled.targets[0];
        let mut follower = Follower::new(&quarters, scheme);
        for t in first..quarters.names.len() {
            let own = importance(t, mask);
            let weights = weights(&quarters, t, &own);
            let squares = weights.iter().zip(&own).filter(|(_, o)| **o > 0.0).map(|(w, o)| w * w / o).sum::<f64>();
            let leverage = (target.predicted_se[t] / target.sigma[t - 1]).powi(2) - 1.0;
            let more = [("weighted squares", squares), ("leverage by the engine", leverage)];
            follower.push(t, weights, target.predicted[t], &more);
        }
        rows.extend(follower.rows);
        context.progress((1 + k) as f64 / SCHEMES.len() as f64);
    }
    for (scheme, last) in [("mean", false), ("last quarter", true)] {
        let mut follower = Follower::new(&quarters, scheme);
        for t in first..quarters.names.len() {
            let weight = |i: usize| if !last { 1.0 / t as f64 } else { f64::from(i + 1 == t) };
            let weights: Vec<f64> = (0..t).map(weight).collect();
            let prediction = weights.iter().zip(&quarters.inflation).map(|(w, y)| w * y).sum();
            follower.push(t, weights, prediction, &[]);
        }
        rows.extend(follower.rows);
    }
    Ok(rows)
}

/// The first row that is predicted.
pub(super) fn first(quarters: &Quarters, unit: &Unit) -> Result<usize, Error> {
    let got = unit.word("first")?;
    let refused = Error::Parameter { name: "first", got: got.to_owned(), allowed: "a quarter of the file" };
    quarters.place(got).ok_or(refused)
}

fn mask(scheme: &str) -> Mask {
    match scheme {
        "rolling 40" => Mask::Window(40),
        "rolling 80" => Mask::Window(WINDOW),
        "decayed" => Mask::Decay(0.5f64.powf(1.0 / HALF_LIFE)),
        _ => Mask::Expanding,
    }
}

fn rolled(quarters: &Quarters, mask: Mask) -> Result<Rolled, Error> {
    let columns = quarters.columns.iter().chain([&quarters.inflation]).map(|c| Column::Dense(c)).collect();
    let block = Block { rows: quarters.names.len(), columns, weights: None };
    let count = quarters.columns.len();
    let design = Design::plain((1..=count).map(|c| format!("x{c}")), true);
    Ok(roll(&block, &design, &[(count, "inflation")], RollOptions::new(mask))?)
}

/// How much every row before `t` counts in a fit.
fn importance(t: usize, mask: Mask) -> Vec<f64> {
    let of = |i: usize| match mask {
        Mask::Window(window) => f64::from(i + window >= t),
        Mask::Decay(decay) => decay.powi((t - 1 - i) as i32),
        Mask::Expanding => 1.0,
    };
    (0..t).map(of).collect()
}

/// `ω_i = w_i (1/Σw + (x − x̄)ᵀ S⁻¹ (x_i − x̄))`, S the sums of weighted squares about the weighted means.
fn weights(quarters: &Quarters, t: usize, own: &[f64]) -> Vec<f64> {
    let total: f64 = own.iter().sum();
    let means: Vec<f64> =
        quarters.columns.iter().map(|c| c.iter().zip(own).map(|(x, w)| x * w).sum::<f64>() / total).collect();
    let about = |i: usize| -> Vec<f64> { quarters.columns.iter().zip(&means).map(|(c, m)| c[i] - m).collect() };
    let count = means.len();
    let mut sums = Matrix::zeros(count, count);
    for (i, w) in own.iter().enumerate() {
        let row = about(i);
        for a in 0..count {
            sums.row_mut(a).iter_mut().zip(&row).for_each(|(s, b)| *s += w * row[a] * b);
        }
    }
    let query = solved(&sums, &about(t));
    let of = |i: usize| own[i] * (1.0 / total + about(i).iter().zip(&query).map(|(x, q)| x * q).sum::<f64>());
    (0..t).map(of).collect()
}

/// Predictions of row `t` by causal linear attention whose metric is of all rows: keys read earlier targets only. Scaled as if
/// all rows were as many as are read, and not.
pub(super) fn whole_metric(quarters: &Quarters, t: usize) -> [f64; 2] {
    let all = quarters.names.len();
    let count = quarters.columns.len();
    let means: Vec<f64> = quarters.columns.iter().map(|c| c.iter().sum::<f64>() / all as f64).collect();
    let about = |i: usize| -> Vec<f64> { quarters.columns.iter().zip(&means).map(|(c, m)| c[i] - m).collect() };
    let rows: Vec<Vec<f64>> = (0..all).map(about).collect();
    let sums = Matrix::from_fn(count, count, |a, b| rows.iter().map(|r| r[a] * r[b]).sum());
    let query = solved(&sums, &rows[t]);
    let past = &quarters.inflation[..t];
    let mean = past.iter().sum::<f64>() / t as f64;
    let products = rows.iter().map(|row| row.iter().zip(&query).map(|(x, q)| x * q).sum::<f64>());
    let read: f64 = products.zip(past).map(|(k, y)| k * (y - mean)).sum();
    [mean + read * all as f64 / t as f64, mean + read]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_make_the_engine_s_predictions() {
        let quarters = Quarters::read().unwrap();
        for scheme in SCHEMES {
            let mask = mask(scheme);
            let rolled = rolled(&quarters, mask).unwrap();
            for t in [100, 150, 197] {
                let weights = weights(&quarters, t, &importance(t, mask));
                let read: f64 = weights.iter().zip(&quarters.inflation).map(|(w, y)| w * y).sum();
                assert!((read - rolled.targets[0].predicted[t]).abs() < 1e-9, "{scheme} {t}");
            }
        }
    }

    /// With the metric of all rows, the last row's prediction is nearly that of all rows before it.
    #[test]
    fn a_whole_metric_is_nearly_its_own_at_the_end() {
        let quarters = Quarters::read().unwrap();
        let rolled = rolled(&quarters, Mask::Expanding).unwrap();
        let predicted = &rolled.targets[0].predicted;
        let (mut off, mut spread) = (0.0, 0.0);
        for t in 150..quarters.names.len() {
            let [scaled, plain] = whole_metric(&quarters, t);
            let mean = quarters.inflation[..t].iter().sum::<f64>() / t as f64;
            let share = t as f64 / quarters.names.len() as f64;
            assert!((share * (scaled - mean) - (plain - mean)).abs() < 1e-12);
            off += (scaled - predicted[t]).powi(2);
            spread += (predicted[t] - mean).powi(2);
        }
        assert!(off < 0.25 * spread, "{off} of {spread}");
    }
}

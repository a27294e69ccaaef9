//! The mesa layer beside other ways to read a context.

use hattention::matrix::Real;
use hattention::transformer::depth::second_moments;
use hattention::transformer::mesa::Mesa;
use hattention::{Aliased, Filter, Matrix};

use super::medians;
use crate::claim::{Claim, Threshold};
use crate::designs::{distance_relative, fit, graded, predict, regression, solved};
use crate::error::Error;
use crate::experiment::Results;
use crate::plot::{Axis, Mark, Plot, Stroke};
use crate::rows::Row;
use crate::seeds::Generator;
use crate::statistics;

/// What fresh queries read of a context in four ways, against the engine's exact fit.
pub(super) fn mesa(d: usize, n: usize, condition: f64, generator: &mut Generator) -> Result<Row, Error> {
    let (all, y) = regression(n + 100, &graded(d, condition * condition), generator);
    let part = |first: usize, rows: usize| Matrix::from_fn(rows, d, |i, j| all.at(first + i, j));
    let (keys, queries) = (part(0, n), part(n, 100));
    let values = Matrix::from_fn(n, 1, |i, _| y[i]);
    let (whitening, fits) = fit(&keys, &values, false, Filter::Ols)?;
    let expected = predict(&whitening, &fits, &queries)?;
    let error = |coefficients: &Matrix| -> Result<f64, Error> {
        Ok(distance_relative(&queries.times(coefficients)?, &expected))
    };
    let double = rotated::<f64>(&keys, &values)?;
    let single: Matrix = rotated::<f32>(&keys.cast(), &values.cast())?.cast();
    let (s, along) = (second_moments(&keys)?, keys.transposed().times(&values)?);
    let share: Vec<f64> = along.data.iter().map(|x| x / n as f64).collect();
    let normal_equations = Matrix::new(d, 1, solved(&s, &share))?;
    let neural = conjugate_gradients(&keys.cast(), &along.cast(), 0.25, 30)?.cast();
    Ok(Row::new()
        .label("start", "mesa")
        .value("condition of X", whitening.condition)
        .value("rotations", error(&double)?)
        .value("rotations in singles", error(&single)?)
        .value("normal equations", error(&normal_equations)?)
        .value("neural: 30 CG steps, Λ = ¼", error(&neural)?))
}

fn rotated<T: Real>(keys: &Matrix<T>, values: &Matrix<T>) -> Result<Matrix<T>, Error> {
    let mut memory = Mesa::new(keys.columns, values.columns);
    for i in 0..keys.rows {
        memory.push(keys.row(i), values.row(i), 1.0)?;
    }
    Ok(memory.coefficients(Aliased::MinNorm)?)
}

/// `(KᵀK + Λ)⁻¹ b` by conjugate gradients from zero, all in singles.
fn conjugate_gradients(keys: &Matrix<f32>, b: &Matrix<f32>, penalty: f32, steps: usize) -> Result<Matrix<f32>, Error> {
    let h = keys.transposed().times(keys)?;
    let d = h.rows;
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    let (mut x, mut rest, mut direction) = (vec![0.0f32; d], b.data.clone(), b.data.clone());
    let mut size = dot(&rest, &rest);
    for _ in 0..steps {
        let image: Vec<f32> = (0..d).map(|i| dot(h.row(i), &direction) + penalty * direction[i]).collect();
        let curvature = dot(&direction, &image);
        if size == 0.0 || curvature == 0.0 {
            break;
        }
        let step = size / curvature;
        (0..d).for_each(|i| {
            x[i] += step * direction[i];
            rest[i] -= step * image[i];
        });
        let next = dot(&rest, &rest);
        let turn = next / size;
        (0..d).for_each(|i| direction[i] = rest[i] + turn * direction[i]);
        size = next;
    }
    Ok(Matrix::new(d, 1, x)?)
}

/// The ways in which [`mesa`] reads a context.
const WAYS: [&str; 4] = ["rotations", "rotations in singles", "normal equations", "neural: 30 CG steps, Λ = ¼"];

pub(super) fn mesa_claims(results: &Results) -> Vec<Claim> {
    let rows = || results.rows().filter(|row| row.is("start", "mesa"));
    let worst = |way: &str, epsilon: f64, most: f64| {
        let units = rows().filter_map(|row| Some((row.get("condition of X")?, row.get(way)?)));
        statistics::worst(units.filter(|(c, _)| *c <= most).map(|(c, e)| e / (epsilon * c)))
    };
    let median = |way: &str, condition: f64| {
        let mut found: Vec<f64> =
            rows().filter(|row| row.number("condition") == Some(condition)).filter_map(|row| row.get(way)).collect();
        found.sort_by(f64::total_cmp);
        (!found.is_empty()).then(|| statistics::quantile(&found, 0.5))
    };
    let source = "von Oswald et al. 2023, arXiv 2309.05858; derived";
    vec![
        Claim::new(
            "mesa",
            "The mesa layer by rotations reads least squares (worst, in ε κ)",
            source,
            "at most 20",
            Threshold::at_most(20.0),
        )
        .measured(worst(WAYS[0], f64::EPSILON, f64::INFINITY), None),
        Claim::new(
            "mesa-singles",
            "… and in singles, up to κ(X) = 1e3 (worst, in ε₃₂ κ)",
            source,
            "at most 20",
            Threshold::at_most(20.0),
        )
        .measured(worst(WAYS[1], f64::from(f32::EPSILON), 1e3), None),
        Claim::new(
            "mesa-squares",
            "Normal equations in doubles lose more (median error at κ(X) = 1e5)",
            source,
            "above 20 ε κ = 4e-10",
            Threshold::at_least(20.0 * f64::EPSILON * 1e5),
        )
        .measured(median(WAYS[2], 1e5), None),
        Claim::new(
            "mesa-neural",
            "30 steps of conjugate gradients in singles with Λ = ¼ are another regression (median error at κ(X) = 100)",
            source,
            "above 1e-3",
            Threshold::at_least(1e-3),
        )
        .measured(median(WAYS[3], 100.0), None),
    ]
}

pub(super) fn mesa_plot(results: &Results) -> Plot {
    let mut plot = Plot::new(
        "The mesa layer by rotations reads least squares",
        Axis::log("condition κ(X) of the context's keys"),
        Axis::log("relative error of readings, median"),
    );
    for way in WAYS {
        let mut groups: Vec<(f64, Vec<f64>)> = Vec::new();
        for row in results.rows().filter(|row| row.is("start", "mesa")) {
            let (Some(condition), Some(error)) = (row.number("condition"), row.get(way)) else { continue };
            match groups.iter_mut().find(|(c, _)| *c == condition) {
                Some((_, errors)) => errors.push(error),
                None => groups.push((condition, vec![error])),
            }
        }
        plot = plot.series(way, medians(&groups), Mark::Line(Stroke::Solid));
    }
    plot
}

//! The plots of the report.

use super::{FAR, LEVEL, MEANS, SCALES, SHARES, alarm_share, median};
use crate::claim::number;
use crate::experiment::Results;
use crate::plot::{Axis, Mark, Plot, Stroke};
use crate::statistics::{Estimate, mean};

pub(super) fn plots(results: &Results) -> Vec<Plot> {
    vec![scaling(results), gram(results), intercept(results), alarms(results)]
}

/// Points with bars, where there are estimates.
fn bars(found: impl Iterator<Item = (f64, Option<Estimate>)>) -> (Vec<(f64, f64)>, Mark) {
    let (mut points, mut ends) = (Vec::new(), Vec::new());
    for (x, estimate) in found {
        let Some(Estimate { value, interval: Some(interval) }) = estimate else { continue };
        points.push((x, value));
        ends.push((interval.low, interval.high));
    }
    (points, Mark::Bars(ends))
}

/// The means over replicates of a number of the rows of a kind, by a label.
fn means(results: &Results, kind: &str, label: &str, at: &[f64], name: &str) -> (Vec<(f64, f64)>, Mark) {
    bars(at.iter().map(|x| (*x, values(results, kind, label, *x, name))).map(|(x, found)| {
        let found = (!found.is_empty()).then(|| mean(&found));
        (x, found)
    }))
}

fn values(results: &Results, kind: &str, label: &str, at: f64, name: &str) -> Vec<f64> {
    let rows = results.rows().filter(|row| row.is("kind", kind) && row.is(label, at));
    rows.filter_map(|row| row.get(name)).collect()
}

fn scaling(results: &Results) -> Plot {
    let (own, own_bars) = means(results, "scale", "c", &SCALES, "ratio of slopes");
    let (cross, _) = means(results, "scale", "c", &SCALES, "cross, ratio of slopes");
    Plot::new(
        "Scale the inputs by c, and self-attention scales the slopes by c²",
        Axis::log("scale c of all columns"),
        Axis::log("slopes over those of least squares"),
    )
    .series("self-attention", own, own_bars)
    .series("c²", SCALES.iter().map(|c| (*c, c * c)).collect(), Mark::Line(Stroke::Dashed))
    .series("cross-attention", cross, Mark::Line(Stroke::Solid))
}

fn gram(results: &Results) -> Plot {
    let (own, own_bars) = means(results, "gram", "m/n", &SHARES, "ratio of slopes");
    let (other, other_bars) = means(results, "gram", "m/n", &SHARES, "covariance, ratio of slopes");
    Plot::new(
        "The Gram convention counts rows: a fresh batch of m rows has m/n times the slopes",
        Axis::log("rows of the batch over training rows, m/n"),
        Axis::log("slopes over those of least squares"),
    )
    .series("Gram", own, own_bars)
    .series("m/n", SHARES.iter().map(|share| (*share, *share)).collect(), Mark::Line(Stroke::Dashed))
    .series("covariance", other, other_bars)
}

fn intercept(results: &Results) -> Plot {
    let name = "largest ratio of slopes";
    let (points, ends) = bars(MEANS.iter().map(|m| (*m, median(&values(results, "intercept", "mean", *m, name)))));
    let far = points.iter().find(|p| p.0 == FAR).map_or("–".to_owned(), |p| number(p.1));
    let title = format!(
        "With an intercept, scaling by 2 multiplies a slope by {far} where means are {FAR} deviations from zero"
    );
    Plot::new(title, Axis::log("mean of the columns over their deviation"), Axis::log("largest factor, median"))
        .series("self-attention", points, ends)
        .level(4.0, "c² = 4")
        .level(1.0, "cross-attention")
}

fn alarms(results: &Results) -> Plot {
    let sizes = ["normal", "t5-asymptotic", "t3-permutation", "t5-permutation"];
    let at = |cells: &[&str], first: usize| {
        let found: Vec<_> =
            cells.iter().enumerate().map(|(i, c)| ((first + i) as f64, alarm_share(results, c))).collect();
        bars(found.into_iter())
    };
    let ((size, size_bars), (power, power_bars)) = (at(&sizes, 1), at(&["normal-wider"], 5));
    Plot::new(
        "Drift test: false alarms come at the level, also with heavy tails if rows are permuted",
        Axis::words("rows and test", ["normal", "t₅ asymptotic", "t₃ permuted", "t₅ permuted", "6 % wider"]),
        Axis::log("share of alarms").range(0.02, 1.1),
    )
    .series("false alarms", size, size_bars)
    .series("power", power, power_bars)
    .level(LEVEL, "level .05")
}

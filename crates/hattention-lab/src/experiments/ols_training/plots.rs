//! The plots of the report.

use super::descent::Steps;
use super::judge::{Ends, arrived, many, of, with};
use super::{CONDITIONS, Columns, Condition, JUDGED, ROOTS, STARTS};
use crate::experiment::Results;
use crate::plot::{Axis, Heat, Mark, Plot, Scale, Stroke};
use crate::rows::Row;

/// Errors below this are drawn at it: descents stop there.
const FLOOR: f64 = 1e-8;

pub fn plots(results: &Results) -> Vec<Plot> {
    let mut plots = vec![paths(results), scatter(results), curve(results)];
    plots.extend([3, 10].into_iter().flat_map(|d| shares(results, d)));
    plots.extend([basin(results), saddle(results)]);
    plots
}

fn paths(results: &Results) -> Plot {
    let mut plot = Plot::new(
        "One regressor: L goes to theory from above zero, and stalls at zero from below",
        Axis::linear("epoch, at rate 2e-5"),
        Axis::linear("L over theory"),
    );
    let rows = of(results, "path");
    let mut seeds: Vec<usize> = rows.iter().filter_map(|r| r.count("seed")).collect();
    seeds.dedup();
    for seed in seeds {
        let points: Vec<(f64, f64)> = rows
            .iter()
            .filter(|r| r.is("seed", seed))
            .filter_map(|r| Some((r.number("epoch")?, r.get("ratio")?)))
            .collect();
        let above = points.first().is_some_and(|p| p.1 > 0.0);
        let name = if above { "start above 0" } else { "start below 0" };
        plot = plot.series(name, points, Mark::Line(Stroke::Solid));
    }
    plot.level(1.0, "theory")
}

fn scatter(results: &Results) -> Plot {
    let points = |rows: Vec<&Row>, most: usize| -> Vec<(f64, f64)> {
        let rows = rows.into_iter().filter(|r| arrived(r, "function")).take(most);
        rows.filter_map(|r| Some((r.get("structure")?.max(FLOOR), r.get("function")?.max(FLOOR)))).collect()
    };
    let judged = |cell: &str| with(&of(results, cell), "condition", JUDGED);
    let elsewhere: Vec<&Row> = judged("one target").into_iter().filter(|r| !r.is("start_kind", STARTS[3])).collect();
    Plot::new(
        "Where predictions are least squares', the structure is theory's only if it is determined",
        Axis::log("structure error ‖LLᵀ − Σ⁻¹‖/‖Σ⁻¹‖"),
        Axis::log("function error (below 10⁻⁸ at it)"),
    )
    .series("many targets", points(judged("many targets"), 600), Mark::Points)
    .series("one target", points(elsewhere, 400), Mark::Points)
    .series("1 column, P free", points(of(results, "free"), 200), Mark::Points)
    .series("1 column", points(of(results, "published"), 200), Mark::Points)
}

fn curve(results: &Results) -> Plot {
    let rows = of(results, "free");
    let ends = |left: bool| -> Vec<(f64, f64)> {
        let wanted = |r: &&&Row| r.get("function").is_some_and(|f| (f <= 0.5) == left);
        rows.iter().filter(wanted).filter_map(|r| Some((r.get("l_ratio")?, r.get("p_ratio")?))).take(300).collect()
    };
    let branch = |sign: f64| (40..=300).map(|k| f64::from(k) / 100.0).map(|l| (sign * l, sign * l.powi(-3))).collect();
    let there = ends(true);
    let reach = there.iter().map(|p| p.0.abs()).fold((f64::INFINITY, 0.0f64), |(a, b), l| (a.min(l), b.max(l)));
    let title = format!(
        "P free: descents end on two arcs of the curve of minima, at |L| {:.1} to {:.1} times theory's, or stall at L = 0",
        reach.0, reach.1
    );
    Plot::new(title, Axis::linear("L over theory").range(-2.6, 2.6), Axis::linear("P over theory").range(-2.0, 2.0))
        .series("minima", branch(1.0), Mark::Line(Stroke::Solid))
        .series("minima", branch(-1.0), Mark::Line(Stroke::Solid))
        .series("arrived", there, Mark::Points)
        .series("stalled", ends(false), Mark::Points)
        .series("theory", vec![(1.0, 1.0)], Mark::Points)
}

/// Shares of starts that find L, and of those that diverge.
fn shares(results: &Results, d: usize) -> Vec<Plot> {
    if with(&of(results, "many targets"), "d", d).is_empty() {
        return Vec::new();
    }
    // Short names: the axis below says what they mean.
    let column = |condition: &Condition| {
        let steps = match condition.steps {
            Steps::Fixed(rho) => format!("{rho}"),
            Steps::Bounded(_) => "b".to_owned(),
        };
        let columns = match condition.columns {
            Columns::Normalised => "",
            Columns::Unequal => "u ",
            Columns::Whitened => "w ",
        };
        format!("{columns}{steps}")
    };
    let map = |title: String, share: &dyn Fn(&Ends, f64) -> f64| {
        let (mut rows, mut values) = (Vec::new(), Vec::new());
        for root in ROOTS {
            for kind in STARTS {
                let cell = |condition: &Condition| {
                    let here = many(results, d, root, kind, condition.name);
                    let found = share(&Ends::of(&here, "parameter"), here.len() as f64);
                    // (Nothing of nothing is not a number: not run.)
                    (100.0 * found).round() / 100.0
                };
                values.push(CONDITIONS.iter().map(cell).collect());
                rows.push(format!("{kind}, {}", if root == ROOTS[0] { "VΛ^−½" } else { "Σ^−½" }));
            }
        }
        let columns = CONDITIONS.iter().map(column).collect();
        let heat = Heat { columns, rows, values, range: (0.0, 1.0), scale: Scale::Linear };
        Plot::heat(title, "u: unequal, w: whitened; rate ρ, b: bounded steps; –: not run", "start, root of Σ⁻¹", heat)
    };
    vec![
        map(
            format!("d = {d}, many targets: share of starts that find L; the root decides for the identity"),
            &|ends, n| ends.arrived as f64 / n,
        ),
        map(format!("d = {d}, many targets: share of starts that diverge, which bounded steps cannot"), &|ends, n| {
            ends.diverged as f64 / n
        }),
    ]
}

/// Where descents end, by start and rate.
fn basin(results: &Results) -> Plot {
    let rows = of(results, "basin");
    let starts: Vec<f64> = (-2..=6).map(|half| f64::from(half) / 2.0).collect();
    let rates = [0.01, 0.03, 0.1, 0.3, 1.0];
    let cell = |rho: f64, start: f64| {
        let here = rows.iter().find(|r| r.number("rho") == Some(rho) && r.number("start_ratio") == Some(start));
        // To three digits: what stalls is at some 1e-3 and still moving.
        let rounded = |l: f64| (1000.0 * l).round() / 1000.0 + 0.0;
        // Without a row it was not run.
        let end = |row: &Row| match row.get("diverged") {
            Some(1.0) => f64::INFINITY,
            _ => row.get("ratio").map_or(f64::NAN, rounded),
        };
        here.map_or(f64::NAN, |row| end(row))
    };
    let heat = Heat {
        columns: starts.iter().map(|s| format!("{s}")).collect(),
        rows: rates.iter().map(|r| format!("rate {r}")).collect(),
        values: rates.iter().map(|r| starts.iter().map(|s| cell(*r, *s)).collect()).collect(),
        range: (0.0, 1.0),
        scale: Scale::Linear,
    };
    let title = "One regressor: the saddle has the starts below zero, and with large steps those far above";
    Plot::heat(title, "start over theory; cells: L over theory (∞ diverged)", "", heat)
}

fn saddle(results: &Results) -> Plot {
    let rows = of(results, "saddle");
    let of = |name: &str| -> Vec<(f64, f64)> {
        rows.iter().filter_map(|r| Some((r.number("delta")?, r.get(name)?))).collect()
    };
    let mut predicted: Vec<(f64, f64)> = rows
        .iter()
        .filter(|r| r.is("seed", 0))
        .filter_map(|r| Some((r.number("delta")?, r.get("predicted")?)))
        .collect();
    predicted.sort_by(|a, b| a.0.total_cmp(&b.0));
    Plot::new(
        "Leaving the saddle takes epochs as one over the start",
        Axis::log("start over theory"),
        Axis::log("epochs to 1 %"),
    )
    .series("measured", of("epochs"), Mark::Points)
    .series("predicted", predicted, Mark::Line(Stroke::Dashed))
}

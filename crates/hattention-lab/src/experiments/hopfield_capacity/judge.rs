//! From rows to capacities, tables and plots.

use std::collections::BTreeMap;

use super::prediction::{Prediction, corrupted};
use super::{CORRUPTIONS, SCORES, binary, claims};
use crate::claim::number;
use crate::error::Error;
use crate::experiment::{Judgement, Plan, Results, Table};
use crate::plot::{Axis, Mark, Plot, Stroke};
use crate::rows::Row;
use crate::statistics::{Dose, Estimate, crossing};

/// A capacity beside its prediction.
#[derive(Clone, Debug)]
pub struct Capacity {
    /// Neurons.
    pub neurons: usize,
    /// ln K* after one step; `None` if success does not cross the half within the grid.
    pub step: Option<Estimate>,
    /// ln K* at rest.
    pub rest: Option<Estimate>,
    /// ln K* predicted for one step.
    pub predicted: f64,
}

/// Capacities of a score at a corruption, by neurons.
pub struct Curve {
    /// The score's name.
    pub score: &'static str,
    /// Share of neurons turned over.
    pub corruption: f64,
    /// The capacities.
    pub capacities: Vec<Capacity>,
}

impl Curve {
    /// Neurons and ln K* after one step.
    pub fn measured(&self) -> Vec<(f64, Estimate)> {
        self.capacities.iter().filter_map(|c| Some((c.neurons as f64, c.step?))).collect()
    }
}

/// Where success crosses the half.
fn half(rows: &[&Row], successes: &str) -> Option<Estimate> {
    let dose =
        |row: &&Row| Some(Dose { at: row.number("K")?.ln(), successes: row.get(successes)?, trials: row.get("sets")? });
    crossing(&rows.iter().filter_map(dose).collect::<Vec<_>>(), 0.5).ok()
}

fn curves(results: &Results) -> Result<Vec<Curve>, Error> {
    let mut curves = Vec::new();
    for score in SCORES {
        for corruption in CORRUPTIONS {
            let mut by_neurons: BTreeMap<usize, Vec<&Row>> = BTreeMap::new();
            let is_ours = |row: &&Row| {
                row.is("measure", "capacity") && row.is("score", score) && row.number("corruption") == Some(corruption)
            };
            for row in results.rows().filter(is_ours) {
                by_neurons.entry(row.count("N").unwrap_or(0)).or_default().push(row);
            }
            let mut capacities = Vec::new();
            for (neurons, rows) in by_neurons {
                let prediction = Prediction::new(binary::score(score)?, neurons, corrupted(neurons, corruption));
                capacities.push(Capacity {
                    neurons,
                    step: half(&rows, "successes after a step"),
                    rest: half(&rows, "successes at rest"),
                    predicted: prediction.capacity().ln(),
                });
            }
            curves.push(Curve { score, corruption, capacities });
        }
    }
    Ok(curves)
}

/// Softmax capacities: β, dimension, ln K* after a step and at rest.
pub struct Sphere {
    /// Inverse temperature.
    pub beta: f64,
    /// Dimension, ln K* after one step, at rest.
    pub capacities: Vec<(usize, Option<Estimate>, Option<Estimate>)>,
}

fn spheres(results: &Results) -> Vec<Sphere> {
    let mut by: BTreeMap<(u64, usize), Vec<&Row>> = BTreeMap::new();
    for row in results.rows().filter(|row| row.is("measure", "softmax")) {
        let beta = row.number("beta").unwrap_or(f64::NAN);
        by.entry((beta.to_bits(), row.count("d").unwrap_or(0))).or_default().push(row);
    }
    let mut spheres: Vec<Sphere> = Vec::new();
    for ((beta, dimension), rows) in by {
        let found = (dimension, half(&rows, "successes after a step"), half(&rows, "successes at rest"));
        let beta = f64::from_bits(beta);
        match spheres.iter_mut().find(|s| s.beta == beta) {
            Some(sphere) => sphere.capacities.push(found),
            None => spheres.push(Sphere { beta, capacities: vec![found] }),
        }
    }
    spheres
}

/// The judge.
pub fn judge(_: &Plan, results: &Results) -> Result<Judgement, Error> {
    let (curves, spheres) = (curves(results)?, spheres(results));
    let mut judgement = Judgement { claims: claims::all(&curves, &spheres, results)?, ..Judgement::default() };
    for curve in &curves {
        for c in &curve.capacities {
            let mut row = Row::new().label("measure", "K*").label("score", curve.score).label("N", c.neurons);
            row = row.label("corruption", curve.corruption).value("ln K* predicted", c.predicted);
            for (name, estimate) in [("ln K* after a step", c.step), ("ln K* at rest", c.rest)] {
                row = with_estimate(row, name, estimate);
            }
            judgement.derived.push(row);
        }
    }
    for sphere in &spheres {
        for (dimension, step, rest) in &sphere.capacities {
            let row = Row::new().label("measure", "K*").label("beta", sphere.beta).label("d", *dimension);
            judgement.derived.push(with_estimate(
                with_estimate(row, "ln K* after a step", *step),
                "ln K* at rest",
                *rest,
            ));
        }
    }
    judgement.tables = vec![capacity_table(&curves), sphere_table(&spheres)];
    judgement.plots = vec![
        capacity_plot(&curves),
        exponential_plot(&curves),
        few_errors_plot(results),
        sphere_plot(&spheres),
        whitened_plot(results),
    ];
    Ok(judgement)
}

fn with_estimate(row: Row, name: &str, estimate: Option<Estimate>) -> Row {
    let Some(estimate) = estimate else { return row };
    let row = row.value(name, estimate.value);
    match estimate.interval {
        Some(i) => row.value(&format!("{name}, low"), i.low).value(&format!("{name}, high"), i.high),
        None => row,
    }
}

fn shown(estimate: Option<Estimate>) -> String {
    let Some(estimate) = estimate else { return "—".to_owned() };
    let interval = estimate.interval.map(|i| format!(" ({} to {})", number(i.low.exp()), number(i.high.exp())));
    number(estimate.value.exp()) + &interval.unwrap_or_default()
}

fn capacity_table(curves: &[Curve]) -> Table {
    let columns = ["score", "ρ", "N", "K* after a step", "predicted", "K* at rest", "published"];
    let mut table = Table::new("Capacities of ±1 memories, with 95 % intervals", columns);
    for curve in curves {
        for c in &curve.capacities {
            let published = claims::published(curve.score, c.neurons, curve.corruption);
            table.push([
                curve.score.to_owned(),
                curve.corruption.to_string(),
                c.neurons.to_string(),
                shown(c.step),
                number(c.predicted.exp()),
                shown(c.rest),
                published.map_or("—".to_owned(), number),
            ]);
        }
    }
    table
}

fn sphere_table(spheres: &[Sphere]) -> Table {
    let columns = ["β", "d", "K* after a step", "K* at rest", "promised (p = 0.05)"];
    let mut table = Table::new("Capacities of the softmax memory on spheres of radius √(d−1)", columns);
    for sphere in spheres {
        for (d, step, rest) in &sphere.capacities {
            let promised = super::continuous::promised(*d, sphere.beta, claims::FAILURE);
            let promised = if promised.is_nan() { "—".to_owned() } else { number(promised) };
            table.push([sphere.beta.to_string(), d.to_string(), shown(*step), shown(*rest), promised]);
        }
    }
    table
}

/// Points with bars, from logarithms.
fn bars(points: &[(f64, Estimate)]) -> (Vec<(f64, f64)>, Mark) {
    let at = |(x, e): &(f64, Estimate)| (*x, e.value.exp());
    let range =
        |(_, e): &(f64, Estimate)| e.interval.map_or((e.value.exp(), e.value.exp()), |i| (i.low.exp(), i.high.exp()));
    (points.iter().map(at).collect(), Mark::Bars(points.iter().map(range).collect()))
}

fn with_curve(plot: Plot, name: &str, curve: &Curve) -> Plot {
    let (points, mark) = bars(&curve.measured());
    let predicted = curve.capacities.iter().map(|c| (c.neurons as f64, c.predicted.exp())).collect();
    plot.series(name, points, mark).series(name, predicted, Mark::Line(Stroke::Dashed))
}

fn capacity_plot(curves: &[Curve]) -> Plot {
    let title = "The steeper the score, the more patterns fit: dots are measured, dashes predicted for finite N";
    let mut plot = Plot::new(title, Axis::log("neurons N"), Axis::log("capacity K*"));
    for curve in curves.iter().filter(|c| c.corruption == 0.0) {
        let name = match curve.score {
            "linear" => "linear",
            "polynomial-2" => "degree 2",
            "polynomial-3" => "degree 3",
            "polynomial-4" => "degree 4",
            other => other,
        };
        plot = with_curve(plot, name, curve);
    }
    plot
}

fn exponential_plot(curves: &[Curve]) -> Plot {
    let title = "Exponential memories: ln K* is a line in N, flatter for damaged probes";
    let mut plot = Plot::new(title, Axis::linear("neurons N"), Axis::log("capacity K*"));
    for curve in curves.iter().filter(|c| c.score == "exponential") {
        plot = with_curve(plot, &format!("ρ = {}", curve.corruption), curve);
    }
    plot
}

fn few_errors_plot(results: &Results) -> Plot {
    let title =
        "Hopfield's network loses patterns at smaller loads the larger it is; the published limit is K = 0.138 N";
    let mut plot =
        Plot::new(title, Axis::linear("load K/N"), Axis::linear("share still at the pattern").range(0.0, 1.0));
    for (neurons, points) in claims::loads(results) {
        let points: Vec<(f64, f64)> = points.iter().map(|d| (d.at, d.successes / d.trials)).collect();
        plot = plot.series(format!("N = {neurons}"), points, Mark::Line(Stroke::Solid));
    }
    plot
}

fn sphere_plot(spheres: &[Sphere]) -> Plot {
    let title = "Softmax memories: capacity grows exponentially with the dimension, faster for larger β";
    let mut plot = Plot::new(title, Axis::linear("dimension d"), Axis::log("capacity K* after one step"));
    for sphere in spheres {
        let measured: Vec<(f64, Estimate)> =
            sphere.capacities.iter().filter_map(|(d, step, _)| Some((*d as f64, (*step)?))).collect();
        let (points, mark) = bars(&measured);
        let name = format!("β = {}", sphere.beta);
        let line = points.clone();
        plot = plot.series(name.clone(), points, mark).series(name, line, Mark::Line(Stroke::Solid));
    }
    plot
}

fn whitened_plot(results: &Results) -> Plot {
    let title = "Whitening keeps correlated patterns that the linear memory loses; the basin shrinks as K nears N";
    let axis = Axis::linear("share recovered after one step").range(0.0, 1.0);
    let mut plot = Plot::new(title, Axis::linear("patterns over neurons K/N"), axis);
    let with = "recovered after a step";
    let without = "recovered after a step without self-attention";
    let linear = "recovered by the linear memory";
    for (name, corruption, quantity) in [
        ("whitened, ρ = 0", 0.0, with),
        ("whitened, ρ = 0.1", 0.1, with),
        ("no self, ρ = 0.1", 0.1, without),
        ("linear, ρ = 0", 0.0, linear),
    ] {
        let points = claims::whitened(results, 0.6, corruption, quantity);
        plot = plot.series(name, points, Mark::Line(Stroke::Solid));
    }
    plot
}

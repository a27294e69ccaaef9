//! From rows to capacities, tables and plots.

use std::collections::BTreeMap;

use hattention::hopfield::Score;

use super::claims::half;
use super::given::Given;
use super::prediction::{Prediction, corrupted};
use super::{CORRUPTIONS, SCORES, binary, claims, spheres, transition};
use crate::claim::number;
use crate::crossing::{Dose, place};
use crate::error::Error;
use crate::experiment::{Judgement, Plan, Results, Table};
use crate::plot::{Axis, Mark, Plot, Stroke};
use crate::rows::Row;
use crate::seeds::generator;
use crate::statistics::Estimate;

/// A capacity beside its prediction.
#[derive(Clone, Debug)]
pub struct Capacity {
    /// Neurons.
    pub neurons: usize,
    /// ln K* after one step; `None` if success does not cross the half within the grid.
    pub step: Option<Estimate>,
    /// ln K* at rest.
    pub rest: Option<Estimate>,
    /// ln K* predicted for one step, read from predicted shares at the same K by the same fit.
    pub predicted: Option<f64>,
    /// The same of neurons that err independently.
    pub independent: f64,
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

/// A predicted share of sets that counts as none.
const NONE: f64 = 1e-4;

/// ln K* predicted, and of neurons that err independently: shares of sets at the numbers of patterns measured, read by the
/// fit that reads the measured ones. Where 95 % is a matter of one pattern more or less, shares rise again with K.
fn predicted(word: &str, neurons: usize, flips: usize, rows: &[&Row]) -> Result<(Option<f64>, f64), Error> {
    let score = binary::score(word)?;
    let alone = Prediction::new(score, neurons, flips);
    let counts: Vec<(usize, f64)> = rows.iter().filter_map(|r| Some((r.count("K")?, r.get("sets")?))).collect();
    let most = counts.iter().map(|c| c.0).max().unwrap_or(1);
    let given = (score != Score::Exponential).then(|| {
        let mut random = generator("hopfield-capacity", "judge", &format!("overlaps, {word}, {flips}"), neurons);
        Given::new(score, neurons, flips, most, &mut random)
    });
    let mut doses: Vec<Dose> = Vec::new();
    for (k, trials) in counts {
        // Far beyond the capacity nothing succeeds, and need not be computed.
        let beyond = doses.last().is_some_and(|last| last.successes < NONE * last.trials);
        let success = match &given {
            _ if beyond => 0.0,
            Some(given) => given.success(k),
            None => alone.success(k),
        };
        doses.push(Dose { at: (k as f64).ln(), successes: trials * success, trials });
    }
    Ok((place(&doses, 0.5).ok(), alone.capacity().ln()))
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
                let flips = corrupted(neurons, corruption);
                let (predicted, independent) = predicted(score, neurons, flips, &rows)?;
                capacities.push(Capacity {
                    neurons,
                    step: half(&rows, "successes after a step"),
                    rest: half(&rows, "successes at rest"),
                    predicted,
                    independent,
                });
            }
            curves.push(Curve { score, corruption, capacities });
        }
    }
    Ok(curves)
}

/// The judge.
pub fn judge(_: &Plan, results: &Results) -> Result<Judgement, Error> {
    let (curves, spheres, halves) = (curves(results)?, spheres::spheres(results), transition::halves(results));
    let mut judgement = Judgement { claims: claims::all(&curves, &spheres, &halves, results)?, ..Judgement::default() };
    for curve in &curves {
        for c in &curve.capacities {
            let mut row = Row::new().label("measure", "K*").label("score", curve.score).label("N", c.neurons);
            row = row.label("corruption", curve.corruption);
            if let Some(predicted) = c.predicted {
                row = row.value("ln K* predicted", predicted);
            }
            row = row.value("ln K* predicted, neurons independent", c.independent);
            for (name, estimate) in [("ln K* after a step", c.step), ("ln K* at rest", c.rest)] {
                row = with_estimate(row, name, estimate);
            }
            judgement.derived.push(row);
        }
    }
    for sphere in &spheres {
        for c in &sphere.capacities {
            let row = Row::new().label("measure", "K*").label("beta", sphere.beta).label("d", c.dimension);
            let row = with_estimate(row, "ln K* after a step", c.step);
            judgement.derived.push(with_estimate(row, "ln K* at rest", c.rest));
        }
    }
    for h in &halves {
        let row = Row::new().label("measure", "few errors, half").label("N", h.neurons);
        judgement.derived.push(with_estimate(row, "load", Some(h.load)).value("standard error", h.error));
    }
    judgement.tables = vec![capacity_table(&curves), spheres::table(&spheres)];
    judgement.plots = vec![capacity_plot(&curves), exponential_plot(&curves)];
    judgement.plots.extend(transition::plots(&halves));
    judgement.plots.extend([spheres::plot(&spheres, &judgement.claims), whitened_plot(results)]);
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

pub fn shown(estimate: Option<Estimate>) -> String {
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
                c.predicted.map_or("—".to_owned(), |p| number(p.exp())),
                shown(c.rest),
                published.map_or("—".to_owned(), number),
            ]);
        }
    }
    table
}

/// Points with bars, from logarithms.
pub fn bars(points: &[(f64, Estimate)]) -> (Vec<(f64, f64)>, Mark) {
    let at = |(x, e): &(f64, Estimate)| (*x, e.value.exp());
    let range =
        |(_, e): &(f64, Estimate)| e.interval.map_or((e.value.exp(), e.value.exp()), |i| (i.low.exp(), i.high.exp()));
    (points.iter().map(at).collect(), Mark::Bars(points.iter().map(range).collect()))
}

fn with_curve(plot: Plot, name: &str, curve: &Curve) -> Plot {
    let (points, mark) = bars(&curve.measured());
    let predicted = curve
        .capacities
        .iter()
        .map(|c| (c.neurons as f64, c.predicted))
        .filter_map(|(n, p)| Some((n, p?.exp())))
        .collect();
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
    let title = "Exponential memories: K* grows exponentially with N, slower for damaged probes";
    let mut plot = Plot::new(title, Axis::linear("neurons N"), Axis::log("capacity K*"));
    for curve in curves.iter().filter(|c| c.score == "exponential") {
        plot = with_curve(plot, &format!("ρ = {}", curve.corruption), curve);
    }
    plot
}

fn whitened_plot(results: &Results) -> Plot {
    let repaired = claims::whitened(results, 0.6, 0.1, "recovered after a step");
    let title = match repaired.iter().find(|p| p.1 < 0.5) {
        Some((load, _)) => format!(
            "Whitening keeps correlated patterns that the linear memory loses; from K = {load:.1} N it seldom mends damage"
        ),
        None => "Whitening keeps correlated patterns that the linear memory loses".to_owned(),
    };
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

//! From curves to claims.

use super::DESIGNS;
use crate::claim::{Claim, Threshold, number};
use crate::error::Error;
use crate::experiment::{Judgement, Plan, Results, Table};
use crate::plot::{Axis, Mark, Plot, Stroke};
use crate::rows::Row;
use crate::seeds::generator;
use crate::statistics::{Estimate, bootstrap, middle};

const SCORES: [&str; 2] = ["dot", "distance"];
const RESAMPLES: usize = 1000;

/// What is claimed of every design and score.
struct Claimed {
    id: &'static str,
    name: &'static str,
    sentence: &'static str,
    source: &'static str,
    expected: &'static str,
    threshold: Threshold,
}

fn claimed() -> [Claimed; 5] {
    let of =
        |id, name, sentence, source, expected, threshold| Claimed { id, name, sentence, source, expected, threshold };
    [
        of("hot-slope", "hot slope", "slope of ln C by ln T, hot", "derived", "−2", Threshold::within(-2.02, -1.98)),
        of(
            "hot-leverage",
            "hot leverage",
            "C T² over the mean of ‖q‖², hot",
            "derived",
            "1",
            Threshold::within(0.999, 1.001),
        ),
        of("cold-one", "cold rows", "effective rows, cold", "derived", "1", Threshold::at_most(1.05)),
        of(
            "peak-at-best",
            "peak over picked",
            "ln(T of the peak of C/T that leave-one-out picks)",
            "after Kim 2026",
            "0, were the peak to know",
            Threshold::within(-0.58, 0.58),
        ),
        of(
            "error-at-peak",
            "errors, peak over picked",
            "test error at the T of the peak over that at the T that leave-one-out picks",
            "after Kim 2026",
            "1, were the peak to know",
            Threshold::at_most(1.02).partly_at_most(1.1),
        ),
    ]
}

pub(super) fn judge(_: &Plan, results: &Results) -> Result<Judgement, Error> {
    let values = |design: &str, score: &str, name: &str| -> Vec<f64> {
        let rows =
            results.rows().filter(|row| row.is("kind", "seed") && row.is("design", design) && row.is("score", score));
        rows.filter_map(|row| row.get(name)).collect()
    };
    let mut claims = Vec::new();
    for Claimed { id, name, sentence, source, expected, threshold } in claimed() {
        for design in DESIGNS {
            // (Only inner products have that limit.)
            for score in SCORES.into_iter().filter(|score| id != "hot-leverage" || *score == "dot") {
                let id = if id == "hot-leverage" { format!("{id}-{design}") } else { format!("{id}-{design}-{score}") };
                let found = median(&values(design, score, name), &id)?;
                let claim = Claim::new(id, format!("{design}, {score}: {sentence}"), source, expected, threshold);
                claims.push(claim.estimated(found));
            }
        }
    }
    let heads =
        ["design", "score", "picked T", "rows there", "test R²", "T of the peak", "rows there", "test R²", "peak of C"];
    let mut table = Table::new("At the temperature that leave-one-out picks, and at the peak of C; medians", heads);
    for design in DESIGNS {
        for score in SCORES {
            let names = [
                "picked T",
                "rows at the picked",
                "test at the picked",
                "peak T",
                "rows at the peak",
                "test at the peak",
                "peak capacity",
            ];
            let cells = names.map(|name| {
                let values = values(design, score, name);
                if values.is_empty() { "—".to_owned() } else { number(middle(&values)) }
            });
            table.push([design.to_owned(), score.to_owned()].into_iter().chain(cells));
        }
    }
    let plots = DESIGNS.into_iter().flat_map(|design| SCORES.map(|score| plot(results, design, score))).collect();
    Ok(Judgement { claims, tables: vec![table], plots, ..Judgement::default() })
}

fn median(values: &[f64], id: &str) -> Result<Option<Estimate>, Error> {
    if values.is_empty() {
        return Ok(None);
    }
    bootstrap(values, RESAMPLES, &mut generator("thermo-regression", "judge", id, 0), middle).map(Some)
}

/// Capacity, effective rows as a share, and R² along the dial.
fn plot(results: &Results, design: &str, score: &str) -> Plot {
    let rows: Vec<&Row> = results
        .rows()
        .filter(|row| row.is("kind", "curve") && row.is("design", design) && row.is("score", score))
        .collect();
    let title = format!("{design}, {score}: heat capacity, entropy and R² along the temperature");
    let mut plot = Plot::new(title, Axis::log("temperature"), Axis::linear("C and S over their largest, R²"));
    for (name, shown, stroke) in [
        ("capacity", "C", Stroke::Solid),
        ("entropy", "S", Stroke::Solid),
        ("left out", "R² left out", Stroke::Dashed),
        ("test", "R² of fresh rows", Stroke::Solid),
    ] {
        let points: Vec<(f64, f64)> = rows.iter().filter_map(|row| Some((row.number("T")?, row.get(name)?))).collect();
        let most = points.iter().map(|(_, y)| *y).fold(f64::MIN_POSITIVE, f64::max);
        let scale = if name == "capacity" || name == "entropy" { most } else { 1.0 };
        // (R² far below zero says nothing more.)
        let points = points.into_iter().map(|(x, y)| (x, (y / scale).max(-0.5))).collect();
        plot = plot.series(shown, points, Mark::Line(stroke));
    }
    plot
}

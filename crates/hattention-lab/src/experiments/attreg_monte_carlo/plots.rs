//! The plots of the report.

use super::cells::{Cell, Scores};
use super::published;
use super::tables::{step_name, steps, with_rows};
use super::world::DESIGNS;
use super::{RATIOS, ROWS};
use crate::plot::{Axis, Heat, Mark, Plot, Scale, Stroke};
use crate::statistics::Estimate;

/// Arms that are drawn, with their names.
const DRAWN: [(&str, &str); 4] = [
    ("ols", "least squares"),
    ("published", "as published"),
    ("clean_better", "second fits without test rows"),
    ("ours", "ours"),
];

pub fn plots(scores: &Scores, planned: &[Cell]) -> Vec<Plot> {
    let all = [by_rows(scores, planned), by_design(scores, planned), gains(scores, planned), ablation(scores, planned)];
    all.into_iter().filter(|plot| !plot.is_empty()).collect()
}

fn bars(found: Vec<(f64, Option<Estimate>)>) -> (Vec<(f64, f64)>, Mark) {
    let there: Vec<(f64, Estimate)> = found.into_iter().filter_map(|(x, e)| Some((x, e?))).collect();
    let ends = there.iter().map(|(_, e)| e.interval.map_or((e.value, e.value), |i| (i.low, i.high))).collect();
    (there.iter().map(|(x, e)| (*x, e.value)).collect(), Mark::Bars(ends))
}

fn by_rows(scores: &Scores, planned: &[Cell]) -> Plot {
    let mut rows: Vec<usize> = planned.iter().map(|cell| cell.rows).collect();
    rows.sort_unstable();
    rows.dedup();
    let cells = |rows: usize| with_rows(planned, Some(rows));
    let ceiling = planned.iter().map(|cell| cell.ceiling()).sum::<f64>() / planned.len().max(1) as f64;
    let mut plot = Plot::new(
        "R² by training rows: ours, as published (which chose by the test rows), and least squares",
        Axis::log("training rows"),
        Axis::linear("R² of test rows, mean"),
    )
    .level(ceiling, "the true function");
    for (arm, name) in DRAWN {
        let (points, ends) = bars(rows.iter().map(|n| (*n as f64, scores.pooled(arm, &cells(*n)))).collect());
        plot = plot.series(name, points.clone(), Mark::Line(Stroke::Solid)).series(name, points, ends);
    }
    for (peer, name) in [("attention_regression", "published figures"), ("mlp", "published network")] {
        let points = rows.iter().filter_map(|n| Some((*n as f64, published::pooled(peer, &cells(*n))?))).collect();
        plot = plot.series(name, points, Mark::Line(Stroke::Dashed));
    }
    plot
}

fn by_design(scores: &Scores, planned: &[Cell]) -> Plot {
    let of = |place: usize| planned.iter().filter(|cell| cell.place == place).copied().collect::<Vec<_>>();
    // (Whole names would stand on each other.)
    let names = DESIGNS.iter().map(|design| match design.name {
        "rotated_sine" => "sine".to_owned(),
        "soft_radial" => "radial".to_owned(),
        name => name.replace("friedman", "f. "),
    });
    let mut plot = Plot::new(
        "R² by design: ours against what is published",
        Axis::words("design (f. is Friedman's)", names),
        Axis::linear("R² of test rows, mean"),
    )
    .level(planned.iter().map(|cell| cell.ceiling()).sum::<f64>() / planned.len().max(1) as f64, "the true function");
    for (k, (arm, name)) in DRAWN.into_iter().enumerate() {
        // (Side by side.)
        let place = |d: usize| (d + 1) as f64 + 0.14 * (k as f64 - 0.5 * (DRAWN.len() - 1) as f64);
        let found = (0..DESIGNS.len()).map(|d| (place(d), scores.pooled(arm, &of(d)))).collect();
        let (points, ends) = bars(found);
        plot = plot.series(name, points, ends);
    }
    let network = (0..DESIGNS.len()).filter_map(|d| Some(((d + 1) as f64, published::pooled("mlp", &of(d))?)));
    plot.series("published network", network.collect(), Mark::Points)
}

/// What ours is better by, cell by cell.
fn gains(scores: &Scores, planned: &[Cell]) -> Plot {
    let of = |place: usize, snr: f64, rows: usize| {
        let cell = Cell::new(DESIGNS[place].name, rows, snr).filter(|cell| planned.contains(cell));
        cell.and_then(|cell| scores.gain("ours", "published", &[cell])).map_or(f64::NAN, |e| e.value)
    };
    let rows: Vec<(usize, f64)> =
        (0..DESIGNS.len()).flat_map(|place| RATIOS.iter().map(move |snr| (place, *snr))).collect();
    let line = |(place, snr): &(usize, f64)| ROWS.iter().map(|n| of(*place, *snr, *n)).collect();
    let heat = Heat {
        columns: ROWS.iter().map(usize::to_string).collect(),
        rows: rows.iter().map(|(place, snr)| format!("{}, SNR {snr}", DESIGNS[*place].name)).collect(),
        values: rows.iter().map(line).collect(),
        range: (-0.05, 0.2),
        scale: Scale::Linear,
    };
    Plot::heat("R² that ours has above what is published, cell by cell", "training rows", "design and noise", heat)
}

fn ablation(scores: &Scores, planned: &[Cell]) -> Plot {
    let columns = [500, 1000];
    let value =
        |step: &str, rows: usize| scores.pooled(step, &with_rows(planned, Some(rows))).map_or(f64::NAN, |e| e.value);
    let heat = Heat {
        columns: columns.iter().map(usize::to_string).collect(),
        rows: steps().iter().map(|(step, _)| step_name(step)).collect(),
        values: steps().iter().map(|(step, _)| columns.iter().map(|n| value(step, *n)).collect()).collect(),
        range: (0.3, 0.55),
        scale: Scale::Linear,
    };
    Plot::heat("From the published recipe to ours: R², one change after the other", "training rows", "step", heat)
}

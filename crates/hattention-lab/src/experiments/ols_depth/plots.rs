//! The plots of the report.

use super::{CONTEXTS, GOAL, SHOWN_LAYERS, by_condition, medians};
use crate::experiment::Results;
use crate::plot::{Axis, Mark, Plot, Stroke};

pub(super) fn plots(results: &Results, columns: &[usize]) -> Vec<Plot> {
    let d = columns.iter().copied().max().unwrap_or(5);
    let d = if by_condition(results, "identity", d, "floor").is_empty() { columns[0] } else { d };
    let mut layers = Plot::new(
        format!("Newton's layers are counted beforehand; gradient steps explode (d = {d})"),
        Axis::log("condition κ(S) of the context's second moments"),
        Axis::log("layers to 1e-10"),
    );
    for (start, name) in
        [("identity", "Newton, identity"), ("transpose", "Newton, transpose"), ("gradient", "gradient descent")]
    {
        let positive = |points: Vec<(f64, f64)>| points.into_iter().filter(|(_, y)| *y >= 1.0).collect::<Vec<_>>();
        layers = layers
            .series(name, positive(medians(&by_condition(results, start, d, "layers used"))), Mark::Points)
            .series(
                name,
                positive(medians(&by_condition(results, start, d, "layers predicted"))),
                Mark::Line(Stroke::Dashed),
            );
    }
    let mut floor = Plot::new(
        "Where doubles end: the least error any number of layers reaches",
        Axis::log("condition κ(S) of the context's second moments"),
        Axis::log("least ‖I − M S‖, median"),
    )
    .level(GOAL, "1e-10");
    for d in columns {
        for (start, name, stroke) in
            [("textbook", "2M − M(SM)", Stroke::Dashed), ("identity", "M + (I − MS)M", Stroke::Solid)]
        {
            let points = medians(&by_condition(results, start, *d, "floor"));
            floor = floor.series(format!("{name}, d = {d}"), points, Mark::Line(stroke));
        }
    }
    vec![layers, floor, slow_memory(results)]
}

/// Errors layer by layer, of whitened keys and of keys as they are.
fn slow_memory(results: &Results) -> Plot {
    let curve = |start: &str, per_column: usize| -> Vec<(f64, f64)> {
        let rows: Vec<_> =
            results.rows().filter(|r| r.is("start", start) && r.is("rows per column", per_column)).collect();
        let after = |k: usize| -> Vec<f64> { rows.iter().filter_map(|r| r.get(&format!("error after {k}"))).collect() };
        medians(&(0..=SHOWN_LAYERS).map(|k| (k as f64, after(k))).filter(|(_, e)| !e.is_empty()).collect::<Vec<_>>())
    };
    let most = CONTEXTS[CONTEXTS.len() - 1];
    let mut plot = Plot::new(
        "Slow memory makes fast memory shallow: keys whitened by earlier rows, and raw ones of κ(X) = 1e4",
        Axis::linear("layer"),
        Axis::log("‖I − M S‖, median").range(1e-16, 2.0),
    );
    for per_column in CONTEXTS {
        let name = format!("whitened, {per_column} d rows");
        plot = plot.series(name, curve("whitened", per_column), Mark::Line(Stroke::Solid));
    }
    plot.series(format!("raw, {most} d rows"), curve("raw", most), Mark::Line(Stroke::Dashed)).level(GOAL, "1e-10")
}

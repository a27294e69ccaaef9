//! The plots of the report.

use super::judge::{average, gain};
use super::peers;
use super::sets::SETS;
use crate::experiment::Results;
use crate::plot::{Axis, Mark, Plot};

pub fn plots(results: &Results) -> Vec<Plot> {
    [levels(results), gains(results)].into_iter().filter(|plot| !plot.is_empty()).collect()
}

fn levels(results: &Results) -> Plot {
    let arms = [
        ("ours", "ours"),
        ("published", "as published"),
        ("block", "Regression Block"),
        ("forest", "forest"),
        ("mlp", "network"),
        ("ols", "least squares"),
    ];
    let mut plot = Plot::new(
        "R² of test rows by set, the same splits for all",
        Axis::words("set", SETS.iter().map(|set| set.name)),
        Axis::linear("R², mean over splits"),
    );
    for (arm, name) in arms {
        let at = |(i, set): (usize, &super::sets::Set)| {
            // (Peers have figures of sets that were not run here.)
            average(results, set.name, "ours")?;
            Some(((i + 1) as f64, average(results, set.name, arm)?))
        };
        plot = plot.series(name, SETS.iter().enumerate().filter_map(at).collect(), Mark::Points);
    }
    plot
}

fn gains(results: &Results) -> Plot {
    let mut plot = Plot::new(
        "Ours against a forest and against what is published, on the same splits",
        Axis::words("set", SETS.iter().map(|set| set.name)),
        Axis::linear("R² that ours has above"),
    )
    .level(0.0, "equal");
    for (other, name) in [("forest", "over a forest"), ("published", "over what is published")] {
        let (mut points, mut ends) = (Vec::new(), Vec::new());
        for (i, set) in SETS.iter().enumerate() {
            let Some(found) = gain(results, set.name, "ours", other) else { continue };
            points.push(((i + 1) as f64, found.value));
            ends.push(found.interval.map_or((found.value, found.value), |i| (i.low, i.high)));
        }
        plot = plot.series(name, points, Mark::Bars(ends));
    }
    let figures = SETS.iter().enumerate().filter_map(|(i, set)| {
        let known = peers::published(set.published, "AttReg")?;
        Some(((i + 1) as f64, average(results, set.name, "ours")? - known))
    });
    plot.series("over the published figure", figures.collect(), Mark::Points)
}

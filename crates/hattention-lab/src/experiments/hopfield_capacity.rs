//! # How many patterns an associative memory holds
//!
//! Linear memory (Hopfield 1982): a share of patterns that are fixed points of one synchronous step.
//!
//! - `none-for-few`: at K = N/(8 ln N) at least 95 % of the patterns are fixed points.

use rand::Rng;
use serde_json::json;

use crate::claim::{Claim, Threshold};
use crate::error::Error;
use crate::experiment::{Context, Experiment, Judgement, Plan, Results, Seeds, Size, Unit};
use crate::plot::{Axis, Mark, Plot};
use crate::rows::Row;
use crate::statistics::share;

/// The experiment.
pub const EXPERIMENT: Experiment = Experiment {
    name: "hopfield-capacity",
    summary: "How many patterns a memory holds, by its score: linear, polynomial, exponential, softmax, whitened",
    source: "Hopfield 1982; Krotov & Hopfield 2016; Demircigil et al. 2017; Ramsauer et al. 2020",
    file: include_str!("hopfield_capacity.rs"),
    version: 0,
    hours: 0.01,
    seeds: Seeds { full: 20, smoke: 2 },
    units,
    run,
    judge,
};

fn units(plan: &Plan) -> Vec<Unit> {
    let sizes: &[usize] = match plan.size {
        Size::Smoke => &[64],
        Size::Full => &[64, 128],
    };
    sizes.iter().map(|n| Unit::new(format!("linear-{n}"), json!({"N": n}))).collect()
}

fn run(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let n = unit.count("N")?;
    let count = (n as f64 / (8.0 * (n as f64).ln())).max(1.0) as usize;
    let mut rows = Vec::new();
    for set in 0..context.plan.seeds {
        let mut random = context.generator("patterns", set);
        let bits: Vec<Vec<f64>> =
            (0..count).map(|_| (0..n).map(|_| if random.next_u32() & 1 == 1 { 1.0 } else { -1.0 }).collect()).collect();
        let kept = bits.iter().filter(|probe| {
            let overlaps: Vec<f64> =
                bits.iter().map(|p| p.iter().zip(probe.iter()).map(|(a, b)| a * b).sum()).collect();
            (0..n).all(|i| {
                let field: f64 = bits.iter().zip(&overlaps).map(|(p, m)| p[i] * (m - p[i] * probe[i])).sum();
                field * probe[i] > 0.0
            })
        });
        rows.push(Row::new().label("N", n).label("K", count).label("set", set).value("recovered", kept.count() as f64));
        context.progress((set + 1) as f64 / context.plan.seeds as f64);
    }
    Ok(rows)
}

fn judge(_: &Plan, results: &Results) -> Result<Judgement, Error> {
    let (mut kept, mut all) = (0.0, 0.0);
    for row in results.rows() {
        kept += row.get("recovered").unwrap_or(0.0);
        all += row.number("K").unwrap_or(0.0);
    }
    let found = share(kept as u64, all as u64);
    let claim = Claim::new(
        "none-for-few",
        "Few patterns are all fixed points",
        "Hopfield 1982",
        "all",
        Threshold::at_least(0.95),
    )
    .measured(found.value, found.interval);
    let points = results.rows().filter_map(|r| Some((r.number("N")?, r.get("recovered")? / r.number("K")?))).collect();
    let plot = Plot::new("Few patterns are fixed points", Axis::log("neurons N"), Axis::linear("share recovered"))
        .series("linear", points, Mark::Points);
    Ok(Judgement { claims: vec![claim], plots: vec![plot], ..Judgement::default() })
}

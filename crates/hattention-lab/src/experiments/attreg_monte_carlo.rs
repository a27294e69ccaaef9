//! # Attention regression in the published Monte Carlo, as published and as here
//!
//! Source: Goulet Coulombe, “Ordinary Least Squares as an Attention Mechanism” (arXiv 2504.09663): 96 cells, six designs of
//! five regressors uniform on 0 to 1, N ∈ {500, 1,000, 2,500, 5,000} training rows, signal-to-noise ratios {½, 1, 2, 3},
//! 1,000 test rows; noise N(0, Var f/SNR) with the variance over training and test rows together; R² of the noisy test
//! targets, so that knowing the function would have SNR/(1 + SNR), .5625 on average. Published means over all cells: least
//! squares .279, boosting .418, forest .454, attention regression .476, a network of three layers .529.
//!
//! **What is published chose by the test rows**: where the *test* R² was below 0.1, the author's code fitted again with a
//! hundredth of the penalty. The arm `published` does so too, and is no estimate of anything; `clean_loo` lets rows left out
//! decide, and `published_no_retry` never fits again; `clean_better` keeps a second fit only if it predicts rows left out
//! better. No arm of ours sees a test row before its score.
//!
//! ## Arms
//! - `ols`: least squares with an intercept. `untrained_raw`, `untrained_standardised`: the published start, never trained.
//! - `published_no_retry`, `published`, `clean_loo`, `clean_better`: the published recipe (five heads of inner products on
//!   raw columns, rows read themselves, squares with penalty 10⁻³ and 10⁻⁵, at most 6,000 steps of L-BFGS), in single
//!   precision, as the author's code: its searches end where rounding leaves no descent.
//! - `defaults`: `Options::default`. `ours`: the same with penalties, and whether ranks are read, by cross-validation in five folds
//!   of at most 1,000 training rows.
//! - For N = 500 and 1,000, the first three tenths of the replications: from `published_no_retry` to `ours`, one change after
//!   the other, each with all before it; and `ours` with one thing changed (three starts and rows held out keep the penalties
//!   chosen without them; all others choose anew).
//!   Between the mask and the penalty on heads nothing bounds α; those steps are shown as they are and, after all others, with
//!   heads penalised.
//!
//! ## Replications
//! 10 for N ≤ 1,000, 4 for 2,500 and 2 for 5,000 (10 everywhere in the source). Rows are drawn from streams of our own, one
//! for each cell and replication, the same for all arms; starts have the replication's number as seed. Pooled means are means
//! over cells, intervals those of Student with the degrees of freedom of Welch and Satterthwaite.
//!
//! ## Thresholds
//! Claims on the 96 cells are judged only where all of them were measured.
//! - `published-pooled`: as published, .476 within .01: 0.466 to 0.486 with its whole interval (partly: 0.456 to 0.496).
//! - `published-design-*`: each design's mean within 2 standard errors of the published one: −2 to 2, in standard errors of
//!   the difference (the published means taken to have ten replications of the variance found here).
//! - `clean-pooled`: second fits that rows left out ask for and approve of (`clean_better`) do as well as those by test rows:
//!   the difference in pooled means is at least −0.005 with its whole interval (partly: −0.01).
//! - `untrained-raw` (.148) and `untrained-standardised` (.341): 0.13 to 0.17 and 0.32 to 0.36.
//! - `ours-pooled`: at least 0.51. `ours-network`: at least 0.529, the published network.
//! - `ours-linear`: at least 0.55 on the linear design. `ours-linear-cells`: in its worst cell at least 0.95 of least
//!   squares.
//! - `ours-cells`: the mean is at least that of `published` in at least 87 of 96 cells (partly: 49).
//!
//! ## Revisions
//! Version 2: cross-validation may choose ranks, which came from real data (`attreg-real-data`), after 48 units of version 1 (`ours` .538
//! over 84 cells) and none of the published recipe; all thresholds are as they were. That each head that has collapsed starts again on
//! the way of the penalties was tried with it and left out: ranks alone had most of what both gained on real data, and with 500 rows of
//! the soft radial design it cost .01. While version 1 was written single replications at an SNR of 1 were seen (`published_no_retry` .38 and
//! `defaults` .44 at N = 500; the steps without a bound, −.003 in one replication), and thresholds are those that the published figures set.
//! (Those −.003 were a leak that is closed since: a head of metric zero read `−y_i/(n − 1)`, which α = −(n − 1) turned into a loss
//! of zero. Heads are now read about the mean of what a row may read.)
//!
//! ## Time
//! A published fit evaluates 1,300 to 2,700 losses: 2 seconds at N = 500, 3 minutes at 5,000, on two cores; with second fits
//! about 5 hours in all. Everything else takes 2 hours, of which `ours` half of one.

mod arms;
mod cells;
mod judge;
mod plots;
mod published;
mod tables;
mod world;

use rayon::prelude::*;
use serde_json::json;

use self::arms::Fitted;
use self::world::DESIGNS;
use crate::error::Error;
use crate::experiment::{Context, Experiment, Plan, Seeds, Size, Unit};
use crate::rows::Row;
use crate::seeds;

/// The experiment.
pub const EXPERIMENT: Experiment = Experiment {
    name: "attreg-monte-carlo",
    trains: false,
    summary: "Attention regression in the published Monte Carlo of 96 cells, as published and as here, and what makes the difference",
    source: "Goulet Coulombe 2025, arXiv 2504.09663",
    file: include_str!("attreg_monte_carlo.rs"),
    version: 2,
    hours: 30.0,
    seeds: Seeds { full: 10, smoke: 2 },
    units,
    run,
    judge: judge::judge,
};

const ROWS: [usize; 4] = [500, 1000, 2500, 5000];
const RATIOS: [f64; 4] = [0.5, 1.0, 2.0, 3.0];
/// The cells of a smoke run.
const SMOKE: (&[usize], &[f64], [&str; 2]) = (&[60], &[3.0], ["linear", "friedman3"]);

/// The numbers of rows, ratios and designs of a size.
fn grid(size: Size) -> (&'static [usize], &'static [f64], Vec<&'static str>) {
    match size {
        Size::Full => (&ROWS, &RATIOS, DESIGNS.iter().map(|design| design.name).collect()),
        Size::Smoke => (SMOKE.0, SMOKE.1, SMOKE.2.to_vec()),
    }
}

/// Replications of a cell: fewer of those that take long.
fn replications(seeds: usize, rows: usize) -> usize {
    let share = match rows {
        ..=1000 => seeds,
        1001..=2500 => 2 * seeds / 5,
        _ => seeds / 5,
    };
    share.max(1)
}

/// Replications of the steps between the recipes.
fn few(seeds: usize) -> usize {
    (3 * seeds / 10).max(1)
}

/// Where a unit of fits that take long is cut: whether by ratio, and into how many replications.
fn cut(group: &str, rows: usize) -> (bool, usize) {
    match (group, rows) {
        ("published", 501..=1000) => (true, usize::MAX),
        ("published", 1001..=2500) => (true, 2),
        ("published", 2501..) => (true, 1),
        ("chain", 501..) => (true, usize::MAX),
        _ => (false, usize::MAX),
    }
}

fn units(plan: &Plan) -> Vec<Unit> {
    let (all_rows, ratios, designs) = grid(plan.size);
    let (tests, steps) = if plan.size == Size::Full { (1000, 6000) } else { (100, 60) };
    let mut units = Vec::new();
    for group in ["simple", "ours", "changed", "chain", "published"] {
        let partly = ["chain", "changed"].contains(&group);
        for rows in all_rows.iter().filter(|rows| !partly || **rows <= 1000) {
            let count = if partly { few(plan.seeds) } else { replications(plan.seeds, *rows) };
            let (by_ratio, most) = cut(group, *rows);
            // (A smoke run has steps of one design.)
            for design in designs.iter().take(if partly && plan.size == Size::Smoke { 1 } else { designs.len() }) {
                let parts: Vec<&[f64]> = if by_ratio { ratios.chunks(1).collect() } else { vec![ratios] };
                for part in parts {
                    for first in (0..count).step_by(most.min(count)) {
                        let name = [
                            format!("{group}-{design}-{rows}"),
                            if by_ratio { format!("-{}", part[0]) } else { String::new() },
                            if most < count { format!("-{first}") } else { String::new() },
                        ];
                        let parameters = json!({
                            "group": group, "design": design, "rows": rows, "tests": tests, "ratios": part, "first": first,
                            "replications": most.min(count - first), "steps": steps,
                        });
                        units.push(Unit::new(name.concat(), parameters));
                    }
                }
            }
        }
    }
    units
}

fn run(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let (name, rows, tests) = (unit.word("design")?, unit.count("rows")?, unit.count("tests")?);
    let (first, count, steps) = (unit.count("first")?, unit.count("replications")?, unit.count("steps")?);
    let ratios: Vec<f64> =
        unit.parameters["ratios"].as_array().into_iter().flatten().filter_map(|r| r.as_f64()).collect();
    let group = unit.word("group")?;
    let tasks: Vec<(f64, usize)> =
        ratios.iter().flat_map(|snr| (first..first + count).map(|replicate| (*snr, replicate))).collect();
    let of = |(snr, replicate): &(f64, usize)| -> Result<Vec<Row>, Error> {
        // (A stream of the cell, not of the unit: all arms have the same rows.)
        let mut generator = seeds::generator(EXPERIMENT.name, &format!("{name}-{rows}-{snr}"), "rows", *replicate);
        let sample = world::draw(world::design(name), rows, tests, *snr, &mut generator);
        let labelled = |Fitted { arm, values }: Fitted| {
            let row = Row::new()
                .label("design", name)
                .label("N", rows)
                .label("SNR", *snr)
                .label("arm", arm)
                .label("replication", *replicate);
            values.into_iter().fold(row, |row, (name, value)| row.value(name, value))
        };
        let fitted = arms::fitted(group, &sample, *replicate as u64, steps)?;
        Ok(fitted.into_iter().map(labelled).collect())
    };
    let rows = tasks.par_iter().map(of).collect::<Result<Vec<_>, Error>>()?.concat();
    context.progress(1.0);
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_have_every_fit_once() {
        let units = units(&EXPERIMENT.plan(Size::Full, None));
        for (group, expected) in [
            ("published", 2 * 240 + 96 + 48),
            ("ours", 2 * 240 + 96 + 48),
            ("chain", 2 * 24 * 3),
            ("changed", 2 * 24 * 3),
        ] {
            let fits: u64 = units
                .iter()
                .filter(|unit| unit.parameters["group"] == group)
                .map(|unit| {
                    let ratios = unit.parameters["ratios"].as_array().unwrap().len() as u64;
                    ratios * unit.parameters["replications"].as_u64().unwrap()
                })
                .sum();
            assert_eq!(fits, expected, "{group}");
        }
        let mut names: Vec<&str> = units.iter().map(|unit| unit.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), units.len());
    }

    /// Published without a step is untrained: units of both have drawn the same rows.
    #[test]
    fn arms_have_the_same_rows() {
        let plan = EXPERIMENT.plan(Size::Smoke, Some(1));
        let score = |group: &str, arm: &str| {
            let mut unit = units(&plan).into_iter().find(|unit| unit.parameters["group"] == group).unwrap();
            unit.parameters["steps"] = json!(0);
            let rows = run(&unit, &Context::new(&plan, EXPERIMENT.name, &unit.name)).unwrap();
            rows.iter().find(|row| row.is("arm", arm)).unwrap().get("R²").unwrap()
        };
        assert_eq!(score("simple", "untrained_raw"), score("published", "published_no_retry"));
    }
}

//! # Attention regression on real data
//!
//! Source: Goulet Coulombe, “Ordinary Least Squares as an Attention Mechanism” (arXiv 2504.09663): eight sets of the UCI
//! repository, at most 5,000 rows, five random splits of 80 to 20, features and target standardised on the training rows, R²
//! of the test rows; mean over splits. Its second model, the Regression Block, is a network over one token a feature.
//! Published means stand beside ours. Two more sets stand beside them: 3,000 of the flights of
//! `data/flights.parquet` (arrival delay) and 3,000 rows of the RAND health insurance experiment (visits to a doctor; nearly
//! all of it is noise).
//!
//! **What is published chose by the test rows**: where the *test* R² was below 0.05 the author's code fitted again with a
//! hundredth of the penalty. `published` does so too; in `clean_loo` rows left out decide, and `clean_better` keeps a second
//! fit only if it predicts these better.
//!
//! ## Arms
//! - `ols`. `ours`: the default options with penalties, and whether ranks are read, by cross-validation in five folds of at most
//!   1,000 training rows.
//! - `published`, `clean_loo`, `clean_better`: the published recipe, in single precision as its code, and with second fits
//!   decided without test rows.
//! - `block`: the Regression Block, in doubles: tokens `w x_i + b + p_i` of 64 numbers, features of degree two of all tokens
//!   (their squares, and products of all pairs) on the directions that they span at the start (of which there are fewer than
//!   the 200 principal components of the source), normalised layers of widths 64, 128 and 64, the mean over tokens, a linear
//!   head; Adam, rate 1e-3, decay 1e-4, batches of 256, at most 200 epochs, ended after ten without a better loss on 15 % of
//!   the training rows. The source does not say how parameters start, and its warm start, which it reports to make no
//!   difference, is left out.
//! - `forest`, `boosting`, `mlp`: scikit-learn on the same rows (`reference/attreg_real_data.py`): 500 trees with a third of
//!   the features, 500 trees with a rate of .01, three layers of 200.
//!
//! ## Data
//! `--data` names a folder with `california.csv.gz` and seven more, the target last; they are not part of this repository.
//! Splits: rows shuffled by SplitMix64 with seeds 42, 1,042, …, the first 5,000 kept, the last fifth of them for the test.
//! They are not the splits of the published figures; nor are all sets the published ones. The target of yacht is the
//! logarithm of the resistance here, that of protein is transformed too, and least squares explain .52 of abalone's where .26
//! is published. Claims about published figures are on the sets on which least squares are within .03 of the published
//! figure.
//!
//! ## Thresholds
//! Counts are over the eight sets, and judged only where all eight were measured.
//! - `same-rows`: R² of least squares here and in scikit-learn differ by at most 1e-8 in every split of the ten sets.
//! - `ours-above-published`: the mean of ours is at least that of `published`, on the same splits, on 8 of 8 (partly: 6).
//! - `ours-above-forest`: at least that of the forest on 6 of 8 (partly: 4).
//! - `ours-above-figures`: at least the published figure of attention regression, on a share 1 of the sets that are the
//!   published ones (partly: 0.75).
//! - `published-figures`, `block-figures`: within .02 of the published figure on a share of at least 0.75 of these sets
//!   (partly: 0.5).
//!
//! ## Revisions
//! None since the first run: version 1. That three of the sets are not the published ones was seen before thresholds were written: from
//! least squares, the only arm that had been run, and peers. Of the eight sets R² of `ours` on test rows was seen while ranks were
//! added to it, and while new starts of heads that have collapsed were tried and left out. Before, it was .979 on yacht, .998 on energy,
//! .911 on airfoil and .879 on concrete, where forests have .912 and .911. In a fit nothing but training rows chooses; flights
//! and randhie were not looked at.
//!
//! ## Time
//! Five hours on two cores, four of them for the published recipe.

mod block;
mod judge;
mod peers;
mod plots;
mod sets;

use hattention::attention_regression::{Options, Ranks};
use serde_json::json;

use self::sets::{MOST, SETS};
use crate::error::Error;
use crate::experiment::{Context, Experiment, Plan, Seeds, Size, Unit};
use crate::rows::Row;
use crate::scored::Sample;

/// The experiment.
pub const EXPERIMENT: Experiment = Experiment {
    name: "attreg-real-data",
    trains: true,
    summary: "Attention regression on eight UCI sets and two more, against forests, boosting, networks and what is published",
    source: "Goulet Coulombe 2025, arXiv 2504.09663",
    file: include_str!("attreg_real_data.rs"),
    version: 1,
    hours: 5.0,
    seeds: Seeds { full: 5, smoke: 1 },
    units,
    run,
    judge: judge::judge,
};

/// The test R² below which the author's code fitted again.
const LIMIT: f64 = 0.05;
/// Rows beyond which published fits take a unit for each split.
const MANY: usize = 2000;

fn units(plan: &Plan) -> Vec<Unit> {
    let full = plan.size == Size::Full;
    let (most, steps, epochs) = if full { (MOST, 6000, 200) } else { (150, 40, 2) };
    let mut units = Vec::new();
    for set in SETS.iter().filter(|set| full || set.file.is_some()) {
        for group in ["ours", "published", "block"] {
            let single = group == "published" && set.rows.min(most) > MANY;
            for first in (0..plan.seeds).step_by(if single { 1 } else { plan.seeds }) {
                let name = format!("{group}-{}{}", set.name, if single { format!("-{first}") } else { String::new() });
                let parameters = json!({
                    "group": group, "set": set.name, "first": first, "splits": if single { 1 } else { plan.seeds },
                    "most": most, "steps": steps, "epochs": epochs,
                });
                units.push(Unit::new(name, parameters));
            }
        }
    }
    units
}

fn run(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let name = unit.word("set")?;
    let set = sets::find(name)?;
    let table = set.read(context)?;
    let (first, count, most) = (unit.count("first")?, unit.count("splits")?, unit.count("most")?);
    let group = unit.word("group")?;
    let mut rows = Vec::new();
    for split in first..first + count {
        context.progress((split - first) as f64 / count as f64);
        let sample = sets::sample(&table, split, most);
        let found = match group {
            "ours" => ours(&sample, split)?,
            "published" => published(&sample, split, unit.count("steps")?)?,
            _ => vec![("block", block::fitted(&sample, split, unit.count("epochs")?, context)?)],
        };
        for (arm, values) in found {
            let row = Row::new().label("set", name).label("split", split).label("arm", arm);
            let row = row.label("training rows", sample.train_target.len());
            rows.push(values.into_iter().fold(row, |row, (name, value)| row.value(name, value)));
        }
    }
    context.progress(1.0);
    Ok(rows)
}

/// Arms with the numbers of each.
type Found = Vec<(&'static str, Vec<(&'static str, f64)>)>;

fn ours(sample: &Sample, split: usize) -> Result<Found, Error> {
    let seed = 1 + split as u64;
    let ols = sample.fit(Options { heads: 0, ..Options::default() })?;
    let options = sample.choose(&Options { seed, ..Options::default() })?;
    let (penalty, mixing, ranks) = (options.penalty, options.mixing, f64::from(options.ranks == Ranks::Yes));
    let ours = sample.fit(options)?;
    let left_out = sample.left_out(&ours.model);
    Ok(vec![
        ("ols", vec![("R²", ols.test)]),
        ("ours", vec![("R²", ours.test), ("R², left out", left_out), ("λ", penalty), ("τ", mixing), ("ranks", ranks)]),
    ])
}

fn published(sample: &Sample, split: usize, steps: usize) -> Result<Found, Error> {
    let options = Options { steps, seed: 1 + split as u64, ..Options::published() };
    let found = sample.retry(options, LIMIT)?;
    let values = |(retried, r2): (bool, f64)| {
        let mut values = vec![("R²", r2), ("retried", f64::from(retried))];
        values.extend([("R², first fit", found.first), ("R², left out", found.left_out)]);
        if let Some((second, left_out)) = found.second {
            values.extend([("R², second fit", second), ("R², second fit, left out", left_out)]);
        }
        values
    };
    Ok(vec![
        ("published", values(found.by_test())),
        ("clean_loo", values(found.by_left_out())),
        ("clean_better", values(found.better())),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_cover_all_splits() {
        let units = units(&EXPERIMENT.plan(Size::Full, None));
        let splits: u64 = units.iter().map(|unit| unit.parameters["splits"].as_u64().unwrap()).sum();
        assert_eq!(splits, 3 * 10 * 5);
    }

    #[test]
    fn without_the_files_it_says_so() {
        let plan = EXPERIMENT.plan(Size::Full, None);
        let unit = units(&plan).into_iter().find(|unit| unit.name == "ours-yacht").unwrap();
        let refused = run(&unit, &Context::new(&plan, EXPERIMENT.name, &unit.name)).unwrap_err();
        assert!(matches!(refused, Error::Parameter { name: "--data", .. }), "{refused}");
        let elsewhere = Plan { data: Some("nowhere".into()), ..plan };
        let refused = run(&unit, &Context::new(&elsewhere, EXPERIMENT.name, &unit.name)).unwrap_err();
        assert!(refused.to_string().contains("yacht.csv.gz"), "{refused}");
    }
}

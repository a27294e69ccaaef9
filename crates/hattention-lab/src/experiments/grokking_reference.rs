//! # Modular addition mod 113: how many steps until it generalises
//!
//! A transformer of one layer learns a + b mod 113 from a share of all pairs; it knows them by heart after some hundred steps, and
//! finds the rule later: the later, the smaller the share. This checks the lab's model against the published one (Nanda et al. 2023,
//! arXiv 2301.05217, and their code; steps by share from one seed each): whoever says something of grokking should grok when the
//! others do.
//!
//! ## World
//! Model and training of Nanda et al., as `hattention_lab::modular` has them: width 128, four heads of 32, 512 ReLU, no layer norm,
//! parameters normal of deviation 1/√128, AdamW with all pairs at once (rate 1e-3, decay 1, β .9 and .98, ten steps of warm-up). Ordered
//! pairs, drawn at random. A training ends when the loss on the other pairs is below 0.1; looked at every 10 steps. Theirs has
//! a logit for "=" too, starts the last matrix with 1/√114, and is in doubles from the logits on; ours has 113 logits, and is in single
//! precision with a loss that keeps its digits.
//!
//! ## Thresholds
//! - `steps-*` (shares of .3, .4, .5, .6): the geometric mean over seeds of the steps, over the published ones, is between
//!   0.5 and 2, its value (a training that does not generalise in 25,000 steps counts as that many; the interval, Student's of the logarithms, says how sure that is: one published seed each).
//! - `covers-*`: the logarithm of the published steps, less the mean of the logarithms, over their deviation times
//!   √(1 + 1/n): within −4.3 and 4.3, Student's 97.5 % of three seeds (one new seed as ours are).
//! - `by-heart`: steps to a loss below .01 on the pairs that are learned from, over the published 270, the mean over all trainings
//!   with its interval: 0.5 to 2.
//!
//! ## Revisions
//! None.
//!
//! ## Time
//! Half an hour on two cores.

mod judge;

use serde_json::json;

use crate::error::Error;
use crate::experiment::{Context, Experiment, Plan, Seeds, Size, Unit};
use crate::modular::{Form, Options, Shape, Task, TaskOptions, Training, watched};
use crate::rows::Row;

/// The experiment.
pub const EXPERIMENT: Experiment = Experiment {
    name: "grokking-reference",
    trains: true,
    summary: "Modular addition mod 113: steps until a transformer generalises, against published ones",
    source: "Nanda et al. 2023, arXiv 2301.05217",
    file: include_str!("grokking_reference.rs"),
    version: 1,
    hours: 0.5,
    seeds: Seeds { full: 3, smoke: 2 },
    units,
    run,
    judge: judge::judge,
};

/// Shares of the pairs, in hundredths, with the published steps until the loss on the others is below 0.1.
const SHARES: [(usize, f64); 4] = [(30, 7930.0), (40, 3109.0), (50, 956.0), (60, 440.0)];
/// Published steps until the loss on the pairs that are learned from is below 0.01.
const BY_HEART: f64 = 270.0;
/// The losses.
const GENERALISES: f64 = 0.1;
const KNOWS: f64 = 0.01;

fn units(plan: &Plan) -> Vec<Unit> {
    let full = plan.size == Size::Full;
    let of = |seed: usize, share: usize| {
        let steps = if full { 25_000 } else { 20 };
        let modulus = if full { 113 } else { 13 };
        let parameters = json!({"modulus": modulus, "share": share, "seed": seed, "steps": steps, "every": 10});
        Unit::new(format!("share-{share}-{seed}"), parameters)
    };
    (0..plan.seeds).flat_map(|seed| SHARES.map(|(share, _)| of(seed, share))).collect()
}

fn run(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let (modulus, seed) = (unit.count("modulus")?, unit.count("seed")?);
    let options = TaskOptions { modulus, fraction: unit.number("share")? / 100.0, unordered: false, noise: 0.0 };
    let task = Task::new(options, &mut context.generator("pairs", seed))?;
    let shape = Shape::of(modulus);
    // (Weights of every unit are its own.)
    let start = crate::seeds::seed("grokking-reference", &unit.name, "weights", 0) as usize;
    let mut training = Training::new(&task, shape, Form::Lean, Options::default(), start, context.plan.device)?;
    let often = [unit.count("steps")?, unit.count("every")?];
    let looks = watched(&mut training, context, often, false, |looks| {
        looks.last().is_some_and(|look| look.test_loss() < GENERALISES)
    })?;
    let row = |kind: &str| {
        let share = unit.parameters["share"].clone();
        Row::new().label("kind", kind).label("share", share).label("seed", seed)
    };
    let first =
        |of: &dyn Fn(&crate::modular::Look) -> bool| looks.iter().find(|look| of(look)).map(|look| look.step as f64);
    let mut end = row("end");
    let known = first(&|look| look.train_loss() < KNOWS);
    let found = first(&|look| look.test_loss() < GENERALISES);
    for (name, steps) in [("by heart", known), ("generalises", found)] {
        if let Some(steps) = steps {
            end = end.value(name, steps);
        }
    }
    let mut rows = vec![end.value("steps", training.steps() as f64)];
    // (A curve of 60 points or so.)
    let thin = looks.len().div_ceil(60).max(1);
    rows.extend(looks.iter().step_by(thin).map(|look| {
        row("curve")
            .label("steps", look.step)
            .value("train loss", look.train_loss())
            .value("test loss", look.test_loss())
            .value("test accuracy", look.test_accuracy())
    }));
    Ok(rows)
}

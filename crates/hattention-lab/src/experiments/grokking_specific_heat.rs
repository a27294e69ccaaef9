//! # Does a peak of the specific heat of attention precede generalisation, and predict it?
//!
//! Kim (2026, arXiv 2602.08216) reads attention as a canonical ensemble and finds a peak of its specific heat before a transformer
//! generalises in modular addition, p = 19 … 113, without a power law. A public follow-up (Pandey 2026, arXiv 2607.20552) finds the
//! peak of the pooled variance of scores before generalisation in 10 of 10 runs at p = 97, but uncorrelated with when (r = −.10), and in a
//! run that never generalises too. Neither has controls. Nothing of their moduli, optimiser or rule for a peak was found published, so this
//! is a test of the claim and not a repetition.
//!
//! ## World
//! The protocol was committed before the first run: `experiments/grokking_specific_heat/PROTOCOL.md`; its hash is in the results. Six
//! moduli with five seeds each; three controls (random targets, no decay, too few pairs) at three moduli with five seeds each; looked
//! at every 10 steps.
//!
//! ## Thresholds
//! As in the protocol, X one of canonical, pooled, pooled-all, and beside them sharpness, query-key, weights, test-loss:
//! - `precedes-*`: the share of the runs that generalise in which X has a peak before: at least 0.8, partly 0.5.
//! - `lead-*`: the mean of ln(steps to generalise/steps to the peak): at least 0.
//! - `predicts-*`, and `predicts-by-heart`: the correlation of the logarithms of both within moduli: at least 0.
//! - `more-than-controls-*`: that of X less the largest of the controls': at least 0.
//! - `false-alarms-*`: the share of runs that never generalise that have a peak: at most 0.2.
//! - `no-power-law-*`: the difference of Akaike's criterion, power law less saturating: at least 0.
//!
//! ## Revisions
//! None.
//!
//! ## Time
//! Two and a half hours on two cores; the longest unit nine minutes.

mod judge;
mod peaks;

use serde_json::json;

use crate::error::Error;
use crate::experiment::{Context, Experiment, Plan, Seeds, Size, Unit};
use crate::modular::{Form, Look, Options, SEEN, Shape, Task, TaskOptions, Training, watched};
use crate::rows::Row;
use peaks::{Peak, peak, smoothed};

/// The experiment.
pub const EXPERIMENT: Experiment = Experiment {
    name: "grokking-specific-heat",
    trains: true,
    summary: "Peaks of the specific heat of attention before generalisation: a test with a protocol and controls",
    source: "Kim 2026, arXiv 2602.08216; Pandey 2026, arXiv 2607.20552",
    file: include_str!("grokking_specific_heat.rs"),
    version: 1,
    hours: 2.5,
    seeds: Seeds { full: 5, smoke: 2 },
    units,
    run,
    judge: judge::judge,
};

/// What was promised before the runs.
const PROTOCOL: &str = include_str!("grokking_specific_heat/PROTOCOL.md");
/// Moduli with the shares of pairs, in hundredths, and the steps at most.
const MAIN: [(usize, usize, usize); 6] =
    [(19, 80, 20_000 / 2), (31, 50, 20_000), (43, 40, 20_000), (59, 40, 20_000), (97, 35, 20_000), (113, 30, 20_000)];
/// Moduli of the controls.
const CONTROLLED: [usize; 3] = [31, 43, 59];
/// Controls.
const CONTROLS: [&str; 3] = ["noise", "no decay", "few"];
const CONTROL_STEPS: usize = 10_000;
/// The share of the pairs, in hundredths, that is too few.
const FEW: usize = 15;
/// Steps from one look to the next, and those of the smoothing.
const EVERY: usize = 10;
const SMOOTHING: f64 = 50.0;
/// The share of right answers that counts as all, and the loss that counts as generalised.
const RIGHT: f64 = 0.99;
const GENERALISES: f64 = 0.1;

/// What is looked at for peaks: its name, and the place among what is seen.
const SERIES: [(&str, usize); 7] = [
    ("canonical", 4),
    ("pooled", 6),
    ("pooled-all", 7),
    ("sharpness", 8),
    ("query-key", 10),
    ("weights", 11),
    ("test-loss", 2),
];
/// The first of these are specific heats.
const HEATS: usize = 3;

fn units(plan: &Plan) -> Vec<Unit> {
    let full = plan.size == Size::Full;
    let unit = |kind: &str, modulus: usize, share: usize, steps: usize, seed: usize| {
        let name = format!("{}-{modulus}-{seed}", kind.replace(' ', "-"));
        let steps = if full { steps } else { 30 };
        Unit::new(name, json!({"kind": kind, "modulus": modulus, "share": share, "steps": steps, "seed": seed}))
    };
    let main = if full { &MAIN[..] } else { &MAIN[..2] };
    let controlled = if full { &CONTROLLED[..] } else { &CONTROLLED[..1] };
    let mut units = Vec::new();
    for seed in 0..plan.seeds {
        units.extend(main.iter().map(|(modulus, share, steps)| unit("main", *modulus, *share, *steps, seed)));
        for kind in CONTROLS {
            for modulus in controlled {
                let own = MAIN.iter().find(|(p, _, _)| p == modulus).map_or(FEW, |(_, share, _)| *share);
                let share = if kind == "few" { FEW } else { own };
                units.push(unit(kind, *modulus, share, CONTROL_STEPS, seed));
            }
        }
    }
    units
}

/// A number of [`SERIES`], as it is looked at.
fn seen(look: &Look, (name, place): (&str, usize)) -> f64 {
    let value = look.numbers[place];
    if name == "sharpness" { 3f64.ln() - value } else { value }
}

fn run(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let (modulus, seed, kind) = (unit.count("modulus")?, unit.count("seed")?, unit.word("kind")?);
    let noise = f64::from(u8::from(kind == "noise"));
    let options = TaskOptions { modulus, fraction: unit.number("share")? / 100.0, unordered: false, noise };
    let task = Task::new(options, &mut context.generator("pairs", seed))?;
    let decay = if kind == "no decay" { 0.0 } else { 1.0 };
    let options = Options { decay, ..Options::default() };
    let mut training = Training::new(&task, Shape::of(modulus), Form::Lean, options, seed, context.plan.device)?;
    let looks = watched(&mut training, context, [unit.count("steps")?, EVERY], true, |looks| {
        let first = looks.iter().find(|look| has_generalised(look));
        first.zip(looks.last()).is_some_and(|(first, last)| last.step >= 2 * first.step)
    })?;
    Ok(rows(unit, &looks))
}

fn has_generalised(look: &Look) -> bool {
    look.test_accuracy() >= RIGHT || look.test_loss() < GENERALISES
}

/// Times, peaks and a thinned series of a training.
fn rows(unit: &Unit, looks: &[Look]) -> Vec<Row> {
    let row = |what: &str| {
        let parameter = |name: &str| unit.parameters[name].clone();
        Row::new()
            .label("what", what)
            .label("kind", parameter("kind"))
            .label("modulus", parameter("modulus"))
            .label("seed", parameter("seed"))
    };
    let known = looks.iter().position(|look| look.train_accuracy() >= RIGHT);
    let mut times = row("times").value("steps", looks.last().map_or(0.0, |look| look.step as f64));
    let found = looks.iter().find(|look| has_generalised(look));
    for (name, look) in [("by heart", known.map(|at| &looks[at])), ("generalises", found)] {
        if let Some(look) = look {
            times = times.value(name, look.step as f64);
        }
    }
    let mut rows = vec![times];
    for series in SERIES {
        let values: Vec<f64> = looks.iter().map(|look| seen(look, series)).collect();
        let smooth = smoothed(&values, EVERY as f64 / SMOOTHING);
        if let Some(Peak { at, height, prominence }) = known.and_then(|from| peak(&smooth, from)) {
            rows.push(
                row("peak")
                    .label("series", series.0)
                    .value("step", looks[at].step as f64)
                    .value("height", height)
                    .value("prominence", prominence),
            );
        }
    }
    // (For pictures: a hundred looks, evenly spaced in the logarithm of the steps, to five digits.)
    let mut last = f64::NEG_INFINITY;
    let all = (looks.last().map_or(1.0, |look| look.step as f64) + 1.0).ln() / 100.0;
    for look in looks {
        let place = (look.step as f64 + 1.0).ln();
        if place - last < all {
            continue;
        }
        last = place;
        let short = |x: f64| format!("{x:.4e}").parse().unwrap_or(x);
        let row = row("look").label("step", look.step);
        rows.push(SEEN.iter().zip(look.numbers).fold(row, |row, (name, x)| row.value(name, short(x))));
    }
    rows
}

//! From rows to claims and plots.

use super::problems::World;
use super::steps::Step;
use crate::claim::{Claim, Threshold, number};
use crate::error::Error;
use crate::experiment::{Judgement, Plan, Results, Table};
use crate::plot::{Axis, Heat, Mark, Plot, Scale};
use crate::rows::Row;
use crate::seeds::generator;
use crate::statistics::{Estimate, Interval, bootstrap, mean, middle, worst};

const DERIVED: &str = "derived here";
const TRAINED: &str = "trained";
/// What a gain and a loss are, and much of either.
const GAIN: f64 = 0.8;
const LOSS: f64 = 1.25;
const MUCH: f64 = 10.0;

/// Every identity: its number, the claim, the object, and the limit.
const IDENTITIES: [(&str, &str, &str, f64); 11] = [
    ("linear_is_ols", "Linear attention over whitened keys is least squares", "the engine's predictions", 1e-12),
    (
        "square_is_products",
        "The score s² is linear attention over products of coordinates",
        "kernel of the products",
        1e-12,
    ),
    (
        "whitened_products_are_ols",
        "Over whitened products linear attention is the regression on them",
        "the engine's",
        1e-10,
    ),
    ("series_is_exponential", "The exponential score is the series of all polynomial ones", "150 terms", 1e-12),
    ("softmax_is_kernel", "Softmax attention is Nadaraya and Watson's estimate", "from its definition", 1e-12),
    (
        "softmax_outside",
        "Softmax predictions stay within the targets, also at queries twice as far",
        "none outside",
        0.0,
    ),
    ("one_head_is_softmax", "One head of all coordinates is softmax attention", "equal", 1e-12),
    ("layers_are_boosting", "Residual layers are boosting: what is left is (I − νS)^layers y", "matrix power", 1e-12),
    ("norm_is_blind_to_scale", "After layer norm queries twice as far get the same prediction", "equal", 1e-12),
    (
        "causal_is_recursive",
        "A causal mask over linear attention is recursive least squares",
        "the engine's fit of earlier rows",
        1e-10,
    ),
    ("window_is_rolling", "A window is rolling least squares", "the engine's fit of 30 rows", 1e-10),
];

fn errors<'a>(results: &'a Results, step: &str, world: &str) -> Vec<&'a Row> {
    results.rows().filter(|r| r.is("what", "error") && r.is("step", step) && r.is("world", world)).collect()
}

fn median(values: &[f64], name: &str) -> Option<Estimate> {
    bootstrap(values, 1000, &mut generator("ols-evolution", "judge", name, 0), middle).ok()
}

/// A quantity of a step in a world for every seed, averaged over models where there are several.
fn by_seed(results: &Results, step: &str, world: &str, what: &str) -> Vec<(usize, f64)> {
    let rows = errors(results, step, world);
    let mut seeds: Vec<usize> = rows.iter().filter_map(|r| r.count("seed")).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let of = |seed: usize| {
        mean(&rows.iter().filter(|r| r.is("seed", seed)).filter_map(|r| r.get(what)).collect::<Vec<_>>()).value
    };
    seeds.into_iter().map(|seed| (seed, of(seed))).collect()
}

/// The median over seeds of the ratio of two steps' errors.
fn ratio(results: &Results, step: &str, to: &str, world: &str) -> Option<Estimate> {
    let (above, below) = (by_seed(results, step, world, "error"), by_seed(results, to, world, "error"));
    let pairs = above.iter().filter_map(|(seed, e)| Some(e / below.iter().find(|b| b.0 == *seed)?.1));
    median(&pairs.collect::<Vec<_>>(), &format!("{step}, {to}, {world}"))
}

/// The trained models' ratio of errors to a step's: the geometric mean over models of each model's median over problems.
///
/// The interval has both sources of chance: Student's over models in the logarithm, and the bootstrap's over problems, as
/// halves added in squares. (The models see the same problems, so that the first holds a part of the second again.)
struct OverModels {
    estimate: Estimate,
    each: Vec<f64>,
}

fn over_models(results: &Results, to: &str, world: &str) -> Option<OverModels> {
    let rows = errors(results, TRAINED, world);
    let mut models: Vec<usize> = rows.iter().filter_map(|r| r.count("model")).collect();
    models.sort_unstable();
    models.dedup();
    let below = by_seed(results, to, world, "error");
    let of_model = |model: usize| {
        let here = rows.iter().filter(|r| r.is("model", model));
        let ratio = |r: &&Row| Some(r.get("error")? / below.iter().find(|b| Some(b.0) == r.count("seed"))?.1);
        middle(&here.filter_map(ratio).collect::<Vec<_>>())
    };
    let each: Vec<f64> = models.into_iter().map(of_model).collect();
    let logs = mean(&each.iter().map(|r| r.ln()).collect::<Vec<_>>());
    let problems = ratio(results, TRAINED, to, world)?.interval?;
    let half = (problems.high / problems.low).ln() / 2.0;
    let interval = logs.interval.map(|models| {
        let half = half.hypot((models.high - models.low) / 2.0);
        Interval::new((logs.value - half).exp(), (logs.value + half).exp(), models.level)
    });
    Some(OverModels { estimate: Estimate { value: logs.value.exp(), interval }, each })
}

/// A claim about trained models; a single one says nothing about others.
fn of_models(claim: Claim, found: Option<OverModels>, more: &str) -> Claim {
    let Some(OverModels { estimate, each }) = found else { return claim };
    let list = each.iter().map(|r| number(*r)).collect::<Vec<_>>().join(", ");
    let note = format!(
        "{} models of one size and length of training, each with its own start and problems: {list}{more}",
        each.len()
    );
    match estimate.interval {
        Some(interval) => claim.measured(estimate.value, interval).note(note),
        None => claim.note(format!("{note}; one model is no sample of models")),
    }
}

/// The median of a step's error.
fn error(results: &Results, step: &str, world: &str) -> f64 {
    let found = by_seed(results, step, world, "error");
    if found.is_empty() { f64::NAN } else { middle(&found.into_iter().map(|f| f.1).collect::<Vec<_>>()) }
}

pub fn judge(_: &Plan, results: &Results) -> Result<Judgement, Error> {
    let mut claims = identities(results);
    claims.extend(changes(results));
    claims.extend(trained(results));
    claims.push(slope(results));
    let plots = vec![
        heat(results, "error", &error_title(results)),
        road(results),
        heat(results, "from_ols", &distance_title(results)),
        slopes(results),
    ];
    Ok(Judgement { claims, tables: vec![table(results)], plots, ..Judgement::default() })
}

fn identities(results: &Results) -> Vec<Claim> {
    let rows: Vec<&Row> = results.rows().filter(|r| r.is("what", "identities")).collect();
    let of = |name: &str| rows.iter().filter_map(|r| r.get(name)).collect::<Vec<f64>>();
    let largest = |name: &str| worst(of(name));
    let mut claims: Vec<Claim> = IDENTITIES
        .iter()
        .map(|(name, sentence, expected, limit)| {
            let claim = Claim::new(name.replace('_', "-"), *sentence, DERIVED, *expected, Threshold::at_most(*limit));
            let claim = claim.measured(largest(name), None);
            if *name != "softmax_outside" {
                return claim;
            }
            let linear = mean(&of("linear_outside")).value;
            claim.note(format!("least squares puts {} of 50 such queries outside, in the mean", number(linear)))
        })
        .collect();
    let raw = median(&of("raw_products_are_not"), "raw");
    claims.insert(
        3,
        measured(
            Claim::new(
                "raw-products-are-not",
                "Without whitening the products the polynomial score is not their regression",
                DERIVED,
                "a series estimator, not a projection",
                Threshold::at_least(0.1),
            ),
            raw,
        ),
    );
    claims
}

fn measured(claim: Claim, estimate: Option<Estimate>) -> Claim {
    claim.measured(estimate.map(|e| e.value), estimate.and_then(|e| e.interval))
}

/// Gains and losses: step, the one it is compared with, world, the sentence, and whether the ratio should be above or below.
fn changes(results: &Results) -> Vec<Claim> {
    let (same, scaled, nonlinear) = (World::Same.name(), World::Scaled.name(), World::Nonlinear.name());
    let below = |limit| Threshold::at_most(limit).partly_at_most(1.0);
    let above = |limit| Threshold::at_least(limit).partly_at_least(1.0);
    let cases = [
        ("polynomial", "linear", same, "A raw second-order term costs where the truth is linear", above(LOSS)),
        ("polynomial", "linear", nonlinear, "It gains where the truth is bent", below(GAIN)),
        ("exponential", "polynomial", scaled, "Without normalisation the exponential explodes far out", above(MUCH)),
        ("softmax", "exponential", scaled, "Normalisation tames it", below(1.0 / MUCH)),
        ("softmax", "linear", same, "Softmax loses much to least squares where the truth is linear", above(MUCH)),
        ("softmax", "linear", scaled, "It loses much where predictions must leave the targets", above(MUCH)),
        ("softmax", "linear", nonlinear, "It gains on least squares where the truth is bent", below(GAIN)),
        ("multi-head", "softmax", same, "A head a coordinate gains in five dimensions", below(GAIN)),
        ("residual", "multi-head", same, "Residual layers mend the bias that heads have left", below(GAIN)),
        ("residual", "linear", nonlinear, "Heads and layers beat least squares where the truth is bent", below(GAIN)),
        ("layer norm", "residual", scaled, "Layer norm loses where scale matters", above(LOSS)),
        ("causal mask", "layer norm", same, "A causal mask loses: early rows know little", above(LOSS)),
    ];
    let mut claims: Vec<Claim> = cases
        .into_iter()
        .map(|(step, to, world, sentence, threshold)| {
            let id = format!("{step}-{to}-{world}").replace(' ', "-");
            let claim = Claim::new(id, sentence, DERIVED, format!("{step} over {to}, {world}"), threshold);
            measured(claim, ratio(results, step, to, world))
        })
        .collect();
    let cases = [
        ("drifting", "A window gains where coefficients turn", below(GAIN)),
        ("constant", "A window loses where they do not", above(LOSS)),
    ];
    claims.extend(cases.into_iter().map(|(world, sentence, threshold)| {
        let claim =
            Claim::new(format!("window-{world}"), sentence, DERIVED, "window of 30 over all 100 rows", threshold);
        measured(claim, ratio(results, "window", "all rows", world))
    }));
    claims
}

fn trained(results: &Results) -> Vec<Claim> {
    const SOURCE: &str = "Garg et al. 2022, at small size";
    let mut claims = vec![of_models(
        Claim::new(
            "trained-in-distribution",
            "The trained transformer is near ridge (Bayes) where it was trained",
            SOURCE,
            "error at most twice ridge's",
            Threshold::at_most(2.0).partly_at_most(10.0),
        ),
        over_models(results, "ridge", World::Same.name()),
        &format!(
            "; their error is {}, that of the best single linear layer {}: the training is short",
            number(error(results, TRAINED, World::Same.name())),
            number(error(results, "A*", World::Same.name()))
        ),
    )];
    claims.push(of_models(
        Claim::new(
            "trained-beats-softmax",
            "Training beats the constructed softmax layer by far in distribution",
            DERIVED,
            "ratio of errors small",
            Threshold::at_most(1.0 / MUCH).partly_at_most(GAIN),
        ),
        over_models(results, "softmax", World::Same.name()),
        "",
    ));
    for world in [World::Shifted, World::Scaled] {
        claims.push(of_models(
            Claim::new(
                format!("trained-{}", world.name()),
                format!("It is no least squares: queries {} break it", world.name()),
                SOURCE,
                "error at least ten times least squares'",
                Threshold::at_least(MUCH).partly_at_least(LOSS),
            ),
            over_models(results, "linear", world.name()),
            "",
        ));
    }
    claims.push(of_models(
        Claim::new(
            "trained-nonlinear",
            "Trained on linear truths, it has nothing for bent ones",
            DERIVED,
            "no better than least squares",
            Threshold::at_least(0.95),
        ),
        over_models(results, "linear", World::Nonlinear.name()),
        "",
    ));
    claims
}

fn slopes_at(results: &Results, rows: usize) -> Estimate {
    let here = results.rows().filter(|r| r.is("what", "slope") && r.is("rows", rows));
    mean(&here.filter_map(|r| r.get("slope")).collect::<Vec<_>>())
}

fn contexts(results: &Results) -> Vec<usize> {
    let mut all: Vec<usize> =
        results.rows().filter(|r| r.is("what", "slope")).filter_map(|r| r.count("rows")).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn slope(results: &Results) -> Claim {
    let found = contexts(results).last().map(|n| slopes_at(results, *n));
    measured(
        Claim::new(
            "softmax-is-unbiased",
            "Normal keys, linear truth: softmax at temperature 1 becomes least squares as contexts grow",
            DERIVED,
            "slope 1",
            Threshold::within(0.9, 1.1),
        ),
        found,
    )
    .note("two regressors; queries beyond the context's rows keep it below 1")
}

fn steps() -> Vec<&'static str> {
    Step::ALL.iter().map(|s| s.name()).chain([TRAINED, "A*", "ridge"]).collect()
}

/// What the errors show: the changes that beat least squares with their whole interval, where the truth is bent.
fn error_title(results: &Results) -> String {
    let better = |step: &&str, world: World| {
        let found = match *step {
            TRAINED => over_models(results, "linear", world.name()).map(|found| found.estimate),
            step => ratio(results, step, "linear", world.name()),
        };
        found.and_then(|e| e.interval).is_some_and(|i| i.high < 1.0)
    };
    let road = || steps().into_iter().skip(1).take(ROAD.len() - 1);
    let linear = [World::Same, World::Shifted, World::Scaled];
    let winners: Vec<&str> = road().filter(|step| better(step, World::Nonlinear)).collect();
    if road().any(|step| linear.iter().any(|world| better(&step, *world))) || winners.is_empty() {
        return "Error by step: least squares and what each change makes of it".to_owned();
    }
    format!("Where the truth is linear no change beats least squares; where it is bent: {}", winners.join(", "))
}

/// What the distances show: the change that comes nearest to least squares' predictions, if it is one in all worlds.
fn distance_title(results: &Results) -> String {
    let of = |step: &str, world: World| {
        let found: Vec<f64> = by_seed(results, step, world.name(), "from_ols").into_iter().map(|f| f.1).collect();
        if found.is_empty() { f64::INFINITY } else { middle(&found) }
    };
    let nearest = |world: World| {
        let road = steps().into_iter().skip(1).take(ROAD.len() - 1);
        road.min_by(|a, b| of(a, world).total_cmp(&of(b, world))).unwrap_or_default()
    };
    let first = nearest(World::Same);
    if World::ALL.into_iter().any(|world| nearest(world) != first) {
        return "Only the linear step predicts what least squares predicts".to_owned();
    }
    format!("Only the linear step predicts what least squares predicts; the nearest change is “{first}”")
}

fn heat(results: &Results, what: &str, title: &str) -> Plot {
    let cell = |step: &str, world: &str| {
        let found: Vec<f64> = by_seed(results, step, world, what).into_iter().map(|f| f.1).collect();
        if found.is_empty() { f64::NAN } else { middle(&found) }
    };
    let values = steps().iter().map(|s| World::ALL.iter().map(|w| cell(s, w.name())).collect()).collect();
    let heat = Heat {
        columns: World::ALL.iter().map(|w| w.name().to_owned()).collect(),
        rows: steps().into_iter().map(str::to_owned).collect(),
        values,
        range: (0.003, 30.0),
        scale: Scale::Log,
    };
    Plot::heat(title, "queries (median of mean squared error over variance)", "", heat)
}

/// The road in words that fit below an axis.
const ROAD: [&str; 9] = ["linear", "poly", "exp", "softmax", "heads", "layers", "norm", "mask", "trained"];

/// Errors along the road, one series a world.
fn road(results: &Results) -> Plot {
    let at: Vec<f64> =
        steps().into_iter().take(ROAD.len()).map(|step| error(results, step, World::Same.name())).collect();
    // Softmax over heads over layers over training, and layers below norm below mask.
    let falls = [3, 4, 5, 8].windows(2).all(|w| at[w[1]] < at[w[0]]) && at[5] < at[6] && at[6] < at[7];
    let title = match ratio(results, "softmax", "linear", World::Same.name()) {
        Some(lost) if falls => format!(
            "In distribution softmax has {:.0} times the error of least squares; heads, layers, training mend",
            lost.value
        ),
        _ => "Errors along the road from least squares to a trained transformer".to_owned(),
    };
    let mut plot = Plot::new(
        title,
        Axis::words("change (exponential is off the scale)", ROAD),
        Axis::log("error over variance").range(1e-3, 1e1),
    );
    for world in World::ALL {
        let names = steps().into_iter().take(ROAD.len()).enumerate();
        let points: Vec<(f64, f64)> =
            names.map(|(i, step)| ((i + 1) as f64, error(results, step, world.name()))).collect();
        plot = plot.series(world.name(), points.clone(), Mark::Line(crate::plot::Stroke::Solid));
        plot = plot.series(world.name(), points, Mark::Points);
    }
    plot.level(1.0, "the mean")
}

fn slopes(results: &Results) -> Plot {
    let found: Vec<(f64, Estimate)> =
        contexts(results).into_iter().map(|n| (n as f64, slopes_at(results, n))).collect();
    let bars = found.iter().map(|(_, e)| e.interval.map_or((e.value, e.value), |i| (i.low, i.high))).collect();
    let points = found.iter().map(|(n, e)| (*n, e.value)).collect();
    Plot::new(
        "Softmax becomes least squares as contexts grow: normal keys, linear truth",
        Axis::log("rows of context"),
        Axis::linear("slope of predictions on the truth"),
    )
    .series("softmax", points, Mark::Bars(bars))
    .level(1.0, "least squares")
}

fn table(results: &Results) -> Table {
    let mut heads = vec!["step".to_owned()];
    heads.extend(World::ALL.iter().map(|w| w.name().to_owned()));
    let mut table = Table::new("Median error over variance (95 % bootstrap interval)", heads);
    for step in steps() {
        let cell = |world: World| {
            let found: Vec<f64> = by_seed(results, step, world.name(), "error").into_iter().map(|f| f.1).collect();
            match median(&found, step).and_then(|e| Some((e.value, e.interval?))) {
                Some((value, i)) => format!("{} ({} to {})", number(value), number(i.low), number(i.high)),
                None => "—".to_owned(),
            }
        };
        table.push(std::iter::once(step.to_owned()).chain(World::ALL.into_iter().map(cell)));
    }
    table
}

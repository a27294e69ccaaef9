//! From rows to claims and plots.

use super::{D, SPECTRA, STARTS, STEPS};
use crate::claim::{Claim, Threshold, number};
use crate::error::Error;
use crate::experiment::{Judgement, Plan, Results, Table};
use crate::plot::{Axis, Mark, Plot, Stroke};
use crate::rows::Row;
use crate::statistics::{self, Estimate, mean, share};

const TRAINED: &str = "Ahn et al. 2023; Mahankali et al. 2023; Zhang et al. 2023";
const DERIVED: &str = "derived here";
/// The largest loss over variance that plots show.
const HIGHEST: f64 = 0.6;
/// Methods on the test prompts, with their names in plots and tables.
const METHODS: [(&str, &str); 5] =
    [("step", "one step"), ("best", "A*"), ("layer", "trained"), ("ols", "least squares"), ("ridge", "Bayes")];

/// A world of prompts.
#[derive(Clone, Debug, PartialEq)]
struct World {
    spectrum: String,
    n: usize,
    variance: f64,
}

impl World {
    fn name(&self) -> String {
        format!("{}, n/d = {}, σ² = {}", self.spectrum, self.n / D, self.variance)
    }

    fn rows<'a>(&self, results: &'a Results, what: &str) -> Vec<&'a Row> {
        let here = |r: &&Row| {
            r.is("what", what)
                && r.is("spectrum", self.spectrum.as_str())
                && r.is("n", self.n)
                && r.is("variance", self.variance)
                && r.is("start", STARTS[0])
        };
        results.rows().filter(here).collect()
    }

    /// The mean over seeds of a quantity of every row.
    fn mean(&self, results: &Results, what: &str, of: impl Fn(&Row) -> Option<f64>) -> Estimate {
        mean(&self.rows(results, what).into_iter().filter_map(of).collect::<Vec<_>>())
    }
}

fn worlds(results: &Results) -> Vec<World> {
    let mut worlds: Vec<World> = Vec::new();
    for row in results.rows().filter(|r| r.is("what", "layer") && r.is("start", STARTS[0])) {
        let found = (row.word("spectrum"), row.count("n"), row.number("variance"));
        if let (Some(spectrum), Some(n), Some(variance)) = found {
            let world = World { spectrum: spectrum.to_owned(), n, variance };
            if !worlds.contains(&world) {
                worlds.push(world);
            }
        }
    }
    worlds
}

fn ratio(of: &'static str, to: &'static str) -> impl Fn(&Row) -> Option<f64> {
    move |row| Some(row.get(of)? / row.get(to)?)
}

/// The largest of a world's estimates, with its interval and the world's name.
fn worst(worlds: &[World], of: impl Fn(&World) -> Estimate) -> Option<(Estimate, String)> {
    let all = worlds.iter().map(|w| (of(w), w.name()));
    all.max_by(|a, b| a.0.value.total_cmp(&b.0.value))
}

fn claim_of(claim: Claim, found: Option<(Estimate, String)>, what: &str) -> Claim {
    match found {
        Some((estimate, name)) => claim.measured(estimate.value, estimate.interval).note(format!("{what}: {name}")),
        None => claim,
    }
}

pub fn judge(_: &Plan, results: &Results) -> Result<Judgement, Error> {
    let worlds = worlds(results);
    let mut claims = vec![construction(results)];
    claims.extend(optimum(results, &worlds));
    claims.push(nearer(results));
    claims.extend(SPECTRA.map(|spectrum| random_starts(results, spectrum)));
    claims.extend(comparisons(results, &worlds));
    let mut plots: Vec<Plot> = Vec::new();
    plots.extend(gains(results, &worlds));
    for variance in [0.0, 0.5] {
        for spectrum in SPECTRA {
            plots.extend(losses(results, &worlds, spectrum, variance));
        }
    }
    Ok(Judgement { claims, tables: vec![table(results, &worlds)], plots, ..Judgement::default() })
}

fn construction(results: &Results) -> Claim {
    let error = results.rows().find(|r| r.is("what", "construction")).and_then(|r| r.get("error"));
    Claim::new(
        "construction-is-a-step",
        "The constructed layer is exactly one step of gradient descent",
        "von Oswald et al. 2023, proposition 1",
        "equal to rounding",
        Threshold::at_most(1e-15).partly_at_most(1e-14),
    )
    .measured(error, None)
    .note("largest difference over the sum of absolute terms; 1 to 8 regressors, contexts of 1 to 49 rows, random start and rate")
}

fn optimum(results: &Results, worlds: &[World]) -> Vec<Claim> {
    let claim =
        |id: &str, sentence: &str, expected: &str, threshold| Claim::new(id, sentence, TRAINED, expected, threshold);
    let excess = |of: &'static str, to: &'static str, what: &'static str| {
        worst(worlds, move |w| w.mean(results, what, move |row| ratio(of, to)(row).map(|r| r - 1.0)))
    };
    vec![
        claim_of(
            claim(
                "learns-a-star",
                "The trained product matrix is A*",
                "‖A − A*‖/‖A*‖ near 0 in every world",
                Threshold::at_most(0.05).partly_at_most(0.15),
            ),
            worst(worlds, |w| w.mean(results, "layer", |r| r.get("distance"))),
            "mean over seeds in the worst of the worlds",
        ),
        claim_of(
            claim(
                "learns-a-star-where-it-matters",
                "In the metric of the loss the trained matrix is A*",
                "√((loss − loss of A*)/(loss of 0 − loss of A*)) near 0",
                Threshold::at_most(0.1).partly_at_most(0.15),
            ),
            worst(worlds, |w| {
                w.mean(results, "layer", |r| {
                    let best = r.get("loss_best")?;
                    Some(((r.get("loss")? - best).max(0.0) / (D as f64 - best)).sqrt())
                })
            }),
            "mean over seeds in the worst of the worlds; directions in which x hardly varies do not count",
        ),
        claim_of(
            claim(
                "loss-of-a-star",
                "Its expected loss is that of A*",
                "excess near 0 in every world",
                Threshold::at_most(0.01).partly_at_most(0.05),
            ),
            excess("loss", "loss_best", "layer"),
            "relative excess by the closed form, in the worst of the worlds",
        ),
        claim_of(
            claim(
                "test-loss-of-a-star",
                "The layer with all its parameters does as well on fresh prompts",
                "excess near 0 in every world",
                Threshold::at_most(0.01).partly_at_most(0.05),
            ),
            excess("layer", "best", "test"),
            "relative excess on test prompts, in the worst of the worlds",
        ),
        claim_of(
            claim(
                "the-rest-vanishes",
                "The parameters that A* does not need become zero",
                "their products over ‖A‖ near 0",
                Threshold::at_most(0.05).partly_at_most(0.15),
            ),
            worst(worlds, |w| w.mean(results, "layer", |r| r.get("rest"))),
            "mean over seeds in the worst of the worlds",
        ),
    ]
}

/// Steps of training and distances from A*, one pair a seed, in the world in which A* is hardest to find.
fn lengths(results: &Results) -> Vec<(f64, f64)> {
    let hardest = World { spectrum: SPECTRA[1].to_owned(), n: D, variance: 0.0 };
    let usual = hardest.rows(results, "layer").into_iter().filter_map(|r| Some((STEPS as f64, r.get("distance")?)));
    let others = results.rows().filter(|r| r.is("what", "length"));
    usual.chain(others.filter_map(|r| Some((r.number("steps")?, r.get("distance")?)))).collect()
}

/// Whether training is what is missing.
fn nearer(results: &Results) -> Claim {
    let (steps, distances): (Vec<f64>, Vec<f64>) = lengths(results).into_iter().map(|(s, d)| (s.ln(), d.ln())).unzip();
    let slope = statistics::line(&steps, &distances).ok().map(|line| line.slope);
    let claim = Claim::new(
        "nearer-with-steps",
        "Skewed, n = d, no noise: the longer the training, the nearer is A to A*",
        DERIVED,
        "slope of ln ‖A − A*‖/‖A*‖ over ln steps below 0",
        Threshold::at_most(0.0),
    );
    let of = |at: usize| {
        let here = lengths(results).into_iter().filter(|(s, _)| *s == at as f64).map(|(_, d)| d).collect::<Vec<_>>();
        format!("{at} steps: {}", number(mean(&here).value))
    };
    let mut all: Vec<usize> = lengths(results).into_iter().map(|(s, _)| s as usize).collect();
    all.sort_unstable();
    all.dedup();
    claim
        .measured(slope.map(|s| s.value), slope.and_then(|s| s.interval))
        .note(format!("mean distances: {}", all.into_iter().map(of).collect::<Vec<_>>().join("; ")))
}

/// Arrivals from random starts.
fn random_starts(results: &Results, spectrum: &str) -> Claim {
    let here = |r: &&Row| r.is("what", "layer") && r.is("spectrum", spectrum) && r.is("start", STARTS[1]);
    let rows: Vec<&Row> = results.rows().filter(here).collect();
    let good = rows.iter().filter(|r| ratio("loss", "loss_best")(r).is_some_and(|x| x <= 1.05)).count();
    let claim = Claim::new(
        format!("random-starts-{spectrum}"),
        format!("{spectrum} Σ: random starts arrive at A* too"),
        DERIVED,
        "all, unless the trap of rank one has them",
        Threshold::at_least(0.95).partly_at_least(0.5),
    );
    if rows.is_empty() {
        return claim;
    }
    let found = share(good as u64, rows.len() as u64);
    let losses: Vec<f64> = rows.iter().filter_map(|r| ratio("loss", "loss_best")(r)).collect();
    claim.measured(found.value, found.interval).note(format!(
        "share of {} seeds with a loss at most 5 % above that of A*; the largest is {} times that of A*",
        rows.len(),
        number(statistics::worst(losses).unwrap_or(0.0))
    ))
}

fn comparisons(results: &Results, worlds: &[World]) -> Vec<Claim> {
    let chosen = |keep: &dyn Fn(&World) -> bool| worlds.iter().filter(|w| keep(w)).cloned().collect::<Vec<_>>();
    let claim = |id: &str, sentence: &str, source: &str, expected: &str, threshold| {
        Claim::new(id, sentence, source, expected, threshold)
    };
    let skewed = chosen(&|w| w.spectrum == SPECTRA[1]);
    let round = chosen(&|w| w.spectrum == SPECTRA[0]);
    let hard = chosen(&|w| w.n == D && w.variance > 0.0);
    let easy = chosen(&|w| w.n == 4 * D && w.variance == 0.0);
    let on_test = |of, to| move |w: &World| w.mean(results, "test", ratio(of, to));
    let mut claims = vec![
        claim_of(
            claim(
                "preconditioning-pays",
                "Skewed Σ: the trained layer beats one step of plain gradient descent at its best rate",
                TRAINED,
                "loss below that of the best rate",
                Threshold::at_most(0.98),
            ),
            worst(&skewed, |w| w.mean(results, "layer", ratio("loss", "loss_step"))),
            "ratio of expected losses, in the worst of the worlds",
        ),
        claim_of(
            claim(
                "nothing-to-precondition",
                "Isotropic Σ: the trained layer is one step of plain gradient descent",
                "von Oswald et al. 2023",
                "ratio of losses 1",
                Threshold::within(0.98, 1.02),
            ),
            worst(&round, |w| w.mean(results, "layer", ratio("loss", "loss_step"))),
            "ratio of expected losses, in the worst of the worlds",
        ),
        claim_of(
            claim(
                "bayes-is-better",
                "No one layer reaches ridge (Bayes)",
                DERIVED,
                "ridge's loss below the layer's in every world",
                Threshold::at_most(1.0),
            ),
            worst(worlds, on_test("ridge", "layer")),
            "largest mean ratio of losses, ridge over layer",
        ),
        claim_of(
            claim(
                "shrinks-where-ols-explodes",
                "Noise and n = d: the layer beats the shortest least squares",
                DERIVED,
                "least squares has no finite risk there",
                Threshold::at_most(0.9),
            ),
            worst(&hard, on_test("layer", "ols")),
            "mean ratio of losses, layer over least squares, in the worst of the worlds",
        ),
    ];
    let found = worst(&easy, |w| w.mean(results, "test", |r| r.get("layer")));
    let ols = easy.first().map(|w| number(w.mean(results, "test", |r| r.get("ols")).value));
    claims.push(
        claim_of(
            claim(
                "not-least-squares",
                "No noise, n = 4d: least squares is exact, one layer is not",
                DERIVED,
                "test loss of the layer at least 0.1 (variance of the target 5)",
                Threshold::at_least(0.1),
            ),
            found,
            "",
        )
        .note(format!("test loss of least squares {}", ols.unwrap_or_else(|| "—".to_owned()))),
    );
    claims
}

/// Gains of the trained matrix along the eigenvectors of Σ.
fn gains(results: &Results, worlds: &[World]) -> Option<Plot> {
    let skewed: Vec<&World> =
        worlds.iter().filter(|w| w.spectrum == SPECTRA[1] && w.variance == worlds[0].variance).collect();
    if skewed.is_empty() {
        return None;
    }
    let mut plot = Plot::new(
        "The trained layer has the gains of A*, but for directions in which inputs hardly vary",
        Axis::log("eigenvalue of Σ"),
        Axis::linear("gain vᵀAv"),
    );
    for world in skewed {
        let rows = world.rows(results, "gain");
        let (mut points, mut bars, mut theory) = (Vec::new(), Vec::new(), Vec::new());
        for direction in 0..D {
            let of = |name: &str| -> Vec<f64> {
                rows.iter().filter(|r| r.is("direction", direction)).filter_map(|r| r.get(name)).collect()
            };
            let (found, best, at) = (mean(&of("gain")), mean(&of("gain_best")), mean(&of("eigenvalue")));
            points.push((at.value, found.value));
            bars.push(found.interval.map_or((found.value, found.value), |i| (i.low, i.high)));
            theory.push((at.value, best.value));
        }
        let name = format!("n = {}", world.n);
        plot = plot.series(name.clone(), points, Mark::Bars(bars)).series(name, theory, Mark::Line(Stroke::Dashed));
    }
    Some(plot)
}

/// Losses of all methods over the length of the context.
fn losses(results: &Results, worlds: &[World], spectrum: &str, variance: f64) -> Option<Plot> {
    let here: Vec<&World> = worlds.iter().filter(|w| w.spectrum == spectrum && w.variance == variance).collect();
    if here.is_empty() {
        return None;
    }
    let title = match (spectrum == SPECTRA[1], variance > 0.0) {
        (true, true) => "Skewed inputs, with noise: the trained layer loses as much as A*, between one step and Bayes",
        (true, false) => "Skewed inputs, no noise: the trained layer loses as much as A*; least squares loses nothing",
        (false, true) => "Round inputs, with noise: trained layer, A* and one step have one loss, above Bayes",
        (false, false) => "Round inputs, no noise: trained layer, A* and one step have one loss; least squares none",
    };
    let axis = Axis::linear("loss over variance of the target").range(0.0, HIGHEST);
    let off = here.iter().any(|w| w.mean(results, "test", |r| r.get("ols")).value / D as f64 > HIGHEST);
    let below = if off { "rows over regressors (least squares at 1 is off the scale)" } else { "rows over regressors" };
    let mut plot = Plot::new(title, Axis::log(below), axis);
    if variance > 0.0 {
        plot = plot.level(variance / D as f64, "noise σ²");
    }
    for (method, name) in METHODS {
        let points = here
            .iter()
            .map(|w| (w.n as f64 / D as f64, w.mean(results, "test", |r| r.get(method)).value / D as f64))
            .collect();
        let mark = if method == "layer" { Mark::Points } else { Mark::Line(Stroke::Solid) };
        plot = plot.series(name, points, mark);
    }
    Some(plot)
}

fn table(results: &Results, worlds: &[World]) -> Table {
    let mut heads = vec!["world".to_owned(), "‖A − A*‖/‖A*‖".to_owned(), "excess loss".to_owned()];
    heads.extend(METHODS.iter().map(|(_, name)| format!("test loss, {name}")));
    let mut table = Table::new("Mean over seeds (95 % interval)", heads);
    let words = |e: Estimate| match e.interval {
        Some(i) => format!("{} ({} to {})", number(e.value), number(i.low), number(i.high)),
        None => number(e.value),
    };
    for world in worlds {
        let mut cells = vec![
            world.name(),
            words(world.mean(results, "layer", |r| r.get("distance"))),
            words(world.mean(results, "layer", |r| ratio("loss", "loss_best")(r).map(|x| x - 1.0))),
        ];
        cells.extend(METHODS.iter().map(|(m, _)| words(world.mean(results, "test", |r| r.get(m)))));
        table.push(cells);
    }
    table
}

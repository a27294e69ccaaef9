//! From rows to claims and plots.

use super::dial::ESTIMATORS;
use super::softmax::SCORES;
use super::{DESIGNS, KEYS};
use crate::claim::{Claim, Threshold, number};
use crate::error::Error;
use crate::experiment::{Judgement, Plan, Results, Table};
use crate::plot::{Axis, Mark, Plot, Stroke};
use crate::rows::Row;
use crate::seeds::generator;
use crate::statistics::{Estimate, bootstrap, mean, middle, worst};

const DERIVED: &str = "derived";

pub(super) fn judge(_: &Plan, results: &Results) -> Result<Judgement, Error> {
    let mut claims = Vec::new();
    for keys in KEYS {
        claims.extend(limits(results, keys));
    }
    claims.push(raw(results));
    claims.extend(picked(results));
    claims.extend(gains(results));
    let mut plots = vec![approach(results)];
    plots.extend(DESIGNS.iter().map(|design| curves(results, design)));
    Ok(Judgement { claims, tables: vec![table(results)], plots, ..Judgement::default() })
}

/// Numbers of rows with these words under these labels.
fn values(results: &Results, labels: &[(&str, &str)], name: &str) -> Vec<f64> {
    let here = results.rows().filter(|row| labels.iter().all(|(label, word)| row.is(label, *word)));
    here.filter_map(|row| row.get(name)).collect()
}

fn median(values: &[f64], name: &str) -> Option<Estimate> {
    bootstrap(values, 1000, &mut generator("temperature-dial", "judge", name, 0), middle).ok()
}

fn some(values: &[f64]) -> Option<Estimate> {
    (!values.is_empty()).then(|| mean(values))
}

fn limits(results: &Results, keys: &str) -> Vec<Claim> {
    let of = |score: &str, name: &str| values(results, &[("kind", "slopes"), ("keys", keys), ("score", score)], name);
    let slope = || Threshold::within(-1.02, -0.98);
    let found = |score: &str, name: &str| median(&of(score, name), &format!("{keys} {score} {name}"));
    let claim = |id: &str, sentence: &str, expected: &str, threshold: Threshold| {
        Claim::new(format!("{id}-{keys}"), format!("Keys `{keys}`: {sentence}"), DERIVED, expected, threshold)
    };
    let mut claims = vec![
        Claim::estimated(
            claim("hot-mean", "ŷ_T goes to the mean as 1/T (slope of logarithms)", "−1", slope()),
            found("dot", "slope to the mean"),
        ),
        Claim::estimated(
            claim("first-order-dot", "ȳ + T(ŷ_T − ȳ) goes to least squares as 1/T (slope)", "−1", slope()),
            found("dot", "slope to least squares"),
        ),
        Claim::estimated(
            claim(
                "first-order-distance",
                "with distances, to least squares and the constant −½ cov(‖k‖², y) (slope)",
                "−1",
                slope(),
            ),
            found("distance", "slope to least squares"),
        ),
    ];
    for (_, score) in SCORES {
        let coldest = worst(of(score, "coldest, off over the range"));
        claims.push(
            Claim::new(
                format!("cold-{score}-{keys}"),
                format!(
                    "Keys `{keys}`, {score}: the cold limit is the top row's target (largest distance over the range)"
                ),
                DERIVED,
                "at most 1e-12",
                Threshold::at_most(1e-12),
            )
            .measured(coldest, None),
        );
        claims.push(Claim::estimated(
            Claim::new(
                format!("cold-rate-{score}-{keys}"),
                format!("Keys `{keys}`, {score}: what is left of other rows falls as exp(−Δ/T)"),
                DERIVED,
                "slope −1",
                Threshold::within(-1.1, -0.9),
            ),
            median(&of(score, "cold rate"), &format!("cold {keys} {score}")),
        ));
    }
    let share = of("dot", "share of queries whose top row is the nearest");
    claims.push(Claim::estimated(
        claim(
            "nearest-dot",
            "the largest product is not the nearest row (share of queries for which it is)",
            "few",
            Threshold::at_most(0.5),
        ),
        some(&share),
    ));
    claims
}

fn raw(results: &Results) -> Claim {
    Claim::estimated(
        Claim::new(
            "raw-keys-normal",
            "Without whitening the first order is not least squares, even up to a factor",
            DERIVED,
            "far",
            Threshold::at_least(0.1),
        ),
        median(&values(results, &[("kind", "raw"), ("keys", "normal")], "distance up to a factor"), "raw"),
    )
}

fn picks(results: &Results, design: &str, score: &str, estimator: &str, name: &str) -> Vec<f64> {
    values(results, &[("kind", "pick"), ("design", design), ("score", score), ("estimator", estimator)], name)
}

/// Leave-one-out's temperature against the best.
fn picked(results: &Results) -> Vec<Claim> {
    let mut claims = Vec::new();
    for design in DESIGNS {
        for (_, score) in SCORES {
            for estimator in ESTIMATORS {
                let of = |name: &str| picks(results, design, score, estimator, name);
                let ratios = of("errors, picked over best");
                let noise = of("errors' difference over its noise");
                let within = noise.iter().filter(|z| z.abs() <= 2.0).count();
                let claim = Claim::new(
                    format!("picked-{design}-{score}-{estimator}"),
                    format!(
                        "Leave-one-out finds the best temperature: {design}, {score}, {estimator} (ratio of errors)"
                    ),
                    DERIVED,
                    "1",
                    Threshold::at_most(1.02).partly_at_most(1.05),
                );
                let note = format!("within two standard errors of the best in {within} of {} replicates", noise.len());
                claims.push(
                    Claim::estimated(claim, median(&ratios, &format!("{design} {score} {estimator}"))).note(note),
                );
            }
        }
    }
    claims
}

/// Means over replicates of differences of test R².
fn gains(results: &Results) -> Vec<Claim> {
    let over_ols = |design: &str, score: &str| {
        let own = picks(results, design, score, "amplified", "test, at the picked T");
        let ols = picks(results, design, score, "amplified", "test, least squares");
        own.iter().zip(&ols).map(|(a, b)| a - b).collect::<Vec<_>>()
    };
    let mut claims = vec![Claim::estimated(
        Claim::new(
            "linear-wants-least-squares",
            "On the linear design the amplified dial turns to least squares (difference of test R²)",
            DERIVED,
            "about 0",
            Threshold::at_least(-0.01),
        ),
        some(&over_ols("linear", "dot")),
    )];
    for (_, score) in SCORES {
        claims.push(Claim::estimated(
            Claim::new(
                format!("sine-gains-{score}"),
                format!("On the rotated sine it gains over least squares ({score}; difference of test R²)"),
                DERIVED,
                "much",
                Threshold::at_least(0.1),
            ),
            some(&over_ols("rotated-sine", score)),
        ));
    }
    for (id, estimator) in [("filip-wants-distance", "amplified"), ("filip-wants-distance-solved", "solved")] {
        let of = |score: &str| picks(results, "filip", score, estimator, "test, at the picked T");
        let differences: Vec<f64> = of("distance").iter().zip(of("dot")).map(|(a, b)| a - b).collect();
        claims.push(Claim::estimated(
            Claim::new(
                id,
                format!("Along one column products see its ends only: distances gain on Filip's curve ({estimator}; test R²)"),
                DERIVED,
                "some",
                Threshold::at_least(if estimator == "solved" { 0.05 } else { 0.1 }),
            ),
            some(&differences),
        ));
    }
    claims.push(solved(results));
    claims
}

/// What the solved dial loses to the better of the others, where it loses most.
fn solved(results: &Results) -> Claim {
    let mut losses: Vec<(Estimate, String)> = Vec::new();
    for design in DESIGNS {
        for (_, score) in SCORES {
            let of = |estimator: &str, name: &str| picks(results, design, score, estimator, name);
            let own = of("solved", "test, at the picked T");
            for other in ["plain", "amplified"] {
                let differences: Vec<f64> =
                    own.iter().zip(of(other, "test, at the picked T")).map(|(a, b)| a - b).collect();
                losses.extend(some(&differences).map(|found| (found, format!("{design}, {score}, against {other}"))));
            }
        }
    }
    let claim = Claim::new(
        "solved-loses-nothing",
        "Solved for, constant and factor make one dial of both: least difference of test R² from plain and amplified",
        DERIVED,
        "about 0",
        Threshold::at_least(-0.02).partly_at_least(-0.05),
    );
    match losses.into_iter().min_by(|a, b| a.0.value.total_cmp(&b.0.value)) {
        Some((found, place)) => claim.measured(found.value, found.interval).note(format!("the least: {place}")),
        None => claim,
    }
}

fn table(results: &Results) -> Table {
    let names = ["picked T", "best T", "left out, at the picked T", "test, at the picked T", "test, at the best T"];
    let columns = ["design", "score", "estimator"].into_iter().chain(names).chain(["test, least squares"]);
    let mut table = Table::new("Temperatures and R², medians over replicates", columns);
    for design in DESIGNS {
        for (_, score) in SCORES {
            for estimator in ESTIMATORS {
                let of = |name: &str| number(middle(&picks(results, design, score, estimator, name)));
                let words = [design, score, estimator].map(str::to_owned);
                table.push(words.into_iter().chain(names.map(&of)).chain([of("test, least squares")]));
            }
        }
    }
    table
}

/// Points of rows by temperature.
fn points<'a>(rows: impl Iterator<Item = &'a Row>, name: &str) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = rows.filter_map(|row| Some((row.number("T")?, row.get(name)?))).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

fn approach(results: &Results) -> Plot {
    let of = |score: &'static str, name: &str| {
        let all = points(
            results.rows().filter(|r| r.is("kind", "limit") && r.is("keys", "normal") && r.is("score", score)),
            name,
        );
        let same: Vec<&[(f64, f64)]> = all.chunk_by(|a, b| a.0 == b.0).collect();
        same.iter().map(|s| (s[0].0, middle(&s.iter().map(|p| p.1).collect::<Vec<_>>()))).collect::<Vec<_>>()
    };
    Plot::new(
        "Hot softmax attention is the mean; what is left of it, amplified, is least squares",
        Axis::log("temperature T"),
        Axis::log("distance, root mean square"),
    )
    .series("ŷ to the mean", of("dot", "distance to the mean"), Mark::Line(Stroke::Solid))
    .series("T(ŷ − ȳ) to least squares", of("dot", "distance to least squares"), Mark::Line(Stroke::Solid))
    .series("… with distances", of("distance", "distance to least squares"), Mark::Line(Stroke::Dashed))
}

fn curves(results: &Results, design: &str) -> Plot {
    let of = |score: &str, estimator: &str, name: &str| {
        let here = results.rows().filter(|r| r.is("kind", "curve") && r.is("design", design));
        points(here.filter(|r| r.is("score", score) && r.is("estimator", estimator)), name)
    };
    let ols = mean(&picks(results, design, "dot", "plain", "test, least squares")).value;
    let best = SCORES.iter().flat_map(|(_, score)| ESTIMATORS.iter().map(move |e| (*score, *e)));
    let found = best.map(|(s, e)| (mean(&picks(results, design, s, e, "test, at the picked T")).value, s, e));
    let (r2, score, estimator) = found.fold((f64::NAN, "", ""), |a, b| if b.0 > a.0 || a.0.is_nan() { b } else { a });
    let title = format!("{design}: leave-one-out (dashed) and test (solid); best {estimator}, {score}: R² {r2:.2}");
    let mut plot = Plot::new(
        title,
        Axis::log("temperature T").range(1e-3, 1e3),
        Axis::linear("R² (below −0.25 not shown)").range(-0.25, 1.0),
    );
    for (_, score) in SCORES {
        for estimator in ESTIMATORS {
            let name = format!("{estimator}, {score}");
            plot = plot.series(name.clone(), of(score, estimator, "test"), Mark::Line(Stroke::Solid));
            plot = plot.series(name, of(score, estimator, "left out"), Mark::Line(Stroke::Dashed));
        }
    }
    if ols.is_nan() { plot } else { plot.level(ols, "least squares") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::claim::Verdict;
    use crate::experiment::{Size, Unit, UnitResult};

    #[test]
    fn picks_are_judged_by_their_median_and_interval() {
        let plan = super::super::EXPERIMENT.plan(Size::Full, None);
        let judged = |ratios: &[f64]| {
            let row = |ratio: &f64| {
                let row = Row::new().label("kind", "pick").label("design", "linear").label("score", "dot");
                row.label("estimator", "plain").value("errors, picked over best", *ratio)
            };
            let rows = ratios.iter().map(row).collect();
            let units = vec![UnitResult { unit: Unit::new("dial-linear", json!({})), rows, seconds: 0.0 }];
            let claims = judge(&plan, &Results { units }).unwrap().claims;
            claims.into_iter().find(|claim| claim.id() == "picked-linear-dot-plain").unwrap().verdict()
        };
        assert_eq!(judged(&[1.0, 1.01, 1.01, 1.0]), Verdict::Reproduced);
        assert_eq!(judged(&[1.0, 1.01, 1.01, 1.3]), Verdict::Partly);
        assert_eq!(judged(&[1.2, 1.3, 1.4]), Verdict::NotReproduced);
        assert_eq!(judged(&[]), Verdict::CannotBeJudged);
    }
}

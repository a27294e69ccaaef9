//! From rows to claims.

use super::measures::MEASURES;
use super::{MASKS, NAMED, SCHEMES, plots};
use crate::claim::{Claim, Threshold, number};
use crate::error::Error;
use crate::experiment::{Judgement, Plan, Results, Table};
use crate::quarters::Quarters;
use crate::rows::Row;
use crate::seeds::generator;
use crate::statistics::{Estimate, block_bootstrap, mean_over_error, middle, share, worst};

const DERIVED: &str = "derived";
/// Quarters of a block, resamples, and lags of Newey and West.
const BLOCK: usize = 8;
const RESAMPLES: usize = 2000;
const LAGS: usize = 4;

pub(super) fn judge(_: &Plan, results: &Results) -> Result<Judgement, Error> {
    let mut claims = identities(results);
    claims.extend(published(results)?);
    claims.extend(shapes(results));
    claims.extend(errors(results));
    claims.push(starts(results));
    let tables = vec![by_scheme(results), measures(results), top(results)];
    Ok(Judgement { claims, tables, plots: plots::plots(results), ..Judgement::default() })
}

/// The name of a scheme of attention regression.
pub(super) fn attention(mask: &str) -> String {
    format!("attention, {mask}")
}

pub(super) fn quarters<'a>(results: &'a Results, scheme: &'a str) -> impl Iterator<Item = &'a Row> {
    results.rows().filter(move |row| row.is("kind", "quarter") && row.is("scheme", scheme))
}

pub(super) fn values(results: &Results, scheme: &str, name: &str) -> Vec<f64> {
    quarters(results, scheme).filter_map(|row| row.get(name)).collect()
}

/// Squared errors in the order of time.
fn squares(results: &Results, scheme: &str) -> Vec<f64> {
    quarters(results, scheme).filter_map(|row| Some((row.get("inflation")? - row.get("prediction")?).powi(2))).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// A function of two series' means, with its interval over blocks; nothing where they are not of one length.
pub(super) fn of_means(a: &[f64], b: &[f64], name: &str, of: impl Fn(f64, f64) -> f64) -> Option<Estimate> {
    if a.is_empty() || a.len() != b.len() {
        return None;
    }
    let at = |v: &[f64], places: &[usize]| places.iter().map(|i| v[*i]).sum::<f64>() / places.len() as f64;
    let mut generator = generator("attreg-weights", "judge", name, 0);
    let block = BLOCK.min(a.len());
    block_bootstrap(a.len(), block, RESAMPLES, &mut generator, |p| of(at(a, p), at(b, p))).ok()
}

/// The ratio of root mean squares.
pub(super) fn ratio(results: &Results, scheme: &str, to: &str) -> Option<Estimate> {
    let name = format!("{scheme} {to}");
    of_means(&squares(results, scheme), &squares(results, to), &name, |a, b| (a / b).sqrt())
}

/// `1 − Σe²/Σe²` of a scheme and the mean of all earlier quarters.
fn r_squared(results: &Results, scheme: &str) -> f64 {
    1.0 - mean(&squares(results, scheme)) / mean(&squares(results, "mean"))
}

/// All schemes with weights.
pub(super) fn weighing() -> Vec<String> {
    SCHEMES.iter().map(|s| (*s).to_owned()).chain(MASKS.iter().map(|m| attention(m))).collect()
}

fn identities(results: &Results) -> Vec<Claim> {
    let differences = |schemes: &[String], a: &str, b: &str| {
        let of =
            |s: &String| quarters(results, s).filter_map(|r| Some((r.get(a)? - r.get(b)?).abs())).collect::<Vec<_>>();
        worst(schemes.iter().flat_map(of))
    };
    let all: Vec<String> = weighing().into_iter().filter(|s| !s.contains("published")).collect();
    let (ols, regressions) = all.split_at(SCHEMES.len());
    let sums = worst(all.iter().flat_map(|s| values(results, s, "leverage")).map(|sum| (sum - 1.0).abs()));
    let claim =
        |id: &str, sentence: &str, limit: f64| Claim::new(id, sentence, DERIVED, "rounding", Threshold::at_most(limit));
    vec![
        claim("sums-to-one", "With an intercept weights sum to one, by every scheme (largest difference)", 1e-9)
            .measured(sums, None),
        claim("weights-predict-least-squares", "Weighted targets are the engine's rolled predictions", 1e-9)
            .measured(differences(ols, "weighted targets", "prediction"), None),
        claim("weights-predict-attention", "Weighted targets are the predictions of attention regression", 1e-8)
            .measured(differences(regressions, "weighted targets", "prediction"), None),
        claim("squares-are-leverage", "Σω²/w = ‖q‖², the leverage behind the engine's standard errors", 1e-8)
            .measured(differences(ols, "weighted squares", "leverage by the engine"), None),
    ]
}

/// Of the recipe as published, which has no constant of its own: `ŷ = ȳ (1 − Σω) + Σωy`, ȳ the mean of the past.
fn published(results: &Results) -> Result<Vec<Claim>, Error> {
    let known = Quarters::read()?;
    let scheme = attention("published");
    let off = |row: &Row| {
        let place = known.place(row.word("quarter")?)?;
        let constant = mean(&known.inflation[..place]) * (1.0 - row.get("leverage")?);
        let prediction = row.get("prediction")?;
        Some((prediction - row.get("weighted targets")? - constant).abs() / prediction.abs().max(1.0))
    };
    let sums: Vec<f64> = values(results, &scheme, "leverage").iter().map(|sum| (sum - 1.0).abs()).collect();
    let largest = sums.iter().copied().fold(f64::NAN, f64::max);
    let predicted = Claim::new(
        "weights-predict-published",
        "As published, weighted targets and ȳ (1 − Σω) are the predictions (largest difference)",
        DERIVED,
        "rounding",
        Threshold::at_most(1e-8),
    );
    let summed = Claim::new(
        "published-sums",
        "As published, without a constant, weights do not sum to one (mean difference)",
        DERIVED,
        "far from it",
        Threshold::at_least(0.1),
    );
    Ok(vec![
        predicted.measured(worst(quarters(results, &scheme).filter_map(off)), None),
        Claim::estimated(summed, of_means(&sums, &sums, "published sums", |a, _| a)).note(format!(
            "the median is {}, the largest {}",
            number(middle(&sums)),
            number(largest)
        )),
    ])
}

/// A coefficient of a head that adds something to standardised predictions.
const ALIVE: f64 = 1e-3;

fn shapes(results: &Results) -> Vec<Claim> {
    let others = attention("loo");
    let counted = |name: &str| {
        let found = values(results, &others, name);
        share(found.iter().filter(|x| **x < 0.0).count() as u64, found.len() as u64)
    };
    let largest = values(results, &others, "largest |head coefficient|");
    // (Of heads that collapsed, coefficients are rounding.)
    let lowest = values(results, &others, "lowest head coefficient");
    let alive = largest.iter().filter(|l| **l > ALIVE).count() as u64;
    let negative = lowest.iter().filter(|x| **x < -ALIVE).count() as u64;
    let turned = |scheme: &str| -> Vec<f64> {
        values(results, scheme, "turnover").into_iter().filter(|t| !t.is_nan()).collect()
    };
    vec![
        Claim::estimated(
            Claim::new(
                "not-convex",
                "Weights of attention regression are not convex: share of quarters with negative ones",
                DERIVED,
                "nearly all",
                Threshold::at_least(0.95),
            ),
            Some(counted("short position")),
        ),
        Claim::estimated(
            Claim::new(
                "heads-cancel",
                "Heads cancel: share, of fits whose heads add anything, with a negative coefficient",
                "Goulet Coulombe 2025, arXiv 2504.09663",
                "mostly some negative",
                Threshold::at_least(0.5),
            ),
            (alive > 0).then(|| share(negative, alive)),
        )
        .note(format!(
            "of {} fits {alive} have a coefficient above {ALIVE} at all: in the others heads collapsed, and attention regression is least \
             squares",
            largest.len()
        )),
        concentrates(results, "attention", "loo"),
        concentrates(results, "heads", "heads"),
        Claim::estimated(
            Claim::new(
                "windows-turn-over",
                "A window of 40 quarters turns its weights over faster than all of the past (ratio of means)",
                DERIVED,
                "above 1",
                Threshold::at_least(1.5).partly_at_least(1.0),
            ),
            of_means(&turned("rolling 40"), &turned("expanding"), "turnover", |a, b| a / b),
        ),
    ]
}

fn concentrates(results: &Results, id: &str, mask: &str) -> Claim {
    let own = values(results, &attention(mask), "concentration");
    let ratios: Vec<f64> = own.iter().zip(values(results, "expanding", "concentration")).map(|(a, b)| a / b).collect();
    Claim::estimated(
        Claim::new(
            format!("{id}-concentrates"),
            format!(
                "Attention regression ({mask}) reads fewer quarters: concentration over that of expanding least squares"
            ),
            DERIVED,
            "above 1",
            Threshold::at_least(1.25).partly_at_least(1.0),
        ),
        of_means(&ratios, &ratios, &format!("{mask} concentration"), |a, _| a),
    )
}

fn errors(results: &Results) -> Vec<Claim> {
    let better = || Threshold::at_most(1.0).partly_at_most(1.05);
    let pairs = [
        ("loo-over-expanding", "loo", "expanding"),
        ("causal-over-expanding", "causal", "expanding"),
        ("window-over-rolling", "window", "rolling 80"),
        ("rolling-over-rolling", "rolling", "rolling 80"),
        ("decay-over-decayed", "decay", "decayed"),
        ("heads-over-expanding", "heads", "expanding"),
        ("published-over-expanding", "published", "expanding"),
    ];
    let mut claims: Vec<Claim> = pairs
        .iter()
        .map(|(id, mask, scheme)| {
            let sentence = format!(
                "Attention regression ({mask}) predicts no worse than least squares ({scheme}): ratio of errors"
            );
            let own = attention(mask);
            let note = format!("R² {} and {}", number(r_squared(results, &own)), number(r_squared(results, scheme)));
            Claim::estimated(Claim::new(*id, sentence, DERIVED, "at most 1", better()), ratio(results, &own, scheme))
                .note(note)
        })
        .collect();
    claims.extend(
        [("attention", "causal"), ("published", "published-causal")].map(|(id, mask)| looking(results, id, mask)),
    );
    claims.push(Claim::estimated(
        Claim::new(
            "look-ahead-metric",
            "A metric of the whole sample that saw no target hides little: errors of expanding least squares over its",
            DERIVED,
            "about 1",
            Threshold::within(0.95, 1.05).partly_within(0.9, 1.1),
        ),
        ratio(results, "expanding", "linear attention, metric of all"),
    ));
    claims
}

/// What a mask of time hides where all else saw all quarters.
fn looking(results: &Results, id: &str, mask: &str) -> Claim {
    let (honest, seeing) = (attention(mask), attention(&format!("{mask}, seeing all")));
    let note =
        format!("R² {} seems to be {}", number(r_squared(results, &honest)), number(r_squared(results, &seeing)));
    Claim::estimated(
        Claim::new(
            format!("look-ahead-{id}"),
            format!("A causal mask with all else of the whole sample looks ahead ({mask}): honest errors over its"),
            DERIVED,
            "above 1",
            Threshold::at_least(1.05).partly_at_least(1.0),
        ),
        ratio(results, &honest, &seeing),
    )
    .note(note)
}

fn starts(results: &Results) -> Claim {
    let others = attention("loo");
    let here = results.rows().filter(|row| row.is("kind", "start") && row.is("scheme", others.as_str()));
    let found: Vec<f64> = here.filter_map(|row| row.get("error")).collect();
    let (low, high) = found.iter().fold((f64::MAX, f64::MIN), |(a, b), e| (a.min(*e), b.max(*e)));
    let measured = (!found.is_empty()).then(|| (high - low) / mean(&found));
    Claim::new(
        "starts-agree",
        "The start of a search matters little: errors of all starts, largest less smallest over their mean",
        DERIVED,
        "small",
        Threshold::at_most(0.05),
    )
    .measured(measured, None)
}

fn by_scheme(results: &Results) -> Table {
    let columns = ["scheme", "error", "R²", "over expanding", "interval", "Diebold–Mariano"];
    let mut table = Table::new("Out of sample: errors (root mean square), against expanding least squares", columns);
    let base = squares(results, "expanding");
    let seeing = ["causal, seeing all", "loo, seeing all", "published-causal, seeing all"].map(attention);
    let linear = ["linear attention, metric of all", "linear attention, metric of all, sums"].map(str::to_owned);
    let plain = ["mean", "last quarter"].map(str::to_owned);
    for scheme in plain.into_iter().chain(weighing()).chain(seeing).chain(linear) {
        let own = squares(results, &scheme);
        let Some(found) = ratio(results, &scheme, "expanding") else { continue };
        let interval = found.interval.map_or(String::new(), |i| format!("{} to {}", number(i.low), number(i.high)));
        let difference: Vec<f64> = own.iter().zip(&base).map(|(a, b)| a - b).collect();
        table.push([
            scheme.clone(),
            number(mean(&own).sqrt()),
            number(r_squared(results, &scheme)),
            number(found.value),
            interval,
            number(mean_over_error(&difference, LAGS)),
        ]);
    }
    table
}

fn measures(results: &Results) -> Table {
    let mut table = Table::new(
        "Weights, means over quarters",
        std::iter::once("scheme").chain(MEASURES).chain(["lowest short position"]),
    );
    for scheme in weighing() {
        let of =
            |name: &str| -> Vec<f64> { values(results, &scheme, name).into_iter().filter(|v| !v.is_nan()).collect() };
        let cells = MEASURES.iter().map(|name| number(mean(&of(name))));
        let lowest = number(of("short position").into_iter().fold(0.0, f64::min));
        table.push(std::iter::once(scheme.clone()).chain(cells).chain([lowest]));
    }
    table
}

/// The rows most used in named quarters.
fn top(results: &Results) -> Table {
    let mut table =
        Table::new("Quarters with the largest weights", ["predicted", "scheme", "quarters: weight, inflation"]);
    for quarter in NAMED {
        for scheme in weighing() {
            let here = results
                .rows()
                .filter(|row| row.is("kind", "top") && row.is("quarter", quarter) && row.is("scheme", scheme.as_str()));
            let cell = |row: &Row| {
                let numbers = ["weight", "inflation"].map(|name| row.get(name).unwrap_or(f64::NAN));
                format!("{}: {:.3}, {:.1}", row.word("row").unwrap_or_default(), numbers[0], numbers[1])
            };
            let cells: Vec<String> = here.map(cell).collect();
            if !cells.is_empty() {
                table.push([quarter.to_owned(), scheme, cells.join("; ")]);
            }
        }
    }
    table
}

/// The median.
#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::claim::Verdict;
    use crate::experiment::{Size, Unit, UnitResult};

    fn judged(rows: Vec<Row>, id: &str) -> Verdict {
        let plan = super::super::EXPERIMENT.plan(Size::Full, None);
        let units = vec![UnitResult { unit: Unit::new("u", json!({})), rows, seconds: 0.0 }];
        let claims = judge(&plan, &Results { units }).unwrap().claims;
        claims.into_iter().find(|claim| claim.id() == id).unwrap().verdict()
    }

    #[test]
    fn verdicts_follow_errors_and_weights() {
        let row = |scheme: &str, error: f64| {
            let row = Row::new().label("kind", "quarter").label("scheme", scheme).value("inflation", 2.0);
            row.value("prediction", 2.0 + error).value("leverage", 1.0 + 1e-12)
        };
        let both = |error: f64| -> Vec<Row> {
            let rows = (0..40).map(|i| (row("attention, loo", error), row("expanding", 1.0 + 0.01 * f64::from(i % 3))));
            rows.flat_map(|(a, b)| [a, b]).collect()
        };
        assert_eq!(judged(both(0.9), "loo-over-expanding"), Verdict::Reproduced);
        assert_eq!(judged(both(1.04), "loo-over-expanding"), Verdict::Partly);
        assert_eq!(judged(both(1.5), "loo-over-expanding"), Verdict::NotReproduced);
        assert_eq!(judged(both(1.0), "sums-to-one"), Verdict::Reproduced);
        assert_eq!(judged(Vec::new(), "loo-over-expanding"), Verdict::CannotBeJudged);
        assert_eq!(middle(&[3.0, 1.0, 2.0]), 2.0);
    }
}

//! From scores to claims and tables.

use super::peers::{self, PEERS};
use super::plots;
use super::sets::{SETS, Set};
use crate::claim::{Claim, Threshold};
use crate::error::Error;
use crate::experiment::{Judgement, Plan, Results, Size, Table};
use crate::statistics::{Estimate, mean, worst};

const PAPER: &str = "Goulet Coulombe 2025, real data";
const OURS: &str = "aim of this project";
/// Arms that are fitted here.
pub const ARMS: [&str; 6] = ["ols", "published", "clean_loo", "clean_better", "ours", "block"];
/// Models of the published table.
const MODELS: [&str; 7] = ["OLS", "RF", "MLP", "FT-T", "AttReg", "RegBlock", "TabPFN"];
/// What counts as the published figure, for another five splits.
const NEAR: f64 = 0.02;
/// How far apart least squares may be on a set that counts as the published one.
const SAME: f64 = 0.03;

/// R² of an arm by split: measured, or of a peer on the same splits.
pub fn splits(results: &Results, set: &str, arm: &str) -> Vec<f64> {
    by_split(results, set, arm).into_iter().map(|(_, r2)| r2).collect()
}

/// The same with the numbers of the splits.
fn by_split(results: &Results, set: &str, arm: &str) -> Vec<(usize, f64)> {
    if PEERS.contains(&arm) {
        // (Peers had all rows of the splits; a smoke run has not.)
        let rows = results.rows().find(|row| row.is("set", set)).and_then(|row| row.count("training rows"));
        return if rows.is_some() && rows == peers::rows(set) {
            peers::splits(set, arm).into_iter().enumerate().collect()
        } else {
            Vec::new()
        };
    }
    let mut found: Vec<(usize, f64)> = results
        .rows()
        .filter(|row| row.is("set", set) && row.is("arm", arm))
        .filter_map(|row| Some((row.count("split")?, row.get("R²")?)))
        .collect();
    found.sort_by_key(|(split, _)| *split);
    found
}

/// The mean over the splits of the set, those of least squares, where the arm has them all.
pub fn average(results: &Results, set: &str, arm: &str) -> Option<f64> {
    let found = by_split(results, set, arm);
    let of = |split: &usize| found.iter().find(|(own, _)| own == split).map(|(_, r2)| *r2);
    let wanted: Vec<usize> = by_split(results, set, "ols").into_iter().map(|(split, _)| split).collect();
    let found: Vec<f64> = wanted.iter().map(of).collect::<Option<_>>()?;
    (!found.is_empty()).then(|| mean(&found).value)
}

/// Published sets that satisfy something, if it is known of all.
fn count(of: impl Fn(&Set) -> Option<bool>) -> Option<f64> {
    let found = SETS.iter().filter(|set| !set.published.is_empty()).map(of).collect::<Option<Vec<bool>>>()?;
    Some(found.iter().filter(|yes| **yes).count() as f64)
}

pub fn judge(plan: &Plan, results: &Results) -> Result<Judgement, Error> {
    let mut claims = own_claims(results);
    claims.extend(published_claims(results));
    if plan.size != Size::Full {
        // (Splits of fewer rows are not those of any peer.)
        claims = claims.into_iter().map(|claim| claim.measured(None, None)).collect();
    }
    let (tables, plots) = (vec![table(results), against(results), published()], plots::plots(results));
    Ok(Judgement { claims, tables, plots, ..Judgement::default() })
}

fn claim(id: &str, sentence: &str, source: &str, expected: &str, threshold: Threshold, found: Option<f64>) -> Claim {
    Claim::new(id, sentence, source, expected, threshold).measured(found, None)
}

fn own_claims(results: &Results) -> Vec<Claim> {
    let above = |other: &'static str| {
        count(|set| Some(average(results, set.name, "ours")? >= average(results, set.name, other)?))
    };
    let least = |least: f64, partly: f64| Threshold::at_least(least).partly_at_least(partly);
    let retried = |arm: &str| {
        let rows = results.rows().filter(|row| row.is("arm", arm));
        rows.filter(|row| row.get("retried") == Some(1.0)).count()
    };
    vec![
        claim(
            "same-rows",
            "Least squares has the same R² here and in scikit-learn: largest difference",
            "derived",
            "rounding",
            Threshold::at_most(1e-8),
            same_rows(results),
        ),
        claim(
            "ours-above-published",
            "Ours is at least what is published, run on the same splits: sets of 8",
            OURS,
            "8",
            least(8.0, 6.0),
            above("published"),
        )
        .note(format!(
            "fits of all sets made again: as published, by test rows, {}; by rows left out, where these are predicted better, {}",
            retried("published"),
            retried("clean_better")
        )),
        claim(
            "ours-above-forest",
            "Ours is at least a random forest, on the same splits: sets of 8",
            OURS,
            "6",
            least(6.0, 4.0),
            above("forest"),
        )
        .note(forest_words(results)),
    ]
}

fn published_claims(results: &Results) -> Vec<Claim> {
    let share = |arm: &'static str, model: &'static str, holds: &dyn Fn(f64, f64) -> bool| {
        count(|set| average(results, set.name, arm).map(|_| true))?;
        let of = |set: &Set| Some(holds(average(results, set.name, arm)?, peers::published(set.published, model)?));
        let found = comparable(results).into_iter().map(of).collect::<Option<Vec<bool>>>()?;
        (!found.is_empty()).then(|| found.iter().filter(|yes| **yes).count() as f64 / found.len() as f64)
    };
    let near = |found: f64, known: f64| (found - known).abs() <= NEAR;
    let note = comparable_words(results);
    let most = || Threshold::at_least(0.75).partly_at_least(0.5);
    vec![
        claim(
            "ours-above-figures",
            "Ours is at least the published attention regression: share of the sets that are the published ones",
            OURS,
            "all",
            Threshold::at_least(1.0).partly_at_least(0.75),
            share("ours", "AttReg", &|found, known| found >= known),
        )
        .note(note.clone()),
        claim(
            "published-figures",
            "As published is within .02 of the published figure: share of these sets",
            PAPER,
            "all",
            most(),
            share("published", "AttReg", &near),
        )
        .note(format!("chosen by test rows; {note}")),
        claim(
            "block-figures",
            "The Regression Block is within .02 of the published figure: share of these sets",
            PAPER,
            "all",
            most(),
            share("block", "RegBlock", &near),
        )
        .note(note),
    ]
}

/// Published sets that are the same here, as far as least squares can tell.
fn comparable(results: &Results) -> Vec<&'static Set> {
    let same = |set: &&Set| {
        let (found, known) = (average(results, set.name, "ols"), peers::published(set.published, "OLS"));
        found.zip(known).is_some_and(|(found, known)| (found - known).abs() <= SAME)
    };
    SETS.iter().filter(same).collect()
}

/// Which sets are not the published ones.
fn comparable_words(results: &Results) -> String {
    let same: Vec<&str> = comparable(results).into_iter().map(|set| set.name).collect();
    let other = |set: &&Set| !set.published.is_empty() && !same.contains(&set.name);
    let gap = |set: &Set| {
        let found = average(results, set.name, "ols")?;
        Some(format!("{} ({found:.3} for {:.3})", set.name, peers::published(set.published, "OLS")?))
    };
    let others: Vec<String> = SETS.iter().filter(other).filter_map(gap).collect();
    let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
    format!("of {} sets; others by least squares here and as published: {others}", same.len())
}

/// The largest difference, if all sets have all splits.
fn same_rows(results: &Results) -> Option<f64> {
    let gaps = |set: &Set| {
        let (found, known) = (splits(results, set.name, "ols"), peers::splits(set.name, "ols"));
        let whole = !known.is_empty() && found.len() == known.len();
        whole.then(|| found.iter().zip(&known).map(|(a, b)| (a - b).abs()).collect::<Vec<_>>())
    };
    worst(SETS.iter().map(gaps).collect::<Option<Vec<_>>>()?.concat())
}

/// What an arm is better by than another on the same splits.
pub fn gain(results: &Results, set: &str, arm: &str, other: &str) -> Option<Estimate> {
    let other = by_split(results, set, other);
    let of = |split: usize| other.iter().find(|(own, _)| *own == split).map(|(_, r2)| *r2);
    let gains: Vec<f64> =
        by_split(results, set, arm).into_iter().filter_map(|(split, r2)| Some(r2 - of(split)?)).collect();
    (!gains.is_empty()).then(|| mean(&gains))
}

fn forest_words(results: &Results) -> String {
    let clear = |sign: f64| {
        let of = |set: &&Set| gain(results, set.name, "ours", "forest").and_then(|g| g.interval);
        let beyond = |i: &crate::statistics::Interval| (sign * i.low > 0.0) && (sign * i.high > 0.0);
        SETS.iter().filter(|set| !set.published.is_empty()).filter_map(|set| of(&set)).filter(beyond).count()
    };
    format!("with its whole interval above on {} and below on {}", clear(1.0), clear(-1.0))
}

/// A mean with its standard error.
fn words(values: &[f64]) -> String {
    if values.is_empty() {
        return "—".to_owned();
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    if values.len() < 2 {
        return format!("{mean:.3}");
    }
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    format!("{mean:.3} ({:.3})", (variance / n).sqrt())
}

fn table(results: &Results) -> Table {
    let title = "R² of test rows, means over splits with standard errors, all on the same splits. `published` chose by the test rows";
    let heads = ["set", "training rows", "columns"].into_iter().chain(ARMS).chain(PEERS);
    let mut table = Table::new(title, heads);
    for set in &SETS {
        let rows = results.rows().find(|row| row.is("set", set.name)).and_then(|row| row.count("training rows"));
        let Some(rows) = rows else { continue };
        let arms = ARMS.into_iter().chain(PEERS).map(|arm| words(&splits(results, set.name, arm)));
        table.push([set.name.to_owned(), rows.to_string(), set.columns.to_string()].into_iter().chain(arms));
    }
    table
}

fn against(results: &Results) -> Table {
    let others = ["published", "clean_better", "block", "forest", "boosting", "mlp"];
    let heads = std::iter::once("set".to_owned()).chain(others.iter().map(|other| format!("over {other}")));
    let mut table = Table::new("R² that ours has above others on the same splits, mean and interval", heads);
    for set in &SETS {
        let cell = |other: &&str| match gain(results, set.name, "ours", other) {
            Some(Estimate { value, interval: Some(i) }) => format!("{value:.3} ({:.3} to {:.3})", i.low, i.high),
            Some(Estimate { value, .. }) => format!("{value:.3}"),
            None => "—".to_owned(),
        };
        let cells: Vec<String> = others.iter().map(cell).collect();
        if cells.iter().any(|cell| cell != "—") {
            table.push(std::iter::once(set.name.to_owned()).chain(cells));
        }
    }
    table
}

fn published() -> Table {
    let heads = std::iter::once("set").chain(MODELS);
    let mut table = Table::new("Published R², other splits", heads);
    for set in SETS.iter().filter(|set| !set.published.is_empty()) {
        let figure =
            |model: &&str| peers::published(set.published, model).map_or("—".to_owned(), |r2| format!("{r2:.3}"));
        table.push(std::iter::once(set.name.to_owned()).chain(MODELS.iter().map(figure)));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::EXPERIMENT;
    use super::*;
    use crate::claim::Verdict;
    use crate::experiment::{Unit, UnitResult};
    use crate::rows::Row;

    fn made_up(of: impl Fn(&Set, &str, usize) -> f64) -> Results {
        let mut rows = Vec::new();
        for set in &SETS {
            for arm in ARMS {
                for split in 0..5 {
                    let row = Row::new().label("set", set.name).label("split", split).label("arm", arm);
                    rows.push(
                        row.label("training rows", peers::rows(set.name).unwrap_or(0)).value("R²", of(set, arm, split)),
                    );
                }
            }
        }
        Results { units: vec![UnitResult { unit: Unit::new("u", serde_json::json!({})), rows, seconds: 1.0 }] }
    }

    fn verdict(results: &Results, id: &str) -> Verdict {
        let judgement = judge(&EXPERIMENT.plan(Size::Full, None), results).unwrap();
        judgement.claims.iter().find(|claim| claim.id() == id).unwrap().verdict()
    }

    #[test]
    fn verdicts_of_made_up_scores() {
        let figures = |set: &Set, arm: &str, split: usize| match arm {
            "ols" => peers::splits(set.name, "ols").get(split).copied().unwrap_or(0.0),
            "ours" => peers::published(set.published, "AttReg").unwrap_or(0.0) + 0.001,
            "block" => peers::published(set.published, "RegBlock").unwrap_or(0.0) - 0.03,
            _ => peers::published(set.published, "AttReg").unwrap_or(0.0),
        };
        let found = made_up(figures);
        for id in ["ours-above-published", "ours-above-figures", "published-figures"] {
            assert_eq!(verdict(&found, id), Verdict::Reproduced, "{id}");
        }
        assert_eq!(verdict(&found, "block-figures"), Verdict::NotReproduced);
        let mut some = found;
        some.units[0].rows.retain(|row| !row.is("set", "yacht"));
        assert_eq!(verdict(&some, "ours-above-published"), Verdict::CannotBeJudged);
    }
}

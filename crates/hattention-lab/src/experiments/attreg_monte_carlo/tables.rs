//! The tables of the report.

use super::arms::{ARMS, chain, changed, penalised};
use super::cells::{Cell, Scores};
use super::judge::Retries;
use super::published::{self, PEERS};
use super::world::DESIGNS;
use super::{RATIOS, ROWS};
use crate::experiment::{Results, Table};
use crate::statistics::Estimate;

/// An R² for people.
fn text(r2: Option<f64>) -> String {
    r2.map_or("—".to_owned(), |r2| format!("{r2:.3}"))
}

/// An estimate and half its interval.
fn bounded(estimate: Option<Estimate>) -> String {
    let half = estimate.and_then(|e| e.interval).map_or(String::new(), |i| format!(" ± {:.3}", 0.5 * (i.high - i.low)));
    text(estimate.map(|e| e.value)) + &half
}

pub fn tables(results: &Results, scores: &Scores, planned: &[Cell]) -> Vec<Table> {
    vec![pooled(scores, planned), ablation(scores, planned), retries(results, planned), cells(scores, planned)]
}

fn heads(first: &[&str]) -> Vec<String> {
    let published = PEERS.iter().map(|peer| format!("{peer}, published"));
    let fixed = first.iter().map(|head| (*head).to_owned());
    fixed.chain(ARMS.iter().map(|arm| (*arm).to_owned())).chain(published).chain(["ceiling".to_owned()]).collect()
}

/// Groups of cells by what they share, with names; all of them first.
pub fn groups(planned: &[Cell]) -> Vec<(String, Vec<Cell>)> {
    let keep = |keep: &dyn Fn(&Cell) -> bool| planned.iter().filter(|cell| keep(cell)).copied().collect::<Vec<_>>();
    let mut groups = vec![("all cells".to_owned(), planned.to_vec())];
    groups.extend(ROWS.iter().map(|rows| (format!("N = {rows}"), keep(&|cell| cell.rows == *rows))));
    groups.extend(RATIOS.iter().map(|snr| (format!("SNR = {snr}"), keep(&|cell| cell.snr() == *snr))));
    groups.extend((0..DESIGNS.len()).map(|d| (DESIGNS[d].name.to_owned(), keep(&|cell| cell.place == d))));
    groups.into_iter().filter(|(_, cells)| !cells.is_empty()).collect()
}

fn pooled(scores: &Scores, planned: &[Cell]) -> Table {
    let title = "R² pooled over cells, with half of the interval; — where cells are missing. `published` chose by the test rows";
    let mut table = Table::new(title, heads(&["cells"]));
    for (name, cells) in groups(planned) {
        let ceiling = cells.iter().map(|cell| cell.ceiling()).sum::<f64>() / cells.len() as f64;
        let own = ARMS.iter().map(|arm| bounded(scores.pooled(arm, &cells)));
        let known = PEERS.iter().map(|peer| text(published::pooled(peer, &cells)));
        table.push(std::iter::once(name).chain(own).chain(known).chain([text(Some(ceiling))]));
    }
    table
}

fn cells(scores: &Scores, planned: &[Cell]) -> Table {
    let title = "R² by cell, means over replications. `published` chose by the test rows";
    let mut table = Table::new(title, heads(&["design", "N", "SNR", "replications"]));
    for cell in planned {
        let replications = scores.cell("ours", *cell).len().to_string();
        let fixed = [cell.design().name.to_owned(), cell.rows.to_string(), cell.snr().to_string(), replications];
        let own = ARMS.iter().map(|arm| text(scores.mean(arm, *cell)));
        let known = PEERS.iter().map(|peer| text(published::mean(peer, *cell)));
        table.push(fixed.into_iter().chain(own).chain(known).chain([text(Some(cell.ceiling()))]));
    }
    table
}

fn retries(results: &Results, planned: &[Cell]) -> Table {
    let title =
        "Second fits with a hundredth of the penalty: decided by test rows (as published), and by rows left out";
    let heads = [
        "cells",
        "by test rows",
        "change of R²",
        "by rows left out",
        "change of R²",
        "by these, if better",
        "change of R²",
    ];
    let mut table = Table::new(title, heads);
    for (name, cells) in groups(planned) {
        let found = ["published", "clean_loo", "clean_better"].map(|arm| Retries::of(results, arm, &cells));
        if found[0].fits == 0 {
            continue;
        }
        let two = |r: &Retries| {
            let gain = if r.retried > 0 { format!("{:.3}", r.gain) } else { "—".to_owned() };
            [format!("{} of {}", r.retried, r.fits), gain]
        };
        table.push(std::iter::once(name).chain(found.iter().flat_map(two)));
    }
    table
}

/// Steps between the recipes: name, and the step that it is compared with.
pub fn steps() -> Vec<(&'static str, &'static str)> {
    let mut names = vec!["published_no_retry"];
    names.extend(chain(0).iter().map(|(name, _)| *name));
    // The last step has the default options, which are an arm of all cells.
    names.pop();
    names.extend(["defaults", "ours"]);
    let before = std::iter::once("").chain(names.clone());
    let mut all: Vec<_> = names.iter().copied().zip(before).collect();
    all.extend(changed().into_iter().map(|(name, _, _)| (name, "ours")));
    let mut before = "standardised columns";
    for (name, _) in penalised(0) {
        all.push((name, before));
        before = name;
    }
    all
}

/// The name of a step for people.
pub fn step_name(step: &str) -> String {
    match step {
        "published_no_retry" => "published, no second fits".to_owned(),
        "defaults" => "+ a penalty on heads (= defaults)".to_owned(),
        "ours" => "+ penalties by cross-validation (= ours)".to_owned(),
        _ if changed().iter().any(|(name, _, _)| *name == step) => format!("ours, but {step}"),
        _ => format!("+ {step}"),
    }
}

/// The cells with so many rows; all for none.
pub fn with_rows(planned: &[Cell], rows: Option<usize>) -> Vec<Cell> {
    planned.iter().filter(|cell| rows.map_or(cell.rows <= 1000, |rows| cell.rows == rows)).copied().collect()
}

fn ablation(scores: &Scores, planned: &[Cell]) -> Table {
    let title = "From the published recipe to ours, one change after the other, and ours with one thing changed: R² pooled over the \
                 cells of N = 500 and 1,000, and differences from the step before (from ours) on the same rows. Means of steps have three \
                 tenths of the replications, those of arms all";
    let heads = [
        "step",
        "N = 500",
        "N = 1,000",
        "linear, both",
        "others, both",
        "difference, N = 500",
        "difference, N = 1,000",
    ];
    let mut table = Table::new(title, heads);
    let both = with_rows(planned, None);
    let part = |linear: bool| both.iter().filter(|cell| (cell.place == 0) == linear).copied().collect::<Vec<_>>();
    let (linear, others) = (part(true), part(false));
    let five = with_rows(planned, Some(500));
    let ten = with_rows(planned, Some(1000));
    for (step, before) in steps() {
        let means = [&five, &ten, &linear, &others].map(|cells| text(scores.pooled(step, cells).map(|e| e.value)));
        let gains = [&five, &ten].map(|cells| bounded(scores.gain(step, before, cells)));
        table.push(std::iter::once(step_name(step)).chain(means).chain(gains));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_compared_with_those_before() {
        let steps = steps();
        assert_eq!(steps[1], ("standardised columns", "published_no_retry"));
        let place = steps.iter().position(|step| step.0 == "ours").unwrap();
        assert_eq!(steps[place], ("ours", "defaults"));
        assert!(steps[place + 1..place + 10].iter().all(|step| step.1 == "ours") && steps.len() == place + 10 + 6);
        assert_eq!(steps[place + 10].1, "standardised columns");
    }
}

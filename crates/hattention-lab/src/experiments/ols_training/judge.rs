//! From rows to claims.

use super::{CONDITIONS, ROOTS, STARTS, plots};
use crate::claim::{Claim, Threshold, number};
use crate::error::Error;
use crate::experiment::{Judgement, Plan, Results, Table};
use crate::rows::Row;
use crate::seeds::generator;
use crate::statistics::{Estimate, bootstrap, line, quantile, share, worst};

const PAPER: &str = "Tan & Zhao 2026, training experiment";
const DERIVED: &str = "derived here";
/// What counts as arrived, in predictions and in L.
const CLOSE: f64 = 0.01;

/// The rows of a cell.
pub fn of<'a>(results: &'a Results, cell: &str) -> Vec<&'a Row> {
    results.rows().filter(|row| row.is("cell", cell)).collect()
}

/// A number of every row that has it.
pub fn column(rows: &[&Row], name: &str) -> Vec<f64> {
    rows.iter().filter_map(|row| row.get(name)).collect()
}

/// The median with its bootstrap interval.
pub fn median(values: &[f64], name: &str) -> Option<Estimate> {
    let middle = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        quantile(&sorted, 0.5)
    };
    bootstrap(values, 1000, &mut generator("ols-training", "judge", name, 0), middle).ok()
}

/// How many rows have the number within the limit.
pub fn share_within(rows: &[&Row], name: &str, limit: f64) -> Estimate {
    share(rows.iter().filter(|r| r.get(name).is_some_and(|v| v <= limit)).count() as u64, rows.len() as u64)
}

fn largest(values: &[f64]) -> Option<f64> {
    worst(values.iter().copied())
}

fn measured(claim: Claim, estimate: Option<Estimate>) -> Claim {
    claim.measured(estimate.map(|e| e.value), estimate.and_then(|e| e.interval))
}

/// A share with its interval, in words.
pub fn words(estimate: Estimate) -> String {
    match estimate.interval {
        Some(i) => format!("{} ({} to {})", number(estimate.value), number(i.low), number(i.high)),
        None => "—".to_owned(),
    }
}

pub fn judge(_: &Plan, results: &Results) -> Result<Judgement, Error> {
    let mut claims = published(results);
    claims.extend(free(results));
    for d in [3, 10] {
        claims.extend(one_target(results, d));
    }
    for d in [3, 10] {
        claims.extend(many_targets(results, d));
    }
    claims.push(saddle(results)?);
    let tables = vec![cells(results), shares(results)];
    Ok(Judgement { claims, tables, plots: plots::plots(results), ..Judgement::default() })
}

fn published(results: &Results) -> Vec<Claim> {
    let rows = of(results, "published");
    let outside: Vec<&Row> = rows.iter().copied().filter(|r| r.get("in_basin") == Some(0.0)).collect();
    let arrived = |row: &Row| row.get("parameter").is_some_and(|e| e <= CLOSE);
    let wrong = rows.iter().filter(|row| (row.get("in_basin") == Some(1.0)) == arrived(row)).count();
    let basin = share((rows.len() - outside.len()) as u64, rows.len() as u64);
    let stalled: Vec<f64> =
        rows.iter().filter(|r| r.get("in_basin") == Some(1.0)).filter_map(|r| r.get("function")).collect();
    let worst = largest(&column(&outside, "parameter"));
    let within = "1 % of theory for every seed outside the saddle's basin";
    let some = (!rows.is_empty()).then_some(());
    let epochs = median(&column(&outside, "epochs_to_one_percent"), "epochs");
    let stall = largest(&stalled.iter().map(|f| (f - 1.0).abs()).collect::<Vec<_>>());
    vec![
        Claim::new(
            "published-structure",
            "One regressor, P at theory: L becomes s^(−1/2)",
            PAPER,
            within,
            Threshold::at_most(CLOSE).partly_at_most(0.05),
        )
        .measured(worst, None)
        .note(format!("largest error of {} seeds; {} more started in the basin", outside.len(), rows.len() - outside.len())),
        Claim::new(
            "published-function",
            "One regressor, P at theory: predictions become least squares'",
            PAPER,
            "the same seeds",
            Threshold::at_most(CLOSE).partly_at_most(0.05),
        )
        .measured(largest(&column(&outside, "function")), None),
        measured(
            Claim::new(
                "basin-share",
                "Share of starts in the saddle's basin, L₀ uniform on −1 to 1",
                DERIVED,
                "0.5: the starts that are not positive",
                Threshold::covers(0.5).widest(0.2),
            ),
            some.map(|()| basin),
        ),
        Claim::new(
            "basin-predicted",
            "Whether a seed arrives is known from its start and its first step",
            DERIVED,
            "no seed predicted wrongly",
            Threshold::at_most(0.0),
        )
        .measured(some.map(|()| wrong as f64), None),
        Claim::new(
            "basin-stalls",
            "Starts in the basin stall at slope 0",
            DERIVED,
            "error of predictions 1, within 1 %",
            Threshold::at_most(CLOSE),
        )
        .measured(stall, None)
        .note("largest distance of ‖X(W − β̂)‖/‖Xβ̂‖ from 1 among the starts in the basin"),
        Claim::new(
            "published-epochs",
            "Least squares is found within about 1,000 epochs",
            PAPER,
            "about 1,000",
            Threshold::within(300.0, 3000.0),
        )
        .note(format!(
            "the rate of the paper is not known, and epochs go as one over the rate; at the rate chosen here a slope within 1 % \
             takes {} epochs, median and interval",
            epochs.map_or("—".to_owned(), words)
        )),
        Claim::new(
            "burn-same-run",
            "Automatic differentiation of all rows gives the run of the closed form",
            DERIVED,
            "equal to rounding",
            Threshold::at_most(1e-12),
        )
        .measured(largest(&column(&of(results, "burn"), "difference")), None),
    ]
}

fn free(results: &Results) -> Vec<Claim> {
    let rows = of(results, "free");
    let arrived: Vec<&Row> = rows.iter().copied().filter(|r| r.get("function").is_some_and(|f| f <= 0.5)).collect();
    let note = format!("{} of {} starts left L = 0; the others stall there", arrived.len(), rows.len());
    let drifts = largest(&column(&arrived, "drift"));
    vec![
        Claim::new(
            "free-function",
            "One regressor, P free: predictions become least squares'",
            DERIVED,
            "within 1 % wherever the saddle is left",
            Threshold::at_most(CLOSE).partly_at_most(0.05),
        )
        .measured(largest(&column(&arrived, "function")), None)
        .note(note),
        measured(
            Claim::new(
                "free-structure",
                "One regressor, P free: L² does not become 1/s",
                DERIVED,
                "a curve of minima, L³ s P = β̂",
                Threshold::at_least(0.1),
            ),
            median(&column(&arrived, "structure"), "free"),
        )
        .note("median structure error"),
        Claim::new(
            "free-invariant",
            "The start decides where on the curve: L² − 3P² is kept",
            DERIVED,
            "kept but for the size of the steps",
            Threshold::at_most(0.01).partly_at_most(0.05),
        )
        .measured(drifts, None)
        .note("largest change of L² − 3P² over L² + 3P²"),
    ]
}

fn one_target(results: &Results, d: usize) -> Vec<Claim> {
    let rows: Vec<&Row> = of(results, "one target").into_iter().filter(|r| r.is("d", d)).collect();
    let arrived = share_within(&rows, "function", CLOSE);
    let elsewhere: Vec<&Row> = rows.iter().copied().filter(|r| !r.is("start_kind", "near theory")).collect();
    let there: Vec<&Row> =
        elsewhere.iter().copied().filter(|r| r.get("function").is_some_and(|f| f <= CLOSE)).collect();
    let near: Vec<&Row> = rows.iter().copied().filter(|r| r.is("start_kind", "near theory")).collect();
    let near = median(&column(&near, "structure"), "near").map_or("—".to_owned(), |e| number(e.value));
    vec![
        measured(
            Claim::new(
                format!("one-target-function-{d}"),
                format!("d = {d}, one target, P at theory: predictions become least squares'"),
                DERIVED,
                "within 1 % from at least 95 % of the starts",
                Threshold::at_least(0.95).partly_at_least(0.5),
            ),
            (!rows.is_empty()).then_some(arrived),
        )
        .note("share of all starts"),
        measured(
            Claim::new(
                format!("one-target-structure-{d}"),
                format!("d = {d}, one target, P at theory: LLᵀ does not become Σ⁻¹"),
                DERIVED,
                "0.51 to 0.99 in trial runs",
                Threshold::at_least(0.1),
            ),
            median(&column(&there, "structure"), "one target"),
        )
        .note(format!(
            "median structure error of the starts whose predictions arrived, those near theory apart; these end at {near}"
        )),
    ]
}

fn many(results: &Results, d: usize) -> Vec<&Row> {
    of(results, "many targets").into_iter().filter(|r| r.is("d", d)).collect()
}

fn many_targets(results: &Results, d: usize) -> Vec<Claim> {
    let all = many(results, d);
    let at = |root: &str, kind: &str| -> Vec<&Row> {
        let wanted = |r: &&Row| r.is("root", root) && r.is("start_kind", kind) && r.is("condition", "rate 0.3");
        all.iter().copied().filter(wanted).collect()
    };
    let claim = |id: &str, sentence: &str, expected: &str, root: usize, kind: usize| {
        let rows = at(ROOTS[root], STARTS[kind]);
        measured(
            Claim::new(
                format!("{id}-{d}"),
                format!("d = {d}, {} targets: {sentence}", 4 * d),
                DERIVED,
                expected,
                Threshold::at_least(0.95).partly_at_least(0.5),
            ),
            (!rows.is_empty()).then_some(share_within(&rows, "parameter", CLOSE)),
        )
        .note("share of starts with L within 1 %, at rate 0.3, normalised columns")
    };
    let signed = |whitened: bool, sign: f64| -> Vec<&Row> {
        let here = |r: &&Row| r.is("condition", "whitened columns") == whitened && r.get("same_sign") == Some(sign);
        all.iter().copied().filter(here).collect()
    };
    let wrong = signed(true, 0.0);
    let reached = wrong.iter().filter(|r| r.get("parameter").is_some_and(|e| e <= CLOSE)).count() as f64;
    let of = |whitened, sign| words(share_within(&signed(whitened, sign), "parameter", CLOSE));
    vec![
        claim("near", "L is found from near theory (10 %)", "always", 0, 3),
        claim("random", "L is found from random starts", "33 to 83 % in trial runs", 0, 0),
        claim("identity", "L is found from the identity", "33 to 83 % in trial runs", 0, 2),
        claim(
            "identity-root",
            "L is found from the identity if theory takes the symmetric root",
            "always: the same predictions, another root",
            1,
            2,
        ),
        Claim::new(
            format!("determinant-{d}"),
            format!("d = {d}, whitened columns: no start with the wrong sign of det(L₀) arrives"),
            DERIVED,
            "none: the flow keeps the sign",
            Threshold::at_most(0.0),
        )
        .measured((!wrong.is_empty()).then_some(reached), None)
        .note(format!(
            "{} such starts (a finite step can jump over det = 0, the flow cannot); with the right sign the share is {}. In other columns: wrong sign {}, right sign {}",
            wrong.len(),
            of(true, 1.0),
            of(false, 0.0),
            of(false, 1.0)
        )),
    ]
}

fn saddle(results: &Results) -> Result<Claim, Error> {
    let rows = of(results, "saddle");
    let points: Vec<(f64, f64)> = rows
        .iter()
        .filter_map(|r| Some((r.number("delta")?.ln(), r.get("epochs")?.ln())))
        .filter(|(_, epochs)| epochs.is_finite())
        .collect();
    let claim = Claim::new(
        "saddle-exponent",
        "Epochs to leave the saddle go as one over the start",
        DERIVED,
        "exponent −1",
        Threshold::within(-1.05, -0.95),
    );
    if points.is_empty() {
        return Ok(claim);
    }
    let (x, y): (Vec<f64>, Vec<f64>) = points.into_iter().unzip();
    Ok(measured(claim, Some(line(&x, &y)?.slope)))
}

/// Function and structure of every cell.
fn cells(results: &Results) -> Table {
    let columns = [
        "cell",
        "starts",
        "function within 1 %",
        "median function error",
        "median structure error",
        "of those arrived",
    ];
    let mut table = Table::new("Function and structure, every cell", columns);
    let mut add = |name: String, rows: Vec<&Row>| {
        if rows.is_empty() {
            return;
        }
        let middle = |rows: &[&Row], what: &str| {
            median(&column(rows, what), "table").map_or("—".to_owned(), |e| number(e.value))
        };
        let arrived: Vec<&Row> =
            rows.iter().copied().filter(|r| r.get("function").is_some_and(|f| f <= CLOSE)).collect();
        table.push([
            name,
            rows.len().to_string(),
            words(share_within(&rows, "function", CLOSE)),
            middle(&rows, "function"),
            middle(&rows, "structure"),
            middle(&arrived, "structure"),
        ]);
    };
    add("one regressor, P at theory".to_owned(), of(results, "published"));
    add("one regressor, P free".to_owned(), of(results, "free"));
    for d in [3, 10] {
        for kind in STARTS {
            let rows = of(results, "one target").into_iter().filter(|r| r.is("d", d) && r.is("start_kind", kind));
            add(format!("d = {d}, one target, {kind}"), rows.collect());
        }
        for root in ROOTS {
            for kind in STARTS {
                let wanted = |r: &&Row| r.is("root", root) && r.is("start_kind", kind) && r.is("condition", "rate 0.3");
                add(
                    format!("d = {d}, many targets, {root}, {kind}"),
                    many(results, d).into_iter().filter(wanted).collect(),
                );
            }
        }
    }
    table
}

/// What widens the basin.
fn shares(results: &Results) -> Table {
    let columns = ["d", "root", "start", "rate 1", "rate 0.3", "rate 0.1", "unequal columns", "whitened columns"];
    let mut table = Table::new("Many targets: share of starts with L within 1 % (Wilson, 95 %)", columns);
    for d in [3, 10] {
        let all = many(results, d);
        if all.is_empty() {
            continue;
        }
        for root in ROOTS {
            for kind in STARTS {
                let cell = |condition: &str| {
                    let wanted =
                        |r: &&Row| r.is("root", root) && r.is("start_kind", kind) && r.is("condition", condition);
                    let rows: Vec<&Row> = all.iter().copied().filter(wanted).collect();
                    words(share_within(&rows, "parameter", CLOSE))
                };
                let cells = CONDITIONS.iter().map(|(name, _)| cell(name));
                table.push([d.to_string(), root.to_owned(), kind.to_owned()].into_iter().chain(cells));
            }
        }
    }
    table
}

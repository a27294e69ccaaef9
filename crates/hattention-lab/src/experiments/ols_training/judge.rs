//! From rows to claims.

use super::{JUDGED, ROOTS, STARTS, plots, tables};
use crate::claim::{Claim, Threshold, number};
use crate::error::Error;
use crate::experiment::{Judgement, Plan, Results};
use crate::rows::Row;
use crate::seeds::generator;
use crate::statistics::{Estimate, bootstrap, line, mean, quantile, share, worst};

const PAPER: &str = "Tan & Zhao 2026, training experiment";
const DERIVED: &str = "derived here";
/// What counts as arrived, in predictions and in L.
pub const CLOSE: f64 = 0.01;
/// A stalled descent whose error fell by more than this in the last tenth of its epochs still creeps.
const CREEPS: f64 = 0.01;
const RESAMPLES: usize = 1000;

/// The rows of a cell.
pub fn of<'a>(results: &'a Results, cell: &str) -> Vec<&'a Row> {
    results.rows().filter(|row| row.is("cell", cell)).collect()
}

/// The rows among these with a label.
pub fn with<'a>(rows: &[&'a Row], label: &str, value: impl Into<serde_json::Value>) -> Vec<&'a Row> {
    let value = value.into();
    rows.iter().copied().filter(|row| row.labelled(label) == Some(&value)).collect()
}

/// A number of every row that has it.
pub fn column(rows: &[&Row], name: &str) -> Vec<f64> {
    rows.iter().filter_map(|row| row.get(name)).collect()
}

/// The middle of numbers of which some may be infinite.
fn middle(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let found = quantile(&sorted, 0.5);
    // Between two infinities, or a number and one of them, there is no interpolation.
    if found.is_nan() && !sorted.is_empty() { f64::INFINITY } else { found }
}

/// The median with its bootstrap interval, for values of independent data sets.
pub fn median(values: &[f64], name: &str) -> Option<Estimate> {
    bootstrap(values, RESAMPLES, &mut generator("ols-training", "judge", name, 0), middle).ok()
}

/// A statistic of rows of which several may be of one data set: its interval resamples data sets, each with all its rows.
fn by_data_set(rows: &[&Row], name: &str, statistic: impl Fn(&[&Row]) -> f64) -> Option<Estimate> {
    // Seeds count anew for each root.
    let of = |row: &Row| (row.word("root").map(str::to_owned), row.count("seed"));
    let mut sets: Vec<Vec<&Row>> = Vec::new();
    for row in rows {
        match sets.iter_mut().find(|members| of(members[0]) == of(row)) {
            Some(members) => members.push(row),
            None => sets.push(vec![row]),
        }
    }
    let places: Vec<f64> = (0..sets.len()).map(|i| i as f64).collect();
    let resampled = |places: &[f64]| {
        let rows: Vec<&Row> = places.iter().flat_map(|i| sets[*i as usize].iter().copied()).collect();
        statistic(&rows)
    };
    bootstrap(&places, RESAMPLES, &mut generator("ols-training", "judge", name, 0), resampled).ok()
}

/// Whether the number of a row is within 1 %.
pub fn arrived(row: &Row, name: &str) -> bool {
    row.get(name).is_some_and(|error| error <= CLOSE)
}

/// The share of rows whose number is within 1 %, with Wilson's interval: for rows of different data sets.
pub fn share_arrived(rows: &[&Row], name: &str) -> Estimate {
    share(rows.iter().filter(|r| arrived(r, name)).count() as u64, rows.len() as u64)
}

/// How many descents arrived, stalled, still creep among the stalled, and diverged.
pub struct Ends {
    pub arrived: usize,
    pub stalled: usize,
    pub creeping: usize,
    pub diverged: usize,
}

impl Ends {
    pub fn of(rows: &[&Row], name: &str) -> Self {
        let count = |keep: &dyn Fn(&Row) -> bool| rows.iter().filter(|row| keep(row)).count();
        let diverged = |row: &Row| row.get("diverged") == Some(1.0);
        let stalled = |row: &Row| !arrived(row, name) && !diverged(row);
        Self {
            arrived: count(&|row| arrived(row, name)),
            stalled: count(&stalled),
            creeping: count(&|row| stalled(row) && row.get("falling").is_some_and(|f| f > CREEPS)),
            diverged: count(&diverged),
        }
    }

    fn words(&self) -> String {
        let creeping = if self.creeping > 0 { format!(" ({} of them creeping)", self.creeping) } else { String::new() };
        format!("{} arrived, {} stalled{creeping}, {} diverged", self.arrived, self.stalled, self.diverged)
    }
}

fn largest(values: &[f64]) -> Option<f64> {
    worst(values.iter().copied())
}

fn measured(claim: Claim, estimate: Option<Estimate>) -> Claim {
    claim.measured(estimate.map(|e| e.value), estimate.and_then(|e| e.interval))
}

/// An estimate with its interval, in words.
pub fn words(estimate: Estimate) -> String {
    let text = |x: f64| if x == f64::INFINITY { "∞".to_owned() } else { number(x) };
    match estimate.interval {
        Some(i) => format!("{} ({} to {})", text(estimate.value), text(i.low), text(i.high)),
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
    Ok(Judgement { claims, tables: tables::tables(results), plots: plots::plots(results), ..Judgement::default() })
}

fn published(results: &Results) -> Vec<Claim> {
    let rows = of(results, "published");
    let outside: Vec<&Row> = rows.iter().copied().filter(|r| r.get("in_basin") == Some(0.0)).collect();
    let wrong = rows.iter().filter(|row| (row.get("in_basin") == Some(1.0)) == arrived(row, "parameter")).count();
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
        .measured(largest(&column(&outside, "function")), None)
        .note(format!(
            "the paper's “within about 1,000 epochs” cannot be tested: its rate is not known, and epochs go as one over the \
             rate; at the rate chosen here for that purpose a slope within 1 % takes {} epochs, median and interval",
            epochs.map_or("—".to_owned(), words)
        )),
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

/// The rule of all shares: one start a data set, nearly all arrive.
fn nearly_all() -> Threshold {
    Threshold::at_least(0.95).partly_at_least(0.5)
}

/// A claim on the share of these rows whose number is within 1 %.
fn share_claim(id: String, sentence: String, expected: &str, rows: &[&Row], name: &str) -> Claim {
    let claim = Claim::new(id, sentence, DERIVED, expected, nearly_all());
    if rows.is_empty() {
        return claim;
    }
    measured(claim, Some(share_arrived(rows, name))).note(Ends::of(rows, name).words())
}

fn one_target(results: &Results, d: usize) -> Vec<Claim> {
    let all = with(&of(results, "one target"), "d", d);
    let rows = with(&all, "condition", JUDGED);
    let mut claims: Vec<Claim> = STARTS
        .iter()
        .map(|kind| {
            share_claim(
                format!("one-target-function-{d}-{}", kind.split(' ').next().unwrap_or(kind)),
                format!("d = {d}, one target, P at theory, start {kind}: predictions become least squares'"),
                "from every start",
                &with(&rows, "start_kind", *kind),
                "function",
            )
        })
        .collect();
    claims.push(share_claim(
        format!("one-target-fixed-{d}"),
        "… and from random starts also with the fixed rate of ρ = 0.3".to_owned(),
        "from every start, as version 1 of this experiment claimed",
        &with(&with(&all, "condition", "rate 0.3"), "start_kind", STARTS[0]),
        "function",
    ));
    let (near, elsewhere): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|r| r.is("start_kind", STARTS[3]));
    let there: Vec<&Row> = elsewhere.into_iter().filter(|r| arrived(r, "function")).collect();
    let near = median(&column(&near, "structure"), "near").map_or("—".to_owned(), words);
    claims.push(
        measured(
            Claim::new(
                format!("one-target-structure-{d}"),
                format!("d = {d}, one target, P at theory: LLᵀ does not become Σ⁻¹"),
                DERIVED,
                "0.51 to 0.99 in trial runs",
                Threshold::at_least(0.1),
            ),
            by_data_set(&there, "one target", |rows| middle(&column(rows, "structure"))),
        )
        .note(format!(
            "median structure error of {} starts whose predictions arrived, those near theory apart; these end at {near}",
            there.len()
        )),
    );
    claims
}

/// Descents of a kind of start, to a root, in a condition of the cells with many targets.
pub fn many<'a>(results: &'a Results, d: usize, root: &str, kind: &str, condition: &str) -> Vec<&'a Row> {
    let rows = with(&with(&of(results, "many targets"), "d", d), "condition", condition);
    with(&with(&rows, "root", root), "start_kind", kind)
}

fn many_targets(results: &Results, d: usize) -> Vec<Claim> {
    let claim = |id: &str, sentence: &str, expected: &str, root: usize, kind: usize| {
        let rows = many(results, d, ROOTS[root], STARTS[kind], JUDGED);
        let fixed = Ends::of(&many(results, d, ROOTS[root], STARTS[kind], "rate 0.3"), "parameter").words();
        let sentence = format!("d = {d}, {} targets: {sentence}", 4 * d);
        let found = share_claim(format!("{id}-{d}"), sentence, expected, &rows, "parameter");
        let note = found
            .qualification()
            .map(|note| format!("normalised columns; {note}; at the fixed rate of ρ = 0.3: {fixed}"));
        note.into_iter().fold(found, Claim::note)
    };
    let unequal = |id: &str, sentence: &str, expected: &str, condition: &str| {
        let rows = many(results, d, ROOTS[1], STARTS[2], condition);
        (
            share_claim(
                format!("{id}-{d}"),
                format!("d = {d}, {} targets: {sentence}", 4 * d),
                expected,
                &rows,
                "parameter",
            ),
            rows,
        )
    };
    let (arrives, _) = unequal(
        "identity-root-unequal",
        "… and on columns of scales from 1 to 3",
        "always, with steps that the curvature allows",
        "unequal, bounded steps",
    );
    let (fixed, _) = unequal(
        "identity-root-fixed",
        "… and with a fixed rate of ρ = 0.3 on normalised columns",
        "always, as version 1 of this experiment claimed",
        "rate 0.3",
    );
    let (fast, _) = unequal(
        "identity-root-rate-1",
        "… and with a fixed rate of ρ = 1 on normalised columns",
        "16 of 20 with ten regressors in version 1",
        "rate 1",
    );
    let (diverges, rows) = unequal(
        "unequal-diverges",
        "on such columns steps of a fixed rate, made for theory, are too long for the identity: descents diverge",
        "always: the curvature there is that at theory times λ_max(Σ)²",
        "unequal, rate 0.3",
    );
    let lost = (!rows.is_empty()).then(|| share(Ends::of(&rows, "parameter").diverged as u64, rows.len() as u64));
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
        arrives,
        fixed,
        fast,
        measured(diverges, lost),
        determinant(results, d),
    ]
}

fn determinant(results: &Results, d: usize) -> Claim {
    let all = with(&of(results, "many targets"), "d", d);
    let signed = |columns: &str, steps: &str, sign: f64| -> Vec<&Row> {
        let here = |r: &&Row| {
            let condition = r.word("condition").unwrap_or_default();
            condition.starts_with(columns) && condition.ends_with(steps) && r.get("same_sign") == Some(sign)
        };
        all.iter().copied().filter(here).collect()
    };
    let reached = |rows: &[&Row]| rows.iter().filter(|r| arrived(r, "parameter")).count();
    let share = |rows: &[&Row]| reached(rows) as f64 / rows.len() as f64;
    let of = |columns: &str, sign: f64| {
        let rows = signed(columns, JUDGED, sign);
        by_data_set(&rows, "determinant", share).map_or("—".to_owned(), words)
    };
    let (wrong, fixed) = (signed("whitened", JUDGED, 0.0), signed("whitened", "rate 0.3", 0.0));
    Claim::new(
        format!("determinant-{d}"),
        format!("d = {d}, whitened columns: no start with the wrong sign of det(L₀) arrives"),
        DERIVED,
        "none: the flow keeps the sign",
        Threshold::at_most(0.0),
    )
    .measured((!wrong.is_empty()).then(|| reached(&wrong) as f64), None)
    .note(format!(
        "{} such starts; of the right sign a share of {} arrives. At the fixed rate of ρ = 0.3, whose steps can jump over det = 0, \
         {} of {} of wrong sign arrive. In normalised columns: wrong sign {}, right sign {}",
        wrong.len(),
        of("whitened", 1.0),
        reached(&fixed),
        fixed.len(),
        of(JUDGED, 0.0),
        of(JUDGED, 1.0)
    ))
}

/// The exponent in every data set, and its mean: the starts of one data set are not independent.
fn saddle(results: &Results) -> Result<Claim, Error> {
    let claim = Claim::new(
        "saddle-exponent",
        "Epochs to leave the saddle go as one over the start",
        DERIVED,
        "exponent −1",
        Threshold::within(-1.05, -0.95),
    );
    let rows = of(results, "saddle");
    let mut seeds: Vec<usize> = rows.iter().filter_map(|r| r.count("seed")).collect();
    seeds.dedup();
    let mut exponents = Vec::new();
    for seed in seeds {
        let here = with(&rows, "seed", seed);
        let points = here.iter().filter_map(|r| Some((r.number("delta")?.ln(), r.get("epochs")?.ln())));
        // A start that never left has no exponent, and spoils the mean.
        let (x, y): (Vec<f64>, Vec<f64>) = points.unzip();
        exponents.push(if y.iter().all(|e| e.is_finite()) { line(&x, &y)?.slope.value } else { f64::NAN });
    }
    Ok(measured(claim, (!exponents.is_empty()).then(|| mean(&exponents))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::{Interval, LEVEL};

    /// Two starts of one data set that always agree are one observation.
    #[test]
    fn intervals_count_data_sets() {
        let row = |seed: usize, error: f64| Row::new().label("seed", seed).value("parameter", error);
        let once: Vec<Row> = (0..40).map(|seed| row(seed, if seed % 4 == 0 { 1.0 } else { 0.0 })).collect();
        let single: Vec<&Row> = once.iter().collect();
        let doubled: Vec<&Row> = single.iter().chain(&single).copied().collect();
        let share = |rows: &[&Row]| rows.iter().filter(|r| arrived(r, "parameter")).count() as f64 / rows.len() as f64;
        let (one, two) = (by_data_set(&single, "t", share).unwrap(), by_data_set(&doubled, "t", share).unwrap());
        assert_eq!((one.value, one.interval), (0.75, two.interval));
        let Some(Interval { low, high, level, .. }) = one.interval else { panic!("no interval") };
        assert!(low < 0.75 && high > 0.75 && level == LEVEL);
    }

    #[test]
    fn ends_are_told_apart() {
        let row = |error: f64, diverged: f64, falling: f64| {
            Row::new().value("parameter", error).value("diverged", diverged).value("falling", falling)
        };
        let rows = [row(0.001, 0.0, 0.0), row(0.5, 0.0, 0.0), row(0.5, 0.0, 0.2), row(f64::INFINITY, 1.0, 0.0)];
        let ends = Ends::of(&rows.iter().collect::<Vec<_>>(), "parameter");
        assert_eq!((ends.arrived, ends.stalled, ends.creeping, ends.diverged), (1, 2, 1, 1));
    }

    #[test]
    fn medians_may_be_infinite() {
        assert_eq!(middle(&[1.0, f64::INFINITY, f64::INFINITY]), f64::INFINITY);
        assert_eq!(middle(&[1.0, 2.0, f64::INFINITY, f64::INFINITY]), f64::INFINITY);
        assert_eq!(middle(&[1.0, 2.0, f64::INFINITY]), 2.0);
    }
}

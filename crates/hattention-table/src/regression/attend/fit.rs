//! A formula and its rows to an attention regression.

use hattention::attention_regression::{AttentionRegression, Chosen, Mask, Options};
use hattention::{Aliased, Error};

use super::super::failure::{Failure, counted};
use super::super::fit::{self, FitOptions, SolveOptions};
use super::super::watch::Watch;
use super::AttendModel;
use super::rows::{Rows, Wanted};
use crate::design::NaPolicy;
use crate::formula::Formula;
use crate::source::Source;

/// How a formula is fitted.
#[derive(Clone, Debug)]
pub struct AttendOptions {
    /// The engine's options; under a mask of blocks their column is `block`.
    pub options: Options,
    /// Folds of the cross-validation that chooses both penalties; none leaves them as they are.
    pub folds: Option<usize>,
    /// Rows that this cross-validation takes at most.
    pub folds_rows: usize,
    /// The column of blocks.
    pub block: Option<String>,
    /// The column that orders the rows.
    pub order: Option<String>,
    /// Rows that metrics are fitted with at most; all rows are read by predictions.
    pub sample: Option<usize>,
    /// What is done about rows with missing values.
    pub na: NaPolicy,
}

impl Default for AttendOptions {
    fn default() -> Self {
        Self {
            options: Options::default(),
            folds: Some(5),
            folds_rows: 1000,
            block: None,
            order: None,
            sample: None,
            na: NaPolicy::Drop,
        }
    }
}

/// Rows beyond which a fit must be asked for by number: the work grows with their square.
pub const MOST_ROWS: usize = 20_000;

/// A model, and what is shown beside it.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The model; it keeps its rows, which can be taken from it before it is written.
    pub model: AttendModel,
    /// Rows left out for missing values, of the order and the block too.
    pub dropped: u64,
    /// How the penalties were chosen, if they were.
    pub chosen: Option<Chosen>,
    /// `1 − Σ e² / Σ (y − ȳ)²` of rows left out, metrics held.
    pub r_squared: f64,
    /// `1 − Σ e² / Σ (y − ȳ)²` of rows held out by cross-validation under the penalties chosen, ȳ the mean of the rows that were fitted,
    /// metrics fitted anew; where penalties were chosen.
    pub r_squared_folds: Option<f64>,
    /// The same of least squares, rows left out; after a sample at the same rows.
    pub r_squared_linear: f64,
    /// Root of the mean square of the errors of rows left out.
    pub error: f64,
}

/// Fits a formula to the rows of a source.
///
/// # Errors
/// Those of the formula, of reading, and of the fit.
pub fn fit(formula: &Formula, source: &Source, asked: &AttendOptions, watch: &dyn Watch) -> Result<Trained, Failure> {
    check(formula, asked)?;
    let solve = SolveOptions { aliased: Aliased::Drop, ..SolveOptions::default() };
    let options = FitOptions { na: asked.na, solve, ..FitOptions::default() };
    let table = fit::fit(formula, source, &options, watch)?.model;
    for dependence in &table.model.whitening.dependent {
        watch.note(&format!("`{}` depends on the columns before it and is left out", dependence.column));
    }
    if table.model.whitening.kept.is_empty() {
        let hint = "name columns that tell rows apart, as `y ~ x`";
        return Err(Failure::no_answer("the formula leaves no column to attend by", hint));
    }
    if asked.options.mask.in_time() && asked.order.is_none() {
        watch.note("without --order the rows are in the order of time as the source has them");
    }
    let wanted = Wanted { block: asked.block.as_deref(), order: asked.order.as_deref(), na: asked.na };
    let rows = Rows::read(&table, source, wanted, watch)?;
    let most = asked.sample.unwrap_or(MOST_ROWS);
    if rows.target.len() > most && asked.sample.is_none() {
        return Err(Failure::usage(
            format!(
                "{} are more than {MOST_ROWS}: the work of a fit grows with their square",
                counted(rows.target.len() as u64, "row")
            ),
            format!(
                "fit metrics with some of them, and let predictions read all: --sample {MOST_ROWS}; or all of them: --sample {}",
                rows.target.len()
            ),
        ));
    }
    let mut options = asked.options.clone();
    if let Some(blocks) = &rows.blocks {
        options.mask = Mask::Blocks(blocks.clone());
    }
    let columns = rows.columns();
    let found = watching(watch, "fitting", || -> Result<_, Failure> {
        let chosen = match asked.folds {
            Some(folds) => {
                let chosen = options.choose(&columns, &rows.target, folds, asked.folds_rows);
                Some(chosen.map_err(|error| of_fit(error).about("within cross-validation"))?)
            }
            None => None,
        };
        let options = chosen.as_ref().map_or(options, |chosen| chosen.options.clone());
        let regression = if rows.target.len() > most {
            AttentionRegression::fit_sample(&columns, &rows.target, options, most)
        } else {
            AttentionRegression::fit(&columns, &rows.target, options)
        };
        Ok((chosen, regression.map_err(of_fit)?))
    });
    let (chosen, regression) = found?;
    tell(&regression, watch);
    let total = total(&rows.target);
    let squares = |errors: &[f64]| errors.iter().map(|e| e * e).sum::<f64>();
    // (Blocks are left out as a whole there too.)
    let mask = match &regression.options().mask {
        mask @ Mask::Blocks(_) => mask.clone(),
        _ => Mask::Others,
    };
    let line = Options { heads: 0, mask, ..Options::default() };
    let line = AttentionRegression::fit(&columns, &rows.target, line)?;
    let share = |squares: f64| 1.0 - squares / total;
    let count = rows.target.len() as f64;
    // (Of many rows the errors at the sample's queries are known; all of them would be read by all.)
    let left_out = match regression.report.sampled {
        Some(sampled) => sampled.error * total,
        None => squares(&regression.left_out()),
    };
    let line = line.left_out();
    let beside = match regression.measured_at() {
        Some(rows) => rows.iter().map(|row| line[*row] * line[*row]).sum::<f64>() * count / rows.len() as f64,
        None => squares(&line),
    };
    let r_squared_folds = chosen.as_ref().map(|chosen| 1.0 - chosen.error / chosen.error_mean);
    if let Some(folds) = r_squared_folds.filter(|folds| 1.0 - folds > LEARNED_BY_HEART * (1.0 - share(left_out))) {
        watch.note(&format!(
            "rows held out by cross-validation are predicted far worse than rows left out with metrics held (R² {folds:.3}, {:.3}): metrics \
             know the rows by heart; take fewer --heads or a larger --penalty",
            share(left_out)
        ));
    }
    if chosen.is_none() {
        let numbers = regression.learned().numbers();
        let fitted = regression.report.sampled.map_or(rows.target.len(), |sampled| sampled.rows);
        if numbers * 2 > fitted {
            watch.note(&format!(
                "metrics have {} for {}, and R² of rows left out holds them: that of new rows may be far below it; --penalty auto tells, \
                 by cross-validation",
                counted(numbers as u64, "number"),
                counted(fitted as u64, "row")
            ));
        }
    }
    Ok(Trained {
        dropped: rows.dropped,
        r_squared: share(left_out),
        r_squared_folds,
        r_squared_linear: share(beside),
        error: (left_out / count).sqrt(),
        chosen,
        model: AttendModel {
            table,
            learned: regression.learned(),
            block: asked.block.clone(),
            order: asked.order.clone(),
            rows: Some(rows),
        },
    })
}

/// Work whose searches are shown.
pub(super) fn watching<T>(watch: &dyn Watch, what: &'static str, work: impl FnOnce() -> T) -> T {
    match watch.search(what) {
        Some(observer) => hattention::attention_regression::watched(observer, work),
        None => work(),
    }
}

/// What a fit refuses, with a way out that it has.
pub(super) fn of_fit(error: Error) -> Failure {
    let failure = Failure::from(error.clone());
    let hinted = |hint: &str| Failure { hint: Some(hint.to_owned()), ..failure.clone() };
    match error {
        Error::TooFewRows { rows, coefficients } => {
            let hint = "take more rows (--sample and --folds-rows say how many too), leave columns out, or fit without the linear head, \
                        --no-linear; no folds are made with --penalty";
            Failure { message: too_few(rows, coefficients), hint: Some(hint.to_owned()), ..failure }
        }
        Error::Parameter { name: "the number of blocks", .. } => {
            hinted("name a column of more blocks; no blocks are held out with --penalty")
        }
        Error::Parameter { name: "the number of blocks beside those held out", .. } => {
            hinted("change --folds or --hold-out; no folds are made with --penalty")
        }
        Error::Parameter { name: "the number of folds", .. } => {
            hinted("change --folds or --folds-rows; no folds are made with --penalty")
        }
        _ => failure,
    }
}

/// What is said where a mixture has as many coefficients as rows.
pub fn too_few(rows: u64, least: usize) -> String {
    format!(
        "{} for {} of the constant and the linear head (and of heads that no penalty holds); expected more rows than these",
        counted(rows, "row"),
        counted(least.saturating_sub(1) as u64, "coefficient")
    )
}

fn check(formula: &Formula, asked: &AttendOptions) -> Result<(), Failure> {
    if !formula.effects().is_empty() {
        return Err(Failure::usage(
            "attention regression with absorbed effects",
            "write them as factors among the terms: y ~ x + C(g)",
        ));
    }
    if formula.targets().len() != 1 {
        return Err(Failure::usage("attention regression of several targets", "fit the targets one by one"));
    }
    if matches!(asked.options.mask, Mask::Blocks(_)) != asked.block.is_some() {
        return Err(Failure::usage("a mask of blocks without their column", "write --mask block:COLUMN"));
    }
    if asked.order.is_some() && !asked.options.mask.in_time() {
        return Err(Failure::usage(
            format!("--order orders the rows for masks of time, and --mask is {}", asked.options.mask),
            "leave it out, or use --mask causal, window:W or decay:H",
        ));
    }
    Ok(())
}

/// The mean square of errors of rows held out, metrics fitted anew, over that of rows left out, metrics held, from which on a user is
/// told.
pub const LEARNED_BY_HEART: f64 = 2.0;

/// What a user should know of a fit.
fn tell(regression: &AttentionRegression, watch: &dyn Watch) {
    let report = &regression.report;
    if !report.converged {
        watch.note(&format!(
            "the search was still falling after {} ({} losses); go on with --steps {}, or start elsewhere with --seed",
            counted(report.steps as u64, "step"),
            report.evaluations,
            report.steps.max(25).saturating_mul(4)
        ));
    }
    if !report.collapsed.is_empty() {
        let heads: Vec<String> = report.collapsed.iter().map(|m| (m + 1).to_string()).collect();
        let (what, read) = if heads.len() == 1 { ("head", "reads") } else { ("heads", "read") };
        let all = heads.len() == regression.options().heads;
        let left = if regression.options().linear { "the linear head" } else { "the mean" };
        let hint = if all { format!(": what is predicted is {left}") } else { String::new() };
        let same = match regression.options().mask.in_time() {
            true => format!("{read} the mean of the rows before, whatever their inputs"),
            false => format!(
                "{read} the same everywhere and {}{hint}",
                if heads.len() == 1 { "adds nothing" } else { "add nothing" }
            ),
        };
        watch.note(&format!("{what} {} {same}", heads.join(", ")));
    }
    if report.isolated > 0 {
        let rows = counted(report.isolated as u64, "row");
        watch.note(&format!(
            "{rows} of a head are too far from all others for its kernel, and are read one by one: that takes longer"
        ));
    }
}

fn total(target: &[f64]) -> f64 {
    let mean = target.iter().sum::<f64>() / target.len() as f64;
    target.iter().map(|y| (y - mean) * (y - mean)).sum()
}

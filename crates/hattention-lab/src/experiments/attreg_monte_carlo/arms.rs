//! The fits that are compared.

use hattention::attention_regression::{Coefficients, Mask, Objective, Options, Ranks, Score, Start};

use crate::error::Error;
use crate::scored::{Sample, Scored};

/// The test R² below which the author's code fitted again.
pub const LIMIT: f64 = 0.1;
/// Arms of all cells, in the order of the tables.
pub const ARMS: [&str; 9] = [
    "ols",
    "untrained_raw",
    "untrained_standardised",
    "published_no_retry",
    "published",
    "clean_loo",
    "clean_better",
    "defaults",
    "ours",
];

/// The numbers of an arm.
pub struct Fitted {
    pub arm: &'static str,
    pub values: Vec<(&'static str, f64)>,
}

/// From the published recipe to ours: what each step changes, with all steps before it. The last one has the default options.
pub fn chain(steps: usize) -> Vec<(&'static str, Options)> {
    let ours = Options::default();
    let start = Options { steps, ..Options::published() };
    let changes: [(&str, &dyn Fn(Options) -> Options); 9] = [
        ("standardised columns", &|o| Options { standardize: true, ..o }),
        ("rows do not read themselves", &|o| Options { mask: Mask::Others, ..o }),
        ("coefficients and a constant solved within", &|o| Options { coefficients: Coefficients::Solved, ..o }),
        ("a linear head", &|o| Options { linear: true, ..o }),
        ("distance scores", &|o| Options { score: Score::Distance, ..o }),
        ("a start by widths", &|o| Options { start: Start::Widths, ..o }),
        // (Ranks are read only where cross-validation chooses them, which is beyond this chain.)
        ("likelihood", &|o| Options {
            objective: Objective::Likelihood,
            penalty: ours.penalty,
            ranks: ours.ranks,
            ..o
        }),
        ("300 steps at most", &|o| Options { steps: ours.steps, tolerance: ours.tolerance, ..o }),
        ("a penalty on heads", &|o| Options { mixing: ours.mixing, ..o }),
    ];
    let step = |options: &mut Options, (name, change): &(&'static str, &dyn Fn(Options) -> Options)| {
        *options = change(options.clone());
        Some((*name, options.clone()))
    };
    changes.iter().scan(start, step).collect()
}

/// Steps of the chain whose heads' coefficients nothing bounds, with the penalty on heads that the defaults have.
///
/// (Heads are read about the mean of what a row may read, or a head of metric zero, which reads `−y_i/(n − 1)`, would make the loss
/// zero with α = −(n − 1).)
pub fn penalised(steps: usize) -> Vec<(&'static str, Options)> {
    let names = [
        "rows do not read themselves, heads penalised",
        "coefficients solved within, heads penalised",
        "a linear head, heads penalised",
        "distance scores, heads penalised",
        "a start by widths, heads penalised",
        "likelihood, heads penalised",
    ];
    let mixing = Options::default().mixing;
    let unbounded = chain(steps).into_iter().skip(1);
    names.into_iter().zip(unbounded).map(|(name, (_, options))| (name, Options { mixing, ..options })).collect()
}

/// Ours with one thing changed, and whether penalties are chosen anew for it.
pub fn changed() -> Vec<(&'static str, Options, bool)> {
    let ours = Options::default();
    vec![
        ("no linear head", Options { linear: false, ..ours.clone() }, true),
        ("inner products", Options { score: Score::Dot, ..ours.clone() }, true),
        ("no ranks", Options { ranks: Ranks::No, ..ours.clone() }, true),
        ("rows read themselves", Options { mask: Mask::All, ..ours.clone() }, true),
        ("one head", Options { heads: 1, ..ours.clone() }, true),
        ("two heads", Options { heads: 2, ..ours.clone() }, true),
        ("eight heads", Options { heads: 8, ..ours.clone() }, true),
        ("three starts", Options { restarts: 3, ..ours.clone() }, false),
        ("a tenth held out", Options { hold_out: 0.1, ..ours }, false),
    ]
}

/// The arms of a group, on one draw of rows.
///
/// # Errors
/// As [`AttentionRegression::fit`](hattention::attention_regression::AttentionRegression::fit).
pub fn fitted(group: &str, sample: &Sample, replicate: u64, steps_most: usize) -> Result<Vec<Fitted>, Error> {
    let seeded = |options: Options| Options { seed: 1 + replicate, ..options };
    match group {
        "simple" => simple(sample, &seeded),
        "ours" => ours(sample, &seeded),
        "published" => published(sample, seeded(Options { steps: steps_most, ..Options::published() })),
        "chain" => {
            // (The last step is the arm `defaults`.)
            let mut steps = chain(steps_most);
            steps.pop();
            steps.extend(penalised(steps_most));
            steps.into_iter().map(|(arm, options)| Ok(scores(arm, &sample.fit(seeded(options))?))).collect()
        }
        _ => {
            let chosen = sample.choose(&seeded(Options::default()))?;
            let fit = |(arm, options, anew): (&'static str, Options, bool)| {
                let options = seeded(options);
                let options = match anew {
                    true => sample.choose(&options)?,
                    false => Options { penalty: chosen.penalty, mixing: chosen.mixing, ..options },
                };
                Ok(scores(arm, &sample.fit(options)?))
            };
            changed().into_iter().map(fit).collect()
        }
    }
}

fn scores(arm: &'static str, fit: &Scored) -> Fitted {
    let report = &fit.model.report;
    let values = vec![("R²", fit.test), ("evaluations", report.evaluations as f64)];
    Fitted { arm, values }
}

fn simple(sample: &Sample, seeded: &dyn Fn(Options) -> Options) -> Result<Vec<Fitted>, Error> {
    let untrained = Options { steps: 0, ..Options::published() };
    let arms = [
        ("ols", Options { heads: 0, ..Options::default() }),
        ("untrained_raw", untrained.clone()),
        ("untrained_standardised", Options { standardize: true, ..untrained }),
    ];
    let fit = |(arm, options)| Ok(Fitted { arm, values: vec![("R²", sample.fit(seeded(options))?.test)] });
    arms.into_iter().map(fit).collect()
}

fn ours(sample: &Sample, seeded: &dyn Fn(Options) -> Options) -> Result<Vec<Fitted>, Error> {
    let defaults = sample.fit(seeded(Options::default()))?;
    let options = sample.choose(&seeded(Options::default()))?;
    let (penalty, mixing, ranks) = (options.penalty, options.mixing, f64::from(options.ranks == Ranks::Yes));
    let ours = sample.fit(options)?;
    let mut last = scores("ours", &ours);
    last.values.extend([
        ("λ", penalty),
        ("τ", mixing),
        ("ranks", ranks),
        ("R², left out", sample.left_out(&ours.model)),
    ]);
    Ok(vec![scores("defaults", &defaults), last])
}

fn published(sample: &Sample, options: Options) -> Result<Vec<Fitted>, Error> {
    let found = sample.retry(options, LIMIT)?;
    let first = [("R², first fit", found.first), ("R², left out", found.left_out)];
    let row = |arm, (retried, r2): (bool, f64)| {
        let mut values = vec![("R²", r2), ("retried", f64::from(retried))];
        values.extend(first);
        if let Some((second, left_out)) = found.second {
            values.extend([("R², second fit", second), ("R², second fit, left out", left_out)]);
        }
        Fitted { arm, values }
    };
    Ok(vec![
        row("published_no_retry", (false, found.first)),
        row("published", found.by_test()),
        row("clean_loo", found.by_left_out()),
        row("clean_better", found.better()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_leads_from_the_published_recipe_to_the_defaults() {
        let steps = chain(6000);
        assert_eq!(steps.last().unwrap().1, Options::default());
        assert_eq!(steps[0].1, Options { standardize: true, ..Options::published() });
        let penalised = penalised(6000);
        let last = Options { steps: 6000, tolerance: Options::published().tolerance, ..Options::default() };
        assert!(
            penalised.len() == 6 && penalised[5].1 == last && penalised[0].1.coefficients == Coefficients::Searched
        );
        let distinct = steps.windows(2).all(|pair| pair[0].1 != pair[1].1);
        assert!(distinct);
    }
}

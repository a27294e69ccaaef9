//! From rows to claims and plots.

use super::RECIPES;
use super::embedding::{COLUMNS, middle};
use crate::claim::{Claim, Threshold, number};
use crate::error::Error;
use crate::experiment::{Judgement, Plan, Results, Table};
use crate::plot::{Axis, Mark, Plot};
use crate::rows::Row;
use crate::seeds::generator;
use crate::statistics::{Estimate, bootstrap, worst};

const PAPER: &str = "Goulet Coulombe 2025, arXiv 2504.09663";
const DERIVED: &str = "derived";

pub(super) fn judge(_: &Plan, results: &Results) -> Result<Judgement, Error> {
    let mut claims = dimensions(results);
    claims.extend(ends(results));
    claims.extend(weights(results));
    for recipe in RECIPES {
        claims.extend(starts(results, recipe));
    }
    let plots = vec![freedom(results), apart(results)];
    Ok(Judgement { claims, tables: vec![by_targets(results), by_recipe(results)], plots, ..Judgement::default() })
}

fn of(results: &Results, kind: &str, targets: Option<usize>, name: &str) -> Vec<f64> {
    let here = results.rows().filter(|row| row.is("kind", kind) && targets.is_none_or(|k| row.is("targets", k)));
    here.filter_map(|row| row.get(name)).collect()
}

/// The median over replicates, with its interval.
fn median(values: &[f64], name: &str) -> Option<Estimate> {
    let mut generator = generator("attreg-identification", "judge", name, 0);
    bootstrap(values, 1000, &mut generator, |v| middle(v.to_vec())).ok()
}

fn dimensions(results: &Results) -> Vec<Claim> {
    let off = |name: &str, expected: &dyn Fn(usize) -> usize| {
        let here = results.rows().filter(|row| row.is("kind", "embedding"));
        worst(here.filter_map(|row| Some((row.get(name)? - expected(row.count("targets")?) as f64).abs())))
    };
    let gap = of(results, "embedding", None, "curvature that counts over the largest that does not");
    let gap = gap.into_iter().reduce(f64::min).map_or("nothing was measured".to_owned(), |gap| {
        format!("curvatures that count are at least {} times those that do not", number(gap))
    });
    vec![
        Claim::new(
            "free-dimensions",
            "With K targets P(P − K) dimensions of the embedding are free (largest difference)",
            DERIVED,
            "20, 15, 10, 5 and 0 for P = 5",
            Threshold::at_most(0.0),
        )
        .measured(off("free dimensions", &|k| COLUMNS * (COLUMNS - k)), None)
        .note(gap),
        Claim::new(
            "free-symmetric",
            "Of symmetric embeddings (P − K)(P − K + 1)/2 (largest difference)",
            DERIVED,
            "10, 6, 3, 1 and 0",
            Threshold::at_most(0.0),
        )
        .measured(off("free dimensions, symmetric", &|k| (COLUMNS - k) * (COLUMNS - k + 1) / 2), None),
        Claim::new(
            "flat-directions",
            "Along free directions the loss does not change (largest share of itself)",
            DERIVED,
            "rounding",
            Threshold::at_most(1e-12),
        )
        .measured(worst(of(results, "embedding", None, "change of the loss along a free direction")), None),
        Claim::estimated(
            Claim::new(
                "other-directions",
                "Along directions of any kind it does (share of itself, median with one target)",
                DERIVED,
                "much",
                Threshold::at_least(0.1),
            ),
            median(&of(results, "embedding", Some(1), "change of the loss along any direction"), "any"),
        ),
    ]
}

fn ends(results: &Results) -> Vec<Claim> {
    let largest = |targets: Option<usize>, name: &str| worst(of(results, "embedding", targets, name));
    let limit = || Threshold::at_most(1e-8);
    let second = largest(Some(1), "second singular value, from zero").unwrap_or(f64::NAN);
    vec![
        Claim::new(
            "descent-from-zero",
            "Descent from zero with one target ends at S⁻¹zzᵀ/(zᵀz)",
            PAPER,
            "equal",
            limit(),
        )
        .measured(largest(Some(1), "from zero, distance to the closed form"), None)
        .note(format!("its second singular value is at most {} of the first", number(second))),
        Claim::new(
            "descent-from-start",
            "From Ω₀ with K targets it ends at Ω₀(I − Π) + S⁻¹Π (largest distance)",
            DERIVED,
            "equal",
            limit(),
        )
        .measured(largest(None, "from a start, distance to the closed form"), None),
        Claim::new(
            "all-targets-pin-it",
            "As many targets as columns pin it to S⁻¹, from any start",
            DERIVED,
            "equal",
            limit(),
        )
        .measured(largest(Some(COLUMNS), "from a start, distance to the inverse"), None),
        Claim::new(
            "predictions-agree",
            "All ends predict fresh rows as least squares does (largest distance)",
            DERIVED,
            "equal",
            limit(),
        )
        .measured(largest(None, "predictions, distance to least squares"), None),
        Claim::estimated(
            Claim::new(
                "embeddings-differ",
                "With one target, ends of random starts as long as S⁻¹ are far from it (distance over its length)",
                DERIVED,
                "about √2",
                Threshold::at_least(0.5),
            ),
            median(&of(results, "embedding", Some(1), "from a start, distance to the inverse"), "embeddings"),
        ),
        Claim::estimated(
            Claim::new(
                "other-targets-fail",
                "An embedding trained with one target is no memory for another (distance to least squares)",
                DERIVED,
                "as far as the predictions are long",
                Threshold::at_least(0.5),
            ),
            median(&of(results, "embedding", Some(1), "another target, distance to least squares"), "other"),
        ),
        Claim::new("other-targets-hold", "One trained with as many as columns is, for all", DERIVED, "equal", limit())
            .measured(largest(Some(COLUMNS), "another target, distance to least squares"), None),
    ]
}

fn weights(results: &Results) -> Vec<Claim> {
    let values = |name: &str| of(results, "weights", None, name);
    let with_inverse = middle(values("correlation with the inverse's, from zero"));
    let gross = middle(values("gross leverage, factor from the inverse's"));
    vec![
        Claim::new(
            "one-pattern",
            "From zero all queries read one pattern, up to a factor (least |correlation| of two)",
            DERIVED,
            "1",
            Threshold::at_least(1.0 - 1e-8),
        )
        .measured(values("least correlation of two queries, from zero").into_iter().reduce(f64::min), None)
        .note(format!("it correlates with least squares' own pattern by {} in the median", number(with_inverse))),
        Claim::estimated(
            Claim::new(
                "least-squares-has-many",
                "Under S⁻¹ queries read patterns of their own (median |correlation| of two)",
                DERIVED,
                "that of random directions in 5 dimensions, about 0.35",
                Threshold::at_most(0.5),
            ),
            median(&values("correlation of two queries, inverse"), "many"),
        ),
        Claim::estimated(
            Claim::new(
                "weights-differ",
                "The same predictions, other weights: correlation of a query's weights between ends of two starts",
                DERIVED,
                "that of random directions",
                Threshold::at_most(0.8),
            ),
            median(&values("correlation between starts"), "weights"),
        )
        .note(format!("gross leverage differs from that of S⁻¹ by a factor of {} in the median", number(gross))),
        Claim::estimated(
            Claim::new(
                "top-rows-differ",
                "… and share of the top 5 % of rows that both have",
                DERIVED,
                "far from all",
                Threshold::at_most(0.6),
            ),
            median(&values("top rows shared between starts"), "top"),
        ),
    ]
}

/// Medians over pairs of starts, a number a data set.
fn by_set(results: &Results, recipe: &str, name: &str) -> Vec<f64> {
    let rows: Vec<&Row> = results.rows().filter(|row| row.is("kind", "starts") && row.is("recipe", recipe)).collect();
    let mut seeds: Vec<usize> = rows.iter().filter_map(|row| row.count("seed")).collect();
    seeds.sort_unstable();
    seeds.dedup();
    // (A ratio to predictions that are the same to the bit is none.)
    let of = |seed| -> Vec<f64> {
        let values = rows.iter().filter(|row| row.is("seed", seed)).filter_map(|row| row.get(name));
        values.filter(|x| x.is_finite()).collect()
    };
    seeds.into_iter().map(of).filter(|values| !values.is_empty()).map(middle).collect()
}

fn starts(results: &Results, recipe: &str) -> Vec<Claim> {
    let found = |name: &str| median(&by_set(results, recipe, name), &format!("{recipe} {name}"));
    let claim = |id: &str, sentence: &str, expected: &str, threshold: Threshold| {
        Claim::new(
            format!("{recipe}-{id}"),
            format!("Attention regression, {recipe}: {sentence}"),
            DERIVED,
            expected,
            threshold,
        )
    };
    let sets = by_set(results, recipe, "predictions, distance");
    let same = sets.iter().filter(|distance| **distance < 1e-3).count();
    let correlation = found("weights, correlation").map_or(f64::NAN, |f| f.value);
    vec![
        Claim::estimated(
            claim(
                "predictions",
                "predictions do not depend on the start (distance over their spread)",
                "small",
                Threshold::at_most(0.1).partly_at_most(0.25),
            ),
            found("predictions, distance"),
        )
        .note(format!("below 0.001 for {same} of {} data sets, which is one minimum", sets.len())),
        Claim::estimated(
            claim(
                "weights",
                "weights depend on it more than predictions (ratio of distances)",
                "several times",
                Threshold::at_least(2.0).partly_at_least(1.0),
            ),
            found("weights over predictions"),
        )
        .note(format!("weights of a query correlate by {} in the median", number(correlation))),
        Claim::estimated(
            claim(
                "top-rows",
                "share of the top 5 % of rows that two starts have in common",
                "far from all",
                Threshold::at_most(0.8).partly_at_most(0.9),
            ),
            found("top rows shared"),
        ),
    ]
}

fn by_targets(results: &Results) -> Table {
    let names = [
        "free dimensions",
        "free dimensions, symmetric",
        "from zero, distance to the closed form",
        "from a start, distance to the inverse",
        "predictions, distance to least squares",
        "another target, distance to least squares",
    ];
    let mut table =
        Table::new("The embedding problem by number of targets, medians", std::iter::once("targets").chain(names));
    for count in 1..=COLUMNS {
        let cells = names.iter().map(|name| number(middle(of(results, "embedding", Some(count), name))));
        table.push(std::iter::once(count.to_string()).chain(cells));
    }
    table
}

fn by_recipe(results: &Results) -> Table {
    let names = [
        "predictions, distance",
        "weights, distance",
        "weights, correlation",
        "top rows shared",
        "gross leverage, factor",
        "R², first",
        "losses, difference",
    ];
    let mut table = Table::new("Attention regression: two starts, medians", std::iter::once("recipe").chain(names));
    for recipe in RECIPES {
        let cells = names.iter().map(|name| number(middle(by_set(results, recipe, name))));
        table.push(std::iter::once(recipe.to_owned()).chain(cells));
    }
    table
}

fn freedom(results: &Results) -> Plot {
    let targets = 1..=COLUMNS;
    let points = |name: &str| -> Vec<(f64, f64)> {
        targets.clone().map(|k| (k as f64, middle(of(results, "embedding", Some(k), name)))).collect()
    };
    Plot::new(
        "Any number of targets gives predictions of least squares; only as many as columns pin the embedding",
        Axis::linear("targets K, of P = 5 columns"),
        Axis::linear("distance over length"),
    )
    .series("embedding to S⁻¹", points("from a start, distance to the inverse"), Mark::Points)
    .series("predictions of another target", points("another target, distance to least squares"), Mark::Points)
    .series("predictions of its own", points("predictions, distance to least squares"), Mark::Points)
}

fn apart(results: &Results) -> Plot {
    let points = |recipe: &str| -> Vec<(f64, f64)> {
        let (x, y) = (by_set(results, recipe, "predictions, distance"), by_set(results, recipe, "weights, distance"));
        x.into_iter().zip(y).collect()
    };
    let plot = Plot::new(
        "Attention regressions from two starts: weights are further apart than the predictions they make",
        Axis::log("distance of predictions"),
        Axis::log("distance of weights"),
    );
    let ends: Vec<f64> = RECIPES.iter().flat_map(|recipe| points(recipe)).flat_map(|(x, y)| [x, y]).collect();
    let plot = RECIPES.iter().fold(plot, |plot, recipe| plot.series(*recipe, points(recipe), Mark::Points));
    let low = ends.iter().copied().filter(|e| *e > 0.0).fold(f64::INFINITY, f64::min);
    let high = ends.iter().copied().fold(0.0, f64::max);
    plot.series("equal", vec![(low, low), (high, high)], Mark::Line(crate::plot::Stroke::Dashed))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::claim::Verdict;
    use crate::experiment::{Size, Unit, UnitResult};

    #[test]
    fn a_dimension_too_many_is_seen_and_nothing_is_not_judged() {
        let plan = super::super::EXPERIMENT.plan(Size::Full, None);
        let judged = |rows: Vec<Row>| {
            let units = vec![UnitResult { unit: Unit::new("embedding", json!({})), rows, seconds: 0.0 }];
            let claims = judge(&plan, &Results { units }).unwrap().claims;
            claims.into_iter().find(|claim| claim.id() == "free-dimensions").unwrap().verdict()
        };
        let row = |free: f64| Row::new().label("kind", "embedding").label("targets", 2).value("free dimensions", free);
        assert_eq!(judged(vec![row(15.0)]), Verdict::Reproduced);
        assert_eq!(judged(vec![row(15.0), row(14.0)]), Verdict::NotReproduced);
        assert_eq!(judged(Vec::new()), Verdict::CannotBeJudged);
    }
}

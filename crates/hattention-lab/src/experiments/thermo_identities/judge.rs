//! From deviations to claims.

use crate::claim::{Claim, Threshold, number};
use crate::error::Error;
use crate::experiment::{Judgement, Plan, Results, Table};
use crate::plot::{Axis, Mark, Plot, Stroke};
use crate::statistics::worst;

const EXACT: f64 = 1e-12;
const TEXTBOOK: &str = "textbook";

/// Identities with what they say, and their limits.
const IDENTITIES: [(&str, &str, f64); 11] = [
    ("free-energy", "F = U − TS", EXACT),
    ("log-partition", "F = −T ln Z", EXACT),
    ("capacity-is-a-slope", "C = dU/dT", EXACT),
    ("entropy-is-a-slope", "S = −dF/dT", EXACT),
    ("varentropy", "C is the variance of ln p under p", EXACT),
    ("least-free-energy", "softmax has the least Σ pE + T Σ p ln p, and it is F", EXACT),
    ("most-entropy", "S is at most ln n", EXACT),
    ("hot", "hot: U is the mean, S is ln n, C T² the variance", 1e-6),
    ("cold", "cold: U is the least energy, e^S the number of those that have it, C is zero", EXACT),
    ("two-levels", "two levels have Schottky's heat capacity", EXACT),
    ("pieces", "keys may come in pieces, and be merged in any order", EXACT),
];

pub(super) fn judge(_: &Plan, results: &Results) -> Result<Judgement, Error> {
    let claim = |(name, sentence, limit): &(&'static str, &str, f64)| {
        let found = worst(results.rows().filter_map(|row| row.get(name)));
        let sentence = format!("{sentence}: largest deviation");
        Claim::new(*name, sentence, TEXTBOOK, "0", Threshold::at_most(*limit)).measured(found, None)
    };
    let mut table = Table::new(
        "Largest deviations by the number of keys",
        ["keys", "F = U − TS", "C = dU/dT", "varentropy", "pieces"],
    );
    let mut sizes: Vec<usize> = results.rows().filter_map(|row| row.count("keys")).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for size in sizes {
        let of = |name: &str| {
            let rows = results.rows().filter(|row| row.count("keys") == Some(size));
            worst(rows.filter_map(|row| row.get(name))).map_or("—".to_owned(), number)
        };
        let cells = ["free-energy", "capacity-is-a-slope", "varentropy", "pieces"].map(of);
        table.push(std::iter::once(size.to_string()).chain(cells));
    }
    let curve = |title: &str, name: &str| {
        let mut plot = Plot::new(title, Axis::log("temperature over the gap"), Axis::linear(name));
        for others in [1, 9, 99] {
            let rows = results.rows().filter(|row| row.is("others", others));
            let points = rows.filter_map(|row| Some((row.number("T")?, row.get(name)?))).collect();
            plot = plot.series(format!("1 and {others}"), points, Mark::Line(Stroke::Solid));
        }
        plot
    };
    let plots = vec![
        curve("The heat capacity peaks below the gap: one key, and others above it", "capacity"),
        curve("Entropies of the same", "entropy"),
    ];
    Ok(Judgement { claims: IDENTITIES.iter().map(claim).collect(), tables: vec![table], plots, ..Judgement::default() })
}

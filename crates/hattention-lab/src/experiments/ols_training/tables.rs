//! The tables of the report.

use super::judge::{CLOSE, Ends, arrived, column, many, median, of, share_arrived, with, words};
use super::{CONDITIONS, JUDGED, ROOTS, STARTS, STEPS};
use crate::claim::number;
use crate::experiment::{Results, Table};
use crate::rows::Row;

pub fn tables(results: &Results) -> Vec<Table> {
    vec![cells(results), ends(results)]
}

/// Function and structure of every cell. Rows of a cell are of different data sets.
fn cells(results: &Results) -> Table {
    let columns = ["cell", "starts", "function within 1 %", "function error", "structure error", "of those arrived"];
    let title = "Function and structure: shares (Wilson) and medians (bootstrap over data sets), with 95 % intervals; bounded steps where L is a matrix";
    let mut table = Table::new(title, columns);
    let mut add = |name: String, rows: Vec<&Row>| {
        if rows.is_empty() {
            return;
        }
        let middle = |rows: &[&Row], what: &str| median(&column(rows, what), "table").map_or("—".to_owned(), words);
        let there: Vec<&Row> = rows.iter().copied().filter(|r| arrived(r, "function")).collect();
        table.push([
            name,
            rows.len().to_string(),
            words(share_arrived(&rows, "function")),
            middle(&rows, "function"),
            middle(&rows, "structure"),
            middle(&there, "structure"),
        ]);
    };
    add("one regressor, P at theory".to_owned(), of(results, "published"));
    add("one regressor, P free".to_owned(), of(results, "free"));
    for d in [3, 10] {
        let one = with(&with(&of(results, "one target"), "d", d), "condition", JUDGED);
        for kind in STARTS {
            add(format!("d = {d}, one target, {kind}"), with(&one, "start_kind", kind));
        }
        for root in ROOTS {
            for kind in STARTS {
                let name = format!("d = {d}, many targets, {root}, {kind}");
                add(name, many(results, d, root, kind, JUDGED));
            }
        }
    }
    table
}

/// Where descents end.
fn ends(results: &Results) -> Table {
    let columns = [
        "cell",
        "start",
        "steps and columns",
        "starts",
        "arrived",
        "stalled",
        "of these creeping",
        "diverged",
        "share arrived",
    ];
    let title = format!(
        "Where descents end (arrived: within {}; share with Wilson's interval, 95 %, one start a data set)",
        number(CLOSE)
    );
    let mut table = Table::new(title, columns);
    let mut add = |cell: String, kind: &str, condition: &str, rows: Vec<&Row>, name: &str| {
        if rows.is_empty() {
            return;
        }
        let ends = Ends::of(&rows, name);
        let counts = [rows.len(), ends.arrived, ends.stalled, ends.creeping, ends.diverged].map(|n| n.to_string());
        let start = [cell, kind.to_owned(), condition.to_owned()];
        table.push(start.into_iter().chain(counts).chain([words(share_arrived(&rows, name))]));
    };
    for d in [3, 10] {
        let one = with(&of(results, "one target"), "d", d);
        for kind in STARTS {
            for (steps, ..) in STEPS {
                let rows = with(&with(&one, "condition", steps), "start_kind", kind);
                add(format!("d = {d}, one target: function"), kind, steps, rows, "function");
            }
        }
        for root in ROOTS {
            for kind in STARTS {
                for condition in &CONDITIONS {
                    let rows = many(results, d, root, kind, condition.name);
                    add(format!("d = {d}, many targets, {root}: L"), kind, condition.name, rows, "parameter");
                }
            }
        }
    }
    table
}

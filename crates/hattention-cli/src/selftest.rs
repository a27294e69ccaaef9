//! `hat selftest`: NIST's linear least-squares sets on this machine.

use hattention::double_double::DoubleDouble;
use hattention::{Block, Column, Design, Filter, Fit, Moments, Whitening, WhiteningOptions};
use serde_json::json;

use crate::failure::Failure;
use crate::output;
use hattention_table::regression::render;

/// A set: name, highest power of x (0 where the columns stand for themselves), intercept, rows.
struct Set {
    name: &'static str,
    power: u32,
    intercept: bool,
    text: &'static str,
}

macro_rules! sets {
    ($($name:literal $power:literal $intercept:literal),* $(,)?) => {
        [$(Set {
            name: $name,
            power: $power,
            intercept: $intercept,
            text: include_str!(concat!("../../../data/nist/", $name, ".csv")),
        }),*]
    };
}

const SETS: [Set; 11] = sets![
    "Norris" 1 true, "Pontius" 2 true, "NoInt1" 1 false, "NoInt2" 1 false, "Filip" 10 true, "Longley" 0 true,
    "Wampler1" 5 true, "Wampler2" 5 true, "Wampler3" 5 true, "Wampler4" 5 true, "Wampler5" 5 true,
];

/// Exact results of the printed data.
const PRINTED: &str = include_str!("../../../reference/nist.csv");
/// Exact results of the data rounded to doubles: what a perfect solver gets.
const ROUNDED: &str = include_str!("../../../reference/nist_f64.csv");

/// Digits promised for coefficients and for standard errors.
const PROMISED: (f64, f64) = (13.0, 10.0);

/// Digits of one set: of coefficients and standard errors, got and attainable.
struct Row {
    name: &'static str,
    digits: f64,
    error_digits: f64,
    ceiling: f64,
    error_ceiling: f64,
    said: f64,
    condition: f64,
}

/// Runs the command.
pub fn run(json: bool) -> Result<(), Failure> {
    let rows = SETS.iter().map(check).collect::<Result<Vec<Row>, Failure>>()?;
    // A set passes when it has the promised digits, or all that its rounded data allow.
    let passes = |row: &Row| {
        row.digits >= PROMISED.0.min(row.ceiling - 0.1) && row.error_digits >= PROMISED.1.min(row.error_ceiling - 0.1)
    };
    let failed: Vec<&str> = rows.iter().filter(|row| !passes(row)).map(|row| row.name).collect();
    let text = if json {
        let sets: Vec<_> = rows
            .iter()
            .map(|r| {
                json!({"set": r.name, "digits": r.digits, "ceiling": r.ceiling, "std_error_digits": r.error_digits,
                    "std_error_ceiling": r.error_ceiling, "reported_digits": r.said, "condition": r.condition,
                    "pass": passes(r)})
            })
            .collect();
        format!(
            "{:#}\n",
            json!({"sets": sets, "promised": {"coefficients": PROMISED.0, "std_errors": PROMISED.1}, "pass": failed.is_empty()})
        )
    } else {
        let cells: Vec<Vec<String>> = rows
            .iter()
            .map(|r| {
                let one = |x: f64| format!("{x:.1}");
                vec![
                    r.name.into(),
                    one(r.digits),
                    one(r.ceiling),
                    one(r.error_digits),
                    one(r.error_ceiling),
                    one(r.said),
                    format!("{:.1e}", r.condition),
                ]
            })
            .collect();
        let mut text = String::from(
            "Correct digits against NIST's exact results (at most 15.9; the ceiling is what\nthe data, once rounded to doubles, allow any program)\n\n",
        );
        text += &render::columns(
            &["set", "coefficients", "ceiling", "std. errors", "ceiling", "reported", "condition"],
            &cells,
        );
        text += &match failed[..] {
            [] => format!(
                "\nall {} sets have {:.0} digits of every coefficient and {:.0} of every standard error\n",
                rows.len(),
                PROMISED.0,
                PROMISED.1
            ),
            _ => format!("\nshort of digits: {}\n", failed.join(", ")),
        };
        text
    };
    output::print(&text)?;
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::no_answer(
        format!("{} of {} sets are short of digits: {}", failed.len(), rows.len(), failed.join(", ")),
        "this build should not be trusted on this machine",
    ))
}

fn check(set: &Set) -> Result<Row, Failure> {
    let (fit, condition) = fit(set)?;
    let printed = results(PRINTED, set.name);
    let rounded = results(ROUNDED, set.name);
    let mut row = Row {
        name: set.name,
        digits: 15.9,
        error_digits: 15.9,
        ceiling: 15.9,
        error_ceiling: 15.9,
        said: fit.digits(),
        condition,
    };
    for (c, ((b, se), (best_b, best_se))) in fit.coefficients(0.95).iter().zip(printed.iter().zip(&rounded)) {
        row.digits = row.digits.min(digits(c.estimate.unwrap_or(f64::NAN), *b));
        row.ceiling = row.ceiling.min(digits(*best_b, *b));
        let (got, scale) = (c.std_error.unwrap_or(f64::NAN), b.abs());
        // An exact fit has standard errors of zero: anything under 1e-13 of the coefficient counts as that.
        if *se == 0.0 {
            row.error_digits = row.error_digits.min(if got < 1e-13 * scale { 15.9 } else { 0.0 });
        } else {
            row.error_digits = row.error_digits.min(digits(got, *se));
            row.error_ceiling = row.error_ceiling.min(digits(*best_se, *se));
        }
    }
    Ok(row)
}

fn fit(set: &Set) -> Result<(Fit, f64), Failure> {
    let broken = || Failure::usage(format!("the built-in copy of {} cannot be read", set.name), "");
    let rows: Option<Vec<Vec<f64>>> =
        set.text.lines().skip(1).map(|line| line.split(',').map(|cell| cell.parse().ok()).collect()).collect();
    let rows = rows.ok_or_else(broken)?;
    let column = |c: usize| -> Vec<f64> { rows.iter().map(|row| row[c]).collect() };
    let (y, x) = (column(0), column(1));
    let powers: Vec<(Vec<f64>, Vec<f64>)> = if set.power == 0 {
        (1..rows[0].len()).map(|c| (column(c), vec![0.0; rows.len()])).collect()
    } else {
        (1..=set.power)
            .map(|k| x.iter().map(|&x| DoubleDouble::from(x).powi(k)).map(|d| (d.hi, d.lo)).unzip())
            .collect()
    };
    let mut columns: Vec<Column<'_>> = powers.iter().map(|(hi, lo)| Column::Pair { hi, lo }).collect();
    columns.push(Column::Dense(&y));
    let moments = Moments::of(&Block { rows: rows.len(), columns, weights: None })?;
    let design = Design::plain((1..=powers.len()).map(|k| format!("x{k}")), set.intercept);
    let whitening = Whitening::of(&moments, &design, Filter::Ols, WhiteningOptions::default(), None)?;
    Ok((Fit::of(&moments, &whitening, powers.len(), "y")?, whitening.condition))
}

fn results(table: &str, set: &str) -> Vec<(f64, f64)> {
    table
        .lines()
        .map(|line| line.split(',').collect::<Vec<_>>())
        .filter(|cells| cells.first() == Some(&set))
        .filter_map(|cells| Some((cells.get(2)?.parse().ok()?, cells.get(3)?.parse().ok()?)))
        .collect()
}

fn digits(got: f64, expected: f64) -> f64 {
    if got == expected {
        return 15.9;
    }
    let digits = -((got - expected) / expected).abs().log10();
    if digits.is_nan() { 0.0 } else { digits.clamp(0.0, 15.9) }
}

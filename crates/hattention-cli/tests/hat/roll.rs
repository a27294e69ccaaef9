//! `hat roll`: every row is the fit of the rows it sees.

use std::collections::HashMap;

use hattention_table::arrow::array::{Array, AsArray};
use hattention_table::arrow::compute::cast;
use hattention_table::arrow::datatypes::{DataType, Float64Type};
use hattention_table::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::support::Folder;

/// What is asked of every number.
const TOLERANCE: f64 = 1e-10;

/// A printed table: cells by column.
struct Table(HashMap<String, Vec<String>>);

impl Table {
    fn of(text: &str) -> Self {
        // Names with commas stand in quotes.
        let cells = |line: &str| -> Vec<String> {
            let mut quoted = false;
            let apart = line.split(|c| {
                quoted ^= c == '"';
                c == ',' && !quoted
            });
            apart.map(|cell| cell.trim_matches('"').to_owned()).collect()
        };
        let mut lines = text.lines().map(cells);
        let names = lines.next().unwrap();
        let rows: Vec<Vec<String>> = lines.collect();
        assert!(rows.iter().all(|row| row.len() == names.len()));
        Self(names.into_iter().enumerate().map(|(k, n)| (n, rows.iter().map(|r| r[k].clone()).collect())).collect())
    }

    fn text(&self, column: &str, row: usize) -> &str {
        &self.0.get(column).unwrap_or_else(|| panic!("no column {column}"))[row]
    }

    fn number(&self, column: &str, row: usize) -> f64 {
        self.text(column, row).parse().unwrap_or_else(|_| panic!("{column} of row {row}: {}", self.text(column, row)))
    }

    fn rows(&self) -> usize {
        self.0["row"].len()
    }
}

/// Steps of a congruence (Knuth's), between 0 and 1.
fn numbers(count: usize, mut state: u64) -> Vec<f64> {
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f64 / 16777216.0
    };
    (0..count).map(|_| next()).collect()
}

const HEADER: &str = "t,g,x,c,y";

/// Rows in the order of `t`, of two groups and three levels.
fn lines(count: usize) -> Vec<String> {
    let (x, noise) = (numbers(count, 1), numbers(count, 2));
    (0..count)
        .map(|i| {
            let (g, c) = (["a", "b"][i % 2], ["u", "v", "w"][i * 7 % 11 % 3]);
            format!("{i},{g},{},{c},{}", 10.0 * x[i], 1.0 + 2.0 * x[i] + noise[i] + (i % 11) as f64 / 10.0)
        })
        .collect()
}

fn file(lines: &[String]) -> String {
    format!("{HEADER}\n{}\n", lines.join("\n"))
}

#[track_caller]
fn assert_near(got: f64, expected: f64) {
    assert!((got - expected).abs() <= TOLERANCE * expected.abs(), "{got} for {expected}");
}

/// The coefficients, errors and sigma of a row against `hat fit` of some lines.
fn assert_fit(folder: &Folder, formula: &str, table: &Table, row: usize, lines: &[String]) {
    folder.file("window.csv", file(lines));
    let fit: Value = serde_json::from_str(&folder.done(&["fit", formula, "window.csv", "--json"])).unwrap();
    for coefficient in fit["coefficients"].as_array().unwrap() {
        let name = coefficient["name"].as_str().unwrap();
        assert_near(table.number(&format!("b_{name}"), row), coefficient["estimate"].as_f64().unwrap());
        assert_near(table.number(&format!("se_{name}"), row), coefficient["std_error"].as_f64().unwrap());
    }
    assert_near(table.number("sigma", row), fit["sigma"].as_f64().unwrap());
    assert_eq!(table.text("n", row), lines.len().to_string());
}

#[test]
fn windows_of_a_shuffled_file_are_fits_of_their_rows() {
    let folder = Folder::new();
    let sorted = lines(60);
    let mut shuffled = sorted.clone();
    shuffled.sort_by_key(|line| line.bytes().rev().map(u64::from).fold(7, |hash: u64, b| hash.wrapping_mul(31) ^ b));
    assert_ne!(shuffled, sorted);
    folder.file("rows.csv", file(&shuffled));
    let formula = "y ~ x + c";
    let table = Table::of(&folder.done(&["roll", formula, "rows.csv", "--window", "20", "--order", "t"]));
    assert_eq!(table.rows(), 60);
    for row in 0..60 {
        let place = table.number("row", row) as usize;
        assert_eq!(shuffled[place - 1], sorted[row], "rows come by `t`, and say where they stood");
    }
    assert_eq!((table.text("status", 18), table.text("b_x", 18)), ("too few rows", ""));
    assert_eq!(table.text("status", 19), "fitted");
    for row in [19, 20, 37, 59] {
        assert_fit(&folder, formula, &table, row, &sorted[row - 19..=row]);
    }
    // A prediction is of the window before: with the next row's own `x` it is its coefficients'.
    let plain = Table::of(&folder.done(&["roll", "y ~ x", "rows.csv", "--window", "20", "--order", "t"]));
    let x = |row: usize| sorted[row].split(',').nth(2).unwrap().parse::<f64>().unwrap();
    for row in 20..60 {
        assert_near(
            plain.number("predicted", row),
            plain.number("b_(Intercept)", row - 1) + plain.number("b_x", row - 1) * x(row),
        );
    }
    assert_eq!(plain.text("cusum", 59), "");
}

#[test]
fn groups_are_rolled_apart_with_levels_of_all_rows() {
    let folder = Folder::new();
    let sorted = lines(80);
    folder.file("rows.csv", file(&sorted));
    let args = ["roll", "y ~ x", "rows.csv", "--expanding", "--order", "t", "--by", "g"];
    let table = Table::of(&folder.done(&args));
    for (group, start) in [("a", 0), ("b", 40)] {
        let own: Vec<String> = sorted.iter().filter(|line| line.split(',').nth(1) == Some(group)).cloned().collect();
        assert!((start..start + 40).all(|row| table.text("g", row) == group));
        assert_fit(&folder, "y ~ x", &table, start + 39, &own);
        assert_fit(&folder, "y ~ x", &table, start + 9, &own[..10]);
        assert!(table.number("cusum", start + 39).is_finite() && table.number("cusum_bound", start + 39) > 0.0);
    }
    // Within a group its own level never changes: a status, not a failure.
    let args = ["roll", "y ~ x + g", "rows.csv", "--window", "9", "--order", "t", "--by", "g"];
    folder.refused(&args, 1, &["no row has coefficients", "gb"]);
    let mut mixed = sorted;
    mixed[50] = mixed[50].replace(",a,", ",b,");
    folder.file("mixed.csv", file(&mixed));
    let args = ["roll", "y ~ x + c", "mixed.csv", "--window", "6", "--order", "t", "--by", "g"];
    let table = Table::of(&folder.done(&args));
    let status = |row: usize| table.text("status", row).to_owned();
    assert!((0..80).any(|row| status(row).starts_with("fitted")));
}

#[test]
fn a_decay_is_the_weighted_fit() {
    let folder = Folder::new();
    let sorted = lines(50);
    folder.file("rows.csv", file(&sorted));
    let table =
        Table::of(&folder.done(&["roll", "y ~ x", "rows.csv", "--decay", "0.5", "--order", "t", "--min-rows", "30"]));
    assert_eq!(table.text("status", 28), "too few rows");
    let weighted: Vec<String> =
        sorted[..40].iter().enumerate().map(|(i, line)| format!("{line},{:e}", 0.5f64.powi(39 - i as i32))).collect();
    folder.file("weighted.csv", format!("{HEADER},w\n{}\n", weighted.join("\n")));
    let fit = folder.done(&["fit", "y ~ x", "weighted.csv", "--weights", "w", "--json"]);
    let fit: Value = serde_json::from_str(&fit).unwrap();
    for coefficient in fit["coefficients"].as_array().unwrap() {
        let column = format!("b_{}", coefficient["name"].as_str().unwrap());
        assert_near(table.number(&column, 39), coefficient["estimate"].as_f64().unwrap());
    }
    // Two rows of memory for two coefficients leave nothing to estimate errors from.
    assert_eq!((table.text("sigma", 39), table.text("se_x", 39)), ("", ""));
}

#[test]
fn polynomials_are_those_of_all_rows() {
    let folder = Folder::new();
    let sorted = lines(40);
    folder.file("rows.csv", file(&sorted));
    let table = Table::of(&folder.done(&["roll", "y ~ poly(x, 2)*c", "rows.csv", "--expanding", "--order", "t"]));
    assert_fit(&folder, "y ~ poly(x, 2)*c", &table, 39, &sorted);
}

#[test]
fn files_threads_and_batches_give_the_same_numbers() {
    let folder = Folder::new();
    folder.file("rows.csv", file(&lines(500)));
    let args = ["roll", "cbind(y, x) ~ c", "rows.csv", "--window", "25", "--order", "t"];
    let printed = folder.done(&args);
    for more in
        [["--threads", "1"], ["--threads", "3"], ["--batch-rows", "7"], ["-o", "out.csv"], ["-o", "out.parquet"]]
    {
        let text = folder.done(&[&args[..], &more].concat());
        assert!(more[0] == "-o" || text == printed, "{more:?}");
    }
    assert_eq!(std::fs::read_to_string(folder.path("out.csv")).unwrap(), printed);
    let table = Table::of(&printed);
    let reader = std::fs::File::open(folder.path("out.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(reader).unwrap().build().unwrap();
    let mut row = 0;
    for batch in reader {
        let batch = batch.unwrap();
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            let Ok(column) = cast(column, &DataType::Float64) else { continue };
            let column = column.as_primitive::<Float64Type>();
            for place in 0..batch.num_rows() {
                let text = table.text(field.name(), row + place);
                assert_eq!(text.parse().ok(), column.is_valid(place).then(|| column.value(place)), "{}", field.name());
            }
        }
        row += batch.num_rows();
    }
    assert_eq!(row, 500);
    assert!(table.number("y.b_cv", 300).is_finite() && table.number("x.predicted", 300).is_finite());
}

#[test]
fn ties_keep_the_order_of_the_file_and_are_said() {
    let folder = Folder::new();
    let rows = "t,x,y\n2,1,1\n1,5,3\n2,2,4\n1,3,9\n2,7,6\n";
    folder.file("rows.csv", rows);
    let outcome = folder.hat(&["roll", "y ~ x", "rows.csv", "--expanding", "--order", "t"]);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert!(outcome.err.contains("3 rows share `t` with the row before"), "{}", outcome.err);
    assert_eq!(Table::of(&outcome.out).0["row"], ["2", "4", "1", "3", "5"]);
    let none = folder.hat(&["roll", "y ~ x", "rows.csv", "--expanding", "--order", "x"]);
    assert!(!none.err.contains("share"), "{}", none.err);
}

#[test]
fn refusals_of_a_roll_say_what_to_do() {
    let folder = Folder::new();
    folder.file("rows.csv", file(&lines(30)));
    let roll = |formula: &str, more: &[&str], code: i32, words: &[&str]| {
        folder.refused(&[&["roll", formula, "rows.csv"], more].concat(), code, words);
    };
    roll("y ~ x + c", &["--window", "3", "--order", "t"], 2, &["--window is 3", "4 coefficients", "4 rows or more"]);
    roll("y ~ x", &["--window", "0", "--order", "t"], 2, &["--window is 0"]);
    for decay in ["0", "1.5", "NaN"] {
        roll("y ~ x", &["--decay", decay, "--order", "t"], 2, &["--decay is", "above 0, at most 1"]);
    }
    roll("y ~ x", &["--window", "9", "--order", "when"], 2, &["unknown column `when`"]);
    roll("y ~ x", &["--window", "9", "--order", "t", "--by", "h"], 2, &["unknown column `h`"]);
    roll("y ~ x", &["--window", "9", "--min-rows", "10", "--order", "t"], 2, &["--min-rows is 10", "has 9"]);
    roll("y ~ x", &["--window", "99", "--order", "t"], 1, &["no row has coefficients", "--min-rows"]);
    roll("y ~ x", &["--window", "9", "--order", "t", "-o", "out.txt"], 2, &["format of out.txt", ".parquet"]);
    roll("y ~ x + I(2*x)", &["--window", "9", "--order", "t"], 1, &["depends on `x`", "drop them"]);
    folder.file("named.csv", "n,x,y\n1,2,3\n2,4,5\n3,1,1\n4,7,7\n");
    let named = ["roll", "y ~ x", "named.csv", "--expanding", "--order", "n"];
    folder.refused(&named, 2, &["`n` is also the name of a column of the result", "--sql"]);
    assert_eq!(folder.hat(&["roll", "y ~ x", "rows.csv", "--order", "t"]).code, 2);
    assert_eq!(folder.hat(&["roll", "y ~ x", "rows.csv", "--order", "t", "--window", "9", "--expanding"]).code, 2);
    folder.file("rows.csv", "t,g,x,c,y\n1,a,2,u,3\n,a,4,u,5\n");
    roll("y ~ x", &["--expanding", "--order", "t"], 2, &["row 2", "`t` is missing"]);
    folder.file("rows.csv", "t,g,x,c,y\n1,a,NA,u,3\n");
    roll("y ~ x", &["--expanding", "--order", "t"], 1, &["no rows to roll: 1 row with missing values"]);
}

#[test]
fn the_help_says_that_rows_are_sorted() {
    let folder = Folder::new();
    let help = folder.done(&["roll", "--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("sorted by the order column first"), "{help}");
}

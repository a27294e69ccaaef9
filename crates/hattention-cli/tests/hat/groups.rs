//! `hat fit --by`: every group is the fit of its rows alone, or says why there is none.

use hattention_table::arrow::array::{Array, AsArray};
use hattention_table::arrow::datatypes::{DataType, Float64Type, UInt64Type};
use hattention_table::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::support::{Folder, data, number};

/// Two roundings of one number, and of standard errors of up to eight coefficients.
const TOLERANCES: [(&str, f64); 2] = [("estimate", f64::EPSILON), ("std_error", 16.0 * f64::EPSILON)];

/// Runs a fit by groups that prints JSON; the program must have succeeded.
fn groups(folder: &Folder, args: &[&str]) -> Vec<Value> {
    let text = folder.done(&[&["fit"], args, &["--json"]].concat());
    let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    value["groups"].as_array().unwrap().clone()
}

/// The group's numbers against those of a single fit: of the coefficients that both have.
#[track_caller]
fn assert_same(group: &Value, single: &Value) {
    let exact = group["method"] == "exact";
    let coefficients = single["coefficients"].as_array().unwrap();
    assert_eq!(group["coefficients"].as_array().unwrap().len(), coefficients.len(), "{group}");
    for (mine, theirs) in group["coefficients"].as_array().unwrap().iter().zip(coefficients) {
        assert_eq!(mine["name"], theirs["name"]);
        for (what, tolerance) in TOLERANCES {
            let (got, expected) = (number(&mine[what]), number(&theirs[what]));
            let near = (got - expected).abs() <= if exact { 0.0 } else { tolerance * expected.abs() };
            assert!(near || (got.is_nan() && expected.is_nan()), "{what} of {mine} for {theirs}");
        }
        let (p, expected) = (number(&mine["p"]), number(&theirs["p"]));
        // p-values far out magnify the rounding of t by t².
        assert!((p - expected).abs() <= 1e-9 * expected || (p.is_nan() && expected.is_nan()), "{mine} for {theirs}");
    }
    for what in ["n", "rank", "df_residual", "digits"] {
        assert_eq!(group[what], single[what], "{what} of {group}");
    }
    for what in ["sigma", "r_squared"] {
        let (got, expected) = (number(&group[what]), number(&single[what]));
        assert!((got - expected).abs() <= 16.0 * f64::EPSILON, "{what}: {got} for {expected}");
    }
}

#[test]
fn flights_by_carrier_are_fits_of_each_carrier() {
    let folder = Folder::new();
    let flights = data("data/flights.parquet");
    let formula = "arr_delay ~ dep_delay + distance";
    let found = groups(&folder, &[formula, &flights, "--by", "carrier"]);
    assert_eq!(found.len(), 16);
    let names: Vec<&str> = found.iter().map(|group| group["key"]["carrier"].as_str().unwrap()).collect();
    assert!(names.is_sorted());
    for group in found.iter().filter(|group| ["AA", "HA", "OO"].contains(&group["key"]["carrier"].as_str().unwrap())) {
        let query = format!("SELECT * FROM flights WHERE carrier = '{}'", group["key"]["carrier"].as_str().unwrap());
        let single = folder.hat(&["fit", formula, &flights, "--sql", &query, "--json"]);
        if single.code == 1 {
            // One carrier flies one distance only.
            assert_eq!(group["status"], "rank 2 of 3: distance");
            continue;
        }
        let single: Value = serde_json::from_str(&single.out).unwrap();
        assert_eq!(group["status"], "ok");
        assert_eq!(group["dropped_rows"], single["dropped_rows"]);
        assert_same(group, &single);
    }
}

/// Rows of four groups in turn, a factor that they have different levels of, weights, and a missing value here and there.
fn table() -> Vec<String> {
    let mut state = 5u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f64 / 16777216.0
    };
    (0..400)
        .map(|i| {
            let group = ["a", "b", "c", ""][i % 4];
            let level = ["u", "v", "w"][(i / 4) % (i % 4).clamp(2, 3) + usize::from(i % 4 == 1)];
            let (x, z, noise) = (next(), next(), next());
            let x = if i % 37 == 5 { "NA".to_owned() } else { format!("{}", 1e3 + x) };
            format!("{group},{},{level},{x},{z},{},{},{}", i % 2 == 0, 1.0 + noise - z, z + noise, 1 + i % 3)
        })
        .collect()
}

const HEADER: &str = "g,even,level,x,z,y,v,w";

fn file(lines: &[String]) -> String {
    format!("{HEADER}\n{}\n", lines.join("\n"))
}

/// The rows of one group.
fn of_group(lines: &[String], group: &str) -> String {
    file(&lines.iter().filter(|line| line.split(',').next() == Some(group)).cloned().collect::<Vec<_>>())
}

#[test]
fn every_kind_of_fit_is_that_of_the_groups_rows() {
    let folder = Folder::new();
    let lines = table();
    folder.file("all.csv", file(&lines));
    for (name, group) in [("a", "a"), ("b", "b"), ("c", "c"), ("none", "")] {
        folder.file(&format!("{name}.csv"), of_group(&lines, group));
    }
    let cases: &[&[&str]] = &[
        &["y ~ x + z"],
        &["y ~ 0 + x + z"],
        &["y ~ z + level", "--weights", "w"],
        &["y ~ z*level + I(z^2) + x:z"],
        &["y ~ level:z"],
        &["y ~ poly(z, 2) + x", "--weights", "w"],
        &["y ~ poly(z, 2):level"],
        &["log(w) ~ poly(z, 3, raw)"],
        &["y ~ x + z", "--vcov", "HC3"],
        &["y ~ x + level", "--vcov", "HC1", "--weights", "w"],
        &["y ~ z", "--vcov", "cluster:level+w"],
        &["y ~ x + z", "--ridge", "0.5", "--standardize"],
        &["y ~ x + z + I(x + z)", "--aliased", "drop"],
    ];
    for case in cases {
        let found = groups(&folder, &[&case[..1], &["all.csv", "--by", "g"], &case[1..]].concat());
        assert_eq!(found.len(), 4);
        // A missing key is a key, and comes first.
        assert_eq!(found[0]["key"]["g"], Value::Null);
        for (group, name) in found.iter().zip(["none.csv", "a.csv", "b.csv", "c.csv"]) {
            let single = folder.hat(&[&["fit"], &case[..1], &[name], &case[1..], &["--json"]].concat());
            if single.code != 0 {
                assert!(group["sigma"].is_null() && group["status"] != "ok", "{case:?} {group}: {}", single.err);
                continue;
            }
            let single: Value = serde_json::from_str(&single.out).unwrap();
            assert_same(group, &single);
            assert_eq!(group["dropped_rows"], single["dropped_rows"], "{case:?}");
        }
    }
}

#[test]
fn order_batches_and_threads_do_not_show() {
    let folder = Folder::new();
    let lines = table();
    let mut sorted = lines.clone();
    sorted.sort();
    let mut turned = lines.clone();
    turned.reverse();
    for (name, lines) in [("one.csv", &lines), ("two.csv", &sorted), ("three.csv", &turned)] {
        folder.file(name, file(lines));
    }
    for formula in ["y ~ x + z + w", "cbind(y, v) ~ z*level", "y ~ poly(z, 2)"] {
        let mut tables = Vec::new();
        for (k, name) in ["one.csv", "two.csv", "three.csv"].into_iter().enumerate() {
            let (threads, rows) = ((k + 1).to_string(), ["1000000", "7", "64"][k]);
            let out = format!("{k}.csv");
            let args =
                ["fit", formula, name, "--by", "g,even", "-o", &out, "--threads", &threads, "--batch-rows", rows];
            folder.done(&args);
            tables.push(std::fs::read_to_string(folder.path(&out)).unwrap());
        }
        assert!(tables[0].lines().count() > 4 && tables.iter().all(|table| *table == tables[0]), "{formula}");
    }
}

#[test]
fn a_group_without_a_fit_says_why() {
    let folder = Folder::new();
    let mut lines = vec!["g,x,y,f".to_owned()];
    for i in 0..10 {
        lines.push(format!("whole,{i},{},{}", i * i, ["u", "v"][i % 2]));
        lines.push(format!("constant,7,{i},{}", ["u", "v"][i % 2]));
        lines.push(format!("level,{i},{},u", i * i));
        lines.push(format!("missing,NA,{i},{}", ["u", "v"][i % 2]));
    }
    lines.push("few,1,2,u".into());
    lines.push("few,2,2,v".into());
    folder.file("t.csv", lines.join("\n"));
    let found = groups(&folder, &["y ~ x + f", "t.csv", "--by", "g"]);
    let status = |name: &str| {
        let group = found.iter().find(|group| group["key"]["g"] == name).unwrap();
        (
            group["status"].as_str().unwrap().to_owned(),
            group["n"].as_u64().unwrap(),
            group["dropped_rows"].as_u64().unwrap(),
        )
    };
    assert_eq!(status("whole"), ("ok".into(), 10, 0));
    assert_eq!(status("constant"), ("rank 2 of 3: x".into(), 10, 0));
    assert_eq!(status("few"), ("too few rows: 2 for 3 coefficients".into(), 2, 0));
    assert_eq!(status("missing"), ("no rows".into(), 0, 10));
    let (why, rows, _) = status("level");
    assert!(why.contains("`f`") && rows == 10, "{why}");
    let dropped = groups(&folder, &["y ~ x + f", "t.csv", "--by", "g", "--aliased", "drop"]);
    let constant = dropped.iter().find(|group| group["key"]["g"] == "constant").unwrap();
    assert_eq!((constant["status"].as_str(), constant["method"].as_str()), (Some("rank 2 of 3: x"), Some("exact")));
    assert!(constant["coefficients"][1]["estimate"].is_null() && constant["coefficients"][2]["estimate"].is_number());
    // The table is written even if no group has numbers.
    let outcome = folder.hat(&[
        "fit",
        "y ~ x",
        "t.csv",
        "--sql",
        "SELECT * FROM t WHERE g = 'constant'",
        "--by",
        "g",
        "-o",
        "o.csv",
    ]);
    outcome_without(&outcome.err, outcome.code);
    assert!(std::fs::read_to_string(folder.path("o.csv")).unwrap().contains("constant,rank 1 of 2: x,,10,0,1,"));
}

#[track_caller]
fn outcome_without(err: &str, code: i32) {
    assert!(code == 1 && err.contains("no group has numbers") && err.contains("1 dependent columns"), "{code} {err}");
}

#[test]
fn tables_have_the_keys_types_and_names_of_every_coefficient() {
    let folder = Folder::new();
    folder.file("all.csv", file(&table()));
    folder.done(&["fit", "cbind(y, v) ~ z + level", "all.csv", "--by", "even,w", "-o", "o.parquet"]);
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(folder.path("o.parquet")).unwrap());
    let batch = reader.unwrap().build().unwrap().next().unwrap().unwrap();
    let names: Vec<&str> = batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
    let head =
        ["even", "w", "status", "method", "n", "dropped_rows", "rank", "df_residual", "y.b_(Intercept)", "y.b_z"];
    assert_eq!(names[..10], head);
    for name in ["y.se_levelw", "y.t_z", "v.p_levelv", "v.sigma", "v.r_squared", "v.digits"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert_eq!((batch.column(0).data_type(), batch.column(1).data_type()), (&DataType::Boolean, &DataType::Float64));
    assert_eq!(batch.num_rows(), 6);
    let n = batch.column_by_name("n").unwrap().as_primitive::<UInt64Type>().values().iter().sum::<u64>();
    assert_eq!(n, 400);
    let numbers = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Float64Type>().clone();
    let (b, se, t) = (numbers("v.b_z"), numbers("v.se_z"), numbers("v.t_z"));
    assert!(b.null_count() == 0 && (0..6).all(|row| t.value(row) == b.value(row) / se.value(row)));
}

#[test]
fn without_a_file_the_first_groups_are_printed() {
    let folder = Folder::new();
    let lines: Vec<String> = (0..30).flat_map(|g| (0..5).map(move |i| format!("{g},{i},{}", i * i + g))).collect();
    folder.file("t.csv", format!("g,x,y\n{}\n", lines.join("\n")));
    let text = folder.done(&["fit", "y ~ x", "t.csv", "--by", "g"]);
    for words in ["y ~ x", "by g: 30 groups: 30 with numbers", "(Intercept)", "-2.0000 (1.7)", "ok", "10 more groups"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(text.lines().filter(|line| line.ends_with("ok")).count(), 20);
    // One group is a group.
    let text = folder.done(&["fit", "y ~ x", "t.csv", "--sql", "SELECT * FROM t WHERE g = 3", "--by", "g"]);
    assert!(text.contains("1 group: 1 with numbers"), "{text}");
}

#[test]
fn what_does_not_go_with_groups_is_refused_by_name() {
    let folder = Folder::new();
    folder.file("t.csv", "g,x,y,n\n1,1,2,1\n1,2,3,1\n1,3,5,1\n2,1,inf,2\n");
    let refused = |args: &[&str], words: &[&str]| {
        folder.refused(&[&["fit", "y ~ x", "t.csv", "--by", "g"], args].concat(), 2, words);
    };
    refused(&["--ridge", "auto"], &["--ridge auto with --by"]);
    refused(&["--components", "auto"], &["--components auto with --by"]);
    refused(&["--state-out", "s.state"], &["--state-out with --by"]);
    refused(&["--from", "s.state"], &["--from with --by"]);
    refused(&["--remove", "t.csv"], &["--remove with --by"]);
    refused(&["--vif"], &["--vif with --by"]);
    refused(&["--level", "0.9"], &["--level with --by"]);
    refused(&["--vcov", "HAC:2"], &["HAC:2 with --by", "order"]);
    refused(&["--vcov", "HC9"], &["HC9"]);
    refused(&["--ridge", "1", "--vcov", "HC1"], &["HC1", "--ridge"]);
    refused(&["-o", "model.hat"], &["model.hat", ".parquet"]);
    refused(&[], &["row 4", "`y`", "inf"]);
    folder.refused(&["fit", "y ~ x", "t.csv", "--by", "group"], 2, &["`group`", "`g`"]);
    folder.refused(&["fit", "y ~ x + g", "t.csv", "--by", "g"], 2, &["`g`", "--by", "same in all rows"]);
    folder.refused(&["fit", "y ~ x | n", "t.csv", "--by", "g"], 2, &["--by with absorbed effects", "C(g)"]);
    folder.file("named.csv", "n,x,y\n1,1,2\n1,2,3\n1,3,5\n");
    folder.refused(&["fit", "y ~ x", "named.csv", "--by", "n", "-o", "o.csv"], 2, &["`n`", "a column of the result"]);
    folder.refused(&["fit", "y ~ x", "t.csv", "--sql", "SELECT * FROM t WHERE g = 9", "--by", "g"], 1, &["no rows"]);
    assert!(!folder.path("o.csv").exists());
    // What `.` stands for leaves the groups out.
    folder.file("dot.csv", "g,x,y\n1,1,2\n1,2,3\n1,3,5\n");
    let found = groups(&folder, &["y ~ .", "dot.csv", "--by", "g"]);
    assert_eq!(found[0]["coefficients"].as_array().unwrap().len(), 2);
}

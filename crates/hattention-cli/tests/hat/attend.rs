//! `hat attend`: fits, predictions and the rows behind them, with rows in the model and without, and what is refused.

use serde_json::Value;

use crate::support::{Folder, Outcome};

/// Rows `y,x,z,g,day`: a wave in x that a level of g turns round, a line in z, some noise, and a cell that is missing.
fn rows(from: usize, to: usize) -> String {
    let unit = |i: usize, k: f64| ((i as f64 + k) * 12.9898).sin() * 43_758.545_3;
    let unit = |i: usize, k: f64| unit(i, k) - unit(i, k).floor();
    let mut text = "y,x,z,g,day\n".to_owned();
    for i in from..to {
        let (x, z) = (6.0 * unit(i, 0.0), unit(i, 1000.0));
        let (g, sign) = [("a", 1.0), ("b", -1.0)][(2.0 * unit(i, 2000.0)) as usize];
        let y = 10.0 + sign * x.sin() + 2.0 * z + 0.1 * (unit(i, 3000.0) - 0.5);
        let z = if i == 17 { String::new() } else { z.to_string() };
        text += &format!("{y},{x},{z},{g},{}\n", (i * 37) % 101);
    }
    text
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("train.csv", rows(0, 150));
    folder.file("new.csv", rows(150, 170));
    folder
}

fn predictions(csv: &str) -> Vec<Vec<f64>> {
    let number = |cell: &str| cell.parse().unwrap_or(f64::NAN);
    csv.lines().skip(1).map(|line| line.split(',').map(number).collect()).collect()
}

#[test]
fn a_model_with_its_rows_and_one_without_predict_and_explain_the_same() {
    let folder = folder();
    let fit = ["attend", "fit", "y ~ x + z + g", "train.csv", "--penalty", "0.5", "--heads", "3"];
    let json: Value =
        serde_json::from_str(&folder.done(&[&fit[..], &["-o", "bare.hat", "--json", "--quiet"]].concat())).unwrap();
    let text = folder.done(&[&fit[..], &["-o", "full.hat", "--store-training"]].concat());
    assert!(text.contains("149 rows (1 left out for missing values), 3 inputs; 3 heads by distance"), "{text}");
    assert_eq!((&json["n"], &json["dropped_rows"]), (&149.into(), &1.into()));
    assert!(json["r_squared_loo"].as_f64() > Some(0.9) && json["r_squared_loo_least_squares"].as_f64() < Some(0.8));
    assert_eq!(json["inputs"], serde_json::json!(["x", "z", "gb"]));
    let shares: f64 = json["heads"].as_array().unwrap().iter().map(|head| head["share"].as_f64().unwrap()).sum();
    assert!((shares + json["linear"]["share"].as_f64().unwrap() - 1.0).abs() < 1e-9);
    // Which is the size of a few numbers, and no row is in it.
    let bare = std::fs::read(folder.path("bare.hat")).unwrap();
    assert!(
        bare.len() < 12_000 && std::fs::metadata(folder.path("full.hat")).unwrap().len() > bare.len() as u64 + 5000
    );

    folder.refused(
        &["attend", "predict", "bare.hat", "new.csv"],
        2,
        &["no training rows", "--train", "--store-training"],
    );
    let bare = folder.done(&["attend", "predict", "bare.hat", "new.csv", "--train", "train.csv", "--interval"]);
    let full = folder.done(&["attend", "predict", "full.hat", "new.csv", "--interval"]);
    assert_eq!(bare, full);
    let found = predictions(&full);
    let truth = predictions(&std::fs::read_to_string(folder.path("new.csv")).unwrap());
    assert_eq!(found.len(), truth.len());
    let inside = found.iter().zip(&truth).filter(|(p, t)| p[2] <= t[0] && t[0] <= p[3]).count();
    assert!(inside >= 17, "{inside}");
    assert!(found.iter().zip(&truth).all(|(p, t)| (p[1] - t[0]).abs() < 0.5), "{found:?}");

    let explain = ["attend", "explain", "full.hat", "new.csv", "--top", "149"];
    let text = folder.done(&[&explain[..], &["--limit", "2"]].concat());
    assert!(
        text.contains("Query row 1: y = ") && text.contains("effective rows") && text.contains("turnover"),
        "{text}"
    );
    let json: Value = serde_json::from_str(&folder.done(&[&explain[..], &["--json"]].concat())).unwrap();
    for (query, prediction) in json["queries"].as_array().unwrap().iter().zip(&found) {
        let top = query["top"].as_array().unwrap();
        let sum: f64 = top.iter().map(|row| row["contribution"].as_f64().unwrap()).sum();
        assert!((sum - prediction[1]).abs() < 1e-9, "{sum} {prediction:?}");
        assert!((query["leverage_sum"].as_f64().unwrap() - 1.0).abs() < 1e-9);
        // Row 18 misses a value: it made nothing.
        assert!(top.iter().all(|row| row["row"] != 18));
    }
    // Other rows under the same metrics are another memory, and that is said.
    folder.file("later.csv", rows(200, 300));
    let outcome = folder.hat(&["attend", "predict", "bare.hat", "new.csv", "--train", "later.csv"]);
    assert!(outcome.code == 0 && outcome.err.contains("other rows than the fit"), "{}", outcome.err);
}

#[test]
fn masks_of_time_and_blocks_read_their_columns_and_scores_their_words() {
    let folder = folder();
    let fit = |more: &[&str]| {
        let all = [&["attend", "fit", "y ~ x + z", "train.csv", "--heads", "2"], more].concat();
        folder.hat(&all)
    };
    let ordered = fit(&["--penalty", "1", "--mask", "window:60", "--order", "day", "-o", "w.hat"]);
    assert!(ordered.code == 0 && ordered.out.contains("the 60 rows before it"), "{} {}", ordered.out, ordered.err);
    assert!(ordered.err.contains("share `day` with the row before"), "{}", ordered.err);
    let unordered = fit(&["--penalty", "1", "--mask", "decay:30"]);
    assert!(unordered.err.contains("without --order"), "{}", unordered.err);
    let blocks = fit(&["--penalty", "1", "--mask", "block:g", "-o", "b.hat"]);
    assert!(blocks.code == 0 && blocks.out.contains("the rows of other `g`"), "{} {}", blocks.out, blocks.err);
    // A level that a block has alone tells nothing of it: least squares too leaves out whole blocks.
    let alone = folder.done(&[
        "attend",
        "fit",
        "y ~ x + z + g",
        "train.csv",
        "--heads",
        "0",
        "--penalty",
        "1",
        "--mask",
        "block:g",
        "--json",
    ]);
    let alone: Value = serde_json::from_str(&alone).unwrap();
    assert!(alone["r_squared_loo"].as_f64() < Some(0.1), "{alone}");
    assert!(
        (alone["r_squared_loo"].as_f64().unwrap() - alone["r_squared_loo_least_squares"].as_f64().unwrap()).abs()
            < 1e-6
    );
    for model in ["w.hat", "b.hat"] {
        let out = folder.done(&["attend", "predict", model, "new.csv", "--train", "train.csv", "--quiet"]);
        assert!(predictions(&out).iter().all(|row| row[1].is_finite()), "{out}");
    }
    for score in ["softmax", "polynomial", "polynomial:4"] {
        let outcome = fit(&["--penalty", "1", "--score", score]);
        assert_eq!(outcome.code, 0, "{score}: {}", outcome.err);
    }
    let sampled = fit(&["--penalty", "1", "--sample", "60", "--json", "-o", "s.hat"]);
    let json: Value = serde_json::from_str(&sampled.out).unwrap();
    assert!(json["sample"]["rows"] == 60 && json["n"] == 149, "{}", sampled.out);
    let error = 1.0 - json["r_squared_loo"].as_f64().unwrap();
    assert!((error - json["sample"]["error"].as_f64().unwrap()).abs() < 1e-12);
    let of_sample = ["attend", "predict", "s.hat", "new.csv", "--train", "train.csv", "--interval"];
    assert!(predictions(&folder.done(&of_sample)).iter().all(|row| row[2] < row[1] && row[1] < row[3]));
    let explained = folder.done(&["attend", "explain", "s.hat", "new.csv", "--train", "train.csv", "--limit", "1"]);
    assert!(!explained.contains("beside the rows"), "{explained}");
    folder.file("other.csv", rows(1, 151));
    let others = folder.done(&["attend", "explain", "s.hat", "new.csv", "--train", "other.csv", "--limit", "1"]);
    assert!(others.contains("beside the rows"), "{others}");
    let unfinished = fit(&["--penalty", "1", "--steps", "2"]);
    assert!(unfinished.err.contains("still falling after 2 steps"), "{}", unfinished.err);
    let collapsed = fit(&["--penalty", "1000"]);
    assert!(collapsed.err.contains("heads 1, 2 read the same everywhere"), "{}", collapsed.err);
}

#[test]
fn ranks_are_chosen_asked_for_and_kept() {
    let folder = folder();
    // The same rows, but for a long tail of x.
    let long = |text: String| -> String {
        let cells = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
        let stretched = |line: &str| {
            let mut cells = cells(line);
            cells[1] = cells[1].parse::<f64>().map_or("x".to_owned(), |x| (2.0 * x).exp().to_string());
            cells.join(",") + "\n"
        };
        text.lines().map(stretched).collect()
    };
    folder.file("long.csv", long(rows(0, 150)));
    folder.file("long_new.csv", long(rows(150, 170)));
    let fit = |ranks: &str, file: &str| -> (Value, String) {
        let fit = ["attend", "fit", "y ~ x + z + g", "long.csv", "--heads", "3", "--ranks", ranks, "-o", file];
        let json = folder.done(&[&fit[..], &["--store-training", "--json", "--quiet"]].concat());
        (serde_json::from_str(&json).unwrap(), folder.done(&["attend", "predict", file, "long_new.csv"]))
    };
    let (chosen, predicted) = fit("auto", "auto.hat");
    assert_eq!(chosen["ranks"], true, "{chosen}");
    let tried =
        |ranks: bool| chosen["cross_validation"]["tried"].as_array().unwrap().iter().any(|t| t["ranks"] == ranks);
    assert!(tried(true) && tried(false));
    let scores = &chosen["normal_scores"]["x"];
    let count = |key: &str| scores[key].as_array().unwrap().len();
    assert!(count("values") == count("scores") && count("values") <= 67, "{scores}");
    assert_eq!(fit("yes", "yes.hat").1, predicted);
    let (plain, other) = fit("no", "no.hat");
    assert!(plain["ranks"] == false && plain["normal_scores"].is_null() && other != predicted);
    assert!(plain["r_squared_folds"].as_f64() < chosen["r_squared_folds"].as_f64());
    // Predictions do not know how long the tail is.
    let truth = predictions(&std::fs::read_to_string(folder.path("long_new.csv")).unwrap());
    let off = |found: &[Vec<f64>]| found.iter().zip(&truth).map(|(p, t)| (p[1] - t[0]).powi(2)).sum::<f64>();
    assert!(off(&predictions(&predicted)) < 0.5 * off(&predictions(&other)), "{predicted}");
    let text = folder.done(&["attend", "fit", "y ~ x + z + g", "long.csv", "--heads", "3", "--ranks", "yes"]);
    assert!(text.contains("3 heads by distance of ranks") && text.contains("normal scores of the input"), "{text}");
    folder.refused(
        &["attend", "fit", "y ~ x", "long.csv", "--ranks", "some"],
        2,
        &["--ranks is `some`", "auto, yes or no"],
    );
}

#[test]
fn given_penalties_say_what_r_squared_holds() {
    let folder = folder();
    let fit = ["attend", "fit", "y ~ x + z + g", "train.csv", "--penalty"];
    let told = |penalty: &str, heads: &str| folder.hat(&[&fit[..], &[penalty, "--heads", heads]].concat()).err;
    assert!(told("0.5", "13").contains("metrics have 78 numbers for 149 rows"), "{}", told("0.5", "13"));
    assert!(!told("0.5", "12").contains("metrics have"));
}

#[test]
fn nothing_is_printed_where_nothing_can_be_predicted() {
    let folder = folder();
    folder.done(&["attend", "fit", "y ~ x + g", "train.csv", "--penalty", "1", "--store-training", "-o", "m.hat"]);
    folder.done(&["fit", "y ~ x + g", "train.csv", "-o", "line.hat"]);
    folder.file("other.csv", "x,g\n1,c\n".to_owned());
    folder.file("none.csv", "x,g\n".to_owned());
    for model in [&["attend", "predict", "m.hat"][..], &["predict", "line.hat"]] {
        let Outcome { code, out, err } = folder.hat(&[model, &["other.csv"]].concat());
        assert!(code != 0 && out.is_empty(), "{out} {err}");
        let none = folder.done(&[model, &["none.csv"]].concat());
        assert!(none.starts_with("row,"), "{none}");
    }
}

#[test]
fn what_cannot_be_fitted_is_refused_with_the_way_out() {
    let folder = folder();
    let fit = ["attend", "fit", "y ~ x", "train.csv"];
    let with = |more: &[&'static str]| [&fit[..], more].concat();
    folder.refused(&with(&["--mask", "window:0"]), 2, &["window"]);
    folder.refused(&with(&["--mask", "sideways"]), 2, &["--mask is `sideways`", "block:COLUMN"]);
    folder.refused(&with(&["--mask", "block:nowhere"]), 2, &["nowhere"]);
    folder.refused(&with(&["--score", "cosine"]), 2, &["--score is `cosine`"]);
    folder.refused(&with(&["--precision", "half"]), 2, &["--precision is `half`"]);
    folder.refused(&with(&["--score", "polynomial:3"]), 2, &["2 or 4"]);
    folder.refused(&with(&["--penalty", "much"]), 2, &["--penalty is `much`"]);
    folder.refused(&with(&["--penalty", "-1"]), 2, &[]);
    folder.refused(&with(&["--folds", "1"]), 2, &["folds"]);
    folder.refused(
        &with(&["--mask", "block:g"]),
        2,
        &["within cross-validation", "number of blocks is 2", "--penalty"],
    );
    folder.refused(&with(&["-o", "nowhere/m.hat"]), 2, &["nowhere"]);
    folder.refused(&with(&["--steps", "18446744073709551615", "--penalty", "1e300"]), 2, &["10¹²"]);
    folder.refused(&with(&["--order", "day"]), 2, &["--mask is loo"]);
    folder.refused(&["attend", "fit", "y ~ 1", "train.csv"], 1, &["no column to attend by"]);
    folder.refused(&["attend", "fit", "cbind(y, z) ~ x", "train.csv"], 2, &["several targets"]);
    folder.refused(&["attend", "fit", "y ~ x | g", "train.csv"], 2, &["absorbed effects"]);
    folder.refused(&["attend", "fit", "y ~ x + nowhere", "train.csv"], 2, &["nowhere"]);
    folder.file("few.csv", "y,x\n1,2\n2,3\n");
    let few = ["attend", "fit", "y ~ x", "few.csv"];
    folder.refused(&few, 1, &["within cross-validation", "2 rows for 2 coefficients", "--no-linear", "--penalty"]);
    folder.refused(&[&few[..], &["--penalty", "1"]].concat(), 1, &["2 rows for 2 coefficients", "expected more rows"]);
    folder.file("text.csv", "y,x\n1,2\n2,oops\n3,5\n4,1\n");
    folder.refused(&["attend", "fit", "y ~ x", "text.csv"], 2, &["text.csv", "oops"]);
    let mut many = "y,x\n".to_owned();
    (0..20_001).for_each(|i| many += &format!("{},{}\n", i % 7, i % 11));
    folder.file("many.csv", many);
    folder.refused(&["attend", "fit", "y ~ x", "many.csv"], 2, &["20001 rows are more than 20000", "--sample 20000"]);
    folder.done(&["fit", "y ~ x", "train.csv", "-o", "ols.hat"]);
    folder.refused(&["attend", "predict", "ols.hat", "new.csv"], 2, &["not a usable attention regression"]);
    folder.done(&with(&["--penalty", "1", "-o", "m.hat", "--store-training", "--steps", "5", "--quiet"]));
    folder.refused(&["predict", "m.hat", "new.csv"], 2, &["m.hat is not a usable model"]);
    folder.refused(&["attend", "predict", "m.hat", "new.csv", "--interval", "--level", "2"], 2, &["--level"]);
    folder.refused(&["attend", "predict", "m.hat", "new.csv", "--level", "0.5"], 2, &["--interval"]);
    folder.refused(
        &["attend", "predict", "m.hat", "new.csv", "--interval", "--interval-folds", "1"],
        2,
        &["two at least"],
    );
    folder.refused(&["attend", "explain", "m.hat", "-", "--train", "-"], 2, &["standard input"]);
    folder.file("other.csv", "a,b\n1,2\n");
    folder.refused(&["attend", "predict", "m.hat", "other.csv"], 2, &["x"]);
    folder.refused(&["attend", "fit", "y ~ x", "train.csv", "-o", "train.csv"], 2, &["train.csv"]);
}

#[test]
fn rows_of_the_fit_in_another_order_and_rows_without_one_are_told() {
    let folder = folder();
    let text = rows(0, 80);
    let (header, lines) = text.split_once('\n').unwrap();
    let mut lines: Vec<&str> = lines.lines().collect();
    let written = |lines: &[&str]| format!("{header}\n{}\n", lines.join("\n"));
    folder.file("time.csv", written(&lines));
    let fit = ["attend", "fit", "y ~ x + z", "time.csv", "--heads", "1", "--penalty", "1", "--mask", "causal"];
    folder.done(&[&fit[..], &["-o", "t.hat"]].concat());
    let predict = ["attend", "predict", "t.hat", "new.csv", "--train"];
    let same = folder.hat(&[&predict[..], &["time.csv"]].concat());
    assert!(same.code == 0 && !same.err.contains("order"), "{}", same.err);
    lines.swap(40, 50);
    folder.file("turned.csv", written(&lines));
    let turned = folder.hat(&[&predict[..], &["turned.csv"]].concat());
    assert!(turned.code == 0 && turned.err.contains("rows of the fit in another order"), "{}", turned.err);
    // Sorted by a column they are in order again; a row that misses it is left out, and counted.
    lines.swap(40, 50);
    let days: Vec<String> = lines
        .iter()
        .enumerate()
        .map(|(i, line)| line.rsplit_once(',').unwrap().0.to_owned() + &format!(",{i}"))
        .collect();
    let mut days: Vec<&str> = days.iter().map(|line| &line[..]).collect();
    let lost = days[30].rsplit_once(',').unwrap().0.to_owned() + ",";
    days[30] = &lost;
    folder.file("days.csv", written(&days));
    days.reverse();
    folder.file("yad.csv", written(&days));
    let ordered = ["attend", "fit", "y ~ x + z", "days.csv", "--heads", "1", "--penalty", "1", "--mask", "causal"];
    let text = folder.done(&[&ordered[..], &["--order", "day", "-o", "o.hat"]].concat());
    assert!(text.contains("78 rows (2 left out for missing values)"), "{text}");
    let predict = ["attend", "predict", "o.hat", "new.csv", "--train"];
    let (a, b) =
        (folder.hat(&[&predict[..], &["days.csv"]].concat()), folder.hat(&[&predict[..], &["yad.csv"]].concat()));
    assert!(a.out == b.out && !b.err.contains("order"), "{}", b.err);
    // Of rows of the fit and others intervals are not those of rows that metrics have not seen.
    let more = folder.hat(&[&predict[..], &["days.csv", "train.csv", "--interval"]].concat());
    assert!(more.code == 0 && more.err.contains("has rows of the fit and others (78 then"), "{}", more.err);
    // Too few rows for a level: ends without end, which is said.
    let wide = folder.hat(&[&predict[..], &["days.csv", "--interval", "--level", "0.99", "--quiet"]].concat());
    assert!(
        wide.err.contains("too few for intervals of level 0.99") && wide.out.contains(",-inf,inf"),
        "{} {}",
        wide.err,
        wide.out
    );
}

#[test]
fn the_page_on_it_says_what_works() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("docs/attention-regression.md")).unwrap();
    let folder = Folder::new();
    std::fs::create_dir(folder.path("data")).unwrap();
    std::fs::copy(root.join("data/macro.csv"), folder.path("data/macro.csv")).unwrap();
    let commands: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("hat attend ")).collect();
    assert_eq!(commands.len(), 3);
    for command in commands {
        // (Words, but what is quoted is one.)
        let parts = command.split('\'').enumerate();
        let words: Vec<&str> = parts
            .flat_map(|(at, part)| if at % 2 == 1 { vec![part] } else { part.split_whitespace().collect() })
            .collect();
        folder.done(&[&["attend"], &words[..]].concat());
    }
    assert!(folder.path("p.parquet").exists());
}

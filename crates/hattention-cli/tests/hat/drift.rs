//! `hat drift`: the alarm, its exit codes, what it says, and what it refuses.

use serde_json::Value;

use crate::support::Folder;

impl Folder {
    fn fit(&self, formula: &str, more: &[&str]) {
        let outcome = self.hat(&[&["fit", formula, "train.csv", "-o", "m.hat"], more].concat());
        assert_eq!(outcome.code, 0, "{}", outcome.err);
    }

    /// Runs a command that must answer with this code.
    fn answers(&self, args: &[&str], code: i32) -> String {
        let outcome = self.hat(args);
        assert_eq!(outcome.code, code, "{args:?}: {} {}", outcome.out, outcome.err);
        assert_eq!(outcome.err, "", "{args:?}");
        outcome.out
    }

    fn json(&self, args: &[&str], code: i32) -> Value {
        serde_json::from_str(&self.answers(&[args, &["--json"]].concat(), code)).unwrap()
    }
}

/// Twelve uniform numbers less six are normal enough, and the same everywhere.
struct Source(u64);

impl Source {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 * 2f64.powi(-53)
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// Rows `y,a,b,g`: two measures, `b` about `shift` and of width `scale`, and a factor.
fn rows(seed: u64, count: usize, shift: f64, scale: f64) -> String {
    let mut source = Source(seed);
    let mut text = "y,a,b,g\n".to_owned();
    for _ in 0..count {
        let (a, b) = (source.normal(), 10.0 + shift + scale * source.normal());
        let g = ["u", "v", "w"][(3.0 * source.uniform()) as usize];
        text += &format!("{},{a},{b},{g}\n", 1.0 + 2.0 * a - b + source.normal());
    }
    text
}

#[test]
fn the_alarm_sounds_for_drift_only() {
    let folder = Folder::new();
    folder.file("train.csv", &rows(1, 600, 0.0, 1.0));
    folder.file("same.csv", &rows(2, 300, 0.0, 1.0));
    folder.file("other.csv", &rows(3, 300, 0.5, 1.3));
    folder.fit("y ~ a + b", &[]);
    let same = folder.answers(&["drift", "m.hat", "same.csv"], 0);
    assert!(same.starts_with("no drift (p = ") && same.contains("No single column moved"), "{same}");
    assert!(same.contains("300 rows against 600 rows of training, 2 columns") && !same.contains("CAUTION"), "{same}");
    let other = folder.answers(&["drift", "m.hat", "other.csv"], 3);
    assert!(other.starts_with("DRIFT (p ") && other.contains("Columns that moved, 1 of 2"), "{other}");
    assert!(other.contains("\n  b ") && !other.contains("\n  a "), "{other}");
    assert!(other.contains("Predictions of y") && other.contains("in row "), "{other}");

    let train = ["--train", "train.csv", "--permutations", "199"];
    let same = folder.json(&[&["drift", "m.hat", "same.csv"], &train[..]].concat(), 0);
    assert_eq!((&same["drift"], &same["method"]), (&Value::from(false), &Value::from("permutation")));
    let other = folder.json(&[&["drift", "m.hat", "other.csv"], &train[..]].concat(), 3);
    assert_eq!(other["p"], 1.0 / 200.0);
    assert_eq!(other["permutation"]["largest"], "mean of b");
    assert_eq!((&other["rows"], &other["training_rows"], &other["size"]), (&300.into(), &600.into(), &2.into()));
    assert_eq!(other["columns"][1]["name"], "b");
    assert_eq!((&other["columns"][0]["moved"], &other["columns"][1]["moved"]), (&false.into(), &true.into()));
    // The same model, with and without its rows: the same likelihood ratio, to the rounding of 600 keys.
    let alone = folder.json(&["drift", "m.hat", "other.csv"], 3);
    let statistic = |value: &Value| value["likelihood_ratio"]["statistic"].as_f64().unwrap();
    assert!((statistic(&alone) / statistic(&other) - 1.0).abs() < 1e-10);
    // Threads and batches do not show, seeds do.
    let again = [&["drift", "m.hat", "other.csv", "--batch-rows", "7", "--threads", "1"], &train[..]].concat();
    assert_eq!(folder.json(&again, 3), other);
    let seeded = folder.json(&[&["drift", "m.hat", "same.csv", "--seed", "9"], &train[..]].concat(), 0);
    assert_ne!(seeded["permutation"], same["permutation"]);
    // A stricter level.
    assert_eq!(folder.hat(&["drift", "m.hat", "same.csv", "--level", "0.999999"]).code, 3);
    let halves = ["drift", "m.hat", "train.csv", "--sql", "SELECT * FROM train WHERE g = 'u'"];
    let sql = ["--train", "train.csv", "--train-sql", "SELECT * FROM train WHERE g <> 'u'"];
    folder.answers(&[&halves[..], &sql[..]].concat(), 0);
}

#[test]
fn levels_and_constants() {
    let folder = Folder::new();
    folder.file("train.csv", &rows(4, 600, 0.0, 1.0));
    folder.fit("y ~ a + b + g", &[]);
    let batch = rows(5, 200, 0.0, 1.0);
    folder.file("new.csv", &batch.replacen(",u\n", ",zz\n", 3));
    let text = folder.answers(&["drift", "m.hat", "new.csv"], 3);
    assert!(text.starts_with("DRIFT (3 rows with levels never seen in training; otherwise none: p = "), "{text}");
    assert!(text.contains("`g=zz`"), "{text}");
    let value = folder.json(&["drift", "m.hat", "new.csv", "--train", "train.csv"], 3);
    assert_eq!(value["unseen"]["rows"], 3);
    assert_eq!(value["unseen"]["levels"][0]["level"], "zz");
    folder.file("allnew.csv", "a,b,g\n1,2,zz\n2,3,yy\n");
    let text = folder.answers(&["drift", "m.hat", "allnew.csv"], 3);
    assert!(text.contains("too few to compare") && text.contains("`g=yy`, `g=zz`"), "{text}");
    assert_eq!(folder.json(&["drift", "m.hat", "allnew.csv"], 3)["p"], Value::Null);

    // A measure that stands still is drift for certain; a level that is not there is a matter of chance.
    let mut source = Source(6);
    let stuck: String = (0..50).map(|i| format!("{},10,{}\n", source.normal(), ["u", "v", "w"][i % 3])).collect();
    folder.file("stuck.csv", &format!("a,b,g\n{stuck}"));
    let text = folder.answers(&["drift", "m.hat", "stuck.csv"], 3);
    assert!(text.contains("`b` is constant") && text.contains("drift is certain"), "{text}");
    let lacking: String = batch.lines().filter(|line| !line.ends_with('w')).map(|line| format!("{line}\n")).collect();
    folder.file("lacking.csv", &lacking);
    let text = folder.answers(&["drift", "m.hat", "lacking.csv"], 3);
    assert!(text.contains("`gw` is constant") && text.contains("levels that the batch lacks"), "{text}");
}

#[test]
fn missing_values_are_counted() {
    let folder = Folder::new();
    folder.file("train.csv", &rows(7, 400, 0.0, 1.0));
    folder.fit("y ~ a + b", &[]);
    let batch = rows(8, 200, 0.0, 1.0) + "1,NA,2,u\n1,NA,2,u\n";
    folder.file("batch.csv", &batch);
    let text = folder.answers(&["drift", "m.hat", "batch.csv"], 0);
    assert!(text.contains("Left out for missing values: 2 rows (0.990 % of the batch"), "{text}");
    assert_eq!(folder.json(&["drift", "m.hat", "batch.csv"], 0)["missing"]["rows"], 2);
}

#[test]
fn bad_input_is_refused() {
    let folder = Folder::new();
    folder.file("train.csv", &rows(9, 300, 0.0, 1.0));
    folder.file("batch.csv", &rows(10, 100, 0.0, 1.0));
    folder.fit("y ~ a + b", &[]);
    folder.refused(&["drift", "train.csv", "batch.csv"], 2, &["train.csv is not a usable model", "hint:"]);
    folder.refused(&["drift", "nowhere.hat", "batch.csv"], 2, &["nowhere.hat"]);
    folder.refused(&["drift", "m.hat", "nowhere.csv"], 2, &["nowhere.csv"]);
    folder.file("none.csv", "a,b\n");
    folder.refused(&["drift", "m.hat", "none.csv"], 1, &["none.csv has no rows"]);
    folder.file("gone.csv", "a,b\nNA,1\n2,NA\n");
    folder.refused(&["drift", "m.hat", "gone.csv"], 1, &["all 2 have missing values"]);
    folder.file("one.csv", "a,b\n1,2\n");
    folder.refused(&["drift", "m.hat", "one.csv"], 1, &["1 row for 2 columns; expected at least 4", "--train"]);
    let outcome = folder.hat(&["drift", "m.hat", "one.csv", "--train", "train.csv"]);
    assert_eq!(outcome.code, 3, "eight standard deviations: {} {}", outcome.out, outcome.err);
    folder.file("column.csv", "a,c\n1,2\n");
    folder.refused(&["drift", "m.hat", "column.csv"], 2, &["`b`"]);
    folder.file("infinite.csv", "a,b\n1,2\n2,inf\n3,4\n4,5\n");
    folder.refused(&["drift", "m.hat", "infinite.csv"], 2, &["row 2", "`b`", "inf"]);
    folder.file("nan.csv", &(rows(11, 50, 0.0, 1.0) + "1,NaN,2,u\n"));
    assert_eq!(folder.json(&["drift", "m.hat", "nan.csv"], 0)["missing"]["rows"], 1);
    for level in ["0", "1", "-1", "NaN"] {
        folder.refused(&["drift", "m.hat", "batch.csv", &format!("--level={level}")], 2, &["--level"]);
    }
    let train = ["--train", "train.csv"];
    let few = [&["drift", "m.hat", "batch.csv", "--permutations", "9"], &train[..]].concat();
    folder.refused(&few, 2, &["9 permutations", "0.05", "--permutations 59"]);
    let many = [&["drift", "m.hat", "batch.csv", "--permutations", "99999999"], &train[..]].concat();
    folder.refused(&many, 2, &["99999999", "2 GiB", "hint: ask for fewer"]);
    folder.refused(&["drift", "m.hat", "batch.csv", "--train", "none.csv"], 1, &["none.csv has no usable rows"]);
    folder.refused(&["drift", "m.hat", "-", "--train", "-"], 2, &["standard input"]);
}

#[test]
fn models_whose_training_rows_cannot_be_told() {
    let folder = Folder::new();
    folder.file("train.csv", &rows(12, 300, 0.0, 1.0));
    folder.file("batch.csv", &rows(13, 100, 0.0, 1.0));
    let cases: [(&str, &[&str], &str); 4] = [
        ("y ~ a + b", &["--ridge", "10"], "ridge"),
        ("y ~ a + b", &["--components", "1"], "components"),
        ("y ~ a + b - 1", &[], "intercept"),
        ("y ~ a", &["--weights", "b"], "weighted"),
    ];
    for (formula, more, word) in cases {
        folder.fit(formula, more);
        folder.refused(&["drift", "m.hat", "batch.csv"], 2, &[word, "--train"]);
        let value = folder.json(&["drift", "m.hat", "batch.csv", "--train", "train.csv", "--permutations", "99"], 0);
        assert_eq!(value["method"], "permutation", "{word}");
    }
    folder.fit("y ~ 1", &[]);
    folder.refused(&["drift", "m.hat", "batch.csv"], 2, &["no columns"]);
    folder.fit("y ~ a + b + I(2*a)", &["--aliased", "drop"]);
    let text = folder.answers(&["drift", "m.hat", "batch.csv"], 0);
    assert!(text.contains("dropped them as dependent: `I(2 * a)`"), "{text}");
    // Weights of mean one, by their sum no weights at all.
    let text = rows(14, 300, 0.0, 1.0);
    let weighted = text.lines().enumerate().map(|(i, line)| match i {
        0 => format!("{line},share\n"),
        _ => format!("{line},{}\n", [0.5, 1.5][i % 2]),
    });
    folder.file("train.csv", &weighted.collect::<String>());
    folder.fit("y ~ a", &["--weights", "share"]);
    folder.refused(&["drift", "m.hat", "batch.csv"], 2, &["weighted", "--train"]);
}

#[test]
fn dependent_and_wide_training_rows_are_permuted() {
    let folder = Folder::new();
    // `c` is twice `a`, in training as in the batches, except in the last.
    let with = |text: String, own: bool| {
        let line = |(i, line): (usize, &str)| {
            let a: f64 = line.split(',').nth(1).unwrap().parse().unwrap();
            format!("{line},{:?}\n", 2.0 * a + if own { (i % 7) as f64 } else { 0.0 })
        };
        text.lines().next().unwrap().to_owned()
            + ",c\n"
            + &text.lines().skip(1).enumerate().map(line).collect::<String>()
    };
    folder.file("train.csv", with(rows(1, 300, 0.0, 1.0), false));
    folder.file("same.csv", with(rows(2, 150, 0.0, 1.0), false));
    folder.file("other.csv", with(rows(3, 150, 0.7, 1.3), false));
    folder.file("loose.csv", with(rows(4, 150, 0.0, 1.0), true));
    folder.fit("y ~ a + b + c", &["--ridge", "1"]);
    let train = ["--train", "train.csv", "--permutations", "199"];
    for (batch, code) in [("same.csv", 0), ("other.csv", 3), ("loose.csv", 3)] {
        let text = folder.answers(&[&["drift", "m.hat", batch], &train[..]].concat(), code);
        assert!(text.contains("In the training rows, columns depend on each other: "), "{text}");
        assert!(text.contains("·a") && text.contains("·c") && text.contains("1 direction without variance"), "{text}");
        let found = folder.json(&[&["drift", "m.hat", batch], &train[..]].concat(), code);
        assert_eq!((&found["method"], &found["dependent"][0]["variance"]), (&"permutation".into(), &0.0.into()));
        assert!(found["p"].is_number() && found["likelihood_ratio"]["p"].is_number(), "{found}");
    }
    // More columns than rows: no likelihood ratio, and a permutation test.
    let wide = |seed: u64, count: usize, shift: f64| {
        let mut source = Source(seed);
        let names: Vec<String> = (0..20).map(|j| format!("x{j}")).collect();
        let mut text = format!("y,{}\n", names.join(","));
        for _ in 0..count {
            let cells: Vec<String> = (0..21).map(|_| (shift + source.normal()).to_string()).collect();
            text += &format!("{}\n", cells.join(","));
        }
        (text, names.join(" + "))
    };
    let (text, terms) = wide(5, 10, 0.0);
    folder.file("train.csv", text);
    folder.file("same.csv", wide(6, 30, 0.0).0);
    folder.file("other.csv", wide(7, 30, 2.0).0);
    folder.fit(&format!("y ~ {terms}"), &["--ridge", "1"]);
    for (batch, code) in [("same.csv", 0), ("other.csv", 3)] {
        let found = folder.json(&[&["drift", "m.hat", batch], &train[..]].concat(), code);
        assert!(found["likelihood_ratio"].is_null() && found["p"].is_number(), "{found}");
        assert_eq!(found["dependent"].as_array().unwrap().len(), 11);
    }
}

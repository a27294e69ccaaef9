//! Absorbed effects: `hat fit 'y ~ x | g + h'`.

use serde_json::Value;

use crate::support::{Folder, data, hat_json, number, reference};

/// pyfixest's effects are solved for to 1e-12 of a column's length; what follows from them loses a digit or two.
const PYFIXEST: f64 = 1e-10;
/// Two ways of this program, both to the last bits: a few operations on them.
const OURSELVES: f64 = 1e-12;

fn close(got: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((got - expected).abs() <= tolerance * expected.abs(), "{what}: {got} for {expected}");
}

fn coefficients(fit: &Value) -> &Vec<Value> {
    fit["coefficients"].as_array().unwrap()
}

/// Arguments of a reference model's fit.
fn arguments<'a>(model: &'a Value, kind: &'a str) -> Vec<&'a str> {
    let mut args = vec!["fit", model["formula"].as_str().unwrap(), "data/flights.parquet", "--json", "--vcov", kind];
    if let Some(weights) = model["weights"].as_str() {
        args.extend(["--weights", weights]);
    }
    args
}

#[test]
fn flights_are_as_pyfixest_has_them() {
    let reference = reference("absorbed.json");
    for (key, model) in reference["models"].as_object().unwrap() {
        for (kind, expected) in model["std_errors"].as_object().unwrap() {
            let place = format!("{key} {kind}");
            let fit = hat_json(&arguments(model, kind));
            assert_eq!(fit["n"], model["n"], "{place}");
            assert_eq!(
                fit["absorption"]["coefficients"],
                number(&fit["effective_df"]) - coefficients(&fit).len() as f64
            );
            for (k, c) in coefficients(&fit).iter().enumerate() {
                close(number(&c["estimate"]), number(&model["estimate"][k]), PYFIXEST, &place);
                close(number(&c["std_error"]), number(&expected[k]), PYFIXEST, &place);
                assert_eq!(c["digits"], 15.9, "{place}");
            }
            for key in ["r_squared", "adj_r_squared", "within_r_squared"] {
                close(number(&fit[key]), number(&model[key]), PYFIXEST, &place);
            }
            // (pyfixest sorts its effects by their levels.)
            let sorted = |levels: Vec<u64>| {
                let mut levels = levels;
                levels.sort_unstable();
                levels
            };
            let levels = fit["absorbed"].as_array().unwrap().iter().map(|e| e["levels"].as_u64().unwrap()).collect();
            let expected = model["levels"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
            assert_eq!(sorted(levels), sorted(expected), "{place}");
            // The interval is that of the t distribution with as many degrees of freedom.
            let degrees = number(&model["degrees"][kind]["t"]);
            let first = &coefficients(&fit)[0];
            let half = number(&first["ci_high"]) - number(&first["estimate"]);
            let quantile = hattention::fit::distribution::t_quantile(0.975, degrees);
            close(half / number(&first["std_error"]), quantile, 1e-9, &place);
        }
    }
}

#[test]
fn predictions_are_as_pyfixest_has_them() {
    let folder = Folder::new();
    let flights = data("data/flights.parquet");
    let model = &reference("absorbed.json")["models"]["two"];
    folder.done(&["fit", model["formula"].as_str().unwrap(), &flights, "-o", "m.hat"]);
    // The reference counts rows that have an arrival delay.
    let query = "SELECT * FROM flights WHERE arr_delay IS NOT NULL";
    let out = folder.done(&["predict", "m.hat", &flights, "--sql", query]);
    let rows: Vec<f64> = out.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(rows.len() as u64, model["n"].as_u64().unwrap());
    for (row, expected) in [0, 1, 17, 1000, 50_000, 300_000].into_iter().zip(model["fitted"].as_array().unwrap()) {
        // (Fitted values are sums of terms some ten times as large.)
        close(rows[row], number(expected), 1e-9, &format!("row {row}"));
    }
}

#[test]
fn effects_are_factors_that_are_not_listed() {
    let (left, right) = ("arr_delay ~ dep_delay + distance", "data/flights.parquet");
    let absorbed = hat_json(&["fit", &format!("{left} | carrier + origin"), right, "--json", "--vif"]);
    let listed = hat_json(&["fit", &format!("{left} + carrier + origin"), right, "--json", "--vif"]);
    for (c, expected) in coefficients(&absorbed).iter().zip(&coefficients(&listed)[1..]) {
        assert_eq!(c["name"], expected["name"]);
        for key in ["estimate", "std_error", "t", "ci_low", "ci_high"] {
            close(number(&c[key]), number(&expected[key]), OURSELVES, key);
        }
    }
    for key in ["sigma", "r_squared", "adj_r_squared", "df_residual", "log_likelihood", "aic", "bic", "effective_df"] {
        close(number(&absorbed[key]), number(&listed[key]), OURSELVES, key);
    }
    assert_eq!(coefficients(&absorbed).len(), 2);
}

/// Rows with effects of text and of numbers, some missing; the last level of `g` has one row.
fn table(folder: &Folder) {
    let mut text = "y,x,z,g,h,w\n".to_owned();
    for i in 0..400u32 {
        let (g, h) = (i * i % 7, i % 5);
        let x = (i as f64 * 0.7).sin() + g as f64;
        let y = if i % 50 == 3 {
            String::new()
        } else {
            format!("{}", 2.0 * x + g as f64 - 0.5 * h as f64 + (i as f64).cos())
        };
        text.push_str(&format!("{y},{x},{},g{g},{},{}\n", (i as f64 * 1.3).cos(), 10 + h, 1 + i % 3));
    }
    text.push_str("1,2,0.5,alone,10,1\n");
    folder.file("t.csv", text);
}

#[test]
fn neither_threads_nor_batches_nor_order_show() {
    let folder = Folder::new();
    table(&folder);
    let text = std::fs::read_to_string(folder.path("t.csv")).unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    let mut backwards: Vec<&str> = rows.lines().collect();
    backwards.reverse();
    folder.file("back.csv", format!("{header}\n{}\n", backwards.join("\n")));
    let (some, rest) = backwards.split_at(150);
    folder.file("a.csv", format!("{header}\n{}\n", some.join("\n")));
    folder.file("b.csv", format!("{header}\n{}\n", rest.join("\n")));
    for vcov in ["iid", "HC1", "cluster:h", "cluster:g+h"] {
        for formula in ["y ~ x + z | g", "y ~ x + z | g + h"] {
            let fit = |more: &[&str], name: &str| {
                folder.done(&[&["fit", formula, "--vcov", vcov, "--weights", "w", "-o", name], more].concat());
                std::fs::read(folder.path(name)).unwrap()
            };
            let whole = fit(&["t.csv"], "whole.hat");
            assert!(fit(&["t.csv", "--threads", "1"], "one.hat") == whole, "{formula} {vcov}: threads");
            assert!(fit(&["t.csv", "--batch-rows", "7"], "batches.hat") == whole, "{formula} {vcov}: batches");
            assert!(fit(&["back.csv"], "back.hat") == whole, "{formula} {vcov}: order");
            assert!(fit(&["a.csv", "b.csv"], "files.hat") == whole, "{formula} {vcov}: files");
        }
    }
}

#[test]
fn models_predict_with_their_effects() {
    let folder = Folder::new();
    table(&folder);
    let predict = |model: &str| -> Vec<String> {
        let out = folder.done(&["predict", model, "t.csv"]);
        out.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().to_owned()).collect()
    };
    folder.done(&["fit", "y ~ x + z | g + h", "t.csv", "-o", "absorbed.hat"]);
    folder.done(&["fit", "y ~ x + z + g + C(h)", "t.csv", "-o", "listed.hat"]);
    let (absorbed, listed) = (predict("absorbed.hat"), predict("listed.hat"));
    assert_eq!(absorbed.len(), 401);
    for (a, b) in absorbed.iter().zip(&listed) {
        let (a, b): (f64, f64) = (a.parse().unwrap(), b.parse().unwrap());
        assert!((a - b).abs() < 1e-12, "{a} for {b}");
    }
    // The row that alone has its level is kept, and fitted exactly.
    assert!((absorbed[400].parse::<f64>().unwrap() - 1.0).abs() < 1e-12);
    // A number is the same level in whatever type.
    folder.file("q.csv", "x,z,g,h\n1,0,g1,10.0\n1,0,g9,10\n1,0,g1,\n1,0,g1,99\n1,0,g1,10\n");
    let lines = ["predict", "absorbed.hat", "q.csv"];
    folder.refused(&lines, 2, &["row 2", "`g` is \"g9\"", "levels of the model", "--unseen null"]);
    let out = folder.done(&[&lines[..], &["--unseen", "null"]].concat());
    let values: Vec<&str> = out.lines().skip(1).map(|line| line.split(',').nth(1).unwrap()).collect();
    assert_eq!([values[1], values[2], values[3]], ["", "", ""]);
    assert!(!values[0].is_empty() && values[0] == values[4]);
    assert!(folder.done(&["test", "absorbed.hat", "x = 2"]).contains("x = 2"));
    assert!(folder.done(&["test", "absorbed.hat", "--terms"]).contains("z"));
}

#[test]
fn labels_that_look_like_numbers_stay_labels() {
    let folder = Folder::new();
    let rows: String = (0..30).map(|i| format!("{},{},{}\n", i * i % 11, i % 7, ["007", "7", "a"][i % 3])).collect();
    folder.file("t.csv", format!("y,x,g\n{rows}"));
    folder.done(&["fit", "y ~ x | g", "t.csv", "-o", "m.hat"]);
    folder.file("q.csv", "x,g\n1,007\n1,7\n");
    let out = folder.done(&["predict", "m.hat", "q.csv"]);
    let values: Vec<&str> = out.lines().skip(1).map(|line| line.split(',').nth(1).unwrap()).collect();
    assert_ne!(values[0], values[1]);
}

#[test]
fn columns_that_effects_contain_are_refused_or_dropped() {
    let folder = Folder::new();
    table(&folder);
    let twice = ["fit", "y ~ x + h | g + h", "t.csv"];
    folder.refused(&twice, 1, &["`h` depends on `g`, `h`", "--aliased drop"]);
    let out = folder.done(&[&twice[..], &["--aliased", "drop", "--json"]].concat());
    let fit: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(fit["aliased"], serde_json::json!(["h"]));
    assert!(coefficients(&fit)[1]["estimate"].is_null());
    let alone: Value = serde_json::from_str(&folder.done(&["fit", "y ~ x | g + h", "t.csv", "--json"])).unwrap();
    assert_eq!(coefficients(&fit)[0], coefficients(&alone)[0]);
}

#[test]
fn the_table_names_effects_and_levels() {
    let folder = Folder::new();
    table(&folder);
    let out = folder.done(&["fit", "y ~ x | g + h", "t.csv", "--vcov", "cluster:g"]);
    for line in ["Effects taken out: g (5 levels, nested in the clusters), h (5 levels); 9 coefficients", "within: "] {
        assert!(out.contains(line), "no `{line}` in {out}");
    }
    assert!(out.contains("(tolerance 1e-16)") && !out.contains("(Intercept)"), "{out}");
    let fit: Value =
        serde_json::from_str(&folder.done(&["fit", "y ~ x | g + h", "t.csv", "--vcov", "cluster:g", "--json"]))
            .unwrap();
    let expected = serde_json::json!([
        {"name": "g", "levels": 5, "nested": true}, {"name": "h", "levels": 5, "nested": false}
    ]);
    assert_eq!(fit["absorbed"], expected);
    let solution = &fit["absorption"];
    assert!(number(&solution["reached"]) <= number(&solution["tolerance"]), "{solution}");
    assert_eq!((&solution["coefficients"], &solution["parts"]), (&serde_json::json!(9), &serde_json::json!(1)));
}

#[test]
fn what_does_not_go_with_effects_is_refused_by_name() {
    let folder = Folder::new();
    table(&folder);
    folder.done(&["fit", "y ~ x | g", "t.csv", "-o", "m.hat"]);
    let fit = |formula: &'static str, more: &[&'static str]| [&["fit", formula, "t.csv"], more].concat();
    let cases: [(Vec<&str>, &[&str]); 13] = [
        (fit("y ~ x | g", &["--ridge", "1"]), &["--ridge with absorbed effects", "C(g)"]),
        (fit("y ~ x | g", &["--components", "1"]), &["--components with absorbed effects", "C(g)"]),
        (fit("y ~ x | g", &["--aliased", "min-norm"]), &["--aliased min-norm", "--aliased drop"]),
        (fit("y ~ x | g", &["--vcov", "HC2"]), &["--vcov HC2", "HC1"]),
        (fit("y ~ x | g", &["--vcov", "HC3"]), &["--vcov HC3", "HC1"]),
        (fit("y ~ x | g", &["--vcov", "HAC:2"]), &["--vcov HAC:2", "cluster"]),
        (fit("y ~ poly(x, 2) | g", &[]), &["poly(x, k)", "poly(x, k, raw)"]),
        (fit("y ~ x | nobody", &[]), &["unknown column `nobody`"]),
        (fit("y ~ x | y", &[]), &["`y` stands on both sides"]),
        (fit("y ~ x | g^h", &[]), &["combinations of two columns"]),
        (
            vec!["predict", "m.hat", "t.csv", "--interval", "confidence"],
            &["--interval of a model with absorbed effects"],
        ),
        (vec!["explain", "m.hat", "t.csv", "--train", "t.csv"], &["absorbed effects", "C(g)"]),
        (vec!["drift", "m.hat", "t.csv"], &["absorbed effects", "C(g)"]),
    ];
    for (args, words) in cases {
        folder.refused(&args, 2, words);
    }
    folder.refused(&["transformer", "build", "m.hat", "-o", "w.safetensors"], 2, &["absorbed effects"]);
    folder.refused(&["transformer", "build", "y ~ x | g", "t.csv", "-o", "w.safetensors"], 2, &["absorbed effects"]);
    folder.file("few.csv", "y,x,g\n1,2,a\n2,3,b\n");
    folder.refused(&["fit", "y ~ x | g", "few.csv"], 1, &["2 rows for 3 coefficients", "effects of fewer levels"]);
}

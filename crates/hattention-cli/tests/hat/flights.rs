//! The New York flights against exact reference values (`reference/flights_exact.json`).

use serde_json::Value;

use crate::support::{hat_in, hat_json as hat, number, root};

fn reference() -> Value {
    crate::support::reference("flights_exact.json")
}

fn close(got: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((got - expected).abs() <= tolerance * expected.abs(), "{what}: {got} for {expected}");
}

/// Compares a fit with a reference model; the reference names factors as R does, and so do we.
fn compare(fit: &Value, model: &Value, what: &str) {
    let coefficients = fit["coefficients"].as_array().unwrap();
    let names = model["names"].as_array().unwrap();
    assert_eq!(coefficients.len(), names.len(), "{what}");
    for (k, c) in coefficients.iter().enumerate() {
        let place = format!("{what} {}", c["name"]);
        close(number(&c["estimate"]), number(&model["estimate"][k]), 1e-14, &place);
        close(number(&c["std_error"]), number(&model["std_error"][k]), 1e-13, &place);
        assert_eq!(c["digits"], 15.9, "{place}");
    }
    for key in ["sigma", "r_squared", "adj_r_squared", "log_likelihood", "aic", "bic", "df_residual"] {
        close(number(&fit[key]), number(&model[key]), 1e-13, &format!("{what} {key}"));
    }
    close(number(&fit["f"]["statistic"]), number(&model["f"]["statistic"]), 1e-12, &format!("{what} F"));
}

#[test]
fn coefficients_errors_and_criteria_are_exact() {
    let reference = reference();
    let models = &reference["models"];
    for key in ["a", "b", "c", "d"] {
        let model = &models[key];
        let mut args = vec!["fit", model["formula"].as_str().unwrap(), "data/flights.parquet", "--json"];
        if let Some(weights) = model["weights"].as_str() {
            args.extend(["--weights", weights]);
        }
        let fit = hat(&args);
        assert_eq!(fit["n"], model["n"], "{key}");
        compare(&fit, model, key);
    }
    let both = hat(&["fit", "cbind(arr_delay, dep_delay) ~ distance + origin", "data/flights.parquet", "--json"]);
    for target in both["targets"].as_array().unwrap() {
        let key = format!("e.{}", target["name"].as_str().unwrap());
        compare(target, &models[&key], &key);
    }
}

#[test]
fn robust_and_clustered_errors_are_right() {
    let reference = reference();
    for key in ["a", "b", "c"] {
        let model = &reference["models"][key];
        for (kind, expected) in model["std_errors"].as_object().unwrap() {
            let mut args =
                vec!["fit", model["formula"].as_str().unwrap(), "data/flights.parquet", "--json", "--vcov", kind];
            if let Some(weights) = model["weights"].as_str() {
                args.extend(["--weights", weights]);
            }
            let fit = hat(&args);
            for (c, se) in fit["coefficients"].as_array().unwrap().iter().zip(expected.as_array().unwrap()) {
                let place = format!("{key} {kind} {}", c["name"]);
                match se.as_f64() {
                    Some(se) => close(number(&c["std_error"]), se, 1e-10, &place),
                    None => assert!(c["std_error"].is_null(), "{place}"),
                }
            }
        }
    }
}

#[test]
fn predictions_and_diagnostics_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("a.hat");
    let model = model.to_str().unwrap();
    let reference = reference();
    let expected = &reference["models"]["a"]["first_rows"];
    let formula = reference["models"]["a"]["formula"].as_str().unwrap();
    hat(&["fit", formula, "data/flights.parquet", "--json", "-o", model]);
    for (kind, low, high) in
        [("confidence", "confidence_low", "confidence_high"), ("prediction", "prediction_low", "prediction_high")]
    {
        let args = ["predict", model, "data/flights.parquet", "--augment", "--interval", kind];
        let output = hat_in(&root()).args(args).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap().split(',').collect();
        let column = |name: &str| header.iter().position(|h| *h == name).unwrap();
        let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
        assert_eq!(rows.len(), 336_776, "one row out for every row in");
        for (row, cells) in rows.iter().take(20).enumerate() {
            for (name, key, tolerance) in [
                ("prediction", "fitted", 1e-13),
                ("residual", "residual", 1e-13),
                ("leverage", "leverage", 1e-11),
                ("loo_residual", "leave_one_out_residual", 1e-12),
                ("cooks_distance", "cooks_distance", 1e-11),
                ("low", low, 1e-12),
                ("high", high, 1e-12),
            ] {
                let got: f64 = cells[column(name)].parse().unwrap();
                close(got, number(&expected[key][row]), tolerance, &format!("row {row} {name}"));
            }
        }
        // PRESS over all rows, and the largest leverage, against the reference.
        let residuals = rows.iter().filter_map(|cells| cells[column("loo_residual")].parse::<f64>().ok());
        close(residuals.map(|e| e * e).sum(), number(&reference["models"]["a"]["press"]), 1e-11, "PRESS");
        let leverages = rows.iter().filter_map(|cells| cells[column("leverage")].parse::<f64>().ok());
        close(leverages.fold(0.0, f64::max), number(&reference["models"]["a"]["max_leverage"]), 1e-10, "leverage");
        // Rows with missing values are there, and empty.
        assert!(rows.iter().any(|cells| cells[column("prediction")].is_empty()));
    }
}

#[test]
fn term_tests_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("a.hat");
    let model = model.to_str().unwrap();
    let reference = reference();
    let a = &reference["models"]["a"];
    for kind in ["iid", "HC1", "cluster:dest"] {
        hat(&["fit", a["formula"].as_str().unwrap(), "data/flights.parquet", "--json", "-o", model, "--vcov", kind]);
        let tests = hat(&["test", model, "--terms", "--json"]);
        for test in tests["tests"].as_array().unwrap() {
            let name = test["name"].as_str().unwrap();
            close(
                number(&test["statistic"]),
                number(&a["wald_terms"][name]["f"][kind]),
                1e-9,
                &format!("{kind} {name}"),
            );
        }
    }
}

#[test]
fn explained_weights_add_up_to_the_prediction() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("a.hat");
    let model = model.to_str().unwrap();
    let formula = "arr_delay ~ dep_delay + distance + hour + carrier + origin";
    hat(&["fit", formula, "data/flights.parquet", "--json", "-o", model]);
    let explained = hat(&[
        "explain",
        model,
        "data/flights.parquet",
        "--train",
        "data/flights.parquet",
        "--limit",
        "3",
        "--top",
        "4",
        "--json",
    ]);
    let queries = explained["queries"].as_array().unwrap();
    assert_eq!(queries.len(), 3);
    for query in queries {
        close(number(&query["weighted_sum"]), number(&query["prediction"]), 1e-9, "Σ ω y");
        close(number(&query["leverage_sum"]), 1.0, 1e-9, "Σ ω");
        // Σω² = ‖q‖² for least squares: (Σω)²/Σω² is its reciprocal.
        close(number(&query["effective_rows"]), 1.0 / number(&query["query_norm"]), 1e-9, "Σ ω²");
        let top = query["top"].as_array().unwrap();
        assert_eq!(top.len(), 4);
        let weights: Vec<f64> = top.iter().map(|t| number(&t["weight"]).abs()).collect();
        assert!(weights.is_sorted_by(|a, b| a >= b));
    }
}

#[test]
fn results_have_the_same_bits_however_they_are_computed() {
    let formula = "arr_delay ~ poly(dep_delay, 3)*origin + distance*origin + carrier";
    let base = ["fit", formula, "data/flights.parquet", "--json", "--vcov", "cluster:dest"];
    let one = hat(&base);
    for more in [
        &["--threads", "1"][..],
        &["--threads", "4", "--batch-rows", "1000"],
        &["--batch-rows", "1000000"],
        &["--sql", "SELECT * FROM flights ORDER BY distance, flight"],
    ] {
        let args: Vec<&str> = base.iter().chain(more).copied().collect();
        assert_eq!(one, hat(&args), "{more:?}");
    }
}

#[test]
fn variance_inflation_is_that_of_each_column_on_the_others() {
    let rows = ["--sql", "SELECT * FROM flights WHERE arr_delay IS NOT NULL", "--json"];
    let fit =
        |formula: &str, more: &[&str]| hat(&[&["fit", formula, "data/flights.parquet"], &rows[..], more].concat());
    let all = fit("arr_delay ~ dep_delay + distance + hour + origin", &["--vif"]);
    let coefficients = all["coefficients"].as_array().unwrap();
    assert!(coefficients[0]["vif"].is_null());
    for (k, (target, others)) in [
        ("dep_delay", "distance + hour + origin"),
        ("distance", "dep_delay + hour + origin"),
        ("hour", "dep_delay + distance + origin"),
    ]
    .into_iter()
    .enumerate()
    {
        let r_squared = number(&fit(&format!("{target} ~ {others}"), &[])["r_squared"]);
        close(number(&coefficients[k + 1]["vif"]), 1.0 / (1.0 - r_squared), 1e-13, target);
    }
    // It is a column of the table too, and refused where it has no meaning.
    let table =
        hat_in(&root()).args(["fit", "arr_delay ~ hour + distance", "data/flights.parquet", "--vif"]).output().unwrap();
    assert!(String::from_utf8_lossy(&table.stdout).lines().nth(2).is_some_and(|header| header.ends_with("VIF")));
    let ridge = hat_in(&root())
        .args(["fit", "arr_delay ~ hour + distance", "data/flights.parquet", "--vif", "--ridge", "1"])
        .output()
        .unwrap();
    assert_eq!(ridge.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ridge.stderr).contains("hint: leave out --vif"));
}

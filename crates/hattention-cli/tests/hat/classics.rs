//! A matrix of formulas, weights and covariances against R (`reference/classics.json`), and ridge and principal
//! components against 50-digit arithmetic (`reference/ridge_pcr.json`).

use serde_json::Value;

use crate::support::{hat_in, hat_json as hat, number, reference, root};

/// R's doubles carry about this much of rounding on these small sets (a 50-digit recomputation found at most 1e-11).
const R_TOLERANCE: f64 = 2e-10;

fn close(got: &Value, expected: &Value, tolerance: f64, scale: f64, what: &str) {
    let (got, expected) = (number(got), number(expected));
    assert!((got - expected).abs() <= tolerance * expected.abs().max(scale), "{what}: {got} for {expected}");
}

#[test]
fn formulas_weights_and_covariances_are_those_of_r() {
    let reference = reference("classics.json");
    let mut compared = 0;
    for case in reference["cases"].as_array().unwrap() {
        let data = format!("reference/data/{}.csv", case["data"].as_str().unwrap());
        let formula = case["formula"].as_str().unwrap();
        for (kind, errors) in case["std_errors"].as_object().unwrap() {
            let what = format!("{formula} weights {} {kind}", case["weights"]);
            let mut args = vec!["fit", formula, &data, "--json", "--aliased", "drop", "--vcov", kind];
            if let Some(weights) = case["weights"].as_str() {
                args.extend(["--weights", weights]);
            }
            let fit = hat(&args);
            let coefficients = fit["coefficients"].as_array().unwrap();
            let names: Vec<String> = coefficients.iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect();
            let in_r =
                case["names"].as_array().unwrap().iter().map(|n| n.as_str().unwrap().replace("raw = TRUE", "raw"));
            let expected: Vec<String> = in_r.collect();
            assert_eq!(names, expected, "{what}");
            for (k, c) in coefficients.iter().enumerate() {
                let what = format!("{what} {}", c["name"]);
                if case["estimate"][k].is_null() {
                    assert!(c["estimate"].is_null() && c["std_error"].is_null(), "{what}: {c}");
                    continue;
                }
                close(&c["estimate"], &case["estimate"][k], R_TOLERANCE, 1e-9, &what);
                if errors[k].is_null() {
                    assert!(c["std_error"].is_null(), "{what}: {c}");
                } else {
                    // A robust error that is zero by algebra is the root of rounding.
                    close(&c["std_error"], &errors[k], R_TOLERANCE, 10.0, &what);
                }
            }
            for key in
                ["sigma", "r_squared", "adj_r_squared", "df_residual", "log_likelihood", "aic", "bic", "rank", "n"]
            {
                close(&fit[key], &case[key], R_TOLERANCE, 1e-6, &format!("{what} {key}"));
            }
            if kind == "iid" && !case["f"].is_null() {
                close(&fit["f"]["statistic"], &case["f"]["statistic"], R_TOLERANCE, 1e-6, &what);
            }
            compared += 1;
        }
    }
    assert!(compared >= 680, "{compared} fits compared");
}

/// Numbers of a column of a CSV table.
fn csv_column(text: &str, name: &str) -> Vec<f64> {
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let place = lines.next().unwrap().iter().position(|header| *header == name).unwrap();
    lines.map(|cells| cells[place].parse().unwrap()).collect()
}

#[test]
fn predictions_and_tests_of_terms_are_those_of_r() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.hat").to_str().unwrap().to_owned();
    let (mut predicted, mut tested) = (0, 0);
    for case in reference("classics.json")["cases"].as_array().unwrap() {
        let Some(rows) = case["first_rows"].as_object() else { continue };
        let (formula, data) =
            (case["formula"].as_str().unwrap(), format!("reference/data/{}.csv", case["data"].as_str().unwrap()));
        hat(&["fit", formula, &data, "--json", "--aliased", "drop", "-o", &model]);
        for interval in ["confidence", "prediction"] {
            let args = ["predict", &model, &data, "--interval", interval];
            let output = hat_in(&root()).args(args).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            for (name, key) in [
                ("prediction", "fit".to_owned()),
                ("low", format!("{interval}_low")),
                ("high", format!("{interval}_high")),
            ] {
                let got = csv_column(&text, name);
                for (row, expected) in rows[&key].as_array().unwrap().iter().enumerate() {
                    let what = format!("{formula} {interval} {name} of row {row}");
                    close(&Value::from(got[row]), expected, R_TOLERANCE, 1.0, &what);
                    predicted += 1;
                }
            }
        }
        // R drops only terms that no interaction contains.
        let Some(dropped) = case["drop1"].as_object() else { continue };
        let tests = hat(&["test", &model, "--terms", "--json"]);
        let tests = tests["tests"].as_array().unwrap();
        for (k, term) in dropped["term"].as_array().unwrap().iter().enumerate() {
            let name = term.as_str().unwrap().replace("raw = TRUE", "raw");
            let test = tests.iter().find(|test| test["name"] == name.as_str());
            let test = test.unwrap_or_else(|| panic!("{formula}: no test of {name}"));
            // F is a square of what the tolerance is for, over another.
            close(&test["statistic"], &dropped["f"][k], 4.0 * R_TOLERANCE, 0.0, &format!("{formula} F of {name}"));
            close(&test["df1"], &dropped["df"][k], 0.0, 0.0, &format!("{formula} df of {name}"));
            tested += 1;
        }
    }
    assert!(predicted >= 1000 && tested >= 75, "{predicted} predictions, {tested} tests");
}

#[test]
fn explanations_add_up_to_predictions_of_orthogonal_polynomials() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.hat").to_str().unwrap().to_owned();
    let data = "reference/data/mtcars.csv";
    for formula in ["mpg ~ poly(wt, 2)*C(am)", "mpg ~ poly(wt, 2):poly(hp, 2) - 1", "mpg ~ C(cyl):poly(wt, 1):hp"] {
        for weights in [&[][..], &["--weights", "qsec"]] {
            hat(&[&["fit", formula, data, "--json", "-o", &model], weights].concat());
            let explained = hat(&["explain", &model, data, "--train", data, "--limit", "5", "--json"]);
            for query in explained["queries"].as_array().unwrap() {
                // Σ ω y, a sum of 32 numbers below 40.
                close(&query["weighted_sum"], &query["prediction"], 1e-13, 40.0, formula);
            }
        }
    }
}

#[test]
fn nested_tests_are_those_of_r() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (small, large) = (path("small.hat"), path("large.hat"));
    for case in reference("classics.json")["nested"].as_array().unwrap() {
        let data = format!("reference/data/{}.csv", case["data"].as_str().unwrap());
        hat(&["fit", case["small"].as_str().unwrap(), &data, "--json", "-o", &small]);
        hat(&["fit", case["large"].as_str().unwrap(), &data, "--json", "-o", &large]);
        let test = hat(&["test", &large, "--against", &small, "--json"]);
        close(&test["tests"][0]["statistic"], &case["f"], R_TOLERANCE, 0.0, "F");
        close(&test["tests"][0]["p"], &case["p"], 1e-9, 0.0, "p");
    }
}

#[test]
fn ridge_and_components_are_exact() {
    let reference = reference("ridge_pcr.json");
    for case in reference["cases"].as_array().unwrap() {
        let formula = case["formula"].as_str().unwrap();
        let mut base = vec!["fit", formula, "reference/data/mtcars.csv", "--json"];
        if let Some(weights) = case["weights"].as_str() {
            base.extend(["--weights", weights]);
        }
        if case["standardize"] == true {
            base.push("--standardize");
        }
        for (option, list, amount) in [("--ridge", "ridge", "alpha"), ("--components", "pcr", "components")] {
            for expected in case[list].as_array().unwrap() {
                let value = expected[amount].to_string();
                let mut args = base.clone();
                args.extend([option, &value]);
                let fit = hat(&args);
                let what = format!("{formula} {option} {value}");
                for (k, c) in fit["coefficients"].as_array().unwrap().iter().enumerate() {
                    close(&c["estimate"], &expected["estimate"][k], 1e-14, 1e-30, &format!("{what} {}", c["name"]));
                }
                close(&fit["effective_df"], &expected["effective_df"], 1e-13, 0.0, &what);
                close(&fit["r_squared"], &expected["r_squared"], 1e-13, 0.0, &what);
            }
        }
    }
}

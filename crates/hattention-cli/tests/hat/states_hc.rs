//! States that carry robust errors: those of one fit of all rows, for any tree of merges; and what is refused.

use serde_json::Value;

use crate::support::Folder;

fn rows(range: std::ops::Range<usize>) -> String {
    let mut text = String::from("y,z,a,b,g,w\n");
    for i in range {
        let a = ((i * 7919) % 1000) as f64 / 8.0 - 50.0;
        let b = if i % 13 == 5 { "NA".to_owned() } else { format!("{}", ((i * 104_729) % 997) as f64 / 3.0) };
        let g = if i < 40 { ["u", "v"][i % 2] } else { ["u", "v", "late"][i % 3] };
        let y = 3.0 + 0.1 * a + ((i * 31) % 17) as f64 / 7.0 * (1.0 + a.abs() / 20.0);
        text += &format!("{y},{},{a},{b},{g},{}\n", y * y / 3.0, (1 + i % 4) as f64 / 3.0);
    }
    text
}

const FORMULAS: [(&str, &[&str]); 4] = [
    ("y ~ a + b + g", &[]),
    ("y ~ poly(a, 2)*g + I(b^2)", &["--weights", "w"]),
    ("cbind(y, z) ~ a + C(g, ref=\"v\")", &[]),
    ("y ~ 0 + a:b + log(w)", &["--weights", "w"]),
];

/// Standard errors, of all targets.
fn errors(json: &str) -> Vec<f64> {
    let value: Value = serde_json::from_str(json).unwrap();
    let targets = value["targets"].as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    let coefficients = targets.iter().flat_map(|target| target["coefficients"].as_array().cloned().unwrap_or_default());
    coefficients.map(|coefficient| coefficient["std_error"].as_f64().unwrap()).collect()
}

/// What a second pass rounds: keys and residuals, some hundred times a double's last bit under a condition of a thousand.
const SECOND_PASS: f64 = 1e-10;

#[test]
fn errors_of_merged_states_are_those_of_one_fit() {
    let folder = Folder::new();
    folder.file("all.csv", rows(0..120));
    let parts = [("p", 0..40), ("q", 40..90), ("r", 90..120)];
    parts.iter().for_each(|(name, range)| {
        folder.file(&format!("{name}.csv"), rows(range.clone()));
    });
    for (formula, more) in FORMULAS {
        for (name, _) in &parts {
            let (source, state) = (format!("{name}.csv"), format!("{name}.state"));
            let keep = ["fit", formula, &source, "--with-hc", "--state-out", &state, "--aliased", "drop"];
            folder.done(&[&keep[..], more].concat());
        }
        for kind in ["HC0", "HC1"] {
            let vcov = ["--vcov", kind, "--json"];
            let one_shot = errors(&folder.done(&[&["fit", formula, "all.csv"], &vcov[..], more].concat()));
            let with = ["fit", formula, "all.csv", "--with-hc", "--state-out", "all.state", "-o", "all.hat"];
            let whole = folder.done(&[&with[..], &vcov, more].concat());
            assert!(one_shot.len() > 1);
            for (ours, theirs) in errors(&whole).iter().zip(&one_shot) {
                assert!((ours / theirs - 1.0).abs() < SECOND_PASS, "{formula} {kind}: {ours} {theirs}");
            }
            let same = |one: &str, other: &str| {
                std::fs::read(folder.path(one)).unwrap() == std::fs::read(folder.path(other)).unwrap()
            };
            for order in [["p", "q", "r"], ["r", "p", "q"]] {
                let states = order.map(|name| format!("{name}.state"));
                let states: Vec<&str> = states.iter().map(String::as_str).collect();
                let merged = ["--state-out", "m.state", "-o", "m.hat"];
                let printed = folder.done(&[&["merge"], &states[..], &merged, &vcov].concat());
                assert_eq!(printed, whole, "{formula} {kind}: merged {order:?}");
                assert!(same("m.state", "all.state") && same("m.hat", "all.hat"), "{formula} {kind}");
            }
            let go_on = ["fit", "--from", "q.state", "p.csv", "r.csv", "--state-out", "c.state"];
            assert_eq!(folder.done(&[&go_on[..], &vcov].concat()), whole, "{formula} {kind}: continued");
            assert!(same("c.state", "all.state"), "{formula}: continued");
            let fewer =
                ["fit", "--from", "all.state", "--remove", "r.csv", "--remove", "q.csv", "--state-out", "d.state"];
            folder.done(&[&fewer[..], &["--aliased", "drop"]].concat());
            assert!(same("d.state", "p.state"), "{formula}: removed");
        }
    }
}

#[test]
fn threads_and_batches_do_not_show_in_robust_states() {
    let folder = Folder::new();
    folder.file("all.csv", rows(0..120));
    for (formula, more) in FORMULAS {
        let state = |name: &str, how: &[&str]| {
            folder.done(&[&["fit", formula, "all.csv", "--with-hc", "--state-out", name], more, how].concat());
            std::fs::read(folder.path(name)).unwrap()
        };
        let one = state("one.state", &["--threads", "1"]);
        assert!(one == state("other.state", &["--threads", "3", "--batch-rows", "7"]), "{formula}");
    }
}

#[test]
fn what_states_cannot_give_is_refused_by_name() {
    let folder = Folder::new();
    folder.file("all.csv", rows(0..60));
    folder.file("more.csv", rows(60..80));
    folder.done(&["fit", "y ~ a", "all.csv", "--state-out", "plain.state"]);
    folder.done(&["fit", "y ~ a", "more.csv", "--with-hc", "--state-out", "hc.state"]);
    for kind in ["HC2", "HC3", "HAC:2", "cluster:g"] {
        folder.refused(&["merge", "hc.state", "--vcov", kind], 2, &[kind, "rows are gone", "HC0 or HC1"]);
        folder.refused(&["fit", "--from", "hc.state", "all.csv", "--vcov", kind], 2, &[kind, "rows are gone"]);
    }
    folder.refused(&["merge", "hc.state", "--vcov", "HC9"], 2, &["HC9"]);
    folder.refused(&["merge", "plain.state", "--vcov", "HC1"], 2, &["plain.state", "without --with-hc"]);
    folder.refused(&["merge", "hc.state", "plain.state", "--vcov", "HC0"], 2, &["plain.state", "without --with-hc"]);
    folder.refused(&["fit", "--from", "plain.state", "more.csv", "--vcov", "HC0"], 2, &["plain.state", "--with-hc"]);
    folder.refused(&["fit", "--from", "plain.state", "more.csv", "--with-hc"], 2, &["plain.state", "rows are gone"]);
    folder.refused(&["merge", "hc.state", "--vcov", "HC0", "--ridge", "1"], 2, &["--ridge"]);
    folder.refused(&["fit", "y ~ a | g", "all.csv", "--with-hc"], 2, &["--with-hc", "absorbed"]);
    // Mixed states join, and say what they lose.
    let mixed = folder.hat(&["merge", "hc.state", "plain.state", "--state-out", "mixed.state"]);
    assert!(mixed.code == 0 && mixed.err.contains("note: plain.state"), "{}", mixed.err);
    folder.refused(&["merge", "mixed.state", "--vcov", "HC1"], 2, &["mixed.state"]);
    let wide: Vec<String> = (0..52).map(|k| format!("x{k}")).collect();
    let row = |i: usize| (0..52).map(|k| ((i * 31 + k * k) % 97).to_string()).collect::<Vec<_>>().join(",");
    let text = format!("{}\n{}\n{}\n", wide.join(","), row(1), row(2));
    folder.file("wide.csv", text);
    let limit = ["at most 50 columns", "52", "--vcov HC1"];
    folder.refused(&["fit", "x0 ~ .", "wide.csv", "--with-hc", "--state-out", "w.state"], 2, &limit);
    assert!(!folder.path("w.state").exists());
}

#[test]
fn sums_that_are_left_out_refuse_no_columns() {
    let folder = Folder::new();
    let levels = |range: std::ops::Range<usize>| -> String {
        let row = |i: usize| format!("{},{}\n", (i * 31) % 17, range.start + i % range.len());
        "y,g\n".to_owned() + &(0..90).map(row).collect::<String>()
    };
    folder.file("a.csv", levels(0..30));
    folder.file("b.csv", levels(30..60));
    for (name, more) in [("a", "--with-hc"), ("b", "--with-hc"), ("plain", "--quiet")] {
        let source = if name == "plain" { "b.csv".to_owned() } else { format!("{name}.csv") };
        folder.done(&["fit", "y ~ C(g)", &source, "--state-out", &format!("{name}.state"), more]);
    }
    folder.refused(&["merge", "a.state", "b.state"], 2, &["at most 50 columns", "61"]);
    let one = folder.hat(&["merge", "a.state", "plain.state"]);
    let other = folder.hat(&["merge", "plain.state", "a.state"]);
    assert!(one.code == 0 && one.err.contains("note: plain.state"), "{}", one.err);
    assert_eq!((other.code, other.out), (0, one.out), "{}", other.err);
}

#[test]
fn robust_errors_of_few_sure_digits_say_so() {
    let folder = Folder::new();
    let row = |i: usize| format!("{},{}\n", (i * 31) % 17, 1e8 + ((i * 7919) % 1000) as f64 / 256.0);
    folder.file("far.csv", "y,x\n".to_owned() + &(0..60).map(row).collect::<String>());
    for more in [&["--vcov", "HC0"][..], &["--vcov", "HC3"], &["--vcov", "HC1", "--with-hc"]] {
        let err = |formula: &str| folder.hat(&[&["fit", formula, "far.csv", "--quiet"], more].concat()).err;
        assert!(err("y ~ x + I(x^2)").contains("0 digits of its errors are sure"), "{}", err("y ~ x + I(x^2)"));
        assert_eq!(err("y ~ x"), "");
    }
    assert_eq!(folder.hat(&["fit", "y ~ x + I(x^2)", "far.csv"]).err, "");
}

#[test]
fn a_second_pass_is_announced_and_sums_need_none() {
    let folder = Folder::new();
    folder.file("all.csv", rows(0..60));
    let err = |args: &[&str]| folder.hat(&[&["fit", "y ~ a", "all.csv", "--vcov"], args].concat()).err;
    assert!(err(&["HC3"]).contains("second time"));
    assert!(err(&["HC1"]).contains("second time"));
    assert_eq!(err(&["HC1", "--with-hc"]), "");
    assert_eq!(err(&["iid"]), "");
}

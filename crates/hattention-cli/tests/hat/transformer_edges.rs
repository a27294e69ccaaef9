//! `hat transformer` at its edges: contexts that lack something, numbers beyond singles, files that would collide.

use serde_json::Value;

use crate::support::{Folder, data};

/// Rows `y,a,b,g`: two measures and a factor of three levels, the third from row 20 on.
fn rows(count: usize) -> String {
    let mut text = String::from("y,a,b,g\n");
    for i in 0..count {
        let (a, b) = ((i * i) % 17, (5 * i) % 11);
        let g = if i < 20 { ["u", "v"][i % 2] } else { "w" };
        text += &format!("{},{a},{b},{g}\n", (7 * i) % 13 + 2 * a + 3 * b);
    }
    text
}

fn build(folder: &Folder, formula: &str, file: &str, more: &[&str]) {
    folder.done(&[&["transformer", "build", formula, file, "-o", "w.safetensors"], more].concat());
}

#[test]
fn a_context_without_a_level_is_refused_by_its_column() {
    let folder = Folder::new();
    folder.file("train.csv", rows(30));
    folder.file("context.csv", rows(20));
    build(&folder, "y ~ a + b + g", "train.csv", &["--layout", "solve"]);
    for command in ["forward", "verify"] {
        let args = ["transformer", command, "w.safetensors", "train.csv", "--context", "context.csv"];
        folder.refused(&args, 1, &["does not fix every coefficient", "`gw` is zero", "more rows"]);
    }
}

#[test]
fn a_context_is_refused_by_columns_and_not_by_keys() {
    let folder = Folder::new();
    // `c` is twice `a` in training, and left out of the model there.
    let with = |text: &str, last: &dyn Fn(f64, f64) -> f64| {
        let line = |line: &str| {
            let cell = |place: usize| line.split(',').nth(place).unwrap().parse::<f64>().unwrap();
            format!("{line},{:?}\n", last(cell(1), cell(2)))
        };
        text.lines().next().unwrap().to_owned() + ",c\n" + &text.lines().skip(1).map(line).collect::<String>()
    };
    folder.file("train.csv", with(&rows(30), &|a, _| 2.0 * a));
    build(&folder, "y ~ a + c + b", "train.csv", &["--layout", "solve", "--aliased", "drop"]);
    let forward = ["transformer", "forward", "w.safetensors", "train.csv", "--context"];
    folder.done(&[&forward[..], &["train.csv"]].concat());
    folder.file("same.csv", "y,a,b,c\n1,1,2,0\n2,2,4,1\n5,3,6,0\n4,5,10,1\n7,7,14,9\n");
    folder.refused(&[&forward[..], &["same.csv"]].concat(), 1, &["rank 2 of 3", "`b` depends on `a`"]);
    folder.file("few.csv", "y,a,b,c\n1,1,2,0\n2,2,3,1\n");
    folder.refused(&[&forward[..], &["few.csv"]].concat(), 1, &["2 rows for 3 coefficients"]);

    // The engine solves this context, and the layer cannot.
    folder.file("train.csv", with(&rows(30), &|a, b| (a * a + b) % 7.0));
    build(&folder, "y ~ a + b + c", "train.csv", &["--layout", "solve"]);
    let mut near = String::from("y,a,b,c\n");
    for i in 0..20 {
        let (a, b) = (i as f64, ((3 * i) % 7) as f64);
        near += &format!("{},{a},{b},{:?}\n", (5 * i) % 9, a + 1e-14 * b * b);
    }
    folder.file("near.csv", near);
    folder.done(&["fit", "y ~ a + b + c", "near.csv"]);
    for command in ["forward", "verify"] {
        let args = ["transformer", command, "w.safetensors", "train.csv", "--context", "near.csv"];
        let outcome = folder.hat(&args);
        outcome.is_refusal(&args, 1, &["`c` depends on `a` up to", "of its length"]);
        assert!(!outcome.err.contains("`b`") && !outcome.err.contains("key "), "{}", outcome.err);
    }
}

#[test]
fn doubles_are_judged_where_singles_do_not_reach() {
    let folder = Folder::new();
    folder.file("train.csv", rows(30));
    folder.file("far.csv", "y,a,b,g\n1,2,3,u\n2,1e300,1,v\n1,2,3,u\n");
    let verify = |layout: &str, more: &[&str], beyond: &str| {
        let args = [&["transformer", "verify", "w.safetensors"], more].concat();
        let text = folder.done(&args);
        assert!(text.contains(&format!("not run in f32: {beyond}")) && text.contains("--dtype f64"), "{layout} {text}");
        let found: Value = serde_json::from_str(&folder.done(&[&args[..], &["--json"]].concat())).unwrap();
        assert_eq!(found["holds"], true, "{layout} {found}");
        assert!(found["beyond_f32"].as_str().unwrap().contains(beyond) && found["targets"][0]["f32"].is_null());
        assert!(found["targets"][0]["f64"]["max"].is_number(), "{layout} {found}");
    };
    build(&folder, "y ~ a + b + g", "train.csv", &[]);
    verify("cross", &["far.csv"], "row 2: `a`");
    build(&folder, "y ~ a + b", "train.csv", &["--layout", "solve"]);
    verify("solve", &["far.csv", "--context", "train.csv"], "row 2: `a`");
    folder.file("large.csv", "y,a,b\n1,1e40,3\n2,2e40,1\n3,5e40,7\n5,4e40,2\n");
    for layout in ["self", "cross"] {
        build(&folder, "y ~ a + b", "large.csv", &["--layout", layout]);
        verify(layout, &["large.csv"], "a number of tensor `x_mean`");
    }
}

#[test]
fn inputs_are_the_columns_and_nothing_else() {
    let folder = Folder::new();
    folder.file("train.csv", rows(30));
    folder.file("gap.csv", "a\n3\nNA\n5\n");
    build(&folder, "y ~ a", "train.csv", &[]);
    let forward = ["transformer", "forward", "w.safetensors", "gap.csv", "-o", "y.csv"];
    folder.done(&[&forward[..], &["--inputs", "x.csv"]].concat());
    let read = |name: &str| std::fs::read_to_string(folder.path(name)).unwrap();
    assert_eq!(read("x.csv"), "a\n3.0\n\"\"\n5.0\n");
    assert!(read("y.csv").starts_with("row,prediction\n1,"));
    folder.done(&[&forward[..], &["--inputs", "x.parquet"]].concat());
    // They are a source of the same rows: what is missing stays missing.
    for file in ["x.csv", "x.parquet"] {
        assert_eq!(folder.done(&["transformer", "forward", "w.safetensors", file]), read("y.csv"));
    }
    // A column of the design may be called as the rows are.
    folder.file("train.csv", rows(30).replace(",a,", ",row,"));
    folder.file("gap.csv", "row\n3\nNA\n5\n");
    build(&folder, "y ~ row", "train.csv", &[]);
    folder.done(&[&forward[..], &["--inputs", "x.csv"]].concat());
    assert_eq!(read("x.csv"), "row\n3.0\n\"\"\n5.0\n");

    for same in ["y.csv", "./y.csv"] {
        std::fs::write(folder.path("y.csv"), "mine").unwrap();
        folder.refused(&[&forward[..], &["--inputs", same]].concat(), 2, &["are the same file", "two names"]);
        assert_eq!(read("y.csv"), "mine");
    }
    std::fs::remove_file(folder.path("y.csv")).unwrap();
    folder.refused(&[&forward[..], &["--inputs", "./y.csv"]].concat(), 2, &["are the same file"]);
    assert!(!folder.path("y.csv").exists());
}

#[test]
fn columns_of_one_name_are_not_written() {
    let folder = Folder::new();
    // The indicator of level `v` of `g`, and a column that is called as it is.
    folder.file("train.csv", rows(30).replace("y,a,b,g", "y,gv,b,g"));
    build(&folder, "y ~ g + gv", "train.csv", &[]);
    let forward = ["transformer", "forward", "w.safetensors", "train.csv", "-o", "y.csv", "--inputs", "x.csv"];
    folder.refused(&forward, 2, &["two columns of the output are called `gv`", "rename"]);
    assert!(!folder.path("x.csv").exists() && !folder.path("y.csv").exists());
}

#[test]
fn refusals_say_what_this_command_can_do() {
    let folder = Folder::new();
    folder.file("train.csv", rows(30));
    folder.file("unseen.csv", "y,a,b,g\n1,2,3,x\n");
    folder.file("empty.csv", "y,a,b,g\n");
    let solve = ["transformer", "build", "y ~ a + b", "train.csv", "-o", "w.safetensors", "--layout", "solve"];
    folder.refused(&[&solve[..], &["--heads", "2"]].concat(), 2, &["--heads 2 with --layout solve", "no heads"]);
    folder.done(&solve);
    let both = ["transformer", "forward", "w.safetensors", "-", "--context", "-"];
    folder.refused(&both, 2, &["standard input is both the rows to predict and --context", "name a file"]);

    build(&folder, "y ~ a + g", "train.csv", &[]);
    for (command, way_out) in [("forward", "let `--unseen null`"), ("verify", "leave its rows out")] {
        let outcome = folder.hat(&["transformer", command, "w.safetensors", "unseen.csv"]);
        outcome.is_refusal(&[command], 2, &["row 1", "`g`", "\"x\"", way_out]);
        assert!(!outcome.err.contains("hat predict"), "{}", outcome.err);
        assert_eq!(outcome.err.contains("--unseen"), command == "forward", "{}", outcome.err);
    }
    build(&folder, "y ~ a + g", "train.csv", &["--layout", "solve"]);
    let context = ["transformer", "forward", "w.safetensors", "train.csv", "--context", "unseen.csv"];
    folder.refused(&context, 2, &["`g`", "leave its rows out of the context"]);

    build(&folder, "y ~ a", "train.csv", &["--layout", "self"]);
    let outcome = folder.hat(&["transformer", "forward", "w.safetensors", "empty.csv"]);
    outcome.is_refusal(&["forward"], 1, &["no row of empty.csv", "attend to each other", "--layout cross"]);
    assert!(!outcome.err.contains("weight of") && !outcome.err.contains("positive weight"), "{}", outcome.err);
    let cars = data("reference/data/mtcars.csv");
    build(&folder, "mpg ~ wt + hp", &cars, &["--layout", "self", "--heads", "2"]);
}

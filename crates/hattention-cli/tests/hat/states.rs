//! States in files: kept, joined, continued, parted; the same bits as one fit; and what is refused.

use serde_json::Value;

use crate::support::{Folder, data};

/// Rows `y,a,b,g,w` with missing values and a level that comes late.
fn rows(range: std::ops::Range<usize>) -> String {
    let mut text = String::from("y,a,b,g,w\n");
    for i in range {
        let a = ((i * 7919) % 1000) as f64 / 8.0 - 50.0;
        let b = if i % 13 == 5 { "NA".to_owned() } else { format!("{}", ((i * 104_729) % 997) as f64 / 3.0) };
        let g = if i < 40 { ["u", "v"][i % 2] } else { ["u", "v", "late"][i % 3] };
        let y = 3.0 + 0.1 * a + ((i * 31) % 17) as f64 / 7.0;
        text += &format!("{y},{a},{b},{g},{}\n", 1 + i % 4);
    }
    text
}

fn same_bytes(folder: &Folder, one: &str, other: &str) -> bool {
    std::fs::read(folder.path(one)).unwrap() == std::fs::read(folder.path(other)).unwrap()
}

const FORMULAS: [(&str, &[&str]); 4] = [
    ("y ~ a + b + g", &[]),
    ("y ~ poly(a, 2)*g + I(b^2)", &["--weights", "w"]),
    ("cbind(y, b) ~ a + C(g, ref=\"v\")", &[]),
    ("y ~ 0 + . - w", &[]),
];

#[test]
fn merged_continued_and_removed_states_are_those_of_one_fit() {
    let folder = Folder::new();
    folder.file("all.csv", rows(0..120));
    let parts = [("p", 0..40), ("q", 40..90), ("r", 90..120)];
    parts.iter().for_each(|(name, range)| {
        folder.file(&format!("{name}.csv"), rows(range.clone()));
    });
    for (formula, more) in FORMULAS {
        let fit = |source: &str, state: &str, model: &str| {
            folder.done(&[&["fit", formula, source, "--json", "--state-out", state, "-o", model], more].concat())
        };
        let whole = fit("all.csv", "all.state", "all.hat");
        for (name, _) in &parts {
            fit(&format!("{name}.csv"), &format!("{name}.state"), "part.hat");
        }
        let check = |how: &str, printed: String, state: &str| {
            assert_eq!(printed, whole, "{formula}: {how}");
            assert!(same_bytes(&folder, state, "all.state"), "{formula}: {how}");
        };
        for order in [["p", "q", "r"], ["r", "p", "q"], ["q", "r", "p"]] {
            let states: Vec<String> = order.iter().map(|name| format!("{name}.state")).collect();
            let states: Vec<&str> = states.iter().map(String::as_str).collect();
            let merged = ["--json", "--state-out", "m.state", "-o", "m.hat"];
            check("merged", folder.done(&[&["merge"], &states[..], &merged].concat()), "m.state");
            assert!(same_bytes(&folder, "m.hat", "all.hat"), "{formula}: model of merged states");
        }
        let go_on = ["fit", "--from", "q.state", "p.csv", "r.csv", "--json", "--state-out", "c.state"];
        check("continued", folder.done(&go_on), "c.state");
        // Taking out what came last leaves no trace, of its late level neither.
        let part = ["fit", "--from", "all.state", "--remove", "r.csv", "--remove", "q.csv", "--state-out", "d.state"];
        let outcome = folder.hat(&part);
        assert!(outcome.code == 0 && outcome.err.contains("note: "), "{}", outcome.err);
        assert!(same_bytes(&folder, "d.state", "p.state"), "{formula}: removed");
    }
}

#[test]
fn threads_and_batches_do_not_show_in_a_state() {
    let folder = Folder::new();
    folder.file("all.csv", rows(0..120));
    for (formula, more) in FORMULAS {
        let state = |name: &str, how: &[&str]| {
            folder.done(&[&["fit", formula, "all.csv", "--state-out", name], more, how].concat());
        };
        state("one.state", &["--threads", "1"]);
        state("other.state", &["--threads", "3", "--batch-rows", "7"]);
        assert!(same_bytes(&folder, "one.state", "other.state"), "{formula}");
    }
}

#[test]
fn single_rows_of_nists_sets_merge_to_the_same_digits() {
    let sets = [
        ("Filip", "y ~ poly(x, 10, raw)"),
        ("Wampler5", "y ~ poly(x, 5, raw)"),
        ("Longley", "y ~ ."),
        ("NoInt1", "y ~ x - 1"),
        ("Norris", "y ~ x"),
    ];
    for (name, formula) in sets {
        let folder = Folder::new();
        let path = data(&format!("data/nist/{name}.csv"));
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        let header = lines.next().unwrap();
        let mut states = Vec::new();
        for (row, line) in lines.enumerate() {
            folder.file("row.csv", format!("{header}\n{line}\n"));
            let state = format!("{row}.state");
            let outcome = folder.hat(&["fit", formula, "row.csv", "--state-out", &state]);
            assert!(outcome.code == 0, "{}", outcome.err);
            states.push(state);
        }
        let whole = folder.done(&["fit", formula, &path, "--json"]);
        // One after the other from the last, and in a tree of two levels.
        let reversed: Vec<&str> = states.iter().rev().map(String::as_str).collect();
        assert_eq!(folder.done(&[&["merge"], &reversed[..], &["--json"]].concat()), whole, "{name}");
        let mut halves = Vec::new();
        for (at, part) in states.chunks(5).enumerate() {
            let part: Vec<&str> = part.iter().map(String::as_str).collect();
            let half = format!("half{at}.state");
            assert_eq!(folder.hat(&[&["merge"], &part[..], &["--state-out", &half]].concat()).code, 0);
            halves.push(half);
        }
        let halves: Vec<&str> = halves.iter().map(String::as_str).collect();
        assert_eq!(folder.done(&[&["merge"], &halves[..], &["--json"]].concat()), whole, "{name}: by fives");
    }
}

#[test]
fn a_part_without_a_fit_is_a_state_all_the_same() {
    let folder = Folder::new();
    folder.file("row.csv", "y,x\n1,2\n");
    let outcome = folder.hat(&["fit", "y ~ x", "row.csv", "--state-out", "s.state"]);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert!(outcome.out.is_empty() && outcome.err.contains("no fit of its own"), "{}", outcome.err);
    folder.refused(&["merge", "s.state"], 1, &["row"]);
    let asked = ["fit", "y ~ x", "row.csv", "--state-out", "t.state", "-o", "m.hat"];
    let outcome = folder.hat(&asked);
    assert!(outcome.code == 1 && outcome.err.contains("the state is written"), "{}", outcome.err);
    assert!(folder.path("t.state").exists() && !folder.path("m.hat").exists());
}

#[test]
fn rows_come_out_piece_by_piece_where_columns_are_zero_within_a_level() {
    let folder = Folder::new();
    let kept = "y,x,g\n1,0,u\n2,1,u\n4,0,v\n7,3,v\n3,2,u\n";
    folder.file("kept.csv", kept);
    // `x` is zero in all rows of level `w` that are left once the first piece is out.
    folder.file("first.csv", "y,x,g\n5,2,w\n8,3,w\n");
    folder.file("second.csv", "y,x,g\n6,0,w\n9,0,w\n2,5,u\n");
    for formula in ["y ~ g*x", "y ~ g:x"] {
        let keep = |sources: &[&str], state: &str| {
            let fit = [&["fit", formula], sources, &["--with-hc", "--state-out", state, "--aliased", "drop"]].concat();
            folder.done(&fit);
        };
        keep(&["kept.csv"], "kept.state");
        keep(&["kept.csv", "first.csv", "second.csv"], "all.state");
        let pieces = ["--remove", "first.csv", "--remove", "second.csv", "--state-out", "left.state"];
        folder.done(&[&["fit", "--from", "all.state"], &pieces[..]].concat());
        assert!(same_bytes(&folder, "left.state", "kept.state"), "{formula}");
    }
    folder.done(&["fit", "y ~ g*x", "kept.csv", "second.csv", "--state-out", "one.state", "--aliased", "drop"]);
    folder.done(&["fit", "y ~ g*x", "kept.csv", "first.csv", "second.csv", "--state-out", "all.state"]);
    let out = ["--remove", "first.csv", "--state-out", "left.state", "--aliased", "drop"];
    folder.done(&[&["fit", "--from", "all.state"], &out[..]].concat());
    assert!(same_bytes(&folder, "left.state", "one.state"), "the column that is zero within `w` is still there");
}

#[test]
fn a_part_without_rows_joins_whatever_its_types() {
    let folder = Folder::new();
    folder.file("all.csv", rows(0..60));
    folder.file("none.csv", "y,a,b,g,w\n,3,4,,1\n");
    for (formula, more) in FORMULAS {
        let keep = |source: &str, state: &str| {
            folder.done(&[&["fit", formula, source, "--state-out", state, "--aliased", "drop"], more].concat());
        };
        keep("all.csv", "all.state");
        keep("none.csv", "none.state");
        let merged = |one: &str, other: &str, out: &str| {
            folder.done(&["merge", one, other, "--state-out", out, "--json", "--aliased", "drop"])
        };
        let printed = merged("all.state", "none.state", "one.state");
        assert_eq!(merged("none.state", "all.state", "other.state"), printed, "{formula}");
        assert!(same_bytes(&folder, "one.state", "other.state"), "{formula}");
        let json: Value = serde_json::from_str(&printed).unwrap();
        let alone: Value = serde_json::from_str(&folder.done(&["merge", "all.state", "--json"])).unwrap();
        assert_eq!(json["n"], alone["n"], "{formula}");
        assert_eq!(json["dropped_rows"].as_u64(), alone["dropped_rows"].as_u64().map(|rows| rows + 1), "{formula}");
    }
    folder.done(&["fit", "y ~ a", "none.csv", "--state-out", "terms.state"]);
    folder.done(&["fit", "y ~ a + g", "all.csv", "--state-out", "all.state"]);
    folder.refused(&["merge", "all.state", "terms.state"], 2, &["the formula"]);
}

#[test]
fn states_that_do_not_fit_are_refused_by_name() {
    let folder = Folder::new();
    folder.file("all.csv", rows(0..60));
    folder.file("text.csv", "y,a,b,g,w\n1,x,1,u,1\n2,y,3,v,1\n");
    folder.file("lacks.csv", "y,a\n1,2\n");
    folder.file("new.csv", "y,a,b,g,w\n1,2,3,never,1\n");
    folder.file("wild.csv", "y,a,b,g,w\n1,1e9,3,u,1\n");
    let keep = |formula: &str, source: &str, state: &str, more: &[&str]| {
        folder.done(&[&["fit", formula, source, "--state-out", state], more].concat());
    };
    keep("y ~ a + g", "all.csv", "s.state", &[]);
    keep("y ~ a", "all.csv", "terms.state", &[]);
    keep("b ~ a + g", "all.csv", "target.state", &[]);
    keep("y ~ a + C(g, ref='v')", "all.csv", "reference.state", &[]);
    keep("y ~ a + g", "all.csv", "weights.state", &["--weights", "w"]);
    let one = ["s.state"];
    for (other, words) in [
        ("terms.state", "the formula"),
        ("target.state", "the formula"),
        ("reference.state", "the formula"),
        ("weights.state", "the column of weights"),
    ] {
        folder.refused(&["merge", one[0], other], 2, &["s.state", other, words]);
    }
    let from = ["fit", "--from", "s.state"];
    folder.refused(&[&from[..], &["text.csv"]].concat(), 2, &["`a`"]);
    folder.refused(&[&from[..], &["lacks.csv"]].concat(), 2, &["`g`"]);
    folder.refused(&[&from[..], &["y ~ a", "all.csv"]].concat(), 2, &["the formula"]);
    folder.refused(&[&from[..], &["y ~ a + g"]].concat(), 2, &["without a source"]);
    folder.refused(&[&from[..], &["--weights", "w", "all.csv"]].concat(), 2, &["--weights"]);
    folder.refused(&[&from[..], &["--vcov", "HC1"]].concat(), 2, &["HC1"]);
    let remove = |source: &str, words: &[&str]| folder.refused(&[&from[..], &["--remove", source]].concat(), 2, words);
    remove("new.csv", &["new.csv", "`gnever`"]);
    remove("wild.csv", &["wild.csv", "`a`"]);
    folder.file("more.csv", rows(0..61));
    remove("more.csv", &["more.csv", "not all in the state"]);
    let whole = std::fs::read(folder.path("s.state")).unwrap();
    folder.file("cut.state", &whole[..whole.len() / 2]);
    folder.refused(&["merge", "s.state", "cut.state"], 2, &["cut.state"]);
    folder.refused(&["merge", "s.state", "all.csv"], 2, &["all.csv"]);
    folder.refused(&["merge", "s.state", "gone.state"], 2, &["gone.state"]);
    let json: Value = serde_json::from_str(&folder.done(&["merge", "s.state", "--json"])).unwrap();
    assert_eq!(json["n"], 60);
    folder.refused(&["merge", "s.state", "-o", "x", "--state-out", "x"], 2, &["same file"]);
    folder.refused(&["fit", "y ~ a | g", "all.csv", "--state-out", "e.state"], 2, &["--state-out", "absorbed"]);
    folder.refused(&["fit", "y ~ a | g", "all.csv", "--from", "s.state"], 2, &["--from", "absorbed"]);
    folder.refused(&["roll", "y ~ a | g", "all.csv", "--expanding", "--order", "a"], 2, &["absorbed", "--by"]);
}

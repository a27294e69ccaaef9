//! Bad input: what is said, what is named, the exit code, and that nothing is left behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use crate::support::{Folder, data};

#[test]
fn sources_that_are_not_there_or_not_whole() {
    let folder = Folder::new();
    folder.refused(&["fit", "y ~ x", "nowhere.csv"], 2, &["nowhere.csv"]);
    folder.file("empty.csv", "");
    folder.refused(&["fit", "y ~ x", "empty.csv"], 2, &["empty.csv"]);
    folder.file("header.csv", "y,x\n");
    folder.refused(&["fit", "y ~ x", "header.csv"], 1, &["no rows"]);
    folder.file("ragged.csv", "y,x\n1,2\n3\n4,5\n");
    folder.refused(&["fit", "y ~ x", "ragged.csv"], 2, &["ragged.csv", "3"]);
    let whole = std::fs::read(data("data/flights.parquet")).unwrap();
    folder.file("cut.parquet", &whole[..whole.len() / 2]);
    folder.refused(&["fit", "arr_delay ~ hour", "cut.parquet"], 2, &["cut.parquet"]);
    folder.file("odd.xyz", "y,x\n1,2\n");
    folder.refused(&["fit", "y ~ x", "odd.xyz"], 2, &["odd.xyz"]);
}

#[test]
fn columns_and_values() {
    let folder = Folder::new();
    let cars = data("reference/data/mtcars.csv");
    folder.refused(&["fit", "mpg ~ wtt", &cars], 2, &["`wtt`", "`wt`", "hint:"]);
    folder.file("text.csv", "y,x\n1,2\n2,3\n3,oops\n4,9\n5,1\n");
    folder.refused(&["fit", "y ~ x", "text.csv"], 2, &["text.csv:4", "`x`", "oops"]);
    folder.file("infinite.csv", "y,x\n1,2\n2,inf\n3,4\n");
    folder.refused(&["fit", "y ~ x", "infinite.csv"], 2, &["row 2", "`x`", "inf"]);
    folder.file("logs.csv", "y,x\n1,2\n2,0\n3,4\n");
    folder.refused(&["fit", "y ~ log(x)", "logs.csv"], 2, &["row 2", "log(x)"]);
    folder.file("missing.csv", "y,x\n1,2\n2,NA\n3,NaN\n4,7\n6,8\n");
    let outcome = folder.hat(&["fit", "y ~ x", "missing.csv", "--json"]);
    assert!(outcome.code == 0 && outcome.out.contains("\"dropped_rows\": 2"), "{} {}", outcome.out, outcome.err);
    folder.refused(&["fit", "y ~ x", "missing.csv", "--na", "fail"], 2, &["row 2", "`x`"]);
    folder.file("nothing.csv", "y,x\nNA,2\n2,NA\n");
    folder.refused(&["fit", "y ~ x", "nothing.csv"], 1, &["no rows left", "missing"]);
    folder.file("weights.csv", "y,x,w,z\n1,2,1,0\n2,3,-1,0\n4,4,1,0\n");
    folder.refused(&["fit", "y ~ x", "weights.csv", "--weights", "w"], 2, &["row 2", "`w`", "-1"]);
    folder.refused(&["fit", "y ~ x", "weights.csv", "--weights", "z"], 1, &["no rows with positive weight"]);
}

#[test]
fn formulas_are_pointed_at() {
    let folder = Folder::new();
    let cars = data("reference/data/mtcars.csv");
    folder.refused(&["fit", "mpg ~ wt +", &cars], 2, &["mpg ~ wt +\n", "^"]);
    folder.refused(&["fit", "mpg ~ poly(wt, 0)", &cars], 2, &["^"]);
    let few = ["`poly(cyl, 3)3:wt` depends on `lower powers`", "hint: use a polynomial of lower degree"];
    folder.refused(&["fit", "mpg ~ poly(cyl, 3):wt", &cars, "--aliased", "drop"], 1, &few);
    folder.refused(&["fit", "mpg ~ wt", &cars, "--vcov", "HC9"], 2, &["HC9", "HC3"]);
    folder.refused(&["fit", "mpg ~ wt", &cars, "--ridge", "-1"], 2, &["--ridge", "-1"]);
    folder.refused(&["fit", "mpg ~ wt", &cars, "--components", "7"], 2, &["components", "7"]);
    folder.refused(&["fit", "mpg ~ wt", &cars, "--vcov", "cluster:nope"], 2, &["`nope`"]);
}

#[test]
fn designs_without_an_answer() {
    let folder = Folder::new();
    folder.file("few.csv", "y,a,b,c\n1,2,3,9\n2,3,5,1\n");
    folder.refused(&["fit", "y ~ a + b + c", "few.csv"], 1, &["2 rows for 4 coefficients"]);
    // 0.1 a + b, as doubles round it: no exact copy, and still only rounding apart.
    let mut text = String::from("y,a,b,twice,constant,near\n");
    for i in 0..30 {
        let (a, b) = ((i * 7 % 30) as f64 * 0.37 + 0.1, (i * i % 17) as f64 * 1.3);
        text += &format!("{},{a},{b},{},3.5,{}\n", i % 5, 2.0 * a, 0.1 * a + b);
    }
    folder.file("dependent.csv", &text);
    folder.refused(&["fit", "y ~ a + b + twice", "dependent.csv"], 1, &["`twice` depends on `a`", "--aliased drop"]);
    folder.refused(&["fit", "y ~ a + constant", "dependent.csv"], 1, &["`constant` is constant"]);
    folder.refused(&["fit", "y ~ a + b + near", "dependent.csv"], 1, &["`near` depends on `a`, `b`"]);
    let dropped = folder.hat(&["fit", "y ~ a + b + twice", "dependent.csv", "--aliased", "drop", "--json"]);
    assert!(dropped.code == 0 && dropped.out.contains("\"aliased\": [\n    \"twice\"\n  ]"), "{}", dropped.out);
    let shortest = folder.hat(&["fit", "y ~ a + b + twice", "dependent.csv", "--aliased", "min-norm"]);
    assert!(shortest.code == 0 && !shortest.out.contains("twice               NA"), "{}", shortest.out);
    folder.file("constant.csv", "y,x\n2,1\n2,5\n2,3\n2,9\n");
    let constant = folder.hat(&["fit", "y ~ x", "constant.csv", "--json"]);
    assert!(constant.code == 0 && constant.out.contains("\"r_squared\": null"), "{} {}", constant.out, constant.err);
}

#[test]
fn factors_with_too_many_levels_are_refused_early() {
    let folder = Folder::new();
    let mut text = String::from("y,g\n");
    (0..1_000_000).for_each(|i| text += &format!("{},level{i}\n", i % 7));
    folder.file("levels.csv", &text);
    folder.refused(&["fit", "y ~ g", "levels.csv"], 2, &["`g`", "4096"]);
}

#[test]
fn models_that_cannot_be_trusted() {
    let folder = Folder::new();
    let cars = data("reference/data/mtcars.csv");
    // A coefficient beyond the doubles: what could not be read is not written.
    folder.refused(&["fit", "mpg ~ I(wt*1e-320)", &cars, "-o", "over.hat"], 2, &["finite numbers"]);
    assert!(!folder.path("over.hat").exists());
    let fitted = folder.hat(&["fit", "mpg ~ wt + C(cyl)", &cars, "-o", "m.hat"]);
    assert_eq!(fitted.code, 0, "{}", fitted.err);
    let whole = std::fs::read(folder.path("m.hat")).unwrap();
    for cut in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        folder.file("cut.hat", &whole[..cut]);
        folder.refused(&["predict", "cut.hat", &cars], 2, &["cut.hat"]);
    }
    let mut huge = whole.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    folder.file("huge.hat", huge);
    folder.refused(&["predict", "huge.hat", &cars], 2, &["huge.hat"]);
    let mut junk = whole.clone();
    let last = junk.len() - 72;
    junk[last..].fill(0xff);
    folder.file("junk.hat", junk);
    folder.refused(&["predict", "junk.hat", &cars], 2, &["junk.hat", "finite numbers", "NaN"]);
    let words = b"\"version\":\"3\"";
    let place = whole.windows(words.len()).position(|bytes| bytes == words).unwrap();
    let mut other = whole.clone();
    other[place + 11] = b'9';
    folder.file("other.hat", other);
    folder.refused(&["predict", "other.hat", &cars], 2, &["other.hat", "version"]);
    folder.refused(&["predict", &cars, &cars], 2, &["mtcars.csv"]);
    folder.refused(&["predict", "nowhere.hat", &cars], 2, &["nowhere.hat"]);
    folder.file("seven.csv", "wt,cyl\n2.5,7\n3,4\n,6\n");
    folder.refused(&["predict", "m.hat", "seven.csv"], 2, &["7", "cyl", "row 1"]);
    let nulls = folder.hat(&["predict", "m.hat", "seven.csv", "--unseen", "null"]);
    let rows: Vec<&str> = nulls.out.lines().collect();
    assert_eq!((rows.len(), rows[1], rows[3]), (4, "1,", "3,"), "{} {}", nulls.out, nulls.err);
    folder.refused(&["test", "m.hat", "nope = 1"], 2, &["nope", "wt"]);
}

#[test]
fn outputs_are_whole_or_absent() {
    let folder = Folder::new();
    let cars = data("reference/data/mtcars.csv");
    folder.refused(&["fit", "mpg ~ wt", &cars, "-o", "no/such/folder/m.hat"], 2, &["no/such/folder/m.hat"]);
    folder.refused(&["fit", "mpg ~ nope", &cars, "-o", "m.hat"], 2, &["nope"]);
    assert_eq!(std::fs::read_dir(folder.path("")).unwrap().count(), 0, "a failed fit leaves nothing");
    assert_eq!(folder.hat(&["fit", "mpg ~ wt", &cars, "-o", "m.hat"]).code, 0);
    folder.refused(&["predict", "m.hat", &cars, "-o", "out.xlsx"], 2, &["out.xlsx", ".parquet"]);
    for name in ["out.csv", "out.parquet"] {
        let written = folder.hat(&["predict", "m.hat", &cars, "-o", name]);
        assert_eq!(written.code, 0, "{}", written.err);
    }
    let from_parquet = folder.hat(&["fit", "prediction ~ row", "out.parquet", "--json"]);
    let from_csv = folder.hat(&["fit", "prediction ~ row", "out.csv", "--json"]);
    assert_eq!(from_parquet.out, from_csv.out, "numbers round-trip");
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let folder = Folder::new();
    let flights = data("data/flights.parquet");
    assert_eq!(folder.hat(&["fit", "arr_delay ~ hour", &flights, "-o", "m.hat"]).code, 0);
    let mut child = folder
        .command()
        .args(["predict", "m.hat", &flights])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, "row,prediction\n");
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}

#[cfg(unix)]
#[test]
fn an_interrupt_leaves_no_file() {
    let folder = Folder::new();
    let cars = data("reference/data/mtcars.csv");
    assert_eq!(folder.hat(&["fit", "mpg ~ wt", &cars, "-o", "m.hat"]).code, 0);
    // Standard input that never ends keeps the command at work.
    let mut child = folder
        .command()
        .args(["fit", "y ~ x", "-", "-o", "out.hat"])
        .env("TMPDIR", folder.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"y,x\n1,2\n").unwrap();
    // Enough to overfill the pipe: the command has begun to read when this returns.
    let row = [b"1,2\n".as_slice(); 64 * 1024].concat();
    input.write_all(&row).unwrap();
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{err}");
    let left: Vec<_> = std::fs::read_dir(folder.path("")).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(left, ["m.hat"], "{err}");
}

#[test]
fn standard_input_is_a_source() {
    let folder = Folder::new();
    let mut child = folder
        .command()
        .args(["fit", "y ~ x", "-", "--json", "--vcov", "HC1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"y,x\n1,2\n2,3\n4,5\n4,7\n").unwrap();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert!(child.wait().unwrap().success() && out.contains("\"n\": 4"), "{out}");
}

#[test]
fn tests_that_have_no_answer_are_refused() {
    let folder = Folder::new();
    let cars = data("reference/data/mtcars.csv");
    let model = |name: &str, more: &[&str]| {
        let mut args = vec!["fit", "mpg ~ wt", &cars, "-o", name];
        args.extend(more);
        assert_eq!(folder.hat(&args).code, 0, "{more:?}");
    };
    model("small.hat", &[]);
    model("ridge.hat", &["--ridge", "1"]);
    model("weighted.hat", &["--weights", "hp"]);
    assert_eq!(folder.hat(&["fit", "mpg ~ wt + hp", &cars, "-o", "large.hat"]).code, 0);
    assert_eq!(folder.hat(&["test", "large.hat", "--against", "small.hat"]).code, 0);
    folder.refused(&["test", "large.hat", "--against", "ridge.hat"], 2, &["ridge", "two fits by least squares"]);
    folder.refused(&["test", "large.hat", "--against", "weighted.hat"], 2, &["same weights"]);
    folder.refused(&["test", "large.hat", "--against", "large.hat"], 2, &["residual degrees of freedom"]);
    folder.file("other.csv", "mpg,wt\n20,2.5\n21,2.75\n25,2\n");
    assert_eq!(folder.hat(&["fit", "mpg ~ wt", "other.csv", "-o", "other.hat"]).code, 0);
    folder.refused(&["test", "large.hat", "--against", "other.hat"], 2, &["32 rows", "3 rows"]);
    // 1e999 is a number too large for a double.
    folder.refused(&["test", "large.hat", "wt = 1e999"], 2, &["infinite"]);
    folder.refused(&["test", "large.hat", "wt = 0", "2*wt = 1"], 2, &["depend on each other"]);
    folder.refused(&["test", "large.hat", "wt = wt"], 2, &["names no coefficient"]);
    folder.file("exact.csv", "y,x\n1,2\n2,5\n");
    assert_eq!(folder.hat(&["fit", "y ~ x", "exact.csv", "-o", "exact.hat"]).code, 0);
    folder.refused(&["test", "exact.hat", "x = 0"], 2, &["without residual degrees of freedom"]);
    folder.file("constant.csv", "y,x\n0,1\n0,5\n0,3\n0,9\n");
    let constant = folder.hat(&["fit", "y ~ x", "constant.csv", "--json"]);
    let constant: serde_json::Value = serde_json::from_str(&constant.out).unwrap();
    assert!(constant["f"]["p"].is_null() && constant["f"]["statistic"].is_null(), "nothing to explain: {constant}");
}

#[test]
fn options_out_of_range_are_refused() {
    let folder = Folder::new();
    let cars = data("reference/data/mtcars.csv");
    let fit = |more: &[&str], words: &[&str]| {
        let mut args = vec!["fit", "mpg ~ wt", &cars];
        args.extend(more);
        folder.refused(&args, 2, words);
    };
    for threads in ["0", "1000000000"] {
        fit(&["--threads", threads], &["--threads", threads, "1 to 1024"]);
    }
    for rows in ["0", "99999999999999"] {
        fit(&["--batch-rows", rows], &["--batch-rows", rows, "1 to 16777216"]);
    }
    for level in ["0", "1", "nan"] {
        fit(&["--level", level], &["--level", "between 0 and 1"]);
    }
    fit(&["--order", "hp"], &["--order", "HAC"]);
    fit(&["--components", "-1"], &["--components", "-1"]);
    assert_eq!(folder.hat(&["fit", "mpg ~ wt", &cars, "-o", "m.hat"]).code, 0);
    let explain = |queries: &str, more: &[&str], code: i32, words: &[&str]| {
        let mut args = vec!["explain", "m.hat", queries, "--train", &cars];
        args.extend(more);
        folder.refused(&args, code, words);
    };
    explain(&cars, &["--limit", "0"], 2, &["--limit is 0"]);
    folder.file("header.csv", "wt\n");
    explain("header.csv", &[], 1, &["header.csv has no rows"]);
    folder.file("missing.csv", "wt,x\n,1\nNA,2\n");
    explain("missing.csv", &[], 1, &["no row of missing.csv", "all 2 have missing values"]);
    folder.refused(&["explain", "m.hat", "-", "--train", "-"], 2, &["standard input is both"]);
    folder.refused(&["fit", "mpg ~ wt", "-", "-"], 2, &["standard input is named twice"]);
    let everything =
        folder.hat(&["explain", "m.hat", &cars, "--train", &cars, "--top", "1000", "--limit", "1", "--json"]);
    assert_eq!((everything.code, everything.out.matches("\"contribution\"").count()), (0, 32), "{}", everything.err);
}

#[cfg(unix)]
#[test]
fn pipes_are_neither_read_nor_replaced() {
    use std::os::unix::fs::FileTypeExt;
    let folder = Folder::new();
    let cars = data("reference/data/mtcars.csv");
    for name in ["pipe.csv", "pipe.hat"] {
        assert!(Command::new("mkfifo").arg(folder.path(name)).status().unwrap().success());
    }
    folder.refused(&["fit", "mpg ~ wt", "pipe.csv"], 2, &["pipe.csv: a device or a pipe", "hint:"]);
    folder.refused(&["fit", "mpg ~ wt", &cars, "-o", "pipe.hat"], 2, &["pipe.hat", "a device or a pipe"]);
    assert!(folder.path("pipe.hat").metadata().unwrap().file_type().is_fifo());
    folder.refused(&["fit", "mpg ~ wt", &cars, "-o", "."], 2, &["it is a folder"]);
    // A link stays, and its file is replaced.
    folder.file("m.hat", "old");
    std::os::unix::fs::symlink("m.hat", folder.path("link.hat")).unwrap();
    assert_eq!(folder.hat(&["fit", "mpg ~ wt", &cars, "-o", "link.hat"]).code, 0);
    assert!(folder.path("link.hat").is_symlink());
    assert_eq!(folder.hat(&["test", "m.hat", "wt = 0"]).code, 0);
    assert_eq!(folder.hat(&["predict", "m.hat", &cars, "-o", "OUT.CSV"]).code, 0);
}

#[test]
fn a_table_of_very_many_columns_takes_no_more_memory_than_its_text() {
    let folder = Folder::new();
    let columns = 100_000;
    let mut text = String::from("y");
    (0..columns).for_each(|i| text += &format!(",x{i}"));
    for row in 0..3 {
        text += &format!("\n{row}");
        (0..columns).for_each(|i| text += if (i + row) % 2 == 0 { ",1" } else { ",2" });
    }
    folder.file("wide.csv", &text);
    // A batch of 8192 rows of cells would take 6.5 GB here.
    let fitted = folder.hat(&["fit", "y ~ x7", "wide.csv", "--json"]);
    assert!(fitted.code == 0 && fitted.out.contains("\"n\": 3"), "{} {}", fitted.out, fitted.err);
    folder.refused(&["fit", "y ~ .", "wide.csv"], 2, &["more than 65536 terms"]);
}

#[test]
fn other_separators_and_mixed_columns_are_named() {
    let folder = Folder::new();
    folder.file("semicolons.csv", "y;x\n1,5;2\n2,5;3\n");
    folder.refused(&["fit", "y ~ x", "semicolons.csv"], 2, &["semicolons.csv", "got semicolons", "hint: write"]);
    folder.file("tabs.csv", "y\tx\n1\t2\n2\t3\n");
    folder.refused(&["fit", "y ~ x", "tabs.csv"], 2, &["tabs.csv", "got tabs", ".tsv"]);
    folder.file("decimals.csv", "y,x\n\"1,5\",2\n\"2,5\",3\n");
    folder.refused(&["fit", "y ~ x", "decimals.csv"], 2, &["`y` has type text", "a number to predict"]);
    assert!(!folder.hat(&["fit", "y ~ x", "decimals.csv"]).err.contains("C(y)"), "a target is no factor");
    folder.file("mixed.jsonl", "{\"y\":1,\"x\":2}\n\n{\"y\":1,\"x\":\"oops\"}\n{\"y\":2,\"x\":3}\n{\"y\":4}\n");
    folder.refused(&["fit", "y ~ x", "mixed.jsonl"], 2, &["mixed.jsonl:3", "`x`", "1 of the first 3", "oops"]);
    assert_eq!(folder.hat(&["fit", "y ~ C(x)", "mixed.jsonl"]).code, 0);
    folder.file("text.jsonl", "{\"y\":1,\"x\":\"a\"}\n{\"y\":1,\"x\":\"b\"}\n{\"y\":2,\"x\":\"b\"}\n");
    assert_eq!(folder.hat(&["fit", "y ~ x", "text.jsonl"]).code, 0);
    folder.refused(&["fit", "speed ~ x", "text.jsonl"], 2, &["`speed`", "hint: the columns are `y`, `x`"]);
}

#[test]
fn labels_that_look_like_numbers_stay_labels() {
    let folder = Folder::new();
    folder.file("first.csv", "y,g\n1,10\n2,9\n4,10\n");
    folder.file("second.csv", "y,g\n1,a\n5,9\n4,a\n");
    folder.refused(&["fit", "y ~ g", "first.csv", "second.csv"], 2, &["`g`", "first.csv", "second.csv"]);
    let fitted = folder.hat(&["fit", "y ~ C(g)", "first.csv", "second.csv", "-o", "m.hat"]);
    assert_eq!(fitted.code, 0, "{}", fitted.err);
    // All of the levels here read as numbers; in training they were text.
    let predicted = folder.hat(&["predict", "m.hat", "first.csv"]);
    assert_eq!(
        (predicted.code, predicted.out.as_str()),
        (0, "row,prediction\n1,2.5\n2,3.5\n3,2.5\n"),
        "{}",
        predicted.err
    );
    let explained = folder.hat(&["explain", "m.hat", "first.csv", "--train", "first.csv", "second.csv"]);
    assert_eq!(explained.code, 0, "{}", explained.err);
    let cars = data("reference/data/mtcars.csv");
    assert_eq!(folder.hat(&["fit", "mpg ~ wt", &cars, "-o", "cars.hat"]).code, 0);
    folder.file("typo.csv", "mpg,wt\n20,2.5\n21,2.75\n22,oops\n");
    folder.refused(&["predict", "cars.hat", "typo.csv"], 2, &["typo.csv:4", "`wt`", "oops"]);
    folder.refused(&["explain", "cars.hat", "typo.csv", "--train", &cars], 2, &["typo.csv:4", "oops"]);
    folder.refused(&["explain", "cars.hat", &cars, "--train", "typo.csv"], 2, &["typo.csv:4", "oops"]);
    folder.file("text.csv", "wt\nlight\nheavy\n");
    folder.refused(&["predict", "cars.hat", "text.csv"], 2, &["`wt` has type text, expected number"]);
}

#[test]
fn a_row_of_several_files_is_named_with_its_file() {
    let folder = Folder::new();
    folder.file("1.csv", "y,x\n1,2\n2,3\n");
    folder.file("2.csv", "y,x\n3,4\n4,inf\n5,\n");
    folder.refused(&["fit", "y ~ x", "1.csv", "2.csv"], 2, &["row 4 (row 2 of 2.csv): `x` is inf"]);
    folder.refused(&["fit", "y ~ x", "2.csv", "1.csv"], 2, &["row 2 (row 2 of 2.csv): `x` is inf"]);
    folder.refused(&["fit", "y ~ x", "2.csv"], 2, &["error: row 2: `x` is inf"]);
    assert_eq!(folder.hat(&["fit", "y ~ x", "1.csv", "-o", "m.hat"]).code, 0);
    folder.refused(&["predict", "m.hat", "1.csv", "2.csv"], 2, &["row 4 (row 2 of 2.csv)"]);
    folder.file("3.jsonl", "{\"y\":1,\"x\":2}\n");
    folder.file("4.jsonl", "{\"y\":1,\"x\":2}\n{\"y\":3}\n");
    folder.refused(&["fit", "y ~ x", "3.jsonl", "4.jsonl", "--na", "fail"], 2, &["row 3 (row 2 of 4.jsonl): `x`"]);
}

#[test]
fn results_are_not_written_over_their_sources() {
    let folder = Folder::new();
    let rows = "g,d,y,x\na,1,1,2\na,2,2,3\na,3,4,5\nb,4,5,1\nb,5,7,2\nb,6,9,4\n";
    let path = folder.file("a.csv", rows);
    folder.done(&["fit", "y ~ x", "a.csv", "-o", "m.hat"]);
    for args in [
        vec!["fit", "y ~ x", "a.csv", "-o", "a.csv"],
        vec!["fit", "y ~ x", "./a.csv", "--state-out", "a.csv"],
        vec!["fit", "y ~ x", "a.csv", "--by", "g", "-o", "a.csv"],
        vec!["roll", "y ~ x", "a.csv", "--expanding", "--order", "d", "-o", "./a.csv"],
        vec!["predict", "m.hat", "a.csv", "-o", "a.csv"],
    ] {
        folder.refused(&args, 2, &["a.csv is a source", "another name"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), rows);
    }
}

//! `hat transformer`: predictions beside `hat predict`, what is verified, and what is refused.

use serde_json::Value;

use crate::support::{Folder, data};

const FLIGHTS: &str = "arr_delay ~ dep_delay + distance + hour + carrier + origin";
const TRAIN: &str = "SELECT * FROM flights WHERE month <= 11";
const FRESH: &str = "SELECT * FROM flights WHERE month = 12";

impl Folder {
    fn verify(&self, args: &[&str]) -> Value {
        let text = self.done(&[&["transformer", "verify"], args, &["--json"]].concat());
        serde_json::from_str(&text).unwrap()
    }
}

/// The columns after `row` of a CSV text; empty cells are NaN.
fn table(text: &str) -> (Vec<String>, Vec<Vec<f64>>) {
    let mut lines = text.lines();
    let header = lines.next().unwrap().split(',').skip(1).map(str::to_owned).collect();
    let cell = |cell: &str| if cell.is_empty() { f64::NAN } else { cell.parse().unwrap() };
    (header, lines.map(|line| line.split(',').skip(1).map(cell).collect()).collect())
}

/// The largest difference over the spread of the second; rows without a value must be the same.
fn distance(a: &str, b: &str) -> f64 {
    let ((names, a), (expected, b)) = (table(a), table(b));
    assert_eq!((names, a.len()), (expected, b.len()));
    let mut worst = 0.0f64;
    for t in 0..b[0].len() {
        let some: Vec<f64> = b.iter().map(|row| row[t]).filter(|y| !y.is_nan()).collect();
        let mean = some.iter().sum::<f64>() / some.len() as f64;
        let spread = (some.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / some.len() as f64).sqrt();
        for (a, b) in a.iter().zip(&b) {
            assert_eq!(a[t].is_nan(), b[t].is_nan());
            worst = worst.max((a[t] - b[t]).abs() / spread);
        }
    }
    worst
}

#[test]
fn flights_are_predicted_as_the_engine_predicts_them() {
    let folder = Folder::new();
    let flights = data("data/flights.parquet");
    folder.done(&["fit", FLIGHTS, &flights, "--sql", TRAIN, "-o", "m.hat"]);
    let predictions = folder.done(&["predict", "m.hat", &flights, "--sql", FRESH]);
    assert!(table(&predictions).1.iter().any(|row| row[0].is_nan()), "rows with missing values stay");
    for heads in ["1", "4", "20"] {
        let built = folder.done(&["transformer", "build", "m.hat", "--heads", heads, "-o", "w.safetensors"]);
        assert!(built.contains("layout cross, covariance convention"), "{built}");
        let forward = ["transformer", "forward", "w.safetensors", &flights, "--sql", FRESH];
        assert!(distance(&folder.done(&forward), &predictions) <= 1e-12);
        let single = folder.done(&[&forward[..], &["--dtype", "f32"]].concat());
        let error = distance(&single, &predictions);
        assert!(error <= 1e-5 && error > 1e-12, "{error}");
    }
    let verified = folder.verify(&["w.safetensors", &flights, "--sql", FRESH]);
    assert_eq!((&verified["holds"], &verified["rows"]), (&Value::Bool(true), &Value::from(27110)), "{verified}");
    let target = &verified["targets"][0];
    assert!(target["f64"]["max_relative"].as_f64().unwrap() <= 1e-12, "{verified}");
    assert!(target["f64"]["max"].as_f64().unwrap() > 0.0, "{verified}");
    assert!(target["f32"]["max_relative"].as_f64().unwrap() <= 1e-5, "{verified}");
    // December is not the year before it.
    assert!(verified["state_distance"].as_f64().unwrap() > 0.01, "{verified}");

    // The layout solve, with November as its context, is a fit of November.
    let november = "SELECT * FROM flights WHERE month = 11";
    folder.done(&["fit", FLIGHTS, &flights, "--sql", november, "-o", "n.hat"]);
    let local = folder.done(&["predict", "n.hat", &flights, "--sql", FRESH]);
    folder.done(&["transformer", "build", "m.hat", "--layout", "solve", "-o", "s.safetensors"]);
    let context = ["--context", &flights, "--context-sql", november];
    let forward = ["transformer", "forward", "s.safetensors", &flights, "--sql", FRESH];
    assert!(distance(&folder.done(&[&forward[..], &context].concat()), &local) <= 1e-12);
    let verified = folder.verify(&[&["s.safetensors", &flights, "--sql", FRESH], &context[..]].concat());
    assert_eq!(verified["holds"], true, "{verified}");
    assert!(verified["targets"][0]["f64"]["max_relative"].as_f64().unwrap() <= 1e-12, "{verified}");

    // The layout self is least squares on the training rows and the shift law elsewhere.
    folder.done(&["transformer", "build", "m.hat", "--layout", "self", "-o", "t.safetensors"]);
    // (A flight without arrival delay can be predicted, and is no training row.)
    let rows = format!("{TRAIN} AND arr_delay IS NOT NULL");
    let trained = folder.verify(&["t.safetensors", &flights, "--sql", &rows]);
    let fresh = folder.verify(&["t.safetensors", &flights, "--sql", FRESH]);
    for verified in [&trained, &fresh] {
        assert_eq!((&verified["holds"], &verified["shift_law_by"]), (&Value::Bool(true), &"engine".into()));
        assert!(verified["targets"][0]["shift_law"]["max_relative"].as_f64().unwrap() <= 1e-12, "{verified}");
    }
    assert!(trained["targets"][0]["f64"]["max_relative"].as_f64().unwrap() <= 1e-12, "{trained}");
    assert!(trained["state_distance"].as_f64().unwrap() < 1e-10, "{trained}");
    assert!(fresh["targets"][0]["f64"]["max_relative"].as_f64().unwrap() > 0.1, "{fresh}");
}

#[test]
fn formulas_and_models_build_the_same_bytes() {
    let folder = Folder::new();
    let cars = data("reference/data/mtcars.csv");
    for (formula, more) in [
        ("mpg ~ wt + C(cyl) + poly(hp, 2)", &[][..]),
        ("cbind(mpg, disp) ~ wt*hp - 1", &["--weights", "qsec"]),
        ("mpg ~ wt + hp + qsec", &["--ridge", "2", "--standardize"]),
        ("mpg ~ wt + hp + qsec", &["--components", "2"]),
        ("mpg ~ wt + I(2*wt) + hp", &["--aliased", "drop"]),
        ("mpg ~ wt + I(2*wt) + hp", &["--aliased", "min-norm"]),
    ] {
        let (fit, build) = (["fit", formula, &cars, "-o", "m.hat"], ["transformer", "build"]);
        folder.done(&[&fit[..], more].concat());
        folder.done(&[&build[..], &["m.hat", "-o", "a.safetensors"]].concat());
        folder.done(&[&build[..], &[formula, &cars, "-o", "b.safetensors"], more].concat());
        let bytes = |name: &str| std::fs::read(folder.path(name)).unwrap();
        assert!(bytes("a.safetensors") == bytes("b.safetensors"), "{formula} {more:?}");
        let predictions = folder.done(&["predict", "m.hat", &cars]);
        let forward = folder.done(&["transformer", "forward", "a.safetensors", &cars]);
        assert!(distance(&forward, &predictions) <= 1e-11, "{formula} {more:?}");
        for layout in ["self", "cross"] {
            for (convention, heads) in [("covariance", "1"), ("gram", "1"), ("covariance", "2")] {
                let options = ["--layout", layout, "--convention", convention, "--heads", heads, "-o", "c.safetensors"];
                folder.done(&[&build[..], &["m.hat"], &options].concat());
                let verified = folder.verify(&["c.safetensors", &cars]);
                assert_eq!(verified["holds"], true, "{formula} {more:?} {verified}");
                assert!(verified["promise"].as_f64().unwrap() < 1e-9, "{formula} {more:?} {verified}");
                let engine = heads == "1" && !more.contains(&"--ridge") && !more.contains(&"--components");
                let by = if engine { "engine" } else { "model" };
                let by = if layout == "self" { Value::from(by) } else { Value::Null };
                assert_eq!(verified["shift_law_by"], by, "{formula} {more:?}");
                let forward = folder.done(&["transformer", "forward", "c.safetensors", &cars]);
                assert!(distance(&forward, &predictions) <= 1e-11, "{formula} {more:?} {verified}");
            }
        }
    }
}

#[test]
fn files_hold_what_is_printed() {
    let folder = Folder::new();
    let cars = data("reference/data/mtcars.csv");
    folder.done(&["transformer", "build", "mpg ~ wt + C(cyl)", &cars, "-o", "w.safetensors"]);
    let forward = ["transformer", "forward", "w.safetensors", &cars];
    let printed = folder.done(&forward);
    folder.done(&[&forward[..], &["-o", "y.csv", "--inputs", "x.csv"]].concat());
    assert_eq!(std::fs::read_to_string(folder.path("y.csv")).unwrap(), printed);
    let inputs = std::fs::read_to_string(folder.path("x.csv")).unwrap();
    assert!(inputs.starts_with("wt,C(cyl)6,C(cyl)8\n2.62,1.0,0.0\n"), "{inputs}");
    folder.done(&[&forward[..], &["-o", "y.parquet"]].concat());
    let of = |file: &str| folder.done(&["fit", "prediction ~ row", file, "--json"]);
    assert_eq!(of("y.parquet"), of("y.csv"));
    let text = folder.done(&["transformer", "verify", "w.safetensors", &cars]);
    assert!(text.contains("promise: in f64 every row within 20 ε κ") && text.contains(": kept"), "{text}");
    // Threads and batches do not show.
    for more in [&["--threads", "1"][..], &["--threads", "3", "--batch-rows", "7"]] {
        assert_eq!(folder.done(&[&forward[..], more].concat()), printed);
    }
}

/// A file of weights in which entries of a tensor, from `first` on, are what `change` makes of them.
fn bent(bytes: &[u8], tensor: &str, first: usize, change: impl Fn(f64) -> f64) -> Vec<u8> {
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let text: Value = serde_json::from_slice(&bytes[8..header]).unwrap();
    let offset = |end: usize| header + text[tensor]["data_offsets"][end].as_u64().unwrap() as usize;
    let mut bytes = bytes.to_vec();
    for entry in bytes[offset(0) + 8 * first..offset(1)].chunks_exact_mut(8) {
        let x = f64::from_le_bytes((&*entry).try_into().unwrap());
        entry.copy_from_slice(&change(x).to_le_bytes());
    }
    bytes
}

#[test]
fn a_broken_promise_is_an_error() {
    let folder = Folder::new();
    let cars = data("reference/data/mtcars.csv");
    for (layout, fit) in [
        ("cross", &["--heads", "1"][..]),
        ("self", &["--heads", "1"]),
        ("self", &["--heads", "2"]),
        ("self", &["--ridge", "2"]),
        ("self", &["--components", "2"]),
    ] {
        let build = ["transformer", "build", "mpg ~ wt + hp + qsec", &cars, "-o", "w.safetensors", "--layout", layout];
        folder.done(&[&build[..], fit].concat());
        assert_eq!(folder.verify(&["w.safetensors", &cars])["holds"], true, "{layout} {fit:?}");
        let bytes = std::fs::read(folder.path("w.safetensors")).unwrap();
        let flipped = |x: f64| f64::from_bits(x.to_bits() ^ (1 << 40));
        // The slopes' part of w_p three times as large; one bit in the middle of its last number; the maps to keys.
        for (tensor, file) in [
            ("w_p", bent(&bytes, "w_p", 1, |x| 3.0 * x)),
            ("w_p", bent(&bytes, "w_p", 2, flipped)),
            ("w_q", bent(&bytes, "w_q", 1, |x| 1.01 * x)),
        ] {
            folder.file("bent.safetensors", file);
            let outcome = folder.hat(&["transformer", "verify", "bent.safetensors", &cars]);
            assert_eq!(outcome.code, 1, "{layout} {fit:?} {tensor}: {}", outcome.out);
            assert!(outcome.out.contains(": broken") && outcome.err.contains("by more than 20 ε κ"), "{}", outcome.err);
        }
    }
}

#[test]
fn dependent_and_wide_designs_keep_a_finite_promise() {
    let folder = Folder::new();
    let cell = |i: usize, j: usize| ((i * i * (j + 3) + 5 * i * j + 7 * j * j) % 23) as f64 / 7.0;
    let mut wide = String::from("y,a,b,c,d,e,f,g,h\n");
    let mut twice = wide.clone();
    for i in 0..20 {
        let row = |last: f64| {
            let cells: Vec<String> = (0..8).map(|j| cell(i, j).to_string()).chain([last.to_string()]).collect();
            cells.join(",") + "\n"
        };
        if i < 6 {
            wide += &row(cell(i, 8));
        }
        twice += &row(cell(i, 1) + cell(i, 2));
    }
    folder.file("wide.csv", wide);
    folder.file("twice.csv", twice);
    for file in ["wide.csv", "twice.csv"] {
        for fit in [["--ridge", "0.5"], ["--components", "3"]] {
            for layout in ["self", "cross"] {
                let build = ["transformer", "build", "y ~ a + b + c + d + e + f + g + h", file, "-o", "w.safetensors"];
                folder.done(&[&build[..], &["--layout", layout], &fit].concat());
                let verified = folder.verify(&["w.safetensors", file]);
                assert_eq!(verified["holds"], true, "{verified}");
                assert!(verified["condition"].as_f64().unwrap() < 1e4, "{verified}");
                assert!(verified["state_distance"].as_f64().unwrap() < 1e-9, "{verified}");
                assert!(verified["targets"][0]["f32"]["max_relative"].as_f64().unwrap() < 1e-2, "{verified}");
                let bytes = std::fs::read(folder.path("w.safetensors")).unwrap();
                folder.file("bent.safetensors", bent(&bytes, "w_p", 1, |x| 3.0 * x));
                let outcome = folder.hat(&["transformer", "verify", "bent.safetensors", file]);
                assert_eq!(outcome.code, 1, "{}", outcome.out);
            }
        }
    }
}

#[test]
fn designs_without_an_answer_are_not_built() {
    let folder = Folder::new();
    let build = |formula: &'static str, file: &'static str, more: &[&'static str]| {
        [&["transformer", "build", formula, file, "-o", "w.safetensors"], more].concat()
    };
    let mut text = String::from("y,a,b,twice\n");
    (0..30).for_each(|i| text += &format!("{},{},{},{}\n", i % 7, i, (i * i) % 11, 2 * i));
    folder.file("dependent.csv", text);
    let words = ["rank 3 of 4", "`twice` depends on `a`", "min-norm", "--ridge"];
    folder.refused(&build("y ~ a + b + twice", "dependent.csv", &[]), 1, &words);
    folder.done(&build("y ~ a + b + twice", "dependent.csv", &["--aliased", "min-norm"]));
    folder.done(&build("y ~ a + b + twice", "dependent.csv", &["--ridge", "1"]));
    std::fs::remove_file(folder.path("w.safetensors")).unwrap();
    folder.file("one.csv", "y,a\n1,2\n");
    folder.refused(&build("y ~ a", "one.csv", &[]), 1, &["1 row for 2 coefficients"]);
    folder.file("wide.csv", "y,a,b,c\n1,2,3,9\n2,3,5,1\n");
    folder.refused(&build("y ~ a + b + c", "wide.csv", &[]), 1, &["2 rows for 4 coefficients", "--ridge"]);
    folder.refused(&build("y ~ a + nope", "wide.csv", &[]), 2, &["`nope`"]);
    folder.refused(&build("y ~ a", "dependent.csv", &["--heads", "2"]), 2, &["--heads is 2, expected 1 to 1"]);
    folder.refused(&build("y ~ a", "dependent.csv", &["--heads", "0"]), 2, &["--heads is 0"]);
    folder.refused(&["transformer", "build", "y ~ a", "-o", "w.safetensors"], 2, &["without a source"]);
    folder.refused(&["transformer", "build", "no.hat", "-o", "w.safetensors"], 2, &["no.hat", "`y ~ x`"]);
    for (more, what) in [(&["--ridge", "1"][..], "a ridge fit"), (&["--components", "1"], "a fit of components")] {
        let solve = [&build("y ~ a + b", "dependent.csv", &["--layout", "solve"])[..], more].concat();
        folder.refused(&solve, 2, &[what, "--layout cross"]);
    }
    folder.done(&["fit", "y ~ a", "dependent.csv", "-o", "m.hat"]);
    folder.refused(
        &["transformer", "build", "m.hat", "--ridge", "1", "-o", "w.safetensors"],
        2,
        &["--ridge", "fitted already"],
    );
    folder.refused(&build("m.hat", "dependent.csv", &[]), 2, &["sources", "fitted already"]);
    assert!(!folder.path("w.safetensors").exists(), "what failed leaves nothing");
    folder.refused(&["transformer", "build", "m.hat", "-o", "no/such/w.safetensors"], 2, &["no/such/w.safetensors"]);
}

#[test]
fn files_that_are_no_weights() {
    let folder = Folder::new();
    let cars = data("reference/data/mtcars.csv");
    folder.done(&["fit", "mpg ~ wt", &cars, "-o", "m.hat"]);
    folder.done(&["transformer", "build", "m.hat", "-o", "w.safetensors"]);
    let forward = |file: &'static str| ["transformer", "forward", file, "cars.csv"];
    folder.file("cars.csv", std::fs::read(&cars).unwrap());
    folder.refused(&forward("nowhere.safetensors"), 2, &["nowhere.safetensors", "hat transformer build"]);
    folder.refused(&forward("cars.csv"), 2, &["cars.csv"]);
    folder.refused(&forward("m.hat"), 2, &["m.hat", "`hattention-transformer`", "hat transformer build MODEL"]);
    folder.refused(&["predict", "w.safetensors", &cars], 2, &["w.safetensors", "`hattention-model`"]);
    let whole = std::fs::read(folder.path("w.safetensors")).unwrap();
    for cut in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        folder.file("cut.safetensors", &whole[..cut]);
        folder.refused(&forward("cut.safetensors"), 2, &["cut.safetensors"]);
    }
    let replaced = |from: &str, to: &str| {
        let place = whole.windows(from.len()).position(|bytes| bytes == from.as_bytes()).unwrap();
        let mut other = whole.clone();
        other[place..place + from.len()].copy_from_slice(to.as_bytes());
        other
    };
    folder.file("other.safetensors", replaced("\"version\":\"1\"", "\"version\":\"9\""));
    folder.refused(&forward("other.safetensors"), 2, &["weights format version 1", "`9`"]);
    folder.file("missing.safetensors", replaced("\"w_ffn\"", "\"w_fnn\""));
    folder.refused(&forward("missing.safetensors"), 2, &["tensor `w_ffn`"]);
    folder.file(
        "shape.safetensors",
        replaced("\"w_p\":{\"dtype\":\"F64\",\"shape\":[2,1]", "\"w_p\":{\"dtype\":\"F64\",\"shape\":[1,2]"),
    );
    folder.refused(&forward("shape.safetensors"), 2, &["tensor `w_p` of shape [2, 1]", "[1, 2]"]);
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let mut nan = whole.clone();
    nan[header..header + 8].copy_from_slice(&f64::NAN.to_le_bytes());
    folder.file("nan.safetensors", nan);
    for command in ["forward", "verify"] {
        folder.refused(&["transformer", command, "nan.safetensors", &cars], 2, &["finite numbers", "NaN"]);
    }
    folder.refused(&["transformer", "export", "nan.safetensors", "--onnx", "m.onnx"], 2, &["finite numbers", "NaN"]);
    assert!(!folder.path("m.onnx").exists());
}

#[test]
fn exports_and_contexts_are_refused_by_name() {
    let folder = Folder::new();
    let cars = data("reference/data/mtcars.csv");
    let build = |formula: &str, options: &[&str]| {
        folder.done(&[&["transformer", "build", formula, &cars, "-o", "w.safetensors"], options].concat());
    };
    let export = |path: &'static str| ["transformer", "export", "w.safetensors", "--onnx", path];
    build("mpg ~ wt", &[]);
    folder.refused(&export("no/such/m.onnx"), 2, &["no/such/m.onnx", "folder you can write to"]);
    folder.refused(&export("."), 2, &["it is"]);
    let written = folder.done(&export("m.onnx"));
    assert!(written.contains("m.onnx: f64, layout cross, opset 17"), "{written}");
    assert!(written.contains(&format!("{} bytes", std::fs::metadata(folder.path("m.onnx")).unwrap().len())));
    folder.refused(
        &["transformer", "forward", "w.safetensors", &cars, "--context", &cars],
        2,
        &["--context with the layout cross", "--layout solve"],
    );
    folder.file("missing.csv", "wt\nNA\n");
    let forward = folder.done(&["transformer", "forward", "w.safetensors", "missing.csv"]);
    assert_eq!(forward, "row,prediction\n1,\n");
    folder.refused(&["transformer", "verify", "w.safetensors", "missing.csv"], 1, &["no row of the source"]);
    folder.file("far.csv", "wt\n1\n1e39\n");
    folder.done(&["transformer", "forward", "w.safetensors", "far.csv"]);
    let single = ["transformer", "forward", "w.safetensors", "far.csv", "--dtype", "f32"];
    folder.refused(&single, 2, &["row 2", "`wt` is beyond f32", "--dtype f64"]);

    // A mean that singles do not reach, and predictions that they do not.
    folder.file("large.csv", "y,x\n1,0.9e39\n2,1e39\n4,1.2e39\n");
    folder.file("high.csv", "y,x\n1e38,1\n2e38,2\n3e38,3\n");
    folder.file("higher.csv", "x\n3\n10\n");
    for layout in ["self", "cross"] {
        let build = ["transformer", "build", "y ~ x", "large.csv", "-o", "w.safetensors", "--layout", layout];
        folder.done(&build);
        folder.file("small.csv", "x\n0.5\n1\n");
        let single = ["transformer", "forward", "w.safetensors", "small.csv", "--dtype", "f32"];
        folder.refused(&single, 2, &["tensor `x_mean`", "e39, beyond f32", "--dtype f64"]);
        folder.refused(&[&export("l.onnx")[..], &["--dtype", "f32"]].concat(), 2, &["tensor `x_mean`", "--dtype f64"]);
        assert!(!folder.path("l.onnx").exists());
        folder.done(&["transformer", "build", "y ~ x", "high.csv", "-o", "w.safetensors", "--layout", layout]);
        folder.done(&["transformer", "forward", "w.safetensors", "higher.csv"]);
        let single = ["transformer", "forward", "w.safetensors", "higher.csv", "--dtype", "f32"];
        let row = if layout == "self" { "row 1" } else { "row 2" };
        folder.refused(&single, 2, &[row, "the prediction of `y`", "beyond f32", "--dtype f64"]);
    }

    build("mpg ~ 1", &[]);
    folder.refused(&export("m.onnx"), 2, &["the number of columns is 0"]);
    build("mpg ~ wt", &["--layout", "self", "--weights", "qsec"]);
    folder.refused(&export("m.onnx"), 2, &["no input for weights", "--layout cross"]);
    folder.refused(&["transformer", "forward", "w.safetensors", "far.csv"], 2, &["`qsec`"]);

    build("mpg ~ wt + hp", &["--layout", "solve"]);
    let forward = ["transformer", "forward", "w.safetensors", &cars];
    folder.refused(&forward, 2, &["learns from a context", "--context SOURCE"]);
    folder.refused(&["transformer", "verify", "w.safetensors", &cars], 2, &["learns from a context"]);
    folder.file("context.csv", "mpg,wt,hp\n20,1,3\n21,2,6\n25,5,15\n30,6,18\n");
    for command in ["forward", "verify"] {
        let args = ["transformer", command, "w.safetensors", &cars, "--context", "context.csv"];
        folder.refused(&args, 1, &["the context does not fix every coefficient", "`hp` depends on `wt`"]);
    }
    folder.file("few.csv", "mpg,wt,hp\n20,1,3\n");
    folder.refused(&[&forward[..], &["--context", "few.csv"]].concat(), 1, &["1 row for 3 coefficients"]);
    folder.file("none.csv", "mpg,wt,hp\nNA,1,3\n");
    folder.refused(&[&forward[..], &["--context", "none.csv"]].concat(), 1, &["no row with all its values"]);
    folder.file("targetless.csv", "wt,hp\n1,3\n");
    folder.refused(&[&forward[..], &["--context", "targetless.csv"]].concat(), 2, &["`mpg`"]);
}

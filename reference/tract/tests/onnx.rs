//! ONNX files in tract, against the engine (`hat predict`) and the forward pass (`hat transformer forward`).
//!
//! `HAT` names the program; `cargo xtask check tract` builds it and sets it.

use std::path::{Path, PathBuf};
use std::process::Command;

use tract_onnx::prelude::*;

/// On flights: the largest difference over the spread of the predictions.
const FLIGHTS_TOLERANCE: [(&str, f64); 2] = [("f64", 1e-12), ("f32", 1e-5)];
/// `20 ε κ` for the cars' designs, whose conditions are below 62, of predictions up to six times their spread.
const CARS_TOLERANCE: [(&str, f64); 2] =
    [("f64", 20.0 * f64::EPSILON * 62.0 * 6.0), ("f32", 20.0 * f32::EPSILON as f64 * 62.0 * 6.0)];
const FLIGHTS: &str = "arr_delay ~ dep_delay + distance + hour + carrier + origin";

/// A table of numbers, row by row.
struct Table {
    columns: usize,
    data: Vec<f64>,
}

impl Table {
    fn rows(&self) -> usize {
        self.data.len() / self.columns.max(1)
    }

    /// A CSV file that hat wrote, without row numbers: rows with all their values.
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let numbers = text.starts_with("row,") as usize;
        let mut table = Self { columns: 0, data: Vec::new() };
        for line in text.lines().skip(1) {
            let cells: Vec<&str> = line.split(',').skip(numbers).collect();
            if cells.iter().all(|cell| !cell.is_empty()) {
                table.columns = cells.len();
                table.data.extend(cells.iter().map(|cell| cell.parse::<f64>().unwrap()));
            }
        }
        table
    }

    fn tensor(&self, dtype: &str) -> TValue {
        let shape = [self.rows(), self.columns];
        let singles: Vec<f32> = self.data.iter().map(|x| *x as f32).collect();
        match dtype {
            "f64" => Tensor::from_shape(&shape, &self.data).unwrap().into(),
            _ => Tensor::from_shape(&shape, &singles).unwrap().into(),
        }
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn hat(&self, arguments: &[&str]) {
        let program = std::env::var("HAT").expect("HAT names the program: run `cargo xtask check tract`");
        let output = Command::new(program).current_dir(self.0.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn table(&self, name: &str) -> Table {
        Table::read(&self.path(name))
    }

    /// Exports and runs the weights on inputs of fixed sizes.
    fn tract(&self, weights: &str, dtype: &str, inputs: &[&Table]) -> Vec<f64> {
        self.hat(&["transformer", "export", weights, "--onnx", "m.onnx", "--dtype", dtype]);
        let mut model = onnx().model_for_path(self.path("m.onnx")).unwrap();
        for (i, input) in inputs.iter().enumerate() {
            let shape = [input.rows(), input.columns];
            let fact = if dtype == "f64" { f64::fact(shape) } else { f32::fact(shape) };
            model = model.with_input_fact(i, fact.into()).unwrap();
        }
        let plan = model.into_optimized().unwrap().into_runnable().unwrap();
        let result = plan.run(inputs.iter().map(|input| input.tensor(dtype)).collect()).unwrap();
        let cast = result[0].cast_to::<f64>().unwrap();
        cast.to_plain_array_view::<f64>().unwrap().iter().copied().collect()
    }
}

fn data(file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join(file).canonicalize().unwrap().to_str().unwrap().to_owned()
}

/// The largest difference over the spread of each target's predictions.
fn compare(what: &str, dtype: &str, tolerance: f64, got: &[f64], expected: &Table) {
    assert_eq!(got.len(), expected.data.len(), "{what}");
    let (rows, targets) = (expected.rows() as f64, expected.columns);
    let mut worst = 0.0f64;
    for t in 0..targets {
        let column = |values: &[f64]| values.iter().copied().skip(t).step_by(targets).collect::<Vec<f64>>();
        let (got, expected) = (column(got), column(&expected.data));
        let mean = expected.iter().sum::<f64>() / rows;
        let spread = (expected.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / rows).sqrt();
        for (a, b) in got.iter().zip(&expected) {
            assert!(a.is_finite(), "{what}: {a}");
            worst = worst.max((a - b).abs() / spread);
        }
    }
    println!("{what}, {dtype}: {worst:.1e} of the spread");
    assert!(worst <= tolerance, "{what}, {dtype}: {worst:e} for {tolerance:e}");
}

#[test]
fn flights_the_model_has_not_seen() {
    let folder = Folder::new();
    let flights = data("data/flights.parquet");
    let (train, fresh) = ("SELECT * FROM flights WHERE month <= 11", "SELECT * FROM flights WHERE month = 12");
    folder.hat(&["fit", FLIGHTS, &flights, "--sql", train, "-o", "m.hat"]);
    folder.hat(&["predict", "m.hat", &flights, "--sql", fresh, "-o", "p.csv"]);
    for heads in ["1", "4"] {
        folder.hat(&["transformer", "build", "m.hat", "--heads", heads, "-o", "w.safetensors"]);
        let forward = ["transformer", "forward", "w.safetensors", &flights, "--sql", fresh];
        folder.hat(&[&forward[..], &["--inputs", "x.csv", "-o", "y.csv"]].concat());
        for (dtype, tolerance) in FLIGHTS_TOLERANCE {
            let got = folder.tract("w.safetensors", dtype, &[&folder.table("x.csv")]);
            compare(&format!("flights, cross, {heads} heads"), dtype, tolerance, &got, &folder.table("p.csv"));
        }
    }
}

#[test]
fn every_layout_convention_and_split() {
    let folder = Folder::new();
    let cars = data("reference/data/mtcars.csv");
    let formulas = ["mpg ~ wt + hp + qsec + drat", "mpg ~ wt + hp + qsec - 1", "cbind(mpg, disp) ~ wt + hp + qsec"];
    for formula in formulas {
        // The targets of the context, by models that reproduce them.
        let targets = if formula.starts_with("cbind") { "cbind(mpg, disp)" } else { "mpg" };
        let itself = if targets == "mpg" { "mpg ~ mpg_ - 1" } else { "cbind(mpg, disp) ~ mpg_ + disp_ - 1" };
        let query = "SELECT *, mpg AS mpg_, disp AS disp_ FROM mtcars";
        folder.hat(&["fit", itself, &cars, "--sql", query, "-o", "t.hat"]);
        folder.hat(&["predict", "t.hat", &cars, "--sql", query, "-o", "t.csv"]);
        for (layout, convention, heads) in ["self", "cross", "solve"]
            .into_iter()
            .flat_map(|layout| [(layout, "covariance", "1"), (layout, "covariance", "3"), (layout, "gram", "1")])
            // What the layout solve solves has no heads.
            .filter(|(layout, _, heads)| (*layout, *heads) != ("solve", "3"))
        {
            let options = ["--layout", layout, "--convention", convention, "--heads", heads, "-o", "w.safetensors"];
            folder.hat(&[&["transformer", "build", formula, &cars], &options[..]].concat());
            let context: &[&str] = if layout == "solve" { &["--context", &cars] } else { &[] };
            let forward = ["transformer", "forward", "w.safetensors", &cars, "--inputs", "x.csv", "-o", "y.csv"];
            folder.hat(&[&forward[..], context].concat());
            let (x, t) = (folder.table("x.csv"), folder.table("t.csv"));
            let inputs = if layout == "solve" { vec![&x, &x, &t] } else { vec![&x] };
            for (dtype, tolerance) in CARS_TOLERANCE {
                let got = folder.tract("w.safetensors", dtype, &inputs);
                let what = format!("{formula}, {layout}, {convention}, {heads} heads");
                compare(&what, dtype, tolerance, &got, &folder.table("y.csv"));
            }
        }
    }
}

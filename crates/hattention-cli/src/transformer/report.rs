//! What `hat transformer verify` found, as text and JSON.

use hattention::Transformer;
use hattention::transformer::Layout;
use serde_json::{Value, json};

/// `c` of the promise `c ε κ`.
pub const PROMISE: f64 = 20.0;

/// Differences of predictions from a reference.
#[derive(Clone, Default)]
pub struct Errors {
    count: usize,
    largest: f64,
    squares: f64,
    /// The largest difference over the row's size.
    worst: f64,
}

impl Errors {
    /// One prediction, what it should be, and the size of its row: `‖q‖ ‖W_FFN W_p‖`, which no prediction exceeds.
    pub fn push(&mut self, got: f64, expected: f64, size: f64) {
        let gap = (got - expected).abs();
        // NaN must not pass for a small number.
        let gap = if gap.is_nan() { f64::INFINITY } else { gap };
        self.count += 1;
        self.largest = self.largest.max(gap);
        self.squares += gap * gap;
        if gap > 0.0 {
            self.worst = self.worst.max(gap / size);
        }
    }

    fn rms(&self) -> f64 {
        (self.squares / self.count.max(1) as f64).sqrt()
    }

    fn json(&self, spread: f64, unit: f64) -> Value {
        json!({
            "max": self.largest, "rms": self.rms(),
            "max_relative": self.largest / spread, "rms_relative": self.rms() / spread,
            "worst_row": self.worst / unit,
        })
    }
}

/// Mean and spread of the engine's predictions.
#[derive(Clone, Default)]
pub struct Spread {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    /// One prediction (Welford's update).
    pub fn push(&mut self, y: f64) {
        self.count += 1.0;
        let gap = y - self.mean;
        self.mean += gap / self.count;
        self.squares += gap * (y - self.mean);
    }

    /// The standard deviation; of predictions that are all the same their size, and 1 if that is zero.
    fn value(&self) -> f64 {
        let deviation = (self.squares / self.count.max(1.0)).sqrt();
        [deviation, self.mean.abs(), 1.0].into_iter().find(|x| *x > 0.0).unwrap_or(1.0)
    }
}

/// Differences of every target.
pub struct Comparison {
    /// The engine's predictions.
    pub engine: Vec<Spread>,
    /// The construction in doubles against the engine.
    pub double: Vec<Errors>,
    /// In singles.
    pub single: Vec<Errors>,
    /// In the layout self: the construction in doubles against the shift law.
    pub law: Option<Vec<Errors>>,
}

impl Comparison {
    /// No predictions yet.
    pub fn new(targets: usize) -> Self {
        let errors = vec![Errors::default(); targets];
        Self { engine: vec![Spread::default(); targets], double: errors.clone(), single: errors, law: None }
    }
}

/// All that was found.
pub struct Report {
    /// The model's formula.
    pub formula: String,
    /// The weights.
    pub transformer: Transformer,
    /// Rows compared.
    pub rows: usize,
    /// κ of the promise.
    pub condition: f64,
    /// `‖S − I‖` (Frobenius) of the state of the rows, of the context in the layout solve.
    pub state_distance: f64,
    /// The differences.
    pub errors: Comparison,
    /// What singles do not reach, if there is such a thing: then there are no errors in singles.
    pub beyond: Option<String>,
    /// What computed the shift law, in the layout self.
    pub law: Option<&'static str>,
}

impl Report {
    /// What the promise is about: the layout self obeys its law, the others are least squares.
    pub fn reference(&self) -> &'static str {
        match self.transformer.layout {
            Layout::SelfAttention => "the shift law",
            _ => "the engine",
        }
    }

    /// Whether every row in doubles is within the promise; none if the condition is infinite, so that nothing is promised.
    pub fn holds(&self) -> Option<bool> {
        if !self.condition.is_finite() {
            return None;
        }
        let judged = self.errors.law.as_ref().unwrap_or(&self.errors.double);
        Some(judged.iter().all(|errors| errors.worst <= PROMISE * self.unit(f64::EPSILON)))
    }

    /// `ε κ`.
    fn unit(&self, epsilon: f64) -> f64 {
        epsilon * self.condition
    }

    fn lines(&self, t: usize) -> Vec<(&'static str, &'static str, &Errors, f64)> {
        let engine = if self.transformer.layout == Layout::SelfAttention { "least squares" } else { "the engine" };
        let (double, single) = (self.unit(f64::EPSILON), self.unit(f32::EPSILON as f64));
        let mut lines = vec![(engine, "f64", &self.errors.double[t], double)];
        if self.beyond.is_none() {
            lines.push((engine, "f32", &self.errors.single[t], single));
        }
        lines.extend(self.errors.law.iter().map(|law| ("the shift law", "f64", &law[t], double)));
        lines
    }

    /// As a table.
    pub fn text(&self) -> String {
        let t = &self.transformer;
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let whose = if t.layout == Layout::Solve { "the context" } else { "these rows" };
        let mut text = format!(
            "{}\nlayout {}, {} convention, {} of {}; condition {:.3e}\n{}; state of {whose}: ‖S − I‖ = {:.2e} (0 on the training rows)\n",
            self.formula,
            t.layout.name(),
            t.convention.name(),
            count(t.heads.len(), "head"),
            count(t.keys(), "key"),
            self.condition,
            count(self.rows, "row"),
            self.state_distance,
        );
        for (k, target) in t.targets.iter().enumerate() {
            let spread = self.errors.engine[k].value();
            text += &format!(
                "\n{:<16}{:>4}{:>11}{:>11}{:>13}{:>13}{:>16}\n",
                target, "", "max", "rms", "max/spread", "rms/spread", "worst row"
            );
            for (against, numbers, errors, unit) in self.lines(k) {
                let (largest, rms) = (errors.largest, errors.rms());
                let worst = errors.worst / unit;
                let worst = if worst < 1e5 { format!("{worst:.2}") } else { format!("{worst:.1e}") };
                text += &format!(
                    "{against:<16}{numbers:>4}{largest:>11.1e}{rms:>11.1e}{:>13.1e}{:>13.1e}{worst:>12} ε κ\n",
                    largest / spread,
                    rms / spread,
                );
            }
        }
        if let Some(what) = &self.beyond {
            text += &format!("\nnot run in f32: {what}, beyond f32; export and run with --dtype f64\n");
        }
        let verdict = match self.holds() {
            Some(true) => "kept",
            Some(false) => "broken",
            None => return text + "\nno promise: the condition is infinite\n",
        };
        text += &format!(
            "\npromise: in f64 every row within {PROMISE} ε κ = {:.1e} of {}, relative to its size ‖q‖ ‖W_FFN W_p‖: {verdict}\n",
            PROMISE * self.unit(f64::EPSILON),
            self.reference()
        );
        text
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let t = &self.transformer;
        let target = |(k, name): (usize, &String)| {
            let spread = self.errors.engine[k].value();
            let mut described = json!({"name": name, "spread": spread, "f64": null, "f32": null});
            for (against, numbers, errors, unit) in self.lines(k) {
                let key = if against == "the shift law" { "shift_law" } else { numbers };
                described[key] = errors.json(spread, unit);
            }
            described
        };
        json!({
            "formula": self.formula, "layout": t.layout.name(), "convention": t.convention.name(),
            "heads": t.heads.len(), "keys": t.keys(), "rows": self.rows, "condition": self.condition,
            "state_distance": self.state_distance, "promise": PROMISE * self.unit(f64::EPSILON),
            "reference": self.reference(), "shift_law_by": self.law, "holds": self.holds(),
            "beyond_f32": self.beyond,
            "targets": t.targets.iter().enumerate().map(target).collect::<Vec<_>>(),
        })
    }
}

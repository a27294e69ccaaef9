//! One line of a table: who, what is computed, how long it took, how right it was.

use serde_json::{Value, json};

/// What a contestant's rounds gave.
pub(crate) struct Contestant {
    pub(crate) name: String,
    /// Layout of its data, where it has a choice.
    pub(crate) layout: String,
    pub(crate) computes: String,
    pub(crate) seconds: Vec<f64>,
    /// Further numbers of each round, by name.
    pub(crate) parts: Vec<(&'static str, Vec<f64>)>,
    /// Largest relative difference of a coefficient from the exact ones.
    pub(crate) difference: Option<f64>,
    /// Why it has no times, or a remark on them.
    pub(crate) remark: Option<String>,
}

impl Contestant {
    pub(crate) fn new(name: &str, layout: &str, computes: &str) -> Self {
        let text = str::to_owned;
        Self {
            name: text(name),
            layout: text(layout),
            computes: text(computes),
            seconds: Vec::new(),
            parts: Vec::new(),
            difference: None,
            remark: None,
        }
    }

    pub(crate) fn part(&mut self, name: &'static str, value: f64) {
        match self.parts.iter_mut().find(|(n, _)| *n == name) {
            Some((_, values)) => values.push(value),
            None => self.parts.push((name, vec![value])),
        }
    }

    /// Notes how far its coefficients are from the exact ones; without a number for each, it is not ranked.
    pub(crate) fn compare(&mut self, got: &[f64], exact: &[f64]) {
        let difference = largest_difference(got, exact);
        if difference.is_finite() {
            self.difference = Some(difference);
        } else {
            self.remark = Some("coefficients missing".to_owned());
        }
    }

    /// Notes how far its predictions are from the exact ones, relative to the largest of these.
    pub(crate) fn compare_to_size(&mut self, got: &[f64], exact: &[f64]) {
        let size = exact.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        let gap = got.iter().zip(exact).fold(0.0f64, |m, (g, e)| m.max((g - e).abs()));
        self.difference = (got.len() == exact.len() && gap.is_finite()).then_some(gap / size);
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut value = json!({
            "name": self.name,
            "layout": self.layout,
            "computes": self.computes,
            "median_seconds": median(&self.seconds),
            "seconds": self.seconds,
            "coefficient_difference": self.difference,
        });
        for (name, values) in &self.parts {
            value[format!("median_{name}")] = json!(median(values));
            value[*name] = json!(values);
        }
        if let Some(remark) = &self.remark {
            value["remark"] = json!(remark);
        }
        value
    }
}

pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// `max |got − exact| / |exact|`, infinite when the shapes differ or a number is missing.
fn largest_difference(got: &[f64], exact: &[f64]) -> f64 {
    if got.len() != exact.len() || got.iter().any(|g| !g.is_finite()) {
        return f64::INFINITY;
    }
    got.iter().zip(exact).map(|(g, e)| if g == e { 0.0 } else { ((g - e) / e).abs() }).fold(0.0, f64::max)
}

//! What was found, as text and JSON.

use hattention::attention_regression::Scores;
use hattention::thermodynamics::{Head, Look, Observables, Pooled};
use hattention_table::regression::render::{columns, number, significant};
use serde_json::{Value, json};

use super::args::ProbeArgs;
use super::ask::Asked;
use crate::failure::Failure;

/// Queries of a head and batch that are looked at closer.
const LOOKED: usize = 256;
/// Bins of histograms.
const BINS: usize = 48;
/// Groups of queries at most.
const POSITIONS: usize = 8;
/// Weights of a query may miss one by so much, in the logarithm: those of halves do by a thousandth.
const SUM: f64 = 0.02;
/// Digits of the printed table.
const DIGITS: usize = 4;

/// A file's attention.
pub struct Probed {
    /// The file.
    pub file: String,
    /// What it has.
    pub kind: &'static str,
    /// Each of its arrays or pairs.
    pub found: Vec<Found>,
}

/// What one attention says.
pub struct Found {
    /// Its name.
    pub name: String,
    /// Batches, heads, queries and keys.
    pub shape: [usize; 4],
    /// Its temperature.
    pub temperature: f64,
    /// Its heads.
    pub heads: Vec<Head>,
    /// A closer look at each.
    pub looks: Vec<Look>,
    /// The number of the first head: arrays count from 0, the heads of a regression from 1.
    pub first: usize,
    /// Whether scores themselves are known, and not weights alone.
    pub scored: bool,
}

/// What queries from one place to another say on average.
pub struct Position {
    /// The first, counted from 0.
    pub first: usize,
    /// The last.
    pub last: usize,
    /// Means.
    pub mean: Option<Observables>,
    /// The mean of `S/ln n`.
    pub share: f64,
}

/// Temperatures of a sweep: powers of √2 about the own one.
fn sweep(temperature: f64) -> Vec<f64> {
    (-8..=8).map(|k| temperature * 2f64.powf(0.5 * f64::from(k))).collect()
}

fn pooled(heads: &[Head]) -> Vec<Pooled> {
    heads.iter().map(|head| head.pooled).collect()
}

impl Found {
    /// What an attention says.
    ///
    /// # Errors
    /// For numbers that are not finite, and weights that do not sum to one.
    pub fn of_attention(asked: &Asked<'_>, args: &ProbeArgs) -> Result<Self, Failure> {
        let attention = &asked.attention;
        let heads = attention.heads().map_err(|error| {
            let hint = if args.probabilities {
                "weights are what softmax gave: logits are probed without --probabilities"
            } else {
                "look where they come from; keys that are not read have logits of −∞, or at most --masked"
            };
            Failure::usage(error.to_string(), hint)
        })?;
        let (shape, temperature) = (attention.shape(), attention.temperature());
        if args.probabilities {
            check_sums(&heads, shape)?;
        }
        let looks = attention.look(LOOKED, &sweep(temperature), &pooled(&heads), BINS)?;
        let name = asked.name.clone();
        Self { name, shape, temperature, heads, looks, first: 0, scored: !args.probabilities }.checked()
    }

    /// What an attention regression says of its training rows.
    ///
    /// # Errors
    /// For scores that are not finite.
    pub fn of_scores(name: String, scores: &Scores<'_>) -> Result<Self, Failure> {
        let heads = scores.heads()?;
        let looks = scores.look(LOOKED, &sweep(1.0), &pooled(&heads), BINS)?;
        Self { name, shape: scores.shape(), temperature: 1.0, heads, looks, first: 1, scored: true }.checked()
    }

    fn checked(self) -> Result<Self, Failure> {
        if self.heads.iter().all(|head| head.mean.is_none()) {
            return Err(Failure::usage(
                "no query reads a key: all scores are masked",
                "keys that are read have scores above --masked, and weights above zero",
            ));
        }
        Ok(self)
    }

    /// Queries that read no key.
    pub fn unread(&self) -> usize {
        self.heads.iter().map(|head| head.queries.iter().filter(|o| o.is_none()).count()).sum()
    }

    /// How far scores of a head lie apart, at most.
    pub fn span(&self) -> Option<f64> {
        let read = self.heads.iter().map(|head| head.pooled).filter(|pooled| pooled.count > 0);
        read.map(|pooled| pooled.largest - pooled.least).reduce(f64::max)
    }

    /// Groups of queries by their places, over all batches.
    pub fn positions(&self, head: &Head) -> Vec<Position> {
        let [batches, _, queries, _] = self.shape;
        let groups = queries.min(POSITIONS);
        let of_group = |g: usize| {
            let (first, end) = (g * queries / groups, (g + 1) * queries / groups);
            let own: Vec<Option<Observables>> = (0..batches)
                .flat_map(|b| head.queries[b * queries + first..b * queries + end].iter().copied())
                .collect();
            Position { first, last: end - 1, mean: Observables::mean(&own), share: share(&own) }
        };
        (0..groups).map(of_group).collect()
    }
}

/// The mean of `S/ln n` over queries that read two keys or more; NaN without any.
pub fn share(queries: &[Option<Observables>]) -> f64 {
    let of: Vec<f64> =
        queries.iter().flatten().filter(|o| o.keys > 1.0).map(|o| (o.entropy / o.keys.ln()).min(1.0)).collect();
    of.iter().sum::<f64>() / of.len() as f64
}

fn check_sums(heads: &[Head], [_, _, queries, _]: [usize; 4]) -> Result<(), Failure> {
    for (h, head) in heads.iter().enumerate() {
        for (at, found) in head.queries.iter().enumerate() {
            if let Some(found) = found.filter(|found| found.log_partition.abs() > SUM) {
                let (batch, query) = (at / queries, at % queries);
                let sum = found.log_partition.exp();
                let message =
                    format!("weights of batch {batch}, head {h}, query {query} sum to {sum:.4}, counted from 0");
                return Err(Failure::usage(
                    message,
                    "weights after the softmax sum to 1; logits are probed without --probabilities",
                ));
            }
        }
    }
    Ok(())
}

impl Probed {
    /// A table a head.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for found in &self.found {
            let [batches, heads, queries, keys] = found.shape;
            let batches = if batches == 1 { String::new() } else { format!("{batches} batches, ") };
            let plural = if heads == 1 { "" } else { "s" };
            text += &format!(
                "{}: {}, {batches}{heads} head{plural}, {queries} queries, {keys} keys, temperature {}\n\n",
                found.name,
                self.kind,
                hattention_lab::claim::number(found.temperature)
            );
            let variance = if found.scored { "Var(E/T)" } else { "" };
            let header = [
                "head",
                "keys",
                "energy U",
                "entropy S",
                "S/ln n",
                "e^S",
                "1/Σp²",
                "free energy F",
                "capacity C",
                variance,
            ];
            let rows: Vec<Vec<String>> = found.heads.iter().enumerate().map(|(h, head)| found.cells(h, head)).collect();
            text += &columns(&header, &rows);
            text.push('\n');
        }
        text += "Means over queries. e^S and 1/Σp² count the keys that are read in effect; C = Var_p(E)/T² is the variance of\n\
                 ln p under p, zero where weights are even or one has all, largest in between.\n";
        text
    }

    /// The same as JSON, and more.
    pub fn json(&self) -> Value {
        let attention: Vec<Value> = self.found.iter().map(Found::json).collect();
        let temperature = self.found.first().map_or(Value::Null, |found| number(found.temperature));
        json!({"file": self.file, "kind": self.kind, "temperature": temperature, "attention": attention})
    }
}

impl Found {
    /// A head's line.
    pub fn cells(&self, h: usize, head: &Head) -> Vec<String> {
        let Some(mean) = head.mean else {
            return std::iter::once((h + self.first).to_string())
                .chain(std::iter::repeat_n("NA".to_owned(), 9))
                .collect();
        };
        let show = |x: f64| significant(x, DIGITS);
        let keys = if mean.keys.fract() == 0.0 { format!("{}", mean.keys) } else { format!("{:.1}", mean.keys) };
        vec![
            (h + self.first).to_string(),
            keys,
            show(mean.internal_energy),
            show(mean.entropy),
            show(share(&head.queries)),
            show(mean.effective_keys),
            show(mean.participation),
            show(mean.free_energy),
            show(mean.heat_capacity),
            if self.scored { show(head.pooled.variance) } else { String::new() },
        ]
    }

    fn json(&self) -> Value {
        let [batches, heads, queries, keys] = self.shape;
        let head: Vec<Value> = self
            .heads
            .iter()
            .zip(&self.looks)
            .enumerate()
            .map(|(h, (head, look))| self.of_head(h, head, look))
            .collect();
        json!({"name": self.name, "batches": batches, "heads": heads, "queries": queries, "keys": keys,
            "temperature": number(self.temperature), "unread_queries": self.unread(), "head": head})
    }

    fn of_head(&self, h: usize, head: &Head, look: &Look) -> Value {
        let mut value = json!({"head": h + self.first});
        let values = head.mean.map(|mean| mean.values());
        for (at, name) in Observables::NAMES.iter().enumerate() {
            value[*name] = values.map_or(Value::Null, |values| number(values[at]));
        }
        value["entropy_share"] = number(share(&head.queries));
        let Pooled { count, mean, variance, least, largest } = head.pooled;
        value["pooled"] = if self.scored && count > 0 {
            json!({"count": count, "mean": number(mean), "variance": number(variance), "least": number(least),
                "largest": number(largest)})
        } else {
            Value::Null
        };
        let position = |p: Position| {
            let of = |get: fn(&Observables) -> f64| p.mean.as_ref().map_or(Value::Null, |mean| number(get(mean)));
            json!({"first": p.first, "last": p.last, "entropy": of(|o| o.entropy), "entropy_share": number(p.share),
                "heat_capacity": of(|o| o.heat_capacity), "effective_keys": of(|o| o.effective_keys)})
        };
        value["positions"] = self.positions(head).into_iter().map(position).collect();
        let point = |point: &hattention::thermodynamics::Point| {
            let o = point.mean;
            json!({"temperature": number(point.temperature), "internal_energy": number(o.internal_energy),
                "entropy": number(o.entropy), "free_energy": number(o.free_energy),
                "heat_capacity": number(o.heat_capacity), "effective_keys": number(o.effective_keys)})
        };
        value["curve"] = look.curve.iter().map(point).collect();
        let numbers = |of: &[f64]| of.iter().copied().map(number).collect::<Vec<Value>>();
        value["histogram"] =
            json!({"edges": numbers(&look.edges), "keys": numbers(&look.keys), "weights": numbers(&look.weights)});
        value
    }
}

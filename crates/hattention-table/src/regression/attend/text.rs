//! Fits and explanations as tables for people and as JSON for programs.

use hattention::attention_regression::{Explanation, Ranks};
use serde_json::{Map, Value, json};

use super::super::failure::counted;
use super::super::render::{columns, number, significant};
use super::{Explained, Trained};

fn short(x: f64) -> String {
    significant(x, 4)
}

/// `12.3 %`.
fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

impl Trained {
    /// The fit for people.
    pub fn text(&self) -> String {
        let model = &self.model;
        let (learned, options) = (&model.learned, &model.learned.options);
        let report = &learned.report;
        let mut text = format!("Attention regression: {}\n", model.table.frozen.spec().formula);
        text += &format!(
            "{} rows{}, {}; {} by {}{}, each row reads {}\n",
            learned.rows,
            match self.dropped {
                0 => String::new(),
                dropped => format!(" ({dropped} left out for missing values)"),
            },
            counted(learned.columns() as u64, "input"),
            counted(options.heads as u64, "head"),
            options.score,
            if options.ranks == Ranks::Yes { " of ranks" } else { "" },
            self.reads()
        );
        let how = match &self.chosen {
            Some(chosen) => format!("chosen of {} by cross-validation with {} rows", chosen.tried.len(), chosen.rows),
            None => "as given".to_owned(),
        };
        text += &format!("Penalties λ {}, τ {}, {how}\n\n", short(options.penalty), short(options.mixing));
        text += &self.heads_text();
        text += &format!("\nR² of rows left out {} (metrics held)", short(self.r_squared));
        if let Some(folds) = self.r_squared_folds {
            text += &format!(", {} by cross-validation (metrics fitted anew)", short(folds));
        }
        text += &format!("; least squares {}\n", short(self.r_squared_linear));
        text += &format!(
            "Root of the mean square of their errors {}; loss {} after {} steps{}\n",
            short(self.error),
            significant(report.loss, 6),
            report.steps,
            if report.converged { "" } else { ", still falling" }
        );
        if let Some(sampled) = report.sampled {
            text += &format!(
                "Metrics of a sample of {} rows, times {} for all: at {} rows the error (over the target's variance) is {} \
                 reading the sample, {} reading all\n",
                sampled.rows,
                short(sampled.width * sampled.width),
                sampled.queries,
                short(sampled.error_sample),
                short(sampled.error)
            );
        }
        text
    }

    fn reads(&self) -> String {
        let model = &self.model;
        match (&model.block, model.learned.options.mask.to_string().split_once(':')) {
            (Some(block), _) => format!("the rows of other `{block}`"),
            (None, Some(("window", rows))) => format!("the {rows} rows before it"),
            (None, Some((_, rows))) => format!("the rows before it, each half as much every {rows} rows"),
            (None, None) => match model.learned.options.mask.to_string().as_str() {
                "self" => "all rows, itself included".to_owned(),
                "causal" => "the rows before it".to_owned(),
                _ => "all others".to_owned(),
            },
        }
    }

    /// A row a head: its coefficient, its share, and how much every input counts.
    fn heads_text(&self) -> String {
        let learned = &self.model.learned;
        let names = self.model.names();
        let mut header = vec!["head", "coefficient", "share"];
        header.extend(names.iter().map(String::as_str));
        let shares = &learned.report.shares;
        let mut rows = Vec::new();
        if learned.options.linear {
            let mut row = vec!["linear".to_owned(), String::new(), percent(shares.first().copied().unwrap_or(0.0))];
            row.extend(learned.slopes().iter().map(|slope| short(*slope)));
            rows.push(row);
        }
        for (m, (metric, alpha)) in learned.metrics().iter().zip(learned.head_coefficients()).enumerate() {
            let share = percent(shares.get(m + 1).copied().unwrap_or(0.0));
            let mut row = vec![format!("{}", m + 1), short(*alpha), share];
            row.extend((0..names.len()).map(|p| short(metric[p][p].sqrt())));
            rows.push(row);
        }
        let unit = match (learned.options.ranks, learned.options.standardize) {
            (Ranks::Yes, _) => "normal scores",
            (_, true) => "deviations",
            (_, false) => "units",
        };
        let line = if learned.options.linear { "slopes; of the others " } else { "" };
        columns(&header, &rows)
            + &format!("(Under the inputs: of the linear head {line}√Ω, one over the width in {unit} of the input.)\n")
                .replace("of the linear head √Ω", "√Ω")
    }

    /// The fit for programs.
    pub fn json(&self) -> Value {
        let model = &self.model;
        let (learned, options) = (&model.learned, &model.learned.options);
        let report = &learned.report;
        let names = model.names();
        let shares = |m: usize| report.shares.get(m).copied().map_or(Value::Null, number);
        let slopes: Map<String, Value> =
            names.iter().cloned().zip(learned.slopes().iter().map(|slope| number(*slope))).collect();
        let matrix = |metric: &Vec<Vec<f64>>| -> Value {
            metric.iter().map(|row| row.iter().map(|x| number(*x)).collect::<Vec<Value>>()).collect()
        };
        let vector = |values: &[f64]| -> Value { values.iter().map(|x| number(*x)).collect() };
        let heads: Vec<Value> = learned
            .metrics()
            .iter()
            .zip(learned.head_coefficients())
            .enumerate()
            .map(|(m, (metric, alpha))| {
                json!({"coefficient": number(*alpha), "share": shares(m + 1), "metric": matrix(metric),
                    "collapsed": report.collapsed.contains(&m)})
            })
            .collect();
        let chosen = self.chosen.as_ref().map(|chosen| {
            let tried: Vec<Value> = chosen
                .tried
                .iter()
                .map(|t| json!({"penalty": number(t.penalty), "mixing": number(t.mixing), "ranks": t.ranks, "error": number(t.error)}))
                .collect();
            json!({"rows": chosen.rows, "error": number(chosen.error), "error_mean": number(chosen.error_mean), "tried": tried})
        });
        let normal_scores = learned.normal_scores().map(|columns| {
            let of_column =
                |(values, scores): &(Vec<f64>, Vec<f64>)| json!({"values": vector(values), "scores": vector(scores)});
            names.iter().cloned().zip(columns.iter().map(of_column)).collect::<Map<String, Value>>()
        });
        let sampled = report.sampled.map(|s| {
            json!({"rows": s.rows, "queries": s.queries, "width": number(s.width),
                "error_sample": number(s.error_sample), "error": number(s.error)})
        });
        json!({
            "formula": model.table.frozen.spec().formula, "target": model.target(), "n": learned.rows,
            "dropped_rows": self.dropped, "inputs": names, "score": options.score.to_string(),
            "mask": options.mask.to_string(), "block": model.block, "order": model.order,
            "penalty": number(options.penalty), "mixing": number(options.mixing), "cross_validation": chosen,
            "ranks": options.ranks == Ranks::Yes, "normal_scores": normal_scores,
            "precision": options.precision.to_string(), "intercept": number(learned.intercept()),
            "means": vector(learned.means()), "scales": vector(learned.scales()),
            "linear": if options.linear { json!({"share": shares(0), "slopes": slopes}) } else { Value::Null },
            "heads": heads, "r_squared_loo": number(self.r_squared),
            "r_squared_folds": self.r_squared_folds.map_or(Value::Null, number),
            "r_squared_loo_least_squares": number(self.r_squared_linear), "rmse_loo": number(self.error),
            "loss": number(report.loss), "steps": report.steps, "evaluations": report.evaluations,
            "converged": report.converged, "isolated_rows": report.isolated, "sample": sampled, "seed": options.seed,
        })
    }
}

impl Explained {
    /// The explanations for people.
    pub fn text(&self) -> String {
        self.queries.iter().map(|(row, found)| self.query_text(*row, found)).collect::<Vec<_>>().join("\n")
    }

    /// The explanations for programs.
    pub fn json(&self) -> Value {
        let queries: Vec<Value> = self.queries.iter().map(|(row, found)| self.query_json(*row, found)).collect();
        json!({"target": self.target, "training_rows": self.training_rows, "queries": queries})
    }

    fn query_text(&self, row: u64, found: &Explanation) -> String {
        let mut text = format!("Query row {row}: {} = {}\n", self.target, significant(found.prediction, 7));
        let mut header = vec!["  row", "weight", "target", "contribution"];
        header.extend(self.names.iter().map(String::as_str));
        let rows: Vec<Vec<String>> = found
            .top
            .iter()
            .map(|top| {
                let mut cells = vec![
                    format!("  {}", top.row),
                    short(top.weight),
                    short(top.target),
                    short(top.weight * top.target),
                ];
                cells.extend(self.inputs[&top.row].iter().map(|x| short(*x)));
                cells
            })
            .collect();
        text += &columns(&header, &rows);
        let d = &found.diagnostics;
        let heads: Vec<String> = found.heads.iter().map(|part| short(*part)).collect();
        text += &format!("  linear head {}, heads {} (about the mean)\n", short(found.linear), heads.join(", "));
        text += &format!(
            "  concentration {} (share of the top 5 %), short position {}, gross leverage {}, sum {}\n",
            short(d.concentration),
            short(d.short),
            short(d.gross),
            short(d.leverage_sum)
        );
        let beside = found.constant.abs() > 1e-6 * (found.prediction.abs() + found.linear.abs());
        if beside || (found.diagnostics.leverage_sum - 1.0).abs() > 1e-6 {
            text += &format!("  beside the rows, which are those of the heads alone: {}\n", short(found.constant));
        }
        let turnover =
            found.turnover.map_or(String::new(), |t| format!("; turnover {} from the query before", short(t)));
        text += &format!(
            "  effective rows {} (Rényi), {} (Shannon){turnover}\n",
            short(d.effective_rows),
            short(d.effective_rows_entropy)
        );
        text
    }

    fn query_json(&self, row: u64, found: &Explanation) -> Value {
        let top: Vec<Value> = found
            .top
            .iter()
            .map(|top| {
                let inputs = self.inputs[&top.row].iter().map(|x| number(*x));
                let inputs: Map<String, Value> = self.names.iter().cloned().zip(inputs).collect();
                json!({"row": top.row, "weight": number(top.weight), "target": number(top.target),
                    "contribution": number(top.weight * top.target), "inputs": inputs})
            })
            .collect();
        let d = &found.diagnostics;
        let heads: Vec<Value> = found.heads.iter().map(|part| number(*part)).collect();
        json!({
            "row": row, "prediction": number(found.prediction), "constant": number(found.constant), "top": top,
            "linear": number(found.linear), "heads": heads, "concentration": number(d.concentration),
            "short_position": number(d.short), "gross_leverage": number(d.gross),
            "leverage_sum": number(d.leverage_sum), "effective_rows": number(d.effective_rows),
            "effective_rows_entropy": number(d.effective_rows_entropy),
            "turnover": found.turnover.map_or(Value::Null, number),
        })
    }
}

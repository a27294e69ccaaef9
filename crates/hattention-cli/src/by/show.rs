//! The groups as JSON for programs, and the first of them as a table for people.

use std::io::Write;

use hattention::fit::distribution::t_two_sided;
use hattention::groups::{GroupFit, TargetFit};
use hattention_table::arrow::array::{Array, ArrayRef, AsArray};
use hattention_table::arrow::datatypes::{DataType, Float64Type};
use hattention_table::arrow::util::display::{ArrayFormatter, FormatOptions};
use hattention_table::regression::render::{self, number, significant};
use serde_json::{Map, Value, json};

use super::Tally;
use super::table::{self, Slice, Table};
use crate::failure::Failure;
use crate::output;

/// Groups and coefficients that are printed at most.
const SHOWN: (usize, usize) = (20, 6);

impl Table<'_> {
    /// Prints all groups as JSON, one a line.
    ///
    /// # Errors
    /// If it cannot be printed.
    pub fn json<'s>(&self, fits: &mut dyn Iterator<Item = Slice<'s>>) -> Result<Tally, Failure> {
        let mut tally = Tally::default();
        self.json_head()?;
        for (numbers, some) in fits {
            self.json_rows(tally.groups == 0, numbers, &some)?;
            some.iter().for_each(|fit| tally.count(fit));
        }
        Self::json_tail()?;
        Ok(tally)
    }

    pub(super) fn json_head(&self) -> Result<(), Failure> {
        let head = json!({"formula": self.formula, "by": self.by}).to_string();
        output::print(&format!("{},\n\"groups\": [", head.trim_end_matches('}')))
    }

    /// Some groups; `first` says whether they are the first.
    pub(super) fn json_rows(&self, first: bool, numbers: &[u32], fits: &[GroupFit]) -> Result<(), Failure> {
        let keys = self.keys.values(numbers)?;
        let mut text = Vec::new();
        for (row, (group, fit)) in numbers.iter().zip(fits).enumerate() {
            let comma = if first && row == 0 { "\n" } else { ",\n" };
            let value = self.group(&keys, row, *group, fit)?;
            write!(text, "{comma}{value}").map_err(|e| crate::sink::unwritable(&e))?;
        }
        output::print(&String::from_utf8_lossy(&text))
    }

    pub(super) fn json_tail() -> Result<(), Failure> {
        output::print("\n]}\n")
    }

    fn group(&self, keys: &[ArrayRef], row: usize, group: u32, fit: &GroupFit) -> Result<Value, Failure> {
        let mut key = Map::new();
        for (name, array) in self.by.iter().zip(keys) {
            key.insert(name.clone(), json_value(array, row)?);
        }
        let mut fields = Map::new();
        fields.insert("key".into(), Value::Object(key));
        fields.insert("status".into(), table::status(fit).into());
        fields.insert("method".into(), table::method(fit).into());
        fields.insert("n".into(), fit.rows.into());
        fields.insert("dropped_rows".into(), self.dropped[group as usize].into());
        fields.insert("rank".into(), fit.rank.into());
        fields.insert("df_residual".into(), number(fit.df_residual));
        match (&fit.targets[..], self.targets.len()) {
            (targets, 1) => fields.extend(numbers_of(fit, targets.first())),
            (targets, _) => {
                let of = |(place, name): (usize, &String)| {
                    let mut fields = Map::from_iter([("name".to_owned(), Value::from(name.as_str()))]);
                    fields.extend(numbers_of(fit, targets.get(place)));
                    Value::Object(fields)
                };
                fields.insert("targets".into(), self.targets.iter().enumerate().map(of).collect());
            }
        }
        Ok(Value::Object(fields))
    }

    /// Prints the first groups.
    ///
    /// # Errors
    /// If it cannot be printed.
    pub fn print<'s>(&self, fits: &mut dyn Iterator<Item = Slice<'s>>, groups: usize) -> Result<Tally, Failure> {
        let mut tally = Tally::default();
        let mut shown: Vec<Vec<Vec<String>>> = self.targets.iter().map(|_| Vec::new()).collect();
        for (numbers, some) in fits {
            let keys = self.keys.values(&numbers[..numbers.len().min(SHOWN.0)])?;
            for (row, fit) in some.iter().enumerate() {
                if tally.groups < SHOWN.0 as u64 {
                    for (target, shown) in shown.iter_mut().enumerate() {
                        shown.push(self.line(&keys, row, fit, target)?);
                    }
                }
                tally.count(fit);
            }
        }
        let mut header: Vec<&str> = self.by.iter().map(String::as_str).chain(["n"]).collect();
        header.extend(self.names.iter().take(SHOWN.1).map(String::as_str));
        header.extend(["sigma", "R²", "status"]);
        let mut text = format!("{}\nby {}: {}\n", self.formula, self.by.join(", "), tally.text());
        for (target, rows) in self.targets.iter().zip(&shown) {
            let named = if self.targets.len() > 1 { format!("\nResponse {target}:\n") } else { "\n".into() };
            text.push_str(&format!("{named}{}", render::columns(&header, rows)));
        }
        text.push_str("---\nEstimates, their standard errors in brackets\n");
        let (more, wider) = (groups.saturating_sub(SHOWN.0), self.names.len().saturating_sub(SHOWN.1));
        let more = (more > 0).then(|| crate::failure::counted(more as u64, "more group"));
        let wider = (wider > 0).then(|| crate::failure::counted(wider as u64, "more coefficient"));
        let rest: Vec<String> = more.into_iter().chain(wider).collect();
        if !rest.is_empty() {
            text.push_str(&format!("{}: -o groups.parquet (or .csv) writes all\n", rest.join(", ")));
        }
        output::print(&text)?;
        Ok(tally)
    }

    /// The cells of a group.
    fn line(&self, keys: &[ArrayRef], row: usize, fit: &GroupFit, target: usize) -> Result<Vec<String>, Failure> {
        let mut cells = Vec::new();
        for array in keys {
            cells.push(shown(array, row)?);
        }
        cells.push(fit.rows.to_string());
        let numbers = fit.targets.get(target);
        for name in self.names.iter().take(SHOWN.1) {
            let place = fit.names.iter().position(|own| own == name);
            let cell = numbers.zip(place).map(|(numbers, k)| (numbers.estimates[k], numbers.std_errors[k]));
            cells.push(match cell {
                Some((b, _)) if b.is_nan() => "NA".into(),
                Some((b, se)) if se.is_nan() => significant(b, 5),
                Some((b, se)) => format!("{} ({})", significant(b, 5), significant(se, 2)),
                None => "NA".into(),
            });
        }
        let cell = |of: fn(&TargetFit) -> f64| numbers.map_or("NA".into(), |numbers| significant(of(numbers), 4));
        cells.push(cell(|numbers| numbers.sigma));
        cells.push(cell(|numbers| numbers.r_squared));
        cells.push(table::status(fit));
        Ok(cells)
    }
}

/// The numbers of a target, as `hat fit --json` names them.
fn numbers_of(fit: &GroupFit, numbers: Option<&TargetFit>) -> Map<String, Value> {
    let none = TargetFit {
        estimates: vec![],
        std_errors: vec![],
        df: f64::NAN,
        sigma: f64::NAN,
        r_squared: f64::NAN,
        digits: f64::NAN,
    };
    let of = numbers.unwrap_or(&none);
    let coefficient = |(name, (b, se)): (&String, (&f64, &f64))| {
        let t = table::t(*b, *se);
        json!({"name": name, "estimate": number(*b), "std_error": number(*se), "t": number(t), "p": number(t_two_sided(t, of.df))})
    };
    let coefficients = fit.names.iter().zip(of.estimates.iter().zip(&of.std_errors)).map(coefficient);
    Map::from_iter([
        ("coefficients".to_owned(), coefficients.collect()),
        ("sigma".to_owned(), number(of.sigma)),
        ("r_squared".to_owned(), number(of.r_squared)),
        ("digits".to_owned(), number(of.digits)),
    ])
}

fn json_value(array: &ArrayRef, row: usize) -> Result<Value, Failure> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    let text = shown(array, row)?;
    // Decimals of many digits are more than JSON's numbers hold.
    let numeric = array.data_type().is_integer() || matches!(array.data_type(), DataType::Float32 | DataType::Float64);
    Ok(match array.data_type() {
        DataType::Boolean => Value::Bool(text == "true"),
        _ if numeric => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        _ => Value::String(text),
    })
}

fn shown(array: &ArrayRef, row: usize) -> Result<String, Failure> {
    if array.is_null(row) {
        return Ok("NA".into());
    }
    // Whole numbers as such: those of a CSV file are doubles.
    if let Some(numbers) = array.as_primitive_opt::<Float64Type>() {
        return Ok(numbers.value(row).to_string());
    }
    let formatter = ArrayFormatter::try_new(array, &FormatOptions::default());
    let text = formatter.and_then(|formatter| formatter.value(row).try_to_string());
    text.map_err(|e| crate::sink::unwritable(&e))
}

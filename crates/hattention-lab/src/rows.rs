//! Rows of results: labels that say which setting, and the numbers found there.

use serde_json::{Map, Number, Value, json};

use crate::error::Error;

/// A setting and the numbers found there.
///
/// Numbers that are not finite survive files: NaN is written as null, infinities as words.
///
/// # Example
/// ```
/// use hattention_lab::rows::Row;
/// let row = Row::new().label("memory", "linear").label("N", 32).value("recovered", 0.95);
/// assert_eq!(row.get("recovered"), Some(0.95));
/// assert_eq!(row.count("N"), Some(32));
/// assert!(row.is("memory", "linear") && row.is("N", 32));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    labels: Vec<(String, Value)>,
    values: Vec<(String, f64)>,
}

impl Row {
    /// An empty row.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a label: a word, a number or a truth value.
    pub fn label(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.labels.push((name.to_owned(), value.into()));
        self
    }

    /// With a number that was found.
    pub fn value(mut self, name: &str, value: f64) -> Self {
        self.values.push((name.to_owned(), value));
        self
    }

    /// The same labels, and no numbers.
    pub fn without_values(&self) -> Self {
        Self { labels: self.labels.clone(), values: Vec::new() }
    }

    /// The number of that name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(n, _)| n == name).map(|(_, v)| *v)
    }

    /// The label of that name.
    pub fn labelled(&self, name: &str) -> Option<&Value> {
        self.labels.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    /// The label of that name, if it is a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.labelled(name)?.as_f64()
    }

    /// The label of that name, if it is a count.
    pub fn count(&self, name: &str) -> Option<usize> {
        self.labelled(name)?.as_u64().map(|n| n as usize)
    }

    /// The label of that name, if it is a word.
    pub fn word(&self, name: &str) -> Option<&str> {
        self.labelled(name)?.as_str()
    }

    /// Whether the label has that value.
    pub fn is(&self, name: &str, value: impl Into<Value>) -> bool {
        self.labelled(name) == Some(&value.into())
    }

    pub(crate) fn to_json(&self) -> Value {
        let labels: Map<String, Value> = self.labels.iter().cloned().collect();
        let values: Map<String, Value> = self.values.iter().map(|(name, v)| (name.clone(), written(*v))).collect();
        json!({"labels": labels, "values": values})
    }

    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let labels = value["labels"].as_object()?.iter().map(|(name, v)| (name.clone(), v.clone())).collect();
        let values = value["values"].as_object()?.iter().map(|(name, v)| Some((name.clone(), read(v)?)));
        Some(Self { labels, values: values.collect::<Option<_>>()? })
    }
}

fn written(x: f64) -> Value {
    match Number::from_f64(x) {
        Some(number) => Value::Number(number),
        None if x.is_nan() => Value::Null,
        None => Value::String(if x > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()),
    }
}

fn read(value: &Value) -> Option<f64> {
    match value {
        Value::Null => Some(f64::NAN),
        Value::String(word) if word == "Infinity" => Some(f64::INFINITY),
        Value::String(word) if word == "-Infinity" => Some(f64::NEG_INFINITY),
        other => other.as_f64(),
    }
}

/// Rows as tidy CSV: one line for each number, with the unit, all labels, the quantity and the value.
///
/// # Errors
/// [`Error::Parameter`] if a label is neither a word, a number nor a truth value.
pub fn tidy<'a>(rows: impl Iterator<Item = (&'a str, &'a Row)>) -> Result<String, Error> {
    let rows: Vec<_> = rows.collect();
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().flat_map(|(_, row)| &row.labels) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let mut text = String::from("unit,");
    names.iter().for_each(|name| text += &(cell(name) + ","));
    text += "quantity,value\n";
    for (unit, row) in rows {
        let mut start = cell(unit) + ",";
        for name in &names {
            start += &match row.labelled(name) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(word)) => cell(word),
                Some(other @ (Value::Number(_) | Value::Bool(_))) => other.to_string(),
                Some(other) => {
                    let allowed = "a word, a number or a truth value";
                    return Err(Error::Parameter { name: "a label", got: other.to_string(), allowed });
                }
            };
            start.push(',');
        }
        for (quantity, value) in &row.values {
            text += &format!("{start}{},{value}\n", cell(quantity));
        }
    }
    Ok(text)
}

fn cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_survive_files() {
        let values = [0.1, -0.0, 1e-310, f64::MAX, f64::INFINITY, f64::NEG_INFINITY];
        let mut row = Row::new().label("a", "x,\"y\"").label("b", 3).label("c", true);
        for (i, value) in values.iter().enumerate() {
            row = row.value(&format!("v{i}"), *value);
        }
        let text = row.to_json().to_string();
        assert_eq!(Row::from_json(&serde_json::from_str(&text).unwrap()), Some(row));
        let nan = Row::new().value("v", f64::NAN).to_json();
        assert!(Row::from_json(&nan).unwrap().get("v").unwrap().is_nan());
        assert_eq!(Row::from_json(&json!({"labels": {}, "values": {"v": "1"}})), None);
    }

    #[test]
    fn tidy_has_a_line_for_each_number() {
        let rows =
            [Row::new().label("N", 8).value("p", 0.5).value("q", 1e-7), Row::new().label("set", "a,b").value("p", 1.0)];
        let text = tidy(rows.iter().map(|row| ("u", row))).unwrap();
        assert_eq!(text, "unit,N,set,quantity,value\nu,8,,p,0.5\nu,8,,q,0.0000001\nu,,\"a,b\",p,1\n");
        let list = Row::new().label("l", vec![1, 2]).value("p", 1.0);
        assert!(tidy(std::iter::once(("u", &list))).is_err());
    }
}

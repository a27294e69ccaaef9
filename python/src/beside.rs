//! What is told of a fit and is in no file of a model: pickles keep it beside the file's bytes.

use hattention::absorb::Solution;
use hattention_table::regression::absorb::Absorption;
use serde_json::{Value, json};

/// Variance inflation, and what is told of effects.
pub type Beside = (Option<Vec<Option<f64>>>, Option<Absorption>);

/// Reads what [`text_of`] wrote.
pub fn read(text: &str) -> Option<Beside> {
    let value: Value = serde_json::from_str(text).ok()?;
    let count = |value: &Value| value.as_u64().map(|count| count as usize);
    let inflation = match &value["inflation"] {
        Value::Null => None,
        all => Some(all.as_array()?.iter().map(|one| one.as_u64().map(f64::from_bits)).collect()),
    };
    let absorption = match &value["absorption"] {
        Value::Null => None,
        of => {
            let effect = |one: &Value| Some((one[0].as_str()?.to_owned(), count(&one[1])?, one[2].as_bool()?));
            let number = |key: &str| of[key].as_u64().map(f64::from_bits);
            let solution =
                Solution { tolerance: number("tolerance")?, reached: number("reached")?, steps: count(&of["steps"])? };
            Some(Absorption {
                effects: of["effects"].as_array()?.iter().map(effect).collect::<Option<_>>()?,
                coefficients: count(&of["coefficients"])?,
                parts: count(&of["parts"])?,
                solution,
            })
        }
    };
    Some((inflation, absorption))
}

/// Both as JSON, numbers by their bits.
pub fn text_of(inflation: Option<&[Option<f64>]>, absorption: Option<&Absorption>) -> String {
    let inflation = inflation.map(|all| all.iter().map(|one| one.map(f64::to_bits)).collect::<Vec<_>>());
    let absorption = absorption.map(|of| {
        let Solution { tolerance, reached, steps } = of.solution;
        json!({
            "effects": of.effects, "coefficients": of.coefficients, "parts": of.parts,
            "tolerance": tolerance.to_bits(), "reached": reached.to_bits(), "steps": steps,
        })
    });
    json!({"inflation": inflation, "absorption": absorption}).to_string()
}

//! The effects of a fit, as tensors of a model file.

use safetensors::SafeTensors;
use serde_json::{Value, json};

use super::{Tensors, bits, mismatch, missing, number, read_pairs};
use crate::absorb::FittedEffects;
use crate::double_double::DoubleDouble;
use crate::error::Error;

/// Most codes that a file may claim for one effect.
const LARGEST_CODES: u64 = 1 << 28;

/// Adds the effects of target `t` to the tensors; what is left to say of them.
pub(super) fn write(effects: Option<&FittedEffects>, t: usize, tensors: &mut Tensors) -> Value {
    let Some(fitted) = effects else { return Value::Null };
    let described = fitted.effects.iter().zip(&fitted.levels).enumerate().map(|(e, ((name, values), levels))| {
        let none = DoubleDouble::from(f64::NAN);
        let values: Vec<DoubleDouble> = values.iter().map(|value| value.unwrap_or(none)).collect();
        tensors.pairs(&tensor(t, e), &values);
        json!({"name": name, "codes": values.len(), "levels": levels})
    });
    let described: Vec<Value> = described.collect();
    json!({"effects": described, "total_sum": bits(fitted.total_sum), "r_squared": bits(fitted.r_squared)})
}

/// Reads what [`write`] wrote.
///
/// # Errors
/// [`Error::Format`] for a part that is missing, of another length, or not finite.
pub(super) fn read(described: &Value, t: usize, tensors: &SafeTensors<'_>) -> Result<Option<FittedEffects>, Error> {
    if described.is_null() {
        return Ok(None);
    }
    let list = described["effects"].as_array().ok_or_else(|| missing("effects"))?;
    let (mut effects, mut levels) = (Vec::new(), Vec::new());
    for (e, effect) in list.iter().enumerate() {
        let name = effect["name"].as_str().ok_or_else(|| missing("the name of an effect"))?;
        let count = |key| effect[key].as_u64().filter(|n| *n <= LARGEST_CODES).ok_or_else(|| missing(key));
        let values = read_pairs(tensors, &tensor(t, e), count("codes")? as usize)?;
        if values.iter().any(|value| value.hi.is_infinite() || !(value.hi.is_nan() || value.lo.is_finite())) {
            return Err(mismatch("finite effects".into(), format!("others of `{name}`")));
        }
        let values = values.into_iter().map(|value| (!value.hi.is_nan()).then_some(value));
        effects.push((name.to_owned(), values.collect()));
        levels.push(count("levels")? as usize);
    }
    let (total_sum, r_squared) = (number(described, "total_sum")?, number(described, "r_squared")?);
    Ok(Some(FittedEffects { effects, levels, total_sum, r_squared }))
}

fn tensor(t: usize, effect: usize) -> String {
    format!("target{t}.effect{effect}")
}

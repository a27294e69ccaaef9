//! States as safetensors files.

use std::collections::HashMap;

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use super::{LARGEST_COUNT, Tensors, mismatch, missing, open};
use crate::error::Error;
use crate::exact::accumulator::Accumulator;
use crate::exact::quartic_table::QuarticTable;
use crate::exact::stored::{Entries, entries, table};
use crate::moments::{Moments, Stored};
use crate::quartic::{MOST_COLUMNS, QuarticMoments};

/// What a file of a state says it is.
const FORMAT_NAME: &str = "hattention-state";
/// The version of such files that this release writes where there are no sums of products of four columns.
const FORMAT_VERSION: u64 = 1;
/// That of files with such sums: what does not know them would join states and lose them.
const QUARTIC_VERSION: u64 = 2;
/// The name of these sums. (Those of states are letters.)
const QUARTIC: &str = "quartic_sums";

/// States of the same rows, and what the caller wants to keep beside them.
///
/// # File
/// Safetensors. For each state `s`: `s.shapes` (I32, `[pairs, 2]`: exponent and words of the entries `(i, j)`, `i ≤ j`,
/// column by column, of which column 0 is the constant), `s.words` (U64: odd integers in two's complement, least
/// significant word first) and `s.logs` (the same of `Σ log w`, if there are weights), so that a sum is
/// `integer · 2^exponent`, exactly. The metadata hold `format`, `version`, `states` (JSON: name, columns, rows, and `stored`:
/// of the constant and each column how many numbers came, whether all of them came as pairs that doubles hold, and how
/// many no double holds) and `extra` (JSON). The same for the sums of products of four columns `quartic_sums`, if there are
/// any: entries `i ≤ j ≤ k ≤ l`, the last column running slowest, and `quartic` (JSON: columns, rows) in the metadata; such
/// a file has version 2, any other version 1. Equal states of as many columns are equal bytes, whatever order, blocks,
/// threads or merges made them.
///
/// # Example
/// ```
/// use hattention::codec::States;
/// use hattention::{Block, Column, Moments};
/// let (x, y) = ([0.1, 0.2, 0.3], [1.0, 2.0, 4.0]);
/// let block = Block { rows: 3, columns: vec![Column::Dense(&x), Column::Dense(&y)], weights: None };
/// let moments = Moments::of(&block).unwrap();
/// let states = States { states: vec![("moments".into(), moments.clone())], quartic: None, extra: Default::default() };
/// let bytes = states.to_bytes().unwrap();
/// assert_eq!(States::from_bytes(&bytes).unwrap().get("moments"), Some(&moments));
/// assert!(States::from_bytes(&bytes[..bytes.len() - 1]).is_err());
/// ```
#[derive(Clone, Debug)]
pub struct States {
    /// The states by name: letters only.
    pub states: Vec<(String, Moments)>,
    /// The sums of products of four columns of the same rows, if they were gathered.
    pub quartic: Option<QuarticMoments>,
    /// The caller's own description.
    pub extra: Value,
}

impl States {
    /// The state of a name.
    pub fn get(&self, name: &str) -> Option<&Moments> {
        self.states.iter().find(|(known, _)| known == name).map(|(_, state)| state)
    }

    /// The states as a safetensors file.
    ///
    /// # Errors
    /// [`Error::Format`] if the description cannot be written, a name is there twice, or sums are those of
    /// residuals of effects.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut tensors = Tensors::default();
        let mut described = Vec::new();
        for (name, state) in &self.states {
            if self.states.iter().filter(|(other, _)| other == name).count() > 1 {
                return Err(mismatch("states of different names".into(), format!("`{name}` twice")));
            }
            if state.taken.is_some() {
                return Err(mismatch("sums of rows".into(), format!("sums of residuals in `{name}`")));
            }
            write_sums(&mut tensors, name, &entries(&state.sums));
            // (Rows that came and went leave no logarithms.)
            let logs = state.log_weights.as_ref().filter(|logs| **logs != Accumulator::new(2));
            if let Some(logs) = logs {
                write_sums(&mut tensors, &logs_of(name), &entries(logs));
            }
            let stored = state.stored.iter().map(|s| [s.numbers, s.only_pairs() as u64, s.beyond]).collect::<Vec<_>>();
            described.push(json!({
                "name": name, "columns": state.columns(), "rows": state.rows(), "stored": stored, "logs": logs.is_some(),
            }));
        }
        let version = if self.quartic.is_some() { QUARTIC_VERSION } else { FORMAT_VERSION };
        let mut metadata = HashMap::from([
            ("format".to_owned(), FORMAT_NAME.to_owned()),
            ("version".to_owned(), version.to_string()),
            ("states".to_owned(), Value::Array(described).to_string()),
            ("extra".to_owned(), self.extra.to_string()),
        ]);
        if let Some(quartic) = &self.quartic {
            write_sums(&mut tensors, QUARTIC, &quartic.sums.entries());
            let described = json!({"columns": quartic.columns(), "rows": quartic.rows()});
            metadata.insert("quartic".to_owned(), described.to_string());
        }
        tensors.to_bytes(metadata)
    }

    /// Reads a file of states.
    ///
    /// # Errors
    /// [`Error::Format`] for anything that is not a whole file of states of this version: cut short, foreign, of another
    /// version, with missing or wrongly shaped tensors, or with sums that no rows can have.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (metadata, tensors) = open(bytes, FORMAT_NAME, "state", &[FORMAT_VERSION, QUARTIC_VERSION])?;
        let described = metadata.json("states")?;
        let described = described.as_array().ok_or_else(|| missing("states"))?;
        let states = described.iter().map(|state| read(state, &tensors)).collect::<Result<_, _>>()?;
        let with_quartic = metadata.text("version") == QUARTIC_VERSION.to_string();
        let quartic = if with_quartic { Some(read_quartic(&metadata.json("quartic")?, &tensors)?) } else { None };
        Ok(Self { states, quartic, extra: metadata.json("extra")? })
    }
}

fn logs_of(name: &str) -> String {
    format!("{name}.log_weights")
}

fn write_sums(tensors: &mut Tensors, name: &str, Entries { shapes, words }: &Entries) {
    let flat = shapes.iter().flat_map(|&(exponent, length)| [exponent, length as i32]);
    let bytes = flat.flat_map(i32::to_le_bytes).collect();
    tensors.0.push((format!("{name}.shapes"), Dtype::I32, vec![shapes.len(), 2], bytes));
    let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    tensors.0.push((format!("{name}.words"), Dtype::U64, vec![words.len()], bytes));
}

fn read_entries(tensors: &SafeTensors<'_>, name: &str) -> Result<Entries, Error> {
    let part = |kind: &str, dtype: Dtype| {
        let name = format!("{name}.{kind}");
        let view = tensors.tensor(&name).map_err(|_| missing(&name))?;
        if view.dtype() == dtype {
            Ok(view.data())
        } else {
            Err(mismatch(format!("tensor `{name}` of {dtype:?}"), format!("{:?}", view.dtype())))
        }
    };
    let (shapes, _) = part("shapes", Dtype::I32)?.as_chunks::<8>();
    let (words, _) = part("words", Dtype::U64)?.as_chunks::<8>();
    let half = |bytes: &[u8; 8], from: usize| {
        i32::from_le_bytes([bytes[from], bytes[from + 1], bytes[from + 2], bytes[from + 3]])
    };
    Ok(Entries {
        // (A negative length is far too many words.)
        shapes: shapes.iter().map(|bytes| (half(bytes, 0), half(bytes, 4) as u32)).collect(),
        words: words.iter().map(|word| u64::from_le_bytes(*word)).collect(),
    })
}

fn read_sums(tensors: &SafeTensors<'_>, name: &str, columns: usize) -> Result<Accumulator, Error> {
    let entries = read_entries(tensors, name)?;
    table(columns, &entries).map_err(|got| mismatch(format!("sums of products in `{name}` that rows can have"), got.1))
}

fn read_quartic(described: &Value, tensors: &SafeTensors<'_>) -> Result<QuarticMoments, Error> {
    let columns = described["columns"].as_u64().filter(|c| *c <= MOST_COLUMNS as u64);
    let columns = columns.ok_or_else(|| missing("columns"))? as usize;
    let rows = described["rows"].as_u64().ok_or_else(|| missing("rows"))?;
    let sums = QuarticTable::of(columns + 1, &read_entries(tensors, QUARTIC)?);
    let sums = sums.map_err(|got| mismatch("sums of products of four columns that rows can have".into(), got.1))?;
    Ok(QuarticMoments { sums, rows })
}

fn read(described: &Value, tensors: &SafeTensors<'_>) -> Result<(String, Moments), Error> {
    let name = described["name"].as_str().ok_or_else(|| missing("name"))?;
    let columns = described["columns"].as_u64().filter(|c| *c < LARGEST_COUNT as u64);
    let columns = columns.ok_or_else(|| missing("columns"))? as usize;
    let rows = described["rows"].as_u64().ok_or_else(|| missing("rows"))?;
    let count = |pair: &Value, i: usize| pair[i].as_u64();
    let stored: Option<Vec<Stored>> = described["stored"].as_array().and_then(|all| {
        all.iter()
            .map(|of| {
                let numbers = count(of, 0)?;
                Some(Stored { numbers, pairs: if count(of, 1)? > 0 { numbers } else { 0 }, beyond: count(of, 2)? })
            })
            .collect()
    });
    let stored = stored.filter(|s| s.len() == columns + 1).ok_or_else(|| missing("stored"))?;
    let sums = read_sums(tensors, name, columns + 1)?;
    let log_weights = match described["logs"].as_bool() {
        Some(true) => Some(read_sums(tensors, &logs_of(name), 2)?),
        Some(false) => None,
        None => return Err(missing("logs")),
    };
    let state = Moments { sums, rows, log_weights, stored, taken: None };
    match state.impossible_centre() {
        None => Ok((name.to_owned(), state)),
        Some(column) => Err(mismatch(
            format!("sums of products in `{name}` that rows can have"),
            format!("others in column {column}"),
        )),
    }
}

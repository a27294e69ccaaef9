//! Which arrays of a file are probed, and as what.

use std::path::Path;

use hattention::thermodynamics::{Attention, Form, Logits, QueriesAndKeys};

use super::args::ProbeArgs;
use super::read::{self, Array};
use crate::failure::Failure;

/// Words that end names of queries, and those of keys in the same place.
const PAIRS: [(&str, &str); 3] = [("q", "k"), ("query", "key"), ("queries", "keys")];
/// What may follow such a word.
const ENDINGS: [&str; 4] = ["", "_proj", "_states", ".weight"];
/// Names that a message lists at most.
const LISTED: usize = 12;

/// What is probed.
pub struct Asked<'a> {
    /// Its name.
    pub name: String,
    /// The attention.
    pub attention: Attention<'a>,
}

/// What a file is probed as.
pub fn kind(args: &ProbeArgs, pairs: bool) -> &'static str {
    if args.probabilities {
        "weights"
    } else if pairs {
        "queries and keys"
    } else {
        "logits"
    }
}

/// One thing to probe, which is formed when its turn comes: keys are packed in doubles.
pub enum Choice<'a> {
    /// Logits, or weights.
    Single(Array<'a>),
    /// Queries and keys.
    Pair(Array<'a>, Array<'a>),
}

impl<'a> Choice<'a> {
    /// The attention.
    ///
    /// # Errors
    /// If shapes or kinds are none of attention's.
    pub fn formed(&self, args: &ProbeArgs) -> Result<Asked<'a>, Failure> {
        match self {
            Self::Single(array) => single(args, array),
            Self::Pair(queries, keys) => pair(args, queries, keys),
        }
    }

    /// Whether it is of queries and keys.
    pub fn is_pair(&self) -> bool {
        matches!(self, Self::Pair(_, _))
    }
}

/// A .npy file, with that of its keys.
///
/// # Errors
/// If they are none, or names are asked for.
pub fn of_npy<'a>(args: &ProbeArgs, bytes: &'a [u8], keys: Option<(&Path, &'a [u8])>) -> Result<Choice<'a>, Failure> {
    if let Some(name) = args.logits.as_ref().or(args.queries.as_ref()) {
        let message = format!("{} is one array without a name, and `{name}` was asked for", args.file.display());
        return Err(Failure::usage(message, "leave the name out; keys of a .npy file are another: --keys FILE.npy"));
    }
    let array = read::npy(&args.file, bytes)?;
    match keys {
        Some((path, bytes)) => Ok(Choice::Pair(array, read::npy(path, bytes)?)),
        None => Ok(Choice::Single(array)),
    }
}

/// Arrays of a .safetensors file; names of those that are left out.
///
/// # Errors
/// If what is asked for is not there, or nothing can be probed.
pub fn of_safetensors<'a>(args: &ProbeArgs, arrays: &[Array<'a>]) -> Result<(Vec<Choice<'a>>, Vec<String>), Failure> {
    let find = |name: &String| {
        arrays.iter().find(|array| array.name == *name).cloned().ok_or_else(|| {
            let message = format!("{} has no array `{name}`; {}", args.file.display(), listed(arrays));
            Failure::usage(message, "name one of them")
        })
    };
    if let Some(name) = &args.logits {
        return Ok((vec![Choice::Single(find(name)?)], Vec::new()));
    }
    if let Some(keys) = &args.keys {
        let queries = args.queries.as_ref().ok_or_else(|| {
            Failure::usage(format!("--keys {keys} is given without --queries"), "name the array of queries, too")
        })?;
        return Ok((vec![Choice::Pair(find(queries)?, find(keys)?)], Vec::new()));
    }
    let pairs: Vec<(&Array<'_>, &Array<'_>)> =
        arrays.iter().filter_map(|array| Some((array, partner(arrays, array)?))).collect();
    if !pairs.is_empty() && !args.probabilities {
        let used = |array: &Array<'_>| pairs.iter().any(|(q, k)| q.name == array.name || k.name == array.name);
        let left = arrays.iter().filter(|array| !used(array)).map(|array| array.name.clone()).collect();
        return Ok((pairs.into_iter().map(|(q, k)| Choice::Pair(q.clone(), k.clone())).collect(), left));
    }
    if let Some(alone) = arrays.iter().find(|array| ends_like(&array.name).is_some()).filter(|_| !args.probabilities) {
        let message = format!("`{}` is named as queries or keys are, and there is no other to go with it", alone.name);
        return Err(Failure::usage(message, "name a pair by --queries NAME --keys NAME, or logits by --logits NAME"));
    }
    let usable: Vec<&Array<'_>> = arrays.iter().filter(|array| array.usable()).collect();
    match (&usable[..], arrays) {
        ([], []) => Err(Failure::usage(format!("{} has no arrays", args.file.display()), "save some")),
        ([], [only]) => only.numbers().map(|_| (Vec::new(), Vec::new())),
        ([], _) => {
            let message = format!("no array of {} can be attention; {}", args.file.display(), listed(arrays));
            Err(Failure::usage(message, "expected floats [batches, heads, queries, keys] or the last of these axes"))
        }
        _ => {
            let left = arrays.iter().filter(|array| !array.usable()).map(|array| array.name.clone()).collect();
            Ok((usable.into_iter().map(|array| Choice::Single(array.clone())).collect(), left))
        }
    }
}

/// What stands before the word that says queries or keys, whether it is keys, which pair of words, and what follows.
fn ends_like(name: &str) -> Option<(String, bool, usize, &'static str)> {
    let name = name.to_lowercase();
    for ending in ENDINGS {
        let Some(rest) = name.strip_suffix(ending) else { continue };
        for (place, (query, key)) in PAIRS.iter().enumerate() {
            for (word, is_key) in [(query, false), (key, true)] {
                let stem = rest.strip_suffix(word).filter(|stem| !stem.ends_with(|c: char| c.is_alphanumeric()));
                if let Some(stem) = stem {
                    return Some((stem.to_owned(), is_key, place, ending));
                }
            }
        }
    }
    None
}

/// The keys that go with queries, by their names.
fn partner<'s, 'a>(arrays: &'s [Array<'a>], queries: &Array<'a>) -> Option<&'s Array<'a>> {
    let (stem, is_key, place, ending) = ends_like(&queries.name)?;
    let wanted = Some((stem, true, place, ending));
    (!is_key).then(|| arrays.iter().find(|array| ends_like(&array.name) == wanted))?
}

fn listed(arrays: &[Array<'_>]) -> String {
    let mut names: Vec<String> =
        arrays.iter().take(LISTED).map(|array| format!("`{}` {:?}", array.name, array.shape)).collect();
    if arrays.len() > LISTED {
        names.push(format!("and {} more", arrays.len() - LISTED));
    }
    format!("it has {}", names.join(", "))
}

fn single<'a>(args: &ProbeArgs, array: &Array<'a>) -> Result<Asked<'a>, Failure> {
    if args.causal {
        let hint = "give logits of keys that are not read as −∞";
        return Err(Failure::usage("--causal is for queries and keys", hint));
    }
    let numbers = array.numbers()?;
    let form =
        if args.probabilities { Form::Weights(numbers) } else { Form::Logits(Logits::new(numbers, args.masked)) };
    let attention = Attention::new(form, args.temperature.unwrap_or(1.0))?;
    Ok(Asked { name: array.name.clone(), attention })
}

fn pair<'a>(args: &ProbeArgs, queries: &Array<'a>, keys: &Array<'a>) -> Result<Asked<'a>, Failure> {
    let both = format!("{} {:?} and {} {:?}", queries.name, queries.shape, keys.name, keys.shape);
    let form = QueriesAndKeys::new(queries.numbers()?, keys.numbers()?, args.causal).map_err(|e| {
        let hint =
            "shapes are [batches, heads, rows, width] or the last of these axes; heads of keys divide those of queries";
        Failure::usage(format!("{both} do not fit: {e}"), hint)
    })?;
    let temperature = args.temperature.unwrap_or((form.width() as f64).sqrt());
    let attention = Attention::new(Form::Keys(form), temperature)?;
    // (A pair of one file is told by what its names share.)
    let stem = queries.name.rfind(['.', '_', '/']).map_or("", |end| &queries.name[..end]);
    let name = if stem.is_empty() || !keys.name.starts_with(stem) { both } else { stem.to_owned() };
    Ok(Asked { name, attention })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_queries_and_keys() {
        let of = |name: &str| ends_like(name).map(|(stem, is_key, _, ending)| (stem, is_key, ending));
        assert_eq!(of("layers.0.Q"), Some(("layers.0.".to_owned(), false, "")));
        assert_eq!(of("a.k_proj"), Some(("a.".to_owned(), true, "_proj")));
        assert_eq!(of("key_states"), Some((String::new(), true, "_states")));
        assert_eq!((of("unique"), of("layers.0.logits"), of("bank")), (None, None, None));
    }
}

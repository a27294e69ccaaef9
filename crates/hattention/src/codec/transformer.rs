//! Constructed transformers as safetensors files.

use std::collections::HashMap;
use std::ops::Range;

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use super::{
    LARGEST_COUNT, Metadata, Model, Tensors, expect_finite, mismatch, open, read_matrix, read_vector, strings,
};
use crate::error::Error;
use crate::matrix::Matrix;
use crate::transformer::{Convention, Layout, Spectrum, Transformer};

/// What a file of weights says it is.
const FORMAT_NAME: &str = "hattention-transformer";
/// The version of such files that this release writes; it reads no other.
const FORMAT_VERSION: u64 = 1;
/// The tensor that holds the model's file.
const MODEL: &str = "model";

/// A constructed transformer, the model it was built from, and what the caller wants to keep beside them.
///
/// # File
/// Safetensors of doubles, shapes as in [`Transformer`]: `w_q`, `w_k`, `w_v`, `w_ffn`, `w_p`, `memory`, `x_mean`,
/// `eigenvalues`; and `model`, the bytes of the model's own file ([`Model::to_bytes`]), if there is one. The metadata
/// hold `format`, `version`, `names`, `targets` and `heads` (JSON lists; a head is its first key and the one behind its
/// last), `intercept` (`true` or `false`), `convention`, `layout`, `spectrum`, `n`, `alpha`, `condition` (numbers that
/// read back to the same bits) and `extra` (JSON). The same weights are the same bytes.
///
/// # Example
/// ```
/// use hattention::codec::Weights;
/// use hattention::{Block, Column, Design, Filter, Fit, Moments, Transformer, Whitening};
/// let (x, y) = ([1.0, 2.0, 4.0, 5.0], [3.0, 5.0, 9.0, 11.0]);
/// let block = Block { rows: 4, columns: vec![Column::Dense(&x), Column::Dense(&y)], weights: None };
/// let moments = Moments::of(&block).unwrap();
/// let whitening = Whitening::of(&moments, &Design::plain(["x"], true), Filter::Ols, Default::default(), None).unwrap();
/// let fit = Fit::of(&moments, &whitening, 1, "y").unwrap();
///
/// let transformer = Transformer::of(&whitening, &[fit], &Default::default()).unwrap();
/// let bytes = Weights { transformer: transformer.clone(), model: None, extra: Default::default() }.to_bytes().unwrap();
/// assert_eq!(Weights::from_bytes(&bytes).unwrap().transformer, transformer);
/// assert!(Weights::from_bytes(&bytes[..100]).is_err());
/// ```
#[derive(Clone, Debug)]
pub struct Weights {
    /// The weights.
    pub transformer: Transformer,
    /// The model they were built from: what forms their inputs from rows, and what they are checked against.
    pub model: Option<Model>,
    /// The caller's own description.
    pub extra: Value,
}

impl Weights {
    /// The weights as a safetensors file.
    ///
    /// # Errors
    /// - [`Error::Format`] for a weight that is not finite, or a model that cannot be written: [`Model::to_bytes`].
    /// - [`Error::Shape`], [`Error::Parameter`] if the weights do not fit each other.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let t = &self.transformer;
        t.check()?;
        if !(t.weight_total > 0.0 && t.weight_total.is_finite() && t.alpha >= 0.0 && t.alpha.is_finite())
            || t.condition.is_nan()
        {
            let got = format!("{}, {} and {}", t.weight_total, t.alpha, t.condition);
            return Err(mismatch("numbers for n, alpha and the condition".into(), got));
        }
        let mut tensors = Tensors::default();
        for (name, matrix) in matrices(t) {
            expect_finite(name, &matrix.data)?;
            tensors.matrix(name, matrix.rows, matrix.columns, |i, j| matrix.at(i, j));
        }
        for (name, vector) in [("x_mean", &t.x_mean), ("eigenvalues", &t.eigenvalues)] {
            expect_finite(name, vector)?;
            tensors.vector(name, vector);
        }
        if let Some(model) = &self.model {
            tensors.bytes(MODEL, model.to_bytes()?);
        }
        let heads: Vec<[usize; 2]> = t.heads.iter().map(|head| [head.start, head.end]).collect();
        let metadata = [
            ("format", FORMAT_NAME.to_owned()),
            ("version", FORMAT_VERSION.to_string()),
            ("names", json!(t.names).to_string()),
            ("targets", json!(t.targets).to_string()),
            ("intercept", t.intercept.to_string()),
            ("convention", t.convention.name().to_owned()),
            ("layout", t.layout.name().to_owned()),
            ("spectrum", t.spectrum.name().to_owned()),
            ("heads", json!(heads).to_string()),
            ("n", format!("{:?}", t.weight_total)),
            ("alpha", format!("{:?}", t.alpha)),
            ("condition", format!("{:?}", t.condition)),
            ("extra", self.extra.to_string()),
        ];
        tensors.to_bytes(metadata.map(|(key, value)| (key.to_owned(), value)).into_iter().collect::<HashMap<_, _>>())
    }

    /// Reads a file of weights.
    ///
    /// # Errors
    /// [`Error::Format`] for anything that is not a whole file of weights of this version: cut short, foreign (a model's
    /// file among others), of another version, with missing or wrongly shaped tensors, or numbers that are not finite.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (metadata, tensors) = open(bytes, FORMAT_NAME, "weights", &[FORMAT_VERSION])?;
        let transformer = read(&metadata, &tensors)?;
        let model = match tensors.tensor(MODEL) {
            Err(_) => None,
            Ok(view) if view.dtype() == Dtype::U8 => Some(Model::from_bytes(view.data())?),
            Ok(view) => return Err(mismatch(format!("bytes in tensor `{MODEL}`"), format!("{:?}", view.dtype()))),
        };
        if let Some(model) = &model {
            let targets: Vec<&String> = model.fits.iter().map(|fit| &fit.target).collect();
            let design = &model.whitening.design;
            let same = (&design.names, design.intercept) == (&transformer.names, transformer.intercept);
            if !same || targets != transformer.targets.iter().collect::<Vec<_>>() {
                let got = "other columns or targets".to_owned();
                return Err(mismatch("a model of the transformer's columns and targets".into(), got));
            }
            // A condition without end promises nothing: it would turn every check off.
            if transformer.condition.is_infinite() && model.whitening.condition.is_finite() {
                let expected = format!("a condition like the model's, {:e}", model.whitening.condition);
                return Err(mismatch(expected, "inf under `condition`".into()));
            }
        }
        Ok(Self { transformer, model, extra: metadata.json("extra")? })
    }
}

fn matrices(t: &Transformer) -> [(&'static str, &Matrix); 6] {
    [("w_q", &t.w_q), ("w_k", &t.w_k), ("w_v", &t.w_v), ("w_ffn", &t.w_ffn), ("w_p", &t.w_p), ("memory", &t.memory)]
}

fn read(metadata: &Metadata, tensors: &SafeTensors<'_>) -> Result<Transformer, Error> {
    let wrong = |key: &str, expected: &str| mismatch(format!("{expected} under `{key}`"), quoted(metadata.text(key)));
    let list = |key: &str| strings(&metadata.json(key)?).ok_or_else(|| wrong(key, "a list of names"));
    let (names, targets) = (list("names")?, list("targets")?);
    let intercept: bool = metadata.text("intercept").parse().map_err(|_| wrong("intercept", "true or false"))?;
    if names.len() > LARGEST_COUNT || targets.len() > LARGEST_COUNT {
        let got = format!("{} names and {} targets", names.len(), targets.len());
        return Err(mismatch(format!("at most {LARGEST_COUNT} of each"), got));
    }
    let number = |key: &str, allowed: fn(f64) -> bool, expected: &str| -> Result<f64, Error> {
        let number = metadata.text(key).parse().ok().filter(|x| allowed(*x));
        number.ok_or_else(|| wrong(key, expected))
    };
    let features = names.len() + intercept as usize;
    let w_q = matrix(tensors, "w_q", features, None)?;
    let keys = w_q.columns;
    if keys < intercept as usize {
        return Err(mismatch("a key for the constant in tensor `w_q`".into(), format!("{keys} keys")));
    }
    let w_k = matrix(tensors, "w_k", features, Some(keys))?;
    let w_v = matrix(tensors, "w_v", features, Some(keys))?;
    let w_ffn = matrix(tensors, "w_ffn", keys, Some(keys))?;
    let w_p = matrix(tensors, "w_p", keys, Some(targets.len()))?;
    let memory = matrix(tensors, "memory", keys, Some(keys))?;
    let known = tensors.tensor("eigenvalues").map_or(0, |view| view.shape().iter().product());
    let count = if known == 0 { 0 } else { keys - intercept as usize };
    let eigenvalues = vector(tensors, "eigenvalues", count)?;
    let transformer = Transformer {
        x_mean: vector(tensors, "x_mean", names.len())?,
        convention: Convention::parse(metadata.text("convention"))
            .ok_or_else(|| wrong("convention", "covariance or gram"))?,
        layout: Layout::parse(metadata.text("layout")).ok_or_else(|| wrong("layout", "self, cross or solve"))?,
        spectrum: Spectrum::parse(metadata.text("spectrum")).ok_or_else(|| wrong("spectrum", "scaled or unscaled"))?,
        heads: heads(&metadata.json("heads")?).ok_or_else(|| wrong("heads", "a list of pairs"))?,
        weight_total: number("n", |x| x > 0.0 && x.is_finite(), "a number above zero")?,
        alpha: number("alpha", |x| x >= 0.0 && x.is_finite(), "a number, zero or more")?,
        condition: number("condition", |x| x >= 0.0, "a number, zero or more")?,
        names,
        targets,
        intercept,
        w_q,
        w_k,
        w_v,
        w_ffn,
        w_p,
        memory,
        eigenvalues,
    };
    transformer.check().map_err(|e| mismatch("weights that fit each other".into(), e.to_string()))?;
    Ok(transformer)
}

fn heads(value: &Value) -> Option<Vec<Range<usize>>> {
    let bound = |value: &Value| value.as_u64().and_then(|x| usize::try_from(x).ok());
    let head = |pair: &Value| match &pair.as_array()?[..] {
        [start, end] => Some(bound(start)?..bound(end)?),
        _ => None,
    };
    value.as_array()?.iter().map(head).collect()
}

fn matrix(tensors: &SafeTensors<'_>, name: &str, rows: usize, columns: Option<usize>) -> Result<Matrix, Error> {
    let view = tensors.tensor(name).map_err(|_| mismatch(format!("tensor `{name}`"), "none of this name".into()))?;
    let columns = columns.unwrap_or_else(|| view.shape().get(1).copied().unwrap_or(0));
    if columns > LARGEST_COUNT {
        return Err(mismatch(format!("at most {LARGEST_COUNT} columns in tensor `{name}`"), columns.to_string()));
    }
    let data = read_matrix(tensors, name, Some(rows), columns)?.concat();
    expect_finite(name, &data)?;
    Ok(Matrix { rows, columns, data })
}

fn vector(tensors: &SafeTensors<'_>, name: &str, length: usize) -> Result<Vec<f64>, Error> {
    let view = tensors.tensor(name).map_err(|_| mismatch(format!("tensor `{name}`"), "none of this name".into()))?;
    if view.shape() != [length] {
        return Err(mismatch(format!("tensor `{name}` of shape [{length}]"), format!("{:?}", view.shape())));
    }
    let values = read_vector(tensors, name, length)?;
    expect_finite(name, &values)?;
    Ok(values)
}

/// The beginning of a text, in quotes.
fn quoted(text: &str) -> String {
    format!("`{}`", text.chars().take(40).collect::<String>())
}

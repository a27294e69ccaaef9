//! Models, states and transformers as bytes: safetensors with metadata, and ONNX. Callers read and write the files.

mod attention_regression;
mod effects;
pub mod onnx;
mod state;
mod transformer;

use std::collections::{BTreeMap, HashMap};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use crate::design::{Design, Filter, Orthogonal};
use crate::double_double::DoubleDouble;
use crate::error::{Dependence, Error};
use crate::fit::{Covariance, Fit, Vcov, covariance::Middle};
use crate::whitening::{Method, Whitening};

pub use attention_regression::{AttentionFile, Rows};
pub use state::States;
pub use transformer::Weights;

/// The version this release writes; it reads no other.
pub const FORMAT_VERSION: u64 = 3;
/// What a model file says it is.
const FORMAT_NAME: &str = "hattention-model";
/// Most coefficients, keys or targets a file may claim: far beyond any fit, far below an overflow.
const LARGEST_COUNT: usize = 1 << 20;

/// A fitted model: slow memory, one fit a target, and what the caller wants to keep beside them.
#[derive(Clone, Debug)]
pub struct Model {
    /// The factored design. Read from a file it serves every read, but cannot fit a further target.
    pub whitening: Whitening,
    /// One fit a target.
    pub fits: Vec<Fit>,
    /// The caller's own description (formula, levels, …).
    pub extra: Value,
}

impl Model {
    /// The model as a safetensors file.
    ///
    /// # Errors
    /// [`Error::Format`] if the description cannot be written, or a number that predictions are made of is beyond the
    /// doubles: such a file would be refused by [`Model::from_bytes`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let w = &self.whitening;
        expect_finite("key_map", w.key_map.iter().flatten())?;
        expect_finite("means", w.means.iter().flat_map(|mean| [&mean.hi, &mean.lo]))?;
        for (t, fit) in self.fits.iter().enumerate() {
            expect_finite(&format!("target{t}.raw"), fit.raw.iter().map(|b| &b.hi))?;
        }
        let mut tensors = Tensors::default();
        tensors.pairs("means", &w.means);
        tensors.pairs("factors", &w.factors.concat());
        tensors.matrix("key_map", w.keys(), w.means.len(), |j, c| w.key_map[j].get(c).copied().unwrap_or(0.0));
        let coefficients = w.loading.len();
        let loading = |rows: &[Vec<f64>], k: usize, j: usize| rows[k].get(j).copied().unwrap_or(f64::NAN);
        tensors.matrix("loading", coefficients, 1 + w.keys(), |k, j| loading(&w.loading, k, j));
        let mut fits = Vec::new();
        for (t, fit) in self.fits.iter().enumerate() {
            tensors.pairs(&format!("target{t}.raw"), &fit.raw);
            let missing = DoubleDouble::from(f64::NAN);
            let estimates: Vec<DoubleDouble> = fit.estimates.iter().map(|b| b.unwrap_or(missing)).collect();
            tensors.pairs(&format!("target{t}.estimates"), &estimates);
            let digits: Vec<f64> = fit.coefficient_digits.iter().map(|d| d.unwrap_or(f64::NAN)).collect();
            tensors.vector(&format!("target{t}.digits"), &digits);
            tensors.vector(&format!("target{t}.memory"), &fit.memory);
            let covariance = fit.covariance.as_ref().map(|covariance| {
                let variance = match &covariance.middle {
                    Middle::Scalar(sigma) => bits(*sigma),
                    Middle::Full(matrix) => {
                        tensors.vector(&format!("target{t}.middle"), matrix);
                        Value::Null
                    }
                };
                json!({"kind": covariance.kind.to_string(), "df": bits(covariance.df), "sigma": variance})
            });
            let effects = effects::write(fit.effects.as_ref(), t, &mut tensors);
            fits.push(json!({
                "name": fit.target, "raw_intercept": [bits(fit.raw_intercept.hi), bits(fit.raw_intercept.lo)],
                "target_mean": bits(fit.target_mean), "residual_sum": bits(fit.residual_sum),
                "residual_root": bits(fit.residual_root), "r_squared": bits(fit.r_squared),
                "signal_to_noise": bits(fit.signal_to_noise),
                "total_sum": bits(fit.total_sum), "df_residual": bits(fit.df_residual),
                "effective_df": bits(fit.effective_df), "log_weight_sum": bits(fit.log_weight_sum),
                "covariance": covariance, "effects": effects,
            }));
        }
        let dependent: Vec<Value> = w
            .dependent
            .iter()
            .map(|d| json!({"column": d.column, "on": d.on, "distance": bits(d.distance_relative)}))
            .collect();
        let description = json!({
            "names": w.design.names, "columns": w.design.columns, "intercept": w.design.intercept,
            "orthogonal": w.design.orthogonal.iter().map(orthogonal_to).collect::<Vec<_>>(), "filter": filter_to(&w.filter), "kept": w.kept, "dependent": dependent,
            "rows": w.rows, "weight_total": bits(w.weight_total), "rank": w.rank,
            "effective_df": bits(w.effective_df), "condition": bits(w.condition), "bits": w.bits, "method": w.method.name(), "targets": fits,
        });
        let metadata = HashMap::from([
            ("format".to_owned(), FORMAT_NAME.to_owned()),
            ("version".to_owned(), FORMAT_VERSION.to_string()),
            ("model".to_owned(), description.to_string()),
            ("extra".to_owned(), self.extra.to_string()),
        ]);
        tensors.to_bytes(metadata)
    }

    /// Reads a model file.
    ///
    /// # Errors
    /// [`Error::Format`] for anything that is not a whole model file of this version: cut short, foreign, of another
    /// version, with missing or wrongly shaped tensors.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (metadata, tensors) = open(bytes, FORMAT_NAME, "model", &[FORMAT_VERSION])?;
        let (description, extra) = (metadata.json("model")?, metadata.json("extra")?);
        let whitening = read_whitening(&description, &tensors)?;
        let targets = description["targets"].as_array().ok_or_else(|| missing("targets"))?;
        let fits = targets
            .iter()
            .enumerate()
            .map(|(t, target)| read_fit(target, t, &tensors, &whitening))
            .collect::<Result<_, _>>()?;
        Ok(Self { whitening, fits, extra })
    }
}

/// What a file says of itself.
struct Metadata(HashMap<String, String>);

impl Metadata {
    /// The text under a key, empty if it is not there.
    fn text(&self, key: &str) -> &str {
        self.0.get(key).map(String::as_str).unwrap_or("")
    }

    fn json(&self, key: &str) -> Result<Value, Error> {
        serde_json::from_str(self.text(key)).map_err(|e| mismatch(format!("JSON under `{key}`"), e.to_string()))
    }
}

/// Opens a file of one format and version.
fn open<'a>(bytes: &'a [u8], format: &str, what: &str, versions: &[u64]) -> Result<(Metadata, SafeTensors<'a>), Error> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(not_safetensors)?;
    let metadata = Metadata(header.metadata().clone().unwrap_or_default());
    if metadata.text("format") != format {
        return Err(mismatch(format!("a `{format}` file"), format!("format `{}`", metadata.text("format"))));
    }
    if !versions.iter().any(|version| metadata.text("version") == version.to_string()) {
        let got = format!("version `{}`", metadata.text("version"));
        let known: Vec<String> = versions.iter().map(u64::to_string).collect();
        return Err(mismatch(format!("{what} format version {}", known.join(" or ")), got));
    }
    Ok((metadata, SafeTensors::deserialize(bytes).map_err(not_safetensors)?))
}

fn read_whitening(description: &Value, tensors: &SafeTensors<'_>) -> Result<Whitening, Error> {
    let names = strings(&description["names"]).ok_or_else(|| missing("names"))?;
    let columns: Vec<Option<usize>> = description["columns"]
        .as_array()
        .ok_or_else(|| missing("columns"))?
        .iter()
        .map(|v| v.as_u64().map(|c| c as usize))
        .collect();
    let kept = indices(&description["kept"]).ok_or_else(|| missing("kept"))?;
    let intercept = description["intercept"].as_bool().ok_or_else(|| missing("intercept"))?;
    let coefficients = names.len() + intercept as usize;
    if columns.len() != names.len() || names.len() > LARGEST_COUNT || kept.iter().any(|&k| k >= names.len()) {
        return Err(mismatch("one state column a name".into(), format!("{} for {}", columns.len(), names.len())));
    }
    let key_map = read_matrix(tensors, "key_map", None, kept.len())?;
    expect_finite("key_map", key_map.iter().flatten())?;
    let means = read_pairs(tensors, "means", kept.len())?;
    expect_finite("means", means.iter().flat_map(|mean| [&mean.hi, &mean.lo]))?;
    let loading = read_matrix(tensors, "loading", Some(coefficients), 1 + key_map.len())?;
    let orthogonal = description["orthogonal"]
        .as_array()
        .and_then(|groups| groups.iter().map(orthogonal_from).collect::<Option<Vec<_>>>())
        .ok_or_else(|| missing("orthogonal"))?;
    let design = Design { names, columns, intercept, orthogonal };
    design.check(usize::MAX, None).map_err(|e| mismatch("a design that holds together".into(), e.to_string()))?;
    let dependent = description["dependent"]
        .as_array()
        .ok_or_else(|| missing("dependent"))?
        .iter()
        .map(|d| {
            Some(Dependence {
                column: d["column"].as_str()?.to_owned(),
                on: strings(&d["on"])?,
                distance_relative: from_bits(&d["distance"])?,
            })
        })
        .collect::<Option<_>>()
        .ok_or_else(|| missing("dependent"))?;
    let whole = |key: &'static str| description[key].as_u64().ok_or_else(|| missing(key));
    Ok(Whitening {
        means,
        factors: read_factors(tensors, &design, &kept)?,
        key_map,
        loading: loading.into_iter().map(|row| if row.iter().any(|x| x.is_nan()) { Vec::new() } else { row }).collect(),
        design,
        filter: filter_from(&description["filter"]).ok_or_else(|| missing("filter"))?,
        kept,
        dependent,
        rows: whole("rows")?,
        weight_total: number(description, "weight_total")?,
        rank: whole("rank")? as usize,
        effective_df: number(description, "effective_df")?,
        condition: number(description, "condition")?,
        bits: whole("bits")? as usize,
        method: description["method"].as_str().and_then(Method::parse).ok_or_else(|| missing("method"))?,
        solver: None,
        options: crate::whitening::WhiteningOptions::default(),
        unweighted: None,
    })
}

fn read_fit(target: &Value, t: usize, tensors: &SafeTensors<'_>, whitening: &Whitening) -> Result<Fit, Error> {
    let names = whitening.coefficient_names();
    let keys = whitening.keys();
    let some = |x: f64| (!x.is_nan()).then_some(x);
    let estimates = read_pairs(tensors, &format!("target{t}.estimates"), names.len())?;
    let digits = read_vector(tensors, &format!("target{t}.digits"), names.len())?;
    let raw = read_pairs(tensors, &format!("target{t}.raw"), whitening.kept.len())?;
    expect_finite(&format!("target{t}.raw"), raw.iter().map(|b| &b.hi))?;
    let pair = |key: &'static str| -> Result<DoubleDouble, Error> {
        let part = |i: usize| from_bits(&target[key][i]).ok_or_else(|| missing(key));
        Ok(DoubleDouble { hi: part(0)?, lo: part(1)? })
    };
    let covariance = match &target["covariance"] {
        Value::Null => None,
        described => {
            let kind = described["kind"].as_str().and_then(Vcov::parse).ok_or_else(|| missing("covariance"))?;
            let middle = match from_bits(&described["sigma"]) {
                Some(sigma) => Middle::Scalar(sigma),
                None => Middle::Full(read_vector(tensors, &format!("target{t}.middle"), (1 + keys) * (1 + keys))?),
            };
            Some(Covariance { kind, loading: whitening.loading.clone(), middle, df: number(described, "df")? })
        }
    };
    Ok(Fit {
        target: target["name"].as_str().ok_or_else(|| missing("name"))?.to_owned(),
        estimates: estimates.iter().map(|b| (!b.hi.is_nan()).then_some(*b)).collect(),
        coefficient_digits: digits.iter().map(|d| some(*d)).collect(),
        raw,
        raw_intercept: pair("raw_intercept")?,
        target_mean: number(target, "target_mean")?,
        memory: read_vector(tensors, &format!("target{t}.memory"), keys)?,
        residual_sum: number(target, "residual_sum")?,
        residual_root: number(target, "residual_root")?,
        r_squared: number(target, "r_squared")?,
        signal_to_noise: number(target, "signal_to_noise")?,
        total_sum: number(target, "total_sum")?,
        rows: whitening.rows,
        df_residual: number(target, "df_residual")?,
        effective_df: number(target, "effective_df")?,
        log_weight_sum: number(target, "log_weight_sum")?,
        intercept: whitening.design.intercept,
        filter: whitening.filter,
        covariance,
        effects: effects::read(&target["effects"], t, tensors)?,
        names,
    })
}

/// Tensors in the order they were added, as bytes.
#[derive(Default)]
struct Tensors(Vec<(String, Dtype, Vec<usize>, Vec<u8>)>);

impl Tensors {
    fn vector(&mut self, name: &str, values: &[f64]) {
        self.doubles(name, vec![values.len()], values.iter().flat_map(|x| x.to_le_bytes()).collect());
    }

    fn doubles(&mut self, name: &str, shape: Vec<usize>, bytes: Vec<u8>) {
        self.0.push((name.to_owned(), Dtype::F64, shape, bytes));
    }

    fn bytes(&mut self, name: &str, bytes: Vec<u8>) {
        self.0.push((name.to_owned(), Dtype::U8, vec![bytes.len()], bytes));
    }

    fn pairs(&mut self, name: &str, values: &[DoubleDouble]) {
        let bytes = values.iter().flat_map(|x| [x.hi, x.lo]).flat_map(f64::to_le_bytes).collect();
        self.doubles(name, vec![values.len(), 2], bytes);
    }

    fn matrix(&mut self, name: &str, rows: usize, columns: usize, at: impl Fn(usize, usize) -> f64) {
        let bytes = (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))).flat_map(|(i, j)| at(i, j).to_le_bytes());
        self.doubles(name, vec![rows, columns], bytes.collect());
    }

    fn to_bytes(&self, metadata: HashMap<String, String>) -> Result<Vec<u8>, Error> {
        let views = self.0.iter().map(|(name, dtype, shape, bytes)| {
            TensorView::new(*dtype, shape.clone(), bytes).map(|view| (name.as_str(), view))
        });
        let views: Vec<_> = views.collect::<Result<_, _>>().map_err(not_safetensors)?;
        in_order(&safetensors::serialize(views, Some(metadata)).map_err(not_safetensors)?)
    }
}

/// The file with its metadata in the order of their keys: the serialiser's order is another one each time, and the same
/// model shall be the same file.
fn in_order(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let broken = |got: &dyn std::fmt::Display| mismatch("a safetensors header".into(), got.to_string());
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| broken(&"fewer than 8 bytes"))?;
    let length = u64::from_le_bytes(*length) as usize;
    let (header, data) = rest.split_at_checked(length).ok_or_else(|| broken(&"less than its length"))?;
    let mut header: BTreeMap<String, Value> = serde_json::from_slice(header).map_err(|e| broken(&e))?;
    if let Some(Value::Object(metadata)) = header.get_mut("__metadata__") {
        let sorted: BTreeMap<String, Value> = std::mem::take(metadata).into_iter().collect();
        metadata.extend(sorted);
    }
    let mut header = serde_json::to_vec(&header).map_err(|e| broken(&e))?;
    // Tensors begin at a multiple of eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok([&(header.len() as u64).to_le_bytes()[..], &header, data].concat())
}

fn read_vector(tensors: &SafeTensors<'_>, name: &str, length: usize) -> Result<Vec<f64>, Error> {
    let view = tensors.tensor(name).map_err(|_| missing(name))?;
    let expected = length * 8;
    if view.dtype() != Dtype::F64 || view.data().len() != expected {
        return Err(mismatch(
            format!("tensor `{name}` of {length} doubles"),
            format!("{:?} of shape {:?}", view.dtype(), view.shape()),
        ));
    }
    let (words, _) = view.data().as_chunks::<8>();
    Ok(words.iter().map(|word| f64::from_le_bytes(*word)).collect())
}

/// Numbers that predictions are made of: others among them would make predictions that are none.
fn expect_finite<'a>(name: &str, values: impl IntoIterator<Item = &'a f64>) -> Result<(), Error> {
    match values.into_iter().find(|x| !x.is_finite()) {
        Some(x) => Err(mismatch(format!("finite numbers in tensor `{name}`"), x.to_string())),
        None => Ok(()),
    }
}

fn read_pairs(tensors: &SafeTensors<'_>, name: &str, length: usize) -> Result<Vec<DoubleDouble>, Error> {
    let flat = read_vector(tensors, name, 2 * length)?;
    let (pairs, _) = flat.as_chunks::<2>();
    Ok(pairs.iter().map(|[hi, lo]| DoubleDouble { hi: *hi, lo: *lo }).collect())
}

fn read_matrix(
    tensors: &SafeTensors<'_>,
    name: &str,
    rows: Option<usize>,
    columns: usize,
) -> Result<Vec<Vec<f64>>, Error> {
    let view = tensors.tensor(name).map_err(|_| missing(name))?;
    let found = view.shape().first().copied().unwrap_or(0);
    let rows = rows.unwrap_or(found);
    if view.shape() != [rows, columns] || rows > LARGEST_COUNT {
        return Err(mismatch(format!("tensor `{name}` of shape [{rows}, {columns}]"), format!("{:?}", view.shape())));
    }
    if columns == 0 {
        return Ok(vec![Vec::new(); rows]);
    }
    Ok(read_vector(tensors, name, rows * columns)?.chunks_exact(columns).map(<[f64]>::to_vec).collect())
}

/// A double as text that reads back to the same bits, infinities and NaN included.
fn bits(x: f64) -> Value {
    Value::String(format!("{x:?}"))
}

fn from_bits(value: &Value) -> Option<f64> {
    value.as_str()?.parse().ok()
}

fn number(description: &Value, key: &'static str) -> Result<f64, Error> {
    from_bits(&description[key]).ok_or_else(|| missing(key))
}

fn strings(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|v| v.as_str().map(str::to_owned)).collect()
}

fn indices(value: &Value) -> Option<Vec<usize>> {
    value.as_array()?.iter().map(|v| v.as_u64().map(|c| c as usize)).collect()
}

fn orthogonal_to(group: &Orthogonal) -> Value {
    json!({"powers": group.powers, "positions": group.positions, "products": group.products})
}

fn orthogonal_from(value: &Value) -> Option<Orthogonal> {
    let product = |v: &Value| if v.is_null() { Some(None) } else { v.as_u64().map(|c| Some(c as usize)) };
    Some(Orthogonal {
        powers: value["powers"].as_array()?.iter().map(indices).collect::<Option<_>>()?,
        positions: indices(&value["positions"])?,
        products: value["products"].as_array()?.iter().map(product).collect::<Option<_>>()?,
    })
}

/// The factors of the kept columns that are formed, as many as the design says.
fn read_factors(tensors: &SafeTensors<'_>, design: &Design, kept: &[usize]) -> Result<Vec<Vec<DoubleDouble>>, Error> {
    let formed = design.formed();
    let terms = |(group, place): (usize, usize)| -> usize {
        design.orthogonal[group].degrees(place).into_iter().map(|degree| degree + 1).product()
    };
    let lengths: Vec<usize> = kept.iter().map(|&position| formed[position].map_or(0, terms)).collect();
    let mut all = read_pairs(tensors, "factors", lengths.iter().sum())?.into_iter();
    Ok(lengths.into_iter().map(|length| all.by_ref().take(length).collect()).collect())
}

fn filter_to(filter: &Filter) -> Value {
    match filter {
        Filter::Ols => json!({"kind": "ols"}),
        Filter::Ridge { alpha, standardize } => {
            json!({"kind": "ridge", "alpha": bits(*alpha), "standardize": standardize})
        }
        Filter::Components { count, standardize } => {
            json!({"kind": "components", "count": count, "standardize": standardize})
        }
    }
}

fn filter_from(value: &Value) -> Option<Filter> {
    let standardize = value["standardize"].as_bool();
    match value["kind"].as_str()? {
        "ols" => Some(Filter::Ols),
        "ridge" => Some(Filter::Ridge { alpha: from_bits(&value["alpha"])?, standardize: standardize? }),
        "components" => {
            Some(Filter::Components { count: value["count"].as_u64()? as usize, standardize: standardize? })
        }
        _ => None,
    }
}

fn mismatch(expected: String, got: String) -> Error {
    Error::Format { expected, got }
}

fn missing(what: &str) -> Error {
    mismatch(format!("`{what}` in the model"), "nothing usable".into())
}

fn not_safetensors(error: safetensors::SafeTensorError) -> Error {
    mismatch("a whole safetensors file".into(), error.to_string())
}

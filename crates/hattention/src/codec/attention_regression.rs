//! Attention regressions as safetensors files.

use std::collections::HashMap;

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use super::{
    LARGEST_COUNT, Model, Tensors, bits, expect_finite, from_bits, indices, mismatch, missing, number, open,
    read_matrix, read_vector,
};
use crate::attention_regression::objective::{Mixture, Parameters};
use crate::attention_regression::{
    Coefficients, Learned, Mask, Objective, Options, Precision, Ranks, Report, Sampled, Score, Start,
    quantiles::Quantiles,
};
use crate::error::Error;

/// What such a file says it is.
const FORMAT_NAME: &str = "hattention-attention";
/// Versions of such files: the first, and that of regressions that read ranks.
const FORMAT_VERSIONS: [u64; 2] = [1, 2];
/// The tensor that tells the order of the rows.
const MARKS: &str = "marks";
/// The tensor of hashes by which others are known to share rows.
const HASHES: &str = "hashes";
/// The tensor that tells how blocks part the rows.
const PARTITION: &str = "partition";
/// The tensor of the rows that coefficients were solved at.
const SOLVED: &str = "solved";
/// Tensors of the quantiles for normal scores: their number by column, then the columns' one after another.
const QUANTILES: [&str; 3] = ["quantiles.counts", "quantiles.values", "quantiles.scores"];
/// The tensor that holds the file of the least-squares model of the same design.
const MODEL: &str = "model";

/// An attention regression as a file has it.
///
/// # File
/// Safetensors of doubles: `factors` (heads × columns rows, columns), `heads`, `slopes`, `constant`, `means`, `scales`,
/// `target` (mean and scale), `marks` (what tells the order of the rows), `hashes` of some of them, and
/// `partition` (what tells the blocks); `solved`, the rows that coefficients were solved at, after a
/// sample; `quantiles.counts`, `quantiles.values` (of standardised inputs) and `quantiles.scores`, where ranks are read; `model`, the bytes of the least-squares model that forms inputs from rows, if there is one; and,
/// where the training rows are kept, `rows.inputs` (columns, rows), `rows.target`, `rows.numbers` in their source and
/// `rows.blocks`. Whole numbers are bytes, eight each, the lowest first.
///
/// # Example
/// ```
/// use hattention::attention_regression::{AttentionRegression, Options};
/// use hattention::codec::AttentionFile;
/// let x: Vec<f64> = (0..50).map(|i| i as f64 / 50.0).collect();
/// let y: Vec<f64> = x.iter().map(|x| (9.0 * x).sin()).collect();
/// let learned = AttentionRegression::fit(&[&x], &y, Options::default()).unwrap().learned();
/// let bytes = AttentionFile { learned: learned.clone(), model: None, rows: None, extra: Default::default() }.to_bytes().unwrap();
/// assert_eq!(AttentionFile::from_bytes(&bytes).unwrap().learned, learned);
/// assert!(AttentionFile::from_bytes(&bytes[..100]).is_err());
/// ```
#[derive(Clone, Debug)]
pub struct AttentionFile {
    /// What the fit found.
    pub learned: Learned,
    /// The least-squares model of the same design: what forms inputs from rows of a table.
    pub model: Option<Model>,
    /// The training rows, where they are kept.
    pub rows: Option<Rows>,
    /// The caller's own description.
    pub extra: Value,
}

/// Training rows: what predictions are made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Inputs by columns, in their own units. Shape: `[columns][rows]`.
    pub inputs: Vec<Vec<f64>>,
    /// Targets. Shape: `[rows]`.
    pub target: Vec<f64>,
    /// The block of each row, under a mask of blocks.
    pub blocks: Option<Vec<u64>>,
    /// The number of each row in its source.
    pub numbers: Vec<u64>,
}

impl AttentionFile {
    /// The regression as a safetensors file.
    ///
    /// # Errors
    /// [`Error::Format`] for a number that is not finite, or a model that cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let Learned { options, report, rows, means, scales, quantiles, .. } = &self.learned;
        let Learned { target_mean, target_scale, parameters, mixture, solved, marks, hashes, partition, .. } =
            &self.learned;
        let width = means.len();
        let mut tensors = Tensors::default();
        let factors: Vec<&Vec<f64>> = parameters.factors.iter().flatten().collect();
        expect_finite("factors", factors.iter().copied().flatten())?;
        tensors.matrix("factors", factors.len(), width, |i, j| factors[i][j]);
        let (constant, target) = ([mixture.constant], [*target_mean, *target_scale]);
        let vectors: [(&str, &[f64]); 8] = [
            ("heads", &mixture.heads),
            ("slopes", &mixture.slopes),
            ("constant", &constant),
            ("means", means),
            ("scales", scales),
            ("target", &target),
            (MARKS, marks),
            (PARTITION, partition),
        ];
        for (name, vector) in vectors {
            expect_finite(name, vector)?;
            tensors.vector(name, vector);
        }
        if let Some(model) = &self.model {
            tensors.bytes(MODEL, model.to_bytes()?);
        }
        if let Some(Rows { inputs, target, blocks, numbers }) = &self.rows {
            tensors.matrix("rows.inputs", inputs.len(), target.len(), |c, i| inputs[c][i]);
            tensors.vector("rows.target", target);
            tensors.bytes("rows.numbers", bytes_of(numbers.iter().copied()));
            if let Some(blocks) = blocks {
                tensors.bytes("rows.blocks", bytes_of(blocks.iter().copied()));
            }
        }
        if !quantiles.is_empty() {
            let all = |of: fn(&Quantiles) -> &Vec<f64>| quantiles.iter().flat_map(of).copied().collect::<Vec<f64>>();
            let (values, scores) = (all(|q| &q.values), all(|q| &q.scores));
            expect_finite(QUANTILES[1], &values)?;
            expect_finite(QUANTILES[2], &scores)?;
            tensors.bytes(QUANTILES[0], bytes_of(quantiles.iter().map(|q| q.values.len() as u64)));
            tensors.vector(QUANTILES[1], &values);
            tensors.vector(QUANTILES[2], &scores);
        }
        tensors.bytes(HASHES, bytes_of(hashes.iter().copied()));
        if let Some(solved) = solved {
            tensors.bytes(SOLVED, bytes_of(solved.iter().map(|row| *row as u64)));
        }
        let report = json!({
            "loss": bits(report.loss), "residual": bits(report.residual), "steps": report.steps,
            "evaluations": report.evaluations, "converged": report.converged, "isolated": report.isolated,
            "collapsed": report.collapsed, "shares": report.shares.iter().map(|s| bits(*s)).collect::<Vec<_>>(),
            "sampled": report.sampled.map(|s| json!({
                "rows": s.rows, "queries": s.queries, "width": bits(s.width), "error": bits(s.error),
                "error_sample": bits(s.error_sample),
            })),
        });
        let metadata = HashMap::from([
            ("format".to_owned(), FORMAT_NAME.to_owned()),
            ("version".to_owned(), FORMAT_VERSIONS[usize::from(!quantiles.is_empty())].to_string()),
            ("options".to_owned(), options_to(options).to_string()),
            ("report".to_owned(), report.to_string()),
            ("rows".to_owned(), rows.to_string()),
            ("extra".to_owned(), self.extra.to_string()),
        ]);
        tensors.to_bytes(metadata)
    }

    /// Reads such a file.
    ///
    /// # Errors
    /// [`Error::Format`] for anything that is not a whole file of this version: cut short, foreign, of another version, with
    /// missing or wrongly shaped tensors, or numbers that are not finite.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (metadata, tensors) = open(bytes, FORMAT_NAME, "attention", &FORMAT_VERSIONS)?;
        let options = options_from(&metadata.json("options")?).ok_or_else(|| missing("options"))?;
        let report = report_from(&metadata.json("report")?)?;
        let rows: usize = metadata.text("rows").parse().map_err(|_| missing("rows"))?;
        let width = length(&tensors, "means")?;
        if width == 0 || width > LARGEST_COUNT || options.heads > LARGEST_COUNT {
            let got = format!("{width} columns and {} heads", options.heads);
            return Err(mismatch(format!("1 to {LARGEST_COUNT} columns, and no more heads"), got));
        }
        let vector = |name: &str, length: usize| -> Result<Vec<f64>, Error> {
            let values = read_vector(&tensors, name, length)?;
            expect_finite(name, &values)?;
            Ok(values)
        };
        let factors = read_matrix(&tensors, "factors", Some(options.heads * width), width)?;
        expect_finite("factors", factors.iter().flatten())?;
        let heads = vector("heads", options.heads)?;
        let target = vector("target", 2)?;
        let scales = vector("scales", width)?;
        if target[1] <= 0.0 || scales.iter().any(|scale| *scale <= 0.0) {
            return Err(mismatch("scales above zero".to_owned(), "others".to_owned()));
        }
        let searched = options.coefficients == Coefficients::Searched;
        let learned = Learned {
            parameters: Parameters {
                factors: factors.chunks(width).map(<[Vec<f64>]>::to_vec).collect(),
                heads: if searched { heads.clone() } else { Vec::new() },
            },
            mixture: Mixture {
                constant: vector("constant", 1)?[0],
                slopes: vector("slopes", if options.linear { width } else { 0 })?,
                heads,
            },
            means: vector("means", width)?,
            scales,
            quantiles: quantiles(&tensors, &options, width)?,
            target_mean: target[0],
            target_scale: target[1],
            solved: solved(&tensors, rows)?,
            // (Earlier files have none of these.)
            marks: if tensors.tensor(MARKS).is_ok() { vector(MARKS, 1 + width)? } else { Vec::new() },
            hashes: match tensors.tensor(HASHES) {
                Ok(view) => whole(&tensors, HASHES, view.data().len() / 8)?,
                Err(_) => Vec::new(),
            },
            partition: match (&options.mask, tensors.tensor(PARTITION)) {
                (Mask::Blocks(_), Ok(_)) => vector(PARTITION, 2)?,
                _ => Vec::new(),
            },
            options,
            report,
            rows,
        };
        let model = match tensors.tensor(MODEL) {
            Err(_) => None,
            Ok(view) if view.dtype() == Dtype::U8 => Some(Model::from_bytes(view.data())?),
            Ok(view) => return Err(mismatch(format!("bytes in tensor `{MODEL}`"), format!("{:?}", view.dtype()))),
        };
        let rows = stored(&tensors, &learned)?;
        Ok(Self { learned, model, rows, extra: metadata.json("extra")? })
    }
}

/// The rows that are kept in a file.
fn stored(tensors: &SafeTensors<'_>, learned: &Learned) -> Result<Option<Rows>, Error> {
    if tensors.tensor("rows.target").is_err() {
        return Ok(None);
    }
    let target = read_vector(tensors, "rows.target", learned.rows)?;
    let view = tensors.tensor("rows.inputs").map_err(|_| missing("rows.inputs"))?;
    if view.shape() != [learned.columns(), learned.rows] {
        let expected = format!("tensor `rows.inputs` of shape [{}, {}]", learned.columns(), learned.rows);
        return Err(mismatch(expected, format!("{:?}", view.shape())));
    }
    let flat = read_vector(tensors, "rows.inputs", learned.columns() * learned.rows)?;
    expect_finite("rows.target", &target)?;
    expect_finite("rows.inputs", &flat)?;
    let blocks = match learned.options.mask {
        Mask::Blocks(_) => Some(whole(tensors, "rows.blocks", learned.rows)?),
        _ => None,
    };
    let numbers = whole(tensors, "rows.numbers", learned.rows)?;
    let inputs = flat.chunks(learned.rows.max(1)).map(<[f64]>::to_vec).collect();
    Ok(Some(Rows { inputs, target, blocks, numbers }))
}

fn bytes_of(values: impl Iterator<Item = u64>) -> Vec<u8> {
    values.flat_map(u64::to_le_bytes).collect()
}

/// The quantiles for normal scores.
fn quantiles(tensors: &SafeTensors<'_>, options: &Options, width: usize) -> Result<Vec<Quantiles>, Error> {
    if options.ranks != Ranks::Yes {
        return Ok(Vec::new());
    }
    let [counts, values, scores] = QUANTILES;
    let counts = whole(tensors, counts, width)?;
    let total = length(tensors, values)?;
    if counts.contains(&0) || counts.iter().try_fold(0u64, |sum, count| sum.checked_add(*count)) != Some(total as u64) {
        return Err(mismatch(format!("counts that sum to the {total} of tensor `{values}`"), "others".to_owned()));
    }
    let (all, of_all) = (read_vector(tensors, values, total)?, read_vector(tensors, scores, total)?);
    expect_finite(values, &all)?;
    expect_finite(scores, &of_all)?;
    let mut first = 0;
    let of_count = |count: &u64| {
        let range = first..first + *count as usize;
        first = range.end;
        Quantiles { values: all[range.clone()].to_vec(), scores: of_all[range].to_vec() }
    };
    let found: Vec<Quantiles> = counts.iter().map(of_count).collect();
    if found.iter().any(|q| !q.values.is_sorted_by(|a, b| a < b)) {
        return Err(mismatch(format!("rising numbers in tensor `{values}`"), "others".to_owned()));
    }
    Ok(found)
}

/// The rows that coefficients were solved at.
fn solved(tensors: &SafeTensors<'_>, rows: usize) -> Result<Option<Vec<usize>>, Error> {
    let Ok(view) = tensors.tensor(SOLVED) else { return Ok(None) };
    let numbers = whole(tensors, SOLVED, view.data().len() / 8)?;
    if numbers.iter().any(|row| *row >= rows as u64) {
        return Err(mismatch(format!("rows below {rows} in tensor `{SOLVED}`"), "others".to_owned()));
    }
    Ok(Some(numbers.into_iter().map(|row| row as usize).collect()))
}

/// Whole numbers that are kept as bytes.
fn whole(tensors: &SafeTensors<'_>, name: &str, count: usize) -> Result<Vec<u64>, Error> {
    let view = tensors.tensor(name).map_err(|_| missing(name))?;
    let (words, rest) = view.data().as_chunks::<8>();
    if view.dtype() != Dtype::U8 || words.len() != count || !rest.is_empty() {
        return Err(mismatch(format!("tensor `{name}` of {count} numbers"), format!("{:?}", view.shape())));
    }
    Ok(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
}

fn length(tensors: &SafeTensors<'_>, name: &str) -> Result<usize, Error> {
    Ok(tensors.tensor(name).map_err(|_| missing(name))?.shape().iter().product())
}

fn options_to(options: &Options) -> Value {
    json!({
        "heads": options.heads, "score": options.score.to_string(), "mask": options.mask.to_string(),
        "linear": options.linear, "objective": options.objective == Objective::Likelihood,
        "penalty": bits(options.penalty), "mixing": bits(options.mixing),
        "path": options.path.iter().map(|(l, t)| [bits(*l), bits(*t)]).collect::<Vec<_>>(),
        "solved": options.coefficients == Coefficients::Solved, "widths": options.start == Start::Widths,
        "standardize": options.standardize, "ranks": options.ranks.to_string(), "single": options.precision == Precision::Single, "steps": options.steps, "tolerance": bits(options.tolerance),
        "restarts": options.restarts, "hold_out": bits(options.hold_out), "seed": options.seed,
    })
}

fn options_from(value: &Value) -> Option<Options> {
    let count = |key: &str| value[key].as_u64().and_then(|n| usize::try_from(n).ok());
    let yes = |key: &str| value[key].as_bool();
    let choose = |first: bool| if first { 0 } else { 1 };
    let options = Options {
        heads: count("heads")?,
        score: Score::parse(value["score"].as_str()?)?,
        mask: Mask::parse(value["mask"].as_str()?)?,
        linear: yes("linear")?,
        objective: [Objective::Likelihood, Objective::Squares][choose(yes("objective")?)],
        penalty: from_bits(&value["penalty"])?,
        mixing: from_bits(&value["mixing"])?,
        path: value["path"]
            .as_array()?
            .iter()
            .map(|pair| Some((from_bits(&pair[0])?, from_bits(&pair[1])?)))
            .collect::<Option<_>>()?,
        coefficients: [Coefficients::Solved, Coefficients::Searched][choose(yes("solved")?)],
        start: [Start::Widths, Start::Whitened][choose(yes("widths")?)],
        standardize: yes("standardize")?,
        // (Earlier files have none.)
        ranks: value["ranks"].as_str().map_or(Some(Ranks::No), Ranks::parse)?,
        // (Files of earlier versions are of fits in doubles.)
        precision: [Precision::Single, Precision::Double][choose(yes("single").unwrap_or(false))],
        steps: count("steps")?,
        tolerance: from_bits(&value["tolerance"])?,
        restarts: count("restarts")?,
        hold_out: from_bits(&value["hold_out"])?,
        seed: value["seed"].as_u64()?,
    };
    options.check().ok().map(|()| options)
}

fn report_from(value: &Value) -> Result<Report, Error> {
    let count_in =
        |value: &Value, key: &'static str| value[key].as_u64().map(|n| n as usize).ok_or_else(|| missing(key));
    let count = |key: &'static str| count_in(value, key);
    let shares = value["shares"].as_array().and_then(|shares| shares.iter().map(from_bits).collect::<Option<_>>());
    let sampled = match &value["sampled"] {
        Value::Null => None,
        sampled => Some(Sampled {
            rows: count_in(sampled, "rows")?,
            queries: count_in(sampled, "queries")?,
            width: number(sampled, "width")?,
            error_sample: number(sampled, "error_sample")?,
            error: number(sampled, "error")?,
        }),
    };
    Ok(Report {
        loss: number(value, "loss")?,
        residual: number(value, "residual")?,
        steps: count("steps")?,
        evaluations: count("evaluations")?,
        converged: value["converged"].as_bool().ok_or_else(|| missing("converged"))?,
        isolated: count("isolated")?,
        collapsed: indices(&value["collapsed"]).ok_or_else(|| missing("collapsed"))?,
        shares: shares.ok_or_else(|| missing("shares"))?,
        sampled,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention_regression::AttentionRegression;

    fn example(mask: Mask, ranks: Ranks) -> (AttentionRegression, Vec<Vec<f64>>, Vec<f64>) {
        let columns: Vec<Vec<f64>> =
            (0..2).map(|c| (0..40).map(|i| ((i * (c + 3)) as f64 * 0.7).sin()).collect()).collect();
        let target: Vec<f64> = (0..40).map(|i| columns[0][i].powi(2) + 0.1 * columns[1][i]).collect();
        let inputs: Vec<&[f64]> = columns.iter().map(|c| &c[..]).collect();
        let options = Options { mask, heads: 2, score: Score::Dot, ranks, ..Options::default() };
        let model = AttentionRegression::fit(&inputs, &target, options).unwrap();
        (model, columns, target)
    }

    #[test]
    fn files_read_back_to_the_same_predictions_with_rows_and_without() {
        let blocks: Vec<u64> = (0..40).map(|i| i % 4).collect();
        for mask in [Mask::Others, Mask::Window(9), Mask::Decay(3.5), Mask::Blocks(blocks.clone())] {
            let ranks = if mask == Mask::Window(9) { Ranks::No } else { Ranks::Yes };
            let (model, inputs, target) = example(mask.clone(), ranks);
            let blocks = matches!(mask, Mask::Blocks(_)).then(|| blocks.clone());
            let rows = Rows { inputs, target, blocks, numbers: (1..=40).collect() };
            for kept in [None, Some(rows.clone())] {
                let file = AttentionFile { learned: model.learned(), model: None, rows: kept, extra: json!({"a": 1}) };
                let bytes = file.to_bytes().unwrap();
                assert_eq!(bytes, file.to_bytes().unwrap());
                let back = AttentionFile::from_bytes(&bytes).unwrap();
                assert_eq!((&back.learned, &back.rows, &back.extra), (&file.learned, &file.rows, &file.extra));
                let Rows { inputs, target, blocks, .. } = back.rows.unwrap_or(rows.clone());
                let inputs: Vec<&[f64]> = inputs.iter().map(|c| &c[..]).collect();
                let again = back.learned.with_rows(&inputs, &target, blocks).unwrap();
                let new: [&[f64]; 2] = [&[0.3], &[-0.8]];
                assert_eq!(again.predict(&new).unwrap(), model.predict(&new).unwrap());
            }
        }
    }

    #[test]
    fn what_is_no_such_file_is_refused() {
        let (model, _, _) = example(Mask::Others, Ranks::No);
        let file = AttentionFile { learned: model.learned(), model: None, rows: None, extra: Value::Null };
        let bytes = file.to_bytes().unwrap();
        for cut in [0, 7, 100, bytes.len() - 1] {
            assert!(AttentionFile::from_bytes(&bytes[..cut]).is_err(), "{cut}");
        }
        assert!(Model::from_bytes(&bytes).is_err());
        let text = String::from_utf8_lossy(&bytes).into_owned();
        for (from, to) in
            [("softmax", "sofTmax"), (r#"heads\":2"#, r#"heads\":3"#), ("\"version\":\"1\"", "\"version\":\"9\"")]
        {
            let place = text.find(from).unwrap_or_else(|| panic!("{from}"));
            let mut changed = bytes.clone();
            changed[place..place + to.len()].copy_from_slice(to.as_bytes());
            assert!(AttentionFile::from_bytes(&changed).is_err(), "{from}");
        }
        let (ranked, _, _) = example(Mask::Others, Ranks::Yes);
        let mut ranked = AttentionFile { learned: ranked.learned(), ..file.clone() };
        assert!(String::from_utf8_lossy(&ranked.to_bytes().unwrap()).contains("\"version\":\"2\""));
        ranked.learned.quantiles[1].values.swap(0, 1);
        assert!(AttentionFile::from_bytes(&ranked.to_bytes().unwrap()).is_err());
        ranked.learned.quantiles.pop();
        assert!(AttentionFile::from_bytes(&ranked.to_bytes().unwrap()).is_err());
        let mut broken = file.clone();
        broken.learned.mixture.constant = f64::NAN;
        assert!(broken.to_bytes().is_err());
    }
}

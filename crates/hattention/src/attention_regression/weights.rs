//! Which training rows made a prediction: `ŷ = c + Σ_i ω_i y_i`, exactly, for the metrics and the heads' coefficients as found.

use rayon::prelude::*;

use super::fit::AttentionRegression;
use super::head::{Reading, alike, read, softmax, sums};
use super::objective::Problem;
use super::options::{Coefficients, Precision};
use super::pairs::{Given, Got, Keys};
use super::predict::{Memory, query};
use crate::attention::explain::Attended;
use crate::attention::{Diagnostics, turnover};
use crate::error::Error;
use crate::interrupt::checked;

/// What made a prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The prediction `constant + Σ ω y`.
    pub prediction: f64,
    /// What no row gives: zero, but where coefficients were searched, or rows are others than those of the fit; then the linear
    /// head is in it.
    pub constant: f64,
    /// The part of the linear head with its constant, in units of the target, beyond the target's mean.
    pub linear: f64,
    /// The parts of the softmax heads, `α_m Σ p_mi (y_i − ȳ)`.
    pub heads: Vec<f64>,
    /// The rows with the largest `|ω|`, largest first.
    pub top: Vec<Attended>,
    /// What the weights say.
    pub diagnostics: Diagnostics,
    /// `Σ |ω − ω'|` with the weights of the query before; absent for the first.
    pub turnover: Option<f64>,
}

/// Weights of queries.
///
/// # Formula
/// `ω(x) = Σ_m α_m (p_m(x) − 1/n) + (1, x)ᵀ (X̃ᵀX̃)⁻¹ X̃ᵀ (I − Σ_m α_m P_m)` with X̃ the training inputs and a column of ones, and P_m what
/// training rows read of each other, about the mean of what they may read (under masks of time, and where a row reads itself,
/// without it, nor `1/n`): given metrics and α, the constant and the linear head are least squares of what the
/// heads leave. They sum to one. They are convex, all in `[0, 1]`, only for a single head with α = 1 and no linear head.
#[derive(Clone, Debug)]
pub struct Weights<'a> {
    model: &'a AttentionRegression,
    memories: Vec<Memory>,
    /// `(X̃ᵀX̃)⁻¹ X̃ᵀ (I − Σ α P)`, a row of training rows each for the constant and the inputs; empty without a constant.
    linear: Vec<Vec<f64>>,
}

/// Queries whose weights are held at once.
const BATCH: usize = 64;

impl<'a> Weights<'a> {
    /// Weights that a model gives.
    ///
    /// # Numerics
    /// As much work as `⌈(P + 2)/2⌉` losses of the fit, once.
    pub fn of(model: &'a AttentionRegression) -> Self {
        let linear = match (model.options.coefficients, &model.solved) {
            (Coefficients::Solved, None) if model.own => linear(model),
            (Coefficients::Solved, Some(rows)) if model.own => linear_of_some(model, rows),
            _ => Vec::new(),
        };
        Self { model, memories: model.memories(), linear }
    }

    /// The weights of training rows, in their own order, in the prediction of a row of columns.
    fn row(&self, columns: &[&[f64]], row: usize) -> Vec<f64> {
        let model = self.model;
        let input = model.input(columns, row);
        let mut weights = vec![0.0; model.inputs.rows];
        for ((memory, factor), alpha) in self.memories.iter().zip(&model.parameters.factors).zip(&model.mixture.heads) {
            let softmax = memory.softmax(&query(factor, &input));
            weights.iter_mut().zip(&softmax).for_each(|(w, p)| *w += alpha * p);
        }
        // (Rows at which the mixture of a sample was solved do not read themselves, whatever the mask.)
        let centred = model.scope.centred() || model.solved.is_some() && model.scope.both;
        if centred && !self.linear.is_empty() {
            let mean = model.mixture.heads.iter().sum::<f64>() / weights.len() as f64;
            weights.iter_mut().for_each(|w| *w -= mean);
        }
        for (c, linear) in self.linear.iter().enumerate() {
            let x = if c == 0 { 1.0 } else { input[c - 1] };
            weights.iter_mut().zip(linear).for_each(|(w, b)| *w += x * b);
        }
        let mut ordered = vec![0.0; weights.len()];
        model.order.iter().zip(&weights).for_each(|(i, w)| ordered[*i] = *w);
        ordered
    }

    /// Weights of all training rows in the predictions of new rows.
    ///
    /// # Shapes
    /// As many columns as in the fit, each `[queries]`; the result `[queries][rows]`.
    ///
    /// # Errors
    /// As [`AttentionRegression::predict`].
    pub fn weights(&self, columns: &[&[f64]]) -> Result<Vec<Vec<f64>>, Error> {
        let queries = self.model.check(columns)?;
        Ok((0..queries).into_par_iter().map(checked(|row| self.row(columns, row))).collect())
    }

    /// What made the predictions of new rows, with so many rows named.
    ///
    /// # Errors
    /// As [`AttentionRegression::predict`].
    pub fn explain(&self, columns: &[&[f64]], top: usize) -> Result<Vec<Explanation>, Error> {
        let queries = self.model.check(columns)?;
        let mut explanations = Vec::with_capacity(queries);
        let mut before: Option<Vec<f64>> = None;
        for first in (0..queries).step_by(BATCH) {
            let batch = first..queries.min(first + BATCH);
            let of_query = |row: usize| {
                let weights = self.row(columns, row);
                let explanation = self.explanation(&self.model.input(columns, row), &weights, top);
                (weights, explanation)
            };
            let found: Vec<_> = batch.into_par_iter().map(checked(of_query)).collect();
            for (weights, mut explanation) in found {
                explanation.turnover = before.map(|before| turnover(&weights, &before));
                before = Some(weights);
                explanations.push(explanation);
            }
        }
        Ok(explanations)
    }

    fn explanation(&self, input: &[f64], weights: &[f64], top: usize) -> Explanation {
        let model = self.model;
        let heads = self.memories.iter().zip(&model.parameters.factors).zip(&model.mixture.heads);
        let heads: Vec<f64> = heads
            .map(|((memory, factor), alpha)| {
                let softmax = memory.softmax(&query(factor, input));
                model.target_scale * alpha * softmax.iter().zip(&model.targets).map(|(p, y)| p * y).sum::<f64>()
            })
            .collect();
        let linear = model.target_scale * model.linear(input);
        let diagnostics = Diagnostics::of(weights);
        let mut rows: Vec<usize> = (0..weights.len()).collect();
        let larger = |a: &usize, b: &usize| weights[*b].abs().total_cmp(&weights[*a].abs()).then(a.cmp(b));
        let top = top.min(rows.len());
        if top > 0 && top < rows.len() {
            rows.select_nth_unstable_by(top - 1, larger);
        }
        rows.truncate(top);
        rows.sort_unstable_by(larger);
        let targets = model.ordered_targets();
        let top = rows.iter().map(|i| Attended { row: *i as u64, weight: weights[*i], target: targets[*i] }).collect();
        let prediction = model.target_mean + linear + heads.iter().sum::<f64>();
        let constant = prediction - weights.iter().zip(&targets).map(|(w, y)| w * y).sum::<f64>();
        Explanation { prediction, constant, linear, heads, top, diagnostics, turnover: None }
    }
}

impl AttentionRegression {
    /// The training targets in their own order and units.
    pub(super) fn ordered_targets(&self) -> Vec<f64> {
        let mut targets = vec![0.0; self.targets.len()];
        let own = |y: &f64| self.target_mean + self.target_scale * y;
        self.order.iter().zip(&self.targets).for_each(|(i, y)| targets[*i] = own(y));
        targets
    }

    /// What it was fitted to.
    pub(super) fn problem(&self) -> Problem<'_> {
        let reading = self.reading();
        Problem { inputs: &self.inputs, targets: &self.targets, reading, options: &self.options }
    }

    pub(super) fn reading(&self) -> Reading<'_> {
        let decay = super::prepare::decay(&self.options.mask);
        Reading { score: self.options.score, scope: &self.scope, decay, precision: Precision::Double }
    }
}

/// `(X̃ᵀX̃)⁻¹ X̃ᵀ (I − Σ α P)`.
fn linear(model: &AttentionRegression) -> Vec<Vec<f64>> {
    let rows = model.inputs.rows;
    let mut features: Vec<Vec<f64>> = vec![vec![1.0; rows]];
    if model.options.linear {
        features.extend((0..model.inputs.columns).map(|p| model.inputs.column(p).to_vec()));
    }
    // X̃ᵀ(I − Σ α P).
    let mut left = features.clone();
    for (factor, alpha) in model.parameters.factors.iter().zip(&model.mixture.heads) {
        for (left, back) in left.iter_mut().zip(transposed(model, factor, &features)) {
            left.iter_mut().zip(back).for_each(|(l, b)| *l -= alpha * b);
        }
    }
    solved(&features, &left)
}

/// Parts that queries are summed in.
const PARTS: usize = 16;

/// The same where the mixture was solved at some of the rows, which read all; nothing, if the rows are no longer in the order of
/// the fit.
fn linear_of_some(model: &AttentionRegression, rows: &[usize]) -> Vec<Vec<f64>> {
    let places = model.places(rows);
    let everything: Vec<usize> = (0..model.inputs.rows).collect();
    let memories = model.memories_at(&everything);
    let width = if model.options.linear { model.inputs.columns } else { 0 };
    let nothing = vec![vec![0.0; model.inputs.rows]; 1 + width];
    let of_part = |places: &[usize]| -> Vec<Vec<f64>> {
        let mut left = nothing.clone();
        for at in places {
            let input: Vec<f64> = (0..model.inputs.columns).map(|c| model.inputs.column(c)[*at]).collect();
            let own = left_of(model, &memories, *at, &input);
            for (left, x) in left.iter_mut().zip(std::iter::once(&1.0).chain(&input)) {
                left.iter_mut().zip(&own).for_each(|(l, o)| *l += x * o);
            }
        }
        left
    };
    let parts: Vec<&[usize]> = places.chunks(places.len().div_ceil(PARTS).max(1)).collect();
    let parts: Vec<Vec<Vec<f64>>> = parts.into_par_iter().map(checked(of_part)).collect();
    let mut left = nothing;
    for (sum, more) in parts.iter().flat_map(|part| part.iter().enumerate()) {
        left[sum].iter_mut().zip(more).for_each(|(l, m)| *l += m);
    }
    let mut features = vec![vec![1.0; places.len()]];
    features.extend((0..width).map(|c| places.iter().map(|at| model.inputs.column(c)[*at]).collect()));
    let solved = solved(&features, &left);
    let found = solved.iter().map(|weights| weights.iter().zip(&model.targets).map(|(w, y)| w * y).sum::<f64>());
    let mut pairs = found.zip(std::iter::once(&model.mixture.constant).chain(&model.mixture.slopes));
    let same = pairs.all(|(found, expected)| (found - expected).abs() < 1e-6 * (1.0 + expected.abs()));
    if same { solved } else { Vec::new() }
}

/// The row of `I − Σ α P` at a training row.
fn left_of(model: &AttentionRegression, memories: &[Memory], at: usize, input: &[f64]) -> Vec<f64> {
    let hidden = model.scope.hidden(at, model.inputs.rows);
    let read = model.inputs.rows - hidden.iter().map(|range| range.len()).sum::<usize>();
    let mut left = vec![0.0; model.inputs.rows];
    for ((memory, factor), alpha) in memories.iter().zip(&model.parameters.factors).zip(&model.mixture.heads) {
        let softmax = memory.softmax_without(&query(factor, input), &hidden);
        left.iter_mut().zip(softmax).for_each(|(l, p)| *l -= alpha * p);
    }
    if model.scope.both {
        let mean = model.mixture.heads.iter().sum::<f64>() / read.max(1) as f64;
        left.iter_mut().for_each(|l| *l += mean);
        hidden.iter().for_each(|range| left[range.clone()].iter_mut().for_each(|l| *l -= mean));
    }
    left[at] += 1.0;
    left
}

/// `(X̃ᵀX̃)⁻¹` times some vectors, for the columns of X̃.
fn solved(features: &[Vec<f64>], left: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let (size, rows) = (features.len(), left[0].len());
    let mut matrix = vec![0.0; size * size];
    for i in 0..size {
        for j in 0..size {
            matrix[i * size + j] = crate::dense::kernel::dot(&features[i], &features[j]);
        }
        matrix[i * size + i] += 1e-12 * (matrix[i * size + i] + features[0].len() as f64);
    }
    let mut solved = vec![vec![0.0; rows]; size];
    for c in 0..size {
        let unit: Vec<f64> = (0..size).map(|k| f64::from(k == c)).collect();
        // (With a little on the diagonal there is always an inverse; it is symmetric.)
        let inverse = crate::linalg::solve_symmetric(&matrix, size, &unit).unwrap_or(unit);
        for (weight, left) in inverse.iter().zip(left) {
            solved[c].iter_mut().zip(left).for_each(|(s, l)| *s += weight * l);
        }
    }
    solved
}

/// `Pᵀ v` of some vectors v over training rows.
fn transposed(model: &AttentionRegression, factor: &[Vec<f64>], vectors: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let reading = model.reading();
    let read = read(&model.inputs, factor, &model.targets, reading);
    let (rows, keys) = (model.inputs.rows, &read.keys);
    // Who reads whom is the same both ways, or, where rows read those before them alone, when time runs backwards.
    let backwards = !reading.scope.both;
    let turned = |values: &[f64]| -> Vec<f64> {
        let mut values = values[..rows].to_vec();
        if backwards {
            values.reverse();
        }
        values.resize(keys.padded, 0.0);
        values
    };
    let columns: Vec<Vec<f64>> = (0..keys.columns).map(|c| turned(keys.column(c))[..rows].to_vec()).collect();
    let turned_keys = Keys::decaying(rows, &columns, reading.decay);
    let shared = |vector: &Vec<f64>| -> Vec<f64> {
        turned(&vector.iter().zip(&read.sums).map(|(v, s)| if read.sure(*s) { v / s } else { 0.0 }).collect::<Vec<_>>())
    };
    let mut all: Vec<Vec<f64>> = Vec::with_capacity(vectors.len());
    for pair in vectors.chunks(2) {
        let (first, second) = (shared(&pair[0]), shared(&pair[pair.len() - 1]));
        let Got { weights, weighted } = sums(&turned_keys, Given { weights: &first, weighted: &second }, reading);
        all.extend([weights, weighted].iter().take(pair.len()).map(|sums| turned(sums)));
    }
    for (back, vector) in all.iter_mut().zip(vectors) {
        back.truncate(rows);
        for (i, back) in back.iter_mut().enumerate() {
            let own = if reading.scope.itself && read.sure(read.sums[i]) {
                alike(keys, i, reading.score).0 * vector[i] / read.sums[i]
            } else {
                0.0
            };
            *back = read.weights[i] * (*back + own);
        }
    }
    if reading.scope.centred() {
        let counts = reading.scope.gather(&vec![1.0; rows]);
        for (back, vector) in all.iter_mut().zip(vectors) {
            let shared: Vec<f64> = vector.iter().zip(&counts).map(|(v, count)| v / count.max(1.0)).collect();
            back.iter_mut().zip(reading.scope.gather(&shared)).for_each(|(b, mean)| *b -= mean);
        }
    }
    // Rows that are read one by one, or read nothing and so the mean of all.
    for i in (0..rows).filter(|i| !read.sure(read.sums[*i])) {
        let weights = if reading.scope.any(i) { softmax(keys, i, reading) } else { vec![1.0 / rows as f64; rows] };
        for (back, vector) in all.iter_mut().zip(vectors) {
            back.iter_mut().zip(&weights).for_each(|(b, p)| *b += vector[i] * p);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::noise::wave;
    use super::super::options::{Mask, Options, Ranks, Score};
    use super::*;

    /// Predictions of the model had the targets been others, with metrics and α as they are: the constant and the linear
    /// head by least squares of what the heads leave.
    fn swapped(model: &AttentionRegression, targets: &[f64], columns: &[&[f64]]) -> Vec<f64> {
        let mut other = model.clone();
        other.targets = model.order.iter().map(|i| (targets[*i] - model.target_mean) / model.target_scale).collect();
        let reads: Vec<Vec<f64>> = model
            .parameters
            .factors
            .iter()
            .map(|factor| read(&model.inputs, factor, &other.targets, model.reading()).centred)
            .collect();
        let left: Vec<f64> = (0..targets.len())
            .map(|i| other.targets[i] - reads.iter().zip(&model.mixture.heads).map(|(z, a)| a * z[i]).sum::<f64>())
            .collect();
        let inputs: Vec<&[f64]> = (0..columns.len()).map(|p| model.inputs.column(p)).collect();
        let inputs = if model.options.linear { inputs } else { Vec::new() };
        let none = Options { heads: 0, linear: model.options.linear, ..Options::default() };
        let constant = vec![0.0; left.len()];
        let inputs = if inputs.is_empty() { vec![&constant[..]] } else { inputs };
        let line = AttentionRegression::fit(&inputs, &left, none).unwrap();
        let slopes = line.slopes();
        let means: Vec<f64> = inputs.iter().map(|x| x.iter().sum::<f64>() / x.len() as f64).collect();
        other.mixture.constant =
            left.iter().sum::<f64>() / left.len() as f64 - slopes.iter().zip(&means).map(|(b, m)| b * m).sum::<f64>();
        other.mixture.slopes = if model.options.linear { slopes } else { Vec::new() };
        let mean = other.targets.iter().sum::<f64>() / left.len() as f64;
        let shift = if model.scope.centred() { mean * model.mixture.heads.iter().sum::<f64>() } else { 0.0 };
        other.predict(columns).unwrap().iter().map(|p| p - model.target_scale * shift).collect()
    }

    #[test]
    fn weights_make_the_predictions_of_any_targets() {
        let rows = 83;
        let columns: Vec<Vec<f64>> = (0..3).map(|c| wave(rows, 100.0 * c as f64)).collect();
        let train: Vec<&[f64]> = columns.iter().map(|c| &c[..]).collect();
        let y: Vec<f64> = (0..rows).map(|i| 7.0 + (5.0 * columns[0][i]).sin() + columns[1][i]).collect();
        let others: Vec<f64> = (0..rows).map(|i| 3.0 - columns[2][i] + (i as f64 * 0.7).cos()).collect();
        let queries: Vec<Vec<f64>> = (0..3).map(|c| wave(9, 1000.0 + c as f64)).collect();
        let new: Vec<&[f64]> = queries.iter().map(|c| &c[..]).collect();
        let masks = [
            Mask::Others,
            Mask::All,
            Mask::Before,
            Mask::Window(20),
            Mask::Decay(30.0),
            Mask::Blocks((0..rows as u64).map(|i| i * 7 % 5).collect()),
        ];
        let scores = [Score::Distance, Score::Dot, Score::Polynomial { degree: 2 }];
        for mask in masks {
            for score in scores {
                for (linear, ranks) in [(true, Ranks::No), (true, Ranks::Yes), (false, Ranks::No)] {
                    if score.power() > 0 && matches!(mask, Mask::Decay(_)) {
                        continue;
                    }
                    let options =
                        Options { heads: 2, steps: 5, score, mask: mask.clone(), linear, ranks, ..Options::default() };
                    let model = AttentionRegression::fit(&train, &y, options.clone()).unwrap();
                    let weights = Weights::of(&model).weights(&new).unwrap();
                    let close = |targets: &[f64], expected: &[f64]| {
                        for (weights, expected) in weights.iter().zip(expected) {
                            let found: f64 = weights.iter().zip(targets).map(|(w, y)| w * y).sum();
                            assert!((found - expected).abs() < 1e-9, "{options:?}: {found} and {expected}");
                            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
                        }
                    };
                    close(&y, &model.predict(&new).unwrap());
                    close(&others, &swapped(&model, &others, &new));
                }
            }
        }
    }

    #[test]
    fn explanations_add_up_and_weights_of_one_head_alone_are_convex() {
        let rows = 60;
        let x = wave(rows, 0.0);
        let y: Vec<f64> = x.iter().map(|x| 2.0 + (6.0 * x).sin()).collect();
        let model = AttentionRegression::fit(&[&x], &y, Options::default()).unwrap();
        let found = Weights::of(&model).explain(&[&[0.3, 0.31, 0.9]], 4).unwrap();
        let predictions = model.predict(&[&[0.3, 0.31, 0.9]]).unwrap();
        for (explanation, prediction) in found.iter().zip(predictions) {
            assert!((explanation.prediction - prediction).abs() < 1e-12);
            assert!(explanation.constant.abs() < 1e-9);
            assert_eq!((explanation.top.len(), explanation.heads.len()), (4, Options::default().heads));
            assert!(explanation.top.windows(2).all(|pair| pair[0].weight.abs() >= pair[1].weight.abs()));
            assert!(explanation.top.iter().all(|row| row.target == y[row.row as usize]));
        }
        // A step of 0.01 moves less than one of 0.6.
        assert!(found[0].turnover.is_none() && found[1].turnover.unwrap() < found[2].turnover.unwrap());
        let published = Options { heads: 1, standardize: true, steps: 0, ..Options::published() };
        let model = AttentionRegression::fit(&[&x], &y, published).unwrap();
        let alone = &Weights::of(&model).explain(&[&[0.3]], 1).unwrap()[0];
        assert!((alone.diagnostics.gross - 1.0).abs() < 1e-12 && alone.diagnostics.short == 0.0);
    }
}

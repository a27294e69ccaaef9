//! The forward pass: attention by tiles of rows, the table of scores never formed.

use rayon::prelude::*;

use super::mesa::Mesa;
use super::rows::{Buffers, Chunks, add_products, project, read_narrow, read_wide, unpack, weighted};
use super::{Convention, Layout, Transformer};
use crate::attention::attend::{Scoring, attend};
use crate::dense::packed::{CHUNK, Packed};
use crate::design::Aliased;
use crate::error::Error;
use crate::matrix::{Matrix, Real};

/// Chunks of rows whose states one thread adds up.
const SPAN: usize = 8;
/// Values up to which queries are multiplied one by one.
const NARROW: usize = 8;

/// A transformer's weights in one kind of numbers, ready to run.
///
/// # Numerics
/// A pass over n rows costs `2 n d r` operations for each of the three projections (one if the weights are the same),
/// `2 n r²` for the state `KᵀV` (half if keys are values) and `2 n r m` for reading it: linear in n, for linear scores may
/// be summed before they are read (queries are projected again where they read). Memory is a few chunks of rows a thread.
/// Rows are summed in chains of 60, chains in the order of the rows and in doubles: the number of threads does not show.
#[derive(Clone, Debug)]
pub struct Layer<T: Real> {
    model: Transformer,
    embedding: Embedding<T>,
    queries: Packed<T>,
    /// `None` where they are the queries'.
    keys: Option<Packed<T>>,
    /// `None` where they are the keys'.
    values: Option<Packed<T>>,
    /// `W_FFN W_p`.
    head: Matrix,
}

/// From inputs to tokens.
#[derive(Clone, Debug)]
struct Embedding<T> {
    mean: Vec<T>,
    intercept: bool,
}

impl<T: Real> Embedding<T> {
    fn token(&self, row: &[T], token: &mut [T]) {
        let features = if self.intercept {
            token[0] = T::from_f64(1.0);
            &mut token[1..]
        } else {
            token
        };
        for ((t, x), mean) in features.iter_mut().zip(row).zip(&self.mean) {
            *t = *x - *mean;
        }
    }

    fn features(&self) -> usize {
        self.mean.len() + self.intercept as usize
    }
}

impl Transformer {
    /// The weights rounded to one kind of numbers, ready to run.
    ///
    /// # Errors
    /// - [`Error::Shape`] if the weights do not fit each other.
    /// - [`Error::Parameter`], by the name of its tensor, for a number that is NaN or infinite, or beyond this kind of
    ///   numbers.
    pub fn layer<T: Real>(&self) -> Result<Layer<T>, Error> {
        self.check()?;
        let head = self.w_ffn.product(&self.w_p);
        let matrices = [
            ("a number of tensor `w_q`", &self.w_q.data),
            ("a number of tensor `w_k`", &self.w_k.data),
            ("a number of tensor `w_v`", &self.w_v.data),
            ("a number of tensor `w_ffn`", &self.w_ffn.data),
            ("a number of tensor `w_p`", &self.w_p.data),
            ("a number of tensor `memory`", &self.memory.data),
            ("a number of tensor `x_mean`", &self.x_mean),
            ("a number of `w_ffn` times `w_p`", &head.data),
        ];
        matrices.into_iter().try_for_each(|(name, numbers)| within::<T>(name, numbers))?;
        let packed = |w: &Matrix| Packed::by_columns(&w.cast::<T>(), 0..w.rows);
        Ok(Layer {
            embedding: Embedding {
                mean: self.x_mean.iter().map(|m| T::from_f64(*m)).collect(),
                intercept: self.intercept,
            },
            queries: packed(&self.w_q),
            keys: (self.w_k != self.w_q).then(|| packed(&self.w_k)),
            values: (self.w_v != self.w_k).then(|| packed(&self.w_v)),
            head,
            model: self.clone(),
        })
    }
}

impl<T: Real> Layer<T> {
    /// Predictions of rows, by the model's own layout: `self` or `cross`.
    ///
    /// # Shapes
    /// `x`: `[rows][p]`; the result: `[rows][m]`.
    ///
    /// # Errors
    /// - [`Error::Shape`] if rows have another number of columns than the model.
    /// - [`Error::NonFinite`] for NaN or infinity among them, or an input beyond this kind of numbers.
    /// - [`Error::NoRows`] for no rows to attend to.
    /// - [`Error::Parameter`] for the solve layout, which needs a context: [`Layer::solve`].
    pub fn forward(&self, x: &Matrix<T>) -> Result<Matrix<T>, Error> {
        match self.model.layout {
            Layout::SelfAttention => self.among(x, None),
            Layout::Cross => self.cross(x),
            Layout::Solve => Err(Error::Parameter {
                name: "the layout",
                got: "solve, without a context".into(),
                allowed: "a context of rows and their targets",
            }),
        }
    }

    /// The self layout: rows attend to each other. `weights` are those of the rows attended to.
    ///
    /// # Equals
    /// `X̃* Σ⁻¹ Σ* β̂` for one head (the shift law); on the training rows fitted values, R's `fitted(lm(…))`.
    ///
    /// # Errors
    /// As [`Layer::forward`]; [`Error::Weight`] for a weight that is negative or not finite.
    pub fn among(&self, x: &Matrix<T>, weights: Option<&[f64]>) -> Result<Matrix<T>, Error> {
        self.check(x)?;
        let total = total(x.rows, weights)?;
        Ok(self.read(x, &self.state(x, weights, total).product(&self.head)))
    }

    /// The cross layout: rows are queries, and read the state of the training rows.
    ///
    /// # Equals
    /// `predict(lm(…), newdata)` in R, to about `20 ε κ`.
    ///
    /// # Errors
    /// As [`Layer::forward`].
    pub fn cross(&self, x: &Matrix<T>) -> Result<Matrix<T>, Error> {
        self.check(x)?;
        let state = self.within_heads(self.model.memory.clone());
        Ok(self.read(x, &state.product(&self.head)))
    }

    /// The cross layout over rows of a context that is at hand, by tiles of scores: `(1/n) (XW_Q)(CW_K)ᵀ(CW_V) W_FFN W_p`
    /// in the order in which attention is drawn. `rows × context` scores are computed and none is kept.
    ///
    /// # Errors
    /// As [`Layer::forward`] and [`attend`].
    pub fn attend(&self, x: &Matrix<T>, context: &Matrix<T>, weights: Option<&[f64]>) -> Result<Matrix<T>, Error> {
        self.check(x)?;
        self.check(context)?;
        let total = total(context.rows, weights)?;
        let unpacked = |x: &Matrix<T>, w: &Packed<T>| unpack(&self.project(x, w), x.rows);
        let queries = unpacked(x, &self.queries);
        let keys = unpacked(context, self.keys.as_ref().unwrap_or(&self.queries));
        let values = self.values.as_ref().map(|w| unpacked(context, w));
        let scoring = Scoring { scale: self.share(total), weights, ..Scoring::default() };
        let mut result = Matrix::zeros(x.rows, self.head.columns);
        for head in &self.model.heads {
            let columns = |m: &Matrix<T>| Matrix::from_fn(m.rows, head.len(), |i, j| m.at(i, head.start + j));
            let keys = columns(&keys);
            let values = values.as_ref().map_or_else(|| keys.clone(), columns);
            let read = attend(&columns(&queries), &keys, &values, &scoring)?;
            let part =
                Matrix::from_fn(head.len(), self.head.columns, |i, j| T::from_f64(self.head.at(head.start + i, j)));
            result.data.iter_mut().zip(read.product(&part).data).for_each(|(sum, x)| *sum = *sum + x);
        }
        Ok(result)
    }

    /// The keys of some rows, `X̃ W_K`.
    ///
    /// # Shapes
    /// `[rows][r]`.
    ///
    /// # Errors
    /// As [`Layer::forward`].
    pub fn keys(&self, x: &Matrix<T>) -> Result<Matrix<T>, Error> {
        self.check(x)?;
        Ok(unpack(&self.project(x, self.keys.as_ref().unwrap_or(&self.queries)), x.rows))
    }

    /// The state `(1/n) KᵀV` of some rows: the identity on the training rows, `LᵀΣ*L` on others.
    ///
    /// # Shapes
    /// `[r][r]`.
    ///
    /// # Errors
    /// As [`Layer::among`].
    pub fn remember(&self, context: &Matrix<T>, weights: Option<&[f64]>) -> Result<Matrix, Error> {
        self.check(context)?;
        let total = total(context.rows, weights)?;
        Ok(self.state(context, weights, total))
    }

    /// The solve layout: `Q (KᵀK + αI)⁻¹ KᵀY` over a context of rows and their targets, with the weights of the model as
    /// they are; the constant's key is not penalised.
    ///
    /// # Shapes
    /// `x`: `[rows][p]`; `context`: `[context][p]`; `targets`: `[context][m]`, any m; the result: `[rows][m]`.
    ///
    /// # Equals
    /// `predict(lm(targets ~ context), x)` in R for α = 0.
    ///
    /// # Numerics
    /// The context is taken in by rotations ([`Mesa`]), in blocks that threads share and in doubles also where the keys are
    /// singles: the error is `ε κ` of the context's *keys*, which the model's own training rows have of condition one.
    ///
    /// # Errors
    /// As [`Layer::forward`]; [`Error::RankDeficient`] if the keys of the context depend on each other and α is 0.
    pub fn solve(&self, x: &Matrix<T>, context: &Matrix<T>, targets: &Matrix<T>) -> Result<Matrix<T>, Error> {
        self.check(x)?;
        self.recall(x, &self.learn(context, targets)?)
    }

    /// What the solve layout learns from a context: `(KᵀK + αI)⁻¹ KᵀY`, to be read by [`Layer::recall`].
    ///
    /// # Shapes
    /// `context`: `[context][p]`; `targets`: `[context][m]`, any m; the result: `[r][m]`.
    ///
    /// # Errors
    /// As [`Layer::solve`].
    pub fn learn(&self, context: &Matrix<T>, targets: &Matrix<T>) -> Result<Matrix, Error> {
        self.check(context)?;
        targets.check_finite()?;
        if targets.rows != context.rows {
            return Err(Error::Shape { what: "the targets", expected: context.rows, got: targets.rows });
        }
        if context.rows == 0 {
            return Err(Error::NoRows);
        }
        let mut mesa = Mesa::<f64>::new(self.model.keys(), targets.columns);
        if self.model.alpha > 0.0 {
            mesa = mesa.with_ridge(self.model.alpha, self.model.intercept as usize)?;
        }
        let keys = unpack(&self.project(context, self.keys.as_ref().unwrap_or(&self.queries)), context.rows);
        // Memories of blocks are made at once, and merged in the order of the rows.
        let block = (2 * self.model.keys()).max(CHUNK);
        let blocks: Vec<usize> = (0..context.rows).step_by(block).collect();
        let doubles = |row: &[T]| row.iter().map(|x| x.to_f64()).collect::<Vec<f64>>();
        let memory = |first: usize| -> Result<Mesa<f64>, Error> {
            let mut memory = Mesa::new(self.model.keys(), targets.columns);
            for i in first..context.rows.min(first + block) {
                memory.push(&doubles(keys.row(i)), &doubles(targets.row(i)), 1.0)?;
            }
            Ok(memory)
        };
        for memory in blocks.into_par_iter().map(memory).collect::<Result<Vec<_>, _>>()? {
            mesa.merge(&memory)?;
        }
        mesa.coefficients(Aliased::Error)
    }

    /// Queries times a state that is at hand: `X̃ W_Q S`.
    ///
    /// # Shapes
    /// `x`: `[rows][p]`; `state`: `[r][m]`; the result: `[rows][m]`.
    ///
    /// # Errors
    /// As [`Layer::forward`]; [`Error::Shape`] for a state of other keys.
    pub fn recall(&self, x: &Matrix<T>, state: &Matrix) -> Result<Matrix<T>, Error> {
        self.check(x)?;
        if state.rows != self.model.keys() {
            return Err(Error::Shape { what: "the state", expected: self.model.keys(), got: state.rows });
        }
        Ok(self.read(x, state))
    }

    /// Rows as queries, `X̃ W_Q`.
    ///
    /// # Shapes
    /// `x`: `[rows][p]`; the result: `[rows][r]`.
    ///
    /// # Errors
    /// As [`Layer::forward`].
    pub fn queries(&self, x: &Matrix<T>) -> Result<Matrix<T>, Error> {
        self.check(x)?;
        let queries = unpack(&self.project(x, &self.queries), x.rows);
        Ok(if x.rows > 0 { queries } else { Matrix::zeros(0, self.model.keys()) })
    }

    fn check(&self, x: &Matrix<T>) -> Result<(), Error> {
        if x.columns != self.model.names.len() {
            return Err(Error::Shape { what: "a row", expected: self.model.names.len(), got: x.columns });
        }
        x.check_finite()
    }

    /// What a sum over the context is multiplied by.
    fn share(&self, total: f64) -> f64 {
        match self.model.convention {
            Convention::Covariance => 1.0 / total,
            Convention::Gram => 1.0,
        }
    }

    /// Rows times weights, in chunks.
    fn project(&self, x: &Matrix<T>, weights: &Packed<T>) -> Chunks<T> {
        let starts: Vec<usize> = (0..x.rows).step_by(CHUNK).collect();
        let project = |tokens: &mut Vec<T>, first: usize| {
            self.embed(x, first, tokens);
            let mut chunk = Packed::default();
            project(weights, tokens, &mut chunk);
            chunk
        };
        starts.into_par_iter().map_init(Vec::new, project).collect()
    }

    /// The tokens of a chunk of rows.
    fn embed(&self, x: &Matrix<T>, first: usize, tokens: &mut Vec<T>) {
        let features = self.embedding.features();
        let rows = first..x.rows.min(first + CHUNK);
        tokens.resize(rows.len() * features, T::default());
        for (token, i) in tokens.chunks_exact_mut(features.max(1)).zip(rows) {
            self.embedding.token(x.row(i), token);
        }
    }

    /// `share · Σ w k vᵀ` within heads. Keys and values are used where they are made, in the caches: making them again costs
    /// less than keeping them.
    fn state(&self, x: &Matrix<T>, weights: Option<&[f64]>, total: f64) -> Matrix {
        let size = self.model.keys();
        let spans: Vec<usize> = (0..x.rows).step_by(SPAN * CHUNK).collect();
        let one = |buffers: &mut Buffers<T>, first: usize| {
            let mut sums = vec![0.0; size * size];
            for start in (first..x.rows.min(first + SPAN * CHUNK)).step_by(CHUNK) {
                self.embed(x, start, &mut buffers.tokens);
                project(self.keys.as_ref().unwrap_or(&self.queries), &buffers.tokens, &mut buffers.keys);
                let right = match &self.values {
                    None => &buffers.keys,
                    Some(map) => {
                        project(map, &buffers.tokens, &mut buffers.values);
                        &buffers.values
                    }
                };
                match weights {
                    None => add_products(&buffers.keys, right, self.values.is_none(), size, &mut sums),
                    Some(weights) => {
                        add_products(&buffers.keys, &weighted(right, &weights[start..]), false, size, &mut sums);
                    }
                }
            }
            sums
        };
        let parts: Vec<Vec<f64>> = spans.into_par_iter().map_init(Buffers::default, one).collect();
        let mut state = Matrix::zeros(size, size);
        for part in parts {
            state.data.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
        }
        if self.values.is_none() && weights.is_none() {
            for i in 0..size {
                for j in 0..i {
                    state.data[j * size + i] = state.data[i * size + j];
                }
            }
        }
        let share = self.share(total);
        state.data.iter_mut().for_each(|x| *x *= share);
        self.within_heads(state)
    }

    /// Products of keys and values of different heads are left out.
    fn within_heads(&self, mut state: Matrix) -> Matrix {
        for head in &self.model.heads {
            for i in head.clone() {
                let row = state.row_mut(i);
                row[..head.start].fill(0.0);
                row[head.end..].fill(0.0);
            }
        }
        state
    }

    /// Rows as queries times a state.
    fn read(&self, x: &Matrix<T>, state: &Matrix) -> Matrix<T> {
        let state = state.cast::<T>();
        let columns = state.columns;
        let mut result = Matrix::zeros(x.rows, columns);
        if columns == 0 {
            return result;
        }
        let narrow = columns < NARROW;
        let by_columns = if narrow {
            Packed::by_columns(&state.transposed(), 0..columns)
        } else {
            Packed::by_columns(&state, 0..state.rows)
        };
        let chunks = result.data.par_chunks_mut(CHUNK * columns).enumerate();
        chunks.for_each_init(Buffers::default, |buffers, (chunk, target)| {
            self.embed(x, chunk * CHUNK, &mut buffers.tokens);
            project(&self.queries, &buffers.tokens, &mut buffers.keys);
            if narrow {
                read_narrow(&buffers.keys, &by_columns, target);
            } else {
                read_wide(&buffers.keys, &by_columns, target);
            }
        });
        result
    }
}

/// Whether all numbers of a tensor are finite in this kind of numbers.
fn within<T: Real>(name: &'static str, numbers: &[f64]) -> Result<(), Error> {
    match numbers.iter().find(|x| !T::from_f64(**x).is_finite()) {
        None => Ok(()),
        Some(x) => {
            let got = if x.is_finite() { format!("{x:e}, beyond {}", T::NAME) } else { x.to_string() };
            Err(Error::Parameter {
                name,
                got,
                allowed: "a finite number in the precision asked for; doubles reach farther",
            })
        }
    }
}

/// The sum of the weights, one each without.
fn total(rows: usize, weights: Option<&[f64]>) -> Result<f64, Error> {
    let Some(weights) = weights else {
        return if rows > 0 { Ok(rows as f64) } else { Err(Error::NoRows) };
    };
    if weights.len() != rows {
        return Err(Error::Shape { what: "the weights", expected: rows, got: weights.len() });
    }
    if let Some(row) = weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
        return Err(Error::Weight { row, value: weights[row] });
    }
    let total: f64 = weights.iter().sum();
    if total > 0.0 { Ok(total) } else { Err(Error::NoRows) }
}

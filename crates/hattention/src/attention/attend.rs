//! Attention by its scores: tiles of queries against tiles of keys, whatever becomes of a score.

use rayon::prelude::*;

use crate::dense::kernel::TILE;
use crate::dense::packed::{CHAIN, CHUNK, Packed, product_rows};
use crate::error::Error;
use crate::matrix::{Matrix, Real};

/// What becomes of the inner product `s = scale · ⟨q, k⟩`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Score {
    /// `s`: linear attention, least squares.
    #[default]
    Linear,
    /// `sᵏ`.
    Polynomial(
        /// The degree, at least 1.
        u32,
    ),
    /// `eˢ`; normalised it is softmax attention.
    Exponential,
}

/// Which keys a query sees, by their rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Mask {
    /// All.
    #[default]
    All,
    /// All but the key of its own row: leave-one-out.
    Others,
    /// The keys up to its own row.
    Causal,
    /// Its own row and the `width − 1` before it.
    Window {
        /// Rows seen, at least 1.
        width: usize,
    },
    /// The keys up to its own row, scores times `γ` for every row back.
    Decay {
        /// `γ`, between 0 and 1.
        gamma: f64,
    },
}

/// How scores are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scoring<'a> {
    /// What becomes of an inner product.
    pub score: Score,
    /// The factor of inner products: `1/n` in the covariance convention, `1/√d` or an inverse temperature for softmax.
    pub scale: f64,
    /// Whether the scores of a query are divided by their sum.
    pub normalize: bool,
    /// Which keys a query sees.
    pub mask: Mask,
    /// Weights of the keys' rows, factors of their scores. Shape: `[keys]`.
    pub weights: Option<&'a [f64]>,
}

impl Default for Scoring<'_> {
    fn default() -> Self {
        Self { score: Score::Linear, scale: 1.0, normalize: false, mask: Mask::All, weights: None }
    }
}

/// `Σⱼ f(scale ⟨qᵢ, kⱼ⟩) vⱼ` for every query, over the keys that it sees; divided by `Σⱼ f` if scores are normalised.
///
/// # Shapes
/// `queries`: `[queries][d]`; `keys`: `[keys][d]`; `values`: `[keys][m]`; the result: `[queries][m]`.
///
/// # Equals
/// `torch.nn.functional.scaled_dot_product_attention` for normalised exponential scores; `(Q Kᵀ) V` without the table of
/// scores for linear ones.
///
/// # Numerics
/// Cost `2 · queries · keys · (d + m)` operations, whatever the score; memory beside keys and values is one tile of scores
/// a thread. Sums run over the keys in the order of their rows, in chains of 60: threads do not show. Exponentials of
/// normalised scores are taken relative to the largest so far, so that they neither overflow nor vanish together.
///
/// # Errors
/// - [`Error::Shape`]: keys and queries of different length, or as many values or weights as there are no keys.
/// - [`Error::Parameter`]: degree 0, width 0, a decay outside 0 to 1, or a scale that is not finite.
///
/// # Example
/// ```
/// use hattention::attention::attend::{Score, Scoring, attend};
/// use hattention::matrix::Matrix;
/// let (q, k) = (Matrix::from_fn(1, 1, |_, _| 2.0), Matrix::from_fn(3, 1, |i, _| i as f64));
/// let v = Matrix::from_fn(3, 1, |i, _| 10.0 * i as f64);
/// // 2·0·0 + 2·1·10 + 2·2·20
/// assert_eq!(attend(&q, &k, &v, &Scoring::default()).unwrap().data, [100.0]);
/// let softmax = Scoring { score: Score::Exponential, normalize: true, ..Scoring::default() };
/// let mean = attend(&q, &k, &v, &softmax).unwrap().data[0];
/// let (a, b) = (2f64.exp(), 4f64.exp());
/// assert!((mean - (10.0 * a + 20.0 * b) / (1.0 + a + b)).abs() < 1e-14);
/// ```
///
/// # References
/// Vaswani et al. (2017), eq. 1; Milakov & Gimelshein (2018) for the running maximum; Rabe & Staats (2021) and Dao et al.
/// (2022) for tiles.
pub fn attend<T: Real>(
    queries: &Matrix<T>,
    keys: &Matrix<T>,
    values: &Matrix<T>,
    scoring: &Scoring<'_>,
) -> Result<Matrix<T>, Error> {
    check(queries, keys, values, scoring)?;
    let starts: Vec<usize> = (0..keys.rows).step_by(CHUNK).collect();
    let chunks: Vec<Context<T>> = starts
        .into_par_iter()
        .map(|first| {
            let rows = first..keys.rows.min(first + CHUNK);
            let keys = &keys.data[first * keys.columns..rows.end * keys.columns];
            Context { first, keys, values: Packed::by_columns(values, rows) }
        })
        .collect();
    let mut result = Matrix::zeros(queries.rows, values.columns);
    let width = (T::PANEL * values.columns).max(1);
    result.data.par_chunks_mut(width).enumerate().for_each(|(p, target)| {
        let first = p * T::PANEL;
        let mut panel = QueryPanel::new(queries, first, values.columns);
        for chunk in &chunks {
            panel.read(chunk, scoring);
        }
        panel.write(target, scoring.normalize);
    });
    Ok(result)
}

fn check<T: Real>(
    queries: &Matrix<T>,
    keys: &Matrix<T>,
    values: &Matrix<T>,
    scoring: &Scoring<'_>,
) -> Result<(), Error> {
    let shape = |what, expected, got| if expected == got { Ok(()) } else { Err(Error::Shape { what, expected, got }) };
    shape("a query", keys.columns, queries.columns)?;
    shape("the values", keys.rows, values.rows)?;
    shape("the weights", keys.rows, scoring.weights.map_or(keys.rows, <[f64]>::len))?;
    let parameter = |name, got: String, allowed| Err(Error::Parameter { name, got, allowed });
    if scoring.score == Score::Polynomial(0) {
        return parameter("the degree of the scores", "0".into(), "at least 1");
    }
    if !scoring.scale.is_finite() {
        return parameter("the scale of the scores", scoring.scale.to_string(), "a finite number");
    }
    match scoring.mask {
        Mask::Window { width: 0 } => parameter("the window", "0".into(), "at least 1 row"),
        Mask::Decay { gamma } if !(gamma > 0.0 && gamma <= 1.0) => {
            parameter("the decay", gamma.to_string(), "above 0, at most 1")
        }
        _ => Ok(()),
    }
}

/// Rows of the context: keys row by row, values by columns.
struct Context<'a, T: Real> {
    first: usize,
    keys: &'a [T],
    values: Packed<T>,
}

/// As many queries as fit in the lanes of a panel, and what they have read so far.
struct QueryPanel<T: Real> {
    first: usize,
    count: usize,
    queries: Packed<T>,
    /// Shape: `[values' columns, padded][queries]`.
    sums: Vec<T::Row>,
    columns: usize,
    /// Sums of the scores, and the largest exponent so far.
    totals: T::Row,
    largest: T::Row,
}

impl<T: Real> QueryPanel<T> {
    fn new(queries: &Matrix<T>, first: usize, columns: usize) -> Self {
        let rows = first..queries.rows.min(first + T::PANEL);
        let count = rows.len();
        let packed = Packed::by_rows(queries, rows);
        let mut largest = T::ZERO_ROW;
        largest.as_mut().fill(T::from_f64(f64::NEG_INFINITY));
        let sums = vec![T::ZERO_ROW; columns.next_multiple_of(TILE)];
        Self { first, count, queries: packed, sums, columns, totals: T::ZERO_ROW, largest }
    }

    fn read(&mut self, chunk: &Context<'_, T>, scoring: &Scoring<'_>) {
        let rows = chunk.values.inner;
        let mut scores = vec![T::ZERO_ROW; rows];
        product_rows(&self.queries, 0, chunk.keys, &mut scores);
        self.score(chunk.first, &mut scores, scoring);
        let per_panel = T::PANEL / TILE;
        for (group, sums) in self.sums.chunks_exact_mut(TILE).enumerate() {
            let values = chunk.values.panel(group / per_panel);
            for (scores, values) in scores.chunks(CHAIN).zip(values.chunks(CHAIN)) {
                let mut tile = [T::ZERO_ROW; TILE];
                T::multiply(scores, values, group % per_panel, &mut tile);
                for (sum, more) in sums.iter_mut().zip(&tile) {
                    sum.as_mut().iter_mut().zip(more.as_ref()).for_each(|(s, x)| *s = *s + *x);
                }
            }
        }
    }

    /// Makes scores of inner products, in place.
    fn score(&mut self, first_key: usize, scores: &mut [T::Row], scoring: &Scoring<'_>) {
        let scale = T::from_f64(scoring.scale);
        let relative = scoring.normalize && scoring.score == Score::Exponential;
        scores.iter_mut().for_each(|row| row.as_mut().iter_mut().for_each(|s| *s = *s * scale));
        if relative {
            self.raise_maximum(first_key, scores, scoring);
        }
        let unit = T::from_f64(1.0);
        for (at, row) in scores.iter_mut().enumerate() {
            let key = first_key + at;
            let weight = scoring.weights.map_or(unit, |w| T::from_f64(w[key]));
            for (lane, s) in row.as_mut()[..self.count].iter_mut().enumerate() {
                let seen = sees(scoring.mask, self.first + lane, key);
                let value = match scoring.score {
                    Score::Linear => *s,
                    Score::Polynomial(degree) => power(*s, degree),
                    Score::Exponential if relative => (*s - self.largest.as_ref()[lane]).exp(),
                    Score::Exponential => s.exp(),
                };
                // What is not seen is nothing, also where its score is beyond all numbers.
                *s = if seen == 0.0 { T::default() } else { value * T::from_f64(seen) * weight };
            }
        }
        if scoring.normalize {
            let totals = self.totals.as_mut();
            for row in &*scores {
                totals.iter_mut().zip(row.as_ref()).for_each(|(total, s)| *total = *total + *s);
            }
        }
    }

    /// Takes the largest exponent of the chunk into account: what was summed before it shrinks.
    fn raise_maximum(&mut self, first_key: usize, scores: &[T::Row], scoring: &Scoring<'_>) {
        let mut factors = T::ZERO_ROW;
        for lane in 0..self.count {
            let before = self.largest.as_ref()[lane];
            let mut largest = before;
            for (at, row) in scores.iter().enumerate() {
                let s = row.as_ref()[lane];
                if s > largest && sees(scoring.mask, self.first + lane, first_key + at) > 0.0 {
                    largest = s;
                }
            }
            self.largest.as_mut()[lane] = largest;
            // (Before the first key there is nothing to shrink, and −∞ − −∞ is no number.)
            factors.as_mut()[lane] = if largest > before { (before - largest).exp() } else { T::from_f64(1.0) };
        }
        for row in self.sums.iter_mut().chain([&mut self.totals]) {
            row.as_mut().iter_mut().zip(factors.as_ref()).for_each(|(x, factor)| *x = *x * *factor);
        }
    }

    fn write(&self, target: &mut [T], normalize: bool) {
        for (lane, row) in target.chunks_exact_mut(self.columns.max(1)).enumerate() {
            for (x, sums) in row.iter_mut().zip(&self.sums) {
                let sum = sums.as_ref()[lane];
                *x = if normalize { sum / self.totals.as_ref()[lane] } else { sum };
            }
        }
    }
}

fn power<T: Real>(s: T, degree: u32) -> T {
    (1..degree).fold(s, |product, _| product * s)
}

/// The factor of a score by the mask.
fn sees(mask: Mask, query: usize, key: usize) -> f64 {
    match mask {
        Mask::All => 1.0,
        Mask::Others => (key != query) as u8 as f64,
        Mask::Causal => (key <= query) as u8 as f64,
        Mask::Window { width } => (key <= query && query - key < width) as u8 as f64,
        Mask::Decay { gamma } if key <= query => gamma.powi((query - key).min(i32::MAX as usize) as i32),
        Mask::Decay { .. } => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: usize, columns: usize, seed: u64) -> Matrix<f64> {
        let mut state = seed;
        Matrix::from_fn(rows, columns, |_, _| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        })
    }

    /// The textbook: the whole table of scores.
    fn plain(q: &Matrix<f64>, k: &Matrix<f64>, v: &Matrix<f64>, scoring: &Scoring<'_>) -> Matrix<f64> {
        let mut result = Matrix::zeros(q.rows, v.columns);
        for i in 0..q.rows {
            let mut total = 0.0;
            for j in 0..k.rows {
                let s: f64 = scoring.scale * q.row(i).iter().zip(k.row(j)).map(|(a, b)| a * b).sum::<f64>();
                let f = match scoring.score {
                    Score::Linear => s,
                    Score::Polynomial(degree) => s.powi(degree as i32),
                    Score::Exponential => s.exp(),
                };
                let f = f * sees(scoring.mask, i, j) * scoring.weights.map_or(1.0, |w| w[j]);
                total += f;
                result.row_mut(i).iter_mut().zip(v.row(j)).for_each(|(r, v)| *r += f * v);
            }
            if scoring.normalize {
                result.row_mut(i).iter_mut().for_each(|r| *r /= total);
            }
        }
        result
    }

    #[test]
    fn tiles_equal_the_whole_table() {
        let (q, k, v) = (table(61, 5, 1), table(523, 5, 2), table(523, 11, 3));
        let weights: Vec<f64> = (0..523).map(|i| 1.0 + (i % 3) as f64).collect();
        let masks = [Mask::All, Mask::Others, Mask::Causal, Mask::Window { width: 7 }, Mask::Decay { gamma: 0.9 }];
        for score in [Score::Linear, Score::Polynomial(2), Score::Polynomial(3), Score::Exponential] {
            for mask in masks {
                for normalize in [false, true] {
                    let scoring = Scoring { score, scale: 0.7, normalize, mask, weights: Some(&weights) };
                    if normalize && matches!(score, Score::Linear | Score::Polynomial(3)) {
                        // Sums of scores of both signs may come near zero: nothing to compare.
                        continue;
                    }
                    let (got, expected) = (attend(&q, &k, &v, &scoring).unwrap(), plain(&q, &k, &v, &scoring));
                    let size = expected.data.iter().fold(1.0f64, |m, x| m.max(x.abs()));
                    let gap = got.data.iter().zip(&expected.data).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
                    assert!(gap <= 523.0 * f64::EPSILON * size, "{scoring:?}: {gap:e}");
                }
            }
        }
    }

    #[test]
    fn softmax_survives_scores_beyond_the_exponential() {
        let (q, k, v) = (table(3, 4, 5), table(400, 4, 6), table(400, 2, 7));
        let softmax = Scoring { score: Score::Exponential, scale: 1e6, normalize: true, ..Scoring::default() };
        let got = attend(&q, &k, &v, &softmax).unwrap();
        // So cold, softmax reads the value of the largest score.
        for i in 0..3 {
            let score = |j: usize| q.row(i).iter().zip(k.row(j)).map(|(a, b)| a * b).sum::<f64>();
            let best = (0..400).max_by(|a, b| score(*a).total_cmp(&score(*b))).unwrap();
            assert_eq!(got.row(i), v.row(best));
        }
    }

    #[test]
    fn singles_are_right_to_their_precision() {
        let (q, k, v) = (table(50, 6, 8), table(300, 6, 9), table(300, 3, 10));
        let scoring = Scoring { scale: 1.0 / 300.0, ..Scoring::default() };
        let exact = attend(&q, &k, &v, &scoring).unwrap();
        let single = attend(&q.cast::<f32>(), &k.cast(), &v.cast(), &scoring).unwrap();
        for (a, b) in single.data.iter().zip(&exact.data) {
            assert!((a.to_f64() - b).abs() < 300.0 * f32::EPSILON as f64, "{a} {b}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (q, k, v) = (table(2, 3, 1), table(4, 3, 2), table(4, 1, 3));
        let with = |scoring: Scoring<'_>| attend(&q, &k, &v, &scoring).unwrap_err().to_string();
        assert_eq!(
            attend(&q, &v, &v, &Scoring::default()).unwrap_err().to_string(),
            "a query has 3 entries, expected 1"
        );
        assert_eq!(
            with(Scoring { score: Score::Polynomial(0), ..Scoring::default() }),
            "the degree of the scores is 0, expected at least 1"
        );
        assert_eq!(
            with(Scoring { weights: Some(&[1.0]), ..Scoring::default() }),
            "the weights has 1 entries, expected 4"
        );
        assert_eq!(
            with(Scoring { mask: Mask::Decay { gamma: 1.5 }, ..Scoring::default() }),
            "the decay is 1.5, expected above 0, at most 1"
        );
    }
}

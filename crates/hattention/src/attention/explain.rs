//! Which training rows made a prediction: weights streamed past the queries, never stored as a matrix.

use rayon::prelude::*;

use super::{Diagnostics, Keys};
use crate::dense::Panels;
use crate::dense::kernel::{PANEL, TILE, ZERO_TILE, multiply};

/// The weight of one training row in one prediction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attended {
    /// The training row, as numbered by the caller.
    pub row: u64,
    /// `ω = ⟨q, k⟩ w`.
    pub weight: f64,
    /// Its target.
    pub target: f64,
}

/// What is known of one query's weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The rows with the largest `|ω|`, largest first.
    pub top: Vec<Attended>,
    /// What the weights say.
    pub diagnostics: Diagnostics,
    /// `Σ ω y`: the prediction.
    pub prediction: f64,
    /// `‖q‖²`, constant included: the variance of the prediction over σ².
    pub query_norm: f64,
    /// `‖q‖²` is above that of every training row: the query lies outside the data.
    pub extrapolates: bool,
}

/// Bins an octave of `|ω|`: sums within one differ by 3 %, which leaves entropies right to 1e-4.
const BINS_AN_OCTAVE: u32 = 32;
/// Octaves below the largest possible weight that are told apart.
const OCTAVES: usize = 48;

/// Streams training rows past a set of queries.
///
/// # Numerics
/// Cost `queries × rows × keys` multiply-adds; memory 25 kB a query, whatever the number of rows. Sums run in the order
/// of the rows, whatever the number of threads and the size of the blocks. Concentration and entropy are read off a
/// histogram of `|ω|` with 32 bins an octave: right to about 1e-3 and 1e-4 of their values.
#[derive(Clone, Debug)]
pub struct Explainer {
    queries: Vec<Running>,
    top: usize,
    /// The queries' components, side by side.
    packed: Panels,
    largest_norm: f64,
    rows: u64,
}

#[derive(Clone, Debug)]
struct Running {
    norm: f64,
    top: Vec<Attended>,
    sum: f64,
    gross: f64,
    squares: f64,
    prediction: f64,
    /// `(rows, Σ|ω|)` by size of `|ω|`, small first.
    bins: Vec<(u64, f64)>,
    /// Bits of the double at the lower end of the first bin, in units of a bin.
    first_bin: i64,
}

impl Explainer {
    /// An explainer of the given queries that keeps `top` rows each.
    ///
    /// `largest_weight` bounds the observation weights (1 without).
    pub fn new(queries: &Keys, top: usize, largest_weight: f64) -> Self {
        let running = (0..queries.rows)
            .map(|row| {
                let query = queries.row(row);
                let norm = query.iter().map(|q| q * q).sum::<f64>();
                // |ω| ≤ ‖q‖ ‖k‖ w, and ‖k‖² w ≤ 1.
                let bound = norm.sqrt() * largest_weight.max(1.0);
                let last = (bound.to_bits() >> (52 - BINS_AN_OCTAVE.ilog2())) as i64 + 1;
                let count = OCTAVES * BINS_AN_OCTAVE as usize;
                Running {
                    norm,
                    top: Vec::new(),
                    sum: 0.0,
                    gross: 0.0,
                    squares: 0.0,
                    prediction: 0.0,
                    bins: vec![(0, 0.0); count],
                    first_bin: last - count as i64 + 1,
                }
            })
            .collect();
        Self { queries: running, packed: packed(queries), top, largest_norm: 0.0, rows: 0 }
    }

    /// Lets training rows pass: their keys, targets, observation weights and numbers.
    pub fn push(&mut self, keys: &Keys, targets: &[f64], weights: Option<&[f64]>, numbers: &[u64]) {
        let norms = keys.squared_norms();
        self.largest_norm = norms.iter().copied().fold(self.largest_norm, f64::max);
        self.rows += keys.rows as u64;
        let (top, queries) = (self.top, &self.packed);
        let rows = packed(keys);
        self.queries.par_chunks_mut(TILE).enumerate().for_each(|(group, running)| {
            let (panel, part) = (queries.panel(group * TILE / PANEL), group % (PANEL / TILE));
            for first in (0..keys.rows).step_by(PANEL) {
                let range = first..keys.rows.min(first + PANEL);
                let mut tile = ZERO_TILE;
                multiply(rows.panel(first / PANEL), panel, part, &mut tile);
                for (running, scores) in running.iter_mut().zip(&mut tile) {
                    let scores = &mut scores[..range.len()];
                    if let Some(weights) = weights {
                        scores.iter_mut().zip(&weights[range.clone()]).for_each(|(s, w)| *s *= w);
                    }
                    running.gather(scores, &targets[range.clone()], &numbers[range.clone()], top);
                }
            }
        });
    }

    /// The explanations, one a query.
    pub fn finish(self) -> Vec<Explanation> {
        let (rows, largest) = (self.rows, self.largest_norm);
        self.queries.into_iter().map(|running| running.finish(rows, largest)).collect()
    }
}

impl Running {
    fn gather(&mut self, scores: &[f64], targets: &[f64], numbers: &[u64], top: usize) {
        let threshold = |kept: &[Attended]| if kept.len() < top { -1.0 } else { kept[top - 1].weight.abs() };
        let mut least = if top == 0 { f64::INFINITY } else { threshold(&self.top) };
        // Sums in registers, and not behind the reference.
        let (mut sum, mut gross, mut squares, mut prediction) = (self.sum, self.gross, self.squares, self.prediction);
        let last = self.bins.len() as i64 - 1;
        for ((&weight, &target), &row) in scores.iter().zip(targets).zip(numbers) {
            let magnitude = weight.abs();
            sum += weight;
            gross += magnitude;
            squares += weight * weight;
            prediction += weight * target;
            let bin = (magnitude.to_bits() >> (52 - BINS_AN_OCTAVE.ilog2())) as i64 - self.first_bin;
            let bin = &mut self.bins[bin.clamp(0, last) as usize];
            bin.0 += 1;
            bin.1 += magnitude;
            if magnitude > least {
                let place = self.top.partition_point(|kept| kept.weight.abs() >= magnitude);
                self.top.insert(place, Attended { row, weight, target });
                self.top.truncate(top);
                least = threshold(&self.top);
            }
        }
        (self.sum, self.gross, self.squares, self.prediction) = (sum, gross, squares, prediction);
    }

    fn finish(self, rows: u64, largest_norm: f64) -> Explanation {
        let mut entropy = 0.0;
        for &(count, sum) in self.bins.iter().filter(|(_, sum)| *sum > 0.0) {
            let share = sum / self.gross;
            entropy -= share * (share / count as f64).ln();
        }
        // The top 5 % of rows, the last bin in part.
        let mut left = (0.05 * rows as f64).max(1.0);
        let mut heavy = 0.0;
        for &(count, sum) in self.bins.iter().rev().filter(|(count, _)| *count > 0) {
            let taken = left.min(count as f64);
            heavy += sum * taken / count as f64;
            left -= taken;
            if left <= 0.0 {
                break;
            }
        }
        let diagnostics = Diagnostics {
            leverage_sum: self.sum,
            gross: self.gross,
            short: 0.5 * (self.sum - self.gross),
            squares: self.squares,
            effective_rows: self.sum * self.sum / self.squares,
            effective_rows_entropy: entropy.exp(),
            concentration: heavy / self.gross,
        };
        Explanation {
            diagnostics,
            prediction: self.prediction,
            query_norm: self.norm,
            extrapolates: self.norm > largest_norm * (1.0 + 1e-12),
            top: self.top,
        }
    }
}

/// Rows of keys in panels: 24 rows side by side, component by component.
fn packed(keys: &Keys) -> Panels {
    let mut panels = Panels::zero(keys.rows, keys.components.len());
    for (k, component) in keys.components.iter().enumerate() {
        component.iter().enumerate().for_each(|(row, value)| panels.set(row, k, *value));
    }
    panels
}

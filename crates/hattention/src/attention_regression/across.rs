//! New rows read the training rows: softmax attention in tiles, four queries at once.

use std::ops::Range;

use super::number::Number;
use super::pairs::HELD;
use crate::exponential::{Machine, Work, exp};

/// Lanes of the sums of a query, whatever the width of the vectors.
const LANES: usize = f64::LANES;
/// Keys whose scores are held at once.
pub(super) const TILE: usize = 512;

/// What keys give to queries, each padded to whole lanes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    /// Columns of keys, each `padded`.
    pub(super) keys: &'a [f64],
    pub(super) padded: usize,
    /// What is added to the exponent of a key, `−∞` beyond the last row.
    pub(super) added: &'a [f64],
    pub(super) values: &'a [f64],
    /// The power of polynomial scores, or zero.
    pub(super) power: u32,
}

/// Ranges of keys that a query does not read.
pub(super) type Hidden = [Range<usize>; 2];

/// Scores of four queries and a tile of keys.
type Scores = [[f64; TILE]; HELD];

/// `Σ p_j v_j` of four queries, with p the softmax of `q · k_j + added_j` (or the powers `(1 + q · k_j)^D` over their sum).
///
/// The largest score so far is taken off before exponentials are added, and what was added rescaled when it grows: nothing
/// overflows, and a query far from all keys reads the nearest.
pub(super) struct Across<'a> {
    pub(super) table: Table<'a>,
    /// `[query][column]`.
    pub(super) queries: [&'a [f64]; HELD],
    /// Keys that each query does not read.
    pub(super) hidden: &'a [Hidden; HELD],
    pub(super) reads: &'a mut [f64; HELD],
}

impl Work for Across<'_> {
    #[inline(always)]
    fn on<S: Machine>(self, simd: S) {
        let mut scores: Scores = [[0.0; TILE]; HELD];
        let mut largest = [f64::NEG_INFINITY; HELD];
        let mut sums = [(0.0f64, 0.0f64); HELD];
        let padded = self.table.padded;
        for start in (0..padded).step_by(TILE) {
            let end = padded.min(start + TILE);
            self.score::<S>(simd, start, end, &mut scores);
            self.hide(start, end, &mut scores);
            for row in 0..HELD {
                let scores = &mut scores[row][..end - start];
                let values = &self.table.values[start..end];
                if self.table.power > 0 {
                    let added = powers(simd, self.table.power, scores, &self.table.added[start..end], values);
                    sums[row] = (sums[row].0 + added.0, sums[row].1 + added.1);
                    continue;
                }
                let most = most(simd, scores);
                if most == f64::NEG_INFINITY {
                    continue;
                }
                if most > largest[row] {
                    // (The first tile has nothing to rescale.)
                    let shrink = if largest[row].is_finite() { libm::exp(largest[row] - most) } else { 0.0 };
                    sums[row] = (sums[row].0 * shrink, sums[row].1 * shrink);
                    largest[row] = most;
                }
                let added = exponentials(simd, scores, largest[row], values);
                sums[row] = (sums[row].0 + added.0, sums[row].1 + added.1);
            }
        }
        for (read, (weights, weighted)) in self.reads.iter_mut().zip(sums) {
            // (Powers that are all zero read the mean, which is zero.)
            *read = if weights > 0.0 { weighted / weights } else { 0.0 };
        }
    }
}

impl Across<'_> {
    /// Takes away the scores of keys that are not read.
    fn hide(&self, start: usize, end: usize, scores: &mut Scores) {
        let nothing = if self.table.power > 0 { 0.0 } else { f64::NEG_INFINITY };
        for (hidden, scores) in self.hidden.iter().zip(scores) {
            for range in hidden {
                let (from, to) = (range.start.clamp(start, end), range.end.clamp(start, end));
                if from < to {
                    scores[from - start..to - start].fill(nothing);
                }
            }
        }
    }

    #[inline(always)]
    fn score<S: Machine>(&self, simd: S, start: usize, end: usize, scores: &mut Scores) {
        let table = self.table;
        let added = S::as_simd_f64s(&table.added[start..end]).0;
        let [sa, sb, sc, sd] = scores;
        let (sa, sb) = (S::as_mut_simd_f64s(sa).0, S::as_mut_simd_f64s(sb).0);
        let (sc, sd) = (S::as_mut_simd_f64s(sc).0, S::as_mut_simd_f64s(sd).0);
        let one = simd.splat_f64s(1.0);
        for (at, added) in added.iter().enumerate() {
            let start_value = if table.power > 0 { one } else { *added };
            let (mut a, mut b, mut c, mut d) = (start_value, start_value, start_value, start_value);
            for (p, column) in table.keys.chunks_exact(table.padded).enumerate() {
                let k = S::as_simd_f64s(&column[start..end]).0[at];
                a = simd.mul_add_f64s(k, simd.splat_f64s(self.queries[0][p]), a);
                b = simd.mul_add_f64s(k, simd.splat_f64s(self.queries[1][p]), b);
                c = simd.mul_add_f64s(k, simd.splat_f64s(self.queries[2][p]), c);
                d = simd.mul_add_f64s(k, simd.splat_f64s(self.queries[3][p]), d);
            }
            (sa[at], sb[at], sc[at], sd[at]) = (a, b, c, d);
        }
    }
}

/// The largest of some scores.
#[inline(always)]
fn most<S: Machine>(simd: S, scores: &[f64]) -> f64 {
    let vectors = S::as_simd_f64s(scores).0;
    let mut most = simd.splat_f64s(f64::NEG_INFINITY);
    for score in vectors {
        most = simd.max_f64s(most, *score);
    }
    simd.reduce_max_f64s(most)
}

/// `Σ e^(s − largest)` and the same times values, in eight chains.
#[inline(always)]
fn exponentials<S: Machine>(simd: S, scores: &[f64], largest: f64, values: &[f64]) -> (f64, f64) {
    let parts = LANES / S::F64_LANES;
    let (scores, values) = (S::as_simd_f64s(scores).0, S::as_simd_f64s(values).0);
    let largest = simd.splat_f64s(-largest);
    let mut lanes = [[0.0; LANES]; 2];
    for part in 0..parts {
        let (mut weights, mut weighted) = (simd.splat_f64s(0.0), simd.splat_f64s(0.0));
        let mut at = part;
        while at < scores.len() {
            // (What `exp` takes −∞ for is nothing beside the largest, which is one.)
            let e = exp(simd, simd.add_f64s(scores[at], largest));
            weights = simd.add_f64s(weights, e);
            weighted = simd.mul_add_f64s(e, values[at], weighted);
            at += parts;
        }
        let [w, wy] = &mut lanes;
        S::as_mut_simd_f64s(w).0[part] = weights;
        S::as_mut_simd_f64s(wy).0[part] = weighted;
    }
    (lanes[0].iter().sum(), lanes[1].iter().sum())
}

/// `Σ s^D` and the same times values, of rows that are there.
#[inline(always)]
fn powers<S: Machine>(simd: S, power: u32, scores: &[f64], added: &[f64], values: &[f64]) -> (f64, f64) {
    let parts = LANES / S::F64_LANES;
    let (scores, values) = (S::as_simd_f64s(scores).0, S::as_simd_f64s(values).0);
    let added = S::as_simd_f64s(added).0;
    let zero = simd.splat_f64s(0.0);
    let mut lanes = [[0.0; LANES]; 2];
    for part in 0..parts {
        let (mut weights, mut weighted) = (zero, zero);
        let mut at = part;
        while at < scores.len() {
            let square = simd.mul_f64s(scores[at], scores[at]);
            let value = if power == 2 { square } else { simd.mul_f64s(square, square) };
            let there = simd.less_than_f64s(simd.splat_f64s(f64::MIN), added[at]);
            let value = simd.select_f64s(there, value, zero);
            weights = simd.add_f64s(weights, value);
            weighted = simd.mul_add_f64s(value, values[at], weighted);
            at += parts;
        }
        let [w, wy] = &mut lanes;
        S::as_mut_simd_f64s(w).0[part] = weights;
        S::as_mut_simd_f64s(wy).0[part] = weighted;
    }
    (lanes[0].iter().sum(), lanes[1].iter().sum())
}

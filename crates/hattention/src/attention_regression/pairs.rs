//! Sums over pairs of rows, each pair looked at once: the kernel of a pair is the same both ways.
//!
//! A head's weight of row `j` in the prediction of row `i` is `G_ij w_j / Σ_j G_ij w_j` with `G_ij = exp(−½ ‖k_i − k_j‖²)`.
//! Distance scores have `w = 1`; dot products, `exp(k_i · k_j)`, have the prior `w_j = exp(½ ‖k_j‖²)`, for what depends on
//! the query alone leaves the softmax as it is. Polynomial scores are `G_ij = (1 + k_i · k_j)^D` with an even power D; they
//! stand in the same loops, with `D = 0` for the exponential.

use std::ops::Range;

use super::exponential::{Machine, Work, exp};
use super::scope::Scope;

/// Lanes of the sums of a row, whatever the width of the vectors.
pub(super) const LANES: usize = 8;
/// Rows that are held together.
pub(super) const HELD: usize = 4;

/// Keys of a head, columns side by side, each padded to whole lanes.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// From each column to the next.
    pub(super) padded: usize,
    pub(super) data: Vec<f64>,
    /// `−½ ‖k‖²`, what a key adds to the exponent of a pair.
    pub(super) half_norms: Vec<f64>,
    /// The same of a row that reads; other than that of a key if weights decay.
    pub(super) own: Vec<f64>,
}

impl Keys {
    /// Of keys by columns; a weight falls by `e^−decay` with every row between its two.
    pub(super) fn decaying(rows: usize, columns: &[Vec<f64>], decay: f64) -> Self {
        let mut keys = Self::of(rows, columns);
        if decay > 0.0 {
            keys.own.iter_mut().take(rows).enumerate().for_each(|(i, half)| *half -= decay * i as f64);
            keys.half_norms.iter_mut().take(rows).enumerate().for_each(|(i, half)| *half += decay * i as f64);
        }
        keys
    }

    /// Of keys by columns.
    pub(super) fn of(rows: usize, columns: &[Vec<f64>]) -> Self {
        let padded = rows.next_multiple_of(LANES);
        let mut data = vec![0.0; padded * columns.len()];
        let mut half_norms = vec![0.0; padded];
        for (own, column) in data.chunks_exact_mut(padded.max(1)).zip(columns) {
            own[..rows].copy_from_slice(column);
            half_norms.iter_mut().zip(column).for_each(|(half, x)| *half -= 0.5 * x * x);
        }
        let own = half_norms.clone();
        Self { rows, columns: columns.len(), padded, data, half_norms, own }
    }

    /// `−½ ‖k‖²`, without decay.
    pub(super) fn half_norm(&self, row: usize) -> f64 {
        0.5 * (self.half_norms[row] + self.own[row])
    }

    pub(super) fn column(&self, column: usize) -> &[f64] {
        &self.data[column * self.padded..(column + 1) * self.padded]
    }
}

/// Numbers that rows give to others: `w_j` and `w_j y_j`, padded with zeros.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given<'a> {
    pub(super) weights: &'a [f64],
    pub(super) weighted: &'a [f64],
}

/// What rows get: `Σ G w` and `Σ G w y`.
#[derive(Clone, Debug, Default)]
pub(super) struct Got {
    pub(super) weights: Vec<f64>,
    pub(super) weighted: Vec<f64>,
}

impl Got {
    pub(super) fn zeros(padded: usize) -> Self {
        Self { weights: vec![0.0; padded], weighted: vec![0.0; padded] }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.weights.iter_mut().zip(&other.weights).for_each(|(sum, more)| *sum += more);
        self.weighted.iter_mut().zip(&other.weighted).for_each(|(sum, more)| *sum += more);
    }
}

/// Adds the pairs `(i, j)`, `j < i`, of four rows `first ..` of which the first is a multiple of four.
pub(super) struct Forward<'a> {
    pub(super) keys: &'a Keys,
    pub(super) given: Given<'a>,
    pub(super) first: usize,
    pub(super) scope: &'a Scope,
    /// The power of polynomial scores, or zero.
    pub(super) power: u32,
    pub(super) got: &'a mut Got,
}

/// Four vectors, one a row that is held.
pub(super) type Four<V> = (V, V, V, V);

/// The exponents of four rows `first ..` with vector `at` of the columns; if `D > 0`, the bases of powers.
#[inline(always)]
fn exponents<S: Machine, const D: u32>(simd: S, keys: &Keys, first: usize, at: usize) -> Four<S::f64s> {
    let (mut a, mut b, mut c, mut d);
    if D == 0 {
        let norm = S::as_simd_f64s(&keys.half_norms).0[at];
        let half = &keys.own[first..first + HELD];
        a = simd.add_f64s(norm, simd.splat_f64s(half[0]));
        b = simd.add_f64s(norm, simd.splat_f64s(half[1]));
        c = simd.add_f64s(norm, simd.splat_f64s(half[2]));
        d = simd.add_f64s(norm, simd.splat_f64s(half[3]));
    } else {
        let one = simd.splat_f64s(1.0);
        (a, b, c, d) = (one, one, one, one);
    }
    for column in keys.data.chunks_exact(keys.padded) {
        let k = S::as_simd_f64s(column).0[at];
        let q = &column[first..first + HELD];
        a = simd.mul_add_f64s(k, simd.splat_f64s(q[0]), a);
        b = simd.mul_add_f64s(k, simd.splat_f64s(q[1]), b);
        c = simd.mul_add_f64s(k, simd.splat_f64s(q[2]), c);
        d = simd.mul_add_f64s(k, simd.splat_f64s(q[3]), d);
    }
    (a, b, c, d)
}

/// The kernels of four rows `first ..` with vector `at` of the columns, and their derivatives by the exponents (or by the
/// inner products); if `MASKED`, zero outside of what each row reads.
#[inline(always)]
#[allow(clippy::type_complexity)]
pub(super) fn kernels<S: Machine, const D: u32, const MASKED: bool>(
    simd: S,
    keys: &Keys,
    scope: &Scope,
    first: usize,
    at: usize,
) -> (Four<S::f64s>, Four<S::f64s>) {
    let (mut a, mut b, mut c, mut d) = exponents::<S, D>(simd, keys, first, at);
    let (mut da, mut db, mut dc, mut dd) = (a, b, c, d);
    if D == 0 {
        let zero = simd.splat_f64s(0.0);
        (a, b) = (exp(simd, simd.min_f64s(a, zero)), exp(simd, simd.min_f64s(b, zero)));
        (c, d) = (exp(simd, simd.min_f64s(c, zero)), exp(simd, simd.min_f64s(d, zero)));
    } else {
        if D == 4 {
            (da, db) = (simd.mul_f64s(a, simd.mul_f64s(a, a)), simd.mul_f64s(b, simd.mul_f64s(b, b)));
            (dc, dd) = (simd.mul_f64s(c, simd.mul_f64s(c, c)), simd.mul_f64s(d, simd.mul_f64s(d, d)));
        }
        (a, b) = (simd.mul_f64s(a, da), simd.mul_f64s(b, db));
        (c, d) = (simd.mul_f64s(c, dc), simd.mul_f64s(d, dd));
    }
    if MASKED {
        let parts = LANES / S::F64_LANES;
        let (start, part) = (LANES * (at / parts), at % parts);
        macro_rules! mask {
            ($kernel:ident, $derivative:ident, $row:literal) => {{
                let (from, to) = (scope.from[first + $row], scope.to[first + $row]);
                let before = S::as_simd_f64s(&BEFORE[to.saturating_sub(start).min(LANES)]).0[part];
                let less = S::as_simd_f64s(&BEFORE[from.saturating_sub(start).min(LANES)]).0[part];
                let mask = simd.sub_f64s(before, less);
                $kernel = simd.mul_f64s($kernel, mask);
                $derivative = simd.mul_f64s($derivative, mask);
            }};
        }
        mask!(a, da, 0);
        mask!(b, db, 1);
        mask!(c, dc, 2);
        mask!(d, dd, 3);
    }
    if D == 0 {
        return ((a, b, c, d), (a, b, c, d));
    }
    let power = simd.splat_f64s(f64::from(D));
    (da, db) = (simd.mul_f64s(da, power), simd.mul_f64s(db, power));
    (dc, dd) = (simd.mul_f64s(dc, power), simd.mul_f64s(dd, power));
    ((a, b, c, d), (da, db, dc, dd))
}

/// Four numbers, each on all lanes of a vector.
#[inline(always)]
pub(super) fn splats<S: Machine>(simd: S, values: &[f64], first: usize) -> (S::f64s, S::f64s, S::f64s, S::f64s) {
    let four = &values[first..first + HELD];
    (simd.splat_f64s(four[0]), simd.splat_f64s(four[1]), simd.splat_f64s(four[2]), simd.splat_f64s(four[3]))
}

/// Lanes of which the first few are one.
static BEFORE: [[f64; LANES]; LANES + 1] = before();

const fn before() -> [[f64; LANES]; LANES + 1] {
    let mut table = [[0.0; LANES]; LANES + 1];
    let mut count = 0;
    while count <= LANES {
        let mut lane = 0;
        while lane < count {
            table[count][lane] = 1.0;
            lane += 1;
        }
        count += 1;
    }
    table
}

impl Work for Forward<'_> {
    #[inline(always)]
    fn on<S: Machine>(mut self, simd: S) {
        let mut lanes = [[[0.0; LANES]; 2]; HELD];
        match (self.power, self.scope.both) {
            (0, true) => self.all::<S, 0, true>(simd, &mut lanes),
            (0, false) => self.all::<S, 0, false>(simd, &mut lanes),
            (2, true) => self.all::<S, 2, true>(simd, &mut lanes),
            (2, false) => self.all::<S, 2, false>(simd, &mut lanes),
            (_, true) => self.all::<S, 4, true>(simd, &mut lanes),
            (_, false) => self.all::<S, 4, false>(simd, &mut lanes),
        }
        for (row, [weights, weighted]) in lanes.iter().enumerate() {
            self.got.weights[self.first + row] += weights.iter().sum::<f64>();
            self.got.weighted[self.first + row] += weighted.iter().sum::<f64>();
        }
    }
}

impl Forward<'_> {
    #[inline(always)]
    fn all<S: Machine, const D: u32, const BOTH: bool>(&mut self, simd: S, lanes: &mut [[[f64; LANES]; 2]; HELD]) {
        let parts = LANES / S::F64_LANES;
        let pieces = self.scope.pieces(self.first);
        for part in 0..parts {
            self.blocks::<S, D, BOTH, true>(simd, part, pieces[0].clone(), lanes);
            self.blocks::<S, D, BOTH, false>(simd, part, pieces[1].clone(), lanes);
            self.blocks::<S, D, BOTH, true>(simd, part, pieces[2].clone(), lanes);
        }
    }

    /// Blocks of eight columns, one part of their lanes; by masks where not all four rows read all of them.
    #[inline(always)]
    fn blocks<S: Machine, const D: u32, const BOTH: bool, const MASKED: bool>(
        &mut self,
        simd: S,
        part: usize,
        blocks: Range<usize>,
        lanes: &mut [[[f64; LANES]; 2]; HELD],
    ) {
        let parts = LANES / S::F64_LANES;
        let (keys, first) = (self.keys, self.first);
        let size = keys.padded / S::F64_LANES;
        let (w, wy) = (&S::as_simd_f64s(self.given.weights).0[..size], &S::as_simd_f64s(self.given.weighted).0[..size]);
        let own = splats(simd, self.given.weights, first);
        let own_y = splats(simd, self.given.weighted, first);
        let (got_w, rest) = S::as_mut_simd_f64s(&mut self.got.weights);
        debug_assert!(rest.is_empty());
        let got_wy = S::as_mut_simd_f64s(&mut self.got.weighted).0;
        macro_rules! lanes {
            ($row:literal, $of:literal) => {
                S::as_mut_simd_f64s(&mut lanes[$row][$of]).0[part]
            };
        }
        let (mut aw, mut ay, mut bw, mut by) = (lanes!(0, 0), lanes!(0, 1), lanes!(1, 0), lanes!(1, 1));
        let (mut cw, mut cy, mut dw, mut dy) = (lanes!(2, 0), lanes!(2, 1), lanes!(3, 0), lanes!(3, 1));
        for block in blocks {
            let at = block * parts + part;
            let ((a, b, c, d), _) = kernels::<S, D, MASKED>(simd, keys, self.scope, first, at);
            let (w, wy) = (w[at], wy[at]);
            (aw, ay) = (simd.mul_add_f64s(a, w, aw), simd.mul_add_f64s(a, wy, ay));
            (bw, by) = (simd.mul_add_f64s(b, w, bw), simd.mul_add_f64s(b, wy, by));
            (cw, cy) = (simd.mul_add_f64s(c, w, cw), simd.mul_add_f64s(c, wy, cy));
            (dw, dy) = (simd.mul_add_f64s(d, w, dw), simd.mul_add_f64s(d, wy, dy));
            if BOTH {
                let mut sum = simd.mul_add_f64s(a, own.0, got_w[at]);
                sum = simd.mul_add_f64s(b, own.1, sum);
                sum = simd.mul_add_f64s(c, own.2, sum);
                got_w[at] = simd.mul_add_f64s(d, own.3, sum);
                let mut sum = simd.mul_add_f64s(a, own_y.0, got_wy[at]);
                sum = simd.mul_add_f64s(b, own_y.1, sum);
                sum = simd.mul_add_f64s(c, own_y.2, sum);
                got_wy[at] = simd.mul_add_f64s(d, own_y.3, sum);
            }
        }
        (lanes!(0, 0), lanes!(0, 1), lanes!(1, 0), lanes!(1, 1)) = (aw, ay, bw, by);
        (lanes!(2, 0), lanes!(2, 1), lanes!(3, 0), lanes!(3, 1)) = (cw, cy, dw, dy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention_regression::exponential::dispatch_on;
    use crate::dense::kernel::tests::machines;

    #[test]
    fn every_pair_is_added_once_both_ways() {
        for (rows, width) in [(1, 1), (4, 2), (5, 3), (19, 5), (40, 2)] {
            let columns: Vec<Vec<f64>> =
                (0..width).map(|c| (0..rows).map(|i| ((i * (c + 2)) as f64 * 0.7).sin() * 1.5).collect()).collect();
            let keys = Keys::of(rows, &columns);
            let mut weights: Vec<f64> = (0..rows).map(|i| 1.0 + (i % 3) as f64 / 4.0).collect();
            let mut weighted: Vec<f64> = weights.iter().enumerate().map(|(i, w)| w * (i as f64 - 3.0)).collect();
            weights.resize(keys.padded, 0.0);
            weighted.resize(keys.padded, 0.0);
            for (both, power) in [(false, 0), (true, 0), (true, 2), (false, 4)] {
                let kernel = |i: usize, j: usize| {
                    if power > 0 {
                        let product: f64 = columns.iter().map(|column| column[i] * column[j]).sum();
                        return (1.0 + product).powi(power as i32);
                    }
                    let square: f64 = columns.iter().map(|column| (column[i] - column[j]).powi(2)).sum();
                    (-0.5 * square).exp()
                };
                let scope = Scope::of(rows, both, false, |i| 0..i);
                let mut first: Option<Got> = None;
                for machine in machines() {
                    let mut got = Got::zeros(keys.padded);
                    for first in (0..rows).step_by(HELD) {
                        let given = Given { weights: &weights, weighted: &weighted };
                        let (keys, scope, got) = (&keys, &scope, &mut got);
                        dispatch_on(machine, Forward { keys, given, first, scope, power, got });
                    }
                    for i in 0..rows {
                        let others = (0..rows).filter(|j| *j < i || both && *j != i);
                        let expected: (f64, f64) = others.fold((0.0, 0.0), |(w, y), j| {
                            (w + kernel(i, j) * weights[j], y + kernel(i, j) * weighted[j])
                        });
                        let near = |a: f64, b: f64| {
                            (a - b).abs() < 1e-12 * (1.0 + rows as f64) * rows as f64 * (1.0 + b.abs())
                        };
                        assert!(
                            near(got.weights[i], expected.0) && near(got.weighted[i], expected.1),
                            "{rows} {width} {i}"
                        );
                    }
                    let same = first.get_or_insert_with(|| got.clone());
                    assert_eq!((&same.weights, &same.weighted), (&got.weights, &got.weighted), "{machine:?}");
                }
            }
        }
    }
}

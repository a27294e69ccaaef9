//! Sums over pairs of rows, each pair looked at once: the kernel of a pair is the same both ways.
//!
//! A head's weight of row `j` in the prediction of row `i` is `G_ij w_j / Σ_j G_ij w_j` with `G_ij = exp(−½ ‖k_i − k_j‖²)`.
//! Distance scores have `w = 1`; dot products, `exp(k_i · k_j)`, have the prior `w_j = exp(½ ‖k_j‖²)`, for what depends on
//! the query alone leaves the softmax as it is. Polynomial scores are `G_ij = (1 + k_i · k_j)^D` with an even power D; they
//! stand in the same loops, with `D = 0` for the exponential.

use std::ops::Range;

use super::number::{Number, PADDED};
use super::scope::Scope;
use crate::exponential::{Machine, Work};

/// Rows that are held together.
pub(super) const HELD: usize = 4;

/// Keys of a head, columns side by side, each padded to whole lanes.
#[derive(Clone, Debug)]
pub(super) struct Keys<T = f64> {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// From each column to the next.
    pub(super) padded: usize,
    pub(super) data: Vec<T>,
    /// `−½ ‖k‖²`, what a key adds to the exponent of a pair.
    pub(super) half_norms: Vec<T>,
    /// The same of a row that reads; other than that of a key if weights decay.
    pub(super) own: Vec<T>,
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
        let padded = rows.next_multiple_of(PADDED);
        let mut data = vec![0.0; padded * columns.len()];
        let mut half_norms = vec![0.0; padded];
        for (own, column) in data.chunks_exact_mut(padded.max(1)).zip(columns) {
            own[..rows].copy_from_slice(column);
            half_norms.iter_mut().zip(column).for_each(|(half, x)| *half -= 0.5 * x * x);
        }
        let own = half_norms.clone();
        Self { rows, columns: columns.len(), padded, data, half_norms, own }
    }

    /// The same in other numbers.
    pub(super) fn cast<T: Number>(&self) -> Keys<T> {
        let Self { rows, columns, padded, data, half_norms, own } = self;
        let (data, half_norms, own) = (cast(data), cast(half_norms), cast(own));
        Keys { rows: *rows, columns: *columns, padded: *padded, data, half_norms, own }
    }

    /// `−½ ‖k‖²`, without decay.
    pub(super) fn half_norm(&self, row: usize) -> f64 {
        0.5 * (self.half_norms[row] + self.own[row])
    }

    pub(super) fn column(&self, column: usize) -> &[f64] {
        &self.data[column * self.padded..(column + 1) * self.padded]
    }
}

/// Numbers in others.
pub(super) fn cast<T: Number>(values: &[f64]) -> Vec<T> {
    values.iter().map(|x| T::of(*x)).collect()
}

/// Numbers that rows give to others: `w_j` and `w_j y_j`, padded with zeros.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given<'a, T = f64> {
    pub(super) weights: &'a [T],
    pub(super) weighted: &'a [T],
}

/// What rows get: `Σ G w` and `Σ G w y`.
#[derive(Clone, Debug, Default)]
pub(super) struct Got<T = f64> {
    pub(super) weights: Vec<T>,
    pub(super) weighted: Vec<T>,
}

impl<T: Number> Got<T> {
    pub(super) fn zeros(padded: usize) -> Self {
        Self { weights: vec![T::default(); padded], weighted: vec![T::default(); padded] }
    }
}

impl Got {
    pub(super) fn add<T: Number>(&mut self, other: &Got<T>) {
        self.weights.iter_mut().zip(&other.weights).for_each(|(sum, more)| *sum += more.double());
        self.weighted.iter_mut().zip(&other.weighted).for_each(|(sum, more)| *sum += more.double());
    }
}

/// Adds the pairs `(i, j)`, `j < i`, of four rows `first ..` of which the first is a multiple of four.
pub(super) struct Forward<'a, T> {
    pub(super) keys: &'a Keys<T>,
    pub(super) given: Given<'a, T>,
    pub(super) first: usize,
    pub(super) scope: &'a Scope,
    /// The power of polynomial scores, or zero.
    pub(super) power: u32,
    pub(super) got: &'a mut Got<T>,
}

/// Four vectors, one a row that is held.
pub(super) type Four<V> = (V, V, V, V);

/// The exponents of four rows `first ..` with vector `at` of the columns; if `D > 0`, the bases of powers.
#[inline(always)]
fn exponents<S: Machine, T: Number, const D: u32>(
    simd: S,
    keys: &Keys<T>,
    first: usize,
    at: usize,
) -> Four<T::Vector<S>> {
    let (mut a, mut b, mut c, mut d);
    if D == 0 {
        let norm = T::vectors::<S>(&keys.half_norms)[at];
        let half = &keys.own[first..first + HELD];
        a = T::add(simd, norm, T::splat(simd, half[0]));
        b = T::add(simd, norm, T::splat(simd, half[1]));
        c = T::add(simd, norm, T::splat(simd, half[2]));
        d = T::add(simd, norm, T::splat(simd, half[3]));
    } else {
        let one = T::splat(simd, T::of(1.0));
        (a, b, c, d) = (one, one, one, one);
    }
    for column in keys.data.chunks_exact(keys.padded) {
        let k = T::vectors::<S>(column)[at];
        let q = &column[first..first + HELD];
        a = T::mul_add(simd, k, T::splat(simd, q[0]), a);
        b = T::mul_add(simd, k, T::splat(simd, q[1]), b);
        c = T::mul_add(simd, k, T::splat(simd, q[2]), c);
        d = T::mul_add(simd, k, T::splat(simd, q[3]), d);
    }
    (a, b, c, d)
}

/// The kernels of four rows `first ..` with vector `at` of the columns, and their derivatives by the exponents (or by the
/// inner products); if `MASKED`, zero outside of what each row reads.
#[inline(always)]
#[allow(clippy::type_complexity)]
pub(super) fn kernels<S: Machine, T: Number, const D: u32, const MASKED: bool>(
    simd: S,
    keys: &Keys<T>,
    scope: &Scope,
    first: usize,
    at: usize,
) -> (Four<T::Vector<S>>, Four<T::Vector<S>>) {
    let (mut a, mut b, mut c, mut d) = exponents::<S, T, D>(simd, keys, first, at);
    let (mut da, mut db, mut dc, mut dd) = (a, b, c, d);
    if D == 0 {
        let zero = T::splat(simd, T::default());
        (a, b) = (T::exp(simd, T::min(simd, a, zero)), T::exp(simd, T::min(simd, b, zero)));
        (c, d) = (T::exp(simd, T::min(simd, c, zero)), T::exp(simd, T::min(simd, d, zero)));
    } else {
        if D == 4 {
            (da, db) = (T::mul(simd, a, T::mul(simd, a, a)), T::mul(simd, b, T::mul(simd, b, b)));
            (dc, dd) = (T::mul(simd, c, T::mul(simd, c, c)), T::mul(simd, d, T::mul(simd, d, d)));
        }
        (a, b) = (T::mul(simd, a, da), T::mul(simd, b, db));
        (c, d) = (T::mul(simd, c, dc), T::mul(simd, d, dd));
    }
    if MASKED {
        let parts = T::parts::<S>();
        let (start, part) = (T::LANES * (at / parts), at % parts);
        macro_rules! mask {
            ($kernel:ident, $derivative:ident, $row:literal) => {{
                let (from, to) = (scope.from[first + $row], scope.to[first + $row]);
                let before = T::vectors::<S>(T::before(to.saturating_sub(start)))[part];
                let less = T::vectors::<S>(T::before(from.saturating_sub(start)))[part];
                let mask = T::sub(simd, before, less);
                $kernel = T::mul(simd, $kernel, mask);
                $derivative = T::mul(simd, $derivative, mask);
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
    let power = T::splat(simd, T::of(f64::from(D)));
    (da, db) = (T::mul(simd, da, power), T::mul(simd, db, power));
    (dc, dd) = (T::mul(simd, dc, power), T::mul(simd, dd, power));
    ((a, b, c, d), (da, db, dc, dd))
}

/// Four numbers, each on all lanes of a vector.
#[inline(always)]
pub(super) fn splats<S: Machine, T: Number>(simd: S, values: &[T], first: usize) -> Four<T::Vector<S>> {
    let four = &values[first..first + HELD];
    (T::splat(simd, four[0]), T::splat(simd, four[1]), T::splat(simd, four[2]), T::splat(simd, four[3]))
}

/// Lanes of the sums of four rows: of weights, and of weighted targets.
type Sums<T> = [[[T; PADDED]; 2]; HELD];

impl<T: Number> Work for Forward<'_, T> {
    #[inline(always)]
    fn on<S: Machine>(mut self, simd: S) {
        let mut lanes: Sums<T> = [[[T::default(); PADDED]; 2]; HELD];
        match (self.power, self.scope.both) {
            (0, true) => self.all::<S, 0, true>(simd, &mut lanes),
            (0, false) => self.all::<S, 0, false>(simd, &mut lanes),
            (2, true) => self.all::<S, 2, true>(simd, &mut lanes),
            (2, false) => self.all::<S, 2, false>(simd, &mut lanes),
            (_, true) => self.all::<S, 4, true>(simd, &mut lanes),
            (_, false) => self.all::<S, 4, false>(simd, &mut lanes),
        }
        for (row, [weights, weighted]) in lanes.iter().enumerate() {
            let (sum, sum_y) = (&mut self.got.weights[self.first + row], &mut self.got.weighted[self.first + row]);
            *sum = T::of(sum.double() + T::sum(weights));
            *sum_y = T::of(sum_y.double() + T::sum(weighted));
        }
    }
}

impl<T: Number> Forward<'_, T> {
    #[inline(always)]
    fn all<S: Machine, const D: u32, const BOTH: bool>(&mut self, simd: S, lanes: &mut Sums<T>) {
        let parts = T::parts::<S>();
        let pieces = self.scope.pieces(self.first, T::LANES);
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
        lanes: &mut Sums<T>,
    ) {
        let parts = T::parts::<S>();
        let (keys, first) = (self.keys, self.first);
        let size = keys.padded / T::LANES * parts;
        let (w, wy) = (&T::vectors::<S>(self.given.weights)[..size], &T::vectors::<S>(self.given.weighted)[..size]);
        let own = splats(simd, self.given.weights, first);
        let own_y = splats(simd, self.given.weighted, first);
        let got_w = T::vectors_mut::<S>(&mut self.got.weights);
        let got_wy = T::vectors_mut::<S>(&mut self.got.weighted);
        macro_rules! lanes {
            ($row:literal, $of:literal) => {
                T::vectors_mut::<S>(&mut lanes[$row][$of])[part]
            };
        }
        let (mut aw, mut ay, mut bw, mut by) = (lanes!(0, 0), lanes!(0, 1), lanes!(1, 0), lanes!(1, 1));
        let (mut cw, mut cy, mut dw, mut dy) = (lanes!(2, 0), lanes!(2, 1), lanes!(3, 0), lanes!(3, 1));
        for block in blocks {
            let at = block * parts + part;
            let ((a, b, c, d), _) = kernels::<S, T, D, MASKED>(simd, keys, self.scope, first, at);
            let (w, wy) = (w[at], wy[at]);
            (aw, ay) = (T::mul_add(simd, a, w, aw), T::mul_add(simd, a, wy, ay));
            (bw, by) = (T::mul_add(simd, b, w, bw), T::mul_add(simd, b, wy, by));
            (cw, cy) = (T::mul_add(simd, c, w, cw), T::mul_add(simd, c, wy, cy));
            (dw, dy) = (T::mul_add(simd, d, w, dw), T::mul_add(simd, d, wy, dy));
            if BOTH {
                let mut sum = T::mul_add(simd, a, own.0, got_w[at]);
                sum = T::mul_add(simd, b, own.1, sum);
                sum = T::mul_add(simd, c, own.2, sum);
                got_w[at] = T::mul_add(simd, d, own.3, sum);
                let mut sum = T::mul_add(simd, a, own_y.0, got_wy[at]);
                sum = T::mul_add(simd, b, own_y.1, sum);
                sum = T::mul_add(simd, c, own_y.2, sum);
                got_wy[at] = T::mul_add(simd, d, own_y.3, sum);
            }
        }
        (lanes!(0, 0), lanes!(0, 1), lanes!(1, 0), lanes!(1, 1)) = (aw, ay, bw, by);
        (lanes!(2, 0), lanes!(2, 1), lanes!(3, 0), lanes!(3, 1)) = (cw, cy, dw, dy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dense::kernel::tests::machines;
    use crate::exponential::dispatch_on;

    fn every_pair<T: Number>(rounding: f64) {
        for (rows, width) in [(1, 1), (4, 2), (5, 3), (19, 5), (40, 2)] {
            let columns: Vec<Vec<f64>> =
                (0..width).map(|c| (0..rows).map(|i| ((i * (c + 2)) as f64 * 0.7).sin() * 1.5).collect()).collect();
            let keys = Keys::of(rows, &columns).cast::<T>();
            let mut weights: Vec<f64> = (0..rows).map(|i| 1.0 + (i % 3) as f64 / 4.0).collect();
            let mut weighted: Vec<f64> = weights.iter().enumerate().map(|(i, w)| w * (i as f64 - 3.0)).collect();
            weights.resize(keys.padded, 0.0);
            weighted.resize(keys.padded, 0.0);
            let (weights, weighted) = (cast::<T>(&weights), cast::<T>(&weighted));
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
                let mut first: Option<Got<T>> = None;
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
                            (w + kernel(i, j) * weights[j].double(), y + kernel(i, j) * weighted[j].double())
                        });
                        let near = |a: T, b: f64| {
                            (a.double() - b).abs() < rounding * (1.0 + rows as f64) * rows as f64 * (1.0 + b.abs())
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

    #[test]
    fn every_pair_is_added_once_both_ways() {
        every_pair::<f64>(1e-12);
        every_pair::<f32>(1e-7);
    }
}

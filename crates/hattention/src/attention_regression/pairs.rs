//! Sums over pairs of rows, each pair looked at once: the kernel of a pair is the same both ways.
//!
//! A head's weight of row `j` in the prediction of row `i` is `G_ij w_j / Σ_j G_ij w_j` with `G_ij = exp(−½ ‖k_i − k_j‖²)`.
//! Distance scores have `w = 1`; dot products, `exp(k_i · k_j)`, have the prior `w_j = exp(½ ‖k_j‖²)`, for what depends on
//! the query alone leaves the softmax as it is.

use super::exponential::{Machine, Work, exp};

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
    /// `−½ ‖k‖²`.
    pub(super) half_norms: Vec<f64>,
}

impl Keys {
    /// Of keys by columns.
    pub(super) fn of(rows: usize, columns: &[Vec<f64>]) -> Self {
        let padded = rows.next_multiple_of(LANES);
        let mut data = vec![0.0; padded * columns.len()];
        let mut half_norms = vec![0.0; padded];
        for (own, column) in data.chunks_exact_mut(padded.max(1)).zip(columns) {
            own[..rows].copy_from_slice(column);
            half_norms.iter_mut().zip(column).for_each(|(half, x)| *half -= 0.5 * x * x);
        }
        Self { rows, columns: columns.len(), padded, data, half_norms }
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
    /// Whether row `j` gets from row `i` too.
    pub(super) both: bool,
    pub(super) got: &'a mut Got,
}

/// The kernels of four rows `first ..` with vector `at` of the columns; zero, if `MASKED`, from each row itself on.
#[inline(always)]
pub(super) fn kernels<S: Machine, const MASKED: bool>(
    simd: S,
    keys: &Keys,
    first: usize,
    at: usize,
) -> (S::f64s, S::f64s, S::f64s, S::f64s) {
    let norm = S::as_simd_f64s(&keys.half_norms).0[at];
    let half = &keys.half_norms[first..first + HELD];
    let mut a = simd.add_f64s(norm, simd.splat_f64s(half[0]));
    let mut b = simd.add_f64s(norm, simd.splat_f64s(half[1]));
    let mut c = simd.add_f64s(norm, simd.splat_f64s(half[2]));
    let mut d = simd.add_f64s(norm, simd.splat_f64s(half[3]));
    for column in keys.data.chunks_exact(keys.padded) {
        let k = S::as_simd_f64s(column).0[at];
        let q = &column[first..first + HELD];
        a = simd.mul_add_f64s(k, simd.splat_f64s(q[0]), a);
        b = simd.mul_add_f64s(k, simd.splat_f64s(q[1]), b);
        c = simd.mul_add_f64s(k, simd.splat_f64s(q[2]), c);
        d = simd.mul_add_f64s(k, simd.splat_f64s(q[3]), d);
    }
    let zero = simd.splat_f64s(0.0);
    (a, b) = (exp(simd, simd.min_f64s(a, zero)), exp(simd, simd.min_f64s(b, zero)));
    (c, d) = (exp(simd, simd.min_f64s(c, zero)), exp(simd, simd.min_f64s(d, zero)));
    if MASKED {
        let parts = LANES / S::F64_LANES;
        let (block, part) = (at / parts, at % parts);
        macro_rules! mask {
            ($row:literal) => {
                S::as_simd_f64s(&BEFORE[first + $row - LANES * block]).0[part]
            };
        }
        (a, b) = (simd.mul_f64s(a, mask!(0)), simd.mul_f64s(b, mask!(1)));
        (c, d) = (simd.mul_f64s(c, mask!(2)), simd.mul_f64s(d, mask!(3)));
    }
    (a, b, c, d)
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
        if self.both {
            self.all::<S, true>(simd, &mut lanes);
        } else {
            self.all::<S, false>(simd, &mut lanes);
        }
        for (row, [weights, weighted]) in lanes.iter().enumerate() {
            self.got.weights[self.first + row] += weights.iter().sum::<f64>();
            self.got.weighted[self.first + row] += weighted.iter().sum::<f64>();
        }
    }
}

impl Forward<'_> {
    #[inline(always)]
    fn all<S: Machine, const BOTH: bool>(&mut self, simd: S, lanes: &mut [[[f64; LANES]; 2]; HELD]) {
        let parts = LANES / S::F64_LANES;
        let whole = self.first / LANES;
        for part in 0..parts {
            self.blocks::<S, BOTH, false>(simd, part, 0..whole, lanes);
            self.blocks::<S, BOTH, true>(simd, part, whole..whole + 1, lanes);
        }
    }

    /// Blocks of eight columns, one part of their lanes; the last one, which holds the rows themselves, by masks.
    #[inline(always)]
    fn blocks<S: Machine, const BOTH: bool, const MASKED: bool>(
        &mut self,
        simd: S,
        part: usize,
        blocks: std::ops::Range<usize>,
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
            let (a, b, c, d) = kernels::<S, MASKED>(simd, keys, first, at);
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
            let kernel = |i: usize, j: usize| {
                let square: f64 = columns.iter().map(|column| (column[i] - column[j]).powi(2)).sum();
                (-0.5 * square).exp()
            };
            for both in [false, true] {
                let mut first: Option<Got> = None;
                for machine in machines() {
                    let mut got = Got::zeros(keys.padded);
                    for first in (0..rows).step_by(HELD) {
                        let given = Given { weights: &weights, weighted: &weighted };
                        dispatch_on(machine, Forward { keys: &keys, given, first, both, got: &mut got });
                    }
                    for i in 0..rows {
                        let others = (0..rows).filter(|j| *j < i || both && *j != i);
                        let expected: (f64, f64) = others.fold((0.0, 0.0), |(w, y), j| {
                            (w + kernel(i, j) * weights[j], y + kernel(i, j) * weighted[j])
                        });
                        let near = |a: f64, b: f64| (a - b).abs() < 1e-12 * (1.0 + rows as f64) * rows as f64;
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

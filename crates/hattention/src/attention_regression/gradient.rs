//! What pairs of rows say about the metric: derivatives of a loss by the exponents of the kernel.

use std::ops::Range;

use super::exponential::{Machine, Work};
use super::pairs::{Given, HELD, Keys, LANES, kernels, splats};
use super::scope::Scope;

/// Columns whose derivatives are held before they are multiplied by inputs.
const CHUNK: usize = 256;

/// What a row passes on: `u = ∂loss/∂z / Σ G w` and `−u z`, for its prediction z; padded with zeros.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed<'a> {
    pub(super) slopes: &'a [f64],
    pub(super) sloped: &'a [f64],
}

/// Derivatives of a loss by the exponents `t_ij` of pairs `j < i`, both directions in one number `C_ij`.
#[derive(Clone, Debug)]
pub(super) struct Derivatives {
    /// `Σ_{j<i} C_ij x_j`, columns side by side, each padded.
    pub(super) along: Vec<f64>,
    /// `Σ_j C_ij` over all pairs of row i.
    pub(super) sums: Vec<f64>,
}

impl Derivatives {
    pub(super) fn zeros(padded: usize, columns: usize) -> Self {
        Self { along: vec![0.0; padded * columns], sums: vec![0.0; padded] }
    }
}

/// Adds the pairs of four rows `first ..` of which the first is a multiple of four.
pub(super) struct Backward<'a> {
    pub(super) keys: &'a Keys,
    /// The inputs, columns side by side, padded as the keys are.
    pub(super) inputs: &'a [f64],
    pub(super) given: Given<'a>,
    pub(super) passed: Passed<'a>,
    pub(super) first: usize,
    pub(super) scope: &'a Scope,
    /// The power of polynomial scores, or zero.
    pub(super) power: u32,
    pub(super) into: &'a mut Derivatives,
}

impl Work for Backward<'_> {
    #[inline(always)]
    fn on<S: Machine>(mut self, simd: S) {
        match (self.power, self.scope.both) {
            (0, true) => self.all::<S, 0, true>(simd),
            (0, false) => self.all::<S, 0, false>(simd),
            (2, true) => self.all::<S, 2, true>(simd),
            (2, false) => self.all::<S, 2, false>(simd),
            (_, true) => self.all::<S, 4, true>(simd),
            (_, false) => self.all::<S, 4, false>(simd),
        }
    }
}

/// `C` of four rows and some columns.
type Held = [[f64; CHUNK]; HELD];

impl Backward<'_> {
    #[inline(always)]
    fn all<S: Machine, const D: u32, const BOTH: bool>(&mut self, simd: S) {
        let mut held: Held = [[0.0; CHUNK]; HELD];
        let (padded, first) = (self.keys.padded, self.first);
        let [masked, whole, last] = self.scope.pieces(first);
        let blocks = CHUNK / LANES;
        for start in (masked.start..last.end).step_by(blocks) {
            let end = last.end.min(start + blocks);
            let within = |piece: &Range<usize>| piece.start.clamp(start, end)..piece.end.clamp(start, end);
            self.chunk::<S, D, BOTH, true>(simd, start, within(&masked), &mut held);
            self.chunk::<S, D, BOTH, false>(simd, start, within(&whole), &mut held);
            self.chunk::<S, D, BOTH, true>(simd, start, within(&last), &mut held);
            let columns = LANES * start..LANES * end;
            for (column, sums) in self.inputs.chunks_exact(padded).zip(self.into.along.chunks_exact_mut(padded)) {
                let found = products(simd, &held, &column[columns.clone()]);
                sums[first..first + HELD].iter_mut().zip(found).for_each(|(sum, more)| *sum += more);
            }
            let found = totals(simd, &held, columns.len());
            self.into.sums[first..first + HELD].iter_mut().zip(found).for_each(|(sum, more)| *sum += more);
        }
    }

    /// `C` of the four rows and some blocks of columns, by masks where not all four read all of them.
    #[inline(always)]
    fn chunk<S: Machine, const D: u32, const BOTH: bool, const MASKED: bool>(
        &mut self,
        simd: S,
        start: usize,
        blocks: Range<usize>,
        held: &mut Held,
    ) {
        let parts = LANES / S::F64_LANES;
        let (keys, first) = (self.keys, self.first);
        let (w, wy) = (S::as_simd_f64s(self.given.weights).0, S::as_simd_f64s(self.given.weighted).0);
        let (u, uz) = (S::as_simd_f64s(self.passed.slopes).0, S::as_simd_f64s(self.passed.sloped).0);
        let sums = S::as_mut_simd_f64s(&mut self.into.sums).0;
        let [a_held, b_held, c_held, d_held] = held;
        let a_held = S::as_mut_simd_f64s(a_held).0;
        let b_held = S::as_mut_simd_f64s(b_held).0;
        let c_held = S::as_mut_simd_f64s(c_held).0;
        let d_held = S::as_mut_simd_f64s(d_held).0;
        let (a_w, b_w, c_w, d_w) = splats(simd, self.given.weights, first);
        let (a_wy, b_wy, c_wy, d_wy) = splats(simd, self.given.weighted, first);
        let (a_u, b_u, c_u, d_u) = splats(simd, self.passed.slopes, first);
        let (a_uz, b_uz, c_uz, d_uz) = splats(simd, self.passed.sloped, first);
        for at in parts * blocks.start..parts * blocks.end {
            let (_, (a, b, c, d)) = kernels::<S, D, MASKED>(simd, keys, self.scope, first, at);
            let (w, wy, u, uz) = (w[at], wy[at], u[at], uz[at]);
            macro_rules! derivative {
                ($kernel:ident, $u:ident, $uz:ident, $w:ident, $wy:ident) => {{
                    // u_i w_j (y_j − z_i), and the same the other way round.
                    let mut sum = simd.mul_add_f64s($uz, w, simd.mul_f64s($u, wy));
                    if BOTH {
                        sum = simd.mul_add_f64s(uz, $w, simd.mul_add_f64s(u, $wy, sum));
                    }
                    simd.mul_f64s($kernel, sum)
                }};
            }
            let a = derivative!(a, a_u, a_uz, a_w, a_wy);
            let b = derivative!(b, b_u, b_uz, b_w, b_wy);
            let c = derivative!(c, c_u, c_uz, c_w, c_wy);
            let d = derivative!(d, d_u, d_uz, d_w, d_wy);
            sums[at] = simd.add_f64s(sums[at], simd.add_f64s(simd.add_f64s(a, b), simd.add_f64s(c, d)));
            let place = at - parts * start;
            (a_held[place], b_held[place], c_held[place], d_held[place]) = (a, b, c, d);
        }
    }
}

/// Sums of the products of four rows with a column, in eight chains each.
#[inline(always)]
fn products<S: Machine>(simd: S, held: &Held, column: &[f64]) -> [f64; HELD] {
    let parts = LANES / S::F64_LANES;
    let mut lanes = [[0.0; LANES]; HELD];
    let x = S::as_simd_f64s(column).0;
    let [a, b, c, d] = held;
    let (a, b) = (&S::as_simd_f64s(a).0[..x.len()], &S::as_simd_f64s(b).0[..x.len()]);
    let (c, d) = (&S::as_simd_f64s(c).0[..x.len()], &S::as_simd_f64s(d).0[..x.len()]);
    for part in 0..parts {
        let zero = simd.splat_f64s(0.0);
        let (mut sa, mut sb, mut sc, mut sd) = (zero, zero, zero, zero);
        let mut at = part;
        while at < x.len() {
            sa = simd.mul_add_f64s(a[at], x[at], sa);
            sb = simd.mul_add_f64s(b[at], x[at], sb);
            sc = simd.mul_add_f64s(c[at], x[at], sc);
            sd = simd.mul_add_f64s(d[at], x[at], sd);
            at += parts;
        }
        let [la, lb, lc, ld] = &mut lanes;
        S::as_mut_simd_f64s(la).0[part] = sa;
        S::as_mut_simd_f64s(lb).0[part] = sb;
        S::as_mut_simd_f64s(lc).0[part] = sc;
        S::as_mut_simd_f64s(ld).0[part] = sd;
    }
    [lanes[0].iter().sum(), lanes[1].iter().sum(), lanes[2].iter().sum(), lanes[3].iter().sum()]
}

static ONES: [f64; CHUNK] = [1.0; CHUNK];

/// Sums of the first few numbers of four rows.
#[inline(always)]
fn totals<S: Machine>(simd: S, held: &Held, count: usize) -> [f64; HELD] {
    products(simd, held, &ONES[..count])
}

//! What pairs of rows say about the metric: derivatives of a loss by the exponents of the kernel.

use std::ops::Range;

use super::number::{Number, PADDED};
use super::pairs::{Given, HELD, Keys, kernels, splats};
use super::scope::Scope;
use crate::exponential::{Machine, Work};

/// Columns whose derivatives are held before they are multiplied by inputs.
const CHUNK: usize = 256;

/// What a row passes on: `u = ∂loss/∂z / Σ G w` and `−u z`, for its prediction z; padded with zeros.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed<'a, T> {
    pub(super) slopes: &'a [T],
    pub(super) sloped: &'a [T],
}

/// Derivatives of a loss by the exponents `t_ij` of pairs `j < i`, both directions in one number `C_ij`.
#[derive(Clone, Debug)]
pub(super) struct Derivatives<T> {
    /// `Σ_{j<i} C_ij x_j`, columns side by side, each padded.
    pub(super) along: Vec<T>,
    /// `Σ_j C_ij` over all pairs of row i.
    pub(super) sums: Vec<T>,
}

impl<T: Number> Derivatives<T> {
    pub(super) fn zeros(padded: usize, columns: usize) -> Self {
        Self { along: vec![T::default(); padded * columns], sums: vec![T::default(); padded] }
    }
}

impl Derivatives<f64> {
    pub(super) fn add<T: Number>(&mut self, other: &Derivatives<T>) {
        self.along.iter_mut().zip(&other.along).for_each(|(sum, more)| *sum += more.double());
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, more)| *sum += more.double());
    }
}

/// Adds the pairs of four rows `first ..` of which the first is a multiple of four.
pub(super) struct Backward<'a, T> {
    pub(super) keys: &'a Keys<T>,
    /// The inputs, columns side by side, padded as the keys are.
    pub(super) inputs: &'a [T],
    pub(super) given: Given<'a, T>,
    pub(super) passed: Passed<'a, T>,
    pub(super) first: usize,
    pub(super) scope: &'a Scope,
    /// The power of polynomial scores, or zero.
    pub(super) power: u32,
    pub(super) into: &'a mut Derivatives<T>,
}

impl<T: Number> Work for Backward<'_, T> {
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
type Held<T> = [[T; CHUNK]; HELD];

impl<T: Number> Backward<'_, T> {
    #[inline(always)]
    fn all<S: Machine, const D: u32, const BOTH: bool>(&mut self, simd: S) {
        let mut held: Held<T> = [[T::default(); CHUNK]; HELD];
        let (padded, first) = (self.keys.padded, self.first);
        let [masked, whole, last] = self.scope.pieces(first, T::LANES);
        let blocks = CHUNK / T::LANES;
        for start in (masked.start..last.end).step_by(blocks) {
            let end = last.end.min(start + blocks);
            let within = |piece: &Range<usize>| piece.start.clamp(start, end)..piece.end.clamp(start, end);
            self.chunk::<S, D, BOTH, true>(simd, start, within(&masked), &mut held);
            self.chunk::<S, D, BOTH, false>(simd, start, within(&whole), &mut held);
            self.chunk::<S, D, BOTH, true>(simd, start, within(&last), &mut held);
            let columns = T::LANES * start..T::LANES * end;
            for (column, sums) in self.inputs.chunks_exact(padded).zip(self.into.along.chunks_exact_mut(padded)) {
                let found = products::<S, T>(simd, &held, &column[columns.clone()]);
                sums[first..first + HELD].iter_mut().zip(found).for_each(|(sum, more)| *sum = sum.plus(more));
            }
            let found = totals::<S, T>(simd, &held, columns.len());
            self.into.sums[first..first + HELD].iter_mut().zip(found).for_each(|(sum, more)| *sum = sum.plus(more));
        }
    }

    /// `C` of the four rows and some blocks of columns, by masks where not all four read all of them.
    #[inline(always)]
    fn chunk<S: Machine, const D: u32, const BOTH: bool, const MASKED: bool>(
        &mut self,
        simd: S,
        start: usize,
        blocks: Range<usize>,
        held: &mut Held<T>,
    ) {
        let parts = T::parts::<S>();
        let (keys, first) = (self.keys, self.first);
        let (w, wy) = (T::vectors::<S>(self.given.weights), T::vectors::<S>(self.given.weighted));
        let (u, uz) = (T::vectors::<S>(self.passed.slopes), T::vectors::<S>(self.passed.sloped));
        let sums = T::vectors_mut::<S>(&mut self.into.sums);
        let [a_held, b_held, c_held, d_held] = held;
        let a_held = T::vectors_mut::<S>(a_held);
        let b_held = T::vectors_mut::<S>(b_held);
        let c_held = T::vectors_mut::<S>(c_held);
        let d_held = T::vectors_mut::<S>(d_held);
        let (a_w, b_w, c_w, d_w) = splats(simd, self.given.weights, first);
        let (a_wy, b_wy, c_wy, d_wy) = splats(simd, self.given.weighted, first);
        let (a_u, b_u, c_u, d_u) = splats(simd, self.passed.slopes, first);
        let (a_uz, b_uz, c_uz, d_uz) = splats(simd, self.passed.sloped, first);
        for at in parts * blocks.start..parts * blocks.end {
            let (_, (a, b, c, d)) = kernels::<S, T, D, MASKED>(simd, keys, self.scope, first, at);
            let (w, wy, u, uz) = (w[at], wy[at], u[at], uz[at]);
            macro_rules! derivative {
                ($kernel:ident, $u:ident, $uz:ident, $w:ident, $wy:ident) => {{
                    // u_i w_j (y_j − z_i), and the same the other way round.
                    let mut sum = T::mul_add(simd, $uz, w, T::mul(simd, $u, wy));
                    if BOTH {
                        sum = T::mul_add(simd, uz, $w, T::mul_add(simd, u, $wy, sum));
                    }
                    T::mul(simd, $kernel, sum)
                }};
            }
            let a = derivative!(a, a_u, a_uz, a_w, a_wy);
            let b = derivative!(b, b_u, b_uz, b_w, b_wy);
            let c = derivative!(c, c_u, c_uz, c_w, c_wy);
            let d = derivative!(d, d_u, d_uz, d_w, d_wy);
            sums[at] = T::add(simd, sums[at], T::add(simd, T::add(simd, a, b), T::add(simd, c, d)));
            let place = at - parts * start;
            (a_held[place], b_held[place], c_held[place], d_held[place]) = (a, b, c, d);
        }
    }
}

/// Sums of the products of four rows with a column, in as many chains each as there are lanes.
#[inline(always)]
fn products<S: Machine, T: Number>(simd: S, held: &Held<T>, column: &[T]) -> [T; HELD] {
    let parts = T::parts::<S>();
    let zero = T::splat(simd, T::default());
    let mut lanes = [[T::default(); PADDED]; HELD];
    let x = T::vectors::<S>(column);
    let [a, b, c, d] = held;
    let (a, b) = (&T::vectors::<S>(a)[..x.len()], &T::vectors::<S>(b)[..x.len()]);
    let (c, d) = (&T::vectors::<S>(c)[..x.len()], &T::vectors::<S>(d)[..x.len()]);
    for part in 0..parts {
        let (mut sa, mut sb, mut sc, mut sd) = (zero, zero, zero, zero);
        let mut at = part;
        while at < x.len() {
            sa = T::mul_add(simd, a[at], x[at], sa);
            sb = T::mul_add(simd, b[at], x[at], sb);
            sc = T::mul_add(simd, c[at], x[at], sc);
            sd = T::mul_add(simd, d[at], x[at], sd);
            at += parts;
        }
        let [la, lb, lc, ld] = &mut lanes;
        T::vectors_mut::<S>(la)[part] = sa;
        T::vectors_mut::<S>(lb)[part] = sb;
        T::vectors_mut::<S>(lc)[part] = sc;
        T::vectors_mut::<S>(ld)[part] = sd;
    }
    let [a, b, c, d] = &lanes;
    [T::of(T::sum(a)), T::of(T::sum(b)), T::of(T::sum(c)), T::of(T::sum(d))]
}

/// Sums of the first few numbers of four rows.
#[inline(always)]
fn totals<S: Machine, T: Number>(simd: S, held: &Held<T>, count: usize) -> [T; HELD] {
    let parts = T::parts::<S>();
    let zero = T::splat(simd, T::default());
    let mut lanes = [[T::default(); PADDED]; HELD];
    for (held, lanes) in held.iter().zip(&mut lanes) {
        let (held, lanes) = (T::vectors::<S>(&held[..count]), T::vectors_mut::<S>(lanes));
        for part in 0..parts {
            let (mut sum, mut at) = (zero, part);
            while at < held.len() {
                sum = T::add(simd, held[at], sum);
                at += parts;
            }
            lanes[part] = sum;
        }
    }
    let [a, b, c, d] = &lanes;
    [T::of(T::sum(a)), T::of(T::sum(b)), T::of(T::sum(c)), T::of(T::sum(d))]
}

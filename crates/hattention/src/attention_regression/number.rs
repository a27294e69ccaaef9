//! The numbers that sums over pairs of rows are made in, double or single, and their vectors.

use std::fmt::Debug;

use crate::exponential::{Machine, exp, exp_single};

/// Lanes that columns are padded to, and more than a vector of any number has.
pub(super) const PADDED: usize = 16;

/// A floating-point number with vectors of every machine.
pub(super) trait Number: Copy + Debug + Default + PartialOrd + Send + Sync + 'static {
    /// Lanes of the sums of a row, whatever the width of the vectors.
    const LANES: usize;
    /// A sum of kernels below which the others are too far away for such numbers.
    const LEAST: f64;
    /// A vector of a machine.
    type Vector<S: Machine>: Copy;

    /// The nearest to a double.
    fn of(value: f64) -> Self;
    fn double(self) -> f64;
    fn plus(self, other: Self) -> Self;

    /// Parts that the lanes of a sum come in.
    fn parts<S: Machine>() -> usize;
    /// Whole vectors of a slice.
    fn vectors<S: Machine>(values: &[Self]) -> &[Self::Vector<S>];
    fn vectors_mut<S: Machine>(values: &mut [Self]) -> &mut [Self::Vector<S>];
    fn splat<S: Machine>(simd: S, value: Self) -> Self::Vector<S>;
    fn add<S: Machine>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    fn sub<S: Machine>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    fn mul<S: Machine>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// `a b + c`, rounded once.
    fn mul_add<S: Machine>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    fn min<S: Machine>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    fn exp<S: Machine>(simd: S, x: Self::Vector<S>) -> Self::Vector<S>;
    /// Lanes of which the first few are one.
    fn before(count: usize) -> &'static [Self];

    /// The sum of some lanes.
    #[inline(always)]
    fn sum(lanes: &[Self; PADDED]) -> f64 {
        lanes[..Self::LANES].iter().map(|x| x.double()).sum()
    }
}

/// Ones, then zeros.
macro_rules! step {
    ($number:ty) => {{
        let mut step: [$number; 2 * PADDED] = [0.0; 2 * PADDED];
        let mut lane = 0;
        while lane < PADDED {
            step[lane] = 1.0;
            lane += 1;
        }
        step
    }};
}

static STEP: [f64; 2 * PADDED] = step!(f64);
static STEP_SINGLE: [f32; 2 * PADDED] = step!(f32);

macro_rules! number {
    (
        $number:ident, $vector:ident, $lanes:literal, $width:ident, $least:literal, $exp:ident, $step:ident,
        $as:ident, $as_mut:ident, $splat:ident, $add:ident, $sub:ident, $mul:ident, $mul_add:ident, $min:ident
    ) => {
        impl Number for $number {
            const LANES: usize = $lanes;
            const LEAST: f64 = $least;
            type Vector<S: Machine> = S::$vector;

            #[inline(always)]
            fn of(value: f64) -> Self {
                value as $number
            }

            #[inline(always)]
            fn double(self) -> f64 {
                f64::from(self)
            }

            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self + other
            }

            #[inline(always)]
            fn parts<S: Machine>() -> usize {
                Self::LANES / S::$width
            }

            #[inline(always)]
            fn vectors<S: Machine>(values: &[Self]) -> &[S::$vector] {
                S::$as(values).0
            }

            #[inline(always)]
            fn vectors_mut<S: Machine>(values: &mut [Self]) -> &mut [S::$vector] {
                S::$as_mut(values).0
            }

            #[inline(always)]
            fn splat<S: Machine>(simd: S, value: Self) -> S::$vector {
                simd.$splat(value)
            }

            #[inline(always)]
            fn add<S: Machine>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$add(a, b)
            }

            #[inline(always)]
            fn sub<S: Machine>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$sub(a, b)
            }

            #[inline(always)]
            fn mul<S: Machine>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$mul(a, b)
            }

            #[inline(always)]
            fn mul_add<S: Machine>(simd: S, a: S::$vector, b: S::$vector, c: S::$vector) -> S::$vector {
                simd.$mul_add(a, b, c)
            }

            #[inline(always)]
            fn min<S: Machine>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$min(a, b)
            }

            #[inline(always)]
            fn exp<S: Machine>(simd: S, x: S::$vector) -> S::$vector {
                $exp(simd, x)
            }

            #[inline(always)]
            fn before(count: usize) -> &'static [Self] {
                &$step[PADDED - count.min(Self::LANES)..][..Self::LANES]
            }
        }
    };
}

number!(
    f64,
    f64s,
    8,
    F64_LANES,
    1e-250,
    exp,
    STEP,
    as_simd_f64s,
    as_mut_simd_f64s,
    splat_f64s,
    add_f64s,
    sub_f64s,
    mul_f64s,
    mul_add_f64s,
    min_f64s
);
number!(
    f32,
    f32s,
    16,
    F32_LANES,
    1e-26,
    exp_single,
    STEP_SINGLE,
    as_simd_f32s,
    as_mut_simd_f32s,
    splat_f32s,
    add_f32s,
    sub_f32s,
    mul_f32s,
    mul_add_f32s,
    min_f32s
);

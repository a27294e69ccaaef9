//! Exponentials of vectors, the same on every machine.

use pulp::{Scalar, Simd};

/// A machine's vectors, with the one thing that no arithmetic of doubles gives: exponents as integers.
pub(crate) trait Machine: Simd {
    /// `2^(n − 1023)` of numbers whose last eleven bits are `n`.
    fn power(self, n: Self::f64s) -> Self::f64s;
    /// `2^(n − 127)` of single numbers whose last eight bits are `n`.
    fn power_single(self, n: Self::f32s) -> Self::f32s;
}

impl Machine for Scalar {
    #[inline(always)]
    fn power(self, n: f64) -> f64 {
        f64::from_bits(n.to_bits() << 52)
    }

    #[inline(always)]
    fn power_single(self, n: f32) -> f32 {
        f32::from_bits(n.to_bits() << 23)
    }
}

#[cfg(target_arch = "x86_64")]
impl Machine for pulp::x86::V3 {
    #[inline(always)]
    fn power(self, n: pulp::f64x4) -> pulp::f64x4 {
        pulp::cast(self.avx2._mm256_slli_epi64::<52>(pulp::cast(n)))
    }

    #[inline(always)]
    fn power_single(self, n: pulp::f32x8) -> pulp::f32x8 {
        pulp::cast(self.avx2._mm256_slli_epi32::<23>(pulp::cast(n)))
    }
}

#[cfg(target_arch = "x86_64")]
impl Machine for pulp::x86::V4 {
    #[inline(always)]
    fn power(self, n: pulp::f64x8) -> pulp::f64x8 {
        pulp::cast(self.avx512f._mm512_slli_epi64::<52>(pulp::cast(n)))
    }

    #[inline(always)]
    fn power_single(self, n: pulp::f32x16) -> pulp::f32x16 {
        pulp::cast(self.avx512f._mm512_slli_epi32::<23>(pulp::cast(n)))
    }
}

/// Work on the vectors of a machine.
pub(crate) trait Work {
    fn on<M: Machine>(self, machine: M);
}

#[cfg(target_arch = "x86_64")]
struct On<M, W>(M, W);

#[cfg(target_arch = "x86_64")]
impl<M: Machine, W: Work> pulp::NullaryFnOnce for On<M, W> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.1.on(self.0);
    }
}

/// Works on the widest vectors that this machine has.
pub(crate) fn dispatch(work: impl Work) {
    dispatch_on(pulp::Arch::new(), work);
}

pub(crate) fn dispatch_on(machine: pulp::Arch, work: impl Work) {
    match machine {
        #[cfg(target_arch = "x86_64")]
        pulp::Arch::V4(v4) => v4.vectorize(On(v4, work)),
        #[cfg(target_arch = "x86_64")]
        pulp::Arch::V3(v3) => v3.vectorize(On(v3, work)),
        _ => work.on(Scalar::new()),
    }
}

/// Arguments below it are taken for it: `e^−708` is the last exponential of full precision.
const LEAST: f64 = -708.0;
/// `1.5 · 2⁵²` and the bias of exponents: added to a number, it leaves the nearest whole number, biased, in the last bits.
const SHIFT: f64 = 6_755_399_441_055_744.0 + 1023.0;
const SHIFT_BACK: f64 = -SHIFT;
/// `ln 2` in two parts, the first with 21 zeros at its end.
const LN2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
const LN2_LOW: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);
/// `(eʳ − 1 − r) / r²` on `|r| ≤ ln 2 / 2`, the highest power first: Chebyshev interpolation, off by 1.6e-17 of `eʳ`.
const COEFFICIENTS: [f64; 10] = [
    2.510_037_761_960_637e-8,
    2.762_007_820_380_639_4e-7,
    2.755_726_847_655_369_5e-6,
    2.480_152_131_748_408_3e-5,
    1.984_126_986_304_296_3e-4,
    1.388_888_891_719_986_3e-3,
    8.333_333_333_330_063e-3,
    4.166_666_666_662_416e-2,
    0.166_666_666_666_666_69,
    0.500_000_000_000_000_1,
];

/// `eˣ` for `x ≤ 708`, off by at most 1.6 units in the last place (as tested); arguments below −708 count as −708.
///
/// # References
/// Muller, Elementary Functions, 11 (reduction in two parts, a polynomial, a shift of the exponent).
#[inline(always)]
pub(crate) fn exp<S: Machine>(simd: S, x: S::f64s) -> S::f64s {
    let x = simd.max_f64s(x, simd.splat_f64s(LEAST));
    let shift = simd.splat_f64s(SHIFT);
    let shifted = simd.mul_add_f64s(x, simd.splat_f64s(std::f64::consts::LOG2_E), shift);
    let whole = simd.add_f64s(shifted, simd.splat_f64s(SHIFT_BACK));
    let r = simd.mul_add_f64s(whole, simd.splat_f64s(-LN2_HIGH), x);
    let r = simd.mul_add_f64s(whole, simd.splat_f64s(-LN2_LOW), r);
    let mut q = simd.splat_f64s(COEFFICIENTS[0]);
    q = simd.mul_add_f64s(q, r, simd.splat_f64s(COEFFICIENTS[1]));
    q = simd.mul_add_f64s(q, r, simd.splat_f64s(COEFFICIENTS[2]));
    q = simd.mul_add_f64s(q, r, simd.splat_f64s(COEFFICIENTS[3]));
    q = simd.mul_add_f64s(q, r, simd.splat_f64s(COEFFICIENTS[4]));
    q = simd.mul_add_f64s(q, r, simd.splat_f64s(COEFFICIENTS[5]));
    q = simd.mul_add_f64s(q, r, simd.splat_f64s(COEFFICIENTS[6]));
    q = simd.mul_add_f64s(q, r, simd.splat_f64s(COEFFICIENTS[7]));
    q = simd.mul_add_f64s(q, r, simd.splat_f64s(COEFFICIENTS[8]));
    q = simd.mul_add_f64s(q, r, simd.splat_f64s(COEFFICIENTS[9]));
    let part = simd.mul_add_f64s(simd.mul_f64s(r, r), q, r);
    let power = simd.power(shifted);
    simd.mul_add_f64s(power, part, power)
}

/// The same of single numbers: arguments below it have the exponential zero, for products of smaller ones are slow.
const LEAST_SINGLE: f32 = -80.0;
const SHIFT_SINGLE: f32 = 12_582_912.0 + 127.0;
/// `ln 2` in two parts, the first with 15 zeros at its end.
const LN2_HIGH_SINGLE: f32 = 0.693_359_4;
const LN2_LOW_SINGLE: f32 = -2.121_944_4e-4;
/// As [`COEFFICIENTS`], off by 1.0e-8 of `eʳ`.
const COEFFICIENTS_SINGLE: [f32; 5] = [1.392_618_4e-3, 8.363_179e-3, 4.166_655_5e-2, 0.166_665_77, 0.5];

/// `eˣ` of single numbers for `x ≤ 88`, off by at most 1.3 units in the last place (as tested); zero for arguments below −80.
#[inline(always)]
pub(crate) fn exp_single<S: Machine>(simd: S, x: S::f32s) -> S::f32s {
    let least = simd.splat_f32s(LEAST_SINGLE);
    let held = simd.max_f32s(x, least);
    let shift = simd.splat_f32s(SHIFT_SINGLE);
    let shifted = simd.mul_add_f32s(held, simd.splat_f32s(std::f32::consts::LOG2_E), shift);
    let whole = simd.sub_f32s(shifted, shift);
    let r = simd.mul_add_f32s(whole, simd.splat_f32s(-LN2_HIGH_SINGLE), held);
    let r = simd.mul_add_f32s(whole, simd.splat_f32s(-LN2_LOW_SINGLE), r);
    let mut q = simd.splat_f32s(COEFFICIENTS_SINGLE[0]);
    q = simd.mul_add_f32s(q, r, simd.splat_f32s(COEFFICIENTS_SINGLE[1]));
    q = simd.mul_add_f32s(q, r, simd.splat_f32s(COEFFICIENTS_SINGLE[2]));
    q = simd.mul_add_f32s(q, r, simd.splat_f32s(COEFFICIENTS_SINGLE[3]));
    q = simd.mul_add_f32s(q, r, simd.splat_f32s(COEFFICIENTS_SINGLE[4]));
    let part = simd.mul_add_f32s(simd.mul_f32s(r, r), q, r);
    let power = simd.power_single(shifted);
    let value = simd.mul_add_f32s(power, part, power);
    simd.select_f32s(simd.less_than_f32s(x, least), simd.splat_f32s(0.0), value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dense::kernel::tests::machines;

    struct Exponentials<'a>(&'a mut [f64]);

    impl Work for Exponentials<'_> {
        #[inline(always)]
        fn on<S: Machine>(self, simd: S) {
            for x in S::as_mut_simd_f64s(self.0).0 {
                *x = exp(simd, *x);
            }
        }
    }

    #[test]
    fn they_are_right_to_the_last_bit_on_every_machine() {
        let mut arguments: Vec<f64> =
            (0..80_000).map(|i| -708.0 + 0.017_700_1 * i as f64).filter(|x| *x <= 708.0).collect();
        arguments.extend([0.0, -0.0, -1e-300, 0.34657, -0.34658, 1.0, -745.0, f64::NEG_INFINITY, -1e308, -708.0]);
        arguments.resize(arguments.len().next_multiple_of(8), -1.0);
        let mut first: Option<Vec<f64>> = None;
        for machine in machines() {
            let mut values = arguments.clone();
            dispatch_on(machine, Exponentials(&mut values));
            for (x, got) in arguments.iter().zip(&values) {
                let expected = libm::exp(x.max(LEAST));
                let last = f64::from_bits(expected.to_bits() + 1) - expected;
                assert!((got - expected).abs() <= 1.6 * last, "{machine:?}: e^{x} is {expected:e}, and not {got:e}");
            }
            assert_eq!(first.get_or_insert(values.clone()), &values, "{machine:?}");
        }
    }

    struct Singles<'a>(&'a mut [f32]);

    impl Work for Singles<'_> {
        #[inline(always)]
        fn on<S: Machine>(self, simd: S) {
            for x in S::as_mut_simd_f32s(self.0).0 {
                *x = exp_single(simd, *x);
            }
        }
    }

    #[test]
    fn single_ones_are_right_to_the_last_bit_on_every_machine() {
        let mut arguments: Vec<f32> = (0..160_000).map(|i| -80.0 + 0.001_05 * i as f32).collect();
        arguments.extend([0.0, -0.0, -1e-30, 0.34657, -0.34658, 1.0, -80.001, f32::NEG_INFINITY, -1e38, -80.0]);
        arguments.resize(arguments.len().next_multiple_of(16), -1.0);
        let mut first: Option<Vec<f32>> = None;
        for machine in machines() {
            let mut values = arguments.clone();
            dispatch_on(machine, Singles(&mut values));
            for (x, got) in arguments.iter().zip(&values) {
                let expected = if *x < LEAST_SINGLE { 0.0 } else { libm::exp(f64::from(*x)) };
                let nearest = expected as f32;
                let last = f64::from(f32::from_bits(nearest.to_bits() + 1)) - f64::from(nearest);
                let off = (f64::from(*got) - expected).abs() / last;
                assert!(
                    off <= 1.3 || expected == 0.0 && *got == 0.0,
                    "{machine:?}: e^{x} is {expected:e}, not {got:e}: {off}"
                );
            }
            assert_eq!(first.get_or_insert(values.clone()), &values, "{machine:?}");
        }
    }
}

//! Binary floating point of `64 N` bits, for solving in as many bits as the condition asks for.

use std::ops::{Add, Mul, Neg, Sub};

use super::wide;
use crate::double_double::DoubleDouble;

/// `± mantissa / 2^(64 N) · 2^exponent`, the mantissa's first bit set; zero has an empty mantissa.
///
/// Operations truncate: each is right to `2^(8 − 64 N)` of its result (of the larger operand, for sums). The exponent
/// has 64 bits: nothing overflows or underflows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Float<const N: usize> {
    negative: bool,
    exponent: i64,
    mantissa: [u64; N],
}

impl<const N: usize> Float<N> {
    pub(crate) const ZERO: Self = Self { negative: false, exponent: 0, mantissa: [0; N] };

    pub(crate) fn is_zero(&self) -> bool {
        self.mantissa[N - 1] == 0
    }

    pub(crate) fn is_negative(&self) -> bool {
        self.negative && !self.is_zero()
    }

    /// The exponent `e` with `2^(e−1) ≤ |self| < 2^e`, or very small for zero.
    pub(crate) fn exponent(&self) -> i64 {
        if self.is_zero() { i64::MIN / 4 } else { self.exponent }
    }

    pub(crate) fn abs(self) -> Self {
        Self { negative: false, ..self }
    }

    /// `self · 2^shift`, exactly.
    pub(crate) fn scale(self, shift: i64) -> Self {
        Self { exponent: self.exponent + shift, ..self }
    }

    /// A signed integer times `2^exponent`, truncated.
    pub(crate) fn from_wide(value: &[u64], exponent: i64) -> Self {
        wide::with_zeros(value.len(), |magnitude| {
            magnitude.copy_from_slice(value);
            Self::from_signed(magnitude, exponent)
        })
    }

    /// As [`Self::from_wide`]; leaves the magnitude in the integer.
    pub(crate) fn from_signed(value: &mut [u64], exponent: i64) -> Self {
        let negative = wide::is_negative(value);
        if negative {
            wide::negate(value);
        }
        let Some(top) = value.iter().rposition(|w| *w != 0) else {
            return Self::ZERO;
        };
        let zeros = value[top].leading_zeros();
        let word = |i: usize| -> u64 {
            // Word `i` counted down from the leading one, after moving the first bit to the top.
            let at = |k: usize| top.checked_sub(k).map_or(0, |index| value[index]);
            if zeros == 0 { at(i) } else { at(i) << zeros | at(i + 1) >> (64 - zeros) }
        };
        let mantissa = std::array::from_fn(|k| word(N - 1 - k));
        Self { negative, exponent: exponent + 64 * (top as i64 + 1) - zeros as i64, mantissa }
    }

    pub(crate) fn from_f64(x: f64) -> Self {
        let (m, e) = super::planes::integer_and_exponent(x);
        if m == 0 {
            return Self::ZERO;
        }
        let zeros = m.unsigned_abs().leading_zeros();
        let mut mantissa = [0; N];
        mantissa[N - 1] = m.unsigned_abs() << zeros;
        Self { negative: m < 0, exponent: e as i64 + 64 - zeros as i64, mantissa }
    }

    /// The magnitude in units of `2^exponent`, truncated, as an unsigned integer.
    pub(crate) fn to_wide(self, exponent: i64) -> Vec<u64> {
        let shift = self.exponent() - 64 * N as i64 - exponent;
        if self.is_zero() || shift <= -64 * N as i64 {
            return vec![0];
        }
        if shift < 0 {
            return shifted_down(&self.mantissa, shift.unsigned_abs() as usize).into_iter().chain([0]).collect();
        }
        let mut words = vec![0; (shift as usize).div_ceil(64) + N + 1];
        wide::add_shifted(&mut words, &[&self.mantissa[..], &[0]].concat(), shift as usize, false);
        words
    }

    /// The nearest double (ties away from zero); zero or infinity beyond the range.
    pub(crate) fn to_f64(self) -> f64 {
        if self.is_zero() {
            return 0.0;
        }
        let top = self.mantissa[N - 1];
        let sign = if self.negative { -1.0 } else { 1.0 };
        let exponent = self.exponent;
        if exponent > 1024 {
            return sign * f64::INFINITY;
        }
        // Subnormal results keep fewer bits; a single rounding at the right place serves both.
        let bits = 53.min(53 + exponent + 1021);
        if bits < 0 {
            return 0.0 * sign;
        }
        let rounded = (top as u128 + (1u128 << (63 - bits))) >> (64 - bits);
        let scaled = rounded as f64;
        let shift = exponent - bits;
        // Two steps, because 2^shift alone may be below the smallest normal number.
        let half = shift / 2;
        sign * scaled * 2f64.powi(half as i32) * 2f64.powi((shift - half) as i32)
    }

    /// The nearest pair of doubles.
    pub(crate) fn to_double_double(self) -> DoubleDouble {
        let hi = self.to_f64();
        if !hi.is_finite() {
            return DoubleDouble::from(hi);
        }
        DoubleDouble::new(hi, (self - Self::from_f64(hi)).to_f64())
    }

    /// The same number in other bits, truncated.
    pub(crate) fn resize<const M: usize>(self) -> Float<M> {
        let mut mantissa = [0; M];
        let shared = N.min(M);
        mantissa[M - shared..].copy_from_slice(&self.mantissa[N - shared..]);
        Float { negative: self.negative, exponent: self.exponent, mantissa }
    }

    fn cmp_magnitude(&self, other: &Self) -> std::cmp::Ordering {
        self.exponent().cmp(&other.exponent()).then_with(|| self.mantissa.iter().rev().cmp(other.mantissa.iter().rev()))
    }

    /// `1 / self` by Newton's iteration; callers never pass zero.
    pub(crate) fn reciprocal(self) -> Self {
        debug_assert!(!self.is_zero());
        let unit = Self { negative: false, exponent: 0, mantissa: self.mantissa };
        let one = Self::from_f64(1.0);
        let mut x = Self::from_f64(1.0 / unit.to_f64());
        let mut bits = 50;
        while bits < 64 * N {
            x = x + x * (one - unit * x);
            bits *= 2;
        }
        x.negative = self.negative;
        x.scale(-self.exponent)
    }

    /// The square root of a number that is zero or more.
    pub(crate) fn sqrt(self) -> Self {
        if self.is_zero() {
            return self;
        }
        let odd = self.exponent.rem_euclid(2);
        let unit = Self { negative: false, exponent: odd, mantissa: self.mantissa };
        let (one, half) = (Self::from_f64(1.0), Self::from_f64(0.5));
        // x → 1/√unit
        let mut x = Self::from_f64(1.0 / unit.to_f64().sqrt());
        let mut bits = 50;
        while bits < 64 * N {
            x = x + x * half * (one - unit * x * x);
            bits *= 2;
        }
        (unit * x).scale((self.exponent - odd) / 2)
    }

    fn normalise(negative: bool, exponent: i64, mut mantissa: [u64; N]) -> Self {
        let Some(top) = mantissa.iter().rposition(|w| *w != 0) else {
            return Self::ZERO;
        };
        let words = N - 1 - top;
        let bits = mantissa[top].leading_zeros();
        if words > 0 {
            mantissa.copy_within(0..=top, words);
            mantissa[..words].fill(0);
        }
        if bits > 0 {
            for k in (0..N).rev() {
                let below = if k > 0 { mantissa[k - 1] >> (64 - bits) } else { 0 };
                mantissa[k] = mantissa[k] << bits | below;
            }
        }
        Self { negative, exponent: exponent - 64 * words as i64 - bits as i64, mantissa }
    }
}

/// `mantissa / 2^shift`, truncated.
#[inline(always)]
fn shifted_down<const N: usize>(mantissa: &[u64; N], shift: usize) -> [u64; N] {
    let (skip, bits) = (shift / 64, shift % 64);
    std::array::from_fn(|k| {
        let low = if k + skip < N { mantissa[k + skip] } else { 0 };
        let high = if k + skip + 1 < N { mantissa[k + skip + 1] } else { 0 };
        if bits == 0 { low } else { low >> bits | high << (64 - bits) }
    })
}

impl<const N: usize> Add for Float<N> {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        if other.is_zero() {
            return self;
        }
        if self.is_zero() {
            return other;
        }
        let (big, small) =
            if self.cmp_magnitude(&other) == std::cmp::Ordering::Less { (other, self) } else { (self, other) };
        let distance = big.exponent - small.exponent;
        if distance >= 64 * N as i64 {
            return big;
        }
        let small_mantissa = shifted_down(&small.mantissa, distance as usize);
        let mut mantissa = big.mantissa;
        if big.negative == small.negative {
            let mut carry = false;
            for (word, other) in mantissa.iter_mut().zip(small_mantissa) {
                let (sum, first) = word.overflowing_add(other);
                let (sum, second) = sum.overflowing_add(carry as u64);
                *word = sum;
                carry = first | second;
            }
            if carry {
                mantissa = shifted_down(&mantissa, 1);
                mantissa[N - 1] |= 1 << 63;
                return Self { negative: big.negative, exponent: big.exponent + 1, mantissa };
            }
            return Self { negative: big.negative, exponent: big.exponent, mantissa };
        }
        let mut borrow = false;
        for (word, other) in mantissa.iter_mut().zip(small_mantissa) {
            let (difference, first) = word.overflowing_sub(other);
            let (difference, second) = difference.overflowing_sub(borrow as u64);
            *word = difference;
            borrow = first | second;
        }
        Self::normalise(big.negative, big.exponent, mantissa)
    }
}

impl<const N: usize> Neg for Float<N> {
    type Output = Self;

    fn neg(self) -> Self {
        Self { negative: !self.negative, ..self }
    }
}

impl<const N: usize> Sub for Float<N> {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl<const N: usize> Mul for Float<N> {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        if self.is_zero() || other.is_zero() {
            return Self::ZERO;
        }
        // The product's upper words, and one below for the carry; what lies further down is N units at most, 2 N after a
        // shift.
        let mut upper = [0u64; N];
        let mut guard = 0u64;
        for (i, &x) in self.mantissa.iter().enumerate() {
            let mut carry = 0u64;
            for j in (N - 1).saturating_sub(i)..N {
                let product = x as u128 * other.mantissa[j] as u128 + carry as u128;
                let place = i + j;
                if place + 1 == N {
                    let sum = guard as u128 + product;
                    guard = sum as u64;
                    carry = (sum >> 64) as u64;
                } else {
                    let sum = upper[place - N] as u128 + product;
                    upper[place - N] = sum as u64;
                    carry = (sum >> 64) as u64;
                }
            }
            upper[i] = carry;
        }
        let negative = self.negative != other.negative;
        let exponent = self.exponent + other.exponent;
        if upper[N - 1] >> 63 == 1 {
            return Self { negative, exponent, mantissa: upper };
        }
        let mantissa = std::array::from_fn(|k| {
            let below = if k > 0 { upper[k - 1] } else { guard };
            upper[k] << 1 | below >> 63
        });
        Self { negative, exponent: exponent - 1, mantissa }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigInt;
    use num_rational::BigRational;
    use num_traits::{Signed, Zero};
    use proptest::prelude::*;

    fn rational<const N: usize>(x: Float<N>) -> BigRational {
        let bytes: Vec<u8> = x.mantissa.iter().flat_map(|w| w.to_le_bytes()).collect();
        let magnitude = BigInt::from_bytes_le(num_bigint::Sign::Plus, &bytes);
        let shift = x.exponent - 64 * N as i64;
        let two = BigRational::from_integer(2.into());
        let value = BigRational::from_integer(magnitude) * num_traits::Pow::pow(two, shift as i32);
        if x.negative { -value } else { value }
    }

    fn close(got: &BigRational, expected: &BigRational, scale: &BigRational, bits: i32) {
        let tolerance = scale.abs() * num_traits::Pow::pow(BigRational::from_integer(2.into()), -bits);
        assert!((got - expected).abs() <= tolerance, "{got} for {expected}");
    }

    fn check<const N: usize>(a: [u64; 8], b: [u64; 8], ea: i64, eb: i64, signs: (bool, bool)) {
        let words = |m: [u64; 8], negative: bool| {
            let mut value = m[..N].to_vec();
            value.push(0);
            value[N - 1] |= 1 << 63;
            if negative {
                wide::negate(&mut value);
            }
            value
        };
        let x = Float::<N>::from_wide(&words(a, signs.0), ea);
        let y = Float::<N>::from_wide(&words(b, signs.1), eb);
        let (p, q) = (rational(x), rational(y));
        let bits = 64 * N as i32 - 4;
        let larger = if p.abs() > q.abs() { p.clone() } else { q.clone() };
        close(&rational(x + y), &(&p + &q), &larger, bits);
        close(&rational(x - y), &(&p - &q), &larger, bits);
        // What a product leaves out is N units of the last place, and twice that where its first bit is not set.
        close(&rational(x * y), &(&p * &q), &(&p * &q), 64 * N as i32 - 2 - N.ilog2() as i32);
        close(&rational(x.reciprocal()), &p.recip(), &p.recip(), bits - 2);
        let root = rational(x.abs().sqrt());
        close(&(&root * &root), &p.abs(), &p, bits - 3);
        assert!((x - x).is_zero() && rational(x - x).is_zero());
        let (wider, narrower) = (x.resize::<9>(), x.resize::<1>());
        assert_eq!(rational(wider), p);
        close(&rational(narrower), &p, &p, 63);
        for unit in [ea - 700, ea - 64, ea - 3] {
            let whole = Float::<N>::from_wide(&x.to_wide(unit), unit);
            let step = rational(Float::<N>::from_f64(1.0).scale(unit));
            assert!((rational(whole) - p.abs()).abs() <= step, "{whole:?} for {x:?}");
        }
        let double = x.to_f64();
        close(&BigRational::from_float(double).unwrap(), &p, &p, 53);
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(1), ..ProptestConfig::default() })]
        #[test]
        fn arithmetic_is_right_to_the_last_bits(
            a: [u64; 8], b: [u64; 8], ea in -400i64..300, eb in -400i64..300, signs: (bool, bool), near: bool,
        ) {
            let eb = if near { ea + eb % 3 } else { eb };
            check::<2>(a, b, ea, eb, signs);
            check::<4>(a, b, ea, eb, signs);
            check::<8>(a, b, ea, eb, signs);
        }

        #[test]
        fn doubles_go_there_and_back(x: f64) {
            prop_assume!(x.is_finite());
            prop_assert_eq!(Float::<4>::from_f64(x).to_f64(), x);
        }
    }
}

//! Unevaluated sums of two doubles, `hi + lo` with `|lo| ≤ ulp(hi)/2`: about 106 bits.
//!
//! # References
//! Dekker (1971); Knuth, TAOCP 2, 4.2.2; Joldes, Muller & Popescu (2017), algorithms 4, 6, 12 and 17.

/// An unevaluated sum `hi + lo`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DoubleDouble {
    /// The sum rounded to a double.
    pub hi: f64,
    /// What the rounding left.
    pub lo: f64,
}

/// `a + b` exactly, as its rounding and the error of that rounding.
#[inline(always)]
pub fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    let a_part = s - b;
    let b_part = s - a_part;
    (s, (a - a_part) + (b - b_part))
}

/// `a + b` exactly for `|a| ≥ |b|` (or `a = 0`).
#[inline(always)]
pub fn fast_two_sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    (s, b - (s - a))
}

/// `a · b` exactly, as its rounding and the error of that rounding (barring underflow of the error).
#[inline(always)]
pub fn two_product(a: f64, b: f64) -> (f64, f64) {
    let p = a * b;
    (p, a.mul_add(b, -p))
}

impl DoubleDouble {
    /// Zero.
    pub const ZERO: Self = Self { hi: 0.0, lo: 0.0 };
    /// One.
    pub const ONE: Self = Self { hi: 1.0, lo: 0.0 };

    /// The pair `hi + lo`, renormalised.
    #[inline(always)]
    pub fn new(hi: f64, lo: f64) -> Self {
        let (hi, lo) = two_sum(hi, lo);
        Self { hi, lo }
    }

    /// `x` to the power `k ≥ 0`, relative error about `2k · 2⁻¹⁰⁶`.
    #[inline]
    pub fn powi(self, k: u32) -> Self {
        let (mut result, mut base, mut k) = (Self::ONE, self, k);
        while k > 0 {
            if k & 1 == 1 {
                result = result * base;
            }
            k >>= 1;
            if k > 0 {
                base = base * base;
            }
        }
        result
    }

    /// The nearest double.
    #[inline(always)]
    pub fn to_f64(self) -> f64 {
        self.hi + self.lo
    }
}

impl From<f64> for DoubleDouble {
    #[inline(always)]
    fn from(hi: f64) -> Self {
        Self { hi, lo: 0.0 }
    }
}

impl std::ops::Add for DoubleDouble {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let (s, e) = two_sum(self.hi, other.hi);
        let (t, f) = two_sum(self.lo, other.lo);
        let (s, e) = fast_two_sum(s, e + t);
        let (hi, lo) = fast_two_sum(s, e + f);
        Self { hi, lo }
    }
}

impl std::ops::Neg for DoubleDouble {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self { hi: -self.hi, lo: -self.lo }
    }
}

impl std::ops::Sub for DoubleDouble {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl std::ops::Mul for DoubleDouble {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let (p, e) = two_product(self.hi, other.hi);
        let e = e + self.lo.mul_add(other.hi, self.hi * other.lo);
        let (hi, lo) = fast_two_sum(p, e);
        Self { hi, lo }
    }
}

impl std::ops::Div for DoubleDouble {
    type Output = Self;
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        let quotient = self.hi / other.hi;
        if !quotient.is_finite() || quotient == 0.0 {
            return Self::from(quotient);
        }
        let rest = self - other * Self::from(quotient);
        let correction = rest.hi / other.hi;
        let rest = rest - other * Self::from(correction);
        let (hi, lo) = fast_two_sum(quotient, correction);
        Self::new(hi, lo + rest.hi / other.hi)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_integers_are_exact_up_to_106_bits() {
        let x = DoubleDouble::from(1059.0).powi(10);
        // 1059^10 = 1774086889106204946184716... has 101 bits.
        let exact: u128 = (0..10).fold(1u128, |p, _| p * 1059);
        assert_eq!(x.hi as u128 as i128 + x.lo as i128, exact as i128);
    }

    #[test]
    fn division_undoes_multiplication() {
        let a = DoubleDouble::new(1.0, 2f64.powi(-70));
        let b = DoubleDouble::new(3.0, -2f64.powi(-60));
        let back = a * b / b - a;
        assert!(back.to_f64().abs() < 2f64.powi(-100));
    }
}

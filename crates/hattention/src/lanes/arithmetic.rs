//! The two arithmetics of a window: doubles, and pairs of doubles, on all lanes of a vector at once.

use pulp::Simd;

/// What the kernel computes in. Every operation is lane by lane, so results do not depend on the width of vectors.
pub(super) trait Arithmetic: Copy {
    type Simd: Simd;
    /// One number a lane.
    type Number: Copy;
    /// Vectors that a number takes in memory.
    const PARTS: usize;
    /// A bound of the relative error of an operation.
    const UNIT: f64;

    fn simd(self) -> Self::Simd;
    fn of(self, x: Vector<Self>) -> Self::Number;
    /// The number rounded to doubles.
    fn high(self, x: Self::Number) -> Vector<Self>;
    fn add(self, a: Self::Number, b: Self::Number) -> Self::Number;
    fn sub(self, a: Self::Number, b: Self::Number) -> Self::Number;
    fn mul(self, a: Self::Number, b: Self::Number) -> Self::Number;
    fn div(self, a: Self::Number, b: Self::Number) -> Self::Number;
    fn sqrt(self, a: Self::Number) -> Self::Number;
    /// `a b + c`.
    fn mul_add(self, a: Self::Number, b: Self::Number, c: Self::Number) -> Self::Number;
    /// `c − a b`.
    fn sub_mul(self, a: Self::Number, b: Self::Number, c: Self::Number) -> Self::Number;
    /// `hi − shift + lo`.
    fn shifted(self, hi: Vector<Self>, lo: Option<Vector<Self>>, shift: Vector<Self>) -> Self::Number;
    /// The number from its leading part and the rest.
    fn pair(self, hi: Vector<Self>, lo: Vector<Self>) -> Self::Number;
    fn load(self, memory: &[Vector<Self>], at: usize) -> Self::Number;
    fn store(self, memory: &mut [Vector<Self>], at: usize, x: Self::Number);

    #[inline(always)]
    fn splat(self, x: f64) -> Self::Number {
        self.of(self.simd().splat_f64s(x))
    }
}

/// A vector of doubles of the machine that an arithmetic works on.
pub(super) type Vector<A> = <<A as Arithmetic>::Simd as Simd>::f64s;

/// Doubles.
#[derive(Clone, Copy)]
pub(super) struct Plain<S>(pub(super) S);

impl<S: Simd> Arithmetic for Plain<S> {
    type Simd = S;
    type Number = S::f64s;
    const PARTS: usize = 1;
    const UNIT: f64 = f64::EPSILON / 2.0;

    #[inline(always)]
    fn simd(self) -> S {
        self.0
    }
    #[inline(always)]
    fn of(self, x: S::f64s) -> S::f64s {
        x
    }
    #[inline(always)]
    fn high(self, x: S::f64s) -> S::f64s {
        x
    }
    #[inline(always)]
    fn add(self, a: S::f64s, b: S::f64s) -> S::f64s {
        self.0.add_f64s(a, b)
    }
    #[inline(always)]
    fn sub(self, a: S::f64s, b: S::f64s) -> S::f64s {
        self.0.sub_f64s(a, b)
    }
    #[inline(always)]
    fn mul(self, a: S::f64s, b: S::f64s) -> S::f64s {
        self.0.mul_f64s(a, b)
    }
    #[inline(always)]
    fn div(self, a: S::f64s, b: S::f64s) -> S::f64s {
        self.0.div_f64s(a, b)
    }
    #[inline(always)]
    fn sqrt(self, a: S::f64s) -> S::f64s {
        self.0.sqrt_f64s(a)
    }
    #[inline(always)]
    fn mul_add(self, a: S::f64s, b: S::f64s, c: S::f64s) -> S::f64s {
        self.0.mul_add_f64s(a, b, c)
    }
    #[inline(always)]
    fn sub_mul(self, a: S::f64s, b: S::f64s, c: S::f64s) -> S::f64s {
        self.0.mul_add_f64s(self.0.neg_f64s(a), b, c)
    }
    #[inline(always)]
    fn shifted(self, hi: S::f64s, lo: Option<S::f64s>, shift: S::f64s) -> S::f64s {
        let z = self.0.sub_f64s(hi, shift);
        match lo {
            Some(lo) => self.0.add_f64s(z, lo),
            None => z,
        }
    }
    #[inline(always)]
    fn pair(self, hi: S::f64s, _: S::f64s) -> S::f64s {
        hi
    }
    #[inline(always)]
    fn load(self, memory: &[S::f64s], at: usize) -> S::f64s {
        memory[at]
    }
    #[inline(always)]
    fn store(self, memory: &mut [S::f64s], at: usize, x: S::f64s) {
        memory[at] = x;
    }
}

/// Unevaluated sums of two doubles.
#[derive(Clone, Copy)]
pub(super) struct Doubled<S>(pub(super) S);

impl<S: Simd> Doubled<S> {
    /// Knuth's exact sum.
    #[inline(always)]
    fn two_sum(self, a: S::f64s, b: S::f64s) -> (S::f64s, S::f64s) {
        let s = self.0;
        let sum = s.add_f64s(a, b);
        let a_part = s.sub_f64s(sum, b);
        let b_part = s.sub_f64s(sum, a_part);
        (sum, s.add_f64s(s.sub_f64s(a, a_part), s.sub_f64s(b, b_part)))
    }

    /// Dekker's exact sum for `|a| ≥ |b|`.
    #[inline(always)]
    fn fast_two_sum(self, a: S::f64s, b: S::f64s) -> (S::f64s, S::f64s) {
        let sum = self.0.add_f64s(a, b);
        (sum, self.0.sub_f64s(b, self.0.sub_f64s(sum, a)))
    }

    #[inline(always)]
    fn negative(self, a: (S::f64s, S::f64s)) -> (S::f64s, S::f64s) {
        (self.0.neg_f64s(a.0), self.0.neg_f64s(a.1))
    }
}

impl<S: Simd> Arithmetic for Doubled<S> {
    type Simd = S;
    type Number = (S::f64s, S::f64s);
    const PARTS: usize = 2;
    /// 2⁻¹⁰²; the operations below lose at most a few units of 2⁻¹⁰⁶.
    const UNIT: f64 = 1.0 / (1u128 << 102) as f64;

    #[inline(always)]
    fn simd(self) -> S {
        self.0
    }
    #[inline(always)]
    fn of(self, x: S::f64s) -> Self::Number {
        (x, self.0.splat_f64s(0.0))
    }
    #[inline(always)]
    fn high(self, x: Self::Number) -> S::f64s {
        x.0
    }
    #[inline(always)]
    fn add(self, a: Self::Number, b: Self::Number) -> Self::Number {
        let (sum, error) = self.two_sum(a.0, b.0);
        let (low, low_error) = self.two_sum(a.1, b.1);
        let (sum, error) = self.fast_two_sum(sum, self.0.add_f64s(error, low));
        self.fast_two_sum(sum, self.0.add_f64s(error, low_error))
    }
    #[inline(always)]
    fn sub(self, a: Self::Number, b: Self::Number) -> Self::Number {
        self.add(a, self.negative(b))
    }
    #[inline(always)]
    fn mul(self, a: Self::Number, b: Self::Number) -> Self::Number {
        let s = self.0;
        let product = s.mul_f64s(a.0, b.0);
        let error = s.mul_add_f64s(a.0, b.0, s.neg_f64s(product));
        let cross = s.mul_add_f64s(a.1, b.0, s.mul_f64s(a.0, b.1));
        self.fast_two_sum(product, s.add_f64s(error, cross))
    }
    #[inline(always)]
    fn div(self, a: Self::Number, b: Self::Number) -> Self::Number {
        let quotient = self.0.div_f64s(a.0, b.0);
        let rest = self.sub(a, self.mul(b, self.of(quotient)));
        let correction = self.0.div_f64s(rest.0, b.0);
        let rest = self.sub(rest, self.mul(b, self.of(correction)));
        let (hi, lo) = self.fast_two_sum(quotient, correction);
        self.fast_two_sum(hi, self.0.add_f64s(lo, self.0.div_f64s(rest.0, b.0)))
    }
    #[inline(always)]
    fn sqrt(self, a: Self::Number) -> Self::Number {
        // Two steps of Newton's from the root in doubles: 106 bits, and a zero has no root, as it has no reciprocal.
        let root = self.of(self.0.sqrt_f64s(a.0));
        let half = self.splat(0.5);
        let root = self.mul(half, self.add(root, self.div(a, root)));
        self.mul(half, self.add(root, self.div(a, root)))
    }
    #[inline(always)]
    fn mul_add(self, a: Self::Number, b: Self::Number, c: Self::Number) -> Self::Number {
        self.add(self.mul(a, b), c)
    }
    #[inline(always)]
    fn sub_mul(self, a: Self::Number, b: Self::Number, c: Self::Number) -> Self::Number {
        self.sub(c, self.mul(a, b))
    }
    #[inline(always)]
    fn shifted(self, hi: S::f64s, lo: Option<S::f64s>, shift: S::f64s) -> Self::Number {
        let z = self.two_sum(hi, self.0.neg_f64s(shift));
        match lo {
            Some(lo) => self.add(z, self.of(lo)),
            None => z,
        }
    }
    #[inline(always)]
    fn pair(self, hi: S::f64s, lo: S::f64s) -> Self::Number {
        (hi, lo)
    }
    #[inline(always)]
    fn load(self, memory: &[S::f64s], at: usize) -> Self::Number {
        (memory[2 * at], memory[2 * at + 1])
    }
    #[inline(always)]
    fn store(self, memory: &mut [S::f64s], at: usize, x: Self::Number) {
        (memory[2 * at], memory[2 * at + 1]) = x;
    }
}

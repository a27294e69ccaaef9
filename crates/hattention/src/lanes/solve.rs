//! From the state of a window to its factor, coefficients and errors, and the prediction of the next row.

use pulp::Simd;

use super::arithmetic::{Arithmetic, Plain, Vector};
use super::kernel::{LANES, Shape};

/// Rounding errors that sums of products are taken to have, in units of their arithmetic: 256 terms of both signs of
/// error leave sixteen.
const ROUNDINGS: f64 = 16.0;
/// How much farther from dependence than its tolerance a column must be to need no exact judgement: distances are known
/// to what is promised here, 1e-10 or better.
const CLEAR: f64 = 4.0;
/// Sums of squares near this lose digits to the end of the doubles.
const LEAST_SQUARE: f64 = 1e-200;

/// Where a solution lives.
pub(super) struct Memory<'m, A: Arithmetic> {
    /// The row at hand, less the shifts. Shape: `[fields]`.
    pub(super) z: &'m mut [Vector<A>],
    /// Lower triangle of Cholesky's factor; its diagonal holds reciprocals.
    factor: &'m mut [Vector<A>],
    /// Lower triangle of the factor's inverse: keys over columns.
    inverse: &'m mut [Vector<A>],
    /// Means less the shifts. Shape: `[fields]`.
    means: &'m mut [Vector<A>],
    /// Shape: `[columns]`.
    keys: &'m mut [Vector<A>],
    /// `Ω_jj`. Shape: `[columns]`.
    omega: &'m mut [Vector<A>],
    /// Shape: `[targets][columns]`.
    slopes: &'m mut [Vector<A>],
    /// Shape: `[targets]`.
    sigma: &'m mut [Vector<A>],
}

impl<'m, A: Arithmetic> Memory<'m, A> {
    /// Numbers that a solution takes.
    pub(super) fn size(shape: &Shape) -> usize {
        2 * shape.fields() + 2 * shape.triangle() + 2 * shape.columns + (shape.columns + 1) * shape.targets
    }

    #[inline(always)]
    pub(super) fn of(shape: &Shape, memory: &'m mut [Vector<A>]) -> Self {
        let (z, rest) = memory.split_at_mut(shape.fields() * A::PARTS);
        let (means, rest) = rest.split_at_mut(shape.fields() * A::PARTS);
        let (factor, rest) = rest.split_at_mut(shape.triangle() * A::PARTS);
        let (inverse, rest) = rest.split_at_mut(shape.triangle() * A::PARTS);
        let (keys, rest) = rest.split_at_mut(shape.columns * A::PARTS);
        let (omega, rest) = rest.split_at_mut(shape.columns * A::PARTS);
        let (slopes, sigma) = rest.split_at_mut(shape.columns * shape.targets * A::PARTS);
        Self { z, factor, inverse, means, keys, omega, slopes, sigma }
    }
}

/// The latest window of a vector of lanes.
pub(super) struct Solution<'m, A: Arithmetic> {
    a: A,
    shape: &'m Shape,
    pub(super) memory: Memory<'m, A>,
    shifts: &'m [Vector<A>],
    vector: usize,
    /// `1/Σw`.
    constant: A::Number,
}

impl<'m, A: Arithmetic> Solution<'m, A> {
    #[inline(always)]
    pub(super) fn of(a: A, shape: &'m Shape, memory: Memory<'m, A>, shifts: &'m [f64], vector: usize) -> Self {
        let shifts = <A::Simd as Simd>::as_simd_f64s(shifts).0;
        Self { a, shape, memory, shifts, vector, constant: a.splat(0.0) }
    }

    #[inline(always)]
    fn shift(&self, field: usize) -> A::Number {
        self.a.of(self.shifts[self.place(field)])
    }

    #[inline(always)]
    fn place(&self, i: usize) -> usize {
        i * (LANES / <A::Simd as Simd>::F64_LANES) + self.vector
    }

    /// Predicts the row at hand from the window before it: `ŷ`, `σ√(1+h)`, and `√v (y − ŷ)/√(1 + v h)`.
    #[inline(always)]
    pub(super) fn predict(&mut self, weight: Vector<A>, out: &mut [Vector<A>]) {
        let (a, p) = (self.a, self.shape.columns);
        let one = a.splat(1.0);
        let mut leverage = if self.shape.intercept { self.constant } else { a.splat(0.0) };
        for i in 0..p {
            let mut key = a.splat(0.0);
            for j in 0..=i {
                let centred = a.sub(a.load(self.memory.z, j), a.load(self.memory.means, j));
                key = a.mul_add(a.load(self.memory.inverse, i * (i + 1) / 2 + j), centred, key);
            }
            leverage = a.mul_add(key, key, leverage);
        }
        let root = a.of(a.simd().sqrt_f64s(weight));
        let weight = a.of(weight);
        let spread = a.sqrt(a.add(one, leverage));
        let scale = a.div(root, a.sqrt(a.mul_add(weight, leverage, one)));
        for target in 0..self.shape.targets {
            let near = self.near(target);
            let surprise = a.sub(a.load(self.memory.z, p + target), near);
            let start = self.values_of(target) + 2 * self.shape.coefficients();
            let predicted = a.add(self.shift(p + target), near);
            let error = a.mul(a.load(self.memory.sigma, target), spread);
            out[self.place(start + 1)] = a.high(predicted);
            out[self.place(start + 2)] = a.high(error);
            out[self.place(start + 4)] = a.high(a.mul(surprise, scale));
        }
    }

    /// The prediction of the row at hand, less the target's shift.
    #[inline(always)]
    fn near(&self, target: usize) -> A::Number {
        let (a, p) = (self.a, self.shape.columns);
        let mut sum = a.load(self.memory.means, p + target);
        for j in 0..p {
            let centred = a.sub(a.load(self.memory.z, j), a.load(self.memory.means, j));
            sum = a.mul_add(a.load(self.memory.slopes, target * p + j), centred, sum);
        }
        sum
    }

    /// Factors the state and writes what is wanted of the window.
    #[inline(always)]
    pub(super) fn solve(&mut self, state: &[Vector<A>], has_row: bool, out: &mut [Vector<A>]) {
        let (a, shape) = (self.a, self.shape);
        self.constant = a.div(a.splat(1.0), a.load(state, 1));
        let parts = shape.fields() * A::PARTS;
        self.memory.means.copy_from_slice(&state[2 * A::PARTS..2 * A::PARTS + parts]);
        self.factorise(state);
        out[self.place(0)] = self.gap_of_design(state);
        for target in 0..shape.targets {
            let residual = self.slopes(state, target);
            let gap = self.write(state, target, residual, out);
            out[self.place(self.values_of(target) - 1)] = gap;
            if shape.full && has_row {
                let residual = a.sub(a.load(self.memory.z, shape.columns + target), self.near(target));
                let at = self.values_of(target) + 2 * shape.coefficients() + 3;
                out[self.place(at)] = a.high(residual);
            }
        }
    }

    /// Where the values of a target start in the output.
    #[inline(always)]
    fn values_of(&self, target: usize) -> usize {
        2 + target * self.shape.of_target()
    }

    /// `A = L Lᵀ`, `M = L⁻¹`, and the diagonal of `Ω = MᵀM`.
    #[inline(always)]
    fn factorise(&mut self, state: &[Vector<A>]) {
        let (a, p) = (self.a, self.shape.columns);
        let first = 2 + self.shape.fields();
        let Memory { factor, inverse, omega, .. } = &mut self.memory;
        for i in 0..p {
            let row = i * (i + 1) / 2;
            for j in 0..=i {
                let other = j * (j + 1) / 2;
                let mut sum = a.load(state, first + row + j);
                for k in 0..j {
                    sum = a.sub_mul(a.load(factor, row + k), a.load(factor, other + k), sum);
                }
                let entry =
                    if i == j { a.div(a.splat(1.0), a.sqrt(sum)) } else { a.mul(sum, a.load(factor, other + j)) };
                a.store(factor, row + j, entry);
            }
            let pivot = a.load(factor, row + i);
            a.store(inverse, row + i, pivot);
            a.store(omega, i, a.mul(pivot, pivot));
            for j in 0..i {
                let mut sum = a.splat(0.0);
                for k in j..i {
                    sum = a.sub_mul(a.load(factor, row + k), a.load(inverse, k * (k + 1) / 2 + j), sum);
                }
                let entry = a.mul(sum, pivot);
                a.store(inverse, row + j, entry);
                a.store(omega, j, a.mul_add(entry, entry, a.load(omega, j)));
            }
        }
    }

    /// Slopes of a target, and its residual sum of squares.
    #[inline(always)]
    fn slopes(&mut self, state: &[Vector<A>], target: usize) -> A::Number {
        let (a, p) = (self.a, self.shape.columns);
        let start = self.shape.products(p + target);
        let Memory { inverse, keys, slopes, .. } = &mut self.memory;
        let mut residual = a.load(state, start + p);
        for i in 0..p {
            let mut key = a.splat(0.0);
            for j in 0..=i {
                key = a.mul_add(a.load(inverse, i * (i + 1) / 2 + j), a.load(state, start + j), key);
            }
            a.store(keys, i, key);
            residual = a.sub_mul(key, key, residual);
        }
        for j in 0..p {
            let mut slope = a.splat(0.0);
            for i in j..p {
                slope = a.mul_add(a.load(inverse, i * (i + 1) / 2 + j), a.load(keys, i), slope);
            }
            a.store(slopes, target * p + j, slope);
        }
        residual
    }

    /// Writes coefficients and errors of a target; returns how far these may be from what is promised, as a multiple.
    #[inline(always)]
    fn write(&mut self, state: &[Vector<A>], target: usize, residual: A::Number, out: &mut [Vector<A>]) -> Vector<A> {
        let (a, shape) = (self.a, self.shape);
        let (p, count) = (shape.columns, shape.coefficients());
        let start = self.values_of(target);
        let df = a.sub(a.load(state, 0), a.splat(count as f64));
        let sigma = a.sqrt(a.div(residual, df));
        a.store(self.memory.sigma, target, sigma);
        let offset = shape.intercept as usize;
        for j in 0..p {
            out[self.place(start + offset + j)] = a.high(a.load(self.memory.slopes, target * p + j));
            if shape.full {
                let error = a.mul(sigma, a.sqrt(a.load(self.memory.omega, j)));
                out[self.place(start + count + offset + j)] = a.high(error);
            }
        }
        if shape.full {
            out[self.place(start + 2 * count)] = a.high(sigma);
        }
        let constant = if shape.intercept {
            let mut constant = a.add(self.shift(p + target), a.load(self.memory.means, p + target));
            for j in 0..p {
                let mean = a.add(self.shift(j), a.load(self.memory.means, j));
                constant = a.sub_mul(a.load(self.memory.slopes, target * p + j), mean, constant);
            }
            // The constant's own variance: its share, and the keys of the mean.
            let mut variance = self.constant;
            for i in 0..p {
                let mut key = a.splat(0.0);
                for j in 0..=i {
                    let mean = a.add(self.shift(j), a.load(self.memory.means, j));
                    key = a.mul_add(a.load(self.memory.inverse, i * (i + 1) / 2 + j), mean, key);
                }
                variance = a.mul_add(key, key, variance);
            }
            let root = a.sqrt(variance);
            out[self.place(start)] = a.high(constant);
            if shape.full {
                out[self.place(start + count)] = a.high(a.mul(sigma, root));
            }
            Some((a.high(constant), a.high(root)))
        } else {
            None
        };
        self.gap_of_target(state, target, a.high(residual), constant)
    }

    /// The relative error of products and of their factor: roundings of both signs, and what the shift's distance adds.
    #[inline(always)]
    fn error_of_products(&self, state: &[Vector<A>]) -> Vector<A> {
        let (a, f) = (self.a, Plain(self.a.simd()));
        let mut shifted = f.splat(0.0);
        for j in 0..self.shape.columns {
            let mean = a.high(a.load(self.memory.means, j));
            let own = a.high(a.load(state, self.shape.products(j) + j));
            shifted = f.add(shifted, f.div(f.mul(mean, mean), own));
        }
        let weight = a.high(a.load(state, 1));
        let far = f.sqrt(f.mul_add(weight, shifted, f.splat(1.0)));
        f.mul(f.splat((ROUNDINGS + (self.shape.columns as f64).sqrt()) * A::UNIT), far)
    }

    /// `Σ VIF_j`, a bound of the norm of the inverse of the scaled products.
    #[inline(always)]
    fn inflation(&self, state: &[Vector<A>]) -> Vector<A> {
        let (a, f) = (self.a, Plain(self.a.simd()));
        let mut sum = f.splat(0.0);
        for j in 0..self.shape.columns {
            let own = a.high(a.load(state, self.shape.products(j) + j));
            sum = f.mul_add(a.high(a.load(self.memory.omega, j)), own, sum);
        }
        sum
    }

    /// Errors of `Ω`, and nearness to dependence: a column's tolerance over its distance from the earlier ones.
    ///
    /// Sums, not maxima: a NaN must not be lost.
    #[inline(always)]
    fn gap_of_design(&self, state: &[Vector<A>]) -> Vector<A> {
        let (a, f) = (self.a, Plain(self.a.simd()));
        let relative = f.mul(self.error_of_products(state), self.inflation(state));
        let mut gap = f.mul(relative, f.splat(1.0 / self.shape.promise.relative()));
        let weight = a.high(a.load(state, 1));
        for j in 0..self.shape.columns {
            let mean = f.add(self.shifts[self.place(j)], a.high(a.load(self.memory.means, j)));
            let own = a.high(a.load(state, self.shape.products(j) + j));
            let length = f.sqrt(f.mul_add(f.mul(weight, mean), mean, own));
            gap = f.add(gap, f.div(f.splat(LEAST_SQUARE), own));
            let unit = f.mul(f.splat(CLEAR * self.shape.units[j]), length);
            for i in j..self.shape.columns {
                let entry = a.high(a.load(self.memory.inverse, i * (i + 1) / 2 + j));
                gap = f.mul_add(self.a.simd().abs_f64s(entry), unit, gap);
            }
        }
        gap
    }

    /// Errors of the coefficients and of the residual sum. What the products' errors leave of the normal equations is
    /// `δ ‖x_k‖ √(‖y‖² + Σ β² ‖x‖²)` for column `k`, of either sign, so that `δβ_j` is
    /// `√Ω_jj √(Σ VIF) δ √(‖y‖² + Σ β² ‖x‖²)`.
    #[inline(always)]
    fn gap_of_target(
        &self,
        state: &[Vector<A>],
        target: usize,
        residual: Vector<A>,
        constant: Option<(Vector<A>, Vector<A>)>,
    ) -> Vector<A> {
        let (a, f) = (self.a, Plain(self.a.simd()));
        let simd = self.a.simd();
        let p = self.shape.columns;
        let (weight, mean) = (a.high(a.load(state, 1)), a.high(a.load(self.memory.means, p + target)));
        let own = a.high(a.load(state, self.shape.products(p + target) + p));
        let mut square = f.mul_add(f.mul(weight, mean), mean, own);
        for j in 0..p {
            let slope = a.high(a.load(self.memory.slopes, target * p + j));
            let own = a.high(a.load(state, self.shape.products(j) + j));
            square = f.mul_add(f.mul(slope, slope), own, square);
        }
        let error = self.error_of_products(state);
        let residual = simd.abs_f64s(residual);
        let variance = f.div(residual, a.high(a.load(state, 0)));
        // The part of a coefficient's size that its standard error may be.
        let counted = if self.shape.promise.of_errors() { variance } else { f.splat(0.0) };
        let lost = f.mul_add(error, square, f.splat(LEAST_SQUARE));
        let mut gap = f.div(lost, residual);
        // Squares of the errors over Ω_jj.
        let step = f.mul(f.mul(error, error), f.mul(square, self.inflation(state)));
        let (mut of_slopes, mut of_constant, mut reach) = (f.splat(0.0), f.splat(0.0), f.splat(0.0));
        for j in 0..p {
            let omega = a.high(a.load(self.memory.omega, j));
            let slope = a.high(a.load(self.memory.slopes, target * p + j));
            let own = f.mul_add(slope, slope, f.mul(counted, omega));
            let error = f.mul(step, omega);
            of_slopes = f.add(of_slopes, f.div(error, own));
            let mean = f.add(self.shifts[self.place(j)], a.high(a.load(self.memory.means, j)));
            of_constant = f.mul_add(f.mul(error, mean), mean, of_constant);
            reach = f.add(reach, simd.abs_f64s(f.mul(slope, mean)));
        }
        gap = f.add(gap, f.sqrt(of_slopes));
        if let Some((constant, root)) = constant {
            let rounding = f.splat(A::UNIT * (2.0 + p as f64));
            let known = f.mul_add(f.mul(counted, root), root, f.mul(constant, constant));
            let errors = f.mul_add(rounding, reach, f.sqrt(of_constant));
            gap = f.add(gap, f.div(errors, f.sqrt(known)));
        }
        f.mul(gap, f.splat(1.0 / self.shape.promise.relative()))
    }
}

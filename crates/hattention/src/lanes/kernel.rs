//! Windows of eight chunks of rows at once, a lane each: sums without subtraction, factors, coefficients, predictions.
//!
//! A state is `[rows, Σw, means, centred products]` of the columns less a shift that is near them. Rows are added to it and
//! states are joined by positive terms only (Welford; Chan, Golub & LeVeque 1983); nothing is ever taken out.

use pulp::{Simd, WithSimd};

use super::arithmetic::{Arithmetic, Doubled, Plain, Vector};
use super::solve::{Memory, Solution};

/// Chunks that are worked on together.
pub(crate) const LANES: usize = 8;
/// Keeps `0/0` of empty states at zero; no weight that matters is changed by it.
const TINY: f64 = 1e-290;

/// What the windows of a series, or groups of one design, have in common.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Columns of the design, without the intercept.
    pub(crate) columns: usize,
    pub(crate) targets: usize,
    pub(crate) intercept: bool,
    /// By what older rows count less with every row.
    pub(crate) decay: f64,
    /// Relative precision of the entries of each column of the design.
    pub(crate) units: Vec<f64>,
    /// Errors and predictions are wanted too.
    pub(crate) full: bool,
    /// What is asked of the numbers.
    pub(crate) promise: Promise,
}

/// How exact coefficients and errors are to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Promise {
    /// Coefficients to this much of themselves or of their standard error, whichever is larger.
    OfErrors(f64),
    /// Coefficients to this much of themselves.
    OfThemselves(f64),
}

impl Promise {
    /// The relative error.
    pub(crate) fn relative(self) -> f64 {
        match self {
            Self::OfErrors(relative) | Self::OfThemselves(relative) => relative,
        }
    }

    /// Whether a coefficient's standard error counts as its size.
    pub(crate) fn of_errors(self) -> bool {
        matches!(self, Self::OfErrors(_))
    }
}

impl Shape {
    /// Columns of the design and targets.
    pub(crate) fn fields(&self) -> usize {
        self.columns + self.targets
    }

    /// Columns of the rows as the kernel reads them: the fields, the weight, whether the row counts.
    pub(crate) fn width(&self) -> usize {
        self.fields() + 2
    }

    pub(crate) fn triangle(&self) -> usize {
        self.columns * (self.columns + 1) / 2
    }

    /// Numbers of a state.
    pub(crate) fn state(&self) -> usize {
        self.products(self.fields())
    }

    /// Where the products of a field start in a state: with the design's columns up to itself, with itself last.
    pub(crate) fn products(&self, field: usize) -> usize {
        let (p, start) = (self.columns, 2 + self.fields());
        match field.checked_sub(p) {
            None => start + field * (field + 1) / 2,
            Some(target) => start + self.triangle() + target * (p + 1),
        }
    }

    pub(crate) fn coefficients(&self) -> usize {
        self.columns + self.intercept as usize
    }

    /// Numbers of a target in the output of a window: how far it is from what is promised, then its values.
    pub(crate) fn of_target(&self) -> usize {
        1 + self.values()
    }

    /// Columns of the result for a target: coefficients and, if wanted, their errors, σ, the prediction, its error, the
    /// residual, the recursive residual.
    pub(crate) fn values(&self) -> usize {
        if self.full { 2 * self.coefficients() + 5 } else { self.coefficients() }
    }

    /// Numbers of a window in the output: how far its design is from what is promised, then those of the targets.
    pub(crate) fn output(&self) -> usize {
        1 + self.targets * self.of_target()
    }
}

/// Rows of eight chunks.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// Shape: `[rows][width][8]`.
    pub(crate) hi: &'a [f64],
    /// What the fields' doubles round away. Shape: `[rows][fields][8]`.
    pub(crate) lo: Option<&'a [f64]>,
    pub(crate) count: usize,
}

/// The states of eight chunks, in doubled arithmetic, their means less the shifts.
pub(crate) struct Sums<'a> {
    pub(crate) shape: &'a Shape,
    pub(crate) rows: Rows<'a>,
    /// Shape: `[fields][8]`.
    pub(crate) shifts: &'a [f64],
    pub(crate) memory: &'a mut Vec<f64>,
    /// Shape: `[state][2][8]`.
    pub(crate) states: &'a mut [f64],
}

/// The windows that end in the rows of eight chunks.
pub(crate) struct Windows<'a> {
    pub(crate) shape: &'a Shape,
    pub(crate) front: Rows<'a>,
    /// The rows that the windows leave behind, one with each row of the front.
    pub(crate) back: Option<Rows<'a>>,
    /// Shape: `[fields][8]`.
    pub(crate) shifts: &'a [f64],
    /// States of what is seen beside, their means less the shifts. Shape: `[state][2][8]`.
    pub(crate) base: &'a [f64],
    pub(crate) doubled: bool,
    pub(crate) memory: &'a mut Vec<f64>,
    /// The window before the first row, and those that end in each row. Shape: `[1 + rows][output][8]`.
    pub(crate) out: &'a mut [f64],
}

/// Sums of chunks.
pub(crate) fn sums(job: Sums<'_>) {
    pulp::Arch::new().dispatch(job);
}

/// Windows of chunks.
pub(crate) fn windows(job: Windows<'_>) {
    pulp::Arch::new().dispatch(job);
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let a = Doubled(simd);
        for vector in 0..LANES / S::F64_LANES {
            let source = Source::<Doubled<S>>::of(self.shape, self.rows, self.shifts, vector);
            self.memory.resize((self.shape.state() + 2 * self.shape.fields()) * 2 * S::F64_LANES, 0.0);
            let memory = S::as_mut_simd_f64s(self.memory).0;
            memory.fill(simd.splat_f64s(0.0));
            let (state, rest) = memory.split_at_mut(2 * self.shape.state());
            let (z, scaled) = rest.split_at_mut(2 * self.shape.fields());
            for row in 0..self.rows.count {
                let (weight, counted) = source.read(a, row, z);
                push(a, self.shape, state, z, scaled, weight, counted);
            }
            let states = S::as_mut_simd_f64s(self.states).0;
            for (i, part) in state.iter().enumerate() {
                states[i * (LANES / S::F64_LANES) + vector] = *part;
            }
        }
    }
}

impl WithSimd for Windows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for vector in 0..LANES / S::F64_LANES {
            if self.doubled {
                self.run(Doubled(simd), vector);
            } else {
                self.run(Plain(simd), vector);
            }
        }
    }
}

impl Windows<'_> {
    #[inline(always)]
    fn run<A: Arithmetic>(&mut self, a: A, vector: usize) {
        let (shape, size) = (self.shape, self.shape.state());
        let lanes = <A::Simd as Simd>::F64_LANES;
        let suffixes = if self.back.is_some() { (self.front.count + 1) * size } else { 0 };
        let joined = if self.back.is_some() { size } else { 0 };
        let own = suffixes + joined + size + shape.fields();
        self.memory.resize((own + Memory::<A>::size(shape)) * A::PARTS * lanes, 0.0);
        let memory = <A::Simd as Simd>::as_mut_simd_f64s(self.memory).0;
        let (suffix, rest) = memory.split_at_mut(suffixes * A::PARTS);
        let (joined, rest) = rest.split_at_mut(joined * A::PARTS);
        let (state, rest) = rest.split_at_mut(size * A::PARTS);
        let (scaled, rest) = rest.split_at_mut(shape.fields() * A::PARTS);
        let mut found = Solution::of(a, shape, Memory::of(shape, rest), self.shifts, vector);
        if let Some(back) = self.back {
            let source = Source::<A>::of(shape, back, self.shifts, vector);
            suffix_sums(a, shape, &source, suffix, found.memory.z, scaled);
        }
        let base = <A::Simd as Simd>::as_simd_f64s(self.base).0;
        let per_row = LANES / lanes;
        for i in 0..size {
            let (hi, lo) = (base[2 * i * per_row + vector], base[(2 * i + 1) * per_row + vector]);
            a.store(state, i, a.pair(hi, lo));
        }
        let source = Source::<A>::of(shape, self.front, self.shifts, vector);
        let out = <A::Simd as Simd>::as_mut_simd_f64s(self.out).0;
        let step = shape.output() * per_row;
        let stride = size * A::PARTS;
        for row in 0..=self.front.count {
            let out = &mut out[row * step..(row + 1) * step];
            if row > 0 {
                let (weight, counted) = source.read(a, row - 1, found.memory.z);
                if shape.full {
                    found.predict(weight, out);
                }
                push(a, shape, state, found.memory.z, scaled, weight, counted);
            }
            if self.back.is_some() {
                join(a, shape, state, &suffix[row * stride..(row + 1) * stride], joined);
                found.solve(joined, row > 0, out);
            } else {
                found.solve(state, row > 0, out);
            }
        }
    }
}

/// One vector of lanes of the rows.
struct Source<'a, A: Arithmetic> {
    hi: &'a [Vector<A>],
    lo: Option<&'a [Vector<A>]>,
    shifts: &'a [Vector<A>],
    fields: usize,
    vector: usize,
}

impl<'a, A: Arithmetic> Source<'a, A> {
    #[inline(always)]
    fn of(shape: &Shape, rows: Rows<'a>, shifts: &'a [f64], vector: usize) -> Self {
        let lo = rows.lo.map(|lo| <A::Simd as Simd>::as_simd_f64s(lo).0);
        let hi = <A::Simd as Simd>::as_simd_f64s(rows.hi).0;
        let shifts = <A::Simd as Simd>::as_simd_f64s(shifts).0;
        Self { hi, lo, shifts, fields: shape.fields(), vector }
    }

    /// The fields of a row less their shifts, to `z`; its weight and count.
    #[inline(always)]
    fn read(&self, a: A, row: usize, z: &mut [Vector<A>]) -> (Vector<A>, Vector<A>) {
        let per_row = LANES / <A::Simd as Simd>::F64_LANES;
        let start = row * (self.fields + 2);
        let at = |i: usize| i * per_row + self.vector;
        for field in 0..self.fields {
            let low = self.lo.map(|lo| lo[at(row * self.fields + field)]);
            a.store(z, field, a.shifted(self.hi[at(start + field)], low, self.shifts[at(field)]));
        }
        (self.hi[at(start + self.fields)], self.hi[at(start + self.fields + 1)])
    }
}

/// States of the rows from each on, the last of them empty.
#[inline(always)]
fn suffix_sums<A: Arithmetic>(
    a: A,
    shape: &Shape,
    source: &Source<'_, A>,
    suffix: &mut [Vector<A>],
    z: &mut [Vector<A>],
    scaled: &mut [Vector<A>],
) {
    let stride = shape.state() * A::PARTS;
    let rows = suffix.len() / stride - 1;
    suffix[rows * stride..].fill(a.simd().splat_f64s(0.0));
    for row in (0..rows).rev() {
        let (open, done) = suffix.split_at_mut((row + 1) * stride);
        let state = &mut open[row * stride..];
        state.copy_from_slice(&done[..stride]);
        let (weight, counted) = source.read(a, row, z);
        push(a, shape, state, z, scaled, weight, counted);
    }
}

/// `state ← γ state + row`.
#[inline(always)]
fn push<A: Arithmetic>(
    a: A,
    shape: &Shape,
    state: &mut [Vector<A>],
    z: &[Vector<A>],
    scaled: &mut [Vector<A>],
    weight: Vector<A>,
    counted: Vector<A>,
) {
    let decay = if shape.decay == 1.0 { None } else { Some(a.splat(shape.decay)) };
    let weight = a.of(weight);
    a.store(state, 0, a.add(older(a, a.load(state, 0), decay), a.of(counted)));
    let before = older(a, a.load(state, 1), decay);
    let total = a.add(before, weight);
    a.store(state, 1, total);
    let factor = if shape.intercept {
        let share = a.div(weight, a.add(total, a.splat(TINY)));
        for field in 0..shape.fields() {
            let mean = a.load(state, 2 + field);
            let delta = a.sub(a.load(z, field), mean);
            a.store(state, 2 + field, a.mul_add(delta, share, mean));
            a.store(scaled, field, delta);
        }
        a.mul(before, share)
    } else {
        scaled.copy_from_slice(&z[..scaled.len()]);
        weight
    };
    outer(a, shape, state, scaled, factor, decay);
}

/// A number of a state one row later.
#[inline(always)]
fn older<A: Arithmetic>(a: A, x: A::Number, decay: Option<A::Number>) -> A::Number {
    match decay {
        Some(decay) => a.mul(x, decay),
        None => x,
    }
}

/// `products ← γ products + factor d dᵀ`.
#[inline(always)]
fn outer<A: Arithmetic>(
    a: A,
    shape: &Shape,
    state: &mut [Vector<A>],
    d: &[Vector<A>],
    factor: A::Number,
    decay: Option<A::Number>,
) {
    let mut at = 2 + shape.fields();
    for field in 0..shape.fields() {
        let own = a.load(d, field);
        let scaled = a.mul(factor, own);
        for other in 0..field.min(shape.columns) {
            let old = older(a, a.load(state, at), decay);
            a.store(state, at, a.mul_add(scaled, a.load(d, other), old));
            at += 1;
        }
        let old = older(a, a.load(state, at), decay);
        a.store(state, at, a.mul_add(scaled, own, old));
        at += 1;
    }
}

/// The state of the rows of two states.
#[inline(always)]
fn join<A: Arithmetic>(a: A, shape: &Shape, left: &[Vector<A>], right: &[Vector<A>], joined: &mut [Vector<A>]) {
    let fields = shape.fields();
    a.store(joined, 0, a.add(a.load(left, 0), a.load(right, 0)));
    let (mine, theirs) = (a.load(left, 1), a.load(right, 1));
    let total = a.add(mine, theirs);
    a.store(joined, 1, total);
    let start = 2 + fields;
    if !shape.intercept {
        for i in 2..start {
            a.store(joined, i, a.splat(0.0));
        }
        for i in start..shape.state() {
            a.store(joined, i, a.add(a.load(left, i), a.load(right, i)));
        }
        return;
    }
    let share = a.div(theirs, a.add(total, a.splat(TINY)));
    let factor = a.mul(mine, share);
    for i in 2..start {
        let mean = a.load(left, i);
        let delta = a.sub(a.load(right, i), mean);
        a.store(joined, i, a.mul_add(delta, share, mean));
    }
    let mut at = start;
    for field in 0..fields {
        let own = a.sub(a.load(right, 2 + field), a.load(left, 2 + field));
        let scaled = a.mul(factor, own);
        for other in 0..field.min(shape.columns) {
            let theirs = a.sub(a.load(right, 2 + other), a.load(left, 2 + other));
            let sum = a.add(a.load(left, at), a.load(right, at));
            a.store(joined, at, a.mul_add(scaled, theirs, sum));
            at += 1;
        }
        let sum = a.add(a.load(left, at), a.load(right, at));
        a.store(joined, at, a.mul_add(scaled, own, sum));
        at += 1;
    }
}

//! Columns as planes: every number of a chunk as an integer on one grid, cut into digits of 52 bits.

use super::kernel::{PLANE_BITS, Plane, ZERO_PLANE};
use crate::strided::Strided;

/// One column of a chunk, in the form its planes are cut from.
pub(crate) enum Digits<'a> {
    /// One in every row.
    Constant,
    /// Plain numbers.
    Dense(std::borrow::Cow<'a, [f64]>),
    /// Plain numbers that lie apart.
    Apart(Strided<'a>),
    /// One where the code matches.
    Indicator { codes: &'a [u32], code: u32 },
    /// Sums of integers times powers of two, `terms[t][row] = (m, e)` for `m · 2^e`.
    Sum(Vec<Vec<(i64, i32)>>),
}

/// The grid of one column in one chunk: the number is `2^low · Σ_l plane_l · 2^(52 l)`, less `2^(low + span)` if biased.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Grid {
    /// The exponent of the last bit.
    pub(crate) low: i32,
    /// Magnitudes are below `2^(low + span)`.
    pub(crate) span: u32,
    /// Whether negative numbers occur, so that `2^span` is added to make digits unsigned.
    pub(crate) biased: bool,
    /// Number of planes; zero for a column of zeros.
    pub(crate) planes: usize,
}

impl Grid {
    pub(crate) const ZERO: Self = Self { low: 0, span: 0, biased: false, planes: 0 };

    pub(crate) fn new(low: i32, top: i32, biased: bool) -> Self {
        let span = (top - low) as u32;
        Self { low, span, biased, planes: (span + biased as u32).div_ceil(PLANE_BITS) as usize }
    }

    /// The bits that the given plane may use.
    pub(crate) fn plane_bits(&self, plane: usize) -> u32 {
        if plane + 1 == self.planes { self.span + self.biased as u32 - PLANE_BITS * plane as u32 } else { PLANE_BITS }
    }
}

/// `x = m · 2^e` with `m` odd or zero.
pub(crate) fn integer_and_exponent(x: f64) -> (i64, i32) {
    let bits = x.to_bits();
    let biased_exponent = (bits >> 52 & 0x7ff) as i32;
    let fraction = (bits & ((1 << 52) - 1)) as i64;
    let (magnitude, exponent) =
        if biased_exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, biased_exponent - 1075) };
    if magnitude == 0 {
        return (0, 0);
    }
    let shift = magnitude.trailing_zeros();
    let odd = magnitude >> shift;
    (if bits >> 63 == 1 { -odd } else { odd }, exponent + shift as i32)
}

/// `2^exponent` for normal results.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// Smallest and largest exponents that the vectorised conversion scales without underflow or overflow.
const SAFE_EXPONENTS: std::ops::Range<i32> = -960..960;

impl Digits<'_> {
    /// The grid that holds every number of the column; `None` if one of them is not finite.
    pub(crate) fn grid(&self) -> Option<Grid> {
        match self {
            Self::Constant => Some(Grid::new(0, 1, false)),
            Self::Indicator { .. } => Some(Grid::new(0, 1, false)),
            Self::Dense(values) => dense_grid(values),
            Self::Apart(values) => dense_grid(&values.iter().collect::<Vec<f64>>()),
            Self::Sum(terms) => Some(sum_grid(terms)),
        }
    }

    /// Writes the planes of rows `start .. start + rows` (at most 512); rows beyond are zero.
    pub(crate) fn fill(&self, grid: &Grid, start: usize, rows: usize, planes: &mut [Plane]) {
        debug_assert_eq!(planes.len(), grid.planes);
        if grid.planes == 0 {
            return;
        }
        match self {
            Self::Constant => {
                planes[0] = ZERO_PLANE;
                planes[0].as_flattened_mut()[..rows].fill(1);
            }
            Self::Indicator { codes, code } => {
                let plane = planes[0].as_flattened_mut();
                indicate(&codes[start..start + rows], *code, plane);
                plane[rows..].fill(0);
            }
            Self::Dense(values) => fill_doubles(&values[start..start + rows], grid, planes),
            Self::Apart(values) => {
                fill_doubles(&values.slice(start..start + rows).iter().collect::<Vec<f64>>(), grid, planes);
            }
            Self::Sum(terms) => fill_sum(terms, grid, start, rows, planes),
        }
    }
}

/// Writes the planes of at most 512 numbers; rows beyond are zero.
pub(super) fn fill_doubles(values: &[f64], grid: &Grid, planes: &mut [Plane]) {
    if grid.planes == 0 {
        return;
    }
    if is_safe(grid) {
        return fill_dense(values, grid, planes);
    }
    let terms = vec![values.iter().map(|&x| integer_and_exponent(x)).collect()];
    fill_sum(&terms, grid, 0, values.len(), planes);
}

/// Whether one floor and exact scalings cut the column: up to two planes, far from underflow and overflow.
fn is_safe(grid: &Grid) -> bool {
    grid.planes <= 2
        && SAFE_EXPONENTS.contains(&grid.low)
        && SAFE_EXPONENTS.contains(&(grid.low + grid.span as i32 + 52))
}

/// The exponent bound `|x| < 2^top` and last-bit exponent of the magnitude with these bits.
fn exponents(magnitude_bits: u64) -> (i32, i32) {
    let (m, e) = integer_and_exponent(f64::from_bits(magnitude_bits));
    let field = (magnitude_bits >> 52) as i32;
    (e + 64 - (m as u64).leading_zeros() as i32, field.max(1) - 1075)
}

fn dense_grid(values: &[f64]) -> Option<Grid> {
    let magnitudes = magnitudes(values);
    let wide = magnitudes.grid()?;
    let whole = magnitudes.whole_scale().and_then(|scale| whole_bits(values, scale));
    Some(whole.map_or(wide, |used| magnitudes.whole_grid(used)))
}

/// Bits of the largest magnitude of a column, of the smallest that is not zero, and those that any number has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Magnitudes {
    pub(super) largest: u64,
    pub(super) smallest: u64,
    pub(super) any: u64,
}

impl Magnitudes {
    pub(super) const NONE: Self = Self { largest: 0, smallest: u64::MAX, any: 0 };

    #[inline(always)]
    pub(super) fn include(&mut self, x: f64) {
        const MAGNITUDE: u64 = u64::MAX >> 1;
        let bits = x.to_bits();
        let magnitude = bits & MAGNITUDE;
        self.largest = self.largest.max(magnitude);
        self.smallest = self.smallest.min(if magnitude == 0 { u64::MAX } else { magnitude });
        self.any |= bits;
    }

    fn top(&self) -> i32 {
        exponents(self.largest).0
    }

    fn biased(&self) -> bool {
        self.any >> 63 == 1
    }

    /// The grid that holds any numbers of such magnitudes; `None` if one is not finite.
    pub(super) fn grid(&self) -> Option<Grid> {
        match self.largest {
            0 => Some(Grid::ZERO),
            largest if largest >= 0x7ff << 52 => None,
            _ => Some(Grid::new(exponents(self.smallest).1, self.top(), self.biased())),
        }
    }

    /// What makes all numbers whole if one plane may hold them.
    ///
    /// Most data are integers or short decimals: if 51 bits under the top hold every number, one plane is enough. (Numbers
    /// far below the largest one would vanish in the scaling, and cannot be multiples of such a unit anyway.)
    pub(super) fn whole_scale(&self) -> Option<f64> {
        let finite = self.largest > 0 && self.largest < 0x7ff << 52;
        let (low, top) = if finite { (exponents(self.smallest).1, self.top()) } else { return None };
        let scalable = low > top - 800 && SAFE_EXPONENTS.contains(&(top - 51)) && SAFE_EXPONENTS.contains(&(top + 51));
        scalable.then(|| power_of_two(51 - top))
    }

    /// The grid of numbers that use these bits, once they are whole.
    pub(super) fn whole_grid(&self, used: u64) -> Grid {
        Grid::new(self.top() - 51 + used.trailing_zeros() as i32, self.top(), self.biased())
    }
}

/// The bits used by any of the numbers times `scale`, if all of these are whole; not all are zero.
fn whole_bits(values: &[f64], scale: f64) -> Option<u64> {
    let mut all = 0;
    // Numbers of full length fail in the first few rows: the rest need not be read.
    for part in values.chunks(512) {
        let (fractional, used) = scaled_bits(part, scale);
        if fractional != 0 {
            return None;
        }
        all |= used;
    }
    (all != 0).then_some(all)
}

fn sum_grid(terms: &[Vec<(i64, i32)>]) -> Grid {
    let (mut low, mut top, mut biased) = (i32::MAX, i32::MIN, false);
    for &(m, e) in terms.iter().flatten().filter(|(m, _)| *m != 0) {
        low = low.min(e + m.trailing_zeros() as i32);
        top = top.max(e + 64 - m.unsigned_abs().leading_zeros() as i32);
        biased |= m < 0;
    }
    if low == i32::MAX {
        return Grid::ZERO;
    }
    // A sum of up to four terms needs two bits more than its largest term.
    Grid::new(low, top + if terms.len() > 1 { 2 } else { 0 }, biased)
}

/// One where the code matches, zero elsewhere.
fn indicate(codes: &[u32], code: u32, digits: &mut [u64]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (digit, c) in digits.iter_mut().zip(codes) {
                *digit = (*c == code) as u64;
            }
        },
    )
}

fn magnitudes(values: &[f64]) -> Magnitudes {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            let mut all = Magnitudes::NONE;
            values.iter().for_each(|x| all.include(*x));
            all
        },
    )
}

/// Whether any number times `scale` is not whole, and the bits that they use if they are.
pub(super) fn scaled_bits(values: &[f64], scale: f64) -> (u64, u64) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            let (mut fractional, mut used) = (0u64, 0u64);
            for x in values {
                let t = x * scale;
                fractional |= (t.trunc() != t) as u64;
                used |= (t.abs() + MAGIC).to_bits() & DIGIT;
            }
            (fractional, used)
        },
    )
}

/// `x · scale + bias`, whole and below 2⁵², as an integer.
fn cut_one(values: &[f64], scale: f64, bias: f64, digits: &mut [u64]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (digit, x) in digits.iter_mut().zip(values) {
                *digit = (x * scale + bias + MAGIC).to_bits() & DIGIT;
            }
        },
    )
}

/// The same with `scale` so small that a fraction is left, in units of 2⁻⁵²; a floor leaves it in `0 .. 2⁵²` for
/// negative numbers too.
fn cut_two(values: &[f64], scale: f64, bias: f64, lower: &mut [u64], upper: &mut [u64]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for ((high, low), x) in upper.iter_mut().zip(lower).zip(values) {
                let t = x * scale;
                let floor = t.floor();
                *high = (floor + bias + MAGIC).to_bits() & DIGIT;
                *low = ((t - floor) * MAGIC + MAGIC).to_bits() & DIGIT;
            }
        },
    )
}

/// 2⁵²: adding it to a smaller whole number leaves that in the low bits.
const MAGIC: f64 = 4_503_599_627_370_496.0;
/// The bits of a digit.
const DIGIT: u64 = (1 << 52) - 1;

/// Cuts `x = 2^low (d₀ + 2^52 d₁)`.
fn fill_dense(values: &[f64], grid: &Grid, planes: &mut [Plane]) {
    let last = grid.planes - 1;
    let scale = power_of_two(-(grid.low + 52 * last as i32));
    let bias = if grid.biased { power_of_two((grid.span - PLANE_BITS * last as u32) as i32) } else { 0.0 };
    match planes {
        [only] => cut_one(values, scale, bias, only.as_flattened_mut()),
        [lower, upper] => cut_two(values, scale, bias, lower.as_flattened_mut(), upper.as_flattened_mut()),
        _ => debug_assert!(false, "columns of more planes are cut as sums"),
    }
    for plane in planes {
        plane.as_flattened_mut()[values.len()..].fill(0);
    }
}

fn fill_sum(terms: &[Vec<(i64, i32)>], grid: &Grid, start: usize, rows: usize, planes: &mut [Plane]) {
    const MASK: i64 = (1 << 52) - 1;
    let mut digits = vec![0i64; grid.planes + 1];
    planes.fill(ZERO_PLANE);
    for row in 0..rows {
        digits.fill(0);
        for &(m, e) in terms.iter().map(|term| &term[start + row]).filter(|(m, _)| *m != 0) {
            // Bits under the grid are zeros by its construction.
            let (m, e) = if e < grid.low { (m >> (grid.low - e), grid.low) } else { (m, e) };
            let position = (e - grid.low) as u32;
            let (plane, shift) = ((position / PLANE_BITS) as usize, position % PLANE_BITS);
            let wide = (m.unsigned_abs() as u128) << shift;
            let sign = m.signum();
            for (k, part) in
                [wide as i64 & MASK, (wide >> 52) as i64 & MASK, (wide >> 104) as i64].into_iter().enumerate()
            {
                if part != 0 {
                    digits[plane + k] += sign * part;
                }
            }
        }
        let mut carry = 0i64;
        for (plane, digit) in planes.iter_mut().zip(&digits) {
            let value = digit + carry;
            plane.as_flattened_mut()[row] = (value & MASK) as u64;
            carry = value >> 52;
        }
        if grid.biased {
            // Two's complement of the whole number plus 2^span: flip by adding into the last plane, modulo its width.
            let last = grid.planes - 1;
            let top = &mut planes[last].as_flattened_mut()[row];
            *top = (*top + (1u64 << (grid.span - PLANE_BITS * last as u32))) & MASK as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigInt;
    use proptest::prelude::*;

    fn exact(x: f64, low: i32) -> BigInt {
        let (m, e) = integer_and_exponent(x);
        if m == 0 { BigInt::from(0) } else { BigInt::from(m) << (e - low) as usize }
    }

    fn read(planes: &[Plane], grid: &Grid, row: usize) -> BigInt {
        let mut value = BigInt::from(0);
        for (l, plane) in planes.iter().enumerate() {
            let digit = plane.as_flattened()[row];
            assert!(digit < 1 << grid.plane_bits(l), "digit {digit} of plane {l} in {grid:?}");
            value += BigInt::from(digit) << (52 * l);
        }
        if grid.biased { value - (BigInt::from(1) << grid.span) } else { value }
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(1), ..ProptestConfig::default() })]
        #[test]
        fn planes_hold_every_double_exactly(
            bits in prop::collection::vec(any::<u64>(), 1..40),
            exponent_range in 1u64..2046,
            positive: bool,
        ) {
            let values: Vec<f64> = bits
                .iter()
                .map(|b| {
                    let exponent = (b >> 52) % exponent_range;
                    let sign = if positive { 0 } else { b >> 63 };
                    f64::from_bits(sign << 63 | exponent << 52 | b & ((1 << 52) - 1))
                })
                .collect();
            for scaled in [values.clone(), values.iter().map(|x| (x % 1000.0).round()).collect()] {
                let digits = Digits::Dense(scaled.clone().into());
                let grid = digits.grid().unwrap();
                let mut planes = vec![ZERO_PLANE; grid.planes];
                digits.fill(&grid, 0, scaled.len(), &mut planes);
                for (row, &x) in scaled.iter().enumerate() {
                    prop_assert_eq!(read(&planes, &grid, row), exact(x, grid.low));
                }
            }
            let terms = Digits::Sum(vec![
                values.iter().map(|&x| integer_and_exponent(x)).collect(),
                values.iter().map(|&x| integer_and_exponent(-x * 0.3)).collect(),
            ]);
            let grid = terms.grid().unwrap();
            let mut planes = vec![ZERO_PLANE; grid.planes];
            terms.fill(&grid, 0, values.len(), &mut planes);
            for (row, &x) in values.iter().enumerate() {
                prop_assert_eq!(read(&planes, &grid, row), exact(x, grid.low) + exact(-x * 0.3, grid.low));
            }
        }
    }
}

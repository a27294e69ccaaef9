//! The two inner loops: sums of products of panels, in doubles and in pairs of doubles.

use pulp::{Simd, WithSimd};

/// Outer indices of a panel: three vectors of eight doubles, six of four.
pub(crate) const PANEL: usize = 24;
/// Outer indices of the right factor that a tile takes: with three vectors each they fill the registers.
pub(crate) const TILE: usize = 8;

/// One inner index of a panel.
pub(crate) type Row = [f64; PANEL];
/// Sums of a panel with eight outer indices of another.
pub(crate) type Tile = [Row; TILE];

/// A tile of zeros.
pub(crate) const ZERO_TILE: Tile = [[0.0; PANEL]; TILE];

/// Outer indices of a panel of singles: three vectors of sixteen.
pub(super) const SINGLES: usize = 48;

/// `tile[j][i] += Σ_k left[k][i] · right[k][8 part + j]`, each a chain over k.
pub(crate) fn multiply(left: &[Row], right: &[Row], part: usize, tile: &mut Tile) {
    pulp::Arch::new().dispatch(Multiply { left, right, part, tile });
}

/// [`multiply`] of singles.
pub(crate) fn multiply_singles(
    left: &[[f32; SINGLES]],
    right: &[[f32; SINGLES]],
    part: usize,
    tile: &mut [[f32; SINGLES]; TILE],
) {
    pulp::Arch::new().dispatch(MultiplySingles { left, right, part, tile });
}

/// `hi[j][i] + lo[j][i] = Σ_k left[k][i] · (right_hi + right_lo)[k][8 part + j]` in doubled arithmetic, over zeros.
pub(crate) fn multiply_doubled(left: &[Row], right: (&[Row], &[Row]), part: usize, hi: &mut Tile, lo: &mut Tile) {
    pulp::Arch::new().dispatch(MultiplyDoubled { left, right, part, hi, lo });
}

/// `sum += Σ_k factors[k] · rows[k]` for a row-major matrix, each entry a chain over k.
pub(crate) fn add_rows(rows: &[f64], factors: &[f64], sum: &mut [f64]) {
    pulp::Arch::new().dispatch(AddRows { rows, factors, sum });
}

/// `Σ aᵢ bᵢ` in eight chains, so that the sum is the same in vectors of any width.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    pulp::Arch::new().dispatch(Dot { a, b })
}

/// Forward substitution: row `k` of the target less `block[m][k]` times each earlier row, over `block[k][k]`.
pub(crate) fn substitute(block: &[Row], target: &mut [Row]) {
    pulp::Arch::new().dispatch(Substitute { block, target });
}

struct AddRows<'a> {
    rows: &'a [f64],
    factors: &'a [f64],
    sum: &'a mut [f64],
}

impl WithSimd for AddRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let size = self.sum.len();
        let (sums, rest) = S::as_mut_simd_f64s(self.sum);
        let whole = size - rest.len();
        for (k, factor) in self.factors.iter().enumerate() {
            let row = &self.rows[k * size..(k + 1) * size];
            let f = simd.splat_f64s(*factor);
            for (s, r) in sums.iter_mut().zip(S::as_simd_f64s(&row[..whole]).0) {
                *s = simd.mul_add_f64s(*r, f, *s);
            }
            for (s, r) in rest.iter_mut().zip(&row[whole..]) {
                *s = r.mul_add(*factor, *s);
            }
        }
    }
}

/// Chains of a sum.
const LANES: usize = 8;

struct Dot<'a> {
    a: &'a [f64],
    b: &'a [f64],
}

impl WithSimd for Dot<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let length = self.a.len().min(self.b.len());
        let whole = length / LANES * LANES;
        let (a, b) = (S::as_simd_f64s(&self.a[..whole]).0, S::as_simd_f64s(&self.b[..whole]).0);
        let vectors = LANES / S::F64_LANES;
        let mut sums = [simd.splat_f64s(0.0); LANES];
        if vectors == 1 {
            let mut sum = sums[0];
            for (x, y) in a.iter().zip(b) {
                sum = simd.mul_add_f64s(*x, *y, sum);
            }
            sums[0] = sum;
        } else {
            for (k, (x, y)) in a.iter().zip(b).enumerate() {
                sums[k % vectors] = simd.mul_add_f64s(*x, *y, sums[k % vectors]);
            }
        }
        let lanes: &[f64] = pulp::bytemuck::cast_slice(&sums[..vectors]);
        let rest: f64 = self.a[whole..length].iter().zip(&self.b[whole..length]).map(|(x, y)| x * y).sum();
        lanes.iter().sum::<f64>() + rest
    }
}

struct Substitute<'a> {
    block: &'a [Row],
    target: &'a mut [Row],
}

impl WithSimd for Substitute<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for k in 0..PANEL {
            let (solved, open) = self.target.split_at_mut(k);
            let row = S::as_mut_simd_f64s(&mut open[0]).0;
            for (m, earlier) in solved.iter().enumerate() {
                let factor = simd.splat_f64s(-self.block[m][k]);
                for (t, s) in row.iter_mut().zip(S::as_simd_f64s(earlier).0) {
                    *t = simd.mul_add_f64s(*s, factor, *t);
                }
            }
            let pivot = simd.splat_f64s(self.block[k][k]);
            for t in row {
                *t = simd.div_f64s(*t, pivot);
            }
        }
    }
}

struct Multiply<'a> {
    left: &'a [Row],
    right: &'a [Row],
    part: usize,
    tile: &'a mut Tile,
}

/// Vectors of the left factor that a step of the loops holds.
pub(super) const VECTORS: usize = 3;

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { left, right, part, tile } = self;
        for first in (0..PANEL / S::F64_LANES).step_by(VECTORS) {
            if S::F64_LANES == 8 {
                eight_columns(simd, left, right, first, TILE * part, tile);
            } else {
                let (lower, upper) = tile.split_at_mut(TILE / 2);
                four_columns(simd, left, right, first, TILE * part, lower);
                four_columns(simd, left, right, first, TILE * part + TILE / 2, upper);
            }
        }
    }
}

/// Three vectors of the left factor times some indices of the right one, the sums in registers: named one by one, since
/// as arrays they would live in memory.
macro_rules! columns {
    ($name:ident, $row:ty, $vectors:ident, $vectors_mut:ident, $splat:ident, $mul_add:ident,
        $($c:literal $s0:ident $s1:ident $s2:ident),*) => {
        #[inline(always)]
        fn $name<S: Simd>(simd: S, left: &[$row], right: &[$row], first: usize, start: usize, tile: &mut [$row]) {
            $(
                let row = S::$vectors(&tile[$c]).0;
                let (mut $s0, mut $s1, mut $s2) = (row[first], row[first + 1], row[first + 2]);
            )*
            for k in 0..left.len().min(right.len()) {
                let row = S::$vectors(&left[k]).0;
                let (x0, x1, x2) = (row[first], row[first + 1], row[first + 2]);
                let factors = &right[k];
                $(
                    let y = simd.$splat(factors[start + $c]);
                    $s0 = simd.$mul_add(x0, y, $s0);
                    $s1 = simd.$mul_add(x1, y, $s1);
                    $s2 = simd.$mul_add(x2, y, $s2);
                )*
            }
            $(
                let row = S::$vectors_mut(&mut tile[$c]).0;
                (row[first], row[first + 1], row[first + 2]) = ($s0, $s1, $s2);
            )*
        }
    };
}

columns!(eight_columns, Row, as_simd_f64s, as_mut_simd_f64s, splat_f64s, mul_add_f64s,
    0 a0 a1 a2, 1 b0 b1 b2, 2 c0 c1 c2, 3 d0 d1 d2, 4 e0 e1 e2, 5 f0 f1 f2, 6 g0 g1 g2, 7 h0 h1 h2);
columns!(four_columns, Row, as_simd_f64s, as_mut_simd_f64s, splat_f64s, mul_add_f64s,
    0 a0 a1 a2, 1 b0 b1 b2, 2 c0 c1 c2, 3 d0 d1 d2);
columns!(eight_columns_singles, [f32; SINGLES], as_simd_f32s, as_mut_simd_f32s, splat_f32s, mul_add_f32s,
    0 a0 a1 a2, 1 b0 b1 b2, 2 c0 c1 c2, 3 d0 d1 d2, 4 e0 e1 e2, 5 f0 f1 f2, 6 g0 g1 g2, 7 h0 h1 h2);
columns!(four_columns_singles, [f32; SINGLES], as_simd_f32s, as_mut_simd_f32s, splat_f32s, mul_add_f32s,
    0 a0 a1 a2, 1 b0 b1 b2, 2 c0 c1 c2, 3 d0 d1 d2);

struct MultiplySingles<'a> {
    left: &'a [[f32; SINGLES]],
    right: &'a [[f32; SINGLES]],
    part: usize,
    tile: &'a mut [[f32; SINGLES]; TILE],
}

impl WithSimd for MultiplySingles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { left, right, part, tile } = self;
        for first in (0..SINGLES / S::F32_LANES).step_by(VECTORS) {
            if S::F32_LANES == 16 {
                eight_columns_singles(simd, left, right, first, TILE * part, tile);
            } else {
                let (lower, upper) = tile.split_at_mut(TILE / 2);
                four_columns_singles(simd, left, right, first, TILE * part, lower);
                four_columns_singles(simd, left, right, first, TILE * part + TILE / 2, upper);
            }
        }
    }
}

struct MultiplyDoubled<'a> {
    left: &'a [Row],
    right: (&'a [Row], &'a [Row]),
    part: usize,
    hi: &'a mut Tile,
    lo: &'a mut Tile,
}

impl WithSimd for MultiplyDoubled<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for first in (0..PANEL / S::F64_LANES).step_by(VECTORS) {
            for c in (0..TILE).step_by(2) {
                let start = TILE * self.part + c;
                doubled_columns(
                    simd,
                    self.left,
                    self.right,
                    first,
                    start,
                    &mut self.hi[c..c + 2],
                    &mut self.lo[c..c + 2],
                );
            }
        }
    }
}

/// `(hi, lo) + x · (y, y_low)` for exact sums `hi` of rounded products: Knuth's sum, and the product's rounding error.
#[inline(always)]
pub(crate) fn add_product<S: Simd>(
    simd: S,
    (hi, lo): (S::f64s, S::f64s),
    x: S::f64s,
    y: S::f64s,
    y_low: S::f64s,
) -> (S::f64s, S::f64s) {
    let product = simd.mul_f64s(x, y);
    let error = simd.mul_add_f64s(x, y, simd.neg_f64s(product));
    let sum = simd.add_f64s(hi, product);
    let part = simd.sub_f64s(sum, hi);
    let rest = simd.add_f64s(simd.sub_f64s(hi, simd.sub_f64s(sum, part)), simd.sub_f64s(product, part));
    (sum, simd.add_f64s(lo, simd.mul_add_f64s(x, y_low, simd.add_f64s(rest, error))))
}

/// Three vectors of the left factor times two indices of the right one.
#[inline(always)]
fn doubled_columns<S: Simd>(
    simd: S,
    left: &[Row],
    (right_hi, right_lo): (&[Row], &[Row]),
    first: usize,
    start: usize,
    hi: &mut [Row],
    lo: &mut [Row],
) {
    let zero = (simd.splat_f64s(0.0), simd.splat_f64s(0.0));
    let (mut a0, mut a1, mut a2, mut b0, mut b1, mut b2) = (zero, zero, zero, zero, zero, zero);
    for k in 0..left.len().min(right_hi.len()).min(right_lo.len()) {
        let row = S::as_simd_f64s(&left[k]).0;
        let (x0, x1, x2) = (row[first], row[first + 1], row[first + 2]);
        let (y, y_low) = (simd.splat_f64s(right_hi[k][start]), simd.splat_f64s(right_lo[k][start]));
        a0 = add_product(simd, a0, x0, y, y_low);
        a1 = add_product(simd, a1, x1, y, y_low);
        a2 = add_product(simd, a2, x2, y, y_low);
        let (y, y_low) = (simd.splat_f64s(right_hi[k][start + 1]), simd.splat_f64s(right_lo[k][start + 1]));
        b0 = add_product(simd, b0, x0, y, y_low);
        b1 = add_product(simd, b1, x1, y, y_low);
        b2 = add_product(simd, b2, x2, y, y_low);
    }
    for (c, sums) in [[a0, a1, a2], [b0, b1, b2]].into_iter().enumerate() {
        let (hi, lo) = (S::as_mut_simd_f64s(&mut hi[c]).0, S::as_mut_simd_f64s(&mut lo[c]).0);
        for (v, (high, low)) in sums.into_iter().enumerate() {
            let sum = simd.add_f64s(high, low);
            lo[first + v] = simd.sub_f64s(low, simd.sub_f64s(sum, high));
            hi[first + v] = sum;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::by_rows::{MultiplyRows, MultiplyRowsSingles, Read};
    use super::super::real::Pair;
    use super::*;

    /// Numbers of both signs and several sizes (Marsaglia's xorshift).
    fn panel(depth: usize, mut state: u64) -> Vec<Row> {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 12) as f64 / (1u64 << 52) as f64 - 0.5
        };
        (0..depth).map(|_| std::array::from_fn(|_| next() * next())).collect()
    }

    /// Every arithmetic this machine has, the plainest last.
    pub(crate) fn machines() -> Vec<pulp::Arch> {
        let mut all = vec![pulp::Arch::new()];
        #[cfg(target_arch = "x86_64")]
        all.extend(pulp::x86::V3::try_new().map(pulp::Arch::V3));
        all.push(pulp::Arch::Scalar);
        all
    }

    #[test]
    fn products_are_chains_of_fused_operations_on_every_machine() {
        let (left, right, low) = (panel(37, 1), panel(37, 2), panel(37, 3));
        let low: Vec<Row> = low.iter().map(|row| row.map(|x| x * 2f64.powi(-54))).collect();
        for part in 0..PANEL / TILE {
            let mut expected = ZERO_TILE;
            for (j, row) in expected.iter_mut().enumerate() {
                for (i, sum) in row.iter_mut().enumerate() {
                    *sum = (0..37).fold(0.0, |sum, k| left[k][i].mul_add(right[k][TILE * part + j], sum));
                }
            }
            let mut doubled = Vec::new();
            for machine in machines() {
                let mut tile = ZERO_TILE;
                machine.dispatch(Multiply { left: &left, right: &right, part, tile: &mut tile });
                assert_eq!(tile, expected, "{machine:?}");
                let rows: [Vec<f64>; TILE] =
                    std::array::from_fn(|j| right.iter().map(|row| row[TILE * part + j]).collect());
                let rows = std::array::from_fn(|j| &rows[j][..]);
                let mut tile = ZERO_TILE;
                machine.dispatch(MultiplyRows { left: &left, right: rows, width: PANEL, tile: &mut tile });
                assert_eq!(tile, expected, "rows, {machine:?}");
                for width in [1, 5, 8, 9, 16, 17, 23] {
                    let mut tile = ZERO_TILE;
                    machine.dispatch(MultiplyRows { left: &left, right: rows, width, tile: &mut tile });
                    let same = tile.iter().zip(&expected).all(|(t, e)| t[..width] == e[..width]);
                    assert!(same, "{width} of a panel, {machine:?}");
                }
                let (mut hi, mut lo) = (ZERO_TILE, ZERO_TILE);
                let right = (&right[..], &low[..]);
                machine.dispatch(MultiplyDoubled { left: &left, right, part, hi: &mut hi, lo: &mut lo });
                doubled.push((hi, lo));
            }
            assert!(doubled.windows(2).all(|pair| pair[0] == pair[1]));
            use crate::double_double::DoubleDouble;
            for j in 0..TILE {
                for i in 0..PANEL {
                    let sum = (0..37).fold(DoubleDouble::ZERO, |sum, k| {
                        let y = DoubleDouble::new(right[k][TILE * part + j], low[k][TILE * part + j]);
                        sum + DoubleDouble::from(left[k][i]) * y
                    });
                    let (hi, lo) = (doubled[0].0[j][i], doubled[0].1[j][i]);
                    let gap = (DoubleDouble { hi, lo } - sum).to_f64();
                    assert!(gap.abs() < 37.0 * 2f64.powi(-103) && hi + lo == hi, "{gap}");
                }
            }
        }
    }

    #[test]
    fn rows_read_a_few_columns_alike_on_every_machine() {
        let (rows, columns) = ([panel(31, 8), panel(31, 9)], [panel(3, 10), panel(3, 11)]);
        let panels = [0, 1].map(|q| Pair { rows: &rows[q][..], columns: &columns[q][..] });
        let results: Vec<Vec<f64>> = machines()
            .into_iter()
            .map(|machine| {
                let mut target = vec![0.0; 31 * 3];
                machine.dispatch(Read { panels: &panels, count: 3, target: &mut target });
                target
            })
            .collect();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
        for (at, got) in results[0].iter().enumerate() {
            let (k, j) = (at / 3, at % 3);
            let sum: f64 = panels.iter().flat_map(|p| p.rows[k].iter().zip(&p.columns[j])).map(|(a, b)| a * b).sum();
            assert!((got - sum).abs() < 48.0 * f64::EPSILON, "{got} {sum}");
        }
    }

    #[test]
    fn singles_too() {
        let singles = |rows: Vec<Row>| -> Vec<[f32; SINGLES]> {
            let at = |row: &Row| std::array::from_fn(|i| row[i % PANEL] as f32 * (1.0 + i as f32));
            rows.iter().map(at).collect()
        };
        let (left, right) = (singles(panel(29, 6)), singles(panel(29, 7)));
        for part in 0..SINGLES / TILE {
            let expected: [[f32; SINGLES]; TILE] = std::array::from_fn(|j| {
                std::array::from_fn(|i| (0..29).fold(0.0, |sum, k| left[k][i].mul_add(right[k][TILE * part + j], sum)))
            });
            for machine in machines() {
                let mut tile = [[0.0; SINGLES]; TILE];
                machine.dispatch(MultiplySingles { left: &left, right: &right, part, tile: &mut tile });
                assert_eq!(tile, expected, "{machine:?}");
                let rows: [Vec<f32>; TILE] =
                    std::array::from_fn(|j| right.iter().map(|row| row[TILE * part + j]).collect());
                let rows = std::array::from_fn(|j| &rows[j][..]);
                let mut tile = [[0.0; SINGLES]; TILE];
                machine.dispatch(MultiplyRowsSingles { left: &left, right: rows, width: SINGLES, tile: &mut tile });
                assert_eq!(tile, expected, "rows, {machine:?}");
                for width in [1, 16, 17, 32, 33, 47] {
                    let mut tile = [[0.0; SINGLES]; TILE];
                    machine.dispatch(MultiplyRowsSingles { left: &left, right: rows, width, tile: &mut tile });
                    let same = tile.iter().zip(&expected).all(|(t, e)| t[..width] == e[..width]);
                    assert!(same, "{width} of a panel, {machine:?}");
                }
            }
        }
    }

    #[test]
    fn substitution_and_sums_of_rows_are_the_same_on_every_machine() {
        let mut block = panel(PANEL, 4);
        (0..PANEL).for_each(|i| block[i][i] = 1.5);
        let results: Vec<(Vec<Row>, Vec<f64>)> = machines()
            .into_iter()
            .map(|machine| {
                let mut target = panel(PANEL, 5);
                machine.dispatch(Substitute { block: &block, target: &mut target });
                let product = machine.dispatch(Dot { a: &block.as_flattened()[..45], b: &block.as_flattened()[60..] });
                let mut sum = vec![product; 21];
                let rows = &block.as_flattened()[..21 * 7];
                machine.dispatch(AddRows { rows, factors: &block[0][..7], sum: &mut sum });
                (target, sum)
            })
            .collect();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

//! Residuals of rows in memory in doubled arithmetic, and what they add up to.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::kernel::add_product;
use super::rows::Shifted;
use crate::double_double::{DoubleDouble, two_product, two_sum};
use crate::strided::{Strided, gather, runs};

/// What the residuals of a target add up to.
#[derive(Clone, Debug)]
pub(crate) struct ResidualSums {
    /// `Σᵢ xᵢ eᵢ` of every column.
    pub(crate) along: Vec<DoubleDouble>,
    /// `Σᵢ eᵢ`.
    pub(crate) sum: DoubleDouble,
    /// `Σᵢ eᵢ²`.
    pub(crate) squares: DoubleDouble,
    /// `Σᵢ (yᵢ − shift)` and `Σᵢ (yᵢ − shift)²`.
    pub(crate) target_sum: DoubleDouble,
    pub(crate) target_squares: DoubleDouble,
}

/// Rows that are read together: their columns stay in the second-level cache.
fn chunk_rows(columns: usize) -> usize {
    ((1 << 17) / columns.max(1)).clamp(64, LARGEST_CHUNK) / LANES * LANES
}

const LARGEST_CHUNK: usize = 1024;
/// Chunks that one thread gathers.
const CHUNKS: usize = 8;
/// Chains of every sum, whatever the width of the vectors.
const LANES: usize = 8;
/// Vectors of rows whose residuals are held in registers.
const HELD: usize = 4;
/// Sums beside those along the columns: `Σe`, `Σe²`, and both of the target.
const OWN: usize = 4;

/// Bounds of relative errors of [`residual_sums`]: of a residual, in units of `|y| + |constant| + Σ|x β|`, and of a sum,
/// in units of the sum of sizes.
///
/// The rounding errors of a sum of `k` products are summed in a double of at most `k u` of it, once more rounded.
pub(crate) fn residual_roundings(rows: usize, columns: usize) -> (f64, f64) {
    let unit = 2f64.powi(-105);
    let chain = (chunk_rows(columns) / LANES + 2) as f64;
    let sums = (rows / chunk_rows(columns) + LANES + 2) as f64;
    ((columns + 3) as f64 * (columns + 3) as f64 * unit, (chain * chain + 2.0 * sums) * unit)
}

/// Residuals `eᵢ = yᵢ − constant − Σ_j x_ij slope_j` of all rows in doubled arithmetic, and what they add up to.
///
/// Columns that do not lie side by side are copied, a chunk of rows at a time.
pub(crate) fn residual_sums(
    columns: &[Strided<'_>],
    target: Shifted<'_>,
    constant: DoubleDouble,
    slopes: &[DoubleDouble],
) -> ResidualSums {
    let rows = target.values.len();
    let chunk = chunk_rows(columns.len());
    let all: Vec<Strided<'_>> = columns.iter().copied().chain([target.values]).collect();
    let runs = runs(&all);
    let spans: Vec<usize> = (0..rows).step_by(chunk * CHUNKS).collect();
    let parts: Vec<Vec<DoubleDouble>> = spans
        .into_par_iter()
        .map_init(Vec::new, |scratch, first| {
            let mut sums = vec![DoubleDouble::ZERO; columns.len() + OWN];
            let mut chains = vec![Chains::default(); columns.len() + OWN];
            for start in (first..rows.min(first + chunk * CHUNKS)).step_by(chunk) {
                chains.fill(Chains::default());
                let mut columns = gather(&runs, start..rows.min(start + chunk), scratch);
                let y = columns.pop().unwrap_or(&[]);
                let (columns, shift, chains) = (&columns[..], target.shift, &mut chains[..]);
                pulp::Arch::new().dispatch(Residuals { columns, y, shift, constant, slopes, chains });
                sums.iter_mut().zip(chains).for_each(|(sum, chains)| *sum = *sum + chains.sum());
            }
            sums
        })
        .collect();
    let mut sums = vec![DoubleDouble::ZERO; columns.len() + OWN];
    for part in parts {
        sums.iter_mut().zip(part).for_each(|(sum, more)| *sum = *sum + more);
    }
    let [sum, squares, target_sum, target_squares] = std::array::from_fn(|k| sums[columns.len() + k]);
    sums.truncate(columns.len());
    ResidualSums { along: sums, sum, squares, target_sum, target_squares }
}

/// A sum in eight chains: row `i` of a chunk belongs to chain `i mod 8`.
#[derive(Clone, Copy, Debug, Default)]
struct Chains {
    hi: [f64; LANES],
    lo: [f64; LANES],
}

impl Chains {
    fn sum(&self) -> DoubleDouble {
        self.hi.iter().zip(&self.lo).fold(DoubleDouble::ZERO, |sum, (h, l)| sum + DoubleDouble::new(*h, *l))
    }

    /// Adds `x (hi + lo)` of one row.
    #[inline(always)]
    fn add(&mut self, lane: usize, x: f64, (hi, lo): (f64, f64)) {
        (self.hi[lane], self.lo[lane]) = add_scalar_product((self.hi[lane], self.lo[lane]), x, hi, lo);
    }
}

/// A chunk of rows: columns and target, each of the chunk's rows only.
struct Residuals<'a> {
    columns: &'a [&'a [f64]],
    y: &'a [f64],
    shift: f64,
    constant: DoubleDouble,
    slopes: &'a [DoubleDouble],
    /// Along the columns, then [`OWN`].
    chains: &'a mut [Chains],
}

impl WithSimd for Residuals<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let vectors = self.y.len() / S::F64_LANES / HELD * HELD;
        for first in (0..vectors).step_by(HELD) {
            self.add_vectors(simd, first);
        }
        for row in vectors * S::F64_LANES..self.y.len() {
            self.add_row(row);
        }
    }
}

impl Residuals<'_> {
    /// Four vectors of rows: residuals in registers, then what they add to every sum.
    #[inline(always)]
    fn add_vectors<S: Simd>(&mut self, simd: S, first: usize) {
        let zero = simd.splat_f64s(0.0);
        let ys = &S::as_simd_f64s(self.y).0[first..][..HELD];
        let (shift, constant) = (simd.splat_f64s(self.shift), simd.splat_f64s(-self.constant.hi));
        let constant_low = simd.splat_f64s(self.constant.lo);
        let (y0, y1, y2, y3) = (ys[0], ys[1], ys[2], ys[3]);
        let (along, own) = self.chains.split_at_mut(self.columns.len());
        // The target about its shift first.
        let (t0, t1, t2, t3) =
            (simd.sub_f64s(y0, shift), simd.sub_f64s(y1, shift), simd.sub_f64s(y2, shift), simd.sub_f64s(y3, shift));
        let one = simd.splat_f64s(1.0);
        let zeros = [zero; HELD];
        add_to(simd, &mut own[2], first, [one; HELD], ([t0, t1, t2, t3], zeros));
        add_to(simd, &mut own[3], first, [t0, t1, t2, t3], ([t0, t1, t2, t3], zeros));
        let (mut e0, mut e1) = (two_sums(simd, y0, constant), two_sums(simd, y1, constant));
        let (mut e2, mut e3) = (two_sums(simd, y2, constant), two_sums(simd, y3, constant));
        (e0.1, e1.1) = (simd.sub_f64s(e0.1, constant_low), simd.sub_f64s(e1.1, constant_low));
        (e2.1, e3.1) = (simd.sub_f64s(e2.1, constant_low), simd.sub_f64s(e3.1, constant_low));
        for (column, slope) in self.columns.iter().zip(self.slopes) {
            let (factor, low) = (simd.splat_f64s(-slope.hi), simd.splat_f64s(-slope.lo));
            let x = &S::as_simd_f64s(column).0[first..][..HELD];
            e0 = add_product(simd, e0, x[0], factor, low);
            e1 = add_product(simd, e1, x[1], factor, low);
            e2 = add_product(simd, e2, x[2], factor, low);
            e3 = add_product(simd, e3, x[3], factor, low);
        }
        let (e0, e1, e2, e3) = (
            two_sums(simd, e0.0, e0.1),
            two_sums(simd, e1.0, e1.1),
            two_sums(simd, e2.0, e2.1),
            two_sums(simd, e3.0, e3.1),
        );
        let (hi, lo) = ([e0.0, e1.0, e2.0, e3.0], [e0.1, e1.1, e2.1, e3.1]);
        for (column, chains) in self.columns.iter().zip(along) {
            let x = &S::as_simd_f64s(column).0[first..][..HELD];
            add_to(simd, chains, first, [x[0], x[1], x[2], x[3]], (hi, lo));
        }
        add_to(simd, &mut own[0], first, [one; HELD], (hi, lo));
        // (h + l)² = h (h + 2l) up to l², which no pair of doubles holds.
        let [l0, l1, l2, l3] = lo;
        let twice = [simd.add_f64s(l0, l0), simd.add_f64s(l1, l1), simd.add_f64s(l2, l2), simd.add_f64s(l3, l3)];
        add_to(simd, &mut own[1], first, hi, (hi, twice));
    }

    /// One row, as one lane of the vectors.
    #[inline(always)]
    fn add_row(&mut self, row: usize) {
        let lane = row % LANES;
        let (along, own) = self.chains.split_at_mut(self.columns.len());
        let y = self.y[row];
        let target = y - self.shift;
        own[2].add(lane, 1.0, (target, 0.0));
        own[3].add(lane, target, (target, 0.0));
        let (s, e) = two_sum(y, -self.constant.hi);
        let mut residual = (s, e - self.constant.lo);
        for (column, slope) in self.columns.iter().zip(self.slopes) {
            residual = add_scalar_product(residual, column[row], -slope.hi, -slope.lo);
        }
        let (hi, lo) = two_sum(residual.0, residual.1);
        for (column, chains) in self.columns.iter().zip(along) {
            chains.add(lane, column[row], (hi, lo));
        }
        own[0].add(lane, 1.0, (hi, lo));
        own[1].add(lane, hi, (hi, lo + lo));
    }
}

/// Adds `x (hi + lo)` of vectors `first ..` of a chunk to its chains.
#[inline(always)]
fn add_to<S: Simd>(
    simd: S,
    chains: &mut Chains,
    first: usize,
    x: [S::f64s; HELD],
    (hi, lo): ([S::f64s; HELD], [S::f64s; HELD]),
) {
    let parts = LANES / S::F64_LANES;
    let highs = S::as_mut_simd_f64s(&mut chains.hi).0;
    let lows = S::as_mut_simd_f64s(&mut chains.lo).0;
    if parts == 1 {
        let mut sum = (highs[0], lows[0]);
        sum = add_product(simd, sum, x[0], hi[0], lo[0]);
        sum = add_product(simd, sum, x[1], hi[1], lo[1]);
        sum = add_product(simd, sum, x[2], hi[2], lo[2]);
        sum = add_product(simd, sum, x[3], hi[3], lo[3]);
        (highs[0], lows[0]) = sum;
        return;
    }
    for v in 0..HELD {
        let part = (first + v) % parts;
        (highs[part], lows[part]) = add_product(simd, (highs[part], lows[part]), x[v], hi[v], lo[v]);
    }
}

/// The rounded sum of two numbers, and its error (Knuth).
#[inline(always)]
fn two_sums<S: Simd>(simd: S, a: S::f64s, b: S::f64s) -> (S::f64s, S::f64s) {
    let sum = simd.add_f64s(a, b);
    let part = simd.sub_f64s(sum, a);
    (sum, simd.add_f64s(simd.sub_f64s(a, simd.sub_f64s(sum, part)), simd.sub_f64s(b, part)))
}

/// [`add_product`] of single numbers.
#[inline(always)]
fn add_scalar_product((hi, lo): (f64, f64), x: f64, y: f64, y_low: f64) -> (f64, f64) {
    let (product, error) = two_product(x, y);
    let (sum, rest) = two_sum(hi, product);
    (sum, lo + x.mul_add(y_low, rest + error))
}

#[cfg(test)]
mod tests {
    use super::super::kernel::tests::machines;
    use super::*;

    #[test]
    fn sums_are_the_same_on_every_machine_and_right() {
        let wave = |i: usize, c: usize| ((i * (c + 3)) as f64 * 0.37).sin() + c as f64;
        for (count, rows) in [(0, 5), (1, 31), (3, 32), (4, 77), (10, 1024)] {
            let columns: Vec<Vec<f64>> = (0..count).map(|c| (0..rows).map(|i| wave(i, c)).collect()).collect();
            let y: Vec<f64> = (0..rows).map(|i| 3.0 * wave(i, 7)).collect();
            let slopes: Vec<DoubleDouble> =
                (0..count).map(|c| DoubleDouble::new(0.1 + c as f64 / 7.0, 1e-18 * c as f64)).collect();
            let constant = DoubleDouble::new(0.3, 1e-17);
            let shift = 2.5;
            let slices: Vec<&[f64]> = columns.iter().map(|column| &column[..]).collect();
            let mut found: Vec<Vec<DoubleDouble>> = Vec::new();
            for machine in machines() {
                let mut chains = vec![Chains::default(); count + OWN];
                let work = Residuals { columns: &slices, y: &y, shift, constant, slopes: &slopes, chains: &mut chains };
                machine.dispatch(work);
                found.push(chains.iter().map(Chains::sum).collect());
            }
            assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "{count} columns, {rows} rows");
            // The same, in doubled arithmetic throughout.
            let residual = |i: usize| {
                let start = DoubleDouble::from(y[i]) - constant;
                (0..count).fold(start, |e, c| e - DoubleDouble::from(columns[c][i]) * slopes[c])
            };
            let zero = DoubleDouble::ZERO;
            let target = |i: usize| DoubleDouble::from(y[i] - shift);
            let along = (0..count)
                .map(|c| (0..rows).fold(zero, |sum, i| sum + DoubleDouble::from(columns[c][i]) * residual(i)));
            let own = [
                (0..rows).fold(zero, |sum, i| sum + residual(i)),
                (0..rows).fold(zero, |sum, i| sum + residual(i) * residual(i)),
                (0..rows).fold(zero, |sum, i| sum + target(i)),
                (0..rows).fold(zero, |sum, i| sum + target(i) * target(i)),
            ];
            for (got, expected) in found[0].iter().zip(along.chain(own)) {
                let size = 1e3 * rows as f64;
                assert!((*got - expected).to_f64().abs() < 1e-28 * size, "{count} columns, {rows} rows: {got:?}");
            }
        }
    }
}

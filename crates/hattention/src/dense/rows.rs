//! Sums over the rows of a table in memory: products of its columns in doubles, and residuals in doubled arithmetic.

use std::ops::Range;

use rayon::prelude::*;

use pulp::{Simd, WithSimd};

use super::Panels;
use super::factor::on_panels;
use super::kernel::{PANEL, Row, TILE, ZERO_TILE, add_product, multiply};
use crate::double_double::{DoubleDouble, two_product, two_sum};
use crate::strided::{OfRun, Pieces, Run, Strided, gather, runs};

/// Rows of a chain of products: few enough for short chains and the caches, enough to pay for gathering.
const CHAIN: usize = 256;
/// Chains of rows whose sums are gathered by one thread, when the table of products is small.
const SPAN: usize = 8;
/// Panels of columns from which on threads share the table of products, and not the rows.
const WIDE: usize = 9;

/// Roundings that the product of two of so many columns may have suffered, in units of `u ‖a‖ ‖b‖`: those of the two
/// subtractions of shifts, of a chain, and of the sums of chains.
pub(crate) fn roundings(rows: usize, columns: usize) -> f64 {
    let chains = rows.div_ceil(CHAIN);
    let sums = if is_wide(columns) || chains <= SPAN { chains } else { SPAN + chains.div_ceil(SPAN) };
    (CHAIN.min(rows) + 4 + sums) as f64
}

/// Whether threads share the table of products, and not the rows.
fn is_wide(columns: usize) -> bool {
    columns.div_ceil(PANEL) >= WIDE
}

/// A column less a number.
#[derive(Clone, Copy)]
pub(crate) struct Shifted<'a> {
    pub(crate) values: Strided<'a>,
    pub(crate) shift: f64,
}

/// Sums of products `Σ aᵢ bᵢ` of all columns (each less its shift): the lower triangle, by rows.
///
/// Rows are summed in chains of 256 and chains in the order of the rows: no number of threads changes a bit.
pub(crate) fn products(columns: &[Shifted<'_>], rows: usize) -> Panels {
    let size = columns.len().div_ceil(PANEL) * PANEL;
    let count = size / PANEL;
    let mut sums = Panels::zero(size, size);
    let panels: Vec<PanelColumns<'_>> = columns.chunks(PANEL).map(PanelColumns::of).collect();
    if is_wide(columns.len()) {
        let mut packed = vec![[0.0; PANEL]; count * CHAIN];
        for start in (0..rows).step_by(CHAIN) {
            let depth = CHAIN.min(rows - start);
            packed
                .par_chunks_mut(CHAIN)
                .zip(&panels)
                .for_each(|(packed, panel)| panel.pack(start, &mut packed[..depth]));
            on_panels(&mut sums.data, size, |q, panel| add_chain(&packed, depth, q, panel));
        }
        return sums;
    }
    let spans: Vec<usize> = (0..rows).step_by(SPAN * CHAIN).collect();
    let parts: Vec<Vec<Row>> = spans
        .into_par_iter()
        .map(|first| {
            let mut sums = vec![[0.0; PANEL]; sums.data.len()];
            let mut packed = vec![[0.0; PANEL]; count * CHAIN];
            for start in (first..rows.min(first + SPAN * CHAIN)).step_by(CHAIN) {
                let depth = CHAIN.min(rows - start);
                for (packed, panel) in packed.chunks_exact_mut(CHAIN).zip(&panels) {
                    panel.pack(start, &mut packed[..depth]);
                }
                for (q, panel) in sums.chunks_exact_mut(size).enumerate() {
                    add_chain(&packed, depth, q, panel);
                }
            }
            sums
        })
        .collect();
    for part in parts {
        for (sum, more) in sums.data.as_flattened_mut().iter_mut().zip(part.as_flattened()) {
            *sum += more;
        }
    }
    sums
}

/// The 24 columns of a panel, and what is subtracted from each.
struct PanelColumns<'a> {
    runs: Vec<Run<'a>>,
    shifts: Row,
}

impl<'a> PanelColumns<'a> {
    fn of(columns: &[Shifted<'a>]) -> Self {
        let values: Vec<Strided<'a>> = columns.iter().map(|column| column.values).collect();
        let shift = |c: usize| columns.get(c).map_or(0.0, |column| column.shift);
        Self { runs: runs(&values), shifts: std::array::from_fn(shift) }
    }

    /// Rows `start ..` of the columns, side by side.
    fn pack(&self, start: usize, panel: &mut [Row]) {
        for run in &self.runs {
            if let Some(values) = run.contiguous() {
                let (c, shift) = (run.places.start, self.shifts[run.places.start]);
                for (row, x) in panel.iter_mut().zip(&values[start..]) {
                    row[c] = x - shift;
                }
                continue;
            }
            let work = Pack { run, start, shifts: &self.shifts, panel: &mut *panel };
            pulp::Arch::new().dispatch(OfRun { run, work });
        }
    }
}

struct Pack<'a, 'b> {
    run: &'b Run<'a>,
    start: usize,
    shifts: &'b Row,
    panel: &'b mut [Row],
}

impl Pieces for Pack<'_, '_> {
    fn rows(&self) -> Range<usize> {
        self.start..self.start + self.panel.len()
    }

    #[inline(always)]
    fn piece<const W: usize, const BESIDE: bool>(&mut self, rows: Range<usize>, first: usize) {
        let c = self.run.places.start + first;
        let mut shifts = [0.0; W];
        shifts.copy_from_slice(&self.shifts[c..c + W]);
        for (i, row) in rows.clone().zip(&mut self.panel[rows.start - self.start..]) {
            let numbers = self.run.piece::<W, BESIDE>(i, first);
            let target = &mut row[c..c + W];
            for k in 0..W {
                target[k] = numbers[k] - shifts[k];
            }
        }
    }
}

/// Adds the products of a chain of packed rows: panel `q` with itself and the earlier ones.
fn add_chain(packed: &[Row], depth: usize, q: usize, sums: &mut [Row]) {
    let own = &packed[q * CHAIN..][..depth];
    for j in 0..=q {
        for part in 0..PANEL / TILE {
            let mut tile = ZERO_TILE;
            multiply(own, &packed[j * CHAIN..][..depth], part, &mut tile);
            for (target, sum) in sums[PANEL * j + TILE * part..].iter_mut().zip(&tile) {
                for (t, s) in target.iter_mut().zip(sum) {
                    *t += s;
                }
            }
        }
    }
}

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
        .map_init(
            || (Vec::new(), (vec![0.0; chunk], vec![0.0; chunk])),
            |(scratch, residuals), first| {
                let mut sums = vec![DoubleDouble::ZERO; columns.len() + 4];
                for start in (first..rows.min(first + chunk * CHUNKS)).step_by(chunk) {
                    let range = start..rows.min(start + chunk);
                    let residuals = (&mut residuals.0[..range.len()], &mut residuals.1[..range.len()]);
                    let mut columns = gather(&runs, range, scratch);
                    let y = columns.pop().unwrap_or(&[]);
                    let (columns, shift, sums) = (&columns[..], target.shift, &mut sums[..]);
                    let work = Residuals { columns, y, shift, constant, slopes, residuals, sums };
                    pulp::Arch::new().dispatch(work);
                }
                sums
            },
        )
        .collect();
    let mut sums = vec![DoubleDouble::ZERO; columns.len() + 4];
    for part in parts {
        sums.iter_mut().zip(part).for_each(|(sum, more)| *sum = *sum + more);
    }
    let [sum, squares, target_sum, target_squares] = std::array::from_fn(|k| sums[columns.len() + k]);
    sums.truncate(columns.len());
    ResidualSums { along: sums, sum, squares, target_sum, target_squares }
}

/// A chunk of rows: columns and target, each of the chunk's rows only.
struct Residuals<'a> {
    columns: &'a [&'a [f64]],
    y: &'a [f64],
    shift: f64,
    constant: DoubleDouble,
    slopes: &'a [DoubleDouble],
    residuals: (&'a mut [f64], &'a mut [f64]),
    /// Along the columns, then the four sums of the target.
    sums: &'a mut [DoubleDouble],
}

impl WithSimd for Residuals<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { columns, y, shift, constant, slopes, residuals: (hi, lo), sums } = self;
        let count = columns.len();
        let ones = &ONES[..y.len()];
        // The target about its shift first, in the place where its residuals will stand.
        lo.fill(0.0);
        hi.iter_mut().zip(y).for_each(|(h, y)| *h = y - shift);
        let totals = [dot(simd, ones, hi, lo), dot(simd, hi, hi, lo)];
        for ((h, l), y) in hi.iter_mut().zip(lo.iter_mut()).zip(y) {
            let (s, e) = two_sum(*y, -constant.hi);
            (*h, *l) = (s, e - constant.lo);
        }
        for (column, slope) in columns.iter().zip(slopes) {
            subtract_multiple(simd, column, *slope, hi, lo);
        }
        for (h, l) in hi.iter_mut().zip(lo.iter_mut()) {
            (*h, *l) = two_sum(*h, *l);
        }
        for (column, sum) in columns.iter().zip(sums.iter_mut()) {
            *sum = *sum + dot(simd, column, hi, lo);
        }
        let along_ones = dot(simd, ones, hi, lo);
        // (h + l)² = h (h + 2l) up to l², which no pair of doubles holds.
        lo.iter_mut().for_each(|l| *l += *l);
        let four = [along_ones, dot(simd, hi, hi, lo), totals[0], totals[1]];
        sums[count..].iter_mut().zip(four).for_each(|(sum, more)| *sum = *sum + more);
    }
}

/// The constant's column, for a chunk of rows.
static ONES: [f64; LARGEST_CHUNK] = [1.0; LARGEST_CHUNK];

/// `(hi, lo) −= x · slope`, row by row.
#[inline(always)]
fn subtract_multiple<S: Simd>(simd: S, x: &[f64], slope: DoubleDouble, hi: &mut [f64], lo: &mut [f64]) {
    let (factor, factor_low) = (simd.splat_f64s(-slope.hi), simd.splat_f64s(-slope.lo));
    let (vectors, rest) = S::as_simd_f64s(x);
    let whole = x.len() - rest.len();
    let (hi_vectors, hi_rest) = S::as_mut_simd_f64s(hi);
    let (lo_vectors, lo_rest) = S::as_mut_simd_f64s(lo);
    for ((x, h), l) in vectors.iter().zip(hi_vectors).zip(lo_vectors) {
        (*h, *l) = add_product(simd, (*h, *l), *x, factor, factor_low);
    }
    for ((x, h), l) in x[whole..].iter().zip(hi_rest).zip(lo_rest) {
        (*h, *l) = add_scalar_product((*h, *l), *x, -slope.hi, -slope.lo);
    }
}

/// [`add_product`] of single numbers.
#[inline(always)]
fn add_scalar_product((hi, lo): (f64, f64), x: f64, y: f64, y_low: f64) -> (f64, f64) {
    let (product, error) = two_product(x, y);
    let (sum, rest) = two_sum(hi, product);
    (sum, lo + x.mul_add(y_low, rest + error))
}

/// `Σ x (hi + lo)`, in eight chains that are added in order.
#[inline(always)]
fn dot<S: Simd>(simd: S, x: &[f64], hi: &[f64], lo: &[f64]) -> DoubleDouble {
    let vectors = LANES / S::F64_LANES;
    let zero = (simd.splat_f64s(0.0), simd.splat_f64s(0.0));
    let mut sums = [zero; LANES];
    let whole = x.len() / LANES * LANES;
    let x_vectors = S::as_simd_f64s(&x[..whole]).0;
    let (hi_vectors, lo_vectors) = (S::as_simd_f64s(&hi[..whole]).0, S::as_simd_f64s(&lo[..whole]).0);
    if vectors == 1 {
        let mut sum = zero;
        for ((x, h), l) in x_vectors.iter().zip(hi_vectors).zip(lo_vectors) {
            sum = add_product(simd, sum, *x, *h, *l);
        }
        sums[0] = sum;
    } else {
        for (k, ((x, h), l)) in x_vectors.iter().zip(hi_vectors).zip(lo_vectors).enumerate() {
            let sum = &mut sums[k % vectors];
            *sum = add_product(simd, *sum, *x, *h, *l);
        }
    }
    let mut lanes = [(0.0, 0.0); LANES];
    for (v, (high, low)) in sums[..vectors].iter().enumerate() {
        let (high, low) = (std::slice::from_ref(high), std::slice::from_ref(low));
        let (high, low): (&[f64], &[f64]) = (pulp::bytemuck::cast_slice(high), pulp::bytemuck::cast_slice(low));
        for (lane, (h, l)) in high.iter().zip(low).enumerate() {
            lanes[v * S::F64_LANES + lane] = (*h, *l);
        }
    }
    for (lane, row) in (whole..x.len()).enumerate() {
        lanes[lane] = add_scalar_product(lanes[lane], x[row], hi[row], lo[row]);
    }
    lanes.iter().fold(DoubleDouble::ZERO, |sum, (h, l)| sum + DoubleDouble::new(*h, *l))
}

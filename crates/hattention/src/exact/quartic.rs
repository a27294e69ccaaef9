//! Products of four columns: Gram matrices of the products of two.
//!
//! A product of two doubles is an integer of at most 106 bits times a power of two, so products are cut into planes like
//! columns. Of all pairs of products `(a b)(c d)` only those with `a ≤ b ≤ c ≤ d` are formed, a third of them: the left
//! factors in the order of `b`, the right ones in the order of `c`.

use std::borrow::Cow;

use super::accumulator::Range;
use super::chunk::{gather, joined, total};
use super::kernel::{self, Kernel, PLANE_BITS, PLANE_ROWS, Plane, ZERO_PLANE};
use super::planes::Grid;
use super::quartic_table::QuarticTable;

/// Planes multiplied at a time: bounds the table of plane products to 16 MiB.
const GROUP_PLANES: usize = 1024;

const DIGIT: u64 = (1 << PLANE_BITS) - 1;

/// Numbers as sums of odd integers (or zero) times powers of two: `terms[t][row] = (m, e)` for `m · 2^e`.
pub(crate) type Terms<'a> = Cow<'a, [Vec<(i64, i32)>]>;

/// A column of a chunk.
pub(crate) struct Factor<'a> {
    /// Its column of the table.
    pub(crate) id: usize,
    pub(crate) plain: Vec<Vec<(i64, i32)>>,
    /// The same times the weights.
    pub(crate) weighted: Terms<'a>,
}

/// The rows of a chunk: columns in ascending order of their ids, the constant among them.
pub(crate) struct QuarticChunk<'a> {
    pub(crate) rows: usize,
    pub(crate) factors: Vec<Factor<'a>>,
    pub(crate) weights: Range,
}

/// The product of two columns, the first of them with its weights.
struct Product<'a> {
    /// Places among the factors, in ascending order.
    of: [usize; 2],
    left: &'a [Vec<(i64, i32)>],
    right: &'a [Vec<(i64, i32)>],
    grid: Grid,
}

/// Products whose planes are multiplied together.
struct Group<'a> {
    products: Vec<&'a Product<'a>>,
    /// Index of the first plane of each product, and the count at the end.
    first: Vec<usize>,
    bits: Vec<u32>,
}

impl QuarticChunk<'_> {
    /// Adds (or subtracts) all products of four of the chunk's columns; the numbers are finite.
    pub(crate) fn deposit(&self, kernel: Kernel, into: &mut QuarticTable, negate: bool) {
        let columns = self.factors.last().map_or(0, |factor| factor.id + 1);
        let ranges = self.factors.iter().filter_map(|factor| Some((factor.id, range(&factor.plain)?)));
        into.reserve(columns, ranges, self.weights);
        let count = self.factors.len();
        let product = |a: usize, b: usize| {
            let (left, right) = (&self.factors[a].weighted[..], &self.factors[b].plain[..]);
            Product { of: [a, b], left, right, grid: grid(left, right, self.rows) }
        };
        let products: Vec<Product> =
            (0..count).flat_map(|b| (0..=b).map(move |a| (a, b))).map(|(a, b)| product(a, b)).collect();
        let products = || products.iter().filter(|product| product.grid.planes > 0);
        let lefts = groups(products().collect());
        let mut ordered: Vec<&Product> = products().collect();
        ordered.sort_by_key(|product| product.of);
        let rights = groups(ordered);
        for left in &lefts {
            for right in &rights {
                if right.products.iter().any(|r| r.of[0] >= left.products[0].of[1]) {
                    self.deposit_group(kernel, into, negate, left, right);
                }
            }
        }
    }

    fn deposit_group(&self, kernel: Kernel, into: &mut QuarticTable, negate: bool, a: &Group, b: &Group) {
        let (rows, columns) = (a.bits.len(), b.bits.len());
        let mut sums = vec![0u128; rows * columns];
        let (mut a_sums, mut b_sums) = (vec![0u128; rows], vec![0u128; columns]);
        let (mut a_planes, mut b_planes) = (vec![ZERO_PLANE; rows], vec![ZERO_PLANE; columns]);
        let begins = |left: &Product| b.products.partition_point(|right| right.of[0] < left.of[1]);
        let wanted: Vec<usize> = a.products.iter().map(|left| begins(left)).collect();
        let first_right: Vec<usize> = a
            .products
            .iter()
            .zip(&wanted)
            .flat_map(|(left, begin)| std::iter::repeat_n(b.first[*begin], left.grid.planes))
            .collect();
        for start in (0..self.rows).step_by(PLANE_ROWS) {
            let count = PLANE_ROWS.min(self.rows - start);
            a.fill(start, count, &mut a_planes, &mut a_sums);
            b.fill(start, count, &mut b_planes, &mut b_sums);
            kernel::gram(kernel, &a_planes, &a.bits, &b_planes, &b.bits, &first_right, &mut sums);
        }
        let (a_totals, b_totals) = (a.totals(&a_sums), b.totals(&b_sums));
        let mut value = Vec::new();
        for (i, left) in a.products.iter().enumerate() {
            for (j, right) in b.products.iter().enumerate().skip(wanted[i]) {
                let product = |k: usize, l: usize| sums[(a.first[i] + k) * columns + b.first[j] + l];
                let (p, q) = (&left.grid, &right.grid);
                gather(&mut value, self.rows, (p, &a_totals[i]), (q, &b_totals[j]), product);
                let id = |place: usize| self.factors[place].id;
                let columns = [id(left.of[0]), id(left.of[1]), id(right.of[0]), id(right.of[1])];
                into.deposit(columns, &value, p.low + q.low, negate);
            }
        }
    }
}

/// Consecutive products whose planes together stay within a group.
fn groups<'a>(products: Vec<&'a Product<'a>>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group> = Vec::new();
    for product in products {
        let planes = product.grid.planes;
        if groups.last().is_none_or(|group| group.bits.len() + planes > GROUP_PLANES) {
            groups.push(Group { products: Vec::new(), first: vec![0], bits: Vec::new() });
        }
        if let Some(group) = groups.last_mut() {
            group.products.push(product);
            group.bits.extend((0..planes).map(|plane| product.grid.plane_bits(plane)));
            group.first.push(group.bits.len());
        }
    }
    groups
}

impl Group<'_> {
    /// Fills the planes of a stretch of rows and adds them up into `sums`.
    fn fill(&self, start: usize, rows: usize, planes: &mut [Plane], sums: &mut [u128]) {
        for (product, first) in self.products.iter().zip(&self.first) {
            let planes = &mut planes[*first..first + product.grid.planes];
            product.fill(start, rows, planes);
            sums[*first..].iter_mut().zip(planes).for_each(|(sum, plane)| *sum += total(plane));
        }
    }

    /// The sums of the biased products: wide, in units of their grids.
    fn totals(&self, sums: &[u128]) -> Vec<Vec<u64>> {
        let planes = self.first.windows(2).map(|ends| ends[0]..ends[1]);
        planes.map(|planes| joined(sums[planes].iter().copied())).collect()
    }
}

/// The range of a column; `None` for one of zeros.
fn range(terms: &[Vec<(i64, i32)>]) -> Option<Range> {
    let (mut low, mut top) = (i32::MAX, i32::MIN);
    for &(m, e) in terms.iter().flatten().filter(|(m, _)| *m != 0) {
        low = low.min(e);
        top = top.max(e + 64 - m.unsigned_abs().leading_zeros() as i32);
    }
    (low < i32::MAX).then(|| Range { low, top: top + (terms.len() - 1) as i32 })
}

/// The grid of the product: odd integers have odd products.
fn grid(left: &[Vec<(i64, i32)>], right: &[Vec<(i64, i32)>], rows: usize) -> Grid {
    let (mut low, mut top, mut signs) = (i32::MAX, i32::MIN, 0i64);
    for a in left {
        for b in right {
            for (&(m, e), &(n, f)) in a[..rows].iter().zip(&b[..rows]) {
                if m != 0 && n != 0 {
                    low = low.min(e + f);
                    let size = 128 - m.unsigned_abs().leading_zeros() - n.unsigned_abs().leading_zeros();
                    top = top.max(e + f + size as i32);
                    signs |= m ^ n;
                }
            }
        }
    }
    if low == i32::MAX {
        return Grid::ZERO;
    }
    // A sum of so many terms needs more bits than its largest.
    let terms = (left.len() * right.len()).next_power_of_two().ilog2() as i32;
    Grid::new(low, top + terms, signs < 0)
}

impl Product<'_> {
    /// Writes the planes of rows `start .. start + rows` (at most 512); rows beyond are zero.
    fn fill(&self, start: usize, rows: usize, planes: &mut [Plane]) {
        let Grid { low, span, biased, planes: count } = self.grid;
        let bias = if biased { 1u64 << (span - PLANE_BITS * (count as u32 - 1)) } else { 0 };
        if rows < PLANE_ROWS {
            planes.fill(ZERO_PLANE);
        }
        let mut digits = vec![0i64; count + 3];
        for row in 0..rows {
            digits.fill(0);
            for a in self.left {
                let (m, e) = a[start + row];
                for b in self.right {
                    let (n, f) = b[start + row];
                    if m == 0 || n == 0 {
                        continue;
                    }
                    let size = m.unsigned_abs() as u128 * n.unsigned_abs() as u128;
                    let position = (e + f - low) as u32;
                    let (plane, shift) = ((position / PLANE_BITS) as usize, position % PLANE_BITS);
                    // Below 2^106: shifted by at most 51 bits, four digits, of which the last is one bit.
                    let parts = [
                        (size << shift) as u64 & DIGIT,
                        (size >> (52 - shift)) as u64 & DIGIT,
                        (size >> (104 - shift)) as u64 & DIGIT,
                        if shift > 50 { (size >> (156 - shift)) as u64 & DIGIT } else { 0 },
                    ];
                    let sign = if (m ^ n) < 0 { -1 } else { 1 };
                    digits[plane..].iter_mut().zip(parts).for_each(|(digit, part)| *digit += sign * part as i64);
                }
            }
            let mut carry = 0i64;
            for (plane, digit) in planes.iter_mut().zip(&digits) {
                let value = digit + carry;
                plane.as_flattened_mut()[row] = value as u64 & DIGIT;
                carry = value >> PLANE_BITS;
            }
            // Two's complement of the whole number plus 2^span: flip by adding into the last plane, modulo its width.
            let top = &mut planes[count - 1].as_flattened_mut()[row];
            *top = (*top + bias) & DIGIT;
        }
    }
}

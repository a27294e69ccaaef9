//! One chunk of rows into the accumulator: cut, multiply, gather.

use super::accumulator::{Accumulator, Range};
use super::apart::{Group, SPACING, grids, grouped};
use super::kernel::{self, Kernel, PLANE_BITS, PLANE_ROWS, Plane, ZERO_PLANE};
use super::levels::Levels;
use super::planes::{Digits, Grid, fill_doubles};
use super::wide;

/// Planes multiplied at a time: bounds the table of plane products to 16 MiB.
const GROUP_PLANES: usize = 1024;

/// The columns of a chunk and where their products go.
pub(crate) struct Chunk<'a> {
    /// Number of rows.
    pub(crate) rows: usize,
    /// The columns, as left factors.
    pub(crate) left: Vec<Digits<'a>>,
    /// The columns times the observation weights, as right factors; none if the weights are one.
    pub(crate) right: Option<Vec<Digits<'a>>>,
    /// The accumulator column of each.
    pub(crate) ids: Vec<usize>,
    /// Factors whose indicators are columns too; the first of the others is then the constant.
    pub(crate) factors: Vec<Levels<'a>>,
}

/// Memory that stretches of rows share.
#[derive(Default)]
struct Scratch {
    planes: Vec<Plane>,
    numbers: Vec<f64>,
}

/// The planes of a group of columns.
struct Side<'a> {
    digits: &'a [Digits<'a>],
    grids: &'a [Grid],
    groups: Vec<Group<'a>>,
    /// Index of the first plane of each column, before sorting, and the count at the end.
    first: Vec<usize>,
    /// Where the plane stands, after sorting by width.
    place: Vec<usize>,
    /// Width of each plane, in place order.
    bits: Vec<u32>,
}

impl<'a> Side<'a> {
    fn new(digits: &'a [Digits<'a>], grids: &'a [Grid], sorted: bool) -> Self {
        let mut first = vec![0];
        let mut widths = Vec::new();
        for grid in grids {
            widths.extend((0..grid.planes).map(|plane| grid.plane_bits(plane)));
            first.push(widths.len());
        }
        let mut order: Vec<usize> = (0..widths.len()).collect();
        if sorted {
            order.sort_by_key(|&plane| widths[plane]);
        }
        let mut place = vec![0; widths.len()];
        for (position, &plane) in order.iter().enumerate() {
            place[plane] = position;
        }
        let groups = grouped(digits);
        Self { digits, grids, groups, first, place, bits: order.iter().map(|&plane| widths[plane]).collect() }
    }

    /// Fills the planes of a stretch of rows and adds them up into `sums`, both in place order.
    fn fill(&self, start: usize, rows: usize, scratch: &mut Scratch, planes: &mut [Plane], sums: &mut [u128]) {
        let Scratch { planes: spare, numbers } = scratch;
        for group in &self.groups {
            match group {
                Group::One(column) => {
                    let digits = &self.digits[*column];
                    let cut = |grid: &Grid, planes: &mut [Plane]| digits.fill(grid, start, rows, planes);
                    self.fill_column(*column, cut, spare, planes, sums);
                }
                Group::Apart(run) => {
                    numbers.resize(numbers.len().max(run.places.len() * SPACING), 0.0);
                    run.slice(start..start + rows).transpose(numbers, SPACING);
                    for (column, numbers) in run.places.clone().zip(numbers.chunks_exact(SPACING)) {
                        let cut = |grid: &Grid, planes: &mut [Plane]| fill_doubles(&numbers[..rows], grid, planes);
                        self.fill_column(column, cut, spare, planes, sums);
                    }
                }
            }
        }
    }

    fn fill_column(
        &self,
        column: usize,
        cut: impl Fn(&Grid, &mut [Plane]),
        spare: &mut Vec<Plane>,
        planes: &mut [Plane],
        sums: &mut [u128],
    ) {
        let grid = &self.grids[column];
        if let [place] = self.place[self.first[column]..self.first[column + 1]] {
            cut(grid, &mut planes[place..=place]);
            sums[place] += total(&planes[place]);
            return;
        }
        spare.resize(grid.planes, ZERO_PLANE);
        cut(grid, spare);
        for (plane, filled) in spare.iter().enumerate() {
            let place = self.place[self.first[column] + plane];
            planes[place] = *filled;
            sums[place] += total(filled);
        }
    }

    /// The sum of the biased column: wide, in units of its grid.
    fn column_sum(&self, column: usize, sums: &[u128]) -> Vec<u64> {
        let planes = self.first[column]..self.first[column] + self.grids[column].planes;
        joined(planes.map(|plane| sums[self.place[plane]]))
    }
}

/// The sum of a column from those of its planes, the lowest first: wide, in units of its grid.
pub(super) fn joined(sums: impl ExactSizeIterator<Item = u128>) -> Vec<u64> {
    let mut total = vec![0u64; sums.len() + 2];
    for (plane, sum) in sums.enumerate() {
        wide::add_u128(&mut total, sum, PLANE_BITS as usize * plane, false);
    }
    total
}

pub(super) fn total(plane: &Plane) -> u128 {
    // 512 entries below 2^52 stay below 2^61.
    plane.as_flattened().iter().sum::<u64>() as u128
}

impl Chunk<'_> {
    /// Adds (or subtracts) all products of the chunk's columns; `None`, with nothing added, if a number is not finite.
    pub(crate) fn deposit(&self, kernel: Kernel, into: &mut Accumulator, negate: bool) -> Option<()> {
        let left = grids(&self.left)?;
        let right = match &self.right {
            Some(digits) => grids(digits)?,
            None => left.clone(),
        };
        self.reserve(into, &left, &right);
        let groups = groups(&left, &right);
        for (position, columns) in groups.iter().enumerate() {
            for others in &groups[position..] {
                self.deposit_group(kernel, into, negate, (columns, &left), (others, &right));
            }
        }
        for (position, factor) in self.factors.iter().enumerate() {
            self.deposit_levels(factor, &right, into, negate);
            for other in &self.factors[position + 1..] {
                self.deposit_pairs(factor, other, &right[0], into, negate);
            }
        }
        Some(())
    }

    /// Makes room: with weights, half of the weights' range is charged to either factor.
    fn reserve(&self, into: &mut Accumulator, left: &[Grid], right: &[Grid]) {
        let range = |grid: &Grid| (grid.planes > 0).then_some((grid.low, grid.low + grid.span as i32));
        let mut weight_range = (0i32, 0i32);
        for (a, b) in left.iter().zip(right).filter_map(|(l, r)| Some((range(l)?, range(r)?))) {
            weight_range = (weight_range.0.min(b.0 - a.0), weight_range.1.max(b.1 - a.1));
        }
        let half = (weight_range.0.div_euclid(2), weight_range.1.div_euclid(2) + 1);
        let indicators = self.factors.iter().flat_map(|factor| &factor.ids);
        let columns = self.ids.iter().chain(indicators.clone()).max().map_or(0, |last| last + 1);
        let charged = |(low, top): (i32, i32)| Range { low: low + half.0, top: top + half.1 };
        let ranges = self.ids.iter().zip(left).filter_map(|(&id, grid)| Some((id, charged(range(grid)?))));
        into.reserve(columns, ranges.chain(indicators.map(|&id| (id, charged((0, 1))))));
    }

    fn deposit_group(
        &self,
        kernel: Kernel,
        into: &mut Accumulator,
        negate: bool,
        (rows_of, left): (&std::ops::Range<usize>, &[Grid]),
        (columns_of, right): (&std::ops::Range<usize>, &[Grid]),
    ) {
        let symmetric = self.right.is_none() && rows_of == columns_of;
        let right_digits = self.right.as_deref().unwrap_or(&self.left);
        let a = Side::new(&self.left[rows_of.clone()], &left[rows_of.clone()], symmetric);
        let b = Side::new(&right_digits[columns_of.clone()], &right[columns_of.clone()], symmetric);
        let (rows, columns) = (a.bits.len(), b.bits.len());
        let mut products = vec![0u128; rows * columns];
        let (mut a_sums, mut b_sums) = (vec![0u128; rows], vec![0u128; columns]);
        let mut a_planes = vec![ZERO_PLANE; rows];
        let mut b_planes = vec![ZERO_PLANE; if symmetric { 0 } else { columns }];
        let mut scratch = Scratch::default();
        // Only products of a column with itself and later ones are needed.
        let first_right: Vec<usize> = if symmetric {
            (0..rows).collect()
        } else if rows_of == columns_of {
            (0..rows_of.len()).flat_map(|c| std::iter::repeat_n(b.first[c], a.grids[c].planes)).collect()
        } else {
            vec![0; rows]
        };
        for start in (0..self.rows).step_by(PLANE_ROWS) {
            let count = PLANE_ROWS.min(self.rows - start);
            a.fill(start, count, &mut scratch, &mut a_planes, &mut a_sums);
            if symmetric {
                kernel::gram(kernel, &a_planes, &a.bits, &a_planes, &a.bits, &first_right, &mut products);
            } else {
                b.fill(start, count, &mut scratch, &mut b_planes, &mut b_sums);
                kernel::gram(kernel, &a_planes, &a.bits, &b_planes, &b.bits, &first_right, &mut products);
            }
        }
        let b_sums = if symmetric { &a_sums } else { &b_sums };
        let totals = |side: &Side, sums: &[u128]| -> Vec<Vec<u64>> {
            (0..side.grids.len()).map(|column| side.column_sum(column, sums)).collect()
        };
        let (a_totals, b_totals) = (totals(&a, &a_sums), totals(&b, b_sums));
        let mut value = Vec::new();
        for j in 0..b.grids.len() {
            for i in 0..a.grids.len() {
                let (p, q) = (&a.grids[i], &b.grids[j]);
                if (rows_of == columns_of && i > j) || p.planes == 0 || q.planes == 0 {
                    continue;
                }
                let product = |k: usize, l: usize| {
                    let (x, y) = (a.place[a.first[i] + k], b.place[b.first[j] + l]);
                    let (x, y) = if symmetric { (x.min(y), x.max(y)) } else { (x, y) };
                    products[x * columns + y]
                };
                gather(&mut value, self.rows, (p, &a_totals[i]), (q, &b_totals[j]), product);
                into.deposit(
                    self.ids[rows_of.start + i],
                    self.ids[columns_of.start + j],
                    &value,
                    p.low + q.low,
                    negate,
                );
            }
        }
    }
}

/// The sum of the products of two columns in units of their grids, from those of their planes and from the columns' sums:
/// `Σxy = Σx'y' − βₓ Σy' − β_y Σx' + n βₓ β_y` for the biased `x' = x + βₓ`, `y' = y + β_y`.
pub(super) fn gather(
    value: &mut Vec<u64>,
    rows: usize,
    (p, p_total): (&Grid, &[u64]),
    (q, q_total): (&Grid, &[u64]),
    product: impl Fn(usize, usize) -> u128,
) {
    value.clear();
    value.resize((52 * (p.planes + q.planes) + 64) / 64 + 2, 0);
    for k in 0..p.planes {
        for l in 0..q.planes {
            wide::add_u128(value, product(k, l), 52 * (k + l), false);
        }
    }
    if p.biased {
        wide::add_shifted(value, q_total, p.span as usize, true);
    }
    if q.biased {
        wide::add_shifted(value, p_total, q.span as usize, true);
    }
    if p.biased && q.biased {
        wide::add_u128(value, rows as u128, (p.span + q.span) as usize, false);
    }
}

/// Consecutive columns whose planes together stay within a group.
fn groups(left: &[Grid], right: &[Grid]) -> Vec<std::ops::Range<usize>> {
    let mut groups = Vec::new();
    let (mut start, mut planes) = (0, 0);
    for (column, (l, r)) in left.iter().zip(right).enumerate() {
        let more = l.planes.max(r.planes);
        if planes + more > GROUP_PLANES && column > start {
            groups.push(start..column);
            (start, planes) = (column, 0);
        }
        planes += more;
    }
    groups.push(start..left.len());
    groups
}

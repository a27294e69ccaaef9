//! Products with the indicators of a factor: sums within its levels, whatever their number.
//!
//! Indicators of one factor never overlap, and a product with one is a sum over its rows: one pass over the rows serves
//! all levels, where planes of zeros and ones would be multiplied once for each pair of them.

use super::accumulator::Accumulator;
use super::chunk::Chunk;
use super::kernel::{PLANE_BITS, PLANE_ROWS, Plane, ZERO_PLANE};
use super::planes::Grid;
use super::wide;

/// Indicator columns of one factor.
#[derive(Clone, Debug)]
pub(crate) struct Levels<'a> {
    /// The level of every row.
    pub(crate) codes: &'a [u32],
    /// The place of a code among the columns; `u32::MAX` for one that has none.
    places: Vec<u32>,
    /// The accumulator column of each.
    pub(crate) ids: Vec<usize>,
}

impl<'a> Levels<'a> {
    /// The columns `(code, id)`, no code twice.
    pub(crate) fn new(codes: &'a [u32], columns: &[(u32, usize)]) -> Self {
        let count = columns.iter().map(|(code, _)| *code as usize + 1).max().unwrap_or(0);
        let mut places = vec![u32::MAX; count];
        for (place, (code, _)) in columns.iter().enumerate() {
            places[*code as usize] = place as u32;
        }
        Self { codes, places, ids: columns.iter().map(|(_, id)| *id).collect() }
    }

    /// Some of the rows.
    pub(crate) fn slice(&self, rows: std::ops::Range<usize>) -> Self {
        Self { codes: &self.codes[rows], places: self.places.clone(), ids: self.ids.clone() }
    }

    fn place(&self, row: usize) -> Option<usize> {
        let place = *self.places.get(self.codes[row] as usize)?;
        (place != u32::MAX).then_some(place as usize)
    }
}

impl Chunk<'_> {
    /// Adds (or subtracts) the products of a factor's indicators with the chunk's other columns, whose grids as right
    /// factors these are, and with themselves.
    pub(super) fn deposit_levels(&self, levels: &Levels<'_>, grids: &[Grid], into: &mut Accumulator, negate: bool) {
        let first: Vec<usize> = starts(grids);
        let planes = first[grids.len()];
        let mut sums = vec![0u128; levels.ids.len() * planes];
        let mut rows = vec![0u128; levels.ids.len()];
        let mut filled = vec![ZERO_PLANE; planes];
        for start in (0..self.rows).step_by(PLANE_ROWS) {
            let count = PLANE_ROWS.min(self.rows - start);
            self.fill_right(grids, &first, start, count, &mut filled);
            for row in 0..count {
                let Some(place) = levels.place(start + row) else { continue };
                rows[place] += 1;
                for (sum, plane) in sums[place * planes..(place + 1) * planes].iter_mut().zip(&filled) {
                    *sum += plane[row / 8][row % 8] as u128;
                }
            }
        }
        for (place, &id) in levels.ids.iter().enumerate().filter(|(place, _)| rows[*place] > 0) {
            for (column, grid) in grids.iter().enumerate().filter(|(_, grid)| grid.planes > 0) {
                let digits = &sums[place * planes..][first[column]..first[column + 1]];
                let value = assemble(digits, grid, rows[place]);
                into.deposit(id, self.ids[column], &value, grid.low, negate);
                // The constant's sum is the indicator's product with itself.
                if column == 0 {
                    into.deposit(id, id, &value, grid.low, negate);
                }
            }
        }
    }

    /// The same for the products of two factors' indicators.
    pub(super) fn deposit_pairs(
        &self,
        left: &Levels<'_>,
        right: &Levels<'_>,
        constant: &Grid,
        into: &mut Accumulator,
        negate: bool,
    ) {
        let pair = |row: usize| Some((left.place(row)?, right.place(row)?, row));
        let mut pairs: Vec<(usize, usize, usize)> = (0..self.rows).filter_map(pair).collect();
        pairs.sort_unstable();
        let grids = std::slice::from_ref(constant);
        let first = starts(grids);
        let blocks: Vec<Vec<Plane>> = (0..self.rows)
            .step_by(PLANE_ROWS)
            .map(|start| {
                let mut filled = vec![ZERO_PLANE; constant.planes];
                self.fill_right(grids, &first, start, PLANE_ROWS.min(self.rows - start), &mut filled);
                filled
            })
            .collect();
        let mut digits = vec![0u128; constant.planes];
        for run in pairs.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            digits.fill(0);
            for &(_, _, row) in run {
                let inside = row % PLANE_ROWS;
                for (digit, plane) in digits.iter_mut().zip(&blocks[row / PLANE_ROWS]) {
                    *digit += plane[inside / 8][inside % 8] as u128;
                }
            }
            let value = assemble(&digits, constant, run.len() as u128);
            into.deposit(left.ids[run[0].0], right.ids[run[0].1], &value, constant.low, negate);
        }
    }

    /// Planes of the first columns, as right factors, for a stretch of rows.
    fn fill_right(&self, grids: &[Grid], first: &[usize], start: usize, rows: usize, planes: &mut [Plane]) {
        let digits = self.right.as_deref().unwrap_or(&self.left);
        for (column, grid) in grids.iter().enumerate() {
            digits[column].fill(grid, start, rows, &mut planes[first[column]..first[column + 1]]);
        }
    }
}

/// Where each column's planes begin, and their number at the end.
fn starts(grids: &[Grid]) -> Vec<usize> {
    let mut first = vec![0];
    first.extend(grids.iter().scan(0, |planes, grid| {
        *planes += grid.planes;
        Some(*planes)
    }));
    first
}

/// The sum whose digits were added up over so many rows, less their biases.
fn assemble(digits: &[u128], grid: &Grid, rows: u128) -> Vec<u64> {
    let mut value = vec![0u64; (PLANE_BITS as usize * grid.planes + 64) / 64 + 2];
    for (plane, digit) in digits.iter().enumerate() {
        wide::add_u128(&mut value, *digit, PLANE_BITS as usize * plane, false);
    }
    if grid.biased {
        wide::add_u128(&mut value, rows, grid.span as usize, true);
    }
    value
}

//! Sums of products of few columns, pair by pair: rows lie side by side in a vector, and no column is padded to a panel.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::rows::Shifted;
use super::{PANEL, Panels};
use crate::strided::{Run, Strided, runs, spacing};

/// Columns up to which the pairs are faster than panels.
pub(super) const FEW: usize = 192;
/// Chains of a sum, whatever the width of the vectors.
const LANES: usize = 8;
/// Rows of which all tiles are taken before the next: few enough for the first-level cache.
const PIECE: usize = 256;
/// Columns of a group; a tile is the products of one group with another.
const SIDE: usize = 4;
/// The chains of a tile: product `(i, j)` at `4 i + j`.
type Tile = [[f64; LANES]; SIDE * SIDE];

/// Rows whose columns are brought side by side: enough of a column for the processor to foresee what is read next, few
/// enough for the second-level cache.
fn chunk_rows(columns: usize) -> usize {
    ((1 << 16) / columns.max(1)).clamp(PIECE, 8 * PIECE) / PIECE * PIECE
}

/// Rows of a chain's sums, in whole chunks: so many that all sums of all spans are few beside the rows.
fn span_rows(columns: usize) -> usize {
    (16 * columns).max(1).next_multiple_of(chunk_rows(columns))
}

/// Roundings that a product may have suffered by the sums: those of a chain, of the chains of a span, and of the spans.
pub(super) fn roundings(rows: usize, columns: usize) -> usize {
    let span = span_rows(columns);
    rows.min(span).div_ceil(LANES) + LANES + rows.div_ceil(span)
}

/// [`super::rows::products`] of at most 192 columns, each sum in eight chains over the rows of a span.
pub(super) fn products(columns: &[Shifted<'_>], rows: usize) -> Panels {
    let values: Vec<Strided<'_>> = columns.iter().map(|column| column.values).collect();
    let shifts: Vec<f64> = columns.iter().map(|column| column.shift).collect();
    let groups = columns.len().div_ceil(SIDE);
    let runs = runs(&values);
    let (chunk, span) = (chunk_rows(columns.len()), span_rows(columns.len()));
    let spacing = spacing(chunk);
    let starts: Vec<usize> = (0..rows).step_by(span).collect();
    let parts: Vec<Vec<f64>> = starts
        .into_par_iter()
        .map_init(
            || vec![0.0; groups * SIDE * spacing],
            |columns, first| {
                let mut tiles = vec![[[0.0; LANES]; SIDE * SIDE]; groups * (groups + 1) / 2];
                for start in (first..rows.min(first + span)).step_by(chunk) {
                    let rows = start..rows.min(start + chunk);
                    let (runs, shifts, tiles) = (&runs, &shifts, &mut tiles);
                    pulp::Arch::new().dispatch(Chunk { runs, shifts, rows, columns, spacing, tiles });
                }
                tiles.as_flattened().iter().map(|lanes| lanes.iter().sum()).collect()
            },
        )
        .collect();
    let mut total = vec![0.0; groups * (groups + 1) / 2 * SIDE * SIDE];
    for part in parts {
        total.iter_mut().zip(part).for_each(|(sum, more)| *sum += more);
    }
    let size = columns.len().div_ceil(PANEL) * PANEL;
    let mut sums = Panels::zero(size, size);
    let tiles = (0..groups).flat_map(|high| (0..=high).map(move |low| (high, low)));
    for ((high, low), tile) in tiles.zip(total.as_chunks::<{ SIDE * SIDE }>().0) {
        for (at, sum) in tile.iter().enumerate() {
            let (i, j) = (SIDE * high + at / SIDE, SIDE * low + at % SIDE);
            if j <= i && i < columns.len() {
                sums.set(i, j, *sum);
            }
        }
    }
    sums
}

/// Some rows of all columns.
struct Chunk<'a, 'b> {
    runs: &'b [Run<'a>],
    shifts: &'b [f64],
    rows: Range<usize>,
    /// Where the rows are brought side by side, column by column; columns beyond the last are zero.
    columns: &'b mut [f64],
    /// From each column to the next.
    spacing: usize,
    /// Of groups `(high, low)`, `low ≤ high`, in order.
    tiles: &'b mut [Tile],
}

impl WithSimd for Chunk<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { runs, shifts, rows, columns, spacing, tiles } = self;
        let count = rows.len();
        let padded = count.next_multiple_of(LANES);
        for run in runs {
            let targets = &mut columns[run.places.start * spacing..run.places.end * spacing];
            match run.contiguous() {
                Some(values) => {
                    let shift = shifts[run.places.start];
                    targets[..count].iter_mut().zip(&values[rows.clone()]).for_each(|(z, x)| *z = x - shift);
                }
                None => {
                    run.slice(rows.clone()).transpose(targets, spacing);
                    for (target, shift) in targets.chunks_exact_mut(spacing).zip(&shifts[run.places.clone()]) {
                        target[..count].iter_mut().for_each(|z| *z -= shift);
                    }
                }
            }
            targets.chunks_exact_mut(spacing).for_each(|target| target[count..padded].fill(0.0));
        }
        for start in (0..padded).step_by(PIECE) {
            let rows = start..padded.min(start + PIECE);
            let mut tiles = tiles.iter_mut();
            for high in 0..columns.len() / (SIDE * spacing) {
                let left = group(columns, spacing, high, &rows);
                for low in 0..=high {
                    if let Some(tile) = tiles.next() {
                        add_tile(simd, left, group(columns, spacing, low, &rows), tile);
                    }
                }
            }
        }
    }
}

/// Some rows of a group of columns.
#[inline(always)]
fn group<'a>(columns: &'a [f64], spacing: usize, group: usize, rows: &Range<usize>) -> [&'a [f64]; SIDE] {
    let columns = &columns[SIDE * group * spacing..SIDE * (group + 1) * spacing];
    [
        &columns[rows.start..rows.end],
        &columns[spacing + rows.start..spacing + rows.end],
        &columns[2 * spacing + rows.start..2 * spacing + rows.end],
        &columns[3 * spacing + rows.start..3 * spacing + rows.end],
    ]
}

/// Adds the products of two groups, every eighth row to the same chain.
#[inline(always)]
fn add_tile<S: Simd>(simd: S, left: [&[f64]; SIDE], right: [&[f64]; SIDE], tile: &mut Tile) {
    for part in 0..LANES / S::F64_LANES {
        if S::F64_LANES == LANES {
            add_columns(simd, left, right, part, tile);
        } else {
            // (Sixteen registers hold the sums of two columns with four.)
            let (lower, upper) = tile.split_at_mut(SIDE * SIDE / 2);
            add_two_columns(simd, [left[0], left[1]], right, part, lower);
            add_two_columns(simd, [left[2], left[3]], right, part, upper);
        }
    }
}

/// Products of some columns with four, the sums in registers: named one by one, since as arrays they would live in memory.
macro_rules! add_columns {
    ($name:ident, $count:literal, [$($column:ident)*], $($x:ident $i:literal [$($s:ident $y:ident $j:literal),*]),*) => {
        #[inline(always)]
        fn $name<S: Simd>(
            simd: S,
            left: [&[f64]; $count],
            right: [&[f64]; SIDE],
            part: usize,
            tile: &mut [[f64; LANES]],
        ) {
            let parts = LANES / S::F64_LANES;
            $(
                let $x = S::as_simd_f64s(left[$i]).0;
                $(let mut $s = S::as_simd_f64s(&tile[SIDE * $i + $j]).0[part];)*
            )*
            let [$($column),*] = right;
            $(let $column = S::as_simd_f64s($column).0;)*
            let length = usize::MAX $(.min($x.len()))* $(.min($column.len()))*;
            let mut k = part;
            while k < length {
                $(let $column = $column[k];)*
                $(
                    let x = $x[k];
                    $($s = simd.mul_add_f64s(x, $y, $s);)*
                )*
                k += parts;
            }
            $($(S::as_mut_simd_f64s(&mut tile[SIDE * $i + $j]).0[part] = $s;)*)*
        }
    };
}

add_columns!(add_columns, 4, [y0 y1 y2 y3], x0 0 [a0 y0 0, a1 y1 1, a2 y2 2, a3 y3 3], x1 1 [b0 y0 0, b1 y1 1, b2 y2 2, b3 y3 3],
    x2 2 [c0 y0 0, c1 y1 1, c2 y2 2, c3 y3 3], x3 3 [d0 y0 0, d1 y1 1, d2 y2 2, d3 y3 3]);
add_columns!(add_two_columns, 2, [y0 y1 y2 y3], x0 0 [a0 y0 0, a1 y1 1, a2 y2 2, a3 y3 3], x1 1 [b0 y0 0, b1 y1 1, b2 y2 2, b3 y3 3]);

#[cfg(test)]
mod tests {
    use super::super::kernel::tests::machines;
    use super::*;

    /// Numbers of both signs and several sizes.
    fn numbers(count: usize) -> Vec<f64> {
        let mut state = 88172645463325252u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 53) as f64 - 0.4
        };
        (0..count).map(|_| next() * next()).collect()
    }

    #[test]
    fn chains_are_the_same_on_every_machine() {
        for (count, rows) in [(1, 1), (3, 7), (4, 8), (6, 300), (11, 2047)] {
            let values = numbers(rows * count);
            // Half of the columns by rows, half side by side.
            let beside = |c: usize| Strided::from(&values[c * rows..(c + 1) * rows]);
            let apart = |c: usize| Strided::new(&values[c..], rows, count).expect("within the numbers");
            let columns: Vec<Strided<'_>> =
                (0..count).map(|c| if c < count / 2 { apart(c) } else { beside(c) }).collect();
            let shifts: Vec<f64> = (0..count).map(|c| c as f64 / 16.0).collect();
            let (runs, groups) = (runs(&columns), count.div_ceil(SIDE));
            let chain = |i: usize, j: usize, lane: usize| {
                let z = |c: usize, row: usize| columns[c].iter().nth(row).map_or(0.0, |x| x - shifts[c]);
                (lane..rows).step_by(LANES).fold(0.0, |sum: f64, row| z(i, row).mul_add(z(j, row), sum))
            };
            for machine in machines() {
                let mut tiles = vec![[[0.0; LANES]; SIDE * SIDE]; groups * (groups + 1) / 2];
                let mut scratch = vec![0.0; groups * SIDE * spacing(rows)];
                let (columns, spacing, tiles_mut) = (&mut scratch[..], spacing(rows), &mut tiles[..]);
                let work = Chunk { runs: &runs, shifts: &shifts, rows: 0..rows, columns, spacing, tiles: tiles_mut };
                machine.dispatch(work);
                for i in 0..count {
                    for j in 0..=i {
                        let (high, low) = (i / SIDE, j / SIDE);
                        let sums = tiles[high * (high + 1) / 2 + low][SIDE * (i % SIDE) + j % SIDE];
                        let step = if rows > 300 { 3 } else { 1 };
                        for lane in (0..LANES).step_by(step) {
                            assert_eq!(sums[lane], chain(i, j, lane), "{machine:?}: {count} columns, {rows} rows");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn spans_and_chunks_lose_no_row() {
        for (count, rows) in [(2, 1), (5, 4097), (40, 3000), (192, 3100)] {
            // Whole numbers: every sum is exact, whatever its order.
            let values: Vec<f64> = numbers(rows * count).iter().map(|x| (64.0 * x).round()).collect();
            let columns: Vec<Shifted<'_>> =
                values.chunks(rows).map(|column| Shifted { values: Strided::from(column), shift: 2.0 }).collect();
            let sums = products(&columns, rows);
            for (i, j) in (0..count).step_by(3).flat_map(|i| (0..=i).step_by(5).map(move |j| (i, j))) {
                let pairs = values[i * rows..(i + 1) * rows].iter().zip(&values[j * rows..(j + 1) * rows]);
                let expected: f64 = pairs.map(|(x, y)| (x - 2.0) * (y - 2.0)).sum();
                assert_eq!(sums.panel(i / PANEL)[j][i % PANEL], expected, "{count} columns, {rows} rows: {i}, {j}");
            }
        }
    }
}

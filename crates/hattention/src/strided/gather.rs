//! Columns read together: numbers of one row that lie in the same cache lines are fetched once.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::{Strided, squares};

/// Columns of a list whose numbers are, row by row, a fixed distance apart; and every column that is side by side alone.
#[derive(Clone, Debug)]
pub(crate) struct Run<'a> {
    pub(super) first: Strided<'a>,
    /// Places in the list.
    pub(crate) places: Range<usize>,
    /// From a column to the next.
    pub(super) distance: usize,
}

/// The columns of a list, cut into runs.
pub(crate) fn runs<'a>(columns: &[Strided<'a>]) -> Vec<Run<'a>> {
    let mut runs: Vec<Run<'a>> = Vec::new();
    for (place, column) in columns.iter().enumerate() {
        match runs.last_mut().and_then(|run| Some((run.distance_to(column)?, run))) {
            Some((distance, run)) => {
                run.places.end += 1;
                run.distance = distance;
            }
            None => runs.push(Run { first: *column, places: place..place + 1, distance: 0 }),
        }
    }
    runs
}

impl<'a> Run<'a> {
    /// From each column of the run to the next, if `next` can go on with it.
    fn distance_to(&self, next: &Strided<'a>) -> Option<usize> {
        let (first, count) = (self.first, self.places.len());
        if first.stride <= 1 || first.stride != next.stride || first.rows != next.rows || first.rows <= 1 {
            return None;
        }
        let bytes = (next.values.as_ptr() as usize).checked_sub(first.values.as_ptr() as usize)?;
        let from_first = (bytes % size_of::<f64>() == 0).then_some(bytes / size_of::<f64>())?;
        let distance = if count == 1 { from_first } else { self.distance };
        // What the run reads must lie within the first column's numbers, so that they are all it needs.
        let last = (first.rows - 1).checked_mul(first.stride)?.checked_add(from_first)?;
        (count.checked_mul(distance)? == from_first && last < first.values.len()).then_some(distance)
    }

    /// The only column, if its numbers lie side by side.
    pub(crate) fn contiguous(&self) -> Option<&'a [f64]> {
        if self.places.len() == 1 { self.first.contiguous() } else { None }
    }

    /// The first column.
    pub(crate) fn first(&self) -> Strided<'a> {
        self.first
    }

    /// The rows of a range within the columns.
    pub(crate) fn slice(&self, rows: Range<usize>) -> Self {
        Self { first: self.first.slice(rows), ..self.clone() }
    }

    /// Parts of at most so many columns.
    pub(crate) fn parts(&self, columns: usize) -> impl Iterator<Item = Self> {
        self.places.clone().step_by(columns).map(move |place| self.part(place..self.places.end.min(place + columns)))
    }

    /// The same columns in another list, where they stand so many places later.
    pub(crate) fn moved(&self, by: usize) -> Self {
        Self { places: self.places.start + by..self.places.end + by, ..self.clone() }
    }

    /// The columns that stand at some places of the list, all of them places of the run.
    pub(crate) fn part(&self, places: Range<usize>) -> Self {
        let skipped = (places.start - self.places.start) * self.distance;
        let values = self.first.values.get(skipped..).unwrap_or(&[]);
        Self { first: Strided { values, ..self.first }, places, distance: self.distance }
    }

    /// Numbers of a row, from column `first` of the run on; `BESIDE` says that the columns are one number apart.
    #[inline(always)]
    #[allow(clippy::manual_memcpy, reason = "iterators and copies may stay calls, one a row")]
    pub(crate) fn piece<const W: usize, const BESIDE: bool>(&self, row: usize, first: usize) -> [f64; W] {
        let at = row * self.first.stride + first * self.distance;
        let numbers = &self.first.values[at..];
        let mut piece = [0.0; W];
        if BESIDE {
            let beside = &numbers[..W];
            for c in 0..W {
                piece[c] = beside[c];
            }
        } else {
            for c in 0..W {
                piece[c] = numbers[c * self.distance];
            }
        }
        piece
    }

    /// Rows in tiles, fetched when their turn comes.
    #[inline(always)]
    pub(super) fn tiles(&self, rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let ahead = self.rows_ahead();
        rows.clone().step_by(TILE_ROWS).map(
            #[inline(always)]
            move |start| {
                if (start - rows.start).is_multiple_of(ahead) {
                    self.fetch(start..rows.end.min(start + ahead));
                }
                start..rows.end.min(start + TILE_ROWS)
            },
        )
    }

    /// Rows that are fetched at a time, in whole tiles.
    fn rows_ahead(&self) -> usize {
        let row = size_of::<f64>() * self.first.stride.clamp(1, FETCHED_BYTES);
        (FETCHED_BYTES / row / TILE_ROWS).max(1) * TILE_ROWS
    }

    /// Reads one number of every cache line, in the order of memory: the processor foresees that order, and not that in which
    /// tiles are read.
    #[inline(always)]
    fn fetch(&self, rows: Range<usize>) {
        if self.distance != 1 || rows.is_empty() {
            return;
        }
        let (stride, count) = (self.first.stride, self.places.len());
        let mut seen = 0;
        let (pieces, length) =
            if stride < 2 * count { (1, (rows.len() - 1) * stride + count) } else { (rows.len(), count) };
        for piece in 0..pieces {
            let numbers = &self.first.values[(rows.start + piece) * stride..][..length];
            let mut at = 0;
            while at < length {
                seen |= numbers[at].to_bits();
                at += LINE;
            }
        }
        std::hint::black_box(seen);
    }

    /// Copies all rows into `target`, column `c` of the run to `target[c · spacing ..]`.
    pub(crate) fn transpose(&self, target: &mut [f64], spacing: usize) {
        if squares::transpose(self, target, spacing) {
            return;
        }
        pulp::Arch::new().dispatch(OfRun { run: self, work: Transpose { run: self, target, spacing } });
    }
}

/// Work on a run, for `dispatch`. (Closures of this size are not inlined where the vectors are switched on.)
pub(crate) struct OfRun<'a, 'b, W> {
    pub(crate) run: &'b Run<'a>,
    pub(crate) work: W,
}

impl<W: Pieces> WithSimd for OfRun<'_, '_, W> {
    type Output = W;

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) -> W {
        for rows in self.run.tiles(self.work.rows()) {
            if self.run.distance == 1 {
                cut::<true>(self.run.places.len(), rows, &mut self.work);
            } else {
                cut::<false>(self.run.places.len(), rows, &mut self.work);
            }
        }
        self.work
    }
}

/// Work on some columns of a run at a time, whose number the compiler knows.
pub(crate) trait Pieces {
    /// The rows of the run that are read.
    fn rows(&self) -> Range<usize>;

    /// Columns `first .. first + W` of the run, which are one number apart if `BESIDE`.
    fn piece<const W: usize, const BESIDE: bool>(&mut self, rows: Range<usize>, first: usize);
}

#[inline(always)]
fn cut<const BESIDE: bool>(count: usize, rows: Range<usize>, work: &mut impl Pieces) {
    let mut first = 0;
    while count - first >= 8 {
        work.piece::<8, BESIDE>(rows.clone(), first);
        first += 8;
    }
    if count - first >= 4 {
        work.piece::<4, BESIDE>(rows.clone(), first);
        first += 4;
    }
    if count - first >= 2 {
        work.piece::<2, BESIDE>(rows.clone(), first);
        first += 2;
    }
    if count > first {
        work.piece::<1, BESIDE>(rows, first);
    }
}

/// Rows of which all columns of a run are read before the next: few enough for the first-level caches.
const TILE_ROWS: usize = 64;
/// What is fetched at a time: in the second-level cache at least.
const FETCHED_BYTES: usize = 1 << 16;
/// Numbers of a cache line.
const LINE: usize = 8;
/// Rows whose pieces are exchanged together.
const SQUARE: usize = 8;

struct Transpose<'a, 'b> {
    run: &'b Run<'a>,
    target: &'b mut [f64],
    spacing: usize,
}

impl Pieces for Transpose<'_, '_> {
    fn rows(&self) -> Range<usize> {
        0..self.run.first.rows
    }

    #[inline(always)]
    fn piece<const W: usize, const BESIDE: bool>(&mut self, rows: Range<usize>, first: usize) {
        let Self { run, target, spacing } = self;
        let stride = run.first.stride;
        let whole = rows.start + rows.len() / SQUARE * SQUARE;
        for row in (rows.start..whole).step_by(SQUARE) {
            let from = &run.first.values[row * stride + first * run.distance..];
            for c in 0..W {
                let to = &mut target[(first + c) * *spacing + row..][..SQUARE];
                for r in 0..SQUARE {
                    to[r] = if BESIDE { from[r * stride..][..W][c] } else { from[r * stride + c * run.distance] };
                }
            }
        }
        for row in whole..rows.end {
            let numbers: [f64; W] = run.piece::<W, BESIDE>(row, first);
            for c in 0..W {
                target[(first + c) * *spacing + row] = numbers[c];
            }
        }
    }
}

/// Distance of columns in scratch: not a multiple of a power of two by which caches choose their sets.
pub(crate) const fn spacing(rows: usize) -> usize {
    rows.next_multiple_of(8) + 8
}

/// Some rows of all columns of a list, in order: where they lie if side by side, else copied into `scratch`.
pub(crate) fn gather<'a: 's, 's>(runs: &[Run<'a>], rows: Range<usize>, scratch: &'s mut Vec<f64>) -> Vec<&'s [f64]> {
    let (count, spacing) = (rows.len(), spacing(rows.len()));
    let apart = |run: &&Run<'a>| run.contiguous().is_none();
    let copied: usize = runs.iter().filter(apart).map(|run| run.places.len()).sum();
    if scratch.len() < copied * spacing {
        scratch.resize(copied * spacing, 0.0);
    }
    let mut rest = &mut scratch[..];
    for run in runs.iter().filter(apart) {
        let (own, others) = std::mem::take(&mut rest).split_at_mut(run.places.len() * spacing);
        run.slice(rows.clone()).transpose(own, spacing);
        rest = others;
    }
    let mut copies = scratch.chunks_exact(spacing).map(|column| &column[..count]);
    let mut columns = Vec::with_capacity(runs.last().map_or(0, |run| run.places.end));
    for run in runs {
        match run.contiguous() {
            Some(values) => columns.push(&values[rows.clone()]),
            None => columns.extend(copies.by_ref().take(run.places.len())),
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dense::kernel::tests::machines;

    #[test]
    fn rows_become_columns_on_every_machine() {
        let values: Vec<f64> = (0..6000).map(|i| i as f64).collect();
        for (count, distance, stride) in
            [(1, 0, 3), (2, 1, 2), (7, 1, 9), (8, 1, 8), (19, 1, 30), (5, 2, 11), (9, 200, 2)]
        {
            for rows in [0, 1, 3, 4, 7, 8, 65, 130] {
                let run = Run { first: Strided { values: &values, rows, stride }, places: 0..count, distance };
                let spacing = spacing(rows);
                let expected: Vec<f64> = (0..count * spacing)
                    .map(|at| (at / spacing, at % spacing))
                    .map(|(c, row)| if row < rows { values[row * stride + c * distance] } else { -1.0 })
                    .collect();
                let mut got = vec![-1.0; count * spacing];
                run.transpose(&mut got, spacing);
                assert_eq!(got, expected, "{count} columns {distance} apart, {rows} rows {stride} apart");
                for machine in machines() {
                    got.fill(-1.0);
                    let work = Transpose { run: &run, target: &mut got, spacing };
                    machine.dispatch(OfRun { run: &run, work });
                    assert_eq!(got, expected, "{machine:?}: {count} columns, {rows} rows {stride} apart");
                }
            }
        }
    }
}

//! Columns of a chunk that lie apart, read together: their grids, and stretches of rows to cut planes from.

use std::ops::Range;

use super::kernel::PLANE_ROWS;
use super::planes::{Digits, Grid, Magnitudes, scaled_bits};
use crate::strided::{OfRun, Pieces, Run, runs, spacing};

/// Columns copied at a time: a stretch of 512 rows of them stays in the second-level cache.
const TOGETHER: usize = 32;
/// Distance of two columns' stretches.
pub(super) const SPACING: usize = spacing(PLANE_ROWS);

/// Consecutive columns of a chunk that are read together.
pub(super) enum Group<'a> {
    /// Any column.
    One(usize),
    /// Plain numbers that lie apart; the places of the run are those among the columns.
    Apart(Run<'a>),
}

/// All columns, in groups.
pub(super) fn grouped<'a>(digits: &[Digits<'a>]) -> Vec<Group<'a>> {
    let mut groups = Vec::new();
    let mut column = 0;
    for part in digits.chunk_by(|a, b| matches!((a, b), (Digits::Apart(_), Digits::Apart(_)))) {
        let apart: Vec<_> =
            part.iter().map_while(|d| if let Digits::Apart(values) = d { Some(*values) } else { None }).collect();
        if apart.is_empty() {
            groups.extend((column..column + part.len()).map(Group::One));
        }
        let all = runs(&apart);
        groups.extend(all.iter().flat_map(|run| run.parts(TOGETHER)).map(|run| Group::Apart(run.moved(column))));
        column += part.len();
    }
    groups
}

/// The grids of all columns; `None` if a number is not finite.
pub(super) fn grids(digits: &[Digits<'_>]) -> Option<Vec<Grid>> {
    let mut grids = Vec::with_capacity(digits.len());
    let mut scratch = Vec::new();
    for group in grouped(digits) {
        match group {
            Group::One(column) => grids.push(digits[column].grid()?),
            Group::Apart(run) => run_grids(&run, &mut scratch, &mut grids)?,
        }
    }
    Some(grids)
}

fn run_grids(run: &Run<'_>, scratch: &mut Vec<f64>, grids: &mut Vec<Grid>) -> Option<()> {
    let count = run.places.len();
    let rows = run.first().len();
    let none = Include { run, largest: [0; TOGETHER], smallest: [u64::MAX; TOGETHER], any: [0; TOGETHER] };
    let Include { largest, smallest, any, .. } = pulp::Arch::new().dispatch(OfRun { run, work: none });
    let magnitudes: [Magnitudes; TOGETHER] =
        std::array::from_fn(|c| Magnitudes { largest: largest[c], smallest: smallest[c], any: any[c] });
    // Columns that may be whole: by what they are scaled, and the bits used so far.
    let mut whole: Vec<Option<(f64, u64)>> = magnitudes[..count].iter().map(|m| Some((m.whole_scale()?, 0))).collect();
    scratch.resize(TOGETHER * SPACING, 0.0);
    for start in (0..rows).step_by(PLANE_ROWS) {
        if whole.iter().all(Option::is_none) {
            break;
        }
        let stretch = start..rows.min(start + PLANE_ROWS);
        run.slice(stretch.clone()).transpose(scratch, SPACING);
        for (state, values) in whole.iter_mut().zip(scratch.chunks_exact(SPACING)) {
            *state = state.and_then(|(scale, all)| {
                let (fractional, used) = scaled_bits(&values[..stretch.len()], scale);
                (fractional == 0).then_some((scale, all | used))
            });
        }
    }
    for (magnitudes, whole) in magnitudes[..count].iter().zip(whole) {
        let wide = magnitudes.grid()?;
        grids.push(whole.filter(|(_, used)| *used != 0).map_or(wide, |(_, used)| magnitudes.whole_grid(used)));
    }
    Some(())
}

/// The magnitudes of a run's columns, one array for each bound, as vectors hold them.
struct Include<'a, 'b> {
    run: &'b Run<'a>,
    largest: [u64; TOGETHER],
    smallest: [u64; TOGETHER],
    any: [u64; TOGETHER],
}

impl Pieces for Include<'_, '_> {
    fn rows(&self) -> Range<usize> {
        0..self.run.first().len()
    }

    #[inline(always)]
    fn piece<const W: usize, const BESIDE: bool>(&mut self, rows: Range<usize>, first: usize) {
        let (mut largest, mut smallest, mut any) = ([0; W], [u64::MAX; W], [0; W]);
        for row in rows {
            let numbers = self.run.piece::<W, BESIDE>(row, first);
            for c in 0..W {
                let mut all = Magnitudes { largest: largest[c], smallest: smallest[c], any: any[c] };
                all.include(numbers[c]);
                (largest[c], smallest[c], any[c]) = (all.largest, all.smallest, all.any);
            }
        }
        for c in 0..W {
            self.largest[first + c] = self.largest[first + c].max(largest[c]);
            self.smallest[first + c] = self.smallest[first + c].min(smallest[c]);
            self.any[first + c] |= any[c];
        }
    }
}

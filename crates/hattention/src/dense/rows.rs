//! Sums of products of the columns of a table in memory, in doubles.

use std::ops::Range;

use rayon::prelude::*;

use super::Panels;
use super::factor::on_panels;
use super::kernel::{PANEL, Row, TILE, ZERO_TILE, multiply};
use super::pairs;
use crate::strided::{OfRun, Pieces, Run, Strided, runs};

/// Rows of a chain of products: few enough for short chains and the caches, enough to pay for gathering.
const CHAIN: usize = 256;

/// Roundings that the product of two of so many columns may have suffered, in units of `u ‖a‖ ‖b‖`: those of the two
/// subtractions of shifts, of a chain, and of the sums of chains.
pub(crate) fn roundings(rows: usize, columns: usize) -> f64 {
    let sums =
        if columns <= pairs::FEW { pairs::roundings(rows, columns) } else { CHAIN.min(rows) + rows.div_ceil(CHAIN) };
    (sums + 4) as f64
}

/// A column less a number.
#[derive(Clone, Copy)]
pub(crate) struct Shifted<'a> {
    pub(crate) values: Strided<'a>,
    pub(crate) shift: f64,
}

/// Sums of products `Σ aᵢ bᵢ` of all columns (each less its shift): the lower triangle, by rows.
///
/// Threads share the rows of few columns and the products of many. Chains and their sums follow the order of the rows: no
/// number of threads changes a bit.
pub(crate) fn products(columns: &[Shifted<'_>], rows: usize) -> Panels {
    if columns.len() <= pairs::FEW {
        return pairs::products(columns, rows);
    }
    let size = columns.len().div_ceil(PANEL) * PANEL;
    let mut sums = Panels::zero(size, size);
    let panels: Vec<PanelColumns<'_>> = columns.chunks(PANEL).map(PanelColumns::of).collect();
    let mut packed = vec![[0.0; PANEL]; panels.len() * CHAIN];
    for start in (0..rows).step_by(CHAIN) {
        let depth = CHAIN.min(rows - start);
        packed.par_chunks_mut(CHAIN).zip(&panels).for_each(|(packed, panel)| panel.pack(start, &mut packed[..depth]));
        on_panels(&mut sums.data, size, |q, panel| add_chain(&packed, depth, q, panel));
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

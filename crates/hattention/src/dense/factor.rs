//! Cholesky's factor and its inverse.

use rayon::prelude::*;

use super::Panels;
use super::kernel::{PANEL, Row, TILE, ZERO_TILE, add_rows, multiply, substitute};
use crate::interrupt::Stop;

/// Panels worth a trip to other threads.
const PARALLEL_FROM: usize = 4;

/// Runs `work` on every panel from the given one, on all threads if that pays. The result does not depend on it.
pub(crate) fn on_panels(panels: &mut [Row], inner: usize, work: impl Fn(usize, &mut [Row]) + Sync + Send) {
    let stop = Stop::current();
    let work = |(q, panel): (usize, &mut [Row])| {
        stop.check();
        work(q, panel);
    };
    if panels.len() / inner.max(1) >= PARALLEL_FROM {
        panels.par_chunks_mut(inner).enumerate().for_each(work);
    } else {
        panels.chunks_mut(inner.max(1)).enumerate().for_each(work);
    }
}

/// `block[k] −= Σ left[m] · right[m][k]` for the 24 indices k of the right factor.
pub(crate) fn subtract_product(left: &[Row], right: &[Row], block: &mut [Row]) {
    for part in 0..PANEL / TILE {
        let mut tile = ZERO_TILE;
        multiply(left, right, part, &mut tile);
        for (target, sum) in block[TILE * part..].iter_mut().zip(&tile) {
            for (t, s) in target.iter_mut().zip(sum) {
                *t -= s;
            }
        }
    }
}

/// The factor `A = L Lᵀ` in place of a symmetric matrix, whose entries `panel(q)[k][i]`, `k ≤ 24 q + i`, are read.
///
/// The matrix must be square and padded to whole panels with ones on the diagonal. `None` if a pivot is not positive.
/// Blocked, left-looking; `p³/3` operations, backward error at most `p ε` of the diagonal entries.
pub(crate) fn cholesky(mut a: Panels) -> Option<Panels> {
    let (inner, count) = (a.inner, a.count());
    for j in 0..count {
        let (done, rest) = a.data.split_at_mut(j * inner);
        let (own, below) = rest.split_at_mut(inner);
        let _ = done;
        let columns = PANEL * j..PANEL * (j + 1);
        let (before, block) = own.split_at_mut(columns.start);
        subtract_product(before, before, &mut block[..PANEL]);
        diagonal(&mut block[..PANEL])?;
        let (before, block) = (&own[..columns.start], &own[columns.clone()]);
        on_panels(below, inner, |_, panel| {
            let (left, target) = panel.split_at_mut(columns.start);
            subtract_product(left, before, &mut target[..PANEL]);
            substitute(block, &mut target[..PANEL]);
        });
    }
    // What stood above the diagonal was never read; as a factor it is zero.
    for q in 0..count {
        for k in 0..inner {
            for i in 0..PANEL {
                if k > PANEL * q + i {
                    a.data[q * inner + k][i] = 0.0;
                }
            }
        }
    }
    Some(a)
}

/// Cholesky of one diagonal block.
fn diagonal(block: &mut [Row]) -> Option<()> {
    for k in 0..PANEL {
        let (solved, open) = block.split_at_mut(k);
        let factors: Vec<f64> = solved.iter().map(|row| -row[k]).collect();
        add_rows(solved.as_flattened(), &factors, &mut open[0]);
        let pivot = open[0][k];
        if !(pivot > 0.0 && pivot.is_finite()) {
            return None;
        }
        let root = pivot.sqrt();
        open[0].iter_mut().for_each(|x| *x /= root);
        open[0][k] = root;
    }
    Some(())
}

/// `L⁻¹` by columns: `panel(q)[row][column − 24 q]` of a lower triangular matrix given by rows.
pub(crate) fn inverse_by_columns(lower: &Panels) -> Panels {
    let (inner, count) = (lower.inner, lower.count());
    let mut inverse = Panels { inner, data: vec![[0.0; PANEL]; lower.data.len()] };
    on_panels(&mut inverse.data, inner, |j, panel| {
        for q in j..count {
            let rows = PANEL * q..PANEL * (q + 1);
            let (known, open) = panel.split_at_mut(rows.start);
            if q == j {
                (0..PANEL).for_each(|i| open[i][i] = 1.0);
            }
            let from = PANEL * j;
            subtract_product(&known[from..], &lower.panel(q)[from..rows.start], &mut open[..PANEL]);
            substitute(&lower.panel(q)[rows], &mut open[..PANEL]);
        }
    });
    inverse
}

/// `A B` of two lower triangular matrices, `A` by rows and `B` by columns; the result by columns.
pub(crate) fn lower_product(a: &Panels, b: &Panels) -> Panels {
    let (inner, count) = (a.inner, a.count());
    let mut product = Panels { inner, data: vec![[0.0; PANEL]; a.data.len()] };
    on_panels(&mut product.data, inner, |j, panel| {
        for q in j..count {
            let inside = PANEL * j..PANEL * (q + 1);
            for part in 0..PANEL / TILE {
                let mut tile = ZERO_TILE;
                multiply(&b.panel(j)[inside.clone()], &a.panel(q)[inside.clone()], part, &mut tile);
                panel[PANEL * q + TILE * part..][..TILE].copy_from_slice(&tile);
            }
        }
    });
    product
}

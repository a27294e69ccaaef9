//! Keys of more digits than the factor they come from.

use super::factor::{cholesky, inverse_by_columns, lower_product, on_panels};
use super::kernel::{PANEL, TILE, ZERO_TILE, multiply_doubled};
use super::{Panels, Row};
use crate::interrupt::Stop;

/// A symmetric matrix in pairs of doubles, by rows, padded to whole panels with ones on the diagonal.
pub(crate) struct Doubled {
    pub(crate) hi: Panels,
    pub(crate) lo: Panels,
}

/// The inverse of Cholesky's factor of a matrix, corrected once: with `M A Mᵀ = I + E` formed in doubled arithmetic and
/// `I + E = T Tᵀ`, the better map is `T⁻¹ M`. Its entries are then right to working accuracy while `p κ² 2⁻¹⁰⁴ ≪ ε`.
///
/// The map is lower triangular and by columns. `None` if the matrix is not positive definite enough for doubles, or the
/// first map too far off.
///
/// # References
/// Rump & Ogita (2007) and Yamamoto et al. (2015), Cholesky QR repeated, here on the matrix of products.
pub(crate) fn inverse_factor(matrix: &Doubled) -> Option<Panels> {
    let first = inverse_by_columns(&cholesky(matrix.hi.clone())?);
    let by_rows = first.transposed();
    let near_identity = conjugate(matrix, &by_rows);
    let deviation = deviation(&near_identity);
    if deviation.is_nan() || deviation > LARGEST_DEVIATION {
        return None;
    }
    let correction = inverse_by_columns(&cholesky(near_identity)?).transposed();
    Some(lower_product(&correction, &first))
}

/// How far from the identity a first map may leave the matrix.
const LARGEST_DEVIATION: f64 = 0.1;

/// `‖A − I‖_F` of a symmetric matrix given by its lower triangle.
fn deviation(near_identity: &Panels) -> f64 {
    let mut sum = 0.0;
    for q in 0..near_identity.count() {
        for (k, row) in near_identity.panel(q)[..PANEL * (q + 1)].iter().enumerate() {
            for (i, entry) in row.iter().enumerate().filter(|(i, _)| PANEL * q + i >= k) {
                let on_diagonal = PANEL * q + i == k;
                let gap = entry - on_diagonal as u8 as f64;
                sum += if on_diagonal { gap * gap } else { 2.0 * gap * gap };
            }
        }
    }
    sum.sqrt()
}

/// `M A Mᵀ` (its lower triangle) for a lower triangular `M` by rows.
fn conjugate(matrix: &Doubled, map: &Panels) -> Panels {
    let (inner, count) = (map.inner, map.count());
    // W = A Mᵀ for the rows up to the diagonal, in pairs: panel(j)[i][· of j].
    let mut pairs = vec![([0.0; PANEL], [0.0; PANEL]); map.data.len()];
    on_pairs(&mut pairs, inner, |j, panel| {
        let depth = PANEL * (j + 1);
        for i in 0..=j {
            for part in 0..PANEL / TILE {
                let (mut hi, mut lo) = (ZERO_TILE, ZERO_TILE);
                let right = (&matrix.hi.panel(i)[..depth], &matrix.lo.panel(i)[..depth]);
                multiply_doubled(&map.panel(j)[..depth], right, part, &mut hi, &mut lo);
                for (k, (h, l)) in hi.iter().zip(&lo).enumerate() {
                    panel[PANEL * i + TILE * part + k] = (*h, *l);
                }
            }
        }
    });
    let (high, low): (Vec<Row>, Vec<Row>) = pairs.into_iter().unzip();
    // M W, entry (q, j) with q ≤ j, is stored as the lower triangle's (j, q).
    let mut upper = Panels { inner, data: vec![[0.0; PANEL]; map.data.len()] };
    on_panels(&mut upper.data, inner, |q, panel| {
        let depth = PANEL * (q + 1);
        for j in q..count {
            for part in 0..PANEL / TILE {
                let (mut hi, mut lo) = (ZERO_TILE, ZERO_TILE);
                let right = (&high[j * inner..][..depth], &low[j * inner..][..depth]);
                multiply_doubled(&map.panel(q)[..depth], right, part, &mut hi, &mut lo);
                panel[PANEL * j + TILE * part..][..TILE].copy_from_slice(&hi);
            }
        }
    });
    upper.transposed()
}

fn on_pairs(pairs: &mut [(Row, Row)], inner: usize, work: impl Fn(usize, &mut [(Row, Row)]) + Sync + Send) {
    use rayon::prelude::*;
    let stop = Stop::current();
    pairs.par_chunks_mut(inner.max(1)).enumerate().for_each(|(q, panel)| {
        stop.check();
        work(q, panel);
    });
}

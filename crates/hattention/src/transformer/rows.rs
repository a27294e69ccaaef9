//! The loops of a forward pass over chunks of rows.

use crate::dense::kernel::TILE;
use crate::dense::packed::{CHAIN, CHUNK, Packed, product_panel, product_rows};
use crate::dense::real::Pair;
use crate::matrix::{Matrix, Real};

/// Projected rows, in chunks: panels of keys, rows inside.
pub(super) type Chunks<T> = Vec<Packed<T>>;

/// What a thread computes in.
pub(super) struct Buffers<T: Real> {
    pub(super) tokens: Vec<T>,
    pub(super) keys: Packed<T>,
    pub(super) values: Packed<T>,
}

impl<T: Real> Default for Buffers<T> {
    fn default() -> Self {
        Self { tokens: Vec::new(), keys: Packed::default(), values: Packed::default() }
    }
}

/// Tokens, row by row, times weights.
pub(super) fn project<T: Real>(weights: &Packed<T>, tokens: &[T], chunk: &mut Packed<T>) {
    chunk.clear(weights.outer, tokens.len() / weights.inner.max(1));
    for q in 0..chunk.panels() {
        product_rows(weights, q, tokens, chunk.panel_mut(q));
    }
}

/// `sums[i][j] += Σ kᵢ vⱼ` over a chunk; of the lower triangle only if it is symmetric.
pub(super) fn add_products<T: Real>(
    keys: &Packed<T>,
    values: &Packed<T>,
    symmetric: bool,
    size: usize,
    sums: &mut [f64],
) {
    // tile[j][i] = Σ left[·][i] right[·][j]: the right factor's index is the state's row.
    for p in 0..values.panels() {
        for group in 0..size.div_ceil(TILE) {
            let first = group * TILE;
            if symmetric && p * T::PANEL > first + TILE - 1 {
                continue;
            }
            let per_panel = T::PANEL / TILE;
            let (values, keys) = (values.panel(p).chunks(CHAIN), keys.panel(group / per_panel).chunks(CHAIN));
            for (values, keys) in values.zip(keys) {
                let mut tile = [T::ZERO_ROW; TILE];
                T::multiply(values, keys, group % per_panel, &mut tile);
                for (row, products) in sums[first * size..].chunks_mut(size).zip(&tile) {
                    let width = T::PANEL.min(size - p * T::PANEL);
                    let target = &mut row[p * T::PANEL..][..width];
                    target.iter_mut().zip(products.as_ref()).for_each(|(sum, x)| *sum += x.to_f64());
                }
            }
        }
    }
}

/// Rows times their weights.
pub(super) fn weighted<T: Real>(values: &Packed<T>, weights: &[f64]) -> Packed<T> {
    let mut weighted = values.clone();
    for q in 0..weighted.panels() {
        for (row, weight) in weighted.panel_mut(q).iter_mut().zip(weights) {
            row.as_mut().iter_mut().for_each(|x| *x = *x * T::from_f64(*weight));
        }
    }
    weighted
}

/// Queries times a few columns (packed by the columns' rows).
pub(super) fn read_narrow<T: Real>(queries: &Packed<T>, columns: &Packed<T>, target: &mut [T]) {
    let count = columns.inner;
    let pair = |q: usize| Pair { rows: queries.panel(q), columns: columns.panel(q) };
    let panels: Vec<Pair<'_, T::Row>> = (0..columns.panels()).map(pair).collect();
    T::read(&panels, count, target);
}

/// Queries times many columns, by tiles.
pub(super) fn read_wide<T: Real>(queries: &Packed<T>, columns: &Packed<T>, target: &mut [T]) {
    let rows = queries.transposed();
    let width = columns.outer;
    let mut panel = vec![T::ZERO_ROW; queries.inner];
    for q in 0..columns.panels() {
        product_panel(columns, q, &rows, &mut panel);
        for (row, products) in target.chunks_exact_mut(width).zip(&panel) {
            let part = &mut row[q * T::PANEL..width.min((q + 1) * T::PANEL)];
            part.copy_from_slice(&products.as_ref()[..part.len()]);
        }
    }
}

/// Chunks as one matrix.
pub(super) fn unpack<T: Real>(chunks: &Chunks<T>, rows: usize) -> Matrix<T> {
    let columns = chunks.first().map_or(0, |chunk| chunk.outer);
    let mut matrix = Matrix::zeros(rows, columns);
    for (target, chunk) in matrix.data.chunks_mut((CHUNK * columns).max(1)).zip(chunks) {
        for (k, row) in target.chunks_exact_mut(columns.max(1)).enumerate() {
            for (q, part) in row.chunks_mut(T::PANEL).enumerate() {
                part.copy_from_slice(&chunk.panel(q)[k].as_ref()[..part.len()]);
            }
        }
    }
    matrix
}

//! What is computed of every split: statistics of a group's sums beside those of all rows.

use rayon::prelude::*;

use crate::dense::kernel::{PANEL, TILE, Tile};
use crate::drift::axes::substitute;

/// Entry `(i, j)`, `i ≥ j`, of a group's table.
fn entry(sums: &[Tile], i: usize, j: usize) -> f64 {
    let (q, p) = (i / PANEL, j / PANEL);
    let tile = (q * (q + 1) / 2 + p) * (PANEL / TILE) + j % PANEL / TILE;
    sums[tile][j % TILE][i % PANEL]
}

/// All rows: the metric that every split is seen in.
pub(super) struct Pooled<'a> {
    total: f64,
    /// Rows of a group.
    rows: f64,
    /// The constant and the columns that are clear of dependence, in order.
    kept: Vec<usize>,
    /// Second moments of the kept columns, the lower triangle of a row-major matrix, and their Cholesky factor.
    moments: Vec<f64>,
    factor: Vec<f64>,
    /// Combinations of all columns that are looked at one by one; none: the columns themselves.
    basis: Option<&'a [Vec<f64>]>,
    size: usize,
    means: Vec<f64>,
    covariance: Vec<f64>,
}

/// Statistics of one split.
#[derive(Clone, Copy, Debug)]
pub(super) struct Statistics {
    pub(super) state: f64,
    pub(super) means: f64,
    pub(super) column: f64,
    /// Twice the column that is largest, and one more if it is its scale.
    pub(super) largest: usize,
    pub(super) likelihood_ratio: f64,
}

/// What is left of a column beside earlier ones, relative to it, that may be rounding of its sums.
const DEPENDENT: f64 = 1e-10;
/// Splits whose squares are added up by one thread.
const SHARE: usize = 32;

impl<'a> Pooled<'a> {
    pub(super) fn new(sums: &[Tile], size: usize, total: f64, rows: f64, basis: Option<&'a [Vec<f64>]>) -> Self {
        let means: Vec<f64> = (1..size).map(|i| entry(sums, i, 0) / total).collect();
        let (kept, moments, factor) = (Vec::new(), Vec::new(), Vec::new());
        let mut pooled = Self { total, rows, kept, moments, factor, basis, size, means, covariance: Vec::new() };
        pooled.covariance = pooled.centred(sums, total);
        pooled.covariance.iter_mut().for_each(|c| *c /= total);
        pooled.factorise(sums);
        pooled
    }

    fn factorise(&mut self, sums: &[Tile]) {
        let mut rows: Vec<Vec<f64>> = Vec::new();
        for column in 0..self.size {
            let place = rows.len();
            let parts = self.kept.iter().chain([&column]);
            let mut row: Vec<f64> = parts.map(|&j| entry(sums, column, j) / self.total).collect();
            let square = row[place];
            for i in 0..place {
                let sum = (0..i).fold(row[i], |s, k| s - row[k] * rows[i][k]);
                row[i] = sum / rows[i][i];
            }
            let rest = row[..place].iter().fold(square, |s, x| s - x * x);
            if rest > DEPENDENT * square {
                row[place] = rest.sqrt();
                rows.push(row);
                self.kept.push(column);
            }
        }
        let size = rows.len();
        let padded = |row: Vec<f64>| (0..size).map(move |j| row.get(j).copied().unwrap_or(0.0));
        self.factor = rows.into_iter().flat_map(padded).collect();
        self.moments = self.table(sums).iter().map(|sum| sum / self.total).collect();
    }

    /// Whether any column varies.
    pub(super) fn varies(&self) -> bool {
        self.kept.len() > 1
    }

    /// A group's sums over the kept columns, the lower triangle of a row-major matrix.
    fn table(&self, sums: &[Tile]) -> Vec<f64> {
        let size = self.kept.len();
        let mut table = vec![0.0; size * size];
        for (i, &a) in self.kept.iter().enumerate() {
            for (j, &b) in self.kept[..=i].iter().enumerate() {
                table[i * size + j] = entry(sums, a, b);
            }
        }
        table
    }

    /// A group's products of all columns about the pooled means, row-major.
    fn centred(&self, sums: &[Tile], rows: f64) -> Vec<f64> {
        let size = self.means.len();
        let mut table = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..=i {
                let (a, b) = (entry(sums, i + 1, 0), entry(sums, j + 1, 0));
                let (m, l) = (self.means[i], self.means[j]);
                let value = entry(sums, i + 1, j + 1) - m * b - l * a + rows * m * l;
                (table[i * size + j], table[j * size + i]) = (value, value);
            }
        }
        table
    }

    /// How far a group's sums are from those to be expected: means and products of the columns (the lower triangle), then
    /// means and squares of the basis.
    fn deviations(&self, sums: &[Tile]) -> Vec<f64> {
        let size = self.means.len();
        let means: Vec<f64> = (0..size).map(|i| entry(sums, i + 1, 0) - self.rows * self.means[i]).collect();
        let mut products = self.centred(sums, self.rows);
        products.iter_mut().zip(&self.covariance).for_each(|(p, c)| *p -= self.rows * c);
        let mut all = means.clone();
        (0..size).for_each(|i| all.extend_from_slice(&products[i * size..=i * size + i]));
        match self.basis {
            None => (0..size).for_each(|i| all.extend([means[i], products[i * size + i]])),
            Some(basis) => basis.iter().for_each(|row| {
                let along = |x: &[f64]| row.iter().zip(x).map(|(r, x)| r * x).sum::<f64>();
                let square = row.iter().zip(products.chunks_exact(size)).filter(|(r, _)| **r != 0.0);
                all.extend([along(&means), square.map(|(r, products)| r * along(products)).sum()]);
            }),
        }
        all
    }

    /// Standard deviations of the deviations over all splits, about their expectation, which is zero.
    pub(super) fn spreads(&self, groups: &[&[Tile]]) -> Vec<f64> {
        let of_share = |share: &[&[Tile]]| {
            let mut squares: Vec<f64> = Vec::new();
            for sums in share {
                let deviations = self.deviations(sums);
                squares.resize(deviations.len(), 0.0);
                squares.iter_mut().zip(deviations).for_each(|(sum, x)| *sum += x * x);
            }
            squares
        };
        let shares: Vec<Vec<f64>> = groups.par_chunks(SHARE).map(of_share).collect();
        let mut all = vec![0.0; shares.first().map_or(0, Vec::len)];
        shares.iter().for_each(|share| all.iter_mut().zip(share).for_each(|(sum, x)| *sum += x));
        all.iter().map(|sum| (sum / groups.len() as f64).sqrt()).collect()
    }

    /// The statistics of a group.
    pub(super) fn statistics(&self, sums: &[Tile], spreads: &[f64]) -> Statistics {
        let size = self.means.len();
        let squared = |(x, sd): (&f64, &f64)| if *sd > 0.0 { (x / sd).powi(2) } else { 0.0 };
        let scores: Vec<f64> = self.deviations(sums).iter().zip(spreads).map(squared).collect();
        let (state, columns) = scores.split_at(size + size * (size + 1) / 2);
        let first = (0, 0.0f64);
        let (largest, column) = columns.iter().enumerate().fold(first, |m, (c, x)| if *x > m.1 { (c, *x) } else { m });
        let (means, likelihood_ratio) = (self.mean_length(sums), self.likelihood_ratio(sums));
        Statistics { state: state.iter().sum(), means, column: column.sqrt(), largest, likelihood_ratio }
    }

    /// `(n n*/N) δᵀΣ̂⁻¹δ`: the group's mean less the pooled mean is `(others/N)` of the difference of means.
    fn mean_length(&self, sums: &[Tile]) -> f64 {
        let size = self.kept.len();
        let along = |i: usize| entry(sums, self.kept[i], 0) / self.rows - self.moments[i * size];
        let mut difference: Vec<f64> = (0..size).map(along).collect();
        substitute(&self.factor, size, &mut difference);
        difference.iter().map(|x| x * x).sum::<f64>() * self.rows * self.total / (self.total - self.rows)
    }

    /// The likelihood ratio, one more row's worth of the pooled moments in each group.
    fn likelihood_ratio(&self, sums: &[Tile]) -> f64 {
        let size = self.kept.len();
        let group = self.table(sums);
        let others = self.total - self.rows;
        let both = || group.iter().zip(&self.moments);
        let own: Vec<f64> = both().map(|(g, t)| (g + t) / (self.rows + 1.0)).collect();
        let rest: Vec<f64> = both().map(|(g, t)| (self.total * t - g + t) / (others + 1.0)).collect();
        let pooled: f64 = (0..size).map(|i| 2.0 * self.factor[i * size + i].ln()).sum();
        self.rows * (pooled - log_determinant(own, size)) + others * (pooled - log_determinant(rest, size))
    }
}

/// `log det` of a positive matrix by its lower triangle; one that rounding has made indefinite counts as singular.
fn log_determinant(mut a: Vec<f64>, size: usize) -> f64 {
    let mut sum = 0.0;
    for i in 0..size {
        let (above, rest) = a.split_at_mut(i * size);
        let row = &mut rest[..=i];
        for j in 0..i {
            let other = &above[j * size..=j * size + j];
            let value = row[..j].iter().zip(other).fold(row[j], |s, (x, y)| s - x * y);
            row[j] = value / other[j];
        }
        let pivot = row[..i].iter().fold(row[i], |s, x| s - x * x);
        let pivot = pivot.max(f64::EPSILON * f64::EPSILON);
        sum += pivot.ln();
        row[i] = pivot.sqrt();
    }
    sum
}

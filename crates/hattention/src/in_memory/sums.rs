//! Sums of products of the rows in doubles, their factor, and what rounding did to the sums of residuals.

use rayon::prelude::*;

use super::{LARGEST_ERROR, Rows, SAFE_SQUARES, SAMPLE, Solution, UNIT};
use crate::dense::factor::{cholesky, inverse_by_columns};
use crate::dense::residuals::{ResidualSums, residual_roundings};
use crate::dense::rows::{Shifted, products, roundings};
use crate::dense::{PANEL, Panels};
use crate::double_double::DoubleDouble;
use crate::exact::float::Float;
use crate::moments::Precision;
use crate::strided::{Run, Strided, gather, runs};
use crate::whitening::{KeyMap, tolerance, unit};

/// Sums of products of all columns: the design's, the constant if there is one, the targets.
pub(super) struct Sums {
    pub(super) rows: f64,
    pub(super) columns: usize,
    pub(super) intercept: bool,
    pub(super) products: Panels,
    pub(super) shifts: Vec<f64>,
    /// Of the shifted columns, `Σ z`.
    pub(super) totals: Vec<f64>,
    /// Means of the columns themselves; zero without intercept.
    pub(super) means: Vec<DoubleDouble>,
    /// Lengths of the design's columns themselves, not shifted.
    pub(super) lengths: Vec<f64>,
}

impl Sums {
    pub(super) fn of(rows: &Rows<'_>) -> Option<Self> {
        let intercept = rows.design.intercept;
        let constant = intercept.then(|| Strided::constant(&[1.0], rows.rows));
        let targets = rows.targets.iter().map(|(values, _)| *values);
        let columns: Vec<Strided<'_>> = rows.columns.iter().copied().chain(constant).chain(targets).collect();
        let shifts = if intercept { short_means(&columns, rows.columns.len()) } else { vec![0.0; columns.len()] };
        let all: Vec<Shifted<'_>> =
            columns.iter().zip(shifts).map(|(values, shift)| Shifted { values: *values, shift }).collect();
        let count = rows.rows as f64;
        let mut sums = Self {
            rows: count,
            columns: rows.columns.len(),
            intercept,
            products: products(&all, rows.rows),
            shifts: all.iter().map(|column| column.shift).collect(),
            totals: vec![0.0; all.len()],
            means: vec![DoubleDouble::ZERO; all.len()],
            lengths: Vec::new(),
        };
        if intercept {
            let constant = sums.columns;
            sums.totals = (0..all.len()).map(|i| sums.product(i.max(constant), i.min(constant))).collect();
            let means = sums.totals.iter().zip(&sums.shifts).map(|(t, s)| DoubleDouble::new(*s, t / count));
            sums.means = means.collect();
        }
        sums.lengths =
            (0..sums.columns).map(|i| (sums.centred(i, i) + count * sums.means[i].hi.powi(2)).sqrt()).collect();
        // Numbers that are not finite end up here too: the state names their place.
        let safe = (0..all.len()).all(|i| SAFE_SQUARES.contains(&sums.product(i, i)));
        let raw_safe = sums.lengths.iter().all(|length| SAFE_SQUARES.contains(&(length * length)));
        (safe && raw_safe).then_some(sums)
    }

    pub(super) fn target_place(&self, target: usize) -> usize {
        self.columns + self.intercept as usize + target
    }

    /// Roundings of a product of columns.
    pub(super) fn roundings(&self) -> f64 {
        roundings(self.rows as usize, self.shifts.len())
    }

    /// `Σ z_i z_j` of shifted columns, `i ≥ j`.
    pub(super) fn product(&self, i: usize, j: usize) -> f64 {
        self.products.panel(i / PANEL)[j][i % PANEL]
    }

    /// The same about the means, `i ≥ j` or either order of the design's columns.
    pub(super) fn centred(&self, i: usize, j: usize) -> f64 {
        let (i, j) = (i.max(j), i.min(j));
        self.product(i, j) - if self.intercept { self.totals[i] * self.totals[j] / self.rows } else { 0.0 }
    }

    /// A bound of the error of a mean: that of the sum of the shifted column.
    pub(super) fn mean_error(&self, i: usize) -> f64 {
        if !self.intercept {
            return 0.0;
        }
        self.roundings() * UNIT * (self.product(i, i) / self.rows).sqrt() + self.means[i].hi.abs() * UNIT * UNIT
    }

    /// `mean − Σ x̄ b`; zero without intercept.
    pub(super) fn intercept_of(&self, slopes: &[DoubleDouble], mean: DoubleDouble) -> DoubleDouble {
        if !self.intercept {
            return DoubleDouble::ZERO;
        }
        slopes.iter().zip(&self.means).fold(mean, |sum, (b, m)| sum - *m * *b)
    }

    /// The target's mean; zero without intercept.
    pub(super) fn target_mean(&self, residuals: &ResidualSums, place: usize) -> f64 {
        let sum = residuals.target_sum / DoubleDouble::from(self.rows);
        if self.intercept { (sum + DoubleDouble::from(self.shifts[place])).to_f64() } else { 0.0 }
    }

    /// The target's total sum of squares; `None` if it cancels.
    pub(super) fn total(&self, residuals: &ResidualSums) -> Option<f64> {
        if !self.intercept {
            return Some(residuals.target_squares.to_f64());
        }
        let sum = residuals.target_sum;
        let total = residuals.target_squares - sum * sum / DoubleDouble::from(self.rows);
        (total.hi > 1e-2 * residuals.target_squares.hi).then(|| total.to_f64())
    }
}

/// The short means of all columns; zero for the constant.
fn short_means(columns: &[Strided<'_>], constant: usize) -> Vec<f64> {
    let samples: Vec<Strided<'_>> = columns.iter().map(|x| x.every(x.len().div_ceil(SAMPLE).max(1))).collect();
    let parts: Vec<Run<'_>> = runs(&samples).iter().flat_map(|run| run.parts(PANEL)).collect();
    let means: Vec<Vec<f64>> = parts
        .par_iter()
        .map_init(Vec::new, |scratch, run| {
            let rows = 0..run.first().len();
            gather(std::slice::from_ref(run), rows, scratch).into_iter().map(short_mean).collect()
        })
        .collect();
    let mut means = means.concat();
    means[constant] = 0.0;
    means
}

/// About the mean of a sample of a column, to a thousandth of their spread: so short that whole numbers and levels less it
/// stay short, and their products exact.
fn short_mean(sample: &[f64]) -> f64 {
    let mean = sample.iter().sum::<f64>() / sample.len() as f64;
    let spread = sample.iter().copied().fold(f64::MIN, f64::max) - sample.iter().copied().fold(f64::MAX, f64::min);
    if !(spread > 0.0 && spread.is_finite()) {
        return mean;
    }
    let unit = 2f64.powi(Float::<4>::from_f64(spread).exponent().clamp(-900, 1000) as i32 - 10);
    (mean / unit).round() * unit
}

/// The factor of the scaled sums.
pub(super) struct Factor {
    /// Column `i` was multiplied by `2^scales[i]`.
    pub(super) scales: Vec<i64>,
    pub(super) powers: Vec<f64>,
    pub(super) map: KeyMap,
}

impl Factor {
    pub(super) fn scaled(&self, values: &[f64]) -> Vec<f64> {
        values.iter().zip(&self.powers).map(|(x, p)| x * p).collect()
    }

    pub(super) fn deviation(&self) -> f64 {
        self.map.deviation
    }

    /// Keys `M c` and coefficients `Mᵀ M c` of products `c` with the design's columns.
    pub(super) fn solve(&self, products: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let keys = self.map.keys_of(&self.scaled(products));
        let coefficients = self.scaled(&self.map.columns_of(&keys));
        (keys, coefficients)
    }

    /// Bounds of the errors of coefficients to which a step along the gradient `g` was added:
    /// `|β* − β|ᵢ ≤ √Ω_ii ((deviation + 4 p ε) ‖M g‖ + ‖δe‖ + Σ_j √Ω_jj |δg_j|) / (1 − deviation)`,
    /// for the keys of the rows are orthonormal up to the deviation.
    pub(super) fn bounds(&self, gradient: &[f64], errors: &ResidualErrors) -> Vec<f64> {
        let scaled = self.scaled(gradient);
        let (deviation, roots) = (self.map.deviation, &self.map.roots);
        let norm = self.map.norm_bound(&scaled, &vec![0.0; scaled.len()]);
        let of_sums: f64 = roots.iter().zip(self.scaled(&errors.along)).map(|(root, e)| root * e).sum();
        let unknown = (1.0 + deviation) * errors.residual + of_sums;
        let solving = deviation + 4.0 * scaled.len() as f64 * f64::EPSILON;
        let reach = (solving * norm + unknown) / (1.0 - deviation);
        self.scaled(&roots.iter().map(|root| root * reach).collect::<Vec<f64>>())
    }

    /// `None` where doubles do not factor the sums closely enough, or a column is near dependence.
    pub(super) fn of(rows: &Rows<'_>, sums: &Sums) -> Option<Self> {
        let size = sums.columns;
        let padded = size.div_ceil(PANEL) * PANEL;
        let squares: Vec<f64> = (0..size).map(|i| sums.centred(i, i)).collect();
        if squares.iter().any(|s| !SAFE_SQUARES.contains(s)) {
            return None;
        }
        let scales: Vec<i64> = squares.iter().map(|s| -Float::<4>::from_f64(*s).exponent().div_euclid(2)).collect();
        let powers: Vec<f64> = scales.iter().map(|&s| 2f64.powi(s as i32)).collect();
        let mut matrix = Panels::zero(padded, padded);
        for i in 0..padded {
            if i >= size {
                matrix.set(i, i, 1.0);
                continue;
            }
            for j in 0..=i {
                matrix.set(i, j, sums.centred(i, j) * powers[i] * powers[j]);
            }
        }
        let map = KeyMap::new(&inverse_by_columns(&cholesky(matrix)?), size);
        // Length of a shifted column times that of its coefficient's loading: √(variance inflation), or more.
        let inflation = |i: usize| map.roots[i] * powers[i] * sums.product(i, i).sqrt();
        let total: f64 = (0..size).map(inflation).sum();
        let squares: f64 = (0..size).map(|i| inflation(i).powi(2)).sum();
        // Entries of the sums are off by so many units of the lengths of their columns, and so are both totals that are
        // taken off them (`|Σz| ≤ √n ‖z‖`); Cholesky adds `p` more.
        let units = 3.0 * sums.roundings() + 4.0 * (size as f64 + 4.0);
        // Rounding errors of a chain are as good as random: they grow as the root of its length, and so do their sums.
        // (They are not for columns of few values; those of short ones, such as levels and whole numbers, are exact by
        // their short shifts, and the factor of two is for the rest.) The inflation may sit in a few columns, so that
        // nothing averages out.
        let expected = 2.0 * sums.roundings().sqrt() * UNIT * squares;
        if expected > LARGEST_ERROR {
            return None;
        }
        let map = map.within(units * UNIT * total * total)?;
        let norms: Vec<f64> = sums.lengths.iter().zip(&powers).map(|(length, p)| length * p).collect();
        let units = vec![unit(rows.options.rank_tolerance, Precision::Double); size];
        let clear = map.clear_of_dependence(|i, on_earlier| tolerance(&units, &norms, i, on_earlier));
        clear.then_some(Self { scales, powers, map })
    }
}

/// Bounds of what rounding did to the sums of residuals.
pub(super) struct ResidualErrors {
    /// Length, over all rows, of the errors of the residuals.
    pub(super) residual: f64,
    /// Of `Σ (x − x̄) e` for each column, given the residuals as they are.
    pub(super) along: Vec<f64>,
    /// Of `Σ e`.
    pub(super) sum: f64,
    /// Of `Σ e²`.
    pub(super) squares: f64,
}

impl ResidualErrors {
    pub(super) fn of(
        rows: &Rows<'_>,
        sums: &Sums,
        residuals: &ResidualSums,
        place: usize,
        solution: &Solution,
    ) -> Self {
        let (of_residual, of_sum) = residual_roundings(rows.rows, rows.columns.len());
        let root = sums.rows.sqrt();
        let target = (residuals.target_squares.hi).sqrt() + root * sums.shifts[place].abs();
        let parts = sums.lengths.iter().zip(&solution.slopes).map(|(length, b)| length * b.hi.abs());
        // Lengths, over all rows, of a residual's error and of the residuals.
        let error = of_residual * (target + root * solution.constant.hi.abs() + parts.sum::<f64>());
        let length = residuals.squares.hi.max(0.0).sqrt() + error;
        let along = |i: usize| {
            let mean = sums.means[i].hi.abs();
            (sums.lengths[i] + mean * root) * of_sum * length + sums.mean_error(i) * residuals.sum.hi.abs()
        };
        Self {
            residual: error,
            along: (0..sums.columns).map(along).collect(),
            sum: root * (error + of_sum * length),
            squares: 2.0 * error * length + of_sum * length * length,
        }
    }

    /// The residual sum of squares once the step is taken; `None` if it is not known to the last bits of a double.
    ///
    /// The gain of the step is known up to the deviation of the factor that took it.
    pub(super) fn residual_sum(&self, residuals: &ResidualSums, gain: f64, deviation: f64) -> Option<f64> {
        let sum = residuals.squares.to_f64();
        let unknown = self.squares + (2.0 * deviation + 1e-10) * gain.abs();
        let known = unknown <= 2f64.powi(-58) * sum && gain.abs() <= 1e-6 * sum;
        known.then_some(sum - gain)
    }
}

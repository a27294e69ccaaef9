//! The rung for many columns: Cholesky's factor in doubles, corrected once, and coefficients refined by residuals in 256
//! bits.

use std::sync::Arc;

use rayon::prelude::*;

use super::condition::Correlations;
use super::job::{CLEAR, Job, Made, Spectrum};
use super::report::Report;
use super::solve::{Frame, Solved, Solver};
use super::{Method, Whitening};
use crate::dense::refine::{Doubled, inverse_factor};
use crate::dense::{PANEL, Panels};
use crate::design::{Aliased, Filter};
use crate::error::Error;
use crate::exact::centred::Centred;
use crate::exact::float::Float;
use crate::interrupt::checked;
use crate::moments::Moments;

/// What the rung works in.
type Wide = Float<4>;

/// A factor in doubles and the matrix it came from.
///
/// Columns are scaled by powers of two, so that their lengths are near one.
#[derive(Debug)]
pub(crate) struct Refined {
    frame: Frame<4>,
    /// Lower triangle of the scaled matrix, penalties included, by rows.
    gram: Vec<Wide>,
    /// Column `i` was multiplied by `2^scales[i]`.
    scales: Vec<i64>,
    map: KeyMap,
}

/// Keys over the scaled columns: `Ω = Mᵀ M`, `M` lower triangular.
#[derive(Debug)]
pub(crate) struct KeyMap {
    /// Key `j` over columns `0 ..= j`.
    pub(crate) rows: Vec<Vec<f64>>,
    /// `√Ω_ii`.
    pub(crate) roots: Vec<f64>,
    /// A bound of `‖M A Mᵀ − I‖`.
    pub(crate) deviation: f64,
}

/// The largest deviation with which refinement converges fast, and its bounds say something.
const LARGEST_DEVIATION: f64 = 0.05;
/// Digits that the cancellation of means may cost the constant's part of the keys, as a factor.
const LARGEST_CANCELLATION: f64 = 1e3;
/// Exponents beyond which unscaled keys could leave the doubles.
const LARGEST_SCALE: i64 = 900;

impl KeyMap {
    /// From a map by columns, whose deviation is yet unknown.
    pub(crate) fn new(map: &Panels, size: usize) -> Self {
        let rows: Vec<Vec<f64>> =
            (0..size).map(|j| (0..=j).map(|c| map.panel(c / PANEL)[j][c % PANEL]).collect()).collect();
        let mut squares = vec![0.0; size];
        for row in &rows {
            squares.iter_mut().zip(row).for_each(|(s, m)| *s += m * m);
        }
        Self { rows, roots: squares.into_iter().map(f64::sqrt).collect(), deviation: f64::INFINITY }
    }

    /// The map, if its deviation is small enough for refinement to converge fast.
    pub(crate) fn within(self, deviation: f64) -> Option<Self> {
        (deviation <= LARGEST_DEVIATION).then_some(Self { deviation, ..self })
    }

    /// The map as corrected in doubled arithmetic, for a matrix with this trace; `None` if it is not known to be close.
    ///
    /// The entries of `M = T⁻¹ M₀` and what it corrects carry relative errors of `p ε` each, hence
    /// `‖δM M⁻¹‖ ≤ p ε ‖M‖_F ‖M⁻¹‖`, and `‖M⁻¹‖² ≤ tr A`.
    fn corrected(self, trace: f64) -> Option<Self> {
        let size = self.rows.len() as f64;
        let square = self.roots.iter().map(|r| r * r).sum::<f64>() * trace;
        // Doubled arithmetic must have seen the deviation to working accuracy.
        let unseen = size * square * 2f64.powi(-104);
        let deviation = 16.0 * (size + PANEL as f64) * f64::EPSILON * square.sqrt();
        if unseen <= 2f64.powi(-60) { self.within(deviation) } else { None }
    }

    /// `M r`.
    pub(crate) fn keys_of(&self, r: &[f64]) -> Vec<f64> {
        self.rows.iter().map(|row| row.iter().zip(r).map(|(m, x)| m * x).sum()).collect()
    }

    /// `Mᵀ k`.
    pub(crate) fn columns_of(&self, keys: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.rows.len()];
        for (row, k) in self.rows.iter().zip(keys) {
            sums.iter_mut().zip(row).for_each(|(s, m)| *s += m * k);
        }
        sums
    }

    /// A bound of `‖M r‖` for a vector known up to `errors`, computed keys and all.
    pub(crate) fn norm_bound(&self, r: &[f64], errors: &[f64]) -> f64 {
        let size = self.rows.len() as f64;
        let norm = self.keys_of(r).iter().map(|k| k * k).sum::<f64>().sqrt();
        let spread: f64 = self.roots.iter().zip(r).map(|(m, x)| m * x.abs()).sum();
        let unknown: f64 = self.roots.iter().zip(errors).map(|(m, e)| m * e).sum();
        (1.0 + size * f64::EPSILON) * norm + 2.0 * size * f64::EPSILON * spread + unknown
    }

    /// Whether every column is farther from the span of the earlier ones than its tolerance, by a wide margin.
    ///
    /// Row `j` of M is `(e_j − Σ c_k e_k) / distance`, `c` the coefficients of column `j` on the earlier ones.
    pub(crate) fn clear_of_dependence(&self, tolerance: impl Fn(usize, &[f64]) -> f64) -> bool {
        self.rows.iter().enumerate().all(|(j, row)| {
            let distance = 1.0 / row[j];
            let on_earlier: Vec<f64> = row[..j].iter().map(|m| m * distance).collect();
            distance > CLEAR * tolerance(j, &on_earlier)
        })
    }

    /// The keys over the columns before scaling.
    pub(crate) fn unscaled(&self, scales: &[i64]) -> Vec<Vec<f64>> {
        let powers: Vec<f64> = scales.iter().map(|&s| 2f64.powi(s as i32)).collect();
        self.rows.iter().map(|row| row.iter().zip(&powers).map(|(m, p)| m * p).collect()).collect()
    }
}

/// The loading of plainly reported coefficients, all columns kept, with the intercept's `1/√Σw` first if there is one.
///
/// `None` if the means cancel so much in the intercept's that doubles do not hold it.
pub(crate) fn plain_loading(key_map: &[Vec<f64>], means: &[f64], constant: Option<f64>) -> Option<Vec<Vec<f64>>> {
    let size = key_map.len();
    let mut rows = vec![vec![0.0; size + 1]; size];
    for (j, key) in key_map.iter().enumerate() {
        for (i, k) in key.iter().enumerate() {
            rows[i][j + 1] = *k;
        }
    }
    let Some(constant) = constant else {
        return Some(rows);
    };
    let mut first = vec![constant];
    let (mut squares, mut sizes) = (constant * constant, 0.0);
    for key in key_map {
        let sum: f64 = key.iter().zip(means).map(|(k, m)| k * m).sum();
        let size: f64 = key.iter().zip(means).map(|(k, m)| (k * m).abs()).sum();
        (squares, sizes) = (squares + sum * sum, sizes + size * size);
        first.push(-sum);
    }
    let holds = sizes.is_finite() && sizes.sqrt() <= LARGEST_CANCELLATION * squares.sqrt();
    holds.then(|| std::iter::once(first).chain(rows).collect())
}

impl Job<'_> {
    /// Factors in doubles, refined; `None` where these are too few, or columns are near dependence.
    ///
    /// # Errors
    /// [`Error::RankDeficient`] for columns that were never observed, if these are to be refused.
    pub(super) fn refine(&self) -> Result<Option<Whitening>, Error> {
        let dependent = self.never_observed();
        if !dependent.is_empty() && self.options.aliased == Aliased::MinNorm {
            return Ok(None);
        }
        // The others must be known to be independent before it is said which are not.
        self.refine_observed()
            .map(|whitening| Ok(Whitening { dependent: self.allowed(dependent)?, ..whitening }))
            .transpose()
    }

    fn refine_observed(&self) -> Option<Whitening> {
        let penalised = match self.filter {
            Filter::Ols => false,
            Filter::Ridge { alpha, .. } => alpha > 0.0,
            Filter::Components { .. } => return None,
        };
        if !self.design.orthogonal.is_empty() {
            return None;
        }
        let sums = Centred::<4>::new(&self.moments.sums, self.design.intercept);
        let mut spectrum = Spectrum::of(&sums, self.design);
        let size = spectrum.table.len();
        if size == 0 {
            return None;
        }
        let zero = (0..size).any(|i| spectrum.diagonal(i).is_zero() || spectrum.diagonal(i).is_negative());
        if zero || spectrum.scales.iter().any(|s| s.abs() > LARGEST_SCALE) {
            return None;
        }
        let kept: Vec<usize> = (0..size).collect();
        let means: Vec<Wide> = spectrum.table.iter().map(|&c| sums.mean(c)).collect();
        let positions = spectrum.candidates.iter().copied();
        let report = Report::plain(self.design.names.len(), positions, &means);
        let frame = self.frame(&sums, &spectrum, &kept, means, report);
        for i in 0..size {
            let penalty = self.penalty(&sums, spectrum.diagonal(i), spectrum.scales[i]);
            let diagonal = &mut spectrum.gram[i * (i + 1) / 2 + i];
            *diagonal = *diagonal + penalty;
        }
        let trace = (0..size).map(|i| spectrum.diagonal(i).to_f64()).sum();
        let map = KeyMap::new(&inverse_factor(&doubled(&spectrum.gram, size))?, size).corrected(trace)?;
        if !penalised && !self.is_clear(&sums, &spectrum, &map) {
            return None;
        }
        let key_map = map.unscaled(&spectrum.scales);
        let constant = self.design.intercept.then(|| sums.total().sqrt().reciprocal().to_f64());
        let mean_doubles: Vec<f64> = frame.means.iter().map(|m| m.to_f64()).collect();
        let plain = plain_loading(&key_map, &mean_doubles, constant)?;
        let offset = self.design.intercept as usize;
        let mut loading = vec![Vec::new(); self.design.names.len() + offset];
        for (k, row) in plain.into_iter().enumerate() {
            let place = k.checked_sub(offset).map_or(0, |k| offset + spectrum.candidates[k]);
            loading[place] = row;
        }
        let made = Made {
            effective_df: self.refined_df(&frame, &key_map)?,
            condition: if penalised { self.unfiltered_condition().ok()? } else { condition(&sums, &frame, &key_map) },
            key_map,
            loading,
            kept: spectrum.candidates,
            dependent: Vec::new(),
        };
        let mut whitening = self.whitening(&sums, &frame, made, 256);
        whitening.method = Method::Refined;
        let refined = Refined { frame, gram: spectrum.gram, scales: spectrum.scales, map };
        Some(whitening.with_solver(Solver::Refined(Arc::new(refined))))
    }

    fn is_clear(&self, sums: &Centred<'_, 4>, spectrum: &Spectrum<4>, map: &KeyMap) -> bool {
        let (table, scales) = (&spectrum.table, &spectrum.scales);
        let norms: Vec<f64> =
            table.iter().zip(scales).map(|(&c, s)| sums.raw(c, c).scale(2 * s).sqrt().to_f64()).collect();
        let units: Vec<f64> =
            table.iter().map(|&c| super::job::unit(self.options.rank_tolerance, self.moments.precision(c))).collect();
        map.clear_of_dependence(|i, on_earlier| super::job::tolerance(&units, &norms, i, on_earlier))
    }

    /// `keys − Σ_j P_j Ω_jj` and the constant; `None` where a penalty leaves so little that doubles cancel.
    fn refined_df(&self, frame: &Frame<4>, key_map: &[Vec<f64>]) -> Option<f64> {
        let penalties: Vec<f64> = frame.penalties.iter().map(|p| p.to_f64()).collect();
        let keys = key_map.len() as f64;
        let taken: f64 =
            key_map.iter().map(|key| key.iter().zip(&penalties).map(|(k, p)| k * k * p).sum::<f64>()).sum();
        (keys - taken > 1e-3 * keys).then_some(keys - taken + self.design.intercept as usize as f64)
    }
}

/// The packed lower triangle as a full matrix of pairs, padded to whole panels.
fn doubled(gram: &[Wide], size: usize) -> Doubled {
    let padded = size.div_ceil(PANEL) * PANEL;
    let (mut hi, mut lo) = (Panels::zero(padded, padded), Panels::zero(padded, padded));
    let rows: Vec<Vec<_>> = (0..size)
        .into_par_iter()
        .map(checked(|i: usize| gram[i * (i + 1) / 2..][..=i].iter().map(|x| x.to_double_double()).collect()))
        .collect();
    for (i, row) in rows.iter().enumerate() {
        for (j, pair) in row.iter().enumerate() {
            for (outer, inner) in [(i, j), (j, i)] {
                hi.set(outer, inner, pair.hi);
                lo.set(outer, inner, pair.lo);
            }
        }
    }
    (size..padded).for_each(|i| hi.set(i, i, 1.0));
    Doubled { hi, lo }
}

/// Condition of the column-scaled design with its constant.
fn condition(sums: &Centred<'_, 4>, frame: &Frame<4>, key_map: &[Vec<f64>]) -> f64 {
    let table: Vec<usize> = frame.intercept.then_some(0).into_iter().chain(frame.columns.iter().copied()).collect();
    let norms: Vec<f64> = table.iter().map(|&c| sums.raw(c, c).sqrt().to_f64()).collect();
    let means: Vec<f64> = frame.means.iter().map(|m| m.to_f64()).collect();
    let inverse = |j: usize| inverse_column(key_map, &norms, &means, frame.intercept, j);
    Correlations::new(sums, &table, inverse).map_or(f64::INFINITY, |c| c.condition())
}

/// Column `j` of `S` with `S Sᵀ` the inverse of the correlations, the constant's among them: keys over scaled columns.
pub(crate) fn inverse_column(
    key_map: &[Vec<f64>],
    norms: &[f64],
    means: &[f64],
    intercept: bool,
    j: usize,
) -> Vec<f64> {
    let offset = intercept as usize;
    let Some(j) = j.checked_sub(offset) else {
        return vec![1.0];
    };
    let along = |key: &[f64]| -norms[0] * key.iter().zip(means).map(|(k, m)| k * m).sum::<f64>();
    let constant = intercept.then(|| along(&key_map[j]));
    constant.into_iter().chain(key_map[j].iter().zip(&norms[offset..]).map(|(k, norm)| k * norm)).collect()
}

/// Rounds of refinement at most; each gains some forty bits.
const ROUNDS: usize = 8;
/// Bits of the longest coefficient with which the others are known too, unless they are very much shorter; and bits
/// beyond which no more are asked for.
const ENOUGH_BITS: i64 = 120;
const MOST_BITS: i64 = 180;

impl Refined {
    /// Coefficients of one target, by refinement: `β ← β + Mᵀ M (c − A β)`, residuals in 256 bits.
    ///
    /// # References
    /// Higham, Accuracy and Stability, 12.1.
    pub(crate) fn coefficients(&self, moments: &Moments, target: usize) -> Solved {
        let size = self.scales.len();
        let sums = Centred::<4>::new(&moments.sums, self.frame.intercept);
        let cross = self.frame.cross(&sums, target);
        let right: Vec<Wide> = cross.iter().zip(&self.scales).map(|(c, s)| c.scale(*s)).collect();
        let mut solution = vec![Wide::ZERO; size];
        let mut residual = right.clone();
        let mut memory = Vec::new();
        let mut bound = self.bound(&residual, &right, &solution);
        let start = bound.1;
        for round in 0..ROUNDS {
            let (scaled, exponent) = to_doubles(&residual);
            let keys = self.map.keys_of(&scaled);
            let step = self.map.columns_of(&keys);
            let next: Vec<Wide> =
                solution.iter().zip(&step).map(|(b, s)| *b + Wide::from_f64(*s).scale(exponent)).collect();
            if round == 0 {
                memory = keys.iter().map(|k| Wide::from_f64(*k).scale(exponent).to_f64()).collect();
            }
            let next_residual = self.residual(&right, &next);
            let next_bound = self.bound(&next_residual, &right, &next);
            if next_bound.1 >= bound.1 && round > 0 {
                break;
            }
            (solution, residual, bound) = (next, next_residual, next_bound);
            let gained = start - bound.1;
            if gained >= ENOUGH_BITS {
                let solved = self.conclude(&sums, target, &cross, &solution, &bound.0, &memory);
                if solved.certain || gained >= MOST_BITS {
                    return solved;
                }
            }
        }
        self.conclude(&sums, target, &cross, &solution, &bound.0, &memory)
    }

    /// What a solution over the scaled columns amounts to.
    fn conclude(
        &self,
        sums: &Centred<'_, 4>,
        target: usize,
        cross: &[Wide],
        solution: &[Wide],
        bound: &[Wide],
        memory: &[f64],
    ) -> Solved {
        let unscaled =
            |values: &[Wide]| -> Vec<Wide> { values.iter().zip(&self.scales).map(|(b, s)| b.scale(*s)).collect() };
        self.frame.conclude(sums, target, cross, unscaled(solution), &unscaled(bound), memory.to_vec())
    }

    /// `right − A x`.
    fn residual(&self, right: &[Wide], x: &[Wide]) -> Vec<Wide> {
        let row = |i: usize| -> Wide {
            let lower = self.gram[i * (i + 1) / 2..=i * (i + 1) / 2 + i].iter().zip(x);
            let upper = (i + 1..x.len()).map(|j| (&self.gram[j * (j + 1) / 2 + i], &x[j]));
            lower.chain(upper).fold(right[i], |sum, (a, b)| sum - *a * *b)
        };
        (0..x.len()).into_par_iter().map(checked(row)).collect()
    }

    /// Bounds of the errors of a solution, and the exponent of `‖M r‖`:
    /// `|β* − β|ᵢ ≤ √Ω_ii ‖M r‖ / (1 − deviation)`, the residual's own rounding included.
    fn bound(&self, residual: &[Wide], right: &[Wide], solution: &[Wide]) -> (Vec<Wide>, i64) {
        // |A_ij| ≤ √A_ii √A_jj: one sum serves all rows.
        let diagonal = |i: usize| self.gram[i * (i + 1) / 2 + i].sqrt();
        let reach = solution.iter().enumerate().fold(Wide::ZERO, |sum, (j, b)| sum + b.abs() * diagonal(j));
        let unit = self.frame.unit();
        let rounding: Vec<Wide> =
            right.iter().enumerate().map(|(i, c)| (c.abs() + diagonal(i) * reach).scale(unit)).collect();
        let exponent = residual.iter().chain(&rounding).map(Wide::exponent).max().unwrap_or(0);
        let plain = |values: &[Wide]| -> Vec<f64> { values.iter().map(|v| v.scale(-exponent).to_f64()).collect() };
        let norm = self.map.norm_bound(&plain(residual), &plain(&rounding)) / (1.0 - self.map.deviation);
        let norm = Wide::from_f64(norm).scale(exponent);
        (self.map.roots.iter().map(|root| Wide::from_f64(*root) * norm).collect(), norm.exponent())
    }
}

/// A vector as doubles times a power of two.
fn to_doubles(values: &[Wide]) -> (Vec<f64>, i64) {
    let exponent = values.iter().map(Wide::exponent).max().unwrap_or(0);
    (values.iter().map(|v| v.scale(-exponent).to_f64()).collect(), exponent)
}

//! Coefficients of a target, with bounds of their errors.

use super::condition::Correlations;
use super::refined::Refined;
use super::report::Report;
use crate::double_double::DoubleDouble;
use crate::exact::centred::{Centred, Combination, FORMED};
use crate::exact::float::Float;
use crate::moments::Moments;

/// The columns of a factored design and how its coefficients are reported.
#[derive(Debug)]
pub(crate) struct Frame<const N: usize> {
    /// Kept table columns (constant is 0).
    pub(crate) columns: Vec<usize>,
    pub(crate) means: Vec<Float<N>>,
    /// What the rounding of the kept columns' products is relative to: `√C_jj`, more for those that are formed.
    pub(crate) lengths: Vec<Float<N>>,
    /// Ridge penalties of the kept columns.
    pub(crate) penalties: Vec<Float<N>>,
    pub(crate) report: Report<N>,
    /// The columns of orthogonal polynomials, formed of those of the table.
    pub(crate) formed: Vec<Combination<N>>,
    pub(crate) intercept: bool,
    /// As many independent columns as rows: every target is fitted perfectly.
    pub(crate) saturated: bool,
    /// The power of two up to which the keys are known, if not the unit of the arithmetic.
    pub(crate) keys_unit: Option<i64>,
}

/// A filtered inverse over the kept columns, in the bits it needed.
#[derive(Debug)]
pub(crate) struct Factored<const N: usize> {
    pub(crate) frame: Frame<N>,
    /// By keys, over kept columns: `Ω = Σ_j key[j] key[j]ᵀ`.
    pub(crate) keys: Vec<Vec<Float<N>>>,
}

impl<const N: usize> Factored<N> {
    /// Coefficients of one target (a table column): raw over kept columns and reported, each with the intercept.
    fn coefficients(&self, moments: &Moments, target: usize) -> Solved {
        let frame = &self.frame;
        let sums = Centred::<N>::new(&moments.sums, frame.intercept).with_formed(&frame.formed).with_errors(moments);
        let cross = frame.cross(&sums, target);
        let memory: Vec<Float<N>> =
            self.keys.iter().map(|key| key.iter().zip(&cross).fold(Float::ZERO, |sum, (k, c)| sum + *k * *c)).collect();
        let mut raw = vec![Float::<N>::ZERO; frame.columns.len()];
        for (key, value) in self.keys.iter().zip(&memory) {
            for (b, k) in raw.iter_mut().zip(key) {
                *b = *b + *k * *value;
            }
        }
        let length = frame.reach(&sums, target, sums.product(target, target).abs().sqrt());
        let bound = self.bound(&raw, length);
        let memory = memory.iter().map(|m| m.to_f64()).collect();
        frame.conclude(&sums, target, &cross, raw, &bound, memory)
    }

    /// Bounds of the error of each raw coefficient.
    ///
    /// In units where columns have length one, the factor's backward error is at most `u` an entry, so
    /// `|δβᵢ| ≤ u Σ_j |Ω_ij| (Σ_k |β_k| + ‖y‖)`, and `|Ω_ij| ≤ √(Ω_ii Ω_jj)`. The entries of formed columns carry the
    /// rounding of their sums, relative to the sizes of their terms: those take the place of lengths.
    fn bound(&self, raw: &[Float<N>], target_length: Float<N>) -> Vec<Float<N>> {
        let lengths = &self.frame.lengths;
        let mut diagonal = vec![Float::<N>::ZERO; lengths.len()];
        for key in &self.keys {
            for (d, k) in diagonal.iter_mut().zip(key) {
                *d = *d + *k * *k;
            }
        }
        let roots: Vec<Float<N>> = diagonal.iter().map(|d| d.sqrt()).collect();
        let inflation = roots.iter().zip(lengths).fold(Float::ZERO, |sum, (r, s)| sum + *r * *s);
        let size = raw.iter().zip(lengths).fold(target_length, |sum, (b, s)| sum + b.abs() * *s);
        roots.iter().map(|r| (*r * inflation * size).scale(self.frame.unit())).collect()
    }

    /// Condition of the column-scaled design with its constant.
    pub(super) fn condition(&self, sums: &Centred<'_, N>) -> f64 {
        let frame = &self.frame;
        let offset = frame.intercept as usize;
        let table: Vec<usize> = frame.intercept.then_some(0).into_iter().chain(frame.columns.iter().copied()).collect();
        let norms: Vec<Float<N>> = table.iter().map(|&c| sums.raw(c, c).sqrt()).collect();
        let inverse = |j: usize| {
            let Some(j) = j.checked_sub(offset) else {
                return vec![1.0];
            };
            let key = self.keys.get(j).map_or(&[][..], Vec::as_slice);
            let along = || key.iter().zip(&frame.means).fold(Float::ZERO, |sum, (k, m)| sum - *k * *m);
            let constant = frame.intercept.then(|| (along() * norms[0]).to_f64());
            constant
                .into_iter()
                .chain(key.iter().zip(&norms[offset..]).map(|(k, norm)| (*k * *norm).to_f64()))
                .collect()
        };
        Correlations::new(sums, &table, inverse).map_or(f64::INFINITY, |c| c.condition())
    }
}

impl<const N: usize> Frame<N> {
    /// Centred products of the kept columns and the target.
    pub(super) fn cross(&self, sums: &Centred<'_, N>, target: usize) -> Vec<Float<N>> {
        self.columns.iter().map(|&c| sums.product(c, target)).collect()
    }

    /// The unit of the arithmetic with room for sums over the columns and over the terms of one, as an exponent.
    pub(super) fn unit(&self) -> i64 {
        let terms = self.formed.iter().map(Vec::len).max().unwrap_or(0);
        let own = 12 - 64 * N as i64 + 2 * (64 - ((self.columns.len() + terms) as u64 + 1).leading_zeros() as i64);
        self.keys_unit.map_or(own, |keys| own.max(keys))
    }

    /// A column's length, or as much more as makes its error a rounding of it: errors of products are `u` times lengths.
    pub(super) fn reach(&self, sums: &Centred<'_, N>, column: usize, length: Float<N>) -> Float<N> {
        let error = if column < FORMED { sums.error(column).scale(-self.unit() / 2) } else { Float::ZERO };
        if (error - length).is_negative() { length } else { error }
    }

    /// What the residual sum may be off by because products are those of residuals with errors.
    fn error_of_residuals(&self, sums: &Centred<'_, N>, raw: &[Float<N>], target: usize) -> Float<N> {
        let reach = |sum: Float<N>, (c, b): (&usize, &Float<N>)| {
            sum + b.abs() * if *c < FORMED { sums.error(*c) } else { Float::ZERO }
        };
        let error = sums.error(target);
        error * self.columns.iter().zip(raw).fold(error, reach)
    }

    /// What the intercept and the residual sum may be off by because formed columns, their means and their products with
    /// the target are sums: `u Σ |β| m` and `u Σ |β| ‖x‖ ‖y‖`, with the sizes of the terms for those of the columns.
    fn rounding_of_formed(
        &self,
        sums: &Centred<'_, N>,
        raw: &[Float<N>],
        target_length: Float<N>,
    ) -> (Float<N>, Float<N>) {
        let mut errors = (Float::ZERO, Float::ZERO);
        for ((&c, b), length) in self.columns.iter().zip(raw).zip(&self.lengths) {
            if sums.terms(c).is_some() {
                errors.0 = errors.0 + b.abs() * sums.mean_reach(c);
                errors.1 = errors.1 + b.abs() * *length * target_length;
            }
        }
        (errors.0.scale(self.unit()), errors.1.scale(self.unit()))
    }

    /// What a target's coefficients, known to `bound`, amount to.
    pub(super) fn conclude(
        &self,
        sums: &Centred<'_, N>,
        target: usize,
        cross: &[Float<N>],
        raw: Vec<Float<N>>,
        bound: &[Float<N>],
        memory: Vec<f64>,
    ) -> Solved {
        let total = sums.product(target, target);
        let unit = self.unit();
        let mean = sums.mean(target);
        let solve = |weights: &Vec<(usize, Float<N>)>| -> (Float<N>, Float<N>) {
            weights.iter().fold((Float::ZERO, Float::ZERO), |(value, error), (i, w)| {
                (value + *w * raw[*i], error + w.abs() * bound[*i])
            })
        };
        let mut reported: Vec<Option<(Float<N>, Float<N>)>> =
            self.report.rows.iter().map(|weights| weights.as_ref().map(solve)).collect();
        let raw: Vec<Float<N>> = raw.iter().zip(bound).map(|(b, e)| snap(*b, *e)).collect();
        let (formed_in_intercept, formed_in_residual) = self.rounding_of_formed(sums, &raw, total.abs().sqrt());
        let mut intercept = Float::ZERO;
        if self.intercept {
            let slopes = raw.iter().zip(&self.means).fold(Float::ZERO, |sum, (b, m)| sum + *b * *m);
            intercept = mean - slopes;
            let mut reported_intercept = mean;
            let mut error = mean.abs().scale(unit);
            for (pair, m) in reported.iter().zip(&self.report.means) {
                if let Some((b, e)) = pair {
                    reported_intercept = reported_intercept - *b * *m;
                    error = error + *e * m.abs() + (*b * *m).abs().scale(unit);
                }
            }
            reported.insert(0, Some((reported_intercept, error + formed_in_intercept)));
        }
        // With Cβ = c − Pβ, the residual sum yy − 2βᵀc + βᵀCβ is yy − βᵀc − βᵀPβ.
        let mut residual = total;
        let mut error = total.scale(unit) + formed_in_residual + self.error_of_residuals(sums, &raw, target);
        for (i, (b, c)) in raw.iter().zip(cross).enumerate() {
            residual = residual - *b * (*c + *b * self.penalties[i]);
            error = error + bound[i] * (c.abs() + (*b * self.penalties[i]).abs().scale(1));
        }
        // Within its error nothing is left: the fit is perfect, or the bits are too few to tell.
        let perfect = self.saturated || (residual - error).is_negative();
        let residual = if perfect { Float::ZERO } else { residual };
        let explained = total - residual;
        let residual_known =
            self.saturated || total.is_zero() || (!perfect && residual.exponent() - error.exponent() > 58);
        let known = |pair: &Option<(Float<N>, Float<N>)>| {
            pair.as_ref().is_none_or(|(b, e)| e.is_zero() || b.exponent() - e.exponent() > 58)
        };
        let certain = residual_known && reported.iter().all(known);
        let ratio = |a: Float<N>, b: Float<N>| if b.is_zero() { f64::NAN } else { (a * b.reciprocal()).to_f64() };
        Solved {
            raw: raw.iter().map(|b| b.to_double_double()).collect(),
            intercept: intercept.to_double_double(),
            digits: reported.iter().map(|pair| pair.as_ref().map(|(b, e)| digits(*b, *e))).collect(),
            reported: reported.iter().map(|pair| pair.as_ref().map(|(b, e)| snap(*b, *e).to_double_double())).collect(),
            residual_sum: residual.to_f64(),
            residual_root: residual.sqrt().to_f64(),
            total_sum: total.to_f64(),
            r_squared: ratio(explained, total),
            signal_to_noise: if residual.is_zero() { f64::INFINITY } else { ratio(explained, residual) },
            certain,
            mean: mean.to_double_double(),
            memory,
        }
    }
}

/// The value, or zero where it is within its error.
fn snap<const N: usize>(value: Float<N>, error: Float<N>) -> Float<N> {
    if (value.abs() - error).is_negative() { Float::ZERO } else { value }
}

/// Correct digits of a value known to an absolute error, after rounding to a double; at most 15.9.
pub(crate) fn digits<const N: usize>(value: Float<N>, error: Float<N>) -> f64 {
    let snapped = snap(value, error);
    if snapped.is_zero() {
        return 15.9;
    }
    // Beyond the range of doubles, and near its lower end, rounding is what limits.
    let double = snapped.to_f64();
    if !double.is_finite() || double == 0.0 {
        return 0.0;
    }
    let arithmetic = snapped.exponent() - error.exponent() - 1;
    // A normal double is off by at most 2⁻⁵³ of its value, which the cap of 15.9 stands for; a subnormal by more.
    let rounding = snapped.exponent() - (Float::from_f64(double) - snapped).exponent();
    let bits = if rounding < 53 { arithmetic.min(rounding) } else { arithmetic };
    (bits as f64 * std::f64::consts::LOG10_2).clamp(0.0, 15.9)
}

/// Coefficients of one target.
#[derive(Clone, Debug)]
pub(crate) struct Solved {
    pub(crate) raw: Vec<DoubleDouble>,
    pub(crate) intercept: DoubleDouble,
    pub(crate) reported: Vec<Option<DoubleDouble>>,
    pub(crate) digits: Vec<Option<f64>>,
    pub(crate) residual_sum: f64,
    pub(crate) residual_root: f64,
    pub(crate) total_sum: f64,
    pub(crate) r_squared: f64,
    /// Explained over residual sum of squares.
    pub(crate) signal_to_noise: f64,
    /// Every number above is known to the last bit of a double; else more bits may tell.
    pub(crate) certain: bool,
    pub(crate) mean: DoubleDouble,
    pub(crate) memory: Vec<f64>,
}

/// The factor in the precision it needed.
#[derive(Clone, Debug)]
pub(crate) enum Solver {
    Refined(std::sync::Arc<Refined>),
    Bits256(std::sync::Arc<Factored<4>>),
    Bits512(std::sync::Arc<Factored<8>>),
    Bits1024(std::sync::Arc<Factored<16>>),
    Bits2048(std::sync::Arc<Factored<32>>),
}

impl Solver {
    /// Coefficients of one target, a column of the state's table.
    pub(crate) fn coefficients(&self, moments: &Moments, target: usize) -> Solved {
        match self {
            Self::Refined(refined) => refined.coefficients(moments, target),
            Self::Bits256(factored) => factored.coefficients(moments, target),
            Self::Bits512(factored) => factored.coefficients(moments, target),
            Self::Bits1024(factored) => factored.coefficients(moments, target),
            Self::Bits2048(factored) => factored.coefficients(moments, target),
        }
    }
}

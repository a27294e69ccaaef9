//! One factorisation: reading the state, judging the columns, making keys.

use std::sync::Arc;

use rayon::prelude::*;

use super::polynomials::Placed;
use super::report::Report;
use super::solve::{Factored, Frame, Solver};
use super::{Arithmetic, Whitening, WhiteningOptions};
use crate::design::{Aliased, Design, Filter, RankTolerance};
use crate::error::{Dependence, Error};
use crate::exact::centred::Centred;
use crate::exact::float::Float;
use crate::exact::ldl::{Ldl, Verdict};
use crate::interrupt::checked;
use crate::moments::{Moments, Precision};

pub(super) struct Job<'a> {
    pub(super) moments: &'a Moments,
    pub(super) design: &'a Design,
    pub(super) filter: Filter,
    pub(super) options: WhiteningOptions,
    pub(super) unweighted: Option<&'a Moments>,
}

/// Bits that a pivot may lose before the factorisation starts again with more: half of them.
pub(super) const fn spare_bits(words: usize) -> i64 {
    32 * words as i64
}

/// A column so many tolerances away is clear of dependence however the tolerance is rounded.
pub(super) const CLEAR: f64 = 1e5;
/// Columns from which on doubles, refined, are faster than 256 bits.
const REFINED_FROM: usize = 24;
/// Columns worth a trip to other threads.
pub(super) const PARALLEL_FROM: usize = 48;

impl Job<'_> {
    /// Factors in refined doubles if they do and pay, else in as many bits as it takes.
    pub(super) fn run(&self) -> Result<Whitening, Error> {
        let refined = match self.options.arithmetic {
            Arithmetic::Auto => self.design.names.len() >= REFINED_FROM,
            Arithmetic::Refined => true,
            Arithmetic::Extended => false,
        };
        if refined
            && self.moments.taken.is_none()
            && let Some(done) = self.refine()?
        {
            return Ok(done);
        }
        self.at_least(256)
    }

    /// Factors with so many bits, or as many more as it takes.
    pub(super) fn at_least(&self, bits: usize) -> Result<Whitening, Error> {
        if bits <= 256
            && let Some(done) = self.factor::<4>(Solver::Bits256)?
        {
            return Ok(done);
        }
        if bits <= 512
            && let Some(done) = self.factor::<8>(Solver::Bits512)?
        {
            return Ok(done);
        }
        if bits <= 1024
            && let Some(done) = self.factor::<16>(Solver::Bits1024)?
        {
            return Ok(done);
        }
        match self.factor::<32>(Solver::Bits2048)? {
            Some(done) => Ok(done),
            None => Err(Error::NoConvergence { steps: 4, residual: f64::NAN }),
        }
    }

    /// Factors with `64 N` bits; `None` if these are too few.
    fn factor<const N: usize>(&self, wrap: fn(Arc<Factored<N>>) -> Solver) -> Result<Option<Whitening>, Error> {
        let placed = self.placed::<N>()?;
        let sums = Centred::<N>::new(&self.moments.sums, self.design.intercept).with_errors(self.moments);
        let sums = sums.with_formed(&placed.formed).with_products();
        let spectrum = Spectrum::at(&sums, &placed.table);
        let Some(Inverse { keys, unit, kept, dependent, ldl }) = self.invert(&sums, &spectrum)? else {
            return Ok(None);
        };
        let columns: Vec<usize> = kept.iter().map(|&i| spectrum.table[i]).collect();
        let means: Vec<Float<N>> = columns.iter().map(|&c| sums.mean(c)).collect();
        let Some(report) = self.report(&sums, &spectrum, ldl.as_ref(), &kept, &means) else {
            return Ok(None);
        };
        let frame = Frame { keys_unit: unit, ..self.frame(&sums, &spectrum, &kept, means, report) };
        let factored = Factored { frame, keys };
        let kept = kept.iter().map(|&i| spectrum.candidates[i]).collect();
        let constant = self.design.intercept.then(|| sums.total().sqrt().reciprocal());
        let loading = factored.frame.report.loading(&factored.keys, constant);
        let to_double = |rows: &[Vec<Float<N>>]| -> Vec<Vec<f64>> {
            rows.iter().map(|row| row.iter().map(|x| x.to_f64()).collect()).collect()
        };
        let condition = match self.filter {
            Filter::Ols => factored.condition(&sums),
            _ => self.unfiltered_condition()?,
        };
        let made = Made {
            effective_df: self.effective_df(&factored),
            condition,
            key_map: to_double(&factored.keys),
            loading: to_double(&loading),
            kept,
            dependent,
        };
        Ok(Some(self.whitening(&sums, &factored.frame, made, 64 * N).with_solver(wrap(Arc::new(factored)))))
    }

    /// Where the columns of the design are found; polynomials are formed without weights.
    fn placed<const N: usize>(&self) -> Result<Placed<N>, Error> {
        Placed::new(self.design, self.unweighted.unwrap_or(self.moments), self.options.rank_tolerance)
    }

    /// What all reads of the factor need to know of its columns, `kept` among those of the spectrum.
    pub(super) fn frame<const N: usize>(
        &self,
        sums: &Centred<'_, N>,
        spectrum: &Spectrum<N>,
        kept: &[usize],
        means: Vec<Float<N>>,
        report: Report<N>,
    ) -> Frame<N> {
        let frame = Frame {
            columns: kept.iter().map(|&i| spectrum.table[i]).collect(),
            means,
            lengths: kept
                .iter()
                .map(|&i| match sums.terms(spectrum.table[i]) {
                    Some(_) => sums.reach(spectrum.table[i]),
                    None => spectrum.diagonal(i).abs().sqrt().scale(-spectrum.scales[i]),
                })
                .collect(),
            penalties: kept
                .iter()
                .map(|&i| self.penalty(sums, spectrum.diagonal(i), spectrum.scales[i]).scale(-2 * spectrum.scales[i]))
                .collect(),
            report,
            formed: sums.formed().to_vec(),
            intercept: self.design.intercept,
            keys_unit: None,
            saturated: self.filter == Filter::Ols
                && self.moments.taken.is_none()
                && self.moments.rows() == kept.len() as u64 + self.design.intercept as u64,
        };
        let lengths = frame.columns.iter().zip(&frame.lengths).map(|(&c, length)| frame.reach(sums, c, *length));
        Frame { lengths: lengths.collect(), ..frame }
    }

    pub(super) fn whitening<const N: usize>(
        &self,
        sums: &Centred<'_, N>,
        frame: &Frame<N>,
        made: Made,
        bits: usize,
    ) -> Whitening {
        Whitening {
            design: self.design.clone(),
            filter: self.filter,
            rows: self.moments.rows(),
            weight_total: sums.total().to_f64(),
            rank: made.key_map.len() + self.design.intercept as usize,
            effective_df: made.effective_df + self.taken_out() as f64,
            condition: made.condition,
            bits,
            method: super::Method::Extended,
            means: frame.means.iter().map(|m| m.to_double_double()).collect(),
            factors: frame
                .columns
                .iter()
                .map(|&c| sums.terms(c).unwrap_or_default().iter().map(|(_, f)| f.to_double_double()).collect())
                .collect(),
            key_map: made.key_map,
            loading: made.loading,
            kept: made.kept,
            dependent: made.dependent,
            solver: None,
            options: self.options,
            unweighted: self.unweighted.map(|moments| Arc::new(moments.clone())),
        }
    }

    /// Coefficients of effects that were taken out.
    fn taken_out(&self) -> usize {
        self.moments.taken.as_ref().map_or(0, |taken| taken.coefficients)
    }

    /// The condition of the design itself, under ridge or components; infinite if columns depend on each other.
    pub(super) fn unfiltered_condition(&self) -> Result<f64, Error> {
        let coefficients = self.design.names.len() + self.design.intercept as usize;
        if self.moments.rows() < coefficients as u64 {
            return Ok(f64::INFINITY);
        }
        let options = WhiteningOptions {
            aliased: Aliased::Error,
            rank_tolerance: RankTolerance::Rounding,
            arithmetic: self.options.arithmetic,
        };
        match (Job { filter: Filter::Ols, options, ..*self }).run() {
            Ok(whitening) => Ok(whitening.condition),
            Err(Error::RankDeficient { .. }) => Ok(f64::INFINITY),
            Err(other) => Err(other),
        }
    }

    /// Combinations of levels without rows are columns of zeros; a penalty needs no word about them.
    pub(super) fn never_observed(&self) -> Vec<Dependence> {
        let penalised = matches!(self.filter, Filter::Ridge { alpha, .. } if alpha > 0.0);
        (0..self.design.names.len())
            .filter(|&c| self.design.columns[c].is_none() && !penalised)
            .map(|c| Dependence { column: self.design.names[c].clone(), on: Vec::new(), distance_relative: 0.0 })
            .collect()
    }

    /// The dependent columns, unless they are to be refused.
    pub(super) fn allowed(&self, dependent: Vec<Dependence>) -> Result<Vec<Dependence>, Error> {
        if dependent.is_empty() || self.options.aliased != Aliased::Error {
            return Ok(dependent);
        }
        let columns = self.design.names.len() + self.design.intercept as usize;
        Err(Error::RankDeficient { rank: columns - dependent.len(), columns, dependent })
    }

    /// The filtered inverse; `None` if it takes more bits.
    fn invert<const N: usize>(
        &self,
        sums: &Centred<'_, N>,
        spectrum: &Spectrum<N>,
    ) -> Result<Option<Inverse<N>>, Error> {
        let size = spectrum.table.len();
        if let Filter::Components { count, standardize } = self.filter {
            let lost = |i: usize| extent(sums, spectrum, i) - spectrum.diagonal(i).exponent();
            if N < 32 && (0..size).any(|i| lost(i) > spare_bits(N)) {
                return Ok(None);
            }
            let (keys, unit) = crate::components::keys(sums, &spectrum.table, count, standardize)?;
            return Ok(Some(Inverse { keys, unit, kept: (0..size).collect(), dependent: Vec::new(), ldl: None }));
        }
        let mut dependent = self.never_observed();
        let Some(ldl) = self.factor_gram(sums, spectrum, &mut dependent) else {
            return Ok(None);
        };
        let dependent = self.allowed(dependent)?;
        let kept: Vec<usize> = (0..size).filter(|&i| !ldl.pivots[i].is_zero()).collect();
        let full = ldl.key_map();
        let keys = kept
            .iter()
            .map(|&j| kept.iter().take_while(|&&i| i <= j).map(|&i| full[j][i].scale(spectrum.scales[i])).collect())
            .collect();
        Ok(Some(Inverse { keys, unit: None, kept, dependent, ldl: Some(ldl) }))
    }

    /// The factor of the scaled Gram matrix (with the ridge penalty, if any), and the columns found dependent.
    fn factor_gram<const N: usize>(
        &self,
        sums: &Centred<'_, N>,
        spectrum: &Spectrum<N>,
        dependent: &mut Vec<Dependence>,
    ) -> Option<Ldl<N>> {
        let Spectrum { gram, scales, table, candidates } = spectrum;
        let size = table.len();
        let mut penalised = gram.clone();
        for i in 0..size {
            let place = i * (i + 1) / 2 + i;
            penalised[place] = penalised[place] + self.penalty(sums, gram[place], scales[i]);
        }
        let norms: Vec<f64> = (0..size).map(|i| sums.length(table[i]).scale(scales[i]).to_f64()).collect();
        let (units, rounded): (Vec<f64>, Vec<f64>) =
            (0..size).map(|i| self.rounding(sums, table[i], scales[i])).unzip();
        let extents: Vec<i64> = (0..size).map(|i| extent(sums, spectrum, i)).collect();
        let name = |i: usize| self.design.names[candidates[i]].clone();
        let mut describe = |i: usize, coefficients: &[f64], distance: f64| {
            // (Of a column that effects contain nothing is left to compare with.)
            let left = gram[i * (i + 1) / 2 + i].sqrt().to_f64();
            let own = if self.moments.taken.is_some() { norms[i] } else { left };
            let part = |j: usize| coefficients[j].abs() * gram[j * (j + 1) / 2 + j].sqrt().to_f64();
            let mut on: Vec<String> = (0..coefficients.len()).filter(|&j| part(j) > 1e-8 * own).map(name).collect();
            if norms[i] > 0.0 {
                match &self.moments.taken {
                    Some(taken) => on.extend(taken.names.iter().cloned()),
                    None if on.is_empty() => on.push(crate::INTERCEPT.to_owned()),
                    None => {}
                }
            }
            let distance_relative = if norms[i] > 0.0 { distance / norms[i] } else { 0.0 };
            let distance_relative = if distance_relative < 1e-30 { 0.0 } else { distance_relative };
            dependent.push(Dependence { column: name(i), on, distance_relative });
        };
        let penalised_fit = matches!(self.filter, Filter::Ridge { alpha, .. } if alpha > 0.0);
        let mut most_lost = 0;
        Ldl::factor(&penalised, size, |i, pivot, diagonal, factor: &Ldl<N>| {
            let lost = diagonal.exponent() - pivot.exponent();
            let lost_in_all = lost.max(extents[i] - pivot.exponent());
            let broken = diagonal.is_zero() || pivot.is_zero() || pivot.is_negative() || lost_in_all > spare_bits(N);
            if penalised_fit {
                return if !broken {
                    Verdict::Keep
                } else if N < 32 {
                    Verdict::MoreBits
                } else {
                    Verdict::Drop
                };
            }
            if diagonal.is_zero() {
                describe(i, &[], 0.0);
                return Verdict::Drop;
            }
            let tolerance_of = |coefficients: &[f64]| tolerance(&units, &rounded, i, coefficients);
            let distance = if pivot.is_negative() { 0.0 } else { pivot.sqrt().to_f64() };
            most_lost = most_lost.max(lost);
            // As long as no pivot has lost more than half the bits of a double, these tell which columns are clear.
            if !broken && most_lost < 26 && distance > CLEAR * tolerance_of(&factor.on_earlier_rounded(i)) {
                return Verdict::Keep;
            }
            let coefficients: Vec<f64> = factor.on_earlier(i).iter().map(|c| c.to_f64()).collect();
            let tolerance = tolerance_of(&coefficients);
            if (distance <= tolerance && tolerance > 0.0) || (broken && N == 32) {
                describe(i, &coefficients, distance);
                return Verdict::Drop;
            }
            if broken { Verdict::MoreBits } else { Verdict::Keep }
        })
    }

    /// The precision of a column's entries and the (scaled) length that it is relative to.
    fn rounding<const N: usize>(&self, sums: &Centred<'_, N>, column: usize, scale: i64) -> (f64, f64) {
        // A residual that was solved for is known to its error only.
        let unit = |c: usize| unit(self.options.rank_tolerance, self.moments.precision(c)).max(sums.error_relative(c));
        let length = |c: usize| sums.length(c);
        let Some(terms) = sums.terms(column) else {
            return (unit(column), length(column).scale(scale).to_f64());
        };
        let own = terms.last().map_or(0.0, |(highest, _)| unit(*highest));
        let rounded = crate::exact::centred::sum_of_sizes(terms, |c| match c {
            0 => Float::ZERO,
            _ if own == 0.0 => length(c),
            _ => length(c) * Float::from_f64(beside(own, unit(c)) / own),
        });
        (own, rounded.scale(scale).to_f64())
    }

    /// `tr(ΩC) = keys − Σ_j P_j Ω_jj` for ridge penalties P.
    fn effective_df<const N: usize>(&self, factored: &Factored<N>) -> f64 {
        let mut trace = Float::<N>::from_f64((factored.keys.len() + self.design.intercept as usize) as f64);
        for key in &factored.keys {
            for (k, penalty) in key.iter().zip(&factored.frame.penalties).filter(|(_, p)| !p.is_zero()) {
                trace = trace - *k * *k * *penalty;
            }
        }
        trace.to_f64()
    }

    /// The ridge penalty of a column in its scaled units; zero for other filters.
    pub(super) fn penalty<const N: usize>(
        &self,
        sums: &Centred<'_, N>,
        scaled_diagonal: Float<N>,
        scale: i64,
    ) -> Float<N> {
        match self.filter {
            // (A constant column has no standard deviation to divide by: it is left as it is.)
            Filter::Ridge { alpha, standardize: true } if !scaled_diagonal.is_zero() => {
                Float::from_f64(alpha) * scaled_diagonal * sums.total().reciprocal()
            }
            Filter::Ridge { alpha, .. } => Float::from_f64(alpha).scale(2 * scale),
            _ => Float::ZERO,
        }
    }
}

/// What the precision of another column counts as beside a column of precision `own`: pairs are made of it.
fn beside(own: f64, other: f64) -> f64 {
    if other <= own || own > 1e-20 { other } else { own }
}

/// The exponent of the square that a column's centred square was left over from: where it is formed, much may cancel.
fn extent<const N: usize>(sums: &Centred<'_, N>, spectrum: &Spectrum<N>, i: usize) -> i64 {
    let table = spectrum.table[i];
    let reach = sums.terms(table).map(|_| 2 * (sums.reach(table).exponent() + spectrum.scales[i]));
    reach.unwrap_or(spectrum.diagonal(i).exponent())
}

/// How close column `i` may come to the span of the earlier ones, given its coefficients on them; see [`RankTolerance`].
pub(crate) fn tolerance(units: &[f64], norms: &[f64], i: usize, coefficients: &[f64]) -> f64 {
    let others = coefficients.iter().enumerate().map(|(j, c)| c.abs() * beside(units[i], units[j]) * norms[j]);
    units[i] * norms[i] + others.sum::<f64>()
}

/// The relative precision of entries, for the rank decision.
pub(crate) fn unit(tolerance: RankTolerance, precision: Precision) -> f64 {
    match (tolerance, precision) {
        (RankTolerance::Exact, _) => 0.0,
        // No table of zeros and ones that fits a machine comes this close to dependence without being dependent.
        (_, Precision::Exact) => 2f64.powi(-60),
        (_, Precision::Double) => 2f64.powi(-53),
        (_, Precision::Pair) => 2f64.powi(-104),
    }
}

/// What a factorisation gives to a [`Whitening`].
/// A filtered inverse.
struct Inverse<const N: usize> {
    keys: Vec<Vec<Float<N>>>,
    /// The power of two up to which the keys are known, if not the unit of the arithmetic.
    unit: Option<i64>,
    /// The columns it uses.
    kept: Vec<usize>,
    /// Those it leaves out.
    dependent: Vec<Dependence>,
    /// The factor, if there was one.
    ldl: Option<Ldl<N>>,
}

pub(super) struct Made {
    pub(super) effective_df: f64,
    pub(super) condition: f64,
    pub(super) key_map: Vec<Vec<f64>>,
    pub(super) loading: Vec<Vec<f64>>,
    pub(super) kept: Vec<usize>,
    pub(super) dependent: Vec<Dependence>,
}

/// The scaled cross-products of the candidate columns.
pub(super) struct Spectrum<const N: usize> {
    /// Lower triangle, by rows.
    pub(super) gram: Vec<Float<N>>,
    /// Column `i` was multiplied by `2^scales[i]`.
    pub(super) scales: Vec<i64>,
    /// Its column in the state's table.
    pub(super) table: Vec<usize>,
    /// Its position in the design.
    pub(super) candidates: Vec<usize>,
}

impl<const N: usize> Spectrum<N> {
    /// Reads the cross-products of the design's columns that were observed; none of them is formed.
    pub(super) fn of(sums: &Centred<'_, N>, design: &Design) -> Self {
        let table: Vec<Option<usize>> = design.columns.iter().map(|c| c.map(|c| c + 1)).collect();
        Self::at(sums, &table)
    }

    /// Reads the cross-products of the columns that were observed, by their places in the table.
    pub(super) fn at(sums: &Centred<'_, N>, places: &[Option<usize>]) -> Self {
        let candidates: Vec<usize> = (0..places.len()).filter(|&c| places[c].is_some()).collect();
        let table: Vec<usize> = places.iter().copied().flatten().collect();
        // Scaling by powers of two is exact and leaves numbers near one.
        let scales: Vec<i64> = table.iter().map(|&c| scale_of(sums.product(c, c))).collect();
        let row = |i: usize| -> Vec<Float<N>> {
            (0..=i).map(|j| sums.product(table[i], table[j]).scale(scales[i] + scales[j])).collect()
        };
        let size = table.len();
        let rows: Vec<Vec<Float<N>>> = if size >= PARALLEL_FROM {
            (0..size).into_par_iter().map(checked(row)).collect()
        } else {
            (0..size).map(row).collect()
        };
        Self { gram: rows.concat(), scales, table, candidates }
    }

    pub(super) fn diagonal(&self, i: usize) -> Float<N> {
        self.gram[i * (i + 1) / 2 + i]
    }
}

/// The even power of two that brings a diagonal entry near one.
pub(super) fn scale_of<const N: usize>(diagonal: Float<N>) -> i64 {
    if diagonal.is_zero() { 0 } else { -diagonal.exponent().div_euclid(2) }
}

//! Slow memory: the metric `Ω = L Lᵀ` under which the rows of a design are keys.

use crate::design::{Aliased, Design, Filter, RankTolerance};
use crate::double_double::DoubleDouble;
use crate::error::{Dependence, Error};
use crate::exact::centred::Centred;
use crate::exact::float::Float;
use crate::exact::ldl::{Ldl, Verdict};
use crate::moments::{Moments, Precision};

/// Options of [`Whitening::of`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WhiteningOptions {
    /// What to do with dependent columns.
    pub aliased: Aliased,
    /// When a column counts as dependent.
    pub rank_tolerance: RankTolerance,
}

/// The factored design: everything about X that predictions, weights and inference need.
///
/// Keys are `kᵢ = Lᵀ(xᵢ − x̄)`; the constant adds a component `1/√Σw`. Only `Ω = L Lᵀ` is defined: another release may
/// return rotated keys.
///
/// # Numerics
/// Factored in 256, 512, 1024 or 2048 bits, whichever the condition needs; `O(p³)`.
#[derive(Clone, Debug)]
pub struct Whitening {
    /// The design, as given.
    pub design: Design,
    /// The filter, as given.
    pub filter: Filter,
    /// Positions of the design's columns that are used.
    pub kept: Vec<usize>,
    /// Columns that depend on earlier ones.
    pub dependent: Vec<Dependence>,
    /// Rows with positive weight.
    pub rows: u64,
    /// `Σ wᵢ`.
    pub weight_total: f64,
    /// Numerical rank, counting the intercept.
    pub rank: usize,
    /// Trace of the hat matrix, counting the intercept.
    pub effective_df: f64,
    /// Condition of the column-scaled design, with its intercept; under ridge and components that of the filtered metric.
    pub condition: f64,
    /// Bits of the arithmetic that factored the design.
    pub bits: usize,
    /// Means of the kept columns (zero without intercept). Shape: `[kept]`.
    pub means: Vec<DoubleDouble>,
    /// The map from centred kept columns to keys, by keys: `key_map[j][c]`. Shape: `[keys][≤ kept]`.
    pub key_map: Vec<Vec<f64>>,
    /// What a key contributes to each reported coefficient: with `k̃ = (1/√Σw, k)`, coefficients are
    /// `Σᵢ (loading · k̃ᵢ) wᵢ yᵢ` and their covariance is `loading · M · loadingᵀ`, `M` the covariance of `Σ k̃ᵢ wᵢ yᵢ`.
    /// Shape: `[coefficients][1 + keys]`, rows of dropped coefficients empty; the first entry is 0 without intercept.
    pub loading: Vec<Vec<f64>>,
    /// The factor in extended precision; absent in a whitening read from a file.
    pub(crate) solver: Option<Solver>,
    pub(crate) options: WhiteningOptions,
    /// For orthogonal polynomials of a weighted state.
    pub(crate) unweighted: Option<std::sync::Arc<Moments>>,
}

/// The factor in the precision it needed.
#[derive(Clone, Debug)]
pub(crate) enum Solver {
    Bits256(std::sync::Arc<Factored<4>>),
    Bits512(std::sync::Arc<Factored<8>>),
    Bits1024(std::sync::Arc<Factored<16>>),
    Bits2048(std::sync::Arc<Factored<32>>),
}

/// A filtered inverse over the kept columns and how coefficients are reported.
#[derive(Debug)]
pub(crate) struct Factored<const N: usize> {
    /// Kept table columns (constant is 0).
    pub(crate) columns: Vec<usize>,
    /// By keys, over kept columns: `Ω = Σ_j key[j] key[j]ᵀ`.
    pub(crate) keys: Vec<Vec<Float<N>>>,
    pub(crate) means: Vec<Float<N>>,
    /// `√C_jj` of the kept columns.
    pub(crate) lengths: Vec<Float<N>>,
    /// Ridge penalties of the kept columns.
    pub(crate) penalties: Vec<Float<N>>,
    /// Reported coefficient over kept columns; `None` if dropped.
    pub(crate) report: Vec<Option<Vec<Float<N>>>>,
    /// Means of the reported columns.
    pub(crate) report_means: Vec<Float<N>>,
    pub(crate) intercept: bool,
}

impl Whitening {
    /// Factors the design.
    ///
    /// `unweighted` is needed only when the state is weighted and the design has orthogonal polynomials, which R (and
    /// so this library) forms without weights: the unweighted state of the same columns.
    ///
    /// # Equals
    /// The QR step of R's `lm` (`Aliased::Drop` gives its `NA` coefficients).
    ///
    /// # Errors
    /// - [`Error::NoRows`], [`Error::TooFewRows`]: not enough rows.
    /// - [`Error::RankDeficient`]: dependent columns under [`Aliased::Error`] (or within an orthogonal polynomial).
    /// - [`Error::Parameter`]: a penalty that is negative or not finite, or more components than columns.
    pub fn of(
        moments: &Moments,
        design: &Design,
        filter: Filter,
        options: WhiteningOptions,
        unweighted: Option<&Moments>,
    ) -> Result<Self, Error> {
        check_filter(filter, design)?;
        check_design(design, moments)?;
        if moments.rows() == 0 {
            return Err(Error::NoRows);
        }
        let coefficients = design.names.len() + design.intercept as usize;
        if filter == Filter::Ols && options.aliased == Aliased::Error && moments.rows() < coefficients as u64 {
            return Err(Error::TooFewRows { rows: moments.rows(), coefficients });
        }
        Job { moments, design, filter, options, unweighted }.at_least(256)
    }

    /// The same design factored with twice the bits; `None` where there are no more.
    pub(crate) fn with_more_bits(&self, moments: &Moments) -> Result<Option<Self>, Error> {
        let (design, filter, options) = (&self.design, self.filter, self.options);
        let unweighted = self.unweighted.as_deref();
        // Beyond some hundred columns more bits cost minutes; what the bits at hand give is then said as it is.
        let most = if self.kept.len() <= 64 { 2048 } else { 512 };
        if self.bits >= most {
            return Ok(None);
        }
        Job { moments, design, filter, options, unweighted }.at_least(2 * self.bits).map(Some)
    }

    /// Number of keys (without the constant).
    pub fn keys(&self) -> usize {
        self.key_map.len()
    }

    /// Names of the reported coefficients, the intercept first.
    pub fn coefficient_names(&self) -> Vec<String> {
        let intercept = self.design.intercept.then(|| crate::INTERCEPT.to_owned());
        intercept.into_iter().chain(self.design.names.iter().cloned()).collect()
    }
}

fn check_filter(filter: Filter, design: &Design) -> Result<(), Error> {
    match filter {
        Filter::Ridge { alpha, .. } if !(alpha >= 0.0 && alpha.is_finite()) => Err(Error::Parameter {
            name: "the ridge penalty",
            got: alpha.to_string(),
            allowed: "a finite number, zero or more",
        }),
        Filter::Components { count, .. } if count > design.names.len() => Err(Error::Parameter {
            name: "the number of components",
            got: count.to_string(),
            allowed: "at most the number of columns of the design",
        }),
        _ => Ok(()),
    }
}

fn check_design(design: &Design, moments: &Moments) -> Result<(), Error> {
    let count = design.names.len();
    if design.columns.len() != count {
        return Err(Error::Shape { what: "the design's list of columns", expected: count, got: design.columns.len() });
    }
    if let Some(outside) = design.columns.iter().flatten().find(|c| **c >= moments.columns()) {
        return Err(Error::Shape { what: "the state", expected: outside + 1, got: moments.columns() });
    }
    match design.orthogonal.iter().flatten().find(|position| **position >= count) {
        Some(outside) => Err(Error::Shape { what: "the design", expected: outside + 1, got: count }),
        None => Ok(()),
    }
}

struct Job<'a> {
    moments: &'a Moments,
    design: &'a Design,
    filter: Filter,
    options: WhiteningOptions,
    unweighted: Option<&'a Moments>,
}

/// Bits that a pivot may lose before the factorisation starts again with more: half of them.
const fn spare_bits(words: usize) -> i64 {
    32 * words as i64
}

impl Job<'_> {
    /// Factors with so many bits, or as many more as it takes.
    fn at_least(&self, bits: usize) -> Result<Whitening, Error> {
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
    fn factor<const N: usize>(
        &self,
        wrap: fn(std::sync::Arc<Factored<N>>) -> Solver,
    ) -> Result<Option<Whitening>, Error> {
        let sums = Centred::<N>::new(&self.moments.sums, self.design.intercept);
        let candidates: Vec<usize> =
            (0..self.design.names.len()).filter(|&c| self.design.columns[c].is_some()).collect();
        let table: Vec<usize> = candidates.iter().map(|&c| self.design.columns[c].unwrap_or(0) + 1).collect();
        let size = table.len();
        let mut gram = Vec::with_capacity(size * (size + 1) / 2);
        for i in 0..size {
            gram.extend(table[..=i].iter().map(|&b| sums.product(table[i], b)));
        }
        // Scaling by powers of two is exact and leaves numbers near one.
        let scales: Vec<i64> = (0..size).map(|i| scale_of(gram[i * (i + 1) / 2 + i])).collect();
        for i in 0..size {
            for j in 0..=i {
                let entry = &mut gram[i * (i + 1) / 2 + j];
                *entry = entry.scale(scales[i] + scales[j]);
            }
        }
        let spectrum = Spectrum { gram, scales, table, candidates };
        let Some((keys, kept_local, dependent, ldl)) = self.invert(&sums, &spectrum)? else {
            return Ok(None);
        };
        let columns: Vec<usize> = kept_local.iter().map(|&i| spectrum.table[i]).collect();
        let means: Vec<Float<N>> = columns.iter().map(|&c| sums.mean(c)).collect();
        let Some((report, report_means)) = self.report(&sums, &spectrum, ldl.as_ref(), &kept_local, &means)? else {
            return Ok(None);
        };
        let lengths: Vec<Float<N>> =
            kept_local.iter().map(|&i| spectrum.diagonal(i).abs().sqrt().scale(-spectrum.scales[i])).collect();
        let penalties = kept_local
            .iter()
            .map(|&i| self.penalty(&sums, spectrum.diagonal(i), spectrum.scales[i]).scale(-2 * spectrum.scales[i]))
            .collect();
        let intercept = self.design.intercept;
        let kept = kept_local.iter().map(|&i| spectrum.candidates[i]).collect();
        let factored = Factored { columns, keys, means, lengths, penalties, report, report_means, intercept };
        Ok(Some(self.finish(&sums, factored, kept, dependent, wrap)))
    }

    /// The filtered inverse as keys, the columns it uses, those it leaves out, and the factor if there was one;
    /// `None` if it takes more bits.
    #[allow(clippy::type_complexity)]
    fn invert<const N: usize>(
        &self,
        sums: &Centred<'_, N>,
        spectrum: &Spectrum<N>,
    ) -> Result<Option<(Vec<Vec<Float<N>>>, Vec<usize>, Vec<Dependence>, Option<Ldl<N>>)>, Error> {
        let size = spectrum.table.len();
        if let Filter::Components { count, standardize } = self.filter {
            let keys = crate::components::keys(sums, &spectrum.table, count, standardize)?;
            return Ok(Some((keys, (0..size).collect(), Vec::new(), None)));
        }
        // Combinations of levels without rows are columns of zeros.
        let penalised = matches!(self.filter, Filter::Ridge { alpha, .. } if alpha > 0.0);
        let mut dependent: Vec<Dependence> = (0..self.design.names.len())
            .filter(|&c| self.design.columns[c].is_none() && !penalised)
            .map(|c| Dependence { column: self.design.names[c].clone(), on: Vec::new(), distance_relative: 0.0 })
            .collect();
        let Some(ldl) = self.factor_gram(sums, spectrum, &mut dependent) else {
            return Ok(None);
        };
        if !dependent.is_empty() && self.options.aliased == Aliased::Error {
            let columns = self.design.names.len() + self.design.intercept as usize;
            return Err(Error::RankDeficient { rank: columns - dependent.len(), columns, dependent });
        }
        let kept: Vec<usize> = (0..size).filter(|&i| !ldl.pivots[i].is_zero()).collect();
        let full = ldl.key_map();
        let keys = kept
            .iter()
            .map(|&j| kept.iter().take_while(|&&i| i <= j).map(|&i| full[j][i].scale(spectrum.scales[i])).collect())
            .collect();
        Ok(Some((keys, kept, dependent, Some(ldl))))
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
        let norms: Vec<f64> =
            (0..size).map(|i| sums.raw(table[i], table[i]).scale(2 * scales[i]).sqrt().to_f64()).collect();
        let name = |i: usize| self.design.names[candidates[i]].clone();
        let mut describe = |i: usize, coefficients: &[f64], distance: f64| {
            let own = gram[i * (i + 1) / 2 + i].sqrt().to_f64();
            let part = |j: usize| coefficients[j].abs() * gram[j * (j + 1) / 2 + j].sqrt().to_f64();
            let mut on: Vec<String> = (0..coefficients.len()).filter(|&j| part(j) > 1e-8 * own).map(name).collect();
            if on.is_empty() && norms[i] > 0.0 {
                on.push(crate::INTERCEPT.to_owned());
            }
            let distance_relative = if norms[i] > 0.0 { distance / norms[i] } else { 0.0 };
            let distance_relative = if distance_relative < 1e-30 { 0.0 } else { distance_relative };
            dependent.push(Dependence { column: name(i), on, distance_relative });
        };
        let units: Vec<f64> = table.iter().map(|&c| self.unit(self.moments.precision(c))).collect();
        let penalised_fit = matches!(self.filter, Filter::Ridge { alpha, .. } if alpha > 0.0);
        let mut most_lost = 0;
        Ldl::factor(&penalised, size, |i, pivot, diagonal, factor: &Ldl<N>| {
            let lost = diagonal.exponent() - pivot.exponent();
            let broken = diagonal.is_zero() || pivot.is_zero() || pivot.is_negative() || lost > spare_bits(N);
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
            let same_kind = |j: usize| if units[j] <= units[i] || units[i] > 1e-20 { units[j] } else { units[i] };
            let tolerance_of = |coefficients: &[f64]| -> f64 {
                let others = coefficients.iter().enumerate().map(|(j, c)| c.abs() * same_kind(j) * norms[j]);
                units[i] * norms[i] + others.sum::<f64>()
            };
            let distance = if pivot.is_negative() { 0.0 } else { pivot.sqrt().to_f64() };
            most_lost = most_lost.max(lost);
            // A column this far away is clear of dependence however the tolerance is rounded, as long as no pivot has
            // lost more than half the bits of a double.
            const CLEAR: f64 = 1e5;
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

    /// The relative precision of entries, for the rank decision.
    fn unit(&self, precision: Precision) -> f64 {
        match (self.options.rank_tolerance, precision) {
            (RankTolerance::Exact, _) => 0.0,
            // No table of zeros and ones that fits a machine comes this close to dependence without being dependent.
            (_, Precision::Exact) => 2f64.powi(-60),
            (_, Precision::Double) => 2f64.powi(-53),
            (_, Precision::Pair) => 2f64.powi(-104),
        }
    }

    /// How every reported coefficient is made from those of the kept columns, and the means of the reported columns.
    #[allow(clippy::type_complexity)]
    fn report<const N: usize>(
        &self,
        sums: &Centred<'_, N>,
        spectrum: &Spectrum<N>,
        ldl: Option<&Ldl<N>>,
        kept: &[usize],
        means: &[Float<N>],
    ) -> Result<Option<(Vec<Option<Vec<Float<N>>>>, Vec<Float<N>>)>, Error> {
        let (count, rank) = (self.design.names.len(), kept.len());
        let one = Float::<N>::from_f64(1.0);
        let mut report: Vec<Option<Vec<Float<N>>>> = vec![None; count];
        let mut report_means = vec![Float::ZERO; count];
        let candidates = &spectrum.candidates;
        let local = |position: usize| kept.iter().position(|&i| candidates[i] == position);
        for (k, &i) in kept.iter().enumerate() {
            let mut row = vec![Float::ZERO; rank];
            row[k] = one;
            report[candidates[i]] = Some(row);
            report_means[candidates[i]] = means[k];
        }
        if let (Aliased::MinNorm, Some(ldl)) = (self.options.aliased, ldl) {
            let Some(rows) = crate::min_norm::spread(ldl, kept, &spectrum.scales) else {
                return Ok(None);
            };
            for (i, row) in rows {
                report[candidates[i]] = Some(row);
                report_means[candidates[i]] = sums.mean(spectrum.table[i]);
            }
        }
        for group in &self.design.orthogonal {
            let Some(places) = group.iter().map(|&position| local(position)).collect::<Option<Vec<usize>>>() else {
                let columns = count + self.design.intercept as usize;
                let dependent = group
                    .iter()
                    .filter(|&&position| local(position).is_none())
                    .map(|&position| Dependence {
                        column: self.design.names[position].clone(),
                        on: vec!["lower powers".to_owned()],
                        distance_relative: 0.0,
                    })
                    .collect();
                return Err(Error::RankDeficient { rank: rank + self.design.intercept as usize, columns, dependent });
            };
            self.orthogonalise(group, &places, &mut report, &mut report_means, means);
        }
        Ok(Some((report, report_means)))
    }

    /// Reports powers as orthonormal polynomials: with the unweighted centred sums `C = G Gᵀ`, the polynomials are
    /// `(X − x̄) G⁻ᵀ` and their coefficients `Gᵀ β`.
    fn orthogonalise<const N: usize>(
        &self,
        group: &[usize],
        places: &[usize],
        report: &mut [Option<Vec<Float<N>>>],
        report_means: &mut [Float<N>],
        means: &[Float<N>],
    ) {
        let source = self.unweighted.unwrap_or(self.moments);
        let sums = Centred::<N>::new(&source.sums, true);
        let table: Vec<usize> = group.iter().map(|&p| self.design.columns[p].map_or(0, |c| c + 1)).collect();
        let size = group.len();
        let mut lower = vec![vec![Float::<N>::ZERO; size]; size];
        for i in 0..size {
            for j in 0..=i {
                let mut value = sums.product(table[i], table[j]);
                for k in 0..j {
                    value = value - lower[i][k] * lower[j][k];
                }
                lower[i][j] = if i == j { value.abs().sqrt() } else { value * lower[j][j].reciprocal() };
            }
        }
        let shifts: Vec<Float<N>> = table.iter().map(|&c| sums.mean(c)).collect();
        for (j, &position) in group.iter().enumerate() {
            let mut row = vec![Float::ZERO; means.len()];
            for i in j..size {
                row[places[i]] = lower[i][j];
            }
            report[position] = Some(row);
            // Means of the polynomials: solve G m = x̄ − shift.
            let mut mean = means[places[j]] - shifts[j];
            if !self.design.intercept {
                mean = Float::ZERO;
            }
            for k in 0..j {
                mean = mean - lower[j][k] * report_means[group[k]];
            }
            report_means[position] = mean * lower[j][j].reciprocal();
        }
    }

    fn finish<const N: usize>(
        &self,
        sums: &Centred<'_, N>,
        factored: Factored<N>,
        kept: Vec<usize>,
        dependent: Vec<Dependence>,
        wrap: fn(std::sync::Arc<Factored<N>>) -> Solver,
    ) -> Whitening {
        let constant = if self.design.intercept { sums.total().sqrt().reciprocal() } else { Float::ZERO };
        let loading = factored.loading(constant);
        let to_double = |rows: &[Vec<Float<N>>]| -> Vec<Vec<f64>> {
            rows.iter().map(|row| row.iter().map(|x| x.to_f64()).collect()).collect()
        };
        let rank = factored.keys.len() + self.design.intercept as usize;
        Whitening {
            design: self.design.clone(),
            filter: self.filter,
            rows: self.moments.rows(),
            weight_total: sums.total().to_f64(),
            rank,
            effective_df: self.effective_df(&factored),
            condition: factored.condition(sums),
            bits: 64 * N,
            means: factored.means.iter().map(|m| m.to_double_double()).collect(),
            key_map: to_double(&factored.keys),
            loading: to_double(&loading),
            kept,
            dependent,
            solver: Some(wrap(std::sync::Arc::new(factored))),
            options: self.options,
            unweighted: self.unweighted.map(|moments| std::sync::Arc::new(moments.clone())),
        }
    }

    /// `tr(ΩC) = keys − Σ_j P_j Ω_jj` for ridge penalties P.
    fn effective_df<const N: usize>(&self, factored: &Factored<N>) -> f64 {
        let mut trace = Float::<N>::from_f64((factored.keys.len() + self.design.intercept as usize) as f64);
        for key in &factored.keys {
            for (k, penalty) in key.iter().zip(&factored.penalties).filter(|(_, p)| !p.is_zero()) {
                trace = trace - *k * *k * *penalty;
            }
        }
        trace.to_f64()
    }

    /// The ridge penalty of a column in its scaled units; zero for other filters.
    fn penalty<const N: usize>(&self, sums: &Centred<'_, N>, scaled_diagonal: Float<N>, scale: i64) -> Float<N> {
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

/// The scaled cross-products of the candidate columns.
struct Spectrum<const N: usize> {
    /// Lower triangle, by rows.
    gram: Vec<Float<N>>,
    /// Column `i` was multiplied by `2^scales[i]`.
    scales: Vec<i64>,
    /// Its column in the state's table.
    table: Vec<usize>,
    /// Its position in the design.
    candidates: Vec<usize>,
}

impl<const N: usize> Spectrum<N> {
    fn diagonal(&self, i: usize) -> Float<N> {
        self.gram[i * (i + 1) / 2 + i]
    }
}

/// The even power of two that brings a diagonal entry near one.
fn scale_of<const N: usize>(diagonal: Float<N>) -> i64 {
    if diagonal.is_zero() { 0 } else { -diagonal.exponent().div_euclid(2) }
}

impl<const N: usize> Factored<N> {
    /// Rows of the loading matrix; see [`Whitening::loading`].
    fn loading(&self, constant: Float<N>) -> Vec<Vec<Float<N>>> {
        let row_of = |weights: &[Float<N>]| -> Vec<Float<N>> {
            let per_key = self.keys.iter().map(|key| {
                key.iter().zip(weights).fold(Float::ZERO, |sum, (k, w)| if w.is_zero() { sum } else { sum + *k * *w })
            });
            std::iter::once(Float::ZERO).chain(per_key).collect()
        };
        let rows: Vec<Vec<Float<N>>> =
            self.report.iter().map(|weights| weights.as_deref().map_or(Vec::new(), row_of)).collect();
        if !self.intercept {
            return rows;
        }
        let mut first = vec![Float::ZERO; self.keys.len() + 1];
        first[0] = constant;
        for (row, mean) in rows.iter().zip(&self.report_means).filter(|(row, _)| !row.is_empty()) {
            for (entry, loading) in first.iter_mut().zip(row).skip(1) {
                *entry = *entry - *mean * *loading;
            }
        }
        std::iter::once(first).chain(rows).collect()
    }

    /// Condition of the column-scaled design with its constant: `√(λ_max(R) λ_max(R⁻¹))`, both by power iteration.
    fn condition(&self, sums: &Centred<'_, N>) -> f64 {
        let table: Vec<usize> = self.intercept.then_some(0).into_iter().chain(self.columns.iter().copied()).collect();
        let size = table.len();
        if size == 0 {
            return 1.0;
        }
        let norms: Vec<Float<N>> = table.iter().map(|&c| sums.raw(c, c).sqrt()).collect();
        if norms.iter().any(Float::is_zero) {
            return f64::INFINITY;
        }
        let reciprocals: Vec<Float<N>> = norms.iter().map(|n| n.reciprocal()).collect();
        let mut correlation = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..=i {
                let value = (sums.raw(table[i], table[j]) * reciprocals[i] * reciprocals[j]).to_f64();
                correlation[i * size + j] = value;
                correlation[j * size + i] = value;
            }
        }
        // Scaled key map of the whole design: R⁻¹ = S Sᵀ.
        let offset = self.intercept as usize;
        let mut scaled = vec![vec![0.0; size]; size];
        if self.intercept {
            scaled[0][0] = (norms[0] * sums.total().sqrt().reciprocal()).to_f64();
        }
        for (j, key) in self.keys.iter().enumerate() {
            let mut first = Float::ZERO;
            for (i, k) in key.iter().enumerate() {
                scaled[offset + i][offset + j] = (*k * norms[offset + i]).to_f64();
                first = first - *k * self.means[i];
            }
            if self.intercept {
                scaled[0][offset + j] = (first * norms[0]).to_f64();
            }
        }
        let direct = largest_eigenvalue(size, |v| {
            (0..size).map(|i| (0..size).map(|j| correlation[i * size + j] * v[j]).sum()).collect()
        });
        let inverse = largest_eigenvalue(size, |v| {
            let inner: Vec<f64> = (0..size).map(|j| (0..size).map(|i| scaled[i][j] * v[i]).sum()).collect();
            (0..size).map(|i| (0..size).map(|j| scaled[i][j] * inner[j]).sum()).collect()
        });
        direct.sqrt() * inverse.sqrt()
    }

    /// Coefficients of one target (a table column): raw over kept columns and reported, each with the intercept.
    pub(crate) fn coefficients(&self, moments: &Moments, target: usize) -> Solved {
        let sums = Centred::<N>::new(&moments.sums, self.intercept);
        let cross: Vec<Float<N>> = self.columns.iter().map(|&c| sums.product(c, target)).collect();
        let memory: Vec<Float<N>> =
            self.keys.iter().map(|key| key.iter().zip(&cross).fold(Float::ZERO, |sum, (k, c)| sum + *k * *c)).collect();
        let mut raw = vec![Float::<N>::ZERO; self.columns.len()];
        for (key, value) in self.keys.iter().zip(&memory) {
            for (b, k) in raw.iter_mut().zip(key) {
                *b = *b + *k * *value;
            }
        }
        let total = sums.product(target, target);
        let bound = self.bound(&raw, total.abs().sqrt());
        let unit = self.unit();
        let mean = sums.mean(target);
        let solve = |weights: &[Float<N>], errors: &[Float<N>]| -> (Float<N>, Float<N>) {
            let value = weights.iter().zip(&raw).fold(Float::ZERO, |sum, (w, b)| sum + *w * *b);
            let error = weights.iter().zip(errors).fold(Float::ZERO, |sum, (w, e)| sum + w.abs() * *e);
            (value, error)
        };
        let mut reported: Vec<Option<(Float<N>, Float<N>)>> =
            self.report.iter().map(|w| w.as_ref().map(|w| solve(w, &bound))).collect();
        let raw: Vec<Float<N>> = raw.iter().zip(&bound).map(|(b, e)| snap(*b, *e)).collect();
        let mut intercept = Float::ZERO;
        if self.intercept {
            let dot = |values: &[Float<N>], means: &[Float<N>]| {
                values.iter().zip(means).fold(Float::ZERO, |sum, (b, m)| sum + *b * *m)
            };
            intercept = mean - dot(&raw, &self.means);
            let mut reported_intercept = mean;
            let mut error = mean.abs().scale(unit);
            for (pair, m) in reported.iter().zip(&self.report_means) {
                if let Some((b, e)) = pair {
                    reported_intercept = reported_intercept - *b * *m;
                    error = error + *e * m.abs() + (*b * *m).abs().scale(unit);
                }
            }
            reported.insert(0, Some((reported_intercept, error)));
        }
        // With Cβ = c − Pβ, the residual sum yy − 2βᵀc + βᵀCβ is yy − βᵀc − βᵀPβ.
        let mut residual = total;
        let mut error = total.scale(unit);
        for (i, (b, c)) in raw.iter().zip(&cross).enumerate() {
            residual = residual - *b * (*c + *b * self.penalties[i]);
            error = error + bound[i] * c.abs();
        }
        // Within its error nothing is left: the fit is perfect, or the bits are too few to tell.
        let perfect = (residual - error).is_negative();
        let residual = if perfect { Float::ZERO } else { residual };
        let explained = total - residual;
        let residual_known = if perfect { total.is_zero() } else { residual.exponent() - error.exponent() > 58 };
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
            memory: memory.iter().map(|m| m.to_f64()).collect(),
        }
    }

    /// The unit of the arithmetic with room for sums over the columns, as an exponent.
    fn unit(&self) -> i64 {
        12 - 64 * N as i64 + 2 * (64 - (self.columns.len() as u64 + 1).leading_zeros() as i64)
    }

    /// Bounds of the error of each raw coefficient.
    ///
    /// In units where columns have length one, the factor's backward error is at most `u` an entry, so
    /// `|δβᵢ| ≤ u Σ_j |Ω_ij| (Σ_k |β_k| + ‖y‖)`, and `|Ω_ij| ≤ √(Ω_ii Ω_jj)`.
    fn bound(&self, raw: &[Float<N>], target_length: Float<N>) -> Vec<Float<N>> {
        let mut diagonal = vec![Float::<N>::ZERO; self.columns.len()];
        for key in &self.keys {
            for (d, k) in diagonal.iter_mut().zip(key) {
                *d = *d + *k * *k;
            }
        }
        let roots: Vec<Float<N>> = diagonal.iter().map(|d| d.sqrt()).collect();
        let inflation = roots.iter().zip(&self.lengths).fold(Float::ZERO, |sum, (r, s)| sum + *r * *s);
        let size = raw.iter().zip(&self.lengths).fold(target_length, |sum, (b, s)| sum + b.abs() * *s);
        roots.iter().map(|r| (*r * inflation * size).scale(self.unit())).collect()
    }
}

/// The value, or zero where it is within its error.
fn snap<const N: usize>(value: Float<N>, error: Float<N>) -> Float<N> {
    if (value.abs() - error).is_negative() { Float::ZERO } else { value }
}

/// Correct digits of a value known to an absolute error, after rounding to a double; at most 15.9.
fn digits<const N: usize>(value: Float<N>, error: Float<N>) -> f64 {
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

impl Solver {
    pub(crate) fn coefficients(&self, moments: &Moments, target: usize) -> Solved {
        match self {
            Self::Bits256(factored) => factored.coefficients(moments, target),
            Self::Bits512(factored) => factored.coefficients(moments, target),
            Self::Bits1024(factored) => factored.coefficients(moments, target),
            Self::Bits2048(factored) => factored.coefficients(moments, target),
        }
    }
}

/// The largest eigenvalue of a symmetric positive operator, to about three digits.
fn largest_eigenvalue(size: usize, apply: impl Fn(&[f64]) -> Vec<f64>) -> f64 {
    // A start with all signs and sizes, so that no eigenvector is orthogonal to it by structure.
    let mut vector: Vec<f64> = (0..size).map(|i| 1.0 + (i as f64 * 0.618_033_988_749_895).fract()).collect();
    let mut value = 0.0;
    for _ in 0..100 {
        let norm = vector.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        if norm == 0.0 || !norm.is_finite() {
            break;
        }
        let unit: Vec<f64> = vector.iter().map(|x| x / norm).collect();
        vector = apply(&unit);
        let (dot, square) = unit.iter().zip(&vector).fold((0.0, 0.0), |(d, s), (u, v)| (d + u * v, s + u * u));
        let next = dot / square;
        if (next - value).abs() <= 1e-6 * next {
            return next;
        }
        value = next;
    }
    value
}

//! Slow memory: the metric `Ω = L Lᵀ` under which the rows of a design are keys.

mod condition;
mod job;
mod polynomials;
mod refined;
mod report;
mod solve;

use crate::design::{Aliased, Design, Filter, RankTolerance};
use crate::double_double::DoubleDouble;
use crate::error::{Dependence, Error};
use crate::moments::Moments;

pub(crate) use condition::Correlations;
use job::Job;
pub(crate) use job::{tolerance, unit};
pub(crate) use polynomials::Placed;
pub(crate) use refined::{KeyMap, inverse_column, plain_loading};
pub(crate) use solve::{Solver, digits};

/// Options of [`Whitening::of`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WhiteningOptions {
    /// What to do with dependent columns.
    pub aliased: Aliased,
    /// When a column counts as dependent.
    pub rank_tolerance: RankTolerance,
    /// What the design is factored in.
    pub arithmetic: Arithmetic,
}

/// What a design is factored in. Results are as exact either way; it is a matter of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arithmetic {
    /// Refined doubles for designs of many columns, if these are clear of dependence; else extended.
    #[default]
    Auto,
    /// Refined doubles for designs of any size, if these are clear of dependence; else extended.
    Refined,
    /// 256 bits and more.
    Extended,
}

/// The rung of the ladder a design was factored on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `LDLᵀ` (or rotations, for components) in [`Whitening::bits`] bits, of exact sums.
    Extended,
    /// Cholesky's factor in doubles, corrected in doubled arithmetic; residuals in 256 bits from exact sums.
    Refined,
    /// The same of sums in doubles; residuals in doubled arithmetic from the rows themselves.
    InMemory,
}

impl Method {
    const ALL: [Self; 3] = [Self::Extended, Self::Refined, Self::InMemory];

    /// The rung's name, as in model files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Extended => "extended",
            Self::Refined => "refined",
            Self::InMemory => "in memory",
        }
    }

    /// Reads what [`Method::name`] writes.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// The factored design: everything about X that predictions, weights and inference need.
///
/// Keys are `kᵢ = Lᵀ(xᵢ − x̄)`; the constant adds a component `1/√Σw`. Only `Ω = L Lᵀ` is defined: another release may
/// return rotated keys.
///
/// # Numerics
/// `O(p³)`: in doubles corrected by doubled arithmetic where many columns are clear of dependence, else in 256, 512, 1024
/// or 2048 bits, whichever the condition needs. Either way the bits depend on the state alone.
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
    /// Condition of the column-scaled design (its kept columns), with its intercept and without any filter; infinite if
    /// a filter let dependent columns pass.
    pub condition: f64,
    /// Bits of the arithmetic that residuals are formed in: 256 to 2048, or 106 for doubled arithmetic.
    pub bits: usize,
    /// How the design was factored.
    pub method: Method,
    /// Means of the kept columns (zero without intercept). Shape: `[kept]`.
    pub means: Vec<DoubleDouble>,
    /// For a kept column of [`Design::orthogonal`], the factors of the state's columns it is the sum of: those with
    /// powers up to its degrees, in the order of [`Orthogonal::products`](crate::design::Orthogonal::products). Empty for
    /// other columns. Shape: `[kept][terms]`.
    pub factors: Vec<Vec<DoubleDouble>>,
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
    /// - [`Error::RankDeficient`]: dependent columns under [`Aliased::Error`], or powers too close to dependence to form
    ///   an orthogonal polynomial of them.
    /// - [`Error::Parameter`]: a penalty that is negative or not finite, more components than columns, or a group of
    ///   orthogonal polynomials with other columns than it has degrees for.
    /// - [`Error::Shape`]: a design with columns that the state (or the unweighted one) does not have.
    pub fn of(
        moments: &Moments,
        design: &Design,
        filter: Filter,
        options: WhiteningOptions,
        unweighted: Option<&Moments>,
    ) -> Result<Self, Error> {
        check_filter(filter, design)?;
        design.check(moments.columns(), unweighted)?;
        if moments.rows() == 0 {
            return Err(Error::NoRows);
        }
        let taken_out = moments.taken.as_ref().map_or(0, |taken| taken.coefficients);
        let coefficients = design.names.len() + design.intercept as usize + taken_out;
        if filter == Filter::Ols && options.aliased == Aliased::Error && moments.rows() < coefficients as u64 {
            return Err(Error::TooFewRows { rows: moments.rows(), coefficients });
        }
        Job { moments, design, filter, options, unweighted }.run()
    }

    /// The same design factored with twice the bits; `None` where there are no more.
    pub(crate) fn with_more_bits(&self, moments: &Moments) -> Result<Option<Self>, Error> {
        let (design, filter, options) = (&self.design, self.filter, self.options);
        let unweighted = self.unweighted.as_deref();
        // Beyond some hundred columns more bits cost minutes; what the bits at hand give is then said as it is.
        let most = match self.kept.len().max(design.names.len()) {
            // (Sums of residuals have no more.)
            0..=64 if moments.taken.is_some() => 512,
            0..=12 => 2048,
            13..=64 => 1024,
            65..=256 => 512,
            _ => 256,
        };
        if self.bits >= most {
            return Ok(None);
        }
        Job { moments, design, filter, options, unweighted }.at_least(2 * self.bits).map(Some)
    }

    fn with_solver(mut self, solver: Solver) -> Self {
        self.solver = Some(solver);
        self
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

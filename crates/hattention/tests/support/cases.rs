//! Designs with a target, and the way from them to the library.

use hattention::double_double::DoubleDouble;
use hattention::{
    Aliased, Block, Column, Design, Error, Filter, Fit, Moments, RankTolerance, Whitening, WhiteningOptions, in_memory,
};

/// A seeded generator (Steele, Lea & Flood's SplitMix64).
#[derive(Clone)]
pub struct Source(pub u64);

impl Source {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Uniform in `−1 .. 1`, 53 bits.
    pub fn real(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * 2f64.powi(-52) - 1.0
    }

    /// Uniform in `low ..= high`.
    pub fn integer(&mut self, low: i64, high: i64) -> i64 {
        low + (self.bits() % (high - low + 1) as u64) as i64
    }

    pub fn reals(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.real()).collect()
    }

    pub fn integers(&mut self, count: usize, low: i64, high: i64) -> Vec<f64> {
        (0..count).map(|_| self.integer(low, high) as f64).collect()
    }

    /// A random order of `0 .. count` (Fisher and Yates).
    pub fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for i in (1..count).rev() {
            order.swap(i, self.integer(0, i as i64) as usize);
        }
        order
    }
}

/// A column that is owned.
#[derive(Clone, Debug)]
pub enum Values {
    Dense(Vec<f64>),
    Pair(Vec<f64>, Vec<f64>),
}

impl Values {
    pub fn len(&self) -> usize {
        match self {
            Self::Dense(x) | Self::Pair(x, _) => x.len(),
        }
    }

    pub fn of_pairs(values: impl IntoIterator<Item = DoubleDouble>) -> Self {
        let (hi, lo) = values.into_iter().map(|d| (d.hi, d.lo)).unzip();
        Self::Pair(hi, lo)
    }

    pub fn slice(&self, range: std::ops::Range<usize>) -> Column<'_> {
        match self {
            Self::Dense(x) => Column::Dense(&x[range]),
            Self::Pair(hi, lo) => Column::Pair { hi: &hi[range.clone()], lo: &lo[range] },
        }
    }

    pub fn at(&self, rows: &[usize]) -> Self {
        let pick = |x: &[f64]| rows.iter().map(|&row| x[row]).collect();
        match self {
            Self::Dense(x) => Self::Dense(pick(x)),
            Self::Pair(hi, lo) => Self::Pair(pick(hi), pick(lo)),
        }
    }
}

/// A design with a target. The state's columns are the design's, then the target.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub columns: Vec<Values>,
    pub target: Values,
    pub weights: Option<Vec<f64>>,
    pub intercept: bool,
}

impl Case {
    pub fn new(name: impl Into<String>, columns: Vec<Values>, target: Vec<f64>, intercept: bool) -> Self {
        Self { name: name.into(), columns, target: Values::Dense(target), weights: None, intercept }
    }

    pub fn dense(name: impl Into<String>, columns: Vec<Vec<f64>>, target: Vec<f64>, intercept: bool) -> Self {
        Self::new(name, columns.into_iter().map(Values::Dense).collect(), target, intercept)
    }

    pub fn weighted(self, name: &str, weights: Vec<f64>) -> Self {
        Self { name: format!("{}, {name}", self.name), weights: Some(weights), ..self }
    }

    pub fn rows(&self) -> usize {
        self.target.len()
    }

    /// The design's columns and the target, of a range of rows.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Block<'_> {
        let columns = self.columns.iter().chain([&self.target]).map(|c| c.slice(range.clone())).collect();
        Block { rows: range.len(), columns, weights: self.weights.as_deref().map(|w| &w[range]) }
    }

    pub fn block(&self) -> Block<'_> {
        self.slice(0..self.rows())
    }

    /// The case of the given rows, in their order.
    pub fn at(&self, rows: &[usize]) -> Self {
        Self {
            name: self.name.clone(),
            columns: self.columns.iter().map(|c| c.at(rows)).collect(),
            target: self.target.at(rows),
            weights: self.weights.as_ref().map(|w| rows.iter().map(|&row| w[row]).collect()),
            intercept: self.intercept,
        }
    }

    pub fn moments(&self) -> Moments {
        Moments::of(&self.block()).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    pub fn design(&self) -> Design {
        Design::plain((1..=self.columns.len()).map(|k| format!("x{k}")), self.intercept)
    }

    /// Factors and solves a state of this case.
    pub fn solve(
        &self,
        moments: &Moments,
        filter: Filter,
        aliased: Aliased,
        rank_tolerance: RankTolerance,
    ) -> Result<(Whitening, Fit), Error> {
        let options = WhiteningOptions { aliased, rank_tolerance, ..WhiteningOptions::default() };
        self.solve_with(moments, filter, options)
    }

    /// As [`Case::solve`], with all options.
    pub fn solve_with(
        &self,
        moments: &Moments,
        filter: Filter,
        options: WhiteningOptions,
    ) -> Result<(Whitening, Fit), Error> {
        let whitening = Whitening::of(moments, &self.design(), filter, options, None)?;
        let fit = Fit::of(moments, &whitening, self.columns.len(), "y")?;
        Ok((whitening, fit))
    }

    /// Ordinary least squares of the rows, in memory as far as that goes.
    pub fn in_memory(&self, rank_tolerance: RankTolerance) -> Result<(Whitening, Fit), Error> {
        let options = WhiteningOptions { rank_tolerance, ..WhiteningOptions::default() };
        let targets = [(self.columns.len(), "y")];
        let (whitening, mut fits) = in_memory::fit(&self.block(), &self.design(), &targets, options)?;
        Ok((whitening, fits.remove(0)))
    }

    /// Ordinary least squares; dependent columns are refused.
    pub fn ols(&self, rank_tolerance: RankTolerance) -> Result<(Whitening, Fit), Error> {
        self.solve(&self.moments(), Filter::Ols, Aliased::Error, rank_tolerance)
    }
}

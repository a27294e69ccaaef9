//! The second pass: covariances that need every residual.

use std::collections::HashMap;

use super::Fit;
use super::covariance::{Covariance, Middle, Vcov};
use crate::absorb::Nesting;
use crate::attention::{self, Keys};
use crate::block::{Block, Column};
use crate::error::Error;
use crate::exact::centred::Centred;
use crate::moments::Moments;
use crate::whitening::Whitening;

/// Bits under `√RSS` at which scores are rounded before they are added up by cluster.
const CLUSTER_BITS: i32 = 88;

/// Gathers the scores `sᵢ = k̃ᵢ wᵢ eᵢ` of a fit, row by row, into the middle of a sandwich.
///
/// Sums are exact (those of clusters in fixed point, 2⁻⁸⁸ of `√RSS`), so no order of rows or blocks changes a bit;
/// only HAC depends on the order of rows, by its meaning.
#[derive(Clone, Debug)]
pub struct Scores {
    kind: Vcov,
    size: usize,
    /// Products of scores; for HAC of scores and lagged scores.
    products: Moments,
    /// Sums by cluster, one map for each way and their intersection.
    clusters: Vec<HashMap<[u32; 2], Vec<i128>>>,
    /// The last rows' scores, for HAC, by row.
    recent: Vec<Vec<f64>>,
    /// `2^CLUSTER_BITS / √RSS`, a power of two.
    unit: i32,
    /// Rows of leverage 1, for which HC2 and HC3 have no value.
    alone: u64,
}

impl Scores {
    /// An empty gatherer for a fit by least squares.
    ///
    /// # Errors
    /// [`Error::Parameter`] for more than two ways of clustering, or a covariance that effects taken out do not go with:
    /// HC2, HC3 (leverages are those of the effects too) and HAC.
    pub fn new(whitening: &Whitening, fit: &Fit, kind: Vcov) -> Result<Self, Error> {
        if fit.effects.is_some() && matches!(kind, Vcov::Hc2 | Vcov::Hc3 | Vcov::Hac { .. }) {
            return Err(Error::Parameter {
                name: "the covariance of a fit with effects taken out",
                got: kind.to_string(),
                allowed: "iid, HC0, HC1 or clustered",
            });
        }
        let ways = match &kind {
            Vcov::Cluster { columns } if columns.len() > 2 || columns.is_empty() => {
                return Err(Error::Parameter {
                    name: "the number of cluster columns",
                    got: columns.len().to_string(),
                    allowed: "one or two",
                });
            }
            Vcov::Cluster { columns } if columns.len() == 2 => 3,
            Vcov::Cluster { .. } => 1,
            _ => 0,
        };
        let size = 1 + whitening.keys();
        let columns = if matches!(kind, Vcov::Hac { .. }) { 2 * size } else { size };
        let root = fit.residual_sum.sqrt();
        let exponent = if root > 0.0 { (root.log2().ceil() as i32).clamp(-900, 1000) } else { 0 };
        Ok(Self {
            kind,
            size,
            products: Moments::new(columns),
            clusters: vec![HashMap::new(); ways],
            recent: Vec::new(),
            unit: CLUSTER_BITS - exponent,
            alone: 0,
        })
    }

    /// Adds the rows of a block: `ids` are the state's columns of its columns, `groups` the cluster codes of its rows.
    ///
    /// # Errors
    /// [`Error::Shape`] if lengths differ.
    pub fn push(
        &mut self,
        whitening: &Whitening,
        fit: &Fit,
        block: &Block<'_>,
        ids: &[usize],
        target: Column<'_>,
        groups: &[&[u32]],
    ) -> Result<(), Error> {
        let keys = Keys::of(whitening, block, ids)?;
        let residuals = attention::residuals(whitening, fit, block, ids, target)?;
        let mut factors: Vec<f64> = match block.weights {
            Some(weights) => residuals.iter().zip(weights).map(|(e, w)| e * w).collect(),
            None => residuals,
        };
        if matches!(self.kind, Vcov::Hc2 | Vcov::Hc3) {
            for (factor, leverage) in factors.iter_mut().zip(keys.leverages(block.weights)) {
                if attention::alone(leverage) {
                    self.alone += 1;
                    *factor = 0.0;
                } else {
                    *factor /= if self.kind == Vcov::Hc2 { (1.0 - leverage).sqrt() } else { 1.0 - leverage };
                }
            }
        }
        let scores: Vec<Vec<f64>> = keys
            .components
            .iter()
            .map(|component| component.iter().zip(&factors).map(|(k, f)| k * f).collect())
            .collect();
        match &self.kind {
            Vcov::Cluster { .. } => self.push_clusters(&scores, groups, block.rows),
            Vcov::Hac { lag } => self.push_lagged(&scores, block.rows, *lag),
            _ => {
                let columns = scores.iter().map(|s| Column::Dense(s)).collect();
                self.products.push(&Block { rows: block.rows, columns, weights: None })
            }
        }
    }

    fn push_clusters(&mut self, scores: &[Vec<f64>], groups: &[&[u32]], rows: usize) -> Result<(), Error> {
        let ways = if self.clusters.len() == 3 { 2 } else { 1 };
        if groups.len() != ways || groups.iter().any(|codes| codes.len() != rows) {
            return Err(Error::Shape { what: "the cluster codes", expected: ways, got: groups.len() });
        }
        let scale = 2f64.powi(self.unit / 2);
        let rest = 2f64.powi(self.unit - self.unit / 2);
        let mut fixed = vec![0i128; self.size];
        for row in 0..rows {
            for (value, component) in fixed.iter_mut().zip(scores) {
                // Rounded to a multiple of the grid: the order of the rows no longer matters.
                *value = (component[row] * scale * rest).round_ties_even() as i128;
            }
            for (way, sums) in self.clusters.iter_mut().enumerate() {
                let code = if way == 2 { [groups[0][row], groups[1][row]] } else { [groups[way][row], 0] };
                let sum = sums.entry(code).or_insert_with(|| vec![0; fixed.len()]);
                sum.iter_mut().zip(&fixed).for_each(|(s, v)| *s += v);
            }
        }
        Ok(())
    }

    /// `Σ_t s_t s_tᵀ + Σ_l w_l (s_t s_{t−l}ᵀ + …)` is `Σ_t s_t u_tᵀ` and its transpose, `u_t = s_t/2 + Σ_l w_l s_{t−l}`.
    fn push_lagged(&mut self, scores: &[Vec<f64>], rows: usize, lag: usize) -> Result<(), Error> {
        let size = self.size;
        let mut lagged = vec![vec![0.0; rows]; size];
        let history = self.recent.len();
        for row in 0..rows {
            for (component, target) in lagged.iter_mut().enumerate() {
                let mut value = 0.5 * scores[component][row];
                for l in 1..=lag.min(row + history) {
                    let earlier =
                        if l <= row { scores[component][row - l] } else { self.recent[history + row - l][component] };
                    value += (1.0 - l as f64 / (lag as f64 + 1.0)) * earlier;
                }
                target[row] = value;
            }
        }
        for row in rows.saturating_sub(lag)..rows {
            self.recent.push(scores.iter().map(|s| s[row]).collect());
        }
        let surplus = self.recent.len().saturating_sub(lag);
        self.recent.drain(..surplus);
        let columns = scores.iter().chain(&lagged).map(|s| Column::Dense(s)).collect();
        self.products.push(&Block { rows, columns, weights: None })
    }

    /// Adds the rows another gatherer has seen (not for HAC, whose rows follow each other).
    pub fn merge(&mut self, other: Self) {
        self.products.merge(&other.products);
        for (mine, theirs) in self.clusters.iter_mut().zip(other.clusters) {
            for (code, sums) in theirs {
                let sum = mine.entry(code).or_insert_with(|| vec![0; sums.len()]);
                sum.iter_mut().zip(sums).for_each(|(s, v)| *s += v);
            }
        }
        self.alone += other.alone;
    }

    /// Rows of leverage 1: HC2 and HC3, which divide by what is left of it, have no value then.
    pub fn rows_alone(&self) -> u64 {
        self.alone
    }

    /// Clusters found, one number for each way.
    pub fn cluster_counts(&self) -> Vec<usize> {
        self.clusters.iter().take(2).map(HashMap::len).collect()
    }

    /// The covariance.
    ///
    /// # Equals
    /// `sandwich::vcovHC(fit, type)`, `vcovCL(fit, cluster, type = "HC1")` (each way with its own `G/(G−1)` and all with
    /// `(n−1)/(n−k)`), `NeweyWest(fit, lag, prewhite = FALSE, adjust = FALSE)` in R. t and F tests of clustered errors
    /// have `min G − 1` degrees of freedom, as in Stata and fixest.
    ///
    /// # Errors
    /// [`Error::Parameter`] if there is only one cluster.
    pub fn finish(self, whitening: &Whitening, fit: &Fit) -> Result<Covariance, Error> {
        self.finish_with(whitening, fit, fit.effective_df, false)
    }

    /// The covariance of a fit with effects taken out, whose rows were pushed less their effects.
    ///
    /// Effects that are nested in the clusters count for one coefficient; all ways have the factor `G/(G−1)` of the way
    /// with fewest clusters.
    ///
    /// # Equals
    /// `vcov(feols(…), "hetero" | ~g | ~g + h)` in fixest with its defaults `ssc(K.adj = TRUE, K.fixef = "nonnested",
    /// K.exact = FALSE, G.adj = TRUE, G.df = "min", t.df = "min")`, and pyfixest's defaults. (Where a two-way covariance
    /// is not positive, fixest repairs it; here the error has no value.)
    ///
    /// # Errors
    /// As [`Scores::finish`].
    pub fn finish_nested(self, whitening: &Whitening, fit: &Fit, nesting: &Nesting) -> Result<Covariance, Error> {
        let levels = fit.effects.as_ref().map_or(&[][..], |effects| &effects.levels);
        let clustered = matches!(self.kind, Vcov::Cluster { .. });
        let nested = levels.iter().zip(nesting.nested()).filter(|(_, nested)| clustered && *nested);
        let not_counted: usize = nested.map(|(levels, _)| levels - 1).sum();
        self.finish_with(whitening, fit, fit.effective_df - not_counted as f64, true)
    }

    /// The covariance with `k` coefficients; `alike` if all ways have the factor of the one with fewest clusters.
    fn finish_with(self, whitening: &Whitening, fit: &Fit, k: f64, alike: bool) -> Result<Covariance, Error> {
        let n = fit.rows as f64;
        let mut df = fit.df_residual;
        let mut middle = vec![0.0; self.size * self.size];
        match &self.kind {
            Vcov::Cluster { .. } => {
                let fewest = self.clusters.iter().take(2).map(HashMap::len).min().unwrap_or(0);
                if fewest < 2 {
                    return Err(Error::Parameter {
                        name: "the number of clusters",
                        got: fewest.to_string(),
                        allowed: "at least two in every cluster column",
                    });
                }
                df = fewest as f64 - 1.0;
                for (way, sums) in self.clusters.iter().enumerate() {
                    let groups = if alike { fewest } else { sums.len() } as f64;
                    let sign = if way == 2 { -1.0 } else { 1.0 };
                    let factor = sign * groups / (groups - 1.0) * (n - 1.0) / (n - k);
                    let part = self.cluster_products(sums)?;
                    middle.iter_mut().zip(part).for_each(|(m, p)| *m += factor * p);
                }
            }
            Vcov::Hac { .. } => {
                let sums = Centred::<4>::new(&self.products.sums, false);
                for i in 0..self.size {
                    for j in 0..self.size {
                        let (a, b) = (1 + i, 1 + self.size + j);
                        let both = sums.raw(a, b) + sums.raw(1 + j, 1 + self.size + i);
                        middle[i * self.size + j] = both.to_f64();
                    }
                }
            }
            kind => {
                let factor = if *kind == Vcov::Hc1 { n / (n - k) } else { 1.0 };
                middle = products_of(&self.products, self.size);
                middle.iter_mut().for_each(|m| *m *= factor);
            }
        }
        if self.alone > 0 || df <= 0.0 {
            middle.fill(f64::NAN);
        }
        Ok(Covariance { kind: self.kind, loading: whitening.loading.clone(), middle: Middle::Full(middle), df })
    }

    fn cluster_products(&self, sums: &HashMap<[u32; 2], Vec<i128>>) -> Result<Vec<f64>, Error> {
        let half = 2f64.powi(-(self.unit / 2));
        let rest = 2f64.powi(-(self.unit - self.unit / 2));
        let columns: Vec<Vec<f64>> =
            (0..self.size).map(|c| sums.values().map(|s| s[c] as f64 * half * rest).collect()).collect();
        // Exact products again: the order in which a hash map gives its groups cannot show.
        let block =
            Block { rows: sums.len(), columns: columns.iter().map(|c| Column::Dense(c)).collect(), weights: None };
        Ok(products_of(&Moments::of(&block)?, self.size))
    }
}

fn products_of(moments: &Moments, size: usize) -> Vec<f64> {
    let sums = Centred::<4>::new(&moments.sums, false);
    (0..size * size).map(|place| sums.raw(1 + place / size, 1 + place % size).to_f64()).collect()
}

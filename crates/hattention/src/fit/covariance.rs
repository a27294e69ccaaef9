//! Covariances of the coefficients.

use crate::whitening::Whitening;

/// Which errors a covariance allows for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vcov {
    /// Independent errors of one variance: `σ² (XᵀWX)⁻¹`.
    Iid,
    /// White's: `Σ e² x xᵀ` between the inverses.
    Hc0,
    /// HC0 times `n / (n − k)`.
    Hc1,
    /// `e² / (1 − h)`.
    Hc2,
    /// `e² / (1 − h)²`, close to the jackknife.
    Hc3,
    /// Newey and West's, Bartlett weights up to `lag`.
    Hac {
        /// The largest lag with weight.
        lag: usize,
    },
    /// Sums of scores within groups; two ways by inclusion and exclusion.
    Cluster {
        /// The grouping columns.
        columns: Vec<String>,
    },
}

impl std::fmt::Display for Vcov {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Iid => f.write_str("iid"),
            Self::Hc0 => f.write_str("HC0"),
            Self::Hc1 => f.write_str("HC1"),
            Self::Hc2 => f.write_str("HC2"),
            Self::Hc3 => f.write_str("HC3"),
            Self::Hac { lag } => write!(f, "HAC:{lag}"),
            Self::Cluster { columns } => write!(f, "cluster:{}", columns.join("+")),
        }
    }
}

impl Vcov {
    /// Reads what [`std::fmt::Display`] writes: `iid`, `HC0` … `HC3`, `HAC:lag`, `cluster:a`, `cluster:a+b`.
    pub fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        match lower.as_str() {
            "iid" => return Some(Self::Iid),
            "hc0" => return Some(Self::Hc0),
            "hc1" => return Some(Self::Hc1),
            "hc2" => return Some(Self::Hc2),
            "hc3" => return Some(Self::Hc3),
            _ => {}
        }
        let (kind, rest) = text.split_once(':')?;
        match kind.to_ascii_lowercase().as_str() {
            "hac" => Some(Self::Hac { lag: rest.trim().parse().ok()? }),
            "cluster" => {
                let columns: Vec<String> = rest.split('+').map(|c| c.trim().to_owned()).collect();
                let usable = columns.len() <= 2 && columns.iter().all(|c| !c.is_empty());
                usable.then_some(Self::Cluster { columns })
            }
            _ => None,
        }
    }
}

/// The covariance of the coefficients as `B M Bᵀ`: `B` the loading of the keys, `M` the covariance in their basis.
///
/// In the keys' basis the classical `M` is `σ² I`, whatever the condition of the design; nothing is lost to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Covariance {
    /// What it allows for.
    pub kind: Vcov,
    /// Loading of the keys: see [`Whitening::loading`]. Rows of dropped coefficients are empty.
    pub loading: Vec<Vec<f64>>,
    /// `M` by rows, or one variance for all. Shape: `[1 + keys][1 + keys]`, symmetric.
    pub middle: Middle,
    /// Degrees of freedom of its t and F tests.
    pub df: f64,
}

/// The covariance of the whitened scores.
#[derive(Clone, Debug, PartialEq)]
pub enum Middle {
    /// `σ² I`, by its σ.
    Scalar(f64),
    /// Any symmetric matrix, row-major.
    Full(Vec<f64>),
}

impl Covariance {
    /// `σ² (XᵀWX)⁻¹`.
    pub fn classical(whitening: &Whitening, sigma: f64, df: f64) -> Self {
        Self { kind: Vcov::Iid, loading: whitening.loading.clone(), middle: Middle::Scalar(sigma), df }
    }

    /// Covariance of coefficients `a` and `b`; NaN for dropped ones.
    pub fn at(&self, a: usize, b: usize) -> f64 {
        self.between(&self.loading[a], &self.loading[b])
    }

    /// Variance of coefficient `k`; NaN for a dropped one. Two-way clustered variances can be negative.
    pub fn variance(&self, k: usize) -> f64 {
        self.at(k, k)
    }

    /// Standard error of coefficient `k`; NaN for a dropped one or a negative variance.
    pub fn std_error(&self, k: usize) -> f64 {
        self.error_along(&self.loading[k])
    }

    /// `√(uᵀ M u)` of a direction in the keys' basis, scaled so that squares neither overflow nor underflow.
    pub fn error_along(&self, u: &[f64]) -> f64 {
        let largest = u.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        if u.is_empty() || !largest.is_finite() {
            return f64::NAN;
        }
        if largest == 0.0 {
            return 0.0;
        }
        let unit: Vec<f64> = u.iter().map(|x| x / largest).collect();
        match &self.middle {
            Middle::Scalar(sigma) => unit.iter().map(|x| x * x).sum::<f64>().sqrt() * largest * sigma,
            Middle::Full(_) => {
                let variance = self.between(&unit, &unit);
                // Only two-way clustering can give a negative variance; any other is zero up to rounding.
                let two_ways = matches!(&self.kind, Vcov::Cluster { columns } if columns.len() > 1);
                let variance = if two_ways || variance.is_nan() { variance } else { variance.max(0.0) };
                variance.sqrt() * largest
            }
        }
    }

    /// `uᵀ M v` of two directions in the keys' basis; NaN if one is empty.
    pub fn between(&self, u: &[f64], v: &[f64]) -> f64 {
        if u.is_empty() || v.is_empty() {
            return f64::NAN;
        }
        match &self.middle {
            Middle::Scalar(sigma) => sigma * sigma * u.iter().zip(v).map(|(x, y)| x * y).sum::<f64>(),
            Middle::Full(matrix) => {
                let size = u.len();
                u.iter()
                    .zip(matrix.chunks_exact(size))
                    .map(|(x, row)| x * row.iter().zip(v).map(|(m, y)| m * y).sum::<f64>())
                    .sum()
            }
        }
    }
}

//! Which columns of a state make up a regression.

/// The design of a regression, as columns of a [`Moments`](crate::Moments) state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Design {
    /// Names of the columns, without the intercept.
    pub names: Vec<String>,
    /// The state's column of each; `None` for one that was never observed (a combination of levels without rows).
    pub columns: Vec<Option<usize>>,
    /// Whether there is an unpenalised constant.
    pub intercept: bool,
    /// Groups of positions (raw powers `x, x², …` in order) that are reported as orthogonal polynomials, as R's `poly`.
    pub orthogonal: Vec<Vec<usize>>,
}

impl Design {
    /// The design of the state's columns `0 .. names.len()`, in order.
    ///
    /// # Example
    /// ```
    /// let design = hattention::Design::plain(["x", "z"], true);
    /// assert_eq!(design.columns, [Some(0), Some(1)]);
    /// ```
    pub fn plain<S: Into<String>>(names: impl IntoIterator<Item = S>, intercept: bool) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        Self { columns: (0..names.len()).map(Some).collect(), names, intercept, orthogonal: Vec::new() }
    }
}

/// How the spectrum of the keys is filtered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Filter {
    /// `f(λ) = 1/λ`: ordinary least squares.
    Ols,
    /// `f(λ) = 1/(λ + α)`: ridge regression.
    ///
    /// # Equals
    /// scikit-learn's `Ridge(alpha)` on centred, unstandardised columns (`standardize`: after `StandardScaler`, with
    /// coefficients of the original columns).
    Ridge {
        /// The penalty on `‖β‖²`, in the units of `XᵀX`.
        alpha: f64,
        /// Whether the penalty acts on the columns divided by their standard deviation (divisor n).
        standardize: bool,
    },
    /// `f(λ) = 1/λ` on the largest `count` eigenvalues, else 0: principal components regression.
    ///
    /// # Equals
    /// `pls::pcr(ncomp = count)` in R (`scale = TRUE` with `standardize`).
    Components {
        /// The components kept.
        count: usize,
        /// Whether components are those of the columns divided by their standard deviation.
        standardize: bool,
    },
}

/// What to do with columns that depend on earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aliased {
    /// Refuse, naming them.
    #[default]
    Error,
    /// Leave them out, keeping the earlier ones; their coefficients are `None`, as R's `NA`.
    Drop,
    /// Share the effect so that the coefficients (without the intercept) have the smallest norm, as a pseudo-inverse does.
    MinNorm,
}

/// When a column counts as dependent on the earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RankTolerance {
    /// When rounding the column's own entries could make it dependent: its distance from the span of the earlier columns
    /// is at most `u ‖x‖ + Σ_j |c_j| u ‖x_j‖`, with `u` the precision the entries are stored in (2⁻⁵³ for doubles, 2⁻¹⁰⁴
    /// for pairs, 2⁻⁶⁰ for zeros and ones; the columns before a pair count as pairs too). This depends on neither the number of rows nor units.
    #[default]
    Rounding,
    /// Only when it is dependent to a thousand bits: every double is taken at its word.
    Exact,
}

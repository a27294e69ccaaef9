//! Which columns of a state make up a regression.

use crate::error::Error;
use crate::moments::Moments;

/// The design of a regression, as columns of a [`Moments`](crate::Moments) state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Design {
    /// Names of the columns, without the intercept.
    pub names: Vec<String>,
    /// The state's column of each; `None` for one that was never observed (a combination of levels without rows). Of a
    /// column of [`Design::orthogonal`], the state's column of its highest powers.
    pub columns: Vec<Option<usize>>,
    /// Whether there is an unpenalised constant.
    pub intercept: bool,
    /// The columns that are orthogonal polynomials, or products of them.
    pub orthogonal: Vec<Orthogonal>,
}

/// Columns that are products `P_i(x) P_j(x′) ⋯ z` of orthogonal polynomials and of one other column `z`, for every choice
/// of degrees `i, j, …` from 1.
///
/// `P₁ … P_k` are orthonormal over the rows, each of them counted once whatever its weight, and orthogonal to the
/// constant; their leading coefficients are positive. The state holds powers only, so that states of different rows can
/// be merged; the columns are formed when it is read: `P_i(x) z = Σ_a p_ia xᵃ z`, `a` from 0 to `i`.
///
/// # Equals
/// The columns of `poly(x, k)`, `poly(x, k):z`, `poly(x, k):poly(x′, l)` in `model.matrix` in R.
///
/// # Numerics
/// Polynomials are formed in 2048 bits. Products of rows are added up in doubled arithmetic: an entry is right to
/// `2⁻¹⁰⁴` of the largest term in its sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orthogonal {
    /// The state's columns of the powers `x, x², …, xᵏ` of each polynomial. Shape: `[polynomials][k]`.
    pub powers: Vec<Vec<usize>>,
    /// Where the design has the products, the degree of the first polynomial running fastest. Shape: `[Π k]`.
    pub positions: Vec<usize>,
    /// The state's columns `xᵃ x′ᵇ ⋯ z` for all powers from 0, that of the first polynomial running fastest; `None` is
    /// the constant. Shape: `[Π (k + 1)]`.
    pub products: Vec<Option<usize>>,
}

/// A term of the sum that a column of orthogonal polynomials is.
#[derive(Debug)]
pub(crate) struct Term {
    /// The state's column; `None` is the constant.
    pub(crate) column: Option<usize>,
    /// The power of every polynomial's column in it.
    pub(crate) powers: Vec<usize>,
}

impl Orthogonal {
    /// The polynomials of one column: at these positions of the design, from these powers in the state.
    ///
    /// # Example
    /// ```
    /// use hattention::design::Orthogonal;
    /// let parabola = Orthogonal::alone(vec![0, 1], vec![4, 5]);
    /// assert_eq!(parabola.products, [None, Some(4), Some(5)]);
    /// ```
    pub fn alone(positions: Vec<usize>, powers: Vec<usize>) -> Self {
        let products = std::iter::once(None).chain(powers.iter().copied().map(Some)).collect();
        Self { powers: vec![powers], positions, products }
    }

    /// The degree of every polynomial in the column at `positions[place]`.
    pub(crate) fn degrees(&self, place: usize) -> Vec<usize> {
        let mut rest = place;
        let degrees = self.powers.iter().map(|powers| {
            let degree = rest % powers.len() + 1;
            rest /= powers.len();
            degree
        });
        degrees.collect()
    }

    /// The terms of the sum that the column with these degrees is; the highest powers come last.
    pub(crate) fn terms(&self, degrees: &[usize]) -> Vec<Term> {
        // Places among the products, with the powers so far.
        let mut terms = vec![(0, Vec::new())];
        let mut stride = 1;
        for (&degree, powers) in degrees.iter().zip(&self.powers) {
            let mut next = Vec::with_capacity(terms.len() * (degree + 1));
            for power in 0..=degree {
                next.extend(terms.iter().map(|(at, earlier)| (at + power * stride, [&earlier[..], &[power]].concat())));
            }
            terms = next;
            stride *= powers.len() + 1;
        }
        terms.into_iter().map(|(at, powers)| Term { column: self.products[at], powers }).collect()
    }

    /// Whether the lists are as long as the degrees ask for.
    fn has_shape(&self) -> bool {
        let product = |more: usize| {
            self.powers.iter().try_fold(1usize, |product, powers| product.checked_mul(powers.len() + more))
        };
        self.powers.iter().all(|powers| !powers.is_empty())
            && product(0) == Some(self.positions.len())
            && product(1) == Some(self.products.len())
    }
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

    /// For every column that is formed, its group of [`Design::orthogonal`] and its place there.
    pub(crate) fn formed(&self) -> Vec<Option<(usize, usize)>> {
        let mut formed = vec![None; self.names.len()];
        for (group, orthogonal) in self.orthogonal.iter().enumerate() {
            for (place, &position) in orthogonal.positions.iter().enumerate() {
                formed[position] = Some((group, place));
            }
        }
        formed
    }

    /// The state's columns that the design reads.
    pub(crate) fn state_columns(&self) -> impl Iterator<Item = usize> {
        let groups = self.orthogonal.iter();
        let powers = groups.clone().flat_map(|group| group.powers.iter().flatten().copied());
        let products = groups.flat_map(|group| group.products.iter().flatten().copied());
        self.columns.iter().flatten().copied().chain(powers).chain(products)
    }

    /// Checks that the parts fit each other and a state of so many columns; and that an unweighted one has the powers.
    pub(crate) fn check(&self, columns: usize, unweighted: Option<&Moments>) -> Result<(), Error> {
        let count = self.names.len();
        if self.columns.len() != count {
            return Err(Error::Shape {
                what: "the design's list of columns",
                expected: count,
                got: self.columns.len(),
            });
        }
        if let Some(outside) = self.state_columns().find(|c| *c >= columns) {
            return Err(Error::Shape { what: "the state", expected: outside + 1, got: columns });
        }
        let powers = self.orthogonal.iter().flat_map(|group| group.powers.iter().flatten().copied());
        if let Some((state, outside)) =
            unweighted.and_then(|s| powers.filter(|c| *c >= s.columns()).max().map(|c| (s, c)))
        {
            return Err(Error::Shape { what: "the unweighted state", expected: outside + 1, got: state.columns() });
        }
        let mut seen = vec![false; count];
        for group in &self.orthogonal {
            if let Some(outside) = group.positions.iter().find(|position| **position >= count) {
                return Err(Error::Shape { what: "the design", expected: outside + 1, got: count });
            }
            let twice = group.positions.iter().any(|&position| std::mem::replace(&mut seen[position], true));
            if !group.has_shape() || twice {
                return Err(Error::Parameter {
                    name: "a group of orthogonal polynomials",
                    got: format!("{group:?}"),
                    allowed: "one position for every choice of degrees, used once, and one column for every choice of powers",
                });
            }
        }
        Ok(())
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
    ///
    /// A column that is formed of others, `x = Σ_a p_a s_a` (see [`Orthogonal`]), is rounded as they are: `u ‖x‖` is
    /// `Σ_a |p_a| u ‖s_a‖` over all but the constant, with the precision of its highest powers (or a better one of its
    /// own). `x, x², …` that are too close to dependence for their polynomials to be told are refused however dependent
    /// columns are treated, as R's `poly` does.
    #[default]
    Rounding,
    /// Only when it is dependent to a thousand bits: every double is taken at its word.
    Exact,
}

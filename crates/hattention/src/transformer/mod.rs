//! The transformer that ordinary least squares is: built from a fit, run as attention, split into heads, gated.
//!
//! With the second moments `(1/n) X̃ᵀX̃ = V Λ Vᵀ` of the tokens, `L = V Λ^(−1/2)` and `P = Lᵀ X̃ᵀ Y / n`, one layer of one
//! head without softmax, normalisation, residual or positions has the weights
//!
//! ```text
//! W_Q = W_K = W_V = L,   W_FFN = I,   W_p = P
//! Attn(X̃) = (1/n) (X̃ W_Q)(X̃ W_K)ᵀ(X̃ W_V) = X̃ L,   Ŷ = Attn(X̃) W_FFN W_p = X̃ L P = X̃ β̂
//! ```
//! and predicts what least squares predicts, in one forward pass and without iteration. The targets are not among the
//! tokens: they enter through `W_p`. So for every `(X, Y)` there are weights; there are no weights for every `(X, Y)`
//! ([`Layout::Solve`] and [`depth`] have some, with the inverse inside the layer).
//!
//! A token is a row of the design with what the model embeds it by: `x̃ = (1, x − x̄)`, the training means `x̄` taken off
//! and the constant in front (without intercept `x̃ = x`).
//!
//! # Conventions
//! [`Convention::Covariance`] divides by n, the number of rows that are attended to. [`Convention::Gram`] does not: the
//! identity closes on the training rows too, but there n is in the weights, and a fresh batch of m rows of the same law
//! gives about `m/n` times the slopes. That trap is offered for study, not for use.
//!
//! # The shift law
//! In the self layout a batch `X*` with second moments `Σ* = X̃*ᵀX̃*/n*` is answered by `X̃* Σ⁻¹ Σ* β̂`: least squares if and
//! only if `Σ* β̂ = Σ β̂`. The cross layout, where keys and values come from training, has no such condition.
//!
//! # References
//! Tan & Zhao (2026), arXiv 2604.13656 (its abstract; layouts other than `self`, the shift law, heads and gates are worked
//! out here); Garnelo & Czarnecki (2023), arXiv 2305.10203 for `solve`.

mod construct;
pub mod depth;
mod forward;
pub mod gradient;
pub mod mesa;
mod rows;
mod spectrum;

use std::ops::Range;

use crate::error::Error;
use crate::matrix::Matrix;

pub use construct::{Options, inputs};
pub use forward::Layer;

/// Whether attention is divided by the number of rows attended to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Convention {
    /// `(1/n) X̃ᵀX̃ = V Λ Vᵀ`, `P = Lᵀ X̃ᵀ Y / n`, attention divided by n.
    #[default]
    Covariance,
    /// `X̃ᵀX̃ = V Λ Vᵀ`, `P = Lᵀ X̃ᵀ Y`, attention not divided: right on the training rows only.
    Gram,
}

/// Who attends to whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// The rows at hand attend to each other. Exact on the training rows; elsewhere the shift law holds.
    SelfAttention,
    /// The rows at hand are queries; keys and values come from training, as the state `(1/n) KᵀV`. Exact on any rows.
    #[default]
    Cross,
    /// `Q (KᵀK + αI)⁻¹ KᵀV`: fixed weights, and the context (rows and their targets) is an input.
    Solve,
}

macro_rules! named {
    ($kind:ident, $($variant:ident $name:literal),*) => {
        impl $kind {
            const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name, as in files and on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),*
                }
            }

            /// Reads what [`name`](Self::name) writes.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.name() == name)
            }
        }
    };
}

named!(Convention, Covariance "covariance", Gram "gram");
named!(Layout, SelfAttention "self", Cross "cross", Solve "solve");
named!(Spectrum, Scaled "scaled", Unscaled "unscaled");

/// Which columns the spectrum is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spectrum {
    /// Columns of unit length: three digits better on badly scaled columns, and what standardised ridge and components
    /// are gates of.
    #[default]
    Scaled,
    /// The columns as they are: what unstandardised ridge and components are gates of.
    Unscaled,
}

/// The constructed model.
///
/// # Shapes
/// With p columns of the design, d = p + 1 features of a token (d = p without intercept), r keys (the constant among them)
/// and m targets: `w_q`, `w_k`, `w_v`: `[d][r]`; `w_ffn`: `[r][r]`; `w_p`: `[r][m]`; `memory`: `[r][r]`.
///
/// # Example
/// ```
/// use hattention::matrix::Matrix;
/// use hattention::transformer::Transformer;
/// use hattention::{Block, Column, Design, Filter, Fit, Moments, Whitening};
/// let (x, y) = ([1.0, 2.0, 4.0, 5.0], [3.0, 5.0, 9.0, 11.0]); // y = 1 + 2x
/// let block = Block { rows: 4, columns: vec![Column::Dense(&x), Column::Dense(&y)], weights: None };
/// let moments = Moments::of(&block).unwrap();
/// let design = Design::plain(["x"], true);
/// let whitening = Whitening::of(&moments, &design, Filter::Ols, Default::default(), None).unwrap();
/// let fit = Fit::of(&moments, &whitening, 1, "y").unwrap();
///
/// let transformer = Transformer::of(&whitening, &[fit], &Default::default()).unwrap();
/// let queries = Matrix::new(1, 1, vec![10.0]).unwrap();
/// let prediction = transformer.layer::<f64>().unwrap().forward(&queries).unwrap();
/// assert!((prediction.at(0, 0) - 21.0).abs() < 1e-13);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Transformer {
    /// Names of the design's columns, without the intercept. Shape: `[p]`.
    pub names: Vec<String>,
    /// Names of the targets. Shape: `[m]`.
    pub targets: Vec<String>,
    /// Whether a constant is part of every token.
    pub intercept: bool,
    /// The convention of the weights.
    pub convention: Convention,
    /// Who attends to whom.
    pub layout: Layout,
    /// n of the convention: rows of training, or the sum of their weights.
    pub weight_total: f64,
    /// Training means, taken off every row (zeros without intercept). Shape: `[p]`.
    pub x_mean: Vec<f64>,
    /// Maps tokens to queries.
    pub w_q: Matrix,
    /// Maps tokens to keys.
    pub w_k: Matrix,
    /// Maps tokens to values.
    pub w_v: Matrix,
    /// Between attention and prediction: the identity, or the gates of the keys on its diagonal.
    pub w_ffn: Matrix,
    /// Maps what attention gives to predictions.
    pub w_p: Matrix,
    /// `(1/n) KᵀV` of the training rows (without 1/n in the Gram convention): what the cross layout reads.
    pub memory: Matrix,
    /// The keys of every head, the first head with the constant: what attention gives of one head stays with it.
    pub heads: Vec<Range<usize>>,
    /// The penalty α of the solve layout, on all keys but the constant's.
    pub alpha: f64,
    /// Which columns the spectrum is of.
    pub spectrum: Spectrum,
    /// Eigenvalues that the keys belong to, descending: of `XᵀX` (centred if there is an intercept; of standardised
    /// columns if the spectrum is scaled). Shape: `[r]` without the constant's; empty where the fit does not tell them
    /// (standardised principal components).
    pub eigenvalues: Vec<f64>,
    /// Condition of the column-scaled design; of ridge and components that of the part of it that has keys.
    pub condition: f64,
}

impl Transformer {
    /// Number of keys, the constant among them.
    pub fn keys(&self) -> usize {
        self.w_p.rows
    }

    /// Number of eigenvectors: the keys without the constant's.
    pub fn eigenvectors(&self) -> usize {
        self.keys() - self.intercept as usize
    }

    /// The same model in another convention.
    pub fn in_convention(mut self, convention: Convention) -> Self {
        // L = V Λ^(−1/2), and Λ is n times as large without the division.
        let factor = match (self.convention, convention) {
            (Convention::Covariance, Convention::Gram) => 1.0 / self.weight_total.sqrt(),
            (Convention::Gram, Convention::Covariance) => self.weight_total.sqrt(),
            _ => return self,
        };
        let scale = |matrix: &mut Matrix, factor: f64| matrix.data.iter_mut().for_each(|x| *x *= factor);
        [&mut self.w_q, &mut self.w_k, &mut self.w_v].into_iter().for_each(|w| scale(w, factor));
        scale(&mut self.w_p, 1.0 / factor);
        self.convention = convention;
        self
    }

    /// The same model with another layout.
    pub fn in_layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// The same model with the keys split into heads of about equal size, largest eigenvalues first.
    ///
    /// What heads give adds up: on the training rows, and in the cross layout anywhere, to what one head gives. On a
    /// shifted batch in the self layout it does not: products of keys of different heads are left out.
    ///
    /// # Errors
    /// [`Error::Parameter`] for no heads, or more than there are eigenvectors.
    pub fn with_heads(self, heads: usize) -> Result<Self, Error> {
        let keys = self.eigenvectors();
        if heads == 0 || heads > keys.max(1) {
            return Err(Error::Parameter {
                name: "the number of heads",
                got: heads.to_string(),
                allowed: "at least 1, at most the number of eigenvectors",
            });
        }
        let bounds: Vec<usize> = (1..heads).map(|h| h * keys / heads).collect();
        self.with_heads_at(&bounds)
    }

    /// The same model with heads that begin at these eigenvectors (the first head begins at 0 in any case).
    ///
    /// # Errors
    /// [`Error::Parameter`] unless the bounds ascend from above 0 to below the number of eigenvectors.
    pub fn with_heads_at(mut self, bounds: &[usize]) -> Result<Self, Error> {
        let constant = self.intercept as usize;
        let mut heads = Vec::with_capacity(bounds.len() + 1);
        let mut start = 0;
        for bound in bounds {
            let next = bound + constant;
            if next <= start + if heads.is_empty() { constant } else { 0 } || next >= self.keys() {
                return Err(Error::Parameter {
                    name: "the heads' first eigenvectors",
                    got: format!("{bounds:?}"),
                    allowed: "ascending, above 0 and below the number of eigenvectors",
                });
            }
            heads.push(start..next);
            start = next;
        }
        heads.push(start..self.keys());
        self.heads = heads;
        Ok(self)
    }

    /// Ridge regression as gates: key j passes as `λⱼ / (λⱼ + α)`, the constant passes whole.
    ///
    /// # Equals
    /// A fit with [`Filter::Ridge`](crate::Filter): unstandardised with the unscaled spectrum, standardised with the scaled.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a penalty that is negative or not finite, or where the eigenvalues are not known.
    pub fn gated_as_ridge(self, alpha: f64) -> Result<Self, Error> {
        if !(alpha >= 0.0 && alpha.is_finite()) {
            return Err(Error::Parameter {
                name: "the ridge penalty",
                got: alpha.to_string(),
                allowed: "a finite number, zero or more",
            });
        }
        if self.eigenvalues.len() < self.eigenvectors() {
            return Err(Error::Parameter {
                name: "the model",
                got: "one of standardised components, whose eigenvalues are not kept".into(),
                allowed: "one of least squares or ridge",
            });
        }
        let gates: Vec<f64> = self.eigenvalues.iter().map(|l| l / (l + alpha)).collect();
        self.gated(&gates)
    }

    /// Principal components regression as gates: the first `count` keys pass, and the constant.
    ///
    /// # Equals
    /// A fit with [`Filter::Components`](crate::Filter): unstandardised with the unscaled spectrum, standardised with the
    /// scaled.
    ///
    /// # Errors
    /// [`Error::Parameter`] for more components than keys.
    pub fn gated_as_components(self, count: usize) -> Result<Self, Error> {
        if count > self.eigenvectors() {
            return Err(Error::Parameter {
                name: "the number of components",
                got: count.to_string(),
                allowed: "at most the number of keys",
            });
        }
        let gates: Vec<f64> = (0..self.eigenvectors()).map(|j| (j < count) as u8 as f64).collect();
        self.gated(&gates)
    }

    /// The same model with a factor for every key but the constant's, which passes whole.
    ///
    /// # Errors
    /// - [`Error::Shape`] unless there is one gate an eigenvector.
    /// - [`Error::NonFinite`] for a gate that is not finite.
    pub fn gated(mut self, gates: &[f64]) -> Result<Self, Error> {
        if gates.len() != self.eigenvectors() {
            return Err(Error::Shape { what: "the gates", expected: self.eigenvectors(), got: gates.len() });
        }
        if let Some(row) = gates.iter().position(|g| !g.is_finite()) {
            return Err(Error::NonFinite { row, column: 0, value: gates[row] });
        }
        let constant = self.intercept as usize;
        self.w_ffn = Matrix::identity(self.keys());
        for (j, gate) in gates.iter().enumerate() {
            self.w_ffn.row_mut(constant + j)[constant + j] = *gate;
        }
        Ok(self)
    }

    /// Checks that the weights fit each other.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let (features, keys) = (self.names.len() + self.intercept as usize, self.keys());
        let square = [("w_ffn", &self.w_ffn), ("memory", &self.memory)].map(|(what, m)| (what, m, keys, keys));
        let maps =
            [("w_q", &self.w_q), ("w_k", &self.w_k), ("w_v", &self.w_v)].map(|(what, m)| (what, m, features, keys));
        for (what, matrix, rows, columns) in
            square.into_iter().chain(maps).chain([("w_p", &self.w_p, keys, self.targets.len())])
        {
            for (expected, got) in [(rows, matrix.rows), (columns, matrix.columns), (rows * columns, matrix.data.len())]
            {
                if expected != got {
                    return Err(Error::Shape { what, expected, got });
                }
            }
        }
        if self.x_mean.len() != self.names.len() {
            return Err(Error::Shape { what: "x_mean", expected: self.names.len(), got: self.x_mean.len() });
        }
        let bounds = self.heads.iter().flat_map(|head| [head.start, head.end]);
        let ascending = self.heads.windows(2).all(|pair| pair[0].end == pair[1].start) && bounds.clone().is_sorted();
        let empty = self.heads.len() > 1 && self.heads.iter().any(Range::is_empty);
        if empty || !ascending || bounds.clone().next() != Some(0) || bounds.last() != Some(keys) {
            let got = format!("{:?}", self.heads);
            let allowed = "all keys, each in one head, in order, and no head without keys";
            return Err(Error::Parameter { name: "the heads", got, allowed });
        }
        Ok(())
    }

    /// What the basis queries read: the coefficients that the cross layout stands for, the intercept first.
    ///
    /// # Shapes
    /// `[coefficients][m]`; columns that were dropped have zeros.
    ///
    /// # Equals
    /// `coef(lm(…))` in R, to about `20 ε κ`; [`Fit::estimates`](crate::Fit::estimates) has all their digits.
    ///
    /// # Errors
    /// [`Error::Shape`] if the weights do not fit each other.
    pub fn coefficients(&self) -> Result<Matrix, Error> {
        self.check()?;
        let slopes = self.w_q.product(&self.memory).product(&self.w_ffn).product(&self.w_p);
        if !self.intercept {
            return Ok(slopes);
        }
        let mut coefficients = slopes.clone();
        for t in 0..slopes.columns {
            let offset: f64 = self.x_mean.iter().enumerate().map(|(c, mean)| mean * slopes.at(1 + c, t)).sum();
            coefficients.row_mut(0)[t] -= offset;
        }
        Ok(coefficients)
    }
}

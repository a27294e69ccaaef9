//! From a fit to the weights.

use super::spectrum::{Rotated, condition};
use super::{Convention, Layout, Spectrum, Transformer};
use crate::attention::kept_rows;
use crate::block::Block;
use crate::design::Filter;
use crate::error::Error;
use crate::fit::Fit;
use crate::matrix::Matrix;
use crate::whitening::Whitening;

/// What a transformer is built as.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// The convention of its weights.
    pub convention: Convention,
    /// Who attends to whom.
    pub layout: Layout,
    /// Which columns the spectrum is of; of a ridge fit or one of components the filter says.
    pub spectrum: Spectrum,
}

impl Transformer {
    /// The transformer that makes a fit's predictions: of least squares, ridge (gates in `W_FFN`), or components.
    ///
    /// The fits are those of the whitening, one a target.
    ///
    /// # Numerics
    /// `O(p³)`. `L` is the whitening's own, exact to the last bit, rotated into the eigenvectors: `(1/n) KᵀK = I` holds to
    /// rounding at any condition, and predictions to about `20 ε κ`, κ the condition of the column-scaled design.
    ///
    /// Directions of which a ridge fit passes less than `8 r ε` (r: its keys), as of dependent columns or of more columns
    /// than rows, have no key: doubles cannot tell them from directions without variance.
    ///
    /// # Errors
    /// - [`Error::Shape`] if a fit is of another design.
    /// - [`Error::Parameter`] if effects were taken out of a fit: its keys are those of residuals.
    /// - [`Error::NonFinite`] if a coefficient or a key is beyond the doubles.
    /// - [`Error::Parameter`] for the layout solve of anything but least squares without weights: ridge, components, a
    ///   weighted fit, a shortest solution.
    /// - [`Error::NoConvergence`] if the spectrum cannot be found.
    pub fn of(whitening: &Whitening, fits: &[Fit], options: &Options) -> Result<Self, Error> {
        for fit in fits {
            if fit.effects.is_some() {
                let got = "one with effects taken out".into();
                return Err(Error::Parameter { name: "a fit", got, allowed: "effects as columns of the design" });
            }
            if fit.memory.len() != whitening.keys() {
                return Err(Error::Shape { what: "a fit's memory", expected: whitening.keys(), got: fit.memory.len() });
            }
        }
        if options.layout == Layout::Solve {
            check_solvable(whitening)?;
        }
        let memories: Vec<&[f64]> = fits.iter().map(|fit| fit.memory.as_slice()).collect();
        let rotated = Rotated::of(whitening, options.spectrum)?.without_empty(&memories);
        let (constant, columns) = (whitening.design.intercept as usize, whitening.design.names.len());
        let keys = rotated.gates.len();
        let root = whitening.weight_total.sqrt();
        let w = embedded(whitening, &rotated, root);
        let unit = rotated.unit_map();
        let filtered = match whitening.filter {
            Filter::Ols => false,
            Filter::Ridge { .. } | Filter::Components { .. } => {
                unit.columns < columns || !whitening.condition.is_finite()
            }
        };
        let condition = if filtered { condition(whitening, &unit)? } else { whitening.condition };
        let mut w_p = Matrix::zeros(constant + keys, fits.len());
        for (t, fit) in fits.iter().enumerate() {
            if constant == 1 {
                w_p.row_mut(0)[t] = fit.target_mean;
            }
            for j in 0..keys {
                let along = fit.memory.iter().enumerate().map(|(i, m)| m * rotated.rotation.at(i, j));
                w_p.row_mut(constant + j)[t] = along.sum::<f64>() * rotated.factors[j] / (root * rotated.squares[j]);
            }
        }
        let mut memory = Matrix::identity(constant + keys);
        rotated.squares.iter().enumerate().for_each(|(j, square)| memory.row_mut(constant + j)[constant + j] = *square);
        let mut x_mean = vec![0.0; columns];
        whitening.kept.iter().zip(&whitening.means).for_each(|(&position, mean)| x_mean[position] = mean.hi);
        [&w, &w_p].into_iter().try_for_each(Matrix::check_finite)?;
        Self {
            names: whitening.design.names.clone(),
            targets: fits.iter().map(|fit| fit.target.clone()).collect(),
            intercept: whitening.design.intercept,
            convention: Convention::Covariance,
            layout: options.layout,
            weight_total: whitening.weight_total,
            x_mean,
            w_k: w.clone(),
            w_v: w.clone(),
            w_q: w,
            w_ffn: Matrix::identity(constant + keys),
            memory,
            heads: std::iter::once(0..constant + keys).collect(),
            w_p,
            alpha: 0.0,
            spectrum: rotated.spectrum,
            eigenvalues: rotated.eigenvalues,
            condition,
        }
        .in_convention(options.convention)
        .gated(&rotated.gates)
    }
}

/// The layer solves for least squares, every row of its context counting the same: it cannot stand for another fit.
fn check_solvable(whitening: &Whitening) -> Result<(), Error> {
    let got = match whitening.filter {
        // (Its penalty would be on the keys, not on the coefficients.)
        Filter::Ridge { alpha, .. } if alpha > 0.0 => format!("solve, of a ridge fit with penalty {alpha}"),
        Filter::Components { .. } => "solve, of a fit of components".into(),
        _ if whitening.weight_total != whitening.rows as f64 => "solve, of a weighted fit".into(),
        _ if whitening.keys() < whitening.kept.len() => "solve, of a shortest solution".into(),
        _ => return Ok(()),
    };
    Err(Error::Parameter {
        name: "the layout",
        got,
        allowed: "self or cross: the layout solve is least squares without weights",
    })
}

/// The rows of a block as the model's inputs: the design's columns without the intercept, formed and rounded to doubles;
/// zeros for columns that the fit dropped or never observed. `ids[c]` is the state's column of the block's column `c`.
///
/// # Shapes
/// `[rows][p]`.
///
/// # Errors
/// [`Error::Shape`] if a column is not as long as the block.
pub fn inputs(whitening: &Whitening, block: &Block<'_>, ids: &[usize]) -> Result<Matrix, Error> {
    let mut x = Matrix::zeros(block.rows, whitening.design.names.len());
    for (position, values) in whitening.kept.iter().zip(kept_rows(whitening, block, ids)?) {
        for (row, value) in values.into_iter().enumerate() {
            // An indicator less a mean of nothing is minus zero.
            x.row_mut(row)[*position] = value + 0.0;
        }
    }
    Ok(x)
}

/// The map from tokens to keys: the constant apart, and what rounding the means to doubles left over.
fn embedded(whitening: &Whitening, rotated: &Rotated, root: f64) -> Matrix {
    let (constant, keys) = (whitening.design.intercept as usize, rotated.gates.len());
    let mut w = Matrix::zeros(constant + whitening.design.names.len(), constant + keys);
    for (c, position) in whitening.kept.iter().enumerate() {
        for j in 0..keys {
            w.row_mut(constant + position)[constant + j] = rotated.map.at(c, j) * root;
        }
    }
    if constant == 1 {
        w.row_mut(0)[0] = 1.0;
        for j in 0..keys {
            let rest = whitening.means.iter().enumerate().map(|(c, mean)| mean.lo * rotated.map.at(c, j) * root);
            w.row_mut(0)[1 + j] = -rest.sum::<f64>();
        }
    }
    w
}

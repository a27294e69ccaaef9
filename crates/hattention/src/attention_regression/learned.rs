//! What a fit found, without the training rows; and rows put to it again.

use super::fit::{AttentionRegression, Report, check, scope, spread};
use super::head::Inputs;
use super::objective::{Mixture, Parameters};
use super::options::{Mask, Options};
use crate::error::Error;

/// What a fit found: metrics, coefficients and units, but none of the rows that predictions read.
///
/// # Example
/// ```
/// use hattention::attention_regression::{AttentionRegression, Options};
/// let x: Vec<f64> = (0..50).map(|i| i as f64 / 50.0).collect();
/// let y: Vec<f64> = x.iter().map(|x| (9.0 * x).sin()).collect();
/// let model = AttentionRegression::fit(&[&x], &y, Options::default()).unwrap();
/// let learned = model.learned();
/// assert!(learned.trained_on(&[&x], &y));
/// let again = learned.with_rows(&[&x], &y, None).unwrap();
/// assert_eq!(again.predict(&[&[0.5]]).unwrap(), model.predict(&[&[0.5]]).unwrap());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    /// The options of the fit; blocks are left out of the mask.
    pub options: Options,
    /// How the fit went.
    pub report: Report,
    /// Training rows.
    pub rows: usize,
    pub(crate) means: Vec<f64>,
    pub(crate) scales: Vec<f64>,
    pub(crate) target_mean: f64,
    pub(crate) target_scale: f64,
    pub(crate) parameters: Parameters,
    pub(crate) mixture: Mixture,
    /// The rows that the mixture was solved at; absent for all.
    pub(crate) solved: Option<Vec<usize>>,
}

/// Means and deviations of training rows agree that differ by no more than this, in deviations.
const TOLERANCE: f64 = 1e-9;

impl AttentionRegression {
    /// What was found, without the rows.
    pub fn learned(&self) -> Learned {
        let mask = if matches!(self.options.mask, Mask::Blocks(_)) {
            Mask::Blocks(Vec::new())
        } else {
            self.options.mask.clone()
        };
        Learned {
            options: Options { mask, ..self.options.clone() },
            report: self.report.clone(),
            rows: self.inputs.rows,
            means: self.means.clone(),
            scales: self.scales.clone(),
            target_mean: self.target_mean,
            target_scale: self.target_scale,
            parameters: self.parameters.clone(),
            mixture: self.mixture.clone(),
            solved: self.solved.clone(),
        }
    }
}

impl Learned {
    /// Columns of the inputs.
    pub fn columns(&self) -> usize {
        self.means.len()
    }

    /// As [`AttentionRegression::metrics`].
    pub fn metrics(&self) -> Vec<Vec<Vec<f64>>> {
        self.parameters.metrics()
    }

    /// As [`AttentionRegression::head_coefficients`].
    pub fn head_coefficients(&self) -> &[f64] {
        &self.mixture.heads
    }

    /// As [`AttentionRegression::slopes`].
    pub fn slopes(&self) -> Vec<f64> {
        self.mixture.slopes.iter().zip(&self.scales).map(|(b, scale)| self.target_scale * b / scale).collect()
    }

    /// Whether rows are, by their number, means and deviations, those of the fit. (The order of rows is not looked at.)
    pub fn trained_on(&self, columns: &[&[f64]], target: &[f64]) -> bool {
        let near = |values: &[f64], mean: f64, scale: f64| {
            // (Rows in the order of the fit have its bits, however far from zero they are.)
            if spread(values) == (mean, scale) {
                return true;
            }
            let count = values.len() as f64;
            let off = values.iter().map(|x| (x - mean) / scale).sum::<f64>() / count;
            let squares = values.iter().map(|x| ((x - mean) / scale).powi(2)).sum::<f64>() / count;
            // (A constant has no deviation; raw inputs have whatever they have.)
            // (A mean far from zero is rounded by as much.)
            let rounding = 1e-15 * (mean / scale).abs();
            off.abs() <= TOLERANCE + rounding && ((squares - 1.0).abs() <= TOLERANCE + rounding || squares <= TOLERANCE)
        };
        let inputs = || columns.iter().zip(self.means.iter().zip(&self.scales)).all(|(c, (m, s))| near(c, *m, *s));
        columns.len() == self.means.len()
            && target.len() == self.rows
            && near(target, self.target_mean, self.target_scale)
            && (!self.options.standardize || inputs())
    }

    /// The same metrics in the units of other rows.
    pub(super) fn in_units_of(mut self, columns: &[&[f64]], target: &[f64]) -> Self {
        if self.options.standardize {
            let (means, scales): (Vec<f64>, Vec<f64>) = columns.iter().map(|column| spread(column)).unzip();
            for factor in &mut self.parameters.factors {
                for (row, (own, other)) in factor.iter_mut().zip(self.scales.iter().zip(&scales)) {
                    row.iter_mut().for_each(|l| *l *= other / own);
                }
            }
            (self.means, self.scales) = (means, scales);
        }
        (self.target_mean, self.target_scale) = spread(target);
        self.rows = target.len();
        self
    }

    /// The regression that reads these rows: those of the fit, or others, which then are its memory under the metrics as they
    /// are. `blocks`, one number a row, are needed under [`Mask::Blocks`].
    ///
    /// # Errors
    /// [`Error::Shape`] for columns or a target of other lengths, or blocks that are not there; [`Error::NonFinite`] for NaN or
    /// infinity; [`Error::NoRows`] without rows.
    pub fn with_rows(
        &self,
        columns: &[&[f64]],
        target: &[f64],
        blocks: Option<Vec<u64>>,
    ) -> Result<AttentionRegression, Error> {
        let rows = target.len();
        if columns.len() != self.means.len() {
            return Err(Error::Shape { what: "the columns", expected: self.means.len(), got: columns.len() });
        }
        if rows == 0 {
            return Err(Error::NoRows);
        }
        check(columns, rows)?;
        if let Some(row) = target.iter().position(|y| !y.is_finite()) {
            return Err(Error::NonFinite { row, column: columns.len(), value: target[row] });
        }
        let mut options = self.options.clone();
        if matches!(options.mask, Mask::Blocks(_)) {
            options.mask = Mask::Blocks(blocks.unwrap_or_default());
        }
        let (order, scope) = scope(rows, &options.mask)?;
        let standard = |column: &[f64], mean: f64, scale: f64| -> Vec<f64> {
            order.iter().map(|i| (column[*i] - mean) / scale).collect()
        };
        let inputs: Vec<Vec<f64>> = columns
            .iter()
            .zip(self.means.iter().zip(&self.scales))
            .map(|(column, (mean, scale))| standard(column, *mean, *scale))
            .collect();
        Ok(AttentionRegression {
            inputs: Inputs::of(rows, &inputs),
            targets: standard(target, self.target_mean, self.target_scale),
            order,
            scope,
            options,
            means: self.means.clone(),
            scales: self.scales.clone(),
            target_mean: self.target_mean,
            target_scale: self.target_scale,
            parameters: self.parameters.clone(),
            mixture: self.mixture.clone(),
            // (Samples of files before their rows were kept are read as others.)
            own: self.trained_on(columns, target) && (self.report.sampled.is_none() || self.solved.is_some()),
            solved: self.solved.clone(),
            report: self.report.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::noise::wave;
    use super::*;

    #[test]
    fn rows_of_a_fit_are_known_however_far_from_zero() {
        let noise = wave(60, 0.0);
        for offset in [0.0, 1e6, 1e12] {
            let rows: Vec<f64> = noise.iter().map(|x| offset + x).collect();
            let options = Options { heads: 1, ..Options::default() };
            let learned = AttentionRegression::fit(&[&rows], &rows, options).unwrap().learned();
            assert!(learned.trained_on(&[&rows], &rows));
            assert!(learned.with_rows(&[&rows], &rows, None).unwrap().own);
            let mut others = rows.clone();
            others[7] += 0.1;
            assert!(!learned.trained_on(&[&others], &rows) && !learned.trained_on(&[&rows], &others));
        }
    }
}

//! How far a batch is from a normal law, and whether p-values that suppose one can be trusted.

use super::columns::ColumnShift;
use crate::memory::State;

/// Mardia's kurtosis of the keys, and the columns' own.
#[derive(Clone, Debug, PartialEq)]
pub struct Tails {
    /// `E‖k‖⁴` of the batch over what a normal law of its mean and covariance has: 1 for a normal law, whatever moved;
    /// variances, and with them the likelihood ratio, scatter by about this factor.
    pub kurtosis_ratio: f64,
    /// Standard error of the ratio for a normal law, `√(8/(n* p(p + 2)))`.
    pub kurtosis_error: f64,
    /// The columns whose own kurtosis is far from 3, by name.
    pub columns: Vec<String>,
    /// Whether the p-values of normal laws can be trusted: the ratio is within 5 % of 1 and every column's kurtosis
    /// within 0.5 of 3, but for four standard errors.
    pub normal: bool,
}

/// A ratio of 1.05 makes a test of level 0.05 with 20 degrees of freedom reject with 0.07.
const RATIO: f64 = 0.05;
/// A kurtosis of 3.5 spreads the logarithm of a variance by a quarter more than the normal law.
const EXCESS: f64 = 0.5;
/// Standard errors that chance may take.
const ERRORS: f64 = 4.0;

impl Tails {
    pub(crate) fn new(state: &State, fourth_moment: f64, columns: &[ColumnShift]) -> Self {
        let (covariance, means) = (state.covariance(), state.means());
        let size = means.len();
        let trace: f64 = (0..size).map(|i| covariance[i * size + i]).sum();
        let squares: f64 = covariance.iter().map(|c| c * c).sum();
        let length: f64 = means.iter().map(|m| m * m).sum();
        let rows = covariance.chunks_exact(size.max(1));
        let along: f64 =
            rows.zip(&means).map(|(row, m)| m * row.iter().zip(&means).map(|(c, m)| c * m).sum::<f64>()).sum();
        let normal = (trace + length).powi(2) + 2.0 * squares + 4.0 * along;
        let kurtosis_ratio = if normal > 0.0 { fourth_moment / normal } else { f64::NAN };
        let p = size as f64;
        let kurtosis_error = (8.0 / (state.rows * p * (p + 2.0))).sqrt();
        let allowed = EXCESS + ERRORS * (24.0 / state.rows).sqrt();
        let far = columns.iter().filter(|column| (column.kurtosis - 3.0).abs() > allowed);
        let far: Vec<String> = far.map(|column| column.name.clone()).collect();
        let near = (kurtosis_ratio - 1.0).abs() <= RATIO + ERRORS * kurtosis_error;
        Self { kurtosis_ratio, kurtosis_error, normal: near && far.is_empty(), columns: far }
    }
}

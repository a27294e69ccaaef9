//! The state `S` of a context: its second moments in the units of the training rows.

use super::FastMemory;
use crate::error::Error;
use crate::linalg::symmetric_eigen;
use crate::whitening::Whitening;

/// The fast memory's second moments in whitened units, `S = (1/Σw*) Σ w k̂ k̂ᵀ` with `k̂ = (1, √Σw k)`, `Σw` that of the
/// training rows and `Σw*` that of the context.
///
/// The training rows of least squares with an intercept have `S = I`; eigenvalues far from 1 are directions in which the
/// context is another world. The first row is the constant: `S₀₀ = 1`, and `S₀ⱼ` is the mean of the context along key
/// `j`, in standard deviations of the training rows.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// `d`: the keys and the constant.
    pub size: usize,
    /// `Σw*` of the context: its rows, without weights.
    pub rows: f64,
    /// `S`, row-major. Shape: `[size][size]`.
    pub matrix: Vec<f64>,
}

impl State {
    /// Means along the keys. Shape: `[size − 1]`.
    pub fn means(&self) -> Vec<f64> {
        self.matrix[1..self.size].to_vec()
    }

    /// The covariance of the keys about their own mean (divisor `Σw*`), row-major. Shape: `[size − 1][size − 1]`.
    pub fn covariance(&self) -> Vec<f64> {
        let (means, size) = (self.means(), self.size);
        (1..size)
            .flat_map(|i| (1..size).map(move |j| (i, j)))
            .map(|(i, j)| self.matrix[i * size + j] - means[i - 1] * means[j - 1])
            .collect()
    }

    /// Eigenvalues of `S`, ascending, and their eigenvectors.
    ///
    /// # Shapes
    /// `[size]` and `[size][size]`, one eigenvector after the other.
    ///
    /// # Errors
    /// [`Error::NoConvergence`] if the iteration fails, which finite numbers do not make it do.
    pub fn spectrum(&self) -> Result<(Vec<f64>, Vec<Vec<f64>>), Error> {
        symmetric_eigen(&self.matrix, self.size)
    }
}

impl FastMemory {
    /// The context's second moments in whitened units: what [`drift`](crate::drift) tests.
    ///
    /// # Example
    /// ```
    /// use hattention::{Block, Column, Design, FastMemory, Filter, Moments, Whitening};
    /// let x = [1.0, 2.0, 4.0, 5.0];
    /// let rows = Block { rows: 4, columns: vec![Column::Dense(&x)], weights: None };
    /// let moments = Moments::of(&rows).unwrap();
    /// let slow = Whitening::of(&moments, &Design::plain(["x"], true), Filter::Ols, Default::default(), None).unwrap();
    /// let mut memory = FastMemory::new(&slow, 0);
    /// memory.push(&slow, &rows, &[0], &[]).unwrap();
    /// let state = memory.state(&slow).unwrap();
    /// assert!(state.matrix.iter().zip([1.0, 0.0, 0.0, 1.0]).all(|(s, i)| (s - i).abs() < 1e-15));
    /// ```
    ///
    /// # Numerics
    /// Entries are exact sums of the rounded keys, each rounded once (after a decay: twice).
    ///
    /// # Errors
    /// - [`Error::IncompatibleStates`]: the slow memory is not the one that this memory was made under.
    /// - [`Error::NoRows`]: nothing has positive weight.
    pub fn state(&self, whitening: &Whitening) -> Result<State, Error> {
        self.check_metric(whitening)?;
        let rows = self.weight_total();
        if rows.is_nan() || rows <= 0.0 {
            return Err(Error::NoRows);
        }
        let (size, scale) = (1 + self.keys, whitening.weight_total.sqrt());
        let unit = |i: usize| if i == 0 { 1.0 } else { scale };
        let sums = self.centred();
        let mut matrix = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..=i {
                let entry = self.sum(&sums, i, j) / rows * unit(i) * unit(j);
                (matrix[i * size + j], matrix[j * size + i]) = (entry, entry);
            }
        }
        Ok(State { size, rows, matrix })
    }
}

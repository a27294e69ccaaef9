//! Linear attention.

use hattention::matrix::Matrix;

use super::Flow;
use super::algebra::{across, dot, plus, product, scaled};
use crate::error::Error;

/// Linear attention `ẋ_i = (1/N) Σ_j (x_iᵀA x_j) V x_j`: the Stein variational gradient flow, kernel `xᵀA y`, of the potential
/// `−½ xᵀV x`.
///
/// Its energy is bounded below where no eigenvalue of V is positive; otherwise particles run to infinity in finite time.
#[derive(Clone, Debug)]
pub struct Linear {
    a: Matrix,
    v: Matrix,
}

impl Linear {
    /// Of symmetric matrices A (positive semidefinite, for energies to fall) and V. Shapes: `[d, d]`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for matrices that are not square, of one size and symmetric.
    pub fn new(a: Matrix, v: Matrix) -> Result<Self, Error> {
        check(&a, &v)?;
        Ok(Self { a, v })
    }

    /// A.
    pub fn scores(&self) -> &Matrix {
        &self.a
    }

    /// V.
    pub fn values(&self) -> &Matrix {
        &self.v
    }
}

/// Refuses matrices that are not square, of one size and symmetric.
pub(super) fn check(a: &Matrix, v: &Matrix) -> Result<(), Error> {
    for (name, matrix) in [("the matrix A", a), ("the matrix of values", v)] {
        let size = a.rows;
        let symmetric = || (0..size).all(|i| (0..i).all(|j| (matrix.at(i, j) - matrix.at(j, i)).abs() <= 1e-12));
        if matrix.rows != size || matrix.columns != size || size == 0 || !symmetric() {
            let got = format!("{} × {}", matrix.rows, matrix.columns);
            return Err(Error::Parameter { name, got, allowed: "square, both of one size, and symmetric" });
        }
    }
    Ok(())
}

impl Flow for Linear {
    type Seen = Matrix;

    fn width(&self) -> usize {
        self.a.rows
    }

    /// (The particles themselves: no pair is looked at, for `XᵀY` comes first.)
    fn see(&self, x: &Matrix) -> Matrix {
        x.clone()
    }

    fn velocity(&self, x: &Matrix) -> Matrix {
        self.drift(x, &product(x, &self.v))
    }

    /// `(1/N) X A XᵀY`: `N d²` multiplications.
    fn drift(&self, x: &Matrix, y: &Matrix) -> Matrix {
        scaled(&product(x, &product(&self.a, &across(x, y))), 1.0 / x.rows as f64)
    }

    /// `X V − (1/N) Y YᵀX A`.
    fn force(&self, x: &Matrix, y: &Matrix) -> Matrix {
        let back = product(y, &product(&across(y, x), &self.a));
        plus(&product(x, &self.v), -1.0 / x.rows as f64, &back)
    }

    fn energy(&self, x: &Matrix) -> f64 {
        let moved = product(x, &self.v);
        -0.5 * (0..x.rows).map(|i| dot(x.row(i), moved.row(i))).sum::<f64>() / x.rows as f64
    }

    fn kinetic(&self, x: &Matrix, y: &Matrix) -> f64 {
        let drift = self.drift(x, y);
        0.5 * (0..x.rows).map(|i| dot(y.row(i), drift.row(i))).sum::<f64>() / x.rows as f64
    }
}

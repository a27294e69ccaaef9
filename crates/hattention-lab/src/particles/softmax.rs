//! Softmax attention.

use hattention::matrix::Matrix;
use rayon::prelude::*;

use super::Flow;
use super::algebra::{dot, product, scaled};
use super::linear::check;
use crate::error::Error;

/// Rows of a kernel that are not worth a thread of their own.
const ALONE: usize = 64;

/// Where particles live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Everywhere. Where a value matrix has positive eigenvalues tokens run away.
    Plane,
    /// On the unit sphere: velocities, drifts and forces are projected to its tangents, and after a step particles are scaled back.
    /// There the energy is bounded below.
    Sphere,
    /// On the sphere of layer-normed tokens: coordinates of mean zero and variance one.
    Normed,
}

/// Softmax attention `ẋ_i = Σ_j softmax_j(x_iᵀA x_j) V x_j` with `V = B A`.
///
/// # Numerics
/// `N²` exponentials and `N² d` multiplications a look, as many a force. Scores are not shifted row by row: unlike softmax alone, the
/// force tells rows apart by the size of their kernels. Exponents above 700 overflow to infinite energies; keep tokens bounded.
#[derive(Clone, Debug)]
pub struct Softmax {
    a: Matrix,
    b: Matrix,
    domain: Domain,
}

/// What softmax attention sees of particles.
#[derive(Clone, Debug)]
pub struct Kernel {
    x: Matrix,
    /// `M_ij = exp(x_iᵀA x_j)`.
    kernel: Matrix,
    /// `z_i`, means of its rows.
    means: Vec<f64>,
}

impl Kernel {
    /// `Σ_j w(M_ij, i, j) x_j`, in order of j.
    fn pulled(&self, weight: impl Fn(f64, usize, usize) -> f64 + Sync) -> Matrix {
        let (n, width) = (self.x.rows, self.x.columns);
        let of_row = |i: usize| {
            let mut sum = vec![0.0; width];
            for (j, m) in self.kernel.row(i).iter().enumerate() {
                let weight = weight(*m, i, j);
                sum.iter_mut().zip(self.x.row(j)).for_each(|(s, x)| *s = x.mul_add(weight, *s));
            }
            sum
        };
        let rows: Vec<Vec<f64>> = (0..n).into_par_iter().with_min_len(ALONE).map(of_row).collect();
        Matrix { rows: n, columns: width, data: rows.concat() }
    }
}

impl Softmax {
    /// Of symmetric matrices A, and B positive definite (for energies to fall). Shapes: `[d, d]`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for matrices that are not square, of one size and symmetric; on spheres for B that is not a multiple of the
    /// identity, whose momenta would leave the tangents; and for layer-normed tokens of fewer than three coordinates, which
    /// have nowhere to go.
    pub fn new(a: Matrix, b: Matrix, domain: Domain) -> Result<Self, Error> {
        check(&a, &b)?;
        let size = a.rows;
        let entry = |i: usize, j: usize| if i == j { b.at(0, 0) } else { 0.0 };
        let multiple = (0..size).all(|i| (0..size).all(|j| b.at(i, j) == entry(i, j)));
        if domain != Domain::Plane && !multiple {
            let (name, got) = ("the matrix B", "another".to_owned());
            return Err(Error::Parameter { name, got, allowed: "a multiple of the identity, on spheres" });
        }
        if domain == Domain::Normed && size < 3 {
            let (name, got) = ("the number of coordinates", size.to_string());
            return Err(Error::Parameter { name, got, allowed: "three at least, for layer-normed tokens" });
        }
        Ok(Self { a, b, domain })
    }

    /// The parts of directions that lead along the domain.
    fn tangent(&self, x: &Matrix, mut directions: Matrix) -> Matrix {
        for i in 0..x.rows {
            self.to_tangent(x.row(i), directions.row_mut(i));
        }
        directions
    }

    fn to_tangent(&self, x: &[f64], direction: &mut [f64]) {
        if self.domain == Domain::Normed {
            let mean = direction.iter().sum::<f64>() / direction.len() as f64;
            direction.iter_mut().for_each(|d| *d -= mean);
        }
        if self.domain != Domain::Plane {
            let along = dot(x, direction) / dot(x, x);
            direction.iter_mut().zip(x).for_each(|(d, x)| *d -= along * x);
        }
    }

    /// `B y_i / z_i`, not projected.
    fn carried(&self, y: &Matrix, means: &[f64]) -> Matrix {
        let mut carried = product(y, &self.b);
        for (i, mean) in means.iter().enumerate() {
            carried.row_mut(i).iter_mut().for_each(|v| *v /= mean);
        }
        carried
    }

    /// `y_iᵀB y_i`.
    fn squares(&self, y: &Matrix) -> Vec<f64> {
        let moved = product(y, &self.b);
        (0..y.rows).map(|i| dot(y.row(i), moved.row(i))).collect()
    }
}

impl Flow for Softmax {
    type Seen = Kernel;

    fn width(&self) -> usize {
        self.a.rows
    }

    fn see(&self, x: &Matrix) -> Kernel {
        let keys = product(x, &self.a);
        let n = x.rows;
        let row = |i: usize| (0..n).map(|j| dot(keys.row(i), x.row(j)).exp()).collect::<Vec<f64>>();
        let rows: Vec<Vec<f64>> = (0..n).into_par_iter().with_min_len(ALONE).map(row).collect();
        let means = rows.iter().map(|row| row.iter().sum::<f64>() / n as f64).collect();
        Kernel { x: x.clone(), kernel: Matrix { rows: n, columns: n, data: rows.concat() }, means }
    }

    fn velocity(&self, seen: &Kernel) -> Matrix {
        let pulled = product(&seen.pulled(|m, _, _| m), &self.a);
        let carried = self.carried(&pulled, &seen.means);
        self.tangent(&seen.x, scaled(&carried, 1.0 / seen.x.rows as f64))
    }

    fn drift(&self, seen: &Kernel, y: &Matrix) -> Matrix {
        self.tangent(&seen.x, self.carried(y, &seen.means))
    }

    /// `(1/2N) Σ_j M_ij (κ_i + κ_j + 2) A x_j`, `κ_i = y_iᵀB y_i / z_i²`.
    fn force(&self, seen: &Kernel, y: &Matrix) -> Matrix {
        let n = seen.x.rows;
        let kappa: Vec<f64> = self.squares(y).iter().zip(&seen.means).map(|(s, z)| s / (z * z)).collect();
        let pulled = seen.pulled(|m, i, j| m * (kappa[i] + kappa[j] + 2.0));
        self.tangent(&seen.x, scaled(&product(&pulled, &self.a), 0.5 / n as f64))
    }

    fn energy(&self, seen: &Kernel) -> f64 {
        -0.5 * seen.means.iter().sum::<f64>() / seen.x.rows as f64
    }

    fn kinetic(&self, seen: &Kernel, y: &Matrix) -> f64 {
        let parts = self.squares(y).into_iter().zip(&seen.means).map(|(s, z)| s / z);
        0.5 * parts.sum::<f64>() / seen.x.rows as f64
    }

    fn constrain(&self, x: &mut Matrix, y: &mut Matrix) {
        if self.domain == Domain::Plane {
            return;
        }
        for i in 0..x.rows {
            let row = x.row_mut(i);
            let mut length = 1.0;
            if self.domain == Domain::Normed {
                let mean = row.iter().sum::<f64>() / row.len() as f64;
                row.iter_mut().for_each(|x| *x -= mean);
                length = (row.len() as f64).sqrt();
            }
            let scale = length / dot(row, row).sqrt();
            row.iter_mut().for_each(|x| *x *= scale);
            self.to_tangent(x.row(i), y.row_mut(i));
        }
    }
}

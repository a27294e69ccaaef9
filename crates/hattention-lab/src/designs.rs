//! Random designs of known spectrum, and fits of them.

use hattention::{Block, Column, Design, Filter, Fit, Matrix, Moments, RankTolerance, Whitening, WhiteningOptions};
use rand_distr::{Distribution, StandardNormal};

use crate::error::Error;
use crate::seeds::Generator;

/// Independent standard normal numbers. Shape: `[rows][columns]`.
pub fn normal(rows: usize, columns: usize, generator: &mut Generator) -> Matrix {
    Matrix::from_fn(rows, columns, |_, _| StandardNormal.sample(generator))
}

/// A random matrix with orthonormal columns, for `columns ≤ rows`: the first factor of a normal matrix (Gram–Schmidt, twice).
///
/// # Example
/// ```
/// let mut generator = hattention_lab::seeds::generator("example", "", "", 0);
/// let q = hattention_lab::designs::orthonormal(7, 3, &mut generator);
/// let gram = q.transposed().times(&q).unwrap();
/// assert!((gram.at(0, 0) - 1.0).abs() < 1e-14 && gram.at(0, 1).abs() < 1e-14);
/// ```
pub fn orthonormal(rows: usize, columns: usize, generator: &mut Generator) -> Matrix {
    let mut by_column = normal(columns, rows, generator);
    for j in 0..columns {
        for _ in 0..2 {
            for k in 0..j {
                let dot: f64 = by_column.row(k).iter().zip(by_column.row(j)).map(|(a, b)| a * b).sum();
                let earlier = by_column.row(k).to_vec();
                by_column.row_mut(j).iter_mut().zip(earlier).for_each(|(x, e)| *x -= dot * e);
            }
        }
        let length = by_column.row(j).iter().map(|x| x * x).sum::<f64>().sqrt();
        by_column.row_mut(j).iter_mut().for_each(|x| *x /= length);
    }
    by_column.transposed()
}

/// `count` numbers from one down to `1/ratio`, in equal ratios.
pub fn graded(count: usize, ratio: f64) -> Vec<f64> {
    let last = (count.max(2) - 1) as f64;
    (0..count).map(|i| ratio.powf(-(i as f64) / last)).collect()
}

/// Normal rows with second moments `Q diag(λ) Qᵀ` of a random rotation Q: all columns have the same expected length if
/// the rotation spreads them. Shape: `[rows][λ]`.
pub fn correlated(rows: usize, eigenvalues: &[f64], generator: &mut Generator) -> Matrix {
    let d = eigenvalues.len();
    let rotation = orthonormal(d, d, generator);
    spread(&normal(rows, d, generator), eigenvalues, &rotation)
}

/// The rows of [`correlated`] and targets of them: half of a target's variance is noise, and the other half is spread over
/// all directions of the rows alike, however short these are (up to rounding).
///
/// # Shapes
/// `[rows][λ]` and `[rows]`.
pub fn regression(rows: usize, eigenvalues: &[f64], generator: &mut Generator) -> (Matrix, Vec<f64>) {
    let d = eigenvalues.len();
    let rotation = orthonormal(d, d, generator);
    let z = normal(rows, d, generator);
    let direction = orthonormal(d, 1, generator);
    let noise = normal(rows, 1, generator);
    let signal = |i: usize| z.row(i).iter().zip(&direction.data).map(|(z, c)| z * c).sum::<f64>();
    let targets = (0..rows).map(|i| signal(i) + noise.at(i, 0)).collect();
    (spread(&z, eigenvalues, &rotation), targets)
}

/// `Z diag(√λ) Qᵀ`.
fn spread(z: &Matrix, eigenvalues: &[f64], rotation: &Matrix) -> Matrix {
    Matrix::from_fn(z.rows, eigenvalues.len(), |i, j| {
        z.row(i).iter().enumerate().map(|(k, z)| z * eigenvalues[k].sqrt() * rotation.at(j, k)).sum()
    })
}

/// A symmetric matrix `Q diag(λ) Qᵀ` of a random rotation.
pub fn symmetric(eigenvalues: &[f64], generator: &mut Generator) -> Matrix {
    let d = eigenvalues.len();
    let q = orthonormal(d, d, generator);
    let entry = |i: usize, j: usize| (0..d).map(|k| q.at(i, k) * eigenvalues[k] * q.at(j, k)).sum::<f64>();
    // Both triangles from the same sums, or it would be symmetric to rounding only.
    Matrix::from_fn(d, d, |i, j| entry(i.max(j), i.min(j)))
}

/// The engine's exact fit of every column of `y` on the columns of `x`.
///
/// # Errors
/// Those of [`Moments::of`], [`Whitening::of`] and [`Fit::of`].
pub fn fit(x: &Matrix, y: &Matrix, intercept: bool, filter: Filter) -> Result<(Whitening, Vec<Fit>), Error> {
    let (x_columns, y_columns) = (x.transposed(), y.transposed());
    let columns = (0..x.columns).map(|c| x_columns.row(c)).chain((0..y.columns).map(|t| y_columns.row(t)));
    let block = Block { rows: x.rows, columns: columns.map(Column::Dense).collect(), weights: None };
    let moments = Moments::of(&block)?;
    let design = Design::plain((0..x.columns).map(|c| format!("x{}", c + 1)), intercept);
    let options = WhiteningOptions { rank_tolerance: RankTolerance::Exact, ..WhiteningOptions::default() };
    let whitening = Whitening::of(&moments, &design, filter, options, None)?;
    let fits = (0..y.columns).map(|t| Fit::of(&moments, &whitening, x.columns + t, &format!("y{}", t + 1)));
    let fits = fits.collect::<Result<_, _>>()?;
    Ok((whitening, fits))
}

/// The engine's predictions, rounded once. Shape: `[rows][targets]`.
///
/// # Errors
/// Those of [`hattention::attention::predict`].
pub fn predict(whitening: &Whitening, fits: &[Fit], x: &Matrix) -> Result<Matrix, Error> {
    let columns = x.transposed();
    let block =
        Block { rows: x.rows, columns: (0..x.columns).map(|c| Column::Dense(columns.row(c))).collect(), weights: None };
    let ids: Vec<usize> = (0..x.columns).collect();
    let predictions = fits.iter().map(|fit| hattention::attention::predict(whitening, fit, &block, &ids));
    let predictions = predictions.collect::<Result<Vec<_>, _>>()?;
    Ok(Matrix::from_fn(x.rows, fits.len(), |i, t| predictions[t][i]))
}

/// `‖a − b‖ / ‖b‖` over all entries.
pub fn distance_relative(a: &Matrix, b: &Matrix) -> f64 {
    let gap = a.data.iter().zip(&b.data).map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt();
    let size = b.data.iter().map(|y| y * y).sum::<f64>().sqrt();
    if gap == 0.0 { 0.0 } else { gap / size }
}

/// `(1/n) XᵀX`.
pub fn moments(x: &Matrix) -> Matrix {
    let n = x.rows as f64;
    let mut sums = Matrix::zeros(x.columns, x.columns);
    for row in 0..x.rows {
        for (i, a) in x.row(row).iter().enumerate() {
            sums.row_mut(i).iter_mut().zip(x.row(row)).for_each(|(sum, b)| *sum += a * b / n);
        }
    }
    sums
}

/// The lower factor of `S = C Cᵀ`; entries that are not numbers where S is not positive definite.
pub fn cholesky(s: &Matrix) -> Matrix {
    let mut c = Matrix::zeros(s.rows, s.rows);
    for i in 0..s.rows {
        for j in 0..=i {
            let known: f64 = (0..j).map(|k| c.at(i, k) * c.at(j, k)).sum();
            let rest = s.at(i, j) - known;
            c.row_mut(i)[j] = if i == j { rest.sqrt() } else { rest / c.at(j, j) };
        }
    }
    c
}

/// `S⁻¹ b` by Cholesky's factor: a textbook's way, for checks of small and moderate condition.
pub fn solved(s: &Matrix, b: &[f64]) -> Vec<f64> {
    let (c, d) = (cholesky(s), s.rows);
    let mut z = vec![0.0; d];
    for i in 0..d {
        z[i] = (b[i] - (0..i).map(|k| c.at(i, k) * z[k]).sum::<f64>()) / c.at(i, i);
    }
    for i in (0..d).rev() {
        z[i] = (z[i] - (i + 1..d).map(|k| c.at(k, i) * z[k]).sum::<f64>()) / c.at(i, i);
    }
    z
}

//! The data of the training experiment, and theory's parameters for them, from the library's constructed transformer.

use burn::tensor::Tensor;
use hattention::transformer::{Options, Spectrum, Transformer};
use hattention::{Block, Column, Design, Filter, Fit, Moments, Whitening, WhiteningOptions};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

use super::descent::{Square, Task, product, transposed};
use crate::error::Error;
use crate::seeds::Generator;

/// Correlation of neighbouring columns: `Σᵢⱼ = 0.5^|i−j|`, of condition 4.9 at d = 3 and about 8 at d = 10.
const CORRELATION: f64 = 0.5;

/// Rows of a regression.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Number of rows.
    pub n: usize,
    /// Regressors.
    pub d: usize,
    /// Targets.
    pub m: usize,
    /// Shape: `[n][d]`.
    pub x: Vec<f64>,
    /// Shape: `[n][m]`.
    pub y: Vec<f64>,
}

/// Which square root of `Σ⁻¹` theory's L is: predictions of the construction do not know, training does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// `V Λ^(−1/2)`, as published: eigenvectors with the signs and the order they come in.
    Eigenvectors,
    /// `V Λ^(−1/2) Vᵀ = Σ^(−1/2)`: the keys rotated back.
    Symmetric,
}

/// The published set-up: `y = 2x + ε`, with x uniform on −3 to 3 and ε standard normal.
pub fn published(n: usize, random: &mut Generator) -> Rows {
    let x: Vec<f64> = (0..n).map(|_| random.random_range(-3.0..3.0)).collect();
    let noise = |random: &mut Generator| -> f64 { StandardNormal.sample(random) };
    let y = x.iter().map(|x| 2.0 * x + noise(random)).collect();
    Rows { n, d: 1, m: 1, x, y }
}

/// Correlated normal columns, coefficients and noise standard normal.
pub fn rows(n: usize, d: usize, m: usize, random: &mut Generator) -> Rows {
    let mut normal = || -> f64 { StandardNormal.sample(random) };
    let b: Vec<f64> = (0..d * m).map(|_| normal()).collect();
    let (mut x, mut y) = (Vec::with_capacity(n * d), Vec::with_capacity(n * m));
    for _ in 0..n {
        let start = x.len();
        for j in 0..d {
            let fresh = normal();
            let next = match j {
                0 => fresh,
                _ => CORRELATION * x[start + j - 1] + (1.0 - CORRELATION * CORRELATION).sqrt() * fresh,
            };
            x.push(next);
        }
        for t in 0..m {
            y.push((0..d).map(|j| x[start + j] * b[j * m + t]).sum::<f64>() + normal());
        }
    }
    Rows { n, d, m, x, y }
}

/// Columns divided by their root mean squares.
pub fn normalised(mut rows: Rows) -> Rows {
    for j in 0..rows.d {
        let square: f64 = rows.x.iter().skip(j).step_by(rows.d).map(|x| x * x).sum();
        let scale = (square / rows.n as f64).sqrt();
        rows.x.iter_mut().skip(j).step_by(rows.d).for_each(|x| *x /= scale);
    }
    rows
}

/// Columns on unequal scales, 1 to `spread` in equal ratios: what normalisation undoes.
pub fn stretched(mut rows: Rows, spread: f64) -> Rows {
    for (k, x) in rows.x.iter_mut().enumerate() {
        *x *= spread.powf((k % rows.d) as f64 / (rows.d - 1).max(1) as f64);
    }
    rows
}

/// Columns turned into keys: second moments are the identity.
///
/// # Errors
/// What the library refuses.
pub fn whitened<const D: usize>(mut rows: Rows) -> Result<Rows, Error> {
    let theory = task::<D>(&rows, Root::Eigenvectors)?.theory;
    for row in rows.x.chunks_exact_mut(D) {
        let key: [f64; D] = std::array::from_fn(|j| row.iter().zip(&theory).map(|(x, l)| x * l[j]).sum());
        row.copy_from_slice(&key);
    }
    Ok(rows)
}

/// The moments, theory's L (of the library's constructed transformer) and `C = PPᵀ`.
///
/// # Errors
/// What the library refuses.
pub fn task<const D: usize>(rows: &Rows, root: Root) -> Result<Task<D>, Error> {
    let column = |data: &[f64], width: usize, j: usize| data.iter().skip(j).step_by(width).copied().collect::<Vec<_>>();
    let x: Vec<Vec<f64>> = (0..D).map(|j| column(&rows.x, D, j)).collect();
    let y: Vec<Vec<f64>> = (0..rows.m).map(|t| column(&rows.y, rows.m, t)).collect();
    let columns = x.iter().chain(&y).map(|c| Column::Dense(c)).collect();
    let moments = Moments::of(&Block { rows: rows.n, columns, weights: None })?;
    let design = Design::plain((0..D).map(|j| format!("x{j}")), false);
    let whitening = Whitening::of(&moments, &design, Filter::Ols, WhiteningOptions::default(), None)?;
    let fits =
        (0..rows.m).map(|t| Fit::of(&moments, &whitening, D + t, &format!("y{t}"))).collect::<Result<Vec<_>, _>>()?;
    let transformer =
        Transformer::of(&whitening, &fits, &Options { spectrum: Spectrum::Unscaled, ..Options::default() })?;
    let published: Square<D> = std::array::from_fn(|i| std::array::from_fn(|j| transformer.w_q.at(i, j)));
    let inverse = product(&published, &transposed(&published));
    let n = rows.n as f64;
    let sigma: Square<D> =
        std::array::from_fn(|i| std::array::from_fn(|j| x[i].iter().zip(&x[j]).map(|(a, b)| a * b).sum::<f64>() / n));
    let rotation = match root {
        Root::Eigenvectors => identity(),
        Root::Symmetric => directions(&published),
    };
    let theory = product(&published, &transposed(&rotation));
    let mut task = Task { sigma, inverse, theory, c: identity(), sigma_most: 0.0, c_most: 0.0 };
    let p = readout(rows, &task);
    task.c = std::array::from_fn(|i| {
        std::array::from_fn(|j| {
            p[i * rows.m..(i + 1) * rows.m].iter().zip(&p[j * rows.m..(j + 1) * rows.m]).map(|(a, b)| a * b).sum()
        })
    });
    (task.sigma_most, task.c_most) = (largest_eigenvalue(&task.sigma), largest_eigenvalue(&task.c));
    Ok(task)
}

/// `P = LᵀXᵀY/n` at theory. Shape: `[d][m]`.
pub fn readout<const D: usize>(rows: &Rows, task: &Task<D>) -> Vec<f64> {
    let (n, m) = (rows.n, rows.m);
    let cross = |j: usize, t: usize| (0..n).map(|i| rows.x[i * D + j] * rows.y[i * m + t]).sum::<f64>() / n as f64;
    let cross: Vec<f64> = (0..D * m).map(|k| cross(k / m, k % m)).collect();
    (0..D * m).map(|k| (0..D).map(|j| task.theory[j][k / m] * cross[j * m + k % m]).sum()).collect()
}

/// The identity.
pub fn identity<const D: usize>() -> Square<D> {
    std::array::from_fn(|i| std::array::from_fn(|j| (i == j) as u8 as f64))
}

/// Columns divided by their lengths: V of `V Λ^(−1/2)`.
fn directions<const D: usize>(l: &Square<D>) -> Square<D> {
    let length = |j: usize| l.iter().map(|row| row[j] * row[j]).sum::<f64>().sqrt();
    std::array::from_fn(|i| std::array::from_fn(|j| l[i][j] / length(j)))
}

/// The largest eigenvalue of a positive matrix, by its power 2^12 (scaled at every squaring).
fn largest_eigenvalue<const D: usize>(a: &Square<D>) -> f64 {
    let trace = |a: &Square<D>| (0..D).map(|i| a[i][i]).sum::<f64>();
    let mut power = *a;
    for _ in 0..12 {
        let scale = trace(&power);
        let scaled = power.map(|row| row.map(|x| x / scale));
        power = product(&scaled, &scaled);
    }
    // What is left projects on the largest eigenvectors.
    trace(&product(a, &power)) / trace(&power)
}

/// Half the mean squared error of the layer, from all rows, on tensors.
pub fn loss(x: Tensor<2>, y: Tensor<2>, l: Tensor<2>, p: Tensor<2>) -> Tensor<1> {
    // Not divided by n: Burn's gradient of a division by a number is rounded to single precision.
    let share = 1.0 / x.dims()[0] as f64;
    let keys = x.matmul(l); // [n, d]
    let state = keys.clone().transpose().matmul(keys.clone()) * share; // [d, d]
    let residual = keys.matmul(state).matmul(p) - y; // [n, m]
    (residual.clone() * residual).sum() * (0.5 * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiments::ols_training::descent::{distance, norm, place};
    use crate::seeds::generator;

    #[test]
    fn theory_is_a_minimum_and_a_root() {
        let rows = rows(200, 3, 4, &mut generator("test", "world", "rows", 0));
        for root in [Root::Eigenvectors, Root::Symmetric] {
            let task = task::<3>(&rows, root).unwrap();
            let squared = product(&product(&task.theory, &transposed(&task.theory)), &task.sigma);
            assert!(distance(&squared, &identity()) < 1e-13);
            let here = place(&task, &task.theory);
            assert!(norm(&here.slope) < 1e-12 && here.loss < 1e-24, "{}", here.loss);
            assert!((here.spread - 1.0).abs() < 1e-12, "{}", here.spread);
            if root == Root::Symmetric {
                assert!(distance(&task.theory, &transposed(&task.theory)) < 1e-14);
            }
        }
        assert!((largest_eigenvalue(&[[2.0, 1.0], [1.0, 2.0]]) - 3.0).abs() < 1e-14);
    }
}

//! Gradient descent on one layer of linear self-attention, `Ŷ = (1/n)(XL)(XL)ᵀ(XL)P`, with P fixed at theory.
//!
//! Data enter through `Σ = XᵀX/n` and `C = PPᵀ` only: with `L*` at theory `B = L*P` are the coefficients of least squares, the
//! layer's coefficients are `W = L(LᵀΣL)P`, and half the mean squared error is a constant plus
//!
//! ```text
//! ½ tr((W − B)ᵀ Σ (W − B)) = ½ tr(Rᵀ Σ R C),   R = L LᵀΣL − L*
//! ∇ = A LᵀΣL + ΣL Aᵀ L + ΣL Lᵀ A,              A = Σ R C
//! ```
//! so that one epoch costs ten products of d × d matrices, whatever n and the number of targets.

use std::cmp::Ordering;

/// A square matrix, by rows.
pub type Square<const D: usize> = [[f64; D]; D];

/// Epochs between looks at the errors.
const LOOK: usize = 50;
/// A gradient step this small against L moves nothing any more.
const AT_REST: f64 = 1e-14;
/// Beyond this norm of L the descent has diverged.
const DIVERGED: f64 = 1e6;

/// What is learned: moments of the data and the parameters at theory.
#[derive(Clone, Debug)]
pub struct Task<const D: usize> {
    /// `Σ`.
    pub sigma: Square<D>,
    /// `Σ⁻¹`, which `LLᵀ` should become.
    pub inverse: Square<D>,
    /// `L*`.
    pub theory: Square<D>,
    /// `C = PPᵀ`.
    pub c: Square<D>,
    /// `ρ / (9 λ_max(Σ) λ_max(C))` is the rate for ρ = 1: the inverse of a bound of the loss's curvature at theory.
    pub unit_rate: f64,
}

/// Where a descent ended.
#[derive(Clone, Debug)]
pub struct End<const D: usize> {
    /// The parameter.
    pub l: Square<D>,
    /// Epochs run.
    pub epochs: usize,
    /// The first epoch looked at whose predictions were within 1 % of least squares'.
    pub epochs_to_one_percent: Option<usize>,
    /// `‖X(W − B)‖/‖XB‖`: the distance of predictions from least squares'.
    pub function: f64,
    /// `‖LLᵀ − Σ⁻¹‖/‖Σ⁻¹‖`.
    pub structure: f64,
    /// `‖L − L*‖/‖L*‖`.
    pub parameter: f64,
}

/// `A B`.
pub fn product<const D: usize>(a: &Square<D>, b: &Square<D>) -> Square<D> {
    let mut result = [[0.0; D]; D];
    for (target, row) in result.iter_mut().zip(a) {
        for (factor, other) in row.iter().zip(b) {
            target.iter_mut().zip(other).for_each(|(t, o)| *t += factor * o);
        }
    }
    result
}

/// `Aᵀ`.
pub fn transposed<const D: usize>(a: &Square<D>) -> Square<D> {
    std::array::from_fn(|i| std::array::from_fn(|j| a[j][i]))
}

/// Entry by entry.
pub fn zip<const D: usize>(a: &Square<D>, b: &Square<D>, f: impl Fn(f64, f64) -> f64) -> Square<D> {
    std::array::from_fn(|i| std::array::from_fn(|j| f(a[i][j], b[i][j])))
}

/// `‖A‖`, Frobenius.
pub fn norm<const D: usize>(a: &Square<D>) -> f64 {
    a.iter().flatten().map(|x| x * x).sum::<f64>().sqrt()
}

/// `tr(AᵀB)`.
fn inner<const D: usize>(a: &Square<D>, b: &Square<D>) -> f64 {
    a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| a * b).sum()
}

/// `det A`, by elimination with row exchanges.
pub fn determinant<const D: usize>(a: &Square<D>) -> f64 {
    let (mut a, mut determinant) = (*a, 1.0);
    for k in 0..D {
        let pivot = (k..D).max_by(|i, j| a[*i][k].abs().total_cmp(&a[*j][k].abs())).unwrap_or(k);
        if pivot != k {
            a.swap(pivot, k);
            determinant = -determinant;
        }
        determinant *= a[k][k];
        if a[k][k] == 0.0 {
            return 0.0;
        }
        let row = a[k];
        for lower in &mut a[k + 1..] {
            let factor = lower[k] / row[k];
            lower.iter_mut().zip(&row).for_each(|(x, r)| *x -= factor * r);
        }
    }
    determinant
}

/// The gradient of the loss, and the excess of the loss over least squares'.
pub fn gradient<const D: usize>(task: &Task<D>, l: &Square<D>) -> (Square<D>, f64) {
    let turned = product(&task.sigma, l); // ΣL
    let state = product(&transposed(l), &turned); // LᵀΣL
    let residual = zip(&product(l, &state), &task.theory, |w, t| w - t); // R
    let weighted = product(&residual, &task.c); // RC
    let a = product(&task.sigma, &weighted);
    let loss = 0.5 * inner(&a, &residual);
    let second = product(&turned, &product(&transposed(&a), l));
    let third = product(&turned, &product(&transposed(l), &a));
    let first = product(&a, &state);
    let sum = std::array::from_fn(|i| std::array::from_fn(|j| first[i][j] + second[i][j] + third[i][j]));
    (sum, loss)
}

/// Gradient descent from a start, at a rate of `rho` times the task's unit, for at most so many epochs, or until the
/// structure (if it is `pinned`, else the function) is at 1e-6, or nothing moves, or all has diverged.
pub fn descend<const D: usize>(task: &Task<D>, start: &Square<D>, rho: f64, epochs: usize, pinned: bool) -> End<D> {
    let rate = rho * task.unit_rate;
    // tr(BᵀΣB) = tr(L*ᵀΣL* C) = tr C
    let scale = (0..D).map(|i| task.c[i][i]).sum::<f64>();
    let mut l = *start;
    let mut first = None;
    let mut done = epochs;
    for epoch in 0..epochs {
        let (slope, loss) = gradient(task, &l);
        if epoch % LOOK == 0 {
            let function = (2.0 * loss / scale).sqrt();
            if function <= 0.01 && first.is_none() {
                first = Some(epoch);
            }
            let close = if pinned { distance(&l, &task.theory) } else { function };
            // (A norm that is no number has diverged too.)
            if close < 1e-6
                || rate * norm(&slope) < AT_REST * norm(&l)
                || !matches!(norm(&l).partial_cmp(&DIVERGED), Some(Ordering::Less))
            {
                done = epoch;
                break;
            }
        }
        l = zip(&l, &slope, |l, g| l - rate * g);
    }
    let (_, loss) = gradient(task, &l);
    let function = (2.0 * loss / scale).sqrt();
    End {
        epochs: done,
        epochs_to_one_percent: first,
        function,
        structure: distance(&product(&l, &transposed(&l)), &task.inverse),
        parameter: distance(&l, &task.theory),
        l,
    }
}

/// `‖A − B‖/‖B‖`.
pub fn distance<const D: usize>(a: &Square<D>, b: &Square<D>) -> f64 {
    norm(&zip(a, b, |a, b| a - b)) / norm(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiments::ols_training::world::{self, Root};
    use crate::seeds::generator;
    use crate::train::{Device, number, numbers, tensor};
    use rand::RngExt;

    /// The loss from all rows by Burn, its gradient by automatic differentiation, against the closed form from moments.
    #[test]
    fn the_gradient_is_that_of_the_rows() {
        let (n, m) = (40, 7);
        for root in [Root::Eigenvectors, Root::Symmetric] {
            let mut random = generator("test", "descent", "world", 0);
            let rows = world::rows(n, 3, m, &mut random);
            let task = world::task::<3>(&rows, root).unwrap();
            let l: Square<3> = std::array::from_fn(|_| std::array::from_fn(|_| random.random_range(-1.0..1.0)));
            let device = Device::Cpu.autodiff().unwrap();
            let flat: Vec<f64> = l.iter().flatten().copied().collect();
            let p = world::readout(&rows, &task);
            let leaf = tensor(&flat, [3, 3], &device).require_grad();
            let loss = world::loss(
                tensor(&rows.x, [n, 3], &device),
                tensor(&rows.y, [n, m], &device),
                leaf.clone(),
                tensor(&p, [3, m], &device),
            );
            let gradients = loss.backward();
            let found = numbers(leaf.grad(&gradients).unwrap()).unwrap();
            let (exact, excess) = gradient(&task, &l);
            // Sums of n·m·d terms; the numbers of this draw are below a thousand.
            let rounding = 1000.0 * (n * m * 3) as f64 * f64::EPSILON;
            for (found, exact) in found.iter().zip(exact.iter().flatten()) {
                assert!((found - exact).abs() <= rounding, "{found} {exact}");
            }
            let theory: Vec<f64> = task.theory.iter().flatten().copied().collect();
            let least = world::loss(
                tensor(&rows.x, [n, 3], &device),
                tensor(&rows.y, [n, m], &device),
                tensor(&theory, [3, 3], &device),
                tensor(&p, [3, m], &device),
            );
            let difference = number(loss).unwrap() - number(least).unwrap();
            assert!((difference - excess).abs() <= rounding, "{difference} {excess}");
        }
    }

    #[test]
    fn determinants() {
        assert_eq!(determinant(&[[0.0, 2.0], [3.0, 5.0]]), -6.0);
        assert_eq!(determinant(&[[1.0, 2.0], [2.0, 4.0]]), 0.0);
        assert_eq!(determinant(&[[2.0, 0.0, 0.0], [1.0, 3.0, 0.0], [5.0, 7.0, 4.0]]), 24.0);
    }
}

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
    /// `λ_max(Σ)`.
    pub sigma_most: f64,
    /// `λ_max(C)`.
    pub c_most: f64,
}

impl<const D: usize> Task<D> {
    /// `1/(9 λ_max(Σ) λ_max(C))`: the inverse of a bound of the loss's curvature at theory, and the rate for ρ = 1.
    pub fn unit_rate(&self) -> f64 {
        1.0 / (9.0 * self.sigma_most * self.c_most)
    }
}

/// How long the steps are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Steps {
    /// ρ times the task's unit rate, wherever L is.
    Fixed(f64),
    /// The same, and never more than ρ over a bound of the curvature where L is.
    ///
    /// With `M = Σ^½L`, `μ ≥ ‖M‖` and the loss f, the curvature at L is at most
    /// `λ_max(Σ)(9 μ⁴ λ_max(C) + 6 μ √(2 f λ_max(C)))`, and a step changes M by at most ρμ/2. So with ρ ≤ ½ the curvature on the
    /// whole step is at most `(1 + ρ/2)⁴ ≤ 2.45` times the bound, less than `2/ρ` times: the loss falls at every step.
    Bounded(f64),
}

impl Steps {
    /// ρ.
    pub fn rho(self) -> f64 {
        match self {
            Self::Fixed(rho) | Self::Bounded(rho) => rho,
        }
    }
}

/// Where a descent ended.
#[derive(Clone, Debug)]
pub struct End<const D: usize> {
    /// The parameter.
    pub l: Square<D>,
    /// Whether L grew without bound. The errors are then infinite.
    pub diverged: bool,
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
    /// By how much the function's error fell over the last tenth of all epochs, relatively; zero where it ended before.
    pub falling: f64,
}

/// `A B`.
#[inline(always)]
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
#[inline(always)]
pub fn transposed<const D: usize>(a: &Square<D>) -> Square<D> {
    std::array::from_fn(|i| std::array::from_fn(|j| a[j][i]))
}

/// Entry by entry.
#[inline(always)]
pub fn zip<const D: usize>(a: &Square<D>, b: &Square<D>, f: impl Fn(f64, f64) -> f64) -> Square<D> {
    std::array::from_fn(|i| std::array::from_fn(|j| f(a[i][j], b[i][j])))
}

/// `‖A‖`, Frobenius.
#[inline(always)]
pub fn norm<const D: usize>(a: &Square<D>) -> f64 {
    a.iter().flatten().map(|x| x * x).sum::<f64>().sqrt()
}

/// `tr(AᵀB)`.
#[inline(always)]
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

/// What a step needs to know of a place.
#[derive(Clone, Copy, Debug)]
pub struct Place<const D: usize> {
    /// The gradient of the loss.
    pub slope: Square<D>,
    /// The excess of the loss over least squares'.
    pub loss: f64,
    /// `‖LᵀΣL‖_∞`, which is at least `‖Σ^½L‖²`, and one at theory.
    pub spread: f64,
}

/// Gradient, loss and spread at a place.
#[inline(always)]
pub fn place<const D: usize>(task: &Task<D>, l: &Square<D>) -> Place<D> {
    let turned = product(&task.sigma, l); // ΣL
    let state = product(&transposed(l), &turned); // LᵀΣL
    let residual = zip(&product(l, &state), &task.theory, |w, t| w - t); // R
    let a = product(&task.sigma, &product(&residual, &task.c)); // ΣRC
    let loss = 0.5 * inner(&a, &residual);
    let across = product(&transposed(&a), l); // AᵀL
    let both = zip(&across, &transposed(&across), |x, y| x + y);
    let slope = zip(&product(&a, &state), &product(&turned, &both), |x, y| x + y);
    let spread = state.iter().map(|row| row.iter().map(|x| x.abs()).sum::<f64>()).fold(0.0, f64::max);
    Place { slope, loss, spread }
}

/// The rate of a step from a place.
#[inline(always)]
fn rate<const D: usize>(task: &Task<D>, steps: Steps, place: &Place<D>) -> f64 {
    match steps {
        Steps::Fixed(rho) => rho * task.unit_rate(),
        Steps::Bounded(rho) => {
            let (most, c) = (task.sigma_most, task.c_most);
            let residual = 6.0 * (place.spread * 2.0 * place.loss.max(0.0) * c).sqrt();
            let bound = most * (9.0 * place.spread * place.spread * c + residual);
            rho * task.unit_rate().min(1.0 / bound)
        }
    }
}

/// Gradient descent from a start for at most so many epochs, or until the structure (if it is `pinned`, else the function) is
/// at 1e-6, or nothing moves, or all has diverged.
pub fn descend<const D: usize>(task: &Task<D>, start: &Square<D>, steps: Steps, epochs: usize, pinned: bool) -> End<D> {
    // Vectors of whatever width the machine has: sums run in the same order, so bits do not depend on it.
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || follow(task, start, steps, epochs, pinned),
    )
}

#[inline(always)]
fn follow<const D: usize>(task: &Task<D>, start: &Square<D>, steps: Steps, epochs: usize, pinned: bool) -> End<D> {
    // tr(BᵀΣB) = tr(L*ᵀΣL* C) = tr C
    let scale = (0..D).map(|i| task.c[i][i]).sum::<f64>();
    let function_of = |loss: f64| (2.0 * loss / scale).sqrt();
    let mut l = *start;
    let (mut first, mut before_last_tenth) = (None, None);
    let mut done = epochs;
    let mut diverged = false;
    for epoch in 0..epochs {
        let here = place(task, &l);
        let rate = rate(task, steps, &here);
        if epoch == epochs - epochs / 10 {
            before_last_tenth = Some(function_of(here.loss));
        }
        if epoch % LOOK == 0 {
            let function = function_of(here.loss);
            if function <= 0.01 && first.is_none() {
                first = Some(epoch);
            }
            // A norm that is no number has diverged too.
            diverged = norm(&l).is_nan() || norm(&l) > DIVERGED;
            let close = if pinned { distance(&l, &task.theory) } else { function };
            if diverged || close < 1e-6 || rate * norm(&here.slope) < AT_REST * norm(&l) {
                (done, before_last_tenth) = (epoch, None);
                break;
            }
        }
        l = zip(&l, &here.slope, |l, g| l - rate * g);
    }
    diverged |= norm(&l).is_nan() || norm(&l) > DIVERGED;
    let function = function_of(place(task, &l).loss);
    let error = |e: f64| if diverged { f64::INFINITY } else { e };
    End {
        epochs: done,
        epochs_to_one_percent: first,
        function: error(function),
        structure: error(distance(&product(&l, &transposed(&l)), &task.inverse)),
        parameter: error(distance(&l, &task.theory)),
        falling: before_last_tenth.map_or(0.0, |before| if diverged { 0.0 } else { 1.0 - function / before }),
        diverged,
        l,
    }
}

/// `‖A − B‖/‖B‖`.
#[inline(always)]
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
            let Place { slope: exact, loss: excess, .. } = place(&task, &l);
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

    /// Bounded steps never raise the loss, from starts of every size, on columns of unequal scales; fixed ones do.
    #[test]
    fn bounded_steps_fall() {
        let mut rises = 0;
        for seed in 0..20 {
            let mut random = generator("test", "descent", "falls", seed);
            let rows = world::stretched(world::rows(50, 3, 12, &mut random), 3.0);
            let task = world::task::<3>(&rows, Root::Symmetric).unwrap();
            let size = [0.01, 0.3, 1.0, 10.0][seed % 4];
            let start: Square<3> =
                std::array::from_fn(|_| std::array::from_fn(|_| size * random.random_range(-1.0..1.0)));
            for steps in [Steps::Bounded(0.5), Steps::Fixed(0.5)] {
                let (mut l, mut before) = (start, f64::INFINITY);
                for _ in 0..200 {
                    let here = place(&task, &l);
                    // The loss is a sum of 9 products; what is at rest may move by its rounding.
                    let rose = here.loss > before * (1.0 + 100.0 * f64::EPSILON) || here.loss.is_nan();
                    match steps {
                        Steps::Bounded(_) => assert!(!rose, "{seed}: {} from {before}", here.loss),
                        Steps::Fixed(_) => rises += u32::from(rose),
                    }
                    before = here.loss;
                    let rate = rate(&task, steps, &here);
                    l = zip(&l, &here.slope, |l, g| l - rate * g);
                }
                let end = descend(&task, &start, steps, 200, true);
                assert!(end.diverged == end.parameter.is_infinite() && (!end.diverged || steps == Steps::Fixed(0.5)));
            }
        }
        assert!(rises > 0, "fixed steps never overshot: the starts are too small to show the difference");
    }

    /// The curvature along a random direction is below the bound from which bounded steps are made.
    #[test]
    fn curvature_is_bounded() {
        for seed in 0..50 {
            let mut random = generator("test", "descent", "curvature", seed);
            let rows = world::rows(50, 3, 12, &mut random);
            let task = world::task::<3>(&rows, Root::Eigenvectors).unwrap();
            let size = [0.1, 1.0, 3.0][seed % 3];
            let mut draw =
                || -> Square<3> { std::array::from_fn(|_| std::array::from_fn(|_| random.random_range(-1.0..1.0))) };
            let (l, direction) = (draw().map(|row| row.map(|x| size * x)), draw());
            let h = 1e-4 * size / norm(&direction);
            let along = |t: f64| place(&task, &zip(&l, &direction, |l, d| l + t * d));
            // The loss is a polynomial of degree six: the error of the difference is of second order in h.
            let turn = zip(&along(h).slope, &along(-h).slope, |a, b| (a - b) / (2.0 * h));
            let curvature = inner(&turn, &direction) / inner(&direction, &direction);
            let bound = 1.0 / rate(&task, Steps::Bounded(1.0), &along(0.0)).min(task.unit_rate());
            assert!(curvature <= bound, "{seed}: {curvature} above {bound}");
        }
    }

    #[test]
    fn determinants() {
        assert_eq!(determinant(&[[0.0, 2.0], [3.0, 5.0]]), -6.0);
        assert_eq!(determinant(&[[1.0, 2.0], [2.0, 4.0]]), 0.0);
        assert_eq!(determinant(&[[2.0, 0.0, 0.0], [1.0, 3.0, 0.0], [5.0, 7.0, 4.0]]), 24.0);
    }
}

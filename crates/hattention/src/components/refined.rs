//! The largest eigenpairs of a matrix in doubled arithmetic, refined from those in doubles.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::dense::kernel::{add_product, dot};
use crate::double_double::DoubleDouble;
use crate::exact::float::Float;
use crate::interrupt::checked;
use crate::linalg::symmetric_eigen;

/// Eigenvalues and eigenvectors of length one, the largest first.
pub(super) struct Pairs<const N: usize> {
    pub(super) values: Vec<Float<N>>,
    pub(super) vectors: Vec<Vec<Float<N>>>,
    /// Both are known up to this power of two.
    pub(super) unit: i64,
}

/// Distances of eigenvalues that are no longer told apart, in units of the largest and of the number of columns.
const CLOSE: f64 = 1e-11;
/// Steps of refinement at most; each gains the digits that doubles have beyond the distance of the eigenvalues.
const STEPS: usize = 8;
/// A power of two that errors must stay below.
const LARGEST_UNIT: i64 = -80;

/// The `count` largest eigenpairs; `None` where they are too close to others, or too small, for doubles to tell apart.
///
/// With all eigenvectors `u_i` in doubles a residual `r = A v − λ v` is mended by `v ← v + Σ u_i (u_iᵀ r) / (λ − λ_i)`.
/// What is left is off by at most `√2 ‖r‖ / gap`, whatever the steps did.
///
/// # References
/// Golub & Van Loan, Matrix Computations, 8.1 (residual bounds of eigenvectors); Ogita & Aishima (2018) for the step.
pub(super) fn largest_pairs<const N: usize>(matrix: &[Vec<Float<N>>], count: usize) -> Option<Pairs<N>> {
    let size = matrix.len();
    let exponent = (0..size).map(|i| matrix[i][i].exponent()).max()?;
    let doubled: Vec<DoubleDouble> = matrix.iter().flatten().map(|x| x.scale(-exponent).to_double_double()).collect();
    let (high, low): (Vec<f64>, Vec<f64>) = doubled.iter().map(|x| (x.hi, x.lo)).unzip();
    let (mut values, mut vectors) = symmetric_eigen(&high, size).ok()?;
    values.reverse();
    vectors.reverse();
    let close = CLOSE * size as f64 * values[0];
    let gap = |k: usize| {
        let beside = [k.checked_sub(1), Some(k + 1)].into_iter().flatten().filter_map(|j| values.get(j));
        beside.map(|other| (values[k] - other).abs()).fold(f64::INFINITY, f64::min)
    };
    if (0..count).any(|k| gap(k) < close || values[k] < close) {
        return None;
    }
    let table = Table { high: &high, low: &low, values: &values, vectors: &vectors };
    let refined: Vec<(DoubleDouble, Vec<DoubleDouble>, f64)> =
        (0..count).into_par_iter().map(checked(|k| table.refine(k, gap(k)))).collect();
    let rounding = 2f64.powi(-100) * size as f64 * values[0] / values[count - 1];
    let error = refined.iter().map(|(_, _, error)| *error).fold(rounding, f64::max);
    let unit = error.log2().ceil() as i64 + 2;
    if unit > LARGEST_UNIT {
        return None;
    }
    let exact = |x: &DoubleDouble| Float::<N>::from_f64(x.hi) + Float::from_f64(x.lo);
    let vectors = refined.iter().map(|(_, vector, _)| {
        let vector: Vec<Float<N>> = vector.iter().map(exact).collect();
        let length = vector.iter().fold(Float::ZERO, |sum, x| sum + *x * *x).sqrt().reciprocal();
        vector.into_iter().map(|x| x * length).collect()
    });
    let vectors = vectors.collect();
    Some(Pairs { values: refined.iter().map(|(value, ..)| exact(value).scale(exponent)).collect(), vectors, unit })
}

/// A matrix in pairs of doubles, by rows, and its eigenpairs in doubles.
struct Table<'a> {
    high: &'a [f64],
    low: &'a [f64],
    values: &'a [f64],
    vectors: &'a [Vec<f64>],
}

impl Table<'_> {
    /// Eigenpair `k`, and a bound of the error of its vector.
    fn refine(&self, k: usize, gap: f64) -> (DoubleDouble, Vec<DoubleDouble>, f64) {
        let mut vector: Vec<DoubleDouble> = self.vectors[k].iter().map(|x| DoubleDouble::from(*x)).collect();
        let mut best = None;
        for _ in 0..STEPS {
            let image = self.times(&vector);
            let sum = |a: &[DoubleDouble], b: &[DoubleDouble]| {
                a.iter().zip(b).fold(DoubleDouble::ZERO, |sum, (x, y)| sum + *x * *y)
            };
            let square = sum(&vector, &vector);
            let value = sum(&vector, &image) / square;
            let residual: Vec<f64> = image.iter().zip(&vector).map(|(a, v)| (*a - value * *v).to_f64()).collect();
            let length = (dot(&residual, &residual) / square.to_f64()).sqrt();
            // (The distance of the eigenvalues is known to far more than half of it.)
            let error = 2.0 * std::f64::consts::SQRT_2 * length / gap;
            if best.as_ref().is_some_and(|(.., least): &(_, _, f64)| error > 0.25 * least) {
                break;
            }
            best = Some((value, vector.clone(), error));
            for (i, other) in self.vectors.iter().enumerate().filter(|(i, _)| *i != k) {
                let factor = dot(other, &residual) / (self.values[k] - self.values[i]);
                vector.iter_mut().zip(other).for_each(|(v, u)| *v = *v + DoubleDouble::from(factor * u));
            }
        }
        best.unwrap_or((DoubleDouble::from(self.values[k]), vector, f64::INFINITY))
    }

    /// The matrix times a vector.
    fn times(&self, vector: &[DoubleDouble]) -> Vec<DoubleDouble> {
        let size = vector.len();
        let (high, low): (Vec<f64>, Vec<f64>) = vector.iter().map(|x| (x.hi, x.lo)).unzip();
        let rows = self.high.chunks_exact(size).zip(self.low.chunks_exact(size));
        rows.map(|(a, a_low)| {
            pulp::Arch::new().dispatch(Dot { a, high: &high, low: &low }) + DoubleDouble::from(dot(a_low, &high))
        })
        .collect()
    }
}

/// `Σ a (high + low)` in doubled arithmetic, in eight chains.
struct Dot<'a> {
    a: &'a [f64],
    high: &'a [f64],
    low: &'a [f64],
}

/// Chains of a sum.
const LANES: usize = 8;

impl WithSimd for Dot<'_> {
    type Output = DoubleDouble;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> DoubleDouble {
        let whole = self.a.len() / LANES * LANES;
        let a = S::as_simd_f64s(&self.a[..whole]).0;
        let (high, low) = (S::as_simd_f64s(&self.high[..whole]).0, S::as_simd_f64s(&self.low[..whole]).0);
        let parts = LANES / S::F64_LANES;
        let mut sums = ([0.0; LANES], [0.0; LANES]);
        let (highs, lows) = (S::as_mut_simd_f64s(&mut sums.0).0, S::as_mut_simd_f64s(&mut sums.1).0);
        for (k, ((a, h), l)) in a.iter().zip(high).zip(low).enumerate() {
            let part = k % parts;
            (highs[part], lows[part]) = add_product(simd, (highs[part], lows[part]), *a, *h, *l);
        }
        let chains = sums.0.iter().zip(&sums.1).fold(DoubleDouble::ZERO, |sum, (h, l)| sum + DoubleDouble::new(*h, *l));
        (whole..self.a.len())
            .fold(chains, |sum, k| sum + DoubleDouble::from(self.a[k]) * DoubleDouble::new(self.high[k], self.low[k]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::jacobi;
    use super::*;

    #[test]
    fn refined_pairs_are_those_of_rotations() {
        let size = 30;
        let entry =
            |i: usize, j: usize| 1.0 / (1.0 + (i as f64 - j as f64).abs()) + if i == j { i as f64 / 9.0 } else { 0.0 };
        let matrix: Vec<Vec<Float<4>>> =
            (0..size).map(|i| (0..size).map(|j| Float::from_f64(entry(i, j)).scale(77)).collect()).collect();
        let Some(pairs) = largest_pairs(&matrix, 12) else { panic!("the eigenvalues are far apart") };
        assert!(pairs.unit < -90, "{}", pairs.unit);
        let (values, vectors) = jacobi(matrix).unwrap();
        for (value, vector) in pairs.values.iter().zip(&pairs.vectors) {
            let near = |k: &usize| (values[*k] - *value).exponent() < value.exponent() - 80;
            let Some(k) = (0..size).find(near) else { panic!("{} is no eigenvalue", value.to_f64()) };
            let along = (0..size).fold(Float::ZERO, |sum, i| sum + vectors[i][k] * vector[i]);
            let off = (0..size).map(|i| vectors[i][k] * along - vector[i]).map(|x| x.exponent()).max();
            assert!(off.is_some_and(|off| off < pairs.unit), "{off:?}, not below {}", pairs.unit);
        }
    }

    #[test]
    fn eigenvalues_that_are_close_are_left_to_rotations() {
        let identity: Vec<Vec<Float<4>>> =
            (0..25).map(|i| (0..25).map(|j| Float::from_f64(f64::from(i == j))).collect()).collect();
        assert!(largest_pairs(&identity, 3).is_none());
    }
}

//! Regression as a layer over a sequence: a memory that forgets, and is solved when it is read.

use crate::design::Aliased;
use crate::error::{Dependence, Error};
use crate::linalg;
use crate::matrix::{Matrix, Real};

/// A column is dependent if its distance from the span of the earlier ones is at most so many roundings of its length.
const DEPENDENT: f64 = 4096.0;
/// Parts of a dependent column that are named.
const NAMED: f64 = 1e-6;

/// The fast memory of the mesa layer: `H = Σ γ^age k kᵀ`, `G = Σ γ^age v kᵀ`; a query reads `o = G (H + Λ)⁻¹ q`.
///
/// It holds the triangular factor of `H` and `G` in its basis, never `H` itself, and takes a row in by Givens rotations.
///
/// # Shapes
/// d keys, m values: `O(d (d + m))` numbers, whatever the length of the stream.
///
/// # Equals
/// With γ = 1 the streaming fit of this library ([`Moments`](crate::Moments), in doubles and not exactly); recursive least
/// squares with forgetting factor γ (`statsmodels.regression.recursive_ls.RecursiveLS` for γ = 1); Λ is a ridge penalty that does not fade.
///
/// # Numerics
/// A row costs `3 d (d + m)` multiply-adds, reading `O(d²)`, or `O(d³)` with Λ. The error is `ε κ(K)`, not `ε κ(K)²` as for
/// recursions on `H⁻¹`; and it does not grow with the stream when γ < 1.
///
/// # Example
/// ```
/// use hattention::Aliased;
/// use hattention::transformer::mesa::Mesa;
/// let mut memory = Mesa::<f64>::new(2, 1);
/// for x in [1.0, 2.0, 4.0] {
///     memory.push(&[1.0, x], &[3.0 + 2.0 * x], 1.0).unwrap();
/// }
/// let coefficients = memory.coefficients(Aliased::Error).unwrap();
/// assert!((coefficients.at(0, 0) - 3.0).abs() < 1e-14 && (coefficients.at(1, 0) - 2.0).abs() < 1e-14);
/// ```
///
/// # References
/// von Oswald et al. (2023), arXiv 2309.05858, and (2025), arXiv 2506.05233, the mesa layer; Golub & Van Loan, 5.1.8 and
/// 6.5.4 for the rotations.
#[derive(Clone, Debug, PartialEq)]
pub struct Mesa<T: Real = f64> {
    keys: usize,
    values: usize,
    /// `[R | Z]`: row j from column j on. Shape: `[d][d + m]`.
    factor: Matrix<T>,
    /// `Σ γ^age e²` that is left of every value. Shape: `[m]`.
    residual_sums: Vec<T>,
    ridge: T,
    unpenalised: usize,
    rows: u64,
}

impl<T: Real> Mesa<T> {
    /// The memory of no rows.
    pub fn new(keys: usize, values: usize) -> Self {
        Self {
            keys,
            values,
            factor: Matrix::zeros(keys, keys + values),
            residual_sums: vec![T::default(); values],
            ridge: T::default(),
            unpenalised: 0,
            rows: 0,
        }
    }

    /// The same memory with `Λ = alpha` on all keys but the first `unpenalised`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a penalty that is negative or not finite.
    pub fn with_ridge(mut self, alpha: f64, unpenalised: usize) -> Result<Self, Error> {
        if !(alpha >= 0.0 && alpha.is_finite()) {
            return Err(Error::Parameter {
                name: "the ridge penalty",
                got: alpha.to_string(),
                allowed: "a finite number, zero or more",
            });
        }
        (self.ridge, self.unpenalised) = (T::from_f64(alpha), unpenalised);
        Ok(self)
    }

    /// Rows taken in.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// `Σ γ^age e²` of every value: what the rows at hand leave unexplained (without Λ). Shape: `[m]`.
    pub fn residual_sums(&self) -> Vec<f64> {
        self.residual_sums.iter().map(|x| x.to_f64()).collect()
    }

    /// Forgets by the factor γ: everything that is there counts that much less.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless γ is above 0 and at most 1.
    pub fn decay(&mut self, gamma: f64) -> Result<(), Error> {
        if !(gamma > 0.0 && gamma <= 1.0) {
            return Err(Error::Parameter { name: "the decay", got: gamma.to_string(), allowed: "above 0, at most 1" });
        }
        if gamma < 1.0 {
            let root = T::from_f64(gamma.sqrt());
            self.factor.data.iter_mut().for_each(|x| *x = *x * root);
            self.residual_sums.iter_mut().for_each(|x| *x = *x * T::from_f64(gamma));
        }
        Ok(())
    }

    /// Takes a row in, with weight `β ≥ 0`.
    ///
    /// # Errors
    /// - [`Error::Shape`] for another number of keys or values.
    /// - [`Error::NonFinite`], [`Error::Weight`]; then the memory is as it was.
    pub fn push(&mut self, key: &[T], values: &[T], weight: f64) -> Result<(), Error> {
        for (what, expected, got) in
            [("a key", self.keys, key.len()), ("the values of a row", self.values, values.len())]
        {
            if expected != got {
                return Err(Error::Shape { what, expected, got });
            }
        }
        let numbers = key.iter().chain(values);
        if let Some((column, x)) = numbers.clone().enumerate().find(|(_, x)| !x.is_finite()) {
            return Err(Error::NonFinite { row: self.rows as usize, column, value: x.to_f64() });
        }
        if !(weight >= 0.0 && weight.is_finite()) {
            return Err(Error::Weight { row: self.rows as usize, value: weight });
        }
        let root = T::from_f64(weight.sqrt());
        let mut row: Vec<T> = numbers.map(|x| *x * root).collect();
        rotate_in(&mut self.factor, 0, &mut row);
        for (sum, rest) in self.residual_sums.iter_mut().zip(&row[self.keys..]) {
            *sum = *sum + *rest * *rest;
        }
        self.rows += 1;
        Ok(())
    }

    /// Takes in everything another memory holds; Λ stays as it is here.
    ///
    /// Merging partial memories of a long context is more exact than one long row of rotations, and they can be made at
    /// once. Equal to one pass to `ε κ`, not in bits.
    ///
    /// # Errors
    /// [`Error::IncompatibleStates`] for another number of keys or values.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        if (self.keys, self.values) != (other.keys, other.values) {
            let describe = |m: &Self| format!("a memory of {} keys and {} values", m.keys, m.values);
            return Err(Error::IncompatibleStates { left: describe(self), right: describe(other) });
        }
        for j in 0..self.keys {
            let mut row = other.factor.row(j).to_vec();
            rotate_in(&mut self.factor, j, &mut row);
            // What is left of the row has no key any more: it is residual.
            for (sum, rest) in self.residual_sums.iter_mut().zip(&row[self.keys..]) {
                *sum = *sum + *rest * *rest;
            }
        }
        self.residual_sums.iter_mut().zip(&other.residual_sums).for_each(|(sum, more)| *sum = *sum + *more);
        self.rows += other.rows;
        Ok(())
    }

    /// The regression of the values on the keys: what basis queries read.
    ///
    /// # Shapes
    /// `[d][m]`; zeros for dropped keys.
    ///
    /// # Errors
    /// [`Error::RankDeficient`], naming `key j`, under [`Aliased::Error`] if keys depend on earlier ones: their distance
    /// from these is at most 4096 ε of their length. [`Aliased::Drop`] leaves them out, [`Aliased::MinNorm`] gives the
    /// shortest solution (of singular values above 4096 ε of the largest).
    pub fn coefficients(&self, aliased: Aliased) -> Result<Matrix<T>, Error> {
        let mut factor = self.factor.clone();
        if self.ridge > T::default() {
            let root = self.ridge.sqrt();
            for j in self.unpenalised..self.keys {
                let mut row = vec![T::default(); self.keys + self.values];
                row[j] = root;
                rotate_in(&mut factor, j, &mut row);
            }
        }
        match aliased {
            Aliased::MinNorm => self.shortest(&factor),
            Aliased::Error => match first_dependent(&factor, self.keys) {
                None => Ok(back_substituted(&factor, self.keys)),
                Some(_) => Err(self.deficiency(factor)),
            },
            Aliased::Drop => {
                let (reduced, kept) = independent(factor, self.keys, |_, _, _| ());
                let solved = back_substituted(&reduced, kept.len());
                let mut coefficients = Matrix::zeros(self.keys, self.values);
                for (i, j) in kept.into_iter().enumerate() {
                    coefficients.row_mut(j).copy_from_slice(solved.row(i));
                }
                Ok(coefficients)
            }
        }
    }

    /// What a query reads: `G (H + Λ)⁻¹ q`. Shape: `[m]`.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of keys; as [`Mesa::coefficients`].
    pub fn read(&self, query: &[T], aliased: Aliased) -> Result<Vec<T>, Error> {
        if query.len() != self.keys {
            return Err(Error::Shape { what: "a query", expected: self.keys, got: query.len() });
        }
        let query = Matrix { rows: 1, columns: self.keys, data: query.to_vec() };
        Ok(query.product(&self.coefficients(aliased)?).data)
    }

    /// The layer over a sequence: at every row the memory fades by γ, takes the row in and is read by the row's query.
    ///
    /// # Shapes
    /// `queries`, `keys`: `[rows][d]`; `values`: `[rows][m]`; the result: `[rows][m]`.
    ///
    /// # Errors
    /// As [`Mesa::push`], [`Mesa::decay`] and [`Mesa::read`].
    pub fn forward(
        &mut self,
        queries: &Matrix<T>,
        keys: &Matrix<T>,
        values: &Matrix<T>,
        gamma: f64,
        aliased: Aliased,
    ) -> Result<Matrix<T>, Error> {
        for (what, got) in [("the keys", keys.rows), ("the values", values.rows)] {
            if got != queries.rows {
                return Err(Error::Shape { what, expected: queries.rows, got });
            }
        }
        let mut outputs = Matrix::zeros(queries.rows, self.values);
        for i in 0..queries.rows {
            self.decay(gamma)?;
            self.push(keys.row(i), values.row(i), 1.0)?;
            outputs.row_mut(i).copy_from_slice(&self.read(queries.row(i), aliased)?);
        }
        Ok(outputs)
    }

    fn shortest(&self, factor: &Matrix<T>) -> Result<Matrix<T>, Error> {
        let triangle = Matrix::from_fn(self.keys, self.keys, |i, j| factor.at(i, j).to_f64());
        let svd = linalg::svd(&triangle)?;
        let least = DEPENDENT * T::EPSILON * svd.values.first().copied().unwrap_or(0.0);
        let mut coefficients = Matrix::<T>::zeros(self.keys, self.values);
        for (k, s) in svd.values.iter().enumerate().filter(|(_, s)| **s > least) {
            for t in 0..self.values {
                let along: f64 =
                    (0..self.keys).map(|i| svd.left.at(i, k) * factor.at(i, self.keys + t).to_f64()).sum::<f64>() / s;
                for j in 0..self.keys {
                    let sum = coefficients.at(j, t).to_f64() + svd.right.at(j, k) * along;
                    coefficients.row_mut(j)[t] = T::from_f64(sum);
                }
            }
        }
        Ok(coefficients)
    }

    /// All dependent keys, with the earlier ones each depends on.
    fn deficiency(&self, factor: Matrix<T>) -> Error {
        let mut dependent = Vec::new();
        let (_, kept) = independent(factor, self.keys, |factor, kept, j| {
            let column = Matrix::from_fn(j, 1, |i, _| factor.at(i, j));
            let mut earlier = Matrix::from_fn(j, j + 1, |i, k| factor.at(i, k));
            (0..j).for_each(|i| earlier.row_mut(i)[j] = column.at(i, 0));
            let on = back_substituted(&earlier, j);
            let length = length(factor, j);
            let counts = |i: &usize| on.at(*i, 0).to_f64().abs() * self::length(factor, *i) > NAMED * length;
            let on = if length > 0.0 {
                (0..j).filter(counts).map(|i| format!("key {}", kept[i])).collect()
            } else {
                Vec::new()
            };
            let distance = if length > 0.0 { factor.at(j, j).to_f64().abs() / length } else { 0.0 };
            dependent.push(Dependence { column: format!("key {}", kept[j]), on, distance_relative: distance });
        });
        Error::RankDeficient { rank: kept.len(), columns: self.keys, dependent }
    }
}

/// Rotates a row into a triangular factor, from column `first` on; what is left of it stays in the row.
fn rotate_in<T: Real>(factor: &mut Matrix<T>, first: usize, row: &mut [T]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            let columns = factor.columns;
            for j in first..factor.rows {
                let head = row[j];
                if head == T::default() {
                    continue;
                }
                rotate(&mut factor.data[j * columns + j..(j + 1) * columns], &mut row[j..], head);
                row[j] = T::default();
            }
        },
    );
}

/// One rotation of two rows, which takes the first entry of the second to zero.
#[inline(always)]
fn rotate<T: Real>(target: &mut [T], row: &mut [T], head: T) {
    let (c, s) = rotation(target[0], head);
    for (t, x) in target.iter_mut().zip(row) {
        let (a, b) = (*t, *x);
        *t = b.mul_add(s, a * c);
        *x = b.mul_add(c, -(a * s));
    }
}

/// Cosine and sine of the rotation that takes `(a, b)` to `(√(a² + b²), 0)`, without overflow.
#[inline(always)]
fn rotation<T: Real>(a: T, b: T) -> (T, T) {
    let one = T::from_f64(1.0);
    if b.abs() > a.abs() {
        let t = a / b;
        let s = one / t.mul_add(t, one).sqrt();
        let s = if b < T::default() { -s } else { s };
        (s * t, s)
    } else {
        let t = b / a;
        let c = one / t.mul_add(t, one).sqrt();
        let c = if a < T::default() { -c } else { c };
        (c, c * t)
    }
}

/// Solves `R β = Z` for a triangle of so many columns.
fn back_substituted<T: Real>(factor: &Matrix<T>, size: usize) -> Matrix<T> {
    let values = factor.columns - size;
    let mut solved = Matrix::zeros(size, values);
    for j in (0..size).rev() {
        for t in 0..values {
            let known =
                (j + 1..size).fold(factor.at(j, size + t), |sum, k| (-factor.at(j, k)).mul_add(solved.at(k, t), sum));
            solved.row_mut(j)[t] = known / factor.at(j, j);
        }
    }
    solved
}

fn length<T: Real>(factor: &Matrix<T>, j: usize) -> f64 {
    (0..=j).map(|i| factor.at(i, j).to_f64().powi(2)).sum::<f64>().sqrt()
}

fn first_dependent<T: Real>(factor: &Matrix<T>, size: usize) -> Option<usize> {
    (0..size).find(|&j| factor.at(j, j).to_f64().abs() <= DEPENDENT * T::EPSILON * length(factor, j))
}

/// The triangle over the independent keys, and which these are; dependent ones are shown before they are left out.
fn independent<T: Real>(
    mut factor: Matrix<T>,
    size: usize,
    mut show: impl FnMut(&Matrix<T>, &[usize], usize),
) -> (Matrix<T>, Vec<usize>) {
    let mut kept: Vec<usize> = (0..size).collect();
    while let Some(j) = first_dependent(&factor, kept.len()) {
        show(&factor, &kept, j);
        kept.remove(j);
        let mut reduced = Matrix::zeros(kept.len(), factor.columns - 1);
        for i in 0..factor.rows {
            let mut row = factor.row(i).to_vec();
            row.remove(j);
            rotate_in(&mut reduced, 0, &mut row);
        }
        factor = reduced;
    }
    (factor, kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed;
        move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        }
    }

    /// `(H + Λ)⁻¹ G` by the normal equations of weighted rows.
    fn textbook(keys: &Matrix, values: &Matrix, weights: &[f64], ridge: f64) -> Vec<f64> {
        let d = keys.columns;
        let mut h = vec![0.0; d * d];
        let mut g = vec![0.0; d];
        for (r, w) in weights.iter().enumerate() {
            for i in 0..d {
                g[i] += w * keys.at(r, i) * values.at(r, 0);
                (0..d).for_each(|j| h[i * d + j] += w * keys.at(r, i) * keys.at(r, j));
            }
        }
        (0..d).for_each(|i| h[i * d + i] += ridge);
        linalg::solve_symmetric(&h, d, &g).unwrap()
    }

    #[test]
    fn every_step_is_the_weighted_regression_of_the_past() {
        let mut next = numbers(1);
        let keys = Matrix::from_fn(40, 4, |_, _| next());
        let values = Matrix::from_fn(40, 1, |_, _| next());
        let queries = Matrix::from_fn(40, 4, |_, _| next());
        for (gamma, ridge) in [(1.0, 0.0), (0.9, 0.0), (0.8, 0.25), (1.0, 2.0)] {
            let mut mesa = Mesa::new(4, 1).with_ridge(ridge, 0).unwrap();
            let outputs = mesa.forward(&queries, &keys, &values, gamma, Aliased::MinNorm).unwrap();
            for t in 8..40 {
                let weights: Vec<f64> = (0..=t).map(|i| gamma.powi((t - i) as i32)).collect();
                let beta = textbook(&keys, &values, &weights, ridge);
                let expected: f64 = queries.row(t).iter().zip(&beta).map(|(q, b)| q * b).sum();
                // Conditions are below 1e3, and the textbook squares them.
                assert!((outputs.at(t, 0) - expected).abs() < 1e6 * f64::EPSILON, "{gamma} {ridge} {t}");
            }
        }
    }

    #[test]
    fn residuals_are_what_is_left() {
        let mut next = numbers(2);
        let mut mesa = Mesa::new(2, 1);
        let rows: Vec<[f64; 3]> = (0..30).map(|_| [1.0, next(), next()]).collect();
        rows.iter().for_each(|[a, b, y]| mesa.push(&[*a, *b], &[*y], 1.0).unwrap());
        let beta = mesa.coefficients(Aliased::Error).unwrap();
        let rss: f64 = rows.iter().map(|[a, b, y]| (y - a * beta.at(0, 0) - b * beta.at(1, 0)).powi(2)).sum();
        assert!((mesa.residual_sums()[0] - rss).abs() < 30.0 * f64::EPSILON * rss);
    }

    #[test]
    fn merged_memories_are_one() {
        let mut next = numbers(4);
        let (mut whole, mut first, mut second) = (Mesa::new(3, 2), Mesa::new(3, 2), Mesa::new(3, 2));
        for i in 0..50 {
            let (key, values) = ([next(), next(), next()], [next(), next()]);
            whole.push(&key, &values, 1.0).unwrap();
            let part = if i < 20 { &mut first } else { &mut second };
            part.push(&key, &values, 1.0).unwrap();
        }
        first.merge(&second).unwrap();
        assert_eq!(first.rows(), 50);
        let (a, b) = (first.coefficients(Aliased::Error).unwrap(), whole.coefficients(Aliased::Error).unwrap());
        let close = |a: &f64, b: &f64| (a - b).abs() < 50.0 * f64::EPSILON * b.abs().max(1.0);
        assert!(a.data.iter().zip(&b.data).all(|(a, b)| close(a, b)));
        assert!(first.residual_sums().iter().zip(&whole.residual_sums()).all(|(a, b)| close(a, b)));
        assert!(matches!(first.merge(&Mesa::new(2, 2)), Err(Error::IncompatibleStates { .. })));
    }

    #[test]
    fn dependent_keys_are_named_dropped_or_shared() {
        let mut next = numbers(3);
        let mut mesa = Mesa::new(5, 1);
        for _ in 0..50 {
            let (a, b) = (next(), next());
            // Key 2 is a combination, key 3 is nothing.
            mesa.push(&[a, b, a - 2.0 * b, 0.0, next()], &[a + b], 1.0).unwrap();
        }
        let error = mesa.coefficients(Aliased::Error).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("the design has rank 3 of 5: `key 2` depends on `key 0`, `key 1`"), "{text}");
        assert!(text.contains("`key 3` is zero"), "{text}");
        let dropped = mesa.coefficients(Aliased::Drop).unwrap();
        let expected = [1.0, 1.0, 0.0, 0.0, 0.0];
        for (b, e) in dropped.data.iter().zip(expected) {
            assert!((b - e).abs() < 1e3 * f64::EPSILON, "{:?}", dropped.data);
        }
        // Shortest of all (1, 1) + s (1, −2, −1): s = 1/6.
        let shortest = mesa.coefficients(Aliased::MinNorm).unwrap();
        let expected = [7.0 / 6.0, 4.0 / 6.0, -1.0 / 6.0, 0.0, 0.0];
        for (b, e) in shortest.data.iter().zip(expected) {
            assert!((b - e).abs() < 1e3 * f64::EPSILON, "{:?}", shortest.data);
        }
    }

    #[test]
    fn refusals_leave_the_memory_as_it_was() {
        let mut mesa = Mesa::<f64>::new(2, 1);
        mesa.push(&[1.0, 2.0], &[3.0], 1.0).unwrap();
        let before = mesa.clone();
        assert_eq!(mesa.push(&[1.0], &[3.0], 1.0).unwrap_err().to_string(), "a key has 1 entries, expected 2");
        assert!(matches!(mesa.push(&[1.0, f64::NAN], &[3.0], 1.0), Err(Error::NonFinite { row: 1, column: 1, .. })));
        assert!(matches!(mesa.push(&[1.0, 1.0], &[3.0], -1.0), Err(Error::Weight { row: 1, .. })));
        assert!(matches!(mesa.decay(0.0), Err(Error::Parameter { .. })));
        assert_eq!(mesa, before);
        // One row does not fix two coefficients.
        assert!(matches!(mesa.coefficients(Aliased::Error), Err(Error::RankDeficient { rank: 1, .. })));
    }
}

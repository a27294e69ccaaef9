//! The truth: coefficients, residual sums and inverses as quotients of integers.

use num_bigint::{BigInt, Sign};
use num_traits::{One, Signed, Zero};

use super::cases::{Case, Values};

/// `x = m · 2^e` exactly.
pub fn dyadic(x: f64) -> (BigInt, i64) {
    assert!(x.is_finite());
    let bits = x.to_bits();
    let field = (bits >> 52 & 0x7ff) as i64;
    let fraction = (bits & ((1 << 52) - 1)) as i64;
    let (m, e) = if field == 0 { (fraction, -1074) } else { (fraction | 1 << 52, field - 1075) };
    if m == 0 {
        return (BigInt::zero(), 0);
    }
    let zeros = m.trailing_zeros();
    let odd = m >> zeros;
    (BigInt::from(if bits >> 63 == 1 { -odd } else { odd }), e + zeros as i64)
}

/// `numerator / denominator · 2^exponent`, not reduced; the denominator is positive.
#[derive(Clone, Debug)]
pub struct Fraction {
    pub numerator: BigInt,
    pub denominator: BigInt,
    pub exponent: i64,
}

/// `log₂ |x|` of a nonzero integer, right to about 15 digits.
fn log2(x: &BigInt) -> f64 {
    let shift = x.bits().saturating_sub(64);
    let (_, digits) = (x.abs() >> shift).to_u64_digits();
    (digits[0] as f64).log2() + shift as f64
}

impl Fraction {
    pub fn new(numerator: BigInt, denominator: BigInt, exponent: i64) -> Self {
        assert!(!denominator.is_zero());
        if denominator.is_negative() {
            return Self { numerator: -numerator, denominator: -denominator, exponent };
        }
        Self { numerator, denominator, exponent }
    }

    pub fn of(x: f64) -> Self {
        let (m, e) = dyadic(x);
        Self::new(m, BigInt::one(), e)
    }

    pub fn is_zero(&self) -> bool {
        self.numerator.is_zero()
    }

    pub fn is_negative(&self) -> bool {
        self.numerator.is_negative()
    }

    /// `log₂ |self|`; minus infinity for zero.
    pub fn log2(&self) -> f64 {
        if self.is_zero() {
            return f64::NEG_INFINITY;
        }
        log2(&self.numerator) - log2(&self.denominator) + self.exponent as f64
    }

    /// The number to about 15 digits.
    pub fn to_f64(&self) -> f64 {
        if self.is_zero() {
            return 0.0;
        }
        // 64 more bits in the quotient than in a double; the rest of the exponent goes into a power of two.
        let shift = self.numerator.bits() as i64 - self.denominator.bits() as i64 - 64;
        let quotient = shifted(&self.numerator, (-shift).max(0)) / shifted(&self.denominator, shift.max(0));
        let (sign, digits) = quotient.to_u64_digits();
        let magnitude = digits.iter().rev().fold(0.0, |sum: f64, &word| sum * 2f64.powi(64) + word as f64);
        let exponent = (shift + self.exponent).clamp(-2400, 2400) as i32;
        let value = magnitude * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2);
        if sign == Sign::Minus { -value } else { value }
    }

    pub fn add(&self, other: &Self) -> Self {
        let exponent = self.exponent.min(other.exponent);
        if self.denominator == other.denominator {
            let sum = shifted(&self.numerator, self.exponent - exponent)
                + shifted(&other.numerator, other.exponent - exponent);
            return Self::new(sum, self.denominator.clone(), exponent);
        }
        let left = shifted(&self.numerator, self.exponent - exponent) * &other.denominator;
        let right = shifted(&other.numerator, other.exponent - exponent) * &self.denominator;
        Self::new(left + right, &self.denominator * &other.denominator, exponent)
    }

    pub fn sub(&self, other: &Self) -> Self {
        self.add(&Self { numerator: -&other.numerator, ..other.clone() })
    }

    pub fn mul(&self, other: &Self) -> Self {
        Self::new(
            &self.numerator * &other.numerator,
            &self.denominator * &other.denominator,
            self.exponent + other.exponent,
        )
    }

    pub fn div(&self, other: &Self) -> Self {
        Self::new(
            &self.numerator * &other.denominator,
            &self.denominator * &other.numerator,
            self.exponent - other.exponent,
        )
    }

    /// `log₁₀ (|estimate − self| / |self|)`: minus infinity if equal, plus infinity for any other estimate of zero.
    pub fn error_log10(&self, estimate: f64) -> f64 {
        if !estimate.is_finite() {
            return f64::INFINITY;
        }
        let gap = Self::of(estimate).sub(self);
        if gap.is_zero() {
            return f64::NEG_INFINITY;
        }
        if self.is_zero() {
            return f64::INFINITY;
        }
        (gap.log2() - self.log2()) * std::f64::consts::LOG10_2
    }

    /// Correct decimal digits of an estimate of the square root, between 0 and 15.9.
    pub fn root_digits(&self, estimate: f64) -> f64 {
        if self.is_zero() || !estimate.is_finite() {
            return if estimate == 0.0 { 15.9 } else { 0.0 };
        }
        // (1 + d)² − 1 ≈ 2d
        let square = Self::of(estimate).mul(&Self::of(estimate));
        let gap = square.sub(self);
        if gap.is_zero() {
            15.9
        } else {
            ((self.log2() + 1.0 - gap.log2()) * std::f64::consts::LOG10_2).clamp(0.0, 15.9)
        }
    }

    /// Correct decimal digits of an estimate, between 0 and 15.9. Zero is known to all digits or to none.
    pub fn digits(&self, estimate: f64) -> f64 {
        (-self.error_log10(estimate)).clamp(0.0, 15.9)
    }
}

fn shifted(x: &BigInt, shift: i64) -> BigInt {
    x << usize::try_from(shift).unwrap()
}

/// A column as integers in units of `2^exponent`.
struct Series {
    integers: Vec<BigInt>,
    exponent: i64,
}

impl Series {
    fn of(terms: &[&[f64]]) -> Self {
        let parts: Vec<Vec<(BigInt, i64)>> =
            terms.iter().map(|values| values.iter().map(|&x| dyadic(x)).collect()).collect();
        let exponents = parts.iter().flatten().filter(|(m, _)| !m.is_zero()).map(|(_, e)| *e);
        let exponent = exponents.min().unwrap_or(0);
        let integer = |(m, e): &(BigInt, i64)| if m.is_zero() { BigInt::zero() } else { shifted(m, e - exponent) };
        let rows = terms[0].len();
        let integers = (0..rows).map(|row| parts.iter().map(|part| integer(&part[row])).sum()).collect();
        Self { integers, exponent }
    }

    fn of_values(values: &Values) -> Self {
        match values {
            Values::Dense(x) => Self::of(&[x]),
            Values::Pair(hi, lo) => Self::of(&[hi, lo]),
        }
    }
}

/// The exact regression of a case, the intercept (if any) being coefficient 0.
pub struct Truth {
    /// Coefficients; `None` for columns that depend on earlier ones.
    pub coefficients: Vec<Option<Fraction>>,
    /// Kept coefficients.
    pub kept: Vec<usize>,
    /// Dependent columns and their coefficients on the kept ones before them.
    pub relations: Vec<(usize, Vec<Fraction>)>,
    /// `Σ w e²`.
    pub residual_sum: Fraction,
    /// `(XᵀWX + P)⁻¹` over the kept coefficients.
    pub inverse: Vec<Vec<Fraction>>,
    /// `XᵀWX` over all coefficients.
    pub gram: Vec<Vec<Fraction>>,
    /// Rows with positive weight.
    pub rows: usize,
}

/// The penalty of every coefficient but the intercept.
#[derive(Clone, Copy)]
pub enum Penalty {
    None,
    /// `α`.
    Plain(f64),
    /// `α` times the variance of the column (divisor `Σw`).
    Standardized(f64),
}

impl Truth {
    pub fn of(case: &Case) -> Self {
        Self::penalised(case, Penalty::None)
    }

    pub fn penalised(case: &Case, penalty: Penalty) -> Self {
        let rows = case.rows();
        let ones = vec![1.0; rows];
        let mut columns: Vec<Series> = if case.intercept { vec![Series::of(&[&ones])] } else { Vec::new() };
        columns.extend(case.columns.iter().map(Series::of_values));
        let target = Series::of_values(&case.target);
        let weights = Series::of(&[case.weights.as_deref().unwrap_or(&ones)]);
        let product = |a: &Series, b: &Series| -> BigInt {
            let factors = a.integers.iter().zip(&b.integers).zip(&weights.integers);
            factors.map(|((x, y), w)| x * y * w).sum()
        };
        let size = columns.len();
        let gram: Vec<Vec<BigInt>> = columns.iter().map(|a| columns.iter().map(|b| product(a, b)).collect()).collect();
        let cross: Vec<BigInt> = columns.iter().map(|a| product(a, &target)).collect();
        let square = product(&target, &target);
        let exponents: Vec<i64> = columns.iter().map(|c| c.exponent).collect();
        let (penalties, factor) = penalties(case, penalty, &gram, &exponents, &weights);

        // (F·G + P) β = F·c, beside F·I for the inverse.
        let mut system: Vec<Vec<BigInt>> = (0..size)
            .map(|i| {
                let mut row: Vec<BigInt> = gram[i].iter().map(|g| g * &factor).collect();
                row[i] += &penalties[i];
                row.push(&cross[i] * &factor);
                row.extend((0..size).map(|j| if i == j { factor.clone() } else { BigInt::zero() }));
                row
            })
            .collect();
        let (kept, relations, determinant) = eliminate(&mut system, size);

        let coefficient =
            |i: usize| Fraction::new(system[i][size].clone(), determinant.clone(), target.exponent - exponents[i]);
        // Cβ = c − Pβ, so the residual sum yy − 2βᵀc + βᵀCβ is yy − βᵀc − βᵀPβ.
        let unit = 2 * target.exponent + weights.exponent;
        let mut residual_sum = Fraction::new(square, BigInt::one(), unit);
        for &i in &kept {
            let beta = &system[i][size];
            let used = beta * (&cross[i] * &determinant * &factor + beta * &penalties[i]);
            residual_sum = residual_sum.sub(&Fraction::new(used, &determinant * &determinant * &factor, unit));
        }
        let inverse = kept
            .iter()
            .map(|&i| {
                let entry = |&j: &usize| {
                    let unit = -(exponents[i] + exponents[j] + weights.exponent);
                    Fraction::new(system[i][size + 1 + j].clone(), determinant.clone(), unit)
                };
                kept.iter().map(entry).collect()
            })
            .collect();
        let relations = relations
            .into_iter()
            .map(|(column, values, scale)| {
                let on = kept.iter().filter(|&&i| i < column).zip(values);
                let on = on.map(|(&i, v)| Fraction::new(v, scale.clone(), exponents[column] - exponents[i]));
                (column, on.collect())
            })
            .collect();
        let gram = (0..size)
            .map(|i| {
                let entry = |j: usize| {
                    Fraction::new(gram[i][j].clone(), BigInt::one(), exponents[i] + exponents[j] + weights.exponent)
                };
                (0..size).map(entry).collect()
            })
            .collect();
        let coefficients = (0..size).map(|i| kept.contains(&i).then(|| coefficient(i))).collect();
        let rows = weights.integers.iter().filter(|w| !w.is_zero()).count();
        Self { coefficients, kept, relations, residual_sum, inverse, gram, rows }
    }

    /// The standard error squared of every kept coefficient, in the order of `kept`; `None` without residual degrees of
    /// freedom.
    pub fn variances(&self) -> Option<Vec<Fraction>> {
        let df = self.rows.checked_sub(self.kept.len()).filter(|df| *df > 0)?;
        let variance = self.residual_sum.div(&Fraction::of(df as f64));
        Some((0..self.kept.len()).map(|i| self.inverse[i][i].mul(&variance)).collect())
    }

    /// `tr((XᵀWX + P)⁻¹ XᵀWX)`, the trace of the hat matrix.
    pub fn trace(&self) -> Fraction {
        let mut sum = Fraction::of(0.0);
        for (a, &i) in self.kept.iter().enumerate() {
            for (b, &j) in self.kept.iter().enumerate() {
                sum = sum.add(&self.inverse[a][b].mul(&self.gram[j][i]));
            }
        }
        sum
    }

    /// `log₁₀` of the condition of the column-scaled design over the kept coefficients, within a factor of 1.01.
    pub fn condition_log10(&self) -> f64 {
        let size = self.kept.len();
        if size == 0 {
            return 0.0;
        }
        let half: Vec<f64> = self.kept.iter().map(|&i| self.gram[i][i].log2() / 2.0).collect();
        // Entries as (sign, log₂), so that neither range nor scale matters.
        let signed = |f: &Fraction, log: f64| if f.is_negative() { (-1.0, log) } else { (1.0, log) };
        let direct = |a: usize, b: usize| {
            let entry = &self.gram[self.kept[a]][self.kept[b]];
            signed(entry, entry.log2() - half[a] - half[b])
        };
        let inverse = |a: usize, b: usize| {
            let entry = &self.inverse[a][b];
            signed(entry, entry.log2() + half[a] + half[b])
        };
        0.5 * std::f64::consts::LOG10_2 * (largest_log2(size, direct) + largest_log2(size, inverse))
    }
}

/// Penalties in units of the integer Gram matrix times the common factor returned.
fn penalties(
    case: &Case,
    penalty: Penalty,
    gram: &[Vec<BigInt>],
    exponents: &[i64],
    weights: &Series,
) -> (Vec<BigInt>, BigInt) {
    let size = gram.len();
    let first = case.intercept as usize;
    let (alpha, standardized) = match penalty {
        Penalty::None => return (vec![BigInt::zero(); size], BigInt::one()),
        Penalty::Plain(alpha) => (alpha, false),
        Penalty::Standardized(alpha) => (alpha, true),
    };
    let (m, e) = dyadic(alpha);
    let total: BigInt = weights.integers.iter().sum();
    // The penalty is m · 2^e · C / T² in units of the Gram matrix, with C = T·G − s² (or T·G) and T = Σw as integers.
    let parts: Vec<(BigInt, i64)> = (0..size)
        .map(|i| {
            if i < first {
                return (BigInt::zero(), 0);
            }
            if !standardized {
                return (&m * &total * &total, e - 2 * exponents[i] - weights.exponent);
            }
            let centred =
                if first == 1 { &total * &gram[i][i] - &gram[0][i] * &gram[0][i] } else { &total * &gram[i][i] };
            (&m * centred, e - weights.exponent)
        })
        .collect();
    let lowest = parts.iter().map(|(_, e)| *e).min().unwrap_or(0).min(0);
    let values = parts.iter().map(|(p, e)| if p.is_zero() { BigInt::zero() } else { shifted(p, e - lowest) }).collect();
    (values, shifted(&(&total * &total), -lowest))
}

/// Fraction-free Gauss–Jordan elimination of a positive semidefinite system in the order of its columns: the columns
/// kept, the dependent ones with their coefficients on the kept ones before (over the scale given), and the determinant
/// that every diagonal entry ends as.
#[allow(clippy::type_complexity)]
fn eliminate(system: &mut [Vec<BigInt>], size: usize) -> (Vec<usize>, Vec<(usize, Vec<BigInt>, BigInt)>, BigInt) {
    let mut kept: Vec<usize> = Vec::new();
    let mut relations = Vec::new();
    let mut dropped = vec![false; size];
    let mut previous = BigInt::one();
    for k in 0..size {
        let pivot_row = system[k].clone();
        let pivot = pivot_row[k].clone();
        if pivot.is_zero() {
            dropped[k] = true;
            relations.push((k, kept.iter().map(|&i| system[i][k].clone()).collect(), previous.clone()));
            continue;
        }
        assert!(pivot.is_positive());
        for (i, row) in system.iter_mut().enumerate().filter(|(i, _)| *i != k && !dropped[*i]) {
            let factor = row[k].clone();
            for (j, entry) in row.iter_mut().enumerate() {
                // Columns that were eliminated are known: pivot times the unit vector.
                if j < k && kept.contains(&j) {
                    *entry = if i == j { pivot.clone() } else { BigInt::zero() };
                    continue;
                }
                *entry = (&pivot * &*entry - &factor * &pivot_row[j]) / &previous;
            }
        }
        previous = pivot;
        kept.push(k);
    }
    (kept, relations, previous)
}

/// `log₂` of the largest eigenvalue of a positive semidefinite matrix given by signs and logarithms: the trace of its
/// 2¹⁶th power, by repeated squaring.
fn largest_log2(size: usize, entry: impl Fn(usize, usize) -> (f64, f64)) -> f64 {
    let top = (0..size).map(|i| entry(i, i).1).fold(f64::NEG_INFINITY, f64::max);
    let mut matrix: Vec<f64> = (0..size * size)
        .map(|k| {
            let (sign, log) = entry(k / size, k % size);
            sign * (log - top).exp2()
        })
        .collect();
    let mut log = top;
    let mut power = 1.0;
    for _ in 0..16 {
        let mut next = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..size {
                next[i * size + j] = (0..size).map(|k| matrix[i * size + k] * matrix[k * size + j]).sum();
            }
        }
        power *= 2.0;
        let scale = (0..size).map(|i| next[i * size + i]).fold(0.0, f64::max);
        next.iter_mut().for_each(|x| *x /= scale);
        log += scale.log2() / power;
        matrix = next;
    }
    let trace: f64 = (0..size).map(|i| matrix[i * size + i]).sum();
    log + trace.log2() / power
}

//! Reading the state in floating point: centred sums without cancellation.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::accumulator::Accumulator;
use super::float::Float;
use super::wide;
use crate::interrupt::checked;
use crate::moments::{Moments, Taken};

/// A column formed of those of the state's table: `Σ factor · column`.
pub(crate) type Combination<const N: usize> = Vec<(usize, Float<N>)>;

/// Where formed columns begin: a state has fewer columns of its own.
pub(crate) const FORMED: usize = 1 << 31;

/// Columns worth a trip to other threads.
const PARALLEL_FROM: usize = 48;

/// The state's sums about the means (or about zero), in `64 N` bits.
///
/// Columns `FORMED ..` are combinations of the others. What is read of them carries the rounding of the sum that it is:
/// `u` times [`Centred::reach`] where a column of the table has `u` times its length.
pub(crate) struct Centred<'a, const N: usize> {
    sums: &'a Accumulator,
    intercept: bool,
    /// `Σ wᵢ` as an integer, and its exponent.
    total: (Vec<u64>, i32),
    total_reciprocal: Float<N>,
    formed: &'a [Combination<N>],
    products: Products<N>,
    /// Of a state of residuals, what was taken out and how well.
    taken: Option<&'a Taken>,
}

/// The centred products among the columns that others are formed of.
struct Products<const N: usize> {
    /// The place of a column of the table.
    places: BTreeMap<usize, usize>,
    /// Lower triangle, by rows.
    values: Vec<Float<N>>,
}

impl<'a, const N: usize> Centred<'a, N> {
    /// A reader of the table whose column 0 is the constant; it must have positive total weight.
    pub(crate) fn new(sums: &'a Accumulator, intercept: bool) -> Self {
        let (words, exponent) = sums.entry(0, 0).unwrap_or((&[], 0));
        let total = (words.to_vec(), exponent);
        let value = Float::<N>::from_wide(&total.0, total.1 as i64);
        let total_reciprocal = if value.is_zero() { Float::ZERO } else { value.reciprocal() };
        let products = Products { places: BTreeMap::new(), values: Vec::new() };
        Self { sums, intercept, total, total_reciprocal, formed: &[], products, taken: None }
    }

    /// The same reader, with columns that are formed.
    pub(crate) fn with_formed(mut self, formed: &'a [Combination<N>]) -> Self {
        self.formed = formed;
        self
    }

    /// The same reader, with what is known of the state's errors.
    pub(crate) fn with_errors(mut self, moments: &'a Moments) -> Self {
        self.taken = moments.taken.as_deref();
        self
    }

    /// The length of a column of the table about zero, before effects were taken out.
    pub(crate) fn length(&self, a: usize) -> Float<N> {
        let before = self.taken.and_then(|taken| taken.lengths.get(a));
        before.map_or_else(|| self.raw(a, a).sqrt(), |length| length.resize())
    }

    /// What a column of the table is off by, in length: zero, but for residuals.
    pub(crate) fn error(&self, a: usize) -> Float<N> {
        self.taken.and_then(|taken| taken.errors.get(a)).map_or(Float::ZERO, |error| error.resize())
    }

    /// The same relative to [`Centred::length`].
    pub(crate) fn error_relative(&self, a: usize) -> f64 {
        let (error, length) = (self.error(a), self.length(a));
        if error.is_zero() || length.is_zero() { 0.0 } else { (error * length.reciprocal()).to_f64() }
    }

    /// The formed columns.
    pub(crate) fn formed(&self) -> &'a [Combination<N>] {
        self.formed
    }

    /// Looks up the products that formed columns share, once for all.
    pub(crate) fn with_products(mut self) -> Self {
        let mut parts: Vec<usize> = self.formed.iter().flatten().map(|(c, _)| *c).collect();
        parts.sort_unstable();
        parts.dedup();
        let row = |i: usize| -> Vec<Float<N>> { (0..=i).map(|j| self.stored_product(parts[i], parts[j])).collect() };
        let rows: Vec<Vec<Float<N>>> = if parts.len() >= PARALLEL_FROM {
            (0..parts.len()).into_par_iter().map(checked(row)).collect()
        } else {
            (0..parts.len()).map(row).collect()
        };
        self.products = Products { places: parts.into_iter().zip(0..).collect(), values: rows.concat() };
        self
    }

    /// The terms of a formed column; `None` for one of the table.
    pub(crate) fn terms(&self, a: usize) -> Option<&'a [(usize, Float<N>)]> {
        a.checked_sub(FORMED).map(|place| self.formed[place].as_slice())
    }

    /// `Σ wᵢ`.
    pub(crate) fn total(&self) -> Float<N> {
        Float::from_wide(&self.total.0, self.total.1 as i64)
    }

    /// `Σ wᵢ aᵢ bᵢ` of table columns `a` and `b`.
    pub(crate) fn raw(&self, a: usize, b: usize) -> Float<N> {
        if a >= FORMED || b >= FORMED {
            let centred = self.product(a, b);
            return if self.intercept { centred + self.total() * self.mean(a) * self.mean(b) } else { centred };
        }
        self.sums.entry(a, b).map_or(Float::ZERO, |(words, exponent)| Float::from_wide(words, exponent as i64))
    }

    /// `Σ wᵢ aᵢ bᵢ`, less `Σ wᵢ aᵢ Σ wᵢ bᵢ / Σ wᵢ` with an intercept.
    pub(crate) fn product(&self, a: usize, b: usize) -> Float<N> {
        match (self.terms(a), self.terms(b)) {
            (None, None) => self.stored_product(a, b),
            (Some(terms), None) => terms.iter().fold(Float::ZERO, |sum, (c, f)| sum + *f * self.stored_product(*c, b)),
            (None, Some(_)) => self.product(b, a),
            (Some(left), Some(right)) => left.iter().fold(Float::ZERO, |sum, (c, f)| {
                sum + *f * right.iter().fold(Float::ZERO, |inner, (d, g)| inner + *g * self.shared_product(*c, *d))
            }),
        }
    }

    fn shared_product(&self, a: usize, b: usize) -> Float<N> {
        let places = &self.products.places;
        match (places.get(&a), places.get(&b)) {
            (Some(&i), Some(&j)) => self.products.values[i.max(j) * (i.max(j) + 1) / 2 + i.min(j)],
            _ => self.stored_product(a, b),
        }
    }

    /// The numerator is formed exactly, as an integer.
    fn stored_product(&self, a: usize, b: usize) -> Float<N> {
        let Some((words, exponent)) = self.sums.entry(a, b) else {
            return Float::ZERO;
        };
        if !self.intercept {
            return Float::from_wide(words, exponent as i64);
        }
        let length = 2 * words.len() + 1;
        let value = wide::with_zeros(2 * length, |space| {
            let (numerator, product) = space.split_at_mut(length);
            wide::multiply(numerator, trim(words), trim(&self.total.0));
            if let (Some((left, _)), Some((right, _))) = (self.sums.entry(0, a), self.sums.entry(0, b)) {
                wide::multiply(product, trim(left), trim(right));
                wide::add_shifted(numerator, product, 0, true);
            }
            Float::from_signed(numerator, exponent as i64 + self.total.1 as i64)
        });
        value * self.total_reciprocal
    }

    /// The mean of a column with an intercept; zero without.
    pub(crate) fn mean(&self, a: usize) -> Float<N> {
        match self.terms(a) {
            Some(terms) => terms.iter().fold(Float::ZERO, |sum, (c, factor)| sum + *factor * self.mean(*c)),
            None if self.intercept => self.raw(0, a) * self.total_reciprocal,
            None => Float::ZERO,
        }
    }

    /// The length of a column; of a formed one `Σ |factor| · length`, which is what its rounding is relative to.
    pub(crate) fn reach(&self, a: usize) -> Float<N> {
        let length = |c: usize| self.shared_product(c, c).abs().sqrt();
        self.terms(a).map_or_else(|| length(a), |terms| sum_of_sizes(terms, length))
    }

    /// As [`Centred::reach`], for the mean.
    pub(crate) fn mean_reach(&self, a: usize) -> Float<N> {
        let size = |c: usize| self.mean(c).abs();
        self.terms(a).map_or_else(|| size(a), |terms| sum_of_sizes(terms, size))
    }
}

/// `Σ |factor| · size`.
pub(crate) fn sum_of_sizes<const N: usize>(terms: &[(usize, Float<N>)], size: impl Fn(usize) -> Float<N>) -> Float<N> {
    terms.iter().fold(Float::ZERO, |sum, (c, factor)| sum + factor.abs() * size(*c))
}

/// The number without words that only repeat its sign.
fn trim(words: &[u64]) -> &[u64] {
    let mut length = words.len();
    while length > 1 {
        let sign = if words[length - 2] >> 63 == 1 { u64::MAX } else { 0 };
        if words[length - 1] != sign {
            break;
        }
        length -= 1;
    }
    &words[..length]
}

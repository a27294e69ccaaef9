//! Reading the state in floating point: centred sums without cancellation.

use super::accumulator::Accumulator;
use super::float::Float;
use super::wide;

/// The state's sums about the means (or about zero), in `64 N` bits.
pub(crate) struct Centred<'a, const N: usize> {
    sums: &'a Accumulator,
    intercept: bool,
    /// `Σ wᵢ` as an integer, and its exponent.
    total: (Vec<u64>, i32),
    total_reciprocal: Float<N>,
}

impl<'a, const N: usize> Centred<'a, N> {
    /// A reader of the table whose column 0 is the constant; it must have positive total weight.
    pub(crate) fn new(sums: &'a Accumulator, intercept: bool) -> Self {
        let (words, exponent) = sums.entry(0, 0).unwrap_or((&[], 0));
        let total = (words.to_vec(), exponent);
        let value = Float::<N>::from_wide(&total.0, total.1 as i64);
        let total_reciprocal = if value.is_zero() { Float::ZERO } else { value.reciprocal() };
        Self { sums, intercept, total, total_reciprocal }
    }

    /// `Σ wᵢ`.
    pub(crate) fn total(&self) -> Float<N> {
        Float::from_wide(&self.total.0, self.total.1 as i64)
    }

    /// `Σ wᵢ aᵢ bᵢ` of table columns `a` and `b`.
    pub(crate) fn raw(&self, a: usize, b: usize) -> Float<N> {
        self.sums.entry(a, b).map_or(Float::ZERO, |(words, exponent)| Float::from_wide(words, exponent as i64))
    }

    /// `Σ wᵢ aᵢ bᵢ`, less `Σ wᵢ aᵢ Σ wᵢ bᵢ / Σ wᵢ` with an intercept: the numerator is formed exactly, as an integer.
    pub(crate) fn product(&self, a: usize, b: usize) -> Float<N> {
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
        if self.intercept { self.raw(0, a) * self.total_reciprocal } else { Float::ZERO }
    }
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

//! What a memory keeps of rows that have decayed: sums in doubled arithmetic.

use crate::double_double::DoubleDouble;
use crate::exact::centred::Centred;

/// Decayed sums of products of the constant, the keys and the targets, beside the exact sums of the rows since.
///
/// Exact sums are integers times powers of two and cannot take a factor such as 0.9 any number of times; pairs of
/// doubles can, at `2⁻¹⁰⁴` a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Older {
    /// Lower triangle by rows; empty before the first decay.
    sums: Vec<DoubleDouble>,
    /// Names the factors so far, in their order; 0 before the first.
    pub(super) clock: u64,
    /// Rows that have decayed.
    pub(super) rows: u64,
}

impl Older {
    /// Whether some rows have decayed.
    pub(super) fn is_any(&self) -> bool {
        !self.sums.is_empty()
    }

    /// Whether doubles hold every sum.
    pub(super) fn is_finite(&self) -> bool {
        self.sums.iter().all(|sum| sum.hi.is_finite() && sum.lo.is_finite())
    }

    /// The sum of a pair of columns.
    pub(super) fn at(&self, i: usize, j: usize) -> DoubleDouble {
        let (i, j) = (i.max(j), i.min(j));
        self.sums.get(i * (i + 1) / 2 + j).copied().unwrap_or_default()
    }

    /// Takes in the exact sums of so many rows, and lets everything decay.
    pub(super) fn decay(&mut self, recent: &Centred<'_, 4>, rows: u64, columns: usize, factor: f64) {
        self.add(recent, columns, DoubleDouble::ONE);
        let factor_pair = DoubleDouble::from(factor);
        self.sums.iter_mut().for_each(|sum| *sum = *sum * factor_pair);
        self.rows += rows;
        // (SplitMix64's finaliser; zero is kept for "never".)
        let mixed = (self.clock ^ factor.to_bits()).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.clock = (mixed ^ (mixed >> 31)).max(1);
    }

    /// Adds exact sums times a factor.
    pub(super) fn add(&mut self, sums: &Centred<'_, 4>, columns: usize, factor: DoubleDouble) {
        self.sums.resize(columns * (columns + 1) / 2, DoubleDouble::ZERO);
        let places = (0..columns).flat_map(|i| (0..=i).map(move |j| (i, j)));
        for (sum, (i, j)) in self.sums.iter_mut().zip(places) {
            *sum = *sum + sums.raw(i, j).to_double_double() * factor;
        }
    }

    /// Adds another's sums, of rows that have decayed alike, or not yet.
    pub(super) fn merge(&mut self, other: &Self) {
        self.sums.resize(self.sums.len().max(other.sums.len()), DoubleDouble::ZERO);
        self.sums.iter_mut().zip(&other.sums).for_each(|(mine, theirs)| *mine = *mine + *theirs);
        self.rows += other.rows;
        self.clock = self.clock.max(other.clock);
    }

    /// Takes out another's sums.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.sums.resize(self.sums.len().max(other.sums.len()), DoubleDouble::ZERO);
        self.sums.iter_mut().zip(&other.sums).for_each(|(mine, theirs)| *mine = *mine - *theirs);
        self.rows -= other.rows;
    }
}

//! Exact sums within levels: one wide integer a level, whatever the order of the rows.

use super::wide;

/// Room for 2⁴⁴ rows, and the sign.
const ROW_BITS: i32 = 45;
/// Grids start at multiples of this many bits, so that a slowly growing range rarely moves the table.
const GRID_STEP: i32 = 32;

/// An integer times a power of two.
pub(crate) type Scaled = (i128, i32);

/// The sums of one column within levels, in units of `2^low`.
#[derive(Clone, Debug, Default)]
pub(crate) struct LevelSums {
    low: i32,
    top: i32,
    /// Words a level; none before the first number that is not zero.
    words: usize,
    data: Vec<u64>,
}

/// The exponents `low` and `top` with every number a multiple of `2^low` below `2^top`; `None` for zeros.
pub(crate) fn range(numbers: &[Scaled]) -> Option<(i32, i32)> {
    let used = numbers.iter().filter(|(m, _)| *m != 0);
    let ends = used.map(|&(m, e)| (e, e + 128 - m.unsigned_abs().leading_zeros() as i32));
    ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

impl LevelSums {
    /// Makes room for so many levels, and for numbers of a range.
    pub(crate) fn reserve(&mut self, levels: usize, (low, top): (i32, i32)) {
        let low = low.div_euclid(GRID_STEP) * GRID_STEP;
        let (low, top) = if self.words == 0 { (low, top) } else { (low.min(self.low), top.max(self.top)) };
        let words = self.words.max((top - low + ROW_BITS).div_euclid(64) as usize + 1);
        let levels = levels.max(self.levels());
        if words == self.words && low == self.low {
            self.top = top;
            self.data.resize(levels * words, 0);
            return;
        }
        let mut next = Self { low, top, words, data: vec![0; levels * words] };
        for level in 0..self.levels() {
            let value = &self.data[level * self.words..][..self.words];
            wide::add_shifted(next.at(level), value, (self.low - low) as usize, false);
        }
        *self = next;
    }

    /// Levels there is room for.
    pub(crate) fn levels(&self) -> usize {
        self.data.len().checked_div(self.words).unwrap_or(0)
    }

    fn at(&mut self, level: usize) -> &mut [u64] {
        &mut self.data[level * self.words..][..self.words]
    }

    /// Adds a number whose level and range were reserved.
    #[inline]
    pub(crate) fn add(&mut self, level: usize, (value, exponent): Scaled) {
        if value == 0 {
            return;
        }
        let shift = (exponent - self.low) as usize;
        match self.at(level) {
            // (Two words hold the sum, so nothing is lost to the left.)
            [low, high] => {
                let sum = (*low as u128 | (*high as u128) << 64).wrapping_add((value as u128) << shift);
                (*low, *high) = (sum as u64, (sum >> 64) as u64);
            }
            target => wide::add_shifted(target, &[value as u64, (value >> 64) as u64], shift, false),
        }
    }

    /// Adds the sums of another table, its level `l` to this one's level `place(l)`.
    pub(crate) fn merge(&mut self, other: &Self, levels: usize, place: impl Fn(usize) -> usize) {
        if other.words == 0 {
            return;
        }
        self.reserve(levels, (other.low, other.top));
        let shift = (other.low - self.low) as usize;
        for level in 0..other.levels() {
            let value = &other.data[level * other.words..][..other.words];
            wide::add_shifted(self.at(place(level)), value, shift, false);
        }
    }

    /// The sum of a level: a signed integer and the exponent of its unit; `None` where it must be zero.
    pub(crate) fn entry(&self, level: usize) -> Option<(&[u64], i32)> {
        let words = (level < self.levels()).then(|| &self.data[level * self.words..][..self.words])?;
        (!wide::is_zero(words)).then_some((words, self.low))
    }

    /// Heap memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        8 * self.data.len()
    }
}

impl PartialEq for LevelSums {
    /// Equal numbers are equal, whatever range the table has room for; absent levels are zeros.
    fn eq(&self, other: &Self) -> bool {
        let value = |table: &Self, level: usize| table.entry(level).map(|(words, e)| wide::canonical(words, e));
        (0..self.levels().max(other.levels())).all(|level| value(self, level) == value(other, level))
    }
}

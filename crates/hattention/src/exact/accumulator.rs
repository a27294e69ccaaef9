//! A symmetric table of wide integers: the sums of all products of columns.

use super::wide;

/// Room for 2⁴⁴ rows, and the sign.
const ROW_BITS: i32 = 45;
/// Grids start at multiples of this many bits, so that a slowly growing range rarely moves the table.
pub(crate) const GRID_STEP: i32 = 32;

/// The upper triangle of `Σᵢ aᵢ bᵢ` over all pairs of columns, entry `(i, j)` in units of `2^(grid[i] + grid[j])`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accumulator {
    /// Exponent of the last bit of every column; `None` for one that was always zero.
    grid: Vec<Option<i32>>,
    /// Every magnitude of the column is below `2^top`.
    top: Vec<i32>,
    /// Words an entry.
    words: usize,
    /// Entries `(i, j)`, `i ≤ j`, at `j (j + 1) / 2 + i`, so that new columns append.
    data: Vec<u64>,
}

/// The range a column needs: multiples of `2^low` below `2^top`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) low: i32,
    pub(crate) top: i32,
}

impl Accumulator {
    pub(crate) fn new(columns: usize) -> Self {
        Self { grid: vec![None; columns], top: vec![i32::MIN; columns], words: 1, data: vec![0; pairs(columns)] }
    }

    pub(crate) fn columns(&self) -> usize {
        self.grid.len()
    }

    /// Makes room for `columns` columns and the given ranges of some of them.
    pub(crate) fn reserve(&mut self, columns: usize, ranges: impl Iterator<Item = (usize, Range)>) {
        let mut next = Self { grid: self.grid.clone(), top: self.top.clone(), words: self.words, data: Vec::new() };
        let columns = columns.max(self.columns());
        next.grid.resize(columns, None);
        next.top.resize(columns, i32::MIN);
        for (column, range) in ranges {
            let low = range.low.div_euclid(GRID_STEP) * GRID_STEP;
            next.grid[column] = Some(next.grid[column].map_or(low, |grid| grid.min(low)));
            next.top[column] = next.top[column].max(range.top);
        }
        let span = next.grid.iter().zip(&next.top).filter_map(|(grid, top)| grid.map(|g| top - g)).max().unwrap_or(0);
        next.words = next.words.max((2 * span + ROW_BITS).div_euclid(64) as usize + 1);
        if next.words == self.words && next.grid[..self.columns()] == self.grid[..] {
            self.data.resize(pairs(columns) * self.words, 0);
            (self.grid, self.top) = (next.grid, next.top);
            return;
        }
        next.data = vec![0; pairs(columns) * next.words];
        next.add(self, false);
        *self = next;
    }

    /// Adds (or subtracts) another table whose columns and ranges this one already holds.
    fn add(&mut self, other: &Self, negate: bool) {
        for j in 0..other.columns() {
            for i in 0..=j {
                if let (Some(value), Some(shift)) = (other.words_of(i, j), self.shift_of(other, i, j)) {
                    self.add_words(i, j, value, shift, negate);
                }
            }
        }
    }

    fn shift_of(&self, other: &Self, i: usize, j: usize) -> Option<usize> {
        let moved = |column: usize| Some(other.grid[column]? - self.grid[column]?);
        Some((moved(i)? + moved(j)?) as usize)
    }

    /// Adds (or subtracts) every entry of another table.
    pub(crate) fn merge(&mut self, other: &Self, negate: bool) {
        let ranges = other.grid.iter().zip(&other.top).enumerate();
        self.reserve(
            other.columns(),
            ranges.filter_map(|(column, (grid, top))| grid.map(|low| (column, Range { low, top: *top }))),
        );
        self.add(other, negate);
    }

    /// Adds (or subtracts) `value · 2^exponent` to entry `(i, j)`, whose range was reserved.
    pub(crate) fn deposit(&mut self, i: usize, j: usize, value: &[u64], exponent: i32, negate: bool) {
        if let (Some(a), Some(b)) = (self.grid[i], self.grid[j]) {
            self.add_words(i, j, value, (exponent - a - b) as usize, negate);
        }
    }

    fn add_words(&mut self, i: usize, j: usize, value: &[u64], shift: usize, negate: bool) {
        let start = (pairs(i.max(j)) + i.min(j)) * self.words;
        wide::add_shifted(&mut self.data[start..start + self.words], value, shift, negate);
    }

    fn words_of(&self, i: usize, j: usize) -> Option<&[u64]> {
        let (i, j) = (i.min(j), i.max(j));
        (self.grid[i].is_some() && self.grid[j].is_some()).then(|| {
            let start = (pairs(j) + i) * self.words;
            &self.data[start..start + self.words]
        })
    }

    /// Entry `(i, j)`: a signed integer and the exponent of its unit; `None` where it must be zero.
    pub(crate) fn entry(&self, i: usize, j: usize) -> Option<(&[u64], i32)> {
        Some((self.words_of(i, j)?, self.grid[i]? + self.grid[j]?))
    }

    /// The entry in a form that depends on its value only: odd integer (or nothing for zero), exponent.
    pub(crate) fn canonical(&self, i: usize, j: usize) -> (Vec<u64>, i32) {
        match self.entry(i, j) {
            Some((words, exponent)) if !wide::is_zero(words) => wide::canonical(words, exponent),
            _ => (Vec::new(), 0),
        }
    }

    /// Whether `Σw Σwa² < (Σwa)²`, column 0 being the constant: no rows have such sums.
    pub(crate) fn centred_square_is_negative(&self, column: usize) -> bool {
        let (Some((total, _)), Some((sum, _)), Some((square, _))) =
            (self.entry(0, 0), self.entry(0, column), self.entry(column, column))
        else {
            return false;
        };
        // Both are in units of 2^(2 (grid of the constant + grid of the column)).
        let mut difference = vec![0u64; 2 * self.words + 1];
        let mut subtrahend = difference.clone();
        wide::multiply(&mut difference, total, square);
        wide::multiply(&mut subtrahend, sum, sum);
        wide::add_shifted(&mut difference, &subtrahend, 0, true);
        wide::is_negative(&difference)
    }

    /// The table of the given columns, in their order.
    pub(crate) fn select(&self, columns: &[usize]) -> Self {
        let mut next = Self {
            grid: columns.iter().map(|&c| self.grid[c]).collect(),
            top: columns.iter().map(|&c| self.top[c]).collect(),
            words: self.words,
            data: vec![0; pairs(columns.len()) * self.words],
        };
        for (j, &b) in columns.iter().enumerate() {
            for (i, &a) in columns[..=j].iter().enumerate() {
                if let Some(value) = self.words_of(a, b) {
                    next.add_words(i, j, value, 0, false);
                }
            }
        }
        next
    }

    /// Heap memory of the table in bytes.
    pub(crate) fn bytes(&self) -> usize {
        8 * self.data.len()
    }
}

/// Pairs `(i, j)` with `i ≤ j < columns`.
pub(crate) fn pairs(columns: usize) -> usize {
    columns * (columns + 1) / 2
}

impl PartialEq for Accumulator {
    /// Equal numbers are equal, whatever range the table has room for; absent columns are zeros.
    fn eq(&self, other: &Self) -> bool {
        let columns = self.columns().max(other.columns());
        let value = |table: &Self, i: usize, j: usize| {
            if j < table.columns() { table.canonical(i, j) } else { (Vec::new(), 0) }
        };
        (0..columns).all(|j| (0..=j).all(|i| value(self, i, j) == value(other, i, j)))
    }
}

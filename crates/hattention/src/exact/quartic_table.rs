//! A symmetric table of wide integers: the sums of all products of four columns.

use super::accumulator::Range;
use super::stored::{Entries, Fault, LARGEST_BYTES, length, values};
use super::wide;

/// Room for 2⁴⁴ rows, and the sign.
const ROW_BITS: i32 = 45;
/// Grids start at multiples of this many bits. (There are four of them in an entry.)
const GRID_STEP: i32 = 8;

/// `Σ w² a b c d` over all multisets of four columns, entry `(i, j, k, l)` in units of
/// `2^(grid[i] + grid[j] + grid[k] + grid[l] + 2 weight.low)`.
#[derive(Clone, Debug)]
pub(crate) struct QuarticTable {
    /// Exponent of the last bit of every column; `None` for one that was always zero.
    grid: Vec<Option<i32>>,
    /// Every magnitude of the column is below `2^top`.
    top: Vec<i32>,
    /// That of the weights.
    weight: Range,
    /// Words an entry.
    words: usize,
    /// Entries `i ≤ j ≤ k ≤ l` at [`place`], so that new columns append.
    data: Vec<u64>,
}

/// Multisets of four of so many columns.
pub(crate) fn fours(columns: usize) -> usize {
    columns * (columns + 1) / 2 * (columns + 2) / 3 * (columns + 3) / 4
}

/// Where the entry of columns in ascending order stands.
pub(crate) fn place([i, j, k, l]: [usize; 4]) -> usize {
    fours(l) + k * (k + 1) / 2 * (k + 2) / 3 + j * (j + 1) / 2 + i
}

/// All entries `i ≤ j ≤ k ≤ l`, in the order of their places.
pub(crate) fn entries_of(columns: usize) -> impl Iterator<Item = [usize; 4]> {
    (0..columns).flat_map(entries_below)
}

impl QuarticTable {
    pub(crate) fn new(columns: usize) -> Self {
        Self {
            grid: vec![None; columns],
            top: vec![i32::MIN; columns],
            weight: Range { low: 0, top: 1 },
            words: 1,
            data: vec![0; fours(columns)],
        }
    }

    pub(crate) fn columns(&self) -> usize {
        self.grid.len()
    }

    /// Heap memory of the table in bytes.
    pub(crate) fn bytes(&self) -> usize {
        8 * self.data.len()
    }

    /// Makes room for `columns` columns, the given ranges of some of them, and that of the weights.
    pub(crate) fn reserve(&mut self, columns: usize, ranges: impl Iterator<Item = (usize, Range)>, weight: Range) {
        let columns = columns.max(self.columns());
        let mut next = Self { data: Vec::new(), grid: self.grid.clone(), top: self.top.clone(), ..*self };
        next.grid.resize(columns, None);
        next.top.resize(columns, i32::MIN);
        next.weight = Range { low: self.weight.low.min(weight.low), top: self.weight.top.max(weight.top) };
        for (column, range) in ranges {
            let low = range.low.div_euclid(GRID_STEP) * GRID_STEP;
            next.grid[column] = Some(next.grid[column].map_or(low, |grid| grid.min(low)));
            next.top[column] = next.top[column].max(range.top);
        }
        let span = next.grid.iter().zip(&next.top).filter_map(|(grid, top)| grid.map(|g| top - g)).max().unwrap_or(0);
        let bits = 4 * span + 2 * (next.weight.top - next.weight.low) + ROW_BITS;
        next.words = next.words.max(bits.div_euclid(64) as usize + 1);
        let same_units = next.weight.low == self.weight.low && next.grid[..self.columns()] == self.grid[..];
        if next.words == self.words && same_units {
            self.data.resize(fours(columns) * self.words, 0);
            next.data = std::mem::take(&mut self.data);
        } else {
            next.data = vec![0; fours(columns) * next.words];
            next.add(self, Some, false);
        }
        *self = next;
    }

    /// Adds (or subtracts) the entries of another table whose ranges this one holds, its columns where `to` says; those of
    /// columns that it does not name are left out.
    fn add(&mut self, other: &Self, to: impl Fn(usize) -> Option<usize>, negate: bool) {
        for (at, columns) in entries_of(other.columns()).enumerate() {
            let value = &other.data[at * other.words..(at + 1) * other.words];
            let (Some(exponent), false) = (other.unit(columns), wide::is_zero(value)) else { continue };
            if let [Some(i), Some(j), Some(k), Some(l)] = columns.map(&to) {
                let mut moved = [i, j, k, l];
                moved.sort_unstable();
                self.deposit(moved, value, exponent, negate);
            }
        }
    }

    /// Adds (or subtracts) every entry of another table.
    pub(crate) fn merge(&mut self, other: &Self, negate: bool) {
        self.reserve(other.columns(), other.ranges(), other.weight);
        self.add(other, Some, negate);
    }

    /// The table with column `c` at `to[c]`, if anywhere, of so many columns.
    pub(crate) fn moved(&self, to: &[Option<usize>], columns: usize) -> Self {
        let mut next = Self::new(columns);
        next.reserve(columns, self.ranges().filter_map(|(column, range)| Some((to[column]?, range))), self.weight);
        next.add(self, |column| to[column], false);
        next
    }

    fn ranges(&self) -> impl Iterator<Item = (usize, Range)> {
        let ranges = self.grid.iter().zip(&self.top).enumerate();
        ranges.filter_map(|(column, (grid, top))| grid.map(|low| (column, Range { low, top: *top })))
    }

    fn unit(&self, columns: [usize; 4]) -> Option<i32> {
        columns.iter().try_fold(2 * self.weight.low, |sum, column| Some(sum + self.grid[*column]?))
    }

    /// Adds (or subtracts) `value · 2^exponent` to an entry in ascending order, whose range was reserved.
    pub(crate) fn deposit(&mut self, columns: [usize; 4], value: &[u64], exponent: i32, negate: bool) {
        if let Some(unit) = self.unit(columns) {
            let start = place(columns) * self.words;
            let target = &mut self.data[start..start + self.words];
            wide::add_shifted(target, value, (exponent - unit) as usize, negate);
        }
    }

    /// An entry in any order: a signed integer and the exponent of its unit; `None` where it must be zero.
    pub(crate) fn entry(&self, mut columns: [usize; 4]) -> Option<(&[u64], i32)> {
        columns.sort_unstable();
        let unit = self.unit(columns)?;
        let start = place(columns) * self.words;
        Some((&self.data[start..start + self.words], unit))
    }

    fn canonical(&self, columns: [usize; 4]) -> (Vec<u64>, i32) {
        if columns[3] >= self.columns() {
            return (Vec::new(), 0);
        }
        match self.entry(columns) {
            Some((words, exponent)) if !wide::is_zero(words) => wide::canonical(words, exponent),
            _ => (Vec::new(), 0),
        }
    }

    /// The entries as numbers that depend on their values only.
    pub(crate) fn entries(&self) -> Entries {
        let mut entries = Entries::default();
        for columns in entries_of(self.columns()) {
            let (odd, exponent) = self.canonical(columns);
            entries.shapes.push((exponent, odd.len() as u32));
            entries.words.extend(odd);
        }
        entries
    }

    /// The table of the entries; or what is wrong with them, and with which column.
    pub(crate) fn of(columns: usize, entries: &Entries) -> Result<Self, Fault> {
        let values = values(fours(columns), entries)?;
        let ranges = ranges(columns, &values)?;
        let span = ranges.iter().flatten().map(|range| range.top - range.low).max().unwrap_or(0);
        if values.len().saturating_mul(4 * span as usize / 8) > LARGEST_BYTES {
            return Err((0, format!("sums of {columns} columns that span {} bits", 4 * span)));
        }
        let mut table = Self::new(columns);
        let held = ranges.iter().enumerate().filter_map(|(column, range)| range.map(|range| (column, range)));
        table.reserve(columns, held, Range { low: 0, top: 1 });
        for (columns, (value, exponent)) in entries_of(columns).zip(values) {
            if !value.is_empty() {
                table.deposit(columns, value, exponent, false);
            }
        }
        Ok(table)
    }

    /// What is wrong with the sums: no rows can have them; or nothing that their sizes tell.
    pub(crate) fn fault(&self) -> Option<Fault> {
        let entries = self.entries();
        values(fours(self.columns()), &entries).and_then(|values| ranges(self.columns(), &values)).err()
    }
}

impl PartialEq for QuarticTable {
    /// Equal numbers are equal, whatever range the table has room for; absent columns are zeros.
    fn eq(&self, other: &Self) -> bool {
        let columns = self.columns().max(other.columns());
        entries_of(columns).all(|columns| self.canonical(columns) == other.canonical(columns))
    }
}

/// A range for every column that is not zero, such that all its sums are multiples of the units and fit: the top is that
/// of the fourth root of its sum of fourth powers, which bounds all its products (Hölder).
fn ranges(columns: usize, values: &[(&[u64], i32)]) -> Result<Vec<Option<Range>>, Fault> {
    let mut ranges: Vec<Option<Range>> = Vec::with_capacity(columns);
    for l in 0..columns {
        let (fourth, exponent) = values[place([l; 4])];
        if !fourth.is_empty() && wide::is_negative(fourth) {
            return Err((l, format!("a sum of fourth powers of column {l} that is not positive")));
        }
        let zero = fourth.is_empty();
        let top = if zero { 0 } else { (exponent + length(fourth)).div_euclid(4) + 1 };
        ranges.push((!zero).then(|| Range { low: exponent.div_euclid(4), top }));
        for (at, columns) in (place([0, 0, 0, l])..).zip(entries_below(l)) {
            let (product, exponent) = values[at];
            if product.is_empty() {
                continue;
            }
            let mut others = (0, 0);
            for &column in columns.iter().filter(|column| **column != l) {
                let range =
                    ranges[column].ok_or_else(|| (column, format!("products of column {column}, which is zero")))?;
                others = (others.0 + range.low, others.1 + range.top);
            }
            let times = columns.iter().filter(|column| **column == l).count() as i32;
            let Some(range) = &mut ranges[l] else {
                return Err((l, format!("products of column {l}, which is zero")));
            };
            if exponent + length(product) > others.1 + times * range.top {
                return Err((l, format!("a sum of products with column {l} larger than fourth powers allow")));
            }
            range.low = range.low.min((exponent - others.0).div_euclid(times));
        }
    }
    Ok(ranges)
}

/// Those whose last column is `l`.
fn entries_below(l: usize) -> impl Iterator<Item = [usize; 4]> {
    (0..=l).flat_map(move |k| (0..=k).flat_map(move |j| (0..=j).map(move |i| [i, j, k, l])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_the_order_of_the_entries() {
        let all: Vec<[usize; 4]> = entries_of(7).collect();
        assert_eq!(all.len(), fours(7));
        assert!(all.iter().enumerate().all(|(at, columns)| place(*columns) == at));
        assert_eq!(place([0, 0, 0, 3]), fours(3));
    }
}

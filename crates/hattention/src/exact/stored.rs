//! Tables of wide integers as numbers that depend on their values only, and back.

use super::accumulator::{Accumulator, GRID_STEP, Range, pairs};
use super::wide;

/// The entries `(i, j)`, `i ≤ j`, at `j (j + 1) / 2 + i`: the value is `integer · 2^exponent`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entries {
    /// Exponent, and how many words the integer has; zero is no words and exponent zero.
    pub(crate) shapes: Vec<(i32, u32)>,
    /// The integers one after the other: signed, odd, of as few words as they need, least significant word first.
    pub(crate) words: Vec<u64>,
}

/// Exponents of doubles, of their squares and of sums of these lie well inside.
const LARGEST_EXPONENT: i32 = 1 << 13;
/// Words of a sum of products of doubles, at most.
const LARGEST_WORDS: u32 = 256;
/// A table larger than this is not made.
pub(super) const LARGEST_BYTES: usize = 16 << 30;

/// The table's entries.
pub(crate) fn entries(table: &Accumulator) -> Entries {
    let mut entries = Entries::default();
    for j in 0..table.columns() {
        for i in 0..=j {
            let (odd, exponent) = table.canonical(i, j);
            entries.shapes.push((exponent, odd.len() as u32));
            entries.words.extend(odd);
        }
    }
    entries
}

/// What is wrong with entries, and with which column.
pub(crate) type Fault = (usize, String);

/// Whether rows can have the entries, as far as their sizes tell; or what is wrong with them.
pub(crate) fn check(columns: usize, entries: &Entries) -> Result<(), Fault> {
    ranges(columns, &values(pairs(columns), entries)?).map(drop)
}

/// The table of the entries; or what is wrong with them.
pub(crate) fn table(columns: usize, entries: &Entries) -> Result<Accumulator, Fault> {
    let values = values(pairs(columns), entries)?;
    let ranges = ranges(columns, &values)?;
    let span = ranges.iter().flatten().map(|range| range.top - range.low).max().unwrap_or(0);
    if values.len().saturating_mul(2 * span as usize / 8) > LARGEST_BYTES {
        return Err((0, format!("sums of {columns} columns that span {} bits", 2 * span)));
    }
    let mut table = Accumulator::new(columns);
    table.reserve(columns, ranges.iter().enumerate().filter_map(|(column, range)| range.map(|range| (column, range))));
    for j in 0..columns {
        for i in 0..=j {
            let (value, exponent) = values[pairs(j) + i];
            if !value.is_empty() {
                table.deposit(i, j, value, exponent, false);
            }
        }
    }
    Ok(table)
}

/// The entries apart, if there are so many.
pub(super) fn values(count: usize, entries: &Entries) -> Result<Vec<(&[u64], i32)>, Fault> {
    if entries.shapes.len() != count {
        return Err((0, format!("{} sums of products, and the columns have {count}", entries.shapes.len())));
    }
    let mut values = Vec::with_capacity(entries.shapes.len());
    let mut rest = &entries.words[..];
    for &(exponent, length) in &entries.shapes {
        if length > LARGEST_WORDS || exponent.abs() > LARGEST_EXPONENT {
            return Err((0, format!("a sum of {length} words and exponent {exponent}")));
        }
        let short = || (0, "fewer words than the sums take".to_owned());
        let (value, others) = rest.split_at_checked(length as usize).ok_or_else(short)?;
        values.push((value, exponent));
        rest = others;
    }
    match rest.len() {
        0 => Ok(values),
        more => Err((0, format!("{more} words more than the sums take"))),
    }
}

/// A range for every column that is not zero, such that all its sums are multiples of the units and fit: the top is that
/// of the root of its sum of squares, which bounds all its products (Cauchy and Schwarz).
fn ranges(columns: usize, values: &[(&[u64], i32)]) -> Result<Vec<Option<Range>>, Fault> {
    let mut ranges: Vec<Option<Range>> = Vec::with_capacity(columns);
    for j in 0..columns {
        let (square, exponent) = values[pairs(j) + j];
        if square.is_empty() || wide::is_negative(square) {
            if wide::is_negative(square) || (0..=j).any(|i| !values[pairs(j) + i].0.is_empty()) {
                return Err((j, format!("a sum of squares of column {j} that is not positive")));
            }
            ranges.push(None);
            continue;
        }
        let top = (exponent + length(square)).div_euclid(2) + 1;
        let mut low = exponent.div_euclid(2);
        for (i, other) in ranges.iter().enumerate() {
            let (product, exponent) = values[pairs(j) + i];
            if product.is_empty() {
                continue;
            }
            let Some(other) = other else {
                return Err((i, format!("products of column {i}, which is zero")));
            };
            if exponent + length(product) > other.top + top {
                return Err((j, format!("a sum of products of columns {i} and {j} larger than their squares allow")));
            }
            low = low.min(exponent - other.low);
        }
        ranges.push(Some(Range { low: low.div_euclid(GRID_STEP) * GRID_STEP, top }));
    }
    Ok(ranges)
}

/// The magnitude is below two to this.
pub(super) fn length(value: &[u64]) -> i32 {
    let top = value[value.len() - 1];
    let used = if wide::is_negative(value) { 64 - (!top).leading_zeros() } else { 64 - top.leading_zeros() };
    // (A negative power of two needs one bit more than its complement.)
    64 * (value.len() as i32 - 1) + used as i32 + wide::is_negative(value) as i32
}

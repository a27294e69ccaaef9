//! What the cells of a CSV column are: telling the type of a column from a sample, and reading cells as that type.

use arrow::array::types::{Date32Type, Int32Type, TimestampMicrosecondType};
use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, NullArray, StringArray,
    StringDictionaryBuilder, TimestampMicrosecondBuilder,
};
use arrow::compute::kernels::cast_utils::Parser;
use arrow::datatypes::{DataType, TimeUnit};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::schema::text_type;

/// Integers up to this size are exact in an f64.
const EXACT_INTEGER_MAX: u64 = 1 << 53;

/// The type of a CSV column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CsvType {
    /// No value has been seen.
    Empty,
    Boolean,
    /// f64. `whole` when only integers have been seen: one that f64 cannot hold is then refused, not rounded,
    /// because the column may be an identifier.
    Number {
        whole: bool,
    },
    /// i64, for columns with integers that f64 cannot hold.
    Integer,
    Date,
    Timestamp,
    Text,
}

impl CsvType {
    pub(crate) fn arrow(self) -> DataType {
        match self {
            Self::Empty => DataType::Null,
            Self::Boolean => DataType::Boolean,
            Self::Number { .. } => DataType::Float64,
            Self::Integer => DataType::Int64,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Text => text_type(),
        }
    }

    /// What a cell of the column should be instead of `cell`, for messages.
    pub(crate) fn expectation(self, cell: &str) -> &'static str {
        match self {
            Self::Empty => "no value",
            Self::Boolean => "true or false",
            Self::Number { .. } if cell.trim().parse::<f64>().is_err() => "a number",
            Self::Number { .. } => "an integer that a double holds exactly",
            Self::Integer => "an integer of 64 bits",
            Self::Date => "a date like 2013-01-31",
            Self::Timestamp => "a time like 2013-01-31T12:00:00",
            Self::Text => "text",
        }
    }
}

/// The texts that stand for a missing value.
#[derive(Clone, Debug)]
pub(crate) struct Missing {
    tokens: Vec<String>,
    /// Which bytes a token begins with, so that most cells are told apart by their first byte.
    first: [bool; 256],
}

impl Missing {
    pub(crate) fn new(tokens: &[String]) -> Self {
        let mut first = [false; 256];
        let tokens: Vec<String> = tokens.iter().map(|token| token.trim().to_owned()).collect();
        for byte in tokens.iter().filter_map(|token| token.bytes().next()) {
            first[usize::from(byte)] = true;
        }
        Self { tokens, first }
    }

    /// The texts.
    pub(crate) fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// Whether a cell is missing: empty, or one of the tokens.
    pub(crate) fn is(&self, trimmed: &str) -> bool {
        match trimmed.as_bytes().first() {
            None => true,
            Some(&byte) => self.first[usize::from(byte)] && self.tokens.iter().any(|token| token == trimmed),
        }
    }
}

/// What the values of a column looked like.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    booleans: u64,
    numbers: u64,
    fractions: u64,
    beyond_f64: u64,
    beyond_i64: u64,
    dates: u64,
    timestamps: u64,
    texts: u64,
}

impl Tally {
    /// Counts one cell that is not missing.
    fn add(&mut self, cell: &str) {
        if let Some(number) = number_of(cell) {
            self.numbers += 1;
            match number {
                Number::Fraction => self.fractions += 1,
                Number::Whole => {}
                Number::BeyondF64 => self.beyond_f64 += 1,
                Number::BeyondI64 => self.beyond_i64 += 1,
            }
        } else if boolean(cell).is_some() {
            self.booleans += 1;
        } else if date(cell).is_some() {
            self.dates += 1;
        } else if timestamp(cell).is_some() {
            self.timestamps += 1;
        } else {
            self.texts += 1;
        }
    }

    /// Counts a column's cells; the row of the first that is neither missing nor a number, if no such was known.
    pub(crate) fn add_all(&mut self, cells: &StringArray, missing: &Missing) -> Option<usize> {
        let mut first = None;
        let known = self.not_numbers() > 0;
        for (row, cell) in cells.iter().enumerate() {
            let cell = cell.unwrap_or_default().trim();
            if !missing.is(cell) {
                let before = self.numbers;
                self.add(cell);
                if self.numbers == before && !known && first.is_none() {
                    first = Some(row);
                }
            }
        }
        first
    }

    pub(crate) fn seen(&self) -> u64 {
        self.numbers + self.not_numbers()
    }

    pub(crate) fn not_numbers(&self) -> u64 {
        self.booleans + self.dates + self.timestamps + self.texts
    }

    /// Whether this is mostly numbers, but not only.
    pub(crate) fn is_mixed(&self) -> bool {
        self.not_numbers() > 0 && self.numbers >= self.not_numbers()
    }

    pub(crate) fn csv_type(&self) -> CsvType {
        match self.seen() {
            0 => CsvType::Empty,
            seen if seen == self.booleans => CsvType::Boolean,
            seen if seen == self.dates => CsvType::Date,
            seen if seen == self.dates + self.timestamps => CsvType::Timestamp,
            seen if seen == self.numbers => self.number_type(),
            _ => CsvType::Text,
        }
    }

    fn number_type(&self) -> CsvType {
        match (self.fractions, self.beyond_f64, self.beyond_i64) {
            (0, 0, 0) => CsvType::Number { whole: true },
            (0, _, 0) => CsvType::Integer,
            _ => CsvType::Number { whole: false },
        }
    }
}

/// What kind of number a cell is.
enum Number {
    Fraction,
    Whole,
    /// An integer that fits i64 and that f64 would round.
    BeyondF64,
    BeyondI64,
}

fn number_of(cell: &str) -> Option<Number> {
    let unsigned = cell.strip_prefix(['-', '+']).unwrap_or(cell);
    if !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(match cell.parse::<i64>() {
            Ok(integer) if is_exact(integer) => Number::Whole,
            Ok(_) => Number::BeyondF64,
            Err(_) => Number::BeyondI64,
        });
    }
    cell.parse::<f64>().ok().map(|_| Number::Fraction)
}

/// Whether f64 holds the integer.
fn is_exact(integer: i64) -> bool {
    let size = integer.unsigned_abs();
    size <= EXACT_INTEGER_MAX || size.trailing_zeros() + size.leading_zeros() >= 64 - 53
}

/// Digits that an integer has at least if f64 cannot hold it.
const INEXACT_DIGITS_MIN: usize = 16;

fn number(cell: &str, whole: bool) -> Option<f64> {
    let value = cell.parse::<f64>().ok()?;
    if whole
        && cell.len() >= INEXACT_DIGITS_MIN
        && matches!(number_of(cell), Some(Number::BeyondF64 | Number::BeyondI64))
    {
        return None;
    }
    Some(value)
}

fn boolean(cell: &str) -> Option<bool> {
    match cell {
        _ if cell.eq_ignore_ascii_case("true") => Some(true),
        _ if cell.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn date(cell: &str) -> Option<i32> {
    let digits_and_dashes = cell.len() == 10
        && cell.bytes().enumerate().all(
            |(at, byte)| {
                if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() }
            },
        );
    digits_and_dashes.then(|| Date32Type::parse(cell)).flatten()
}

fn timestamp(cell: &str) -> Option<i64> {
    let bytes = cell.as_bytes();
    let plausible = bytes.len() >= 16 && bytes[4] == b'-' && bytes[0].is_ascii_digit();
    match date(cell) {
        Some(_) => TimestampMicrosecondType::parse(cell),
        None if plausible => TimestampMicrosecondType::parse(cell),
        None => None,
    }
}

/// Reads cells as a type; the row of the first that is not of the type, if there is one.
pub(crate) fn read_cells<'a>(
    cells: impl ExactSizeIterator<Item = &'a str>,
    csv_type: CsvType,
    missing: &Missing,
) -> Result<ArrayRef, usize> {
    let count = cells.len();
    match csv_type {
        CsvType::Empty => {
            each(cells, missing, |cell| cell.map_or(Some(()), |_| None))?;
            Ok(Arc::new(NullArray::new(count)))
        }
        CsvType::Boolean => {
            let mut values = BooleanBuilder::with_capacity(count);
            each(cells, missing, |cell| append(cell, boolean, |value| values.append_option(value)))?;
            Ok(Arc::new(values.finish()))
        }
        CsvType::Number { whole } => {
            let mut values = Float64Builder::with_capacity(count);
            let read = |cell: &str| number(cell, whole);
            each(cells, missing, |cell| append(cell, read, |value| values.append_option(value)))?;
            Ok(Arc::new(values.finish()))
        }
        CsvType::Integer => {
            let mut values = Int64Builder::with_capacity(count);
            let read = |cell: &str| cell.parse::<i64>().ok();
            each(cells, missing, |cell| append(cell, read, |value| values.append_option(value)))?;
            Ok(Arc::new(values.finish()))
        }
        CsvType::Date => {
            let mut values = Date32Builder::with_capacity(count);
            each(cells, missing, |cell| append(cell, date, |value| values.append_option(value)))?;
            Ok(Arc::new(values.finish()))
        }
        CsvType::Timestamp => {
            let mut values = TimestampMicrosecondBuilder::with_capacity(count);
            each(cells, missing, |cell| append(cell, timestamp, |value| values.append_option(value)))?;
            Ok(Arc::new(values.finish()))
        }
        CsvType::Text => Ok(read_text(cells, missing)),
    }
}

/// Text keeps its spaces; only the test for missing does not see them.
fn read_text<'a>(cells: impl Iterator<Item = &'a str>, missing: &Missing) -> ArrayRef {
    let mut values = StringDictionaryBuilder::<Int32Type>::new();
    for cell in cells {
        match missing.is(trimmed(cell)) {
            true => values.append_null(),
            // A batch has far fewer rows than i32 has keys.
            false => values.append_value(cell),
        }
    }
    Arc::new(values.finish())
}

/// Shows each cell, `None` where it is missing; stops at the first that is refused and says where.
fn each<'a>(
    cells: impl Iterator<Item = &'a str>,
    missing: &Missing,
    mut accept: impl FnMut(Option<&str>) -> Option<()>,
) -> Result<(), usize> {
    for (row, cell) in cells.enumerate() {
        let cell = trimmed(cell);
        accept((!missing.is(cell)).then_some(cell)).ok_or(row)?;
    }
    Ok(())
}

/// As [`str::trim`], faster where there is nothing to trim.
fn trimmed(cell: &str) -> &str {
    match cell.as_bytes() {
        [b'!'..=b'~', .., b'!'..=b'~'] | [b'!'..=b'~'] | [] => cell,
        _ => cell.trim(),
    }
}

fn append<T>(cell: Option<&str>, read: impl Fn(&str) -> Option<T>, mut push: impl FnMut(Option<T>)) -> Option<()> {
    match cell {
        None => push(None),
        Some(cell) => push(Some(read(cell)?)),
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_of(cells: &[&str]) -> CsvType {
        let mut tally = Tally::default();
        tally.add_all(&StringArray::from(cells.to_vec()), &Missing::new(&["NA".into()]));
        tally.csv_type()
    }

    #[test]
    fn a_column_is_what_all_its_values_are() {
        assert_eq!(type_of(&["", "NA"]), CsvType::Empty);
        assert_eq!(type_of(&["1", "NA", "-7", " 3 "]), CsvType::Number { whole: true });
        assert_eq!(type_of(&["1", "2.5", "1e-3", ".5"]), CsvType::Number { whole: false });
        assert_eq!(type_of(&["TRUE", "false"]), CsvType::Boolean);
        assert_eq!(type_of(&["2013-01-31"]), CsvType::Date);
        assert_eq!(type_of(&["2013-01-31", "2013-01-31 05:00:00"]), CsvType::Timestamp);
        assert_eq!(type_of(&["2013-01-31T05:00:00Z"]), CsvType::Timestamp);
        assert_eq!(type_of(&["1", "x"]), CsvType::Text);
        assert_eq!(type_of(&["true", "1"]), CsvType::Text);
        assert_eq!(type_of(&["2013-13-31"]), CsvType::Text);
        assert_eq!(type_of(&["9007199254740993", "1"]), CsvType::Integer);
        assert_eq!(type_of(&["9007199254740992", "18014398509481984"]), CsvType::Number { whole: true });
        assert_eq!(type_of(&["99999999999999999999"]), CsvType::Number { whole: false });
    }

    #[test]
    fn an_identifier_is_refused_rather_than_rounded() {
        let texts = || ["1", "9007199254740993"].into_iter();
        let missing = Missing::new(&[]);
        assert_eq!(read_cells(texts(), CsvType::Number { whole: true }, &missing).err(), Some(1));
        assert!(read_cells(texts(), CsvType::Number { whole: false }, &missing).is_ok());
    }
}

//! Arrow arrays to columns of numbers, and which of their rows are missing.

use arrow::array::types::{
    ArrowPrimitiveType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float16Type, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use hattention::double_double::DoubleDouble;
use serde::{Deserialize, Serialize};

use super::numbers::Numbers;
use crate::error::TableError;

/// What a column holds, as far as a design cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ColumnKind {
    /// Integers, floats, decimals, and times: dates as days, moments and durations as seconds.
    Number,
    /// Text: a factor.
    Text,
    /// Booleans: a factor with the levels FALSE and TRUE; 0 and 1 in arithmetic.
    Boolean,
    /// Dictionaries of numbers or times: a factor; the numbers in arithmetic.
    Category,
}

impl ColumnKind {
    /// The kind of an Arrow type; `None` where a design can do nothing with it.
    pub fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Self::Text),
            DataType::Boolean => Some(Self::Boolean),
            DataType::Dictionary(_, values) => Self::of(values).map(|kind| match kind {
                Self::Number => Self::Category,
                other => other,
            }),
            DataType::Null | DataType::Decimal32(..) | DataType::Decimal64(..) => Some(Self::Number),
            DataType::Decimal128(..) | DataType::Decimal256(..) => Some(Self::Number),
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Some(Self::Number),
            DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_) => Some(Self::Number),
            other if other.is_numeric() => Some(Self::Number),
            _ => None,
        }
    }

    /// Whether a column of the other kind can stand for one of this: the levels of a category are numbers.
    pub(crate) fn takes(self, other: Self) -> bool {
        let plain = |kind| if kind == Self::Category { Self::Number } else { kind };
        plain(self) == plain(other)
    }

    /// How a message names the kind.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Text => "text",
            Self::Boolean => "boolean",
            Self::Category => "category",
        }
    }
}

/// Clears `valid[i]` where row `i` is null or NaN, and returns how many rows are so.
pub(crate) fn mark_missing(array: &ArrayRef, valid: &mut Option<Vec<bool>>) -> usize {
    let rows = array.len();
    let mut missing = 0;
    let mut clear = |i: usize| {
        valid.get_or_insert_with(|| vec![true; rows])[i] = false;
        missing += 1;
    };
    let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    let is_null = |i: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(i));
    if let Some(nulls) = &nulls {
        (0..rows).filter(|&i| nulls.is_null(i)).for_each(&mut clear);
    }
    // A dictionary of floats may hold NaN among its values; all other types say so by nulls.
    let plain;
    let array = match array.data_type() {
        DataType::Dictionary(_, values) if values.is_floating() => match cast(array, values) {
            Ok(values) => {
                plain = values;
                &plain
            }
            Err(_) => array,
        },
        _ => array,
    };
    let mut clear_if = |i: usize, nan: bool| {
        if nan && !is_null(i) {
            clear(i);
        }
    };
    match array.data_type() {
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().values();
            if values.iter().fold(false, |any, value| any | value.is_nan()) {
                values.iter().enumerate().for_each(|(i, value)| clear_if(i, value.is_nan()));
            }
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>().values();
            values.iter().enumerate().for_each(|(i, value)| clear_if(i, value.is_nan()));
        }
        DataType::Float16 => {
            let values = array.as_primitive::<Float16Type>().values();
            values.iter().enumerate().for_each(|(i, value)| clear_if(i, value.is_nan()));
        }
        _ => {}
    }
    missing
}

/// A value that no pair of doubles holds: its position among the kept rows, and how it is written.
pub(crate) struct TooWide {
    pub position: usize,
    pub value: String,
}

/// Why an array could not be read as numbers.
pub(crate) enum Unreadable {
    /// A value is too wide.
    TooWide(TooWide),
    /// The type is not numeric, or Arrow failed to convert it.
    Type,
}

/// The kept rows of an array as numbers; `keep` lists them, `None` is all.
///
/// 64-bit integers beyond 2⁵³ and decimals become pairs; dates become days, moments and durations seconds.
pub(crate) fn numbers(array: &ArrayRef, keep: Option<&[u32]>) -> Result<Numbers, Unreadable> {
    match array.data_type() {
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().values();
            Ok(match keep {
                None => Numbers { hi: values.clone(), lo: None },
                Some(_) => plain::<Float64Type>(array, keep, |x| x),
            })
        }
        DataType::Float32 => Ok(plain::<Float32Type>(array, keep, f64::from)),
        DataType::Float16 => Ok(plain::<Float16Type>(array, keep, f64::from)),
        DataType::Int8 => Ok(plain::<Int8Type>(array, keep, f64::from)),
        DataType::Int16 => Ok(plain::<Int16Type>(array, keep, f64::from)),
        DataType::Int32 => Ok(plain::<Int32Type>(array, keep, f64::from)),
        DataType::UInt8 => Ok(plain::<UInt8Type>(array, keep, f64::from)),
        DataType::UInt16 => Ok(plain::<UInt16Type>(array, keep, f64::from)),
        DataType::UInt32 => Ok(plain::<UInt32Type>(array, keep, f64::from)),
        DataType::Int64 => Ok(wide::<Int64Type>(array, keep, |x| x as f64, i128::from)),
        DataType::UInt64 => Ok(wide::<UInt64Type>(array, keep, |x| x as f64, i128::from)),
        DataType::Boolean => {
            let values = array.as_boolean();
            let number = |i: usize| f64::from(u8::from(values.value(i)));
            Ok(Numbers::dense(match keep {
                None => (0..values.len()).map(number).collect(),
                Some(rows) => rows.iter().map(|&row| number(row as usize)).collect(),
            }))
        }
        DataType::Null => Ok(Numbers::dense(Vec::new())),
        DataType::Dictionary(_, values) => {
            let plain = cast(array, values).map_err(|_| Unreadable::Type)?;
            numbers(&plain, keep)
        }
        DataType::Decimal32(_, scale) => decimals::<Decimal32Type>(array, keep, *scale, |x| Some(i128::from(x))),
        DataType::Decimal64(_, scale) => decimals::<Decimal64Type>(array, keep, *scale, |x| Some(i128::from(x))),
        DataType::Decimal128(_, scale) => decimals::<Decimal128Type>(array, keep, *scale, Some),
        DataType::Decimal256(_, scale) => decimals::<Decimal256Type>(array, keep, *scale, |x| x.to_i128()),
        temporal => {
            let per_unit = units_per_step(temporal).ok_or(Unreadable::Type)?;
            let steps = match temporal {
                DataType::Date32 | DataType::Time32(_) => cast(array, &DataType::Int32),
                _ => cast(array, &DataType::Int64),
            };
            let steps = numbers(&steps.map_err(|_| Unreadable::Type)?, keep)?;
            Ok(if per_unit == 1.0 { steps } else { scaled(&steps, DoubleDouble::from(per_unit)) })
        }
    }
}

/// How many steps of a temporal type make a day (dates) or a second (all others).
fn units_per_step(data_type: &DataType) -> Option<f64> {
    let per_second = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 1.0,
        TimeUnit::Millisecond => 1e3,
        TimeUnit::Microsecond => 1e6,
        TimeUnit::Nanosecond => 1e9,
    };
    match data_type {
        DataType::Date32 => Some(1.0),
        DataType::Date64 => Some(86_400_000.0),
        DataType::Timestamp(unit, _) | DataType::Time32(unit) | DataType::Time64(unit) | DataType::Duration(unit) => {
            Some(per_second(unit))
        }
        _ => None,
    }
}

fn scaled(numbers: &Numbers, divisor: DoubleDouble) -> Numbers {
    numbers.map_pairs(|x| x / divisor)
}

/// Values that doubles hold exactly.
fn plain<T: ArrowPrimitiveType>(array: &ArrayRef, keep: Option<&[u32]>, number: impl Fn(T::Native) -> f64) -> Numbers {
    let values = array.as_primitive::<T>().values();
    Numbers::dense(match keep {
        None => values.iter().map(|&value| number(value)).collect(),
        Some(rows) => rows.iter().map(|&row| number(values[row as usize])).collect(),
    })
}

/// Integers of 64 bits, as pairs where doubles round them.
fn wide<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    keep: Option<&[u32]>,
    rounded: impl Fn(T::Native) -> f64 + Copy,
    exact: impl Fn(T::Native) -> i128,
) -> Numbers {
    const EXACT_BELOW: f64 = 9_007_199_254_740_992.0; // 2⁵³
    let values = plain::<T>(array, keep, rounded);
    if values.hi.iter().fold(true, |all, x| all & (x.abs() < EXACT_BELOW)) {
        return values;
    }
    let source = array.as_primitive::<T>().values();
    let row = |i: usize| keep.map_or(i, |rows| rows[i] as usize);
    // The difference of an integer below 2⁶⁴ and its rounding has at most 11 bits.
    let lo = values.hi.iter().enumerate().map(|(i, &hi)| (exact(source[row(i)]) - hi as i128) as f64).collect();
    Numbers::pair(values.hi.to_vec(), lo)
}

/// Decimals: an integer of at most 106 bits over a power of ten, correct to about 106 bits.
fn decimals<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    keep: Option<&[u32]>,
    scale: i8,
    unscaled: impl Fn(T::Native) -> Option<i128>,
) -> Result<Numbers, Unreadable> {
    let values = array.as_primitive::<T>();
    let rows = keep.map_or(values.len(), <[u32]>::len);
    let (mut hi, mut lo) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    for position in 0..rows {
        let row = keep.map_or(position, |rows| rows[position] as usize);
        let pair = unscaled(values.value(row)).and_then(exact_pair);
        let Some(pair) = pair else {
            return Err(Unreadable::TooWide(TooWide { position, value: format!("{:?}e-{scale}", values.value(row)) }));
        };
        hi.push(pair.hi);
        lo.push(pair.lo);
    }
    let integers = Numbers::pair(hi, lo);
    let power = DoubleDouble::from(10.0).powi(u32::from(scale.unsigned_abs()));
    Ok(match scale {
        0 => integers,
        1.. => scaled(&integers, power),
        _ => integers.map_pairs(|x| x * power),
    })
}

/// An integer as a pair, where a pair holds it exactly.
fn exact_pair(value: i128) -> Option<DoubleDouble> {
    let hi = value as f64;
    // `hi` may be 2¹²⁷, which does not fit: then the number is too wide anyway.
    let rest = value.checked_sub(if hi.abs() < 2f64.powi(126) { hi as i128 } else { return None })?;
    let lo = rest as f64;
    (lo as i128 == rest).then(|| DoubleDouble::new(hi, lo))
}

/// The error for a column of another type than the design was made for.
pub(crate) fn wrong_type(column: &str, expected: &str, got: &DataType) -> TableError {
    // Text is a dictionary on its way; nobody asked for one.
    let got = match ColumnKind::of(got) {
        Some(kind @ (ColumnKind::Text | ColumnKind::Category)) => kind.name().to_owned(),
        _ => got.to_string(),
    };
    TableError::ColumnType { column: column.to_owned(), expected: expected.to_owned(), got }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array, Float64Array, Int64Array,
        TimestampNanosecondArray, UInt64Array,
    };

    use super::*;

    fn read(array: impl Array + 'static, keep: Option<&[u32]>) -> Numbers {
        let array: ArrayRef = Arc::new(array);
        numbers(&array, keep).unwrap_or_else(|_| panic!("not readable"))
    }

    fn exact(numbers: &Numbers, i: usize) -> i128 {
        numbers.hi[i] as i128 + numbers.lo.as_ref().map_or(0, |lo| lo[i] as i128)
    }

    #[test]
    fn wide_integers_are_exact_pairs() {
        let values = [i64::MAX, i64::MIN, (1 << 53) + 1, -7];
        let read_back = read(Int64Array::from(values.to_vec()), None);
        values.iter().enumerate().for_each(|(i, &value)| assert_eq!(exact(&read_back, i), i128::from(value)));
        let read_back = read(UInt64Array::from(vec![u64::MAX, 5]), Some(&[0]));
        assert_eq!((read_back.len(), exact(&read_back, 0)), (1, i128::from(u64::MAX)));
        assert!(read(Int64Array::from(vec![1 << 52, -3]), None).lo.is_none());
    }

    #[test]
    fn decimals_are_pairs_beyond_doubles() {
        let array =
            Decimal128Array::from(vec![1, 25, 1_234_567_890_123_456_789]).with_precision_and_scale(38, 1).unwrap();
        let tenths = read(array, None);
        // 0.1 = hi + lo with the error of the double 0.1 in lo.
        assert_eq!(tenths.hi[0], 0.1);
        assert!((tenths.lo.as_ref().unwrap()[0] + 5.551115123125783e-18).abs() < 1e-33);
        assert_eq!((tenths.hi[1], tenths.lo.as_ref().unwrap()[1]), (2.5, 0.0));
        assert!((tenths.hi[2] - 123_456_789_012_345_678.9).abs() < 20.0);
        let whole = Decimal128Array::from(vec![10i128.pow(30) + 1]).with_precision_and_scale(38, 0).unwrap();
        assert_eq!(exact(&read(whole, None), 0), 10i128.pow(30) + 1);
        let array: ArrayRef =
            Arc::new(Decimal128Array::from(vec![10i128.pow(37) + 1]).with_precision_and_scale(38, 0).unwrap());
        assert!(matches!(numbers(&array, None), Err(Unreadable::TooWide(TooWide { position: 0, .. }))));
    }

    #[test]
    fn times_are_days_and_seconds() {
        assert_eq!(read(Date32Array::from(vec![19_000]), None).hi[0], 19_000.0);
        let moment = read(TimestampNanosecondArray::from(vec![1_600_000_000_500_000_000]), None);
        assert_eq!(moment.hi[0], 1_600_000_000.5);
        assert!(moment.lo.is_none());
        assert_eq!(read(BooleanArray::from(vec![true, false]), None).hi[..], [1.0, 0.0]);
        assert_eq!(read(Float32Array::from(vec![0.1f32]), None).hi[0], f64::from(0.1f32));
    }

    #[test]
    fn missing_rows_are_marked() {
        let mut valid = None;
        let array: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None, Some(f64::NAN), Some(2.0)]));
        assert_eq!(mark_missing(&array, &mut valid), 2);
        assert_eq!(valid, Some(vec![true, false, false, true]));
        let mut valid = None;
        let array: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0]));
        assert_eq!((mark_missing(&array, &mut valid), valid), (0, None));
        let mut valid = None;
        let keys = arrow::array::Int32Array::from(vec![Some(0), Some(1), None]);
        let values: ArrayRef = Arc::new(Float64Array::from(vec![1.0, f64::NAN]));
        let array: ArrayRef = Arc::new(DictionaryArray::new(keys, values));
        assert_eq!((mark_missing(&array, &mut valid), valid), (2, Some(vec![true, false, false])));
    }
}

//! Arrow arrays to the level codes of a factor.

use arrow::array::cast::AsArray;
use arrow::array::types::{
    ArrowDictionaryKeyType, ByteViewType, Int8Type, Int16Type, Int32Type, Int64Type, StringViewType,
};
use arrow::array::types::{UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow::array::{Array, ArrayRef, GenericByteViewArray, GenericStringArray, OffsetSizeTrait};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use hashbrown::HashMap;

use super::levels::Level;
use super::read::{Unreadable, numbers};

/// The code of a row whose level the model does not know.
pub(crate) const UNSEEN: u32 = u32::MAX;

/// A code that has not been looked up yet.
const UNKNOWN: u32 = u32::MAX - 1;

/// Why the codes of an array could not be had.
pub(crate) enum CodesError<E> {
    /// The type of the array is not that of a factor.
    Type,
    /// A number is not finite; `position` counts kept rows.
    NotFinite { position: usize, value: f64 },
    /// The lookup of a level failed; `position` counts kept rows.
    Level { position: usize, level: Level, error: E },
}

/// The level code of every kept row; `lookup` is asked once for every distinct level of the array.
pub(crate) fn codes<E>(
    array: &ArrayRef,
    keep: Option<&[u32]>,
    lookup: &mut impl FnMut(&Level) -> Result<u32, E>,
) -> Result<Vec<u32>, CodesError<E>> {
    match array.data_type() {
        DataType::Utf8 => strings(array.as_string::<i32>(), keep, lookup),
        DataType::LargeUtf8 => strings(array.as_string::<i64>(), keep, lookup),
        DataType::Utf8View => views(array.as_string_view(), keep, lookup),
        DataType::Boolean => {
            let values = array.as_boolean();
            by_index(
                2,
                keep,
                array.len(),
                |row| usize::from(values.value(row)),
                |index| Level::Boolean(index == 1),
                lookup,
            )
        }
        DataType::Dictionary(key, values) if values.is_string() => {
            let values = cast(array.as_any_dictionary().values(), &DataType::Utf8View).map_err(|_| CodesError::Type)?;
            match key.as_ref() {
                DataType::Int8 => dictionary::<Int8Type, E>(array, &values, keep, lookup),
                DataType::Int16 => dictionary::<Int16Type, E>(array, &values, keep, lookup),
                DataType::Int32 => dictionary::<Int32Type, E>(array, &values, keep, lookup),
                DataType::Int64 => dictionary::<Int64Type, E>(array, &values, keep, lookup),
                DataType::UInt8 => dictionary::<UInt8Type, E>(array, &values, keep, lookup),
                DataType::UInt16 => dictionary::<UInt16Type, E>(array, &values, keep, lookup),
                DataType::UInt32 => dictionary::<UInt32Type, E>(array, &values, keep, lookup),
                DataType::UInt64 => dictionary::<UInt64Type, E>(array, &values, keep, lookup),
                _ => Err(CodesError::Type),
            }
        }
        DataType::Dictionary(_, values) => codes(&cast(array, values).map_err(|_| CodesError::Type)?, keep, lookup),
        DataType::Null => Ok(Vec::new()),
        temporal if temporal.is_temporal() => times(array, keep, lookup),
        _ => numeric(array, keep, lookup),
    }
}

/// Calls `f(position, row)` for every kept row.
fn each_row<E>(
    keep: Option<&[u32]>,
    rows: usize,
    mut f: impl FnMut(usize, usize) -> Result<u32, E>,
) -> Result<Vec<u32>, E> {
    // Collecting results would not know the length beforehand.
    let mut codes = Vec::with_capacity(keep.map_or(rows, <[u32]>::len));
    match keep {
        None => {
            for row in 0..rows {
                codes.push(f(row, row)?);
            }
        }
        Some(kept) => {
            for (position, &row) in kept.iter().enumerate() {
                codes.push(f(position, row as usize)?);
            }
        }
    }
    Ok(codes)
}

fn looked_up<E>(
    position: usize,
    level: Level,
    lookup: &mut impl FnMut(&Level) -> Result<u32, E>,
) -> Result<u32, CodesError<E>> {
    lookup(&level).map_err(|error| CodesError::Level { position, level, error })
}

/// Codes of rows that hold a small index, as booleans and dictionaries do: a table of codes, filled as indices appear.
fn by_index<E>(
    indices: usize,
    keep: Option<&[u32]>,
    rows: usize,
    index: impl Fn(usize) -> usize,
    level: impl Fn(usize) -> Level,
    lookup: &mut impl FnMut(&Level) -> Result<u32, E>,
) -> Result<Vec<u32>, CodesError<E>> {
    let mut table = vec![UNKNOWN; indices];
    each_row(keep, rows, |position, row| {
        let index = index(row);
        if table[index] == UNKNOWN {
            table[index] = looked_up(position, level(index), lookup)?;
        }
        Ok(table[index])
    })
}

fn dictionary<K: ArrowDictionaryKeyType, E>(
    array: &ArrayRef,
    values: &ArrayRef,
    keep: Option<&[u32]>,
    lookup: &mut impl FnMut(&Level) -> Result<u32, E>,
) -> Result<Vec<u32>, CodesError<E>> {
    use arrow::datatypes::ArrowNativeType;
    let keys = array.as_dictionary::<K>().keys().values();
    let values = values.as_string_view();
    let level = |index: usize| Level::Text(values.value(index).to_owned());
    by_index(values.len(), keep, array.len(), |row| keys[row].as_usize(), level, lookup)
}

fn strings<O: OffsetSizeTrait, E>(
    array: &GenericStringArray<O>,
    keep: Option<&[u32]>,
    lookup: &mut impl FnMut(&Level) -> Result<u32, E>,
) -> Result<Vec<u32>, CodesError<E>> {
    let mut known: HashMap<&str, u32> = HashMap::new();
    let mut last: (&str, u32) = ("", UNKNOWN);
    each_row(keep, array.len(), |position, row| {
        let text = array.value(row);
        if text == last.0 && last.1 != UNKNOWN {
            return Ok(last.1);
        }
        let code = match known.get(text) {
            Some(&code) => code,
            None => {
                let code = looked_up(position, Level::Text(text.to_owned()), lookup)?;
                known.insert(text, code);
                code
            }
        };
        last = (text, code);
        Ok(code)
    })
}

/// Texts of at most twelve bytes are their own key of 128 bits, so most rows compare no text at all.
fn views<E>(
    array: &GenericByteViewArray<StringViewType>,
    keep: Option<&[u32]>,
    lookup: &mut impl FnMut(&Level) -> Result<u32, E>,
) -> Result<Vec<u32>, CodesError<E>> {
    const INLINE_BYTES: u32 = 12;
    let mut short: HashMap<u128, u32> = HashMap::new();
    let mut long: HashMap<&<StringViewType as ByteViewType>::Native, u32> = HashMap::new();
    let mut last: (u128, u32) = (0, UNKNOWN);
    let views = array.views();
    each_row(keep, array.len(), |position, row| {
        // Equal views are equal texts, also of the long ones, which share a buffer and an offset then.
        let view = views[row];
        if view == last.0 && last.1 != UNKNOWN {
            return Ok(last.1);
        }
        let is_short = view as u32 <= INLINE_BYTES;
        let known = if is_short { short.get(&view) } else { long.get(array.value(row)) };
        let code = match known {
            Some(&code) => code,
            None => {
                let text = array.value(row);
                let code = looked_up(position, Level::Text(text.to_owned()), lookup)?;
                if is_short {
                    short.insert(view, code)
                } else {
                    long.insert(text, code)
                };
                code
            }
        };
        last = (view, code);
        Ok(code)
    })
}

/// Numbers under `C()`: the pair of bit patterns is the key.
fn numeric<E>(
    array: &ArrayRef,
    keep: Option<&[u32]>,
    lookup: &mut impl FnMut(&Level) -> Result<u32, E>,
) -> Result<Vec<u32>, CodesError<E>> {
    let values = numbers(array, keep).map_err(|(Unreadable::Type | Unreadable::TooWide(_))| CodesError::Type)?;
    if let Some((position, value)) = values.first_not_finite() {
        return Err(CodesError::NotFinite { position, value });
    }
    let mut known: HashMap<(u64, u64), u32> = HashMap::new();
    each_row(None, values.len(), |position, _| {
        // Adding zero makes one zero of the two.
        let hi = values.hi[position] + 0.0;
        let lo = values.lo.as_ref().map_or(0.0, |lo| lo[position] + 0.0);
        let key = (hi.to_bits(), lo.to_bits());
        if let Some(&code) = known.get(&key) {
            return Ok(code);
        }
        // Integers beyond doubles are told apart; decimals that agree as doubles are one level.
        let wide = lo != 0.0 && hi.fract() == 0.0 && lo.fract() == 0.0;
        let level = if wide { Level::Integer(hi as i128 + lo as i128) } else { Level::of_number(hi) };
        let code = looked_up(position, level, lookup)?;
        known.insert(key, code);
        Ok(code)
    })
}

/// Dates and times under `C()`: their ISO text is the level.
fn times<E>(
    array: &ArrayRef,
    keep: Option<&[u32]>,
    lookup: &mut impl FnMut(&Level) -> Result<u32, E>,
) -> Result<Vec<u32>, CodesError<E>> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &options).map_err(|_| CodesError::Type)?;
    let values = numbers(array, None).map_err(|_| CodesError::Type)?;
    let mut known: HashMap<(u64, u64), u32> = HashMap::new();
    each_row(keep, array.len(), |position, row| {
        let key = (values.hi[row].to_bits(), values.lo.as_ref().map_or(0, |lo| lo[row].to_bits()));
        if let Some(&code) = known.get(&key) {
            return Ok(code);
        }
        let text = formatter.value(row).try_to_string().map_err(|_| CodesError::Type)?;
        let code = looked_up(position, Level::Text(text), lookup)?;
        known.insert(key, code);
        Ok(code)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int32Array, LargeStringArray,
        StringArray, StringViewArray, UInt64Array,
    };

    use super::*;

    /// The codes, and the levels in the order of discovery.
    fn coded(array: impl Array + 'static, keep: Option<&[u32]>) -> (Vec<u32>, Vec<String>) {
        let mut levels: Vec<Level> = Vec::new();
        let mut lookup = |level: &Level| {
            assert!(!levels.contains(level), "{level} was asked for twice");
            levels.push(level.clone());
            Ok::<u32, ()>(levels.len() as u32 - 1)
        };
        let array: ArrayRef = Arc::new(array);
        let codes = codes(&array, keep, &mut lookup).unwrap_or_else(|_| panic!("no codes"));
        (codes, levels.iter().map(Level::to_string).collect())
    }

    #[test]
    fn every_kind_of_text_is_coded_alike() {
        let long = "a text of more than twelve bytes";
        let texts = vec!["b", "", long, "b", long, ""];
        let expected = (vec![0, 1, 2, 0, 2, 1], vec!["b".to_owned(), String::new(), long.to_owned()]);
        assert_eq!(coded(StringArray::from(texts.clone()), None), expected);
        assert_eq!(coded(LargeStringArray::from(texts.clone()), None), expected);
        assert_eq!(coded(StringViewArray::from(texts.clone()), None), expected);
        let dictionary: DictionaryArray<Int8Type> = texts.into_iter().collect();
        assert_eq!(coded(dictionary, None), expected);
    }

    #[test]
    fn only_kept_rows_are_seen() {
        let keep = Some(&[1u32, 3][..]);
        let expected = (vec![0, 1], vec!["b".to_owned(), "d".to_owned()]);
        assert_eq!(coded(StringArray::from(vec!["a", "b", "c", "d"]), keep), expected);
        assert_eq!(coded(StringViewArray::from(vec!["a", "b", "c", "d"]), keep), expected);
        let dictionary: DictionaryArray<UInt64Type> = ["a", "b", "c", "d"].into_iter().collect();
        assert_eq!(coded(dictionary, keep), expected);
    }

    #[test]
    fn numbers_and_times_are_levels_under_c() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(coded(Int32Array::from(vec![6, 4, 6]), None), (vec![0, 1, 0], names(&["6", "4"])));
        assert_eq!(
            coded(Float64Array::from(vec![0.0, -0.0, 2.5, 1e5]), None),
            (vec![0, 0, 1, 2], names(&["0", "2.5", "100000"]))
        );
        let wide = UInt64Array::from(vec![u64::MAX, u64::MAX - 1]);
        assert_eq!(coded(wide, None), (vec![0, 1], names(&["18446744073709551615", "18446744073709551614"])));
        let tenths = Decimal128Array::from(vec![1, 20]).with_precision_and_scale(10, 1).unwrap();
        assert_eq!(coded(tenths, None), (vec![0, 1], names(&["0.1", "2"])));
        assert_eq!(
            coded(BooleanArray::from(vec![true, false, true]), None),
            (vec![0, 1, 0], names(&["TRUE", "FALSE"]))
        );
        assert_eq!(coded(Date32Array::from(vec![0, 365]), None), (vec![0, 1], names(&["1970-01-01", "1971-01-01"])));
    }
}

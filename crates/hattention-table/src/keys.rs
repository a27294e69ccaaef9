//! Values of some columns as numbers: equal values have equal numbers, whichever thread reads them first.

use std::sync::{PoisonError, RwLock};

use arrow::array::types::{ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int64Type};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use hashbrown::HashMap;

use crate::design::unknown_column;
use crate::error::TableError;

/// Keys up to this many bytes are looked up without a pointer to follow.
const SHORT: usize = 16;
/// Keys that there can be.
const MOST: usize = 1 << 31;
/// No number.
const UNKNOWN: u32 = u32::MAX;
/// Whole numbers below this are looked up in a table.
const DIRECT: usize = 1 << 22;

/// Numbers of the values of some columns, shared by the threads that read them.
///
/// A null is a value like any other, as in SQL's `GROUP BY`; so is NaN, and there is one zero. Columns may be of any type
/// that Arrow can sort.
///
/// ```
/// use std::sync::Arc;
/// use hattention_table::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
/// use hattention_table::keys::Keys;
///
/// let store: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), Some("a"), None, Some("b")]));
/// let item: ArrayRef = Arc::new(Int64Array::from(vec![7, 7, 7, 7]));
/// let batch = RecordBatch::try_from_iter([("store", store), ("item", item)])?;
/// let keys = Keys::of(&batch.schema(), &["store", "item"])?;
/// let numbers = keys.numbers(&batch)?;
/// assert_eq!(numbers[0], numbers[3]);
/// assert_eq!(keys.len(), 3);
/// // By value, nulls first.
/// assert_eq!(keys.sorted(), [numbers[2], numbers[1], numbers[0]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Keys {
    names: Vec<String>,
    types: Vec<DataType>,
    converter: RowConverter,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    short: HashMap<u128, u32>,
    long: HashMap<Box<[u8]>, u32>,
    /// Numbers of a single column's whole numbers.
    direct: Vec<u32>,
    /// The keys one after the other, by number.
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Keys {
    /// No values yet, of these columns of a table.
    ///
    /// # Errors
    /// - [`TableError::UnknownColumn`] if a column is not there.
    /// - [`TableError::ColumnType`] for a type that has no order.
    pub fn of<S: AsRef<str>>(schema: &Schema, names: &[S]) -> Result<Self, TableError> {
        let kind = |name: &S| {
            let name = name.as_ref();
            let Some((_, field)) = schema.column_with_name(name) else {
                return Err(unknown_column(name, schema.fields().iter().map(|field| field.name().as_str())));
            };
            // (Equal numbers may stand in a dictionary twice: there are two zeros.)
            let data_type = match field.data_type() {
                DataType::Dictionary(_, values) if values.is_numeric() => values.as_ref().clone(),
                other => other.clone(),
            };
            if RowConverter::supports_fields(&[SortField::new(data_type.clone())]) {
                return Ok(data_type);
            }
            let (column, expected) = (name.to_owned(), "values that can be sorted".to_owned());
            Err(TableError::ColumnType { column, expected, got: data_type.to_string() })
        };
        let types: Vec<DataType> = names.iter().map(kind).collect::<Result<_, _>>()?;
        let fields = types.iter().map(|data_type| SortField::new(data_type.clone())).collect();
        let converter = RowConverter::new(fields).map_err(failed)?;
        let names = names.iter().map(|name| name.as_ref().to_owned()).collect();
        Ok(Self { names, types, converter, known: RwLock::default() })
    }

    /// How many values there are so far.
    pub fn len(&self) -> usize {
        self.read(|known| known.ends.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of each row's values. Shape: `[rows]`.
    ///
    /// # Errors
    /// - [`TableError::UnknownColumn`] if the batch lacks a column.
    /// - [`TableError::TooManyLevels`] beyond 2³¹ values.
    /// - [`TableError::Arrow`] if values cannot be read.
    pub fn numbers(&self, batch: &RecordBatch) -> Result<Vec<u32>, TableError> {
        let array = |(name, data_type): (&String, &DataType)| {
            let Some(array) = batch.column_by_name(name) else {
                return Err(unknown_column(
                    name,
                    batch.schema_ref().fields().iter().map(|field| field.name().as_str()),
                ));
            };
            let same = array.data_type() == data_type;
            let array = if same { array.clone() } else { cast(array, data_type).map_err(failed)? };
            Ok(canonical(&array))
        };
        let arrays = self.names.iter().zip(&self.types).map(array).collect::<Result<Vec<_>, _>>()?;
        let direct = direct_places(&arrays);
        let mut numbers = vec![UNKNOWN; batch.num_rows()];
        if let Some(places) = &direct {
            self.read(|known| {
                for (number, place) in numbers.iter_mut().zip(places) {
                    *number = known.direct.get(*place).copied().unwrap_or(UNKNOWN);
                }
            });
            if !numbers.contains(&UNKNOWN) {
                return Ok(numbers);
            }
        }
        let rows = self.converter.convert_columns(&arrays).map_err(failed)?;
        let key = |row: usize| rows.row(row).data();
        let mut new: Vec<usize> = Vec::new();
        self.read(|known| {
            let mut last: Option<usize> = None;
            for row in 0..numbers.len() {
                if numbers[row] == UNKNOWN {
                    // Values often come in runs.
                    let same = last.filter(|last| key(*last) == key(row));
                    numbers[row] = same.map_or_else(|| known.number(key(row)).unwrap_or(UNKNOWN), |last| numbers[last]);
                    last = Some(row);
                    if numbers[row] == UNKNOWN {
                        new.push(row);
                    }
                }
            }
        });
        if !new.is_empty() {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            let mut last: Option<usize> = None;
            for row in new {
                numbers[row] = match last.filter(|last| key(*last) == key(row)) {
                    Some(last) => numbers[last],
                    None => known.insert(key(row), &self.names)?,
                };
                last = Some(row);
                if let Some(places) = &direct {
                    known.remember(places[row], numbers[row]);
                }
            }
        }
        Ok(numbers)
    }

    /// The numbers in the order of their values: the first column's first, nulls before all.
    pub fn sorted(&self) -> Vec<u32> {
        self.read(|known| {
            let mut numbers: Vec<u32> = (0..known.ends.len() as u32).collect();
            numbers.sort_unstable_by(|a, b| known.key(*a).cmp(known.key(*b)));
            numbers
        })
    }

    /// The values of some numbers, a column each; of dictionaries plain.
    ///
    /// # Errors
    /// - [`TableError::Arrow`] if Arrow fails to read what it wrote.
    pub fn values(&self, numbers: &[u32]) -> Result<Vec<ArrayRef>, TableError> {
        let parser = self.converter.parser();
        self.read(|known| self.converter.convert_rows(numbers.iter().map(|number| parser.parse(known.key(*number)))))
            .map_err(failed)
    }

    fn read<R>(&self, f: impl FnOnce(&Known) -> R) -> R {
        f(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Known {
    fn number(&self, key: &[u8]) -> Option<u32> {
        match short(key) {
            Some(key) => self.short.get(&key).copied(),
            None => self.long.get(key).copied(),
        }
    }

    /// The number of a key, new or known.
    fn insert(&mut self, key: &[u8], names: &[String]) -> Result<u32, TableError> {
        if let Some(number) = self.number(key) {
            return Ok(number);
        }
        let count = self.ends.len();
        if count >= MOST {
            return Err(TableError::TooManyLevels { factor: names.join(", "), levels: count + 1, limit: MOST });
        }
        let number = count as u32;
        match short(key) {
            Some(key) => self.short.insert(key, number),
            None => self.long.insert(key.into(), number),
        };
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
        Ok(number)
    }

    /// Puts a number into the table, if it has a place there.
    fn remember(&mut self, place: usize, number: u32) {
        if place < DIRECT {
            self.direct.resize(self.direct.len().max(place + 1), UNKNOWN);
            self.direct[place] = number;
        }
    }

    fn key(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[number]]
    }
}

/// The places in the table of a single column of whole numbers, none of them missing; those without one are `usize::MAX`.
fn direct_places(arrays: &[ArrayRef]) -> Option<Vec<usize>> {
    let [array] = arrays else { return None };
    if !array.data_type().is_integer() || array.null_count() > 0 {
        return None;
    }
    // What 64 bits with a sign do not hold would be null.
    let array = cast(array, &DataType::Int64).ok().filter(|array| array.null_count() == 0)?;
    let values = array.as_primitive::<Int64Type>().values();
    Some(values.iter().map(|value| usize::try_from(*value).unwrap_or(usize::MAX)).collect())
}

/// A short key as a number. No key is the beginning of another, so that zeros behind it make no two alike.
fn short(key: &[u8]) -> Option<u128> {
    let mut bytes = [0; SHORT];
    bytes.get_mut(..key.len())?.copy_from_slice(key);
    Some(u128::from_be_bytes(bytes))
}

/// Numbers that are equal in one form: there are two zeros and many NaNs.
fn canonical(array: &ArrayRef) -> ArrayRef {
    fn floats<T: ArrowPrimitiveType>(array: &ArrayRef, one: impl Fn(T::Native) -> T::Native) -> ArrayRef {
        std::sync::Arc::new(array.as_primitive::<T>().unary::<_, T>(one))
    }
    match array.data_type() {
        DataType::Float64 => floats::<Float64Type>(array, |x| if x.is_nan() { f64::NAN } else { x + 0.0 }),
        DataType::Float32 => floats::<Float32Type>(array, |x| if x.is_nan() { f32::NAN } else { x + 0.0 }),
        DataType::Float16 => {
            type Half = <Float16Type as ArrowPrimitiveType>::Native;
            floats::<Float16Type>(array, |x| if x.is_nan() { Half::NAN } else { x + Half::ZERO })
        }
        _ => array.clone(),
    }
}

fn failed(error: ArrowError) -> TableError {
    TableError::Arrow { operation: "reading the columns of groups".into(), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{DictionaryArray, Float64Array, Int64Array, StringArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    fn batch(array: impl Array + 'static) -> RecordBatch {
        RecordBatch::try_from_iter([("g", Arc::new(array) as ArrayRef)]).unwrap()
    }

    #[test]
    fn zeros_and_nans_are_one_value_each_and_nulls_are_one() {
        let batch = batch(Float64Array::from(vec![Some(0.0), Some(-0.0), Some(f64::NAN), Some(-f64::NAN), None, None]));
        let keys = Keys::of(&batch.schema(), &["g"]).unwrap();
        assert_eq!(keys.numbers(&batch).unwrap(), [0, 0, 1, 1, 2, 2]);
        assert_eq!(keys.sorted(), [2, 0, 1]);
    }

    #[test]
    fn long_and_short_texts_are_told_apart_also_in_dictionaries() {
        let texts = ["a", "", "a text of more than twelve bytes", "a", "a text of more than twelve bytes", "a\0"];
        let plain = batch(StringArray::from(texts.to_vec()));
        let coded: DictionaryArray<Int32Type> = texts.into_iter().collect();
        let coded = batch(coded);
        for batch in [plain, coded] {
            let keys = Keys::of(&batch.schema(), &["g"]).unwrap();
            assert_eq!(keys.numbers(&batch).unwrap(), [0, 1, 2, 0, 2, 3]);
            let sorted = keys.sorted();
            let values = keys.values(&sorted).unwrap();
            let values = values[0].as_string::<i32>();
            assert_eq!(values.iter().flatten().collect::<Vec<_>>(), ["", "a", "a\0", texts[2]]);
        }
    }

    #[test]
    fn whole_numbers_of_any_size_keep_their_numbers() {
        let values = [3, -1, i64::MAX, DIRECT as i64, 3, DIRECT as i64 - 1, -1, i64::MAX, 0];
        let first = batch(Int64Array::from(values.to_vec()));
        let keys = Keys::of(&first.schema(), &["g"]).unwrap();
        let numbers = [0, 1, 2, 3, 0, 4, 1, 2, 5];
        assert_eq!(keys.numbers(&first).unwrap(), numbers);
        let with_null = batch(Int64Array::from(values.map(Some).into_iter().chain([None]).collect::<Vec<_>>()));
        for _ in 0..2 {
            assert_eq!(keys.numbers(&first).unwrap(), numbers);
            assert_eq!(keys.numbers(&with_null).unwrap(), [&numbers[..], &[6]].concat());
        }
        let sorted = keys.values(&keys.sorted()).unwrap();
        let expected = [None, Some(-1), Some(0), Some(3), Some(DIRECT as i64 - 1), Some(DIRECT as i64), Some(i64::MAX)];
        assert_eq!(sorted[0].as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_not_there_is_refused_with_the_nearest_name() {
        let batch = batch(StringArray::from(vec!["a"]));
        let error = Keys::of(&batch.schema(), &["h"]).unwrap_err();
        assert!(matches!(error, TableError::UnknownColumn { .. }), "{error}");
    }
}

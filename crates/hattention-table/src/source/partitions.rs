//! Hive partitions: folders named `year=2013` are a column `year` of the files in them.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array, StringArray, new_null_array,
};
use arrow::datatypes::{DataType, Int32Type};

use super::schema::text_type;

/// What stands for a missing value.
const MISSING: &str = "__HIVE_DEFAULT_PARTITION__";

/// Column and value of a folder; none is missing.
pub(crate) type Partition = (String, Option<String>);

/// The partitions that folders name, from the outermost in. Values are percent-decoded.
pub(crate) fn of_folders<'a>(folders: impl Iterator<Item = &'a str>) -> Vec<Partition> {
    let partition = |folder: &str| {
        let (column, value) = folder.split_once('=').filter(|(column, _)| !column.is_empty())?;
        Some((decoded(column), (value != MISSING).then(|| decoded(value))))
    };
    folders.filter_map(partition).collect()
}

/// `%20` and the like; what is none stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        let hex = others.get(..2).filter(|hex| *first == b'%' && hex.iter().all(u8::is_ascii_hexdigit));
        let hex = hex.and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[2..];
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// The type of a column with these values: integers, numbers, truth values or text, the first that holds them all.
pub(crate) fn type_of<'a>(values: impl Iterator<Item = Option<&'a str>>) -> DataType {
    let values: Vec<&str> = values.flatten().collect();
    let all = |holds: fn(&str) -> bool| values.iter().all(|value| holds(value));
    if values.is_empty() {
        DataType::Null
    } else if all(|value| value.parse::<i64>().is_ok()) {
        DataType::Int64
    } else if all(|value| value.parse::<f64>().is_ok_and(f64::is_finite)) {
        DataType::Float64
    } else if all(|value| truth(value).is_some()) {
        DataType::Boolean
    } else {
        text_type()
    }
}

fn truth(value: &str) -> Option<bool> {
    value.to_ascii_lowercase().parse().ok()
}

/// The column of a file with this value.
pub(crate) fn column(value: Option<&str>, data_type: &DataType, rows: usize) -> ArrayRef {
    let array = || -> Option<ArrayRef> {
        let value = value?;
        Some(match data_type {
            DataType::Int64 => Arc::new(Int64Array::from_value(value.parse().ok()?, rows)),
            DataType::Float64 => Arc::new(Float64Array::from_value(value.parse().ok()?, rows)),
            DataType::Boolean => Arc::new(BooleanArray::from(vec![truth(value)?; rows])),
            DataType::Dictionary(..) => {
                let keys = Int32Array::from_value(0, rows);
                let values = Arc::new(StringArray::from(vec![value]));
                Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values).ok()?)
            }
            _ => return None,
        })
    };
    array().unwrap_or_else(|| new_null_array(data_type, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_name_columns_and_values_have_the_narrowest_type() {
        let folders = ["data", "year=2013", "city=New%20York", "=x", "day=__HIVE_DEFAULT_PARTITION__", "a=b=c"];
        let found = of_folders(folders.into_iter());
        let expected = [("year", Some("2013")), ("city", Some("New York")), ("day", None), ("a", Some("b=c"))];
        let shown: Vec<(&str, Option<&str>)> = found.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
        assert_eq!(shown, expected);
        let of = |values: &[Option<&str>]| type_of(values.iter().copied());
        assert_eq!(of(&[Some("01"), None, Some("12")]), DataType::Int64);
        assert_eq!(of(&[Some("1"), Some("2.5")]), DataType::Float64);
        assert_eq!(of(&[Some("true"), Some("False")]), DataType::Boolean);
        assert_eq!(of(&[Some("1"), Some("b")]), text_type());
        assert_eq!(of(&[None]), DataType::Null);
        assert_eq!((decoded("50%"), decoded("a%+5")), ("50%".to_owned(), "a%+5".to_owned()));
    }
}

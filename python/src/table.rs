//! Tables of Python as sources: paths, anything that speaks the Arrow PyCapsule protocol, and columns of numpy.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array, NullArray, RecordBatch,
    RecordBatchOptions, StringArray, UInt64Array, new_empty_array,
};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::compute::{cast, concat, nullif};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use hattention_table::arrow;
use hattention_table::error::TableError;
use hattention_table::formula::Formula;
use hattention_table::regression::{Failure, fit};
use hattention_table::source::{Source, SourceOptions};
use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList, PyString, PyTuple};
use pyo3_arrow::input::{AnyArray, AnyRecordBatch};

use crate::failure::data_error;

/// What the data, or an object that should hold them, are not.
const WRONG_DATA: &str = "DataError";
const WRONG_TYPE: &str = "DataTypeError";

/// Rows, before it is known which columns are labels.
pub enum Rows {
    /// Paths, globs, folders and addresses.
    Paths(Vec<String>),
    /// A table in memory, and what messages call it.
    Table(SchemaRef, Vec<RecordBatch>, String),
}

impl Rows {
    /// What Python handed over, as `hattention._tables` prepares it: a list of paths, a dictionary of columns, or a table of
    /// Arrow's; `name` is what messages call it.
    pub fn of(data: &Bound<'_, PyAny>, name: &str) -> PyResult<Self> {
        if let Ok(paths) = data.cast::<PyList>() {
            return Ok(Self::Paths(paths.extract()?));
        }
        if let Ok(columns) = data.cast::<PyDict>() {
            let (schema, batch) = batch_of(columns, name)?;
            return Ok(Self::Table(schema, vec![batch], name.to_owned()));
        }
        let (py, kind) = (data.py(), data.get_type().name()?);
        let unreadable = |class, hint, error: PyErr| {
            let message = format!("{name}: cannot read the {kind} as a table of Arrow: {}", error.value(py));
            data_error(py, class, &message, hint, None)
        };
        let table = data.extract::<AnyRecordBatch>();
        let hint = Some("convert it to a table whose columns are numbers, text or times");
        let table = table.map_err(|error| unreadable(WRONG_TYPE, hint, error))?.into_table();
        let (batches, schema) = table.map_err(|error| unreadable(WRONG_DATA, None, error.into()))?.into_inner();
        if batches.is_empty() && data.hasattr("read_next_batch")? {
            let message = format!("{name}: the {kind} has no rows, or gave them before: a reader gives its rows once");
            return Err(data_error(
                py,
                WRONG_DATA,
                &message,
                Some("make a new reader, or keep the rows in a table"),
                None,
            ));
        }
        Ok(Self::Table(schema, batches, name.to_owned()))
    }

    /// Opens them for a formula.
    ///
    /// # Errors
    /// Those of [`fit::open_for`].
    pub fn open_for(&self, formula: &Formula) -> Result<Source, Failure> {
        fit::open_for(formula, &[], |labels| self.open(labels, rayon::current_num_threads()))
    }

    /// Opens them; `labels` are columns of CSV files that are text whatever they look like.
    ///
    /// # Errors
    /// Those of [`Source::open`] and [`Source::of_batches`].
    pub fn open(&self, labels: &[String], threads: usize) -> Result<Source, TableError> {
        let options = SourceOptions { csv_text: labels.to_vec(), partitions: threads, ..SourceOptions::default() };
        match self {
            Self::Paths(paths) => Source::open(paths, &options),
            Self::Table(schema, batches, name) => Source::of_batches(schema, batches.clone(), name, &options),
        }
    }
}

/// Columns of numpy as a batch.
fn batch_of(columns: &Bound<'_, PyDict>, name: &str) -> PyResult<(SchemaRef, RecordBatch)> {
    let (mut fields, mut arrays): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for (column, values) in columns {
        let column: String = column.extract()?;
        let array = array_of(name, &column, &values)?;
        if let Some(first) = arrays.first().filter(|first| first.len() != array.len()) {
            let message = format!(
                "{name}: column `{column}` has {} rows, and `{}` has {}",
                array.len(),
                fields[0].name(),
                first.len()
            );
            return Err(data_error(columns.py(), WRONG_DATA, &message, None, None));
        }
        fields.push(Field::new(column, array.data_type().clone(), true));
        arrays.push(array);
    }
    let rows = arrays.first().map_or(0, |array| array.len());
    let schema = Arc::new(Schema::new(fields));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options);
    Ok((schema, batch.map_err(|error| data_error(columns.py(), WRONG_DATA, &format!("{name}: {error}"), None, None))?))
}

/// One column: an array of numpy or Arrow; codes and categories; which rows are missing, and the values; or the number of
/// rows, all missing.
fn array_of(name: &str, column: &str, values: &Bound<'_, PyAny>) -> PyResult<ArrayRef> {
    let wrong = |error: &dyn std::fmt::Display| {
        let message = format!("{name}: column `{column}`: {error}");
        data_error(values.py(), WRONG_TYPE, &message, Some("convert it to numbers, text or times"), None)
    };
    if let Ok(pair) = values.cast::<PyTuple>() {
        let (first, second) = (pair.get_item(0)?, array_of(name, column, &pair.get_item(1)?)?);
        if let Ok(missing) = first.cast::<PyArray1<bool>>() {
            let missing = BooleanArray::from_iter(missing.readonly().as_array().iter().map(|one| Some(*one)));
            return nullif(&second, &missing).map_err(|error| wrong(&error));
        }
        let codes: PyReadonlyArray1<'_, i32> = first.extract()?;
        let codes = codes.as_array().iter().map(|code| (*code >= 0).then_some(*code)).collect::<Int32Array>();
        return Ok(Arc::new(DictionaryArray::try_new(codes, second).map_err(|error| wrong(&error))?));
    }
    if let Ok(rows) = values.cast::<PyInt>() {
        return Ok(Arc::new(NullArray::new(rows.extract()?)));
    }
    if values.hasattr("__arrow_c_stream__")? || values.hasattr("__arrow_c_array__")? {
        let array = values.extract::<AnyArray>().and_then(|array| Ok(array.into_chunked_array()?.into_inner()));
        let (chunks, field) = array.map_err(|error| wrong(error.value(values.py())))?;
        let chunks: Vec<&dyn Array> = chunks.iter().map(|chunk| &**chunk).collect();
        return match chunks.as_slice() {
            [] => Ok(new_empty_array(field.data_type())),
            chunks => concat(chunks).map_err(|error| wrong(&error)),
        };
    }
    if let Ok(doubles) = values.cast::<PyArray1<f64>>() {
        return Ok(Arc::new(Float64Array::new(shared(doubles), None)));
    }
    if let Ok(integers) = values.cast::<PyArray1<i64>>() {
        return Ok(Arc::new(Int64Array::from_iter_values(integers.readonly().as_array().iter().copied())));
    }
    if let Ok(integers) = values.cast::<PyArray1<u64>>() {
        return Ok(Arc::new(UInt64Array::from_iter_values(integers.readonly().as_array().iter().copied())));
    }
    if let Ok(truths) = values.cast::<PyArray1<bool>>() {
        return Ok(Arc::new(truths.readonly().as_array().iter().map(|truth| Some(*truth)).collect::<BooleanArray>()));
    }
    let dtype = values.getattr("dtype")?;
    if let Some(data_type) = time_type(&dtype.getattr("str")?.extract::<String>()?) {
        let numbers = values.call_method1("view", ("i8",))?;
        let numbers = numbers.cast::<PyArray1<i64>>()?.readonly();
        let steps = numbers.as_array().iter().map(|step| (*step != i64::MIN).then_some(*step)).collect::<Int64Array>();
        let steps: ArrayRef = match data_type {
            DataType::Date32 => cast(&steps, &DataType::Int32).map_err(|error| wrong(&error))?,
            _ => Arc::new(steps),
        };
        return cast(&steps, &data_type).map_err(|error| wrong(&error));
    }
    labels_of(column, values)
}

/// The type of a numpy type of times, in the units that `hattention._tables` leaves: days, and from seconds to nanoseconds.
fn time_type(dtype: &str) -> Option<DataType> {
    let (kind, unit) = dtype.get(1..)?.strip_suffix(']')?.split_once('[')?;
    let unit = match unit {
        "D" => return (kind == "M8").then_some(DataType::Date32),
        "s" => TimeUnit::Second,
        "ms" => TimeUnit::Millisecond,
        "us" => TimeUnit::Microsecond,
        "ns" => TimeUnit::Nanosecond,
        _ => return None,
    };
    match kind {
        "M8" => Some(DataType::Timestamp(unit, None)),
        "m8" => Some(DataType::Duration(unit)),
        _ => None,
    }
}

/// A column of objects: text, with `None` or NaN where it is missing.
fn labels_of(column: &str, values: &Bound<'_, PyAny>) -> PyResult<ArrayRef> {
    let mut labels: Vec<Option<String>> = Vec::with_capacity(values.len()?);
    for (row, value) in values.try_iter()?.enumerate() {
        let value = value?;
        if let Ok(text) = value.cast::<PyString>() {
            labels.push(Some(text.to_str()?.to_owned()));
        } else if value.is_none() || value.extract::<f64>().is_ok_and(f64::is_nan) {
            labels.push(None);
        } else {
            let kind = value.get_type().name()?;
            let message = format!("row {}: column `{column}` holds an object of type {kind}, expected text", row + 1);
            let hint = "convert the column to numbers, text or times: all its values need one type";
            return Err(data_error(values.py(), WRONG_TYPE, &message, Some(hint), Some(row + 1)));
        }
    }
    Ok(Arc::new(StringArray::from(labels)))
}

/// The numbers of an array, not copied if they lie side by side; the array lives as long as they are used.
fn shared(doubles: &Bound<'_, PyArray1<f64>>) -> ScalarBuffer<f64> {
    /// What owns the numbers.
    struct Owner(#[allow(dead_code)] Py<PyArray1<f64>>);
    impl std::panic::RefUnwindSafe for Owner {}

    let readonly = doubles.readonly();
    let Ok(values) = readonly.as_slice() else {
        return readonly.as_array().iter().copied().collect::<Vec<f64>>().into();
    };
    let (length, start) = (size_of_val(values), std::ptr::NonNull::from(values).cast::<u8>());
    // SAFETY: `start` points to `length` bytes that numpy has allocated for this array, aligned for doubles, and the owner
    // keeps the array until the buffer is dropped. (Whoever writes to an array while it is read gets numbers of both.)
    #[allow(unsafe_code)]
    let buffer = unsafe { Buffer::from_custom_allocation(start, length, Arc::new(Owner(doubles.clone().unbind()))) };
    ScalarBuffer::new(buffer, 0, doubles.len())
}

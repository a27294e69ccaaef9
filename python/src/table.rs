//! Tables of Python as sources: paths, anything that speaks the Arrow PyCapsule protocol, and columns of numpy.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch,
    RecordBatchOptions, StringArray, TimestampNanosecondArray, new_empty_array,
};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::compute::concat;
use arrow::datatypes::{Field, Schema, SchemaRef};
use hattention_table::arrow;
use hattention_table::error::TableError;
use hattention_table::formula::Formula;
use hattention_table::regression::{Failure, fit};
use hattention_table::source::{Source, SourceOptions};
use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use pyo3_arrow::input::{AnyArray, AnyRecordBatch};

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
        let (batches, schema) = data.extract::<AnyRecordBatch>()?.into_table()?.into_inner();
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
        let array = array_of(&column, &values)?;
        if let Some(first) = arrays.first().filter(|first| first.len() != array.len()) {
            let message = format!(
                "{name}: column `{column}` has {} rows, and `{}` has {}",
                array.len(),
                fields[0].name(),
                first.len()
            );
            return Err(PyValueError::new_err(message));
        }
        fields.push(Field::new(column, array.data_type().clone(), true));
        arrays.push(array);
    }
    let rows = arrays.first().map_or(0, |array| array.len());
    let schema = Arc::new(Schema::new(fields));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options);
    Ok((schema, batch.map_err(|error| PyValueError::new_err(error.to_string()))?))
}

/// One column: an array of numpy, or codes and categories.
fn array_of(column: &str, values: &Bound<'_, PyAny>) -> PyResult<ArrayRef> {
    if let Ok(pair) = values.cast::<PyTuple>() {
        let (codes, categories): (PyReadonlyArray1<'_, i32>, Vec<String>) = pair.extract()?;
        let codes = codes.as_array().iter().map(|code| (*code >= 0).then_some(*code)).collect::<Int32Array>();
        let labels = DictionaryArray::try_new(codes, Arc::new(StringArray::from(categories)));
        return Ok(Arc::new(labels.map_err(|error| PyValueError::new_err(format!("column `{column}`: {error}")))?));
    }
    if values.hasattr("__arrow_c_stream__")? || values.hasattr("__arrow_c_array__")? {
        let (chunks, field) = values.extract::<AnyArray>()?.into_chunked_array()?.into_inner();
        let chunks: Vec<&dyn Array> = chunks.iter().map(|chunk| &**chunk).collect();
        return match chunks.as_slice() {
            [] => Ok(new_empty_array(field.data_type())),
            chunks => concat(chunks).map_err(|error| PyValueError::new_err(format!("column `{column}`: {error}"))),
        };
    }
    if let Ok(doubles) = values.cast::<PyArray1<f64>>() {
        return Ok(Arc::new(Float64Array::new(shared(doubles), None)));
    }
    if let Ok(integers) = values.cast::<PyArray1<i64>>() {
        return Ok(Arc::new(Int64Array::from_iter_values(integers.readonly().as_array().iter().copied())));
    }
    if let Ok(truths) = values.cast::<PyArray1<bool>>() {
        return Ok(Arc::new(truths.readonly().as_array().iter().map(|truth| Some(*truth)).collect::<BooleanArray>()));
    }
    if values.getattr("dtype")?.getattr("kind")?.extract::<char>()? == 'M' {
        let numbers = values.call_method1("view", ("i8",))?;
        let numbers = numbers.cast::<PyArray1<i64>>()?.readonly();
        let numbers = numbers.as_array();
        let times = numbers.iter().map(|time| (*time != i64::MIN).then_some(*time));
        return Ok(Arc::new(times.collect::<TimestampNanosecondArray>()));
    }
    labels_of(column, values)
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
            return Err(PyTypeError::new_err(format!(
                "row {}: column `{column}` holds an object of type {kind}, expected text; convert the column to numbers \
                 or text",
                row + 1
            )));
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

//! The types that leave a source, and how the types of several files become one.
//!
//! Sources bring dozens of Arrow types; a regression knows numbers, truth values and labels. What leaves a source is
//! therefore one of `Int64`, `UInt64`, `Float64`, `Boolean`, `Dictionary(Int32, Utf8)`, `Null`, or, unchanged, a type
//! that is none of these (dates, lists, …). Categories of numbers and times stay dictionaries of such a type, since they are
//! factors.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::error::SourceError;

/// The type of labels.
pub(crate) fn text_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// The type of categories that are numbers or times.
fn category_type(values: DataType) -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(values))
}

/// The type of the values of a dictionary of these values, as it leaves the source.
pub(crate) fn category_values(values: &DataType) -> DataType {
    match values {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        other => leaving_type(other),
    }
}

/// The type as which a column of this type leaves the source.
pub(crate) fn leaving_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => DataType::Int64,
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => DataType::Int64,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            DataType::Float64
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => text_type(),
        DataType::Dictionary(_, values) if values.is_numeric() || values.is_temporal() => {
            category_type(leaving_type(values))
        }
        DataType::Dictionary(_, values) => leaving_type(values),
        other => other.clone(),
    }
}

/// The schema with every column as it leaves the source. All columns are nullable: files may disagree about that.
pub(crate) fn leaving_schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> =
        schema.fields().iter().map(|field| Field::new(field.name(), leaving_type(field.data_type()), true)).collect();
    Arc::new(Schema::new(fields))
}

/// A type that holds the values of both, or `None`.
pub(crate) fn common_type(left: &DataType, right: &DataType) -> Option<DataType> {
    match (left, right) {
        _ if left == right => Some(left.clone()),
        (DataType::Null, other) | (other, DataType::Null) => Some(other.clone()),
        (DataType::Int64 | DataType::UInt64, DataType::Float64)
        | (DataType::Float64, DataType::Int64 | DataType::UInt64) => Some(DataType::Float64),
        (DataType::Dictionary(_, left), DataType::Dictionary(_, right)) => common_type(left, right).map(category_type),
        _ => None,
    }
}

/// What a type is called in messages.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Int64 | DataType::UInt64 => "an integer".into(),
        DataType::Float64 => "a number".into(),
        DataType::Boolean => "true or false".into(),
        DataType::Dictionary(_, values) if !values.is_string() => "categories".into(),
        DataType::Dictionary(..) => "text".into(),
        DataType::Null => "empty".into(),
        DataType::Date32 | DataType::Date64 => "a date".into(),
        DataType::Timestamp(..) => "a time".into(),
        other => other.to_string(),
    }
}

/// The columns of one file, with its name.
pub(crate) struct Named<'a> {
    pub(crate) name: &'a str,
    pub(crate) schema: &'a Schema,
}

/// One schema for files that must have the same columns; their order is that of the first file.
pub(crate) fn unify(files: &[Named<'_>]) -> Result<SchemaRef, SourceError> {
    let Some((first, others)) = files.split_first() else {
        return Err(SourceError::NoSource);
    };
    let mut types: Vec<DataType> = first.schema.fields().iter().map(|field| field.data_type().clone()).collect();
    // The file from which a column has its type, for the message.
    let mut from = vec![first.name; types.len()];
    for file in others {
        expect_same_columns(first, file)?;
        for (at, field) in first.schema.fields().iter().enumerate() {
            let (_, other) = file.schema.fields().find(field.name()).ok_or(SourceError::NoSource)?;
            let common = common_type(&types[at], other.data_type()).ok_or_else(|| SourceError::TypesDiffer {
                column: field.name().clone(),
                left: from[at].into(),
                left_type: type_name(&types[at]),
                right: file.name.into(),
                right_type: type_name(other.data_type()),
            })?;
            if common != types[at] {
                from[at] = file.name;
                types[at] = common;
            }
        }
    }
    let fields = first.schema.fields().iter().zip(types);
    let fields: Vec<Field> = fields.map(|(field, data_type)| Field::new(field.name(), data_type, true)).collect();
    Ok(Arc::new(Schema::new(fields)))
}

fn expect_same_columns(left: &Named<'_>, right: &Named<'_>) -> Result<(), SourceError> {
    let lacking = |these: &Schema, those: &Schema| -> Vec<String> {
        let names = these.fields().iter().map(|field| field.name());
        names.filter(|name| those.fields().find(name).is_none()).cloned().collect()
    };
    let missing = lacking(left.schema, right.schema);
    let extra = lacking(right.schema, left.schema);
    if missing.is_empty() && extra.is_empty() {
        return Ok(());
    }
    Err(SourceError::ColumnsDiffer { left: left.name.into(), right: right.name.into(), missing, extra })
}

/// Refuses two columns of one name.
pub(crate) fn expect_distinct<'a>(path: &str, names: impl Iterator<Item = &'a str>) -> Result<(), SourceError> {
    let mut seen = std::collections::HashMap::new();
    for (at, name) in names.enumerate() {
        if let Some(first) = seen.insert(name, at) {
            let column = name.to_owned();
            return Err(SourceError::DuplicateColumn { path: path.into(), column, first: first + 1, second: at + 1 });
        }
    }
    Ok(())
}

/// The batch with the names and types of `target`, column by column in order.
pub(crate) fn conform(batch: &RecordBatch, target: &SchemaRef) -> Result<RecordBatch, String> {
    let columns = batch.columns().iter().zip(target.fields());
    let columns = columns.map(|(column, field)| cast_to(column, field.data_type())).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(target), columns, &options).map_err(|error| error.to_string())
}

fn cast_to(column: &ArrayRef, target: &DataType) -> Result<ArrayRef, String> {
    if column.data_type() == target {
        return Ok(Arc::clone(column));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let cast =
        |column: &ArrayRef, to: &DataType| cast_with_options(column, to, &options).map_err(|error| error.to_string());
    match (column.data_type(), target) {
        // Arrow packs only Utf8 into a Utf8 dictionary.
        (DataType::LargeUtf8 | DataType::Utf8View, DataType::Dictionary(..)) => {
            cast(&cast(column, &DataType::Utf8)?, target)
        }
        _ => cast(column, target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dictionary(values: DataType) -> DataType {
        DataType::Dictionary(Box::new(DataType::UInt8), Box::new(values))
    }

    #[test]
    fn categories_of_numbers_stay_categories() {
        assert_eq!(leaving_type(&dictionary(DataType::LargeUtf8)), text_type());
        assert_eq!(leaving_type(&dictionary(DataType::Boolean)), DataType::Boolean);
        let (whole, doubles) =
            (leaving_type(&dictionary(DataType::Int16)), leaving_type(&dictionary(DataType::Float32)));
        assert_eq!((&whole, &doubles), (&category_type(DataType::Int64), &category_type(DataType::Float64)));
        assert_eq!(common_type(&whole, &doubles), Some(doubles));
        assert_eq!(common_type(&whole, &DataType::Int64), None);
        assert_eq!(common_type(&whole, &text_type()), None);
    }
}

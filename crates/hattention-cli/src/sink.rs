//! Tables of results, batch by batch: printed, CSV or Parquet.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use hattention_table::arrow::array::RecordBatch;
use hattention_table::arrow::csv::WriterBuilder;
use hattention_table::arrow::datatypes::{DataType, SchemaRef};
use hattention_table::parquet::arrow::ArrowWriter;
use hattention_table::parquet::file::properties::WriterProperties;
use hattention_table::parquet::schema::types::ColumnPath;

use crate::failure::Failure;
use crate::output::{self, Whole};

/// Refuses a file whose name does not tell its format.
///
/// # Errors
/// If it ends neither in .csv nor in .parquet.
pub fn check_format(path: &Path) -> Result<(), Failure> {
    match extension(path).as_deref() {
        Some("csv" | "parquet") => Ok(()),
        _ => Err(Failure::usage(
            format!("cannot tell the format of {}", path.display()),
            "end the name in .csv or .parquet",
        )),
    }
}

fn extension(path: &Path) -> Option<String> {
    path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase())
}

/// Where the table goes.
pub enum Sink {
    /// To standard output, as CSV.
    Print {
        /// The header is still to come.
        header: bool,
    },
    /// To a file, as CSV.
    Csv {
        /// The file.
        whole: Whole,
        /// The header is still to come.
        header: bool,
    },
    /// To a file, as Parquet.
    Parquet(Box<ArrowWriter<std::fs::File>>, Whole),
}

impl Sink {
    /// Opens the file, or standard output.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: Option<&Path>, schema: &SchemaRef) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::Print { header: true }) };
        let whole = Whole::create(path)?;
        if extension(path).as_deref() != Some("parquet") {
            return Ok(Self::Csv { whole, header: true });
        }
        let file = whole.file.get_ref().try_clone().map_err(|e| unwritable(&e))?;
        let writer =
            ArrowWriter::try_new(file, Arc::clone(schema), Some(properties(schema))).map_err(|e| unwritable(&e))?;
        Ok(Self::Parquet(Box::new(writer), whole))
    }

    /// Writes a batch of the schema.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        match self {
            Self::Print { header } => {
                let text = csv(batch, std::mem::take(header))?;
                output::print(&String::from_utf8_lossy(&text))
            }
            Self::Csv { whole, header } => {
                let text = csv(batch, std::mem::take(header))?;
                whole.file.write_all(&text).map_err(|e| unwritable(&e))
            }
            Self::Parquet(writer, _) => writer.write(batch).map_err(|e| unwritable(&e)),
        }
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// If the end cannot be written.
    pub fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Print { .. } => Ok(()),
            Self::Csv { whole, .. } => whole.finish(),
            Self::Parquet(writer, whole) => {
                writer.close().map_err(|e| unwritable(&e))?;
                whole.finish()
            }
        }
    }
}

/// Measured numbers are all different: a dictionary of them costs time and room.
fn properties(schema: &SchemaRef) -> WriterProperties {
    let numbers = schema.fields().iter().filter(|field| *field.data_type() == DataType::Float64);
    let plain = |builder: hattention_table::parquet::file::properties::WriterPropertiesBuilder, name: &String| {
        builder.set_column_dictionary_enabled(ColumnPath::from(vec![name.clone()]), false)
    };
    numbers.map(|field| field.name()).fold(WriterProperties::builder(), plain).build()
}

fn csv(batch: &RecordBatch, header: bool) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let mut writer = WriterBuilder::new().with_header(header).build(&mut text);
    writer.write(batch).map_err(|e| unwritable(&e))?;
    drop(writer);
    Ok(text)
}

/// What a failed write means.
pub fn unwritable(error: &dyn std::fmt::Display) -> Failure {
    Failure::usage(format!("cannot write the table: {error}"), "check the disk and the folder")
}

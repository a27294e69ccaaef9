//! `hat predict`.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use hattention_table::arrow::array::{ArrayRef, Float64Array, RecordBatch, UInt64Array};
use hattention_table::arrow::datatypes::{DataType, Field, Schema};
use hattention_table::design::Unseen;
use hattention_table::parquet::arrow::ArrowWriter;
use hattention_table::regression::predict::{Interval, PredictOptions, Predictor, Values, check_level};
use hattention_table::source::{ScanOrder, Source};

use crate::args::{IntervalArg, PredictArgs, UnseenArg};
use crate::failure::Failure;
use crate::model;
use crate::output::{self, Whole};
use crate::progress::Progress;

/// Runs the command.
pub fn run(args: &PredictArgs, quiet: bool) -> Result<(), Failure> {
    check_level(args.level)?;
    if let Some(path) = &args.output {
        output::check_apart(path, &args.source.sources)?;
    }
    let model = model::load(&args.model)?;
    let source = crate::fit::open(&args.source, &model.labels())?;
    let options = PredictOptions {
        interval: args.interval.map(|kind| match kind {
            IntervalArg::Confidence => Interval::Confidence,
            IntervalArg::Prediction => Interval::Prediction,
        }),
        level: args.level,
        unseen: if args.unseen == UnseenArg::Null { Unseen::Null } else { Unseen::Error },
        augment: args.augment,
    };
    let predictor = Predictor::new(&model, &source, options)?;
    let sink = Sink::open(args.output.as_deref(), &predictor.names())?;
    write(&source, &predictor.columns(), sink, quiet, |batch, first_row| predictor.predict(batch, first_row))
}

/// Writes what is predicted of every batch of a source, in its order.
///
/// # Errors
/// Those of reading, of predicting and of writing.
pub fn write(
    source: &Source,
    columns: &[String],
    mut sink: Sink,
    quiet: bool,
    predict: impl Fn(&RecordBatch, u64) -> Result<Vec<Values>, Failure>,
) -> Result<(), Failure> {
    let progress = Progress::new(source.bytes_total(), "predicting", quiet);
    for batch in source.scan(columns, ScanOrder::File)? {
        let batch = batch?;
        let first_row = batch.first_row.unwrap_or(0);
        let values = predict(&batch.batch, first_row).map_err(|failure| failure.placed(source))?;
        sink.write(first_row, batch.batch.num_rows(), &values)?;
        progress.add(batch.bytes);
    }
    drop(progress);
    sink.finish()
}

/// Where the result goes.
pub struct Sink {
    /// Whether the first column is the number of the row.
    numbered: bool,
    kind: Kind,
}

enum Kind {
    /// Standard output, and the header while it is still to come.
    Print(std::io::BufWriter<std::io::Stdout>, Option<String>),
    Csv(Whole),
    Parquet(Option<Box<ArrowWriter<std::fs::File>>>, Whole, Arc<Schema>),
}

impl Sink {
    /// Opens it and writes the header: `row`, then the names.
    ///
    /// # Errors
    /// If the file cannot be created, its name does not tell its format, or two columns have one name.
    pub fn open(path: Option<&Path>, names: &[String]) -> Result<Self, Failure> {
        Self::with(path, names, true)
    }

    /// A file of these columns and no others.
    ///
    /// # Errors
    /// As [`Sink::open`].
    pub fn of_columns(path: &Path, names: &[String]) -> Result<Self, Failure> {
        Self::with(Some(path), names, false)
    }

    fn with(path: Option<&Path>, names: &[String], numbered: bool) -> Result<Self, Failure> {
        let names: Vec<String> = numbered.then(|| "row".to_owned()).into_iter().chain(names.iter().cloned()).collect();
        if let Some(twice) = (1..names.len()).find(|&i| names[..i].contains(&names[i])) {
            let message = format!("two columns of the output are called `{}`", names[twice]);
            return Err(Failure::usage(message, "rename the column in the source and in the formula"));
        }
        let quote = |name: &String| {
            if name.contains([',', '"', '\n']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.clone() }
        };
        let header = format!("{}\n", names.iter().map(quote).collect::<Vec<_>>().join(","));
        let Some(path) = path else {
            // (Where nothing can be predicted at all, nothing is printed: the header comes with the first rows, or at the end.)
            let out = std::io::BufWriter::new(std::io::stdout());
            return Ok(Self { numbered, kind: Kind::Print(out, Some(header)) });
        };
        match path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).as_deref() {
            Some("csv") => {
                let mut sink = Self { numbered, kind: Kind::Csv(Whole::create(path)?) };
                sink.text(&header)?;
                Ok(sink)
            }
            Some("parquet") => {
                let field = |(place, name): (usize, &String)| match numbered && place == 0 {
                    true => Field::new(name, DataType::UInt64, false),
                    false => Field::new(name, DataType::Float64, true),
                };
                let schema = Arc::new(Schema::new(names.iter().enumerate().map(field).collect::<Vec<_>>()));
                let whole = Whole::create(path)?;
                let file = whole.file.get_ref().try_clone().map_err(|e| unwritable(&e))?;
                let writer = ArrowWriter::try_new(file, Arc::clone(&schema), None).map_err(|e| unwritable(&e))?;
                Ok(Self { numbered, kind: Kind::Parquet(Some(Box::new(writer)), whole, schema) })
            }
            _ => Err(Failure::usage(
                format!("cannot tell the format of {}", path.display()),
                "end the name in .csv or .parquet",
            )),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), Failure> {
        match &mut self.kind {
            Kind::Print(out, header) => {
                let header = header.take().unwrap_or_default();
                out.write_all(header.as_bytes())
                    .and_then(|()| out.write_all(text.as_bytes()))
                    .or_else(|e| output::stdout_failed(&e))
            }
            Kind::Csv(whole) => whole.file.write_all(text.as_bytes()).map_err(|e| unwritable(&e)),
            Kind::Parquet(..) => Ok(()),
        }
    }

    /// Writes a batch: the numbers of its rows, and their values.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write(&mut self, first_row: u64, rows: usize, values: &[Values]) -> Result<(), Failure> {
        if let Kind::Parquet(writer, _, schema) = &mut self.kind {
            let numbers = || UInt64Array::from_iter_values((1..=rows as u64).map(|row| first_row + row));
            let mut arrays: Vec<ArrayRef> = if self.numbered { vec![Arc::new(numbers())] } else { Vec::new() };
            arrays.extend(values.iter().map(|v| Arc::new(Float64Array::from(v.clone())) as ArrayRef));
            let batch = RecordBatch::try_new(Arc::clone(schema), arrays).map_err(|e| unwritable(&e))?;
            return match writer {
                Some(writer) => writer.write(&batch).map_err(|e| unwritable(&e)),
                None => Ok(()),
            };
        }
        let mut text = String::with_capacity(rows * (8 + 20 * values.len()));
        for row in 0..rows {
            if self.numbered {
                text.push_str(&(first_row + row as u64 + 1).to_string());
            }
            for (place, column) in values.iter().enumerate() {
                if self.numbered || place > 0 {
                    text.push(',');
                }
                if let Some(x) = column[row] {
                    // Rust's shortest notation reads back to the same bits.
                    text.push_str(&format!("{x:?}"));
                } else if !self.numbered && values.len() == 1 {
                    // Readers skip empty lines.
                    text.push_str("\"\"");
                }
            }
            text.push('\n');
        }
        self.text(&text)
    }

    /// Writes what is left and gives the file its name.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> Result<(), Failure> {
        // (The header, where there were no rows.)
        self.text("")?;
        match self.kind {
            Kind::Print(mut out, _) => out.flush().or_else(|e| output::stdout_failed(&e)),
            Kind::Csv(whole) => whole.finish(),
            Kind::Parquet(writer, whole, _) => {
                if let Some(writer) = writer {
                    writer.close().map_err(|e| unwritable(&e))?;
                }
                whole.finish()
            }
        }
    }
}

fn unwritable(error: &dyn std::fmt::Display) -> Failure {
    Failure::usage(format!("cannot write the predictions: {error}"), "check the disk and the folder")
}

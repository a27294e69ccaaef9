//! `hat predict`: one row out for every row in.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use hattention::attention::{self, Keys};
use hattention::fit::Fit;
use hattention::fit::distribution::t_quantile;
use hattention_table::arrow::array::{ArrayRef, Float64Array, RecordBatch, UInt64Array};
use hattention_table::arrow::datatypes::{DataType, Field, Schema};
use hattention_table::design::{EncodedBlock, FrozenDesign, FrozenOptions, LevelCodes, NaPolicy, Unseen};
use hattention_table::parquet::arrow::ArrowWriter;
use hattention_table::source::ScanOrder;

use crate::args::{IntervalArg, PredictArgs, UnseenArg};
use crate::failure::Failure;
use crate::fit::explain_text;
use crate::model::TableModel;
use crate::output::{self, Whole};
use crate::pass::owned;
use crate::progress::Progress;

/// One column of the result: a number a row, or nothing.
pub type Values = Vec<Option<f64>>;

/// Runs the command.
pub fn run(args: &PredictArgs, quiet: bool) -> Result<(), Failure> {
    if !(args.level > 0.0 && args.level < 1.0) {
        return Err(Failure::usage(format!("--level is {}, expected a number between 0 and 1", args.level), ""));
    }
    if let Some(path) = &args.output {
        output::check_apart(path, &args.source.sources)?;
    }
    let model = TableModel::load(&args.model)?;
    if args.interval.is_some() && model.model.fits.iter().any(|fit| fit.covariance.is_none()) {
        return Err(Failure::usage(
            "ridge and components have no intervals",
            "fit by least squares, or leave out --interval",
        ));
    }
    refuse_beside_effects(args, &model)?;
    let source = crate::fit::open(&args.source, &model.labels())?;
    let unseen = if args.unseen == UnseenArg::Null { Unseen::Null } else { Unseen::Error };
    let weighted = model.frozen.spec().weights.is_some();
    let extras = model.effects.iter().map(|effect| effect.column.clone()).collect();
    let base = FrozenOptions { unseen, na: NaPolicy::Drop, extras, ..FrozenOptions::default() };
    let levels = LevelCodes::of_levels(model.effects.iter().map(|e| (e.column.clone(), e.levels.clone())));
    let encoder = |options| model.frozen.encoder(&source.schema(), options).map_err(|e| explain_text(&source, e));
    let plain = encoder(&base)?;
    let full = match args.augment {
        true => Some(encoder(&FrozenOptions { targets: true, weights: weighted, ..base.clone() })?),
        false => None,
    };
    let job = Job { args, model: &model, plain: &plain, full: full.as_ref(), levels, unseen };
    let names = job.names();
    let columns = owned(&full.as_ref().unwrap_or(&plain).input_columns());
    let mut sink = Sink::open(args.output.as_deref(), &names)?;
    let progress = Progress::new(source.bytes_total(), "predicting", quiet);
    for batch in source.scan(&columns, ScanOrder::File)? {
        let batch = batch?;
        let first_row = batch.first_row.unwrap_or(0);
        let values = job.predict(&batch.batch, first_row).map_err(|failure| failure.placed(&source))?;
        sink.write(first_row, batch.batch.num_rows(), &values)?;
        progress.add(batch.bytes);
    }
    drop(progress);
    sink.finish()
}

struct Job<'a> {
    args: &'a PredictArgs,
    model: &'a TableModel,
    plain: &'a FrozenDesign,
    full: Option<&'a FrozenDesign>,
    /// Levels of effects that were taken out.
    levels: LevelCodes,
    unseen: Unseen,
}

/// Refuses what needs the rows of a model with effects less their effects.
fn refuse_beside_effects(args: &PredictArgs, model: &TableModel) -> Result<(), Failure> {
    let what = if args.augment { "--augment" } else { "--interval" };
    if model.effects.is_empty() || !(args.augment || args.interval.is_some()) {
        return Ok(());
    }
    Err(Failure::usage(
        format!("{what} of a model with absorbed effects"),
        "leave it out, or fit with the effects as factors among the terms: y ~ x + C(g)",
    ))
}

impl Job<'_> {
    /// Names of the result's columns after `row`; with several targets each begins with its target's name.
    fn names(&self) -> Vec<String> {
        let fits = &self.model.model.fits;
        let mut names = Vec::new();
        for fit in fits {
            let prefix = if fits.len() > 1 { format!("{}.", fit.target) } else { String::new() };
            let mut add = |name: &str| names.push(format!("{prefix}{name}"));
            add("prediction");
            if self.args.augment {
                add("std_error");
            }
            if self.args.interval.is_some() {
                add("low");
                add("high");
            }
            if self.args.augment {
                ["residual", "leverage", "loo_residual", "cooks_distance"].into_iter().for_each(&mut add);
            }
        }
        names
    }

    fn predict(&self, batch: &RecordBatch, first_row: u64) -> Result<Vec<Values>, Failure> {
        let whitening = &self.model.model.whitening;
        let encoded = self.plain.encode(batch, first_row)?;
        let (ids, block) = encoded.block();
        let needs_keys = self.args.augment || self.args.interval.is_some();
        let keys = if needs_keys { Some(Keys::of(whitening, &block, &ids)?) } else { None };
        let mut values = Vec::new();
        for (t, fit) in self.model.model.fits.iter().enumerate() {
            let mut predictions = attention::predict(whitening, fit, &block, &ids)?;
            self.add_effects(fit, &encoded, &mut predictions)?;
            let errors: Option<Vec<f64>> = keys.as_ref().zip(fit.covariance.as_ref()).map(|(keys, covariance)| {
                (0..keys.rows)
                    .map(|row| {
                        let q = keys.row(row);
                        covariance.between(&q, &q).sqrt()
                    })
                    .collect()
            });
            values.push(if fit.effects.is_some() {
                scatter(&encoded, &predictions)
            } else {
                encoded.scatter(&predictions)
            });
            let nothing = || vec![None; batch.num_rows()];
            if self.args.augment {
                values.push(errors.as_ref().map_or_else(nothing, |errors| scatter(&encoded, errors)));
            }
            if let (Some(kind), Some(errors), Some(covariance)) = (self.args.interval, &errors, &fit.covariance) {
                let quantile = t_quantile(0.5 + self.args.level / 2.0, covariance.df);
                let extra = if kind == IntervalArg::Prediction { fit.variance() } else { 0.0 };
                let half: Vec<f64> = errors.iter().map(|se| quantile * (se * se + extra).sqrt()).collect();
                let end =
                    |sign: f64| -> Vec<f64> { predictions.iter().zip(&half).map(|(p, h)| p + sign * h).collect() };
                values.push(scatter(&encoded, &end(-1.0)));
                values.push(scatter(&encoded, &end(1.0)));
            }
            if let Some(full) = self.full {
                values.extend(self.diagnostics(full, batch, first_row, t)?);
            }
        }
        Ok(values)
    }

    /// Adds the effects of the rows' levels; NaN where a level is unknown and may be.
    fn add_effects(&self, fit: &Fit, encoded: &EncodedBlock, predictions: &mut [f64]) -> Result<(), Failure> {
        let Some(effects) = &fit.effects else { return Ok(()) };
        let codes = self.levels.find(encoded, self.unseen)?;
        for (row, prediction) in predictions.iter_mut().enumerate() {
            let of_row: Vec<u32> = codes.iter().map(|codes| codes[row]).collect();
            match effects.at(&of_row) {
                Some(effect) => *prediction += effect.to_f64(),
                None if self.unseen == Unseen::Null => *prediction = f64::NAN,
                None => {
                    let message =
                        format!("row {}: a level of the row had no weight in training", encoded.row_number(row));
                    return Err(Failure::usage(message, "let `--unseen null` leave such predictions empty"));
                }
            }
        }
        Ok(())
    }

    /// Residual, leverage, leave-one-out residual and Cook's distance, for rows that have a target.
    fn diagnostics(
        &self,
        full: &FrozenDesign,
        batch: &RecordBatch,
        first_row: u64,
        t: usize,
    ) -> Result<[Values; 4], Failure> {
        let (whitening, fit) = (&self.model.model.whitening, &self.model.model.fits[t]);
        let encoded = full.encode(batch, first_row)?;
        let (ids, mut block) = encoded.block();
        block.columns.truncate(ids.len());
        let target = encoded.targets()[t];
        let residuals = attention::residuals(whitening, fit, &block, &ids, target)?;
        let leverages = Keys::of(whitening, &block, &ids)?.leverages(block.weights);
        let alone = attention::leave_one_out(&residuals, &leverages);
        let cook = attention::cooks_distance(fit, &residuals, &leverages, block.weights);
        Ok([residuals, leverages, alone, cook].map(|values| scatter(&encoded, &values)))
    }
}

/// One value for every row of the batch; numbers that are not finite are nothing.
fn scatter(encoded: &EncodedBlock, values: &[f64]) -> Values {
    encoded.scatter(values).into_iter().map(|value| value.filter(|x| x.is_finite())).collect()
}

/// Where the result goes.
pub struct Sink {
    /// Whether the first column is the number of the row.
    numbered: bool,
    kind: Kind,
}

enum Kind {
    Print(std::io::BufWriter<std::io::Stdout>),
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
            let kind = Kind::Print(std::io::BufWriter::new(std::io::stdout()));
            let mut sink = Self { numbered, kind };
            sink.text(&header)?;
            return Ok(sink);
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
            Kind::Print(out) => out.write_all(text.as_bytes()).or_else(|e| output::stdout_failed(&e)),
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
    pub fn finish(self) -> Result<(), Failure> {
        match self.kind {
            Kind::Print(mut out) => out.flush().or_else(|e| output::stdout_failed(&e)),
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

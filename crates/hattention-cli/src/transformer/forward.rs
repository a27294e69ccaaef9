//! `hat transformer forward`: one row out for every row in, by attention.

use hattention::Error;
use hattention::matrix::{Matrix, Real};
use hattention::transformer::{Layer, Layout};
use hattention_table::design::{EncodedBlock, FrozenDesign, FrozenOptions, NaPolicy, Unseen};
use hattention_table::source::{ScanOrder, Source};

use super::args::{DtypeArg, ForwardArgs};
use super::context::Context;
use super::weights::{TableWeights, append, column, seen};
use crate::args::UnseenArg;
use crate::failure::Failure;
use crate::output;
use crate::predict::Sink;
use crate::progress::Progress;
use hattention_table::regression::pass::owned;
use hattention_table::regression::predict::Values;

/// The way out for rows of levels that training did not have.
const UNSEEN: &str = "leave its rows out, or let `--unseen null` leave their predictions empty";

/// Runs the command.
pub fn run(args: &ForwardArgs, quiet: bool) -> Result<(), Failure> {
    let weights = TableWeights::load(&args.weights)?;
    match args.dtype {
        DtypeArg::F64 => forward::<f64>(args, &weights, quiet),
        DtypeArg::F32 => forward::<f32>(args, &weights, quiet),
    }
}

fn forward<T: Real>(args: &ForwardArgs, weights: &TableWeights, quiet: bool) -> Result<(), Failure> {
    if let (Some(inputs), Some(output)) = (&args.inputs, &args.output)
        && output::same(inputs, output)
    {
        let message = format!("--inputs and --output are the same file, {}", output.display());
        return Err(Failure::usage(message, "give them two names"));
    }
    let layer = weights.layer::<T>()?;
    let context = Context::read(&args.context, &args.source, weights, quiet)?;
    let state = context.map(|context| context.learned(&layer, weights)).transpose()?;
    let source = crate::fit::open(&args.source, &weights.table.labels())?;
    let alone = weights.transformer.layout == Layout::SelfAttention;
    let options = FrozenOptions {
        unseen: if args.unseen == UnseenArg::Null { Unseen::Null } else { Unseen::Error },
        na: NaPolicy::Drop,
        weights: alone && weights.weighted(),
        ..FrozenOptions::default()
    };
    let encoder = weights.encoder(&source, &options)?;
    let mut sink = Sink::open(args.output.as_deref(), &weights.predictions())?;
    let mut inputs = match &args.inputs {
        Some(path) => Some(Sink::of_columns(path, &weights.transformer.names)?),
        None => None,
    };
    let pass = Pass { weights, source: &source, encoder: &encoder, quiet };
    if alone {
        pass.among(&layer, &mut sink, inputs.as_mut())?;
    } else {
        pass.stream(&layer, state.as_ref(), &mut sink, inputs.as_mut())?;
    }
    if let Some(inputs) = inputs {
        inputs.finish()?;
    }
    sink.finish()
}

struct Pass<'a> {
    weights: &'a TableWeights,
    source: &'a Source,
    encoder: &'a FrozenDesign,
    quiet: bool,
}

impl Pass<'_> {
    /// Shows every batch of the source, encoded, with its inputs.
    fn each(&self, mut show: impl FnMut(EncodedBlock, u64, Matrix) -> Result<(), Failure>) -> Result<(), Failure> {
        let progress = Progress::new(self.source.bytes_total(), "predicting", self.quiet);
        for batch in self.source.scan(&owned(&self.encoder.input_columns()), ScanOrder::File)? {
            let batch = batch?;
            let first_row = batch.first_row.unwrap_or(0);
            let encoded = self.encoder.encode(&batch.batch, first_row).map_err(|error| seen(error.into(), UNSEEN));
            let shown = encoded.and_then(|encoded| {
                let x = self.weights.inputs(&encoded)?;
                show(encoded, first_row, x)
            });
            shown.map_err(|failure| failure.placed(self.source))?;
            progress.add(batch.bytes);
        }
        Ok(())
    }

    /// The layouts in which a row's prediction does not depend on the rows beside it.
    fn stream<T: Real>(
        &self,
        layer: &Layer<T>,
        state: Option<&Matrix>,
        sink: &mut Sink,
        mut inputs: Option<&mut Sink>,
    ) -> Result<(), Failure> {
        self.each(|encoded, first_row, x| {
            let rows = x.cast();
            let y = match state {
                Some(state) => layer.recall(&rows, state),
                None => layer.cross(&rows),
            };
            let y = y.map_err(|error| self.named::<T>(error, |row| encoded.row_number(row)))?;
            self.answered(&y, |row| encoded.row_number(row))?;
            if let Some(inputs) = &mut inputs {
                inputs.write(first_row, encoded.input_rows(), &scattered(&encoded, &x))?;
            }
            sink.write(first_row, encoded.input_rows(), &scattered(&encoded, &y.cast()))
        })
    }

    /// The layout self: rows attend to each other, so none can be answered before all are there.
    fn among<T: Real>(&self, layer: &Layer<T>, sink: &mut Sink, mut inputs: Option<&mut Sink>) -> Result<(), Failure> {
        let mut tokens = Matrix::zeros(0, self.weights.transformer.names.len());
        let (mut batches, mut row_weights, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        self.each(|encoded, first_row, x| {
            if let Some(inputs) = &mut inputs {
                inputs.write(first_row, encoded.input_rows(), &scattered(&encoded, &x))?;
            }
            row_weights.extend_from_slice(encoded.weights().unwrap_or_default());
            numbers.extend((0..x.rows).map(|i| encoded.row_number(i)));
            append(&mut tokens, &x);
            batches.push((first_row, encoded.input_rows(), x.rows));
            Ok(())
        })?;
        if tokens.rows == 0 {
            let source = self.source.describe();
            let message =
                format!("no row of {source} has all its values: in the layout self rows attend to each other");
            return Err(Failure::no_answer(
                message,
                "name a source with rows, or build the weights with --layout cross",
            ));
        }
        let row_weights = self.weights.weighted().then_some(&row_weights[..]);
        let y = layer
            .among(&tokens.cast(), row_weights)
            .map_err(|error| self.named::<T>(error, |row| numbers[row]).placed(self.source))?;
        self.answered(&y, |row| numbers[row]).map_err(|failure| failure.placed(self.source))?;
        let mut done = 0;
        for (first_row, input_rows, kept) in batches {
            let place = |i: usize| (numbers[i] - 1 - first_row) as usize;
            let mut values = vec![vec![None; input_rows]; y.columns];
            for i in done..done + kept {
                values.iter_mut().enumerate().for_each(|(t, column)| column[place(i)] = Some(y.at(i, t).to_f64()));
            }
            sink.write(first_row, input_rows, &values)?;
            done += kept;
        }
        Ok(())
    }

    /// Refuses predictions that are no numbers: what lies between rows and predictions may be larger than both.
    fn answered<T: Real>(&self, y: &Matrix<T>, number: impl Fn(usize) -> u64) -> Result<(), Failure> {
        let Some(place) = y.data.iter().position(|y| !y.is_finite()) else { return Ok(()) };
        let (row, target) = (number(place / y.columns), &self.weights.transformer.targets[place % y.columns]);
        let message = format!("row {row}: the prediction of `{target}`, or a step to it, is beyond {}", T::NAME);
        let hint = if T::NAME == f32::NAME { "use --dtype f64" } else { "the row is too far from the training rows" };
        Err(Failure { row: Some(row), ..Failure::usage(message, hint) })
    }

    /// An input beyond the numbers of the pass, by its row and column.
    fn named<T: Real>(&self, error: Error, number: impl Fn(usize) -> u64) -> Failure {
        let Error::NonFinite { row, column, .. } = error else { return error.into() };
        let names = &self.weights.transformer.names;
        let name = names.get(column).map_or("a column", String::as_str);
        let message = format!("row {}: `{name}` is beyond {}", number(row), T::NAME);
        Failure { row: Some(number(row)), ..Failure::usage(message, "use --dtype f64") }
    }
}

/// The columns of a matrix, one value for every row of the batch.
fn scattered(encoded: &EncodedBlock, matrix: &Matrix) -> Vec<Values> {
    (0..matrix.columns).map(|t| encoded.scatter(&column(matrix, t))).collect()
}

//! `hat transformer verify`: the construction beside the engine, on any rows.

use hattention::attention::{self, Keys};
use hattention::matrix::Matrix;
use hattention::transformer::{Convention, Layer, Layout, Options, Transformer};
use hattention::{Column, Error, FastMemory, Filter};
use hattention_table::design::{EncodedBlock, FrozenOptions};
use hattention_table::source::ScanOrder;

use super::args::VerifyArgs;
use super::context::{Context, Solved, open};
use super::report::{Comparison, Errors, PROMISE, Report};
use super::weights::{TableWeights, append, column, seen};
use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;
use hattention_table::regression::pass::owned;

/// Runs the command.
pub fn run(args: &VerifyArgs, quiet: bool) -> Result<(), Failure> {
    let weights = TableWeights::load(&args.weights)?;
    if weights.transformer.alpha > 0.0 {
        let message =
            format!("a penalty of {} on the keys: the engine has none to compare with", weights.transformer.alpha);
        return Err(Failure::usage(message, "verify weights whose alpha is 0"));
    }
    let context = Context::read(&args.context, &args.source, &weights, quiet)?;
    let mut verifier = Verifier::new(&weights, context.as_ref())?;
    let source = crate::fit::open(&args.source, &weights.table.labels())?;
    // Where rows count by weights, so do those that attend to each other, and those that are compared with training.
    let named = weights.table.frozen.spec().weights.as_deref();
    let alone = weights.transformer.layout == Layout::SelfAttention;
    let there = named.is_some_and(|name| source.schema().column_with_name(name).is_some());
    let options = FrozenOptions { weights: weights.weighted() && (alone || there), ..FrozenOptions::default() };
    let encoder = weights.encoder(&source, &options)?;
    let progress = Progress::new(source.bytes_total(), "verifying", quiet);
    for batch in source.scan(&owned(&encoder.input_columns()), ScanOrder::File)? {
        let batch = batch?;
        let encoded = encoder.encode(&batch.batch, batch.first_row.unwrap_or(0));
        let encoded = encoded.map_err(|error| seen(error.into(), "leave its rows out"));
        encoded.and_then(|encoded| verifier.push(&encoded)).map_err(|failure| failure.placed(&source))?;
        progress.add(batch.bytes);
    }
    drop(progress);
    if verifier.rows == 0 {
        let message = "no row of the source has all its values";
        return Err(Failure::no_answer(message, "name a source with rows to compare predictions of"));
    }
    let report = verifier.finish()?;
    let text = if args.json { format!("{:#}\n", report.json()) } else { report.text() };
    output::print(&text)?;
    match report.holds() {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::no_answer(
            format!("the construction misses {} by more than {PROMISE} ε κ", report.reference()),
            "build the weights again; if that does not help, the design is too close to dependence",
        )),
        None => Err(Failure::no_answer(
            "the condition of the design is infinite: nothing is promised, and nothing was verified",
            "drop the columns that depend on others",
        )),
    }
}

/// Runs the layers beside the engine, batch by batch.
struct Verifier<'a> {
    weights: &'a TableWeights,
    double: Layer<f64>,
    /// None where singles do not reach.
    single: Option<Layer<f32>>,
    /// What it is that they do not reach.
    beyond: Option<String>,
    /// What the model gives, built anew: a file's weights are not judged by themselves.
    own: Layer<f64>,
    /// `W_FFN W_p` of the same.
    readout: Matrix,
    /// κ of the same.
    condition: f64,
    /// The weights as one head in the covariance convention, whose state says how far rows are from the training rows.
    plain: Layer<f64>,
    /// `‖W_FFN W_p‖` of every target: with the length of a query, the size of its prediction.
    lengths: Vec<f64>,
    solve: Option<Solve>,
    errors: Comparison,
    /// The sums of keys that the state is made of, and of weights.
    state: Matrix,
    total: f64,
    rows: usize,
    alone: Option<Alone>,
}

/// The layout solve: what both precisions learned, and the engine's fit of the context.
struct Solve {
    double: Matrix,
    single: Option<Matrix>,
    engine: Solved,
    /// `√Σ y²` of every target in the context.
    lengths: Vec<f64>,
}

/// The forward pass in singles, until something is beyond them: then doubles are still judged.
struct Singles<'a> {
    layer: &'a mut Option<Layer<f32>>,
    beyond: &'a mut Option<String>,
    transformer: &'a Transformer,
}

impl Singles<'_> {
    fn run(
        self,
        x: &Matrix,
        number: impl Fn(usize) -> u64,
        pass: impl FnOnce(&Layer<f32>, &Matrix<f32>) -> Result<Matrix<f32>, Error>,
    ) -> Result<Option<Matrix>, Failure> {
        let Some(layer) = self.layer.as_ref() else { return Ok(None) };
        let what = match pass(layer, &x.cast()) {
            Ok(y) => match y.data.iter().position(|y| !y.is_finite()) {
                None => return Ok(Some(y.cast())),
                Some(at) => (at / y.columns, &self.transformer.targets[at % y.columns], "the prediction of "),
            },
            Err(Error::NonFinite { row, column, .. }) => (row, &self.transformer.names[column], ""),
            Err(error) => return Err(error.into()),
        };
        let (row, name, what) = (number(what.0), what.1, what.2);
        (*self.layer, *self.beyond) = (None, Some(format!("row {row}: {what}`{name}`")));
        Ok(None)
    }
}

/// The layout self: all rows, and the engine's reading of the shift law.
struct Alone {
    tokens: Matrix,
    expected: Matrix,
    weights: Vec<f64>,
    numbers: Vec<u64>,
    memory: FastMemory,
    keys: Vec<Keys>,
}

impl<'a> Verifier<'a> {
    fn new(weights: &'a TableWeights, context: Option<&Context>) -> Result<Self, Failure> {
        let t = &weights.transformer;
        let double = t.layer::<f64>()?;
        let (mut single, mut beyond) = match (t.layer::<f32>(), context.and_then(|c| c.beyond::<f32>(weights))) {
            (Ok(single), None) => (Some(single), None),
            (Ok(_), Some(what)) => (None, Some(format!("the context: `{what}`"))),
            (Err(Error::Parameter { name, got, .. }), _) => (None, Some(format!("{name} is {got}"))),
            (Err(error), _) => return Err(error.into()),
        };
        let own = rebuilt(weights)?;
        let readout = own.w_ffn.times(&own.w_p)?;
        let solve = |context: &Context| -> Result<Solve, Failure> {
            let high = context.learned(&double, weights)?;
            let low = single.as_ref().map(|single| context.learned(single, weights)).transpose()?;
            let engine = context.solve(weights).map_err(open)?;
            Ok(Solve { double: high, single: low, engine, lengths: lengths(&context.targets) })
        };
        let solve = context.map(solve).transpose()?;
        if solve.as_ref().and_then(|solve| solve.single.as_ref()).is_some_and(|m| m.data.iter().any(|x| !x.is_finite()))
        {
            (single, beyond) = (None, Some("what is learned from the context".to_owned()));
        }
        let mut plain = t.clone().in_convention(Convention::Covariance);
        plain.heads = std::iter::once(0..t.keys()).collect();
        let plain = plain.layer()?;
        let mut state = Matrix::zeros(t.keys(), t.keys());
        let mut total = 0.0;
        if let Some(context) = context {
            (state, total) = (plain.remember(&context.rows, None)?, context.rows.rows as f64);
            state.data.iter_mut().for_each(|x| *x *= total);
        }
        Ok(Self {
            weights,
            double,
            single,
            beyond,
            own: own.layer()?,
            condition: own.condition,
            plain,
            lengths: lengths(&readout),
            readout,
            solve,
            errors: Comparison::new(t.targets.len()),
            state,
            total,
            rows: 0,
            alone: (t.layout == Layout::SelfAttention).then(|| Alone {
                tokens: Matrix::zeros(0, t.names.len()),
                expected: Matrix::zeros(0, t.targets.len()),
                weights: Vec::new(),
                numbers: Vec::new(),
                memory: FastMemory::new(&weights.table.model.whitening, t.targets.len()),
                keys: Vec::new(),
            }),
        })
    }

    fn push(&mut self, encoded: &EncodedBlock) -> Result<(), Failure> {
        if encoded.rows() == 0 {
            return Ok(());
        }
        let x = self.weights.inputs(encoded)?;
        self.rows += x.rows;
        let (ids, mut block) = encoded.block();
        block.columns.truncate(ids.len());
        let model = &self.weights.table.model;
        let (whitening, fits) = match &self.solve {
            Some(solve) => (&solve.engine.whitening, &solve.engine.fits),
            None => (&model.whitening, &model.fits),
        };
        let predict = |fit| attention::predict(whitening, fit, &block, &ids);
        let expected: Vec<Vec<f64>> = fits.iter().map(predict).collect::<Result<_, _>>()?;
        let sizes = match &self.solve {
            Some(_) => Keys::of(whitening, &block, &ids)?.squared_norms().iter().map(|norm| norm.sqrt()).collect(),
            None => row_lengths(&self.own.queries(&x)?),
        };
        if self.solve.is_none() {
            let total = block.weights.map_or(x.rows as f64, |weights| weights.iter().sum());
            if total > 0.0 {
                let state = self.plain.remember(&x, block.weights)?;
                self.state.data.iter_mut().zip(state.data).for_each(|(sum, s)| *sum += s * total);
                self.total += total;
            }
        }
        if let Some(alone) = &mut self.alone {
            let values: Vec<Column<'_>> = expected.iter().map(|values| Column::Dense(values)).collect();
            alone.memory.push(whitening, &block, &ids, &values)?;
            alone.keys.push(Keys::of(whitening, &block, &ids)?);
            append(&mut alone.tokens, &x);
            alone.numbers.extend((0..x.rows).map(|i| encoded.row_number(i)));
            append(&mut alone.expected, &Matrix::from_fn(x.rows, expected.len(), |i, t| expected[t][i]));
            alone.weights.extend_from_slice(encoded.weights().unwrap_or_default());
            return Ok(());
        }
        let (double, lengths) = match &self.solve {
            Some(solve) => (self.double.recall(&x, &solve.double)?, &solve.lengths),
            None => (self.double.cross(&x)?, &self.lengths),
        };
        let learned = self.solve.as_ref().and_then(|solve| solve.single.as_ref());
        let single =
            Singles { layer: &mut self.single, beyond: &mut self.beyond, transformer: &self.weights.transformer }.run(
                &x,
                |row| encoded.row_number(row),
                |layer, x| match learned {
                    Some(learned) => layer.recall(x, learned),
                    None => layer.cross(x),
                },
            )?;
        for (t, expected) in expected.iter().enumerate() {
            for (i, y) in expected.iter().enumerate() {
                let size = sizes[i] * lengths[t];
                self.errors.engine[t].push(*y);
                self.errors.double[t].push(double.at(i, t), *y, size);
                if let Some(single) = &single {
                    self.errors.single[t].push(single.at(i, t), *y, size);
                }
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Report, Failure> {
        let law = self.alone.take().map(|alone| self.among(&alone)).transpose()?;
        let t = &self.weights.transformer;
        let condition = match &self.solve {
            Some(solve) => solve.engine.whitening.condition.max(self.condition),
            None => self.condition,
        };
        let gaps = self.state.data.iter().zip(&t.memory.data).map(|(s, m)| s / self.total - m);
        Ok(Report {
            formula: self.weights.formula().to_owned(),
            transformer: t.clone(),
            rows: self.rows,
            condition,
            state_distance: gaps.fold(0.0, |sum: f64, gap| sum.hypot(gap)),
            errors: self.errors,
            beyond: self.beyond,
            law,
        })
    }

    /// The layout self: against least squares, and against the law that it obeys where rows are not the training rows.
    fn among(&mut self, alone: &Alone) -> Result<&'static str, Failure> {
        let t = &self.weights.transformer;
        let weights = self.weights.weighted().then_some(&alone.weights[..]);
        let double = self.double.among(&alone.tokens, weights)?;
        let single = Singles { layer: &mut self.single, beyond: &mut self.beyond, transformer: t }.run(
            &alone.tokens,
            |row| alone.numbers[row],
            |layer, x| layer.among(x, weights),
        )?;
        let state = self.own.remember(&alone.tokens, weights)?;
        let queries = self.own.queries(&alone.tokens)?;
        let whitening = &self.weights.table.model.whitening;
        let by_engine = t.heads.len() == 1 && whitening.filter == Filter::Ols;
        let law = if by_engine {
            engine_law(t.convention, alone, whitening.weight_total)?
        } else {
            queries.times(&state.times(&self.readout)?)?
        };
        // Largest sum of a row: no smaller than the largest eigenvalue.
        let stretch = (0..state.rows).map(|i| state.row(i).iter().map(|x| x.abs()).sum::<f64>()).fold(0.0, f64::max);
        let sizes = row_lengths(&queries);
        self.errors.law = Some(vec![Errors::default(); t.targets.len()]);
        for target in 0..t.targets.len() {
            for (i, size) in sizes.iter().enumerate() {
                let size = size * self.lengths[target] * stretch;
                let y = alone.expected.at(i, target);
                self.errors.engine[target].push(y);
                self.errors.double[target].push(double.at(i, target), y, size);
                if let Some(single) = &single {
                    self.errors.single[target].push(single.at(i, target), y, size);
                }
                if let Some(errors) = &mut self.errors.law {
                    errors[target].push(double.at(i, target), law.at(i, target), size);
                }
            }
        }
        Ok(if by_engine { "engine" } else { "model" })
    }
}

/// The transformer that the model in the file is, as the file's is split and laid out.
fn rebuilt(weights: &TableWeights) -> Result<Transformer, Failure> {
    let (t, model) = (&weights.transformer, &weights.table.model);
    let options = Options { layout: t.layout, convention: t.convention, spectrum: t.spectrum };
    let mut own = Transformer::of(&model.whitening, &model.fits, &options)?;
    if own.keys() != t.keys() {
        return Err(Failure::usage(
            format!("the weights have {} keys, and the model that is in their file gives {}", t.keys(), own.keys()),
            "build the weights again",
        ));
    }
    own.heads.clone_from(&t.heads);
    Ok(own)
}

/// `X̃ Σ⁻¹ Σ* β̂` by the engine: the batch's own predictions, remembered under its own keys and read by them.
fn engine_law(convention: Convention, alone: &Alone, trained: f64) -> Result<Matrix, Failure> {
    let share = match convention {
        Convention::Covariance => trained / alone.memory.weight_total(),
        Convention::Gram => 1.0,
    };
    let mut law = Matrix::zeros(0, alone.expected.columns);
    for keys in &alone.keys {
        let read = alone.memory.read(keys)?;
        append(&mut law, &Matrix::from_fn(keys.rows, read.len(), |i, t| read[t][i] * share));
    }
    Ok(law)
}

/// Lengths of the columns.
fn lengths(matrix: &Matrix) -> Vec<f64> {
    let length = |t: usize| column(matrix, t).iter().fold(0.0f64, |sum, x| sum.hypot(*x));
    (0..matrix.columns).map(length).collect()
}

/// Lengths of the rows.
fn row_lengths(matrix: &Matrix) -> Vec<f64> {
    (0..matrix.rows).map(|i| matrix.row(i).iter().fold(0.0f64, |sum, x| sum.hypot(*x))).collect()
}

//! The context of the layout solve: rows and their targets.

use hattention::error::Dependence;
use hattention::fit::Fit;
use hattention::matrix::Matrix;
use hattention::transformer::{Layer, Layout};
use hattention::{Aliased, Column, Error, Filter, Moments, RankTolerance, Whitening, WhiteningOptions};
use hattention_table::design::FrozenOptions;
use hattention_table::source::ScanOrder;

use super::args::ContextArgs;
use super::weights::{TableWeights, append, seen};
use crate::args::SourceArgs;
use crate::failure::Failure;
use crate::progress::Progress;
use hattention_table::regression::pass::owned;

/// Columns of a near dependence have about the same share of their own; this many times the least is still about the same.
const ALIKE: f64 = 30.0;

/// What the layer learns from.
pub struct Context {
    /// The design's columns. Shape: `[context][p]`.
    pub rows: Matrix,
    /// Shape: `[context][m]`.
    pub targets: Matrix,
    /// The exact sums of both: targets first.
    moments: Moments,
}

/// A context's own fit, by the engine.
pub struct Solved {
    /// The context's design, factored.
    pub whitening: Whitening,
    /// One fit a target.
    pub fits: Vec<Fit>,
}

impl Context {
    /// The context that the layout asks for; none for the layouts that take none.
    ///
    /// # Errors
    /// If the layout solve has none or another layout has one; those of reading.
    pub fn read(
        args: &ContextArgs,
        queries: &SourceArgs,
        weights: &TableWeights,
        quiet: bool,
    ) -> Result<Option<Self>, Failure> {
        let layout = weights.transformer.layout;
        let stdin = |sources: &[String]| sources.iter().any(|source| source == "-");
        if stdin(&args.context) && stdin(&queries.sources) {
            let message = "standard input is both the rows to predict and --context";
            return Err(Failure::usage(message, "name a file for one of them"));
        }
        match (layout, args.context.is_empty()) {
            (Layout::Solve, true) => {
                let message = "the layout solve learns from a context, and none is given";
                return Err(Failure::usage(message, "name its rows, with their targets: --context SOURCE"));
            }
            (Layout::Solve, false) => {}
            (_, true) => return Ok(None),
            (_, false) => {
                let message = format!("--context with the layout {}", layout.name());
                return Err(Failure::usage(message, "leave it out, or build the weights with --layout solve"));
            }
        }
        let source = SourceArgs { sources: args.context.clone(), sql: args.context_sql.clone(), batch_rows: None };
        let source = crate::fit::open(&source, &weights.table.labels())?;
        let encoder = weights.encoder(&source, &FrozenOptions { targets: true, ..FrozenOptions::default() })?;
        let count = weights.transformer.targets.len();
        let mut rows = Matrix::zeros(0, weights.transformer.names.len());
        let mut targets = Matrix::zeros(0, count);
        // As wide as the model: a level that the context lacks is a column of zeros.
        let coding = weights.table.frozen.coding();
        let places = weights.table.target_places();
        let mut moments = Moments::new(count + coding.columns.len() + coding.auxiliary.len());
        let progress = Progress::new(source.bytes_total(), "reading the context", quiet);
        for batch in source.scan(&owned(&encoder.input_columns()), ScanOrder::File)? {
            let batch = batch?;
            let encoded = encoder
                .encode(&batch.batch, batch.first_row.unwrap_or(0))
                .map_err(|error| seen(error.into(), "leave its rows out of the context").placed(&source))?;
            let (mut ids, mut block) = encoded.block();
            append(&mut rows, &weights.inputs(&encoded)?);
            let values: Vec<Column<'_>> = places.iter().map(|&place| encoded.targets()[place]).collect();
            block.columns.truncate(ids.len());
            block.columns.extend(&values);
            append(&mut targets, &Matrix::from_fn(encoded.rows(), count, |i, t| number(&values[t], i)));
            ids.iter_mut().for_each(|id| *id += count);
            ids.extend(0..count);
            moments.push_at(&block, &ids)?;
            progress.add(batch.bytes);
        }
        if rows.rows == 0 {
            let message = "the context has no row with all its values";
            return Err(Failure::no_answer(message, "check its missing values, its targets among them"));
        }
        Ok(Some(Self { rows, targets, moments }))
    }

    /// What a layer learns.
    ///
    /// # Errors
    /// If the context leaves a coefficient open, by the names of the columns.
    pub fn learned<T: hattention::matrix::Real>(
        &self,
        layer: &Layer<T>,
        weights: &TableWeights,
    ) -> Result<Matrix, Failure> {
        if let Some(what) = self.beyond::<T>(weights) {
            let hint = "use --dtype f64";
            return Err(Failure::usage(format!("the context: `{what}` is beyond {}", T::NAME), hint));
        }
        layer.learn(&self.rows.cast(), &self.targets.cast()).map_err(|error| match error {
            // The layer knows keys; the engine knows columns.
            Error::RankDeficient { rank, columns, .. } => open(match self.solve(weights) {
                Err(named) => named,
                Ok(solved) => self.nearly_dependent(&solved.whitening, weights, (rank, columns)),
            }),
            error => error.into(),
        })
    }

    /// The first column with a number that is beyond this kind of numbers.
    pub fn beyond<T: hattention::matrix::Real>(&self, weights: &TableWeights) -> Option<String> {
        let t = &weights.transformer;
        let in_matrix = |matrix: &Matrix, names: &[String]| {
            let place = matrix.data.iter().position(|x| !T::from_f64(*x).is_finite())?;
            names.get(place % matrix.columns).cloned()
        };
        in_matrix(&self.rows, &t.names).or_else(|| in_matrix(&self.targets, &t.targets))
    }

    /// The columns that are too close to dependence for the layer, though not for the engine: those that the context
    /// holds the least of on their own, beside what the training rows hold.
    fn nearly_dependent(&self, context: &Whitening, weights: &TableWeights, size: (usize, usize)) -> Error {
        let trained = &weights.table.model.whitening;
        let length = |whitening: &Whitening, position: usize| {
            let place = whitening.kept.iter().position(|&kept| kept == position);
            let entries = whitening.key_map.iter().filter_map(|key| key.get(place?));
            entries.fold(0.0f64, |sum, x| sum.hypot(*x)) * whitening.weight_total.sqrt()
        };
        // The distance of a column from the span of the others is one over the length of its row of L.
        let share = |&position: &usize| (position, length(trained, position) / length(context, position));
        let shares: Vec<(usize, f64)> = context.kept.iter().map(share).collect();
        let least = shares.iter().fold(f64::INFINITY, |least, (_, share)| least.min(*share));
        let name = |position: usize| weights.transformer.names[position].clone();
        let mut names: Vec<String> =
            shares.iter().filter(|(_, share)| *share <= ALIKE * least).map(|(position, _)| name(*position)).collect();
        let column = names.pop().unwrap_or_default();
        if names.is_empty() {
            names.push(hattention::INTERCEPT.to_owned());
        }
        let dependent = vec![Dependence { column, on: names, distance_relative: least }];
        Error::RankDeficient { rank: size.0, columns: size.1, dependent }
    }

    /// The engine's own fit of the context.
    ///
    /// # Errors
    /// If the context leaves a coefficient open.
    pub fn solve(&self, weights: &TableWeights) -> Result<Solved, Error> {
        let trained = &weights.table.model.whitening;
        let design = |shift: usize| {
            let mut design = hattention_table::regression::fit::columns(weights.table.frozen.coding(), shift);
            // What the training rows left out is no column of the transformer.
            let dropped = |position: &usize| !trained.kept.contains(position);
            (0..design.columns.len()).filter(dropped).for_each(|position| design.columns[position] = None);
            design
        };
        let coefficients = trained.kept.len() + trained.design.intercept as usize;
        if self.moments.rows() < coefficients as u64 {
            return Err(Error::TooFewRows { rows: self.moments.rows(), coefficients });
        }
        let options = WhiteningOptions {
            aliased: Aliased::Drop,
            rank_tolerance: RankTolerance::Rounding,
            ..WhiteningOptions::default()
        };
        let targets = &weights.transformer.targets;
        let mut whitening = Whitening::of(&self.moments, &design(targets.len()), Filter::Ols, options, None)?;
        // What the training rows left out is left out here too; nothing else is.
        let open = |position: &&usize| !whitening.kept.contains(position);
        let open: Vec<&String> = trained.kept.iter().filter(open).map(|&p| &trained.design.names[p]).collect();
        if !open.is_empty() {
            let named = |column: &&String| {
                let found = whitening.dependent.iter().find(|dependence| dependence.column == **column);
                let zero = || Dependence { column: (*column).clone(), on: Vec::new(), distance_relative: 0.0 };
                found.cloned().unwrap_or_else(zero)
            };
            let dependent = open.iter().map(named).collect();
            return Err(Error::RankDeficient { rank: coefficients - open.len(), columns: coefficients, dependent });
        }
        let fit = |(t, name): (usize, &String)| Fit::of(&self.moments, &whitening, t, name);
        let fits = targets.iter().enumerate().map(fit).collect::<Result<_, _>>()?;
        whitening.design = design(0);
        Ok(Solved { whitening, fits })
    }
}

/// A context that leaves coefficients open.
pub fn open(error: Error) -> Failure {
    let hint = "give a context with more rows, in which these columns vary, or build from a formula without them";
    Failure::no_answer(format!("the context does not fix every coefficient: {error}"), hint)
}

/// A target's number, rounded to a double.
fn number(column: &Column<'_>, row: usize) -> f64 {
    match column {
        Column::Dense(values) => values[row],
        Column::Pair { hi, .. } => hi[row],
        Column::Indicator { codes, code } => (codes[row] == *code) as u8 as f64,
        Column::Within { codes, code, hi, .. } => {
            if codes[row] == *code {
                hi[row]
            } else {
                0.0
            }
        }
    }
}

//! The context of the layout solve: rows and their targets.

use hattention::fit::Fit;
use hattention::matrix::Matrix;
use hattention::transformer::{Layer, Layout};
use hattention::{Aliased, Column, Error, Filter, Moments, RankTolerance, Whitening, WhiteningOptions};
use hattention_table::design::FrozenOptions;
use hattention_table::source::ScanOrder;

use super::args::ContextArgs;
use super::weights::{TableWeights, append};
use crate::args::SourceArgs;
use crate::failure::Failure;
use crate::pass::owned;
use crate::progress::Progress;

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
    pub fn read(args: &ContextArgs, weights: &TableWeights, quiet: bool) -> Result<Option<Self>, Failure> {
        let layout = weights.transformer.layout;
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
        let mut moments = Moments::new(count);
        let progress = Progress::new(source.bytes_total(), "reading the context", quiet);
        for batch in source.scan(&owned(&encoder.input_columns()), ScanOrder::File)? {
            let batch = batch?;
            let encoded = encoder
                .encode(&batch.batch, batch.first_row.unwrap_or(0))
                .map_err(|error| Failure::from(error).placed(&source))?;
            let (mut ids, block) = encoded.block();
            append(&mut rows, &weights.inputs(&encoded)?);
            let values = encoded.targets();
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
        layer.learn(&self.rows.cast(), &self.targets.cast()).map_err(|error| match error {
            // The layer knows keys; the engine knows columns.
            Error::RankDeficient { .. } => open(self.solve(weights).err().unwrap_or(error)),
            error => error.into(),
        })
    }

    /// The engine's own fit of the context.
    ///
    /// # Errors
    /// If the context leaves a coefficient open.
    pub fn solve(&self, weights: &TableWeights) -> Result<Solved, Error> {
        let trained = &weights.table.model.whitening;
        let design = |shift: usize| {
            let mut design = crate::fit::columns(weights.table.frozen.coding(), shift);
            // What the training rows left out is no column of the transformer.
            let dropped = |position: &usize| !trained.kept.contains(position);
            (0..design.columns.len()).filter(dropped).for_each(|position| design.columns[position] = None);
            design
        };
        let whole = trained.kept.len() == trained.design.names.len();
        let options = WhiteningOptions {
            aliased: if whole { Aliased::Error } else { Aliased::Drop },
            rank_tolerance: RankTolerance::Rounding,
            ..WhiteningOptions::default()
        };
        let targets = &weights.transformer.targets;
        let mut whitening = Whitening::of(&self.moments, &design(targets.len()), Filter::Ols, options, None)?;
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

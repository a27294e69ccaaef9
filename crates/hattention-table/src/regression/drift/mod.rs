//! Whether a batch comes from the world that a model was fitted on, and what moved.

mod report;

use std::collections::BTreeSet;

use hattention::Whitening;
use hattention::attention::Keys;
use hattention::drift::{Drift, PermutationTest, Permutations, PredictionShift, Sample, column_basis};
use serde_json::Value;

use crate::design::{FrozenDesign, FrozenOptions, Unseen};
use crate::source::{NumberedBatch, ScanOrder, Source};

use super::failure::Failure;
use super::fit::explain_text;
use super::model::TableModel;
use super::pass::{owned, parallel};
use super::predict::check_level;
use super::watch::{Pass, Watch};

/// Unseen levels that are kept by name.
const MOST_LEVELS: usize = 10_000;

/// What a pass over a source finds.
struct Gathered {
    sample: Sample,
    /// Rows of the source.
    input_rows: u64,
    /// Rows left out for levels that the model does not know, and the levels.
    unseen: u64,
    levels: BTreeSet<(String, String)>,
}

impl Gathered {
    fn new(whitening: &Whitening) -> Self {
        Self { sample: Sample::new(whitening), input_rows: 0, unseen: 0, levels: BTreeSet::new() }
    }

    /// Rows left out for missing values.
    fn missing(&self) -> u64 {
        self.input_rows - self.unseen - self.sample.rows()
    }

    fn merge(&mut self, other: Self) -> Result<(), Failure> {
        self.sample.merge(&other.sample)?;
        self.input_rows += other.input_rows;
        self.unseen += other.unseen;
        self.add_levels(other.levels);
        Ok(())
    }

    fn add_levels(&mut self, levels: impl IntoIterator<Item = (String, String)>) {
        self.levels.extend(levels);
        while self.levels.len() > MOST_LEVELS {
            self.levels.pop_last();
        }
    }
}

/// What the shift does to one target, and the row it does most to.
struct Effect {
    shift: PredictionShift,
    /// The row's number and its effect.
    largest: Option<(u64, f64)>,
}

impl Effect {
    /// Remembers the row with the largest effect.
    fn look_at(&mut self, whitening: &Whitening, keys: &Keys, number: &dyn Fn(usize) -> u64) {
        for (row, change) in self.shift.of_rows(whitening, keys).into_iter().enumerate() {
            if self.largest.is_none_or(|(_, largest)| change.abs() > largest.abs()) {
                self.largest = Some((number(row), change));
            }
        }
    }
}

/// How a batch is tested.
#[derive(Clone, Copy, Debug)]
pub struct DriftOptions {
    /// Level of the test and of the marks of columns.
    pub level: f64,
    /// Permutations, where the training rows are given.
    pub permutations: usize,
    /// Their seed.
    pub seed: u64,
}

impl Default for DriftOptions {
    fn default() -> Self {
        Self { level: 0.05, permutations: 999, seed: 1 }
    }
}

/// Everything that is reported.
pub struct Found<'a> {
    options: DriftOptions,
    /// The sources, as the user wrote them.
    labels: (String, String),
    model: &'a TableModel,
    batch: Gathered,
    training: Option<Gathered>,
    /// `None` where too few rows are left to compare; then levels that were never seen have sounded the alarm.
    drift: Option<Drift>,
    permutation: Option<PermutationTest>,
    effects: Vec<Effect>,
}

impl Found<'_> {
    /// The p-value that decides.
    pub fn p(&self) -> Option<f64> {
        let normal = self.drift.as_ref().and_then(|drift| drift.p);
        self.permutation.as_ref().map_or(normal, |test| Some(test.p))
    }

    /// Whether the alarm sounds: by the test, or by a level that training never saw.
    pub fn is_drift(&self) -> bool {
        self.batch.unseen > 0 || self.p().is_some_and(|p| p <= self.options.level)
    }

    /// The report for people: the verdict first, then why.
    pub fn text(&self) -> String {
        report::text(self)
    }

    /// The report for programs.
    pub fn json(&self) -> Value {
        report::json(self)
    }
}

/// A source and how its rows become keys.
struct Side<'s> {
    source: &'s Source,
    encoder: FrozenDesign,
    columns: Vec<String>,
}

impl<'s> Side<'s> {
    fn new(source: &'s Source, model: &TableModel) -> Result<Self, Failure> {
        let options = FrozenOptions { unseen: Unseen::Null, ..FrozenOptions::default() };
        let encoder = model.frozen.encoder(&source.schema(), &options).map_err(|e| explain_text(source, e))?;
        let columns = owned(&encoder.input_columns());
        Ok(Self { source, encoder, columns })
    }

    /// The sums of all rows, on all threads.
    fn gather(&self, whitening: &Whitening, what: &'static str, watch: &dyn Watch) -> Result<Gathered, Failure> {
        let pass = watch.pass(what, self.source.bytes_total());
        let work = |state: &mut Gathered, batch: &NumberedBatch| -> Result<(), Failure> {
            let encoded = self.encoder.encode(&batch.batch, batch.first_row.unwrap_or(0))?;
            let (ids, block) = encoded.block();
            state.sample.push(whitening, &block, &ids)?;
            state.input_rows += encoded.input_rows() as u64;
            state.unseen += encoded.unseen() as u64;
            state.add_levels(encoded.unseen_levels().iter().cloned());
            Ok(())
        };
        let states = parallel(self.source, &self.columns, &*pass, || Gathered::new(whitening), work)
            .map_err(|failure| failure.placed(self.source))?;
        let mut all = Gathered::new(whitening);
        states.into_iter().try_for_each(|state| all.merge(state))?;
        Ok(all)
    }

    /// The keys of all rows in their order, with the rows' numbers.
    fn each_block(
        &self,
        whitening: &Whitening,
        pass: &dyn Pass,
        mut work: impl FnMut(&Keys, &dyn Fn(usize) -> u64) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for batch in self.source.scan(&self.columns, ScanOrder::File)? {
            let batch = batch?;
            let encoded = self.encoder.encode(&batch.batch, batch.first_row.unwrap_or(0))?;
            let (ids, block) = encoded.block();
            let keys = Keys::of(whitening, &block, &ids)?;
            work(&keys, &|row| encoded.row_number(row))?;
            pass.add(batch.bytes)?;
        }
        Ok(())
    }
}

/// Compares a batch with the rows that a model was fitted on: by the model alone, or with the training rows by permutation.
///
/// # Errors
/// If the options, the model or the sources allow no comparison.
pub fn drift<'a>(
    model: &'a TableModel,
    batch: &Source,
    train: Option<&Source>,
    options: DriftOptions,
    watch: &dyn Watch,
) -> Result<Found<'a>, Failure> {
    check(options, train.is_some())?;
    let whitening = &model.model.whitening;
    if whitening.keys() == 0 {
        return Err(Failure::usage(
            "the model has no columns beside the intercept: no input can drift",
            "name a model with at least one term",
        ));
    }
    let batch_side = Side::new(batch, model)?;
    let training_side = train.map(|train| Side::new(train, model)).transpose()?;
    let batch = batch_side.gather(whitening, "reading the batch", watch)?;
    let training = training_side.as_ref().map(|side| side.gather(whitening, "reading the training rows", watch));
    let training = training.transpose()?;
    let label = |side: &Side<'_>| side.source.label().to_owned();
    let labels = (label(&batch_side), training_side.as_ref().map(label).unwrap_or_default());
    let (drift, permutation, effects) = (None, None, Vec::new());
    let mut found = Found { options, labels, model, batch, training, drift, permutation, effects };
    if found.enough_rows()? {
        compare(&mut found, &batch_side, training_side.as_ref(), watch)?;
    }
    Ok(found)
}

/// Refuses what no test can be made of.
///
/// # Errors
/// If the level is none, or permutations are too few for it.
pub fn check(options: DriftOptions, permuted: bool) -> Result<(), Failure> {
    let DriftOptions { level, permutations, .. } = options;
    check_level(level)?;
    // Three statistics may each have another split that is first.
    let surely = 3.0 / (permutations as f64 + 1.0);
    if permuted && surely > level {
        return Err(Failure::usage(
            format!("{permutations} permutations may give no p-value below {surely}, and --level is {level}"),
            format!("ask for --permutations {} or more", (3.0 / level).ceil() - 1.0),
        ));
    }
    Ok(())
}

impl Found<'_> {
    /// Whether there are rows enough to compare; an alarm for levels never seen needs none.
    fn enough_rows(&self) -> Result<bool, Failure> {
        let Self { model, batch, training, labels: (sources, training_rows), .. } = self;
        let (rows, needed) = (batch.sample.rows(), model.model.whitening.keys() as u64 + 2);
        if training.as_ref().is_some_and(|training| training.sample.rows() == 0) {
            let message = format!("{training_rows} has no usable rows");
            return Err(Failure::no_answer(message, "name the rows that the model was fitted on"));
        }
        if rows >= needed || (rows > 0 && training.is_some()) {
            return Ok(true);
        }
        if batch.unseen > 0 {
            return Ok(false);
        }
        if rows == 0 {
            let (message, hint) = match batch.missing() {
                0 => (format!("{sources} has no rows"), "name a source with rows"),
                missing => {
                    (format!("no row of {sources} can be compared: all {missing} have missing values"), "fill them in")
                }
            };
            return Err(Failure::no_answer(message, hint));
        }
        let count = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
        Err(Failure::no_answer(
            format!("{sources} has {count} for {} columns; expected at least {needed}", needed - 2),
            "gather more rows, or name the training rows (--train): the permutation test takes any number",
        ))
    }
}

/// The comparison by sums.
fn by_sums(found: &Found<'_>) -> Result<Drift, Failure> {
    let model = found.model;
    let untold = |what: &str| {
        Failure::usage(
            format!("the model is {what}: what its training rows were cannot be told from it"),
            "name the training rows (--train): the permutation test takes every model that has at least one column",
        )
    };
    let theirs = found.training.as_ref().map(|training| &training.sample);
    if theirs.is_none() && is_weighted(model) {
        return Err(untold("a weighted fit, whose keys are white only with the weights"));
    }
    Drift::of(&model.model.whitening, &found.batch.sample, theirs, found.options.level).map_err(|error| match error {
        hattention::Error::Parameter { name: "the model", got, .. } => untold(&got),
        hattention::Error::Parameter { name: "the training sample", got, .. } => {
            let message = format!("{} is {got}", found.labels.1);
            Failure::no_answer(message, "name the rows that the model was fitted on")
        }
        other => other.into(),
    })
}

fn is_weighted(model: &TableModel) -> bool {
    model.frozen.spec().weights.is_some()
}

/// The permutation test that waits for rows, if the training rows are given.
fn permutations(found: &Found<'_>) -> Result<Option<Permutations>, Failure> {
    let Some(training) = &found.training else { return Ok(None) };
    let (options, whitening) = (found.options, &found.model.model.whitening);
    let rows = (training.sample.rows(), found.batch.sample.rows());
    let test = Permutations::new(whitening.keys(), rows.0, rows.1, options.permutations, options.seed);
    let fewer = |error| Failure { hint: Some("ask for fewer --permutations".into()), ..Failure::from(error) };
    let test = test.map_err(fewer)?;
    Ok(Some(match column_basis(whitening) {
        Some(basis) => test.with_basis(basis)?,
        None => test,
    }))
}

/// The tests, and the second passes: permutations and the effect on single rows.
fn compare(
    found: &mut Found<'_>,
    batch: &Side<'_>,
    training: Option<&Side<'_>>,
    watch: &dyn Watch,
) -> Result<(), Failure> {
    let model = found.model;
    let whitening = &model.model.whitening;
    let drift = by_sums(found)?;
    for fit in model.model.fits.iter().filter(|_| !is_weighted(model)) {
        if let Some(shift) = Drift::predictions(whitening, fit, &found.batch.sample)? {
            found.effects.push(Effect { shift, largest: None });
        }
    }
    let mut permutations = permutations(found)?;
    let weight_total = whitening.weight_total;
    if let (Some(test), Some(side)) = (&mut permutations, training) {
        let pass = watch.pass("permuting", side.source.bytes_total());
        side.each_block(whitening, &*pass, |keys, _| test.push_keys(weight_total, keys).map_err(again))?;
    }
    let effects = &mut found.effects;
    if permutations.is_some() || !effects.is_empty() {
        let pass = watch.pass("reading the batch again", batch.source.bytes_total());
        batch.each_block(whitening, &*pass, |keys, number| {
            effects.iter_mut().for_each(|effect| effect.look_at(whitening, keys, number));
            permutations.as_mut().map_or(Ok(()), |test| test.push_keys(weight_total, keys).map_err(again))
        })?;
    }
    found.permutation = permutations.map(|test| test.finish().map_err(again)).transpose()?;
    found.drift = Some(drift);
    Ok(())
}

/// A second pass that meets more or fewer rows than the first.
fn again(error: hattention::Error) -> Failure {
    match error {
        hattention::Error::Shape { what: "the pooled sample", expected, got } => Failure::usage(
            format!("the sources gave {got} usable rows when read again, and {expected} before"),
            "leave files alone while they are read; a query with LIMIT needs an ORDER BY to mean the same rows twice",
        ),
        other => other.into(),
    }
}

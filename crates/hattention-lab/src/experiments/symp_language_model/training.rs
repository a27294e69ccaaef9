//! One training.

use std::time::Instant;

use crate::error::Error;
use crate::experiment::{Context, Unit};
use crate::rows::Row;
use crate::seeds::generator;
use crate::text::{Corpus, stories};
use crate::trainer::{Options, Trainer};
use crate::transformer::{Block, Kernel, Shape, Transformer};

/// Seconds after which what was learned is kept, in case that the run is broken off.
const KEPT_AFTER: f64 = if cfg!(test) { 0.0 } else { 30.0 };

/// The text of the plan, or made-up stories.
pub(crate) fn corpus(unit: &Unit, context: &Context<'_>) -> Result<Corpus, Error> {
    let length = unit.count("context")?;
    match &context.plan.data {
        Some(path) if path.is_dir() => Err(Error::Parameter {
            name: "--data",
            got: format!("the folder {}", path.display()),
            allowed: "a file of text",
        }),
        Some(path) => {
            let why = |e: std::io::Error| Error::File { path: path.display().to_string(), why: e.to_string() };
            let bytes = std::fs::read(path).map_err(why)?;
            let text = String::from_utf8(bytes).map_err(|_| Error::Parameter {
                name: "--data",
                got: path.display().to_string(),
                allowed: "a text in UTF-8",
            })?;
            Corpus::new(&text, length)
        }
        None => {
            let mut generator = generator("symp-language-model", "text", "stories", 0);
            Corpus::new(&stories(unit.count("characters")?, &mut generator), length)
        }
    }
}

fn word<T>(unit: &Unit, name: &'static str, of: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
    let got = unit.word(name)?;
    of(got).ok_or_else(|| Error::Parameter { name, got: got.to_owned(), allowed: "one that there is" })
}

/// The transformer that a unit asks for.
pub(crate) fn model(unit: &Unit, corpus: &Corpus) -> Result<Transformer, Error> {
    let shape = Shape {
        vocabulary: corpus.vocabulary().len(),
        context: unit.count("context")?,
        width: unit.count("width")?,
        heads: unit.count("heads")?,
        layers: unit.count("layers")?,
    };
    Transformer::new(shape, word(unit, "block", Block::of)?, word(unit, "kernel", Kernel::of)?)
}

/// Trains to the end, from where an earlier run was broken off. After every so many steps a row is made of the training and the mean loss
/// of its steps since. Says whether it came to the end.
pub(crate) fn train(
    trainer: &mut Trainer<'_>,
    context: &Context<'_>,
    [steps, every]: [usize; 2],
    rows: &mut Vec<Row>,
    row: impl Fn(&Trainer<'_>, f64) -> Result<Row, Error>,
) -> Result<bool, Error> {
    if let Some(kept) = context.kept() {
        match trainer.restore(&kept) {
            Ok(notes) => rows.extend(notes.as_array().into_iter().flatten().filter_map(Row::from_json)),
            Err(error) => context.note(&format!("{error}; the training begins anew")),
        }
    }
    let (start, first, before) = (Instant::now(), trainer.steps(), trainer.tokens());
    let (mut sum, mut count, mut kept) = (0.0, 0, Instant::now());
    while !trainer.is_done() {
        match trainer.step() {
            Ok(loss) => (sum, count) = (sum + loss, count + 1),
            Err(diverged @ Error::Diverged { .. }) => {
                context.note(&diverged.to_string());
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        let done = trainer.steps();
        if done.is_multiple_of(every) || trainer.is_done() {
            rows.push(row(trainer, sum / f64::from(count))?);
            (sum, count) = (0.0, 0);
            if kept.elapsed().as_secs_f64() > KEPT_AFTER {
                let notes = rows.iter().map(Row::to_json).collect();
                context.keep(&trainer.checkpoint(&notes)?)?;
                kept = Instant::now();
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        let rate = (trainer.tokens() - before) as f64 / seconds;
        let left = (steps - done) as f64 * seconds / (done - first) as f64;
        context.progress_of(done as f64 / steps as f64, &format!("{rate:.0} tokens/s, {left:.0} s left"));
    }
    Ok(true)
}

/// (Seed 0 chose the rate.)
fn seed(unit: &Unit) -> Result<usize, Error> {
    Ok(unit.count("seed")? + 1)
}

fn options(unit: &Unit) -> Result<Options, Error> {
    let steps = unit.count("steps")?;
    let (batch, rate) = (unit.count("batch")?, unit.number("rate")?);
    Ok(Options { steps, batch, rate, warm_up: steps / 10, ..Options::default() })
}

fn labelled(unit: &Unit, model: &Transformer, kind: &str) -> Row {
    Row::new()
        .label("kind", kind)
        .label("kernel", model.kernel().word())
        .label("block", model.block().word())
        .label("seed", unit.parameters["seed"].clone())
        .label("rate", unit.parameters["rate"].clone())
}

pub(super) fn run(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let corpus = corpus(unit, context)?;
    let model = model(unit, &corpus)?;
    let (steps, every, some) = (unit.count("steps")?, unit.count("every")?, unit.count("some")?);
    let options = options(unit)?;
    let mut trainer = Trainer::new(&model, &corpus, options, seed(unit)?, context.plan.device)?;
    let mut rows = Vec::new();
    let ended = train(&mut trainer, context, [steps, every], &mut rows, |trainer, loss| {
        let row = labelled(unit, &model, "curve").label("steps", trainer.steps());
        Ok(row.value("training", loss).value("validation", trainer.validate(some)?))
    })?;
    // (What has diverged guesses.)
    let guess = (corpus.vocabulary().len() as f64).ln();
    let loss = if ended { trainer.validate(unit.count("windows")?)? } else { guess };
    rows.push(
        labelled(unit, &model, "end")
            .value("validation", if loss.is_finite() { loss } else { guess })
            .value("diverged", f64::from(u8::from(!(ended && loss.is_finite()))))
            .value("steps", trainer.steps() as f64)
            .value("tokens", trainer.tokens() as f64)
            .value("oracle calls", (trainer.steps() * unit.count("layers")?) as f64)
            .value("parameters", model.count() as f64),
    );
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::experiment::{Plan, Size, Store};
    use crate::experiments::symp_language_model::EXPERIMENT;
    use crate::run::Files;

    /// A run that was broken off after a third goes on to the rows of one that was not.
    #[test]
    fn trainings_go_on_where_they_were_broken_off() {
        let plan: Plan = EXPERIMENT.plan(Size::Smoke, None);
        let unit = &(EXPERIMENT.units)(&plan)[3];
        let folder = tempfile::tempdir().unwrap();
        let broken_at = |steps: usize| {
            let told = std::cell::Cell::new(0);
            let corpus = corpus(unit, &Context::new(&plan, "symp-language-model", &unit.name)).unwrap();
            let model = model(unit, &corpus).unwrap();
            let options = options(unit).unwrap();
            let mut trainer = Trainer::new(&model, &corpus, options, seed(unit).unwrap(), plan.device).unwrap();
            let mut rows = Vec::new();
            let context = context(&plan, unit, &folder.path().join("unit.checkpoint"));
            let row = |trainer: &Trainer<'_>, loss: f64| {
                told.set(trainer.steps());
                labelled(unit, &model, "curve")
                    .label("steps", trainer.steps())
                    .value("training", loss)
                    .value("validation", trainer.validate(unit.count("some")?)?)
                    .checked(trainer.steps() < steps)
            };
            assert!(train(&mut trainer, &context, [20, 5], &mut rows, row).is_err() && told.get() == steps);
        };
        let whole = run(unit, &Context::new(&plan, "symp-language-model", &unit.name)).unwrap();
        broken_at(10);
        assert!(folder.path().join("unit.checkpoint").exists());
        let other = &(EXPERIMENT.units)(&plan)[4];
        let path = folder.path().join("unit.checkpoint");
        assert!(context(&plan, other, &path).kept().is_none(), "what is kept is of one unit");
        let context = context(&plan, unit, &path);
        assert_eq!(run(unit, &context).unwrap(), whole);
    }

    fn context<'a>(plan: &'a Plan, unit: &'a Unit, path: &Path) -> Context<'a> {
        let store = Some(Store::new(path.to_owned(), &Files, unit.parameters.clone()));
        Context { store, ..Context::new(plan, "symp-language-model", &unit.name) }
    }

    trait Checked: Sized {
        fn checked(self, goes_on: bool) -> Result<Self, Error>;
    }

    impl Checked for Row {
        fn checked(self, goes_on: bool) -> Result<Self, Error> {
            if goes_on { Ok(self) } else { Err(Error::Tensor("broken off".to_owned())) }
        }
    }
}

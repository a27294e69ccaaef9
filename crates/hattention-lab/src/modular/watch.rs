//! A training as it goes on, looked at every so many steps.

use std::time::Instant;

use serde_json::{Value, json};

use super::training::{Scored, Training};
use crate::error::Error;
use crate::experiment::Context;

/// Seconds after which what was learned is kept, in case that the run is broken off.
const KEPT_AFTER: f64 = 30.0;

/// Numbers that are seen, in this order; of a model of fewer heads the last are zero.
pub const SEEN: [&str; 16] = [
    "train loss",
    "train accuracy",
    "test loss",
    "test accuracy",
    "capacity",
    "capacity of the second token",
    "pooled variance",
    "pooled variance of all tokens",
    "entropy",
    "free energy",
    "query-key norm",
    "weight norm",
    "capacity of head 0",
    "capacity of head 1",
    "capacity of head 2",
    "capacity of head 3",
];

/// What was seen after some steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// Steps taken.
    pub step: usize,
    /// The numbers of [`SEEN`]; of a training that is not observed the first four, and zeros.
    pub numbers: [f64; 16],
}

impl Look {
    /// The loss on pairs that are learned from.
    pub fn train_loss(&self) -> f64 {
        self.numbers[0]
    }

    /// The share of them that is right.
    pub fn train_accuracy(&self) -> f64 {
        self.numbers[1]
    }

    /// The loss on pairs that are held back.
    pub fn test_loss(&self) -> f64 {
        self.numbers[2]
    }

    /// The share of them that is right.
    pub fn test_accuracy(&self) -> f64 {
        self.numbers[3]
    }

    /// The step at which the training accuracy first is at least this, by a straight line between looks.
    pub fn known(looks: &[Self], accuracy: f64) -> Option<f64> {
        let at = looks.iter().position(|look| look.train_accuracy() >= accuracy)?;
        let (step, right) = (looks[at].step as f64, looks[at].train_accuracy());
        let Some(before) = at.checked_sub(1).map(|before| &looks[before]) else { return Some(step) };
        let share = (accuracy - before.train_accuracy()) / (right - before.train_accuracy());
        Some(before.step as f64 + share * (step - before.step as f64))
    }

    fn of(training: &Training<'_>, observed: bool) -> Result<Self, Error> {
        let (Scored { loss, accuracy }, test) = (training.train()?, training.test()?);
        let mut numbers = [0.0; 16];
        numbers[..4].copy_from_slice(&[loss, accuracy, test.loss, test.accuracy]);
        if observed {
            let seen = training.observe()?;
            let capacity = seen.capacity.iter().sum::<f64>() / seen.capacity.len() as f64;
            let more = [
                capacity,
                seen.capacity_second,
                seen.pooled_last,
                seen.pooled_all,
                seen.entropy,
                seen.free_energy,
                seen.query_key,
                seen.weights,
            ];
            numbers[4..12].copy_from_slice(&more);
            numbers[12..].iter_mut().zip(&seen.capacity).for_each(|(number, capacity)| *number = *capacity);
        }
        Ok(Self { step: training.steps(), numbers })
    }

    fn to_json(self) -> Value {
        json!([self.step, self.numbers])
    }

    fn from_json(value: &Value) -> Option<Self> {
        let numbers: Vec<f64> = value[1].as_array()?.iter().filter_map(Value::as_f64).collect();
        Some(Self { step: value[0].as_u64()? as usize, numbers: numbers.try_into().ok()? })
    }
}

/// Trains, from where an earlier run was broken off, and looks at the start and after every so many steps, to the last of them or until the
/// looks so far are the end. A training that diverges ends there, and it is said.
///
/// # Errors
/// Those of the training, and of keeping it.
pub fn watched(
    training: &mut Training<'_>,
    context: &Context<'_>,
    [steps, every]: [usize; 2],
    observed: bool,
    end: impl Fn(&[Look]) -> bool,
) -> Result<Vec<Look>, Error> {
    let mut looks: Vec<Look> = Vec::new();
    if let Some(kept) = context.kept() {
        match training.restore(&kept) {
            Ok(notes) => looks = notes.as_array().into_iter().flatten().filter_map(Look::from_json).collect(),
            Err(error) => context.note(&format!("{error}; the training begins anew")),
        }
    }
    let (start, first, mut kept) = (Instant::now(), training.steps(), Instant::now());
    loop {
        let done = training.steps();
        if looks.last().is_none_or(|look| look.step < done) && (done.is_multiple_of(every) || done >= steps) {
            looks.push(Look::of(training, observed)?);
            if done >= steps || end(&looks) {
                return Ok(looks);
            }
            if kept.elapsed().as_secs_f64() > KEPT_AFTER {
                let notes = looks.iter().map(|look| look.to_json()).collect();
                context.keep(&training.checkpoint(&notes)?)?;
                kept = Instant::now();
            }
        }
        match training.step() {
            Ok(_) => {}
            Err(diverged @ Error::Diverged { .. }) => {
                context.note(&diverged.to_string());
                return Ok(looks);
            }
            Err(error) => return Err(error),
        }
        let seconds = start.elapsed().as_secs_f64();
        let rate = (training.steps() - first) as f64 / seconds;
        let left = (steps - training.steps()) as f64 / rate;
        context.progress_of(done as f64 / steps as f64, &format!("{rate:.0} steps/s, at most {left:.0} s left"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Form, Options, Shape, Task, TaskOptions};
    use super::*;
    use crate::experiment::{Context, Size, Store};
    use crate::experiments::grokking_specific_heat::EXPERIMENT;
    use crate::run::Files;
    use crate::seeds::generator;
    use crate::train::Device;

    /// A training that was broken off goes on to the looks of one that was not.
    #[test]
    fn looks_go_on_where_they_were_broken_off() {
        let options = TaskOptions { modulus: 7, fraction: 0.6, unordered: false, noise: 0.0 };
        let task = Task::new(options, &mut generator("test", "watch", "pairs", 0)).unwrap();
        let shape = Shape { modulus: 7, width: 12, heads: 3, neurons: 16 };
        let new = || Training::new(&task, shape, Form::Lean, Options::default(), 2, Device::Cpu).unwrap();
        let plan = EXPERIMENT.plan(Size::Smoke, None);
        let plain = Context::new(&plan, "grokking-specific-heat", "unit");
        let whole = watched(&mut new(), &plain, [45, 10], true, |_| false).unwrap();
        assert_eq!(whole.iter().map(|look| look.step).collect::<Vec<_>>(), [0, 10, 20, 30, 40, 45]);
        let short = watched(&mut new(), &plain, [45, 10], true, |looks| looks.len() > 2).unwrap();
        assert_eq!(short, whole[..3]);
        // (What a run keeps after 30 seconds.)
        let mut broken = new();
        for _ in 0..20 {
            broken.step().unwrap();
        }
        let notes = whole[..3].iter().map(|look| look.to_json()).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("unit.checkpoint");
        let context =
            || Context { store: Some(Store::new(path.clone(), &Files, json!({}))), ..Context::new(&plan, "e", "unit") };
        context().keep(&broken.checkpoint(&notes).unwrap()).unwrap();
        assert_eq!(watched(&mut new(), &context(), [45, 10], true, |_| false).unwrap(), whole);
    }
}

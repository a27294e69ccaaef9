//! Measuring memories of ±1 patterns.

use std::sync::atomic::{AtomicUsize, Ordering};

use hattention::hopfield::{BinaryMemory, Patterns, Score, State};
use rand::Rng;
use rand::seq::index;
use rayon::prelude::*;

use super::prediction::{Prediction, corrupted, needed, probes};
use crate::error::Error;
use crate::experiment::{Context, Unit};
use crate::rows::Row;
use crate::seeds::Generator;

/// The score that a word means.
pub fn score(word: &str) -> Result<Score, Error> {
    Ok(match word {
        "linear" => Score::Linear,
        "polynomial-2" => Score::Polynomial { degree: 2 },
        "polynomial-3" => Score::Polynomial { degree: 3 },
        "polynomial-4" => Score::Polynomial { degree: 4 },
        "exponential" => Score::Exponential,
        other => {
            let allowed = "linear, polynomial-2, polynomial-3, polynomial-4 or exponential";
            return Err(Error::Parameter { name: "score", got: other.to_owned(), allowed });
        }
    })
}

/// Numbers of patterns around the predicted capacity: a logarithmic grid, so that the crossing lies inside it also where
/// the prediction fails.
fn grid(capacity: f64, spread: f64, up: f64) -> Vec<usize> {
    let steps = ((spread * up).log2() * 2.0).round() as i32;
    let at = |i: i32| (capacity / spread * 2f64.powf(f64::from(i) / 2.0)).round().max(1.0) as usize;
    let mut grid: Vec<usize> = (0..=steps).map(at).collect();
    grid.dedup();
    grid
}

/// Sets that succeed, and patterns that are recovered, after one synchronous step and at rest.
#[derive(Clone, Copy, Default)]
struct Tally {
    step: usize,
    settled: usize,
}

/// One unit: a score, a number of neurons, a corruption.
pub fn capacity(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let (word, neurons) = (unit.word("score")?, unit.count("N")?);
    let (corruption, spread) = (unit.number("corruption")?, unit.number("spread")?);
    let (score, flips) = (score(word)?, corrupted(neurons, corruption));
    // Recall at rest, where it repairs much, needs a grid that reaches further up.
    let up = if unit.parameters["up"].is_null() { spread } else { unit.number("up")? };
    let grid = grid(Prediction::new(score, neurons, flips).capacity(), spread, up);
    let (work, done) = (grid.iter().sum::<usize>() * context.plan.seeds, AtomicUsize::new(0));
    let mut rows = Vec::new();
    for count in grid {
        let purpose = format!("patterns-{count}");
        let tallies = (0..context.plan.seeds)
            .into_par_iter()
            .map(|set| {
                let tally = one_set(score, neurons, count, flips, &mut context.generator(&purpose, set));
                let done = done.fetch_add(count, Ordering::Relaxed) + count;
                context.progress(done as f64 / work as f64);
                tally
            })
            .collect::<Result<Vec<Tally>, Error>>()?;
        let needed = needed(probes(count));
        let sets = |of: fn(&Tally) -> usize| tallies.iter().filter(|t| of(t) >= needed).count() as f64;
        let total = |of: fn(&Tally) -> usize| tallies.iter().map(of).sum::<usize>() as f64;
        rows.push(
            Row::new()
                .label("measure", "capacity")
                .label("score", word)
                .label("N", neurons)
                .label("corruption", corruption)
                .label("K", count)
                .value("sets", tallies.len() as f64)
                .value("successes after a step", sets(|t| t.step))
                .value("successes at rest", sets(|t| t.settled))
                .value("probes", (tallies.len() * probes(count)) as f64)
                .value("recovered after a step", total(|t| t.step))
                .value("recovered at rest", total(|t| t.settled)),
        );
    }
    Ok(rows)
}

fn one_set(score: Score, neurons: usize, count: usize, flips: usize, random: &mut Generator) -> Result<Tally, Error> {
    let memory = BinaryMemory::new(Patterns::random(neurons, count, || random.next_u64())?, score)?;
    let mut tally = Tally::default();
    for k in 0..probes(count) {
        let Some(pattern) = memory.patterns().get(k) else { break };
        let probe = damaged(&pattern, flips, random);
        tally.step += usize::from(memory.step(&probe)? == pattern);
        tally.settled += usize::from(at_rest(&memory, &probe)?.is_some_and(|state| state == pattern));
    }
    Ok(tally)
}

/// A state with so many neurons turned over.
pub fn damaged(pattern: &State, flips: usize, random: &mut Generator) -> State {
    let mut probe = pattern.clone();
    index::sample(random, pattern.neurons(), flips).iter().for_each(|i| probe.flip(i));
    probe
}

/// Where the state comes to rest; a state that takes more than ten flips a neuron has left its pattern long ago.
fn at_rest(memory: &BinaryMemory, probe: &State) -> Result<Option<State>, Error> {
    match memory.settle(probe, 10 * probe.neurons()) {
        Ok(settled) => Ok(Some(settled.state)),
        Err(hattention::Error::NoConvergence { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

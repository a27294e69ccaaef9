//! Measuring the whitened memory, beside the plain linear one, on independent and on correlated patterns.

use hattention::hopfield::{BinaryMemory, Patterns, Score, State, WhitenedMemory};
use rand::RngExt;
use rayon::prelude::*;

use super::binary::damaged;
use super::prediction::corrupted;
use crate::error::Error;
use crate::experiment::{Context, Unit};
use crate::rows::Row;
use crate::seeds::Generator;

/// Patterns probed in each set, and steps to rest at most.
const PROBES: usize = 20;
const MOST_STEPS: usize = 100;

/// Recovered patterns: by the whitened memory with self-attention, without, at rest; and by Hopfield's network.
type Tally = [usize; 5];
const NAMES: [&str; 5] = [
    "recovered after a step",
    "recovered at rest",
    "recovered after a step without self-attention",
    "recovered at rest without self-attention",
    "recovered by the linear memory",
];

/// One unit: a share of patterns over neurons, all corruptions, both kinds of patterns.
pub fn recovery(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let (neurons, count, common) = (unit.count("N")?, unit.count("K")?, unit.number("common")?);
    let corruptions = [0.0, 0.05, 0.1, 0.25];
    let mut rows = Vec::new();
    for (i, corruption) in corruptions.into_iter().enumerate() {
        let flips = corrupted(neurons, corruption);
        let tallies = (0..context.plan.seeds)
            .into_par_iter()
            .map(|set| one_set(neurons, count, common, flips, &mut context.generator("patterns", set)))
            .collect::<Result<Vec<Tally>, Error>>()?;
        let mut row = Row::new()
            .label("measure", "whitened")
            .label("common", common)
            .label("N", neurons)
            .label("K", count)
            .label("corruption", corruption)
            .value("probes", (tallies.len() * PROBES.min(count)) as f64);
        for (k, name) in NAMES.iter().enumerate() {
            row = row.value(name, tallies.iter().map(|t| t[k]).sum::<usize>() as f64);
        }
        rows.push(row);
        context.progress((i + 1) as f64 / corruptions.len() as f64);
    }
    Ok(rows)
}

fn one_set(neurons: usize, count: usize, common: f64, flips: usize, random: &mut Generator) -> Result<Tally, Error> {
    let patterns = Patterns::from_states(&leaning(neurons, count, common, random)?)?;
    let whitened = WhitenedMemory::of_signs(&patterns)?;
    let linear = BinaryMemory::new(patterns.clone(), Score::Polynomial { degree: 2 })?;
    let mut tally = [0; 5];
    for k in 0..PROBES.min(count) {
        let Some(pattern) = patterns.get(k) else { break };
        let probe = damaged(&pattern, flips, random);
        let settled =
            |own: bool| Ok::<_, Error>(whitened.settle(&probe, own, MOST_STEPS)?.is_some_and(|s| s == pattern));
        let found = [
            whitened.step(&probe, true)? == pattern,
            settled(true)?,
            whitened.step(&probe, false)? == pattern,
            settled(false)?,
            linear.step(&probe)? == pattern,
        ];
        tally.iter_mut().zip(found).for_each(|(t, found)| *t += usize::from(found));
    }
    Ok(tally)
}

/// Patterns that take each sign from a common template with probability `common`, else from a fair coin.
fn leaning(neurons: usize, count: usize, common: f64, random: &mut Generator) -> Result<Vec<State>, Error> {
    let coin = |random: &mut Generator| if random.random::<bool>() { 1i8 } else { -1 };
    let template: Vec<i8> = (0..neurons).map(|_| coin(random)).collect();
    let one = |random: &mut Generator| {
        let signs: Vec<i8> =
            template.iter().map(|t| if random.random::<f64>() < common { *t } else { coin(random) }).collect();
        Ok(State::from_signs(&signs)?)
    };
    (0..count).map(|_| one(random)).collect()
}

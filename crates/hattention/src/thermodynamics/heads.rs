//! What the heads of attention say.

use rayon::prelude::*;

use super::attention::{Attention, Energies, KEYS, QUERIES, Tile};
use super::ensemble::{Ensemble, Observables};
use crate::error::Error;
use crate::interrupt::checked;

/// What a head says.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// What every query says, batch by batch; nothing of one that reads no key. Shape: `[batches · queries]`.
    pub queries: Vec<Option<Observables>>,
    /// Means over the queries that read a key.
    pub mean: Option<Observables>,
    /// All scaled scores.
    pub pooled: Pooled,
}

/// Scaled scores `−E/T` of keys that are read, whatever their weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pooled {
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Their variance, by their number: the mean of the squares of what they are off the mean.
    pub variance: f64,
    /// The least.
    pub least: f64,
    /// The largest.
    pub largest: f64,
}

impl Pooled {
    const NONE: Self = Self { count: 0, mean: 0.0, variance: 0.0, least: f64::INFINITY, largest: f64::NEG_INFINITY };

    fn of(scores: impl Iterator<Item = f64> + Clone) -> Self {
        let (count, sum) = scores.clone().fold((0u64, 0.0), |(count, sum), s| (count + 1, sum + s));
        if count == 0 {
            return Self::NONE;
        }
        let mean = sum / count as f64;
        let start = Self { count, mean, ..Self::NONE };
        let sums = scores.fold(start, |all, s| Self {
            variance: all.variance + (s - mean) * (s - mean),
            least: all.least.min(s),
            largest: all.largest.max(s),
            ..all
        });
        Self { variance: sums.variance / count as f64, ..sums }
    }

    fn merged(self, other: Self) -> Self {
        if self.count == 0 || other.count == 0 {
            return if self.count == 0 { other } else { self };
        }
        let count = self.count + other.count;
        let (a, b) = (self.count as f64 / count as f64, other.count as f64 / count as f64);
        let apart = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + b * apart,
            variance: a * self.variance + b * other.variance + a * b * apart * apart,
            least: self.least.min(other.least),
            largest: self.largest.max(other.largest),
        }
    }
}

/// Energies beyond it are refused: their squares would overflow.
const LARGEST: f64 = 1e150;

/// Refuses energies of a query, from a key on, that are no numbers or too large.
pub(super) fn checked_row(row: &[f64], [batch, head]: [usize; 2], query: usize, start: usize) -> Result<(), Place> {
    match row.iter().position(|e| !(e.abs() < LARGEST || *e == f64::INFINITY)) {
        Some(at) => Err(Place { batch, head, query, key: start + at, energy: row[at] }),
        None => Ok(()),
    }
}

/// A place in attention where a number is not finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    batch: usize,
    head: usize,
    query: usize,
    key: usize,
    energy: f64,
}

impl Attention<'_> {
    /// What every head says.
    ///
    /// # Numerics
    /// Keys are read in tiles of 504, by eight queries at once: memory is that of eight numbers a query. Two looks at a tile's
    /// exponentials, which are computed in vectors; sums have a fixed order, whatever the threads.
    ///
    /// # Errors
    /// [`Error::Format`] for a score that is NaN, `+∞` (of queries and keys: or `−∞`) or beyond 1e150, by its place.
    pub fn heads(&self) -> Result<Vec<Head>, Error> {
        heads(self)
    }
}

/// What every head says, wherever energies come from.
pub(crate) fn heads(energies: &impl Energies) -> Result<Vec<Head>, Error> {
    let [batches, heads, queries, _] = energies.shape();
    let groups = queries.div_ceil(QUERIES);
    let of_group = |at: usize| {
        let (head, batch, group) = (at / (batches * groups), at / groups % batches, at % groups);
        group_of(energies, [batch, head], group)
    };
    let groups_of_all = batches * heads * groups;
    let found: Vec<_> = (0..groups_of_all).into_par_iter().map(checked(of_group)).collect();
    let mut all = Vec::with_capacity(heads);
    let mut found = found.into_iter();
    for _ in 0..heads {
        let mut head = Head { queries: Vec::with_capacity(batches * queries), mean: None, pooled: Pooled::NONE };
        for group in found.by_ref().take(batches * groups) {
            let (ensembles, pooled) = group.map_err(|place| of_place(&place, energies.expected()))?;
            head.queries.extend(ensembles.iter().map(Ensemble::observables));
            head.pooled = head.pooled.merged(pooled);
        }
        head.mean = Observables::mean(&head.queries);
        all.push(head);
    }
    Ok(all)
}

pub(super) fn of_place(place: &Place, expected: &str) -> Error {
    let Place { batch, head, query, key, energy } = place;
    // (Of negative weights the logarithm is none.)
    let what = if energy.is_nan() { "NaN, or has no logarithm" } else { "infinite, or beyond 1e150" };
    Error::Format {
        expected: expected.to_owned(),
        got: format!("one that is {what}: batch {batch}, head {head}, query {query}, key {key}, counted from 0"),
    }
}

fn group_of(energies: &impl Energies, of: [usize; 2], group: usize) -> Result<(Vec<Ensemble>, Pooled), Place> {
    let [_, _, queries, keys] = energies.shape();
    let rows = group * QUERIES..queries.min((group + 1) * QUERIES);
    let mut ensembles = vec![Ensemble::at(energies.temperature()); rows.len()];
    let mut pooled = Pooled::NONE;
    let mut tile: Box<Tile> = Box::new([[0.0; KEYS]; QUERIES]);
    for start in (0..keys).step_by(KEYS) {
        let range = start..keys.min(start + KEYS);
        energies.fill(of, rows.clone(), range.clone(), &mut tile);
        for ((query, ensemble), row) in rows.clone().zip(&mut ensembles).zip(tile.iter()) {
            let row = &row[..range.len()];
            checked_row(row, of, query, start)?;
            ensemble.push_checked(row);
            let scale = -1.0 / energies.temperature();
            pooled = pooled.merged(Pooled::of(row.iter().filter(|e| **e < f64::INFINITY).map(|e| e * scale)));
        }
    }
    Ok((ensembles, pooled))
}

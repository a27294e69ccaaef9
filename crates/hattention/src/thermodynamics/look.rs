//! A closer look at some of the queries: other temperatures, and where energies lie.

use rayon::prelude::*;

use super::attention::{Attention, Energies, KEYS, QUERIES, Tile};
use super::ensemble::{Ensemble, Observables, check};
use super::heads::{Place, Pooled, checked_row, of_place};
use crate::error::Error;
use crate::interrupt::checked;

/// Means over queries at a temperature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The temperature.
    pub temperature: f64,
    /// What queries say there, on average.
    pub mean: Observables,
}

/// A closer look at a head.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// Queries that were looked at.
    pub queries: usize,
    /// What they say at the temperatures that were asked for.
    pub curve: Vec<Point>,
    /// The ends of the histogram's bins, in scaled scores `−E/T`. Shape: `[bins + 1]`.
    pub edges: Vec<f64>,
    /// The shares of all keys that are read, in each bin.
    pub keys: Vec<f64>,
    /// The weights `p` of the keys in each bin, over the number of queries: what is attended to.
    pub weights: Vec<f64>,
}

impl Attention<'_> {
    /// A closer look at every head: at most so many queries of each batch, evenly spaced; scores of all of them lie in `ranges`, one a
    /// head.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a temperature that is not positive and finite, or no bins; [`Error::Format`] as [`Attention::heads`].
    pub fn look(&self, most: usize, temperatures: &[f64], ranges: &[Pooled], bins: usize) -> Result<Vec<Look>, Error> {
        look(self, most, temperatures, ranges, bins)
    }
}

/// What a query adds.
struct Seen {
    curve: Vec<Option<Observables>>,
    keys: Vec<f64>,
    weights: Vec<f64>,
}

pub(crate) fn look(
    energies: &impl Energies,
    most: usize,
    temperatures: &[f64],
    ranges: &[Pooled],
    bins: usize,
) -> Result<Vec<Look>, Error> {
    temperatures.iter().try_for_each(|t| check(*t))?;
    if bins == 0 || most == 0 {
        return Err(Error::Parameter { name: "bins and queries", got: "none".to_owned(), allowed: "one or more" });
    }
    let [batches, heads, queries, _] = energies.shape();
    let step = queries.div_ceil(most);
    let of_head = |head: usize| -> Result<Look, Error> {
        let range = ranges.get(head).filter(|range| range.count > 0);
        let (low, high) = range.map_or((0.0, 1.0), |range| (range.least, range.largest));
        let width = if high > low { (high - low) / bins as f64 } else { 1.0 / bins as f64 };
        let edges: Vec<f64> = (0..=bins).map(|b| low + width * b as f64).collect();
        let places: Vec<[usize; 2]> =
            (0..batches).flat_map(|b| (0..queries).step_by(step).map(move |q| [b, q])).collect();
        let of_query = |[batch, query]: [usize; 2]| seen(energies, [batch, head, query], temperatures, &edges);
        let seen: Vec<Result<Seen, Place>> = places.into_par_iter().map(checked(of_query)).collect();
        let seen: Vec<Seen> =
            seen.into_iter().collect::<Result<_, _>>().map_err(|place| of_place(&place, energies.expected()))?;
        let reading = seen.iter().filter(|s| s.keys.iter().any(|k| *k > 0.0)).count();
        let curve = temperatures.iter().enumerate().filter_map(|(t, temperature)| {
            let found: Vec<_> = seen.iter().map(|seen| seen.curve[t]).collect();
            Some(Point { temperature: *temperature, mean: Observables::mean(&found)? })
        });
        let total = |of: &dyn Fn(&Seen) -> &Vec<f64>| -> Vec<f64> {
            let mut sums = vec![0.0; bins];
            seen.iter().for_each(|seen| sums.iter_mut().zip(of(seen)).for_each(|(sum, x)| *sum += x));
            let all = sums.iter().sum::<f64>().max(f64::MIN_POSITIVE);
            sums.iter().map(|sum| sum / all).collect()
        };
        let (keys, weights) = (total(&|seen| &seen.keys), total(&|seen| &seen.weights));
        Ok(Look { queries: reading, curve: curve.collect(), edges, keys, weights })
    };
    (0..heads).map(of_head).collect()
}

/// One query at all temperatures, and its histograms.
fn seen(
    energies: &impl Energies,
    [batch, head, query]: [usize; 3],
    temperatures: &[f64],
    edges: &[f64],
) -> Result<Seen, Place> {
    let [_, _, _, keys] = energies.shape();
    let t = energies.temperature();
    let mut ensembles: Vec<Ensemble> = temperatures.iter().map(|t| Ensemble::at(*t)).collect();
    let mut own = Ensemble::at(t);
    let mut tile: Box<Tile> = Box::new([[0.0; KEYS]; QUERIES]);
    let mut row: Vec<f64> = Vec::with_capacity(keys);
    for start in (0..keys).step_by(KEYS) {
        let range = start..keys.min(start + KEYS);
        energies.fill([batch, head], query..query + 1, range.clone(), &mut tile);
        let part = &tile[0][..range.len()];
        checked_row(part, [batch, head], query, start)?;
        ensembles.iter_mut().for_each(|ensemble| ensemble.push_checked(part));
        own.push_checked(part);
        row.extend(part.iter().filter(|e| **e < f64::INFINITY));
    }
    let bins = edges.len() - 1;
    let (mut counts, mut weights) = (vec![0.0; bins], vec![0.0; bins]);
    let log_partition = own.observables().map_or(0.0, |o| o.log_partition);
    for energy in row {
        let score = -energy / t;
        let bin = ((score - edges[0]) / (edges[1] - edges[0])).clamp(0.0, bins as f64 - 1.0) as usize;
        counts[bin] += 1.0;
        weights[bin] += libm::exp(score - log_partition);
    }
    Ok(Seen { curve: ensembles.iter().map(Ensemble::observables).collect(), keys: counts, weights })
}

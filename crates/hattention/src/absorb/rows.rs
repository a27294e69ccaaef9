//! Rows less their effects, for what needs every residual.

use super::state::check_codes;
use super::system::ABSENT;
use super::{Absorbed, FittedEffects};
use crate::attention::Numbers;
use crate::block::Column;
use crate::double_double::DoubleDouble;
use crate::error::Error;

/// Columns of a block less their effects, as pairs of doubles.
#[derive(Clone, Debug)]
pub struct Residuals {
    columns: Vec<(Vec<f64>, Vec<f64>)>,
}

impl Residuals {
    /// The columns, in the order they were asked for. Shape: `[rows]` each.
    pub fn columns(&self) -> Vec<Column<'_>> {
        self.columns.iter().map(|(hi, lo)| Column::Pair { hi, lo }).collect()
    }
}

impl Absorbed {
    /// `x − D a` of some rows, for columns of the state: each with its numbers in these rows, `None` where they are zeros.
    ///
    /// # Shapes
    /// `codes`: `[effects][rows]`, the codes of the state.
    ///
    /// # Errors
    /// - [`Error::Shape`]: lengths differ, or a column that the state does not have.
    /// - [`Error::Parameter`]: a code that the state does not have.
    pub fn residuals(
        &self,
        rows: usize,
        columns: &[(usize, Option<Column<'_>>)],
        codes: &[&[u32]],
    ) -> Result<Residuals, Error> {
        check_codes(codes, self.places.len(), rows)?;
        let places = self.places.iter().zip(codes).map(|(places, codes)| places_of(places, codes));
        let places: Vec<Vec<usize>> = places.collect::<Result<_, _>>()?;
        let column = |(id, column): &(usize, Option<Column<'_>>)| {
            let count = self.effects.len();
            let effects = self.effects.get(*id);
            let effects = effects.ok_or(Error::Shape { what: "the state", expected: id + 1, got: count })?;
            if let Some(column) = column {
                let block = crate::Block { rows, columns: vec![*column], weights: None };
                crate::attention::check_lengths(&block, &[0])?;
            }
            let numbers = column.map(Numbers::of);
            let left = |row: usize| {
                let x = numbers.as_ref().map_or(DoubleDouble::ZERO, |numbers| numbers.at(row));
                let rest = places.iter().fold(x, |rest, places| rest - effects[places[row]]);
                (rest.hi, rest.lo)
            };
            Ok((0..rows).map(left).unzip())
        };
        Ok(Residuals { columns: columns.iter().map(column).collect::<Result<_, Error>>()? })
    }
}

fn places_of(places: &[u32], codes: &[u32]) -> Result<Vec<usize>, Error> {
    let place = |code: &u32| match places.get(*code as usize) {
        Some(place) if *place != ABSENT => Ok(*place as usize),
        _ => Err(Error::Parameter {
            name: "the code of a level",
            got: code.to_string(),
            allowed: "one that has rows in the state",
        }),
    };
    codes.iter().map(place).collect()
}

impl FittedEffects {
    /// The sum of a row's effects, given its code for each; `None` if one of them had no rows.
    pub fn at(&self, codes: &[u32]) -> Option<DoubleDouble> {
        let mut known = self.effects.iter().zip(codes);
        known.try_fold(DoubleDouble::ZERO, |sum, ((_, values), code)| {
            Some(sum + values.get(*code as usize).copied().flatten()?)
        })
    }
}

/// Finds which effects are nested in clusters: all rows of a level in one cluster.
///
/// # Laws
/// Merging is associative and commutative, and equal to one pass.
#[derive(Clone, Debug, Default)]
pub struct Nesting {
    /// By effect and way of clustering, the cluster of every code: [`UNSEEN`], or [`MANY`].
    clusters: Vec<Vec<Vec<u32>>>,
}

const UNSEEN: u32 = u32::MAX;
const MANY: u32 = u32::MAX - 1;

impl Nesting {
    /// Nothing seen, for so many effects and ways of clustering.
    pub fn new(effects: usize, ways: usize) -> Self {
        Self { clusters: vec![vec![Vec::new(); ways]; effects] }
    }

    /// Adds rows: codes of their levels by effect, and of their clusters by way (below 2³² − 2).
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Parameter`] as [`EffectMoments::push`](super::EffectMoments::push).
    pub fn push(&mut self, codes: &[&[u32]], groups: &[&[u32]]) -> Result<(), Error> {
        let rows = codes.first().map_or(0, |codes| codes.len());
        check_codes(codes, self.clusters.len(), rows)?;
        let ways = self.clusters.first().map_or(0, Vec::len);
        if groups.len() != ways || groups.iter().any(|groups| groups.len() != rows) {
            return Err(Error::Shape { what: "the cluster codes", expected: ways, got: groups.len() });
        }
        for (by_way, codes) in self.clusters.iter_mut().zip(codes) {
            for (known, groups) in by_way.iter_mut().zip(groups) {
                for (code, group) in codes.iter().zip(*groups) {
                    note(known, *code as usize, *group);
                }
            }
        }
        Ok(())
    }

    /// Adds the rows that another has seen.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.clusters.iter_mut().flatten().zip(other.clusters.iter().flatten()) {
            for (code, group) in theirs.iter().enumerate().filter(|(_, group)| **group != UNSEEN) {
                note(mine, code, *group);
            }
        }
    }

    /// Of every effect, whether it is nested in one of the clusters.
    pub fn nested(&self) -> Vec<bool> {
        let in_one = |known: &Vec<u32>| !known.contains(&MANY);
        self.clusters.iter().map(|by_way| by_way.iter().any(in_one)).collect()
    }
}

fn note(known: &mut Vec<u32>, code: usize, group: u32) {
    if known.len() <= code {
        known.resize(code + 1, UNSEEN);
    }
    known[code] = match known[code] {
        UNSEEN => group,
        same if same == group => same,
        _ => MANY,
    };
}

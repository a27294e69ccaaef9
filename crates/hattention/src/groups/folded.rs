//! Exact sums of the rows of one group, over the columns that its rows have.

use std::collections::{BTreeSet, HashMap};

use super::layout::{Family, Layout, NONE};
use crate::block::{Block, Column};
use crate::error::Error;
use crate::moments::Moments;

/// Exact sums of a group.
#[derive(Clone, Debug)]
pub(super) struct Folded {
    /// The columns, in the order of the state's.
    ids: Vec<usize>,
    pub(super) moments: Moments,
    pub(super) unweighted: Option<Moments>,
    /// Columns of levels.
    pub(super) levels: BTreeSet<usize>,
}

impl Folded {
    pub(super) fn new(unweighted: bool) -> Self {
        let moments = Moments::new(0);
        Self { ids: vec![], unweighted: unweighted.then(|| moments.clone()), moments, levels: BTreeSet::new() }
    }

    pub(super) fn bytes(&self) -> usize {
        let states = std::iter::once(&self.moments).chain(&self.unweighted).map(Moments::bytes);
        states.sum::<usize>() + size_of::<Self>() + 48 * (self.ids.len() + self.levels.len())
    }

    /// The place of every column in the state.
    pub(super) fn places(&self) -> HashMap<usize, usize> {
        self.ids.iter().copied().zip(0..).collect()
    }

    /// Adds the records of pages, but for columns kept apart.
    pub(super) fn add<'a>(
        &mut self,
        pages: impl Iterator<Item = (&'a Layout, &'a [f64])>,
        apart: &[usize],
    ) -> Result<(), Error> {
        for columns in Columns::of(pages) {
            let (ids, block) = columns.block(apart);
            let places = self.numbered(&ids);
            self.moments.push_at(&block, &places)?;
            if let Some(unweighted) = &mut self.unweighted {
                unweighted.push_at(&Block { weights: None, ..block }, &places)?;
            }
            self.levels.extend(columns.families.iter().flat_map(|levels| levels.present.iter().copied()));
        }
        Ok(())
    }

    /// Adds the sums of another part of the same group.
    pub(super) fn merge(&mut self, other: &Self) -> Result<(), Error> {
        self.numbered(&other.ids);
        let theirs = other.places();
        let state = |mine: &mut Moments, other: &Moments| -> Result<(), Error> {
            // One column more, which is zero: columns that the other part does not have.
            let zero = other.columns();
            let mut wider = Moments::new(zero + 1);
            wider.merge(other);
            let order: Vec<usize> = self.ids.iter().map(|id| theirs.get(id).copied().unwrap_or(zero)).collect();
            mine.merge(&wider.select(&order)?);
            Ok(())
        };
        state(&mut self.moments, &other.moments)?;
        if let (Some(mine), Some(other)) = (&mut self.unweighted, &other.unweighted) {
            state(mine, other)?;
        }
        self.levels.extend(other.levels.iter().copied());
        Ok(())
    }

    /// Places of columns in the state, new ones at its end.
    fn numbered(&mut self, ids: &[usize]) -> Vec<usize> {
        let mut places = self.places();
        let mut place = |id: &usize| {
            *places.entry(*id).or_insert_with(|| {
                self.ids.push(*id);
                self.ids.len() - 1
            })
        };
        ids.iter().map(&mut place).collect()
    }
}

/// Records of one layout as columns.
pub(super) struct Columns {
    layout: Layout,
    rows: usize,
    dense: Vec<(Vec<f64>, Vec<f64>)>,
    weights: Vec<f64>,
    families: Vec<Levels>,
}

struct Levels {
    kind: Family,
    /// The column of every row, which is its code here.
    codes: Vec<u32>,
    hi: Vec<f64>,
    lo: Vec<f64>,
    present: BTreeSet<usize>,
}

impl Columns {
    /// One for each layout of the pages.
    pub(super) fn of<'a>(pages: impl Iterator<Item = (&'a Layout, &'a [f64])>) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for (layout, records) in pages {
            let place = found.iter().position(|columns| columns.layout == *layout).unwrap_or_else(|| {
                found.push(Self::empty(layout));
                found.len() - 1
            });
            records.chunks_exact(layout.width().max(1)).for_each(|record| found[place].push(record));
        }
        found
    }

    fn empty(layout: &Layout) -> Self {
        let levels =
            |kind: &Family| Levels { kind: *kind, codes: vec![], hi: vec![], lo: vec![], present: BTreeSet::new() };
        Self {
            rows: 0,
            dense: layout.dense.iter().map(|_| (vec![], vec![])).collect(),
            weights: vec![],
            families: layout.families.iter().map(levels).collect(),
            layout: layout.clone(),
        }
    }

    fn push(&mut self, record: &[f64]) {
        let mut words = record.iter().copied();
        let mut next = || words.next().unwrap_or(0.0);
        self.rows += 1;
        for ((hi, lo), (_, pair)) in self.dense.iter_mut().zip(&self.layout.dense) {
            hi.push(next());
            if *pair {
                lo.push(next());
            }
        }
        if self.layout.weighted {
            self.weights.push(next());
        }
        for levels in &mut self.families {
            let column = next();
            levels.codes.push(if column == NONE { u32::MAX } else { column as u32 });
            if column != NONE {
                levels.present.insert(column as usize);
            }
            if levels.kind != Family::Indicator {
                levels.hi.push(next());
            }
            if levels.kind == Family::WithinPair {
                levels.lo.push(next());
            }
        }
    }

    /// A column that is kept as plain numbers.
    pub(super) fn numbers(&self, id: usize) -> Option<&[f64]> {
        let place = self.layout.dense.iter().position(|(known, _)| *known == id)?;
        Some(&self.dense[place].0)
    }

    /// The block of the rows, and the numbers of its columns, without those kept apart.
    pub(super) fn block(&self, apart: &[usize]) -> (Vec<usize>, Block<'_>) {
        let dense = self.layout.dense.iter().zip(&self.dense).filter(|((id, _), _)| !apart.contains(id));
        let dense =
            dense.map(|((id, pair), (hi, lo))| (*id, if *pair { Column::Pair { hi, lo } } else { Column::Dense(hi) }));
        let mut all: Vec<(usize, Column<'_>)> = dense.collect();
        for levels in &self.families {
            all.extend(levels.present.iter().map(|id| (*id, levels.column(*id as u32))));
        }
        let (ids, columns) = all.into_iter().unzip();
        (ids, Block { rows: self.rows, columns, weights: self.layout.weighted.then_some(&self.weights[..]) })
    }
}

impl Levels {
    fn column(&self, code: u32) -> Column<'_> {
        let (codes, hi) = (&self.codes[..], &self.hi[..]);
        match self.kind {
            Family::Indicator => Column::Indicator { codes, code },
            Family::Within => Column::Within { codes, code, hi, lo: None },
            Family::WithinPair => Column::Within { codes, code, hi, lo: Some(&self.lo) },
        }
    }
}

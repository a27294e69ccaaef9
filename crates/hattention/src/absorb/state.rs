//! The mergeable state: moments, sums within levels, and weights of combinations of levels.

use std::collections::HashMap;

use crate::attention::check_lengths;
use crate::block::{Block, Column};
use crate::error::Error;
use crate::exact::planes::integer_and_exponent;
use crate::exact::within::{LevelSums, Scaled, range};
use crate::moments::Moments;

/// Levels an effect can have: tables of more would not fit most machines.
const LARGEST_LEVELS: u32 = 1 << 28;

/// [`Moments`] of rows, and beside them what taking out effects needs: the sums `Σ wᵢ` and `Σ wᵢ xᵢ` within every level
/// of every effect, and for each pair of effects the sums of weights within combinations of their levels.
///
/// A level is a code that the caller gives it; codes mean the same in states that are merged.
///
/// # Laws
/// As those of [`Moments`]: sums are exact, so no order, chunking or merge tree changes a bit; merging unites levels.
///
/// # Numerics
/// `O(n (p² + p k))` for `k` effects. Memory: [`Moments`]' and 16 to 24 bytes a level and column, for ordinary data, and
/// some 40 bytes a combination of levels that occurs (none with one effect): 1e5 levels of 10 columns take 18 MB.
///
/// # Example
/// ```
/// use hattention::{Block, Column, absorb::EffectMoments};
/// let (x, y, firm) = ([1.0, 2.0, 4.0], [0.0, 1.0, 3.0], [0, 0, 1]);
/// let block = Block { rows: 3, columns: vec![Column::Dense(&x), Column::Dense(&y)], weights: None };
/// let mut state = EffectMoments::new(2, ["firm"]);
/// state.push(&block, &[&firm]).unwrap();
/// assert_eq!((state.rows(), state.levels(0)), (3, 2));
/// ```
#[derive(Clone, Debug)]
pub struct EffectMoments {
    pub(super) moments: Moments,
    pub(super) effects: Vec<Effect>,
    /// Of effects `(0, 1), (0, 2), …, (1, 2), …`.
    pub(super) pairs: Vec<Pairs>,
}

/// One effect: sums of the constant and of every column within levels. Shape: `[1 + columns]`.
#[derive(Clone, Debug)]
pub(super) struct Effect {
    pub(super) name: String,
    pub(super) sums: Vec<LevelSums>,
}

/// Sums of weights within combinations of two effects' levels.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairs {
    pub(super) places: HashMap<(u32, u32), u32>,
    pub(super) weights: LevelSums,
}

impl Pairs {
    fn place(&mut self, codes: (u32, u32)) -> usize {
        let next = self.places.len() as u32;
        *self.places.entry(codes).or_insert(next) as usize
    }

    /// Combinations in the order of their codes, with their places.
    pub(super) fn sorted(&self) -> Vec<((u32, u32), usize)> {
        let mut all: Vec<_> = self.places.iter().map(|(codes, place)| (*codes, *place as usize)).collect();
        all.sort_unstable();
        all
    }
}

impl EffectMoments {
    /// The state of no rows, for blocks of `columns` columns and the effects of these names.
    pub fn new<S: Into<String>>(columns: usize, effects: impl IntoIterator<Item = S>) -> Self {
        let effect = |name: S| Effect { name: name.into(), sums: vec![LevelSums::default(); columns + 1] };
        let effects: Vec<Effect> = effects.into_iter().map(effect).collect();
        let pairs = effects.len() * effects.len().saturating_sub(1) / 2;
        Self { moments: Moments::new(columns), effects, pairs: vec![Pairs::default(); pairs] }
    }

    /// The moments of all rows, as if there were no effects.
    pub fn moments(&self) -> &Moments {
        &self.moments
    }

    /// Rows with positive weight.
    pub fn rows(&self) -> u64 {
        self.moments.rows()
    }

    /// Names of the effects.
    pub fn effects(&self) -> impl Iterator<Item = &str> {
        self.effects.iter().map(|effect| effect.name.as_str())
    }

    /// Levels of an effect that have rows of positive weight.
    pub fn levels(&self, effect: usize) -> usize {
        self.effects.get(effect).map_or(0, |effect| effect.present().count())
    }

    /// Heap memory of the state in bytes, tables of combinations as they are packed.
    pub fn bytes(&self) -> usize {
        let sums = self.effects.iter().flat_map(|effect| &effect.sums).chain(self.pairs.iter().map(|p| &p.weights));
        let places: usize = self.pairs.iter().map(|p| p.places.capacity() * 13).sum();
        self.moments.bytes() + sums.map(LevelSums::bytes).sum::<usize>() + places
    }

    /// Adds the rows of a block; `codes[e]` are the levels of effect `e`, one a row. On an error nothing is added.
    ///
    /// # Errors
    /// As [`Moments::push`]; [`Error::Shape`] for codes of another length or number; [`Error::Parameter`] for a code of
    /// 2²⁸ or more.
    pub fn push(&mut self, block: &Block<'_>, codes: &[&[u32]]) -> Result<(), Error> {
        let (expected, got) = (self.moments.columns(), block.columns.len());
        if expected != got {
            return Err(Error::Shape { what: "the list of columns", expected, got });
        }
        self.push_at(block, &(0..got).collect::<Vec<_>>(), codes)
    }

    /// Adds the rows of a block whose columns are the given ones of the state; the others are zero in these rows.
    ///
    /// # Errors
    /// As [`EffectMoments::push`].
    pub fn push_at(&mut self, block: &Block<'_>, columns: &[usize], codes: &[&[u32]]) -> Result<(), Error> {
        check_lengths(block, columns)?;
        check_codes(codes, self.effects.len(), block.rows)?;
        self.moments.push_at(block, columns)?;
        let count = self.moments.columns() + 1;
        for effect in &mut self.effects {
            effect.sums.resize(count, LevelSums::default());
        }
        let levels: Vec<usize> =
            codes.iter().map(|codes| codes.iter().max().map_or(0, |top| *top as usize + 1)).collect();
        let weights = scaled_weights(block);
        for (effect, (codes, levels)) in self.effects.iter_mut().zip(codes.iter().zip(&levels)) {
            add(&mut effect.sums[0], *levels, &weights, |row| codes[row] as usize);
        }
        for (id, column) in columns.iter().zip(&block.columns) {
            for numbers in scaled(*column, block.weights) {
                for (effect, (codes, levels)) in self.effects.iter_mut().zip(codes.iter().zip(&levels)) {
                    add(&mut effect.sums[id + 1], *levels, &numbers, |row| codes[row] as usize);
                }
            }
        }
        let mut pair = 0;
        for (first, left) in codes.iter().enumerate() {
            for right in &codes[first + 1..] {
                let table = &mut self.pairs[pair];
                let places: Vec<usize> = (0..block.rows).map(|row| table.place((left[row], right[row]))).collect();
                let count = table.places.len();
                add(&mut table.weights, count, &weights, |row| places[row]);
                pair += 1;
            }
        }
        Ok(())
    }

    /// Adds the rows of another state of the same effects, whose codes mean the same; the shorter list of columns is
    /// taken as zero beyond its end.
    ///
    /// # Errors
    /// [`Error::IncompatibleStates`] for other effects.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        if !self.effects().eq(other.effects()) {
            let list = |state: &Self| format!("effects {}", state.effects().collect::<Vec<_>>().join(", "));
            return Err(Error::IncompatibleStates { left: list(self), right: list(other) });
        }
        self.moments.merge(&other.moments);
        for (mine, theirs) in self.effects.iter_mut().zip(&other.effects) {
            mine.sums.resize(mine.sums.len().max(theirs.sums.len()), LevelSums::default());
            for (mine, theirs) in mine.sums.iter_mut().zip(&theirs.sums) {
                mine.merge(theirs, theirs.levels(), |level| level);
            }
        }
        for (mine, theirs) in self.pairs.iter_mut().zip(&other.pairs) {
            let mut places = vec![0; theirs.places.len()];
            for (codes, place) in theirs.sorted() {
                places[place] = mine.place(codes);
            }
            mine.weights.merge(&theirs.weights, mine.places.len(), |place| places[place]);
        }
        Ok(())
    }

    /// The same state with other codes: the code `c` of effect `e` becomes `codes[e][c]`.
    ///
    /// The order of the codes decides in which order floating-point sums over levels are formed: with codes in an order
    /// that follows from the levels themselves, results depend on the data only.
    ///
    /// # Errors
    /// [`Error::Shape`] for lists that do not cover all codes; [`Error::Parameter`] for a code given twice, or of 2²⁸ or
    /// more.
    pub fn relabelled(&self, codes: &[Vec<u32>]) -> Result<Self, Error> {
        if codes.len() != self.effects.len() {
            return Err(Error::Shape { what: "the lists of codes", expected: self.effects.len(), got: codes.len() });
        }
        let mut next = Self::new(self.moments.columns(), self.effects());
        next.moments = self.moments.clone();
        for ((effect, target), codes) in self.effects.iter().zip(&mut next.effects).zip(codes) {
            let expected = effect.sums.iter().map(LevelSums::levels).max().unwrap_or(0);
            if codes.len() < expected {
                return Err(Error::Shape { what: "a list of codes", expected, got: codes.len() });
            }
            check_distinct(codes)?;
            let count = codes.iter().max().map_or(0, |top| *top as usize + 1);
            target.sums = vec![LevelSums::default(); effect.sums.len()];
            for (target, sums) in target.sums.iter_mut().zip(&effect.sums) {
                target.merge(sums, count, |level| codes[level] as usize);
            }
        }
        let order = (0..codes.len()).flat_map(|first| (first + 1..codes.len()).map(move |second| (first, second)));
        for ((table, target), (first, second)) in self.pairs.iter().zip(&mut next.pairs).zip(order) {
            let renamed = |(a, b): (u32, u32)| (codes[first][a as usize], codes[second][b as usize]);
            target.places = table.places.iter().map(|(codes, place)| (renamed(*codes), *place)).collect();
            target.weights = table.weights.clone();
        }
        Ok(next)
    }
}

impl PartialEq for EffectMoments {
    fn eq(&self, other: &Self) -> bool {
        let none = LevelSums::default();
        let same_effect = |a: &Effect, b: &Effect| {
            let count = a.sums.len().max(b.sums.len());
            (0..count).all(|c| a.sums.get(c).unwrap_or(&none) == b.sums.get(c).unwrap_or(&none))
        };
        let in_order = |pairs: &Pairs| {
            let values = pairs.sorted().into_iter().filter_map(|(codes, place)| {
                let (words, exponent) = pairs.weights.entry(place)?;
                Some((codes, crate::exact::wide::canonical(words, exponent)))
            });
            values.collect::<Vec<_>>()
        };
        self.moments == other.moments
            && self.effects().eq(other.effects())
            && self.effects.iter().zip(&other.effects).all(|(a, b)| same_effect(a, b))
            && self.pairs.iter().zip(&other.pairs).all(|(a, b)| in_order(a) == in_order(b))
    }
}

impl Effect {
    /// Codes of the levels that have weight.
    pub(super) fn present(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.sums[0].levels()).filter(|&level| self.sums[0].entry(level).is_some())
    }
}

/// Adds one number a row to the sum of its level.
fn add(sums: &mut LevelSums, levels: usize, numbers: &[Scaled], level: impl Fn(usize) -> usize) {
    let Some(range) = range(numbers) else { return };
    sums.reserve(levels, range);
    for (row, number) in numbers.iter().enumerate() {
        sums.add(level(row), *number);
    }
}

pub(super) fn check_codes(codes: &[&[u32]], effects: usize, rows: usize) -> Result<(), Error> {
    if codes.len() != effects {
        return Err(Error::Shape { what: "the lists of codes", expected: effects, got: codes.len() });
    }
    if let Some(other) = codes.iter().find(|codes| codes.len() != rows) {
        return Err(Error::Shape { what: "a list of codes", expected: rows, got: other.len() });
    }
    codes.iter().copied().flatten().try_for_each(|code| check_code(*code))
}

fn check_code(code: u32) -> Result<(), Error> {
    if code < LARGEST_LEVELS {
        return Ok(());
    }
    Err(Error::Parameter { name: "the code of a level", got: code.to_string(), allowed: "less than 2^28" })
}

fn check_distinct(codes: &[u32]) -> Result<(), Error> {
    codes.iter().try_for_each(|code| check_code(*code))?;
    let mut sorted = codes.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(twice) => Err(Error::Parameter {
            name: "the list of codes",
            got: format!("{} twice", twice[0]),
            allowed: "every code at most once",
        }),
        None => Ok(()),
    }
}

fn scaled_weights(block: &Block<'_>) -> Vec<Scaled> {
    match block.weights {
        Some(weights) => numbers(weights),
        None => vec![(1, 0); block.rows],
    }
}

fn numbers(values: &[f64]) -> Vec<Scaled> {
    values.iter().map(|x| integer_and_exponent(*x)).map(|(m, e)| (m as i128, e)).collect()
}

/// A column times the weights as exact numbers: one list, or two that add up.
fn scaled(column: Column<'_>, weights: Option<&[f64]>) -> Vec<Vec<Scaled>> {
    let inside = |values: &[f64], codes: &[u32], code: u32| -> Vec<Scaled> {
        let masked = values.iter().zip(codes).map(|(x, c)| if *c == code { *x } else { 0.0 });
        masked.map(integer_and_exponent).map(|(m, e)| (m as i128, e)).collect()
    };
    let mut lists = match column {
        Column::Dense(values) => vec![numbers(values)],
        Column::Pair { hi, lo } => vec![numbers(hi), numbers(lo)],
        Column::Indicator { codes, code } => vec![codes.iter().map(|c| ((*c == code) as i128, 0)).collect()],
        Column::Within { codes, code, hi, lo } => {
            std::iter::once(hi).chain(lo).map(|values| inside(values, codes, code)).collect()
        }
    };
    if let Some(weights) = weights {
        for list in &mut lists {
            for ((m, e), w) in list.iter_mut().zip(weights) {
                let (weight, exponent) = integer_and_exponent(*w);
                *m *= weight as i128;
                *e += exponent;
            }
        }
    }
    lists
}

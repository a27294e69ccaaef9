//! Levels of factors, and the dictionary that discovers them while a table is read.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::error::TableError;
use crate::formula::syntax::number_label;

/// One level of a factor.
///
/// Levels sort booleans before numbers before texts: FALSE < TRUE, numbers by value, texts by bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Level {
    /// A truth value.
    Boolean(bool),
    /// A whole number, from a column of integers or of floats.
    Integer(#[serde(with = "as_text")] i128),
    /// A number with a fraction; finite.
    Number(f64),
    /// A text; dates and times are texts, as ISO 8601 writes them.
    Text(String),
}

/// Whole numbers of 128 bits as text, since JSON's numbers do not hold them.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &i128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.to_string())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Level {
    /// The level of a number: whole numbers are [`Level::Integer`] whatever the type of their column.
    pub(crate) fn of_number(value: f64) -> Self {
        let whole = value.fract() == 0.0 && value.abs() < 2f64.powi(126);
        if whole { Self::Integer(value as i128) } else { Self::Number(value) }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Boolean(_) => 0,
            Self::Integer(_) | Self::Number(_) => 1,
            Self::Text(_) => 2,
        }
    }
}

/// The level as R prints it in the name of a coefficient.
impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => f.write_str(if *value { "TRUE" } else { "FALSE" }),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Number(value) => f.write_str(&number_label(*value)),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Ord for Level {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            // `of_number` makes no whole `Number` of this size, so a tie does not occur; the order stays total anyway.
            (Self::Integer(a), Self::Number(b)) => (*a as f64).total_cmp(b).then(Ordering::Less),
            (Self::Number(a), Self::Integer(b)) => a.total_cmp(&(*b as f64)).then(Ordering::Greater),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Level {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Level {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Level {}

impl Hash for Level {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Boolean(value) => value.hash(state),
            Self::Integer(value) => value.hash(state),
            Self::Number(value) => value.to_bits().hash(state),
            Self::Text(text) => text.hash(state),
        }
    }
}

/// The factors whose levels make the columns of a group of terms, and how many columns each combination makes.
#[derive(Clone, Debug)]
pub(crate) struct GroupShape {
    /// Positions among the factors of the design.
    pub factors: Vec<usize>,
    /// The factors' labels joined by `:`.
    pub label: String,
    /// State columns a combination of levels adds, over all terms of the group.
    pub width: usize,
}

/// One combination of levels seen in a group of terms.
#[derive(Clone, Debug)]
pub(crate) struct Combination {
    pub group: usize,
    /// One level code a factor of the group.
    pub codes: Vec<u32>,
    /// The first of the state columns it makes.
    pub first_column: usize,
}

/// Levels and their combinations in the order of discovery. Shared by all threads that read.
#[derive(Debug)]
pub(crate) struct LevelDictionary {
    inner: RwLock<Inner>,
    limit: usize,
}

/// The content of a dictionary at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inner {
    factors: Vec<FactorLevels>,
    groups: Vec<(GroupShape, HashMap<Vec<u32>, usize>)>,
    pub combinations: Vec<Combination>,
    pub columns: usize,
}

#[derive(Clone, Debug, Default)]
struct FactorLevels {
    label: String,
    levels: Vec<Level>,
    codes: HashMap<Level, u32>,
}

impl Inner {
    /// An empty content: the factors' labels, the groups, and the number of columns that need no levels.
    pub(crate) fn new(factors: Vec<String>, groups: Vec<GroupShape>, columns: usize) -> Self {
        let factors = factors.into_iter().map(|label| FactorLevels { label, ..FactorLevels::default() }).collect();
        let groups = groups.into_iter().map(|shape| (shape, HashMap::new())).collect();
        Self { factors, groups, combinations: Vec::new(), columns }
    }

    /// The level a code stands for.
    pub(crate) fn level(&self, factor: usize, code: u32) -> &Level {
        &self.factors[factor].levels[code as usize]
    }

    /// The levels of a factor in the order of discovery.
    pub(crate) fn levels(&self, factor: usize) -> &[Level] {
        &self.factors[factor].levels
    }

    pub(crate) fn code(&self, factor: usize, level: &Level) -> Option<u32> {
        self.factors[factor].codes.get(level).copied()
    }

    fn first_column(&self, group: usize, codes: &[u32]) -> Option<usize> {
        self.groups[group].1.get(codes).copied()
    }

    /// The code of a level, new or known.
    pub(crate) fn insert_level(&mut self, factor: usize, level: &Level, limit: usize) -> Result<u32, TableError> {
        if let Some(code) = self.code(factor, level) {
            return Ok(code);
        }
        let factor = &mut self.factors[factor];
        let code = factor.levels.len() as u32;
        if factor.levels.len() >= limit {
            return Err(TableError::TooManyLevels {
                factor: factor.label.clone(),
                levels: factor.levels.len() + 1,
                limit,
            });
        }
        factor.levels.push(level.clone());
        factor.codes.insert(level.clone(), code);
        Ok(code)
    }

    /// The first column of a combination of levels, new or known.
    pub(crate) fn insert_combination(
        &mut self,
        group: usize,
        codes: &[u32],
        limit: usize,
    ) -> Result<usize, TableError> {
        if let Some(first) = self.first_column(group, codes) {
            return Ok(first);
        }
        let first = self.columns;
        let (shape, known) = &mut self.groups[group];
        if first + shape.width > limit {
            return Err(TableError::TooManyLevels { factor: shape.label.clone(), levels: known.len() + 1, limit });
        }
        self.columns += shape.width;
        known.insert(codes.to_vec(), first);
        self.combinations.push(Combination { group, codes: codes.to_vec(), first_column: first });
        Ok(first)
    }
}

impl LevelDictionary {
    pub(crate) fn new(inner: Inner, limit: usize) -> Self {
        Self { inner: RwLock::new(inner), limit }
    }

    /// Reads the content. A thread that panicked while writing leaves whole entries only, so a poisoned lock is sound.
    pub(crate) fn read<R>(&self, f: impl FnOnce(&Inner) -> R) -> R {
        f(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<R>(&self, f: impl FnOnce(&mut Inner) -> R) -> R {
        f(&mut self.inner.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// The code of a level, discovering it.
    ///
    /// # Errors
    /// - [`TableError::TooManyLevels`] beyond the limit.
    pub(crate) fn discover_level(&self, factor: usize, level: &Level) -> Result<u32, TableError> {
        match self.read(|inner| inner.code(factor, level)) {
            Some(code) => Ok(code),
            None => self.write(|inner| inner.insert_level(factor, level, self.limit)),
        }
    }

    /// The first column of a combination, discovering it.
    ///
    /// # Errors
    /// - [`TableError::TooManyLevels`] beyond the limit.
    pub(crate) fn discover_combination(&self, group: usize, codes: &[u32]) -> Result<usize, TableError> {
        match self.known_combination(group, codes) {
            Some(first) => Ok(first),
            None => self.write(|inner| inner.insert_combination(group, codes, self.limit)),
        }
    }

    pub(crate) fn known_combination(&self, group: usize, codes: &[u32]) -> Option<usize> {
        self.read(|inner| inner.first_column(group, codes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_sort_as_promised() {
        let text = |text: &str| Level::Text(text.into());
        let mut levels = vec![
            text("b"),
            text("B"),
            Level::of_number(10.0),
            Level::of_number(9.5),
            Level::Boolean(true),
            Level::of_number(9.0),
            Level::Boolean(false),
        ];
        levels.sort();
        let names: Vec<String> = levels.iter().map(Level::to_string).collect();
        assert_eq!(names, ["FALSE", "TRUE", "9", "9.5", "10", "B", "b"]);
    }

    #[test]
    fn whole_numbers_are_one_level_whatever_their_type() {
        assert_eq!(Level::of_number(6.0), Level::Integer(6));
        assert_eq!(Level::of_number(-0.0), Level::Integer(0));
        assert_ne!(Level::of_number(6.5), Level::Integer(6));
    }

    #[test]
    fn levels_survive_json() {
        let levels =
            [Level::Boolean(true), Level::Integer(i128::MAX), Level::Number(0.1), Level::Text("größe \"x\"".into())];
        let json = serde_json::to_string(&levels).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Level>>(&json).unwrap(), levels);
    }

    #[test]
    fn the_limit_counts_all_columns() {
        let groups = vec![GroupShape { factors: vec![0], label: "g".into(), width: 2 }];
        let dictionary = LevelDictionary::new(Inner::new(vec!["g".into()], groups, 3), 8);
        for code in 0..2 {
            dictionary.discover_level(0, &Level::Integer(code)).unwrap();
            let first = dictionary.discover_combination(0, &[code as u32]).unwrap();
            assert_eq!(first, 3 + 2 * code as usize);
        }
        let error = dictionary.discover_combination(0, &[2]).unwrap_err();
        assert_eq!(error, TableError::TooManyLevels { factor: "g".into(), levels: 3, limit: 8 });
        assert_eq!(dictionary.discover_combination(0, &[1]), Ok(5));
    }
}

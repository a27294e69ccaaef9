//! Codes of the levels of columns that are handed on, such as effects that are absorbed.

use std::sync::{PoisonError, RwLock};

use hashbrown::HashMap;

use super::block::EncodedBlock;
use super::factor::{CodesError, UNSEEN, codes};
use super::levels::Level;
use super::read::wrong_type;
use super::{Unseen, plan};
use crate::error::{TableError, nearest};

/// Levels of some columns and their codes, shared by all threads that read: equal levels have equal codes.
///
/// Codes found while reading depend on who was first; [`LevelCodes::sorted`] has those that depend on the levels only.
#[derive(Debug)]
pub struct LevelCodes {
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    name: String,
    known: RwLock<HashMap<Level, u32>>,
}

/// The levels of a column in their order, and for every code met the place of its level there.
#[derive(Clone, Debug, PartialEq)]
pub struct SortedLevels {
    /// The levels.
    pub levels: Vec<Level>,
    /// Shape: `[codes]`.
    pub places: Vec<u32>,
}

impl LevelCodes {
    /// No levels yet, of columns that are the first extra ones of every block.
    pub fn new<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Self {
        Self::of_levels(columns.into_iter().map(|name| (name.into(), Vec::new())))
    }

    /// Columns with known levels, whose codes are their places.
    pub fn of_levels(columns: impl IntoIterator<Item = (String, Vec<Level>)>) -> Self {
        let column = |(name, levels): (String, Vec<Level>)| Column {
            name,
            known: RwLock::new(levels.into_iter().zip(0..).collect()),
        };
        Self { columns: columns.into_iter().map(column).collect() }
    }

    /// Codes of a block's rows, by column; new levels get new codes. Shape: `[columns][rows]`.
    ///
    /// # Errors
    /// - [`TableError::ColumnType`], [`TableError::NonFinite`]: a column that cannot have levels.
    pub fn discover(&self, block: &EncodedBlock) -> Result<Vec<Vec<u32>>, TableError> {
        let of_column = |column: &Column, position: usize| {
            // Most levels are known: one look at all of them, and another where one is new.
            let mut known = Some(column.known.read().unwrap_or_else(PoisonError::into_inner));
            codes(&block.extras()[position], None, &mut |level: &Level| {
                if let Some(code) = known.as_ref().and_then(|known| known.get(level)) {
                    return Ok(*code);
                }
                known = None;
                let code = {
                    let mut all = column.known.write().unwrap_or_else(PoisonError::into_inner);
                    let next = all.len() as u32;
                    *all.entry(level.clone()).or_insert(next)
                };
                known = Some(column.known.read().unwrap_or_else(PoisonError::into_inner));
                Ok(code)
            })
        };
        self.read(block, of_column)
    }

    /// Codes of a block's rows, by column; under [`Unseen::Null`] those of unknown levels are `u32::MAX`. Shape:
    /// `[columns][rows]`.
    ///
    /// # Errors
    /// As [`LevelCodes::discover`]; [`TableError::UnseenLevel`] under [`Unseen::Error`].
    pub fn find(&self, block: &EncodedBlock, unseen: Unseen) -> Result<Vec<Vec<u32>>, TableError> {
        self.read(block, |column, position| {
            let known = column.known.read().unwrap_or_else(PoisonError::into_inner);
            codes(&block.extras()[position], None, &mut |level: &Level| match (known.get(level), unseen) {
                (Some(code), _) => Ok(*code),
                (None, Unseen::Null) => Ok(UNSEEN),
                (None, Unseen::Error) => {
                    let mut names: Vec<String> = known.keys().map(Level::to_string).collect();
                    // (Of names that are as near as each other the first ones are shown.)
                    names.sort_unstable();
                    Err((known.len(), nearest(&level.to_string(), names.iter().map(String::as_str))))
                }
            })
        })
    }

    fn read(
        &self,
        block: &EncodedBlock,
        codes_of: impl Fn(&Column, usize) -> Result<Vec<u32>, CodesError<(usize, Vec<String>)>>,
    ) -> Result<Vec<Vec<u32>>, TableError> {
        if let Some(missing) = self.columns.get(block.extras().len()) {
            return Err(plan::unknown_column(&missing.name, std::iter::empty()));
        }
        let of_column = |(position, column): (usize, &Column)| {
            let name = &column.name;
            codes_of(column, position).map_err(|error| match error {
                CodesError::Type => wrong_type(name, "a factor", block.extras()[position].data_type()),
                CodesError::NotFinite { position, value } => TableError::NonFinite {
                    row: block.row_number(position),
                    expression: name.clone(),
                    value: value.to_string(),
                },
                CodesError::Level { position, level, error: (known, nearest) } => TableError::UnseenLevel {
                    row: block.row_number(position),
                    column: name.clone(),
                    level: level.to_string(),
                    known,
                    nearest,
                },
            })
        };
        self.columns.iter().enumerate().map(of_column).collect()
    }

    /// The levels met, in their order. Shape: `[columns]`.
    pub fn sorted(&self) -> Vec<SortedLevels> {
        let of_column = |column: &Column| {
            let known = column.known.read().unwrap_or_else(PoisonError::into_inner);
            let mut all: Vec<(&Level, u32)> = known.iter().map(|(level, code)| (level, *code)).collect();
            all.sort_unstable();
            let mut places = vec![0; all.len()];
            all.iter().zip(0..).for_each(|((_, code), place)| places[*code as usize] = place);
            SortedLevels { levels: all.into_iter().map(|(level, _)| level.clone()).collect(), places }
        };
        self.columns.iter().map(of_column).collect()
    }
}

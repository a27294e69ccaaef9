//! Tables to blocks of design rows: `X`, the targets and the weights, by the columns of a formula.
//!
//! A scan does not know the levels of a factor beforehand, so its state keeps **all** levels as keyed indicators; which
//! is the reference, and which levels are coded, is chosen once all are known:
//!
//! ```text
//! Formula ──compile──▶ Design ──encode──▶ EncodedBlock (state columns)      one pass, many threads
//!                         │ layout
//!                     StateLayout ──coding──▶ Coding (coefficients ↔ state columns)
//!                         │ Frozen::new
//!                       Frozen ──encoder──▶ FrozenDesign ──encode──▶ EncodedBlock (coefficients)
//! ```
//!
//! # Invariants
//! - Every coefficient is one state column, whatever the contrasts: treatment contrasts are indicators. Columns of
//!   orthogonal polynomials are combinations of those of raw powers, since the polynomials need the moments of all rows.
//! - Columns whose values doubles round (products, powers, wide integers) are unevaluated pairs.
//! - A block holds finite numbers only; no row is left out without being counted.

mod block;
mod coding;
mod effects;
mod encode;
mod evaluate;
mod factor;
mod frozen;
mod layout;
mod levels;
mod numbers;
mod plan;
mod polynomials;
mod read;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

pub use block::EncodedBlock;
pub use coding::{COEFFICIENT_LIMIT, CodedColumn, Coding, FactorCoding, PolynomialGroup};
pub use effects::{LevelCodes, SortedLevels};
pub use frozen::{Frozen, FrozenDesign, FrozenOptions};
pub use layout::{StateColumn, StateLayout};
pub use levels::Level;
pub use plan::DesignSpec;
pub use read::ColumnKind;

use crate::error::TableError;
use crate::formula::{Formula, Terms};
use encode::{Encoder, Mode};
use levels::LevelDictionary;
pub(crate) use plan::unknown_column;
use plan::{CompiledVariable, Plan};

/// The default limit on the columns of a state: its cross-products then take about half a gigabyte.
pub const DEFAULT_COLUMN_LIMIT: usize = 4096;

/// What to do with rows that miss a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NaPolicy {
    /// Leave them out, and count them.
    #[default]
    Drop,
    /// Refuse the first, naming its row and column.
    Fail,
}

/// What to do with a level that a model does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unseen {
    /// Refuse it, naming the column, the level and the row.
    #[default]
    Error,
    /// Leave the row out, and count it.
    Null,
}

/// What a design reads besides its formula, and how wide it may grow.
#[derive(Clone, Debug)]
pub struct DesignOptions {
    /// The column of weights.
    pub weights: Option<String>,
    /// Further columns to hand on, such as clusters or groups; rows that miss them are left out.
    pub extras: Vec<String>,
    /// Columns that `.` does not stand for, such as those of groups.
    pub beside: Vec<String>,
    /// The largest number of state columns.
    pub column_limit: usize,
}

impl Default for DesignOptions {
    fn default() -> Self {
        Self { weights: None, extras: Vec::new(), beside: Vec::new(), column_limit: DEFAULT_COLUMN_LIMIT }
    }
}

/// A formula compiled for a table, with the levels that its scan has met so far. Threads share one design.
///
/// ```
/// use std::sync::Arc;
/// use hattention_table::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
/// use hattention_table::design::{Design, DesignOptions, NaPolicy};
/// use hattention_table::formula::Formula;
///
/// let y: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None, Some(3.0)]));
/// let g: ArrayRef = Arc::new(StringArray::from(vec!["b", "c", "a"]));
/// let batch = RecordBatch::try_from_iter([("y", y), ("g", g)])?;
///
/// let design = Design::compile(&Formula::parse("y ~ g")?, &batch.schema(), &DesignOptions::default())?;
/// let block = design.encode(&batch, 0, NaPolicy::Drop)?;
/// assert_eq!((block.rows(), block.dropped()), (2, 1));
/// // The state has a column for each level that was met; the model leaves the first out.
/// assert_eq!(design.state_columns(), 2);
/// assert_eq!(design.coding()?.names(), ["(Intercept)", "gb"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Design {
    plan: Plan,
    dictionary: LevelDictionary,
}

impl Design {
    /// Compiles a formula for the columns of a table.
    ///
    /// # Errors
    /// - [`TableError::UnknownColumn`] with the nearest names.
    /// - [`TableError::ColumnType`] for text in arithmetic or as target or weight, and for lists, structures and bytes.
    /// - [`TableError::TargetAmongTerms`], [`TableError::TooManyTerms`] from the expansion.
    /// - [`TableError::TooManyColumns`] if the numeric columns alone exceed the limit.
    pub fn compile(formula: &Formula, schema: &Schema, options: &DesignOptions) -> Result<Self, TableError> {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let of_dot = names.iter().copied().filter(|name| options.beside.iter().all(|beside| beside != name));
        let terms = formula.expand(&of_dot.collect::<Vec<_>>())?;
        let kind = |name: &str| {
            let field = schema.column_with_name(name).map(|(_, field)| field);
            let Some(field) = field else { return Err(unknown_column(name, names.iter().copied())) };
            match ColumnKind::of(field.data_type()) {
                Some(kind) => Ok(kind),
                // A column that is only handed on may be of any type; a use in the formula is refused while encoding.
                None if options.extras.iter().any(|extra| extra == name) => Ok(ColumnKind::Text),
                None => Err(read::wrong_type(name, "numbers, text, booleans or times", field.data_type())),
            }
        };
        let plan = Plan::new(formula, terms, options.weights.as_deref(), &options.extras, &kind)?;
        if plan.fixed_columns > options.column_limit {
            return Err(TableError::TooManyColumns { got: plan.fixed_columns, limit: options.column_limit });
        }
        let dictionary = LevelDictionary::new(plan.empty_dictionary(), options.column_limit);
        Ok(Self { plan, dictionary })
    }

    /// The design of a state, for a table that has its columns: what continues the state. Further columns of `options` are
    /// not read.
    ///
    /// # Errors
    /// - [`TableError::UnknownColumn`] if a column is not there, [`TableError::ColumnType`] if it holds something else than
    ///   in the state.
    pub fn of_spec(spec: &DesignSpec, schema: &Schema, column_limit: usize) -> Result<Self, TableError> {
        let plan = Plan::from_spec(spec, &[], true)?;
        plan.inputs.iter().try_for_each(|input| frozen::check_input(schema, input))?;
        let dictionary = LevelDictionary::new(plan.empty_dictionary(), column_limit);
        Ok(Self { plan, dictionary })
    }

    /// The columns of the table that are read: what a scan has to project.
    pub fn input_columns(&self) -> Vec<&str> {
        self.plan.inputs.iter().map(|input| input.name.as_str()).collect()
    }

    /// The expanded formula.
    pub fn terms(&self) -> &Terms {
        &self.plan.terms
    }

    /// What the design is made from.
    pub fn spec(&self) -> &DesignSpec {
        &self.plan.spec
    }

    /// Whether there are orthogonal polynomials, which are formed by moments without weights.
    pub fn has_orthogonal_polynomials(&self) -> bool {
        self.plan.variables.iter().any(CompiledVariable::is_orthogonal)
    }

    /// How many state columns the scan has made so far.
    pub fn state_columns(&self) -> usize {
        self.dictionary.read(|inner| inner.columns)
    }

    /// Encodes a batch whose first row is row `first_row`, counted from 0, of the data, and remembers its levels. The
    /// identities of [`EncodedBlock::columns`] are state columns, as in [`layout`](Self::layout).
    ///
    /// # Numerics
    /// Time is linear in rows × columns read; plain doubles are not copied. Memory is that of the computed columns.
    ///
    /// # Errors
    /// - [`TableError::MissingValue`] under [`NaPolicy::Fail`].
    /// - [`TableError::NonFinite`] for ±∞ in a column, or a result that is not finite, with the row and the expression.
    /// - [`TableError::NegativeWeight`], [`TableError::NumberTooWide`] with the row.
    /// - [`TableError::TooManyLevels`] once the state columns would exceed the limit.
    /// - [`TableError::UnknownColumn`], [`TableError::ColumnType`] if the batch is not of the table that was announced.
    pub fn encode(&self, batch: &RecordBatch, first_row: u64, na: NaPolicy) -> Result<EncodedBlock, TableError> {
        let (plan, dictionary) = (&self.plan, &self.dictionary);
        Encoder { plan, dictionary, mode: Mode::Discover, na, targets: true }.encode(batch, first_row)
    }

    /// What the state columns made so far mean.
    pub fn layout(&self) -> StateLayout {
        self.dictionary.read(|inner| StateLayout::of(&self.plan, inner))
    }

    /// The coefficients of the model by the levels met so far: [`StateLayout::coding`] of [`layout`](Self::layout).
    ///
    /// # Errors
    /// - Those of [`StateLayout::coding`].
    pub fn coding(&self) -> Result<Coding, TableError> {
        self.layout().coding()
    }
}

/// The kind of a column that is only handed on: any type will do.
fn extra_kind(schema: &Schema, name: &str) -> Result<ColumnKind, TableError> {
    match schema.column_with_name(name) {
        Some((_, field)) => Ok(ColumnKind::of(field.data_type()).unwrap_or(ColumnKind::Text)),
        None => Err(unknown_column(name, schema.fields().iter().map(|field| field.name().as_str()))),
    }
}

#[cfg(test)]
mod tests;

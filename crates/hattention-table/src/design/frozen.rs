//! A design with its levels settled: for prediction, and for reading training rows again.

use std::collections::{HashMap, HashSet};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::coding::{Coding, code, reference_first};
use super::encode::{Encoder, Mode};
use super::layout::{FORMAT_VERSION, StateLayout, check_version, stored};
use super::levels::{Inner, Level, LevelDictionary};
use super::plan::{DesignSpec, Input, Place, Plan, unknown_column};
use super::polynomials::group_polynomials;
use super::read::{ColumnKind, wrong_type};
use super::{EncodedBlock, NaPolicy, Unseen};
use crate::error::TableError;

/// A design with its levels, references and coefficients settled: the part of a model file that says how rows become keys.
#[derive(Clone, Debug)]
pub struct Frozen {
    spec: DesignSpec,
    coding: Coding,
}

/// How a model file stores a frozen design.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    spec: DesignSpec,
    factors: Vec<StoredFactor>,
    coefficients: Vec<String>,
    /// Coefficients, the intercept not counted, whose combination of levels no training row has.
    unobserved: Vec<usize>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredFactor {
    label: String,
    /// The reference level, then the others in order.
    levels: Vec<Level>,
}

/// What to read besides the terms, and what to do with rows that cannot be read.
#[derive(Clone, Debug)]
pub struct FrozenOptions {
    /// Whether to read the targets, as for residuals.
    pub targets: bool,
    /// Whether to read the column of weights the model was fitted with.
    pub weights: bool,
    /// Further columns to hand on, such as clusters; rows that miss them are left out.
    pub extras: Vec<String>,
    /// What to do with levels that the model does not know.
    pub unseen: Unseen,
    /// What to do with missing values. [`NaPolicy::Drop`] marks the row as left out.
    pub na: NaPolicy,
}

impl Default for FrozenOptions {
    /// Prediction: the terms only, missing values left out, unseen levels errors.
    fn default() -> Self {
        Self { targets: false, weights: false, extras: Vec::new(), unseen: Unseen::Error, na: NaPolicy::Drop }
    }
}

impl Frozen {
    /// Settles the levels of a state.
    ///
    /// # Errors
    /// - Those of [`StateLayout::coding`].
    pub fn new(layout: &StateLayout) -> Result<Self, TableError> {
        let mut coding = layout.coding()?;
        number_by_position(&mut coding);
        Ok(Self { spec: layout.spec().clone(), coding })
    }

    /// What the design is made from.
    pub fn spec(&self) -> &DesignSpec {
        &self.spec
    }

    /// The coefficients. Here `state_column` is the position of the coefficient itself, `None` if unobserved; auxiliary
    /// columns are counted behind the coefficients.
    pub fn coding(&self) -> &Coding {
        &self.coding
    }

    /// The description as JSON.
    ///
    /// # Errors
    /// - [`TableError::StoredDesign`] if a level is not finite, which no scan makes.
    pub fn to_json(&self) -> Result<Value, TableError> {
        let factors = self.coding.factors.iter();
        let unobserved = self.coding.columns.iter().enumerate().filter(|(_, column)| column.state_column.is_none());
        let stored_design = Stored {
            version: FORMAT_VERSION,
            spec: self.spec.clone(),
            factors: factors
                .map(|factor| StoredFactor { label: factor.label.clone(), levels: factor.levels.clone() })
                .collect(),
            coefficients: self.coding.names().into_iter().map(str::to_owned).collect(),
            unobserved: unobserved.map(|(position, _)| position).collect(),
        };
        serde_json::to_value(stored_design)
            .map_err(|error| stored("the design", "levels that JSON can hold", error.to_string()))
    }

    /// Reads a description and checks that its formula and levels make the coefficients it lists.
    ///
    /// # Errors
    /// - [`TableError::StoredDesign`] if a part is missing, of another version, or contradicts another.
    /// - The errors of [`Formula::parse`](crate::formula::Formula::parse).
    pub fn from_json(value: &Value) -> Result<Self, TableError> {
        check_version(value)?;
        let read = Stored::deserialize(value)
            .map_err(|error| stored("the design", "formula, columns, factors and coefficients", error.to_string()))?;
        let plan = Plan::from_spec(&read.spec, &[], true)?;
        let labels: Vec<&str> = plan.factors.iter().map(|factor| factor.label.as_str()).collect();
        let got: Vec<&str> = read.factors.iter().map(|factor| factor.label.as_str()).collect();
        if labels != got {
            return Err(stored("the list of factors", &format!("{labels:?}"), format!("{got:?}")));
        }
        let levels = plan.factors.iter().zip(&read.factors).map(|(factor, given)| {
            let ordered = reference_first(&factor.label, factor.reference.as_deref(), given.levels.clone())?;
            let distinct = given.levels.iter().collect::<HashSet<_>>().len() == given.levels.len();
            if distinct && ordered == given.levels {
                return Ok(ordered);
            }
            Err(stored(
                &format!("the list of levels of `{}`", factor.label),
                "sorted and distinct",
                format!("{:?}", given.levels),
            ))
        });
        let levels: Vec<Vec<Level>> = levels.collect::<Result<_, _>>()?;
        let unobserved: HashSet<usize> = read.unobserved.iter().copied().collect();
        let mut coding = code(&plan, &levels, |_, _, _| Some(0))?;
        for (position, column) in
            coding.columns.iter_mut().enumerate().filter(|(position, _)| unobserved.contains(position))
        {
            column.state_column = None;
            let may_be_unobserved = plan.compiled[column.term].factors.len() > 1;
            if !may_be_unobserved {
                return Err(stored(
                    "an unobserved coefficient",
                    "one of several factors",
                    format!("{} at {position}", column.name),
                ));
            }
        }
        if coding.names() != read.coefficients || unobserved.iter().any(|&position| position >= coding.columns.len()) {
            return Err(stored(
                "the list of coefficients",
                &format!("{:?}", coding.names()),
                format!("{:?}", read.coefficients),
            ));
        }
        group_polynomials(&plan, &mut coding, |_, _, _| Some(0));
        number_by_position(&mut coding);
        Ok(Self { spec: read.spec, coding })
    }

    /// Prepares to encode batches of a table.
    ///
    /// # Errors
    /// - [`TableError::UnknownColumn`] if a column that is to be read is not there.
    /// - [`TableError::ColumnType`] if it holds something else than in training.
    pub fn encoder(&self, schema: &Schema, options: &FrozenOptions) -> Result<FrozenDesign, TableError> {
        // A column that the formula also uses keeps the kind it was fitted with.
        let fitted = |name: &str| self.spec.columns.iter().find(|(known, _)| known == name).map(|(_, kind)| *kind);
        let kinds = options.extras.iter().map(|name| {
            let kind = fitted(name).map_or_else(|| super::extra_kind(schema, name), Ok)?;
            Ok((name.clone(), kind))
        });
        let kinds: Vec<(String, ColumnKind)> = kinds.collect::<Result<_, TableError>>()?;
        let plan = Plan::from_spec(&self.spec, &kinds, options.weights)?;
        let (inner, emit) = self.dictionary(&plan)?;
        let design = FrozenDesign {
            dictionary: LevelDictionary::new(inner, usize::MAX),
            plan,
            emit,
            targets: options.targets,
            unseen: options.unseen,
            na: options.na,
        };
        for input in design.plan.inputs.iter().filter(|input| design.encoder().reads(input)) {
            check_input(schema, input)?;
        }
        Ok(design)
    }

    /// The known levels and combinations, and the coefficient of every state column.
    fn dictionary(&self, plan: &Plan) -> Result<(Inner, Vec<Option<usize>>), TableError> {
        let mut inner = plan.empty_dictionary();
        for (factor, coded) in self.coding.factors.iter().enumerate() {
            for level in &coded.levels {
                inner.insert_level(factor, level, usize::MAX)?;
            }
        }
        let mut emit: HashMap<usize, usize> = HashMap::new();
        for (position, column) in self.coding.columns.iter().chain(&self.coding.auxiliary).enumerate() {
            let term = &plan.compiled[column.term];
            let first = match term.place {
                Place::Fixed { first_column } => first_column,
                Place::Grouped { group, offset } => {
                    let codes = term
                        .factors
                        .iter()
                        .zip(&column.levels)
                        .filter_map(|(&factor, level)| inner.code(factor, level));
                    let codes: Vec<u32> = codes.collect();
                    inner.insert_combination(group, &codes, usize::MAX)? + offset
                }
            };
            emit.insert(first + column.multiplier, position);
        }
        let emit = (0..inner.columns).map(|id| emit.get(&id).copied()).collect();
        Ok((inner, emit))
    }
}

/// A frozen design finds its columns by the position of their coefficients; auxiliary ones come behind them.
fn number_by_position(coding: &mut Coding) {
    for (position, column) in coding.columns.iter_mut().chain(&mut coding.auxiliary).enumerate() {
        column.state_column = column.state_column.map(|_| position);
    }
}

/// Checks that the table has an input, and that it holds what it held in training.
pub(super) fn check_input(schema: &Schema, input: &Input) -> Result<(), TableError> {
    let Some((_, field)) = schema.column_with_name(&input.name) else {
        return Err(unknown_column(&input.name, schema.fields().iter().map(|field| field.name().as_str())));
    };
    let only_handed_on = !(input.role.term || input.role.target || input.role.weight);
    let null = field.data_type() == &arrow::datatypes::DataType::Null;
    if only_handed_on || null || ColumnKind::of(field.data_type()).is_some_and(|kind| input.kind.takes(kind)) {
        return Ok(());
    }
    Err(wrong_type(&input.name, input.kind.name(), field.data_type()))
}

/// A frozen design bound to a table: batches to blocks, one column a coefficient.
#[derive(Debug)]
pub struct FrozenDesign {
    plan: Plan,
    dictionary: LevelDictionary,
    emit: Vec<Option<usize>>,
    targets: bool,
    unseen: Unseen,
    na: NaPolicy,
}

impl FrozenDesign {
    /// The columns of the table that are read.
    pub fn input_columns(&self) -> Vec<&str> {
        let encoder = self.encoder();
        self.plan.inputs.iter().filter(|input| encoder.reads(input)).map(|input| input.name.as_str()).collect()
    }

    /// Encodes a batch whose first row is row `first_row`, counted from 0, of the data. The identities of
    /// [`EncodedBlock::columns`] are positions in [`Coding::columns`], also of coefficients without a value, and behind
    /// them in [`Coding::auxiliary`].
    ///
    /// # Errors
    /// - [`TableError::UnseenLevel`] under [`Unseen::Error`].
    /// - [`TableError::MissingValue`] under [`NaPolicy::Fail`].
    /// - [`TableError::NonFinite`], [`TableError::NegativeWeight`], [`TableError::NumberTooWide`] with the row.
    /// - [`TableError::UnknownColumn`], [`TableError::ColumnType`] if the batch is not of the table that was announced.
    pub fn encode(&self, batch: &RecordBatch, first_row: u64) -> Result<EncodedBlock, TableError> {
        self.encoder().encode(batch, first_row)
    }

    fn encoder(&self) -> Encoder<'_> {
        let mode = Mode::Frozen { unseen: self.unseen, emit: &self.emit };
        Encoder { plan: &self.plan, dictionary: &self.dictionary, mode, na: self.na, targets: self.targets }
    }
}

//! What the columns of a state mean, apart from their order of discovery.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::coding::{Coding, code, reference_first};
use super::levels::{Inner, Level};
use super::plan::{CompiledVariable, DesignSpec, Place, Plan};
use super::polynomials::group_polynomials;
use crate::error::TableError;

/// The version of the stored descriptions that this crate writes.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// One column of a state: a product of numeric columns within one combination of levels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateColumn {
    /// The term, counted from 0; behind the formula's terms come the products that orthogonal polynomials inside
    /// interactions are made of.
    pub term: usize,
    /// The level of each factor of the term.
    pub levels: Vec<Level>,
    /// Which of the columns of the term's numeric variables, the first variable's running fastest.
    pub multiplier: usize,
}

/// The columns of a state, all levels of every factor among them, and the design they belong to.
///
/// A file that holds a state holds its layout; layouts of different scans of one design join by [`union`](Self::union).
#[derive(Clone, Debug, PartialEq)]
pub struct StateLayout {
    spec: DesignSpec,
    columns: Vec<StateColumn>,
}

/// How a file stores a layout: unchecked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    spec: DesignSpec,
    columns: Vec<StateColumn>,
}

impl StateLayout {
    /// What the columns are made from.
    pub fn spec(&self) -> &DesignSpec {
        &self.spec
    }

    /// The columns, by their identity.
    pub fn columns(&self) -> &[StateColumn] {
        &self.columns
    }

    /// The layout of a scan so far.
    pub(crate) fn of(plan: &Plan, inner: &Inner) -> Self {
        let blank = StateColumn { term: 0, levels: Vec::new(), multiplier: 0 };
        let mut columns = vec![blank; inner.columns];
        for (term, compiled) in plan.compiled.iter().enumerate() {
            let Place::Fixed { first_column } = compiled.place else { continue };
            (0..compiled.width).for_each(|multiplier| {
                columns[first_column + multiplier] = StateColumn { term, levels: Vec::new(), multiplier }
            });
        }
        for combination in &inner.combinations {
            let factors = plan.groups[combination.group].factors.iter().zip(&combination.codes);
            let levels: Vec<Level> = factors.map(|(&factor, &code)| inner.level(factor, code).clone()).collect();
            for (term, compiled) in plan.compiled.iter().enumerate() {
                let Place::Grouped { group, offset } = compiled.place else { continue };
                if group == combination.group {
                    let first = combination.first_column + offset;
                    (0..compiled.width).for_each(|multiplier| {
                        columns[first + multiplier] = StateColumn { term, levels: levels.clone(), multiplier };
                    });
                }
            }
        }
        Self { spec: plan.spec.clone(), columns }
    }

    /// The layout as JSON.
    ///
    /// # Errors
    /// - [`TableError::StoredDesign`] if a level is not finite, which no scan makes.
    pub fn to_json(&self) -> Result<Value, TableError> {
        let content = Stored { version: FORMAT_VERSION, spec: self.spec.clone(), columns: self.columns.clone() };
        serde_json::to_value(content)
            .map_err(|error| stored("the layout", "columns that JSON can hold", error.to_string()))
    }

    /// Reads a layout and checks that it holds together.
    ///
    /// # Errors
    /// - [`TableError::StoredDesign`] if a part is missing, doubled, or does not fit the formula.
    /// - The errors of [`Formula::parse`](crate::formula::Formula::parse).
    pub fn from_json(value: &Value) -> Result<Self, TableError> {
        check_version(value)?;
        let Stored { spec, columns, .. } = Stored::deserialize(value)
            .map_err(|error| stored("the layout", "formula, columns and state columns", error.to_string()))?;
        let layout = Self { spec, columns };
        let plan = Plan::from_spec(&layout.spec, &[], true)?;
        let mut seen = HashSet::new();
        for column in &layout.columns {
            let fits = plan
                .compiled
                .get(column.term)
                .is_some_and(|term| term.factors.len() == column.levels.len() && column.multiplier < term.width);
            if !fits || !seen.insert(column) {
                return Err(stored("a state column", "one that fits the formula, once", format!("{column:?}")));
            }
        }
        Ok(layout)
    }

    /// The names of the columns, as R would name them if all levels were coded; and the names of the targets.
    ///
    /// # Errors
    /// - Those of a spec that does not compile, which a scan does not make.
    pub fn names(&self) -> Result<(Vec<String>, Vec<String>), TableError> {
        let plan = Plan::from_spec(&self.spec, &[], true)?;
        let columns = self.columns.iter().map(|column| column_name(&plan, column)).collect();
        Ok((columns, plan.terms.targets.iter().map(|target| target.label.clone()).collect()))
    }

    /// The order of the columns that does not depend on how they were discovered: by term, levels and multiplier.
    /// Position `i` of the result is the present identity of the `i`-th column.
    pub fn canonical_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.columns.len()).collect();
        order.sort_by(|&a, &b| self.columns[a].cmp(&self.columns[b]));
        order
    }

    /// The layout with its columns in another order, as [`canonical_order`](Self::canonical_order) gives it.
    ///
    /// # Panics
    /// If a position is out of range.
    pub fn reordered(&self, order: &[usize]) -> Self {
        Self { spec: self.spec.clone(), columns: order.iter().map(|&id| self.columns[id].clone()).collect() }
    }

    /// Whether the column belongs to levels, which a scan discovers, and not to the formula alone.
    pub fn is_discovered(&self, column: usize) -> bool {
        self.columns.get(column).is_some_and(|column| !column.levels.is_empty())
    }

    /// Of each column, which of the combinations of levels it belongs to: all columns of one are discovered together.
    /// `None` for the columns of the formula alone.
    ///
    /// # Errors
    /// - Those of a spec that does not compile, which a scan does not make.
    pub(crate) fn combinations(&self) -> Result<Vec<Option<usize>>, TableError> {
        let plan = Plan::from_spec(&self.spec, &[], true)?;
        let mut known: HashMap<(usize, &[Level]), usize> = HashMap::new();
        let of = |column: &'_ StateColumn| match plan.compiled.get(column.term)?.place {
            Place::Fixed { .. } => None,
            Place::Grouped { group, .. } => Some(group),
        };
        let combinations = self.columns.iter().map(|column| {
            let next = known.len();
            Some(*known.entry((of(column)?, &column.levels)).or_insert(next))
        });
        Ok(combinations.collect())
    }

    /// Whether the other layout differs in nothing but the types of columns, which a source without values does not tell.
    pub(crate) fn differs_in_types(&self, other: &Self) -> bool {
        let kinds = |spec: &DesignSpec| spec.columns.iter().cloned().collect::<HashMap<_, _>>();
        kinds(&self.spec) != kinds(&other.spec)
            && compatible(&self.spec, &DesignSpec { columns: self.spec.columns.clone(), ..other.spec.clone() }).is_ok()
    }

    /// The columns of both layouts, those of `self` first, and where each column of `other` stands among them.
    ///
    /// # Errors
    /// - [`TableError::Incompatible`] if targets, terms (explicit references are part of a term), intercept, the type of a
    ///   column or the weights differ.
    pub fn union(&self, other: &Self) -> Result<(Self, Vec<usize>), TableError> {
        compatible(&self.spec, &other.spec)?;
        let mut joined = self.clone();
        let mut known: HashMap<StateColumn, usize> = self.columns.iter().cloned().zip(0..).collect();
        let places = other.columns.iter().map(|column| {
            *known.entry(column.clone()).or_insert_with(|| {
                joined.columns.push(column.clone());
                joined.columns.len() - 1
            })
        });
        let places = places.collect();
        Ok((joined, places))
    }

    /// The coefficients of the model by the levels that occur.
    ///
    /// # Errors
    /// - [`TableError::UnknownReference`] if `ref = "x"` names a level that does not occur.
    /// - [`TableError::TooFewLevels`] if a factor coded by contrasts has fewer than two levels.
    /// - [`TableError::TooManyColumns`] beyond [`COEFFICIENT_LIMIT`](super::COEFFICIENT_LIMIT).
    pub fn coding(&self) -> Result<Coding, TableError> {
        let plan = Plan::from_spec(&self.spec, &[], true)?;
        let mut levels: Vec<HashSet<&Level>> = vec![HashSet::new(); plan.factors.len()];
        for column in &self.columns {
            let factors = plan.compiled[column.term].factors.iter().zip(&column.levels);
            factors.for_each(|(&factor, level)| {
                levels[factor].insert(level);
            });
        }
        let ordered = plan.factors.iter().zip(levels).map(|(factor, levels)| {
            reference_first(&factor.label, factor.reference.as_deref(), levels.into_iter().cloned().collect())
        });
        let ordered: Vec<Vec<Level>> = ordered.collect::<Result<_, _>>()?;
        let known: HashMap<&StateColumn, usize> = self.columns.iter().zip(0..).collect();
        let state_column = |term: usize, multiplier: usize, levels: &[Level]| {
            known.get(&StateColumn { term, levels: levels.to_vec(), multiplier }).copied()
        };
        let mut coding = code(&plan, &ordered, state_column)?;
        group_polynomials(&plan, &mut coding, state_column);
        Ok(coding)
    }
}

/// Checks the version of a stored description, before anything else: another version may have other fields.
pub(crate) fn check_version(value: &Value) -> Result<(), TableError> {
    match value.get("version") {
        Some(version) if version == FORMAT_VERSION => Ok(()),
        other => {
            let got = other.map_or_else(|| "missing".to_owned(), Value::to_string);
            Err(stored("its version", &FORMAT_VERSION.to_string(), got))
        }
    }
}

/// The error for a stored description that does not hold together.
pub(crate) fn stored(what: &str, expected: &str, got: String) -> TableError {
    TableError::StoredDesign { what: what.to_owned(), expected: expected.to_owned(), got }
}

/// Checks that two specs describe the same columns.
fn compatible(left: &DesignSpec, right: &DesignSpec) -> Result<(), TableError> {
    let (one, other) = (Plan::from_spec(left, &[], true)?, Plan::from_spec(right, &[], true)?);
    let differ = |what: &str, left: String, right: String| {
        Err(TableError::Incompatible { what: what.to_owned(), left: format!("`{left}`"), right: format!("`{right}`") })
    };
    let same_terms = one.terms.terms == other.terms.terms && one.terms.intercept == other.terms.intercept;
    if !same_terms || one.terms.formula() != other.terms.formula() {
        return differ("the formula", one.terms.formula(), other.terms.formula());
    }
    let kinds: HashMap<&str, _> = right.columns.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    for (name, kind) in &left.columns {
        if let Some(theirs) = kinds.get(name.as_str()).filter(|theirs| *theirs != kind) {
            return differ(&format!("the type of `{name}`"), kind.name().to_owned(), theirs.name().to_owned());
        }
    }
    if left.weights != right.weights {
        let name = |weights: &Option<String>| weights.clone().unwrap_or_else(|| "no weights".to_owned());
        return differ("the column of weights", name(&left.weights), name(&right.weights));
    }
    Ok(())
}

/// The name R would give a state column if its levels were all coded.
pub(crate) fn column_name(plan: &Plan, column: &StateColumn) -> String {
    let mut degrees = plan.degrees(column.term, column.multiplier).into_iter();
    let mut levels = column.levels.iter();
    let parts = plan.compiled[column.term].variables.iter().map(|&variable| {
        let label = plan.terms.variables[variable].label();
        match &plan.variables[variable] {
            CompiledVariable::Factor(_) => {
                format!("{label}{}", levels.next().map(Level::to_string).unwrap_or_default())
            }
            numeric if numeric.width() == 1 => {
                degrees.next();
                label.to_owned()
            }
            _ => format!("{label}{}", degrees.next().unwrap_or(0) + 1),
        }
    });
    parts.collect::<Vec<_>>().join(":")
}

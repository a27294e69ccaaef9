//! A formula compiled for the columns of a table: what to evaluate, and which state columns that makes.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::evaluate::{Node, compile};
use super::levels::{GroupShape, Inner};
use super::polynomials::state_terms;
use super::read::ColumnKind;
use crate::error::{A_NUMBER, SHOWN_COLUMNS, TableError, nearest};
use crate::formula::syntax::Expr;
use crate::formula::variable::VariableKind;
use crate::formula::{Formula, Terms};

/// What a design is made of, enough to compile it again without the table: the part of a state or model file that says
/// what its numbers mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DesignSpec {
    /// The formula as it was written.
    pub formula: String,
    /// The columns that `.` stood for; empty when the formula has none.
    pub dot: Vec<String>,
    /// The columns of the formula and what they hold, in the order of first use.
    pub columns: Vec<(String, ColumnKind)>,
    /// The column of weights, if any.
    pub weights: Option<String>,
}

/// A column the design reads.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub name: String,
    pub kind: ColumnKind,
    /// Whether some expression needs its numbers.
    pub numeric: bool,
    /// Whether a term or a target uses it.
    pub role: Role,
}

/// What a column is read for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Role {
    pub term: bool,
    pub target: bool,
    pub weight: bool,
    pub extra: bool,
}

/// A variable of the formula, compiled.
#[derive(Clone, Debug)]
pub(crate) enum CompiledVariable {
    Numeric(Node),
    Polynomial {
        of: Node,
        degree: u32,
        raw: bool,
    },
    /// A position among the factors.
    Factor(usize),
}

impl CompiledVariable {
    /// Whether it is an orthogonal polynomial, whose columns are formed when the state is read.
    pub(crate) fn is_orthogonal(&self) -> bool {
        matches!(self, Self::Polynomial { raw: false, .. })
    }

    /// Columns the variable adds to a term, its levels aside.
    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Polynomial { degree, .. } => *degree as usize,
            Self::Numeric(_) | Self::Factor(_) => 1,
        }
    }
}

/// A factor of the formula.
#[derive(Clone, Debug)]
pub(crate) struct Factor {
    pub label: String,
    /// A position among the inputs.
    pub input: usize,
    pub reference: Option<String>,
}

/// Where the state columns of a term stand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// The term has no factor: its columns start here.
    Fixed { first_column: usize },
    /// Its columns start this far after the first column of each combination of its group.
    Grouped { group: usize, offset: usize },
}

/// A product of variables whose columns the state holds: a term, compiled, or one that orthogonal polynomials inside
/// interactions are made of.
#[derive(Clone, Debug)]
pub(crate) struct CompiledTerm {
    /// All variables, ascending.
    pub variables: Vec<usize>,
    pub label: String,
    /// Numeric variables, in the formula's order.
    pub numeric: Vec<usize>,
    /// Factors, in the formula's order.
    pub factors: Vec<usize>,
    /// State columns for each combination of levels.
    pub width: usize,
    pub place: Place,
}

/// A compiled formula.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub spec: DesignSpec,
    pub terms: Terms,
    pub inputs: Vec<Input>,
    pub targets: Vec<Node>,
    pub variables: Vec<CompiledVariable>,
    pub factors: Vec<Factor>,
    /// The formula's terms, and behind them the others of [`super::polynomials::state_terms`].
    pub compiled: Vec<CompiledTerm>,
    pub groups: Vec<GroupShape>,
    /// State columns of the terms without factors.
    pub fixed_columns: usize,
    pub weights: Option<usize>,
    pub extras: Vec<usize>,
}

impl Plan {
    /// Compiles expanded terms; `kind` gives what a column holds, or the error that it is not there.
    pub(crate) fn new(
        formula: &Formula,
        terms: Terms,
        weights: Option<&str>,
        extras: &[String],
        kind: &dyn Fn(&str) -> Result<ColumnKind, TableError>,
    ) -> Result<Self, TableError> {
        let mut builder = Builder { kind, inputs: Vec::new(), positions: HashMap::new(), factors: Vec::new() };
        let targets = terms.targets.iter().map(|target| builder.expression(&target.expression, Use::Target));
        let targets: Vec<Node> = targets.collect::<Result<_, _>>()?;
        let variables = terms.variables.iter().map(|variable| builder.variable(variable.label(), &variable.kind));
        let variables: Vec<CompiledVariable> = variables.collect::<Result<_, _>>()?;
        let state_terms = state_terms(&terms, &variables)?;
        let columns = builder.inputs.iter().map(|input| (input.name.clone(), input.kind)).collect();
        let spec = DesignSpec {
            formula: formula.text().to_owned(),
            dot: terms.dot.clone(),
            columns,
            weights: weights.map(str::to_owned),
        };
        let weights = weights.map(|name| builder.input(name, Use::Weight)).transpose()?;
        let extras = extras.iter().map(|name| builder.input(name, Use::Extra)).collect::<Result<_, _>>()?;
        let Builder { inputs, factors, .. } = builder;
        let (compiled, groups, fixed_columns) = place_terms(&terms, state_terms, &variables, &factors);
        Ok(Self { spec, terms, inputs, targets, variables, factors, compiled, groups, fixed_columns, weights, extras })
    }

    /// Compiles a stored description.
    pub(crate) fn from_spec(
        spec: &DesignSpec,
        extras: &[(String, ColumnKind)],
        weighted: bool,
    ) -> Result<Self, TableError> {
        let formula = Formula::parse(&spec.formula)?;
        let dot: Vec<&str> = spec.dot.iter().map(String::as_str).collect();
        let terms = formula.expand_dot(&dot)?;
        let weights = spec.weights.as_deref().filter(|_| weighted);
        let kinds: HashMap<&str, ColumnKind> =
            spec.columns.iter().chain(extras).map(|(name, kind)| (name.as_str(), *kind)).collect();
        let kind = |name: &str| match kinds.get(name) {
            Some(kind) => Ok(*kind),
            // Weights are numbers; their kind is not stored.
            None if weights == Some(name) => Ok(ColumnKind::Number),
            None => Err(TableError::StoredDesign {
                what: "the list of columns".into(),
                expected: format!("one with `{name}`"),
                got: "without it".into(),
            }),
        };
        let names: Vec<String> = extras.iter().map(|(name, _)| name.clone()).collect();
        let mut plan = Self::new(&formula, terms, weights, &names, &kind)?;
        plan.spec = spec.clone();
        Ok(plan)
    }

    /// The dictionary of a scan that has not begun.
    pub(crate) fn empty_dictionary(&self) -> Inner {
        let labels = self.factors.iter().map(|factor| factor.label.clone()).collect();
        Inner::new(labels, self.groups.clone(), self.fixed_columns)
    }

    /// The column of a term's numeric variables with these degrees, as [`Plan::degrees`] gives them.
    pub(crate) fn multiplier(&self, term: usize, degrees: &[usize]) -> usize {
        let numeric = self.compiled[term].numeric.iter().zip(degrees).rev();
        numeric.fold(0, |multiplier, (&variable, degree)| multiplier * self.variables[variable].width() + degree)
    }

    /// The degrees, counted from 0, of a term's polynomials in its `multiplier`-th column; other variables have 0.
    pub(crate) fn degrees(&self, term: usize, multiplier: usize) -> Vec<usize> {
        let mut rest = multiplier;
        let widths = self.compiled[term].numeric.iter().map(|&variable| self.variables[variable].width());
        widths
            .map(|width| {
                let degree = rest % width;
                rest /= width;
                degree
            })
            .collect()
    }
}

/// Splits every term into numbers and factors, and gives its columns their place.
fn place_terms(
    terms: &Terms,
    state_terms: Vec<Vec<usize>>,
    variables: &[CompiledVariable],
    factors: &[Factor],
) -> (Vec<CompiledTerm>, Vec<GroupShape>, usize) {
    let mut groups: Vec<GroupShape> = Vec::new();
    let mut fixed_columns = 0;
    let mut compiled = Vec::with_capacity(state_terms.len());
    for set in state_terms {
        let (mut numeric, mut members) = (Vec::new(), Vec::new());
        for &variable in &set {
            match variables[variable] {
                CompiledVariable::Factor(factor) => members.push(factor),
                _ => numeric.push(variable),
            }
        }
        let width = numeric.iter().map(|&variable| variables[variable].width()).product();
        let place = if members.is_empty() {
            fixed_columns += width;
            Place::Fixed { first_column: fixed_columns - width }
        } else {
            let group = groups.iter().position(|group| group.factors == members).unwrap_or_else(|| {
                let labels: Vec<&str> = members.iter().map(|&factor| factors[factor].label.as_str()).collect();
                groups.push(GroupShape { factors: members.clone(), label: labels.join(":"), width: 0 });
                groups.len() - 1
            });
            groups[group].width += width;
            Place::Grouped { group, offset: groups[group].width - width }
        };
        let labels: Vec<&str> = set.iter().map(|&variable| terms.variables[variable].label()).collect();
        let label = labels.join(":");
        compiled.push(CompiledTerm { variables: set, label, numeric, factors: members, width, place });
    }
    (compiled, groups, fixed_columns)
}

/// What an expression is part of.
#[derive(Clone, Copy)]
enum Use {
    Term,
    Target,
    Weight,
    Extra,
}

struct Builder<'a> {
    kind: &'a dyn Fn(&str) -> Result<ColumnKind, TableError>,
    inputs: Vec<Input>,
    positions: HashMap<String, usize>,
    factors: Vec<Factor>,
}

impl Builder<'_> {
    /// The position of a column among the inputs, new or known.
    fn input(&mut self, name: &str, used: Use) -> Result<usize, TableError> {
        let position = match self.positions.get(name) {
            Some(&position) => position,
            None => {
                let kind = (self.kind)(name)?;
                self.inputs.push(Input { name: name.to_owned(), kind, numeric: false, role: Role::default() });
                self.positions.insert(name.to_owned(), self.inputs.len() - 1);
                self.inputs.len() - 1
            }
        };
        let input = &mut self.inputs[position];
        match used {
            Use::Term => input.role.term = true,
            Use::Target => input.role.target = true,
            Use::Extra => input.role.extra = true,
            Use::Weight => {
                input.role.weight = true;
                input.numeric = true;
                if !ColumnKind::Number.takes(input.kind) {
                    return Err(not_a_number(name, "a number to weigh with", input.kind));
                }
            }
        }
        Ok(position)
    }

    fn expression(&mut self, expr: &Expr, used: Use) -> Result<Node, TableError> {
        compile(expr, &mut |name| {
            let position = self.input(name, used)?;
            let input = &mut self.inputs[position];
            input.numeric = true;
            match input.kind {
                ColumnKind::Text => {
                    let expected = if matches!(used, Use::Target) { "a number to predict" } else { A_NUMBER };
                    Err(not_a_number(name, expected, input.kind))
                }
                _ => Ok(position),
            }
        })
    }

    fn variable(&mut self, label: &str, kind: &VariableKind) -> Result<CompiledVariable, TableError> {
        match kind {
            VariableKind::Arithmetic(expr) => Ok(CompiledVariable::Numeric(self.expression(expr, Use::Term)?)),
            VariableKind::Polynomial { of, degree, raw } => {
                Ok(CompiledVariable::Polynomial { of: self.expression(of, Use::Term)?, degree: *degree, raw: *raw })
            }
            VariableKind::Factor { column, reference } => self.factor(label, column, reference.clone()),
            VariableKind::Column(column) => {
                let position = self.input(column, Use::Term)?;
                if self.inputs[position].kind == ColumnKind::Number {
                    self.inputs[position].numeric = true;
                    return Ok(CompiledVariable::Numeric(Node::Input(position)));
                }
                self.factor(label, column, None)
            }
        }
    }

    fn factor(&mut self, label: &str, column: &str, reference: Option<String>) -> Result<CompiledVariable, TableError> {
        let input = self.input(column, Use::Term)?;
        self.factors.push(Factor { label: label.to_owned(), input, reference });
        Ok(CompiledVariable::Factor(self.factors.len() - 1))
    }
}

fn not_a_number(column: &str, expected: &str, kind: ColumnKind) -> TableError {
    TableError::ColumnType { column: column.to_owned(), expected: expected.to_owned(), got: kind.name().to_owned() }
}

/// The error for a name that the table does not have.
pub(crate) fn unknown_column<'a>(column: &str, columns: impl IntoIterator<Item = &'a str>) -> TableError {
    let columns: Vec<&str> = columns.into_iter().collect();
    TableError::UnknownColumn {
        column: column.to_owned(),
        nearest: nearest(column, columns.iter().copied()),
        columns: columns.iter().take(SHOWN_COLUMNS + 1).map(|&name| name.to_owned()).collect(),
    }
}

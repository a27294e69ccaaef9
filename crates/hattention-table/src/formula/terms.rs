//! The algebra of terms: what R's `terms()` does.

use std::collections::{HashMap, HashSet};

use super::syntax::{Expr, Kind, Link, Operator};
use super::variable::Variable;
use crate::error::TableError;

/// A formula may expand to this many terms.
pub const TERM_LIMIT: usize = 65_536;

/// The variables of one term, ascending: positions in the order of first appearance in the formula.
type Members = Vec<usize>;

/// The right-hand side, expanded.
pub(super) struct Expansion {
    pub variables: Vec<Variable>,
    pub terms: Vec<Members>,
    pub intercept: bool,
    pub notes: Vec<String>,
}

/// Expands the right-hand side by R's rules, `.` standing for `dot`.
pub(super) fn expand(formula: &str, right: &Expr, dot: &[&str]) -> Result<Expansion, TableError> {
    let mut algebra = Algebra {
        formula,
        dot,
        variables: Vec::new(),
        positions: HashMap::new(),
        intercept: true,
        adding: true,
        notes: Vec::new(),
    };
    let mut terms = algebra.encode(right)?;
    terms.sort_by_key(Vec::len);
    let Algebra { variables, intercept, notes, .. } = algebra;
    let (variables, terms) = keep_used(variables, terms);
    Ok(Expansion { variables, terms, intercept, notes })
}

/// Drops the variables that no term uses any more.
fn keep_used(variables: Vec<Variable>, mut terms: Vec<Members>) -> (Vec<Variable>, Vec<Members>) {
    let used: HashSet<usize> = terms.iter().flatten().copied().collect();
    let mut position = vec![0; variables.len()];
    let mut kept = Vec::with_capacity(used.len());
    for (old, variable) in variables.into_iter().enumerate() {
        if used.contains(&old) {
            position[old] = kept.len();
            kept.push(variable);
        }
    }
    terms.iter_mut().flatten().for_each(|member| *member = position[*member]);
    (kept, terms)
}

struct Algebra<'a> {
    formula: &'a str,
    dot: &'a [&'a str],
    variables: Vec<Variable>,
    positions: HashMap<String, usize>,
    intercept: bool,
    /// Whether `1` adds the intercept here: false within what a minus removes.
    adding: bool,
    notes: Vec<String>,
}

impl Algebra<'_> {
    fn encode(&mut self, expr: &Expr) -> Result<Vec<Members>, TableError> {
        match &expr.kind {
            Kind::Number(number) if *number == 1.0 || *number == 0.0 => {
                self.intercept = (*number == 1.0) == self.adding;
                Ok(Vec::new())
            }
            Kind::Number(_) => Err(self.expected(expr, "1 or 0 for the intercept")),
            Kind::Text(_) => Err(self.expected(expr, "a term")),
            Kind::Name(_) | Kind::Call { .. } => {
                let variable = Variable::read(self.formula, expr)?;
                Ok(vec![vec![self.position(variable)]])
            }
            Kind::Dot => {
                let dot = self.dot;
                self.check_count(dot.len())?;
                Ok(dot.iter().map(|name| vec![self.position(Variable::column(name))]).collect())
            }
            Kind::Group(inner) => self.encode(inner),
            Kind::Unary { minus: false, operand } => self.encode(operand),
            Kind::Unary { minus: true, operand } => {
                self.encode_removed(operand)?;
                Ok(Vec::new())
            }
            Kind::Chain { first, rest } => self.chain(first, rest),
            Kind::Power { base, exponent } => self.power(expr, base, exponent),
        }
    }

    fn expected(&self, expr: &Expr, expected: &str) -> TableError {
        TableError::Formula {
            formula: self.formula.to_owned(),
            offset: expr.start,
            expected: expected.to_owned(),
            got: format!("`{expr}`"),
        }
    }

    /// The position of a variable, new or known.
    fn position(&mut self, variable: Variable) -> usize {
        if let Some(&position) = self.positions.get(variable.label()) {
            return position;
        }
        let position = self.variables.len();
        self.positions.insert(variable.label().to_owned(), position);
        self.variables.push(variable);
        position
    }

    /// The terms of what a minus removes, where `1` and `0` trade places.
    fn encode_removed(&mut self, expr: &Expr) -> Result<Vec<Members>, TableError> {
        self.adding = !self.adding;
        let removed = self.encode(expr);
        self.adding = !self.adding;
        removed
    }

    fn chain(&mut self, first: &Expr, rest: &[Link]) -> Result<Vec<Members>, TableError> {
        if !matches!(rest.first(), Some(Link { operator: Operator::Plus | Operator::Minus, .. })) {
            self.refuse_number(first)?;
        }
        let mut set = TermSet::from(self.encode(first)?);
        for link in rest {
            match link.operator {
                Operator::Plus => set.extend(self.encode(&link.operand)?),
                Operator::Minus => set.remove(&self.encode_removed(&link.operand)?),
                operator => {
                    self.refuse_number(&link.operand)?;
                    let right = self.encode(&link.operand)?;
                    set = self.product(operator, set, right)?;
                }
            }
            self.check_count(set.list.len())?;
        }
        Ok(set.list)
    }

    /// `left : right`, `left * right` or `left / right`.
    fn product(&self, operator: Operator, left: TermSet, right: Vec<Members>) -> Result<TermSet, TableError> {
        if operator == Operator::Divide {
            let nest: Members = left.list.iter().fold(Vec::new(), |all, term| union(&all, term));
            let mut set = left;
            set.extend(right.iter().map(|term| union(&nest, term)).collect());
            return Ok(set);
        }
        let interactions = self.interactions(&left.list, &right)?;
        if operator == Operator::Colon {
            return Ok(interactions);
        }
        let mut set = left;
        set.extend(right);
        set.extend(interactions.list);
        Ok(set)
    }

    /// Every union of a left and a right term.
    fn interactions(&self, left: &[Members], right: &[Members]) -> Result<TermSet, TableError> {
        let mut set = TermSet::default();
        for one in left {
            set.extend(right.iter().map(|other| union(one, other)).collect());
            self.check_count(set.list.len())?;
        }
        Ok(set)
    }

    fn power(&mut self, expr: &Expr, base: &Expr, exponent: &Expr) -> Result<Vec<Members>, TableError> {
        self.refuse_number(base)?;
        let power = match exponent.kind {
            Kind::Number(power) if power >= 1.0 && power.fract() == 0.0 => power,
            _ => {
                return Err(
                    self.expected(exponent, "a positive whole number: the largest number of variables in a term")
                );
            }
        };
        let terms = self.encode(base)?;
        if terms.len() == 1 && power > 1.0 {
            self.notes.push(format!("`{expr}` in a formula is `{base}` itself; write `I({expr})` for the power"));
        }
        let mut set = TermSet::from(terms.clone());
        let mut degree = 1.0;
        while degree < power {
            let next = self.interactions(&set.list, &terms)?;
            if next.list.len() == set.list.len() {
                break;
            }
            set = next;
            degree += 1.0;
        }
        Ok(set.list)
    }

    /// `1` and `0` mean the intercept, which interacts with nothing.
    fn refuse_number(&self, expr: &Expr) -> Result<(), TableError> {
        match expr.kind {
            Kind::Number(_) => Err(self
                .expected(expr, "a term to multiply (a number stands for the intercept; arithmetic goes inside I())")),
            _ => Ok(()),
        }
    }

    fn check_count(&self, count: usize) -> Result<(), TableError> {
        if count > TERM_LIMIT { Err(TableError::TooManyTerms { limit: TERM_LIMIT }) } else { Ok(()) }
    }
}

/// The union of two ascending lists.
fn union(left: &[usize], right: &[usize]) -> Members {
    let mut all = [left, right].concat();
    all.sort_unstable();
    all.dedup();
    all
}

/// Terms in order of first appearance, each once.
#[derive(Default)]
struct TermSet {
    list: Vec<Members>,
    known: HashSet<Members>,
}

impl From<Vec<Members>> for TermSet {
    fn from(terms: Vec<Members>) -> Self {
        let mut set = Self::default();
        set.extend(terms);
        set
    }
}

impl TermSet {
    fn extend(&mut self, terms: Vec<Members>) {
        for term in terms {
            if self.known.insert(term.clone()) {
                self.list.push(term);
            }
        }
    }

    fn remove(&mut self, terms: &[Members]) {
        terms.iter().for_each(|term| {
            self.known.remove(term);
        });
        self.list.retain(|term| self.known.contains(term));
    }
}

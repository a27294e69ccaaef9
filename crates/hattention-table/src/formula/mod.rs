//! Model formulas as R writes them: `log(y) ~ a * b + poly(x, 3) - 1`.
//!
//! [`Formula::parse`] checks the grammar and needs no table; [`Formula::expand`] applies R's algebra of terms
//! (`+ - : * / ^ .`) to the columns of a table.

mod lexer;
mod parser;
pub(crate) mod syntax;
mod terms;
pub(crate) mod variable;

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

pub use terms::TERM_LIMIT;
pub use variable::{POLYNOMIAL_DEGREE_LIMIT, Variable};

use crate::error::TableError;
use syntax::{Expr, Kind};

/// A formula may be this long, in bytes.
pub const FORMULA_LENGTH_LIMIT: usize = 1 << 20;

/// A parsed formula `targets ~ terms`, or `targets ~ terms | effects`.
///
/// # Equals
/// fixest's `y ~ x | g + h` for effects that are absorbed, without combinations (`g^h`), slopes by level (`g[x]`) and
/// instruments. R's formulas with `+ - : * / ^ ( ) .`, `1`, `0`, `I()`, `poly()`, `cbind()` on the left, and the functions `log exp
/// sqrt abs log2 log10 log1p expm1 sin cos`. Unlike R: `C(g, ref = "x")` chooses a reference level, `factor(g)` is `C(g)`,
/// `poly(x, k, raw)` is `poly(x, k, raw = TRUE)`, and a target among the terms is an error.
///
/// ```
/// use hattention_table::formula::Formula;
/// let formula = Formula::parse("y~(a+b)^2+log( c )")?;
/// assert_eq!(formula.to_string(), "y ~ (a + b)^2 + log(c)");
/// assert_eq!(formula.expand(&["y", "a", "b", "c"])?.labels(), ["a", "b", "log(c)", "a:b"]);
/// # Ok::<(), hattention_table::error::TableError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Formula {
    text: String,
    targets: Vec<Target>,
    right: Expr,
    effects: Vec<String>,
}

/// What the model predicts: a column or an expression of columns.
#[derive(Clone, Debug)]
pub struct Target {
    pub(crate) label: String,
    pub(crate) expression: Expr,
}

impl Target {
    /// The target as R prints it.
    pub fn label(&self) -> &str {
        &self.label
    }

    fn uses(&self, column: &str) -> bool {
        let mut used = false;
        self.expression.visit_names(&mut |name| used |= name == column);
        used
    }
}

/// One term of an expanded formula: a product of variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The labels of the variables joined by `:`, as in R's `term.labels`.
    pub label: String,
    /// Positions in [`Terms::variables`], ascending.
    pub variables: Vec<usize>,
}

/// A formula expanded for a table.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The targets, left to right.
    pub targets: Vec<Target>,
    /// The variables of the terms, in the order of their first appearance in the formula.
    pub variables: Vec<Variable>,
    /// The terms, by their number of variables, then in the order of appearance.
    pub terms: Vec<Term>,
    /// Whether the model has an intercept.
    pub intercept: bool,
    /// The columns that `.` stood for; empty when the formula has none.
    pub dot: Vec<String>,
    /// What the writer may not have meant, such as `x^2` outside `I()`.
    pub notes: Vec<String>,
}

impl Formula {
    /// Parses a formula.
    ///
    /// # Errors
    /// - [`TableError::Formula`] at the first character that breaks the grammar, with what was expected there.
    /// - [`TableError::TooManyTerms`] if it expands to more than [`TERM_LIMIT`] terms.
    pub fn parse(text: &str) -> Result<Self, TableError> {
        if text.len() > FORMULA_LENGTH_LIMIT {
            return Err(TableError::Formula {
                formula: text.to_owned(),
                offset: FORMULA_LENGTH_LIMIT,
                expected: format!("a formula of at most {FORMULA_LENGTH_LIMIT} bytes"),
                got: format!("{} bytes", text.len()),
            });
        }
        let (left, right, effects) = parser::sides(text)?;
        let targets = targets(text, &left)?;
        if let Some((target, _)) = effects.iter().find(|(name, _)| targets.iter().any(|target| target.uses(name))) {
            return Err(TableError::TargetAmongTerms { term: target.clone() });
        }
        let effects = effects.into_iter().map(|(name, _)| name).collect();
        // Expanding without columns checks every term but `.` before any table is opened.
        terms::expand(text, &right, &[])?;
        Ok(Self { text: text.to_owned(), targets, right, effects })
    }

    /// The formula as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The targets, left to right.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The columns whose effects are to be absorbed: what stands after `|`.
    pub fn effects(&self) -> &[String] {
        &self.effects
    }

    /// Whether the right-hand side has a `.`, so that its terms depend on the table's columns.
    pub fn has_dot(&self) -> bool {
        contains_dot(&self.right)
    }

    /// The columns it reads, targets first; `None` if a `.` stands for what is there.
    pub fn columns(&self) -> Option<Vec<String>> {
        let terms = if self.has_dot() { return None } else { self.expand(&[]).ok()? };
        let mut names: Vec<String> = Vec::new();
        self.targets.iter().for_each(|target| target.expression.visit_names(&mut |name| names.push(name.to_owned())));
        names.extend(terms.columns().into_iter().chain(self.effects.iter().cloned()));
        let mut seen = HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        Some(names)
    }

    /// Expands the terms, `.` standing for every column that no target uses and that is no effect.
    ///
    /// # Equals
    /// R's `attr(terms(formula, data = ...), "term.labels")`. Unlike in R, a variable that `-` removes altogether is not
    /// needed any more: its missing values drop no rows.
    ///
    /// # Errors
    /// - [`TableError::TooManyTerms`] beyond [`TERM_LIMIT`].
    /// - [`TableError::TargetAmongTerms`] if a term is a target.
    pub fn expand(&self, columns: &[&str]) -> Result<Terms, TableError> {
        let mut used = HashSet::new();
        self.targets.iter().for_each(|target| {
            target.expression.visit_names(&mut |name| {
                used.insert(name);
            })
        });
        let dot: Vec<&str> = columns.iter().copied().filter(|name| !used.contains(name)).collect();
        let dot: Vec<&str> = dot.into_iter().filter(|name| !self.effects.iter().any(|effect| effect == name)).collect();
        self.expand_dot(&dot)
    }

    /// Expands the terms, `.` standing for exactly these columns.
    pub(crate) fn expand_dot(&self, dot: &[&str]) -> Result<Terms, TableError> {
        let expansion = terms::expand(&self.text, &self.right, dot)?;
        let label = |members: &[usize]| {
            let labels: Vec<&str> = members.iter().map(|&member| expansion.variables[member].label()).collect();
            labels.join(":")
        };
        let terms: Vec<Term> =
            expansion.terms.iter().map(|members| Term { label: label(members), variables: members.clone() }).collect();
        if let Some(term) = terms.iter().find(|term| self.targets.iter().any(|target| target.label == term.label)) {
            return Err(TableError::TargetAmongTerms { term: term.label.clone() });
        }
        let dot = if self.has_dot() { dot.iter().map(|&name| name.to_owned()).collect() } else { Vec::new() };
        let (variables, intercept, notes) = (expansion.variables, expansion.intercept, expansion.notes);
        Ok(Terms { targets: self.targets.clone(), variables, terms, intercept, dot, notes })
    }
}

impl FromStr for Formula {
    type Err = TableError;

    fn from_str(text: &str) -> Result<Self, TableError> {
        Self::parse(text)
    }
}

/// The formula with R's spacing.
impl fmt::Display for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ~ {}", targets_label(&self.targets), self.right)?;
        self.effects
            .iter()
            .enumerate()
            .try_for_each(|(i, effect)| write!(f, " {} {}", if i == 0 { '|' } else { '+' }, syntax::name_label(effect)))
    }
}

impl Terms {
    /// The labels of the terms, as R's `term.labels`.
    pub fn labels(&self) -> Vec<&str> {
        self.terms.iter().map(|term| term.label.as_str()).collect()
    }

    /// The columns that the terms read, in the order of first use.
    pub fn columns(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let mut add = |name: &str| {
            if names.iter().all(|known| known != name) {
                names.push(name.to_owned());
            }
        };
        self.variables.iter().for_each(|variable| variable.visit_columns(&mut |name| add(name)));
        names
    }

    /// The expanded formula: `y ~ a + b + a:b`, with `- 1` where there is no intercept.
    pub fn formula(&self) -> String {
        let mut right = self.labels().join(" + ");
        if right.is_empty() {
            right = if self.intercept { "1".into() } else { "0".into() };
        } else if !self.intercept {
            right.push_str(" - 1");
        }
        format!("{} ~ {right}", targets_label(&self.targets))
    }
}

fn targets_label(targets: &[Target]) -> String {
    let labels: Vec<&str> = targets.iter().map(Target::label).collect();
    match labels.as_slice() {
        [one] => (*one).to_owned(),
        several => format!("cbind({})", several.join(", ")),
    }
}

/// The targets of the left-hand side.
fn targets(formula: &str, left: &Expr) -> Result<Vec<Target>, TableError> {
    let expected = |offset: usize, expected: &str, got: &str| TableError::Formula {
        formula: formula.to_owned(),
        offset,
        expected: expected.to_owned(),
        got: got.to_owned(),
    };
    let expressions: Vec<&Expr> = match &left.kind {
        Kind::Call { function, arguments } if function == "cbind" => {
            if let Some(named) = arguments.iter().find(|argument| argument.name.is_some()) {
                return Err(expected(named.start, "targets without names in `cbind`", "a named one"));
            }
            arguments.iter().map(|argument| &argument.value).collect()
        }
        _ => vec![left],
    };
    if expressions.is_empty() {
        return Err(expected(left.start, "at least one target in `cbind`", "none"));
    }
    let mut targets: Vec<Target> = Vec::with_capacity(expressions.len());
    for expression in expressions {
        variable::check_arithmetic(formula, expression)?;
        let label = expression.to_string();
        let mut names = 0;
        expression.visit_names(&mut |_| names += 1);
        if names == 0 {
            return Err(expected(expression.start, "a target that uses a column", &format!("`{label}`")));
        }
        if targets.iter().any(|target| target.label == label) {
            return Err(expected(expression.start, "each target once", &format!("`{label}` again")));
        }
        targets.push(Target { label, expression: expression.clone() });
    }
    Ok(targets)
}

fn contains_dot(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Dot => true,
        Kind::Number(_) | Kind::Text(_) | Kind::Name(_) | Kind::Call { .. } => false,
        Kind::Group(inner) | Kind::Unary { operand: inner, .. } => contains_dot(inner),
        Kind::Chain { first, rest } => contains_dot(first) || rest.iter().any(|link| contains_dot(&link.operand)),
        Kind::Power { base, .. } => contains_dot(base),
    }
}

#[cfg(test)]
mod tests;

//! What a term multiplies: columns, expressions of columns, polynomials and factors.

use super::syntax::{Argument, Expr, Kind, Operator, name_label, quoted};
use crate::error::{TableError, nearest};

/// The largest degree of `poly(x, k)`.
pub const POLYNOMIAL_DEGREE_LIMIT: u32 = 64;

/// Functions of one number that an expression may call, with how R names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Identity,
    Log,
    Exp,
    Sqrt,
    Abs,
    Log2,
    Log10,
    Log1p,
    Expm1,
    Sin,
    Cos,
}

const FUNCTIONS: [(&str, Function); 11] = [
    ("I", Function::Identity),
    ("log", Function::Log),
    ("exp", Function::Exp),
    ("sqrt", Function::Sqrt),
    ("abs", Function::Abs),
    ("log2", Function::Log2),
    ("log10", Function::Log10),
    ("log1p", Function::Log1p),
    ("expm1", Function::Expm1),
    ("sin", Function::Sin),
    ("cos", Function::Cos),
];

impl Function {
    /// The function R calls by this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        FUNCTIONS.iter().find(|(known, _)| *known == name).map(|&(_, function)| function)
    }
}

/// One factor of the product that a term is: a column, an expression, a polynomial or a factor in the statistical sense.
#[derive(Clone, Debug)]
pub struct Variable {
    pub(crate) label: String,
    pub(crate) kind: VariableKind,
}

/// What a variable is made of.
#[derive(Clone, Debug)]
pub(crate) enum VariableKind {
    /// A bare column; its type decides whether it is numeric or a factor.
    Column(String),
    /// A number computed from columns.
    Arithmetic(Expr),
    /// `poly(of, degree)`, orthogonal unless raw.
    Polynomial { of: Expr, degree: u32, raw: bool },
    /// `C(column, ref = reference)`.
    Factor { column: String, reference: Option<String> },
}

impl Variable {
    /// The variable as R prints it, which is also its identity: equal labels are one variable.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The column that `C(column)` makes a factor whatever it holds.
    pub fn factor_column(&self) -> Option<&str> {
        match &self.kind {
            VariableKind::Factor { column, .. } => Some(column),
            _ => None,
        }
    }

    /// Calls `visit` with every column it reads.
    pub(super) fn visit_columns(&self, visit: &mut dyn FnMut(&str)) {
        match &self.kind {
            VariableKind::Column(name) | VariableKind::Factor { column: name, .. } => visit(name),
            VariableKind::Arithmetic(expr) | VariableKind::Polynomial { of: expr, .. } => {
                expr.visit_names(&mut |name| visit(name));
            }
        }
    }

    pub(super) fn column(name: &str) -> Self {
        Self { label: name_label(name), kind: VariableKind::Column(name.to_owned()) }
    }

    /// Reads the variable that a name or a call stands for.
    pub(super) fn read(formula: &str, expr: &Expr) -> Result<Self, TableError> {
        let reader = Reader { formula };
        let (function, arguments) = match &expr.kind {
            Kind::Name(name) => return Ok(Self::column(name)),
            Kind::Call { function, arguments } => (function.as_str(), arguments),
            _ => return Err(reader.expected(expr.start, "a column or a function", &format!("`{expr}`"))),
        };
        let variable = match function {
            "poly" => reader.polynomial(expr, arguments)?,
            "C" | "factor" | "as.factor" => reader.factor(expr, arguments)?,
            _ => {
                reader.arithmetic(expr)?;
                Self { label: expr.to_string(), kind: VariableKind::Arithmetic(expr.clone()) }
            }
        };
        let mut names = 0;
        expr.visit_names(&mut |_| names += 1);
        if names == 0 {
            return Err(reader.expected(expr.start, "a term that uses a column", &format!("`{expr}`")));
        }
        Ok(variable)
    }
}

/// Checks that an expression is arithmetic: numbers, columns, `+ - * / ^`, brackets and functions of one number.
pub(super) fn check_arithmetic(formula: &str, expr: &Expr) -> Result<(), TableError> {
    Reader { formula }.arithmetic(expr)
}

struct Reader<'a> {
    formula: &'a str,
}

impl Reader<'_> {
    fn expected(&self, offset: usize, expected: &str, got: &str) -> TableError {
        TableError::Formula {
            formula: self.formula.to_owned(),
            offset,
            expected: expected.to_owned(),
            got: got.to_owned(),
        }
    }

    fn arithmetic(&self, expr: &Expr) -> Result<(), TableError> {
        match &expr.kind {
            Kind::Number(_) | Kind::Name(_) => Ok(()),
            Kind::Text(text) => {
                Err(self.expected(expr.start, "a number or a column", &format!("the text {}", quoted(text))))
            }
            Kind::Dot => Err(self.expected(expr.start, "a number or a column", "`.`, which stands for whole terms")),
            Kind::Group(inner) | Kind::Unary { operand: inner, .. } => self.arithmetic(inner),
            Kind::Power { base, exponent } => {
                self.arithmetic(base)?;
                self.arithmetic(exponent)
            }
            Kind::Chain { first, rest } => {
                self.arithmetic(first)?;
                for link in rest {
                    if link.operator == Operator::Colon {
                        return Err(self.expected(
                            link.at,
                            "one of + - * / ^ inside arithmetic",
                            "`:`, which joins terms",
                        ));
                    }
                    self.arithmetic(&link.operand)?;
                }
                Ok(())
            }
            Kind::Call { function, arguments } => self.call(expr, function, arguments),
        }
    }

    fn call(&self, expr: &Expr, function: &str, arguments: &[Argument]) -> Result<(), TableError> {
        if Function::named(function).is_none() {
            let known = FUNCTIONS.iter().map(|(name, _)| *name).chain(["poly", "C", "factor", "cbind"]);
            let (expected, got) = match function {
                "poly" | "C" | "factor" | "as.factor" => {
                    ("arithmetic".to_owned(), format!("`{function}()`, which is a term of its own"))
                }
                "cbind" => ("arithmetic".to_owned(), "`cbind()`, which joins targets left of `~`".to_owned()),
                _ => match nearest(function, known.clone()).first() {
                    Some(name) => (format!("a known function such as `{name}`"), format!("`{function}`")),
                    None => (format!("one of {}", known.collect::<Vec<_>>().join(" ")), format!("`{function}`")),
                },
            };
            return Err(self.expected(expr.start, &expected, &got));
        }
        match arguments {
            [Argument { name: None, value, .. }] => self.arithmetic(value),
            [] => Err(self.expected(expr.start, &format!("one argument of `{function}`"), "none")),
            [Argument { name: None, .. }, second, ..] => {
                let expected = match function {
                    "log" => "one argument of `log` (other bases: log2, log10, or log(x)/log(base))".to_owned(),
                    _ => format!("one argument of `{function}`"),
                };
                Err(self.expected(second.start, &expected, &format!("{} arguments", arguments.len())))
            }
            [first, ..] => {
                Err(self.expected(first.start, &format!("an argument of `{function}` without a name"), "a named one"))
            }
        }
    }

    /// `poly(x, k)`, `poly(x, k, raw)`, `poly(x, degree = k, raw = TRUE)`.
    fn polynomial(&self, expr: &Expr, arguments: &[Argument]) -> Result<Variable, TableError> {
        let form = "poly(x, k) or poly(x, k, raw)";
        let Some((of, options)) = arguments.split_first() else {
            return Err(self.expected(expr.start, form, "no argument"));
        };
        if of.name.is_some() {
            return Err(self.expected(of.start, form, "a named first argument"));
        }
        self.arithmetic(&of.value)?;
        let (mut degree, mut raw) = (None, None);
        for option in options {
            let start = option.start;
            match (option.name.as_deref(), &option.value.kind) {
                (None | Some("degree"), Kind::Number(k)) if degree.is_none() => {
                    let allowed = *k >= 1.0 && *k <= f64::from(POLYNOMIAL_DEGREE_LIMIT) && k.fract() == 0.0;
                    if !allowed {
                        let expected = format!("a degree from 1 to {POLYNOMIAL_DEGREE_LIMIT}");
                        return Err(self.expected(start, &expected, &option.value.to_string()));
                    }
                    degree = Some(*k as u32);
                }
                (None, Kind::Name(word)) if word == "raw" && raw.is_none() => raw = Some(true),
                (Some("raw"), Kind::Name(word)) if raw.is_none() => raw = Some(self.truth(start, word)?),
                _ => return Err(self.expected(start, form, &format!("`{}`", option.value))),
            }
        }
        let (degree, raw) = (degree.unwrap_or(1), raw.unwrap_or(false));
        let of = of.value.clone();
        let label = format!("poly({of}, {degree}{})", if raw { ", raw" } else { "" });
        Ok(Variable { label, kind: VariableKind::Polynomial { of, degree, raw } })
    }

    /// `C(g)`, `C(g, ref = "x")`.
    fn factor(&self, expr: &Expr, arguments: &[Argument]) -> Result<Variable, TableError> {
        let form = "C(column) or C(column, ref = \"level\")";
        let Some((of, options)) = arguments.split_first() else {
            return Err(self.expected(expr.start, form, "no argument"));
        };
        let (None, Kind::Name(column)) = (&of.name, &of.value.kind) else {
            return Err(self.expected(of.start, form, &format!("`{}`", of.value)));
        };
        let mut reference = None;
        for option in options {
            match (option.name.as_deref(), &option.value.kind) {
                (Some("ref"), Kind::Text(level) | Kind::Name(level)) if reference.is_none() => {
                    reference = Some(level.clone())
                }
                (Some("ref"), Kind::Number(_) | Kind::Unary { .. }) if reference.is_none() => {
                    reference = Some(option.value.to_string());
                }
                _ => return Err(self.expected(option.start, form, &format!("`{}`", option.value))),
            }
        }
        let chosen = reference.as_deref().map(|level| format!(", ref = {}", quoted(level))).unwrap_or_default();
        let label = format!("C({}{chosen})", name_label(column));
        Ok(Variable { label, kind: VariableKind::Factor { column: column.clone(), reference } })
    }

    fn truth(&self, start: usize, word: &str) -> Result<bool, TableError> {
        match word {
            "TRUE" | "T" | "true" => Ok(true),
            "FALSE" | "F" | "false" => Ok(false),
            _ => Err(self.expected(start, "raw = TRUE or raw = FALSE", &format!("`{word}`"))),
        }
    }
}

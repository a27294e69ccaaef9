//! The tree of an expression, and how R would print it.

use std::fmt;

use super::variable::Variable;

/// An operator that groups from the left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Plus,
    Minus,
    Times,
    Divide,
    Colon,
}

/// An expression and where it starts in the formula, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub kind: Kind,
    pub start: usize,
}

/// What an expression is.
///
/// Operators of one precedence are kept as one chain, so that a sum of thousands of terms is flat and no walk over
/// the tree recurses deeper than the brackets of the formula.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Number(f64),
    Text(String),
    Name(String),
    Dot,
    Call { function: String, arguments: Vec<Argument> },
    Group(Box<Expr>),
    Unary { minus: bool, operand: Box<Expr> },
    Chain { first: Box<Expr>, rest: Vec<Link> },
    Power { base: Box<Expr>, exponent: Box<Expr> },
}

/// One further operand of a chain.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub operator: Operator,
    /// Where the operator stands, in bytes.
    pub at: usize,
    pub operand: Expr,
}

/// An argument of a call: `value` or `name = value`.
#[derive(Clone, Debug)]
pub(crate) struct Argument {
    pub name: Option<String>,
    pub value: Expr,
    pub start: usize,
}

impl Expr {
    /// Calls `visit` with every column name in the expression, left to right.
    pub(crate) fn visit_names<'a>(&'a self, visit: &mut impl FnMut(&'a str)) {
        match &self.kind {
            Kind::Number(_) | Kind::Text(_) | Kind::Dot => {}
            Kind::Name(name) => visit(name),
            Kind::Call { arguments, .. } => arguments.iter().for_each(|argument| argument.value.visit_names(visit)),
            Kind::Group(inner) | Kind::Unary { operand: inner, .. } => inner.visit_names(visit),
            Kind::Chain { first, rest } => {
                first.visit_names(visit);
                rest.iter().for_each(|link| link.operand.visit_names(visit));
            }
            Kind::Power { base, exponent } => {
                base.visit_names(visit);
                exponent.visit_names(visit);
            }
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Number(number) => f.write_str(&number_label(*number)),
            Kind::Text(text) => f.write_str(&quoted(text)),
            Kind::Name(name) => f.write_str(&name_label(name)),
            Kind::Dot => f.write_str("."),
            Kind::Call { function, arguments } => {
                // Terms with several spellings print the one that is their identity.
                let spellings = matches!(function.as_str(), "poly" | "C" | "factor" | "as.factor");
                if spellings && let Ok(variable) = Variable::read("", self) {
                    return f.write_str(variable.label());
                }
                write!(f, "{}(", name_label(function))?;
                for (i, argument) in arguments.iter().enumerate() {
                    f.write_str(if i > 0 { ", " } else { "" })?;
                    if let Some(name) = &argument.name {
                        write!(f, "{} = ", name_label(name))?;
                    }
                    write!(f, "{}", argument.value)?;
                }
                f.write_str(")")
            }
            Kind::Group(inner) => write!(f, "({inner})"),
            Kind::Unary { minus, operand } => write!(f, "{}{operand}", if *minus { '-' } else { '+' }),
            Kind::Chain { first, rest } => {
                write!(f, "{first}")?;
                rest.iter().try_for_each(|link| write!(f, "{}{}", link.operator.spaced(), link.operand))
            }
            Kind::Power { base, exponent } => write!(f, "{base}^{exponent}"),
        }
    }
}

impl Operator {
    /// The operator with the spaces R puts around it.
    fn spaced(self) -> &'static str {
        match self {
            Self::Plus => " + ",
            Self::Minus => " - ",
            Self::Times => " * ",
            Self::Divide => "/",
            Self::Colon => ":",
        }
    }
}

/// A text between quotes, as a formula writes it.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A column name as R prints it: between backticks unless it is a plain name.
pub(crate) fn name_label(name: &str) -> String {
    const RESERVED: [&str; 15] = [
        "if", "in", "else", "repeat", "while", "function", "for", "next", "break", "TRUE", "FALSE", "NULL", "Inf",
        "NaN", "NA",
    ];
    let mut characters = name.chars();
    let first = characters.next();
    let second = characters.next();
    let starts_well = match first {
        Some('.') => !second.is_some_and(|c| c.is_ascii_digit()) && second.is_some(),
        Some(c) => c.is_alphabetic(),
        None => false,
    };
    let plain = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.'));
    if starts_well && plain && !RESERVED.contains(&name) {
        name.to_owned()
    } else {
        format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
    }
}

/// A number as R prints it, with as many digits as tell it from its neighbours: `0.1`, `100`, `1e+05`.
pub(crate) fn number_label(number: f64) -> String {
    if !number.is_finite() || number == 0.0 {
        return if number == 0.0 { "0".into() } else { number.to_string() };
    }
    let scientific = format!("{number:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let power: i32 = exponent.parse().unwrap_or(0);
    let fixed = number.to_string();
    let sign = if power < 0 { '-' } else { '+' };
    let scientific = format!("{mantissa}e{sign}{:02}", power.abs());
    if fixed.len() <= scientific.len() { fixed } else { scientific }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_in_r() {
        let cases = [
            (2.0, "2"),
            (0.5, "0.5"),
            (100.0, "100"),
            (1e5, "1e+05"),
            (123456.0, "123456"),
            (1e-4, "1e-04"),
            (0.001, "0.001"),
        ];
        for (number, label) in cases {
            assert_eq!(number_label(number), label);
        }
        assert_eq!(number_label(-1.5), "-1.5");
        assert_eq!(number_label(0.0), "0");
    }

    #[test]
    fn names_get_backticks_when_r_gives_them() {
        assert_eq!(name_label("dep_delay"), "dep_delay");
        assert_eq!(name_label("a b"), "`a b`");
        assert_eq!(name_label("2nd"), "`2nd`");
        assert_eq!(name_label(".2"), "`.2`");
        assert_eq!(name_label("TRUE"), "`TRUE`");
        assert_eq!(name_label("a`b"), "`a\\`b`");
    }
}

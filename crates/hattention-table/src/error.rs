//! What can be wrong with a formula, a table or a file, as data.

use std::fmt;

use crate::formula::Formula;
use crate::formula::syntax::name_label;
use crate::formula::variable::Function;
use crate::source::SourceError;

/// Everything that can go wrong between a formula, a source and a block of design rows.
///
/// The message says what was expected and what was found; [`TableError::hint`] gives the way out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The formula does not follow the grammar. Displayed with a caret under the offending character.
    #[error("{}", Caret { formula, offset: *offset, expected, got })]
    Formula {
        /// The formula as it was written.
        formula: String,
        /// Where it went wrong, in bytes from the start.
        offset: usize,
        /// What could have stood there.
        expected: String,
        /// What stood there.
        got: String,
    },
    /// The formula needs a column that the table does not have.
    #[error("unknown column `{column}`, expected one of the table's columns{}", nearest_names(nearest))]
    UnknownColumn {
        /// The name in the formula.
        column: String,
        /// The names in the table closest to it, best first.
        nearest: Vec<String>,
        /// The names in the table, the first of them.
        columns: Vec<String>,
    },
    /// A column's type does not fit its use.
    #[error("column `{column}` has type {got}, expected {expected}")]
    ColumnType {
        /// The column.
        column: String,
        /// The types that its use allows.
        expected: String,
        /// The type it has.
        got: String,
    },
    /// A term of the right-hand side is the target itself.
    #[error("`{term}` stands on both sides of the formula, expected the target on the left only")]
    TargetAmongTerms {
        /// The label of the term.
        term: String,
    },
    /// The formula expands to more terms than the limit.
    #[error("the formula expands to more than {limit} terms, expected at most {limit}")]
    TooManyTerms {
        /// The limit.
        limit: usize,
    },
    /// The design has more numeric columns than the limit.
    #[error("the design has {got} columns, expected at most {limit}")]
    TooManyColumns {
        /// The number of columns.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// A factor, or a combination of factors, has more levels than the limit on columns allows.
    #[error(
        "`{factor}` has reached {levels} levels and the design would exceed {limit} columns, expected fewer levels"
    )]
    TooManyLevels {
        /// The factor, or the factors of a term joined by `:`.
        factor: String,
        /// The number of levels seen before reading stopped.
        levels: usize,
        /// The limit on columns of the design.
        limit: usize,
    },
    /// The reference level that was asked for does not occur.
    #[error("`{factor}` has no level \"{reference}\", expected one of its {levels} levels{}", nearest_names(nearest))]
    UnknownReference {
        /// The factor.
        factor: String,
        /// The reference that was asked for.
        reference: String,
        /// The number of levels that occur.
        levels: usize,
        /// The levels closest to it, best first.
        nearest: Vec<String>,
    },
    /// A factor has a single level where contrasts need two.
    #[error("`{factor}` has {got} level{}, contrasts expect at least 2", if *got == 1 { "" } else { "s" })]
    TooFewLevels {
        /// The factor.
        factor: String,
        /// The number of levels that occur.
        got: usize,
    },
    /// A value is missing and the policy is to fail.
    #[error("row {row}: `{column}` is missing, expected a value")]
    MissingValue {
        /// The row, counted from 1.
        row: u64,
        /// The column.
        column: String,
    },
    /// A column, or what a formula computes from columns, is not finite.
    #[error("row {row}: `{expression}` is {value}, expected a finite number")]
    NonFinite {
        /// The row, counted from 1.
        row: u64,
        /// The column or the expression.
        expression: String,
        /// The value: infinite or not a number.
        value: String,
    },
    /// A weight is negative.
    #[error("row {row}: weight `{column}` is {value}, expected a number of at least 0")]
    NegativeWeight {
        /// The row, counted from 1.
        row: u64,
        /// The column of weights.
        column: String,
        /// The weight.
        value: f64,
    },
    /// A number does not fit the pair of doubles that stands for it.
    #[error("row {row}: `{column}` is {value}, expected a number of at most 106 bits")]
    NumberTooWide {
        /// The row, counted from 1.
        row: u64,
        /// The column.
        column: String,
        /// The number.
        value: String,
    },
    /// A level that the model has not seen.
    #[error(
        "row {row}: `{column}` is \"{level}\", expected one of the {known} levels of the model{}",
        nearest_names(nearest)
    )]
    UnseenLevel {
        /// The row, counted from 1.
        row: u64,
        /// The column.
        column: String,
        /// The level.
        level: String,
        /// The number of levels the model knows.
        known: usize,
        /// The known levels closest to it, best first.
        nearest: Vec<String>,
    },
    /// Two states, or a state and a model, describe different designs.
    #[error("{what} differs: {left} and {right}, expected the same")]
    Incompatible {
        /// What differs.
        what: String,
        /// In the first.
        left: String,
        /// In the second.
        right: String,
    },
    /// A stored description of a design does not hold together.
    #[error("stored design: {what} is {got}, expected {expected}")]
    StoredDesign {
        /// The part of the description.
        what: String,
        /// What was expected.
        expected: String,
        /// What was found.
        got: String,
    },
    /// The parts of a state do not fit together.
    #[error("{what} does not fit the rest of it")]
    StoredState {
        /// The part.
        what: String,
    },
    /// Rows to be taken out of a state that cannot have been in it.
    #[error("these rows are not all in the state: {why}")]
    NotInState {
        /// How that shows.
        why: String,
    },
    /// Sums of products of four columns are kept for few columns only.
    #[error(
        "sums for HC0 and HC1 are of products of four columns, for at most {limit} columns, and here are {got} (targets and \
         every level of a factor are columns)"
    )]
    TooManyForHc {
        /// The number of columns.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// The library refused.
    #[error(transparent)]
    Regression(#[from] hattention::Error),
    /// An operation of Arrow's failed.
    #[error("{operation} failed: {message}")]
    Arrow {
        /// What was being done.
        operation: String,
        /// Arrow's own message.
        message: String,
    },
    /// What is wrong with a file, a directory, a glob or a query.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// Columns that a hint lists.
pub(crate) const SHOWN_COLUMNS: usize = 10;

/// What a term that computes with a column expects of it.
pub(crate) const A_NUMBER: &str = "a number";

impl TableError {
    /// The row that is wrong, counted from 1 over all files of the source.
    pub fn row(&self) -> Option<u64> {
        match self {
            Self::MissingValue { row, .. }
            | Self::NonFinite { row, .. }
            | Self::NegativeWeight { row, .. }
            | Self::NumberTooWide { row, .. }
            | Self::UnseenLevel { row, .. } => Some(*row),
            _ => None,
        }
    }

    /// The way out, if there is one to name: lower case, no full stop.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Formula { formula, offset, .. } => elsewhere(formula.get(*offset..).unwrap_or_default()).unwrap_or_else(|| {
                "a formula reads `target ~ a + b`, with `a:b`, `a*b`, `(a + b)^2`, `.`, `- a`, `I(a^2)`, `log(a)`, `poly(a, 3)`, `C(g)`".into()
            }),
            Self::UnknownColumn { nearest, columns, .. } => match (nearest.first(), columns.len()) {
                (Some(name), _) => format!("did you mean `{name}`?"),
                (None, 0) => "the table has no columns".into(),
                (None, count) => {
                    let shown: Vec<String> = columns.iter().take(SHOWN_COLUMNS).map(|c| format!("`{c}`")).collect();
                    let more = if count > SHOWN_COLUMNS { ", …" } else { "" };
                    format!("the columns are {}{more}", shown.join(", "))
                }
            },
            Self::ColumnType { column, expected, got } if expected == A_NUMBER && got == "text" => {
                format!("convert `{column}` before reading, or use it as a factor: C({column})")
            }
            Self::ColumnType { column, .. } => format!("convert `{column}` before reading"),
            Self::TargetAmongTerms { term } => format!("remove `{term}` from the right-hand side"),
            Self::TooManyTerms { .. } => "use fewer columns or a smaller power".into(),
            Self::TooManyColumns { .. } => "use fewer terms, or raise the limit on columns".into(),
            Self::TooManyLevels { factor, .. } => many_levels(factor),
            Self::UnknownReference { nearest, .. } => match nearest.first() {
                Some(name) => format!("did you mean ref = \"{name}\"?"),
                None => "leave `ref` out to take the first level".into(),
            },
            Self::TooFewLevels { factor, .. } => format!("leave `{factor}` out: it is constant in these rows"),
            Self::MissingValue { .. } => "fill the value in, or use --na drop".into(),
            Self::NonFinite { .. } => "remove or correct the row, or change the transformation".into(),
            Self::NegativeWeight { .. } => "weights are numbers of at least 0; 0 leaves a row out".into(),
            Self::NumberTooWide { column, .. } => format!("convert `{column}` to a double before reading"),
            Self::UnseenLevel { .. } => "fit with rows of this level, leave its rows out, or let `--unseen null` leave their predictions empty".into(),
            Self::Incompatible { .. } => "fit both with the same formula, column types and reference levels".into(),
            Self::StoredDesign { .. } => "the file is damaged or was written by another version: fit again".into(),
            Self::NotInState { .. } => {
                "remove only rows that are in the state: the same values in the same columns, each once".into()
            }
            Self::TooManyForHc { .. } => {
                "leave out --with-hc, and use --vcov HC1 in one fit of all the rows; or leave terms out of the formula".into()
            }
            Self::Regression(error) => return error.hint().map(str::to_owned),
            Self::StoredState { .. } | Self::Arrow { .. } => return None,
            Self::Source(error) => return error.hint(),
        };
        Some(hint)
    }
}

/// How a formula says what other languages of formulas say here: `np.log(x)`, `relevel(g, …)`, `Q('odd name')`.
fn elsewhere(text: &str) -> Option<String> {
    if let Some((function, _)) =
        text.strip_prefix("np.").or(text.strip_prefix("numpy.")).and_then(|t| t.split_once('('))
    {
        let function = function.trim();
        return Function::named(function)
            .map(|_| format!("functions have no module before their name: write {function}(…)"));
    }
    if text.starts_with("relevel(") || text.starts_with("i(") {
        return Some("a factor with a reference level is `C(g, ref = \"level\")`".into());
    }
    let quoted = text.strip_prefix("Q(")?.trim_start();
    let quote = quoted.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let (name, _) = quoted[1..].split_once(quote)?;
    Some(format!("a name that is more than letters and digits stands in backticks: write `{name}`"))
}

/// The way out where a factor, or a term of factors, has too many levels.
fn many_levels(factor: &str) -> String {
    let terms = Formula::parse(&format!("`a target` ~ {factor}")).and_then(|formula| formula.expand(&[]));
    match terms.map(|terms| terms.columns()).as_deref() {
        Ok([column]) => format!(
            "if `{column}` is an identifier, leave it out, or absorb its effects: y ~ x | {}; if it is a number read as text, \
             convert it; else group its rare levels or raise the limit on columns",
            name_label(column)
        ),
        _ => format!("leave `{factor}` out, group the rare levels of its factors, or raise the limit on columns"),
    }
}

/// `, nearest are a, b` or nothing.
fn nearest_names(nearest: &[String]) -> String {
    if nearest.is_empty() {
        return String::new();
    }
    let names: Vec<String> = nearest.iter().map(|name| format!("`{name}`")).collect();
    format!(", nearest: {}", names.join(", "))
}

/// The candidates closest to `name` by edit distance, at most three, best first; none when all are far.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let lower = name.to_lowercase();
    let allowed = (name.chars().count() / 3).max(2);
    let mut close: Vec<(usize, &str)> = candidates
        .into_iter()
        .map(|candidate| {
            let folded = strsim::osa_distance(&lower, &candidate.to_lowercase());
            (folded, candidate)
        })
        .filter(|&(distance, _)| distance <= allowed && distance < name.chars().count().max(1))
        .collect();
    close.sort();
    close.into_iter().take(3).map(|(_, candidate)| candidate.to_owned()).collect()
}

/// The message of [`TableError::Formula`]: what was expected, then the formula, then a caret.
struct Caret<'a> {
    formula: &'a str,
    offset: usize,
    expected: &'a str,
    got: &'a str,
}

/// Characters of a long formula shown on either side of the caret.
const SHOWN_AROUND_CARET: usize = 60;

impl fmt::Display for Caret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        let at = self.formula.char_indices().take_while(|&(i, _)| i < self.offset).count();
        let from = at.saturating_sub(SHOWN_AROUND_CARET);
        let total = self.formula.chars().count();
        let to = total.min(at + SHOWN_AROUND_CARET);
        let head = if from > 0 { "…" } else { "" };
        let tail = if to < total { "…" } else { "" };
        let shown: String = self.formula.chars().skip(from).take(to - from).map(printable).collect();
        let space = " ".repeat(at - from + usize::from(from > 0));
        write!(f, "formula: expected {}, got {}\n  {head}{shown}{tail}\n  {space}^", self.expected, self.got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_offending_character() {
        let error = TableError::Formula {
            formula: "größe ~ a $ b".into(),
            offset: "größe ~ a ".len(),
            expected: "an operator".into(),
            got: "`$`".into(),
        };
        assert_eq!(error.to_string(), "formula: expected an operator, got `$`\n  größe ~ a $ b\n            ^");
    }

    #[test]
    fn a_long_formula_is_shown_around_the_caret() {
        let formula = format!("y ~ {} $ {}", vec!["a"; 100].join(" + "), vec!["b"; 100].join(" + "));
        let offset = formula.find('$').unwrap();
        let error = TableError::Formula { formula, offset, expected: "x".into(), got: "y".into() };
        let text = error.to_string();
        let lines: Vec<&str> = text.lines().collect();
        let dollar = lines[1].chars().position(|c| c == '$').unwrap();
        assert_eq!(lines[2].chars().position(|c| c == '^').unwrap(), dollar);
        assert!(lines[1].chars().count() < 130, "{}", lines[1]);
    }

    #[test]
    fn what_other_languages_say_is_told_in_this_one() {
        assert!(elsewhere("np.log(x) + z").is_some_and(|hint| hint.ends_with("write log(…)")));
        assert!(elsewhere("numpy.sqrt(x)").is_some_and(|hint| hint.ends_with("write sqrt(…)")));
        assert!(elsewhere("Q('odd name') + z").is_some_and(|hint| hint.ends_with("write `odd name`")));
        assert!(elsewhere("relevel(g, \"b\")").is_some_and(|hint| hint.contains("ref =")));
        assert_eq!((elsewhere("np.where(x, 1, 2)"), elsewhere("Q(x)"), elsewhere("ä")), (None, None, None));
    }

    #[test]
    fn too_many_levels_hint_at_a_formula_that_parses() {
        for (factor, effect) in [("k", "k"), ("C(k)", "k"), ("C(`a b`, ref = \"1\")", "`a b`")] {
            let hint = TableError::TooManyLevels { factor: factor.into(), levels: 9, limit: 8 }.hint().unwrap();
            let formula = hint.split("absorb its effects: ").nth(1).and_then(|rest| rest.split(';').next()).unwrap();
            assert_eq!(formula, format!("y ~ x | {effect}"));
            assert!(Formula::parse(formula).is_ok(), "{formula}");
        }
        let hint = TableError::TooManyLevels { factor: "g:h".into(), levels: 9, limit: 8 }.hint().unwrap();
        assert!(hint.starts_with("leave `g:h` out"), "{hint}");
    }

    #[test]
    fn nearest_names_are_close_ones_only() {
        let columns = ["dep_delay", "arr_delay", "distance", "Hour"];
        assert_eq!(nearest("dep_dealy", columns), ["dep_delay"]);
        assert_eq!(nearest("hour", columns), ["Hour"]);
        assert!(nearest("carrier", columns).is_empty());
    }
}

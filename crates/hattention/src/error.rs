//! What can go wrong, as data.

/// Everything the library refuses, with what it expected and what it got.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Lengths that do not fit together.
    #[error("{what} has {got} entries, expected {expected}")]
    Shape {
        /// Which input.
        what: &'static str,
        /// The length it should have.
        expected: usize,
        /// The length it has.
        got: usize,
    },
    /// A number that is not finite.
    #[error("row {row} of column {column} is {value}; expected a finite number")]
    NonFinite {
        /// Row within the block, from 0.
        row: usize,
        /// Column within the block, from 0.
        column: usize,
        /// The value found.
        value: f64,
    },
    /// A weight below zero or not finite.
    #[error("weight of row {row} is {value}; expected a finite number, zero or more")]
    Weight {
        /// Row within the block, from 0.
        row: usize,
        /// The value found.
        value: f64,
    },
    /// Nothing to fit.
    #[error("no rows with positive weight; expected at least one")]
    NoRows,
    /// Fewer rows than coefficients.
    #[error("{} for {}; expected at least as many rows as coefficients", counted(*rows, "row"), counted(*coefficients as u64, "coefficient"))]
    TooFewRows {
        /// Rows with positive weight.
        rows: u64,
        /// Coefficients asked for.
        coefficients: usize,
    },
    /// Columns that depend on the others.
    #[error("the design has rank {rank} of {columns}: {}", describe(dependent))]
    RankDeficient {
        /// Numerical rank, counting the intercept.
        rank: usize,
        /// Columns of the design, counting the intercept.
        columns: usize,
        /// The columns that add nothing, and on which earlier ones each depends.
        dependent: Vec<Dependence>,
    },
    /// A parameter outside what is allowed.
    #[error("{name} is {got}, expected {allowed}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// The value given.
        got: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// States of different designs.
    #[error("states do not fit: {left} on the left, {right} on the right")]
    IncompatibleStates {
        /// The left state.
        left: String,
        /// The right state.
        right: String,
    },
    /// More rows removed than were ever pushed.
    #[error("{removed} rows removed from a state of {rows}")]
    RemovedTooMany {
        /// Rows in the state.
        rows: u64,
        /// Rows to be removed.
        removed: u64,
    },
    /// An iteration that did not reach its tolerance.
    #[error("no convergence after {steps} steps: residual {residual:e}")]
    NoConvergence {
        /// Steps taken.
        steps: usize,
        /// What was left.
        residual: f64,
    },
    /// Bytes that are not what they should be.
    #[error("expected {expected}, got {got}")]
    Format {
        /// What was expected.
        expected: String,
        /// What was found.
        got: String,
    },
}

/// A column that depends on earlier ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Dependence {
    /// The dependent column.
    pub column: String,
    /// The earlier columns it is a combination of; empty when it is zero itself.
    pub on: Vec<String>,
    /// Distance of the column from the span of the earlier ones, relative to its length.
    pub distance_relative: f64,
}

/// What a power depends on that no orthogonal polynomial can be formed of.
pub(crate) const LOWER_POWERS: &str = "lower powers";

/// `1 row`, `2 rows`.
fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn describe(dependent: &[Dependence]) -> String {
    let mut parts: Vec<String> = dependent
        .iter()
        .take(8)
        .map(|d| match &d.on[..] {
            [] => format!("`{}` is zero", d.column),
            [only] if only == crate::INTERCEPT => format!("`{}` is constant", d.column),
            on => {
                let named: Vec<String> = on.iter().take(4).map(|name| format!("`{name}`")).collect();
                let more = if on.len() > 4 { format!(" and {} more", on.len() - 4) } else { String::new() };
                let near = if d.distance_relative > 0.0 {
                    format!(" up to {:.0e} of its length", d.distance_relative)
                } else {
                    String::new()
                };
                format!("`{}` depends on {}{more}{near}", d.column, named.join(", "))
            }
        })
        .collect();
    if dependent.len() > 8 {
        parts.push(format!("and {} more columns", dependent.len() - 8));
    }
    parts.join("; ")
}

impl Error {
    /// The way out, for a message's `hint:` line.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::RankDeficient { dependent, .. } if dependent.iter().all(|d| d.on == [LOWER_POWERS]) => Some(
                "use a polynomial of lower degree: its column has too few different values, or is too far from zero",
            ),
            Self::RankDeficient { .. } => Some(
                "drop them from the formula, or use `--aliased drop` (as R does) or `--aliased min-norm`, `--ridge` or `--components`",
            ),
            Self::TooFewRows { .. } => Some("use fewer terms, more rows, `--ridge` or `--components`"),
            Self::NoRows => Some("check the missing values and the weights"),
            _ => None,
        }
    }
}

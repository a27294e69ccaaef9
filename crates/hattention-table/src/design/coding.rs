//! From levels to coefficients: which columns of the state a model uses, by R's rules for contrasts.

use super::levels::Level;
use super::plan::{CompiledVariable, Plan};
use crate::error::{TableError, nearest};

/// A model may have this many coefficients.
pub const COEFFICIENT_LIMIT: usize = 65_536;

/// The coefficients of a model, in order, and where each finds its column.
///
/// # Equals
/// `model.matrix(formula, data)` of R with treatment contrasts: the same columns, names and order. A factor in a term is
/// coded by contrasts if the rest of the term is contained in an earlier term (or is empty), else by all its levels;
/// without an intercept the first factor of the model has all its levels. Since treatment contrasts are indicators,
/// every coefficient is one state column, whatever the coding; those of orthogonal polynomials are combinations of a few.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Coding {
    /// Whether the model has an intercept, which is the first coefficient and has no column.
    pub intercept: bool,
    /// The other coefficients, in order.
    pub columns: Vec<CodedColumn>,
    /// The labels of the terms, as R's `term.labels`.
    pub term_labels: Vec<String>,
    /// The orthogonal polynomials, whose columns hold raw powers until the moments are known.
    pub poly_groups: Vec<PolynomialGroup>,
    /// Further state columns that orthogonal polynomials inside interactions are made of.
    pub auxiliary: Vec<CodedColumn>,
    /// The factors and their levels.
    pub factors: Vec<FactorCoding>,
}

/// One coefficient.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CodedColumn {
    /// The name R gives it: `woolB:tensionM`.
    pub name: String,
    /// The term it belongs to, counted from 0.
    pub term: usize,
    /// Its column in the state, of an orthogonal polynomial that of the power of its degree; `None` if its combination of
    /// levels was never observed, so that its column is zero and the coefficient has no value (R's NA).
    pub state_column: Option<usize>,
    /// Which column of the term's numeric variables it takes.
    pub(crate) multiplier: usize,
    /// The level of each factor of the term.
    pub(crate) levels: Vec<Level>,
}

/// The coefficients of a term with orthogonal polynomials, within one combination of what else is in it: of `poly(x, k)`
/// all, of `poly(x, k):g` those of one level of `g`.
///
/// R's columns are the products of polynomials of degree 1 to `k` that are orthonormal over the rows (unweighted) and
/// orthogonal to the constant, with positive leading coefficients, and of the rest of the term. (R forms them before it
/// leaves out rows that miss another value; here they are orthonormal over the rows of the fit.) Columns are counted
/// through [`Coding::columns`] and on through [`Coding::auxiliary`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolynomialGroup {
    /// The term, counted from 0.
    pub term: usize,
    /// The coefficients, the degree of the first polynomial running fastest. Shape: `[Π k]`.
    pub positions: Vec<usize>,
    /// The columns of the powers `x, x², …, xᵏ` of each polynomial. Shape: `[polynomials][k]`.
    pub powers: Vec<Vec<usize>>,
    /// The columns of the products of powers from 0 with the rest of the term, the power of the first polynomial running
    /// fastest; `None` is the constant. Shape: `[Π (k + 1)]`.
    pub products: Vec<Option<usize>>,
}

/// A factor, its reference level first.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FactorCoding {
    /// The factor as R prints it.
    pub label: String,
    /// The column of the table.
    pub column: String,
    /// The reference level, then the others in order.
    pub levels: Vec<Level>,
}

impl Coding {
    /// The names of all coefficients, `(Intercept)` first where there is one.
    pub fn names(&self) -> Vec<&str> {
        let intercept = self.intercept.then_some("(Intercept)");
        intercept.into_iter().chain(self.columns.iter().map(|column| column.name.as_str())).collect()
    }

    /// The term of every coefficient counted from 1, 0 for the intercept: R's `attr(model.matrix(f), "assign")`.
    pub fn assign(&self) -> Vec<usize> {
        let intercept = self.intercept.then_some(0);
        intercept.into_iter().chain(self.columns.iter().map(|column| column.term + 1)).collect()
    }
}

/// Puts the reference level in front of the sorted levels.
///
/// # Errors
/// - [`TableError::UnknownReference`] if it is not among them.
pub(crate) fn reference_first(
    label: &str,
    reference: Option<&str>,
    mut levels: Vec<Level>,
) -> Result<Vec<Level>, TableError> {
    levels.sort();
    let Some(reference) = reference else { return Ok(levels) };
    let names: Vec<String> = levels.iter().map(Level::to_string).collect();
    match names.iter().position(|name| name == reference) {
        Some(position) => {
            levels[..=position].rotate_right(1);
            Ok(levels)
        }
        None => Err(TableError::UnknownReference {
            factor: label.to_owned(),
            reference: reference.to_owned(),
            levels: names.len(),
            nearest: nearest(reference, names.iter().map(String::as_str)),
        }),
    }
}

/// Lists the coefficients, their polynomials apart, for levels whose reference comes first; `state_column` finds a term's column for a multiplier
/// and a combination of levels.
///
/// # Errors
/// - [`TableError::TooFewLevels`] if a factor coded by contrasts has fewer than two levels.
/// - [`TableError::TooManyColumns`] beyond [`COEFFICIENT_LIMIT`].
pub(crate) fn code(
    plan: &Plan,
    levels: &[Vec<Level>],
    state_column: impl Fn(usize, usize, &[Level]) -> Option<usize>,
) -> Result<Coding, TableError> {
    let contrasts = contrasts(plan);
    let mut columns = Vec::new();
    for position in 0..plan.terms.terms.len() {
        let axes = axes(plan, position, &contrasts[position], levels)?;
        let count =
            axes.iter().try_fold(1usize, |count, axis| count.checked_mul(axis.names.len())).unwrap_or(usize::MAX);
        let total = count.saturating_add(columns.len());
        if total > COEFFICIENT_LIMIT {
            return Err(TableError::TooManyColumns { got: total, limit: COEFFICIENT_LIMIT });
        }
        columns.extend((0..count).map(|index| coded_column(position, &axes, index, &state_column)));
    }
    let factors = plan.factors.iter().zip(levels).map(|(factor, levels)| FactorCoding {
        label: factor.label.clone(),
        column: plan.inputs[factor.input].name.clone(),
        levels: levels.clone(),
    });
    Ok(Coding {
        intercept: plan.terms.intercept,
        columns,
        term_labels: plan.terms.labels().into_iter().map(str::to_owned).collect(),
        poly_groups: Vec::new(),
        auxiliary: Vec::new(),
        factors: factors.collect(),
    })
}

/// What one variable adds to the columns of a term: its own columns, or the levels that are coded.
struct Axis<'a> {
    names: Vec<String>,
    /// Empty for a numeric variable.
    levels: &'a [Level],
}

fn axes<'a>(
    plan: &Plan,
    term: usize,
    contrasts: &[bool],
    levels: &'a [Vec<Level>],
) -> Result<Vec<Axis<'a>>, TableError> {
    let members = plan.terms.terms[term].variables.iter().zip(contrasts);
    let axes = members.map(|(&variable, &contrast)| {
        let label = plan.terms.variables[variable].label();
        match plan.variables[variable] {
            CompiledVariable::Factor(factor) => {
                let all = &levels[factor];
                if contrast && all.len() < 2 {
                    return Err(TableError::TooFewLevels { factor: label.to_owned(), got: all.len() });
                }
                let coded = &all[usize::from(contrast)..];
                Ok(Axis { names: coded.iter().map(|level| format!("{label}{level}")).collect(), levels: coded })
            }
            ref numeric if numeric.width() == 1 => Ok(Axis { names: vec![label.to_owned()], levels: &[] }),
            ref polynomial => Ok(Axis {
                names: (1..=polynomial.width()).map(|degree| format!("{label}{degree}")).collect(),
                levels: &[],
            }),
        }
    });
    axes.collect()
}

/// The `index`-th column of a term: the first variable runs fastest.
fn coded_column(
    term: usize,
    axes: &[Axis<'_>],
    index: usize,
    state_column: &impl Fn(usize, usize, &[Level]) -> Option<usize>,
) -> CodedColumn {
    let (mut rest, mut multiplier, mut stride) = (index, 0, 1);
    let (mut names, mut levels) = (Vec::with_capacity(axes.len()), Vec::new());
    for axis in axes {
        let at = rest % axis.names.len();
        rest /= axis.names.len();
        names.push(axis.names[at].as_str());
        match axis.levels.get(at) {
            Some(level) => levels.push(level.clone()),
            None => {
                multiplier += at * stride;
                stride *= axis.names.len();
            }
        }
    }
    CodedColumn {
        name: names.join(":"),
        term,
        state_column: state_column(term, multiplier, &levels),
        multiplier,
        levels,
    }
}

/// For every variable of every term, whether contrasts code it rather than all levels: R's `TermCode`.
fn contrasts(plan: &Plan) -> Vec<Vec<bool>> {
    let terms = &plan.terms.terms;
    let coded = |position: usize, variable: usize| {
        let rest = || terms[position].variables.iter().filter(move |&&other| other != variable);
        let contained = |earlier: &crate::formula::Term| rest().all(|other| earlier.variables.contains(other));
        rest().next().is_none() || terms[..position].iter().any(contained)
    };
    let each = |(position, term): (usize, &crate::formula::Term)| {
        term.variables.iter().map(|&variable| coded(position, variable)).collect()
    };
    let mut contrasts: Vec<Vec<bool>> = terms.iter().enumerate().map(each).collect();
    if !plan.terms.intercept {
        let is_factor = |variable: usize| matches!(plan.variables[variable], CompiledVariable::Factor(_));
        let members = terms.iter().zip(&mut contrasts).flat_map(|(term, coded)| term.variables.iter().zip(coded));
        if let Some((_, coded)) = members.into_iter().find(|(variable, _)| is_factor(**variable)) {
            *coded = false;
        }
    }
    contrasts
}

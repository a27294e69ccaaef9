//! Orthogonal polynomials: which products of raw powers the state holds for them, and which coefficients they make.
//!
//! `poly(x, k):z` has the columns `P_i(x) z`, and `P_i(x)` is a combination of `1, x, …, xⁱ` that the moments of `x` over
//! all rows decide. The state holds the columns `xᵃ z` from `a = 0`, and the powers themselves for their moments.

use std::collections::{HashMap, HashSet};

use super::coding::{CodedColumn, Coding, PolynomialGroup};
use super::layout::{StateColumn, column_name};
use super::levels::Level;
use super::plan::{CompiledVariable, Plan};
use crate::error::TableError;
use crate::formula::{TERM_LIMIT, Terms};

/// The products of variables whose columns the state holds: the terms; and for interactions with orthogonal polynomials
/// these polynomials alone, and the term with any of them left out, for their constants.
///
/// # Errors
/// - [`TableError::TooManyTerms`] beyond [`TERM_LIMIT`].
pub(crate) fn state_terms(terms: &Terms, variables: &[CompiledVariable]) -> Result<Vec<Vec<usize>>, TableError> {
    let mut all: Vec<Vec<usize>> = terms.terms.iter().map(|term| term.variables.clone()).collect();
    let mut known: HashSet<Vec<usize>> = all.iter().cloned().collect();
    for term in terms.terms.iter().filter(|term| term.variables.len() > 1) {
        let is_orthogonal = |variable: &usize| variables[*variable].is_orthogonal();
        let (orthogonal, rest): (Vec<usize>, Vec<usize>) = term.variables.iter().partition(|v| is_orthogonal(v));
        let choices = u32::try_from(orthogonal.len()).ok().and_then(|count| 1usize.checked_shl(count));
        let choices = choices.filter(|choices| *choices <= TERM_LIMIT);
        let Some(choices) = choices else { return Err(TableError::TooManyTerms { limit: TERM_LIMIT }) };
        let alone = orthogonal.iter().map(|&polynomial| vec![polynomial]);
        let parts = (0..choices).map(|choice| {
            let chosen = orthogonal.iter().enumerate().filter(|(i, _)| choice >> i & 1 == 1).map(|(_, &v)| v);
            let mut part: Vec<usize> = rest.iter().copied().chain(chosen).collect();
            part.sort_unstable();
            part
        });
        let parts = alone.chain(parts).filter(|part| !orthogonal.is_empty() && !part.is_empty());
        all.extend(parts.filter(|part| known.insert(part.clone())));
        if all.len() > TERM_LIMIT {
            return Err(TableError::TooManyTerms { limit: TERM_LIMIT });
        }
    }
    Ok(all)
}

/// Finds the orthogonal polynomials of a coding: the coefficients they make and the columns they are made of.
pub(crate) fn group_polynomials(
    plan: &Plan,
    coding: &mut Coding,
    state_column: impl Fn(usize, usize, &[Level]) -> Option<usize>,
) {
    let identity = |column: &CodedColumn| StateColumn {
        term: column.term,
        levels: column.levels.clone(),
        multiplier: column.multiplier,
    };
    let mut finder = Finder {
        plan,
        terms: plan.compiled.iter().enumerate().map(|(at, term)| (term.variables.as_slice(), at)).collect(),
        known: coding.columns.iter().map(identity).zip(0..).collect(),
        count: coding.columns.len(),
        auxiliary: Vec::new(),
        state_column,
    };
    // Coefficients whose terms differ in the degrees of the polynomials only, by their first column.
    let mut groups: HashMap<StateColumn, usize> = HashMap::new();
    for (position, column) in coding.columns.iter().enumerate().filter(|(_, column)| column.state_column.is_some()) {
        let polynomials = finder.polynomials(column.term);
        if polynomials.is_empty() {
            continue;
        }
        let mut degrees = plan.degrees(column.term, column.multiplier);
        polynomials.iter().for_each(|&(place, _)| degrees[place] = 0);
        let multiplier = plan.multiplier(column.term, &degrees);
        let first = StateColumn { term: column.term, levels: column.levels.clone(), multiplier };
        let group = *groups.entry(first).or_insert_with_key(|first| {
            coding.poly_groups.push(finder.group(first, &polynomials));
            coding.poly_groups.len() - 1
        });
        // Columns come with the first variable fastest, and so do the degrees of the polynomials among them.
        coding.poly_groups[group].positions.push(position);
    }
    coding.auxiliary = finder.auxiliary;
}

/// Finds the columns that products of powers are in, coefficients or others.
struct Finder<'a, F> {
    plan: &'a Plan,
    /// Terms of the state by their variables.
    terms: HashMap<&'a [usize], usize>,
    known: HashMap<StateColumn, usize>,
    count: usize,
    auxiliary: Vec<CodedColumn>,
    state_column: F,
}

impl<F: Fn(usize, usize, &[Level]) -> Option<usize>> Finder<'_, F> {
    /// The places among a term's numeric variables, and the degrees, of its orthogonal polynomials.
    fn polynomials(&self, term: usize) -> Vec<(usize, usize)> {
        let numeric = self.plan.compiled[term].numeric.iter().map(|&variable| &self.plan.variables[variable]);
        numeric.enumerate().filter(|(_, v)| v.is_orthogonal()).map(|(place, v)| (place, v.width())).collect()
    }

    /// The group of a term's coefficients that `first` is the first of, without their positions.
    fn group(&mut self, first: &StateColumn, polynomials: &[(usize, usize)]) -> PolynomialGroup {
        let numeric = self.plan.compiled[first.term].numeric.clone();
        let power = |finder: &mut Self, place: usize, degree: usize| {
            finder.column(StateColumn {
                term: finder.terms[&[numeric[place]][..]],
                levels: Vec::new(),
                multiplier: degree - 1,
            })
        };
        let powers: Vec<Vec<usize>> = polynomials
            .iter()
            .map(|&(place, degree)| (1..=degree).map(|degree| power(self, place, degree)).collect())
            .collect();
        let count: usize = polynomials.iter().map(|(_, degree)| degree + 1).product();
        let products = (0..count).map(|index| self.product(first, polynomials, index)).collect();
        PolynomialGroup { term: first.term, positions: Vec::new(), powers, products }
    }

    /// The column of the `index`-th product of powers from 0 with the rest of the term; `None` is the constant.
    fn product(&mut self, first: &StateColumn, polynomials: &[(usize, usize)], index: usize) -> Option<usize> {
        let mut rest = index;
        let mut powers = polynomials.iter().map(|&(place, degree)| {
            let power = rest % (degree + 1);
            rest /= degree + 1;
            (place, power)
        });
        let term = &self.plan.compiled[first.term];
        let mut degrees = self.plan.degrees(first.term, first.multiplier);
        let mut left_out = Vec::new();
        powers.by_ref().for_each(|(place, power)| match power {
            0 => left_out.push(place),
            power => degrees[place] = power - 1,
        });
        let is_left_out = |variable: &usize| left_out.iter().any(|&place| term.numeric[place] == *variable);
        let variables: Vec<usize> = term.variables.iter().copied().filter(|v| !is_left_out(v)).collect();
        if variables.is_empty() {
            return None;
        }
        let remaining = degrees.into_iter().enumerate().filter(|(place, _)| !left_out.contains(place));
        let remaining: Vec<usize> = remaining.map(|(_, degree)| degree).collect();
        let part = self.terms[variables.as_slice()];
        let multiplier = self.plan.multiplier(part, &remaining);
        Some(self.column(StateColumn { term: part, levels: first.levels.clone(), multiplier }))
    }

    /// The place of a column among the coefficients and the auxiliary ones, new or known.
    fn column(&mut self, column: StateColumn) -> usize {
        if let Some(&place) = self.known.get(&column) {
            return place;
        }
        let place = self.count + self.auxiliary.len();
        let StateColumn { term, levels, multiplier } = column.clone();
        let state_column = (self.state_column)(term, multiplier, &levels);
        let name = column_name(self.plan, &column);
        self.auxiliary.push(CodedColumn { name, term, state_column, multiplier, levels });
        self.known.insert(column, place);
        place
    }
}

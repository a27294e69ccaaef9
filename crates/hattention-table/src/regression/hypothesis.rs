//! Tests of hypotheses, terms and nested models.

use super::failure::Failure;
use super::model::TableModel;
use super::watch::Watch;
use hattention::fit::tests_of::{self, Hypothesis};
use hattention::fit::{FTest, Fit};

/// A test and what it is of.
#[derive(Clone, Debug)]
pub struct NamedTest {
    /// What it is of.
    pub name: String,
    /// The test.
    pub test: FTest,
}

/// The joint test of hypotheses about the coefficients of every target, such as `x = 1` or `a - 2*b = 0`.
///
/// Equals `linearHypothesis` of R's car, `f_test` in statsmodels.
///
/// # Errors
/// If a hypothesis cannot be read, or the fit has no tests.
pub fn joint(model: &TableModel, hypotheses: &[String]) -> Result<Vec<NamedTest>, Failure> {
    of_targets(model, |fit| Ok(vec![wald(fit, hypotheses)?]))
}

/// One F test a term of the formula.
///
/// # Errors
/// If the fit has no tests.
pub fn terms(model: &TableModel) -> Result<Vec<NamedTest>, Failure> {
    of_targets(model, |fit| terms_of(model, fit))
}

/// The test of a nested model, whichever of the two is the larger; and what is to be said of it.
///
/// Equals `anova(small, large)` in R.
///
/// # Errors
/// If targets or rows differ.
pub fn against(model: &TableModel, other: &TableModel, watch: &dyn Watch) -> Result<Vec<NamedTest>, Failure> {
    of_targets(model, |fit| Ok(vec![nested(model, fit, other, watch)?]))
}

fn of_targets(
    model: &TableModel,
    of: impl Fn(&Fit) -> Result<Vec<NamedTest>, Failure>,
) -> Result<Vec<NamedTest>, Failure> {
    let mut all = Vec::new();
    for fit in &model.model.fits {
        let prefix = if model.model.fits.len() > 1 { format!("{}: ", fit.target) } else { String::new() };
        all.extend(of(fit)?.into_iter().map(|test| NamedTest { name: format!("{prefix}{}", test.name), ..test }));
    }
    Ok(all)
}

fn wald(fit: &Fit, hypotheses: &[String]) -> Result<NamedTest, Failure> {
    let mut hypothesis = Hypothesis { rows: Vec::new(), right: Vec::new() };
    for text in hypotheses {
        let (row, right) = parse(text, &fit.names)?;
        hypothesis.rows.push(row);
        hypothesis.right.push(right);
    }
    Ok(NamedTest { name: hypotheses.join(", "), test: tests_of::wald(fit, &hypothesis)? })
}

fn terms_of(model: &TableModel, fit: &Fit) -> Result<Vec<NamedTest>, Failure> {
    let coding = model.frozen.coding();
    // Beside effects there is no intercept.
    let skipped = coding.assign().len() - fit.names.len();
    let assign = coding.assign().split_off(skipped);
    let mut rows = Vec::new();
    for (term, label) in coding.term_labels.iter().enumerate() {
        let members: Vec<usize> =
            (0..assign.len()).filter(|&k| assign[k] == term + 1 && fit.estimates[k].is_some()).collect();
        if members.is_empty() {
            continue;
        }
        let test = tests_of::zero(fit, &members).ok_or_else(|| {
            Failure::usage("this fit has no tests: it needs least squares and residual degrees of freedom", "")
        })?;
        rows.push(NamedTest { name: label.clone(), test });
    }
    Ok(rows)
}

fn nested(model: &TableModel, fit: &Fit, other: &TableModel, watch: &dyn Watch) -> Result<NamedTest, Failure> {
    let same = other.model.fits.iter().find(|f| f.target == fit.target).ok_or_else(|| {
        Failure::usage(
            format!("the other model does not have the target `{}`", fit.target),
            "compare models of one target",
        )
    })?;
    let (small, large) = if same.df_residual > fit.df_residual { (same, fit) } else { (fit, same) };
    let (few, many) = if same.df_residual > fit.df_residual { (other, model) } else { (model, other) };
    let test = tests_of::nested(small, large)?;
    let larger = many.frozen.coding().names();
    if let Some(extra) = few.frozen.coding().names().iter().find(|name| !larger.contains(name)) {
        watch.note(&format!(
            "`{extra}` is not among the larger model's coefficients: the test holds only if its columns span it"
        ));
    }
    let name = format!("{} within {}", few.frozen.spec().formula, many.frozen.spec().formula);
    Ok(NamedTest { name, test })
}

/// Reads `2*a - b + 1 = c`: a row of factors over the coefficients, and the right side.
fn parse(text: &str, names: &[String]) -> Result<(Vec<f64>, f64), Failure> {
    let (left, right) = text.split_once('=').unwrap_or((text, "0"));
    let (mut row, constant) = side(left, text, names)?;
    let (other, other_constant) = side(right, text, names)?;
    row.iter_mut().zip(other).for_each(|(a, b)| *a -= b);
    if row.iter().all(|factor| *factor == 0.0) {
        return Err(Failure::usage(
            format!("`{text}` names no coefficient"),
            "write for example `x = 0` or `a - b = 1`",
        ));
    }
    Ok((row, other_constant - constant))
}

/// A sum of `factor * name`, names and numbers. Names are matched whole, the longest first, since they may hold signs.
fn side(text: &str, whole: &str, names: &[String]) -> Result<(Vec<f64>, f64), Failure> {
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|&k| std::cmp::Reverse(names[k].len()));
    let (mut row, mut constant) = (vec![0.0; names.len()], 0.0);
    let mut rest = text.trim();
    let mut first = true;
    while !rest.is_empty() {
        let mut sign = 1.0;
        if let Some(after) = rest.strip_prefix(['+', '-']) {
            sign = if rest.starts_with('-') { -1.0 } else { 1.0 };
            rest = after.trim_start();
        } else if !first {
            return Err(unknown(rest, whole, names));
        }
        first = false;
        let mut factor = None;
        if !rest.starts_with('`') && !order.iter().any(|&k| rest.starts_with(names[k].as_str())) {
            let (value, after) = leading_number(rest).ok_or_else(|| unknown(rest, whole, names))?;
            factor = Some(value);
            rest = after.trim_start();
            match rest.strip_prefix('*') {
                Some(after) => rest = after.trim_start(),
                None => {
                    constant += sign * value;
                    continue;
                }
            }
        }
        let quoted = rest.strip_prefix('`').and_then(|inner| inner.split_once('`'));
        let (k, after) = match quoted {
            Some((name, after)) => (names.iter().position(|n| n == name), after),
            None => match order.iter().find(|&&k| rest.starts_with(names[k].as_str())) {
                Some(&k) => (Some(k), &rest[names[k].len()..]),
                None => (None, rest),
            },
        };
        let k = k.ok_or_else(|| unknown(rest, whole, names))?;
        row[k] += sign * factor.unwrap_or(1.0);
        rest = after.trim_start();
    }
    Ok((row, constant))
}

fn leading_number(text: &str) -> Option<(f64, &str)> {
    let end = (1..=text.len()).rev().filter(|&end| text.is_char_boundary(end)).find(|&end| {
        let candidate = &text[..end];
        candidate.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            && candidate.trim_end() == candidate
            && candidate.parse::<f64>().is_ok()
    })?;
    Some((text[..end].parse().ok()?, &text[end..]))
}

fn unknown(rest: &str, whole: &str, names: &[String]) -> Failure {
    let shown: Vec<&str> = names.iter().take(12).map(String::as_str).collect();
    let more = if names.len() > 12 { ", …" } else { "" };
    Failure::usage(
        format!("cannot read `{}` in the hypothesis `{whole}`: expected a coefficient or a number", rest.trim()),
        format!("the coefficients are {}{more}", shown.join(", ")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hypotheses_are_rows_over_the_coefficients() {
        let names: Vec<String> = ["(Intercept)", "x", "x:z", "I(x^2)"].map(String::from).into();
        let row = |text: &str| parse(text, &names).unwrap();
        assert_eq!(row("x"), (vec![0.0, 1.0, 0.0, 0.0], 0.0));
        assert_eq!(row("2*x - x:z + 1 = I(x^2)"), (vec![0.0, 2.0, -1.0, -1.0], -1.0));
        assert_eq!(row("(Intercept) = 1e-3"), (vec![1.0, 0.0, 0.0, 0.0], 1e-3));
        assert_eq!(row("-`x` = -2"), (vec![0.0, -1.0, 0.0, 0.0], -2.0));
        assert!(parse("y = 1", &names).is_err());
        assert!(parse("1 = 1", &names).is_err());
        assert!(parse("x x", &names).is_err());
    }
}

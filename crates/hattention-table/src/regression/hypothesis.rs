//! Tests of hypotheses, terms and nested models.

use super::failure::Failure;
use super::model::TableModel;
use super::restriction::{self, Restriction};
use super::watch::Watch;
use hattention::fit::tests_of::{self, Hypothesis};
use hattention::fit::{FTest, Fit, Vcov};

/// Longest name of a test that is made of its restrictions, in characters.
const LONGEST_NAME: usize = 80;

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
    of_targets(model, |fit| {
        let mut restrictions = Vec::new();
        for text in hypotheses {
            restrictions.extend(restriction::parse(text, &fit.names)?);
        }
        Ok(vec![wald(fit, hypotheses.join(", "), restrictions)?])
    })
}

/// The joint test of restrictions that are given as numbers.
///
/// # Errors
/// If a row is not as long as the list of coefficients, or the fit has no tests.
pub fn restricted(model: &TableModel, restrictions: &[Restriction]) -> Result<Vec<NamedTest>, Failure> {
    of_targets(model, |fit| {
        let texts: Vec<String> = restrictions.iter().map(|one| restriction::text_of(one, &fit.names)).collect();
        let name = texts.join(", ");
        let short = name.chars().count() <= LONGEST_NAME;
        let name = if short { name } else { format!("{} restrictions", restrictions.len()) };
        Ok(vec![wald(fit, name, restrictions.to_vec())?])
    })
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

fn wald(fit: &Fit, name: String, restrictions: Vec<Restriction>) -> Result<NamedTest, Failure> {
    let (rows, right) = restrictions.into_iter().map(|one| (one.row, one.right)).unzip();
    Ok(NamedTest { name, test: tests_of::wald(fit, &Hypothesis { rows, right })? })
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
    let robust = |fit: &Fit| fit.covariance.as_ref().map(|of| of.kind.clone()).filter(|kind| *kind != Vcov::Iid);
    if let Some(kind) = robust(large).or_else(|| robust(small)) {
        watch.note(&format!(
            "the F test of nested models is the classical one, by residual sums of squares; for one by {kind}, test that the \
             coefficients which the smaller model lacks are zero"
        ));
    }
    let larger = many.frozen.coding().names();
    if let Some(extra) = few.frozen.coding().names().iter().find(|name| !larger.contains(name)) {
        watch.note(&format!(
            "`{extra}` is not among the larger model's coefficients: the test holds only if its columns span it"
        ));
    }
    let name = format!("{} within {}", few.frozen.spec().formula, many.frozen.spec().formula);
    Ok(NamedTest { name, test })
}

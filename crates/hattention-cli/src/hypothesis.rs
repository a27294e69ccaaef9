//! `hat test`: hypotheses, terms, nested models.

use hattention::fit::tests_of::{self, Hypothesis};
use hattention::fit::{FTest, Fit};
use serde_json::json;

use crate::args::TestArgs;
use crate::failure::Failure;
use crate::model::TableModel;
use crate::{output, render};

/// A test and what it is of.
struct Row {
    name: String,
    test: FTest,
}

/// Runs the command.
pub fn run(args: &TestArgs) -> Result<(), Failure> {
    let model = TableModel::load(&args.model)?;
    let asked = !args.hypotheses.is_empty() as u8 + args.terms as u8 + args.against.is_some() as u8;
    if asked != 1 {
        return Err(Failure::usage(
            "expected hypotheses, or --terms, or --against MODEL",
            "for example: hat test m.hat 'dep_delay = 1'",
        ));
    }
    let mut rows = Vec::new();
    for fit in &model.model.fits {
        let prefix = if model.model.fits.len() > 1 { format!("{}: ", fit.target) } else { String::new() };
        let found = if let Some(other) = &args.against {
            vec![against(&model, fit, &TableModel::load(other)?)?]
        } else if args.terms {
            terms(&model, fit)?
        } else {
            vec![joint(fit, &args.hypotheses)?]
        };
        rows.extend(found.into_iter().map(|row| Row { name: format!("{prefix}{}", row.name), ..row }));
    }
    let text = if args.json {
        let tests: Vec<_> = rows
            .iter()
            .map(|row| {
                let mut object = render::f_test(&row.test);
                object["name"] = json!(row.name);
                object
            })
            .collect();
        format!("{:#}\n", json!({"tests": tests}))
    } else {
        let df = |x: f64| if x.fract() == 0.0 { format!("{x:.0}") } else { format!("{x:.2}") };
        let cells: Vec<Vec<String>> = rows
            .iter()
            .map(|row| {
                let t = &row.test;
                vec![row.name.clone(), render::significant(t.statistic, 5), df(t.df1), df(t.df2), render::p_value(t.p)]
            })
            .collect();
        render::columns(&["", "F", "df1", "df2", "Pr(>F)"], &cells)
    };
    output::print(&text)
}

fn joint(fit: &Fit, hypotheses: &[String]) -> Result<Row, Failure> {
    let mut hypothesis = Hypothesis { rows: Vec::new(), right: Vec::new() };
    for text in hypotheses {
        let (row, right) = parse(text, &fit.names)?;
        hypothesis.rows.push(row);
        hypothesis.right.push(right);
    }
    Ok(Row { name: hypotheses.join(", "), test: tests_of::wald(fit, &hypothesis)? })
}

fn terms(model: &TableModel, fit: &Fit) -> Result<Vec<Row>, Failure> {
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
        rows.push(Row { name: label.clone(), test });
    }
    Ok(rows)
}

fn against(model: &TableModel, fit: &Fit, other: &TableModel) -> Result<Row, Failure> {
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
        eprintln!(
            "note: `{extra}` is not among the larger model's coefficients: the test holds only if its columns span it"
        );
    }
    let name = format!("{} within {}", few.frozen.spec().formula, many.frozen.spec().formula);
    Ok(Row { name, test })
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

//! Fits as tables for people and as JSON for programs.

use hattention::fit::{Coefficient, FTest, Fit};
use hattention::{Filter, Method, Whitening};
use serde_json::{Map, Value, json};

use super::absorb::Absorption;

/// `x` with so many significant digits, in whichever notation is shorter.
pub fn significant(x: f64, digits: usize) -> String {
    if x == 0.0 {
        return "0".into();
    }
    if !x.is_finite() {
        return if x.is_nan() { "NA".into() } else { format!("{x}") };
    }
    let scientific = format!("{:.*e}", digits - 1, x);
    let exponent: i32 = scientific.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    if (-5..15).contains(&exponent) {
        let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
        format!("{x:.decimals$}")
    } else {
        scientific
    }
}

/// A p-value as R prints it.
pub fn p_value(p: f64) -> String {
    if p.is_nan() {
        "NA".into()
    } else if p < 2.2e-16 {
        "<2e-16".into()
    } else if p < 1e-4 {
        format!("{p:.2e}")
    } else {
        significant(p, 3)
    }
}

fn stars(p: f64) -> &'static str {
    match p {
        p if p < 0.001 => "***",
        p if p < 0.01 => "**",
        p if p < 0.05 => "*",
        p if p < 0.1 => ".",
        _ => "",
    }
}

/// Rows of cells, the first column to the left and the others to the right.
pub fn columns(header: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..header.len())
        .map(|c| rows.iter().map(|r| r[c].chars().count()).chain([header[c].chars().count()]).max().unwrap_or(0))
        .collect();
    let line = |cells: Vec<&str>| -> String {
        let padded = cells.iter().zip(&widths).enumerate().map(|(c, (cell, width))| {
            let space = " ".repeat(width.saturating_sub(cell.chars().count()));
            if c == 0 { format!("{cell}{space}") } else { format!("{space}{cell}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(header.to_vec());
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text
}

/// What the table says beside the fit itself.
pub struct Context<'a> {
    /// The formula.
    pub formula: &'a str,
    /// Rows left out for missing values.
    pub dropped_rows: u64,
    /// The covariance's name.
    pub vcov: &'a str,
    /// Level of confidence intervals.
    pub level: f64,
    /// Variance inflation of every coefficient, if asked for.
    pub inflation: Option<&'a [Option<f64>]>,
    /// The effects that were taken out, if any were.
    pub absorption: Option<&'a Absorption>,
}

/// The method a fit stood on, in words.
pub fn method(whitening: &Whitening) -> String {
    match (whitening.method, whitening.filter) {
        (Method::InMemory, _) => "rows in memory, refined doubles".into(),
        (Method::Refined, _) => format!("exact moments, doubles refined in {} bits", whitening.bits),
        (Method::Extended, Filter::Components { .. }) => format!("exact moments, Jacobi in {} bits", whitening.bits),
        (Method::Extended, _) => format!("exact moments, LDLᵀ in {} bits", whitening.bits),
    }
}

/// The table of one fit, as `summary(lm)` prints it.
pub fn table(context: &Context<'_>, whitening: &Whitening, fit: &Fit, several: bool) -> String {
    let mut text = String::new();
    if several {
        text.push_str(&format!("Response {}:\n\n", fit.target));
    }
    let coefficients = fit.coefficients(context.level);
    let cell = |x: Option<f64>, digits| x.map_or("NA".to_owned(), |x| significant(x, digits));
    let mut header = vec!["", "Estimate", "Std. Error", "t value", "Pr(>|t|)", ""];
    let mut rows: Vec<Vec<String>> = coefficients
        .iter()
        .map(|c| {
            vec![
                c.name.clone(),
                cell(c.estimate, 7),
                cell(c.std_error, 5),
                c.t.map_or("NA".into(), |t| if t.abs() < 1e6 { format!("{t:.3}") } else { significant(t, 4) }),
                c.p.map_or("NA".into(), p_value),
                c.p.map_or("", stars).into(),
            ]
        })
        .collect();
    if let Some(factors) = context.inflation {
        header.push("VIF");
        for (row, factor) in rows.iter_mut().zip(factors) {
            row.push(factor.map_or(String::new(), |factor| significant(factor, 4)));
        }
    }
    text.push_str(&columns(&header, &rows));
    text.push_str("---\n");
    if coefficients.iter().any(|c| c.p.is_some()) {
        text.push_str("Signif. codes: 0 '***' 0.001 '**' 0.01 '*' 0.05 '.' 0.1\n");
    }
    if !whitening.dependent.is_empty() {
        let names: Vec<String> = whitening.dependent.iter().map(|d| format!("`{}`", d.column)).collect();
        text.push_str(&format!(
            "{} dependent: {}\n",
            if names.len() == 1 { "1 column" } else { "Columns" },
            names.join(", ")
        ));
    }
    text.push('\n');
    text.push_str(&format!(
        "Residual standard error: {} on {} degrees of freedom\n",
        significant(fit.sigma(), 5),
        significant_df(fit.df_residual)
    ));
    let dropped = match context.dropped_rows {
        0 => String::new(),
        1 => " (1 row dropped: missing values)".into(),
        n => format!(" ({n} rows dropped: missing values)"),
    };
    text.push_str(&format!("{} rows{dropped}\n", fit.rows));
    let (r_squared, adjusted) = overall(fit);
    let within = match fit.effects {
        Some(_) => format!(", within: {}", significant(fit.r_squared(), 5)),
        None => String::new(),
    };
    text.push_str(&format!(
        "R-squared: {}, adjusted: {}{within}\n",
        significant(r_squared, 5),
        significant(adjusted, 5)
    ));
    if let Some(f) = fit.f_test() {
        text.push_str(&format!(
            "F-statistic: {} on {} and {} DF, p-value: {}\n",
            significant(f.statistic, 5),
            significant_df(f.df1),
            significant_df(f.df2),
            p_value(f.p)
        ));
    }
    if let Some(absorption) = context.absorption {
        text.push_str(&absorption.text());
    }
    match whitening.filter {
        Filter::Ols => {}
        Filter::Ridge { alpha, .. } => text.push_str(&format!(
            "Ridge penalty: {}, effective degrees of freedom: {}\n",
            significant(alpha, 5),
            significant(fit.effective_df, 5)
        )),
        Filter::Components { count, .. } => text.push_str(&format!("Principal components: {count}\n")),
    }
    text.push_str(&format!(
        "Covariance: {}; {}; condition {}; {:.1} correct digits\n",
        context.vcov,
        method(whitening),
        significant(whitening.condition, 3),
        fit.digits()
    ));
    text
}

/// R², and R² adjusted, of all that was fitted: with effects taken out, of them too.
fn overall(fit: &Fit) -> (f64, f64) {
    match &fit.effects {
        Some(effects) => {
            let df = if fit.df_residual > 0.0 { fit.df_residual } else { f64::NAN };
            (effects.r_squared, 1.0 - (1.0 - effects.r_squared) * (fit.rows as f64 - 1.0) / df)
        }
        None => (fit.r_squared(), fit.adj_r_squared()),
    }
}

fn significant_df(df: f64) -> String {
    if df.fract() == 0.0 { format!("{df:.0}") } else { format!("{df:.2}") }
}

/// A number, or null where JSON has none.
pub fn number(x: f64) -> Value {
    serde_json::Number::from_f64(x).map_or(Value::Null, Value::Number)
}

fn optional(x: Option<f64>) -> Value {
    x.map_or(Value::Null, number)
}

fn coefficient(c: &Coefficient) -> Value {
    json!({
        "name": c.name, "estimate": optional(c.estimate), "std_error": optional(c.std_error), "t": optional(c.t),
        "p": optional(c.p), "ci_low": optional(c.ci_low), "ci_high": optional(c.ci_high), "digits": optional(c.digits),
    })
}

/// An F test.
pub fn f_test(f: &FTest) -> Value {
    json!({"statistic": number(f.statistic), "df1": number(f.df1), "df2": number(f.df2), "p": number(f.p)})
}

fn fit_fields(context: &Context<'_>, whitening: &Whitening, fit: &Fit) -> Map<String, Value> {
    let coefficients = fit.coefficients(context.level);
    let aliased: Vec<&String> = coefficients.iter().filter(|c| c.estimate.is_none()).map(|c| &c.name).collect();
    let mut listed: Vec<Value> = coefficients.iter().map(coefficient).collect();
    for (value, factor) in listed.iter_mut().zip(context.inflation.unwrap_or_default()) {
        value["vif"] = optional(*factor);
    }
    let criteria = fit.filter == Filter::Ols;
    let when = |yes: bool, x: f64| if yes { number(x) } else { Value::Null };
    let (r_squared, adjusted) = overall(fit);
    let fields = json!({
        "rank": whitening.rank,
        "coefficients": listed,
        "aliased": aliased,
        "sigma": number(fit.sigma()), "r_squared": number(r_squared), "adj_r_squared": number(adjusted),
        "f": fit.f_test().as_ref().map(f_test),
        "df_residual": number(fit.df_residual),
        "log_likelihood": when(criteria, fit.log_likelihood()), "aic": when(criteria, fit.aic()), "bic": when(criteria, fit.bic()),
        "vcov": context.vcov, "method": method(whitening), "digits": number(fit.digits()),
        "condition": number(whitening.condition),
        "effective_df": number(fit.effective_df),
    });
    let mut fields = match fields {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    if fit.effects.is_some() {
        fields.insert("within_r_squared".into(), number(fit.r_squared()));
    }
    fields
}

/// The JSON of a model's fits.
pub fn json(context: &Context<'_>, whitening: &Whitening, fits: &[Fit]) -> Value {
    let mut object = Map::new();
    object.insert("formula".into(), context.formula.into());
    object.insert("n".into(), whitening.rows.into());
    object.insert("dropped_rows".into(), context.dropped_rows.into());
    if let Filter::Ridge { alpha, .. } = whitening.filter {
        object.insert("ridge".into(), number(alpha));
    }
    if let Filter::Components { count, .. } = whitening.filter {
        object.insert("components".into(), count.into());
    }
    if let Some(absorption) = context.absorption {
        object.insert("absorbed".into(), absorption.effects_json());
        object.insert("absorption".into(), absorption.solution_json());
    }
    if let [fit] = fits {
        object.extend(fit_fields(context, whitening, fit));
    } else {
        let targets: Vec<Value> = fits
            .iter()
            .map(|fit| {
                let mut target = Map::new();
                target.insert("name".into(), fit.target.clone().into());
                target.extend(fit_fields(context, whitening, fit));
                Value::Object(target)
            })
            .collect();
        object.insert("targets".into(), targets.into());
    }
    Value::Object(object)
}

//! The report of `hat drift`, for people and for programs.

use hattention::drift::{ColumnShift, Direction, Drift, PermutationTest, Ranked, Test, column_basis};
use serde_json::{Value, json};

use super::{Effect, Found};
use crate::regression::render::{columns, number, p_value, significant};

/// Names that a line lists.
const LISTED: usize = 5;

fn short(x: f64) -> String {
    significant(x, 4)
}

fn signed(x: f64, digits: usize) -> String {
    let text = significant(x, digits);
    if x > 0.0 { format!("+{text}") } else { text }
}

/// `p = 0.012`, `p < 2e-16`.
fn p_equals(p: f64) -> String {
    let text = p_value(p);
    text.strip_prefix('<').map_or_else(|| format!("p = {text}"), |bound| format!("p < {bound}"))
}

/// `336,776`.
fn count(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or("")).collect();
    groups.join(",")
}

fn rows(n: u64) -> String {
    if n == 1 { "1 row".into() } else { format!("{} rows", count(n)) }
}

fn listed(names: &[String]) -> String {
    let some: Vec<String> = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > LISTED { format!(" and {} more", names.len() - LISTED) } else { String::new() };
    some.join(", ") + &more
}

/// The report for people: the verdict first, then why.
pub fn text(found: &Found<'_>) -> String {
    let mut text = verdict(found);
    let Some(drift) = &found.drift else {
        text += "The rows that are left are too few to compare.\n";
        return text + &left_out(found);
    };
    text += &tests(found, drift);
    text += &dependent(drift);
    text += &flat(drift);
    text += &moved(found, drift);
    text += &axes(drift);
    found.effects.iter().for_each(|effect| text += &predictions(effect));
    text + &left_out(found)
}

fn method(found: &Found<'_>) -> String {
    match &found.permutation {
        Some(test) => format!("permutation test, {} permutations", count(test.permutations as u64)),
        None => "likelihood ratio of normal laws".into(),
    }
}

fn verdict(found: &Found<'_>) -> String {
    let by_test = found.p().is_some_and(|p| p <= found.options.level);
    let p = found
        .p()
        .map_or(String::new(), |p| format!("{}, {}; level {}", p_equals(p), method(found), found.options.level));
    let unseen = match found.batch.unseen {
        0 => String::new(),
        n => format!("{} with levels never seen in training", rows(n)),
    };
    let headline = match (by_test, unseen.is_empty()) {
        (false, true) => format!("no drift ({p})"),
        (true, true) => format!("DRIFT ({p})"),
        (true, false) => format!("DRIFT ({p}; and {unseen})"),
        (false, false) if p.is_empty() => format!("DRIFT ({unseen})"),
        (false, false) => format!("DRIFT ({unseen}; otherwise none: {p})"),
    };
    let theirs = found.training.as_ref().map_or(found.model.model.whitening.rows, |training| training.sample.rows());
    let compared = format!("{} against {} of training", rows(found.batch.sample.rows()), rows(theirs));
    format!("{headline}\n{compared}, {} columns\n", found.model.model.whitening.keys())
}

/// The column that is largest on its own: `mean of dep_delay`.
fn largest(found: &Found<'_>, test: &PermutationTest) -> String {
    let whitening = &found.model.model.whitening;
    let (place, scale) = test.largest;
    let named =
        column_basis(whitening).and(whitening.kept.get(place)).map(|&position| &whitening.design.names[position]);
    let name = named.map_or_else(|| format!("component {}", place + 1), String::clone);
    format!("{} of {name}", if scale { "square" } else { "mean" })
}

fn tests(found: &Found<'_>, drift: &Drift) -> String {
    let mut text = String::new();
    if let Some(test) = &found.permutation {
        let line = |ranked: &Ranked| format!("{}, {}", short(ranked.statistic), p_equals(ranked.p));
        text += &format!(
            "Permuted (seed {}): means and products {}; means {}; {} {}; best of the three {}\n",
            found.options.seed,
            line(&test.state),
            line(&test.means),
            largest(found, test),
            line(&test.column),
            p_equals(test.p),
        );
        text += &format!("(likelihood ratio {}: not counted)\n", line(&test.likelihood_ratio));
    }
    let line = |test: &Test| format!("{} on {} degrees, {}", short(test.statistic), test.df, p_equals(test.p));
    if let Some(test) = &drift.likelihood_ratio {
        text += &format!("Normal laws: likelihood ratio {}", line(test));
        if let Some(test) = &drift.divergence {
            text += &format!("; tr S - log det S - d {}", line(test));
        }
        text.push('\n');
    }
    if !drift.tails.normal {
        let ratio = format!("kurtosis is {} times that of a normal law", significant(drift.tails.kurtosis_ratio, 3));
        let which = match drift.tails.columns.as_slice() {
            [] => String::new(),
            names => format!("; far from normal: {}", listed(names)),
        };
        text += &match found.permutation {
            Some(_) => format!("(The p-values of normal laws do not hold here: {ratio}{which}.)\n"),
            None => format!(
                "CAUTION: the keys are not normal ({ratio}{which}), so that this p-value cannot be trusted.\n         \
                 Name the training rows (--train) for a permutation test, which is sound.\n"
            ),
        };
    }
    text
}

fn dependent(drift: &Drift) -> String {
    let count = drift.dependent.len();
    if count == 0 {
        return String::new();
    }
    let mut named: Vec<String> = drift.dependent.iter().take(LISTED).map(terms).collect();
    if count > LISTED {
        named.push(format!("and {} more", count - LISTED));
    }
    let directions = if count == 1 { "1 direction".to_owned() } else { format!("{count} directions") };
    format!(
        "In the training rows, columns depend on each other: {}.\n{directions} without variance there: compared by the permutations only.\n",
        named.join("; ")
    )
}

fn flat(drift: &Drift) -> String {
    let Some(flat) = &drift.flat else { return String::new() };
    let constant: Vec<String> = drift.columns.iter().filter(|c| c.constant).map(|c| c.name.clone()).collect();
    let what = match constant.as_slice() {
        [] => format!(
            "In the batch, columns depend on each other: {}",
            flat.directions.iter().map(terms).collect::<Vec<_>>().join("; ")
        ),
        [one] => format!("In the batch, `{one}` is constant"),
        names => format!("In the batch, {} are constant", listed(names)),
    };
    let meaning = match flat.levels {
        true => format!("levels that the batch lacks (by chance with {})", p_equals(flat.p)),
        false => "in training they vary, so that S is singular (log det S = -infinity): drift is certain".into(),
    };
    format!("{what}: {meaning}.\n")
}

fn moved(found: &Found<'_>, drift: &Drift) -> String {
    let moved: Vec<&ColumnShift> = drift.columns.iter().filter(|column| column.moved).collect();
    if moved.is_empty() {
        return format!("\nNo single column moved (Holm's correction, level {}).\n", found.options.level);
    }
    let mut rows: Vec<(f64, Vec<String>)> = moved
        .iter()
        .map(|c| {
            let least = c.scale_p.map_or(c.mean_p, |p| p.min(c.mean_p));
            let strength = c.mean_z.abs().max(c.scale_z.map_or(0.0, f64::abs));
            let cells = vec![
                format!("  {}", c.name),
                short(c.training_mean),
                short(c.training_sd),
                signed(c.mean_shift, 3),
                p_value(c.mean_p),
                if c.indicator { String::new() } else { significant(c.scale_ratio, 4) },
                c.scale_p.map_or(String::new(), p_value),
            ];
            (if least > 0.0 { least.ln() } else { -1e3 - strength }, cells)
        })
        .collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let cells: Vec<Vec<String>> = rows.into_iter().map(|(_, cells)| cells).collect();
    let header = ["  column", "training mean", "sd", "mean shift/sd", "p", "scale ratio", "p"];
    format!(
        "\nColumns that moved, {} of {} (Holm's correction, level {}):\n{}",
        moved.len(),
        drift.columns.len(),
        found.options.level,
        columns(&header, &cells)
    )
}

/// `+0.98 dep_delay −0.20 hour`.
fn terms(direction: &Direction) -> String {
    let parts = direction.columns.iter().take(LISTED);
    let parts: Vec<String> = parts.map(|(name, weight)| format!("{}·{name}", signed(*weight, 2))).collect();
    parts.join(" ") + if direction.columns.len() > LISTED { " …" } else { "" }
}

fn axes(drift: &Drift) -> String {
    let mut text = format!(
        "\nIn whitened units (training: mean 0, every variance 1):\n  mean shift of length {}\n",
        short(drift.mean_length)
    );
    let mut line = |what: &str, direction: &Direction| {
        text += &format!("  {what} variance {} along {}\n", short(direction.eigenvalue), terms(direction));
    };
    if let Some(largest) = drift.directions.last() {
        line("largest", largest);
    }
    if let [smallest, _, ..] = drift.directions.as_slice() {
        line("smallest", smallest);
    }
    text
}

fn predictions(effect: &Effect) -> String {
    let shift = &effect.shift;
    let relative = |x: f64| match shift.training_sd > 0.0 {
        true => format!(" ({} sd)", signed(x / shift.training_sd, 3)),
        false => String::new(),
    };
    let largest = effect.largest.map_or(String::new(), |(row, change)| {
        format!(", largest {}{} in row {row}", signed(change, 4), relative(change))
    });
    format!(
        "\nPredictions of {} (training: mean {}, sd {}):\n  mean over the batch {}{}, sd {}\n  \
         keys and values from the batch itself would change them by X(Σ⁻¹Σ* − I)β:\n    mean {}{}, root mean square {}{}{largest}\n",
        shift.target,
        short(shift.training_mean),
        short(shift.training_sd),
        short(shift.batch_mean),
        relative(shift.batch_mean - shift.training_mean),
        short(shift.batch_sd),
        signed(shift.effect_mean, 4),
        relative(shift.effect_mean),
        short(shift.effect_rms),
        relative(shift.effect_rms),
    )
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The share of rows with missing values in training: of the sources named, or as the fit counted them (its targets
/// among the values).
fn training_missing(found: &Found<'_>) -> f64 {
    match &found.training {
        Some(training) => share(training.missing(), training.input_rows),
        None => share(found.model.dropped_rows, found.model.dropped_rows + found.model.model.whitening.rows),
    }
}

fn left_out(found: &Found<'_>) -> String {
    let batch = &found.batch;
    let percent = |x: f64| format!("{} %", significant(100.0 * x, 3));
    let mut text = String::new();
    if batch.missing() > 0 || training_missing(found) > 0.0 {
        let where_from = if found.training.is_some() { "training" } else { "the fit, its target included" };
        text += &format!(
            "\nLeft out for missing values: {} ({} of the batch; {where_from}: {})\n",
            rows(batch.missing()),
            percent(share(batch.missing(), batch.input_rows)),
            percent(training_missing(found))
        );
    }
    if batch.unseen > 0 {
        let names: Vec<String> = batch.levels.iter().map(|(column, level)| format!("{column}={level}")).collect();
        text += &format!("Levels never seen in training, {}: {}\n", rows(batch.unseen), listed(&names));
    }
    if let Some(training) = &found.training {
        let (theirs, fitted) = (training.sample.rows(), found.model.model.whitening.rows);
        if theirs < fitted {
            text +=
                &format!("The model was fitted on {}, but --train has {} usable ones.\n", rows(fitted), count(theirs));
        }
        if training.unseen > 0 {
            let n = rows(training.unseen);
            text += &format!("{n} of --train have levels that the model does not know, and were left out.\n");
        }
    }
    let dependent: Vec<String> = found.model.model.whitening.dependent.iter().map(|d| d.column.clone()).collect();
    if !dependent.is_empty() {
        text += &format!("Not compared, since the fit dropped them as dependent: {}\n", listed(&dependent));
    }
    text
}

fn ranked(ranked: &Ranked) -> Value {
    json!({"statistic": number(ranked.statistic), "p": number(ranked.p)})
}

fn test(test: &Option<Test>) -> Value {
    test.as_ref().map_or(
        Value::Null,
        |test| json!({"statistic": number(test.statistic), "df": number(test.df), "p": number(test.p)}),
    )
}

fn direction(direction: &Direction) -> Value {
    let columns: Vec<Value> =
        direction.columns.iter().map(|(name, weight)| json!({"name": name, "weight": number(*weight)})).collect();
    json!({"variance": number(direction.eigenvalue), "columns": columns})
}

fn column(c: &ColumnShift) -> Value {
    let optional = |x: Option<f64>| x.map_or(Value::Null, number);
    json!({
        "name": c.name, "moved": c.moved, "training_mean": number(c.training_mean), "training_sd": number(c.training_sd),
        "mean_shift": number(c.mean_shift), "mean_z": number(c.mean_z), "mean_p": number(c.mean_p),
        "scale_ratio": number(c.scale_ratio), "scale_z": optional(c.scale_z), "scale_p": optional(c.scale_p),
        "kurtosis": number(c.kurtosis), "indicator": c.indicator, "constant": c.constant,
    })
}

fn effect(effect: &Effect) -> Value {
    let shift = &effect.shift;
    let largest = effect.largest.map_or(Value::Null, |(row, change)| json!({"row": row, "effect": number(change)}));
    json!({
        "target": shift.target, "training_mean": number(shift.training_mean), "training_sd": number(shift.training_sd),
        "batch_mean": number(shift.batch_mean), "batch_sd": number(shift.batch_sd),
        "effect_mean": number(shift.effect_mean), "effect_rms": number(shift.effect_rms), "effect_largest": largest,
    })
}

/// The report for programs: the contract is in `hat drift --help`.
pub fn json(found: &Found<'_>) -> Value {
    let batch = &found.batch;
    let permutation = found.permutation.as_ref().map_or(Value::Null, |test| {
        json!({
            "permutations": test.permutations, "seed": found.options.seed, "p": number(test.p),
            "state": ranked(&test.state), "means": ranked(&test.means), "column": ranked(&test.column),
            "largest": largest(found, test), "likelihood_ratio": ranked(&test.likelihood_ratio),
        })
    });
    let levels: Vec<Value> =
        batch.levels.iter().map(|(column, level)| json!({"column": column, "level": level})).collect();
    let theirs = found.training.as_ref().map_or(found.model.model.whitening.rows, |training| training.sample.rows());
    let compared = found.drift.as_ref();
    let flat = compared.and_then(|drift| drift.flat.as_ref()).map_or(Value::Null, |flat| {
        let directions: Vec<Value> = flat.directions.iter().map(direction).collect();
        json!({"directions": directions, "levels": flat.levels, "p": number(flat.p)})
    });
    json!({
        "drift": found.is_drift(), "p": found.p().map_or(Value::Null, number), "level": found.options.level,
        "method": if found.permutation.is_some() { "permutation" } else { "likelihood ratio" },
        "rows": batch.sample.rows(), "training_rows": theirs, "size": found.model.model.whitening.keys(),
        "permutation": permutation,
        "likelihood_ratio": compared.map_or(Value::Null, |drift| test(&drift.likelihood_ratio)),
        "divergence": compared.map_or(Value::Null, |drift| test(&drift.divergence)),
        "normal": compared.map(|drift| drift.tails.normal),
        "kurtosis_ratio": compared.map_or(Value::Null, |drift| number(drift.tails.kurtosis_ratio)),
        "not_normal": compared.map_or(&[][..], |drift| &drift.tails.columns),
        "dependent": compared.map_or(Vec::new(), |drift| drift.dependent.iter().map(direction).collect()),
        "flat": flat,
        "mean_length": compared.map_or(Value::Null, |drift| number(drift.mean_length)),
        "directions": compared.map_or(Vec::new(), |drift| drift.directions.iter().map(direction).collect()),
        "columns": compared.map_or(Vec::new(), |drift| drift.columns.iter().map(column).collect()),
        "predictions": found.effects.iter().map(effect).collect::<Vec<_>>(),
        "missing": {"rows": batch.missing(), "share": share(batch.missing(), batch.input_rows),
            "training_share": training_missing(found)},
        "unseen": {"rows": batch.unseen, "levels": levels},
    })
}

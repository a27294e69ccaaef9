//! The results as a page of Markdown.

use std::fmt::Write;

use serde_json::Value;

use super::contestant::median;

/// Cores that others may keep busy before the page says so.
const CORES_OF_OTHERS: f64 = 0.1;

pub(crate) fn markdown(results: &Value) -> String {
    let mut page = String::new();
    head(&mut page, results);
    for shape in results["memory"].as_array().into_iter().flatten() {
        let _ =
            writeln!(page, "\n## In memory: {} rows, {} columns and an intercept\n", shape["rows"], shape["columns"]);
        table(&mut page, results, shape, "hattention", false);
        steps(&mut page, &shape["contestants"][0]);
    }
    if !results["files"].is_null() {
        let files = &results["files"];
        let _ = writeln!(page, "\n## Whole processes: `{}`, `{}`\n", text(&files["data"]), text(&files["formula"]));
        table(&mut page, results, files, "hat fit", true);
    }
    notes(&mut page, results);
    page
}

/// The page of forward passes.
pub(crate) fn attention(results: &Value) -> String {
    let mut page = String::new();
    head(&mut page, results);
    let (rows, columns) = (results["rows"].as_f64().unwrap_or(0.0), results["columns"].as_f64().unwrap_or(0.0));
    let _ = writeln!(
        page,
        "\n## Self-attention among {rows} rows of {columns} columns and an intercept, one target\n\n\
         Predictions `Q ((1/n) KᵀV) W_p` of linear attention, the state summed before it is read. Peers get their tokens \
         ready-made; hattention takes the means off and puts the constant in front while it reads.\n"
    );
    for layout in ["doubles", "singles"] {
        let all = results["contestants"].as_array().into_iter().flatten().filter(|c| c["layout"] == layout);
        let section = serde_json::json!({
            "contestants": all.collect::<Vec<_>>(), "cores_of_others": results["cores_of_others"],
        });
        let _ = writeln!(page, "\n### In {layout}\n");
        table(&mut page, results, &section, "hattention", false);
    }
    let _ = writeln!(
        page,
        "\n- *times hattention*: the contestant's median over that of hattention with shared keys. The constructed weights are \
         shared, W_Q = W_K = W_V, so one projection and half of a symmetric state are enough; with three projections every \
         one is computed.\n- *the product X W alone* is the floor: what a matrix library takes for one of the projections.\n\
         - *coefficient difference* is here the largest difference of 100 predictions over the largest of them."
    );
    for note in results["notes"].as_array().into_iter().flatten() {
        let _ = writeln!(page, "- {}", text(note));
    }
    page
}

fn head(page: &mut String, results: &Value) {
    let machine = &results["machine"];
    let list = |value: &Value| value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(", ");
    let _ = writeln!(page, "# hattention beside its peers\n");
    let _ = writeln!(page, "Made by `cargo xtask bench`; every number is in `latest.json`.");
    let _ = writeln!(page, "Date: {}. Commit: {}.\n", or_unknown(&results["date"]), or_unknown(&results["commit"]));
    let _ = writeln!(
        page,
        "Machine: {} (family {}, model {}), {} cores, {}; caches {}; {} GiB; {} {}. {} threads for everyone.\n",
        or_unknown(&machine["cpu"]),
        or_unknown(&machine["cpu_family"]),
        or_unknown(&machine["cpu_model"]),
        machine["cores"],
        list(&machine["instruction_sets"]),
        list(&machine["caches"]),
        machine["memory_gib"],
        text(&machine["system"]),
        text(&machine["architecture"]),
        results["threads"],
    );
    let versions = results["versions"].as_object().into_iter().flatten();
    let versions: Vec<String> = versions
        .map(
            |(name, version)| {
                if version.is_null() { format!("{name} absent") } else { format!("{name} {}", text(version)) }
            },
        )
        .collect();
    let _ = writeln!(page, "Versions: {}.", versions.join(", "));
    if results["quick"] == true {
        let _ = writeln!(page, "\n**A trial of the bench on small data: not to be quoted.**");
    }
}

fn table(page: &mut String, results: &Value, section: &Value, unit: &str, files: bool) {
    let all: Vec<&Value> = section["contestants"].as_array().into_iter().flatten().collect();
    let ours = all.iter().find(|c| text(&c["name"]).starts_with(unit)).and_then(|c| c["median_seconds"].as_f64());
    let others: Vec<f64> = numbers(&section["cores_of_others"]);
    if let Some(others) = median(&others).filter(|&cores| cores > CORES_OF_OTHERS) {
        let _ = writeln!(page, "**Others kept {others:.1} cores busy meanwhile (median of the rounds).**\n");
    }
    let _ = writeln!(
        page,
        "| who | data | computes | median, ms | least–most | {}times {unit} | coefficient difference |",
        if files { "peak, MB | " } else { "" }
    );
    let _ = writeln!(page, "|---|---|---|--:|--:|{}--:|--:|", if files { "--:|" } else { "" });
    for contestant in &all {
        let seconds = numbers(&contestant["seconds"]);
        let name = text(&contestant["name"]);
        let rounds = match seconds.len() as u64 {
            0 => String::new(),
            count if results["rounds"].as_u64().is_none_or(|all| all == count) => String::new(),
            count => format!(" ({count} rounds)"),
        };
        let lead = format!("| {name} | {} | {}{rounds} |", text(&contestant["layout"]), text(&contestant["computes"]));
        let Some(median) = contestant["median_seconds"].as_f64() else {
            let blank = if files { " |" } else { "" };
            let _ = writeln!(page, "{lead} not available: {} | | |{blank} |", text(&contestant["remark"]));
            continue;
        };
        let (least, most) =
            (seconds.iter().copied().fold(f64::INFINITY, f64::min), seconds.iter().copied().fold(0.0, f64::max));
        let peak = match contestant["median_peak_mb"].as_f64() {
            Some(peak) => format!(" {peak:.0} |"),
            None => String::new(),
        };
        let ratio = match ours.filter(|_| contestant["coefficient_difference"].is_number()) {
            Some(ours) if is_best(contestant, &all) => format!("**{:.2}**", median / ours),
            Some(ours) => format!("({:.2})", median / ours),
            None => String::new(),
        };
        let difference = match contestant["coefficient_difference"].as_f64() {
            None => text(&contestant["remark"]),
            Some(0.0) => "0".to_owned(),
            Some(difference) => format!("{difference:.0e}"),
        };
        let _ = writeln!(
            page,
            "{lead} {:.1} | {:.1}–{:.1} |{peak} {ratio} | {difference} |",
            1e3 * median,
            1e3 * least,
            1e3 * most
        );
    }
}

/// Whether no other layout of the same contestant is faster: only the best is quoted.
fn is_best(contestant: &Value, all: &[&Value]) -> bool {
    let same = |c: &&&Value| c["name"] == contestant["name"] && c["computes"] == contestant["computes"];
    let mine = contestant["median_seconds"].as_f64().unwrap_or(f64::INFINITY);
    all.iter().filter(same).filter_map(|c| c["median_seconds"].as_f64()).all(|other| mine <= other)
}

/// Where hattention's time went.
fn steps(page: &mut String, contestant: &Value) {
    let step = |name: &str| contestant[format!("median_{name}_seconds")].as_f64();
    if let (Some(moments), Some(whitening), Some(inference)) = (step("moments"), step("whitening"), step("inference")) {
        let [moments, whitening, inference] = [moments, whitening, inference].map(|s| 1e3 * s);
        let _ = writeln!(
            page,
            "\nhattention: moments {moments:.1} ms, whitening {whitening:.1} ms, inference {inference:.1} ms."
        );
    }
    if let (Some(leverages), Some(fit)) = (step("leverages"), contestant["median_seconds"].as_f64()) {
        let _ = writeln!(
            page,
            "Leverages and leave-one-out residuals of all rows, after the fit: {:.1} ms, {:.2} times the fit.",
            1e3 * leverages,
            leverages / fit
        );
    }
}

fn notes(page: &mut String, results: &Value) {
    let _ = writeln!(
        page,
        "
## How to read this
- *times hattention*, *times hat fit*: the contestant's median over hattention's, from alternating rounds of one run; in bold the better layout \
of a contestant, in brackets the other. Peers get their design with the intercept's column made, outside the clock.
- *coefficient difference*: the largest relative difference of a coefficient from the exact one. In memory that is \
hattention's own result ({} correct digits stated); for files it is `reference/flights_exact.json`.
- R's `lm` and `lm.fit` use LINPACK's QR, level-1 BLAS on one thread; here its BLAS is {}. Whole processes include \
starting the interpreter and reading the file, as a user waits for them. DuckDB forms the sums of products of the same 22 \
columns; numpy solves the 21 equations.
- Peak memory is the resident set of the process as `wait4` reports it; a megabyte is 10⁶ bytes.",
        digits(results),
        results["versions"]["R BLAS"].as_str().unwrap_or("unknown"),
    );
    for note in results["notes"].as_array().into_iter().flatten() {
        let _ = writeln!(page, "- {}", text(note));
    }
}

fn digits(results: &Value) -> String {
    let stated = results["memory"].as_array().into_iter().flatten().filter_map(|s| s["exact_digits"].as_f64());
    match stated.reduce(f64::min) {
        Some(digits) => format!("{digits:.1}"),
        None => "no".to_owned(),
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned)
}

fn or_unknown(value: &Value) -> String {
    if value.is_null() { "unknown".to_owned() } else { text(value) }
}

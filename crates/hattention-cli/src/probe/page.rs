//! What was found, as a page.

use hattention::thermodynamics::Head;
use hattention_lab::experiment::Table;
use hattention_lab::plot::{Axis, Heat, Mark, Plot, Scale, Stroke};
use hattention_lab::report::{document, escape, of_table};

use super::found::{Found, Probed, share};
use crate::failure::{Failure, of_lab};

/// Heads of a heat map.
const ROWS: usize = 16;
/// Heads whose histograms and sweeps are drawn.
const DRAWN: usize = 6;

/// The page.
///
/// # Errors
/// If a plot cannot be drawn.
pub fn page(probed: &Probed) -> Result<String, Failure> {
    let title = format!("Attention of {}", probed.file);
    let mut body =
        format!("<h1>{}</h1>\n<p class=\"lead\">{} as a canonical ensemble</p>\n", escape(&title), escape(probed.kind));
    body += "<p>Of a query with energies E = −q·k and a temperature T, attention is p = softmax(−E/T). The entropy S is the \
             logarithm of the number of keys that are read in effect; the heat capacity C = Var_p(E)/T² = dU/dT is the variance of \
             ln p under p: zero where all keys are read alike or one alone, largest in between.</p>\n";
    for found in &probed.found {
        body += &of_found(found)?;
    }
    Ok(document(&title, &body))
}

fn of_found(found: &Found) -> Result<String, Failure> {
    let [batches, heads, queries, keys] = found.shape;
    let mut body = format!(
        "<h2>{}</h2>\n<p>{batches} batch{}, {heads} head{}, {queries} quer{}, {keys} keys; temperature {}.</p>\n",
        escape(&found.name),
        if batches == 1 { "" } else { "es" },
        if heads == 1 { "" } else { "s" },
        if queries == 1 { "y" } else { "ies" },
        hattention_lab::claim::number(found.temperature)
    );
    let head =
        ["head", "keys", "energy U", "entropy S", "S/ln n", "e^S", "1/Σp²", "free energy F", "capacity C", "Var(E/T)"];
    let mut table = Table::new("Means over queries", head);
    for (h, head) in found.heads.iter().enumerate() {
        table.push(found.cells(h, head));
    }
    body += &of_table(&table);
    let mut plots = Vec::new();
    plots.extend(maps(found, "capacity C", |_, p| p.mean.map_or(f64::NAN, |mean| mean.heat_capacity)));
    plots.extend(maps(found, "entropy over its most, S/ln n", |_, p| p.share));
    plots.push(curves(found, "heat capacity C", |o| o.heat_capacity));
    plots.push(curves(found, "effective keys e^S", |o| o.effective_keys));
    plots.extend(drawn(found).into_iter().map(|h| histogram(found, h)));
    for plot in plots.iter().filter(|plot| !plot.is_empty()) {
        body += &format!("<figure>\n{}\n</figure>\n", plot.svg().map_err(of_lab)?);
    }
    let left = heads.saturating_sub(DRAWN);
    if left > 0 {
        body += &format!(
            "<p><small>Sweeps and histograms are of {DRAWN} heads, from the least to the largest share of entropy; {left} are left out, and \
             are in the JSON.</small></p>\n"
        );
    }
    Ok(body)
}

/// Heads that are drawn, from the least share of entropy to the largest.
fn drawn(found: &Found) -> Vec<usize> {
    let mut heads: Vec<usize> = (0..found.heads.len()).filter(|h| found.heads[*h].mean.is_some()).collect();
    let shares: Vec<f64> = found.heads.iter().map(|head| share(&head.queries)).collect();
    heads.sort_by(|a, b| shares[*a].total_cmp(&shares[*b]));
    let (count, some) = (heads.len(), heads.len().min(DRAWN));
    (0..some).map(|i| heads[if some > 1 { i * (count - 1) / (some - 1) } else { 0 }]).collect()
}

/// Heat maps of heads by the places of queries, some heads each.
fn maps(found: &Found, what: &str, of: impl Fn(&Head, &super::found::Position) -> f64) -> Vec<Plot> {
    let values: Vec<Vec<f64>> = found
        .heads
        .iter()
        .map(|head| found.positions(head).iter().map(|position| rounded(of(head, position))).collect())
        .collect();
    let columns: Vec<String> = found.heads.first().map_or(Vec::new(), |head| {
        // (Where each group begins: both ends would not fit.)
        found.positions(head).iter().map(|p| p.first.to_string()).collect()
    });
    let finite = || values.iter().flatten().copied().filter(|v| v.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let range = if high > low { (low, high) } else { (low - 0.5, low + 0.5) };
    let part = |(part, rows): (usize, &[Vec<f64>])| {
        let names = (0..rows.len()).map(|r| format!("head {}", part * ROWS + r + found.first)).collect();
        let heat = Heat { columns: columns.clone(), rows: names, values: rows.to_vec(), range, scale: Scale::Linear };
        Plot::heat(
            format!("{what} by head and place of the query"),
            "the first query of each group, counted from 0",
            "",
            heat,
        )
    };
    values.chunks(ROWS).enumerate().map(part).collect()
}

/// To two digits, for cells that are small.
fn rounded(x: f64) -> f64 {
    format!("{x:.1e}").parse().unwrap_or(x)
}

fn curves(found: &Found, what: &str, of: impl Fn(&hattention::thermodynamics::Observables) -> f64) -> Plot {
    let title = format!("{what} by temperature");
    let mut plot = Plot::new(title, Axis::log("temperature over its own"), Axis::linear(what));
    for h in drawn(found) {
        let points = found.looks[h].curve.iter().map(|p| (p.temperature / found.temperature, of(&p.mean))).collect();
        plot = plot.series(format!("head {}", h + found.first), points, Mark::Line(Stroke::Solid));
    }
    plot
}

fn histogram(found: &Found, h: usize) -> Plot {
    let look = &found.looks[h];
    let scores = if found.scored { "score −E/T" } else { "ln p" };
    let title = format!("Head {}: where keys lie, and where weights do", h + found.first);
    let middles: Vec<f64> = look.edges.windows(2).map(|pair| 0.5 * (pair[0] + pair[1])).collect();
    let points = |shares: &[f64]| middles.iter().copied().zip(shares.iter().copied()).collect();
    Plot::new(title, Axis::linear(scores), Axis::linear("share"))
        .series("keys", points(&look.keys), Mark::Line(Stroke::Dashed))
        .series("weights", points(&look.weights), Mark::Line(Stroke::Solid))
}

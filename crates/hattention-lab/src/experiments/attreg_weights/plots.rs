//! The plots of the report.

use super::HALF_LIFE;
use super::judge::{attention, quarters, ratio, values, weighing};
use crate::claim::number;
use crate::experiment::Results;
use crate::plot::{Axis, Mark, Plot, Stroke};
use crate::statistics::middle;

/// Schemes that are shown through time.
fn shown() -> [String; 5] {
    ["expanding".to_owned(), "rolling 40".to_owned(), attention("loo"), attention("heads"), attention("published")]
}

pub(super) fn plots(results: &Results) -> Vec<Plot> {
    vec![
        predictions(results),
        accuracy(results),
        through_time(results, "effective rows", "Effective number of quarters", Axis::log),
        through_time(results, "concentration", "Share of the largest 5 % of weights", Axis::linear),
        through_time(results, "gross leverage", "Gross leverage Σ|ω|", Axis::log),
        through_time(results, "turnover", "Turnover from a quarter to the next", Axis::log),
    ]
}

fn series(results: &Results, scheme: &str, name: &str) -> Vec<(f64, f64)> {
    quarters(results, scheme).filter_map(|row| Some((row.number("year")?, row.get(name)?))).collect()
}

fn predictions(results: &Results) -> Plot {
    let scheme = attention("heads");
    Plot::new(
        "Inflation, and what each scheme said of it a quarter before",
        Axis::linear("year"),
        Axis::linear("inflation, per cent a year"),
    )
    .series("inflation", series(results, "expanding", "inflation"), Mark::Points)
    .series("expanding", series(results, "expanding", "prediction"), Mark::Line(Stroke::Solid))
    .series("rolling 40", series(results, "rolling 40", "prediction"), Mark::Line(Stroke::Dashed))
    .series(scheme.as_str(), series(results, &scheme, "prediction"), Mark::Line(Stroke::Solid))
}

/// Errors over those of expanding least squares.
fn accuracy(results: &Results) -> Plot {
    let honest: Vec<String> = weighing().into_iter().filter(|s| s != "expanding").collect();
    let seeing: Vec<String> =
        ["loo, seeing all", "causal, seeing all", "published-causal, seeing all"].map(attention).to_vec();
    // (Three letters, or the names would stand on each other: the table of errors has them whole.)
    let short = |scheme: &String| match scheme.replace("attention, ", "") {
        name if name.starts_with("rolling ") => name.replace("rolling ", "r"),
        name if name == "decayed" => format!("d{HALF_LIFE}"),
        name if name.starts_with("published-") => "p.c".to_owned(),
        name => name.chars().take(3).collect(),
    };
    let names: Vec<String> = honest.iter().chain(&seeing).map(short).collect();
    let bars = |schemes: &[String], from: usize| {
        let (mut points, mut ends) = (Vec::new(), Vec::new());
        for (k, scheme) in schemes.iter().enumerate() {
            if let Some((value, interval)) =
                ratio(results, scheme, "expanding").and_then(|e| Some((e.value, e.interval?)))
            {
                points.push(((from + k + 1) as f64, value));
                ends.push((interval.low, interval.high));
            }
        }
        (points, Mark::Bars(ends))
    };
    let ((points, mark), (flattering, its)) = (bars(&honest, 0), bars(&seeing, honest.len()));
    let found = points.iter().map(|p| p.1).fold(f64::NAN, f64::min);
    let of = |scheme: &str| ratio(results, &attention(scheme), "expanding").map_or(f64::NAN, |e| e.value);
    let title = format!(
        "Honest errors are {} of expanding least squares' at best; published, causal: {} honestly, {} seeing all",
        number(found),
        number(of("published-causal")),
        number(of("published-causal, seeing all"))
    );
    Plot::new(
        title,
        Axis::words("least squares (r rolling, d decayed), attention regression, and seeing all", names),
        Axis::linear("ratio of errors"),
    )
    .series("past only", points, mark)
    .series("seeing all", flattering, its)
    .level(1.0, "expanding")
}

fn through_time(results: &Results, name: &str, sentence: &str, axis: fn(&'static str) -> Axis) -> Plot {
    let schemes = shown();
    let median = |scheme: &str| {
        let found: Vec<f64> = values(results, scheme, name).into_iter().filter(|v| !v.is_nan()).collect();
        number(middle(&found))
    };
    let title = format!(
        "{sentence}: medians {} (expanding), {} (heads alone), {} (published)",
        median("expanding"),
        median(&schemes[3]),
        median(&schemes[4])
    );
    let label = match name {
        "effective rows" => "(Σω)²/Σω²",
        "concentration" => "share of Σ|ω|",
        "gross leverage" => "Σ|ω|",
        _ => "Σ|ω − ω′|",
    };
    schemes.iter().fold(Plot::new(title, Axis::linear("year"), axis(label)), |plot, scheme| {
        plot.series(scheme.as_str(), series(results, scheme, name), Mark::Line(Stroke::Solid))
    })
}

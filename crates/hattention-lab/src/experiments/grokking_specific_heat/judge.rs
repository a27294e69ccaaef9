//! From peaks to claims, by the protocol.

use super::{CONTROLS, HEATS, MAIN, PROTOCOL, SERIES};
use crate::claim::{Claim, Threshold, number};
use crate::error::Error;
use crate::experiment::{Judgement, Plan, Results, Table};
use crate::plot::{Axis, Mark, Plot, Stroke};
use crate::rows::Row;
use crate::seeds::{generator, hash};
use crate::statistics::{Estimate, Interval, line, mean, middle, normal_quantile, quantile, share};
use rand::RngExt;

const KIM: &str = "Kim 2026";
const PANDEY: &str = "Pandey 2026";
const DERIVED: &str = "derived (control)";
/// A peak has at least this prominence.
const PROMINENT: f64 = 0.05;
/// Runs with a peak that numbers need.
const ENOUGH: usize = 10;
const RESAMPLES: usize = 2000;
const LEVEL: f64 = 0.95;

/// A training.
#[derive(Clone, Debug)]
struct Run {
    kind: String,
    modulus: usize,
    by_heart: Option<f64>,
    generalises: Option<f64>,
    /// Step and height of the peak of every series.
    peaks: [Option<(f64, f64)>; SERIES.len()],
}

fn runs(results: &Results) -> Vec<Run> {
    let of = |rows: &[Row]| {
        let times = rows.iter().find(|row| row.is("what", "times"))?;
        let peak = |name: &str| {
            let row = rows.iter().find(|row| row.is("what", "peak") && row.is("series", name))?;
            let prominent = row.get("prominence")? >= PROMINENT;
            prominent.then_some(())?;
            row.get("step").zip(row.get("height"))
        };
        Some(Run {
            kind: times.word("kind")?.to_owned(),
            modulus: times.count("modulus")?,
            by_heart: times.get("by heart"),
            generalises: times.get("generalises"),
            peaks: SERIES.map(|(name, _)| peak(name)),
        })
    };
    results.units.iter().filter_map(|unit| of(&unit.rows)).collect()
}

pub(super) fn judge(plan: &Plan, results: &Results) -> Result<Judgement, Error> {
    let runs = runs(results);
    let main: Vec<&Run> = runs.iter().filter(|run| run.kind == "main").collect();
    let never: Vec<&Run> = runs.iter().filter(|run| run.kind != "main" && run.generalises.is_none()).collect();
    let mut claims = Vec::new();
    for (s, (name, _)) in SERIES.iter().enumerate() {
        claims.extend([precedes(&main, s, name), lead(&main, s, name), predicts(&main, s, name)]);
        claims.push(false_alarms(&never, s, name));
        if s < HEATS {
            claims.push(more_than_controls(&main, s, name)?);
            claims.push(no_power_law(&main, s, name)?);
        }
    }
    let claim = Claim::new(
        "predicts-by-heart",
        "steps until pairs are known by heart: correlation with those until it generalises, within moduli",
        DERIVED,
        "unknown",
        Threshold::at_least(0.0),
    );
    claims.push(claim.estimated(correlation(&pairs(&main, &|run| run.by_heart))));
    let tables = vec![times(&main), peaks(&main), controls(&runs)];
    let mut plots: Vec<Plot> = (0..HEATS).map(|s| leads(&main, s)).collect();
    plots.extend((0..HEATS).map(|s| heights(&main, s)));
    plots.extend(plan_plots(plan, results));
    let protocol = format!("{:016x}", hash(PROTOCOL.bytes()));
    let derived =
        vec![Row::new().label("what", "protocol").label("hash", protocol).value("bytes", PROTOCOL.len() as f64)];
    Ok(Judgement { claims, derived, tables, plots })
}

fn source(s: usize) -> &'static str {
    match s {
        0 => KIM,
        1 | 2 => PANDEY,
        _ => DERIVED,
    }
}

fn precedes(main: &[&Run], s: usize, name: &str) -> Claim {
    let all: Vec<&&Run> = main.iter().filter(|run| run.generalises.is_some()).collect();
    let before = all.iter().filter(|run| run.peaks[s].zip(run.generalises).is_some_and(|((step, _), g)| step < g));
    let expected = if s < HEATS { "1" } else { "unknown" };
    Claim::new(
        format!("precedes-{name}"),
        format!("{name}: share of the runs that generalise that have a peak before"),
        source(s),
        expected,
        Threshold::at_least(0.8).partly_at_least(0.5),
    )
    .estimated((!all.is_empty()).then(|| share(before.count() as u64, all.len() as u64)))
}

/// Logarithms of a time and of the steps to generalise, with the modulus, of the runs that have both.
fn pairs(main: &[&Run], of: &dyn Fn(&Run) -> Option<f64>) -> Vec<(usize, f64, f64)> {
    main.iter().filter_map(|run| Some((run.modulus, of(run)?.ln(), run.generalises?.ln()))).collect()
}

fn lead(main: &[&Run], s: usize, name: &str) -> Claim {
    let leads: Vec<f64> =
        pairs(main, &|run| run.peaks[s].map(|(step, _)| step)).iter().map(|(_, peak, end)| end - peak).collect();
    let expected = if s < HEATS { "above 0" } else { "unknown" };
    Claim::new(
        format!("lead-{name}"),
        format!("{name}: mean of ln(steps to generalise/steps to the peak)"),
        source(s),
        expected,
        Threshold::at_least(0.0),
    )
    .estimated((leads.len() >= ENOUGH).then(|| mean(&leads)))
}

fn predicts(main: &[&Run], s: usize, name: &str) -> Claim {
    let expected = match s {
        0 => "above 0",
        1 | 2 => "−.10 at p = 97",
        _ => "unknown",
    };
    Claim::new(
        format!("predicts-{name}"),
        format!("{name}: correlation of the peak's and generalisation's logarithm of steps, within moduli"),
        source(s),
        expected,
        Threshold::at_least(0.0),
    )
    .estimated(correlation(&pairs(main, &|run| run.peaks[s].map(|(step, _)| step))))
}

/// Pairs about the means of their moduli, and the number of moduli.
fn within(pairs: &[(usize, f64, f64)]) -> (Vec<(f64, f64)>, usize) {
    let mut moduli: Vec<usize> = pairs.iter().map(|(p, _, _)| *p).collect();
    moduli.sort_unstable();
    moduli.dedup();
    let mut found = Vec::with_capacity(pairs.len());
    for modulus in &moduli {
        let own: Vec<(f64, f64)> = pairs.iter().filter(|(p, _, _)| p == modulus).map(|(_, x, y)| (*x, *y)).collect();
        let n = own.len() as f64;
        let (x, y) = own.iter().fold((0.0, 0.0), |(x, y), (a, b)| (x + a / n, y + b / n));
        found.extend(own.iter().map(|(a, b)| (a - x, b - y)));
    }
    (found, moduli.len())
}

fn pearson(pairs: &[(f64, f64)]) -> Option<f64> {
    let (xx, xy, yy) = pairs.iter().fold((0.0, 0.0, 0.0), |(xx, xy, yy), (x, y)| (xx + x * x, xy + x * y, yy + y * y));
    (xx > 0.0 && yy > 0.0).then(|| (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0))
}

/// The correlation within moduli, with Fisher's interval.
fn correlation(pairs: &[(usize, f64, f64)]) -> Option<Estimate> {
    if pairs.len() < ENOUGH {
        return None;
    }
    let (centred, moduli) = within(pairs);
    let r = pearson(&centred)?;
    let left = pairs.len() as f64 - (moduli as f64 - 1.0) - 3.0;
    let width = normal_quantile(0.5 + LEVEL / 2.0) / left.sqrt();
    let z = r.clamp(-1.0 + 1e-12, 1.0 - 1e-12).atanh();
    let interval = (left > 0.0).then(|| Interval::new((z - width).tanh(), (z + width).tanh(), LEVEL));
    Some(Estimate { value: r, interval })
}

fn false_alarms(never: &[&Run], s: usize, name: &str) -> Claim {
    let peaks = never.iter().filter(|run| run.peaks[s].is_some()).count() as u64;
    let expected = if s < HEATS { "0, were it a sign of generalising" } else { "unknown" };
    Claim::new(
        format!("false-alarms-{name}"),
        format!("{name}: share of the runs that never generalise that have a peak all the same"),
        if s < HEATS { PANDEY } else { DERIVED },
        expected,
        Threshold::at_most(0.2),
    )
    .estimated((!never.is_empty()).then(|| share(peaks, never.len() as u64)))
}

/// The correlation less the largest of the controls'.
fn excess(main: &[&Run], s: usize) -> Option<f64> {
    let of = |get: &dyn Fn(&Run) -> Option<f64>| {
        let pairs = pairs(main, get);
        if pairs.len() < ENOUGH { None } else { pearson(&within(&pairs).0) }
    };
    let own = of(&|run| run.peaks[s].map(|(step, _)| step))?;
    let controls = (HEATS..SERIES.len()).filter_map(|c| of(&|run| run.peaks[c].map(|(step, _)| step)));
    let most = controls.chain(of(&|run| run.by_heart)).reduce(f64::max)?;
    Some(own - most)
}

fn more_than_controls(main: &[&Run], s: usize, name: &str) -> Result<Claim, Error> {
    let claim = Claim::new(
        format!("more-than-controls-{name}"),
        format!("{name}: that correlation less the largest of the controls'"),
        DERIVED,
        "above 0, were it more than these",
        Threshold::at_least(0.0),
    );
    let Some(value) = excess(main, s) else { return Ok(claim) };
    let mut random = generator("grokking-specific-heat", "judge", name, 0);
    let mut found: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let drawn: Vec<&Run> = main
                .iter()
                .map(|run| {
                    let own: Vec<&Run> = main.iter().copied().filter(|other| other.modulus == run.modulus).collect();
                    own[random.random_range(0..own.len())]
                })
                .collect();
            excess(&drawn, s)
        })
        .collect();
    found.sort_by(f64::total_cmp);
    let tail = (1.0 - LEVEL) / 2.0;
    let interval = Interval::new(quantile(&found, tail), quantile(&found, 1.0 - tail), LEVEL);
    Ok(claim.measured(value, interval))
}

/// Logarithms of moduli and heights.
fn logarithms(main: &[&Run], s: usize) -> (Vec<f64>, Vec<f64>) {
    main.iter().filter_map(|run| Some(((run.modulus as f64).ln(), run.peaks[s]?.1.ln()))).unzip()
}

/// The saturating height's residual sum: `ln h = c − ln(1 + p₀/p)`, and its p₀.
fn saturating(p: &[f64], h: &[f64]) -> (f64, f64) {
    let residual = |p0: f64| {
        let left: Vec<f64> = p.iter().zip(h).map(|(p, h)| h + (1.0 + p0 / p.exp()).ln()).collect();
        let middle = left.iter().sum::<f64>() / left.len() as f64;
        left.iter().map(|x| (x - middle).powi(2)).sum::<f64>()
    };
    let candidates = std::iter::once(0.0).chain((-80..=200).map(|k| 10f64.powf(f64::from(k) / 40.0)));
    candidates
        .map(|p0| (residual(p0), p0))
        .fold((f64::INFINITY, 0.0), |best, next| if next.0 < best.0 { next } else { best })
}

fn no_power_law(main: &[&Run], s: usize, name: &str) -> Result<Claim, Error> {
    let claim = Claim::new(
        format!("no-power-law-{name}"),
        format!("{name}: Akaike's criterion of heights, power law less saturating"),
        KIM,
        "above 0",
        Threshold::at_least(0.0),
    );
    let (p, h) = logarithms(main, s);
    if p.len() < ENOUGH || p.iter().all(|x| *x == p[0]) {
        return Ok(claim);
    }
    let power = line(&p, &h)?;
    let residual: f64 = p.iter().zip(&h).map(|(p, h)| (h - power.at(*p)).powi(2)).sum();
    let (other, p0) = saturating(&p, &h);
    let slope = power.slope;
    let told = slope.interval.map(|i| format!(" ({} to {})", number(i.low), number(i.high))).unwrap_or_default();
    let difference = p.len() as f64 * (residual / other).ln();
    Ok(claim.measured(difference, None).note(format!("b = {}{told}, p₀ = {}", number(slope.value), number(p0))))
}

/// Medians, and how many.
fn told(values: &[f64]) -> String {
    if values.is_empty() { "—".to_owned() } else { format!("{} ({})", number(middle(values)), values.len()) }
}

fn times(main: &[&Run]) -> Table {
    let mut table = Table::new("Steps, medians (runs)", ["modulus", "share", "runs", "by heart", "generalises"]);
    for (modulus, share, _) in MAIN {
        let own: Vec<&&Run> = main.iter().filter(|run| run.modulus == modulus).collect();
        let of = |get: fn(&Run) -> Option<f64>| told(&own.iter().filter_map(|run| get(run)).collect::<Vec<_>>());
        table.push([
            modulus.to_string(),
            format!(".{share}"),
            own.len().to_string(),
            of(|run| run.by_heart),
            of(|run| run.generalises),
        ]);
    }
    table
}

fn peaks(main: &[&Run]) -> Table {
    let heads = std::iter::once("modulus".to_owned()).chain(SERIES.map(|(name, _)| name.to_owned()));
    let title = "Steps to the peak over steps to generalise, medians (runs that have both)";
    let mut table = Table::new(title, heads);
    for (modulus, _, _) in MAIN {
        let ratios = |s: usize| -> Vec<f64> {
            let own = main.iter().filter(|run| run.modulus == modulus);
            own.filter_map(|run| Some(run.peaks[s]?.0 / run.generalises?)).collect()
        };
        table.push(std::iter::once(modulus.to_string()).chain((0..SERIES.len()).map(|s| told(&ratios(s)))));
    }
    table
}

fn controls(runs: &[Run]) -> Table {
    let heads = ["control", "runs", "generalised", "by heart"].map(str::to_owned);
    let heads = heads.into_iter().chain(SERIES.map(|(name, _)| format!("peak of {name}")));
    let mut table = Table::new("Controls: runs, and of those that never generalise how many have a peak", heads);
    for kind in CONTROLS {
        let own: Vec<&Run> = runs.iter().filter(|run| run.kind == kind).collect();
        let never: Vec<&&Run> = own.iter().filter(|run| run.generalises.is_none()).collect();
        let by_heart = own.iter().filter(|run| run.by_heart.is_some()).count();
        let counts = [own.len(), own.len() - never.len(), by_heart].map(|n| n.to_string());
        let peaks = (0..SERIES.len()).map(|s| never.iter().filter(|run| run.peaks[s].is_some()).count().to_string());
        table.push(std::iter::once(kind.to_owned()).chain(counts).chain(peaks));
    }
    table
}

fn leads(main: &[&Run], s: usize) -> Plot {
    let name = SERIES[s].0;
    let mut plot = Plot::new(
        format!("{name}: steps to the peak and to generalisation"),
        Axis::log("steps to the peak"),
        Axis::log("steps to generalise"),
    );
    let mut all = Vec::new();
    for (modulus, _, _) in MAIN {
        let own = main.iter().filter(|run| run.modulus == modulus);
        let points: Vec<(f64, f64)> = own.filter_map(|run| Some((run.peaks[s]?.0, run.generalises?))).collect();
        all.extend(points.iter().flat_map(|(x, y)| [*x, *y]));
        plot = plot.series(format!("p = {modulus}"), points, Mark::Points);
    }
    let (low, high) = all.iter().fold((f64::INFINITY, 0.0f64), |(low, high), x| (low.min(*x), high.max(*x)));
    plot.series("at once", vec![(low, low), (high, high)], Mark::Line(Stroke::Dashed))
}

fn heights(main: &[&Run], s: usize) -> Plot {
    let name = SERIES[s].0;
    let points = main.iter().filter_map(|run| Some((run.modulus as f64, run.peaks[s]?.1))).collect();
    Plot::new(format!("{name}: heights of peaks"), Axis::log("modulus"), Axis::log("height")).series(
        "runs",
        points,
        Mark::Points,
    )
}

/// One run of every modulus, and of every control: specific heats over their largest value, and accuracy.
fn plan_plots(plan: &Plan, results: &Results) -> Vec<Plot> {
    let shown = [("main", 31), ("main", 59), ("main", 113), ("noise", 31), ("no decay", 31), ("few", 31)];
    let of = |(kind, modulus): (&str, usize)| {
        let name = format!("{}-{modulus}-0", kind.replace(' ', "-"));
        let rows: Vec<&Row> = results.of(&name).filter(|row| row.is("what", "look")).collect();
        let title = format!("p = {modulus}, {kind}: one run of {}, each over its largest value", plan.seeds);
        let mut plot = Plot::new(title, Axis::log("steps"), Axis::linear(""));
        for (series, name) in [
            ("capacity", "canonical"),
            ("pooled variance", "pooled"),
            ("weight norm", "weights"),
            ("test accuracy", "test accuracy"),
        ] {
            let points: Vec<(f64, f64)> =
                rows.iter().filter_map(|row| Some((row.number("step")?.max(1.0), row.get(series)?))).collect();
            let most = points.iter().map(|(_, y)| *y).fold(f64::MIN_POSITIVE, f64::max);
            let most = if series == "test accuracy" { 1.0 } else { most };
            let points = points.into_iter().map(|(x, y)| (x, y / most)).collect();
            let stroke = if series == "test accuracy" { Stroke::Dashed } else { Stroke::Solid };
            plot = plot.series(name, points, Mark::Line(stroke));
        }
        plot
    };
    shown.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(modulus: usize, seed: usize, peak: Option<f64>, generalises: Option<f64>, kind: &str) -> Run {
        let mut peaks = [None; SERIES.len()];
        peaks[0] = peak.map(|step| (step, 2.0 * (modulus as f64).sqrt()));
        // (A control that says nothing.)
        peaks[4] = Some((100.0 + ((seed * 7 + modulus) % 5) as f64, 1.0));
        Run { kind: kind.to_owned(), modulus, by_heart: Some(90.0 + (seed % 3) as f64), generalises, peaks }
    }

    /// Peaks at half the steps: they precede, by ln 2, predict, grow as √p, and are in half of the controls.
    #[test]
    fn made_up_runs_are_judged_as_they_were_made() {
        let mut all = Vec::new();
        for modulus in [19, 31, 43] {
            for seed in 0..5 {
                let steps = (1000 * modulus) as f64 * (1.0 + 0.1 * seed as f64);
                all.push(run(modulus, seed, Some(0.5 * steps), Some(steps), "main"));
                all.push(run(modulus, seed, (seed % 2 == 0).then_some(500.0), None, "noise"));
            }
        }
        let main: Vec<&Run> = all.iter().filter(|run| run.kind == "main").collect();
        let never: Vec<&Run> = all.iter().filter(|run| run.kind != "main").collect();
        let close =
            |claim: &Claim, expected: f64| assert!((claim.value().unwrap() - expected).abs() < 1e-9, "{claim:?}");
        close(&precedes(&main, 0, "canonical"), 1.0);
        close(&lead(&main, 0, "canonical"), 2f64.ln());
        close(&predicts(&main, 0, "canonical"), 1.0);
        close(&false_alarms(&never, 0, "canonical"), 0.6);
        let power = no_power_law(&main, 0, "canonical").unwrap();
        assert!(power.value().unwrap() < -100.0 && power.qualification().unwrap().starts_with("b = 0.5"));
        let more = more_than_controls(&main, 0, "canonical").unwrap();
        assert!(more.value().unwrap() > 0.1 && more.interval().unwrap().high <= 2.0);
        assert!(lead(&main, 1, "pooled").value().is_none() && precedes(&main, 1, "pooled").value() == Some(0.0));
    }

    #[test]
    fn heights_that_saturate_are_told_from_power_laws() {
        let p: Vec<f64> = [19.0f64, 31.0, 43.0, 59.0, 97.0, 113.0].iter().map(|p| p.ln()).collect();
        let h: Vec<f64> = p.iter().map(|p| (3.0 * p.exp() / (p.exp() + 40.0)).ln()).collect();
        let (residual, p0) = saturating(&p, &h);
        assert!(residual < 1e-4 && (p0 - 40.0).abs() < 2.0, "{residual} {p0}");
    }
}

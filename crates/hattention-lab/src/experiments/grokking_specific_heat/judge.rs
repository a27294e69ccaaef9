//! From peaks to claims, by the protocol.

use std::collections::BTreeMap;

use rand::RngExt;

use super::beside;
use super::chance::{DRAWS, LEVEL, Timed, beyond, correlation, lead, pearson, within};
use super::{CONTROLS, HEATS, MAIN, SERIES};
use crate::claim::{Claim, Threshold, number};
use crate::error::Error;
use crate::experiment::{Judgement, Plan, Results, Table};
use crate::plot::{Axis, Mark, Plot, Stroke};
use crate::rows::Row;
use crate::seeds::{Generator, generator};
use crate::statistics::{Estimate, Interval, line, middle, normal_quantile, quantile, share};

const KIM: &str = "Kim 2026";
const PANDEY: &str = "Pandey 2026";
const DERIVED: &str = "derived (control)";
/// Runs that numbers need, and moduli that heights need.
const ENOUGH: usize = 10;
const MODULI: usize = 4;

/// What was found in a series of a run: steps, and a height.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    pub(super) peak: Option<f64>,
    height: Option<f64>,
    pub(super) announced: Option<f64>,
    pub(super) fastest: Option<f64>,
}

/// A training.
#[derive(Clone, Debug)]
pub(super) struct Run {
    kind: String,
    modulus: usize,
    pub(super) end: f64,
    pub(super) by_heart: Option<f64>,
    pub(super) generalises: Option<f64>,
    pub(super) series: [Found; SERIES.len()],
    /// The share of the other pairs that are right, by steps.
    pub(super) right: Vec<(f64, f64)>,
}

fn runs(results: &Results) -> Vec<Run> {
    let of = |unit: &str, rows: &[Row]| {
        let times = rows.iter().find(|row| row.is("what", "times"))?;
        let found = |name: &str| {
            let row = rows.iter().find(|row| row.is("what", "series") && row.is("series", name));
            let of = |what: &str| row?.get(what);
            Found { peak: of("peak"), height: of("height"), announced: of("announced"), fastest: of("fastest") }
        };
        Some(Run {
            kind: times.word("kind")?.to_owned(),
            modulus: times.count("modulus")?,
            end: times.get("steps")?,
            by_heart: times.get("by heart"),
            generalises: times.get("generalises"),
            series: SERIES.map(|(name, _)| found(name)),
            right: beside::curve(results, unit, "test accuracy"),
        })
    };
    results.units.iter().filter_map(|unit| of(&unit.unit.name, &unit.rows)).collect()
}

pub(super) fn judge(_: &Plan, results: &Results) -> Result<Judgement, Error> {
    let runs = runs(results);
    let main: Vec<&Run> = runs.iter().filter(|run| run.kind == "main").collect();
    let never: Vec<&Run> =
        runs.iter().filter(|run| run.kind != "main" && run.generalises.is_none() && run.by_heart.is_some()).collect();
    let mut claims = Vec::new();
    for (s, (name, _)) in SERIES.iter().enumerate() {
        claims.extend(in_time(&main, s, name));
        claims.extend(against_chance(&main, s, name));
        claims.push(false_alarms(&never, s, name));
        if s < HEATS {
            claims.push(more_than_controls(&main, s, name));
            claims.push(no_power_law(&main, s, name)?);
        }
    }
    let pairs: Vec<(usize, f64, f64)> =
        main.iter().filter_map(|run| Some((run.modulus, run.by_heart?.ln(), run.generalises?.ln()))).collect();
    let claim = Claim::new(
        "predicts-by-heart",
        "steps until pairs are known by heart: correlation with those until it generalises, within moduli",
        DERIVED,
        "unknown",
        Threshold::at_least(0.0),
    );
    claims.push(claim.estimated(fisher(&pairs)));
    let tables = vec![times(&main), peaks(&main), controls(&runs), beside::leads(&main), beside::controls(&main)];
    let mut plots: Vec<Plot> = (0..HEATS).map(|s| leads(&main, s)).collect();
    plots.extend((0..HEATS).map(|s| heights(&main, s)));
    plots.extend(courses(results));
    Ok(Judgement { claims, tables, plots, ..Judgement::default() })
}

fn source(s: usize) -> &'static str {
    match s {
        0 => KIM,
        1 | 2 => PANDEY,
        _ => DERIVED,
    }
}

fn expected(s: usize, text: &'static str) -> &'static str {
    if s < HEATS { text } else { "unknown" }
}

/// Shares of the runs that generalise with a peak before, and with one that is announced before.
fn in_time(main: &[&Run], s: usize, name: &str) -> [Claim; 2] {
    let all: Vec<&&Run> = main.iter().filter(|run| run.generalises.is_some()).collect();
    let of = |get: fn(&Found) -> Option<f64>| {
        let before =
            all.iter().filter(|run| get(&run.series[s]).zip(run.generalises).is_some_and(|(step, g)| step < g));
        (!all.is_empty()).then(|| share(before.count() as u64, all.len() as u64))
    };
    let claim = |id: &str, what: &str| {
        let sentence = format!("{name}: share of the runs that generalise {what}");
        Claim::new(format!("{id}-{name}"), sentence, source(s), expected(s, "1"), Threshold::at_least(0.8))
    };
    [
        claim("precedes", "whose peak is before").estimated(of(|found| found.peak)),
        claim("announced", "in which a peak is announced before").estimated(of(|found| found.announced)),
    ]
}

/// Runs with a time that generalise.
pub(super) fn timed(main: &[&Run], of: &dyn Fn(&Run) -> Option<f64>, to: &dyn Fn(&Run) -> Option<f64>) -> Vec<Timed> {
    let of_run = |run: &&Run| {
        let (peak, generalises) = (of(run)?.ln(), run.generalises?.ln());
        Some(Timed { modulus: run.modulus, peak, generalises, from: run.by_heart?.ln(), to: to(run)?.ln() })
    };
    main.iter().filter_map(of_run).collect()
}

fn against_chance(main: &[&Run], s: usize, name: &str) -> [Claim; 3] {
    let peaks = timed(main, &|run| run.series[s].peak, &|run| Some(run.end));
    let told = |run: &Run| run.series[s].announced.filter(|step| run.generalises.is_some_and(|g| *step < g));
    let announced = timed(main, &told, &|run| run.generalises);
    let of = |runs: &[Timed], id: &str, statistic: fn(&[Timed]) -> Option<f64>| {
        if runs.len() < ENOUGH {
            return (None, format!("{} runs", runs.len()));
        }
        let plain = statistic(runs).map_or("—".to_owned(), number);
        (beyond(runs, &format!("{id}-{name}"), statistic), format!("itself {plain}, {} runs", runs.len()))
    };
    let claim = |id: &str, sentence: &str, expected_of: &'static str, (found, note): (Option<Estimate>, String)| {
        let sentence = format!("{name}: {sentence}, less that of peaks at random");
        let claim =
            Claim::new(format!("{id}-{name}"), sentence, source(s), expected(s, expected_of), Threshold::at_least(0.0));
        claim.estimated(found).note(note)
    };
    let correlations = "correlation with the logarithm of steps to generalise, within moduli";
    [
        claim("leads", "mean of ln(steps to generalise/steps to the peak)", "above 0", of(&peaks, "leads", lead)),
        claim(
            "predicts",
            &format!("the peak's {correlations}"),
            "above 0 (Kim), −.10 (Pandey)",
            of(&peaks, "predicts", correlation),
        ),
        claim(
            "foretells",
            &format!("the announcement's {correlations}"),
            "above 0",
            of(&announced, "foretells", correlation),
        ),
    ]
}

/// The correlation within moduli, with Fisher's interval.
fn fisher(pairs: &[(usize, f64, f64)]) -> Option<Estimate> {
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
    let alarms = never.iter().filter(|run| run.series[s].announced.is_some()).count() as u64;
    Claim::new(
        format!("false-alarms-{name}"),
        format!("{name}: share of the runs known by heart that never generalise in which a peak is announced"),
        if s < HEATS { PANDEY } else { DERIVED },
        expected(s, "0, were it a sign of generalising"),
        Threshold::at_most(0.2),
    )
    .estimated((!never.is_empty()).then(|| share(alarms, never.len() as u64)))
}

/// The correlation of peaks less the largest of the controls', over runs that have the peak.
fn excess(main: &[&Run], s: usize) -> Option<f64> {
    let some: Vec<&Run> = main.iter().copied().filter(|run| run.series[s].peak.is_some()).collect();
    let of = |get: &dyn Fn(&Run) -> Option<f64>| {
        let runs = timed(&some, get, &|run| Some(run.end));
        if runs.len() < ENOUGH { None } else { correlation(&runs) }
    };
    let own = of(&|run| run.series[s].peak)?;
    let controls = (HEATS..SERIES.len()).filter_map(|c| of(&|run| run.series[c].fastest));
    let most = controls.chain(of(&|run| run.by_heart)).reduce(f64::max)?;
    Some(own - most)
}

/// Runs drawn anew within their moduli.
fn drawn<'a>(main: &[&'a Run], random: &mut Generator) -> Vec<&'a Run> {
    let mut groups: BTreeMap<usize, Vec<&Run>> = BTreeMap::new();
    main.iter().for_each(|run| groups.entry(run.modulus).or_default().push(run));
    let of = |run: &&Run| {
        let own = &groups[&run.modulus];
        own[random.random_range(0..own.len())]
    };
    main.iter().map(of).collect()
}

/// The interval of a statistic by drawing runs anew.
pub(super) fn drawn_interval(
    main: &[&Run],
    name: &str,
    statistic: impl Fn(&[&Run]) -> Option<f64>,
) -> Option<Interval> {
    let mut random = generator("grokking-specific-heat", "judge", name, 0);
    let mut found: Vec<f64> = (0..DRAWS).filter_map(|_| statistic(&drawn(main, &mut random))).collect();
    found.sort_by(f64::total_cmp);
    let tail = (1.0 - LEVEL) / 2.0;
    (found.len() > DRAWS / 2).then(|| Interval::new(quantile(&found, tail), quantile(&found, 1.0 - tail), LEVEL))
}

fn more_than_controls(main: &[&Run], s: usize, name: &str) -> Claim {
    let claim = Claim::new(
        format!("more-than-controls-{name}"),
        format!("{name}: the peak's correlation less the largest of the controls'"),
        DERIVED,
        "above 0, were it more than these",
        Threshold::at_least(0.0),
    );
    match excess(main, s) {
        Some(value) => {
            let interval = drawn_interval(main, &format!("excess {name}"), |runs| excess(runs, s));
            claim.measured(value, interval)
        }
        None => claim,
    }
}

/// Logarithms of moduli, and of the geometric means of heights.
fn logarithms(main: &[&Run], s: usize) -> (Vec<f64>, Vec<f64>) {
    let mut groups: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for run in main {
        if let Some(height) = run.series[s].height {
            groups.entry(run.modulus).or_default().push(height.ln());
        }
    }
    let mean = |all: &Vec<f64>| all.iter().sum::<f64>() / all.len() as f64;
    groups.iter().map(|(p, all)| ((*p as f64).ln(), mean(all))).unzip()
}

/// The residual sum about the mean.
fn residual(values: &[f64]) -> f64 {
    let middle = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|x| (x - middle).powi(2)).sum()
}

/// The saturating height's residual sum: `ln h = c − ln(1 + p₀/p)`, and its p₀.
fn saturating(p: &[f64], h: &[f64]) -> (f64, f64) {
    let of = |p0: f64| residual(&p.iter().zip(h).map(|(p, h)| h + (1.0 + p0 / p.exp()).ln()).collect::<Vec<_>>());
    let candidates = (-80..=200).map(|k| 10f64.powf(f64::from(k) / 40.0));
    let pick = |best: (f64, f64), next: (f64, f64)| if next.0 < best.0 { next } else { best };
    candidates.map(|p0| (of(p0), p0)).fold((f64::INFINITY, 0.0), pick)
}

/// Akaike's criterion of the power law less the better of a constant and the saturating height.
fn preference(main: &[&Run], s: usize) -> Option<f64> {
    let (p, h) = logarithms(main, s);
    if p.len() < MODULI {
        return None;
    }
    let n = p.len() as f64;
    let power = line(&p, &h).ok()?;
    let off = residual(&p.iter().zip(&h).map(|(p, h)| h - power.slope.value * p).collect::<Vec<_>>());
    let criterion = |residual: f64, parameters: f64| n * residual.ln() + 2.0 * parameters;
    let other = criterion(residual(&h), 1.0).min(criterion(saturating(&p, &h).0, 2.0));
    let found = criterion(off, 2.0) - other;
    found.is_finite().then_some(found)
}

fn no_power_law(main: &[&Run], s: usize, name: &str) -> Result<Claim, Error> {
    let claim = Claim::new(
        format!("no-power-law-{name}"),
        format!(
            "{name}: Akaike's criterion of heights by modulus, power law less the better of constant and saturating"
        ),
        KIM,
        "above 0",
        Threshold::at_least(0.0),
    );
    let Some(value) = preference(main, s) else { return Ok(claim) };
    let (p, h) = logarithms(main, s);
    let slope = line(&p, &h)?.slope;
    let told = slope.interval.map(|i| format!(" ({} to {})", number(i.low), number(i.high))).unwrap_or_default();
    let interval = drawn_interval(main, &format!("heights {name}"), |runs| preference(runs, s));
    let (_, p0) = saturating(&p, &h);
    Ok(claim.measured(value, interval).note(format!("b = {}{told}, p₀ = {}", number(slope.value), number(p0))))
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
            own.filter_map(|run| Some(run.series[s].peak? / run.generalises?)).collect()
        };
        table.push(std::iter::once(modulus.to_string()).chain((0..SERIES.len()).map(|s| told(&ratios(s)))));
    }
    table
}

fn controls(runs: &[Run]) -> Table {
    let heads = ["control", "runs", "generalised", "by heart"].map(str::to_owned);
    let heads = heads.into_iter().chain(SERIES.map(|(name, _)| name.to_owned()));
    let title = "Controls: runs; of those known by heart that never generalise, how many announce a peak, and have one";
    let mut table = Table::new(title, heads);
    for kind in CONTROLS {
        let own: Vec<&Run> = runs.iter().filter(|run| run.kind == kind).collect();
        let never = || own.iter().filter(|run| run.generalises.is_none() && run.by_heart.is_some());
        let by_heart = own.iter().filter(|run| run.by_heart.is_some()).count();
        let generalised = own.iter().filter(|run| run.generalises.is_some()).count();
        let counts = [own.len(), generalised, by_heart].map(|n| n.to_string());
        let peaks = (0..SERIES.len()).map(|s| {
            let count = |of: fn(&Found) -> Option<f64>| never().filter(|run| of(&run.series[s]).is_some()).count();
            format!("{}, {}", count(|found| found.announced), count(|found| found.peak))
        });
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
        let points: Vec<(f64, f64)> = own.filter_map(|run| Some((run.series[s].peak?, run.generalises?))).collect();
        all.extend(points.iter().flat_map(|(x, y)| [*x, *y]));
        plot = plot.series(format!("p = {modulus}"), points, Mark::Points);
    }
    let (low, high) = all.iter().fold((f64::INFINITY, 0.0f64), |(low, high), x| (low.min(*x), high.max(*x)));
    plot.series("at once", vec![(low, low), (high, high)], Mark::Line(Stroke::Dashed))
}

fn heights(main: &[&Run], s: usize) -> Plot {
    let name = SERIES[s].0;
    let points = main.iter().filter_map(|run| Some((run.modulus as f64, run.series[s].height?))).collect();
    Plot::new(format!("{name}: heights of peaks"), Axis::log("modulus"), Axis::log("height")).series(
        "runs",
        points,
        Mark::Points,
    )
}

/// One run of some moduli, and of every control: specific heats over their largest value, and accuracy.
fn courses(results: &Results) -> Vec<Plot> {
    let shown = [("main", 31), ("main", 59), ("main", 113), ("noise", 31), ("no decay", 31), ("few", 31)];
    let of = |(kind, modulus): (&str, usize)| {
        let name = format!("{}-{modulus}-0", kind.replace(' ', "-"));
        let title = format!("p = {modulus}, {kind}: one run, each over its largest value");
        let mut plot = Plot::new(title, Axis::log("steps"), Axis::linear(""));
        for (series, name_of) in [
            ("capacity", "canonical"),
            ("pooled variance", "pooled"),
            ("weight norm", "weights"),
            ("test accuracy", "test accuracy"),
        ] {
            let curve = beside::curve(results, &name, series);
            let most = curve.iter().map(|(_, y)| *y).fold(f64::MIN_POSITIVE, f64::max);
            let (most, stroke) = if series == "test accuracy" { (1.0, Stroke::Dashed) } else { (most, Stroke::Solid) };
            let points = curve.iter().map(|(x, y)| (x.max(1.0), y / most)).collect();
            plot = plot.series(name_of, points, Mark::Line(stroke));
        }
        plot
    };
    shown.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(modulus: usize, seed: usize, peak: Option<f64>, generalises: Option<f64>, kind: &str) -> Run {
        let mut series = [Found::default(); SERIES.len()];
        let height = Some(2.0 * (modulus as f64).sqrt() * (1.0 + 0.001 * seed as f64));
        series[0] = Found { peak, height: peak.and(height), announced: peak.map(|step| 1.1 * step), fastest: None };
        // (A control that says nothing.)
        series[4].fastest = Some(100.0 + ((seed * 7 + modulus) % 5) as f64);
        let by_heart = Some(90.0 + (seed % 3) as f64);
        Run {
            kind: kind.to_owned(),
            modulus,
            by_heart,
            end: generalises.map_or(1e4, |g| 2.0 * g),
            generalises,
            series,
            right: Vec::new(),
        }
    }

    /// Peaks at half the steps: they precede, lead by ln 2, predict, grow as √p, and are announced in part of the controls.
    #[test]
    fn made_up_runs_are_judged_as_they_were_made() {
        let mut all = Vec::new();
        for modulus in [19, 31, 43, 59] {
            for seed in 0..5 {
                let steps = (100 * modulus) as f64 * (1.0 + 0.1 * seed as f64);
                all.push(run(modulus, seed, Some(0.5 * steps), Some(steps), "main"));
                all.push(run(modulus, seed, (seed % 2 == 0).then_some(500.0), None, "noise"));
            }
        }
        let main: Vec<&Run> = all.iter().filter(|run| run.kind == "main").collect();
        let never: Vec<&Run> = all.iter().filter(|run| run.kind != "main").collect();
        let close =
            |claim: &Claim, expected: f64| assert!((claim.value().unwrap() - expected).abs() < 1e-9, "{claim:?}");
        let [precedes, announced] = in_time(&main, 0, "canonical");
        close(&precedes, 1.0);
        close(&announced, 1.0);
        let [leads, predicts, foretells] = against_chance(&main, 0, "canonical");
        assert!(leads.qualification().unwrap().starts_with("itself 0.6931"), "{leads:?}");
        assert!(predicts.qualification().unwrap().starts_with("itself 1,") && predicts.interval().unwrap().low > 0.0);
        assert!(foretells.interval().unwrap().low > 0.0);
        close(&false_alarms(&never, 0, "canonical"), 0.6);
        let power = no_power_law(&main, 0, "canonical").unwrap();
        assert!(power.value().unwrap() < -10.0 && power.interval().unwrap().high < 0.0, "{power:?}");
        assert!(power.qualification().unwrap().starts_with("b = 0.5"), "{power:?}");
        let more = more_than_controls(&main, 0, "canonical");
        assert!(more.value().unwrap() > 0.1 && more.interval().unwrap().high <= 2.0);
        let [precedes, _] = in_time(&main, 1, "pooled");
        assert_eq!((precedes.value(), against_chance(&main, 1, "pooled")[0].value()), (Some(0.0), None));
        let all = fisher(&[(1, 1.0, 1.0); 12]);
        assert!(all.is_none());
    }

    #[test]
    fn heights_that_saturate_or_stay_are_told_from_power_laws() {
        let p: Vec<f64> = [19.0f64, 31.0, 43.0, 59.0, 97.0, 113.0].iter().map(|p| p.ln()).collect();
        let h: Vec<f64> = p.iter().map(|p| (3.0 * p.exp() / (p.exp() + 40.0)).ln()).collect();
        let (residual, p0) = saturating(&p, &h);
        assert!(residual < 1e-4 && (p0 - 40.0).abs() < 2.0, "{residual} {p0}");
        // Heights that stay, up to noise: the constant is mostly preferred (a slope of six points by chance is not rare).
        let constant = (0..60)
            .filter(|draw| {
                let mut random = generator("test", "heights", "", *draw);
                let flat: Vec<Run> = (0..30)
                    .map(|k| {
                        let mut run = run([19, 31, 43, 59, 97, 113][k % 6], k, Some(1.0), None, "main");
                        run.series[0].height = Some(1.0 + 0.1 * random.random::<f64>());
                        run
                    })
                    .collect();
                preference(&flat.iter().collect::<Vec<&Run>>(), 0).unwrap() > 0.0
            })
            .count();
        assert!((36..60).contains(&constant), "{constant}");
    }
}

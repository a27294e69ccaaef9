//! The claims and their thresholds.

use std::collections::BTreeMap;

use super::continuous::promised;
use super::judge::{Curve, Sphere};
use crate::claim::{Claim, Threshold, number};
use crate::error::Error;
use crate::experiment::Results;
use crate::statistics::{Dose, Estimate, crossing, line, mean, worst};

/// The failure probability for which the theorem on spheres is compared: success is 95 %.
pub const FAILURE: f64 = 0.05;
/// Distance from a published exponent that is partly right.
const NEAR_EXPONENT: f64 = 0.25;
/// The widest interval of a slope that is judged: the distance to the neighbouring degree, halved.
const WIDEST: f64 = 0.5;
/// Distance from a predicted slope over ln N, and share of a predicted rate, that are partly right.
const NEAR_SLOPE: f64 = 0.05;
const NEAR_RATE: f64 = 0.1;
/// Measured over predicted capacity.
const SCALE: (f64, f64) = (0.9, 1.1);
const NEAR_SCALE: (f64, f64) = (0.75, 1.33);

/// The published capacity: `N^(n−1)/(2(2n−3)!! ln N)`; for the exponential score the rate's lower bound, `exp(αN)`.
pub fn published(score: &str, neurons: usize, corruption: f64) -> Option<f64> {
    let n = neurons as f64;
    let degree = match score {
        "exponential" => return Some((rate(corruption) * n).exp()),
        _ if corruption > 0.0 => return None,
        "linear" | "polynomial-2" => 2,
        "polynomial-3" => 3,
        _ => 4,
    };
    let double_factorial: f64 = (1..=2 * degree - 3).step_by(2).map(f64::from).product();
    Some(n.powi(degree - 1) / (2.0 * double_factorial * n.ln()))
}

/// `I(1−2ρ)/2`, `I(a) = ½[(1+a) ln(1+a) + (1−a) ln(1−a)]`.
fn rate(corruption: f64) -> f64 {
    let a = 1.0 - 2.0 * corruption;
    let part = |x: f64| if x == 0.0 { 0.0 } else { x * x.ln() };
    0.25 * (part(1.0 + a) + part(1.0 - a))
}

/// All claims.
pub fn all(curves: &[Curve], spheres: &[Sphere], results: &Results) -> Result<Vec<Claim>, Error> {
    let mut claims = Vec::new();
    for curve in curves {
        match curve.score {
            "exponential" => claims.extend(exponential(curve)),
            _ => claims.extend(power(curve)),
        }
    }
    claims.push(rest(curves));
    claims.push(few_errors(results));
    claims.extend(softmax(spheres, results));
    claims.extend(of_whitened(results));
    Ok(claims)
}

/// The slope of a line; nothing for fewer than three points.
fn slope(points: &[(f64, f64)]) -> Option<Estimate> {
    let (x, y): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
    if points.len() < 3 { None } else { line(&x, &y).ok().map(|line| line.slope) }
}

fn with_slope(claim: Claim, slope: Option<Estimate>) -> Claim {
    claim.measured(slope.map(|s| s.value), slope.and_then(|s| s.interval))
}

/// Measured over predicted, in the geometric mean over N.
fn scale(curve: &Curve, id: String, words: &str) -> Claim {
    let ratios: Vec<f64> = curve.capacities.iter().filter_map(|c| Some(c.step?.value - c.predicted)).collect();
    let found = (!ratios.is_empty()).then(|| mean(&ratios));
    let claim = Claim::new(
        id,
        format!("{words}: K* after one step over the prediction for finite N"),
        "independent noise (this experiment's head)",
        "1",
        Threshold::within(SCALE.0, SCALE.1).partly_within(NEAR_SCALE.0, NEAR_SCALE.1),
    );
    claim.measured(found.map(|f| f.value.exp()), found.and_then(|f| f.interval).map(|i| i.map(f64::exp)))
}

fn words(curve: &Curve) -> String {
    let name = match curve.score.strip_prefix("polynomial-") {
        Some(degree) => format!("polynomial score of degree {degree}"),
        None => format!("{} score", curve.score),
    };
    format!("{name}, ρ = {}", curve.corruption)
}

fn power(curve: &Curve) -> Vec<Claim> {
    let words = words(curve);
    let id = |what: &str| format!("{}-{}-{what}", curve.score, curve.corruption);
    let mut claims = Vec::new();
    let degree: f64 = curve.score.strip_prefix("polynomial-").and_then(|d| d.parse().ok()).unwrap_or(2.0);
    let exponent = degree - 1.0;
    if curve.corruption == 0.0 {
        for (what, quantity, corrected) in [("exponent", "ln(K* ln N)", true), ("exponent-plain", "ln K*", false)] {
            let place = |ln_k: f64, n: f64| (n.ln(), if corrected { ln_k + n.ln().ln() } else { ln_k });
            let measured: Vec<(f64, f64)> = curve.measured().iter().map(|(n, e)| place(e.value, *n)).collect();
            let predicted: Vec<(f64, f64)> =
                curve.capacities.iter().map(|c| place(c.predicted, c.neurons as f64)).collect();
            let (found, finite) = (slope(&measured), slope(&predicted));
            let threshold = Threshold::covers(exponent)
                .partly_within(exponent - NEAR_EXPONENT, exponent + NEAR_EXPONENT)
                .widest(WIDEST);
            let sentence = format!("{words}: slope of {quantity} over ln N");
            let source = "Hopfield 1982; Krotov & Hopfield 2016, equation 7";
            claims.push(with_slope(Claim::new(id(what), &sentence, source, number(exponent), threshold), found));
            if corrected {
                claims.push(finite_size(id("exponent-finite-size"), sentence, found, finite, NEAR_SLOPE, WIDEST));
            }
        }
    }
    claims.push(scale(curve, id("scale"), &words));
    claims
}

/// Whether the slope predicted for finite N lies in the measured interval.
fn finite_size(
    id: String,
    sentence: String,
    found: Option<Estimate>,
    finite: Option<Estimate>,
    near: f64,
    widest: f64,
) -> Claim {
    let value = finite.map_or(f64::NAN, |s| s.value);
    let threshold = Threshold::covers(value).partly_within(value - near, value + near).widest(widest);
    let source = "independent noise (this experiment's head)";
    let claim = Claim::new(id, format!("{sentence}, as finite size predicts"), source, number(value), threshold);
    if value.is_nan() { claim } else { with_slope(claim, found) }
}

fn exponential(curve: &Curve) -> Vec<Claim> {
    let words = words(curve);
    let id = |what: &str| format!("{}-{}-{what}", curve.score, curve.corruption);
    let measured: Vec<(f64, f64)> = curve.measured().iter().map(|(n, e)| (*n, e.value)).collect();
    let predicted: Vec<(f64, f64)> = curve.capacities.iter().map(|c| (c.neurons as f64, c.predicted)).collect();
    let (found, finite) = (slope(&measured), slope(&predicted));
    let bound = rate(curve.corruption);
    let sentence = format!("{words}: slope of ln K* over N");
    let expected = format!("at least {}", number(bound));
    let source = "Demircigil et al. 2017, theorem 3";
    let mut claims =
        vec![with_slope(Claim::new(id("rate"), &sentence, source, expected, Threshold::at_least(bound)), found)];
    let near = NEAR_RATE * finite.map_or(0.0, |s| s.value);
    claims.push(finite_size(id("rate-finite-size"), sentence, found, finite, near, WIDEST * bound));
    claims.push(scale(curve, id("scale"), &words));
    if curve.corruption == 0.0 {
        // The ratio that is farthest from the middle of the published range decides.
        let ratios = measured.iter().map(|(n, ln_k)| ln_k / n);
        let extreme = ratios.max_by(|a, b| (a - 0.46).abs().total_cmp(&(b - 0.46).abs()));
        let sentence = format!("{words}: ln K*/N at every N (the most extreme is shown)");
        let claim = Claim::new(id("small"), sentence, "small N", "0.35 to 0.57", Threshold::within(0.35, 0.57));
        let each = measured.iter().map(|(n, ln_k)| format!("N = {n}: {}", number(ln_k / n)));
        claims.push(claim.measured(extreme, None).note(each.collect::<Vec<_>>().join("; ")));
    }
    claims
}

/// At rest no fewer patterns are recovered than after one step.
fn rest(curves: &[Curve]) -> Claim {
    let gains: Vec<f64> = curves
        .iter()
        .filter(|curve| curve.corruption > 0.0)
        .flat_map(|curve| &curve.capacities)
        .filter_map(|c| Some(c.rest?.value - c.step?.value))
        .collect();
    let found = (!gains.is_empty()).then(|| mean(&gains));
    let claim = Claim::new(
        "rest-beats-a-step",
        "Damaged probes: K* at rest over K* after one step, in the geometric mean over scores, ρ and N",
        "asynchronous recall repairs what one step leaves",
        "above 1",
        Threshold::at_least(1.0),
    );
    claim.measured(found.map(|f| f.value.exp()), found.and_then(|f| f.interval).map(|i| i.map(f64::exp)))
}

/// Shares of patterns still there by load, for every N.
pub fn loads(results: &Results) -> BTreeMap<usize, Vec<Dose>> {
    let mut loads: BTreeMap<usize, Vec<Dose>> = BTreeMap::new();
    for row in results.rows().filter(|row| row.is("measure", "few errors")) {
        let dose = || {
            let at = row.number("K")? / row.number("N")?;
            Some(Dose { at, successes: row.get("still there")?, trials: row.get("probes")? })
        };
        if let (Some(n), Some(dose)) = (row.count("N"), dose()) {
            loads.entry(n).or_default().push(dose);
        }
    }
    loads
}

fn few_errors(results: &Results) -> Claim {
    let loads = loads(results);
    let largest = loads.last_key_value();
    let found = largest.and_then(|(_, doses)| crossing(doses, 0.5).ok());
    let at = largest.map_or("the largest N".to_owned(), |(n, _)| format!("N = {n}"));
    let claim = Claim::new(
        "few-errors",
        format!("Hopfield's network started at a pattern: the load K/N at which half stay, {at}"),
        "Amit, Gutfreund & Sompolinsky 1985",
        "0.138",
        Threshold::within(0.128, 0.148).partly_within(0.118, 0.158),
    );
    // The published load is that of infinite N: by how much these still fall says how far it is.
    let halves = loads.iter().map(|(n, doses)| {
        format!("N = {n}: {}", crossing(doses, 0.5).map_or("beyond the loads measured".to_owned(), |e| number(e.value)))
    });
    let note = format!("loads at which half stay: {}", halves.collect::<Vec<_>>().join("; "));
    claim.measured(found.map(|f| f.value), found.and_then(|f| f.interval)).note(note)
}

fn softmax(spheres: &[Sphere], results: &Results) -> Vec<Claim> {
    let mut claims = Vec::new();
    for sphere in spheres {
        let points: Vec<(f64, f64)> =
            sphere.capacities.iter().filter_map(|(d, step, _)| Some((*d as f64, (*step)?.value))).collect();
        let dimensions = points.iter().map(|p| p.0 as usize);
        let promised: Vec<(f64, f64)> =
            dimensions.map(|d| (d as f64, promised(d, sphere.beta, FAILURE).ln())).filter(|p| !p.1.is_nan()).collect();
        let threshold = Threshold::at_least(0.0);
        let claim = Claim::new(
            format!("softmax-{}-grows", sphere.beta),
            format!("Softmax memory, β = {}: slope of ln K* over the dimension is positive", sphere.beta),
            "Ramsauer et al. 2020, theorem 3",
            "above 0",
            threshold,
        );
        claims.push(with_slope(claim, slope(&points)));
        let least = promised
            .iter()
            .filter_map(|(d, ln)| points.iter().find(|p| p.0 == *d).map(|p| (p.1 - ln).exp()))
            .reduce(f64::min);
        let claim = Claim::new(
            format!("softmax-{}-promised", sphere.beta),
            format!("Softmax memory, β = {}: the smallest K* over √p c^((d−1)/4), p = {FAILURE}", sphere.beta),
            "Ramsauer et al. 2020, theorem 3",
            "at least 1",
            Threshold::at_least(1.0),
        );
        let claim = claim.measured(least, None);
        let note = format!("the theorem's condition holds at {} of the dimensions measured", promised.len());
        claims.push(claim.note(note));
    }
    let rows = || results.rows().filter(|row| row.is("measure", "softmax"));
    let largest = worst(rows().filter_map(|row| row.get("largest error over bound")));
    let sum = |name: &str| rows().filter_map(|row| row.get(name)).sum::<f64>();
    let (telling, probes) = (sum("probes with a telling bound"), sum("probes"));
    let claim = Claim::new(
        "softmax-bound",
        "Softmax memory: the largest one-step error over its bound",
        "Ramsauer et al. 2020, theorem 4",
        "at most 1",
        Threshold::at_most(1.0),
    );
    claims.push(claim.measured(largest, None).note(format!(
        "of {probes} probes the bound was smaller than the ball they started in at {telling}; elsewhere it says nothing"
    )));
    claims
}

/// Shares recovered by K/N.
pub fn whitened(results: &Results, common: f64, corruption: f64, quantity: &str) -> Vec<(f64, f64)> {
    let of = |row: &crate::rows::Row| {
        let here = row.is("measure", "whitened")
            && row.number("common") == Some(common)
            && row.number("corruption") == Some(corruption);
        here.then(|| Some((row.number("K")? / row.number("N")?, row.get(quantity)? / row.get("probes")?))).flatten()
    };
    results.rows().filter_map(of).collect()
}

fn of_whitened(results: &Results) -> Vec<Claim> {
    let source = "Personnaz, Guyon & Dreyfus 1985; theory of keys";
    let step = "recovered after a step";
    let mut claims = Vec::new();
    for (common, kind) in [(0.0, "independent"), (0.6, "correlated")] {
        let shares = |corruption: f64, quantity: &str| whitened(results, common, corruption, quantity);
        let least = shares(0.0, step).into_iter().map(|p| p.1).reduce(f64::min);
        let claim = Claim::new(
            format!("whitened-{kind}-fixed"),
            format!("Whitened memory, {kind} patterns: the smallest share of fixed points at any K < N"),
            source,
            "1",
            Threshold::at_least(1.0),
        );
        claims.push(claim.measured(least, None));
        let ends = shares(0.1, step);
        let (first, last) = (ends.first().map(|p| p.1), ends.last().map(|p| p.1));
        let claim = Claim::new(
            format!("whitened-{kind}-basin"),
            format!("Whitened memory, {kind} patterns, ρ = 0.1: share recovered after one step at the largest K"),
            source,
            "0",
            Threshold::at_most(0.05),
        );
        let note = first.map_or(String::new(), |f| format!("at the smallest K it is {}", number(f)));
        claims.push(claim.measured(last, None).note(note));
    }
    let most = whitened(results, 0.6, 0.0, "recovered by the linear memory");
    let claim = Claim::new(
        "linear-loses-correlated",
        "Linear memory, correlated patterns: the largest share of fixed points at K/N of 0.1 or more",
        "theory of keys: overlaps mix what is correlated",
        "near 0",
        Threshold::at_most(0.05),
    );
    let found = most.into_iter().filter(|p| p.0 >= 0.1).map(|p| p.1).reduce(f64::max);
    claims.push(claim.measured(found, None));
    claims
}

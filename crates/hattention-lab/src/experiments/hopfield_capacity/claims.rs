//! The claims and their thresholds.

use super::judge::{Capacity, Curve};
use super::spheres::{self, Sphere};
use super::transition::{self, Half};
use crate::claim::{Claim, Threshold, number};
use crate::crossing::{Dose, crossing};
use crate::error::Error;
use crate::experiment::Results;
use crate::rows::Row;
use crate::statistics::{Estimate, Interval, line, mean};

/// The failure probability for which the theorem on spheres is compared: success is 95 %.
pub const FAILURE: f64 = 0.05;
/// Distance from a published exponent that is partly right.
const NEAR_EXPONENT: f64 = 0.25;
/// The widest interval of a slope that is judged: the distance to the neighbouring degree, halved.
const WIDEST: f64 = 0.5;
/// Distance from a predicted slope over ln N, and share of a predicted rate, that are partly right.
const NEAR_SLOPE: f64 = 0.05;
const NEAR_RATE: f64 = 0.1;
/// Distance of ln K*/N from the prediction: a tenth of the published range, and a quarter.
const NEAR_RATIO: f64 = 0.02;
const PARTLY_RATIO: f64 = 0.05;
/// Shares of patterns that count as none.
const FEW: f64 = 0.05;
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

const FINITE: &str = "law of finite N (this experiment's head)";

/// All claims.
pub fn all(curves: &[Curve], spheres: &[Sphere], halves: &[Half], results: &Results) -> Result<Vec<Claim>, Error> {
    let mut claims = Vec::new();
    for curve in curves {
        match curve.score {
            "exponential" => claims.extend(exponential(curve)),
            _ => claims.extend(power(curve)),
        }
    }
    claims.push(rest(curves));
    claims.extend(transition::claims(halves));
    claims.extend(spheres::claims(spheres, results));
    claims.extend(of_whitened(results));
    Ok(claims)
}

/// Where success crosses the half, over ln K.
pub fn half(rows: &[&Row], successes: &str) -> Option<Estimate> {
    let dose =
        |row: &&Row| Some(Dose { at: row.number("K")?.ln(), successes: row.get(successes)?, trials: row.get("sets")? });
    crossing(&rows.iter().filter_map(dose).collect::<Vec<_>>(), 0.5).ok()
}

/// The slope of a line; nothing for fewer than three points.
pub fn slope(points: &[(f64, f64)]) -> Option<Estimate> {
    let (x, y): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
    if points.len() < 3 { None } else { line(&x, &y).ok().map(|line| line.slope) }
}

pub fn with_slope(claim: Claim, slope: Option<Estimate>) -> Claim {
    claim.measured(slope.map(|s| s.value), slope.and_then(|s| s.interval))
}

/// Measured over predicted, in the geometric mean over N.
fn scale(curve: &Curve, id: String, words: &str) -> Claim {
    let over = |predicted: fn(&Capacity) -> Option<f64>| {
        let ratios: Vec<f64> = curve.capacities.iter().filter_map(|c| Some(c.step?.value - predicted(c)?)).collect();
        (!ratios.is_empty()).then(|| mean(&ratios))
    };
    let found = over(|c| c.predicted);
    let alone = over(|c| Some(c.independent)).map_or(f64::NAN, |m| m.value.exp());
    let claim = Claim::new(
        id,
        format!("{words}: K* after one step over the prediction for finite N"),
        FINITE,
        "1",
        Threshold::within(SCALE.0, SCALE.1).partly_within(NEAR_SCALE.0, NEAR_SCALE.1),
    );
    claim
        .measured(found.map(|f| f.value.exp()), found.and_then(|f| f.interval).map(|i| i.map(f64::exp)))
        .note(format!("over the capacity of neurons that err independently: {}", number(alone)))
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
        let source = "Hopfield 1982; Krotov & Hopfield 2016, equation 7";
        let threshold = Threshold::covers(exponent)
            .partly_within(exponent - NEAR_EXPONENT, exponent + NEAR_EXPONENT)
            .widest(WIDEST);
        let corrected = |n: f64, ln_k: f64| (n.ln(), ln_k + n.ln().ln());
        let points = |of: fn(&Capacity) -> Option<f64>, place: &dyn Fn(f64, f64) -> (f64, f64)| -> Vec<(f64, f64)> {
            curve.capacities.iter().filter_map(|c| Some(place(c.neurons as f64, of(c)?))).collect()
        };
        let step: fn(&Capacity) -> Option<f64> = |c| Some(c.step?.value);
        let sentence = format!("{words}: slope of ln(K* ln N) over ln N");
        for (what, sentence, points) in [
            ("exponent", sentence.clone(), points(step, &corrected)),
            ("exponent-plain", format!("{words}: slope of ln K* over ln N"), points(step, &|n, ln_k| (n.ln(), ln_k))),
            (
                "exponent-rest",
                format!("{words}: slope of ln(K* ln N) over ln N, at rest"),
                points(|c| Some(c.rest?.value), &corrected),
            ),
        ] {
            let claim = Claim::new(id(what), sentence, source, number(exponent), threshold);
            claims.push(with_slope(claim, slope(&points)));
        }
        claims.push(finite_size(id("exponent-finite-size"), sentence, curve, &corrected, NearSlope::Absolute));
    }
    claims.push(scale(curve, id("scale"), &words));
    claims
}

/// How near the predicted slope is partly right.
enum NearSlope {
    Absolute,
    Relative,
}

/// Whether the slope predicted for finite N lies in the measured interval.
///
/// What both share, as the curvature of ln K* over N, is no error of either: the measured slope is the predicted one and the
/// slope of their difference, whose interval it has.
fn finite_size(
    id: String,
    sentence: String,
    curve: &Curve,
    place: &dyn Fn(f64, f64) -> (f64, f64),
    near: NearSlope,
) -> Claim {
    let known: Vec<(f64, f64, f64)> =
        curve.capacities.iter().filter_map(|c| Some((c.neurons as f64, c.step?.value, c.predicted?))).collect();
    let predicted: Vec<(f64, f64)> = known.iter().map(|(n, _, p)| place(*n, *p)).collect();
    let apart: Vec<(f64, f64)> = known.iter().map(|(n, m, p)| (place(*n, *m).0, m - p)).collect();
    let value = slope(&predicted).map_or(f64::NAN, |s| s.value);
    let (near, widest) = match near {
        NearSlope::Absolute => (NEAR_SLOPE, WIDEST),
        NearSlope::Relative => (NEAR_RATE * value, WIDEST * rate(curve.corruption)),
    };
    let threshold = Threshold::covers(value).partly_within(value - near, value + near).widest(widest);
    let claim = Claim::new(id, format!("{sentence}, as finite size predicts"), FINITE, number(value), threshold);
    let shift = |e: Estimate| Estimate {
        value: e.value + value,
        interval: e.interval.map(|i| Interval::new(i.low + value, i.high + value, i.level)),
    };
    if value.is_nan() { claim } else { with_slope(claim, slope(&apart).map(shift)) }
}

fn exponential(curve: &Curve) -> Vec<Claim> {
    let words = words(curve);
    let id = |what: &str| format!("{}-{}-{what}", curve.score, curve.corruption);
    let points = |of: fn(&Capacity) -> Option<f64>| -> Vec<(f64, f64)> {
        curve.capacities.iter().filter_map(|c| Some((c.neurons as f64, of(c)?))).collect()
    };
    let measured = points(|c| Some(c.step?.value));
    let bound = rate(curve.corruption);
    let sentence = format!("{words}: slope of ln K* over N");
    let expected = format!("at least {}", number(bound));
    let source = "Demircigil et al. 2017, theorem 3";
    let of_rate = |what: &str, sentence: &str, points: &[(f64, f64)]| {
        with_slope(Claim::new(id(what), sentence, source, &expected, Threshold::at_least(bound)), slope(points))
    };
    let rest = points(|c| Some(c.rest?.value));
    let mut claims = vec![
        of_rate("rate", &sentence, &measured),
        of_rate("rate-rest", &format!("{sentence}, at rest"), &rest),
        finite_size(id("rate-finite-size"), sentence, curve, &|n, ln_k| (n, ln_k), NearSlope::Relative),
        scale(curve, id("scale"), &words),
    ];
    if curve.corruption == 0.0 {
        claims.extend(small(curve, &words, &id, &measured));
    }
    claims
}

/// ln K*/N at small N: against the published range, and against the prediction.
fn small(curve: &Curve, words: &str, id: &dyn Fn(&str) -> String, measured: &[(f64, f64)]) -> [Claim; 2] {
    // The ratio that is farthest from the middle of the published range decides.
    let ratios = measured.iter().map(|(n, ln_k)| ln_k / n);
    let extreme = ratios.max_by(|a, b| (a - 0.46).abs().total_cmp(&(b - 0.46).abs()));
    let sentence = format!("{words}: ln K*/N at every N (the most extreme is shown)");
    let claim = Claim::new(id("small"), sentence, "small N", "0.35 to 0.57", Threshold::within(0.35, 0.57));
    let each = measured.iter().map(|(n, ln_k)| format!("N = {n}: {}", number(ln_k / n))).collect::<Vec<_>>().join("; ");
    let of = |c: &Capacity| Some((c.neurons as f64, c.step?, c.predicted?));
    let known: Vec<(f64, Estimate, f64)> = curve.capacities.iter().filter_map(of).collect();
    let farthest = known.iter().map(|(n, step, predicted)| {
        let interval = step.interval.map(|i| {
            let (a, b) = ((i.low - predicted).abs() / n, (i.high - predicted).abs() / n);
            let least = if i.covers(*predicted) { 0.0 } else { a.min(b) };
            Interval::new(least, a.max(b), i.level)
        });
        ((step.value - predicted).abs() / n, interval)
    });
    let farthest = farthest.max_by(|a, b| a.0.total_cmp(&b.0));
    let listed = known.iter().map(|(n, _, predicted)| format!("N = {n}: {}", number(predicted / n)));
    let explained = Claim::new(
        id("small-finite-size"),
        format!("{words}: the largest distance of ln K*/N from what finite size predicts, over all N"),
        FINITE,
        "near 0",
        Threshold::at_most(NEAR_RATIO).partly_at_most(PARTLY_RATIO),
    )
    .measured(farthest.map(|f| f.0), farthest.and_then(|f| f.1))
    .note(format!("predicted: {}", listed.collect::<Vec<_>>().join("; ")));
    [claim.measured(extreme, None).note(each), explained]
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
            Threshold::at_most(FEW),
        );
        let half =
            ends.iter().find(|p| p.1 < 0.5).map_or("never".to_owned(), |p| format!("from K/N = {}", number(p.0)));
        let note =
            first.map_or(String::new(), |f| format!("at the smallest K it is {}; below a half {half}", number(f)));
        claims.push(claim.measured(last, None).note(note));
    }
    let most = whitened(results, 0.6, 0.0, "recovered by the linear memory");
    let claim = Claim::new(
        "linear-loses-correlated",
        "Linear memory, correlated patterns: the largest share of fixed points at K/N of 0.1 or more",
        "theory of keys: overlaps mix what is correlated",
        "near 0",
        Threshold::at_most(FEW),
    );
    let found = most.into_iter().filter(|p| p.0 >= 0.1).map(|p| p.1).reduce(f64::max);
    claims.push(claim.measured(found, None));
    claims
}

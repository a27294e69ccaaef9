//! From races to claims, tables and plots.

use super::{Arm, CONDITIONS, Family, KERNELS, cost_unit};
use crate::claim::{Claim, Threshold, number};
use crate::error::Error;
use crate::experiment::{Judgement, Plan, Results, Table};
use crate::particles::Scheme;
use crate::plot::{Axis, Mark, Plot, Stroke};
use crate::rows::Row;
use crate::seeds::generator;
use crate::statistics::{Estimate, bootstrap, line, middle};

const PAPER: &str = "Stein, Li & Steidl 2026";
const DERIVED: &str = "derived";
const NESTEROV: Arm = Arm { scheme: Scheme::KickDrift, damping: Family::Nesterov };
/// Those whose energy is quadratic about its minimum.
const ROUND: [&str; 2] = ["sphere", "normed"];
/// The condition at which time is told, and whose curves are drawn.
const SHOWN: usize = 100;

pub(super) fn judge(_: &Plan, results: &Results) -> Result<Judgement, Error> {
    let mut claims = Vec::new();
    for kernel in KERNELS {
        claims.extend(CONDITIONS.map(|condition| faster(results, kernel, condition)));
    }
    for kernel in KERNELS.into_iter().filter(|kernel| Arm::of(kernel).contains(&NESTEROV)) {
        claims.extend(CONDITIONS.map(|condition| nesterov(results, kernel, condition)));
    }
    claims.extend(ROUND.map(|kernel| growth(results, kernel)));
    claims.extend(KERNELS.map(|kernel| time(results, kernel)));
    let tables = KERNELS.map(|kernel| calls(results, kernel)).to_vec();
    let plots = [factors(results)].into_iter().chain(KERNELS.map(|kernel| curves(results, kernel))).collect();
    Ok(Judgement { claims, tables, plots, ..Judgement::default() })
}

fn of<'a>(
    results: &'a Results,
    kind: &'a str,
    kernel: &'a str,
    condition: usize,
    arm: Arm,
) -> impl Iterator<Item = &'a Row> {
    results.rows().filter(move |row| {
        row.is("kind", kind)
            && row.is("kernel", kernel)
            && row.is("condition", condition)
            && row.is("scheme", arm.scheme.word())
            && row.is("damping", arm.damping.word())
    })
}

/// The arm with momenta that needs the fewest calls from the starts for tuning.
fn accelerated(results: &Results, kernel: &str, condition: usize) -> Option<Arm> {
    let tuned = |arm: Arm| of(results, "tuned", kernel, condition, arm).find_map(|row| row.get("calls"));
    let moving = Arm::of(kernel).into_iter().filter(|arm| *arm != Arm::PLAIN);
    let found = moving.filter_map(|arm| Some((arm, tuned(arm)?)));
    found.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(arm, _)| arm)
}

fn values(results: &Results, kernel: &str, condition: usize, arm: Arm, name: &str) -> Vec<f64> {
    of(results, "race", kernel, condition, arm).filter_map(|row| row.get(name)).collect()
}

/// Calls of plain attention over those of an arm, start by start; starts from which neither arrives do not count.
fn ratios(results: &Results, kernel: &str, condition: usize, arm: Arm, name: &str) -> Vec<f64> {
    let plain = values(results, kernel, condition, Arm::PLAIN, name);
    let moved = values(results, kernel, condition, arm, name);
    plain.iter().zip(&moved).map(|(p, m)| p / m).filter(|ratio| !ratio.is_nan()).collect()
}

fn factor(results: &Results, kernel: &str, condition: usize, arm: Arm) -> Option<Estimate> {
    let mut tuned = of(results, "tuned", kernel, condition, arm).filter_map(|row| row.get("calls"));
    if tuned.next()?.is_infinite() {
        return Some(Estimate { value: 0.0, interval: None });
    }
    let ratios = ratios(results, kernel, condition, arm, "calls");
    let name = format!("{kernel} {condition} {} {}", arm.scheme.word(), arm.damping.word());
    bootstrap(&ratios, 2000, &mut generator("symp-convergence", "judge", &name, 0), middle).ok()
}

fn arrived(results: &Results, kernel: &str, condition: usize, arm: Arm) -> String {
    let calls = values(results, kernel, condition, arm, "calls");
    format!("{} of {}", calls.iter().filter(|calls| calls.is_finite()).count(), calls.len())
}

fn faster(results: &Results, kernel: &str, condition: usize) -> Claim {
    let claim = Claim::new(
        format!("faster-{kernel}-{condition}"),
        format!("{kernel}, κ = {condition}: calls of plain attention over those of the accelerated"),
        PAPER,
        "above 1",
        Threshold::at_least(1.0),
    );
    let Some(arm) = accelerated(results, kernel, condition) else { return claim };
    let first = middle(&ratios(results, kernel, condition, arm, "first"));
    let earlier = middle(&ratios(results, kernel, condition, arm, "earlier"));
    let note = format!(
        "{}, damping {}; {} by the energy alone, {} to ten times the gap; {} arrive",
        arm.scheme.word(),
        arm.damping.word(),
        number(first),
        number(earlier),
        arrived(results, kernel, condition, arm)
    );
    claim.estimated(factor(results, kernel, condition, arm)).note(note)
}

fn nesterov(results: &Results, kernel: &str, condition: usize) -> Claim {
    let claim = Claim::new(
        format!("nesterov-{kernel}-{condition}"),
        format!("{kernel}, κ = {condition}: calls of plain attention over those of kick–drift with 3/t"),
        PAPER,
        "above 1",
        Threshold::at_least(1.0),
    );
    let claim = claim.estimated(factor(results, kernel, condition, NESTEROV));
    if claim.value().is_none() { claim } else { claim.note(arrived(results, kernel, condition, NESTEROV) + " arrive") }
}

fn growth(results: &Results, kernel: &str) -> Claim {
    let points = CONDITIONS.into_iter().filter(|condition| *condition > 1).filter_map(|condition| {
        let found = factor(results, kernel, condition, accelerated(results, kernel, condition)?)?;
        Some(((condition as f64).ln(), found.value.ln()))
    });
    let (x, y): (Vec<f64>, Vec<f64>) = points.unzip();
    Claim::new(
        format!("growth-{kernel}"),
        format!("{kernel}: the factor grows as κ to this power"),
        DERIVED,
        "½",
        Threshold::within(0.35, 0.65),
    )
    .estimated(if x.len() > 2 { line(&x, &y).ok().map(|line| line.slope) } else { None })
}

/// What a call costs, over one of plain attention.
fn price(results: &Results, kernel: &str, scheme: Scheme) -> Option<f64> {
    let of = |scheme: Scheme| {
        let name = cost_unit(kernel, scheme);
        let unit = results.units.iter().find(|unit| unit.unit.name == name)?;
        Some(unit.seconds / unit.rows.first()?.get("calls")?)
    };
    Some(of(scheme)? / of(Scheme::Plain)?)
}

fn time(results: &Results, kernel: &str) -> Claim {
    let claim = Claim::new(
        format!("time-{kernel}"),
        format!("{kernel}, κ = {SHOWN}: time of plain attention over that of the accelerated, 256 tokens"),
        DERIVED,
        "above 1",
        Threshold::at_least(1.0),
    );
    let found = || {
        let arm = accelerated(results, kernel, SHOWN)?;
        Some((factor(results, kernel, SHOWN, arm)?, price(results, kernel, arm.scheme)?))
    };
    let Some((factor, price)) = found() else { return claim };
    let over = |x: f64| x / price;
    let estimate = Estimate { value: over(factor.value), interval: factor.interval.map(|i| i.map(over)) };
    claim.estimated(Some(estimate)).note(format!("a call costs {} of a plain one", number(price)))
}

fn calls(results: &Results, kernel: &str) -> Table {
    let heads = ["scheme".to_owned(), "damping".to_owned()];
    let heads = heads.into_iter().chain(CONDITIONS.map(|condition| format!("κ = {condition}")));
    let mut table = Table::new(format!("{kernel}: calls, medians over starts (starts that arrive, if not all)"), heads);
    for arm in Arm::of(kernel) {
        let cells = CONDITIONS.map(|condition| {
            let calls = values(results, kernel, condition, arm, "calls");
            let all = calls.iter().all(|calls| calls.is_finite());
            match () {
                () if calls.is_empty() => "—".to_owned(),
                () if all => number(middle(&calls)),
                () => format!("{} ({})", number(middle(&calls)), arrived(results, kernel, condition, arm)),
            }
        });
        table.push([arm.scheme.word().to_owned(), arm.damping.word().to_owned()].into_iter().chain(cells));
    }
    table
}

fn factors(results: &Results) -> Plot {
    let title = "Calls of plain attention over those of the accelerated";
    let mut plot = Plot::new(title, Axis::log("κ"), Axis::log("factor, median"));
    for kernel in KERNELS {
        let point = |condition: usize| {
            let found = factor(results, kernel, condition, accelerated(results, kernel, condition)?)?;
            Some((condition as f64, found.value)).filter(|(_, y)| y.is_finite() && *y > 0.0)
        };
        plot = plot.series(kernel, CONDITIONS.into_iter().filter_map(point).collect(), Mark::Line(Stroke::Solid));
    }
    let root = CONDITIONS.map(|condition| (condition as f64, (condition as f64).sqrt())).to_vec();
    plot.series("√κ", root, Mark::Line(Stroke::Dashed))
}

fn curves(results: &Results, kernel: &str) -> Plot {
    let title = format!("{kernel}, κ = {SHOWN}: the gap of energy by oracle calls, from one start");
    let mut plot = Plot::new(title, Axis::log("calls"), Axis::log("gap left, momenta included"));
    let best = accelerated(results, kernel, SHOWN);
    let mut shown = vec![(Arm::PLAIN, Stroke::Solid)];
    shown.extend(best.map(|arm| (arm, Stroke::Solid)));
    shown.extend((Arm::of(kernel).contains(&NESTEROV) && best != Some(NESTEROV)).then_some((NESTEROV, Stroke::Dashed)));
    for (arm, stroke) in shown {
        let points = of(results, "curve", kernel, SHOWN, arm)
            .filter_map(|row| Some((row.count("calls")? as f64, row.get("gap")?)))
            .collect();
        let name = match arm.damping {
            Family::None => arm.scheme.word().to_owned(),
            family => format!("{}, {}", arm.scheme.word(), family.word()),
        };
        plot = plot.series(name, points, Mark::Line(stroke));
    }
    plot
}

//! What is told beside the protocol: leads themselves, how far generalisation has come at a peak, and each control alone.

use super::chance::{Timed, correlation, lead};
use super::judge::{Run, drawn_interval, timed};
use super::{HEATS, SERIES};
use crate::claim::number;
use crate::experiment::{Results, Table};
use crate::statistics::{Interval, middle};

/// Steps and values of what was looked at in a unit.
pub(super) fn curve(results: &Results, unit: &str, series: &str) -> Vec<(f64, f64)> {
    let row = results.of(unit).find(|row| row.is("what", "looks") && row.is("series", series));
    let of = |what: &str| -> Vec<f64> {
        let numbers = row.and_then(|row| row.word(what)).unwrap_or_default();
        numbers.split(' ').filter_map(|number| number.parse().ok()).collect()
    };
    of("steps").into_iter().zip(of("values")).collect()
}

/// A curve at a step, by a straight line between its points.
fn at(curve: &[(f64, f64)], step: f64) -> Option<f64> {
    let pair = curve.windows(2).find(|pair| pair[0].0 <= step && step <= pair[1].0)?;
    let [(from, low), (to, high)] = [pair[0], pair[1]];
    Some(low + (high - low) * (step - from) / (to - from))
}

fn told(value: Option<f64>, interval: Option<Interval>) -> String {
    let of = |value| {
        interval.map_or(number(value), |i| format!("{} ({} to {})", number(value), number(i.low), number(i.high)))
    };
    value.map_or("—".to_owned(), of)
}

/// By how much peaks, and those announced in time, come before generalisation, and how many of the other pairs are right then.
pub(super) fn leads(main: &[&Run]) -> Table {
    let title = "Beside the protocol: steps to generalise over steps to the peak, and over steps to its announcement where it is in time: \
                 geometric means with 95 % intervals (runs drawn anew within moduli); medians of the share of the other pairs that are right then";
    let heads = ["series", "peak", "runs", "right", "announcement", "runs", "right"];
    let mut table = Table::new(title, heads);
    for (s, (name, _)) in SERIES.iter().enumerate() {
        let peak = |run: &Run| run.series[s].peak;
        let announced = |run: &Run| run.series[s].announced.filter(|step| run.generalises.is_some_and(|g| *step < g));
        let cells = |what: &str, of: &dyn Fn(&Run) -> Option<f64>| {
            let ratio = |runs: &[&Run]| lead(&timed(runs, of, &|run| Some(run.end))).map(f64::exp);
            let value = ratio(main);
            let interval = value.and_then(|_| drawn_interval(main, &format!("ratio {what} {name}"), ratio));
            let some: Vec<&&Run> = main.iter().filter(|run| run.generalises.is_some() && of(run).is_some()).collect();
            let right: Vec<f64> = some.iter().filter_map(|run| at(&run.right, of(run)?)).collect();
            let right = if right.is_empty() { "—".to_owned() } else { number(middle(&right)) };
            [told(value, interval), some.len().to_string(), right]
        };
        let cells = [cells("peak", &peak), cells("announced", &announced)].concat();
        table.push(std::iter::once((*name).to_owned()).chain(cells));
    }
    table
}

/// Each control alone, over the runs that have the canonical peak, and what the peaks' correlations have beyond it.
pub(super) fn controls(main: &[&Run]) -> Table {
    let title = "Beside the protocol: correlation, within moduli, of steps to generalise with those where a control changes fastest (over runs with a \
                 canonical peak), in how many that is later than generalisation, and what the correlation of each peak has beyond it";
    let heads = ["control", "correlation", "later"].map(str::to_owned);
    let mut table = Table::new(title, heads.into_iter().chain((0..HEATS).map(|s| SERIES[s].0.to_owned())));
    for c in HEATS..=SERIES.len() {
        let name = SERIES.get(c).map_or("by heart", |(name, _)| *name);
        let of = |run: &Run| if c < SERIES.len() { run.series[c].fastest } else { run.by_heart };
        let own = |runs: &[&Run], s: usize, get: &dyn Fn(&Run) -> Option<f64>| {
            let some: Vec<&Run> = runs.iter().copied().filter(|run| run.series[s].peak.is_some()).collect();
            timed(&some, get, &|run| Some(run.end))
        };
        let beside: Vec<Timed> = own(main, 0, &of);
        let later = beside.iter().filter(|run| run.peak > run.generalises).count();
        let beyond = (0..HEATS).map(|s| {
            let excess = |runs: &[&Run]| {
                Some(correlation(&own(runs, s, &|run| run.series[s].peak))? - correlation(&own(runs, s, &of))?)
            };
            let value = excess(main);
            told(value, value.and_then(|_| drawn_interval(main, &format!("beyond {name} {s}"), excess)))
        });
        let first = [name.to_owned(), told(correlation(&beside), None), format!("{later} of {}", beside.len())];
        table.push(first.into_iter().chain(beyond));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_read_between_their_points() {
        let curve = [(0.0, 0.0), (10.0, 1.0), (30.0, 0.0)];
        assert_eq!([0.0, 5.0, 25.0].map(|step| at(&curve, step)), [Some(0.0), Some(0.5), Some(0.25)]);
        assert_eq!(at(&curve, 31.0), None);
    }
}

//! Hopfield's network with a few errors, judged: the load at which half of the patterns stay, by N, and its limit.

use std::collections::BTreeMap;

use rand::RngExt;
use statrs::distribution::{ChiSquared, ContinuousCDF};

use crate::claim::{Claim, Threshold, number};
use crate::crossing::{Dose, place};
use crate::experiment::Results;
use crate::plot::{Axis, Mark, Plot, Stroke};
use crate::seeds::generator;
use crate::statistics::{Estimate, Interval, LEVEL, normal_quantile, quantile};

/// The published load, of infinite N.
pub const PUBLISHED: f64 = 0.138;
/// Resamples of sets.
const RESAMPLES: usize = 400;
/// Powers of 1/N by which the load may approach its limit.
const POWERS: [f64; 11] = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0];

/// What became of the patterns followed at one load: those still there and those followed, by set.
type Sets = Vec<(f64, f64)>;

/// The load at which half of the patterns stay.
#[derive(Clone, Debug)]
pub struct Half {
    /// Neurons.
    pub neurons: usize,
    /// The load; its interval is of resampled sets.
    pub load: Estimate,
    /// The standard error over resampled sets.
    pub error: f64,
    /// Load, share still there.
    pub shares: Vec<(f64, f64)>,
}

fn doses(loads: &[(f64, Sets)]) -> Vec<Dose> {
    let sum = |sets: &Sets| sets.iter().fold((0.0, 0.0), |s, set| (s.0 + set.0, s.1 + set.1));
    let dose = |(at, sets): &(f64, Sets)| {
        let (successes, trials) = sum(sets);
        Dose { at: *at, successes, trials }
    };
    loads.iter().map(dose).collect()
}

/// The loads at which half of the patterns stay, by N. Patterns of a set share their fate: sets are resampled, not patterns.
pub fn halves(results: &Results) -> Vec<Half> {
    let mut by: BTreeMap<usize, BTreeMap<usize, Sets>> = BTreeMap::new();
    for row in results.rows().filter(|row| row.is("measure", "few errors")) {
        let found = || Some((row.count("N")?, row.count("K")?, (row.get("still there")?, row.get("followed")?)));
        if let Some((n, k, set)) = found() {
            by.entry(n).or_default().entry(k).or_default().push(set);
        }
    }
    let of = |(neurons, loads): (usize, BTreeMap<usize, Sets>)| {
        let loads: Vec<(f64, Sets)> = loads.into_iter().map(|(k, sets)| (k as f64 / neurons as f64, sets)).collect();
        let all = doses(&loads);
        let shares = all.iter().map(|d| (d.at, d.successes / d.trials)).collect();
        let value = place(&all, 0.5).unwrap_or(f64::NAN);
        let mut random = generator("hopfield-capacity", "judge", "few errors", neurons);
        let mut resampled: Vec<f64> = (0..RESAMPLES)
            .filter_map(|_| {
                let drawn = loads.iter().map(|(at, sets)| {
                    (*at, (0..sets.len()).map(|_| sets[random.random_range(0..sets.len())]).collect::<Sets>())
                });
                place(&doses(&drawn.collect::<Vec<_>>()), 0.5).ok()
            })
            .collect();
        resampled.sort_by(f64::total_cmp);
        let mean = resampled.iter().sum::<f64>() / resampled.len() as f64;
        let square = resampled.iter().map(|r| (r - mean) * (r - mean)).sum::<f64>() / (resampled.len() as f64 - 1.0);
        let ends = [0.5 - LEVEL / 2.0, 0.5 + LEVEL / 2.0].map(|p| quantile(&resampled, p));
        // Where resamples do not cross, the interval would be that of those that do.
        let told = resampled.len() == RESAMPLES && value.is_finite();
        let interval = told.then(|| Interval::new(ends[0], ends[1], LEVEL));
        Half { neurons, load: Estimate { value, interval }, error: square.sqrt(), shares }
    };
    by.into_iter().map(of).collect()
}

/// The limit of large N: `load = limit + c N^(−power)`, weighted by standard errors, for every power that the sizes do not
/// reject.
pub struct Limit {
    /// The limit at the power that fits best; the interval joins those of all powers not rejected.
    pub load: Estimate,
    /// Powers that are not rejected.
    pub powers: (f64, f64),
    /// The power that fits best, its slope, and how well it fits.
    pub best: (f64, f64, f64),
}

/// The limit; nothing from fewer than four sizes, or if every power is rejected.
pub fn limit(halves: &[Half]) -> Option<Limit> {
    let known: Vec<&Half> = halves.iter().filter(|h| h.load.interval.is_some() && h.error > 0.0).collect();
    if known.len() < 4 {
        return None;
    }
    let fit = |power: f64| {
        let points = || known.iter().map(|h| ((h.neurons as f64).powf(-power), h.load.value, h.error.powi(-2)));
        let total: f64 = points().map(|p| p.2).sum();
        let x_mean = points().map(|p| p.0 * p.2).sum::<f64>() / total;
        let y_mean = points().map(|p| p.1 * p.2).sum::<f64>() / total;
        let spread: f64 = points().map(|p| p.2 * (p.0 - x_mean).powi(2)).sum();
        let slope = points().map(|p| p.2 * (p.0 - x_mean) * (p.1 - y_mean)).sum::<f64>() / spread;
        let at_zero = y_mean - slope * x_mean;
        let error = (1.0 / total + x_mean * x_mean / spread).sqrt();
        let misfit: f64 = points().map(|p| p.2 * (p.1 - at_zero - slope * p.0).powi(2)).sum();
        (power, at_zero, error, misfit, slope)
    };
    let most = ChiSquared::new(known.len() as f64 - 2.0).ok()?.inverse_cdf(LEVEL);
    let kept: Vec<_> = POWERS.into_iter().map(fit).filter(|f| f.3 <= most).collect();
    let best = kept.iter().min_by(|a, b| a.3.total_cmp(&b.3))?;
    let z = normal_quantile(0.5 + LEVEL / 2.0);
    let low = kept.iter().map(|f| f.1 - z * f.2).fold(f64::INFINITY, f64::min);
    let high = kept.iter().map(|f| f.1 + z * f.2).fold(f64::NEG_INFINITY, f64::max);
    let powers = (kept[0].0, kept[kept.len() - 1].0);
    Some(Limit {
        load: Estimate { value: best.1, interval: Some(Interval::new(low, high, LEVEL)) },
        powers,
        best: (best.0, best.4, best.3),
    })
}

const SOURCE: &str = "Amit, Gutfreund & Sompolinsky 1985";

/// The claims on the load at which half of the patterns stay.
pub fn claims(halves: &[Half]) -> Vec<Claim> {
    let largest = halves.last();
    let at = largest.map_or("the largest N".to_owned(), |h| format!("N = {}", h.neurons));
    let list = halves.iter().map(|h| match h.load.interval {
        Some(i) => format!("N = {}: {} ({} to {})", h.neurons, number(h.load.value), number(i.low), number(i.high)),
        None => format!("N = {}: beyond the loads measured", h.neurons),
    });
    let at_largest = Claim::new(
        "few-errors",
        format!("Hopfield's network started at a pattern: the load K/N at which half stay, {at}"),
        SOURCE,
        number(PUBLISHED),
        Threshold::within(0.128, 0.148).partly_within(0.118, 0.158),
    )
    .measured(largest.map(|h| h.load.value).filter(|v| v.is_finite()), largest.and_then(|h| h.load.interval))
    .note(list.collect::<Vec<_>>().join("; "));
    let found = limit(halves);
    let claim = Claim::new(
        "few-errors-limit",
        "Hopfield's network started at a pattern: the load K/N at which half stay, extrapolated to infinite N",
        SOURCE,
        number(PUBLISHED),
        Threshold::covers(PUBLISHED).partly_within(0.128, 0.148).widest(0.02),
    );
    let claim = match found {
        Some(Limit { load, powers, best }) => claim.measured(load.value, load.interval).note(format!(
            "limit + c N^(−power) fits with powers {} to {}, best with {} (c = {}, χ² = {} at {} degrees of freedom); the \
             interval joins those of all these powers",
            number(powers.0),
            number(powers.1),
            number(best.0),
            number(best.1),
            number(best.2),
            halves.len() - 2
        )),
        None => claim.note("no power of 1/N from 0.5 to 1 fits, or there are fewer than four sizes"),
    };
    vec![at_largest, claim]
}

/// Shares by load, and the loads at which half stay.
pub fn plots(halves: &[Half]) -> Vec<Plot> {
    let title = "The larger Hopfield's network, the sharper and the earlier it loses its patterns";
    let axis = Axis::linear("share still at the pattern").range(0.0, 1.0);
    let mut shares = Plot::new(title, Axis::linear("load K/N"), axis);
    for half in halves {
        shares = shares.series(format!("N = {}", half.neurons), half.shares.clone(), Mark::Line(Stroke::Solid));
    }
    let title = match limit(halves) {
        Some(Limit { load: Estimate { value, interval: Some(i) }, .. }) => format!(
            "Half of the patterns stay up to K = {value:.3} N in the limit ({:.3} to {:.3}); published: {PUBLISHED} N",
            i.low, i.high
        ),
        _ => format!("The load at which half of the patterns stay; published: {PUBLISHED}"),
    };
    let known: Vec<&Half> = halves.iter().filter(|h| h.load.interval.is_some()).collect();
    let points = known.iter().map(|h| (h.neurons as f64, h.load.value)).collect();
    let bars = known.iter().filter_map(|h| h.load.interval).map(|i| (i.low, i.high)).collect();
    let mut plot = Plot::new(title, Axis::log("neurons N"), Axis::linear("load K/N at which half stay"))
        .series("measured", points, Mark::Bars(bars))
        .level(PUBLISHED, "published");
    if let (Some(found), Some(first), Some(last)) = (limit(halves), known.first(), known.last()) {
        let (from, to) = ((first.neurons as f64).ln(), (last.neurons as f64).ln());
        let at = |i: u32| (from + (to - from) * f64::from(i) / 40.0).exp();
        let curve = (0..=40).map(at).map(|n| (n, found.load.value + found.best.1 * n.powf(-found.best.0)));
        plot = plot.series("fitted", curve.collect(), Mark::Line(Stroke::Dashed));
    }
    vec![shares.level(0.5, "half"), plot]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(limit: f64, slope: f64, power: f64, error: f64) -> Vec<Half> {
        let one = |(i, neurons): (usize, usize)| {
            // Errors of fixed size and changing sign.
            let off = [0.5, -0.8, 0.3, 0.6, -0.7, 0.1][i] * error;
            let value = limit + slope * (neurons as f64).powf(-power) + off;
            let interval = Some(Interval::new(value - 2.0 * error, value + 2.0 * error, LEVEL));
            Half { neurons, load: Estimate { value, interval }, error, shares: Vec::new() }
        };
        [400, 800, 1600, 3200, 6400, 12_800].into_iter().enumerate().map(one).collect()
    }

    #[test]
    fn limits_are_found_whatever_the_power() {
        for power in [0.5, 0.7, 1.0] {
            let halves = made(0.138, 0.77 * 400f64.powf(power - 0.5), power, 1e-3);
            let found = limit(&halves).unwrap();
            assert!(found.load.interval.unwrap().covers(0.138), "{power}: {:?}", found.load);
            assert!(found.powers.0 <= power && power <= found.powers.1, "{power}: {:?}", found.powers);
        }
        // A limit elsewhere is not covered, where errors are small.
        let found = limit(&made(0.146, 0.77, 0.5, 3e-4)).unwrap();
        assert!(!found.load.interval.unwrap().covers(0.138), "{:?}", found.load);
        assert!(limit(&made(0.138, 0.77, 0.5, 1e-3)[..3]).is_none());
        // What no power fits has no limit.
        let mut bent = made(0.138, 0.77, 0.5, 1e-4);
        bent[3].load.value += 0.01;
        assert!(limit(&bent).is_none());
    }
}

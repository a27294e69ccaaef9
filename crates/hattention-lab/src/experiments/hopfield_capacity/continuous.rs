//! Measuring the softmax memory: patterns on a sphere, states in a ball around one of them.

use hattention::hopfield::SoftmaxMemory;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::prediction::{needed, probes};
use crate::error::Error;
use crate::experiment::{Context, Unit};
use crate::rows::Row;
use crate::seeds::Generator;

/// Radius of the ball of starting states over M, and of the ball in which a pattern counts as recalled.
const BALL: f64 = 0.1;
const RECALLED: f64 = 0.01;
/// Steps to rest at most, and the movement over M that counts as rest.
const MOST_STEPS: usize = 50;
const REST: f64 = 1e-6;

/// Starts on the surface of a pattern's sphere, besides the pattern itself, and the movement over M that counts as rest.
const STARTS: usize = 2;
const STILL: f64 = 1e-10;

/// One unit: the theorem itself, at the number of patterns that it promises to store in all but a share p of the draws.
///
/// A pattern is stored if all points of the sphere of radius `1/(βKM)` around it go to one fixed point in it, and no two
/// spheres meet.
pub fn promise(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let (dimension, beta) = (unit.count("d")?, unit.number("beta")?);
    let sets = context.plan.seeds * unit.count("sets a seed")?;
    let promised = promised(dimension, beta, unit.number("p")?);
    if promised.is_nan() {
        let allowed = "a dimension at which the theorem's condition holds";
        return Err(Error::Parameter { name: "d", got: dimension.to_string(), allowed });
    }
    let count = promised.ceil() as usize;
    let stored = (0..sets)
        .into_par_iter()
        .map(|set| all_stored(dimension, beta, count, &mut context.generator("patterns", set)))
        .collect::<Result<Vec<bool>, Error>>()?;
    let row = Row::new().label("measure", "promise").label("beta", beta).label("d", dimension).label("K", count);
    let stored = stored.into_iter().filter(|stored| *stored).count() as f64;
    Ok(vec![row.value("sets", sets as f64).value("sets stored", stored).value("promised", promised)])
}

fn all_stored(dimension: usize, beta: f64, count: usize, random: &mut Generator) -> Result<bool, Error> {
    let radius = ((dimension - 1) as f64).sqrt();
    let patterns: Vec<Vec<f64>> = (0..count).map(|_| direction(dimension, radius, random)).collect();
    let memory = SoftmaxMemory::new(&patterns, beta)?;
    let sphere = 1.0 / (beta * count as f64 * radius);
    for (i, pattern) in patterns.iter().enumerate() {
        if patterns[..i].iter().any(|other| distance(other, pattern) <= 2.0 * sphere) {
            return Ok(false);
        }
        let mut fixed: Option<Vec<f64>> = None;
        for start in 0..=STARTS {
            let away = direction(dimension, if start == 0 { 0.0 } else { sphere }, random);
            let from: Vec<f64> = pattern.iter().zip(&away).map(|(x, o)| x + o).collect();
            let rest = match memory.settle(&from, STILL, MOST_STEPS) {
                Ok(settled) => settled.state,
                Err(hattention::Error::NoConvergence { .. }) => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            // Steps contract by at least a half near a stored pattern: what is left is of the size of the last movement.
            let one = fixed.get_or_insert_with(|| rest.clone());
            if distance(&rest, pattern) > sphere || distance(&rest, one) > 10.0 * STILL * radius {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

#[derive(Default)]
struct Tally {
    step: usize,
    settled: usize,
    /// The largest error over its bound.
    ratio: f64,
    /// Probes whose bound is smaller than the ball: elsewhere it says nothing.
    telling: usize,
}

/// One unit: a dimension and a β; K doubles until two in a row let no set succeed.
pub fn capacity(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let (dimension, beta, most) = (unit.count("d")?, unit.number("beta")?, unit.count("most")?);
    let (mut rows, mut failed, mut count) = (Vec::new(), 0, 2);
    while failed < 2 && count <= most {
        let purpose = format!("patterns-{count}");
        let tallies = (0..context.plan.seeds)
            .into_par_iter()
            .map(|set| one_set(dimension, beta, count, &mut context.generator(&purpose, set)))
            .collect::<Result<Vec<Tally>, Error>>()?;
        let needed = needed(probes(count));
        let sets = |of: fn(&Tally) -> usize| tallies.iter().filter(|t| of(t) >= needed).count() as f64;
        let total = |of: fn(&Tally) -> usize| tallies.iter().map(of).sum::<usize>() as f64;
        rows.push(
            Row::new()
                .label("measure", "softmax")
                .label("d", dimension)
                .label("beta", beta)
                .label("K", count)
                .value("sets", tallies.len() as f64)
                .value("successes after a step", sets(|t| t.step))
                .value("successes at rest", sets(|t| t.settled))
                .value("probes", (tallies.len() * probes(count)) as f64)
                .value("recovered after a step", total(|t| t.step))
                .value(
                    "largest error over bound",
                    crate::statistics::worst(tallies.iter().map(|t| t.ratio)).unwrap_or(0.0),
                )
                .value("probes with a telling bound", total(|t| t.telling)),
        );
        failed = if sets(|t| t.step) == 0.0 && sets(|t| t.settled) == 0.0 { failed + 1 } else { 0 };
        context.progress((count as f64).log2() / (most as f64).log2());
        count *= 2;
    }
    Ok(rows)
}

/// Patterns on the sphere of radius `M = √(d−1)`.
fn one_set(dimension: usize, beta: f64, count: usize, random: &mut Generator) -> Result<Tally, Error> {
    let radius = ((dimension - 1) as f64).sqrt();
    let patterns: Vec<Vec<f64>> = (0..count).map(|_| direction(dimension, radius, random)).collect();
    let memory = SoftmaxMemory::new(&patterns, beta)?;
    let mut tally = Tally::default();
    for (i, pattern) in patterns.iter().take(probes(count)).enumerate() {
        // Uniform in the ball.
        let away = BALL * radius * random.random::<f64>().powf(1.0 / dimension as f64);
        let offset = direction(dimension, away, random);
        let start: Vec<f64> = pattern.iter().zip(&offset).map(|(x, o)| x + o).collect();
        let step = memory.step(&start)?;
        let error = distance(&step, pattern);
        tally.step += usize::from(error <= RECALLED * radius);
        let rest = |state: &[f64]| match memory.settle(state, REST, MOST_STEPS) {
            Ok(settled) => Ok(Some(settled.state)),
            Err(hattention::Error::NoConvergence { .. }) => Ok(None),
            Err(error) => Err(Error::from(error)),
        };
        let settled = rest(&step)?.is_some_and(|state| distance(&state, pattern) <= RECALLED * radius);
        tally.settled += usize::from(settled);
        let Some(fixed) = rest(pattern)? else { continue };
        let reach = distance(&fixed, pattern).max(distance(&start, pattern));
        let Some(bound) = memory.one_step_bound(i, reach) else { continue };
        // Below the rounding of the sums themselves no bound can be seen.
        let rounding = count as f64 * f64::EPSILON * radius;
        tally.ratio = tally.ratio.max(error / (bound + rounding));
        tally.telling += usize::from(bound < BALL * radius);
    }
    Ok(tally)
}

fn direction(dimension: usize, length: f64, random: &mut Generator) -> Vec<f64> {
    let gauss: Vec<f64> = (0..dimension).map(|_| StandardNormal.sample(random)).collect();
    let norm = gauss.iter().map(|g| g * g).sum::<f64>().sqrt();
    gauss.iter().map(|g| g * length / norm).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

/// The number of patterns that theorem 3 of Ramsauer et al. promises with failure probability `p` on the sphere of radius
/// `√(d−1)`: `√p c^((d−1)/4)`, `c = b/W₀(e^(a + ln b))`, `a = 2/(d−1) (1 + ln(2βp(d−1)))`, `b = 2β/5`; NaN where its
/// condition `c ≥ (2/√p)^(4/(d−1))` does not hold.
pub fn promised(dimension: usize, beta: f64, p: f64) -> f64 {
    let d = (dimension - 1) as f64;
    let a = 2.0 / d * (1.0 + (2.0 * beta * p * d).ln());
    let b = 2.0 * beta / 5.0;
    let c = b / lambert(b * a.exp());
    if c < (2.0 / p.sqrt()).powf(4.0 / d) { f64::NAN } else { p.sqrt() * c.powf(d / 4.0) }
}

/// The solution of `w e^w = x` for x > 0, by Newton's iteration, which descends from above.
fn lambert(x: f64) -> f64 {
    let mut w = x.ln_1p();
    for _ in 0..60 {
        w -= (w - x * (-w).exp()) / (1.0 + w);
    }
    w
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_are_those_of_the_theorem() {
        let w = lambert(3.5);
        assert!((w * w.exp() - 3.5).abs() < 1e-14);
        // The paper's example: radius 3√19, β = 1, p = 0.001, d = 20 gives c ≥ 3.1546. With a radius of √19 that is β = 9.
        let c = (promised_unchecked(20, 9.0, 0.001) / 0.001f64.sqrt()).powf(4.0 / 19.0);
        assert!((c - 3.1546).abs() < 1e-3, "{c}");
        // And K = 1, β = 1, p = 0.001, d = 75: c ≥ 1.3718.
        let c = (promised_unchecked(75, 1.0, 0.001) / 0.001f64.sqrt()).powf(4.0 / 74.0);
        assert!((c - 1.3718).abs() < 1e-3, "{c}");
    }

    fn promised_unchecked(dimension: usize, beta: f64, p: f64) -> f64 {
        let found = promised(dimension, beta, p);
        assert!(!found.is_nan());
        found
    }
}

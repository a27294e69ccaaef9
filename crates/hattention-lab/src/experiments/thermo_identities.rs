//! # Attention as a canonical ensemble: identities
//!
//! A query with energies `E_j = −q·k_j` at temperature T attends by `p = softmax(−E/T)`. Kim (2026, arXiv 2602.08216) calls this a
//! thermodynamics. Whatever one thinks of the word, these are theorems, and `hattention::thermodynamics` has to keep them: with
//! `Z = Σ e^(−E/T)`, `U = Σ pE`, `S = −Σ p ln p`, `F = −T ln Z` and `C = Var_p(E)/T²`.
//!
//! ## World
//! Energies of n = 1, 2, 10, 1,000 and 100,000 keys: normal, even, of two levels, with one key far below the others, and inner products of a
//! query with normal keys of 32 coordinates; T such that the deviation of E/T is 0.1, 1, 3 and 30. Deviations are relative to one plus the
//! number's size. Slopes by T are differences of the eighth order with steps of four thousandths of T, of energies less their least.
//!
//! ## Thresholds
//! The largest deviation is at most 1e-12:
//! - `free-energy`: F from U − TS: at most 1e-12. `log-partition`: F from −T ln Z: at most 1e-12.
//! - `capacity-is-a-slope`: C from dU/dT: at most 1e-12. `entropy-is-a-slope`: S from −dF/dT: at most 1e-12.
//! - `varentropy`: C from the variance of ln p under p, weights one by one: at most 1e-12.
//! - `least-free-energy`: F less `Σ qE + T Σ q ln q` of other weights q (random, and p with some weight moved): at most 1e-12.
//! - `most-entropy`: S less ln n: at most 1e-12.
//! - `hot`: at T = 1e9 deviations, U from the mean, S from ln n, and C T² from the variance of E, as shares: at most 1e-6 (the first order
//!   in 1/T).
//! - `cold`: at T a hundredth of the gap to the second least energy, U from the least, S from the logarithm of the number of the least, and C:
//!   at most 1e-12.
//! - `two-levels`: C of a level and g others Δ above it, from Schottky's `x² g e^(−x)/(1 + g e^(−x))²`, x = Δ/T: at most 1e-12.
//! - `pieces`: all of it, of keys pushed in pieces or merged in any order: at most 1e-12.
//!
//! ## Revisions
//! A first full run had steps of a hundredth of T, and differences from the slopes of up to 1e-10, the largest where C has a sharp peak (one key far
//! below 100,000 others): those were the error of the differences, which goes with the eighth power of the step.
//!
//! ## Time
//! Seconds.

mod judge;

use hattention::thermodynamics::{Ensemble, Observables};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_distr::{Distribution, StandardNormal};
use serde_json::json;

use crate::error::Error;
use crate::experiment::{Context, Experiment, Plan, Seeds, Size, Unit};
use crate::rows::Row;
use crate::seeds::Generator;

/// The experiment.
pub const EXPERIMENT: Experiment = Experiment {
    name: "thermo-identities",
    trains: false,
    summary: "Attention as a canonical ensemble: energies, entropies and heat capacities keep their identities",
    source: "textbooks; Kim 2026, arXiv 2602.08216",
    file: include_str!("thermo_identities.rs"),
    version: 1,
    hours: 0.01,
    seeds: Seeds { full: 20, smoke: 2 },
    units,
    run,
    judge: judge::judge,
};

const KINDS: [&str; 5] = ["normal", "even", "two levels", "one far below", "inner products"];
/// Deviations of energies in temperatures.
const SPREADS: [f64; 4] = [0.1, 1.0, 3.0, 30.0];
const WIDTH: usize = 32;
/// Steps of differences, as shares of T.
const STEP: f64 = 0.004;

fn units(plan: &Plan) -> Vec<Unit> {
    let sizes: &[usize] = if plan.size == Size::Full { &[1, 2, 10, 1000, 100_000] } else { &[1, 2, 50] };
    let of = |n: &usize| {
        KINDS.map(|kind| Unit::new(format!("{}-{n}", kind.replace(' ', "-")), json!({"kind": kind, "keys": n})))
    };
    let ensembles = sizes.iter().flat_map(of);
    ensembles.chain([Unit::new("schottky", json!({"kind": "schottky"}))]).collect()
}

fn run(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    if unit.word("kind")? == "schottky" {
        return schottky();
    }
    let (kind, n) = (unit.word("kind")?, unit.count("keys")?);
    let mut rows = Vec::new();
    for spread in SPREADS {
        let mut worst: Vec<(&str, f64)> = Vec::new();
        for seed in 0..context.plan.seeds {
            let mut generator = context.generator(&format!("energies at {spread}"), seed);
            let energies = energies(kind, n, &mut generator);
            for (name, off) in deviations(&energies, deviation(&energies) / spread, &mut generator)? {
                match worst.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, most)) => *most = most.max(off),
                    None => worst.push((name, off)),
                }
            }
        }
        let row = Row::new().label("kind", kind).label("keys", n).label("spread", spread);
        rows.push(worst.into_iter().fold(row, |row, (name, off)| row.value(name, off)));
    }
    Ok(rows)
}

fn energies(kind: &str, n: usize, generator: &mut Generator) -> Vec<f64> {
    let mut normal = |_| -> f64 { StandardNormal.sample(generator) };
    match kind {
        "normal" => (0..n).map(normal).collect(),
        "even" => (0..n).map(|i| i as f64 / n as f64).collect(),
        "two levels" => (0..n).map(|i| if 3 * i < n { 1.0 } else { 0.0 }).collect(),
        "one far below" => (0..n).map(|i| if i == n / 2 { -10.0 } else { normal(i) }).collect(),
        _ => {
            let query: Vec<f64> = (0..WIDTH).map(&mut normal).collect();
            (0..n).map(|_| -query.iter().map(|q| q * normal(0)).sum::<f64>()).collect()
        }
    }
}

/// The root of the mean square about the mean; one where there is none.
fn deviation(energies: &[f64]) -> f64 {
    let n = energies.len() as f64;
    let mean = energies.iter().sum::<f64>() / n;
    let variance = energies.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / n;
    if variance > 0.0 { variance.sqrt() } else { 1.0 }
}

fn at(energies: &[f64], temperature: f64) -> Result<Observables, Error> {
    Ok(Ensemble::of(energies, temperature)?.observables().unwrap_or_default())
}

/// The slope of a function by differences of the eighth order.
fn slope(of: impl Fn(f64) -> Result<f64, Error>, at: f64) -> Result<f64, Error> {
    let step = STEP * at;
    let mut sum = 0.0;
    for (k, weight) in [(1.0, 4.0 / 5.0), (2.0, -1.0 / 5.0), (3.0, 4.0 / 105.0), (4.0, -1.0 / 280.0)] {
        sum += weight * (of(at + k * step)? - of(at - k * step)?);
    }
    Ok(sum / step)
}

/// How far apart two numbers are, over one and the size of the second.
fn off(a: f64, b: f64) -> f64 {
    (a - b).abs() / (1.0 + b.abs())
}

/// `Σ qE + T Σ q ln q`.
fn free_energy(q: &[f64], energies: &[f64], temperature: f64) -> f64 {
    let of = |(q, e): (&f64, &f64)| q * e + if *q > 0.0 { temperature * q * q.ln() } else { 0.0 };
    q.iter().zip(energies).map(of).sum()
}

fn deviations(energies: &[f64], t: f64, generator: &mut Generator) -> Result<Vec<(&'static str, f64)>, Error> {
    let found = at(energies, t)?;
    let Observables {
        internal_energy: u, entropy: s, free_energy: f, heat_capacity: c, log_partition, keys: n, ..
    } = found;
    let weights: Vec<f64> = energies.iter().map(|e| (-e / t - log_partition).exp()).collect();
    let varentropy: f64 = weights.iter().zip(energies).map(|(p, e)| p * (-e / t - log_partition + s).powi(2)).sum();
    // Others: even weights times random ones, and softmax with a hundredth of a weight moved.
    let drawn: Vec<f64> = energies.iter().map(|_| generator.random::<f64>() + 1e-3).collect();
    let total: f64 = drawn.iter().sum();
    let drawn: Vec<f64> = drawn.iter().map(|q| q / total).collect();
    let mut moved = weights.clone();
    let (from, to) = (generator.random_range(0..moved.len()), generator.random_range(0..moved.len()));
    let part = 0.01 * moved[from];
    moved[from] -= part;
    moved[to] += part;
    let below = [&drawn, &moved].map(|q| (f - free_energy(q, energies, t)) / (1.0 + f.abs()));
    let lowest = energies.iter().copied().fold(f64::INFINITY, f64::min);
    let above: Vec<f64> = energies.iter().map(|e| e - lowest).collect();
    let units = deviation(energies);
    let mean = energies.iter().sum::<f64>() / n;
    let hot = at(energies, 1e9 * units)?;
    let variance = energies.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / n;
    let share = (hot.heat_capacity * 1e18 * units * units - variance).abs() / (variance + units * units);
    let hot = off(hot.internal_energy / units, mean / units).max(off(hot.entropy, n.ln())).max(share);
    let next = energies.iter().copied().filter(|e| *e > lowest).fold(f64::INFINITY, f64::min);
    let alike = energies.iter().filter(|e| **e == lowest).count() as f64;
    let cold = at(energies, if next.is_finite() { (next - lowest) / 100.0 } else { units })?;
    let cold = off(cold.internal_energy, lowest).max(off(cold.entropy, alike.ln())).max(cold.heat_capacity);
    Ok(vec![
        ("free-energy", off(f, u - t * s)),
        ("log-partition", off(f, -t * log_partition)),
        ("capacity-is-a-slope", off(slope(|t| Ok(at(&above, t)?.internal_energy), t)?, c)),
        ("entropy-is-a-slope", off(-slope(|t| Ok(at(&above, t)?.free_energy), t)?, s)),
        ("varentropy", off(varentropy, c)),
        ("least-free-energy", below[0].max(below[1]).max(off(free_energy(&weights, energies, t), f))),
        ("most-entropy", (s - n.ln()).max(0.0)),
        ("hot", hot),
        ("cold", cold),
        ("pieces", pieces(energies, t, &found, generator)?),
    ])
}

/// Pushed and merged by pieces of any size in any order.
fn pieces(energies: &[f64], t: f64, whole: &Observables, generator: &mut Generator) -> Result<f64, Error> {
    let mut parts: Vec<Ensemble> =
        energies.chunks(1 + energies.len() / 7).map(|part| Ensemble::of(part, t)).collect::<Result<_, _>>()?;
    parts.shuffle(generator);
    let mut merged = Ensemble::new(t)?;
    for part in &parts {
        merged = merged.merge(part)?;
    }
    let merged = merged.observables().unwrap_or_default();
    Ok(merged.values().iter().zip(whole.values()).map(|(a, b)| off(*a, b)).fold(0.0, f64::max))
}

/// A level and g others above it.
fn schottky() -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for others in [1usize, 9, 99] {
        let energies: Vec<f64> = (0..=others).map(|i| f64::from(u8::from(i > 0))).collect();
        for k in -60..=40 {
            let t = 10f64.powf(f64::from(k) / 40.0);
            let (x, g) = (1.0 / t, others as f64);
            let expected = x * x * g * (-x).exp() / (1.0 + g * (-x).exp()).powi(2);
            let found = at(&energies, t)?;
            rows.push(
                Row::new()
                    .label("kind", "schottky")
                    .label("others", others)
                    .label("T", t)
                    .value("two-levels", off(found.heat_capacity, expected))
                    .value("capacity", found.heat_capacity)
                    .value("entropy", found.entropy),
            );
        }
    }
    Ok(rows)
}

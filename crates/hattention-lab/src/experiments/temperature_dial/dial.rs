//! The dial as an estimator: R² at every temperature, left out and of fresh rows.

use hattention::{Filter, Matrix};
use rand::RngExt;
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::softmax::{SCORES, Score, Whitening, centred, deviation, scores};
use crate::designs::{fit, normal, predict};
use crate::error::Error;
use crate::experiment::{Context, Unit};
use crate::quarters::Quarters;
use crate::rows::Row;
use crate::seeds::Generator;
use crate::statistics::line;

const FILIP: &str = include_str!("../../../../../data/nist/Filip.csv");
const SIGNAL_OVER_NOISE: f64 = 2.0;
const TEST_ROWS: usize = 1000;
const COLUMNS: usize = 5;
/// Temperatures in quarter decades.
const PLACES: std::ops::RangeInclusive<i32> = -20..=20;

/// What is made of softmax attention.
pub(super) const ESTIMATORS: [&str; 3] = ["plain", "amplified", "solved"];

pub(in crate::experiments) struct World {
    pub(in crate::experiments) x: Matrix,
    y: Vec<f64>,
    pub(in crate::experiments) fresh: Matrix,
    targets: Vec<f64>,
}

/// What rows read, as deviations from the mean, and what they should have.
struct Reads {
    /// Shape: `[temperatures][rows]`.
    deviations: Vec<Vec<f64>>,
    /// Shape: `[rows]`.
    targets: Vec<f64>,
}

/// Of every replicate what leave-one-out picks, and the curves, meaned.
pub(super) fn rows(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let (design, seeds) = (unit.word("design")?, context.plan.seeds);
    let of = |seed: usize| {
        let mut generator = context.generator("rows", seed);
        turned(&world(design, unit.count("rows")?, &mut generator)?)
    };
    let found = (0..seeds).into_par_iter().map(of).collect::<Result<Vec<_>, Error>>()?;
    context.progress(1.0);
    let mut rows = Vec::new();
    for (seed, (picks, _)) in found.iter().enumerate() {
        rows.extend(picks.iter().map(|pick| pick.clone().label("design", design).label("seed", seed)));
    }
    // Curves of all replicates lie at the same temperatures.
    for place in 0..found[0].1.len() {
        let of = |name: &str| found.iter().filter_map(|(_, curve)| curve[place].get(name)).collect::<Vec<f64>>();
        let mut row = found[0].1[place].without_values().label("design", design);
        for name in ["left out", "test"] {
            let values = of(name);
            row = row.value(name, values.iter().sum::<f64>() / values.len() as f64);
        }
        rows.push(row);
    }
    Ok(rows)
}

pub(in crate::experiments) fn world(design: &str, rows: usize, generator: &mut Generator) -> Result<World, Error> {
    match design {
        "linear" | "rotated-sine" => Ok(drawn(design == "linear", rows, generator)),
        "macro" => {
            let quarters = Quarters::read()?;
            Ok(halves(&quarters.columns, &quarters.inflation, generator))
        }
        _ => {
            let number = |text: &str| text.parse::<f64>().ok();
            let pair = |l: &str| l.split_once(',').and_then(|(y, x)| Some((number(y)?, number(x)?)));
            let (y, x): (Vec<f64>, Vec<f64>) = FILIP.lines().skip(1).filter_map(pair).unzip();
            Ok(halves(&[x], &y, generator))
        }
    }
}

fn drawn(linear: bool, rows: usize, generator: &mut Generator) -> World {
    let all = rows + TEST_ROWS;
    let x = Matrix::from_fn(all, COLUMNS, |_, _| generator.random::<f64>());
    let signal = |r: &[f64]| match linear {
        true => [2.0, -1.0, 3.0, 1.5, 0.5].iter().zip(r).map(|(b, x)| b * (x - 0.5)).sum::<f64>(),
        false => (3.0 * (r[0] + r[1] + r[2] + r[3])).sin(),
    };
    let signals: Vec<f64> = (0..all).map(|i| signal(x.row(i))).collect();
    let (about, _) = centred(&signals);
    let deviation = (about.iter().map(|s| s * s).sum::<f64>() / all as f64 / SIGNAL_OVER_NOISE).sqrt();
    let noise = normal(all, 1, generator);
    let y: Vec<f64> = signals.iter().enumerate().map(|(i, s)| s + deviation * noise.at(i, 0)).collect();
    let part = |first: usize, rows: usize| Matrix::from_fn(rows, COLUMNS, |i, j| x.at(first + i, j));
    World { x: part(0, rows), y: y[..rows].to_vec(), fresh: part(rows, TEST_ROWS), targets: y[rows..].to_vec() }
}

fn halves(columns: &[Vec<f64>], y: &[f64], generator: &mut Generator) -> World {
    let mut places: Vec<usize> = (0..y.len()).collect();
    places.shuffle(generator);
    let (train, test) = places.split_at(y.len() / 2);
    let of = |rows: &[usize]| Matrix::from_fn(rows.len(), columns.len(), |i, j| columns[j][rows[i]]);
    let targets = |rows: &[usize]| rows.iter().map(|i| y[*i]).collect();
    World { x: of(train), y: targets(train), fresh: of(test), targets: targets(test) }
}

pub(in crate::experiments) fn temperatures() -> Vec<f64> {
    PLACES.map(|place| 10f64.powf(f64::from(place) / 4.0)).collect()
}

/// Picks of a replicate, and its curves.
fn turned(world: &World) -> Result<(Vec<Row>, Vec<Row>), Error> {
    let target = Matrix::new(world.y.len(), 1, world.y.clone())?;
    let (whitening, fits) = fit(&world.x, &target, true, Filter::Ols)?;
    let ols = predict(&whitening, &fits, &world.fresh)?.data;
    let (_, mean) = centred(&world.y);
    let squares = |other: &dyn Fn(usize) -> f64| -> f64 {
        world.targets.iter().enumerate().map(|(i, t)| (t - other(i)).powi(2)).sum()
    };
    let of_ols = 1.0 - squares(&|i| ols[i]) / squares(&|_| mean);
    let temperatures = temperatures();
    let (mut picks, mut curves) = (Vec::new(), Vec::new());
    for (score, name) in SCORES {
        let (out, test) = (left_out(world, score), fresh(world, score));
        for estimator in ESTIMATORS {
            let lines: Vec<(f64, f64)> = temperatures
                .iter()
                .enumerate()
                .map(|(k, t)| stretched(estimator, *t, k, &out))
                .collect::<Result<_, _>>()?;
            let (on_out, on_test) = (errors(&out, &lines), errors(&test, &lines));
            let (of_out, of_test) = (shares(&out, &on_out), shares(&test, &on_test));
            let (picked, best) = (largest(&of_out), largest(&of_test));
            let error = |place: usize| on_test[place].iter().sum::<f64>();
            let row = |kind: &str| Row::new().label("kind", kind).label("score", name).label("estimator", estimator);
            picks.push(
                row("pick")
                    .value("picked T", temperatures[picked])
                    .value("best T", temperatures[best])
                    .value("left out, at the picked T", of_out[picked])
                    .value("test, at the picked T", of_test[picked])
                    .value("test, at the best T", of_test[best])
                    .value("test, least squares", of_ols)
                    .value("errors, picked over best", (error(picked) / error(best)).sqrt())
                    .value("errors' difference over its noise", noise(&on_test[picked], &on_test[best])),
            );
            for (place, t) in temperatures.iter().enumerate() {
                curves.push(row("curve").label("T", *t).value("left out", of_out[place]).value("test", of_test[place]));
            }
        }
    }
    Ok((picks, curves))
}

/// R² of rows left out and of fresh ones by the solved estimator, at every temperature.
pub(in crate::experiments) fn solved(world: &World, score: Score) -> Result<Vec<(f64, f64)>, Error> {
    let (out, test) = (left_out(world, score), fresh(world, score));
    let lines: Vec<(f64, f64)> =
        temperatures().iter().enumerate().map(|(k, t)| stretched("solved", *t, k, &out)).collect::<Result<_, _>>()?;
    let (of_out, of_test) = (shares(&out, &errors(&out, &lines)), shares(&test, &errors(&test, &lines)));
    Ok(of_out.into_iter().zip(of_test).collect())
}

/// The constant and the factor that an estimator puts to deviations.
fn stretched(estimator: &str, temperature: f64, place: usize, out: &Reads) -> Result<(f64, f64), Error> {
    match estimator {
        "plain" => Ok((0.0, 1.0)),
        "amplified" => Ok((0.0, temperature)),
        _ => {
            let found = line(&out.deviations[place], &out.targets)?;
            Ok((found.intercept.value, found.slope.value))
        }
    }
}

/// Squared errors. Shape: `[temperatures][rows]`.
fn errors(reads: &Reads, lines: &[(f64, f64)]) -> Vec<Vec<f64>> {
    let of = |(deviations, (constant, factor)): (&Vec<f64>, &(f64, f64))| {
        deviations.iter().zip(&reads.targets).map(|(d, t)| (t - constant - factor * d).powi(2)).collect()
    };
    reads.deviations.iter().zip(lines).map(of).collect()
}

/// R² at every temperature, against the mean.
fn shares(reads: &Reads, errors: &[Vec<f64>]) -> Vec<f64> {
    let total: f64 = reads.targets.iter().map(|t| t * t).sum();
    errors.iter().map(|squares| 1.0 - squares.iter().sum::<f64>() / total).collect()
}

/// Every row by the others: means, whitening and keys without it.
fn left_out(world: &World, score: Score) -> Reads {
    let whole = Whitening::of(&world.x);
    let of_row = |row: usize| {
        let whitening = whole.without(world.x.row(row));
        let others = (0..world.y.len()).filter(|i| *i != row);
        let keys: Vec<Vec<f64>> = others.clone().map(|i| whitening.key(world.x.row(i))).collect();
        let (y, mean) = centred(&others.map(|i| world.y[i]).collect::<Vec<_>>());
        (read(&scores(score, &whitening.key(world.x.row(row)), &keys), &y), world.y[row] - mean)
    };
    gathered((0..world.y.len()).map(of_row))
}

/// Fresh rows by all.
fn fresh(world: &World, score: Score) -> Reads {
    let whitening = Whitening::of(&world.x);
    let keys: Vec<Vec<f64>> = (0..world.y.len()).map(|i| whitening.key(world.x.row(i))).collect();
    let (y, mean) = centred(&world.y);
    let of_row =
        |row: usize| (read(&scores(score, &whitening.key(world.fresh.row(row)), &keys), &y), world.targets[row] - mean);
    gathered((0..world.targets.len()).map(of_row))
}

fn read(scores: &[f64], y: &[f64]) -> Vec<f64> {
    temperatures().iter().map(|t| deviation(scores, y, *t)).collect()
}

fn gathered(rows: impl Iterator<Item = (Vec<f64>, f64)>) -> Reads {
    let mut reads = Reads { deviations: vec![Vec::new(); temperatures().len()], targets: Vec::new() };
    for (row, target) in rows {
        reads.deviations.iter_mut().zip(row).for_each(|(all, d)| all.push(d));
        reads.targets.push(target);
    }
    reads
}

fn largest(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

/// The mean difference of two lists of squares over its standard error; zero where they are equal.
fn noise(a: &[f64], b: &[f64]) -> f64 {
    let (about, mean) = centred(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>());
    let n = about.len() as f64;
    let variance = about.iter().map(|d| d * d).sum::<f64>() / (n - 1.0);
    if variance == 0.0 { 0.0 } else { mean / (variance / n).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::generator;

    /// At the hot end the amplified dial, left out, is least squares left out: the engine's `e/(1 − h)`.
    #[test]
    fn hot_and_amplified_is_least_squares_left_out() {
        let world = drawn(true, 40, &mut generator("test", "dial", "", 0));
        let target = Matrix::new(40, 1, world.y.clone()).unwrap();
        let (whitening, fits) = fit(&world.x, &target, true, Filter::Ols).unwrap();
        let fitted = predict(&whitening, &fits, &world.x).unwrap();
        let columns = world.x.transposed();
        let block = hattention::Block {
            rows: 40,
            columns: (0..COLUMNS).map(|c| hattention::Column::Dense(columns.row(c))).collect(),
            weights: None,
        };
        let ids: Vec<usize> = (0..COLUMNS).collect();
        let leverages = hattention::attention::Keys::of(&whitening, &block, &ids).unwrap().leverages(None);
        let out = left_out(&world, Score::Dot);
        for i in 0..40 {
            let expected = ((world.y[i] - fitted.at(i, 0)) / (1.0 - leverages[i])).powi(2);
            let hot = (out.targets[i] - 1e5 * out.deviations.last().unwrap()[i]).powi(2);
            assert!((hot - expected).abs() < 2e-3 * (expected + 0.1), "{hot} {expected}");
        }
    }

    #[test]
    fn filip_is_read_and_cut_in_halves() {
        let world = world("filip", 0, &mut generator("test", "filip", "", 0)).unwrap();
        assert_eq!((world.y.len(), world.targets.len(), world.x.columns), (41, 41, 1));
    }
}

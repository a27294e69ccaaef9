//! What each cell measures.

use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::descent::{End, Square, Steps, Task, descend, determinant, norm, place, zip};
use super::world::{self, Root};
use super::{CONDITIONS, Columns, JUDGED, ROOTS, STARTS, STEPS};
use crate::error::Error;
use crate::experiment::{Context, Unit};
use crate::rows::Row;
use crate::seeds::Generator;
use crate::train::{number, numbers, tensor};

/// Rows of every regression.
const N: usize = 500;
/// The rate of the published cell.
const RATE: f64 = 2e-5;
/// The rate, in the task's units, of the other cells with one regressor.
const RHO: f64 = 0.03;
/// How far starts near theory are from it, relatively; how small the small ones are.
const NEAR: f64 = 0.1;
const SMALL: f64 = 0.1;
/// Targets for each regressor where L is to be pinned.
const TARGETS: usize = 4;
/// Columns that are not normalised are on scales from 1 to this.
const SPREAD: f64 = 3.0;

/// Runs replicates in parallel and keeps their order.
fn replicates<F>(count: usize, context: &Context<'_>, of: F) -> Result<Vec<Row>, Error>
where
    F: Fn(usize) -> Result<Vec<Row>, Error> + Sync,
{
    let done = std::sync::atomic::AtomicUsize::new(0);
    let rows: Result<Vec<_>, Error> = (0..count)
        .into_par_iter()
        .map(|seed| {
            let rows = of(seed);
            let done = 1 + done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            context.progress(done as f64 / count as f64);
            rows
        })
        .collect();
    Ok(rows?.into_iter().flatten().collect())
}

/// One regressor: the task, `β̂ = L³sP` at theory, and the start.
fn scalar_task(context: &Context<'_>, seed: usize) -> Result<(world::Rows, Task<1>, f64, f64), Error> {
    let rows = world::published(N, &mut context.generator("data", seed));
    // In one dimension this root is s^(−1/2), whatever the sign of the eigenvector.
    let task = world::task::<1>(&rows, Root::Symmetric)?;
    let p = world::readout(&rows, &task)[0];
    let start = context.generator("start", seed).random_range(-1.0..1.0);
    Ok((rows, task, p, start))
}

/// Whether the saddle has the start: it is not positive, or its first step is not.
fn in_basin(task: &Task<1>, start: f64, rate: f64) -> bool {
    let slope = place(task, &[[start]]).slope[0][0];
    start <= 0.0 || start - rate * slope <= 0.0
}

pub fn published(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let epochs = unit.count("epochs")?;
    replicates(20 * context.plan.seeds, context, |seed| {
        let (_, task, _, start) = scalar_task(context, seed)?;
        // From below zero L only creeps up to it; from just above zero it takes long to leave.
        let epochs = if start <= 0.0 { epochs / 20 } else { epochs };
        let end = descend(&task, &[[start]], Steps::Fixed(RATE / task.unit_rate()), epochs, true);
        let first = end.epochs_to_one_percent.map_or(f64::INFINITY, |e| e as f64);
        Ok(vec![
            Row::new()
                .label("cell", "published")
                .label("seed", seed)
                .value("start", start)
                .value("in_basin", f64::from(in_basin(&task, start, RATE)))
                .value("l", end.l[0][0])
                .value("theory", task.theory[0][0])
                .value("function", end.function)
                .value("structure", end.structure)
                .value("parameter", end.parameter)
                .value("epochs_to_one_percent", first),
        ])
    })
}

/// The published cell by Burn from all rows, beside the closed form, epoch by epoch.
pub fn burn(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let epochs = unit.count("epochs")?;
    let device = context.plan.device.autodiff()?;
    replicates(context.plan.seeds.min(20), context, |seed| {
        let (rows, task, p, start) = scalar_task(context, seed)?;
        let (x, y) = (tensor(&rows.x, [N, 1], &device), tensor(&rows.y, [N, 1], &device));
        let (mut l, mut by_hand) = (start, start);
        let mut largest = 0.0f64;
        let mut kept = Vec::new();
        for epoch in 0..epochs {
            if epoch % (epochs / 50).max(1) == 0 {
                kept.push(
                    Row::new()
                        .label("cell", "path")
                        .label("seed", seed)
                        .label("epoch", epoch)
                        .value("ratio", l / task.theory[0][0]),
                );
            }
            let leaf = tensor(&[l], [1, 1], &device).require_grad();
            let loss = world::loss(x.clone(), y.clone(), leaf.clone(), tensor(&[p], [1, 1], &device));
            let gradients = loss.clone().backward();
            let slope = leaf.grad(&gradients).ok_or_else(|| Error::Tensor("no gradient of L".to_owned()))?;
            l -= RATE * numbers(slope)?[0];
            by_hand -= RATE * place(&task, &[[by_hand]]).slope[0][0];
            largest = largest.max((l - by_hand).abs() / task.theory[0][0]);
            if epoch + 1 == epochs {
                let row = Row::new().label("cell", "burn").label("seed", seed);
                kept.push(row.value("difference", largest).value("loss", number(loss)?));
            }
        }
        Ok(kept)
    })
}

/// Starts against rates, on the data of one seed.
pub fn basin(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let epochs = unit.count("epochs")?;
    let (_, task, _, _) = scalar_task(context, 0)?;
    let mut rows = Vec::new();
    for rho in [0.01, 0.03, 0.1, 0.3, 1.0] {
        for step in -4..=12 {
            let ratio = f64::from(step) / 4.0;
            let end = descend(&task, &[[ratio * task.theory[0][0]]], Steps::Fixed(rho), epochs, true);
            rows.push(
                Row::new()
                    .label("cell", "basin")
                    .label("rho", rho)
                    .label("start_ratio", ratio)
                    .value("ratio", end.l[0][0] / task.theory[0][0])
                    .value("diverged", f64::from(end.diverged))
                    .value("in_basin", f64::from(in_basin(&task, ratio * task.theory[0][0], rho * task.unit_rate())))
                    .value("function", end.function),
            );
        }
    }
    Ok(rows)
}

/// One regressor, P free: gradient descent on both.
pub fn free(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let epochs = unit.count("epochs")?;
    replicates(10 * context.plan.seeds, context, |seed| {
        let (_, task, p_theory, l_start) = scalar_task(context, seed)?;
        let p_start = context.generator("start of P", seed).random_range(-1.0..1.0);
        let (s, l_theory) = (task.sigma[0][0], task.theory[0][0]);
        let slope = l_theory * p_theory;
        let rate = RHO * task.unit_rate();
        let (mut l, mut p): (f64, f64) = (l_start, p_start);
        for _ in 0..epochs {
            let residual = s * (l.powi(3) * s * p - slope);
            if residual.abs() < 1e-12 {
                break;
            }
            (l, p) = (l - rate * residual * 3.0 * l * l * s * p, p - rate * residual * l.powi(3) * s);
        }
        let kept = |l: f64, p: f64| l * l - 3.0 * p * p;
        Ok(vec![
            Row::new()
                .label("cell", "free")
                .label("seed", seed)
                .value("start", l_start)
                .value("start_p", p_start)
                .value("l_ratio", l / l_theory)
                .value("p_ratio", p / p_theory)
                .value("function", (l.powi(3) * s * p / slope - 1.0).abs())
                .value("structure", (l * l * s - 1.0).abs())
                .value("drift", (kept(l, p) - kept(l_start, p_start)).abs() / (l * l + 3.0 * p * p)),
        ])
    })
}

/// Epochs to leave the saddle, from starts ever nearer to it.
pub fn saddle(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let smallest = unit.count("smallest")?;
    replicates(context.plan.seeds, context, |seed| {
        let (_, task, p, _) = scalar_task(context, seed)?;
        let (s, theory) = (task.sigma[0][0], task.theory[0][0]);
        let rate = RHO * task.unit_rate();
        let exponents = (2..=2 * smallest).map(|half| -(half as f64) / 2.0);
        let of = |exponent: f64| {
            let delta = 10f64.powf(exponent) * theory;
            let predicted = 1.0 / (3.0 * rate * s * s * p * theory * p * delta);
            let end = descend(&task, &[[delta]], Steps::Fixed(RHO), (3.0 * predicted) as usize + 5000, true);
            Row::new()
                .label("cell", "saddle")
                .label("seed", seed)
                .label("delta", 10f64.powf(exponent))
                .value("epochs", end.epochs_to_one_percent.map_or(f64::INFINITY, |e| e as f64))
                .value("predicted", predicted)
        };
        Ok(exponents.map(of).collect())
    })
}

fn start_at<const D: usize>(kind: &str, task: &Task<D>, random: &mut Generator) -> Square<D> {
    let typical = norm(&task.theory) / D as f64;
    let mut normal = || -> f64 { StandardNormal.sample(random) };
    let noise: Square<D> = std::array::from_fn(|_| std::array::from_fn(|_| typical * normal()));
    match kind {
        "random" => noise,
        "small" => noise.map(|row| row.map(|x| SMALL * x)),
        "identity" => world::identity(),
        _ => zip(&task.theory, &noise, |t, e| t + NEAR * e),
    }
}

/// What is kept of every descent of matrices.
fn ended<const D: usize>(row: Row, end: &End<D>) -> Row {
    row.value("diverged", f64::from(end.diverged))
        .value("function", end.function)
        .value("structure", end.structure)
        .value("parameter", end.parameter)
        .value("falling", end.falling)
        .value("epochs", end.epochs as f64)
}

/// One target for D regressors: L is not determined.
pub fn one_target<const D: usize>(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let epochs = unit.count("epochs")? as f64;
    replicates(context.plan.seeds, context, |seed| {
        let rows = world::rows(N, D, 1, &mut context.generator("data", seed));
        let task = world::task::<D>(&rows, Root::Eigenvectors)?;
        let mut found = Vec::new();
        for (name, steps, longer) in STEPS {
            for kind in STARTS {
                let start = start_at(kind, &task, &mut context.generator(kind, seed));
                let end = descend(&task, &start, steps, (longer * epochs / steps.rho()) as usize, false);
                let row = Row::new().label("cell", "one target").label("d", D).label("seed", seed);
                found.push(ended(row.label("condition", name).label("start_kind", kind), &end));
            }
        }
        Ok(found)
    })
}

/// 4D independent targets: L is determined.
pub fn many_targets<const D: usize>(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let (root_name, epochs) = (unit.word("root")?, unit.count("epochs")? as f64);
    let root = if root_name == ROOTS[0] { Root::Eigenvectors } else { Root::Symmetric };
    let judged_longer = unit.number("judged longer")?;
    replicates(context.plan.seeds, context, |seed| {
        let mut found = Vec::new();
        for condition in CONDITIONS.iter().filter(|c| D <= c.most_columns) {
            let rows = world::rows(N, D, TARGETS * D, &mut context.generator("data", seed));
            let rows = match condition.columns {
                Columns::Normalised => world::normalised(rows),
                Columns::Unequal => world::stretched(rows, SPREAD),
                Columns::Whitened => world::whitened::<D>(rows)?,
            };
            let task = world::task::<D>(&rows, root)?;
            let longer = if condition.name == JUDGED { judged_longer } else { condition.longer };
            for kind in STARTS {
                let start = start_at(kind, &task, &mut context.generator(kind, seed));
                let most = (longer * epochs / condition.steps.rho()) as usize;
                let end = descend(&task, &start, condition.steps, most, true);
                let same = determinant(&start) * determinant(&task.theory) > 0.0;
                let row = Row::new()
                    .label("cell", "many targets")
                    .label("d", D)
                    .label("root", root_name)
                    .label("condition", condition.name)
                    .label("start_kind", kind)
                    .label("seed", seed)
                    .value("same_sign", f64::from(same));
                found.push(ended(row, &end));
            }
        }
        Ok(found)
    })
}

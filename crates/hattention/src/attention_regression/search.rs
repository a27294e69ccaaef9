//! Searches for metrics, and what becomes of what they find.

use super::fit::{AttentionRegression, Report};
use super::folds;
use super::head::{Read, Reading, read};
use super::minimise::{Ended, Limits, Minimum, minimise};
use super::objective::{At, Parameters, Problem};
use super::options::{Options, Precision};
use super::prepare::Prepared;
use super::start::start;
use super::watched;
use crate::error::Error;

/// What a search found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) parameters: Parameters,
    pub(super) minimum: Minimum,
}

impl Prepared {
    /// A search along the path of the options, from some parameters or the start; from the start again where all heads have
    /// collapsed, for they would not come back.
    pub(super) fn along(&self, options: &Options, from: Option<&Parameters>) -> Result<Found, Error> {
        let start = start(&self.inputs, options)?;
        let mut at = from.cloned().unwrap_or_else(|| start.clone());
        let (mut steps, mut evaluations) = (0, 0);
        for (penalty, mixing) in &options.path {
            let options = Options { penalty: *penalty, mixing: *mixing, ..options.clone() };
            let found = self.problem(&options).search(at, |_, _| true)?;
            (steps, evaluations) = (steps + found.minimum.steps, evaluations + found.minimum.evaluations);
            let reads = self.problem(&options).loss(&found.parameters).reads;
            let dead = self.collapsed(&reads, &options).len() == reads.len();
            at = if dead { start.clone() } else { found.parameters };
        }
        let mut found = self.problem(options).search(at, |_, _| true)?;
        found.minimum.steps += steps;
        found.minimum.evaluations += evaluations;
        Ok(found)
    }

    /// Heads that read what a metric of zero does: the same everywhere; where rows read those before them, their mean.
    fn collapsed(&self, reads: &[Read], options: &Options) -> Vec<usize> {
        let mut plain = vec![0.0; self.inputs.rows];
        if !self.scope.both && !reads.is_empty() {
            let zero = vec![vec![0.0; self.inputs.columns]; self.inputs.columns];
            let reading = Reading { precision: Precision::Double, ..self.problem(options).reading };
            plain = read(&self.inputs, &zero, &self.targets, reading).centred;
        }
        let beside = |read: &Read| read.centred.iter().zip(&plain).map(|(z, plain)| z - plain).collect::<Vec<f64>>();
        (0..reads.len()).filter(|m| flat(&beside(&reads[*m]))).collect()
    }

    fn shares(&self, at: &At) -> Vec<f64> {
        let line = |i: usize| -> f64 {
            at.mixture.slopes.iter().enumerate().map(|(p, slope)| slope * self.inputs.column(p)[i]).sum()
        };
        let line = (0..self.inputs.rows).map(line).collect();
        let heads = at.mixture.heads.iter().zip(&at.reads);
        let heads = heads.map(|(alpha, read)| read.centred.iter().map(|z| alpha * z).collect());
        shares(&std::iter::once(line).chain(heads).collect::<Vec<_>>())
    }

    /// The regression of some parameters; whatever they were searched in, it is made in doubles.
    pub(super) fn finish(self, options: Options, found: Found) -> AttentionRegression {
        let exact = Options { precision: Precision::Double, ..options.clone() };
        let at = self.problem(&exact).loss(&found.parameters);
        let Minimum { steps, evaluations, ended, .. } = found.minimum;
        let report = Report {
            loss: at.loss,
            residual: at.residuals.iter().map(|e| e * e).sum::<f64>() / self.inputs.rows as f64,
            steps,
            evaluations,
            converged: ended != Ended::Limit,
            isolated: at.reads.iter().map(|read| read.far.len()).max().unwrap_or(0),
            collapsed: self.collapsed(&at.reads, &options),
            shares: self.shares(&at),
            sampled: None,
        };
        let Self { means, scales, quantiles, target_mean, target_scale, inputs, targets, order, scope } = self;
        let (mixture, parameters) = (at.mixture, found.parameters);
        AttentionRegression {
            options,
            means,
            scales,
            quantiles,
            target_mean,
            target_scale,
            inputs,
            targets,
            order,
            scope,
            parameters,
            mixture,
            own: true,
            shared: 1.0,
            solved: None,
            report,
        }
    }
}

impl Problem<'_> {
    /// Parameters of a minimum of the loss; `observe` may stop the search.
    fn search(&self, start: Parameters, mut observe: impl FnMut(Parameters, usize) -> bool) -> Result<Found, Error> {
        let Options { heads, steps, tolerance, .. } = *self.options;
        let width = self.inputs.columns;
        let limits =
            Limits { steps, evaluations: steps.saturating_mul(2).saturating_add(25), gradient: 1e-7, fall: tolerance };
        let evaluate = |flat: &[f64]| {
            let parameters = Parameters::unflat(flat, heads, width);
            let at = self.loss(&parameters);
            (at.loss, self.slopes(&parameters, &at).flat())
        };
        watched::begin();
        let watch = |step: usize, at: &[f64], loss: f64| {
            watched::tell(step, loss);
            observe(Parameters::unflat(at, heads, width), step)
        };
        let minimum = minimise(start.flat(), limits, evaluate, watch);
        if !minimum.value.is_finite() {
            return Err(Error::NoConvergence { steps: minimum.steps, residual: minimum.value });
        }
        Ok(Found { parameters: Parameters::unflat(&minimum.at, heads, width), minimum })
    }
}

/// Steps without a better prediction of the rows held out after which a search ends.
const PATIENCE: usize = 10;

/// A search with some of the rows, drawn by a seed, to where the others are predicted best.
pub(super) fn held_out(
    columns: &[&[f64]],
    target: &[f64],
    options: &Options,
    seed: u64,
    whole: &Prepared,
) -> Result<Found, Error> {
    let count = ((options.hold_out * target.len() as f64).round() as usize).max(1);
    let split = &folds::held_out(target.len(), count, &Options { seed, ..options.clone() });
    folds::check(split, &options.mask, "two at least: hold out less")?;
    let (train, train_target) = folds::rows(columns, target, &split.train);
    let (test, test_target) = folds::rows(columns, target, &split.test);
    let options = Options { mask: folds::mask(&options.mask, &split.train), ..options.clone() };
    let train: Vec<&[f64]> = train.iter().map(|column| &column[..]).collect();
    let test: Vec<&[f64]> = test.iter().map(|column| &column[..]).collect();
    let prepared = Prepared::of(&train, &train_target, &options)?;
    let problem = prepared.problem(&options);
    let start = start(&prepared.inputs, &options)?;
    let mut best = (f64::INFINITY, 0, start.clone());
    let error = |parameters: &Parameters| -> Result<f64, Error> {
        let found = Found { parameters: parameters.clone(), minimum: Minimum::nowhere() };
        let model = prepared.clone().finish(options.clone(), found);
        let predictions = model.predict(&test)?;
        Ok(predictions.iter().zip(&test_target).map(|(p, y)| (y - p) * (y - p)).sum())
    };
    best.0 = error(&best.2)?;
    let mut failed = None;
    let found = problem.search(start, |parameters, step| {
        match error(&parameters) {
            Ok(error) if error < best.0 => best = (error, step, parameters),
            Ok(_) => {}
            Err(why) => failed = Some(why),
        }
        failed.is_none() && step < best.1 + PATIENCE
    })?;
    if let Some(why) = failed {
        return Err(why);
    }
    let Minimum { mut ended, evaluations, .. } = found.minimum;
    if ended == Ended::Stopped {
        ended = Ended::Converged;
    }
    // The same metric in the units of all rows. (Normal scores have the same everywhere.)
    let mut parameters = best.2;
    for factor in parameters.factors.iter_mut().filter(|_| whole.quantiles.is_empty()) {
        for (row, (own, all)) in factor.iter_mut().zip(prepared.scales.iter().zip(&whole.scales)) {
            row.iter_mut().for_each(|l| *l *= all / own);
        }
    }
    let minimum = Minimum { at: Vec::new(), value: best.0, steps: best.1, evaluations, ended };
    Ok(Found { parameters, minimum })
}

/// Shares of the variance of a sum of parts. Shape: `[parts][rows]`.
pub(super) fn shares(parts: &[Vec<f64>]) -> Vec<f64> {
    let rows = parts.first().map_or(0, Vec::len);
    let fitted: Vec<f64> = (0..rows).map(|i| parts.iter().map(|part| part[i]).sum()).collect();
    let mean = fitted.iter().sum::<f64>() / rows as f64;
    let with = |part: &[f64]| part.iter().zip(&fitted).map(|(p, f)| p * (f - mean)).sum::<f64>();
    let total = with(&fitted);
    parts.iter().map(|part| if total > 0.0 { with(part) / total } else { 0.0 }).collect()
}

/// A head whose values vary less than this share of the target's deviation reads the same everywhere.
const COLLAPSED: f64 = 1e-3;

/// Whether a head reads the same everywhere.
pub(super) fn flat(values: &[f64]) -> bool {
    let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), z| (a.min(*z), b.max(*z)));
    most - least < COLLAPSED
}

#[cfg(test)]
mod tests {
    use super::super::noise::wave;
    use super::*;

    #[test]
    fn a_way_where_all_heads_collapse_starts_again() {
        let x: Vec<Vec<f64>> = (0..2).map(|c| wave(120, 300.0 * c as f64)).collect();
        let columns: Vec<&[f64]> = x.iter().map(|c| &c[..]).collect();
        let y: Vec<f64> = (0..120).map(|i| (8.0 * x[0][i]).sin() * x[1][i]).collect();
        let options = Options { heads: 3, penalty: 0.1, ..Options::default() };
        let alone = Options { penalty: 1e6, ..options.clone() };
        let alone = AttentionRegression::fit(&columns, &y, alone).unwrap().report;
        assert_eq!(alone.collapsed, [0, 1, 2]);
        let fit = |path: Vec<(f64, f64)>| {
            AttentionRegression::fit(&columns, &y, Options { path, ..options.clone() }).unwrap().report
        };
        let (direct, around) = (fit(Vec::new()), fit(vec![(1e6, 0.03)]));
        assert!(around.collapsed.is_empty() && around.loss < direct.loss + 0.05, "{} {}", around.loss, direct.loss);
    }
}

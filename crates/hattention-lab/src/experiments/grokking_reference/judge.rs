//! From steps to claims.

use super::{BY_HEART, SHARES};
use crate::claim::{Claim, Threshold, number};
use crate::error::Error;
use crate::experiment::{Judgement, Plan, Results, Table};
use crate::plot::{Axis, Mark, Plot, Stroke};
use crate::statistics::{Estimate, mean};

const SOURCE: &str = "Nanda et al. 2023, their code; one seed each";
/// Student's 97.5 % with two degrees of freedom.
const STUDENT: f64 = 4.3;

pub(super) fn judge(plan: &Plan, results: &Results) -> Result<Judgement, Error> {
    let ends = |share: usize, name: &str| -> Vec<Option<f64>> {
        (0..plan.seeds)
            .map(|seed| results.of(&format!("share-{share}-{seed}")).find(|row| row.is("kind", "end"))?.get(name))
            .collect()
    };
    // (One that does not generalise needs as many as it had, at least.)
    let steps = |share: usize| -> Vec<f64> {
        let pairs = ends(share, "generalises").into_iter().zip(ends(share, "steps"));
        pairs.filter_map(|(found, all)| found.or(all)).collect()
    };
    let mut claims = Vec::new();
    for (share, published) in SHARES {
        let logarithms: Vec<f64> = steps(share).iter().map(|s| (s / published).ln()).collect();
        let found = (!logarithms.is_empty()).then(|| mean(&logarithms));
        let ratio = found.map(|found| found.value.exp());
        let told = found.and_then(|f| f.interval).map(|i| {
            format!(
                "{} to {} (95 %), {} of {} seeds",
                number(i.low.exp()),
                number(i.high.exp()),
                logarithms.len(),
                plan.seeds
            )
        });
        let claim = Claim::new(
            format!("steps-{share}"),
            format!("share .{share}: steps until the test loss is below .1, over the published {published}"),
            SOURCE,
            "1",
            Threshold::within(0.5, 2.0),
        );
        claims.push(claim.measured(ratio, None).note(told.unwrap_or_else(|| "no interval".to_owned())));
        let claim = Claim::new(
            format!("covers-{share}"),
            format!("share .{share}: the published steps among ours, in deviations of a new seed"),
            SOURCE,
            "0",
            Threshold::within(-STUDENT, STUDENT),
        );
        claims.push(claim.measured(found.and_then(|found| away(&logarithms, found)), None));
    }
    let known: Vec<f64> = SHARES.iter().flat_map(|(share, _)| ends(*share, "by heart")).flatten().collect();
    let ratios: Vec<f64> = known.iter().map(|s| s / BY_HEART).collect();
    let claim = Claim::new(
        "by-heart",
        "steps until the training loss is below .01, over the published 270",
        SOURCE,
        "1",
        Threshold::within(0.5, 2.0),
    );
    claims.push(claim.estimated((!ratios.is_empty()).then(|| mean(&ratios))));
    let mut table =
        Table::new("Steps until the loss on other pairs is below 0.1", ["share", "published", "ours", "by heart"]);
    for (share, published) in SHARES {
        let listed = |name: &str| {
            let all = ends(share, name).into_iter().map(|s| s.map_or("—".to_owned(), |s| format!("{s}")));
            all.collect::<Vec<_>>().join(", ")
        };
        table.push([format!(".{share}"), format!("{published}"), listed("generalises"), listed("by heart")]);
    }
    let plots = vec![by_share(&steps), curves(plan, results)];
    Ok(Judgement { claims, tables: vec![table], plots, ..Judgement::default() })
}

/// The published logarithm, which is zero, less the mean, in deviations of one more seed.
fn away(logarithms: &[f64], found: Estimate) -> Option<f64> {
    let n = logarithms.len() as f64;
    let squares: f64 = logarithms.iter().map(|x| (x - found.value).powi(2)).sum();
    let deviation = (squares / (n - 1.0) * (1.0 + 1.0 / n)).sqrt();
    (n > 1.0 && deviation > 0.0).then(|| -found.value / deviation)
}

fn by_share(steps: &dyn Fn(usize) -> Vec<f64>) -> Plot {
    let published = SHARES.iter().map(|(share, steps)| (*share as f64 / 100.0, *steps)).collect();
    let ours =
        SHARES.iter().flat_map(|(share, _)| steps(*share).into_iter().map(|s| (*share as f64 / 100.0, s))).collect();
    Plot::new("Steps until it generalises, by the share of pairs", Axis::linear("share of pairs"), Axis::log("steps"))
        .series("published", published, Mark::Line(Stroke::Dashed))
        .series("ours", ours, Mark::Points)
}

fn curves(plan: &Plan, results: &Results) -> Plot {
    let mut plot = Plot::new("Losses on the pairs that are held back", Axis::log("steps"), Axis::log("nats"));
    for (share, _) in SHARES {
        for seed in 0..plan.seeds {
            let name = format!("share-{share}-{seed}");
            let rows = results.of(&name).filter(|row| row.is("kind", "curve"));
            let points = rows.filter_map(|row| Some((row.number("steps")?, row.get("test loss")?))).collect();
            plot = plot.series(format!(".{share}"), points, Mark::Line(Stroke::Solid));
        }
    }
    plot
}

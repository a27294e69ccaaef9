//! From rows to claims, tables and plots.

use super::{CONDITIONS, FLOWS, FREE, ORDERS};
use crate::claim::{Claim, Threshold, number};
use crate::error::Error;
use crate::experiment::{Judgement, Plan, Results, Table};
use crate::particles::Scheme;
use crate::plot::{Axis, Mark, Plot, Stroke};
use crate::rows::Row;
use crate::seeds::generator;
use crate::statistics::{Estimate, bootstrap, line, middle, worst};

const PAPER: &str = "Stein, Li & Steidl 2026";
const DERIVED: &str = "derived";

pub(super) fn judge(plan: &Plan, results: &Results) -> Result<Judgement, Error> {
    let mut claims = moments(results);
    claims.extend(slopes(results));
    claims.extend(energies(results));
    claims.extend(orders(plan, results));
    claims.extend(steps(plan, results));
    let plots = FREE.iter().map(|flow| by_steps(results, flow)).collect();
    Ok(Judgement { claims, tables: vec![largest(results)], plots, ..Judgement::default() })
}

fn here<'a>(results: &'a Results, labels: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = &'a Row> {
    results.rows().filter(|row| labels.iter().all(|(label, word)| row.is(label, *word)))
}

fn median(values: &[f64], name: &str) -> Option<Estimate> {
    bootstrap(values, 1000, &mut generator("symp-theory", "judge", name, 0), middle).ok()
}

/// A name as part of a claim's.
fn short(scheme: Scheme) -> String {
    scheme.word().replace(['–', ' '], "-").to_lowercase()
}

fn moments(results: &Results) -> Vec<Claim> {
    ["first", "accelerated"]
        .into_iter()
        .map(|order| {
            let labels = [("kind", "moments"), ("order", order)];
            let both = here(results, &labels).flat_map(|row| [row.get("mean, off"), row.get("covariance, off")]);
            let found: Vec<f64> = both.flatten().collect();
            Claim::new(
                format!("moments-{order}"),
                format!("Linear attention, {order}: particles have mean and covariance of the equations (largest difference)"),
                DERIVED,
                "rounding",
                Threshold::at_most(1e-10),
            )
            .measured(worst(found), None)
        })
        .collect()
}

fn slopes(results: &Results) -> Vec<Claim> {
    let found = |flow: &str, name: &str| {
        let labels = [("kind", "slopes"), ("flow", flow)];
        worst(here(results, &labels).filter_map(|row| row.get(name)).collect::<Vec<_>>())
    };
    let mut claims = Vec::new();
    for flow in FLOWS {
        claims.push(
            Claim::new(
                format!("acceleration-{flow}"),
                format!("{flow}: at rest particles are accelerated by what attention adds (largest difference)"),
                PAPER,
                "equal",
                Threshold::at_most(1e-10),
            )
            .measured(found(flow, "acceleration, off"), None),
        );
    }
    for flow in FREE {
        let both = [found(flow, "force, off"), found(flow, "drift, off")];
        claims.push(
            Claim::new(
                format!("forces-{flow}"),
                format!("{flow}: forces and drifts are the slopes of the Hamiltonian (largest difference)"),
                PAPER,
                "equal",
                Threshold::at_most(1e-7),
            )
            .measured(worst(both.into_iter().flatten()), None),
        );
    }
    claims
}

fn energies(results: &Results) -> Vec<Claim> {
    let mut claims = Vec::new();
    for flow in FREE {
        let labels = [("kind", "energies"), ("flow", flow)];
        let found = |name: &str| worst(here(results, &labels).filter_map(|row| row.get(name)).collect::<Vec<_>>());
        claims.push(
            Claim::new(
                format!("energy-falls-{flow}"),
                format!("{flow}: with damping the Hamiltonian never rises (largest rise over its fall)"),
                PAPER,
                "never",
                Threshold::at_most(1e-10),
            )
            .measured(found("largest rise over the fall"), None),
        );
        claims.push(
            Claim::new(
                format!("energy-kept-{flow}"),
                format!("{flow}: without damping it is kept (largest change over the energy)"),
                DERIVED,
                "kept",
                Threshold::at_most(1e-9),
            )
            .measured(found("change without damping"), None),
        );
    }
    claims
}

/// Slopes of a number against the step, in logarithms, one a replicate.
fn slopes_of(plan: &Plan, results: &Results, flow: &str, scheme: Scheme, name: &str) -> Vec<f64> {
    let labels = [("kind", "orders"), ("flow", flow), ("scheme", scheme.word())];
    let of_seed = |seed: usize| {
        let (x, y): (Vec<f64>, Vec<f64>) = here(results, &labels)
            .filter(|row| row.is("seed", seed))
            .filter_map(|row| Some((-(row.count("steps")? as f64).ln(), row.get(name)?.ln())))
            .unzip();
        line(&x, &y).ok().map(|line| line.slope.value)
    };
    (0..plan.seeds).filter_map(of_seed).collect()
}

fn orders(plan: &Plan, results: &Results) -> Vec<Claim> {
    let mut claims = Vec::new();
    for flow in FREE {
        for (scheme, order) in ORDERS {
            let found = |name: &str| median(&slopes_of(plan, results, flow, scheme, name), &format!("{flow} {name}"));
            claims.push(Claim::estimated(
                Claim::new(
                    format!("order-{flow}-{}", short(scheme)),
                    format!("{flow}, {}: order (slope of the error against the step)", scheme.word()),
                    PAPER,
                    number(order),
                    Threshold::within(order - 0.1, order + 0.1),
                ),
                found("error"),
            ));
            claims.push(Claim::estimated(
                Claim::new(
                    format!("energy-order-{flow}-{}", short(scheme)),
                    format!("{flow}, {}: order to which H is kept without damping", scheme.word()),
                    DERIVED,
                    format!("at least {}", number(order)),
                    Threshold::at_least(order - 0.1),
                ),
                found("H, off"),
            ));
        }
    }
    claims
}

/// The largest steps by replicate.
fn largest_of(plan: &Plan, results: &Results, condition: f64, damping: &str, scheme: Scheme) -> Vec<f64> {
    let labels = [("kind", "largest steps"), ("damping", damping), ("scheme", scheme.word())];
    let of_seed = |seed: usize| {
        let mut here = here(results, &labels).filter(|row| row.is("condition", condition) && row.is("seed", seed));
        here.next().and_then(|row| row.get("largest step"))
    };
    (0..plan.seeds).filter_map(of_seed).collect()
}

fn steps(plan: &Plan, results: &Results) -> Vec<Claim> {
    [Scheme::KickDrift, Scheme::ExponentialEuler, Scheme::Strang]
        .into_iter()
        .map(|scheme| {
            let of = |scheme: Scheme| largest_of(plan, results, 100.0, "1", scheme);
            let ratios: Vec<f64> = of(scheme).iter().zip(of(Scheme::Euler)).map(|(a, b)| a / b).collect();
            Claim::estimated(
                Claim::new(
                    format!("steps-{}", short(scheme)),
                    format!("{}: its largest step over that of Euler, κ = 100, damping 1", scheme.word()),
                    PAPER,
                    "above 1",
                    Threshold::at_least(1.0),
                ),
                median(&ratios, &short(scheme)),
            )
        })
        .collect()
}

fn largest(results: &Results) -> Table {
    let heads = ["scheme", "damping", "κ = 1", "κ = 10", "κ = 100"];
    let mut table = Table::new("Largest steps (medians): linear attention, V = −diag(1 … κ)", heads);
    for scheme in Scheme::ALL {
        for damping in ["1", "3/t"] {
            let labels = [("kind", "largest steps"), ("damping", damping), ("scheme", scheme.word())];
            let cell = |condition: f64| {
                let found: Vec<f64> = here(results, &labels)
                    .filter(|row| row.is("condition", condition))
                    .filter_map(|row| row.get("largest step"))
                    .collect();
                if found.is_empty() { "—".to_owned() } else { number(middle(&found)) }
            };
            let cells = CONDITIONS.map(cell);
            table.push([scheme.word().to_owned(), damping.to_owned()].into_iter().chain(cells));
        }
    }
    table
}

fn by_steps(results: &Results, flow: &str) -> Plot {
    let title = format!("{flow} attention: four schemes are of the first order, two of the second");
    let mut plot = Plot::new(title, Axis::log("steps for a time of 1"), Axis::log("largest error, median"));
    for (scheme, _) in ORDERS {
        let labels = [("kind", "orders"), ("flow", flow), ("scheme", scheme.word())];
        let mut steps: Vec<usize> = here(results, &labels).filter_map(|row| row.count("steps")).collect();
        steps.sort_unstable();
        steps.dedup();
        let point = |steps: &usize| {
            let here = here(results, &labels).filter(|row| row.is("steps", *steps));
            (*steps as f64, middle(&here.filter_map(|row| row.get("error")).collect::<Vec<_>>()))
        };
        plot = plot.series(scheme.word(), steps.iter().map(point).collect(), Mark::Line(Stroke::Solid));
    }
    plot
}

//! The softmax memory on spheres, judged.

use std::collections::BTreeMap;

use super::claims::{FAILURE, half, slope, with_slope};
use super::continuous::promised;
use super::judge::{bars, shown};
use super::{COMMON, PROMISES};
use crate::claim::{Claim, Threshold, Verdict, number};
use crate::experiment::{Results, Table};
use crate::plot::{Axis, Mark, Plot, Stroke};
use crate::rows::Row;
use crate::statistics::{Estimate, Interval, LEVEL, share, t_quantile, worst};

/// The capacity of one dimension.
pub struct Capacity {
    /// The dimension.
    pub dimension: usize,
    /// ln K* after one step; `None` if success does not cross the half within the grid.
    pub step: Option<Estimate>,
    /// ln K* at rest.
    pub rest: Option<Estimate>,
    /// ln of the largest K at which half of the sets succeed: at most K*, whatever the grid; `None` if none does.
    pub at_least: Option<f64>,
}

/// Capacities of a β, by dimension.
pub struct Sphere {
    /// Inverse temperature.
    pub beta: f64,
    /// The capacities.
    pub capacities: Vec<Capacity>,
}

impl Sphere {
    /// Dimension and ln K* after one step; where the grid ends before K*, the largest K that succeeded instead.
    fn points(&self) -> Vec<(f64, f64)> {
        let point = |c: &Capacity| Some((c.dimension as f64, c.step.map(|e| e.value).or(c.at_least)?));
        self.capacities.iter().filter_map(point).collect()
    }
}

/// All capacities.
pub fn spheres(results: &Results) -> Vec<Sphere> {
    let mut by: BTreeMap<(u64, usize), Vec<&Row>> = BTreeMap::new();
    for row in results.rows().filter(|row| row.is("measure", "softmax")) {
        let beta = row.number("beta").unwrap_or(f64::NAN);
        by.entry((beta.to_bits(), row.count("d").unwrap_or(0))).or_default().push(row);
    }
    let mut spheres: Vec<Sphere> = Vec::new();
    for ((beta, dimension), rows) in by {
        let succeeding = |row: &&Row| {
            let half = row.get("successes after a step")? >= 0.5 * row.get("sets")?;
            row.number("K").filter(|_| half)
        };
        let largest = rows.iter().filter_map(succeeding).reduce(f64::max);
        let capacity = Capacity {
            dimension,
            step: half(&rows, "successes after a step"),
            rest: half(&rows, "successes at rest"),
            at_least: largest.map(f64::ln),
        };
        let beta = f64::from_bits(beta);
        match spheres.iter_mut().find(|s| s.beta == beta) {
            Some(sphere) => sphere.capacities.push(capacity),
            None => spheres.push(Sphere { beta, capacities: vec![capacity] }),
        }
    }
    spheres
}

/// The claims.
pub fn claims(spheres: &[Sphere], results: &Results) -> Vec<Claim> {
    let mut claims = Vec::new();
    for sphere in spheres {
        let claim = Claim::new(
            format!("softmax-{}-grows", sphere.beta),
            format!("Softmax memory, β = {}: slope of ln K* over the dimension is positive", sphere.beta),
            "Ramsauer et al. 2020, theorem 3",
            "above 0",
            Threshold::at_least(0.0),
        );
        let beyond = sphere.capacities.iter().filter(|c| c.step.is_none() && c.at_least.is_some()).count();
        let note =
            format!("{} dimensions; K* is beyond the grid at {beyond}, where its end counts", sphere.points().len());
        claims.push(with_slope(claim, slope(&sphere.points())).note(note));
    }
    claims.push(steeper(spheres));
    claims.extend(PROMISES.iter().map(|(beta, _)| promise(*beta, results)));
    let rows = || results.rows().filter(|row| row.is("measure", "softmax"));
    let largest = worst(rows().filter_map(|row| row.get("largest error over bound")));
    let sum = |name: &str| rows().filter_map(|row| row.get(name)).sum::<f64>();
    let (telling, probes) = (sum("probes with a telling bound"), sum("probes"));
    let claim = Claim::new(
        "softmax-bound",
        "Softmax memory: the largest one-step error over its bound",
        "Ramsauer et al. 2020, theorem 4",
        "at most 1",
        Threshold::at_most(1.0),
    );
    claims.push(claim.measured(largest, None).note(format!(
        "of {probes} probes the bound was smaller than the ball they started in at {telling}; elsewhere it says nothing"
    )));
    claims
}

/// Over the same dimensions ln K* rises faster the larger β: lines of one residual variance, differences of neighbours.
fn steeper(spheres: &[Sphere]) -> Claim {
    let claim = Claim::new(
        "softmax-steeper",
        "Softmax memory: over the same dimensions ln K* rises faster the larger β (the smallest gain from a β to the next)",
        "derived here",
        "above 0",
        Threshold::at_least(0.0),
    );
    let x = COMMON.map(|d| d as f64);
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let spread: f64 = x.iter().map(|x| (x - mean).powi(2)).sum();
    let mut lines: Vec<(f64, f64, f64)> = Vec::new();
    for sphere in spheres {
        let points = sphere.points();
        let y: Vec<f64> = x.iter().filter_map(|x| points.iter().find(|p| p.0 == *x).map(|p| p.1)).collect();
        if y.len() == x.len() {
            let middle = y.iter().sum::<f64>() / y.len() as f64;
            let slope = x.iter().zip(&y).map(|(x, y)| (x - mean) * (y - middle)).sum::<f64>() / spread;
            let rest: f64 = x.iter().zip(&y).map(|(x, y)| (y - middle - slope * (x - mean)).powi(2)).sum();
            lines.push((sphere.beta, slope, rest));
        }
    }
    lines.sort_by(|a, b| a.0.total_cmp(&b.0));
    let gains = lines.windows(2).map(|w| w[1].1 - w[0].1);
    let Some(least) = gains.reduce(f64::min) else { return claim };
    let freedom = (lines.len() * (x.len() - 2)) as f64;
    let variance = lines.iter().map(|l| l.2).sum::<f64>() / freedom;
    // All gains at once: Bonferroni.
    let one = 1.0 - (1.0 - LEVEL) / 2.0 / (lines.len() - 1) as f64;
    let half = t_quantile(one, freedom) * (2.0 * variance / spread).sqrt();
    let slopes = lines.iter().map(|l| format!("β = {}: {}", l.0, number(l.1))).collect::<Vec<_>>().join("; ");
    claim
        .measured(least, Interval::new(least - half, least + half, LEVEL))
        .note(format!("slopes over d of 6 to 9: {slopes}"))
}

/// Whether the theorem's promise is kept.
fn promise(beta: f64, results: &Results) -> Claim {
    let claim = Claim::new(
        format!("softmax-{beta}-promised"),
        format!(
            "Softmax memory, β = {beta}: √p c^((d−1)/4) patterns, p = {FAILURE}, are all stored in a share 1 − p of the draws"
        ),
        "Ramsauer et al. 2020, theorem 3",
        format!("at least {}", 1.0 - FAILURE),
        Threshold::at_least(1.0 - FAILURE),
    );
    let rows: Vec<&Row> =
        results.rows().filter(|r| r.is("measure", "promise") && r.number("beta") == Some(beta)).collect();
    let found = |row: &Row| Some(share(row.get("sets stored")? as u64, row.get("sets")? as u64));
    let worst = rows.iter().filter_map(|r| found(r)).min_by(|a, b| a.value.total_cmp(&b.value));
    let Some(worst) = worst else { return claim };
    let each = rows.iter().filter_map(|r| {
        Some(format!("d = {}: {} ≥ 2, so {} patterns", r.count("d")?, number(r.get("promised")?), r.count("K")?))
    });
    let each = each.collect::<Vec<_>>().join("; ");
    claim.measured(worst.value, worst.interval).note(format!(
        "the worst dimension; the theorem's condition c ≥ (2/√p)^(4/(d−1)) says that it promises 2 patterns or more: {each}"
    ))
}

/// The table.
pub fn table(spheres: &[Sphere]) -> Table {
    let columns = ["β", "d", "K* after a step", "K* at rest", "promised (p = 0.05)"];
    let mut table = Table::new("Capacities of the softmax memory on spheres of radius √(d−1)", columns);
    for sphere in spheres {
        for c in &sphere.capacities {
            let promised = promised(c.dimension, sphere.beta, FAILURE);
            let promised = if promised.is_nan() { "below 2".to_owned() } else { number(promised) };
            let step = match (c.step, c.at_least) {
                (None, Some(least)) => format!("at least {}", number(least.exp())),
                (step, _) => shown(step),
            };
            table.push([sphere.beta.to_string(), c.dimension.to_string(), step, shown(c.rest), promised]);
        }
    }
    table
}

/// Capacities by dimension; the title says what the claims found.
pub fn plot(spheres: &[Sphere], claims: &[Claim]) -> Plot {
    let holds = |id: &str| claims.iter().any(|c| c.id() == id && c.verdict() == Verdict::Reproduced);
    let title = if holds("softmax-steeper") {
        "Softmax memories: ln K* rises with the dimension, over the same dimensions the faster the larger β"
    } else if spheres.iter().all(|s| holds(&format!("softmax-{}-grows", s.beta))) {
        "Softmax memories: ln K* rises with the dimension, for every β"
    } else {
        "Softmax memories: capacity by dimension and β"
    };
    let mut plot = Plot::new(title, Axis::linear("dimension d"), Axis::log("capacity K* after one step"));
    for sphere in spheres {
        let measured: Vec<(f64, Estimate)> =
            sphere.capacities.iter().filter_map(|c| Some((c.dimension as f64, c.step?))).collect();
        let (points, mark) = bars(&measured);
        let name = format!("β = {}", sphere.beta);
        let line = points.clone();
        plot = plot.series(name.clone(), points, mark).series(name, line, Mark::Line(Stroke::Solid));
    }
    plot
}

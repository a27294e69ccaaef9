//! From losses to claims, tables and plots.

use super::BLOCKS;
use crate::claim::{Claim, Threshold, number};
use crate::error::Error;
use crate::experiment::{Judgement, Plan, Results, Table, UnitResult};
use crate::plot::{Axis, Mark, Plot, Stroke};
use crate::rows::Row;
use crate::statistics::{Estimate, mean, middle};
use crate::transformer::{Block, Kernel};

const PAPER: &str = "Stein, Li & Steidl 2026 and later results";
const DERIVED: &str = "derived";
/// Losses on TinyStories and OpenWebText, means and deviations over seeds.
const PUBLISHED: &str = include_str!("published.csv");
/// The share of steps, and of seconds, that stands for a loss that is not reached.
const NEVER: f64 = 2.0;

pub(super) fn judge(plan: &Plan, results: &Results) -> Result<Judgement, Error> {
    let of = Judge { plan, results };
    let mut claims = Vec::new();
    for kernel in Kernel::ALL {
        claims.extend(of.differences(kernel));
        claims.push(of.shares(kernel, "calls"));
        claims.push(of.shares(kernel, "time"));
    }
    let tables = vec![of.losses(), of.published(), of.rates()];
    let plots = Kernel::ALL
        .into_iter()
        .flat_map(|kernel| [of.against_plain(kernel), of.curves(kernel, "steps"), of.curves(kernel, "seconds")])
        .collect();
    Ok(Judgement { claims, tables, plots, ..Judgement::default() })
}

struct Judge<'a> {
    plan: &'a Plan,
    results: &'a Results,
}

impl<'a> Judge<'a> {
    /// Rows of a training.
    fn rows(&self, kind: &'a str, kernel: Kernel, block: Block, seed: usize) -> impl Iterator<Item = &'a Row> {
        let unit = self.unit(kernel, block, seed);
        unit.into_iter().flat_map(|unit| &unit.rows).filter(move |row| row.is("kind", kind))
    }

    /// A number at the end, seed by seed.
    fn ends(&self, kernel: Kernel, block: Block, name: &str) -> Vec<Option<f64>> {
        let of = |seed: usize| self.rows("end", kernel, block, seed).find_map(|row| row.get(name));
        (0..self.plan.seeds).map(of).collect()
    }

    /// Losses of one block less those of another, over the seeds that have both.
    fn difference(&self, kernel: Kernel, block: Block, other: Block) -> Option<Estimate> {
        let pairs = self.ends(kernel, block, "validation").into_iter().zip(self.ends(kernel, other, "validation"));
        let found: Vec<f64> = pairs.filter_map(|(a, b)| Some(a? - b?)).collect();
        (!found.is_empty()).then(|| mean(&found))
    }

    fn diverged(&self, kernel: Kernel, block: Block, seed: usize) -> bool {
        self.ends(kernel, block, "diverged").get(seed).copied().flatten().is_some_and(|diverged| diverged > 0.0)
    }

    fn differences(&self, kernel: Kernel) -> Vec<Claim> {
        use Block::{Euler, ExponentialEuler, H1, HeavyBall, Injected, KickDrift, Plain, R2, Summed, YuriiFormer};
        // (The authors' linear form has a ridge of the prefix's keys.)
        let geometry = if kernel == Kernel::Softmax { PAPER } else { DERIVED };
        let compared = [
            ("momentum-heavy-ball", HeavyBall, Plain, PAPER, "below 0"),
            ("momentum-yuriiformer", YuriiFormer, Plain, PAPER, "below 0"),
            ("control-summed", HeavyBall, Summed, DERIVED, "unknown"),
            ("control-injected", HeavyBall, Injected, DERIVED, "unknown"),
            ("geometry-h1", H1, HeavyBall, geometry, "below 0 at first, none later"),
            ("geometry-r2", R2, HeavyBall, geometry, "below 0 at first, none later"),
            ("presymplectic-kick-drift", KickDrift, Euler, PAPER, "below 0"),
            ("presymplectic-exponential-euler", ExponentialEuler, Euler, PAPER, "below 0"),
            ("stepped-kick-drift", KickDrift, Plain, PAPER, "below 0"),
        ];
        let claim = |(name, block, other, source, expected): (&str, Block, Block, &str, &str)| {
            Claim::new(
                format!("{name}-{}", kernel.word()),
                format!("{}: loss of {} less that of {}", kernel.word(), block.word(), other.word()),
                source,
                expected,
                Threshold::at_most(0.0),
            )
            .estimated(self.difference(kernel, block, other))
        };
        compared.map(claim).to_vec()
    }

    fn unit(&self, kernel: Kernel, block: Block, seed: usize) -> Option<&'a UnitResult> {
        let name = format!("{}-{}-{seed}", kernel.word(), block.word());
        self.results.units.iter().find(|unit| unit.unit.name == name)
    }

    /// Steps and losses by the windows that were looked at on the way.
    fn curve(&self, kernel: Kernel, block: Block, seed: usize) -> Vec<(f64, f64)> {
        self.rows("curve", kernel, block, seed)
            .filter_map(|row| Some((row.count("steps")? as f64, row.get("validation")?)))
            .collect()
    }

    /// The share of plain's steps, or seconds, after which heavy ball has plain's last loss.
    fn shares(&self, kernel: Kernel, what: &str) -> Claim {
        let share = |seed: usize| {
            let (plain, ball) = (self.curve(kernel, Block::Plain, seed), self.curve(kernel, Block::HeavyBall, seed));
            let (steps, goal) = *plain.last()?;
            if self.diverged(kernel, Block::Plain, seed) {
                return None;
            }
            let share = crossing(&ball, goal) / steps;
            if share > 1.0 || self.diverged(kernel, Block::HeavyBall, seed) {
                return Some(NEVER);
            }
            let seconds = |block: Block| self.unit(kernel, block, seed).map(|unit| unit.seconds);
            let price = seconds(Block::HeavyBall)? / seconds(Block::Plain)?;
            Some(share * if what == "time" { price } else { 1.0 })
        };
        let found: Vec<f64> = (0..self.plan.seeds).filter_map(share).collect();
        let unit = if what == "time" { "seconds" } else { "oracle calls" };
        Claim::new(
            format!("{what}-{}", kernel.word()),
            format!("{}: share of plain's {unit} that heavy ball needs to reach its loss", kernel.word()),
            PAPER,
            "below 1",
            Threshold::at_most(1.0),
        )
        .estimated((!found.is_empty()).then(|| mean(&found)))
    }

    fn losses(&self) -> Table {
        let heads = ["kernel", "block", "loss (95 %)", "less plain (95 %)", "parameters", "calls", "seconds"];
        let mut table = Table::new("Validation loss at the end, nats a character; means over seeds", heads);
        for kernel in Kernel::ALL {
            for block in BLOCKS {
                let ends: Vec<f64> = self.ends(kernel, block, "validation").into_iter().flatten().collect();
                let of = |name: &str| {
                    self.ends(kernel, block, name).into_iter().flatten().next().map_or("—".to_owned(), number)
                };
                let seconds: Vec<f64> =
                    (0..self.plan.seeds).filter_map(|seed| Some(self.unit(kernel, block, seed)?.seconds)).collect();
                table.push([
                    kernel.word().to_owned(),
                    block.word().to_owned(),
                    if ends.is_empty() { "—".to_owned() } else { told(mean(&ends)) },
                    self.difference(kernel, block, Block::Plain).map_or("—".to_owned(), told),
                    of("parameters"),
                    of("oracle calls"),
                    if seconds.is_empty() { "—".to_owned() } else { number(middle(&seconds)) },
                ]);
            }
        }
        table
    }

    fn published(&self) -> Table {
        let heads =
            ["kernel", "block", "TinyStories, less plain", "OpenWebText, less plain", "here, less plain (95 %)"];
        let mut table =
            Table::new("Published losses less those of plain attention (100 million tokens, width 64)", heads);
        let lines: Vec<Vec<&str>> = PUBLISHED.lines().skip(1).map(|line| line.split(',').collect()).collect();
        let value = |kernel: &str, arm: &str, place: usize| -> Option<f64> {
            lines.iter().find(|line| line[0] == kernel && line[1] == arm)?.get(place)?.parse().ok()
        };
        for kernel in Kernel::ALL {
            let arms = [
                (Block::YuriiFormer, "yurii"),
                (Block::HeavyBall, "h0_momentum"),
                (Block::H1, "h1"),
                (Block::R2, "r2"),
            ];
            // (The authors' linear H1 and R2 are others.)
            for (block, arm) in arms.into_iter().take(if kernel == Kernel::Softmax { 4 } else { 2 }) {
                let less = |place: usize| {
                    let found = Some(value(kernel.word(), arm, place)? - value(kernel.word(), "plain", place)?);
                    found.map(number)
                };
                table.push([
                    kernel.word().to_owned(),
                    block.word().to_owned(),
                    less(2).unwrap_or_default(),
                    less(4).unwrap_or_default(),
                    self.difference(kernel, block, Block::Plain).map_or("—".to_owned(), told),
                ]);
            }
        }
        table
    }

    fn rates(&self) -> Table {
        let heads = ["kernel", "block", "1e-3", "3e-3", "1e-2"];
        let title = "Validation loss by rate, after a quarter of the steps, one seed of its own";
        let mut table = Table::new(title, heads);
        for kernel in Kernel::ALL {
            for block in BLOCKS {
                let cell = |rate: &str| {
                    let name = format!("rate-{rate}-{}-{}", kernel.word(), block.word());
                    match self.results.of(&name).find(|row| row.is("kind", "end")) {
                        None => "—".to_owned(),
                        Some(row) if row.get("diverged") == Some(1.0) => "diverged".to_owned(),
                        Some(row) => row.get("validation").map_or("—".to_owned(), number),
                    }
                };
                let cells = ["1e-3", "3e-3", "1e-2"].map(cell);
                table.push([kernel.word().to_owned(), block.word().to_owned()].into_iter().chain(cells));
            }
        }
        table
    }

    fn against_plain(&self, kernel: Kernel) -> Plot {
        let title = format!("{}: loss at the end less that of plain", kernel.word());
        let mut plot =
            Plot::new(title, Axis::linear("parameters"), Axis::linear("nats a character, 95 %")).level(0.0, "plain");
        for block in BLOCKS.into_iter().filter(|block| *block != Block::Plain) {
            let count = self.ends(kernel, block, "parameters").into_iter().flatten().next();
            let found = count.zip(self.difference(kernel, block, Block::Plain)).filter(|(_, d)| d.value.is_finite());
            if let Some((count, found)) = found {
                let bar = found.interval.map_or((found.value, found.value), |i| (i.low, i.high));
                plot = plot.series(block.word(), vec![(count, found.value)], Mark::Bars(vec![bar]));
            }
        }
        plot
    }

    /// Losses on the way, by steps or by seconds.
    fn curves(&self, kernel: Kernel, by: &str) -> Plot {
        let title = format!("{}: validation loss by {by}, mean over seeds", kernel.word());
        let mut plot = Plot::new(title, Axis::log(by), Axis::linear("nats a character"));
        for block in [Block::Plain, Block::Injected, Block::HeavyBall, Block::R2, Block::KickDrift] {
            let whole = |seed: &usize| {
                let curve = self.curve(kernel, block, *seed);
                (!curve.is_empty() && curve.iter().all(|(_, loss)| loss.is_finite())).then_some(curve)
            };
            let curves: Vec<Vec<(f64, f64)>> = (0..self.plan.seeds).filter_map(|seed| whole(&seed)).collect();
            let seconds: Vec<f64> =
                (0..self.plan.seeds).filter_map(|seed| Some(self.unit(kernel, block, seed)?.seconds)).collect();
            let shortest = curves.iter().map(Vec::len).min().unwrap_or(0);
            let point = |k: usize| {
                let sum: f64 = curves.iter().map(|curve| curve[k].1).sum();
                let (steps, all) = (curves[0][k].0, curves[0][shortest - 1].0);
                let x = if by == "seconds" { steps / all * middle(&seconds) } else { steps };
                (x, sum / curves.len() as f64)
            };
            plot = plot.series(block.word(), (0..shortest).map(point).collect(), Mark::Line(Stroke::Solid));
        }
        plot
    }
}

/// Where a curve first comes down to a height, on the straight line between its points; infinity if it does not.
fn crossing(curve: &[(f64, f64)], height: f64) -> f64 {
    let Some(place) = curve.iter().position(|(_, loss)| *loss <= height) else { return f64::INFINITY };
    if place == 0 {
        return curve[0].0;
    }
    let ((x0, y0), (x1, y1)) = (curve[place - 1], curve[place]);
    x0 + (x1 - x0) * (y0 - height) / (y0 - y1)
}

fn told(estimate: Estimate) -> String {
    let interval = estimate.interval.map(|i| format!(" ({:.4} to {:.4})", i.low, i.high));
    format!("{:.4}{}", estimate.value, interval.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_crossed_between_their_points() {
        let curve = [(10.0, 3.0), (20.0, 2.0), (30.0, 1.0)];
        assert_eq!(crossing(&curve, 1.5), 25.0);
        assert_eq!(crossing(&curve, 4.0), 10.0);
        assert_eq!(crossing(&curve, 0.5), f64::INFINITY);
    }
}

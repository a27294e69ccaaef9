//! Races to a gap of energy, and the steps and dampings that are best for each.

use hattention::matrix::Matrix;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::{Arm, Family};
use crate::error::Error;
use crate::experiment::{Context, Unit};
use crate::experiments::symp_theory::bowl;
use crate::particles::{Damping, Domain, Flow, Integrator, Scheme, Softmax};
use crate::rows::Row;

/// An earlier end that is told too, in gaps at which a race ends.
const EARLIER: f64 = 10.0;
/// Calls after which a race is given up while nothing better is known: at first, and at last, where momenta may take
/// so many times what plain attention takes.
const FIRST: usize = 1000;
const MOST: usize = 20_000_000;
const TIMES: f64 = 3.0;
/// What is taken of the best step, lest other starts be lost.
const MARGIN: f64 = 0.8;
/// Moments of the curves that are kept.
const MOMENTS: usize = 200;

/// Where to race.
pub(super) struct Course {
    pub(super) kernel: String,
    pub(super) condition: f64,
    pub(super) minimum: f64,
    /// The share of the gap at the start, over the condition, at which races end.
    pub(super) share: f64,
    pub(super) tuning: Vec<Matrix>,
    pub(super) fresh: Vec<Matrix>,
}

/// The numbers that an arm may choose.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Chosen {
    step: f64,
    damping: f64,
}

/// How a race ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// Calls until energy and momentum's energy were low enough, until the energy alone was, and until ten times as much was left.
    Arrived { calls: usize, first: usize, earlier: usize },
    /// Still on the way: the gap that is left, over that at which the race ends.
    Slow(f64),
    /// Energies without bounds.
    Lost,
}

/// A race on its way.
struct Runner<'a, F: Flow> {
    way: Integrator<'a, F>,
    scaled: bool,
    plain: bool,
    chosen: Chosen,
    square: f64,
}

fn square(x: &Matrix) -> f64 {
    x.data.iter().map(|x| x * x).sum()
}

impl<'a, F: Flow> Runner<'a, F> {
    fn new(flow: &'a F, course: &Course, arm: Arm, chosen: Chosen, start: &Matrix) -> Self {
        let damping = match arm.damping {
            Family::None => Damping::default(),
            Family::Constant => Damping::constant(chosen.damping),
            Family::Nesterov => Damping::inverse(3.0),
        };
        let way = Integrator::new(flow, arm.scheme, damping, start.clone(), chosen.step);
        let plain = arm.scheme == Scheme::Plain;
        Self { way, scaled: course.kernel == "scaled", plain, chosen, square: square(start) }
    }

    fn step(&mut self) {
        if !self.scaled {
            return self.way.step(self.chosen.step);
        }
        let share = square(self.way.x()) / self.square;
        let scale = if self.plain { share } else { share.sqrt() };
        self.way.damp(Damping::constant(self.chosen.damping * scale));
        self.way.step(self.chosen.step / scale);
    }

    /// Energies above the minimum: with momenta's, and without.
    fn gaps(&self, minimum: f64) -> (f64, f64) {
        let energy = self.way.energy() - minimum;
        (if self.plain { energy } else { self.way.hamiltonian() - minimum }, energy)
    }
}

fn race<F: Flow>(flow: &F, course: &Course, arm: Arm, chosen: Chosen, start: &Matrix, most: usize) -> End {
    let mut runner = Runner::new(flow, course, arm, chosen, start);
    let gap = runner.gaps(course.minimum).1;
    let goal = course.share / course.condition * gap;
    let (mut first, mut earlier) = (None, None);
    let mut left = f64::INFINITY;
    while runner.way.calls() < most {
        runner.step();
        let calls = runner.way.calls();
        let (all, energy) = runner.gaps(course.minimum);
        if energy <= goal {
            first.get_or_insert(calls);
        }
        if all <= EARLIER * goal {
            earlier.get_or_insert(calls);
        }
        if all <= goal {
            return End::Arrived { calls, first: first.unwrap_or(calls), earlier: earlier.unwrap_or(calls) };
        }
        if all.is_nan() || all > 100.0 * gap {
            return End::Lost;
        }
        left = all / goal;
    }
    End::Slow(left)
}

/// How good a choice is, and whether races end: mean calls from the starts for tuning, if they end from all of them. The first
/// alone tells most choices that do not; those are ordered by what was left of the gap.
fn cost<F: Flow>(flow: &F, course: &Course, arm: Arm, chosen: Chosen, most: usize) -> (f64, bool) {
    let run = |start: &Matrix| race(flow, course, arm, chosen, start, most);
    match course.tuning.first().map(run) {
        Some(End::Slow(left)) => return (most as f64 * (2.0 + left.ln().max(0.0)), false),
        Some(End::Arrived { .. }) => {}
        Some(End::Lost) | None => return (f64::INFINITY, false),
    }
    let calls = |end: End| match end {
        End::Arrived { calls, .. } => Some(calls as f64),
        End::Slow(_) | End::Lost => None,
    };
    let all: Option<Vec<f64>> = course.tuning.par_iter().map(|start| calls(run(start))).collect();
    match all {
        Some(all) => (all.iter().sum::<f64>() / all.len() as f64, true),
        None => (2.0 * most as f64, false),
    }
}

/// The best so far.
struct Search<'a, F: Flow> {
    flow: &'a F,
    course: &'a Course,
    arm: Arm,
    best: Option<(f64, Chosen)>,
    /// Calls at most, while there is no best: at first, and in the end.
    most: usize,
    limit: usize,
}

impl<F: Flow> Search<'_, F> {
    /// Tries steps from long to short until they are plainly too short.
    fn along(&mut self, damping: f64, steps: impl Iterator<Item = f64>) {
        let (mut worse, mut here, mut ended) = (0, f64::INFINITY, false);
        for step in steps {
            let chosen = Chosen { step, damping };
            let most = self.best.map_or(self.most, |(calls, _)| (2.0 * calls) as usize + 10);
            let (calls, ends) = cost(self.flow, self.course, self.arm, chosen, most);
            if calls < here {
                (worse, here) = (0, calls);
            } else if calls.is_finite() && (ended || calls > 1.001 * here) {
                // (Where damping is so strong that nothing moves all steps are alike, until they are short enough.)
                worse += 1;
            }
            ended |= ends;
            if ends && self.best.is_none_or(|(best, _)| calls < best) {
                self.best = Some((calls, chosen));
            }
            // (Tokens on spheres that jump about do not run away; shorter steps may still arrive.)
            if worse >= if ended { 2 } else { 8 } {
                return;
            }
        }
    }

    fn tuned(mut self) -> Option<(f64, Chosen)> {
        let coarse = |of: f64| (0..56).map(move |j| of * 2f64.powf(-0.5 * f64::from(j)));
        let fine = |of: f64| (-1..=2).rev().map(move |j| of * 2f64.powf(0.25 * f64::from(j)));
        let constant = self.arm.damping == Family::Constant;
        let dampings: Vec<f64> = if constant { (-3..=5).map(|j| 4f64.powi(j)).collect() } else { vec![0.0] };
        loop {
            self.most = self.most.min(self.limit);
            dampings.iter().for_each(|damping| self.along(*damping, coarse(64.0)));
            if self.best.is_some() || self.most == self.limit {
                break;
            }
            self.most *= 10;
        }
        if constant {
            for ratio in [2.0, 2f64.sqrt()] {
                let (_, about) = self.best?;
                for damping in [about.damping / ratio, about.damping * ratio] {
                    self.along(damping, coarse(8.0 * about.step).take(14));
                }
            }
        }
        let (_, about) = self.best?;
        self.along(about.damping, fine(about.step));
        self.best.map(|(calls, chosen)| (calls, Chosen { step: MARGIN * chosen.step, ..chosen }))
    }
}

/// All races of a kernel and a condition.
pub(super) fn races_on<F: Flow>(flow: &F, course: &Course, context: &Context<'_>) -> Vec<Row> {
    let arms = Arm::of(&course.kernel);
    let mut rows = Vec::new();
    let mut limit = MOST;
    for (place, arm) in arms.iter().enumerate() {
        context.progress(place as f64 / arms.len() as f64);
        let labelled = |kind: &str| {
            Row::new()
                .label("kind", kind)
                .label("kernel", course.kernel.as_str())
                .label("condition", course.condition as u64)
                .label("scheme", arm.scheme.word())
                .label("damping", arm.damping.word())
        };
        let found = Search { flow, course, arm: *arm, best: None, most: FIRST, limit }.tuned();
        let tuned = labelled("tuned").value("calls", found.map_or(f64::INFINITY, |(calls, _)| calls));
        let Some((calls, chosen)) = found else {
            rows.push(tuned);
            continue;
        };
        if *arm == Arm::PLAIN {
            limit = ((TIMES * calls) as usize).max(FIRST);
        }
        rows.push(tuned.value("step", chosen.step).value("damping constant", chosen.damping));
        let most = (20.0 * calls) as usize;
        let ends: Vec<End> =
            course.fresh.par_iter().map(|start| race(flow, course, *arm, chosen, start, most)).collect();
        for (seed, end) in ends.into_iter().enumerate() {
            let [calls, first, earlier] = match end {
                End::Arrived { calls, first, earlier } => [calls, first, earlier].map(|n| n as f64),
                End::Slow(_) | End::Lost => [f64::INFINITY; 3],
            };
            let row = labelled("race").label("seed", seed);
            rows.push(row.value("calls", calls).value("first", first).value("earlier", earlier));
        }
        for (calls, gap) in curve(flow, course, *arm, chosen, (1.2 * calls) as usize) {
            rows.push(labelled("curve").label("calls", calls).value("gap", gap));
        }
    }
    rows
}

/// The share of the gap that is left from the first of the fresh starts, at moments in even ratios.
fn curve<F: Flow>(flow: &F, course: &Course, arm: Arm, chosen: Chosen, most: usize) -> Vec<(usize, f64)> {
    let Some(start) = course.fresh.first() else { return Vec::new() };
    let mut runner = Runner::new(flow, course, arm, chosen, start);
    let gap = runner.gaps(course.minimum).1;
    let mut moments: Vec<usize> =
        (0..=MOMENTS).map(|k| (most.max(1) as f64).powf(k as f64 / MOMENTS as f64).round() as usize).collect();
    moments.dedup();
    let at = |calls: usize| {
        while runner.way.calls() < calls {
            runner.step();
        }
        (runner.way.calls(), runner.gaps(course.minimum).0 / gap)
    };
    moments.into_iter().map(at).filter(|(_, gap)| gap.is_finite() && *gap > 0.0).collect()
}

/// Calls with more tokens, whose time tells what one costs.
pub(super) fn calls(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let (tokens, calls, width) = (unit.count("tokens")?, unit.count("calls")?, 32);
    let generator = &mut context.generator("tokens", 0);
    let mut x = Matrix::from_fn(tokens, width, |_, _| StandardNormal.sample(generator));
    let word = unit.word("scheme")?;
    let scheme = Scheme::ALL.into_iter().find(|scheme| scheme.word() == word).unwrap_or(Scheme::Plain);
    let softmax = |domain: Domain| {
        let a = Matrix::from_fn(width, width, |i, j| if i == j { 0.2 } else { 0.0 });
        Softmax::new(a, Matrix::identity(width), domain)
    };
    let taken = match unit.word("kernel")? {
        "linear" => walk(&bowl(width, 10.0)?, scheme, x, calls),
        kernel => {
            let flow = softmax(if kernel == "sphere" { Domain::Sphere } else { Domain::Normed })?;
            flow.constrain(&mut x, &mut Matrix::zeros(tokens, width));
            walk(&flow, scheme, x, calls)
        }
    };
    Ok(vec![Row::new().label("kind", "cost").label("scheme", word).value("calls", taken as f64)])
}

fn walk<F: Flow>(flow: &F, scheme: Scheme, x: Matrix, calls: usize) -> usize {
    let mut way = Integrator::new(flow, scheme, Damping::constant(1.0), x, 1e-4);
    while way.calls() < calls {
        way.step(1e-4);
    }
    way.calls()
}

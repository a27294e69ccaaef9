//! Minima of smooth functions: L-BFGS with a line search for the strong conditions of Wolfe.
//!
//! (It is ours: the search of `argmin` ends with an error where rounding leaves no descent, and asks for values and
//! gradients apart, which here are one pass over all pairs of rows.)

use std::collections::VecDeque;

/// When a minimisation ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Steps at most.
    pub(super) steps: usize,
    /// Values and gradients at most.
    pub(super) evaluations: usize,
    /// The largest entry of the gradient that counts as zero.
    pub(super) gradient: f64,
    /// The relative fall of the value over ten steps below which it ends.
    pub(super) fall: f64,
}

/// Why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The gradient is zero, or the value falls no more.
    Converged,
    /// A step found no smaller value: the gradient is within its rounding.
    NoDescent,
    /// There were no more steps or evaluations.
    Limit,
    /// `observe` said so.
    Stopped,
}

/// A minimum.
#[derive(Clone, Debug)]
pub(super) struct Minimum {
    pub(super) at: Vec<f64>,
    pub(super) value: f64,
    pub(super) steps: usize,
    pub(super) evaluations: usize,
    pub(super) ended: Ended,
}

impl Minimum {
    /// What stands for a minimum where there was no search.
    pub(super) fn nowhere() -> Self {
        Self { at: Vec::new(), value: f64::NAN, steps: 0, evaluations: 0, ended: Ended::Stopped }
    }
}

/// Pairs of steps and changes of the gradient that are kept.
const MEMORY: usize = 20;
/// Constants of Wolfe's conditions: a fall of at least so much of the slope, and a slope of at most so much of it.
const FALL: f64 = 1e-4;
const SLOPE: f64 = 0.9;
/// Trials of a line search.
const TRIALS: usize = 25;
/// Steps over which the fall of the value is looked at.
const WINDOW: usize = 10;

/// A value, and its gradient.
type Evaluated = (f64, Vec<f64>);

/// Minimises `function` from a start; `observe(step, at, value)` is told of every step, and may stop it.
///
/// # References
/// Nocedal & Wright, Numerical Optimization, algorithms 7.4 (two loops) and 3.5, 3.6 (line search by zooming).
pub(super) fn minimise(
    start: Vec<f64>,
    limits: Limits,
    mut function: impl FnMut(&[f64]) -> Evaluated,
    mut observe: impl FnMut(usize, &[f64], f64) -> bool,
) -> Minimum {
    let (value, mut gradient) = function(&start);
    let mut minimum = Minimum { at: start, value, steps: 0, evaluations: 1, ended: Ended::Limit };
    let mut memory: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::new();
    let mut values = VecDeque::from([value]);
    while minimum.steps < limits.steps && minimum.evaluations < limits.evaluations {
        if gradient.iter().any(|g| !g.is_finite()) {
            break;
        }
        if gradient.iter().fold(0.0f64, |most, g| most.max(g.abs())) <= limits.gradient {
            minimum.ended = Ended::Converged;
            break;
        }
        let mut direction = direction(&memory, &gradient);
        let mut slope = dot(&direction, &gradient);
        if slope.is_nan() || slope >= 0.0 {
            // What was remembered is worn out by rounding: straight down again.
            memory.clear();
            direction = gradient.iter().map(|g| -g).collect();
            slope = -dot(&gradient, &gradient);
        }
        let first = if memory.is_empty() { (1.0 / dot(&gradient, &gradient).sqrt()).min(1.0) } else { 1.0 };
        let left = limits.evaluations - minimum.evaluations;
        let line = Line { at: &minimum.at, direction: &direction, value: minimum.value, slope };
        let (found, evaluations) = line.search(first, left.min(TRIALS), &mut function);
        minimum.evaluations += evaluations;
        let Some((step, value, next)) = found else {
            if memory.is_empty() {
                minimum.ended = Ended::NoDescent;
                break;
            }
            memory.clear();
            continue;
        };
        let moved: Vec<f64> = direction.iter().map(|d| step * d).collect();
        let changed: Vec<f64> = next.iter().zip(&gradient).map(|(n, g)| n - g).collect();
        minimum.at.iter_mut().zip(&moved).for_each(|(x, s)| *x += s);
        (minimum.value, gradient) = (value, next);
        minimum.steps += 1;
        let curvature = dot(&moved, &changed);
        if curvature > f64::EPSILON * dot(&changed, &changed) {
            if memory.len() == MEMORY {
                memory.pop_front();
            }
            memory.push_back((moved, changed, 1.0 / curvature));
        }
        if !observe(minimum.steps, &minimum.at, value) {
            minimum.ended = Ended::Stopped;
            break;
        }
        values.push_back(value);
        if values.len() > WINDOW {
            let before = values.pop_front().unwrap_or(value);
            if before - value <= limits.fall * value.abs().max(f64::MIN_POSITIVE) {
                minimum.ended = Ended::Converged;
                break;
            }
        }
    }
    minimum
}

/// Down the gradient, by what earlier steps tell of the curvature.
fn direction(memory: &VecDeque<(Vec<f64>, Vec<f64>, f64)>, gradient: &[f64]) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut along = Vec::with_capacity(memory.len());
    for (moved, changed, reciprocal) in memory.iter().rev() {
        let a = reciprocal * dot(moved, &q);
        q.iter_mut().zip(changed).for_each(|(q, y)| *q -= a * y);
        along.push(a);
    }
    if let Some((_, changed, reciprocal)) = memory.back() {
        let scale = 1.0 / (reciprocal * dot(changed, changed));
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for ((moved, changed, reciprocal), a) in memory.iter().zip(along.iter().rev()) {
        let b = reciprocal * dot(changed, &q);
        q.iter_mut().zip(moved).for_each(|(q, s)| *q += (a - b) * s);
    }
    q
}

/// A line from a point downwards.
struct Line<'a> {
    at: &'a [f64],
    direction: &'a [f64],
    value: f64,
    slope: f64,
}

/// A point of a line: how far, the value there and the slope.
#[derive(Clone, Copy)]
struct Point {
    step: f64,
    value: f64,
    slope: f64,
}

impl Line<'_> {
    /// A step that satisfies the strong conditions, or at least falls, with the value and gradient there; and the evaluations.
    #[allow(clippy::type_complexity)]
    fn search(
        &self,
        first: f64,
        trials: usize,
        function: &mut impl FnMut(&[f64]) -> Evaluated,
    ) -> (Option<(f64, f64, Vec<f64>)>, usize) {
        let mut evaluations = 0;
        // The best that fell, if no step satisfies both conditions.
        let mut best: Option<(f64, f64, Vec<f64>)> = None;
        let mut evaluate = |step: f64| -> (Point, bool) {
            evaluations += 1;
            let x: Vec<f64> = self.at.iter().zip(self.direction).map(|(x, d)| x + step * d).collect();
            let (value, gradient) = function(&x);
            let slope = dot(&gradient, self.direction);
            let falls = value < self.value && value <= self.value + FALL * step * self.slope;
            let good = falls && slope.abs() <= -SLOPE * self.slope;
            if value.is_finite() && falls && best.as_ref().is_none_or(|(_, least, _)| good || value < *least) {
                best = Some((step, value, gradient));
            }
            (Point { step, value, slope }, good)
        };
        let mut low = Point { step: 0.0, value: self.value, slope: self.slope };
        let mut high: Option<Point> = None;
        let mut step = first;
        for _ in 0..trials {
            let (point, good) = evaluate(step);
            if good {
                break;
            }
            let bad = !point.value.is_finite()
                || point.value > self.value + FALL * point.step * self.slope
                || point.value >= low.value && low.step > 0.0;
            if bad {
                high = Some(point);
            } else {
                if point.slope * (high.map_or(1.0, |high| high.step - low.step)) >= 0.0 {
                    high = Some(low);
                }
                low = point;
            }
            step = match high {
                None => 2.5 * step,
                Some(high) => between(low, high),
            };
            if high.is_some_and(|high| (high.step - low.step).abs() <= 1e-14 * low.step.abs().max(1e-300)) {
                break;
            }
        }
        (best, evaluations)
    }
}

/// A step between two: the minimum of the cubic through both, well inside.
fn between(low: Point, high: Point) -> f64 {
    let width = high.step - low.step;
    let middle = low.step + 0.5 * width;
    if !high.value.is_finite() || !high.slope.is_finite() {
        return low.step + 0.1 * width;
    }
    let d1 = low.slope + high.slope - 3.0 * (low.value - high.value) / (low.step - high.step);
    let square = d1 * d1 - low.slope * high.slope;
    if square.is_nan() || square < 0.0 {
        return middle;
    }
    let d2 = square.sqrt() * width.signum();
    let cubic = high.step - width * (high.slope + d2 - d1) / (high.slope - low.slope + 2.0 * d2);
    let share = (cubic - low.step) / width;
    if share.is_finite() { low.step + share.clamp(0.1, 0.9) * width } else { middle }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { steps: 2000, evaluations: 5000, gradient: 1e-9, fall: 0.0 };

    fn least(start: &[f64], function: impl FnMut(&[f64]) -> Evaluated) -> Minimum {
        minimise(start.to_vec(), LIMITS, function, |_, _, _| true)
    }

    /// Of pairs `100 (x₂ − x₁²)² + (1 − x₁)²`.
    fn rosenbrock(x: &[f64]) -> Evaluated {
        let mut gradient = vec![0.0; x.len()];
        let mut value = 0.0;
        for pair in 0..x.len() / 2 {
            let (a, b) = (x[2 * pair], x[2 * pair + 1]);
            let (t, u) = (b - a * a, 1.0 - a);
            value += 100.0 * t * t + u * u;
            gradient[2 * pair] = -400.0 * a * t - 2.0 * u;
            gradient[2 * pair + 1] = 200.0 * t;
        }
        (value, gradient)
    }

    #[test]
    fn standard_functions_are_minimised() {
        let found = least(&[-1.2, 1.0].repeat(20), rosenbrock);
        assert!(found.at.iter().all(|x| (x - 1.0).abs() < 1e-7) && found.evaluations < 200, "{found:?}");
        // Powell's singular function: the Hessian at the minimum has rank two.
        let powell = |x: &[f64]| {
            let (a, b, c, d) = (x[0] + 10.0 * x[1], x[2] - x[3], x[1] - 2.0 * x[2], x[0] - x[3]);
            let value = a * a + 5.0 * b * b + c.powi(4) + 10.0 * d.powi(4);
            let (c3, d3) = (4.0 * c.powi(3), 40.0 * d.powi(3));
            (value, vec![2.0 * a + d3, 20.0 * a + c3, 10.0 * b - 2.0 * c3, -10.0 * b - d3])
        };
        let found = least(&[3.0, -1.0, 0.0, 1.0], powell);
        assert!(found.value < 1e-11 && found.evaluations < 200, "{found:?}");
        // Beale's function.
        let beale = |x: &[f64]| {
            let (mut value, mut gradient) = (0.0, vec![0.0; 2]);
            for (k, c) in [1.5, 2.25, 2.625].into_iter().enumerate() {
                let power = x[1].powi(k as i32 + 1);
                let t = c - x[0] * (1.0 - power);
                value += t * t;
                gradient[0] -= 2.0 * t * (1.0 - power);
                gradient[1] += 2.0 * t * x[0] * (k as f64 + 1.0) * x[1].powi(k as i32);
            }
            (value, gradient)
        };
        let found = least(&[1.0, 1.0], beale);
        assert!((found.at[0] - 3.0).abs() < 1e-7 && (found.at[1] - 0.5).abs() < 1e-7, "{found:?}");
        // An ill-conditioned quadratic, and one that is not finite beyond its walls.
        let stretched = |x: &[f64]| {
            let gradient: Vec<f64> = x.iter().enumerate().map(|(i, x)| 10f64.powi(i as i32) * x).collect();
            (0.5 * dot(&gradient, x), gradient)
        };
        let found = least(&[1.0; 7], stretched);
        assert!(found.value < 1e-16 && found.ended == Ended::Converged, "{found:?}");
        let barrier = |x: &[f64]| (x[0] - (1.0 - x[0] * x[0]).ln(), vec![1.0 + 2.0 * x[0] / (1.0 - x[0] * x[0])]);
        let found = least(&[0.9], barrier);
        assert!((found.at[0] - (1.0 - 2f64.sqrt())).abs() < 1e-8, "{found:?}");
    }

    #[test]
    fn it_ends_when_told_and_where_there_is_no_descent() {
        let stopped = minimise(vec![-1.2, 1.0], LIMITS, rosenbrock, |step, _, _| step < 3);
        assert_eq!((stopped.ended, stopped.steps), (Ended::Stopped, 3));
        let limited = minimise(vec![-1.2, 1.0], Limits { evaluations: 5, ..LIMITS }, rosenbrock, |_, _, _| true);
        assert!(
            limited.ended == Ended::Limit && limited.evaluations <= 5 && limited.value < rosenbrock(&[-1.2, 1.0]).0
        );
        // A gradient that points the wrong way.
        let wrong = minimise(vec![1.0], LIMITS, |x| (x[0] * x[0], vec![-2.0 * x[0]]), |_, _, _| true);
        assert_eq!((wrong.ended, wrong.at), (Ended::NoDescent, vec![1.0]), "{} evaluations", wrong.evaluations);
    }
}

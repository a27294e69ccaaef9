//! What is measured.

use hattention::matrix::Matrix;
use rand_distr::{Distribution, StandardNormal};

use super::{CONDITIONS, FREE, ORDERS};
use crate::error::Error;
use crate::experiment::{Context, Unit};
use crate::particles::algebra::plus;
use crate::particles::moments::Moments;
use crate::particles::{Damping, Domain, Flow, Integrator, Linear, Scheme, Softmax, accurate};
use crate::rows::Row;
use crate::seeds::Generator;

/// Coordinates.
const WIDTH: usize = 5;
/// Deviation of the particles.
const DEVIATION: f64 = 0.7;
/// Particles, but where moments are measured.
const PARTICLES: usize = 12;

fn normal(rows: usize, columns: usize, generator: &mut Generator) -> Matrix {
    Matrix::from_fn(rows, columns, |_, _| StandardNormal.sample(generator))
}

/// `(1/d) R Rᵀ + 0.2 I`.
fn positive(generator: &mut Generator) -> Matrix {
    let root = normal(WIDTH, WIDTH, generator);
    let entry = |i: usize, j: usize| root.row(i).iter().zip(root.row(j)).map(|(a, b)| a * b).sum::<f64>();
    Matrix::from_fn(WIDTH, WIDTH, |i, j| entry(i, j) / WIDTH as f64 + if i == j { 0.2 } else { 0.0 })
}

/// A symmetric matrix with entries of some size about a multiple of the identity.
fn symmetric(size: f64, shift: f64, generator: &mut Generator) -> Matrix {
    let root = normal(WIDTH, WIDTH, generator);
    Matrix::from_fn(WIDTH, WIDTH, |i, j| {
        0.5 * size * (root.at(i, j) + root.at(j, i)) + if i == j { shift } else { 0.0 }
    })
}

fn linear(generator: &mut Generator) -> Result<Linear, Error> {
    let (a, mut v) = (positive(generator), positive(generator));
    v.data.iter_mut().for_each(|v| *v = -*v);
    Linear::new(a, v)
}

fn softmax(domain: Domain, generator: &mut Generator) -> Result<Softmax, Error> {
    let a = symmetric(0.3, 0.2, generator);
    let b = if domain == Domain::Plane { positive(generator) } else { Matrix::identity(WIDTH) };
    Softmax::new(a, b, domain)
}

/// Work on any of the flows.
trait Measured {
    fn of<F: Flow>(&self, flow: &F, x: Matrix, name: &'static str) -> Vec<Row>;
}

/// The flows of those names, with particles each.
fn on(names: &[&'static str], measured: &impl Measured, generator: &mut Generator) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for name in names {
        let mut x = normal(PARTICLES, WIDTH, generator);
        x.data.iter_mut().for_each(|x| *x *= DEVIATION);
        if *name == "linear" {
            rows.extend(measured.of(&linear(generator)?, x, name));
            continue;
        }
        let domain = match *name {
            "sphere" => Domain::Sphere,
            "normed" => Domain::Normed,
            _ => Domain::Plane,
        };
        let flow = softmax(domain, generator)?;
        flow.constrain(&mut x, &mut Matrix::zeros(PARTICLES, WIDTH));
        rows.extend(measured.of(&flow, x, name));
    }
    Ok(rows)
}

fn largest(matrix: &Matrix) -> f64 {
    matrix.data.iter().fold(0.0, |most, x| most.max(x.abs()))
}

/// The largest difference over the largest entry of the second.
fn off(a: &Matrix, b: &Matrix) -> f64 {
    largest(&plus(a, -1.0, b)) / largest(b)
}

/// Slopes of particles and momenta, one after the other.
fn both<F: Flow>(flow: &F, damping: Damping, like: &Matrix) -> impl Fn(f64, &[f64]) -> Vec<f64> {
    let (rows, columns) = (like.rows, like.columns);
    move |t, u| {
        let part = |data: &[f64]| Matrix { rows, columns, data: data.to_vec() };
        let (x, y) = (part(&u[..rows * columns]), part(&u[rows * columns..]));
        let seen = flow.see(&x);
        let alpha = damping.at(t);
        let force = plus(&flow.force(&seen, &y), if alpha == 0.0 { 0.0 } else { -alpha }, &y);
        flow.drift(&seen, &y).data.into_iter().chain(force.data).collect()
    }
}

fn at_rest(x: &Matrix) -> Vec<f64> {
    x.data.iter().copied().chain(vec![0.0; x.data.len()]).collect()
}

fn split(like: &Matrix, u: &[f64]) -> (Matrix, Matrix) {
    let part = |data: &[f64]| Matrix { rows: like.rows, columns: like.columns, data: data.to_vec() };
    (part(&u[..like.data.len()]), part(&u[like.data.len()..]))
}

pub(super) fn moments(unit: &Unit, context: &Context<'_>, seed: usize) -> Result<Vec<Row>, Error> {
    let steps = unit.count("steps")?;
    let generator = &mut context.generator("particles", seed);
    let flow = linear(generator)?;
    let damping = Damping { constant: 0.2, inverse: 3.0, slope: 0.1 };
    let mut rows = Vec::new();
    for particles in [2, 20, 200] {
        let mut x = normal(particles, WIDTH, generator);
        x.data.iter_mut().for_each(|x| *x = DEVIATION * *x + 0.3);
        let start = Moments::of(&x);
        let matrix = |u: &[f64]| Matrix { rows: particles, columns: WIDTH, data: u.to_vec() };
        let first = accurate(x.data.clone(), 0.0, 1.0, steps, |_, u| flow.velocity(&matrix(u)).data);
        let after = accurate(at_rest(&x), 0.1, 2.1, steps, both(&flow, damping, &x));
        let found = [
            ("first", Moments::of(&matrix(&first)), start.first_order(&flow, 1.0, steps)),
            ("accelerated", Moments::of(&split(&x, &after).0), start.accelerated(&flow, damping, 0.1, 2.1, steps)),
        ];
        for (order, found, expected) in found {
            let scale = largest(&expected.covariance);
            rows.push(
                Row::new()
                    .label("kind", "moments")
                    .label("order", order)
                    .label("N", particles)
                    .value("mean, off", largest(&plus(&found.mean, -1.0, &expected.mean)) / scale.sqrt())
                    .value("covariance, off", off(&found.covariance, &expected.covariance)),
            );
        }
    }
    Ok(rows)
}

struct Slopes;

impl Measured for Slopes {
    fn of<F: Flow>(&self, flow: &F, x: Matrix, name: &'static str) -> Vec<Row> {
        let seen = flow.see(&x);
        let acceleration = flow.drift(&seen, &flow.force(&seen, &Matrix::zeros(x.rows, x.columns)));
        let row = Row::new()
            .label("kind", "slopes")
            .label("flow", name)
            .value("acceleration, off", off(&acceleration, &flow.velocity(&seen)));
        // (On spheres slopes are projected: they are those of the plane.)
        if !FREE.contains(&name) {
            return vec![row];
        }
        let y = Matrix::from_fn(x.rows, x.columns, |i, j| 0.5 * ((3 * i + 7 * j) as f64).sin());
        let at = |in_x: bool, k: usize, h: f64| {
            let (mut x, mut y) = (x.clone(), y.clone());
            if in_x {
                x.data[k] += h
            } else {
                y.data[k] += h
            }
            flow.hamiltonian(&flow.see(&x), &y)
        };
        let slope = |in_x: bool, k: usize| {
            let h = 1e-3;
            let (near, far) = (at(in_x, k, h) - at(in_x, k, -h), at(in_x, k, 2.0 * h) - at(in_x, k, -2.0 * h));
            x.rows as f64 * (8.0 * near - far) / (12.0 * h)
        };
        let of = |in_x: bool| Matrix::from_fn(x.rows, x.columns, |i, j| slope(in_x, i * x.columns + j));
        let by_x = of(true);
        let force = flow.force(&seen, &y);
        let negative = Matrix::from_fn(x.rows, x.columns, |i, j| -by_x.at(i, j));
        vec![
            row.value("force, off", off(&force, &negative))
                .value("drift, off", off(&flow.drift(&seen, &y), &of(false))),
        ]
    }
}

pub(super) fn slopes(context: &Context<'_>, seed: usize) -> Result<Vec<Row>, Error> {
    on(&super::FLOWS, &Slopes, &mut context.generator("particles", seed))
}

/// H along the accurate flow.
struct Energies {
    steps: usize,
}

impl Measured for Energies {
    fn of<F: Flow>(&self, flow: &F, x: Matrix, name: &'static str) -> Vec<Row> {
        let moments = 200;
        let along = |alpha: f64| -> Vec<f64> {
            let mut u = at_rest(&x);
            let mut found = Vec::new();
            for k in 0..=moments {
                let (x, y) = split(&x, &u);
                found.push(flow.hamiltonian(&flow.see(&x), &y));
                let t = k as f64 / moments as f64;
                let steps = (self.steps / moments).max(1);
                u = accurate(u, t, t + 1.0 / moments as f64, steps, both(flow, Damping::constant(alpha), &x));
            }
            found
        };
        let (damped, free) = (along(0.5), along(0.0));
        let range = damped[0] - damped[moments];
        let rise = damped.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::NEG_INFINITY, f64::max);
        let energy = flow.energy(&flow.see(&x)).abs();
        let change = free.iter().map(|h| (h - free[0]).abs()).fold(0.0, f64::max) / energy;
        let row = Row::new().label("kind", "energies").label("flow", name);
        vec![row.value("largest rise over the fall", rise.max(0.0) / range).value("change without damping", change)]
    }
}

pub(super) fn energies(unit: &Unit, context: &Context<'_>, seed: usize) -> Result<Vec<Row>, Error> {
    on(&FREE, &Energies { steps: unit.count("steps")? }, &mut context.generator("particles", seed))
}

/// Errors of schemes by numbers of steps.
struct Errors {
    exact: usize,
    steps: Vec<usize>,
}

impl Measured for Errors {
    fn of<F: Flow>(&self, flow: &F, x: Matrix, name: &'static str) -> Vec<Row> {
        let damping = Damping { constant: 0.5, inverse: 1.0, slope: 0.2 };
        let (start, end) = (0.5, 1.5);
        let truth = accurate(at_rest(&x), start, end, self.exact, both(flow, damping, &x));
        let before = flow.hamiltonian(&flow.see(&x), &Matrix::zeros(x.rows, x.columns));
        let mut rows = Vec::new();
        for (scheme, _) in ORDERS {
            for steps in &self.steps {
                let after = |damping: Damping| {
                    let mut way = Integrator::new(flow, scheme, damping, x.clone(), start);
                    (0..*steps).for_each(|_| way.step((end - start) / *steps as f64));
                    way
                };
                let (way, free) = (after(damping), after(Damping::default()));
                let found = way.x().data.iter().chain(&way.y().data);
                let error = found.zip(&truth).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                let energy = flow.hamiltonian(&flow.see(free.x()), free.y()) - before;
                rows.push(
                    Row::new()
                        .label("kind", "orders")
                        .label("flow", name)
                        .label("scheme", scheme.word())
                        .label("steps", *steps)
                        .value("error", error)
                        .value("H, off", energy.abs()),
                );
            }
        }
        rows
    }
}

pub(super) fn orders(unit: &Unit, context: &Context<'_>, seed: usize) -> Result<Vec<Row>, Error> {
    let (exact, first, times) = (unit.count("steps")?, unit.count("first")?, unit.count("times")?);
    let steps = (0..times).map(|k| first << k).collect();
    on(&FREE, &Errors { exact, steps }, &mut context.generator("particles", seed))
}

/// Linear attention whose energy has a minimum: A = I, V = −diag(1 … κ) in even ratios.
pub(crate) fn bowl(width: usize, condition: f64) -> Result<Linear, Error> {
    let curvature = |i: usize| condition.powf(i as f64 / (width - 1).max(1) as f64);
    let v = Matrix::from_fn(width, width, |i, j| if i == j { -curvature(i) } else { 0.0 });
    Linear::new(Matrix::identity(width), v)
}

pub(super) fn largest_steps(unit: &Unit, context: &Context<'_>, seed: usize) -> Result<Vec<Row>, Error> {
    let (halvings, time) = (unit.count("halvings")?, unit.number("time")?);
    let generator = &mut context.generator("particles", seed);
    let mut rows = Vec::new();
    for condition in CONDITIONS {
        let flow = bowl(WIDTH, condition)?;
        let x = normal(PARTICLES, WIDTH, generator);
        let most = 1.5 * flow.energy(&x);
        for (damping, name) in [(Damping::constant(1.0), "1"), (Damping::inverse(3.0), "3/t")] {
            for scheme in Scheme::ALL {
                let stable = |h: f64| {
                    let mut way = Integrator::new(&flow, scheme, damping, x.clone(), h);
                    (0..(time / h).ceil() as usize).all(|_| {
                        way.step(h);
                        flow.energy(way.x()) <= most
                    })
                };
                let (mut low, mut high) = ((1e-4f64 / condition).ln(), (10.0f64).ln());
                for _ in 0..halvings {
                    let middle: f64 = 0.5 * (low + high);
                    if stable(middle.exp()) { low = middle } else { high = middle }
                }
                rows.push(
                    Row::new()
                        .label("kind", "largest steps")
                        .label("condition", condition)
                        .label("damping", name)
                        .label("scheme", scheme.word())
                        .value("largest step", low.exp()),
                );
            }
        }
    }
    Ok(rows)
}

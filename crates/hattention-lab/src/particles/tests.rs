//! Laws of the flows, of their equations and of the steps.

use super::algebra::{plus, product, scaled};
use super::moments::Moments;
use super::*;

fn wave(rows: usize, columns: usize, phase: f64) -> Matrix {
    Matrix::from_fn(rows, columns, |i, j| ((i * (2 * j + 3)) as f64 * 0.61 + phase * (j + 1) as f64).sin())
}

fn symmetric(size: usize, phase: f64, shift: f64) -> Matrix {
    let half = wave(size, size, phase);
    Matrix::from_fn(size, size, |i, j| 0.3 * (half.at(i, j) + half.at(j, i)) + if i == j { shift } else { 0.0 })
}

fn positive(size: usize, phase: f64) -> Matrix {
    let root = plus(&scaled(&wave(size, size, phase), 0.4), 1.0, &Matrix::identity(size));
    product(&root, &root.transposed())
}

/// Slopes of H by differences: `N ∂H/∂X` and `N ∂H/∂Y`.
fn by_differences<F: Flow>(flow: &F, x: &Matrix, y: &Matrix) -> (Matrix, Matrix) {
    let step = 1e-5;
    let slope = |in_x: bool, k: usize| {
        let at = |h: f64| {
            let (mut x, mut y) = (x.clone(), y.clone());
            if in_x {
                x.data[k] += h
            } else {
                y.data[k] += h
            }
            flow.hamiltonian(&flow.see(&x), &y)
        };
        x.rows as f64 * (at(step) - at(-step)) / (2.0 * step)
    };
    let of = |in_x: bool| Matrix::from_fn(x.rows, x.columns, |i, j| slope(in_x, i * x.columns + j));
    (of(true), of(false))
}

fn most(a: &Matrix, b: &Matrix) -> f64 {
    a.data.iter().zip(&b.data).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn flows() -> (Linear, Softmax) {
    let linear = Linear::new(positive(3, 0.2), symmetric(3, 1.0, -0.6)).unwrap();
    let softmax = Softmax::new(scaled(&symmetric(3, 2.0, 0.3), 0.5), positive(3, 0.7), Domain::Plane).unwrap();
    (linear, softmax)
}

fn laws<F: Flow>(flow: &F) {
    let (x, y) = (wave(7, 3, 0.4), scaled(&wave(7, 3, 1.9), 0.7));
    let seen = flow.see(&x);
    let (by_x, by_y) = by_differences(flow, &x, &y);
    assert!(most(&flow.drift(&seen, &y), &by_y) < 1e-8);
    assert!(most(&flow.force(&seen, &y), &scaled(&by_x, -1.0)) < 1e-8);
    // At rest particles are accelerated by what attention would add: Ẍ is the drift of the momentum's change.
    let rest = Matrix::zeros(7, 3);
    let acceleration = flow.drift(&seen, &flow.force(&seen, &rest));
    assert!(most(&acceleration, &flow.velocity(&seen)) < 1e-14);
    // The first-order flow goes down.
    let ahead = plus(&x, 1e-4, &flow.velocity(&seen));
    assert!(flow.energy(&flow.see(&ahead)) < flow.energy(&seen));
    // dH/dt = −2αK.
    let alpha = 0.8;
    let (dx, dy) = (flow.drift(&seen, &y), plus(&flow.force(&seen, &y), -alpha, &y));
    let along: f64 = by_x.data.iter().zip(&dx.data).chain(by_y.data.iter().zip(&dy.data)).map(|(a, b)| a * b).sum();
    let fall = along / x.rows as f64;
    assert!((fall + 2.0 * alpha * flow.kinetic(&seen, &y)).abs() < 1e-7);
}

#[test]
fn drifts_forces_and_velocities_are_slopes_of_the_hamiltonian() {
    let (linear, softmax) = flows();
    laws(&linear);
    laws(&softmax);
}

#[test]
fn softmax_adds_what_attention_adds() {
    let (_, flow) = flows();
    let x = wave(6, 3, 0.4);
    let found = flow.velocity(&flow.see(&x));
    let (a, b) = (scaled(&symmetric(3, 2.0, 0.3), 0.5), positive(3, 0.7));
    let (keys, values) = (product(&x, &a), product(&product(&x, &a), &b));
    for i in 0..6 {
        let weights: Vec<f64> =
            (0..6).map(|j| keys.row(i).iter().zip(x.row(j)).map(|(k, x)| k * x).sum::<f64>().exp()).collect();
        let total: f64 = weights.iter().sum();
        for c in 0..3 {
            let read: f64 = weights.iter().enumerate().map(|(j, w)| w * values.at(j, c)).sum::<f64>() / total;
            assert!((read - found.at(i, c)).abs() < 1e-14);
        }
    }
}

#[test]
fn particles_have_the_moments_of_the_equations() {
    let flow = Linear::new(positive(3, 0.2), symmetric(3, 1.0, -0.6)).unwrap();
    let x = scaled(&plus(&wave(11, 3, 0.4), 1.0, &Matrix::from_fn(11, 3, |_, j| 0.3 * j as f64)), 0.5);
    let moments = Moments::of(&x);
    let matrix = |u: &[f64]| Matrix { rows: 11, columns: 3, data: u.to_vec() };
    let first = accurate(x.data.clone(), 0.0, 1.0, 400, |_, u| flow.velocity(&matrix(u)).data);
    let (found, expected) = (Moments::of(&matrix(&first)), moments.first_order(&flow, 1.0, 400));
    assert!(most(&found.mean, &expected.mean) < 1e-11 && most(&found.covariance, &expected.covariance) < 1e-11);
    let damping = Damping { constant: 0.2, inverse: 3.0, slope: 0.1 };
    let both: Vec<f64> = x.data.iter().copied().chain(vec![0.0; 33]).collect();
    let slope = |t: f64, u: &[f64]| {
        let (x, y) = (matrix(&u[..33]), matrix(&u[33..]));
        let force = plus(&flow.force(&x, &y), -damping.at(t), &y);
        flow.drift(&x, &y).data.into_iter().chain(force.data).collect()
    };
    let end = accurate(both, 0.1, 2.1, 2000, slope);
    let found = Moments::of(&matrix(&end[..33]));
    let expected = moments.accelerated(&flow, damping, 0.1, 2.1, 2000);
    assert!(most(&found.mean, &expected.mean) < 1e-11 && most(&found.covariance, &expected.covariance) < 1e-11);
    // And momenta are affine in the particles.
    let (x, y) = (matrix(&end[..33]), matrix(&end[33..]));
    let affine =
        plus(&product(&x, &expected.slope.transposed()), 1.0, &Matrix::from_fn(11, 3, |_, j| expected.shift.at(0, j)));
    assert!(most(&y, &affine) < 1e-10);
}

/// Slopes of the error against the step, in logarithms.
fn order<F: Flow>(flow: &F, scheme: Scheme, x: &Matrix) -> f64 {
    let damping = Damping { constant: 0.5, inverse: 1.0, slope: 0.2 };
    let (start, end) = (0.5, 1.5);
    let size = x.data.len();
    let slope = |t: f64, u: &[f64]| -> Vec<f64> {
        let matrix = |part: &[f64]| Matrix { rows: x.rows, columns: x.columns, data: part.to_vec() };
        let (x, y) = (matrix(&u[..size]), matrix(&u[size..]));
        let seen = flow.see(&x);
        let force = plus(&flow.force(&seen, &y), -damping.at(t), &y);
        flow.drift(&seen, &y).data.into_iter().chain(force.data).collect()
    };
    let both: Vec<f64> = x.data.iter().copied().chain(vec![0.0; size]).collect();
    let truth = accurate(both, start, end, 2000, slope);
    let error = |steps: usize| {
        let mut way = Integrator::new(flow, scheme, damping, x.clone(), start);
        (0..steps).for_each(|_| way.step((end - start) / steps as f64));
        let found = way.x().data.iter().chain(&way.y().data);
        found.zip(&truth).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    (error(100) / error(200)).log2()
}

#[test]
fn schemes_have_their_orders() {
    let (linear, softmax) = flows();
    let x = scaled(&wave(5, 3, 0.4), 0.6);
    for (scheme, expected) in [
        (Scheme::Euler, 1.0),
        (Scheme::KickDrift, 1.0),
        (Scheme::ExponentialEuler, 1.0),
        (Scheme::AdamsBashforth, 2.0),
        (Scheme::ExponentialAdamsBashforth, 2.0),
        (Scheme::Strang, 1.0),
    ] {
        for found in [order(&linear, scheme, &x), order(&softmax, scheme, &x)] {
            assert!((found - expected).abs() < 0.15, "{scheme:?} {found}");
        }
    }
}

#[test]
fn tokens_stay_on_their_spheres_and_energies_fall() {
    let a = scaled(&symmetric(4, 2.0, 0.3), 0.8);
    for domain in [Domain::Sphere, Domain::Normed] {
        let flow = Softmax::new(a.clone(), Matrix::identity(4), domain).unwrap();
        let (mut x, mut rest) = (wave(9, 4, 0.4), Matrix::zeros(9, 4));
        flow.constrain(&mut x, &mut rest);
        let mut way = Integrator::new(&flow, Scheme::KickDrift, Damping::constant(1.0), x, 0.0);
        let mut before = flow.hamiltonian(&flow.see(way.x()), way.y());
        for _ in 0..400 {
            way.step(0.02);
            let now = flow.hamiltonian(&flow.see(way.x()), way.y());
            assert!(now <= before + 1e-4 * before.abs(), "{domain:?} {now} {before}");
            before = now;
        }
        for i in 0..9 {
            let (x, y) = (way.x().row(i), way.y().row(i));
            let length: f64 = x.iter().map(|x| x * x).sum();
            let along: f64 = x.iter().zip(y).map(|(x, y)| x * y).sum();
            let expected = if domain == Domain::Sphere { 1.0 } else { 4.0 };
            assert!((length - expected).abs() < 1e-12 && along.abs() < 1e-12);
            assert!(domain == Domain::Sphere || x.iter().sum::<f64>().abs() < 1e-12);
        }
    }
    let skewed = Softmax::new(a.clone(), positive(4, 0.2), Domain::Sphere);
    assert!(matches!(skewed, Err(crate::Error::Parameter { name: "the matrix B", .. })));
    let odd = Matrix::from_fn(4, 4, |i, j| (i + 2 * j) as f64);
    assert!(matches!(Linear::new(a, odd), Err(crate::Error::Parameter { .. })));
    let small = Matrix::identity(2);
    assert!(Softmax::new(small.clone(), small, Domain::Normed).is_err());
}

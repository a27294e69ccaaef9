//! The regression problems on which every step is measured.

use hattention::transformer::{Options, Transformer, inputs};
use hattention::{Block, Column, Design, Filter, Fit, Matrix, Moments, Whitening, WhiteningOptions};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

use crate::error::Error;
use crate::seeds::Generator;

/// Regressors, rows of context, queries, and the deviation of the noise.
pub const D: usize = 5;
pub const N: usize = 100;
pub const QUERIES: usize = 200;
pub const NOISE: f64 = 0.3;
/// How far queries are moved, and by how much they are scaled.
const SHIFT: f64 = 2.0;
const SCALE: f64 = 2.0;

/// The worlds that a step is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// `y = wᵀx + ε`, queries of the law of the context.
    Same,
    /// The same, queries two deviations further along a random direction.
    Shifted,
    /// The same, queries twice as large.
    Scaled,
    /// `y = wᵀx + √2((vᵀx)² − 1) + ε`, queries of the law of the context.
    Nonlinear,
}

impl World {
    pub const ALL: [Self; 4] = [Self::Same, Self::Shifted, Self::Scaled, Self::Nonlinear];

    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "in distribution",
            Self::Shifted => "shifted",
            Self::Scaled => "scaled",
            Self::Nonlinear => "nonlinear",
        }
    }
}

/// A context, queries, and the truth there.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Shape: `[n][d]`.
    pub x: Matrix,
    /// Shape: `[n][1]`.
    pub y: Matrix,
    /// Shape: `[queries][d]`.
    pub queries: Matrix,
    /// Shape: `[queries]`.
    pub truth: Vec<f64>,
}

pub fn normal(random: &mut Generator) -> f64 {
    StandardNormal.sample(random)
}

fn direction(random: &mut Generator) -> [f64; D] {
    let raw: [f64; D] = std::array::from_fn(|_| normal(random));
    let length = raw.iter().map(|r| r * r).sum::<f64>().sqrt();
    raw.map(|r| r / length)
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A problem; x and w are standard normal.
pub fn problem(world: World, queries: usize, random: &mut Generator) -> Problem {
    let w: [f64; D] = std::array::from_fn(|_| normal(random));
    let (v, u) = (direction(random), direction(random));
    let f = |x: &[f64]| {
        let bent = if world == World::Nonlinear { 2f64.sqrt() * (dot(x, &v).powi(2) - 1.0) } else { 0.0 };
        dot(x, &w) + bent
    };
    let x = Matrix::from_fn(N, D, |_, _| normal(random));
    let y = Matrix::from_fn(N, 1, |i, _| f(x.row(i)) + NOISE * normal(random));
    let at = Matrix::from_fn(queries, D, |_, j| match world {
        World::Shifted => normal(random) + SHIFT * u[j],
        World::Scaled => SCALE * normal(random),
        _ => normal(random),
    });
    let truth = (0..queries).map(|i| f(at.row(i))).collect();
    Problem { x, y, queries: at, truth }
}

/// A context whose coefficients turn with time, and what they are at its end.
pub fn drifting(random: &mut Generator) -> Problem {
    let (from, to): ([f64; D], [f64; D]) =
        (std::array::from_fn(|_| normal(random)), std::array::from_fn(|_| normal(random)));
    let at = |share: f64, x: &[f64]| {
        let angle = share * std::f64::consts::FRAC_PI_2;
        angle.cos() * dot(x, &from) + angle.sin() * dot(x, &to)
    };
    let x = Matrix::from_fn(N, D, |_, _| normal(random));
    let y = Matrix::from_fn(N, 1, |i, _| at((i + 1) as f64 / N as f64, x.row(i)) + NOISE * normal(random));
    let queries = Matrix::from_fn(QUERIES, D, |_, _| normal(random));
    let truth = (0..QUERIES).map(|i| at(1.0, queries.row(i))).collect();
    Problem { x, y, queries, truth }
}

/// Columns of a matrix.
pub fn columns(m: &Matrix) -> Vec<Vec<f64>> {
    (0..m.columns).map(|j| (0..m.rows).map(|i| m.at(i, j)).collect()).collect()
}

/// The constructed transformer's predictions from a context, its keys `(1, z)` and the queries `(1, z)`, and the engine's predictions.
pub struct Embedded {
    /// The constructed transformer's forward pass at the queries, keys and values from the context. Shape: `[queries]`.
    pub constructed: Vec<f64>,
    /// Shape: `[n][d + 1]`.
    pub keys: Matrix,
    /// Shape: `[queries][d + 1]`.
    pub queries: Matrix,
    /// Least squares at the queries, from the fit's coefficients. Shape: `[queries]`.
    pub ols: Vec<f64>,
}

/// Fits the columns of x.
///
/// # Errors
/// What the library refuses.
pub fn embed(x: &Matrix, y: &Matrix, queries: &Matrix) -> Result<Embedded, Error> {
    let (xs, ys) = (columns(x), columns(y));
    let block = |xs: &[Vec<f64>], more: &[Vec<f64>], rows: usize| -> Result<_, Error> {
        let all = xs.iter().chain(more).map(|c| Column::Dense(c)).collect();
        let block = Block { rows, columns: all, weights: None };
        Ok(Moments::of(&block)?)
    };
    let moments = block(&xs, &ys, x.rows)?;
    let design = Design::plain((0..x.columns).map(|j| format!("x{j}")), true);
    let whitening = Whitening::of(&moments, &design, Filter::Ols, WhiteningOptions::default(), None)?;
    let fit = Fit::of(&moments, &whitening, x.columns, "y")?;
    let coefficients: Vec<f64> = fit.coefficients(0.95).iter().map(|c| c.estimate.unwrap_or(f64::NAN)).collect();
    let ols = (0..queries.rows).map(|i| coefficients[0] + dot(queries.row(i), &coefficients[1..])).collect();
    let transformer = Transformer::of(&whitening, &[fit], &Options::default())?;
    let ids: Vec<usize> = (0..x.columns).collect();
    let raw = |m: &Matrix| -> Result<Matrix, Error> {
        let cs = columns(m);
        let columns = cs.iter().map(|c| Column::Dense(c)).collect();
        Ok(inputs(&whitening, &Block { rows: m.rows, columns, weights: None }, &ids)?)
    };
    let tokens = |raw: &Matrix| -> Result<Matrix, Error> {
        let token = |i: usize, j: usize| if j == 0 { 1.0 } else { raw.at(i, j - 1) - transformer.x_mean[j - 1] };
        Ok(Matrix::from_fn(raw.rows, x.columns + 1, token).times(&transformer.w_q)?)
    };
    let at = raw(queries)?;
    let constructed = transformer.layer::<f64>()?.forward(&at)?.data;
    let (keys, queries) = (tokens(&raw(x)?)?, tokens(&at)?);
    Ok(Embedded { constructed, keys, queries, ols })
}

/// A random row order is no part of a problem; this is for tests of masks.
pub fn position(random: &mut Generator) -> usize {
    random.random_range(2 * D..N)
}

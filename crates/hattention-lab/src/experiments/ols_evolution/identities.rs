//! What each step is, as an identity that holds to rounding.

use hattention::attention::attend::{Mask, Score, Scoring, attend};
use hattention::transformer::mesa::Mesa;
use hattention::{Aliased, Block, Column, Design, Matrix, in_memory};

use super::problems::{D, Embedded, N, Problem, World, columns, dot, embed, position, problem};
use super::steps::{LAYERS, SHARE, coordinates, exponential, heads, layers, normalised, power};
use crate::error::Error;
use crate::experiment::Context;
use crate::rows::Row;

/// Terms of the exponential's series: at exponents below 40 the rest is below 1e-16 of the sum.
const TERMS: u32 = 150;
/// Rows that a window sees.
pub const WINDOW: usize = 30;

/// Largest difference over the largest number.
fn apart(found: &[f64], exact: &[f64]) -> f64 {
    let scale = exact.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    crate::statistics::worst(found.iter().zip(exact).map(|(a, b)| (a - b).abs())).unwrap_or(0.0) / scale
}

/// All identities on one problem.
///
/// # Errors
/// What the library refuses.
pub fn identities(seed: usize, context: &Context<'_>) -> Result<Row, Error> {
    let mut random = context.generator("identities", seed);
    let p = problem(World::Nonlinear, 50, &mut random);
    let e = embed(&p.x, &p.y, &p.queries)?;
    let (k, q) = (coordinates(&e.keys), coordinates(&e.queries));
    let linear = power(&e.queries, &e.keys, &p.y, 1, 1.0 / N as f64)?;
    let softmax = exponential(&q, &k, &p.y, true, Mask::All)?.data;
    let kernel = kernel_smoother(&q, &k, &p.y);
    let (recursive, rolling) = masks(&p, position(&mut random))?;
    let (products, raw) = products(&p)?;
    let range = |m: &Matrix| m.data.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |r, y| (r.0.min(*y), r.1.max(*y)));
    let (low, high) = range(&p.y);
    let slack = 1e-12 * (high - low);
    let outside = |found: &[f64]| found.iter().filter(|f| **f < low - slack || **f > high + slack).count() as f64;
    let far = Matrix::from_fn(q.rows, D, |i, j| 2.0 * q.at(i, j));
    let here = layers(&normalised(&q), &normalised(&k), &p.y, Mask::All)?.0;
    let there = layers(&normalised(&far), &normalised(&k), &p.y, Mask::All)?.0;
    Ok(Row::new()
        .label("what", "identities")
        .label("seed", seed)
        .value("linear_is_ols", apart(&linear, &e.ols).max(apart(&e.constructed, &e.ols)))
        .value("square_is_products", square(&q, &k, &p.y)?)
        .value("whitened_products_are_ols", products)
        .value("raw_products_are_not", raw)
        .value("series_is_exponential", series(&q, &k, &p.y)?)
        .value("softmax_is_kernel", apart(&softmax, &kernel))
        .value("softmax_outside", outside(&exponential(&far, &k, &p.y, true, Mask::All)?.data))
        .value("linear_outside", outside(&scaled_ols(&e, &p)))
        .value("one_head_is_softmax", apart(&heads(&q, &k, &p.y, 1, Mask::All)?, &softmax))
        .value("layers_are_boosting", boosting(&k, &p.y)?)
        .value("norm_is_blind_to_scale", apart(&there, &here))
        .value("causal_is_recursive", recursive)
        .value("window_is_rolling", rolling))
}

/// Least squares at queries twice as far from the mean.
fn scaled_ols(e: &Embedded, p: &Problem) -> Vec<f64> {
    let mean = p.y.data.iter().sum::<f64>() / N as f64;
    e.ols.iter().map(|o| mean + 2.0 * (o - mean)).collect()
}

/// Nadaraya and Watson's estimate with the kernel `e^⟨q, k⟩`, from its definition.
fn kernel_smoother(q: &Matrix, k: &Matrix, y: &Matrix) -> Vec<f64> {
    let one = |i: usize| {
        let weights: Vec<f64> = (0..k.rows).map(|j| dot(q.row(i), k.row(j)).exp()).collect();
        dot(&weights, &y.data) / weights.iter().sum::<f64>()
    };
    (0..q.rows).map(one).collect()
}

fn product_features(m: &Matrix) -> Matrix {
    Matrix::from_fn(m.rows, m.columns * m.columns, |i, c| m.at(i, c / m.columns) * m.at(i, c % m.columns))
}

/// The score s² is linear attention over products of coordinates.
fn square(q: &Matrix, k: &Matrix, y: &Matrix) -> Result<f64, Error> {
    let by_score = power(q, k, y, 2, 1.0)?;
    let by_features = power(&product_features(q), &product_features(k), y, 1, 1.0)?;
    Ok(apart(&by_score, &by_features))
}

/// Linear attention over *whitened* x and products is the regression on them; without whitening the score is not.
fn products(p: &Problem) -> Result<(f64, f64), Error> {
    let wide = |m: &Matrix| {
        let pairs: Vec<(usize, usize)> = (0..D).flat_map(|a| (0..=a).map(move |b| (a, b))).collect();
        Matrix::from_fn(m.rows, D + pairs.len(), |i, c| match c.checked_sub(D) {
            None => m.at(i, c),
            Some(pair) => m.at(i, pairs[pair].0) * m.at(i, pairs[pair].1),
        })
    };
    let e = embed(&wide(&p.x), &p.y, &wide(&p.queries))?;
    let whitened = power(&e.queries, &e.keys, &p.y, 1, 1.0 / N as f64)?;
    let plain = embed(&p.x, &p.y, &p.queries)?;
    let raw = super::steps::predict(super::steps::Step::Polynomial, &plain, &p.y)?;
    Ok((apart(&whitened, &e.ols), apart(&raw, &e.ols)))
}

/// `Σ_k sᵏ/k!` over all keys, term by term, is the exponential score.
fn series(q: &Matrix, k: &Matrix, y: &Matrix) -> Result<f64, Error> {
    let total = y.data.iter().sum::<f64>();
    let mut sums = vec![total; q.rows];
    // Magnitudes, as terms of both signs cancel: the identity is judged against these.
    let sizes = Matrix::from_fn(y.rows, 1, |i, _| y.at(i, 0).abs());
    let scale = exponential(q, k, &sizes, false, Mask::All)?.data;
    // 1/k! as a scale of s: (c s)ᵏ with c = (1/k!)^(1/k).
    let mut log_factorial = 0.0;
    for degree in 1..=TERMS {
        log_factorial += f64::from(degree).ln();
        let c = (-log_factorial / f64::from(degree)).exp();
        let score = if degree == 1 { Score::Linear } else { Score::Polynomial(degree) };
        let term = attend(q, k, y, &Scoring { score, scale: c, ..Scoring::default() })?;
        sums.iter_mut().zip(&term.data).for_each(|(s, t)| *s += t);
    }
    let exact = exponential(q, k, y, false, Mask::All)?.data;
    Ok(crate::statistics::worst(sums.iter().zip(&exact).zip(&scale).map(|((a, b), s)| (a - b).abs() / s))
        .unwrap_or(0.0))
}

/// Residuals after all layers are `(I − νS)^layers y`, S the table of the heads' weights.
fn boosting(k: &Matrix, y: &Matrix) -> Result<f64, Error> {
    let unit = |j: usize| Matrix::from_fn(N, 1, |i, _| f64::from(u8::from(i == j)));
    let table = (0..N).map(|j| heads(k, k, &unit(j), D, Mask::All)).collect::<Result<Vec<_>, _>>()?;
    let mut rest = y.data.clone();
    for _ in 0..LAYERS {
        let said: Vec<f64> = (0..N).map(|i| (0..N).map(|j| table[j][i] * rest[j]).sum()).collect();
        rest.iter_mut().zip(said).for_each(|(r, s)| *r -= SHARE * s);
    }
    Ok(apart(&layers(k, k, y, Mask::All)?.1.data, &rest))
}

/// Coefficients of what masked linear attention reads: every basis query at every row gives a row of `[XᵀX | Xᵀy]` over the
/// rows that the mask shows. Shape: `[d + 1]`.
pub fn masked_coefficients(x: &Matrix, y: &Matrix, mask: Mask, row: usize) -> Result<Vec<f64>, Error> {
    let tokens = Matrix::from_fn(x.rows, D + 1, |i, j| if j == 0 { 1.0 } else { x.at(i, j - 1) });
    let values = Matrix::from_fn(x.rows, D + 2, |i, j| if j <= D { tokens.at(i, j) } else { y.at(i, 0) });
    // Solving is the memory's task: rows of the state are rows of a regression in the state's own coordinates.
    let mut state = Matrix::<f64>::zeros(D + 1, D + 2);
    for c in 0..=D {
        let basis = Matrix::from_fn(x.rows, D + 1, |_, j| f64::from(u8::from(j == c)));
        let read = attend(&basis, &tokens, &values, &Scoring { mask, ..Scoring::default() })?;
        state.row_mut(c).copy_from_slice(read.row(row));
    }
    let mut solver = Mesa::<f64>::new(D + 1, 1);
    for c in 0..=D {
        solver.push(&state.row(c)[..=D], &state.row(c)[D + 1..], 1.0)?;
    }
    Ok(solver.coefficients(Aliased::Error)?.data)
}

fn engine(x: &Matrix, y: &Matrix, rows: std::ops::Range<usize>) -> Result<Vec<f64>, Error> {
    let cut = |c: Vec<f64>| c[rows.clone()].to_vec();
    let all: Vec<Vec<f64>> = columns(x).into_iter().chain(columns(y)).map(cut).collect();
    let block = Block { rows: rows.len(), columns: all.iter().map(|c| Column::Dense(c)).collect(), weights: None };
    let design = Design::plain((0..D).map(|j| format!("x{j}")), true);
    let (_, fits) = in_memory::fit(&block, &design, &[(D, "y")], Default::default())?;
    Ok(fits[0].coefficients(0.95).iter().map(|c| c.estimate.unwrap_or(f64::NAN)).collect())
}

fn masks(p: &Problem, row: usize) -> Result<(f64, f64), Error> {
    let causal = masked_coefficients(&p.x, &p.y, Mask::Causal, row)?;
    let recursive = apart(&causal, &engine(&p.x, &p.y, 0..row + 1)?);
    let at = row.max(WINDOW);
    let window = masked_coefficients(&p.x, &p.y, Mask::Window { width: WINDOW }, at)?;
    let rolling = apart(&window, &engine(&p.x, &p.y, at + 1 - WINDOW..at + 1)?);
    Ok((recursive, rolling))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Size;

    #[test]
    fn identities_hold_and_contrasts_do_not() {
        let plan = super::super::EXPERIMENT.plan(Size::Smoke, None);
        let row = identities(0, &Context::new(&plan, "ols-evolution", "test")).unwrap();
        // Sums of a hundred terms of condition at most a hundred or so.
        for (name, limit) in [("linear_is_ols", 1e-12), ("softmax_is_kernel", 1e-12), ("causal_is_recursive", 1e-11)] {
            assert!(row.get(name).unwrap() < limit, "{name}: {row:?}");
        }
        assert!(row.get("raw_products_are_not").unwrap() > 0.01 && row.get("linear_outside").unwrap() > 0.0);
    }
}

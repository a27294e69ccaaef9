//! The embedding problem `min ‖Y − X Ω XᵀY‖²` over Ω.

use hattention::{Filter, Matrix};

use crate::designs::{correlated, distance_relative, fit, graded, normal, orthonormal, predict, solved};
use crate::error::Error;
use crate::experiment::{Context, Unit};
use crate::rows::Row;
use crate::seeds::Generator;

/// Columns P.
pub(super) const COLUMNS: usize = 5;
const RATIO: f64 = 10.0;
/// Steps of a descent at most, and the share of the first slope at which it ends.
const STEPS: usize = 1_000_000;
const ENDED: f64 = 1e-14;
/// Curvatures below this share of the largest are none.
const FLAT: f64 = 1e-9;
/// Top rows are this share of all.
pub(super) const TOP: f64 = 0.05;

/// Rows, targets, and what the loss sees of them.
struct Problem {
    x: Matrix,
    y: Matrix,
    /// XᵀX and its inverse.
    s: Matrix,
    inverse: Matrix,
    /// XᵀY.
    z: Matrix,
}

impl Problem {
    fn of(x: Matrix, y: Matrix) -> Result<Self, Error> {
        let back = x.transposed();
        let (s, z) = (back.times(&x)?, back.times(&y)?);
        let inverse = inverted(&s);
        Ok(Self { x, y, s, inverse, z })
    }

    /// `‖Y − X Ω XᵀY‖²`.
    fn loss(&self, omega: &Matrix) -> Result<f64, Error> {
        let fitted = self.x.times(&omega.times(&self.z)?)?;
        Ok(squares(&combined(&self.y, -1.0, &fitted)))
    }

    /// `(Z − S Ω Z) Zᵀ`, minus half the slope of the loss.
    fn descent(&self, omega: &Matrix) -> Result<Matrix, Error> {
        let left = combined(&self.z, -1.0, &self.s.times(&omega.times(&self.z)?)?);
        Ok(left.times(&self.z.transposed())?)
    }

    /// Where descent ends.
    fn minimised(&self, start: &Matrix) -> Result<Matrix, Error> {
        let largest = |m: &Matrix| -> Result<f64, Error> { Ok(m.singular_values()?[0]) };
        let rate = 1.0 / (largest(&self.s)? * largest(&self.z)?.powi(2));
        let mut omega = start.clone();
        let first = squares(&self.descent(&omega)?).sqrt();
        for _ in 0..STEPS {
            let step = self.descent(&omega)?;
            if squares(&step).sqrt() <= ENDED * first {
                break;
            }
            omega = combined(&omega, rate, &step);
        }
        Ok(omega)
    }

    /// The projection on the span of Z.
    fn span(&self) -> Result<Matrix, Error> {
        let gram = self.z.transposed().times(&self.z)?;
        Ok(self.z.times(&inverted(&gram))?.times(&self.z.transposed())?)
    }

    /// Where descent should end: `Ω₀(I − Π) + S⁻¹Π`.
    fn expected(&self, start: &Matrix) -> Result<Matrix, Error> {
        let span = self.span()?;
        let kept = combined(start, -1.0, &start.times(&span)?);
        Ok(combined(&kept, 1.0, &self.inverse.times(&span)?))
    }

    /// Dimensions of a space of Ω along which the loss has no curvature, by second differences, and the least curvature that
    /// counts over the largest that does not.
    fn free(&self, basis: &[Matrix]) -> Result<(usize, f64), Error> {
        let at = |m: &Matrix| self.loss(m);
        let none = at(&Matrix::zeros(COLUMNS, COLUMNS))?;
        let alone = basis.iter().map(&at).collect::<Result<Vec<_>, _>>()?;
        let mut curvature = Matrix::zeros(basis.len(), basis.len());
        for i in 0..basis.len() {
            for j in 0..=i {
                let both = at(&combined(&basis[i], 1.0, &basis[j]))?;
                let second = both - alone[i] - alone[j] + none;
                curvature.row_mut(i)[j] = second;
                curvature.row_mut(j)[i] = second;
            }
        }
        let values = curvature.singular_values()?;
        let rank = values.iter().filter(|v| **v > FLAT * values[0]).count();
        let gap = values[rank - 1] / values.get(rank).copied().unwrap_or(0.0).max(f64::EPSILON * values[0]);
        Ok((basis.len() - rank, gap))
    }
}

/// What is found with every number of targets, and of weights with one.
pub(super) fn rows(unit: &Unit, context: &Context<'_>, seed: usize) -> Result<Vec<Row>, Error> {
    let (n, queries) = (unit.count("rows")?, unit.count("queries")?);
    let mut generator = context.generator("rows", seed);
    let scale = 1.0 / (n as f64).sqrt();
    let all = correlated(n + queries, &graded(COLUMNS, RATIO), &mut generator);
    let x = Matrix::from_fn(n, COLUMNS, |i, j| scale * all.at(i, j));
    let fresh = Matrix::from_fn(queries, COLUMNS, |i, j| all.at(n + i, j));
    let y = targets(&x, &mut generator)?;
    let mut found = Vec::new();
    for count in 1..=COLUMNS {
        let some = Matrix::from_fn(n, count, |i, k| y.at(i, k));
        let problem = Problem::of(x.clone(), some)?;
        found.push(with_targets(&problem, &y, &fresh, &mut generator)?.label("targets", count));
    }
    let one = Problem::of(x, Matrix::from_fn(n, 1, |i, _| y.at(i, 0)))?;
    found.push(of_weights(&one, &fresh, &mut generator)?);
    Ok(found)
}

/// As many targets as columns, half noise, the coefficients of their whitened rows orthonormal.
fn targets(x: &Matrix, generator: &mut Generator) -> Result<Matrix, Error> {
    let n = x.rows;
    let s = x.transposed().times(x)?;
    // X C⁻ᵀ has second moments I, for S = C Cᵀ: coefficients C⁻ᵀ B.
    let factor = crate::designs::cholesky(&inverted(&s));
    let beta = factor.times(&orthonormal(COLUMNS, COLUMNS, generator))?;
    let signal = x.times(&beta)?;
    let noise = normal(n, COLUMNS, generator);
    let scale = 1.0 / (n as f64).sqrt();
    Ok(Matrix::from_fn(n, COLUMNS, |i, k| signal.at(i, k) + scale * noise.at(i, k)))
}

fn with_targets(problem: &Problem, all: &Matrix, fresh: &Matrix, generator: &mut Generator) -> Result<Row, Error> {
    let entries = |keep: &dyn Fn(usize, usize) -> bool| -> Vec<Matrix> {
        let places = (0..COLUMNS).flat_map(|i| (0..COLUMNS).map(move |j| (i, j))).filter(|(i, j)| keep(*i, *j));
        places.map(|(i, j)| Matrix::from_fn(COLUMNS, COLUMNS, |a, b| f64::from((a, b) == (i, j)))).collect()
    };
    let any = entries(&|_, _| true);
    let symmetric: Vec<Matrix> = entries(&|i, j| j <= i).iter().map(|m| combined(m, 1.0, &m.transposed())).collect();
    let ((free, gap), (tied, _)) = (problem.free(&any)?, problem.free(&symmetric)?);
    let zero = Matrix::zeros(COLUMNS, COLUMNS);
    let start = random(problem, generator);
    let ends = [problem.minimised(&zero)?, problem.minimised(&start)?];
    let expected = [problem.expected(&zero)?, problem.expected(&start)?];
    let (whitening, fits) = fit(&problem.x, all, false, Filter::Ols)?;
    let ols = predict(&whitening, &fits, fresh)?;
    let own = Matrix::from_fn(fresh.rows, problem.y.columns, |i, k| ols.at(i, k));
    let answers = |omega: &Matrix| -> Result<f64, Error> {
        Ok(distance_relative(&fresh.times(&omega.times(&problem.z)?)?, &own))
    };
    // The last target is another one unless all are among the problem's.
    let last = Matrix::from_fn(fresh.rows, 1, |i, _| ols.at(i, COLUMNS - 1));
    let other = Matrix::from_fn(all.rows, 1, |i, _| all.at(i, COLUMNS - 1));
    let swapped = fresh.times(&ends[1].times(&problem.x.transposed().times(&other)?)?)?;
    let direction = random(problem, generator);
    let flat = combined(&direction, -1.0, &direction.times(&problem.span()?)?);
    let loss = problem.loss(&ends[0])?;
    let change =
        |by: &Matrix| -> Result<f64, Error> { Ok((problem.loss(&combined(&ends[0], 1.0, by))? - loss).abs() / loss) };
    Ok(Row::new()
        .label("kind", "embedding")
        .value("free dimensions", free as f64)
        .value("free dimensions, symmetric", tied as f64)
        .value("curvature that counts over the largest that does not", gap)
        .value("from zero, distance to the closed form", distance_relative(&ends[0], &expected[0]))
        .value("from a start, distance to the closed form", distance_relative(&ends[1], &expected[1]))
        .value("second singular value, from zero", second(&ends[0])?)
        .value("from a start, distance to the inverse", distance_relative(&ends[1], &problem.inverse))
        .value("predictions, distance to least squares", answers(&ends[0])?.max(answers(&ends[1])?))
        .value("another target, distance to least squares", distance_relative(&swapped, &last))
        .value("change of the loss along a free direction", change(&scaled(&flat, problem))?)
        .value("change of the loss along any direction", change(&direction)?))
}

/// Weights of queries under ends of different starts with one target.
fn of_weights(problem: &Problem, fresh: &Matrix, generator: &mut Generator) -> Result<Row, Error> {
    let zero = Matrix::zeros(COLUMNS, COLUMNS);
    let from_zero = problem.minimised(&zero)?;
    let ends = [problem.minimised(&random(problem, generator))?, problem.minimised(&random(problem, generator))?];
    let weights = |omega: &Matrix| -> Result<Matrix, Error> { Ok(fresh.times(omega)?.times(&problem.x.transposed())?) };
    let (one, ols) = (weights(&from_zero)?, weights(&problem.inverse)?);
    let (first, other) = (weights(&ends[0])?, weights(&ends[1])?);
    let queries = 0..fresh.rows;
    let between =
        |a: &Matrix, b: &Matrix| -> Vec<f64> { queries.clone().map(|j| correlation(a.row(j), b.row(j))).collect() };
    let within = |w: &Matrix| -> Vec<f64> {
        let pairs = queries.clone().flat_map(|a| (0..a).map(move |b| (a, b)));
        pairs.map(|(a, b)| correlation(w.row(a), w.row(b)).abs()).collect()
    };
    let gross = |w: &Matrix, j: usize| w.row(j).iter().map(|w| w.abs()).sum::<f64>();
    let ratio = |j: usize| (gross(&first, j) / gross(&ols, j)).max(gross(&ols, j) / gross(&first, j));
    Ok(Row::new()
        .label("kind", "weights")
        .value("least correlation of two queries, from zero", within(&one).into_iter().fold(1.0, f64::min))
        .value("correlation of two queries, inverse", middle(within(&ols)))
        .value("correlation between starts", middle(between(&first, &other)))
        .value("correlation with the inverse's", middle(between(&first, &ols)))
        .value("correlation with the inverse's, from zero", middle(between(&one, &ols)))
        .value(
            "top rows shared between starts",
            middle(queries.clone().map(|j| shared(first.row(j), other.row(j))).collect()),
        )
        .value("gross leverage, factor from the inverse's", middle(queries.clone().map(ratio).collect())))
}

/// A random Ω as long as S⁻¹.
fn random(problem: &Problem, generator: &mut Generator) -> Matrix {
    scaled(&normal(COLUMNS, COLUMNS, generator), problem)
}

fn scaled(m: &Matrix, problem: &Problem) -> Matrix {
    let size = squares(m).sqrt();
    // (With as many targets as columns no direction is free, and rounding is not made longer.)
    let factor = if size > 1e-8 { (squares(&problem.inverse)).sqrt() / size } else { 0.0 };
    Matrix::from_fn(m.rows, m.columns, |i, j| factor * m.at(i, j))
}

/// The second singular value over the first.
fn second(m: &Matrix) -> Result<f64, Error> {
    let values = m.singular_values()?;
    Ok(values[1] / values[0])
}

fn inverted(s: &Matrix) -> Matrix {
    let unit = |c: usize| (0..s.rows).map(|r| f64::from(r == c)).collect::<Vec<_>>();
    let columns: Vec<Vec<f64>> = (0..s.rows).map(|c| solved(s, &unit(c))).collect();
    Matrix::from_fn(s.rows, s.rows, |i, j| 0.5 * (columns[j][i] + columns[i][j]))
}

/// `A + f B`.
fn combined(a: &Matrix, factor: f64, b: &Matrix) -> Matrix {
    Matrix::from_fn(a.rows, a.columns, |i, j| a.at(i, j) + factor * b.at(i, j))
}

fn squares(m: &Matrix) -> f64 {
    m.data.iter().map(|x| x * x).sum()
}

/// The correlation of two vectors.
pub(super) fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let centred = |v: &[f64]| {
        let mean = v.iter().sum::<f64>() / v.len() as f64;
        v.iter().map(|x| x - mean).collect::<Vec<_>>()
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let (a, b) = (centred(a), centred(b));
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

/// The share of top rows by |ω| that two vectors of weights have in common.
pub(super) fn shared(a: &[f64], b: &[f64]) -> f64 {
    let count = ((TOP * a.len() as f64).ceil() as usize).max(1);
    let top = |w: &[f64]| {
        let mut places: Vec<usize> = (0..w.len()).collect();
        places.sort_by(|i, j| w[*j].abs().total_cmp(&w[*i].abs()));
        places.truncate(count);
        places
    };
    let (a, b) = (top(a), top(b));
    a.iter().filter(|i| b.contains(i)).count() as f64 / count as f64
}

/// The median.
pub(super) fn middle(values: Vec<f64>) -> f64 {
    crate::statistics::middle(&values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::generator;

    fn problem(targets_: usize) -> Problem {
        let mut generator = generator("test", "embedding", "", targets_);
        let x = correlated(40, &graded(COLUMNS, RATIO), &mut generator);
        let x = Matrix::from_fn(40, COLUMNS, |i, j| x.at(i, j) / 40f64.sqrt());
        let y = targets(&x, &mut generator).unwrap();
        Problem::of(x, Matrix::from_fn(40, targets_, |i, k| y.at(i, k))).unwrap()
    }

    #[test]
    fn slopes_are_those_of_the_loss() {
        let problem = problem(2);
        let at = random(&problem, &mut generator("test", "slope", "", 0));
        let step = problem.descent(&at).unwrap();
        let eps = 1e-5;
        for (i, j) in [(0, 0), (1, 3), (4, 2)] {
            let unit = Matrix::from_fn(COLUMNS, COLUMNS, |a, b| f64::from((a, b) == (i, j)));
            let loss = |by: f64| problem.loss(&combined(&at, by, &unit)).unwrap();
            let slope = (loss(eps) - loss(-eps)) / (2.0 * eps);
            assert!((slope + 2.0 * step.at(i, j)).abs() < 1e-7 * (1.0 + slope.abs()));
        }
    }

    #[test]
    fn closed_forms_are_minima_and_the_inverse_is_one() {
        let problem = problem(1);
        let start = random(&problem, &mut generator("test", "closed", "", 0));
        let least = problem.loss(&problem.inverse).unwrap();
        for end in [problem.expected(&start).unwrap(), problem.expected(&Matrix::zeros(COLUMNS, COLUMNS)).unwrap()] {
            assert!((problem.loss(&end).unwrap() - least).abs() < 1e-12);
        }
        assert!(problem.loss(&start).unwrap() > least + 1e-3);
    }

    #[test]
    fn shares_and_correlations() {
        let a: Vec<f64> = (0..40).map(f64::from).collect();
        let b: Vec<f64> = (0..40).map(|i| f64::from(if i == 39 { 0 } else { -2 * i })).collect();
        assert_eq!((shared(&a, &a), shared(&a, &b)), (1.0, 0.5));
        assert!((correlation(&a, &a.iter().map(|x| 3.0 - x).collect::<Vec<_>>()) + 1.0).abs() < 1e-12);
        assert_eq!(middle(vec![3.0, 1.0, 2.0]), 2.0);
    }
}

//! The loss of the metrics: what is left of the targets once all else is solved for by least squares.

use rayon::prelude::*;

use super::head::{Inputs, Read, Reading, read, slope};
use super::options::{Coefficients, Objective, Options};
use crate::interrupt::checked;
use crate::linalg::solve_symmetric;

/// What is fitted to what, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Problem<'a> {
    pub(super) inputs: &'a Inputs,
    pub(super) targets: &'a [f64],
    pub(super) reading: Reading<'a>,
    pub(super) options: &'a Options,
}

/// What a search moves.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parameters {
    /// A factor of the metric a head, lower triangular, `[p][c]`.
    pub(crate) factors: Vec<Vec<Vec<f64>>>,
    /// Coefficients of the heads, where they are searched; empty where they are solved for.
    pub(crate) heads: Vec<f64>,
}

impl Parameters {
    /// `L Lᵀ` of every head.
    pub(super) fn metrics(&self) -> Vec<Vec<Vec<f64>>> {
        let metric = |factor: &Vec<Vec<f64>>| {
            let entry = |p: &Vec<f64>, q: &Vec<f64>| p.iter().zip(q).map(|(a, b)| a * b).sum();
            factor.iter().map(|p| factor.iter().map(|q| entry(p, q)).collect()).collect()
        };
        self.factors.iter().map(metric).collect()
    }

    pub(super) fn flat(&self) -> Vec<f64> {
        let rows = self.factors.iter().flat_map(|factor| factor.iter().enumerate());
        rows.flat_map(|(p, row)| row[..=p].iter().copied()).chain(self.heads.iter().copied()).collect()
    }

    /// Of as many heads and columns.
    pub(super) fn unflat(flat: &[f64], heads: usize, width: usize) -> Self {
        let each = width * (width + 1) / 2;
        let (factors, rest) = flat.split_at(heads * each);
        let entry = |flat: &[f64], p: usize, c: usize| if c > p { 0.0 } else { flat[p * (p + 1) / 2 + c] };
        let factors = factors
            .chunks_exact(each)
            .map(|flat| (0..width).map(|p| (0..width).map(|c| entry(flat, p, c)).collect()).collect());
        Self { factors: factors.collect(), heads: rest.to_vec() }
    }
}

/// The coefficients of everything that the heads are combined with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mixture {
    pub(crate) constant: f64,
    /// Of the inputs; empty without a linear head.
    pub(crate) slopes: Vec<f64>,
    /// Of the heads, α.
    pub(crate) heads: Vec<f64>,
}

/// The loss at some metrics, and what belongs to it.
#[derive(Clone, Debug)]
pub(super) struct At {
    pub(super) loss: f64,
    pub(super) mixture: Mixture,
    pub(super) reads: Vec<Read>,
    pub(super) residuals: Vec<f64>,
    /// `mean e² + τ Σ α²`.
    squares: f64,
}

/// Below it a mean square is all rounding; its logarithm falls no further.
const NOISE: f64 = 1e-20;

impl Problem<'_> {
    /// The loss, the least over what is solved for.
    pub(super) fn loss(&self, parameters: &Parameters) -> At {
        let of_head = |factor: &Vec<Vec<f64>>| read(self.inputs, factor, self.targets, self.reading);
        let reads: Vec<Read> = parameters.factors.par_iter().map(checked(of_head)).collect();
        let mixture = match self.options.coefficients {
            Coefficients::Solved => self.mix(&reads),
            Coefficients::Searched => Mixture { constant: 0.0, slopes: Vec::new(), heads: parameters.heads.clone() },
        };
        let residuals: Vec<f64> = self.targets.iter().zip(self.fitted(&mixture, &reads)).map(|(y, z)| y - z).collect();
        let sum = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
        let rows = self.inputs.rows as f64;
        let squares =
            sum(&mut residuals.iter().copied()) / rows + self.options.mixing * sum(&mut mixture.heads.iter().copied());
        let penalty = self.options.penalty * sum(&mut parameters.factors.iter().flatten().flatten().copied());
        let loss = match self.options.objective {
            Objective::Likelihood => (squares + NOISE).ln() + penalty / rows,
            Objective::Squares => squares + penalty,
        };
        At { loss, mixture, reads, residuals, squares }
    }

    fn fitted(&self, mixture: &Mixture, reads: &[Read]) -> Vec<f64> {
        let mut fitted = vec![mixture.constant; self.inputs.rows];
        for (p, slope) in mixture.slopes.iter().enumerate() {
            fitted.iter_mut().zip(self.inputs.column(p)).for_each(|(sum, x)| *sum += slope * x);
        }
        for (alpha, read) in mixture.heads.iter().zip(reads) {
            fitted.iter_mut().zip(&read.centred).for_each(|(sum, z)| *sum += alpha * z);
        }
        fitted
    }

    /// The slope of the loss. What is solved for adds nothing of the first order: it is at its least.
    pub(super) fn slopes(&self, parameters: &Parameters, at: &At) -> Parameters {
        let rows = self.inputs.rows as f64;
        let (outer, penalty) = match self.options.objective {
            Objective::Likelihood => (1.0 / (at.squares + NOISE), self.options.penalty / rows),
            Objective::Squares => (1.0, self.options.penalty),
        };
        let of_head = |(m, factor): (usize, &Vec<Vec<f64>>)| {
            let scale = -2.0 * outer * at.mixture.heads[m] / rows;
            let by_read: Vec<f64> = at.residuals.iter().map(|e| scale * e).collect();
            let mut slope = slope(self.inputs, factor, self.targets, &at.reads[m], &by_read, self.reading);
            for (row, factors) in slope.iter_mut().zip(factor) {
                row.iter_mut().zip(factors).for_each(|(s, l)| *s += 2.0 * penalty * l);
            }
            slope
        };
        let factors = parameters.factors.par_iter().enumerate().map(checked(of_head)).collect();
        let by_coefficient = |(alpha, read): (&f64, &Read)| {
            let along: f64 = at.residuals.iter().zip(&read.centred).map(|(e, z)| e * z).sum();
            2.0 * outer * (self.options.mixing * alpha - along / rows)
        };
        let heads = parameters.heads.iter().zip(&at.reads).map(by_coefficient).collect();
        Parameters { factors, heads }
    }

    /// What is solved for by penalised least squares: ones, inputs, and what the heads read.
    pub(super) fn features<'a>(&'a self, ones: &'a [f64], reads: &'a [Read]) -> Vec<&'a [f64]> {
        let linear = if self.options.linear { self.inputs.columns } else { 0 };
        let inputs = (0..linear).map(|p| self.inputs.column(p));
        std::iter::once(ones).chain(inputs).chain(reads.iter().map(|read| &read.centred[..])).collect()
    }

    /// Their normal equations, row by row.
    pub(super) fn equations(&self, features: &[&[f64]]) -> Vec<f64> {
        let size = features.len();
        let plain = size - self.options.heads;
        let mut matrix = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..=i {
                matrix[i * size + j] = crate::dense::kernel::dot(features[i], features[j]);
                matrix[j * size + i] = matrix[i * size + j];
            }
            // (A little on everything: constants, and heads that read alike, have no coefficients of their own.)
            let penalty = if i >= plain { self.options.mixing * self.inputs.rows as f64 } else { 0.0 };
            matrix[i * size + i] += 1e-12 * (matrix[i * size + i] + self.inputs.rows as f64) + penalty;
        }
        matrix
    }

    /// The constant, the slopes and the heads' coefficients, by penalised least squares.
    fn mix(&self, reads: &[Read]) -> Mixture {
        let ones = vec![1.0; self.inputs.rows];
        let features = self.features(&ones, reads);
        let (size, plain) = (features.len(), features.len() - reads.len());
        let matrix = self.equations(&features);
        let right: Vec<f64> = features.iter().map(|feature| crate::dense::kernel::dot(feature, self.targets)).collect();
        let found = solve_symmetric(&matrix, size, &right).unwrap_or_else(|| {
            // Heads that read nothing at all: the mean alone.
            let mut mean = vec![0.0; size];
            mean[0] = right[0] / self.inputs.rows as f64;
            mean
        });
        Mixture { constant: found[0], slopes: found[1..plain].to_vec(), heads: found[plain..].to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::{Precision, Score};
    use super::super::scope::Scope;
    use super::*;

    #[test]
    fn slopes_are_those_of_differences_with_the_mixture_solved_anew() {
        let (rows, width) = (60, 2);
        let columns: Vec<Vec<f64>> =
            (0..width).map(|c| (0..rows).map(|i| ((i * (3 * c + 2)) as f64 * 0.77).sin() * 1.4).collect()).collect();
        let targets: Vec<f64> =
            (0..rows).map(|i| (2.0 * columns[0][i]).sin() + columns[1][i] + 0.2 * (i as f64 * 1.3).cos()).collect();
        let inputs = Inputs::of(rows, &columns);
        let factors: Vec<Vec<Vec<f64>>> = vec![
            vec![vec![1.2, 0.0], vec![0.3, 0.8]],
            vec![vec![2.5, 0.0], vec![-0.4, 1.9]],
            vec![vec![0.4, 0.0], vec![0.1, 0.5]],
        ];
        let scope = Scope::of(rows, true, false, |i| 0..i);
        for score in [Score::Distance, Score::Dot] {
            for (objective, linear) in [(Objective::Likelihood, false), (Objective::Squares, true)] {
                for coefficients in [Coefficients::Solved, Coefficients::Searched] {
                    let options = Options { heads: 3, score, objective, linear, coefficients, ..Options::default() };
                    let reading = Reading { score, scope: &scope, decay: 0.0, precision: Precision::Double };
                    let problem = Problem { inputs: &inputs, targets: &targets, reading, options: &options };
                    let searched = coefficients == Coefficients::Searched;
                    let heads = if searched { vec![0.3, -0.2, 0.7] } else { Vec::new() };
                    let parameters = Parameters { factors: factors.clone(), heads };
                    let found = problem.slopes(&parameters, &problem.loss(&parameters)).flat();
                    let flat = parameters.flat();
                    assert_eq!(Parameters::unflat(&flat, 3, width), parameters);
                    for (k, found) in found.iter().enumerate() {
                        let step = 1e-5;
                        let moved = |h: f64| {
                            let mut flat = flat.clone();
                            flat[k] += h;
                            problem.loss(&Parameters::unflat(&flat, 3, width)).loss
                        };
                        let difference = (moved(step) - moved(-step)) / (2.0 * step);
                        assert!((found - difference).abs() < 3e-8, "{options:?} {k}: {found} and {difference}");
                    }
                }
            }
        }
    }
}

//! Flows with a minimum, and starts.

use hattention::matrix::Matrix;
use rand_distr::{Distribution, StandardNormal};

use super::race::{Course, races_on};
use crate::error::Error;
use crate::experiment::{Context, Unit};
use crate::experiments::symp_theory::bowl;
use crate::particles::{Domain, Flow, Softmax};
use crate::rows::Row;
use crate::seeds::Generator;

/// Tokens.
const TOKENS: usize = 12;
/// Directions in which they can move, but for the length.
const WIDTH: usize = 5;

fn normal(columns: usize, generator: &mut Generator) -> Matrix {
    Matrix::from_fn(TOKENS, columns, |_, _| StandardNormal.sample(generator))
}

/// 1, and 1 less the differences from 1/κ to 1 in even ratios.
fn spectrum(condition: f64) -> [f64; WIDTH] {
    let difference = |k: usize| condition.powf((k as f64 - 1.0) / (WIDTH - 2) as f64 - 1.0);
    std::array::from_fn(|k| if k == 0 { 1.0 } else { 1.0 - difference(k) })
}

/// Orthonormal directions across that of the mean (Helmert). Shape: `[WIDTH + 1, WIDTH]`, one a column.
fn contrasts() -> Matrix {
    Matrix::from_fn(WIDTH + 1, WIDTH, |i, k| {
        let scale = (((k + 1) * (k + 2)) as f64).sqrt();
        match i {
            _ if i <= k => 1.0 / scale,
            _ if i == k + 1 => -((k + 1) as f64) / scale,
            _ => 0.0,
        }
    })
}

/// Softmax attention with its minimum where all tokens are along the first direction.
pub(super) struct Round {
    flow: Softmax,
    /// The first direction.
    axis: Vec<f64>,
    /// Its score with itself.
    score: f64,
}

impl Round {
    pub(super) fn new(kernel: &str, condition: f64) -> Result<Self, Error> {
        let eigenvalues = spectrum(condition);
        if kernel == "sphere" {
            let a = Matrix::from_fn(WIDTH, WIDTH, |i, j| if i == j { eigenvalues[i] } else { 0.0 });
            let flow = Softmax::new(a, Matrix::identity(WIDTH), Domain::Sphere)?;
            let axis = (0..WIDTH).map(|i| if i == 0 { 1.0 } else { 0.0 }).collect();
            return Ok(Self { flow, axis, score: 1.0 });
        }
        let (basis, size) = (contrasts(), WIDTH + 1);
        let root = (size as f64).sqrt();
        let entry = |i: usize, j: usize| (0..WIDTH).map(|k| eigenvalues[k] * basis.at(i, k) * basis.at(j, k)).sum();
        let half: Matrix = Matrix::from_fn(size, size, entry);
        let a = Matrix::from_fn(size, size, |i, j| 0.5 * (half.at(i, j) + half.at(j, i)) / root);
        let flow = Softmax::new(a, Matrix::identity(size), Domain::Normed)?;
        // (Of squared length 6; scores over √6.)
        Ok(Self { flow, axis: (0..size).map(|i| basis.at(i, 0)).collect(), score: root })
    }

    /// Tokens on the side of the first direction.
    pub(super) fn start(&self, generator: &mut Generator) -> Matrix {
        let mut x = normal(self.axis.len(), generator);
        self.flow.constrain(&mut x, &mut Matrix::zeros(TOKENS, self.axis.len()));
        for i in 0..TOKENS {
            let along: f64 = x.row(i).iter().zip(&self.axis).map(|(x, a)| x * a).sum();
            if along < 0.0 {
                x.row_mut(i).iter_mut().for_each(|x| *x = -*x);
            }
        }
        x
    }

    pub(super) fn minimum(&self) -> f64 {
        -0.5 * self.score.exp()
    }
}

pub(super) fn races(unit: &Unit, context: &Context<'_>) -> Result<Vec<Row>, Error> {
    let (kernel, condition) = (unit.word("kernel")?, unit.number("condition")?);
    let starts = |of: &dyn Fn(&mut Generator) -> Matrix, purpose: &str, count: usize| -> Vec<Matrix> {
        (0..count).map(|seed| of(&mut context.generator(purpose, seed))).collect()
    };
    let (tuning, fresh) = (unit.count("tuning")?, context.plan.seeds);
    let course = |minimum: f64, of: &dyn Fn(&mut Generator) -> Matrix| Course {
        kernel: kernel.to_owned(),
        condition,
        minimum,
        share: if kernel == "linear" { 0.1 } else { 0.01 },
        tuning: starts(of, "tuning", tuning),
        fresh: starts(of, "start", fresh),
    };
    match kernel {
        "linear" | "scaled" => {
            let flow = bowl(WIDTH, condition)?;
            Ok(races_on(&flow, &course(0.0, &|generator| normal(WIDTH, generator)), context))
        }
        _ => {
            let round = Round::new(kernel, condition)?;
            Ok(races_on(&round.flow, &course(round.minimum(), &|generator| round.start(generator)), context))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_is_where_all_agree() {
        for kernel in ["sphere", "normed"] {
            let round = Round::new(kernel, 100.0).unwrap();
            let length = if kernel == "sphere" { 1.0 } else { (WIDTH as f64 + 1.0).sqrt() };
            let at = Matrix::from_fn(TOKENS, round.axis.len(), |_, j| length * round.axis[j]);
            let seen = round.flow.see(&at);
            assert!((round.flow.energy(&seen) - round.minimum()).abs() < 1e-12, "{kernel}");
            assert!(round.flow.velocity(&seen).data.iter().all(|v| v.abs() < 1e-12), "{kernel}");
            let start = round.start(&mut crate::seeds::generator("test", kernel, "start", 0));
            assert!(round.flow.energy(&round.flow.see(&start)) > round.minimum());
        }
        assert_eq!(spectrum(1.0), [1.0, 0.0, 0.0, 0.0, 0.0]);
        assert!((1.0 - spectrum(1e4)[1] - 1e-4).abs() < 1e-12 && spectrum(1e4)[4] == 0.0);
    }
}

//! The loss of the metrics: what is left of the targets once all else is solved for by least squares.

use super::head::{Inputs, Mask, Read, Score, read, slope};
use crate::linalg::solve_symmetric;

/// What is minimised, and by which rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) score: Score,
    pub(super) mask: Mask,
    /// Whether a linear head stands beside the softmax heads.
    pub(super) linear: bool,
    /// λ, on the squares of the factors' entries.
    pub(super) penalty: f64,
    /// τ, on the squares of the heads' coefficients.
    pub(super) mixing: f64,
}

/// The coefficients of everything that the heads are combined with.
#[derive(Clone, Debug)]
pub(super) struct Mixture {
    pub(super) constant: f64,
    /// Of the inputs; empty without a linear head.
    pub(super) slopes: Vec<f64>,
    /// Of the heads, α.
    pub(super) heads: Vec<f64>,
}

impl Mixture {
    fn predict(&self, inputs: &Inputs, reads: &[Read]) -> Vec<f64> {
        let mut predictions = vec![self.constant; inputs.rows];
        for (p, slope) in self.slopes.iter().enumerate() {
            predictions.iter_mut().zip(inputs.column(p)).for_each(|(sum, x)| *sum += slope * x);
        }
        for (alpha, read) in self.heads.iter().zip(reads) {
            predictions.iter_mut().zip(&read.values).for_each(|(sum, z)| *sum += alpha * z);
        }
        predictions
    }
}

/// The loss at some metrics, and what belongs to it.
#[derive(Clone, Debug)]
pub(super) struct At {
    pub(super) loss: f64,
    pub(super) mixture: Mixture,
    pub(super) reads: Vec<Read>,
    pub(super) residuals: Vec<f64>,
}

/// `mean e² + τ Σ α² + λ Σ ‖L‖²`, the least over the mixture.
pub(super) fn loss(inputs: &Inputs, targets: &[f64], factors: &[Vec<Vec<f64>>], setting: Setting) -> At {
    let reads: Vec<Read> =
        factors.iter().map(|factor| read(inputs, factor, targets, setting.score, setting.mask)).collect();
    let mixture = mix(inputs, targets, &reads, setting);
    let predictions = mixture.predict(inputs, &reads);
    let residuals: Vec<f64> = targets.iter().zip(predictions).map(|(y, z)| y - z).collect();
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
    let loss = squares(&mut residuals.iter().copied()) / inputs.rows as f64
        + setting.mixing * squares(&mut mixture.heads.iter().copied())
        + setting.penalty * squares(&mut factors.iter().flatten().flatten().copied());
    At { loss, mixture, reads, residuals }
}

/// The slope of the loss by every factor. What the mixture would change by is of the second order: it is at its least.
pub(super) fn slopes(inputs: &Inputs, factors: &[Vec<Vec<f64>>], at: &At, setting: Setting) -> Vec<Vec<Vec<f64>>> {
    let of_head = |(m, factor): (usize, &Vec<Vec<f64>>)| {
        let scale = -2.0 * at.mixture.heads[m] / inputs.rows as f64;
        let by_read: Vec<f64> = at.residuals.iter().map(|e| scale * e).collect();
        let mut slope = slope(inputs, factor, &at.reads[m], &by_read, setting.score, setting.mask);
        for (row, factors) in slope.iter_mut().zip(factor) {
            row.iter_mut().zip(factors).for_each(|(s, l)| *s += 2.0 * setting.penalty * l);
        }
        slope
    };
    factors.iter().enumerate().map(of_head).collect()
}

/// The constant, the slopes and the heads' coefficients, by penalised least squares.
fn mix(inputs: &Inputs, targets: &[f64], reads: &[Read], setting: Setting) -> Mixture {
    let rows = inputs.rows;
    let ones = vec![1.0; rows];
    let linear = if setting.linear { inputs.columns } else { 0 };
    let mut columns: Vec<&[f64]> = vec![&ones];
    columns.extend((0..linear).map(|p| inputs.column(p)));
    columns.extend(reads.iter().map(|read| &read.values[..]));
    let size = columns.len();
    let dot = |a: &[f64], b: &[f64]| crate::dense::kernel::dot(a, b);
    let mut matrix = vec![0.0; size * size];
    for i in 0..size {
        for j in 0..=i {
            matrix[i * size + j] = dot(columns[i], columns[j]);
            matrix[j * size + i] = matrix[i * size + j];
        }
        // (A little on everything: heads that read alike have no coefficients of their own.)
        let penalty = if i > linear { setting.mixing * rows as f64 } else { 0.0 };
        matrix[i * size + i] = matrix[i * size + i] * (1.0 + 1e-12) + penalty;
    }
    let right: Vec<f64> = columns.iter().map(|column| dot(column, targets)).collect();
    let found = solve_symmetric(&matrix, size, &right).unwrap_or_else(|| {
        // Heads that read nothing at all: the mean alone.
        let mut mean = vec![0.0; size];
        mean[0] = right[0] / rows as f64;
        mean
    });
    Mixture { constant: found[0], slopes: found[1..=linear].to_vec(), heads: found[1 + linear..].to_vec() }
}

#[cfg(test)]
mod tests {
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
        for score in [Score::Distance, Score::Dot] {
            for linear in [false, true] {
                let setting = Setting { score, mask: Mask::Others, linear, penalty: 1e-3, mixing: 1e-2 };
                let at = loss(&inputs, &targets, &factors, setting);
                let found = slopes(&inputs, &factors, &at, setting);
                for (m, p, c) in [(0, 0, 0), (0, 1, 0), (1, 1, 1), (2, 1, 0), (2, 0, 0)] {
                    let step = 1e-5;
                    let moved = |h: f64| {
                        let mut factors = factors.clone();
                        factors[m][p][c] += h;
                        loss(&inputs, &targets, &factors, setting).loss
                    };
                    let difference = (moved(step) - moved(-step)) / (2.0 * step);
                    assert!(
                        (found[m][p][c] - difference).abs() < 1e-8,
                        "{score:?}: {} and {difference}",
                        found[m][p][c]
                    );
                }
            }
        }
    }
}

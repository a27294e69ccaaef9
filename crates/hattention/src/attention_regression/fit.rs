//! Fits, and predictions of new rows.

use rayon::prelude::*;

use super::head::{Inputs, Mask, Score};
use super::minimise::{Limits, Minimum, minimise};
use super::objective::{Mixture, Setting, loss, slopes};
use crate::error::Error;
use crate::interrupt::checked;

/// How an attention regression is fitted.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Softmax heads.
    pub heads: usize,
    /// Their scores.
    pub score: Score,
    /// Which rows a training row reads.
    pub mask: Mask,
    /// Whether a linear head stands beside them.
    pub linear: bool,
    /// λ: penalty on the squares of the metrics' factors.
    pub penalty: f64,
    /// τ: penalty on the squares of the heads' coefficients.
    pub mixing: f64,
    /// Steps of the minimisation at most.
    pub steps: usize,
    /// Seed of the start.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            heads: 5,
            score: Score::Distance,
            mask: Mask::Others,
            linear: true,
            penalty: 1e-3,
            mixing: 1e-2,
            steps: 300,
            seed: 1,
        }
    }
}

impl Options {
    fn check(&self) -> Result<(), Error> {
        for (name, value) in [("the penalty on metrics", self.penalty), ("the penalty on heads", self.mixing)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::Parameter {
                    name,
                    got: value.to_string(),
                    allowed: "a finite number, zero or more",
                });
            }
        }
        Ok(())
    }
}

/// A fitted attention regression, with its training rows.
#[derive(Clone, Debug)]
pub struct AttentionRegression {
    options: Options,
    means: Vec<f64>,
    scales: Vec<f64>,
    target_mean: f64,
    target_scale: f64,
    inputs: Inputs,
    targets: Vec<f64>,
    factors: Vec<Vec<Vec<f64>>>,
    mixture: Mixture,
    /// The loss at the end.
    pub loss: f64,
    /// Mean square of the residuals, in units of the target's variance; with [`Mask::Others`] leave-one-out but for the
    /// mixture and the metrics.
    pub residual: f64,
    isolated: usize,
    /// Steps that the minimisation took.
    pub steps: usize,
    /// Losses and slopes that were evaluated.
    pub evaluations: usize,
}

impl AttentionRegression {
    /// Fits rows.
    ///
    /// # Shapes
    /// Every column and the target: `[rows]`.
    ///
    /// # Numerics
    /// Inputs and target are standardised first. A loss costs `½ M n²` kernels of `P` multiplications each, its slope as many
    /// again; memory `O(n P)`. Losses are minimised by L-BFGS from metrics about the width of Scott's rule; the minimum that
    /// is found depends on the start, and so on the seed.
    ///
    /// # Errors
    /// - [`Error::Shape`]: columns and target of different lengths.
    /// - [`Error::TooFewRows`]: no more rows than the linear part has coefficients.
    /// - [`Error::NonFinite`]: NaN or infinity; the target counts as the column after the last.
    /// - [`Error::Parameter`]: no columns, or a penalty that is negative or not finite.
    /// - [`Error::NoConvergence`]: a start at which the loss is not finite.
    ///
    /// # Example
    /// ```
    /// use hattention::attention_regression::{AttentionRegression, Options};
    /// let x: Vec<f64> = (0..200).map(|i| i as f64 / 200.0).collect();
    /// let y: Vec<f64> = x.iter().map(|x| (9.0 * x).sin()).collect();
    /// let model = AttentionRegression::fit(&[&x], &y, Options::default()).unwrap();
    /// let at = model.predict(&[&[0.305]]).unwrap()[0];
    /// assert!((at - (9.0f64 * 0.305).sin()).abs() < 0.02);
    /// ```
    pub fn fit(columns: &[&[f64]], target: &[f64], options: Options) -> Result<Self, Error> {
        let rows = target.len();
        options.check()?;
        if columns.is_empty() {
            let (name, got) = ("the number of columns", "0".to_owned());
            return Err(Error::Parameter { name, got, allowed: "at least one" });
        }
        check(columns, rows)?;
        if let Some(row) = target.iter().position(|y| !y.is_finite()) {
            return Err(Error::NonFinite { row, column: columns.len(), value: target[row] });
        }
        let coefficients = 1 + options.heads + if options.linear { columns.len() } else { 0 };
        if rows <= coefficients {
            return Err(Error::TooFewRows { rows: rows as u64, coefficients: coefficients + 1 });
        }
        let (means, scales): (Vec<f64>, Vec<f64>) = columns.iter().map(|column| spread(column)).unzip();
        let (target_mean, target_scale) = spread(target);
        let standard: Vec<Vec<f64>> = columns
            .iter()
            .zip(means.iter().zip(&scales))
            .map(|(column, (mean, scale))| column.iter().map(|x| (x - mean) / scale).collect())
            .collect();
        let inputs = Inputs::of(rows, &standard);
        let targets: Vec<f64> = target.iter().map(|y| (y - target_mean) / target_scale).collect();
        let setting = Setting {
            score: options.score,
            mask: options.mask,
            linear: options.linear,
            penalty: options.penalty,
            mixing: options.mixing,
        };
        let width = columns.len();
        let start = start(rows, width, options);
        let limits = Limits { steps: options.steps, evaluations: 2 * options.steps, gradient: 1e-7, fall: 1e-6 };
        let evaluate = |flat: &[f64]| {
            let factors = unflatten(flat, width);
            let at = loss(&inputs, &targets, &factors, setting);
            let slopes = slopes(&inputs, &factors, &at, setting);
            (at.loss, flatten(&slopes))
        };
        let Minimum { at, steps, evaluations, .. } = minimise(flatten(&start), limits, evaluate, |_, _, _| true);
        let factors = unflatten(&at, width);
        let at = loss(&inputs, &targets, &factors, setting);
        if !at.loss.is_finite() {
            return Err(Error::NoConvergence { steps, residual: at.loss });
        }
        let residual = at.residuals.iter().map(|e| e * e).sum::<f64>() / rows as f64;
        Ok(Self {
            options,
            means,
            scales,
            target_mean,
            target_scale,
            inputs,
            targets,
            factors,
            mixture: at.mixture,
            loss: at.loss,
            residual,
            isolated: at.reads.iter().map(|read| read.isolated).max().unwrap_or(0),
            steps,
            evaluations,
        })
    }

    /// Predictions of rows.
    ///
    /// # Shapes
    /// As many columns as in the fit, each `[rows]`; the result: `[rows]`.
    ///
    /// # Numerics
    /// `M n P` operations and `M n` exponentials a row.
    ///
    /// # Errors
    /// [`Error::Shape`] for other columns, [`Error::NonFinite`] for NaN or infinity.
    pub fn predict(&self, columns: &[&[f64]]) -> Result<Vec<f64>, Error> {
        let expected = self.inputs.columns;
        if columns.len() != expected {
            return Err(Error::Shape { what: "the columns", expected, got: columns.len() });
        }
        let rows = columns.first().map_or(0, |column| column.len());
        check(columns, rows)?;
        let keys: Vec<_> = self.factors.iter().map(|factor| self.inputs.keys(factor)).collect();
        let of_row = |row: usize| {
            let x: Vec<f64> =
                columns.iter().zip(self.means.iter().zip(&self.scales)).map(|(c, (m, s))| (c[row] - m) / s).collect();
            let mut prediction = self.mixture.constant;
            prediction += self.mixture.slopes.iter().zip(&x).map(|(b, x)| b * x).sum::<f64>();
            for ((factor, keys), alpha) in self.factors.iter().zip(&keys).zip(&self.mixture.heads) {
                let query: Vec<f64> = (0..x.len()).map(|c| (c..x.len()).map(|p| factor[p][c] * x[p]).sum()).collect();
                let mut scores = match self.options.score {
                    Score::Distance => keys.half_norms[..keys.rows].to_vec(),
                    Score::Dot => vec![0.0; keys.rows],
                };
                for (c, q) in query.iter().enumerate() {
                    scores.iter_mut().zip(keys.column(c)).for_each(|(s, k)| *s += q * k);
                }
                let largest = scores.iter().fold(f64::NEG_INFINITY, |most, s| most.max(*s));
                let sums = scores.iter().zip(&self.targets).fold((0.0, 0.0), |(w, y), (s, target)| {
                    let e = libm::exp(s - largest);
                    (w + e, y + e * target)
                });
                prediction += alpha * sums.1 / sums.0;
            }
            self.target_mean + self.target_scale * prediction
        };
        Ok((0..rows).into_par_iter().map(checked(of_row)).collect())
    }

    /// Coefficients α of the heads, in units of the target.
    pub fn head_coefficients(&self) -> &[f64] {
        &self.mixture.heads
    }

    /// Coefficients of the linear head, by column, in the units of the data; empty without one.
    pub fn slopes(&self) -> Vec<f64> {
        self.mixture.slopes.iter().zip(&self.scales).map(|(b, scale)| self.target_scale * b / scale).collect()
    }

    /// Training rows so far from all others that a head's kernel underflows: they read the nearest alone.
    pub fn isolated(&self) -> usize {
        self.isolated
    }
}

/// Columns of one length without NaN and infinity.
fn check(columns: &[&[f64]], rows: usize) -> Result<(), Error> {
    for (at, column) in columns.iter().enumerate() {
        if column.len() != rows {
            return Err(Error::Shape { what: "a column", expected: rows, got: column.len() });
        }
        if let Some(row) = column.iter().position(|x| !x.is_finite()) {
            return Err(Error::NonFinite { row, column: at, value: column[row] });
        }
    }
    Ok(())
}

/// Mean and standard deviation; a deviation of one for a constant.
fn spread(column: &[f64]) -> (f64, f64) {
    let count = column.len() as f64;
    let mean = column.iter().sum::<f64>() / count;
    let deviation = (column.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count).sqrt();
    (mean, if deviation > 0.0 { deviation } else { 1.0 })
}

/// Metrics of several widths about that of Scott's rule, a little off the axes.
fn start(rows: usize, width: usize, options: Options) -> Vec<Vec<Vec<f64>>> {
    let mut state = options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    };
    let scott = (rows as f64).powf(1.0 / (width as f64 + 4.0));
    (0..options.heads)
        .map(|m| {
            let place = if options.heads > 1 { m as f64 / (options.heads - 1) as f64 } else { 0.5 };
            let base = scott * 4f64.powf(place - 0.5);
            (0..width)
                .map(|p| {
                    (0..width).map(|c| if c > p { 0.0 } else { base * f64::from(c == p) + 0.1 * noise() }).collect()
                })
                .collect()
        })
        .collect()
}

fn flatten(factors: &[Vec<Vec<f64>>]) -> Vec<f64> {
    factors.iter().flat_map(|factor| factor.iter().enumerate().flat_map(|(p, row)| row[..=p].iter().copied())).collect()
}

fn unflatten(flat: &[f64], width: usize) -> Vec<Vec<Vec<f64>>> {
    let each = width * (width + 1) / 2;
    flat.chunks_exact(each)
        .map(|flat| {
            (0..width)
                .map(|p| (0..width).map(|c| if c > p { 0.0 } else { flat[p * (p + 1) / 2 + c] }).collect())
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(rows: usize, seed: f64) -> Vec<f64> {
        (0..rows).map(|i| ((i as f64 + seed) * 12.9898).sin() * 43_758.545_3).map(|x| x - x.floor()).collect()
    }

    fn share(y: &[f64], predictions: &[f64]) -> f64 {
        let mean = y.iter().sum::<f64>() / y.len() as f64;
        let total: f64 = y.iter().map(|y| (y - mean) * (y - mean)).sum();
        1.0 - y.iter().zip(predictions).map(|(y, p)| (y - p) * (y - p)).sum::<f64>() / total
    }

    #[test]
    fn lines_are_left_to_the_linear_head_and_curves_are_found() {
        let columns: Vec<Vec<f64>> = (0..4).map(|c| wave(600, 100.0 * c as f64)).collect();
        let noise = wave(600, 999.0);
        let line = |i: usize| 3.0 * columns[0][i] - 2.0 * columns[1][i];
        let curve = |i: usize| (4.0 * (columns[0][i] + columns[2][i])).sin();
        let train: Vec<&[f64]> = columns.iter().map(|c| &c[..400]).collect();
        let test: Vec<&[f64]> = columns.iter().map(|c| &c[400..]).collect();
        for (truth, linear_share) in [(&line as &dyn Fn(usize) -> f64, true), (&curve, false)] {
            let y: Vec<f64> = (0..600).map(|i| truth(i) + 0.2 * (noise[i] - 0.5)).collect();
            let model = AttentionRegression::fit(&train, &y[..400], Options::default()).unwrap();
            let found = share(&y[400..], &model.predict(&test).unwrap());
            assert!(found > 0.97, "{found}");
            let slopes = model.slopes();
            if linear_share {
                assert!((slopes[0] - 3.0).abs() < 0.2 && (slopes[1] + 2.0).abs() < 0.2, "{slopes:?}");
            } else {
                let alone = Options { heads: 0, ..Options::default() };
                let line = AttentionRegression::fit(&train, &y[..400], alone).unwrap();
                assert!(share(&y[400..], &line.predict(&test).unwrap()) < 0.6);
            }
            let again = AttentionRegression::fit(&train, &y[..400], Options::default()).unwrap();
            assert_eq!(again.predict(&test).unwrap(), model.predict(&test).unwrap());
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let columns: Vec<Vec<f64>> = (0..3).map(|c| wave(90, 10.0 * c as f64)).collect();
        let train: Vec<&[f64]> = columns.iter().map(|c| &c[..]).collect();
        let y: Vec<f64> = (0..90).map(|i| (5.0 * columns[0][i]).cos() + columns[1][i]).collect();
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| AttentionRegression::fit(&train, &y, Options::default()).unwrap().loss)
        };
        assert_eq!(with(1).to_bits(), with(3).to_bits());
    }

    #[test]
    fn what_cannot_be_fitted_is_refused() {
        let x = wave(30, 0.0);
        let options = Options::default();
        assert!(matches!(AttentionRegression::fit(&[], &x, options), Err(Error::Parameter { .. })));
        assert!(matches!(AttentionRegression::fit(&[&x[..9]], &x, options), Err(Error::Shape { .. })));
        assert!(matches!(AttentionRegression::fit(&[&x[..7]], &x[..7], options), Err(Error::TooFewRows { .. })));
        let wrong = Options { penalty: f64::NAN, ..options };
        assert!(matches!(AttentionRegression::fit(&[&x], &x, wrong), Err(Error::Parameter { .. })));
        let mut holes = x.clone();
        holes[3] = f64::NAN;
        assert!(matches!(
            AttentionRegression::fit(&[&holes], &x, options),
            Err(Error::NonFinite { row: 3, column: 0, .. })
        ));
        assert!(matches!(
            AttentionRegression::fit(&[&x], &holes, options),
            Err(Error::NonFinite { row: 3, column: 1, .. })
        ));
        let model = AttentionRegression::fit(&[&x], &x, options).unwrap();
        assert!(matches!(model.predict(&[&x, &x]), Err(Error::Shape { .. })));
        assert!(model.predict(&[&[]]).unwrap().is_empty());
        // Constant columns and a constant target are fitted by the mean.
        let constant = vec![2.0; 30];
        let model = AttentionRegression::fit(&[&constant], &constant, options).unwrap();
        assert!((model.predict(&[&[7.0]]).unwrap()[0] - 2.0).abs() < 1e-12);
    }
}

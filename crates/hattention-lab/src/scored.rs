//! Attention regressions scored by rows that they were not fitted to.

use hattention::attention_regression::{AttentionRegression, Options};

use crate::error::Error;

/// Rows to fit, and rows to be predicted. Shapes: columns `[columns][rows]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Columns of the rows to fit.
    pub train: Vec<Vec<f64>>,
    /// Their target.
    pub train_target: Vec<f64>,
    /// Columns of the rows to be predicted.
    pub test: Vec<Vec<f64>>,
    /// Their target.
    pub test_target: Vec<f64>,
}

/// A fit with its scores.
#[derive(Clone, Debug)]
pub struct Scored {
    /// The fit.
    pub model: AttentionRegression,
    /// R² of the test rows.
    pub test: f64,
}

/// The published recipe, with both ways to decide on a second fit.
#[derive(Clone, Debug)]
pub struct Retried {
    /// R² of the test rows after the first fit.
    pub first: f64,
    /// R² of training rows left out of it.
    pub left_out: f64,
    /// R² of the test rows, and of training rows left out, after a fit with a hundredth of the penalty, where either R² of the
    /// first is below the limit.
    pub second: Option<(f64, f64)>,
    /// The limit.
    pub limit: f64,
}

impl Retried {
    /// As published: whether the *test* rows say that it be fitted again, and the R² after that.
    pub fn by_test(&self) -> (bool, f64) {
        self.decided(self.first)
    }

    /// Without test rows: rows left out decide.
    pub fn by_left_out(&self) -> (bool, f64) {
        self.decided(self.left_out)
    }

    /// Without test rows: of the fits that rows left out ask for, the one that predicts these best.
    pub fn better(&self) -> (bool, f64) {
        match self.second {
            Some((second, left_out)) if self.left_out < self.limit && left_out > self.left_out => (true, second),
            _ => (false, self.first),
        }
    }

    fn decided(&self, by: f64) -> (bool, f64) {
        match self.second {
            Some((second, _)) if by < self.limit => (true, second),
            _ => (false, self.first),
        }
    }
}

impl Sample {
    /// Fits with options.
    ///
    /// # Errors
    /// As [`AttentionRegression::fit`].
    pub fn fit(&self, options: Options) -> Result<Scored, Error> {
        let model = AttentionRegression::fit(&columns(&self.train), &self.train_target, options)?;
        let test = r_squared(&self.test_target, &model.predict(&columns(&self.test))?);
        Ok(Scored { model, test })
    }

    /// Options with penalties by cross-validation in five folds of at most 1,000 training rows.
    ///
    /// # Errors
    /// As [`Options::choose`].
    pub fn choose(&self, options: &Options) -> Result<Options, Error> {
        Ok(options.choose(&columns(&self.train), &self.train_target, 5, 1000)?.options)
    }

    /// A fit, and a second one with a hundredth of the penalty where the first has an R² below a limit: of test rows, as in
    /// Goulet Coulombe's code, or of training rows left out.
    ///
    /// # Errors
    /// As [`AttentionRegression::fit`].
    pub fn retry(&self, options: Options, limit: f64) -> Result<Retried, Error> {
        let Scored { model, test: first } = self.fit(options.clone())?;
        let left_out = self.left_out(&model);
        let again = Options { penalty: options.penalty / 100.0, ..options };
        let mut found = Retried { first, left_out, second: None, limit };
        if first < limit || left_out < limit {
            let second = self.fit(again)?;
            found.second = Some((second.test, self.left_out(&second.model)));
        }
        Ok(found)
    }

    /// R² of training rows that are left out one at a time.
    pub fn left_out(&self, model: &AttentionRegression) -> f64 {
        let errors = model.left_out();
        let predictions: Vec<f64> = self.train_target.iter().zip(&errors).map(|(y, e)| y - e).collect();
        r_squared(&self.train_target, &predictions)
    }
}

fn columns(columns: &[Vec<f64>]) -> Vec<&[f64]> {
    columns.iter().map(Vec::as_slice).collect()
}

/// `1 − Σ(y − ŷ)² / Σ(y − ȳ)²`.
///
/// # Equals
/// scikit-learn's `r2_score`.
///
/// # Example
/// ```
/// use hattention_lab::scored::r_squared;
/// assert_eq!(r_squared(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]), 1.0);
/// assert_eq!(r_squared(&[1.0, 2.0, 3.0], &[2.0, 2.0, 2.0]), 0.0);
/// ```
pub fn r_squared(target: &[f64], predictions: &[f64]) -> f64 {
    let mean = target.iter().sum::<f64>() / target.len() as f64;
    let squares = |other: &dyn Fn(usize) -> f64| (0..target.len()).map(|i| (target[i] - other(i)).powi(2)).sum::<f64>();
    1.0 - squares(&|i| predictions[i]) / squares(&|_| mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_decides_on_a_second_fit() {
        let found = Retried { first: 0.05, left_out: 0.2, second: Some((0.3, 0.1)), limit: 0.1 };
        assert_eq!((found.by_test(), found.by_left_out()), ((true, 0.3), (false, 0.05)));
        assert_eq!(found.better(), (false, 0.05));
        let low = Retried { left_out: 0.05, ..found.clone() };
        assert_eq!((low.by_left_out(), low.better()), ((true, 0.3), (true, 0.3)));
        let worse = Retried { left_out: -0.1, second: Some((0.3, -0.2)), ..found };
        assert_eq!((worse.by_left_out(), worse.better()), ((true, 0.3), (false, 0.05)));
        let fine = Retried { first: 0.5, left_out: 0.4, second: None, limit: 0.1 };
        assert_eq!((fine.by_test(), fine.by_left_out()), ((false, 0.5), (false, 0.5)));
    }

    #[test]
    fn noise_alone_is_fitted_again() {
        let wave = |rows: usize, seed: f64| -> Vec<f64> {
            (0..rows).map(|i| ((i as f64 + seed) * 12.9898).sin() * 43_758.545_3).map(|x| x - x.floor()).collect()
        };
        let sample = Sample {
            train: vec![wave(60, 0.0), wave(60, 500.0)],
            train_target: wave(60, 1000.0),
            test: vec![wave(40, 2000.0), wave(40, 2500.0)],
            test_target: wave(40, 3000.0),
        };
        let found = sample.retry(Options { steps: 20, ..Options::published() }, 0.1).unwrap();
        let again = Options { steps: 20, penalty: 1e-5, ..Options::published() };
        assert_eq!(found.by_test(), (true, sample.fit(again).unwrap().test));
    }
}

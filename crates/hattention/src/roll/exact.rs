//! The last rung: windows that doubled arithmetic cannot answer for, by the exact state.

use std::ops::Range;

use rayon::prelude::*;

use super::run::{Found, Job, place_of};
use super::{Mask, Rung, Status};
use crate::attention::{self, Keys};
use crate::block::{Block, Column};
use crate::design::{Design, Filter};
use crate::double_double::DoubleDouble;
use crate::error::{Dependence, Error};
use crate::fit::Fit;
use crate::moments::Moments;
use crate::whitening::{Whitening, WhiteningOptions};

/// Weights below this share of the latest row's are left out: none that small changes a bit of the result.
const LEAST_WEIGHT: f64 = 1e-280;

/// Judges windows exactly.
pub(super) struct Exact<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) mask: Mask,
    /// The design and targets as columns of a block of the series' fields.
    pub(super) design: Design,
    pub(super) targets: Vec<String>,
}

/// What the exact state says of a window.
#[derive(Debug)]
enum Answer {
    Fitted(Box<Window>),
    Dependent(Vec<Dependence>),
}

#[derive(Debug)]
struct Window {
    whitening: Whitening,
    fits: Vec<Fit>,
    /// Degrees of freedom, which under decay are fewer than the rows'.
    df: f64,
}

impl Exact<'_> {
    /// Settles the windows that are open.
    ///
    /// # Errors
    /// [`Error::RankDeficient`] if the columns are dependent over all rows.
    pub(super) fn settle(&self, found: &mut Found, dependent: &mut Vec<Vec<Dependence>>) -> Result<(), Error> {
        let mut windows = found.open.clone();
        windows.extend(found.open_predictions.iter().filter_map(|row| row.checked_sub(1)));
        windows.sort_unstable();
        windows.dedup();
        let fitted = || found.status.iter().any(|status| matches!(status, Status::Fitted(_)));
        if windows.is_empty() && (found.constant.is_empty() || fitted()) {
            return Ok(());
        }
        self.whole()?;
        if !matches!(self.mask, Mask::Window(_)) {
            windows = self.without_runs(windows, found, dependent)?;
        }
        // Some at a time, so that their factors need not be kept.
        for some in windows.chunks(1024) {
            let answers: Vec<_> = some.par_iter().map(|row| self.judge(*row)).collect();
            for (row, answer) in some.iter().zip(answers) {
                self.settle_one(found, dependent, *row, answer?)?;
            }
        }
        let full = self.job.shape.full;
        for row in (1..found.status.len()).filter(|_| full) {
            if !matches!(found.status[row - 1], Status::Fitted(_)) {
                (0..self.targets.len()).for_each(|target| self.write_prediction(found, row, target, [f64::NAN; 3]));
            }
        }
        Ok(())
    }

    fn settle_one(
        &self,
        found: &mut Found,
        dependent: &mut Vec<Vec<Dependence>>,
        row: usize,
        answer: Answer,
    ) -> Result<(), Error> {
        let is_open = found.status[row] == Status::Fitted(Rung::Exact);
        match answer {
            Answer::Fitted(window) => self.write(found, row, &window, is_open)?,
            Answer::Dependent(names) if is_open => {
                let constant = found.constant.len();
                found.status[row] = Status::Dependent(constant + place_of(dependent, names));
            }
            Answer::Dependent(_) => {}
        }
        Ok(())
    }

    /// Settles what is dependent where windows only grow: columns that are dependent in a window are so in all before
    /// it, so that windows between two of the same dependence need no judgement.
    fn without_runs(
        &self,
        windows: Vec<usize>,
        found: &mut Found,
        dependent: &mut Vec<Vec<Dependence>>,
    ) -> Result<Vec<usize>, Error> {
        let mut rest = Vec::new();
        let mut judged: Vec<Option<Answer>> = windows.iter().map(|_| None).collect();
        let mut spans = Vec::new();
        spans.push(0..windows.len());
        while let Some(span) = spans.pop() {
            let (first, last) = (span.start, span.end - 1);
            for end in [first, last] {
                if judged[end].is_none() {
                    judged[end] = Some(self.judge(windows[end])?);
                }
            }
            match (&judged[first], &judged[last]) {
                (Some(Answer::Dependent(a)), Some(Answer::Dependent(b))) if a == b => {
                    let names = a.clone();
                    for row in &windows[span] {
                        self.settle_one(found, dependent, *row, Answer::Dependent(names.clone()))?;
                    }
                }
                (Some(Answer::Dependent(_)), _) if span.len() > 1 => {
                    let middle = (span.start + span.end) / 2;
                    spans.extend([span.start..middle, middle..span.end]);
                }
                _ => rest.extend_from_slice(&windows[span]),
            }
        }
        rest.sort_unstable();
        Ok(rest)
    }

    /// Refuses a design that is dependent over all rows.
    fn whole(&self) -> Result<(), Error> {
        let series = self.job.series;
        let moments = Moments::of(&self.block(0..series.rows, series.weights))?;
        match Whitening::of(&moments, &self.design, Filter::Ols, WhiteningOptions::default(), None) {
            Err(error @ Error::RankDeficient { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    fn block<'b>(&'b self, rows: Range<usize>, weights: Option<&'b [f64]>) -> Block<'b> {
        let column = |field: &'b super::series::Field<'_>| match &field.lo {
            None => Column::Dense(&field.hi[rows.clone()]),
            Some(lo) => Column::Pair { hi: &field.hi[rows.clone()], lo: &lo[rows.clone()] },
        };
        Block { rows: rows.len(), columns: self.job.series.fields.iter().map(column).collect(), weights }
    }

    fn judge(&self, row: usize) -> Result<Answer, Error> {
        let series = self.job.series;
        let mut first = self.job.plan.first(row);
        let weights: Option<Vec<f64>> = match self.mask {
            Mask::Decay(decay) if decay < 1.0 => {
                let most = (LEAST_WEIGHT.ln() / decay.ln()).ceil();
                first = first.max((row as f64 - most).max(0.0) as usize);
                let age = |i: usize| DoubleDouble::from(decay).powi((row - i) as u32).to_f64();
                Some((first..=row).map(|i| age(i) * series.weight(i)).collect())
            }
            _ => series.weights.map(|weights| weights[first..=row].to_vec()),
        };
        let moments = Moments::of(&self.block(first..row + 1, weights.as_deref()))?;
        let options = WhiteningOptions::default();
        let whitening = match Whitening::of(&moments, &self.design, Filter::Ols, options, None) {
            Ok(whitening) => whitening,
            Err(Error::RankDeficient { mut dependent, .. }) => {
                // Windows of the same dependence share its name, whatever their distances.
                dependent.iter_mut().for_each(|dependence| dependence.distance_relative = 0.0);
                return Ok(Answer::Dependent(dependent));
            }
            Err(error) => return Err(error),
        };
        let columns = self.job.shape.columns;
        let fits = self.targets.iter().enumerate().map(|(t, name)| Fit::of(&moments, &whitening, columns + t, name));
        let fits = fits.collect::<Result<_, _>>()?;
        Ok(Answer::Fitted(Box::new(Window { whitening, fits, df: self.job.freedom(row) })))
    }

    /// The numbers of a window, and the prediction of the row after it.
    fn write(&self, found: &mut Found, row: usize, window: &Window, is_open: bool) -> Result<(), Error> {
        let shape = self.job.shape;
        let (count, values) = (shape.coefficients(), shape.values());
        let next = (row + 1 < self.job.plan.rows && shape.full).then_some(row + 1);
        for (target, fit) in window.fits.iter().enumerate() {
            let sigma = if window.df > 0.0 { fit.residual_root / window.df.sqrt() } else { f64::NAN };
            if is_open {
                let columns = &mut found.values[target * values..(target + 1) * values];
                for k in 0..count {
                    columns[k][row] = finite(fit.estimates[k].map_or(f64::NAN, |b| b.to_f64()));
                    if shape.full {
                        let error = fit.covariance.as_ref().map_or(f64::NAN, |c| c.std_error(k));
                        columns[count + k][row] = finite(error * (fit.df_residual / window.df).sqrt());
                    }
                }
                if shape.full {
                    columns[2 * count][row] = finite(sigma);
                    let (block, ids) = self.row(row);
                    let known = self.block(row..row + 1, None).columns[shape.columns + target];
                    let residual = attention::residuals(&window.whitening, fit, &block, &ids, known)?;
                    columns[2 * count + 3][row] = finite(residual[0]);
                }
            }
            if let Some(next) = next {
                let (block, ids) = self.row(next);
                let known = self.block(next..next + 1, None).columns[shape.columns + target];
                let leverage = Keys::of(&window.whitening, &block, &ids)?.squared_norms()[0];
                let predicted = attention::predict(&window.whitening, fit, &block, &ids)?[0];
                let surprise = attention::residuals(&window.whitening, fit, &block, &ids, known)?[0];
                let weight = self.job.series.weight(next);
                let recursive = surprise * (weight / (1.0 + weight * leverage)).sqrt();
                let numbers = [predicted, sigma * (1.0 + leverage).sqrt(), recursive];
                self.write_prediction(found, next, target, numbers);
            }
        }
        Ok(())
    }

    fn write_prediction(&self, found: &mut Found, row: usize, target: usize, numbers: [f64; 3]) {
        let start = target * self.job.shape.values() + 2 * self.job.shape.coefficients();
        for (place, number) in [1, 2, 4].into_iter().zip(numbers) {
            found.values[start + place][row] = finite(number);
        }
    }

    /// The design's columns of one row, and their numbers.
    fn row(&self, row: usize) -> (Block<'_>, Vec<usize>) {
        let mut block = self.block(row..row + 1, None);
        block.columns.truncate(self.job.shape.columns);
        (block, (0..self.job.shape.columns).collect())
    }
}

/// A number beyond the doubles is none.
fn finite(x: f64) -> f64 {
    if x.is_finite() { x } else { f64::NAN }
}

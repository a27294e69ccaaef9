//! Confidence intervals: of means, of shares, by resampling, and of slopes.

use hattention::{Block, Column, Design, Fit, WhiteningOptions, in_memory};
use rand::RngExt;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use crate::error::Error;
use crate::seeds::Generator;

/// The level of every interval unless another is asked for.
pub const LEVEL: f64 = 0.95;

/// An interval that covers the true value with a probability, the level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The probability, as 0.95.
    pub level: f64,
    /// The trials, if it is that of a share: so many can settle only so much.
    #[serde(skip)]
    pub trials: Option<u64>,
}

impl Interval {
    /// An interval from its ends.
    pub fn new(low: f64, high: f64, level: f64) -> Self {
        Self { low, high, level, trials: None }
    }

    /// Whether the value lies in it, ends allowed.
    pub fn covers(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// The interval under a growing function of its ends.
    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self::new(f(self.low), f(self.high), self.level)
    }
}

/// A number with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Its interval; `None` where there are too few observations for one.
    pub interval: Option<Interval>,
}

/// The mean with Student's interval `x̄ ± t s/√n`; NaN without values, no interval for fewer than two.
///
/// # Equals
/// `t.test(x)$conf.int` in R.
///
/// # Example
/// ```
/// let mean = hattention_lab::statistics::mean(&[1.0, 2.0, 3.0, 4.0]);
/// let interval = mean.interval.unwrap();
/// // R: t.test(c(1, 2, 3, 4)) gives 0.4457397 to 4.5542603.
/// assert!(mean.value == 2.5 && (interval.low - 0.445_739_7).abs() < 1e-6 && (interval.high - 4.554_260_3).abs() < 1e-6);
/// ```
pub fn mean(values: &[f64]) -> Estimate {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    if values.len() < 2 {
        return Estimate { value: mean, interval: None };
    }
    let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0);
    let half = t_quantile(0.5 + LEVEL / 2.0, n - 1.0) * (variance / n).sqrt();
    Estimate { value: mean, interval: Some(Interval::new(mean - half, mean + half, LEVEL)) }
}

/// A share of successes with Wilson's interval; NaN without trials.
///
/// # Equals
/// `prop.test(successes, trials, correct = FALSE)$conf.int` in R.
///
/// # Example
/// ```
/// let share = hattention_lab::statistics::share(19, 20);
/// let interval = share.interval.unwrap();
/// // R: prop.test(19, 20, correct = FALSE) gives 0.7638691 to 0.9911189.
/// assert!((interval.low - 0.763_869_1).abs() < 1e-6 && (interval.high - 0.991_118_9).abs() < 1e-6);
/// ```
pub fn share(successes: u64, trials: u64) -> Estimate {
    let n = trials as f64;
    let p = successes as f64 / n;
    if trials == 0 {
        return Estimate { value: p, interval: None };
    }
    let z = normal_quantile(0.5 + LEVEL / 2.0);
    let centre = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    // At 0 and at n of n the interval ends there exactly; rounding must not move it.
    let low = if successes == 0 { 0.0 } else { centre - half };
    let high = if successes == trials { 1.0 } else { centre + half };
    Estimate { value: p, interval: Some(Interval { trials: Some(trials), ..Interval::new(low, high, LEVEL) }) }
}

/// A statistic of values with its percentile interval over `resamples` bootstrap samples.
///
/// # Errors
/// [`Error::Parameter`] without values or with fewer than 100 resamples.
pub fn bootstrap(
    values: &[f64],
    resamples: usize,
    generator: &mut Generator,
    statistic: impl Fn(&[f64]) -> f64,
) -> Result<Estimate, Error> {
    if values.is_empty() {
        return Err(Error::Parameter { name: "values", got: "none".to_owned(), allowed: "one or more" });
    }
    if resamples < 100 {
        return Err(Error::Parameter { name: "resamples", got: resamples.to_string(), allowed: "100 or more" });
    }
    let mut sample = vec![0.0; values.len()];
    let mut found: Vec<f64> = (0..resamples)
        .map(|_| {
            sample.iter_mut().for_each(|s| *s = values[generator.random_range(0..values.len())]);
            statistic(&sample)
        })
        .collect();
    found.sort_by(f64::total_cmp);
    let tail = (1.0 - LEVEL) / 2.0;
    let interval = Interval::new(quantile(&found, tail), quantile(&found, 1.0 - tail), LEVEL);
    Ok(Estimate { value: statistic(values), interval: Some(interval) })
}

/// A statistic of a series with its percentile interval over moving blocks: `statistic` gets the places that were drawn,
/// in whole blocks of so many neighbours.
///
/// # Errors
/// [`Error::Parameter`] without places, for a block that is empty or longer than the series, or for fewer than 100 resamples.
///
/// # Example
/// ```
/// use hattention_lab::{seeds::generator, statistics::block_bootstrap};
/// let x: Vec<f64> = (0..60).map(f64::from).collect();
/// let mean = |places: &[usize]| places.iter().map(|i| x[*i]).sum::<f64>() / places.len() as f64;
/// let found = block_bootstrap(60, 6, 500, &mut generator("example", "", "", 0), mean).unwrap();
/// assert!(found.value == 29.5 && found.interval.unwrap().covers(29.5));
/// ```
///
/// # References
/// Künsch (1989).
pub fn block_bootstrap(
    count: usize,
    block: usize,
    resamples: usize,
    generator: &mut Generator,
    statistic: impl Fn(&[usize]) -> f64,
) -> Result<Estimate, Error> {
    if block == 0 || block > count {
        let allowed = "one or more, and no more than the series has";
        return Err(Error::Parameter { name: "the length of blocks", got: block.to_string(), allowed });
    }
    if resamples < 100 {
        return Err(Error::Parameter { name: "resamples", got: resamples.to_string(), allowed: "100 or more" });
    }
    let draw = |generator: &mut Generator| -> Vec<usize> {
        let starts = (0..count.div_ceil(block)).map(|_| generator.random_range(0..=count - block));
        let mut places: Vec<usize> = starts.flat_map(|start| start..start + block).collect();
        places.truncate(count);
        places
    };
    let mut found: Vec<f64> = (0..resamples).map(|_| statistic(&draw(generator))).collect();
    found.sort_by(f64::total_cmp);
    let tail = (1.0 - LEVEL) / 2.0;
    let interval = Interval::new(quantile(&found, tail), quantile(&found, 1.0 - tail), LEVEL);
    let all: Vec<usize> = (0..count).collect();
    Ok(Estimate { value: statistic(&all), interval: Some(interval) })
}

/// The mean of a series over its standard error by Newey and West with so many lags: Diebold and Mariano's statistic where the
/// series is a difference of losses. Zero for a series of zeros.
///
/// # Equals
/// `coeftest(lm(x ~ 1), NeweyWest(lag = lags, prewhite = FALSE, adjust = FALSE))` of sandwich in R.
///
/// # Example
/// ```
/// // About the mean 3: squares 10, products of neighbours 1, which count half.
/// let found = hattention_lab::statistics::mean_over_error(&[1.0, 2.0, 4.0, 3.0, 5.0], 1);
/// assert!((found - 3.0 / (11.0f64 / 25.0).sqrt()).abs() < 1e-12);
/// ```
///
/// # References
/// Newey & West (1987); Diebold & Mariano (1995).
pub fn mean_over_error(series: &[f64], lags: usize) -> f64 {
    let n = series.len() as f64;
    let mean = series.iter().sum::<f64>() / n;
    let about: Vec<f64> = series.iter().map(|x| x - mean).collect();
    let product = |lag: usize| about.iter().skip(lag).zip(&about).map(|(a, b)| a * b).sum::<f64>();
    let bartlett = |lag: usize| 1.0 - lag as f64 / (lags as f64 + 1.0);
    let sum = product(0) + 2.0 * (1..=lags).map(|lag| bartlett(lag) * product(lag)).sum::<f64>();
    if mean == 0.0 { 0.0 } else { mean / (sum / (n * n)).sqrt() }
}

/// The largest of numbers; what is no number is the worst of all, infinity. Nothing of nothing.
///
/// # Example
/// ```
/// use hattention_lab::statistics::worst;
/// assert_eq!(worst([1.0, 3.0, 2.0]), Some(3.0));
/// assert_eq!(worst([1.0, f64::NAN]), Some(f64::INFINITY));
/// assert_eq!(worst([]), None);
/// ```
pub fn worst(numbers: impl IntoIterator<Item = f64>) -> Option<f64> {
    numbers.into_iter().map(|x| if x.is_nan() { f64::INFINITY } else { x }).reduce(f64::max)
}

/// A quantile of sorted values, by linear interpolation. Equals `quantile(x, p)` in R. NaN without values.
pub fn quantile(sorted: &[f64], probability: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = probability.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    if below == above {
        return sorted[below];
    }
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

/// The median of values in any order. Equals `median(x)` in R. NaN without values.
///
/// # Example
/// ```
/// assert_eq!(hattention_lab::statistics::middle(&[3.0, 1.0, 2.0]), 2.0);
/// ```
pub fn middle(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile(&sorted, 0.5)
}

/// A straight line through points.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The value at zero.
    pub intercept: Estimate,
    /// The slope.
    pub slope: Estimate,
    /// Share of the variance that is explained.
    pub r_squared: f64,
}

impl Line {
    /// The line's value.
    pub fn at(&self, x: f64) -> f64 {
        self.intercept.value + self.slope.value * x
    }
}

/// The least-squares line, fitted by [`hattention::in_memory::fit`], with Student intervals.
///
/// # Equals
/// `confint(lm(y ~ x))` in R.
///
/// # Errors
/// [`hattention::Error::Shape`], [`hattention::Error::TooFewRows`] for fewer than two points,
/// [`hattention::Error::RankDeficient`] if all x are equal.
///
/// # Example
/// ```
/// let line = hattention_lab::statistics::line(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]).unwrap();
/// assert!((line.slope.value - 2.0).abs() < 1e-14 && line.slope.interval.unwrap().covers(2.0));
/// ```
pub fn line(x: &[f64], y: &[f64]) -> Result<Line, Error> {
    let block = Block { rows: x.len(), columns: vec![Column::Dense(x), Column::Dense(y)], weights: None };
    let (_, fits) = in_memory::fit(&block, &Design::plain(["x"], true), &[(1, "y")], WhiteningOptions::default())?;
    let fit = &fits[0];
    let (intercept, slope) = pair(fit);
    Ok(Line { intercept, slope, r_squared: fit.r_squared() })
}

fn pair(fit: &Fit) -> (Estimate, Estimate) {
    let estimates: Vec<Estimate> = fit
        .coefficients(LEVEL)
        .iter()
        .map(|c| Estimate {
            value: c.estimate.unwrap_or(f64::NAN),
            interval: c.ci_low.zip(c.ci_high).map(|(low, high)| Interval::new(low, high, LEVEL)),
        })
        .collect();
    (estimates[0], estimates[1])
}

/// The quantile of Student's distribution.
pub fn t_quantile(probability: f64, df: f64) -> f64 {
    StudentsT::new(0.0, 1.0, df).map_or(f64::NAN, |t| t.inverse_cdf(probability))
}

/// The quantile of the standard normal distribution.
pub fn normal_quantile(probability: f64) -> f64 {
    Normal::new(0.0, 1.0).map_or(f64::NAN, |n| n.inverse_cdf(probability))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::generator;

    #[test]
    fn ends_of_shares() {
        let none = share(0, 20).interval.unwrap();
        let all = share(20, 20).interval.unwrap();
        assert!(none.low == 0.0 && all.high == 1.0);
        // R: prop.test(0, 20, correct = FALSE) gives 0 to 0.1611252.
        assert!((none.high - 0.161_125_2).abs() < 1e-6 && (all.low - 0.838_874_8).abs() < 1e-6);
        assert!(share(0, 0).value.is_nan());
    }

    #[test]
    fn resampling_a_mean_agrees_with_theory() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 20)).collect();
        let found =
            bootstrap(&values, 2000, &mut generator("t", "t", "b", 0), |v| v.iter().sum::<f64>() / v.len() as f64);
        let (theory, found) = (mean(&values).interval.unwrap(), found.unwrap().interval.unwrap());
        // The ends of 2,000 resamples have a standard error of about 0.06 standard errors of the mean; 4 of those.
        let error = (theory.high - theory.low) / 4.0;
        assert!((found.low - theory.low).abs() < 0.25 * error && (found.high - theory.high).abs() < 0.25 * error);
        assert!(bootstrap(&[], 1000, &mut generator("t", "t", "b", 0), |_| 0.0).is_err());
    }

    #[test]
    fn quantiles_as_in_r() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.25), 1.75);
        assert_eq!(quantile(&[5.0], 0.9), 5.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}

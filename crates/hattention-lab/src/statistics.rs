//! Confidence intervals: of means, of shares, by resampling, of slopes, and of the place where a share crosses a level.

use hattention::{Block, Column, Design, Filter, Fit, Moments, Whitening, WhiteningOptions, in_memory};
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

/// Successes among trials at a place on an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dose {
    /// The place, as ln K.
    pub at: f64,
    /// Successes.
    pub successes: f64,
    /// Trials.
    pub trials: f64,
}

/// The place where a logistic curve through shares crosses `level`, with the delta method's interval.
///
/// The curve is `p(x) = 1/(1 + e^(−a − b x))`, fitted by iterated weighted least squares (with this project's own solver,
/// one weighted fit a step). Where all trials on one side of a gap succeed and all on the other fail, no finite curve is
/// best; the crossing is then the middle of the gap, and the gap is its interval. Where only one place has both outcomes the
/// best curve is a step, and the crossing is read between the shares. The interval never reaches beyond places whose shares
/// are clearly on the other side of the level.
///
/// # Equals
/// `glm(cbind(s, n - s) ~ x, binomial)` and `MASS::dose.p(fit, p = level)` in R, with normal quantiles.
///
/// # Errors
/// [`Error::Parameter`] if the shares do not cross the level between the places given.
pub fn crossing(doses: &[Dose], level: f64) -> Result<Estimate, Error> {
    let range = |keep: &dyn Fn(&Dose) -> bool| {
        let places = doses.iter().filter(|d| d.trials > 0.0 && keep(d)).map(|d| d.at);
        places.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
    };
    let (first_success, last_success) = range(&|d| d.successes > 0.0);
    let (first_failure, last_failure) = range(&|d| d.successes < d.trials);
    if first_success > last_success || first_failure > last_failure {
        let got = if first_success > last_success { "only failures" } else { "only successes" };
        return Err(Error::Parameter {
            name: "shares",
            got: got.to_owned(),
            allowed: "some successes and some failures",
        });
    }
    let gap = match () {
        _ if last_success < first_failure => Some((last_success, first_failure)),
        _ if last_failure < first_success => Some((last_failure, first_success)),
        _ => None,
    };
    if let Some((low, high)) = gap {
        return Ok(Estimate { value: (low + high) / 2.0, interval: Some(Interval::new(low, high, LEVEL)) });
    }
    let (low, high) = bracket(doses, level);
    let within = |e: &Estimate| e.value >= low && e.value <= high;
    let found = match logistic(doses, (level / (1.0 - level)).ln()) {
        Ok(found) if within(&found) => found,
        // A single place with both outcomes: the best curve is a step, and its place is known to the grid.
        _ => Estimate { value: interpolated(doses, level).clamp(low, high), interval: None },
    };
    let places = range(&|_| true);
    if !(places.0..=places.1).contains(&found.value) {
        let (got, allowed) = (format!("a crossing at {}", found.value), "a crossing between the places measured");
        return Err(Error::Parameter { name: "shares", got, allowed });
    }
    let asked = found.interval.unwrap_or(Interval::new(f64::NEG_INFINITY, f64::INFINITY, LEVEL));
    let interval = Interval::new(asked.low.max(low), asked.high.min(high), LEVEL);
    if interval.low.is_finite() && interval.high.is_finite() {
        return Ok(Estimate { interval: Some(interval), ..found });
    }
    Ok(Estimate { interval: None, ..found })
}

/// The places next to the crossing whose shares are clearly on either side of the level, by Wilson's intervals: a curve
/// that rises or falls throughout crosses between them. Infinite where no place is clear.
fn bracket(doses: &[Dose], level: f64) -> (f64, f64) {
    let side = |dose: &Dose| match share(dose.successes as u64, dose.trials as u64).interval {
        Some(i) if i.low > level => 1,
        Some(i) if i.high < level => -1,
        _ => 0,
    };
    let mut clear: Vec<(f64, i32)> = doses.iter().map(|d| (d.at, side(d))).filter(|(_, side)| *side != 0).collect();
    clear.sort_by(|a, b| a.0.total_cmp(&b.0));
    let changes: Vec<_> = clear.windows(2).filter(|pair| pair[0].1 != pair[1].1).collect();
    match changes[..] {
        [only] => (only[0].0, only[1].0),
        _ => (f64::NEG_INFINITY, f64::INFINITY),
    }
}

/// Where straight lines through the shares first cross the level; NaN where none does.
fn interpolated(doses: &[Dose], level: f64) -> f64 {
    let mut shares: Vec<(f64, f64)> =
        doses.iter().filter(|d| d.trials > 0.0).map(|d| (d.at, d.successes / d.trials - level)).collect();
    shares.sort_by(|a, b| a.0.total_cmp(&b.0));
    let crossed = shares.windows(2).find(|pair| pair[0].1 * pair[1].1 <= 0.0 && pair[0].1 != pair[1].1);
    crossed.map_or(f64::NAN, |pair| pair[0].0 + (pair[1].0 - pair[0].0) * pair[0].1 / (pair[0].1 - pair[1].1))
}

/// Steps of the iteration at most, and the change at which it has settled.
const LOGISTIC_STEPS: usize = 200;
const LOGISTIC_TOLERANCE: f64 = 1e-9;
/// Beyond this linear predictor a share is 0 or 1 in doubles.
const LARGEST_PREDICTOR: f64 = 30.0;

fn logistic(doses: &[Dose], logit: f64) -> Result<Estimate, Error> {
    let x: Vec<f64> = doses.iter().map(|d| d.at).collect();
    // The start of glm: shares drawn a little to the middle.
    let start = |d: &Dose| ((d.successes + 0.5) / (d.trials + 1.0 - d.successes - 0.5)).ln();
    let mut predictor: Vec<f64> = doses.iter().map(start).collect();
    let mut change = f64::INFINITY;
    for _ in 0..LOGISTIC_STEPS {
        let p: Vec<f64> = predictor.iter().map(|e| 1.0 / (1.0 + (-e).exp())).collect();
        let w: Vec<f64> = doses.iter().zip(&p).map(|(d, p)| d.trials * p * (1.0 - p)).collect();
        let working = |((d, p), e): ((&Dose, &f64), &f64)| {
            e + (d.successes / d.trials.max(f64::MIN_POSITIVE) - p) / (p * (1.0 - p))
        };
        let z: Vec<f64> = doses.iter().zip(&p).zip(&predictor).map(working).collect();
        let block = Block { rows: x.len(), columns: vec![Column::Dense(&x), Column::Dense(&z)], weights: Some(&w) };
        let moments = Moments::of(&block)?;
        let design = Design::plain(["x"], true);
        let whitening = Whitening::of(&moments, &design, Filter::Ols, WhiteningOptions::default(), None)?;
        let fit = Fit::of(&moments, &whitening, 1, "z")?;
        let (intercept, slope) = pair(&fit);
        let (a, b) = (intercept.value, slope.value);
        let next: Vec<f64> = x.iter().map(|x| (a + b * x).clamp(-LARGEST_PREDICTOR, LARGEST_PREDICTOR)).collect();
        change = next.iter().zip(&predictor).map(|(n, e)| (n - e).abs()).fold(0.0, f64::max);
        predictor = next;
        if change < LOGISTIC_TOLERANCE {
            let value = (logit - a) / b;
            return Ok(Estimate { value, interval: Some(delta(&x, &w, b, value)) });
        }
    }
    Err(hattention::Error::NoConvergence { steps: LOGISTIC_STEPS, residual: change }.into())
}

/// `Var x* = (V_aa + 2 x* V_ab + x*² V_bb) / b²` with `V = (XᵀWX)⁻¹`, in centred form.
fn delta(x: &[f64], w: &[f64], slope: f64, value: f64) -> Interval {
    let total: f64 = w.iter().sum();
    let mean = x.iter().zip(w).map(|(x, w)| x * w).sum::<f64>() / total;
    let spread: f64 = x.iter().zip(w).map(|(x, w)| w * (x - mean) * (x - mean)).sum();
    let variance = (1.0 / total + (value - mean) * (value - mean) / spread) / (slope * slope);
    let half = normal_quantile(0.5 + LEVEL / 2.0) * variance.sqrt();
    Interval::new(value - half, value + half, LEVEL)
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
    fn crossings_of_shares() {
        // Symmetric data: the half is crossed at the middle, whatever the slope.
        let dose = |at, successes| Dose { at, successes, trials: 10.0 };
        let symmetric = [dose(0.0, 9.0), dose(1.0, 7.0), dose(2.0, 3.0), dose(3.0, 1.0)];
        // Newton's iteration for the same likelihood: a = 2.2708718, b = −1.5139145,
        // and the delta method's standard errors, as MASS::dose.p gives them in R.
        let z = normal_quantile(0.975);
        for (level, value, error) in [(0.5, 1.5, 0.268_698_403_6), (0.8, 0.58429811912, 0.3831628804)] {
            let found = crossing(&symmetric, level).unwrap();
            let interval = found.interval.unwrap();
            assert!((found.value - value).abs() < 1e-8, "{found:?}");
            assert!((interval.high - value - z * error).abs() < 1e-7, "{found:?}");
            assert!((interval.low - value + z * error).abs() < 1e-7, "{found:?}");
        }
        // Separated data have a gap and no curve.
        let gap = crossing(&[dose(0.0, 10.0), dose(1.0, 10.0), dose(2.0, 0.0)], 0.5).unwrap();
        assert_eq!((gap.value, gap.interval), (1.5, Some(Interval::new(1.0, 2.0, LEVEL))));
        // One place with both outcomes: a step.
        let step = crossing(&[dose(0.0, 10.0), dose(1.0, 10.0), dose(2.0, 3.0), dose(3.0, 0.0)], 0.5).unwrap();
        let expected = 1.0 + 0.5 / 0.7;
        assert!((step.value - expected).abs() < 1e-12, "{step:?}");
        assert_eq!(step.interval, Some(Interval::new(1.0, 3.0, LEVEL)));
        assert!(crossing(&[dose(0.0, 10.0), dose(1.0, 10.0)], 0.5).is_err());
        // A curve that would cross beyond the last place is not followed there.
        assert!(crossing(&[dose(0.0, 10.0), dose(1.0, 9.0), dose(2.0, 8.0)], 0.5).is_err());
        assert!(crossing(&[], 0.5).is_err());
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

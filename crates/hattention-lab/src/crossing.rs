//! The place where a logistic curve through shares crosses a level, also where the data separate.

use crate::error::Error;
use crate::statistics::{Estimate, Interval, LEVEL, normal_quantile, share};

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

/// The place where a logistic curve through shares crosses `level`, with the profile interval.
///
/// The curve is `p(x) = 1/(1 + e^(−a − b x))` at the maximum of Firth's penalised likelihood `ln L + ½ ln det XᵀWX`, whose
/// penalty is Jeffreys' prior: the estimate is finite also where all trials on one side of a gap succeed and all on the
/// other fail, or where a single place has both outcomes; plain maximum likelihood has no finite curve there, and its
/// standard errors say nothing. The interval holds the places whose best curve loses at most `χ²₁(0.95)/2` of the penalised
/// likelihood. Where the data separate it holds the whole gap too, from the last place where all succeed to the first where
/// all fail (or the other way round): where in it the shares cross, nobody has seen. An end that no finite place has is that
/// of the nearest place with a share clearly on the other side of the level (by Wilson's interval).
///
/// # Equals
/// `logistf(cbind(s, n - s) ~ x)` in R and the profile of `(logit(level) - a)/b`; far from separation nearly
/// `MASS::dose.p(glm(…), p = level)`.
///
/// # Errors
/// [`Error::Parameter`] without successes or without failures, or if the shares do not cross the level between the places
/// given.
pub fn crossing(doses: &[Dose], level: f64) -> Result<Estimate, Error> {
    let value = place(doses, level)?;
    let curve = Curve::new(doses, level);
    let (low, high) = curve.profile_interval(value);
    let (clear_low, clear_high) = bracket(doses, level);
    let (low, high) = gap(doses).map_or((low, high), |(from, to)| (low.min(from), high.max(to)));
    let low = if low.is_finite() { low } else { clear_low };
    let high = if high.is_finite() { high } else { clear_high };
    let interval = (low.is_finite() && high.is_finite()).then(|| Interval::new(low.min(value), high.max(value), LEVEL));
    Ok(Estimate { value, interval })
}

/// The crossing without its interval.
///
/// # Errors
/// As [`crossing`].
pub fn place(doses: &[Dose], level: f64) -> Result<f64, Error> {
    let doses: Vec<Dose> = doses.iter().copied().filter(|d| d.trials > 0.0).collect();
    let refused = |got: &str| {
        let allowed = "some successes and some failures, whose shares cross the level between the places measured";
        Err(Error::Parameter { name: "shares", got: got.to_owned(), allowed })
    };
    if doses.iter().all(|d| d.successes == 0.0) {
        return refused("only failures");
    }
    if doses.iter().all(|d| d.successes == d.trials) {
        return refused("only successes");
    }
    let curve = Curve::new(&doses, level);
    let value = curve.crossing();
    if !(curve.first..=curve.first + curve.range).contains(&value) {
        return refused(&format!("a crossing at {value}"));
    }
    Ok(value)
}

/// The places around the gap where all trials on one side succeed and all on the other fail.
fn gap(doses: &[Dose]) -> Option<(f64, f64)> {
    let range = |keep: &dyn Fn(&Dose) -> bool| {
        let places = doses.iter().filter(|d| d.trials > 0.0 && keep(d)).map(|d| d.at);
        places.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
    };
    let (success, failure) = (range(&|d| d.successes > 0.0), range(&|d| d.successes < d.trials));
    match () {
        _ if success.1 < failure.0 => Some((success.1, failure.0)),
        _ if failure.1 < success.0 => Some((failure.1, success.0)),
        _ => None,
    }
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

/// Steps of Newton's iteration at most, its longest step, and the change at which it has settled.
const STEPS: usize = 300;
const LONGEST: f64 = 4.0;
const SETTLED: f64 = 1e-11;
/// Slopes tried over the range of places, on a grid of their inverse hyperbolic sine, and steps of the refinement.
const LARGEST_SLOPE: f64 = 4000.0;
const SLOPES: i32 = 48;
const REFINEMENTS: usize = 28;
/// Places tried outwards in a range on each side, and halvings of the step in which the limit is passed.
const OUTWARDS: usize = 64;
const HALVINGS: usize = 40;

/// Shares with places scaled to 0 … 1.
struct Curve {
    /// Scaled place, successes, trials.
    doses: Vec<(f64, f64, f64)>,
    first: f64,
    range: f64,
    logit: f64,
}

impl Curve {
    fn new(doses: &[Dose], level: f64) -> Self {
        let places = || doses.iter().filter(|d| d.trials > 0.0).map(|d| d.at);
        let first = places().fold(f64::INFINITY, f64::min);
        let last = places().fold(f64::NEG_INFINITY, f64::max);
        let range = if last > first { last - first } else { 1.0 };
        let scaled = |d: &Dose| ((d.at - first) / range, d.successes, d.trials);
        let doses = doses.iter().filter(|d| d.trials > 0.0).map(scaled).collect();
        Self { doses, first, range, logit: (level / (1.0 - level)).ln() }
    }

    /// Firth's penalised likelihood of the curve `a + b x`.
    fn likelihood(&self, a: f64, b: f64) -> f64 {
        let mut log = 0.0;
        for (x, s, n) in &self.doses {
            let e = a + b * x;
            // ln p = −ln(1 + e^−η), ln(1 − p) = −ln(1 + e^η), without overflow.
            let softplus = |e: f64| e.max(0.0) + (-e.abs()).exp().ln_1p();
            log -= s * softplus(-e) + (n - s) * softplus(e);
        }
        let (total, _, spread) = self.information(a, b);
        log + 0.5 * (total * spread).ln()
    }

    /// `Σw`, the weighted mean of places, and `Σ w (x − mean)²`, with `w = n p (1 − p)`.
    fn information(&self, a: f64, b: f64) -> (f64, f64, f64) {
        let weight = |x: f64, n: f64| {
            let small = (-(a + b * x).abs()).exp();
            n * small / (1.0 + small).powi(2)
        };
        let total: f64 = self.doses.iter().map(|(x, _, n)| weight(*x, *n)).sum();
        let mean = self.doses.iter().map(|(x, _, n)| weight(*x, *n) * x).sum::<f64>() / total;
        let spread = self.doses.iter().map(|(x, _, n)| weight(*x, *n) * (x - mean) * (x - mean)).sum();
        (total, mean, spread)
    }

    /// The best curve, by Newton's iteration with Firth's score `Σ (s − n p + h (½ − p)) (1, x)`, halved where it overshoots.
    fn best(&self) -> (f64, f64) {
        let (successes, trials): (f64, f64) = self.doses.iter().fold((0.0, 0.0), |t, d| (t.0 + d.1, t.1 + d.2));
        let (mut a, mut b) = (((successes + 0.5) / (trials - successes + 0.5)).ln(), 0.0);
        let mut now = self.likelihood(a, b);
        for _ in 0..STEPS {
            let (total, mean, spread) = self.information(a, b);
            let (mut level, mut slope) = (0.0, 0.0);
            for (x, s, n) in &self.doses {
                let p = 1.0 / (1.0 + (-(a + b * x)).exp());
                let w = n * p * (1.0 - p);
                let leverage = w * (1.0 / total + (x - mean) * (x - mean) / spread);
                let residual = s - n * p + leverage * (0.5 - p);
                level += residual;
                slope += residual * (x - mean);
            }
            let (mut da, mut db) = (level / total, slope / spread);
            let largest = (da.abs()).max(db.abs());
            if !largest.is_finite() {
                break;
            }
            if largest > LONGEST * (1.0 + b.abs()) {
                (da, db) = (da * LONGEST * (1.0 + b.abs()) / largest, db * LONGEST * (1.0 + b.abs()) / largest);
            }
            let mut part = 1.0;
            let next = loop {
                // The step is of the curve at the weighted mean.
                let (b_next, at_mean) = (b + part * db, a + b * mean + part * da);
                let a_next = at_mean - b_next * mean;
                let found = self.likelihood(a_next, b_next);
                if found >= now || part < 1e-9 {
                    break (a_next, b_next, found);
                }
                part *= 0.5;
            };
            let change = (next.0 - a).abs().max((next.1 - b).abs()) / (1.0 + b.abs());
            if next.2 < now {
                break;
            }
            (a, b, now) = next;
            if change < SETTLED {
                break;
            }
        }
        (a, b)
    }

    fn crossing(&self) -> f64 {
        let (a, b) = self.best();
        self.first + self.range * (self.logit - a) / b
    }

    /// The largest likelihood of curves that cross at a scaled place.
    fn through(&self, place: f64) -> f64 {
        let grid = LARGEST_SLOPE.asinh() / f64::from(SLOPES);
        let of = |t: f64| {
            let b = t.sinh();
            let found = self.likelihood(self.logit - b * place, b);
            if found.is_nan() { f64::NEG_INFINITY } else { found }
        };
        let tried = (-SLOPES..=SLOPES).map(|i| f64::from(i) * grid).map(|t| (t, of(t)));
        let Some((middle, found)) = tried.max_by(|x, y| x.1.total_cmp(&y.1)) else { return f64::NEG_INFINITY };
        let (mut low, mut high, mut best) = (middle - grid, middle + grid, found);
        for _ in 0..REFINEMENTS {
            let (left, right) = (low + 0.382 * (high - low), low + 0.618 * (high - low));
            let (at_left, at_right) = (of(left), of(right));
            best = best.max(at_left).max(at_right);
            if at_left > at_right { high = right } else { low = left }
        }
        best
    }

    /// Where the profile falls below the limit on each side of the estimate; infinite where it does not within a range
    /// beyond the places.
    fn profile_interval(&self, value: f64) -> (f64, f64) {
        let (a, b) = self.best();
        let centre = (value - self.first) / self.range;
        let limit = self.likelihood(a, b) - 0.5 * normal_quantile(0.5 + LEVEL / 2.0).powi(2);
        let end = |direction: f64| {
            let reach = if direction < 0.0 { centre + 1.0 } else { 2.0 - centre };
            let mut inside = centre;
            for step in 1..=OUTWARDS {
                let mut outside = centre + direction * reach * step as f64 / OUTWARDS as f64;
                if self.through(outside) < limit {
                    for _ in 0..HALVINGS {
                        let middle = 0.5 * (inside + outside);
                        if self.through(middle) < limit { outside = middle } else { inside = middle }
                    }
                    return self.first + self.range * 0.5 * (inside + outside);
                }
                inside = outside;
            }
            direction * f64::INFINITY
        };
        (end(-1.0), end(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::generator;
    use rand::RngExt;

    fn doses(trials: f64, successes: &[f64]) -> Vec<Dose> {
        successes.iter().enumerate().map(|(at, s)| Dose { at: at as f64, successes: *s, trials }).collect()
    }

    #[test]
    fn curves_are_those_of_the_penalised_likelihood() {
        // The penalised likelihood maximised, and its profile followed, by scipy's Nelder-Mead, Brent and brentq.
        let cases: [(f64, &[f64], f64, [f64; 3]); 4] = [
            (10.0, &[9.0, 7.0, 3.0, 1.0], 0.5, [1.5, 0.891_407_55, 2.108_592_45]),
            (10.0, &[9.0, 7.0, 3.0, 1.0], 0.8, [0.493_129_85, -0.831_517_71, 1.141_195_34]),
            (10.0, &[10.0, 9.0, 1.0, 0.0], 0.5, [1.5, 1.157_924_86, 1.842_075_14]),
            (20.0, &[20.0, 18.0, 11.0, 1.0, 0.0, 0.0], 0.5, [1.999_914_03, 1.714_239_03, 2.284_886_53]),
        ];
        for (trials, successes, level, [value, low, high]) in cases {
            let found = crossing(&doses(trials, successes), level).unwrap();
            let interval = found.interval.unwrap();
            let close = |a: f64, b: f64| (a - b).abs() < 1e-6;
            assert!(close(found.value, value) && close(interval.low, low) && close(interval.high, high), "{found:?}");
        }
    }

    /// Where data separate, the crossing is in the gap and so is, nearly, its interval; plain standard errors were 1e18.
    #[test]
    fn separated_data_have_a_finite_crossing() {
        let gap = crossing(&doses(10.0, &[10.0, 10.0, 0.0, 0.0]), 0.5).unwrap();
        let interval = gap.interval.unwrap();
        assert!((gap.value - 1.5).abs() < 1e-6, "{gap:?}");
        assert_eq!((interval.low, interval.high), (1.0, 2.0), "the profile's 1.196 to 1.804 and the gap: {gap:?}");
        // One place with both outcomes, at the end of the grid: the curve through 11 of 20 and 0 of 20.
        let quasi = crossing(&doses(20.0, &[11.0, 0.0, 0.0]), 0.5).unwrap();
        let interval = quasi.interval.unwrap();
        assert!(quasi.value > 0.0 && quasi.value < 0.3 && interval.covers(0.0) && interval.high < 1.0, "{quasi:?}");
        assert!(interval.low > -1.0, "{quasi:?}");
    }

    #[test]
    fn what_does_not_cross_is_refused() {
        assert!(crossing(&doses(10.0, &[10.0, 10.0]), 0.5).is_err());
        assert!(crossing(&doses(10.0, &[0.0, 0.0]), 0.5).is_err());
        // A curve that would cross beyond the last place is not followed there.
        assert!(crossing(&doses(10.0, &[10.0, 9.0, 8.0]), 0.5).is_err());
        assert!(crossing(&[], 0.5).is_err());
    }

    /// Of 400 intervals at most 38 miss the true place: 20 expected, and four standard errors; for a gentle curve and for
    /// one so steep that most data separate.
    #[test]
    fn intervals_cover() {
        for slope in [1.5, 12.0] {
            let (mut covered, mut told) = (0, 0);
            for replicate in 0..400 {
                let mut random = generator("test", "crossing", "coverage", replicate);
                let truth = 2.0 + random.random::<f64>();
                let one = |at: f64, random: &mut crate::seeds::Generator| {
                    let p = 1.0 / (1.0 + (slope * (at - truth)).exp());
                    let successes = (0..20).filter(|_| random.random::<f64>() < p).count() as f64;
                    Dose { at, successes, trials: 20.0 }
                };
                let doses: Vec<Dose> = (0..6).map(|at| one(f64::from(at), &mut random)).collect();
                let Ok(found) = crossing(&doses, 0.5) else { continue };
                told += 1;
                covered += usize::from(found.interval.is_some_and(|i| i.covers(truth)));
            }
            assert!(told == 400 && covered >= 362, "slope {slope}: {covered} of {told}");
        }
    }
}

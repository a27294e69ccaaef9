//! Claims, thresholds and verdicts: what was promised, what was measured, and whether the one follows from the other.

use serde::Serialize;

use crate::statistics::{Estimate, Interval, share};

/// What a measured number must satisfy for its claim to count as reproduced.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Criterion {
    /// At most the limit.
    AtMost {
        /// The limit.
        limit: f64,
    },
    /// At least the limit.
    AtLeast {
        /// The limit.
        limit: f64,
    },
    /// Between the limits, both allowed.
    Within {
        /// The lower limit.
        low: f64,
        /// The upper limit.
        high: f64,
    },
    /// The interval of the measurement covers the value; without an interval the measurement must equal it.
    Covers {
        /// The published or derived value.
        value: f64,
    },
}

impl Criterion {
    /// Whether a number, known to lie in an interval, satisfies the criterion wherever in the interval it is.
    fn holds(self, low: f64, high: f64) -> bool {
        match self {
            Self::AtMost { limit } => high <= limit,
            Self::AtLeast { limit } => low >= limit,
            Self::Within { low: least, high: most } => low >= least && high <= most,
            Self::Covers { value } => low <= value && value <= high,
        }
    }
}

/// A criterion, and a weaker one that still counts as `partly`.
///
/// A claim is *reproduced* if the criterion holds on the whole confidence interval of the measurement (at the measurement,
/// if it has none), *partly* if it holds at the measurement only, or if the weaker criterion holds there, and *not
/// reproduced* otherwise. What was not measured, or not precisely enough, *cannot be judged*.
///
/// # Example
/// ```
/// use hattention_lab::claim::{Threshold, Verdict};
/// use hattention_lab::statistics::Interval;
/// let error = Threshold::at_most(0.01).partly_at_most(0.1);
/// assert_eq!(error.judge(Some(0.002), None), Verdict::Reproduced);
/// assert_eq!(error.judge(Some(0.002), Some(Interval::new(0.001, 0.02, 0.95))), Verdict::Partly);
/// assert_eq!(error.judge(Some(0.05), None), Verdict::Partly);
/// assert_eq!(error.judge(Some(0.5), None), Verdict::NotReproduced);
/// assert_eq!(error.judge(None, None), Verdict::CannotBeJudged);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Threshold {
    /// What must hold.
    pub criterion: Criterion,
    /// What must hold at least.
    pub partly: Option<Criterion>,
    /// The widest interval, end to end, from which anything follows.
    pub widest: Option<f64>,
}

impl Threshold {
    /// At most the limit.
    pub fn at_most(limit: f64) -> Self {
        Self { criterion: Criterion::AtMost { limit }, partly: None, widest: None }
    }

    /// At least the limit.
    pub fn at_least(limit: f64) -> Self {
        Self { criterion: Criterion::AtLeast { limit }, partly: None, widest: None }
    }

    /// Between the limits.
    pub fn within(low: f64, high: f64) -> Self {
        Self { criterion: Criterion::Within { low, high }, partly: None, widest: None }
    }

    /// The interval covers the value.
    pub fn covers(value: f64) -> Self {
        Self { criterion: Criterion::Covers { value }, partly: None, widest: None }
    }

    /// Partly, if the measurement is at most this.
    pub fn partly_at_most(self, limit: f64) -> Self {
        Self { partly: Some(Criterion::AtMost { limit }), ..self }
    }

    /// Partly, if the measurement is at least this.
    pub fn partly_at_least(self, limit: f64) -> Self {
        Self { partly: Some(Criterion::AtLeast { limit }), ..self }
    }

    /// Partly, if the measurement lies between these.
    pub fn partly_within(self, low: f64, high: f64) -> Self {
        Self { partly: Some(Criterion::Within { low, high }), ..self }
    }

    /// Not to be judged from an interval wider than this, or without one: an interval that is wide enough covers anything.
    pub fn widest(self, width: f64) -> Self {
        Self { widest: Some(width), ..self }
    }

    /// The verdict on a measurement; one that is not a number, or has an interval that is none, cannot be judged.
    pub fn judge(&self, measured: Option<f64>, interval: Option<Interval>) -> Verdict {
        let Some(measured) = measured.filter(|m| !m.is_nan()) else { return Verdict::CannotBeJudged };
        let (low, high) = interval.map_or((measured, measured), |i| (i.low, i.high));
        let too_wide = self.widest.is_some_and(|widest| interval.is_none() || high - low > widest);
        if low.is_nan() || high.is_nan() || too_wide {
            return Verdict::CannotBeJudged;
        }
        if self.criterion.holds(low, high) {
            return Verdict::Reproduced;
        }
        let at_point = |c: &Criterion| c.holds(measured, measured);
        if at_point(&self.criterion) || self.partly.as_ref().is_some_and(at_point) {
            return Verdict::Partly;
        }
        Verdict::NotReproduced
    }

    /// Whether some number of successes among so many trials would be reproduced: 19 of 20 cannot show a share of 0.95, nor
    /// can 20 of 20, as Wilson's interval reaches down to 0.84.
    ///
    /// # Example
    /// ```
    /// use hattention_lab::claim::Threshold;
    /// let nearly_all = Threshold::at_least(0.95);
    /// assert!(!nearly_all.can_be_met_by(72) && nearly_all.can_be_met_by(73));
    /// ```
    pub fn can_be_met_by(&self, trials: u64) -> bool {
        (0..=trials)
            .map(|successes| share(successes, trials))
            .any(|s| self.judge(Some(s.value), s.interval) == Verdict::Reproduced)
    }

    /// The threshold in words.
    pub fn words(&self) -> String {
        let of = |criterion: &Criterion| match *criterion {
            Criterion::AtMost { limit } => format!("at most {}", number(limit)),
            Criterion::AtLeast { limit } => format!("at least {}", number(limit)),
            Criterion::Within { low, high } => format!("{} to {}", number(low), number(high)),
            Criterion::Covers { value } => format!("interval covers {}", number(value)),
        };
        let partly = self.partly.as_ref().map(|c| format!("partly: {}", of(c)));
        let widest = self.widest.map(|w| format!("interval at most {} wide", number(w)));
        match partly.into_iter().chain(widest).collect::<Vec<_>>()[..] {
            [] => of(&self.criterion),
            ref more => format!("{} ({})", of(&self.criterion), more.join("; ")),
        }
    }
}

/// Whether a claim holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// The criterion holds on the whole interval.
    #[serde(rename = "reproduced")]
    Reproduced,
    /// It holds at the measurement only, or the weaker criterion holds.
    #[serde(rename = "partly")]
    Partly,
    /// It does not hold.
    #[serde(rename = "not reproduced")]
    NotReproduced,
    /// There is no measurement.
    #[serde(rename = "cannot be judged")]
    CannotBeJudged,
}

impl Verdict {
    /// The verdict in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Reproduced => "reproduced",
            Self::Partly => "partly",
            Self::NotReproduced => "not reproduced",
            Self::CannotBeJudged => "cannot be judged",
        }
    }
}

/// A claim with its measurement. The verdict is computed from the threshold and cannot be set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    id: String,
    claim: String,
    source: String,
    expected: String,
    measured: Option<f64>,
    interval: Option<Interval>,
    threshold: Threshold,
    verdict: Verdict,
    note: Option<String>,
}

impl Claim {
    /// A claim not yet measured: its short name (stable, `kebab-case`), the sentence, where it is from, what is expected,
    /// and the threshold.
    pub fn new(
        id: impl Into<String>,
        claim: impl Into<String>,
        source: impl Into<String>,
        expected: impl Into<String>,
        threshold: Threshold,
    ) -> Self {
        Self {
            id: id.into(),
            claim: claim.into(),
            source: source.into(),
            expected: expected.into(),
            measured: None,
            interval: None,
            threshold,
            verdict: Verdict::CannotBeJudged,
            note: None,
        }
    }

    /// With a measurement, and its confidence interval where it is random.
    pub fn measured(mut self, measured: impl Into<Option<f64>>, interval: impl Into<Option<Interval>>) -> Self {
        self.measured = measured.into();
        self.interval = interval.into();
        self.verdict = self.threshold.judge(self.measured, self.interval);
        self
    }

    /// With an estimate and its interval, if there is one.
    pub fn estimated(self, found: Option<Estimate>) -> Self {
        self.measured(found.map(|f| f.value), found.and_then(|f| f.interval))
    }

    /// With a sentence that qualifies the measurement: a corner in which it holds, or why it cannot be judged.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// The short name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The sentence.
    pub fn sentence(&self) -> &str {
        &self.claim
    }

    /// Where the claim is from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What is expected, in words.
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// The measurement.
    pub fn value(&self) -> Option<f64> {
        self.measured
    }

    /// Its interval.
    pub fn interval(&self) -> Option<Interval> {
        self.interval
    }

    /// The threshold.
    pub fn threshold(&self) -> &Threshold {
        &self.threshold
    }

    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The qualification.
    pub fn qualification(&self) -> Option<&str> {
        self.note.as_deref()
    }
}

/// A number for people: four significant digits.
pub fn number(x: f64) -> String {
    if x == 0.0 || !x.is_finite() {
        return format!("{x}");
    }
    let exponent = x.abs().log10().floor() as i32;
    if (-4..6).contains(&exponent) {
        let text = format!("{x:.*}", (3 - exponent).max(0) as usize);
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    } else {
        format!("{x:.2e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_follow_thresholds() {
        use Verdict::*;
        let interval = |low, high| Some(Interval::new(low, high, 0.95));
        let cases = [
            (Threshold::at_most(1.0), Some(1.0), None, Reproduced),
            (Threshold::at_most(1.0), Some(0.9), interval(0.8, 1.0), Reproduced),
            (Threshold::at_most(1.0), Some(0.9), interval(0.8, 1.1), Partly),
            (Threshold::at_most(1.0), Some(1.1), interval(0.9, 1.3), NotReproduced),
            (Threshold::at_least(1.0), Some(1.0), None, Reproduced),
            (Threshold::at_least(1.0), Some(1.1), interval(0.9, 1.2), Partly),
            (Threshold::at_least(1.0), Some(0.9), None, NotReproduced),
            (Threshold::at_least(1.0).partly_at_least(0.5), Some(0.6), interval(0.4, 0.8), Partly),
            (Threshold::within(1.0, 2.0), Some(1.5), interval(1.0, 2.0), Reproduced),
            (Threshold::within(1.0, 2.0), Some(1.5), interval(0.9, 2.0), Partly),
            (Threshold::within(1.0, 2.0), Some(2.5), interval(1.5, 3.0), NotReproduced),
            (Threshold::covers(3.0), Some(2.5), interval(2.0, 3.0), Reproduced),
            (Threshold::covers(3.0), Some(2.5), interval(2.0, 2.9), NotReproduced),
            (Threshold::covers(3.0).partly_within(2.4, 3.6), Some(2.5), interval(2.0, 2.9), Partly),
            (Threshold::covers(3.0), Some(3.0), None, Reproduced),
            (Threshold::covers(3.0).widest(1.0), Some(3.0), interval(2.5, 3.5), Reproduced),
            (Threshold::covers(3.0).widest(0.9), Some(3.0), interval(2.5, 3.5), CannotBeJudged),
            (Threshold::covers(3.0).widest(0.9), Some(3.0), None, CannotBeJudged),
            (Threshold::covers(3.0), Some(3.0), interval(f64::NAN, f64::NAN), CannotBeJudged),
            (Threshold::covers(3.0), Some(f64::NAN), None, CannotBeJudged),
            (Threshold::at_most(1.0), None, None, CannotBeJudged),
            (Threshold::at_most(1.0), Some(f64::INFINITY), None, NotReproduced),
        ];
        for (threshold, measured, interval, verdict) in cases {
            assert_eq!(threshold.judge(measured, interval), verdict, "{threshold:?} {measured:?} {interval:?}");
            let claim = Claim::new("id", "c", "s", "e", threshold).measured(measured, interval);
            assert_eq!(claim.verdict(), verdict);
        }
    }

    #[test]
    fn numbers_for_people() {
        for (x, text) in [(0.0, "0"), (1.0, "1"), (0.138, "0.138"), (7240.0, "7240"), (1.5e-9, "1.50e-9")] {
            assert_eq!(number(x), text);
        }
    }
}

//! Peaks of a series, by the protocol.

/// A peak has at least this prominence, and is announced by as large a fall.
pub(super) const PROMINENT: f64 = 0.05;

/// A peak: its place and height.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Peak {
    pub(super) at: usize,
    pub(super) height: f64,
}

/// Exponentially smoothed: `s ← s + (1 − e^−share)(x − s)`, from the first value on.
pub(super) fn smoothed(values: &[f64], share: f64) -> Vec<f64> {
    let weight = 1.0 - (-share).exp();
    let mut smooth = values.first().copied().unwrap_or_default();
    let next = |x: &f64| {
        smooth += weight * (x - smooth);
        smooth
    };
    values.iter().map(next).collect()
}

/// The highest value that is higher than both its neighbours and prominent.
pub(super) fn peak(values: &[f64]) -> Option<Peak> {
    let is_top = |at: &usize| values[*at] > values[at - 1] && values[*at] > values[at + 1] && values[*at] > 0.0;
    let tops = (1..values.len().saturating_sub(1)).filter(is_top);
    let prominent = tops.filter(|at| prominence(values, *at) >= PROMINENT);
    let found = prominent.map(|at| Peak { at, height: values[at] });
    found.reduce(|best, next| if next.height > best.height { next } else { best })
}

/// What a top stands above the larger of the least values on both sides, each up to the next higher value, over its height.
fn prominence(values: &[f64], at: usize) -> f64 {
    let height = values[at];
    let foot = |side: &mut dyn Iterator<Item = &f64>| {
        side.take_while(|x| **x <= height).copied().fold(f64::INFINITY, f64::min)
    };
    let (before, after) = (foot(&mut values[..at].iter().rev()), foot(&mut values[at + 1..].iter()));
    (height - before.max(after)) / height
}

/// The first place at which a peak can be told without knowing what comes: a fall after a rise.
pub(super) fn announced(values: &[f64]) -> Option<usize> {
    let (mut least, mut largest, mut risen) = (f64::INFINITY, f64::NEG_INFINITY, false);
    values.iter().position(|x| {
        if *x > largest {
            largest = *x;
            risen = least.is_finite() && largest >= (1.0 + PROMINENT) * least;
        }
        let fallen = risen && *x <= (1.0 - PROMINENT) * largest;
        if !risen {
            // (Nothing has risen yet: what was highest counts from here.)
            least = least.min(*x);
            largest = *x;
        }
        fallen
    })
}

/// The place at which a positive series changes fastest, in the logarithms of both; `steps` are those of its values.
pub(super) fn fastest(values: &[f64], steps: &[f64]) -> Option<usize> {
    let slope = |at: usize| {
        let change = (values[at] / values[at - 1]).ln() / (steps[at] / steps[at - 1]).ln();
        if change.is_finite() { change.abs() } else { 0.0 }
    };
    let found = (1..values.len().min(steps.len())).filter(|at| steps[at - 1] > 0.0).map(|at| (at, slope(at)));
    found.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_stand_above_both_sides() {
        let series = [9.0, 1.0, 2.0, 4.0, 3.0, 2.5, 5.5, 5.4];
        // 5.5 is higher, and hardly prominent.
        assert_eq!(peak(&series), Some(Peak { at: 3, height: 4.0 }));
        assert!((prominence(&series, 3) - (4.0 - 2.5) / 4.0).abs() < 1e-15);
        assert!((prominence(&series, 6) - 0.1 / 5.5).abs() < 1e-15);
        // Ends are none, and what is higher elsewhere does not hide a peak.
        assert_eq!((peak(&[1.0, 2.0, 3.0]), peak(&[3.0, 2.0, 1.0]), peak(&[]), peak(&[1.0])), (None, None, None, None));
        assert_eq!(peak(&[1.0, 2.0, 1.0, 1.5, 3.0]), Some(Peak { at: 1, height: 2.0 }));
    }

    #[test]
    fn peaks_are_announced_when_they_are_over() {
        assert_eq!(announced(&[1.0, 1.2, 1.3, 1.25, 1.23, 1.0]), Some(4));
        // A fall from the start is none; a fall after it has risen again is.
        assert_eq!(announced(&[5.0, 4.0, 3.0, 2.0]), None);
        assert_eq!(announced(&[5.0, 4.0, 2.0, 2.05, 2.2, 2.0]), Some(5));
        assert_eq!((announced(&[1.0, 2.0, 3.0]), announced(&[])), (None, None));
    }

    #[test]
    fn the_fastest_change_is_in_logarithms() {
        let steps = [10.0, 20.0, 40.0, 80.0];
        assert_eq!(fastest(&[1.0, 1.1, 2.0, 1.9], &steps), Some(2));
        assert_eq!(fastest(&[2.0, 2.0, 1.9, 0.5], &steps), Some(3));
        assert_eq!(fastest(&[1.0], &steps), None);
    }

    #[test]
    fn smoothing_follows_a_step_by_its_share() {
        let smooth = smoothed(&[0.0, 1.0, 1.0, 1.0], 0.2);
        for (k, s) in smooth.iter().enumerate() {
            assert!((s - (1.0 - (-0.2 * k as f64).exp())).abs() < 1e-15);
        }
    }
}

//! Peaks of a series, by the protocol.

/// A peak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Peak {
    /// Where it is.
    pub(super) at: usize,
    /// How high it is.
    pub(super) height: f64,
    /// What it stands above the higher of the least values on both sides, over its height.
    pub(super) prominence: f64,
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

/// The largest value from a place on.
pub(super) fn peak(values: &[f64], from: usize) -> Option<Peak> {
    let range = values.get(from..)?;
    let (at, height) = range
        .iter()
        .enumerate()
        .fold((0, f64::NEG_INFINITY), |(at, height), (i, x)| if *x > height { (i, *x) } else { (at, height) });
    let least = |part: &[f64]| part.iter().copied().fold(f64::INFINITY, f64::min);
    let foot = least(&range[..=at]).max(least(&range[at..]));
    (height > 0.0).then(|| Peak { at: from + at, height, prominence: (height - foot) / height })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_stand_above_both_sides() {
        let series = [9.0, 1.0, 2.0, 4.0, 3.0, 2.5, 3.5];
        assert_eq!(peak(&series, 1), Some(Peak { at: 3, height: 4.0, prominence: (4.0 - 2.5) / 4.0 }));
        // At an end nothing is a peak.
        assert_eq!(peak(&series, 0).unwrap().prominence, 0.0);
        assert_eq!(peak(&[1.0, 2.0, 3.0], 0).unwrap().prominence, 0.0);
        assert_eq!((peak(&series, 7), peak(&[0.0, 0.0], 0)), (None, None));
    }

    #[test]
    fn smoothing_follows_a_step_by_its_share() {
        let smooth = smoothed(&[0.0, 1.0, 1.0, 1.0], 0.2);
        assert_eq!(smooth[0], 0.0);
        for (k, s) in smooth.iter().enumerate() {
            assert!((s - (1.0 - (-0.2 * k as f64).exp())).abs() < 1e-15);
        }
    }
}

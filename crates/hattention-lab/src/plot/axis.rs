//! Axes: scales, ranges and ticks.

/// How numbers become places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences have equal lengths.
    Linear,
    /// Equal ratios have equal lengths.
    Log,
}

impl Scale {
    /// The number whose places are linear; NaN for one that has no place.
    pub(crate) fn place(self, x: f64) -> f64 {
        match self {
            _ if !x.is_finite() => f64::NAN,
            Self::Linear => x,
            Self::Log if x > 0.0 => x.log10(),
            Self::Log => f64::NAN,
        }
    }
}

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    pub(crate) label: String,
    pub(crate) scale: Scale,
    pub(crate) range: Option<(f64, f64)>,
    pub(crate) words: Vec<String>,
}

impl Axis {
    /// A linear axis as wide as the points.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Linear, range: None, words: Vec::new() }
    }

    /// An axis of words: the first stands at 1, the second at 2.
    pub fn words<S: Into<String>>(label: impl Into<String>, words: impl IntoIterator<Item = S>) -> Self {
        Self { words: words.into_iter().map(Into::into).collect(), ..Self::linear(label) }
    }

    /// A logarithmic axis as wide as the points.
    pub fn log(label: impl Into<String>) -> Self {
        Self { scale: Scale::Log, ..Self::linear(label) }
    }

    /// With a range; what lies outside is not drawn.
    pub fn range(self, low: f64, high: f64) -> Self {
        Self { range: Some((low, high)), ..self }
    }

    /// The range in places, a little wider than the points where none was asked for.
    pub(crate) fn extent(&self, numbers: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
        let places = numbers.map(|x| self.scale.place(x)).filter(|p| !p.is_nan());
        let found = places.fold(None, |range: Option<(f64, f64)>, p| {
            Some(range.map_or((p, p), |(low, high)| (low.min(p), high.max(p))))
        });
        let asked = self.range.map(|(low, high)| (self.scale.place(low), self.scale.place(high)));
        if let Some((low, high)) = asked.filter(|(low, high)| low < high) {
            return found.map(|_| (low, high));
        }
        let (low, high) = found?;
        let margin = if high > low { 0.04 * (high - low) } else { 0.5 * low.abs().max(1.0) };
        Some((low - margin, high + margin))
    }

    /// Ticks inside a range of places: place and text.
    pub(crate) fn ticks(&self, low: f64, high: f64) -> Vec<(f64, String)> {
        if !self.words.is_empty() {
            let places = (1..=self.words.len()).map(|place| place as f64);
            return places.zip(self.words.iter().cloned()).filter(|(place, _)| (low..=high).contains(place)).collect();
        }
        match self.scale {
            Scale::Linear => linear_ticks(low, high),
            Scale::Log => log_ticks(low, high),
        }
    }
}

fn linear_ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let rough = (high - low) / 6.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|s| s * power).find(|s| *s >= rough).unwrap_or(10.0 * power);
    let decimals = (0..=12).find(|d| (step * 10f64.powi(*d) % 1.0).min(1.0 - step * 10f64.powi(*d) % 1.0) < 1e-6);
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    let text = |x: f64| {
        let large = x.abs() >= 1e6 || (x != 0.0 && x.abs() < 1e-4);
        if large { format!("{x:.1e}") } else { format!("{x:.*}", decimals.unwrap_or(3) as usize) }
    };
    // Adding zero makes −0 positive.
    (first..=last).map(|i| i as f64 * step + 0.0).map(|x| (x, text(x))).collect()
}

fn log_ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let decades = high - low;
    let every = (decades / 7.0).ceil().max(1.0) as i64;
    let mantissas: &[f64] = match decades {
        d if d < 1.0 => &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0],
        d if d < 2.2 => &[1.0, 2.0, 5.0],
        d if d < 3.5 => &[1.0, 3.0],
        _ => &[1.0],
    };
    let mut ticks = Vec::new();
    for decade in low.floor() as i64..=high.ceil() as i64 {
        if decade.rem_euclid(every) != 0 {
            continue;
        }
        for mantissa in mantissas {
            let place = decade as f64 + mantissa.log10();
            if (low - 1e-9..=high + 1e-9).contains(&place) {
                ticks.push((place, log_text(*mantissa, decade)));
            }
        }
    }
    if ticks.len() < 3 && decades < 0.5 {
        // Between two of these there is room for more.
        let even = linear_ticks(10f64.powf(low), 10f64.powf(high)).into_iter();
        ticks = even.filter(|(x, _)| *x > 0.0).map(|(x, text)| (x.log10(), text)).collect();
    }
    ticks
}

fn log_text(mantissa: f64, decade: i64) -> String {
    if (-2..=4).contains(&decade) {
        let x = mantissa * 10f64.powi(decade as i32);
        let decimals = if decade < 0 { (-decade) as usize } else { 0 } + (mantissa == 1.5 && decade <= 0) as usize;
        return format!("{x:.decimals$}");
    }
    let raised: String = decade.to_string().chars().map(superscript).collect();
    if mantissa == 1.0 { format!("10{raised}") } else { format!("{mantissa}·10{raised}") }
}

fn superscript(digit: char) -> char {
    match digit {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        other => other.to_digit(10).and_then(|d| char::from_u32(0x2070 + d)).unwrap_or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_inside() {
        let texts = |ticks: Vec<(f64, String)>| ticks.into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts(linear_ticks(0.0, 1.0)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(texts(linear_ticks(-1.2, 11.0)), ["0.0", "2.5", "5.0", "7.5", "10.0"]);
        assert_eq!(texts(log_ticks(0.0, 2.0)), ["1", "2", "5", "10", "20", "50", "100"]);
        assert_eq!(texts(log_ticks(-16.0, 0.0)), ["10⁻¹⁵", "10⁻¹²", "10⁻⁹", "10⁻⁶", "10⁻³", "1"]);
        assert_eq!(Axis::words("x", ["a", "b", "c"]).ticks(1.5, 3.2), [(2.0, "b".to_owned()), (3.0, "c".to_owned())]);
        for (place, _) in log_ticks(1.3, 1.9) {
            assert!((1.3..=1.9).contains(&place));
        }
        let narrow = log_ticks(0.28f64.log10(), 0.39f64.log10());
        assert!((narrow[1].0 - 0.3f64.log10()).abs() < 1e-12);
        assert_eq!(texts(narrow), ["0.28", "0.30", "0.32", "0.34", "0.36", "0.38"]);
    }

    #[test]
    fn extents_contain_the_points() {
        let (low, high) = Axis::log("x").extent([1.0, 1000.0, -1.0, f64::NAN].into_iter()).unwrap();
        assert!(low < 0.0 && high > 3.0);
        assert_eq!(Axis::linear("x").range(0.0, 2.0).extent([1.0].into_iter()), Some((0.0, 2.0)));
        assert_eq!(Axis::linear("x").extent([f64::NAN].into_iter()), None);
        let (low, high) = Axis::linear("x").extent([3.0].into_iter()).unwrap();
        assert!(low < 3.0 && high > 3.0);
    }
}

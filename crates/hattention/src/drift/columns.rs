//! Which columns moved: means and scales one by one, with a mark that allows for their number.

use libm::{erfc, lgamma};

use super::sample::{ColumnMoments, Sample, standard_deviations};
use crate::whitening::Whitening;

/// How one column of the design differs between the batch and the training rows.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnShift {
    /// The column.
    pub name: String,
    /// Its mean over the training rows.
    pub training_mean: f64,
    /// Its standard deviation over the training rows (divisor n).
    pub training_sd: f64,
    /// The batch's mean less that of the training rows, in their standard deviations.
    pub mean_shift: f64,
    /// `z` of the mean shift, its error by both samples' variances (Welch); for zeros and ones by the pooled one.
    pub mean_z: f64,
    /// Two-sided p-value of the mean shift; for zeros and ones that of Fisher's exact test, twice the tail on its side.
    pub mean_p: f64,
    /// The batch's standard deviation over that of the training rows.
    pub scale_ratio: f64,
    /// `z` of the logarithm of the ratio, its error by the column's own kurtosis; `None` for zeros and ones, whose mean
    /// says it all.
    pub scale_z: Option<f64>,
    /// Its two-sided p-value.
    pub scale_p: Option<f64>,
    /// Fourth standardised moment in the batch; 3 for a normal law, NaN for a constant.
    pub kurtosis: f64,
    /// Whether the column is of zeros and ones in the training rows.
    pub indicator: bool,
    /// Whether the column has one value throughout the batch.
    pub constant: bool,
    /// Whether its mean or its scale differs at the level asked for, with Holm's correction over all columns and both.
    pub moved: bool,
}

/// Every kept column, in the design's order; `None` if nothing says what the training rows were.
pub(crate) fn shifts(
    whitening: &Whitening,
    batch: &Sample,
    training: Option<&Sample>,
    level: f64,
) -> Option<Vec<ColumnShift>> {
    let known = standard_deviations(whitening).is_some();
    let theirs: Vec<ColumnMoments> = match training {
        Some(training) => training.column_moments(),
        // The columns' own units: mean 0 and variance 1; how heavy their tails were is not known.
        None if known => {
            vec![ColumnMoments { mean: 0.0, variance: 1.0, kurtosis: f64::NAN }; whitening.kept.len()]
        }
        None => return None,
    };
    let rows = (training.map_or(whitening.rows, Sample::rows) as f64, batch.rows() as f64);
    let columns = batch.column_moments();
    let places = whitening.kept.iter().zip(&whitening.means).zip(batch.units());
    let mut shifts: Vec<ColumnShift> = places
        .zip(columns.iter().zip(&theirs))
        .map(|(((&position, mean), unit), (mine, theirs))| {
            let name = whitening.design.names[position].clone();
            let training_mean = mean.to_f64() + unit * theirs.mean;
            shift(name, training_mean, *unit, (mine, theirs), rows)
        })
        .collect();
    mark(&mut shifts, level);
    Some(shifts)
}

/// Relative distance of the variance of zeros and ones from `m(1 − m)` that is rounding.
const ROUNDING: f64 = 1e-9;

fn shift(
    name: String,
    training_mean: f64,
    unit: f64,
    (mine, theirs): (&ColumnMoments, &ColumnMoments),
    (n, m): (f64, f64),
) -> ColumnShift {
    let training_sd = theirs.variance.sqrt() * unit;
    let mean_shift = (mine.mean - theirs.mean) / theirs.variance.sqrt();
    let ratio_squared = mine.variance / theirs.variance;
    let share = |variance: f64, mean: f64| (variance - mean * (1.0 - mean)).abs() <= ROUNDING * variance;
    let batch_mean = training_mean + training_sd * mean_shift;
    let batch_spread = training_sd * training_sd * ratio_squared;
    // E[x²] = E[x] in both samples: zeros and ones, unless a column was made to look like them.
    let indicator = share(training_sd * training_sd, training_mean)
        && (share(batch_spread, batch_mean) || (mine.variance == 0.0 && near_zero_or_one(batch_mean)));
    let constant = mine.variance == 0.0;
    let pooled = (n + m * ratio_squared) / (n + m) + n * m / (n + m).powi(2) * mean_shift * mean_shift;
    let error = if indicator { pooled * (1.0 / n + 1.0 / m) } else { 1.0 / n + ratio_squared / m };
    let mean_z = if mean_shift == 0.0 { 0.0 } else { mean_shift / error.sqrt() };
    let ones = |rows: f64, mean: f64| (rows * mean).round();
    let mean_p = if indicator { fisher(ones(m, batch_mean), m, ones(n, training_mean), n) } else { two_sided(mean_z) };
    let scale_z = (!indicator).then(|| {
        let spread = |kurtosis: f64| if kurtosis.is_nan() { 2.0 } else { (kurtosis - 1.0).max(0.0) };
        let theirs = if theirs.kurtosis.is_nan() { spread(mine.kurtosis) } else { spread(theirs.kurtosis) };
        let error = (spread(mine.kurtosis) / (4.0 * m) + theirs / (4.0 * n)).sqrt();
        if ratio_squared == 1.0 { 0.0 } else { 0.5 * ratio_squared.ln() / error }
    });
    ColumnShift {
        name,
        training_mean,
        training_sd,
        mean_shift,
        mean_z,
        mean_p,
        scale_ratio: ratio_squared.sqrt(),
        scale_z,
        scale_p: scale_z.map(two_sided),
        kurtosis: mine.kurtosis,
        indicator,
        constant,
        moved: false,
    }
}

fn near_zero_or_one(x: f64) -> bool {
    x.abs() <= ROUNDING || (x - 1.0).abs() <= ROUNDING
}

/// `P(|Z| ≥ |z|)`. Equals `2 * pnorm(-abs(z))` in R.
fn two_sided(z: f64) -> f64 {
    if z.is_nan() { f64::NAN } else { erfc(z.abs() / std::f64::consts::SQRT_2) }
}

/// Fisher's exact test of `k` ones among `m` rows beside `others` among `n`: twice the tail of the
/// hypergeometric law on the side of `k`, at most 1.
fn fisher(k: f64, m: f64, others: f64, n: f64) -> f64 {
    let ones = k + others;
    let (least, most) = ((ones - n).max(0.0), ones.min(m));
    let choose = |a: f64, b: f64| lgamma(a + 1.0) - lgamma(b + 1.0) - lgamma(a - b + 1.0);
    let log = choose(ones, k) + choose(n + m - ones, m - k) - choose(n + m, m);
    // Terms fall off from k on, away from the expectation.
    let expected = ones * m / (n + m);
    let up = k >= expected;
    let (mut term, mut sum, mut at) = (1.0f64, 0.0f64, k);
    while term > 1e-17 * sum {
        sum += term;
        let ratio = if up {
            (ones - at) * (m - at) / ((at + 1.0) * (n - ones + at + 1.0))
        } else {
            at * (n - ones + at) / ((ones - at + 1.0) * (m - at + 1.0))
        };
        at += if up { 1.0 } else { -1.0 };
        if at < least || at > most {
            break;
        }
        term *= ratio;
    }
    (2.0 * sum * log.exp()).min(1.0)
}

/// Holm's step-down over the p-values of all columns, means and scales.
fn mark(shifts: &mut [ColumnShift], level: f64) {
    let mut tests: Vec<(f64, usize)> = shifts
        .iter()
        .enumerate()
        .flat_map(|(c, shift)| [Some(shift.mean_p), shift.scale_p].into_iter().flatten().map(move |p| (p, c)))
        .filter(|(p, _)| !p.is_nan())
        .collect();
    tests.sort_by(|a, b| a.0.total_cmp(&b.0));
    let count = tests.len();
    for (rank, (p, column)) in tests.into_iter().enumerate() {
        if p * (count - rank) as f64 > level {
            break;
        }
        shifts[column].moved = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fisher_agrees_with_r() {
        // R: min(1, 2 * min(phyper(k, …), phyper(k - 1, …, lower.tail = FALSE))), from integer binomials.
        let close = |got: f64, expected: f64| assert!((got / expected - 1.0).abs() < 1e-10, "{got} for {expected}");
        // 3 of 5 beside 1 of 15: P(K ≥ 3) = (C(4,3) C(16,2) + C(4,4) C(16,1))/C(20,5) = (480 + 16)/15504.
        close(fisher(3.0, 5.0, 1.0, 15.0), 2.0 * 496.0 / 15504.0);
        // 0 of 5 beside 4 of 15: C(16,5)/C(20,5) = 4368/15504.
        close(fisher(0.0, 5.0, 4.0, 15.0), 2.0 * 4368.0 / 15504.0);
        assert_eq!(fisher(1.0, 5.0, 3.0, 15.0), 1.0);
        assert!(fisher(900.0, 1000.0, 10.0, 50_000.0) < 1e-300);
    }

    #[test]
    fn holm_stops_where_it_must() {
        let shift = |p: f64| ColumnShift {
            name: String::new(),
            training_mean: 0.0,
            training_sd: 1.0,
            mean_shift: 0.0,
            mean_z: 0.0,
            mean_p: p,
            scale_ratio: 1.0,
            scale_z: None,
            scale_p: None,
            kurtosis: 3.0,
            indicator: true,
            constant: false,
            moved: false,
        };
        // 0.012 ≤ 0.05/4 and 0.016 ≤ 0.05/3, but 0.03 > 0.05/2, and what comes after is not looked at.
        let mut shifts = [0.03, 0.012, 0.016, 0.04].map(shift);
        mark(&mut shifts, 0.05);
        assert_eq!(shifts.map(|s| s.moved), [false, true, true, false]);
    }
}

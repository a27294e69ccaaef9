//! What a fit found, without the training rows; and rows put to it again.

use super::fit::{AttentionRegression, Report};
use super::head::Inputs;
use super::objective::{Mixture, Parameters};
use super::options::{Mask, Options};
use super::prepare::{check, scope, spread};
use super::quantiles::Quantiles;
use crate::error::Error;

/// What a fit found: metrics, coefficients and units, but none of the rows that predictions read.
///
/// # Example
/// ```
/// use hattention::attention_regression::{AttentionRegression, Options};
/// let x: Vec<f64> = (0..50).map(|i| i as f64 / 50.0).collect();
/// let y: Vec<f64> = x.iter().map(|x| (9.0 * x).sin()).collect();
/// let model = AttentionRegression::fit(&[&x], &y, Options::default()).unwrap();
/// let learned = model.learned();
/// assert!(learned.trained_on(&[&x], &y));
/// let again = learned.with_rows(&[&x], &y, None).unwrap();
/// assert_eq!(again.predict(&[&[0.5]]).unwrap(), model.predict(&[&[0.5]]).unwrap());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    /// The options of the fit; blocks are left out of the mask.
    pub options: Options,
    /// How the fit went.
    pub report: Report,
    /// Training rows.
    pub rows: usize,
    pub(crate) means: Vec<f64>,
    pub(crate) scales: Vec<f64>,
    pub(crate) quantiles: Vec<Quantiles>,
    pub(crate) target_mean: f64,
    pub(crate) target_scale: f64,
    pub(crate) parameters: Parameters,
    pub(crate) mixture: Mixture,
    /// The rows that the mixture was solved at; absent for all.
    pub(crate) solved: Option<Vec<usize>>,
    /// What tells the order of the rows: of the target and then the columns, means of `w_i z_i` with numbers `w_i` of the row's place alone;
    /// empty in files before there were any.
    pub(crate) marks: Vec<f64>,
    /// The smallest hashes of rows, by which others are known to share some; empty in files before there were any.
    pub(crate) hashes: Vec<u64>,
    /// What tells how blocks part the rows: the sum of the squares of their shares, and of their sums of the target over all rows;
    /// empty without blocks.
    pub(crate) partition: Vec<f64>,
}

/// Hashes that are kept of the rows of a fit: where a twentieth of them is shared that is missed once in seven hundred times.
const HASHES: usize = 128;

/// Means and deviations of training rows agree that differ by no more than this, in deviations.
const TOLERANCE: f64 = 1e-9;

impl AttentionRegression {
    /// What was found, without the rows.
    pub fn learned(&self) -> Learned {
        let mask = if matches!(self.options.mask, Mask::Blocks(_)) {
            Mask::Blocks(Vec::new())
        } else {
            self.options.mask.clone()
        };
        Learned {
            options: Options { mask, ..self.options.clone() },
            report: self.report.clone(),
            rows: self.inputs.rows,
            means: self.means.clone(),
            scales: self.scales.clone(),
            quantiles: self.quantiles.clone(),
            target_mean: self.target_mean,
            target_scale: self.target_scale,
            parameters: self.parameters.clone(),
            mixture: self.mixture.clone(),
            solved: self.solved.clone(),
            marks: self.marks(),
            hashes: smallest(self.hashes()),
            partition: self.partition(),
        }
    }

    /// The rows that errors of a sample's metrics are of, and coefficients were solved at; nothing, if it is all of them.
    pub fn measured_at(&self) -> Option<&[usize]> {
        self.solved.as_deref()
    }

    /// Whether the rows that are read are those of the fit, in its order and blocks where these count.
    pub fn reads_the_fit(&self) -> bool {
        self.own
    }

    /// The share of the fit's rows that are among those that are read, as far as 128 hashes of them tell; one for the fit's own.
    pub fn shared(&self) -> f64 {
        self.shared
    }

    /// A hash of each row as it is kept, to the bit.
    fn hashes(&self) -> Vec<u64> {
        let of_row = |at: usize| {
            let columns = (0..self.inputs.columns).map(|c| self.inputs.given(c)[at]);
            // (FNV over the numbers, and the end of SplitMix64.)
            let join = |hash: u64, x: f64| (hash ^ x.to_bits()).wrapping_mul(0x0100_0000_01b3).rotate_left(29);
            let z = columns.chain([self.targets[at]]).fold(0xcbf2_9ce4_8422_2325, join);
            let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        (0..self.targets.len()).map(of_row).collect()
    }

    fn partition(&self) -> Vec<f64> {
        let Mask::Blocks(blocks) = &self.options.mask else { return Vec::new() };
        let mut sums: std::collections::BTreeMap<u64, (f64, f64)> = std::collections::BTreeMap::new();
        for (at, row) in self.order.iter().enumerate() {
            let sum = sums.entry(blocks[*row]).or_default();
            *sum = (sum.0 + 1.0, sum.1 + self.targets[at]);
        }
        let rows = self.targets.len() as f64;
        let (sizes, targets): (Vec<f64>, Vec<f64>) =
            sums.values().map(|(count, sum)| ((count / rows).powi(2), sum * sum / rows)).unzip();
        // (In an order that does not depend on the blocks' names.)
        let total = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values.iter().sum()
        };
        vec![total(sizes), total(targets)]
    }

    fn marks(&self) -> Vec<f64> {
        let columns = (0..self.inputs.columns).map(|c| self.inputs.given(c));
        let place = |at: usize| self.order[at];
        std::iter::once(&self.targets[..]).chain(columns).map(|column| mark(column, place)).collect()
    }
}

/// The smallest of hashes, each once.
fn smallest(mut hashes: Vec<u64>) -> Vec<u64> {
    hashes.sort_unstable();
    hashes.dedup();
    hashes.truncate(HASHES);
    hashes
}

/// The mean of `w z`, for rows at some places.
fn mark(standard: &[f64], place: impl Fn(usize) -> usize) -> f64 {
    let weight = |at: usize| (place(at) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) as f64 / u64::MAX as f64 - 0.5;
    standard.iter().enumerate().map(|(at, z)| weight(at) * z).sum::<f64>() / standard.len() as f64
}

impl Learned {
    /// Columns of the inputs.
    pub fn columns(&self) -> usize {
        self.means.len()
    }

    /// Numbers of the metrics' factors: `M P (P + 1) / 2`.
    pub fn numbers(&self) -> usize {
        self.options.heads * self.columns() * (self.columns() + 1) / 2
    }

    /// Means of the inputs, by which they are centred; zeros, if they are not.
    pub fn means(&self) -> &[f64] {
        &self.means
    }

    /// Deviations of the inputs, by which they are scaled; ones, if they are not.
    pub fn scales(&self) -> &[f64] {
        &self.scales
    }

    /// Where ranks are read, of every column some values, rising, in the units of the data, and their normal scores; between
    /// them scores go by straight lines, and beyond the outermost they stay.
    pub fn normal_scores(&self) -> Option<Vec<(Vec<f64>, Vec<f64>)>> {
        let of_column = |(quantiles, (mean, scale)): (&Quantiles, (&f64, &f64))| {
            (quantiles.values.iter().map(|x| mean + scale * x).collect(), quantiles.scores.clone())
        };
        let columns = || self.quantiles.iter().zip(self.means.iter().zip(&self.scales)).map(of_column).collect();
        (!self.quantiles.is_empty()).then(columns)
    }

    /// As [`AttentionRegression::intercept`].
    pub fn intercept(&self) -> f64 {
        // (Normal scores have the mean zero.)
        let away: f64 = match self.quantiles.is_empty() {
            true => self.slopes().iter().zip(&self.means).map(|(b, mean)| b * mean).sum(),
            false => 0.0,
        };
        let read: f64 = self.mixture.heads.iter().sum::<f64>() * self.target_mean;
        self.target_mean + self.target_scale * self.mixture.constant - away - read
    }

    /// As [`AttentionRegression::metrics`].
    pub fn metrics(&self) -> Vec<Vec<Vec<f64>>> {
        self.parameters.metrics()
    }

    /// As [`AttentionRegression::head_coefficients`].
    pub fn head_coefficients(&self) -> &[f64] {
        &self.mixture.heads
    }

    /// As [`AttentionRegression::slopes`].
    pub fn slopes(&self) -> Vec<f64> {
        let by_rank = !self.quantiles.is_empty();
        let unit = |scale: &f64| if by_rank { 1.0 } else { *scale };
        self.mixture.slopes.iter().zip(&self.scales).map(|(b, scale)| self.target_scale * b / unit(scale)).collect()
    }

    /// Whether rows are, by their number, means and deviations, those of the fit, in whatever order.
    pub fn trained_on(&self, columns: &[&[f64]], target: &[f64]) -> bool {
        let near = |values: &[f64], mean: f64, scale: f64| {
            // (Rows in the order of the fit have its bits, however far from zero they are.)
            if spread(values) == (mean, scale) {
                return true;
            }
            let count = values.len() as f64;
            let off = values.iter().map(|x| (x - mean) / scale).sum::<f64>() / count;
            let squares = values.iter().map(|x| ((x - mean) / scale).powi(2)).sum::<f64>() / count;
            // (A constant has no deviation; raw inputs have whatever they have.)
            // (A mean far from zero is rounded by as much.)
            let rounding = 1e-15 * (mean / scale).abs();
            off.abs() <= TOLERANCE + rounding && ((squares - 1.0).abs() <= TOLERANCE + rounding || squares <= TOLERANCE)
        };
        let inputs = || columns.iter().zip(self.means.iter().zip(&self.scales)).all(|(c, (m, s))| near(c, *m, *s));
        columns.len() == self.means.len()
            && target.len() == self.rows
            && near(target, self.target_mean, self.target_scale)
            && (!self.options.standardize || inputs())
    }

    /// Whether rows, which are those of the fit, are in its order. (Of two that change places this is known if they differ by more than
    /// some 10⁻⁹ of all rows' deviation, times rows.)
    pub fn in_order(&self, columns: &[&[f64]], target: &[f64]) -> bool {
        let units = std::iter::once((&self.target_mean, &self.target_scale)).chain(self.means.iter().zip(&self.scales));
        let all = std::iter::once(&target).chain(columns);
        self.marks.iter().zip(all.zip(units)).all(|(own, (column, (mean, scale)))| {
            let standard: Vec<f64> = column.iter().map(|x| (x - mean) / scale).collect();
            let size = standard.iter().fold(1.0f64, |most, z| most.max(z.abs()));
            (mark(&standard, |at| at) - own).abs() <= TOLERANCE * size + 1e-15 * (mean / scale).abs()
        })
    }

    /// Whether the order of the rows counts: under masks of time, and where the mixture was solved at some of them.
    pub fn ordered(&self) -> bool {
        self.options.mask.in_time() || self.solved.is_some()
    }

    /// The same metrics in the units of other rows.
    pub(super) fn in_units_of(mut self, columns: &[&[f64]], target: &[f64]) -> Self {
        if self.options.standardize {
            let (means, scales): (Vec<f64>, Vec<f64>) = columns.iter().map(|column| spread(column)).unzip();
            // (Normal scores have the same units everywhere.)
            for factor in self.parameters.factors.iter_mut().filter(|_| self.quantiles.is_empty()) {
                for (row, (own, other)) in factor.iter_mut().zip(self.scales.iter().zip(&scales)) {
                    row.iter_mut().for_each(|l| *l *= other / own);
                }
            }
            (self.means, self.scales) = (means, scales);
        }
        if !self.quantiles.is_empty() {
            let standard = |(column, (mean, scale)): (&&[f64], (&f64, &f64))| {
                Quantiles::of(&column.iter().map(|x| (x - mean) / scale).collect::<Vec<_>>())
            };
            self.quantiles = columns.iter().zip(self.means.iter().zip(&self.scales)).map(standard).collect();
        }
        (self.target_mean, self.target_scale) = spread(target);
        self.rows = target.len();
        self
    }

    /// The regression that reads these rows: those of the fit, or others, which then are its memory under the metrics as they
    /// are. `blocks`, one number a row, are needed under [`Mask::Blocks`].
    ///
    /// # Errors
    /// [`Error::Shape`] for columns or a target of other lengths, or blocks that are not there; [`Error::NonFinite`] for NaN or
    /// infinity; [`Error::NoRows`] without rows.
    pub fn with_rows(
        &self,
        columns: &[&[f64]],
        target: &[f64],
        blocks: Option<Vec<u64>>,
    ) -> Result<AttentionRegression, Error> {
        let rows = target.len();
        if columns.len() != self.means.len() {
            return Err(Error::Shape { what: "the columns", expected: self.means.len(), got: columns.len() });
        }
        if rows == 0 {
            return Err(Error::NoRows);
        }
        check(columns, rows)?;
        if let Some(row) = target.iter().position(|y| !y.is_finite()) {
            return Err(Error::NonFinite { row, column: columns.len(), value: target[row] });
        }
        let mut options = self.options.clone();
        if matches!(options.mask, Mask::Blocks(_)) {
            options.mask = Mask::Blocks(blocks.unwrap_or_default());
        }
        if let Mask::Blocks(blocks) = &options.mask
            && blocks.len() != rows
        {
            return Err(Error::Shape { what: "the blocks", expected: rows, got: blocks.len() });
        }
        let (order, scope) = scope(rows, &options.mask);
        let standard = |column: &[f64], mean: f64, scale: f64| -> Vec<f64> {
            order.iter().map(|i| (column[*i] - mean) / scale).collect()
        };
        let inputs: Vec<Vec<f64>> = columns
            .iter()
            .zip(self.means.iter().zip(&self.scales))
            .map(|(column, (mean, scale))| standard(column, *mean, *scale))
            .collect();
        let mut read = AttentionRegression {
            inputs: Inputs::scored(rows, &inputs, &self.quantiles),
            targets: standard(target, self.target_mean, self.target_scale),
            order,
            scope,
            options,
            means: self.means.clone(),
            scales: self.scales.clone(),
            quantiles: self.quantiles.clone(),
            target_mean: self.target_mean,
            target_scale: self.target_scale,
            parameters: self.parameters.clone(),
            mixture: self.mixture.clone(),
            // (Samples of files before their rows were kept are read as others.)
            own: self.trained_on(columns, target)
                && (self.report.sampled.is_none() || self.solved.is_some())
                && (!self.ordered() || self.in_order(columns, target)),
            shared: 1.0,
            solved: self.solved.clone(),
            report: self.report.clone(),
        };
        let near = |(a, b): (&f64, &f64)| (a - b).abs() <= TOLERANCE * (1.0 + b.abs());
        if read.own && !self.partition.is_empty() {
            read.own = self.partition.iter().zip(&read.partition()).all(near);
        }
        if !read.own {
            let hashes: std::collections::HashSet<u64> = read.hashes().into_iter().collect();
            let found = self.hashes.iter().filter(|hash| hashes.contains(hash)).count();
            read.shared = found as f64 / self.hashes.len().max(1) as f64;
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::super::noise::wave;
    use super::*;

    #[test]
    fn rows_of_a_fit_are_known_however_far_from_zero() {
        let noise = wave(60, 0.0);
        for offset in [0.0, 1e6, 1e12] {
            let rows: Vec<f64> = noise.iter().map(|x| offset + x).collect();
            let options = Options { heads: 1, ..Options::default() };
            let learned = AttentionRegression::fit(&[&rows], &rows, options).unwrap().learned();
            assert!(learned.trained_on(&[&rows], &rows));
            assert!(learned.with_rows(&[&rows], &rows, None).unwrap().own);
            let mut others = rows.clone();
            others[7] += 0.1;
            assert!(!learned.trained_on(&[&others], &rows) && !learned.trained_on(&[&rows], &others));
        }
    }

    #[test]
    fn another_order_of_the_rows_is_known_where_it_counts() {
        let (x, y) = (wave(90, 0.0), wave(90, 50.0));
        for (mask, counts) in [(Mask::Others, false), (Mask::Before, true)] {
            let options = Options { heads: 1, mask, ..Options::default() };
            let learned = AttentionRegression::fit(&[&x], &y, options).unwrap().learned();
            assert!(learned.with_rows(&[&x], &y, None).unwrap().own && learned.ordered() == counts);
            let swapped = |values: &[f64]| -> Vec<f64> {
                let mut values = values.to_vec();
                values.swap(30, 31);
                values
            };
            let (x, y) = (swapped(&x), swapped(&y));
            assert!(learned.trained_on(&[&x], &y) && !learned.in_order(&[&x], &y));
            assert_eq!(learned.with_rows(&[&x], &y, None).unwrap().own, !counts);
        }
    }

    #[test]
    fn new_rows_of_one_block_are_a_memory() {
        let (x, y) = (wave(60, 0.0), wave(60, 50.0));
        let blocks: Vec<u64> = (0..60).map(|i| i / 10).collect();
        let options = Options { heads: 1, mask: Mask::Blocks(blocks), ..Options::default() };
        let learned = AttentionRegression::fit(&[&x], &y, options).unwrap().learned();
        let (other_x, other_y) = (wave(20, 900.0), wave(20, 990.0));
        let other = learned.with_rows(&[&other_x], &other_y, Some(vec![7; 20])).unwrap();
        assert!(other.predict(&[&[0.4]]).unwrap()[0].is_finite());
        let ends = super::super::Intervals::by_folds(&other, 5).unwrap().at(&[&[0.4]], 0.8).unwrap()[0];
        assert!(ends.low < ends.high && ends.high.is_finite(), "{ends:?}");
        assert!(matches!(learned.with_rows(&[&x], &y, Some(vec![7; 20])), Err(Error::Shape { .. })));
        // Blocks of other names are the same, and others are not.
        let named = |of: &dyn Fn(u64) -> u64| Some((0..60).map(|i| of(i / 10)).collect());
        assert!(learned.with_rows(&[&x], &y, named(&|block| 900 - 7 * block)).unwrap().own);
        let merged = learned.with_rows(&[&x], &y, named(&|block| block / 2)).unwrap();
        assert!(!merged.own && merged.shared == 1.0);
    }
}

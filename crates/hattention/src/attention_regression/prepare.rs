//! Rows as a fit takes them: standardised, in the order of their blocks.

use super::head::{Inputs, Reading};
use super::objective::Problem;
use super::options::{Mask, Options, Ranks};
use super::quantiles::Quantiles;
use super::scope::Scope;
use crate::error::Error;

/// Rows as a search takes them.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) means: Vec<f64>,
    pub(super) scales: Vec<f64>,
    pub(super) quantiles: Vec<Quantiles>,
    pub(super) target_mean: f64,
    pub(super) target_scale: f64,
    pub(super) inputs: Inputs,
    pub(super) targets: Vec<f64>,
    pub(super) order: Vec<usize>,
    pub(super) scope: Scope,
}

impl Prepared {
    pub(super) fn of(columns: &[&[f64]], target: &[f64], options: &Options) -> Result<Self, Error> {
        let rows = target.len();
        if columns.is_empty() {
            let (name, got) = ("the number of columns", "0".to_owned());
            return Err(Error::Parameter { name, got, allowed: "at least one" });
        }
        check(columns, rows)?;
        if let Some(row) = target.iter().position(|y| !y.is_finite()) {
            return Err(Error::NonFinite { row, column: columns.len(), value: target[row] });
        }
        options.check_rows(rows, columns.len())?;
        options.mask.check(rows, false)?;
        let (order, scope) = scope(rows, &options.mask);
        let (means, scales): (Vec<f64>, Vec<f64>) = if options.standardize {
            columns.iter().map(|column| spread(column)).unzip()
        } else {
            (vec![0.0; columns.len()], vec![1.0; columns.len()])
        };
        let (target_mean, target_scale) = spread(target);
        let standard = |column: &[f64], mean: f64, scale: f64| -> Vec<f64> {
            order.iter().map(|i| (column[*i] - mean) / scale).collect()
        };
        let inputs: Vec<Vec<f64>> =
            columns.iter().zip(means.iter().zip(&scales)).map(|(column, (m, s))| standard(column, *m, *s)).collect();
        let by_rank = options.ranks == Ranks::Yes;
        let quantiles = inputs.iter().filter(|_| by_rank).map(|column| Quantiles::of(column)).collect::<Vec<_>>();
        let inputs = Inputs::scored(rows, &inputs, &quantiles);
        let targets = standard(target, target_mean, target_scale);
        Ok(Self { means, scales, quantiles, target_mean, target_scale, inputs, targets, order, scope })
    }

    pub(super) fn problem<'a>(&'a self, options: &'a Options) -> Problem<'a> {
        let (score, precision) = (options.score, options.precision);
        let reading = Reading { score, scope: &self.scope, decay: decay(&options.mask), precision };
        Problem { inputs: &self.inputs, targets: &self.targets, reading, options }
    }
}

/// The order in which rows are kept, and which of them read which; blocks are one a row.
pub(super) fn scope(rows: usize, mask: &Mask) -> (Vec<usize>, Scope) {
    let order: Vec<usize> = (0..rows).collect();
    match mask {
        Mask::Others => (order, Scope::of(rows, true, false, |i| 0..i)),
        Mask::All => (order, Scope::of(rows, true, true, |i| 0..i)),
        Mask::Before | Mask::Decay(_) => (order, Scope::of(rows, false, false, |i| 0..i)),
        Mask::Window(window) => (order, Scope::of(rows, false, false, |i| i.saturating_sub(*window)..i)),
        Mask::Blocks(blocks) => {
            let mut order = order;
            order.sort_by_key(|i| blocks[*i]);
            let mut first = vec![0; rows];
            for i in 1..rows {
                first[i] = if blocks[order[i]] == blocks[order[i - 1]] { first[i - 1] } else { i };
            }
            (order, Scope::of(rows, true, false, |i| 0..first[i]))
        }
    }
}

/// What exponents fall by with every row.
pub(super) fn decay(mask: &Mask) -> f64 {
    if let Mask::Decay(half) = mask { std::f64::consts::LN_2 / half } else { 0.0 }
}

/// Columns of one length without NaN and infinity.
pub(super) fn check(columns: &[&[f64]], rows: usize) -> Result<(), Error> {
    for (at, column) in columns.iter().enumerate() {
        if column.len() != rows {
            return Err(Error::Shape { what: "a column", expected: rows, got: column.len() });
        }
        if let Some(row) = column.iter().position(|x| !x.is_finite()) {
            return Err(Error::NonFinite { row, column: at, value: column[row] });
        }
    }
    Ok(())
}

/// Mean and standard deviation; a deviation of one for a constant.
pub(super) fn spread(column: &[f64]) -> (f64, f64) {
    let largest = column.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    // (Numbers whose squares or sums leave the range of doubles are scaled first.)
    let unit = if largest > 1e100 || (largest > 0.0 && largest < 1e-100) { largest } else { 1.0 };
    let count = column.len() as f64;
    let mean = column.iter().map(|x| x / unit).sum::<f64>() / count;
    let about = |mean: f64| (column.iter().map(|x| (x / unit - mean) * (x / unit - mean)).sum::<f64>() / count).sqrt();
    let deviation = about(mean);
    if deviation > 1e-9 * mean.abs() {
        return (unit * mean, unit * deviation);
    }
    // (Of many rows the rounding of the sum is more than that of a row.)
    let mean = mean + column.iter().map(|x| x / unit - mean).sum::<f64>() / count;
    let deviation = about(mean);
    (unit * mean, if deviation > 1e-14 * mean.abs() { unit * deviation } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_are_those_of_numbers_of_any_size() {
        let column = [1.0, 2.0, 4.0, 8.0];
        let (mean, deviation) = spread(&column);
        assert_eq!((mean, deviation), (3.75, 7.1875f64.sqrt()));
        for unit in [1e-250, 1e-120, 1e120, 1e250, 2e307] {
            let (far, wide) = spread(&column.map(|x| unit * x));
            assert!((far / unit - mean).abs() < 1e-14 && (wide / unit - deviation).abs() < 1e-14, "{unit}");
        }
        assert_eq!(spread(&[1e300; 5]), (1e300, 1.0));
        assert_eq!(spread(&[0.0; 3]), (0.0, 1.0));
        for constant in [0.1, 0.3, -0.031_638_584, 1.1e7] {
            let (mean, deviation) = spread(&vec![constant; 1000]);
            assert!((mean / constant - 1.0).abs() < 1e-15 && deviation == 1.0, "{constant}: {mean} {deviation}");
        }
        // What varies in its last digits varies.
        let near: Vec<f64> = (0..1000).map(|i| 1e6 + 1e-4 * f64::from(i % 2)).collect();
        assert!((spread(&near).1 / 5e-5 - 1.0).abs() < 1e-3);
    }
}

//! Columns of numbers as unevaluated pairs, and their arithmetic.

use arrow::buffer::ScalarBuffer;
use hattention::block::Column;
use hattention::double_double::{DoubleDouble, two_product, two_sum};
use pulp::Arch;

/// A column of numbers `hi + lo`; without `lo` they are plain doubles. Cloning shares the buffers.
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    pub hi: ScalarBuffer<f64>,
    pub lo: Option<ScalarBuffer<f64>>,
}

impl Numbers {
    pub(crate) fn dense(hi: Vec<f64>) -> Self {
        Self { hi: hi.into(), lo: None }
    }

    /// A column of pairs; plain when nothing is left over in any row.
    pub(crate) fn pair(hi: Vec<f64>, lo: Vec<f64>) -> Self {
        let plain = lo.iter().fold(true, |plain, &rest| plain & (rest == 0.0));
        Self { hi: hi.into(), lo: (!plain).then(|| lo.into()) }
    }

    /// The same number in every row.
    pub(crate) fn constant(value: DoubleDouble, rows: usize) -> Self {
        Self::pair(vec![value.hi; rows], vec![value.lo; rows])
    }

    pub(crate) fn len(&self) -> usize {
        self.hi.len()
    }

    /// The first row that is not finite, and its value.
    pub(crate) fn first_not_finite(&self) -> Option<(usize, f64)> {
        let finite = |values: &[f64]| values.iter().fold(true, |all, value| all & value.is_finite());
        if finite(&self.hi) && self.lo.as_deref().is_none_or(finite) {
            return None;
        }
        let rest = |i: usize| self.lo.as_deref().map_or(0.0, |lo| lo[i]);
        // A product that overflows leaves its mark in `lo` as well; `hi` alone is the value to name.
        let at = (0..self.len()).find(|&i| !self.hi[i].is_finite() || !rest(i).is_finite())?;
        let value = if self.hi[at].is_finite() { self.hi[at] + rest(at) } else { self.hi[at] };
        Some((at, value))
    }

    pub(crate) fn as_column(&self) -> Column<'_> {
        match &self.lo {
            None => Column::Dense(&self.hi),
            Some(lo) => Column::Pair { hi: &self.hi, lo },
        }
    }

    /// `f` of every row in double arithmetic.
    pub(crate) fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self::dense(self.hi.iter().map(|&x| f(x)).collect())
    }

    /// `f` of every row as a pair.
    pub(crate) fn map_pairs(&self, f: impl Fn(DoubleDouble) -> DoubleDouble) -> Self {
        let (mut hi, mut lo) = (vec![0.0; self.len()], vec![0.0; self.len()]);
        Arch::new().dispatch(
            #[inline(always)]
            || {
                let rests = self.lo.as_deref();
                let outputs = hi.iter_mut().zip(lo.iter_mut());
                for (i, ((out_hi, out_lo), &x)) in outputs.zip(self.hi.iter()).enumerate() {
                    let value = f(DoubleDouble { hi: x, lo: rests.map_or(0.0, |rest| rest[i]) });
                    (*out_hi, *out_lo) = (value.hi, value.lo);
                }
            },
        );
        Self::pair(hi, lo)
    }

    /// `a · b`, exact for plain columns.
    pub(crate) fn multiply(&self, other: &Self) -> Self {
        match (&self.lo, &other.lo) {
            (None, None) => zip_plain(&self.hi, &other.hi, two_product),
            _ => self.zip(other, |a, b| a * b),
        }
    }

    /// `a + b`, exact for plain columns.
    pub(crate) fn add(&self, other: &Self) -> Self {
        match (&self.lo, &other.lo) {
            (None, None) => zip_plain(&self.hi, &other.hi, two_sum),
            _ => self.zip(other, |a, b| a + b),
        }
    }

    /// `a - b`, exact for plain columns.
    pub(crate) fn subtract(&self, other: &Self) -> Self {
        match (&self.lo, &other.lo) {
            (None, None) => zip_plain(&self.hi, &other.hi, |a, b| two_sum(a, -b)),
            _ => self.zip(other, |a, b| a - b),
        }
    }

    /// `a / b`.
    pub(crate) fn divide(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a / b)
    }

    /// `f(a, b)` of every row as pairs.
    pub(crate) fn zip(&self, other: &Self, f: impl Fn(DoubleDouble, DoubleDouble) -> DoubleDouble) -> Self {
        let rows = self.len();
        let zeros = if self.lo.is_some() && other.lo.is_some() { Vec::new() } else { vec![0.0; rows] };
        let (a_lo, b_lo) = (self.lo.as_deref().unwrap_or(&zeros), other.lo.as_deref().unwrap_or(&zeros));
        let (mut hi, mut lo) = (vec![0.0; rows], vec![0.0; rows]);
        Arch::new().dispatch(
            #[inline(always)]
            || {
                let inputs = self.hi.iter().zip(a_lo).zip(other.hi.iter().zip(b_lo));
                let outputs = hi.iter_mut().zip(lo.iter_mut());
                for ((out_hi, out_lo), ((&a_hi, &a_lo), (&b_hi, &b_lo))) in outputs.zip(inputs) {
                    let value = f(DoubleDouble { hi: a_hi, lo: a_lo }, DoubleDouble { hi: b_hi, lo: b_lo });
                    (*out_hi, *out_lo) = (value.hi, value.lo);
                }
            },
        );
        Self::pair(hi, lo)
    }
}

/// `f(a, b) = hi + lo` of every row of two plain columns.
fn zip_plain(a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> (f64, f64)) -> Numbers {
    let (mut hi, mut lo) = (vec![0.0; a.len()], vec![0.0; a.len()]);
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let outputs = hi.iter_mut().zip(lo.iter_mut());
            for ((out_hi, out_lo), (&a, &b)) in outputs.zip(a.iter().zip(b)) {
                (*out_hi, *out_lo) = f(a, b);
            }
        },
    );
    Numbers::pair(hi, lo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_integers_stay_plain_and_wide_products_become_pairs() {
        let a = Numbers::dense(vec![3.0, 5.0]);
        assert!(a.multiply(&a).lo.is_none());
        let b = Numbers::dense(vec![2f64.powi(30) + 1.0, 3.0]);
        let square = b.multiply(&b);
        assert_eq!((square.hi[0], square.lo.as_ref().unwrap()[0]), (2f64.powi(60) + 2f64.powi(31), 1.0));
        let cube = square.multiply(&b);
        assert_eq!(cube.hi[1], 27.0);
        let exact = (1i128 << 30) + 1;
        assert_eq!(cube.hi[0] as i128 + cube.lo.unwrap()[0] as i128, exact * exact * exact);
    }

    #[test]
    fn sums_and_differences_are_exact() {
        let (a, b) = (Numbers::dense(vec![1e16, 1.0]), Numbers::dense(vec![1.0, 1.0]));
        let sum = a.add(&b);
        assert_eq!((sum.hi[0], sum.lo.as_ref().unwrap()[0]), (1e16, 1.0));
        let back = sum.subtract(&b);
        assert_eq!((back.hi[0], back.lo.is_none()), (1e16, true));
        let third = b.divide(&Numbers::dense(vec![3.0, 4.0]));
        assert_eq!(third.hi[1], 0.25);
        assert!((third.lo.unwrap()[0] - (1.0 / 3.0) * 2f64.powi(-54)).abs() < 1e-30);
    }

    #[test]
    fn the_first_row_that_is_not_finite_is_found() {
        assert_eq!(Numbers::dense(vec![1.0, f64::INFINITY]).first_not_finite(), Some((1, f64::INFINITY)));
        assert_eq!(Numbers::dense(vec![1.0, -0.0]).first_not_finite(), None);
        let huge = Numbers::dense(vec![1.0, 1e200]);
        assert_eq!(huge.multiply(&huge).first_not_finite(), Some((1, f64::INFINITY)));
    }
}

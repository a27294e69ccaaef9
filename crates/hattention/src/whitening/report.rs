//! How coefficients are reported: as those of the kept columns, or as combinations of them.

use super::job::{Job, Spectrum};
use crate::design::Aliased;
use crate::exact::centred::{Centred, Combination};
use crate::exact::float::Float;
use crate::exact::ldl::Ldl;

/// The reported coefficients and the means of their columns.
#[derive(Debug)]
pub(crate) struct Report<const N: usize> {
    /// A coefficient by those of kept columns, `(column, factor)`; `None` if it was dropped.
    pub(crate) rows: Vec<Option<Combination<N>>>,
    pub(crate) means: Vec<Float<N>>,
}

impl<const N: usize> Report<N> {
    /// Every kept column as itself: `positions[k]` is where the design has kept column `k`.
    pub(crate) fn plain(count: usize, positions: impl Iterator<Item = usize>, means: &[Float<N>]) -> Self {
        let one = Float::from_f64(1.0);
        let mut report = Self { rows: vec![None; count], means: vec![Float::ZERO; count] };
        for (k, position) in positions.enumerate() {
            report.rows[position] = Some(vec![(k, one)]);
            report.means[position] = means[k];
        }
        report
    }

    /// Rows of the loading matrix for the given keys; see [`Whitening::loading`](super::Whitening::loading).
    pub(crate) fn loading(&self, keys: &[Vec<Float<N>>], constant: Option<Float<N>>) -> Vec<Vec<Float<N>>> {
        let row_of = |weights: &[(usize, Float<N>)]| -> Vec<Float<N>> {
            let per_key = keys
                .iter()
                .map(|key| weights.iter().fold(Float::ZERO, |sum, (i, w)| key.get(*i).map_or(sum, |k| sum + *k * *w)));
            std::iter::once(Float::ZERO).chain(per_key).collect()
        };
        let rows: Vec<Vec<Float<N>>> =
            self.rows.iter().map(|weights| weights.as_deref().map_or(Vec::new(), row_of)).collect();
        let Some(constant) = constant else {
            return rows;
        };
        let mut first = vec![Float::ZERO; keys.len() + 1];
        first[0] = constant;
        for (row, mean) in rows.iter().zip(&self.means).filter(|(row, _)| !row.is_empty()) {
            for (entry, loading) in first.iter_mut().zip(row).skip(1) {
                *entry = *entry - *mean * *loading;
            }
        }
        std::iter::once(first).chain(rows).collect()
    }
}

impl Job<'_> {
    /// How every reported coefficient is made from those of the kept columns, and the means of the reported columns;
    /// `None` if it takes more bits.
    pub(super) fn report<const N: usize>(
        &self,
        sums: &Centred<'_, N>,
        spectrum: &Spectrum<N>,
        ldl: Option<&Ldl<N>>,
        kept: &[usize],
        means: &[Float<N>],
    ) -> Option<Report<N>> {
        let candidates = &spectrum.candidates;
        let mut report = Report::plain(self.design.names.len(), kept.iter().map(|&i| candidates[i]), means);
        if let (Aliased::MinNorm, Some(ldl)) = (self.options.aliased, ldl) {
            for (i, row) in crate::min_norm::spread(ldl, kept, &spectrum.scales)? {
                report.rows[candidates[i]] = Some(row.into_iter().enumerate().collect());
                report.means[candidates[i]] = sums.mean(spectrum.table[i]);
            }
        }
        Some(report)
    }
}

//! How coefficients are reported: as those of the kept columns, or as combinations of them.

use super::job::{Job, Spectrum};
use crate::design::Aliased;
use crate::error::{Dependence, Error};
use crate::exact::centred::Centred;
use crate::exact::float::Float;
use crate::exact::ldl::Ldl;

/// A reported coefficient as a combination of those of kept columns, `(column, factor)`; `None` if it was dropped.
pub(crate) type Combination<const N: usize> = Option<Vec<(usize, Float<N>)>>;

/// The reported coefficients and the means of their columns.
#[derive(Debug)]
pub(crate) struct Report<const N: usize> {
    pub(crate) rows: Vec<Combination<N>>,
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
    ) -> Result<Option<Report<N>>, Error> {
        let (count, rank) = (self.design.names.len(), kept.len());
        let candidates = &spectrum.candidates;
        let local = |position: usize| kept.iter().position(|&i| candidates[i] == position);
        let mut report = Report::plain(count, kept.iter().map(|&i| candidates[i]), means);
        if let (Aliased::MinNorm, Some(ldl)) = (self.options.aliased, ldl) {
            let Some(rows) = crate::min_norm::spread(ldl, kept, &spectrum.scales) else {
                return Ok(None);
            };
            for (i, row) in rows {
                report.rows[candidates[i]] = Some(row.into_iter().enumerate().collect());
                report.means[candidates[i]] = sums.mean(spectrum.table[i]);
            }
        }
        for group in &self.design.orthogonal {
            let Some(places) = group.iter().map(|&position| local(position)).collect::<Option<Vec<usize>>>() else {
                let columns = count + self.design.intercept as usize;
                let dependent = group
                    .iter()
                    .filter(|&&position| local(position).is_none())
                    .map(|&position| Dependence {
                        column: self.design.names[position].clone(),
                        on: vec!["lower powers".to_owned()],
                        distance_relative: 0.0,
                    })
                    .collect();
                return Err(Error::RankDeficient { rank: rank + self.design.intercept as usize, columns, dependent });
            };
            self.orthogonalise(group, &places, &mut report, means);
        }
        Ok(Some(report))
    }

    /// Reports powers as orthonormal polynomials: with the unweighted centred sums `C = G Gᵀ`, the polynomials are
    /// `(X − x̄) G⁻ᵀ` and their coefficients `Gᵀ β`.
    fn orthogonalise<const N: usize>(
        &self,
        group: &[usize],
        places: &[usize],
        report: &mut Report<N>,
        means: &[Float<N>],
    ) {
        let source = self.unweighted.unwrap_or(self.moments);
        let sums = Centred::<N>::new(&source.sums, true);
        let table: Vec<usize> = group.iter().map(|&p| self.design.columns[p].map_or(0, |c| c + 1)).collect();
        let size = group.len();
        let mut lower = vec![vec![Float::<N>::ZERO; size]; size];
        for i in 0..size {
            for j in 0..=i {
                let mut value = sums.product(table[i], table[j]);
                for k in 0..j {
                    value = value - lower[i][k] * lower[j][k];
                }
                lower[i][j] = if i == j { value.abs().sqrt() } else { value * lower[j][j].reciprocal() };
            }
        }
        let shifts: Vec<Float<N>> = table.iter().map(|&c| sums.mean(c)).collect();
        for (j, &position) in group.iter().enumerate() {
            report.rows[position] = Some((j..size).map(|i| (places[i], lower[i][j])).collect());
            // Means of the polynomials: solve G m = x̄ − shift.
            let mut mean = means[places[j]] - shifts[j];
            if !self.design.intercept {
                mean = Float::ZERO;
            }
            for k in 0..j {
                mean = mean - lower[j][k] * report.means[group[k]];
            }
            report.means[position] = mean * lower[j][j].reciprocal();
        }
    }
}

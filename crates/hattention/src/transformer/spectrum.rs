//! The eigenvectors of a factored design: a rotation of its keys.

use super::Spectrum;
use crate::design::Filter;
use crate::double_double::{fast_two_sum, two_product, two_sum};
use crate::error::Error;
use crate::linalg;
use crate::matrix::Matrix;
use crate::whitening::Whitening;

/// Gates `g = (1 − s)(1 + s)` come of singular values s that are good to some `ε` a key: what is below this many of them is
/// known to be small, and no digit of it. Such keys are left as short as they are: of unit length they would be noise. Their
/// mean squares are taken for the root of that bound: as little as singles see, and enough for their rounding to stay little
/// when it is divided by.
const UNKNOWN_GATE: f64 = 16.0;

/// Keys along the eigenvectors.
pub(super) struct Rotated {
    /// Maps centred kept columns to keys of unit Gram matrix. Shape: `[kept][keys]`.
    pub(super) map: Matrix,
    /// Rotates the whitening's keys into these. Shape: `[whitening's keys][keys]`.
    pub(super) rotation: Matrix,
    /// What a rotated key of the whitening is multiplied by to become one of unit Gram matrix.
    pub(super) factors: Vec<f64>,
    /// What every key passes by the whitening's filter.
    pub(super) gates: Vec<f64>,
    /// What the memory has for the mean square of every key: one, or for keys that are rounding something little.
    pub(super) squares: Vec<f64>,
    pub(super) eigenvalues: Vec<f64>,
    pub(super) spectrum: Spectrum,
}

impl Rotated {
    /// The same without keys that are rounding and that no target has anything along: directions that rows do not have.
    ///
    /// `memories` are the fits' own, one a target. A direction in which rows are merely short stays, however short.
    pub(super) fn without_empty(self, memories: &[&[f64]]) -> Self {
        let rounding = UNKNOWN_GATE * self.rotation.rows as f64 * f64::EPSILON;
        let size = |memory: &[f64]| memory.iter().fold(0.0f64, |sum, m| sum.hypot(*m));
        let along = |memory: &[f64], j: usize| -> f64 {
            memory.iter().enumerate().map(|(i, m)| m * self.rotation.at(i, j)).sum()
        };
        let empty = |j: usize| memories.iter().all(|memory| along(memory, j).abs() <= rounding * size(memory));
        let stays: Vec<usize> = (0..self.gates.len()).filter(|&j| self.squares[j] == 1.0 || !empty(j)).collect();
        if stays.len() == self.gates.len() {
            return self;
        }
        let columns = |m: &Matrix| Matrix::from_fn(m.rows, stays.len(), |i, j| m.at(i, stays[j]));
        let some = |values: &[f64]| stays.iter().filter_map(|&j| values.get(j).copied()).collect::<Vec<f64>>();
        Self {
            map: columns(&self.map),
            rotation: columns(&self.rotation),
            factors: some(&self.factors),
            gates: some(&self.gates),
            squares: some(&self.squares),
            eigenvalues: some(&self.eigenvalues),
            spectrum: self.spectrum,
        }
    }

    /// The map to the keys of unit mean square.
    pub(super) fn unit_map(&self) -> Matrix {
        let unit: Vec<usize> = (0..self.gates.len()).filter(|&j| self.squares[j] == 1.0).collect();
        Matrix::from_fn(self.map.rows, unit.len(), |i, j| self.map.at(i, unit[j]))
    }

    /// The keys of a whitening along its eigenvectors, the largest eigenvalue first.
    pub(super) fn of(whitening: &Whitening, wanted: Spectrum) -> Result<Self, Error> {
        let (kept, keys) = (whitening.kept.len(), whitening.keys());
        let map = Matrix::from_fn(kept, keys, |c, j| whitening.key_map[j].get(c).copied().unwrap_or(0.0));
        match whitening.filter {
            Filter::Ridge { alpha, standardize } if alpha > 0.0 => Self::ridge(whitening, &map, alpha, standardize),
            Filter::Components { standardize, .. } => Ok(Self::components(map, standardize)),
            _ => Self::least_squares(whitening, &map, wanted),
        }
    }

    /// `D⁻¹ L = V Λ^(−1/2) Uᵀ` for `L Lᵀ = (XᵀX)⁻¹` and inverse column lengths D: U rotates the keys into
    /// `X D V Λ^(−1/2)`. Its columns are orthogonal whatever the condition, so that no digit of L is lost.
    fn least_squares(whitening: &Whitening, map: &Matrix, wanted: Spectrum) -> Result<Self, Error> {
        // Of columns that share an effect only the shortest solution is defined, and short is meant in their own units.
        let full = map.rows == map.columns;
        let spectrum = if full { wanted } else { Spectrum::Unscaled };
        let lengths = match spectrum {
            Spectrum::Scaled => lengths(map)?,
            Spectrum::Unscaled => vec![1.0; map.rows],
        };
        let scaled = Matrix::from_fn(map.rows, map.columns, |c, j| map.at(c, j) * lengths[c]);
        let svd = linalg::svd(&scaled)?;
        let rank = svd.values.len();
        // Small singular values of L are large eigenvalues of XᵀX.
        let order: Vec<usize> = (0..rank).rev().collect();
        let unit = if spectrum == Spectrum::Scaled { whitening.weight_total } else { 1.0 };
        let signs: Vec<f64> = order.iter().map(|&j| sign(&svd.left, j)).collect();
        let rotation = polished(Matrix::from_fn(map.columns, rank, |i, j| svd.right.at(i, order[j]) * signs[j]));
        Ok(Self {
            map: product(map, &rotation),
            rotation,
            factors: vec![1.0; rank],
            gates: vec![1.0; rank],
            squares: vec![1.0; rank],
            eigenvalues: order.iter().map(|&j| unit / (svd.values[j] * svd.values[j])).collect(),
            spectrum,
        })
    }

    /// Keys of ridge have the Gram matrix `I − α LᵀAL`, A the unit matrix or the columns' variances: its eigenvalues are
    /// the gates `λ/(λ+α)`. Directions without variance have no key.
    fn ridge(whitening: &Whitening, map: &Matrix, alpha: f64, standardize: bool) -> Result<Self, Error> {
        let (rows, keys) = (map.rows, map.columns);
        let deviations: Vec<f64> = if standardize {
            // (XᵀX + αA)'s diagonal is n σ² + α σ².
            lengths(map)?.iter().map(|l| l / (whitening.weight_total + alpha).sqrt()).collect()
        } else {
            vec![1.0; rows]
        };
        // `√α A^(1/2) L` has the singular values √(1 − g).
        let scaled = Matrix::from_fn(rows, keys, |c, j| alpha.sqrt() * (deviations[c] * map.at(c, j)));
        let svd = linalg::svd(&scaled)?;
        let order: Vec<usize> = (0..svd.values.len()).rev().collect();
        let gate = |j: usize| (1.0 - svd.values[j]) * (1.0 + svd.values[j]);
        let unknown = UNKNOWN_GATE * keys as f64 * f64::EPSILON;
        let known = |j: usize| gate(j) > unknown;
        let gates: Vec<f64> = order.iter().map(|&j| if known(j) { gate(j) } else { 1.0 }).collect();
        let squares: Vec<f64> = order.iter().map(|&j| if known(j) { 1.0 } else { unknown.sqrt() }).collect();
        let signs: Vec<f64> = order.iter().map(|&j| sign(&svd.left, j)).collect();
        let rotation = polished(Matrix::from_fn(keys, order.len(), |i, j| svd.right.at(i, order[j]) * signs[j]));
        let factors: Vec<f64> = gates.iter().map(|g| 1.0 / g.sqrt()).collect();
        let mut rotated = product(map, &rotation);
        for c in 0..rows {
            rotated.row_mut(c).iter_mut().zip(&factors).for_each(|(x, factor)| *x *= factor);
        }
        let eigenvalue = |j: &usize| alpha * gate(*j).max(0.0) / (svd.values[*j] * svd.values[*j]);
        Ok(Self {
            map: rotated,
            rotation,
            factors,
            eigenvalues: order.iter().map(eigenvalue).collect(),
            gates,
            squares,
            spectrum: if standardize { Spectrum::Scaled } else { Spectrum::Unscaled },
        })
    }

    /// Keys of principal components lie along eigenvectors already: they are `v / √λ`, for standardised columns over the
    /// columns' deviations, which the filter does not keep.
    fn components(map: Matrix, standardize: bool) -> Self {
        let keys = map.columns;
        let eigenvalue = |j: usize| (0..map.rows).fold(0.0f64, |sum, c| sum.hypot(map.at(c, j))).recip().powi(2);
        Self {
            rotation: Matrix::identity(keys),
            factors: vec![1.0; keys],
            gates: vec![1.0; keys],
            squares: vec![1.0; keys],
            eigenvalues: if standardize { Vec::new() } else { (0..keys).map(eigenvalue).collect() },
            spectrum: if standardize { Spectrum::Scaled } else { Spectrum::Unscaled },
            map,
        }
    }
}

/// The condition of the column-scaled matrix, with its intercept, that unit keys are made from: of the design without the
/// directions that have no key. `map` takes its centred columns to the keys.
pub(super) fn condition(whitening: &Whitening, map: &Matrix) -> Result<f64, Error> {
    let (constant, root) = (whitening.design.intercept as usize, whitening.weight_total.sqrt());
    let lengths = lengths(map)?;
    // (√n, √n x̄ᵀ; 0, L⁺) has the Gram matrix of the columns with their means, and the inverse (1/√n, −x̄ᵀL; 0, L): its
    // rows are taken times the columns' lengths.
    let mut inverse = Matrix::zeros(constant + map.rows, constant + map.columns);
    for c in 0..map.rows {
        let length = if constant == 1 { lengths[c].hypot(root * whitening.means[c].hi) } else { lengths[c] };
        for j in 0..map.columns {
            inverse.row_mut(constant + c)[constant + j] = length * map.at(c, j);
        }
    }
    if constant == 1 {
        inverse.row_mut(0)[0] = 1.0;
        for j in 0..map.columns {
            let along: f64 = (0..map.rows).map(|c| whitening.means[c].hi * map.at(c, j)).sum();
            inverse.row_mut(0)[1 + j] = -root * along;
        }
    }
    let values = inverse.singular_values()?;
    Ok(values.first().zip(values.last()).map_or(1.0, |(first, last)| first / last))
}

/// Lengths of the columns of X for `L Lᵀ = (XᵀX)⁻¹`: those of the rows of `L⁻ᵀ`; zero for rows of zeros.
fn lengths(map: &Matrix) -> Result<Vec<f64>, Error> {
    // Rows of L are scaled to unit length first: what is inverted then has the condition of the column-scaled X.
    // (Squares of their entries may be beyond the doubles where the entries are not.)
    let length = |row: &[f64]| {
        let largest = row.iter().fold(0.0f64, |most, x| most.max(x.abs()));
        largest * row.iter().map(|x| over(*x, largest).powi(2)).sum::<f64>().sqrt()
    };
    let rows: Vec<f64> = (0..map.rows).map(|c| length(map.row(c))).collect();
    let svd = linalg::svd(&Matrix::from_fn(map.rows, map.columns, |c, j| over(map.at(c, j), rows[c])))?;
    Ok((0..map.rows)
        .map(|c| {
            // (L Lᵀ)⁻¹ = E U S⁻² Uᵀ E for `E L = U S Vᵀ` with rows of unit length.
            let square: f64 = svd.values.iter().enumerate().map(|(j, s)| (svd.left.at(c, j) / s).powi(2)).sum();
            over(square.sqrt(), rows[c])
        })
        .collect())
}

/// A quotient; of zeros zero.
fn over(x: f64, length: f64) -> f64 {
    if length == 0.0 { 0.0 } else { x / length }
}

/// The sign that makes the largest entry of a column positive.
fn sign(vectors: &Matrix, column: usize) -> f64 {
    let largest =
        (0..vectors.rows).map(|i| vectors.at(i, column)).fold(0.0f64, |m, x| if x.abs() > m.abs() { x } else { m });
    if largest < 0.0 { -1.0 } else { 1.0 }
}

/// The nearest rotation, by one step of Newton's: `U ← U + U (I − UᵀU)/2`. A decomposition leaves columns some tens of
/// roundings off their length, and every key would be so much too long.
fn polished(rotation: Matrix) -> Matrix {
    let gram = product(&rotation.transposed(), &rotation);
    let missing = Matrix::from_fn(gram.rows, gram.columns, |i, j| 0.5 * ((i == j) as u8 as f64 - gram.at(i, j)));
    let step = rotation.product(&missing);
    Matrix::from_fn(rotation.rows, rotation.columns, |i, j| rotation.at(i, j) + step.at(i, j))
}

/// `map · rotation`, summed in doubled arithmetic: the entries of L differ in size, and every one counts.
fn product(map: &Matrix, rotation: &Matrix) -> Matrix {
    let mut product = Matrix::zeros(map.rows, rotation.columns);
    let mut sums = vec![(0.0, 0.0); rotation.columns];
    for c in 0..map.rows {
        sums.fill((0.0, 0.0));
        for (i, factor) in map.row(c).iter().enumerate().filter(|(_, factor)| **factor != 0.0) {
            add_product(&mut sums, *factor, rotation.row(i));
        }
        product.row_mut(c).iter_mut().zip(&sums).for_each(|(x, (hi, lo))| *x = hi + lo);
    }
    product
}

/// Adds `factor · row` to pairs.
fn add_product(sums: &mut [(f64, f64)], factor: f64, row: &[f64]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for ((hi, lo), x) in sums.iter_mut().zip(row) {
                let (p, e) = two_product(factor, *x);
                let (s, t) = two_sum(*hi, p);
                (*hi, *lo) = fast_two_sum(s, *lo + t + e);
            }
        },
    );
}

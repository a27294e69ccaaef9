//! How much to shrink: generalised cross-validation from the state alone.

use crate::design::{Design, RankTolerance};
use crate::error::Error;
use crate::exact::centred::Centred;
use crate::linalg;
use crate::moments::Moments;
use crate::whitening::Placed;

/// A choice and its criterion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice<T> {
    /// The value chosen.
    pub value: T,
    /// `n RSS / (n − tr H)²` at it: an estimate of the prediction error.
    pub criterion: f64,
}

/// Spectrum of the centred design and the target along it.
struct Spectrum {
    rows: f64,
    constant: f64,
    total: f64,
    /// Eigenvalues, largest first.
    values: Vec<f64>,
    /// Squared cross-products of target and unit eigenvectors.
    squares: Vec<f64>,
}

impl Spectrum {
    fn of(
        moments: &Moments,
        design: &Design,
        unweighted: Option<&Moments>,
        target: usize,
        standardize: bool,
    ) -> Result<Self, Error> {
        if moments.rows() == 0 {
            return Err(Error::NoRows);
        }
        design.check(moments.columns(), unweighted)?;
        // Polynomials are sums in which much may cancel.
        let read = if design.orthogonal.is_empty() { Self::read::<4> } else { Self::read::<16> };
        read(moments, design, unweighted, target, standardize)
    }

    fn read<const N: usize>(
        moments: &Moments,
        design: &Design,
        unweighted: Option<&Moments>,
        target: usize,
        standardize: bool,
    ) -> Result<Self, Error> {
        let placed = Placed::<N>::new(design, unweighted.unwrap_or(moments), RankTolerance::Rounding)?;
        let sums = Centred::<N>::new(&moments.sums, design.intercept).with_formed(&placed.formed).with_products();
        let table: Vec<usize> = placed.table.into_iter().flatten().collect();
        let size = table.len();
        let total_weight = sums.total();
        let scales: Vec<f64> = table
            .iter()
            .map(|&c| {
                let square = sums.product(c, c).to_f64();
                if standardize && square > 0.0 { (total_weight.to_f64() / square).sqrt() } else { 1.0 }
            })
            .collect();
        let mut gram = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..=i {
                gram[i * size + j] = sums.product(table[i], table[j]).to_f64() * scales[i] * scales[j];
            }
        }
        let cross: Vec<f64> =
            table.iter().zip(&scales).map(|(&c, s)| sums.product(c, target + 1).to_f64() * s).collect();
        let (values, vectors) = linalg::symmetric_eigen(&gram, size)?;
        let squares = vectors.iter().map(|v| v.iter().zip(&cross).map(|(a, b)| a * b).sum::<f64>().powi(2));
        Ok(Self {
            rows: moments.rows() as f64,
            constant: design.intercept as usize as f64,
            total: sums.product(target + 1, target + 1).to_f64(),
            squares: squares.rev().collect(),
            values: values.into_iter().rev().map(|v| v.max(0.0)).collect(),
        })
    }

    /// `n RSS / (n − tr H)²`; infinite where nothing is left over.
    fn criterion(&self, residual: f64, trace: f64) -> f64 {
        let left = self.rows - trace - self.constant;
        if left > 1e-9 * self.rows { self.rows * residual.max(0.0) / (left * left) } else { f64::INFINITY }
    }

    fn ridge(&self, alpha: f64) -> f64 {
        let (mut residual, mut trace) = (self.total, 0.0);
        for (value, square) in self.values.iter().zip(&self.squares).filter(|(v, _)| **v > 0.0) {
            let shrunk = value + alpha;
            residual -= square * (value + 2.0 * alpha) / (shrunk * shrunk);
            trace += value / shrunk;
        }
        self.criterion(residual, trace)
    }
}

/// The ridge penalty with the smallest generalised cross-validation criterion.
///
/// # Numerics
/// 401 penalties from 1e-12 to 1e8 times the mean eigenvalue, then golden section; needs no rows.
///
/// # References
/// Golub, Heath & Wahba (1979).
///
/// # Errors
/// [`Error::NoRows`]; [`Error::NoConvergence`] if the spectrum cannot be found; for a design that does not fit the state
/// or whose polynomials cannot be formed as [`Whitening::of`](crate::Whitening::of), whose `unweighted` this is too.
pub fn ridge(
    moments: &Moments,
    design: &Design,
    unweighted: Option<&Moments>,
    target: usize,
    standardize: bool,
) -> Result<Choice<f64>, Error> {
    let spectrum = Spectrum::of(moments, design, unweighted, target, standardize)?;
    let mean = spectrum.values.iter().sum::<f64>() / spectrum.values.len().max(1) as f64;
    let at = |step: f64| mean * 10f64.powf(-12.0 + 0.05 * step);
    let best = (0..=400)
        .map(|step| (step, spectrum.ridge(at(step as f64))))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map_or(0.0, |(step, _)| step as f64);
    let golden = 0.5 * (5f64.sqrt() - 1.0);
    let (mut low, mut high) = (best - 1.0, best + 1.0);
    for _ in 0..60 {
        let (a, b) = (high - golden * (high - low), low + golden * (high - low));
        if spectrum.ridge(at(a)) < spectrum.ridge(at(b)) { high = b } else { low = a }
    }
    let value = at(0.5 * (low + high));
    Ok(Choice { value, criterion: spectrum.ridge(value) })
}

/// The number of principal components with the smallest generalised cross-validation criterion, from 0 to the rank.
///
/// # Errors
/// As [`ridge`].
pub fn components(
    moments: &Moments,
    design: &Design,
    unweighted: Option<&Moments>,
    target: usize,
    standardize: bool,
) -> Result<Choice<usize>, Error> {
    let spectrum = Spectrum::of(moments, design, unweighted, target, standardize)?;
    let largest = spectrum.values.first().copied().unwrap_or(0.0);
    let mut residual = spectrum.total;
    let mut best = Choice { value: 0, criterion: spectrum.criterion(residual, 0.0) };
    for (k, (value, square)) in spectrum.values.iter().zip(&spectrum.squares).enumerate() {
        if *value <= largest * 1e-13 {
            break;
        }
        residual -= square / value;
        let criterion = spectrum.criterion(residual, (k + 1) as f64);
        if criterion < best.criterion {
            best = Choice { value: k + 1, criterion };
        }
    }
    Ok(best)
}

//! Principal components: eigenvectors of the centred sums of products, in extended arithmetic.

mod refined;

use crate::error::Error;
use crate::exact::centred::Centred;
use crate::exact::float::Float;
use crate::interrupt::Stop;

/// Columns from which on eigenvectors in doubles, refined, are faster than rotations of all bits.
const REFINED_FROM: usize = 24;

/// Keys of principal components regression: `v_k / √λ_k` for the `count` largest eigenvalues, over the given columns; and
/// the power of two up to which they are known, if that is not the unit of the arithmetic.
#[allow(clippy::type_complexity)]
pub(crate) fn keys<const N: usize>(
    sums: &Centred<'_, N>,
    columns: &[usize],
    count: usize,
    standardize: bool,
) -> Result<(Vec<Vec<Float<N>>>, Option<i64>), Error> {
    let size = columns.len();
    let scales: Vec<Float<N>> = columns
        .iter()
        .map(|&c| {
            let square = sums.product(c, c);
            let usable = standardize && !square.is_zero();
            if usable { (sums.total() * square.reciprocal()).sqrt() } else { Float::from_f64(1.0) }
        })
        .collect();
    let mut matrix = vec![vec![Float::<N>::ZERO; size]; size];
    for i in 0..size {
        for j in 0..=i {
            matrix[i][j] = sums.product(columns[i], columns[j]) * scales[i] * scales[j];
            matrix[j][i] = matrix[i][j];
        }
    }
    let key = |vector: &dyn Fn(usize) -> Float<N>, value: Float<N>| {
        let root = value.sqrt().reciprocal();
        (0..size).map(|i| vector(i) * root * scales[i]).collect()
    };
    if N == 4
        && size >= REFINED_FROM
        && (1..=size).contains(&count)
        && let Some(pairs) = refined::largest_pairs(&matrix, count)
    {
        let keys = pairs.values.iter().zip(&pairs.vectors).map(|(value, vector)| key(&|i| vector[i], *value));
        return Ok((keys.collect(), Some(pairs.unit)));
    }
    let (values, vectors) = jacobi(matrix)?;
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&a, &b| {
        if (values[a] - values[b]).is_negative() { std::cmp::Ordering::Greater } else { std::cmp::Ordering::Less }
    });
    let largest = order.first().map_or(Float::ZERO, |&k| values[k]);
    let rank = order
        .iter()
        .take_while(|&&k| !values[k].is_negative() && values[k].exponent() > largest.exponent() - 32 * N as i64)
        .count();
    if count > rank {
        return Err(Error::Parameter {
            name: "the number of components",
            got: count.to_string(),
            allowed: "at most the rank of the centred design",
        });
    }
    Ok((order[..count].iter().map(|&k| key(&|i| vectors[i][k], values[k])).collect(), None))
}

/// Eigenvalues and eigenvectors (by columns) by cyclic Jacobi rotations.
///
/// # References
/// Golub & Van Loan, Matrix Computations, 8.5.
#[allow(clippy::type_complexity)]
fn jacobi<const N: usize>(mut a: Vec<Vec<Float<N>>>) -> Result<(Vec<Float<N>>, Vec<Vec<Float<N>>>), Error> {
    const SWEEPS: usize = 60;
    let size = a.len();
    let (one, stop) = (Float::<N>::from_f64(1.0), Stop::current());
    let mut vectors: Vec<Vec<Float<N>>> =
        (0..size).map(|i| (0..size).map(|j| if i == j { one } else { Float::ZERO }).collect()).collect();
    for _ in 0..SWEEPS {
        let mut rotated = false;
        for p in 0..size {
            stop.check();
            for q in p + 1..size {
                // Negligible beside both diagonal entries: graded matrices keep the digits of small eigenvalues.
                let geometric = (a[p][p].exponent() + a[q][q].exponent()) / 2;
                if a[p][q].is_zero() || a[p][q].exponent() < geometric - 64 * N as i64 + 12 {
                    continue;
                }
                rotated = true;
                rotate(&mut a, &mut vectors, p, q);
            }
        }
        if !rotated {
            return Ok(((0..size).map(|i| a[i][i]).collect(), vectors));
        }
    }
    Err(Error::NoConvergence { steps: SWEEPS, residual: f64::NAN })
}

fn rotate<const N: usize>(a: &mut [Vec<Float<N>>], vectors: &mut [Vec<Float<N>>], p: usize, q: usize) {
    let one = Float::<N>::from_f64(1.0);
    let theta = (a[q][q] - a[p][p]) * a[p][q].scale(1).reciprocal();
    let root = (theta * theta + one).sqrt();
    let t = (theta.abs() + root).reciprocal();
    let t = if theta.is_negative() { -t } else { t };
    let c = (t * t + one).sqrt().reciprocal();
    let s = t * c;
    let shift = t * a[p][q];
    a[p][p] = a[p][p] - shift;
    a[q][q] = a[q][q] + shift;
    a[p][q] = Float::ZERO;
    a[q][p] = Float::ZERO;
    for k in (0..a.len()).filter(|&k| k != p && k != q) {
        let (x, y) = (a[k][p], a[k][q]);
        a[k][p] = c * x - s * y;
        a[k][q] = s * x + c * y;
        a[p][k] = a[k][p];
        a[q][k] = a[k][q];
    }
    for row in vectors {
        let (x, y) = (row[p], row[q]);
        row[p] = c * x - s * y;
        row[q] = s * x + c * y;
    }
}

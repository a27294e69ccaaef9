//! The shortest coefficients of a design with dependent columns.

use crate::exact::float::Float;
use crate::exact::ldl::{Ldl, Verdict};

/// Rows of `Mᵀ (M Mᵀ)⁻¹` by column, over the kept ones, where `X = X_kept M`: among all coefficients with the same
/// fitted values these have the smallest norm. `None` if columns differ so much in length that it takes more bits.
pub(crate) fn spread<const N: usize>(
    ldl: &Ldl<N>,
    kept: &[usize],
    scales: &[i64],
) -> Option<Vec<(usize, Vec<Float<N>>)>> {
    let rank = kept.len();
    let one = Float::<N>::from_f64(1.0);
    // Columns of M: unit vectors for kept columns, coefficients on them for the others.
    let columns: Vec<Vec<Float<N>>> = (0..ldl.size)
        .map(|i| match kept.binary_search(&i) {
            Ok(place) => (0..rank).map(|k| if k == place { one } else { Float::ZERO }).collect(),
            Err(_) => {
                let on = ldl.on_earlier(i);
                kept.iter().map(|&k| if k < i { on[k].scale(scales[k] - scales[i]) } else { Float::ZERO }).collect()
            }
        })
        .collect();
    let largest = columns.iter().flatten().map(Float::exponent).max().unwrap_or(0);
    if N < 32 && 2 * largest > 32 * N as i64 {
        return None;
    }
    let mut gram = Vec::with_capacity(rank * (rank + 1) / 2);
    for a in 0..rank {
        for b in 0..=a {
            gram.push(columns.iter().fold(Float::ZERO, |sum, m| sum + m[a] * m[b]));
        }
    }
    // M Mᵀ is the identity plus a square, and the bits hold both: no pivot can fail.
    let factor = Ldl::factor(&gram, rank, |_, _, _, _| Verdict::Keep)?;
    Some(columns.iter().enumerate().map(|(i, column)| (i, factor.solve(column))).collect())
}

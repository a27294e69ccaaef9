//! The shortest coefficients of a design with dependent columns.

use rayon::prelude::*;

use crate::exact::float::Float;
use crate::exact::ldl::{Ldl, Verdict};
use crate::interrupt::checked;

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
        .into_par_iter()
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
    let others: Vec<&Vec<Float<N>>> =
        (0..ldl.size).filter(|i| kept.binary_search(i).is_err()).map(|i| &columns[i]).collect();
    let row = |a: usize| -> Vec<Float<N>> {
        let others: Vec<&&Vec<Float<N>>> = others.iter().filter(|m| !m[a].is_zero()).collect();
        let entry = |b: usize| {
            let own = if a == b { one } else { Float::ZERO };
            others.iter().fold(own, |sum, m| if m[b].is_zero() { sum } else { sum + m[a] * m[b] })
        };
        (0..=a).map(entry).collect()
    };
    let gram = (0..rank).into_par_iter().map(checked(row)).collect::<Vec<_>>().concat();
    // M Mᵀ is the identity plus a square, and the bits hold both: no pivot can fail.
    let factor = Ldl::factor(&gram, rank, |_, _, _, _| Verdict::Keep)?;
    let solve = |(i, column): (usize, &Vec<Float<N>>)| (i, factor.solve(column));
    Some(columns.par_iter().enumerate().map(checked(solve)).collect())
}

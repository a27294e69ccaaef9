//! Rows into columns by squares of four numbers that are exchanged in registers.

use super::Run;

/// Copies all rows of a run whose columns are one number apart, four of them or more, as [`Run::transpose`] does; whether
/// this machine can.
#[cfg(target_arch = "x86_64")]
pub(super) fn transpose(run: &Run<'_>, target: &mut [f64], spacing: usize) -> bool {
    let Some(token) = pulp::x86::V3::try_new() else { return false };
    if run.distance != 1 || run.places.len() < SIDE {
        return false;
    }
    token.vectorize(Squares { token, run, target, spacing });
    true
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn transpose(_: &Run<'_>, _: &mut [f64], _: usize) -> bool {
    false
}

/// Rows and columns of a square.
#[cfg(target_arch = "x86_64")]
const SIDE: usize = 4;

#[cfg(target_arch = "x86_64")]
struct Squares<'a, 'b> {
    token: pulp::x86::V3,
    run: &'b Run<'a>,
    target: &'b mut [f64],
    spacing: usize,
}

#[cfg(target_arch = "x86_64")]
impl pulp::NullaryFnOnce for Squares<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { token, run, target, spacing } = self;
        let (all, count) = (run.first.rows, run.places.len());
        let (values, stride) = (run.first.values, run.first.stride);
        for rows in run.tiles(0..all) {
            let whole = rows.len() / SIDE * SIDE;
            if whole > 0 {
                for first in (0..count).step_by(SIDE) {
                    // (The last four columns may overlap those before.)
                    let first = first.min(count - SIDE);
                    let from = &values[rows.start * stride + first..];
                    four_columns(token, from, stride, whole, &mut target[first * spacing + rows.start..], spacing);
                }
            }
        }
        for row in all / SIDE * SIDE..all {
            for (c, x) in values[row * stride..][..count].iter().enumerate() {
                target[c * spacing + row] = *x;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn four_columns(token: pulp::x86::V3, from: &[f64], stride: usize, rows: usize, target: &mut [f64], spacing: usize) {
    let (a, rest) = target.split_at_mut(spacing);
    let (b, rest) = rest.split_at_mut(spacing);
    let (c, d) = rest.split_at_mut(spacing);
    let [a, b, c, d] = [a, b, c, d].map(|column| column[..rows].as_chunks_mut::<SIDE>().0);
    for (square, (((a, b), c), d)) in a.iter_mut().zip(b).zip(c).zip(d).enumerate() {
        let from = &from[SIDE * square * stride..][..(SIDE - 1) * stride + SIDE];
        [*a, *b, *c, *d] =
            exchanged(token, [row(from), row(&from[stride..]), row(&from[2 * stride..]), row(&from[3 * stride..])]);
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn row(from: &[f64]) -> [f64; SIDE] {
    let from = &from[..SIDE];
    [from[0], from[1], from[2], from[3]]
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn exchanged(token: pulp::x86::V3, [a, b, c, d]: [[f64; SIDE]; SIDE]) -> [[f64; SIDE]; SIDE] {
    let avx = token.avx;
    let (a, b, c, d) = (pulp::cast(a), pulp::cast(b), pulp::cast(c), pulp::cast(d));
    let (even_ab, odd_ab) = (avx._mm256_unpacklo_pd(a, b), avx._mm256_unpackhi_pd(a, b));
    let (even_cd, odd_cd) = (avx._mm256_unpacklo_pd(c, d), avx._mm256_unpackhi_pd(c, d));
    [
        pulp::cast(avx._mm256_permute2f128_pd::<0x20>(even_ab, even_cd)),
        pulp::cast(avx._mm256_permute2f128_pd::<0x20>(odd_ab, odd_cd)),
        pulp::cast(avx._mm256_permute2f128_pd::<0x31>(even_ab, even_cd)),
        pulp::cast(avx._mm256_permute2f128_pd::<0x31>(odd_ab, odd_cd)),
    ]
}

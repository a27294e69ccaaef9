//! The inner loops over factors that lie row by row: tokens, and what queries read.

use pulp::{Simd, WithSimd};

use super::kernel::{PANEL, Row, SINGLES, TILE, Tile, VECTORS};
use super::real::Pair;

/// `tile[j][i] += Σ_k left[k][i] · right[j][k]`: [`multiply`](super::kernel::multiply) with a right factor that is stored row by row.
///
/// Of a panel of fewer than 24 outer indices only the vectors that hold the first `width` are computed.
pub(crate) fn multiply_rows(left: &[Row], right: [&[f64]; TILE], width: usize, tile: &mut Tile) {
    pulp::Arch::new().dispatch(MultiplyRows { left, right, width, tile });
}

/// [`multiply_rows`] of singles.
pub(crate) fn multiply_rows_singles(
    left: &[[f32; SINGLES]],
    right: [&[f32]; TILE],
    width: usize,
    tile: &mut [[f32; SINGLES]; TILE],
) {
    pulp::Arch::new().dispatch(MultiplyRowsSingles { left, right, width, tile });
}

/// Products of a panel with rows, for one to three vectors of the left factor.
macro_rules! rows {
    ($name:ident, $number:ty, $row:ty, $vectors:ident, $vectors_mut:ident, $splat:ident, $mul_add:ident,
        [$($x:ident $v:literal),*], $($c:literal $y:ident [$($s:ident $of:ident $t:literal),*]),*) => {
        #[inline(always)]
        fn $name<S: Simd>(simd: S, left: &[$row], right: &[&[$number]], first: usize, tile: &mut [$row]) {
            let depth = left.len();
            $(
                let $y = &right[$c][..depth];
                let row = S::$vectors(&tile[$c]).0;
                $(let mut $s = row[first + $t];)*
            )*
            for k in 0..depth {
                let row = S::$vectors(&left[k]).0;
                $(let $x = row[first + $v];)*
                $(
                    let y = simd.$splat($y[k]);
                    $($s = simd.$mul_add($of, y, $s);)*
                )*
            }
            $(
                let row = S::$vectors_mut(&mut tile[$c]).0;
                $(row[first + $t] = $s;)*
            )*
        }
    };
}

/// Names for the sums of eight or four rows, by vectors.
macro_rules! of_rows {
    ($rows:ident, $eight:ident, $four:ident, $eight_of_two:ident, $eight_of_one:ident, $($kind:tt)*) => {
        $rows!($eight, $($kind)*, [x0 0, x1 1, x2 2],
            0 r0 [a0 x0 0, a1 x1 1, a2 x2 2], 1 r1 [b0 x0 0, b1 x1 1, b2 x2 2], 2 r2 [c0 x0 0, c1 x1 1, c2 x2 2], 3 r3 [d0 x0 0, d1 x1 1, d2 x2 2],
            4 r4 [e0 x0 0, e1 x1 1, e2 x2 2], 5 r5 [f0 x0 0, f1 x1 1, f2 x2 2], 6 r6 [g0 x0 0, g1 x1 1, g2 x2 2], 7 r7 [h0 x0 0, h1 x1 1, h2 x2 2]);
        $rows!($four, $($kind)*, [x0 0, x1 1, x2 2],
            0 r0 [a0 x0 0, a1 x1 1, a2 x2 2], 1 r1 [b0 x0 0, b1 x1 1, b2 x2 2], 2 r2 [c0 x0 0, c1 x1 1, c2 x2 2], 3 r3 [d0 x0 0, d1 x1 1, d2 x2 2]);
        $rows!($eight_of_two, $($kind)*, [x0 0, x1 1],
            0 r0 [a0 x0 0, a1 x1 1], 1 r1 [b0 x0 0, b1 x1 1], 2 r2 [c0 x0 0, c1 x1 1], 3 r3 [d0 x0 0, d1 x1 1],
            4 r4 [e0 x0 0, e1 x1 1], 5 r5 [f0 x0 0, f1 x1 1], 6 r6 [g0 x0 0, g1 x1 1], 7 r7 [h0 x0 0, h1 x1 1]);
        $rows!($eight_of_one, $($kind)*, [x0 0],
            0 r0 [a0 x0 0], 1 r1 [b0 x0 0], 2 r2 [c0 x0 0], 3 r3 [d0 x0 0], 4 r4 [e0 x0 0], 5 r5 [f0 x0 0], 6 r6 [g0 x0 0], 7 r7 [h0 x0 0]);
    };
}

of_rows!(
    rows,
    eight_rows,
    four_rows,
    eight_rows_of_two,
    eight_rows_of_one,
    f64,
    Row,
    as_simd_f64s,
    as_mut_simd_f64s,
    splat_f64s,
    mul_add_f64s
);
of_rows!(
    rows,
    eight_rows_singles,
    four_rows_singles,
    eight_rows_of_two_singles,
    eight_rows_of_one_singles,
    f32,
    [f32; SINGLES],
    as_simd_f32s,
    as_mut_simd_f32s,
    splat_f32s,
    mul_add_f32s
);

/// The two products of panels with rows.
macro_rules! multiply_rows {
    ($name:ident, $number:ty, $row:ty, $panel:expr, $lanes:ident, $wide:literal, $three:ident, $two:ident, $one:ident,
        $four:ident) => {
        pub(super) struct $name<'a> {
            pub(super) left: &'a [$row],
            pub(super) right: [&'a [$number]; TILE],
            pub(super) width: usize,
            pub(super) tile: &'a mut [$row; TILE],
        }

        impl WithSimd for $name<'_> {
            type Output = ();

            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) {
                let Self { left, right, width, tile } = self;
                let wanted = width.div_ceil(S::$lanes);
                for first in (0..$panel / S::$lanes).step_by(VECTORS).take_while(|first| *first < wanted) {
                    if S::$lanes == $wide {
                        match wanted - first {
                            1 => $one(simd, left, &right, first, tile),
                            2 => $two(simd, left, &right, first, tile),
                            _ => $three(simd, left, &right, first, tile),
                        }
                    } else {
                        let (lower, upper) = tile.split_at_mut(TILE / 2);
                        $four(simd, left, &right[..TILE / 2], first, lower);
                        $four(simd, left, &right[TILE / 2..], first, upper);
                    }
                }
            }
        }
    };
}

multiply_rows!(
    MultiplyRows,
    f64,
    Row,
    PANEL,
    F64_LANES,
    8,
    eight_rows,
    eight_rows_of_two,
    eight_rows_of_one,
    four_rows
);
multiply_rows!(
    MultiplyRowsSingles,
    f32,
    [f32; SINGLES],
    SINGLES,
    F32_LANES,
    16,
    eight_rows_singles,
    eight_rows_of_two_singles,
    eight_rows_of_one_singles,
    four_rows_singles
);

/// Rows times a few columns: one chain for each lane of a panel, and a tree over the lanes.
macro_rules! read {
    ($function:ident, $name:ident, $number:ty, $row:ty, $panel:expr, $lanes:ident, $vectors:ident, $vectors_mut:ident,
        $splat:ident, $mul_add:ident) => {
        /// `target[k · count + j] = Σ rows[k] · columns[j]` over the entries of all panels.
        pub(crate) fn $function(panels: &[Pair<'_, $row>], count: usize, target: &mut [$number]) {
            pulp::Arch::new().dispatch($name { panels, count, target });
        }

        pub(super) struct $name<'a> {
            pub(super) panels: &'a [Pair<'a, $row>],
            pub(super) count: usize,
            pub(super) target: &'a mut [$number],
        }

        impl WithSimd for $name<'_> {
            type Output = ();

            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) {
                for (at, target) in self.target.iter_mut().enumerate() {
                    let (k, j) = (at / self.count, at % self.count);
                    let mut lanes: $row = [0.0; $panel];
                    for first in (0..$panel / S::$lanes).step_by(VECTORS) {
                        let (mut a, mut b, mut c) = (simd.$splat(0.0), simd.$splat(0.0), simd.$splat(0.0));
                        for Pair { rows, columns } in self.panels {
                            let (x, y) = (S::$vectors(&rows[k]).0, S::$vectors(&columns[j]).0);
                            a = simd.$mul_add(x[first], y[first], a);
                            b = simd.$mul_add(x[first + 1], y[first + 1], b);
                            c = simd.$mul_add(x[first + 2], y[first + 2], c);
                        }
                        let lanes = S::$vectors_mut(&mut lanes).0;
                        (lanes[first], lanes[first + 1], lanes[first + 2]) = (a, b, c);
                    }
                    let mut width = $panel;
                    while width % 2 == 0 {
                        width /= 2;
                        let (low, high) = lanes.split_at_mut(width);
                        low.iter_mut().zip(high).for_each(|(x, y)| *x += *y);
                    }
                    *target = lanes[..width].iter().sum();
                }
            }
        }
    };
}

read!(read, Read, f64, Row, PANEL, F64_LANES, as_simd_f64s, as_mut_simd_f64s, splat_f64s, mul_add_f64s);
read!(
    read_singles,
    ReadSingles,
    f32,
    [f32; SINGLES],
    SINGLES,
    F32_LANES,
    as_simd_f32s,
    as_mut_simd_f32s,
    splat_f32s,
    mul_add_f32s
);

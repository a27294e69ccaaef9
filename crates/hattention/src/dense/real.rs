//! The two kinds of numbers that attention is computed in, and their tile of products.

use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

use super::by_rows;
use super::kernel::{self, TILE};

/// Doubles and singles.
///
/// The kernels behind it are the library's own, so it cannot be implemented for other types.
pub trait Real:
    Kernel
    + Copy
    + Default
    + Debug
    + PartialEq
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// Distance of the number after one from one.
    const EPSILON: f64;
    /// Its name, as in Rust.
    const NAME: &'static str;

    /// The nearest number of this kind.
    fn from_f64(x: f64) -> Self;
    /// The number as a double, exactly.
    fn to_f64(self) -> f64;
    /// `self · factor + addend`, rounded once.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// Whether it is neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// `eˣ`.
    fn exp(self) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// The size.
    fn abs(self) -> Self;
}

/// Products of panels: as many outer indices of the left factor as three of the widest vectors hold, eight of the right.
pub trait Kernel: Sized + 'static {
    /// One inner index of a panel.
    type Row: Copy + Debug + Send + Sync + AsRef<[Self]> + AsMut<[Self]>;
    /// Outer indices of a panel.
    const PANEL: usize;
    /// A row of zeros.
    const ZERO_ROW: Self::Row;

    /// `tile[j][i] += Σ_k left[k][i] · right[k][8 part + j]`, each a chain over k.
    fn multiply(left: &[Self::Row], right: &[Self::Row], part: usize, tile: &mut [Self::Row; TILE]);

    /// `tile[j][i] += Σ_k left[k][i] · right[j][k]` for the first `width` outer indices of the panel (others may be left
    /// out), each a chain over k; rows are at least as long as the panel is deep.
    fn multiply_rows(left: &[Self::Row], right: [&[Self]; TILE], width: usize, tile: &mut [Self::Row; TILE]);

    /// `target[k · count + j] = Σ rows[k] · columns[j]` over the entries of all panels.
    fn read(panels: &[Pair<'_, Self::Row>], count: usize, target: &mut [Self]);
}

/// A panel of rows, and one of the columns they are multiplied by.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a, Row> {
    /// The rows.
    pub(crate) rows: &'a [Row],
    /// The columns.
    pub(crate) columns: &'a [Row],
}

macro_rules! real {
    ($number:ident, $panel:literal, $multiply:path, $multiply_rows:path, $read:path) => {
        impl Real for $number {
            const EPSILON: f64 = $number::EPSILON as f64;
            const NAME: &'static str = stringify!($number);

            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $number
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                $number::mul_add(self, factor, addend)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                $number::is_finite(self)
            }
            #[inline(always)]
            fn exp(self) -> Self {
                libm_exp::$number(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $number::sqrt(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $number::abs(self)
            }
        }

        impl Kernel for $number {
            type Row = [$number; $panel];
            const PANEL: usize = $panel;
            const ZERO_ROW: Self::Row = [0.0; $panel];

            fn multiply(left: &[Self::Row], right: &[Self::Row], part: usize, tile: &mut [Self::Row; TILE]) {
                $multiply(left, right, part, tile);
            }

            fn multiply_rows(left: &[Self::Row], right: [&[Self]; TILE], width: usize, tile: &mut [Self::Row; TILE]) {
                $multiply_rows(left, right, width, tile);
            }

            fn read(panels: &[Pair<'_, Self::Row>], count: usize, target: &mut [Self]) {
                $read(panels, count, target);
            }
        }
    };
}

real!(f64, 24, kernel::multiply, by_rows::multiply_rows, by_rows::read);
real!(f32, 48, kernel::multiply_singles, by_rows::multiply_rows_singles, by_rows::read_singles);

/// The exponential that is the same on every machine.
mod libm_exp {
    pub(super) fn f64(x: f64) -> f64 {
        libm::exp(x)
    }
    pub(super) fn f32(x: f32) -> f32 {
        libm::expf(x)
    }
}

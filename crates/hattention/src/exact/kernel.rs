//! Gram matrices of planes: `Σᵢ aᵢ bᵢ` of integers below 2⁵², exactly.
//!
//! Three kernels give the same numbers: AVX-512 with integer multiply-add (IFMA), fused multiply-add in doubles of any
//! width (AVX-512, AVX2), and plain 128-bit integers, which the other two are tested against.

use pulp::{Simd, WithSimd};

/// Rows a plane holds: 512 keep a tile of seven planes in the first-level cache.
pub(crate) const PLANE_ROWS: usize = 512;
/// The bits of a plane.
pub(crate) const PLANE_BITS: u32 = 52;

/// Left planes of a tile.
const TILE_ROWS: usize = 3;
/// Right planes of a tile.
const TILE_COLUMNS: usize = 4;
/// Right planes kept in the second-level cache while all left planes pass by.
const PANEL: usize = 96;

#[cfg(target_arch = "x86_64")]
pulp::simd_type! {
    pub(crate) struct Ifma {
        avx512f: "avx512f",
        avx512vl: "avx512vl",
        avx512dq: "avx512dq",
        avx512bw: "avx512bw",
        avx512ifma: "avx512ifma",
    }
}

/// Which arithmetic multiplies planes. All give the same bits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kernel {
    /// 52-bit integer multiply-add, eight lanes.
    #[cfg(target_arch = "x86_64")]
    Ifma(Ifma),
    /// Fused multiply-add in doubles, as wide as the machine has.
    Fused(pulp::Arch),
    /// 128-bit integers.
    Portable,
}

impl Kernel {
    /// The fastest on this machine.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(token) = Ifma::try_new() {
                return Self::Ifma(token);
            }
            match pulp::Arch::new() {
                pulp::Arch::Scalar => {}
                wide => return Self::Fused(wide),
            }
        }
        Self::Portable
    }

    /// Every kernel this machine can run, the reference last.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            kernels.extend(Ifma::try_new().map(Self::Ifma));
            kernels.push(Self::Fused(pulp::Arch::new()));
            kernels.extend(pulp::x86::V3::try_new().map(|v3| Self::Fused(pulp::Arch::V3(v3))));
        }
        kernels.push(Self::Portable);
        kernels
    }
}

/// Rows of a plane, aligned for vectors: `[PLANE_ROWS / 8][8]`.
pub(crate) type Plane = [[u64; 8]; PLANE_ROWS / 8];

/// A plane of zeros, for padding tiles.
pub(crate) const ZERO_PLANE: Plane = [[0; 8]; PLANE_ROWS / 8];

/// `sums[i · right.len() + j] += Σ_r left[i][r] · right[j][r]` for all `j ≥ first_right[i]` (and some before).
///
/// `left_bits` and `right_bits` bound the entries: a tile whose products stay under 52 bits needs half the arithmetic.
/// `first_right` must not decrease.
pub(crate) fn gram(
    kernel: Kernel,
    left: &[Plane],
    left_bits: &[u32],
    right: &[Plane],
    right_bits: &[u32],
    first_right: &[usize],
    sums: &mut [u128],
) {
    for panel in (0..right.len()).step_by(PANEL) {
        let panel_end = (panel + PANEL).min(right.len());
        for i in (0..left.len()).step_by(TILE_ROWS) {
            let start = panel.max(first_right[i] / TILE_COLUMNS * TILE_COLUMNS);
            for j in (start..panel_end).step_by(TILE_COLUMNS) {
                let rows = TILE_ROWS.min(left.len() - i);
                let columns = TILE_COLUMNS.min(panel_end - j);
                let widest = |bits: &[u32]| bits.iter().copied().max().unwrap_or(0);
                let narrow = widest(&left_bits[i..i + rows]) + widest(&right_bits[j..j + columns]) <= PLANE_BITS;
                let a: [&Plane; TILE_ROWS] = std::array::from_fn(|r| left.get(i + r).unwrap_or(&ZERO_PLANE));
                let b: [&Plane; TILE_COLUMNS] =
                    std::array::from_fn(|c| if c < columns { &right[j + c] } else { &ZERO_PLANE });
                let tile = multiply_tile(kernel, a, b, narrow);
                for r in 0..rows {
                    for c in 0..columns {
                        sums[(i + r) * right.len() + j + c] += tile[r][c];
                    }
                }
            }
        }
    }
}

type Tile = [[u128; TILE_COLUMNS]; TILE_ROWS];

fn multiply_tile(kernel: Kernel, a: [&Plane; TILE_ROWS], b: [&Plane; TILE_COLUMNS], narrow: bool) -> Tile {
    match kernel {
        #[cfg(target_arch = "x86_64")]
        Kernel::Ifma(token) => {
            if narrow {
                token.vectorize(IfmaTile::<false> { token, a, b })
            } else {
                token.vectorize(IfmaTile::<true> { token, a, b })
            }
        }
        Kernel::Fused(arch) => arch.dispatch(FusedTile { a, b }),
        Kernel::Portable => portable_tile(a, b),
    }
}

fn portable_tile(a: [&Plane; TILE_ROWS], b: [&Plane; TILE_COLUMNS]) -> Tile {
    let mut tile = [[0u128; TILE_COLUMNS]; TILE_ROWS];
    for (sums, a) in tile.iter_mut().zip(a) {
        for (sum, b) in sums.iter_mut().zip(b) {
            for (x, y) in a.as_flattened().iter().zip(b.as_flattened()) {
                *sum += *x as u128 * *y as u128;
            }
        }
    }
    tile
}

#[cfg(target_arch = "x86_64")]
struct IfmaTile<'a, const HIGH: bool> {
    token: Ifma,
    a: [&'a Plane; TILE_ROWS],
    b: [&'a Plane; TILE_COLUMNS],
}

#[cfg(target_arch = "x86_64")]
impl<const HIGH: bool> pulp::NullaryFnOnce for IfmaTile<'_, HIGH> {
    type Output = Tile;

    #[inline(always)]
    fn call(self) -> Tile {
        let ifma = self.token.avx512ifma;
        let load = |plane: &Plane, k: usize| -> Lanes { pulp::cast(plane[k]) };
        let zero: Lanes = pulp::cast([0u64; 8]);
        let ([a0, a1, a2], [b0, b1, b2, b3]) = (self.a, self.b);
        // Named one by one: as arrays the sums would live in memory, not in registers.
        macro_rules! multiply {
            ($($low:ident $high:ident $a:tt $b:tt),*) => {{
                $(let (mut $low, mut $high) = (zero, zero);)*
                for k in 0..PLANE_ROWS / 8 {
                    let (x0, x1, x2) = (load(a0, k), load(a1, k), load(a2, k));
                    let (y0, y1, y2, y3) = (load(b0, k), load(b1, k), load(b2, k), load(b3, k));
                    let (x, y) = ((x0, x1, x2), (y0, y1, y2, y3));
                    $(
                        $low = ifma._mm512_madd52lo_epu64($low, x.$a, y.$b);
                        if HIGH {
                            $high = ifma._mm512_madd52hi_epu64($high, x.$a, y.$b);
                        }
                    )*
                }
                [$(gather::<HIGH>($low, $high)),*]
            }};
        }
        let flat = multiply!(
            l00 h00 0 0, l01 h01 0 1, l02 h02 0 2, l03 h03 0 3,
            l10 h10 1 0, l11 h11 1 1, l12 h12 1 2, l13 h13 1 3,
            l20 h20 2 0, l21 h21 2 1, l22 h22 2 2, l23 h23 2 3
        );
        std::array::from_fn(|r| std::array::from_fn(|c| flat[TILE_COLUMNS * r + c]))
    }
}

#[cfg(target_arch = "x86_64")]
type Lanes = std::arch::x86_64::__m512i;

/// Adds up the lanes: each gathered 64 terms under 2⁵², so eight of them still fit 64 bits.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn gather<const HIGH: bool>(low: Lanes, high: Lanes) -> u128 {
    let add = |lanes: Lanes| pulp::cast::<_, [u64; 8]>(lanes).iter().sum::<u64>() as u128;
    add(low) + if HIGH { add(high) << PLANE_BITS } else { 0 }
}

struct FusedTile<'a> {
    a: [&'a Plane; TILE_ROWS],
    b: [&'a Plane; TILE_COLUMNS],
}

/// 2¹⁰⁴: adding it rounds a product to a multiple of 2⁵², whose multiple then stands in the low bits of the sum.
const ROUND_HIGH: f64 = 20_282_409_603_651_670_423_947_251_286_016.0;
/// 1.5 · 2⁵²: adding it makes the low bits of a double a signed integer.
const ROUND_LOW: f64 = 6_755_399_441_055_744.0;
/// 2⁵²: its bits, or-ed to an integer below 2⁵², make the double `2⁵² + integer`.
const MAGIC: f64 = 4_503_599_627_370_496.0;

impl WithSimd for FusedTile<'_> {
    type Output = Tile;

    /// `a·b = h·2⁵² + l` with `h = round(ab / 2⁵²)`: both parts are exact, and are summed as integers through the bit
    /// patterns of `2¹⁰⁴ + h·2⁵²` and `1.5·2⁵² + l`, whose constant offsets are taken off once at the end.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Tile {
        let lanes = S::F64_LANES;
        let magic_bits = simd.splat_u64s(MAGIC.to_bits());
        let magic = simd.splat_f64s(MAGIC);
        let (round_high, round_low) = (simd.splat_f64s(ROUND_HIGH), simd.splat_f64s(ROUND_LOW));
        let mut tile = [[0u128; TILE_COLUMNS]; TILE_ROWS];
        for r in 0..TILE_ROWS {
            let left = S::as_simd_u64s(self.a[r].as_flattened()).0;
            let right: [_; TILE_COLUMNS] = std::array::from_fn(|c| S::as_simd_u64s(self.b[c].as_flattened()).0);
            let mut low = [simd.splat_u64s(0); TILE_COLUMNS];
            let mut high = [simd.splat_u64s(0); TILE_COLUMNS];
            let double =
                |bits| simd.sub_f64s(pulp::bytemuck::cast::<S::u64s, S::f64s>(simd.or_u64s(bits, magic_bits)), magic);
            for (k, &x) in left.iter().enumerate() {
                let x = double(x);
                for c in 0..TILE_COLUMNS {
                    let y = double(right[c][k]);
                    let rounded = simd.mul_add_f64s(x, y, round_high);
                    let offset = simd.sub_f64s(round_low, simd.sub_f64s(rounded, round_high));
                    let rest = simd.mul_add_f64s(x, y, offset);
                    high[c] = simd.add_u64s(high[c], pulp::bytemuck::cast::<S::f64s, S::u64s>(rounded));
                    low[c] = simd.add_u64s(low[c], pulp::bytemuck::cast::<S::f64s, S::u64s>(rest));
                }
            }
            let steps = (PLANE_ROWS / lanes) as u64;
            for c in 0..TILE_COLUMNS {
                for lane in pulp::bytemuck::cast_slice::<S::u64s, u64>(&[high[c]]) {
                    let sum = lane.wrapping_sub(steps.wrapping_mul(ROUND_HIGH.to_bits()));
                    tile[r][c] = tile[r][c].wrapping_add((sum as u128) << PLANE_BITS);
                }
                for lane in pulp::bytemuck::cast_slice::<S::u64s, u64>(&[low[c]]) {
                    let sum = lane.wrapping_sub(steps.wrapping_mul(ROUND_LOW.to_bits())) as i64;
                    tile[r][c] = tile[r][c].wrapping_add(sum as i128 as u128);
                }
            }
        }
        tile
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator (Marsaglia's xorshift) so that planes hold every bit pattern.
    fn planes(count: usize, bits: u32, mut state: u64) -> Vec<Plane> {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state >> (64 - bits)
        };
        (0..count).map(|_| std::array::from_fn(|_| std::array::from_fn(|_| next()))).collect()
    }

    #[test]
    fn every_kernel_gives_the_portable_sums() {
        for (left_count, right_count, bits) in [(1, 1, 52), (7, 7, 52), (5, 101, 52), (4, 9, 26), (3, 4, 1)] {
            let (left, mut right) = (planes(left_count, bits, 1), planes(right_count, bits, 2));
            right[0] = [[(1 << bits) - 1; 8]; PLANE_ROWS / 8];
            let sums: Vec<Vec<u128>> = Kernel::all()
                .into_iter()
                .map(|kernel| {
                    let mut sums = vec![0; left_count * right_count];
                    let (l, r) = (vec![bits; left_count], vec![bits; right_count]);
                    gram(kernel, &left, &l, &right, &r, &vec![0; left_count], &mut sums);
                    sums
                })
                .collect();
            for other in &sums[..sums.len() - 1] {
                assert_eq!(other, &sums[sums.len() - 1]);
            }
        }
    }
}

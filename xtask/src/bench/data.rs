//! Normal data from a fixed seed, in memory and as raw files that the peers read.

use std::io::Write;
use std::path::Path;

use rayon::prelude::*;

const SEED: u64 = 0x1805_1809_1886_1901;

/// A linear model with intercept 1, slopes between 0.5 and 1.5 in size, and unit noise.
pub(crate) struct Data {
    pub(crate) rows: usize,
    /// Shape: `[columns][rows]`.
    pub(crate) x: Vec<Vec<f64>>,
    /// Shape: `[rows]`.
    pub(crate) y: Vec<f64>,
}

impl Data {
    pub(crate) fn new(rows: usize, columns: usize) -> Self {
        let stream = |column: usize| normals(rows, SEED ^ ((column as u64 + 1) << 32));
        let x: Vec<Vec<f64>> = (0..columns).into_par_iter().map(stream).collect();
        let slopes: Vec<f64> =
            (0..columns).map(|j| (0.5 + j as f64 / columns as f64) * if j % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let mut y = stream(columns);
        for (column, slope) in x.iter().zip(&slopes) {
            y.iter_mut().zip(column).for_each(|(y, x)| *y += slope * x);
        }
        y.iter_mut().for_each(|y| *y += 1.0);
        Self { rows, x, y }
    }

    /// `x.f64` (one column after the other) and `y.f64`, little-endian.
    pub(crate) fn write(&self, folder: &Path) -> std::io::Result<()> {
        write(&folder.join("x.f64"), &self.x)?;
        write(&folder.join("y.f64"), std::slice::from_ref(&self.y))
    }
}

fn write(path: &Path, columns: &[Vec<f64>]) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
    for value in columns.iter().flatten() {
        file.write_all(&value.to_le_bytes())?;
    }
    file.flush()
}

/// Standard normals: SplitMix64 (Steele, Lea and Flood 2014) through Box and Muller's transformation.
fn normals(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut uniform = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 * (-53f64).exp2()
    };
    (0..count).map(|_| (-2.0 * (1.0 - uniform()).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()).collect()
}

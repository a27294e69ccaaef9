//! Numbers for tests: as good as random, and the same everywhere.

/// In `[0, 1)`.
pub(crate) fn wave(rows: usize, seed: f64) -> Vec<f64> {
    (0..rows).map(|i| ((i as f64 + seed) * 12.9898).sin() * 43_758.545_3).map(|x| x - x.floor()).collect()
}

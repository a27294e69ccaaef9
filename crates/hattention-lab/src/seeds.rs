//! Streams of random numbers that depend on names only: experiment, unit, purpose, replicate.

use rand::SeedableRng;

/// The generator of every experiment: ChaCha with 8 rounds, the same on every machine.
pub type Generator = rand::rngs::ChaCha8Rng;

/// The seed of a replicate: a hash of its names, the same on every machine and in every version of Rust.
///
/// # Numerics
/// FNV-1a over the names, separated by zero bytes, and the replicate; then the finaliser of SplitMix64.
///
/// # Example
/// ```
/// use hattention_lab::seeds::seed;
/// assert_eq!(seed("e", "u", "s", 0), seed("e", "u", "s", 0));
/// assert_ne!(seed("e", "u", "s", 0), seed("e", "u", "s", 1));
/// assert_ne!(seed("ab", "c", "s", 0), seed("a", "bc", "s", 0));
/// ```
pub fn seed(experiment: &str, unit: &str, purpose: &str, replicate: usize) -> u64 {
    let names = [experiment, unit, purpose].into_iter().flat_map(|name| name.bytes().chain([0]));
    let hash = hash(names.chain((replicate as u64).to_le_bytes()));
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// FNV-1a: tells bytes from others, where nobody means harm.
pub(crate) fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let step = |h: u64, byte: u8| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// The generator of a replicate.
pub fn generator(experiment: &str, unit: &str, purpose: &str, replicate: usize) -> Generator {
    Generator::seed_from_u64(seed(experiment, unit, purpose, replicate))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value must never change: results that are committed depend on it.
    #[test]
    fn seeds_are_fixed() {
        assert_eq!(seed("hopfield-capacity", "unit", "patterns", 3), 9_471_413_657_365_476_386);
    }
}

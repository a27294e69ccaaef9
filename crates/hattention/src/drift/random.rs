//! A seeded generator: the same numbers everywhere.

/// SplitMix64: number `i` of seed `s` is a hash of `s + i`, so that streams of many seeds need one word each.
///
/// # References
/// Steele, Lea & Flood (2014).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Generator {
    state: u64,
}

/// A hash of one word that changes half of the bits whichever bit changes.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Generator {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)) }
    }

    /// Stream `number` of a seed.
    pub fn stream(seed: u64, number: u64) -> Self {
        Self::new(mix(seed.wrapping_mul(0xd129_0d3e_8af5_7a2b).wrapping_add(mix(number ^ 0x6a09_e667_f3bc_c909))))
    }

    /// 64 bits.
    #[inline(always)]
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// Whether a thing of probability `chances / outcomes` happens.
    #[inline(always)]
    pub fn happens(&mut self, chances: u64, outcomes: u64) -> bool {
        (((self.bits() as u128) * (outcomes as u128)) >> 64) < chances as u128
    }

    /// Uniform on (0, 1).
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) * 2f64.powi(-53)
    }

    /// Standard normal, by the polar method.
    pub fn normal(&mut self) -> f64 {
        loop {
            let (u, v) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let s = u * u + v * v;
            if s < 1.0 && s > 0.0 {
                return u * (-2.0 * s.ln() / s).sqrt();
            }
        }
    }

    /// `χ²` with `df > 0` degrees of freedom.
    ///
    /// # References
    /// Marsaglia & Tsang (2000).
    pub fn chi_square(&mut self, df: f64) -> f64 {
        let shape = df / 2.0;
        if shape < 1.0 {
            return self.chi_square(df + 2.0) * self.uniform().powf(1.0 / shape);
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.uniform().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return 2.0 * d * v;
            }
        }
    }

    /// Student's t with `df` degrees of freedom; infinite degrees are the normal law.
    pub fn student(&mut self, df: f64) -> f64 {
        let z = self.normal();
        if df.is_infinite() { z } else { z / (self.chi_square(df) / df).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_moments_of_their_laws() {
        let mut generator = Generator::new(7);
        let count = 200_000;
        let mut sums = [0.0; 4];
        for _ in 0..count {
            let (z, c, u) = (generator.normal(), generator.chi_square(5.0), generator.uniform());
            for (sum, x) in sums.iter_mut().zip([z * z, c, (c - 5.0).powi(2), u]) {
                *sum += x / count as f64;
            }
        }
        // Five standard errors: √(2/n), √(10/n), √((60·… )/n) from the fourth moment 3·100 + 12·40, √(1/12n).
        let error = |variance: f64| 5.0 * (variance / count as f64).sqrt();
        assert!((sums[0] - 1.0).abs() < error(2.0), "{sums:?}");
        assert!((sums[1] - 5.0).abs() < error(10.0), "{sums:?}");
        assert!((sums[2] - 10.0).abs() < error(680.0), "{sums:?}");
        assert!((sums[3] - 0.5).abs() < error(1.0 / 12.0), "{sums:?}");
    }

    #[test]
    fn chances_are_as_stated_and_streams_differ() {
        let mut generator = Generator::stream(1, 2);
        let hits = (0..100_000).filter(|_| generator.happens(3, 10)).count() as f64;
        // Five standard errors of a binomial count.
        assert!((hits - 30_000.0).abs() < 5.0 * (100_000.0f64 * 0.21).sqrt(), "{hits}");
        assert!((0..1000).all(|_| generator.happens(10, 10) && !generator.happens(0, 10)));
        assert_ne!(Generator::stream(1, 2).bits(), Generator::stream(2, 1).bits());
    }
}

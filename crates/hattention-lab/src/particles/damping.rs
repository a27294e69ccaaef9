//! How momenta are damped.

/// Damping `α(t) = constant + inverse/t + slope · t`, none of them negative.
///
/// `inverse = 3` is Nesterov's for convex energies; `constant = 2 √m` suits those of curvature m at least.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Damping {
    /// Damping at all times.
    pub constant: f64,
    /// The coefficient of `1/t`.
    pub inverse: f64,
    /// The coefficient of `t`.
    pub slope: f64,
}

impl Damping {
    /// The same at all times.
    pub fn constant(constant: f64) -> Self {
        Self { constant, ..Self::default() }
    }

    /// `c/t`.
    pub fn inverse(inverse: f64) -> Self {
        Self { inverse, ..Self::default() }
    }

    /// `α(t)`; infinite at zero where there is a part of `1/t`.
    pub fn at(self, t: f64) -> f64 {
        let inverse = if self.inverse > 0.0 { self.inverse / t } else { 0.0 };
        self.constant + inverse + self.slope * t
    }

    /// `η(b) − η(a) = ∫_a^b α`.
    pub fn between(self, a: f64, b: f64) -> f64 {
        let inverse = if self.inverse > 0.0 { self.inverse * (b / a).ln() } else { 0.0 };
        self.constant * (b - a) + inverse + 0.5 * self.slope * (b * b - a * a)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integrals_are_those_of_the_damping() {
        let damping = Damping { constant: 0.3, inverse: 3.0, slope: 0.2 };
        let steps = 100_000;
        let (a, b) = (0.5, 2.0);
        let width = (b - a) / steps as f64;
        let sum: f64 = (0..steps).map(|k| width * damping.at(a + (k as f64 + 0.5) * width)).sum();
        assert!((sum - damping.between(a, b)).abs() < 1e-8);
        assert_eq!(Damping::constant(0.0).between(0.0, 3.0), 0.0);
        assert_eq!(Damping::inverse(3.0).at(0.0), f64::INFINITY);
    }
}

//! An integrator for checks.

/// The state at time `end` of `du/dt = slope(t, u)` from `start`, by so many steps of the classical method of Runge and Kutta: errors of
/// the order of `(end − start)/steps` to the fourth power.
///
/// # Panics
/// If slopes are of another length than the state.
pub fn accurate(
    mut state: Vec<f64>,
    start: f64,
    end: f64,
    steps: usize,
    slope: impl Fn(f64, &[f64]) -> Vec<f64>,
) -> Vec<f64> {
    let width = (end - start) / steps as f64;
    let moved = |from: &[f64], by: f64, slope: &[f64]| -> Vec<f64> {
        assert_eq!(from.len(), slope.len(), "a slope for every number of the state");
        from.iter().zip(slope).map(|(u, s)| u + by * s).collect()
    };
    for step in 0..steps {
        let t = start + step as f64 * width;
        let first = slope(t, &state);
        let second = slope(t + 0.5 * width, &moved(&state, 0.5 * width, &first));
        let third = slope(t + 0.5 * width, &moved(&state, 0.5 * width, &second));
        let fourth = slope(t + width, &moved(&state, width, &third));
        for (k, u) in state.iter_mut().enumerate() {
            *u += width / 6.0 * (first[k] + 2.0 * second[k] + 2.0 * third[k] + fourth[k]);
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swing_comes_back() {
        let slope = |_: f64, u: &[f64]| vec![u[1], -u[0]];
        let after = |steps: usize| accurate(vec![1.0, 0.0], 0.0, std::f64::consts::TAU, steps, slope);
        let off = |steps: usize| (after(steps)[0] - 1.0).hypot(after(steps)[1]);
        assert!(off(2000) < 1e-11);
        let order = (off(50) / off(100)).log2();
        assert!((order - 4.0).abs() < 0.3, "{order}");
    }
}

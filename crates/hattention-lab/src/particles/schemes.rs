//! Steps of the accelerated flow, as blocks of a transformer take them.

use hattention::matrix::Matrix;

use super::algebra::{plus, scaled};
use super::{Damping, Flow};

/// How a step is taken: of width h from time t, with `Δη = ∫ α` over it, `σ = e^(−Δη)`, drift F and force G.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Attention as it is, without momenta: `X + h velocity(X)`.
    Plain,
    /// `X + h F(X, Y)`, `Y + h (G(X, Y) − α(t) Y)`.
    Euler,
    /// Kick, then drift (presymplectic): `Y⁺ = σ (Y + h G(X, Y))`, `X + h F(X, Y⁺)`.
    KickDrift,
    /// `X + h F(X, Y)`, `σ Y + h φ(Δη) G`, `φ(z) = (1 − e^(−z))/z`.
    ExponentialEuler,
    /// `3/2` of the slope less `1/2` of the one before (Adams and Bashforth); the first step is Heun's.
    AdamsBashforth,
    /// The same for drift, and for the force under the damping taken exactly.
    ExponentialAdamsBashforth,
    /// Half of the damping, kick, drift, half of the damping.
    Strang,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Plain,
        Self::Euler,
        Self::KickDrift,
        Self::ExponentialEuler,
        Self::AdamsBashforth,
        Self::ExponentialAdamsBashforth,
        Self::Strang,
    ];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Euler => "Euler",
            Self::KickDrift => "kick–drift",
            Self::ExponentialEuler => "exponential Euler",
            Self::AdamsBashforth => "AB2",
            Self::ExponentialAdamsBashforth => "exponential AB2",
            Self::Strang => "Strang",
        }
    }
}

/// Particles on their way.
///
/// # Example
/// ```
/// use hattention::matrix::Matrix;
/// use hattention_lab::particles::{Damping, Integrator, Linear, Scheme};
/// let curvature = Matrix::from_fn(2, 2, |i, j| if i == j { -1.0 } else { 0.0 });
/// let flow = Linear::new(Matrix::identity(2), curvature).unwrap();
/// let x = Matrix::from_fn(10, 2, |i, j| ((i * (j + 2)) as f64).sin());
/// let mut way = Integrator::new(&flow, Scheme::KickDrift, Damping::inverse(3.0), x, 0.1);
/// let before = way.energy();
/// (0..100).for_each(|_| way.step(0.1));
/// assert!(way.energy() < 0.1 * before);
/// assert_eq!(way.calls(), 100);
/// ```
pub struct Integrator<'a, F: Flow> {
    flow: &'a F,
    scheme: Scheme,
    damping: Damping,
    time: f64,
    x: Matrix,
    y: Matrix,
    /// What attention sees of the particles here.
    seen: F::Seen,
    calls: usize,
    /// Drift and force of the step before.
    before: Option<(Matrix, Matrix)>,
}

impl<'a, F: Flow> Integrator<'a, F> {
    /// Particles at rest, at a time that is above zero where damping has a part of `1/t`.
    pub fn new(flow: &'a F, scheme: Scheme, damping: Damping, x: Matrix, time: f64) -> Self {
        let y = Matrix::zeros(x.rows, x.columns);
        let seen = flow.see(&x);
        Self { flow, scheme, damping, time, x, y, seen, calls: 0, before: None }
    }

    /// The particles.
    pub fn x(&self) -> &Matrix {
        &self.x
    }

    /// Their momenta.
    pub fn y(&self) -> &Matrix {
        &self.y
    }

    /// The time.
    pub fn time(&self) -> f64 {
        self.time
    }

    /// The energy E of the particles.
    pub fn energy(&self) -> f64 {
        self.flow.energy(&self.seen)
    }

    /// The Hamiltonian `K + E`.
    pub fn hamiltonian(&self) -> f64 {
        self.flow.hamiltonian(&self.seen, &self.y)
    }

    /// Damping from here on, where it does not depend on the time alone.
    pub fn damp(&mut self, damping: Damping) {
        self.damping = damping;
    }

    /// Oracle calls so far: how often attention looked at the particles to move them.
    pub fn calls(&self) -> usize {
        self.calls
    }

    /// Momenta, for a start that is not at rest, or one anew.
    pub fn push(&mut self, y: Matrix) {
        self.y = y;
        self.before = None;
    }

    /// Takes a step of some width.
    pub fn step(&mut self, h: f64) {
        let (flow, x, y, seen) = (self.flow, &self.x, &self.y, &self.seen);
        self.calls += 1;
        let eta = self.damping.between(self.time, self.time + h);
        let sigma = (-eta).exp();
        let (x, y) = match self.scheme {
            Scheme::Plain => (plus(x, h, &flow.velocity(seen)), y.clone()),
            Scheme::Euler => {
                let slope = plus(&flow.force(seen, y), -self.damping.at(self.time), y);
                (plus(x, h, &flow.drift(seen, y)), plus(y, h, &slope))
            }
            Scheme::KickDrift => {
                let kicked = scaled(&plus(y, h, &flow.force(seen, y)), sigma);
                (plus(x, h, &flow.drift(seen, &kicked)), kicked)
            }
            Scheme::ExponentialEuler => {
                let force = scaled(&flow.force(seen, y), h * first(eta));
                (plus(x, h, &flow.drift(seen, y)), plus(&force, sigma, y))
            }
            Scheme::AdamsBashforth | Scheme::ExponentialAdamsBashforth => self.two_steps(h, eta),
            Scheme::Strang => {
                let half = self.damping.between(self.time, self.time + 0.5 * h);
                let damped = scaled(y, (-half).exp());
                let kicked = plus(&damped, h, &flow.force(seen, &damped));
                (plus(x, h, &flow.drift(seen, &kicked)), scaled(&kicked, (half - eta).exp()))
            }
        };
        (self.x, self.y, self.time) = (x, y, self.time + h);
        flow.constrain(&mut self.x, &mut self.y);
        self.seen = flow.see(&self.x);
    }

    /// By the slopes of this step and the one before.
    fn two_steps(&mut self, h: f64, eta: f64) -> (Matrix, Matrix) {
        let (flow, x, y, seen) = (self.flow, &self.x, &self.y, &self.seen);
        let exponential = self.scheme == Scheme::ExponentialAdamsBashforth;
        let (drift, mut force) = (flow.drift(seen, y), flow.force(seen, y));
        if !exponential {
            force = plus(&force, -self.damping.at(self.time), y);
        }
        let Some((drift_before, force_before)) = self.before.replace((drift.clone(), force.clone())) else {
            // Heun: the mean of the slopes here and where Euler's step leads.
            let (mut ahead, mut pushed) = (plus(x, h, &drift), plus(y, h, &force));
            if exponential {
                pushed = plus(&scaled(&force, h * first(eta)), (-eta).exp(), y);
            }
            flow.constrain(&mut ahead, &mut pushed);
            let there = flow.see(&ahead);
            self.calls += 1;
            let drift = plus(&drift, 1.0, &flow.drift(&there, &pushed));
            let mut further = flow.force(&there, &pushed);
            let y = if exponential {
                let change = plus(&further, -1.0, &force);
                let kicked = plus(&scaled(&force, h * first(eta)), h * second(eta), &change);
                plus(&kicked, (-eta).exp(), y)
            } else {
                further = plus(&further, -self.damping.at(self.time + h), &pushed);
                plus(y, 0.5 * h, &plus(&force, 1.0, &further))
            };
            return (plus(x, 0.5 * h, &drift), y);
        };
        let two = |now: &Matrix, before: &Matrix| plus(&scaled(now, 1.5), -0.5, before);
        let ahead = plus(x, h, &two(&drift, &drift_before));
        if !exponential {
            return (ahead, plus(y, h, &two(&force, &force_before)));
        }
        let change = plus(&force, -1.0, &force_before);
        let kicked = plus(&scaled(&force, h * first(eta)), h * second(eta), &change);
        (ahead, plus(&kicked, (-eta).exp(), y))
    }
}

/// `∫_0^1 e^(−z (1 − s)) ds`.
fn first(z: f64) -> f64 {
    if z.abs() < 1e-5 { 1.0 - 0.5 * z + z * z / 6.0 } else { -(-z).exp_m1() / z }
}

/// `∫_0^1 e^(−z (1 − s)) s ds`.
fn second(z: f64) -> f64 {
    if z.abs() < 1e-3 { 0.5 - z / 6.0 + z * z / 24.0 - z * z * z / 120.0 } else { (1.0 - first(z)) / z }
}

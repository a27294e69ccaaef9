//! The normal equations of several effects, `(DᵀWD) a = DᵀWx`, and their solution by preconditioned conjugate gradients.

use super::laplacian::Factor;
use super::state::EffectMoments;
use crate::double_double::DoubleDouble;
use crate::exact::float::Float;
use crate::exact::within::LevelSums;

/// The reduction that one run of conjugate gradients aims at; doubles have room for it.
pub(super) const REDUCTION: f64 = 1e-10;

/// Levels of all effects as one list, and the matrix `DᵀWD` over them.
pub(super) struct System {
    /// Where each effect's levels begin in the list, and its length at the end.
    pub(super) starts: Vec<usize>,
    /// For every effect, the place of a code in the list; `ABSENT` for levels without weight.
    pub(super) places: Vec<Vec<u32>>,
    /// `Σ w` of every level, as it is and times `2^scale`.
    exact_diagonal: Vec<Float<4>>,
    diagonal: Vec<DoubleDouble>,
    /// Every two levels that meet, and the weight of the rows where they do: as a double, as a pair, as it is.
    edges: Vec<(u32, u32, f64)>,
    weights: Vec<DoubleDouble>,
    exact_weights: Vec<Float<4>>,
    /// What brings the largest weight near one: an even power of two.
    pub(super) scale: i64,
    /// For each pair of effects, its levels in the list and its factor.
    factors: Vec<([std::ops::Range<usize>; 2], Factor)>,
}

/// The place of a level that has no weight.
pub(super) const ABSENT: u32 = u32::MAX;

/// What a run of conjugate gradients found.
pub(super) struct Run {
    pub(super) solution: Vec<f64>,
    pub(super) steps: usize,
    /// `√(rᵀz)` for the right side `r` and the solution `z`: the length `‖Dz‖` of what it adds.
    pub(super) length: f64,
    /// Whether the residual fell as far as was asked for.
    pub(super) reached: bool,
}

/// The sum of a level in the precision asked for.
pub(super) fn read<const N: usize>(sums: &LevelSums, level: usize) -> Float<N> {
    sums.entry(level).map_or(Float::ZERO, |(words, exponent)| Float::from_wide(words, exponent as i64))
}

impl System {
    /// The system of a state; the factors' draws follow from the seed.
    pub(super) fn of(state: &EffectMoments, seed: u64) -> Self {
        let (mut starts, mut places, mut exact_diagonal) = (vec![0], Vec::new(), Vec::new());
        for effect in &state.effects {
            let mut of_code = vec![ABSENT; effect.sums[0].levels()];
            for level in effect.present() {
                of_code[level] = exact_diagonal.len() as u32;
                exact_diagonal.push(read::<4>(&effect.sums[0], level));
            }
            starts.push(exact_diagonal.len());
            places.push(of_code);
        }
        let largest = exact_diagonal.iter().map(Float::exponent).max().unwrap_or(0);
        let scale = -(largest - largest.rem_euclid(2));
        let diagonal = exact_diagonal.iter().map(|n| n.scale(scale).to_double_double()).collect();
        let mut system = Self {
            starts,
            places,
            exact_diagonal,
            diagonal,
            edges: Vec::new(),
            weights: Vec::new(),
            exact_weights: Vec::new(),
            scale,
            factors: Vec::new(),
        };
        let count = state.effects.len();
        let order = (0..count).flat_map(|first| (first + 1..count).map(move |second| (first, second)));
        for (pairs, (first, second)) in state.pairs.iter().zip(order) {
            let begin = system.edges.len();
            for ((a, b), place) in pairs.sorted() {
                let weight = read::<4>(&pairs.weights, place);
                if !weight.is_zero() {
                    let ends = (system.places[first][a as usize], system.places[second][b as usize]);
                    let scaled = weight.scale(scale).to_double_double();
                    system.edges.push((ends.0, ends.1, scaled.hi));
                    system.weights.push(scaled);
                    system.exact_weights.push(weight);
                }
            }
            system.add_factor(begin, first, second, seed);
        }
        system
    }

    fn add_factor(&mut self, begin: usize, first: usize, second: usize, seed: u64) {
        let ranges = [first, second].map(|effect| self.starts[effect]..self.starts[effect + 1]);
        let local = |place: u32, which: usize| {
            let before = if which == 0 { 0 } else { ranges[0].len() };
            (place as usize - ranges[which].start + before) as u32
        };
        let edges: Vec<(u32, u32, f64)> =
            self.edges[begin..].iter().map(|(a, b, weight)| (local(*a, 0), local(*b, 1), *weight)).collect();
        let vertices = ranges.iter().map(|range| range.len()).sum();
        self.factors.push((ranges, Factor::of(vertices, &edges, seed)));
    }

    /// Levels in all.
    pub(super) fn size(&self) -> usize {
        self.diagonal.len()
    }

    /// The parts that the first two effects fall into, their levels being joined by the rows they share.
    pub(super) fn parts(&self) -> usize {
        let mut parent: Vec<u32> = (0..self.size() as u32).collect();
        fn root(parent: &mut [u32], mut at: u32) -> u32 {
            while parent[at as usize] != at {
                parent[at as usize] = parent[parent[at as usize] as usize];
                at = parent[at as usize];
            }
            at
        }
        let both = self.starts[2.min(self.starts.len() - 1)] as u32;
        for (a, b, _) in self.edges.iter().filter(|(a, b, _)| *a < both && *b < both) {
            let (a, b) = (root(&mut parent, *a), root(&mut parent, *b));
            parent[a.max(b) as usize] = a.min(b);
        }
        (0..both).filter(|place| parent[*place as usize] == *place).count()
    }

    /// `DᵀWD a`.
    fn multiply(&self, a: &[f64]) -> Vec<f64> {
        let mut product: Vec<f64> = self.diagonal.iter().zip(a).map(|(n, a)| n.hi * a).collect();
        for (i, j, weight) in &self.edges {
            let (i, j) = (*i as usize, *j as usize);
            product[i] += weight * a[j];
            product[j] += weight * a[i];
        }
        product
    }

    /// `b − DᵀWD a` in 256 bits, of weights as they are.
    pub(super) fn exact_residual(&self, b: &[Float<4>], a: &[Float<4>]) -> Vec<Float<4>> {
        let own = b.iter().zip(self.exact_diagonal.iter().zip(a));
        let mut rest: Vec<Float<4>> = own.map(|(b, (n, a))| *b - *n * *a).collect();
        for ((i, j, _), weight) in self.edges.iter().zip(&self.exact_weights) {
            let (i, j) = (*i as usize, *j as usize);
            rest[i] = rest[i] - *weight * a[j];
            rest[j] = rest[j] - *weight * a[i];
        }
        rest
    }

    /// `b − DᵀWD a` in doubled arithmetic, of weights times `2^scale`.
    pub(super) fn residual(&self, b: &[DoubleDouble], a: &[DoubleDouble]) -> Vec<DoubleDouble> {
        let mut rest = vec![DoubleDouble::ZERO; b.len()];
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for ((r, b), (n, a)) in rest.iter_mut().zip(b).zip(self.diagonal.iter().zip(a)) {
                    *r = *b - *n * *a;
                }
                for ((i, j, _), weight) in self.edges.iter().zip(&self.weights) {
                    let (i, j) = (*i as usize, *j as usize);
                    rest[i] = rest[i] - *weight * a[j];
                    rest[j] = rest[j] - *weight * a[i];
                }
            },
        );
        rest
    }

    /// `P⁻¹ r`: the solutions for each pair of effects, added up with equal shares.
    fn precondition(&self, r: &[f64]) -> Vec<f64> {
        let share = 1.0 / (self.starts.len() as f64 - 2.0);
        let mut all = vec![0.0; r.len()];
        for ([left, right], factor) in &self.factors {
            // The sign of the second effect makes it a Laplacian.
            let turned = r[right.clone()].iter().map(|x| -x);
            let mut values: Vec<f64> = r[left.clone()].iter().copied().chain(turned).collect();
            factor.solve(&mut values);
            let (first, second) = values.split_at(left.len());
            all[left.clone()].iter_mut().zip(first).for_each(|(sum, x)| *sum += share * x);
            all[right.clone()].iter_mut().zip(second).for_each(|(sum, x)| *sum -= share * x);
        }
        all
    }

    /// Conjugate gradients for `DᵀWD z = r`, until the preconditioned residual has fallen by `reduction`, or so many
    /// steps are done, or doubles have no more to give.
    ///
    /// # References
    /// Golub & Van Loan, Matrix Computations, 11.5.
    pub(super) fn run(&self, r: &[f64], reduction: f64, steps: usize) -> Run {
        let right = r;
        let (mut z, mut r) = (vec![0.0; r.len()], r.to_vec());
        let mut y = self.precondition(&r);
        let mut direction = y.clone();
        let mut size = dot(&r, &y);
        let goal = size * reduction * reduction;
        let mut taken = 0;
        while size > goal && taken < steps {
            let image = self.multiply(&direction);
            let curvature = dot(&direction, &image);
            if !(curvature > 0.0 && curvature.is_finite()) {
                break;
            }
            let step = size / curvature;
            add(&mut z, step, &direction);
            add(&mut r, -step, &image);
            y = self.precondition(&r);
            let next = dot(&r, &y);
            taken += 1;
            if next.is_nan() || next <= 0.0 {
                // Nothing is left that doubles could tell.
                size = if next.is_nan() { size } else { 0.0 };
                break;
            }
            let ratio = next / size;
            size = next;
            direction.iter_mut().zip(&y).for_each(|(d, y)| *d = y + ratio * *d);
        }
        let length = dot(right, &z).max(0.0).sqrt();
        Run { solution: z, steps: taken, length, reached: size <= goal }
    }

    /// `√(rᵀP⁻¹r)`, about the length of what a residual leaves.
    pub(super) fn about(&self, r: &[f64]) -> f64 {
        dot(r, &self.precondition(r)).max(0.0).sqrt()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(sum: &mut [f64], factor: f64, values: &[f64]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * value);
}

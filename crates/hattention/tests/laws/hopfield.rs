//! Associative memories: exact overlaps, energies that never rise, patterns that are fixed points.

use hattention::Error;
use hattention::hopfield::{BinaryMemory, Patterns, Score, SoftmaxMemory, State, WhitenedMemory};

use crate::support::Source;
use crate::table::EPSILON;

const SCORES: [Score; 5] = [
    Score::Linear,
    Score::Polynomial { degree: 2 },
    Score::Polynomial { degree: 3 },
    Score::Polynomial { degree: 4 },
    Score::Exponential,
];
/// Around the ends of words.
const NEURONS: [usize; 7] = [1, 5, 63, 64, 65, 128, 200];

fn signs(source: &mut Source, count: usize) -> Vec<i8> {
    source.reals(count).iter().map(|x| if *x > 0.0 { 1 } else { -1 }).collect()
}

fn states(source: &mut Source, neurons: usize, count: usize) -> Vec<State> {
    (0..count).map(|_| State::from_signs(&signs(source, neurons)).unwrap()).collect()
}

fn plain_overlap(a: &State, b: &State) -> i64 {
    a.signs().iter().zip(b.signs()).map(|(a, b)| i64::from(*a) * i64::from(b)).sum()
}

/// `F(m)` in doubles: exact for these sizes, except the exponential.
fn plain_score(score: Score, m: i64) -> f64 {
    match score {
        Score::Linear => 0.5 * (m * m) as f64,
        Score::Polynomial { degree } => (m as f64).powi(degree as i32),
        Score::Exponential => (m as f64).exp(),
    }
}

#[test]
fn overlaps_are_exact() {
    let mut source = Source(5);
    for neurons in NEURONS {
        let rows = states(&mut source, neurons, 20);
        let patterns = Patterns::from_states(&rows).unwrap();
        for probe in &rows {
            let plain: Vec<i64> = rows.iter().map(|row| plain_overlap(row, probe)).collect();
            assert_eq!(patterns.overlaps(probe).unwrap(), plain);
        }
        assert_eq!(rows[0].overlap(&rows[0]), Some(neurons as i64));
        assert_eq!(patterns.get(3).as_ref(), Some(&rows[3]));
        assert_eq!(patterns.get(20), None);
        assert_eq!(patterns.first(7), Patterns::from_states(&rows[..7]).unwrap());
        assert_eq!(State::from_signs(&rows[1].signs()).unwrap(), rows[1]);
    }
}

/// The fast count against one term a pattern and neuron.
#[test]
fn support_is_the_energy_that_a_flip_costs() {
    let mut source = Source(6);
    for neurons in NEURONS {
        let rows = states(&mut source, neurons, 40);
        let patterns = Patterns::from_states(&rows).unwrap();
        for score in SCORES {
            let memory = BinaryMemory::new(patterns.clone(), score).unwrap();
            let probe = &states(&mut source, neurons, 1)[0];
            let largest = rows.iter().map(|row| plain_overlap(row, probe)).max().unwrap();
            for (i, found) in memory.support(probe).unwrap().into_iter().enumerate() {
                let mut flipped = probe.clone();
                flipped.flip(i);
                let term = |row: &State| {
                    plain_score(score, plain_overlap(row, probe)) - plain_score(score, plain_overlap(row, &flipped))
                };
                let cost: f64 = rows.iter().map(term).sum();
                match score {
                    // s (XXᵀs) is half the cost and K.
                    Score::Linear => assert_eq!(found, 0.5 * cost + 40.0, "{neurons} {i}"),
                    Score::Polynomial { .. } => assert_eq!(found, cost, "{neurons} {i}"),
                    Score::Exponential => {
                        let cost = cost / (largest as f64).exp();
                        // Terms are at most e² and their errors a few ulps each.
                        assert!((found - cost).abs() <= 40.0 * 8.0 * 4.0 * EPSILON, "{neurons} {i}: {found} {cost}");
                    }
                }
            }
        }
    }
}

#[test]
fn settling_never_raises_the_energy() {
    let mut source = Source(7);
    for (neurons, count) in [(20, 30), (65, 40), (100, 200)] {
        let patterns = Patterns::from_states(&states(&mut source, neurons, count)).unwrap();
        for score in SCORES {
            let memory = BinaryMemory::new(patterns.clone(), score).unwrap();
            for start in states(&mut source, neurons, 5) {
                let end = memory.settle(&start, 10_000).unwrap();
                if let Some(fewer) = end.flips.checked_sub(1) {
                    let refused = memory.settle(&start, fewer);
                    assert!(
                        matches!(refused, Err(Error::NoConvergence { steps, residual }) if steps == fewer && residual > 0.0)
                    );
                }
                assert_eq!(flip_by_flip(&memory, &start, end.flips), end.state);
                assert!(memory.support(&end.state).unwrap().iter().all(|s| *s >= 0.0));
                assert_eq!(memory.step(&end.state).unwrap(), end.state);
            }
        }
    }
}

/// Visits neurons one by one, as the definition says.
fn flip_by_flip(memory: &BinaryMemory, start: &State, most: usize) -> State {
    let (mut state, mut flips, mut neuron) = (start.clone(), 0, 0);
    let mut energy = memory.energy(start).unwrap();
    while flips < most {
        if memory.support(&state).unwrap()[neuron] < 0.0 {
            state.flip(neuron);
            flips += 1;
            let next = memory.energy(&state).unwrap();
            // Exact integers rounded once; a logarithm of a sum has a few ulps.
            assert!(next <= energy + 8.0 * EPSILON * energy.abs(), "{next} {energy}");
            energy = next;
        }
        neuron = (neuron + 1) % state.neurons();
    }
    state
}

#[test]
fn few_patterns_are_fixed_points_and_attract() {
    let mut source = Source(8);
    let patterns = Patterns::from_states(&states(&mut source, 128, 4)).unwrap();
    for score in SCORES {
        let memory = BinaryMemory::new(patterns.clone(), score).unwrap();
        for k in 0..4 {
            let pattern = patterns.get(k).unwrap();
            assert_eq!(memory.step(&pattern).unwrap(), pattern, "{score:?}");
            let mut damaged = pattern.clone();
            (0..12).for_each(|i| damaged.flip(i * 10));
            assert_eq!(memory.settle(&damaged, 1000).unwrap().state, pattern, "{score:?}");
        }
    }
}

#[test]
fn threads_do_not_show_in_recall() {
    let mut source = Source(9);
    let mut word = || source.bits();
    // More patterns than a thread takes at a time.
    let patterns = Patterns::random(70, 50_000, &mut word).unwrap();
    for score in [Score::Polynomial { degree: 3 }, Score::Exponential] {
        let memory = BinaryMemory::new(patterns.clone(), score).unwrap();
        let probe = patterns.get(17).unwrap();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| memory.support(&probe).unwrap().iter().map(|s| s.to_bits()).collect::<Vec<_>>())
        };
        assert_eq!(run(1), run(3));
    }
    assert_eq!(Patterns::random(70, 10, &mut word).unwrap().count(), 10);
}

fn rows(source: &mut Source, count: usize, dimension: usize) -> Vec<Vec<f64>> {
    (0..count).map(|_| source.reals(dimension)).collect()
}

#[test]
fn softmax_recall_goes_downhill_and_keeps_its_bound() {
    let mut source = Source(10);
    for beta in [0.1, 1.0, 10.0, 1000.0] {
        let memory = SoftmaxMemory::new(&rows(&mut source, 30, 6), beta).unwrap();
        let scale = memory.largest_norm() * memory.largest_norm();
        for _ in 0..20 {
            let mut state = source.reals(6);
            let mut energy = memory.energy(&state).unwrap();
            for _ in 0..50 {
                let weights = memory.weights(&state).unwrap();
                assert!((weights.iter().sum::<f64>() - 1.0).abs() <= 30.0 * EPSILON);
                state = memory.step(&state).unwrap();
                let next = memory.energy(&state).unwrap();
                // Sums of 30 and of 6 products, and ln 30 over β.
                assert!(next <= energy + 40.0 * EPSILON * (scale + 4.0 / beta), "{beta}: {next} {energy}");
                assert!(next >= -40.0 * EPSILON * (scale + 4.0 / beta));
                energy = next;
            }
        }
        for i in 0..memory.count() {
            let pattern = memory.pattern(i).unwrap().to_vec();
            let recalled = memory.step(&pattern).unwrap();
            let error = recalled.iter().zip(&pattern).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
            let bound = memory.one_step_bound(i, 0.0).unwrap();
            assert!(error <= bound + 40.0 * EPSILON * memory.largest_norm(), "{beta} {i}: {error} {bound}");
        }
    }
    // As β vanishes the weights are equal, and recall is the mean.
    let patterns = rows(&mut source, 8, 3);
    let mean: Vec<f64> = (0..3).map(|j| patterns.iter().map(|p| p[j]).sum::<f64>() / 8.0).collect();
    let recalled = SoftmaxMemory::new(&patterns, 1e-18).unwrap().step(&patterns[0]).unwrap();
    assert!(recalled.iter().zip(&mean).all(|(a, b)| (a - b).abs() <= 16.0 * EPSILON));
    // A single pattern is recalled from anywhere in one step.
    let one = SoftmaxMemory::new(&patterns[..1], 1.0).unwrap();
    let settled = one.settle(&[9.0, -9.0, 3.0], 0.0, 3).unwrap();
    assert_eq!((settled.state, settled.steps), (patterns[0].clone(), 2));
    assert_eq!((one.separation(0), one.one_step_bound(0, 0.5)), (Some(f64::INFINITY), Some(0.0)));
    assert!((one.energy(&patterns[0]).unwrap()).abs() <= 8.0 * EPSILON * one.largest_norm().powi(2));
}

#[test]
fn independent_patterns_are_fixed_points_of_the_whitened_memory() {
    let mut source = Source(11);
    for (count, neurons) in [(1, 1), (1, 12), (5, 12), (12, 12), (60, 80)] {
        // Correlated: every pattern leans to the first.
        let common = source.reals(neurons);
        let real: Vec<Vec<f64>> = rows(&mut source, count, neurons)
            .iter()
            .map(|r| r.iter().zip(&common).map(|(a, b)| a + 3.0 * b).collect())
            .collect();
        let memory = WhitenedMemory::new(&real).unwrap();
        for pattern in &real {
            let recalled = memory.project(pattern).unwrap();
            let size = pattern.iter().map(|x| x * x).sum::<f64>().sqrt();
            // 20 ε κ with κ below 1e4 for these.
            assert!(recalled.iter().zip(pattern).all(|(a, b)| (a - b).abs() <= 20.0 * EPSILON * 1e4 * size));
        }
        let trace: f64 = memory.leverages().iter().sum();
        assert!((trace - count as f64).abs() <= 20.0 * EPSILON * 1e4 * neurons as f64);
        // Projecting twice is projecting once.
        let state = source.reals(neurons);
        let once = memory.project(&state).unwrap();
        let twice = memory.project(&once).unwrap();
        assert!(once.iter().zip(&twice).all(|(a, b)| (a - b).abs() <= 20.0 * EPSILON * 1e4 * neurons as f64));
    }
    let binary = states(&mut source, 64, 16);
    let memory = WhitenedMemory::of_signs(&Patterns::from_states(&binary).unwrap()).unwrap();
    for state in &binary {
        for self_attention in [true, false] {
            assert_eq!(&memory.step(state, self_attention).unwrap(), state);
            assert_eq!(memory.settle(state, self_attention, 2).unwrap().as_ref(), Some(state));
        }
    }
}

#[test]
fn memories_refuse_what_they_cannot_hold() {
    let parameter = |result: Result<(), Error>, expected: &str| match result {
        Err(Error::Parameter { name, .. }) => assert_eq!(name, expected),
        other => panic!("{other:?}"),
    };
    parameter(State::from_signs(&[]).map(drop), "neurons");
    parameter(State::from_signs(&[1, 0]).map(drop), "a sign");
    parameter(Patterns::from_states(&[]).map(drop), "neurons");
    parameter(Patterns::random(5, 0, || 0).map(drop), "patterns");
    let (a, b) = (State::from_signs(&[1, -1]).unwrap(), State::from_signs(&[1, 1, 1]).unwrap());
    assert!(matches!(Patterns::from_states(&[a.clone(), b.clone()]), Err(Error::Shape { .. })));
    let patterns = Patterns::from_states(std::slice::from_ref(&a)).unwrap();
    assert!(matches!(patterns.overlaps(&b), Err(Error::Shape { expected: 2, got: 3, .. })));
    for degree in [0, 1, 80] {
        parameter(BinaryMemory::new(patterns.clone(), Score::Polynomial { degree }).map(drop), "degree");
    }
    parameter(SoftmaxMemory::new(&[], 1.0).map(drop), "patterns");
    parameter(SoftmaxMemory::new(&[vec![1.0]], 0.0).map(drop), "beta");
    parameter(SoftmaxMemory::new(&[vec![1.0]], f64::NAN).map(drop), "beta");
    assert!(matches!(SoftmaxMemory::new(&[vec![1.0], vec![1.0, 2.0]], 1.0), Err(Error::Shape { .. })));
    let softmax = SoftmaxMemory::new(&[vec![1.0, f64::NAN]], 1.0);
    assert!(matches!(softmax, Err(Error::NonFinite { row: 0, column: 1, .. })));
    let softmax = SoftmaxMemory::new(&[vec![1.0, 2.0]], 1.0).unwrap();
    assert!(softmax.step(&[1.0]).is_err() && softmax.step(&[1.0, f64::INFINITY]).is_err());
    match WhitenedMemory::new(&[vec![1.0, 2.0, 3.0], vec![2.0, 4.0, 6.0]]) {
        Err(Error::RankDeficient { dependent, .. }) => assert_eq!(dependent[0].column, "ξ2"),
        other => panic!("{other:?}"),
    }
    assert!(WhitenedMemory::new(&[vec![1.0], vec![2.0]]).is_err());
    parameter(WhitenedMemory::new(&[]).map(drop), "patterns");
    assert!(WhitenedMemory::new(&[vec![1.0, f64::NAN]]).is_err());
}

//! Laws of the fast memory that forgets: decayed rows are weighted rows, and nothing is taken out in silence.

use hattention::{Block, Error, FastMemory, RankTolerance, Whitening};

use crate::support::{Case, Source};
use crate::table::EPSILON;

fn case(seed: u64, rows: usize) -> Case {
    let mut source = Source(seed);
    let columns = vec![source.reals(rows), source.reals(rows), source.integers(rows, -5, 5)];
    let target = source.reals(rows);
    Case::dense("decaying", columns, target, true)
}

fn rows_of(case: &Case, range: std::ops::Range<usize>) -> Block<'_> {
    let mut block = case.slice(range);
    block.columns.pop();
    block
}

fn push(memory: &mut FastMemory, slow: &Whitening, case: &Case, range: std::ops::Range<usize>) {
    memory.push(slow, &rows_of(case, range.clone()), &[0, 1, 2], &[case.target.slice(range)]).unwrap();
}

fn slow_memory(case: &Case) -> Whitening {
    case.ols(RankTolerance::Rounding).unwrap().0
}

/// Both memories' readings differ by at most the rounding of their entries: a double's half unit each, once for the sum
/// and once for the weights that one of them was given.
fn assert_close(got: &FastMemory, expected: &FastMemory, slow: &Whitening, largest: f64) {
    let tolerance = 4.0 * EPSILON * largest;
    for (a, b) in got.values().iter().flatten().zip(expected.values().iter().flatten()) {
        assert!((a - b).abs() <= tolerance, "{a} for {b}");
    }
    let (a, b) = (got.state(slow).unwrap(), expected.state(slow).unwrap());
    for (a, b) in a.matrix.iter().zip(&b.matrix) {
        assert!((a - b).abs() <= 16.0 * EPSILON * (1.0 + b.abs()) * (1.0 + largest), "{a} for {b}");
    }
}

#[test]
fn a_decay_of_one_is_the_identity_in_bits() {
    let case = case(1, 20);
    let slow = slow_memory(&case);
    let mut memory = FastMemory::new(&slow, 1);
    push(&mut memory, &slow, &case, 0..20);
    let before = memory.clone();
    memory.decay(1.0).unwrap();
    assert!(memory == before);
    memory.decay(0.5).unwrap();
    let halved = memory.clone();
    memory.decay(1.0).unwrap();
    assert!(memory == halved && memory != before);
}

#[test]
fn decayed_rows_are_weighted_rows() {
    let (rows, factor) = (40, 0.9);
    let case = case(2, rows);
    let slow = slow_memory(&case);
    let mut memory = FastMemory::new(&slow, 1);
    for row in 0..rows {
        memory.decay(factor).unwrap();
        push(&mut memory, &slow, &case, row..row + 1);
    }
    let weights: Vec<f64> = (0..rows).map(|row| factor.powi((rows - 1 - row) as i32)).collect();
    let mut weighted = FastMemory::new(&slow, 1);
    let block = Block { weights: Some(&weights), ..rows_of(&case, 0..rows) };
    weighted.push(&slow, &block, &[0, 1, 2], &[case.target.slice(0..rows)]).unwrap();
    assert_eq!(memory.rows(), rows as u64);
    // Weights by powi are right to some units of their last place, each.
    let total: f64 = weights.iter().sum();
    assert!((memory.weight_total() - total).abs() <= rows as f64 * EPSILON * total);
    assert_close(&memory, &weighted, &slow, rows as f64);
    // Another factor is told apart.
    let mut other = FastMemory::new(&slow, 1);
    for row in 0..rows {
        other.decay(factor * (1.0 + 1e-9)).unwrap();
        push(&mut other, &slow, &case, row..row + 1);
    }
    assert!((other.weight_total() - total).abs() > rows as f64 * EPSILON * total);
}

#[test]
fn merging_and_decaying_commute() {
    let case = case(3, 30);
    let slow = slow_memory(&case);
    let part = |range| {
        let mut memory = FastMemory::new(&slow, 1);
        push(&mut memory, &slow, &case, range);
        memory
    };
    let (mut left, mut right) = (part(0..12), part(12..30));
    let mut whole = part(0..30);
    for memory in [&mut left, &mut right, &mut whole] {
        memory.decay(0.7).unwrap();
    }
    let (mut one, mut other) = (left.clone(), right.clone());
    one.merge(&right).unwrap();
    other.merge(&left).unwrap();
    assert!(one == other, "merging commutes in bits");
    assert_close(&one, &whole, &slow, 30.0);
    let mut same = one.clone();
    same.merge(&FastMemory::new(&slow, 1)).unwrap();
    assert!(same == one, "an empty memory is the identity");
    // Alike decayed, a part can be taken out again.
    one.subtract(&right).unwrap();
    assert_eq!(one.rows(), 12);
    assert_close(&one, &left, &slow, 30.0);
}

#[test]
fn nothing_is_taken_out_in_silence() {
    let case = case(4, 30);
    let slow = slow_memory(&case);
    let mut memory = FastMemory::new(&slow, 1);
    push(&mut memory, &slow, &case, 0..10);
    memory.decay(0.5).unwrap();
    push(&mut memory, &slow, &case, 10..30);
    let before = memory.clone();
    let target = |range: std::ops::Range<usize>| [case.target.slice(range)];
    // Rows from before the decay look like any others: which weight they have must be said.
    let refused = memory.remove(&slow, &rows_of(&case, 0..10), &[0, 1, 2], &target(0..10));
    assert!(matches!(refused, Err(Error::Parameter { allowed, .. }) if allowed.contains("remove_decayed")));
    let mut fresh = FastMemory::new(&slow, 1);
    push(&mut fresh, &slow, &case, 0..10);
    assert!(matches!(memory.subtract(&fresh), Err(Error::IncompatibleStates { .. })));
    let more = memory.remove_decayed(&slow, &rows_of(&case, 0..11), &[0, 1, 2], &target(0..11), 0.5);
    assert_eq!(more, Err(Error::RemovedTooMany { rows: 10, removed: 11 }));
    for factor in [-0.1, 1.5, f64::NAN, f64::INFINITY] {
        assert!(matches!(memory.decay(factor), Err(Error::Parameter { name: "the factor of decay", .. })));
        let result = memory.remove_decayed(&slow, &rows_of(&case, 0..1), &[0, 1, 2], &target(0..1), factor);
        assert!(matches!(result, Err(Error::Parameter { .. })));
    }
    assert!(memory == before, "what is refused leaves the memory as it was");

    // With their weight said, old rows go to working accuracy, and new ones exactly.
    memory.remove_decayed(&slow, &rows_of(&case, 0..10), &[0, 1, 2], &target(0..10), 0.5).unwrap();
    let mut recent = FastMemory::new(&slow, 1);
    push(&mut recent, &slow, &case, 10..30);
    assert_eq!(memory.rows(), 20);
    assert_close(&memory, &recent, &slow, 30.0);
    memory.remove_decayed(&slow, &rows_of(&case, 10..30), &[0, 1, 2], &target(10..30), 1.0).unwrap();
    assert_eq!(memory.rows(), 0);
    assert!(memory.weight_total().abs() <= 30.0 * EPSILON);
    memory.decay(0.0).unwrap();
    assert_eq!(memory.weight_total(), 0.0);
    assert_eq!(memory.state(&slow), Err(Error::NoRows));
}

#[test]
fn memories_of_two_ages_do_not_merge() {
    let case = case(23, 30);
    let slow = slow_memory(&case);
    let decayed = |rows: std::ops::Range<usize>, factor: f64| {
        let mut memory = FastMemory::new(&slow, 1);
        push(&mut memory, &slow, &case, rows);
        memory.decay(factor).unwrap();
        memory
    };
    let mut memory = decayed(0..10, 0.5);
    let before = memory.clone();
    let refused = memory.merge(&decayed(10..20, 0.25)).unwrap_err();
    assert!(matches!(&refused, Error::IncompatibleStates { left, right } if left != right), "{refused}");
    assert!(refused.to_string().contains("a memory that decayed as"), "{refused}");
    assert_eq!(memory, before);
    memory.merge(&decayed(10..20, 0.5)).unwrap();
    let mut fresh = FastMemory::new(&slow, 1);
    push(&mut fresh, &slow, &case, 20..30);
    memory.merge(&fresh).unwrap();
    assert_eq!((memory.rows(), memory.weight_total()), (30, 20.0));
}

#[test]
fn training_rows_of_least_squares_are_white() {
    for case in crate::table::regular() {
        let (slow, _) = case.ols(RankTolerance::Exact).unwrap();
        if !case.intercept || slow.condition > 1e8 {
            continue;
        }
        let mut memory = FastMemory::new(&slow, 1);
        push_all(&mut memory, &slow, &case);
        let state = memory.state(&slow).unwrap();
        let p = slow.keys() as f64;
        for (k, entry) in state.matrix.iter().enumerate() {
            let one = (k / state.size == k % state.size) as u64 as f64;
            let tolerance = (p + 1.0) * (p + 4.0) * EPSILON * slow.condition * (slow.rows as f64).sqrt();
            assert!((entry - one).abs() <= tolerance, "{}: {entry} at {k}", case.name);
        }
        let (values, vectors) = state.spectrum().unwrap();
        assert_eq!((values.len(), vectors.len()), (state.size, state.size));
    }
}

fn push_all(memory: &mut FastMemory, slow: &Whitening, case: &Case) {
    let ids: Vec<usize> = (0..case.columns.len()).collect();
    memory.push(slow, &rows_of(case, 0..case.rows()), &ids, &[case.target.slice(0..case.rows())]).unwrap();
}

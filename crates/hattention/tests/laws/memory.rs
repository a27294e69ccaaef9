//! Laws of the fast memory: reading it is predicting, and nothing depends on how its rows came.

use hattention::attention::{self, Keys, explain::Explainer};
use hattention::{
    Aliased, Block, Column, Error, FastMemory, Filter, Fit, Model, Moments, RankTolerance, Whitening, WhiteningOptions,
};

use crate::support::{Case, Source, Truth, Values};
use crate::table::{EPSILON, designs, regular, steps};

/// `κ` beyond which the promised `20 ε κ` leaves nothing to compare.
const LARGEST_CONDITION: f64 = 1e13;

fn ids(case: &Case) -> Vec<usize> {
    (0..case.columns.len()).collect()
}

/// The design's columns of a range of rows.
fn design_rows(case: &Case, range: std::ops::Range<usize>) -> Block<'_> {
    let mut block = case.slice(range);
    block.columns.pop();
    block
}

fn push(memory: &mut FastMemory, slow: &Whitening, case: &Case, range: std::ops::Range<usize>) {
    let target = case.target.slice(range.clone());
    memory.push(slow, &design_rows(case, range), &ids(case), &[target]).unwrap();
}

fn memory_of(slow: &Whitening, case: &Case, range: std::ops::Range<usize>) -> FastMemory {
    let mut memory = FastMemory::new(slow, 1);
    push(&mut memory, slow, case, range);
    memory
}

fn bits(memory: &FastMemory) -> Vec<u64> {
    memory.values().iter().flatten().map(|x| x.to_bits()).collect()
}

fn assert_same(case: &Case, how: &str, got: &FastMemory, expected: &FastMemory) {
    assert!(got == expected, "{}: another memory, {how}", case.name);
    assert_eq!(got.rows(), expected.rows(), "{}, {how}", case.name);
    assert_eq!(got.weight_total().to_bits(), expected.weight_total().to_bits(), "{}, {how}", case.name);
    assert_eq!(bits(got), bits(expected), "{}: other bits, {how}", case.name);
}

/// The table's cases of moderate condition, with their slow memories.
fn slow_memories() -> Vec<(Case, Whitening)> {
    let cases = regular().into_iter().filter_map(|case| {
        let (whitening, _) = case.ols(RankTolerance::Exact).unwrap();
        (whitening.condition < LARGEST_CONDITION).then_some((case, whitening))
    });
    let cases: Vec<(Case, Whitening)> = cases.collect();
    assert!(cases.len() > 40, "{}", cases.len());
    cases
}

/// `√Σ w y²`.
fn target_length(case: &Case) -> f64 {
    let alone = Truth::of(&Case { columns: Vec::new(), intercept: false, ..case.clone() });
    (0.5 * alone.residual_sum.log2()).exp2()
}

/// What `predict` adds to the difference: coefficients and sums of 106 bits, whose terms may cancel.
fn doubled_error(case: &Case, fit: &Fit, row: usize) -> f64 {
    let entry = |values: &Values| match values {
        Values::Dense(x) | Values::Pair(x, _) => x[row].abs(),
    };
    let terms = case.columns.iter().zip(&fit.raw).map(|(x, b)| entry(x) * b.hi.abs());
    let gross = fit.raw_intercept.hi.abs() + terms.sum::<f64>();
    (case.columns.len() + 2) as f64 * 2f64.powi(-102) * gross
}

#[test]
fn reading_the_training_rows_is_predicting() {
    let mut compared = 0;
    for case in regular() {
        let moments = case.moments();
        let filters = [
            Filter::Ols,
            Filter::Ridge { alpha: 0.37, standardize: false },
            Filter::Ridge { alpha: 2.0, standardize: true },
            Filter::Components { count: case.columns.len().min(1), standardize: true },
        ];
        for filter in filters {
            let (slow, fit) = case.solve(&moments, filter, Aliased::Error, RankTolerance::Exact).unwrap();
            if slow.condition > LARGEST_CONDITION {
                continue;
            }
            let memory = memory_of(&slow, &case, 0..case.rows());
            let block = design_rows(&case, 0..case.rows());
            let read = memory.read(&Keys::of(&slow, &block, &ids(&case)).unwrap()).unwrap();
            let expected = attention::predict(&slow, &fit, &block, &ids(&case)).unwrap();
            let p = case.columns.len() as f64;
            // A key is off by (p + 3) ε/2 Σ|L||z| a component; Σ over rows and components by Cauchy and Schwarz.
            let tolerance = (p + 1.0) * (p + 4.0) * EPSILON * slow.condition * target_length(&case);
            for (row, (got, want)) in read[0].iter().zip(&expected).enumerate() {
                let root = case.weights.as_ref().map_or(1.0, |w| w[row].sqrt());
                let gap = root * ((got - want).abs() - doubled_error(&case, &fit, row));
                assert!(gap <= tolerance, "{}, {filter:?}, row {row}: {got} for {want}", case.name);
            }
            // What the keys remember is what the fit solved for; the constant remembers the mean.
            let values = &memory.values()[0];
            assert_eq!(values.len(), 1 + slow.keys());
            for (got, want) in values[1..].iter().zip(&fit.memory) {
                assert!((got - want).abs() <= tolerance, "{}, {filter:?}: {got} for {want}", case.name);
            }
            let mean = values[0] * if case.intercept { 1.0 / slow.weight_total.sqrt() } else { 0.0 };
            assert!((mean - fit.target_mean).abs() <= 4.0 * EPSILON * fit.target_mean.abs(), "{}", case.name);
            // The basis queries.
            let coefficients = &memory.coefficients(&slow).unwrap()[0];
            assert_eq!(coefficients.len(), fit.names.len());
            for ((got, want), query) in coefficients.iter().zip(&fit.estimates).zip(&slow.loading) {
                let largest = query.iter().fold(0.0f64, |m, l| m.max(l.abs()));
                let length =
                    if largest > 0.0 { query.iter().map(|l| (l / largest).powi(2)).sum::<f64>().sqrt() } else { 0.0 };
                let gap = (got.unwrap() - want.unwrap().to_f64()).abs();
                assert!(gap <= tolerance * length * largest, "{}, {filter:?}: {got:?} for {want:?}", case.name);
            }
            compared += 1;
        }
    }
    assert!(compared > 150, "{compared}");
}

#[test]
fn the_promise_of_twenty_units_can_fail() {
    // One target changed in its 30th bit is seen by the law's tolerance.
    let case = &designs()[0];
    let (slow, fit) = case.ols(RankTolerance::Rounding).unwrap();
    let mut other = case.clone();
    if let Values::Dense(y) = &mut other.target {
        y[3] *= 1.0 + 2f64.powi(-30);
    }
    let memory = memory_of(&slow, &other, 0..case.rows());
    let block = design_rows(case, 0..case.rows());
    let read = memory.read(&Keys::of(&slow, &block, &ids(case)).unwrap()).unwrap();
    let expected = attention::predict(&slow, &fit, &block, &ids(case)).unwrap();
    let tolerance = 28.0 * EPSILON * slow.condition * target_length(case);
    assert!((read[0][3] - expected[3]).abs() > tolerance);
}

#[test]
fn every_split_merges_to_the_same_memory() {
    for (case, slow) in slow_memories() {
        let whole = memory_of(&slow, &case, 0..case.rows());
        for split in 0..=case.rows() {
            let left = memory_of(&slow, &case, 0..split);
            let right = memory_of(&slow, &case, split..case.rows());
            let (mut one, mut other, mut back) = (left.clone(), right.clone(), whole.clone());
            one.merge(&right).unwrap();
            other.merge(&left).unwrap();
            back.subtract(&right).unwrap();
            let mut pushed = left.clone();
            push(&mut pushed, &slow, &case, split..case.rows());
            for (how, memory) in [("merged", &one), ("merged backwards", &other), ("pushed", &pushed)] {
                assert_same(&case, &format!("{how} at {split}"), memory, &whole);
            }
            assert_same(&case, &format!("subtracted from {split}"), &back, &left);
        }
    }
}

#[test]
fn no_order_and_no_tree_of_merges_changes_a_bit() {
    let mut source = Source(21);
    for (case, slow) in slow_memories() {
        let whole = memory_of(&slow, &case, 0..case.rows());
        let shuffled = case.at(&source.order(case.rows()));
        assert_same(&case, "reordered", &memory_of(&slow, &shuffled, 0..case.rows()), &whole);
        let mut pool: Vec<FastMemory> = (0..case.rows())
            .map(|row| memory_of(&slow, &case, row..row + 1))
            .chain([FastMemory::new(&slow, 1)])
            .collect();
        while pool.len() > 1 {
            let mut a = pool.swap_remove(source.integer(0, pool.len() as i64 - 1) as usize);
            let b = pool.swap_remove(source.integer(0, pool.len() as i64 - 1) as usize);
            a.merge(&b).unwrap();
            pool.push(a);
        }
        assert_same(&case, "merged at random", &pool[0], &whole);
    }
}

#[test]
fn what_was_removed_was_never_seen() {
    for (case, slow) in slow_memories() {
        let all: Vec<usize> = (0..case.rows()).collect();
        for row in 0..case.rows() {
            let mut memory = memory_of(&slow, &case, 0..case.rows());
            let target = case.target.slice(row..row + 1);
            memory.remove(&slow, &design_rows(&case, row..row + 1), &ids(&case), &[target]).unwrap();
            let others = case.at(&[&all[..row], &all[row + 1..]].concat());
            assert_same(&case, "a row removed", &memory, &memory_of(&slow, &others, 0..case.rows() - 1));
        }
        let mut memory = memory_of(&slow, &case, 0..case.rows());
        memory
            .remove(&slow, &design_rows(&case, 0..case.rows()), &ids(&case), &[case.target.slice(0..case.rows())])
            .unwrap();
        assert_same(&case, "everything removed", &memory, &FastMemory::new(&slow, 1));
        assert_eq!(memory.values(), [vec![0.0; 1 + slow.keys()]]);
    }
}

#[test]
fn long_streams_do_not_show_their_batches_or_threads() {
    let rows = 9001;
    let mut source = Source(22);
    let columns = vec![source.integers(rows, -500, 500), source.reals(rows), source.reals(rows)];
    let weights = source.reals(rows).iter().map(|w| w.abs()).collect();
    let case = Case::dense("nine thousand rows", columns, source.reals(rows), true).weighted("weighted", weights);
    let (slow, _) = case.ols(RankTolerance::Rounding).unwrap();
    let whole = memory_of(&slow, &case, 0..rows);
    for (threads, batch) in [(1, 97), (2, 1000), (4, 4096), (2, rows)] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let memory = pool.install(|| {
            let mut memory = FastMemory::new(&slow, 1);
            for start in (0..rows).step_by(batch) {
                push(&mut memory, &slow, &case, start..rows.min(start + batch));
            }
            memory
        });
        assert_same(&case, &format!("{threads} threads, batches of {batch}"), &memory, &whole);
    }
}

#[test]
fn several_targets_are_as_many_memories() {
    for (case, slow) in slow_memories() {
        let rows = case.rows();
        let second = Case { target: Values::of_pairs((0..rows).map(|i| pair(i as f64))), ..case.clone() };
        let mut both = FastMemory::new(&slow, 2);
        let targets = [case.target.slice(0..rows), second.target.slice(0..rows)];
        both.push(&slow, &design_rows(&case, 0..rows), &ids(&case), &targets).unwrap();
        let alone = [memory_of(&slow, &case, 0..rows), memory_of(&slow, &second, 0..rows)];
        let queries = Keys::of(&slow, &design_rows(&case, 0..rows), &ids(&case)).unwrap();
        let (read, coefficients) = (both.read(&queries).unwrap(), both.coefficients(&slow).unwrap());
        for (t, memory) in alone.iter().enumerate() {
            assert_eq!(both.values()[t], memory.values()[0], "{}", case.name);
            assert_eq!(read[t], memory.read(&queries).unwrap()[0], "{}", case.name);
            assert_eq!(coefficients[t], memory.coefficients(&slow).unwrap()[0], "{}", case.name);
        }
        let none = FastMemory::new(&slow, 0);
        assert!(none.read(&queries).unwrap().is_empty());
    }
}

fn pair(i: f64) -> hattention::double_double::DoubleDouble {
    hattention::double_double::DoubleDouble::new(i.sin(), 1e-20 * i)
}

#[test]
fn any_context_is_read_as_the_sum_of_its_weights() {
    // Slow memory from one batch, context from another: the reading is the attention of the queries to the context.
    let mut source = Source(23);
    let mut case = |rows: usize, shift: f64| {
        let columns = (0..3).map(|_| source.reals(rows).iter().map(|x| x + shift).collect()).collect();
        let target = source.reals(rows);
        let weights: Vec<f64> = source.reals(rows).iter().map(|w| 1.5 + w).collect();
        Case::dense("batch", columns, target, true).weighted("weighted", weights)
    };
    let (training, context, queries) = (case(40, 0.0), case(25, 0.5), case(6, -1.0));
    let (slow, _) = training.ols(RankTolerance::Rounding).unwrap();
    let keys = |case: &Case| Keys::of(&slow, &design_rows(case, 0..case.rows()), &ids(case)).unwrap();
    let memory = memory_of(&slow, &context, 0..25);
    let read = &memory.read(&keys(&queries)).unwrap()[0];

    let largest_key = keys(&context).squared_norms().into_iter().fold(0.0, f64::max).sqrt();
    let Values::Dense(targets) = &context.target else { panic!("a dense target") };
    let mut explainer = Explainer::new(&keys(&queries), 0, 2.5);
    explainer.push(&keys(&context), targets, context.weights.as_deref(), &(0..25).collect::<Vec<u64>>());
    for (got, explanation) in read.iter().zip(explainer.finish()) {
        // Targets are at most one, so |ω y| ≤ w ‖q‖ ‖k‖; each ω is a sum of four products, and 25 of them are added.
        let tolerance = 33.0 * EPSILON * explanation.query_norm.sqrt() * largest_key * memory.weight_total();
        assert!((got - explanation.prediction).abs() <= tolerance, "{got} for {}", explanation.prediction);
    }

    // Linearity: the parts' readings add up to the whole's.
    let parts = [memory_of(&slow, &context, 0..10), memory_of(&slow, &context, 10..25)];
    let length = |memory: &FastMemory| memory.values()[0].iter().map(|m| m * m).sum::<f64>().sqrt();
    let lengths = length(&memory) + length(&parts[0]) + length(&parts[1]);
    let parts = parts.map(|part| part.read(&keys(&queries)).unwrap().remove(0));
    for (((whole, a), b), norm) in read.iter().zip(&parts[0]).zip(&parts[1]).zip(keys(&queries).squared_norms()) {
        // Each reading sums four products of entries that were rounded once.
        assert!((whole - (a + b)).abs() <= 6.0 * EPSILON * norm.sqrt() * lengths, "{whole} for {a} + {b}");
    }
}

#[test]
fn the_training_rows_twice_read_as_twice_the_prediction() {
    for (case, slow) in slow_memories() {
        let mut twice = memory_of(&slow, &case, 0..case.rows());
        let once = twice.clone();
        twice.merge(&once).unwrap();
        assert_eq!(twice.weight_total(), 2.0 * once.weight_total());
        assert_eq!(twice.rows(), 2 * once.rows());
        let queries = Keys::of(&slow, &design_rows(&case, 0..case.rows()), &ids(&case)).unwrap();
        let doubled: Vec<f64> = once.read(&queries).unwrap()[0].iter().map(|y| 2.0 * y).collect();
        assert_eq!(twice.read(&queries).unwrap()[0], doubled, "{}", case.name);
    }
}

#[test]
fn a_slow_memory_read_from_a_file_serves_the_same_memory() {
    for (case, slow) in slow_memories() {
        let model = Model { whitening: slow.clone(), fits: Vec::new(), extra: Default::default() };
        let read = Model::from_bytes(&model.to_bytes().unwrap()).unwrap().whitening;
        let middle = case.rows() / 2;
        let mut memory = memory_of(&slow, &case, 0..middle);
        push(&mut memory, &read, &case, middle..case.rows());
        memory.merge(&FastMemory::new(&read, 1)).unwrap();
        assert_same(&case, "with a file between", &memory, &memory_of(&slow, &case, 0..case.rows()));
    }
}

#[test]
fn dropped_columns_have_no_coefficient_and_no_part_in_readings() {
    let duplicate = designs().into_iter().find(|c| c.name == "duplicate").unwrap();
    let kept = Case { columns: vec![duplicate.columns[0].clone(), duplicate.columns[2].clone()], ..duplicate.clone() };
    let solve = |case: &Case| {
        let (slow, _) = case.solve(&case.moments(), Filter::Ols, Aliased::Drop, RankTolerance::Rounding).unwrap();
        let memory = memory_of(&slow, case, 0..case.rows());
        let queries = Keys::of(&slow, &design_rows(case, 0..case.rows()), &ids(case)).unwrap();
        (memory.read(&queries).unwrap(), memory.coefficients(&slow).unwrap())
    };
    let ((dropped_read, dropped), (kept_read, kept)) = (solve(&duplicate), solve(&kept));
    assert_eq!(dropped_read, kept_read);
    assert_eq!(dropped[0][2], None);
    assert_eq!([dropped[0][0], dropped[0][1], dropped[0][3]], kept[0][..]);
}

#[test]
fn memories_refuse_with_data() {
    let case = &designs()[0];
    let (slow, _) = case.ols(RankTolerance::Rounding).unwrap();
    let fewer = case.at(&(0..30).collect::<Vec<usize>>());
    let (other, _) = fewer.ols(RankTolerance::Rounding).unwrap();
    let block = design_rows(case, 0..4);
    let y: [f64; 4] = [1.0, 2.0, 3.0, 4.0];
    let target = Column::Dense(&y);
    let mut memory = memory_of(&slow, case, 0..20);
    let before = memory.clone();

    // Another slow memory, though of the same shape.
    let states = |result: Result<(), Error>| matches!(result, Err(Error::IncompatibleStates { .. }));
    assert!(states(memory.push(&other, &block, &[0, 1, 2], &[target])));
    assert!(states(memory.remove(&other, &block, &[0, 1, 2], &[target])));
    assert!(states(memory.coefficients(&other).map(|_| ())));
    assert!(states(memory.merge(&FastMemory::new(&other, 1))));
    assert!(states(memory.subtract(&FastMemory::new(&other, 1))));
    assert!(states(memory.merge(&FastMemory::new(&slow, 2))));
    // The same rows in another design, whose keys are others.
    let design = hattention::Design { columns: vec![Some(1), Some(0), Some(2)], ..case.design() };
    let swapped = Whitening::of(&case.moments(), &design, Filter::Ols, WhiteningOptions::default(), None).unwrap();
    assert!(states(memory.push(&swapped, &block, &[0, 1, 2], &[target])));

    let shape = |what, expected, got| Err(Error::Shape { what, expected, got });
    assert_eq!(memory.push(&slow, &block, &[0, 1, 2], &[]), shape("the list of targets", 1, 0));
    assert_eq!(memory.push(&slow, &block, &[0, 1], &[target]), shape("the list of columns", 3, 2));
    assert_eq!(memory.push(&slow, &block, &[0, 1, 2], &[Column::Dense(&y[..3])]), shape("a column", 4, 3));
    let queries = Keys { rows: 1, components: vec![vec![0.5]; 3] };
    assert_eq!(memory.read(&queries), Err(Error::Shape { what: "a query", expected: 4, got: 3 }));

    let bad: [f64; 4] = [1.0, 2.0, f64::INFINITY, 4.0];
    let non_finite = |column| Err(Error::NonFinite { row: 2, column, value: f64::INFINITY });
    let columns = vec![block.columns[0], Column::Dense(&bad), block.columns[2]];
    let infinite = Block { columns, ..block.clone() };
    assert_eq!(memory.push(&slow, &infinite, &[0, 1, 2], &[target]), non_finite(1));
    assert_eq!(memory.push(&slow, &block, &[0, 1, 2], &[Column::Dense(&bad)]), non_finite(3));
    let far: [f64; 4] = [1.0, 2.0, 1e308, 4.0];
    let narrow = Case::dense("narrow", vec![steps(9, |i| 1e-9 * i * i)], steps(9, |i| i), true);
    let (steep, _) = narrow.ols(RankTolerance::Rounding).unwrap();
    let columns = Block { rows: 4, columns: vec![Column::Dense(&far)], weights: None };
    let refused = FastMemory::new(&steep, 1).push(&steep, &columns, &[0], &[target]);
    assert!(matches!(refused, Err(Error::Parameter { name: "a key", .. })), "{refused:?}");
    let negative = Block { weights: Some(&[1.0, -1.0, 1.0, 1.0]), ..block.clone() };
    assert_eq!(memory.push(&slow, &negative, &[0, 1, 2], &[target]), Err(Error::Weight { row: 1, value: -1.0 }));

    let too_many = Err(Error::RemovedTooMany { rows: 20, removed: 40 });
    let whole = memory_of(&slow, case, 0..40);
    assert_eq!(memory.subtract(&whole), too_many);
    let all = design_rows(case, 0..40);
    assert_eq!(memory.remove(&slow, &all, &[0, 1, 2], &[case.target.slice(0..40)]), too_many);
    assert!(memory == before, "what is refused leaves the memory as it was");
    assert!(memory != whole && Moments::new(0) == Moments::new(4));
}

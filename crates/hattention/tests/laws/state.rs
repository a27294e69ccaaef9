//! Laws of the state: nothing depends on how its rows came.

use hattention::double_double::DoubleDouble;
use hattention::{Aliased, Block, Column, Error, Filter, Moments, RankTolerance};

use crate::support::{Case, Source, Values};
use crate::table::{EPSILON, Known, assert_same, designs, empty, fingerprint, of_rows, steps, weighted_designs};

#[test]
fn every_split_merges_to_the_same_state() {
    for case in weighted_designs() {
        let whole = Known::of(&case, case.moments());
        for split in 0..=case.rows() {
            let left = Moments::of(&case.slice(0..split)).unwrap();
            let right = Moments::of(&case.slice(split..case.rows())).unwrap();
            let (mut one, mut other) = (left.clone(), right.clone());
            one.merge(&right);
            other.merge(&left);
            let mut pushed = left;
            pushed.push(&case.slice(split..case.rows())).unwrap();
            for (how, state) in [("merged", one), ("merged backwards", other), ("pushed", pushed)] {
                assert!(state == whole.state, "{}: {how} at {split}", case.name);
                assert_eq!(state.rows(), whole.state.rows());
                if split == case.rows() / 2 {
                    assert_same(&case, how, &state, &whole);
                }
            }
        }
    }
}

#[test]
fn no_order_of_rows_changes_a_bit() {
    let mut source = Source(3);
    for case in weighted_designs() {
        let whole = Known::of(&case, case.moments());
        let rows = case.rows();
        let mut orders: Vec<Vec<usize>> =
            vec![(0..rows).rev().collect(), (0..rows).map(|i| (i + rows / 2) % rows).collect()];
        orders.extend((0..3).map(|_| source.order(rows)));
        for order in orders {
            assert_same(&case, "reordered", &of_rows(&case, &order), &whole);
        }
    }
}

#[test]
fn no_tree_of_merges_changes_a_bit() {
    let mut source = Source(4);
    for case in weighted_designs() {
        let whole = Known::of(&case, case.moments());
        let single: Vec<Moments> = (0..case.rows()).map(|row| of_rows(&case, &[row])).collect();
        let join = |a: &Moments, b: &Moments| {
            let mut a = a.clone();
            a.merge(b);
            a
        };
        let left = single.iter().fold(empty(&case), |sum, s| join(&sum, s));
        let right = single.iter().rev().fold(empty(&case), |sum, s| join(s, &sum));
        let mut level = single.clone();
        while level.len() > 1 {
            level = level.chunks(2).map(|pair| pair.iter().skip(1).fold(pair[0].clone(), |a, b| join(&a, b))).collect();
        }
        let mut pool = single;
        while pool.len() > 1 {
            let a = pool.swap_remove(source.integer(0, pool.len() as i64 - 1) as usize);
            let b = pool.swap_remove(source.integer(0, pool.len() as i64 - 1) as usize);
            pool.push(join(&a, &b));
        }
        for (how, state) in
            [("from the left", &left), ("from the right", &right), ("in pairs", &level[0]), ("at random", &pool[0])]
        {
            assert_same(&case, how, state, &whole);
        }
    }
}

#[test]
fn merging_with_nothing_changes_nothing() {
    for case in weighted_designs() {
        let whole = Known::of(&case, case.moments());
        for nothing in [empty(&case), Moments::new(0), Moments::of(&case.slice(0..0)).unwrap()] {
            let (mut one, mut other) = (whole.state.clone(), nothing.clone());
            one.merge(&nothing);
            one.subtract(&nothing).unwrap();
            other.merge(&whole.state);
            assert_same(&case, "merged with nothing", &one, &whole);
            assert_same(&case, "merged into nothing", &other, &whole);
        }
    }
}

#[test]
fn equal_states_are_of_equal_rank() {
    // Pairs that doubles cannot tell apart are independent; rows of doubles that came and went leave no trace of that.
    let x = steps(6, |i| i * i + 1.0);
    let twin: Vec<f64> = steps(6, |i| 1e-20 * (i - 2.0));
    let columns = vec![Values::Pair(x.clone(), vec![0.0; 6]), Values::Pair(x, twin)];
    let case = Case::new("pairs", columns, steps(6, |i| i.sin()), true);
    let rank = |moments: &Moments| {
        let fit = case.solve(moments, Filter::Ols, Aliased::Drop, RankTolerance::Rounding);
        fit.map(|(whitening, _)| whitening.rank)
    };
    let state = case.moments();
    assert_eq!(rank(&state), Ok(3));
    let row = [0.1];
    let doubles = Block { rows: 1, columns: vec![Column::Dense(&row); 3], weights: None };
    let none = Block { rows: 0, columns: vec![Column::Dense(&[]); 3], weights: None };
    let mut merged = state.clone();
    merged.merge(&Moments::of(&none).unwrap());
    let mut pushed = state.clone();
    pushed.push(&none).unwrap();
    let mut removed = state.clone();
    removed.push(&doubles).unwrap();
    removed.remove(&doubles).unwrap();
    for (how, other) in [("merged with no rows", merged), ("no rows pushed", pushed), ("a row removed", removed)] {
        assert!(other == state);
        assert_eq!(rank(&other), Ok(3), "{how}");
    }
}

#[test]
fn neither_threads_nor_batches_change_a_bit() {
    let rows = 9001;
    let mut source = Source(5);
    let columns: Vec<Values> = vec![
        Values::Dense(source.integers(rows, -500, 500)),
        Values::Dense(source.reals(rows)),
        Values::Dense(source.reals(rows).iter().map(|x| x * 10f64.powi((x * 200.0) as i32)).collect()),
        Values::of_pairs(source.reals(rows).iter().map(|&x| DoubleDouble::from(1.0 + x).powi(3))),
    ];
    let plain = Case::new("nine thousand rows", columns, source.reals(rows), true);
    let weights = source.reals(rows).iter().map(|w| w.abs()).collect();
    for case in [plain.clone(), plain.weighted("weighted", weights)] {
        let whole = Known::of(&case, case.moments());
        for threads in [1, 2, 4] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let state = pool.install(|| case.moments());
            pool.install(|| assert_same(&case, &format!("{threads} threads"), &state, &whole));
        }
        for batch in [97, 511, 512, 513, 1000, 4096, rows] {
            let mut state = empty(&case);
            for start in (0..rows).step_by(batch) {
                state.push(&case.slice(start..rows.min(start + batch))).unwrap();
            }
            assert_same(&case, &format!("batches of {batch}"), &state, &whole);
        }
        let shuffled = of_rows(&case, &source.order(rows));
        assert_same(&case, "shuffled", &shuffled, &whole);
    }
}

#[test]
fn neither_threads_nor_batches_change_a_bit_of_long_tables() {
    let rows = 100_001;
    let mut source = Source(12);
    let columns = vec![source.integers(rows, 0, 40), source.reals(rows)];
    let case = Case::dense("a hundred thousand rows", columns, source.reals(rows), true);
    let whole = Known::of(&case, case.moments());
    for threads in [1, 2, 4] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for batch in [1000, 10_000, rows] {
            let state = pool.install(|| {
                let mut state = empty(&case);
                for start in (0..rows).step_by(batch) {
                    state.push(&case.slice(start..rows.min(start + batch))).unwrap();
                }
                state
            });
            assert_same(&case, &format!("{threads} threads, batches of {batch}"), &state, &whole);
        }
    }
}

#[test]
fn what_was_removed_was_never_seen() {
    for case in weighted_designs() {
        let whole = case.moments();
        let rows = case.rows();
        let all: Vec<usize> = (0..rows).collect();
        for row in 0..rows {
            let others = [&all[..row], &all[row + 1..]].concat();
            let expected = if others.is_empty() { empty(&case) } else { of_rows(&case, &others) };
            let mut removed = whole.clone();
            removed.remove(&case.slice(row..row + 1)).unwrap();
            let mut subtracted = whole.clone();
            subtracted.subtract(&of_rows(&case, &[row])).unwrap();
            // Every row of these short tables holds some column's largest or smallest exponent once.
            assert!(subtracted == expected, "{}: subtracting row {row}", case.name);
            if rows <= 12 {
                assert_same(&case, &format!("row {row} removed"), &removed, &Known::of(&case, expected));
            } else {
                assert!(removed == expected, "{}: removing row {row}", case.name);
            }
        }
        let mut nothing = whole.clone();
        nothing.remove(&case.at(&all.iter().rev().copied().collect::<Vec<_>>()).block()).unwrap();
        assert!(nothing == empty(&case), "{}: removing everything", case.name);
        assert_eq!(nothing.rows(), 0);
    }
}

#[test]
fn windows_that_slide_equal_windows_that_are_built() {
    let case = designs().into_iter().find(|c| c.name == "tall").unwrap();
    let width = 7;
    let mut window = Moments::of(&case.slice(0..width)).unwrap();
    for start in 1..=case.rows() - width {
        window.push(&case.slice(start + width - 1..start + width)).unwrap();
        window.remove(&case.slice(start - 1..start)).unwrap();
        let built = Moments::of(&case.slice(start..start + width)).unwrap();
        assert_same(&case, "sliding", &window, &Known::of(&case, built));
    }
}

#[test]
fn columns_may_appear_while_reading() {
    let (x, y, z) = ([1.0, -2.5, 3.0, 0.1], [0.3, 0.2, 0.1, 1e200], [7.0, 1e-200, 5.0, 4.0]);
    let dense =
        |columns: &[&'static [f64]]| -> Vec<Column<'static>> { columns.iter().map(|c| Column::Dense(c)).collect() };
    // Rows 0–1 have columns 0 and 2, rows 2–3 columns 1 and 0, given in another order.
    let mut grown = Moments::new(0);
    let first = Block { rows: 2, columns: vec![Column::Dense(&x[..2]), Column::Dense(&z[..2])], weights: None };
    let second = Block { rows: 2, columns: vec![Column::Dense(&y[2..]), Column::Dense(&x[2..])], weights: None };
    grown.push_at(&first, &[0, 2]).unwrap();
    assert_eq!(grown.columns(), 3);
    grown.push_at(&second, &[1, 0]).unwrap();
    let whole = Block {
        rows: 4,
        columns: dense(&[&[1.0, -2.5, 3.0, 0.1], &[0.0, 0.0, 0.1, 1e200], &[7.0, 1e-200, 0.0, 0.0]]),
        weights: None,
    };
    let expected = Moments::of(&whole).unwrap();
    assert!(grown == expected);
    // A column that was never seen is a column of zeros.
    let mut wider = expected.clone();
    wider.push_at(&Block { rows: 0, columns: vec![Column::Dense(&[])], weights: None }, &[5]).unwrap();
    assert_eq!(wider.columns(), 6);
    assert!(wider == expected);
    assert!(expected == wider);
    grown.remove_at(&second, &[1, 0]).unwrap();
    let mut short = Moments::new(0);
    short.push_at(&first, &[0, 2]).unwrap();
    assert!(grown == short);
    let mut merged = Moments::new(0);
    merged.push_at(&second, &[1, 0]).unwrap();
    merged.merge(&short);
    assert!(merged == expected);
}

#[test]
fn selecting_columns_equals_never_reading_the_others() {
    for case in weighted_designs() {
        let whole = case.moments();
        let count = case.columns.len() + 1;
        let mut source = Source(6);
        for keep in 0..=count {
            let order: Vec<usize> = source.order(count).into_iter().take(keep).collect();
            let block = case.block();
            let columns = order.iter().map(|&c| block.columns[c]).collect();
            let expected = Moments::of(&Block { columns, ..block.clone() }).unwrap();
            let selected = whole.select(&order).unwrap();
            assert!(selected == expected, "{}: columns {order:?}", case.name);
            assert_eq!((selected.rows(), selected.columns()), (expected.rows(), keep));
        }
        assert_eq!(
            whole.select(&[0, count]).unwrap_err(),
            Error::Shape { what: "the state", expected: count + 1, got: count }
        );
    }
}

#[test]
fn kinds_of_columns_equal_their_dense_expansions() {
    let rows = 40;
    let mut source = Source(8);
    let codes: Vec<u32> = (0..rows).map(|_| source.integer(0, 3) as u32).collect();
    let x = source.reals(rows);
    let zeros = vec![0.0; rows];
    let y = source.reals(rows);
    let chosen = |code: u32, values: &[f64]| -> Vec<f64> {
        codes.iter().zip(values).map(|(c, v)| if *c == code { *v } else { 0.0 }).collect()
    };
    let weights: Vec<f64> = (0..rows).map(|i| [0.0, 0.7, 3.0, 1e-30][i % 4]).collect();
    let ones = vec![1.0; rows];
    for weights in [None, Some(&weights[..])] {
        for code in [0, 3, 9] {
            let (indicator, within) = (chosen(code, &ones), chosen(code, &x));
            let state = |columns: Vec<Column>| {
                let columns = [columns, vec![Column::Dense(&y)]].concat();
                Moments::of(&Block { rows, columns, weights }).unwrap()
            };
            let dense = state(vec![Column::Dense(&indicator), Column::Dense(&x), Column::Dense(&within)]);
            for lo in [None, Some(&zeros[..])] {
                let other = state(vec![
                    Column::Indicator { codes: &codes, code },
                    Column::Pair { hi: &x, lo: &zeros },
                    Column::Within { codes: &codes, code, hi: &x, lo },
                ]);
                assert!(other == dense, "code {code}, weights {}", weights.is_some());
            }
            // The same pairs within a level and zero elsewhere.
            let lo: Vec<f64> = x.iter().map(|v| v * 1e-25).collect();
            let (hi_within, lo_within) = (chosen(code, &x), chosen(code, &lo));
            let pair = state(vec![Column::Pair { hi: &hi_within, lo: &lo_within }]);
            assert!(state(vec![Column::Within { codes: &codes, code, hi: &x, lo: Some(&lo) }]) == pair);
            assert!(code == 9 || pair != state(vec![Column::Dense(&hi_within)]));
        }
    }
}

#[test]
fn states_of_other_rows_are_other_states() {
    // Equality must be able to fail: one last bit, one sign, one row, one weight.
    for case in designs().into_iter().filter(|c| c.rows() > 1 && !c.columns.is_empty()) {
        let whole = case.moments();
        for row in 0..case.rows() {
            let mut other = case.clone();
            if let Values::Dense(y) = &mut other.target {
                y[row] = f64::from_bits(y[row].to_bits() ^ 1);
            }
            assert!(other.moments() != whole, "{}: row {row} of the target", case.name);
        }
        assert!(Moments::of(&case.slice(0..case.rows() - 1)).unwrap() != whole);
        let mut weights = vec![1.0; case.rows()];
        weights[0] = 1.0 + EPSILON;
        let weighted = case.clone().weighted("one weight", weights);
        assert!(weighted.moments() != whole, "{}", case.name);
    }
}

fn ols_bits(case: &Case) -> Vec<Option<[u64; 2]>> {
    let (_, fit) = case.solve(&case.moments(), Filter::Ols, Aliased::Drop, RankTolerance::Exact).unwrap();
    fit.estimates.iter().map(|b| b.map(|b| [b.hi.to_bits(), b.lo.to_bits()])).collect()
}

#[test]
fn integer_weights_are_repeated_rows() {
    for case in designs() {
        let weights: Vec<f64> = (0..case.rows()).map(|i| ((i * 5) % 4) as f64 + (i == 0) as u8 as f64).collect();
        let repeated: Vec<usize> = (0..case.rows()).flat_map(|i| std::iter::repeat_n(i, weights[i] as usize)).collect();
        let weighted = case.clone().weighted("counts", weights);
        let repeated = case.at(&repeated);
        assert_eq!(ols_bits(&weighted), ols_bits(&repeated), "{}", case.name);
        let solve =
            |case: &Case| case.solve(&case.moments(), Filter::Ols, Aliased::Drop, RankTolerance::Exact).unwrap().1;
        let (a, b) = (solve(&weighted), solve(&repeated));
        assert_eq!(a.residual_sum.to_bits(), b.residual_sum.to_bits(), "{}", case.name);
        assert_eq!(a.total_sum.to_bits(), b.total_sum.to_bits());
        assert!(a.rows <= b.rows);
    }
}

#[test]
fn weights_of_one_equal_no_weights() {
    for case in designs() {
        let ones = case.clone().weighted("ones", vec![1.0; case.rows()]);
        assert_eq!(fingerprint(&ones, &ones.moments()), fingerprint(&case, &case.moments()), "{}", case.name);
        // A common factor changes neither coefficients nor standard errors.
        let sixteen = case.clone().weighted("sixteen each", vec![16.0; case.rows()]);
        let read = |case: &Case| {
            let (_, fit) = case.solve(&case.moments(), Filter::Ols, Aliased::Drop, RankTolerance::Exact).unwrap();
            // A subnormal σ has few bits, and the factor shifts which: there only the coefficients can agree.
            let normal = fit.sigma().is_normal() || fit.sigma() == 0.0;
            let reported = fit.coefficients(0.5);
            reported
                .iter()
                .map(|c| [c.estimate, c.std_error.filter(|_| normal)].map(|x| x.map(f64::to_bits)))
                .collect::<Vec<_>>()
        };
        assert_eq!(read(&sixteen), read(&case), "{}", case.name);
    }
}

#[test]
fn rows_of_zero_weight_were_never_seen() {
    for case in weighted_designs().into_iter().filter(|c| c.name.ends_with("zero weights")) {
        let weights = case.weights.as_ref().unwrap();
        let kept: Vec<usize> = (0..case.rows()).filter(|&row| weights[row] > 0.0).collect();
        let others = Known::of(&case, of_rows(&case, &kept));
        assert_same(&case, "without rows of zero weight", &case.moments(), &others);
        assert_eq!(case.moments().rows(), kept.len() as u64);
    }
    let case = &designs()[0];
    let nothing = case.clone().weighted("all zero", vec![0.0; case.rows()]);
    assert_eq!(nothing.ols(RankTolerance::Rounding).unwrap_err(), Error::NoRows);
    assert!(nothing.moments() == empty(case));
}

#[test]
fn factors_of_many_levels_equal_their_dense_expansions() {
    let mut source = Source(77);
    // Fewer rows than a chunk, and several chunks a thread.
    for rows in [700, 70_000] {
        let x = source.reals(rows);
        let small = source.integers(rows, -50, 50);
        let mut factor =
            |levels: i64| -> Vec<u32> { source.integers(rows, 0, levels).iter().map(|code| *code as u32).collect() };
        let (first, second) = (factor(40), factor(30));
        let weights: Vec<f64> = source.reals(rows).iter().map(|w| if *w < -0.8 { 0.0 } else { w.abs() }).collect();
        let indicators = |codes: &[u32], levels: u32| -> Vec<Vec<f64>> {
            (0..levels).map(|level| codes.iter().map(|code| (*code == level) as u8 as f64).collect()).collect()
        };
        // One level of the first factor has no column, and one column of the second never occurs.
        let dense = [vec![x.clone()], indicators(&first, 40), vec![small.clone()], indicators(&second, 33)].concat();
        let mut columns = vec![Column::Dense(&x)];
        columns.extend((0..40).map(|code| Column::Indicator { codes: &first, code }));
        columns.push(Column::Dense(&small));
        columns.extend((0..33).map(|code| Column::Indicator { codes: &second, code }));
        for weights in [None, Some(&weights[..])] {
            let sparse = Block { rows, columns: columns.clone(), weights };
            let full = Block { rows, columns: dense.iter().map(|c| Column::Dense(c)).collect(), weights };
            let expected = Moments::of(&full).unwrap();
            let mut state = Moments::of(&sparse).unwrap();
            assert!(state == expected, "{rows} rows, weighted: {}", weights.is_some());
            state.push(&full).unwrap();
            state.remove(&sparse).unwrap();
            assert!(state == expected);
            state.remove(&sparse).unwrap();
            assert!(state == Moments::new(dense.len()));
            let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
            assert!(one.install(|| Moments::of(&sparse).unwrap()) == expected);
        }
    }
}

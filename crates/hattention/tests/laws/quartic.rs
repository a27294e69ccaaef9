//! Laws of the sums of products of four columns, and of the errors that are read of them.

use hattention::codec::States;
use hattention::double_double::DoubleDouble;
use hattention::fit::{Covariance, Scores, Vcov};
use hattention::quartic::MOST_COLUMNS;
use hattention::{Aliased, Block, Column, Error, Filter, Fit, QuarticMoments, RankTolerance, Whitening};
use serde_json::json;

use crate::support::{Case, Fraction, Source, Truth, Values};
use crate::table::{EPSILON, regular, steps, weighted_designs};

fn of_rows(case: &Case, rows: &[usize]) -> QuarticMoments {
    QuarticMoments::of(&case.at(rows).block()).unwrap()
}

fn all(case: &Case) -> QuarticMoments {
    QuarticMoments::of(&case.block()).unwrap()
}

fn bytes(case: &Case, quartic: &QuarticMoments) -> Vec<u8> {
    let states = vec![("moments".into(), case.moments())];
    States { states, quartic: Some(quartic.clone()), extra: json!(1) }.to_bytes().unwrap()
}

#[test]
fn splits_trees_and_removals_leave_no_trace() {
    let mut source = Source(31);
    for case in weighted_designs() {
        let (rows, whole) = (case.rows(), all(&case));
        let split = rows / 3;
        let (mut left, right) = (of_rows(&case, &(0..split).collect::<Vec<_>>()), case.slice(split..rows));
        let ids: Vec<usize> = (0..=case.columns.len()).collect();
        left.push_at(&right, &ids).unwrap();
        assert!(left == whole, "{}: pushed in parts", case.name);
        left.remove_at(&right, &ids).unwrap();
        assert!(left == of_rows(&case, &(0..split).collect::<Vec<_>>()), "{}: removed", case.name);
        let mut pool: Vec<QuarticMoments> = source.order(rows).iter().map(|&row| of_rows(&case, &[row])).collect();
        while pool.len() > 1 {
            let other = pool.swap_remove(source.integer(0, pool.len() as i64 - 1) as usize);
            pool[0].merge(&other);
        }
        assert!(pool[0] == whole, "{}: merged in a tree", case.name);
        assert_eq!(bytes(&case, &pool[0]), bytes(&case, &whole), "{}: as a file", case.name);
        assert_eq!(pool[0].rows(), case.moments().rows());
        let mut apart = whole.clone();
        apart.subtract(&of_rows(&case, &(split..rows).collect::<Vec<_>>())).unwrap();
        assert!(apart == of_rows(&case, &(0..split).collect::<Vec<_>>()), "{}: subtracted", case.name);
        assert_eq!(apart.impossible_column(), None);
    }
}

#[test]
fn columns_move_with_their_sums() {
    let case = weighted_designs().into_iter().find(|case| case.columns.len() == 3 && case.weights.is_some()).unwrap();
    let order = [2, 0, 3, 1];
    let columns = order.iter().map(|&column| case.block().columns[column]).collect();
    let moved = Block { columns, ..case.block() };
    let whole = all(&case);
    assert!(whole.select(&order).unwrap() == QuarticMoments::of(&moved).unwrap());
    let mut state = QuarticMoments::new(0).unwrap();
    state.push_at(&moved, &order).unwrap();
    assert!(state == whole, "pushed at other columns");
    assert!(
        whole.select(&[0, 2]).unwrap()
            == QuarticMoments::of(&Block {
                columns: [0, 2].iter().map(|&column| case.block().columns[column]).collect(),
                ..case.block()
            })
            .unwrap()
    );
    assert!(matches!(whole.select(&[0, 0]), Err(Error::Parameter { .. })));
    assert!(matches!(whole.select(&[4]), Err(Error::Shape { .. })));
}

/// Exact variances `Σ (Σ_j inverse_kj x_ij)² w² e²` of the coefficients, with the residuals of the fit as it stands.
fn variances(case: &Case, truth: &Truth, fit: &Fit) -> Vec<Fraction> {
    let value = |values: &Values, row: usize| match values {
        Values::Dense(x) => Fraction::of(x[row]),
        Values::Pair(hi, lo) => Fraction::of(hi[row]).add(&Fraction::of(lo[row])),
    };
    let one = Values::Dense(vec![1.0; case.rows()]);
    let columns: Vec<&Values> = case.intercept.then_some(&one).into_iter().chain(&case.columns).collect();
    let pair = |b: &DoubleDouble| Fraction::of(b.hi).add(&Fraction::of(b.lo));
    let coefficients: Vec<Fraction> =
        case.intercept.then_some(&fit.raw_intercept).into_iter().chain(&fit.raw).map(pair).collect();
    let mut sums = vec![Fraction::of(0.0); truth.kept.len()];
    for row in 0..case.rows() {
        let weight = Fraction::of(case.weights.as_ref().map_or(1.0, |w| w[row]));
        let mut residual = value(&case.target, row);
        for (column, coefficient) in columns.iter().zip(&coefficients) {
            residual = residual.sub(&coefficient.mul(&value(column, row)));
        }
        let score = residual.mul(&weight);
        for (sum, inverse) in sums.iter_mut().zip(&truth.inverse) {
            let along = columns
                .iter()
                .zip(inverse)
                .fold(Fraction::of(0.0), |along, (column, factor)| along.add(&factor.mul(&value(column, row))));
            let part = along.mul(&score);
            *sum = sum.add(&part.mul(&part));
        }
    }
    sums
}

/// What rounding keys and the map to coefficients to doubles can change a standard error by: `c p² ε κ` of what the map's
/// length and the middle allow.
fn tolerance(case: &Case, truth: &Truth, covariance: &Covariance, coefficient: usize) -> f64 {
    let row = &covariance.loading[coefficient];
    let hattention::fit::covariance::Middle::Full(middle) = &covariance.middle else { panic!("no middle") };
    let size = row.len();
    let spread: f64 = (0..size).map(|k| middle[k * size + k]).sum::<f64>().sqrt();
    let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
    let columns = 2.0 + case.columns.len() as f64;
    40.0 * columns * columns * EPSILON * 10f64.powf(truth.condition_log10()) * length * spread
}

#[test]
fn errors_from_sums_are_those_of_a_second_pass_and_the_exact_ones() {
    let mut compared = 0;
    for case in regular() {
        let truth = Truth::of(&case);
        if truth.rows <= truth.kept.len() || truth.residual_sum.is_zero() || truth.condition_log10() > 13.0 {
            continue;
        }
        let (whitening, fit) = case.solve(&case.moments(), Filter::Ols, Aliased::Error, RankTolerance::Exact).unwrap();
        let quartic = all(&case);
        let target = case.columns.len();
        let covariance = quartic.covariance(&whitening, &fit, target, &Vcov::Hc0).unwrap();
        let ids: Vec<usize> = (0..target).collect();
        let block = case.block();
        let design = Block { columns: block.columns[..target].to_vec(), ..block.clone() };
        let mut scores = Scores::new(&whitening, &fit, Vcov::Hc0).unwrap();
        scores.push(&whitening, &fit, &design, &ids, block.columns[target], &[]).unwrap();
        let second = scores.finish(&whitening, &fit).unwrap();
        for (coefficient, exact) in variances(&case, &truth, &fit).iter().enumerate() {
            let bound = tolerance(&case, &truth, &covariance, coefficient);
            let (got, other) = (covariance.std_error(coefficient), second.std_error(coefficient));
            let exact = exact.to_f64().sqrt();
            assert!((got - exact).abs() <= bound, "{}: {coefficient}: {got} for {exact}, {bound}", case.name);
            // (A second pass forms residuals in doubled arithmetic: too few bits for weights of a thousand.)
            let alike = (got - other).abs() <= 2.0 * bound || case.name.ends_with("weights of all sizes");
            assert!(alike, "{}: {coefficient}: {got} beside {other}", case.name);
            compared += 1;
        }
        let hc1 = quartic.covariance(&whitening, &fit, target, &Vcov::Hc1).unwrap();
        let factor = (fit.rows as f64 / fit.df_residual).sqrt();
        assert!((hc1.std_error(0) / covariance.std_error(0) - factor).abs() < 1e-13 || covariance.std_error(0) == 0.0);
    }
    assert!(compared > 50, "{compared}");
}

#[test]
fn powers_far_from_zero_keep_their_digits() {
    // Powers as pairs, and a target far from zero: residuals and keys cancel a hundred bits of the sums.
    let x: Vec<f64> = steps(60, |i| i * 0.15 - 1.0);
    let powers = (1..=6).map(|k| Values::of_pairs(x.iter().map(|&x| DoubleDouble::from(x).powi(k)))).collect();
    let target = steps(60, |i| 1e6 + (i * 0.7).sin());
    let case = Case::new("powers", powers, target, true);
    let truth = Truth::of(&case);
    let (whitening, fit) = case.ols(RankTolerance::Exact).unwrap();
    let covariance = all(&case).covariance(&whitening, &fit, 6, &Vcov::Hc0).unwrap();
    for (coefficient, exact) in variances(&case, &truth, &fit).iter().enumerate() {
        let relative = covariance.std_error(coefficient) / exact.to_f64().sqrt() - 1.0;
        assert!(relative.abs() < 1e-10, "{coefficient}: {relative:e}");
    }
}

#[test]
fn threads_and_levels_do_not_show() {
    let rows = 10_000;
    let mut source = Source(5);
    let (x, y) = (source.reals(rows), source.reals(rows));
    let codes: Vec<u32> = (0..rows).map(|_| source.integer(0, 2) as u32).collect();
    let weights: Vec<f64> = source.integers(rows, 0, 3);
    let block = |range: std::ops::Range<usize>| {
        let (codes, hi) = (&codes[range.clone()], &x[range.clone()]);
        let levels = (0..3).map(|code| Column::Indicator { codes, code });
        let within = (0..2).map(|code| Column::Within { codes, code, hi, lo: None });
        let columns = levels.chain(within).chain([Column::Dense(&y[range.clone()])]).collect();
        Block { rows: range.len(), columns, weights: Some(&weights[range]) }
    };
    let whole = QuarticMoments::of(&block(0..rows)).unwrap();
    let mut parts = QuarticMoments::new(6).unwrap();
    let ids: Vec<usize> = (0..6).collect();
    (0..rows).step_by(617).for_each(|start| parts.push_at(&block(start..rows.min(start + 617)), &ids).unwrap());
    assert!(parts == whole);
    // The same columns as plain numbers.
    let level = |code: u32| -> Vec<f64> { codes.iter().map(|c| f64::from(u8::from(*c == code))).collect() };
    let levels: Vec<Vec<f64>> = (0..3).map(level).collect();
    let within: Vec<Vec<f64>> = levels[..2].iter().map(|l| l.iter().zip(&x).map(|(l, x)| l * x).collect()).collect();
    let dense = levels.iter().chain(&within).map(|c| Column::Dense(c)).chain([Column::Dense(&y)]).collect();
    let dense = Block { rows, columns: dense, weights: Some(&weights) };
    assert!(QuarticMoments::of(&dense).unwrap() == whole);
}

#[test]
fn what_sums_cannot_give_is_refused() {
    let few = vec![[1.0]; MOST_COLUMNS + 1];
    let block = Block { rows: 1, columns: few.iter().map(|x| Column::Dense(x)).collect(), weights: None };
    let refused = QuarticMoments::of(&block).unwrap_err().to_string();
    assert!(refused.contains("51") && refused.contains("at most 50"), "{refused}");
    let mut state = QuarticMoments::new(1).unwrap();
    assert!(matches!(
        state.push_at(&Block { rows: 1, columns: vec![Column::Dense(&[1.0])], weights: None }, &[50]),
        Err(Error::Parameter { .. })
    ));
    let nan = Block { rows: 1, columns: vec![Column::Dense(&[f64::NAN])], weights: None };
    assert!(matches!(state.push_at(&nan, &[0]), Err(Error::NonFinite { .. })));
    assert!(matches!(
        state.remove_at(&Block { rows: 1, columns: vec![Column::Dense(&[1.0])], weights: None }, &[0]),
        Err(Error::RemovedTooMany { .. })
    ));
    let case = &regular()[0];
    let (whitening, fit): (Whitening, Fit) = case.ols(RankTolerance::Rounding).unwrap();
    let quartic = all(case);
    let target = case.columns.len();
    for kind in [Vcov::Iid, Vcov::Hc2, Vcov::Hc3, Vcov::Hac { lag: 1 }, Vcov::Cluster { columns: vec!["g".into()] }] {
        let refused = quartic.covariance(&whitening, &fit, target, &kind).unwrap_err().to_string();
        assert!(refused.contains(&kind.to_string()), "{refused}");
    }
    assert!(matches!(quartic.covariance(&whitening, &fit, 9, &Vcov::Hc0), Err(Error::Shape { .. })));
    let ridge = case.solve(
        &case.moments(),
        Filter::Ridge { alpha: 1.0, standardize: false },
        Aliased::Error,
        RankTolerance::Rounding,
    );
    let (whitening, fit) = ridge.unwrap();
    assert!(matches!(quartic.covariance(&whitening, &fit, target, &Vcov::Hc0), Err(Error::Parameter { .. })));
}

#[test]
fn files_are_read_back_and_damaged_ones_refused() {
    for case in weighted_designs() {
        let quartic = all(&case);
        let good = bytes(&case, &quartic);
        let read = States::from_bytes(&good).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert!(read.quartic.as_ref() == Some(&quartic), "{}", case.name);
        assert_eq!(read.to_bytes().unwrap(), good, "{}", case.name);
        assert_eq!(read.get("moments"), Some(&case.moments()));
    }
    let case = &weighted_designs()[0];
    let good = bytes(case, &all(case));
    for length in (0..good.len()).step_by(7) {
        assert!(matches!(States::from_bytes(&good[..length]), Err(Error::Format { .. })), "{length} bytes");
    }
    let mut refused = 0;
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 0x81;
        match States::from_bytes(&changed) {
            Ok(_) => {}
            Err(Error::Format { .. }) => refused += 1,
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    assert!(refused > good.len() / 4, "{refused} of {} changes refused", good.len());
}

//! Data of any kind: nothing panics, nothing is lost.

use hattention::{
    Aliased, Block, Column, Design, Error, Filter, Fit, Moments, RankTolerance, Whitening, WhiteningOptions,
};
use proptest::prelude::*;

use crate::support::{Case, Source, Truth};
use crate::table::EPSILON;

/// Any double at all, with the awkward ones often.
fn any_double() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => any::<u64>().prop_map(f64::from_bits),
        2 => (-9i32..9).prop_map(f64::from),
        1 => prop_oneof![
            Just(0.0), Just(-0.0), Just(f64::from_bits(1)), Just(f64::MAX), Just(f64::MIN_POSITIVE), Just(f64::NAN),
            Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(1e270), Just(1e-300), Just(-1e150), Just(1.0 + EPSILON)
        ],
    ]
}

fn finite_double() -> impl Strategy<Value = f64> {
    any_double().prop_map(|x| if x.is_finite() { x } else { f64::from_bits(x.to_bits() & !(1 << 62)) })
}

/// Tables of up to 11 rows and 4 columns (the last is the target), and weights.
fn table(value: impl Strategy<Value = f64> + Clone) -> impl Strategy<Value = (Vec<Vec<f64>>, Option<Vec<f64>>)> {
    (0usize..12, 1usize..5).prop_flat_map(move |(rows, columns)| {
        let column = prop::collection::vec(value.clone(), rows);
        let weights = prop::option::of(prop::collection::vec(value.clone(), rows));
        (prop::collection::vec(column, columns), weights)
    })
}

fn block_of<'a>(columns: &'a [Vec<f64>], weights: &'a Option<Vec<f64>>, range: std::ops::Range<usize>) -> Block<'a> {
    Block {
        rows: range.len(),
        columns: columns.iter().map(|c| Column::Dense(&c[range.clone()])).collect(),
        weights: weights.as_ref().map(|w| &w[range]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        max_shrink_iters: 300,
        rng_seed: proptest::test_runner::RngSeed::Fixed(11),
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_data_panics(
        (columns, weights) in table(any_double().boxed()),
        alpha in any_double(),
        count in 0usize..6,
        intercept: bool,
        standardize: bool,
        aliased in prop_oneof![Just(Aliased::Error), Just(Aliased::Drop), Just(Aliased::MinNorm)],
        rank_tolerance in prop_oneof![Just(RankTolerance::Rounding), Just(RankTolerance::Exact)],
    ) {
        let rows = columns[0].len();
        let block = block_of(&columns, &weights, 0..rows);
        let bad_entry = columns.iter().flatten().any(|x| !x.is_finite());
        let bad_weight = weights.iter().flatten().any(|w| !(w.is_finite() && *w >= 0.0));
        let moments = match Moments::of(&block) {
            Ok(moments) => {
                prop_assert!(!bad_entry && !bad_weight);
                moments
            }
            Err(Error::NonFinite { row, column, value }) => {
                prop_assert!(bad_entry && columns[column][row].to_bits() == value.to_bits() && !value.is_finite());
                return Ok(());
            }
            Err(Error::Weight { row, value }) => {
                prop_assert!(bad_weight && weights.unwrap()[row].to_bits() == value.to_bits());
                return Ok(());
            }
            Err(other) => panic!("{other}"),
        };
        let design = Design::plain((1..columns.len()).map(|k| format!("x{k}")), intercept);
        for filter in [Filter::Ols, Filter::Ridge { alpha, standardize }, Filter::Components { count, standardize }] {
            let options = WhiteningOptions { aliased, rank_tolerance, ..WhiteningOptions::default() };
            match Whitening::of(&moments, &design, filter, options, None) {
                Ok(whitening) => {
                    let fit = Fit::of(&moments, &whitening, columns.len() - 1, "y").unwrap();
                    let reported = fit.coefficients(0.95);
                    prop_assert_eq!(reported.len(), design.names.len() + intercept as usize);
                    prop_assert!(fit.residual_sum >= 0.0);
                    prop_assert!(filter != Filter::Ols || whitening.condition >= 0.99, "{}", whitening.condition);
                    for c in reported {
                        prop_assert!(!c.estimate.is_some_and(f64::is_nan));
                        prop_assert!(c.std_error.is_none_or(|se| se >= 0.0));
                    }
                    let _ = (fit.f_test(), fit.aic(), fit.bic(), fit.adj_r_squared());
                }
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }

    #[test]
    fn any_finite_table_splits_merges_and_removes_exactly(
        (columns, weights) in table(finite_double().boxed()),
        splits in (0usize..12, 0usize..12),
        seed: u64,
    ) {
        let weights = weights.map(|w| w.iter().map(|x| x.abs()).collect::<Vec<f64>>());
        let rows = columns[0].len();
        let (a, b) = (splits.0.min(rows), splits.1.min(rows));
        let (a, b) = (a.min(b), a.max(b));
        let state = |range| Moments::of(&block_of(&columns, &weights, range)).unwrap();
        let whole = state(0..rows);
        let mut merged = state(b..rows);
        merged.merge(&state(0..a));
        merged.merge(&state(a..b));
        prop_assert!(merged == whole);
        merged.remove(&block_of(&columns, &weights, a..b)).unwrap();
        let mut without = state(0..a);
        without.push(&block_of(&columns, &weights, b..rows)).unwrap();
        prop_assert!(merged == without);
        let order = Source(seed).order(rows);
        let shuffled: Vec<Vec<f64>> = columns.iter().map(|c| order.iter().map(|&row| c[row]).collect()).collect();
        let other = weights.as_ref().map(|w| order.iter().map(|&row| w[row]).collect::<Vec<f64>>());
        prop_assert!(Moments::of(&block_of(&shuffled, &other, 0..rows)).unwrap() == whole);
    }

    #[test]
    fn any_finite_table_is_solved_exactly(
        (columns, weights) in table(finite_double().boxed()),
        intercept: bool,
    ) {
        let weights = weights.map(|w| w.iter().map(|x| x.abs()).collect::<Vec<f64>>());
        let (target, columns) = columns.split_last().unwrap();
        let mut case = Case::dense("any table", columns.to_vec(), target.clone(), intercept);
        case.weights = weights;
        let moments = case.moments();
        prop_assume!(moments.rows() > 0);
        let truth = Truth::of(&case);
        // A thousand bits tell independent columns from dependent ones only up to a condition of 2^500.
        prop_assume!(truth.condition_log10() < 140.0);
        let (_, fit) = case.solve(&moments, Filter::Ols, Aliased::Drop, RankTolerance::Exact).unwrap();
        for (k, exact) in truth.coefficients.iter().enumerate() {
            let Some(exact) = exact else {
                prop_assert!(fit.estimates[k].is_none());
                continue;
            };
            let estimate = fit.estimates[k].map(|b| b.to_f64());
            prop_assert!(estimate.is_some(), "{} is independent", fit.names[k]);
            if exact.log2() < 1023.0 && exact.log2() > -1021.0 {
                let (digits, reported) = (exact.digits(estimate.unwrap()), fit.coefficient_digits[k].unwrap());
                prop_assert!(reported <= digits + 0.5, "{} digits reported of {}: {:e} for {:e}", reported, digits, estimate.unwrap(), exact.to_f64());
            }
        }
    }
}

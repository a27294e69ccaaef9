//! Laws of the in-memory rung: the same fits as from the state, the same bits on any number of threads.

use hattention::attention::Keys;
use hattention::{Block, Column, Design, Error, Method, Moments, RankTolerance, WhiteningOptions, in_memory};

use crate::support::{Case, Source, Truth};
use crate::table::{EPSILON, bits};

/// Rows that cross chains, spans and panels of the kernels: few columns, many, and more than a thread's share.
fn shapes() -> Vec<Case> {
    [(300, 2), (5000, 11), (2100, 60), (2305, 230)]
        .into_iter()
        .enumerate()
        .map(|(seed, (rows, count))| {
            let mut source = Source(3000 + seed as u64);
            let columns: Vec<Vec<f64>> =
                (0..count).map(|k| source.reals(rows).iter().map(|x| x + 10.0 * (k % 3) as f64).collect()).collect();
            let noise = source.reals(rows);
            let target = (0..rows).map(|i| 3.0 + columns[0][i] - 0.5 * columns[count - 1][i] + noise[i]).collect();
            Case::dense(format!("{rows} x {count}"), columns, target, seed != 1)
        })
        .collect()
}

#[test]
fn fits_in_memory_are_those_of_the_state() {
    for case in shapes() {
        let (whitening, fit) = case.in_memory(RankTolerance::Rounding).unwrap();
        let (exact, expected) = case.ols(RankTolerance::Rounding).unwrap();
        assert_eq!(whitening.method, Method::InMemory, "{}", case.name);
        for (got, wanted) in fit.coefficients(0.95).iter().zip(expected.coefficients(0.95)) {
            assert_eq!(got.name, wanted.name);
            assert_eq!(got.estimate, wanted.estimate, "{}: {}", case.name, got.name);
            let (got, wanted) = (got.std_error.unwrap(), wanted.std_error.unwrap());
            assert!((got / wanted - 1.0).abs() < 1e-11, "{}: {got} for {wanted}", case.name);
        }
        let close = |got: f64, wanted: f64, allowed: f64| {
            assert!((got - wanted).abs() <= allowed * wanted.abs(), "{}: {got} for {wanted}", case.name);
        };
        close(fit.residual_sum, expected.residual_sum, 4.0 * EPSILON);
        close(fit.total_sum, expected.total_sum, 4.0 * EPSILON);
        close(fit.r_squared(), expected.r_squared(), 1e-14);
        close(fit.log_likelihood(), expected.log_likelihood(), 1e-14);
        close(fit.target_mean, expected.target_mean, EPSILON);
        close(whitening.condition, exact.condition, 1e-3);
        close(fit.f_test().unwrap().statistic, expected.f_test().unwrap().statistic, 1e-13);
        let square = |memory: &[f64]| memory.iter().map(|m| m * m).sum::<f64>();
        close(square(&fit.memory), square(&expected.memory), 1e-13);
        // Keys are orthonormal: leverages add up to the rank.
        let ids: Vec<usize> = (0..case.columns.len()).collect();
        let block = case.block();
        let rows = Block { columns: block.columns[..ids.len()].to_vec(), ..block };
        let trace: f64 = Keys::of(&whitening, &rows, &ids).unwrap().leverages(None).iter().sum();
        close(trace, whitening.rank as f64, 1e-12);
    }
}

#[test]
fn threads_change_no_bit_in_memory() {
    for case in shapes() {
        let prints: Vec<Vec<u64>> = [1, 2, 3, 4]
            .into_iter()
            .map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let (whitening, fit) = pool.install(|| case.in_memory(RankTolerance::Rounding)).unwrap();
                assert_eq!(whitening.method, Method::InMemory);
                bits(&whitening, &fit)
            })
            .collect();
        assert!(prints.windows(2).all(|pair| pair[0] == pair[1]), "{}", case.name);
    }
}

#[test]
fn what_doubles_cannot_hold_goes_to_the_state() {
    let mut source = Source(3100);
    let rows = 400;
    let x = source.reals(rows);
    let y = source.reals(rows);
    let near: Vec<f64> = x.iter().zip(&source.reals(rows)).map(|(x, e)| x + 1e-9 * e).collect();
    let huge: Vec<f64> = x.iter().map(|x| x * 1e160).collect();
    let exact: Vec<f64> = x.iter().map(|x| 2.0 * x).collect();
    let weights = source.integers(rows, 1, 5);
    let cases = [
        Case::dense("near twins", vec![x.clone(), near], y.clone(), true),
        Case::dense("squares beyond the doubles", vec![huge], y.clone(), true),
        Case::dense("perfect fit", vec![x.clone()], exact, false),
        Case::dense("constant target", vec![x.clone()], vec![1.0; rows], true),
        Case::dense("weights", vec![x.clone()], y.clone(), true).weighted("1 to 5", weights),
    ];
    for case in &cases {
        let (whitening, fit) = case.in_memory(RankTolerance::Rounding).unwrap();
        assert_eq!(whitening.method, Method::Extended, "{}", case.name);
        let truth = Truth::of(case);
        for (b, exact) in fit.estimates.iter().zip(&truth.coefficients) {
            assert!(exact.as_ref().unwrap().digits(b.unwrap().to_f64()) > 15.5, "{}", case.name);
        }
    }
}

#[test]
fn several_targets_share_a_factor_in_memory() {
    let case = &shapes()[1];
    let mut block = case.block();
    let other: Vec<f64> = Source(3200).reals(case.rows());
    block.columns.push(Column::Dense(&other));
    let count = case.columns.len();
    let targets = [(count, "y"), (count + 1, "z")];
    let (_, fits) = in_memory::fit(&block, &case.design(), &targets, WhiteningOptions::default()).unwrap();
    let (_, alone) = case.in_memory(RankTolerance::Rounding).unwrap();
    assert_eq!(fits[0].estimates, alone.estimates);
    assert_eq!(fits[1].target, "z");
    let moments = Moments::of(&block).unwrap();
    let state =
        hattention::Whitening::of(&moments, &case.design(), hattention::Filter::Ols, WhiteningOptions::default(), None)
            .unwrap();
    let expected = hattention::Fit::of(&moments, &state, count + 1, "z").unwrap();
    for (got, wanted) in fits[1].coefficients(0.9).iter().zip(expected.coefficients(0.9)) {
        assert_eq!(got.estimate, wanted.estimate);
    }
}

#[test]
fn refusals_in_memory_are_those_of_the_state() {
    let (x, y) = ([1.0, 2.0, f64::NAN, 4.0], [1.0, 2.0, 3.0, 5.0]);
    let fit = |x: &[f64], y: &[f64], columns: &[usize]| {
        let block = Block { rows: 4, columns: vec![Column::Dense(x), Column::Dense(y)], weights: None };
        let design = Design {
            names: columns.iter().map(|c| format!("x{c}")).collect(),
            columns: columns.iter().map(|c| Some(*c)).collect(),
            intercept: true,
            orthogonal: Vec::new(),
        };
        in_memory::fit(&block, &design, &[(1, "y")], WhiteningOptions::default()).map(|_| ())
    };
    assert!(matches!(fit(&x, &y, &[0]), Err(Error::NonFinite { row: 2, column: 0, .. })));
    assert!(matches!(fit(&[1.0, 2.0, 3.0], &y, &[0]), Err(Error::Shape { .. })));
    assert!(matches!(fit(&[2.0; 4], &y, &[0]), Err(Error::RankDeficient { rank: 1, .. })));
    assert!(matches!(fit(&y, &y, &[0, 0, 0, 0]), Err(Error::TooFewRows { rows: 4, coefficients: 5 })));
    assert!(matches!(fit(&y, &y, &[7]), Err(Error::Shape { .. })));
}

#[test]
fn nested_models_in_memory_are_compared() {
    let case = &shapes()[2];
    let block = case.block();
    let count = case.columns.len();
    let fit = |columns: usize| {
        let design = Design::plain((1..=columns).map(|k| format!("x{k}")), true);
        in_memory::fit(&block, &design, &[(count, "y")], WhiteningOptions::default()).unwrap()
    };
    let ((small_whitening, small), (large_whitening, large)) = (fit(5), fit(count));
    assert!([small_whitening, large_whitening].iter().all(|w| w.method == Method::InMemory));
    let test = hattention::fit::tests_of::nested(&small[0], &large[0]).unwrap();
    let expected = (small[0].residual_sum - large[0].residual_sum) / 55.0 / large[0].variance();
    assert!((test.statistic / expected - 1.0).abs() < 1e-12 && test.df1 == 55.0);
}

#[test]
fn a_little_explained_has_its_digits_in_memory() {
    // An effect of 1e-9 of the noise: R² is far below an ulp of one.
    let rows = 4000;
    let x: Vec<f64> = (0..rows).map(|i| (i % 2) as f64).collect();
    let y: Vec<f64> = (0..rows).map(|i| 3.0 + ((i / 2) % 2) as f64 * 2.0 - 1.0 + 1e-9 * x[i]).collect();
    let case = Case::dense("a little", vec![x], y, true);
    let (whitening, fit) = case.in_memory(RankTolerance::Rounding).unwrap();
    assert_eq!(whitening.method, Method::InMemory);
    let (_, expected) = case.ols(RankTolerance::Rounding).unwrap();
    assert!(expected.r_squared > 0.0 && expected.r_squared < 1e-17);
    assert!((fit.r_squared / expected.r_squared - 1.0).abs() < 1e-12);
    let (got, wanted) = (fit.f_test().unwrap(), expected.f_test().unwrap());
    assert!((got.statistic / wanted.statistic - 1.0).abs() < 1e-12);
}

#[test]
fn columns_of_few_values_and_near_perfect_fits_keep_their_digits_in_memory() {
    // Equal numbers round the same way every time: decimals that are no doubles, in many rows and columns.
    let mut source = Source(3300);
    let (rows, count) = (5003, 60);
    let columns: Vec<Vec<f64>> = (0..count)
        .map(|k| source.integers(rows, 0, 1 + k % 3).iter().map(|x| 0.1 + 0.3 * x / (k + 1) as f64).collect())
        .collect();
    let noise = source.reals(rows);
    for scale in [1.0, 1e-6] {
        let target = (0..rows).map(|i| 1.0 + columns.iter().map(|c| c[i]).sum::<f64>() + scale * noise[i]).collect();
        let case = Case::dense(format!("few values, noise {scale}"), columns.clone(), target, true);
        let (whitening, fit) = case.in_memory(RankTolerance::Rounding).unwrap();
        assert_eq!(whitening.method, Method::InMemory, "{}", case.name);
        let (_, expected) = case.ols(RankTolerance::Rounding).unwrap();
        for (got, wanted) in fit.coefficients(0.95).iter().zip(expected.coefficients(0.95)) {
            assert_eq!(got.estimate, wanted.estimate, "{}: {}", case.name, got.name);
            let (got, wanted) = (got.std_error.unwrap(), wanted.std_error.unwrap());
            assert!((got / wanted - 1.0).abs() < 1e-11, "{}: {got} for {wanted}", case.name);
        }
        // What is not explained, too, has its digits.
        let unexplained = |fit: &hattention::Fit| 1.0 - fit.r_squared;
        let allowed = 1e-14 + EPSILON / unexplained(&expected);
        assert!((unexplained(&fit) / unexplained(&expected) - 1.0).abs() < 4.0 * allowed, "{}", case.name);
    }
}

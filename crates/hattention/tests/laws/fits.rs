//! Laws of the fits: what filters and degrees of freedom must be.

use hattention::{Aliased, Filter, RankTolerance};

use crate::support::exact::Penalty;
use crate::support::{Case, Fraction, Source, Truth, Values};
use crate::table::{EPSILON, regular, weighted_designs};

#[test]
fn coefficients_standard_errors_and_residuals_are_the_exact_ones() {
    let cases = regular();
    assert!(cases.len() > 40);
    for case in cases {
        let truth = Truth::of(&case);
        let (whitening, fit) = case.ols(RankTolerance::Exact).unwrap();
        assert_eq!(whitening.rank, truth.kept.len());
        assert!(
            (whitening.condition.log10() - truth.condition_log10()).abs() < 2f64.log10(),
            "{} {} {}",
            case.name,
            whitening.condition.log10(),
            truth.condition_log10()
        );
        let residuals = truth.residual_sum.digits(fit.residual_sum);
        assert!(residuals > 13.0, "{}: {} for {:e}", case.name, fit.residual_sum, truth.residual_sum.to_f64());
        let variances = truth.variances();
        for (k, c) in fit.coefficients(0.95).iter().enumerate() {
            let digits = truth.coefficients[k].as_ref().unwrap().digits(c.estimate.unwrap());
            assert!(digits >= 15.5, "{}: {digits} digits of {}", case.name, c.name);
            match (&variances, c.std_error) {
                (None, None) => {}
                (Some(v), Some(se)) if v[k].is_zero() => assert_eq!(se, 0.0, "{}", case.name),
                // Standard errors whose squares leave the doubles are asked for in `honest_digits`.
                (Some(v), _) if v[k].log2().abs() > 1000.0 => {}
                (Some(v), Some(se)) => {
                    let digits = v[k].root_digits(se);
                    assert!(digits > 13.0, "{}: {digits} digits of the error of {}", case.name, c.name);
                }
                other => panic!("{}: {:?}", case.name, other.1),
            }
        }
    }
}

#[test]
fn extreme_numbers_are_solved_exactly_too() {
    for case in weighted_designs() {
        let truth = Truth::of(&case);
        let (_, fit) = case.solve(&case.moments(), Filter::Ols, Aliased::Drop, RankTolerance::Exact).unwrap();
        for (k, exact) in truth.coefficients.iter().enumerate() {
            let Some(exact) = exact else {
                assert!(fit.estimates[k].is_none(), "{}: {} depends on the others", case.name, fit.names[k]);
                continue;
            };
            if truth.condition_log10() > 140.0 {
                continue;
            }
            // Beyond the range of normal doubles there are no digits to ask for.
            if exact.log2() > 1023.0 || (!exact.is_zero() && exact.log2() < -1021.0) {
                continue;
            }
            let estimate = fit.estimates[k].map(|b| b.to_f64());
            let digits = estimate.map_or(0.0, |b| exact.digits(b));
            assert!(digits >= 15.5, "{}: {estimate:?} for {:e}", case.name, exact.to_f64());
        }
    }
}

#[test]
fn ridge_ends_at_least_squares_and_at_the_mean() {
    for case in regular() {
        let moments = case.moments();
        let truth = Truth::of(&case);
        let ridge = |alpha: f64| {
            let filter = Filter::Ridge { alpha, standardize: true };
            case.solve(&moments, filter, Aliased::Error, RankTolerance::Exact).unwrap()
        };
        let (none, fit) = ridge(0.0);
        let (whitening, ols) = case.ols(RankTolerance::Exact).unwrap();
        assert_eq!(fit.estimates, ols.estimates, "{}", case.name);
        assert_eq!(none.effective_df, whitening.effective_df);
        // β(α) − β = −α (C + αP)⁻¹ P β with P = diag(C)/Σw, so the relative change is about α κ² / Σw.
        let change = 1e-16 * whitening.weight_total / (1.0 + whitening.condition * whitening.condition);
        let (_, fit) = ridge(change);
        for (k, (near, exact)) in fit.estimates.iter().zip(&truth.coefficients).enumerate() {
            let (near, exact) = (near.unwrap().to_f64(), exact.as_ref().unwrap());
            if exact.is_zero() {
                continue;
            }
            let largest = (case.intercept as usize..truth.kept.len())
                .map(|j| (truth.coefficients[j].as_ref().unwrap().log2() + truth.gram[j][j].log2() / 2.0).exp2())
                .fold(0.0, f64::max);
            let own = (exact.log2() + truth.gram[k][k].log2() / 2.0).exp2();
            let allowed = 8.0 * EPSILON * (1.0 + whitening.condition * largest / own);
            let error = 10f64.powf(exact.error_log10(near));
            assert!(error <= allowed, "{}: {} off by {error:e} > {allowed:e}", case.name, fit.names[k]);
        }
        // The other end: the mean and nothing else.
        let (far, fit) = ridge(1e100 * whitening.weight_total);
        let slopes = &fit.estimates[case.intercept as usize..];
        let reach = |k: usize| {
            let j = k + case.intercept as usize;
            (slopes[k].unwrap().to_f64().abs().log2() + truth.gram[j][j].log2() / 2.0).exp2()
        };
        let scale = fit.total_sum.sqrt() * (truth.kept.len() as f64) * whitening.condition;
        assert!((0..slopes.len()).all(|k| reach(k) <= 1e-99 * scale), "{}", case.name);
        assert!((far.effective_df - case.intercept as u8 as f64).abs() < 1e-60);
        if case.intercept {
            let mean = Truth::of(&Case { columns: Vec::new(), ..case.clone() });
            let mean = mean.coefficients[0].as_ref().unwrap();
            assert!(mean.digits(fit.estimates[0].unwrap().to_f64()) > 15.0, "{}", case.name);
            assert!(mean.digits(fit.target_mean) > 15.0);
        }
    }
}

#[test]
fn all_components_are_least_squares() {
    for case in regular() {
        let truth = Truth::of(&case);
        let moments = case.moments();
        let count = case.columns.len();
        for standardize in [false, true] {
            // Unscaled, the smallest component of graded columns is beyond any cut-off; so it is with a condition that large.
            if case.name.starts_with("graded") && !standardize || truth.condition_log10() > 15.0 {
                continue;
            }
            let filter = Filter::Components { count, standardize };
            let (whitening, fit) = case
                .solve(&moments, filter, Aliased::Error, RankTolerance::Exact)
                .unwrap_or_else(|e| panic!("{}: {e}", case.name));
            assert_eq!(whitening.effective_df, (count + case.intercept as usize) as f64);
            for (k, b) in fit.estimates.iter().enumerate() {
                let exact = truth.coefficients[k].as_ref().unwrap();
                let b = b.unwrap().to_f64();
                let (digits, reported) = (exact.digits(b), fit.coefficient_digits[k].unwrap());
                if !exact.is_zero() {
                    assert!(digits >= 12.0, "{}: {digits} digits of {}", case.name, fit.names[k]);
                }
                assert!(reported <= digits + 0.5, "{}: {reported} digits reported of {digits}: {b:e}", case.name);
            }
            let residuals = truth.residual_sum.digits(fit.residual_sum);
            assert!(residuals > 12.0, "{}: {} for {:e}", case.name, fit.residual_sum, truth.residual_sum.to_f64());
        }
    }
}

#[test]
fn components_of_many_columns_are_refined_to_the_last_bit() {
    // From 24 columns on eigenvectors come from doubles, refined: all of them together are least squares again.
    let mut source = Source(77);
    let columns: Vec<Vec<f64>> = (0..30).map(|_| source.reals(90)).collect();
    let case = Case::dense("thirty columns", columns, source.reals(90), true);
    let (_, exact) = case.ols(RankTolerance::Exact).unwrap();
    for standardize in [false, true] {
        let filter = Filter::Components { count: 30, standardize };
        let (_, fit) = case.solve(&case.moments(), filter, Aliased::Error, RankTolerance::Exact).unwrap();
        for (k, (b, expected)) in fit.estimates.iter().zip(&exact.estimates).enumerate() {
            assert_eq!(b.unwrap().to_f64(), expected.unwrap().to_f64(), "coefficient {k}");
            assert_eq!(fit.coefficient_digits[k], Some(15.9));
        }
        assert_eq!(fit.residual_sum, exact.residual_sum);
    }
}

#[test]
fn components_of_orthogonal_columns_are_the_columns() {
    // Centred orthogonal columns of lengths 2, 20, 200: k components are the regression on the k longest.
    let signs = [[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]];
    let columns: Vec<Vec<f64>> =
        (0..3).map(|j| signs.iter().map(|row| 5.0 + row[j] * 10f64.powi(j as i32)).collect()).collect();
    let case = Case::dense("orthogonal", columns, vec![1.0, 4.0, -2.0, 9.5], true);
    let truth = Truth::of(&case);
    let moments = case.moments();
    for count in 0..=3 {
        let filter = Filter::Components { count, standardize: false };
        let (_, fit) = case.solve(&moments, filter, Aliased::Error, RankTolerance::Rounding).unwrap();
        for j in 0..3 {
            let b = fit.estimates[j + 1].unwrap().to_f64();
            if j + count >= 3 {
                assert!(truth.coefficients[j + 1].as_ref().unwrap().digits(b) > 15.0);
            } else {
                assert_eq!(b, 0.0);
            }
        }
        let part = case.columns.iter().skip(3 - count).cloned().collect();
        let part = Truth::of(&Case { columns: part, ..case.clone() });
        assert!(part.residual_sum.digits(fit.residual_sum) > 14.0 || fit.residual_sum == 0.0 && count == 3);
    }
}

#[test]
fn effective_degrees_of_freedom_are_the_trace_of_the_hat_matrix() {
    for case in regular() {
        let moments = case.moments();
        for (filter, penalty) in [
            (Filter::Ols, Penalty::None),
            (Filter::Ridge { alpha: 0.5, standardize: false }, Penalty::Plain(0.5)),
            (Filter::Ridge { alpha: 3.0, standardize: true }, Penalty::Standardized(3.0)),
            (Filter::Ridge { alpha: 1e-40, standardize: true }, Penalty::Standardized(1e-40)),
        ] {
            let truth = Truth::penalised(&case, penalty);
            let (whitening, fit) = case.solve(&moments, filter, Aliased::Error, RankTolerance::Exact).unwrap();
            let gap = truth.trace().sub(&Fraction::of(whitening.effective_df)).to_f64();
            let allowed = EPSILON * truth.kept.len() as f64;
            assert!(gap.abs() <= allowed, "{}, {filter:?}: {} is off by {gap:e}", case.name, whitening.effective_df);
            assert_eq!(fit.df_residual, truth.rows as f64 - whitening.effective_df);
            // The same by the definition, one fitted value at a time, in doubles.
            if case.name.starts_with("graded") {
                continue;
            }
            let naive = naive_trace(&case, &truth);
            let condition = 10f64.powf(Truth::of(&case).condition_log10());
            // An explicit inverse pays the square of the condition.
            let allowed = 20.0 * EPSILON * condition * condition * truth.kept.len() as f64;
            if allowed < 0.1 {
                assert!((naive - whitening.effective_df).abs() < allowed, "{}, {filter:?}: {naive}", case.name);
            }
        }
    }
}

/// `Σᵢ wᵢ x̃ᵢᵀ (XᵀWX + P)⁻¹ x̃ᵢ` with every column scaled to length one.
fn naive_trace(case: &Case, truth: &Truth) -> f64 {
    let size = truth.kept.len();
    let lengths: Vec<f64> = (0..size).map(|j| truth.gram[j][j].to_f64().sqrt()).collect();
    let entry = |row: usize, j: usize| match (case.intercept, j) {
        (true, 0) => 1.0,
        (intercept, j) => match &case.columns[j - intercept as usize] {
            Values::Dense(x) | Values::Pair(x, _) => x[row],
        },
    };
    let mut trace = 0.0;
    for row in 0..case.rows() {
        let weight = case.weights.as_ref().map_or(1.0, |w| w[row]);
        for a in 0..size {
            for b in 0..size {
                let inverse = truth.inverse[a][b].to_f64() * lengths[a] * lengths[b];
                let root = weight.sqrt();
                trace += (root * entry(row, a) / lengths[a]) * inverse * (root * entry(row, b) / lengths[b]);
            }
        }
    }
    trace
}

//! Variance inflation, against exact regressions of every column on the others.

use hattention::fit::variance_inflation;
use hattention::{
    Aliased, Design, Error, Filter, Model, Moments, Orthogonal, RankTolerance, Whitening, WhiteningOptions,
};

use crate::support::{Case, Fraction, Source, Truth, Values};
use crate::table::{EPSILON, designs, regular, steps, weighted_designs};

/// `1 / (1 − Rⱼ²)`: the column's own sum of squares over what the other columns leave of it.
fn exact_factor(case: &Case, j: usize) -> Fraction {
    let mut others = case.columns.clone();
    let target = others.remove(j);
    let total = Truth::of(&Case { columns: Vec::new(), target: target.clone(), ..case.clone() });
    let left = Truth::of(&Case { columns: others, target, ..case.clone() });
    total.residual_sum.div(&left.residual_sum)
}

fn assert_factor(case: &Case, j: usize, got: Option<f64>, exact: &Fraction) {
    // Loading, its squares and their sum: (p + 8) ε/2.
    let tolerance = (case.columns.len() as f64 + 8.0) * EPSILON / 2.0;
    let error = 10f64.powf(exact.error_log10(got.unwrap()));
    assert!(error <= tolerance, "{}: {got:?} for {:e}, x{}", case.name, exact.to_f64(), j + 1);
}

#[test]
fn factors_are_those_of_exact_regressions_on_the_others() {
    let mut compared = 0;
    for case in regular() {
        let moments = case.moments();
        let (whitening, _) = case.ols(RankTolerance::Exact).unwrap();
        let factors = variance_inflation(&moments, &whitening).unwrap();
        assert_eq!(factors.len(), case.columns.len());
        for (j, got) in factors.iter().enumerate() {
            assert_factor(&case, j, *got, &exact_factor(&case, j));
            compared += 1;
        }
    }
    assert!(compared > 120, "{compared}");
}

#[test]
fn dropped_columns_have_no_factor_and_do_not_change_the_others() {
    let mut dropped = 0;
    for case in weighted_designs() {
        let truth = Truth::of(&case);
        let ordinary = ["duplicate", "zero column", "constant column", "sum of two"];
        if !ordinary.iter().any(|name| case.name.starts_with(name)) || truth.condition_log10() > 140.0 {
            continue;
        }
        let moments = case.moments();
        let (whitening, _) = case.solve(&moments, Filter::Ols, Aliased::Drop, RankTolerance::Exact).unwrap();
        let factors = variance_inflation(&moments, &whitening).unwrap();
        let first = case.intercept as usize;
        let kept: Vec<usize> = truth.kept.iter().filter(|&&k| k >= first).map(|k| k - first).collect();
        let independent = Case { columns: kept.iter().map(|&j| case.columns[j].clone()).collect(), ..case.clone() };
        for (j, got) in factors.iter().enumerate() {
            match kept.iter().position(|&k| k == j) {
                Some(place) => assert_factor(&independent, place, *got, &exact_factor(&independent, place)),
                None => {
                    assert_eq!(*got, None, "{}: x{}", case.name, j + 1);
                    dropped += 1;
                }
            }
        }
    }
    assert!(dropped >= 15, "{dropped}");
}

#[test]
fn combinations_that_never_occurred_have_no_factor() {
    let case = &designs()[0];
    let design = Design { columns: vec![Some(0), None, Some(2)], ..case.design() };
    let options = WhiteningOptions { aliased: Aliased::Drop, ..WhiteningOptions::default() };
    let whitening = Whitening::of(&case.moments(), &design, Filter::Ols, options, None).unwrap();
    let factors = variance_inflation(&case.moments(), &whitening).unwrap();
    let two = Case { columns: vec![case.columns[0].clone(), case.columns[2].clone()], ..case.clone() };
    assert_factor(&two, 0, factors[0], &exact_factor(&two, 0));
    assert_eq!(factors[1], None);
    assert_factor(&two, 1, factors[2], &exact_factor(&two, 1));
}

#[test]
fn factors_do_not_depend_on_units() {
    // Powers of two change nothing; neither squares nor their reciprocals leave the range on the way.
    let case = &designs()[0];
    let (whitening, _) = case.ols(RankTolerance::Rounding).unwrap();
    let factors = variance_inflation(&case.moments(), &whitening).unwrap();
    for powers in [[0, 900, -900], [-1000, 1, 1000], [512, 512, 512]] {
        let scale = |(values, power): (&Values, i32)| match values {
            Values::Dense(x) => Values::Dense(x.iter().map(|v| v * 2f64.powi(power)).collect()),
            pair => pair.clone(),
        };
        let scaled = Case { columns: case.columns.iter().zip(powers).map(scale).collect(), ..case.clone() };
        let (whitening, _) = scaled.ols(RankTolerance::Rounding).unwrap();
        let other = variance_inflation(&scaled.moments(), &whitening).unwrap();
        for (a, b) in factors.iter().zip(&other) {
            assert!((a.unwrap() - b.unwrap()).abs() <= 11.0 * EPSILON * a.unwrap(), "{powers:?}: {b:?} for {a:?}");
        }
    }
    // Where the loading is beyond the doubles nothing is made up.
    let subnormal = designs().into_iter().find(|c| c.name == "subnormal").unwrap();
    let (whitening, _) = subnormal.ols(RankTolerance::Exact).unwrap();
    let factors = variance_inflation(&subnormal.moments(), &whitening).unwrap();
    assert!(factors.iter().all(|f| f.unwrap().is_nan()), "{factors:?}");
}

/// `x, x², x³` about a centre and another column; and the columns that R's `poly` makes of them, up to their lengths.
fn polynomials(centre: f64, intercept: bool) -> (Case, Case) {
    let z = vec![0.5, 3.0, -1.0, 2.0, 2.0, 7.0, -4.0, 1.5, 0.25];
    let t = steps(9, |i| i - 4.0);
    let y = steps(9, |i| (i * i * 3.0) % 7.0);
    let powers = |k: i32| -> Vec<f64> { t.iter().map(|t| (t + centre).powi(k)).collect() };
    let raw = Case::dense("powers", vec![powers(1), powers(2), powers(3), z.clone()], y.clone(), intercept);
    // On −4 … 4 the orthogonal polynomials are t, t² − 20/3 and t³ − 59/5 t.
    let second = steps(9, |i| 3.0 * (i - 4.0).powi(2) - 20.0);
    let third = steps(9, |i| 5.0 * (i - 4.0).powi(3) - 59.0 * (i - 4.0));
    let formed = Case::dense("polynomials", vec![t, second, third, z], y, intercept);
    (raw, formed)
}

#[test]
fn orthogonal_polynomials_are_inflated_as_the_columns_they_are() {
    let mut source = Source(41);
    for (centre, intercept) in [(0.0, true), (1000.0, true), (0.0, false), (1000.0, false)] {
        let (raw, formed) = polynomials(centre, intercept);
        let design = Design { orthogonal: vec![Orthogonal::alone(vec![0, 1, 2], vec![0, 1, 2])], ..raw.design() };
        let unweighted = raw.moments();
        let weights = source.integers(9, 1, 9);
        for weights in [None, Some(weights)] {
            let (raw, formed) = (Case { weights: weights.clone(), ..raw.clone() }, Case { weights, ..formed.clone() });
            let moments = raw.moments();
            let whitening =
                Whitening::of(&moments, &design, Filter::Ols, WhiteningOptions::default(), Some(&unweighted)).unwrap();
            let factors = variance_inflation(&moments, &whitening).unwrap();
            for (j, got) in factors.iter().enumerate() {
                assert_factor(&formed, j, *got, &exact_factor(&formed, j));
            }
        }
    }
    // Without company and without weights they are orthogonal, however large the powers.
    let (raw, _) = polynomials(1000.0, true);
    let alone = Case { columns: raw.columns[..3].to_vec(), ..raw };
    let design = Design { orthogonal: vec![Orthogonal::alone(vec![0, 1, 2], vec![0, 1, 2])], ..alone.design() };
    let moments = alone.moments();
    let whitening = Whitening::of(&moments, &design, Filter::Ols, WhiteningOptions::default(), None).unwrap();
    for factor in variance_inflation(&moments, &whitening).unwrap() {
        assert!((factor.unwrap() - 1.0).abs() <= 11.0 * EPSILON / 2.0, "{factor:?}");
    }
}

#[test]
fn products_of_polynomials_are_inflated_as_the_columns_they_are() {
    for case in crate::polynomials::every_case() {
        let (moments, whitening) = case.least_squares();
        let factors = variance_inflation(&moments, &whitening).unwrap();
        assert_eq!(factors.len(), case.formed.columns.len());
        for (j, got) in factors.iter().enumerate() {
            assert_factor(&case.formed, j, *got, &exact_factor(&case.formed, j));
        }
    }
}

#[test]
fn what_has_no_factors_is_refused() {
    let case = &designs()[0];
    let moments = case.moments();
    let solve = |filter, aliased| case.solve(&moments, filter, aliased, RankTolerance::Rounding).unwrap().0;
    let parameter = |name, got: &str, allowed| Err(Error::Parameter { name, got: got.into(), allowed });
    for filter in [Filter::Ridge { alpha: 1.0, standardize: false }, Filter::Components { count: 3, standardize: true }]
    {
        let refused = variance_inflation(&moments, &solve(filter, Aliased::Error));
        assert_eq!(refused, parameter("the filter", "ridge or components", "least squares"));
    }
    // Independent columns have no smallest norm to share; dependent ones have no factor.
    let plain = solve(Filter::Ols, Aliased::Error);
    let shortest = solve(Filter::Ols, Aliased::MinNorm);
    assert_eq!(variance_inflation(&moments, &shortest), variance_inflation(&moments, &plain));
    let duplicate = designs().into_iter().find(|c| c.name == "duplicate").unwrap();
    let (whitening, _) =
        duplicate.solve(&duplicate.moments(), Filter::Ols, Aliased::MinNorm, RankTolerance::Rounding).unwrap();
    let allowed = "columns that are dropped or refused";
    let refused = variance_inflation(&duplicate.moments(), &whitening);
    assert_eq!(refused, parameter("the treatment of dependent columns", "smallest norm", allowed));

    let narrow = moments.select(&[0]).unwrap();
    let shape = Err(Error::Shape { what: "the state", expected: 3, got: 1 });
    assert_eq!(variance_inflation(&narrow, &plain), shape);
    let fewer = Moments::of(&case.slice(0..39)).unwrap();
    assert!(matches!(variance_inflation(&fewer, &plain), Err(Error::IncompatibleStates { .. })));

    // A file has all it takes, but for how polynomials were formed.
    let read = |whitening: &Whitening| {
        let model = Model { whitening: whitening.clone(), fits: Vec::new(), extra: Default::default() };
        Model::from_bytes(&model.to_bytes().unwrap()).unwrap().whitening
    };
    assert_eq!(variance_inflation(&moments, &read(&plain)), variance_inflation(&moments, &plain));
    let (raw, _) = polynomials(0.0, true);
    let design = Design { orthogonal: vec![Orthogonal::alone(vec![0, 1, 2], vec![0, 1, 2])], ..raw.design() };
    let moments = raw.moments();
    let whitening = Whitening::of(&moments, &design, Filter::Ols, WhiteningOptions::default(), None).unwrap();
    assert!(variance_inflation(&moments, &whitening).is_ok());
    assert!(matches!(variance_inflation(&moments, &read(&whitening)), Err(Error::Parameter { .. })));
}

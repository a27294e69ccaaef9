//! Dependent columns: named, dropped, shared or refused.

use hattention::double_double::DoubleDouble;
use hattention::error::Dependence;
use hattention::{
    Aliased, Arithmetic, Error, Filter, Fit, INTERCEPT, Method, RankTolerance, Whitening, WhiteningOptions,
};

use crate::support::{Case, Fraction, Source, Truth, Values};
use crate::table::{EPSILON, designs};

/// Names of dependent columns, and on which earlier ones each depends.
type Dependences = Vec<(&'static str, Vec<&'static str>)>;

fn dependent_designs() -> Vec<(Case, Dependences)> {
    let rows = 9;
    let mut source = Source(9);
    let a = source.integers(rows, -9, 9);
    let b = source.integers(rows, -9, 9);
    let c = source.integers(rows, -9, 9);
    let y = source.reals(rows);
    let mix = |p: f64, q: f64, r: f64| -> Vec<f64> { (0..rows).map(|i| p * a[i] + q * b[i] + r).collect() };
    let table = |name: &str, columns: Vec<Vec<f64>>, intercept: bool| Case::dense(name, columns, y.clone(), intercept);
    vec![
        (table("duplicate", vec![a.clone(), b.clone(), a.clone()], true), vec![("x3", vec!["x1"])]),
        (table("zero", vec![a.clone(), vec![0.0; rows], b.clone()], true), vec![("x2", vec![])]),
        (table("zero alone", vec![vec![0.0; rows]], false), vec![("x1", vec![])]),
        (table("constant", vec![a.clone(), vec![3.0; rows]], true), vec![("x2", vec![INTERCEPT])]),
        (table("sum", vec![a.clone(), b.clone(), mix(1.0, 2.0, 0.0)], true), vec![("x3", vec!["x1", "x2"])]),
        (table("shifted", vec![a.clone(), c.clone(), mix(4.0, 0.0, 7.0)], true), vec![("x3", vec!["x1"])]),
        (
            table("two of five", vec![a.clone(), mix(-2.0, 0.0, 1.0), b.clone(), mix(1.0, 1.0, 1.0), c.clone()], true),
            vec![("x2", vec!["x1"]), ("x4", vec!["x1", "x3"])],
        ),
        (
            table("scaled", vec![a.clone(), a.iter().map(|v| v * 2f64.powi(400)).collect(), b.clone()], false),
            vec![("x2", vec!["x1"])],
        ),
        (
            table("more columns than rows", vec![a[..2].to_vec(), b[..2].to_vec(), vec![7.0, 9.0]], false).head(2),
            vec![("x3", vec!["x1", "x2"])],
        ),
        (
            table(
                "levels",
                (0..3).map(|level| (0..rows).map(|i| (i % 3 == level) as u8 as f64).collect()).collect(),
                true,
            ),
            vec![("x3", vec!["x1", "x2"])],
        ),
    ]
}

trait Head {
    fn head(self, rows: usize) -> Self;
}

impl Head for Case {
    /// The first rows of the target, for columns that are already short.
    fn head(mut self, rows: usize) -> Self {
        let order: Vec<usize> = (0..rows).collect();
        self.target = self.target.at(&order);
        self
    }
}

#[test]
fn dependent_columns_are_named() {
    for (case, expected) in dependent_designs() {
        for tolerance in [RankTolerance::Rounding, RankTolerance::Exact] {
            let moments = case.moments();
            let columns = case.columns.len() + case.intercept as usize;
            let check = |dependent: &[Dependence]| {
                let got: Vec<(&str, Vec<&str>)> =
                    dependent.iter().map(|d| (&d.column[..], d.on.iter().map(String::as_str).collect())).collect();
                assert_eq!(got, expected, "{}, {tolerance:?}", case.name);
                assert!(dependent.iter().all(|d| d.distance_relative == 0.0), "{}, {tolerance:?}", case.name);
            };
            match case.solve(&moments, Filter::Ols, Aliased::Error, tolerance).unwrap_err() {
                Error::RankDeficient { rank, columns: got, dependent } => {
                    assert_eq!((rank, got), (columns - expected.len(), columns), "{}", case.name);
                    check(&dependent);
                }
                Error::TooFewRows { rows, coefficients } => {
                    assert_eq!((rows, coefficients), (case.rows() as u64, columns));
                    assert!(case.rows() < columns);
                }
                other => panic!("{}: {other}", case.name),
            }
            let (whitening, fit) = case.solve(&moments, Filter::Ols, Aliased::Drop, tolerance).unwrap();
            check(&whitening.dependent);
            assert_eq!(whitening.rank, columns - expected.len());
            for (name, b) in fit.names.iter().zip(&fit.estimates) {
                assert_eq!(b.is_none(), expected.iter().any(|(dropped, _)| dropped == name), "{}", case.name);
            }
        }
    }
}

#[test]
fn dropping_equals_fitting_without_the_column() {
    for (case, expected) in dependent_designs() {
        let (whole, fit) = case.solve(&case.moments(), Filter::Ols, Aliased::Drop, RankTolerance::Rounding).unwrap();
        let keep: Vec<usize> = (0..case.columns.len())
            .filter(|k| expected.iter().all(|(name, _)| *name != format!("x{}", k + 1)))
            .collect();
        let columns = keep.iter().map(|&k| case.columns[k].clone()).collect();
        let without = Case { columns, ..case.clone() };
        let (part, other) = without.ols(RankTolerance::Rounding).unwrap();
        assert_eq!(whole.kept, keep);
        let some: Vec<DoubleDouble> = fit.estimates.iter().flatten().copied().collect();
        assert_eq!(some, other.estimates.iter().flatten().copied().collect::<Vec<_>>(), "{}", case.name);
        let errors = |fit: &Fit| -> Vec<u64> {
            fit.coefficients(0.9).iter().filter_map(|c| c.std_error).map(f64::to_bits).collect()
        };
        assert_eq!(errors(&fit), errors(&other), "{}", case.name);
        assert_eq!((fit.residual_sum, fit.effective_df), (other.residual_sum, other.effective_df));
        assert_eq!((whole.condition, &whole.key_map), (part.condition, &part.key_map));
    }
}

/// Coefficients of smallest norm (without the intercept), exactly: with `X = K M` over the kept columns K, whose
/// coefficients are `b`, they are `Mᵀ (M Mᵀ)⁻¹ b`.
fn shortest(case: &Case, truth: &Truth) -> Vec<Fraction> {
    let first = case.intercept as usize;
    let slopes: Vec<usize> = truth.kept.iter().copied().filter(|&k| k >= first).collect();
    let zero = || Fraction::of(0.0);
    let map: Vec<Vec<Fraction>> = (first..truth.coefficients.len())
        .map(|column| {
            slopes
                .iter()
                .map(|&k| {
                    if k == column {
                        return Fraction::of(1.0);
                    }
                    let relation = truth.relations.iter().find(|(c, _)| *c == column);
                    let before: Vec<usize> = truth.kept.iter().copied().filter(|&i| i < column).collect();
                    match (relation, before.iter().position(|&i| i == k)) {
                        (Some((_, on)), Some(place)) => on[place].clone(),
                        _ => zero(),
                    }
                })
                .collect()
        })
        .collect();
    let size = slopes.len();
    let mut system: Vec<Vec<Fraction>> = (0..size)
        .map(|i| {
            let row = (0..size).map(|j| map.iter().fold(zero(), |sum, m| sum.add(&m[i].mul(&m[j]))));
            row.chain([truth.coefficients[slopes[i]].clone().unwrap()]).collect()
        })
        .collect();
    for k in 0..size {
        let pivot = system[k].clone();
        for i in (0..size).filter(|&i| i != k) {
            let factor = system[i][k].div(&pivot[k]);
            for j in 0..=size {
                system[i][j] = system[i][j].sub(&factor.mul(&pivot[j]));
            }
        }
    }
    let solution: Vec<Fraction> = (0..size).map(|i| system[i][size].div(&system[i][i])).collect();
    map.iter().map(|m| m.iter().zip(&solution).fold(zero(), |sum, (a, b)| sum.add(&a.mul(b)))).collect()
}

#[test]
fn the_shortest_coefficients_are_those_of_the_pseudo_inverse() {
    for (case, _) in dependent_designs() {
        let truth = Truth::of(&case);
        let exact = shortest(&case, &truth);
        let moments = case.moments();
        let (_, dropped) = case.solve(&moments, Filter::Ols, Aliased::Drop, RankTolerance::Exact).unwrap();
        let (_, fit) = case.solve(&moments, Filter::Ols, Aliased::MinNorm, RankTolerance::Exact).unwrap();
        let first = case.intercept as usize;
        for (k, expected) in exact.iter().enumerate() {
            let estimate = fit.estimates[k + first].expect("every coefficient has its share").to_f64();
            let digits = expected.digits(estimate);
            assert!(digits >= 15.5, "{}: {estimate:e} for {:e}", case.name, expected.to_f64());
            assert!(fit.coefficient_digits[k + first].unwrap() <= digits + 0.5);
        }
        // The same fitted values: the kept columns' coefficients are those of the fit that drops the others …
        assert_eq!((&fit.raw, fit.raw_intercept), (&dropped.raw, dropped.raw_intercept), "{}", case.name);
        assert_eq!((fit.residual_sum, fit.df_residual), (dropped.residual_sum, dropped.df_residual));
        // … and the shortest ones predict the same, row by row.
        for row in 0..case.rows() {
            let mut gap = Fraction::of(0.0);
            let mut size = 0.0f64;
            for (k, column) in case.columns.iter().enumerate() {
                let Values::Dense(x) = column else { panic!("dense columns only") };
                let add = |b: Option<DoubleDouble>| {
                    b.map_or(Fraction::of(0.0), |b| {
                        Fraction::of(b.hi).add(&Fraction::of(b.lo)).mul(&Fraction::of(x[row]))
                    })
                };
                let (one, other) = (add(fit.estimates[k + first]), add(dropped.estimates[k + first]));
                size = size.max(one.to_f64().abs()).max(other.to_f64().abs());
                gap = gap.add(&one.sub(&other));
            }
            if case.intercept {
                for (fit, sign) in [(&fit, 1.0), (&dropped, -1.0)] {
                    let b = fit.estimates[0].unwrap();
                    size = size.max(b.hi.abs());
                    gap = gap.add(&Fraction::of(sign * b.hi).add(&Fraction::of(sign * b.lo)));
                }
            }
            assert!(gap.to_f64().abs() <= 1e-28 * size, "{}: row {row} differs by {:e}", case.name, gap.to_f64());
        }
    }
}

#[test]
fn fewer_rows_than_columns_are_fitted_perfectly() {
    let mut source = Source(5);
    let columns: Vec<Vec<f64>> = (0..40).map(|_| source.reals(12)).collect();
    for intercept in [false, true] {
        let case = Case::dense("wide", columns.clone(), source.reals(12), intercept);
        let moments = case.moments();
        let (whitening, fit) = case.solve(&moments, Filter::Ols, Aliased::MinNorm, RankTolerance::Rounding).unwrap();
        assert_eq!((whitening.rank, fit.residual_sum, fit.df_residual), (12, 0.0, 0.0));
        let first = intercept as usize;
        for row in 0..12 {
            let slopes = fit.estimates[first..].iter().zip(&case.columns).map(|(b, column)| {
                let Values::Dense(x) = column else { panic!("dense columns only") };
                b.unwrap().to_f64() * x[row]
            });
            let constant = if intercept { fit.estimates[0].unwrap().to_f64() } else { 0.0 };
            let Values::Dense(y) = &case.target else { panic!("a dense target") };
            assert!((constant + slopes.sum::<f64>() - y[row]).abs() < 1e-12, "row {row}");
        }
    }
}

#[test]
fn the_shortest_coefficients_survive_any_scale() {
    // x₃ = 2⁸⁰⁰ (x₁ + x₂): it carries all but 2⁻⁸⁰⁰ of what x₁ and x₂ have in common.
    let a = [1.0, 2.0, 3.0, 5.0, -1.0].map(|x: f64| x * 2f64.powi(-400));
    let b = [1.0, 0.0, 2.0, 7.0, 4.0].map(|x: f64| x * 2f64.powi(-400));
    let c: Vec<f64> = a.iter().zip(&b).map(|(x, y)| (x + y) * 2f64.powi(800)).collect();
    let case = Case::dense("sum, scaled up", vec![a.into(), b.into(), c], vec![1.0, 0.0, 2.0, -1.0, 3.0], false);
    let truth = Truth::of(&case);
    for tolerance in [RankTolerance::Exact, RankTolerance::Rounding] {
        let (_, fit) = case.solve(&case.moments(), Filter::Ols, Aliased::MinNorm, tolerance).unwrap();
        for (k, expected) in shortest(&case, &truth).iter().enumerate() {
            let estimate = fit.estimates[k].unwrap().to_f64();
            assert!(expected.digits(estimate) >= 15.5, "{tolerance:?}: {estimate:e} for {:e}", expected.to_f64());
        }
    }
}

/// `x₃` is `0.1 x₁ + x₂` but for the rounding of its own entries.
fn rounded_sum(rows: usize) -> Case {
    let mut source = Source(10 + rows as u64);
    let (a, b) = (source.reals(rows), source.reals(rows));
    let sum = a.iter().zip(&b).map(|(x, z)| 0.1 * x + z).collect();
    Case::dense(format!("rounded sum of {rows}"), vec![a, b, sum], source.reals(rows), true)
}

#[test]
fn what_rounding_could_make_dependent_is_refused_unless_doubles_are_exact() {
    for rows in [5, 20, 60, 500, 20_000] {
        let case = rounded_sum(rows);
        match case.ols(RankTolerance::Rounding).unwrap_err() {
            Error::RankDeficient { rank: 3, columns: 4, dependent } => {
                assert_eq!(dependent.len(), 1);
                assert_eq!(
                    (&dependent[0].column[..], &dependent[0].on[..]),
                    ("x3", &["x1".to_owned(), "x2".to_owned()][..])
                );
                let distance = dependent[0].distance_relative;
                assert!(distance > 0.0 && distance < 2.0 * EPSILON, "{rows} rows: {distance:e}");
            }
            other => panic!("{rows} rows: {other}"),
        }
        let (whitening, fit) = case.ols(RankTolerance::Exact).unwrap();
        assert!(whitening.condition > 1e15 && whitening.dependent.is_empty());
        if rows <= 60 {
            let truth = Truth::of(&case);
            for (k, b) in fit.estimates.iter().enumerate() {
                let digits = truth.coefficients[k].as_ref().unwrap().digits(b.unwrap().to_f64());
                assert!(digits > 15.0 && fit.coefficient_digits[k].unwrap() <= digits + 0.5);
            }
        }
        // Units do not decide.
        let scaled = |k: i32, column: &Values| {
            let Values::Dense(x) = column else { panic!("dense columns only") };
            Values::Dense(x.iter().map(|v| v * 2f64.powi(k)).collect())
        };
        let columns = [-300, 0, 250].iter().zip(&case.columns).map(|(&k, c)| scaled(k, c)).collect();
        let other = Case { columns, ..case.clone() };
        assert!(matches!(other.ols(RankTolerance::Rounding), Err(Error::RankDeficient { rank: 3, .. })));
    }
}

#[test]
fn columns_never_observed_are_left_out_on_every_rung() {
    for case in designs().into_iter().filter(|case| case.columns.len() == 5) {
        let moments = case.moments();
        let mut design = case.design();
        (design.columns[1], design.columns[4]) = (None, None);
        let fit = |aliased: Aliased, arithmetic: Arithmetic| -> Result<(Whitening, Fit), Error> {
            let options = WhiteningOptions { aliased, arithmetic, ..WhiteningOptions::default() };
            let whitening = Whitening::of(&moments, &design, Filter::Ols, options, None)?;
            let fit = Fit::of(&moments, &whitening, case.columns.len(), "y")?;
            Ok((whitening, fit))
        };
        let (extended, expected) = fit(Aliased::Drop, Arithmetic::Extended).unwrap();
        let (refined, got) = fit(Aliased::Drop, Arithmetic::Refined).unwrap();
        assert_eq!(extended.method, Method::Extended);
        if case.name == "graded" || case.name == "square" {
            assert_eq!(refined.method, Method::Refined, "{}", case.name);
        }
        assert_eq!((refined.rank, &refined.kept), (extended.rank, &extended.kept));
        assert_eq!(refined.dependent, extended.dependent);
        for (got, wanted) in got.coefficients(0.9).iter().zip(expected.coefficients(0.9)) {
            assert_eq!(got.estimate, wanted.estimate, "{}: {}", case.name, got.name);
            let errors = got.std_error.zip(wanted.std_error);
            assert_eq!(got.std_error.is_some(), wanted.std_error.is_some());
            assert!(errors.is_none_or(|(g, w)| (g - w).abs() <= 1e-13 * w), "{}: {}", case.name, got.name);
        }
        let refused = |arithmetic| fit(Aliased::Error, arithmetic).map(|_| ()).unwrap_err();
        assert_eq!(refused(Arithmetic::Refined), refused(Arithmetic::Extended));
        let shortest = fit(Aliased::MinNorm, Arithmetic::Refined).unwrap().0;
        assert_eq!(shortest.method, Method::Extended);
    }
}

//! The prediction error sum of squares, against fits without each row.

use hattention::attention::{self, Keys};
use hattention::{Aliased, Error, Filter, RankTolerance};

use crate::support::exact::Penalty;
use crate::support::{Case, Fraction, Source, Truth, Values};
use crate::table::{EPSILON, regular};

/// How near to one a leverage counts as one.
const ALONE: f64 = 1e-10;

/// Residuals and leverages of a case.
fn parts(case: &Case, filter: Filter) -> (Vec<f64>, Vec<f64>, f64) {
    let (whitening, fit) = case.solve(&case.moments(), filter, Aliased::Error, RankTolerance::Exact).unwrap();
    let block = case.block();
    let ids: Vec<usize> = (0..=case.columns.len()).collect();
    let target = case.target.slice(0..case.rows());
    let residuals = attention::residuals(&whitening, &fit, &block, &ids, target).unwrap();
    let leverages = Keys::of(&whitening, &block, &ids).unwrap().leverages(case.weights.as_deref());
    (residuals, leverages, whitening.condition)
}

/// The number at a row, exactly.
fn exact(values: &Values, row: usize) -> Fraction {
    match values {
        Values::Dense(x) => Fraction::of(x[row]),
        Values::Pair(hi, lo) => Fraction::of(hi[row]).add(&Fraction::of(lo[row])),
    }
}

/// `wᵢ (yᵢ − ŷᵢ)²` with the fit of the other rows; `None` if these do not fix the coefficients.
fn missed(case: &Case, penalty: Penalty, row: usize) -> Option<Fraction> {
    let others: Vec<usize> = (0..case.rows()).filter(|&i| i != row).collect();
    let rest = case.at(&others);
    let weight = |row: usize| Fraction::of(case.weights.as_ref().map_or(1.0, |w| w[row]));
    if others.iter().all(|&i| weight(i).is_zero()) {
        // Nothing is known: a penalty alone makes every coefficient zero.
        let zero = matches!(penalty, Penalty::Plain(_)) && !case.intercept;
        let target = exact(&case.target, row);
        return zero.then(|| weight(row).mul(&target).mul(&target));
    }
    let truth = Truth::penalised(&rest, penalty);
    let mut gap = exact(&case.target, row);
    for (k, coefficient) in truth.coefficients.iter().enumerate() {
        let coefficient = coefficient.as_ref()?;
        let entry = match (case.intercept, k) {
            (true, 0) => Fraction::of(1.0),
            (intercept, k) => exact(&case.columns[k - intercept as usize], row),
        };
        gap = gap.sub(&coefficient.mul(&entry));
    }
    Some(weight(row).mul(&gap).mul(&gap))
}

#[test]
fn press_is_what_the_fits_without_each_row_miss() {
    let (mut compared, mut undefined) = (0, 0);
    for case in regular() {
        for (filter, penalty) in
            [(Filter::Ols, Penalty::None), (Filter::Ridge { alpha: 0.5, standardize: false }, Penalty::Plain(0.5))]
        {
            let (residuals, leverages, condition) = parts(&case, filter);
            let press = attention::press(&residuals, &leverages, case.weights.as_deref()).unwrap();
            let p = case.columns.len() as f64;
            // A leverage is off by this; what is left of one, by this over it.
            let leverage_error = (p + 1.0) * (p + 4.0) * EPSILON * condition;
            let nearest = leverages.iter().map(|h| 1.0 - h).fold(1.0, f64::min);
            let relative = 2.0 * EPSILON + leverage_error / nearest;
            let weight = |row: usize| case.weights.as_ref().map_or(1.0, |w| w[row]);
            let seen = (0..case.rows()).filter(|&row| weight(row) > 0.0);
            let Some(terms) = seen.map(|row| missed(&case, penalty, row)).collect::<Option<Vec<Fraction>>>() else {
                // (Where a leverage is known to no digit, one cannot be told from nearly one.)
                if leverage_error < ALONE {
                    assert!(press.is_nan(), "{}: {press} though a row stands alone", case.name);
                    undefined += 1;
                }
                continue;
            };
            if nearest < ALONE {
                assert!(press.is_nan(), "{}: {press}", case.name);
                continue;
            }
            if relative > 0.01 {
                continue;
            }
            let truth = terms.iter().fold(Fraction::of(0.0), |sum, term| sum.add(term));
            // Residuals are rounded from 106 bits: those of a perfect fit leave their noise.
            let size: Vec<f64> = (0..case.rows()).map(|row| weight(row).sqrt() * gross(&case, row)).collect();
            let noise = 2f64.powi(-98) * condition * size.iter().map(|s| s * s).sum::<f64>().sqrt() / nearest;
            // √Σ is a norm: errors of the terms add up at most.
            let (got, truth) = (press.sqrt(), truth.to_f64().sqrt());
            assert!(
                (got - truth).abs() <= relative * truth + noise,
                "{}, {filter:?}: {got:e}² for {truth:e}²",
                case.name
            );
            compared += 1;
        }
    }
    assert!(compared > 60 && undefined > 10, "{compared} compared, {undefined} undefined");
}

/// A bound of the numbers that a row's residual is the difference of, up to the condition.
fn gross(case: &Case, row: usize) -> f64 {
    let entry = |values: &Values| match values {
        Values::Dense(x) | Values::Pair(x, _) => x[row].abs(),
    };
    let (_, fit) = case.ols(RankTolerance::Exact).unwrap();
    let terms = case.columns.iter().zip(&fit.raw).map(|(x, b)| entry(x) * b.hi.abs());
    entry(&case.target) + fit.raw_intercept.hi.abs() + terms.sum::<f64>()
}

#[test]
fn press_does_not_depend_on_the_order_of_rows() {
    let mut source = Source(31);
    for case in regular() {
        let (residuals, leverages, _) = parts(&case, Filter::Ols);
        let press = attention::press(&residuals, &leverages, case.weights.as_deref()).unwrap();
        for _ in 0..3 {
            let other = case.at(&source.order(case.rows()));
            let (residuals, leverages, _) = parts(&other, Filter::Ols);
            let again = attention::press(&residuals, &leverages, other.weights.as_deref()).unwrap();
            assert_eq!(press.to_bits(), again.to_bits(), "{}", case.name);
        }
    }
    // Numbers whose sum in doubles depends on their order.
    let rows = 3000;
    let residuals: Vec<f64> = source.reals(rows).iter().map(|x| x * 10f64.powi((x * 150.0) as i32)).collect();
    let leverages: Vec<f64> = source.reals(rows).iter().map(|x| 0.4 + 0.3 * x).collect();
    let press = |order: &[usize]| {
        let pick = |x: &[f64]| -> Vec<f64> { order.iter().map(|&i| x[i]).collect() };
        attention::press(&pick(&residuals), &pick(&leverages), None).unwrap()
    };
    let straight: Vec<usize> = (0..rows).collect();
    assert_eq!(press(&straight).to_bits(), press(&source.order(rows)).to_bits());
}

#[test]
fn press_sums_squares_exactly() {
    // Exact halves: (2/½)² + (3/¼)² · 2 + (1e-150)² · 0.
    assert_eq!(attention::press(&[2.0, 3.0, 1e-150], &[0.5, 0.75, 0.0], Some(&[1.0, 2.0, 0.0])), Ok(304.0));
    assert_eq!(attention::press(&[], &[], None), Ok(0.0));
    // Nothing underflows before the sum: 2⁻¹⁰⁷⁴ times 2^1000 squares.
    let weight = 2f64.powi(1000);
    assert_eq!(attention::press(&[2f64.powi(-700)], &[0.0], Some(&[weight])), Ok(2f64.powi(-400)));
    assert_eq!(attention::press(&[1e200], &[0.0], None), Ok(f64::INFINITY));
}

#[test]
fn press_refuses_with_data() {
    let shape = |what, expected, got| Err(Error::Shape { what, expected, got });
    assert_eq!(attention::press(&[1.0, 2.0], &[0.5], None), shape("the leverages", 2, 1));
    assert_eq!(attention::press(&[1.0, 2.0], &[0.5; 2], Some(&[1.0])), shape("the weights", 2, 1));
    let negative = attention::press(&[1.0, 2.0], &[1.0; 2], Some(&[1.0, -2.0]));
    assert_eq!(negative, Err(Error::Weight { row: 1, value: -2.0 }));
    let infinite = attention::press(&[1.0, f64::INFINITY], &[0.5; 2], None);
    assert_eq!(infinite, Err(Error::NonFinite { row: 1, column: 0, value: f64::INFINITY }));
    assert!(matches!(attention::press(&[1.0], &[f64::NAN], None), Err(Error::NonFinite { row: 0, .. })));
    assert!(attention::press(&[0.0, 1.0], &[1.0 - 1e-12, 0.5], None).unwrap().is_nan());
}

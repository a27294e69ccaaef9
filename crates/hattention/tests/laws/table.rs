//! The table of designs, and what is compared about them.

use hattention::double_double::DoubleDouble;
use hattention::{Aliased, Filter, Fit, Moments, RankTolerance, Whitening};

use crate::support::{Case, Source, Truth, Values};

pub const EPSILON: f64 = f64::EPSILON;

pub fn steps(rows: usize, f: impl Fn(f64) -> f64) -> Vec<f64> {
    (0..rows).map(|i| f(i as f64)).collect()
}

/// The table of designs. Every law that makes sense for a design is tested on it.
pub fn designs() -> Vec<Case> {
    let mut source = Source(1);
    let mut random =
        |rows: usize, columns: usize| -> Vec<Vec<f64>> { (0..columns).map(|_| source.reals(rows)).collect() };
    let mut cases = vec![
        Case::dense("tall", random(40, 3), steps(40, |i| (0.7 * i).sin()), true),
        Case::dense("square", random(5, 5), vec![1.0, -2.0, 0.5, 7.0, 3.25], false),
        Case::dense("square with its intercept", random(5, 4), vec![1.0, -2.0, 0.5, 7.0, 3.25], true),
        Case::dense("one column", vec![steps(9, |i| i * i)], steps(9, |i| i + (i % 2.0)), true),
        Case::dense("no column", vec![], steps(7, |i| 0.1 * i), true),
        Case::dense("single row", vec![vec![0.3]], vec![0.7], false),
        Case::dense("single row and its mean", vec![], vec![0.7], true),
        Case::dense("constant target", random(10, 2), vec![0.1; 10], true),
        Case::dense("zero target", random(10, 2), vec![0.0; 10], true),
    ];
    let x = steps(10, |i| (i * 7.0) % 11.0);
    let z = steps(10, |i| (i * i) % 7.0);
    let y = steps(10, |i| i + (i * 3.0) % 5.0);
    cases.push(Case::dense("integers", vec![x.clone(), z.clone()], y.clone(), true));
    cases.push(Case::dense("duplicate", vec![x.clone(), x.clone(), z.clone()], y.clone(), true));
    cases.push(Case::dense("zero column", vec![vec![0.0; 10], x.clone()], y.clone(), true));
    cases.push(Case::dense("constant column", vec![x.clone(), vec![-2.5; 10], z.clone()], y.clone(), true));
    cases.push(Case::dense(
        "sum of two",
        vec![x.clone(), z.clone(), x.iter().zip(&z).map(|(a, b)| 2.0 * a - b).collect()],
        y.clone(),
        false,
    ));
    let scaled = |k: i32, column: &[f64]| -> Vec<f64> { column.iter().map(|v| v * 10f64.powi(k)).collect() };
    let base = random(12, 5);
    let graded = [-150, -75, 0, 75, 150].iter().zip(&base).map(|(&k, c)| scaled(k, c)).collect();
    cases.push(Case::dense("graded", graded, steps(12, |i| i.sqrt()), true));
    let offset = vec![steps(12, |i| 1e9 + i), steps(12, |i| -1e9 + 0.001 * i * i)];
    cases.push(Case::dense("offset", offset, steps(12, |i| 1e9 + (i * 5.0) % 7.0), true));
    let hilbert = (0..5).map(|j| steps(8, |i| 1.0 / (i + j as f64 + 1.0))).collect();
    cases.push(Case::dense("Hilbert", hilbert, steps(8, |i| 1.0 - (i % 3.0)), false));
    let tiny = f64::from_bits(1);
    cases.push(Case::dense(
        "subnormal",
        vec![steps(9, |i| ((i * 7.0) % 11.0 - 3.0) * tiny), steps(9, |i| (1e7 - i * i) * tiny)],
        steps(9, |i| (i - 4.0) * 3.0 * tiny),
        true,
    ));
    cases.push(Case::dense(
        "mixed range",
        vec![
            vec![1e270, 1e-300, -3.5, 0.0, tiny, 1e-10, -1e200, 7.0],
            vec![1.0, 2.0, -1e-250, 1e250, 5.0, 0.1, -0.0, 3.0],
        ],
        vec![1.0, -1e-200, 3.0, 1e100, 0.0, 6.0, 7.0, -8e99],
        true,
    ));
    cases.push(Case::dense(
        "whole numbers and dust",
        vec![vec![1e270, 3.0 * tiny, 1e-300, -2e270, 0.0]],
        vec![1.0, 1e-280, 2.0, 3.0, -1e-305],
        false,
    ));
    cases.push(Case::dense(
        "the ends of the doubles",
        vec![vec![f64::MAX, f64::MIN, f64::MIN_POSITIVE, tiny, -tiny, 0.0, 1.0]],
        vec![f64::MAX, tiny, -1.0, f64::MIN, f64::MIN_POSITIVE, 2.0, f64::MAX],
        true,
    ));
    let powers =
        (1..=4).map(|k| Values::of_pairs((0..10).map(|i| DoubleDouble::from(1e5 + i as f64 / 3.0).powi(k)))).collect();
    cases.push(Case::new("powers as pairs", powers, y, true));
    cases
}

/// The table without weights and with several kinds of them.
pub fn weighted_designs() -> Vec<Case> {
    let mut source = Source(2);
    designs()
        .into_iter()
        .flat_map(|case| {
            let rows = case.rows();
            let fractions: Vec<f64> = source.reals(rows).iter().map(|w| w.abs()).collect();
            let huge: Vec<f64> = (0..rows).map(|i| 10f64.powi(100 * (i as i32 % 5 - 2))).collect();
            let zeros: Vec<f64> = (0..rows).map(|i| if i % 3 == 1 { 0.0 } else { 1.0 + i as f64 }).collect();
            [
                case.clone(),
                case.clone().weighted("integer weights", source.integers(rows, 1, 9)),
                case.clone().weighted("fractional weights", fractions),
                case.clone().weighted("weights of all sizes", huge),
                case.weighted("some zero weights", zeros),
            ]
        })
        .collect()
}

/// Everything that is computed from a state, in bits; errors as they are.
pub fn fingerprint(case: &Case, moments: &Moments) -> Vec<String> {
    let filters = [
        Filter::Ols,
        Filter::Ridge { alpha: 0.37, standardize: false },
        Filter::Ridge { alpha: 2.0, standardize: true },
        Filter::Components { count: case.columns.len().min(1), standardize: false },
    ];
    filters
        .into_iter()
        .map(|filter| match case.solve(moments, filter, Aliased::Drop, RankTolerance::Exact) {
            Ok((whitening, fit)) => format!("{:x?}", bits(&whitening, &fit)),
            Err(error) => format!("{error:?}"),
        })
        .collect()
}

pub fn bits(whitening: &Whitening, fit: &Fit) -> Vec<u64> {
    let coefficients = fit.coefficients(0.9);
    let reported = coefficients.iter().flat_map(|c| [c.estimate, c.std_error, c.t, c.p, c.ci_low, c.ci_high, c.digits]);
    let pairs = fit.estimates.iter().flatten().chain(&fit.raw).chain([&fit.raw_intercept]).chain(&whitening.means);
    let single = [
        fit.residual_sum,
        fit.total_sum,
        fit.effective_df,
        fit.log_weight_sum,
        fit.target_mean,
        whitening.condition,
        whitening.weight_total,
        whitening.rank as f64,
        whitening.bits as f64,
    ];
    reported
        .map(|x| x.map_or(u64::MAX, f64::to_bits))
        .chain(pairs.flat_map(|d| [d.hi.to_bits(), d.lo.to_bits()]))
        .chain(single.map(f64::to_bits))
        .chain(fit.memory.iter().chain(whitening.key_map.iter().flatten()).map(|x| x.to_bits()))
        .chain(whitening.loading.iter().flatten().map(|x| x.to_bits()))
        .collect()
}

/// A state and what is read from it.
pub struct Known {
    pub state: Moments,
    pub prints: Vec<String>,
}

impl Known {
    pub fn of(case: &Case, state: Moments) -> Self {
        Self { prints: fingerprint(case, &state), state }
    }
}

/// One state equals the other, and so does all that is read from it.
pub fn assert_same(case: &Case, how: &str, got: &Moments, expected: &Known) {
    assert!(got == &expected.state, "{}: another state, {how}", case.name);
    assert_eq!(got.rows(), expected.state.rows(), "{}, {how}", case.name);
    for (g, e) in fingerprint(case, got).iter().zip(&expected.prints) {
        assert!(g == e, "{}: other bits, {how}:\n{g}\n{e}", case.name);
    }
}

pub fn empty(case: &Case) -> Moments {
    Moments::new(case.columns.len() + 1)
}

pub fn of_rows(case: &Case, rows: &[usize]) -> Moments {
    case.at(rows).moments()
}

/// Cases whose columns are independent and whose numbers stay within the range of doubles.
pub fn regular() -> Vec<Case> {
    weighted_designs()
        .into_iter()
        .filter(|case| {
            !["mixed range", "the ends", "whole numbers", "subnormal"].iter().any(|n| case.name.starts_with(n))
        })
        .filter(|case| {
            let truth = Truth::of(case);
            // A thousand bits tell independent columns from dependent ones up to a condition of 2⁵⁰⁰.
            truth.kept.len() == truth.coefficients.len()
                && truth.rows >= truth.kept.len()
                && truth.condition_log10() < 140.0
        })
        .collect()
}

//! Laws of the roll: every row is the fit of the rows its mask lets it see.

use hattention::attention::Keys;
use hattention::roll::{Mask, RollOptions, Rolled, Rung, Status, roll};
use hattention::{Aliased, Block, Column, Design, Error, Filter, RankTolerance, attention};

use crate::support::{Case, Source, Values};
use crate::table::{regular, weighted_designs};

/// What the roll promises.
const TOLERANCE: f64 = 1e-10;

fn rolled(case: &Case, options: RollOptions) -> Result<Rolled, Error> {
    roll(&case.block(), &case.design(), &[(case.columns.len(), "y")], options)
}

fn count(case: &Case) -> usize {
    case.columns.len() + case.intercept as usize
}

/// The rows that row `t` sees, as a case of their own.
fn seen(case: &Case, mask: Mask, t: usize) -> Case {
    let first = if let Mask::Window(window) = mask { (t + 1).saturating_sub(window) } else { 0 };
    let mut seen = case.at(&(first..=t).collect::<Vec<_>>());
    if let Mask::Decay(decay) = mask {
        let age = |i: usize| decay.powi((t - i) as i32);
        let weights = case.weights.clone().unwrap_or_else(|| vec![1.0; case.rows()]);
        seen.weights = Some((0..=t).map(|i| age(i) * weights[i]).collect());
    }
    seen
}

/// `Σ γ^(t−i)` over rows that count, less the coefficients.
fn freedom(case: &Case, mask: Mask, t: usize) -> f64 {
    let decay = if let Mask::Decay(decay) = mask { decay } else { 1.0 };
    let first = if let Mask::Window(window) = mask { (t + 1).saturating_sub(window) } else { 0 };
    let counts = |i: &usize| case.weights.as_ref().is_none_or(|w| w[*i] > 0.0);
    let rows: f64 = (first..=t).filter(counts).map(|i| decay.powi((t - i) as i32)).sum();
    rows - count(case) as f64
}

#[track_caller]
fn assert_near(got: f64, expected: f64, scale: f64, what: &str) {
    // What lies beyond the doubles is no number.
    let same =
        got == expected || (got.is_nan() && !expected.is_finite()) || (got - expected).abs() <= TOLERANCE * scale;
    assert!(same, "{what}: {got:e} for {expected:e}");
}

/// Row `t` of a roll against the fit of the rows it sees, and the prediction of the next row.
fn assert_row(case: &Case, rolled: &Rolled, mask: Mask, needed: usize, t: usize) {
    let what = format!("{}, {mask:?}, row {t}", case.name);
    let window = seen(case, mask, t);
    let rows = window.moments().rows() as usize;
    if !matches!(mask, Mask::Decay(_)) {
        assert_eq!(rolled.rows_seen[t], rows, "{what}");
    }
    let y = &rolled.targets[0];
    if rows < needed {
        assert_eq!(rolled.status[t], Status::TooFewRows, "{what}");
        assert!(y.coefficients.iter().all(|b| b[t].is_nan()), "{what}");
        return;
    }
    let (whitening, fit) = match window.ols(RankTolerance::Rounding) {
        Ok(done) => done,
        Err(Error::RankDeficient { dependent, .. }) => {
            let Status::Dependent(set) = rolled.status[t] else { panic!("{what}: {:?}", rolled.status[t]) };
            let names: Vec<&String> = dependent.iter().map(|d| &d.column).collect();
            assert!(!rolled.dependent[set].is_empty());
            assert!(rolled.dependent[set].iter().all(|d| names.contains(&&d.column)), "{what}");
            assert!(y.coefficients.iter().all(|b| b[t].is_nan()), "{what}");
            return;
        }
        Err(error) => panic!("{what}: {error}"),
    };
    assert!(matches!(rolled.status[t], Status::Fitted(_)), "{what}: {:?}", rolled.status[t]);
    let df = freedom(case, mask, t);
    let sigma = if df > 0.0 { fit.residual_root / df.sqrt() } else { f64::NAN };
    // A decay's weights are powers here and products there, right to some units of the last place each.
    assert_near(y.sigma[t], sigma, sigma, &format!("sigma of {what}"));
    for (k, coefficient) in fit.coefficients(0.95).iter().enumerate() {
        let estimate = coefficient.estimate.unwrap();
        let error = coefficient.std_error.map_or(f64::NAN, |error| error * (fit.df_residual / df).sqrt());
        let own = if fit.df_residual > 0.0 { coefficient.std_error.unwrap_or(0.0) } else { 0.0 };
        assert_near(y.coefficients[k][t], estimate, estimate.hypot(own), &format!("{} of {what}", coefficient.name));
        if df > 0.0 && fit.df_residual > 0.0 {
            assert_near(y.std_errors[k][t], error, error, &format!("error of {} of {what}", coefficient.name));
        }
    }
    let ids: Vec<usize> = (0..case.columns.len()).collect();
    for next in [t, t + 1].into_iter().filter(|row| *row < case.rows()) {
        let whole = case.slice(next..next + 1);
        let row = Block { columns: whole.columns[..ids.len()].to_vec(), weights: None, ..whole };
        let predicted = attention::predict(&whitening, &fit, &row, &ids).unwrap()[0];
        let Values::Dense(target) = &case.target else { panic!("targets are doubles") };
        let leverage = Keys::of(&whitening, &row, &ids).unwrap().squared_norms()[0];
        let largest = target[..=next].iter().fold(0.0f64, |m, y| m.max(y.abs()));
        let scale = predicted.abs().max(largest).max(fit.residual_root * (1.0 + leverage).sqrt());
        if next == t {
            let known = case.target.slice(t..t + 1);
            let residual = attention::residuals(&whitening, &fit, &row, &ids, known).unwrap()[0];
            assert_near(y.residual[t], residual, scale, &format!("residual of {what}"));
            continue;
        }
        assert_near(y.predicted[next], predicted, scale, &format!("prediction after {what}"));
        let error = sigma * (1.0 + leverage).sqrt();
        assert_near(y.predicted_se[next], error, error, &format!("error of the prediction after {what}"));
        let v = case.weights.as_ref().map_or(1.0, |w| w[next]);
        let recursive = v.sqrt() * (target[next] - predicted) / (1.0 + v * leverage).sqrt();
        let of_weight = scale * v.sqrt() / (1.0 + v * leverage).sqrt();
        assert_near(y.recursive_residual[next], recursive, of_weight, &format!("surprise after {what}"));
    }
}

/// A long case: columns of several sizes, coefficients that move.
fn long(seed: u64, rows: usize, columns: usize, intercept: bool) -> Case {
    let mut source = Source(seed);
    let x: Vec<Vec<f64>> = (0..columns).map(|_| source.reals(rows)).collect();
    let noise = source.reals(rows);
    let slope = |i: usize, j: usize| (j as f64 + 1.0) * (1.0 + (i as f64 / 100.0).sin());
    let at = |i: usize| 3.0 + (0..columns).map(|j| slope(i, j) * x[j][i]).sum::<f64>() + noise[i];
    let y = (0..rows).map(at).collect();
    Case::dense(format!("{rows} x {columns}"), x, y, intercept)
}

#[test]
fn every_row_of_the_table_is_a_fit() {
    for case in weighted_designs() {
        let (rows, count) = (case.rows(), count(&case));
        // Powers of a half are exact, so that weights of the table's extremes stay what they are.
        for mask in [Mask::Window((count + 2).min(rows)), Mask::Expanding, Mask::Decay(0.5), Mask::Decay(1.0)] {
            if matches!(mask, Mask::Window(window) if window < count) {
                continue;
            }
            let options = RollOptions { minimum_rows: Some(count), ..RollOptions::new(mask) };
            match rolled(&case, options) {
                Ok(rolled) => (0..rows).for_each(|t| assert_row(&case, &rolled, mask, count.max(1), t)),
                Err(error) => assert_eq!(Err(error), case.ols(RankTolerance::Rounding).map(|_| ()), "{}", case.name),
            }
        }
    }
}

#[test]
fn the_last_row_of_an_expanding_roll_is_the_fit_of_all() {
    let regular = regular();
    assert!(regular.len() > 20);
    for case in regular {
        match rolled(&case, RollOptions::new(Mask::Expanding)) {
            Ok(rolled) => assert_row(&case, &rolled, Mask::Expanding, count(&case).max(1), case.rows() - 1),
            Err(error) => assert_eq!(Err(error), case.ols(RankTolerance::Rounding).map(|_| ()), "{}", case.name),
        }
    }
}

#[test]
fn windows_of_any_length_are_fits() {
    for (seed, window) in [4, 5, 7, 20, 127, 128, 129, 250, 255, 256, 257, 600, 5000].into_iter().enumerate() {
        let case = long(40 + seed as u64, 1500, 1 + seed % 3, seed % 4 != 1);
        for least in [None, Some(count(&case))] {
            let mask = Mask::Window(window);
            let rolled = rolled(&case, RollOptions { minimum_rows: least, ..RollOptions::new(mask) }).unwrap();
            let needed = least.unwrap_or(window);
            for t in (0..1500).step_by(31).chain(window.saturating_sub(2)..window + 2).filter(|t| *t < 1500) {
                assert_row(&case, &rolled, mask, needed, t);
            }
        }
    }
}

#[test]
fn weights_and_decays_are_those_of_the_fit() {
    let case = long(60, 900, 3, true);
    let weights = Source(61).integers(900, 0, 3);
    for case in [case.clone(), case.weighted("0 to 3", weights)] {
        let decays = [0.3, 0.9, 0.99, 0.9999, 1.0].map(Mask::Decay);
        for mask in decays.into_iter().chain([Mask::Window(100), Mask::Expanding]) {
            let needed = if mask == Mask::Window(100) { 50 } else { 10 };
            let rolled = rolled(&case, RollOptions { minimum_rows: Some(needed), ..RollOptions::new(mask) }).unwrap();
            for t in (0..900).step_by(23).chain(8..14) {
                assert_row(&case, &rolled, mask, needed, t);
            }
        }
    }
}

#[test]
fn columns_far_from_zero_lose_nothing_along_a_long_series() {
    let rows = 60_000;
    let mut source = Source(70);
    let mut walk = 0.0;
    let x: Vec<Vec<f64>> = vec![
        source.reals(rows).iter().map(|x| 1e8 + x).collect(),
        source.reals(rows).iter().map(|x| -1e8 + 3.0 * x).collect(),
        source
            .reals(rows)
            .iter()
            .map(|x| {
                walk += x;
                1e6 + walk
            })
            .collect(),
    ];
    let noise = source.reals(rows);
    let y = (0..rows).map(|i| 1e8 + (x[0][i] - 1e8) - 0.01 * (x[2][i] - 1e6) + noise[i]).collect();
    let case = Case::dense("far", x, y, true);
    for mask in [Mask::Window(250), Mask::Expanding, Mask::Decay(0.995)] {
        let rolled = rolled(&case, RollOptions::new(mask)).unwrap();
        let doubles = rolled.status.iter().filter(|s| **s == Status::Fitted(Rung::Doubles)).count();
        assert!(doubles > rows - 1000, "{mask:?}: {doubles} in doubles");
        for t in (300..rows).step_by(5999).chain([rows - 1]) {
            assert_row(&case, &rolled, mask, 4, t);
        }
    }
}

#[test]
fn windows_climb_as_far_as_their_condition_asks_and_say_so() {
    let rows = 400;
    let mut source = Source(80);
    let (x, y) = (source.reals(rows), source.reals(rows));
    for (gap, expected) in [(1e-1, Rung::Doubles), (1e-6, Rung::Doubled), (1e-14, Rung::Exact)] {
        let near = x.iter().zip(&source.reals(rows)).map(|(x, e)| x + gap * e).collect();
        let case = Case::dense(format!("twins {gap:e} apart"), vec![x.clone(), near], y.clone(), true);
        // So near dependence the last bits of a decay's weights show.
        let decay = if gap < 1e-10 { 1.0 } else { 0.98 };
        for mask in [Mask::Window(50), Mask::Expanding, Mask::Decay(decay)] {
            let rolled = rolled(&case, RollOptions::new(mask)).unwrap();
            let stood = rolled.status.iter().filter(|s| **s == Status::Fitted(expected)).count();
            assert!(stood > 300, "{}, {mask:?}: {stood}", case.name);
            let needed = if mask == Mask::Window(50) { 50 } else { 3 };
            (40..rows).step_by(37).for_each(|t| assert_row(&case, &rolled, mask, needed, t));
        }
    }
}

#[test]
fn no_condition_falls_between_the_rungs() {
    let rows = 700;
    let mut source = Source(85);
    let x: Vec<Vec<f64>> = (0..6).map(|_| source.reals(rows)).collect();
    let noise = source.reals(rows);
    let (mut plain, mut higher) = (0, 0);
    for power in 1..=12 {
        // Each column but the first is the mean of those before and a little of its own; the noise shrinks as well.
        let gap = 10f64.powf(-0.5 * f64::from(power));
        let mut columns: Vec<Vec<f64>> = vec![x[0].clone()];
        for own in &x[1..] {
            let count = columns.len() as f64;
            let mean = |i: usize| columns.iter().map(|column| column[i]).sum::<f64>() / count;
            let next = (0..rows).map(|i| mean(i) + gap * own[i]).collect();
            columns.push(next);
        }
        let y = (0..rows).map(|i| columns.iter().map(|c| c[i]).sum::<f64>() + gap * noise[i]).collect();
        let case = Case::dense(format!("six columns {gap:e} apart"), columns, y, power % 3 > 0);
        for mask in [Mask::Window(60), Mask::Window(300), Mask::Expanding, Mask::Decay(0.96875)] {
            let rolled = rolled(&case, RollOptions { minimum_rows: Some(20), ..RollOptions::new(mask) }).unwrap();
            plain += rolled.status.iter().filter(|s| **s == Status::Fitted(Rung::Doubles)).count();
            higher += rolled.status.iter().filter(|s| **s == Status::Fitted(Rung::Doubled)).count();
            // A decay's weights are rounded in the fits: that is seen where the condition is large.
            if !matches!(mask, Mask::Decay(_)) || power < 4 {
                (20..rows).step_by(17).for_each(|t| assert_row(&case, &rolled, mask, 20, t));
            }
        }
    }
    assert!(plain > 4000 && higher > 20_000, "{plain} in doubles, {higher} in pairs");
}

#[test]
fn a_step_of_eight_orders_is_seen_by_the_windows_beside_it() {
    let rows = 500;
    let mut source = Source(90);
    let level = |i: usize| if i < 230 { 0.0 } else { 1e8 };
    let x = source.reals(rows).iter().enumerate().map(|(i, x)| 1e-3 * x + level(i)).collect();
    let y = source.reals(rows);
    let case = Case::dense("step", vec![x], y, true);
    let mask = Mask::Window(100);
    let rolled = rolled(&case, RollOptions::new(mask)).unwrap();
    (99..rows).step_by(7).for_each(|t| assert_row(&case, &rolled, mask, 100, t));
}

#[test]
fn dependence_within_a_window_is_a_status_with_names() {
    let rows = 300;
    let mut source = Source(100);
    let x = source.reals(rows);
    let within = |i: usize| (100..200).contains(&i);
    let still = source.reals(rows).iter().enumerate().map(|(i, z)| if within(i) { 7.5 } else { *z }).collect();
    let twin = source.reals(rows).iter().enumerate().map(|(i, z)| if i < 150 { 2.0 * x[i] } else { *z }).collect();
    let y = source.reals(rows).iter().enumerate().map(|(i, y)| if i > 280 { 4.0 } else { *y }).collect();
    let case = Case::dense("still and twins", vec![x, still, twin], y, true);
    for mask in [Mask::Window(12), Mask::Expanding, Mask::Decay(0.9)] {
        let rolled = rolled(&case, RollOptions { minimum_rows: Some(5), ..RollOptions::new(mask) }).unwrap();
        (0..rows).for_each(|t| assert_row(&case, &rolled, mask, 5, t));
        let named = |t: usize| match rolled.status[t] {
            Status::Dependent(set) => rolled.dependent[set].iter().map(|d| d.column.clone()).collect(),
            _ => vec![],
        };
        assert_eq!(named(50), ["x3"], "{mask:?}");
        if mask == Mask::Window(12) {
            assert_eq!(named(120), ["x2"]);
            assert_eq!(named(180), ["x2"]);
            // A target that does not move is its own coefficient, and leaves nothing.
            let y = &rolled.targets[0];
            let found: Vec<f64> = y.coefficients.iter().map(|b| b[295]).collect();
            assert_eq!((found, y.sigma[295], y.residual[295]), (vec![4.0, 0.0, 0.0, 0.0], 0.0, 0.0));
        }
    }
}

#[test]
fn threads_change_no_bit_of_a_roll() {
    let case = long(110, 4000, 3, true);
    for mask in [Mask::Window(77), Mask::Expanding, Mask::Decay(0.99)] {
        let runs = [1, 2, 3, 5].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let rolled = pool.install(|| rolled(&case, RollOptions::new(mask))).unwrap();
            let y = &rolled.targets[0];
            let rest = [&y.sigma, &y.predicted, &y.predicted_se, &y.residual, &y.recursive_residual, &y.cusum];
            let numbers = y.coefficients.iter().chain(&y.std_errors).chain(rest).flatten();
            (numbers.map(|x| x.to_bits()).collect::<Vec<_>>(), rolled.status)
        });
        assert!(runs.windows(2).all(|pair| pair[0] == pair[1]), "{mask:?}");
    }
}

#[test]
fn several_targets_and_coefficients_alone_are_the_same_numbers() {
    let case = long(120, 1000, 2, true);
    let other = Source(121).reals(1000);
    let mut block = case.block();
    block.columns.push(Column::Dense(&other));
    let design = case.design();
    let options = RollOptions::new(Mask::Window(60));
    let both = roll(&block, &design, &[(2, "y"), (3, "z")], options).unwrap();
    let first = roll(&block, &design, &[(2, "y")], options).unwrap();
    let second = roll(&block, &design, &[(3, "z")], options).unwrap();
    let alone = roll(&block, &design, &[(2, "y")], RollOptions { coefficients_only: true, ..options }).unwrap();
    let same = |a: &[Vec<f64>], b: &[Vec<f64>]| {
        a.len() == b.len() && a.iter().flatten().zip(b.iter().flatten()).all(|(a, b)| a.to_bits() == b.to_bits())
    };
    assert!(same(&both.targets[0].coefficients, &first.targets[0].coefficients));
    assert!(same(&both.targets[1].coefficients, &second.targets[0].coefficients));
    assert!(same(&both.targets[1].std_errors, &second.targets[0].std_errors));
    assert!(same(&alone.targets[0].coefficients, &first.targets[0].coefficients));
    assert!(alone.targets[0].std_errors.is_empty() && alone.targets[0].sigma.is_empty());
}

#[test]
fn squares_of_recursive_residuals_add_up_to_the_residual_sum() {
    let case = long(130, 700, 3, true);
    let rolled = rolled(&case, RollOptions::new(Mask::Expanding)).unwrap();
    let y = &rolled.targets[0];
    let squares: f64 = y.recursive_residual.iter().filter(|w| !w.is_nan()).map(|w| w * w).sum();
    let (_, fit) = case.ols(RankTolerance::Rounding).unwrap();
    assert!((squares / fit.residual_sum - 1.0).abs() < 1e-12);
    // The sum's last value is over σ̂ = √(RSS/(n − k)), and its line ends at three times 0.948 √(n − k).
    let sum: f64 = y.recursive_residual.iter().filter(|w| !w.is_nan()).sum();
    assert!((y.cusum[699] - sum / fit.sigma()).abs() < 1e-10 * sum.abs());
    assert!((y.cusum_bound[699] - 3.0 * 0.948 * 696f64.sqrt()).abs() < 1e-12 * 696.0);
    assert!(y.cusum[3].is_nan() && !y.cusum[4].is_nan());
    let windows = self::rolled(&case, RollOptions::new(Mask::Window(50))).unwrap();
    assert!(windows.targets[0].cusum.iter().all(|c| c.is_nan()));
}

#[test]
fn refusals_of_a_roll_say_what_is_allowed() {
    let case = long(140, 30, 3, true);
    let with = |mask| rolled(&case, RollOptions::new(mask)).map(|_| ());
    assert_eq!(with(Mask::Window(3)), Err(Error::TooFewRows { rows: 3, coefficients: 4 }));
    assert!(with(Mask::Window(4)).is_ok());
    for decay in [0.0, -0.5, 1.5, f64::NAN, f64::INFINITY] {
        assert!(matches!(with(Mask::Decay(decay)), Err(Error::Parameter { name: "the decay", .. })), "{decay}");
    }
    let options = RollOptions { minimum_rows: Some(9), ..RollOptions::new(Mask::Window(8)) };
    assert!(matches!(rolled(&case, options), Err(Error::Parameter { .. })));
    let none = Block { rows: 0, columns: vec![Column::Dense(&[]), Column::Dense(&[])], weights: None };
    let options = RollOptions::new(Mask::Expanding);
    let design = Design::plain(["x"], true);
    assert_eq!(roll(&none, &design, &[(1, "y")], options).map(|_| ()), Err(Error::NoRows));
    let broken =
        Block { rows: 2, columns: vec![Column::Dense(&[1.0, f64::NAN]), Column::Dense(&[1.0, 2.0])], weights: None };
    assert!(matches!(roll(&broken, &design, &[(1, "y")], options), Err(Error::NonFinite { row: 1, column: 0, .. })));
    let doubled = Case::dense("twins", vec![vec![1.0, 2.0, 4.0, 3.0], vec![2.0, 4.0, 8.0, 6.0]], vec![1.0; 4], true);
    assert!(matches!(rolled(&doubled, options), Err(Error::RankDeficient { .. })));
    assert!(doubled.solve(&doubled.moments(), Filter::Ols, Aliased::Drop, RankTolerance::Rounding).is_ok());
}

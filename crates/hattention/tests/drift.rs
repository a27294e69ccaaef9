//! The drift test: sizes, power, invariance, and what moved.

use hattention::attention::Keys;
use hattention::drift::{self, Drift, Generator, Permutations, Sample, permutation_test, simulate};
use hattention::{Aliased, Block, Design, Error, Filter, Fit, Moments, Whitening, WhiteningOptions};

const LEVEL: f64 = 0.05;

/// Rejections of `draws` at level 0.05 that a sound test has but for chance: within four standard errors.
fn assert_size(rejections: usize, draws: usize, what: &str) {
    let error = (LEVEL * (1.0 - LEVEL) / draws as f64).sqrt();
    let share = rejections as f64 / draws as f64;
    assert!((share - LEVEL).abs() <= 4.0 * error, "{what}: {share}, standard error {error}");
}

fn slices(columns: &[Vec<f64>]) -> Vec<&[f64]> {
    columns.iter().map(Vec::as_slice).collect()
}

fn ids(count: usize) -> Vec<usize> {
    (0..count).collect()
}

fn sample_of(whitening: &Whitening, columns: &[Vec<f64>]) -> Sample {
    let mut sample = Sample::new(whitening);
    sample.push(whitening, &simulate::block_of(&slices(columns)), &ids(columns.len())).unwrap();
    sample
}

#[test]
fn normal_states_reject_as_often_as_they_should() {
    let draws = 4000;
    for (p, n, rows) in [(1, 5000.0, 50.0), (5, 200.0, 200.0), (10, 5000.0, 200.0), (20, 50_000.0, 50.0)] {
        let rejected = (0..draws).filter(|&draw| {
            let mut generator = Generator::stream(11, draw as u64);
            let state = simulate::state(&mut generator, p, n, rows, &[]).unwrap();
            drift::test(&state, n).unwrap().likelihood_ratio.p <= LEVEL
        });
        assert_size(rejected.count(), draws, &format!("p {p}, n {n}, n* {rows}"));
    }
    // The limit alone does not do it.
    let rejected = (0..400).filter(|&draw| {
        let state = simulate::state(&mut Generator::stream(12, draw), 10, 5000.0, 50.0, &[]).unwrap();
        drift::test(&state, 5000.0).unwrap().divergence.p <= LEVEL
    });
    assert!(rejected.count() > 35, "the uncorrected statistic rejects 13 %");
}

#[test]
fn rows_reject_as_often_as_their_states() {
    // The whole way: rows, exact sums, whitening, sample, test.
    let draws = 400;
    let rejected = (0..draws).filter(|&draw| {
        let mut generator = Generator::stream(13, draw as u64);
        let training = simulate::rows(&mut generator, 3, 150, f64::INFINITY);
        let batch = simulate::rows(&mut generator, 3, 80, f64::INFINITY);
        let whitening = simulate::whitening_of(&slices(&training)).unwrap();
        Drift::of(&whitening, &sample_of(&whitening, &batch), None, LEVEL).unwrap().p.unwrap() <= LEVEL
    });
    assert_size(rejected.count(), draws, "rows");
}

#[test]
fn permutations_reject_as_often_as_they_should_under_heavy_tails() {
    let draws = 400;
    for df in [3.0, 5.0] {
        let (mut permuted, mut normal) = (0, 0);
        for draw in 0..draws {
            let mut generator = Generator::stream(14, draw as u64);
            let training = simulate::rows(&mut generator, 3, 200, df);
            let batch = simulate::rows(&mut generator, 3, 80, df);
            let (training, batch) = (slices(&training), slices(&batch));
            permuted += (permutation_test(&training, &batch, 99, draw as u64).unwrap().p <= LEVEL) as usize;
            let state = simulate::state_of(&training, &batch).unwrap();
            normal += (drift::test(&state, 200.0).unwrap().likelihood_ratio.p <= LEVEL) as usize;
        }
        assert_size(permuted, draws, &format!("t with {df} degrees"));
        assert!(normal > draws / 5, "the likelihood ratio of normal laws does not hold: {normal} of {draws}");
    }
}

#[test]
fn a_scale_of_six_percent_is_found() {
    let draws = 400;
    let found = (0..draws).filter(|&draw| {
        let mut generator = Generator::stream(15, draw);
        let state = simulate::state(&mut generator, 5, 50_000.0, 5000.0, &[1.0, 1.06]).unwrap();
        drift::test(&state, 50_000.0).unwrap().likelihood_ratio.p <= LEVEL
    });
    let found = found.count();
    assert!(found as f64 >= 0.9 * draws as f64, "{found} of {draws}");
}

/// A regression on three columns, one far from zero, and batches drawn from its law or another.
struct World {
    whitening: Whitening,
    fit: Fit,
    training: Vec<Vec<f64>>,
}

fn columns(seed: u64, rows: usize, shift: f64, scale: f64) -> Vec<Vec<f64>> {
    let mut generator = Generator::stream(16, seed);
    let mut columns = simulate::rows(&mut generator, 3, rows, f64::INFINITY);
    for row in 0..rows {
        columns[1][row] = 1000.0 + shift + 5.0 * columns[1][row];
        columns[2][row] = scale * columns[2][row] + 0.5 * columns[0][row];
    }
    columns
}

fn world() -> World {
    let mut training = columns(1, 2000, 0.0, 1.0);
    let noise = simulate::rows(&mut Generator::new(17), 1, 2000, f64::INFINITY).remove(0);
    let y = (0..2000).map(|i| 3.0 + 2.0 * training[0][i] - 0.1 * training[1][i] + training[2][i] + noise[i]);
    training.push(y.collect());
    let all = slices(&training);
    let moments = Moments::of(&simulate::block_of(&all)).unwrap();
    let whitening = simulate::whitening_of(&all[..3]).unwrap();
    let fit = Fit::of(&moments, &whitening, 3, "y").unwrap();
    training.pop();
    World { whitening, fit, training }
}

#[test]
fn what_moved_is_named() {
    let World { whitening, training, .. } = world();
    let same = Drift::of(&whitening, &sample_of(&whitening, &columns(2, 1000, 0.0, 1.0)), None, LEVEL).unwrap();
    assert!(same.p.unwrap() > LEVEL && same.columns.iter().all(|c| !c.moved) && same.tails.normal);
    for training in [None, Some(sample_of(&whitening, &training))] {
        let batch = columns(3, 1000, 2.5, 1.5);
        let drift = Drift::of(&whitening, &sample_of(&whitening, &batch), training.as_ref(), LEVEL).unwrap();
        assert!(drift.p.unwrap() < 1e-10);
        let moved: Vec<bool> = drift.columns.iter().map(|c| c.moved).collect();
        assert_eq!(moved, [false, true, true]);
        // Shift 0.5 and scale ratio √(2.25 + 0.25)/√1.25, each within five standard errors.
        let error = 5.0 * (1.0f64 / 1000.0 + 1.0 / 2000.0).sqrt();
        assert!((drift.columns[1].mean_shift - 0.5).abs() < error, "{:?}", drift.columns[1]);
        assert!((drift.columns[2].scale_ratio - 2f64.sqrt()).abs() < error, "{:?}", drift.columns[2]);
        assert!((drift.columns[1].training_mean - 1000.0).abs() < 1.0);
        assert!((drift.mean_length - 0.5).abs() < 2.0 * error);
        let largest = drift.directions.last().unwrap();
        assert!((largest.eigenvalue / 2.25 - 1.0).abs() < 0.3 && largest.columns[0].0 == "x2", "{largest:?}");
    }
}

#[test]
fn the_effect_on_predictions_is_that_on_its_rows() {
    let World { whitening, fit, .. } = world();
    let batch = columns(4, 500, 2.5, 1.5);
    let sample = sample_of(&whitening, &batch);
    let shift = Drift::predictions(&whitening, &fit, &sample).unwrap().unwrap();
    let keys = Keys::of(&whitening, &simulate::block_of(&slices(&batch)), &ids(3)).unwrap();
    let effects = shift.of_rows(&whitening, &keys);
    let mean = effects.iter().sum::<f64>() / 500.0;
    let rms = (effects.iter().map(|e| e * e).sum::<f64>() / 500.0).sqrt();
    // Sums of 500 doubles about as large as the largest.
    let tolerance = 500.0 * f64::EPSILON * effects.iter().fold(shift.training_mean.abs(), |m, e| m.max(e.abs()));
    assert!((shift.effect_mean - mean).abs() < tolerance, "{} for {mean}", shift.effect_mean);
    assert!((shift.effect_rms - rms).abs() < tolerance, "{} for {rms}", shift.effect_rms);
    // The shift law: self-attention over the batch returns X Σ⁻¹ Σ* β.
    let predictions =
        hattention::attention::predict(&whitening, &fit, &simulate::block_of(&slices(&batch)), &ids(3)).unwrap();
    let attended = |q: usize| -> f64 {
        let score = |i: usize| {
            let along: f64 = keys.components[1..].iter().map(|k| k[q] * k[i]).sum();
            1.0 + whitening.weight_total * along
        };
        (0..500).map(|i| score(i) * predictions[i]).sum::<f64>() / 500.0
    };
    for q in [0, 123, 499] {
        assert!((attended(q) - predictions[q] - effects[q]).abs() < 10.0 * tolerance);
    }
    assert!((shift.batch_mean - predictions.iter().sum::<f64>() / 500.0).abs() < tolerance);
}

#[test]
fn order_blocks_and_merges_do_not_show() {
    let World { whitening, .. } = world();
    let batch = columns(5, 700, 0.0, 1.0);
    let whole = sample_of(&whitening, &batch);
    let part = |range: std::ops::Range<usize>| -> Vec<Vec<f64>> {
        batch.iter().map(|column| column[range.clone()].to_vec()).collect()
    };
    let mut merged = sample_of(&whitening, &part(300..700));
    merged.merge(&sample_of(&whitening, &part(0..300))).unwrap();
    assert!(merged == whole && merged.rows() == 700);
    let reversed: Vec<Vec<f64>> = batch.iter().map(|column| column.iter().rev().copied().collect()).collect();
    assert!(sample_of(&whitening, &reversed) == whole);
}

#[test]
fn permutations_do_not_depend_on_threads_or_blocks() {
    let (training, batch) = (columns(6, 3000, 0.0, 1.0), columns(7, 1100, 0.3, 1.0));
    let pieces = |size: usize, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut test = Permutations::new(3, 3000, 1100, 49, 3).unwrap();
            for columns in [&training, &batch] {
                for start in (0..columns[0].len()).step_by(size) {
                    let end = columns[0].len().min(start + size);
                    test.push(&columns.iter().map(|c| &c[start..end]).collect::<Vec<_>>()).unwrap();
                }
            }
            test.finish().unwrap()
        })
    };
    let whole = pieces(5000, 1);
    for (size, threads) in [(1, 2), (97, 1), (1024, 3)] {
        assert_eq!(pieces(size, threads), whole);
    }
}

#[test]
fn the_observed_split_is_seen_as_it_is() {
    // Against sums in a plain loop; the batch is the larger sample here.
    let (training, batch) = (columns(8, 40, 0.0, 1.0), columns(9, 60, 2.0, 1.0));
    let test = permutation_test(&slices(&training), &slices(&batch), 99, 1).unwrap();
    let mean = |column: &[f64]| column.iter().sum::<f64>() / column.len() as f64;
    let pooled: Vec<Vec<f64>> = training.iter().zip(&batch).map(|(a, b)| [&a[..], &b[..]].concat()).collect();
    // (n n*/N) δᵀ Σ⁻¹ δ by the state of the batch's mean under the pooled rows.
    let state = simulate::state_of(&slices(&pooled), &slices(&batch)).unwrap();
    // The batch's mean less the pooled one is n/N of the difference.
    let length: f64 = state.means().iter().map(|m| m * m).sum::<f64>() * 60.0 * 100.0 / 40.0;
    assert!((test.means.statistic / length - 1.0).abs() < 1e-9, "{} for {length}", test.means.statistic);
    assert!(mean(&batch[1]) > mean(&training[1]));
    assert_eq!((test.largest, test.permutations), ((1, false), 99));
}

#[test]
fn constants_and_levels_in_the_batch() {
    let (n, m) = (1000usize, 60usize);
    let mut generator = Generator::new(18);
    let x = simulate::rows(&mut generator, 1, n + m, f64::INFINITY).remove(0);
    let level: Vec<f64> = (0..n).map(|i| (i % 50 == 0) as u64 as f64).collect();
    let training = vec![x[..n].to_vec(), level];
    let whitening = simulate::whitening_of(&slices(&training)).unwrap();
    let none = vec![x[n..].to_vec(), vec![0.0; m]];
    let drift = Drift::of(&whitening, &sample_of(&whitening, &none), None, LEVEL).unwrap();
    let flat = drift.flat.unwrap();
    // A level of one row in fifty is not missed in sixty rows: 0.98⁶⁰, Cantelli's equality for zeros and ones, but for
    // the correlation with the other column.
    assert!(flat.levels && (flat.p / 0.98f64.powi(60) - 1.0).abs() < 0.05, "{flat:?}");
    assert!(drift.p.unwrap() > LEVEL && drift.columns[1].constant && !drift.columns[1].moved);
    let stuck = vec![vec![0.25; m], (0..m).map(|i| (i % 30 == 0) as u64 as f64).collect()];
    let drift = Drift::of(&whitening, &sample_of(&whitening, &stuck), None, LEVEL).unwrap();
    assert!(!drift.flat.unwrap().levels);
    assert_eq!(drift.p, Some(0.0));
}

#[test]
fn heavy_tails_are_said() {
    let mut generator = Generator::new(19);
    let training = simulate::rows(&mut generator, 2, 1000, f64::INFINITY);
    let whitening = simulate::whitening_of(&slices(&training)).unwrap();
    let mut batch = simulate::rows(&mut generator, 2, 2000, f64::INFINITY);
    batch[1] = simulate::rows(&mut generator, 1, 2000, 3.0).remove(0);
    let tails = Drift::of(&whitening, &sample_of(&whitening, &batch), None, LEVEL).unwrap().tails;
    assert!(!tails.normal && tails.columns == ["x1"], "{tails:?}");
    // A change of scale is no heavy tail.
    let wide: Vec<Vec<f64>> = simulate::rows(&mut generator, 2, 2000, f64::INFINITY);
    let wide: Vec<Vec<f64>> = wide.iter().map(|c| c.iter().map(|x| 3.0 * x + 1.0).collect()).collect();
    assert!(Drift::of(&whitening, &sample_of(&whitening, &wide), None, LEVEL).unwrap().tails.normal);
}

#[test]
fn refusals_are_data() {
    let training = columns(10, 200, 0.0, 1.0);
    let all = slices(&training);
    let moments = Moments::of(&simulate::block_of(&all)).unwrap();
    let design = Design::plain(["a", "b", "c"], true);
    let options = WhiteningOptions::default();
    let batch = columns(11, 100, 0.0, 1.0);
    let refused = |whitening: &Whitening, word: &str| {
        let sample = sample_of(whitening, &batch);
        let error = Drift::of(whitening, &sample, None, LEVEL).unwrap_err();
        assert!(matches!(&error, Error::Parameter { name: "the model", got, .. } if got.contains(word)), "{error}");
        // With the training rows any model will do.
        let with = Drift::of(whitening, &sample, Some(&sample_of(whitening, &training)), LEVEL).unwrap();
        assert!(with.p.is_some() && with.columns.len() == 3);
    };
    let of = |design: &Design, filter| Whitening::of(&moments, design, filter, options, None).unwrap();
    refused(&of(&design, Filter::Ridge { alpha: 1.0, standardize: false }), "ridge");
    refused(&of(&Design { intercept: false, ..design.clone() }, Filter::Ols), "intercept");
    let components = of(&design, Filter::Components { count: 3, standardize: true });
    refused(&components, "components");
    let weights: Vec<f64> = (0..200).map(|i| 1.0 + (i % 3) as f64).collect();
    let weighted = Block { weights: Some(&weights), ..simulate::block_of(&all) };
    let weighted = Whitening::of(&Moments::of(&weighted).unwrap(), &design, Filter::Ols, options, None).unwrap();
    refused(&weighted, "weighted");

    let whitening = of(&design, Filter::Ols);
    let few = sample_of(&whitening, &columns(12, 4, 0.0, 1.0));
    let error = Drift::of(&whitening, &few, None, LEVEL).unwrap_err();
    assert_eq!(error, Error::TooFewRows { rows: 4, coefficients: 5 });
    assert_eq!(Drift::of(&whitening, &Sample::new(&whitening), None, LEVEL).unwrap_err(), Error::NoRows);
    let sample = sample_of(&whitening, &batch);
    for level in [0.0, 1.0, f64::NAN] {
        let error = Drift::of(&whitening, &sample, None, level).unwrap_err();
        assert!(matches!(error, Error::Parameter { name: "the level", .. }));
    }
    assert!(matches!(
        Drift::of(&weighted, &sample, None, LEVEL),
        Err(Error::IncompatibleStates { .. } | Error::Parameter { .. })
    ));
    let twice = vec![training[0].clone(), training[0].clone()];
    let moments = Moments::of(&simulate::block_of(&slices(&twice))).unwrap();
    let options = WhiteningOptions { aliased: Aliased::MinNorm, ..options };
    let shared = Whitening::of(&moments, &Design::plain(["a", "b"], true), Filter::Ols, options, None).unwrap();
    let sample = sample_of(&shared, &[batch[0].clone(), batch[0].clone()]);
    // The column that depends on the other is not compared.
    assert_eq!(Drift::of(&shared, &sample, None, LEVEL).unwrap().size, 1);
}

#[test]
fn dependent_training_rows_are_compared_where_they_vary() {
    let training = columns(21, 200, 0.0, 1.0);
    let batch = columns(22, 100, 0.0, 1.3);
    // The same rows with a column that says nothing new.
    let with = |rows: &[Vec<f64>]| {
        let twice = rows[0].iter().map(|x| 2.0 * x).collect();
        [rows, &[twice]].concat()
    };
    let ridge = |rows: &[Vec<f64>], names: &[&str]| {
        let moments = Moments::of(&simulate::block_of(&slices(rows))).unwrap();
        let filter = Filter::Ridge { alpha: 1.0, standardize: false };
        Whitening::of(&moments, &Design::plain(names.iter().copied(), true), filter, Default::default(), None).unwrap()
    };
    let compare = |whitening: &Whitening, training: &[Vec<f64>], batch: &[Vec<f64>]| {
        Drift::of(whitening, &sample_of(whitening, batch), Some(&sample_of(whitening, training)), LEVEL).unwrap()
    };
    let plain = compare(&ridge(&training, &["a", "b", "c"]), &training, &batch);
    let (training, batch) = (with(&training), with(&batch));
    let whitening = ridge(&training, &["a", "b", "c", "d"]);
    let drift = compare(&whitening, &training, &batch);
    assert_eq!((drift.size, drift.dependent.len(), plain.dependent.len()), (3, 1, 0));
    let mut named: Vec<&str> = drift.dependent[0].columns.iter().map(|(name, _)| name.as_str()).collect();
    named.sort();
    assert_eq!(named, ["a", "d"]);
    // The likelihood ratio knows no coordinates: keys are rounded, and the state's eigenvalues to 1e-12 of the largest.
    let statistic = |drift: &Drift| drift.likelihood_ratio.unwrap().statistic;
    let (got, expected) = (statistic(&drift), statistic(&plain));
    assert!((got / expected - 1.0).abs() < 1e-9, "{got} for {expected}");
    assert_eq!(drift.likelihood_ratio.unwrap().df, plain.likelihood_ratio.unwrap().df);
    // Rows that are all the same vary nowhere.
    let same: Vec<Vec<f64>> = training.iter().map(|column| vec![column[0]; 50]).collect();
    let error = Drift::of(&whitening, &sample_of(&whitening, &batch), Some(&sample_of(&whitening, &same)), LEVEL);
    assert!(matches!(error, Err(Error::Parameter { name: "the training sample", .. })), "{error:?}");
}

#[test]
fn permutations_refuse_with_data() {
    assert_eq!(Permutations::new(3, 0, 5, 99, 1).unwrap_err(), Error::NoRows);
    assert!(matches!(Permutations::new(3, 5, 5, 0, 1), Err(Error::Parameter { .. })));
    assert!(matches!(Permutations::new(2000, 5, 5, 99_999, 1), Err(Error::Parameter { .. })));
    let mut test = Permutations::new(1, 3, 2, 9, 1).unwrap();
    assert!(matches!(test.push(&[&[1.0], &[2.0]]), Err(Error::Shape { what: "a row", expected: 1, got: 2 })));
    assert!(matches!(test.push(&[&[1.0, f64::NAN]]), Err(Error::NonFinite { row: 1, column: 0, .. })));
    test.push(&[&[1.0, 2.0, 3.0]]).unwrap();
    assert!(matches!(test.push(&[&[1.0, 2.0, 3.0]]), Err(Error::Shape { expected: 5, got: 6, .. })));
    assert!(matches!(test.clone().finish(), Err(Error::Shape { expected: 5, got: 3, .. })));
    let same = [1.0, 1.0, 1.0];
    assert!(matches!(permutation_test(&[&same], &[&same], 9, 1), Err(Error::Parameter { .. })));
    // One row can be tested: it is the farthest or it is not.
    let training: Vec<f64> = (0..99).map(|i| i as f64).collect();
    let far = permutation_test(&[&training], &[&[1000.0]], 199, 1).unwrap();
    let near = permutation_test(&[&training], &[&[50.0]], 199, 1).unwrap();
    assert!(far.p < 0.05 && near.p > 0.05, "{far:?} {near:?}");
}

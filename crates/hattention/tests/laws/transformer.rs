//! Laws of the constructed transformer: every layout, convention, head split and gate against the engine.

use hattention::transformer::{Convention, Layout, Options, Spectrum, Transformer, inputs};
use hattention::{Aliased, Block, Error, Filter, Fit, Matrix, RankTolerance, Whitening, attention};

use crate::support::{Case, Source, Values};
use crate::table::{EPSILON, designs, regular};

/// `c` of the promise `c ε κ`.
const PROMISE: f64 = 20.0;
/// `κ` beyond which the promise leaves nothing to compare.
const LARGEST_CONDITION: f64 = 1e13;

fn ids(case: &Case) -> Vec<usize> {
    (0..case.columns.len()).collect()
}

fn design_rows(case: &Case) -> Block<'_> {
    let mut block = case.block();
    block.columns.pop();
    block
}

/// Cases whose inputs are doubles, with their fits.
fn fitted() -> Vec<(Case, Whitening, Fit)> {
    let cases = regular().into_iter().filter(|case| case.columns.iter().all(|c| matches!(c, Values::Dense(_))));
    let cases = cases.filter_map(|case| {
        let (whitening, fit) = case.ols(RankTolerance::Exact).unwrap();
        (whitening.condition < LARGEST_CONDITION).then_some((case, whitening, fit))
    });
    let cases: Vec<_> = cases.collect();
    assert!(cases.len() > 40, "{}", cases.len());
    cases
}

fn build(whitening: &Whitening, fit: &Fit, layout: Layout, convention: Convention, spectrum: Spectrum) -> Transformer {
    let options = Options { convention, layout, spectrum };
    Transformer::of(whitening, std::slice::from_ref(fit), &options).unwrap()
}

/// The largest `√wᵢ |aᵢ − bᵢ|` over `√(Σ w b²)`.
fn distance(case: &Case, a: &[f64], b: &[f64]) -> f64 {
    let weight = |i: usize| case.weights.as_ref().map_or(1.0, |w| w[i]).sqrt();
    let size = b.iter().enumerate().fold(0.0f64, |sum, (i, x)| sum.hypot(weight(i) * x));
    let gap = a.iter().zip(b).enumerate().fold(0.0f64, |most, (i, (x, y))| most.max(weight(i) * (x - y).abs()));
    if gap == 0.0 { 0.0 } else { gap / size }
}

fn layouts_of(case: &Case, model: &Transformer, x: &Matrix) -> Vec<(&'static str, Matrix)> {
    let layer = model.layer::<f64>().unwrap();
    let weights = case.weights.as_deref();
    vec![
        ("self", layer.among(x, weights).unwrap()),
        ("cross", layer.cross(x).unwrap()),
        ("tiles", layer.attend(x, x, weights).unwrap()),
    ]
}

#[test]
fn every_layout_predicts_the_training_rows_as_the_engine_does() {
    let mut worst = 0.0f64;
    for (case, whitening, fit) in fitted() {
        let block = design_rows(&case);
        let expected = attention::predict(&whitening, &fit, &block, &ids(&case)).unwrap();
        let x = inputs(&whitening, &block, &ids(&case)).unwrap();
        for convention in [Convention::Covariance, Convention::Gram] {
            for spectrum in [Spectrum::Scaled, Spectrum::Unscaled] {
                let model = build(&whitening, &fit, Layout::Cross, convention, spectrum);
                for heads in [1, model.eigenvectors().div_ceil(2).max(1), model.eigenvectors().max(1)] {
                    let model = model.clone().with_heads(heads).unwrap();
                    for (layout, got) in layouts_of(&case, &model, &x) {
                        let error = distance(&case, &got.data, &expected) / (EPSILON * whitening.condition);
                        worst = worst.max(error);
                        assert!(
                            error <= PROMISE,
                            "{}: {error} ε κ, {layout}, {convention:?}, {spectrum:?}, {heads} heads",
                            case.name
                        );
                    }
                }
            }
        }
    }
    println!("worst {worst} ε κ");
    assert!(worst > 0.0);
}

/// Fresh rows of about the training rows' size.
fn fresh(case: &Case, seed: u64) -> Case {
    let mut source = Source(seed);
    let rows = case.rows();
    let mix = |column: &Values, source: &mut Source| {
        let Values::Dense(x) = column else { panic!("pairs") };
        // Averages of two rows: inside the data, and none of them.
        let fresh = (0..rows).map(|_| {
            let (i, j) = (source.integer(0, rows as i64 - 1), source.integer(0, rows as i64 - 1));
            0.5 * x[i as usize] + 0.5 * x[j as usize]
        });
        Values::Dense(fresh.collect())
    };
    let columns = case.columns.iter().map(|c| mix(c, &mut source)).collect();
    Case { columns, weights: None, ..case.clone() }
}

#[test]
fn cross_and_solve_predict_fresh_rows_as_the_engine_does() {
    for (case, whitening, fit) in fitted().into_iter().filter(|(case, ..)| case.weights.is_none()) {
        let block = design_rows(&case);
        let context = inputs(&whitening, &block, &ids(&case)).unwrap();
        let Values::Dense(y) = &case.target else { panic!("pairs") };
        let targets = Matrix::new(case.rows(), 1, y.clone()).unwrap();
        let queries = fresh(&case, 7);
        let rows = design_rows(&queries);
        let expected = attention::predict(&whitening, &fit, &rows, &ids(&case)).unwrap();
        let norms = attention::Keys::of(&whitening, &rows, &ids(&case)).unwrap().squared_norms();
        let x = inputs(&whitening, &rows, &ids(&case)).unwrap();
        let model = build(&whitening, &fit, Layout::Cross, Convention::Covariance, Spectrum::Scaled);
        let layer = model.layer::<f64>().unwrap();
        let size = fit.target_length();
        let solved = layer.solve(&x, &context, &targets).unwrap();
        for (layout, got) in [("cross", layer.cross(&x).unwrap()), ("solve", solved)] {
            for ((a, b), norm) in got.data.iter().zip(&expected).zip(&norms) {
                // A query far out multiplies every error by its length; one of the training rows has at most one.
                let error = (a - b).abs() / (size * norm.sqrt().max(1.0)) / (EPSILON * whitening.condition);
                assert!(error <= PROMISE || a == b, "{}: {error} ε κ, {layout}", case.name);
            }
        }
    }
}

trait Length {
    fn target_length(&self) -> f64;
}

impl Length for Fit {
    /// `√Σ w y²`.
    fn target_length(&self) -> f64 {
        let mean = if self.intercept { self.target_mean * (self.rows as f64).sqrt() } else { 0.0 };
        self.total_sum.sqrt().hypot(mean)
    }
}

#[test]
fn gates_are_ridge_and_components() {
    for case in designs().into_iter().filter(|case| ["tall", "integers", "Hilbert"].contains(&case.name.as_str())) {
        let (ols, fit) = case.ols(RankTolerance::Exact).unwrap();
        let block = design_rows(&case);
        let x = inputs(&ols, &block, &ids(&case)).unwrap();
        for standardize in [false, true] {
            let spectrum = if standardize { Spectrum::Scaled } else { Spectrum::Unscaled };
            let plain = build(&ols, &fit, Layout::Cross, Convention::Covariance, spectrum);
            let alpha = 0.4;
            let filters = [
                (Filter::Ridge { alpha, standardize }, plain.clone().gated_as_ridge(alpha).unwrap()),
                (Filter::Components { count: 1, standardize }, plain.clone().gated_as_components(1).unwrap()),
            ];
            for (filter, gated) in filters {
                let (whitening, filtered) =
                    case.solve(&case.moments(), filter, Aliased::Error, RankTolerance::Exact).unwrap();
                let expected = attention::predict(&whitening, &filtered, &block, &ids(&case)).unwrap();
                let built = build(&whitening, &filtered, Layout::Cross, Convention::Covariance, spectrum);
                // Standardising without an intercept is by lengths about zero there, by deviations here.
                for model in [gated, built] {
                    for (layout, got) in layouts_of(&case, &model, &x) {
                        let error = distance(&case, &got.data, &expected) / (EPSILON * ols.condition);
                        assert!(error <= PROMISE, "{}: {error} ε κ, {layout}, {filter:?}", case.name);
                    }
                }
            }
        }
    }
}

/// Ridge has an answer where least squares has none: directions that the training rows do not have pass nothing, and what
/// rounding leaves of them must not become keys of unit length.
#[test]
fn ridge_of_dependent_and_wide_designs_is_one_forward_pass_in_either_precision() {
    let mut source = Source(17);
    let mut independent: Vec<Vec<f64>> = (0..3).map(|_| source.reals(40)).collect();
    independent.push(independent[0].iter().map(|x| 2.0 * x).collect());
    let near: Vec<f64> = independent[1].iter().map(|x| x + 1e-9 * source.real()).collect();
    independent.push(near);
    let cases = [
        Case::dense("twice", independent, source.reals(40), true),
        Case::dense("wide", (0..30).map(|_| source.reals(12)).collect(), source.reals(12), true),
        Case::dense("wide, through zero", (0..30).map(|_| source.reals(12)).collect(), source.reals(12), false),
    ];
    for case in cases {
        for (alpha, standardize) in [(0.1, false), (1.0, true), (25.0, false)] {
            let filter = Filter::Ridge { alpha, standardize };
            let (whitening, fit) =
                case.solve(&case.moments(), filter, Aliased::Error, RankTolerance::Rounding).unwrap();
            let block = design_rows(&case);
            let expected = attention::predict(&whitening, &fit, &block, &ids(&case)).unwrap();
            let x = inputs(&whitening, &block, &ids(&case)).unwrap();
            let model = build(&whitening, &fit, Layout::Cross, Convention::Covariance, Spectrum::Unscaled);
            let name = format!("{}, α = {alpha}", case.name);
            for (layout, got) in layouts_of(&case, &model, &x) {
                let error = distance(&case, &got.data, &expected);
                assert!(error < 1e-12, "{name}: {error}, {layout}");
            }
            // The memory is the state of the training rows.
            let state = model.layer::<f64>().unwrap().remember(&x, None).unwrap();
            let gap = state.data.iter().zip(&model.memory.data).fold(0.0f64, |most, (s, m)| most.max((s - m).abs()));
            assert!(gap < 1e-6, "{name}: the state is off by {gap}");
            let single = model.layer::<f32>().unwrap();
            for got in [single.among(&x.cast(), None).unwrap(), single.cross(&x.cast()).unwrap()] {
                let got: Vec<f64> = got.data.iter().map(|y| f64::from(*y)).collect();
                let error = distance(&case, &got, &expected);
                assert!(error < 1e-5, "{name}: {error} in singles");
            }
            // Elsewhere too, where rows have what training rows lack.
            let other = fresh(&case, 5);
            let block = design_rows(&other);
            let expected = attention::predict(&whitening, &fit, &block, &ids(&case)).unwrap();
            let x = inputs(&whitening, &block, &ids(&case)).unwrap();
            let got = model.layer::<f64>().unwrap().cross(&x).unwrap();
            let error = distance(&other, &got.data, &expected);
            assert!(error < 1e-12, "{name}: {error} on fresh rows");
        }
    }
}

/// More columns than rows, a column twice, and a constant one: directions without variance.
fn deficient() -> Vec<Case> {
    let mut source = Source(17);
    let mut columns = |count: usize, rows: usize| (0..count).map(|_| source.reals(rows)).collect::<Vec<_>>();
    let (wide, mut twice, mut constant, y) =
        (columns(30, 12), columns(3, 40), columns(3, 40), columns(1, 40).remove(0));
    twice.push(twice[1].clone());
    constant.push(vec![3.0; 40]);
    let few = y[..12].to_vec();
    vec![
        Case::dense("d > n", wide.clone(), few.clone(), true),
        Case::dense("d > n, no intercept", wide, few, false),
        Case::dense("twice", twice, y.clone(), true),
        Case::dense("constant", constant, y, true),
    ]
}

#[test]
fn directions_without_variance_have_no_key() {
    for case in deficient() {
        for standardize in [false, true].into_iter().take(if case.name == "constant" { 1 } else { 2 }) {
            let filter = Filter::Ridge { alpha: 0.7, standardize };
            let (whitening, fit) = case.solve(&case.moments(), filter, Aliased::Error, RankTolerance::Exact).unwrap();
            let block = design_rows(&case);
            let x = inputs(&whitening, &block, &ids(&case)).unwrap();
            let expected = attention::predict(&whitening, &fit, &block, &ids(&case)).unwrap();
            let model = build(&whitening, &fit, Layout::SelfAttention, Convention::Covariance, Spectrum::Scaled);
            let rank = case.columns.len().min(case.rows() - case.intercept as usize);
            let rank = if case.rows() > 12 { 3 } else { rank };
            assert_eq!(model.eigenvectors(), rank, "{}", case.name);
            let (double, single) = (model.layer::<f64>().unwrap(), model.layer::<f32>().unwrap());
            // A gate g is known to 8 r ε, and its key's length to that over g.
            let gate = (model.intercept as usize..model.keys()).map(|j| model.w_ffn.at(j, j)).fold(1.0f64, f64::min);
            let tolerance = 8.0 * case.columns.len() as f64 * EPSILON / gate;
            let state = double.remember(&x, None).unwrap();
            for (s, i) in state.data.iter().zip(&Matrix::<f64>::identity(model.keys()).data) {
                assert!((s - i).abs() <= tolerance, "{}: {s} for {i}", case.name);
            }
            let error = distance(&case, &double.forward(&x).unwrap().data, &expected);
            assert!(error <= PROMISE * EPSILON * model.condition, "{}: {error}", case.name);
            let got: Vec<f64> = single.forward(&x.cast()).unwrap().data.iter().map(|y| *y as f64).collect();
            let error = distance(&case, &got, &expected);
            assert!(error <= PROMISE * f32::EPSILON as f64 * model.condition, "{}: {error}", case.name);
        }
    }
}

#[test]
fn columns_of_extreme_scale_have_a_transformer() {
    let mut source = Source(23);
    let columns: Vec<Vec<f64>> =
        [1e200, 1e-200].iter().map(|scale| source.reals(30).iter().map(|x| scale * x).collect()).collect();
    let case = Case::dense("extreme", columns, source.reals(30), true);
    let (whitening, fit) = case.ols(RankTolerance::Rounding).unwrap();
    let block = design_rows(&case);
    let expected = attention::predict(&whitening, &fit, &block, &ids(&case)).unwrap();
    let x = inputs(&whitening, &block, &ids(&case)).unwrap();
    let model = build(&whitening, &fit, Layout::Cross, Convention::Covariance, Spectrum::Scaled);
    let got = model.layer::<f64>().unwrap().cross(&x).unwrap();
    assert!(distance(&case, &got.data, &expected) < PROMISE * EPSILON * whitening.condition);
    // Means that singles cannot hold are refused, not turned into infinity.
    let mut far = model;
    far.x_mean[0] = 1e39;
    assert!(far.layer::<f64>().is_ok() && far.layer::<f32>().is_err());
}

#[test]
fn units_of_columns_do_not_matter() {
    let mut source = Source(29);
    let columns: Vec<Vec<f64>> = (0..3).map(|_| source.reals(25)).collect();
    let y = source.reals(25);
    let units = [2f64.powi(664), 2f64.powi(-664), 1.0];
    let scaled = columns.iter().zip(units).map(|(column, unit)| column.iter().map(|x| unit * x).collect()).collect();
    let case = Case::dense("extreme units", scaled, y, true);
    for filter in [Filter::Ols, Filter::Ridge { alpha: 0.3, standardize: true }] {
        let (whitening, fit) = case.solve(&case.moments(), filter, Aliased::Error, RankTolerance::Exact).unwrap();
        let block = design_rows(&case);
        let x = inputs(&whitening, &block, &ids(&case)).unwrap();
        let expected = attention::predict(&whitening, &fit, &block, &ids(&case)).unwrap();
        let model = build(&whitening, &fit, Layout::Cross, Convention::Covariance, Spectrum::Scaled);
        for (layout, got) in layouts_of(&case, &model, &x) {
            let error = distance(&case, &got.data, &expected) / (EPSILON * model.condition);
            assert!(error <= PROMISE, "{error} ε κ, {layout}, {filter:?}");
        }
    }
}

#[test]
fn a_shifted_batch_is_answered_by_the_shift_law() {
    let mut source = Source(11);
    for (case, whitening, fit) in fitted().into_iter().filter(|(case, w, _)| case.rows() >= 9 && w.condition < 1e6) {
        let shifted = Case {
            columns: case
                .columns
                .iter()
                .map(|c| {
                    let Values::Dense(x) = c else { panic!("pairs") };
                    let (a, b) = (1.0 + source.real().abs(), source.real());
                    Values::Dense(x.iter().map(|x| a * x + b * x.abs()).collect())
                })
                .collect(),
            weights: None,
            ..case.clone()
        };
        let x = inputs(&whitening, &design_rows(&shifted), &ids(&case)).unwrap();
        let model = build(&whitening, &fit, Layout::SelfAttention, Convention::Covariance, Spectrum::Scaled);
        let layer = model.layer::<f64>().unwrap();
        // X̃ Σ⁻¹ Σ* β̂ = X̃ L (Lᵀ Σ* L) P, with every product in its textbook form.
        let tokens = Matrix::from_fn(x.rows, model.w_q.rows, |i, j| match (model.intercept, j) {
            (true, 0) => 1.0,
            (true, _) => x.at(i, j - 1) - model.x_mean[j - 1],
            (false, _) => x.at(i, j),
        });
        let keys = tokens.times(&model.w_q).unwrap();
        let mut state = keys.transposed().times(&keys).unwrap();
        state.data.iter_mut().for_each(|s| *s /= x.rows as f64);
        let expected = keys.times(&state.times(&model.w_p).unwrap()).unwrap();
        let got = layer.forward(&x).unwrap();
        let size = expected.data.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        for (a, b) in got.data.iter().zip(&expected.data) {
            assert!((a - b).abs() <= 100.0 * x.rows as f64 * EPSILON * size, "{}: {a} {b}", case.name);
        }
        // One head and its state are all there is to it.
        assert_eq!(layer.remember(&x, None).unwrap().columns, model.keys());
    }
}

#[test]
fn the_gram_convention_scales_with_the_size_of_the_batch() {
    let case = &designs()[0];
    let (whitening, fit) = case.ols(RankTolerance::Exact).unwrap();
    let x = inputs(&whitening, &design_rows(case), &ids(case)).unwrap();
    // Twice the same rows: the covariance convention does not see it, the Gram convention doubles.
    let twice = Matrix::from_fn(2 * x.rows, x.columns, |i, j| x.at(i % x.rows, j));
    for (convention, factor) in [(Convention::Covariance, 1.0), (Convention::Gram, 2.0)] {
        let model = build(&whitening, &fit, Layout::SelfAttention, convention, Spectrum::Scaled);
        let layer = model.layer::<f64>().unwrap();
        let (once, both) = (layer.forward(&x).unwrap(), layer.forward(&twice).unwrap());
        for (a, b) in once.data.iter().zip(&both.data) {
            assert!((factor * a - b).abs() < 1e-12, "{convention:?}: {a} {b}");
        }
    }
}

#[test]
fn singles_are_right_to_their_precision() {
    for (case, whitening, fit) in
        fitted().into_iter().filter(|(case, w, _)| w.condition < 1e3 && case.weights.is_none())
    {
        let block = design_rows(&case);
        let expected = attention::predict(&whitening, &fit, &block, &ids(&case)).unwrap();
        let x = inputs(&whitening, &block, &ids(&case)).unwrap();
        let model = build(&whitening, &fit, Layout::Cross, Convention::Covariance, Spectrum::Scaled);
        let Ok(layer) = model.layer::<f32>() else { continue };
        for got in [layer.cross(&x.cast()).unwrap(), layer.among(&x.cast(), None).unwrap()] {
            let got: Vec<f64> = got.data.iter().map(|x| *x as f64).collect();
            let error = distance(&case, &got, &expected) / (f32::EPSILON as f64 * whitening.condition);
            assert!(error <= PROMISE, "{}: {error} ε κ", case.name);
        }
    }
}

#[test]
fn the_layout_solve_is_of_least_squares_without_weights() {
    let plain = designs()[0].clone();
    let weights = (0..plain.rows()).map(|i| 1.0 + (i % 3) as f64).collect();
    let weighted = plain.clone().weighted("weights", weights);
    for (case, filter, said) in [
        (&plain, Filter::Ridge { alpha: 0.5, standardize: false }, "solve, of a ridge fit with penalty 0.5"),
        (&plain, Filter::Components { count: 2, standardize: false }, "solve, of a fit of components"),
        (&weighted, Filter::Ols, "solve, of a weighted fit"),
    ] {
        let (whitening, fit) = case.solve(&case.moments(), filter, Aliased::Error, RankTolerance::Exact).unwrap();
        let options = Options { layout: Layout::Solve, ..Options::default() };
        let refused = Transformer::of(&whitening, std::slice::from_ref(&fit), &options).unwrap_err();
        assert!(matches!(&refused, Error::Parameter { got, .. } if got == said), "{refused}");
        assert!(Transformer::of(&whitening, &[fit], &Options::default()).is_ok());
    }
}

#[test]
fn threads_do_not_show() {
    let mut source = Source(3);
    let case = Case::dense("long", (0..6).map(|_| source.reals(5000)).collect(), source.reals(5000), true);
    let (whitening, fit) = case.ols(RankTolerance::Exact).unwrap();
    let x = inputs(&whitening, &design_rows(&case), &ids(&case)).unwrap();
    let model = build(&whitening, &fit, Layout::SelfAttention, Convention::Covariance, Spectrum::Scaled);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let layer = model.layer::<f64>().unwrap();
            let single = model.layer::<f32>().unwrap();
            let few = Matrix::from_fn(100, 6, |i, j| x.at(i, j));
            (layer.forward(&x).unwrap(), layer.attend(&few, &x, None).unwrap(), single.forward(&x.cast()).unwrap())
        })
    };
    let one = run(1);
    assert!(run(2) == one && run(4) == one);
}

#[test]
fn what_cannot_be_is_refused() {
    let case = &designs()[0];
    let (whitening, fit) = case.ols(RankTolerance::Exact).unwrap();
    let model = build(&whitening, &fit, Layout::Cross, Convention::Covariance, Spectrum::Scaled);
    let layer = model.layer::<f64>().unwrap();
    let message = |result: Result<Matrix, Error>| result.unwrap_err().to_string();
    assert_eq!(message(layer.forward(&Matrix::zeros(2, 2))), "a row has 2 entries, expected 3");
    assert_eq!(message(layer.among(&Matrix::zeros(0, 3), None)), "no rows with positive weight; expected at least one");
    let mut x = Matrix::zeros(2, 3);
    x.row_mut(1)[2] = f64::NAN;
    assert_eq!(message(layer.forward(&x)), "row 1 of column 2 is NaN; expected a finite number");
    // Two rows do not fix four coefficients.
    let (context, targets) = (Matrix::from_fn(2, 3, |i, j| (i * j) as f64), Matrix::zeros(2, 1));
    let deficient = layer.solve(&Matrix::zeros(1, 3), &context, &targets).unwrap_err();
    assert!(matches!(deficient, Error::RankDeficient { rank: 2, columns: 4, .. }), "{deficient}");
    assert!(model.clone().with_heads(4).is_err() && model.clone().with_heads(0).is_err());
    assert!(model.clone().with_heads_at(&[2, 1]).is_err());
    assert!(model.clone().gated(&[1.0]).is_err() && model.clone().gated_as_ridge(-1.0).is_err());
    let mut broken = model.clone();
    broken.w_ffn = Matrix::identity(2);
    assert_eq!(broken.layer::<f64>().unwrap_err().to_string(), "w_ffn has 2 entries, expected 4");
    let mut broken = model;
    broken.w_p.data[0] = 1e300;
    assert!(broken.layer::<f32>().is_err() && broken.layer::<f64>().is_ok());
}

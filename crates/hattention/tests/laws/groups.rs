//! Laws of groups: each is the fit of its rows alone, whatever comes between them.

use hattention::fit::{Scores, Vcov};
use hattention::groups::{GroupFit, GroupOptions, GroupedRows, Groups, Keep, ROWS_KEPT, Rung, Status};
use hattention::{
    Aliased, Block, Column, Design, Error, Filter, Fit, Moments, RankTolerance, Whitening, WhiteningOptions,
};

use crate::support::{Case, Source, Values};
use crate::table::{EPSILON, weighted_designs};

/// Two roundings of one number.
const ROUNDED: f64 = EPSILON;

/// Standard errors of a single fit are sums of `columns` squares in doubles.
fn rounded_error(columns: usize) -> f64 {
    (columns + 8) as f64 * EPSILON
}

fn ids(case: &Case) -> Vec<usize> {
    (0..=case.columns.len()).collect()
}

/// The groups of a case's rows, which come in this order, in blocks of some rows, to two parts in turn.
fn grouped(case: &Case, groups: &[u32], order: &[usize], block: usize, options: GroupOptions) -> Vec<GroupFit> {
    let mut parts = [GroupedRows::new(options.keep()), GroupedRows::new(options.keep())];
    for (k, rows) in order.chunks(block).enumerate() {
        let part = case.at(rows);
        let numbers: Vec<u32> = rows.iter().map(|row| groups[*row]).collect();
        parts[k % 2].push(&part.block(), &ids(case), &numbers).unwrap();
    }
    let count = groups.iter().max().map_or(0, |most| most + 1);
    let design = |_: &[usize]| Ok(case.design());
    Groups::new(parts.into(), &design, &[case.columns.len()], options).fit(&(0..count).collect::<Vec<_>>())
}

/// The rows of a group.
fn rows_of(groups: &[u32], group: u32) -> Vec<usize> {
    (0..groups.len()).filter(|row| groups[*row] == group).collect()
}

#[track_caller]
fn assert_near(got: f64, expected: f64, relative: f64, what: &str) {
    let same = got.to_bits() == expected.to_bits() || (got.is_nan() && !expected.is_finite());
    assert!(same || (got - expected).abs() <= relative * expected.abs(), "{what}: {got:e} for {expected:e}");
}

/// A group against the fit of its rows.
fn assert_group(case: &Case, fit: &GroupFit) -> Option<Rung> {
    let what = &case.name;
    let (whitening, single) = match case.ols(RankTolerance::Rounding) {
        Ok(solved) => solved,
        Err(error) => {
            assert_eq!(fit.status, Status::Refused(error), "{what}");
            assert!(fit.targets.is_empty());
            return None;
        }
    };
    let Status::Fitted(rung) = fit.status else { panic!("{what}: {:?}", fit.status) };
    let (of_estimates, of_errors) = match rung {
        Rung::Exact => (0.0, 0.0),
        _ => (ROUNDED, rounded_error(case.columns.len())),
    };
    assert_eq!(
        (fit.rows, fit.rank, fit.df_residual),
        (single.rows, Some(whitening.rank), single.df_residual),
        "{what}"
    );
    let target = &fit.targets[0];
    for (k, coefficient) in single.coefficients(0.95).iter().enumerate() {
        let what = format!("{} of {what}", coefficient.name);
        assert_near(target.estimates[k], coefficient.estimate.unwrap(), of_estimates, &what);
        assert_near(target.std_errors[k], coefficient.std_error.unwrap_or(f64::NAN), of_errors, &what);
    }
    assert_near(target.sigma, single.sigma(), of_errors, what);
    // A quotient near one, less than one.
    let explained = (target.r_squared - single.r_squared()).abs();
    assert!(explained <= of_errors || explained.is_nan(), "{what}: {} for {}", target.r_squared, single.r_squared());
    assert_eq!(target.digits, if rung == Rung::Exact { single.digits() } else { 15.9 }, "{what}");
    Some(rung)
}

#[test]
fn a_group_is_the_fit_of_its_rows_on_every_design() {
    for case in weighted_designs() {
        // All rows, and a part of them among rows of a third group.
        let mut all: Vec<usize> = (0..case.rows()).collect();
        let mut groups = vec![0; case.rows()];
        all.extend((0..case.rows()).chain(0..case.rows()));
        groups.extend((0..case.rows()).map(|row| 1 + u32::from(row % 4 == 0)).chain(vec![3; case.rows()]));
        let whole = case.at(&all);
        let order = Source(9).order(groups.len());
        let fits = grouped(&whole, &groups, &order, 7, GroupOptions::default());
        for group in 0..4 {
            if fits[group as usize].rows == 0 && rows_of(&groups, group).is_empty() {
                assert_eq!(fits[group as usize].status, Status::Refused(Error::NoRows));
                continue;
            }
            assert_group(&whole.at(&rows_of(&groups, group)), &fits[group as usize]);
        }
    }
}

/// Groups of all sizes up to beyond what is kept, of random rows.
fn many(seed: u64, offset: f64, intercept: bool) -> (Case, Vec<u32>) {
    let mut source = Source(seed);
    let sizes =
        (0..60).map(|k| if k % 10 == 9 { ROWS_KEPT as i64 + source.integer(0, 200) } else { source.integer(1, 70) });
    let sizes: Vec<i64> = sizes.collect();
    let groups: Vec<u32> = sizes.iter().zip(0u32..).flat_map(|(size, k)| vec![k; *size as usize]).collect();
    let rows = groups.len();
    let mut x: Vec<Vec<f64>> = (0..4).map(|_| source.reals(rows)).collect();
    x.push(source.integers(rows, 0, 3));
    let noise = source.reals(rows);
    let y = (0..rows).map(|i| 1.0 + x[0][i] - 2.0 * x[3][i] + noise[i] + offset).collect();
    x.iter_mut().for_each(|column| column.iter_mut().for_each(|x| *x += offset));
    (Case::dense(format!("many, offset {offset}"), x, y, intercept), groups)
}

#[test]
fn groups_of_all_sizes_are_fits_of_their_rows_also_far_from_zero() {
    for (offset, intercept) in [(0.0, true), (0.0, false), (1e8, true), (1e8, false)] {
        let (case, groups) = many(3, offset, intercept);
        let weights = Source(4).integers(case.rows(), 0, 5);
        for case in [case.clone(), case.weighted("weighted", weights)] {
            let order = Source(5).order(groups.len());
            let fits = grouped(&case, &groups, &order, 100, GroupOptions::default());
            let rungs = fits.iter().zip(0..).map(|(fit, group)| assert_group(&case.at(&rows_of(&groups, group)), fit));
            let rungs: Vec<Rung> = rungs.flatten().collect();
            let doubled = rungs.iter().filter(|rung| **rung == Rung::Doubled).count();
            assert!(rungs.len() > 40, "{}: {}", case.name, rungs.len());
            // Columns of 1e8 and 1 without an intercept are parallel to 1e-8: κ² takes all of a pair's digits.
            let least = if intercept || offset == 0.0 { rungs.len() * 9 / 10 } else { 0 };
            assert!(doubled >= least, "{}: {doubled} of {}", case.name, rungs.len());
        }
    }
}

/// Everything a fit says, in bits.
fn bits(fits: &[GroupFit]) -> Vec<String> {
    fits.iter().map(|fit| format!("{fit:?}")).collect()
}

#[test]
fn order_blocks_parts_and_threads_do_not_show() {
    let (plain, groups) = many(7, 1e4, true);
    let weights = Source(8).integers(plain.rows(), 0, 5);
    let mut doubtful = plain.clone();
    // Near dependence in some groups.
    let near: Vec<f64> = match &plain.columns[0] {
        Values::Dense(x) => {
            x.iter().zip(&groups).map(|(x, g)| if g % 3 == 0 { x * (1.0 + EPSILON) } else { x * x }).collect()
        }
        Values::Pair(..) => unreachable!(),
    };
    doubtful.columns.push(Values::Dense(near));
    let low = Source(10).reals(plain.rows()).iter().map(|x| x * 1e-14).collect();
    let mut pairs = plain.clone();
    if let Values::Dense(hi) = pairs.columns[1].clone() {
        pairs.columns[1] = Values::Pair(hi, low);
    }
    for case in [plain.clone(), plain.weighted("weighted", weights), doubtful, pairs] {
        let first: Vec<usize> = (0..case.rows()).collect();
        let once = bits(&grouped(&case, &groups, &first, case.rows(), GroupOptions::default()));
        for (seed, block) in [(1, 1), (2, 17), (3, 1000)] {
            let order = Source(seed).order(groups.len());
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let again = pool.install(|| grouped(&case, &groups, &order, block, GroupOptions::default()));
                assert_eq!(once, bits(&again), "{}, blocks of {block}, {threads} threads", case.name);
            }
        }
    }
}

/// Rows with a factor of four levels, of which groups lack some, and a slope within each level.
struct Levels {
    x: Vec<f64>,
    y: Vec<f64>,
    codes: Vec<u32>,
    groups: Vec<u32>,
}

impl Levels {
    fn new() -> Self {
        let mut source = Source(21);
        let rows = 900;
        let groups: Vec<u32> = (0..rows).map(|_| source.integer(0, 11) as u32).collect();
        let codes = groups.iter().map(|g| ([source.integer(0, 3), source.integer(0, 1), 2][*g as usize % 3]) as u32);
        Self { codes: codes.collect(), x: source.reals(rows), y: source.reals(rows), groups }
    }

    /// The block of some rows: `x`, four indicators, four slopes, the target.
    fn block<'a>(part: &'a (Vec<f64>, Vec<f64>, Vec<u32>)) -> Block<'a> {
        let (x, y, codes) = part;
        let mut columns = vec![Column::Dense(x)];
        columns.extend((0..4).map(|code| Column::Indicator { codes, code }));
        columns.extend((0..4).map(|code| Column::Within { codes, code, hi: x, lo: None }));
        columns.push(Column::Dense(y));
        Block { rows: x.len(), columns, weights: None }
    }

    fn at(&self, rows: &[usize]) -> (Vec<f64>, Vec<f64>, Vec<u32>) {
        let number = |of: &[f64]| rows.iter().map(|row| of[*row]).collect();
        (number(&self.x), number(&self.y), rows.iter().map(|row| self.codes[*row]).collect())
    }
}

/// `x + g + g:x` for the levels that are there, the first of them the reference.
fn design(levels: &[usize]) -> Result<Design, String> {
    let levels: Vec<usize> = levels.iter().copied().filter(|id| (1..5).contains(id)).collect();
    if levels.len() < 2 {
        return Err("one level".into());
    }
    let of = |shift: usize| levels[1..].iter().map(move |id| id + shift);
    let columns: Vec<Option<usize>> = [0].into_iter().chain(of(0)).chain(of(4)).map(Some).collect();
    let names = columns.iter().flatten().map(|id| format!("c{id}")).collect();
    Ok(Design { names, columns, intercept: true, orthogonal: vec![] })
}

#[test]
fn levels_are_those_of_a_group() {
    let all = Levels::new();
    let fitted = |order: &[usize], block: usize| {
        let mut parts = [GroupedRows::new(Keep::default()), GroupedRows::new(Keep::default())];
        for (k, rows) in order.chunks(block).enumerate() {
            let part = all.at(rows);
            let numbers: Vec<u32> = rows.iter().map(|row| all.groups[*row]).collect();
            parts[k % 2].push(&Levels::block(&part), &(0..10).collect::<Vec<_>>(), &numbers).unwrap();
        }
        Groups::new(parts.into(), &design, &[9], GroupOptions::default()).fit(&(0..12).collect::<Vec<_>>())
    };
    let order: Vec<usize> = (0..all.x.len()).collect();
    let fits = fitted(&order, 250);
    for (group, fit) in fits.iter().enumerate() {
        let part = all.at(&rows_of(&all.groups, group as u32));
        if group % 3 == 2 {
            assert_eq!(fit.status, Status::NoDesign("one level".into()));
            continue;
        }
        let levels: Vec<usize> = (1..5).filter(|id| part.2.contains(&(*id as u32 - 1))).collect();
        let design = design(&levels).unwrap();
        assert_eq!(design.names, fit.names[1..]);
        let moments = Moments::of(&Levels::block(&part)).unwrap();
        let whitening = Whitening::of(&moments, &design, Filter::Ols, WhiteningOptions::default(), None).unwrap();
        let single = Fit::of(&moments, &whitening, 9, "y").unwrap();
        assert_eq!(fit.status, Status::Fitted(Rung::Doubled));
        for (k, estimate) in single.estimates.iter().enumerate() {
            assert_near(fit.targets[0].estimates[k], estimate.unwrap().to_f64(), ROUNDED, &fit.names[k]);
        }
    }
    for seed in 1..4 {
        assert_eq!(bits(&fits), bits(&fitted(&Source(seed).order(all.x.len()), 7 * seed as usize)));
    }
}

#[test]
fn other_fits_are_those_of_a_single_fit_in_bits() {
    let (case, groups) = many(31, 0.0, true);
    let order = Source(32).order(groups.len());
    let filter = Filter::Ridge { alpha: 0.5, standardize: true };
    for (group, fit) in
        grouped(&case, &groups, &order, 90, GroupOptions { filter, ..Default::default() }).iter().enumerate()
    {
        let rows = case.at(&rows_of(&groups, group as u32));
        let (_, single) = rows.solve(&rows.moments(), filter, Aliased::Error, RankTolerance::Rounding).unwrap();
        let expected: Vec<f64> = single.estimates.iter().map(|b| b.unwrap().to_f64()).collect();
        assert_eq!(fit.targets[0].estimates, expected);
        assert!(fit.targets[0].std_errors.iter().all(|se| se.is_nan()));
    }
    let mut doubled = case.clone();
    doubled.columns.insert(1, case.columns[0].clone());
    let options = GroupOptions { aliased: Aliased::Drop, ..Default::default() };
    for (group, fit) in grouped(&doubled, &groups, &order, 90, options).iter().enumerate() {
        let rows = doubled.at(&rows_of(&groups, group as u32));
        let (whitening, single) =
            rows.solve(&rows.moments(), Filter::Ols, Aliased::Drop, RankTolerance::Rounding).unwrap();
        assert_eq!(fit.dependent, whitening.dependent);
        let expected: Vec<u64> =
            single.estimates.iter().map(|b| b.map_or(f64::NAN, |b| b.to_f64()).to_bits()).collect();
        assert_eq!(fit.targets[0].estimates.iter().map(|b| b.to_bits()).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn sandwiches_are_those_of_a_single_fit_in_bits() {
    let (case, groups) = many(41, 0.0, true);
    let clusters = Source(42).integers(case.rows(), 0, 9);
    let target = case.columns.len();
    for vcov in [Vcov::Hc0, Vcov::Hc3, Vcov::Cluster { columns: vec!["c".into()] }] {
        let clustered = matches!(vcov, Vcov::Cluster { .. });
        let codes = 1 << 20;
        let options = GroupOptions {
            vcov: vcov.clone(),
            clusters: if clustered { vec![codes] } else { vec![] },
            ..GroupOptions::default()
        };
        let mut parts = [GroupedRows::new(options.keep()), GroupedRows::new(options.keep())];
        let order = Source(43).order(groups.len());
        for (k, rows) in order.chunks(64).enumerate() {
            let (part, numbers) = (case.at(rows), rows.iter().map(|row| groups[*row]).collect::<Vec<u32>>());
            let own: Vec<f64> = rows.iter().map(|row| clusters[*row]).collect();
            let (mut block, mut columns) = (part.block(), ids(&case));
            if clustered {
                block.columns.push(Column::Dense(&own));
                columns.push(codes);
            }
            parts[k % 2].push(&block, &columns, &numbers).unwrap();
        }
        let design = |_: &[usize]| Ok(case.design());
        let fits = Groups::new(parts.into(), &design, &[target], options).fit(&(0..60).collect::<Vec<_>>());
        let mut compared = 0;
        for (group, fit) in fits.iter().enumerate() {
            let rows = rows_of(&groups, group as u32);
            let single = case.at(&rows);
            let Ok((whitening, mut expected)) = single.ols(RankTolerance::Rounding) else {
                assert!(matches!(fit.status, Status::Refused(_)));
                continue;
            };
            let mut scores = Scores::new(&whitening, &expected, vcov.clone()).unwrap();
            let (block, own) = (single.block(), rows.iter().map(|row| clusters[*row] as u32).collect::<Vec<_>>());
            let design = Block { columns: block.columns[..target].to_vec(), ..block };
            let of_clusters: &[&[u32]] = if clustered { &[&own] } else { &[] };
            scores
                .push(
                    &whitening,
                    &expected,
                    &design,
                    &ids(&case)[..target],
                    single.target.slice(0..rows.len()),
                    of_clusters,
                )
                .unwrap();
            match scores.finish(&whitening, &expected) {
                Ok(covariance) => expected.covariance = Some(covariance),
                Err(error) => {
                    assert_eq!(fit.status, Status::Refused(error));
                    continue;
                }
            }
            assert_eq!(fit.status, Status::Fitted(Rung::Exact));
            for (k, coefficient) in expected.coefficients(0.95).iter().enumerate() {
                assert_near(fit.targets[0].std_errors[k], coefficient.std_error.unwrap_or(f64::NAN), 0.0, "an error");
                compared += 1;
            }
            assert_eq!(fit.targets[0].df, expected.covariance.as_ref().unwrap().df);
        }
        assert!(compared > 100);
    }
}

#[test]
fn memory_grows_with_groups_and_not_with_rows() {
    let mut rows = GroupedRows::new(Keep::default());
    let (x, y) = (Source(51).reals(3000), Source(52).reals(3000));
    let block = Block { rows: 3000, columns: vec![Column::Dense(&x), Column::Dense(&y)], weights: None };
    let groups: Vec<u32> = (0..3000).map(|row| row % 3).collect();
    (0..10).for_each(|_| rows.push(&block, &[0, 1], &groups).unwrap());
    let early = rows.bytes();
    (0..90).for_each(|_| rows.push(&block, &[0, 1], &groups).unwrap());
    assert_eq!(rows.rows(1), 100_000);
    assert!(rows.bytes() < 2 * early, "{} from {early}", rows.bytes());
}

#[test]
fn what_is_no_block_is_refused() {
    let mut rows = GroupedRows::new(Keep::default());
    let (x, y) = ([1.0, f64::NAN], [1.0, 2.0]);
    let block = |x: &'static [f64]| Block { rows: 2, columns: vec![Column::Dense(x)], weights: None };
    let bad = Block { rows: 2, columns: vec![Column::Dense(&x), Column::Dense(&y)], weights: None };
    let refusal = rows.push(&bad, &[0, 1], &[0, 0]).unwrap_err();
    assert!(matches!(refusal, Error::NonFinite { row: 1, column: 0, .. }), "{refusal}");
    assert!(matches!(rows.push(&block(&[1.0]), &[0], &[0, 0]), Err(Error::Shape { .. })));
    assert!(matches!(rows.push(&block(&[1.0, 2.0]), &[0, 1], &[0, 0]), Err(Error::Shape { .. })));
    assert!(matches!(rows.push(&block(&[1.0, 2.0]), &[0], &[0]), Err(Error::Shape { .. })));
    assert!(matches!(rows.push(&block(&[1.0, 2.0]), &[1 << 20], &[0, 0]), Err(Error::Parameter { .. })));
    assert!(matches!(rows.push(&block(&[1.0, 2.0]), &[0], &[0, u32::MAX]), Err(Error::Parameter { .. })));
    let twice = Block { rows: 2, columns: vec![Column::Dense(&y), Column::Dense(&y)], weights: Some(&[1.0, -1.0]) };
    assert!(matches!(rows.push(&twice, &[0, 0], &[0, 0]), Err(Error::Parameter { .. })));
    assert!(matches!(rows.push(&twice, &[0, 1], &[0, 0]), Err(Error::Weight { row: 1, .. })));
    assert_eq!(rows.rows(0), 0);
}

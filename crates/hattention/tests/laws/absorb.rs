//! Effects taken out are effects with a column for each level.

use hattention::absorb::{AbsorbOptions, Absorbed, EffectMoments, Nesting};
use hattention::codec::Model;
use hattention::fit::{Scores, Vcov};
use hattention::{
    Aliased, Block, Column, Design, Error, Filter, Fit, Moments, Transformer, Whitening, WhiteningOptions,
};

use crate::support::Source;

#[path = "absorb_limits.rs"]
mod limits;

/// Slopes and errors against those with dummies. Both are known to the last bits of a double (the digits say so); what
/// is compared has at most the rounding of a few operations on them, and the second pass that of `√n` rows.
const TOLERANCE: f64 = 1e-10;

/// Rows with effects: columns (the target last), codes by effect, weights.
struct Rows {
    columns: Vec<Vec<f64>>,
    codes: Vec<Vec<u32>>,
    weights: Option<Vec<f64>>,
}

impl Rows {
    /// Slopes that vary within levels and between them, and a target of both.
    fn random(source: &mut Source, rows: usize, slopes: usize, levels: &[u32], weighted: bool) -> Self {
        let codes: Vec<Vec<u32>> = levels
            .iter()
            .map(|levels| (0..rows).map(|_| source.integer(0, *levels as i64 - 1) as u32).collect())
            .collect();
        let mut columns: Vec<Vec<f64>> = (0..slopes).map(|_| source.reals(rows)).collect();
        for (c, column) in columns.iter_mut().enumerate() {
            for (row, x) in column.iter_mut().enumerate() {
                *x += codes.iter().map(|codes| (1.3 * codes[row] as f64 + c as f64).sin()).sum::<f64>() + 10.0;
            }
        }
        let target = (0..rows).map(|row| {
            let effects: f64 = codes.iter().map(|codes| (0.9 * codes[row] as f64).cos()).sum();
            columns.iter().enumerate().map(|(c, x)| (c as f64 - 0.5) * x[row]).sum::<f64>() + effects + source.real()
        });
        let target = target.collect();
        columns.push(target);
        let weights = weighted.then(|| (0..rows).map(|_| source.integer(1, 6) as f64 / 4.0).collect());
        Self { columns, codes, weights }
    }

    fn rows(&self) -> usize {
        self.columns[0].len()
    }

    fn slopes(&self) -> usize {
        self.columns.len() - 1
    }

    fn block(&self) -> Block<'_> {
        let columns = self.columns.iter().map(|x| Column::Dense(x)).collect();
        Block { rows: self.rows(), columns, weights: self.weights.as_deref() }
    }

    fn codes(&self) -> Vec<&[u32]> {
        self.codes.iter().map(Vec::as_slice).collect()
    }

    fn names(&self) -> Vec<String> {
        (0..self.codes.len()).map(|e| format!("g{e}")).collect()
    }

    fn at(&self, rows: &[usize]) -> Self {
        Self {
            columns: self.columns.iter().map(|x| rows.iter().map(|&row| x[row]).collect()).collect(),
            codes: self.codes.iter().map(|x| rows.iter().map(|&row| x[row]).collect()).collect(),
            weights: self.weights.as_ref().map(|x| rows.iter().map(|&row| x[row]).collect()),
        }
    }

    fn state(&self) -> EffectMoments {
        let mut state = EffectMoments::new(self.columns.len(), self.names());
        state.push(&self.block(), &self.codes()).unwrap();
        state
    }

    fn design(&self) -> Design {
        Design::plain((0..self.slopes()).map(|c| format!("x{c}")), true)
    }

    fn absorbed(&self) -> Taken {
        Taken::of(&self.state(), self, WhiteningOptions::default())
    }

    /// Effects and codes of the columns that stand for them: all levels of the first, and all but the first of the others.
    fn dummies(&self) -> Vec<(usize, u32)> {
        let of_effect = |(e, codes): (usize, &Vec<u32>)| {
            let mut present = codes.clone();
            present.sort_unstable();
            present.dedup();
            present.into_iter().skip((e > 0) as usize).map(move |code| (e, code))
        };
        self.codes.iter().enumerate().flat_map(of_effect).collect()
    }

    /// The same with these columns.
    fn with_dummies(&self) -> (Whitening, Fit) {
        let mut block = self.block();
        let mut names: Vec<String> = (0..self.columns.len()).map(|c| format!("x{c}")).collect();
        for (e, code) in self.dummies() {
            block.columns.push(Column::Indicator { codes: &self.codes[e], code });
            names.push(format!("g{e}={code}"));
        }
        let target = self.slopes();
        let kept = |c: usize| c != target;
        let design = Design {
            columns: (0..names.len()).filter(|c| kept(*c)).map(Some).collect(),
            names: (0..names.len()).filter(|c| kept(*c)).map(|c| names[c].clone()).collect(),
            ..Design::default()
        };
        let moments = Moments::of(&block).unwrap();
        let options = WhiteningOptions { aliased: Aliased::Drop, ..Default::default() };
        let whitening = Whitening::of(&moments, &design, Filter::Ols, options, None).unwrap();
        let fit = Fit::of(&moments, &whitening, target, "y").unwrap();
        (whitening, fit)
    }

    /// Sandwiches of the fit with dummies, as their scores give them.
    fn sandwich_of_dummies(&self, whitening: &Whitening, fit: &Fit, kind: Vcov, groups: &[&[u32]]) -> Vec<f64> {
        let mut block = self.block();
        block.columns.pop();
        let mut ids: Vec<usize> = (0..self.slopes()).collect();
        for (place, (e, code)) in self.dummies().into_iter().enumerate() {
            block.columns.push(Column::Indicator { codes: &self.codes[e], code });
            ids.push(self.columns.len() + place);
        }
        let mut scores = Scores::new(whitening, fit, kind).unwrap();
        let target = Column::Dense(&self.columns[self.slopes()]);
        scores.push(whitening, fit, &block, &ids, target, groups).unwrap();
        let covariance = scores.finish(whitening, fit).unwrap();
        (0..self.slopes()).map(|k| covariance.std_error(k)).collect()
    }
}

/// A fit whose effects were taken out.
struct Taken {
    absorbed: Absorbed,
    whitening: Whitening,
    fit: Fit,
}

impl Taken {
    fn of(state: &EffectMoments, rows: &Rows, options: WhiteningOptions) -> Self {
        let absorbed = Absorbed::of(state, &AbsorbOptions::default()).unwrap();
        let whitening = absorbed.whitening(&rows.design(), options).unwrap();
        let fit = absorbed.fit(&whitening, rows.slopes(), "y").unwrap();
        Self { absorbed, whitening, fit }
    }

    fn errors(&self, rows: &Rows, kind: Vcov, groups: &[&[u32]]) -> (Vec<f64>, f64) {
        let mut scores = Scores::new(&self.whitening, &self.fit, kind).unwrap();
        let mut nesting = Nesting::new(rows.codes.len(), groups.len());
        let block = rows.block();
        let columns: Vec<(usize, Option<Column<'_>>)> =
            block.columns.iter().enumerate().map(|(id, column)| (id, Some(*column))).collect();
        let residuals = self.absorbed.residuals(rows.rows(), &columns, &rows.codes()).unwrap();
        let mut columns = residuals.columns();
        let target = columns.pop().unwrap();
        let ids: Vec<usize> = (0..columns.len()).collect();
        let block = Block { rows: rows.rows(), columns, weights: rows.weights.as_deref() };
        scores.push(&self.whitening, &self.fit, &block, &ids, target, groups).unwrap();
        nesting.push(&rows.codes(), groups).unwrap();
        let covariance = scores.finish_nested(&self.whitening, &self.fit, &nesting).unwrap();
        ((0..rows.slopes()).map(|k| covariance.std_error(k)).collect(), covariance.df)
    }
}

fn close(got: f64, expected: f64, what: &str) {
    assert!((got - expected).abs() <= TOLERANCE * expected.abs().max(1e-3), "{what}: {got} for {expected}");
}

/// One, two and three effects; few rows and many; weights or none.
fn cases() -> Vec<(String, Rows)> {
    let mut source = Source(11);
    let mut cases = Vec::new();
    let shapes: [(usize, usize, &[u32]); 8] = [
        (30, 1, &[4]),
        (60, 3, &[20]),
        (40, 2, &[5, 6]),
        (60, 2, &[25, 9]),
        (80, 3, &[30, 30]),
        (90, 2, &[6, 5, 4]),
        (120, 3, &[20, 10, 8]),
        (50, 0, &[7, 5]),
    ];
    for (rows, slopes, levels) in shapes {
        for weighted in [false, true] {
            for copy in 0..4 {
                let name = format!("{rows} rows, {slopes} slopes, levels {levels:?}, weighted {weighted}, {copy}");
                cases.push((name, Rows::random(&mut source, rows, slopes, levels, weighted)));
            }
        }
    }
    cases
}

#[test]
fn slopes_errors_and_degrees_of_freedom_are_those_with_dummies() {
    for (name, rows) in cases() {
        let taken = rows.absorbed();
        let (whitening, dummies) = rows.with_dummies();
        for k in 0..rows.slopes() {
            let estimate = |fit: &Fit| fit.estimates[k].unwrap().to_f64();
            close(estimate(&taken.fit), estimate(&dummies), &format!("{name}: slope {k}"));
            let unscaled = |fit: &Fit| fit.covariance.as_ref().unwrap().std_error(k) / fit.sigma();
            close(unscaled(&taken.fit), unscaled(&dummies), &format!("{name}: error {k}"));
            assert!(taken.fit.coefficient_digits[k].unwrap() > 13.0, "{name}: {:?}", taken.fit.coefficient_digits);
        }
        close(taken.fit.residual_sum, dummies.residual_sum, &format!("{name}: residual sum"));
        let overall = taken.fit.effects.as_ref().unwrap();
        let mean =
            rows.columns[rows.slopes()].iter().zip(0..).map(|(y, i)| (y, rows.weights.as_ref().map_or(1.0, |w| w[i])));
        let (total, weight) = mean.clone().fold((0.0, 0.0), |(s, t), (y, w)| (s + w * y, t + w));
        let squares: f64 = mean.map(|(y, w)| w * (y - total / weight).powi(2)).sum();
        close(overall.total_sum, squares, &format!("{name}: total sum"));
        // What is redundant among effects is one for each but the first, unless rows fall into parts.
        let redundant = dummies.df_residual - taken.fit.df_residual;
        match rows.codes.len() {
            1 => assert_eq!(redundant, 0.0, "{name}"),
            2 => assert_eq!(redundant, taken.absorbed.parts() as f64 - 1.0, "{name}"),
            _ => assert!(redundant >= 0.0, "{name}"),
        }
        assert_eq!(taken.whitening.rank, rows.slopes(), "{name}");
        assert!(whitening.rank >= rows.slopes());
    }
}

#[test]
fn effects_give_the_fitted_values_of_dummies() {
    for (name, rows) in cases() {
        let taken = rows.absorbed();
        let effects = taken.fit.effects.as_ref().unwrap();
        let (mut sum, mut orthogonal) = (0.0, vec![0.0; rows.slopes()]);
        for row in 0..rows.rows() {
            let codes: Vec<u32> = rows.codes.iter().map(|codes| codes[row]).collect();
            let slopes: f64 =
                (0..rows.slopes()).map(|c| rows.columns[c][row] * taken.fit.estimates[c].unwrap().to_f64()).sum();
            let e = rows.columns[rows.slopes()][row] - slopes - effects.at(&codes).unwrap().to_f64();
            let w = rows.weights.as_ref().map_or(1.0, |w| w[row]);
            sum += w * e * e;
            orthogonal.iter_mut().enumerate().for_each(|(c, s)| *s += w * e * rows.columns[c][row]);
        }
        close(sum, taken.fit.residual_sum, &format!("{name}: residual sum"));
        assert!(orthogonal.iter().all(|s| s.abs() < 1e-9), "{name}: {orthogonal:?}");
        assert_eq!(effects.at(&vec![10_000; rows.codes.len()]), None);
    }
}

#[test]
fn robust_and_clustered_errors_are_those_with_dummies() {
    let mut source = Source(12);
    for (name, rows) in cases().into_iter().filter(|(_, rows)| rows.slopes() > 0) {
        let taken = rows.absorbed();
        let (whitening, dummies) = rows.with_dummies();
        let (n, full) = (rows.rows() as f64, taken.fit.effective_df);
        let random: Vec<u32> = (0..rows.rows()).map(|_| source.integer(0, 11) as u32).collect();
        let ways = |names: &[&str]| Vcov::Cluster { columns: names.iter().map(|s| s.to_string()).collect() };
        let compare = |kind: Vcov, groups: &[&[u32]], correction: f64, what: &str| {
            let (got, _) = taken.errors(&rows, kind.clone(), groups);
            let expected = rows.sandwich_of_dummies(&whitening, &dummies, kind, groups);
            for (got, expected) in got.iter().zip(&expected) {
                close(*got, expected * correction.sqrt(), &format!("{name}: {what}"));
            }
        };
        let rank = dummies.effective_df;
        compare(Vcov::Hc0, &[], 1.0, "HC0");
        compare(Vcov::Hc1, &[], (n - rank) / (n - full), "HC1");
        compare(ways(&["c"]), &[&random], (n - rank) / (n - full), "clusters");
        // The first effect is nested in its own clusters: then it counts for one coefficient.
        let levels = taken.absorbed.levels()[0] as f64;
        compare(ways(&["g0"]), &[&rows.codes[0]], (n - rank) / (n - (full - levels + 1.0)), "clusters of an effect");
        let (_, df) = taken.errors(&rows, ways(&["g0"]), &[&rows.codes[0]]);
        assert_eq!(df, levels - 1.0);
    }
}

#[test]
fn neither_order_nor_merge_tree_nor_batches_show() {
    let mut source = Source(13);
    for (name, rows) in cases() {
        let whole = rows.state();
        let expected = rows.absorbed();
        let order = source.order(rows.rows());
        let mut one_by_one = EffectMoments::new(rows.columns.len(), rows.names());
        let mut tree: Vec<EffectMoments> = order.iter().map(|&row| rows.at(&[row]).state()).collect();
        for &row in &order {
            let one = rows.at(&[row]);
            one_by_one.push(&one.block(), &one.codes()).unwrap();
        }
        while tree.len() > 1 {
            let mut next = Vec::new();
            for pair in tree.chunks(2) {
                let mut joined = pair[pair.len() - 1].clone();
                if let [left, _] = pair {
                    joined.merge(left).unwrap();
                }
                next.push(joined);
            }
            tree = next;
        }
        let empty = EffectMoments::new(rows.columns.len(), rows.names());
        let mut merged = tree.pop().unwrap();
        merged.merge(&empty).unwrap();
        for (how, state) in [("row by row", one_by_one), ("merged", merged)] {
            assert!(state == whole, "{name}: {how}");
            let got = Taken::of(&state, &rows, WhiteningOptions::default());
            assert_eq!(got.fit.estimates, expected.fit.estimates, "{name}: {how}");
            assert_eq!(got.fit.effects, expected.fit.effects, "{name}: {how}");
            assert_eq!(got.fit.covariance, expected.fit.covariance, "{name}: {how}");
        }
    }
}

#[test]
fn units_of_powers_of_two_do_not_show() {
    for (name, mut rows) in cases().into_iter().filter(|(_, rows)| rows.slopes() > 1) {
        let expected = rows.absorbed();
        // Far from one, but with squares within the doubles or without.
        let powers = [-400, 450, -90, 60];
        for (column, power) in rows.columns.iter_mut().zip(powers) {
            column.iter_mut().for_each(|x| *x *= 2f64.powi(power));
        }
        if let Some(weights) = &mut rows.weights {
            weights.iter_mut().for_each(|w| *w *= 2f64.powi(-200));
        }
        let got = rows.absorbed();
        let target = powers[rows.slopes()];
        for k in 0..rows.slopes() {
            let scaled = |fit: &Fit, power: i32| {
                let estimate = fit.estimates[k].unwrap();
                (estimate.hi * 2f64.powi(power), fit.covariance.as_ref().unwrap().std_error(k) / fit.sigma())
            };
            let (left, error) = scaled(&got.fit, powers[k]);
            let (right, expected_error) = scaled(&expected.fit, target);
            assert_eq!(left, right, "{name}: slope {k}");
            let weights = if rows.weights.is_some() { 100 } else { 0 };
            assert_eq!(error * 2f64.powi(powers[k]), expected_error * 2f64.powi(weights), "{name}: error {k}");
        }
    }
}

#[test]
fn offsets_cost_no_digits() {
    for (name, mut rows) in cases().into_iter().filter(|(_, rows)| rows.slopes() > 0) {
        // (What rounding takes away it takes away from both.)
        rows.columns.iter_mut().for_each(|column| column.iter_mut().for_each(|x| *x += 1e9));
        let taken = rows.absorbed();
        let (_, dummies) = rows.with_dummies();
        for k in 0..rows.slopes() {
            let estimate = |fit: &Fit| fit.estimates[k].unwrap().to_f64();
            close(estimate(&taken.fit), estimate(&dummies), &format!("{name}: slope {k}"));
            assert!(taken.fit.coefficient_digits[k].unwrap() > 13.0, "{name}: {:?}", taken.fit.coefficient_digits);
        }
        close(taken.fit.residual_sum, dummies.residual_sum, &format!("{name}: residual sum"));
    }
}

#[test]
fn other_codes_are_the_same_levels() {
    let mut source = Source(14);
    for (name, rows) in cases() {
        // Codes as another reader would have given them, and back.
        let there: Vec<Vec<u32>> =
            rows.codes.iter().map(|_| source.order(40).iter().map(|code| *code as u32).collect()).collect();
        let renamed = Rows {
            codes: rows.codes.iter().zip(&there).map(|(c, m)| c.iter().map(|c| m[*c as usize]).collect()).collect(),
            columns: rows.columns.clone(),
            weights: rows.weights.clone(),
        };
        let mut back: Vec<Vec<u32>> = there.clone();
        for (back, there) in back.iter_mut().zip(&there) {
            there.iter().enumerate().for_each(|(old, new)| back[*new as usize] = old as u32);
        }
        assert!(renamed.state().relabelled(&back).unwrap() == rows.state(), "{name}");
        assert!(rows.state().relabelled(&there).unwrap() == renamed.state(), "{name}");
    }
}

#[test]
fn columns_that_effects_contain_are_named() {
    let mut source = Source(15);
    for levels in [&[6u32][..], &[7, 5], &[5, 4, 3]] {
        let mut rows = Rows::random(&mut source, 70, 2, levels, false);
        // The second column is 0.1 times the codes of the last effect, and a third of the first's: doubles that are rounded.
        let last = rows.codes.len() - 1;
        rows.columns[1] =
            (0..70).map(|row| 0.1 * rows.codes[last][row] as f64 + rows.codes[0][row] as f64 / 3.0).collect();
        let absorbed = Absorbed::of(&rows.state(), &AbsorbOptions::default()).unwrap();
        match absorbed.whitening(&rows.design(), WhiteningOptions::default()) {
            Err(Error::RankDeficient { dependent, .. }) => {
                assert_eq!(dependent.len(), 1);
                assert_eq!((dependent[0].column.as_str(), &dependent[0].on), ("x1", &rows.names()));
            }
            other => panic!("{other:?}"),
        }
        let options = WhiteningOptions { aliased: Aliased::Drop, ..Default::default() };
        let taken = Taken::of(&rows.state(), &rows, options);
        let (_, dummies) = rows.with_dummies();
        assert!(taken.fit.estimates[1].is_none());
        // (With dummies behind the slopes it is one of the dummies that is dropped.)
        close(taken.fit.residual_sum, dummies.residual_sum, "residual sum");
        close(taken.fit.estimates[0].unwrap().to_f64(), dummies.estimates[0].unwrap().to_f64(), "slope");
    }
}

#[test]
fn digits_are_true_where_a_solution_is_cut_short() {
    let (mut least, mut seen) = (f64::INFINITY, 0);
    for (name, rows) in cases().into_iter().filter(|(_, rows)| rows.codes.len() > 1 && rows.slopes() > 0) {
        let (_, dummies) = rows.with_dummies();
        for steps in 1..8 {
            let hasty = AbsorbOptions { tolerance: 0.5, steps, ..AbsorbOptions::default() };
            let Ok(absorbed) = Absorbed::of(&rows.state(), &hasty) else { continue };
            // (A column may look like one that the effects contain.)
            let Ok(whitening) = absorbed.whitening(&rows.design(), WhiteningOptions::default()) else { continue };
            let fit = absorbed.fit(&whitening, rows.slopes(), "y").unwrap();
            for k in 0..rows.slopes() {
                let exact = dummies.estimates[k].unwrap();
                let off = (fit.estimates[k].unwrap() - exact).to_f64().abs();
                let digits = fit.coefficient_digits[k].unwrap();
                // A digit is worth as much as rounding the comparison's own estimate takes away.
                let true_digits = -(off / exact.to_f64().abs()).log10();
                assert!(
                    digits <= true_digits.max(0.0) + 1e-9 || digits >= 15.5,
                    "{name}, {steps} steps: {digits} of {true_digits}"
                );
                least = least.min(digits);
                seen += 1;
            }
        }
    }
    assert!(least < 5.0 && seen > 100, "{least} {seen}");
}

#[test]
fn models_with_effects_read_back() {
    for (name, rows) in cases() {
        let taken = rows.absorbed();
        let model = Model { whitening: taken.whitening, fits: vec![taken.fit], extra: serde_json::Value::Null };
        let bytes = model.to_bytes().unwrap();
        let read = Model::from_bytes(&bytes).unwrap();
        assert_eq!(read.fits[0].effects, model.fits[0].effects, "{name}");
        assert_eq!(read.fits[0].df_residual, model.fits[0].df_residual);
        assert_eq!(read.to_bytes().unwrap(), bytes);
    }
}

//! What is refused, and with which data.

use hattention::{
    Aliased, Block, Column, Design, Error, Filter, Fit, Moments, Orthogonal, RankTolerance, Whitening, WhiteningOptions,
};

use crate::support::Case;
use crate::table::{designs, empty, steps};

#[test]
fn refusals_are_data() {
    let x = [1.0, 2.0, 3.0];
    let block = |columns: Vec<Column<'static>>| Block { rows: 3, columns, weights: None };
    let dense: &'static [f64] = &[1.0, 2.0, 3.0];
    let short: &'static [f64] = &[1.0, 2.0];
    let codes: &'static [u32] = &[0, 1, 0, 1];
    let push = |columns: usize, block: &Block| Moments::new(columns).push(block).unwrap_err();
    let shape = |what, expected, got| Error::Shape { what, expected, got };

    assert_eq!(push(1, &block(vec![Column::Dense(short)])), shape("a column", 3, 2));
    assert_eq!(push(2, &block(vec![Column::Dense(dense)])), shape("the list of columns", 2, 1));
    assert_eq!(push(1, &block(vec![Column::Dense(dense); 2])), shape("the list of columns", 1, 2));
    assert_eq!(push(1, &block(vec![Column::Pair { hi: dense, lo: short }])), shape("a column", 3, 2));
    assert_eq!(push(1, &block(vec![Column::Indicator { codes, code: 0 }])), shape("a column", 3, 4));
    assert_eq!(
        push(1, &block(vec![Column::Within { codes: &codes[..3], code: 0, hi: dense, lo: Some(short) }])),
        shape("a column", 3, 2)
    );
    let weighted = Block { weights: Some(&x[..2]), ..block(vec![Column::Dense(dense)]) };
    assert_eq!(push(1, &weighted), shape("the weights", 3, 2));
    assert_eq!(
        Moments::new(1).push_at(&block(vec![Column::Dense(dense)]), &[0, 1]).unwrap_err(),
        shape("the list of columns", 1, 2)
    );

    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut bad = [1.0; 5000];
        bad[4321] = value;
        let zeros = [0.0; 5000];
        for column in [
            Column::Dense(&bad),
            Column::Pair { hi: &bad, lo: &zeros },
            Column::Pair { hi: &zeros, lo: &bad },
            Column::Within { codes: &[7; 5000], code: 0, hi: &bad, lo: None },
        ] {
            let mut state = Moments::new(2);
            let error = state.push(&Block { rows: 5000, columns: vec![Column::Dense(&zeros), column], weights: None });
            match error.unwrap_err() {
                Error::NonFinite { row: 4321, column: 1, value: got } => assert_eq!(got.to_bits(), value.to_bits()),
                other => panic!("{other}"),
            }
            assert!(state == Moments::new(2), "a refused block leaves the state as it was");
        }
        let weights = [1.0, value, 1.0];
        match push(1, &Block { weights: Some(&weights), ..block(vec![Column::Dense(dense)]) }) {
            Error::Weight { row: 1, value: got } => assert_eq!(got.to_bits(), value.to_bits()),
            other => panic!("{other}"),
        }
    }
    let negative = Block { weights: Some(&[0.0, 1.0, -1e-300]), ..block(vec![Column::Dense(dense)]) };
    assert_eq!(push(1, &negative), Error::Weight { row: 2, value: -1e-300 });

    let mut state = Moments::of(&block(vec![Column::Dense(dense)])).unwrap();
    let more = Block { rows: 4, columns: vec![Column::Dense(&[1.0; 4])], weights: None };
    let too_many = Error::RemovedTooMany { rows: 3, removed: 4 };
    let before = state.clone();
    assert_eq!(state.remove(&more).unwrap_err(), too_many);
    assert_eq!(state.subtract(&Moments::of(&more).unwrap()).unwrap_err(), too_many);
    assert!(state == before);
}

#[test]
fn factors_and_fits_refuse_with_data() {
    let case = &designs()[0];
    let moments = case.moments();
    let factor = |design: &Design, filter| {
        Whitening::of(&moments, design, filter, WhiteningOptions::default(), None).map(|_| ()).unwrap_err()
    };
    let parameter = |name, got: &str, allowed| Error::Parameter { name, got: got.into(), allowed };
    for (alpha, got) in [(-1.0, "-1"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        let error = factor(&case.design(), Filter::Ridge { alpha, standardize: false });
        assert_eq!(error, parameter("the ridge penalty", got, "a finite number, zero or more"));
    }
    let error = factor(&case.design(), Filter::Components { count: 4, standardize: false });
    assert_eq!(error, parameter("the number of components", "4", "at most the number of columns of the design"));
    assert_eq!(empty(case).rows(), 0);
    let nothing = case.solve(&empty(case), Filter::Ols, Aliased::Drop, RankTolerance::Rounding).map(|_| ());
    assert_eq!(nothing.unwrap_err(), Error::NoRows);
    let few = Moments::of(&case.slice(0..3)).unwrap();
    let error = case.solve(&few, Filter::Ols, Aliased::Error, RankTolerance::Rounding).map(|_| ()).unwrap_err();
    assert_eq!(error, Error::TooFewRows { rows: 3, coefficients: 4 });
    let (whitening, _) = case.ols(RankTolerance::Rounding).unwrap();
    let error = Fit::of(&moments, &whitening, 4, "y").map(|_| ()).unwrap_err();
    assert_eq!(error, Error::Shape { what: "the state", expected: 5, got: 4 });
    let twice = Case { columns: vec![case.columns[0].clone(); 2], ..case.clone() };
    let filter = Filter::Components { count: 2, standardize: true };
    let error = twice.solve(&twice.moments(), filter, Aliased::Drop, RankTolerance::Rounding).map(|_| ()).unwrap_err();
    assert_eq!(error, parameter("the number of components", "2", "at most the rank of the centred design"));
}

#[test]
fn blocks_of_other_columns_are_refused() {
    let case = &designs()[0];
    let moments = case.moments();
    let block = case.slice(0..2);
    let narrow = Block { columns: block.columns[..2].to_vec(), ..block.clone() };
    let wide = Block { columns: [&block.columns[..], &block.columns[..1]].concat(), ..block.clone() };
    for (other, got) in [(narrow, 2), (wide, 5)] {
        let error = Error::Shape { what: "the list of columns", expected: 4, got };
        assert_eq!(moments.clone().push(&other).unwrap_err(), error);
        assert_eq!(moments.clone().remove(&other).unwrap_err(), error, "Moments::remove refuses what push does");
    }
    // The products of one column given twice would be counted as if it were their sum.
    assert!(moments.clone().push_at(&block, &[0, 1, 1, 2]).is_err(), "the same column twice");
}

#[test]
fn designs_that_do_not_fit_the_state_are_refused() {
    let case = &designs()[0];
    let moments = case.moments();
    let options = WhiteningOptions::default();
    let factor = |moments: &Moments, design: &Design| Whitening::of(moments, design, Filter::Ols, options, None);
    let design = case.design();
    let outside = Design { columns: vec![Some(0), Some(1), Some(9)], ..design.clone() };
    let unnamed = Design { names: design.names[..2].to_vec(), ..design.clone() };
    let with_group = |group: Orthogonal| Design { orthogonal: vec![group], ..design.clone() };
    let group =
        |positions: &[usize], powers: &[usize]| with_group(Orthogonal::alone(positions.to_vec(), powers.to_vec()));
    let mut two = group(&[0, 1], &[0, 1]);
    two.orthogonal.push(Orthogonal::alone(vec![1], vec![1]));
    let whitening = factor(&moments, &design).unwrap();
    let narrow = moments.select(&[0]).unwrap();
    let refused = [
        ("a column outside the state", factor(&moments, &outside).is_err()),
        ("fewer names than columns", factor(&moments, &unnamed).is_err()),
        ("a polynomial outside the design", factor(&moments, &group(&[1, 7], &[0, 1])).is_err()),
        ("a polynomial outside the state", factor(&moments, &group(&[0, 1], &[0, 9])).is_err()),
        ("more powers than degrees", factor(&moments, &group(&[0, 1], &[0, 1, 2])).is_err()),
        ("a polynomial of no degree", factor(&moments, &group(&[], &[])).is_err()),
        ("a column of two polynomials", factor(&moments, &two).is_err()),
        (
            "products missing",
            factor(
                &moments,
                &with_group(Orthogonal { positions: vec![0], powers: vec![vec![0]], products: vec![Some(0)] }),
            )
            .is_err(),
        ),
        ("a state with fewer columns", Fit::of(&narrow, &whitening, 0, "y").is_err()),
    ];
    for (what, refused) in refused {
        assert!(refused, "{what}");
    }
}

#[test]
fn ridge_leaves_no_column_out_without_a_word() {
    let x = steps(8, |i| (i * 5.0) % 7.0);
    for column in [vec![0.0; 8], vec![3.0; 8], x.clone()] {
        let case = Case::dense("ridge", vec![x.clone(), column], steps(8, |i| i * i), true);
        for standardize in [false, true] {
            let filter = Filter::Ridge { alpha: 1.0, standardize };
            let done = case.solve(&case.moments(), filter, Aliased::Drop, RankTolerance::Rounding);
            let (whitening, fit) = done.unwrap();
            for (k, b) in fit.estimates[1..].iter().enumerate() {
                let named = whitening.dependent.iter().any(|d| d.column == format!("x{}", k + 1));
                assert!(b.is_some() || named, "x{} was dropped and not named", k + 1);
            }
        }
    }
}
